//! The session of one viewer: ICE and DTLS by str0m, the media sent to it, and when it ends.

mod agree;
pub(crate) mod candidates;
pub(in crate::rtc) mod channels;
mod connect;
mod credentials;
mod describe;
mod direction;
mod formats;
mod known;
pub(in crate::rtc) mod negotiate;
mod offering;
mod output;
mod own_candidates;
mod payload;
#[cfg(feature = "recv")]
mod receiving;
#[cfg(not(feature = "recv"))]
#[path = "not_receiving.rs"]
mod receiving;
mod restart;
pub(in crate::rtc) mod route;
pub(crate) mod sdp;
mod section;
mod simulcast;
mod slots;
mod state;
pub(in crate::rtc) mod supply;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use str0m::config::{CryptoProvider, DtlsCert};
use str0m::net::Receive;
use str0m::{IceConnectionState, Rtc};

use super::crypto::keys::{self, Keys};
use super::crypto::link::Link;
use super::data::ChannelError;
use super::demux::{self, Stage};
use super::directory::Directory;
use super::send::ntp::Wall;
use super::send::select::Serving;
use super::send::sender::{Heard, Sender};
use super::{CandidateType, Config, Path, PathInfo, SessionId, SessionStats, Skipped};
use crate::call::body::{End, EndReason};
#[cfg(feature = "recv")]
use crate::media::Frame;
use crate::media::adapt::keyframes::KeyFrameReason;
use crate::media::{Codec, StreamId};
use candidates::{Candidates, is_reachable};
use channels::{ChannelNote, Channels};
use connect::Role;
use known::Known;
use negotiate::Settled;
use offering::OpenOffer;
use own_candidates::OwnCandidates;
use receiving::Receiving;
use route::{NextStep, Route, Sign};
use sdp::Transport;
use section::{Part, Whole};
use state::{Signs, State};

/// Timers are rounded up to a multiple of this, so that one wake-up serves all sessions.
const TICK: Duration = Duration::from_millis(5);
/// The same for timers without urgency: reports, and ICE and statistics of a connected session.
const CALM_TICK: Duration = Duration::from_millis(50);
/// How often str0m reports the path that ICE nominated.
const STATS_EVERY: Duration = Duration::from_secs(1);

/// State shared by all sessions of a fan-out.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) crypto: Arc<CryptoProvider>,
    /// Created for the first session: until then, most of OpenSSL need not be in memory.
    pub(super) certificate: Arc<OnceLock<DtlsCert>>,
    /// When the fan-out was created; ticks count from here.
    pub(super) start: Instant,
    pub(super) wall: Wall,
}

impl Shared {
    fn certificate(&self) -> DtlsCert {
        let make = || self.crypto.dtls_provider.generate_certificate().expect("OpenSSL makes certificates");
        self.certificate.get_or_init(make).clone()
    }

    /// Returns the first tick at or after a time.
    fn tick(&self, at: Instant, tick: Duration) -> Instant {
        // 64 bits of nanoseconds last for centuries.
        let past = at.saturating_duration_since(self.start).as_nanos() as u64 % tick.as_nanos() as u64;
        if past == 0 { at } else { at + tick - Duration::from_nanos(past) }
    }
}

/// A notification from a session to the fan-out.
pub(super) enum Note {
    Connected,
    KeyFrameWanted(StreamId, KeyFrameReason),
    /// The session needs a key frame of a stream, or the frames since the last one.
    Joined(StreamId),
    /// The other side ended its transport and starts another one for the remaining sections.
    Anew,
    Estimate(u32),
    /// We have a further address; `mid` is the section that carries the transport.
    Candidate {
        line: String,
        mid: Option<String>,
    },
    #[cfg(feature = "recv")]
    Frame(Frame),
    Channel(ChannelNote),
}

/// Where the output of a session goes.
pub(super) struct Sink<'a> {
    /// Decides which checks may be sent.
    pub(super) paths: &'a Directory,
    pub(super) notes: &'a mut Vec<Note>,
    pub(super) skipped: &'a mut Skipped,
}

/// The credentials of both sides' checks (RFC 8445 7.2.2). Theirs are empty until their description arrives.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) ours: String,
    pub(super) our_password: String,
    pub(super) theirs: String,
    pub(super) their_password: String,
}

/// What we send in a section, according to our descriptions.
#[derive(Clone, Debug)]
struct Announced {
    /// The section's number in the session.
    section: u32,
    ssrc: u32,
    rtx: u32,
}

pub(super) struct Session {
    id: SessionId,
    /// Boxed: it is large, and media does not go through it.
    rtc: Box<Rtc>,
    /// To its DTLS connection.
    link: Arc<Link>,
    time: Instant,
    /// When to call str0m next.
    rtc_deadline: Instant,
    state: State,
    /// When its transport was created: of two sessions on one path, the newer wins.
    made: Instant,
    heard: Instant,
    route: Route,
    /// The client random of its DTLS handshake, if the other side started it.
    pub(super) client: Option<[u8; 32]>,
    /// The other side's transport, from its last description.
    remote: Transport,
    /// The section that carries the transport.
    tag: String,
    /// Our role in DTLS, once it started.
    role: Option<Role>,
    settled: Settled,
    /// The sections as last agreed by both sides.
    parts: Vec<Part>,
    whole: Whole,
    /// Our pending offer.
    open: Option<OpenOffer>,
    /// The session ID in our `o=` lines.
    origin: u64,
    version: u64,
    cname: String,
    wall: Wall,
    sender: Sender,
    receiving: Receiving,
    /// `None` if the configuration has no data channels.
    channels: Option<Box<Channels>>,
    /// The SSRCs announced for each section that we send in.
    announced: Vec<Announced>,
    /// Keys of a DTLS handshake, until the other side's certificate is verified.
    keys: Option<Keys>,
    /// Whether audio is received, too.
    converses: bool,
    /// The next datagram from str0m.
    ready: Option<(Path, Vec<u8>)>,
    /// Datagrams received since one of its own was last taken.
    unanswered: u32,
    names: Names,
    candidates: Candidates,
    known: Known,
    /// Our own addresses, inside and outside.
    addresses: Vec<SocketAddr>,
    own: OwnCandidates,
    /// The default candidate among them.
    default: Option<SocketAddr>,
    stats: SessionStats,
    /// Set by a test to make the next action panic.
    #[cfg(test)]
    pub(super) panics: bool,
}

impl Session {
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn set_max_bitrate(&mut self, bps: u32) {
        self.sender.set_max_bitrate(bps);
    }

    /// Updates our ICE credentials. Returns whether they changed, as after a restart.
    pub(super) fn renew_names(&mut self) -> bool {
        let own = self.rtc.direct_api().local_ice_credentials();
        let before = std::mem::replace(&mut self.names.ours, own.ufrag);
        self.names.our_password = own.pass;
        !before.is_empty() && before != self.names.ours
    }

    /// Whether we may send to an address.
    pub(super) fn reaches(&self, address: SocketAddr) -> bool {
        is_reachable(address, &self.addresses)
    }

    /// Returns when it was created; the id breaks ties.
    pub(super) fn made(&self) -> (Instant, SessionId) {
        (self.made, self.id)
    }

    /// Returns when something authentic last arrived.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    /// Whether a path is in use, or may become so.
    pub(super) fn uses(&self, path: Path) -> bool {
        self.route.path().is_none_or(|used| used == path)
    }

    /// Ends the session because a newer one replaced it.
    pub(super) fn replace(&mut self) {
        self.end(|| End::new(EndReason::Replaced, "replaced by a newer call from the same address and port"));
    }

    /// Ends the session because its transport failed.
    pub(super) fn lose(&mut self) {
        self.end(|| End::new(EndReason::Lost, "the viewer ended its transport"));
    }

    fn end(&mut self, end: impl FnOnce() -> End) {
        self.turn_to(|state| state.end(end));
    }

    /// Changes to another state.
    fn turn_to(&mut self, next: impl FnOnce(State) -> State) {
        // If that panics, the session is not used again.
        self.state = next(std::mem::replace(&mut self.state, State::Closing));
    }

    /// Returns the progress of DTLS.
    pub(super) fn stage(&self) -> Stage {
        match self.state.is_connected() {
            true if self.takes_data() => Stage::Open,
            true => Stage::Established,
            false => Stage::Handshake,
        }
    }

    pub(super) fn local_candidates(&self) -> &[String] {
        self.own.lines()
    }

    pub(super) fn stats(&self) -> SessionStats {
        let (counts, estimator) = (self.sender.counts(), self.sender.estimator());
        SessionStats {
            packets: counts.packets,
            bytes: counts.bytes,
            frames: counts.frames,
            nacks: counts.nacks,
            retransmissions: counts.repeats,
            key_frame_requests: counts.key_frame_requests,
            video: self.sender.video(),
            is_silent: self.sender.is_silent(),
            delays: self.sender.delays(),
            estimate: self.stats.connected.then(|| self.sender.estimate()),
            rtt: estimator.rtt().or(self.stats.rtt),
            loss: self.stats.connected.then(|| estimator.loss()),
            path: self.route.path().filter(|_| self.stats.connected).map(|path| PathInfo {
                protocol: path.proto,
                local: CandidateType::Host,
                remote: self.candidates.type_of(path.remote),
            }),
            #[cfg(feature = "recv")]
            received: self.receiving.stats(),
            channels: self.channels.as_ref().map(|channels| channels.stats()).unwrap_or_default(),
            ..self.stats.clone()
        }
    }

    /// Returns the assumed or estimated bandwidth of its link, in bit/s.
    pub(super) fn estimate(&self) -> u32 {
        self.sender.estimate()
    }

    /// Selects which video is sent; takes effect at once if connected.
    pub(super) fn serve(&mut self, serving: Serving, now: Instant, sink: &mut Sink<'_>) {
        let needed = self.sender.serve(serving, now);
        if self.state.is_connected() {
            sink.notes.extend(needed.into_iter().map(Note::Joined));
        }
    }

    /// Stops or resumes sending audio.
    pub(super) fn set_silent(&mut self, is_silent: bool) {
        self.sender.set_silent(is_silent);
    }

    /// Whether this viewer is being sent frames of this stream.
    pub(super) fn follows(&self, stream: StreamId, codec: Codec) -> bool {
        self.state.is_connected() && self.sender.follows(stream, codec)
    }

    /// Whether audio flows both ways, so that its delay matters.
    pub(super) fn is_conversation(&self) -> bool {
        self.converses
    }

    /// Handles authenticated STUN, or DTLS, which proves nothing (`None`).
    pub(super) fn handle_datagram(
        &mut self,
        path: Path,
        receive: Receive<'_>,
        sign: Option<Sign>,
        now: Instant,
        sink: &mut Sink<'_>,
    ) {
        self.tick(now);
        if sign.is_some()
            && let Some(candidate) = self.known.hear(path.remote)
        {
            self.rtc.add_remote_candidate(candidate);
        }
        self.handle_stack(str0m::Input::Receive(self.time, receive));
        if let Some(sign) = sign {
            self.handle_sign(path, sign, now, sink);
        }
        self.advance(now, sink);
    }

    /// Handles RTP or RTCP. Returns whether it is authentic.
    pub(super) fn handle_media(
        &mut self,
        path: Path,
        data: &[u8],
        now: Instant,
        sink: &mut Sink<'_>,
    ) -> bool {
        self.tick(now);
        let authentic = if demux::is_rtcp(data) {
            let receiving = &mut self.receiving;
            self.sender.handle_rtcp(data, &self.wall, now, |heard| match heard {
                Heard::KeyFrame(stream) => {
                    sink.notes.push(Note::KeyFrameWanted(stream, KeyFrameReason::Loss));
                }
                Heard::Estimate(bps) => sink.notes.push(Note::Estimate(bps)),
                Heard::Time { ssrc, ntp, rtp } => receiving.handle_sender_report(ssrc, ntp, rtp, now),
            })
        } else {
            self.receiving.handle_rtp(data, now, sink.notes)
        };
        if authentic {
            self.handle_sign(path, Sign::Media, now, sink);
        }
        authentic
    }

    /// Handles a sign of life: something authentic arrived from the viewer.
    fn handle_sign(&mut self, path: Path, sign: Sign, now: Instant, sink: &mut Sink<'_>) {
        self.heard = now;
        let answered = sink.paths.answered(self.id, path);
        if self.route.handle(path, sign, answered, now) == NextStep::Check {
            self.check_path(path);
        }
    }

    /// Makes ICE check a path that the viewer sends on.
    fn check_path(&mut self, path: Path) {
        if !self.reaches(path.remote) {
            return;
        }
        self.candidates.discover(path.remote);
        let (ip, port) = (path.remote.ip(), path.remote.port());
        // The lowest priority: whatever ICE nominates by itself wins.
        let line = format!("candidate:moved 1 udp 1 {ip} {port} typ srflx raddr 0.0.0.0 rport 0");
        if let Err(refusal) = self.add_remote_candidate(&line) {
            log::debug!("session {}: not checking a new path: {}", self.id.0, refusal.code());
        }
    }

    /// Returns how long nothing authentic arrived on the path in use; `None` before there is one.
    pub(super) fn silent(&self, now: Instant) -> Option<Duration> {
        self.route.path().map(|_| self.route.silent(now))
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, sink: &mut Sink<'_>) {
        self.tick(now);
        self.sender.handle_timeout(now);
        self.receiving.handle_timeout(self.sender.estimator().rtt().or(self.stats.rtt), now, sink.notes);
        // str0m is only called once its datagram was taken, and at its own deadline: media does not concern it.
        if self.ready.is_none() && self.rtc_deadline <= now {
            self.handle_stack(str0m::Input::Timeout(self.time));
            self.advance(now, sink);
        }
        self.settle_channels(sink.notes);
    }

    fn handle_stack(&mut self, input: str0m::Input<'_>) {
        let result = self.rtc.handle_input(input);
        self.keys = keys::take().or(self.keys.take());
        self.note_packets();
        self.check(result);
    }

    /// Returns when to call [`Session::handle_timeout`].
    pub(super) fn deadline(&self, shared: &Shared, now: Instant) -> Instant {
        let own = self.state.deadline(self.signs(), &shared.config);
        let calm = if self.state.is_connected() { CALM_TICK } else { TICK };
        let stack = self.ready.is_none().then(|| shared.tick(self.rtc_deadline, calm));
        let after = now + Duration::from_nanos(1);
        let sender = self.sender.deadline().map(|at| shared.tick(at.max(after), TICK));
        let reports = self.sender.calm_deadline(now).map(|at| shared.tick(at.max(after), CALM_TICK));
        let receiver = self.receiving.deadline().map(|at| shared.tick(at.max(after), TICK));
        [own, stack, sender, reports, receiver].into_iter().flatten().min().unwrap_or(self.rtc_deadline)
    }

    /// Ends the session if its time has come.
    pub(super) fn check_alive(&mut self, config: &Config, now: Instant) -> Option<End> {
        let (signs, alive) = (self.signs(), self.rtc.is_alive());
        self.turn_to(|state| state.age(signs, alive, config, now));
        self.state.over().cloned()
    }

    fn signs(&self) -> Signs {
        let by_path = |_| (self.route.answered(), self.route.consent_until());
        Signs { heard: self.heard, consent: self.route.path().map(by_path) }
    }

    fn tick(&mut self, now: Instant) {
        #[cfg(test)]
        assert!(!self.panics, "a test wants this");
        self.time = self.time.max(now);
    }

    fn check(&mut self, result: Result<(), str0m::RtcError>) {
        if let Err(e) = result {
            self.end(|| End::new(EndReason::Lost, format!("WebRTC failed: {e}")));
        }
    }

    fn handle_event(&mut self, event: str0m::Event, now: Instant, sink: &mut Sink<'_>) {
        let Sink { paths, notes, .. } = sink;
        let answered = |path| paths.answered(self.id, path);
        match event {
            str0m::Event::Connected => {
                log::debug!("session {} connected", self.id.0);
                self.turn_to(State::connect);
                // After a restart of the transport the viewer was already connected before.
                if !std::mem::replace(&mut self.stats.connected, true) {
                    notes.push(Note::Connected);
                }
                if let Some(keys) = self.keys.take() {
                    self.sender.connect(&keys, now);
                    self.receiving.connect(&keys);
                }
                let needed = self.sender.tracks().iter_mut().filter_map(|track| track.await_key(now));
                notes.extend(needed.map(Note::Joined));
            }
            str0m::Event::IceConnectionStateChange(state) => {
                log::debug!("session {}: ICE {state:?}", self.id.0);
                // `Checking` does not count as up: a peer that sends checks but never answers keeps ICE there for good.
                let up = matches!(state, IceConnectionState::Connected | IceConnectionState::Completed);
                self.turn_to(|state| state.ice(up, now));
            }
            str0m::Event::PeerStats(s) => {
                let Some(pair) = s.selected_candidate_pair else { return };
                self.stats.rtt = pair.current_round_trip_time.or(self.stats.rtt);
                let nominated = Path::udp(pair.local.addr, pair.remote.addr);
                self.route.nominate(nominated, || answered(nominated), now);
            }
            // Without a goodbye, SCTP alone has failed.
            str0m::Event::Closed if !self.link.is_gone() => {
                let ended = self.link.has_ended();
                self.lose_channels(if ended { ChannelError::Failed } else { ChannelError::NotAllowed });
            }
            str0m::Event::Closed if self.state.may_move(self.time) => notes.push(Note::Anew),
            str0m::Event::Closed => self.end(state::closed_by_remote),
            str0m::Event::ChannelOpen(key, label) => self.channel_open(key, label, notes),
            str0m::Event::ChannelData(data) => self.channel_data(data.id, data.binary, data.data, notes),
            str0m::Event::ChannelClose(key) => self.channel_closed(key, notes),
            _ => {}
        }
    }
}
