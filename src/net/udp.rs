//! One UDP port for all viewers, over IPv4 and IPv6.
//!
//! A socket that listens on every address does not reveal at which of them a datagram arrived, but ICE must know: so
//! the kernel reports the address with each datagram (packet info), and gets one for each that is sent. A [`Transmit`]
//! of many datagrams is sent in one system call if the kernel can segment it (GSO), otherwise in several.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
#[cfg(feature = "camera")]
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use quinn_udp::{RecvMeta, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

use super::addresses;
use super::reactor::Source;
use crate::rtc::{LocalCandidate, Path, Transmit};

/// The kernel may deliver many datagrams of a sender in one buffer (GRO), of up to this many bytes.
const BUFFER: usize = 65_535;
/// Viewers send little, but many at once: their feedback on a frame. Memory is taken only where datagrams were.
const BUFFERS: usize = 16;
/// A key frame to many viewers at once; the kernel allows up to `net.core.wmem_max`.
const SOCKET_BUFFER: usize = 4 << 20;
/// How often to try again to get the port of the first address family in the second one.
const SAME_PORT_TRIES: usize = 16;
/// Consecutive errors after which a socket counts as broken.
const MAX_ERRORS: usize = 64;

/// A UDP port. One task polls it.
pub struct Udp {
    sockets: Vec<Half>,
    port: u16,
    /// [`BUFFERS`] of [`BUFFER`] bytes.
    buffers: Vec<u8>,
    /// What the system has not accepted yet.
    in_hand: Option<Transmit>,
    /// Bytes of the current transmit that are already sent.
    sent: usize,
    failed: u64,
}

/// A UDP port for further tasks. While it exists, the port is open.
#[cfg(feature = "camera")]
pub(crate) struct Port {
    /// Each with the address that it listens on.
    sockets: Vec<(Arc<UdpSocket>, IpAddr)>,
    port: u16,
}

#[cfg(feature = "camera")]
impl Port {
    /// The same port for another task, in file descriptors of its own: of one, only one task can wait until it accepts
    /// data.
    pub(crate) fn udp(&self) -> io::Result<Udp> {
        let again = |(socket, ip): &(Arc<UdpSocket>, _)| Half::new(socket.try_clone()?, *ip);
        let sockets = self.sockets.iter().map(again).collect::<io::Result<Vec<_>>>()?;
        Ok(Udp::of(sockets, self.port))
    }
}

/// The port in one address family.
struct Half {
    io: Source<UdpSocket>,
    state: UdpSocketState,
    /// Unspecified if it listens on every address.
    ip: IpAddr,
}

impl Udp {
    /// Binds a port (0 for any) on an address. A wildcard of either family means both, if the system has IPv6.
    pub fn bind(listen: SocketAddr) -> io::Result<Udp> {
        let sockets =
            if listen.ip().is_unspecified() { bind_both(listen.port())? } else { vec![Half::bind(listen)?] };
        let port = sockets[0].io.get_ref().local_addr()?.port();
        Ok(Udp::of(sockets, port))
    }

    fn of(sockets: Vec<Half>, port: u16) -> Udp {
        Udp { sockets, port, buffers: vec![0; BUFFER * BUFFERS], in_hand: None, sent: 0, failed: 0 }
    }

    /// The port for further tasks.
    #[cfg(feature = "camera")]
    pub(crate) fn port_for_others(&self) -> Port {
        let sockets = self.sockets.iter().map(|half| (half.io.share(), half.ip)).collect();
        Port { sockets, port: self.port }
    }

    /// The port number.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of datagrams that the system refused to send (no route, too long for the link, …). They are dropped:
    /// ICE finds another path, and RTP retransmits.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// The addresses at which viewers can reach this port: the one it listens on, or those of all interfaces. Loopback
    /// is left out unless there is nothing else. An IPv4 link-local address (169.254.0.0/16) counts if its interface
    /// has no better one; those of IPv6 never do.
    ///
    /// `advertised` is the public address of this port (behind a port forward or NAT); port 0 stands for this port. It
    /// is added to the first candidate of its family.
    pub fn local_candidates(&self, advertised: Option<SocketAddr>) -> io::Result<Vec<LocalCandidate>> {
        let machine = match self.sockets.iter().any(|half| half.ip.is_unspecified()) {
            true => addresses::of_this_machine()?,
            false => vec![],
        };
        let ips = self.sockets.iter().flat_map(|half| match half.ip.is_unspecified() {
            true => machine.iter().copied().filter(|ip| ip.is_ipv4() == half.ip.is_ipv4()).collect(),
            false => vec![half.ip],
        });
        let mut candidates: Vec<LocalCandidate> =
            ips.map(|ip| LocalCandidate { base: SocketAddr::new(ip, self.port), advertised: None }).collect();
        if let Some(mut outside) = advertised {
            if outside.port() == 0 {
                outside.set_port(self.port);
            }
            if let Some(c) = candidates.iter_mut().find(|c| c.base.is_ipv4() == outside.is_ipv4()) {
                c.advertised = Some(outside);
            }
        }
        Ok(candidates)
    }

    /// Receives datagrams: calls `on(path, payload)` for each. Ready if there were some; then poll it again. An error
    /// means that the port is lost.
    pub fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        mut on: impl FnMut(Path, &[u8]),
    ) -> Poll<io::Result<()>> {
        let mut came = false;
        for half in &mut self.sockets {
            came |= match half.poll_recv(cx, &mut self.buffers, self.port, &mut on) {
                Poll::Ready(result) => result.map(|()| true)?,
                Poll::Pending => false,
            };
        }
        if came { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Sends what `next` returns, which is only called while the system accepts data; ready when `next` returns
    /// nothing, pending while the system's buffer is full. So at most one transmit waits here. `next` should release
    /// its locks before it returns: none is needed during the system call.
    pub fn poll_transmits(
        &mut self,
        cx: &mut Context<'_>,
        mut next: impl FnMut() -> Option<Transmit>,
    ) -> Poll<()> {
        while let Some(transmit) = self.in_hand.take().or_else(&mut next) {
            if self.poll_send(cx, &transmit).is_pending() {
                self.in_hand = Some(transmit);
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Sends one transmit. Pending while the system's buffer is full: then call again with the same transmit. What the
    /// system refuses is dropped and counted.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, transmit: &Transmit) -> Poll<()> {
        let family = |half: &&mut Half| half.ip.is_ipv4() == transmit.path.local.is_ipv4();
        let Some(half) = self.sockets.iter_mut().find(family) else {
            self.failed += 1;
            return Poll::Ready(());
        };
        while self.sent < transmit.data.len() {
            let rest = &transmit.data[self.sent..];
            let segment = transmit.segment.unwrap_or(rest.len()).max(1);
            let segments = half.state.max_gso_segments().max(1);
            let piece = &rest[..rest.len().min(segment.saturating_mul(segments))];
            match ready!(half.poll_send(cx, transmit, piece, segment)) {
                Ok(()) => self.sent += piece.len(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // The driver cannot segment: quinn-udp has noticed, and sends datagrams one by one.
                Err(_) if piece.len() > segment && half.state.max_gso_segments() < segments => {}
                Err(e) => {
                    log::debug!("cannot send a datagram: {}", e.kind());
                    self.failed += 1;
                    self.sent += piece.len();
                }
            }
        }
        self.sent = 0;
        Poll::Ready(())
    }
}

impl std::fmt::Debug for Udp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Udp").field("port", &self.port).field("failed", &self.failed).finish()
    }
}

impl Half {
    fn bind(address: SocketAddr) -> io::Result<Half> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?; // IPv4 has a socket of its own on the same port
        }
        socket.bind(&address.into())?;
        // A larger buffer is better, but the system's default also works.
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
        Half::new(socket.into(), address.ip())
    }

    fn new(socket: UdpSocket, ip: IpAddr) -> io::Result<Half> {
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Half { io: Source::waiting(socket), state, ip })
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut [u8],
        port: u16,
        on: &mut impl FnMut(Path, &[u8]),
    ) -> Poll<io::Result<()>> {
        let Half { io, state, ip: own } = self;
        let mut meta = [RecvMeta::default(); BUFFERS];
        for _ in 0..MAX_ERRORS {
            let receive = |socket: &UdpSocket| {
                let mut slices = buffers.chunks_exact_mut(BUFFER).map(IoSliceMut::new);
                let mut slices: [IoSliceMut<'_>; BUFFERS] =
                    std::array::from_fn(|_| slices.next().expect("as many as buffers"));
                state.recv(socket.into(), &mut slices, &mut meta)
            };
            let exhausts = |n: &usize| *n < BUFFERS.min(quinn_udp::BATCH_SIZE);
            let n = match ready!(io.poll_read_with(cx, receive, exhausts)) {
                Ok(n) => n,
                // An error about an earlier datagram (port unreachable and the like), or a signal.
                Err(e) => {
                    log::debug!("cannot receive a datagram: {}", e.kind());
                    continue;
                }
            };
            for (meta, buffer) in meta.iter().zip(buffers.chunks_exact(BUFFER)).take(n) {
                let ip = if own.is_unspecified() { meta.dst_ip } else { Some(*own) };
                let Some(ip) = ip else { continue };
                for datagram in buffer[..meta.len.min(buffer.len())].chunks(meta.stride.max(1)) {
                    on(Path::udp(SocketAddr::new(ip, port), meta.addr), datagram);
                }
            }
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(io::Error::other("the UDP socket keeps failing")))
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        transmit: &Transmit,
        piece: &[u8],
        segment: usize,
    ) -> Poll<io::Result<()>> {
        let out = quinn_udp::Transmit {
            destination: transmit.path.remote,
            ecn: None,
            contents: piece,
            segment_size: (piece.len() > segment).then_some(segment),
            src_ip: self.ip.is_unspecified().then_some(transmit.path.local.ip()),
        };
        self.io.poll_write_with(cx, |socket| self.state.try_send(socket.into(), &out))
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        self.io.forget();
    }
}

/// Both families on one port; only IPv4 if the system has no IPv6.
fn bind_both(port: u16) -> io::Result<Vec<Half>> {
    let mut tries = SAME_PORT_TRIES;
    loop {
        let v4 = Half::bind((Ipv4Addr::UNSPECIFIED, port).into())?;
        let given = v4.io.get_ref().local_addr()?.port();
        match Half::bind((Ipv6Addr::UNSPECIFIED, given).into()) {
            Ok(v6) => return Ok(vec![v4, v6]),
            // The port we got is in use in the other family: take another one.
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && port == 0 && tries > 0 => tries -= 1,
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => return Err(e),
            Err(e) => {
                log::debug!("no IPv6: {}", e.kind());
                return Ok(vec![v4]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::net::block_on;

    /// The next `n` datagrams of a port: (our address, theirs, payload).
    fn receive(udp: &mut Udp, n: usize) -> Vec<(SocketAddr, SocketAddr, Vec<u8>)> {
        let mut got = vec![];
        block_on(poll_fn(|cx| {
            while got.len() < n {
                ready!(udp.poll_recv(cx, |path, data| got.push((path.local, path.remote, data.to_vec()))))
                    .expect("open");
            }
            Poll::Ready(())
        }));
        got
    }

    fn send(udp: &mut Udp, transmit: &Transmit) {
        block_on(poll_fn(|cx| udp.poll_send(cx, transmit)));
    }

    #[test]
    fn a_wildcard_port_reports_the_destination_address_and_answers_from_it() {
        let mut udp = Udp::bind((Ipv4Addr::UNSPECIFIED, 0).into()).expect("a free port");
        for ip in [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)] {
            let peer = UdpSocket::bind("127.0.0.1:0").expect("a free port");
            peer.send_to(b"hello", (ip, udp.port())).expect("loopback");
            let (local, from, data) = receive(&mut udp, 1).remove(0);
            assert_eq!(local, SocketAddr::from((ip, udp.port())));
            assert_eq!((from, &data[..]), (peer.local_addr().expect("bound"), &b"hello"[..]));
            send(&mut udp, &Transmit { path: Path::udp(local, from), segment: None, data: b"yes".to_vec() });
            let mut buffer = [0; 10];
            let (n, from) = peer.recv_from(&mut buffer).expect("an answer");
            assert_eq!((&buffer[..n], from), (&b"yes"[..], local));
        }
    }

    #[test]
    fn both_families_share_the_port() {
        let mut udp = Udp::bind((Ipv6Addr::UNSPECIFIED, 0).into()).expect("a free port");
        let Ok(peer) = UdpSocket::bind("[::1]:0") else {
            return eprintln!("SKIPPED: no IPv6 here");
        };
        peer.send_to(b"six", (Ipv6Addr::LOCALHOST, udp.port())).expect("loopback");
        assert_eq!(receive(&mut udp, 1)[0].0, SocketAddr::from((Ipv6Addr::LOCALHOST, udp.port())));
        let peer = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        peer.send_to(b"four", (Ipv4Addr::LOCALHOST, udp.port())).expect("loopback");
        assert_eq!(receive(&mut udp, 1)[0].0, SocketAddr::from((Ipv4Addr::LOCALHOST, udp.port())));
    }

    #[test]
    fn a_batch_arrives_as_its_datagrams() {
        let mut a = Udp::bind("127.0.0.1:0".parse().expect("literal")).expect("a free port");
        let mut b = Udp::bind("127.0.0.1:0".parse().expect("literal")).expect("a free port");
        let (local, to) = (
            ("127.0.0.1".parse::<IpAddr>().expect("literal"), a.port()).into(),
            ([127, 0, 0, 1], b.port()).into(),
        );
        for count in [1, 2, 7, 40, 150] {
            let data: Vec<u8> = (0..count * 400 - 100).map(|i| (i / 400) as u8).collect();
            let transmit = Transmit { path: Path::udp(local, to), segment: Some(400), data };
            send(&mut a, &transmit);
            let got = receive(&mut b, count);
            let expected: Vec<&[u8]> = transmit.datagrams().collect();
            assert_eq!(got.iter().map(|g| &g.2[..]).collect::<Vec<_>>(), expected, "{count}");
            assert!(got.iter().all(|g| g.0 == to && g.1 == local));
        }
        assert_eq!(a.failed(), 0);
    }

    #[test]
    fn datagrams_that_cannot_be_sent_are_dropped_and_counted() {
        let mut udp = Udp::bind("127.0.0.1:0".parse().expect("literal")).expect("a free port");
        let local = SocketAddr::from(([127, 0, 0, 1], udp.port()));
        let to = local;
        send(&mut udp, &Transmit { path: Path::udp(local, to), segment: None, data: vec![0; 70_000] });
        let six = "[::1]:9".parse().expect("literal");
        send(&mut udp, &Transmit { path: Path::udp(six, six), segment: None, data: vec![0] });
        assert_eq!(udp.failed(), 2);
        send(&mut udp, &Transmit { path: Path::udp(local, to), segment: None, data: vec![7] });
        assert_eq!(receive(&mut udp, 1)[0].2, [7]);
    }

    #[cfg(feature = "camera")]
    #[test]
    fn further_tasks_send_from_the_same_port_which_closes_with_the_last() {
        let first = Udp::bind("127.0.0.1:0".parse().expect("literal")).expect("a free port");
        let local = SocketAddr::from(([127, 0, 0, 1], first.port()));
        let port = first.port_for_others();
        drop(first);
        let mut second = port.udp().expect("a file descriptor is free");
        let mut peer = Udp::bind("127.0.0.1:0".parse().expect("literal")).expect("a free port");
        let to = SocketAddr::from(([127, 0, 0, 1], peer.port()));
        send(&mut second, &Transmit { path: Path::udp(local, to), segment: None, data: b"yes".to_vec() });
        assert_eq!(receive(&mut peer, 1), [(to, local, b"yes".to_vec())]);
        drop(port);
        assert!(Udp::bind(local).is_err(), "the second task has it");
        drop(second);
        Udp::bind(local).expect("nobody has it");
    }

    #[test]
    fn a_taken_port_is_an_error() {
        let udp = Udp::bind((Ipv4Addr::UNSPECIFIED, 0).into()).expect("a free port");
        let again = Udp::bind((Ipv4Addr::UNSPECIFIED, udp.port()).into());
        assert_eq!(again.expect_err("taken").kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn an_advertised_address_has_a_base_of_its_family() {
        let udp = Udp::bind("127.0.0.1:0".parse().expect("literal")).expect("a free port");
        let base = SocketAddr::from(([127, 0, 0, 1], udp.port()));
        let outside = |s: &str| udp.local_candidates(Some(s.parse().expect("literal"))).expect("listed");
        let over = |advertised| [LocalCandidate { base, advertised }];
        assert_eq!(outside("203.0.113.9:41000"), over(Some("203.0.113.9:41000".parse().expect("literal"))));
        assert_eq!(outside("203.0.113.9:0"), over(Some(SocketAddr::from(([203, 0, 113, 9], udp.port())))));
        assert_eq!(outside("[2001:db8::9]:1"), over(None));
    }

    #[test]
    fn transmits_are_requested_one_by_one_until_none_is_left() {
        let mut a = Udp::bind("127.0.0.1:0".parse().expect("literal")).expect("a free port");
        let mut b = Udp::bind("127.0.0.1:0".parse().expect("literal")).expect("a free port");
        let path = Path::udp(([127, 0, 0, 1], a.port()).into(), ([127, 0, 0, 1], b.port()).into());
        let mut asked = 0;
        block_on(poll_fn(|cx| {
            a.poll_transmits(cx, || {
                asked += 1;
                (asked <= 10).then(|| Transmit { path, segment: None, data: vec![asked] })
            })
        }));
        assert_eq!(asked, 11);
        let got: Vec<u8> = receive(&mut b, 10).iter().map(|(.., data)| data[0]).collect();
        assert_eq!(got, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert!(a.in_hand.is_none());
    }
}
