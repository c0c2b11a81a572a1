//! Between the task of calls and who has one of them: its frames, what is wanted of it, and how it ended.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use super::wish::Wish;
use crate::call::body::End;
use crate::media::Frame;
use crate::media::sink::FrameEvent;
use crate::net::channel::{Receiver, Sender, bounded};
use crate::net::frame_outbox::FrameOutbox;
use crate::net::lock;

/// Frames that wait for the reader, of each stream: two seconds of video, and of audio. A reader that is slower loses
/// all of them, up to the next key frame, which is requested.
const QUEUE: usize = 100;

/// One call.
pub(super) struct Line {
    outbox: Arc<FrameOutbox>,
    pub wish: Mutex<Wish>,
    end: Mutex<Option<End>>,
    /// Until media is connected, or the call has ended without: it is closed then.
    connecting: Sender<()>,
    connected: Receiver<()>,
}

impl Line {
    pub(super) fn new(wish: Wish) -> Line {
        let (connecting, connected) = bounded(1);
        Line {
            outbox: FrameOutbox::new(QUEUE),
            wish: Mutex::new(wish),
            end: Mutex::new(None),
            connecting,
            connected,
        }
    }

    /// Returns false if a key frame is needed.
    #[must_use]
    pub(super) fn push(&self, frame: &Frame) -> bool {
        self.outbox.push(frame, None)
    }

    /// Its media is connected.
    pub(super) fn connect(&self) {
        self.connecting.close();
    }

    /// Until its media is connected, or it has ended.
    pub(super) async fn connected(&self) -> Result<(), End> {
        // Nothing is ever sent: it is closed.
        _ = self.connected.recv().await;
        self.why().map_or(Ok(()), Err)
    }

    /// The call has ended.
    pub(super) fn end(&self, end: End) {
        lock(&self.end).get_or_insert(end);
        self.outbox.end();
        self.connect();
    }

    /// Why the call ended, once it has.
    pub(super) fn why(&self) -> Option<End> {
        lock(&self.end).clone()
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<FrameEvent>> {
        self.outbox.poll(cx)
    }
}
