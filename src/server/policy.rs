//! Permission: what a session may do at a server is decided here and nowhere else.
//!
//! Rooms are the boundary. A session reaches those it shares a room with, whether it addresses them by
//! address, by user or by id, and it may send to named rooms that it is in. What is not allowed looks as if
//! it did not exist, so nobody can find out who does.

use crate::proto::{Status, valid_room};

use super::Config;
use super::error::Refusal;
use super::rooms::{RoomId, Rooms};
use super::slab::Key;

/// Whether the host is asked before this peer is admitted.
pub(super) fn needs_verdict(config: &Config, local: bool) -> bool {
    config.authenticate && !local
}

/// Whether this peer may not take this user name.
pub(super) fn is_reserved(config: &Config, local: bool, user: &str) -> bool {
    !local && config.reserved.iter().any(|reserved| reserved == user)
}

/// Whether slow recipients hold this peer. A peer in this process under a reserved name speaks for the host:
/// a stranger that does not read must not be able to stop a camera.
pub(super) fn is_held(config: &Config, local: bool, user: &str) -> bool {
    !local || !config.reserved.iter().any(|reserved| reserved == user)
}

/// Whether a peer is put into the rooms that it asks for in `auth`.
pub(super) fn grants_own_rooms(config: &Config, local: bool) -> bool {
    !config.authenticate || local
}

/// Whether the server decides a peer's `name`.
pub(super) fn forces_name(config: &Config, local: bool) -> bool {
    config.authenticate && !local
}

/// Whether connections like this one are counted and rate-limited.
pub(super) fn is_limited(local: bool) -> bool {
    !local
}

/// Whether a message from `sender` may reach `peer`.
pub(super) fn may_reach(rooms: &Rooms, sender: Key, peer: Key) -> bool {
    rooms.share(sender, peer)
}

/// Whether `sender` may address the named room `room`.
pub(super) fn may_speak_in(rooms: &Rooms, sender: Key, room: RoomId) -> bool {
    rooms.is_member(sender, room)
}

/// Whether a message from a peer on another instance, which is in these rooms, may reach `peer`.
pub(super) fn away_may_reach(rooms: &Rooms, of: &[RoomId], peer: Key) -> bool {
    rooms.is_in_any(peer, of)
}

/// Whether a peer on another instance, which is in these rooms, may address the named room `room`.
pub(super) fn away_may_speak_in(of: &[RoomId], room: RoomId) -> bool {
    of.binary_search(&room).is_ok()
}

/// The result of a `join`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Join {
    /// The session is in the room already.
    Stays,
    Enters,
}

/// Whether a session may join the named room `room`.
pub(super) fn join(
    config: &Config,
    local: bool,
    rooms: &Rooms,
    key: Key,
    room: Option<&str>,
) -> Result<Join, Refusal> {
    let room = check_room(config, local, room)?;
    if is_own(rooms, key, room) || rooms.named(room).is_some_and(|room| rooms.is_member(key, room)) {
        Ok(Join::Stays)
    } else if rooms.of(key).len() >= config.max_rooms {
        Err(too_many_rooms(config))
    } else {
        Ok(Join::Enters)
    }
}

/// Whether a session may leave `room`; returns which room that is, if the session is in it.
pub(super) fn leave(
    config: &Config,
    local: bool,
    rooms: &Rooms,
    key: Key,
    room: Option<&str>,
) -> Result<Option<RoomId>, Refusal> {
    let room = check_room(config, local, room)?;
    if is_own(rooms, key, room) {
        return Err(Refusal::new(Status::FORBIDDEN, "A user's own room cannot be left"));
    }
    Ok(rooms.named(room).filter(|room| rooms.is_member(key, *room)))
}

/// Whether a session admitted into this many rooms has too many.
pub(super) fn check_count(config: &Config, rooms: usize) -> Result<(), Refusal> {
    if rooms > config.max_rooms { Err(too_many_rooms(config)) } else { Ok(()) }
}

fn too_many_rooms(config: &Config) -> Refusal {
    Refusal::new(Status::TOO_MANY, format!("A session may be in at most {} rooms", config.max_rooms))
}

fn check_room<'a>(config: &Config, local: bool, room: Option<&'a str>) -> Result<&'a str, Refusal> {
    let room = room
        .filter(|room| valid_room(room))
        .ok_or_else(|| Refusal::bad("\"room\" must be a string of 1 to 256 bytes"))?;
    if config.dynamic_rooms || local {
        Ok(room)
    } else {
        Err(Refusal::new(
            Status::FORBIDDEN,
            "This server does not allow joining or leaving rooms; it assigns them when you connect",
        ))
    }
}

/// A user's own room has the user's name. Joining it changes nothing, and never creates a named room that
/// others could enter.
fn is_own(rooms: &Rooms, key: Key, room: &str) -> bool {
    rooms.user_of(key) == Some(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_process_peers_need_no_verdict_and_have_no_limits() {
        let open = Config::default();
        let closed = Config { authenticate: true, ..Config::default() };
        for (config, local, verdict, own_rooms, name) in [
            (&open, false, false, true, false),
            (&open, true, false, true, false),
            (&closed, false, true, false, true),
            (&closed, true, false, true, false),
        ] {
            assert_eq!(needs_verdict(config, local), verdict);
            assert_eq!(grants_own_rooms(config, local), own_rooms);
            assert_eq!(forces_name(config, local), name);
            assert_eq!(is_limited(local), !local);
        }
    }

    #[test]
    fn reserved_users_are_for_this_process_alone() {
        let config = Config { reserved: vec!["camera".into()], ..Config::default() };
        for (local, user, reserved) in
            [(false, "camera", true), (false, "camera2", false), (true, "camera", false)]
        {
            assert_eq!(is_reserved(&config, local, user), reserved, "{local} {user}");
        }
    }

    #[test]
    fn joins_and_leaves_follow_the_table() {
        let (mut rooms, key) = (Rooms::default(), Key::test(0));
        rooms.seat(key, "alice", "1");
        rooms.join(key, "team");
        let open = Config { max_rooms: 2, ..Config::default() };
        let roomy = Config::default();
        let fixed = Config { dynamic_rooms: false, ..Config::default() };
        let long = "r".repeat(257);
        let status = |r: Result<Join, Refusal>| r.map_err(|refusal| refusal.status.0);
        for (config, local, room, want) in [
            (&roomy, false, Some("new"), Ok(Join::Enters)),
            (&roomy, false, Some("team"), Ok(Join::Stays)),
            (&roomy, false, Some("alice"), Ok(Join::Stays)),
            (&roomy, false, Some(&*long), Err(400)),
            (&roomy, false, Some(""), Err(400)),
            (&roomy, false, None, Err(400)),
            (&open, false, Some("new"), Err(429)),
            (&open, false, Some("team"), Ok(Join::Stays)),
            (&fixed, false, Some("new"), Err(403)),
            (&fixed, true, Some("new"), Ok(Join::Enters)),
        ] {
            assert_eq!(status(join(config, local, &rooms, key, room)), want, "{room:?}");
        }
        let team = rooms.named("team");
        for (config, room, want) in [
            (&roomy, Some("team"), Ok(team)),
            (&roomy, Some("other"), Ok(None)),
            (&roomy, Some("alice"), Err(403)),
            (&roomy, None, Err(400)),
            (&fixed, Some("team"), Err(403)),
        ] {
            let got = leave(config, false, &rooms, key, room).map_err(|refusal| refusal.status.0);
            assert_eq!(got, want, "{room:?}");
        }
    }
}
