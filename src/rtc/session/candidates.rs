//! Decides which of a caller's candidates are checked: an address in a description is a request to send datagrams
//! there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::rtc::CandidateType;

/// Limit of a caller's candidate addresses, over all descriptions and trickled candidates. Browsers name a handful per
/// network.
pub(in crate::rtc) const MAX_NAMED: usize = 64;
/// How many of those are checked at the same time: each takes about 14 datagrams until it fails. An ICE restart resets
/// the count.
pub(in crate::rtc) const MAX_CHECKED: usize = 16;
/// Limit of candidates checked again after restarts, over the whole call: str0m forgets none, and each takes about
/// 200 bytes. A phone that changes networks every hour, with four addresses in each, reaches it in ten days.
const MAX_TOTAL: usize = 1024;

/// The candidates of one call.
#[derive(Debug, Default)]
pub(in crate::rtc) struct Candidates {
    named: Vec<(SocketAddr, CandidateType)>,
    checked: Vec<SocketAddr>,
    total: usize,
    ignored: u64,
}

/// The decision about a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) enum Verdict {
    /// Check it.
    Check,
    /// It is already being checked.
    Known,
    /// It is not reachable from here, or exceeds a limit.
    Ignore,
}

impl Candidates {
    /// Decides on a candidate, and counts it. `ours` are our own addresses.
    pub(in crate::rtc) fn take(
        &mut self,
        address: SocketAddr,
        kind: CandidateType,
        ours: &[SocketAddr],
    ) -> Verdict {
        if self.checked.contains(&address) {
            return Verdict::Known;
        }
        // IPv4-mapped IPv6 addresses would use the wrong socket, and responses would not match.
        let usable = is_reachable(address, ours)
            && canonical(address).is_ipv4() == address.is_ipv4()
            && !ours.contains(&address)
            && ours.iter().any(|a| a.is_ipv4() == address.is_ipv4());
        let named = self.named.iter().any(|(known, _)| *known == address);
        if !usable || (!named && self.named.len() == MAX_NAMED) {
            self.ignored += 1;
            return Verdict::Ignore;
        }
        if !named {
            self.named.push((address, kind));
        }
        if self.checked.len() == MAX_CHECKED || self.total == MAX_TOTAL {
            self.ignored += 1;
            return Verdict::Ignore;
        }
        self.checked.push(address);
        self.total += 1;
        Verdict::Check
    }

    /// Records an address that datagrams come from; it may be one that was not named.
    pub(in crate::rtc) fn discover(&mut self, address: SocketAddr) {
        let named = self.named.iter().any(|(known, _)| *known == address);
        if !named && self.named.len() < MAX_NAMED {
            self.named.push((address, CandidateType::PeerReflexive));
        }
    }

    /// Returns the type of the candidate with this address.
    pub(in crate::rtc) fn type_of(&self, address: SocketAddr) -> CandidateType {
        let found = self.named.iter().find(|(named, _)| canonical(*named) == canonical(address));
        found.map_or(CandidateType::PeerReflexive, |(_, kind)| *kind)
    }

    /// Handles an ICE restart of the other side: its candidates are checked again.
    pub(in crate::rtc) fn restart(&mut self) {
        self.checked.clear();
    }

    pub(in crate::rtc) fn checked(&self) -> usize {
        self.checked.len()
    }

    pub(in crate::rtc) fn ignored(&self) -> u64 {
        self.ignored
    }
}

/// Whether a caller's address, named or observed, is a unicast address that we may send to. Loopback reaches services
/// that trust this machine, so it is only allowed if we offer a loopback address ourselves.
pub(crate) fn is_reachable(address: SocketAddr, ours: &[SocketAddr]) -> bool {
    let address = canonical(address);
    let loopback = ours.iter().any(|a| a.ip().is_loopback());
    if address.port() == 0 {
        return false;
    }
    match address.ip() {
        ip if ip.is_loopback() => loopback,
        // 0.0.0.0/8 is this host, 240.0.0.0/4 reserved, with broadcast at its end (RFC 6890 2.2.2).
        IpAddr::V4(ip) => !matches!(ip.octets()[0], 0 | 240..) && !ip.is_multicast(),
        // ::/96 is unspecified or an embedded IPv4 address; link-local needs a zone, which candidates
        // don't have.
        IpAddr::V6(ip) => {
            ip.segments()[..6] != [0; 6]
                && !ip.is_multicast()
                && !ip.is_unicast_link_local()
                && !is_nat64(ip.octets())
        }
    }
}

/// Whether an IPv6 address is a NAT64 address (RFC 6052 2.1) of an IPv4 address that would be refused.
fn is_nat64(octets: [u8; 16]) -> bool {
    let [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] = octets else { return false };
    let inner = Ipv4Addr::new(a, b, c, d);
    !is_reachable(SocketAddr::new(inner.into(), 1), &[])
}

/// Returns the address as str0m compares it: mapped IPv4 as IPv4, without scope or flow label.
pub(in crate::rtc) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::CandidateType::{Host, PeerReflexive, Relayed, ServerReflexive};
    use super::*;

    fn at(address: &str) -> SocketAddr {
        address.parse().expect("literal")
    }

    #[test]
    fn addresses_that_are_nobodys_many_peoples_or_our_own_machines_are_not_sent_to() {
        let table: &[(&str, bool, bool)] = &[
            // address, from afar, where we are on loopback ourselves
            ("198.51.100.7:5000", true, true),
            ("10.0.0.7:5000", true, true),
            ("192.168.1.7:5000", true, true),
            ("169.254.3.4:5000", true, true),
            ("100.64.0.1:5000", true, true),
            ("[2001:db8::7]:5000", true, true),
            ("[fd00::7]:5000", true, true),
            ("[::ffff:198.51.100.7]:5000", true, true),
            ("[64:ff9b::c633:6407]:5000", true, true),
            ("127.0.0.1:5000", false, true),
            ("127.9.9.9:5000", false, true),
            ("[::1]:5000", false, true),
            ("[::ffff:127.0.0.1]:5000", false, true),
            ("127.0.0.1:0", false, false),
            ("198.51.100.7:0", false, false),
            ("0.0.0.0:5000", false, false),
            ("0.1.2.3:5000", false, false),
            ("[::]:5000", false, false),
            ("[::ffff:0.0.0.0]:5000", false, false),
            ("[::7f00:1]:5000", false, false),
            ("255.255.255.255:5000", false, false),
            ("240.0.0.1:5000", false, false),
            ("[::ffff:255.255.255.255]:5000", false, false),
            ("224.0.0.251:5353", false, false),
            ("239.255.255.250:1900", false, false),
            ("[ff02::fb]:5353", false, false),
            ("[::ffff:224.0.0.251]:5353", false, false),
            ("[fe80::1]:5000", false, false),
            ("[64:ff9b::7f00:1]:5000", false, false),
            ("[64:ff9b::e000:fb]:5000", false, false),
        ];
        for (address, afar, loopback) in table {
            assert_eq!(is_reachable(at(address), &[at("192.0.2.1:4000")]), *afar, "{address} from afar");
            assert_eq!(is_reachable(at(address), &[at("127.0.0.1:4000")]), *loopback, "{address} from here");
        }
    }

    #[test]
    fn sixteen_are_checked_and_sixty_four_named_whatever_a_caller_claims() {
        let ours = [at("192.0.2.1:4000")];
        let mut candidates = Candidates::default();
        let mut checked = 0;
        for restart in 0..10 {
            for n in 0..1000 {
                let address = SocketAddr::from(([10, restart, (n >> 8) as u8, n as u8], 5000));
                checked += usize::from(candidates.take(address, Host, &ours) == Verdict::Check);
            }
            assert!(candidates.checked() <= MAX_CHECKED);
            candidates.restart();
        }
        // The first 64 were named before the first restart; 16 of them were checked.
        assert_eq!((checked, candidates.named.len()), (MAX_CHECKED, MAX_NAMED));
        assert_eq!(candidates.ignored(), 10_000 - 16);
    }

    #[test]
    fn the_same_candidates_again_cost_nothing_and_are_checked_again_after_a_restart() {
        let ours = [at("192.0.2.1:4000")];
        let mut candidates = Candidates::default();
        let theirs = at("198.51.100.7:5000");
        assert_eq!(candidates.take(theirs, Host, &ours), Verdict::Check);
        for _ in 0..100 {
            assert_eq!(candidates.take(theirs, Host, &ours), Verdict::Known);
        }
        for _ in 1..MAX_TOTAL {
            candidates.restart();
            assert_eq!(candidates.take(theirs, Host, &ours), Verdict::Check);
        }
        assert_eq!(candidates.ignored(), 0);
        candidates.restart();
        assert_eq!(candidates.take(theirs, Host, &ours), Verdict::Ignore, "too often");
    }

    #[test]
    fn our_own_addresses_and_those_of_another_family_are_of_no_use() {
        let ours = [at("192.0.2.1:4000")];
        let mut candidates = Candidates::default();
        assert_eq!(candidates.take(ours[0], Host, &ours), Verdict::Ignore);
        assert_eq!(candidates.take(at("[2001:db8::7]:5000"), Host, &ours), Verdict::Ignore);
        assert_eq!(candidates.take(at("[::ffff:198.51.100.7]:5000"), Host, &ours), Verdict::Ignore);
        assert_eq!(candidates.take(at("192.0.2.1:4001"), Host, &ours), Verdict::Check);
    }

    #[test]
    fn an_address_has_the_type_that_it_was_named_with_and_one_that_nobody_named_is_peer_reflexive() {
        let ours = [at("192.0.2.1:4000")];
        let mut candidates = Candidates::default();
        let [mapped, relayed, moved] = ["198.51.100.7:1", "198.51.100.7:2", "198.51.100.7:3"].map(at);
        candidates.take(mapped, ServerReflexive, &ours);
        candidates.take(relayed, Relayed, &ours);
        candidates.discover(relayed);
        candidates.discover(moved);
        candidates.take(moved, Host, &ours);
        let types = [mapped, relayed, moved, at("198.51.100.8:1")].map(|address| candidates.type_of(address));
        assert_eq!(types, [ServerReflexive, Relayed, PeerReflexive, PeerReflexive]);
        for n in 0..200 {
            candidates.discover(at(&format!("198.51.100.9:{}", n + 1)));
        }
        assert_eq!(candidates.named.len(), MAX_NAMED);
    }
}
