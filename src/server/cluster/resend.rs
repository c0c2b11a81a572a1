//! Resends what an instance missed, and reports what can no longer be sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::warn;
use serde::Serialize;

use super::emitted::Position;
use super::unconfirmed::Owner;
use super::wire::{self, Head, Heard, Kind, Offer, Route, boxed};
use super::{Bus, BusState, Cluster, Early, FromCluster, MAX_INSTANCES, Other};
use crate::proto::Address;
use crate::server::limits::is_past;

/// How long after sending the others are asked what they received: an outage shorter than the timeout may cause up to a
/// second of messages to be resent. Each further [`CROWD`] instances add as much, since all of them answer.
const MARK_AFTER: Duration = Duration::from_secs(1);
const CROWD: usize = 10;

/// The part of the limit after which they are asked earlier: 1 MiB by default, an eighth of the bytes at which senders
/// are held.
const MARK: usize = 16;

/// The parts of the limit that may be unconfirmed before senders are held, and below which they are released. Half of
/// it is 8 MiB by default: Redis disconnects a subscriber for which more than that waits for a minute.
const HIGH: usize = 2;
const LOW: usize = 4;

/// How long an instance that disappeared without a goodbye is remembered after its messages are dropped: when it
/// returns, both sides report what it missed.
const REMEMBER_FOR: Duration = Duration::from_secs(3600);

/// The part of the limit that may be buffered from an instance before it has resent what it owes us.
const EARLY: usize = 8;

/// An instance that is gone and may return: up to which numbers both sides had received.
#[derive(Debug)]
pub(super) struct Absent {
    pub epoch: u64,
    pub got: u64,
    pub acked: u64,
    pub since: Instant,
    pub place: Position,
}

/// A resend in progress.
#[derive(Debug)]
pub(super) struct Resend {
    instance: Arc<str>,
    /// The number of the question that it answers.
    sync: u64,
    /// The number of the last envelope that was resent.
    done: u64,
}

impl Cluster {
    /// Whether sent envelopes are kept: there is an instance that may have missed them.
    pub(super) fn keeps(&self) -> bool {
        !self.others.is_empty() || !self.absent.is_empty()
    }

    /// Whether something is kept for an instance.
    #[cfg(test)]
    pub(in crate::server) fn knows(&self, instance: &str) -> bool {
        self.others.contains_key(instance) || self.absent.contains_key(instance)
    }

    /// Whether what emitters pushed and this one missed can be asked of an instance.
    #[cfg(test)]
    pub(in crate::server) fn can_ask_for_pushed(&self, instance: &str) -> bool {
        let absent = || self.absent.get(instance).map(|absent| &absent.place);
        self.others.get(instance).map(|other| &other.place).or_else(absent).is_some_and(Position::is_known)
    }

    /// The number up to which all present instances have confirmed.
    fn heard_by_present(&self) -> u64 {
        self.others.values().map(|other| other.acked).min().unwrap_or(self.number)
    }

    /// Drops what all have confirmed, including absent ones.
    fn trim(&mut self) {
        self.kept.trim(self.heard_by_all());
        let gone = self.gone.values().map(|gone| gone.acked).min();
        self.kept.trim_notes(gone.unwrap_or(self.number).min(self.heard_by_all()));
    }

    /// The number up to which all have confirmed for whom something is kept.
    fn heard_by_all(&self) -> u64 {
        let absent = self.absent.values().map(|absent| absent.acked).min();
        absent.unwrap_or(self.number).min(self.heard_by_present())
    }

    /// Bytes that are not confirmed by all present instances.
    fn under_way(&self) -> usize {
        if self.kept.is_empty() { 0 } else { self.kept.bytes_after(self.heard_by_present()) }
    }

    pub(super) fn is_far_ahead(&self) -> bool {
        self.under_way() > self.settings.queue_limit / HIGH
    }

    pub(super) fn is_near(&self) -> bool {
        self.under_way() <= self.settings.queue_limit / LOW
    }

    /// Sends a message, or keeps it until there is a bus. Returns its number; `None` if it was dropped.
    pub(super) fn say_kept(
        &mut self,
        channels: &[Arc<str>],
        (kind, owner): (Kind, Owner),
        body: &impl Serialize,
        frame: &str,
        counted: bool,
        now: Instant,
    ) -> Option<u64> {
        self.number += 1;
        let n = self.number;
        let is_up = self.link == BusState::Up;
        let text: Arc<str> = wire::write(&self.head(n, kind), body, frame).into();
        let waits = self.waiting.saturating_add(text.len().saturating_mul(channels.len()));
        let mut fits = !is_up || kind == Kind::Kick || waits <= self.settings.queue_limit;
        if !kind.is_kept() && !is_up {
            return None;
        }
        if kind.is_kept() && self.keeps() {
            self.trim();
            fits &= self.kept.make_room(text.len(), self.heard_by_present());
            if fits {
                self.kept.add(n, kind, owner, text.clone(), now);
            } else {
                self.kept.add_lost(n, kind, owner, &text, now);
            }
        }
        let mut text = text;
        if !fits {
            self.give_up(owner);
            if owner == Owner::Nobody {
                return None;
            }
            text = wire::write(&self.head(n, Kind::Lost), body, "").into();
        }
        if is_up {
            for channel in channels {
                let (channel, payload) = (channel.clone(), text.clone());
                self.push(Bus::Publish { channel, payload, tag: (counted && fits).then_some(n) });
            }
            self.mark(text.len(), now);
        }
        fits.then_some(n)
    }

    pub(super) fn head(&self, n: u64, k: Kind) -> Head<'_> {
        Head { i: (&*self.settings.instance).into(), e: self.epoch, n, k, again: None, ago: None }
    }

    /// Counts a message that will not arrive.
    fn give_up(&mut self, owner: Owner) {
        self.dropped += 1;
        self.unsent.extend(owner.peer());
    }

    /// Counts bytes that others have to confirm.
    fn mark(&mut self, bytes: usize, now: Instant) {
        if !self.keeps() {
            return;
        }
        self.unmarked += bytes;
        let crowds = u32::try_from(1 + self.others.len() / CROWD).unwrap_or(u32::MAX);
        self.mark_due.get_or_insert(now + MARK_AFTER * crowds);
        if self.unmarked >= self.settings.queue_limit / MARK {
            self.say_mark();
        }
    }

    /// Asks again while something is not confirmed.
    pub(super) fn remind(&mut self, now: Instant) {
        if self.link == BusState::Up && self.under_way() > 0 {
            self.mark_due.get_or_insert(now);
        }
    }

    fn say_mark(&mut self) {
        (self.unmarked, self.mark_due) = (0, None);
        let all = self.all();
        self.publish(&[all], Kind::Mark, &(), "");
    }

    /// Asks whether recent envelopes were received, and drops those that are too old.
    pub(super) fn look_at_kept(&mut self, now: Instant) {
        if self.mark_due.is_some_and(|due| due <= now) {
            self.say_mark();
        }
        let keep_for = self.settings.keep_for;
        if self.link == BusState::Up {
            self.remember_gone(now);
        }
        self.trim();
        // With a bus, only instances that are known to be gone have not confirmed it: they and the senders are told
        // when they return.
        let (before, told, confirmed) = (self.dropped, self.link != BusState::Up, self.heard_by_all());
        while let Some(owner) = self.kept.expire(now, confirmed, told) {
            self.give_up(owner);
        }
        if self.dropped > before {
            let count = self.dropped - before;
            warn!("dropped {count} messages for other instances, which were kept for {keep_for:?}");
        }
    }

    /// Stops keeping envelopes for instances that have been absent for too long.
    fn remember_gone(&mut self, now: Instant) {
        let keep_for = self.settings.keep_for;
        self.gone.retain(|_, gone| !is_past(gone.since, REMEMBER_FOR, now));
        let is_gone = |_: &Arc<str>, absent: &mut Absent| is_past(absent.since, keep_for, now);
        let mut confirmed = u64::MAX;
        for (instance, absent) in self.absent.extract_if(.., is_gone) {
            if self.gone.len() >= MAX_INSTANCES {
                let oldest =
                    self.gone.iter().min_by_key(|(_, gone)| gone.since).map(|(name, _)| name.clone());
                oldest.map(|name| self.gone.remove(&name));
            }
            confirmed = confirmed.min(absent.acked);
            self.gone.insert(instance, Absent { since: now, ..absent });
        }
        if confirmed < u64::MAX {
            self.kept.give_up(self.heard_by_all(), confirmed);
        }
    }

    /// An instance asks for everything after this number.
    pub(super) fn say_again(&mut self, instance: &str, sync: u64, since: u64) {
        self.heard(instance, since);
        if since < self.kept.forgot() {
            warn!(
                "an instance was absent for too long: the number of messages that it missed is no longer known"
            );
        }
        self.resends.retain(|resend| *resend.instance != *instance);
        self.resends.push_back(Resend { instance: instance.into(), sync, done: since });
    }

    /// An instance confirms everything up to this number.
    pub(super) fn heard(&mut self, instance: &str, n: u64) {
        if let Some(other) = self.others.get_mut(instance) {
            other.acked = other.acked.max(n);
        }
        self.trim();
    }

    /// Moves envelopes to resend into `out`, one for each instance in turn, as long as there is `room`.
    pub(super) fn resend(&mut self, room: &mut usize, out: &mut Vec<Bus>) {
        while *room > 0
            && let Some(mut resend) = self.resends.pop_front()
        {
            let (instance, epoch) = (&*self.settings.instance, self.epoch);
            let (now, sync) = (self.clock, Some(resend.sync));
            let head = |n, k| Head { i: instance.into(), e: epoch, n, k, again: sync, ago: None };
            let channel = self.at(&resend.instance);
            let payload = match self.kept.after(resend.done) {
                // Everything sent from now on comes after this.
                None => wire::write(&head(self.number, Kind::Caught), &(), ""),
                Some(entry) => {
                    let kind = if entry.whole { entry.kind } else { Kind::Lost };
                    let ago = now.saturating_duration_since(entry.at).as_millis();
                    let ago = (!entry.whole).then(|| u64::try_from(ago).unwrap_or(u64::MAX));
                    let text = wire::rewrite(&Head { ago, ..head(entry.n, kind) }, entry.rest());
                    let is_told = entry.whole || entry.owner != Owner::Nobody;
                    if !entry.whole && is_told && !std::mem::replace(&mut entry.counted, true) {
                        self.dropped += 1;
                        self.unsent.extend(entry.owner.peer());
                    }
                    resend.done = entry.n;
                    self.resends.push_back(resend);
                    if !is_told {
                        continue;
                    }
                    text
                }
            };
            let bus = Bus::Publish { channel, payload: payload.into(), tag: None };
            *room = room.saturating_sub(bus.cost());
            out.push(bus);
        }
    }
}

impl Cluster {
    /// Registers an instance that sent something; false if it is to be ignored.
    pub(super) fn meet_instance(&mut self, head: &Head<'_>, now: Instant) -> bool {
        if self.others.len() >= MAX_INSTANCES {
            warn!("there are more than {MAX_INSTANCES} instances; ignoring another one");
            return false;
        }
        let known = self.absent.get(&*head.i).or_else(|| self.gone.get(&*head.i));
        if known.is_some_and(|absent| head.e < absent.epoch) {
            return false;
        }
        let absent = self.absent.remove(&*head.i).or_else(|| self.gone.remove(&*head.i));
        let other = Other {
            epoch: head.e,
            last: 0,
            got: absent.as_ref().map_or(0, |absent| absent.got),
            // An instance that is new to us may know us already, and have kept something that we did not receive.
            behind: true,
            early: absent.is_none().then(Early::default),
            place: absent.as_ref().map(|absent| absent.place).unwrap_or_default(),
            // It gets everything from now on.
            acked: absent.map_or(self.number, |absent| absent.acked),
            heard: now,
            sync: 0,
            synced: false,
            asked: None,
        };
        self.others.insert((&*head.i).into(), other);
        true
    }

    /// Removes an instance; if it may return, remembers how far each side had received.
    pub(super) fn part(&mut self, instance: &str, returns: bool, now: Instant) {
        self.resends.retain(|resend| *resend.instance != *instance);
        if let Some((name, other)) = self.others.remove_entry(instance)
            && returns
            && self.absent.len() < MAX_INSTANCES
        {
            let Other { epoch, got, acked, place, .. } = other;
            self.absent.insert(name, Absent { epoch, got, acked, since: now, place });
        }
        self.trim();
    }
}

impl Other {
    /// Records the number of an envelope. Returns whether it is the first copy; `None` if it is to be ignored.
    pub(super) fn takes(&mut self, head: &Head<'_>, now: Instant) -> Option<bool> {
        if let Some(sync) = head.again {
            if !self.behind || sync != self.sync {
                return None;
            }
            self.asked = Some(now);
            if head.k == Kind::Caught {
                return Some(true);
            }
            let is_fresh = head.n > self.got;
            self.got = self.got.max(head.n);
            return is_fresh.then_some(true);
        }
        let is_new = head.n > self.last;
        self.last = self.last.max(head.n);
        if self.behind {
            return (!head.k.is_kept()).then_some(is_new);
        }
        let is_fresh = if head.k.is_kept() { head.n > self.got } else { is_new };
        self.got = self.got.max(head.n);
        Some(is_fresh)
    }
}

impl Cluster {
    /// Buffers an envelope that is ignored because its instance has not resent everything yet. Only for an instance
    /// that is new to us, since it may not have kept the envelope: it did not know us.
    pub(super) fn put_by(&mut self, head: &Head<'_>, payload: &str, now: Instant) {
        let Some(other) = self.others.get_mut(&*head.i) else { return };
        let Some(early) = &mut other.early else { return };
        if head.again.is_some() || !head.k.is_kept() || head.e != other.epoch {
            return;
        }
        early.bytes += payload.len();
        early.said.push_back((head.n, payload.into()));
        if early.bytes > self.settings.queue_limit / EARLY {
            self.take_up(&head.i, u64::MAX, now);
            let other = self.others.get_mut(&*head.i);
            other.into_iter().for_each(|other| (other.behind, other.early) = (false, None));
        }
    }

    /// Handles the buffered envelopes of an instance up to this number.
    pub(super) fn take_up(&mut self, instance: &str, below: u64, now: Instant) {
        while let Some(other) = self.others.get_mut(instance)
            && let Some(early) = &mut other.early
            && early.said.front().is_some_and(|(n, _)| *n < below)
            && let Some((n, payload)) = early.said.pop_front()
        {
            early.bytes -= payload.len();
            let is_fresh = n > other.got;
            other.got = other.got.max(n);
            if let Some((head, body, frame)) = wire::read(&payload).filter(|_| is_fresh) {
                self.do_said(&head, body, frame, true, now);
            }
        }
    }

    /// An instance has resent everything that we missed.
    pub(super) fn caught(&mut self, instance: &str, n: u64) {
        let Some(other) = self.others.get_mut(instance) else { return };
        (other.behind, other.got, other.early) = (false, other.got.max(n), None);
        self.confirm(instance);
        self.tell_hub(FromCluster::TellMissed);
    }

    /// Confirms to an instance what we have received.
    pub(super) fn confirm(&mut self, instance: &str) {
        let Some(other) = self.others.get(instance) else { return };
        let (n, channel) = (other.got, self.at(instance));
        self.publish(&[channel], Kind::Heard, &Heard { n }, "");
    }

    /// A message was dropped: tells those of its recipients that are here.
    pub(super) fn lost(&mut self, head: &Head<'_>, route: Route<'_>) {
        let from = Address::from(&*route.from);
        let ago = Duration::from_millis(head.ago.unwrap_or(0));
        self.tell_hub(FromCluster::Missed { from, rooms: boxed(route.rooms), to: route.to.into(), ago });
        if head.again.is_none() {
            self.tell_hub(FromCluster::TellMissed);
        }
    }

    /// Says to an instance what emitters pushed after our heartbeat of this number.
    pub(super) fn offer_pushed(&mut self, instance: &str, sync: u64, n: u64, now: Instant) {
        let (forgot, texts) = self.pushed.after(n, now);
        let texts: Vec<Arc<str>> = texts.cloned().collect();
        let channel = [self.at(instance)];
        for text in texts {
            self.publish(&channel, Kind::Pushed, &Offer { sync, forgot: None }, &text);
        }
        self.publish(&channel, Kind::Pushed, &Offer { sync, forgot: Some(forgot) }, "");
    }

    /// An instance says what emitters pushed while we may not have heard it.
    pub(super) fn take_pushed(&mut self, instance: &Arc<str>, offer: &Offer, text: &str, now: Instant) {
        let Some(other) = self.others.get_mut(instance).filter(|other| other.sync == offer.sync) else {
            return;
        };
        let Some(place) = other.place.missed_after() else { return };
        let Some(forgot) = offer.forgot else {
            let text = self.pushed.offered((instance, offer.sync), place, text, now);
            return self.push_here(text);
        };
        other.place.settle();
        if forgot > 0 {
            warn!("{forgot} messages of emitters are lost here: this instance was away for too long");
        }
        let waited = self.pushed.end(instance);
        self.push_here(waited);
    }

    /// Delivers what emitters pushed.
    pub(super) fn push_here(&mut self, texts: impl IntoIterator<Item = Arc<str>>) {
        texts.into_iter().for_each(|text| self.tell_hub(FromCluster::Host { text: (&*text).into() }));
    }

    /// Has the senders of dropped messages told.
    pub(super) fn tell_unsent(&mut self) {
        if self.unsent.is_empty() {
            return;
        }
        let mut conns = std::mem::take(&mut self.unsent);
        conns.sort_unstable();
        conns.dedup();
        self.tell_hub(FromCluster::Unsent { conns });
    }

    /// Releases senders once little enough waits for the bus and for confirmation.
    pub(super) fn free_if_low(&mut self) {
        if self.holds && self.is_low() {
            self.holds = false;
            self.tell_hub(FromCluster::FreeForBus);
        }
    }
}
