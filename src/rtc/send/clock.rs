//! The time of a frame: on the RTP clock, and on the wall clock for lip sync.

use std::time::{Duration, Instant};

use crate::media::Frame;

/// If a source's presentation times diverge from its capture times by more than this, the source was restarted.
const JUMP: i64 = 2_000_000_000;
/// When the presentation times of one stream go back, those of the other may have done so already: how far apart the
/// two may then be without a new zero.
const NEAR: i64 = 100_000_000;

/// The timeline of a source. It continues evenly when the source restarts at zero (a file that loops, a pipeline that
/// was stopped for a while), and all streams of the source share it, so that audio and video stay in sync. All in
/// nanoseconds.
#[derive(Debug)]
pub(in crate::rtc) struct Timeline {
    epoch: Instant,
    /// Presentation time zero on the RTP clock.
    zero: Option<i64>,
    /// Presentation time zero, according to the least delayed frame.
    earliest: i64,
}

/// The position of a stream.
#[derive(Debug, Default)]
pub(in crate::rtc) struct Position {
    pts: i64,
    at: i64,
}

/// A frame's timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) struct Timestamp {
    /// RTP time, before each viewer's own offset.
    pub(in crate::rtc) ticks: u32,
    /// The time of what the frame shows; never later than its capture.
    pub(in crate::rtc) wallclock: Instant,
}

impl Timeline {
    pub(in crate::rtc) fn new(now: Instant) -> Timeline {
        Timeline { epoch: now, zero: None, earliest: 0 }
    }

    pub(in crate::rtc) fn place(&mut self, position: &mut Position, frame: &Frame) -> Timestamp {
        let pts = nanos(frame.pts);
        let captured = match frame.captured.checked_duration_since(self.epoch) {
            Some(after) => nanos(after),
            None => -nanos(self.epoch.duration_since(frame.captured)),
        };
        let seen = captured.saturating_sub(pts);
        let zero = match self.zero {
            Some(zero) => {
                let off = seen.saturating_sub(zero).saturating_abs();
                if off > JUMP || (pts < position.pts && off > NEAR) {
                    self.earliest = seen;
                    seen
                } else {
                    zero
                }
            }
            None => {
                self.earliest = seen;
                seen
            }
        };
        self.zero = Some(zero);
        self.earliest = self.earliest.min(seen);
        position.pts = pts;
        // A decoder's time never goes back, even if the source's does.
        position.at = zero.saturating_add(pts).max(position.at.saturating_add(1_000_000));
        let ticks = i128::from(position.at) * i128::from(frame.codec.clock_rate()) / 1_000_000_000;
        Timestamp {
            ticks: ticks as u32,
            wallclock: self.instant(self.earliest.saturating_add(pts)).min(frame.captured),
        }
    }

    fn instant(&self, nanos: i64) -> Instant {
        let span = Duration::from_nanos(nanos.unsigned_abs());
        let at = if nanos < 0 { self.epoch.checked_sub(span) } else { self.epoch.checked_add(span) };
        at.unwrap_or(self.epoch)
    }
}

fn nanos(d: Duration) -> i64 {
    i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Codec, StreamId};

    fn frame(epoch: Instant, codec: Codec, captured_ms: u64, pts_ms: u64) -> Frame {
        Frame {
            stream: StreamId(0),
            codec,
            key: true,
            captured: epoch + Duration::from_millis(captured_ms),
            pts: Duration::from_millis(pts_ms),
            duration: Duration::ZERO,
            discontinuity: false,
            encoding: None,
            data: [1].into(),
        }
    }

    #[test]
    fn presentation_times_lead_and_capture_jitter_does_not_show() {
        let epoch = Instant::now();
        let mut line = Timeline::new(epoch);
        let mut at = Position::default();
        let late = [30, 0, 12, 40, 3];
        let timestamps: Vec<Timestamp> = (0..5)
            .map(|i| {
                line.place(&mut at, &frame(epoch, Codec::H264, 1000 + i * 33 + late[i as usize], i * 33))
            })
            .collect();
        for (a, b) in timestamps.iter().zip(&timestamps[1..]) {
            assert_eq!(b.ticks.wrapping_sub(a.ticks), 33 * 90);
        }
        assert_eq!(timestamps[4].wallclock, epoch + Duration::from_millis(1000 + 4 * 33));
    }

    #[test]
    fn a_source_that_starts_anew_goes_on_in_time() {
        let epoch = Instant::now();
        let mut line = Timeline::new(epoch);
        let (mut video, mut audio) = (Position::default(), Position::default());
        let before = line.place(&mut video, &frame(epoch, Codec::H264, 5000, 5000));
        line.place(&mut audio, &frame(epoch, Codec::Opus, 5000, 5000));
        let after = line.place(&mut video, &frame(epoch, Codec::H264, 5040, 0));
        assert_eq!(after.ticks.wrapping_sub(before.ticks), 40 * 90);
        // Audio follows the new zero of the video, although it was captured slightly later.
        let sound = line.place(&mut audio, &frame(epoch, Codec::Opus, 5060, 10));
        assert_eq!(sound.ticks, (5050u32) * 48);
        assert_eq!(sound.wallclock, epoch + Duration::from_millis(5050));
    }

    #[test]
    fn hostile_times_neither_panic_nor_go_back() {
        let epoch = Instant::now();
        let mut line = Timeline::new(epoch);
        let mut at = Position::default();
        let mut last = i64::MIN;
        for (captured, pts) in
            [(0, u64::MAX / 2_000_000), (1, 0), (2, 500), (3, 499), (90_000_000, 0), (4, 3)]
        {
            line.place(&mut at, &frame(epoch, Codec::Vp8, captured, pts));
            assert!(at.at > last);
            last = at.at;
        }
    }
}
