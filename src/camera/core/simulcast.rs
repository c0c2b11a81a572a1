//! The encodings of a publisher's video (simulcast): their ranks, their bitrates, and which ones arrive.
//!
//! An offer lists them in any order, so they are ranked by the sizes in their key frames. Each rank is a stream of the
//! source. A browser starts with the smallest encoding and adds others as its network allows. So ranks change, and the
//! stream of a rank switches to another encoding at a key frame.

use std::time::{Duration, Instant};

use crate::camera::demand::Rate;
use crate::media::frame::sps::Sps;
use crate::media::{Codec, Frame, VIDEO_H264_LAYERS};

/// The number of encodings that a session receives at most.
pub(super) const LAYERS: usize = VIDEO_H264_LAYERS.len();
/// The interval of bitrate measurements: long enough that single key frames of a browser matter little.
const MEASURED: Duration = Duration::from_secs(1);
/// An encoding counts as silent after this time without a frame. A slow screen share has five frames per second.
const SILENT: Duration = Duration::from_secs(2);
/// It does so too after this many frames of a worse encoding, since all are of one camera; and it counts as back when it
/// brought as many again. A browser that tries whether its network carries a better encoding may stop it after a frame.
const MISSED: u32 = 8;
/// The weight of the previous average, relative to a new measurement.
const BEFORE: u64 = 3;

/// One encoding.
#[derive(Clone, Copy, Debug, Default)]
struct Layer {
    pixels: Option<u64>,
    heard: Option<Instant>,
    /// Bytes in the current measurement.
    bytes: u64,
    since: Option<Instant>,
    bps: Option<u64>,
    is_silent: bool,
    /// Frames of a worse encoding since the last one of this.
    missed: u32,
    /// Frames since it was silent.
    back: u32,
}

impl Layer {
    fn fall_silent(&mut self) {
        (self.is_silent, self.back) = (true, 0);
        (self.bytes, self.since, self.bps) = (0, None, None);
    }
}

/// The stream that a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// 0 is the best encoding.
    pub(super) rank: usize,
    /// Whether this frame changed the ranks of encodings.
    pub(super) moved: bool,
    /// Whether it showed that a better encoding is silent.
    pub(super) silenced: bool,
}

/// All encodings of one publisher.
#[derive(Debug, Default)]
pub(super) struct Layers {
    all: [Layer; LAYERS],
    /// The encoding of each rank.
    ranks: Vec<usize>,
    measured: Option<Instant>,
}

impl Layers {
    /// Handles a frame of an encoding. Returns `None` before its first key frame.
    pub(super) fn handle_frame(&mut self, number: usize, frame: &Frame, now: Instant) -> Option<Place> {
        let layer = self.all.get_mut(number)?;
        (layer.heard, layer.missed) = (Some(now), 0);
        if layer.is_silent {
            layer.back += 1;
            layer.is_silent = layer.back < MISSED;
        }
        if layer.since.is_some() {
            layer.bytes += frame.data.len() as u64;
        } else {
            // This frame belongs to the time before the measurement.
            layer.since = Some(now);
        }
        let mut moved = false;
        if frame.key {
            let pixels = Some(pixels(frame).unwrap_or(0));
            if std::mem::replace(&mut layer.pixels, pixels) != pixels {
                moved = self.rank();
            }
        }
        let rank = self.ranks.iter().position(|other| *other == number)?;
        let mut silenced = false;
        for better in &self.ranks[..rank] {
            let layer = &mut self.all[*better];
            layer.missed += 1;
            if layer.missed == MISSED {
                silenced |= !layer.is_silent;
                layer.fall_silent();
            }
        }
        Some(Place { rank, moved, silenced })
    }

    /// Updates the ranks. Returns whether they changed.
    fn rank(&mut self) -> bool {
        let known = |number: &usize| self.all[*number].pixels.is_some();
        let mut ranks: Vec<usize> = (0..LAYERS).filter(known).collect();
        // Of equal ones, the first in the offer is preferred.
        ranks.sort_by_key(|number| std::cmp::Reverse(self.all[*number].pixels));
        let before = std::mem::replace(&mut self.ranks, ranks);
        before != self.ranks
    }

    /// Returns the encoding of a rank.
    pub(super) fn number(&self, rank: usize) -> Option<usize> {
        self.ranks.get(rank).copied()
    }

    /// Whether there are several encodings.
    pub(super) fn are_several(&self) -> bool {
        self.ranks.len() > 1
    }

    /// Updates the measurements. Returns whether something may have changed.
    pub(super) fn measure(&mut self, now: Instant) -> bool {
        let passed = |at: Instant| now.saturating_duration_since(at);
        if passed(*self.measured.get_or_insert(now)) < MEASURED {
            return false;
        }
        self.measured = Some(now);
        for layer in &mut self.all {
            if !layer.is_silent && layer.heard.is_some_and(|at| passed(at) >= SILENT) {
                layer.fall_silent();
                // All may have paused.
                layer.back = MISSED;
            }
            // An encoding that started in the middle is measured the next time.
            let Some(took) = layer.since.map(passed).filter(|took| *took >= MEASURED / 2) else { continue };
            let bits = std::mem::take(&mut layer.bytes) * 8;
            let bps = bits * 1000 / u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
            layer.bps = Some(layer.bps.map_or(bps, |before| (before * BEFORE + bps) / (BEFORE + 1)));
            layer.since = Some(now);
        }
        true
    }

    /// Returns the bitrate of each rank: the requested one if it is the only rank, or not measured yet.
    pub(super) fn rates(&self) -> [Rate; LAYERS] {
        std::array::from_fn(|rank| {
            let layer = self.number(rank).map(|number| self.all[number]);
            match layer.filter(|_| self.are_several()) {
                Some(Layer { is_silent: true, .. }) => Rate::Silent,
                Some(Layer { bps: Some(bps), .. }) => Rate::Measured(u32::try_from(bps).unwrap_or(u32::MAX)),
                None if rank > 0 => Rate::Silent,
                _ => Rate::Own,
            }
        })
    }
}

/// Returns the size of a key frame in pixels.
fn pixels(frame: &Frame) -> Option<u64> {
    let (width, height) = match frame.codec {
        Codec::H264 => Sps::find(&frame.data).map(|sps| (sps.width, sps.height))?,
        // RFC 6386, 9.1: 14 bits each, after the tag and a start code.
        _ => {
            let &[_, _, _, 0x9d, 0x01, 0x2a, w, wide, h, high] = frame.data.first_chunk()? else {
                return None;
            };
            let length = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
            (length(w, wide), length(h, high))
        }
    };
    Some(u64::from(width) * u64::from(height))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::VIDEO_VP8_LAYERS;

    /// Returns a VP8 frame of this width and half that height.
    fn frame(width: u16, key: bool, bytes: usize) -> Frame {
        let [w, wide] = width.to_le_bytes();
        let [h, high] = (width / 2).to_le_bytes();
        let mut data = vec![u8::from(!key), 0, 0, 0x9d, 0x01, 0x2a, w, wide, h, high];
        data.resize(bytes, 0xab);
        Frame {
            stream: VIDEO_VP8_LAYERS[0],
            codec: Codec::Vp8,
            key,
            captured: Instant::now(),
            pts: Duration::ZERO,
            duration: Duration::ZERO,
            discontinuity: false,
            encoding: None,
            data: data.into(),
        }
    }

    #[test]
    fn the_largest_is_the_best_in_whichever_order_they_come() {
        let now = Instant::now();
        let mut layers = Layers::default();
        let mut take = |number, width, key| {
            let place = layers.handle_frame(number, &frame(width, key, 100), now);
            place.map(|place| (place.rank, place.moved))
        };
        assert_eq!(take(0, 320, false), None, "its size is not known yet");
        assert_eq!(take(0, 320, true), Some((0, true)));
        assert_eq!(take(0, 320, false), Some((0, false)));
        assert_eq!(take(1, 640, true), Some((0, true)));
        assert_eq!(take(0, 320, true), Some((1, false)));
        assert_eq!(take(2, 1280, true), Some((0, true)));
        assert_eq!(take(1, 640, false), Some((1, false)));
        assert_eq!(take(0, 320, false), Some((2, false)));
        // All encodings become smaller, one after the other.
        assert_eq!(take(2, 480, true), Some((1, true)));
        assert_eq!(take(1, 240, true), Some((2, true)));
        assert_eq!(take(0, 120, true), Some((2, true)));
        assert_eq!(layers.number(0), Some(2));
        assert_eq!(layers.number(3), None);
    }

    #[test]
    fn what_misses_frames_that_a_worse_one_brings_is_silent_until_it_comes_again() {
        let now = Instant::now();
        let mut layers = Layers::default();
        layers.handle_frame(0, &frame(320, true, 100), now);
        layers.handle_frame(1, &frame(640, true, 100), now);
        let silenced = |layers: &mut Layers| {
            layers.handle_frame(0, &frame(320, false, 100), now).is_some_and(|place| place.silenced)
        };
        // Every eighth frame is enough: the encoder drops some.
        for _ in 0..10 {
            assert!((1..MISSED).all(|_| !silenced(&mut layers)));
            layers.handle_frame(1, &frame(640, false, 100), now);
        }
        assert_eq!(layers.rates()[0], Rate::Own);
        let all: Vec<bool> = (0..2 * MISSED).map(|_| silenced(&mut layers)).collect();
        assert_eq!(all.iter().position(|silenced| *silenced), Some(7));
        assert_eq!(all.iter().filter(|silenced| **silenced).count(), 1);
        assert_eq!(layers.rates(), [Rate::Silent, Rate::Own, Rate::Silent]);
        for n in 1..=MISSED {
            assert_eq!(layers.rates()[0], Rate::Silent, "frame {n}");
            layers.handle_frame(1, &frame(640, n == 1, 100), now);
            assert!(!silenced(&mut layers));
        }
        assert_eq!(layers.rates()[0], Rate::Own);
    }

    #[test]
    fn bitrates_are_measured_and_what_does_not_come_is_silent() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut layers = Layers::default();
        assert_eq!(layers.rates(), [Rate::Own, Rate::Silent, Rate::Silent]);
        layers.handle_frame(1, &frame(320, true, 1000), at(0));
        assert_eq!(layers.rates(), [Rate::Own, Rate::Silent, Rate::Silent], "a single one");
        layers.handle_frame(0, &frame(640, true, 1000), at(0));
        assert!(!layers.measure(at(0)), "a measurement begins");
        assert_eq!(layers.rates(), [Rate::Own, Rate::Own, Rate::Silent], "nothing is measured");
        for n in 0..100 {
            layers.handle_frame(0, &frame(640, false, 5000), at(n * 10));
            layers.handle_frame(1, &frame(320, false, 1000), at(n * 10));
        }
        assert!(layers.measure(at(1000)) && !layers.measure(at(1500)));
        let rates = |best, small| [Rate::Measured(best), Rate::Measured(small), Rate::Silent];
        assert_eq!(layers.rates(), rates(4_000_000, 800_000));
        // The best one pauses.
        for n in 100..350 {
            layers.handle_frame(1, &frame(320, false, 1000), at(n * 10));
            layers.measure(at(n * 10));
        }
        let [best, small, _] = layers.rates();
        assert_eq!(best, Rate::Silent);
        assert!(matches!(small, Rate::Measured(bps) if bps.abs_diff(800_000) < 10_000), "{small:?}");
        // It is back, at its current bitrate.
        for n in 350..450 {
            layers.handle_frame(0, &frame(640, false, 2500), at(n * 10));
        }
        layers.measure(at(4500));
        assert!(matches!(layers.rates()[0], Rate::Measured(bps) if bps.abs_diff(2_000_000) < 100_000));
    }
}
