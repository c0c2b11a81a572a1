//! Rates and deadlines: the token bucket of a session, and one deadline for each.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Config;
use super::slab::Key;

/// Excess starts again from zero after a pause of this length: at 100 messages a second, the bucket then has room for
/// 100 more, so a session that still overflows within a second never slowed down.
const PAUSE: Duration = Duration::from_secs(1);

/// What happens to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Yes,
    /// Over the rate.
    No,
    /// Over the rate for too long.
    Abuse,
}

/// A session's rate allowance.
#[derive(Debug)]
pub(super) struct Bucket {
    tokens: f64,
    filled: Instant,
    /// When the current excess started, and when it was last seen.
    excess: Option<(Instant, Instant)>,
}

impl Bucket {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        Bucket { tokens: config.burst, filled: now, excess: None }
    }

    /// When a message was last counted.
    pub(super) fn last(&self) -> Instant {
        self.filled
    }

    /// Counts one message.
    pub(super) fn take(&mut self, config: &Config, now: Instant) -> Pass {
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + since * config.rate).min(config.burst);
        self.filled = self.filled.max(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Pass::Yes;
        }
        let began = match self.excess {
            Some((began, last)) if now.saturating_duration_since(last) < PAUSE => began,
            _ => now,
        };
        self.excess = Some((began, now));
        if now.saturating_duration_since(began) >= config.abuse_after { Pass::Abuse } else { Pass::No }
    }
}

/// A warning that is logged at most once a minute, and says how often it was due since the last one.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    said: Option<Instant>,
    count: u64,
}

impl Seldom {
    const PAUSE: Duration = Duration::from_secs(60);

    /// Counts one occurrence. Returns the number to warn about, if a warning is due.
    pub(crate) fn due(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        if self.said.is_some_and(|said| now.saturating_duration_since(said) < Self::PAUSE) {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

/// The earliest deadline of each session. A session that was active meanwhile gets a new one when its old deadline
/// comes, so a frame costs nothing here.
#[derive(Default)]
pub(super) struct Deadlines {
    table: BTreeSet<(Instant, Key)>,
}

impl Deadlines {
    /// Moves `key` from `old`, which is updated, to `new`.
    pub(super) fn set(&mut self, key: Key, old: &mut Option<Instant>, new: Option<Instant>) {
        if *old == new {
            return;
        }
        if let Some(at) = *old {
            self.table.remove(&(at, key));
        }
        if let Some(at) = new {
            self.table.insert((at, key));
        }
        *old = new;
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.table.first().map(|(at, _)| *at)
    }

    /// A session whose deadline has come; it has no deadline afterwards.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Key> {
        let first = self.table.first().filter(|(at, _)| *at <= now)?;
        let key = first.1;
        self.table.pop_first();
        Some(key)
    }
}

/// `None` if the clock does not reach that far.
pub(super) fn after(at: Instant, wait: Duration) -> Option<Instant> {
    at.checked_add(wait)
}

/// Whether `wait` has passed since `at`.
pub(super) fn is_past(at: Instant, wait: Duration, now: Instant) -> bool {
    now.saturating_duration_since(at) >= wait
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_allows_the_burst_and_refills_at_the_rate() {
        let (config, start) = (Config::default(), Instant::now());
        let mut bucket = Bucket::new(&config, start);
        let mut taken =
            |n: usize, at: Instant| (0..n).filter(|_| bucket.take(&config, at) == Pass::Yes).count();
        assert_eq!(taken(600, start), 500);
        assert_eq!(taken(600, start + Duration::from_secs(2)), 200);
        assert_eq!(taken(600, start + Duration::from_secs(60)), 500);
    }

    #[test]
    fn a_seldom_warning_appears_once_a_minute_and_counts_all_occurrences() {
        let (mut seldom, start) = (Seldom::default(), Instant::now());
        let mut due = |secs| seldom.due(start + Duration::from_secs(secs));
        assert_eq!([due(0), due(1), due(59), due(60), due(61)], [Some(1), None, None, Some(3), None]);
    }

    #[test]
    fn an_infinite_rate_is_no_limit() {
        let config = Config { rate: f64::INFINITY, ..Config::default() };
        let start = Instant::now();
        let mut bucket = Bucket::new(&config, start);
        assert!(
            (0..10_000).all(|ms| bucket.take(&config, start + Duration::from_millis(ms / 5000)) == Pass::Yes)
        );
    }

    #[test]
    fn only_excess_without_a_pause_is_abuse() {
        let (config, start) = (Config::default(), Instant::now());
        let at = |ms: u64| start + Duration::from_millis(ms);
        let worst = |pause: std::ops::Range<u64>| {
            let mut bucket = Bucket::new(&config, start);
            // 250 messages a second.
            let times = (0..20_000).step_by(4).filter(|ms| !pause.contains(ms));
            times.clone().find(|ms| bucket.take(&config, at(*ms)) == Pass::Abuse)
        };
        let closed = worst(0..0).expect("twenty seconds of excess");
        assert!(
            (13_000..14_000).contains(&closed),
            "500 at 150 over the rate last 3.3 s, then 10 s: {closed}"
        );
        assert_eq!(worst(9_000..10_500), None);
    }
}
