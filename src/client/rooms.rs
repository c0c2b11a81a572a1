//! The rooms the application wants to be in or out of, whatever the connection does.

use std::collections::BTreeMap;

use super::SendError;
use crate::proto::valid_room;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RoomChoice {
    In,
    /// Remembered as well: a server may put us into rooms of its choice at each `welcome`.
    Out,
}

/// What is wanted for each room that was ever asked for, up to a limit.
pub(super) struct RoomChoices {
    rooms: BTreeMap<String, RoomChoice>,
    limit: usize,
}

impl RoomChoices {
    pub(super) fn new(limit: usize) -> Self {
        RoomChoices { rooms: BTreeMap::new(), limit }
    }

    pub(super) fn join(&mut self, room: &str) -> Result<(), SendError> {
        self.wish(room, RoomChoice::In)
    }

    pub(super) fn leave(&mut self, room: &str) -> Result<(), SendError> {
        self.wish(room, RoomChoice::Out)
    }

    fn wish(&mut self, room: &str, wish: RoomChoice) -> Result<(), SendError> {
        if !valid_room(room) {
            return Err(SendError::BadRoom);
        }
        if self.rooms.len() >= self.limit && !self.rooms.contains_key(room) {
            // Rooms to stay out of matter less: we would not be put into most of them anyway.
            let out =
                self.rooms.iter().find(|(_, wish)| **wish == RoomChoice::Out).map(|(room, _)| room.clone());
            match (out, wish) {
                (Some(out), _) => _ = self.rooms.remove(&out),
                (None, RoomChoice::Out) => return Ok(()),
                (None, RoomChoice::In) => return Err(SendError::TooManyRooms),
            }
        }
        self.rooms.insert(room.to_owned(), wish);
        Ok(())
    }

    /// The server refused: do not ask again. Returns whether the room had been requested.
    pub(super) fn forget(&mut self, room: &str) -> bool {
        self.rooms.remove(room).is_some()
    }

    /// The rooms to be in.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &str> {
        self.with(RoomChoice::In)
    }

    /// The rooms to stay out of.
    pub(super) fn unwanted(&self) -> impl Iterator<Item = &str> {
        self.with(RoomChoice::Out)
    }

    fn with(&self, wish: RoomChoice) -> impl Iterator<Item = &str> {
        self.rooms.iter().filter(move |(_, w)| **w == wish).map(|(room, _)| room.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_wish_for_a_room_holds() {
        let mut wishes = RoomChoices::new(2);
        wishes.join("a").expect("fits");
        wishes.join("b").expect("fits");
        assert_eq!(wishes.join("c"), Err(SendError::TooManyRooms));
        assert_eq!(wishes.join("a"), Ok(()), "known rooms take no more place");
        assert_eq!(wishes.leave("c"), Ok(()), "leaving is always possible, remembered or not");
        wishes.leave("a").expect("known");
        assert_eq!(
            (wishes.wanted().collect::<Vec<_>>(), wishes.unwanted().collect::<Vec<_>>()),
            (vec!["b"], vec!["a"])
        );
        wishes.join("c").expect("takes the place of one to be out of");
        assert_eq!(wishes.wanted().collect::<Vec<_>>(), ["b", "c"]);
        assert!(wishes.forget("b") && !wishes.forget("b"));
    }

    #[test]
    fn names_are_checked() {
        let mut wishes = RoomChoices::new(2);
        for bad in ["", &"x".repeat(257)] {
            assert_eq!(wishes.join(bad), Err(SendError::BadRoom));
            assert_eq!(wishes.leave(bad), Err(SendError::BadRoom));
        }
        assert!(wishes.join(&"x".repeat(256)).is_ok());
    }
}
