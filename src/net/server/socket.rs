//! One connection: its socket read and written in one task, and its port at the hub.

use std::future::Future;
#[cfg(feature = "tls")]
use std::io;
use std::net::{IpAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_tungstenite::tungstenite::protocol::Role;
use futures_lite::FutureExt;
use smol::{Async, Timer};

use super::Inner;
use crate::net::door::{Full, Guest, Stranger};
use crate::net::http;
use crate::net::io::Io;
use crate::net::link::{BATCH, Gate, Got, Link, Put};
use crate::net::signal::Signal;
use crate::net::{lock, random_id};
use crate::server::{ConnId, Input, MAX_BEFORE_WELCOME, Transmit};

/// How many frames of one socket are read before others have their turn.
const TURN: usize = 32;

/// How long a server that ends waits for what it answers on HTTP.
const LAST_ANSWER: Duration = Duration::from_millis(200);

/// How long a closed socket may take to say goodbye.
const LINGER: Duration = Duration::from_secs(2);

impl Inner {
    pub(super) async fn socket(self: Arc<Self>, tcp: Async<TcpStream>, host: IpAddr, _counted: Socket) {
        let last_call = self.last_call.clone();
        // Whoever has no WebSocket by then is owed no goodbye: answers are written within this.
        let ending = async {
            _ = last_call.recv().await;
            Timer::after(LAST_ANSWER).await;
            None
        };
        // In a box that goes when it is done: TLS and HTTP take more room than all that comes after.
        let greeted = Box::pin(self.greet(tcp, host.to_canonical()).or(ending)).await;
        let Some((line, _guest)) = greeted else { return };
        line.await;
    }

    /// From an accepted socket to a WebSocket at the hub.
    async fn greet(self: Arc<Self>, tcp: Async<TcpStream>, host: IpAddr) -> Option<(Line, Guest)> {
        _ = tcp.get_ref().set_nodelay(true);
        let Some(mut stranger) = self.door.stranger() else {
            self.turn_away("max_unauthenticated");
            return None;
        };
        // A proxy holds the sockets of many; those are counted when it has told of whom they are.
        let guest = match self.rules.is_proxy(host) {
            true => None,
            false => Some(self.enter(host, &mut stranger)?),
        };
        let io = self.secure(tcp).await?;
        let mut upgraded = http::serve(self.rules.clone(), io, host).await?;
        let guest = match guest {
            Some(guest) => guest,
            None => self.enter(upgraded.host, &mut stranger)?,
        };
        let admitted = Arc::<AtomicBool>::default();
        upgraded.io.guard(Gate::new(MAX_BEFORE_WELCOME, admitted.clone()), &mut upgraded.read);
        let link = Link::new(upgraded.io, upgraded.read, Role::Server, self.max_message_size).await;
        let port = Port::open(&self, Some(upgraded.host));
        lock(&self.strangers).insert(port.conn, (stranger, admitted));
        Some((Line::new(link, port), guest))
    }

    /// Counts a socket for its address.
    fn enter(&self, host: IpAddr, stranger: &mut Stranger) -> Option<Guest> {
        let full = match self.door.guest(host, stranger) {
            Ok(guest) => return Some(guest),
            Err(Full::Address) => "max_per_address",
            Err(Full::AddressStrangers) => "max_unauthenticated_per_address",
        };
        self.turn_away(full);
        None
    }

    fn turn_away(&self, limit: &str) {
        log::debug!("a socket was closed at once: {limit} is reached");
        self.warn(
            |warnings| &mut warnings.door,
            |count| format!("{count} sockets were closed at once, because {limit} is reached"),
        );
    }

    #[cfg(feature = "tls")]
    async fn secure(&self, tcp: Async<TcpStream>) -> Option<Io> {
        let Some(acceptor) = lock(&self.tls).clone() else { return Some(Io::plain(tcp)) };
        let late = async {
            Timer::after(Duration::from_secs(10)).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        match acceptor.accept(tcp).or(late).await {
            Ok(tls) => Some(Io::tls(tls.into())),
            Err(e) => {
                log::debug!("TLS handshake failed: {e}");
                None
            }
        }
    }

    #[cfg(not(feature = "tls"))]
    async fn secure(&self, tcp: Async<TcpStream>) -> Option<Io> {
        Some(Io::plain(tcp))
    }
}

/// A socket at its port, and what is under way on it.
struct Line {
    link: Link,
    port: Port,
    /// Reading has a waker of its own, so that a turn that only writes, as all those of a fan-out do, asks no
    /// socket in vain.
    readable: Arc<Signal>,
    batch: Vec<Transmit>,
    /// The hub has more for it, and will not say so again.
    more: bool,
    /// The socket takes nothing just now.
    full: bool,
    /// A close was sent; what still comes is read and forgotten.
    linger: Option<Timer>,
}

impl Future for Line {
    type Output = ();

    /// Ready when the socket has ended.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let line = self.get_mut();
        let waker = Waker::from(line.readable.clone());
        let reads = &mut Context::from_waker(&waker);
        if line.readable.take(cx) && line.linger.is_none() && line.read(reads).is_ready() {
            return Poll::Ready(());
        }
        line.more |= line.port.signal.take(cx);
        if (line.more || line.full) && line.write(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(timer) = &mut line.linger else { return Poll::Pending };
        // Both closes have been said when nothing more is read.
        while let Poll::Ready(got) = line.link.poll_rest(reads) {
            if got.is_none() {
                return Poll::Ready(());
            }
        }
        Pin::new(timer).poll(cx).map(drop)
    }
}

impl Line {
    fn new(link: Link, port: Port) -> Line {
        let readable = Arc::new(Signal::default());
        readable.notify();
        Line { link, port, readable, batch: Vec::new(), more: false, full: false, linger: None }
    }

    /// Ready when the socket ended.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let conn = self.port.conn;
        let (mut got, mut ended) = (Vec::new(), false);
        while !ended {
            let Poll::Ready(frame) = self.link.poll_read(cx) else { break };
            if let Got::Closed(code, reason) = &frame {
                log::trace!("connection {} is closed: {code:?} {reason}", conn.0);
                ended = true;
            }
            let broken = matches!(frame, Got::TooLarge | Got::Malformed(_));
            got.push(frame);
            if broken {
                break;
            }
            if got.len() == TURN {
                cx.waker().wake_by_ref();
                break;
            }
        }
        if !got.is_empty() {
            self.port.inner.with(|hub, now| {
                for frame in &got {
                    let input = match frame {
                        Got::Text(text) => Input::Text { conn, text },
                        Got::Binary => Input::Binary { conn },
                        Got::Alive => Input::Alive { conn },
                        Got::TooLarge => Input::TooLarge { conn },
                        Got::Malformed(code) => Input::BadFrame { conn, code: *code },
                        Got::Closed(..) => continue,
                    };
                    hub.handle_input(input, now);
                }
            });
        }
        if ended { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Ready when the socket cannot be written any more.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.full = match self.link.poll_flush(cx) {
                Poll::Ready(Ok(())) => false,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => true,
            };
            if self.linger.is_some() || !self.more {
                return Poll::Pending;
            }
            // A full socket takes nothing more, but must learn that it is given up.
            let room = if self.full { 0 } else { BATCH };
            self.more = self.port.transmit(room, &mut self.batch);
            if self.batch.is_empty() {
                return Poll::Pending;
            }
            if self.batch.first() == Some(&Transmit::Ping) {
                self.link.idle(cx);
                self.readable.notify();
            }
            let linger = &mut self.linger;
            let puts = self.batch.drain(..).map(|transmit| match transmit {
                Transmit::Text(text) => Put::Text(text),
                Transmit::Ping => Put::Ping,
                Transmit::Close { code, reason } => {
                    *linger = Some(Timer::after(LINGER));
                    Put::Close(code, reason.to_string())
                }
            });
            if self.link.put_all(cx, puts).is_err() {
                return Poll::Ready(());
            }
        }
    }
}

/// One accepted socket in the count.
pub(super) struct Socket(Arc<Inner>);

impl Socket {
    pub(super) fn open(inner: &Arc<Inner>) -> Option<Socket> {
        let socket = Socket(inner.clone());
        (inner.sockets.fetch_add(1, Ordering::AcqRel) < inner.max_sockets).then_some(socket)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.sockets.fetch_sub(1, Ordering::AcqRel);
        self.0.end_if_over();
    }
}

/// One connection at the hub, with a socket or without. Dropping it tells the hub that it is gone.
pub(crate) struct Port {
    pub conn: ConnId,
    pub signal: Arc<Signal>,
    inner: Arc<Inner>,
}

impl Port {
    pub fn open(inner: &Arc<Inner>, host: Option<IpAddr>) -> Port {
        let conn = ConnId(inner.next_conn.fetch_add(1, Ordering::Relaxed));
        let signal = Arc::new(Signal::default());
        lock(&inner.wakes).insert(conn, signal.clone());
        inner.input(Input::Connected { conn, id: random_id(), host, local: host.is_none() });
        Port { conn, signal, inner: inner.clone() }
    }

    #[cfg(feature = "client")]
    pub fn send(&self, text: &str) {
        self.inner.input(Input::Text { conn: self.conn, text });
    }

    /// Moves what the hub has for it into `batch`, up to about `max` bytes; whether more waits. The hub has
    /// nothing to tell of it, so nobody has to be woken.
    pub fn transmit(&self, max: usize, batch: &mut Vec<Transmit>) -> bool {
        lock(&self.inner.hub).transmit(self.conn, max, batch)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        lock(&self.inner.wakes).remove(&self.conn);
        lock(&self.inner.strangers).remove(&self.conn);
        self.inner.input(Input::Closed { conn: self.conn });
    }
}
