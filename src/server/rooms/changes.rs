//! Which rooms have changed and what is kept about that: whose members must be told, about whom, and how long
//! it has to be remembered.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::presence::Who;
use super::super::roster_pages::page_of;
use super::super::slab::Key;
use super::log::Entry;
use super::round::Span;
use super::{MUTE, RoomId, Rooms};

impl Rooms {
    /// The number of the last change.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// The last change by which a session entered a room that announces it.
    pub(crate) fn shown(&self, key: Key) -> u64 {
        self.sitting(key).map_or(0, |seat| seat.shown)
    }

    /// The name of someone who left a room, while somebody still has to be told.
    pub(crate) fn was(&self, key: Key) -> Option<&Arc<Who>> {
        self.past.get(&key).map(|past| &past.who)
    }

    /// A session has changed: what is stored about it for telling others is outdated.
    pub(crate) fn renew(&mut self, key: Key) {
        let Some(seat) = self.seats.get(key.index()).and_then(|seat| seat.as_ref()) else { return };
        for (room, since) in seat.rooms.iter().zip(&seat.since).filter(|_| seat.key == key) {
            self.pages.drop((*room, page_of(*since)));
        }
    }

    /// A room that has changed, and its number of members.
    pub(crate) fn take_changed(&mut self) -> Option<(RoomId, usize)> {
        loop {
            let id = self.changed.pop()?;
            let room = &mut self.rooms[id.0 as usize];
            // It may be a different room by now, or none.
            if std::mem::take(&mut room.dirty) && room.size() > 0 {
                return Some((id, room.size()));
            }
        }
    }

    /// Whether any room is quiet.
    pub(crate) fn any_quiet(&self) -> bool {
        !self.quiet.is_empty()
    }

    /// Makes a named room announce its members, or only their number. Returns whether that is a change.
    pub(crate) fn set_quiet(&mut self, id: RoomId, quiet: bool) -> bool {
        if self.quiet.contains_key(&id) == quiet || self.rooms[id.0 as usize].own {
            return false;
        }
        if quiet {
            self.seq += 1;
            self.quiet.insert(id, self.seq);
            return true;
        }
        self.quiet.remove(&id);
        let room = &self.rooms[id.0 as usize];
        let all: Vec<Key> = room.members.iter().chain(&room.away).copied().collect();
        for key in all {
            if self.sitting(key).and_then(|seat| seat.since_in(id)) == Some(MUTE) {
                self.show(key, id);
            }
        }
        true
    }

    /// Whether the log of a room should be compacted.
    pub(crate) fn is_full(&self, room: RoomId) -> bool {
        let room = &self.rooms[room.0 as usize];
        room.log.is_full(room.size())
    }

    /// Who is told from the log of a room.
    pub(crate) fn readers(&self, id: RoomId) -> impl Iterator<Item = Key> {
        let room = &self.rooms[id.0 as usize];
        let leavers = self.leavers.get(&id).into_iter().flat_map(|leavers| leavers.keys());
        room.members.iter().chain(leavers).copied()
    }

    /// Removes from a room's log whoever came and went between two of these times. The times are in ascending
    /// order: those up to which its readers are told, now or later.
    pub(crate) fn compact(&mut self, id: RoomId, times: &[u64]) {
        let room = &mut self.rooms[id.0 as usize];
        let mut log = std::mem::take(&mut room.log);
        let mut over = HashSet::new();
        for entry in log.entries().iter().filter(|entry| entry.went) {
            self.forget_past(entry.key, |span| {
                let at = times.partition_point(|time| *time < span.from);
                let is = span.room == id
                    && span.to == entry.seq
                    && times.get(at).is_none_or(|time| *time >= span.to);
                if is {
                    over.extend([span.from, span.to]);
                }
                is
            });
        }
        log.retain(|entry| !over.contains(&entry.seq));
        self.rooms[id.0 as usize].log = log;
    }

    /// From now on a member is announced to others and told about them.
    pub(super) fn show(&mut self, key: Key, room: RoomId) {
        self.seq += 1;
        let seq = self.seq;
        let Some(seat) = self.sitting_mut(key) else { return };
        let Ok(at) = seat.rooms.binary_search(&room) else { return };
        (seat.since[at], seat.shown) = (seq, seq);
        self.rooms[room.0 as usize].log.push(Entry { seq, key, went: false });
        self.pages.drop((room, page_of(seq)));
    }

    pub(super) fn forget_past(&mut self, key: Key, mut is: impl FnMut(&Span) -> bool) {
        let Some(past) = self.past.get_mut(&key) else { return };
        past.spans.retain(|span| !is(span));
        if !past.spans.is_empty() {
            return;
        }
        let who = self.past.remove(&key).map(|past| past.who);
        let former = who.filter(|who| self.ids.get(who.address.id()) == Some(&key));
        if let Some(who) = former.filter(|_| self.sitting(key).is_none()) {
            self.ids.remove(who.address.id());
        }
    }

    /// A session that left its seat has returned under another key. It is the same peer to those who are told
    /// about both later, in whatever order they come to the rooms: so its past becomes that of its new key.
    pub(super) fn succeed(&mut self, former: Key, key: Key) {
        let Some(past) = self.past.remove(&former) else { return };
        for span in &past.spans {
            let log = &mut self.rooms[span.room.0 as usize].log;
            log.rename(span.from, key);
            log.rename(span.to, key);
        }
        self.past.insert(key, past);
        if let Some(seat) = self.sitting_mut(key) {
            seat.past = true;
        }
    }

    pub(super) fn change(&mut self, id: RoomId) {
        if let Some(counted) = self.quiet.get_mut(&id) {
            self.seq += 1;
            *counted = self.seq;
        }
        let room = &mut self.rooms[id.0 as usize];
        if !std::mem::replace(&mut room.dirty, true) {
            self.changed.push(id);
        }
    }
}
