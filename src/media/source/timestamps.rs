//! Timestamps for frames that have none, or whose timestamps do not increase: raw H.264 without a frame rate, an
//! animation with only frame durations, a jitter buffer that lost track.

use std::time::Duration;

/// The timestamp for a frame without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// The last frame's timestamp plus its duration, because a file has no other clock.
    Follows,
    /// The arrival time, for a live source.
    Arrived,
}

/// Gives each frame a timestamp later than the previous one.
#[derive(Debug)]
pub struct Timestamps {
    missing: Missing,
    /// For how long a frame without a duration is shown.
    nominal: Duration,
    last: Option<(Duration, Duration)>,
}

impl Timestamps {
    /// `nominal` is the duration of a frame that has none.
    pub fn new(missing: Missing, nominal: Duration) -> Self {
        Timestamps { missing, nominal, last: None }
    }

    /// Sets the source's frame rate.
    pub fn set_nominal(&mut self, nominal: Duration) {
        self.nominal = nominal;
    }

    /// The timestamp of a frame. `pts`, `arrived` and the result count from the same zero.
    pub fn stamp(
        &mut self,
        pts: Option<Duration>,
        duration: Option<Duration>,
        arrived: Duration,
    ) -> Duration {
        let lasts = duration.filter(|duration| !duration.is_zero()).unwrap_or(self.nominal);
        let time = match (pts, self.last) {
            (Some(pts), None) => pts,
            (Some(pts), Some((last, _))) if pts > last => pts,
            (None, None) if self.missing == Missing::Follows => Duration::ZERO,
            (None, None) => arrived,
            (_, Some((last, lasted))) => match self.missing {
                Missing::Follows => last + lasted,
                Missing::Arrived => arrived.max(last + Duration::from_millis(1)),
            },
        };
        self.last = Some((time, lasts));
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn stamped(missing: Missing, frames: &[(Option<u64>, Option<u64>, u64)]) -> Vec<u64> {
        let mut stamp = Timestamps::new(missing, MS(40));
        let times = frames.iter().map(|(pts, duration, arrived)| {
            stamp.stamp(pts.map(MS), duration.map(MS), MS(*arrived)).as_millis() as u64
        });
        times.collect()
    }

    #[test]
    fn a_time_that_rises_is_kept() {
        let frames = [(Some(500), None, 9000), (Some(533), Some(33), 9000), (Some(700), None, 9001)];
        assert_eq!(stamped(Missing::Follows, &frames), [500, 533, 700]);
        assert_eq!(stamped(Missing::Arrived, &frames), [500, 533, 700]);
    }

    #[test]
    fn a_file_goes_on_by_durations_or_the_nominal_rate() {
        let raw = [(Some(0), None, 0), (None, None, 1), (None, None, 2)];
        assert_eq!(stamped(Missing::Follows, &raw), [0, 40, 80]);
        let animation =
            [(Some(0), Some(200), 0), (Some(0), Some(100), 1), (Some(0), Some(0), 2), (None, None, 3)];
        assert_eq!(stamped(Missing::Follows, &animation), [0, 200, 300, 340]);
        assert_eq!(stamped(Missing::Follows, &[(None, None, 700)]), [0]);
    }

    #[test]
    fn a_live_frame_without_a_time_has_that_of_its_coming() {
        let frames = [(None, None, 300), (None, None, 340), (Some(900), None, 380), (Some(10), None, 420)];
        assert_eq!(stamped(Missing::Arrived, &frames), [300, 340, 900, 901]);
    }
}
