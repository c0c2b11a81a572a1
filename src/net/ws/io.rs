//! A byte stream: TCP, or TLS over it, with buffers that all connections of a thread share.
//!
//! A WebSocket library that reads into a buffer of its own either keeps a large one for each connection, or makes a
//! system call for every few bytes: with 1 KiB, it made 1.8 calls for each message of 200 bytes. Here the system fills
//! one large buffer, the current connection empties it, and an idle connection keeps nothing. Writing is similar: all
//! messages are collected in one shared buffer, and a connection only keeps what its socket did not accept. Large texts
//! are not copied there: the system reads them in place.

use std::cell::RefCell;
use std::io;
#[cfg(feature = "server")]
use std::io::IoSlice;
use std::pin::Pin;
#[cfg(feature = "server")]
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};

#[cfg(feature = "server")]
use super::size_limit::{Gate, TooLarge};
use crate::net::reactor::Socket;

/// The maximum to read in one call: some fifty signalling messages, or the largest TLS record.
const SCRATCH: usize = 16 << 10;

/// The capacity that the shared write buffer keeps; a single message may exceed it.
#[cfg(feature = "server")]
const KEPT: usize = 64 << 10;

thread_local! {
    static INCOMING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    #[cfg(feature = "server")]
    static OUTGOING: RefCell<Outgoing> = const { RefCell::new(Outgoing { bytes: Vec::new(), large: Vec::new() }) };
}

/// A text with more bytes is not copied: a presence with a profile, say, of which each member of a room gets one.
#[cfg(feature = "server")]
const LARGE: usize = 1 << 10;

/// The most parts of one write: 32 large texts and what is between them, more than the bytes of one batch hold.
#[cfg(feature = "server")]
const PARTS: usize = 65;

/// What is written in one go.
#[cfg(feature = "server")]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    /// Large texts, and behind how many of the bytes each goes.
    large: Vec<(usize, Arc<str>)>,
}

#[cfg(feature = "server")]
impl Outgoing {
    /// Appends a text whose head `put` appends.
    pub(crate) fn text(&mut self, text: Arc<str>, put: impl FnOnce(&mut Vec<u8>)) {
        put(&mut self.bytes);
        match text.len() > LARGE {
            true => self.large.push((self.bytes.len(), text)),
            false => self.bytes.extend_from_slice(text.as_bytes()),
        }
    }

    /// All of it, but for the first `gone` bytes.
    fn rest(&self, mut gone: usize) -> impl Iterator<Item = &[u8]> {
        let mut at = 0;
        let pairs = self.large.iter().flat_map(move |(end, text)| {
            let before = &self.bytes[std::mem::replace(&mut at, *end)..*end];
            [before, text.as_bytes()]
        });
        let last = self.large.last().map_or(0, |(end, _)| *end);
        pairs.chain([&self.bytes[last..]]).filter_map(move |part| {
            let skip = gone.min(part.len());
            gone -= skip;
            (skip < part.len()).then_some(&part[skip..])
        })
    }

    fn len(&self) -> usize {
        self.bytes.len() + self.large.iter().map(|(_, text)| text.len()).sum::<usize>()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        self.large.clear();
    }
}

pub(crate) struct Io {
    stream: Stream,
    /// Bytes that were read and not requested yet.
    read: Rest,
    /// Bytes that the socket did not accept; they go first.
    unsent: Rest,
    /// Total bytes read from the stream.
    given: u64,
    /// The limit on frames before admission, on a server.
    #[cfg(feature = "server")]
    gate: Option<Box<Gate>>,
}

enum Stream {
    Plain(Socket),
    #[cfg(feature = "tls")]
    Tls(Box<futures_rustls::TlsStream<Socket>>),
}

/// Bytes that are consumed from the front; without capacity when empty.
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
    pub(crate) fn plain(tcp: Socket) -> Io {
        Io::new(Stream::Plain(tcp))
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls(tls: futures_rustls::TlsStream<Socket>) -> Io {
        Io::new(Stream::Tls(Box::new(tls)))
    }

    fn new(stream: Stream) -> Io {
        Io {
            stream,
            read: Rest::default(),
            unsent: Rest::default(),
            given: 0,
            #[cfg(feature = "server")]
            gate: None,
        }
    }

    /// From now on `gate` checks all frames, and reading ends with [`TooLarge`] at one that exceeds its limit. `ahead`
    /// was read already.
    #[cfg(feature = "server")]
    pub(crate) fn guard(&mut self, mut gate: Gate, ahead: &mut Vec<u8>) {
        ahead.truncate(gate.pass(ahead));
        self.gate = Some(Box::new(gate));
    }

    /// Fails once if a frame exceeded the limit before admission; later reads return the remaining bytes unchecked.
    #[cfg(feature = "server")]
    fn check_gate(&mut self) -> io::Result<()> {
        match &self.gate {
            // Checked first, since the bytes after its head were discarded.
            Some(gate) if gate.is_over() => {
                self.gate = None;
                return Err(io::Error::other(TooLarge));
            }
            Some(gate) if gate.is_open() => self.gate = None,
            _ => {}
        }
        Ok(())
    }

    /// Total bytes read from the stream.
    #[cfg(feature = "server")]
    pub(crate) fn given(&self) -> u64 {
        self.given
    }

    /// Bytes that the socket has not accepted yet.
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

    /// Writes what `put` appends to the shared buffer, after the unsent bytes. [`AsyncWrite::poll_flush`] sends what
    /// the socket does not accept now.
    #[cfg(feature = "server")]
    pub(crate) fn send(&mut self, cx: &mut Context<'_>, put: impl FnOnce(&mut Outgoing)) -> io::Result<()> {
        OUTGOING.with_borrow_mut(|outgoing| {
            put(outgoing);
            let sent = self.write_out(cx, outgoing);
            if let Ok(sent) = sent {
                outgoing.rest(sent).for_each(|rest| self.unsent.bytes.extend_from_slice(rest));
            }
            outgoing.clear();
            sent.map(drop)
        })
    }

    /// How much the socket took.
    #[cfg(feature = "server")]
    fn write_out(&mut self, cx: &mut Context<'_>, outgoing: &Outgoing) -> io::Result<usize> {
        let (mut sent, len) = (0, outgoing.len());
        while self.unsent.is_empty() && sent < len {
            let mut parts = [IoSlice::new(&[]); PARTS];
            let count =
                parts.iter_mut().zip(outgoing.rest(sent)).map(|(at, part)| *at = IoSlice::new(part)).count();
            match each!(self, io => Pin::new(io).poll_write_vectored(cx, &parts[..count])) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(n) => sent += n?,
                Poll::Pending => break,
            }
        }
        Ok(sent)
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

    /// Fills the shared buffer and distributes it: to `buf` first, the rest is kept.
    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        INCOMING.with_borrow_mut(|shared| {
            shared.resize(SCRATCH, 0);
            let n = ready!(each!(self, io => Pin::new(io).poll_read(cx, shared)))?;
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
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn reading_in_small_pieces_returns_everything_written() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let there = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (here, _) = listener.accept().expect("one is coming");
        let [mut here, there] = [here, there].map(|tcp| Io::plain(Socket::new(tcp).expect("a socket")));
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
