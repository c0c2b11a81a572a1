//! How ICE and DTLS reach the other side: all that str0m is given of a description.
//!
//! Media is ours from the payload type to the packet, and descriptions are, too. So str0m knows of no media sections, and
//! its parser of descriptions, half a megabyte of it, is not linked.

use str0m::crypto::Fingerprint;
use str0m::{Candidate, IceCreds};

use super::candidates::Verdict;
use super::credentials::credentials;
use super::sdp::{self, Transport};
use super::{Session, Shared};
use crate::rtc::refusal::Refusal;
use crate::rtc::{CandidateType, Config, LocalCandidate};

/// Our role in DTLS, as in `a=setup` (RFC 8842, 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// We begin the handshake.
    Active,
    Passive,
}

impl Role {
    /// The one that the other side leaves to us; passive, if it leaves us the choice.
    fn facing(transport: &Transport) -> Role {
        if transport.setup.as_deref() == Some("passive") { Role::Active } else { Role::Passive }
    }

    pub(super) fn attribute(self) -> &'static str {
        match self {
            Role::Active => "active",
            Role::Passive => "passive",
        }
    }
}

impl Session {
    /// Takes over how the other side is reached: begins ICE and DTLS, or restarts ICE if its credentials changed, and has
    /// new candidates checked. Returns our role, which stays the same.
    pub(super) fn connect(&mut self, shared: &Shared, transport: &Transport) -> Result<Role, Refusal> {
        let role = match self.role {
            Some(role) => {
                if transport.ufrag != self.names.theirs || transport.pwd != self.names.their_password {
                    self.restart_ice(&shared.config, transport);
                }
                role
            }
            None => self.begin(transport, Role::facing(transport))?,
        };
        self.check_candidates(transport);
        Ok(role)
    }

    /// Begins ICE and DTLS.
    pub(super) fn begin(&mut self, transport: &Transport, role: Role) -> Result<Role, Refusal> {
        let fingerprint: Fingerprint = transport.fingerprint.parse().map_err(unusable)?;
        let mut api = self.rtc.direct_api();
        if transport.ice_lite {
            // It makes no checks (RFC 8445, 6.1.1).
            api.set_ice_controlling(true);
        }
        api.set_remote_ice_credentials(creds(transport));
        api.set_remote_fingerprint(fingerprint);
        api.start_dtls(role == Role::Active).map_err(unusable)?;
        self.role = Some(role);
        Ok(role)
    }

    /// Restarts ICE (RFC 8445, 9) under new credentials; media goes on by the path in use. Pairs of candidates are formed
    /// anew by taking ours away and adding them again, since str0m only restarts ICE for descriptions of its own.
    fn restart_ice(&mut self, config: &Config, transport: &Transport) {
        self.candidates.restart();
        let mut api = self.rtc.direct_api();
        for candidate in local_candidates(config).chain(self.known.restart()) {
            api.invalidate_candidate(&candidate);
        }
        api.set_local_ice_credentials(credentials());
        api.set_remote_ice_credentials(creds(transport));
        for candidate in local_candidates(config) {
            self.rtc.add_local_candidate(candidate);
        }
    }

    /// Has the candidates of a description checked.
    pub(super) fn check_candidates(&mut self, transport: &Transport) {
        for line in &transport.candidates {
            if let Ok(candidate) = Candidate::from_sdp_string(line) {
                self.check_candidate(line, candidate);
            }
        }
    }

    /// Has a candidate checked, if it is one to check.
    pub(super) fn check_candidate(&mut self, line: &str, candidate: Candidate) {
        let Some(address) = sdp::candidate_address(line) else { return };
        let verdict = self.candidates.take(address, CandidateType::of(line), &self.addresses);
        self.stats.candidates_checked = self.candidates.checked() as u64;
        self.stats.candidates_ignored = self.candidates.ignored();
        if verdict == Verdict::Check {
            self.known.add(candidate.clone());
            self.rtc.add_remote_candidate(candidate);
            self.rtc_deadline = self.time;
        }
    }
}

/// Our candidates, for str0m.
pub(super) fn local_candidates(config: &Config) -> impl Iterator<Item = Candidate> {
    config.candidates.iter().flat_map(|LocalCandidate { base, advertised }| {
        let outside = advertised.map(|a| Candidate::server_reflexive(a, *base, "udp"));
        [Some(Candidate::host(*base, "udp")), outside].into_iter().flatten().flatten()
    })
}

fn creds(transport: &Transport) -> IceCreds {
    IceCreds { ufrag: transport.ufrag.clone(), pass: transport.pwd.clone() }
}

/// str0m's own words may repeat what it read.
fn unusable(e: impl std::fmt::Display) -> Refusal {
    log::trace!("refused a description: {e}");
    Refusal::bad_sdp("its ICE or DTLS attributes are inconsistent")
}
