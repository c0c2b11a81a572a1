//! A byte stream: TCP, or TLS over it, read and written through buffers that all connections of a thread share.
//!
//! A WebSocket library that reads into a buffer of its own either keeps a large one for each connection,
//! or asks the system for every few bytes: with 1 KiB it made 1.8 calls a message of 200 bytes. So the
//! system fills one large buffer, the connection whose turn it is empties it, and an idle one keeps nothing.
//! Writing likewise: what all have to say is put together in one buffer, and a connection keeps of it only what
//! its socket did not take.

use std::cell::RefCell;
use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};
use smol::Async;

#[cfg(feature = "server")]
use super::gate::{Gate, TooLarge};

/// What is read in one call: some fifty signalling messages, or the largest TLS record.
const SCRATCH: usize = 16 << 10;

/// What the shared buffer for writing keeps of its room; a message may be larger for once.
#[cfg(feature = "server")]
const KEPT: usize = 64 << 10;

thread_local! {
    static INCOMING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    #[cfg(feature = "server")]
    static OUTGOING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(crate) struct Io {
    stream: Stream,
    /// What was read and not asked for yet.
    read: Rest,
    /// What the socket did not take; it goes before all else.
    unsent: Rest,
    /// The last call gave less than was asked for, so the socket is empty, and the next call in vain.
    drained: bool,
    /// How many bytes were read from it.
    given: u64,
    /// What a server allows whom it has not admitted.
    #[cfg(feature = "server")]
    gate: Option<Box<Gate>>,
}

enum Stream {
    Plain(Async<TcpStream>),
    #[cfg(feature = "tls")]
    Tls(Box<futures_rustls::TlsStream<Async<TcpStream>>>),
}

/// Bytes that go from the front; without capacity where there are none.
#[derive(Default)]
struct Rest {
    bytes: Vec<u8>,
    gone: usize,
}

impl Rest {
    fn left(&self) -> &[u8] {
        &self.bytes[self.gone..]
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn advance(&mut self, n: usize) {
        self.gone += n;
        if self.gone >= self.bytes.len() {
            *self = Rest::default();
        }
    }
}

macro_rules! each {
    ($self:expr, $io:ident => $do:expr) => {
        match &mut $self.stream {
            Stream::Plain($io) => $do,
            #[cfg(feature = "tls")]
            Stream::Tls($io) => $do,
        }
    };
}

impl Io {
    pub(crate) fn plain(tcp: Async<TcpStream>) -> Io {
        Io::new(Stream::Plain(tcp))
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls(tls: futures_rustls::TlsStream<Async<TcpStream>>) -> Io {
        Io::new(Stream::Tls(Box::new(tls)))
    }

    fn new(stream: Stream) -> Io {
        Io {
            stream,
            read: Rest::default(),
            unsent: Rest::default(),
            drained: false,
            given: 0,
            #[cfg(feature = "server")]
            gate: None,
        }
    }

    /// From now on frames pass as `gate` lets them, and reading ends with [`TooLarge`] where one does not.
    /// `ahead` was read already.
    #[cfg(feature = "server")]
    pub(crate) fn guard(&mut self, mut gate: Gate, ahead: &mut Vec<u8>) {
        ahead.truncate(gate.pass(ahead));
        self.gate = Some(Box::new(gate));
    }

    /// Fails once where a frame was over the limit of a stranger; what follows is then read as it comes.
    #[cfg(feature = "server")]
    fn check_gate(&mut self) -> io::Result<()> {
        match &self.gate {
            // First, for what came behind its head is not there any more.
            Some(gate) if gate.is_over() => {
                self.gate = None;
                return Err(io::Error::other(TooLarge));
            }
            Some(gate) if gate.is_open() => self.gate = None,
            _ => {}
        }
        Ok(())
    }

    /// How many bytes were read from it.
    #[cfg(feature = "server")]
    pub(crate) fn given(&self) -> u64 {
        self.given
    }

    /// Bytes that the socket did not take yet.
    #[cfg(feature = "server")]
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.left().len()
    }

    /// Whether the socket has failed.
    #[cfg(feature = "server")]
    pub(crate) fn is_reset(&self) -> bool {
        #[cfg_attr(not(feature = "tls"), expect(clippy::infallible_destructuring_match))]
        let tcp = match &self.stream {
            Stream::Plain(tcp) => tcp,
            #[cfg(feature = "tls")]
            Stream::Tls(tls) => tls.get_ref().0,
        };
        !matches!(tcp.get_ref().take_error(), Ok(None))
    }

    /// Writes what `put` appends to the shared buffer, after what is unsent. What the socket does not take now
    /// leaves with [`AsyncWrite::poll_flush`].
    #[cfg(feature = "server")]
    pub(crate) fn send(&mut self, cx: &mut Context<'_>, put: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        OUTGOING.with_borrow_mut(|bytes| {
            bytes.clear();
            put(bytes);
            let mut sent = 0;
            if self.unsent.is_empty() {
                while sent < bytes.len() {
                    match each!(self, io => Pin::new(io).poll_write(cx, &bytes[sent..])) {
                        Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                        Poll::Ready(n) => sent += n?,
                        Poll::Pending => break,
                    }
                }
            }
            self.unsent.bytes.extend_from_slice(&bytes[sent..]);
            bytes.shrink_to(KEPT);
            Ok(())
        })
    }

    /// Ready when nothing is unsent.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let n = ready!(each!(self, io => Pin::new(io).poll_write(cx, self.unsent.left())))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(n);
        }
        Poll::Ready(Ok(()))
    }

    /// Fills the shared buffer and deals it out: to `buf` first, the rest is kept.
    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.drained
            && let Stream::Plain(tcp) = &self.stream
        {
            ready!(tcp.poll_readable(cx))?;
        }
        INCOMING.with_borrow_mut(|shared| {
            shared.resize(SCRATCH, 0);
            let n = ready!(each!(self, io => Pin::new(io).poll_read(cx, shared)))?;
            // Zero is the end, which is told again as often as somebody asks.
            self.drained = n > 0 && n < SCRATCH;
            let now = n.min(buf.len());
            buf[..now].copy_from_slice(&shared[..now]);
            self.read.bytes.extend_from_slice(&shared[now..n]);
            Poll::Ready(Ok(now))
        })
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let io = self.get_mut();
        #[cfg(feature = "server")]
        io.check_gate()?;
        #[cfg_attr(not(feature = "server"), expect(unused_mut))]
        let mut n = if io.read.is_empty() {
            ready!(io.poll_fill(cx, buf))?
        } else {
            let n = io.read.left().len().min(buf.len());
            buf[..n].copy_from_slice(&io.read.left()[..n]);
            io.read.advance(n);
            n
        };
        #[cfg(feature = "server")]
        if let Some(gate) = &mut io.gate {
            n = gate.pass(&buf[..n]);
            if n == 0 && gate.is_over() {
                io.check_gate()?;
            }
        }
        io.given += n as u64;
        Poll::Ready(Ok(n))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let io = self.get_mut();
        ready!(io.poll_unsent(cx))?;
        each!(io, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let io = self.get_mut();
        ready!(io.poll_unsent(cx))?;
        each!(io, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), io => Pin::new(io).poll_close(cx))
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
        assert_eq!(here.read.bytes.capacity(), 0, "an idle connection keeps nothing");
    }
}
