//! Who is in which room: two namespaces, and the indexes that routing asks.
//!
//! Every session sits in the room of its user and in named rooms. A user's room and a named room of the
//! same name are two rooms, so nobody enters a user's room by naming one after it.
//!
//! Peers of other instances have seats too, beside those that are here: they share rooms, but messages are
//! not routed to them, and a room is heard of from elsewhere while somebody here is in it.

use std::collections::HashMap;
use std::sync::Arc;

use super::slab::Key;

/// A room while it has members; reused afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RoomId(u32);

#[derive(Debug)]
struct Room {
    name: Arc<str>,
    /// Whether it is the room of the user `name`.
    own: bool,
    members: Vec<Key>,
    /// Members at other instances.
    away: Vec<Key>,
    /// Other instances were asked who is in it.
    asked: bool,
    mark: u64,
}

impl Room {
    fn side(&mut self, away: bool) -> &mut Vec<Key> {
        if away { &mut self.away } else { &mut self.members }
    }
}

/// What a session occupies.
#[derive(Debug)]
struct Seat {
    /// Whose it is: a key may outlive its session, and its index be another's by then.
    key: Key,
    id: Arc<str>,
    /// The room of its user.
    own: RoomId,
    /// Its rooms, that one too, in ascending order, so that two lists are compared in one pass.
    rooms: Vec<RoomId>,
    /// Whether the session is at another instance.
    away: bool,
    mark: u64,
}

#[derive(Default)]
pub(super) struct Rooms {
    rooms: Vec<Room>,
    free: Vec<RoomId>,
    users: HashMap<Arc<str>, RoomId>,
    named: HashMap<Arc<str>, RoomId>,
    ids: HashMap<Arc<str>, Key>,
    /// By [`Key::index`].
    seats: Vec<Option<Seat>>,
    /// What bears the current mark was visited in the current round; nothing has to be cleared.
    mark: u64,
}

impl Rooms {
    /// Seats a session in the room of its user. Whose id is taken gets no seat.
    pub fn seat(&mut self, key: Key, user: &str, id: &str) -> bool {
        self.sit(key, user, id, false)
    }

    /// Seats a session of another instance.
    pub fn seat_away(&mut self, key: Key, user: &str, id: &str) -> bool {
        self.sit(key, user, id, true)
    }

    fn sit(&mut self, key: Key, user: &str, id: &str, away: bool) -> bool {
        if self.ids.contains_key(id) {
            return false;
        }
        let id: Arc<str> = id.into();
        self.ids.insert(id.clone(), key);
        let own = self.open(user, true);
        self.rooms[own.0 as usize].side(away).push(key);
        if self.seats.len() <= key.index() {
            self.seats.resize_with(key.index() + 1, || None);
        }
        self.seats[key.index()] = Some(Seat { key, id, own, rooms: vec![own], away, mark: 0 });
        true
    }

    /// Takes a session out of everything.
    pub fn unseat(&mut self, key: Key) {
        if self.sitting(key).is_none() {
            return;
        }
        let seat = self.seats[key.index()].take().expect("looked at three lines above");
        self.ids.remove(&seat.id);
        for room in seat.rooms {
            self.drop_member(room, key, seat.away);
        }
    }

    /// Puts a session into a named room. False where it was there before.
    pub fn join(&mut self, key: Key, name: &str) -> bool {
        if self.sitting(key).is_none() {
            return false;
        }
        let room = self.open(name, false);
        let seat = self.sitting_mut(key).expect("looked at four lines above");
        let Err(at) = seat.rooms.binary_search(&room) else { return false };
        seat.rooms.insert(at, room);
        let away = seat.away;
        self.rooms[room.0 as usize].side(away).push(key);
        true
    }

    /// Takes a session out of a named room. False where it was not there.
    pub fn leave(&mut self, key: Key, room: RoomId) -> bool {
        let Some(seat) = self.sitting_mut(key) else { return false };
        let Ok(at) = seat.rooms.binary_search(&room) else { return false };
        seat.rooms.remove(at);
        let away = seat.away;
        self.drop_member(room, key, away);
        true
    }

    /// The session with this id, if it is here.
    pub fn session(&self, id: &str) -> Option<Key> {
        let key = *self.ids.get(id)?;
        self.sitting(key).is_some_and(|seat| !seat.away).then_some(key)
    }

    /// The room of a user.
    pub fn user(&self, user: &str) -> Option<RoomId> {
        self.users.get(user).copied()
    }

    /// A named room.
    pub fn named(&self, name: &str) -> Option<RoomId> {
        self.named.get(name).copied()
    }

    /// Who is in a room, of those who are here.
    pub fn members(&self, room: RoomId) -> &[Key] {
        &self.rooms[room.0 as usize].members
    }

    /// Who is in a room, of those who are at other instances.
    pub fn away(&self, room: RoomId) -> &[Key] {
        &self.rooms[room.0 as usize].away
    }

    /// A room's name, and whether it is a user's own.
    pub fn name(&self, room: RoomId) -> (&Arc<str>, bool) {
        let room = &self.rooms[room.0 as usize];
        (&room.name, room.own)
    }

    /// Notes that other instances are asked who is in a room. False where they were before.
    pub fn ask(&mut self, room: RoomId) -> bool {
        !std::mem::replace(&mut self.rooms[room.0 as usize].asked, true)
    }

    /// Whether one of these rooms, in ascending order, is a room of `key`.
    pub fn is_in_any(&self, key: Key, rooms: &[RoomId]) -> bool {
        common(self.of(key), rooms)
    }

    /// A session's rooms, that of its user included.
    pub fn of(&self, key: Key) -> &[RoomId] {
        self.sitting(key).map_or(&[], |seat| &seat.rooms)
    }

    pub fn is_member(&self, key: Key, room: RoomId) -> bool {
        self.of(key).binary_search(&room).is_ok()
    }

    /// The user of a session.
    pub fn user_of(&self, key: Key) -> Option<&str> {
        Some(&self.rooms[self.sitting(key)?.own.0 as usize].name)
    }

    /// Whether two sessions have a room in common.
    pub fn share(&self, a: Key, b: Key) -> bool {
        common(self.of(a), self.of(b))
    }

    /// How many rooms there are.
    pub fn len(&self) -> usize {
        self.users.len() + self.named.len()
    }

    /// Begins a round of [`Rooms::visit`], [`Rooms::enter`] and [`Rooms::visit_room`].
    pub fn begin(&mut self) {
        self.mark += 1;
    }

    /// Whether this is the first visit to a session in this round.
    pub fn visit(&mut self, key: Key) -> bool {
        let mark = self.mark;
        let Some(seat) = self.sitting_mut(key) else { return false };
        std::mem::replace(&mut seat.mark, mark) != mark
    }

    /// Appends the members of a room that were not visited in this round. A room is gone through once a
    /// round, however often it is named.
    pub fn visit_room(&mut self, room: RoomId, found: &mut Vec<Key>) {
        if !self.enter(room) {
            return;
        }
        let mark = self.mark;
        for key in &self.rooms[room.0 as usize].members {
            let seat = self.seats[key.index()].as_mut().expect("a member has a seat until it is unseated");
            if std::mem::replace(&mut seat.mark, mark) != mark {
                found.push(*key);
            }
        }
    }

    /// Whether this is the first time that a room is gone through in this round.
    pub fn enter(&mut self, room: RoomId) -> bool {
        std::mem::replace(&mut self.rooms[room.0 as usize].mark, self.mark) != self.mark
    }

    /// Appends everybody here who shares a room with `key`, once each, itself not.
    pub fn peers(&mut self, key: Key, found: &mut Vec<Key>) {
        self.begin();
        self.visit(key);
        for at in 0..self.of(key).len() {
            let room = self.of(key)[at];
            self.visit_room(room, found);
        }
    }

    /// Appends everybody at other instances who shares a room with `key`, once each.
    pub fn peers_away(&self, key: Key, found: &mut Vec<Key>) {
        let start = found.len();
        self.of(key).iter().for_each(|room| found.extend(self.away(*room)));
        found[start..].sort_unstable();
        found.dedup();
    }

    fn sitting(&self, key: Key) -> Option<&Seat> {
        self.seats.get(key.index())?.as_ref().filter(|seat| seat.key == key)
    }

    fn sitting_mut(&mut self, key: Key) -> Option<&mut Seat> {
        self.seats.get_mut(key.index())?.as_mut().filter(|seat| seat.key == key)
    }

    /// Finds a room or makes it.
    fn open(&mut self, name: &str, own: bool) -> RoomId {
        let names = if own { &mut self.users } else { &mut self.named };
        if let Some(room) = names.get(name) {
            return *room;
        }
        let name: Arc<str> = name.into();
        let room =
            Room { name: name.clone(), own, members: Vec::new(), away: Vec::new(), asked: false, mark: 0 };
        let id = match self.free.pop() {
            Some(id) => {
                self.rooms[id.0 as usize] = room;
                id
            }
            None => {
                self.rooms.push(room);
                RoomId((self.rooms.len() - 1) as u32)
            }
        };
        names.insert(name, id);
        id
    }

    fn drop_member(&mut self, id: RoomId, key: Key, away: bool) {
        let room = &mut self.rooms[id.0 as usize];
        let side = room.side(away);
        if let Some(at) = side.iter().position(|member| *member == key) {
            side.swap_remove(at);
        }
        if room.members.is_empty() {
            room.asked = false;
        }
        if room.members.is_empty() && room.away.is_empty() {
            let names = if room.own { &mut self.users } else { &mut self.named };
            names.remove(&room.name);
            (room.members, room.away) = Default::default();
            self.free.push(id);
        }
    }
}

/// Whether two ascending lists have an entry in common.
fn common(mut a: &[RoomId], mut b: &[RoomId]) -> bool {
    while let (Some(first), Some(second)) = (a.first(), b.first()) {
        match first.cmp(second) {
            std::cmp::Ordering::Less => a = &a[1..],
            std::cmp::Ordering::Greater => b = &b[1..],
            std::cmp::Ordering::Equal => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_room_and_a_named_room_are_two() {
        let (mut rooms, alice, mallory) = (Rooms::default(), Key::test(0), Key::test(1));
        assert!(rooms.seat(alice, "alice", "a1") && rooms.seat(mallory, "mallory", "m1"));
        assert!(rooms.join(mallory, "alice") && !rooms.join(mallory, "alice"));
        assert!(!rooms.share(alice, mallory));
        assert_ne!(rooms.user("alice"), rooms.named("alice"));
        assert_eq!((rooms.len(), rooms.user_of(alice)), (3, Some("alice")));
    }

    #[test]
    fn a_room_lives_while_it_has_members() {
        let (mut rooms, a, b) = (Rooms::default(), Key::test(0), Key::test(1));
        rooms.seat(a, "a", "1");
        rooms.seat(b, "b", "2");
        rooms.join(a, "r");
        rooms.join(b, "r");
        assert!(rooms.share(a, b));
        let room = rooms.named("r").expect("joined above");
        assert!(rooms.leave(a, room) && !rooms.leave(a, room) && !rooms.share(a, b));
        rooms.unseat(b);
        assert_eq!((rooms.named("r"), rooms.session("2"), rooms.len()), (None, None, 1));
        rooms.join(a, "s");
        assert_eq!(rooms.rooms.len(), 3, "places of rooms are reused");
    }

    #[test]
    fn an_id_that_is_taken_gets_no_seat() {
        let mut rooms = Rooms::default();
        assert!(rooms.seat(Key::test(0), "a", "1") && !rooms.seat(Key::test(1), "b", "1"));
        assert_eq!(rooms.len(), 1);
    }
}
