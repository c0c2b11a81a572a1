//! What comes from the bus.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{debug, info};

use super::super::outbox::Class;
use super::super::routing::{Sender, recipients};
use super::super::session::is_past;
use super::super::slab::Key;
use super::super::{Hub, Whom};
use super::wire::{self, Alive, Ask, Card, Gone, Got, Head, Heard, Hold, Kick, Kind, Peers, Route, Spent};
use super::{ASK_AGAIN, BusInput, Link, Receipt, Wait};
use crate::proto::{Address, Status, To};

/// Peers in one answer, so that it stays below a few MiB.
const ANSWER: usize = 64;

impl Hub {
    pub(in crate::server) fn bus(&mut self, input: BusInput<'_>, now: Instant) {
        let Some(cluster) = &mut self.cluster else { return };
        match input {
            BusInput::Up => cluster.rise(now),
            BusInput::Down => {
                if cluster.link != Link::Down {
                    info!("the bus is gone; the peers of this instance go on among themselves");
                }
                cluster.lose();
                let keys = cluster
                    .others
                    .values()
                    .flat_map(|other| other.peers.values().copied())
                    .collect::<Vec<_>>();
                let waits = std::mem::take(&mut cluster.waits);
                keys.into_iter().for_each(|key| self.free_away(key, now));
                self.drained(Key::BUS, now);
                self.finish(waits, now);
            }
            BusInput::Subscribed(tag) => self.subscribed(tag, now),
            BusInput::Published { tag, receivers } => {
                if let Some(receipt) = cluster.receipts.get_mut(&tag) {
                    receipt.unsent = receipt.unsent.saturating_sub(1);
                    receipt.silent = receipt.silent.saturating_add_unsigned(receivers);
                    self.count(tag, now);
                }
            }
            BusInput::Said { payload } if cluster.link == Link::Up => self.said(payload, now),
            BusInput::Said { .. } => {}
            BusInput::Broadcast { text } => _ = self.inject(text, false, now),
        }
    }

    /// Heartbeats, the dead, receipts that wait no longer, and what was kept for too long.
    pub(in crate::server) fn beat(&mut self, now: Instant) {
        let Some(cluster) = &mut self.cluster else { return };
        let mut late = Vec::new();
        while let Some(first) = cluster.receipts.first_entry().filter(|first| first.get().until <= now) {
            late.push(first.remove());
        }
        if cluster.beat <= now {
            let (heartbeat, dead_after) = (cluster.settings.heartbeat, cluster.settings.dead_after);
            // A clock that jumped so far is this process's own sleep: what others said meanwhile may still
            // wait to be read.
            if is_past(cluster.beat, dead_after / 2, now) {
                cluster.others.values_mut().for_each(|other| other.heard = now);
            }
            cluster.beat = now + heartbeat;
            let all = cluster.all();
            cluster.say(&[all], Kind::Alive, &Alive { hail: false }, "");
            cluster.remind(now);
            let dead = cluster.others.iter().filter(|(_, other)| is_past(other.heard, dead_after, now));
            let dead: Vec<Arc<str>> = dead.map(|(instance, _)| instance.clone()).collect();
            dead.iter().for_each(|instance| self.bury(instance, true, now));
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.look_at_kept(now);
        }
        self.tell_unsent(now);
        late.iter().for_each(|receipt| self.settle_receipt(receipt, now));
    }

    fn subscribed(&mut self, tag: u64, now: Instant) {
        let Some(cluster) = &mut self.cluster else { return };
        if !cluster.interest.confirm(tag) {
            return;
        }
        if matches!(cluster.link, Link::Rising(last) if last <= tag) {
            cluster.link = Link::Up;
            cluster.beat = now + cluster.settings.heartbeat;
            let all = cluster.all();
            cluster.say(&[all], Kind::Alive, &Alive { hail: true }, "");
            info!("on the bus, with {} names", cluster.interest.names().count());
            // Each instance is asked for all of them that somebody is in, and the ways to ask for one come later.
            let heard = cluster.interest.names().filter(|name| cluster.interest.hears(name));
            for name in heard {
                for room in [self.rooms.user(name), self.rooms.named(name)].into_iter().flatten() {
                    if !self.rooms.members(room).is_empty() {
                        self.rooms.ask(room);
                    }
                }
            }
        }
        let due = cluster.waits.partition_point(|(wanted, _)| *wanted <= tag);
        let due = cluster.waits.drain(..due).collect();
        self.finish(due, now);
    }

    /// Does what waited.
    pub(super) fn finish(&mut self, due: VecDeque<(u64, Wait)>, now: Instant) {
        for (_, wait) in due {
            match wait {
                Wait::Admit(key) => self.expected(key, now),
                Wait::Join(key, room) => {
                    if let Some(session) = self.sessions.get_mut(key) {
                        session.outbox.joining = session.outbox.joining.saturating_sub(1);
                    }
                    if self.rooms.named(&room).is_some_and(|room| self.rooms.is_member(key, room)) {
                        self.joined(key, &room, now);
                        self.known_in(key, &room);
                    }
                }
            }
        }
    }

    fn said(&mut self, payload: &str, now: Instant) {
        let Some((head, body, frame)) = wire::read(payload) else {
            return debug!("what was said on the bus is passed over: it is no envelope of this version");
        };
        let Some(cluster) = &mut self.cluster else { return };
        if *head.i == *cluster.settings.instance {
            // Our own, which we hear as others do, and were counted for.
            if let (Kind::Route | Kind::State, Some(receipt)) = (head.k, cluster.receipts.get_mut(&head.n)) {
                receipt.silent -= 1;
                self.count(head.n, now);
            }
            return;
        }
        self.take_up_before(&head, now);
        match self.note(&head, now) {
            Some(is_fresh) => self.do_said(&head, body, frame, is_fresh, now),
            None => self.put_by(&head, payload, now),
        }
    }

    /// What is said again comes behind what was put by and has a smaller number.
    fn take_up_before(&mut self, head: &Head<'_>, now: Instant) {
        let other = self.cluster.as_ref().and_then(|cluster| cluster.others.get(&*head.i));
        if head.again.is_some() && other.is_some_and(|other| head.again == Some(other.sync)) {
            let below = if head.k == Kind::Caught { u64::MAX } else { head.n };
            self.take_up(&head.i, below, now);
        }
    }

    /// Does what an envelope says; not `is_fresh`: another copy of it did already.
    pub(super) fn do_said(&mut self, head: &Head<'_>, body: &str, frame: &str, is_fresh: bool, now: Instant) {
        let done = match head.k {
            Kind::Route | Kind::State => serde_json::from_str(body).map(|route| {
                self.routed(head, route, frame, is_fresh, now);
            }),
            _ if !is_fresh => Ok(()),
            Kind::Lost => serde_json::from_str(body).map(|route| self.lost(head, route)),
            Kind::Caught => {
                self.caught(&head.i, head.n);
                Ok(())
            }
            Kind::Mark => {
                self.confirm(&head.i);
                Ok(())
            }
            Kind::Heard => {
                serde_json::from_str(body).map(|heard: Heard| self.heard_up_to(&head.i, heard.n, now))
            }
            Kind::Kick => serde_json::from_str(body).map(|kick: Kick<'_>| {
                self.kick(Whom::Address(&kick.address), Status(kick.status), &kick.message, now);
            }),
            Kind::Host => {
                self.inject(frame, false, now);
                Ok(())
            }
            Kind::Peers => serde_json::from_str(body).map(|peers| self.told(&head.i, &peers, now)),
            Kind::Gone => serde_json::from_str(body).map(|gone| self.gone(&head.i, &gone, now)),
            Kind::Ask => serde_json::from_str(body).map(|ask| self.asked(&head.i, &ask, now)),
            Kind::Alive => serde_json::from_str(body).map(|alive: Alive| self.alive(&head.i, &alive)),
            Kind::Bye => {
                self.bury(&head.i, false, now);
                Ok(())
            }
            Kind::Spent => serde_json::from_str(body).map(|spent| self.spent(&head.i, &spent, now)),
            Kind::Hold => serde_json::from_str(body).map(|hold| self.hold_told(&head.i, &hold, now)),
            Kind::Got => serde_json::from_str(body).map(|got: Got| {
                let cluster = self.cluster.as_mut().expect("looked at above");
                if let Some(receipt) = cluster.receipts.get_mut(&got.n) {
                    receipt.delivered += got.delivered;
                    receipt.silent -= 1;
                    self.count(got.n, now);
                }
            }),
        };
        if done.is_err() {
            debug!("an envelope is passed over: its body is none of this version");
        }
    }

    /// Notes that an instance spoke, and asks it for its peers, and for what was missed, if it has to. `None` if
    /// this is to be passed over, false if it says so again.
    fn note(&mut self, head: &Head<'_>, now: Instant) -> Option<bool> {
        let cluster = self.cluster.as_mut()?;
        if !cluster.others.contains_key(&*head.i) && !cluster.meet_instance(head, now) {
            return None;
        }
        let other = cluster.others.get_mut(&*head.i)?;
        if head.e < other.epoch {
            return None;
        }
        let is_new = head.e > other.epoch;
        if is_new {
            (other.epoch, other.synced, other.behind, other.asked) = (head.e, false, true, None);
        }
        other.heard = now;
        let is_fresh = other.takes(head, now);
        let peers = if is_new { other.peers.values().copied().collect() } else { Vec::new() };
        peers.into_iter().for_each(|key| self.free_away(key, now));
        let other = self.cluster.as_ref()?.others.get(&*head.i)?;
        let is_owed = !other.synced || other.behind;
        if is_owed && other.asked.is_none_or(|at| is_past(at, ASK_AGAIN, now)) && head.k != Kind::Bye {
            self.ask_all(&head.i, now);
        }
        is_fresh
    }

    /// Asks an instance for all that concerns us.
    fn ask_all(&mut self, instance: &str, now: Instant) {
        let Some(cluster) = &mut self.cluster else { return };
        let names = cluster.interest.names().filter(|name| cluster.interest.hears(name));
        let (mut users, mut rooms) = (Vec::new(), Vec::new());
        let has = |room: Option<_>| room.is_some_and(|room| !self.rooms.members(room).is_empty());
        for name in names {
            if has(self.rooms.user(name)) {
                users.push(Cow::Owned(name.to_string()));
            }
            if has(self.rooms.named(name)) {
                rooms.push(Cow::Owned(name.to_string()));
            }
        }
        cluster.syncs += 1;
        let (sync, channel) = (cluster.syncs, cluster.at(instance));
        let Some(other) = cluster.others.get_mut(instance) else { return };
        (other.sync, other.synced, other.asked) = (sync, false, Some(now));
        let (since, first) = (Some(other.got), other.early.is_some());
        cluster.say(&[channel], Kind::Ask, &Ask { users, rooms, sync: Some(sync), since, first }, "");
    }

    fn asked(&mut self, instance: &str, ask: &Ask<'_>, now: Instant) {
        let users = ask.users.iter().filter_map(|name| self.rooms.user(name));
        let rooms = ask.rooms.iter().filter_map(|name| self.rooms.named(name));
        let mut keys: Vec<Key> =
            users.chain(rooms).flat_map(|room| self.rooms.members(room)).copied().collect();
        keys.sort_unstable();
        keys.dedup();
        let mut cards: Vec<Card<'_>> = keys.into_iter().filter_map(|key| self.own_card(key)).collect();
        let Some(cluster) = &mut self.cluster else { return };
        let channel = [cluster.at(instance)];
        loop {
            let rest = cards.split_off(cards.len().min(ANSWER));
            let last = rest.is_empty();
            if !cards.is_empty() || ask.sync.is_some() {
                let peers = Peers { peers: cards, told: false, sync: ask.sync, last };
                cluster.say(&channel, Kind::Peers, &peers, "");
            }
            if last {
                break;
            }
            cards = rest;
        }
        if let (Some(sync), Some(since)) = (ask.sync, ask.since) {
            let owed = cluster.others.get(instance).filter(|_| ask.first).map(|other| other.acked);
            let since = owed.unwrap_or(since);
            cluster.say_again(instance, sync, since);
            self.bus_drained(now);
        }
    }

    fn told(&mut self, instance: &str, peers: &Peers<'_>, now: Instant) {
        let instance: Arc<str> = instance.into();
        for card in &peers.peers {
            self.meet(&instance, card, peers.told, now);
        }
        let Some(other) = self.cluster.as_mut().and_then(|cluster| cluster.others.get_mut(&instance)) else {
            return;
        };
        if !peers.last || peers.sync != Some(other.sync) {
            return;
        }
        // Whoever was not told of since the question is not there.
        other.synced = true;
        let (sync, keys) = (other.sync, other.peers.values().copied().collect::<Vec<_>>());
        for key in keys {
            if self.away_sync(key).is_some_and(|seen| seen < sync) {
                self.forget(key, now);
            }
        }
    }

    fn gone(&mut self, instance: &str, gone: &Gone<'_>, now: Instant) {
        for id in &gone.ids {
            let other = self.cluster.as_ref().and_then(|cluster| cluster.others.get(instance));
            if let Some(key) = other.and_then(|other| other.peers.get(&**id)).copied() {
                self.forget(key, now);
            }
        }
    }

    /// A peer of another instance holds one of ours, or nobody any more.
    fn hold_told(&mut self, instance: &str, hold: &Hold<'_>, now: Instant) {
        let other = self.cluster.as_ref().and_then(|cluster| cluster.others.get(instance));
        let Some(by) = other.and_then(|other| other.peers.get(&*hold.by)).copied() else { return };
        match &hold.held {
            None => self.drained(by, now),
            Some(id) if hold.ends => {
                if let Some(sender) = self.rooms.session(id) {
                    self.freed_from_away(by, sender, now);
                }
            }
            Some(id) => {
                if let Some(sender) = self.rooms.session(id) {
                    self.held_from_away(by, sender, now);
                    self.say_spent(instance, id, sender, now);
                }
            }
        }
    }

    /// Another instance counts for how long a sender was held too.
    fn spent(&mut self, instance: &str, spent: &Spent<'_>, now: Instant) {
        let other = self.cluster.as_ref().and_then(|cluster| cluster.others.get(instance));
        let away = other.and_then(|other| other.peers.get(&*spent.id)).copied();
        if let Some(sender) = away.or_else(|| self.rooms.session(&spent.id)) {
            self.holds.learn_spent(sender, Duration::from_millis(spent.millis), now);
        }
    }

    fn alive(&mut self, instance: &str, alive: &Alive) {
        let Some(cluster) = self.cluster.as_mut().filter(|_| alive.hail) else { return };
        let channel = cluster.at(instance);
        cluster.say(&[channel], Kind::Alive, &Alive { hail: false }, "");
    }

    /// An instance has heard all up to this number: senders that were held for it may go on.
    fn heard_up_to(&mut self, instance: &str, n: u64, now: Instant) {
        if let Some(cluster) = &mut self.cluster {
            cluster.heard(instance, n);
        }
        self.bus_drained(now);
    }

    /// An instance is no more, and its peers with it; it `returns` perhaps, if it was not its own will.
    fn bury(&mut self, instance: &str, returns: bool, now: Instant) {
        // Nothing that comes before it will come any more.
        self.take_up(instance, u64::MAX, now);
        let Some(cluster) = &mut self.cluster else { return };
        let Some(other) = cluster.others.get(instance) else { return };
        let keys: Vec<Key> = other.peers.values().copied().collect();
        info!("an instance has gone, and {} peers with it", keys.len());
        keys.into_iter().for_each(|key| self.forget(key, now));
        if let Some(cluster) = &mut self.cluster {
            cluster.part(instance, returns, now);
        }
        self.bus_drained(now);
        self.tell_missed();
    }

    fn routed(&mut self, head: &Head<'_>, route: Route<'_>, frame: &str, is_fresh: bool, now: Instant) {
        let mut delivered = 0;
        if is_fresh {
            let rooms = self.rooms_of(&route);
            let from = Address::from(&*route.from);
            let other = self.cluster.as_ref().and_then(|cluster| cluster.others.get(&*head.i));
            let of = other.and_then(|other| other.peers.get(from.id())).copied();
            let to = To::from(route.to);
            let mut found = std::mem::take(&mut self.found);
            recipients(&to, Sender::Away(&rooms), &mut self.rooms, &mut found);
            let mut class = Class::Message;
            if head.k == Kind::State {
                // Whoever hears that a peer is there must hear that it goes, and does if we know that they
                // share a room. Until we do, the answer of its instance is on its way.
                found.retain(|peer| of.is_some_and(|of| self.rooms.knows(of, *peer)));
                if let Some(of) = of {
                    class = Class::State { of };
                    self.told_of(of);
                }
            }
            if !found.is_empty() {
                delivered = self.deliver(of, &found, &frame.into(), class, now);
            }
            found.clear();
            self.found = found;
        }
        let Some(cluster) = self.cluster.as_mut().filter(|_| route.receipt) else { return };
        let channel = cluster.at(&head.i);
        cluster.say(&[channel], Kind::Got, &Got { n: head.n, delivered }, "");
    }

    /// Answers a receipt once all have spoken.
    fn count(&mut self, n: u64, now: Instant) {
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.receipts.get(&n).is_some_and(|receipt| receipt.unsent == 0 && receipt.silent <= 0)
            && let Some(receipt) = cluster.receipts.remove(&n)
        {
            self.settle_receipt(&receipt, now);
        }
    }

    fn settle_receipt(&mut self, receipt: &Receipt, now: Instant) {
        self.receipt(receipt.key, &receipt.id, receipt.delivered, now);
    }
}
