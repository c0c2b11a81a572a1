//! Receives the media of one peer: decrypts packets, sorts them into lanes and sends reports.
//!
//! Packets go to the lane of their payload type; if a video has several encodings, to the one that they name. SSRCs are
//! learned from packets. Nothing is stored for a packet that is not authentic.

use std::collections::{BTreeMap, VecDeque};
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

/// The interval of reports on loss and round trip: the same as for viewers.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// More than any sender sends to one peer, in bit/s.
const UNLIMITED: u32 = 1_000_000_000;
/// The assumed round trip before one is measured.
const RTT: Duration = Duration::from_millis(100);

/// Receives for one session.
pub(crate) struct Receiver {
    /// Our SSRC in reports.
    ssrc: u32,
    cname: String,
    opener: Option<RtpOpener>,
    lanes: Vec<Lane>,
    arrivals: Arrivals,
    clock: clock::Shared,
    /// The zero of frame times.
    zero: Instant,
    rtt: Duration,
    /// The limit for the sender in total, in bit/s.
    limit: Option<u32>,
    /// When the next report is due, once there is something to report.
    report: Option<Instant>,
    frames: VecDeque<Frame>,
    /// The times of the last frames of streams whose lanes were removed.
    shown: BTreeMap<StreamId, clock::Nanos>,
    /// The counters of removed lanes.
    past: Counts,
    packets: u64,
    bytes: u64,
    /// A buffer for the current payload, kept to avoid allocations.
    scratch: Vec<u8>,
}

impl Receiver {
    /// Creates a receiver whose reports have this SSRC and CNAME.
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
            shown: BTreeMap::new(),
            past: Counts::default(),
            packets: 0,
            bytes: 0,
            scratch: vec![],
        }
    }

    /// Sets the streams to receive. Those that continue keep their state.
    pub(crate) fn set_lanes(&mut self, formats: &[Format]) {
        let mut before = std::mem::take(&mut self.lanes);
        self.shown.extend(before.iter().filter_map(|lane| Some((lane.format.stream, lane.shown()?))));
        for format in formats {
            let same = |lane: &Lane| lane.is_of(format);
            // Two sections may have the same codec, and even the same format, so that packets do not show which one they
            // belong to. A stream comes from one of them.
            let is_taken = |lane: &Lane| lane.format.stream == format.stream || same(lane);
            if self.lanes.iter().any(is_taken) {
                continue;
            }
            let mut lane = match before.iter().position(same).map(|at| before.swap_remove(at)) {
                Some(lane) if lane.format.stream == format.stream => lane,
                // The sender put its encodings into another order: this one continues no frames of the stream.
                Some(lane) => {
                    self.past += lane.counts();
                    lane.anew().after(self.shown.get(&format.stream).copied())
                }
                None => Lane::new(*format).after(self.shown.get(&format.stream).copied()),
            };
            lane.set_format(*format);
            self.lanes.push(lane);
        }
        before.iter().for_each(|lane| self.past += lane.counts());
    }

    /// Sets the keys of a connected transport whose fingerprint was verified.
    pub(crate) fn connect(&mut self, keys: &Keys) {
        self.opener = Some(RtpOpener::new(keys));
    }

    /// Resets after a restart of the transport, which also restarts packet numbers.
    pub(crate) fn disconnect(&mut self, now: Instant) {
        self.opener = None;
        self.report = None;
        self.arrivals = Arrivals::new(now);
        for lane in &mut self.lanes {
            self.past += lane.counts();
            *lane = lane.anew().after(lane.shown());
        }
    }

    /// Sets the round trip time to the sender.
    pub(crate) fn set_rtt(&mut self, rtt: Option<Duration>) {
        self.rtt = rtt.unwrap_or(self.rtt);
    }

    /// Requests a key frame of a stream.
    pub(crate) fn request_key_frame(&mut self, stream: StreamId, now: Instant) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.format.stream == stream) {
            lane.want_key(now);
        }
    }

    /// Limits the sender's bitrate, in bit/s; with `None` only the network limits it.
    pub(crate) fn set_limit(&mut self, limit: Option<u32>, now: Instant) {
        if self.limit == limit {
            return;
        }
        // Only a higher limit revokes an earlier one.
        self.limit = limit.or(Some(UNLIMITED));
        self.report = self.report.map(|at| at.min(now));
    }

    /// Handles SRTP. Returns whether it is authentic.
    pub(crate) fn handle_rtp(&mut self, packet: &[u8], now: Instant) -> bool {
        let pt = packet.get(1).map_or(0, |second| second & 0x7f);
        // All sections of a bundle have the same extension IDs. Packets without a lane count as arrivals, too.
        let with = self.lanes.iter().find(|lane| lane.takes(pt).is_some()).or(self.lanes.first());
        let ids = with.map(|lane| lane.format.ids()).unwrap_or_default();
        // If nothing is received, decryption is a waste.
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
                self.report.get_or_insert_with(|| now + REPORT_EVERY);
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
                    lane.handle_packet(index, &head, payload, self.zero, now);
                } else {
                    lane.handle_repeat(&head, payload, now);
                }
                self.clock.set_streams(self.lanes.iter().filter(|lane| lane.ssrc().is_some()).count());
                let lane = &mut self.lanes[at];
                lane.poll_frames(&mut self.clock, self.zero, now, &mut self.frames);
            }
        }
        self.scratch = payload;
        opened.is_ok()
    }

    /// Handles the timestamps of a sender report.
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

    /// Returns when to call [`handle_timeout`](Self::handle_timeout), or to send a report.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.opener.as_ref()?;
        let lanes = self.lanes.iter().filter_map(|lane| lane.deadline(self.rtt));
        lanes.chain(self.report).chain(self.arrivals.deadline()).min()
    }

    /// Returns the next complete frame.
    pub(crate) fn poll_frame(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// Whether there is something to report or to request.
    pub(crate) fn has_report(&self, now: Instant) -> bool {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        self.opener.is_some()
            && (due(self.report)
                || due(self.arrivals.deadline())
                || self.lanes.iter().any(|lane| lane.has_request(self.rtt, now)))
    }

    /// Returns the current reports and requests as a compound that is not encrypted yet.
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
