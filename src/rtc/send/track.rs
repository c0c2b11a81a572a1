//! A stream on its way to one viewer: its packets, and whether frames pass.

use std::collections::VecDeque;
use std::sync::Arc;
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
/// Video that our own socket has not taken for so long is dropped up to a key frame. Half of `STUCK`: it is late for
/// all viewers at once.
const BEHIND: Duration = Duration::from_millis(500);
/// Audio older than this is dropped packet by packet: ten of 20 ms, which a receiver conceals rather than play them late.
const AUDIO_BEHIND: Duration = Duration::from_millis(200);
/// Frames of a stream that wait for the socket, at most: half a second of the highest frame rate.
const MAX_WAITING: usize = 120;
/// A viewer that waits for a key frame while others come asks again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long repeated packets are of use.
const RESEND_AGE: Duration = Duration::from_secs(2);
/// When more than this part of what is sent is repetition, repeating makes it worse.
const RESEND_RATIO: f32 = 0.3;

/// A frame that was cut, for all viewers.
#[derive(Clone, Debug)]
pub(in crate::rtc) struct Cut {
    pub(in crate::rtc) key: bool,
    pub(in crate::rtc) payloads: Arc<Payloads>,
    pub(in crate::rtc) timestamp: Timestamp,
}

/// What a frame led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::rtc) struct Pushed {
    /// A key frame is wanted.
    pub(in crate::rtc) wanted: Option<KeyFrameReason>,
    /// So many frames are not sent, this one or those before it, and what was the cause.
    pub(in crate::rtc) skipped: Option<(KeyFrameReason, u64)>,
}

pub(in crate::rtc) struct Track {
    pub(in crate::rtc) stream: StreamId,
    pub(in crate::rtc) codec: Codec,
    pub(in crate::rtc) mid: Mid,
    pt: Pt,
    gate: Gate,
    /// What waits for the socket, and since when.
    waiting: VecDeque<(Instant, Cut)>,
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
            gate: if video { Gate::AwaitsKey { asked, cause: KeyFrameReason::Join } } else { Gate::Open },
            waiting: VecDeque::new(),
            repeats: video && resend_packets > 0,
        }
    }

    /// Holds frames back until a key frame, which is asked for now. Says whether there is something to
    /// ask for: sound has no key frames.
    pub(in crate::rtc) fn await_key(&mut self, now: Instant) -> bool {
        let video = self.codec.is_video();
        if video {
            self.gate = Gate::AwaitsKey { asked: now, cause: KeyFrameReason::Join };
        }
        video
    }

    /// Takes a frame, which then waits until the socket takes it; or drops it, or what waited before it. `held` says
    /// since when the session has been waiting for the socket, if it is.
    pub(in crate::rtc) fn push(
        &mut self,
        cut: &Cut,
        tx: &StreamTx,
        held: Option<Instant>,
        now: Instant,
    ) -> Pushed {
        if !self.codec.is_video() {
            return self.push_audio(cut, now);
        }
        let (gate, wanted) = self.gate.next(self.queue(tx, held, now), cut.key, now);
        self.gate = gate;
        let mut skipped = 1;
        if gate == Gate::Behind {
            skipped += self.waiting.len() as u64;
            self.waiting.clear();
        }
        let Some(cause) = gate.cause() else {
            self.waiting.push_back((now, cut.clone()));
            return Pushed { wanted, skipped: None };
        };
        Pushed { wanted, skipped: Some((cause, skipped)) }
    }

    fn push_audio(&mut self, cut: &Cut, now: Instant) -> Pushed {
        let mut dropped = 0;
        while self.waiting.len() >= MAX_WAITING || age(self.waiting.front(), now) > AUDIO_BEHIND {
            self.waiting.pop_front();
            dropped += 1;
        }
        self.waiting.push_back((now, cut.clone()));
        Pushed { wanted: None, skipped: (dropped > 0).then_some((KeyFrameReason::Behind, dropped)) }
    }

    /// How earlier packets get out: through our socket, and through the network.
    fn queue(&self, tx: &StreamTx, held: Option<Instant>, now: Instant) -> Queue {
        let held_for = held.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let behind = held_for.max(age(self.waiting.front(), now)) > BEHIND;
        if behind || self.waiting.len() >= MAX_WAITING {
            return Queue::Behind;
        }
        match tx.queue_info() {
            Some(q) if q.packet_count() > 0 => {
                let oldest = q.first_unsent().map_or(Duration::ZERO, |t| now.saturating_duration_since(t));
                if oldest > STUCK { Queue::Stuck } else { Queue::Moving }
            }
            _ if held.is_some() || !self.waiting.is_empty() => Queue::Moving,
            _ => Queue::Empty,
        }
    }

    pub(in crate::rtc) fn has_frames(&self) -> bool {
        !self.waiting.is_empty()
    }

    #[cfg(test)]
    pub(in crate::rtc) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The next frame that waits.
    pub(in crate::rtc) fn pop(&mut self) -> Option<Cut> {
        self.waiting.pop_front().map(|(_, cut)| cut)
    }

    pub(in crate::rtc) fn write(&self, tx: &mut StreamTx, numbering: &mut Numbering, cut: &Cut) {
        let time = numbering.time(cut.timestamp.ticks);
        for (i, payload) in cut.payloads.iter().enumerate() {
            let last = i + 1 == cut.payloads.len();
            let number = numbering.take().into();
            tx.write_rtp(
                RtpWrite::new(self.pt, number, time, cut.timestamp.wallclock, payload.clone())
                    .marker(last && self.codec.is_video())
                    .nackable(self.repeats),
            );
        }
    }
}

fn age(waiting: Option<&(Instant, Cut)>, now: Instant) -> Duration {
    waiting.map_or(Duration::ZERO, |(since, _)| now.saturating_duration_since(*since))
}

/// Whether frames pass.
///
/// ```text
///          ┌────────────────────── a key frame ──────────────────────┐
///          ▼                                                         │
///       ┌──────┐  the network's queue is old  ┌───────┐  empty   ┌────────────┐
///       │ open │─────────────────────────────▶│ stuck │─────────▶│ awaits key │
///       └──────┘                              └───────┘          └────────────┘
///          │  our socket takes nothing        ┌────────┐  empty      │     ▲
///          └─────────────────────────────────▶│ behind │◀────────────┘─────┘
///                                             └────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    /// Until a key frame, which was asked for then.
    AwaitsKey {
        asked: Instant,
        cause: KeyFrameReason,
    },
    /// Until the network has taken what was sent.
    Stuck,
    /// Until our socket has taken what there was.
    Behind,
}

/// How packets written earlier get out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    Empty,
    Moving,
    /// They wait for the network.
    Stuck,
    /// They wait for our own socket.
    Behind,
}

impl Gate {
    /// The gate for a frame that comes now; and why a key frame is wanted, if one is. While the socket takes nothing
    /// none is asked for: it would come too early.
    fn next(self, queue: Queue, key: bool, now: Instant) -> (Gate, Option<KeyFrameReason>) {
        let await_key = |cause| (Gate::AwaitsKey { asked: now, cause }, Some(cause));
        match self {
            Gate::Open | Gate::AwaitsKey { .. } if queue == Queue::Behind => (Gate::Behind, None),
            Gate::Open if queue == Queue::Stuck => (Gate::Stuck, None),
            Gate::Open => (Gate::Open, None),
            Gate::Stuck | Gate::Behind if queue != Queue::Empty => (self, None),
            Gate::Stuck | Gate::Behind | Gate::AwaitsKey { .. } if key => (Gate::Open, None),
            Gate::Stuck => await_key(KeyFrameReason::Loss),
            Gate::Behind => await_key(KeyFrameReason::Behind),
            Gate::AwaitsKey { asked, .. } if now.saturating_duration_since(asked) < ASK_AGAIN => (self, None),
            Gate::AwaitsKey { cause, .. } => {
                (Gate::AwaitsKey { asked: now, cause }, Some(KeyFrameReason::Join))
            }
        }
    }

    /// Why frames don't pass; `None` where they do.
    fn cause(self) -> Option<KeyFrameReason> {
        match self {
            Gate::Open => None,
            Gate::AwaitsKey { cause, .. } => Some(cause),
            Gate::Stuck => Some(KeyFrameReason::Loss),
            Gate::Behind => Some(KeyFrameReason::Behind),
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
        let waits = |asked, cause| Gate::AwaitsKey { asked, cause };
        let (join, lost) = (waits(now, KeyFrameReason::Join), waits(now, KeyFrameReason::Loss));
        let late = waits(now, KeyFrameReason::Behind);
        let table = [
            (Gate::Open, Queue::Empty, false, now, (Gate::Open, None)),
            (Gate::Open, Queue::Moving, false, now, (Gate::Open, None)),
            (Gate::Open, Queue::Stuck, false, now, (Gate::Stuck, None)),
            (Gate::Open, Queue::Stuck, true, now, (Gate::Stuck, None)),
            (Gate::Open, Queue::Behind, false, now, (Gate::Behind, None)),
            (Gate::Open, Queue::Behind, true, now, (Gate::Behind, None)),
            (Gate::Stuck, Queue::Stuck, true, now, (Gate::Stuck, None)),
            (Gate::Stuck, Queue::Moving, true, now, (Gate::Stuck, None)),
            (Gate::Stuck, Queue::Behind, true, now, (Gate::Stuck, None)),
            (Gate::Stuck, Queue::Empty, false, now, (lost, Some(KeyFrameReason::Loss))),
            (Gate::Stuck, Queue::Empty, true, now, (Gate::Open, None)),
            (Gate::Behind, Queue::Behind, true, now, (Gate::Behind, None)),
            (Gate::Behind, Queue::Moving, true, now, (Gate::Behind, None)),
            (Gate::Behind, Queue::Empty, false, now, (late, Some(KeyFrameReason::Behind))),
            (Gate::Behind, Queue::Empty, true, now, (Gate::Open, None)),
            (join, Queue::Empty, false, now, (join, None)),
            (
                join,
                Queue::Empty,
                false,
                later,
                (waits(later, KeyFrameReason::Join), Some(KeyFrameReason::Join)),
            ),
            (
                late,
                Queue::Empty,
                false,
                later,
                (waits(later, KeyFrameReason::Behind), Some(KeyFrameReason::Join)),
            ),
            (join, Queue::Empty, true, now, (Gate::Open, None)),
            (join, Queue::Empty, true, later, (Gate::Open, None)),
            (join, Queue::Behind, true, later, (Gate::Behind, None)),
        ];
        for (gate, queue, key, at, expected) in table {
            assert_eq!(gate.next(queue, key, at), expected, "{gate:?} {queue:?} key {key}");
        }
    }
}
