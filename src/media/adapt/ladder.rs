//! Frame rate and size: reduces first the rate, then the size, when the bitrate is very low or the board is hot.
//!
//! # The policy
//!
//! - **The rungs.** From the full quality: half the frame rate, then two thirds, a half and a third of the width and
//!   height. Never below 160x90 or 10 fps.
//! - **Bitrate.** A rung needs 0.012 bit per pixel ([`FLOOR`]). Less for 3 s ([`DOWN_HOLD`]) is a step down; 1.5 times
//!   what the next higher rung needs, for 15 s ([`UP_HOLD`]), is a step up.
//! - **Heat.** The steps that [`Heat`](super::temperature::Heat) requests limit the highest rung, immediately.
//! - **Reported once.** Each change comes with its reason, and only if something changes.
//!
//! Each change recreates the encoder, which costs a key frame; hence the long times.

use std::time::{Duration, Instant};

/// The bits per pixel below which a rung needs too much, in thousandths. A choice, not a measurement: 1280x720 stays at
/// 30 fps above 332 kbit/s, and at 15 fps above 166.
pub const FLOOR: u64 = 12;
/// The bits per pixel above which a lower rung has no benefit, in thousandths. Also a choice.
pub const CEILING: u64 = 200;
/// How long the bitrate must have been too low before a step down.
pub const DOWN_HOLD: Duration = Duration::from_secs(3);
/// How long the bitrate must have been high enough before a step up.
pub const UP_HOLD: Duration = Duration::from_secs(15);

/// The remaining part of width and height, in percent.
const SCALES: [u32; 4] = [100, 67, 50, 33];
const LEAST_FPS: u32 = 10;
const LEAST_SIZE: (u32, u32) = (160, 90);

/// The frame size and rate that an encoder gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality {
    /// Percentage of the full width and height.
    pub percent: u32,
    /// Maximum frame rate, in frames per second.
    pub fps: u32,
}

impl Quality {
    /// Scales a length of the full frame to this quality; even, as 4:2:0 requires.
    pub fn of(self, length: u32) -> u32 {
        if self.percent >= 100 {
            return length;
        }
        let scaled = u64::from(length) * u64::from(self.percent) / 100;
        (u32::try_from(scaled).expect("smaller than a u32") / 2 * 2).max(16)
    }
}

/// A change of quality, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The new quality.
    pub quality: Quality,
    /// The reason, as text.
    pub why: String,
}

/// The controller of one stream. Feed it events, then call [`poll`](Self::poll).
#[derive(Debug)]
pub struct Ladder {
    rungs: Vec<Quality>,
    fixed: bool,
    /// The size of the full frame.
    size: (u32, u32),
    bps: Option<u32>,
    /// The rung that the bitrate alone allows.
    by_bits: usize,
    /// The highest rung that heat allows, and its reason.
    by_heat: (usize, String),
    at: usize,
    /// Since when the bitrate has been too low, and since when high enough for a step up.
    low_since: Option<Instant>,
    room_since: Option<Instant>,
}

impl Ladder {
    /// Creates a controller at full quality.
    pub fn new(width: u32, height: u32, fps: u32) -> Self {
        Ladder {
            rungs: rungs((width, height), fps),
            fixed: false,
            size: (width, height),
            bps: None,
            by_bits: 0,
            by_heat: (0, String::new()),
            at: 0,
            low_since: None,
            room_since: None,
        }
    }

    /// Creates a controller that always stays at full quality.
    pub fn fixed(width: u32, height: u32, fps: u32) -> Self {
        let mut ladder = Ladder::new(width, height, fps);
        ladder.rungs.truncate(1);
        ladder.fixed = true;
        ladder
    }

    /// The current quality.
    pub fn quality(&self) -> Quality {
        self.rungs[self.at]
    }

    /// The number of steps down from full quality.
    pub fn depth(&self) -> usize {
        self.rungs.len() - 1
    }

    /// The bitrate above which the current quality gains nothing, in bit/s; `None` at full quality.
    pub fn ceiling(&self) -> Option<u32> {
        (self.at > 0).then(|| u32::try_from(self.bits(self.at, CEILING)).unwrap_or(u32::MAX))
    }

    /// The pixels per second to encode at the quality that heat allows.
    pub fn cooled(&self) -> u64 {
        let Quality { percent, fps } = self.rungs[self.by_heat.0.min(self.depth())];
        pixels(self.size, percent) * u64::from(fps)
    }

    /// The bitrates below which such frames are worth little, and above which they gain nothing, in bit/s.
    pub fn bounds(width: u32, height: u32, fps: u32) -> (u32, u32) {
        let pixels = pixels((width, height), 100) * u64::from(fps);
        let bits = |thousandths| u32::try_from(pixels * thousandths / 1000).unwrap_or(u32::MAX);
        (bits(FLOOR), bits(CEILING))
    }

    /// Sets the actual size of the full frame.
    pub fn handle_size(&mut self, width: u32, height: u32) {
        if !self.fixed && self.at == 0 && width > 0 && height > 0 && self.size != (width, height) {
            self.size = (width, height);
            self.rungs = rungs(self.size, self.rungs[0].fps);
            self.by_bits = 0;
        }
    }

    /// Sets the bitrate that the encoder may use, in bit/s.
    pub fn handle_rate(&mut self, bps: u32) {
        self.bps = Some(bps);
    }

    /// Resets the known bitrate, because the next viewer is on another network.
    pub fn forget_rate(&mut self) {
        (self.bps, self.by_bits) = (None, 0);
        (self.low_since, self.room_since) = (None, None);
    }

    /// Sets the number of steps down that heat requires; 0 for none.
    pub fn handle_heat(&mut self, steps: usize, why: &str) {
        self.by_heat = (steps, why.to_owned());
    }

    /// The change to make now, if any.
    pub fn poll(&mut self, now: Instant) -> Option<Step> {
        self.by_bits = self.by_bits.min(self.depth());
        self.follow_bits(now);
        let heat = self.by_heat.0.min(self.depth());
        let wanted = self.by_bits.max(heat);
        let before = std::mem::replace(&mut self.at, wanted);
        if wanted == before {
            return None;
        }
        let kbits = self.bps.unwrap_or_default() / 1000;
        let why = match (wanted > before, wanted == heat && heat > 0) {
            (true, true) => self.by_heat.1.clone(),
            (true, false) => format!("{kbits} kbit/s is too low for more"),
            (false, true) => format!("{}, which is better than before", self.by_heat.1),
            (false, false) if self.by_bits > 0 => format!("{kbits} kbit/s is enough for this"),
            (false, false) => "the network and the board allow it again".into(),
        };
        Some(Step { quality: self.quality(), why })
    }

    /// When to call [`poll`](Self::poll) again, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let down = self.low_since.map(|since| since + DOWN_HOLD);
        let up = self.room_since.map(|since| since + UP_HOLD);
        down.into_iter().chain(up).min()
    }

    fn follow_bits(&mut self, now: Instant) {
        let Some(bps) = self.bps.map(u64::from) else { return };
        let rung = self.by_bits;
        let low = rung < self.depth() && bps < self.bits(rung, FLOOR);
        let room = rung > 0 && bps >= self.bits(rung - 1, FLOOR) * 3 / 2;
        self.low_since = low.then(|| self.low_since.unwrap_or(now));
        self.room_since = room.then(|| self.room_since.unwrap_or(now));
        if self.low_since.is_some_and(|since| now >= since + DOWN_HOLD) {
            self.by_bits += 1;
        } else if self.room_since.is_some_and(|since| now >= since + UP_HOLD) {
            self.by_bits -= 1;
        } else {
            return;
        }
        // The next step has to wait again.
        (self.low_since, self.room_since) = (None, None);
        self.follow_bits(now);
    }

    fn bits(&self, rung: usize, thousandths: u64) -> u64 {
        let Quality { percent, fps } = self.rungs[rung];
        pixels(self.size, percent) * u64::from(fps) * thousandths / 1000
    }
}

fn pixels((width, height): (u32, u32), percent: u32) -> u64 {
    u64::from(width) * u64::from(height) * u64::from(percent * percent) / 10_000
}

fn rungs((width, height): (u32, u32), fps: u32) -> Vec<Quality> {
    let slow = (fps / 2).max(fps.min(LEAST_FPS));
    let mut rungs = vec![Quality { percent: 100, fps }];
    let large = |quality: &Quality| {
        quality.of(width) >= LEAST_SIZE.0.min(width) && quality.of(height) >= LEAST_SIZE.1.min(height)
    };
    let lower = SCALES.map(|percent| Quality { percent, fps: slow });
    rungs.extend(lower.into_iter().filter(|quality| *quality != rungs[0]).filter(large).collect::<Vec<_>>());
    rungs
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Do {
        /// kbit/s.
        Rate(u32),
        Heat(usize),
    }
    use Do::{Heat, Rate};

    /// Plays (s, event) on a virtual clock for 120 s, and returns the changes as (ms, percent, fps).
    fn run(size: (u32, u32, u32), script: &[(u64, Do)]) -> Vec<(u64, u32, u32)> {
        let start = Instant::now();
        let mut ladder = Ladder::new(size.0, size.1, size.2);
        let mut changes = Vec::new();
        let mut wake = |ladder: &mut Ladder, now: Instant| {
            let step = ladder.poll(now);
            changes.extend(step.map(|step| {
                assert!(!step.why.is_empty());
                let Quality { percent, fps } = step.quality;
                ((now - start).as_millis() as u64, percent, fps)
            }));
        };
        let end = (120, None);
        for (seconds, what) in script.iter().map(|(at, what)| (*at, Some(what))).chain([end]) {
            let now = start + Duration::from_secs(seconds);
            while let Some(at) = ladder.poll_timeout().filter(|&at| at < now) {
                wake(&mut ladder, at);
                assert_ne!(
                    ladder.poll_timeout(),
                    Some(at),
                    "a timeout that was handled must not be set again"
                );
            }
            match what {
                Some(Rate(kbits)) => ladder.handle_rate(kbits * 1000),
                Some(Heat(steps)) => ladder.handle_heat(*steps, "it is hot"),
                None => break,
            }
            wake(&mut ladder, now);
        }
        changes
    }

    #[test]
    fn bitrate_moves_quality_down_and_up_with_hysteresis() {
        type Row<'a> = (&'a str, (u32, u32, u32), &'a [(u64, Do)], &'a [(u64, u32, u32)]);
        let hd = (1280, 720, 30);
        let table: &[Row] = &[
            ("nothing known", hd, &[], &[]),
            ("enough", hd, &[(0, Rate(332))], &[]),
            ("fewer first", hd, &[(0, Rate(300))], &[(3000, 100, 15)]),
            ("then smaller", hd, &[(0, Rate(150))], &[(3000, 100, 15), (6000, 67, 15)]),
            (
                "to the bottom",
                hd,
                &[(0, Rate(10))],
                &[(3000, 100, 15), (6000, 67, 15), (9000, 50, 15), (12000, 33, 15)],
            ),
            (
                "a short dip has no effect",
                hd,
                &[(0, Rate(300)), (2, Rate(400)), (3, Rate(300)), (5, Rate(400))],
                &[],
            ),
            ("no step up for just enough", hd, &[(0, Rate(300)), (10, Rate(490))], &[(3000, 100, 15)]),
            (
                "up with half as much again",
                hd,
                &[(0, Rate(300)), (10, Rate(500))],
                &[(3000, 100, 15), (25000, 100, 30)],
            ),
            (
                "one rung at a time",
                hd,
                &[(0, Rate(150)), (10, Rate(2000))],
                &[(3000, 100, 15), (6000, 67, 15), (25000, 100, 15), (40000, 100, 30)],
            ),
            ("a small frame needs few bits", (320, 180, 30), &[(0, Rate(21))], &[]),
            (
                "and does not become too small",
                (320, 180, 30),
                &[(0, Rate(1))],
                &[(3000, 100, 15), (6000, 67, 15), (9000, 50, 15)],
            ),
            ("10 fps stay 10 fps", (1280, 720, 10), &[(0, Rate(100))], &[(3000, 67, 10)]),
            ("a tiny frame stays", (64, 64, 5), &[(0, Rate(0))], &[]),
        ];
        for (name, size, script, expected) in table {
            assert_eq!(run(*size, script), *expected, "{name}");
        }
    }

    #[test]
    fn heat_counts_at_once_and_the_lower_of_heat_and_bitrate_wins() {
        let hd = (1280, 720, 30);
        assert_eq!(
            run(hd, &[(1, Heat(1)), (2, Heat(3)), (3, Heat(0))]),
            [(1000, 100, 15), (2000, 50, 15), (3000, 100, 30)]
        );
        assert_eq!(run(hd, &[(1, Heat(99))]), [(1000, 33, 15)], "more steps than there are rungs");
        let both = [(0, Rate(300)), (1, Heat(2)), (10, Heat(0))];
        assert_eq!(run(hd, &both), [(1000, 67, 15), (10000, 100, 15)]);
    }

    #[test]
    fn a_fixed_ladder_never_changes() {
        let start = Instant::now();
        let mut ladder = Ladder::fixed(1280, 720, 30);
        ladder.handle_rate(1);
        ladder.handle_heat(4, "hot");
        ladder.handle_size(640, 360);
        assert_eq!(
            (ladder.poll(start), ladder.poll(start + UP_HOLD), ladder.poll_timeout()),
            (None, None, None)
        );
    }

    #[test]
    fn each_change_has_its_reason() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut ladder = Ladder::new(1280, 720, 30);
        ladder.handle_heat(1, "the board is at 76.0 °C");
        assert_eq!(ladder.poll(at(0)).map(|step| step.why), Some("the board is at 76.0 °C".into()));
        ladder.handle_heat(0, "");
        assert_eq!(
            ladder.poll(at(1)).map(|step| step.why),
            Some("the network and the board allow it again".into())
        );
        ladder.handle_rate(200_000);
        assert_eq!(ladder.poll(at(2)), None);
        assert_eq!(ladder.poll(at(5)).map(|step| step.why), Some("200 kbit/s is too low for more".into()));
    }

    #[test]
    fn the_actual_size_of_a_camera_counts() {
        let start = Instant::now();
        let mut ladder = Ladder::new(1280, 720, 30);
        ladder.handle_size(640, 360);
        ladder.handle_rate(100_000);
        ladder.poll(start);
        assert_eq!(ladder.poll(start + DOWN_HOLD), None, "enough for such a small frame");
        assert_eq!(ladder.ceiling(), None);
        ladder.handle_heat(2, "hot");
        let quality = ladder.poll(start + DOWN_HOLD).expect("a step").quality;
        assert_eq!((quality.of(640), quality.of(360)), (428, 240));
        assert!(ladder.ceiling().is_some_and(|bps| bps < 320_000), "{:?}", ladder.ceiling());
        ladder.handle_size(428, 240);
        assert_eq!(ladder.size, (640, 360), "a scaled frame is not the full one");
    }
}
