//! One viewer: a str0m session, what it is sent, and when it is over.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use str0m::bwe::{Bitrate, BweKind};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::format::FormatParams;
use str0m::media::{Direction, Frequency, MediaKind, Mid, Pt};
use str0m::net::Receive;
use str0m::rtp::Extension;
use str0m::{Candidate, IceConnectionState, PacerReason, Reason, Rtc};

use super::batch::Batches;
use super::candidates::{Candidates, Verdict, canonical, is_reachable};
use super::clock::Place;
use super::credentials::{credentials, random_name, random_number};
use super::crypto::{self, reports};
use super::cut::Payloads;
use super::demux::{self, Class, Stage};
use super::describe::{self, Facts, Part, Used, Whole};
use super::negotiate::{Choice, Lane, Plan, STREAM_NAME, Settled, Supply};
use super::numbers::Numbers;
use super::paths::{Path, Paths};
use super::refusal::Refusal;
use super::route::{Route, Sign, Wish};
use super::sdp::{self, Kind, Remote, Transport};
use super::slots::STR0M_PROFILE;
use super::track::Track;
use super::{Answer, Answered, Config, LocalCandidate, MediaSet, SessionId, SessionStats};
use crate::call::body::{End, EndReason};
use crate::media::keyframes::Why;
use crate::media::{Codec, StreamId};

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
/// How long ICE may have lost its path, and no check by the one in use was answered, while datagrams still come.
const ICE_LOST: Duration = Duration::from_secs(8);

/// What all sessions of a fan-out share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) crypto: Arc<CryptoProvider>,
    /// Made for the first session: until somebody watches, most of OpenSSL need not be in memory.
    pub(super) certificate: OnceLock<DtlsCert>,
}

impl Shared {
    fn supply<'a>(&self, media: &'a MediaSet) -> Supply<'a> {
        Supply { media, level: self.config.h264_level }
    }

    fn certificate(&self) -> DtlsCert {
        let make = || self.crypto.dtls_provider.generate_certificate().expect("OpenSSL makes certificates");
        self.certificate.get_or_init(make).clone()
    }
}

/// What a session has to say to the fan-out.
pub(super) enum Note {
    Connected,
    KeyFrameWanted(StreamId, Why),
    Estimate(u32),
}

/// Where the output of a session goes.
pub(super) struct Sink<'a> {
    pub(super) batches: &'a mut Batches,
    /// Says which checks may leave.
    pub(super) paths: &'a mut Paths,
    pub(super) notes: &'a mut Vec<Note>,
}

/// What both sides sign their checks with (RFC 8445 7.2.2). Theirs is empty until they have spoken.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) ours: String,
    pub(super) our_password: String,
    pub(super) theirs: String,
    pub(super) their_password: String,
}

pub(super) struct Session {
    id: SessionId,
    rtc: Rtc,
    /// str0m's clock, which bursts push a little ahead.
    time: Instant,
    /// When str0m wants to be called.
    rtc_deadline: Instant,
    made: Instant,
    heard: Instant,
    connected: bool,
    route: Route,
    /// Whose DTLS handshake it is, where the other side began it.
    pub(super) client: Option<[u8; 32]>,
    ice_lost: Option<Instant>,
    over: Option<End>,
    /// It says goodbye.
    closing: bool,
    /// How the other side is reached, as its last description says.
    remote: Transport,
    settled: Settled,
    pending: Option<(SdpPendingOffer, Vec<String>)>,
    /// Of our descriptions' `o=` line.
    origin: u64,
    version: u64,
    cname: String,
    /// What its reports say.
    ledger: reports::Ledger,
    tracks: Vec<Track>,
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
    /// A session for an offer that was read; and our answer.
    pub(super) fn accept(
        id: SessionId,
        shared: &Shared,
        remote: &Remote,
        media: &MediaSet,
        now: Instant,
    ) -> Result<(Session, Answer), Refusal> {
        let plan = Plan::of_offer(remote, shared.supply(media), None)?;
        let mut session = Session::new(id, shared, &choices(&plan.settled, shared.supply(media)), now);
        let answer = session.apply_offer(shared, remote, plan)?;
        Ok((session, answer))
    }

    /// A session with an offer of ours.
    pub(super) fn offer(
        id: SessionId,
        shared: &Shared,
        media: &MediaSet,
        now: Instant,
    ) -> Result<(Session, String), Refusal> {
        if media.video.is_empty() && media.audio.is_none() {
            return Err(Refusal::NothingToSend);
        }
        let choices = choices(&Settled::default(), shared.supply(media));
        let mut session = Session::new(id, shared, &choices, now);
        let cname = session.cname.clone();
        let mut api = session.rtc.sdp_api();
        let mut mids = vec![];
        let wanted = [(MediaKind::Audio, media.audio.is_some()), (MediaKind::Video, !media.video.is_empty())];
        for (kind, _) in wanted.iter().filter(|(_, wanted)| *wanted) {
            let stream = Some(STREAM_NAME.into());
            // str0m takes the name of the track for the CNAME.
            let mid = api.add_media(*kind, Direction::SendOnly, stream, Some(cname.clone()), None);
            mids.push((*kind, mid.to_string()));
        }
        let (offer, pending) = api.apply().ok_or_else(|| Refusal::Failed("no offer was made".into()))?;
        session.pending = Some((pending, mids.iter().map(|(_, mid)| mid.clone()).collect()));
        let offer = offer.to_sdp_string();
        let sections: Vec<&str> = offer.split("\r\nm=").skip(1).collect();
        let mut parts = vec![];
        for ((kind, mid), section) in mids.iter().zip(sections) {
            let Some(ssrcs) = announced(section) else {
                return Err(Refusal::Failed("an offer without an SSRC".into()));
            };
            let video = kind.is_video();
            let own: Vec<Choice> =
                choices.iter().filter(|choice| choice.codec.is_video() == video).copied().collect();
            let kind = if video { Kind::Video } else { Kind::Audio };
            parts.push(Part::Used(Used::offered(kind, mid, ssrcs, &own)));
        }
        let sdp = session.describe("actpass", Whole { bundles: true, mixes_extensions: false }, &parts);
        Ok((session, sdp))
    }

    fn new(id: SessionId, shared: &Shared, choices: &[Choice], now: Instant) -> Session {
        let config = &shared.config;
        let mut builder = Rtc::builder()
            .set_crypto_provider(shared.crypto.clone())
            .set_dtls_cert(shared.certificate())
            .set_local_ice_credentials(credentials())
            .set_rtp_mode(true)
            .set_stats_interval(Some(STATS_EVERY))
            .set_rtcp_report_interval_audio(REPORTS_EVERY)
            .set_rtcp_report_interval_video(REPORTS_EVERY)
            .enable_bwe(Some(Bitrate::bps(config.initial_bitrate.into())))
            .clear_extension_map()
            .set_extension(2, Extension::AbsoluteSendTime)
            .set_extension(3, Extension::TransportSequenceNumber)
            .set_extension(4, Extension::RtpMid)
            .clear_codecs();
        for choice in choices {
            add_codec(&mut builder, choice);
        }
        let mut rtc = builder.build(now);
        rtc.bwe().set_bitrate(Bitrate::ZERO, Bitrate::bps(config.max_bitrate.into()));
        let mut local_candidates = vec![];
        for LocalCandidate { base, advertised } in &config.candidates {
            let outside = advertised.map(|a| Candidate::server_reflexive(a, *base, "udp"));
            for candidate in [Some(Candidate::host(*base, "udp")), outside].into_iter().flatten().flatten() {
                let Some(added) = rtc.add_local_candidate(candidate) else { continue };
                let line = added.to_sdp_string();
                // Its ICE name says whose generation it is, and outlives none.
                local_candidates.push(line.split(" ufrag ").next().expect("a first part").to_owned());
            }
        }
        let cname = random_name();
        Session {
            id,
            rtc,
            time: now,
            rtc_deadline: now,
            made: now,
            heard: now,
            connected: false,
            route: Route::new(now),
            client: None,
            ice_lost: None,
            over: None,
            closing: false,
            remote: Transport::default(),
            settled: Settled::default(),
            pending: None,
            origin: random_number(),
            version: 0,
            ledger: reports::Ledger::new(&cname),
            cname,
            tracks: vec![],
            numbers: Numbers::default(),
            names: Names::default(),
            candidates: Candidates::default(),
            addresses: config
                .candidates
                .iter()
                .flat_map(|c| [Some(c.base), c.advertised])
                .flatten()
                .map(canonical)
                .collect(),
            local_candidates,
            default: default_candidate(&config.candidates),
            stats: SessionStats::default(),
            by_twcc: false,
            #[cfg(test)]
            panics: false,
        }
    }

    /// Whether a description comes from the peer connection that this session talks with.
    pub(super) fn is_with(&self, remote: &Remote) -> bool {
        let theirs = &remote.transport.fingerprint;
        // Where every section is over nothing says whose it is.
        theirs.is_empty() || self.remote.fingerprint == *theirs
    }

    /// Another offer of the same peer connection.
    pub(super) fn renegotiate(
        &mut self,
        shared: &Shared,
        remote: &Remote,
        media: &MediaSet,
    ) -> Result<Answer, Refusal> {
        let plan = Plan::of_offer(remote, shared.supply(media), Some(&self.settled))?;
        self.apply_offer(shared, remote, plan)
    }

    fn apply_offer(&mut self, shared: &Shared, remote: &Remote, plan: Plan) -> Result<Answer, Refusal> {
        #[cfg(test)]
        assert!(!self.panics, "a test wants this");
        let transport = self.transport(remote);
        let fresh = self.fresh_candidates(&transport);
        let offer = plan.for_str0m(remote, &transport, &fresh);
        let offer = SdpOffer::from_sdp_string(&offer).map_err(unusable)?;
        let answer = self.rtc.sdp_api().accept_offer(offer).map_err(unusable)?.to_sdp_string();
        // An offer of ours that was open is void: str0m has rolled it back.
        self.pending = None;
        if !self.names.ours.is_empty()
            && self.rtc.direct_api().local_ice_credentials().ufrag != self.names.ours
        {
            // ICE began anew, under a name and a password of str0m's making.
            self.rtc.direct_api().set_local_ice_credentials(credentials());
        }
        self.settle(shared, transport, &plan)?;
        let setup = answer.lines().find_map(|line| line.strip_prefix("a=setup:")).unwrap_or("passive");
        let parts = plan.parts(remote, |mid| self.ssrcs(mid));
        let session = Whole { bundles: remote.bundles, mixes_extensions: remote.mixes_extensions };
        let sdp = self.describe(setup, session, &parts);
        self.settled = plan.settled;
        Ok(Answer { sdp, video: self.stats.video, audio: self.stats.audio })
    }

    /// The answer to our open offer.
    pub(super) fn answer(
        &mut self,
        shared: &Shared,
        remote: &Remote,
        media: &MediaSet,
    ) -> Result<Answered, Refusal> {
        let Some((_, mids)) = &self.pending else { return Err(Refusal::NoOpenOffer) };
        let plan = Plan::of_answer(remote, shared.supply(media), mids)?;
        let transport = self.transport(remote);
        let fresh = self.fresh_candidates(&transport);
        let answer = plan.for_str0m(remote, &transport, &fresh);
        let answer = SdpAnswer::from_sdp_string(&answer).map_err(unusable)?;
        let (pending, _) = self.pending.take().expect("seen above");
        self.rtc.sdp_api().accept_answer(pending, answer).map_err(unusable)?;
        self.settle(shared, transport, &plan)?;
        self.settled = plan.settled;
        Ok(Answered { video: self.stats.video, audio: self.stats.audio })
    }

    /// Takes over what was negotiated.
    fn settle(&mut self, shared: &Shared, transport: Transport, plan: &Plan) -> Result<(), Refusal> {
        self.names.theirs.clone_from(&transport.ufrag);
        self.names.their_password.clone_from(&transport.pwd);
        self.remote = transport;
        self.stats.video = plan.video.as_ref().map(|lane| lane.stream);
        self.stats.audio = plan.audio.as_ref().map(|lane| lane.stream);
        let h264 = plan.video.as_ref().map(|lane| lane.choice).filter(|choice| choice.codec == Codec::H264);
        self.stats.profile_level_id = h264.map(|choice| {
            let [_, profile, constraints, level] = choice.profile.to_be_bytes();
            [profile, constraints, level]
        });
        let mut before = std::mem::take(&mut self.tracks);
        for lane in [&plan.audio, &plan.video].into_iter().flatten() {
            let track = match before.iter().position(|t| t.stream == lane.stream && *t.mid == *lane.mid) {
                Some(i) => before.swap_remove(i),
                None => self.open_track(shared, lane)?,
            };
            self.tracks.push(track);
        }
        Ok(())
    }

    fn open_track(&mut self, shared: &Shared, lane: &Lane) -> Result<Track, Refusal> {
        let mid = Mid::from(lane.mid.as_str());
        let pt = Pt::from(lane.choice.pt);
        let agreed =
            self.rtc.media(mid).is_some_and(|m| m.direction().is_sending() && m.remote_pts().contains(&pt));
        let mut api = self.rtc.direct_api();
        let Some(tx) = api.stream_tx_by_mid(mid, None).filter(|_| agreed) else {
            return Err(Refusal::Failed("what was negotiated can't be sent".into()));
        };
        Ok(Track::new(lane, tx, shared.config.resend_packets, self.made))
    }

    /// How the other side is reached from now on; as before, if all sections of its description are over.
    fn transport(&self, remote: &Remote) -> Transport {
        let theirs = &remote.transport;
        if theirs.ufrag.is_empty() { self.remote.clone() } else { theirs.clone() }
    }

    /// What is sent in a section that str0m knows by this name.
    fn ssrcs(&mut self, mid: &str) -> Option<(u32, Option<u32>)> {
        let mut api = self.rtc.direct_api();
        let tx = api.stream_tx_by_mid(Mid::from(mid), None)?;
        Some((*tx.ssrc(), tx.rtx().map(|rtx| *rtx)))
    }

    /// Writes a description of ours.
    fn describe(&mut self, setup: &str, whole: Whole, parts: &[Part<'_>]) -> String {
        self.version += 1;
        let api = self.rtc.direct_api();
        let own = api.local_ice_credentials();
        let fingerprint = api.local_dtls_fingerprint().to_string();
        let facts = Facts {
            origin: self.origin,
            version: self.version,
            ufrag: &own.ufrag,
            pwd: &own.pass,
            fingerprint: &fingerprint,
            setup,
            cname: &self.cname,
            candidates: &self.local_candidates,
            default: self.default,
            whole,
        };
        describe::write(&facts, parts)
    }

    /// The candidates of a description that are to be checked from now on.
    fn fresh_candidates(&mut self, transport: &Transport) -> Vec<String> {
        let Transport { ufrag, pwd, candidates, .. } = transport;
        let known = !self.names.theirs.is_empty();
        if known && (*ufrag != self.names.theirs || *pwd != self.names.their_password) {
            self.candidates.restart();
        }
        let fresh = |c: &&String| self.candidate_verdict(c) == Verdict::Check;
        candidates.iter().filter(fresh).cloned().collect()
    }

    fn candidate_verdict(&mut self, candidate: &str) -> Verdict {
        let Some(address) = sdp::candidate_address(candidate) else { return Verdict::Ignore };
        let verdict = self.candidates.take(address, &self.addresses);
        self.stats.candidates_checked = self.candidates.checked() as u64;
        self.stats.candidates_ignored = self.candidates.ignored();
        verdict
    }

    /// A candidate of the other side. Those of no use to us are ignored.
    pub(super) fn add_remote_candidate(&mut self, candidate: &str) -> Result<(), Refusal> {
        let candidate = candidate.trim();
        let candidate = candidate.strip_prefix("a=").unwrap_or(candidate);
        let bad = |why: &str| Err(Refusal::BadCandidate(why.into()));
        match sdp::candidate_is_usable(candidate) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(why) => return bad(why),
        }
        let Ok(parsed) = Candidate::from_sdp_string(candidate) else {
            return bad("it is not a candidate that WebRTC knows");
        };
        if self.candidate_verdict(candidate) == Verdict::Check {
            self.rtc.add_remote_candidate(parsed);
        }
        Ok(())
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
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
        self.over.get_or_insert_with(|| {
            End::new(EndReason::Replaced, "a newer call from the same address and port took its place")
        });
    }

    /// How far DTLS is.
    pub(super) fn stage(&self) -> Stage {
        if self.connected { Stage::Established } else { Stage::Handshake }
    }

    pub(super) fn local_candidates(&self) -> &[String] {
        &self.local_candidates
    }

    pub(super) fn stats(&self) -> SessionStats {
        self.stats
    }

    /// Whether frames of this stream are on their way to this viewer.
    pub(super) fn follows(&self, stream: StreamId) -> bool {
        self.connected && self.tracks.iter().any(|t| t.stream == stream)
    }

    /// Takes a datagram; says whether it is authentic, and so shows that the viewer is there. What sign it is then
    /// is known before, `None` for DTLS.
    pub(super) fn handle_datagram(
        &mut self,
        receive: Receive<'_>,
        sign: Option<Sign>,
        now: Instant,
        sink: &mut Sink<'_>,
    ) -> bool {
        let path = (receive.destination, receive.source);
        self.tick(now);
        let opened = crypto::opened();
        let result = self.rtc.handle_input(str0m::Input::Receive(self.time, receive));
        self.check(result);
        // Checks and answers were found authentic before they came here.
        let sign = sign.filter(|sign| *sign != Sign::Media || crypto::opened() > opened);
        if let Some(sign) = sign {
            self.heard = now;
            let answered = sink.paths.answered(self.id, path);
            if self.route.handle(path, sign, answered, now) == Wish::Check {
                self.check_path(path);
            }
        }
        self.drain(now, sink);
        sign.is_some()
    }

    /// Has ICE check a path by which the viewer sends.
    fn check_path(&mut self, (_, theirs): Path) {
        if !self.reaches(theirs) {
            return;
        }
        let (ip, port) = (theirs.ip(), theirs.port());
        // Of the least priority: what ICE nominates by itself goes before.
        let line = format!("candidate:moved 1 udp 1 {ip} {port} typ srflx raddr 0.0.0.0 rport 0");
        if let Err(refusal) = self.add_remote_candidate(&line) {
            log::debug!("session {}: a new path isn't checked: {}", self.id.0, refusal.code());
        }
    }

    /// How long nothing authentic came by the path in use; `None` before there is one.
    pub(super) fn silent(&self, now: Instant) -> Option<Duration> {
        self.route.path().map(|_| self.route.silent(now))
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, sink: &mut Sink<'_>) {
        self.tick(now);
        let result = self.rtc.handle_input(str0m::Input::Timeout(self.time));
        self.check(result);
        self.drain(now, sink);
    }

    /// Sends a frame's payloads, if this viewer is ready for them.
    pub(super) fn handle_frame(
        &mut self,
        stream: StreamId,
        key: bool,
        payloads: &Payloads,
        place: Place,
        now: Instant,
        sink: &mut Sink<'_>,
    ) {
        let Some(track) = self.tracks.iter_mut().find(|t| t.stream == stream) else { return };
        let mut api = self.rtc.direct_api();
        let Some(tx) = api.stream_tx_by_mid(track.mid, None) else { return };
        let (admitted, wanted) = track.admit(tx, key, now);
        sink.notes.extend(wanted.map(|why| Note::KeyFrameWanted(stream, why)));
        if !admitted {
            self.stats.skipped += 1;
            return;
        }
        self.stats.frames += 1;
        let numbering = self.numbers.of(*tx.ssrc());
        track.write(tx, numbering, payloads, place);
        self.tick(now);
        let result = self.rtc.handle_input(str0m::Input::Timeout(self.time));
        self.check(result);
        self.drain(now, sink);
    }

    /// Says goodbye.
    pub(super) fn close(&mut self, now: Instant, sink: &mut Sink<'_>) {
        self.tick(now);
        self.closing = true;
        let result = self.rtc.close();
        self.check(result);
        self.drain(now, sink);
    }

    /// When to call [`Session::handle_timeout`].
    pub(super) fn deadline(&self, config: &Config) -> Instant {
        let own =
            if self.connected { self.heard + config.silence } else { self.made + config.connect_within };
        let lost = self.lost_at().filter(|_| self.connected).unwrap_or(own);
        self.rtc_deadline.min(own).min(lost)
    }

    /// When the path in use is given up: without consent, and sooner where ICE has no other.
    fn lost_at(&self) -> Option<Instant> {
        self.route.path()?;
        let consent = self.route.consent_until();
        let ice = self.ice_lost.map(|at| at.max(self.route.answered()) + ICE_LOST);
        Some(ice.map_or(consent, |at| at.min(consent)))
    }

    /// Ends the session if its time has come.
    pub(super) fn check_alive(&mut self, config: &Config, now: Instant) -> Option<End> {
        let secs = |d: Duration| d.as_secs();
        let silent = now.saturating_duration_since(self.heard);
        if self.over.is_none() {
            if !self.connected && now.saturating_duration_since(self.made) >= config.connect_within {
                let words = format!(
                    "no connection within {} s: no network path to the viewer was found; check that UDP is not blocked",
                    secs(config.connect_within)
                );
                self.over = Some(End::new(EndReason::IceFailed, words));
            } else if self.connected && silent >= config.silence {
                let words = format!("the viewer vanished: nothing heard of it for {} s", secs(silent));
                self.over = Some(End::new(EndReason::Vanished, words));
            } else if self.connected && self.lost_at().is_some_and(|at| now >= at) {
                self.over = Some(End::new(EndReason::Lost, "the network path to the viewer was lost"));
            } else if !self.rtc.is_alive() {
                self.over = Some(End::new(EndReason::Ended, "the viewer closed the connection"));
            }
        }
        self.over.clone()
    }

    fn tick(&mut self, now: Instant) {
        #[cfg(test)]
        assert!(!self.panics, "a test wants this");
        self.time = self.time.max(now);
    }

    fn check(&mut self, result: Result<(), str0m::RtcError>) {
        if let Err(e) = result {
            self.over.get_or_insert_with(|| End::new(EndReason::Lost, format!("WebRTC failed: {e}")));
        }
    }

    /// Takes out all that str0m has to say.
    fn drain(&mut self, now: Instant, sink: &mut Sink<'_>) {
        reports::open(std::mem::take(&mut self.ledger));
        // Its last words are reports, which nobody could open after the end of DTLS.
        let mut last = vec![];
        loop {
            match self.rtc.poll_output() {
                Ok(str0m::Output::Transmit(t)) => {
                    let data: Vec<u8> = t.contents.into();
                    if let Some(check) = demux::check_sent(&data)
                        && !sink.paths.handle_check(self.id, (t.source, t.destination), check, now)
                    {
                        continue;
                    }
                    if is_rtp(&data) {
                        self.stats.packets += 1;
                        self.stats.bytes += data.len() as u64;
                        reports::handle_sent(&data);
                    }
                    let mut path = (t.source, t.destination);
                    // An answer goes to who asked.
                    if demux::classify(&data) != Some(Class::Stun) {
                        path = self.route.direct(path, sink.paths.answered(self.id, path), now);
                    }
                    if self.closing && demux::classify(&data) == Some(Class::Dtls) {
                        last.push((path, data));
                        continue;
                    }
                    sink.batches.push(path.0, path.1, data);
                }
                Ok(str0m::Output::Event(e)) => self.handle_event(e, now, sink.notes),
                Ok(str0m::Output::Timeout(at)) => {
                    if at <= self.time.min(now + BURST) + 2 * STEP && self.rtc.is_alive() {
                        // The next packet of a burst. Time goes on in any case, so that this ends.
                        self.time = at.max(self.time + STEP);
                        let result = self.rtc.handle_input(str0m::Input::Timeout(self.time));
                        self.check(result);
                        continue;
                    }
                    let slack = match self.rtc.last_timeout_reason() {
                        Reason::Pacer(PacerReason::Padding) => PADDING_SLACK,
                        Reason::Pacer(PacerReason::Handle) => SLACK,
                        Reason::Pacer(_) => PACED_SLACK,
                        _ => SLACK,
                    };
                    self.rtc_deadline = at.max(now + slack);
                    break;
                }
                Err(e) => {
                    self.check(Err(e));
                    break;
                }
            }
        }
        for ((local, to), data) in last {
            sink.batches.push(local, to, data);
        }
        self.ledger = reports::close();
        sink.batches.flush();
    }

    fn handle_event(&mut self, event: str0m::Event, now: Instant, notes: &mut Vec<Note>) {
        match event {
            str0m::Event::Connected => {
                log::debug!("session {} connected", self.id.0);
                self.connected = true;
                self.stats.connected = true;
                notes.push(Note::Connected);
                for track in &mut self.tracks {
                    if track.await_key(now) {
                        notes.push(Note::KeyFrameWanted(track.stream, Why::Join));
                    }
                }
            }
            str0m::Event::IceConnectionStateChange(state) => {
                log::debug!("session {}: ICE {state:?}", self.id.0);
                self.ice_lost = match state {
                    IceConnectionState::Connected | IceConnectionState::Completed => None,
                    // Checking, too: a peer that only asks, and never answers, keeps ICE at it for good.
                    _ => self.ice_lost.or(Some(now)),
                };
            }
            str0m::Event::KeyframeRequest(request) => {
                self.stats.key_frame_requests += 1;
                if let Some(track) = self.tracks.iter().find(|t| t.mid == request.mid) {
                    notes.push(Note::KeyFrameWanted(track.stream, Why::Loss));
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
            str0m::Event::Closed => {
                self.over
                    .get_or_insert_with(|| End::new(EndReason::Ended, "the viewer closed the connection"));
            }
            _ => {}
        }
    }

    fn estimate(&mut self, estimate: Bitrate, notes: &mut Vec<Note>) {
        let bps = u32::try_from(estimate.as_u64()).unwrap_or(u32::MAX);
        self.stats.estimate = Some(bps);
        notes.push(Note::Estimate(bps));
    }
}

/// str0m's own words may repeat what it read.
fn unusable(e: impl std::fmt::Display) -> Refusal {
    log::trace!("a description was refused: {e}");
    Refusal::BadSdp("its ICE, DTLS or media attributes don't fit".into())
}

/// RTP, and not STUN, DTLS or RTCP (RFC 7983, RFC 5761).
fn is_rtp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, kind, ..] if !(64..96).contains(&(kind & 0x7f)))
}

/// The candidate of `m=` and `c=`: the one that is most likely to be reached from elsewhere (RFC 8839, 4.2.1.2).
fn default_candidate(candidates: &[LocalCandidate]) -> Option<SocketAddr> {
    let outside = candidates.iter().filter_map(|c| c.advertised);
    let all = || candidates.iter().map(|c| c.base);
    let away = all().filter(|address| !address.ip().is_loopback());
    let mut by_likelihood = outside.chain(away).chain(all());
    let first = by_likelihood.clone().next();
    by_likelihood.find(SocketAddr::is_ipv4).or(first).map(canonical)
}

/// The SSRC that str0m announces in a section of an offer, and that of its retransmissions.
fn announced(section: &str) -> Option<(u32, Option<u32>)> {
    let value = |name: &str| section.lines().find_map(|line| line.strip_prefix(name));
    if let Some(group) = value("a=ssrc-group:FID ") {
        let (ssrc, rtx) = group.split_once(' ')?;
        return Some((ssrc.parse().ok()?, Some(rtx.trim().parse().ok()?)));
    }
    Some((value("a=ssrc:")?.split(' ').next()?.parse().ok()?, None))
}

/// The payload types to configure: what was settled, and proposals for the rest.
fn choices(settled: &Settled, supply: Supply<'_>) -> Vec<Choice> {
    let Supply { media, level } = supply;
    let mut choices: Vec<Choice> = match settled.video {
        Some(choice) => vec![choice],
        None if media.video.is_empty() => vec![Choice::proposal(Codec::H264, level)],
        None => media.video.iter().map(|(_, codec)| Choice::proposal(*codec, level)).collect(),
    };
    choices.push(settled.audio.unwrap_or(Choice::proposal(Codec::Opus, level)));
    choices
}

fn add_codec(builder: &mut str0m::RtcConfig, choice: &Choice) {
    let pt = Pt::from(choice.pt);
    let rtx = choice.rtx.map(Pt::from);
    let config = builder.codec_config();
    match choice.codec {
        Codec::H264 => config.add_h264(pt, rtx, true, STR0M_PROFILE),
        Codec::Vp8 => {
            config.add_config(
                pt,
                rtx,
                str0m::format::Codec::Vp8,
                Frequency::NINETY_KHZ,
                None,
                FormatParams::default(),
            );
        }
        Codec::Opus => {
            let format =
                FormatParams { min_p_time: Some(10), use_inband_fec: Some(true), ..FormatParams::default() };
            config.add_config(
                pt,
                rtx,
                str0m::format::Codec::Opus,
                Frequency::FORTY_EIGHT_KHZ,
                Some(2),
                format,
            );
        }
    }
}
