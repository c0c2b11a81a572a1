//! A wake-up flag: one waiting task, any number of notifiers, no allocation.

#[cfg(any(test, feature = "server"))]
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(any(test, feature = "server"))]
use std::task::Wake;
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;

#[derive(Default)]
pub(crate) struct Signal {
    set: AtomicBool,
    waker: AtomicWaker,
}

impl Signal {
    /// Wakes the waiting task, or makes its next wait return at once.
    pub(crate) fn notify(&self) {
        if !self.set.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Whether there was a notification since the last time; the next one wakes the task.
    #[cfg(feature = "server")]
    pub(crate) fn take(&self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        while self.poll(cx).is_ready() {
            any = true;
        }
        any
    }

    /// Ready once for any number of notifications since the last time.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.set.swap(false, Ordering::AcqRel) {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        if self.set.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// As a waker, it distinguishes one reason to wake from others of the same task.
#[cfg(any(test, feature = "server"))]
impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.notify();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notify();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_fn};

    #[test]
    fn notifications_merge_and_are_never_lost() {
        let signal = Signal::default();
        signal.notify();
        signal.notify();
        block_on(poll_fn(|cx| signal.poll(cx)));
        let pending = block_on(poll_fn(|cx| Poll::Ready(signal.poll(cx).is_pending())));
        assert!(pending);
        std::thread::scope(|s| {
            s.spawn(|| signal.notify());
            block_on(poll_fn(|cx| signal.poll(cx)));
        });
    }
}
