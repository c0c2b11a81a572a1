//! What one peer sends us: opened, sorted by payload type into its lanes, and answered with reports.
//!
//! Packets go to the lane of their payload type, and of several encodings of a video to the one that they name; which
//! sender's they are (SSRC) follows from them. Nothing is kept for a packet that is not authentic.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::arrivals::Arrivals;
use super::clock;
use super::header::{Head, unpadded};
use super::lane::{Counts, Format, Lane};
use super::report::{self, Block};
use crate::media::{Frame, StreamId};
use crate::rtc::Received;
use crate::rtc::crypto::keys::Keys;
use crate::rtc::crypto::open_rtp::RtpOpener;
use crate::rtc::send::report::describe;

/// A sender learns of loss and of the round trip as often as viewers tell us.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// No sender has more for one peer, in bit/s.
const UNLIMITED: u32 = 1_000_000_000;
/// Without a measured round trip.
const RTT: Duration = Duration::from_millis(100);

/// Receives for one session.
pub(crate) struct Receiver {
    /// Ours, in reports.
    ssrc: u32,
    cname: String,
    opener: Option<RtpOpener>,
    lanes: Vec<Lane>,
    arrivals: Arrivals,
    clock: clock::Shared,
    /// Where the times of frames begin.
    zero: Instant,
    rtt: Duration,
    /// What the sender may send in all, in bit/s.
    limit: Option<u32>,
    /// When the next report is due, once there is something to report.
    report: Option<Instant>,
    frames: VecDeque<Frame>,
    /// Of lanes that are over.
    past: Counts,
    packets: u64,
    bytes: u64,
    /// The payload at hand; kept for its memory.
    scratch: Vec<u8>,
}

impl Receiver {
    /// Our reports have this SSRC and this name.
    pub(crate) fn new(ssrc: u32, cname: &str, now: Instant) -> Receiver {
        Receiver {
            ssrc,
            cname: cname.to_owned(),
            opener: None,
            lanes: vec![],
            arrivals: Arrivals::new(now),
            clock: clock::Shared::default(),
            zero: now,
            rtt: RTT,
            limit: None,
            report: None,
            frames: VecDeque::new(),
            past: Counts::default(),
            packets: 0,
            bytes: 0,
            scratch: vec![],
        }
    }

    /// Takes these streams from now on. Those that go on keep their state.
    pub(crate) fn set_lanes(&mut self, formats: &[Format]) {
        let mut before = std::mem::take(&mut self.lanes);
        for format in formats {
            let same = |lane: &Lane| lane.is_of(format);
            // Two sections may have the same; packets do not tell whose they are.
            if self.lanes.iter().any(same) {
                continue;
            }
            let mut lane = match before.iter().position(same) {
                Some(at) => before.swap_remove(at),
                None => Lane::new(*format),
            };
            lane.format = *format;
            self.lanes.push(lane);
        }
        before.iter().for_each(|lane| self.past += lane.counts());
    }

    /// The keys of a transport that is connected and whose fingerprint was verified.
    pub(crate) fn connect(&mut self, keys: &Keys) {
        self.opener = Some(RtpOpener::new(keys));
    }

    /// The transport starts over, and the numbers of its packets with it.
    pub(crate) fn disconnect(&mut self, now: Instant) {
        self.opener = None;
        self.report = None;
        self.arrivals = Arrivals::new(now);
        for lane in &mut self.lanes {
            self.past += lane.counts();
            *lane = lane.anew();
        }
    }

    /// A round trip to the sender takes so long.
    pub(crate) fn set_rtt(&mut self, rtt: Option<Duration>) {
        self.rtt = rtt.unwrap_or(self.rtt);
    }

    /// Asks for a key frame of a stream.
    pub(crate) fn request_key_frame(&mut self, stream: StreamId, now: Instant) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.format.stream == stream) {
            lane.want_key(now);
        }
    }

    /// Asks the sender for at most this much, in bit/s; `None` leaves it to what the network carries.
    pub(crate) fn set_limit(&mut self, limit: Option<u32>, now: Instant) {
        if self.limit == limit {
            return;
        }
        // One that was told before is lifted by telling a higher one.
        self.limit = limit.or(Some(UNLIMITED));
        self.report = self.report.map(|at| at.min(now));
    }

    /// Takes SRTP. Returns whether it is authentic.
    pub(crate) fn handle_rtp(&mut self, packet: &[u8], now: Instant) -> bool {
        let pt = packet.get(1).map_or(0, |second| second & 0x7f);
        // All sections of a bundle have the same extensions, and what is no lane's is on the way all the same.
        let with = self.lanes.iter().find(|lane| lane.takes(pt).is_some()).or(self.lanes.first());
        let ids = with.map(|lane| lane.format.ids()).unwrap_or_default();
        // Where nothing is received, packets aren't worth their decryption.
        let opener = self.opener.as_mut().filter(|_| with.is_some());
        let (Some(opener), Some(head)) = (opener, Head::read(packet, ids)) else { return false };
        let lane = self.lanes.iter().position(|lane| lane.matches(&head));
        let mut payload = std::mem::take(&mut self.scratch);
        let opened = opener.open_rtp(packet, head.len, &mut payload);
        if let Ok(index) = opened {
            self.packets += 1;
            self.bytes += packet.len() as u64;
            if let Some(number) = head.transport {
                self.arrivals.handle_packet(number, now);
            }
            if let (Some(at), Some(payload)) = (lane, unpadded(&payload, head.padded)) {
                self.report.get_or_insert(now + REPORT_EVERY);
                if self.lanes[at].format.pt == pt {
                    let others = self.lanes.iter_mut().enumerate().filter(|(other, _)| *other != at);
                    others
                        .filter(|(_, other)| other.ssrc() == Some(head.ssrc))
                        .for_each(|(_, other)| other.leave());
                }
                if self.lanes[at].format.layer.is_some() {
                    self.lanes.iter_mut().enumerate().for_each(|(other, lane)| lane.name(&head, other == at));
                }
                let lane = &mut self.lanes[at];
                if lane.format.pt == pt {
                    lane.handle_packet(index, &head, payload, now);
                } else {
                    lane.handle_repeat(&head, payload, now);
                }
                lane.poll_frames(&mut self.clock, self.zero, now, &mut self.frames);
            }
        }
        self.scratch = payload;
        opened.is_ok()
    }

    /// What a sender says of its stream's times.
    pub(crate) fn handle_sender_report(&mut self, ssrc: u32, ntp: u64, time: u32, now: Instant) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.ssrc() == Some(ssrc)) {
            lane.handle_sender_report(&mut self.clock, ntp, time, now);
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for lane in &mut self.lanes {
            lane.poll_frames(&mut self.clock, self.zero, now, &mut self.frames);
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), or to send a report.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.opener.as_ref()?;
        let lanes = self.lanes.iter().filter_map(|lane| lane.deadline(self.rtt));
        lanes.chain(self.report).chain(self.arrivals.deadline()).min()
    }

    /// The next frame that is complete.
    pub(crate) fn poll_frame(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// Whether there is something to report or to ask for.
    pub(crate) fn has_report(&self, now: Instant) -> bool {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        self.opener.is_some()
            && (due(self.report)
                || due(self.arrivals.deadline())
                || self.lanes.iter().any(|lane| lane.has_request(self.rtt, now)))
    }

    /// What is to be reported and asked for now, as a compound that is not sealed yet.
    pub(crate) fn poll_report(&mut self, now: Instant) -> Option<Vec<u8>> {
        if !self.has_report(now) {
            return None;
        }
        let mut blocks: Vec<Block> = vec![];
        let mut limited = None;
        if self.report.is_some_and(|at| at <= now) {
            self.report = Some(now + REPORT_EVERY);
            blocks.extend(self.lanes.iter_mut().filter_map(|lane| lane.report(now)));
            limited = self.limit;
        }
        let mut out = vec![];
        report::reception(self.ssrc, &blocks, &mut out);
        describe([self.ssrc].into_iter(), &self.cname, &mut out);
        if let Some(bps) = limited {
            let of = |lane: &Lane| lane.ssrc().filter(|_| lane.format.remb);
            let about: Vec<u32> = self.lanes.iter().filter_map(of).collect();
            if !about.is_empty() {
                report::remb(self.ssrc, bps, &about, &mut out);
            }
        }
        for lane in &mut self.lanes {
            lane.write_requests(self.ssrc, self.rtt, now, &mut out);
        }
        if self.arrivals.deadline().is_some_and(|at| at <= now) {
            let about = self.lanes.iter().find_map(Lane::ssrc).unwrap_or(0);
            self.arrivals.write(self.ssrc, about, &mut out);
        }
        Some(out)
    }

    pub(crate) fn stats(&self) -> Received {
        let mut all = self.past;
        self.lanes.iter().for_each(|lane| all += lane.counts());
        Received {
            packets: self.packets,
            bytes: self.bytes,
            frames: all.frames,
            dropped: all.dropped,
            lost: all.lost,
            nacks: all.nacks,
            key_frame_requests: all.key_frame_requests,
        }
    }
}
