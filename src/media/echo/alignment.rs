//! Which samples of the speaker a block of the microphone echoes.

use std::time::{Duration, Instant};

use super::correlation::{Correlation, FIRST, LAGS, STEP, THIN, Thinner};
use super::tape::Tape;
use super::{BLOCK, RATE};

/// Samples of a millisecond.
const MS: i64 = RATE as i64 / 1_000;
/// How long after the reference the canceller gets the echo. GStreamer's removes 40 dB of an echo from 5 to 40 ms after it,
/// and 5 dB of others; what comes late are the reflections of a room.
const LEAD: i64 = 12 * MS;
/// Sinks play buffers in a row, unless their times differ by more than this (`alignment-threshold` in GStreamer).
const SEAMLESS: i64 = 40 * MS;
/// Kept of what was played: more than the greatest lag.
const KEEP: i64 = 1_000 * MS;
/// How long after its last sound what was played is cancelled.
const RINGS: i64 = 1_000 * MS;
/// The loudest sample of silence: -50 dB of full scale.
const QUIET: u16 = 100;
/// Blocks between measurements.
const EVERY: u32 = 5;
/// In samples, between two measurements of the same lag.
const SAME: f64 = MS as f64;
/// Measurements in a row before the lag is taken: when none is known, or another one.
const FIRST_TIME: u32 = 3;
const AGAIN: u32 = 5;
/// A device's clock is followed up to this difference, in samples; beyond, the alignment jumps, and the canceller has to
/// learn again, which takes it less than a second.
const FOLLOWS: f64 = 2.0 * MS as f64;
/// The share of a difference that is made up for per block, and the most, in samples: 2 ms per second.
const SHARE: f64 = 0.1;
const MOST: f64 = 0.96;
/// A microphone whose samples arrive by so much earlier or later than they should has a clock of its own, or lost some.
const DRIFTED: i64 = 100 * MS;
/// Blocks over which the earliest arrival counts.
const SPAN: u32 = 100;

/// Aligns a speaker's signal with a microphone's. Positions are in samples after `zero`, by the times at which the speaker
/// is to play them.
#[derive(Debug)]
pub(super) struct Alignment {
    zero: Instant,
    played: Tape<i16>,
    thin_played: Tape<f32>,
    play_thinner: Thinner,
    hear_thinner: Thinner,
    /// The end of the last sound that was played.
    sound: Option<i64>,
    /// The position at which the next block of the microphone would have been played, without any lag.
    heard: Option<i64>,
    arrivals: Arrivals,
    correlation: Correlation,
    since_measured: u32,
    /// The lag that was measured last, and how often in a row.
    measured: Option<(f64, u32)>,
    /// The lag in use, in samples.
    lag: Option<f64>,
    thin: Vec<f32>,
    block: Vec<i16>,
}

/// The earliest of the last arrivals, against what is expected.
#[derive(Debug)]
struct Arrivals {
    blocks: u32,
    least: i64,
}

impl Arrivals {
    const NONE: Arrivals = Arrivals { blocks: 0, least: i64::MAX };
}

impl Alignment {
    pub(super) fn new(zero: Instant) -> Alignment {
        Alignment {
            zero,
            played: Tape::new(KEEP as usize),
            thin_played: Tape::new(KEEP as usize / STEP),
            play_thinner: Thinner::new(),
            hear_thinner: Thinner::new(),
            sound: None,
            heard: None,
            arrivals: Arrivals::NONE,
            correlation: Correlation::new(),
            since_measured: 0,
            measured: None,
            lag: None,
            thin: Vec::new(),
            block: Vec::new(),
        }
    }

    fn position(&self, at: Instant) -> i64 {
        let samples = |duration: Duration| (duration.as_secs_f64() * f64::from(RATE)).round() as i64;
        match at.checked_duration_since(self.zero) {
            Some(after) => samples(after),
            None => -samples(self.zero.saturating_duration_since(at)),
        }
    }

    /// Takes audio that the speaker plays next.
    pub(super) fn play(&mut self, samples: impl Iterator<Item = i16>, due: Instant) {
        let start = self.position(due);
        let gap = start - self.played.end();
        if self.played.is_empty() || gap > KEEP {
            // A multiple of the step, as both tapes go by the same positions.
            let start = start.div_euclid(STEP as i64);
            self.thin_played.restart(start);
            self.played.restart(start * STEP as i64);
            self.play_thinner = Thinner::new();
        } else if gap > SEAMLESS {
            (0..gap).for_each(|_| self.push_played(0));
        }
        samples.for_each(|sample| self.push_played(sample));
    }

    fn push_played(&mut self, sample: i16) {
        self.played.push(sample);
        if let Some(thin) = self.play_thinner.push(sample) {
            self.thin_played.push(thin);
        }
        if sample.unsigned_abs() > QUIET {
            self.sound = Some(self.played.end());
        }
    }

    /// Takes the next block of the microphone. Returns what was played [`LEAD`] earlier than it echoes in it, or nothing
    /// for as long as there is nothing to cancel.
    pub(super) fn hear(&mut self, block: &[i16; BLOCK], now: Instant) -> Option<[i16; BLOCK]> {
        let arrival = self.position(now) - BLOCK as i64;
        let at = self.follow_arrivals(arrival);
        self.heard = Some(at + BLOCK as i64);
        let thin: [f32; THIN] = {
            let mut thinned = block.iter().filter_map(|sample| self.hear_thinner.push(*sample));
            std::array::from_fn(|_| thinned.next().unwrap_or_default())
        };
        if self.sound.is_none_or(|sound| sound + RINGS < at) {
            return None;
        }
        self.correlate(&thin, at);
        let lag = self.lag?;
        // Whole samples are as good as interpolation.
        let from = at - lag.round() as i64 + LEAD;
        self.played.read(from..from + BLOCK as i64, &mut self.block);
        Some(std::array::from_fn(|index| self.block[index]))
    }

    /// Returns the position of a block: blocks follow one another, whenever they arrive, unless that is far off.
    fn follow_arrivals(&mut self, arrival: i64) -> i64 {
        // Both thinned signals keep the same steps.
        let whole = |position: i64| position.div_euclid(STEP as i64) * STEP as i64;
        let Some(expected) = self.heard else {
            self.arrivals = Arrivals::NONE;
            return whole(arrival);
        };
        let Arrivals { blocks, least } = &mut self.arrivals;
        (*blocks, *least) = (*blocks + 1, (*least).min(arrival - expected));
        if *blocks < SPAN {
            return expected;
        }
        let off = whole(*least);
        self.arrivals = Arrivals::NONE;
        if off.abs() < DRIFTED {
            return expected;
        }
        self.lag = self.lag.map(|lag| lag + off as f64);
        self.measured = None;
        self.correlation.clear();
        expected + off
    }

    fn correlate(&mut self, thin: &[f32; THIN], at: i64) {
        let at = at / STEP as i64;
        let last = FIRST + LAGS as i64 - 1;
        self.thin_played.read(at - last..at - FIRST + THIN as i64, &mut self.thin);
        self.correlation.add(thin, &self.thin);
        self.since_measured += 1;
        if self.since_measured >= EVERY {
            self.since_measured = 0;
            self.measure();
        }
        if let (Some(lag), Some((measured, _))) = (&mut self.lag, self.measured)
            && (measured - *lag).abs() <= FOLLOWS
        {
            *lag += ((measured - *lag) * SHARE).clamp(-MOST, MOST);
        }
    }

    fn measure(&mut self) {
        let Some(measured) = self.correlation.lag().map(|lag| lag * STEP as f64) else {
            self.measured = None;
            return;
        };
        let times = match self.measured {
            Some((before, times)) if (measured - before).abs() <= SAME => times + 1,
            _ => 1,
        };
        self.measured = Some((measured, times));
        let is_new = match self.lag {
            None => times >= FIRST_TIME,
            Some(lag) => times >= AGAIN && (measured - lag).abs() > FOLLOWS,
        };
        if is_new {
            log::debug!("the microphone hears the speaker {:.0} ms after its time", measured / MS as f64);
            self.lag = Some(measured);
        }
    }
}

#[cfg(test)]
mod tests;
