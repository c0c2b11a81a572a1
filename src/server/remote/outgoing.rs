//! What our own peers announce to other instances.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use serde_json::value::RawValue;

use super::{Card, Holding, Outgoing, ToCluster, Wait};
use crate::proto::{Status, Target, To};
use crate::server::Hub;
use crate::server::outbox::Class;
use crate::server::presence::{Profile, Who};
use crate::server::rooms::{RoomId, Rooms};
use crate::server::session::State;
use crate::server::slab::Key;

/// No valid name is longer: a room's has at most 256 bytes.
const MAX_NAME: usize = 256;

/// A peer's message for other instances.
pub(in crate::server) struct Spread<'a> {
    pub to: &'a To<'a>,
    pub text: &'a Arc<str>,
    pub class: Class,
    /// The message's id, if its sender wants a receipt, and how many peers it reached here.
    pub receipt: Option<(&'a str, usize)>,
}

impl Hub {
    /// Whether this hub is one of several instances.
    pub(in crate::server) fn is_one_of_several(&self) -> bool {
        self.remote.is_some()
    }

    /// The names to which a message with this `to` is published, once each. None without other instances, or while
    /// there is no bus and no instance has ever been seen.
    pub(in crate::server) fn names(&self, sender: Option<Key>, to: &To<'_>) -> Vec<Arc<str>> {
        if !self.remote.as_ref().is_some_and(|remote| remote.takes) {
            return Vec::new();
        }
        let mut names: BTreeSet<Arc<str>> = BTreeSet::new();
        match to {
            To::Absent => {
                let rooms = sender.map_or(&[][..], |key| self.rooms.of(key));
                names.extend(rooms.iter().map(|room| self.rooms.name(*room).0.clone()));
            }
            To::One(name) => names.extend(name_of(&self.rooms, name).map(Arc::from)),
            To::List(list) => {
                names.extend(list.iter().filter_map(|name| name_of(&self.rooms, name)).map(Arc::from));
            }
        }
        names.into_iter().collect()
    }

    /// Sends a peer's message to these names. Returns whether other instances will report how many peers it reached.
    pub(in crate::server) fn spread(&mut self, key: Key, names: Vec<Arc<str>>, what: &Spread<'_>) -> bool {
        let (Some(who), Some(session)) = (self.who(key), self.sessions.get(key)) else { return false };
        let (conn, rooms) = (session.conn, named(&self.rooms, key));
        let Some(remote) = self.remote.as_mut().filter(|_| !names.is_empty()) else { return false };
        let message = Outgoing {
            conn,
            from: who.address.clone(),
            rooms,
            to: owned(what.to),
            text: what.text.clone(),
            is_state: matches!(what.class, Class::State { .. }),
            receipt: what.receipt.map(|(id, delivered)| (id.into(), delivered)),
        };
        remote.send(ToCluster::Message { names, message });
        what.receipt.is_some()
    }

    /// Holds a sender on another instance.
    pub(in crate::server) fn hold_away(&mut self, recipient: Key, sender: Key) {
        self.say_hold(recipient, sender, false);
    }

    /// A peer of another instance is no longer relevant here: tells its instance that nobody here holds it.
    pub(super) fn free_elsewhere(&mut self, sender: Key) {
        for recipient in self.holds.holders(sender).to_vec() {
            self.say_hold(recipient, sender, true);
        }
    }

    /// A peer of another instance is no longer relevant here and holds nobody any more: tells its instance so, where it
    /// may still be known to hold ours, and holds them again when that is due.
    pub(super) fn unhold_elsewhere(&mut self, recipient: Key) {
        let held = self.holds.held_by(recipient).iter();
        let ids: Vec<Box<str>> =
            held.filter_map(|sender| Some(self.who(*sender)?.address.id().into())).collect();
        let Some(State::Away(away)) = self.sessions.get(recipient).map(|session| &session.state) else {
            return;
        };
        let Some(remote) = &mut self.remote else { return };
        for id in ids {
            let (instance, by) = (away.instance.clone(), away.who.address.id().into());
            remote.send(ToCluster::Hold { holding: Holding { instance, by, held: Some(id), ends: true } });
        }
    }

    pub(super) fn say_hold(&mut self, recipient: Key, sender: Key, ends: bool) {
        let Some(State::Away(away)) = self.sessions.get(sender).map(|session| &session.state) else { return };
        let (instance, held) = (away.instance.clone(), away.who.clone());
        let Some(by) = self.who(recipient) else { return };
        let (by, held) = (by.address.id().into(), Some(held.address.id().into()));
        if let Some(remote) = &mut self.remote {
            remote.send(ToCluster::Hold { holding: Holding { instance, by, held, ends } });
        }
    }

    /// The senders on other instances that a recipient holds.
    pub(in crate::server) fn held_away(&self, recipient: Key) -> Vec<Key> {
        if self.remote.is_none() {
            return Vec::new();
        }
        let is_away = |key: &&Key| {
            self.sessions.get(**key).is_some_and(|session| matches!(session.state, State::Away(_)))
        };
        self.holds.held_by(recipient).iter().filter(is_away).copied().collect()
    }

    /// Tells the instances concerned how long these senders were held in the last minute: of a peer of another instance
    /// its own, of one of ours those whose peers hold it.
    pub(in crate::server) fn tell_spent(&mut self, senders: &[Key], now: Instant) {
        for key in senders {
            self.share_spent(*key, None, now);
        }
    }

    /// Tells them so of one sender, except for the instance that said it.
    pub(super) fn share_spent(&mut self, sender: Key, said_by: Option<&Arc<str>>, now: Instant) {
        let Some(who) = self.who(sender).filter(|_| self.remote.is_some()) else { return };
        let away = |key: &Key| match &self.sessions.get(*key)?.state {
            State::Away(away) => Some(away.instance.clone()),
            _ => None,
        };
        let instances: BTreeSet<Arc<str>> = match away(&sender) {
            Some(own) => [own].into(),
            None => self.holds.holders(sender).iter().filter_map(away).collect(),
        };
        for instance in instances.iter().filter(|instance| Some(*instance) != said_by) {
            self.say_spent(instance, who.address.id(), sender, now);
        }
    }

    /// Tells an instance how long this sender was held in the last minute, if it was.
    pub(super) fn say_spent(&mut self, instance: &Arc<str>, id: &str, key: Key, now: Instant) {
        let millis = u64::try_from(self.holds.spent(key, now).as_millis()).unwrap_or(u64::MAX);
        if let Some(remote) = self.remote.as_mut().filter(|_| millis > 0) {
            remote.send(ToCluster::Spent { instance: instance.clone(), id: id.into(), millis });
        }
    }

    /// A recipient is about to release everybody: tells the instances whose peers it held.
    pub(in crate::server) fn resume_away(&mut self, recipient: Key) {
        if self.remote.is_none() {
            return;
        }
        let held = self.holds.held_by(recipient).iter();
        let away = held.filter_map(|key| match &self.sessions.get(*key)?.state {
            State::Away(away) => Some(away.instance.clone()),
            _ => None,
        });
        let instances: BTreeSet<Arc<str>> = away.collect();
        let Some(by) = self.who(recipient).filter(|_| !instances.is_empty()) else { return };
        let Some(remote) = &mut self.remote else { return };
        for instance in instances {
            let holding = Holding { instance, by: by.address.id().into(), held: None, ends: true };
            remote.send(ToCluster::Hold { holding });
        }
    }

    /// Sends a message of the host to other instances.
    pub(in crate::server) fn spread_host(&mut self, to: &To<'_>, text: &str) {
        let names = self.names(None, to);
        if let Some(remote) = self.remote.as_mut().filter(|_| !names.is_empty()) {
            remote.send(ToCluster::Host { names, to: owned(to), text: text.into() });
        }
    }

    /// Kicks peers on other instances.
    pub(in crate::server) fn spread_kick(&mut self, address: &str, status: Status, message: &str) {
        let names = self.names(None, &To::One(address.into()));
        if let Some(remote) = self.remote.as_mut().filter(|_| !names.is_empty()) {
            let (address, message) = (address.into(), message.into());
            remote.send(ToCluster::Kick { names, address, status, message });
        }
    }

    /// Subscribes to the names of a newcomer before it is admitted. Returns whether it has to wait.
    pub(in crate::server) fn expect(&mut self, key: Key, names: &[&str]) -> bool {
        let Some(remote) = &mut self.remote else { return false };
        let wait = remote.wait(Wait::Admit(key));
        remote.send(ToCluster::Want { names: names.iter().map(|name| (*name).into()).collect(), wait });
        true
    }

    /// Releases the names of [`Hub::expect`].
    pub(in crate::server) fn unexpect(&mut self, names: &[&str], now: Instant) {
        if self.remote.is_some() {
            names.iter().for_each(|name| self.unwant((*name).into(), now));
        }
    }

    /// A peer was admitted: announces it in its rooms, and asks who else is in them.
    pub(in crate::server) fn arrived(&mut self, key: Key) {
        if self.remote.is_none() {
            return;
        }
        let rooms = self.rooms.of(key).to_vec();
        self.announce(key, &rooms, false);
        rooms.into_iter().for_each(|room| self.ask(room));
    }

    /// A peer joined a named room, in which it was not before if `enters`. Returns whether its answer has to wait.
    pub(in crate::server) fn entered(&mut self, key: Key, room: &str, enters: bool) -> bool {
        let Some(remote) = &mut self.remote else { return false };
        let wait = remote.wait(Wait::Join { key, room: room.into(), enters });
        remote.send(match enters {
            true => ToCluster::Want { names: vec![room.into()], wait },
            false => ToCluster::Await { name: room.into(), wait },
        });
        if let Some(session) = self.sessions.get_mut(key) {
            session.outbox.joining += 1;
        }
        true
    }

    /// Announces a peer in a room that it is in.
    pub(super) fn known_in(&mut self, key: Key, room: &str) {
        if let Some(room) = self.rooms.named(room) {
            self.announce(key, &[room], false);
            self.ask(room);
        }
    }

    /// Ends the waits of a peer for a room early, since whatever is sent to it now must come after the `join:ok`.
    pub(in crate::server) fn settle_join(&mut self, key: Key, room: &str, now: Instant) {
        let Some(remote) = &mut self.remote else { return };
        remote.settle(key, room).into_iter().for_each(|wait| self.finish(wait, now));
    }

    /// A peer has left a room.
    pub(in crate::server) fn left(&mut self, key: Key, room: &str, now: Instant) {
        let Some(card) = self.own_card(key) else { return };
        let name: Arc<str> = room.into();
        if let Some(remote) = &mut self.remote {
            remote.send(ToCluster::Peer { names: vec![name.clone()], card, told: false });
        }
        self.unwant(name, now);
    }

    /// A peer changed its data, and announces it with a message next.
    pub(in crate::server) fn changed(&mut self, key: Key) {
        if self.remote.is_some() {
            let rooms = self.rooms.of(key).to_vec();
            self.announce(key, &rooms, true);
        }
    }

    /// A peer goes offline. Call this while it still has its seat. Returns the names that it used.
    pub(in crate::server) fn departs(&mut self, key: Key, who: &Who) -> Vec<Arc<str>> {
        let Some(remote) = &mut self.remote else { return Vec::new() };
        let name = |room: &RoomId| self.rooms.name(*room).0.clone();
        let mut names: Vec<Arc<str>> = self.rooms.of(key).iter().map(name).collect();
        if !self.down {
            let told: BTreeSet<Arc<str>> = names.iter().cloned().collect();
            remote.send(ToCluster::Gone { names: told.into_iter().collect(), id: who.address.id().into() });
        }
        names.push(who.address.id().into());
        names
    }

    /// Releases the names that a departed peer used. Call this after it lost its seat.
    pub(in crate::server) fn departed(&mut self, names: Vec<Arc<str>>, now: Instant) {
        names.into_iter().for_each(|name| self.unwant(name, now));
    }

    pub(in crate::server) fn say_bye(&mut self) {
        if let Some(remote) = &mut self.remote {
            remote.send(ToCluster::Bye);
        }
    }

    fn unwant(&mut self, name: Arc<str>, now: Instant) {
        let Some(remote) = &mut self.remote else { return };
        remote.send(ToCluster::Unwant { name: name.clone() });
        for room in [self.rooms.user(&name), self.rooms.named(&name)].into_iter().flatten() {
            if self.rooms.members(room).is_empty() {
                self.desert(room, now);
            }
        }
    }

    /// Asks which peers on other instances are in a room, unless they are known.
    pub(super) fn ask(&mut self, room: RoomId) {
        let Some(remote) = self.remote.as_mut().filter(|remote| remote.up) else { return };
        let (name, own) = self.rooms.name(room);
        let (name, is_heard) = (name.clone(), own || remote.hears(name));
        if is_heard && self.rooms.ask(room) {
            remote.send(ToCluster::Ask { name, own });
        }
    }

    fn announce(&mut self, key: Key, rooms: &[RoomId], told: bool) {
        let Some(card) = self.own_card(key) else { return };
        let names: BTreeSet<Arc<str>> = rooms.iter().map(|room| self.rooms.name(*room).0.clone()).collect();
        if let Some(remote) = &mut self.remote {
            remote.send(ToCluster::Peer { names: names.into_iter().collect(), card, told });
        }
    }

    /// One of our peers, as others see it.
    pub(super) fn own_card(&self, key: Key) -> Option<Card> {
        self.remote.as_ref()?;
        let State::Live(live) = &self.sessions.get(key)?.state else { return None };
        Some(Card {
            id: live.who.address.id().into(),
            user: live.who.address.user().into(),
            name: live.who.name.clone(),
            rooms: named(&self.rooms, key).iter().map(|name| (&**name).into()).collect(),
            data: data(&live.profile),
        })
    }
}

/// The name by which to reach the instances of the peers that `name` addresses.
fn name_of<'a>(rooms: &Rooms, name: &'a str) -> Option<&'a str> {
    let name = match Target::parse(name)? {
        // Ids are unique across all instances.
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
    RawValue::from_string(profile.json()).expect("the members were parsed as JSON")
}

fn owned(to: &To<'_>) -> To<'static> {
    match to {
        To::Absent => To::Absent,
        To::One(name) => To::One(name.clone().into_owned().into()),
        To::List(names) => To::List(names.iter().map(|name| name.clone().into_owned().into()).collect()),
    }
}
