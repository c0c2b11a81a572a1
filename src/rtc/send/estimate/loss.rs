//! Interprets losses: either too much is sent, or the path loses this many packets at any rate.
//!
//! Both look the same until less is sent. So a loss lowers the rate once, to what got through, as a trial: if the loss
//! ends, the rate was the cause and stays low; if not, the path causes it and the old rate returns.
//!
//! ```text
//!            loss                    less of it
//! Watching ────────▶ Trial ─────┬──────────────▶ Watching, at the lower rate
//!                               │ as much as before
//!                               └──────────────▶ Watching, at the old rate, loss attributed to the path
//! ```

/// Loss beyond the path's own that causes a reaction (draft-ietf-rmcat-gcc-02, section 6: below 2 % all is well).
const LOW: f64 = 0.02;
/// Loss that causes a reaction without further evidence (same section).
const HIGH: f64 = 0.1;
/// The length of an observation in µs and packets; a short one is enough if the loss is high.
const WINDOW: i64 = 1_000_000;
const PACKETS: u32 = 50;
/// A trial takes longer, since its result is compared.
const TRIAL_PACKETS: u32 = 100;
const SHORT_WINDOW: i64 = 200_000;
const SHORT_PACKETS: u32 = 20;
/// An observation that is still too small after this time, in µs, is used as it is.
const LONG_WINDOW: i64 = 4_000_000;
/// Up to this many losses may be chance.
const CHANCE: f64 = 3.0;
/// A trial sends this part of what got through, so that the queue drains.
const TRIAL: f64 = 0.95;
/// The encoder's reaction time in µs; packets that left earlier say nothing about the trial.
const SETTLE: i64 = 250_000;
/// If this part of the loss remains during a trial, the rate was not the cause.
const REMAINS: f64 = 0.7;
/// The maximum loss of a path itself: with more it could not carry video, so more likely its queue is too short for our
/// bursts.
const MAX_OWN: f64 = 0.3;
/// Weight of a report in the smoothed loss, and of a packet: a second at 2 Mbit/s counts as much as one report.
const SMOOTH: f64 = 0.3;
const SMOOTH_PACKET: f64 = 1.0 / 500.0;
/// Weight of a packet in the recent loss: within about 20 packets, a full queue differs from a path that loses 5 %.
const RECENT: f64 = 1.0 / 25.0;

/// What to do about the rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Lower it to this, in bit/s.
    Lower(f64),
    /// The rate was lowered in vain: restore this one.
    Restore(f64),
}

#[derive(Clone, Copy, Debug)]
struct Trial {
    /// The previous rate and loss.
    rate: f64,
    loss: f64,
}

#[derive(Debug, Default)]
pub(super) struct Loss {
    /// The current observation.
    lost: u32,
    all: u32,
    since: i64,
    /// Packets that left earlier do not count.
    from: i64,
    smoothed: f64,
    recent: f64,
    /// Loss of the path itself, at any rate.
    own: f64,
    trial: Option<Trial>,
}

impl Loss {
    /// Records what happened to a packet that left at `sent`.
    pub(super) fn add(&mut self, sent: i64, lost: bool) {
        let part = f64::from(u8::from(lost));
        self.smoothed += (part - self.smoothed) * SMOOTH_PACKET;
        self.recent += (part - self.recent) * RECENT;
        if sent >= self.from {
            self.all += 1;
            self.lost += u32::from(lost);
        }
    }

    /// A packet that was counted as lost arrived after all.
    pub(super) fn correct(&mut self, sent: i64) {
        self.smoothed = (self.smoothed - SMOOTH_PACKET).max(0.0);
        self.recent = (self.recent - RECENT).max(0.0);
        if sent >= self.from {
            self.lost = self.lost.saturating_sub(1);
        }
    }

    /// Judges the records up to `now`, with `rate` bit/s allowed. If packets are `queued`, losses are never the path's
    /// own.
    pub(super) fn judge(&mut self, rate: f64, queued: bool, now: i64) -> Option<Verdict> {
        if self.all == 0 {
            self.since = now;
            return None;
        }
        let passed = now - self.since;
        let loss = f64::from(self.lost) / f64::from(self.all);
        let by_chance = f64::from(self.all) * self.own + CHANCE;
        let enough = if self.trial.is_some() { TRIAL_PACKETS } else { PACKETS };
        let long = passed >= WINDOW && self.all >= enough || passed >= LONG_WINDOW;
        let urgent = passed >= SHORT_WINDOW
            && self.all >= SHORT_PACKETS
            && self.trial.is_none()
            && self.excess(loss) > HIGH
            && f64::from(self.lost) > by_chance;
        if !long && !urgent {
            return None;
        }
        let significant = f64::from(self.lost) > by_chance;
        (self.lost, self.all, self.since) = (0, 0, now);
        self.observe(loss, significant, rate, queued, now)
    }

    /// Takes a receiver report instead of records of packets.
    pub(super) fn report(&mut self, loss: f64, rate: f64, now: i64) -> Option<Verdict> {
        self.smoothed += (loss - self.smoothed) * SMOOTH;
        if now < self.from {
            return None;
        }
        self.observe(loss, true, rate, false, now)
    }

    fn observe(
        &mut self,
        loss: f64,
        significant: bool,
        rate: f64,
        queued: bool,
        now: i64,
    ) -> Option<Verdict> {
        if let Some(trial) = self.trial.take() {
            if queued || self.excess(loss) < self.excess(trial.loss) * REMAINS {
                return None;
            }
            self.own = loss.min(trial.loss).min(MAX_OWN);
            return Some(Verdict::Restore(trial.rate));
        }
        if loss < self.own {
            self.own += (loss - self.own) * SMOOTH;
        }
        let excess = self.excess(loss);
        if excess < LOW || !significant {
            return None;
        }
        self.trial = Some(Trial { rate, loss });
        self.from = now + SETTLE;
        Some(Verdict::Lower(rate * (1.0 - excess) * TRIAL))
    }

    /// The rate was lowered for another reason: packets sent before say nothing about it.
    pub(super) fn settle(&mut self, now: i64) {
        (self.lost, self.all, self.since) = (0, 0, now);
        self.from = now + SETTLE;
        self.trial = None;
    }

    /// The total loss, smoothed; includes the path's own.
    pub(super) fn smoothed(&self) -> f64 {
        self.smoothed
    }

    /// The recent loss beyond the path's own.
    pub(super) fn recent_excess(&self) -> f64 {
        self.excess(self.recent)
    }

    /// The loss of the path itself, at any rate.
    pub(super) fn own(&self) -> f64 {
        self.own
    }

    /// The lost part of the packets that the path itself does not lose.
    fn excess(&self, loss: f64) -> f64 {
        ((loss - self.own) / (1.0 - self.own).max(0.01)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simulates a path that loses `own` of the packets, and everything beyond `capacity`, with a sender that sends
    /// packets of 1200 bytes at the allowed rate. Returns the allowed rates, one for each 50 ms.
    fn run(loss: &mut Loss, mut rate: f64, steps: std::ops::Range<i64>, capacity: f64, own: f64) -> Vec<f64> {
        let (mut owed, mut lost) = (0.0, 0.0);
        steps
            .map(|step| {
                let now = step * 50_000;
                owed += rate * 0.05 / 9600.0;
                while owed >= 1.0 {
                    owed -= 1.0;
                    lost += 1.0 - (1.0 - own) * (capacity / rate).min(1.0);
                    loss.add(now - 50_000, lost >= 1.0);
                    lost -= f64::from(lost >= 1.0);
                }
                match loss.judge(rate, false, now) {
                    Some(Verdict::Lower(to) | Verdict::Restore(to)) => rate = to,
                    None => {}
                }
                rate
            })
            .collect()
    }

    #[test]
    fn a_rate_above_the_path_is_lowered_to_what_passes_within_half_a_second() {
        for capacity in [0.5e6, 1e6, 1.5e6] {
            let mut loss = Loss::default();
            let rates = run(&mut loss, 2e6, 0..100, capacity, 0.0);
            let part = rates[10] / capacity;
            assert!((0.8..1.0).contains(&part), "{part} of {capacity}");
            assert_eq!(rates[10], rates[99], "and stays");
            assert!(loss.own() < 0.02);
        }
    }

    #[test]
    fn a_rate_a_little_above_is_lowered_within_two_seconds() {
        let rates = run(&mut Loss::default(), 2e6, 0..100, 1.9e6, 0.0);
        assert!((1.75e6..1.9e6).contains(&rates[40]), "{}", rates[40]);
    }

    #[test]
    fn loss_that_the_rate_is_not_the_cause_of_costs_no_rate() {
        for own in [0.03, 0.05, 0.2, 0.3] {
            let mut loss = Loss::default();
            let rates = run(&mut loss, 2e6, 0..400, 1e9, own);
            assert!(rates[120..].iter().all(|rate| *rate == 2e6), "{own}: {:?}", &rates[120..]);
            assert!((loss.own() - own).abs() < 0.02, "{own}: {}", loss.own());
            assert!((loss.smoothed() - own).abs() < 0.02);
        }
    }

    #[test]
    fn loss_beyond_the_own_one_is_answered_and_the_own_one_forgotten() {
        let mut loss = Loss::default();
        run(&mut loss, 2e6, 0..400, 1e9, 0.2);
        let rates = run(&mut loss, 2e6, 400..500, 1e6, 0.2);
        assert!((0.8e6..1.1e6).contains(rates.last().expect("some")), "{:?}", rates.last());
        run(&mut loss, 1e6, 500..1000, 1e9, 0.0);
        assert!(loss.own() < 0.02, "{}", loss.own());
    }

    #[test]
    fn loss_behind_a_queue_is_never_the_own_one() {
        let mut loss = Loss::default();
        let mut rate = 2e6;
        for step in 0..200 {
            (0..20).for_each(|packet| loss.add(step * 50_000, packet % 4 == 0));
            if let Some(verdict) = loss.judge(rate, true, step * 50_000) {
                let Verdict::Lower(to) = verdict else { panic!("{verdict:?}") };
                rate = to;
            }
        }
        assert!(rate < 1e6 && loss.own() == 0.0, "{rate}");
    }

    #[test]
    fn single_losses_are_chance() {
        let mut loss = Loss::default();
        for step in 0..200 {
            (0..3).for_each(|packet| loss.add(step * 50_000, step % 10 == 0 && packet == 0));
            assert_eq!(loss.judge(1e6, false, step * 50_000), None);
        }
        assert!(loss.smoothed() > 0.02);
        assert!(loss.recent_excess() < 0.15, "{}", loss.recent_excess());
        (0..20).for_each(|packet| loss.add(0, packet % 2 == 0));
        assert!(loss.recent_excess() > 0.15, "{}", loss.recent_excess());
    }

    #[test]
    fn packets_that_arrive_late_are_not_lost() {
        let mut loss = Loss::default();
        for step in 0..100 {
            (0..10).for_each(|_| loss.add(step * 50_000, true));
            (0..10).for_each(|_| loss.correct(step * 50_000));
            assert_eq!(loss.judge(1e6, false, step * 50_000), None);
        }
    }

    #[test]
    fn reports_alone_do_as_well() {
        let mut loss = Loss::default();
        assert_eq!(loss.report(0.0, 2e6, 0), None);
        assert!(matches!(loss.report(0.3, 2e6, 1_000_000), Some(Verdict::Lower(to)) if to < 1.4e6));
        assert_eq!(loss.report(0.3, 1.3e6, 1_100_000), None, "sent before the trial");
        assert_eq!(loss.report(0.3, 1.3e6, 2_000_000), Some(Verdict::Restore(2e6)));
        assert_eq!(loss.report(0.3, 2e6, 3_000_000), None);
    }
}
