//! Sources of frames: GStreamer, V4L2, the application's own encoder, and the cores they share.

pub mod controls;
#[cfg_attr(not(feature = "gst"), allow(dead_code, reason = "the drivers use it"))]
mod encodings;
#[cfg(feature = "gst")]
pub mod gst;
// An application that feeds us opens its source itself.
pub mod frame_rate;
pub mod frame_rate_check;
mod interface;
#[cfg_attr(not(feature = "gst"), allow(dead_code, reason = "the drivers use all of it"))]
pub(in crate::media) mod lifecycle;
mod location;
mod pushed;
pub mod sender_clock;
mod status;
pub mod timestamps;
#[cfg(any(feature = "camera", feature = "calls"))]
mod tracker;
#[cfg(any(feature = "v4l2", feature = "gst"))]
pub mod v4l2;

// The seam names no driver.
#[cfg(feature = "gst")]
pub(crate) use gst::{CaptureInfo, EncoderInfo};
pub use interface::{Command, Listener, Produce, RequestId, Source, SourceEvent};
pub use location::{Location, Login, RtspUrl};
pub use pushed::{Feed, PushError, Pushed, Request};
pub use status::{SourceState, SourceStatus};
#[cfg(any(feature = "camera", feature = "calls"))]
pub(crate) use tracker::StatusTracker;
