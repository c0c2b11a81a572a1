//! What one run opens on a V4L2 camera, and how its video is captured.

use std::fmt;
use std::path::PathBuf;

use crate::media::source::v4l2::choose::{Choice, Way};

/// How a camera's video is captured.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaptureInfo {
    /// Human-readable name.
    pub card: String,
    /// Its current device node.
    pub path: PathBuf,
    /// Format, size and frame rate, with the reason.
    pub choice: Choice,
    /// Whether the bitrate can be changed. False if the camera encodes H.264 and has no bitrate control.
    pub steers_bitrate: bool,
    /// Whether key frames can be requested. False if the camera encodes H.264 and has no control for that.
    pub gives_key_frames: bool,
}

impl fmt::Display for CaptureInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {} ({})", self.card, self.path.display(), self.choice, self.choice.why)?;
        if !self.steers_bitrate {
            f.write_str("; its bitrate cannot adapt to the viewers' networks")?;
        }
        if !self.gives_key_frames {
            f.write_str("; key frames cannot be requested, so a new viewer may wait for the first picture")?;
        }
        Ok(())
    }
}

/// What one run opens on a camera.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The pipeline's first elements, in launch syntax; the source is named `camera`.
    pub head: String,
    pub path: PathBuf,
    /// `None` if the device does not report its formats: then GStreamer negotiates.
    pub info: Option<CaptureInfo>,
}

impl Target {
    pub(super) fn passes_through(&self) -> bool {
        self.info.as_ref().is_some_and(|info| info.choice.way == Way::PassThrough)
    }
}
