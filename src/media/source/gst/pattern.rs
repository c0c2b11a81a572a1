//! The clock and frame counter in the test pattern, for people and programs.
//!
//! # Layout
//!
//! Along the top edge of the frame run two rows of 32 blocks. Block `i` spans the columns
//! `i * width / 32` to `(i + 1) * width / 32`; each row is `row_height(height)` high: a 22nd of the
//! height, rounded down to a multiple of 16, 16 at least.
//!
//! - Upper row: white is 1, black is 0. Lower row: the opposite, so a reader needs no threshold and
//!   recognizes a frame without the pattern: a bit is `upper > lower`, and the two must differ clearly.
//! - Blocks 0 to 15: the frame counter modulo 65536, lowest bit first.
//! - Blocks 16 to 31: capture time in UTC milliseconds modulo 65536, lowest bit first.
//!
//! To read it in a web page, from a canvas with the frame at its original size:
//!
//! ```js
//! function readPattern(context, width, height) {
//!   const row = Math.max(16, Math.floor(height / 22) & ~15);
//!   const strip = context.getImageData(0, 0, width, 2 * row).data;
//!   const green = (x, y) => strip[4 * (y * width + x) + 1];
//!   let frame = 0, millis = 0;
//!   for (let i = 0; i < 32; i++) {
//!     const x = Math.floor((i + 0.5) * width / 32);
//!     const difference = green(x, row / 2) - green(x, row + row / 2);
//!     if (Math.abs(difference) < 64) return null;
//!     if (difference > 0) { if (i < 16) frame |= 1 << i; else millis |= 1 << (i - 16); }
//!   }
//!   return { frame, millis, age: (Date.now() - millis) & 0xffff };
//! }
//! ```
//!
//! The tone is twice as loud in the first 100 ms of each second of the same clock, so that lip sync can be seen and heard.
//!
//! The same values are printed below as text: `12:34:56.789 #1234`, in UTC. A square of faint noise in the lower right
//! corner makes an encoder use its full bitrate, as a camera's video would; plain bars need almost nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const BLOCKS: usize = 32;
/// The limits of luma in video (BT.601), which every player stretches to black and white.
const BLACK: u8 = 16;
const WHITE: u8 = 235;

/// The values in the blocks of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burned {
    /// The frame counter modulo 65536.
    pub frame: u16,
    /// The capture time in UTC milliseconds, modulo 65536.
    pub millis: u16,
}

/// Height of one row of blocks in a frame of this height.
pub fn row_height(height: usize) -> usize {
    (height / 22 / 16 * 16).max(16)
}

/// Reads the blocks from the luma plane of a frame: `height` rows of `stride` bytes. `None` if it is not the pattern.
pub fn read(luma: &[u8], stride: usize, width: usize, height: usize) -> Option<Burned> {
    let row = row_height(height);
    let mut bits = 0u32;
    for block in 0..BLOCKS {
        let x = (2 * block + 1) * width / (2 * BLOCKS);
        let at = |y: usize| luma.get(y * stride + x).map(|&luma| i16::from(luma));
        let difference = at(row / 2)? - at(row + row / 2)?;
        if difference.abs() < 64 {
            return None;
        }
        bits |= u32::from(difference > 0) << block;
    }
    Some(Burned { frame: bits as u16, millis: (bits >> 16) as u16 })
}

/// Draws the blocks and the text into an I420 frame in GStreamer's layout (planes one after another, rows rounded up to
/// 4 bytes). A buffer of another size is left unchanged.
pub(super) fn burn(i420: &mut [u8], width: usize, height: usize, frame: u32, now: SystemTime) {
    let stride = width.next_multiple_of(4);
    let chroma_stride = width.div_ceil(2).next_multiple_of(4);
    let luma_size = stride * height.next_multiple_of(2);
    let chroma_size = chroma_stride * height.div_ceil(2);
    if i420.len() < luma_size + 2 * chroma_size {
        return;
    }
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (luma, chroma) = i420.split_at_mut(luma_size);
    let row = row_height(height);
    let bits = frame & 0xffff | (since.as_millis() as u32 & 0xffff) << 16;
    for block in 0..BLOCKS {
        let columns = block * width / BLOCKS..(block + 1) * width / BLOCKS;
        let one = bits >> block & 1 == 1;
        let (upper, lower) = if one { (WHITE, BLACK) } else { (BLACK, WHITE) };
        for y in 0..(2 * row).min(height) {
            luma[y * stride..][columns.clone()].fill(if y < row { upper } else { lower });
        }
    }
    let seconds = since.as_secs();
    let text = format!(
        "{:02}:{:02}:{:02}.{:03} #{frame}",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        since.subsec_millis()
    );
    let bottom = text_box(luma, stride, width, height, 2 * row, &text);
    noise(luma, stride, width, height, frame);
    // Grey chroma, or the blocks and the text would have the bars' colours.
    for plane in chroma.chunks_exact_mut(chroma_size).take(2) {
        plane[..bottom.div_ceil(2) * chroma_stride].fill(128);
    }
}

/// How long a full second is marked in the tone.
const MARK: Duration = Duration::from_millis(100);

/// Doubles the samples in the first 100 ms of each second. `begins` is the time of the first.
pub(super) fn mark(samples: &mut [u8], channels: usize, rate: u32, begins: SystemTime) {
    let since = begins.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let count = |time: Duration| (time.as_nanos() * u128::from(rate) / 1_000_000_000) as u32;
    let first = count(Duration::from_nanos(since.subsec_nanos().into()));
    for (number, frame) in (first..).zip(samples.chunks_exact_mut(2 * channels.max(1))) {
        if number % rate < count(MARK) {
            for sample in frame.chunks_exact_mut(2) {
                let louder = i16::from_le_bytes([sample[0], sample[1]]).saturating_mul(2);
                sample.copy_from_slice(&louder.to_le_bytes());
            }
        }
    }
}

/// Grey with up to 32 levels of noise: a coarse quantizer removes it, a fine one does not.
fn noise(luma: &mut [u8], stride: usize, width: usize, height: usize, seed: u32) {
    let side = (height / 4).min(width);
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    for y in height - side..height {
        for luma in &mut luma[y * stride + width - side..][..side] {
            // Xorshift: quality does not matter, only that each frame differs.
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            *luma = 96 + (state >> 26) as u8;
        }
    }
}

/// White on black, over the full width, so that the grey chroma ends with it. Returns its lower edge.
fn text_box(luma: &mut [u8], stride: usize, width: usize, height: usize, top: usize, text: &str) -> usize {
    let scale = (height / 180).max(1) * 2;
    let bottom = (top + 11 * scale).min(height);
    for y in top..bottom {
        luma[y * stride..][..width].fill(BLACK);
    }
    for (column, glyph) in text.chars().map(glyph).enumerate() {
        let left = (1 + column * 6) * scale;
        for (line, bits) in glyph.into_iter().enumerate() {
            for x in (0..5).filter(|x| bits >> (4 - x) & 1 == 1) {
                let start = left + x * scale;
                for y in (top + (2 + line) * scale..).take(scale).filter(|&y| y < bottom) {
                    if start + scale <= width {
                        luma[y * stride + start..][..scale].fill(WHITE);
                    }
                }
            }
        }
    }
    bottom
}

/// A glyph in 5 x 7 dots; the leftmost dot is the highest of five bits. So no text plugin and no fonts are needed: a
/// board may lack them, and their first use takes seconds.
fn glyph(c: char) -> [u8; 7] {
    match c {
        '0' => [0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e],
        '1' => [0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e],
        '2' => [0x0e, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1f],
        '3' => [0x1f, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0e],
        '4' => [0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02],
        '5' => [0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e],
        '6' => [0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e],
        '7' => [0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08],
        '8' => [0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e],
        '9' => [0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c],
        ':' => [0x00, 0x04, 0x04, 0x00, 0x04, 0x04, 0x00],
        '.' => [0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x0c],
        '#' => [0x0a, 0x0a, 0x1f, 0x0a, 0x1f, 0x0a, 0x0a],
        _ => [0; 7],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_can_be_read_back_in_every_size() {
        for (width, height) in [(64usize, 64usize), (320, 180), (642, 362), (1280, 720), (1920, 1080)] {
            let stride = width.next_multiple_of(4);
            let chroma = (width / 2).next_multiple_of(4) * (height / 2);
            let mut picture = vec![100; stride * height + 2 * chroma];
            assert_eq!(read(&picture, stride, width, height), None, "grey is not the pattern");
            for (frame, millis) in [(0, 0), (1, 65_535), (70_000, 1_234), (u32::MAX, 0x8001)] {
                let now = UNIX_EPOCH + Duration::from_millis((7 << 32) + millis);
                burn(&mut picture, width, height, frame, now);
                let expected = Burned { frame: frame as u16, millis: millis as u16 };
                assert_eq!(read(&picture, stride, width, height), Some(expected), "{width}x{height}");
            }
        }
    }

    #[test]
    fn the_tone_is_louder_at_full_seconds() {
        let at = |ms: u64| UNIX_EPOCH + Duration::from_millis(1_000_000 + ms);
        // From when on, and which of ten samples, a tenth of a second apart, are louder.
        let table = [(0, &[0][..]), (950, &[1]), (100, &[9]), (99, &[0])];
        for (ms, louder) in table {
            let mut samples = [100i16; 20].map(i16::to_le_bytes).concat();
            mark(&mut samples, 2, 10, at(ms));
            let found: Vec<i16> =
                samples.chunks_exact(4).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
            let expected: Vec<i16> = (0..10).map(|n| if louder.contains(&n) { 200 } else { 100 }).collect();
            assert_eq!(found, expected, "{ms}");
        }
        let mut loudest = i16::MAX.to_le_bytes();
        mark(&mut loudest, 1, 48_000, at(0));
        assert_eq!(i16::from_le_bytes(loudest), i16::MAX);
    }

    #[test]
    fn a_buffer_of_another_size_is_left_unchanged() {
        let mut short = vec![7; 100];
        burn(&mut short, 64, 64, 1, UNIX_EPOCH);
        assert!(short.iter().all(|&byte| byte == 7));
    }
}
