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
    link: Link<T>,
}

/// A connection.
pub(crate) type Socket = Source<TcpStream>;

enum Link<T> {
    Own(Registered),
    Shared(Async<Arc<T>>),
}

impl<T: Pollable> Link<T> {
    /// At this reactor; without one, or if it has ended, at async-io's.
    fn new(io: &Arc<T>, reactor: Option<&Arc<Reactor>>) -> io::Result<Link<T>> {
        match reactor.map(|reactor| reactor.register(io)) {
            Some(Ok(registered)) => Ok(Link::Own(registered)),
            _ => Ok(Link::Shared(Async::new(io.clone())?)),
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
        let link = Link::new(&io, reactor)?;
        Ok(Source { io, link })
    }

    pub(crate) fn get_ref(&self) -> &T {
        &self.io
    }

    /// Ready when reading may succeed.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.settle()?;
        match &self.link {
            Link::Own(registered) => registered.poll(READ, cx).map(Ok),
            Link::Shared(io) => io.poll_readable(cx),
        }
    }

    /// Calls `act` when it may succeed, until it does not block. `exhausts` tells whether after this result the next call
    /// would block.
    #[cfg(feature = "server")]
    pub(crate) fn poll_read_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnMut(&T) -> io::Result<R>,
        exhausts: impl FnOnce(&R) -> bool,
    ) -> Poll<io::Result<R>> {
        self.poll_with(READ, cx, act, exhausts)
    }

    fn poll_with<R>(
        &mut self,
        way: Way,
        cx: &mut Context<'_>,
        mut act: impl FnMut(&T) -> io::Result<R>,
        exhausts: impl FnOnce(&R) -> bool,
    ) -> Poll<io::Result<R>> {
        self.settle()?;
        loop {
            if let Link::Own(registered) = &self.link {
                ready!(registered.poll(way, cx));
                registered.readiness().clear(way);
            }
            let result = act(&self.io);
            let blocks = matches!(&result, Err(e) if e.kind() == io::ErrorKind::WouldBlock);
            match &self.link {
                Link::Own(registered) if blocks => registered.readiness().blocked(way),
                Link::Own(registered) => {
                    if !result.as_ref().is_ok_and(exhausts) {
                        registered.readiness().restore(way);
                    }
                    return Poll::Ready(result);
                }
                Link::Shared(_) if !blocks => return Poll::Ready(result),
                Link::Shared(io) if way.is_read() => ready!(io.poll_readable(cx))?,
                Link::Shared(io) => ready!(io.poll_writable(cx))?,
            }
        }
    }

    /// Registers again if the reactor has ended.
    fn settle(&mut self) -> io::Result<()> {
        if let Link::Own(registered) = &self.link
            && registered.is_gone()
        {
            self.link = Link::new(&self.io, current().as_ref())?;
        }
        Ok(())
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
