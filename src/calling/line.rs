//! Shared by the task and the handle of one call: its frames, its wanted directions, and how it ended.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::channel_queues::ChannelQueues;
use super::wish::Wish;
use crate::call::body::End;
use crate::media::Frame;
use crate::media::sink::FrameEvent;
use crate::net::channel::{Receiver, Sender, bounded};
use crate::net::frame_outbox::FrameOutbox;
use crate::net::lock;

/// Frames queued for the reader, per stream: two seconds of video or audio. If the queue is full, all of it is dropped,
/// up to the next key frame, which is requested.
const QUEUE: usize = 100;

/// One call.
pub(super) struct Line {
    /// We made the call.
    pub is_caller: bool,
    outbox: Arc<FrameOutbox>,
    pub wish: Mutex<Wish>,
    channels: Mutex<ChannelQueues>,
    end: Mutex<Option<End>>,
    /// Closed when media is connected, or when the call has ended before that.
    connecting: Sender<()>,
    connected: Receiver<()>,
}

impl Line {
    pub(super) fn new(wish: Wish, is_caller: bool) -> Line {
        let (connecting, connected) = bounded(1);
        Line {
            is_caller,
            outbox: FrameOutbox::new(QUEUE),
            wish: Mutex::new(wish),
            channels: Mutex::default(),
            end: Mutex::new(None),
            connecting,
            connected,
        }
    }

    /// Queues a frame. Returns false if a key frame is needed.
    #[must_use]
    pub(super) fn push(&self, frame: &Frame) -> bool {
        self.outbox.push(frame, None)
    }

    /// Records that media is connected.
    pub(super) fn connect(&self) {
        self.connecting.close();
    }

    /// Waits until media is connected, or the call has ended.
    pub(super) async fn connected(&self) -> Result<(), End> {
        // Nothing is ever sent; the channel is closed.
        _ = self.connected.recv().await;
        self.why().map_or(Ok(()), Err)
    }

    /// Records how the call ended.
    pub(super) fn end(&self, end: End) {
        lock(&self.end).get_or_insert(end);
        self.outbox.end();
        self.channels(ChannelQueues::end);
        self.connect();
    }

    /// Does something with its data channels.
    pub(super) fn channels<R>(&self, act: impl FnOnce(&mut ChannelQueues) -> R) -> R {
        let mut channels = lock(&self.channels);
        let result = act(&mut channels);
        let woken = channels.woken();
        drop(channels);
        // Not under the lock: a waker may own a channel.
        woken.into_iter().for_each(Waker::wake);
        result
    }

    /// Returns why the call ended, if it has ended.
    pub(super) fn why(&self) -> Option<End> {
        lock(&self.end).clone()
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<FrameEvent>> {
        self.outbox.poll(cx)
    }
}
