//! When to dial again, and when not to.

use std::time::Duration;

use crate::proto::{CloseCode, Status};

/// How long to wait before dialling again: half of min × 2^`attempt` (at most half of `max`), plus up to the
/// same again depending on `jitter` (0 to 1). So a client never hammers the server, and a thousand cameras
/// whose server restarts don't all reconnect at once.
///
/// ```
/// use std::time::Duration;
/// use symple::client::next_delay;
/// let delay = |attempt, jitter| next_delay(Duration::from_millis(500), Duration::from_secs(30), attempt, jitter);
/// assert_eq!(delay(0, 0.0), Duration::from_millis(250));
/// assert_eq!(delay(0, 1.0), Duration::from_millis(500));
/// assert_eq!(delay(2, 0.5), Duration::from_millis(1500));
/// assert_eq!(delay(u32::MAX, 1.0), Duration::from_secs(30));
/// ```
pub fn next_delay(min: Duration, max: Duration, attempt: u32, jitter: f64) -> Duration {
    // 2^31 times anything above 1 s exceeds every sensible `max`; a larger shift would overflow.
    let longest = min.saturating_mul(1 << attempt.min(31)).min(max);
    let half = longest / 2;
    half + half.mul_f64(if jitter.is_nan() { 0.0 } else { jitter.clamp(0.0, 1.0) })
}

/// How long to wait after a lost connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// The next delay.
    Next,
    /// The longest delay.
    Longest,
}

/// What to do after an `error` instead of `welcome`; `None` if the same request would get the same answer.
pub(super) fn after_error(status: Status) -> Option<Wait> {
    match status {
        Status::UNAUTHORIZED => None,
        // We were too late or over the rate, or the server failed; a retry may succeed soon.
        Status::TIMEOUT | Status::TOO_MANY | Status::INTERNAL => Some(Wait::Next),
        // Full, or it does not understand us and won't a moment later.
        _ => Some(Wait::Longest),
    }
}

/// What to do after a close frame, or after a socket that ended without one.
pub(super) fn after_close(code: Option<CloseCode>) -> Wait {
    match code.map(|c| c.0) {
        // Full, or the codes of a server that considers our frames broken: 1002, 1003, 1007, 1010.
        Some(1002 | 1003 | 1007 | 1010 | 1013) => Wait::Longest,
        // A restart, a slow reader (1008), a frame too large (1009), a crash, a network failure.
        _ => Wait::Next,
    }
}

/// A generator for jitter and ids (SplitMix64): good enough to spread them, not a source of secrets. Its
/// values don't repeat within 2^64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to just below 1.
    pub(super) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A message id.
    pub(super) fn id(&mut self) -> String {
        format!("{:016x}", self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_an_error() {
        for (status, then) in [
            (400, Some(Wait::Longest)),
            (401, None),
            (403, Some(Wait::Longest)),
            (404, Some(Wait::Longest)),
            (408, Some(Wait::Next)),
            (413, Some(Wait::Longest)),
            (429, Some(Wait::Next)),
            (500, Some(Wait::Next)),
            (503, Some(Wait::Longest)),
            (0, Some(Wait::Longest)),
            (u16::MAX, Some(Wait::Longest)),
        ] {
            assert_eq!(after_error(Status(status)), then, "{status}");
        }
    }

    #[test]
    fn what_follows_a_close() {
        for (code, then) in [
            (None, Wait::Next),
            (Some(1000), Wait::Next),
            (Some(1001), Wait::Next),
            (Some(1002), Wait::Longest),
            (Some(1003), Wait::Longest),
            (Some(1005), Wait::Next),
            (Some(1006), Wait::Next),
            (Some(1007), Wait::Longest),
            (Some(1008), Wait::Next),
            (Some(1009), Wait::Next),
            (Some(1010), Wait::Longest),
            (Some(1011), Wait::Next),
            (Some(1012), Wait::Next),
            (Some(1013), Wait::Longest),
            (Some(4000), Wait::Next),
        ] {
            assert_eq!(after_close(code.map(CloseCode)), then, "{code:?}");
        }
    }

    #[test]
    fn delays_grow_to_their_bound_and_never_to_nothing() {
        let (min, max) = (Duration::from_millis(500), Duration::from_secs(30));
        for (attempt, low, high) in [
            (0, 250, 500),
            (1, 500, 1000),
            (2, 1000, 2000),
            (5, 8000, 16000),
            (6, 15000, 30000),
            (40, 15000, 30000),
        ] {
            assert_eq!(next_delay(min, max, attempt, 0.0).as_millis(), low, "{attempt}");
            assert_eq!(next_delay(min, max, attempt, 1.0).as_millis(), high, "{attempt}");
        }
        for odd in [f64::NAN, f64::INFINITY, -1.0] {
            assert!(next_delay(min, max, 0, odd) <= min);
        }
        assert_eq!(next_delay(Duration::MAX, Duration::MAX, 9, 1.0) / 2, Duration::MAX / 2);
    }

    #[test]
    fn jitter_spreads() {
        let mut random = Random(1);
        let mut quarters = [0; 4];
        for _ in 0..4000 {
            quarters[(random.fraction() * 4.0) as usize] += 1;
        }
        assert!(quarters.iter().all(|n| (900..1100).contains(n)), "{quarters:?}");
    }
}
