//! Limits the frame rate: decides by timestamp which frames to keep.

use std::time::Duration;

/// Keeps at most this many frames per second, evenly spaced; a slower source loses none.
#[derive(Debug)]
pub struct FrameRateLimit {
    interval: Duration,
    due: Option<Duration>,
}

impl FrameRateLimit {
    /// Keeps at most `fps` frames per second; 0 counts as 1.
    pub fn new(fps: u32) -> Self {
        FrameRateLimit { interval: Duration::from_secs(1) / fps.max(1), due: None }
    }

    /// Whether to keep the frame with this timestamp. A large jump restarts the count.
    pub fn keeps(&mut self, pts: Duration) -> bool {
        let Some(due) = self.due else {
            self.due = Some(pts + self.interval);
            return true;
        };
        // A quarter of the interval lets jitter pass, and not a source of twice the rate.
        let early = due.saturating_sub(pts);
        if early > self.interval / 4 && early <= self.interval * 2 {
            return false;
        }
        let late = pts.saturating_sub(due);
        // What is missed is not made up for, or a burst would follow each gap.
        let next = if late < self.interval && early <= self.interval { due } else { pts };
        self.due = Some(next + self.interval);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many seconds' frames are kept.
    fn kept(fps: u32, rate: f64, seconds: f64, jitter: f64) -> usize {
        let mut thin = FrameRateLimit::new(fps);
        let frames = (rate * seconds).round() as u32;
        let times = (0..frames).map(|n| {
            let shift = if n % 2 == 0 { jitter } else { 0.0 };
            Duration::from_secs_f64(f64::from(n) / rate + shift)
        });
        times.filter(|pts| thin.keeps(*pts)).count()
    }

    #[test]
    fn no_more_than_the_limit_is_kept_and_all_of_what_is_slower() {
        // Limit, source rate, expected frames within 10 s, and by how many they may differ.
        let table = [
            (30, 30.0, 300, 0),
            (30, 29.97, 300, 0),
            (30, 15.0, 150, 0),
            (30, 1.0, 10, 0),
            (30, 60.0, 300, 1),
            (30, 50.0, 300, 5),
            (20, 25.0, 200, 5),
            (30, 31.0, 300, 5),
            (30, 1000.0, 300, 5),
            (1, 30.0, 10, 1),
            (240, 1000.0, 2400, 60),
        ];
        for (fps, rate, expected, tolerance) in table {
            let kept = kept(fps, rate, 10.0, 0.0);
            assert!(kept.abs_diff(expected) <= tolerance, "{rate} at {fps}: {kept}");
        }
        assert_eq!(kept(30, 30.0, 10.0, 0.006), 300, "jitter costs no frame");
    }

    #[test]
    fn a_gap_or_a_jump_begins_anew() {
        let mut thin = FrameRateLimit::new(10);
        let at = Duration::from_millis;
        assert!(thin.keeps(at(1000)) && thin.keeps(at(9000)));
        assert!(!thin.keeps(at(9010)), "no burst after a gap");
        assert!(thin.keeps(at(50)), "a clock that was set back");
        assert!(!thin.keeps(at(80)) && thin.keeps(at(150)));
    }
}
