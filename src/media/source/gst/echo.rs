//! Blocks of a microphone on their way to its encoder, without what the speaker plays.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Instant;

use gst::prelude::*;
use gstreamer as gst;

use super::canceller::Canceller;
use super::parts::lock;
use crate::media::echo::{BLOCK, Listening};
use crate::media::error::MediaError;

/// Blocks that wait: a sink may play what it gets 20 ms before its time, and what it plays must be known before its echo
/// is removed.
const WAIT: usize = 3;
const WAIT_TIME: gst::ClockTime = gst::ClockTime::from_mseconds(10 * WAIT as u64);

/// Removes what the speaker plays from buffers of 10 ms that leave this pad, for as long as it exists.
///
/// Errors: the canceller does not start.
pub(super) fn cancel(blocks: &gst::Pad, speaker: Listening) -> Result<(), MediaError> {
    let cleaner =
        Mutex::new(Cleaner { speaker, canceller: Some(Canceller::new()?), waiting: VecDeque::new() });
    blocks.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer_mut() {
            lock(&cleaner).clean_at(buffer, Instant::now());
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

struct Cleaner {
    speaker: Listening,
    /// Until it fails.
    canceller: Option<Canceller>,
    waiting: VecDeque<[i16; BLOCK]>,
}

impl Cleaner {
    /// Exchanges a block, which arrives now, for the one [`WAIT`] before it.
    fn clean_at(&mut self, buffer: &mut gst::Buffer, now: Instant) {
        let buffer = buffer.make_mut();
        if let Some(pts) = buffer.pts() {
            buffer.set_pts(pts.saturating_sub(WAIT_TIME));
        }
        let Ok(mut map) = buffer.map_writable() else { return };
        // The last one before a gap may be shorter.
        if map.len() != 2 * BLOCK {
            return;
        }
        let mut block = [0; BLOCK];
        for (sample, bytes) in block.iter_mut().zip(map.chunks_exact(2)) {
            *sample = i16::from_le_bytes([bytes[0], bytes[1]]);
        }
        self.waiting.push_back(block);
        let mut block = match self.waiting.len() > WAIT {
            true => self.waiting.pop_front().unwrap_or([0; BLOCK]),
            false => [0; BLOCK],
        };
        if let Some(canceller) = &mut self.canceller
            && let Some(played) = self.speaker.hear(&block, now)
            && !canceller.clean(&mut block, &played)
        {
            log::warn!("the echo canceller failed, and is not used any more");
            self.canceller = None;
        }
        for (bytes, sample) in map.chunks_exact_mut(2).zip(&block) {
            bytes.copy_from_slice(&sample.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;
    use std::time::Duration;

    use super::*;
    use crate::media::echo::{EchoReference, RATE};

    /// Blocks of a second.
    const SECOND: usize = 100;

    /// What a viewer says: noise in syllables, as no word repeats itself.
    fn words(seconds: usize) -> Vec<f64> {
        let (mut random, mut low) = (1u64, 0.0);
        let sample = |index: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            low = 0.9 * low + 0.1 * ((random >> 40) as f64 / f64::from(1 << 23) - 1.0);
            0.4 * low * (TAU * index as f64 / 19_200.0).sin().max(0.0)
        };
        (0..seconds * RATE as usize).map(sample).collect()
    }

    /// What somebody beside the microphone whistles.
    fn whistle(index: usize) -> f64 {
        0.1 * (TAU * 1_000.0 * index as f64 / f64::from(RATE)).sin()
    }

    fn buffer(samples: impl Iterator<Item = f64>) -> gst::Buffer {
        let bytes: Vec<u8> = samples.flat_map(|sample| ((sample * 32_767.0) as i16).to_le_bytes()).collect();
        gst::Buffer::from_slice(bytes)
    }

    fn samples(buffer: &gst::Buffer) -> Vec<f64> {
        let map = buffer.map_readable().expect("of ours");
        let pairs = map.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
        pairs.map(|sample| f64::from(sample) / 32_767.0).collect()
    }

    fn level(samples: &[f64]) -> f64 {
        10.0 * (samples.iter().map(|sample| sample * sample).sum::<f64>() / samples.len() as f64).log10()
    }

    /// The level of the whistle, of which each tenth of a second may have another phase.
    fn tone(samples: &[f64]) -> f64 {
        let amplitude = |samples: &[f64]| {
            let angle = |index: usize| TAU * 1_000.0 * index as f64 / f64::from(RATE);
            let of = |wave: fn(f64) -> f64| {
                samples.iter().enumerate().map(|(index, sample)| sample * wave(angle(index))).sum::<f64>()
            };
            of(f64::sin).hypot(of(f64::cos)) * 2.0 / samples.len() as f64
        };
        let all: Vec<f64> = samples.chunks_exact(RATE as usize / 10).map(amplitude).collect();
        20.0 * (all.iter().sum::<f64>() / all.len() as f64).log10()
    }

    #[test]
    fn a_viewer_does_not_hear_itself_and_still_hears_the_camera() {
        if let Err(error) = super::super::canceller::check() {
            println!("SKIPPED: {error}");
            return;
        }
        let (reference, zero) = (EchoReference::new(), Instant::now());
        let mut cleaner = Cleaner {
            speaker: reference.listen(zero),
            canceller: Some(Canceller::new().expect("it starts")),
            waiting: VecDeque::new(),
        };
        let said = words(12);
        let time = |block: usize| zero + Duration::from_millis(10 * block as u64);
        // The speaker is 90 ms late, and half a room is between it and the microphone.
        let echo = |index: usize| {
            let before = |ms: usize| index.checked_sub(ms * 48).map_or(0.0, |index| said[index]);
            0.7 * before(90) + 0.2 * before(97) - 0.1 * before(111)
        };
        let (mut heard, mut cleaned) = (vec![], vec![]);
        for block in 0..11 * SECOND {
            let ahead = (block + 5) * BLOCK;
            let played = said[ahead..ahead + BLOCK].iter().map(|sample| (sample * 32_767.0) as i16);
            reference.play(played, time(block + 5));
            let whistles = block >= 8 * SECOND;
            let near = |index| echo(index) + if whistles { whistle(index) } else { 0.0 };
            let mut buffer = buffer((block * BLOCK..(block + 1) * BLOCK).map(near));
            heard.extend(samples(&buffer));
            cleaner.clean_at(&mut buffer, time(block + 1));
            cleaned.extend(samples(&buffer));
        }
        let part = |samples: &[f64], from: usize, to: usize| samples[from * 48_000..to * 48_000].to_vec();
        let echo = level(&part(&heard, 5, 8)) - level(&part(&cleaned, 5, 8));
        let tone = tone(&part(&heard, 9, 11)) - tone(&part(&cleaned, 9, 11));
        println!("the echo is {echo:.1} dB lower, who whistles {tone:.1} dB");
        assert!(echo > 20.0, "{echo} dB");
        assert!(tone.abs() < 3.0, "{tone} dB");
    }
}
