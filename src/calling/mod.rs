//! Where calls meet sessions, for whoever calls or is called; sans-IO.
//!
//! [`call`](crate::call) is signalling and knows no media, [`rtc`](crate::rtc) is media and knows no peers. [`Core`]
//! introduces them: each call that is admitted has a seat and a session, descriptions and candidates go from one to
//! the other, and whichever ends first, both end in one place with one reason.
//!
//! ```text
//!  call:init ──▶ Incoming ── accept ──┐
//!                (Answer::Ask)        ▼            agreed           media            ended
//!  call:init (Answer::All) ───────▶ Calling ──▶ Takes{streams} ──▶ Joined ──▶ Left{end}
//!  invite() ──────────────────────────┘               ended before that ──▶ Failed{end}
//! ```
//!
//! It knows no source and decides nothing of media: which streams there are it is given, and what those in calls
//! take, estimate and need goes out as events. A camera stands on it, and so can anything that calls.
//!
//! | file | thought |
//! |---|---|
//! | `core` | calls and sessions, and what goes between them |
//! | `admission` | who gets a seat, and who answers |
//! | `offers` | what callers' offers may cost |
//! | `seat` | what of a call the first two share |

mod admission;
mod core;
mod offers;
mod seat;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

pub(crate) use self::core::{Core, Party};
pub use self::seat::Answer;

use crate::call::body::End;
use crate::call::{CallId, RateLimit};
use crate::media::adapt::keyframes::KeyFrameReason;
use crate::media::{Frame, StreamId, StreamInfo};
use crate::proto::Address;
use crate::rtc::{self, Path};

/// How calls are taken.
pub(crate) struct Config {
    pub rtc: rtc::Config,
    /// What there is to send.
    pub streams: Vec<StreamInfo>,
    pub answer: Answer,
    /// Calls at a time; further ones are told `busy`.
    pub max_calls: usize,
    /// Calls without media that each host, or user, may have.
    pub max_unconnected: usize,
    /// Offers of each host, or user.
    pub offer_rate: RateLimit,
}

/// What happened outside. Frames and datagrams are borrowed.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// The server knows us under this address.
    Online { address: &'a str },
    /// Our connection to the server is gone.
    Offline,
    /// A peer's presence went offline.
    PeerGone { address: &'a str },
    /// A `call:…` message came.
    Message { from: &'a str, whence: Whence, subtype: &'a str, data: Option<&'a str>, call: Option<&'a str> },
    /// One encoded frame, for all who take its stream.
    Frame(&'a Frame),
    /// A UDP datagram came.
    Datagram { path: Path, data: &'a [u8] },
    /// The time of [`Output::Timeout`] has come.
    Timeout,
}

/// What is to be done outside.
#[derive(Debug)]
pub(crate) enum Output {
    /// Send a call's message, by the signalling.
    Send { to: String, subtype: &'static str, call: Option<String>, data: String },
    /// Know this.
    Event(Event),
    /// Nothing more until then, or until another input.
    Timeout(Option<Instant>),
}

/// What became known of a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// A peer calls and waits for a verdict: only with [`Answer::Ask`]. `data` is what it wants, in its own JSON.
    Incoming { call: CallId, peer: Address, data: String },
    /// The call goes on: we made it, or accepted it.
    Calling { call: CallId, peer: Address },
    /// Its descriptions agree on these streams, from now on.
    Takes { call: CallId, streams: BTreeSet<StreamId> },
    /// Its media is connected.
    Joined { call: CallId },
    /// It is over, after it had joined.
    Left { call: CallId, peer: Address, takes: BTreeSet<StreamId>, end: End },
    /// It is over, and no media ever came.
    Failed { call: CallId, peer: Address, end: End },
    /// Somebody cannot decode a stream before a key frame of it.
    KeyFrameWanted { stream: StreamId, reason: KeyFrameReason },
    /// What the network of a call carries, in bit/s.
    Estimate { call: CallId, bps: u32 },
}

/// Where a peer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whence {
    /// A host that limits are counted for.
    At(IpAddr),
    /// From this machine or a trusted proxy: others may be behind that address, so it is not counted.
    Exempt,
    /// The server is elsewhere and does not tell.
    Unknown,
}
