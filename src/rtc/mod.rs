//! One encoded stream to many WebRTC viewers, sans-IO on str0m.
//!
//! A [`Fanout`] holds the sessions of all viewers of a source. Each encoded frame is cut into RTP payloads
//! once; every viewer that follows its stream numbers, encrypts and sends them. A viewer starts at a key
//! frame, asks for another when it lost too much, and tells what its network carries.
//!
//! ```text
//!            accept(offer)  ┌────────────┐ ICE, DTLS   ┌───────────┐ key frame  ┌──────────┐
//!   nothing ───────────────▶│ connecting │────────────▶│ connected │───────────▶│ watching │
//!            offer, answer  └─────┬──────┘             └─────┬─────┘            └────┬─────┘
//!                                 │ connect_within           │ silent for `silence`, │
//!                                 │                          │ closed by the viewer  │
//!                                 └────────▶ Closed ◀────────┴───────────────────────┘
//! ```
//!
//! Where the bundle of a connected session is named after another section than before, its transport may begin anew:
//! it connects once more, without another [`Event::Connected`].
//!
//! Media goes by the path that the viewer sends by, once a check of ours by it was answered: a NAT that gives a viewer
//! another port costs it no more than a moment. Without an answer for 30 s nothing is sent any more (RFC 7675). Sessions
//! that share a remote address and port are told apart by their keys; where they can't be, or the older is silent, the
//! newer replaces it.
//!
//! A session is mutated once (one of the calls below, or one [`Input`]). Then [`Fanout::poll_transmit`] is called as
//! long as the socket takes what it gives, and [`Fanout::poll_output`] until it says [`Output::Timeout`]. A socket that
//! takes less than there is to send costs viewers whole frames, up to a key frame, which is counted for each of them
//! ([`Skipped`]); what keeps calls alive goes first.
//!
//! It knows no rooms, no users and no signalling: descriptions and candidates come and go as text. The
//! sockets are the caller's; each datagram says by which [`Path`] it came or goes.
//!
//! A panic in a session, of ours or of a library, ends that session alone ([`Totals::panics`]), unless the
//! program is built with `panic = "abort"`.
//!
//! Out of scope: receiving media, data channels (declined for now), TURN, ICE over TCP, simulcast.
//!
//! ```
//! use std::time::Instant;
//! use symple::media::{Codec, StreamId, StreamInfo};
//! use symple::rtc::{Config, Fanout, Input, LocalCandidate, Output, SessionId};
//!
//! let now = Instant::now();
//! let host = LocalCandidate { base: "192.0.2.7:4000".parse().unwrap(), advertised: None };
//! let mut fanout = Fanout::new(Config { candidates: vec![host], ..Config::default() }, now);
//! fanout.set_streams(&[StreamInfo::new(StreamId(0), Codec::H264)]);
//!
//! // A viewer's offer comes by whatever signalling there is.
//! let refusal = fanout.accept(SessionId(1), "v=0\r\n", now).unwrap_err();
//! assert_eq!(refusal.code(), "bad-sdp");
//!
//! fanout.handle_input(Input::Timeout, now);
//! assert!(fanout.poll_transmit(now).is_none());
//! assert!(matches!(fanout.poll_output(), Output::Timeout(_)));
//! ```

pub(crate) mod crypto;
pub(crate) mod demux;
mod fanout;
mod guard;
mod path;
mod refusal;
pub(crate) mod send;
pub(crate) mod session;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use fanout::Fanout;
#[cfg(feature = "server")]
pub(crate) use guard::contained;
pub use guard::panic_is_contained;
pub use path::{Path, Protocol};
pub use refusal::Refusal;

use crate::call::body::End;
use crate::media::adapt::keyframes::KeyFrameReason;
use crate::media::{Frame, StreamId};

/// How a [`Fanout`] works. The defaults are for a camera.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where viewers can reach us.
    pub candidates: Vec<LocalCandidate>,
    /// What is supposed of a viewer's network before it was measured, in bit/s. Start the encoder at or
    /// below it: started at twice the link a viewer loses seconds. Default 1.5 Mbit/s.
    pub initial_bitrate: u32,
    /// The most that will ever be sent to a viewer, in bit/s: bandwidth beyond it is not looked for.
    /// Default 6 Mbit/s.
    pub max_bitrate: u32,
    /// How many sessions there may be. Default 256.
    pub max_sessions: usize,
    /// How many sent packets of a viewer are kept to repeat those that got lost: about a second of 2
    /// Mbit/s, at some 1.3 KB each. 0 repeats none. Default 300.
    pub resend_packets: usize,
    /// A viewer that is not heard of for so long is gone. Default 8 s: browsers speak several times in
    /// it, and issue 2 allows 10 s.
    pub silence: Duration,
    /// A session that is not connected so long after it was made is over. Default 30 s.
    pub connect_within: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            candidates: vec![],
            initial_bitrate: 1_500_000,
            max_bitrate: 6_000_000,
            max_sessions: 256,
            resend_packets: 300,
            silence: Duration::from_secs(8),
            connect_within: Duration::from_secs(30),
        }
    }
}

/// An address at which a viewer can reach us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalCandidate {
    /// The address of our socket: what [`Path::local`] is of the datagrams that come by it.
    pub base: SocketAddr,
    /// How that address looks from outside, if it is behind a port forward or a NAT: it is advertised as
    /// a server-reflexive candidate, beside the host candidate `base`.
    pub advertised: Option<SocketAddr>,
}

/// Names a session; given by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// What happened outside.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input<'a> {
    /// A datagram came.
    Datagram {
        /// By which path.
        path: Path,
        /// Its payload.
        data: &'a [u8],
    },
    /// The source made a frame.
    Frame(&'a Frame),
    /// The time of the last [`Output::Timeout`] has come.
    Timeout,
}

/// What is to be done outside.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// Know this.
    Event(Event),
    /// Nothing more for now; come back with [`Input::Timeout`] at this time, or with another input before.
    Timeout(Instant),
}

/// One or several datagrams by one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The path.
    pub path: Path,
    /// `None`: `data` is one datagram. Otherwise it is several of this size, the last of which may be
    /// shorter, for one call with UDP GSO.
    pub segment: Option<usize>,
    /// The payload.
    pub data: Vec<u8>,
}

impl Transmit {
    /// The datagrams one by one.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.data.chunks(self.segment.unwrap_or(self.data.len()).max(1))
    }
}

/// What became known.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// ICE and DTLS are through: the viewer gets frames from the next key frame on. Comes once for a session, though
    /// its transport may begin anew.
    Connected {
        /// The session.
        session: SessionId,
    },
    /// A viewer of this stream can't begin, or can't go on, without a key frame.
    KeyFrameWanted {
        /// The stream.
        stream: StreamId,
        /// Why.
        reason: KeyFrameReason,
    },
    /// A new estimate of what a viewer's network carries.
    Estimate {
        /// The viewer.
        session: SessionId,
        /// In bit/s.
        bps: u32,
    },
    /// The session is over, and forgotten. Doesn't come for those that [`Fanout::close`] closed.
    Closed {
        /// The session that was.
        session: SessionId,
        /// Why.
        end: End,
    },
}

/// The answer to a viewer's offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The description to send back, candidates included.
    pub sdp: String,
    /// The streams that it will be sent: one of each kind at most.
    pub streams: BTreeSet<StreamId>,
}

/// An offer of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The description to send, candidates included.
    pub sdp: String,
}

/// What a viewer took of our offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The streams that it will be sent: one of each kind at most.
    pub streams: BTreeSet<StreamId>,
}

/// How a session does.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SessionStats {
    /// Whether it is connected.
    pub connected: bool,
    /// The streams that it is sent.
    pub streams: BTreeSet<StreamId>,
    /// The `profile-level-id` that was agreed for H.264 (RFC 6184, 8.1).
    pub profile_level_id: Option<[u8; 3]>,
    /// RTP packets sent, repeated ones included.
    pub packets: u64,
    /// Their bytes, as UDP carried them.
    pub bytes: u64,
    /// Frames of its streams that were sent to it.
    pub frames: u64,
    /// Frames of its streams that were not sent to it.
    pub skipped: Skipped,
    /// How often it asked for a key frame.
    pub key_frame_requests: u64,
    /// How often it asked for lost packets.
    pub nacks: u64,
    /// The last estimate of what its network carries, in bit/s.
    pub estimate: Option<u32>,
    /// The last measured round trip.
    pub rtt: Option<Duration>,
    /// The part of its packets that was lost of late, 0 to 1.
    pub loss: Option<f32>,
    /// Addresses that it named as its candidates and that are checked, or were, since ICE began: at most 16.
    pub candidates_checked: u64,
    /// Candidates that were ignored: those over the limit, and those that can't be sent to from here.
    pub candidates_ignored: u64,
}

/// Frames that a viewer was not sent, by reason. Once a frame of video is skipped, all are up to the next key frame, and
/// they count under the reason of the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// They came before the key frame that a new viewer begins with.
    pub joining: u64,
    /// Its network carries less than is sent: packets waited longer than 1 s for their turn at the pace it takes.
    pub network: u64,
    /// They waited too long for our own socket: video for more than 500 ms, audio for more than 200 ms.
    pub socket: u64,
}

impl Skipped {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.joining + self.network + self.socket
    }

    fn add(&mut self, reason: KeyFrameReason, frames: u64) {
        *match reason {
            KeyFrameReason::Join => &mut self.joining,
            KeyFrameReason::Loss => &mut self.network,
            KeyFrameReason::Behind => &mut self.socket,
        } += frames;
    }
}

/// What a [`Fanout`] did in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Frames that came.
    pub frames: u64,
    /// Frames that were cut into packets: once each, however many viewers, and never for none.
    pub cut: u64,
    /// Datagrams that belonged to no session: of no protocol that is spoken here, from where nobody has
    /// shown to be by ICE, under a name that is nobody's, or in answer to nothing.
    pub strays: u64,
    /// Panics of ours or of a library that ended a session, or refused a description. Each is a defect to report.
    pub panics: u64,
    /// What was dropped before a library saw it.
    pub dropped: Dropped,
    /// Frames that were not sent, summed over all viewers.
    pub skipped: Skipped,
    /// Datagrams with goodbyes to viewers that were dropped, because 1024 of them waited for the socket already.
    pub goodbyes_dropped: u64,
    /// Connectivity checks sent to addresses that had not answered before.
    pub checks: u64,
    /// Connectivity checks that were held back, for there were too many over all sessions.
    pub checks_held: u64,
}

/// What came and was dropped before a library saw it, by reason. A datagram counts once, or once for each of
/// its DTLS records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// STUN that is not well-formed (RFC 8489 5 and 14): lengths, attributes, FINGERPRINT.
    pub stun_malformed: u64,
    /// STUN error responses, and messages other than Binding.
    pub stun_kind: u64,
    /// STUN without a right MESSAGE-INTEGRITY, or without the names that go with it.
    pub stun_unsigned: u64,
    /// Checks by a path beyond those that a session may have, or from an address that is never sent to.
    pub stun_paths: u64,
    /// DTLS records that are truncated, or whose type, version or length no record can have.
    pub dtls_malformed: u64,
    /// DTLS records in plaintext, or of an epoch, that don't belong where the handshake is; and application
    /// data.
    pub dtls_unexpected: u64,
    /// RTP and RTCP too short to be encrypted, or at odds with their headers.
    pub media_malformed: u64,
    /// Datagrams of a viewer beyond the 64 that it may send while our own socket takes nothing for it.
    pub unanswered: u64,
}
