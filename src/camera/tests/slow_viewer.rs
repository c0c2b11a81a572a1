//! A viewer on a slow link joins others on fast ones: core, sessions, packets and receivers, on a virtual clock.
//!
//! `SYMPLE_SEED` repeats one seed and prints what happened when.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use serde_json::Value;

use super::*;
use crate::dice::Dice;
use crate::media::{Frame, Kind};
use crate::rtc::{Directions, Fanout, Path, SessionId};

const SESSION: SessionId = SessionId(1);
const CAMERA: &str = "192.0.2.1:4000";
const FAST: f64 = 20e6;
const SLOW: f64 = 300e3;
/// A packet of audio lasts this long, and has this many bytes.
const SOUND: Duration = Duration::from_millis(20);
const SOUND_BYTES: usize = 160;
/// When a slow viewer should have a steady picture.
const AIM: Duration = Duration::from_secs(3);
const TICK: Duration = Duration::from_millis(1);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A link like the kernel's token bucket: what passes, how much at once, and how long packets wait before it drops them.
struct Link {
    bps: f64,
    burst: Duration,
    queue: Duration,
    /// The way, in one direction.
    delay: Duration,
    free: Instant,
}

impl Link {
    /// When a packet arrives, unless it is dropped.
    fn send(&mut self, bytes: usize, now: Instant) -> Option<Instant> {
        let free = self.free.max(now - self.burst);
        if free > now + self.queue {
            return None;
        }
        // 42 bytes for Ethernet, IP and UDP.
        self.free = free + Duration::from_secs_f64((bytes + 42) as f64 * 8.0 / self.bps);
        Some(self.free.max(now) + self.delay)
    }
}

/// A viewer, and the frames that came out of its receiver, which begins at key frames: when, and of which stream.
struct Viewer {
    fanout: Fanout,
    link: Link,
    deadline: Instant,
    shown: Vec<(Instant, StreamId)>,
}

/// What encodes a stream.
struct Encoder {
    fps: u32,
    next: Instant,
    key: bool,
    /// Bytes that frames took beyond their share.
    debt: f64,
}

#[derive(Clone, Copy)]
enum Way {
    To(usize),
    From(usize),
}

struct Street {
    world: World,
    dice: Dice,
    start: Instant,
    viewers: Vec<Viewer>,
    encoders: BTreeMap<StreamId, Encoder>,
    wire: BTreeMap<(Instant, u64), (Way, Vec<u8>)>,
    count: u64,
    next_sound: Instant,
    /// The size of a key frame, in seconds of its stream; and the time that encoders take to start.
    key: f64,
    starts: Duration,
    /// What happened to the newest viewer.
    log: Vec<String>,
    known: String,
}

fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 10 + n as u8], 5000))
}

impl Street {
    fn new(seed: u64, bitrate: BitrateLimits) -> Street {
        let mut dice = Dice(seed);
        let mut config = World::config(16, false, AnswerPolicy::All, None);
        config.rtc.initial_bitrate = bitrate.start;
        config.rtc.max_bitrate = bitrate.enough();
        config.bitrate = bitrate;
        config.offer_rate = RateLimit { per_second: 100, burst: 100 };
        let mut world = World::from(config);
        world.datagrams = Some(vec![]);
        world.input(Input::Source(SourceEvent::Streams(renditions())));
        let now = world.now;
        let (key, starts) = (dice.range(0.2, 0.6), Duration::from_secs_f64(dice.range(0.1, 0.4)));
        Street {
            world,
            dice,
            start: now,
            viewers: vec![],
            encoders: BTreeMap::new(),
            wire: BTreeMap::new(),
            count: 0,
            next_sound: now,
            key,
            starts,
            log: vec![],
            known: String::new(),
        }
    }

    fn at(&self, now: Instant) -> u128 {
        now.saturating_duration_since(self.start).as_millis()
    }

    /// A viewer calls. Returns its number.
    fn join(&mut self, bps: f64) -> usize {
        let (now, n) = (self.world.now, self.viewers.len());
        let candidate = rtc::LocalCandidate { base: address(n), advertised: None };
        let config = rtc::Config { candidates: vec![candidate], ..rtc::Config::default() };
        let mut fanout = Fanout::new(config, now);
        fanout.set_directions(SESSION, Directions::new([], [Kind::Audio, Kind::Video]));
        let offer = fanout.offer(SESSION, now).expect("it has something to offer");
        let name = format!("viewer{n}|{n}");
        self.world.offer(&name, &offer.sdp);
        let start = format!("call:answer {name} ");
        let answer = self.world.said.iter().find_map(|said| said.strip_prefix(&start)).expect("answered");
        let answer: Value = serde_json::from_str(answer).expect("JSON");
        fanout.answer(SESSION, answer["sdp"].as_str().expect("a description"), now).expect("it fits");
        let link = Link {
            bps,
            burst: Duration::from_secs_f64(4000.0 * 8.0 / bps).min(ms(107)),
            queue: Duration::from_secs_f64(self.dice.range(0.15, 0.5)),
            delay: Duration::from_secs_f64(self.dice.range(0.0005, 0.03)),
            free: now,
        };
        self.viewers.push(Viewer { fanout, link, deadline: now, shown: vec![] });
        if n == 0 {
            for event in [SourceEvent::State(SourceStatus::of(SourceState::Playing)), SourceEvent::Started] {
                self.world.input(Input::Source(event));
            }
        }
        n
    }

    fn run(&mut self, span: Duration) {
        let end = self.world.now + span;
        while self.world.now < end {
            self.world.now += TICK;
            let now = self.world.now;
            while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= now) {
                match entry.remove() {
                    (Way::To(n), data) => {
                        let path = Path::udp(address(n), CAMERA.parse().expect("literal"));
                        let input = rtc::Input::Datagram { path, data: &data };
                        self.viewers[n].fanout.handle_input(input, now);
                    }
                    (Way::From(n), data) => {
                        let path = Path::udp(CAMERA.parse().expect("literal"), address(n));
                        self.world.input(Input::Datagram { path, data: &data });
                    }
                }
            }
            for viewer in self.viewers.iter_mut().filter(|viewer| viewer.deadline <= now) {
                viewer.fanout.handle_input(rtc::Input::Timeout, now);
            }
            if self.world.next.is_some_and(|at| at <= now) {
                self.world.input(Input::Timeout);
            }
            self.encode();
            self.drain();
            self.watch();
        }
    }

    /// Follows what the source is told, and makes frames.
    fn encode(&mut self) {
        let now = self.world.now;
        let wanted: BTreeSet<StreamId> = self.world.produced.last().into_iter().flatten().copied().collect();
        self.encoders.retain(|id, _| wanted.contains(id));
        for id in wanted.into_iter().filter(|id| *id != AUDIO_OPUS) {
            let fps = if id == VIDEO_H264 { 30 } else { 15 };
            let next = now + self.starts;
            self.encoders.entry(id).or_insert(Encoder { fps, next, key: true, debt: 0.0 });
        }
        for id in std::mem::take(&mut self.world.key_frames) {
            self.note(format!("key frame of {id:?} commanded"));
            if let Some(encoder) = self.encoders.get_mut(&id) {
                encoder.key = true;
            }
        }
        let mut made = vec![];
        for (id, encoder) in &mut self.encoders {
            if encoder.next > now {
                continue;
            }
            encoder.next += Duration::from_secs(1) / encoder.fps;
            let rate = f64::from(self.world.rates.get(id).copied().unwrap_or(1_000_000)) / 8.0;
            let average = rate / f64::from(encoder.fps);
            let key = std::mem::take(&mut encoder.key);
            let mut size = average * self.dice.range(0.7, 1.3);
            size = if key { rate * self.key } else { size - encoder.debt.clamp(-0.3 * size, 0.3 * size) };
            encoder.debt += size - average;
            made.push((*id, key, size as usize));
        }
        for (id, key, size) in made {
            self.feed(id, Codec::H264, key, size);
        }
        if self.next_sound <= now && !self.encoders.is_empty() {
            self.next_sound = now + SOUND;
            self.feed(AUDIO_OPUS, Codec::Opus, true, SOUND_BYTES);
        }
    }

    fn feed(&mut self, stream: StreamId, codec: Codec, key: bool, size: usize) {
        self.count += 1;
        // No zeros, and so no start codes, in what tells frames apart.
        let number: [u8; 4] = std::array::from_fn(|n| (self.count >> (7 * n)) as u8 | 0x80);
        let body = [&[if stream == VIDEO_H264 { 1 } else { 2 }][..], &number, &vec![0xab; size]].concat();
        let nal = |head: &[u8], body: &[u8]| [&[0, 0, 0, 1], head, body].concat();
        let data = match codec {
            Codec::H264 if key => {
                let sets = [nal(&[0x67, 0x42, 0xe0, 0x1f], &[0xab; 12]), nal(&[0x68, 0xce], &[0xab; 3])];
                [sets.concat(), nal(&[0x65], &body)].concat()
            }
            Codec::H264 => nal(&[0x41], &body),
            _ => vec![0xab; size],
        };
        if stream == VIDEO_H264_SMALL && key {
            self.note(format!("key frame of the small rendition made, {} bytes", data.len()));
        }
        let now = self.world.now;
        let frame = Frame {
            stream,
            codec,
            key,
            captured: now,
            pts: now - self.start,
            duration: if codec == Codec::Opus { SOUND } else { Duration::ZERO },
            discontinuity: false,
            encoding: None,
            data: data.into(),
        };
        self.world.input(Input::Frame(&frame));
    }

    fn drain(&mut self) {
        let now = self.world.now;
        let count = &mut self.count;
        let mut number = || {
            *count += 1;
            *count
        };
        for (n, viewer) in self.viewers.iter_mut().enumerate() {
            while let Some(transmit) = viewer.fanout.poll_transmit(now) {
                for data in transmit.datagrams() {
                    let at = now + viewer.link.delay;
                    self.wire.insert((at, number()), (Way::From(n), data.to_vec()));
                }
            }
            loop {
                match viewer.fanout.poll_output() {
                    rtc::Output::Timeout(at) => break viewer.deadline = at,
                    rtc::Output::Event(rtc::Event::Frame { frame, .. }) => viewer.show(&frame, now),
                    _ => {}
                }
            }
        }
        self.world.drain();
        for (to, data) in self.world.datagrams.as_mut().expect("taken").drain(..) {
            let Some(n) = (0..self.viewers.len()).find(|n| address(*n) == to) else { continue };
            if let Some(at) = self.viewers[n].link.send(data.len(), now) {
                self.wire.insert((at, number()), (Way::To(n), data));
            }
        }
    }

    /// Notes what changed for the newest viewer.
    fn watch(&mut self) {
        let Some((viewer, Some(stats))) = self.world.core.viewers().last() else { return };
        let share = viewer.share.map(|(share, why)| format!("{share:?} {why:?}"));
        let newest = self.viewers.last().expect("it is there");
        let queue = newest.link.free.saturating_duration_since(self.world.now).as_millis();
        let state = format!(
            "connected {} sends {:?} share {share:?} estimate {:?} skipped {:?} shown {:?}",
            stats.connected,
            stats.video.map(|id| id == VIDEO_H264),
            stats.estimate.map(|bps| bps / 1000),
            stats.skipped.network,
            newest.shown.len(),
        );
        if state != self.known {
            self.note(format!(
                "{state} (sent {} bytes, {} frames, queue {queue} ms, rtt {:?}, loss {:?})",
                stats.bytes,
                stats.frames,
                stats.rtt.map(|rtt| rtt.as_millis()),
                stats.loss
            ));
            self.known = state;
        }
    }

    fn note(&mut self, what: String) {
        self.log.push(format!("{:6} {what}", self.at(self.world.now)));
    }
}

impl Viewer {
    /// Shows a frame, if it can be decoded.
    fn show(&mut self, frame: &Frame, now: Instant) {
        if frame.codec != Codec::H264 {
            return;
        }
        let at = frame.data.windows(5).rposition(|bytes| bytes[..4] == [0, 0, 0, 1]).expect("a slice") + 5;
        let stream = if frame.data[at] == 1 { VIDEO_H264 } else { VIDEO_H264_SMALL };
        self.shown.push((now, stream));
    }

    /// How many frames were shown in a time.
    fn count(&self, from: Instant, to: Instant) -> usize {
        self.shown.iter().filter(|(at, _)| (from..to).contains(at)).count()
    }

    /// From when on at least five frames were shown in each second, until `end`.
    fn steady(&self, joined: Instant, end: Instant) -> Option<Duration> {
        let mut from = None;
        let mut at = joined;
        while at + Duration::from_secs(1) <= end {
            let enough = self.count(at, at + Duration::from_secs(1)) >= 5;
            from = if enough { from.or(Some(at - joined)) } else { None };
            at += ms(10);
        }
        from
    }
}

/// A camera at its highest bitrate with viewers on fast links.
fn watched(seed: u64, fast: usize, max: u32) -> Street {
    let bitrate = BitrateLimits { start: max.min(1_500_000), max, ..BitrateLimits::default() };
    let mut street = Street::new(seed, bitrate);
    for _ in 0..fast {
        street.join(FAST);
        street.run(ms(150));
    }
    let wait = street.dice.range(6.0, 7.0);
    street.run(Duration::from_secs_f64(wait));
    street
}

/// A slow viewer comes. Returns when it sees a first and a steady picture. What the fast ones have is checked.
fn joins(seed: u64, fast: usize, max: u32) -> (Street, Option<Duration>, Option<Duration>) {
    let mut street = watched(seed, fast, max);
    let joined = street.world.now;
    (street.log, street.start) = (vec![], joined);
    let n = street.join(SLOW);
    street.run(Duration::from_secs(8));
    let end = street.world.now;
    for fast in &street.viewers[..n] {
        let frames = fast.count(joined, end);
        assert!(frames >= 30 * 8 * 9 / 10, "SYMPLE_SEED={seed}: {frames} frames of 240 for a fast viewer");
    }
    let bitrate = street.world.rates[&VIDEO_H264];
    assert!(u64::from(bitrate) * 10 >= u64::from(max) * 9, "SYMPLE_SEED={seed}: {bitrate} of {max}");
    let slow = &street.viewers[n];
    let first = slow.shown.first().map(|(at, _)| *at - joined);
    let steady = slow.steady(joined, end);
    println!("seed {seed}, {fast} at {max} bit/s: first {first:?}, steady {steady:?}");
    if seeds(0).contains(&seed) {
        println!("{}", street.log.join("\n"));
    }
    (street, first, steady)
}

/// So many seeds, or the one to repeat.
fn seeds(count: u64) -> RangeInclusive<u64> {
    let only: Option<u64> = std::env::var("SYMPLE_SEED").ok().and_then(|seed| seed.parse().ok());
    only.map_or(1..=count, |seed| seed..=seed)
}

#[test]
fn a_slow_viewer_beside_fast_ones_has_a_steady_picture_within_three_seconds() {
    let mut late = vec![];
    for seed in seeds(6) {
        let (street, first, steady) = joins(seed, 2, 1_500_000);
        let log = || street.log.join("\n");
        assert!(first.is_some_and(|at| at <= AIM), "SYMPLE_SEED={seed}: {first:?}\n{}", log());
        if steady.is_none_or(|at| at > AIM) {
            late.push((seed, steady));
        }
    }
    // Of sixty, one is late.
    assert!(late.len() < 2, "{late:?}");
}

#[test]
#[ignore = "takes minutes"]
fn most_slow_viewers_beside_fast_ones_have_a_steady_picture_within_three_seconds() {
    check_most(60, 2, 1_500_000);
}

#[test]
#[ignore = "takes minutes"]
fn most_slow_viewers_beside_nine_have_a_steady_picture_within_three_seconds() {
    check_most(20, 9, 1_500_000);
}

#[test]
#[ignore = "takes minutes"]
fn most_slow_viewers_beside_those_of_four_mbits_have_a_steady_picture_within_three_seconds() {
    check_most(20, 2, 4_000_000);
}

fn check_most(count: u64, fast: usize, max: u32) {
    let steady = |seed| joins(seed, fast, max).2.unwrap_or(Duration::MAX);
    let mut all: Vec<Duration> = seeds(count).map(steady).collect();
    all.sort_unstable();
    println!("steady after {:?} at the median, {:?} at most", all[all.len() / 2], all.last());
    let late = all.iter().filter(|at| **at > AIM).count();
    // Three of sixty beside two: what was sent while the estimate was low counts against it even after it arrived.
    assert!(late * 10 <= all.len(), "{late} of {} took longer than {AIM:?}", all.len());
}

/// The estimates of the first viewers may have risen before the first frame came, and do not change any more.
#[test]
fn those_who_wait_for_the_first_frame_keep_their_bitrate_when_a_slow_viewer_comes() {
    for seed in [9, 21] {
        joins(seed, 2, 1_500_000);
    }
}

#[test]
fn a_fast_viewer_alone_has_all_the_bitrate() {
    for seed in seeds(4) {
        let street = watched(seed, 1, 1_500_000);
        let bitrate = street.world.rates[&VIDEO_H264];
        assert!(bitrate >= 1_350_000, "SYMPLE_SEED={seed}: {bitrate}");
    }
}

#[test]
fn nothing_freezes_for_a_second_when_a_link_halves() {
    for seed in seeds(2) {
        let mut street = watched(seed, 1, 4_000_000);
        let n = street.join(5e6);
        street.run(Duration::from_secs(6));
        let from = street.world.now;
        (street.log, street.start) = (vec![], from);
        street.viewers[n].link.bps /= 2.0;
        street.run(Duration::from_secs(8));
        let shown = street.viewers[n].shown.iter().map(|(at, _)| *at).filter(|at| *at >= from);
        let times: Vec<Instant> = [from].into_iter().chain(shown).chain([street.world.now]).collect();
        let gap = times.windows(2).map(|two| two[1] - two[0]).max().expect("two at least");
        println!("seed {seed}: {gap:?}");
        assert!(gap < Duration::from_secs(1), "SYMPLE_SEED={seed}: {gap:?}\n{}", street.log.join("\n"));
    }
}
