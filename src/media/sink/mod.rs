//! What receives frames besides viewers: readers of encoded frames, snapshots, and playback. Values and decisions only,
//! except in `gst`; wakers and locks are the drivers'.

#[cfg(any(feature = "camera", feature = "calls"))]
mod frames;
#[cfg(feature = "gst")]
pub mod gst;
#[cfg(feature = "gst")]
pub(crate) mod playout;
#[cfg(feature = "camera")]
mod snapshot;

#[cfg(any(feature = "camera", feature = "calls"))]
pub use frames::FrameEvent;
#[cfg(any(feature = "camera", feature = "calls"))]
pub(crate) use frames::ReaderQueue;
#[cfg(feature = "camera")]
pub(crate) use frames::choose;
#[cfg(feature = "camera")]
pub(crate) use snapshot::{Outcome, Snapshots};
#[cfg(feature = "camera")]
pub use snapshot::{Snapshot, SnapshotError};
