//! When the members of a room are told who came and who went, and when by numbers alone.
//!
//! A small room is told at once. In a large one each change would wake every member, so changes wait for each
//! other: [`wait`] says how long. Being told is an entry in the queue that says "up to here"; what that means is
//! found out when the socket takes it ([`transmit`](super::transmit)).
//!
//! A message of a peer does not wait, so the entry comes before it where its recipient was not told of that peer yet.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use super::Hub;
use super::rooms::RoomId;
use super::session::State;
use super::slab::Key;

/// Up to so many members a room is told at once: waking all of them takes less than a millisecond, so waiting would
/// save little.
const SMALL: usize = 50;

/// How long the changes of a room with so many members wait for each other: a quarter of a millisecond for each, so that
/// waking all of them, some microseconds each, takes a small part of the time; and at most what a person takes for at
/// once.
fn wait(members: usize) -> Duration {
    Duration::from_millis((members as u64 / 4).clamp(50, 250))
}

/// Rooms whose members are told together.
#[derive(Debug, Default)]
pub(super) struct Telling {
    queue: BTreeSet<(Instant, RoomId)>,
    rooms: HashSet<RoomId>,
}

impl Telling {
    /// When the first is due.
    pub fn due(&self) -> Option<Instant> {
        self.queue.first().map(|(due, _)| *due)
    }
}

impl Hub {
    /// Tells a session at this place in its queue what has changed in its rooms.
    pub(super) fn catch_up(&mut self, key: Key) {
        let seq = self.rooms.seq();
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.outbox.push_roster(seq);
        if !session.outbox.announced && !session.outbox.is_empty() {
            session.outbox.announced = true;
            self.ready.push_back(session.conn);
        }
    }

    /// Sees to it that the members of rooms that have changed are told, at once or later.
    pub(super) fn tell_changes(&mut self, now: Instant) {
        while let Some((room, members)) = self.rooms.take_changed() {
            if self.down {
                // All go, and nobody has to be told.
                continue;
            }
            let shows = self.choose(room, members);
            if self.rooms.is_full(room) {
                self.compact(room);
            }
            if members <= SMALL || shows {
                self.tell(room);
            } else if self.telling.rooms.insert(room) {
                self.telling.queue.insert((now + wait(members), room));
            }
        }
    }

    /// Tells the members of the rooms whose time has come.
    pub(super) fn tell_due(&mut self, now: Instant) {
        self.rooms.pages.expire(now);
        while let Some((_, room)) = self.telling.queue.first().copied().filter(|(due, _)| *due <= now) {
            self.telling.queue.pop_first();
            self.telling.rooms.remove(&room);
            // It may be another room by now, which is told a little early.
            self.tell(room);
        }
    }

    fn tell(&mut self, room: RoomId) {
        for at in 0..self.rooms.members(room).len() {
            self.catch_up(self.rooms.members(room)[at]);
        }
    }

    /// Decides whether a room tells of its members or of their number; of them again once a quarter less are there than
    /// would be too many. True if it does since now: then all are told at once, so that whoever hears from a peer that
    /// shares the room was told of it.
    fn choose(&mut self, room: RoomId, members: usize) -> bool {
        let Some(most) = self.config.count_above else { return false };
        if members > most {
            self.rooms.set_quiet(room, true);
        }
        members <= most - most / 4 && self.rooms.set_quiet(room, false)
    }

    fn compact(&mut self, room: RoomId) {
        let mut times = Vec::new();
        for key in self.rooms.readers(room) {
            times.extend(self.rooms.told(key));
            let session = self.sessions.get(key).filter(|session| !matches!(session.state, State::Away(_)));
            times.extend(session.into_iter().flat_map(|session| session.outbox.rosters()));
        }
        times.sort_unstable();
        self.rooms.compact(room, &times);
    }
}
