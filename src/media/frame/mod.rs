//! Frames (one access unit of one stream each), their bounded queue, and parsers for codec headers.

pub mod jpeg;
pub mod queue;
pub mod sps;
mod stream;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use stream::{AudioFormat, ClockId, Format, Kind, StreamId, StreamInfo, VideoFormat};

/// A camera's H.264 video stream.
pub const VIDEO_H264: StreamId = StreamId(0);
/// A camera's small H.264 video stream, for viewers with little bandwidth.
pub const VIDEO_H264_SMALL: StreamId = StreamId(4);
/// A camera's VP8 video stream.
pub const VIDEO_VP8: StreamId = StreamId(1);
/// The H.264 encodings of a video that is received by simulcast, in the order of its offer. The others are the streams of
/// which there is one.
pub const VIDEO_H264_LAYERS: [StreamId; 3] = [VIDEO_H264, VIDEO_H264_SMALL, StreamId(8)];
/// The same of VP8.
pub const VIDEO_VP8_LAYERS: [StreamId; 3] = [VIDEO_VP8, StreamId(5), StreamId(9)];
/// A camera's Opus audio stream.
pub const AUDIO_OPUS: StreamId = StreamId(2);

/// The codec of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// H.264 in Annex B byte-stream format, one access unit per frame, parameter sets before each key frame.
    H264,
    /// VP8 (RFC 6386), one frame.
    Vp8,
    /// Opus (RFC 6716), one packet, 48 kHz clock.
    Opus,
    /// JPEG (ITU-T T.81), one image; each is a key frame. For snapshots; not sent over RTP.
    Jpeg,
}

impl Codec {
    /// Whether it is a video or an audio codec.
    pub fn kind(self) -> Kind {
        match self {
            Codec::H264 | Codec::Vp8 | Codec::Jpeg => Kind::Video,
            Codec::Opus => Kind::Audio,
        }
    }

    /// Display name, such as `H.264`.
    pub fn name(self) -> &'static str {
        match self {
            Codec::H264 => "H.264",
            Codec::Vp8 => "VP8",
            Codec::Opus => "Opus",
            Codec::Jpeg => "JPEG",
        }
    }

    /// Whether this is a video codec.
    pub fn is_video(self) -> bool {
        self.kind() == Kind::Video
    }

    /// RTP clock rate in Hz (RFC 6184, RFC 7741: 90 kHz; RFC 7587: 48 kHz).
    pub fn clock_rate(self) -> u32 {
        if self.is_video() { 90_000 } else { 48_000 }
    }
}

/// One encoded access unit (video) or packet (audio). Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The stream that it belongs to.
    pub stream: StreamId,
    /// The codec of `data`.
    pub codec: Codec,
    /// Whether it can be decoded without earlier frames. Always `true` for audio.
    pub key: bool,
    /// Capture time, as accurately as the source knows it.
    pub captured: Instant,
    /// Presentation timestamp, counted from the creation of the source. Video and audio of a source share one zero.
    pub pts: Duration,
    /// Duration; zero if unknown.
    pub duration: Duration,
    /// Whether frames before this one are missing because the source lost some or restarted. Such a frame is a key frame.
    pub discontinuity: bool,
    /// When it was encoded; `None` if nobody knows: a camera or a peer encoded it, or it is audio.
    pub encoding: Option<Encoding>,
    /// The encoded bytes, shared by all consumers.
    pub data: Arc<[u8]>,
}

/// When a frame was encoded. `began` is not before its capture, and `ended` not before `began`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Its encoder got the raw frame then.
    pub began: Instant,
    /// The encoded frame left its encoder then.
    pub ended: Instant,
}

impl Encoding {
    /// How long it took.
    pub fn took(self) -> Duration {
        self.ended.saturating_duration_since(self.began)
    }
}
