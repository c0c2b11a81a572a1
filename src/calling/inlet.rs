//! Between the task of calls and the reader of one: its frames, and how it ended.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crate::call::body::End;
use crate::media::Frame;
use crate::media::sink::FrameEvent;
use crate::net::frames::Outbox;
use crate::net::lock;

/// Frames that wait for the reader, of each stream: two seconds of video, and of audio. A reader that is slower loses
/// all of them, up to the next key frame, which is requested.
const QUEUE: usize = 100;

/// Where the driver puts what arrives.
pub(super) struct Inlet {
    outbox: Arc<Outbox>,
    end: Mutex<Option<End>>,
}

impl Inlet {
    pub(super) fn new() -> Inlet {
        Inlet { outbox: Outbox::new(QUEUE), end: Mutex::new(None) }
    }

    /// Returns false if a key frame is needed.
    #[must_use]
    pub(super) fn push(&self, frame: &Frame) -> bool {
        self.outbox.push(frame, None)
    }

    /// The call has ended.
    pub(super) fn end(&self, end: End) {
        lock(&self.end).get_or_insert(end);
        self.outbox.end();
    }

    /// Why the call ended, once it has.
    pub(super) fn why(&self) -> Option<End> {
        lock(&self.end).clone()
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<FrameEvent>> {
        self.outbox.poll(cx)
    }
}
