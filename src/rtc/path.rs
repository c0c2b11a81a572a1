//! The network path of a datagram.

use std::net::SocketAddr;

use crate::rtc::session::candidates::canonical;

/// The transport protocol of a [`Path`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Protocol {
    /// UDP.
    Udp,
}

impl Protocol {
    /// Its name in candidates.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Udp => "udp",
        }
    }
}

/// The type of a candidate (RFC 8445, 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CandidateType {
    /// An address of the machine itself.
    Host,
    /// The address that a NAT gave it, as a STUN server sees it.
    ServerReflexive,
    /// An address that nobody named, and that datagrams came from: a NAT's, or one that a browser keeps to itself.
    PeerReflexive,
    /// A TURN server's.
    Relayed,
}

impl CandidateType {
    /// Its name in candidates (RFC 8839, 5.1).
    pub fn as_str(self) -> &'static str {
        match self {
            CandidateType::Host => "host",
            CandidateType::ServerReflexive => "srflx",
            CandidateType::PeerReflexive => "prflx",
            CandidateType::Relayed => "relay",
        }
    }

    /// That of a candidate attribute.
    pub(in crate::rtc) fn of(attribute: &str) -> CandidateType {
        match attribute.split_whitespace().skip_while(|word| *word != "typ").nth(1) {
            Some("srflx") => CandidateType::ServerReflexive,
            Some("prflx") => CandidateType::PeerReflexive,
            Some("relay") => CandidateType::Relayed,
            _ => CandidateType::Host,
        }
    }
}

/// Which kind of path media takes, without its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathInfo {
    /// The transport protocol between us and the remote candidate; behind a TURN server it may be another.
    pub protocol: Protocol,
    /// The type of our candidate: always [`CandidateType::Host`], since a forwarded port is one of the host's, too.
    pub local: CandidateType,
    /// The type of the other side's.
    pub remote: CandidateType,
}

impl PathInfo {
    /// A path over UDP.
    pub fn udp(local: CandidateType, remote: CandidateType) -> PathInfo {
        PathInfo { protocol: Protocol::Udp, local, remote }
    }
}

/// A network path between us and a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// The transport protocol.
    pub proto: Protocol,
    /// Our address and port, never a wildcard. To send from it, it must be the base of a local candidate.
    pub local: SocketAddr,
    /// The other side's address and port, as seen from here.
    pub remote: SocketAddr,
}

impl Path {
    /// A path over UDP.
    pub fn udp(local: SocketAddr, remote: SocketAddr) -> Path {
        Path { proto: Protocol::Udp, local, remote }
    }

    /// With addresses as str0m compares them.
    pub(in crate::rtc) fn canonical(self) -> Path {
        Path { proto: self.proto, local: canonical(self.local), remote: canonical(self.remote) }
    }
}

#[cfg(test)]
mod tests {
    use super::CandidateType;

    #[test]
    fn a_candidate_says_its_type() {
        for name in ["host", "srflx", "prflx", "relay"] {
            let line = format!("candidate:typ 1 udp 2113937151 198.51.100.7 50000 typ {name} generation 0");
            assert_eq!(CandidateType::of(&line).as_str(), name);
        }
        assert_eq!(CandidateType::of("candidate:1 1 udp 1 198.51.100.7 50000 typ"), CandidateType::Host);
    }
}
