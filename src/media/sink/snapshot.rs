//! The newest frame as JPEG. Requests within a short interval share one snapshot, and no encoder runs in between.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::media::Frame;

/// How long a source may take to deliver a frame. A camera that must be opened first takes a second or two, RTSP more.
const PATIENCE: Duration = Duration::from_secs(10);

/// A JPEG image.
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

/// What a request gets.
pub(crate) type Outcome = Result<Snapshot, SnapshotError>;

/// Decides when the source makes JPEG, and which snapshot answers which request: a `W` is whatever waits for one.
pub(crate) struct Snapshots<W> {
    /// How long a snapshot is served again.
    every: Duration,
    last: Option<(Instant, Snapshot)>,
    /// Waiting requests with their deadlines, the oldest first.
    waiting: Vec<(Instant, W)>,
    answers: VecDeque<(W, Outcome)>,
    over: bool,
}

impl<W> Snapshots<W> {
    pub(crate) fn new(every: Duration) -> Self {
        Snapshots { every, last: None, waiting: Vec::new(), answers: VecDeque::new(), over: false }
    }

    /// Sets how long a snapshot is served again.
    pub(crate) fn set_every(&mut self, every: Duration) {
        self.every = every;
    }

    /// A request. `can`: whether the source makes JPEG. `age`: the maximum age of a snapshot to serve again, if that is
    /// longer than usual.
    pub(crate) fn ask(&mut self, waiter: W, age: Duration, can: bool, now: Instant) {
        let age = age.max(self.every);
        let outcome = match &self.last {
            Some((at, last)) if now.saturating_duration_since(*at) < age => Ok(last.clone()),
            _ if self.over => Err(SnapshotError::Shutdown),
            _ if !can => Err(SnapshotError::NoJpeg),
            _ => return self.waiting.push((now + PATIENCE, waiter)),
        };
        self.answers.push_back((waiter, outcome));
    }

    /// Whether JPEG is wanted now.
    pub(crate) fn wants(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A JPEG arrived.
    pub(crate) fn handle_frame(&mut self, frame: &Frame, now: Instant) {
        let snapshot = Snapshot { jpeg: frame.data.clone(), captured: frame.captured };
        self.last = Some((now, snapshot.clone()));
        self.finish(&Ok(snapshot));
    }

    /// No JPEG will arrive.
    pub(crate) fn fail(&mut self, error: SnapshotError) {
        self.finish(&Err(error));
    }

    /// The camera shuts down.
    pub(crate) fn end(&mut self) {
        self.over = true;
        self.fail(SnapshotError::Shutdown);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let late = self.waiting.extract_if(.., |(at, _)| *at <= now);
        self.answers.extend(late.map(|(_, waiter)| (waiter, Err(SnapshotError::Timeout))));
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.first().map(|(at, _)| *at)
    }

    /// The next answer to a request.
    pub(crate) fn poll_answer(&mut self) -> Option<(W, Outcome)> {
        self.answers.pop_front()
    }

    fn finish(&mut self, outcome: &Outcome) {
        self.answers.extend(self.waiting.drain(..).map(|(_, waiter)| (waiter, outcome.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Codec, StreamId};

    fn jpeg(number: u8, now: Instant) -> Frame {
        Frame {
            stream: StreamId(7),
            codec: Codec::Jpeg,
            key: true,
            captured: now,
            pts: Duration::ZERO,
            duration: Duration::ZERO,
            discontinuity: false,
            encoding: None,
            data: [number].into(),
        }
    }

    /// Who was answered, and with which image or why with none.
    fn answers(snapshots: &mut Snapshots<u32>) -> Vec<(u32, Result<u8, &'static str>)> {
        let all = std::iter::from_fn(|| snapshots.poll_answer());
        all.map(|(who, outcome)| (who, outcome.map(|s| s.jpeg[0]).map_err(SnapshotError::code))).collect()
    }

    #[test]
    fn one_image_answers_all_who_ask_within_its_time() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut snapshots = Snapshots::new(Duration::from_secs(1));
        assert!(!snapshots.wants());
        snapshots.ask(1, Duration::ZERO, true, at(0));
        snapshots.ask(2, Duration::ZERO, true, at(500));
        assert!(snapshots.wants() && answers(&mut snapshots).is_empty());
        assert_eq!(snapshots.poll_timeout(), Some(at(10_000)));
        snapshots.handle_frame(&jpeg(1, at(600)), at(600));
        assert_eq!(answers(&mut snapshots), [(1, Ok(1)), (2, Ok(1))]);
        assert!(!snapshots.wants() && snapshots.poll_timeout().is_none());
        snapshots.ask(3, Duration::ZERO, true, at(1_599));
        assert_eq!(answers(&mut snapshots), [(3, Ok(1))]);
        snapshots.ask(4, Duration::ZERO, true, at(1_600));
        assert!(snapshots.wants() && answers(&mut snapshots).is_empty(), "a newer one is made");
        snapshots.handle_frame(&jpeg(2, at(1_700)), at(1_700));
        assert_eq!(answers(&mut snapshots), [(4, Ok(2))]);
    }

    #[test]
    fn an_old_image_answers_at_once_whoever_takes_it() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let minute = Duration::from_secs(60);
        let mut snapshots = Snapshots::new(Duration::from_secs(1));
        snapshots.ask(1, minute, true, at(0));
        assert!(snapshots.wants(), "there is none");
        snapshots.handle_frame(&jpeg(1, at(0)), at(0));
        snapshots.ask(2, minute, true, at(59));
        snapshots.ask(3, minute, false, at(59));
        assert_eq!(answers(&mut snapshots), [(1, Ok(1)), (2, Ok(1)), (3, Ok(1))]);
        assert!(!snapshots.wants(), "no encoder runs for them");
        snapshots.ask(4, minute, true, at(60));
        assert!(snapshots.wants());
        // Within the interval it is served again, even to those who accept no older one.
        snapshots.handle_frame(&jpeg(2, at(60)), at(60));
        snapshots.ask(5, Duration::ZERO, true, at(60));
        assert_eq!(answers(&mut snapshots), [(4, Ok(2)), (5, Ok(2))]);
    }

    #[test]
    fn each_request_ends_at_its_own_time_or_with_the_source() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut snapshots = Snapshots::new(Duration::ZERO);
        snapshots.ask(1, Duration::ZERO, false, at(0));
        assert_eq!(answers(&mut snapshots), [(1, Err("no-jpeg"))]);
        snapshots.ask(2, Duration::ZERO, true, at(0));
        snapshots.ask(3, Duration::ZERO, true, at(9_000));
        snapshots.handle_timeout(at(9_999));
        assert!(answers(&mut snapshots).is_empty());
        snapshots.handle_timeout(at(10_000));
        assert_eq!(answers(&mut snapshots), [(2, Err("timeout"))]);
        snapshots.fail(SnapshotError::SourceEnded);
        assert_eq!(answers(&mut snapshots), [(3, Err("source-ended"))]);
        snapshots.ask(4, Duration::ZERO, true, at(11_000));
        snapshots.end();
        snapshots.ask(5, Duration::ZERO, true, at(11_000));
        assert_eq!(answers(&mut snapshots), [(4, Err("shutdown")), (5, Err("shutdown"))]);
        assert!(!snapshots.wants());
    }
}
