//! The source of what calls send: its frames and events on their way to the task, and the task's commands to it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crate::media::frame::queue::{Enqueued, FrameQueue};
use crate::media::source::{Command, Source, SourceEvent};
use crate::media::{Frame, StreamId, StreamInfo};
use crate::net::lock;

/// Frames that wait for the task, of each stream: a second of video.
const QUEUE: usize = 30;

pub(super) struct Feeder {
    source: Source,
    inbox: Arc<Inbox>,
}

/// What is called when there is an event, or a stream needs a key frame because frames of it were lost.
type Tell = Box<dyn Fn(Option<StreamId>) + Send + Sync>;

/// What came of the source.
struct Inbox {
    frames: FrameQueue,
    events: Mutex<VecDeque<SourceEvent>>,
    tell: Tell,
}

impl Feeder {
    /// Takes what the source produces from now on. `tell` is called on a thread of the source.
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

    /// Whether it may come back after a loss.
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

    /// It rests from now on.
    pub(super) fn stop(&self) {
        self.command(Command::Want(BTreeSet::new()));
    }

    /// What happened to it.
    pub(super) fn poll_event(&self) -> Option<SourceEvent> {
        lock(&self.inbox.events).pop_front()
    }
}

impl Inbox {
    /// On a thread of the source.
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
