//! A panic ends one session instead of the process.
//!
//! Strangers' input is processed by str0m, its ICE agent, its SCTP and this crate, and any of them may have a bug. Each
//! step of a session runs in here; a session in which one panicked is dropped and never used again. Programs built with
//! `panic = "abort"` still end.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// What the work returns, or nothing if it panicked. Whatever it has changed must not be used then.
pub(crate) fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    DEPTH.set(DEPTH.get() + 1);
    let done = catch_unwind(AssertUnwindSafe(work)).ok();
    DEPTH.set(DEPTH.get() - 1);
    done
}

/// Whether a panic on this thread would now end only one session. For a panic hook that ends the process on any other
/// panic, so that it never continues with a thread missing.
pub fn panic_is_contained() -> bool {
    DEPTH.get() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_contained_within_and_not_after() {
        assert!(!panic_is_contained());
        let inner = contained(|| {
            assert_eq!(contained(|| panic!("a test wants this")), None::<()>);
            panic_is_contained()
        });
        assert_eq!(inner, Some(true));
        assert!(!panic_is_contained());
        assert!(std::thread::spawn(|| !panic_is_contained()).join().expect("no panic"));
    }
}
