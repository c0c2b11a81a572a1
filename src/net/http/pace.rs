//! Limits how long and how slowly a connection may use HTTP: otherwise a client that does not read its response, or
//! that sends a byte now and then, would stay forever.
//!
//! ```text
//!             request()            answer()
//!    Asking ───────────► Working ───────────► Answering ── request() ──► Working
//!                           │ stream()             ▲
//!                           ▼        end of it     │
//!                        Streaming ────────────────┘
//! ```
//!
//! While the handler works, the connection waits for the host, not for the client; the body of the request has its own
//! [`Patience`].

use std::time::{Duration, Instant};

/// The timeout for a request, and for sending a response.
pub(super) const HTTP_TIMEOUT: Duration = Duration::from_secs(60);

/// The minimum that the client of a stream must read within [`STALL`]: a tenth of the lowest usable video bitrate.
const LEAST: usize = 16 << 10;

/// How long a client may stay below that. TCP retransmits for as long on a bad link.
const STALL: Duration = Duration::from_secs(20);

/// The minimum average rate of a request body after [`GRACE`], in bytes per second: half the rate of EDGE.
const BODY_RATE: u32 = 8 << 10;

/// The timeout for the first byte of a body.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Asking { since: Instant },
    Working,
    Streaming,
    Answering { since: Instant },
}

/// The state of a connection, and what its client has read.
#[derive(Debug)]
pub(super) struct Pace {
    begun: Instant,
    phase: Phase,
    /// Since when the socket has refused bytes, and how many it has accepted since.
    blocked: Option<(Instant, usize)>,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Pace { begun: now, phase: Phase::Asking { since: now }, blocked: None }
    }

    pub(super) fn request(&mut self) {
        self.phase = Phase::Working;
    }

    /// A complete response is ready. Returns whether the connection is old enough to be closed after it.
    pub(super) fn answer(&mut self, now: Instant) -> bool {
        self.phase = Phase::Answering { since: now };
        now.saturating_duration_since(self.begun) >= HTTP_TIMEOUT
    }

    /// A response begins that lasts until [`Pace::answer`].
    pub(super) fn stream(&mut self) {
        self.phase = Phase::Streaming;
    }

    /// The socket accepted this many bytes.
    pub(super) fn wrote(&mut self, bytes: usize) {
        if let Some((_, taken)) = &mut self.blocked {
            *taken += bytes;
            if *taken >= LEAST {
                self.blocked = None;
            }
        }
    }

    /// The socket accepts nothing at the moment.
    pub(super) fn refused(&mut self, now: Instant) {
        self.blocked.get_or_insert((now, 0));
    }

    /// The socket accepted everything.
    pub(super) fn flushed(&mut self) {
        self.blocked = None;
    }

    /// When to close the connection.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Asking { since } | Phase::Answering { since } => Some(since + HTTP_TIMEOUT),
            Phase::Working => None,
            Phase::Streaming => self.blocked.map(|(since, _)| since + STALL),
        }
    }
}

/// How long to wait for the body of a request. Time in which the handler does not read does not count.
#[derive(Debug, Default)]
pub(super) struct Patience {
    received: u32,
    waited: Duration,
}

impl Patience {
    /// This many bytes arrived.
    pub(super) fn received(&mut self, bytes: usize) {
        self.received = self.received.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// We waited this long.
    pub(super) fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// The remaining time.
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
    fn request_and_response_have_a_minute_each_and_the_handler_no_limit() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(pace.deadline(), Some(start + HTTP_TIMEOUT));
        pace.request();
        assert_eq!(pace.deadline(), None, "the handler has no time limit");
        assert!(!pace.answer(start + SECOND));
        assert_eq!(pace.deadline(), Some(start + SECOND + HTTP_TIMEOUT));
        pace.request();
        assert!(pace.answer(start + HTTP_TIMEOUT), "the connection is old enough");
    }

    #[test]
    fn a_stream_lasts_as_long_as_it_is_read() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.request();
        pace.stream();
        assert_eq!(pace.deadline(), None);
        pace.refused(start);
        pace.refused(start + SECOND);
        assert_eq!(pace.deadline(), Some(start + STALL), "counted from the first refusal");
        pace.wrote(LEAST - 1);
        assert_eq!(pace.deadline(), Some(start + STALL), "a few bytes are not enough");
        pace.wrote(1);
        assert_eq!(pace.deadline(), None);
        pace.refused(start + 5 * SECOND);
        assert_eq!(pace.deadline(), Some(start + 5 * SECOND + STALL));
        pace.wrote(1);
        pace.flushed();
        assert_eq!(pace.deadline(), None, "there was nothing more to read");
        pace.answer(start + 6 * SECOND);
        assert_eq!(pace.deadline(), Some(start + 6 * SECOND + HTTP_TIMEOUT));
    }

    #[test]
    fn a_body_earns_time_by_its_bytes() {
        let mut patience = Patience::default();
        patience.waited(4 * SECOND);
        assert_eq!(patience.left(), 6 * SECOND);
        patience.received(8 << 10);
        assert_eq!(patience.left(), 7 * SECOND);
        // One byte per second.
        let seconds = std::iter::from_fn(|| {
            patience.received(1);
            patience.waited(SECOND);
            (patience.left() > Duration::ZERO).then_some(())
        });
        assert_eq!(seconds.take(1000).count(), 7);
    }
}
