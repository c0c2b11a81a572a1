//! Whether delays grow: the slope of a line through the latest samples, against an adaptive threshold.

use super::arrival::Sample;

/// The line goes through the samples of this time, in µs. These are ten at 30 frames a second; with bursts of 5 ms, it
/// spans as much as the 60 deltas of libwebrtc.
const WINDOW: i64 = 350_000;
/// The same for the current growth: the time over which the passing rate is measured.
const LATELY: i64 = 150_000;
/// The maximum number of samples.
const MAX_SAMPLES: usize = 64;
/// The minimum number of samples for a line.
const MIN_SAMPLES: usize = 5;
/// A slope (ms/ms) times this is compared with the threshold in ms: libwebrtc's gain of 4 at 60 deltas.
const GAIN: f64 = 240.0;
/// The initial threshold and its bounds, in ms (draft-ietf-rmcat-gcc-02, section 5.4).
const THRESHOLD: f64 = 12.5;
const MIN_THRESHOLD: f64 = 6.0;
const MAX_THRESHOLD: f64 = 600.0;
/// How fast the threshold follows a trend above and below it, per ms (same section; libwebrtc's values).
const UP: f64 = 0.0087;
const DOWN: f64 = 0.039;
/// A trend this far above the threshold (ms) is congestion, which the threshold does not follow.
const SPIKE: f64 = 15.0;
/// The trend must be above the threshold for this time, in µs, and in at least two samples.
const OVERUSE_TIME: i64 = 10_000;

/// What the delays show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Usage {
    #[default]
    Normal,
    /// Delays grow: more is sent than passes.
    Over,
}

#[derive(Debug)]
pub(super) struct Trend {
    samples: [(f64, f64); MAX_SAMPLES],
    /// The oldest of them, and how many there are.
    oldest: usize,
    count: usize,
    threshold: f64,
    last: Option<i64>,
    /// Since when the trend has been above the threshold, the samples since, and the previous trend.
    over: Option<(i64, u32)>,
    previous: f64,
    usage: Usage,
}

impl Trend {
    pub(super) fn new() -> Trend {
        Trend {
            samples: [(0.0, 0.0); MAX_SAMPLES],
            oldest: 0,
            count: 0,
            threshold: THRESHOLD,
            last: None,
            over: None,
            previous: 0.0,
            usage: Usage::Normal,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// The recent growth of delays, in µs per µs.
    pub(super) fn growth(&self) -> f64 {
        self.slope(LATELY)
    }

    /// Takes the next sample, which left after the previous ones.
    pub(super) fn add(&mut self, sample: Sample) -> Usage {
        if self.count == MAX_SAMPLES {
            self.forget_oldest();
        }
        let (sent, delay) = (sample.sent as f64 / 1e3, sample.delay as f64 / 1e3);
        self.samples[(self.oldest + self.count) % MAX_SAMPLES] = (sent, delay);
        self.count += 1;
        while self.samples[self.oldest].0 < sent - WINDOW as f64 / 1e3 {
            self.forget_oldest();
        }
        let trend = self.slope(WINDOW) * GAIN;
        self.usage = self.judge(trend, sample.sent);
        self.adapt(trend, sample.sent);
        self.previous = trend;
        self.usage
    }

    fn judge(&mut self, trend: f64, now: i64) -> Usage {
        if trend <= self.threshold {
            self.over = None;
            return Usage::Normal;
        }
        let (since, count) = self.over.map_or((now, 1), |(since, count)| (since, count + 1));
        self.over = Some((since, count));
        if count >= 2 && now - since >= OVERUSE_TIME && trend >= self.previous {
            return Usage::Over;
        }
        // Overuse lasts until the trend turns.
        if self.usage == Usage::Over && trend >= self.previous { Usage::Over } else { Usage::Normal }
    }

    fn adapt(&mut self, trend: f64, now: i64) {
        let passed = self.last.replace(now).map_or(0, |last| now - last).clamp(0, 100_000);
        let above = trend.abs() - self.threshold;
        if above > SPIKE {
            return;
        }
        let speed = if above < 0.0 { DOWN } else { UP };
        self.threshold =
            (self.threshold + speed * above * passed as f64 / 1e3).clamp(MIN_THRESHOLD, MAX_THRESHOLD);
    }

    /// The slope of the least-squares line through the samples of the last `span` µs, in µs per µs.
    fn slope(&self, span: i64) -> f64 {
        if self.count < MIN_SAMPLES {
            return 0.0;
        }
        let since = self.samples[(self.oldest + self.count - 1) % MAX_SAMPLES].0 - span as f64 / 1e3;
        let (older, newer) = self.samples.split_at(self.oldest);
        let wrapped = (self.oldest + self.count).saturating_sub(MAX_SAMPLES);
        let samples = newer.iter().take(self.count).chain(&older[..wrapped]);
        // Relative to the oldest: squares of small numbers keep their precision.
        let (sent, delay) = self.samples[self.oldest];
        let (mut n, mut x, mut y, mut xx, mut xy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for sample in samples.filter(|sample| sample.0 >= since) {
            n += 1.0;
            let (dx, dy) = (sample.0 - sent, sample.1 - delay);
            x += dx;
            y += dy;
            xx += dx * dx;
            xy += dx * dy;
        }
        let spread = n * xx - x * x;
        if spread < 1.0 { 0.0 } else { (n * xy - x * y) / spread }
    }

    fn forget_oldest(&mut self) {
        self.oldest = (self.oldest + 1) % MAX_SAMPLES;
        self.count -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a delay (µs) for each frame at 30 fps. Returns the result after each.
    fn feed(trend: &mut Trend, from: i64, frames: i64, delay: impl Fn(i64) -> i64) -> Vec<Usage> {
        let frames = from..from + frames;
        frames.map(|frame| trend.add(Sample { sent: frame * 33_333, delay: delay(frame - from) })).collect()
    }

    #[test]
    fn the_slope_is_that_of_the_line() {
        let mut trend = Trend::new();
        feed(&mut trend, 0, 200, |frame| frame * 3_333);
        assert!((trend.slope(WINDOW) - 0.1).abs() < 1e-3, "{}", trend.slope(WINDOW));
        let mut dense = Trend::new();
        for sent in 0..1000 {
            dense.add(Sample { sent: sent * 5_000, delay: -sent * 1_000 });
        }
        assert!((dense.slope(WINDOW) + 0.2).abs() < 1e-6, "across the end of the ring");
    }

    #[test]
    fn a_steep_rise_is_overuse_within_five_frames_until_it_turns() {
        let mut trend = Trend::new();
        assert!(feed(&mut trend, 0, 100, |_| 20_000).iter().all(|usage| *usage == Usage::Normal));
        // Half of the capacity is gone: a frame takes twice as long.
        let found = feed(&mut trend, 100, 12, |frame| 20_000 + frame * 33_333);
        assert!(found[..5].contains(&Usage::Over), "{found:?}");
        let found = feed(&mut trend, 112, 12, |frame| 420_000 - frame * 33_333);
        assert!(!found[4..].contains(&Usage::Over), "{found:?}");
    }

    #[test]
    fn a_slow_rise_is_found_and_a_constant_queue_is_none() {
        let mut trend = Trend::new();
        feed(&mut trend, 0, 100, |_| 20_000);
        let found = feed(&mut trend, 100, 60, |frame| 20_000 + frame * 33_333 / 20);
        assert!(found[..30].contains(&Usage::Over), "5 % too much within a second: {found:?}");
        let found = feed(&mut trend, 200, 100, |_| 120_000);
        assert!(!found[20..].contains(&Usage::Over), "{found:?}");
    }

    #[test]
    fn the_threshold_follows_jitter_but_no_spike() {
        let mut trend = Trend::new();
        feed(&mut trend, 0, 1000, |frame| (frame * 7_919) % 30_000);
        let noisy = trend.threshold;
        let late = feed(&mut trend, 1000, 300, |frame| (frame * 7_919) % 30_000);
        let over = late.iter().filter(|usage| **usage == Usage::Over).count();
        assert!(over < 15, "{over} of 300 with jitter of 30 ms, threshold {noisy}");
        let before = trend.threshold;
        feed(&mut trend, 1300, 5, |frame| frame * 100_000);
        assert!(trend.threshold < before + 10.0, "{before} to {}", trend.threshold);
        feed(&mut trend, 1305, 900, |_| 0);
        assert_eq!(trend.threshold, MIN_THRESHOLD);
    }
}
