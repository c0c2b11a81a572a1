//! Handles what the cluster reports to the hub.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::info;

use super::{Card, FromCluster, Holding, Incoming, Question, ToCluster, Wait};
use crate::proto::{Address, Status, To};
use crate::server::error::Refusal;
use crate::server::limits::is_past;
use crate::server::outbox::Class;
use crate::server::rooms::RoomId;
use crate::server::routing::{Sender, recipients};
use crate::server::session::State;
use crate::server::slab::Key;
use crate::server::{ConnId, Hub, Whom};

/// The minimum interval between two reports of lost messages to a sender.
const TELL_AFTER: Duration = Duration::from_secs(1);

impl Hub {
    /// Handles a value from the cluster. Poll afterwards. A hub without a cluster ignores it.
    pub fn handle_cluster(&mut self, said: FromCluster, now: Instant) {
        let Some(remote) = &mut self.remote else { return };
        match said {
            FromCluster::Reaches { up, takes } => {
                let rises = up && !remote.up;
                (remote.up, remote.takes) = (up, takes);
                if rises {
                    // Each instance is asked for all rooms once it is known, so no room has to be asked for separately.
                    self.rooms.ask_all(|name, own| own || remote.hears(name));
                }
            }
            FromCluster::Heard { wait } => {
                if let Some(wait) = remote.end_wait(wait) {
                    let room = wait.room().map(Box::<str>::from);
                    self.finish(wait, now);
                    room.into_iter().for_each(|room| self.ask_if_heard(&room));
                }
            }
            FromCluster::Receipt { conn, id, delivered } => {
                if let Some(key) = self.conns.get(&conn) {
                    self.receipt(*key, &id, delivered, now);
                }
            }
            FromCluster::Unsent { conns } => self.tell_unsent(&conns, now),
            FromCluster::HoldForBus { conn } => {
                if let Some(key) = self.conns.get(&conn) {
                    self.hold_for_bus(*key, now);
                }
            }
            FromCluster::FreeForBus => self.drained(Key::BUS, now),
            FromCluster::ListRooms { instance, sync } => self.list_rooms(instance, sync),
            FromCluster::ListPeers { instance, users, rooms, question } => {
                if question.sync.is_some() {
                    // It may have missed how long its peers were held.
                    let keys = remote.peers_of(&instance);
                    self.tell_spent(&keys, now);
                }
                self.list_peers(instance, &users, &rooms, question);
            }
            FromCluster::Message { message } => self.routed(message, now),
            FromCluster::Missed { from, rooms, to, ago } => self.missed((&from, &rooms), &to, (ago, now)),
            FromCluster::TellMissed => {
                for key in std::mem::take(&mut remote.missing) {
                    self.wake(key);
                }
            }
            FromCluster::Host { text } => _ = self.inject(&text, false, now),
            FromCluster::Kick { address, status, message } => {
                self.kick(Whom::Address(&address), status, &message, now);
            }
            FromCluster::Peer { instance, card, told, sync } => self.meet(&instance, &card, told, sync, now),
            FromCluster::Gone { instance, ids } => {
                for id in ids {
                    let key = self.remote.as_ref().and_then(|remote| remote.peer(&instance, &id));
                    key.into_iter().for_each(|key| self.forget(key, now));
                }
            }
            FromCluster::GoneBefore { instance, sync } => {
                for key in remote.peers_of(&instance) {
                    if self.away_sync(key).is_some_and(|seen| seen < sync) {
                        self.forget(key, now);
                    }
                }
            }
            FromCluster::Buried { instance } => {
                let keys = remote.peers_of(&instance);
                info!("an instance is gone, with {} peers", keys.len());
                keys.into_iter().for_each(|key| self.forget(key, now));
            }
            FromCluster::Free { instance } => {
                let keys: Vec<Key> = match instance {
                    Some(instance) => remote.peers_of(&instance),
                    None => remote.peers.values().flat_map(|peers| peers.values().copied()).collect(),
                };
                keys.into_iter().for_each(|key| self.free_away(key, now));
            }
            FromCluster::Hold { holding } => self.hold_told(&holding, now),
            FromCluster::Spent { instance, id, millis } => {
                let away = remote.peer(&instance, &id);
                if let Some(sender) = away.or_else(|| self.rooms.session(&id)) {
                    self.holds.learn_spent(sender, Duration::from_millis(millis), now);
                }
                if away.is_none()
                    && let Some(sender) = self.rooms.session(&id)
                {
                    self.share_spent(sender, Some(&instance), now);
                }
            }
        }
        self.relieve(now);
    }

    /// Completes what waited.
    pub(super) fn finish(&mut self, wait: Wait, now: Instant) {
        match wait {
            Wait::Admit(key) => self.expected(key, now),
            Wait::Settled { .. } => {}
            Wait::Join { key, room, enters } => {
                if let Some(session) = self.sessions.get_mut(key) {
                    session.outbox.joining = session.outbox.joining.saturating_sub(1);
                }
                // Leaving a room ends its waits first, so a session that still exists is in the room, or it is its own
                // room.
                if self.who(key).is_some() {
                    self.joined(key, &room, now);
                    if enters {
                        self.known_in(key, &room);
                    }
                }
            }
        }
    }

    /// Asks who is in a room after the last wait for it has ended.
    fn ask_if_heard(&mut self, room: &str) {
        if let Some(room) = self.rooms.named(room).filter(|room| !self.rooms.members(*room).is_empty()) {
            self.ask(room);
        }
    }

    fn list_rooms(&mut self, instance: Arc<str>, sync: u64) {
        let (users, mut rooms) = self.rooms.names_here();
        if let Some(remote) = &mut self.remote {
            rooms.retain(|name| remote.hears(name));
            remote.send(ToCluster::Rooms { instance, sync, users, rooms });
        }
    }

    fn list_peers(&mut self, instance: Arc<str>, users: &[Box<str>], rooms: &[Box<str>], question: Question) {
        let users = users.iter().filter_map(|name| self.rooms.user(name));
        let rooms = rooms.iter().filter_map(|name| self.rooms.named(name));
        let mut keys: Vec<Key> =
            users.chain(rooms).flat_map(|room| self.rooms.members(room)).copied().collect();
        keys.sort_unstable();
        keys.dedup();
        let cards: Vec<Card> = keys.into_iter().filter_map(|key| self.own_card(key)).collect();
        if let Some(remote) = &mut self.remote {
            remote.send(ToCluster::Peers { instance, cards, question });
        }
    }

    fn routed(&mut self, message: Incoming, now: Instant) {
        let rooms = self.rooms_of(&message.from, &message.rooms);
        let of = self.remote.as_ref().and_then(|remote| remote.peer(&message.instance, message.from.id()));
        let mut found = std::mem::take(&mut self.found);
        recipients(&message.to, Sender::Away(&rooms), &mut self.rooms, &mut found);
        let mut class = Class::Message;
        if message.is_state {
            // A peer that is told that another is online must also be told when it goes offline, which happens if we
            // know that they share a room. Until we do, the answer of its instance is on its way.
            found.retain(|peer| of.is_some_and(|of| self.rooms.knows(of, *peer)));
            if let Some(of) = of {
                class = Class::State { of };
                self.told_of(of);
            }
        }
        let mut delivered = 0;
        if !found.is_empty() {
            delivered = self.deliver(of, &found, &message.text, class, now);
        }
        found.clear();
        self.found = found;
        if let (Some(n), Some(remote)) = (message.receipt, &mut self.remote) {
            remote.send(ToCluster::Delivered { instance: message.instance, n, delivered });
        }
    }

    /// A message was dropped: its recipients here missed one.
    fn missed(
        &mut self,
        (from, rooms): (&Address, &[Box<str>]),
        to: &To<'_>,
        (ago, now): (Duration, Instant),
    ) {
        let rooms = self.rooms_of(from, rooms);
        let sender = if from.as_str().is_empty() { Sender::Host } else { Sender::Away(&rooms) };
        let mut found = Vec::new();
        recipients(to, sender, &mut self.rooms, &mut found);
        for key in found {
            let Some(session) = self.sessions.get_mut(key) else { continue };
            let State::Live(live) = &session.state else { continue };
            if now.saturating_duration_since(live.since) >= ago
                && session.outbox.miss()
                && let Some(remote) = &mut self.remote
            {
                remote.missing.insert(key);
            }
        }
    }

    /// The rooms of a sender elsewhere, named and own, that have members here.
    fn rooms_of(&self, from: &Address, named: &[Box<str>]) -> Vec<RoomId> {
        let own = self.rooms.user(from.user());
        let named = named.iter().filter_map(|name| self.rooms.named(name));
        let mut rooms: Vec<_> = own.into_iter().chain(named).collect();
        rooms.sort_unstable();
        rooms
    }

    /// A peer of another instance holds one of ours, or releases it.
    fn hold_told(&mut self, holding: &Holding, now: Instant) {
        let instance = &holding.instance;
        let by = self.remote.as_ref().and_then(|remote| remote.peer(instance, &holding.by));
        let Some(by) = by else { return self.hold_fails(holding, now) };
        match &holding.held {
            None => self.drained(by, now),
            Some(id) if holding.ends => {
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

    /// The holder of a hold is not known to the instance of the one that it holds, which is therefore not held: both
    /// have to know that, so that it is held from its next message on.
    fn hold_fails(&mut self, holding: &Holding, now: Instant) {
        let Some(id) = &holding.held else { return };
        let Some(remote) = &mut self.remote else { return };
        if !holding.ends {
            let Holding { instance, by, .. } = holding;
            let (instance, by, held) = (instance.clone(), by.clone(), Some(id.clone()));
            remote.send(ToCluster::Hold { holding: Holding { instance, by, held, ends: true } });
        } else if let (Some(by), Some(sender)) =
            (self.rooms.session(&holding.by), remote.peer(&holding.instance, id))
        {
            self.freed_from_away(by, sender, now);
            // A later hold may have begun there meanwhile.
            self.say_hold(by, sender, true);
        }
    }

    /// Reports dropped messages to their senders, to each at most once a second.
    fn tell_unsent(&mut self, conns: &[ConnId], now: Instant) {
        let refusal = Refusal::new(Status::UNAVAILABLE, "Other servers cannot be reached: messages are lost");
        let text: Arc<str> = refusal.frame().into();
        for conn in conns {
            let Some(&key) = self.conns.get(conn) else { continue };
            let Some(State::Live(live)) = self.sessions.get_mut(key).map(|session| &mut session.state) else {
                continue;
            };
            if live.unsent.is_none_or(|at| is_past(at, TELL_AFTER, now)) {
                live.unsent = Some(now);
                self.answer(key, &text, now);
            }
        }
    }
}
