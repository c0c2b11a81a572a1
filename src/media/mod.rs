//! Encoded frames and where they come from.
//!
//! A [`Frame`] is one access unit of one stream. Whatever makes frames (a GStreamer pipeline, a test)
//! and whatever takes them (WebRTC viewers, a recorder) meet in this type alone.

pub mod adapt;
#[cfg(feature = "gst")]
pub mod board;
pub mod error;
pub mod frame;
pub mod source;

pub use frame::{
    AUDIO_OPUS, AudioFormat, ClockId, Codec, Format, Frame, Kind, StreamId, StreamInfo, VIDEO_H264,
    VIDEO_VP8, VideoFormat,
};
