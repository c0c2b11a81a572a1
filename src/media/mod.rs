//! Encoded frames and where they come from.
//!
//! A [`Frame`] is one access unit of one stream. It is the only type that producers (a GStreamer pipeline, an
//! application's encoder) and consumers (WebRTC viewers, a recorder) share.

pub mod adapt;
#[cfg(feature = "gst")]
pub mod board;
#[cfg(feature = "gst")]
pub(crate) mod echo;
pub mod error;
pub mod frame;
#[cfg(any(feature = "camera", feature = "calls", feature = "gst"))]
pub(crate) mod sink;
#[cfg(feature = "gst")]
mod sound_system;
pub mod source;

#[cfg(feature = "gst")]
pub use echo::EchoReference;
pub use frame::{
    AUDIO_OPUS, AudioFormat, ClockId, Codec, Encoding, Format, Frame, Kind, StreamId, StreamInfo, VIDEO_H264,
    VIDEO_H264_LAYERS, VIDEO_H264_SMALL, VIDEO_VP8, VIDEO_VP8_LAYERS, VideoFormat,
};
#[cfg(feature = "gst")]
pub use sink::gst as playback;
