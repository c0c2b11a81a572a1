//! One encoded stream to many WebRTC viewers, sans-IO on str0m.
//!
//! A [`Fanout`] has the sessions of all viewers of a source. Each encoded frame is split into RTP payloads once; each
//! session that follows the stream numbers, encrypts and sends them. A viewer starts at a key frame, requests another
//! after too much loss, and reports its available bandwidth.
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
//! If renegotiation changes the section that a connected session's bundle is named after, its transport may restart: it
//! connects again, without another [`Event::Connected`].
//!
//! Media is sent on the path that the viewer sends on, once it has answered our check there, so a NAT rebinding costs only
//! a moment. Without an answer for 30 s nothing more is sent (RFC 7675). Sessions with the same remote address and port
//! are distinguished by their keys; if that is impossible, or the older one is silent, the newer one replaces it.
//!
//! After each call below or each [`Input`], call [`Fanout::poll_transmit`] as long as the socket accepts data, then
//! [`Fanout::poll_output`] until it returns [`Output::Timeout`]. If the socket accepts less than there is to send, viewers
//! lose whole frames, up to a key frame, which are counted per viewer ([`Skipped`]); packets that keep calls alive go
//! first.
//!
//! A fan-out sends for all its sessions, or leaves a part of them to each [`Shard`], whose driver may run on another
//! thread ([`Fanout::shard`]). Frames, datagrams and descriptions still come to the fan-out: a frame is cut once, and
//! limits and totals are over all sessions.
//!
//! It is independent of rooms, users and signalling: descriptions and candidates are passed as text. The caller owns the
//! sockets; each datagram comes with its [`Path`].
//!
//! A panic in a session, here or in a library, ends only that session ([`Totals::panics`]), unless the program is built
//! with `panic = "abort"`.
//!
//! With the feature `recv`, sessions receive as well: frames come out as [`Event`]s.
//!
//! Either side may renegotiate what flows, by another offer to [`Fanout::accept`] or one of ours ([`Fanout::offer`]). Which
//! of two offers counts that cross is for signalling to decide.
//!
//! Sessions may have data channels beside media, or alone: see [`Config::channels`].
//!
//! Out of scope: TURN, ICE over TCP, sending simulcast.
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
//! // A viewer's offer arrives through any signalling.
//! let refusal = fanout.accept(SessionId(1), "v=0\r\n", now).unwrap_err();
//! assert_eq!(refusal.code(), "bad-sdp");
//!
//! fanout.handle_input(Input::Timeout, now);
//! assert!(fanout.poll_transmit(now).is_none());
//! assert!(matches!(fanout.poll_output(), Output::Timeout(_)));
//! ```

pub(crate) mod crypto;
pub(crate) mod data;
pub(crate) mod demux;
mod directory;
mod fanout;
mod guard;
mod ids;
mod path;
#[cfg(feature = "recv")]
pub(crate) mod recv;
mod refusal;
pub(crate) mod rid;
pub(crate) mod send;
mod send_order;
pub(crate) mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

pub use data::{ChannelError, ChannelId, ChannelLimits, ChannelMessage, ChannelOptions, ChannelStats};
pub use fanout::{Fanout, Shard};
#[cfg(feature = "server")]
pub(crate) use guard::contained;
pub use guard::panic_is_contained;
pub use path::{CandidateType, Path, PathInfo, Protocol};
pub use refusal::Refusal;
pub use send::delays::Delays;
pub use send::select::Serving;

use crate::call::body::End;
#[cfg(feature = "recv")]
use crate::media::Kind;
use crate::media::adapt::keyframes::KeyFrameReason;
use crate::media::{Frame, StreamId};

/// Configuration of a [`Fanout`]. The defaults suit a camera.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses at which viewers can reach us.
    pub candidates: Vec<LocalCandidate>,
    /// The assumed bandwidth of a viewer's network before it is measured, in bit/s. Start the encoder at or below it:
    /// starting at twice the link's capacity costs a viewer seconds of video. Default 1.5 Mbit/s.
    pub initial_bitrate: u32,
    /// The maximum bitrate to a viewer, in bit/s. No bandwidth beyond it is probed for. Default 6 Mbit/s.
    pub max_bitrate: u32,
    /// Maximum number of sessions. Default 256.
    pub max_sessions: usize,
    /// How many sent packets are kept per viewer for retransmission: about a second at 2 Mbit/s. Their bytes are shared by
    /// all viewers. 0 disables retransmission. Default 300.
    pub resend_packets: usize,
    /// A viewer that sends nothing for this long is considered gone. Default 8 s; browsers send several packets in that
    /// time.
    pub silence: Duration,
    /// A session that has not connected within this time ends. Default 30 s.
    pub connect_within: Duration,
    /// How much audio goes into one packet for viewers that do not send audio themselves: frames are joined up to this
    /// duration (RFC 6716, 3.2.5), and each is sent alone if it lasts as long. Longer packets are fewer, and later.
    /// Beside video, a packet of more than 20 ms waits for the next frame if that is expected within 40 ms, to leave in the
    /// same system call; frames of audio that come meanwhile are joined to it. At most 120 ms. Default 60 ms, three frames
    /// of 20 ms.
    pub audio_packet: Duration,
    /// How long a viewer may keep frames back to smooth jitter. It is told once, by the playout-delay header extension of
    /// browsers. `None` leaves it to the viewer, which then adds to the delay what it finds best. Default zero: each
    /// frame is shown as soon as it is decoded.
    pub playout_delay: Option<Duration>,
    /// Data channels of sessions, with these limits. `None` declines them. Default `None`.
    pub channels: Option<ChannelLimits>,
    /// What a wall clock shows when the fan-out is created, for the NTP times in sender reports (RFC 3550, 4). If `None`,
    /// these times are relative, which suffices for lip sync; viewers are then not told when frames were captured.
    /// Default `None`.
    pub wall_clock: Option<SystemTime>,
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
            audio_packet: Duration::from_millis(60),
            playout_delay: Some(Duration::ZERO),
            channels: None,
            wall_clock: None,
        }
    }
}

/// An address at which a viewer can reach us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalCandidate {
    /// The address of our socket, as in [`Path::local`] of its datagrams.
    pub base: SocketAddr,
    /// The public address, if `base` is behind a port forward or a NAT. It is advertised as a server-reflexive candidate,
    /// in addition to the host candidate `base`.
    pub advertised: Option<SocketAddr>,
}

/// Identifies a session; chosen by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// Identifies a [`Shard`]; 0 is the sessions for which the fan-out itself sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub usize);

/// An input from outside.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input<'a> {
    /// A datagram arrived.
    Datagram {
        /// The path it arrived on.
        path: Path,
        /// Its payload.
        data: &'a [u8],
    },
    /// The source produced a frame.
    Frame(&'a Frame),
    /// The time of the last [`Output::Timeout`] was reached.
    Timeout,
}

/// An output for the caller to act on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// An event.
    Event(Event),
    /// The driver of this [`Shard`] has something to do.
    Wake(ShardId),
    /// Nothing more for now. Provide [`Input::Timeout`] at this time, or another input before.
    Timeout(Instant),
}

/// One or several datagrams for one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The path.
    pub path: Path,
    /// If `None`, `data` is one datagram. Otherwise it is several of this size, of which the last may be shorter, for one
    /// call with UDP GSO.
    pub segment: Option<usize>,
    /// The payload.
    pub data: Vec<u8>,
}

impl Transmit {
    /// The individual datagrams.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.data.chunks(self.segment.unwrap_or(self.data.len()).max(1))
    }
}

/// An event of a session.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// ICE and DTLS are connected: the viewer gets frames from the next key frame on. Sent once per session, even if its
    /// transport restarts.
    Connected {
        /// The session.
        session: SessionId,
    },
    /// A viewer of this stream needs a key frame to start or continue.
    KeyFrameWanted {
        /// The viewer.
        session: SessionId,
        /// The stream.
        stream: StreamId,
        /// Why.
        reason: KeyFrameReason,
    },
    /// A new bandwidth estimate for a viewer.
    Estimate {
        /// The viewer.
        session: SessionId,
        /// Bandwidth in bit/s.
        bps: u32,
    },
    /// This machine got an address after the session was made: name it to the other side by trickle ICE (RFC 8838), also
    /// after the end of candidates. Later descriptions have it.
    Candidate {
        /// The session.
        session: SessionId,
        /// `candidate:…`
        candidate: String,
        /// The `a=mid` of the section that carries the transport, once that is known.
        mid: Option<String>,
    },
    /// A session received a frame. Its stream is [`VIDEO_H264`](crate::media::VIDEO_H264),
    /// [`VIDEO_VP8`](crate::media::VIDEO_VP8) or [`AUDIO_OPUS`](crate::media::AUDIO_OPUS), by its codec, and of simulcast
    /// one of [`VIDEO_H264_LAYERS`](crate::media::VIDEO_H264_LAYERS) or
    /// [`VIDEO_VP8_LAYERS`](crate::media::VIDEO_VP8_LAYERS); times count from
    /// the creation of the session, and audio and video are in sync once the sender has reported on both.
    #[cfg(feature = "recv")]
    Frame {
        /// The session.
        session: SessionId,
        /// The frame. Video begins with a key frame; one with [`discontinuity`](Frame::discontinuity) follows a loss.
        frame: Frame,
    },
    /// A data channel is open: the other side opened it, or has confirmed one of [`Fanout::open_channel`].
    ChannelOpen {
        /// The session.
        session: SessionId,
        /// The channel.
        channel: ChannelId,
        /// Its label.
        label: String,
        /// Its subprotocol; empty if there is none.
        protocol: String,
        /// Whether we opened it.
        ours: bool,
    },
    /// A message arrived.
    ChannelMessage {
        /// The session.
        session: SessionId,
        /// The channel.
        channel: ChannelId,
        /// The message.
        message: ChannelMessage,
    },
    /// There is room for messages again, after [`ChannelError::Full`].
    ChannelWritable {
        /// The session.
        session: SessionId,
        /// The channel.
        channel: ChannelId,
    },
    /// A channel was closed by the other side, or with its transport; or one that we opened was not taken. Not sent for
    /// those closed with [`Fanout::close_channel`], nor when the session ends.
    ChannelClosed {
        /// The session.
        session: SessionId,
        /// The channel.
        channel: ChannelId,
        /// Why: [`ChannelError::Closed`]; [`ChannelError::NotAgreed`] if the other side takes no data channels, or no
        /// longer; [`ChannelError::Failed`] or [`ChannelError::NotAllowed`] if those of the session have failed.
        error: ChannelError,
    },
    /// The session ended and was removed. Not sent for sessions closed with [`Fanout::close`].
    Closed {
        /// The session.
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
    /// The streams that the viewer will receive: at most one of each kind.
    pub streams: BTreeSet<StreamId>,
}

/// Our offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The description to send, candidates included.
    pub sdp: String,
}

/// What a viewer accepted of our offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The streams that the viewer will receive: at most one of each kind.
    pub streams: BTreeSet<StreamId>,
}

/// Statistics of one session.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SessionStats {
    /// Whether it is connected.
    pub connected: bool,
    /// The [`Shard`] that sends to it.
    pub shard: ShardId,
    /// The streams that the viewer receives.
    pub streams: BTreeSet<StreamId>,
    /// The video stream whose frames it gets now: the negotiated one, or another rendition ([`Fanout::serve`]).
    pub video: Option<StreamId>,
    /// Whether it is sent no audio for a while ([`Fanout::set_silent`]).
    pub is_silent: bool,
    /// The codecs in which the viewer can get the video: several if the stream may change its codec
    /// ([`Fanout::set_streams`]); none if it gets no video.
    pub video_codecs: Vec<crate::media::Codec>,
    /// The negotiated H.264 `profile-level-id` (RFC 6184, 8.1).
    pub profile_level_id: Option<[u8; 3]>,
    /// RTP packets sent, including retransmissions.
    pub packets: u64,
    /// RTP bytes sent, as UDP payload.
    pub bytes: u64,
    /// Frames sent to the viewer.
    pub frames: u64,
    /// Frames not sent to the viewer.
    pub skipped: Skipped,
    /// Where the time of video frames goes before they are on the network.
    pub delays: Option<Delays>,
    /// Key frame requests from the viewer.
    pub key_frame_requests: u64,
    /// NACKs from the viewer.
    pub nacks: u64,
    /// Packets sent again, because the viewer lacked them or to probe for bandwidth.
    pub retransmissions: u64,
    /// Latest bandwidth estimate, in bit/s.
    pub estimate: Option<u32>,
    /// Latest round-trip time.
    pub rtt: Option<Duration>,
    /// The path that media takes; `None` before it is connected.
    pub path: Option<PathInfo>,
    /// Recent packet loss, 0 to 1.
    pub loss: Option<f32>,
    /// What was received.
    #[cfg(feature = "recv")]
    pub received: Received,
    /// What its data channels carried.
    pub channels: ChannelStats,
    /// Remote candidate addresses checked since ICE started: at most 16.
    pub candidates_checked: u64,
    /// Remote candidates ignored: those over the limit, and those that cannot be reached from here.
    pub candidates_ignored: u64,
}

/// What a session sends and receives, by kind. Both sides agree on less: one sends only what the other receives.
#[cfg(feature = "recv")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directions {
    /// The kinds of which a stream is sent, if there is one.
    pub send: BTreeSet<Kind>,
    /// The kinds that are received.
    pub receive: BTreeSet<Kind>,
    /// Whether a video that is offered in several encodings at once (simulcast, RFC 8853) is received in up to three of
    /// them. Otherwise the other side sends one.
    pub simulcast: bool,
}

#[cfg(feature = "recv")]
impl Directions {
    /// Sends these kinds, and receives those.
    pub fn new(send: impl IntoIterator<Item = Kind>, receive: impl IntoIterator<Item = Kind>) -> Directions {
        let (send, receive) = (send.into_iter().collect(), receive.into_iter().collect());
        Directions { send, receive, simulcast: false }
    }
}

#[cfg(feature = "recv")]
impl Default for Directions {
    /// Audio and video are sent, and nothing is received.
    fn default() -> Directions {
        Directions::new([Kind::Audio, Kind::Video], [])
    }
}

/// What a session received.
#[cfg(feature = "recv")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// RTP packets received, including retransmissions.
    pub packets: u64,
    /// RTP bytes received, as UDP payload.
    pub bytes: u64,
    /// Complete frames.
    pub frames: u64,
    /// Video frames dropped, because packets of them or of frames before them were lost.
    pub dropped: u64,
    /// Packets that never arrived, not even repeated.
    pub lost: u64,
    /// NACKs sent, each for one or several packets.
    pub nacks: u64,
    /// Key frame requests sent.
    pub key_frame_requests: u64,
}

/// Frames not sent to a viewer, by reason. Once a video frame is skipped, all frames up to the next key frame are, and
/// they count under the first one's reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// Before the key frame at which a new viewer starts.
    pub joining: u64,
    /// The viewer's network is too slow: packets waited longer than 1 s in the pacer.
    pub network: u64,
    /// Our own socket was too slow: video waited for more than 500 ms, or audio for more than 200 ms.
    pub socket: u64,
}

impl Skipped {
    /// The sum of all reasons.
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

/// Statistics of a [`Fanout`], over all sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Frames received from the source.
    pub frames: u64,
    /// Viewers that joined with the frames since the last key frame, without a key frame of their own.
    pub caught_up: u64,
    /// Frames split into packets: once each for any number of viewers, never without viewers.
    pub cut: u64,
    /// Datagrams that belong to no session: an unknown protocol, an address not validated by ICE, an unknown ICE user
    /// name, or an unsolicited response.
    pub strays: u64,
    /// Panics, here or in a library, that ended a session or refused a description. Each is a bug to report.
    pub panics: u64,
    /// Input dropped before a library parsed it.
    pub dropped: Dropped,
    /// Frames not sent, summed over all viewers.
    pub skipped: Skipped,
    /// Goodbye datagrams dropped because 1024 were already waiting for the socket.
    pub goodbyes_dropped: u64,
    /// Connectivity checks sent to addresses that had not answered yet.
    pub checks: u64,
    /// Connectivity checks delayed by the limit over all sessions.
    pub checks_held: u64,
}

/// Input dropped before a library parsed it, by reason. A datagram counts once, or once per DTLS record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// Malformed STUN (RFC 8489 5 and 14): lengths, attributes, FINGERPRINT.
    pub stun_malformed: u64,
    /// STUN error responses, and messages other than Binding.
    pub stun_kind: u64,
    /// STUN without a valid MESSAGE-INTEGRITY or the matching user names.
    pub stun_unsigned: u64,
    /// Checks on a path over the session's limit, or from an address that is never sent to.
    pub stun_paths: u64,
    /// DTLS records that are truncated, or have an invalid type, version or length.
    pub dtls_malformed: u64,
    /// DTLS records in plaintext or of an epoch that do not fit the state of the handshake, and application data where
    /// no data channels were agreed on.
    pub dtls_unexpected: u64,
    /// RTP and RTCP that is too short to be encrypted or contradicts its header.
    pub media_malformed: u64,
    /// Datagrams of a viewer over the 64 that it may send while our socket accepts nothing for it.
    pub unanswered: u64,
}
