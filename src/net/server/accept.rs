//! Accepts sockets within the limits, and takes each from HTTP to a WebSocket at the hub.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_tungstenite::tungstenite::protocol::Role;
use futures_lite::FutureExt;

use super::Inner;
use super::connection::Connection;
use super::connection_limits::{ConnectionLimits, Counted, Full, Stranger};
use super::pool::Place;
use super::port::Port;
use crate::net::reactor;
use crate::net::time::{Timer, now};
use crate::net::ws::{Gate, WebSocket};
use crate::net::{http, lock};
use crate::server::{ConnId, MAX_BEFORE_WELCOME, Seldom};

/// How long a server that shuts down waits for pending HTTP responses.
const LAST_ANSWER: Duration = Duration::from_millis(200);

/// The pause after accepting a socket failed: without descriptors or memory, trying again at once would only burn CPU.
const PAUSE: Duration = Duration::from_millis(100);

/// Listening sockets, and the limits on accepted ones.
pub(super) struct Sockets {
    /// Sockets that no task accepts from yet.
    listeners: Mutex<Vec<TcpListener>>,
    pub addresses: Vec<SocketAddr>,
    max_sockets: usize,
    max_message_size: usize,
    pub limits: Arc<ConnectionLimits>,
    /// Connections at the hub that are not admitted yet, and the flag for each that opens its socket's gate.
    strangers: Mutex<HashMap<ConnId, (Stranger, Arc<AtomicBool>)>>,
    /// What is warned of at most once a minute.
    warnings: Mutex<Warnings>,
}

#[derive(Default)]
struct Warnings {
    accept: Seldom,
    full: Seldom,
    limits: Seldom,
}

impl Sockets {
    pub(super) fn new(
        listening: Vec<(SocketAddr, TcpListener)>,
        max_sockets: usize,
        max_message_size: usize,
        limits: Arc<ConnectionLimits>,
    ) -> Sockets {
        let (addresses, listeners) = listening.into_iter().unzip();
        Sockets {
            listeners: Mutex::new(listeners),
            addresses,
            max_sockets,
            max_message_size,
            limits,
            strangers: Mutex::default(),
            warnings: Mutex::default(),
        }
    }

    /// Returns the listening sockets, once.
    pub(super) fn take_listeners(&self) -> Vec<TcpListener> {
        std::mem::take(&mut *lock(&self.listeners))
    }

    /// The peer of a connection is admitted: its frames are no longer limited.
    pub(super) fn admitted(&self, conn: ConnId) {
        if let Some((_, admitted)) = lock(&self.strangers).remove(&conn) {
            admitted.store(true, Ordering::Release);
        }
    }

    pub(super) fn forget(&self, conn: ConnId) {
        lock(&self.strangers).remove(&conn);
    }

    /// Counts a socket for its address.
    fn enter(&self, host: IpAddr, stranger: &mut Stranger) -> Option<Counted> {
        let full = match self.limits.count(host, stranger) {
            Ok(counted) => return Some(counted),
            Err(Full::Address) => "max_per_address",
            Err(Full::AddressStrangers) => "max_unauthenticated_per_address",
        };
        self.turn_away(full);
        None
    }

    fn turn_away(&self, limit: &str) {
        log::debug!("closed a new socket: {limit} reached");
        self.warn(
            |warnings| &mut warnings.limits,
            |count| format!("closed {count} new sockets: {limit} reached"),
        );
    }

    /// Warns once a minute, with the number of occurrences.
    fn warn(&self, which: impl FnOnce(&mut Warnings) -> &mut Seldom, words: impl FnOnce(u64) -> String) {
        if let Some(count) = which(&mut lock(&self.warnings)).due(now()) {
            log::warn!("{}", words(count));
        }
    }
}

impl Inner {
    pub(super) async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut listener = match reactor::Source::new(listener) {
            Ok(listener) => listener,
            Err(e) => return log::error!("cannot use a listening socket: {e}"),
        };
        loop {
            match poll_fn(|cx| listener.poll_read_with(cx, TcpListener::accept, |_| false)).await {
                Ok((tcp, peer)) => {
                    let Some(pool) = self.life.running() else { return };
                    if self.life.is_closing() {
                        return;
                    }
                    let Some(socket) = Socket::open(&self) else {
                        self.sockets.warn(|warnings| &mut warnings.full, |count| {
                            format!(
                                "{} sockets are open, as many as connections and open files allow: {count} \
                                 more were closed at once",
                                self.sockets.max_sockets
                            )
                        });
                        continue;
                    };
                    let Some(place) = pool.place() else { return };
                    let home = place.0.clone();
                    match reactor::Socket::at(tcp, home.reactor.as_ref()) {
                        Ok(tcp) => {
                            let serving = self.clone().socket(tcp, peer.ip(), (socket, place));
                            pool.spawn_at(&home, serving);
                        }
                        Err(e) => log::debug!("closed a new socket: {e}"),
                    }
                }
                Err(e) => {
                    self.sockets.warn(
                        |warnings| &mut warnings.accept,
                        |count| format!("cannot accept a connection ({e}), {count} times"),
                    );
                    Timer::after(PAUSE).await;
                }
            }
        }
    }

    async fn socket(self: Arc<Self>, tcp: reactor::Socket, host: IpAddr, _counted: (Socket, Place)) {
        let last_call = self.life.last_call();
        // A client without a WebSocket by then gets no goodbye: responses are written within this time.
        let ending = async {
            last_call.await;
            Timer::after(LAST_ANSWER).await;
            None
        };
        // Boxed, and dropped when done: TLS and HTTP need more memory than everything after them.
        let greeted = Box::pin(self.greet(tcp, host.to_canonical()).or(ending)).await;
        let Some((line, _counted)) = greeted else { return };
        line.await;
    }

    /// From an accepted socket to a WebSocket at the hub.
    async fn greet(self: Arc<Self>, tcp: reactor::Socket, host: IpAddr) -> Option<(Connection, Counted)> {
        _ = tcp.get_ref().set_nodelay(true);
        let sockets = &self.sockets;
        let Some(mut stranger) = sockets.limits.stranger() else {
            sockets.turn_away("max_unauthenticated");
            return None;
        };
        // The socket of a proxy serves many clients; these are counted once their addresses are known.
        let counted = match self.rules.is_proxy(host) {
            true => None,
            false => Some(sockets.enter(host, &mut stranger)?),
        };
        let io = self.tls.secure(tcp).await?;
        let mut upgraded = http::serve(self.rules.clone(), io, host).await?;
        let counted = match counted {
            Some(counted) => counted,
            None => sockets.enter(upgraded.host, &mut stranger)?,
        };
        let admitted = Arc::<AtomicBool>::default();
        upgraded.io.guard(Gate::new(MAX_BEFORE_WELCOME, admitted.clone()), &mut upgraded.read);
        let socket = WebSocket::new(upgraded.io, upgraded.read, Role::Server, sockets.max_message_size).await;
        let port = Port::open(&self, Some(upgraded.host));
        lock(&sockets.strangers).insert(port.conn, (stranger, admitted));
        Some((Connection::new(socket, port), counted))
    }
}

/// One accepted socket in the count.
struct Socket(Arc<Inner>);

impl Socket {
    fn open(inner: &Arc<Inner>) -> Option<Socket> {
        let socket = Socket(inner.clone());
        inner.life.add_socket(inner.sockets.max_sockets).then_some(socket)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.life.remove_socket();
    }
}
