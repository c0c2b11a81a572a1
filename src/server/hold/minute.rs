//! How much of the last minute something took.

use std::time::Duration;

/// Milliseconds in each second of the last minute, and in the current one.
pub(super) struct Minute {
    seconds: [u16; Self::SECONDS],
    /// The second of the last entry.
    last: u64,
}

impl Minute {
    const SECONDS: usize = 61;

    pub(super) fn new() -> Self {
        Minute { seconds: [0; Self::SECONDS], last: 0 }
    }

    /// `at` is the time since an instant that is the same for all calls.
    pub(super) fn add(&mut self, time: Duration, at: Duration) {
        self.turn(at);
        let second = &mut self.seconds[(self.last % Self::SECONDS as u64) as usize];
        *second = second.saturating_add(u16::try_from(time.as_millis()).unwrap_or(u16::MAX));
    }

    pub(super) fn sum(&self, at: Duration) -> Duration {
        let old = at.as_secs().saturating_sub(self.last);
        let kept = (Self::SECONDS as u64).saturating_sub(old);
        let of = |back: u64| self.last.checked_sub(back).map(|at| (at % Self::SECONDS as u64) as usize);
        let sum = (0..kept).filter_map(of).map(|at| u64::from(self.seconds[at])).sum();
        Duration::from_millis(sum)
    }

    /// Forgets the seconds more than a minute back.
    fn turn(&mut self, at: Duration) {
        let new = at.as_secs().saturating_sub(self.last).min(Self::SECONDS as u64);
        (0..new).for_each(|n| self.seconds[((at.as_secs() - n) % Self::SECONDS as u64) as usize] = 0);
        self.last = self.last.max(at.as_secs());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_more_than_a_minute_back_counts_no_more() {
        let at = Duration::from_secs;
        let mut minute = Minute::new();
        minute.add(Duration::from_millis(700), at(3));
        minute.add(Duration::from_millis(200), at(3));
        minute.add(Duration::from_millis(50), at(40));
        for (now, sum) in [(40, 950), (63, 950), (64, 50), (100, 50), (101, 0), (5000, 0)] {
            assert_eq!(minute.sum(at(now)), Duration::from_millis(sum), "after {now} s");
        }
        minute.add(Duration::from_millis(10), at(5000));
        assert_eq!(minute.sum(at(5000)), Duration::from_millis(10));
    }
}
