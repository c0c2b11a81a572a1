//! The frame rate of a stream, by the times of its first frames: encoders seldom write it down, and without it nobody
//! knows what half of it is. Pure.

use std::time::Duration;

/// So many steps are measured: half a second at 30 frames a second. The median passes over those that came late.
const STEPS: usize = 15;

/// Measures once, and keeps it: later the encoder may make fewer, as it was asked to.
#[derive(Debug, Default)]
pub(super) struct Pace {
    fps: u32,
    last: Option<Duration>,
    steps: Vec<Duration>,
}

impl Pace {
    /// A frame with this time is forwarded; whether frames are missing before it. Returns the rate, 0 until it is known.
    pub(super) fn handle_frame(&mut self, pts: Duration, begins: bool) -> u32 {
        if self.fps > 0 {
            return self.fps;
        }
        let last = self.last.replace(pts).filter(|_| !begins);
        self.steps.extend(last.map(|last| pts.saturating_sub(last)));
        if self.steps.len() == STEPS {
            self.steps.sort_unstable();
            let step = self.steps[STEPS / 2].as_secs_f64();
            self.fps = (1.0 / step).round().clamp(1.0, 240.0) as u32;
            self.steps = Vec::new();
        }
        self.fps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_first_steps_is_the_rate() {
        // Frames and the microseconds between them, in turn; what is known after that.
        let table: [(usize, &[u64], u32); 7] = [
            (14, &[33_333], 0),
            (15, &[33_333], 30),
            (15, &[33_000, 34_000], 30),
            (15, &[16_683], 60),
            (15, &[40_000, 40_000, 40_000, 80_000], 25),
            (15, &[3_000_000], 1),
            (40, &[1], 240),
        ];
        for (count, steps, expected) in table {
            let (mut pace, mut pts) = (Pace::default(), Duration::from_secs(9));
            let mut found = pace.handle_frame(pts, true);
            for step in steps.iter().cycle().take(count) {
                pts += Duration::from_micros(*step);
                found = pace.handle_frame(pts, false);
            }
            assert_eq!(found, expected, "{count} of {steps:?}");
        }
    }

    #[test]
    fn a_gap_is_no_step_and_a_slower_encoder_changes_nothing() {
        let mut pace = Pace::default();
        let mut give = |ms, begins| pace.handle_frame(Duration::from_millis(ms), begins);
        for n in 0..8 {
            give(n * 50, false);
        }
        let measured = (8..16).map(|n| give(60_000 + n * 50, n == 8)).last();
        assert_eq!(measured, Some(0), "14 steps, and a gap between them");
        assert_eq!(give(60_800, false), 20);
        assert_eq!((0..40).map(|n| give(70_000 + n * 100, false)).last(), Some(20));
    }
}
