//! The numbers of `error` messages and of WebSocket close frames.

use std::fmt;

/// The `status` of an `error`, a `receipt` or a `welcome`, with the meanings that HTTP gives the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status(pub u16);

impl Status {
    /// Success.
    pub const OK: Status = Status(200);
    /// More of the answer follows.
    pub const ACCEPTED: Status = Status(202);
    /// The frame breaks the protocol.
    pub const BAD_REQUEST: Status = Status(400);
    /// Not authenticated; the server closes the connection.
    pub const UNAUTHORIZED: Status = Status(401);
    /// Authenticated, but not allowed.
    pub const FORBIDDEN: Status = Status(403);
    /// No such recipient, or none that the sender may know of.
    pub const NOT_FOUND: Status = Status(404);
    /// No `auth` in time; the server closes the connection.
    pub const TIMEOUT: Status = Status(408);
    /// A frame over the size limit; the server closes the connection.
    pub const TOO_LARGE: Status = Status(413);
    /// Over the rate limit, or too many rooms.
    pub const TOO_MANY: Status = Status(429);
    /// The server failed.
    pub const INTERNAL: Status = Status(500);
    /// Full, or temporarily unable to serve.
    pub const UNAVAILABLE: Status = Status(503);
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The code of a WebSocket close frame (RFC 6455, section 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// Normal closure.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// The server is shutting down.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// A binary frame was received.
    pub const UNSUPPORTED: CloseCode = CloseCode(1003);
    /// Not admitted, too late, over the rate limit, or too slow.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// A frame over the size limit.
    pub const TOO_BIG: CloseCode = CloseCode(1009);
    /// The server failed.
    pub const INTERNAL: CloseCode = CloseCode(1011);
    /// The server is full or temporarily unable to serve.
    pub const TRY_AGAIN: CloseCode = CloseCode(1013);
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
