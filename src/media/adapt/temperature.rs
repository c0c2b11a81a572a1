//! Decides by a board's temperature and firmware flags how many steps to reduce quality, before it throttles.
//!
//! # The policy
//!
//! - **Down.** One step down at [`TemperatureLimits::step_down`] or above, and another every 20 s ([`SETTLE`]) while that
//!   lasts, because each takes time to have an effect; every 5 s if it is another 5 °C hotter or already throttled.
//! - **Up.** One step up after a whole minute ([`COOL`]) below [`TemperatureLimits::step_up`]; the next one waits again.
//! - **After a pause.** A board that cooled down while nobody watched starts at full quality.
//! - **Rare readings.** Every 5 s ([`EVERY`]) while somebody watches, otherwise never; a board without a thermometer is
//!   read once.
//! - **Under-voltage** is reported when it begins; lower quality would not help.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The time between two readings.
pub const EVERY: Duration = Duration::from_secs(5);
/// The time for a step to show.
pub const SETTLE: Duration = Duration::from_secs(20);
/// How long it must have been cool for a step up.
pub const COOL: Duration = Duration::from_secs(60);
/// This far above `step_down`, in °C, steps follow each other quickly.
const HASTE: f32 = 5.0;

/// The temperature limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TemperatureLimits {
    /// Quality is reduced at or above this temperature, in °C.
    pub step_down: f32,
    /// Quality is restored below this temperature, in °C.
    pub step_up: f32,
}

/// The current flags of the Raspberry Pi's firmware: the low bits of `get_throttled`
/// (<https://www.raspberrypi.com/documentation/computers/os.html#get_throttled>).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttled {
    /// Under-voltage: the power supply is too weak.
    pub under_voltage: bool,
    /// The core clock is capped.
    pub capped: bool,
    /// The cores are throttled.
    pub throttled: bool,
    /// The soft temperature limit is reached: normal operation on the models that have one.
    pub soft_limit: bool,
}

impl Throttled {
    /// Parses the bits.
    pub fn from_bits(bits: u32) -> Throttled {
        let bit = |n: u32| bits >> n & 1 == 1;
        Throttled { under_voltage: bit(0), capped: bit(1), throttled: bit(2), soft_limit: bit(3) }
    }
}

/// A temperature reading.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Temperature in °C; `None` if it cannot be read.
    pub celsius: Option<f32>,
    /// Firmware flags; `None` without such a firmware.
    pub throttled: Option<Throttled>,
}

/// What the core wants.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// A [`Reading`], by [`Heat::handle_reading`].
    Read,
    /// The number of steps below full quality from now on, and why.
    Steps(usize, String),
    /// A message for the operator.
    Say(String),
}

/// The core. Feed it, then drain [`poll_output`](Self::poll_output) and wait until
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Heat {
    limits: TemperatureLimits,
    /// The maximum number of useful steps.
    depth: usize,
    steps: usize,
    watched: bool,
    read_at: Option<Instant>,
    /// No reading has arrived since viewers came.
    fresh: bool,
    changed: Option<Instant>,
    cool_since: Option<Instant>,
    under_voltage: bool,
    out: VecDeque<Output>,
}

impl Heat {
    /// Creates the core, without viewers. `depth` is the maximum number of steps down.
    pub fn new(limits: TemperatureLimits, depth: usize) -> Self {
        Heat {
            limits,
            depth,
            steps: 0,
            watched: false,
            read_at: None,
            fresh: true,
            changed: None,
            cool_since: None,
            under_voltage: false,
            out: VecDeque::new(),
        }
    }

    /// Sets whether somebody watches; the board is read only then.
    pub fn handle_watched(&mut self, watched: bool, now: Instant) {
        if watched == self.watched {
            return;
        }
        self.watched = watched;
        (self.fresh, self.cool_since) = (true, None);
        self.read_at = watched.then_some(now);
    }

    /// Provides the reading that [`Output::Read`] requested.
    pub fn handle_reading(&mut self, reading: Reading, now: Instant) {
        if !self.watched {
            return;
        }
        if reading == Reading::default() {
            // There is nothing to read, and no reason to wake again.
            self.read_at = None;
            return;
        }
        let flags = reading.throttled.unwrap_or_default();
        if flags.under_voltage && !self.under_voltage {
            let words = "the power supply is too weak (under-voltage): use a stronger one";
            self.out.push_back(Output::Say(words.into()));
        }
        self.under_voltage = flags.under_voltage;
        let throttled = flags.throttled || flags.capped;
        let above = |limit: f32| reading.celsius.is_some_and(|celsius| celsius >= limit);
        let fresh = std::mem::take(&mut self.fresh);
        if throttled || above(self.limits.step_down) {
            self.cool_since = None;
            let hurry = throttled || above(self.limits.step_down + HASTE);
            let wait = if hurry { EVERY } else { SETTLE };
            if self.steps < self.depth && self.changed.is_none_or(|changed| now >= changed + wait) {
                self.change(self.steps + 1, &reading, throttled, now);
            }
        } else if above(self.limits.step_up) || self.steps == 0 {
            self.cool_since = None;
        } else if fresh {
            self.change(0, &reading, throttled, now);
        } else {
            let since = *self.cool_since.get_or_insert(now);
            if now >= since + COOL {
                self.cool_since = Some(now);
                self.change(self.steps - 1, &reading, throttled, now);
            }
        }
    }

    /// The next output; `None` if there is nothing to do.
    pub fn poll_output(&mut self, now: Instant) -> Option<Output> {
        if self.read_at.is_some_and(|at| at <= now) {
            self.read_at = Some(now + EVERY);
            return Some(Output::Read);
        }
        self.out.pop_front()
    }

    /// When to drain [`poll_output`](Self::poll_output) again; `None` while nobody watches.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.read_at
    }

    fn change(&mut self, steps: usize, reading: &Reading, throttled: bool, now: Instant) {
        self.steps = steps;
        self.changed = Some(now);
        let mut words = match reading.celsius {
            Some(celsius) => format!("the board is at {celsius:.1} °C"),
            None => "the board".into(),
        };
        if throttled {
            words += if reading.celsius.is_some() { " and throttles" } else { " throttles" };
        }
        self.out.push_back(Output::Steps(steps, words));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TemperatureLimits = TemperatureLimits { step_down: 75.0, step_up: 68.0 };

    /// Plays temperatures, (from second, °C, firmware flags), for this many seconds; returns the outputs, each with its
    /// second.
    fn run(seconds: u64, script: &[(u64, f32, u32)]) -> Vec<(u64, Output)> {
        let start = Instant::now();
        let mut heat = Heat::new(LIMITS, 4);
        heat.handle_watched(true, start);
        let (mut out, mut reads) = (Vec::new(), 0);
        while let Some(at) = heat.poll_timeout().filter(|&at| at <= start + Duration::from_secs(seconds)) {
            let second = (at - start).as_secs();
            while let Some(output) = heat.poll_output(at) {
                if output == Output::Read {
                    reads += 1;
                    let (_, celsius, bits) =
                        script.iter().rev().find(|(from, ..)| *from <= second).expect("from 0 on");
                    let throttled = Some(Throttled::from_bits(*bits));
                    heat.handle_reading(Reading { celsius: Some(*celsius), throttled }, at);
                } else {
                    out.push((second, output));
                }
            }
        }
        assert_eq!(reads, seconds / 5 + 1, "a reading every 5 s and no other wake-up");
        out
    }

    fn steps(seconds: u64, script: &[(u64, f32, u32)]) -> Vec<(u64, usize)> {
        let steps = |(at, output)| match output {
            Output::Steps(steps, _) => Some((at, steps)),
            _ => None,
        };
        run(seconds, script).into_iter().filter_map(steps).collect()
    }

    #[test]
    fn quality_drops_before_the_board_throttles_and_rises_slowly() {
        type Row<'a> = (&'a str, u64, &'a [(u64, f32, u32)], &'a [(u64, usize)]);
        let table: &[Row] = &[
            ("cool", 100, &[(0, 50.0, 0)], &[]),
            ("warm is not hot enough", 100, &[(0, 74.9, 0)], &[]),
            ("one step, and it helps", 60, &[(0, 75.0, 0), (10, 72.0, 0)], &[(0, 1)]),
            ("a step each 20 s", 65, &[(0, 76.0, 0)], &[(0, 1), (20, 2), (40, 3), (60, 4)]),
            ("no more steps than there are", 200, &[(0, 76.0, 0)], &[(0, 1), (20, 2), (40, 3), (60, 4)]),
            ("in haste", 30, &[(0, 81.0, 0)], &[(0, 1), (5, 2), (10, 3), (15, 4)]),
            ("throttled though cool", 12, &[(0, 60.0, 0b100)], &[(0, 1), (5, 2), (10, 3)]),
            ("capped", 2, &[(0, 60.0, 0b10)], &[(0, 1)]),
            ("the soft limit alone has no effect", 60, &[(0, 62.0, 0b1000)], &[]),
            ("past events have no effect", 60, &[(0, 50.0, 0xf_0000)], &[]),
            (
                "up after a minute each",
                200,
                &[(0, 76.0, 0), (25, 60.0, 0)],
                &[(0, 1), (20, 2), (85, 1), (145, 0)],
            ),
            ("no change between the limits", 300, &[(0, 76.0, 0), (5, 70.0, 0)], &[(0, 1)]),
            (
                "a warm moment restarts the minute",
                150,
                &[(0, 76.0, 0), (5, 60.0, 0), (60, 70.0, 0), (65, 60.0, 0)],
                &[(0, 1), (125, 0)],
            ),
        ];
        for (name, seconds, script, expected) in table {
            assert_eq!(steps(*seconds, script), *expected, "{name}");
        }
    }

    #[test]
    fn steps_and_warnings_give_the_measured_reason() {
        let out = run(5, &[(0, 76.25, 0b101)]);
        let Output::Say(words) = &out[0].1 else { panic!("{out:?}") };
        assert!(words.contains("under-voltage"), "{words}");
        assert_eq!(out[1], (0, Output::Steps(1, "the board is at 76.2 °C and throttles".into())));
        let voltage = run(60, &[(0, 50.0, 1), (20, 50.0, 0), (40, 50.0, 1)]);
        assert_eq!(voltage.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 40], "reported when it begins");
    }

    #[test]
    fn without_viewers_nothing_is_read() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut heat = Heat::new(LIMITS, 4);
        assert_eq!((heat.poll_output(at(0)), heat.poll_timeout()), (None, None));
        heat.handle_watched(true, at(0));
        assert_eq!(heat.poll_output(at(0)), Some(Output::Read));
        let hot = Reading { celsius: Some(78.0), throttled: None };
        heat.handle_reading(hot, at(0));
        assert!(matches!(heat.poll_output(at(0)), Some(Output::Steps(1, _))));
        heat.handle_watched(false, at(1));
        assert_eq!((heat.poll_output(at(99)), heat.poll_timeout()), (None, None));
        heat.handle_reading(hot, at(100));
        assert_eq!(heat.poll_output(at(100)), None, "a late reading is ignored");
        // It has cooled down meanwhile: full quality at once.
        heat.handle_watched(true, at(200));
        assert_eq!(heat.poll_output(at(200)), Some(Output::Read));
        heat.handle_reading(Reading { celsius: Some(40.0), throttled: None }, at(200));
        assert!(matches!(heat.poll_output(at(200)), Some(Output::Steps(0, _))));
    }

    #[test]
    fn a_board_without_a_thermometer_is_read_once() {
        let start = Instant::now();
        let mut heat = Heat::new(LIMITS, 4);
        heat.handle_watched(true, start);
        assert_eq!(heat.poll_output(start), Some(Output::Read));
        heat.handle_reading(Reading::default(), start);
        assert_eq!((heat.poll_output(start), heat.poll_timeout()), (None, None));
    }
}
