//! The rate: rises while there is no queue, and falls to what gets through when there is one.
//!
//! ```text
//!          delays grow               queue drained
//! Rising ──────────────▶ Draining ─────┬───────────▶ Rising, from just below what the path was seen to carry
//!                                      └───────────▶ Rising, because the wait stayed: the route is longer
//! ```

use super::loss::Verdict;
use super::probe::{Found, UTILIZED};
use super::share::Share;
use super::still::Still;
use super::trend::Usage;

/// Growth per second if the path's capacity is unknown (draft-ietf-rmcat-gcc-02, section 5.5), and near the capacity:
/// slow, so that the queue stays short until it is noticed.
const FAST: f64 = 1.08;
const SLOW: f64 = 1.02;
/// Above this part of the capacity, the rate is near it; ...
const NEAR: f64 = 0.9;
/// ... and if this multiple of it passes without a queue, the capacity has changed.
const OUTDATED: f64 = 1.1;
/// No growth beyond this multiple of what arrives (same section), since nothing shows that more would pass.
const UNUSED: f64 = 1.5;
const UNUSED_BPS: f64 = 10_000.0;
/// The maximum and minimum part of our share that is sent while a queue drains. With libwebrtc's 0.85 and 0.5, and a
/// second for the queue, the 95th percentile of the wait beside traffic that comes and goes is 120 ms instead of 103. With a
/// minimum of 0.2 it is 97, but frames whose first packets have left then exceed the estimate for two seconds.
const DRAIN: f64 = 0.88;
const MIN_DRAIN: f64 = 0.5;
/// The part of the wait beyond the first time should drain within the second, in µs.
const FREE: f64 = 40_000.0;
const DRAIN_TIME: f64 = 400_000.0;
/// Above this slope, the wait grows: packets now wait longer than measured.
const GROWS: f64 = 0.2;
/// With more jitter than this (µs), the slope over 150 ms shows nothing but jitter.
const NOISY: i64 = 20_000;
/// Below this slope, it hardly grows.
const FLAT: f64 = 0.1;
/// A queue shorter than this (µs), plus jitter, counts as empty.
const EMPTY: i64 = 8_000;
/// Bits of a packet, times a million: one more packet in the queue is no congestion either.
const PACKET: f64 = 1200.0 * 8e6;
/// Draining takes at least the first time, so that the encoder can follow, and ends after the second, because then the
/// queue is not ours; in µs.
const MIN_DRAINING: i64 = 150_000;
const MAX_DRAINING: i64 = 3_000_000;
/// The part of the capacity to resume with. Each time this was too much, it is lowered by `STEP`.
const RESUME: f64 = 0.98;
const STEP: f64 = 0.01;
const MIN_RESUME: f64 = 0.92;
/// It was too much if delays grow again within this time, in µs.
const TOO_SOON: i64 = 1_500_000;
/// Weight of a new capacity in the average; one that differs by more than `CHANGED` replaces the average.
const SMOOTH: f64 = 0.3;
const CHANGED: f64 = 0.2;
/// Below this part of the estimate, the application sends so little that its delays say little about the path, ...
const LIMITED: f64 = 0.8;
/// ... unless every packet waits for the first time during the second, in µs.
const STANDING: i64 = 30_000;
const STANDING_TIME: i64 = 300_000;
/// More than this part of what is sent is lost, beyond the path's own loss, if a queue is full.
const FULL: f64 = 0.15;
/// How long a probe makes other packets wait, in µs: except for the first two, it is at most 1.5 times the path's rate.
const PROBE: i64 = 30_000;
/// The path is slower than the rate if less than this part of it passes, and packets wait this long, in µs.
const SLOWER: f64 = 0.85;
const LONG: i64 = 80_000;
/// The longest step of time that counts, in µs.
const MAX_STEP: i64 = 500_000;

/// Observations of the path. Times are in µs, rates in bit/s.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct View {
    pub(super) usage: Usage,
    /// The average rates of sending and of arrival, and the rate that passes while packets wait for each other.
    pub(super) sent: Option<f64>,
    pub(super) acked: Option<f64>,
    pub(super) busy: Option<f64>,
    /// The part that was lost lately, beyond the path's own loss.
    pub(super) lost: f64,
    /// How long every packet waits, how long the latest waited, and how much delays vary anyway.
    pub(super) standing: i64,
    pub(super) waited: i64,
    pub(super) jitter: i64,
    /// How fast the wait grows, in µs per µs.
    pub(super) slope: f64,
    /// When the latest observed packets left.
    pub(super) latest: i64,
    /// Whether the observed packets left with a probe or shortly after it.
    pub(super) probing: bool,
}

impl View {
    /// What the path carries while it is overloaded. What arrives shows that only if more was sent: after a pause, it is
    /// next to nothing.
    fn passes(&self) -> Option<f64> {
        self.busy.or(self.acked.filter(|acked| self.sent.is_some_and(|sent| sent > *acked)))
    }

    /// Whether what is sent arrives. A full queue is as long all the time as a longer route, but drops what does not pass.
    fn arrives(&self) -> bool {
        self.lost < FULL
    }

    /// The part of our share at which the queue drains in time. The whole path carries `times` our share, since the
    /// queue also holds the packets of others.
    fn drain(&self, times: f64) -> f64 {
        // The standing wait is slightly out of date.
        let waits = if self.slope > GROWS { self.waited } else { self.standing };
        (1.0 - (waits as f64 - FREE).max(0.0) / DRAIN_TIME * times.max(1.0)).clamp(MIN_DRAIN, DRAIN)
    }
}

/// The result of a probe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Probed {
    /// It raised the rate by this factor.
    Raised(f64),
    /// It found no more than was already known.
    NoMore,
    /// It found more than the path was seen to carry, which needs confirmation.
    Doubted,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Since then.
    Rising { since: i64 },
    Draining {
        since: i64,
        /// What others left to us when the queue was found.
        left: f64,
    },
}

#[derive(Debug)]
pub(super) struct Control {
    rate: f64,
    /// What the path was seen to carry.
    capacity: Option<f64>,
    share: Share,
    /// Delays differ too much to show what others do.
    noisy: bool,
    phase: Phase,
    resume: f64,
    /// Since when every packet waits although little is sent.
    standing: Option<i64>,
    still: Still,
    /// The rate when packets last did not wait.
    free: f64,
    last: i64,
}

impl Control {
    pub(super) fn new(rate: f64, now: i64) -> Control {
        Control {
            rate,
            capacity: None,
            share: Share::default(),
            noisy: false,
            phase: Phase::Rising { since: now },
            resume: RESUME,
            standing: None,
            still: Still::default(),
            free: rate,
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

    /// Follows the observations up to `now`. If what packets wait turns out to be no queue, returns the rate before they
    /// waited.
    pub(super) fn update(&mut self, mut view: View, now: i64) -> Option<f64> {
        self.noisy = view.jitter > NOISY;
        if self.noisy {
            view.slope = 0.0;
        }
        let passed = (now - self.last).clamp(0, MAX_STEP);
        self.last = now;
        view.acked.into_iter().for_each(|acked| self.share.arrived(acked, now));
        match self.phase {
            Phase::Draining { since, left } => {
                if self.is_no_queue(&view, since, left) {
                    self.phase = Phase::Rising { since: now };
                    self.rate = self.rate.max(left * self.resume);
                    self.capacity = None;
                    return Some(self.free);
                }
                self.drain(view, since, now);
            }
            Phase::Rising { since } => {
                if view.standing < EMPTY + view.jitter {
                    self.free = self.rate;
                }
                if now - since > 2 * TOO_SOON {
                    self.resume = RESUME;
                }
                if view.sent.is_some_and(|sent| sent < LIMITED * self.rate) {
                    if self.watch_limited(&view, now) {
                        return Some(self.free);
                    }
                } else {
                    self.standing = None;
                    if self.is_congested(&view) {
                        self.lower(view, since, now);
                        return None;
                    }
                }
                self.rise(view, passed);
            }
        }
        None
    }

    /// Whether packets wait as long as before although less is sent than passed, since the encoder follows.
    fn is_no_queue(&mut self, view: &View, since: i64, left: f64) -> bool {
        if view.latest < since + MIN_DRAINING || !view.arrives() {
            self.still.begin();
            return false;
        }
        let drain = view.sent.map_or(0.0, |sent| (1.0 - sent / left) / self.times(left).max(1.0));
        self.still.add(view.latest, view.standing, view.jitter, drain)
    }

    /// Whether more is sent than passes. Growing delays alone do not prove that: a key frame or jitter also makes them
    /// grow.
    fn is_congested(&self, view: &View) -> bool {
        // A burst that takes long shows this before the next one has to wait for it.
        let slow = view.busy.is_some_and(|busy| busy < SLOWER * self.rate);
        if slow && view.waited > LONG + 2 * view.jitter {
            return true;
        }
        view.usage == Usage::Over && self.is_queued(view)
    }

    /// Whether packets wait although they left one by one.
    pub(super) fn is_queued(&self, view: &View) -> bool {
        let packet = (PACKET / self.rate) as i64;
        view.standing > EMPTY + view.jitter + packet + if view.probing { PROBE } else { 0 }
    }

    /// Watches a path that is little used. Then the rate that passes measures nothing, and nothing needs to drain. But
    /// if every packet waits all the time, the path carries even less than that. Returns whether the wait is no queue.
    fn watch_limited(&mut self, view: &View, now: i64) -> bool {
        if view.standing <= STANDING + view.jitter {
            self.standing = None;
            self.still.begin();
            return false;
        }
        let since = *self.standing.get_or_insert(now);
        let arrives = view.arrives();
        let drain = if arrives { 1.0 - LIMITED } else { 0.0 };
        if self.still.add(view.latest, view.standing, view.jitter, drain) {
            return true;
        }
        let stays = arrives && self.still.span() >= STANDING_TIME / 2;
        if now - since >= STANDING_TIME
            && !stays
            && let Some(passes) = view.busy
        {
            self.rate = self.rate.min(passes);
        }
        false
    }

    fn lower(&mut self, view: View, since: i64, now: i64) {
        let Some(passes) = view.passes() else { return };
        self.share.begin();
        self.note_queue(passes, view.slope);
        let left = self.left(passes, view.slope);
        if now - since < TOO_SOON {
            self.resume = (self.resume - STEP).max(MIN_RESUME);
        }
        let known = self.capacity.filter(|capacity| (left / capacity - 1.0).abs() < CHANGED);
        self.capacity = Some(known.map_or(left, |capacity| capacity + (left - capacity) * SMOOTH));
        self.rate = self.rate.min(left * view.drain(self.times(left)));
        self.still.begin();
        self.phase = Phase::Draining { since: now, left };
    }

    /// Sends less than passes until the queue is empty, and meanwhile measures what passes.
    fn drain(&mut self, view: View, since: i64, now: i64) {
        let empty = view.standing < EMPTY + view.jitter;
        if now - since >= MIN_DRAINING && empty || now - since > MAX_DRAINING {
            self.phase = Phase::Rising { since: now };
            self.rate = self.rate.max(self.capacity.unwrap_or(0.0) * self.resume);
        } else if let Some(passes) = view.passes().filter(|_| !empty) {
            let capacity = self.capacity.unwrap_or(passes);
            self.note_queue(passes, view.slope);
            let left = self.left(passes, view.slope).min(passes.max(capacity));
            // It falls while the queue still grows, and rises if the whole path turns out to be ours.
            let grows = view.slope > GROWS && left < capacity;
            let is_ours = !self.is_shared(passes) && left > capacity * (1.0 + CHANGED);
            let weight = if grows || is_ours { 1.0 } else { SMOOTH };
            let capacity = capacity + (left - capacity) * weight;
            self.capacity = Some(capacity);
            self.rate = self.rate.min(capacity * view.drain(self.times(capacity)));
        }
    }

    fn note_queue(&mut self, passes: f64, slope: f64) {
        if !self.noisy {
            self.share.queued(passes, slope);
        }
    }

    /// How many times this rate the whole path carries.
    fn times(&self, left: f64) -> f64 {
        if self.noisy { 1.0 } else { self.share.whole() / left }
    }

    /// What others leave to us if `passes` of ours gets through. If the wait hardly grows, both are about the same.
    fn left(&self, passes: f64, slope: f64) -> f64 {
        self.share.left(passes, if slope > 0.0 { (slope - FLAT).max(0.0) } else { slope })
    }

    /// What a probe found, without what it took from others; and whether there is no more.
    fn beside_others(&self, found: Found) -> (f64, bool) {
        if self.noisy {
            return (found.rate, found.saturated);
        }
        if found.saturated {
            return (UTILIZED * self.share.left(found.rate / UTILIZED, found.stretch), true);
        }
        let left = self.share.left(found.rate / (1.0 + found.stretch), found.stretch);
        if found.sure && left < UTILIZED * found.rate { (UTILIZED * left, true) } else { (found.rate, false) }
    }

    /// Whether others may use a part of a path on which `rate` passes.
    pub(super) fn is_shared(&self, rate: f64) -> bool {
        !self.noisy && self.share.is_shared(rate)
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
        if !found.sure && (surprises || self.is_shared(found.rate)) {
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

    /// Follows the verdict on losses.
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

    /// Sets the rate to one from another source.
    pub(super) fn set(&mut self, rate: f64) {
        self.rate = rate;
    }
}
