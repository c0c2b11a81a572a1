//! The inputs of the control thread: commands of the owner, and events of its own parts.

use gstreamer::glib;

use super::branch::Branch;
use super::findings::Found;
use crate::media::StreamId;
use crate::media::source::Command;

/// An input of the control thread.
pub(super) enum Order {
    /// A command from the owner of the pipeline.
    Ask(Command),
    /// An event of the run with this number.
    News(u64, News),
    /// A branch that can be removed now, if it was not removed already.
    Detached { run: u64, stream: StreamId, branch: Option<Branch> },
    /// A failed encoder of this name was removed from its stream. It may still be stuck in its last frame.
    Abandoned { run: u64, stream: StreamId, encoder: String, stuck: bool },
    /// The last handle was dropped.
    Quit,
}

/// An event of a run.
pub(super) enum News {
    Found(Found),
    Missing(String),
    /// GStreamer's error and its debug text.
    Error(glib::Error, String),
    /// A branch of this name failed, but not the source; with the reason.
    BranchFailed {
        name: String,
        words: String,
    },
    FirstFrame,
    Ended,
}
