//! How long there must have been room before more is tried: longer each time that it turned out to be too much.

use std::time::{Duration, Instant};

/// A rise that is taken back within this time was too much. Longer than a queue takes to show, and shorter than the time
/// between independent changes of a network.
const TAKEN_BACK: Duration = Duration::from_secs(10);
/// The longest wait. Six times doubled from a second.
const MOST: Duration = Duration::from_secs(64);
/// After so long without a rise that was too much, waits are short again: what was in the way is probably gone.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Doubles a wait each time that a rise had to be taken back.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    least: Duration,
    wait: Duration,
    raised: Option<Instant>,
    failed: Option<Instant>,
}

impl Patience {
    /// Starts with this wait, which is also the shortest.
    pub(crate) fn new(least: Duration) -> Patience {
        Patience { least, wait: least, raised: None, failed: None }
    }

    /// How long there must have been room before the next rise.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        match self.failed {
            Some(failed) if now < failed + self.wait + FORGOTTEN => self.wait,
            _ => self.least,
        }
    }

    /// It rose.
    pub(crate) fn handle_rise(&mut self, now: Instant) {
        self.wait = self.wait(now);
        self.raised = Some(now);
    }

    /// It fell.
    pub(crate) fn handle_fall(&mut self, now: Instant) {
        if self.raised.take().is_some_and(|raised| now < raised + TAKEN_BACK) {
            self.wait = (self.wait(now) * 2).min(MOST.max(self.least));
            self.failed = Some(now);
        }
    }

    /// Changes the shortest wait.
    pub(crate) fn set_least(&mut self, least: Duration) {
        (self.least, self.wait) = (least, self.wait.max(least));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_each_rise_that_was_too_much_until_that_is_long_ago() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut patience = Patience::new(Duration::from_secs(1));
        let mut waits = Vec::new();
        for round in 0..9 {
            patience.handle_rise(at(round * 10));
            patience.handle_fall(at(round * 10 + 2));
            patience.handle_fall(at(round * 10 + 3));
            waits.push(patience.wait(at(round * 10 + 3)).as_secs());
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 64, 64, 64]);
        assert_eq!(patience.wait(at(82 + 123)).as_secs(), 64);
        assert_eq!(patience.wait(at(82 + 124)).as_secs(), 1);
        patience.handle_rise(at(300));
        patience.handle_fall(at(310));
        assert_eq!(patience.wait(at(310)).as_secs(), 1, "another network, not too much of this one");
    }
}
