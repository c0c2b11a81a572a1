//! When each frame entered its encoder: what is told of a frame that leaves it.
//!
//! Encoders keep the timestamps of frames, drop some, and hold several at a time; each frame that leaves is found again
//! by its time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::media::Encoding;

/// More frames are in no encoder at a time: twice the second of the highest usual frame rate that a sender keeps.
const MOST: usize = 240;
/// A timestamp that differs by less is the same: drivers count in microseconds, and a frame of 240 a second takes 4 ms.
const SAME: Duration = Duration::from_millis(1);

/// The frames in one encoder.
#[derive(Debug, Default)]
pub(super) struct Encodings {
    /// Their timestamps, and when they entered, in order.
    inside: VecDeque<(Duration, Instant)>,
}

impl Encodings {
    /// A raw frame enters.
    pub(super) fn handle_raw(&mut self, pts: Duration, now: Instant) {
        if self.inside.len() >= MOST {
            self.inside.pop_front();
        }
        self.inside.push_back((pts, now));
    }

    /// An encoded frame leaves. Returns when it was encoded; `None` if it never entered.
    pub(super) fn handle_encoded(&mut self, pts: Duration, now: Instant) -> Option<Encoding> {
        let at = self.inside.iter().position(|(entered, _)| entered.abs_diff(pts) < SAME)?;
        // Those before it were dropped: no frame leaves before an earlier one, as there are no B-frames.
        let (_, began) = self.inside.drain(..=at).next_back()?;
        Some(Encoding { began, ended: now.max(began) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_frame_is_found_by_its_time_though_others_were_dropped_or_follow() {
        let zero = Instant::now();
        let at = |ms| zero + MS(ms);
        let mut encodings = Encodings::default();
        for (pts, now) in [(0, 5), (33, 38), (66, 71), (100, 105)] {
            encodings.handle_raw(MS(pts), at(now));
        }
        let found = |encodings: &mut Encodings, pts: Duration, now| {
            encodings.handle_encoded(pts, at(now)).map(|found| (found.began - zero, found.took()))
        };
        assert_eq!(found(&mut encodings, MS(0), 17), Some((MS(5), MS(12))));
        // The next was dropped; drivers round times.
        assert_eq!(found(&mut encodings, Duration::from_micros(65_999), 80), Some((MS(71), MS(9))));
        assert_eq!(found(&mut encodings, MS(33), 81), None, "it left no more");
        assert_eq!(found(&mut encodings, MS(500), 82), None, "it never entered");
        assert_eq!(found(&mut encodings, MS(100), 105), Some((MS(105), MS(0))));
        assert_eq!(found(&mut encodings, MS(100), 106), None, "once each");
    }

    #[test]
    fn what_never_leaves_is_not_kept_for_ever() {
        let zero = Instant::now();
        let mut encodings = Encodings::default();
        for n in 0..10 * MOST as u64 {
            encodings.handle_raw(MS(33 * n), zero + MS(33 * n));
        }
        assert_eq!(encodings.inside.len(), MOST);
    }
}
