//! The camera's source, and the queue from its threads to the camera's task.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::media::StreamId;
use crate::media::frame::queue::{Enqueued, FrameQueue};
use crate::media::source::{Source, SourceEvent};
use crate::net::{Signal, lock};

/// The camera's source, and its replacement once it has closed.
pub(super) struct Sources {
    pub current: Source,
    pub next: Option<Source>,
}

impl Sources {
    pub(super) fn new(current: Source) -> Self {
        Sources { current, next: None }
    }

    /// The source that commands go to, to be asked under no lock. None while a replacement is pending: it gets every
    /// command anew.
    pub(super) fn asked(&self) -> Option<Source> {
        self.next.is_none().then(|| self.current.clone())
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.next.is_some()
    }
}

/// Numbers the sources, so that a late event of a replaced source is not taken for one of its replacement.
#[derive(Default)]
pub(super) struct Epoch(AtomicU64);

impl Epoch {
    pub(super) fn listen(inbox: &Arc<Inbox>, source: &Source) {
        let (inbox, epoch) = (inbox.clone(), inbox.epoch.0.fetch_add(1, Ordering::AcqRel) + 1);
        source.producer().listen(Arc::new(move |event| {
            if inbox.epoch.0.load(Ordering::Acquire) == epoch {
                inbox.take(event);
            }
        }));
    }
}

/// From the source's threads to the camera's task.
pub(super) struct Inbox {
    pub frames: FrameQueue,
    pub events: Mutex<VecDeque<SourceEvent>>,
    /// Streams of which frames were dropped.
    pub torn: Mutex<BTreeSet<StreamId>>,
    pub epoch: Epoch,
    pub changed: Signal,
    /// The camera is told to end, and its connection has ended.
    pub ending: Mutex<Ending>,
}

#[derive(Default)]
pub(super) struct Ending {
    pub asked: bool,
    pub offline: bool,
}

impl Inbox {
    /// What came from a source that has gone is of no interest.
    pub(super) fn forget(&self) {
        self.frames.clear();
        lock(&self.torn).clear();
        lock(&self.events).clear();
    }

    /// On the source's threads: never waits.
    pub(super) fn take(&self, event: SourceEvent) {
        match event {
            SourceEvent::Frame(frame) => {
                let (stream, video) = (frame.stream, frame.codec.is_video());
                if self.frames.push(frame) == Enqueued::NeedsKeyFrame && video {
                    lock(&self.torn).insert(stream);
                    self.changed.notify();
                }
            }
            event => {
                lock(&self.events).push_back(event);
                self.changed.notify();
            }
        }
    }
}
