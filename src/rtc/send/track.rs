//! A stream on its way to one viewer: which frames pass, and which packets are next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::Timestamp;
use super::cut::Payloads;
use super::delays::{Delays, Stopwatch};
use super::header::Extensions;
use super::history::History;
use super::select::{ASK_AGAIN, Selection, Serving, Verdict};
use crate::media::adapt::keyframes::KeyFrameReason;
use crate::media::{Codec, Encoding, StreamId};

/// A viewer whose oldest waiting frame is older than this cannot keep up: waiting frames are dropped, and it continues
/// at a key frame.
const STUCK: Duration = Duration::from_secs(1);
/// Video that our own socket has not taken for this long is dropped up to a key frame. Half of `STUCK`, because it is
/// late for all viewers at once.
const BEHIND: Duration = Duration::from_millis(500);
/// Audio older than this is dropped packet by packet: ten of 20 ms, which receivers conceal rather than play late.
const AUDIO_BEHIND: Duration = Duration::from_millis(200);
/// The maximum overhead of a payload: see [`MAX_PAYLOAD`](super::cut::MAX_PAYLOAD).
const AROUND: usize = 62;
/// The maximum number of waiting frames of a stream: a second at the highest usual frame rate.
const MAX_WAITING: usize = 120;

/// A frame cut into packets, for all viewers.
#[derive(Clone, Debug)]
pub(in crate::rtc) struct Cut {
    pub(in crate::rtc) codec: Codec,
    pub(in crate::rtc) key: bool,
    pub(in crate::rtc) payloads: Arc<Payloads>,
    pub(in crate::rtc) timestamp: Timestamp,
    pub(in crate::rtc) encoding: Option<Encoding>,
}

/// The effect of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::rtc) struct Pushed {
    /// A key frame is wanted.
    pub(in crate::rtc) wanted: Option<KeyFrameReason>,
    /// The number of frames that are not sent, this one or earlier ones, and the cause.
    pub(in crate::rtc) skipped: Option<(KeyFrameReason, u64)>,
    /// It is the first one of another stream.
    pub(in crate::rtc) switched: bool,
}

/// How a section carries a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rtc) struct Format {
    /// The section's name in the description.
    pub(in crate::rtc) mid: String,
    pub(in crate::rtc) pt: u8,
    pub(in crate::rtc) ssrc: u32,
    /// Payload type and SSRC of retransmissions.
    pub(in crate::rtc) rtx: Option<(u8, u32)>,
    /// Codecs that the stream may change to, with their payload types and those of retransmissions.
    pub(in crate::rtc) others: Vec<(Codec, u8, Option<u8>)>,
    pub(in crate::rtc) extensions: Extensions,
}

/// How packets currently get out.
#[derive(Clone, Copy, Debug)]
pub(in crate::rtc) struct Outlet {
    /// Since when the socket takes nothing, although packets are due.
    pub(in crate::rtc) blocked: Option<Instant>,
    /// When the pacer last delayed packets.
    pub(in crate::rtc) paced: Option<Instant>,
    /// Whether, for some time, more was sent than the network is estimated to carry.
    pub(in crate::rtc) is_over: bool,
    /// Whether everything sent has passed, as far as the pacer knows.
    pub(in crate::rtc) is_idle: bool,
    /// Whether so much is on its way that frames of a stream which is about to be replaced would delay the other.
    pub(in crate::rtc) is_crowded: bool,
}

pub(in crate::rtc) struct Track {
    /// As negotiated.
    pub(in crate::rtc) stream: StreamId,
    pub(in crate::rtc) codec: Codec,
    pub(in crate::rtc) format: Format,
    /// The codec of the last frame.
    sent: Codec,
    selection: Selection,
    gate: Gate,
    /// Waiting frames, and since when each waits.
    waiting: VecDeque<(Instant, Cut)>,
    /// The next packet of the first frame.
    index: usize,
    pub(in crate::rtc) history: History,
    /// Whether the viewer has reported on the stream, so it knows the section.
    pub(in crate::rtc) is_known: bool,
    stopwatch: Stopwatch,
    /// The transport-wide number after the last packet of a key frame, and when that left.
    pub(in crate::rtc) key_sent: Option<(u64, Instant)>,
    /// When a capture time was last sent.
    pub(in crate::rtc) dated: Option<Instant>,
    /// The number of the last FIR (RFC 5104, 4.3.1): the same number again is the same request.
    pub(in crate::rtc) fir: Option<u8>,
    /// When the viewer last missed a packet that cannot be repeated.
    pub(in crate::rtc) gone: Option<Instant>,
}

impl Track {
    /// Starts a stream, which waits for a key frame that was requested at `asked`.
    pub(in crate::rtc) fn new(
        stream: StreamId,
        codec: Codec,
        format: Format,
        resend_packets: usize,
        asked: Instant,
    ) -> Track {
        let video = codec.is_video();
        let kept = if video && format.rtx.is_some() { resend_packets } else { 0 };
        Track {
            stream,
            codec,
            format,
            sent: codec,
            selection: Selection::new(stream, asked),
            gate: if video { Gate::AwaitsKey { asked, cause: KeyFrameReason::Join } } else { Gate::Open },
            waiting: VecDeque::new(),
            index: 0,
            history: History::new(kept),
            stopwatch: Stopwatch::default(),
            is_known: false,
            key_sent: None,
            dated: None,
            fir: None,
            gone: None,
        }
    }

    /// Whether it accepts frames of a stream.
    pub(in crate::rtc) fn follows(&self, stream: StreamId, codec: Codec) -> bool {
        self.pt(codec).is_some() && self.selection.follows(stream)
    }

    /// Returns the payload type of frames in a codec.
    pub(in crate::rtc) fn pt(&self, codec: Codec) -> Option<u8> {
        if codec == self.codec { Some(self.format.pt) } else { self.other(codec).map(|(pt, _)| pt) }
    }

    /// Returns payload type and SSRC of retransmissions of frames in a codec.
    pub(in crate::rtc) fn rtx(&self, codec: Codec) -> Option<(u8, u32)> {
        let (pt, ssrc) = self.format.rtx?;
        if codec == self.codec { Some((pt, ssrc)) } else { Some((self.other(codec)?.1?, ssrc)) }
    }

    /// Returns payload type and that of retransmissions in a codec to which the stream may change.
    fn other(&self, codec: Codec) -> Option<(u8, Option<u8>)> {
        self.format.others.iter().find(|(other, ..)| *other == codec).map(|(_, pt, rtx)| (*pt, *rtx))
    }

    /// Takes another format for the same stream.
    pub(in crate::rtc) fn set_format(&mut self, format: Format) {
        self.format = format;
        if self.waiting.iter().any(|(_, cut)| self.pt(cut.codec).is_none()) {
            self.waiting.clear();
            self.index = 0;
        }
    }

    /// Whether another stream is about to take over.
    pub(in crate::rtc) fn is_changing(&self) -> bool {
        self.selection.is_changing()
    }

    /// The stream whose frames are sent now.
    pub(in crate::rtc) fn current(&self) -> Option<StreamId> {
        self.selection.current()
    }

    /// Returns the delays of frames; `None` before one was sent.
    pub(in crate::rtc) fn delays(&self) -> Option<Delays> {
        self.stopwatch.delays()
    }

    /// Holds frames back until a key frame, which is requested now. Returns the stream to request it of; audio has no
    /// key frames.
    pub(in crate::rtc) fn await_key(&mut self, now: Instant) -> Option<StreamId> {
        if !self.codec.is_video() {
            return None;
        }
        self.gate = Gate::AwaitsKey { asked: now, cause: KeyFrameReason::Join };
        self.selection.needs()
    }

    /// Selects the frames of a video stream. Returns the stream of which a key frame is needed for that.
    pub(in crate::rtc) fn serve(&mut self, serving: Serving, now: Instant) -> Option<StreamId> {
        if self.codec.is_video() { self.selection.serve(serving, now) } else { None }
    }

    /// Queues a frame of a stream; or drops it, or waiting frames.
    pub(in crate::rtc) fn push(
        &mut self,
        stream: StreamId,
        cut: &Cut,
        outlet: Outlet,
        now: Instant,
    ) -> Pushed {
        if !self.codec.is_video() {
            return self.push_audio(cut, now);
        }
        let is_idle = outlet.is_idle && self.waiting.is_empty();
        let mut switched = false;
        match self.selection.handle_frame(stream, cut.key, is_idle, outlet.is_crowded, now) {
            Verdict::Ignore => return Pushed::default(),
            Verdict::Ask => return Pushed { wanted: Some(KeyFrameReason::Join), ..Pushed::default() },
            Verdict::GiveWay => {
                let skipped = 1 + self.waiting.len() as u64;
                self.waiting.clear();
                self.index = 0;
                self.history.abandon();
                return Pushed { skipped: Some((KeyFrameReason::Loss, skipped)), ..Pushed::default() };
            }
            // Waiting frames of the other stream are obsolete, but a frame whose sending has begun is finished.
            Verdict::Switch => {
                self.waiting.truncate(usize::from(self.index > 0));
                switched = true;
                // What the network could not carry was the other stream.
                if matches!(self.gate, Gate::Open | Gate::Stuck) {
                    self.gate = Gate::AwaitsKey { asked: now, cause: KeyFrameReason::Join };
                }
            }
            Verdict::Send => {}
        }
        // A stream changes its codec at a key frame.
        if self.sent != cut.codec && cut.key {
            self.waiting.truncate(usize::from(self.index > 0));
        } else if self.sent != cut.codec && self.gate == Gate::Open {
            return Pushed { wanted: self.await_key(now).map(|_| KeyFrameReason::Join), ..Pushed::default() };
        }
        let (gate, wanted) = self.gate.next(self.queue(outlet, now), cut.key, now);
        self.gate = gate;
        let mut skipped = 1;
        if matches!(gate, Gate::Behind | Gate::Stuck) {
            skipped += self.waiting.len() as u64;
            self.waiting.clear();
            self.index = 0;
        }
        let Some(cause) = gate.cause() else {
            if cut.key {
                self.history.begin_anew();
            }
            self.stopwatch.handle_frame(cut.timestamp.wallclock, cut.encoding, now);
            let timestamp = self.selection.place(cut.timestamp);
            self.sent = cut.codec;
            self.waiting.push_back((now, Cut { timestamp, ..cut.clone() }));
            return Pushed { wanted, skipped: None, switched };
        };
        Pushed { wanted, skipped: Some((cause, skipped)), switched: false }
    }

    fn push_audio(&mut self, cut: &Cut, now: Instant) -> Pushed {
        let mut dropped = 0;
        while self.waiting.len() >= MAX_WAITING || self.age(now) > AUDIO_BEHIND {
            self.waiting.pop_front();
            self.index = 0;
            dropped += 1;
        }
        self.waiting.push_back((now, cut.clone()));
        let skipped = (dropped > 0).then_some((KeyFrameReason::Behind, dropped));
        Pushed { skipped, ..Pushed::default() }
    }

    /// How earlier packets get out: through our socket, and through the network.
    fn queue(&self, outlet: Outlet, now: Instant) -> Queue {
        let blocked = outlet.blocked.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let age = self.age(now);
        // Frames that wait without being delayed by the pacer wait for the socket, which takes too little.
        let paced = outlet.paced.is_some_and(|at| now.saturating_duration_since(at) <= BEHIND);
        if blocked > BEHIND || (!paced && age > BEHIND) {
            return Queue::Behind;
        }
        if outlet.is_over || age > STUCK || self.waiting.len() >= MAX_WAITING {
            return Queue::Stuck;
        }
        if self.waiting.is_empty() && outlet.is_idle { Queue::Empty } else { Queue::Moving }
    }

    /// Whether a key frame has yet to arrive, with reports up to this packet.
    pub(in crate::rtc) fn has_key_on_its_way(&self, reported: Option<u64>, now: Instant) -> bool {
        let Some(reported) = reported else { return false };
        let is_new = |at| now.saturating_duration_since(at) < STUCK;
        self.waiting.iter().any(|(_, cut)| cut.key)
            || self.key_sent.is_some_and(|(next, at)| next > reported + 1 && is_new(at))
    }

    /// How long the oldest frame has waited.
    fn age(&self, now: Instant) -> Duration {
        self.waiting.front().map_or(Duration::ZERO, |(since, _)| now.saturating_duration_since(*since))
    }

    /// Whether it can carry a probe: padding is sent like retransmissions, and arrivals are reported.
    pub(in crate::rtc) fn can_probe(&self) -> bool {
        self.format.rtx.is_some() && self.format.extensions.transport.is_some()
    }

    pub(in crate::rtc) fn has_packets(&self) -> bool {
        !self.waiting.is_empty()
    }

    #[cfg(test)]
    pub(in crate::rtc) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The frame of the next packet, and the packet's index in it.
    pub(in crate::rtc) fn next(&self) -> Option<(&Cut, usize)> {
        self.waiting.front().map(|(_, cut)| (cut, self.index))
    }

    /// The approximate size of the remaining packets of its frame in bytes, with headers and tags.
    pub(in crate::rtc) fn left(&self) -> usize {
        let each = |(cut, index): (&Cut, usize)| {
            let left = cut.payloads.get(index..).unwrap_or_default();
            left.len() * (left.first().map_or(0, |first| first.len()) + AROUND)
        };
        self.next().map_or(0, each)
    }

    /// Records that this packet was sent. Returns whether its frame is complete.
    pub(in crate::rtc) fn advance(&mut self, now: Instant) -> bool {
        self.index += 1;
        let Some(&(since, ref cut)) = self.waiting.front() else { return false };
        if self.index < cut.payloads.len() {
            return false;
        }
        self.stopwatch.handle_sent(cut.encoding, since, now);
        self.waiting.pop_front();
        self.index = 0;
        true
    }
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
    /// Until a key frame, which was requested at this time.
    AwaitsKey {
        asked: Instant,
        cause: KeyFrameReason,
    },
    /// Until the network has taken what was sent.
    Stuck,
    /// Until our socket has taken what was waiting.
    Behind,
}

/// How packets written earlier get out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    Empty,
    Moving,
    /// They wait for the network.
    Stuck,
    /// They wait for our socket.
    Behind,
}

impl Gate {
    /// The gate for a frame that comes now, and the reason if a key frame is wanted. While the socket takes nothing,
    /// none is requested: it would come too early.
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

    /// Why frames do not pass; `None` if they do.
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
