//! The other side's addresses that ICE knows, and what becomes of them in a restart.
//!
//! str0m discards a candidate, but never forgets it, and ignores checks from where one was discarded. So an address that
//! the other side was heard from since the last restart stays: it may go on, unannounced, from where it was. All others
//! are discarded, or each restart would check all addresses of all networks that a caller has ever been in.

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
    /// Since ICE began, or began anew.
    heard: bool,
}

impl Known {
    /// The other side named a candidate, which is checked.
    pub(super) fn add(&mut self, candidate: Candidate) {
        self.discarded.retain(|address| *address != candidate.addr());
        self.current.push(Remote { candidate, heard: false });
    }

    /// Something authentic came from an address. Returns what makes str0m answer there, if it would not.
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

    /// ICE begins anew. Returns what is to be discarded.
    pub(super) fn restart(&mut self) -> Vec<Candidate> {
        let silent = self.current.extract_if(.., |remote| !std::mem::take(&mut remote.heard));
        let silent: Vec<Candidate> = silent.map(|remote| remote.candidate).collect();
        self.discarded.extend(silent.iter().map(Candidate::addr));
        silent
    }
}

/// As str0m has it when a check comes from somewhere new (RFC 8445, 7.3.1.3).
fn peer_reflexive(address: SocketAddr) -> Option<Candidate> {
    let (ip, port) = (address.ip(), address.port());
    // Behind all that was named.
    Candidate::from_sdp_string(&format!("candidate:heard 1 udp 1 {ip} {port} typ prflx")).ok()
}
