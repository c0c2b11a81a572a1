//! Our candidates in one session: those in its descriptions, and those of addresses that this machine gets or loses
//! later.
//!
//! An address that appears is checked from at once, and named to the other side, which may be unable to receive anything
//! from there before it has sent something to it. An address that disappears takes its pairs along: media moves to the
//! best path that is left, without waiting until the path in use was silent for long enough.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use str0m::{Candidate, Rtc};

use super::candidates::canonical;
use super::{Note, Session, Sink};
use crate::rtc::{Config, LocalCandidate, Path};

/// Candidates of ours in the lifetime of a session: str0m forgets none. A machine whose IPv6 address changes every day
/// reaches it in two months.
const MAX_OURS: usize = 64;

/// One candidate of ours.
#[derive(Clone, Debug)]
struct Own {
    /// The address of the socket, and the one by which the other side knows it.
    place: (SocketAddr, SocketAddr),
    candidate: Candidate,
}

/// The candidates that are in use, each with its line for descriptions.
#[derive(Debug, Default)]
pub(super) struct OwnCandidates {
    all: Vec<Own>,
    lines: Vec<String>,
    /// The places of all that there have been.
    places: Vec<(SocketAddr, SocketAddr)>,
}

impl OwnCandidates {
    /// Those of the configuration, for a new session.
    pub(super) fn new(rtc: &mut Rtc, config: &Config) -> OwnCandidates {
        let mut own = OwnCandidates::default();
        for candidate in configured(config) {
            own.add(rtc, candidate);
        }
        own
    }

    /// Returns the line of a candidate that was added: not if it is in use, or there were too many.
    fn add(&mut self, rtc: &mut Rtc, own: Own) -> Option<&str> {
        let is_used = self.all.iter().any(|used| used.place == own.place);
        let is_new = !self.places.contains(&own.place);
        if is_used || (is_new && self.places.len() == MAX_OURS) {
            return None;
        }
        let line = rtc.add_local_candidate(own.candidate.clone())?.to_sdp_string();
        // Without the ufrag, which is outdated after an ICE restart.
        self.lines.push(line.split(" ufrag ").next().expect("a first part").to_owned());
        if is_new {
            self.places.push(own.place);
        }
        self.all.push(own);
        self.lines.last().map(String::as_str)
    }

    /// Drops the candidates at these addresses. Returns whether there were any.
    fn lose(&mut self, rtc: &mut Rtc, gone: &[IpAddr]) -> bool {
        let before = self.all.len();
        for at in (0..before).rev() {
            if gone.contains(&self.all[at].place.0.ip()) {
                rtc.direct_api().invalidate_candidate(&self.all[at].candidate);
                self.all.remove(at);
                self.lines.remove(at);
            }
        }
        self.all.len() < before
    }

    /// As str0m takes them.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.all.iter().map(|own| &own.candidate)
    }

    /// As in descriptions: `candidate:…`.
    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The addresses inside and outside.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.all.iter().flat_map(|own| [own.place.0, own.place.1]).map(canonical).collect()
    }
}

impl Session {
    /// Adds candidates that were configured after the session was made, and names them to the other side.
    pub(in crate::rtc) fn find_candidates(&mut self, config: &Config, now: Instant, sink: &mut Sink<'_>) {
        self.tick(now);
        // A machine without a network has nothing but loopback for a moment. Offering that would allow the other side to
        // name it, too.
        for own in configured(config).filter(|own| !own.place.0.ip().is_loopback()) {
            let base = own.place.0.ip();
            if let Some(line) = self.own.add(&mut self.rtc, own) {
                let mid = Some(self.tag.clone()).filter(|tag| !tag.is_empty());
                sink.notes.push(Note::Candidate { line: line.to_owned(), mid });
                self.route.regain(base);
            }
        }
        self.addresses = self.own.addresses();
        self.default = default(config);
        self.rtc_deadline = self.time;
    }

    /// Handles that this machine lost addresses: media moves on, if it was sent from one of them.
    pub(in crate::rtc) fn lose_addresses(&mut self, gone: &[IpAddr], now: Instant, sink: &mut Sink<'_>) {
        self.tick(now);
        if !self.own.lose(&mut self.rtc, gone) {
            return;
        }
        self.addresses = self.own.addresses();
        self.default = self.default.filter(|address| !gone.contains(&address.ip()));
        self.rtc_deadline = self.time;
        let is_gone = |path: Path| gone.contains(&path.local.ip());
        if self.route.path().is_some_and(is_gone) {
            let left = sink.paths.proven(self.id).into_iter().filter(|(path, _)| !is_gone(*path));
            self.route.lose(left.max_by_key(|(_, answered)| *answered), now);
        }
    }
}

/// Returns the configured candidates.
fn configured(config: &Config) -> impl Iterator<Item = Own> {
    config.candidates.iter().flat_map(|LocalCandidate { base, advertised }| {
        let host = Candidate::host(*base, "udp").ok();
        let host = host.map(|candidate| Own { place: (*base, *base), candidate });
        let outside = advertised.and_then(|outside| {
            let candidate = Candidate::server_reflexive(outside, *base, "udp").ok()?;
            Some(Own { place: (*base, outside), candidate })
        });
        host.into_iter().chain(outside)
    })
}

/// Returns the candidate for `m=` and `c=`: the one most likely to be reachable (RFC 8839, 4.2.1.2).
pub(super) fn default(config: &Config) -> Option<SocketAddr> {
    let outside = config.candidates.iter().filter_map(|c| c.advertised);
    let all = || config.candidates.iter().map(|c| c.base);
    let away = all().filter(|address| !address.ip().is_loopback());
    let mut by_likelihood = outside.chain(away).chain(all());
    let first = by_likelihood.clone().next();
    by_likelihood.find(SocketAddr::is_ipv4).or(first).map(canonical)
}
