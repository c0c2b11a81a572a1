//! Sending below the server's rate: a token bucket, and what waits for it in order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A token bucket that is kept as the time at which it will be full again, so no token is ever counted
/// in fractions and a wake-up is never a nanosecond early.
pub(super) struct Bucket {
    /// Time for one token.
    each: Duration,
    /// Time from empty to full.
    whole: Duration,
    full_at: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(rate: u32, burst: u32, now: Instant) -> Self {
        let each = Duration::from_secs(1) / rate.max(1);
        Bucket { each, whole: each.saturating_mul(burst.max(1)), full_at: now }
    }

    /// When a token may be taken: `now` or later.
    pub(super) fn ready_at(&self, now: Instant) -> Instant {
        self.ready_within(self.whole, now)
    }

    /// When a token may be taken that leaves the bucket half full.
    pub(super) fn half_at(&self, now: Instant) -> Instant {
        self.ready_within((self.whole / 2).max(self.each), now)
    }

    fn ready_within(&self, whole: Duration, now: Instant) -> Instant {
        // `full_at` is at most `whole` ahead, so this is at most that far from `now`.
        let wait = (self.full_at.saturating_duration_since(now) + self.each).saturating_sub(whole);
        now + wait
    }

    pub(super) fn take(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now) + self.each;
    }
}

/// What a message costs beside its bytes: the string's own record and the allocator's share.
const OVERHEAD: usize = 64;

/// Frames that wait for a token, first in, first out, bounded in bytes.
pub(super) struct Outbox {
    frames: VecDeque<String>,
    bytes: usize,
    limit: usize,
}

impl Outbox {
    pub(super) fn new(limit: usize) -> Self {
        Outbox { frames: VecDeque::new(), bytes: 0, limit }
    }

    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.bytes + bytes + OVERHEAD <= self.limit
    }

    /// Appends; whether it fits was asked before, or the caller is bounded otherwise.
    pub(super) fn push(&mut self, frame: String) {
        self.bytes += frame.len() + OVERHEAD;
        self.frames.push_back(frame);
    }

    pub(super) fn pop(&mut self) -> Option<String> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len() + OVERHEAD;
        Some(frame)
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_leaves_at_once_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut now = start;
        let mut bucket = Bucket::new(80, 400, now);
        for _ in 0..400 {
            assert_eq!(bucket.ready_at(now), now);
            bucket.take(now);
        }
        for n in 1..=160u32 {
            now = bucket.ready_at(now);
            assert_eq!(now, start + Duration::from_micros(12_500) * n);
            bucket.take(now);
        }
        now += Duration::from_secs(3600);
        let left =
            (0..1000).take_while(|_| bucket.ready_at(now) == now && (bucket.take(now), true).1).count();
        assert_eq!(left, 400, "an hour of silence saves up no more than a burst");
    }

    #[test]
    fn half_of_the_burst_is_kept_for_what_matters() {
        let now = Instant::now();
        let mut bucket = Bucket::new(10, 10, now);
        let early = (0..100).take_while(|_| bucket.half_at(now) == now && (bucket.take(now), true).1).count();
        assert_eq!((early, bucket.half_at(now)), (5, now + Duration::from_millis(100)));
        assert_eq!(bucket.ready_at(now), now);
    }

    #[test]
    fn an_outbox_counts_its_bytes_both_ways() {
        let mut outbox = Outbox::new(300);
        for text in ["a", "b", "c", "d"] {
            assert!(outbox.fits(1));
            outbox.push(text.into());
        }
        assert!(!outbox.fits(100));
        assert_eq!(outbox.pop().as_deref(), Some("a"));
        assert!(outbox.fits(1));
        assert_eq!((outbox.len(), outbox.is_empty()), (3, false));
    }
}
