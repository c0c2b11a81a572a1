//! Our sender and a receiver on a virtual network that loses, delays, reorders and duplicates packets.

mod cost;
mod hostile;
mod hostile_video;
mod layers;
mod raw;
mod switching;
pub(in crate::rtc) mod unsafe_heap;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::lane::Format;
use super::receiver::Receiver;
use super::unpack::tests::{h264, vp8};
use crate::media::{AUDIO_OPUS, Codec, Frame, StreamId, VIDEO_H264, VIDEO_VP8};
use crate::rtc::Received;
use crate::rtc::crypto::keys::{Keys, Profile};
use crate::rtc::crypto::seal::Sealer;
use crate::rtc::send::cut::Cutter;
use crate::rtc::send::feedback::{Feedback, read};
use crate::rtc::send::header::Header;

const FRAME_EVERY: Duration = Duration::from_millis(33);
const SOUND_EVERY: Duration = Duration::from_millis(20);
const RTX: u8 = 97;
const TRANSPORT: u8 = 3;

/// The network: loss, reordering and duplication in percent, and the delay.
#[derive(Clone, Copy, Debug)]
struct Network {
    loss: u64,
    double: u64,
    latency: u64,
    /// Additional random delay.
    jitter: u64,
    seed: u64,
}

const FINE: Network = Network { loss: 0, double: 0, latency: 20, jitter: 0, seed: 1 };

/// One sent stream.
struct Stream {
    codec: Codec,
    format: Format,
    ssrc: u32,
    rate: u32,
    next: u64,
    begin: u32,
    cutter: Cutter,
    frames: u64,
    key_wanted: bool,
    /// Payloads by number, with their timestamp and marker.
    history: BTreeMap<u64, (u32, bool, Vec<u8>)>,
    /// The sent frames.
    sent: HashMap<Vec<u8>, (u64, bool)>,
}

struct World {
    now: Instant,
    start: Instant,
    network: Network,
    sealer: Sealer,
    receiver: Receiver,
    streams: Vec<Stream>,
    repeats: u64,
    transport: u16,
    wire: BTreeMap<(Instant, u64), Vec<u8>>,
    back: BTreeMap<(Instant, u64), Vec<u8>>,
    count: u64,
    received: Vec<Frame>,
    feedback: Vec<(u16, bool)>,
    reports: Vec<f32>,
    /// The sender ignores requests for retransmissions.
    deaf: bool,
    /// The source has ended.
    over: bool,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl World {
    fn new(codecs: &[Codec], network: Network, rtx: bool) -> World {
        static RUNS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let run = RUNS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let profile = Profile::Aes128Gcm;
        // Every run has other keys.
        let material: Vec<u8> =
            b"recv".iter().copied().chain(run.to_be_bytes()).cycle().take(profile.material_len()).collect();
        let now = Instant::now();
        let mut receiver = Receiver::new(0xffff, "receiver", now);
        receiver.connect(&Keys::new(profile, material.clone(), false));
        let streams: Vec<Stream> = codecs.iter().map(|codec| Stream::new(*codec, rtx)).collect();
        receiver.set_lanes(&streams.iter().map(|stream| stream.format).collect::<Vec<_>>());
        World {
            now,
            start: now,
            network,
            sealer: Sealer::new(&Keys::new(profile, material, true)),
            receiver,
            streams,
            repeats: 100,
            transport: 0xfff0,
            wire: BTreeMap::new(),
            back: BTreeMap::new(),
            count: 0,
            received: vec![],
            feedback: vec![],
            reports: vec![],
            deaf: false,
            over: false,
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.network.seed =
            self.network.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.network.seed >> 33) % end
    }

    /// Returns when the copies of a packet arrive.
    fn arrivals(&mut self) -> Vec<Instant> {
        let Network { loss, double, latency, jitter, .. } = self.network;
        let copies = if self.below(100) < double { 2 } else { 1 };
        let mut out = vec![];
        for _ in 0..copies {
            let lost = self.below(100) < loss;
            let late = self.below(jitter + 1);
            if !lost {
                out.push(self.now + ms(latency + late));
            }
        }
        out
    }

    fn send(&mut self, header: Header<'_>, index: u64, payload: &[u8]) {
        let mut head = vec![];
        Header { transport: Some((TRANSPORT, self.transport)), ..header }.write(&mut head);
        self.transport = self.transport.wrapping_add(1);
        let mut packet = vec![];
        self.sealer.seal_rtp(&head, index, payload, &mut packet);
        for at in self.arrivals() {
            self.count += 1;
            self.wire.insert((at, self.count), packet.clone());
        }
    }

    fn send_frame(&mut self, n: usize) {
        let since = (self.now - self.start).as_micros() as u64;
        let stream = &mut self.streams[n];
        let time = stream.begin.wrapping_add((since * u64::from(stream.rate) / 1_000_000) as u32);
        let first = stream.next;
        let key = stream.frames == 0 || std::mem::take(&mut stream.key_wanted) || !stream.codec.is_video();
        let data = stream.make(key);
        let frame = Frame {
            stream: StreamId(0),
            codec: stream.codec,
            key,
            captured: self.now,
            pts: ms(0),
            duration: ms(0),
            discontinuity: false,
            encoding: None,
            data: data.clone().into(),
        };
        stream.sent.insert(data, (stream.frames, key));
        stream.frames += 1;
        let payloads = stream.cutter.cut(&frame);
        let last = payloads.len() - 1;
        for (i, payload) in payloads.iter().enumerate() {
            stream.history.insert(stream.next, (time, i == last, payload.to_vec()));
            stream.next += 1;
        }
        while stream.history.len() > 300 {
            stream.history.pop_first();
        }
        let (pt, ssrc) = (stream.format.pt, stream.ssrc);
        for (i, payload) in payloads.iter().enumerate() {
            let index = first + i as u64;
            let header =
                Header { pt, marker: i == last, number: index as u16, time, ssrc, ..Header::default() };
            self.send(header, index, payload);
        }
    }

    fn send_frames(&mut self, video: bool) {
        for n in 0..self.streams.len() {
            if self.streams[n].codec.is_video() == video && !self.over {
                self.send_frame(n);
            }
        }
    }

    /// Delivers everything in flight.
    fn finish(&mut self) {
        self.over = true;
        self.network = FINE;
        self.run(ms(3000));
    }

    fn repeat(&mut self, n: usize, number: u16) {
        let stream = &self.streams[n];
        let index = crate::rtc::crypto::open_rtp::nearest(stream.next, number);
        let Some((time, marker, payload)) = stream.history.get(&index).cloned() else { return };
        let ssrc = stream.ssrc + 1;
        if self.deaf {
            return;
        }
        self.repeats += 1;
        let index = self.repeats;
        let payload = [&number.to_be_bytes()[..], &payload].concat();
        let header = Header { pt: RTX, marker, number: index as u16, time, ssrc, ..Header::default() };
        self.send(header, index, &payload);
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        let mut frame_at = self.now;
        let mut sound_at = self.now;
        loop {
            let wire = self.wire.first_key_value().map(|((at, _), _)| *at);
            let back = self.back.first_key_value().map(|((at, _), _)| *at);
            let times = [Some(frame_at), Some(sound_at), wire, back, self.receiver.deadline()];
            let next = times.into_iter().flatten().min().expect("there is a next frame");
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let packet = entry.remove();
                self.receiver.handle_rtp(&packet, self.now);
            }
            while let Some(entry) = self.back.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let compound = entry.remove();
                self.handle_feedback(&compound);
            }
            if frame_at <= self.now {
                frame_at += FRAME_EVERY;
                self.send_frames(true);
            }
            if sound_at <= self.now {
                sound_at += SOUND_EVERY;
                self.send_frames(false);
            }
            self.receiver.handle_timeout(self.now);
            self.received.extend(std::iter::from_fn(|| self.receiver.poll_frame()));
            while let Some(report) = self.receiver.poll_report(self.now) {
                assert!(report.len() <= 1100, "it leaves room in a datagram: {}", report.len());
                for at in self.arrivals() {
                    self.count += 1;
                    self.back.insert((at, self.count), report.clone());
                }
            }
        }
    }

    fn handle_feedback(&mut self, compound: &[u8]) {
        for feedback in read(compound) {
            let of = |ssrc| self.streams.iter().position(|stream| stream.ssrc == ssrc);
            match feedback {
                Feedback::Nack { ssrc, numbers } => {
                    let n = of(ssrc).expect("one of ours");
                    numbers.collect::<Vec<_>>().into_iter().for_each(|number| self.repeat(n, number));
                }
                Feedback::Pli { ssrc } => {
                    let n = of(ssrc).expect("one of ours");
                    self.streams[n].key_wanted = true;
                }
                Feedback::Transport(feedback) => {
                    self.feedback.extend(feedback.arrivals().map(|(number, at)| (number, at.is_some())));
                }
                Feedback::Report { ssrc, lost, .. } => {
                    assert!(of(ssrc).is_some());
                    self.reports.push(lost);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Returns the numbers of a stream's received frames, in order. Asserts that each was sent and refers to no missing
    /// frame.
    fn frames(&self, n: usize) -> Vec<u64> {
        let stream = &self.streams[n];
        let mut out = vec![];
        let mut last: Option<(u64, Duration)> = None;
        for frame in self.received.iter().filter(|frame| frame.codec == stream.codec) {
            let (number, key) = stream.sent.get(&*frame.data).copied().expect("what was sent");
            assert_eq!((frame.stream, frame.key), (stream.format.stream, key));
            let follows = last.is_none_or(|(before, _)| number == before + 1);
            assert!(last.is_none_or(|(before, pts)| number > before && frame.pts > pts), "in order");
            assert!(key || (last.is_some() && follows), "frame {number} after {last:?}");
            assert_eq!(frame.discontinuity, !follows, "frame {number} after {last:?}");
            assert!(frame.captured <= self.now);
            last = Some((number, frame.pts));
            out.push(number);
        }
        out
    }

    fn stats(&self) -> Received {
        self.receiver.stats()
    }
}

impl Stream {
    fn new(codec: Codec, rtx: bool) -> Stream {
        let (stream, pt, ssrc) = match codec {
            Codec::H264 => (VIDEO_H264, 96, 1000),
            Codec::Vp8 => (VIDEO_VP8, 98, 2000),
            Codec::Opus | Codec::Jpeg => (AUDIO_OPUS, 111, 3000),
        };
        let video = codec.is_video();
        let format = Format {
            stream,
            layer: None,
            codec,
            pt,
            rtx: (video && rtx).then_some(RTX),
            nack: video && rtx,
            pli: video,
            remb: video,
            transport: Some(TRANSPORT),
        };
        Stream {
            codec,
            format,
            ssrc,
            rate: codec.clock_rate(),
            // Close to a rollover of both.
            next: 0x7ff0,
            begin: u32::MAX - 90_000,
            cutter: Cutter::default(),
            frames: 0,
            key_wanted: false,
            history: BTreeMap::new(),
            sent: HashMap::new(),
        }
    }

    fn make(&self, key: bool) -> Vec<u8> {
        let size = if key { 12_000 } else { [900, 5000, 3000][(self.frames % 3) as usize] };
        let mut data = match self.codec {
            Codec::H264 => h264(key, size, self.frames as u8),
            Codec::Vp8 => vp8(key, size, self.frames as u8),
            Codec::Opus | Codec::Jpeg => vec![31 << 3; 80],
        };
        // Each frame is different. No byte is zero, as in a slice without emulation prevention.
        let at = data.len() - 20;
        for (n, byte) in data[at..].iter_mut().enumerate() {
            *byte = 0x80 | (self.frames >> (7 * (n % 9))) as u8;
        }
        data
    }
}

#[test]
fn on_a_good_network_each_frame_comes_at_once() {
    let mut world = World::new(&[Codec::H264, Codec::Opus], FINE, true);
    world.run(ms(3000));
    world.finish();
    assert_eq!(world.frames(0), (0..world.streams[0].frames).collect::<Vec<_>>());
    // Audio packets are all alike.
    assert_eq!(world.frames(1).len() as u64, world.streams[1].frames);
    let stats = world.stats();
    assert_eq!((stats.lost, stats.nacks, stats.dropped, stats.key_frame_requests), (0, 0, 0, 0));
    assert_eq!(stats.frames as usize, world.received.len());
    let video: Vec<&Frame> = world.received.iter().filter(|frame| frame.codec == Codec::H264).collect();
    for pair in video.windows(2) {
        let apart = pair[1].pts - pair[0].pts;
        assert!(apart.abs_diff(FRAME_EVERY) < Duration::from_micros(50), "{apart:?}");
    }
    assert!(world.reports.len() >= 4 && world.reports.iter().all(|lost| *lost == 0.0));
    // The sender gets feedback on every packet.
    assert!(world.feedback.len() > 300 && world.feedback.iter().all(|(_, came)| *came));
    let numbers: Vec<u16> = world.feedback.iter().map(|(number, _)| *number).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
}

#[test]
fn lost_packets_are_repeated_and_no_frame_is_missing() {
    let network = Network { loss: 5, latency: 30, jitter: 5, ..FINE };
    let mut world = World::new(&[Codec::H264], network, true);
    world.run(ms(10_000));
    world.finish();
    assert_eq!(world.frames(0), (0..world.streams[0].frames).collect::<Vec<_>>());
    let stats = world.stats();
    assert_eq!((stats.lost, stats.dropped), (0, 0));
    assert!(stats.nacks > 20);
    assert!(world.reports.iter().any(|lost| *lost > 0.0), "{:?}", world.reports);
    assert!(world.feedback.iter().any(|(_, came)| !came));
}

#[test]
fn without_repeats_a_key_frame_heals() {
    for codec in [Codec::H264, Codec::Vp8] {
        let network = Network { loss: 2, latency: 10, ..FINE };
        let mut world = World::new(&[codec], network, false);
        world.run(ms(20_000));
        world.network.loss = 0;
        world.run(ms(3000));
        world.finish();
        let frames = world.frames(0);
        assert_eq!(frames.last(), Some(&(world.streams[0].frames - 1)), "{codec:?}: it goes on at the end");
        let stats = world.stats();
        assert!(stats.key_frame_requests > 3 && stats.dropped > 3 && stats.lost > 3, "{stats:?}");
        assert_eq!(stats.nacks, 0);
    }
}

#[test]
fn a_packet_that_never_comes_holds_frames_for_a_second_at_most() {
    let mut world = World::new(&[Codec::Vp8], FINE, true);
    world.run(ms(500));
    world.deaf = true;
    world.network.loss = 100;
    world.run(ms(40));
    world.network.loss = 0;
    let before = world.received.len();
    world.run(ms(1500));
    assert!(world.received.len() > before + 5, "a key frame was requested after the gap was given up");
    assert!(world.stats().nacks >= 5);
    world.frames(0);
}

#[test]
fn the_application_gets_a_key_frame_when_it_wants_one() {
    let mut world = World::new(&[Codec::H264, Codec::Opus], FINE, true);
    world.run(ms(500));
    world.receiver.request_key_frame(VIDEO_H264, world.now);
    world.receiver.request_key_frame(AUDIO_OPUS, world.now);
    world.run(ms(1000));
    let keys = world.received.iter().filter(|frame| frame.codec == Codec::H264 && frame.key).count();
    assert_eq!((keys, world.stats().key_frame_requests), (2, 1));
    world.frames(0);
}

#[test]
fn another_sender_of_the_same_format_takes_over() {
    let mut world = World::new(&[Codec::H264], FINE, true);
    world.run(ms(500));
    let stream = &mut world.streams[0];
    (stream.ssrc, stream.next, stream.key_wanted, stream.begin) = (5000, 3, true, 77);
    world.run(ms(500));
    world.finish();
    assert_eq!(world.streams[0].frames, world.frames_of_two());
    assert_eq!(world.stats().lost, 0);
}

impl World {
    /// Checks two senders in succession: the second starts with a key frame, marked as a discontinuity.
    fn frames_of_two(&self) -> u64 {
        let breaks: Vec<&Frame> = self.received.iter().filter(|frame| frame.discontinuity).collect();
        assert!(breaks.len() == 1 && breaks[0].key);
        assert!(self.received.windows(2).all(|pair| pair[0].pts < pair[1].pts));
        self.received.len() as u64
    }
}

#[test]
fn counts_go_on_while_a_stream_is_held_and_after_a_restart() {
    let mut world = World::new(&[Codec::H264], FINE, true);
    world.run(ms(500));
    let before = world.stats();
    assert!(before.frames > 10);
    world.receiver.set_lanes(&[]);
    assert_eq!(world.stats(), before, "on hold");
    world.receiver.set_lanes(&[world.streams[0].format]);
    world.streams[0].key_wanted = true;
    world.run(ms(500));
    let resumed = world.stats();
    assert!(resumed.frames > before.frames + 10, "{resumed:?}");
    world.receiver.disconnect(world.now);
    assert_eq!(world.stats(), resumed);
}

#[test]
fn what_is_not_authentic_changes_nothing() {
    let mut world = World::new(&[Codec::H264], FINE, true);
    world.run(ms(300));
    let before = (world.stats(), world.receiver.deadline());
    let mut packet = vec![0x80, 96, 1, 2, 0, 0, 0, 1, 0, 0, 3, 0xe8];
    packet.extend([7; 200]);
    assert!(!world.receiver.handle_rtp(&packet, world.now));
    for len in [0, 1, 2, 11, 12, 27, 28] {
        assert!(!world.receiver.handle_rtp(&packet[..len], world.now));
    }
    assert_eq!((world.stats(), world.receiver.deadline()), before);
    world.run(ms(300));
    world.finish();
    assert_eq!(world.frames(0).len() as u64, world.streams[0].frames);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// Whatever the network does: every output frame was sent, is in order and complete, and refers to no missing frame
    /// ([`World::frames`]). Once the network is good, the latest frame arrives.
    #[test]
    fn frames_come_complete_or_wait_for_the_next_key_frame(
        seed in any::<u64>(),
        loss in 0_u64..40,
        double in 0_u64..30,
        latency in 1_u64..200,
        jitter in 0_u64..150,
        rtx in any::<bool>(),
        vp8 in any::<bool>(),
    ) {
        let codec = if vp8 { Codec::Vp8 } else { Codec::H264 };
        let network = Network { loss, double, latency, jitter, seed };
        let mut world = World::new(&[codec, Codec::Opus], network, rtx);
        world.run(ms(4000));
        world.network = FINE;
        world.run(ms(5000));
        world.finish();
        let frames = world.frames(0);
        prop_assert_eq!(frames.last(), Some(&(world.streams[0].frames - 1)));
        prop_assert!(world.frames(1).len() as u64 * 100 >= world.streams[1].frames * 50);
    }
}
