//! Data channels of a caller that writes its SCTP itself: any chunks under correct checksums, after a handshake as of a
//! browser.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::SdpAnswer;
use str0m::channel::{ChannelConfig, ChannelId as Key};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Rtc};

use super::bytes::Bytes;
use super::rtc::{CAMERA, at};
use super::walk::{self, walk};
use crate::rtc::crypto::{provider, sctp};
use crate::rtc::{
    ChannelId, ChannelLimits, ChannelMessage, ChannelOptions, Config, Directions, Event, Fanout, Input,
    LocalCandidate, Output, Path, SessionId,
};

const CALLER: &str = "198.51.100.1:5000";
const SESSION: SessionId = SessionId(1);
const LATENCY: Duration = Duration::from_millis(5);
const LIMITS: ChannelLimits =
    ChannelLimits { message: 10_000, channels: 4, send_queue: 20_000, receive_queue: 20_000 };
/// The longest label and protocol, which the documentation of channels promises.
const MAX_LABEL: usize = 256;

const DATA: u8 = 0;
/// Payload protocols: DCEP, text, binary, and both when empty (RFC 8831, 8).
const PROTOCOLS: [u32; 6] = [50, 51, 53, 56, 57, 0];
const HEADER: usize = 12;

/// What the caller's packets become on their way to DTLS.
#[derive(Default)]
struct Forge {
    /// Chunks that replace those of the next packets.
    chunks: Vec<Vec<u8>>,
    /// The newest TSN of its own, and the newest of ours that it acknowledged.
    tsn: u32,
    acknowledged: u32,
    /// Its packet's byte to change, and how.
    change: Option<(u16, u8)>,
}

impl Forge {
    fn packet(&mut self, packet: &[u8]) -> Vec<u8> {
        self.observe(packet);
        let mut packet = packet.to_vec();
        if !self.chunks.is_empty() {
            packet.truncate(HEADER);
            packet.extend(self.chunks.drain(..).flatten());
        } else if let Some((place, by)) = self.change.take() {
            let place = usize::from(place) % packet.len();
            packet[place] ^= by;
        }
        packet[8..HEADER].fill(0);
        let sum = crc32c(&packet);
        packet[8..HEADER].copy_from_slice(&sum.to_le_bytes());
        packet
    }

    /// Learns the numbers that fit.
    fn observe(&mut self, packet: &[u8]) {
        let mut rest = packet.get(HEADER..).unwrap_or_default();
        while let [kind, _, high, low, ..] = *rest {
            let word = |at: usize| Some(u32::from_be_bytes(*rest.get(at..)?.first_chunk()?));
            match kind {
                DATA => self.tsn = word(4).unwrap_or(self.tsn),
                // INIT has the first TSN.
                1 => self.tsn = word(16).map_or(self.tsn, |first| first.wrapping_sub(1)),
                3 => self.acknowledged = word(4).unwrap_or(self.acknowledged),
                _ => {}
            }
            let len = usize::from(u16::from_be_bytes([high, low])).max(4).next_multiple_of(4);
            rest = rest.get(len..).unwrap_or_default();
        }
    }

    fn push(&mut self, kind: u8, flags: u8, value: &[u8]) {
        let len = u16::try_from(4 + value.len()).expect("short").to_be_bytes();
        let mut chunk = [&[kind, flags, len[0], len[1]], value].concat();
        chunk.resize(chunk.len().next_multiple_of(4), 0);
        self.chunks.push(chunk);
    }

    fn data(&mut self, bytes: &mut Bytes<'_>, data: &[u8]) {
        let (flags, step, stream) = (bytes.u8(), bytes.u8(), bytes.u16());
        // The next number, mostly.
        self.tsn = self.tsn.wrapping_add(1).wrapping_add_signed(i32::from(step.cast_signed() / 16));
        // A stream that may be taken, mostly.
        let stream = if stream & 0x8000 == 0 { stream % 8 } else { stream & 0x7fff };
        let number = u16::from(bytes.u8());
        let protocol = bytes.pick(&PROTOCOLS);
        let value = [
            &self.tsn.to_be_bytes()[..],
            &stream.to_be_bytes(),
            &number.to_be_bytes(),
            &protocol.to_be_bytes(),
            data,
        ];
        // Whole and in order, mostly.
        let flags = if flags & 0x80 == 0 { 3 } else { flags & 0xf };
        self.push(DATA, flags, &value.concat());
    }
}

/// CRC-32C, bit by bit (RFC 9260, appendix A).
fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

struct World {
    fanout: Fanout,
    now: Instant,
    due: Instant,
    caller: Option<Rtc>,
    caller_due: Instant,
    forge: Rc<RefCell<Forge>>,
    /// The caller's channels.
    keys: Vec<Key>,
    wire: BTreeMap<(Instant, u64), (SocketAddr, Vec<u8>)>,
    count: u64,
    /// Ours.
    open: BTreeSet<ChannelId>,
    asked: BTreeSet<ChannelId>,
    over: bool,
    /// Whether nothing was forged.
    honest: bool,
    /// Messages of the caller, sent and received.
    sent: u64,
    received: u64,
}

/// Runs a call for data.
pub fn channels(data: &[u8]) {
    walk(World::new(), Bytes(data), 100);
}

impl walk::World for World {
    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let kind = bytes.u8();
        let mut forge = self.forge.borrow_mut();
        match kind % 16 {
            0 | 1 => {
                drop(forge);
                return self.run(Duration::from_millis(u64::from(bytes.u8()) * 10));
            }
            2 | 3 => {
                // A DATA_CHANNEL_OPEN (RFC 8832, 5.1), whose lengths may be wrong.
                let (way, reliability, more) = (bytes.u8(), u32::from(bytes.u16()), bytes.u8());
                let (label, protocol) = (bytes.piece(), bytes.piece());
                let longer = |text: &[u8], by: u8| {
                    (text.len() as u16).wrapping_add_signed(i16::from(by.cast_signed()))
                };
                let mut open = vec![3, way, 0, 0];
                open.extend(reliability.to_be_bytes());
                open.extend(longer(label, more & 0xf).to_be_bytes());
                open.extend(longer(protocol, more >> 4).to_be_bytes());
                open.extend([label, protocol].concat());
                forge.data(bytes, &open);
            }
            4 | 5 => {
                let (data, times) = (bytes.piece(), usize::from(bytes.u8() % 5));
                forge.data(bytes, &data.repeat(times + 1));
            }
            6 => {
                let (kind, flags) = (bytes.u8(), bytes.u8());
                forge.push(kind, flags, bytes.piece());
            }
            7 => {
                // FORWARD-TSN (RFC 3758, 3.2).
                let ahead = u32::from(bytes.u16());
                let value = [&forge.tsn.wrapping_add(ahead).to_be_bytes(), bytes.piece()].concat();
                forge.push(192, 0, &value);
            }
            8 => {
                // SACK (RFC 9260, 3.3.4).
                let (ahead, window) = (bytes.u8().cast_signed(), u32::from(bytes.u16()));
                let (gaps, twice) = (u16::from(bytes.u8() % 8), u16::from(bytes.u8() % 4));
                let upto = forge.acknowledged.wrapping_add_signed(ahead.into());
                let mut value = [upto.to_be_bytes(), window.to_be_bytes()].concat();
                value.extend([gaps.to_be_bytes(), twice.to_be_bytes()].concat());
                value.extend(bytes.piece());
                forge.push(3, 0, &value);
            }
            9 => {
                // RE-CONFIG: streams begin again (RFC 6525, 4.1).
                let kind = u16::from(bytes.u8() % 8) + 12;
                let (number, answer) = (u32::from(bytes.u8()), u32::from(bytes.u8()));
                let streams = bytes.piece();
                let len = u16::try_from(16 + streams.len()).expect("short");
                let mut value = [kind.to_be_bytes(), len.to_be_bytes()].concat();
                let last = forge.tsn;
                for word in [last.wrapping_add(number), answer, last] {
                    value.extend(word.to_be_bytes());
                }
                value.extend(streams);
                forge.push(130, 0, &value);
            }
            10 => forge.change = Some((bytes.u16(), bytes.u8())),
            11 => {
                // Sends what was forged, by a packet of its own.
                drop(forge);
                self.honest = false;
                return self.write(false, b"x");
            }
            12 => {
                drop(forge);
                return self.open_theirs(bytes.text());
            }
            13 => {
                drop(forge);
                let (text, times) = (bytes.u8() & 1 == 0, usize::from(bytes.u8()) + 1);
                return self.write(text, &bytes.text().repeat(times).into_bytes());
            }
            14 => {
                drop(forge);
                return self.ours(bytes);
            }
            _ => {
                drop(forge);
                if let (Some(rtc), Some(key)) = (&mut self.caller, self.keys.pop()) {
                    rtc.direct_api().close_data_channel(key);
                    self.caller_due = self.now;
                }
                return;
            }
        }
        drop(forge);
        self.honest = false;
    }

    fn check(&self) {
        assert_eq!(self.fanout.totals().panics, 0);
        let Some(stats) = self.fanout.stats(SESSION) else {
            return assert!(self.over, "it ends with an event");
        };
        assert!(stats.channels.open <= LIMITS.channels, "{:?}", stats.channels);
        assert!(self.open.len() <= LIMITS.channels);
        assert_eq!(stats.channels.messages_received, self.received);
    }

    fn end(mut self) {
        self.run(Duration::from_secs(2));
        if self.honest {
            assert!(!self.over, "an honest caller's session goes on");
            assert!(self.received <= self.sent);
        }
        self.check();
        sctp::set_garbler(None);
    }
}

impl World {
    fn new() -> World {
        let now = Instant::now();
        let host = LocalCandidate { base: at(CAMERA), advertised: None };
        let config = Config { candidates: vec![host], channels: Some(LIMITS), ..Config::default() };
        let mut fanout = Fanout::new(config, now);
        fanout.set_directions(SESSION, Directions::new([], []));
        let mut rtc = Rtc::builder().set_crypto_provider(Arc::new(provider())).clear_codecs().build(now);
        rtc.add_local_candidate(Candidate::host(at(CALLER), "udp").expect("an address"));
        let mut api = rtc.sdp_api();
        let key = api.add_channel("first".into());
        let (offer, pending) = api.apply().expect("there is a channel");
        let answer = fanout.accept(SESSION, &offer.to_sdp_string(), now).expect("a call for data");
        let answer = SdpAnswer::from_sdp_string(&answer.sdp).expect("an answer");
        rtc.sdp_api().accept_answer(pending, answer).expect("an answer that fits");
        let forge = Rc::new(RefCell::new(Forge::default()));
        let mut world = World {
            fanout,
            now,
            due: now,
            caller: Some(rtc),
            caller_due: now,
            forge: forge.clone(),
            keys: vec![key],
            wire: BTreeMap::new(),
            count: 0,
            open: BTreeSet::new(),
            asked: BTreeSet::new(),
            over: false,
            honest: true,
            sent: 0,
            received: 0,
        };
        sctp::set_garbler(Some(Box::new(move |packet| forge.borrow_mut().packet(packet))));
        world.run(Duration::from_millis(500));
        assert_eq!(world.open.len(), 1, "the first channel is open");
        world
    }

    fn open_theirs(&mut self, label: &str) {
        let Some(rtc) = &mut self.caller else { return };
        let config = ChannelConfig { label: label.to_owned(), ..ChannelConfig::default() };
        self.keys.push(rtc.direct_api().create_data_channel(config));
        self.caller_due = self.now;
    }

    /// The caller writes a message to its newest channel.
    fn write(&mut self, text: bool, data: &[u8]) {
        let (Some(rtc), Some(key)) = (&mut self.caller, self.keys.last()) else { return };
        if data.is_empty() || data.len() > LIMITS.message {
            return;
        }
        let written = rtc.channel(*key).and_then(|mut channel| channel.write(!text, data).ok());
        self.sent += u64::from(written == Some(true));
        self.caller_due = self.now;
    }

    /// Something that we do.
    fn ours(&mut self, bytes: &mut Bytes<'_>) {
        let (what, which) = (bytes.u8(), usize::from(bytes.u8()));
        let all: Vec<ChannelId> = self.open.iter().chain(&self.asked).copied().collect();
        let channel = all.get(which % all.len().max(1)).copied().unwrap_or(ChannelId(9));
        match what % 6 {
            0 => {
                let options = ChannelOptions { ordered: what & 64 == 0, ..ChannelOptions::new(bytes.text()) };
                if let Ok(channel) = self.fanout.open_channel(SESSION, &options, self.now) {
                    self.asked.insert(channel);
                }
            }
            1 | 2 => {
                let times = usize::from(bytes.u8());
                let message = ChannelMessage::Text(bytes.text().repeat(times));
                _ = self.fanout.send(SESSION, channel, &message, self.now);
            }
            3 => {
                self.fanout.close_channel(SESSION, channel, self.now);
                // Nothing more is said of it.
                _ = self.open.remove(&channel) || self.asked.remove(&channel);
            }
            _ => self.fanout.hold_channels(SESSION, what & 64 == 0, self.now),
        }
        self.drain();
    }

    fn drain(&mut self) {
        for _ in 0..100_000 {
            while let Some(transmit) = self.fanout.poll_transmit(self.now) {
                for datagram in transmit.datagrams() {
                    self.count += 1;
                    self.wire.insert((self.now + LATENCY, self.count), (at(CALLER), datagram.to_vec()));
                }
            }
            match self.fanout.poll_output() {
                Output::Timeout(at) => return self.due = at,
                Output::Event(event) => self.event(event),
                Output::Wake(_) => {}
            }
        }
        panic!("it never becomes idle");
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::ChannelOpen { channel, label, protocol, ours, .. } => {
                assert_eq!(self.asked.remove(&channel), ours, "{channel:?}");
                assert!(label.len().max(protocol.len()) <= MAX_LABEL);
                assert!(self.open.insert(channel), "it opens once");
            }
            Event::ChannelMessage { channel, message, .. } => {
                assert!(self.open.contains(&channel), "a message of a channel that is not open");
                assert!(message.as_bytes().len() <= LIMITS.message);
                self.received += 1;
            }
            Event::ChannelClosed { channel, .. } => {
                assert!(self.open.remove(&channel) || self.asked.remove(&channel), "it closes once");
            }
            Event::Closed { .. } => self.over = true,
            _ => {}
        }
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        self.drain();
        for _ in 0..20_000 {
            let wire = self.wire.first_key_value().map(|((at, _), _)| *at);
            let caller = self.caller.as_ref().map(|_| self.caller_due);
            let next = [Some(self.due), wire, caller].into_iter().flatten().min().expect("ours");
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (to, data) = entry.remove();
                if to == at(CAMERA) {
                    let path = Path::udp(at(CAMERA), at(CALLER));
                    self.fanout.handle_input(Input::Datagram { path, data: &data }, self.now);
                    self.drain();
                } else {
                    let received = Receive::new(Protocol::Udp, at(CAMERA), at(CALLER), &data);
                    let received = received.expect("our datagrams can be parsed");
                    self.wake_caller(str0m::Input::Receive(self.now, received));
                }
            }
            if self.due <= self.now {
                self.fanout.handle_input(Input::Timeout, self.now);
                self.drain();
            }
            if self.caller_due <= self.now {
                self.wake_caller(str0m::Input::Timeout(self.now));
            }
        }
        panic!("woken continuously");
    }

    fn wake_caller(&mut self, input: str0m::Input<'_>) {
        let Some(rtc) = &mut self.caller else { return };
        let mut alive = rtc.handle_input(input).is_ok();
        while alive {
            match rtc.poll_output() {
                Ok(str0m::Output::Timeout(at)) => {
                    self.caller_due = at.max(self.now + Duration::from_micros(100));
                    return;
                }
                Ok(str0m::Output::Transmit(transmit)) => {
                    self.count += 1;
                    let datagram = Vec::from(transmit.contents);
                    self.wire.insert((self.now + LATENCY, self.count), (transmit.destination, datagram));
                }
                Ok(str0m::Output::Event(_)) => {}
                Err(_) => alive = false,
            }
        }
        assert!(!self.honest, "the caller's side breaks");
        self.caller = None;
    }
}
