//! From a driver to a reader of frames: a queue behind a lock, and the reader's waker.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::media::sink::{FrameEvent, ReaderQueue};
use crate::media::{Frame, StreamInfo};
use crate::net::lock;

/// Between the driver and the reader. Never waits.
pub(crate) struct FrameOutbox(Mutex<State>);

struct State {
    queue: ReaderQueue,
    ended: bool,
    waker: Option<Waker>,
}

impl FrameOutbox {
    pub(crate) fn new(capacity: usize) -> Arc<FrameOutbox> {
        let queue = ReaderQueue::new(capacity);
        Arc::new(FrameOutbox(Mutex::new(State { queue, ended: false, waker: None })))
    }

    /// Returns false if a key frame is needed.
    #[must_use]
    pub(crate) fn push(&self, frame: &Frame, info: Option<&StreamInfo>) -> bool {
        self.change(|state| state.queue.push(frame, info))
    }

    /// Ends the stream.
    pub(crate) fn end(&self) {
        self.change(|state| state.ended = true);
    }

    /// Whether it has ended, and the reader has everything.
    #[cfg(feature = "camera")]
    pub(crate) fn is_over(&self) -> bool {
        let state = lock(&self.0);
        state.ended && state.queue.is_empty()
    }

    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<FrameEvent>> {
        let mut state = lock(&self.0);
        if let Some(event) = state.queue.pop() {
            return Poll::Ready(Some(event));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = lock(&self.0);
        let result = change(&mut state);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        result
    }
}
