//! By which way datagrams come and go.

use std::net::SocketAddr;

use crate::rtc::session::candidates::canonical;

/// What carries the datagrams of a [`Path`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Protocol {
    /// Each in a datagram of UDP.
    Udp,
}

/// A way between us and a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// What carries it.
    pub proto: Protocol,
    /// Our address, with the port; never a wildcard. To send from, it is the base of a local candidate.
    pub local: SocketAddr,
    /// The other side's address, as we see it.
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
