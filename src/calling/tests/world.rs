//! Two programs with their calls, a server between them, and a network for media.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::call::body::EndReason;
use crate::call::{CallId, RateLimit};
use crate::calling::core::Core;
use crate::calling::feeding::Feeding;
use crate::calling::wish::Wanted;
use crate::calling::{AnswerPolicy, CoreConfig, Event, Input, Output, Whence};
use crate::dice::Dice;
use crate::media::source::Command;
use crate::media::{AUDIO_OPUS, Codec, Frame, Kind, StreamId, StreamInfo, VIDEO_H264};
use crate::rtc::{self, Directions, LocalCandidate, Path};

pub(super) const NAMES: [&str; 2] = ["alice|1", "bob|2"];
pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(super) fn both() -> Directions {
    Directions::new([Kind::Audio, Kind::Video], [Kind::Audio, Kind::Video])
}

/// What the network does to datagrams.
#[derive(Clone, Debug, Default)]
pub(super) struct Network {
    pub loss: f64,
    pub delay: Duration,
    /// Added at random, so that datagrams overtake each other.
    pub jitter: Duration,
}

/// What becomes of messages: how long each takes, whether later ones overtake it, and whether it is lost.
#[derive(Clone, Debug, Default)]
pub(super) struct Signalling {
    pub delay: Duration,
    pub jitter: Duration,
    pub overtake: bool,
    pub loss: f64,
}

#[derive(Clone, Debug)]
pub(super) struct Message {
    pub to: usize,
    pub subtype: &'static str,
    pub call: Option<String>,
    pub data: String,
}

pub(super) struct Peer {
    pub core: Core,
    pub feeding: Feeding,
    address: SocketAddr,
    deadline: Option<Instant>,
    pub events: Vec<Event>,
    /// What is wanted of the encoder, and the bitrate that it was asked for.
    pub wanted: BTreeSet<StreamId>,
    pub bitrate: u32,
    key: bool,
    pub keys_made: usize,
    /// What it sent, and received.
    pub sent: Vec<Arc<[u8]>>,
    pub frames: Vec<Frame>,
    pub call: Option<CallId>,
    pub connected: bool,
}

pub(super) struct World {
    pub now: Instant,
    pub start: Instant,
    pub peers: [Peer; 2],
    pub network: Network,
    pub signalling: Signalling,
    pub dice: Dice,
    /// Datagrams on their way, with the paths as their receivers see them.
    wire: BTreeMap<(Instant, u64), (usize, Path, Vec<u8>)>,
    post: BTreeMap<(Instant, u64), Message>,
    last_post: [Instant; 2],
    /// Messages that were delivered.
    pub delivered: Vec<Message>,
    /// Both are clients that know no ids of calls.
    pub plain: bool,
    /// Calls have data channels.
    pub channels: bool,
    /// Incoming calls are granted this.
    pub grant: Option<Directions>,
    count: u64,
    pictures: u64,
    /// How often encoders make a frame.
    pub feed_every: Duration,
    feed_at: Instant,
}

impl Peer {
    fn new(n: usize, now: Instant) -> Peer {
        let address = SocketAddr::from(([192, 0, 2, n as u8 + 1], 4000));
        let rtc = rtc::Config {
            candidates: vec![LocalCandidate { base: address, advertised: None }],
            audio_packet: Duration::ZERO,
            channels: Some(rtc::ChannelLimits::default()),
            ..rtc::Config::default()
        };
        let config = CoreConfig {
            rtc,
            streams: vec![],
            answer: AnswerPolicy::Ask,
            max_calls: 8,
            max_unconnected: 8,
            offer_rate: RateLimit { per_second: 1, burst: 8 },
        };
        let mut peer = Peer {
            core: Core::new(config, now),
            feeding: Feeding::new(),
            address,
            deadline: None,
            events: vec![],
            wanted: BTreeSet::new(),
            bitrate: 0,
            key: false,
            keys_made: 0,
            sent: vec![],
            frames: vec![],
            call: None,
            connected: false,
        };
        let streams = [StreamInfo::new(VIDEO_H264, Codec::H264), StreamInfo::new(AUDIO_OPUS, Codec::Opus)];
        let others = peer.feeding.set_streams(&streams, now);
        peer.core.change_streams(&streams, others, now);
        peer.core.handle_input(Input::Online { address: NAMES[n] }, now);
        peer
    }

    /// The kinds that it received since this was asked last.
    pub(super) fn take_kinds(&mut self) -> BTreeSet<Kind> {
        std::mem::take(&mut self.frames).iter().map(|frame| frame.codec.kind()).collect()
    }
}

impl World {
    pub(super) fn new() -> World {
        World::seeded(1)
    }

    pub(super) fn seeded(seed: u64) -> World {
        let now = Instant::now();
        World {
            now,
            start: now,
            peers: [Peer::new(0, now), Peer::new(1, now)],
            network: Network { delay: ms(10), ..Network::default() },
            signalling: Signalling { delay: ms(5), ..Signalling::default() },
            dice: Dice(seed),
            wire: BTreeMap::new(),
            post: BTreeMap::new(),
            last_post: [now; 2],
            delivered: vec![],
            plain: false,
            channels: false,
            grant: Some(both()),
            count: 0,
            pictures: 0,
            feed_every: ms(20),
            feed_at: now,
        }
    }

    /// One of them calls the other, as `wish` says.
    pub(super) fn call(&mut self, from: usize, wish: Directions) -> CallId {
        self.count += 1;
        let wire_id = format!("call-{}", self.count);
        let peer = &mut self.peers[from];
        let wanted = Wanted { directions: wish, channels: self.channels };
        let call =
            peer.core.call(NAMES[1 - from], &wire_id, "{}", false, wanted, self.now).expect("no call yet");
        peer.call = Some(call);
        self.drain(from);
        call
    }

    /// One of them gets another address, and loses the one that it had.
    pub(super) fn moves(&mut self, n: usize, address: SocketAddr) {
        let peer = &mut self.peers[n];
        let gone = std::mem::replace(&mut peer.address, address);
        let candidates = vec![LocalCandidate { base: address, advertised: None }];
        peer.core.set_candidates(candidates, &[gone.ip()], self.now);
        self.drain(n);
    }

    pub(super) fn set(&mut self, n: usize, wish: Directions) {
        let Some(call) = self.peers[n].call else { return };
        self.peers[n].core.set_directions(call, wish, self.now);
        self.drain(n);
    }

    pub(super) fn hang_up(&mut self, n: usize) {
        self.hang_up_for(n, EndReason::Ended);
    }

    pub(super) fn hang_up_for(&mut self, n: usize, reason: EndReason) {
        let call = self.peers[n].call.take().expect("a call");
        self.peers[n].core.hang_up(call, reason.into(), self.now).expect("it goes on");
        self.drain(n);
    }

    /// How a peer's last call ended.
    pub(super) fn end(&self, n: usize) -> Option<String> {
        self.peers[n].events.iter().rev().find_map(|event| match event {
            Event::Left { end, .. } | Event::Failed { end, .. } => Some(end.reason.code().to_owned()),
            _ => None,
        })
    }

    pub(super) fn drain(&mut self, n: usize) {
        loop {
            let now = self.now;
            while let Some(transmit) = self.peers[n].core.poll_transmit(now) {
                for datagram in transmit.datagrams() {
                    self.count += 1;
                    if self.dice.chance(self.network.loss) || transmit.path.local != self.peers[n].address {
                        continue;
                    }
                    let late = self.network.jitter.mul_f64(self.dice.range(0.0, 1.0));
                    let at = now + self.network.delay + late;
                    let path = Path::udp(transmit.path.remote, transmit.path.local);
                    self.wire.insert((at, self.count), (1 - n, path, datagram.to_vec()));
                }
            }
            let peer = &mut self.peers[n];
            match peer.core.poll_output() {
                Output::Timeout(at) => {
                    let feeding = peer.feeding.poll_timeout();
                    peer.deadline = at.into_iter().chain(feeding).min();
                    while let Some(command) = peer.feeding.poll_command() {
                        match command {
                            Command::Want(streams) => {
                                peer.key |= !peer.wanted.contains(&VIDEO_H264);
                                peer.wanted = streams;
                            }
                            Command::KeyFrame(_) => peer.key = true,
                            Command::Bitrate { bps, .. } => peer.bitrate = bps,
                            _ => {}
                        }
                    }
                    return;
                }
                Output::Send { to, subtype, call, data } => self.send(n, &to, subtype, call, data),
                Output::Event(event) => self.event(n, event),
                #[cfg(feature = "camera")]
                Output::Wake(_) => {}
            }
        }
    }

    fn send(&mut self, from: usize, to: &str, subtype: &'static str, call: Option<String>, data: String) {
        assert_eq!(to, NAMES[1 - from]);
        self.count += 1;
        if self.dice.chance(self.signalling.loss) {
            return;
        }
        let late = self.signalling.jitter.mul_f64(self.dice.range(0.0, 1.0));
        let mut at = self.now + self.signalling.delay + late;
        if !self.signalling.overtake {
            at = at.max(self.last_post[from]);
            self.last_post[from] = at;
        }
        self.post.insert((at, self.count), Message { to: 1 - from, subtype, call, data });
    }

    fn event(&mut self, n: usize, event: Event) {
        let now = self.now;
        let peer = &mut self.peers[n];
        peer.feeding.handle_event(&event, now);
        match &event {
            Event::Incoming { call, .. } => {
                if let Some(grant) = self.grant.clone() {
                    peer.core.set_channels(*call, self.channels);
                    peer.core.set_directions(*call, grant, now);
                    peer.core.accept(*call, now).expect("it rings");
                    peer.call = Some(*call);
                }
            }
            Event::Joined { call } if peer.call == Some(*call) => peer.connected = true,
            Event::Frame { frame, .. } => {
                peer.frames.push(frame.clone());
                return;
            }
            Event::Left { call, .. } | Event::Failed { call, .. } if peer.call == Some(*call) => {
                (peer.call, peer.connected) = (None, false);
            }
            _ => {}
        }
        peer.events.push(event);
    }

    /// What encoders make of what is wanted of them.
    fn feed(&mut self) {
        self.pictures += 1;
        for n in 0..2 {
            for (stream, codec) in [(VIDEO_H264, Codec::H264), (AUDIO_OPUS, Codec::Opus)] {
                let (now, start, count) = (self.now, self.start, self.pictures);
                let peer = &mut self.peers[n];
                if !peer.wanted.contains(&stream) {
                    continue;
                }
                let key = !codec.is_video() || std::mem::take(&mut peer.key);
                peer.keys_made += usize::from(key && codec.is_video());
                // As an encoder that does as it is told.
                let size = (u64::from(peer.bitrate) * self.feed_every.as_millis() as u64 / 8000) as usize;
                let data = made(codec, key, count * 2 + n as u64, size);
                peer.sent.push(data.clone());
                let frame = Frame {
                    stream,
                    codec,
                    key,
                    captured: now,
                    pts: now - start,
                    duration: Duration::ZERO,
                    discontinuity: false,
                    encoding: None,
                    data,
                };
                peer.feeding.handle_frame(&frame, now);
                peer.core.handle_input(Input::Frame(&frame), now);
                self.drain(n);
            }
        }
    }

    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        (0..2).for_each(|n| self.drain(n));
        loop {
            let wire = self.wire.first_key_value().map(|((at, _), _)| *at);
            let post = self.post.first_key_value().map(|((at, _), _)| *at);
            let deadlines = self.peers.iter().filter_map(|peer| peer.deadline).min();
            let all = [Some(self.feed_at), wire, post, deadlines];
            let next = all.into_iter().flatten().min().expect("one is fed");
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (to, path, data) = entry.remove();
                if path.local != self.peers[to].address {
                    continue;
                }
                self.peers[to].core.handle_input(Input::Datagram { path, data: &data }, self.now);
                self.drain(to);
            }
            while let Some(entry) = self.post.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let message = entry.remove();
                self.deliver(message);
            }
            if self.feed_at <= self.now {
                self.feed_at += self.feed_every;
                self.feed();
            }
            for n in 0..2 {
                if self.peers[n].deadline.is_some_and(|at| at <= self.now) {
                    self.peers[n].feeding.handle_timeout(self.now);
                    self.peers[n].core.handle_input(Input::Timeout, self.now);
                    self.drain(n);
                }
            }
        }
    }

    pub(super) fn deliver(&mut self, message: Message) {
        let Message { to, subtype, call, data } = &message;
        let input = Input::Message {
            from: NAMES[1 - to],
            whence: Whence::Unknown,
            subtype,
            data: Some(data),
            call: call.as_deref().filter(|_| !self.plain),
        };
        self.peers[*to].core.handle_input(input, self.now);
        let to = *to;
        self.delivered.push(message);
        self.drain(to);
    }

    /// The kinds that each of them receives now.
    pub(super) fn flowing(&mut self) -> [BTreeSet<Kind>; 2] {
        self.run(ms(700));
        self.peers.iter_mut().for_each(|peer| _ = peer.take_kinds());
        self.run(ms(500));
        [self.peers[0].take_kinds(), self.peers[1].take_kinds()]
    }
}

/// What each side receives when both have these wishes.
pub(super) fn expected(wishes: &[Directions; 2]) -> [BTreeSet<Kind>; 2] {
    [0, 1].map(|n: usize| wishes[n].receive.intersection(&wishes[1 - n].send).copied().collect())
}

/// A frame that no other is equal to, without zeros, which would be start codes.
fn made(codec: Codec, key: bool, count: u64, size: usize) -> Arc<[u8]> {
    let mut data = match codec {
        // 20 ms of CELT, in one frame.
        Codec::Opus => vec![31 << 3; 80],
        _ if key => {
            let sets = [0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f, 0xda, 0, 0, 0, 1, 0x68, 0xce, 0x3c];
            [&sets[..], &[0, 0, 0, 1, 0x65], &vec![0x5a; 3 * size]].concat()
        }
        _ => [&[0, 0, 0, 1, 0x41][..], &vec![0x5a; size]].concat(),
    };
    data.extend((0..5).map(|i| 0x80 | (count >> (7 * i)) as u8));
    data.into()
}
