//! A whole call over a camera's core: an honest browser, hostile callers and other attackers, on a virtual network and
//! a virtual clock.
//!
//! The bytes decide who does what. For any input, nothing panics, media is only sent to addresses from which an
//! authentic answer to a check came, no packet number is used twice, and a viewer that was only attacked with forged
//! datagrams still watches at the end.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Rtc};

use super::bytes::Bytes;
use super::rtc::{CAMERA, OFFER, all_media, append, at, fingerprint, sign};
use super::walk::{self, walk};
use crate::call::RateLimit;
use crate::camera::AnswerPolicy;
use crate::camera::core::{CameraCore, Config, Input, Output, Whence};
use crate::media::adapt::rate::BitrateLimits;
use crate::media::{AUDIO_OPUS, Codec, Frame, StreamId, VIDEO_H264, VIDEO_VP8};
use crate::rtc;
use crate::rtc::Path;
use crate::rtc::crypto::provider;
use crate::rtc::demux;
use crate::rtc::session::candidates::is_reachable;

const BROWSER: &str = "198.51.100.1:5000";
/// Senders of datagrams: the browser's address, another port of it, a stranger, this machine.
const FROM: [&str; 4] = [BROWSER, "198.51.100.1:6000", "203.0.113.66:7", "127.0.0.1:9"];
const ALICE: &str = "alice|1";
const MALLORY: &str = "mallory|1";
/// The delay from one end of the network to the other.
const LATENCY: Duration = Duration::from_millis(5);
/// How many of the passed datagrams are kept for replays.
const KEPT: usize = 64;

/// A browser, as far as WebRTC is concerned.
struct Browser {
    rtc: Rtc,
    mids: Vec<(MediaKind, Mid)>,
    pending: Option<SdpPendingOffer>,
    deadline: Instant,
    connected: bool,
    /// Its own ICE password, with which checks to it are answered.
    password: String,
    user: String,
}

struct World {
    core: CameraCore,
    start: Instant,
    now: Instant,
    due: Option<Instant>,
    browser: Option<Browser>,
    wire: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    count: u64,
    /// Recent datagrams of the browser and the camera.
    seen: VecDeque<Vec<u8>>,
    /// The last check to each address.
    checks: BTreeMap<SocketAddr, Vec<u8>>,
    /// Addresses from which an authentic answer to a check came.
    proven: BTreeSet<SocketAddr>,
    sealed: HashSet<(u32, u16)>,
    /// The camera's ICE name and password for the browser's call.
    names: (String, String),
    /// An attacker that could affect the browser's call did something.
    harmed: bool,
}

/// Runs a call.
pub fn call(data: &[u8]) {
    let mut bytes = Bytes(data);
    let w = World::new(bytes.u8());
    walk(w, bytes, 200);
}

impl walk::World for World {
    fn step(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.u8() % 18 {
            0 | 1 => self.call(),
            2 | 3 => self.run(Duration::from_millis(u64::from(bytes.u8()) * 10)),
            4 | 5 => self.frame(bytes),
            6 => {
                let (from, data) = (bytes.pick(&FROM), bytes.piece());
                self.forge(at(from), data);
            }
            7 => {
                // An earlier datagram, slightly changed.
                let (from, n, place) = (bytes.pick(&FROM), usize::from(bytes.u8()), usize::from(bytes.u8()));
                let (turn, cut) = (bytes.u8(), usize::from(bytes.u8()));
                let Some(mut data) = self.seen.get(n % KEPT).cloned() else { return };
                let place = place % data.len().max(1);
                if let Some(byte) = data.get_mut(place) {
                    *byte ^= turn;
                }
                data.truncate(data.len().saturating_sub(cut / 8));
                self.forge(at(from), &data);
            }
            8 => self.insider_asks(bytes),
            9 => self.insider_answers(at(bytes.pick(&FROM))),
            10 => {
                let (from, data) = (bytes.pick(&[ALICE, MALLORY]), bytes.text());
                let subtype =
                    bytes.pick(&["call:init", "call:accept", "call:reject", "call:hangup", "call:answer"]);
                self.signal(from, subtype, data, bytes.pick(&[Some("k1"), Some("k2"), None]));
            }
            11 => self.bad_offer(bytes),
            12 => {
                let (from, id) = bytes.pick(&[(ALICE, "k1"), (MALLORY, "k2")]);
                let body = json!({ "candidate": bytes.text() }).to_string();
                self.signal(from, "call:candidate", &body, Some(id));
            }
            13 => {
                let direction = bytes.pick(&[Direction::Inactive, Direction::RecvOnly, Direction::SendRecv]);
                self.reoffer(bytes.u8(), direction);
            }
            14 => self.interrupt(bytes.u8()),
            15 => {
                if let Some(b) = self.browser.as_mut().filter(|b| b.connected) {
                    let mid =
                        b.mids.iter().find(|(kind, _)| *kind == MediaKind::Video).expect("it has both").1;
                    if let Some(mut writer) = b.rtc.writer(mid) {
                        _ = writer.request_keyframe(None, KeyframeRequestKind::Pli);
                    }
                    b.deadline = self.now;
                }
            }
            16 => {
                let stream = bytes.pick(&[VIDEO_H264, VIDEO_VP8, AUDIO_OPUS, StreamId(9)]);
                self.input(Input::Torn(stream));
            }
            _ => {
                // The browser's own datagrams from another address: its NAT changed the port.
                let (from, n) = (at(bytes.pick(&FROM)), usize::from(bytes.u8()));
                if let Some(data) = self.seen.get(n % KEPT).cloned() {
                    self.forge(from, &data);
                }
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.core.panics(), 0);
        let (sessions, seats) =
            (self.core.calling.fanout.sessions().count(), self.core.calling.parties().count());
        assert!(sessions <= seats && seats <= 4, "{sessions} sessions, {seats} seats");
        let totals = self.core.calling.fanout.totals();
        let seconds = (self.now - self.start).as_secs() + 1;
        assert!(totals.checks <= 512 + 50 * seconds, "{} checks in {seconds} s", totals.checks);
    }

    fn end(mut self) {
        if !self.harmed && self.browser.as_ref().is_some_and(|b| b.connected) {
            self.run(Duration::from_secs(1));
            assert_eq!(self.core.viewers().count(), 1, "the viewer is still there after forgeries alone");
        }
        self.input(Input::Shutdown);
        self.run(Duration::from_millis(100));
        assert!(self.core.is_idle() && self.core.calling.fanout.sessions().count() == 0);
        self.check();
    }
}

impl World {
    fn new(flags: u8) -> World {
        let now = Instant::now();
        let host = rtc::LocalCandidate { base: at(CAMERA), advertised: None };
        let config = Config {
            rtc: rtc::Config { candidates: vec![host], ..rtc::Config::default() },
            streams: all_media(),
            bitrate: BitrateLimits::default(),
            adapt: flags & 1 == 1,
            heat: None,
            answer: AnswerPolicy::All,
            policy: crate::camera::BitratePolicy::Best,
            max_viewers: 4,
            max_unconnected: 3,
            offer_rate: RateLimit { per_second: 2, burst: 8 },
            linger: Duration::from_secs(10),
            snapshot_every: Duration::from_secs(1),
            controls: None,
            #[cfg(feature = "relay")]
            publishers: None,
            #[cfg(feature = "talk")]
            talking: None,
            live: true,
        };
        let mut core = CameraCore::new(config, now);
        core.handle_input(Input::Online { address: "camera|1" }, now);
        World {
            core,
            start: now,
            now,
            due: None,
            browser: None,
            wire: BTreeMap::new(),
            count: 0,
            seen: VecDeque::new(),
            checks: BTreeMap::new(),
            proven: BTreeSet::new(),
            sealed: HashSet::new(),
            names: Default::default(),
            harmed: false,
        }
    }

    /// The honest browser calls.
    fn call(&mut self) {
        if self.browser.is_some() {
            return;
        }
        let builder = Rtc::builder().set_crypto_provider(Arc::new(provider())).clear_codecs();
        let mut rtc = builder.enable_opus(true, false).enable_h264(true).enable_vp8(true).build(self.now);
        rtc.add_local_candidate(Candidate::host(at(BROWSER), "udp").expect("an address"));
        let mut api = rtc.sdp_api();
        let kinds = [MediaKind::Audio, MediaKind::Video];
        let mids = kinds.map(|kind| (kind, api.add_media(kind, Direction::RecvOnly, None, None, None)));
        let (offer, pending) = api.apply().expect("there are changes");
        let offer = offer.to_sdp_string();
        let (user, password) = (attribute(&offer, "a=ice-ufrag:"), attribute(&offer, "a=ice-pwd:"));
        let (deadline, connected) = (self.now, false);
        let (mids, pending) = (mids.to_vec(), Some(pending));
        self.browser = Some(Browser { rtc, mids, pending, deadline, connected, password, user });
        self.message(ALICE, "call:init", "{}", Some("k1"));
        self.message(ALICE, "call:offer", &json!({"type": "offer", "sdp": offer}).to_string(), Some("k1"));
        self.run(Duration::from_millis(1));
    }

    /// Changes the direction of its video or audio.
    fn reoffer(&mut self, which: u8, direction: Direction) {
        let Some(b) = self.browser.as_mut().filter(|b| b.connected && b.pending.is_none()) else { return };
        let mid = b.mids[usize::from(which & 1)].1;
        let mut api = b.rtc.sdp_api();
        api.set_direction(mid, direction);
        let Some((offer, pending)) = api.apply() else { return };
        b.pending = Some(pending);
        let body = json!({"type": "offer", "sdp": offer.to_sdp_string()}).to_string();
        self.message(ALICE, "call:offer", &body, Some("k1"));
        self.run(Duration::from_millis(1));
    }

    /// An offer with one line replaced.
    fn bad_offer(&mut self, bytes: &mut Bytes<'_>) {
        let (from, id) = bytes.pick(&[(ALICE, "k1"), (MALLORY, "k2"), (MALLORY, "k2")]);
        let (place, how, text) = (usize::from(bytes.u8()), bytes.u8() & 3, bytes.text());
        let mut lines: Vec<&str> = OFFER.lines().collect();
        let place = place % lines.len();
        match how {
            0 => lines[place] = text,
            1 => _ = lines.remove(place),
            2 => lines.insert(place, text),
            _ => {}
        }
        let body = json!({"type": "offer", "sdp": lines.join("\r\n") + "\r\n"}).to_string();
        self.signal(from, "call:init", "{}", Some(id));
        self.signal(from, "call:offer", &body, Some(id));
        self.run(Duration::from_millis(1));
    }

    /// An attacker with the call's passwords sends a check from any address.
    fn insider_asks(&mut self, bytes: &mut Bytes<'_>) {
        let (from, nominate, number) = (at(bytes.pick(&FROM)), bytes.u8() & 1 == 1, bytes.u8());
        let Some(b) = self.browser.as_ref().filter(|_| !self.names.0.is_empty()) else { return };
        self.harmed = true;
        let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, number, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
        append(&mut message, 0x0006, format!("{}:{}", self.names.0, b.user).as_bytes());
        append(&mut message, 0x0024, &[110, 0, 1, 255]);
        append(&mut message, 0x802a, &[255; 8]);
        if nominate {
            append(&mut message, 0x0025, &[]);
        }
        sign(&mut message, &self.names.1);
        fingerprint(&mut message);
        self.forge(from, &message);
    }

    /// And answers a check that was sent there.
    fn insider_answers(&mut self, from: SocketAddr) {
        let Some(b) = &self.browser else { return };
        let Some(check) = self.checks.get(&from) else { return };
        self.harmed = true;
        let mut message = vec![1, 1, 0, 0];
        message.extend(&check[4..20]);
        append(&mut message, 0x0020, &[0, 1, 0x21 ^ 0x0f, 0x12 ^ 0xa0, 0x21 ^ 192, 0x12, 0xa4 ^ 2, 0x42 ^ 1]);
        sign(&mut message, &b.password);
        fingerprint(&mut message);
        self.proven.insert(from);
        self.forge(from, &message);
    }

    /// An event that ends or interrupts calls.
    fn interrupt(&mut self, how: u8) {
        self.harmed = true;
        match how % 5 {
            0 => self.input(Input::Offline),
            1 => self.input(Input::Online { address: "camera|2" }),
            2 => self.input(Input::PeerGone { address: ALICE }),
            3 => {
                let viewer = self.core.viewers().next().map(|(viewer, _)| viewer.id);
                if let Some(id) = viewer {
                    self.core.hang_up(id, "bye".into(), self.now).expect("it is there");
                    self.drain();
                }
            }
            _ => self.browser = None,
        }
    }

    fn frame(&mut self, bytes: &mut Bytes<'_>) {
        let (stream, codec) =
            bytes.pick(&[(VIDEO_H264, Codec::H264), (VIDEO_VP8, Codec::Vp8), (AUDIO_OPUS, Codec::Opus)]);
        let (key, size) = (bytes.u8() & 1 == 1 || codec == Codec::Opus, usize::from(bytes.u8()) * 16);
        let head: &[u8] = match (codec, key) {
            (Codec::H264, true) => {
                &[0, 0, 1, 0x67, 0x42, 0xe0, 0x1f, 0x8c, 0, 0, 1, 0x68, 0xce, 0, 0, 1, 0x65]
            }
            (Codec::H264, false) => &[0, 0, 1, 0x41],
            (Codec::Vp8, true) => &[0x10, 0, 0, 0x9d, 1, 0x2a, 0x80, 2, 0xe0, 1],
            (Codec::Vp8, false) => &[0x11, 0, 0],
            _ => &[0xfc],
        };
        let data = [head, &vec![0xab; size]].concat().into();
        let pts = self.now - self.start;
        let frame = Frame {
            stream,
            codec,
            key,
            captured: self.now,
            pts,
            duration: Duration::ZERO,
            discontinuity: false,
            encoding: None,
            data,
        };
        self.input(Input::Frame(&frame));
    }

    /// A datagram with any source address.
    fn forge(&mut self, from: SocketAddr, data: &[u8]) {
        // Until the keys are negotiated, an attacker who can send from there can disrupt the call.
        self.harmed |= !self.browser.as_ref().is_some_and(|b| b.connected);
        self.input(Input::Datagram { path: Path::udp(at(CAMERA), from), data });
    }

    /// Possibly dishonest signalling.
    fn signal(&mut self, from: &str, subtype: &str, data: &str, call: Option<&str>) {
        self.harmed |= from == ALICE || call == Some("k1");
        self.message(from, subtype, data, call);
    }

    fn message(&mut self, from: &str, subtype: &str, data: &str, call: Option<&str>) {
        let host = if from == ALICE { at(BROWSER) } else { at(FROM[2]) };
        let whence = Whence::At(host.ip());
        self.input(Input::Call { from, whence, subtype, data: Some(data), call });
    }

    fn input(&mut self, input: Input<'_>) {
        self.core.handle_input(input, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        for _ in 0..100_000 {
            if let Some(t) = self.core.poll_transmit(self.now) {
                assert_eq!(t.path.local, at(CAMERA));
                for datagram in t.datagrams() {
                    self.sent(t.path.remote, datagram);
                }
                continue;
            }
            match self.core.poll_output() {
                Output::Timeout(at) => return self.due = at,
                Output::Send { to, subtype, data, call } => {
                    let body: Value = serde_json::from_str(&data).expect("bodies are JSON");
                    if (&*to, subtype, call.as_deref()) == (ALICE, "call:answer", Some("k1")) {
                        self.take_answer(body["sdp"].as_str().expect("a description"));
                    }
                }
                _ => {}
            }
        }
        panic!("the camera never becomes idle");
    }

    /// Handles a datagram from the camera.
    fn sent(&mut self, to: SocketAddr, data: &[u8]) {
        assert!(is_reachable(to, &[at(CAMERA)]), "{to} must not be sent to");
        assert!((1..=1500).contains(&data.len()));
        match data[0] {
            0..=3 => {
                if data.starts_with(&[0, 1]) {
                    self.checks.insert(to, data.to_vec());
                }
            }
            20..=63 => {}
            128..=191 => {
                assert!(self.proven.contains(&to), "media for {to}, where nobody has answered");
                if !demux::is_rtcp(data) {
                    let ssrc = u32::from_be_bytes([data[8], data[9], data[10], data[11]]);
                    let number = u16::from_be_bytes([data[2], data[3]]);
                    assert!(self.sealed.insert((ssrc, number)), "number {number} of {ssrc} is sealed twice");
                }
            }
            other => panic!("a datagram begins with {other}"),
        }
        self.put_on_wire(at(CAMERA), to, data);
    }

    fn put_on_wire(&mut self, from: SocketAddr, to: SocketAddr, data: &[u8]) {
        self.count += 1;
        self.seen.push_front(data.to_vec());
        self.seen.truncate(KEPT);
        self.wire.insert((self.now + LATENCY, self.count), (from, to, data.to_vec()));
    }

    fn take_answer(&mut self, sdp: &str) {
        let Some(b) = &mut self.browser else { return };
        let Some(pending) = b.pending.take() else { return };
        let answer = match SdpAnswer::from_sdp_string(sdp) {
            Ok(answer) => answer,
            // The browser can't read what it did not name itself: a payload type without its `rtpmap`.
            Err(_) if self.harmed => return,
            Err(e) => panic!("an answer that can be parsed: {e}\n{sdp}"),
        };
        if !self.harmed || !b.connected {
            let taken = b.rtc.sdp_api().accept_answer(pending, answer);
            assert!(taken.is_ok() || self.harmed, "an answer that fits: {taken:?}\n{sdp}");
            self.names = (attribute(sdp, "a=ice-ufrag:"), attribute(sdp, "a=ice-pwd:"));
        }
        b.deadline = self.now;
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..50_000 {
            let wire = self.wire.first_key_value().map(|((at, _), _)| *at);
            let browser = self.browser.as_ref().map(|b| b.deadline);
            let next = [self.due, wire, browser].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            while let Some(entry) = self.wire.first_entry().filter(|e| e.key().0 <= self.now) {
                let (from, to, data) = entry.remove();
                self.deliver(from, to, &data);
            }
            if self.due.is_some_and(|at| at <= self.now) {
                self.input(Input::Timeout);
            }
            if self.browser.as_ref().is_some_and(|b| b.deadline <= self.now) {
                self.wake_browser(str0m::Input::Timeout(self.now));
            }
        }
        panic!("woken continuously");
    }

    fn deliver(&mut self, from: SocketAddr, to: SocketAddr, data: &[u8]) {
        if to == at(CAMERA) {
            if data.starts_with(&[1, 1]) {
                self.proven.insert(from);
            }
            self.input(Input::Datagram { path: Path::udp(to, from), data });
        } else if to == at(BROWSER) && self.browser.is_some() {
            match Receive::new(Protocol::Udp, from, to, data) {
                Ok(receive) => self.wake_browser(str0m::Input::Receive(self.now, receive)),
                Err(e) => panic!("the camera's datagrams can be parsed: {e}"),
            }
        }
    }

    fn wake_browser(&mut self, input: str0m::Input<'_>) {
        let Some(b) = &mut self.browser else { return };
        let mut out = vec![];
        let mut broken = b.rtc.handle_input(input).is_err();
        while !broken {
            match b.rtc.poll_output() {
                Ok(str0m::Output::Timeout(at)) => {
                    b.deadline = at.max(self.now + Duration::from_micros(100));
                    break;
                }
                Ok(str0m::Output::Transmit(t)) => out.push((t.destination, Vec::from(t.contents))),
                Ok(str0m::Output::Event(str0m::Event::Connected)) => b.connected = true,
                Ok(str0m::Output::Event(_)) => {}
                Err(_) => broken = true,
            }
        }
        if broken {
            assert!(self.harmed, "the browser's side breaks");
            self.browser = None;
        }
        for (to, data) in out {
            self.put_on_wire(at(BROWSER), to, &data);
        }
    }
}

fn attribute(description: &str, name: &str) -> String {
    let line = description.lines().find_map(|l| l.strip_prefix(name));
    line.expect("descriptions have it").trim().to_owned()
}
