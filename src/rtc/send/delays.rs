//! The delays of video frames before the network: averages for one viewer.
//!
//! ```text
//! captured ── capture ──▶ encoding.began ── encoding ──▶ encoding.ended ── queue ──▶ last packet sent
//! captured ── capture, of a frame without `encoding` ──▶ passed in      ── queue ──▶ last packet sent
//! ```

use std::time::{Duration, Instant};

use crate::media::Encoding;

/// The delays of video frames before the network; averages of the last frames. Their sum is the time from a frame's
/// capture until its last packet was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delays {
    /// From a frame's capture until its encoder got it: the camera, decoding, scaling, waiting for the encoder. If
    /// `encoding` is unknown, until the frame was passed in.
    pub capture: Duration,
    /// In the encoder; `None` for frames without [`Frame::encoding`](crate::media::Frame::encoding).
    pub encoding: Option<Duration>,
    /// From there until the frame's last packet was sent: the way to the sender, pacing, and our socket.
    pub queue: Duration,
}

/// A moving average of durations; each new one has a weight of 1/16.
#[derive(Clone, Copy, Debug, Default)]
struct Average(Option<Duration>);

impl Average {
    fn add(&mut self, new: Duration) {
        self.0 = Some(self.0.map_or(new, |before| (before * 15 + new) / 16));
    }
}

/// Measures them.
#[derive(Debug, Default)]
pub(super) struct Stopwatch {
    capture: Average,
    encoding: Average,
    queue: Average,
}

impl Stopwatch {
    /// Handles a frame to be sent, captured at `captured` and passed in at `now`.
    pub(super) fn handle_frame(&mut self, captured: Instant, encoding: Option<Encoding>, now: Instant) {
        let until = encoding.map_or(now, |encoding| encoding.began);
        self.capture.add(until.saturating_duration_since(captured));
        match encoding {
            Some(encoding) => self.encoding.add(encoding.took()),
            // Another source, without times of its encoder.
            None => self.encoding = Average::default(),
        }
    }

    /// Handles that a frame's last packet was sent. The frame was passed in at `since`.
    pub(super) fn handle_sent(&mut self, encoding: Option<Encoding>, since: Instant, now: Instant) {
        let from = encoding.map_or(since, |encoding| encoding.ended);
        self.queue.add(now.saturating_duration_since(from));
    }

    /// `None` before a frame was sent.
    pub(super) fn delays(&self) -> Option<Delays> {
        Some(Delays { capture: self.capture.0?, encoding: self.encoding.0, queue: self.queue.0? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn the_parts_of_a_frames_way_are_told_apart_and_make_the_whole() {
        let captured = Instant::now();
        let encoding = Encoding { began: captured + MS(8), ended: captured + MS(20) };
        let (passed, sent) = (captured + MS(21), captured + MS(26));
        let mut watch = Stopwatch::default();
        watch.handle_frame(captured, Some(encoding), passed);
        assert_eq!(watch.delays(), None, "it is not sent yet");
        watch.handle_sent(Some(encoding), passed, sent);
        let Delays { capture, encoding, queue } = watch.delays().expect("a frame was sent");
        assert_eq!((capture, encoding, queue), (MS(8), Some(MS(12)), MS(6)));
        assert_eq!(capture + encoding.unwrap_or_default() + queue, sent - captured);
    }

    #[test]
    fn where_the_encoder_is_unknown_its_time_counts_as_capture() {
        let captured = Instant::now();
        let known = Encoding { began: captured + MS(8), ended: captured + MS(20) };
        let mut watch = Stopwatch::default();
        watch.handle_frame(captured, Some(known), captured + MS(21));
        for n in 0..200 {
            let captured = captured + MS(33 * n);
            watch.handle_frame(captured, None, captured + MS(32));
            watch.handle_sent(None, captured + MS(32), captured + MS(34));
        }
        let Delays { capture, encoding, queue } = watch.delays().expect("frames were sent");
        assert!(MS(32) - capture < MS(1), "{capture:?}");
        assert_eq!((encoding, queue), (None, MS(2)));
    }
}
