//! A panic ends one session, and not the process.
//!
//! What strangers send is worked on by str0m, its ICE agent, its SCTP and by us, and any of them may be wrong about
//! an input. Each step of a session runs in here; a session in which one panicked is dropped and never used again.
//! Programs built with `panic = "abort"` end all the same.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the work returns, or nothing if it panicked. Whatever it has changed must not be used then.
pub(super) fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}
