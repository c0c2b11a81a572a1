//! What others leave of a path that we share with them.
//!
//! A queue serves everybody by what they send. On a path that carries W, where we send s and others x, more than W
//! together, s·W/(s + x) of ours passes: more than the W - x that they leave. So what passes, and what a probe finds,
//! is too much to send on. How fast the wait grows, m = (s + x)/W - 1, tells the rest: with p for what passes,
//! W - x is p - m(W - p).
//!
//! W is what arrived at best of late, when others were quiet. Two moments of one queue correct it: 1/p is 1/W + x/W · 1/s,
//! a line of which each gives a point, since s is p(1 + m). On a path that became slower, p is the same in both.

/// What is older than one to two of these, in µs, is forgotten.
const SPAN: i64 = 30_000_000;
/// How much faster the wait must have grown at one of the two moments: then figures that are a few percent wrong give a
/// W that is a tenth wrong.
const APART: f64 = 0.2;
/// W found by them may be so much more.
const MARGIN: f64 = 1.05;
/// The path counts as shared if it carried so much more than passes.
const SHARED: f64 = 1.1;
/// A correction by more than this part of what passes is the fault of its figures.
const MOST: f64 = 0.8;

#[derive(Debug, Default)]
pub(super) struct Share {
    /// The most that arrived in the current span, and in the one before, in bit/s.
    best: f64,
    best_before: f64,
    since: i64,
    /// What passed when the wait grew fastest, and how fast it did.
    crowded: Option<(f64, f64)>,
}

impl Share {
    /// Notes what arrives on average.
    pub(super) fn arrived(&mut self, rate: f64, now: i64) {
        let passed = now - self.since;
        if passed >= SPAN {
            self.best_before = if passed < 2 * SPAN { self.best } else { 0.0 };
            (self.best, self.since) = (0.0, now);
        }
        self.best = self.best.max(rate);
    }

    /// What the whole path carries, as far as is known.
    pub(super) fn whole(&self) -> f64 {
        self.best.max(self.best_before)
    }

    /// A queue begins to be watched.
    pub(super) fn begin(&mut self) {
        self.crowded = None;
    }

    /// Takes what passes of ours while a queue stands, and by which part of the time the wait grows in it.
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

    /// What others leave where `passes` of ours does while the wait grows by this part of the time.
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
