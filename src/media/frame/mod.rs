//! One access unit of one stream, the bounded queue it waits in, and the H.264 headers in front of it.

pub mod jpeg;
pub mod queue;
pub mod sps;
mod stream;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use stream::{AudioFormat, ClockId, Format, Kind, StreamId, StreamInfo, VideoFormat};

/// A camera's H.264 pictures.
pub const VIDEO_H264: StreamId = StreamId(0);
/// A camera's VP8 pictures.
pub const VIDEO_VP8: StreamId = StreamId(1);
/// A camera's Opus sound.
pub const AUDIO_OPUS: StreamId = StreamId(2);

/// How a frame is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// H.264 in Annex B byte-stream form, one access unit a frame, parameter sets before each key frame.
    H264,
    /// VP8 (RFC 6386), one frame.
    Vp8,
    /// Opus (RFC 6716), one packet, 48 kHz clock.
    Opus,
    /// JPEG (ITU-T T.81), one picture; each is a key frame. For snapshots; RTP carries none here.
    Jpeg,
}

impl Codec {
    /// Whether it codes something to see or something to hear.
    pub fn kind(self) -> Kind {
        match self {
            Codec::H264 | Codec::Vp8 | Codec::Jpeg => Kind::Video,
            Codec::Opus => Kind::Audio,
        }
    }

    /// Its name for people, such as `H.264`.
    pub fn name(self) -> &'static str {
        match self {
            Codec::H264 => "H.264",
            Codec::Vp8 => "VP8",
            Codec::Opus => "Opus",
            Codec::Jpeg => "JPEG",
        }
    }

    /// Whether this codes pictures (and not sound).
    pub fn is_video(self) -> bool {
        self.kind() == Kind::Video
    }

    /// RTP clock rate in Hz (RFC 6184, RFC 7741: 90 kHz; RFC 7587: 48 kHz).
    pub fn clock_rate(self) -> u32 {
        if self.is_video() { 90_000 } else { 48_000 }
    }
}

/// One encoded access unit (video) or packet (audio). Cloning shares the bytes.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The stream it belongs to.
    pub stream: StreamId,
    /// How `data` is coded.
    pub codec: Codec,
    /// Decodable without any earlier frame. Audio is always `true`.
    pub key: bool,
    /// When the picture or sound was captured, as near as the source knows.
    pub captured: Instant,
    /// Presentation time, from the start of the source. Video and audio of a source share one zero.
    pub pts: Duration,
    /// How long it lasts; zero when unknown.
    pub duration: Duration,
    /// Frames before this one are missing: the source lost some, or began anew. Such a frame is a key frame.
    pub discontinuity: bool,
    /// The coded bytes, shared by all who send them on.
    pub data: Arc<[u8]>,
}
