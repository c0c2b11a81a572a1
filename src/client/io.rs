//! The inputs and outputs of an agent.

use std::fmt;
use std::time::{Duration, Instant};

use super::{AnswerId, CommandError, CommandId};
use crate::proto::{CloseCode, Message, Peer, Status};

/// What the driver reports.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Input<'a> {
    /// The socket is open and the WebSocket upgrade done.
    Opened,
    /// The socket could not be opened.
    OpenFailed {
        /// A description for people.
        reason: &'a str,
    },
    /// A text frame.
    Text(&'a str),
    /// A ping or a pong arrived.
    Alive,
    /// The socket accepts nothing more right now. No [`Output::Send`] follows until [`Input::Writable`]; what
    /// the application sends is queued, within `outbox_limit`.
    Full,
    /// The socket accepts data again.
    Writable,
    /// The socket closed, for whatever reason.
    Closed {
        /// The code of the server's close frame, if there was one.
        code: Option<CloseCode>,
        /// The reason in that frame, or the operating system's error.
        reason: &'a str,
    },
    /// The time from [`Output::Timeout`] has come.
    Timeout,
}

/// What the driver must do.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Dial now.
    Open,
    /// Send a text frame.
    Send(String),
    /// Send a ping.
    Ping,
    /// Close the socket, or stop dialling, and forget it.
    Close {
        /// For the close frame.
        code: CloseCode,
        /// For the close frame.
        reason: &'static str,
    },
    /// Pass this to the application.
    Event(Event),
    /// An answer that somebody awaits is there for [`Agent::take_answer`](super::Agent::take_answer): wake them.
    Answered(AnswerId),
    /// Nothing to do until an input, a command, or this time.
    Timeout(Option<Instant>),
}

impl fmt::Debug for Output {
    /// Frames by length only: the first one holds the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Open => f.write_str("Open"),
            Output::Send(text) => write!(f, "Send({} bytes)", text.len()),
            Output::Ping => f.write_str("Ping"),
            Output::Close { code, reason } => write!(f, "Close({code} {reason})"),
            Output::Event(event) => f.debug_tuple("Event").field(event).finish(),
            Output::Answered(id) => f.debug_tuple("Answered").field(id).finish(),
            Output::Timeout(at) => f.debug_tuple("Timeout").field(at).finish(),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// We are admitted. Our address is a new one.
    Online {
        /// Ourselves, as the server knows us.
        peer: Peer,
        /// The rooms we are in. Those still being joined follow as [`Event::Joined`].
        rooms: Vec<String>,
    },
    /// The connection was lost, or could not be made. The agent dials again after `retry_in`.
    Offline {
        /// A description for people.
        reason: String,
        /// How long it waits.
        retry_in: Duration,
        /// How many queued messages were dropped before they could be sent.
        unsent: usize,
    },
    /// A new peer.
    PeerAdded {
        /// The peer.
        peer: Peer,
    },
    /// A known peer with new data.
    PeerUpdated {
        /// All that is known of it now.
        peer: Peer,
    },
    /// A peer is gone; its last known data.
    PeerRemoved {
        /// The peer.
        peer: Peer,
    },
    /// We joined a room.
    Joined {
        /// The room.
        room: String,
    },
    /// We left a room.
    Left {
        /// The room.
        room: String,
    },
    /// A room could not be joined or left; it is not requested again.
    RoomRefused {
        /// The room.
        room: String,
        /// The status code.
        status: Status,
        /// The server's message.
        message: String,
    },
    /// A message or an event from a peer or the server, or a type that this version does not know.
    Message {
        /// The message, as it came.
        message: Message,
    },
    /// A peer's command; answer it with [`Agent::reply`](super::Agent::reply).
    Command {
        /// The command, as it came.
        command: Message,
    },
    /// A reply with status 202: the peer is working on it, and the deadline starts again.
    Progress {
        /// The command.
        id: CommandId,
        /// The reply.
        message: Message,
    },
    /// A command's result.
    Reply {
        /// The command.
        id: CommandId,
        /// The peer's reply, whatever its status, or why there is none.
        result: Result<Message, CommandError>,
    },
    /// How many sessions a message with `"receipt": true` reached.
    Receipt {
        /// The message's id.
        id: String,
        /// 200, or 404 if it reached nobody.
        status: Status,
        /// The number of sessions.
        delivered: u64,
    },
    /// The server rejected something, or is about to close.
    Error {
        /// The status code.
        status: Status,
        /// The server's message (at most 256 bytes of it).
        message: String,
    },
    /// The agent has ended, until [`Agent::connect`](super::Agent::connect) is called again.
    Ended {
        /// The reason.
        why: End,
    },
}

/// Why an agent ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// [`Agent::close`](super::Agent::close) was called.
    Closed,
    /// The server refused these credentials (401), and would refuse them again.
    Refused {
        /// The server's message.
        message: String,
    },
    /// `max_attempts` was reached.
    GaveUp {
        /// How the last attempt failed.
        reason: String,
    },
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Closed => f.write_str("closed by this client"),
            End::Refused { message } => {
                write!(f, "refused by the server: {message}; connect again with another user or token")
            }
            End::GaveUp { reason } => write!(f, "gave up: {reason}"),
        }
    }
}

/// Why nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// There is no connection right now.
    Offline,
    /// Too much is queued already, because of the server's rate limit or a slow recipient.
    /// [`Agent::has_room`](super::Agent::has_room) reports when there is room again.
    Full,
    /// The message, or our presence data, is longer than the server accepts.
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Not a message that can be sent to a peer.
    Invalid {
        /// Why.
        reason: String,
    },
    /// A room name is empty, or longer than [`MAX_ROOM`](crate::proto::MAX_ROOM).
    BadRoom,
    /// `max_rooms` rooms are remembered already.
    TooManyRooms,
    /// `max_commands` commands are waiting for replies already.
    TooManyCommands,
}

impl SendError {
    /// A stable name: `offline`, `full`, `too-large`, `invalid`, `bad-room`, `too-many-rooms` or
    /// `too-many-commands`.
    pub fn code(&self) -> &'static str {
        match self {
            SendError::Offline => "offline",
            SendError::Full => "full",
            SendError::TooLarge { .. } => "too-large",
            SendError::Invalid { .. } => "invalid",
            SendError::BadRoom => "bad-room",
            SendError::TooManyRooms => "too-many-rooms",
            SendError::TooManyCommands => "too-many-commands",
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Offline => f.write_str("not online, so nothing was sent; send again once online"),
            SendError::Full => f.write_str("the send queue is full; send less, or later"),
            SendError::TooLarge { bytes, limit } => {
                write!(f, "too long: {bytes} bytes, and the limit is {limit}")
            }
            SendError::Invalid { reason } => write!(f, "not a message for a peer: {reason}"),
            SendError::BadRoom => f.write_str("a room name must have 1 to 256 bytes"),
            SendError::TooManyRooms => f.write_str("too many rooms; leave some first"),
            SendError::TooManyCommands => f.write_str("too many answers are awaited already"),
        }
    }
}

impl std::error::Error for SendError {}
