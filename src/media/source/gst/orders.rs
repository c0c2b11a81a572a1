//! What the control thread is told, by whoever holds the pipeline and by its own parts.

use gstreamer::glib;

use super::branch::Branch;
use super::found::Found;
use crate::media::StreamId;
use crate::media::source::Command;

/// What the control thread is told.
pub(super) enum Order {
    /// By who holds the pipeline.
    Ask(Command),
    /// From the run of this number.
    News(u64, News),
    /// A branch that can be removed now.
    Detached { run: u64, stream: StreamId, branch: Branch },
    /// The last handle is gone.
    Quit,
}

/// What happens in a run.
pub(super) enum News {
    Found(Found),
    Missing(String),
    /// GStreamer's error and its debug text.
    Error(glib::Error, String),
    FirstFrame,
    Ended,
}
