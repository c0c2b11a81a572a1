//! A sender that can send any packet, encrypted with the receiver's keys.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{RTX, TRANSPORT, ms};
use crate::media::{AUDIO_OPUS, Codec, Frame, StreamId, VIDEO_H264, VIDEO_VP8};
use crate::rtc::crypto::keys::{Keys, Profile};
use crate::rtc::crypto::seal::Sealer;
use crate::rtc::recv::lane::Format;
use crate::rtc::recv::receiver::Receiver;
use crate::rtc::recv::unpack::tests::vp8;
use crate::rtc::send::header::Header;

pub(super) struct RawSender {
    pub(super) now: Instant,
    sealer: Sealer,
    pub(super) receiver: Receiver,
    next: HashMap<u32, u64>,
    pub(super) transport: u16,
    seed: u64,
    pub(super) sent: u64,
    pub(super) sent_bytes: u64,
    pub(super) reported: u64,
    pub(super) reports: u64,
    pub(super) frames: u64,
    last: HashMap<StreamId, Duration>,
    /// The received frames, up to [`KEPT`].
    pub(super) all: Vec<Frame>,
    /// The reports, up to [`KEPT`].
    pub(super) compounds: Vec<Vec<u8>>,
}

/// Limit of stored frames and reports.
const KEPT: usize = 1000;

pub(super) fn format(stream: StreamId, codec: Codec, pt: u8, rtx: Option<u8>) -> Format {
    let video = codec.is_video();
    let (nack, pli, remb) = (video, video, video);
    Format { stream, layer: None, codec, pt, rtx, nack, pli, remb, transport: Some(TRANSPORT) }
}

impl RawSender {
    pub(super) fn new(name: &str) -> RawSender {
        let profile = Profile::Aes128Gcm;
        let material: Vec<u8> = name.bytes().cycle().take(profile.material_len()).collect();
        let now = Instant::now();
        let mut receiver = Receiver::new(1, "name", now);
        receiver.connect(&Keys::new(profile, material.clone(), false));
        receiver.set_lanes(&[
            format(VIDEO_H264, Codec::H264, 96, Some(RTX)),
            format(VIDEO_VP8, Codec::Vp8, 98, Some(99)),
            format(AUDIO_OPUS, Codec::Opus, 111, None),
        ]);
        RawSender {
            now,
            sealer: Sealer::new(&Keys::new(profile, material, true)),
            receiver,
            next: HashMap::new(),
            transport: 0,
            seed: 7,
            sent: 0,
            sent_bytes: 0,
            reported: 0,
            reports: 0,
            frames: 0,
            last: HashMap::new(),
            all: vec![],
            compounds: vec![],
        }
    }

    /// Restarts the transport with other keys.
    pub(super) fn anew(&mut self) {
        let profile = Profile::Aes128Gcm;
        let material: Vec<u8> =
            self.seed.to_be_bytes().into_iter().cycle().take(profile.material_len()).collect();
        self.receiver.disconnect(self.now);
        self.receiver.connect(&Keys::new(profile, material.clone(), false));
        self.sealer = Sealer::new(&Keys::new(profile, material, true));
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % end
    }

    pub(super) fn word(&mut self) -> u32 {
        (self.below(1 << 16) << 16 | self.below(1 << 16)) as u32
    }

    /// Returns the next number of an SSRC, after skipping `skipped`.
    pub(super) fn index(&mut self, ssrc: u32, skipped: u64) -> u64 {
        let next = self.next.entry(ssrc).or_insert(100);
        *next += 1 + skipped;
        *next
    }

    /// Sends a packet, 20 µs after the previous one.
    pub(super) fn send(&mut self, ssrc: u32, pt: u8, time: u32, marker: bool, payload: &[u8]) {
        let index = self.index(ssrc, 0);
        self.send_as(index, Header { pt, ssrc, time, marker, ..Header::default() }, payload);
    }

    pub(super) fn send_as(&mut self, index: u64, header: Header<'_>, payload: &[u8]) {
        self.transport = self.transport.wrapping_add(1);
        let mut head = vec![];
        let transport = Some((TRANSPORT, self.transport));
        Header { number: index as u16, transport, ..header }.write(&mut head);
        self.send_raw(index, &head, payload);
    }

    pub(super) fn send_raw(&mut self, index: u64, head: &[u8], payload: &[u8]) {
        let mut packet = vec![];
        self.sealer.seal_rtp(head, index, payload, &mut packet);
        self.now += Duration::from_micros(20);
        self.sent += 1;
        self.sent_bytes += packet.len() as u64;
        assert!(self.receiver.handle_rtp(&packet, self.now), "it is authentic");
        self.take();
    }

    /// Drains the receiver, as a session does after each input.
    pub(super) fn take(&mut self) {
        self.receiver.handle_timeout(self.now);
        while let Some(frame) = self.receiver.poll_frame() {
            self.check(&frame);
            if self.all.len() < KEPT && frame.data.len() < KEPT {
                self.all.push(frame);
            }
        }
        let mut at_once = 0;
        while let Some(report) = self.receiver.poll_report(self.now) {
            assert!(report.len() <= 1100, "{} bytes", report.len());
            self.reported += report.len() as u64;
            self.reports += 1;
            if self.compounds.len() < KEPT {
                self.compounds.push(report);
            }
            at_once += 1;
            assert!(at_once < 100, "it has always more to report");
        }
        assert!(self.receiver.deadline().is_none_or(|at| at > self.now));
    }

    fn check(&mut self, frame: &Frame) {
        assert!(frame.captured <= self.now && !frame.data.is_empty());
        let before = self.last.insert(frame.stream, frame.pts);
        assert!(before.is_none_or(|before| frame.pts > before));
        assert!(frame.key || (before.is_some() && !frame.discontinuity));
        self.frames += 1;
    }

    /// Acts as a good sender: small VP8 frames of one packet each; the first and every hundredth is a key frame.
    pub(super) fn behave(&mut self, ssrc: u32, frames: u64) {
        for n in 0..frames {
            let data = vp8(n % 100 == 0, 200, n as u8);
            self.send(ssrc, 98, n as u32 * 3000, true, &[&[0x10][..], &data].concat());
            self.now += ms(33);
            self.take();
        }
    }
}
