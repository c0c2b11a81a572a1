//! A stream on its way to one viewer: its packets, and whether frames pass.

use std::time::{Duration, Instant};

use str0m::media::{Mid, Pt};
use str0m::rtp::{RtpWrite, StreamTx};

use super::clock::Timestamp;
use super::cut::Payloads;
use super::numbers::Numbering;
use crate::media::adapt::keyframes::KeyFrameReason;
use crate::media::{Codec, StreamId};

/// A viewer whose queue is older than this can't follow: it is sent nothing more until the queue is
/// empty, and then a key frame. str0m itself would let it grow to two seconds.
const STUCK: Duration = Duration::from_secs(1);
/// A viewer that waits for a key frame while others come asks again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long repeated packets are of use.
const RESEND_AGE: Duration = Duration::from_secs(2);
/// When more than this part of what is sent is repetition, repeating makes it worse.
const RESEND_RATIO: f32 = 0.3;

pub(in crate::rtc) struct Track {
    pub(in crate::rtc) stream: StreamId,
    pub(in crate::rtc) codec: Codec,
    pub(in crate::rtc) mid: Mid,
    pt: Pt,
    gate: Gate,
    /// Whether lost packets are repeated.
    repeats: bool,
}

impl Track {
    /// Starts a stream, which waits for a key frame that was asked for at `asked`.
    pub(in crate::rtc) fn new(
        stream: StreamId,
        codec: Codec,
        pt: u8,
        tx: &mut StreamTx,
        resend_packets: usize,
        asked: Instant,
    ) -> Track {
        let video = codec.is_video();
        if video {
            tx.set_rtx_cache(resend_packets, RESEND_AGE, Some(RESEND_RATIO));
        }
        Track {
            stream,
            codec,
            mid: tx.mid(),
            pt: Pt::from(pt),
            gate: if video { Gate::AwaitsKey(asked) } else { Gate::Open },
            repeats: video && resend_packets > 0,
        }
    }

    /// Holds frames back until a key frame, which is asked for now. Says whether there is something to
    /// ask for: sound has no key frames.
    pub(in crate::rtc) fn await_key(&mut self, now: Instant) -> bool {
        let video = self.codec.is_video();
        if video {
            self.gate = Gate::AwaitsKey(now);
        }
        video
    }

    /// Whether a frame passes, and whether a key frame is wanted.
    pub(in crate::rtc) fn admit(
        &mut self,
        tx: &StreamTx,
        key: bool,
        now: Instant,
    ) -> (bool, Option<KeyFrameReason>) {
        if !self.codec.is_video() {
            return (true, None);
        }
        let queue = match tx.queue_info() {
            Some(q) if q.packet_count() > 0 => {
                let oldest = q.first_unsent().map_or(Duration::ZERO, |t| now.saturating_duration_since(t));
                if oldest > STUCK { Queue::Stuck } else { Queue::Moving }
            }
            _ => Queue::Empty,
        };
        let (gate, wanted) = self.gate.next(queue, key, now);
        self.gate = gate;
        (gate == Gate::Open, wanted)
    }

    pub(in crate::rtc) fn write(
        &self,
        tx: &mut StreamTx,
        numbering: &mut Numbering,
        payloads: &Payloads,
        timestamp: Timestamp,
    ) {
        let time = numbering.time(timestamp.ticks);
        for (i, payload) in payloads.iter().enumerate() {
            let last = i + 1 == payloads.len();
            tx.write_rtp(
                RtpWrite::new(self.pt, numbering.take().into(), time, timestamp.wallclock, payload.clone())
                    .marker(last && self.codec.is_video())
                    .nackable(self.repeats),
            );
        }
    }
}

/// Whether frames pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    /// Until a key frame, which was asked for then.
    AwaitsKey(Instant),
    /// Until the queue is empty.
    Stuck,
}

/// How packets written earlier get out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    Empty,
    Moving,
    Stuck,
}

impl Gate {
    /// The gate for a frame that comes now; and why a key frame is wanted, if one is.
    fn next(self, queue: Queue, key: bool, now: Instant) -> (Gate, Option<KeyFrameReason>) {
        match self {
            Gate::Open if queue == Queue::Stuck => (Gate::Stuck, None),
            Gate::Open => (Gate::Open, None),
            Gate::Stuck if queue != Queue::Empty => (Gate::Stuck, None),
            Gate::Stuck | Gate::AwaitsKey(_) if key => (Gate::Open, None),
            Gate::Stuck => (Gate::AwaitsKey(now), Some(KeyFrameReason::Loss)),
            Gate::AwaitsKey(asked) if now.saturating_duration_since(asked) < ASK_AGAIN => (self, None),
            Gate::AwaitsKey(_) => (Gate::AwaitsKey(now), Some(KeyFrameReason::Join)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_opens_at_a_key_frame_and_shuts_when_the_queue_is_stuck() {
        let now = Instant::now();
        let later = now + ASK_AGAIN;
        let waits = Gate::AwaitsKey(now);
        let table = [
            (Gate::Open, Queue::Empty, false, now, (Gate::Open, None)),
            (Gate::Open, Queue::Moving, false, now, (Gate::Open, None)),
            (Gate::Open, Queue::Stuck, false, now, (Gate::Stuck, None)),
            (Gate::Open, Queue::Stuck, true, now, (Gate::Stuck, None)),
            (Gate::Stuck, Queue::Stuck, true, now, (Gate::Stuck, None)),
            (Gate::Stuck, Queue::Moving, true, now, (Gate::Stuck, None)),
            (Gate::Stuck, Queue::Empty, false, now, (waits, Some(KeyFrameReason::Loss))),
            (Gate::Stuck, Queue::Empty, true, now, (Gate::Open, None)),
            (waits, Queue::Empty, false, now, (waits, None)),
            (waits, Queue::Empty, false, later, (Gate::AwaitsKey(later), Some(KeyFrameReason::Join))),
            (waits, Queue::Empty, true, now, (Gate::Open, None)),
            (waits, Queue::Empty, true, later, (Gate::Open, None)),
        ];
        for (gate, queue, key, at, expected) in table {
            assert_eq!(gate.next(queue, key, at), expected, "{gate:?} {queue:?} key {key}");
        }
    }
}
