//! Checks whether a camera keeps its negotiated frame rate, by counting frames over a few seconds.

use std::time::{Duration, Instant};

/// How long frames are counted before a verdict: a moment in the dark is no problem.
const WINDOW: Duration = Duration::from_secs(5);
/// Below this part of the negotiated rate a camera is too slow: half the light halves the rate of many cameras.
const SLOW: f64 = 0.7;
/// From this part on it keeps the rate again.
const KEPT: f64 = 0.9;

/// Counts a camera's frames.
#[derive(Debug)]
pub struct FrameRateCheck {
    agreed: f64,
    since: Option<Instant>,
    frames: u32,
    slow: bool,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum FrameRateVerdict {
    /// Far fewer frames than negotiated.
    TooSlow {
        /// The actual rate, in frames per second.
        per_second: f64,
    },
    /// The negotiated rate again.
    Kept,
}

impl FrameRateCheck {
    /// Creates a check for a camera that negotiated `agreed` frames per second.
    pub fn new(agreed: f64) -> Self {
        FrameRateCheck { agreed, since: None, frames: 0, slow: false }
    }

    /// A frame arrived. Returns the verdict if that changes it.
    pub fn handle_frame(&mut self, now: Instant) -> Option<FrameRateVerdict> {
        let Some(since) = self.since else {
            self.since = Some(now);
            return None;
        };
        self.frames = self.frames.saturating_add(1);
        let time = now.saturating_duration_since(since);
        if time < WINDOW {
            return None;
        }
        let rate = f64::from(self.frames) / time.as_secs_f64();
        (self.since, self.frames) = (Some(now), 0);
        if !self.slow && rate < self.agreed * SLOW {
            self.slow = true;
            return Some(FrameRateVerdict::TooSlow { per_second: rate });
        }
        if self.slow && rate >= self.agreed * KEPT {
            self.slow = false;
            return Some(FrameRateVerdict::Kept);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        pace: FrameRateCheck,
        now: Instant,
    }

    impl World {
        /// What is told in so many seconds at a rate.
        fn give(&mut self, rate: u32, seconds: u32) -> Vec<FrameRateVerdict> {
            let told = (0..rate * seconds).filter_map(|_| {
                self.now += Duration::from_secs(1) / rate;
                self.pace.handle_frame(self.now)
            });
            told.collect()
        }
    }

    #[test]
    fn a_rate_that_is_not_kept_is_told_once_and_so_is_its_return() {
        let mut world = World { pace: FrameRateCheck::new(30.0), now: Instant::now() };
        assert_eq!(world.give(30, 20), []);
        assert_eq!(world.give(25, 20), [], "a little slow");
        let told = world.give(15, 30);
        assert!(
            matches!(told[..], [FrameRateVerdict::TooSlow { per_second: rate }] if (rate - 15.0).abs() < 1.0),
            "{told:?}"
        );
        assert_eq!(world.give(24, 20), [], "still not kept");
        assert_eq!(world.give(30, 20), [FrameRateVerdict::Kept]);
        assert!(matches!(world.give(1, 20)[..], [FrameRateVerdict::TooSlow { .. }]));
    }

    #[test]
    fn a_dark_moment_is_no_trouble() {
        let mut world = World { pace: FrameRateCheck::new(30.0), now: Instant::now() };
        world.give(30, 10);
        assert_eq!(world.give(15, 2), []);
        assert_eq!(world.give(30, 10), []);
    }
}
