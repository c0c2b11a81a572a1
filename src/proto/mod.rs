//! Symple v4 on the wire: values only, no state, no I/O.
//!
//! A frame is one JSON object in UTF-8 text. This layer parses the members that are used and keeps the rest
//! as raw bytes, so number spelling, escapes and member order survive a hop: [`Head`] borrows from a frame,
//! [`Message`] owns one, [`Draft`] writes one. The contract itself is in [`contract`].
//!
//! Out of scope: who may send what to whom (the server's `policy`), and when to send it (the drivers).

mod address;
mod draft;
mod head;
mod message;
mod peer;
mod rewrite;
mod status;
mod token;

/// The wire contract, as every implementation speaks it.
#[doc = include_str!("protocol.md")]
pub mod contract {}

pub use address::{Address, Target};
pub use draft::Draft;
pub use head::{Head, MAX_DEPTH, Malformed, To, walk};
pub use message::{DataError, Message, MessageKind};
pub use peer::{Object, Peer};
pub use rewrite::{presence, stamped};
pub use status::{CloseCode, Status};
pub use token::Token;

/// The value of `protocol` in `welcome`.
pub const PROTOCOL: &str = "symple/4";

/// The type of a frame whose `data` is a list of presences. A client that understands it lists it in `accept`
/// of its `auth`.
pub const PRESENCE_BATCH: &str = "presence:batch";

/// The port that every Symple server listens on by default.
pub const DEFAULT_PORT: u16 = 4500;

/// The longest `user` in bytes; see [`valid_user`].
pub const MAX_USER: usize = 128;

/// The longest room name in bytes.
pub const MAX_ROOM: usize = 256;

/// Whether `user` is a valid user name: 1 to [`MAX_USER`] bytes, no `|`, no control characters.
///
/// ```
/// use symple::proto::valid_user;
/// assert!(valid_user("alice") && valid_user("Ünal 🎥"));
/// assert!(!valid_user("") && !valid_user("a|b") && !valid_user("a\nb"));
/// ```
pub fn valid_user(user: &str) -> bool {
    (1..=MAX_USER).contains(&user.len()) && !user.chars().any(|c| c == '|' || c.is_control())
}

/// Whether `room` is a valid room name: 1 to [`MAX_ROOM`] bytes.
pub fn valid_room(room: &str) -> bool {
    (1..=MAX_ROOM).contains(&room.len())
}
