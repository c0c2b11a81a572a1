//! Connects the source to the task: queues its frames and events, and passes the task's commands to it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crate::media::frame::queue::{Enqueued, FrameQueue};
use crate::media::source::{Command, Source, SourceEvent};
use crate::media::{Frame, StreamId, StreamInfo};
use crate::net::lock;

/// Frames queued for the task, per stream: one second of video.
const QUEUE: usize = 30;

pub(super) struct Feeder {
    source: Source,
    inbox: Arc<Inbox>,
}

/// The callback for events, and for a stream that needs a key frame because its frames were lost.
type Tell = Box<dyn Fn(Option<StreamId>) + Send + Sync>;

/// The queue of a source's events.
struct Inbox {
    frames: FrameQueue,
    events: Mutex<VecDeque<SourceEvent>>,
    tell: Tell,
}

impl Feeder {
    /// Subscribes to the source. `tell` is called on a thread of the source.
    pub(super) fn new(source: Source, tell: impl Fn(Option<StreamId>) + Send + Sync + 'static) -> Feeder {
        let frames = FrameQueue::new(QUEUE);
        let inbox = Arc::new(Inbox { frames, events: Mutex::default(), tell: Box::new(tell) });
        let feeder = Feeder { source, inbox: inbox.clone() };
        feeder.source.producer().listen(Arc::new(move |event| inbox.push(event)));
        feeder
    }

    pub(super) fn streams(&self) -> Vec<StreamInfo> {
        self.source.producer().streams()
    }

    /// Whether the source may come back after a loss.
    pub(super) fn is_live(&self) -> bool {
        self.source.producer().is_live()
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

    /// Stops the source.
    pub(super) fn stop(&self) {
        self.command(Command::Want(BTreeSet::new()));
    }

    /// Returns the next event of the source.
    pub(super) fn poll_event(&self) -> Option<SourceEvent> {
        lock(&self.inbox.events).pop_front()
    }
}

impl Inbox {
    /// Queues an event; called on a thread of the source.
    fn push(&self, event: SourceEvent) {
        match event {
            SourceEvent::Frame(frame) => {
                let stream = frame.stream;
                if self.frames.push(frame) == Enqueued::NeedsKeyFrame {
                    (self.tell)(Some(stream));
                }
            }
            event => {
                lock(&self.events).push_back(event);
                (self.tell)(None);
            }
        }
    }
}
