//! Data channels of a session (RFC 8831): messages between both sides, beside media or without any.
//!
//! ```text
//!   open_channel            agreed              the other side confirms   ┌──────┐ close_channel, closed by the other side,
//!   ───────────▶ waiting ─────────▶ opening ─────────────────────────────▶│ open │────────────────────────────────────────▶ closed
//!                   │                           the other side opens one  └──────┘ the transport restarts
//!                   └──▶ closed     ─────────────────────────────────────────▶
//!                 declined
//! ```
//!
//! A session has them if [`Config::channels`](super::Config::channels) has limits and both descriptions have a section
//! for data: one that is offered is accepted, and [`Fanout::set_channels`](super::Fanout::set_channels) offers one, or
//! declines it. A channel that is opened before that waits for the answer to our next offer. What may wait is limited in both directions: [`Fanout::send`](super::Fanout::send) refuses what exceeds
//! the queue, and [`Fanout::hold_channels`](super::Fanout::hold_channels) stops taking what the other side sends, which
//! then stops by itself.
//!
//! SCTP is str0m's. `crypto/sctp` checks each packet before, and a peer that keeps breaking the limits loses its channels.
//! Where SCTP fails, all channels are closed, and audio and video go on; `crypto/link` keeps str0m from ending them.
//!
//! Out of scope: interleaving of large messages (RFC 8260), messages over 64 KiB to the other side, and empty ones (str0m
//! would send nothing, and skip a number).

pub(super) mod table;

use std::fmt;

/// The most that str0m sends in a message where it was told nothing of the other side's limit, which is what a
/// description without a limit means, too (RFC 8841, 6.1).
pub(super) const MAX_SENT: usize = 64 * 1024;
/// The longest label, and the longest protocol, in bytes. They are sent in one packet.
pub(super) const MAX_LABEL: usize = 256;

/// Limits of the data channels of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelLimits {
    /// The largest message, in bytes. At most 64 KiB are sent in one, and no more than the other side takes. One that
    /// sends more loses its channels. Default 64 KiB.
    pub message: usize,
    /// Channels at a time, of both sides together. Further ones are closed at once. Default 16.
    pub channels: usize,
    /// Bytes that wait to be sent and acknowledged, over all channels of the session. Default 256 KiB.
    pub send_queue: usize,
    /// Bytes received that wait while the session's channels are [held](super::Fanout::hold_channels); what exceeds
    /// them is lost, and sent again later. Default 256 KiB.
    pub receive_queue: usize,
}

impl Default for ChannelLimits {
    fn default() -> ChannelLimits {
        ChannelLimits { message: 64 * 1024, channels: 16, send_queue: 256 * 1024, receive_queue: 256 * 1024 }
    }
}

/// Identifies a data channel in its session, which uses no number again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub u32);

/// A data channel to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelOptions {
    /// What it is for, as the other side sees it. Several channels may have the same label. At most 256 bytes.
    pub label: String,
    /// The subprotocol; empty if there is none. At most 256 bytes.
    pub protocol: String,
    /// Whether messages arrive in the order in which they were sent.
    pub ordered: bool,
    /// How often a lost packet is sent again; `None` is until it arrives.
    pub max_retransmits: Option<u16>,
}

impl ChannelOptions {
    /// An ordered, reliable channel.
    pub fn new(label: impl Into<String>) -> ChannelOptions {
        ChannelOptions { label: label.into(), protocol: String::new(), ordered: true, max_retransmits: None }
    }
}

impl From<&str> for ChannelOptions {
    /// An ordered, reliable channel with this label.
    fn from(label: &str) -> ChannelOptions {
        ChannelOptions::new(label)
    }
}

/// A message of a data channel.
#[derive(Clone, PartialEq, Eq)]
pub enum ChannelMessage {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
}

impl ChannelMessage {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            ChannelMessage::Text(text) => text.as_bytes(),
            ChannelMessage::Binary(bytes) => bytes,
        }
    }
}

impl From<&str> for ChannelMessage {
    fn from(text: &str) -> ChannelMessage {
        ChannelMessage::Text(text.to_owned())
    }
}

impl From<&[u8]> for ChannelMessage {
    fn from(bytes: &[u8]) -> ChannelMessage {
        ChannelMessage::Binary(bytes.to_vec())
    }
}

impl fmt::Debug for ChannelMessage {
    // What people write to each other is in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChannelMessage::Text(text) => write!(f, "Text({} bytes)", text.len()),
            ChannelMessage::Binary(bytes) => write!(f, "Binary({} bytes)", bytes.len()),
        }
    }
}

/// Why a channel was not opened, or a message not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelError {
    /// The session does not exist or has ended.
    UnknownSession,
    /// Both sides have not agreed on data channels.
    NotAgreed,
    /// The data channels of the session have failed; it has none any more. The other side has ended their transport
    /// (SCTP).
    Failed,
    /// The other side exceeded the limits of data channels, or broke the rules of SCTP; the session has none any more.
    NotAllowed,
    /// The session has as many channels as it may.
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// A label or a protocol is longer than 256 bytes.
    LongLabel,
    /// The channel does not exist, or is closed.
    Closed,
    /// The other side has not confirmed the channel yet: wait for [`Event::ChannelOpen`](super::Event::ChannelOpen).
    NotOpen,
    /// The message is empty; one of no bytes can be received, and not be sent.
    Empty,
    /// The message is too large for one of the two sides.
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Too much waits already. [`Event::ChannelWritable`](super::Event::ChannelWritable) follows when half of the queue
    /// is free.
    Full,
}

impl ChannelError {
    /// A stable code.
    pub fn code(&self) -> &'static str {
        match self {
            ChannelError::UnknownSession => "no-such-call",
            ChannelError::NotAgreed => "no-data",
            ChannelError::Failed => "failed",
            ChannelError::NotAllowed => "not-allowed",
            ChannelError::TooMany { .. } => "too-many",
            ChannelError::LongLabel => "long-label",
            ChannelError::Closed => "closed",
            ChannelError::NotOpen => "not-open",
            ChannelError::Empty => "empty",
            ChannelError::TooLarge { .. } => "too-large",
            ChannelError::Full => "full",
        }
    }
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChannelError::UnknownSession => f.write_str("there is no such session"),
            ChannelError::NotAgreed => f.write_str("both sides have not agreed on data channels"),
            ChannelError::Failed => f.write_str("the other side has ended the data channels"),
            ChannelError::NotAllowed => {
                f.write_str("the other side exceeded the limits of data channels, or broke their rules")
            }
            ChannelError::TooMany { limit } => write!(f, "the session has {limit} channels, the maximum"),
            ChannelError::LongLabel => {
                write!(f, "a label and a protocol may be at most {MAX_LABEL} bytes long")
            }
            ChannelError::Closed => f.write_str("the channel is closed"),
            ChannelError::NotOpen => f.write_str("the channel is not open yet"),
            ChannelError::Empty => f.write_str("an empty message cannot be sent"),
            ChannelError::TooLarge { limit } => write!(f, "the message exceeds {limit} bytes"),
            ChannelError::Full => f.write_str("the send queue is full"),
        }
    }
}

impl std::error::Error for ChannelError {}

/// What the data channels of a session have carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStats {
    /// Channels that are open now.
    pub open: usize,
    /// Channels that were opened, by either side.
    pub opened: u64,
    /// Channels of the other side that exceeded the limit, or whose label did.
    pub refused: u64,
    /// Messages given to the network.
    pub messages_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Packets of the other side that were dropped, because they were malformed or over a limit, or arrived while too
    /// much was held.
    pub dropped: u64,
}
