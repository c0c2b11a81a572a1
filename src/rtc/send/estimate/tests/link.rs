//! A simulated path: a bottleneck with a queue, then delay, jitter and loss. All times are in µs.

use crate::dice::Dice;

/// Size of the packets of other traffic, in bytes.
const CROSS_SIZE: u32 = 1000;

/// Other traffic through the bottleneck, in bursts.
#[derive(Clone, Debug)]
pub(super) struct Cross {
    pub(super) from: i64,
    pub(super) to: i64,
    /// The rate while it is on, in bit/s.
    pub(super) rate: f64,
    /// How long it is on, and then off.
    pub(super) on: i64,
    pub(super) off: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Path {
    /// Capacities of the bottleneck: the time from which each applies, the first from 0; and bit/s.
    pub(super) rates: Vec<(i64, f64)>,
    /// The queue drops packets that would wait longer.
    pub(super) queue: i64,
    /// The delay in one direction.
    pub(super) delay: i64,
    pub(super) loss: f64,
    /// The interval in which nothing arrives.
    pub(super) gone: (i64, i64),
    /// Added to the delay, evenly distributed up to this.
    pub(super) jitter: i64,
    pub(super) reorders: bool,
    /// This part of the packets arrives later by this time, so that others overtake them.
    pub(super) late: (f64, i64),
    pub(super) cross: Vec<Cross>,
}

impl Path {
    pub(super) fn new(rate: f64) -> Path {
        Path {
            rates: vec![(0, rate)],
            queue: 500_000,
            delay: 25_000,
            loss: 0.0,
            gone: (0, 0),
            jitter: 0,
            reorders: false,
            late: (0.0, 0),
            cross: Vec::new(),
        }
    }

    pub(super) fn step(mut self, at: i64, rate: f64) -> Path {
        self.rates.push((at, rate));
        self
    }

    pub(super) fn rate(&self, at: i64) -> f64 {
        self.rates.iter().rev().find(|(from, _)| *from <= at).map_or(self.rates[0].1, |(_, rate)| *rate)
    }
}

/// The state of a simulated path.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) path: Path,
    dice: Dice,
    /// When the bottleneck will have sent everything in its queue.
    free: f64,
    /// The next packet of each other sender.
    cross: Vec<i64>,
    last: i64,
}

impl Link {
    pub(super) fn new(path: Path, dice: Dice) -> Link {
        let cross = path.cross.iter().map(|cross| cross.from).collect();
        Link { path, dice, free: 0.0, cross, last: 0 }
    }

    /// How long a packet that arrives now will wait.
    pub(super) fn wait(&mut self, now: i64) -> i64 {
        self.others(now);
        (self.free - now as f64).max(0.0) as i64
    }

    /// Takes a packet. Returns when it arrives, unless it is lost.
    pub(super) fn send(&mut self, now: i64, size: u32) -> Option<i64> {
        self.others(now);
        let free = self.enqueue(now, size)?;
        if (self.path.gone.0..self.path.gone.1).contains(&now) {
            return None;
        }
        if self.dice.chance(self.path.loss) {
            return None;
        }
        let jitter = self.dice.range(0.0, self.path.jitter as f64 + 1.0) as i64;
        let mut arrival = free as i64 + self.path.delay + jitter;
        if !self.path.reorders {
            arrival = arrival.max(self.last);
        }
        let (part, by) = self.path.late;
        if part > 0.0 && self.dice.chance(part) {
            return Some(arrival + by);
        }
        self.last = arrival;
        Some(arrival)
    }

    /// Adds what others have sent until now.
    fn others(&mut self, now: i64) {
        loop {
            let next = self.cross.iter().copied().enumerate().min_by_key(|(_, at)| *at);
            let Some((index, at)) = next.filter(|(_, at)| *at <= now) else { return };
            let cross = self.path.cross[index].clone();
            self.enqueue(at, CROSS_SIZE);
            let mut next = at + (f64::from(CROSS_SIZE) * 8e6 / cross.rate) as i64;
            let phase = (next - cross.from) % (cross.on + cross.off);
            if phase >= cross.on {
                next += cross.on + cross.off - phase;
            }
            self.cross[index] = if next < cross.to { next } else { i64::MAX };
        }
    }

    fn enqueue(&mut self, now: i64, size: u32) -> Option<f64> {
        if self.free - now as f64 > self.path.queue as f64 {
            return None;
        }
        let (mut at, mut bits) = (self.free.max(now as f64), f64::from(size) * 8.0);
        loop {
            let rate = self.path.rate(at as i64);
            let change = self.path.rates.iter().map(|(from, _)| *from as f64).find(|from| *from > at);
            let done = at + bits * 1e6 / rate;
            match change.filter(|change| *change < done) {
                Some(change) => {
                    bits -= (change - at) * rate / 1e6;
                    at = change;
                }
                None => {
                    self.free = done;
                    return Some(done);
                }
            }
        }
    }
}
