//! What takes frames besides viewers: readers of encoded frames, snapshots, and playing. Values and decisions only, but in
//! `gst`; wakers and locks are the camera's.

#[cfg(feature = "camera")]
mod frames;
#[cfg(feature = "gst")]
pub mod gst;
#[cfg(feature = "gst")]
mod playout;
#[cfg(feature = "camera")]
mod snapshot;

#[cfg(feature = "camera")]
pub use frames::FrameEvent;
#[cfg(feature = "camera")]
pub(crate) use frames::{ReaderQueue, choose};
#[cfg(feature = "camera")]
pub(crate) use snapshot::{Outcome, Snapshots};
#[cfg(feature = "camera")]
pub use snapshot::{Snapshot, SnapshotError};
