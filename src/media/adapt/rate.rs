//! Takes one encoder's bitrate to a target: down at once, up once the target has proved itself.
//!
//! # The policy
//!
//! - **The target** is what the networks of those who get the stream carry, less [`BitrateLimits::headroom`]: see
//!   [`BitrateLimits::usable`]. It is bounded by `min` and `max`.
//! - **Fast down.** A lower target is taken at once, but not within [`BitrateLimits::down_interval`] (300 ms) of the last
//!   change, because the effect must have time to show.
//! - **Up after a while.** A target must have been at least 10 % above the present rate, or at `max`, for all of
//!   [`BitrateLimits::up_hold`] (1 s); then the rate rises to the lowest target of the last second. Each rise that has to be
//!   taken back within 10 s doubles the wait for the next.
//!
//! Without a target, the rate stays as it is.

use std::time::{Duration, Instant};

use super::backoff::Patience;
use crate::media::error::{ErrorKind, MediaError};

/// The limits and times of the policy.
#[derive(Clone, Debug)]
pub struct BitrateLimits {
    /// Initial bitrate in bit/s, at which the encoder was started.
    pub start: u32,
    /// Minimum bitrate in bit/s.
    pub min: u32,
    /// Maximum bitrate in bit/s.
    pub max: u32,
    /// The percentage of an estimate that the encoder may use: audio, retransmissions and headers need room too.
    pub headroom: u8,
    /// Minimum time between a change and the next step down.
    pub down_interval: Duration,
    /// How long there must be room above before a step up.
    pub up_hold: Duration,
}

impl Default for BitrateLimits {
    fn default() -> Self {
        BitrateLimits {
            start: 1_000_000,
            min: 150_000,
            max: 4_000_000,
            headroom: 85,
            down_interval: Duration::from_millis(300),
            up_hold: Duration::from_secs(1),
        }
    }
}

impl BitrateLimits {
    /// Checks that `min` is at most `max`, and that `start` is between them.
    ///
    /// Errors: the two or three that contradict each other.
    pub fn check(&self) -> Result<(), MediaError> {
        self.check_range()?;
        if (self.min..=self.max).contains(&self.start) {
            return Ok(());
        }
        let [start, min, max] = [self.start, self.min, self.max].map(kbit);
        let words = format!(
            "the initial bitrate ({start}) must be between the minimum ({min}) and the maximum ({max})"
        );
        Err(MediaError::new(ErrorKind::BadSettings, words))
    }

    /// The same without `start`, for a camera that has started.
    pub(crate) fn check_range(&self) -> Result<(), MediaError> {
        if self.min <= self.max {
            return Ok(());
        }
        let [min, max] = [self.min, self.max].map(kbit);
        let words = format!("the minimum bitrate ({min}) must not exceed the maximum ({max})");
        Err(MediaError::new(ErrorKind::BadSettings, words))
    }

    /// The part of an estimate that an encoder may use, in bit/s: at most `max`.
    pub fn usable(&self, estimate: u32) -> u32 {
        let usable = u64::from(estimate) * u64::from(self.headroom) / 100;
        u32::try_from(usable).unwrap_or(u32::MAX).min(self.max)
    }

    /// The estimate above which nothing is gained, in bit/s: what probes should look for at most.
    pub fn enough(&self) -> u32 {
        let enough = u64::from(self.max) * 100 / u64::from(self.headroom.max(1));
        u32::try_from(enough + 1).unwrap_or(u32::MAX)
    }
}

fn kbit(bps: u32) -> String {
    format!("{} kbit/s", f64::from(bps) / 1000.0)
}

/// The controller. Feed it the target, then call [`poll`](Self::poll).
#[derive(Debug)]
pub struct RateControl {
    limits: BitrateLimits,
    current: u32,
    target: Option<u32>,
    changed: Option<Instant>,
    room: Option<Room>,
    patience: Patience,
    /// The rate before the last rise.
    rose_from: u32,
}

/// A step up is possible.
#[derive(Clone, Copy, Debug)]
struct Room {
    since: Instant,
    /// The lowest target since then, or since half of `up_hold` ago; and that of the half before.
    lowest: u32,
    before: u32,
    turned: Instant,
}

impl Room {
    fn new(target: u32, now: Instant) -> Room {
        Room { since: now, lowest: target, before: target, turned: now }
    }

    /// An estimate that climbs while a long wait passes is not held to what it was at its beginning.
    fn handle_target(&mut self, target: u32, half: Duration, now: Instant) {
        if now >= self.turned + half {
            (self.before, self.lowest, self.turned) = (self.lowest, target, now);
        }
        self.lowest = self.lowest.min(target);
    }

    fn target(&self) -> u32 {
        self.lowest.min(self.before)
    }
}

/// A fall below this percentage of the bitrate before a rise is not due to the rise: the network changed.
const CHANGED: u64 = 75;

impl RateControl {
    /// Creates a controller with the encoder at `limits.start`. A `min` above `max` is treated as `max`.
    pub fn new(limits: BitrateLimits) -> Self {
        let patience = Patience::new(limits.up_hold);
        let min = limits.min.min(limits.max);
        let limits = BitrateLimits { min, ..limits };
        let current = limits.start.clamp(limits.min, limits.max);
        RateControl { limits, current, target: None, changed: None, room: None, patience, rose_from: 0 }
    }

    /// Changes the limits. The rate changes only if it is outside of them.
    pub fn set_limits(&mut self, limits: BitrateLimits) {
        self.patience.set_least(limits.up_hold);
        let min = limits.min.min(limits.max);
        self.limits = BitrateLimits { min, ..limits };
        self.current = self.current.clamp(self.limits.min, self.limits.max);
        self.target = self.target.map(|target| target.clamp(self.limits.min, self.limits.max));
        self.room = None;
    }

    /// The encoder's current target bitrate, in bit/s.
    pub fn current(&self) -> u32 {
        self.current
    }

    /// Starts at this bitrate, in bit/s.
    pub fn start_at(&mut self, bps: u32) {
        self.current = bps.clamp(self.limits.min, self.limits.max);
        (self.target, self.changed, self.room) = (None, None, None);
    }

    /// Sets the bitrate to go to, in bit/s.
    pub fn handle_target(&mut self, target: Option<u32>) {
        self.target = target.map(|target| target.clamp(self.limits.min, self.limits.max));
    }

    /// The encoder's new bitrate in bit/s, if it must change now.
    pub fn poll(&mut self, now: Instant) -> Option<u32> {
        let Some(target) = self.target.filter(|target| *target != self.current) else {
            self.room = None;
            return None;
        };
        if target < self.current {
            self.room = None;
            let due = self.changed.is_none_or(|changed| now >= changed + self.limits.down_interval);
            if !due {
                return None;
            }
            if u64::from(target) * 100 >= u64::from(self.rose_from) * CHANGED {
                self.patience.handle_fall(now);
            }
            return Some(self.change(target, now));
        }
        if !self.is_room(target) {
            self.room = None;
            return None;
        }
        let room = self.room.get_or_insert_with(|| Room::new(target, now));
        room.handle_target(target, self.limits.up_hold / 2, now);
        let (since, lowest) = (room.since, room.target());
        if now < since + self.patience.wait(now) {
            return None;
        }
        self.patience.handle_rise(now);
        self.rose_from = self.current;
        let changed = self.change(lowest, now);
        // The next step has to wait again.
        self.room = self.is_room(target).then(|| Room::new(target, now));
        Some(changed)
    }

    fn is_room(&self, target: u32) -> bool {
        let much = target >= self.current.saturating_add(self.current / 10) || target == self.limits.max;
        much && target > self.current
    }

    /// The bitrate that it is about to change to if nothing comes between, or the present one.
    pub fn heading(&self) -> u32 {
        let lower = self.target.map_or(self.current, |target| target.min(self.current));
        self.room.map_or(lower, |room| room.target())
    }

    /// When to call [`poll`](Self::poll) again, if nothing else happens. May be in the past, when a call
    /// is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if let Some(room) = self.room {
            return Some(room.since + self.patience.wait(room.since));
        }
        let lower = self.target.is_some_and(|target| target < self.current);
        self.changed.filter(|_| lower).map(|changed| changed + self.limits.down_interval)
    }

    fn change(&mut self, bps: u32, now: Instant) -> u32 {
        self.current = bps;
        self.changed = Some(now);
        bps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Round numbers.
    fn limits() -> BitrateLimits {
        BitrateLimits { min: 100_000, max: 4_000_000, start: 1_000_000, ..BitrateLimits::default() }
    }

    /// Plays (ms, target) on a virtual clock for 60 s and returns the changes as (ms, bit/s).
    fn run(limits: BitrateLimits, script: &[(u64, Option<u32>)]) -> Vec<(u64, u32)> {
        let start = Instant::now();
        let mut rate = RateControl::new(limits);
        let mut changes = Vec::new();
        let mut wake = |rate: &mut RateControl, now: Instant| {
            changes.extend(rate.poll(now).map(|bps| ((now - start).as_millis() as u64, bps)));
        };
        let end = (60_000, None);
        for (ms, target) in script.iter().map(|(ms, target)| (*ms, Some(*target))).chain([end]) {
            let now = start + Duration::from_millis(ms);
            while let Some(at) = rate.poll_timeout().filter(|&at| at < now) {
                let timeout = rate.poll_timeout();
                wake(&mut rate, at);
                assert_ne!(rate.poll_timeout(), timeout, "a timeout that was handled must not be set again");
            }
            let Some(target) = target else { break };
            rate.handle_target(target);
            wake(&mut rate, now);
        }
        changes
    }

    #[test]
    fn the_rate_goes_down_fast_and_up_after_a_while() {
        type Row<'a> = (&'a str, &'a [(u64, Option<u32>)], &'a [(u64, u32)]);
        let table: &[Row] = &[
            ("nobody", &[], &[]),
            ("down at once", &[(0, Some(500_000))], &[(0, 500_000)]),
            ("slightly more has no effect", &[(0, Some(1_090_000))], &[]),
            ("not below the floor", &[(0, Some(7))], &[(0, 100_000)]),
            (
                "not two steps down at once",
                &[(0, Some(800_000)), (100, Some(400_000)), (200, Some(600_000))],
                &[(0, 800_000), (300, 600_000)],
            ),
            ("up to the ceiling", &[(0, Some(u32::MAX))], &[(1000, 4_000_000)]),
            (
                "to the lowest target of the wait",
                &[(0, Some(3_000_000)), (500, Some(1_500_000)), (900, Some(2_900_000))],
                &[(1000, 1_500_000), (2000, 2_900_000)],
            ),
            (
                "a dip restarts the wait",
                &[(0, Some(1_200_000)), (900, Some(1_000_000)), (1000, Some(1_200_000))],
                &[(2000, 1_200_000)],
            ),
            ("without a target nothing changes", &[(0, Some(2_000_000)), (900, None)], &[]),
            (
                "what was too much is tried again after twice the time",
                &[(0, Some(2_000_000)), (1500, Some(1_000_000)), (1600, Some(2_000_000))],
                &[(1000, 2_000_000), (1500, 1_000_000), (3600, 2_000_000)],
            ),
        ];
        for (name, script, expected) in table {
            assert_eq!(run(limits(), script), *expected, "{name}");
        }
    }

    #[test]
    fn other_limits_count_at_once() {
        let mut rate = RateControl::new(limits());
        rate.handle_target(Some(3_000_000));
        rate.set_limits(BitrateLimits { max: 500_000, ..limits() });
        assert_eq!(rate.current(), 500_000);
        let now = Instant::now();
        assert_eq!((rate.poll(now), rate.poll(now + Duration::from_secs(9))), (None, None));
        rate.start_at(9);
        assert_eq!(rate.current(), 100_000);
    }

    #[test]
    fn audio_and_retransmissions_have_headroom() {
        let limits = limits();
        assert_eq!((limits.usable(1_000_000), limits.usable(u32::MAX)), (850_000, 4_000_000));
        assert_eq!(limits.usable(limits.enough()), limits.max);
        assert!(limits.usable(limits.enough() - 2) < limits.max);
    }

    #[test]
    fn limits_that_contradict_each_other_are_named() {
        assert_eq!(BitrateLimits::default().check(), Ok(()));
        let (min, max) = (100_000, 4_000_000);
        for (limits, words) in [
            (
                BitrateLimits { min: 4_000_001, ..limits() },
                "the minimum bitrate (4000.001 kbit/s) must not exceed the maximum (4000 kbit/s)",
            ),
            (
                BitrateLimits { start: max + 1000, ..limits() },
                "the initial bitrate (4001 kbit/s) must be between the minimum (100 kbit/s) and the maximum (4000 kbit/s)",
            ),
            (BitrateLimits { start: min - 1, ..limits() }, "the initial bitrate (99.999 kbit/s) must be"),
        ] {
            let error = limits.check().expect_err(words);
            assert!(error.code() == "bad-settings" && error.to_string().starts_with(words), "{error}");
        }
        for start in [min, max] {
            assert_eq!(BitrateLimits { start, ..limits() }.check(), Ok(()));
        }
    }

    #[test]
    fn odd_limits_are_harmless() {
        let odd = BitrateLimits { start: 0, min: 9, max: 5, headroom: 255, ..limits() };
        assert_eq!(run(odd, &[(0, Some(u32::MAX)), (1, Some(0)), (2, None)]), []);
        let tiny = BitrateLimits { start: 1, min: 1, max: 3, headroom: 0, ..limits() };
        assert_eq!(tiny.enough(), 301);
        assert_eq!(run(tiny, &[(0, Some(9))]), [(1000, 3)]);
    }
}
