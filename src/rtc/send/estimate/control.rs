//! The rate: rises while nothing queues, and falls to what gets through when something does.
//!
//! ```text
//!          delays grow               queue drained
//! Rising ──────────────▶ Draining ─────────────────▶ Rising, from just below what the path was seen to carry
//! ```

use super::loss::Verdict;
use super::probe::{Found, UTILIZED};
use super::share::Share;
use super::trend::Usage;

/// Growth a second where the path's capacity isn't known (draft-ietf-rmcat-gcc-02, section 5.5), and near it: slow, so
/// that little queues up before it is noticed.
const FAST: f64 = 1.08;
const SLOW: f64 = 1.02;
/// The rate is near the capacity above so much of it; ...
const NEAR: f64 = 0.9;
/// ... and where so much of it passes without a queue, the capacity has changed.
const OUTDATED: f64 = 1.1;
/// No growth beyond so much of what arrives (same section), since nothing shows that it would pass.
const UNUSED: f64 = 1.5;
const UNUSED_BPS: f64 = 10_000.0;
/// Part of what is left to us that is sent while a queue drains, at most and at least. With libwebrtc's 0.85 and 0.5, and a
/// second for the queue, beside others that come and go 95 of 100 packets wait 120 ms instead of 97.
const DRAIN: f64 = 0.88;
const MIN_DRAIN: f64 = 0.2;
/// What waits beyond so many µs is to drain within so many.
const FREE: f64 = 40_000.0;
const DRAIN_TIME: f64 = 400_000.0;
/// The wait grows if it does so by more than this part of the time: what waits now is then more than what waited.
const GROWS: f64 = 0.2;
/// It hardly grows below this.
const FLAT: f64 = 0.1;
/// A queue of less than so many µs, and what jitter adds, is none.
const EMPTY: i64 = 8_000;
/// Bits of a packet, times a million: one more ahead is no congestion either.
const PACKET: f64 = 1200.0 * 8e6;
/// Draining takes at least so many µs, for the encoder to follow, and ends after so many: then it isn't ours.
const MIN_DRAINING: i64 = 150_000;
const MAX_DRAINING: i64 = 3_000_000;
/// Part of the capacity to begin with after that. Each time that it was too much, it is lowered by `STEP`.
const RESUME: f64 = 0.98;
const STEP: f64 = 0.01;
const MIN_RESUME: f64 = 0.92;
/// It was too much if delays grow again within so many µs.
const TOO_SOON: i64 = 1_500_000;
/// Weight of a new capacity in the average; one that differs by more than `CHANGED` replaces it.
const SMOOTH: f64 = 0.3;
const CHANGED: f64 = 0.2;
/// The application sends so little of the estimate that its delays say little of the path, ...
const LIMITED: f64 = 0.8;
/// ... unless everything waits for so many µs, for so long.
const STANDING: i64 = 30_000;
const STANDING_TIME: i64 = 300_000;
/// What a probe makes everything wait, in µs: it is half as fast again as the path at worst, but for the first two.
const PROBE: i64 = 30_000;
/// The path is slower than the rate if what passes is less than this of it, and packets wait for so many µs.
const SLOWER: f64 = 0.85;
const LONG: i64 = 80_000;
/// Steps of time that count at most, in µs.
const MAX_STEP: i64 = 500_000;

/// What was seen of the path. Times are in µs, rates in bit/s.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct View {
    pub(super) usage: Usage,
    /// What leaves and what arrives on average, and what passes while packets wait for each other.
    pub(super) sent: Option<f64>,
    pub(super) acked: Option<f64>,
    pub(super) busy: Option<f64>,
    /// What every packet waits, what the latest waited, and how much delays differ anyway.
    pub(super) standing: i64,
    pub(super) waited: i64,
    pub(super) jitter: i64,
    /// How fast the wait grows, as a part of the time in which it does.
    pub(super) slope: f64,
    /// What was seen left with or shortly after a probe.
    pub(super) probing: bool,
}

impl View {
    /// What the path carries, if there is too much for it.
    fn passes(&self) -> Option<f64> {
        self.busy.or(self.acked)
    }

    /// The part of what others leave that lets the queue drain in time. The whole path carries so many `times` as much:
    /// in the queue are their packets as well.
    fn drain(&self, times: f64) -> f64 {
        // What stands is that of some time ago.
        let waits = if self.slope > GROWS { self.waited } else { self.standing };
        (1.0 - (waits as f64 - FREE).max(0.0) / DRAIN_TIME * times.max(1.0)).clamp(MIN_DRAIN, DRAIN)
    }
}

/// What a probe led to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Probed {
    /// The rate is higher by this factor.
    Raised(f64),
    /// It found no more than was known.
    NoMore,
    /// It found more than the path was seen to carry, which wants to be confirmed.
    Doubted,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Since then.
    Rising {
        since: i64,
    },
    Draining {
        since: i64,
    },
}

#[derive(Debug)]
pub(super) struct Control {
    rate: f64,
    /// What the path was seen to carry.
    capacity: Option<f64>,
    share: Share,
    phase: Phase,
    resume: f64,
    /// Since when everything waits although little is sent.
    standing: Option<i64>,
    last: i64,
}

impl Control {
    pub(super) fn new(rate: f64, now: i64) -> Control {
        Control {
            rate,
            capacity: None,
            share: Share::default(),
            phase: Phase::Rising { since: now },
            resume: RESUME,
            standing: None,
            last: now,
        }
    }
    /// In bit/s.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    pub(super) fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. })
    }

    /// Follows what was seen of the path up to `now`.
    pub(super) fn update(&mut self, view: View, now: i64) {
        let passed = (now - self.last).clamp(0, MAX_STEP);
        self.last = now;
        view.acked.into_iter().for_each(|acked| self.share.arrived(acked, now));
        match self.phase {
            Phase::Draining { since } => self.drain(view, since, now),
            Phase::Rising { since } => {
                if now - since > 2 * TOO_SOON {
                    self.resume = RESUME;
                }
                if view.sent.is_some_and(|sent| sent < LIMITED * self.rate) {
                    self.watch_limited(&view, now);
                } else {
                    self.standing = None;
                    if self.is_congested(&view) {
                        return self.lower(view, since, now);
                    }
                }
                self.rise(view, passed);
            }
        }
    }

    /// Whether more is sent than passes. Delays that grow don't show it alone: a key frame or jitter makes them grow as
    /// well.
    fn is_congested(&self, view: &View) -> bool {
        // A burst that takes long shows it before the next one could wait for it.
        let slow = view.busy.is_some_and(|busy| busy < SLOWER * self.rate);
        if slow && view.waited > LONG + 2 * view.jitter {
            return true;
        }
        view.usage == Usage::Over && self.is_queued(view)
    }

    /// Whether packets wait that left one by one.
    pub(super) fn is_queued(&self, view: &View) -> bool {
        let packet = (PACKET / self.rate) as i64;
        view.standing > EMPTY + view.jitter + packet + if view.probing { PROBE } else { 0 }
    }

    /// Watches a path of which little is used. What passes then is no measure, and nothing need drain; but where
    /// everything waits all the time it carries less than even this little.
    fn watch_limited(&mut self, view: &View, now: i64) {
        if view.standing <= STANDING + view.jitter {
            self.standing = None;
        } else if now - *self.standing.get_or_insert(now) >= STANDING_TIME
            && let Some(passes) = view.busy
        {
            self.rate = self.rate.min(passes);
        }
    }

    fn lower(&mut self, view: View, since: i64, now: i64) {
        let Some(passes) = view.passes() else { return };
        self.share.begin();
        self.share.queued(passes, view.slope);
        let left = self.left(passes, view.slope);
        if now - since < TOO_SOON {
            self.resume = (self.resume - STEP).max(MIN_RESUME);
        }
        let known = self.capacity.filter(|capacity| (left / capacity - 1.0).abs() < CHANGED);
        self.capacity = Some(known.map_or(left, |capacity| capacity + (left - capacity) * SMOOTH));
        self.rate = self.rate.min(left * view.drain(self.share.whole() / left));
        self.phase = Phase::Draining { since: now };
    }

    /// Sends less than passes until the queue is empty, and measures meanwhile what passes.
    fn drain(&mut self, view: View, since: i64, now: i64) {
        let empty = view.standing < EMPTY + view.jitter;
        if now - since >= MIN_DRAINING && empty || now - since > MAX_DRAINING {
            self.phase = Phase::Rising { since: now };
            self.rate = self.rate.max(self.capacity.unwrap_or(0.0) * self.resume);
        } else if let Some(passes) = view.passes().filter(|_| !empty) {
            let capacity = self.capacity.unwrap_or(passes);
            self.share.queued(passes, view.slope);
            let left = self.left(passes, view.slope).min(passes.max(capacity));
            // It is less while the queue still grows, and more if it has turned out to be all ours.
            let grows = view.slope > GROWS && left < capacity;
            let is_ours = !self.share.is_shared(passes) && left > capacity * (1.0 + CHANGED);
            let weight = if grows || is_ours { 1.0 } else { SMOOTH };
            let capacity = capacity + (left - capacity) * weight;
            self.capacity = Some(capacity);
            self.rate = self.rate.min(capacity * view.drain(self.share.whole() / capacity));
        }
    }

    /// What others leave where `passes` of ours does. Where the wait hardly grows that is about the same.
    fn left(&self, passes: f64, slope: f64) -> f64 {
        self.share.left(passes, if slope > 0.0 { (slope - FLAT).max(0.0) } else { slope })
    }

    /// What a probe found without what it took from others, and whether that is all there is.
    fn beside_others(&self, found: Found) -> (f64, bool) {
        if found.saturated {
            return (UTILIZED * self.share.left(found.rate / UTILIZED, found.stretch), true);
        }
        let left = self.share.left(found.rate / (1.0 + found.stretch), found.stretch);
        if found.sure && left < UTILIZED * found.rate { (UTILIZED * left, true) } else { (found.rate, false) }
    }

    /// Whether others may use a part of a path on which `rate` passes.
    pub(super) fn is_shared(&self, rate: f64) -> bool {
        self.share.is_shared(rate)
    }

    fn rise(&mut self, view: View, passed: i64) {
        if let (Some(capacity), Some(acked)) = (self.capacity, view.acked)
            && acked > capacity * OUTDATED
        {
            self.capacity = None;
        }
        let near = self.capacity.is_some_and(|capacity| self.rate > capacity * NEAR);
        let growth = if near { SLOW } else { FAST };
        let grown = self.rate * growth.powf(passed as f64 / 1e6);
        let shown = view.acked.map_or(grown, |acked| acked * UNUSED + UNUSED_BPS);
        self.rate = self.rate.max(grown.min(shown));
    }

    /// Follows a probe.
    pub(super) fn probed(&mut self, found: Found) -> Probed {
        if self.is_draining() || found.rate <= self.rate {
            return Probed::NoMore;
        }
        // Jitter can push a short train together.
        let surprises = self.capacity.is_some_and(|capacity| found.rate > capacity * OUTDATED);
        if !found.sure && (surprises || self.share.is_shared(found.rate)) {
            return Probed::Doubted;
        }
        let (rate, saturated) = self.beside_others(found);
        if rate <= self.rate {
            return Probed::NoMore;
        }
        let factor = rate / self.rate;
        self.rate = rate;
        self.capacity = saturated.then_some(rate / UTILIZED);
        Probed::Raised(factor)
    }

    /// Follows what losses say.
    pub(super) fn lost(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Lower(rate) => {
                self.rate = self.rate.min(rate);
                self.capacity = Some(rate);
            }
            Verdict::Restore(rate) => {
                self.rate = self.rate.max(rate);
                self.capacity = None;
            }
        }
    }

    /// Sets the rate, for what knows it better.
    pub(super) fn set(&mut self, rate: f64) {
        self.rate = rate;
    }
}
