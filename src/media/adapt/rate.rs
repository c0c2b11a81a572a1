//! Chooses one encoder's bitrate from the bandwidth estimates of all viewers.
//!
//! # The policy
//!
//! - **Whose estimate counts.** The encoder follows a low percentile of the estimates
//!   ([`Limits::percentile`], default 20): of one to four viewers the worst, of five to nine the second
//!   worst, and so on. So a few viewers on a bad network lose frames instead of reducing the quality for
//!   everybody, while a small audience is served completely.
//! - **Joiners.** An estimate begins low and climbs while it probes. A new viewer's counts only once it is
//!   [`Limits::settle`] old (2 s), or when there is no other.
//! - **Headroom.** Audio, retransmissions and headers need room too: the encoder gets
//!   [`Limits::headroom`] percent of the estimate (85), and never less than `min` or more than `max`.
//! - **Fast down.** A target at least 10 % below the present rate is taken at once, but not within
//!   [`Limits::down_interval`] (300 ms) of the last change, because the effect must have time to show.
//! - **Slow up.** A target must have been at least 10 % above the present rate for all of
//!   [`Limits::up_hold`] (3 s); then the rate rises by a quarter at most, and the next step waits again.
//! - Differences below 10 % are ignored, because each change costs some quality.
//!
//! Without viewers, or without an estimate, the rate stays as it is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The limits and times of the policy.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Initial bitrate in bit/s, at which the encoder was started.
    pub start: u32,
    /// Minimum bitrate in bit/s.
    pub min: u32,
    /// Maximum bitrate in bit/s.
    pub max: u32,
    /// The percentage of viewers that may have a lower estimate than the one that is followed.
    pub percentile: u8,
    /// The percentage of an estimate that the encoder may use.
    pub headroom: u8,
    /// How long a viewer's estimate must be known before it counts.
    pub settle: Duration,
    /// Minimum time between a change and the next step down.
    pub down_interval: Duration,
    /// How long there must be room above before a step up.
    pub up_hold: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            start: 1_000_000,
            min: 150_000,
            max: 4_000_000,
            percentile: 20,
            headroom: 85,
            settle: Duration::from_secs(2),
            down_interval: Duration::from_millis(300),
            up_hold: Duration::from_secs(3),
        }
    }
}

/// The controller. Feed it events, then call [`poll`](Self::poll).
#[derive(Debug)]
pub struct Rate {
    limits: Limits,
    current: u32,
    changed: Option<Instant>,
    /// Since when a step up has been possible.
    room_since: Option<Instant>,
    viewers: BTreeMap<u64, Viewer>,
}

#[derive(Debug)]
struct Viewer {
    estimate: u64,
    since: Instant,
    settled: bool,
}

impl Rate {
    /// Creates a controller without viewers, with the encoder at `limits.start`. A `min` above `max` is treated as `max`.
    pub fn new(limits: Limits) -> Self {
        let min = limits.min.min(limits.max);
        let limits = Limits { min, ..limits };
        let current = limits.start.clamp(limits.min, limits.max);
        Rate { limits, current, changed: None, room_since: None, viewers: BTreeMap::new() }
    }

    /// Changes the limits. The rate changes only if it is outside of them.
    pub fn set_limits(&mut self, limits: Limits) {
        let min = limits.min.min(limits.max);
        self.limits = Limits { min, ..limits };
        self.current = self.current.clamp(self.limits.min, self.limits.max);
    }

    /// The encoder's current target bitrate, in bit/s.
    pub fn current(&self) -> u32 {
        self.current
    }

    /// Sets a viewer's bandwidth estimate, in bit/s.
    pub fn handle_estimate(&mut self, viewer: u64, bps: u64, now: Instant) {
        let new = Viewer { estimate: bps, since: now, settled: self.limits.settle.is_zero() };
        self.viewers.entry(viewer).and_modify(|viewer| viewer.estimate = bps).or_insert(new);
    }

    /// Removes a viewer.
    pub fn remove(&mut self, viewer: u64) {
        self.viewers.remove(&viewer);
    }

    /// The encoder's new bitrate in bit/s, if it must change now.
    pub fn poll(&mut self, now: Instant) -> Option<u32> {
        for viewer in self.viewers.values_mut() {
            viewer.settled |= now >= viewer.since + self.limits.settle;
        }
        let Some(target) = self.target() else {
            self.room_since = None;
            return None;
        };
        let tenth = self.current / 10;
        if target <= self.current - tenth && target < self.current {
            self.room_since = None;
            let due = self.changed.is_none_or(|changed| now >= changed + self.limits.down_interval);
            return due.then(|| self.change(target, now));
        }
        if target < self.current.saturating_add(tenth) || target == self.current {
            self.room_since = None;
            return None;
        }
        let since = *self.room_since.get_or_insert(now);
        if now < since + self.limits.up_hold {
            return None;
        }
        self.room_since = Some(now);
        let step = self.current.saturating_add(self.current / 4);
        Some(self.change(target.min(step.max(self.current + 1)), now))
    }

    /// When to call [`poll`](Self::poll) again, if nothing else happens. May be in the past, when a call
    /// is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let settles = self
            .viewers
            .values()
            .filter(|viewer| !viewer.settled)
            .map(|viewer| viewer.since + self.limits.settle);
        let up = self.room_since.map(|since| since + self.limits.up_hold);
        let lower = self
            .target()
            .is_some_and(|target| target <= self.current - self.current / 10 && target < self.current);
        let down = self.changed.filter(|_| lower).map(|changed| changed + self.limits.down_interval);
        settles.chain(up).chain(down).min()
    }

    fn change(&mut self, bps: u32, now: Instant) -> u32 {
        self.current = bps;
        self.changed = Some(now);
        bps
    }

    /// The target rate according to the viewers that count.
    fn target(&self) -> Option<u32> {
        let any_settled = self.viewers.values().any(|viewer| viewer.settled);
        let counts = |viewer: &&Viewer| viewer.settled || !any_settled;
        let mut estimates: Vec<u64> =
            self.viewers.values().filter(counts).map(|viewer| viewer.estimate).collect();
        estimates.sort_unstable();
        let index = estimates.len() * usize::from(self.limits.percentile.min(99)) / 100;
        let usable = estimates.get(index)?.saturating_mul(u64::from(self.limits.headroom)) / 100;
        let bounded = usable.clamp(u64::from(self.limits.min), u64::from(self.limits.max));
        Some(u32::try_from(bounded).expect("max is a u32"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Do {
        Estimate(u64, u64),
        Leave(u64),
    }
    use Do::{Estimate, Leave};

    /// Round numbers: no headroom.
    fn limits() -> Limits {
        Limits { headroom: 100, min: 100_000, max: 4_000_000, start: 1_000_000, ..Limits::default() }
    }

    /// Plays (ms, what happens) on a virtual clock for 60 s and returns the changes as (ms, bit/s).
    fn run(limits: Limits, script: &[(u64, Do)]) -> Vec<(u64, u32)> {
        let start = Instant::now();
        let mut rate = Rate::new(limits);
        let mut changes = Vec::new();
        let mut wake = |rate: &mut Rate, now: Instant| {
            changes.extend(rate.poll(now).map(|bps| ((now - start).as_millis() as u64, bps)));
        };
        let end = (60_000, None);
        for (ms, what) in script.iter().map(|(ms, what)| (*ms, Some(what))).chain([end]) {
            let now = start + Duration::from_millis(ms);
            while let Some(at) = rate.poll_timeout().filter(|&at| at < now) {
                let timeout = rate.poll_timeout();
                wake(&mut rate, at);
                assert_ne!(rate.poll_timeout(), timeout, "a timeout that was handled must not be set again");
            }
            match what {
                Some(&Estimate(viewer, bps)) => rate.handle_estimate(viewer, bps, now),
                Some(&Leave(viewer)) => rate.remove(viewer),
                None => break,
            }
            wake(&mut rate, now);
        }
        changes
    }

    #[test]
    fn one_viewer_moves_the_rate_down_fast_and_up_slowly() {
        type Row<'a> = (&'a str, &'a [(u64, Do)], &'a [(u64, u32)]);
        let table: &[Row] = &[
            ("nobody", &[], &[]),
            ("down at once", &[(0, Estimate(1, 500_000))], &[(0, 500_000)]),
            ("slightly less has no effect", &[(0, Estimate(1, 910_000))], &[]),
            ("slightly more has no effect", &[(0, Estimate(1, 1_090_000))], &[]),
            ("not below the floor", &[(0, Estimate(1, 7))], &[(0, 100_000)]),
            (
                "not two steps down at once",
                &[(0, Estimate(1, 800_000)), (100, Estimate(1, 400_000)), (200, Estimate(1, 600_000))],
                &[(0, 800_000), (300, 600_000)],
            ),
            (
                "up in steps of a quarter, to the ceiling",
                &[(0, Estimate(1, u64::MAX))],
                &[
                    (3000, 1_250_000),
                    (6000, 1_562_500),
                    (9000, 1_953_125),
                    (12000, 2_441_406),
                    (15000, 3_051_757),
                    (18000, 3_814_696),
                ],
            ),
            (
                "a dip restarts the wait",
                &[
                    (0, Estimate(1, 1_200_000)),
                    (2000, Estimate(1, 1_000_000)),
                    (2100, Estimate(1, 1_200_000)),
                ],
                &[(5100, 1_200_000)],
            ),
            ("a viewer that left no longer counts", &[(0, Estimate(1, 2_000_000)), (2900, Leave(1))], &[]),
        ];
        for (name, script, expected) in table {
            assert_eq!(run(limits(), script), *expected, "{name}");
        }
    }

    #[test]
    fn a_few_bad_viewers_do_not_lower_the_quality_for_all() {
        // (estimates in kbit/s, rate in kbit/s that all settle at, from 1000)
        let table: [(&[u64], u32); 6] = [
            (&[300], 300),
            (&[300, 800], 300),
            (&[300, 800, 800, 800], 300),
            (&[300, 800, 800, 800, 800], 800),
            (&[300, 300, 800, 800, 800, 800, 800, 800, 800], 300),
            (&[300, 300, 800, 800, 800, 800, 800, 800, 800, 800], 800),
        ];
        for (estimates, expected) in table {
            let script: Vec<_> = estimates
                .iter()
                .rev()
                .zip(0..)
                .map(|(kbps, viewer)| (0, Estimate(viewer, kbps * 1000)))
                .collect();
            let changes = run(Limits { settle: Duration::ZERO, ..limits() }, &script);
            assert_eq!(changes.last().map(|&(_, bps)| bps), Some(expected * 1000), "{estimates:?}");
        }
    }

    #[test]
    fn a_joiner_counts_only_after_settling() {
        let script =
            [(0, Estimate(1, 1_000_000)), (5000, Estimate(2, 300_000)), (6500, Estimate(2, 600_000))];
        assert_eq!(run(limits(), &script), [(7000, 600_000)]);
        let gone = [(0, Estimate(1, 1_000_000)), (5000, Estimate(2, 300_000)), (6500, Leave(2))];
        assert_eq!(run(limits(), &gone), []);
        let alone = [(0, Estimate(1, 1_000_000)), (5000, Estimate(2, 300_000)), (5500, Leave(1))];
        assert_eq!(run(limits(), &alone), [(5500, 300_000)]);
    }

    #[test]
    fn audio_and_retransmissions_have_headroom() {
        let changes = run(Limits { headroom: 85, ..limits() }, &[(0, Estimate(1, 1_000_000))]);
        assert_eq!(changes, [(0, 850_000)]);
    }

    #[test]
    fn odd_limits_are_harmless() {
        let odd = Limits { start: 0, min: 9, max: 5, percentile: 255, headroom: 255, ..limits() };
        assert_eq!(run(odd, &[(0, Estimate(1, u64::MAX)), (1, Estimate(1, 0)), (2, Estimate(2, 0))]), []);
        let tiny = Limits { start: 1, min: 1, max: 3, ..limits() };
        assert_eq!(run(tiny, &[(0, Estimate(1, 9))]), [(3000, 2), (6000, 3)]);
    }
}
