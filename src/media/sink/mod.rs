//! What takes frames besides viewers: readers of encoded frames, and snapshots. Values and decisions only; wakers and
//! locks are the camera's.

mod frames;
mod snapshot;

pub use frames::FrameEvent;
pub(crate) use frames::{ReaderQueue, choose};
pub(crate) use snapshot::{Outcome, Snapshots};
pub use snapshot::{Snapshot, SnapshotError};
