//! When the members of a room are told who joined and who left, and when they get only a count.
//!
//! A small room is told at once. In a large one each change would wake every member, so changes are
//! collected: [`wait`] says for how long. In a member's queue this is one entry that says "up to here"; what
//! it means is worked out when the socket accepts it ([`transmit`](super::transmit)).
//!
//! A message from a peer does not wait, so that entry goes before it if its recipient has not been told about
//! the peer yet.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use super::Hub;
use super::rooms::RoomId;
use super::session::State;
use super::slab::Key;

/// Rooms up to this size are told at once: waking all members takes less than a millisecond, so waiting would
/// save little.
const SMALL: usize = 50;

/// How long changes are collected in a room with this many members: a quarter of a millisecond each, so that
/// waking all of them, some microseconds each, takes a small part of the time; and never longer than a person
/// notices.
fn wait(members: usize) -> Duration {
    Duration::from_millis((members as u64 / 4).clamp(50, 250))
}

/// Rooms whose members are told together.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    queue: BTreeSet<(Instant, RoomId)>,
    rooms: HashSet<RoomId>,
}

impl Announcements {
    /// When the first room is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.queue.first().map(|(due, _)| *due)
    }
}

impl Hub {
    /// Queues, at this place, what has changed in a session's rooms.
    pub(super) fn catch_up(&mut self, key: Key) {
        let seq = self.rooms.seq();
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.outbox.push_roster(seq);
        if !session.outbox.announced && !session.outbox.is_empty() {
            session.outbox.announced = true;
            self.ready.push_back(session.conn);
        }
    }

    /// Makes sure that the members of changed rooms are told, at once or later.
    pub(super) fn tell_changes(&mut self, now: Instant) {
        while let Some((room, members)) = self.rooms.take_changed() {
            if self.down {
                // Everyone is leaving; nobody needs to be told.
                continue;
            }
            let shows = self.choose(room, members);
            if self.rooms.is_full(room) {
                self.compact(room);
            }
            if members <= SMALL || shows {
                self.tell(room);
            } else if self.announcements.rooms.insert(room) {
                self.announcements.queue.insert((now + wait(members), room));
            }
        }
    }

    /// Tells the members of the rooms that are due.
    pub(super) fn tell_due(&mut self, now: Instant) {
        self.rooms.pages.expire(now);
        while let Some((_, room)) = self.announcements.queue.first().copied().filter(|(due, _)| *due <= now) {
            self.announcements.queue.pop_first();
            self.announcements.rooms.remove(&room);
            // It may be a different room by now, which is then told a little early.
            self.tell(room);
        }
    }

    fn tell(&mut self, room: RoomId) {
        for at in 0..self.rooms.members(room).len() {
            self.catch_up(self.rooms.members(room)[at]);
        }
    }

    /// Decides whether a room announces its members or only their number. It announces members again once it
    /// is a quarter below the limit. True if it has just switched back: then everyone is told at once, so
    /// that nobody hears from a peer in the room before being told about it.
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
