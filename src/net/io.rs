//! A byte stream: TCP, or TLS over it, read through a buffer that all connections of a thread share.
//!
//! A WebSocket library that reads into a buffer of its own either keeps a large one for each connection,
//! or asks the system for every few bytes: with 1 KiB it made 1.8 calls a message of 200 bytes. So the
//! system fills one large buffer, the connection whose turn it is empties it, and an idle one keeps nothing.

use std::cell::RefCell;
use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};
use smol::Async;

/// What is read in one call: some fifty signalling messages, or the largest TLS record.
const SCRATCH: usize = 16 << 10;

thread_local! {
    static SHARED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(crate) struct Io {
    stream: Stream,
    /// What was read and not taken yet, from `taken` on; without capacity where there is none.
    held: Vec<u8>,
    taken: usize,
    /// The last call gave less than was asked for, so the socket is empty, and the next call in vain.
    drained: bool,
}

enum Stream {
    Plain(Async<TcpStream>),
    #[cfg(feature = "tls")]
    Tls(Box<futures_rustls::TlsStream<Async<TcpStream>>>),
}

macro_rules! each {
    ($self:ident, $io:ident => $do:expr) => {
        match &mut $self.get_mut().stream {
            Stream::Plain($io) => $do,
            #[cfg(feature = "tls")]
            Stream::Tls($io) => $do,
        }
    };
}

impl Io {
    pub fn plain(tcp: Async<TcpStream>) -> Io {
        Io::new(Stream::Plain(tcp))
    }

    #[cfg(feature = "tls")]
    pub fn tls(tls: futures_rustls::TlsStream<Async<TcpStream>>) -> Io {
        Io::new(Stream::Tls(Box::new(tls)))
    }

    fn new(stream: Stream) -> Io {
        Io { stream, held: Vec::new(), taken: 0, drained: false }
    }

    fn take_held(&mut self, buf: &mut [u8]) -> usize {
        let rest = &self.held[self.taken..];
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        self.taken += n;
        if self.taken == self.held.len() {
            (self.held, self.taken) = (Vec::new(), 0);
        }
        n
    }

    /// Fills the shared buffer and deals it out: to `buf` first, the rest is held.
    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.drained
            && let Stream::Plain(tcp) = &self.stream
        {
            ready!(tcp.poll_readable(cx))?;
        }
        SHARED.with_borrow_mut(|shared| {
            shared.resize(SCRATCH, 0);
            let n = ready!(match &mut self.stream {
                Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, shared),
                #[cfg(feature = "tls")]
                Stream::Tls(tls) => Pin::new(tls).poll_read(cx, shared),
            })?;
            // Zero is the end, which is told again as often as somebody asks.
            self.drained = n > 0 && n < SCRATCH;
            let now = n.min(buf.len());
            buf[..now].copy_from_slice(&shared[..now]);
            self.held.extend_from_slice(&shared[now..n]);
            Poll::Ready(Ok(now))
        })
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let io = self.get_mut();
        if io.held.is_empty() { io.poll_fill(cx, buf) } else { Poll::Ready(Ok(io.take_held(buf))) }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_close(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;
    use futures_lite::{AsyncReadExt, AsyncWriteExt};
    use std::net::TcpListener;

    #[test]
    fn what_is_read_in_small_pieces_is_all_that_was_written() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let there = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (here, _) = listener.accept().expect("one is coming");
        let [mut here, there] = [here, there].map(|tcp| Io::plain(Async::new(tcp).expect("a socket")));
        let sent: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        block_on(async {
            let writing = async {
                let mut there = there;
                for part in sent.chunks(7_001) {
                    there.write_all(part).await.expect("somebody reads");
                }
                there.close().await.expect("open");
            };
            let reading = async {
                let (mut got, mut part, mut size) = (Vec::new(), [0; 997], 1);
                loop {
                    let n = here.read(&mut part[..size]).await.expect("open");
                    got.extend_from_slice(&part[..n]);
                    size = size % 997 + 1;
                    if n == 0 {
                        break got;
                    }
                }
            };
            let (got, ()) = futures_lite::future::zip(reading, writing).await;
            assert!(got == sent);
        });
        assert_eq!(here.held.capacity(), 0, "an idle connection keeps nothing");
    }
}
