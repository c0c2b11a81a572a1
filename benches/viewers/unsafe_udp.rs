//! UDP by the calls that the standard library lacks: many datagrams in one call, with the kernel's times of arrival and
//! its count of drops; and trains of equal datagrams that the kernel cuts (GSO).

use std::io;
use std::mem::{size_of, size_of_val, zeroed};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use crate::clock::{self, Nanos, SECOND};

/// A socket of loopback with large buffers, whose datagrams have times.
pub(crate) fn socket(buffer: i32) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("files enough may be open");
    socket.set_nonblocking(true).expect("a socket can be polled");
    for (option, value) in [
        (libc::SO_RCVBUF, buffer),
        (libc::SO_SNDBUF, buffer),
        // These work for root, beyond the system's limit.
        (libc::SO_RCVBUFFORCE, buffer),
        (libc::SO_SNDBUFFORCE, buffer),
        (libc::SO_TIMESTAMPNS, 1),
        (libc::SO_RXQ_OVFL, 1),
    ] {
        let size = size_of_val(&value) as libc::socklen_t;
        // SAFETY: the pointer is to an integer of the size that is passed, which lives through the call.
        unsafe {
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const value).cast(), size)
        };
    }
    socket
}

/// Datagrams of one call.
const BATCH: usize = 64;
/// Longer than any datagram here.
const SIZE: usize = 2048;
const CONTROL: usize = 12;

/// The buffers of a call that receives, for any socket.
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    control: Vec<[u64; CONTROL]>,
    names: Vec<libc::sockaddr_in>,
    parts: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

pub(crate) struct Datagram<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) from: SocketAddr,
    pub(crate) at: Nanos,
    /// How many the kernel has dropped so far, because the socket was full.
    pub(crate) dropped: u32,
}

impl Inbox {
    pub(crate) fn new() -> Inbox {
        // SAFETY: all of these are plain data, for which zeros are valid.
        let (name, part, header) = unsafe { (zeroed(), zeroed(), zeroed()) };
        Inbox {
            bytes: vec![0; BATCH * SIZE],
            control: vec![[0; CONTROL]; BATCH],
            names: vec![name; BATCH],
            parts: vec![part; BATCH],
            headers: vec![header; BATCH],
        }
    }

    /// Receives what waits, and hands out each datagram.
    pub(crate) fn receive(&mut self, socket: &UdpSocket, mut each: impl FnMut(Datagram<'_>)) {
        loop {
            let count = self.call(socket);
            (0..count).for_each(|i| each(self.datagram(i)));
            if count < BATCH {
                return;
            }
        }
    }

    fn call(&mut self, socket: &UdpSocket) -> usize {
        for (i, bytes) in self.bytes.chunks_exact_mut(SIZE).enumerate() {
            self.parts[i] = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: SIZE };
            let header = &mut self.headers[i].msg_hdr;
            header.msg_name = (&raw mut self.names[i]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            header.msg_iov = &raw mut self.parts[i];
            header.msg_iovlen = 1;
            header.msg_control = self.control[i].as_mut_ptr().cast();
            header.msg_controllen = size_of::<[u64; CONTROL]>() as _;
        }
        // SAFETY: each of the headers points into vectors of `self`, which stay where they are through the call.
        let count = unsafe {
            let headers = self.headers.as_mut_ptr();
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers,
                BATCH as _,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        usize::try_from(count).unwrap_or(0)
    }

    fn datagram(&self, i: usize) -> Datagram<'_> {
        let header = &self.headers[i];
        let (mut at, mut dropped) = (None, 0);
        // SAFETY: the kernel has filled the control buffer, whose length is in the header; the macros stay inside it, and
        // the data of these two kinds are of these two types.
        unsafe {
            let mut message = libc::CMSG_FIRSTHDR(&header.msg_hdr);
            while !message.is_null() {
                let data = libc::CMSG_DATA(message);
                match ((*message).cmsg_level, (*message).cmsg_type) {
                    (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                        let time = data.cast::<libc::timespec>().read_unaligned();
                        at = Some(time.tv_sec as Nanos * SECOND + time.tv_nsec as Nanos);
                    }
                    (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => dropped = data.cast::<u32>().read_unaligned(),
                    _ => {}
                }
                message = libc::CMSG_NXTHDR(&header.msg_hdr, message);
            }
        }
        let name = &self.names[i];
        let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
        Datagram {
            bytes: &self.bytes[i * SIZE..][..header.msg_len as usize],
            from: SocketAddrV4::new(ip, u16::from_be(name.sin_port)).into(),
            at: at.unwrap_or_else(clock::now),
            dropped,
        }
    }
}

/// More leave at once when so many bytes wait: what stays in the CPU's cache.
const FULL: usize = 96 << 10;
/// Limits of the kernel for a train: `UDP_MAX_SEGMENTS` was 64 at first, and a datagram has 16 bits for its length.
const CARS: usize = 64;
const TRAIN: usize = 65_000;

/// Datagrams to be sent, in trains where their sizes allow it.
#[derive(Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    trains: Vec<Train>,
    /// Trains that the kernel refused.
    pub(crate) refused: u64,
}

struct Train {
    to: SocketAddrV4,
    start: usize,
    len: usize,
    /// The size of each car but the last, which may be shorter.
    car: usize,
    cars: usize,
    /// A shorter one was put at its end.
    ended: bool,
}

impl Outbox {
    /// Room for a datagram of this length, which the caller fills.
    pub(crate) fn slot(&mut self, to: SocketAddr, len: usize) -> &mut [u8] {
        let SocketAddr::V4(to) = to else { panic!("sockets here are of IPv4") };
        let start = self.bytes.len();
        match self.trains.last_mut() {
            Some(last)
                if last.to == to
                    && !last.ended
                    && len <= last.car
                    && last.cars < CARS
                    && last.len + len <= TRAIN =>
            {
                (last.len, last.cars, last.ended) = (last.len + len, last.cars + 1, len < last.car);
            }
            _ => self.trains.push(Train { to, start, len, car: len, cars: 1, ended: false }),
        }
        self.bytes.resize(start + len, 0);
        &mut self.bytes[start..]
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }

    pub(crate) fn send(&mut self, socket: &UdpSocket) {
        let mut names: Vec<_> = self.trains.iter().map(|train| name(train.to)).collect();
        let mut parts: Vec<_> = self.trains.iter().map(|train| self.part(train)).collect();
        let mut controls = vec![[0u64; 3]; self.trains.len()];
        // SAFETY: a header is plain data, for which zeros are valid.
        let mut headers: Vec<libc::mmsghdr> = self.trains.iter().map(|_| unsafe { zeroed() }).collect();
        for (i, train) in self.trains.iter().enumerate() {
            let header = &mut headers[i].msg_hdr;
            header.msg_name = (&raw mut names[i]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            header.msg_iov = &raw mut parts[i];
            header.msg_iovlen = 1;
            if train.cars > 1 {
                header.msg_control = controls[i].as_mut_ptr().cast();
                // SAFETY: the control buffer has room for one message with a number of 16 bits, which takes 24 bytes.
                unsafe {
                    header.msg_controllen = libc::CMSG_SPACE(2) as _;
                    let message = libc::CMSG_FIRSTHDR(header);
                    (*message).cmsg_level = libc::SOL_UDP;
                    (*message).cmsg_type = libc::UDP_SEGMENT;
                    (*message).cmsg_len = libc::CMSG_LEN(2) as _;
                    libc::CMSG_DATA(message).cast::<u16>().write_unaligned(train.car as u16);
                }
            }
        }
        let mut rest = &mut headers[..];
        while !rest.is_empty() {
            // SAFETY: each of the headers points into vectors that outlive the call, and into `self.bytes`.
            let count = unsafe {
                let (first, len) = (rest.as_mut_ptr(), rest.len().min(1024));
                libc::sendmmsg(socket.as_raw_fd(), first, len as _, libc::MSG_DONTWAIT as _)
            };
            let done = usize::try_from(count).unwrap_or_else(|_| {
                assert_ne!(io::Error::last_os_error().raw_os_error(), Some(libc::EINVAL), "a wrong header");
                self.refused += 1;
                1
            });
            rest = &mut rest[done.max(1)..];
        }
        self.trains.clear();
        self.bytes.clear();
    }

    fn part(&self, train: &Train) -> libc::iovec {
        let bytes = &self.bytes[train.start..][..train.len];
        libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
    }
}

fn name(to: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: to.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*to.ip()).to_be() },
        sin_zero: [0; 8],
    }
}
