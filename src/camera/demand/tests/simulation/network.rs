//! A viewer's network, and how the estimate follows it: late, with noise, and upwards by probes.

use crate::dice::Dice;

/// A queue of so many seconds is noticed.
const NOTICED: f64 = 0.08;
/// What an estimate is after a queue was noticed, of what passes.
const RESUME: f64 = 0.93;
/// Growth of the estimate in a second, near what the network was seen to carry, and beyond what is sent at most.
const GROWTH: f64 = 1.08;
const SLOW_GROWTH: f64 = 1.02;
const UNUSED: f64 = 1.5;
/// What a probe that fills the network finds of it.
const FOUND: f64 = 0.95;

#[derive(Clone, Debug)]
pub(super) struct Network {
    /// What it carries, in bit/s.
    pub capacity: f64,
    /// Whether the estimate falls while little is sent.
    pub sags: bool,
    /// Nothing beyond it is probed for.
    wanted: f64,
    estimate: f64,
    best: f64,
    noise: f64,
    /// What it was seen to carry.
    seen: Option<f64>,
    /// The bits that wait in it.
    queue: f64,
    /// Since when a queue could be noticed.
    queued: Option<f64>,
    lag: f64,
    probe_at: f64,
    probes: u32,
}

impl Network {
    /// With this estimate before anything was measured.
    pub(super) fn new(capacity: f64, estimate: f64, wanted: f64, now: f64, dice: &mut Dice) -> Network {
        Network {
            capacity,
            sags: dice.chance(0.5),
            wanted,
            estimate,
            best: estimate,
            noise: 1.0,
            seen: None,
            queue: 0.0,
            queued: None,
            lag: dice.range(0.1, 0.3),
            probe_at: now + dice.range(0.05, 0.2),
            probes: 0,
        }
    }

    /// In bit/s.
    pub(super) fn estimate(&self) -> f64 {
        (self.estimate * self.noise).min(self.wanted)
    }

    /// How long what is sent now takes, in seconds.
    pub(super) fn delay(&self) -> f64 {
        self.queue / self.capacity
    }

    /// So many bits were sent within `tick` seconds, up to `now`.
    pub(super) fn pass(&mut self, bits: f64, tick: f64, now: f64, dice: &mut Dice) {
        let sent = bits / tick;
        self.queue = (self.queue + bits - self.capacity * tick).max(0.0);
        if dice.chance(tick / 0.5) {
            self.noise = dice.range(0.97, 1.03);
        }
        if self.delay() > NOTICED {
            if now - *self.queued.get_or_insert(now) >= self.lag {
                self.estimate = self.estimate.min(self.capacity * RESUME);
                self.seen = Some(self.capacity);
                self.probe_at = self.probe_at.max(now + 1.0);
            }
            return;
        }
        self.queued = None;
        let near = self.seen.is_some_and(|seen| (0.9..1.1).contains(&(self.estimate / seen)));
        let growth = if near { SLOW_GROWTH } else { GROWTH };
        let grown = self.estimate * (1.0 + (growth - 1.0) * tick);
        self.estimate = grown.min(self.estimate.max(sent * UNUSED)).min(self.wanted);
        if self.sags && sent < 0.3 * self.estimate {
            self.estimate *= 1.0 - 0.1 * tick;
        }
        if now >= self.probe_at && self.estimate < 0.95 * self.wanted {
            self.probe(now);
        }
        self.best = self.best.max(self.estimate);
    }

    fn probe(&mut self, now: f64) {
        self.probes += 1;
        let fell = self.estimate < 0.66 * self.best;
        let factor = if self.probes < 3 {
            3.0
        } else if fell {
            2.0
        } else {
            1.5
        };
        let rate = (self.estimate * factor).min(self.wanted);
        let found = rate.min(self.capacity * FOUND);
        self.estimate = self.estimate.max(found);
        let soon = self.probes < 3 || found >= 0.7 * rate;
        self.probe_at = now
            + if soon {
                0.4
            } else if fell {
                1.2
            } else {
                2.0
            };
    }
}
