//! Checks whether a camera keeps its negotiated frame rate, by counting frames over a few seconds.

use std::time::{Duration, Instant};

/// Pictures are counted for so long before it is judged: a moment in the dark is no trouble.
const WINDOW: Duration = Duration::from_secs(5);
/// Under this part of the agreed rate it is too slow: half the light halves the rate of many cameras.
const SLOW: f64 = 0.7;
/// Over this part it keeps it again.
const KEPT: f64 = 0.9;

/// The count.
#[derive(Debug)]
pub struct Pace {
    agreed: f64,
    since: Option<Instant>,
    pictures: u32,
    slow: bool,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// Far fewer than agreed: so many a second.
    TooSlow {
        /// The rate that it keeps.
        per_second: f64,
    },
    /// The agreed rate again.
    Kept,
}

impl Pace {
    /// `agreed` pictures a second.
    pub fn new(agreed: f64) -> Self {
        Pace { agreed, since: None, pictures: 0, slow: false }
    }

    /// A picture came. Tells when that changes the verdict.
    pub fn handle_picture(&mut self, now: Instant) -> Option<Verdict> {
        let Some(since) = self.since else {
            self.since = Some(now);
            return None;
        };
        self.pictures = self.pictures.saturating_add(1);
        let time = now.saturating_duration_since(since);
        if time < WINDOW {
            return None;
        }
        let rate = f64::from(self.pictures) / time.as_secs_f64();
        (self.since, self.pictures) = (Some(now), 0);
        if !self.slow && rate < self.agreed * SLOW {
            self.slow = true;
            return Some(Verdict::TooSlow { per_second: rate });
        }
        if self.slow && rate >= self.agreed * KEPT {
            self.slow = false;
            return Some(Verdict::Kept);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        pace: Pace,
        now: Instant,
    }

    impl World {
        /// What is told in so many seconds at a rate.
        fn give(&mut self, rate: u32, seconds: u32) -> Vec<Verdict> {
            let told = (0..rate * seconds).filter_map(|_| {
                self.now += Duration::from_secs(1) / rate;
                self.pace.handle_picture(self.now)
            });
            told.collect()
        }
    }

    #[test]
    fn a_rate_that_is_not_kept_is_told_once_and_so_is_its_return() {
        let mut world = World { pace: Pace::new(30.0), now: Instant::now() };
        assert_eq!(world.give(30, 20), []);
        assert_eq!(world.give(25, 20), [], "a little slow");
        let told = world.give(15, 30);
        assert!(
            matches!(told[..], [Verdict::TooSlow { per_second: rate }] if (rate - 15.0).abs() < 1.0),
            "{told:?}"
        );
        assert_eq!(world.give(24, 20), [], "still not kept");
        assert_eq!(world.give(30, 20), [Verdict::Kept]);
        assert!(matches!(world.give(1, 20)[..], [Verdict::TooSlow { .. }]));
    }

    #[test]
    fn a_dark_moment_is_no_trouble() {
        let mut world = World { pace: Pace::new(30.0), now: Instant::now() };
        world.give(30, 10);
        assert_eq!(world.give(15, 2), []);
        assert_eq!(world.give(30, 10), []);
    }
}
