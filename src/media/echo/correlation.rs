//! How late a microphone hears what a speaker plays: the lag at which both correlate.

use super::{BLOCK, RATE};

/// Samples are thinned out to 4 kHz, which have most of the energy of speech.
pub(super) const STEP: usize = 12;
/// Samples of a block after that.
pub(super) const THIN: usize = BLOCK / STEP;
/// The lags that are searched, in thinned samples: from -40 ms, as a device may report that it is later than it is, to
/// 640 ms, for sound servers and Bluetooth.
pub(super) const FIRST: i64 = -160;
pub(super) const LAGS: usize = 2_720;

/// Per block of 10 ms: what was heard 0.33 s ago counts by a third. The lag at a speaker whose sink corrects its clock moves
/// by 0.2 ms per second; if it is followed 0.7 s late, `webrtcdsp` removes 10 dB of the echo, with this 25.
const FADE: f32 = 0.97;
/// Blocks that must have been added.
const ENOUGH: u32 = 50;
/// The correlation at the lag must be so many times its effective value over all lags. Of 2720 values of noise the
/// greatest is less than 4 times.
const CLEAR: f32 = 6.0;
/// It must be so many times that of all other lags but those next to it, of which periodic sounds have high ones.
const UNIQUE: f32 = 1.4;
/// In thinned samples: 3 ms.
const NEXT: usize = 12;

/// A low-pass filter that keeps one of [`STEP`] samples, and flattens the spectrum of speech.
#[derive(Debug)]
pub(super) struct Thinner {
    taps: [f32; Thinner::TAPS],
    recent: [f32; Thinner::TAPS],
    next: usize,
    count: usize,
    last: f32,
}

impl Thinner {
    const TAPS: usize = 8 * STEP;

    pub(super) fn new() -> Thinner {
        let taps = std::array::from_fn(|index| {
            // A sinc that cuts at 1.8 kHz, in a Hann window.
            let at = index as f32 - (Thinner::TAPS as f32 - 1.0) / 2.0;
            let angle = std::f32::consts::TAU * 1_800.0 / RATE as f32 * at;
            let window = (std::f32::consts::PI * at / Thinner::TAPS as f32).cos().powi(2);
            angle.sin() / angle * window
        });
        Thinner { taps, recent: [0.0; Thinner::TAPS], next: 0, count: 0, last: 0.0 }
    }

    /// Takes a sample; every [`STEP`]th time there is one of the result.
    pub(super) fn push(&mut self, sample: i16) -> Option<f32> {
        self.recent[self.next] = f32::from(sample);
        self.next = (self.next + 1) % Thinner::TAPS;
        self.count += 1;
        if self.count < STEP {
            return None;
        }
        self.count = 0;
        let (newer, older) = self.recent.split_at(self.next);
        let sum: f32 = older.iter().chain(newer).zip(&self.taps).map(|(sample, tap)| sample * tap).sum();
        let flat = sum - 0.9 * self.last;
        self.last = sum;
        Some(flat)
    }
}

/// Correlates with all lags.
#[derive(Debug)]
pub(super) struct Correlation {
    /// For each lag from the greatest to [`FIRST`].
    sums: Vec<f32>,
    blocks: u32,
}

impl Correlation {
    pub(super) fn new() -> Correlation {
        Correlation { sums: vec![0.0; LAGS], blocks: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.sums.fill(0.0);
        self.blocks = 0;
    }

    /// Adds a block of the microphone, and what was played from the greatest lag before its first sample until
    /// [`FIRST`] before its last.
    pub(super) fn add(&mut self, heard: &[f32], played: &[f32]) {
        self.blocks = self.blocks.saturating_add(1);
        self.sums.iter_mut().for_each(|sum| *sum *= FADE);
        for (sample, played) in heard.iter().zip(played.windows(LAGS)) {
            self.sums.iter_mut().zip(played).for_each(|(sum, played)| *sum += sample * played);
        }
    }

    /// The lag in thinned samples, if there is a clear one.
    pub(super) fn lag(&self) -> Option<f64> {
        if self.blocks < ENOUGH {
            return None;
        }
        // A speaker or microphone may invert the signal.
        let size = |index: usize| self.sums[index].abs();
        let best = (0..LAGS).max_by(|a, b| size(*a).total_cmp(&size(*b)))?;
        let effective = (self.sums.iter().map(|sum| sum * sum).sum::<f32>() / LAGS as f32).sqrt();
        let others = (0..LAGS).filter(|index| index.abs_diff(best) > NEXT).map(size).fold(0.0, f32::max);
        if size(best) <= CLEAR * effective || size(best) <= UNIQUE * others {
            return None;
        }
        // The top of the parabola through three values.
        let of = |index: Option<usize>| index.filter(|index| *index < LAGS).map_or(0.0, size);
        let (left, right) = (of(best.checked_sub(1)), of(Some(best + 1)));
        let bend = left - 2.0 * size(best) + right;
        let shift = if bend < 0.0 { 0.5 * (left - right) / bend } else { 0.0 };
        Some((FIRST + LAGS as i64 - 1) as f64 - best as f64 - f64::from(shift))
    }
}
