//! What comes to one viewer: packets in order, frames, losses, and the feedback that a browser gives.

use std::collections::BTreeMap;

use crate::clock::{MILLISECOND, Nanos, SECOND};
use crate::encoder::Label;
use crate::rtcp::{self, Reception};
use crate::rtp::{Header, extend};
use crate::sdp;
use crate::srtp::{Keys, TAG};

/// How browsers give feedback.
const CONGESTION_EVERY: Nanos = 100 * MILLISECOND;
const REPORT_EVERY: Nanos = SECOND;
const FIRST_NACK: Nanos = 10 * MILLISECOND;
const NEXT_NACK: Nanos = 60 * MILLISECOND;
const GIVE_UP: Nanos = 400 * MILLISECOND;
const NEXT_PLI: Nanos = 300 * MILLISECOND;

/// A longer wait for a frame is one that people see.
const GAP: Nanos = 200 * MILLISECOND;
/// A jump that far is a new beginning.
const JUMP: u64 = 1000;

/// What came in the window that is measured.
#[derive(Default)]
pub(crate) struct Tally {
    /// Packets of video, without repeats.
    pub(crate) packets: u64,
    pub(crate) audio: u64,
    /// Repeats that filled nothing, such as probes for bandwidth.
    pub(crate) needless: u64,
    pub(crate) lost: u64,
    pub(crate) gaps: u64,
    /// Complete frames, with the arrival of each one's last packet.
    pub(crate) frames: Vec<(Label, Nanos)>,
}

pub(crate) struct Track {
    window: std::ops::Range<Nanos>,
    pub(crate) tally: Tally,
    pub(crate) first_key: Option<Nanos>,
    /// Frames whose label could not be read: wrong keys, or what was sent is not what was encoded.
    pub(crate) garbled: u64,
    ssrc: u32,
    /// The index up to which all packets came or were given up; `None` before the first packet.
    next: Option<u64>,
    highest: u64,
    /// Packets behind a hole.
    waiting: BTreeMap<u64, Packet>,
    holes: BTreeMap<u64, Hole>,
    frame: Frame,
    needs_key: bool,
    last_frame: Option<Nanos>,
    repeats: (u32, u64),
    arrivals: Vec<(u64, Nanos)>,
    transport: Option<u64>,
    messages: u8,
    next_congestion: Nanos,
    next_report: Nanos,
    next_pli: Nanos,
    lost: u32,
    reported: (u64, u32),
    report: Option<(u32, Nanos)>,
}

struct Packet {
    /// Of the last packet of a frame.
    end: Option<Option<Label>>,
    at: Nanos,
}

struct Hole {
    since: Nanos,
    next_nack: Nanos,
}

/// The frame whose packets are coming.
#[derive(Default)]
struct Frame {
    is_broken: bool,
    newest: Nanos,
}

impl Track {
    pub(crate) fn new() -> Track {
        Track {
            window: 0..0,
            tally: Tally::default(),
            first_key: None,
            garbled: 0,
            ssrc: 0,
            next: None,
            highest: 0,
            waiting: BTreeMap::new(),
            holes: BTreeMap::new(),
            frame: Frame::default(),
            needs_key: true,
            last_frame: None,
            repeats: (0, 0),
            arrivals: Vec::new(),
            transport: None,
            messages: 0,
            next_congestion: 0,
            next_report: 0,
            next_pli: 0,
            lost: 0,
            reported: (0, 0),
            report: None,
        }
    }

    /// Counts what comes in this time from now on.
    pub(crate) fn measure(&mut self, window: std::ops::Range<Nanos>) {
        (self.window, self.tally) = (window, Tally::default());
    }

    pub(crate) fn handle_rtp(&mut self, packet: &[u8], keys: &mut Keys, at: Nanos) {
        let Some(header) = Header::read(packet, sdp::TRANSPORT_EXTENSION) else { return };
        if let Some(number) = header.transport {
            let highest = self.transport.unwrap_or(1 << 16 | u64::from(number));
            let number = extend(highest, number);
            self.transport = Some(highest.max(number));
            self.arrivals.push((number, at));
        }
        let Some(payload) =
            packet[header.len..].len().checked_sub(TAG).map(|len| &packet[header.len..][..len])
        else {
            return;
        };
        match header.payload_type {
            sdp::H264 => {
                if self.next.is_none() {
                    self.ssrc = header.ssrc;
                    self.highest = u64::from(header.sequence);
                    self.next = Some(self.highest);
                    self.reported.0 = self.highest;
                    (self.next_congestion, self.next_report) = (at + CONGESTION_EVERY, at + REPORT_EVERY / 2);
                }
                let index = extend(self.highest, header.sequence);
                let end = header.marker.then(|| label(keys, &header, index, payload));
                self.place(index, Packet { end, at });
            }
            sdp::RETRANSMISSION => self.handle_repeat(&header, payload, keys, at),
            sdp::OPUS if self.window.contains(&at) => self.tally.audio += 1,
            _ => {}
        }
    }

    /// RFC 4588, 4: the payload begins with the original number.
    fn handle_repeat(&mut self, header: &Header, payload: &[u8], keys: &mut Keys, at: Nanos) {
        if self.repeats.0 != header.ssrc {
            self.repeats = (header.ssrc, u64::from(header.sequence));
        }
        let index = extend(self.repeats.1, header.sequence);
        self.repeats.1 = self.repeats.1.max(index);
        let Some(number) = keys.peek::<2>(header.ssrc, index, payload, 0) else { return };
        let original = extend(self.highest, u16::from_be_bytes(number));
        if self.holes.contains_key(&original) {
            let end = header.marker.then(|| label(keys, header, index, payload));
            self.place(original, Packet { end, at });
        } else if self.window.contains(&at) {
            self.tally.needless += 1;
        }
    }

    fn place(&mut self, index: u64, packet: Packet) {
        let at = packet.at;
        if index > self.highest + JUMP {
            self.count_lost(index - self.highest - 1, at);
            self.holes.clear();
            self.waiting.clear();
            (self.next, self.frame.is_broken) = (Some(index), true);
        } else if index > self.highest {
            for hole in self.highest + 1..index {
                self.holes.insert(hole, Hole { since: at, next_nack: at + FIRST_NACK });
            }
        } else if self.holes.remove(&index).is_none() && Some(index) != self.next {
            self.tally.needless += u64::from(self.window.contains(&at));
            return;
        }
        self.highest = self.highest.max(index);
        if self.window.contains(&at) {
            self.tally.packets += 1;
        }
        self.waiting.insert(index, packet);
        self.advance();
    }

    fn advance(&mut self) {
        while let Some(packet) = self.next.and_then(|next| self.waiting.remove(&next)) {
            self.next = self.next.map(|next| next + 1);
            self.frame.newest = self.frame.newest.max(packet.at);
            let Some(label) = packet.end else { continue };
            match (label, std::mem::take(&mut self.frame)) {
                (_, Frame { is_broken: true, .. }) => self.needs_key = true,
                (Some(label), Frame { newest, .. }) => self.handle_frame(label, newest),
                (None, _) => self.garbled += 1,
            }
        }
    }

    fn handle_frame(&mut self, label: Label, at: Nanos) {
        self.needs_key &= !label.key;
        if self.needs_key {
            return;
        }
        self.first_key.get_or_insert(at);
        if self.window.contains(&at) {
            self.tally.gaps += u64::from(self.last_frame.is_some_and(|last| at.saturating_sub(last) > GAP));
        }
        self.last_frame = Some(at);
        if !self.window.is_empty() {
            self.tally.frames.push((label, at));
        }
    }

    fn count_lost(&mut self, count: u64, now: Nanos) {
        self.lost += count as u32;
        self.tally.lost += if self.window.contains(&now) { count } else { 0 };
    }

    pub(crate) fn handle_sender_report(&mut self, middle: u32, now: Nanos) {
        self.report = Some((middle, now));
    }

    /// The feedback that is due, each a plain packet.
    pub(crate) fn handle_timeout(&mut self, now: Nanos, mut send: impl FnMut(Vec<u8>)) {
        if self.next.is_none() {
            return;
        }
        if !self.holes.is_empty() {
            self.give_up(now);
            let due: Vec<u16> =
                self.holes.iter_mut().filter_map(|(index, hole)| hole.due(*index, now)).collect();
            if !due.is_empty() {
                send(rtcp::nack(self.ssrc, &due));
            }
        }
        if self.needs_key && self.first_key.is_some() && now >= self.next_pli {
            self.next_pli = now + NEXT_PLI;
            send(rtcp::pli(self.ssrc));
        }
        if now >= self.next_congestion && !self.arrivals.is_empty() {
            self.next_congestion = now + CONGESTION_EVERY;
            self.arrivals.sort_unstable();
            self.arrivals.dedup_by_key(|(number, _)| *number);
            rtcp::congestion(self.ssrc, &self.arrivals, &mut self.messages).into_iter().for_each(&mut send);
            self.arrivals.clear();
        }
        if now >= self.next_report {
            self.next_report = now + REPORT_EVERY;
            let (expected, lost) = (self.highest - self.reported.0, self.lost - self.reported.1);
            self.reported = (self.highest, self.lost);
            let reception = Reception {
                ssrc: self.ssrc,
                fraction_lost: (u64::from(lost) * 256 / expected.max(1)).min(255) as u8,
                lost: self.lost,
                highest: self.highest as u32,
                report: self.report,
            };
            send(rtcp::receiver_report(&reception, now));
        }
    }

    /// Goes on behind holes that are too old.
    fn give_up(&mut self, now: Nanos) {
        let before = self.holes.len();
        self.holes.retain(|_, hole| now < hole.since + GIVE_UP);
        let gone = before - self.holes.len();
        if gone == 0 {
            return;
        }
        self.count_lost(gone as u64, now);
        (self.frame.is_broken, self.needs_key) = (true, true);
        let first = self.waiting.keys().next().copied().unwrap_or(self.highest + 1);
        let hole = self.holes.keys().next().copied().unwrap_or(u64::MAX);
        self.next = self.next.map(|next| next.max(first.min(hole)));
        self.advance();
    }
}

impl Hole {
    fn due(&mut self, index: u64, now: Nanos) -> Option<u16> {
        if now < self.next_nack {
            return None;
        }
        self.next_nack = now + NEXT_NACK;
        Some(index as u16)
    }
}

/// What a frame's last packet says.
fn label(keys: &mut Keys, header: &Header, index: u64, payload: &[u8]) -> Option<Label> {
    let mut end = payload.len();
    if header.padded {
        let [padding] = keys.peek(header.ssrc, index, payload, end.checked_sub(1)?)?;
        end = end.checked_sub(usize::from(padding))?;
    }
    let at = end.checked_sub(Label::LEN)?;
    Label::read(keys.peek(header.ssrc, index, payload, at)?)
}
