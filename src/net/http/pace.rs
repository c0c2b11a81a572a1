//! How long a connection may speak HTTP, and how slowly: a client that does not read what it asked for, or sends a
//! byte now and then, would stay for ever.
//!
//! ```text
//!             request()            answer()
//!    Asking ───────────► Working ───────────► Answering ── request() ──► Working
//!                           │ stream()             ▲
//!                           ▼        end of it     │
//!                        Streaming ────────────────┘
//! ```
//!
//! While the handler works, the host is waited for, and not the client; the body of the request has its own
//! [`Patience`].

use std::time::{Duration, Instant};

/// How long a connection may speak HTTP before a request, and how long an answer may take to leave.
pub(super) const HTTP_TIMEOUT: Duration = Duration::from_secs(60);

/// What the client of a stream must take within [`STALL`]: a tenth of the least that shows a picture.
const LEAST: usize = 16 << 10;

/// How long it may refuse to. TCP repeats a lost packet for as long on a bad link.
const STALL: Duration = Duration::from_secs(20);

/// The least that the body of a request may bring on average, in bytes a second, after [`GRACE`]: half of what EDGE
/// brings.
const BODY_RATE: u32 = 8 << 10;

/// How long the first byte of a body may take.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Asking { since: Instant },
    Working,
    Streaming,
    Answering { since: Instant },
}

/// Where a connection stands, and what its client has taken.
#[derive(Debug)]
pub(super) struct Pace {
    begun: Instant,
    phase: Phase,
    /// Since when the socket refuses bytes, and how many it took since.
    blocked: Option<(Instant, usize)>,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Pace { begun: now, phase: Phase::Asking { since: now }, blocked: None }
    }

    pub(super) fn request(&mut self) {
        self.phase = Phase::Working;
    }

    /// An answer is there, all of it. Returns whether the connection has lasted long enough, and should end with it.
    pub(super) fn answer(&mut self, now: Instant) -> bool {
        self.phase = Phase::Answering { since: now };
        now.saturating_duration_since(self.begun) >= HTTP_TIMEOUT
    }

    /// An answer begins that goes on until [`Pace::answer`].
    pub(super) fn stream(&mut self) {
        self.phase = Phase::Streaming;
    }

    /// The socket took so many bytes.
    pub(super) fn wrote(&mut self, bytes: usize) {
        if let Some((_, taken)) = &mut self.blocked {
            *taken += bytes;
            if *taken >= LEAST {
                self.blocked = None;
            }
        }
    }

    /// The socket takes nothing just now.
    pub(super) fn refused(&mut self, now: Instant) {
        self.blocked.get_or_insert((now, 0));
    }

    /// The socket took all.
    pub(super) fn flushed(&mut self) {
        self.blocked = None;
    }

    /// When the connection is to be cut.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Asking { since } | Phase::Answering { since } => Some(since + HTTP_TIMEOUT),
            Phase::Working => None,
            Phase::Streaming => self.blocked.map(|(since, _)| since + STALL),
        }
    }
}

/// How long the body of a request is waited for. Time in which nobody reads it does not count.
#[derive(Debug, Default)]
pub(super) struct Patience {
    received: u32,
    waited: Duration,
}

impl Patience {
    /// So many bytes came.
    pub(super) fn received(&mut self, bytes: usize) {
        self.received = self.received.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// It was waited for so long.
    pub(super) fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// How much longer.
    pub(super) fn left(&self) -> Duration {
        let earned = Duration::from_secs_f64(f64::from(self.received) / f64::from(BODY_RATE));
        (GRACE + earned).saturating_sub(self.waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_client_may_ask_and_take_its_answer_for_a_minute_and_the_host_may_think() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(pace.deadline(), Some(start + HTTP_TIMEOUT));
        pace.request();
        assert_eq!(pace.deadline(), None, "the host's own time");
        assert!(!pace.answer(start + SECOND));
        assert_eq!(pace.deadline(), Some(start + SECOND + HTTP_TIMEOUT));
        pace.request();
        assert!(pace.answer(start + HTTP_TIMEOUT), "it was there for long enough");
    }

    #[test]
    fn a_stream_lasts_as_long_as_it_is_taken() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.request();
        pace.stream();
        assert_eq!(pace.deadline(), None);
        pace.refused(start);
        pace.refused(start + SECOND);
        assert_eq!(pace.deadline(), Some(start + STALL), "since the first time");
        pace.wrote(LEAST - 1);
        assert_eq!(pace.deadline(), Some(start + STALL), "a trickle is not enough");
        pace.wrote(1);
        assert_eq!(pace.deadline(), None);
        pace.refused(start + 5 * SECOND);
        assert_eq!(pace.deadline(), Some(start + 5 * SECOND + STALL));
        pace.wrote(1);
        pace.flushed();
        assert_eq!(pace.deadline(), None, "there was no more to take");
        pace.answer(start + 6 * SECOND);
        assert_eq!(pace.deadline(), Some(start + 6 * SECOND + HTTP_TIMEOUT));
    }

    #[test]
    fn a_body_earns_time_by_what_it_brings() {
        let mut patience = Patience::default();
        patience.waited(4 * SECOND);
        assert_eq!(patience.left(), 6 * SECOND);
        patience.received(8 << 10);
        assert_eq!(patience.left(), 7 * SECOND);
        // A byte a second.
        let seconds = std::iter::from_fn(|| {
            patience.received(1);
            patience.waited(SECOND);
            (patience.left() > Duration::ZERO).then_some(())
        });
        assert_eq!(seconds.take(1000).count(), 7);
    }
}
