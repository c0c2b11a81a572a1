//! Connects ICE and DTLS to the other side: the only part of a description that str0m sees.
//!
//! This crate handles descriptions and media itself, from payload types to packets. So str0m knows no media sections,
//! and its SDP parser, half a megabyte, is not linked.

use str0m::crypto::Fingerprint;
use str0m::{Candidate, IceCreds};

use super::Session;
use super::candidates::Verdict;
use super::credentials::credentials;
use super::sdp::{self, Transport};
use crate::rtc::CandidateType;
use crate::rtc::refusal::Refusal;

/// Our role in DTLS, as in `a=setup` (RFC 8842, 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// We start the handshake.
    Active,
    Passive,
}

impl Role {
    /// Returns our role for the other side's `a=setup`; passive, if it leaves us the choice.
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
    /// Applies the other side's transport: starts ICE and DTLS, or restarts ICE if its credentials changed, and checks
    /// new candidates. Returns our role, which never changes.
    pub(super) fn connect(&mut self, transport: &Transport) -> Result<Role, Refusal> {
        let role = match self.role {
            Some(role) => {
                if transport.ufrag != self.names.theirs || transport.pwd != self.names.their_password {
                    self.restart_ice(transport);
                }
                role
            }
            None => self.begin(transport, Role::facing(transport))?,
        };
        self.check_candidates(transport);
        Ok(role)
    }

    /// Starts ICE and DTLS.
    pub(super) fn begin(&mut self, transport: &Transport, role: Role) -> Result<Role, Refusal> {
        let fingerprint: Fingerprint = transport.fingerprint.parse().map_err(unusable)?;
        let mut api = self.rtc.direct_api();
        if transport.ice_lite {
            // The other side makes no checks (RFC 8445, 6.1.1).
            api.set_ice_controlling(true);
        }
        api.set_remote_ice_credentials(creds(transport));
        api.set_remote_fingerprint(fingerprint);
        api.start_dtls(role == Role::Active).map_err(unusable)?;
        self.role = Some(role);
        Ok(role)
    }

    /// Restarts ICE (RFC 8445, 9) with new credentials; media continues on the current path. Removes and re-adds our
    /// candidates to form new pairs, since str0m only restarts ICE for descriptions that it created.
    fn restart_ice(&mut self, transport: &Transport) {
        self.candidates.restart();
        let mut api = self.rtc.direct_api();
        for candidate in self.own.candidates().chain(&self.known.restart()) {
            api.invalidate_candidate(candidate);
        }
        api.set_local_ice_credentials(credentials());
        api.set_remote_ice_credentials(creds(transport));
        for candidate in self.own.candidates() {
            self.rtc.add_local_candidate(candidate.clone());
        }
    }

    /// Checks the candidates of a description.
    pub(super) fn check_candidates(&mut self, transport: &Transport) {
        for line in &transport.candidates {
            if let Ok(candidate) = Candidate::from_sdp_string(line) {
                self.check_candidate(line, candidate);
            }
        }
    }

    /// Checks a candidate, if it is acceptable.
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

fn creds(transport: &Transport) -> IceCreds {
    IceCreds { ufrag: transport.ufrag.clone(), pass: transport.pwd.clone() }
}

/// Replaces str0m's error text, which may quote its input.
fn unusable(e: impl std::fmt::Display) -> Refusal {
    log::trace!("refused a description: {e}");
    Refusal::bad_sdp("its ICE or DTLS attributes are inconsistent")
}
