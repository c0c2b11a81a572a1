//! Assembles frames from packets: H.264 (RFC 6184), VP8 (RFC 7741), Opus (RFC 7587).
//!
//! Packets must be in order and without duplicates; [`Unpacker::lose`] marks gaps. A video frame consists of the
//! packets with one timestamp, up to the one with the marker. An incomplete or malformed frame is dropped with all that
//! follow up to the next key frame, as they refer to it.

mod h264;
mod vp8;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::media::Codec;
use crate::rtc::send::opus;

/// The largest video frame: a 4K key frame at the best quality is smaller.
const MAX_FRAME: usize = 4 << 20;
/// The size of a buffer that is kept for the next video frame: at 30 frames a second only key frames exceed it below
/// 15 Mbit/s.
const KEPT: usize = 64 << 10;
/// The largest audio packet: three Opus frames of the largest size (RFC 6716, 3.2); more than a datagram.
const MAX_AUDIO: usize = 4 << 10;

/// A complete frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rtc) struct Unit {
    /// Its RTP timestamp.
    pub(in crate::rtc) time: u32,
    pub(in crate::rtc) key: bool,
    /// Whether frames before it are missing.
    pub(in crate::rtc) torn: bool,
    /// Zero if unknown.
    pub(in crate::rtc) duration: Duration,
    pub(in crate::rtc) data: Arc<[u8]>,
}

/// A frame is malformed or too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// Whether a frame is a key frame, and its bytes.
type Made = (bool, Arc<[u8]>);

#[derive(Debug)]
enum Format {
    H264(h264::Assembler),
    Vp8(vp8::Assembler),
    Opus,
}

/// A partial video frame.
#[derive(Debug)]
struct Open {
    time: u32,
    broken: bool,
}

/// Assembles the frames of one stream.
#[derive(Debug)]
pub(in crate::rtc) struct Unpacker {
    format: Format,
    open: Option<Open>,
    /// The last packet ended a frame; the next one starts another.
    ended: bool,
    /// Deltas are dropped until the next key frame.
    needs_key: bool,
    /// Frames were dropped since the last complete one.
    torn: bool,
    units: VecDeque<Unit>,
    dropped: u64,
}

impl Unpacker {
    pub(in crate::rtc) fn new(codec: Codec) -> Unpacker {
        let format = match codec {
            Codec::H264 => Format::H264(h264::Assembler::default()),
            Codec::Vp8 => Format::Vp8(vp8::Assembler::default()),
            Codec::Opus | Codec::Jpeg => Format::Opus,
        };
        Unpacker {
            needs_key: !matches!(format, Format::Opus),
            format,
            open: None,
            ended: false,
            torn: false,
            units: VecDeque::new(),
            dropped: 0,
        }
    }

    /// Whether a key frame is needed to continue.
    pub(in crate::rtc) fn needs_key(&self) -> bool {
        self.needs_key
    }

    /// Whether frames were dropped since the last complete one.
    pub(in crate::rtc) fn is_torn(&self) -> bool {
        self.torn
    }

    /// Returns the number of dropped video frames.
    pub(in crate::rtc) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns the next complete frame.
    pub(in crate::rtc) fn poll(&mut self) -> Option<Unit> {
        self.units.pop_front()
    }

    /// Whether a payload is the first of a key frame; of H.264, one with parameter sets.
    pub(in crate::rtc) fn begins_key(&self, payload: &[u8]) -> bool {
        match self.format {
            Format::H264(_) => h264::begins_key(payload),
            Format::Vp8(_) => vp8::begins_key(payload),
            Format::Opus => false,
        }
    }

    /// Takes the timestamp, the marker and the payload of the next packet.
    pub(in crate::rtc) fn push(&mut self, time: u32, marker: bool, payload: &[u8]) {
        // Packets with padding only have a number, but belong to no frame.
        if payload.is_empty() {
            return;
        }
        if matches!(self.format, Format::Opus) {
            return self.push_audio(time, payload);
        }
        if self.open.as_ref().is_some_and(|open| open.time != time) {
            // Some senders don't set the marker.
            self.finish();
        }
        let starts = self.ended;
        let is_first = self.open.is_none();
        let open = self.open.get_or_insert(Open { time, broken: false });
        self.ended = false;
        if !open.broken {
            let taken = match &mut self.format {
                Format::H264(assembler) => assembler.push(payload, is_first && !starts),
                Format::Vp8(assembler) => assembler.push(payload),
                Format::Opus => Ok(0),
            };
            open.broken = !taken.is_ok_and(|size| size <= MAX_FRAME);
            if open.broken {
                self.clear();
            }
        }
        if marker {
            self.finish();
        }
    }

    /// Marks a gap before the next packet.
    pub(in crate::rtc) fn lose(&mut self) {
        if matches!(self.format, Format::Opus) {
            self.torn = true;
            return;
        }
        self.dropped += u64::from(self.open.take().is_some());
        self.clear();
        self.ended = false;
        (self.needs_key, self.torn) = (true, true);
    }

    fn clear(&mut self) {
        match &mut self.format {
            Format::H264(assembler) => assembler.clear(),
            Format::Vp8(assembler) => assembler.clear(),
            Format::Opus => {}
        }
    }

    fn push_audio(&mut self, time: u32, payload: &[u8]) {
        // A packet without complete frames is not Opus.
        let Some(duration) = opus::duration(payload).filter(|_| payload.len() <= MAX_AUDIO) else { return };
        let torn = std::mem::take(&mut self.torn);
        self.units.push_back(Unit { time, key: true, torn, duration, data: payload.into() });
    }

    /// Finishes a frame that has all its packets.
    fn finish(&mut self) {
        let Some(Open { time, broken }) = self.open.take() else { return };
        self.ended = true;
        let made = match &mut self.format {
            Format::H264(assembler) => assembler.finish(),
            Format::Vp8(assembler) => assembler.finish(),
            Format::Opus => Ok(None),
        };
        match made.ok().filter(|_| !broken) {
            Some(Some((key, data))) if key || !self.needs_key => {
                let torn = std::mem::take(&mut self.torn);
                self.needs_key = false;
                self.units.push_back(Unit { time, key, torn, duration: Duration::ZERO, data });
            }
            // Only parameter sets.
            Some(None) => {}
            Some(Some(_)) => {
                self.dropped += 1;
                self.torn = true;
            }
            None => {
                self.dropped += 1;
                (self.needs_key, self.torn) = (true, true);
            }
        }
    }
}

/// Empties the buffer of a frame for the next one.
fn empty(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(KEPT);
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Instant;

    use super::*;
    use crate::media::{Frame, StreamId};
    use crate::rtc::recv::order::Packet;
    use crate::rtc::send::cut::Cutter;

    impl Unpacker {
        fn take(&mut self, packet: &Packet) {
            self.push(packet.time, packet.marker, &packet.payload);
        }
    }

    pub(in crate::rtc::recv) fn packet(number: u64, time: u32, marker: bool, payload: &[u8]) -> Packet {
        Packet { number, time, marker, key: false, payload: payload.to_vec(), came: Instant::now() }
    }

    fn frame(codec: Codec, key: bool, data: &[u8]) -> Frame {
        let now = Instant::now();
        Frame {
            stream: StreamId(0),
            codec,
            key,
            captured: now,
            pts: Duration::ZERO,
            duration: Duration::ZERO,
            discontinuity: false,
            encoding: None,
            data: data.into(),
        }
    }

    /// Returns an access unit: two slices, with parameter sets before a key frame.
    pub(in crate::rtc::recv) fn h264(key: bool, size: usize, seed: u8) -> Vec<u8> {
        let mut out = vec![];
        let mut nal = |head: u8, len: usize| {
            out.extend_from_slice(&[0, 0, 0, 1, head]);
            // The first bit marks a slice that starts with the first macroblock.
            out.extend((0..len).map(|i| 0x80 | (i as u8).wrapping_mul(7).wrapping_add(seed)));
        };
        if key {
            nal(0x67, 12);
            nal(0x68, 4);
        }
        let head = if key { 0x65 } else { 0x41 };
        nal(head, size);
        nal(head, size / 2);
        out
    }

    pub(in crate::rtc::recv) fn vp8(key: bool, size: usize, seed: u8) -> Vec<u8> {
        let mut out = vec![u8::from(!key) | 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 1, 0xb4, 0];
        out.extend((0..size).map(|i| (i as u8).wrapping_mul(11).wrapping_add(seed)));
        out
    }

    /// Returns the packets of frames, from our own packetizer.
    pub(in crate::rtc::recv) fn cut(codec: Codec, frames: &[(bool, Vec<u8>)]) -> Vec<Packet> {
        let mut cutter = Cutter::default();
        let mut out = vec![];
        for (n, (key, data)) in frames.iter().enumerate() {
            let payloads = cutter.cut(&frame(codec, *key, data));
            let last = payloads.len() - 1;
            for (i, payload) in payloads.iter().enumerate() {
                out.push(packet(out.len() as u64, n as u32 * 3000, i == last, payload));
            }
        }
        out
    }

    fn units(unpacker: &mut Unpacker) -> Vec<Unit> {
        std::iter::from_fn(|| unpacker.poll()).collect()
    }

    /// Returns a key frame, five deltas, a key frame, a delta.
    fn video(codec: Codec) -> Vec<(bool, Vec<u8>)> {
        (0..8)
            .map(|n| {
                let key = n == 0 || n == 6;
                let size = [4000, 30, 900, 2400][n % 4];
                (key, if codec == Codec::H264 { h264(key, size, n as u8) } else { vp8(key, size, n as u8) })
            })
            .collect()
    }

    #[test]
    fn what_was_cut_is_put_together() {
        for codec in [Codec::H264, Codec::Vp8] {
            let frames = video(codec);
            let mut unpacker = Unpacker::new(codec);
            cut(codec, &frames).iter().for_each(|packet| unpacker.take(packet));
            let units = units(&mut unpacker);
            assert_eq!(units.len(), frames.len());
            for (n, (unit, (key, data))) in units.iter().zip(&frames).enumerate() {
                assert_eq!((unit.time, unit.key, unit.torn), (n as u32 * 3000, *key, false), "{codec:?} {n}");
                assert!(*unit.data == **data, "{codec:?} {n}");
            }
            assert!(!unpacker.needs_key());
        }
    }

    /// Whichever packet is missing: every output frame was sent and refers to no missing frame.
    #[test]
    fn after_each_loss_frames_wait_for_the_next_key_frame() {
        for codec in [Codec::H264, Codec::Vp8] {
            let frames = video(codec);
            let packets = cut(codec, &frames);
            for missing in 0..packets.len() {
                let mut unpacker = Unpacker::new(codec);
                for (n, packet) in packets.iter().enumerate() {
                    if n == missing {
                        unpacker.lose();
                    } else {
                        unpacker.take(packet);
                    }
                }
                let hit = (packets[missing].time / 3000) as usize;
                let out: Vec<usize> =
                    units(&mut unpacker).iter().map(|unit| (unit.time / 3000) as usize).collect();
                let expected: Vec<usize> = (0..8)
                    // A missing first packet of a key frame is noticed even if everything before it is complete.
                    .filter(|n| if hit < 6 { *n < hit || *n >= 6 } else { *n < hit })
                    .collect();
                assert_eq!(out, expected, "{codec:?}, packet {missing} of frame {hit}");
                assert_eq!(unpacker.needs_key(), hit >= 6, "{codec:?}, packet {missing}");
            }
        }
    }

    #[test]
    fn the_frame_after_a_gap_says_so() {
        let frames = video(Codec::Vp8);
        let mut unpacker = Unpacker::new(Codec::Vp8);
        for packet in cut(Codec::Vp8, &frames) {
            if packet.time == 3000 {
                unpacker.lose();
            } else {
                unpacker.take(&packet);
            }
        }
        let torn: Vec<bool> = units(&mut unpacker).iter().map(|unit| unit.torn).collect();
        assert_eq!(torn, [false, true, false]);
    }

    #[test]
    fn a_sender_that_sets_no_marker_is_one_frame_late() {
        let frames = video(Codec::H264);
        let mut unpacker = Unpacker::new(Codec::H264);
        for mut packet in cut(Codec::H264, &frames) {
            packet.marker = false;
            unpacker.take(&packet);
        }
        let out = units(&mut unpacker);
        // Only its leading parameter sets show that the first frame is complete.
        assert_eq!(out.iter().map(|unit| unit.time / 3000).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn no_frame_grows_without_bound() {
        let mut unpacker = Unpacker::new(Codec::Vp8);
        unpacker.take(&packet(0, 7, false, &[&[0x10][..], &vp8(true, 1000, 1)].concat()));
        let more = [&[0x00][..], &[1; 1100]].concat();
        for n in 1..2 * MAX_FRAME / 1100 {
            unpacker.take(&packet(n as u64, 7, false, &more));
        }
        let Format::Vp8(assembler) = &unpacker.format else { panic!("VP8") };
        assert!(assembler.capacity() <= 2 * MAX_FRAME, "{}", assembler.capacity());
        unpacker.take(&packet(1 << 20, 7, true, &more));
        assert_eq!(units(&mut unpacker), []);
        assert!(unpacker.needs_key());
        assert_eq!(unpacker.dropped(), 1);
    }

    #[test]
    fn each_audio_packet_is_a_frame() {
        let mut unpacker = Unpacker::new(Codec::Opus);
        let toc = 31 << 3;
        unpacker.take(&packet(0, 960, true, &[toc, 1, 2]));
        unpacker.take(&packet(1, 1920, false, &[]));
        unpacker.lose();
        unpacker.take(&packet(3, 2880, false, &[toc | 3, 0x83, 1, 1, 9, 9, 9]));
        unpacker.take(&packet(4, 5760, false, &[toc | 3]));
        let expected = [(960, false, 20, 3), (2880, true, 60, 7)];
        let out: Vec<_> = units(&mut unpacker)
            .into_iter()
            .map(|unit| (unit.time, unit.torn, unit.duration.as_millis(), unit.data.len()))
            .collect();
        assert_eq!(out, expected);
        assert!(!unpacker.needs_key());
    }
}
