//! How long packets queue on the path: their delay above the recent minimum.

use super::arrival::Sample;

/// The minimum delay is remembered for ten to eleven of these, in µs: long enough for the queue to become empty once,
/// short enough to follow a new route.
const BUCKET: i64 = 1_000_000;
const BUCKETS: usize = 10;
/// The current wait is the minimum delay of the samples in this time, in µs (jitter only ever adds).
const RECENT: i64 = 150_000;
/// The maximum number of samples for that: one every 5 ms.
const MAX_RECENT: usize = 32;

#[derive(Debug)]
pub(super) struct Queue {
    /// The minimum delay of each second, `i64::MAX` if there was no sample.
    least: [i64; BUCKETS],
    /// The current second.
    second: i64,
    base: i64,
    recent: [Sample; MAX_RECENT],
    next: usize,
    /// How much delays scatter, smoothed, in µs.
    jitter: f64,
    last: Option<i64>,
}

impl Queue {
    pub(super) fn new() -> Queue {
        let never = Sample { sent: i64::MIN, delay: i64::MAX };
        Queue {
            least: [i64::MAX; BUCKETS],
            second: i64::MIN,
            base: i64::MAX,
            recent: [never; MAX_RECENT],
            next: 0,
            jitter: 0.0,
            last: None,
        }
    }

    pub(super) fn add(&mut self, sample: Sample) {
        let second = sample.sent.div_euclid(BUCKET);
        if second != self.second {
            let passed = second.saturating_sub(self.second).clamp(1, BUCKETS as i64);
            for back in 0..passed {
                self.least[(second - back).rem_euclid(BUCKETS as i64) as usize] = i64::MAX;
            }
            self.second = second;
            self.base = self.least.iter().copied().min().unwrap_or(i64::MAX);
        }
        let bucket = &mut self.least[second.rem_euclid(BUCKETS as i64) as usize];
        *bucket = sample.delay.min(*bucket);
        self.base = self.base.min(sample.delay);
        self.recent[self.next] = sample;
        self.next = (self.next + 1) % MAX_RECENT;
        if let Some(last) = self.last.replace(sample.delay) {
            // As in RFC 3550, 6.4.1.
            self.jitter += ((sample.delay - last).abs() as f64 - self.jitter) / 16.0;
        }
    }

    /// The minimum delay of the last ten seconds, including the offset between the clocks.
    pub(super) fn base(&self) -> Option<i64> {
        (self.base != i64::MAX).then_some(self.base)
    }

    /// How long every packet waits now, in µs.
    pub(super) fn standing(&self) -> i64 {
        let Some(newest) = self.recent.iter().map(|sample| sample.sent).max() else { return 0 };
        let recent = self.recent.iter().filter(|sample| sample.sent >= newest.saturating_sub(RECENT));
        match recent.map(|sample| sample.delay).min() {
            Some(delay) if delay != i64::MAX => delay - self.base,
            _ => 0,
        }
    }

    /// What every packet waits now is no queue: it is the minimum delay.
    pub(super) fn rebase(&mut self) {
        self.base += self.standing();
        self.least = [i64::MAX; BUCKETS];
        if self.base != i64::MAX {
            self.least[self.second.rem_euclid(BUCKETS as i64) as usize] = self.base;
        }
    }

    /// When the latest sample left.
    pub(super) fn latest(&self) -> i64 {
        self.recent[(self.next + MAX_RECENT - 1) % MAX_RECENT].sent
    }

    /// How much the delays of successive groups differ, smoothed, in µs.
    pub(super) fn jitter(&self) -> i64 {
        self.jitter as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(queue: &mut Queue, from: i64, to: i64, delay: impl Fn(i64) -> i64) {
        for sent in (from..to).step_by(20_000) {
            queue.add(Sample { sent, delay: delay(sent) });
        }
    }

    #[test]
    fn jitter_is_not_waiting() {
        let mut queue = Queue::new();
        assert_eq!((queue.base(), queue.standing()), (None, 0));
        fill(&mut queue, 0, 3_000_000, |sent| -5_000 + sent / 20_000 % 5 * 8_000);
        assert_eq!((queue.base(), queue.standing()), (Some(-5_000), 0));
        assert!((6_000..20_000).contains(&queue.jitter()), "{}", queue.jitter());
    }

    #[test]
    fn a_queue_stands_until_it_is_drained() {
        let mut queue = Queue::new();
        fill(&mut queue, 0, 1_000_000, |_| 20_000);
        fill(&mut queue, 1_000_000, 2_000_000, |sent| 20_000 + (sent - 1_000_000) / 10);
        assert!((80_000..100_000).contains(&queue.standing()), "{}", queue.standing());
        fill(&mut queue, 2_000_000, 2_100_000, |_| 21_000);
        assert_eq!(queue.standing(), 1_000);
    }

    #[test]
    fn a_longer_route_becomes_the_base() {
        let mut queue = Queue::new();
        fill(&mut queue, 0, 5_000_000, |_| 20_000);
        fill(&mut queue, 5_000_000, 13_900_000, |_| 90_000);
        assert_eq!(queue.standing(), 70_000);
        fill(&mut queue, 13_900_000, 15_500_000, |_| 90_000);
        assert_eq!((queue.base(), queue.standing()), (Some(90_000), 0));
        fill(&mut queue, 15_500_000, 16_000_000, |_| 150_000);
        queue.rebase();
        assert_eq!((queue.base(), queue.standing()), (Some(150_000), 0), "known to be the route");
        fill(&mut queue, 16_000_000, 16_100_000, |_| 120_000);
        assert_eq!((queue.base(), queue.standing()), (Some(120_000), 0));
        fill(&mut queue, 100_000_000, 100_010_000, |_| 30_000);
        assert_eq!(queue.base(), Some(30_000), "after a pause");
    }
}
