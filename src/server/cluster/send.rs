//! What our own peers make known at other instances.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use serde_json::value::RawValue;

use super::super::Hub;
use super::super::outbox::Class;
use super::super::presence::{Profile, Who};
use super::super::rooms::{RoomId, Rooms};
use super::super::session::State;
use super::super::slab::Key;
use super::interest::Wanted;
use super::kept::Owner;
use super::wire::{Ask, Card, Gone, Hold, Kick, Kind, Peers, Route, Spent};
use super::{Bus, Cluster, Link, MAX_NAME, Receipt, Wait};
use crate::proto::{Status, Target, To};

/// What a hub says of a peer's message to other instances.
pub(in crate::server) struct Spread<'a> {
    pub to: &'a To<'a>,
    pub text: &'a str,
    pub class: Class,
    /// The message's id, if its sender wants a receipt, and how many it reached here.
    pub receipt: Option<(&'a str, usize)>,
}

impl Hub {
    /// The channels that a message to `to` goes to, once each. None without other instances, or while there is no
    /// bus and none has ever been heard.
    pub(in crate::server) fn channels(&self, sender: Option<Key>, to: &To<'_>) -> Vec<Arc<str>> {
        let Some(cluster) = self.cluster.as_deref() else { return Vec::new() };
        if cluster.link != Link::Up && !cluster.keeps() {
            return Vec::new();
        }
        let mut names = BTreeSet::new();
        match to {
            To::Absent => {
                let rooms = sender.map_or(&[][..], |key| self.rooms.of(key));
                names.extend(rooms.iter().map(|room| &**self.rooms.name(*room).0));
            }
            To::One(name) => names.extend(channel(&self.rooms, name)),
            To::List(list) => names.extend(list.iter().filter_map(|name| channel(&self.rooms, name))),
        }
        names.into_iter().map(|name| cluster.to(name)).collect()
    }

    /// Says a peer's message on these channels, or keeps it for when there is a bus. True if other instances will
    /// say whom it reached.
    pub(in crate::server) fn spread(
        &mut self,
        key: Key,
        channels: &[Arc<str>],
        what: &Spread<'_>,
        now: Instant,
    ) -> bool {
        let Some(who) = self.who(key) else { return false };
        let rooms = named(&self.rooms, key);
        let Some(cluster) = &mut self.cluster else { return false };
        if channels.is_empty() {
            return false;
        }
        let (kind, owner) = match what.class {
            Class::State { .. } => (Kind::State, Owner::Nobody),
            _ => (Kind::Route, Owner::Peer(key)),
        };
        let body = Route {
            from: who.address.as_str().into(),
            rooms: rooms.iter().map(|name| Cow::Borrowed(&**name)).collect(),
            to: what.to.into(),
            receipt: what.receipt.is_some(),
        };
        let counted = what.receipt.is_some();
        let said = cluster.say_kept(channels, (kind, owner), &body, what.text, counted, now);
        if cluster.link == Link::Up && cluster.is_high() {
            self.hold_for_bus(key, now);
        }
        self.tell_unsent(now);
        let Some(cluster) = &mut self.cluster else { return false };
        let (Some(n), Some((id, delivered))) = (said, what.receipt) else { return false };
        let until = now + cluster.settings.receipt_wait;
        let (id, unsent) = (id.into(), channels.len());
        cluster.receipts.insert(n, Receipt { key, id, delivered, unsent, silent: 0, until });
        true
    }

    /// Holds the sender where it is, if that is at another instance.
    pub(in crate::server) fn hold_away(&mut self, recipient: Key, sender: Key) {
        let Some(State::Away(away)) = self.sessions.get(sender).map(|session| &session.state) else { return };
        let (instance, held) = (away.instance.clone(), away.who.clone());
        let Some(by) = self.who(recipient) else { return };
        let Some(cluster) = &mut self.cluster else { return };
        let channel = cluster.at(&instance);
        let hold = Hold { by: by.address.id().into(), held: Some(held.address.id().into()), ends: false };
        cluster.say(&[channel], Kind::Hold, &hold, "");
    }

    /// A peer of another instance concerns us no more: tells its instance that nobody here holds it.
    pub(super) fn free_elsewhere(&mut self, sender: Key) {
        for recipient in self.holds.holders(sender).to_vec() {
            let Some(State::Away(away)) = self.sessions.get(sender).map(|session| &session.state) else {
                return;
            };
            let (instance, held) = (away.instance.clone(), away.who.clone());
            let Some(by) = self.who(recipient) else { continue };
            let Some(cluster) = &mut self.cluster else { return };
            let channel = cluster.at(&instance);
            let (by, held) = (by.address.id().into(), Some(held.address.id().into()));
            cluster.say(&[channel], Kind::Hold, &Hold { by, held, ends: true }, "");
        }
    }

    /// Those of other instances whom a recipient holds.
    pub(in crate::server) fn held_away(&self, recipient: Key) -> Vec<Key> {
        if self.cluster.is_none() {
            return Vec::new();
        }
        let is_away = |key: &&Key| {
            self.sessions.get(**key).is_some_and(|session| matches!(session.state, State::Away(_)))
        };
        self.holds.held_by(recipient).iter().filter(is_away).copied().collect()
    }

    /// Tells the instances of these for how long they were held in the last minute.
    pub(in crate::server) fn tell_spent(&mut self, senders: &[Key], now: Instant) {
        for key in senders {
            let Some(State::Away(away)) = self.sessions.get(*key).map(|session| &session.state) else {
                continue;
            };
            let (instance, who) = (away.instance.clone(), away.who.clone());
            self.say_spent(&instance, who.address.id(), *key, now);
        }
    }

    /// Tells an instance for how long this sender was held in the last minute, if it was.
    pub(super) fn say_spent(&mut self, instance: &str, id: &str, key: Key, now: Instant) {
        let millis = u64::try_from(self.holds.spent(key, now).as_millis()).unwrap_or(u64::MAX);
        if let Some(cluster) = self.cluster.as_mut().filter(|_| millis > 0) {
            let channel = cluster.at(instance);
            cluster.say(&[channel], Kind::Spent, &Spent { id: id.into(), millis }, "");
        }
    }

    /// Before a recipient holds nobody any more: tells those instances whose peers it held.
    pub(in crate::server) fn resume_away(&mut self, recipient: Key) {
        let Some(cluster) = &self.cluster else { return };
        let held = self.holds.held_by(recipient).iter();
        let away = held.filter_map(|key| match &self.sessions.get(*key)?.state {
            State::Away(away) => Some(cluster.at(&away.instance)),
            _ => None,
        });
        let channels: BTreeSet<Arc<str>> = away.collect();
        let Some(by) = self.who(recipient).filter(|_| !channels.is_empty()) else { return };
        let hold = Hold { by: by.address.id().into(), held: None, ends: true };
        let Some(cluster) = &mut self.cluster else { return };
        for channel in channels {
            cluster.say(&[channel], Kind::Hold, &hold, "");
        }
    }

    /// Says a message of the host at other instances.
    pub(in crate::server) fn spread_host(&mut self, to: &To<'_>, text: &str, now: Instant) {
        let channels = self.channels(None, to);
        if let Some(cluster) = self.cluster.as_mut().filter(|_| !channels.is_empty()) {
            let (from, rooms) = ("".into(), Vec::new());
            let body = Route { from, rooms, to: to.into(), receipt: false };
            cluster.say_kept(&channels, (Kind::Host, Owner::Host), &body, text, false, now);
        }
    }

    /// Throws peers of the host's choice out at other instances.
    pub(in crate::server) fn spread_kick(
        &mut self,
        address: &str,
        status: Status,
        message: &str,
        now: Instant,
    ) {
        let channels = self.channels(None, &To::One(address.into()));
        if let Some(cluster) = self.cluster.as_mut().filter(|_| !channels.is_empty()) {
            let kick = Kick { address: address.into(), status: status.0, message: message.into() };
            cluster.say_kept(&channels, (Kind::Kick, Owner::Nobody), &kick, "", false, now);
        }
    }

    /// Wants what is said to a newcomer, before it is let in. True if it has to wait, which it does then.
    pub(in crate::server) fn expect(&mut self, key: Key, names: &[&str]) -> bool {
        let Some(cluster) = &mut self.cluster else { return false };
        let tag = names.iter().filter_map(|name| cluster.want(name)).max();
        if let Some(tag) = tag {
            cluster.wait(tag, Wait::Admit(key));
        }
        tag.is_some()
    }

    /// The names that [`Hub::expect`] wanted concern nobody any more.
    pub(in crate::server) fn unexpect(&mut self, names: &[&str], now: Instant) {
        names.iter().for_each(|name| self.unwant(name, now));
    }

    /// A peer was let in: its rooms are asked who else is there, and told of it.
    pub(in crate::server) fn arrived(&mut self, key: Key) {
        if self.cluster.is_none() {
            return;
        }
        let rooms = self.rooms.of(key).to_vec();
        self.announce(key, &rooms, false);
        rooms.into_iter().for_each(|room| self.ask(room));
    }

    /// A peer entered a named room, which it was not in before if `enters`. True if its answer waits.
    pub(in crate::server) fn entered(&mut self, key: Key, room: &str, enters: bool) -> bool {
        let Some(cluster) = &mut self.cluster else { return false };
        let tag = if enters { cluster.want(room) } else { cluster.interest.coming(room) };
        if let Some(tag) = tag {
            cluster.wait(tag, Wait::Join(key, room.into()));
            if let Some(session) = self.sessions.get_mut(key) {
                session.outbox.joining += 1;
            }
        } else if enters {
            self.known_in(key, room);
        }
        tag.is_some()
    }

    /// Makes a peer known in a room that it is in.
    pub(super) fn known_in(&mut self, key: Key, room: &str) {
        if let Some(room) = self.rooms.named(room) {
            self.announce(key, &[room], false);
            self.ask(room);
        }
    }

    /// Ends the waits of a peer for a room: what comes for it now must come behind the `join:ok`.
    pub(in crate::server) fn settle_join(&mut self, key: Key, room: &str, now: Instant) {
        let Some(cluster) = &mut self.cluster else { return };
        let is = |wait: &Wait| matches!(wait, Wait::Join(of, name) if *of == key && **name == *room);
        let (due, rest) = std::mem::take(&mut cluster.waits).into_iter().partition(|(_, wait)| is(wait));
        cluster.waits = rest;
        self.finish(due, now);
    }

    /// A peer left a room, after it did.
    pub(in crate::server) fn left(&mut self, key: Key, room: &str, now: Instant) {
        let Some(card) = self.own_card(key) else { return };
        if let Some(cluster) = &mut self.cluster {
            let channel = cluster.to(room);
            cluster.say(&[channel], Kind::Peers, &peers(card, false), "");
        }
        self.unwant(room, now);
    }

    /// A peer changed what it tells of itself, and tells so in a message next.
    pub(in crate::server) fn changed(&mut self, key: Key) {
        if self.cluster.is_some() {
            let rooms = self.rooms.of(key).to_vec();
            self.announce(key, &rooms, true);
        }
    }

    /// A peer that was in these rooms has gone. Before it loses its seat.
    pub(in crate::server) fn departs(&mut self, key: Key, who: &Who) -> Vec<Arc<str>> {
        if self.cluster.is_none() {
            return Vec::new();
        }
        let name = |room: &RoomId| self.rooms.name(*room).0.clone();
        let mut names: Vec<Arc<str>> = self.rooms.of(key).iter().map(name).collect();
        let channels: BTreeSet<&Arc<str>> = names.iter().collect();
        if let Some(cluster) = self.cluster.as_mut().filter(|_| !self.down) {
            let channels: Vec<_> = channels.into_iter().map(|name| cluster.to(name)).collect();
            cluster.say(&channels, Kind::Gone, &Gone { ids: vec![who.address.id().into()] }, "");
        }
        names.push(who.address.id().into());
        names
    }

    /// What a peer that has gone wanted is wanted no more. After it lost its seat.
    pub(in crate::server) fn departed(&mut self, names: &[Arc<str>], now: Instant) {
        names.iter().for_each(|name| self.unwant(name, now));
    }

    pub(in crate::server) fn say_bye(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            let all = cluster.all();
            cluster.say(&[all], Kind::Bye, &(), "");
        }
    }

    fn unwant(&mut self, name: &str, now: Instant) {
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.interest.release(name) && cluster.link != Link::Down {
            let channel = cluster.to(name).to_string();
            cluster.push(Bus::Unsubscribe { channel });
        }
        for room in [self.rooms.user(name), self.rooms.named(name)].into_iter().flatten() {
            if self.rooms.members(room).is_empty() {
                self.desert(room, now);
            }
        }
    }

    /// Asks who is in a room elsewhere, if that is not known.
    pub(super) fn ask(&mut self, room: RoomId) {
        let (name, own) = self.rooms.name(room);
        let name = name.clone();
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.link != Link::Up || !cluster.interest.hears(&name) || !self.rooms.ask(room) {
            return;
        }
        let (mut users, mut rooms) = (Vec::new(), Vec::new());
        if own { &mut users } else { &mut rooms }.push(Cow::Borrowed(&*name));
        let channel = cluster.to(&name);
        cluster.say(&[channel], Kind::Ask, &Ask { users, rooms, sync: None, since: None, first: false }, "");
    }

    fn announce(&mut self, key: Key, rooms: &[RoomId], told: bool) {
        let Some(card) = self.own_card(key) else { return };
        let names: BTreeSet<&Arc<str>> = rooms.iter().map(|room| self.rooms.name(*room).0).collect();
        let Some(cluster) = &mut self.cluster else { return };
        let channels: Vec<_> = names.into_iter().map(|name| cluster.to(name)).collect();
        cluster.say(&channels, Kind::Peers, &peers(card, told), "");
    }

    /// One of ours, as others are to know it.
    pub(super) fn own_card(&self, key: Key) -> Option<Card<'static>> {
        self.cluster.as_ref()?;
        let State::Live(live) = &self.sessions.get(key)?.state else { return None };
        let text = |text: &str| Cow::Owned(text.to_owned());
        Some(Card {
            id: text(live.who.address.id()),
            user: text(live.who.address.user()),
            name: text(&live.who.name),
            rooms: named(&self.rooms, key).iter().map(|name| text(name)).collect(),
            data: data(&live.profile),
        })
    }
}

impl Cluster {
    /// Hears what is said to a name; the number of the subscription if that is still to come.
    fn want(&mut self, name: &str) -> Option<u64> {
        match self.interest.acquire(name, self.link != Link::Down) {
            Wanted::Heard => None,
            Wanted::Coming(tag) => Some(tag),
            Wanted::New(tag) => {
                let channel = self.to(name).to_string();
                self.push(Bus::Subscribe { channel, tag });
                Some(tag)
            }
        }
    }

    fn wait(&mut self, tag: u64, wait: Wait) {
        let at = self.waits.partition_point(|(other, _)| *other <= tag);
        self.waits.insert(at, (tag, wait));
    }
}

/// The channel of the instances that may have whom `name` names.
fn channel<'a>(rooms: &Rooms, name: &'a str) -> Option<&'a str> {
    let name = match Target::parse(name)? {
        // Ids are unique over all instances.
        Target::Session { id, .. } | Target::Id(id) if rooms.session(id).is_some() => return None,
        Target::Session { user, .. } => user,
        Target::Id(name) | Target::User(name) | Target::Name(name) => name,
    };
    (name.len() <= MAX_NAME).then_some(name)
}

fn named(rooms: &Rooms, key: Key) -> Vec<Arc<str>> {
    let of = rooms.of(key).iter().map(|room| rooms.name(*room));
    of.filter(|(_, own)| !own).map(|(name, _)| name.clone()).collect()
}

fn data(profile: &Profile) -> Box<RawValue> {
    RawValue::from_string(profile.json()).expect("members are JSON as they were read")
}

fn peers(card: Card<'_>, told: bool) -> Peers<'_> {
    Peers { peers: vec![card], told, sync: None, last: false }
}
