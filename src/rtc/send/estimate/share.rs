//! What is left to us on a path that we share with others.
//!
//! A queue serves everybody in proportion to what they send. If a path carries W, and we send s and others x, together
//! more than W, then s·W/(s + x) of ours passes: more than the W - x that they leave. So what passes, and what a probe
//! finds, is too much to continue with. The growth of the wait, m = (s + x)/W - 1, is the missing part: with p for what
//! passes, W - x is p - m(W - p).
//!
//! W is the best recent rate of arrival, while others were quiet. Two moments of one queue correct it: 1/p is
//! 1/W + x/W · 1/s, a line on which each moment is a point, since s is p(1 + m). If the path has become slower, p is the
//! same at both.

/// Arrivals older than one to two of these, in µs, are forgotten.
const SPAN: i64 = 30_000_000;
/// How much faster the wait must have grown at one of the two moments, so that errors of a few percent cause an error
/// of a tenth in W.
const APART: f64 = 0.2;
/// A W found in this way may be larger by this factor.
const MARGIN: f64 = 1.05;
/// The path counts as shared if it carried this multiple of what passes.
const SHARED: f64 = 1.1;
/// A correction by more than this part of what passes is an error of measurement.
const MOST: f64 = 0.8;

#[derive(Debug, Default)]
pub(super) struct Share {
    /// The maximum rate of arrival in the current span and in the previous one, in bit/s.
    best: f64,
    best_before: f64,
    since: i64,
    /// What passed when the wait grew fastest, and how fast it grew.
    crowded: Option<(f64, f64)>,
}

impl Share {
    /// Records the average rate of arrival.
    pub(super) fn arrived(&mut self, rate: f64, now: i64) {
        let passed = now - self.since;
        if passed >= SPAN {
            self.best_before = if passed < 2 * SPAN { self.best } else { 0.0 };
            (self.best, self.since) = (0.0, now);
        }
        self.best = self.best.max(rate);
    }

    /// How much the whole path carries, as far as is known.
    pub(super) fn whole(&self) -> f64 {
        self.best.max(self.best_before)
    }

    /// A new queue is watched from now on.
    pub(super) fn begin(&mut self) {
        self.crowded = None;
    }

    /// Takes what passes of ours while there is a queue, and the growth of the wait in it, in µs per µs.
    pub(super) fn queued(&mut self, passes: f64, slope: f64) {
        let Some((before, fastest)) = self.crowded.filter(|(_, fastest)| *fastest >= slope) else {
            self.crowded = Some((passes, slope));
            return;
        };
        if fastest - slope <= APART || fastest <= 0.0 {
            return;
        }
        let point = |passes: f64, slope: f64| (1.0 / (passes * (1.0 + slope).max(0.1)), 1.0 / passes);
        let ((x, y), (to_x, to_y)) = (point(before, fastest), point(passes, slope));
        // Sent faster, no less passes.
        let rise = ((to_y - y) / (to_x - x)).max(0.0);
        let whole = MARGIN / (y - rise * x).max(f64::MIN_POSITIVE);
        let whole = whole.max(before).max(passes);
        (self.best, self.best_before) = (self.best.min(whole), self.best_before.min(whole));
    }

    /// What others leave to us if `passes` of ours gets through while the wait grows by `slope`, in µs per µs.
    pub(super) fn left(&self, passes: f64, slope: f64) -> f64 {
        let others = (self.whole() - passes).max(0.0);
        (passes - others * slope).max(passes * (1.0 - MOST))
    }

    /// Whether others may use a part of a path on which `rate` passes.
    pub(super) fn is_shared(&self, rate: f64) -> bool {
        self.whole() > rate * SHARED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What passes, and the growth of the wait, where `sent` meets `others` on a path of `whole`.
    fn queue(whole: f64, sent: f64, others: f64) -> (f64, f64) {
        (sent * whole / (sent + others), (sent + others) / whole - 1.0)
    }

    fn near(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 0.06, "{found}, not {expected}");
    }

    #[test]
    fn what_others_leave_is_found_from_a_queue_that_grows_or_drains() {
        let mut share = Share::default();
        share.arrived(3e6, 0);
        for (sent, others) in [(3e6, 1e6), (2.5e6, 1e6), (1e6, 2.5e6), (1e6, 1.5e6), (3e6, 0.1e6)] {
            let (passes, slope) = queue(3e6, sent, others);
            near(share.left(passes, slope), 3e6 - others);
        }
        assert!(share.is_shared(2e6) && !share.is_shared(2.9e6));
    }

    #[test]
    fn a_path_that_became_slower_is_told_from_one_that_others_use() {
        for (whole, others) in [(1.5e6, 0.0), (1.5e6, 0.5e6), (3e6, 2e6), (3e6, 1e6)] {
            let mut share = Share::default();
            share.arrived(3e6, 0);
            share.begin();
            for sent in [2.5e6, 3e6, 2e6, 1e6, 0.4e6] {
                let (passes, slope) = queue(whole, sent, others);
                share.queued(passes, slope);
            }
            near(share.whole(), whole);
        }
    }

    #[test]
    fn the_best_is_forgotten_after_a_minute() {
        let mut share = Share::default();
        (0..10).for_each(|second| share.arrived(3e6, second * 1_000_000));
        (10..70).for_each(|second| share.arrived(1e6, second * 1_000_000));
        assert_eq!(share.whole(), 1e6);
        share.arrived(2e6, 1_000_000_000);
        assert_eq!(share.whole(), 2e6, "after a pause");
    }

    #[test]
    fn figures_that_fit_nothing_do_no_harm() {
        let mut share = Share::default();
        share.arrived(3e6, 0);
        share.queued(2e6, 0.5);
        share.queued(2.5e6, -0.5);
        assert!((2.5e6..=3e6).contains(&share.whole()), "{}", share.whole());
        share.queued(1.0, -5.0);
        assert!((2e6..=3e6).contains(&share.whole()), "{}", share.whole());
        assert!(share.left(1e6, 100.0) > 0.0);
    }
}
