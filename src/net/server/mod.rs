//! The server's driver: connects sockets to the hub.

mod accept;
mod bus;
mod config;
mod connection;
pub(crate) mod connection_limits;
mod life;
mod listening;
mod open_files;
mod pool;
mod port;
mod shared;
#[cfg(all(test, feature = "camera"))]
mod tests;
mod tls;
mod verdict;

use std::fmt;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::event_loop::{self, Turn};
use super::events::{Events, Lossy, Outlet};
use super::http::origins::Origins;
use super::http::{Answers, Rules, base_path};
use super::time::{Alarm, Timer};
use crate::proto::{Peer, Status};
use crate::server::{ConnId, Event, Hub, Input, Stats, Verdict, Whom};
use accept::Sockets;
pub(crate) use bus::Bus;
#[cfg(feature = "redis")]
pub(crate) use bus::Task;
pub use config::ServerConfig;
use connection_limits::{ConnectionLimits, LimitSettings};
use life::Life;
pub use listening::BindError;
use pool::{Pool, Work};
#[cfg(feature = "client")]
pub(crate) use port::Port;
use shared::{Core, SharedHub};
use tls::Tls;
pub use verdict::AuthRequest;

/// How long a shutdown waits for the last messages to leave.
const LAST_GOODBYE: Duration = Duration::from_secs(3);

/// Sockets beyond the hub's limit, for pages and for clients that are told that the server is full.
const SPARE_SOCKETS: usize = 256;

/// An event of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ServerEvent {
    /// A client wants to connect, and [`Config::authenticate`](crate::server::Config::authenticate) is on: answer with
    /// [`AuthRequest::admit`] or [`AuthRequest::refuse`], now or later.
    Authenticate {
        /// The request.
        request: AuthRequest,
    },
    /// A peer was admitted.
    PeerOnline {
        /// The peer.
        peer: Peer,
    },
    /// A peer has left.
    PeerOffline {
        /// The peer.
        peer: Peer,
    },
    /// Events were lost because the callback or the reader of the stream was too slow.
    Lost {
        /// How many events.
        count: u64,
    },
}

impl Lossy for ServerEvent {
    fn lost(count: u64) -> Self {
        ServerEvent::Lost { count }
    }

    /// At most one per connection that waits for its decision.
    fn is_owed(&self) -> bool {
        matches!(self, ServerEvent::Authenticate { .. })
    }
}

/// A Symple server. Clones are handles of the same server.
///
/// ```no_run
/// use symple::Server;
/// use symple::net::ServerConfig;
/// let server = Server::bind(ServerConfig::listen(["127.0.0.1:4500".parse()?]))?;
/// futures_lite::future::block_on(server.run());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

/// The parts of a server, each with its own locks.
pub(crate) struct Inner {
    hub: SharedHub,
    events: Outlet<ServerEvent>,
    sockets: Sockets,
    rules: Arc<Rules>,
    tls: Tls,
    life: Life,
    next_conn: AtomicU64,
    /// The crate's own decision, made before the application is asked.
    #[cfg(feature = "camera")]
    judge: verdict::Judge,
    /// The bus, if the server is one of several instances.
    bus: Option<Arc<dyn Bus>>,
    this: Weak<Inner>,
}

impl Server {
    /// Opens the ports. Nothing is served before [`Server::run`] is polled.
    pub fn bind(mut config: ServerConfig) -> Result<Server, BindError> {
        let listening = config.listen.iter().map(listening::listen).collect::<Result<Vec<_>, _>>()?;
        if !config.hub.authenticate && listening.iter().any(|(a, _)| !a.ip().is_loopback()) {
            log::warn!(
                "open without authentication: anyone who reaches this port may join, see who is online and call them"
            );
        }
        let limits = ConnectionLimits::new(LimitSettings {
            per_address: config.max_per_address,
            strangers_per_address: config.max_unauthenticated_per_address,
            strangers: config.max_unauthenticated,
            exempt: config.exempt.iter().chain(&config.trusted_proxies).copied().collect(),
        });
        let max_sockets = open_files::sockets(config.reserved_files)
            .min(config.hub.max_connections.saturating_add(SPARE_SOCKETS));
        let sockets = Sockets::new(listening, max_sockets, config.hub.max_message_size, limits.clone());
        let (hub, bus) = config.hub_and_bus();
        let origins = config.origins.unwrap_or(Origins::Any);
        let answers = Answers {
            handler: config.handler,
            routes: config.routes,
            body_limit: config.body_limit,
            base_path: base_path(&config.base_path),
        };
        let rules = Rules::new(origins, answers, config.trusted_proxies, limits);
        #[cfg(feature = "tls")]
        let tls = Tls::new(config.tls);
        #[cfg(not(feature = "tls"))]
        let tls = Tls;
        let inner = Arc::new_cyclic(|this| Inner {
            hub: SharedHub::new(hub),
            events: Outlet::new(),
            sockets,
            rules,
            tls,
            life: Life::new(),
            next_conn: AtomicU64::new(1),
            #[cfg(feature = "camera")]
            judge: verdict::Judge::unset(),
            bus,
            this: this.clone(),
        });
        Ok(Server { inner })
    }

    /// The addresses that it listens on, with the ports that the system chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.inner.sockets.addresses
    }

    /// Sets the callback. Events arrive in order, one at a time, from within [`Server::run`].
    ///
    /// If the server authenticates, the callback must answer each [`ServerEvent::Authenticate`]; a request without an
    /// answer is refused after [`verdict_timeout`](crate::server::Config::verdict_timeout). This also holds for a
    /// camera's own server, which then no longer checks its token itself (`camera::Admit`).
    pub fn on(&self, callback: impl FnMut(ServerEvent) + Send + 'static) {
        self.inner.events.set_callback(Box::new(callback));
    }

    /// Sets the crate's own judge, which is called before the application gets a request. The application does not get
    /// requests that it keeps by returning `true`.
    #[cfg(feature = "camera")]
    pub(crate) fn judge(&self, judge: impl FnMut(&AuthRequest) -> bool + Send + 'static) {
        self.inner.judge.set(Box::new(judge));
    }

    /// Whether this name is reserved for peers in this process.
    #[cfg(feature = "camera")]
    pub(crate) fn reserves(&self, user: &str) -> bool {
        self.inner.hub.look(|hub| hub.reserves(user))
    }

    /// Whether it serves `https://`.
    #[cfg(feature = "camera")]
    pub(crate) fn is_secure(&self) -> bool {
        self.inner.tls.is_set()
    }

    /// The path of its page, with slashes at both ends.
    #[cfg(feature = "camera")]
    pub(crate) fn page(&self) -> String {
        format!("{}/", self.inner.rules.answers.base_path)
    }

    /// Whether both are handles of the same server.
    #[cfg(feature = "camera")]
    pub(crate) fn is_same(&self, other: &Server) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// The same events as a stream that holds at most `capacity`.
    pub fn events(&self, capacity: usize) -> Events<ServerEvent> {
        self.inner.events.stream(capacity)
    }

    /// Delivers a message as it is to the peers in its `to` (`"user|id"`, `"user"`, a room, or a list of them), on all
    /// instances, without a permission check. Without a `to` it is not delivered. No sender is slowed down for it:
    /// returns how many of the local peers missed it because their queues are full. Those are told how many messages
    /// they missed.
    pub fn publish(&self, text: &str) -> usize {
        self.inner.with(|hub, now| hub.publish(text, now))
    }

    /// Disconnects the peers that `address` names (`user|id`, or every session of `user`), on all instances: with an
    /// `error`, then the close code for the status.
    pub fn kick(&self, address: &str, status: Status, message: &str) {
        self.inner.input(Input::Kick { whom: Whom::Address(address), status, message });
    }

    /// The origin of the peer with this address (`user|id`); `None` if none of this server's sockets has it. For limits
    /// and logs; it is not revealed to other peers.
    pub fn host_of(&self, address: &str) -> Option<IpAddr> {
        self.inner.hub.look(|hub| hub.host_of(address))
    }

    /// Whether the limits per address do not apply to this one, since it stands for many clients.
    #[cfg(feature = "camera")]
    pub(crate) fn exempts(&self, host: IpAddr) -> bool {
        self.inner.sockets.limits.is_exempt(host)
    }

    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        let dropped_bus = self.inner.bus.as_ref().map_or(0, |bus| bus.dropped());
        Stats { dropped_bus, ..self.inner.hub.look(Hub::stats) }
    }

    /// Uses this certificate from the next connection on; open connections stay.
    #[cfg(feature = "tls")]
    pub fn set_tls(&self, tls: super::ServerTls) {
        self.inner.tls.set(tls);
    }

    #[cfg(feature = "redis")]
    pub(in crate::net) fn bus(&self) -> Option<&Arc<dyn Bus>> {
        self.inner.bus.as_ref()
    }

    /// Disconnects every client with a close frame and ends all [`Server::run`].
    pub fn shutdown(&self) {
        let inner = &self.inner;
        inner.life.close();
        inner.input(Input::Shutdown);
        inner.life.end_if_over();
        if let Some(pool) = inner.life.running() {
            let inner = inner.clone();
            pool.spawn(async move {
                Timer::after(LAST_GOODBYE).await;
                inner.life.end();
            });
        }
    }

    /// A client in this process, without a socket: its messages go straight to the hub. The number of such peers and
    /// their rate are not limited, and their rooms are trusted.
    #[cfg(feature = "client")]
    pub fn peer(&self, config: crate::client::Config) -> crate::Client {
        crate::Client::local(self.inner.clone(), config)
    }

    /// Serves until [`Server::shutdown`]. The first future listens; each further one, on a thread of its own, adds a
    /// core for the same hub. One that is dropped leaves its connections to those that have been polled by then; the last
    /// of these closes them.
    pub fn run(&self) -> impl Future<Output = ()> + Send + use<> {
        let inner = self.inner.clone();
        async move {
            let mut work = inner.clone().work();
            work.run(inner.life.ended()).await;
            if let Some(bus) = &inner.bus {
                work.run(bus.flush(&inner)).await;
            }
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.inner.sockets.addresses).finish_non_exhaustive()
    }
}

impl Inner {
    /// The work of one `run` future; the first begins the tasks.
    fn work(self: Arc<Self>) -> Work {
        let (pool, is_new) = self.life.pool();
        let work = pool.clone().enter();
        if is_new {
            self.begin(&pool);
        }
        work
    }

    fn begin(self: Arc<Self>, pool: &Pool) {
        for listener in self.sockets.take_listeners() {
            pool.spawn(self.clone().accept(listener));
        }
        #[cfg(feature = "camera")]
        pool.spawn(self.clone().judge());
        pool.spawn({
            let (inner, mut alarm) = (self.clone(), Alarm::unset());
            async move { poll_fn(|cx| inner.poll_time(&mut alarm, cx)).await }
        });
        if let Some(bus) = &self.bus {
            pool.spawn(bus.clone().run(self.clone()));
        }
        pool.spawn(async move { poll_fn(|cx| self.poll_events(cx)).await });
    }

    fn next_conn(&self) -> ConnId {
        ConnId(self.next_conn.fetch_add(1, Ordering::Relaxed))
    }

    /// Delivers events, forever.
    fn poll_events(&self, cx: &mut Context<'_>) -> Poll<()> {
        event_loop::poll(cx, |cx| Turn::after(self.events.poll(cx).is_ready()))
    }

    /// Wakes the hub at its timeout, forever.
    fn poll_time(&self, alarm: &mut Alarm, cx: &mut Context<'_>) -> Poll<()> {
        event_loop::poll(cx, |cx| {
            let is_due = self.hub.poll_due(alarm, cx).is_ready();
            if is_due {
                self.input(Input::Timeout);
            }
            Turn::after(is_due)
        })
    }

    /// When the peer of a connection last sent a frame.
    #[cfg(feature = "redis")]
    pub(crate) fn last_active(&self, conn: ConnId) -> Option<Instant> {
        self.hub.look(|hub| hub.last_active(conn))
    }

    /// Passes one input to the hub and carries out the outputs.
    pub(crate) fn input(&self, input: Input<'_>) {
        self.with(|hub, now| hub.handle_input(input, now));
    }

    /// Calls the hub and executes its outputs.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Core<'_>, Instant) -> R) -> R {
        self.maybe_with(|hub, now| (act(hub, now), true))
    }

    /// Calls the hub, and executes its outputs if `act` returns that there may be any.
    fn maybe_with<R>(&self, act: impl FnOnce(&mut Core<'_>, Instant) -> (R, bool)) -> R {
        self.hub.with(self.bus.as_deref(), act, |event| self.tell(event))
    }

    /// Under the hub's lock. Returns a verdict if no decision of the application is needed.
    fn tell(&self, event: Event) -> Option<(ConnId, Verdict)> {
        let event = match event {
            Event::Authenticate { conn, auth } => {
                let request = match AuthRequest::new(conn, auth, self) {
                    Ok(request) => request,
                    Err(verdict) => return Some((conn, verdict)),
                };
                let request = match &self.bus {
                    Some(bus) => bus.judge(request)?,
                    None => request,
                };
                #[cfg(feature = "camera")]
                let request = self.judge.take_over(request)?;
                ServerEvent::Authenticate { request }
            }
            Event::PeerOnline { conn, peer } => {
                self.sockets.admitted(conn);
                ServerEvent::PeerOnline { peer }
            }
            Event::PeerOffline { peer, .. } => ServerEvent::PeerOffline { peer },
            _ => return None,
        };
        self.events.push(event);
        None
    }
}
