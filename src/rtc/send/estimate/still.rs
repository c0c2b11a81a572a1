//! Whether a wait is no queue: it stays the same although less is sent than the path carries, so the route is longer.

/// The wait stays the same if it varies by less than this, in µs, and jitter.
const SAME: i64 = 8_000;
/// The shortest time that shows it, in µs.
const SPAN: i64 = 500_000;
/// A queue would have become shorter by this multiple of what the wait may vary.
const EXCESS: f64 = 2.0;

/// The wait of recent packets while it hardly varied.
#[derive(Debug, Default)]
pub(super) struct Still {
    /// When the first of these packets left, and the least and the longest wait.
    seen: Option<(i64, i64, i64)>,
    /// When the latest left.
    latest: i64,
}

impl Still {
    /// Begins anew.
    pub(super) fn begin(&mut self) {
        self.seen = None;
    }

    /// For how long packets left of which the wait hardly varied, in µs.
    pub(super) fn span(&self) -> i64 {
        self.seen.map_or(0, |(since, ..)| self.latest - since)
    }

    /// Takes the wait of packets that left at `sent`. A queue would `drain` by this in each µs, in µs. Returns whether
    /// it is none.
    pub(super) fn add(&mut self, sent: i64, wait: i64, jitter: i64, drain: f64) -> bool {
        self.latest = sent;
        let varies = SAME + jitter / 2;
        let (since, least, most) = self.seen.unwrap_or((sent, wait, wait));
        let (least, most) = (least.min(wait), most.max(wait));
        if most - least > varies {
            self.seen = Some((sent, wait, wait));
            return false;
        }
        self.seen = Some((since, least, most));
        self.span() >= SPAN && drain * self.span() as f64 > EXCESS * varies as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for each 50 ms; returns when it was found to be no queue.
    fn feed(jitter: i64, drain: f64, wait: impl Fn(i64) -> i64) -> Option<i64> {
        let mut still = Still::default();
        (0..60).map(|step| step * 50_000).find(|at| still.add(*at, wait(*at), jitter, drain))
    }

    #[test]
    fn a_wait_that_stays_is_no_queue() {
        assert_eq!(feed(0, 0.2, |_| 100_000), Some(500_000));
        assert_eq!(feed(0, 0.02, |_| 100_000), Some(850_000), "it would hardly drain");
        assert_eq!(feed(20_000, 0.2, |at| 100_000 + at / 50_000 % 3 * 5_000), Some(500_000));
        assert_eq!(feed(0, 0.2, |at| if at < 400_000 { at / 4 } else { 100_000 }), Some(900_000));
    }

    #[test]
    fn a_wait_that_grows_or_shrinks_is_a_queue() {
        assert_eq!(feed(0, 0.12, |at| 400_000 - at / 10), None);
        assert_eq!(feed(0, 0.12, |at| 100_000 + at / 10), None);
        assert_eq!(feed(0, 0.0, |_| 100_000), None, "as much is sent as passes");
    }
}
