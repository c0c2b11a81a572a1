//! WebRTC calls between peers, with the signalling of Symple.
//!
//! [`Calling`] makes and accepts calls through a [`Client`](crate::Client): [`Calling::call`] calls a peer,
//! [`Calling::incoming`] returns incoming calls. Both lead to a [`Conversation`], which is the stream of received
//! frames and has methods to change what is sent and received. [`Calling::watch`] only receives, for example from a
//! camera. All calls send the same [source](Calling::set_source).
//!
//! Below that, [`call`](crate::call) is signalling without media, and [`rtc`] is media without peers. The core of this module
//! connects them: each admitted call has a seat and a session, and descriptions and candidates are passed between the
//! two. Whichever ends first, both end in one place with one reason.
//!
//! ```text
//!  call:init ──▶ Incoming ── accept ──────┐
//!           (AnswerPolicy::Ask)            ▼            agreed           media            ended
//!  call:init (AnswerPolicy::All) ─────▶ Calling ──▶ Takes{streams} ──▶ Joined ──▶ Left{end}
//!  invite() ───────────────────────────────┘          ended before that ──▶ Failed{end}
//! ```
//!
//! The core knows no source and makes no decisions about media: it gets the streams, and emits events about the streams
//! that calls take, bandwidth estimates, key frame requests, and received frames. The camera uses it, as can anything
//! else that makes calls.
//!
//! | file | purpose |
//! |---|---|
//! | `core` | calls, sessions, and what is passed between them |
//! | `serving` | what else a camera does with them |
//! | `admission` | which caller gets a seat, and who answers |
//! | `offers` | limits the cost of callers' offers |
//! | `own_offers`, `renegotiation` | our own offers in existing calls |
//! | `seat` | what `core` and `admission` know about a call |
//! | `handle`, `conversation`, `incoming`, `play` | the handles for applications |
//! | `wish` | the wanted directions of a call |
//! | `data` | data channels in the core, and what is common to the messages of Symple on them |
//! | `channels`, `channel_queues`, `channel` | data channels in the task, their received messages, their handles |
//! | `messages`, `answers` | Symple messages over a data channel, and their receipts and replies |
//! | `feeding` | controls the source for all calls |
//! | `shared`, `driver`, `line`, `feeder` | the task that connects client, UDP port, source and core, and its queues |
//!
//! Out of scope: several renditions of a stream, since one encoder serves all calls; a camera has them.

mod admission;
#[cfg(feature = "calls")]
pub(crate) mod answers;
#[cfg(feature = "calls")]
mod channel;
#[cfg(feature = "calls")]
pub(crate) mod channel_queues;
#[cfg(feature = "calls")]
mod channels;
#[cfg(feature = "calls")]
mod conversation;
mod core;
#[cfg(any(feature = "calls", feature = "channels"))]
pub(crate) mod data;
#[cfg(feature = "calls")]
mod driver;
#[cfg(feature = "calls")]
mod feeder;
#[cfg(feature = "calls")]
mod feeding;
#[cfg(feature = "calls")]
mod handle;
#[cfg(feature = "calls")]
mod incoming;
#[cfg(feature = "calls")]
mod line;
#[cfg(feature = "calls")]
mod messages;
mod offers;
#[cfg(feature = "calls")]
mod own_offers;
#[cfg(all(feature = "calls", feature = "gst"))]
mod play;
#[cfg(feature = "calls")]
mod renegotiation;
mod seat;
#[cfg(feature = "camera")]
mod serving;
#[cfg(feature = "calls")]
mod shared;
#[cfg(test)]
mod tests;
#[cfg(feature = "calls")]
mod wish;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

#[cfg(feature = "calls")]
pub use self::channel::{Channel, Channels};
#[cfg(feature = "calls")]
pub use self::conversation::Conversation;
#[cfg(feature = "camera")]
pub(crate) use self::core::Core;
#[cfg(feature = "calls")]
pub use self::handle::{Call, Calling, Config};
#[cfg(feature = "calls")]
pub use self::incoming::{Incoming, IncomingCall};
#[cfg(feature = "calls")]
pub use self::messages::Messages;
#[cfg(feature = "camera")]
pub(crate) use self::seat::ANSWERS;
pub use self::seat::AnswerPolicy;
pub(crate) use self::seat::answers_everybody;
#[cfg(feature = "camera")]
pub(crate) use self::serving::Party;

use crate::call::body::End;
use crate::call::{CallId, RateLimit};
use crate::media::adapt::keyframes::KeyFrameReason;
#[cfg(feature = "calls")]
pub use crate::media::sink::FrameEvent;
use crate::media::{Frame, StreamId, StreamInfo};
use crate::proto::Address;
#[cfg(feature = "camera")]
use crate::rtc::ShardId;
use crate::rtc::{self, Path};
#[cfg(any(feature = "calls", feature = "channels"))]
use crate::rtc::{ChannelError, ChannelId, ChannelMessage};

/// The configuration.
pub(crate) struct CoreConfig {
    pub rtc: rtc::Config,
    /// The streams that can be sent.
    pub streams: Vec<StreamInfo>,
    pub answer: AnswerPolicy,
    /// The maximum number of calls; further ones get `busy`.
    pub max_calls: usize,
    /// The maximum number of calls without media per host, or user.
    pub max_unconnected: usize,
    /// The limit for offers of each host, or user.
    pub offer_rate: RateLimit,
}

/// An input. Frames and datagrams are borrowed.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// We are connected to the server under this address.
    Online { address: &'a str },
    /// The connection to the server is lost.
    Offline,
    /// A peer went offline.
    PeerGone { address: &'a str },
    /// A peer is online.
    PeerThere { address: &'a str },
    /// A `call:…` message arrived.
    Message { from: &'a str, whence: Whence, subtype: &'a str, data: Option<&'a str>, call: Option<&'a str> },
    /// One encoded frame, for all calls that take its stream.
    #[cfg(any(feature = "camera", feature = "calls"))]
    Frame(&'a Frame),
    /// A UDP datagram arrived.
    Datagram { path: Path, data: &'a [u8] },
    /// The time of [`Output::Timeout`] has come.
    Timeout,
}

/// An output.
#[derive(Debug)]
pub(crate) enum Output {
    /// A call's message to send by signalling.
    Send { to: String, subtype: &'static str, call: Option<String>, data: String },
    /// An event.
    Event(Event),
    /// The driver of this shard of the viewers has something to do.
    #[cfg(feature = "camera")]
    Wake(ShardId),
    /// Nothing to do until this time, or until another input.
    Timeout(Option<Instant>),
}

/// An event of a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// A peer is calling and waits for a decision; only with [`AnswerPolicy::Ask`]. `data` is JSON from the caller.
    Incoming { call: CallId, peer: Address, data: String },
    /// The call proceeds: we made it, or accepted it.
    Calling { call: CallId, peer: Address },
    /// Its descriptions agreed on these streams.
    Takes { call: CallId, streams: BTreeSet<StreamId> },
    /// Its media is connected.
    Joined { call: CallId },
    /// It ended after media was connected.
    Left { call: CallId, peer: Address, takes: BTreeSet<StreamId>, end: End },
    /// It ended before media was connected.
    Failed { call: CallId, peer: Address, end: End },
    /// A decoder needs a key frame of this stream.
    KeyFrameWanted { call: CallId, stream: StreamId, reason: KeyFrameReason },
    /// What the network of a call can carry, in bit/s.
    Estimate { call: CallId, bps: u32 },
    /// The other side sent a frame.
    #[cfg(feature = "recv")]
    Frame { call: CallId, frame: Frame },
    /// Something happened to its data channels.
    #[cfg(any(feature = "calls", feature = "channels"))]
    Channel { call: CallId, event: ChannelEvent },
}

/// An event of a data channel.
#[cfg(any(feature = "calls", feature = "channels"))]
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ChannelEvent {
    /// It is open, and was opened by us or the other side.
    Open { channel: ChannelId, label: String, protocol: String, ours: bool },
    /// A message came.
    Message { channel: ChannelId, message: ChannelMessage },
    /// There is room to send, after a message did not fit.
    Writable { channel: ChannelId },
    /// It is closed: by the other side, with its transport, or because the other side takes no data channels.
    Closed { channel: ChannelId, error: ChannelError },
    /// A description has settled whether the call has data channels, as we want.
    #[cfg(feature = "calls")]
    Settled { agreed: bool },
}

/// The origin of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whence {
    /// A host that limits apply to.
    #[cfg(feature = "camera")]
    At(IpAddr),
    /// This machine or a trusted proxy: many peers may be behind that address, so limits do not apply.
    #[cfg(feature = "camera")]
    Exempt,
    /// The server is elsewhere and does not reveal it.
    Unknown,
}

impl Whence {
    /// The host that limits apply to.
    pub(crate) fn host(self) -> Option<IpAddr> {
        match self {
            #[cfg(feature = "camera")]
            Whence::At(host) => Some(host),
            #[cfg(feature = "camera")]
            Whence::Exempt => None,
            Whence::Unknown => None,
        }
    }

    fn is_exempt(self) -> bool {
        self != Whence::Unknown && self.host().is_none()
    }
}
