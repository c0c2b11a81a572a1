//! How much arrives: the average rate, and the rate while the path was busy without a pause.

use super::arrival::Packet;

/// The average is over ten of these, in µs: 500 ms, which smooths frames at 30 fps and one lost feedback.
const BUCKET: i64 = 50_000;
const BUCKETS: usize = 10;
/// The first average is available after this time, in µs.
const MIN_SPAN: i64 = 150_000;
/// How far back the busy rate looks, in µs of busy time. A shorter time follows a drop of the path faster, a longer one
/// smooths jitter; libwebrtc averages over 150 ms.
const BUSY_SPAN: f64 = 150_000.0;
/// The minimum busy time for a measurement, in µs.
const MIN_BUSY: f64 = 40_000.0;
/// The age at which the busy rate is obsolete, in µs.
const BUSY_AGE: i64 = 1_000_000;

/// Bytes over a sliding window.
#[derive(Debug, Default)]
pub(super) struct Meter {
    bytes: [u64; BUCKETS],
    sum: u64,
    /// The current bucket, counted from the clock's zero, and the time of the first byte.
    current: Option<(i64, i64)>,
}

impl Meter {
    pub(super) fn add(&mut self, at: i64, size: u16) {
        let bucket = at.div_euclid(BUCKET);
        let (current, _) = *self.current.get_or_insert((bucket, at));
        if bucket > current {
            for passed in 1..=(bucket - current).min(BUCKETS as i64) {
                let old = &mut self.bytes[(current + passed).rem_euclid(BUCKETS as i64) as usize];
                self.sum -= std::mem::take(old);
            }
            if bucket - current > 2 * BUCKETS as i64 {
                self.current = Some((bucket, at));
            } else if let Some((current, _)) = &mut self.current {
                *current = bucket;
            }
        }
        // A late packet counts now.
        let bucket = bucket.max(current);
        self.bytes[bucket.rem_euclid(BUCKETS as i64) as usize] += u64::from(size);
        self.sum += u64::from(size);
    }

    /// The rate over the last half second, or the available part of it, in bit/s.
    pub(super) fn rate(&self) -> Option<f64> {
        let (current, first) = self.current?;
        let end = (current + 1) * BUCKET;
        // The current bucket is not complete, so it only counts if there is little else.
        let open = self.bytes[current.rem_euclid(BUCKETS as i64) as usize];
        let span = (end - BUCKET - first.max(end - BUCKETS as i64 * BUCKET)).max(0);
        (span >= MIN_SPAN).then(|| (self.sum - open) as f64 * 8e6 / span as f64)
    }
}

/// Bytes while the path was busy. If a packet reached the queue before the previous one had left it, the time between
/// their arrivals is the time that the path took for the second: this is the rate of the path, whatever the application
/// sends. Over several frames without a pause, it is our share of that rate.
#[derive(Debug, Default)]
pub(super) struct Busy {
    bits: f64,
    time: f64,
    /// The arrival of the previous packet.
    last: Option<i64>,
    /// The time of the latest packet, and of the latest that waited.
    newest: i64,
    at: i64,
}

impl Busy {
    /// Takes a packet that arrived; `base` is the delay of one that did not wait.
    pub(super) fn add(&mut self, packet: &Packet, base: i64) {
        self.newest = self.newest.max(packet.arrived);
        let Some(last) = self.last else {
            self.last = Some(packet.arrived);
            return;
        };
        let between = packet.arrived - last;
        if between < 0 {
            // It was overtaken: its bytes were carried in the meantime.
            self.bits += f64::from(packet.size) * 8.0;
            return;
        }
        self.last = Some(packet.arrived);
        if packet.sent + base >= last {
            return;
        }
        let keep = (1.0 - between as f64 / BUSY_SPAN).max(0.0);
        self.bits = self.bits * keep + f64::from(packet.size) * 8.0;
        self.time = self.time * keep + between as f64;
        self.at = packet.arrived;
    }

    /// The next arrival is not known.
    pub(super) fn interrupt(&mut self) {
        self.last = None;
    }

    /// The rate in bit/s, if the path was busy recently.
    pub(super) fn rate(&self) -> Option<f64> {
        let fresh = self.time >= MIN_BUSY && self.newest - self.at < BUSY_AGE;
        fresh.then(|| self.bits * 1e6 / self.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(rate: Option<f64>, expected: f64, part: f64) {
        let rate = rate.expect("measured");
        assert!((rate / expected - 1.0).abs() < part, "{rate} instead of {expected}");
    }

    #[test]
    fn the_average_follows_within_half_a_second_and_ends_with_the_traffic() {
        let mut meter = Meter::default();
        assert_eq!(meter.rate(), None);
        // 1250 bytes every 10 ms are 1 Mbit/s.
        (0..100).for_each(|packet| meter.add(packet * 10_000, 1250));
        near(meter.rate(), 1e6, 0.03);
        (0..60).for_each(|packet| meter.add(1_000_000 + packet * 10_000, 2500));
        near(meter.rate(), 2e6, 0.03);
        meter.add(900_000, 1250);
        near(meter.rate(), 2e6, 0.03);
        meter.add(60_000_000, 1250);
        assert_eq!(meter.rate(), None, "a pause begins anew");
    }

    #[test]
    fn the_first_bytes_are_not_spread_over_a_whole_window() {
        let mut meter = Meter::default();
        (0..26).for_each(|packet| meter.add(7_777 + packet * 10_000, 1250));
        near(meter.rate(), 1e6, 0.1);
    }

    /// Frames of `size` packets every 33 ms over a path of `rate` bit/s with a delay of 20 ms.
    fn frames(busy: &mut Busy, from: i64, count: i64, size: i64, rate: f64) {
        let mut free = 0;
        for frame in from..from + count {
            for _ in 0..size {
                let sent = frame * 33_333;
                free = free.max(sent + 20_000) + (1200.0 * 8e6 / rate) as i64;
                busy.add(&Packet { number: 0, sent, arrived: free, size: 1200, overtaken: false }, 20_000);
            }
        }
    }

    #[test]
    fn the_busy_rate_is_that_of_the_path_though_little_is_sent() {
        let mut busy = Busy::default();
        assert_eq!(busy.rate(), None);
        // 0.86 Mbit/s over 3 Mbit/s.
        frames(&mut busy, 0, 60, 3, 3e6);
        near(busy.rate(), 3e6, 0.05);
        // The path falls below the sending rate.
        frames(&mut busy, 60, 10, 3, 0.5e6);
        near(busy.rate(), 0.5e6, 0.1);
    }

    #[test]
    fn packets_that_never_wait_say_nothing() {
        let mut busy = Busy::default();
        frames(&mut busy, 0, 100, 1, 3e6);
        assert_eq!(busy.rate(), None);
        frames(&mut busy, 100, 60, 3, 3e6);
        assert!(busy.rate().is_some());
        frames(&mut busy, 160, 60, 1, 3e6);
        assert_eq!(busy.rate(), None, "too long ago");
    }
}
