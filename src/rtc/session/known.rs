//! The other side's addresses known to ICE, and how a restart handles them.
//!
//! str0m never forgets a discarded candidate and ignores checks from its address. So addresses from which the other
//! side sent something since the last restart stay: it may continue from there without announcing it. All others are
//! discarded; otherwise each restart would check all addresses of all networks that a caller has ever been in.

use std::net::SocketAddr;

use str0m::Candidate;

#[derive(Debug, Default)]
pub(super) struct Known {
    current: Vec<Remote>,
    discarded: Vec<SocketAddr>,
}

#[derive(Debug)]
struct Remote {
    candidate: Candidate,
    /// Since ICE started or restarted.
    heard: bool,
}

impl Known {
    /// Adds a candidate that the other side named and that is being checked.
    pub(super) fn add(&mut self, candidate: Candidate) {
        self.discarded.retain(|address| *address != candidate.addr());
        self.current.push(Remote { candidate, heard: false });
    }

    /// Takes note of an address that something authentic came from. Returns a candidate to add if str0m would not
    /// answer there.
    pub(super) fn hear(&mut self, address: SocketAddr) -> Option<Candidate> {
        let mut is_known = false;
        for remote in self.current.iter_mut().filter(|remote| remote.candidate.addr() == address) {
            (remote.heard, is_known) = (true, true);
        }
        if is_known {
            return None;
        }
        let candidate = peer_reflexive(address)?;
        self.current.push(Remote { candidate: candidate.clone(), heard: true });
        let before = self.discarded.len();
        self.discarded.retain(|discarded| *discarded != address);
        (self.discarded.len() < before).then_some(candidate)
    }

    /// Handles an ICE restart. Returns the candidates to discard.
    pub(super) fn restart(&mut self) -> Vec<Candidate> {
        let silent = self.current.extract_if(.., |remote| !std::mem::take(&mut remote.heard));
        let silent: Vec<Candidate> = silent.map(|remote| remote.candidate).collect();
        self.discarded.extend(silent.iter().map(Candidate::addr));
        silent
    }
}

/// Returns the candidate that str0m would create for a check from a new address (RFC 8445, 7.3.1.3).
fn peer_reflexive(address: SocketAddr) -> Option<Candidate> {
    let (ip, port) = (address.ip(), address.port());
    // The lowest priority, after all named candidates.
    Candidate::from_sdp_string(&format!("candidate:heard 1 udp 1 {ip} {port} typ prflx")).ok()
}
