//! Paces packets to one viewer: in bursts, so that one system call sends many.
//!
//! Each packet takes time at the pacing rate, and a burst may run ahead of that by [`BURST`]. So a frame usually leaves
//! at once, a key frame leaves in a few bursts, and never more than a burst floods the link. What leaves first is one
//! burst that is longer: [`FIRST`].

use std::time::{Duration, Instant};

/// How much may leave at once, as time at the pacing rate. Browsers' own senders also use bursts of 40 ms.
const BURST: Duration = Duration::from_millis(40);

/// The same for probes, which last at least 15 ms: one tick of the sessions' timers.
const PROBE_BURST: Duration = Duration::from_millis(5);

/// How much of a delay the next bursts of a probe make up for: whoever sends them may be busy, and a probe that leaves
/// too slowly shows nothing.
const PROBE_LATE: Duration = Duration::from_millis(15);

/// How much the first burst is longer than others. Before the first feedback, which comes after 100 ms or more, more would
/// leave anyway; at once, the first key frame is there 30 ms earlier. With 80 ms, all that a viewer gets when it joins would
/// leave at once, but of sixty simulated viewers on slow links four instead of two then wait longer than 3 s.
const FIRST: Duration = Duration::from_millis(30);

#[derive(Debug)]
pub(in crate::rtc) struct Pacer {
    /// In bit/s.
    rate: u64,
    /// A probe is being sent.
    is_probing: bool,
    /// Bytes of media that take no time.
    free: usize,
    /// When everything sent so far has passed, at the rate.
    through: Instant,
    /// Nothing leaves before.
    held: Instant,
}

impl Pacer {
    pub(in crate::rtc) fn new(rate: u64, now: Instant) -> Pacer {
        Pacer { rate: rate.max(1), is_probing: false, free: 0, through: now, held: now }
    }

    /// Sets the pacing rate, in bit/s. At a higher rate, what was sent passes sooner; at a lower one it takes as long as
    /// before, because the rate was lowered for some of it to arrive.
    pub(in crate::rtc) fn set_rate(&mut self, rate: u64, now: Instant) {
        let before = std::mem::replace(&mut self.rate, rate.max(1));
        if before < self.rate {
            let nanos = self.ahead(now).as_nanos() * u128::from(before) / u128::from(self.rate);
            self.limit(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)), now);
        }
    }

    /// Sets whether a probe is being sent. The packets of one burst would arrive within one tick of the receiver's
    /// clock, and measure nothing.
    pub(in crate::rtc) fn set_probing(&mut self, is_probing: bool, now: Instant) {
        if is_probing && !self.is_probing {
            self.through = self.through.max(now);
        }
        self.is_probing = is_probing;
    }

    /// Lets the first burst be longer.
    pub(in crate::rtc) fn begin(&mut self) {
        self.free =
            usize::try_from(u128::from(self.rate) / 8 * FIRST.as_millis() / 1000).unwrap_or(usize::MAX);
    }

    /// From now on, bursts are as long as usual.
    pub(in crate::rtc) fn settle(&mut self) {
        self.free = 0;
    }

    /// When the next packet may leave: now, if that is not in the future.
    pub(in crate::rtc) fn opens_at(&self) -> Instant {
        let burst = if self.is_probing { PROBE_BURST } else { BURST };
        self.through.checked_sub(burst).unwrap_or(self.through).max(self.held)
    }

    pub(in crate::rtc) fn is_open(&self, now: Instant) -> bool {
        self.opens_at() <= now
    }

    /// Whether everything sent has passed, and more may leave.
    pub(in crate::rtc) fn is_idle(&self, now: Instant) -> bool {
        self.through.max(self.held) <= now
    }

    /// The time until everything sent has passed, at the rate.
    pub(in crate::rtc) fn ahead(&self, now: Instant) -> Duration {
        self.through.saturating_duration_since(now)
    }

    /// Nothing leaves until then.
    pub(in crate::rtc) fn hold(&mut self, until: Instant) {
        self.held = self.held.max(until);
    }

    /// No more than this time is left until everything sent has passed.
    pub(in crate::rtc) fn limit(&mut self, ahead: Duration, now: Instant) {
        self.through = self.through.min(now + ahead);
    }

    /// Everything sent has passed.
    pub(in crate::rtc) fn clear(&mut self, now: Instant) {
        self.through = now;
    }

    /// Records a packet of media of this size that was sent.
    pub(in crate::rtc) fn spend(&mut self, bytes: usize, now: Instant) {
        let free = self.free.min(bytes);
        self.free -= free;
        self.spend_on_probe(bytes - free, now);
    }

    /// Records a packet of a probe, which the first burst is not for.
    pub(in crate::rtc) fn spend_on_probe(&mut self, bytes: usize, now: Instant) {
        let takes = Duration::from_nanos(bytes as u64 * 8_000_000_000 / self.rate);
        let late = if self.is_probing { PROBE_LATE } else { Duration::ZERO };
        let since = now.checked_sub(late).unwrap_or(now);
        self.through = self.through.max(since) + takes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_leaves_at_once_and_the_rest_at_the_rate() {
        let start = Instant::now();
        let mut pacer = Pacer::new(8_000_000, start);
        let mut sent = vec![];
        let mut now = start + Duration::from_secs(5);
        let begin = now;
        for _ in 0..100 {
            while pacer.is_open(now) && sent.len() < 100 {
                pacer.spend(1000, now);
                sent.push(now.duration_since(begin));
            }
            now = pacer.opens_at().max(now);
        }
        // Each takes 1 ms: 40 and the one that crosses the limit, then one per millisecond; idle time adds none.
        assert_eq!(sent.iter().filter(|at| at.is_zero()).count(), 41);
        assert_eq!(sent[99], Duration::from_millis(59));
    }

    #[test]
    fn a_pacer_is_held_for_a_time_and_its_queue_limited_to_one() {
        let now = Instant::now();
        let (mut pacer, later) = (Pacer::new(8_000_000, now), now + Duration::from_millis(200));
        pacer.hold(later);
        pacer.set_rate(16_000_000, now);
        assert_eq!((pacer.opens_at(), pacer.is_idle(now), pacer.is_idle(later)), (later, false, true));
        pacer.spend(200_000, now);
        pacer.limit(Duration::from_millis(50), now);
        assert_eq!(pacer.ahead(now), Duration::from_millis(50));
        pacer.limit(Duration::from_millis(80), now);
        assert_eq!(pacer.ahead(now), Duration::from_millis(50), "it is less already");
    }

    #[test]
    fn what_was_sent_passes_sooner_at_a_higher_rate() {
        let now = Instant::now();
        let mut pacer = Pacer::new(80_000, now);
        pacer.spend(10_000, now);
        assert_eq!(pacer.ahead(now), Duration::from_secs(1));
        let later = now + Duration::from_millis(500);
        pacer.set_rate(40_000, later);
        assert_eq!(pacer.ahead(later), Duration::from_millis(500));
        pacer.set_rate(400_000, later);
        assert_eq!(pacer.ahead(later), Duration::from_millis(50));
        pacer.set_rate(0, later);
        pacer.set_rate(8_000_000, now + Duration::from_secs(9));
        assert!(pacer.is_idle(now + Duration::from_secs(9)));
    }

    /// How many packets of 1000 bytes leave at once, at 8 Mbit/s: a millisecond each.
    fn at_once(pacer: &mut Pacer, now: Instant) -> usize {
        (0..).take_while(|_| pacer.is_open(now).then(|| pacer.spend(1000, now)).is_some()).count()
    }

    #[test]
    fn the_first_burst_is_longer() {
        let now = Instant::now();
        let mut pacer = Pacer::new(8_000_000, now);
        pacer.begin();
        pacer.spend_on_probe(1000, now);
        assert_eq!(at_once(&mut pacer, now), 30 + 40);
        assert_eq!(pacer.opens_at(), now + Duration::from_millis(1), "then the rate counts");
        let idle = now + Duration::from_secs(1);
        assert_eq!(at_once(&mut pacer, idle), 41);
        pacer.begin();
        pacer.settle();
        assert_eq!(at_once(&mut pacer, idle + Duration::from_secs(1)), 41, "it was not used in time");
    }

    #[test]
    fn a_probe_makes_up_for_a_short_delay() {
        let start = Instant::now();
        let mut pacer = Pacer::new(8_000_000, start);
        let now = start + Duration::from_secs(1);
        pacer.set_probing(true, now);
        assert_eq!(at_once(&mut pacer, now), 6, "what was not sent before it is not made up for");
        pacer.set_probing(true, now);
        let late = now + Duration::from_millis(11);
        assert_eq!(at_once(&mut pacer, late), 11);
        assert_eq!(at_once(&mut pacer, late + Duration::from_secs(1)), 15 + 6, "at most this");
        pacer.set_probing(false, now);
        assert_eq!(at_once(&mut pacer, late + Duration::from_secs(2)), 41);
    }

    #[test]
    fn another_rate_counts_from_now_on() {
        let now = Instant::now();
        let mut pacer = Pacer::new(1_000, now);
        pacer.set_rate(8_000_000, now);
        for _ in 0..41 {
            pacer.spend(1000, now);
        }
        assert_eq!(pacer.opens_at(), now + Duration::from_millis(1));
    }
}
