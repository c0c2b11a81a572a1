//! What goes into an agent and what comes out of it.

use std::fmt;
use std::time::{Duration, Instant};

use super::{CommandError, CommandId};
use crate::proto::{CloseCode, Message, Peer, Status};

/// What the driver tells.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// The socket is open, its WebSocket upgrade done.
    Opened,
    /// It could not be opened.
    OpenFailed {
        /// In words, for people.
        reason: &'a str,
    },
    /// A text frame.
    Text(&'a str),
    /// A ping or a pong.
    Alive,
    /// The socket takes nothing more just now. No [`Output::Send`] comes until [`Input::Writable`]; what the
    /// application sends waits, within `outbox_limit`.
    Full,
    /// The socket takes something again.
    Writable,
    /// The socket ended, however that was.
    Closed {
        /// The code of the server's close frame, where there was one.
        code: Option<CloseCode>,
        /// The reason in it, or what the system said.
        reason: &'a str,
    },
    /// The time of [`Output::Timeout`] has come.
    Timeout,
}

/// What the driver is to do.
#[derive(Clone, PartialEq)]
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
    /// Tell the application.
    Event(Event),
    /// Nothing more to do until an input, a command, or this time.
    Timeout(Option<Instant>),
}

impl fmt::Debug for Output {
    /// Frames by their length alone: the first one holds the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Open => f.write_str("Open"),
            Output::Send(text) => write!(f, "Send({} bytes)", text.len()),
            Output::Ping => f.write_str("Ping"),
            Output::Close { code, reason } => write!(f, "Close({code} {reason})"),
            Output::Event(event) => f.debug_tuple("Event").field(event).finish(),
            Output::Timeout(at) => f.debug_tuple("Timeout").field(at).finish(),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// We are in. Our address is another one than before.
    Online {
        /// We ourselves, as the server knows us.
        peer: Peer,
        /// The rooms that we are in; those that are still asked for follow as [`Event::Joined`].
        rooms: Vec<String>,
    },
    /// The connection is lost, or could not be made. After `retry_in` the agent dials again.
    Offline {
        /// In words.
        reason: String,
        /// How long it waits.
        retry_in: Duration,
        /// How many messages were still waiting to leave and are dropped.
        unsent: usize,
    },
    /// Somebody new.
    PeerAdded(Peer),
    /// Somebody known tells something new.
    PeerUpdated(Peer),
    /// Somebody is gone; the last that was known.
    PeerRemoved(Peer),
    /// We are in a room.
    Joined(String),
    /// We are no longer in a room.
    Left(String),
    /// A room cannot be joined, or left; it is not asked for again.
    RoomRefused {
        /// Which.
        room: String,
        /// Why, as a number.
        status: Status,
        /// Why, in the server's words.
        message: String,
    },
    /// A message or an event of a peer or the server's, or a type that this version does not know.
    Message(Message),
    /// A peer asks for something; answer it with [`Agent::reply`](super::Agent::reply).
    Command(Message),
    /// A reply with status 202: the peer is at it, the deadline begins anew.
    Progress {
        /// The command.
        id: CommandId,
        /// The reply.
        message: Message,
    },
    /// How a command ended.
    Reply {
        /// The command.
        id: CommandId,
        /// The peer's reply, of whatever status, or why there is none.
        result: Result<Message, CommandError>,
    },
    /// How many a message with `"receipt": true` was delivered to.
    Receipt {
        /// The message's id.
        id: String,
        /// 200, or 404 where it reached nobody.
        status: Status,
        /// To how many sessions.
        delivered: u64,
    },
    /// The server did not take something, or is about to close.
    Error {
        /// Why, as a number.
        status: Status,
        /// Why, in the server's words (at most 256 bytes of them).
        message: String,
    },
    /// It is over, until [`Agent::connect`](super::Agent::connect) is called again.
    Ended {
        /// Why.
        why: End,
    },
}

/// Why it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// [`Agent::close`](super::Agent::close) was called.
    Closed,
    /// The server does not let us in (401), with these credentials not now and not later.
    Refused {
        /// In the server's words.
        message: String,
    },
    /// `max_attempts` is reached.
    GaveUp {
        /// How the last attempt failed.
        reason: String,
    },
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Closed => f.write_str("closed by us"),
            End::Refused { message } => {
                write!(f, "the server refuses us: {message}; connect again with another user or token")
            }
            End::GaveUp { reason } => write!(f, "gave up: {reason}"),
        }
    }
}

/// Why nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendError {
    /// There is no connection now.
    Offline,
    /// Too much is waiting already, because the server's rate or a slow recipient holds us;
    /// [`Agent::has_room`](super::Agent::has_room) tells when there is room again.
    Full,
    /// The message, or what it tells of us, is longer than the server takes.
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// It is no message that a peer could get; the text says why.
    Invalid(String),
    /// A room's name is empty, or longer than [`MAX_ROOM`](crate::proto::MAX_ROOM).
    BadRoom,
    /// `max_rooms` are remembered already.
    TooManyRooms,
    /// `max_commands` await their replies already.
    TooManyCommands,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Offline => f.write_str("not online: nothing was sent; send again once online"),
            SendError::Full => f.write_str("too much waits to be sent already: send less, or later"),
            SendError::TooLarge { bytes, limit } => {
                write!(f, "too long: it has {bytes} bytes, {limit} are allowed")
            }
            SendError::Invalid(why) => write!(f, "not a message for a peer: {why}"),
            SendError::BadRoom => f.write_str("a room's name has 1 to 256 bytes"),
            SendError::TooManyRooms => f.write_str("too many rooms: leave some first"),
            SendError::TooManyCommands => f.write_str("too many commands await their replies already"),
        }
    }
}

impl std::error::Error for SendError {}
