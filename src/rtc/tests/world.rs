//! A fan-out and browsers on a virtual network, with a virtual clock.

mod calls;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::Rtc;
use str0m::change::SdpPendingOffer;
use str0m::media::{MediaData, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RawPacket;

use crate::call::body::End;
use crate::media::adapt::keyframes::KeyFrameReason;
use crate::media::{Codec, Encoding, Frame, StreamId, StreamInfo};
use crate::rtc::{Config, Event, Fanout, Input, LocalCandidate, Output, Path, Shard, Transmit};

pub(super) const H264: StreamId = StreamId(0);
pub(super) const VP8: StreamId = StreamId(1);
pub(super) const OPUS: StreamId = StreamId(2);
/// A smaller rendition of the H.264 stream, of every second frame and an eighth of the bytes.
pub(super) const SMALL: StreamId = StreamId(4);
pub(super) const CAMERA: &str = "192.0.2.1:4000";
const FRAME_EVERY: Duration = Duration::from_millis(33);
const SOUND_EVERY: Duration = Duration::from_millis(20);
/// From a request to its key frame.
const ENCODER: Duration = Duration::from_millis(100);
const LATENCY: Duration = Duration::from_millis(10);

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A browser as far as WebRTC goes: str0m in its frame mode, so that a foreign hand puts frames together.
pub(super) struct Browser {
    pub(super) rtc: Rtc,
    pub(super) address: SocketAddr,
    pub(super) media: Vec<MediaData>,
    pub(super) connected: bool,
    pub(super) closed: bool,
    /// Pulled the plug.
    pub(super) gone: bool,
    pub(super) mids: Vec<(MediaKind, Mid)>,
    /// RTP and RTCP as it came, in the clear; where that is wanted.
    pub(super) raw: Vec<(Duration, RawPacket)>,
    pending: Option<SdpPendingOffer>,
    deadline: Instant,
}

impl Browser {
    pub(super) fn frames(&self, codec: str0m::format::Codec) -> Vec<&MediaData> {
        self.media.iter().filter(|m| m.params.spec().codec == codec).collect()
    }

    pub(super) fn mid(&self, kind: MediaKind) -> Mid {
        self.mids.iter().find(|(k, _)| *k == kind).expect("negotiated").1
    }
}

thread_local! {
    /// With how many drivers beside the fan-out's own a world begins on this thread.
    pub(super) static DRIVERS: Cell<usize> = const { Cell::new(0) };
}

/// A driver of a shard, which gets a CPU when chance has it.
pub(super) struct Driver {
    pub(super) shard: Shard,
    /// When it does something next.
    at: Instant,
    /// Datagrams that it sent.
    pub(super) sent: usize,
}

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) start: Instant,
    pub(super) fanout: Fanout,
    pub(super) browsers: BTreeMap<u64, Browser>,
    pub(super) events: Vec<(Duration, Event)>,
    pub(super) sent: Vec<Transmit>,
    /// When each of them was.
    pub(super) sent_at: Vec<Duration>,
    /// What the browsers sent: from, to, payload.
    pub(super) taken: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    /// What was fed in, by stream and data.
    pub(super) fed: HashMap<StreamId, Vec<Arc<[u8]>>>,
    /// Whether a datagram is lost, by its number.
    pub(super) lose: fn(u64) -> bool,
    pub(super) streams: Vec<StreamId>,
    /// Under which id the H.264 stream is fed in, if not its own.
    pub(super) moved: Option<StreamId>,
    /// The H.264 stream goes on in VP8.
    pub(super) is_vp8: bool,
    /// What a browser's link carries in bit/s; it queues for half a second and then drops.
    pub(super) link: Option<u64>,
    link_free: Instant,
    /// How long the camera's socket takes for each datagram, and when it takes the next.
    pub(super) socket_takes: Duration,
    pub(super) socket_free: Instant,
    /// How long video frames were captured, and encoded, before they are fed in; zero stands for an unknown encoder.
    pub(super) made_in: (Duration, Duration),
    /// Bytes of a delta frame.
    pub(super) frame_size: usize,
    /// How browsers' addresses look behind their NATs.
    pub(super) nat: HashMap<SocketAddr, SocketAddr>,
    /// Browsers that nominate a path once and then ask for consent alone, as Firefox and aiortc do, and the passwords
    /// of the camera for them.
    pub(super) nominates_once: HashMap<u64, String>,
    /// Browsers answer no check any more.
    pub(super) answers_none: bool,
    /// Addresses that the camera lost: nothing passes there.
    pub(super) lost: BTreeSet<SocketAddr>,
    /// NATs accept a datagram only from where something was sent to before.
    pub(super) strict: bool,
    opened: BTreeSet<(SocketAddr, SocketAddr)>,
    /// The camera is behind a port forward, and can't be reached but by this.
    pub(super) forward: Option<SocketAddr>,
    /// How often the camera's time-out was due.
    pub(super) wakes: u64,
    /// Drivers of shards, beside the one that runs the fan-out.
    pub(super) drivers: Vec<Driver>,
    pub(super) chance: u64,
    pub(super) camera: Vec<SocketAddr>,
    /// When the encoder has the key frame ready that was asked for; and the one of the small rendition.
    key_at: Option<Instant>,
    small_key_at: Option<Instant>,
    datagrams: u64,
    wire: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    frames: u64,
    next_frame: Instant,
    next_sound: Instant,
    camera_deadline: Instant,
    count: u64,
}

pub(super) fn stream(id: StreamId, codec: Codec) -> StreamInfo {
    StreamInfo::new(id, codec)
}

pub(super) fn all_media() -> Vec<StreamInfo> {
    vec![stream(H264, Codec::H264), stream(VP8, Codec::Vp8), stream(OPUS, Codec::Opus)]
}

/// The video and the audio stream of a set.
pub(super) fn taken(streams: &BTreeSet<StreamId>) -> (Option<StreamId>, Option<StreamId>) {
    let (audio, video): (Vec<StreamId>, Vec<StreamId>) = streams.iter().partition(|id| **id == OPUS);
    assert!(audio.len() < 2 && video.len() < 2, "one of each kind: {streams:?}");
    (video.first().copied(), audio.first().copied())
}

impl World {
    pub(super) fn new() -> World {
        World::with(Config::default())
    }

    pub(super) fn with(config: Config) -> World {
        let now = Instant::now();
        let host = LocalCandidate { base: CAMERA.parse().expect("literal"), advertised: None };
        let candidates = if config.candidates.is_empty() { vec![host] } else { config.candidates.clone() };
        let camera = candidates.iter().map(|c| c.base).collect();
        let mut fanout = Fanout::new(Config { candidates, ..config }, now);
        fanout.set_streams(&all_media());
        let mut world = World {
            now,
            start: now,
            fanout,
            browsers: BTreeMap::new(),
            events: vec![],
            sent: vec![],
            sent_at: vec![],
            taken: vec![],
            fed: HashMap::new(),
            lose: |_| false,
            streams: vec![H264, VP8, OPUS],
            moved: None,
            is_vp8: false,
            link: None,
            link_free: now,
            socket_takes: Duration::ZERO,
            socket_free: now,
            made_in: Default::default(),
            frame_size: 4000,
            nat: HashMap::new(),
            nominates_once: HashMap::new(),
            answers_none: false,
            lost: BTreeSet::new(),
            strict: false,
            opened: BTreeSet::new(),
            forward: None,
            wakes: 0,
            drivers: vec![],
            chance: 1,
            camera,
            key_at: Some(now),
            small_key_at: None,
            datagrams: 0,
            wire: BTreeMap::new(),
            frames: 0,
            next_frame: now,
            next_sound: now,
            camera_deadline: now,
            count: 0,
        };
        (0..DRIVERS.get()).for_each(|_| world.drive());
        world
    }

    /// One more driver.
    pub(super) fn drive(&mut self) {
        let shard = self.fanout.shard();
        self.drivers.push(Driver { shard, at: self.now, sent: 0 });
        self.drain_camera();
    }

    /// A number below this one; the seed is `chance`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.chance =
            self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) % end
    }

    /// When a frame was made, in seconds.
    pub(super) fn fed_at(&self, codec: str0m::format::Codec, data: &[u8]) -> f64 {
        let (stream, every) = match codec {
            str0m::format::Codec::Opus => (OPUS, SOUND_EVERY),
            _ => (H264, FRAME_EVERY),
        };
        let i = self.fed[&stream].iter().position(|f| **f == *data).expect("one of ours");
        every.as_secs_f64() * i as f64
    }

    /// The browser's application did something.
    pub(super) fn poke(&mut self, id: u64) {
        self.drain_browser(id);
    }

    pub(super) fn saw(&self, f: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(|(_, e)| f(e))
    }

    pub(super) fn closed(&self, id: u64) -> Option<(Duration, String)> {
        self.events.iter().find_map(|(at, e)| match e {
            Event::Closed { session, end } if session.0 == id => Some((*at, end.to_string())),
            _ => None,
        })
    }

    /// How a session that is over ended.
    pub(super) fn end(&self, id: u64) -> End {
        let end = self.events.iter().find_map(|(_, e)| match e {
            Event::Closed { session, end } if session.0 == id => Some(end.clone()),
            _ => None,
        });
        end.expect("it is over")
    }

    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let mut next = self.camera_deadline.min(self.next_frame).min(self.next_sound);
            if self.socket_free > self.now {
                next = next.min(self.socket_free);
            }
            if let Some(((at, _), _)) = self.wire.first_key_value() {
                next = next.min(*at);
            }
            for b in self.browsers.values().filter(|b| !b.gone) {
                next = next.min(b.deadline);
            }
            for driver in &self.drivers {
                next = next.min(driver.at);
            }
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            self.deliver();
            if self.socket_free == self.now {
                // All drivers that wait for the socket learn of it, and one of them is the first.
                if self.below(self.drivers.len() as u64 + 1) > 0 {
                    self.drive_shards();
                }
                self.drain_camera();
            }
            self.make_frames();
            if self.camera_deadline <= self.now {
                self.wakes += 1;
                self.fanout.handle_input(Input::Timeout, self.now);
                self.drain_camera();
            }
            self.drive_shards();
            let due: Vec<u64> = self
                .browsers
                .iter()
                .filter(|(_, b)| !b.gone && b.deadline <= self.now)
                .map(|(id, _)| *id)
                .collect();
            for id in due {
                let now = self.now;
                self.browsers
                    .get_mut(&id)
                    .expect("listed")
                    .rtc
                    .handle_input(str0m::Input::Timeout(now))
                    .expect("time");
                self.drain_browser(id);
            }
        }
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.wire.first_entry().filter(|e| e.key().0 <= self.now) {
            let (from, to, data) = entry.remove();
            if self.camera.contains(&to) {
                self.fanout
                    .handle_input(Input::Datagram { path: Path::udp(to, from), data: &data }, self.now);
                self.drain_camera();
                continue;
            }
            for id in self.addressees(from, to, &data) {
                let b = self.browsers.get_mut(&id).expect("found");
                let receive = Receive::new(Protocol::Udp, from, to, &data).expect("ours");
                b.rtc
                    .handle_input(str0m::Input::Receive(self.now, receive))
                    .expect("no error at the browser");
                self.drain_browser(id);
            }
        }
    }

    /// The browsers that a datagram is for. Several may share a socket: then checks are told apart by their names,
    /// and DTLS is for who still needs it.
    fn addressees(&self, from: SocketAddr, to: SocketAddr, data: &[u8]) -> Vec<u64> {
        let here = self.browsers.iter().filter(|(_, b)| b.address == to && !b.gone);
        let all: Vec<u64> = here.map(|(id, _)| *id).collect();
        if all.len() < 2 {
            return all;
        }
        let takes = |id: &u64| {
            let receive = Receive::new(Protocol::Udp, from, to, data).expect("ours");
            let b = &self.browsers[id];
            match data[0] {
                0..=3 => b.rtc.accepts(&str0m::Input::Receive(self.now, receive)),
                20..=63 => !b.connected || all.iter().all(|id| self.browsers[id].connected),
                _ => true,
            }
        };
        all.iter().copied().filter(takes).collect()
    }

    fn put_on_wire(&mut self, from: SocketAddr, to: SocketAddr, data: &[u8]) {
        self.datagrams += 1;
        let private = self.nat.iter().find(|(_, public)| **public == to).map(|(private, _)| *private);
        let from_browser = *self.nat.get(&from).unwrap_or(&from);
        let (browser, camera) =
            if self.camera.contains(&to) { (from, to) } else { (private.unwrap_or(to), from) };
        if self.camera.contains(&to) {
            self.opened.insert((browser, camera));
        }
        if self.lost.contains(&camera) || (self.strict && !self.opened.contains(&(browser, camera))) {
            return;
        }
        let (from, to) = match self.forward {
            Some(public) if public == to => (from_browser, self.camera[0]),
            Some(_) if self.camera.contains(&to) => return,
            Some(public) if self.camera.contains(&from) => (public, private.unwrap_or(to)),
            _ => (from_browser, private.unwrap_or(to)),
        };
        let mut leaves = self.now;
        if let Some(bps) = self.link.filter(|_| !self.camera.contains(&to)) {
            leaves = leaves.max(self.link_free);
            if leaves > self.now + ms(500) {
                return;
            }
            self.link_free = leaves + Duration::from_micros(data.len() as u64 * 8_000_000 / bps);
            leaves = self.link_free;
        }
        if !(self.lose)(self.datagrams) {
            self.wire.insert((leaves + LATENCY, self.datagrams), (from, to, data.to_vec()));
        }
    }

    /// What the camera sends, while its socket takes it.
    fn poll_socket(&mut self) -> Option<Transmit> {
        if self.now < self.socket_free {
            return None;
        }
        let t = self.fanout.poll_transmit(self.now)?;
        self.socket_free = self.now + self.socket_takes * t.datagrams().count() as u32;
        Some(t)
    }

    pub(super) fn drain_camera(&mut self) {
        loop {
            while let Some(t) = self.poll_socket() {
                self.leave(t);
            }
            match self.fanout.poll_output() {
                Output::Wake(shard) => {
                    let at = self.now + Duration::from_micros(self.below(2000));
                    let known = self.drivers.iter_mut().find(|driver| driver.shard.id() == shard);
                    if let Some(driver) = known {
                        driver.at = driver.at.min(at);
                    }
                }
                Output::Timeout(at) => {
                    self.camera_deadline = at;
                    return;
                }
                Output::Event(e) => {
                    if let Event::KeyFrameWanted { stream, .. } = e {
                        let at = if stream == SMALL { &mut self.small_key_at } else { &mut self.key_at };
                        at.get_or_insert(self.now + ENCODER);
                    }
                    self.events.push((self.now - self.start, e));
                }
            }
        }
    }

    fn leave(&mut self, t: Transmit) {
        for datagram in t.datagrams() {
            self.put_on_wire(t.path.local, t.path.remote, datagram);
        }
        self.sent.push(t);
        self.sent_at.push(self.now - self.start);
    }

    /// Whoever drives a shard and has a CPU goes on for a while.
    fn drive_shards(&mut self) {
        let count = self.drivers.len();
        let first = self.below(count.max(1) as u64) as usize;
        for at in (0..count).map(|at| (at + first) % count) {
            if self.drivers[at].at > self.now {
                continue;
            }
            self.drivers[at].shard.handle_timeout(self.now);
            let calls = self.below(20);
            let sent = (0..calls).all(|_| {
                let free = self.socket_free <= self.now;
                let Some(t) = free.then(|| self.drivers[at].shard.poll_transmit(self.now)).flatten() else {
                    return false;
                };
                self.socket_free = self.now + self.socket_takes * t.datagrams().count() as u32;
                self.drivers[at].sent += t.datagrams().count();
                self.leave(t);
                true
            });
            let soon = self.now + Duration::from_micros(self.below(3000) + 1);
            let driver = &mut self.drivers[at];
            driver.at = match sent {
                _ if self.socket_free > self.now => self.socket_free,
                true => soon,
                false => driver.shard.poll_timeout(),
            };
            if driver.shard.has_events() {
                self.drain_camera();
            }
        }
    }

    fn drain_browser(&mut self, id: u64) {
        loop {
            let b = self.browsers.get_mut(&id).expect("called with one");
            match b.rtc.poll_output().expect("no error at the browser") {
                str0m::Output::Timeout(at) => {
                    b.deadline = at.max(self.now + Duration::from_micros(100));
                    return;
                }
                str0m::Output::Transmit(t) => {
                    let (gone, connected, mut data) = (b.gone, b.connected, Vec::from(t.contents));
                    if let Some(password) = self.nominates_once.get(&id).filter(|_| connected) {
                        data = without_nomination(&data, password).unwrap_or(data);
                    }
                    if !(gone || self.answers_none && data.starts_with(&[1, 1])) {
                        self.taken.push((t.source, t.destination, data.clone()));
                        self.put_on_wire(t.source, t.destination, &data);
                    }
                }
                str0m::Output::Event(e) => match e {
                    str0m::Event::Connected => b.connected = true,
                    str0m::Event::MediaData(m) => b.media.push(m),
                    str0m::Event::MediaAdded(m) => b.mids.push((m.kind, m.mid)),
                    str0m::Event::RawPacket(p) => b.raw.push((self.now - self.start, *p)),
                    str0m::Event::Closed => b.closed = true,
                    _ => {}
                },
            }
        }
    }

    fn make_frames(&mut self) {
        if self.next_frame <= self.now {
            self.next_frame += FRAME_EVERY;
            let key = self.key_at.is_some_and(|at| at <= self.now);
            if key {
                self.key_at = None;
            }
            let codec = if self.is_vp8 { Codec::Vp8 } else { Codec::H264 };
            for (stream, codec) in [(H264, codec), (VP8, Codec::Vp8)] {
                self.feed(stream, codec, key);
            }
            self.frames += 1;
            if self.frames.is_multiple_of(2) && self.streams.contains(&SMALL) {
                let key = self.small_key_at.take_if(|at| *at <= self.now).is_some();
                self.feed(SMALL, Codec::H264, key);
            }
        }
        if self.next_sound <= self.now {
            self.next_sound += SOUND_EVERY;
            self.feed(OPUS, Codec::Opus, true);
        }
    }

    /// A packet of audio out of turn.
    pub(super) fn hear(&mut self) {
        self.feed(OPUS, Codec::Opus, true);
    }

    /// Feeds an Opus packet of 20 ms in, and lets that time pass.
    pub(super) fn hear_packet(&mut self, data: Vec<u8>) {
        let frame = Frame {
            stream: OPUS,
            codec: Codec::Opus,
            key: true,
            captured: self.now,
            pts: self.now - self.start,
            duration: SOUND_EVERY,
            discontinuity: false,
            encoding: None,
            data: data.into(),
        };
        self.fanout.handle_input(Input::Frame(&frame), self.now);
        self.drain_camera();
        self.run(SOUND_EVERY);
    }

    fn feed(&mut self, stream: StreamId, codec: Codec, key: bool) {
        if !self.streams.contains(&stream) {
            return;
        }
        self.count += 1;
        let size = if stream == SMALL { self.frame_size / 8 } else { self.frame_size };
        let data: Arc<[u8]> = picture(codec, key, self.count, size).into();
        self.fed.entry(stream).or_default().push(data.clone());
        let (captured, encoded) = if codec.is_video() { self.made_in } else { Default::default() };
        let began = self.now - encoded;
        let encoding = (!encoded.is_zero()).then_some(Encoding { began, ended: self.now });
        let frame = Frame {
            stream: self.moved.filter(|_| stream == H264).unwrap_or(stream),
            codec,
            key,
            captured: began - captured,
            pts: self.now - self.start,
            duration: Duration::ZERO,
            discontinuity: false,
            encoding,
            data,
        };
        self.fanout.handle_input(Input::Frame(&frame), self.now);
        self.drain_camera();
    }
}

/// A check without its USE-CANDIDATE, signed anew; `None` for anything else.
fn without_nomination(datagram: &[u8], password: &str) -> Option<Vec<u8>> {
    let body = datagram.strip_prefix(&[0, 1]).map(|_| &datagram[20..])?;
    let transaction = datagram[8..20].try_into().expect("12 bytes");
    let mut attributes = vec![];
    let mut at = 0;
    while at + 4 <= body.len() {
        let u16_at = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        let (kind, len) = (u16_at(at), usize::from(u16_at(at + 2)));
        // USE-CANDIDATE, MESSAGE-INTEGRITY and FINGERPRINT (RFC 8445, 16.1, and RFC 8489, 18.3).
        if ![0x0025, 0x0008, 0x8028].contains(&kind) {
            attributes.push((kind, body[at + 4..at + 4 + len].to_vec()));
        }
        at += 4 + len.next_multiple_of(4);
    }
    Some(super::hostile::stun(0x0001, transaction, &attributes, Some(password)))
}

/// Something that looks coded, told apart by its count.
pub(super) fn picture(codec: Codec, key: bool, count: u64, size: usize) -> Vec<u8> {
    let mut noise = count.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = |n: usize| -> Vec<u8> {
        (0..n)
            .map(|_| {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                // No zeros: no start codes by chance.
                (noise as u8) | 1
            })
            .collect()
    };
    match codec {
        Codec::H264 => {
            let nal = |head: &[u8], body: Vec<u8>| [&[0, 0, 0, 1], head, &body].concat();
            if key {
                let sps = nal(&[0x67, 0x42, 0xe0, 0x1f], bytes(12));
                let pps = nal(&[0x68, 0xce], bytes(3));
                [sps, pps, nal(&[0x65], bytes(size * 3))].concat()
            } else {
                nal(&[0x41], bytes(size))
            }
        }
        Codec::Vp8 => {
            // RFC 6386 9.1: bit 0 is clear in key frames, which then have a start code.
            let head: &[u8] =
                if key { &[0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 2, 0xe0, 1] } else { &[0x11, 0, 0] };
            [head, &bytes(size)].concat()
        }
        Codec::Opus | Codec::Jpeg => bytes(80),
    }
}

/// Whether somebody who joins needs a key frame of a stream.
pub(super) fn is_join(event: &Event, of: StreamId) -> bool {
    matches!(event, Event::KeyFrameWanted { stream, reason: KeyFrameReason::Join, .. } if *stream == of)
}

/// Whether somebody whose picture is corrupted needs a key frame of a stream.
pub(super) fn is_loss(event: &Event, of: StreamId) -> bool {
    matches!(event, Event::KeyFrameWanted { stream, reason: KeyFrameReason::Loss, .. } if *stream == of)
}
