//! Notices that the addresses of this machine change.

use std::io;
use std::task::{Context, Poll};

/// Reports when an address or a link of this machine comes or goes. Only on Linux, by its routing socket (rtnetlink(7)).
#[derive(Debug)]
pub(crate) struct Changes {
    #[cfg(target_os = "linux")]
    socket: smol::Async<std::os::fd::OwnedFd>,
}

impl Changes {
    #[cfg(target_os = "linux")]
    pub(crate) fn new() -> io::Result<Changes> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, netlink, socket_with};
        // Protocol 0 is NETLINK_ROUTE. RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR of linux/rtnetlink.h: an
        // address that is there already counts once its link has a carrier.
        const GROUPS: u32 = 0x1 | 0x10 | 0x100;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &netlink::SocketAddrNetlink::new(0, GROUPS))?;
        Ok(Changes { socket: smol::Async::new_nonblocking(socket)? })
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn new() -> io::Result<Changes> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Ready if addresses may be others than before; then poll it again.
    #[cfg(target_os = "linux")]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        use rustix::net::{RecvFlags, recv};
        let mut came = false;
        let mut message = [0; 4096];
        loop {
            match recv(self.socket.get_ref(), &mut message[..], RecvFlags::DONTWAIT) {
                // What changed is asked anew, so messages that were lost for want of room (ENOBUFS) say as much.
                Ok(_) | Err(rustix::io::Errno::NOBUFS) => came = true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) if came => return Poll::Ready(()),
                Err(rustix::io::Errno::AGAIN) => {
                    if std::task::ready!(self.socket.poll_readable(cx)).is_err() {
                        return Poll::Pending;
                    }
                }
                Err(_) => return Poll::Pending,
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}
