//! Video frames in decoding order, and what can be decoded of them.

use std::collections::VecDeque;

use super::timeline::Timeline;
use super::{Counts, LEAD, Limits, Micros, Presence};
use crate::media::frame::sps;
use crate::media::{Codec, Frame, StreamId};

/// A frame that is later than this is not shown, only decoded, even if no newer one waits: after a stall, video continues
/// at the present instead of running through what was missed.
const MOST_LATE: Micros = 200_000;
/// Key frames are not requested more often: what a request and its answer take on a slow path.
const REQUEST_INTERVAL: Micros = 1_000_000;
/// The largest picture of level 5.2 (H.264, table A-1), which is larger than 4K. Decoders allocate several pictures of the
/// size that a frame claims, however few bytes it has: for 16383 by 16383 more than two gigabytes.
const MOST_PIXELS: u64 = 36_864 * 256;
/// Without audio the latency falls by this much at a time, like an Opus packet.
const STEP: Micros = 20_000;

#[derive(Debug)]
pub(super) struct Video {
    pub(super) presence: Presence,
    queue: VecDeque<(Micros, Frame)>,
    bytes: usize,
    /// Of the last frame that was taken.
    source: Option<(StreamId, Codec)>,
    needs_key: bool,
    requested: Option<Micros>,
}

impl Default for Video {
    fn default() -> Video {
        Video {
            presence: Presence::default(),
            queue: VecDeque::new(),
            bytes: 0,
            source: None,
            needs_key: true,
            requested: None,
        }
    }
}

impl Video {
    pub(super) fn plays(codec: Codec) -> bool {
        matches!(codec, Codec::H264 | Codec::Vp8)
    }

    /// Nothing can be decoded before the next key frame. Returns how many waiting frames were dropped.
    pub(super) fn break_off(&mut self) -> u64 {
        let dropped = self.drop_to_key_frame(0);
        self.needs_key = self.queue.is_empty();
        dropped
    }

    pub(super) fn push(&mut self, frame: Frame, captured: Micros, limits: &Limits, counts: &mut Counts) {
        let source = Some((frame.stream, frame.codec));
        let is_too_large = pixels(&frame) > MOST_PIXELS;
        self.needs_key |= self.source != source || frame.discontinuity || is_too_large;
        if is_too_large || self.needs_key && !frame.key {
            counts.video_undecodable += 1;
            return;
        }
        (self.needs_key, self.requested, self.source) = (false, None, source);
        self.bytes += frame.data.len();
        self.queue.push_back((captured, frame));
        let span = |queue: &VecDeque<(Micros, Frame)>| match (queue.front(), queue.back()) {
            (Some((first, _)), Some((last, _))) => last - first,
            _ => 0,
        };
        while self.bytes > limits.most_bytes || span(&self.queue) > limits.most_time() {
            counts.overflow += self.drop_to_key_frame(1);
            self.needs_key = self.queue.is_empty();
        }
    }

    /// Drops the frames before the first key frame from `start` on.
    fn drop_to_key_frame(&mut self, start: usize) -> u64 {
        let key = self.queue.iter().skip(start).position(|(_, frame)| frame.key);
        let count = key.map_or(self.queue.len(), |key| key + start);
        let dropped = self.queue.drain(..count);
        self.bytes -= dropped.map(|(_, frame)| frame.data.len()).sum::<usize>();
        count as u64
    }

    /// The stream to request a key frame of, if it is time to.
    pub(super) fn wants_key_frame(&mut self, now: Micros) -> Option<StreamId> {
        let waits = self.requested.is_some_and(|requested| now < requested + REQUEST_INTERVAL);
        let stream = self.presence.stream.filter(|_| self.needs_key && !waits)?;
        self.requested = Some(now);
        Some(stream)
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn due(&self, timeline: &Timeline, offset: Micros) -> Option<Micros> {
        Some(self.queue.front()?.0 + timeline.latency()? + offset)
    }

    /// The next frame if it is due, its time, and whether to show it.
    pub(super) fn next(
        &mut self,
        timeline: &mut Timeline,
        offset: Micros,
        now: Micros,
        audio: bool,
    ) -> Option<(Frame, Micros, bool)> {
        if !audio && timeline.could_fall(STEP, now).is_some() {
            timeline.fall(STEP, now);
        }
        let due = self.due(timeline, offset).filter(|due| now >= *due)?;
        let (_, frame) = self.queue.pop_front()?;
        self.bytes -= frame.data.len();
        let late = now - due - LEAD;
        let newer = self.due(timeline, offset).is_some_and(|next| now >= next);
        let show = late <= 0 || (!newer && late <= MOST_LATE);
        Some((frame, due, show))
    }
}

/// The pixels for which a frame makes its decoder allocate; 0 if it goes on with those before it.
fn pixels(frame: &Frame) -> u64 {
    match frame.codec {
        // RFC 6386, 9.1: the lowest bit of a key frame is 0, and its size has 14 bits.
        Codec::Vp8 => match frame.data.first_chunk::<10>() {
            Some(&[tag, _, _, _, _, _, w, wide, h, high]) if tag & 1 == 0 => {
                let length = |low, high| u64::from(u16::from_le_bytes([low, high]) & 0x3fff);
                length(w, wide) * length(h, high)
            }
            _ => 0,
        },
        Codec::H264 => sps::coded_pixels(&frame.data),
        Codec::Jpeg | Codec::Opus => 0,
    }
}
