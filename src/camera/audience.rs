//! How many watch, as the camera's presence has it: at most one change a second, for every peer of the room gets it.

use std::time::{Duration, Instant};

const APART: Duration = Duration::from_secs(1);

/// Follows the number of viewers.
#[derive(Debug, Default)]
pub(super) struct Audience {
    count: usize,
    /// What the presence has.
    published: usize,
    /// When the next change may be published.
    free_at: Option<Instant>,
}

impl Audience {
    /// So many watch now. Returns the number to publish, if it is time.
    pub(super) fn handle_count(&mut self, count: usize, now: Instant) -> Option<usize> {
        self.count = count;
        if count == self.published || self.free_at.is_some_and(|at| now < at) {
            return None;
        }
        self.published = count;
        self.free_at = Some(now + APART);
        Some(count)
    }

    /// When to ask again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.free_at.filter(|_| self.count != self.published)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_a_crowd_once_a_second() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut audience = Audience::default();
        assert_eq!(audience.handle_count(0, at(0)), None);
        assert_eq!(audience.handle_count(1, at(0)), Some(1));
        for count in 2..40 {
            assert_eq!(audience.handle_count(count, at(count as u64 * 10)), None);
        }
        assert_eq!(audience.poll_timeout(), Some(at(1000)));
        assert_eq!(audience.handle_count(39, at(1000)), Some(39));
        assert_eq!(audience.poll_timeout(), None);
        // Who came and went within the second is no news.
        assert_eq!(audience.handle_count(40, at(1100)), None);
        assert_eq!(audience.handle_count(39, at(1200)), None);
        assert_eq!(audience.poll_timeout(), None);
        assert_eq!(audience.handle_count(0, at(9000)), Some(0));
    }
}
