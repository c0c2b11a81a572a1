//! A socket at the reactor of its thread, or at `async-io`'s.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
#[cfg(not(windows))]
use std::os::fd::AsFd as Pollable;
#[cfg(windows)]
use std::os::windows::io::AsSocket as Pollable;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};
use smol::Async;

use super::epoll::Registered;
use super::readiness::{READ, WRITE, Way};
use super::{Reactor, current};

pub(crate) struct Source<T> {
    io: Arc<T>,
    /// `None` until it is polled.
    link: Option<Link<T>>,
    watch: Watch,
}

/// A connection.
pub(crate) type Socket = Source<TcpStream>;

/// What the system reports.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Watch {
    /// Both directions.
    Both,
    /// What is waited for: reading from the first time on, and writing while it blocks. Of a UDP socket, each datagram
    /// that has left its buffer would be an event.
    Waiting,
}

enum Link<T> {
    Own(Registered),
    Shared {
        io: Async<Arc<T>>,
        /// The next read would block.
        exhausted: bool,
    },
}

impl<T: Pollable> Link<T> {
    /// At this reactor; without one, or if it has ended, at async-io's.
    fn new(io: &Arc<T>, reactor: Option<&Arc<Reactor>>, watch: Watch) -> io::Result<Link<T>> {
        match reactor.map(|reactor| reactor.register(io, watch)) {
            Some(Ok(registered)) => Ok(Link::Own(registered)),
            _ => Ok(Link::Shared { io: Async::new(io.clone())?, exhausted: false }),
        }
    }

    /// Registers it when it is polled first, and again if the reactor has ended.
    fn settle<'a>(link: &'a mut Option<Link<T>>, io: &Arc<T>, watch: Watch) -> io::Result<&'a mut Link<T>> {
        if matches!(link, Some(Link::Own(registered)) if registered.is_gone()) {
            *link = None;
        }
        match link {
            Some(link) => Ok(link),
            none => Ok(none.insert(Link::new(io, current().as_ref(), watch)?)),
        }
    }
}

impl<T: Pollable> Source<T> {
    /// At the reactor of this thread.
    pub(crate) fn new(io: T) -> io::Result<Source<T>> {
        Source::at(io, current().as_ref())
    }

    /// At this reactor, or at async-io's.
    pub(crate) fn at(io: T, reactor: Option<&Arc<Reactor>>) -> io::Result<Source<T>> {
        let io = Arc::new(io);
        let link = Link::new(&io, reactor, Watch::Both)?;
        Ok(Source { io, link: Some(link), watch: Watch::Both })
    }

    /// At the reactor of the thread that polls it first, and without [`Watch::Both`].
    #[cfg(feature = "udp")]
    pub(crate) fn waiting(io: T) -> Source<T> {
        Source { io: Arc::new(io), link: None, watch: Watch::Waiting }
    }

    pub(crate) fn get_ref(&self) -> &T {
        &self.io
    }

    #[cfg(feature = "camera")]
    pub(crate) fn share(&self) -> Arc<T> {
        self.io.clone()
    }

    /// Ends the registration in the system, which otherwise lasts as long as other descriptors of the same socket.
    #[cfg(feature = "udp")]
    pub(crate) fn forget(&mut self) {
        if let Some(Link::Own(registered)) = &self.link.take() {
            registered.forget(&self.io);
        }
    }

    /// Calls `act` when it may succeed, until it does not block. `exhausts` tells whether after this result the next call
    /// would block.
    #[cfg(any(feature = "server", feature = "udp"))]
    pub(crate) fn poll_read_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnMut(&T) -> io::Result<R>,
        exhausts: impl FnOnce(&R) -> bool,
    ) -> Poll<io::Result<R>> {
        self.poll_with(READ, cx, act, exhausts)
    }

    /// Calls `act` when it may succeed, until it does not block.
    #[cfg(feature = "udp")]
    pub(crate) fn poll_write_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_with(WRITE, cx, act, |_| false)
    }

    fn poll_with<R>(
        &mut self,
        way: Way,
        cx: &mut Context<'_>,
        mut act: impl FnMut(&T) -> io::Result<R>,
        exhausts: impl FnOnce(&R) -> bool,
    ) -> Poll<io::Result<R>> {
        let Source { io, link, watch } = self;
        let link = Link::settle(link, io, *watch)?;
        loop {
            match link {
                Link::Own(registered) => {
                    if way.is_read() {
                        registered.watch(&*io, way)?;
                    }
                    ready!(registered.poll(way, cx));
                    registered.readiness().clear(way);
                }
                Link::Shared { io, exhausted } if *exhausted && way.is_read() => {
                    ready!(io.poll_readable(cx))?;
                    *exhausted = false;
                }
                Link::Shared { .. } => {}
            }
            let result = act(io);
            let blocks = matches!(&result, Err(e) if e.kind() == io::ErrorKind::WouldBlock);
            match link {
                Link::Own(registered) if blocks => {
                    registered.readiness().blocked(way);
                    registered.watch(&*io, way)?;
                }
                Link::Shared { exhausted, .. } if blocks && way.is_read() && *watch == Watch::Waiting => {
                    *exhausted = true;
                }
                Link::Shared { io, .. } if blocks && way.is_read() => ready!(io.poll_readable(cx))?,
                Link::Shared { io, .. } if blocks => ready!(io.poll_writable(cx))?,
                Link::Own(registered) => {
                    if !result.as_ref().is_ok_and(exhausts) {
                        registered.readiness().restore(way);
                    }
                    if *watch == Watch::Waiting && !way.is_read() {
                        registered.ignore(&*io, way)?;
                    }
                    return Poll::Ready(result);
                }
                Link::Shared { exhausted, .. } => {
                    *exhausted |= way.is_read() && result.as_ref().is_ok_and(exhausts);
                    return Poll::Ready(result);
                }
            }
        }
    }
}

impl Socket {
    /// A connection that was made with async-io, at the reactor of this thread.
    #[cfg(any(feature = "client", feature = "redis"))]
    pub(crate) fn adopt(tcp: Async<TcpStream>) -> io::Result<Socket> {
        Socket::new(tcp.into_inner()?)
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let all = buf.len();
        // Less than asked for was all that there was (epoll(7), question 9). Zero is the end, which is reported again.
        let exhausts = |n: &usize| *n > 0 && *n < all;
        self.get_mut().poll_with(READ, cx, |mut tcp| tcp.read(buf), exhausts)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_with(WRITE, cx, |mut tcp| tcp.write(buf), |_| false)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_with(WRITE, cx, |mut tcp| tcp.write_vectored(bufs), |_| false)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
