//! Receives one stream: orders packets, requests missing ones and assembles frames.
//!
//! ```text
//!   RTP ─────▶ Quality (for reports) ─▶ Missing ─▶ NACK
//!    │                                     ▲
//!    ├────────▶ Order ─────────────────────┘ given up
//!   RTX ──────▶   │ in order, or a gap
//!                 ▼
//!              Unpacker ─▶ Clock ─▶ Frame, or PLI
//! ```

use std::collections::VecDeque;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use super::clock::{self, Clock, Nanos};
use super::header::{Head, Ids};
use super::missing::Missing;
use super::order::{Next, Order, Packet};
use super::quality::Quality;
use super::report::{self, Block};
use super::unpack::{Unit, Unpacker};
use crate::media::{Codec, Frame, StreamId};
use crate::rtc::crypto::open_rtp::nearest;
use crate::rtc::rid::Rid;

/// How long video waits for missing packets: some round trips of 200 ms. Our own sender keeps packets for as long.
const VIDEO_PATIENCE: Duration = Duration::from_secs(1);
/// Audio is not retransmitted: it only waits for reordered packets.
const AUDIO_PATIENCE: Duration = Duration::from_millis(100);
/// Limit of the waiting packets in bytes: one second at 16 Mbit/s; for audio, more than any Opus stream has.
const VIDEO_BYTES: usize = 2 << 20;
const AUDIO_BYTES: usize = 64 << 10;
/// A key frame is requested again after this time and a round trip.
const KEY_AGAIN: Duration = Duration::from_millis(500);
/// A stream (SSRC) that was replaced by another is accepted again once the other was silent for this long.
const SILENT: Duration = Duration::from_secs(1);

/// The negotiated format of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// The stream that its frames belong to.
    pub(crate) stream: StreamId,
    /// The encoding, if a video has several.
    pub(crate) layer: Option<Layer>,
    pub(crate) codec: Codec,
    pub(crate) pt: u8,
    /// The payload type of retransmissions (RFC 4588).
    pub(crate) rtx: Option<u8>,
    /// Whether the sender supports NACK.
    pub(crate) nack: bool,
    /// Whether it supports PLI.
    pub(crate) pli: bool,
    /// Whether it supports a bitrate limit (REMB).
    pub(crate) remb: bool,
    /// The ID of the extension with the transport-wide number.
    pub(crate) transport: Option<u8>,
}

impl Format {
    /// Returns the IDs of the header extensions.
    pub(in crate::rtc) fn ids(&self) -> Ids {
        let (name, repeated) = self.layer.map_or((None, None), |layer| (Some(layer.name), layer.repeated));
        Ids { transport: self.transport, name, repeated }
    }
}

/// One of several encodings of a video, which share their payload types (RFC 8853).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) rid: Rid,
    /// The ID of the extension with its name, in packets and in retransmissions (RFC 8852).
    pub(crate) name: u8,
    pub(crate) repeated: Option<u8>,
}

/// Reception counters of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::rtc) struct Counts {
    pub(in crate::rtc) frames: u64,
    pub(in crate::rtc) dropped: u64,
    /// Packets that never arrived, not even as retransmissions.
    pub(in crate::rtc) lost: u64,
    pub(in crate::rtc) nacks: u64,
    pub(in crate::rtc) key_frame_requests: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.frames += other.frames;
        self.dropped += other.dropped;
        self.lost += other.lost;
        self.nacks += other.nacks;
        self.key_frame_requests += other.key_frame_requests;
    }
}

/// The state of one sender (SSRC).
#[derive(Debug)]
struct Source {
    ssrc: u32,
    highest: u64,
    heard: Instant,
    quality: Quality,
}

#[derive(Debug)]
pub(in crate::rtc) struct Lane {
    pub(in crate::rtc) format: Format,
    /// The SSRCs of an encoding's packets and retransmissions: only the first packets carry its name.
    named: [Option<u32>; 2],
    source: Option<Source>,
    /// The previous SSRC, whose packets may still arrive.
    former: Option<u32>,
    order: Order,
    missing: Missing,
    unpacker: Unpacker,
    clock: Clock,
    /// The application requested a key frame.
    key_wanted: bool,
    /// Since when a key frame is needed.
    key_since: Option<Instant>,
    /// When it was last requested.
    key_asked: Option<Instant>,
    counts: Counts,
}

impl Lane {
    pub(in crate::rtc) fn new(format: Format) -> Lane {
        let mut missing = Missing::default();
        missing.set_repeats(format.rtx.is_some());
        Lane {
            format,
            named: [None; 2],
            source: None,
            former: None,
            order: order(format.codec),
            missing,
            unpacker: Unpacker::new(format.codec),
            clock: Clock::new(format.codec.clock_rate()),
            key_wanted: false,
            key_since: None,
            key_asked: None,
            counts: Counts::default(),
        }
    }

    /// Returns a new lane for the same stream. Keeps the SSRCs, since its sender may not name it again.
    pub(in crate::rtc) fn anew(&self) -> Lane {
        Lane { named: self.named, ..Lane::new(self.format) }
    }

    /// Changes to another description of the same format.
    pub(in crate::rtc) fn set_format(&mut self, format: Format) {
        self.missing.set_repeats(format.rtx.is_some());
        self.format = format;
    }

    /// Returns the time of the stream's last frame.
    pub(in crate::rtc) fn shown(&self) -> Option<Nanos> {
        self.clock.shown()
    }

    /// Continues a stream whose last frame had this time: times don't go back.
    pub(in crate::rtc) fn after(self, shown: Option<Nanos>) -> Lane {
        Lane { clock: self.clock.after(shown), ..self }
    }

    /// Whether the lane has this format.
    pub(in crate::rtc) fn is_of(&self, format: &Format) -> bool {
        let rid = |format: &Format| format.layer.map(|layer| layer.rid);
        let Format { codec, pt, .. } = self.format;
        codec == format.codec && pt == format.pt && rid(&self.format) == rid(format)
    }

    /// Returns whether a payload type of this lane is for retransmissions; `None` for other payload types.
    pub(in crate::rtc) fn takes(&self, pt: u8) -> Option<bool> {
        if self.format.pt == pt { Some(false) } else { (self.format.rtx == Some(pt)).then_some(true) }
    }

    /// Whether a packet belongs to this lane: by its payload type; if there are several encodings, also by its name, or
    /// by an SSRC that was named before.
    pub(in crate::rtc) fn matches(&self, head: &Head) -> bool {
        let Some(repeated) = self.takes(head.pt) else { return false };
        let Some(layer) = self.format.layer else { return true };
        match if repeated { head.repeated } else { head.name } {
            Some(name) => name == layer.rid,
            None => self.named[usize::from(repeated)] == Some(head.ssrc),
        }
    }

    /// Learns SSRCs from an authentic packet that matches this lane, or another.
    pub(in crate::rtc) fn name(&mut self, head: &Head, is_this: bool) {
        let known = &mut self.named[usize::from(self.format.pt != head.pt)];
        if is_this {
            *known = Some(head.ssrc);
        } else {
            known.take_if(|ssrc| *ssrc == head.ssrc);
        }
    }

    /// Returns the sender's SSRC.
    pub(in crate::rtc) fn ssrc(&self) -> Option<u32> {
        self.source.as_ref().map(|source| source.ssrc)
    }

    pub(in crate::rtc) fn counts(&self) -> Counts {
        Counts { dropped: self.unpacker.dropped(), ..self.counts }
    }

    /// Requests a key frame for the application.
    pub(in crate::rtc) fn want_key(&mut self, now: Instant) {
        if self.format.codec.is_video() {
            self.key_wanted = true;
            self.look_for_key(now);
        }
    }

    /// Handles a packet with this index.
    pub(in crate::rtc) fn handle_packet(
        &mut self,
        index: u64,
        head: &Head,
        payload: &[u8],
        zero: Instant,
        now: Instant,
    ) {
        if !self.follow(head.ssrc, index, now) {
            return;
        }
        let source = self.source.as_mut().expect("followed above");
        source.quality.handle_packet(index, head.time, now);
        (source.highest, source.heard) = (source.highest.max(index), now);
        if self.format.nack {
            self.missing.handle_packet(index, now);
        }
        if !payload.is_empty() {
            self.clock.handle_packet(since(zero, now));
        }
        self.take(index, head, payload, now);
    }

    /// Handles a retransmission: the original number and payload of a packet (RFC 4588, 4).
    pub(in crate::rtc) fn handle_repeat(&mut self, head: &Head, payload: &[u8], now: Instant) {
        let Some((number, payload)) = payload.split_first_chunk() else { return };
        let Some(source) = &self.source else { return };
        let index = nearest(source.highest, u16::from_be_bytes(*number));
        if index <= source.highest {
            self.missing.handle_repeat(index);
            self.take(index, head, payload, now);
        }
    }

    pub(in crate::rtc) fn handle_sender_report(
        &mut self,
        shared: &mut clock::Shared,
        ntp: u64,
        time: u32,
        now: Instant,
    ) {
        self.clock.handle_report(shared, ntp, time);
        if let Some(source) = &mut self.source {
            source.quality.handle_sender_report(ntp, now);
        }
    }

    /// Handles a switch of the sender to another codec, with the same SSRC and numbers.
    pub(in crate::rtc) fn leave(&mut self) {
        if self.source.take().is_some() {
            self.order = order(self.format.codec);
            self.missing = self.missing.anew();
            self.unpacker.lose();
            (self.key_since, self.key_asked) = (None, None);
        }
    }

    /// Whether to accept packets of an SSRC. A new sender replaces the previous one (RFC 3550, 8).
    fn follow(&mut self, ssrc: u32, index: u64, now: Instant) -> bool {
        if let Some(source) = &self.source {
            if source.ssrc == ssrc {
                return true;
            }
            let silent = now.saturating_duration_since(source.heard) >= SILENT;
            if self.former == Some(ssrc) && !silent {
                return false;
            }
            self.former = Some(source.ssrc);
            self.order = order(self.format.codec);
            self.missing = self.missing.anew();
            self.clock = Clock::new(self.format.codec.clock_rate()).after(self.shown());
            self.unpacker.lose();
        }
        let quality = Quality::new(self.format.codec.clock_rate(), index);
        self.source = Some(Source { ssrc, highest: index, heard: now, quality });
        true
    }

    /// Takes the next packet at once; others wait for their turn.
    fn take(&mut self, number: u64, head: &Head, payload: &[u8], now: Instant) {
        let (time, marker) = (head.time, head.marker);
        if self.order.pass(number) {
            self.unpacker.push(time, marker, payload);
        } else {
            let key = self.unpacker.begins_key(payload);
            self.order.insert(Packet { number, time, marker, key, payload: payload.to_vec(), came: now });
        }
    }

    /// Appends all complete frames.
    pub(in crate::rtc) fn poll_frames(
        &mut self,
        shared: &mut clock::Shared,
        zero: Instant,
        now: Instant,
        out: &mut VecDeque<Frame>,
    ) {
        loop {
            while let Some(unit) = self.unpacker.poll() {
                out.push_back(self.frame(unit, shared, zero, now));
            }
            match self.order.poll(now) {
                Some(Next::Packet(packet)) => self.unpacker.push(packet.time, packet.marker, &packet.payload),
                Some(Next::Lost(count)) => {
                    self.counts.lost += count;
                    self.unpacker.lose();
                }
                None => break,
            }
        }
        if let Some(next) = self.order.next() {
            self.missing.forget_before(next);
        }
        self.look_for_key(now);
    }

    fn frame(&mut self, unit: Unit, shared: &mut clock::Shared, zero: Instant, now: Instant) -> Frame {
        let pts = clock::since_zero(self.clock.time_of(shared, unit.time, since(zero, now)));
        self.counts.frames += 1;
        self.key_wanted &= !unit.key;
        Frame {
            stream: self.format.stream,
            codec: self.format.codec,
            key: unit.key,
            captured: (zero + pts).min(now),
            pts,
            duration: unit.duration,
            discontinuity: unit.torn && self.counts.frames > 1,
            encoding: None,
            data: unit.data,
        }
    }

    /// Updates whether a key frame is needed.
    fn look_for_key(&mut self, now: Instant) {
        if self.source.is_some() && (self.key_wanted || self.unpacker.needs_key()) {
            self.key_since.get_or_insert(now);
        } else {
            (self.key_since, self.key_asked) = (None, None);
        }
    }

    /// Returns when to request a key frame. The first request waits a while, since senders start with a key frame.
    fn key_due(&self, rtt: Duration) -> Option<Instant> {
        let since = self.key_since.filter(|_| self.format.pli)?;
        let urgent = self.key_wanted || self.unpacker.is_torn();
        Some(match self.key_asked {
            Some(asked) => asked + KEY_AGAIN + rtt,
            None if urgent => since,
            None => since + KEY_AGAIN,
        })
    }

    /// Returns when there is something to request, or a gap to skip.
    pub(in crate::rtc) fn deadline(&self, rtt: Duration) -> Option<Instant> {
        [self.order.deadline(), self.missing.deadline(), self.key_due(rtt)].into_iter().flatten().min()
    }

    /// Whether there is something to request now.
    pub(in crate::rtc) fn has_request(&self, rtt: Duration, now: Instant) -> bool {
        self.missing.is_due(now) || self.key_due(rtt).is_some_and(|at| at <= now)
    }

    /// Appends the current requests as RTCP packets.
    pub(in crate::rtc) fn write_requests(
        &mut self,
        from: u32,
        rtt: Duration,
        now: Instant,
        out: &mut Vec<u8>,
    ) {
        let Some(ssrc) = self.ssrc() else { return };
        let numbers = self.missing.poll(rtt, now);
        if !numbers.is_empty() {
            self.counts.nacks += 1;
            report::nack(from, ssrc, &numbers, out);
        }
        if self.key_due(rtt).is_some_and(|at| at <= now) {
            self.counts.key_frame_requests += 1;
            self.key_asked = Some(now);
            report::pli(from, ssrc, out);
        }
    }

    /// Returns its report block.
    pub(in crate::rtc) fn report(&mut self, now: Instant) -> Option<Block> {
        let source = self.source.as_mut()?;
        Some(source.quality.report(source.ssrc, now))
    }
}

/// Returns a time as the clocks count it.
fn since(zero: Instant, now: Instant) -> Nanos {
    Nanos::try_from(now.saturating_duration_since(zero).as_nanos()).unwrap_or(Nanos::MAX / 2)
}

fn order(codec: Codec) -> Order {
    match codec.is_video() {
        true => Order::new(VIDEO_PATIENCE, VIDEO_BYTES),
        false => Order::new(AUDIO_PATIENCE, AUDIO_BYTES),
    }
}
