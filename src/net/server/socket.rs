//! One connection: its socket read and written in one task, and its port at the hub.

use std::future::poll_fn;
#[cfg(feature = "tls")]
use std::io;
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use async_tungstenite::tungstenite::Utf8Bytes;
use async_tungstenite::tungstenite::protocol::Role;
use futures_lite::FutureExt;
use smol::{Async, Timer};

use super::Inner;
use crate::net::door::Stranger;
use crate::net::http;
use crate::net::io::Io;
use crate::net::link::{BATCH, Got, Link, Put};
use crate::net::signal::Signal;
use crate::net::{lock, random_id};
use crate::server::{ConnId, Input, Transmit};

/// How many frames of one socket are read before others have their turn.
const TURN: usize = 32;

/// How long a closed socket may take to say goodbye.
const LINGER: Duration = Duration::from_secs(2);

impl Inner {
    pub(super) async fn socket(self: Arc<Self>, tcp: Async<TcpStream>, host: IpAddr, _counted: Socket) {
        _ = tcp.get_ref().set_nodelay(true);
        let host = host.to_canonical();
        let Some(stranger) = self.door.stranger() else {
            return log::debug!("too many sockets are open that nobody is admitted on; one more was closed");
        };
        // A proxy holds the sockets of many; those are counted when it has told of whom they are.
        let proxied = self.site.proxies.contains(&host);
        let guest = if proxied { None } else { self.door.guest(host) };
        if guest.is_none() && !proxied {
            return log::debug!("an address has too many sockets; one more was closed");
        }
        let Some(io) = self.secure(tcp).await else { return };
        let Some(upgraded) = http::serve(self.site.clone(), io, host).await else { return };
        let _counted = match guest.or_else(|| self.door.guest(upgraded.host)) {
            Some(guest) => guest,
            None => {
                return log::debug!("an address behind a proxy has too many sockets; one more was closed");
            }
        };
        let link = Link::new(upgraded.io, upgraded.read, Role::Server, self.max_message_size).await;
        self.websocket(link, upgraded.host, stranger).await;
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

    async fn websocket(self: Arc<Self>, mut link: Link, host: IpAddr, stranger: Stranger) {
        let port = Port::open(&self, Some(host));
        lock(&self.strangers).insert(port.conn, stranger);
        let mut batch = Vec::new();
        let mut linger: Option<Timer> = None;
        poll_fn(|cx| {
            if linger.is_none() && self.read(&mut link, &port, cx).is_ready() {
                return Poll::Ready(());
            }
            if self.write(&mut link, &port, &mut batch, &mut linger, cx).is_ready() {
                return Poll::Ready(());
            }
            let Some(timer) = &mut linger else { return Poll::Pending };
            // Both closes have been said when nothing more is read.
            while let Poll::Ready(got) = link.poll_rest(cx) {
                if got.is_none() {
                    return Poll::Ready(());
                }
            }
            timer.poll(cx).map(drop)
        })
        .await;
    }

    /// Ready when the socket ended.
    fn read(&self, link: &mut Link, port: &Port, cx: &mut Context<'_>) -> Poll<()> {
        let conn = port.conn;
        let (mut got, mut ended) = (Vec::new(), false);
        while !ended {
            let Poll::Ready(frame) = link.poll_read(cx) else { break };
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
            self.with(|hub, now| {
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
    fn write(
        &self,
        link: &mut Link,
        port: &Port,
        batch: &mut Vec<Transmit>,
        linger: &mut Option<Timer>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        while port.signal.poll(cx).is_ready() {}
        loop {
            let room = match link.poll_flush(cx) {
                Poll::Ready(Ok(())) => BATCH,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                // A full socket takes nothing more, but must learn that it is given up.
                Poll::Pending => 0,
            };
            if linger.is_some() {
                return Poll::Pending;
            }
            self.with(|hub, _| hub.transmit(port.conn, room, batch));
            if batch.is_empty() {
                return Poll::Pending;
            }
            for transmit in batch.drain(..) {
                let put = match transmit {
                    Transmit::Text(text) => Put::Text(shared(text)),
                    Transmit::Ping => Put::Ping,
                    Transmit::Close { code, reason } => {
                        *linger = Some(Timer::after(LINGER));
                        Put::Close(code, reason.to_string())
                    }
                };
                if link.put(put).is_err() {
                    return Poll::Ready(());
                }
            }
        }
    }
}

/// The same bytes for all recipients.
fn shared(text: Arc<str>) -> Utf8Bytes {
    struct Owner(Arc<str>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }
    let bytes = async_tungstenite::tungstenite::Bytes::from_owner(Owner(text));
    Utf8Bytes::try_from(bytes).expect("a str is UTF-8")
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

    #[cfg(feature = "client")]
    pub fn take(&self, batch: &mut Vec<Transmit>) {
        self.inner.with(|hub, _| hub.transmit(self.conn, BATCH, batch));
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        lock(&self.inner.wakes).remove(&self.conn);
        lock(&self.inner.strangers).remove(&self.conn);
        self.inner.input(Input::Closed { conn: self.conn });
    }
}
