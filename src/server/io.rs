//! What goes into the hub and what comes out of it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::proto::{CloseCode, Object, Peer, Status, Token};

/// Names a connection. The driver chooses it and never uses it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// What happened outside.
#[derive(Debug)]
pub enum Input<'a> {
    /// A WebSocket was accepted, or an in-process peer wants in.
    Connected {
        /// Its name from now on.
        conn: ConnId,
        /// The id of the session that it may become: unguessable, unique over all instances, without `|`.
        id: String,
        /// Where it comes from; told to itself in `welcome` and to nobody else.
        host: Option<IpAddr>,
        /// An in-process peer: it is admitted without a token, into the rooms it asks for; it is not
        /// counted, pinged, limited in its rate, or held by others. Its queue is bounded as everybody's.
        local: bool,
    },
    /// A text frame came.
    Text {
        /// From here.
        conn: ConnId,
        /// Its content.
        text: &'a str,
    },
    /// A binary frame came.
    Binary {
        /// From here.
        conn: ConnId,
    },
    /// A frame over [`Config::max_message_size`](super::Config), or over what is allowed before `welcome`,
    /// begins to come. The driver reads no more.
    TooLarge {
        /// From here.
        conn: ConnId,
    },
    /// A frame that breaks RFC 6455 came. The driver reads no more.
    BadFrame {
        /// From here.
        conn: ConnId,
        /// What to close with: 1002, or 1007 where text is no UTF-8.
        code: CloseCode,
    },
    /// A ping or a pong came.
    Alive {
        /// From here.
        conn: ConnId,
    },
    /// The socket takes nothing more just now, and there is more for it. Said when that begins, and each time
    /// the socket took a part of what the driver had; it ends with a [`transmit`](super::Hub::transmit) of more than 0
    /// bytes.
    Full {
        /// This one.
        conn: ConnId,
        /// The socket took something since this was last said.
        moved: bool,
    },
    /// The driver keeps so many bytes of a frame that is not whole, and of frames that it has not handed over
    /// because the connection is held.
    Buffered {
        /// This one.
        conn: ConnId,
        /// How many; 0 when nothing is kept any more.
        bytes: usize,
    },
    /// The connection has ended, however it did. The hub forgets it.
    Closed {
        /// This one.
        conn: ConnId,
    },
    /// The host's answer to [`Event::Authenticate`]. For a connection that is gone meanwhile it means nothing.
    Verdict {
        /// Whom it is about.
        conn: ConnId,
        /// In or out.
        verdict: Verdict,
    },
    /// The host pushes a message, as a publisher on `symple:broadcast` does: it goes, as it stands, to whom
    /// its `to` names (`"user|id"`, `"user"`, room, or a list), on all instances, without a permission check.
    /// Without a `to`, or when it is no message, it is dropped.
    Inject {
        /// The whole message.
        text: &'a str,
    },
    /// The host throws peers out: `error`, then the close that goes with the status.
    Kick {
        /// Whom.
        whom: Whom<'a>,
        /// The number of the error.
        status: Status,
        /// Its words.
        message: &'a str,
    },
    /// The server ends: everybody gets the event `shutdown` and close 1001. Nobody is admitted any more.
    Shutdown,
    /// The instant that [`Output::Timeout`] asked for has come.
    Timeout,
}

/// Whom the host means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom<'a> {
    /// This connection.
    Conn(ConnId),
    /// A session `user|id`, every session of `user`, or the session `|id`, on all instances.
    Address(&'a str),
}

/// What the hub wants done. Poll until [`Output::Timeout`] comes: it ends a round.
#[derive(Debug)]
pub enum Output {
    /// There is something to [`transmit`](super::Hub::transmit) for this connection. Said once until it is
    /// transmitted to the end, and again when it is to be closed: so a driver that waits for a slow socket
    /// transmits then too, and finds the close.
    Ready(ConnId),
    /// A connection that was [held](super::Hub::is_held) is held no more: its socket is to be read again.
    Resume(ConnId),
    /// Something that the host may want to know, or must answer.
    Event(Event),
    /// Nothing more to do before an input comes, or this instant ([`Input::Timeout`]).
    Timeout(Option<Instant>),
}

/// What a connection sends next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// A text frame. All recipients of a message share it.
    Text(Arc<str>),
    /// A ping.
    Ping,
    /// A close frame, the last of all. The driver gives the peer a moment to take it and its answer, then
    /// drops the socket and says [`Input::Closed`]. A peer that is too slow takes nothing: don't wait long.
    Close {
        /// Why, as a number.
        code: CloseCode,
        /// Why, in at most 123 bytes.
        reason: Cow<'static, str>,
    },
}

/// What the host learns.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// May this peer in? Answer with [`Input::Verdict`], at leisure.
    Authenticate {
        /// Who asks.
        conn: ConnId,
        /// With which words.
        auth: Auth,
    },
    /// A peer was admitted.
    PeerOnline {
        /// Over this connection.
        conn: ConnId,
        /// What is known of it.
        peer: Peer,
    },
    /// A peer has gone; once for each that was admitted.
    PeerOffline {
        /// Over this connection.
        conn: ConnId,
        /// What was known of it.
        peer: Peer,
    },
    /// A connection was not admitted.
    Refused {
        /// Where it came from.
        host: Option<IpAddr>,
        /// Why.
        status: Status,
    },
}

/// What a client wrote into `auth`.
#[derive(Clone, Debug)]
pub struct Auth {
    /// Who it says it is: a valid user name.
    pub user: String,
    /// What it wants to be called.
    pub name: Option<String>,
    /// Its proof.
    pub token: Option<Token>,
    /// Rooms that it would like; the host decides.
    pub rooms: Vec<String>,
    /// What it tells of itself.
    pub data: Object,
    /// Where it comes from.
    pub host: Option<IpAddr>,
}

/// The host's answer.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Let it in.
    Admit(Admission),
    /// Tell it no, and close.
    Refuse {
        /// The number of the error, usually 401.
        status: Status,
        /// Its words.
        message: String,
    },
}

/// On which terms a peer comes in. The default is: as it asked, into no room but its own.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// Who it really is, where that is not what it said.
    pub user: Option<String>,
    /// What it is called.
    pub name: Option<String>,
    /// Named rooms that it is put into.
    pub rooms: Vec<String>,
    /// Told of it to others; wins over what it tells itself at `auth`.
    pub data: Object,
}
