//! Peers of other instances that share a room with one of ours.

use std::sync::Arc;
use std::time::Instant;

use super::Card;
use crate::proto::{Address, valid_user};
use crate::server::outbox::{Class, Outbox};
use crate::server::presence::{self, Profile, Who};
use crate::server::rooms::RoomId;
use crate::server::session::{Session, State};
use crate::server::slab::Key;
use crate::server::{ConnId, Hub};

/// What is known about a peer on another instance.
#[derive(Debug)]
pub(in crate::server) struct Away {
    pub instance: Arc<str>,
    pub who: Arc<Who>,
    pub profile: Profile,
    pub card: Option<Arc<str>>,
    /// A message with a change of its data is still to come.
    pub untold: bool,
    /// The number of the last question to its instance before the peer was reported.
    pub sync: u64,
}

impl Hub {
    /// Updates a peer of `instance`. `told`: a message of its own announces what changed in its data. `sync`: the
    /// number of the last question to its instance.
    pub(super) fn meet(&mut self, instance: &Arc<str>, card: &Card, told: bool, sync: u64, now: Instant) {
        let rooms = self.rooms_here(card);
        let known = self.remote.as_ref().and_then(|remote| remote.peer(instance, &card.id));
        let wanted = !rooms.is_empty() || self.is_user_here(&card.user);
        let key = match known {
            Some(key) if wanted => key,
            Some(key) => return self.forget(key, now),
            None if wanted && valid_user(&card.user) => match self.seat_away(instance, card, now) {
                Some(key) => key,
                None => return,
            },
            None => return,
        };
        let moves = known.is_none() || self.moves(key, &rooms);
        // Peers that know it are told what changed; the others learn about it from the logs of the rooms.
        let met = if known.is_some() { self.sharers(key) } else { Vec::new() };
        if moves {
            self.seat_in(key, &rooms);
        }
        let changed = self.learn(key, card, told, sync);
        self.tell_changes(now);
        if changed {
            self.show(key, &met, now);
        }
    }

    /// The peer is gone, or shares no room with any of ours.
    pub(super) fn forget(&mut self, key: Key, now: Instant) {
        let Some(session) = self.sessions.get(key) else { return };
        let State::Away(away) = &session.state else { return };
        let who = away.who.clone();
        if let Some(remote) = &mut self.remote {
            remote.remove_peer(&away.instance, who.address.id());
        }
        self.free_elsewhere(key);
        self.unhold_elsewhere(key);
        self.rooms.unseat(key, &who);
        self.forget_holds(key, now);
        self.sessions.remove(key);
        self.tell_changes(now);
    }

    /// The last of our peers has left a room: removes remote peers that were only shown because of it.
    pub(super) fn desert(&mut self, room: RoomId, now: Instant) {
        for key in self.rooms.away(room).to_vec() {
            if let (false, Some(who)) = (self.rooms.name(room).1, self.who(key)) {
                self.rooms.leave(key, room, &who);
            }
            if self.rooms.of(key).iter().all(|room| self.rooms.members(*room).is_empty()) {
                self.forget(key, now);
            }
        }
    }

    /// Our peers that share a room with this one.
    fn sharers(&mut self, key: Key) -> Vec<Key> {
        let mut found = Vec::new();
        self.rooms.peers(key, &mut found);
        found
    }

    /// The peer's named rooms that have members here and an active subscription.
    fn rooms_here(&self, card: &Card) -> Vec<RoomId> {
        let Some(remote) = &self.remote else { return Vec::new() };
        let heard = card.rooms.iter().filter(|name| remote.hears(name));
        let rooms = heard.filter_map(|name| self.rooms.named(name));
        let mut rooms: Vec<RoomId> = rooms.filter(|room| !self.rooms.members(*room).is_empty()).collect();
        rooms.sort_unstable();
        rooms.dedup();
        rooms
    }

    fn is_user_here(&self, user: &str) -> bool {
        self.rooms.user(user).is_some_and(|room| !self.rooms.members(room).is_empty())
    }

    fn seat_away(&mut self, instance: &Arc<str>, card: &Card, now: Instant) -> Option<Key> {
        let who = Arc::new(Who { address: Address::new(&card.user, &card.id), name: (&*card.name).into() });
        let away = Away {
            instance: instance.clone(),
            who,
            profile: Profile::default(),
            card: None,
            untold: false,
            sync: 0,
        };
        let key = self.sessions.insert(Session {
            conn: ConnId(u64::MAX),
            local: true,
            heard: now,
            pinged: now,
            alarm: None,
            input: 0,
            outbox: Outbox::closed(),
            state: State::Away(Box::new(away)),
        });
        if !self.rooms.seat_away(key, &card.user, &card.id) {
            self.sessions.remove(key);
            return None;
        }
        self.remote.as_mut()?.add_peer(instance, &card.id, key);
        Some(key)
    }

    /// Whether the peer's named rooms differ from these.
    fn moves(&self, key: Key, rooms: &[RoomId]) -> bool {
        let named = self.rooms.of(key).iter().filter(|room| !self.rooms.name(**room).1);
        let mut count = 0;
        !named.inspect(|_| count += 1).all(|room| rooms.contains(room)) || count != rooms.len()
    }

    fn seat_in(&mut self, key: Key, rooms: &[RoomId]) {
        let Some(who) = self.who(key) else { return };
        for room in self.rooms.of(key).to_vec() {
            if !self.rooms.name(room).1 && !rooms.contains(&room) {
                self.rooms.leave(key, room, &who);
            }
        }
        for room in rooms {
            let name = self.rooms.name(*room).0.clone();
            self.rooms.join(key, &name);
        }
    }

    /// Stores what is new about a peer. Returns whether those who know it must be told, which is not the case if it was
    /// `told` anyway.
    fn learn(&mut self, key: Key, card: &Card, told: bool, sync: u64) -> bool {
        let max = self.config.max_peer_data.saturating_mul(2);
        let Some(session) = self.sessions.get_mut(key) else { return false };
        let State::Away(away) = &mut session.state else { return false };
        away.sync = sync;
        let profile = Profile::read(card.data.get(), max);
        let renamed = *away.who.name != *card.name;
        if !renamed && profile == away.profile {
            return !told && std::mem::take(&mut away.untold);
        }
        away.untold = told;
        if renamed {
            away.who = Arc::new(Who { address: away.who.address.clone(), name: (&*card.name).into() });
        }
        away.profile = profile;
        away.card = None;
        self.rooms.renew(key);
        !told
    }

    fn show(&mut self, key: Key, to: &[Key], now: Instant) {
        let to: Vec<Key> = to.iter().copied().filter(|peer| self.rooms.knows(key, *peer)).collect();
        let Some(card) = self.card(key).filter(|_| !to.is_empty()) else { return };
        self.deliver(Some(key), &to, &card, Class::State { of: key }, now);
    }

    /// The presence that announces it.
    pub(in crate::server) fn away_card(away: &mut Away) -> Arc<str> {
        away.card.get_or_insert_with(|| presence::online(&away.who, &away.profile)).clone()
    }
}

impl Hub {
    /// A message of its own announced the change.
    pub(super) fn told_of(&mut self, key: Key) {
        if let Some(State::Away(away)) = self.sessions.get_mut(key).map(|session| &mut session.state) {
            away.untold = false;
        }
    }

    /// The number of the last question to its instance before the peer was reported.
    pub(super) fn away_sync(&self, key: Key) -> Option<u64> {
        match &self.sessions.get(key)?.state {
            State::Away(away) => Some(away.sync),
            _ => None,
        }
    }
}
