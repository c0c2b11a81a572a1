//! Numbers and seals the packets of one batch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::cut::Payloads;
use super::estimate::{Estimator, ProbeId, Sent};
use super::header::{Extensions, Header};
use super::history::Repeat;
use super::ntp::Wall;
use super::pace::Pacer;
use super::sender::Counts;
use super::sequence::Numbers;
use super::track::{Cut, Format, Track};
use crate::media::Codec;
use crate::rtc::crypto::seal::Sealer;

/// Bytes that IP and UDP add to a datagram, for IPv4; the other 20 bytes of IPv6 are within the estimate's margin.
const OVERHEAD: usize = 28;
/// If retransmissions are more than this share of what is sent, they make congestion worse.
const MAX_REPEATED: f64 = 0.3;
/// The interval over which that is measured: after it, earlier bytes count half.
const REPEATED_OVER: Duration = Duration::from_secs(1);
/// Receivers interpolate capture times between those that are sent (libwebrtc sends them equally often).
const DATE_EVERY: Duration = Duration::from_secs(1);
/// What the last packet of a batch may lack for audio to follow it: a unit is cut evenly, so its last packet is shorter by
/// less than a byte for each of the others ([`cut`](super::cut)), of which a batch has 63 at most.
const MAX_GAP: usize = 63;
/// Padding of a probe if there is no packet to repeat: as much as there can be (RFC 3550, 5.1).
const PADDING: usize = 255;

/// The share of retransmissions in what is sent.
#[derive(Debug)]
pub(super) struct Ratio {
    since: Instant,
    all: f64,
    repeated: f64,
}

impl Ratio {
    pub(super) fn new(now: Instant) -> Ratio {
        Ratio { since: now, all: 0.0, repeated: 0.0 }
    }

    fn count(&mut self, bytes: usize, cause: Cause, now: Instant) {
        // The estimator decides how much probes add; they do not use up the share of retransmissions.
        if cause == Cause::Probe {
            return;
        }
        if now.saturating_duration_since(self.since) >= REPEATED_OVER {
            (self.since, self.all, self.repeated) = (now, self.all / 2.0, self.repeated / 2.0);
        }
        self.all += bytes as f64;
        self.repeated += if cause == Cause::Lost { bytes as f64 } else { 0.0 };
    }

    pub(super) fn is_high(&self) -> bool {
        self.repeated > self.all * MAX_REPEATED
    }
}

/// The reason why a packet is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Frame,
    Lost,
    Probe,
}

/// Numbers and seals packets of a batch.
pub(super) struct Outgoing<'a> {
    pub(super) sealer: &'a mut Sealer,
    pub(super) numbers: &'a mut Numbers,
    pub(super) transport: &'a mut u64,
    pub(super) estimator: &'a mut Estimator,
    pub(super) pacer: &'a mut Pacer,
    pub(super) budget: &'a mut Pacer,
    pub(super) ratio: &'a mut Ratio,
    pub(super) counts: &'a mut Counts,
    pub(super) head: &'a mut Vec<u8>,
    pub(super) scratch: &'a mut Vec<u8>,
    pub(super) probe: Option<ProbeId>,
    pub(super) send_time: u32,
    pub(super) playout_delay: Option<u32>,
    pub(super) now: Instant,
    /// Bytes in this batch that belong to the probe.
    pub(super) probed: usize,
    /// The largest size of the audio packet that is to be the last of this batch.
    pub(super) rider: Option<usize>,
}

impl Outgoing<'_> {
    /// The largest size of the next audio packet, if it can be the last of a batch that begins with the next packet of
    /// video: a system call for a short packet alone costs as much CPU as several packets of a frame.
    pub(super) fn find_rider(&self, audio: &[Track], video: &[Track]) -> Option<usize> {
        let rider = audio.iter().find(|track| track.has_packets())?.left();
        let (cut, index) = video.iter().find_map(Track::next)?;
        cut.payloads.get(index).filter(|payload| rider <= payload.len()).map(|_| rider)
    }

    /// The packets of a track's first frame, as far as the batch has room, and the pacer passes video.
    pub(super) fn frame(&mut self, track: &mut Track, wall: &Wall, batch: &mut Batch) {
        let video = track.codec.is_video();
        while let Some((cut, index)) = track.next() {
            if video && !self.pacer.is_open(self.now) {
                break;
            }
            let dated = track.dated;
            let is_due =
                index == 0 && dated.is_none_or(|at| self.now.saturating_duration_since(at) >= DATE_EVERY);
            let captured = is_due.then(|| wall.date(cut.timestamp.wallclock)).flatten();
            let Some((number, time)) = self.packet(track, cut, index, captured, batch) else { break };
            let (codec, key, payloads): (Codec, bool, Arc<Payloads>) =
                (cut.codec, cut.key, cut.payloads.clone());
            track.dated = captured.map(|_| self.now).or(dated);
            track.key_sent = if key { Some((*self.transport, self.now)) } else { track.key_sent };
            track.history.push(number, codec, &payloads, index, time, self.now);
            if track.advance(self.now) {
                self.counts.frames += 1;
                // One frame at a time: if the socket does not take everything, all viewers get an equal share.
                break;
            }
        }
    }

    /// A packet of a frame. Returns its number and RTP time; `None` if the batch has no room for it.
    fn packet(
        &mut self,
        track: &Track,
        cut: &Cut,
        index: usize,
        captured: Option<u64>,
        batch: &mut Batch,
    ) -> Option<(u64, u32)> {
        let payload = &cut.payloads[index];
        let video = track.codec.is_video();
        let Extensions { capture_time, playout_delay, .. } = track.format.extensions;
        let header = Header {
            pt: track.pt(cut.codec)?,
            marker: video && index + 1 == cut.payloads.len(),
            ssrc: track.format.ssrc,
            capture_time: capture_time.zip(captured),
            // Only once: a change during playback freezes Chromium's picture.
            playout_delay: playout_delay.filter(|_| video && !track.is_known).zip(self.playout_delay),
            ..self.header(track)
        };
        let size = header.len() + payload.len() + self.sealer.overhead();
        let padding = match self.rider.filter(|_| video) {
            Some(rider) => {
                Some(batch.gap(size)).filter(|gap| *gap <= MAX_GAP && batch.has_room_for_two(size, rider))?
            }
            None if batch.has_room(size) => 0,
            None => return None,
        };
        let time = self.numbers.of(header.ssrc).time(cut.timestamp);
        let number = self.seal(Header { time, ..header }, payload, padding, Cause::Frame, batch);
        Some((number, time))
    }

    /// A retransmission (RFC 4588).
    pub(super) fn repeat(&mut self, track: &Track, repeat: &Repeat, cause: Cause, batch: &mut Batch) -> bool {
        let Some((pt, ssrc)) = track.rtx(repeat.codec) else { return true };
        let Some(payload) = repeat.payloads.get(repeat.index) else { return true };
        let marker = repeat.index + 1 == repeat.payloads.len();
        let header = Header { pt, ssrc, marker, time: repeat.time, ..self.header(track) };
        if !batch.has_room(header.len() + 2 + payload.len() + self.sealer.overhead()) {
            return false;
        }
        let mut again = std::mem::take(self.scratch);
        again.clear();
        again.extend_from_slice(&repeat.number.to_be_bytes());
        again.extend_from_slice(payload);
        self.counts.repeats += 1;
        self.seal(header, &again, 0, cause, batch);
        *self.scratch = again;
        true
    }

    /// A probe packet, which carries nothing new.
    pub(super) fn pad(&mut self, track: &Track, back: usize, batch: &mut Batch) -> bool {
        if let Some(repeat) = track.history.probe(back) {
            return self.repeat(track, &repeat, Cause::Probe, batch);
        }
        let Some((pt, ssrc)) = track.format.rtx else { return false };
        let header = Header { pt, ssrc, ..self.header(track) };
        if !batch.has_room(header.len() + PADDING + self.sealer.overhead()) {
            return false;
        }
        self.seal(header, &[], PADDING, Cause::Probe, batch);
        true
    }

    fn header<'t>(&self, track: &'t Track) -> Header<'t> {
        let Format { mid, extensions, .. } = &track.format;
        let Extensions { transport, send_time, mid: named, .. } = *extensions;
        Header {
            transport: transport.map(|id| (id, *self.transport as u16)),
            // A viewer that reports arrival times needs no send times.
            send_time: send_time.filter(|_| transport.is_none()).map(|id| (id, self.send_time)),
            mid: named.filter(|_| !track.is_known).map(|id| (id, mid.as_str())),
            ..Header::default()
        }
    }

    /// Numbers and seals a packet, with at most 255 bytes of padding: the last of them is their number (RFC 3550, 5.1).
    fn seal(
        &mut self,
        header: Header<'_>,
        payload: &[u8],
        padding: usize,
        cause: Cause,
        batch: &mut Batch,
    ) -> u64 {
        let index = self.numbers.of(header.ssrc).take(payload.len());
        let header = Header { number: index as u16, padding: padding > 0, ..header };
        self.head.clear();
        header.write(self.head);
        let mut padded = std::mem::take(self.scratch);
        let text = if padding == 0 {
            payload
        } else {
            padded.clear();
            padded.extend_from_slice(payload);
            padded.resize(payload.len() + padding - 1, 0);
            padded.push(padding as u8);
            &padded
        };
        let size = batch.push(|out| self.sealer.seal_rtp(self.head, index, text, out));
        *self.scratch = padded;
        self.counts.packets += 1;
        self.counts.bytes += size as u64;
        // Audio is not paced: while the pacer is closed, it would only stretch a probe.
        let probe = self.probe.filter(|_| self.pacer.is_open(self.now));
        self.probed += probe.map_or(0, |_| size);
        self.ratio.count(size, cause, self.now);
        if cause == Cause::Probe {
            self.pacer.spend_on_probe(size + OVERHEAD, self.now);
        } else {
            self.pacer.spend(size + OVERHEAD, self.now);
            self.budget.spend(size + OVERHEAD, self.now);
        }
        if header.transport.is_some() {
            let number = *self.transport;
            *self.transport += 1;
            let size = (size + OVERHEAD) as u16;
            self.estimator.handle_sent(Sent { number, size, at: self.now, probe });
        }
        index
    }
}
