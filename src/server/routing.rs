//! Where a message goes: the table of `to`, as a function of `to`, the sender and the rooms.

use crate::proto::{Target, To};

use super::policy;
use super::rooms::{RoomId, Rooms};
use super::slab::Key;

/// The sender of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender<'a> {
    /// A session; reaches whom policy allows.
    Session(Key),
    /// A session on another instance, with the rooms it was in when it sent, in ascending order.
    Away(&'a [RoomId]),
    /// The host, which is trusted.
    Host,
}

/// Appends the sessions here that `to` reaches, once each and without the sender.
pub(super) fn recipients(to: &To<'_>, sender: Sender<'_>, rooms: &mut Rooms, found: &mut Vec<Key>) {
    rooms.begin();
    if let Sender::Session(key) = sender {
        rooms.visit(key);
    }
    match (to, sender) {
        // The sender has the mark of this round already, and each one found will get it.
        (To::Absent, Sender::Session(key)) => rooms.peers(key, found),
        (To::Absent, Sender::Away(of)) => of.iter().for_each(|room| rooms.visit_room(*room, found)),
        (To::Absent, Sender::Host) => {}
        (To::One(name), _) => named(name, sender, rooms, found),
        (To::List(names), _) => names.iter().for_each(|name| named(name, sender, rooms, found)),
    }
}

fn named(name: &str, sender: Sender<'_>, rooms: &mut Rooms, found: &mut Vec<Key>) {
    match Target::parse(name) {
        Some(Target::Session { user, id }) => session(id, Some(user), sender, rooms, found),
        Some(Target::Id(id)) => session(id, None, sender, rooms, found),
        Some(Target::User(name)) => user(name, sender, rooms, found),
        Some(Target::Name(name)) => {
            session(name, None, sender, rooms, found);
            user(name, sender, rooms, found);
            room(name, sender, rooms, found);
        }
        None => {}
    }
}

fn session(id: &str, user: Option<&str>, sender: Sender<'_>, rooms: &mut Rooms, found: &mut Vec<Key>) {
    let Some(key) = rooms.session(id) else { return };
    let is_users = user.is_none() || user == rooms.user_of(key);
    if is_users && reaches(sender, key, rooms) && rooms.visit(key) {
        found.push(key);
    }
}

fn user(name: &str, sender: Sender<'_>, rooms: &mut Rooms, found: &mut Vec<Key>) {
    let Some(room) = rooms.user(name) else { return };
    if !rooms.enter(room) {
        return;
    }
    for at in 0..rooms.members(room).len() {
        let key = rooms.members(room)[at];
        if reaches(sender, key, rooms) && rooms.visit(key) {
            found.push(key);
        }
    }
}

fn room(name: &str, sender: Sender<'_>, rooms: &mut Rooms, found: &mut Vec<Key>) {
    let Some(room) = rooms.named(name) else { return };
    let may = match sender {
        Sender::Session(key) => policy::may_speak_in(rooms, key, room),
        Sender::Away(of) => policy::away_may_speak_in(of, room),
        Sender::Host => true,
    };
    if may {
        rooms.visit_room(room, found);
    }
}

fn reaches(sender: Sender<'_>, peer: Key, rooms: &Rooms) -> bool {
    match sender {
        Sender::Session(key) => policy::may_reach(rooms, key, peer),
        Sender::Away(of) => policy::away_may_reach(rooms, of, peer),
        Sender::Host => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// alice has two sessions: a1, in `team`, and a2. bob and carol are in `team`, carol and dave in `club`;
    /// eve is alone, in a room named after alice. One user is named `team`, another after bob's session.
    fn town() -> (Rooms, Vec<&'static str>) {
        let mut rooms = Rooms::default();
        let all: [(&str, &str, &[&str]); 8] = [
            ("alice", "a1", &["team"]),
            ("alice", "a2", &[]),
            ("bob", "b1", &["team"]),
            ("carol", "c1", &["team", "club"]),
            ("dave", "d1", &["club"]),
            ("eve", "e1", &["alice"]),
            ("team", "t1", &["team"]),
            ("b1", "x1", &["team"]),
        ];
        for (at, (user, id, named)) in all.iter().enumerate() {
            assert!(rooms.seat(Key::test(at as u32), user, id));
            named.iter().for_each(|room| assert!(rooms.join(Key::test(at as u32), room)));
        }
        (rooms, all.iter().map(|(_, id, _)| *id).collect())
    }

    fn reached(to: &To<'_>, sender: Sender<'_>) -> String {
        let ((mut rooms, ids), mut found) = (town(), Vec::new());
        recipients(to, sender, &mut rooms, &mut found);
        let mut names: Vec<&str> = found.iter().map(|key| ids[key.index()]).collect();
        names.sort_unstable();
        names.join(" ")
    }

    fn one(to: &str) -> To<'_> {
        To::One(to.into())
    }

    #[test]
    fn every_form_of_to_follows_the_table() {
        let [alice, eve, dave] = [0, 5, 4].map(|at| Sender::Session(Key::test(at)));
        for (sender, to, want) in [
            (alice, To::Absent, "a2 b1 c1 t1 x1"),
            (eve, To::Absent, ""),
            (dave, To::Absent, "c1"),
            (alice, one("bob|b1"), "b1"),
            (alice, one("carol|b1"), ""),
            (alice, one("bob|"), "b1"),
            (alice, one("|b1"), "b1"),
            (alice, one("alice|"), "a2"),
            (alice, one("alice|a1"), ""),
            (alice, one("alice"), "a2"),
            (alice, one("dave"), ""),
            (alice, one("dave|d1"), ""),
            (alice, one("|d1"), ""),
            (alice, one("d1"), ""),
            (alice, one("c1"), "c1"),
            (alice, one("b1"), "b1 x1"),
            (alice, one("team"), "b1 c1 t1 x1"),
            (alice, one("club"), ""),
            (alice, one("nobody"), ""),
            (alice, one("|"), ""),
            (alice, one("a|b|c"), ""),
            (eve, one("alice"), ""),
            (eve, one("team"), ""),
            (dave, one("club"), "c1"),
            (dave, one("team"), ""),
            (alice, To::List(vec![]), ""),
            (
                alice,
                To::List(["bob", "team", "bob|b1", "dave", "team"].map(Into::into).to_vec()),
                "b1 c1 t1 x1",
            ),
            (Sender::Host, To::Absent, ""),
            (Sender::Host, one("dave"), "d1"),
            (Sender::Host, one("club"), "c1 d1"),
            (Sender::Host, one("alice"), "a1 a2 e1"),
            (Sender::Host, To::List(["|e1", "e1", "dave|d1"].map(Into::into).to_vec()), "d1 e1"),
        ] {
            assert_eq!(reached(&to, sender), want, "{to:?} from {sender:?}");
        }
    }
}
