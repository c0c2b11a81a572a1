//! Two fan-outs with a call between them, on a virtual network and clock.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::world::{ms, picture};
use crate::media::{AUDIO_OPUS, Codec, Frame, Kind, StreamInfo, VIDEO_H264};
use crate::rtc::{
    Config, Directions, Event, Fanout, Input, LocalCandidate, Output, Path, Refusal, SessionId, SessionStats,
};

pub(super) const CALL: SessionId = SessionId(1);

pub(super) fn kinds(kinds: &[Kind]) -> BTreeSet<Kind> {
    kinds.iter().copied().collect()
}

pub(super) fn directions(send: &[Kind], receive: &[Kind]) -> Directions {
    Directions::new(kinds(send), kinds(receive))
}

pub(super) const BOTH: [Kind; 2] = [Kind::Audio, Kind::Video];

/// One of two fan-outs with a call between them.
pub(super) struct Peer {
    pub(super) fanout: Fanout,
    address: SocketAddr,
    deadline: Instant,
    pub(super) connected: bool,
    pub(super) events: Vec<Event>,
    pub(super) frames: Vec<Frame>,
    /// What it sent, and whether the next picture is to be a key frame.
    pub(super) sent: Vec<Arc<[u8]>>,
    key: bool,
    /// How much faster its clock runs than that of the pair.
    pub(super) fast: f64,
}

pub(super) struct Pair {
    pub(super) now: Instant,
    start: Instant,
    pub(super) peers: [Peer; 2],
    wire: BTreeMap<(Instant, u64), (usize, SocketAddr, Vec<u8>)>,
    datagrams: u64,
    /// Each datagram whose number this divides is lost.
    pub(super) lose: u64,
    /// The datagrams of a hundred that chance loses, and that are overtaken by those of the next 30 ms.
    pub(super) loss: u64,
    pub(super) late: u64,
    /// How long they take.
    pub(super) latency: Duration,
    pub(super) chance: u64,
    /// What becomes of an answer on its way.
    pub(super) doctor: fn(String) -> String,
    pub(super) pictures: u64,
    /// The bytes of a picture.
    pub(super) size: usize,
}

impl Peer {
    fn new(n: u8, config: Config, now: Instant) -> Peer {
        let address = SocketAddr::from(([192, 0, 2, n], 4000));
        let candidates = vec![LocalCandidate { base: address, advertised: None }];
        // Audio as it is sent, frame by frame.
        let config = Config { candidates, audio_packet: Duration::ZERO, ..config };
        let mut fanout = Fanout::new(config, now);
        fanout.set_streams(&[
            StreamInfo::new(VIDEO_H264, Codec::H264),
            StreamInfo::new(AUDIO_OPUS, Codec::Opus),
        ]);
        Peer {
            fanout,
            address,
            deadline: now,
            connected: false,
            events: vec![],
            frames: vec![],
            sent: vec![],
            key: true,
            fast: 0.0,
        }
    }

    /// What it received of a codec, which must have been sent, in order.
    pub(super) fn received(&self, codec: Codec, from: &Peer) -> usize {
        let mut at = 0;
        let frames = self.frames.iter().filter(|frame| frame.codec == codec);
        for frame in frames.clone() {
            let found = from.sent[at..].iter().position(|sent| *sent == frame.data);
            at += found.expect("it was sent, after the one before") + 1;
        }
        frames.count()
    }

    pub(super) fn stats(&self) -> SessionStats {
        self.fanout.stats(CALL).expect("the call is there")
    }
}

impl Pair {
    pub(super) fn new() -> Pair {
        Pair::with([Config::default(), Config::default()])
    }

    /// With these configurations, but for the candidates.
    pub(super) fn with(configs: [Config; 2]) -> Pair {
        let now = Instant::now();
        let [first, second] = configs;
        let peers = [Peer::new(1, first, now), Peer::new(2, second, now)];
        Pair {
            now,
            start: now,
            peers,
            wire: BTreeMap::new(),
            datagrams: 0,
            lose: u64::MAX,
            loss: 0,
            late: 0,
            latency: ms(15),
            chance: 1,
            doctor: |sdp| sdp,
            pictures: 0,
            size: 3000,
        }
    }

    /// The first one calls the second one; what each would do.
    pub(super) fn call(caller: Directions, callee: Directions) -> Result<Pair, Refusal> {
        let mut pair = Pair::new();
        let [a, b] = &mut pair.peers;
        a.fanout.set_directions(CALL, caller);
        b.fanout.set_directions(CALL, callee);
        pair.connect()?;
        Ok(pair)
    }

    /// The first one calls the second one, with what is set.
    pub(super) fn connect(&mut self) -> Result<(), Refusal> {
        let now = self.now;
        let [a, b] = &mut self.peers;
        let offer = a.fanout.offer(CALL, now)?;
        let answer = b.fanout.accept(CALL, &offer.sdp, now)?;
        a.fanout.answer(CALL, &(self.doctor)(answer.sdp), now)?;
        Ok(())
    }

    /// The time of a peer's clock at a time of the pair.
    pub(super) fn time_of(&self, n: usize, now: Instant) -> Instant {
        now + (now - self.start).mul_f64(self.peers[n].fast)
    }

    /// When a peer's clock has the time of its deadline.
    fn when(&self, n: usize) -> Instant {
        let peer = &self.peers[n];
        if peer.fast == 0.0 {
            return peer.deadline;
        }
        let since = peer.deadline.saturating_duration_since(self.start);
        // Rather a little too late than too early.
        self.start + since.div_f64(1.0 + peer.fast) + Duration::from_nanos(100)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.chance =
            self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) % end
    }

    pub(super) fn drain(&mut self, n: usize) {
        loop {
            let now = self.time_of(n, self.now);
            while let Some(transmit) = self.peers[n].fanout.poll_transmit(now) {
                for datagram in transmit.datagrams() {
                    self.datagrams += 1;
                    // What connects is not lost.
                    if self.datagrams > 40 && self.datagrams.is_multiple_of(self.lose) {
                        continue;
                    }
                    let (lost, late) = (self.below(100) < self.loss, self.below(100) < self.late);
                    if lost {
                        continue;
                    }
                    let at = self.now + self.latency + if late { ms(30) } else { ms(0) };
                    self.wire.insert((at, self.datagrams), (1 - n, transmit.path.local, datagram.to_vec()));
                }
            }
            let peer = &mut self.peers[n];
            match peer.fanout.poll_output() {
                Output::Timeout(at) => {
                    peer.deadline = at;
                    return;
                }
                Output::Event(event) => {
                    match &event {
                        Event::Connected { .. } => peer.connected = true,
                        Event::Frame { frame, .. } => peer.frames.push(frame.clone()),
                        Event::KeyFrameWanted { .. } => peer.key = true,
                        _ => {}
                    }
                    peer.events.push(event);
                }
                Output::Wake(_) => {}
            }
        }
    }

    fn feed(&mut self) {
        self.pictures += 1;
        for n in 0..2 {
            for codec in [Codec::H264, Codec::Opus] {
                let peer = &mut self.peers[n];
                let key = !codec.is_video() || std::mem::take(&mut peer.key);
                let count = 2 * self.pictures + n as u64;
                let mut data = picture(codec, key, count, self.size);
                if codec == Codec::Opus {
                    // 20 ms of CELT, in one frame.
                    data[0] = 31 << 3;
                }
                self.push(n, codec, key, data.into());
            }
        }
    }

    /// Peer `n` is given a frame to send.
    pub(super) fn push(&mut self, n: usize, codec: Codec, key: bool, data: Arc<[u8]>) {
        let (now, start) = (self.time_of(n, self.now), self.start);
        let peer = &mut self.peers[n];
        peer.sent.push(data.clone());
        let frame = Frame {
            stream: if codec.is_video() { VIDEO_H264 } else { AUDIO_OPUS },
            codec,
            key,
            captured: now,
            pts: now - start,
            duration: Duration::ZERO,
            discontinuity: false,
            encoding: None,
            data,
        };
        peer.fanout.handle_input(Input::Frame(&frame), now);
        self.drain(n);
    }

    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        let mut feed_at = self.now;
        (0..2).for_each(|n| self.drain(n));
        loop {
            let wire = self.wire.first_key_value().map(|((at, _), _)| *at);
            let deadlines = [0, 1].map(|n| self.when(n)).into_iter().min();
            let next = [Some(feed_at), wire, deadlines].into_iter().flatten().min().expect("one is fed");
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (to, from, data) = entry.remove();
                let path = Path::udp(self.peers[to].address, from);
                let now = self.time_of(to, self.now);
                self.peers[to].fanout.handle_input(Input::Datagram { path, data: &data }, now);
                self.drain(to);
            }
            if feed_at <= self.now {
                feed_at += ms(20);
                self.feed();
            }
            for n in 0..2 {
                if self.when(n) <= self.now {
                    let now = self.time_of(n, self.now);
                    self.peers[n].fanout.handle_input(Input::Timeout, now);
                    self.drain(n);
                }
            }
        }
    }
}

/// Renegotiations.
impl Pair {
    pub(super) fn set(&mut self, n: usize, directions: Directions) {
        self.peers[n].fanout.set_directions(CALL, directions);
        self.drain(n);
    }

    /// One of them makes an offer.
    pub(super) fn offer(&mut self, n: usize) -> String {
        let offer = self.peers[n].fanout.offer(CALL, self.now).expect("the call is there");
        self.drain(n);
        offer.sdp
    }

    /// The other one answers it.
    pub(super) fn accept(&mut self, n: usize, offer: &str) -> String {
        let answer = self.peers[n].fanout.accept(CALL, offer, self.now).expect("an offer that fits");
        self.drain(n);
        answer.sdp
    }

    pub(super) fn answer(&mut self, n: usize, answer: &str) {
        self.peers[n].fanout.answer(CALL, answer, self.now).expect("an answer that fits");
        self.drain(n);
    }

    /// One of them makes an offer, which the other one answers. Returns both descriptions.
    pub(super) fn renegotiate(&mut self, n: usize) -> (String, String) {
        let offer = self.offer(n);
        let answer = self.accept(1 - n, &offer);
        self.answer(n, &answer);
        (offer, answer)
    }

    /// The kinds that each of them receives now.
    pub(super) fn flowing(&mut self) -> [BTreeSet<Kind>; 2] {
        // What is on its way arrives, and what begins has its key frame.
        self.run(ms(400));
        self.peers.iter_mut().for_each(|peer| peer.frames.clear());
        self.run(ms(400));
        let kinds = |peer: &Peer| peer.frames.iter().map(|frame| frame.codec.kind()).collect();
        [kinds(&self.peers[0]), kinds(&self.peers[1])]
    }
}
