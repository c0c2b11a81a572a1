//! Who is in which room: two namespaces, and the indexes that routing needs.
//!
//! Every session is in the room of its user and in named rooms. A user's room and a named room with the same
//! name are different rooms, so nobody can enter a user's room by joining one with its name.
//!
//! Peers of other instances have seats too, beside those that are here. They share rooms, but messages are
//! not routed to them, and other instances report on a room only while somebody here is in it.
//!
//! Each room keeps a [`log`] of who joined and left ([`changes`]), from which its members are told in
//! [rounds](round).

mod changes;
mod log;
mod round;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::presence::Who;
use super::roster_pages::{Pages, page_of};
use super::slab::Key;
use log::{Entry, Log};
use round::{Past, Span};

pub(super) use round::{Round, Told};

/// The `since` of a member that is told about nobody and announced to nobody: the room only gives numbers.
const MUTE: u64 = u64::MAX;

/// A room while it has members; its id is reused afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RoomId(u32);

#[derive(Debug)]
struct Room {
    name: Arc<str>,
    /// Whether it is the room of the user `name`.
    own: bool,
    members: Vec<Key>,
    /// Members on other instances.
    away: Vec<Key>,
    /// Other instances were asked who is in it.
    asked: bool,
    mark: u64,
    log: Log,
    /// It is in the list of changed rooms.
    dirty: bool,
}

impl Room {
    fn new(name: Arc<str>, own: bool) -> Room {
        Room {
            name,
            own,
            members: Vec::new(),
            away: Vec::new(),
            asked: false,
            mark: 0,
            log: Log::default(),
            dirty: false,
        }
    }

    fn size(&self) -> usize {
        self.members.len() + self.away.len()
    }

    fn side(&mut self, away: bool) -> &mut Vec<Key> {
        if away { &mut self.away } else { &mut self.members }
    }
}

/// The entry of one session.
#[derive(Debug)]
struct Seat {
    /// The session it belongs to: a key may outlive its session, and its index may be another's by then.
    key: Key,
    id: Arc<str>,
    /// The room of its user.
    own: RoomId,
    /// Its rooms, including that one, in ascending order, so that two lists can be compared in one pass.
    rooms: Vec<RoomId>,
    /// The change by which it entered each of them, or [`MUTE`].
    since: Vec<u64>,
    /// Its index in the member list of each, so that leaving a room needs no search.
    places: Vec<u32>,
    /// Whether the session is on another instance.
    away: bool,
    mark: u64,
    /// The last change by which it entered a room.
    shown: u64,
    /// [`Rooms::past`] may have an entry for it.
    past: bool,
    /// The change up to which it was told.
    told: u64,
    /// Its position on the way to a later one.
    round: Option<Box<Round>>,
}

impl Seat {
    fn since_in(&self, room: RoomId) -> Option<u64> {
        self.rooms.binary_search(&room).ok().map(|at| self.since[at])
    }
}

#[derive(Default)]
pub(super) struct Rooms {
    rooms: Vec<Room>,
    free: Vec<RoomId>,
    users: HashMap<Arc<str>, RoomId>,
    named: HashMap<Arc<str>, RoomId>,
    /// Who has a seat, or left its seat while somebody still has to be told: a peer of another instance is
    /// forgotten when it shares no room with ours, and may return under another key.
    ids: HashMap<Arc<str>, Key>,
    /// By [`Key::index`].
    seats: Vec<Option<Seat>>,
    /// Entries with the current mark were visited in the current round; nothing has to be cleared.
    mark: u64,
    /// The number of the last change.
    seq: u64,
    /// Rooms that have changed and were not [taken](Rooms::take_changed) yet.
    changed: Vec<RoomId>,
    /// Those who left rooms, while somebody has to be told.
    past: HashMap<Key, Past>,
    /// The spans that sessions have left since they were last told; and for each room, who left it and how
    /// often.
    left: HashMap<Key, Vec<Span>>,
    leavers: HashMap<RoomId, BTreeMap<Key, u32>>,
    /// Rooms that give the number of their members instead of announcing newcomers, with the last change of
    /// that number.
    quiet: HashMap<RoomId, u64>,
    /// Texts that many readers share.
    pub pages: Pages,
}

impl Rooms {
    /// Seats a session in the room of its user. No seat if its id is taken.
    pub(super) fn seat(&mut self, key: Key, user: &str, id: &str) -> bool {
        self.sit(key, user, id, false)
    }

    /// Seats a session of another instance.
    pub(super) fn seat_away(&mut self, key: Key, user: &str, id: &str) -> bool {
        self.sit(key, user, id, true)
    }

    fn sit(&mut self, key: Key, user: &str, id: &str, away: bool) -> bool {
        let former = self.ids.get(id).copied();
        if former.is_some_and(|former| self.sitting(former).is_some()) {
            return false;
        }
        let id: Arc<str> = id.into();
        self.ids.insert(id.clone(), key);
        let own = self.open(user, true);
        if self.seats.len() <= key.index() {
            self.seats.resize_with(key.index() + 1, || None);
        }
        let seat = Seat {
            key,
            id,
            own,
            rooms: Vec::new(),
            since: Vec::new(),
            places: Vec::new(),
            away,
            mark: 0,
            shown: 0,
            past: false,
            told: 0,
            round: None,
        };
        self.seats[key.index()] = Some(seat);
        if let Some(former) = former {
            self.succeed(former, key);
        }
        self.put(key, own);
        true
    }

    /// Removes a session from everything.
    pub(super) fn unseat(&mut self, key: Key, who: &Arc<Who>) {
        if self.sitting(key).is_none() {
            return;
        }
        let seat = self.seats[key.index()].take().expect("looked at three lines above");
        for ((room, since), place) in seat.rooms.into_iter().zip(seat.since).zip(seat.places) {
            self.take(key, room, since, (place, seat.away), who);
        }
        for span in self.left.remove(&key).unwrap_or_default() {
            self.forget_leaver(span.room, key);
        }
        if seat.away && self.past.contains_key(&key) {
            self.ids.insert(seat.id, key);
        } else {
            self.ids.remove(&seat.id);
        }
    }

    /// Puts a session into a named room. False if it was there before.
    pub(super) fn join(&mut self, key: Key, name: &str) -> bool {
        if self.sitting(key).is_none() {
            return false;
        }
        let room = self.open(name, false);
        self.put(key, room)
    }

    fn put(&mut self, key: Key, room: RoomId) -> bool {
        let seat = self.sitting(key).expect("looked at by the callers");
        let Err(at) = seat.rooms.binary_search(&room) else { return false };
        let away = seat.away;
        let side = self.rooms[room.0 as usize].side(away);
        let place = u32::try_from(side.len()).expect("there are fewer sessions than keys");
        side.push(key);
        let seat = self.sitting_mut(key).expect("looked at above");
        seat.rooms.insert(at, room);
        // Most sessions are in two rooms and stay there.
        seat.since.reserve_exact(1);
        seat.since.insert(at, MUTE);
        seat.places.reserve_exact(1);
        seat.places.insert(at, place);
        if !self.quiet.contains_key(&room) {
            self.show(key, room);
        }
        self.change(room);
        true
    }

    /// Removes a session from a named room. False if it was not there.
    pub(super) fn leave(&mut self, key: Key, room: RoomId, who: &Arc<Who>) -> bool {
        let Some(seat) = self.sitting_mut(key) else { return false };
        let Ok(at) = seat.rooms.binary_search(&room) else { return false };
        seat.rooms.remove(at);
        let (since, place, away) = (seat.since.remove(at), seat.places.remove(at), seat.away);
        if since != MUTE && !away {
            let to = self.seq + 1;
            self.left.entry(key).or_default().push(Span { room, from: since, to });
            *self.leavers.entry(room).or_default().entry(key).or_default() += 1;
        }
        self.take(key, room, since, (place, away), who);
        true
    }

    /// The session with this id, if it is here.
    pub(super) fn session(&self, id: &str) -> Option<Key> {
        let key = *self.ids.get(id)?;
        self.sitting(key).is_some_and(|seat| !seat.away).then_some(key)
    }

    /// The room of a user.
    pub(super) fn user(&self, user: &str) -> Option<RoomId> {
        self.users.get(user).copied()
    }

    /// A named room.
    pub(super) fn named(&self, name: &str) -> Option<RoomId> {
        self.named.get(name).copied()
    }

    /// The members of a room that are here.
    pub(super) fn members(&self, room: RoomId) -> &[Key] {
        &self.rooms[room.0 as usize].members
    }

    /// The members of a room that are on other instances.
    pub(super) fn away(&self, room: RoomId) -> &[Key] {
        &self.rooms[room.0 as usize].away
    }

    /// A room's name, and whether it is a user's own.
    pub(super) fn name(&self, room: RoomId) -> (&Arc<str>, bool) {
        let room = &self.rooms[room.0 as usize];
        (&room.name, room.own)
    }

    /// Notes that other instances are asked who is in a room. False if they were asked before.
    pub(super) fn ask(&mut self, room: RoomId) -> bool {
        !std::mem::replace(&mut self.rooms[room.0 as usize].asked, true)
    }

    /// Notes that other instances are asked who is in each of the rooms that somebody here is in and that are `heard`
    /// by their name and whether they are a user's own.
    pub(super) fn ask_all(&mut self, heard: impl Fn(&str, bool) -> bool) {
        let here = self.rooms.iter_mut().filter(|room| !room.members.is_empty());
        here.filter(|room| heard(&room.name, room.own)).for_each(|room| room.asked = true);
    }

    /// The users and the named rooms that somebody here is in.
    pub(super) fn names_here(&self) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let here = |names: &HashMap<Arc<str>, RoomId>| {
            let here = names.iter().filter(|(_, room)| !self.members(**room).is_empty());
            here.map(|(name, _)| name.clone()).collect()
        };
        (here(&self.users), here(&self.named))
    }

    /// Whether `key` is in one of these rooms, which are in ascending order.
    pub(super) fn is_in_any(&self, key: Key, rooms: &[RoomId]) -> bool {
        common(self.of(key), rooms)
    }

    /// A session's rooms, including that of its user.
    pub(super) fn of(&self, key: Key) -> &[RoomId] {
        self.sitting(key).map_or(&[], |seat| &seat.rooms)
    }

    pub(super) fn is_member(&self, key: Key, room: RoomId) -> bool {
        self.of(key).binary_search(&room).is_ok()
    }

    /// The user of a session.
    pub(super) fn user_of(&self, key: Key) -> Option<&str> {
        Some(&self.rooms[self.sitting(key)?.own.0 as usize].name)
    }

    /// Whether two sessions have a room in common.
    pub(super) fn share(&self, a: Key, b: Key) -> bool {
        common(self.of(a), self.of(b))
    }

    /// How many rooms there are.
    pub(super) fn len(&self) -> usize {
        self.users.len() + self.named.len()
    }

    /// Starts a round of [`Rooms::visit`], [`Rooms::enter`] and [`Rooms::visit_room`].
    pub(super) fn begin(&mut self) {
        self.mark += 1;
    }

    /// Whether this is the first visit to a session in this round.
    pub(super) fn visit(&mut self, key: Key) -> bool {
        let mark = self.mark;
        let Some(seat) = self.sitting_mut(key) else { return false };
        std::mem::replace(&mut seat.mark, mark) != mark
    }

    /// Appends the members of a room that were not visited in this round. A room is walked once per round,
    /// however often it is named.
    pub(super) fn visit_room(&mut self, room: RoomId, found: &mut Vec<Key>) {
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

    /// Whether this is the first time that a room is walked in this round.
    pub(super) fn enter(&mut self, room: RoomId) -> bool {
        std::mem::replace(&mut self.rooms[room.0 as usize].mark, self.mark) != self.mark
    }

    /// Appends everybody here who shares a room with `key`, once each, without `key` itself.
    pub(super) fn peers(&mut self, key: Key, found: &mut Vec<Key>) {
        self.begin();
        self.visit(key);
        for at in 0..self.of(key).len() {
            let room = self.of(key)[at];
            self.visit_room(room, found);
        }
    }

    fn sitting(&self, key: Key) -> Option<&Seat> {
        self.seats.get(key.index())?.as_ref().filter(|seat| seat.key == key)
    }

    fn sitting_mut(&mut self, key: Key) -> Option<&mut Seat> {
        self.seats.get_mut(key.index())?.as_mut().filter(|seat| seat.key == key)
    }

    /// Finds a room or creates it.
    fn open(&mut self, name: &str, own: bool) -> RoomId {
        let names = if own { &mut self.users } else { &mut self.named };
        if let Some(room) = names.get(name) {
            return *room;
        }
        let name: Arc<str> = name.into();
        let room = Room::new(name.clone(), own);
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

    /// Removes a member, announced or not, from a room; its index is in the list of one of the sides.
    fn take(&mut self, key: Key, id: RoomId, since: u64, (place, away): (u32, bool), who: &Arc<Who>) {
        let side = self.rooms[id.0 as usize].side(away);
        side.swap_remove(place as usize);
        // The last one has taken its place.
        if let Some(moved) = side.get(place as usize).copied()
            && let Some(seat) = self.sitting_mut(moved)
            && let Ok(at) = seat.rooms.binary_search(&id)
        {
            seat.places[at] = place;
        }
        let room = &mut self.rooms[id.0 as usize];
        if room.members.is_empty() {
            room.asked = false;
        }
        let is_over = room.members.is_empty() && room.away.is_empty();
        if is_over {
            let names = if room.own { &mut self.users } else { &mut self.named };
            names.remove(&room.name);
        }
        if since != MUTE {
            self.seq += 1;
            let (seq, room) = (self.seq, &mut self.rooms[id.0 as usize]);
            room.log.push(Entry { seq, key, went: true });
            self.pages.drop((id, page_of(since)));
            self.pages.drop((id, page_of(seq)));
            let past = self.past.entry(key).or_insert_with(|| Past { who: who.clone(), spans: Vec::new() });
            past.who = who.clone();
            past.spans.push(Span { room: id, from: since, to: seq });
            if let Some(seat) = self.sitting_mut(key) {
                seat.past = true;
            }
        }
        if is_over {
            self.end(id);
        } else {
            self.change(id);
        }
    }

    /// A room without members is reused once nobody has to be told about it any more.
    fn end(&mut self, id: RoomId) {
        let room = &mut self.rooms[id.0 as usize];
        if !(room.members.is_empty() && room.away.is_empty()) || self.leavers.contains_key(&id) {
            return;
        }
        let log = std::mem::take(&mut room.log);
        for entry in log.entries() {
            self.pages.drop((id, page_of(entry.seq)));
        }
        (room.members, room.away) = Default::default();
        self.quiet.remove(&id);
        for entry in log.entries().iter().filter(|entry| entry.went) {
            self.forget_past(entry.key, |span| span.room == id);
        }
        self.free.push(id);
    }

    fn forget_leaver(&mut self, id: RoomId, key: Key) {
        let Some(leavers) = self.leavers.get_mut(&id) else { return };
        if let Some(spans) = leavers.get_mut(&key) {
            *spans -= 1;
            if *spans == 0 {
                leavers.remove(&key);
            }
        }
        if leavers.is_empty() {
            self.leavers.remove(&id);
            self.end(id);
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
impl Rooms {
    /// Entries in the log of a named room, and what is kept about those who left any.
    pub(super) fn kept(&self, room: &str) -> (usize, usize) {
        let log = self.named(room).map_or(0, |room| self.rooms[room.0 as usize].log.entries().len());
        (log, self.past.values().map(|past| past.spans.len()).sum())
    }

    /// Whether nothing at all is kept.
    pub(super) fn is_clean(&self) -> bool {
        self.past.is_empty()
            && self.left.is_empty()
            && self.leavers.is_empty()
            && self.free.len() == self.rooms.len()
            && self.quiet.is_empty()
            && self.ids.values().all(|key| self.sitting(*key).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Address;

    #[test]
    fn a_users_room_differs_from_a_named_room_of_the_same_name() {
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
        let who = &Arc::new(Who { address: Address::new("a", "1"), name: "a".into() });
        assert!(rooms.leave(a, room, who) && !rooms.leave(a, room, who) && !rooms.share(a, b));
        rooms.unseat(b, who);
        assert_eq!((rooms.named("r"), rooms.session("2"), rooms.len()), (None, None, 1));
        assert_eq!(rooms.free.len(), 1, "its departure from r is still to be announced");
        let round = rooms.round(a, rooms.seq()).expect("it has a seat");
        rooms.finish(&round);
        rooms.join(a, "s");
        assert_eq!(rooms.rooms.len(), 3, "ids of rooms are reused");
    }

    #[test]
    fn a_room_is_left_without_a_search_through_it() {
        const PEERS: u32 = 2000;
        let who = &Arc::new(Who { address: Address::new("a", "1"), name: "a".into() });
        let keys: Vec<Key> = (0..PEERS).map(Key::test).collect();
        let backwards: Vec<Key> = keys.iter().rev().copied().collect();
        for order in [&keys, &backwards] {
            for leaves in [false, true] {
                let mut rooms = Rooms::default();
                for key in &keys {
                    let name = format!("{key:?}");
                    assert!(rooms.seat(*key, &name, &name) && rooms.join(*key, "r"));
                    // Some members are in a room that comes before it.
                    rooms.join(*key, "s");
                }
                let room = rooms.named("r").expect("joined above");
                let before = Key::compared();
                for (count, key) in order.iter().enumerate() {
                    if leaves {
                        assert!(rooms.leave(*key, room, who));
                    } else {
                        rooms.unseat(*key, who);
                    }
                    let left = order.len() - count - 1;
                    assert_eq!(rooms.members(room).len(), left);
                    // The others are still at their indexes.
                    if left > 0 {
                        assert!(rooms.is_member(rooms.members(room)[left / 2], room));
                    }
                }
                for key in order {
                    if let Some(round) = rooms.round(*key, rooms.seq()) {
                        rooms.finish(&round);
                    }
                    rooms.unseat(*key, who);
                }
                let each = (Key::compared() - before) / u64::from(PEERS);
                assert!(rooms.is_clean() && each < 50, "{each} keys compared for each that leaves");
            }
        }
    }

    #[test]
    fn an_id_that_is_in_use_gets_no_seat() {
        let mut rooms = Rooms::default();
        assert!(rooms.seat(Key::test(0), "a", "1") && !rooms.seat(Key::test(1), "b", "1"));
        assert_eq!(rooms.len(), 1);
    }
}
