//! What one run opens of a V4L2 camera, and how its frames come.

use std::fmt;
use std::path::PathBuf;

use crate::media::source::v4l2::choose::{Choice, Way};

/// How a camera's frames come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaptureInfo {
    /// Its name for people.
    pub card: String,
    /// The node that it has now.
    pub path: PathBuf,
    /// Format, size, rate, and why.
    pub choice: Choice,
    /// Whether the bitrate follows what is asked for: not where a camera makes H.264 and takes no bitrate.
    pub steers_bitrate: bool,
    /// Whether key frames come when they are asked for: not where a camera makes H.264 and cannot be asked.
    pub gives_key_frames: bool,
}

impl fmt::Display for CaptureInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {} ({})", self.card, self.path.display(), self.choice, self.choice.why)?;
        if !self.steers_bitrate {
            f.write_str("; its bitrate cannot follow the viewers' networks")?;
        }
        if !self.gives_key_frames {
            f.write_str(
                "; it makes key frames when it likes, so a new viewer's first picture may take a while",
            )?;
        }
        Ok(())
    }
}

/// What one run opens.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The pipeline's first elements, launch syntax; the source is named `camera`.
    pub head: String,
    pub path: PathBuf,
    /// `None` where the device does not say what it has: then GStreamer finds out.
    pub info: Option<CaptureInfo>,
}

impl Target {
    pub(super) fn passes_through(&self) -> bool {
        self.info.as_ref().is_some_and(|info| info.choice.way == Way::PassThrough)
    }
}
