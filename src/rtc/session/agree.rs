//! Negotiates offers and answers of a session with the other side.

use std::sync::Arc;
use std::time::Instant;

use str0m::{Candidate, IceCreds, Rtc};

use super::state::State;
use super::{Announced, Names, STATS_EVERY, Session, Shared};
use crate::media::{self, Codec};
use crate::rtc::crypto::link::{self, Link};
use crate::rtc::refusal::Refusal;
use crate::rtc::send::estimate::Limits;
use crate::rtc::send::sender::Sender;
use crate::rtc::send::track::Format;
use crate::rtc::session::candidates::Candidates;
use crate::rtc::session::channels::Channels;
use crate::rtc::session::credentials::{credentials, random_name, random_number, random_ssrc};
use crate::rtc::session::describe::{self, Facts};
use crate::rtc::session::known::Known;
use crate::rtc::session::negotiate::{Lane, Plan, Settled};
use crate::rtc::session::own_candidates::{self, OwnCandidates};
use crate::rtc::session::payload::Choice;
use crate::rtc::session::receiving::Receiving;
use crate::rtc::session::route::Route;
use crate::rtc::session::sdp::{self, Remote, Transport};
use crate::rtc::session::section::{Part, Whole};
use crate::rtc::session::supply::Supply;
use crate::rtc::{Answer, Config, SessionId, SessionStats};

/// The lower bound of the estimate: one key frame per second in the smallest size.
const MIN_BITRATE: u32 = 50_000;

impl Session {
    /// Creates a session for a parsed offer; returns it with our answer.
    pub(in crate::rtc) fn accept(
        id: SessionId,
        shared: &Shared,
        remote: &Remote,
        supply: &Supply,
        now: Instant,
    ) -> Result<(Session, Answer), Refusal> {
        let plan = Plan::of_offer(remote, supply, None)?;
        let mut session = Session::new(id, shared, now);
        let answer = session.apply_offer(shared, remote, plan)?;
        Ok((session, answer))
    }

    pub(super) fn new(id: SessionId, shared: &Shared, now: Instant) -> Session {
        let config = &shared.config;
        let (rtc, link, own) = stack(shared, credentials(), now);
        let cname = random_name();
        Session {
            id,
            rtc,
            link,
            time: now,
            rtc_deadline: now,
            state: State::connecting(now),
            made: now,
            heard: now,
            route: Route::new(now),
            client: None,
            remote: Transport::default(),
            tag: String::new(),
            role: None,
            settled: Settled::default(),
            parts: vec![],
            whole: Whole::default(),
            open: None,
            origin: random_number(),
            version: 0,
            wall: shared.wall,
            sender: Sender::new(&cname, limits(config), config.playout_delay, now),
            receiving: Receiving::new(&cname, now),
            channels: config.channels.map(|limits| Box::new(Channels::new(limits))),
            cname,
            announced: vec![],
            keys: None,
            converses: false,
            ready: None,
            unanswered: 0,
            names: Names::default(),
            candidates: Candidates::default(),
            known: Known::default(),
            addresses: own.addresses(),
            own,
            default: own_candidates::default(config),
            stats: SessionStats::default(),
            #[cfg(test)]
            panics: false,
        }
    }

    /// Whether a description is from this session's peer connection.
    pub(in crate::rtc) fn is_with(&self, remote: &Remote) -> bool {
        let theirs = &remote.transport.fingerprint;
        // If every section is stopped, the description does not identify its peer connection.
        theirs.is_empty() || self.remote.fingerprint == *theirs
    }

    /// Answers another offer from the same peer connection.
    pub(in crate::rtc) fn renegotiate(
        &mut self,
        shared: &Shared,
        remote: &Remote,
        supply: &Supply,
    ) -> Result<Answer, Refusal> {
        let supply = &*self.own(supply);
        let plan = Plan::of_offer(remote, supply, Some(&self.settled))?;
        self.apply_offer(shared, remote, plan)
    }

    fn apply_offer(&mut self, shared: &Shared, remote: &Remote, plan: Plan) -> Result<Answer, Refusal> {
        #[cfg(test)]
        assert!(!self.panics, "a test wants this");
        let transport = self.transport(remote);
        let role = self.connect(&transport)?;
        // Our own pending offer becomes void.
        self.roll_back();
        self.open = None;
        self.settle(shared, remote, transport, &plan);
        self.note_transport(remote);
        self.keep_agreed(remote, plan);
        let parts = std::mem::take(&mut self.parts);
        let sdp = self.describe(role.attribute(), self.whole, &parts);
        self.parts = parts;
        Ok(Answer { sdp, streams: self.stats.streams.clone() })
    }

    /// Applies what was negotiated.
    pub(super) fn settle(&mut self, shared: &Shared, remote: &Remote, transport: Transport, plan: &Plan) {
        self.rtc_deadline = self.time;
        self.names.theirs.clone_from(&transport.ufrag);
        self.names.their_password.clone_from(&transport.pwd);
        self.remote = transport;
        let lanes = plan.lanes(remote);
        self.receiving.set_lanes(&lanes);
        self.stats.streams = lanes.iter().filter_map(|lane| lane.sends).collect();
        let agreed = |lane: &Lane| lane.others.iter().copied().chain([lane.choice]).collect::<Vec<_>>();
        let h264 = lanes.iter().flat_map(agreed).find(|choice| choice.codec == Codec::H264);
        let sent = lanes.iter().filter(|lane| lane.sends.is_some()).flat_map(agreed);
        self.stats.video_codecs = sent.map(|choice| choice.codec).filter(|codec| codec.is_video()).collect();
        self.stats.profile_level_id = h264.map(|choice| {
            let [_, profile, constraints, level] = choice.profile.to_be_bytes();
            [profile, constraints, level]
        });
        self.announced.retain(|known| plan.settled.slots.has(known.section));
        let announced = &self.announced;
        self.sender
            .retain_ssrcs(|ssrc| announced.iter().any(|known| known.ssrc == ssrc || known.rtx == ssrc));
        self.converses = lanes.iter().any(|lane| lane.receives && lane.choice.codec == Codec::Opus);
        let mut streams = vec![];
        for lane in lanes {
            let Some(stream) = lane.sends else { continue };
            let (ssrc, rtx) = self.announce(lane.section);
            let format = Format {
                mid: lane.mid,
                pt: lane.choice.pt,
                ssrc,
                rtx: lane.choice.rtx.map(|pt| (pt, rtx)),
                others: lane.others.iter().map(|other| (other.codec, other.pt, other.rtx)).collect(),
                extensions: lane.extensions,
            };
            streams.push((stream, lane.choice.codec, format));
        }
        self.sender.set_streams(streams, shared.config.resend_packets, self.made);
    }

    /// Stores what both sides agreed on, for later descriptions.
    pub(super) fn keep_agreed(&mut self, remote: &Remote, plan: Plan) {
        self.agree_on_data(plan.data(remote));
        self.parts = plan.parts(remote, |section| self.announce(section));
        self.whole = Whole { bundles: remote.bundles, mixes_extensions: remote.mixes_extensions };
        self.settled = plan.settled;
    }

    /// Returns the transport of the other side from now on: the previous one if all sections of its description are
    /// stopped.
    pub(super) fn transport(&self, remote: &Remote) -> Transport {
        let theirs = &remote.transport;
        if theirs.ufrag.is_empty() { self.remote.clone() } else { theirs.clone() }
    }

    /// Returns the SSRC of the stream sent in this section, and the SSRC of its retransmissions. Both are constant for
    /// the lifetime of the section.
    pub(super) fn announce(&mut self, section: u32) -> (u32, u32) {
        if let Some(known) = self.announced.iter().find(|known| known.section == section) {
            return (known.ssrc, known.rtx);
        }
        let taken = |ssrc| self.announced.iter().any(|known| known.ssrc == ssrc || known.rtx == ssrc);
        let mut fresh = std::iter::repeat_with(random_ssrc).filter(|ssrc| *ssrc != 0 && !taken(*ssrc));
        let ssrc = fresh.next().expect("there are more SSRCs than sections");
        let rtx = fresh.find(|rtx| *rtx != ssrc).expect("there are more SSRCs than sections");
        self.announced.push(Announced { section, ssrc, rtx });
        (ssrc, rtx)
    }

    /// Writes our description.
    pub(super) fn describe(&mut self, setup: &str, whole: Whole, parts: &[Part]) -> String {
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
            candidates: self.own.lines(),
            default: self.default,
            max_message: self.channels.as_ref().map_or(0, |channels| channels.limits().message),
            whole,
        };
        describe::write(&facts, parts)
    }

    /// Adds a candidate of the other side. Ignores candidates that we cannot use.
    pub(in crate::rtc) fn add_remote_candidate(&mut self, candidate: &str) -> Result<(), Refusal> {
        let candidate = candidate.trim();
        let candidate = candidate.strip_prefix("a=").unwrap_or(candidate);
        let bad = |why: &str| Err(Refusal::BadCandidate { why: why.into() });
        match sdp::candidate_is_usable(candidate) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(why) => return bad(why),
        }
        let Ok(parsed) = Candidate::from_sdp_string(candidate) else {
            return bad("it is not a valid WebRTC candidate");
        };
        self.check_candidate(candidate, parsed);
        Ok(())
    }
}

/// Returns the limits of the bandwidth estimate.
fn limits(config: &Config) -> Limits {
    Limits { initial: config.initial_bitrate, min: MIN_BITRATE, max: config.max_bitrate }
}

/// Creates a session's own str0m instance; returns it with the link to its DTLS connection, and our candidates.
pub(super) fn stack(
    shared: &Shared,
    credentials: IceCreds,
    now: Instant,
) -> (Box<Rtc>, Arc<Link>, OwnCandidates) {
    let config = &shared.config;
    let limits = config.channels.unwrap_or_default();
    let mut rtc = Rtc::builder()
        .set_crypto_provider(shared.crypto.clone())
        .set_dtls_cert(shared.certificate())
        .set_local_ice_credentials(credentials)
        .set_rtp_mode(true)
        .set_sctp_max_buffered_amount(limits.send_queue.max(limits.message))
        .set_sctp_max_message_size(u32::try_from(limits.message).unwrap_or(u32::MAX).max(1))
        .set_stats_interval(Some(STATS_EVERY))
        .clear_codecs()
        .build(now);
    let link = link::made();
    let own = OwnCandidates::new(&mut rtc, config);
    (Box::new(rtc), link, own)
}

/// Returns the payload types to configure: those negotiated, and proposals for the rest.
pub(super) fn choices(settled: &Settled, supply: &Supply) -> Vec<Choice> {
    let mut choices: Vec<Choice> = match settled.video {
        Some(choice) => vec![choice],
        None => supply
            .proposals(media::Kind::Video)
            .map(|(_, codec, level)| Choice::proposal(codec, level))
            .collect(),
    };
    if choices.is_empty() {
        choices.push(Choice::proposal(Codec::H264, supply.level()));
    }
    choices.push(settled.audio.unwrap_or(Choice::proposal(Codec::Opus, supply.level())));
    choices
}
