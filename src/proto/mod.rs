//! Symple v4 on the wire: values only, no state, no I/O.
//!
//! A frame is one JSON object in UTF-8 text. This layer parses the members that somebody acts on and
//! keeps the rest as the bytes it was, so number spelling, escapes and member order survive a hop:
//! [`Head`] borrows from a frame, [`Message`] owns one, [`Draft`] writes one.
//!
//! Out of scope: who may send what to whom (the server's `policy`), and when (the drivers).

mod address;
mod draft;
mod head;
mod message;
mod peer;
mod rewrite;
mod status;
mod token;

pub use address::{Address, Target};
pub use draft::Draft;
pub use head::{Head, MAX_DEPTH, Malformed, To, walk};
pub use message::{DataError, Kind, Message};
pub use peer::{Object, Peer};
pub use rewrite::{presence, stamped};
pub use status::{CloseCode, Status};
pub use token::Token;

/// The value of `protocol` in `welcome`.
pub const PROTOCOL: &str = "symple/4";

/// The type of a frame that holds several presences in its `data`, a list, and what a client that understands it names
/// in `accept` of its `auth`.
pub const PRESENCE_BATCH: &str = "presence:batch";

/// The port that every Symple server listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 4500;

/// The longest `user` in bytes; see [`valid_user`].
pub const MAX_USER: usize = 128;

/// The longest room name in bytes.
pub const MAX_ROOM: usize = 256;

/// Whether `user` may name a peer: 1 to [`MAX_USER`] bytes, no `|`, no control characters.
///
/// ```
/// use symple::proto::valid_user;
/// assert!(valid_user("alice") && valid_user("Ünal 🎥"));
/// assert!(!valid_user("") && !valid_user("a|b") && !valid_user("a\nb"));
/// ```
pub fn valid_user(user: &str) -> bool {
    (1..=MAX_USER).contains(&user.len()) && !user.chars().any(|c| c == '|' || c.is_control())
}

/// Whether `room` may name a room: 1 to [`MAX_ROOM`] bytes.
pub fn valid_room(room: &str) -> bool {
    (1..=MAX_ROOM).contains(&room.len())
}
