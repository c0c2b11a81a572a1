//! One viewer: a str0m session, what it is sent, and when it is over.

mod agree;
mod anew;
pub(crate) mod candidates;
mod choice;
mod credentials;
mod describe;
mod direction;
pub(in crate::rtc) mod negotiate;
mod output;
mod part;
pub(in crate::rtc) mod route;
pub(crate) mod sdp;
mod slots;
mod state;
pub(in crate::rtc) mod supply;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use str0m::bwe::{Bitrate, BweKind};
use str0m::change::SdpPendingOffer;
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::net::Receive;
use str0m::{IceConnectionState, Rtc};

use super::crypto::{self, reports};
use super::demux::Stage;
use super::demux::paths::Paths;
use super::send::batch::Batch;
use super::send::numbers::Numbers;
use super::send::track::Track;
use super::{Config, Path, SessionId, SessionStats, Skipped};
use crate::call::body::{End, EndReason};
use crate::media::adapt::keyframes::KeyFrameReason;
use crate::media::{Codec, StreamId};
use candidates::{Candidates, is_reachable};
use negotiate::Settled;
use output::Hand;
use route::{NextStep, Route, Sign};
use sdp::Transport;
use state::{Signs, State};

/// str0m's pacer lets one packet out a microsecond; a burst is taken at once, up to this far ahead.
const STEP: Duration = Duration::from_micros(1);
const BURST: Duration = Duration::from_micros(500);
/// str0m wants to wake up more often than a camera can afford (its own wake-ups cost more than the
/// packets). Timers wait so long, those that pace packets less.
const SLACK: Duration = Duration::from_millis(5);
const PACED_SLACK: Duration = Duration::from_millis(1);
/// Where no media flows str0m pads with 160 packets of 31 bytes a second; fewer keep the path open too.
const PADDING_SLACK: Duration = Duration::from_millis(50);
const STATS_EVERY: Duration = Duration::from_secs(2);
/// A receiver plays sound and pictures in step from the first reports on, so those on sound come as often as those on
/// pictures; str0m would wait for 5 s.
const REPORTS_EVERY: Duration = Duration::from_secs(1);

/// What all sessions of a fan-out share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) crypto: Arc<CryptoProvider>,
    /// Made for the first session: until somebody watches, most of OpenSSL need not be in memory.
    pub(super) certificate: OnceLock<DtlsCert>,
}

impl Shared {
    fn certificate(&self) -> DtlsCert {
        let make = || self.crypto.dtls_provider.generate_certificate().expect("OpenSSL makes certificates");
        self.certificate.get_or_init(make).clone()
    }
}

/// What a session has to say to the fan-out.
pub(super) enum Note {
    Connected,
    KeyFrameWanted(StreamId, KeyFrameReason),
    /// The other side ended its transport, and begins another for what goes on.
    Anew,
    Estimate(u32),
}

/// Where the output of a session goes.
pub(super) struct Sink<'a> {
    /// Says which checks may leave.
    pub(super) paths: &'a mut Paths,
    pub(super) notes: &'a mut Vec<Note>,
    pub(super) skipped: &'a mut Skipped,
}

/// What both sides sign their checks with (RFC 8445 7.2.2). Theirs is empty until they have spoken.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) ours: String,
    pub(super) our_password: String,
    pub(super) theirs: String,
    pub(super) their_password: String,
}

/// An offer of ours, and the sections in it.
struct OpenOffer {
    pending: SdpPendingOffer,
    mids: Vec<String>,
}

pub(super) struct Session {
    id: SessionId,
    rtc: Rtc,
    /// str0m's clock, which bursts push a little ahead.
    time: Instant,
    /// When str0m wants to be called.
    rtc_deadline: Instant,
    state: State,
    /// When its transport was made: of two by one path, the newer counts.
    made: Instant,
    heard: Instant,
    route: Route,
    /// Whose DTLS handshake it is, where the other side began it.
    pub(super) client: Option<[u8; 32]>,
    /// How the other side is reached, as its last description says.
    remote: Transport,
    /// The section whose transport it is.
    tag: String,
    /// Which side begins DTLS, as we answered.
    setup: String,
    settled: Settled,
    /// An offer of ours that waits for its answer.
    open: Option<OpenOffer>,
    /// Of our descriptions' `o=` line.
    origin: u64,
    version: u64,
    cname: String,
    /// What its reports say.
    ledger: reports::Ledger,
    tracks: Vec<Track>,
    /// What goes out with the next call to the system.
    batch: Batch,
    hand: Hand,
    /// Datagrams that came since something of its own was taken.
    unanswered: u32,
    numbers: Numbers,
    names: Names,
    candidates: Candidates,
    /// Our own addresses, inside and outside.
    addresses: Vec<SocketAddr>,
    local_candidates: Vec<String>,
    /// The one of them for who reads no others.
    default: Option<SocketAddr>,
    stats: SessionStats,
    by_twcc: bool,
    /// A test wants the next thing it does to panic.
    #[cfg(test)]
    pub(super) panics: bool,
}

impl Session {
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn set_max_bitrate(&mut self, bps: u32) {
        agree::limit(&mut self.rtc, bps);
    }

    /// Takes over our own ICE credentials; says whether they are others than before, as after a restart.
    pub(super) fn renew_names(&mut self) -> bool {
        let own = self.rtc.direct_api().local_ice_credentials();
        let before = std::mem::replace(&mut self.names.ours, own.ufrag);
        self.names.our_password = own.pass;
        !before.is_empty() && before != self.names.ours
    }

    /// Whether an address is one to answer to.
    pub(super) fn reaches(&self, address: SocketAddr) -> bool {
        is_reachable(address, &self.addresses)
    }

    /// When it was made; its id tells two of a moment apart.
    pub(super) fn made(&self) -> (Instant, SessionId) {
        (self.made, self.id)
    }

    /// When something authentic came last.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    /// Whether a path is the one in use, or may become so.
    pub(super) fn uses(&self, path: Path) -> bool {
        self.route.path().is_none_or(|used| used == path)
    }

    /// A newer session took its place.
    pub(super) fn replace(&mut self) {
        self.end(|| End::new(EndReason::Replaced, "replaced by a newer call from the same address and port"));
    }

    /// Its transport can't go on.
    pub(super) fn lose(&mut self) {
        self.end(|| End::new(EndReason::Lost, "the viewer ended its transport"));
    }

    fn end(&mut self, end: impl FnOnce() -> End) {
        self.turn_to(|state| state.end(end));
    }

    /// Goes on to another state.
    fn turn_to(&mut self, next: impl FnOnce(State) -> State) {
        // If that panics, the session is not used again.
        self.state = next(std::mem::replace(&mut self.state, State::Closing));
    }

    /// How far DTLS is.
    pub(super) fn stage(&self) -> Stage {
        if self.state.is_connected() { Stage::Established } else { Stage::Handshake }
    }

    pub(super) fn local_candidates(&self) -> &[String] {
        &self.local_candidates
    }

    pub(super) fn stats(&self) -> SessionStats {
        self.stats.clone()
    }

    /// Whether frames of this stream are on their way to this viewer.
    pub(super) fn follows(&self, stream: StreamId, codec: Codec) -> bool {
        self.state.is_connected() && self.tracks.iter().any(|t| t.stream == stream && t.codec == codec)
    }

    /// Takes a datagram; says whether it is authentic, and so shows that the viewer is there. What sign it is then
    /// is known before, `None` for DTLS.
    pub(super) fn handle_datagram(
        &mut self,
        path: Path,
        receive: Receive<'_>,
        sign: Option<Sign>,
        now: Instant,
        sink: &mut Sink<'_>,
    ) -> bool {
        self.tick(now);
        let opened = crypto::opened();
        let result = self.rtc.handle_input(str0m::Input::Receive(self.time, receive));
        self.check(result);
        // Checks and answers were found authentic before they came here.
        let sign = sign.filter(|sign| *sign != Sign::Media || crypto::opened() > opened);
        if let Some(sign) = sign {
            self.heard = now;
            let answered = sink.paths.answered(self.id, path);
            if self.route.handle(path, sign, answered, now) == NextStep::Check {
                self.check_path(path);
            }
        }
        self.advance(now, sink);
        sign.is_some()
    }

    /// Has ICE check a path by which the viewer sends.
    fn check_path(&mut self, path: Path) {
        if !self.reaches(path.remote) {
            return;
        }
        let (ip, port) = (path.remote.ip(), path.remote.port());
        // Of the least priority: what ICE nominates by itself goes before.
        let line = format!("candidate:moved 1 udp 1 {ip} {port} typ srflx raddr 0.0.0.0 rport 0");
        if let Err(refusal) = self.add_remote_candidate(&line) {
            log::debug!("session {}: not checking a new path: {}", self.id.0, refusal.code());
        }
    }

    /// How long nothing authentic came by the path in use; `None` before there is one.
    pub(super) fn silent(&self, now: Instant) -> Option<Duration> {
        self.route.path().map(|_| self.route.silent(now))
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, sink: &mut Sink<'_>) {
        self.tick(now);
        // Who has something to send is woken by what is taken of it.
        if self.hand == Hand::Empty {
            let result = self.rtc.handle_input(str0m::Input::Timeout(self.time));
            self.check(result);
            self.advance(now, sink);
        }
    }

    /// When to call [`Session::handle_timeout`].
    pub(super) fn deadline(&self, config: &Config) -> Instant {
        let own = self.state.deadline(self.signs(), config);
        let stack = (self.hand == Hand::Empty).then_some(self.rtc_deadline);
        own.into_iter().chain(stack).min().unwrap_or(self.rtc_deadline)
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

    fn handle_event(&mut self, event: str0m::Event, now: Instant, notes: &mut Vec<Note>) {
        match event {
            str0m::Event::Connected => {
                log::debug!("session {} connected", self.id.0);
                self.turn_to(State::connect);
                // Where the transport began anew the viewer was there before.
                if !std::mem::replace(&mut self.stats.connected, true) {
                    notes.push(Note::Connected);
                }
                for track in &mut self.tracks {
                    if track.await_key(now) {
                        notes.push(Note::KeyFrameWanted(track.stream, KeyFrameReason::Join));
                    }
                }
            }
            str0m::Event::IceConnectionStateChange(state) => {
                log::debug!("session {}: ICE {state:?}", self.id.0);
                // Checking is none, too: a peer that only asks, and never answers, keeps ICE at it for good.
                let up = matches!(state, IceConnectionState::Connected | IceConnectionState::Completed);
                self.turn_to(|state| state.ice(up, now));
            }
            str0m::Event::KeyframeRequest(request) => {
                self.stats.key_frame_requests += 1;
                if let Some(track) = self.tracks.iter().find(|t| t.mid == request.mid) {
                    notes.push(Note::KeyFrameWanted(track.stream, KeyFrameReason::Loss));
                }
            }
            str0m::Event::EgressBitrateEstimate(BweKind::Twcc { estimate, can_probe: true }) => {
                self.by_twcc = true;
                self.estimate(estimate, notes);
            }
            // Firefox without transport-cc says what it sees itself.
            str0m::Event::EgressBitrateEstimate(BweKind::Remb { estimate, .. }) if !self.by_twcc => {
                self.estimate(estimate, notes);
            }
            str0m::Event::PeerStats(s) => {
                let ice = s.selected_candidate_pair.and_then(|p| p.current_round_trip_time);
                self.stats.rtt = s.rtt.or(ice).or(self.stats.rtt);
                self.stats.loss = s.egress_loss_fraction.or(self.stats.loss);
            }
            str0m::Event::MediaEgressStats(s)
                if self.tracks.iter().any(|t| t.mid == s.mid && t.codec.is_video()) =>
            {
                self.stats.nacks = s.nacks;
            }
            str0m::Event::Closed if self.state.may_move(self.time) => notes.push(Note::Anew),
            str0m::Event::Closed => self.end(state::closed_by_the_viewer),
            _ => {}
        }
    }

    fn estimate(&mut self, estimate: Bitrate, notes: &mut Vec<Note>) {
        let bps = u32::try_from(estimate.as_u64()).unwrap_or(u32::MAX);
        self.stats.estimate = Some(bps);
        notes.push(Note::Estimate(bps));
    }
}
