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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_discarded_address_is_given_back_once_something_comes_from_it() {
        let address = |n: u8| SocketAddr::from(([192, 0, 2, n], 5000));
        let named = |n| Candidate::host(address(n), "udp").expect("an address");
        let mut known = Known::default();
        (1..=3).for_each(|n| known.add(named(n)));
        assert_eq!(known.hear(address(1)), None, "str0m knows it");
        assert_eq!(known.hear(address(4)), None, "str0m makes a candidate of it by itself");
        let addresses = |all: Vec<Candidate>| all.iter().map(Candidate::addr).collect::<Vec<_>>();
        assert_eq!(addresses(known.restart()), [address(2), address(3)], "nothing came from these");
        let again = known.hear(address(2)).expect("str0m would ignore it");
        assert_eq!((again.addr(), again.kind()), (address(2), str0m::CandidateKind::PeerReflexive));
        assert_eq!(known.hear(address(2)), None, "once");
        known.add(named(3));
        assert_eq!(known.hear(address(3)), None, "it was named again");
        // Those that were heard stay, until they are silent through a restart.
        assert_eq!(addresses(known.restart()), [address(1), address(4)]);
        assert_eq!(addresses(known.restart()), [address(2), address(3)]);
        assert!(known.hear(address(1)).is_some() && known.hear(address(4)).is_some());
    }
}
