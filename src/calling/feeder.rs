//! The source of what calls send: its frames and events on their way to the task, and the task's commands to it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};

use super::shared::Shared;
use crate::call::body::EndReason;
use crate::media::adapt::keyframes::KeyFrameReason;
use crate::media::frame::queue::{FrameQueue, Pushed};
use crate::media::source::{Command, Source, SourceEvent};
use crate::media::{Frame, StreamInfo};
use crate::net::{lock, time};

/// Frames that wait for the task, of each stream: a second of video.
const QUEUE: usize = 30;

pub(super) struct Feeder {
    source: Source,
    inbox: Arc<Inbox>,
}

/// What came of the source.
struct Inbox {
    frames: FrameQueue,
    events: Mutex<VecDeque<SourceEvent>>,
    shared: Weak<Shared>,
}

impl Feeder {
    /// Takes what the source produces from now on.
    pub(super) fn new(source: Source, shared: &Arc<Shared>) -> Feeder {
        let frames = FrameQueue::new(QUEUE);
        let inbox = Arc::new(Inbox { frames, events: Mutex::default(), shared: Arc::downgrade(shared) });
        let feeder = Feeder { source, inbox: inbox.clone() };
        feeder.source.producer().listen(Arc::new(move |event| inbox.push(event)));
        feeder
    }

    pub(super) fn streams(&self) -> Vec<StreamInfo> {
        self.source.producer().streams()
    }

    pub(super) fn command(&self, command: Command) {
        self.source.producer().command(command);
    }

    pub(super) fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Frame> {
        match self.inbox.frames.poll_ready(cx) {
            Poll::Ready(()) => self.inbox.frames.pop().map_or(Poll::Pending, Poll::Ready),
            Poll::Pending => Poll::Pending,
        }
    }

    /// It rests from now on.
    pub(super) fn stop(&self) {
        self.command(Command::Want(BTreeSet::new()));
    }

    fn change_streams(&self, shared: &Shared, streams: &[StreamInfo]) {
        let current = lock(&shared.feeder);
        // Another one may have replaced it meanwhile.
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(&current.inbox, &self.inbox)) {
            set_streams(shared, streams);
        }
    }

    /// What happened to it. Returns false if nothing did.
    pub(super) fn handle_events(&self, shared: &Shared) -> bool {
        let mut any = false;
        loop {
            let Some(event) = lock(&self.inbox.events).pop_front() else { return any };
            any = true;
            match event {
                SourceEvent::Streams(streams) => self.change_streams(shared, &streams),
                SourceEvent::GaveUp => {
                    self.change_streams(shared, &[]);
                    shared.end_senders(&EndReason::SourceEnded);
                }
                SourceEvent::Failed(e) | SourceEvent::Stalled(e) | SourceEvent::Trouble(e) => {
                    log::warn!("the source of calls: {e}");
                }
                _ => {}
            }
        }
    }
}

impl Inbox {
    /// On a thread of the source.
    fn push(&self, event: SourceEvent) {
        let Some(shared) = self.shared.upgrade() else { return };
        match event {
            SourceEvent::Frame(frame) => {
                let stream = frame.stream;
                if self.frames.push(frame) == Pushed::NeedsKeyFrame {
                    lock(&shared.feeding).want_key_frame(stream, KeyFrameReason::Behind, time::now());
                    shared.changed.notify();
                }
            }
            event => {
                lock(&self.events).push_back(event);
                shared.changed.notify();
            }
        }
    }
}

/// The streams that there are from now on. Call it under the feeder's lock.
pub(super) fn set_streams(shared: &Shared, streams: &[StreamInfo]) {
    let now = time::now();
    let others = lock(&shared.feeding).set_streams(streams, now);
    lock(&shared.core).change_streams(streams, others, now);
}
