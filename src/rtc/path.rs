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
