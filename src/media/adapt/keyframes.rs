//! Merges the viewers' key frame requests into as few key frames as possible.
//!
//! One encoder feeds all viewers, and a key frame costs as much as many other frames. The first request of a quiet
//! stream is sent at once; the next waits until the last key frame is as old as the interval of its [`KeyFrameReason`],
//! and one key frame then answers all pending requests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::media::StreamId;

/// Why a key frame is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyFrameReason {
    /// A viewer joined and sees nothing until a key frame arrives: merged within 100 ms.
    Join,
    /// A viewer lost packets and its picture is corrupted: merged within 500 ms, because a key frame on a congested
    /// network causes more loss.
    Loss,
    /// Frames for a viewer waited too long for our own socket and were dropped: merged within 500 ms, because the
    /// socket is already overloaded.
    Behind,
}

impl KeyFrameReason {
    fn interval(self) -> Duration {
        match self {
            KeyFrameReason::Join => Duration::from_millis(100),
            KeyFrameReason::Loss | KeyFrameReason::Behind => Duration::from_millis(500),
        }
    }
}

/// Merges requests: call [`request`](Self::request), then [`poll`](Self::poll) for the streams that need a key frame.
#[derive(Debug, Default)]
pub struct KeyFrames {
    streams: BTreeMap<StreamId, Request>,
}

#[derive(Debug, Default)]
struct Request {
    /// The last request sent or key frame seen.
    last: Option<Instant>,
    due: Option<Instant>,
}

impl KeyFrames {
    /// No requests yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests a key frame of `stream` for a viewer.
    pub fn request(&mut self, stream: StreamId, reason: KeyFrameReason, now: Instant) {
        let pending = self.streams.entry(stream).or_default();
        let due = pending.last.map_or(now, |last| now.max(last + reason.interval()));
        pending.due = Some(pending.due.map_or(due, |other| other.min(due)));
    }

    /// A key frame of `stream` was sent, requested or not: it answers all pending requests.
    pub fn handle_key_frame(&mut self, stream: StreamId, now: Instant) {
        self.streams.insert(stream, Request { last: Some(now), due: None });
    }

    /// The next stream whose encoder must make a key frame now. Call until `None`.
    pub fn poll(&mut self, now: Instant) -> Option<StreamId> {
        let (&stream, pending) =
            self.streams.iter_mut().find(|(_, pending)| pending.due.is_some_and(|due| due <= now))?;
        *pending = Request { last: Some(now), due: None };
        Some(stream)
    }

    /// When to call [`poll`](Self::poll) again, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.streams.values().filter_map(|pending| pending.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIDEO: StreamId = StreamId(0);
    const OTHER: StreamId = StreamId(1);

    /// Plays (ms, request) on a virtual clock; returns which stream was asked when.
    fn run(requests: &[(u64, StreamId, KeyFrameReason)]) -> Vec<(u64, StreamId)> {
        let start = Instant::now();
        let mut keys = KeyFrames::new();
        let mut asked = Vec::new();
        let mut drain = |keys: &mut KeyFrames, until: Instant| {
            while let Some(at) = keys.poll_timeout().filter(|&at| at <= until) {
                while let Some(stream) = keys.poll(at) {
                    asked.push(((at - start).as_millis() as u64, stream));
                }
            }
        };
        for &(ms, stream, reason) in requests {
            let now = start + Duration::from_millis(ms);
            drain(&mut keys, now);
            keys.request(stream, reason, now);
            drain(&mut keys, now);
        }
        drain(&mut keys, start + Duration::from_secs(60));
        asked
    }

    #[test]
    fn requests_are_merged_by_their_reason() {
        use KeyFrameReason::{Join, Loss};
        type Row<'a> = (&'a str, &'a [(u64, StreamId, KeyFrameReason)], &'a [(u64, StreamId)]);
        let table: &[Row] = &[
            ("the first is sent at once", &[(7, VIDEO, Join)], &[(7, VIDEO)]),
            ("a loss too", &[(7, VIDEO, Loss)], &[(7, VIDEO)]),
            (
                "joiners share",
                &[(0, VIDEO, Join), (10, VIDEO, Join), (90, VIDEO, Join)],
                &[(0, VIDEO), (100, VIDEO)],
            ),
            (
                "losses share",
                &[(0, VIDEO, Loss), (10, VIDEO, Loss), (400, VIDEO, Loss)],
                &[(0, VIDEO), (500, VIDEO)],
            ),
            (
                "a joiner speeds up a loss",
                &[(0, VIDEO, Loss), (10, VIDEO, Loss), (20, VIDEO, Join)],
                &[(0, VIDEO), (100, VIDEO)],
            ),
            (
                "a loss does not delay a joiner",
                &[(0, VIDEO, Join), (10, VIDEO, Join), (20, VIDEO, Loss)],
                &[(0, VIDEO), (100, VIDEO)],
            ),
            ("far apart", &[(0, VIDEO, Loss), (600, VIDEO, Loss)], &[(0, VIDEO), (600, VIDEO)]),
            ("streams are independent", &[(0, VIDEO, Loss), (0, OTHER, Loss)], &[(0, VIDEO), (0, OTHER)]),
        ];
        for (name, requests, expected) in table {
            assert_eq!(run(requests), *expected, "{name}");
        }
    }

    #[test]
    fn a_key_frame_answers_all_pending_requests() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut keys = KeyFrames::new();
        keys.handle_key_frame(VIDEO, at(0));
        keys.request(VIDEO, KeyFrameReason::Loss, at(10));
        assert_eq!(keys.poll_timeout(), Some(at(500)));
        keys.handle_key_frame(VIDEO, at(40));
        assert_eq!(keys.poll_timeout(), None);
        keys.request(VIDEO, KeyFrameReason::Join, at(50));
        assert_eq!(keys.poll_timeout(), Some(at(140)));
        assert_eq!(keys.poll(at(139)), None);
        assert_eq!(keys.poll(at(140)), Some(VIDEO));
        assert_eq!(keys.poll(at(140)), None);
    }
}
