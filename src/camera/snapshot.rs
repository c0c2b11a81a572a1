//! The newest frame as JPEG. Requests within a short interval share one snapshot, and no encoder runs in between.

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::media::Frame;
use crate::net::lock;

/// How long a source may take to deliver a frame. A camera that must be opened first takes a second or two, RTSP more.
const PATIENCE: Duration = Duration::from_secs(10);

/// A JPEG image, from [`Camera::snapshot`](super::Camera::snapshot).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The JPEG file.
    pub jpeg: Arc<[u8]>,
    /// When the frame was captured.
    pub captured: Instant,
}

/// Why there is no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The source cannot make JPEG.
    NoJpeg,
    /// No frame arrived in time: the source is opening, or lost.
    Timeout,
    /// The source ended or failed.
    SourceEnded,
    /// The camera is shutting down.
    Shutdown,
}

impl SnapshotError {
    /// A stable code for programs.
    pub fn code(self) -> &'static str {
        match self {
            SnapshotError::NoJpeg => "no-jpeg",
            SnapshotError::Timeout => "timeout",
            SnapshotError::SourceEnded => "source-ended",
            SnapshotError::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SnapshotError::NoJpeg => "This camera's source cannot make JPEG.",
            SnapshotError::Timeout => "The camera's source delivered no frame in time; try again.",
            SnapshotError::SourceEnded => "The camera's source ended or failed.",
            SnapshotError::Shutdown => "The camera is shutting down.",
        })
    }
}

impl std::error::Error for SnapshotError {}

pub(super) type Outcome = Result<Snapshot, SnapshotError>;

/// Where one request waits.
#[derive(Default)]
pub(in crate::camera) struct Slot {
    state: Mutex<(Option<Outcome>, Option<Waker>)>,
}

impl Slot {
    fn set(&self, outcome: Outcome) {
        let mut state = lock(&self.state);
        state.0 = Some(outcome);
        let waker = state.1.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    pub(super) fn wait(self: Arc<Self>) -> impl Future<Output = Outcome> + Send + use<> {
        poll_fn(move |cx| {
            let mut state = lock(&self.state);
            match &state.0 {
                Some(outcome) => Poll::Ready(outcome.clone()),
                None => {
                    state.1 = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
    }
}

/// The core: decides when the source makes JPEG.
pub(super) struct Snapshots {
    /// How long a snapshot is served again.
    every: Duration,
    last: Option<(Instant, Snapshot)>,
    /// With when each is given up, the oldest first.
    waiting: Vec<(Instant, Arc<Slot>)>,
    over: bool,
}

impl Snapshots {
    pub(super) fn new(every: Duration) -> Self {
        Snapshots { every, last: None, waiting: Vec::new(), over: false }
    }

    /// Sets how long a snapshot is served again.
    pub(super) fn set_every(&mut self, every: Duration) {
        self.every = every;
    }

    /// A request; `can` tells whether the source makes JPEG.
    pub(super) fn ask(&mut self, can: bool, now: Instant) -> Arc<Slot> {
        let slot = Arc::new(Slot::default());
        match &self.last {
            Some((at, last)) if now.saturating_duration_since(*at) < self.every => slot.set(Ok(last.clone())),
            _ if self.over => slot.set(Err(SnapshotError::Shutdown)),
            _ if !can => slot.set(Err(SnapshotError::NoJpeg)),
            _ => self.waiting.push((now + PATIENCE, slot.clone())),
        }
        slot
    }

    /// Whether JPEG is wanted now.
    pub(super) fn wants(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A JPEG arrived.
    pub(super) fn handle_frame(&mut self, frame: &Frame, now: Instant) {
        let snapshot = Snapshot { jpeg: frame.data.clone(), captured: frame.captured };
        self.last = Some((now, snapshot.clone()));
        self.finish(&Ok(snapshot));
    }

    /// No JPEG will arrive.
    pub(super) fn fail(&mut self, error: SnapshotError) {
        self.finish(&Err(error));
    }

    /// The camera shuts down.
    pub(super) fn end(&mut self) {
        self.over = true;
        self.fail(SnapshotError::Shutdown);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.waiting
            .extract_if(.., |(at, _)| *at <= now)
            .for_each(|(_, slot)| slot.set(Err(SnapshotError::Timeout)));
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.first().map(|(at, _)| *at)
    }

    fn finish(&mut self, outcome: &Outcome) {
        self.waiting.drain(..).for_each(|(_, slot)| slot.set(outcome.clone()));
    }
}
