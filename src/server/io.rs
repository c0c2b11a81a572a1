//! The inputs and outputs of the hub.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::proto::{CloseCode, Object, Peer, Status, Token};

/// Identifies a connection. The driver chooses it and never reuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// What happened outside.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input<'a> {
    /// A WebSocket was accepted, or an in-process peer wants to connect.
    Connected {
        /// Its identifier from now on.
        conn: ConnId,
        /// The id of the session it may become: unguessable, unique across all instances, without `|`.
        id: String,
        /// Its IP address; sent to the peer itself in `welcome` and to nobody else.
        host: Option<IpAddr>,
        /// An in-process peer: it is admitted without a token, into the rooms it asks for; it is not counted,
        /// pinged, rate-limited, or held by others. Its queue is bounded like any other.
        local: bool,
    },
    /// A text frame arrived.
    Text {
        /// The connection.
        conn: ConnId,
        /// Its content.
        text: &'a str,
    },
    /// A binary frame arrived.
    Binary {
        /// The connection.
        conn: ConnId,
    },
    /// The start of a frame larger than [`Config::max_message_size`](super::Config), or than is allowed
    /// before `welcome`, arrived. The driver stops reading.
    TooLarge {
        /// The connection.
        conn: ConnId,
    },
    /// A frame that violates RFC 6455 arrived. The driver stops reading.
    BadFrame {
        /// The connection.
        conn: ConnId,
        /// The close code: 1002, or 1007 for text that is not UTF-8.
        code: CloseCode,
    },
    /// A ping or a pong arrived.
    Alive {
        /// The connection.
        conn: ConnId,
    },
    /// The socket accepts nothing more right now, and there is more to send. Reported when that begins, and
    /// each time the socket has accepted part of what the driver had. It ends with a
    /// [`transmit`](super::Hub::transmit) of more than 0 bytes.
    Full {
        /// The connection.
        conn: ConnId,
        /// The socket accepted something since the last report.
        moved: bool,
    },
    /// The driver is buffering this many bytes: of an incomplete frame, and of frames it has not passed on
    /// because the connection is held.
    Buffered {
        /// The connection.
        conn: ConnId,
        /// The number of bytes; 0 when nothing is buffered any more.
        bytes: usize,
    },
    /// The connection has ended, for whatever reason. The hub forgets it.
    Closed {
        /// The connection.
        conn: ConnId,
    },
    /// The host's answer to [`Event::Authenticate`]. Ignored if the connection is already gone.
    Verdict {
        /// The connection.
        conn: ConnId,
        /// Admit or refuse.
        verdict: Verdict,
    },
    /// The host pushes a message, like a publisher on `symple:broadcast`: it is sent unchanged to everyone
    /// its `to` names (`"user|id"`, `"user"`, room, or a list), on all instances, without a permission check.
    /// It is dropped if it has no `to` or is not a message.
    Inject {
        /// The whole message.
        text: &'a str,
    },
    /// The host kicks peers: `error`, then the close that goes with the status.
    Kick {
        /// Which peers.
        whom: Whom<'a>,
        /// The status of the `error`.
        status: Status,
        /// The message of the `error`.
        message: &'a str,
    },
    /// The server shuts down: everybody gets the event `shutdown` and close 1001. Nobody is admitted any
    /// more.
    Shutdown,
    /// The instant that [`Output::Timeout`] asked for has come.
    Timeout,
}

/// Whom to kick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Whom<'a> {
    /// This connection.
    Conn(ConnId),
    /// A session `user|id`, every session of `user`, or the session `|id`, on all instances.
    Address(&'a str),
}

/// What the driver must do. Poll until [`Output::Timeout`], which ends a round.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// There is something to [`transmit`](super::Hub::transmit) to this connection. Reported once until
    /// everything is transmitted, and again when the connection is to be closed, so a driver that is waiting
    /// for a slow socket transmits then too and finds the close.
    Ready(ConnId),
    /// A [held](super::Hub::is_held) connection is released: read from its socket again.
    Resume(ConnId),
    /// Something the host may want to know, or must answer.
    Event(Event),
    /// Nothing left to do until an input or this instant ([`Input::Timeout`]).
    Timeout(Option<Instant>),
}

/// What to send next on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transmit {
    /// A text frame. All recipients of a message share it.
    Text(Arc<str>),
    /// A ping.
    Ping,
    /// A close frame, always the last. The driver gives the peer a moment to receive it and to answer, then
    /// drops the socket and reports [`Input::Closed`]. A peer that is too slow accepts nothing: don't wait
    /// long.
    Close {
        /// The close code.
        code: CloseCode,
        /// The reason, at most 123 bytes.
        reason: Cow<'static, str>,
    },
}

/// An event for the host.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Should this peer be admitted? Answer with [`Input::Verdict`], at any time.
    Authenticate {
        /// The connection.
        conn: ConnId,
        /// Its `auth`.
        auth: Auth,
    },
    /// A peer was admitted.
    PeerOnline {
        /// The connection.
        conn: ConnId,
        /// The peer.
        peer: Peer,
    },
    /// A peer has left; once for each that was admitted.
    PeerOffline {
        /// The connection.
        conn: ConnId,
        /// The peer as last known.
        peer: Peer,
    },
    /// A connection was not admitted.
    Refused {
        /// Its IP address.
        host: Option<IpAddr>,
        /// The reason.
        status: Status,
    },
}

/// A client's `auth`.
#[derive(Clone, Debug)]
pub struct Auth {
    /// The user it claims to be: a valid user name.
    pub user: String,
    /// The display name it wants.
    pub name: Option<String>,
    /// Its credential.
    pub token: Option<Token>,
    /// Rooms it wants; the host decides.
    pub rooms: Vec<String>,
    /// Its own data.
    pub data: Object,
    /// Its IP address.
    pub host: Option<IpAddr>,
}

/// The host's answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// Admit it.
    Admit(Admission),
    /// Refuse it, and close.
    Refuse {
        /// The status of the error, usually 401.
        status: Status,
        /// The message of the error.
        message: String,
    },
}

/// How a peer is admitted. The default: under the name it gave, into no room but its own.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// Its real user, if different from its claim.
    pub user: Option<String>,
    /// Its display name.
    pub name: Option<String>,
    /// Named rooms to put it into.
    pub rooms: Vec<String>,
    /// Data about it for others; overrides what it sent itself in `auth`.
    pub data: Object,
}
