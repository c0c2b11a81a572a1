//! The application's callbacks for encoded frames: called in order, one at a time, under no lock.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crate::media::sink::FrameEvent;
use crate::net::frame_outbox::FrameOutbox;
use crate::net::lock;

pub(super) type Callback = Box<dyn FnMut(FrameEvent) + Send>;

/// All of them.
#[derive(Default)]
pub(super) struct FrameCallbacks(Mutex<Vec<Entry>>);

struct Entry {
    id: u64,
    outbox: Arc<FrameOutbox>,
    /// Taken out while it is called; a callback that panicked does not return.
    callback: Option<Callback>,
}

impl FrameCallbacks {
    pub(super) fn add(&self, id: u64, outbox: Arc<FrameOutbox>, callback: Callback) {
        lock(&self.0).push(Entry { id, outbox, callback: Some(callback) });
    }

    pub(super) fn remove(&self, id: u64) {
        let gone: Vec<Entry> = lock(&self.0).extract_if(.., |entry| entry.id == id).collect();
        // Under no lock: a callback may own what asks for this.
        drop(gone);
    }

    /// Drops the callbacks and what they own.
    pub(super) fn clear(&self) {
        let gone = std::mem::take(&mut *lock(&self.0));
        drop(gone);
    }

    /// Delivers what waits. Returns whether there was anything.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> bool {
        let all: Vec<_> = lock(&self.0).iter().map(|entry| (entry.id, entry.outbox.clone())).collect();
        let mut any = false;
        for (id, outbox) in all {
            while let Poll::Ready(event) = outbox.poll(cx) {
                any = true;
                let Some(event) = event else {
                    self.remove(id);
                    break;
                };
                if !self.call(id, event) {
                    break;
                }
            }
        }
        any
    }

    /// Returns false once there is no such callback.
    fn call(&self, id: u64, event: FrameEvent) -> bool {
        let taken =
            lock(&self.0).iter_mut().find(|entry| entry.id == id).and_then(|entry| entry.callback.take());
        let Some(mut callback) = taken else { return false };
        callback(event);
        let mut entries = lock(&self.0);
        let entry = entries.iter_mut().find(|entry| entry.id == id);
        let stays = entry.is_some();
        if let Some(entry) = entry {
            entry.callback = Some(callback);
        }
        // A callback that was removed meanwhile is dropped after the lock: variables go in reverse order.
        stays
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Codec, Frame, StreamId};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::task::Waker;
    use std::time::{Duration, Instant};

    fn push(outbox: &FrameOutbox, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let frame = Frame {
                stream: StreamId(2),
                codec: Codec::Opus,
                key: true,
                captured: Instant::now(),
                pts: Duration::from_millis(number),
                duration: Duration::ZERO,
                discontinuity: false,
                encoding: None,
                data: [0].into(),
            };
            assert!(outbox.push(&frame, None));
        }
    }

    /// Callbacks, and what the one of them with the id 1 is fed with and has got.
    fn one(
        act: impl Fn(&FrameCallbacks, u64) + Send + 'static,
    ) -> (Arc<FrameCallbacks>, Arc<FrameOutbox>, Arc<Mutex<Vec<u64>>>) {
        let callbacks = Arc::new(FrameCallbacks::default());
        let (outbox, got) = (FrameOutbox::new(100), Arc::new(Mutex::new(Vec::new())));
        let (back, seen) = (callbacks.clone(), got.clone());
        let callback = move |event| {
            let FrameEvent::Frame { frame } = event else { panic!("{event:?}") };
            let number = frame.pts.as_millis() as u64;
            lock(&seen).push(number);
            act(&back, number);
        };
        callbacks.add(1, outbox.clone(), Box::new(callback));
        (callbacks, outbox, got)
    }

    fn poll(callbacks: &FrameCallbacks) -> bool {
        callbacks.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn frames_come_in_order_and_the_callback_goes_with_the_last() {
        let owned = Arc::new(());
        let (callbacks, outbox, got) = one({
            let owned = owned.clone();
            move |_, _| _ = &owned
        });
        push(&outbox, 0..3);
        assert!(poll(&callbacks) && !poll(&callbacks));
        push(&outbox, 3..5);
        outbox.end();
        assert!(poll(&callbacks));
        assert_eq!(*lock(&got), [0, 1, 2, 3, 4]);
        assert_eq!(Arc::strong_count(&owned), 1, "the callback is gone");
    }

    #[test]
    fn a_callback_may_remove_itself_and_add_another() {
        let second = FrameOutbox::new(9);
        let more = second.clone();
        let (callbacks, outbox, got) = one(move |callbacks, number| {
            if number == 1 {
                callbacks.add(2, more.clone(), Box::new(|_| {}));
                callbacks.remove(1);
            }
        });
        push(&outbox, 0..4);
        push(&second, 0..2);
        assert!(poll(&callbacks));
        assert_eq!(*lock(&got), [0, 1]);
        assert!(poll(&callbacks), "the other one has its turn");
        assert!(!poll(&callbacks));
    }

    #[test]
    fn one_that_panics_is_not_called_again_and_the_others_are() {
        let (callbacks, outbox, got) = one(|_, number| assert_ne!(number, 1, "on purpose"));
        let other = FrameOutbox::new(9);
        let count = Arc::new(Mutex::new(0));
        let counted = count.clone();
        callbacks.add(2, other.clone(), Box::new(move |_| *lock(&counted) += 1));
        push(&outbox, 0..3);
        push(&other, 0..3);
        assert!(catch_unwind(AssertUnwindSafe(|| poll(&callbacks))).is_err());
        poll(&callbacks);
        assert_eq!((&*lock(&got), *lock(&count)), (&vec![0, 1], 3));
        callbacks.clear();
        assert!(!poll(&callbacks));
    }
}
