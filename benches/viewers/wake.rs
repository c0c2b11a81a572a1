//! Wakes a loop over epoll from another thread.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

#[derive(Clone)]
pub(crate) struct Wake(Arc<OwnedFd>);

impl Wake {
    pub(crate) fn new() -> Wake {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Wake(Arc::new(eventfd(0, flags).expect("Linux has eventfd")))
    }

    pub(crate) fn wake(&self) {
        // It only fails when the counter is full, and then the loop wakes anyway.
        _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    pub(crate) fn clear(&self) {
        _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
