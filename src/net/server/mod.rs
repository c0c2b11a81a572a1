//! The server's driver: sockets in, the hub's verdicts out.

mod config;
pub(crate) mod door;
mod files;
mod listening;
mod socket;

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_lite::FutureExt;
use smol::channel::{Receiver, Sender, bounded};
use smol::{Async, Executor, Timer};

use super::events::{Events, Lossy, Outlet};
use super::http::{Origins, Rules};
use super::lock;
use super::signal::Signal;
use crate::proto::{Peer, Status};
use crate::server::{Admission, Auth, ConnId, Event, Hub, Input, Output, Seldom, Stats, Verdict, Whom};
pub use config::ServerConfig;
use door::{Door, Limits, Stranger};
pub use listening::StartError;
#[cfg(feature = "client")]
pub(crate) use socket::Port;
use socket::Socket;

/// How long a shutdown waits for the last goodbyes.
const LAST_GOODBYE: Duration = Duration::from_secs(3);

/// Sockets beyond the hub's limit, for pages and for those that are told that it is full.
const SPARE_SOCKETS: usize = 256;

/// What a server tells its host.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ServerEvent {
    /// Somebody wants in, and [`Config::authenticate`](crate::server::Config::authenticate) is on: answer with [`AuthRequest::admit`] or
    /// [`AuthRequest::refuse`], now or later.
    Authenticate(AuthRequest),
    /// A peer was admitted.
    PeerOnline(Peer),
    /// A peer is gone.
    PeerOffline(Peer),
    /// So many events were lost, because the callback or the stream's reader did not come back.
    Lost(u64),
}

impl Lossy for ServerEvent {
    fn lost(count: u64) -> Self {
        ServerEvent::Lost(count)
    }
}

/// A peer at the door. The first answer counts; without one it is refused after a while.
#[derive(Clone)]
pub struct AuthRequest {
    /// What it says of itself.
    pub auth: Auth,
    conn: ConnId,
    server: Weak<Inner>,
    /// Its token counts as shown until the answer.
    shown: Option<Arc<Shown>>,
}

/// A token that waits for its verdict.
struct Shown {
    from: IpAddr,
    rules: Arc<Rules>,
    judged: AtomicBool,
}

impl Shown {
    /// The error is how long to wait before a token from there is looked at.
    fn new(auth: &Auth, rules: &Arc<Rules>) -> Result<Option<Arc<Shown>>, Duration> {
        let (Some(from), Some(_)) = (auth.host, &auth.token) else { return Ok(None) };
        rules.begin_try(from)?;
        Ok(Some(Arc::new(Shown { from, rules: rules.clone(), judged: AtomicBool::new(false) })))
    }

    fn judge(&self, wrong: bool) {
        if !self.judged.swap(true, Ordering::AcqRel) {
            self.rules.end_try(self.from, wrong);
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.judge(false);
    }
}

impl AuthRequest {
    /// Lets it in, into these rooms, under the name that it or the admission gives.
    pub fn admit(&self, admission: Admission) {
        self.answer(Verdict::Admit(admission));
    }

    /// Sends it away: an `error` with these words, and close 1008 (for 503: 1013).
    pub fn refuse(&self, status: Status, message: &str) {
        self.answer(Verdict::Refuse { status, message: message.into() });
    }

    /// Whether the application listens to the server that asks, and so gives the verdicts.
    #[cfg(feature = "camera")]
    pub(crate) fn is_heard(&self) -> bool {
        self.server.upgrade().is_some_and(|server| server.events.is_heard())
    }

    #[cfg(feature = "redis")]
    pub(crate) fn conn(&self) -> ConnId {
        self.conn
    }

    pub(crate) fn answer(&self, verdict: Verdict) {
        if let Some(shown) = &self.shown {
            shown.judge(matches!(verdict, Verdict::Refuse { status: Status::UNAUTHORIZED, .. }));
        }
        if let Some(server) = self.server.upgrade() {
            server.input(Input::Verdict { conn: self.conn, verdict });
        }
    }
}

impl fmt::Debug for AuthRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthRequest").field("auth", &self.auth).finish_non_exhaustive()
    }
}

/// A Symple server. Clones are handles of the same one.
///
/// ```no_run
/// use symple::net::{Server, ServerConfig};
/// let server = Server::bind(ServerConfig::listen(["127.0.0.1:4500".parse()?]))?;
/// futures_lite::future::block_on(server.run());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    hub: Mutex<Hub>,
    wakes: Mutex<HashMap<ConnId, Arc<Signal>>>,
    deadline: Mutex<Option<Instant>>,
    timer: Signal,
    events: Outlet<ServerEvent>,
    listeners: Mutex<Vec<TcpListener>>,
    addresses: Vec<SocketAddr>,
    executor: Mutex<Weak<Executor<'static>>>,
    next_conn: AtomicU64,
    sockets: AtomicUsize,
    max_sockets: usize,
    max_message_size: usize,
    rules: Arc<Rules>,
    door: Arc<Door>,
    /// Those at the hub that are not admitted yet, and what tells their sockets that they are.
    strangers: Mutex<HashMap<ConnId, (Stranger, Arc<AtomicBool>)>>,
    /// What is warned of once a minute.
    warnings: Mutex<Warnings>,
    closing: AtomicBool,
    /// Dropped when the server begins to end, which whoever speaks HTTP hears from `last_call`.
    open: Mutex<Option<Sender<()>>>,
    last_call: Receiver<()>,
    /// Dropped at the end, which every waiting `run` hears from `end`.
    running: Mutex<Option<Sender<()>>>,
    end: Receiver<()>,
    this: Weak<Inner>,
    #[cfg(feature = "tls")]
    tls: Mutex<Option<futures_rustls::TlsAcceptor>>,
    #[cfg(feature = "redis")]
    redis: Option<Arc<super::redis::Hook>>,
}

#[derive(Default)]
struct Warnings {
    accept: Seldom,
    full: Seldom,
    door: Seldom,
}

impl Server {
    /// Takes the ports. Nothing is served before [`Server::run`] is polled.
    pub fn bind(config: ServerConfig) -> Result<Server, StartError> {
        let (addresses, listeners): (Vec<_>, Vec<_>) =
            config.listen.iter().map(listening::listen).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        if !config.hub.authenticate && addresses.iter().any(|a| !a.ip().is_loopback()) {
            log::warn!(
                "open without authentication: whoever reaches this port may join, see who is here and call them"
            );
        }
        let door = Door::new(Limits {
            per_address: config.max_per_address,
            strangers_per_address: config.max_unauthenticated_per_address,
            strangers: config.max_unauthenticated,
            exempt: config.exempt.iter().chain(&config.trusted_proxies).copied().collect(),
        });
        let origins = config.origins.unwrap_or(Origins::Any);
        let rules = Rules::new(origins, config.handler, config.trusted_proxies, door.clone());
        let ((running, end), (open, last_call)) = (bounded(1), bounded(1));
        #[cfg(feature = "redis")]
        let redis = config.redis.map(|redis| Arc::new(super::redis::Hook::new(redis)));
        let inner = Arc::new_cyclic(|this| Inner {
            max_sockets: files::sockets(config.reserved_files)
                .min(config.hub.max_connections.saturating_add(SPARE_SOCKETS)),
            max_message_size: config.hub.max_message_size,
            #[cfg(feature = "redis")]
            hub: Mutex::new(match &redis {
                Some(redis) => Hub::clustered(config.hub, redis.settings(), Instant::now()),
                None => Hub::new(config.hub),
            }),
            #[cfg(not(feature = "redis"))]
            hub: Mutex::new(Hub::new(config.hub)),
            wakes: Mutex::default(),
            deadline: Mutex::default(),
            timer: Signal::default(),
            events: Outlet::new(),
            listeners: Mutex::new(listeners),
            addresses,
            executor: Mutex::default(),
            next_conn: AtomicU64::new(1),
            sockets: AtomicUsize::new(0),
            rules,
            door,
            strangers: Mutex::default(),
            warnings: Mutex::default(),
            closing: AtomicBool::new(false),
            open: Mutex::new(Some(open)),
            last_call,
            running: Mutex::new(Some(running)),
            end,
            this: this.clone(),
            #[cfg(feature = "tls")]
            tls: Mutex::new(config.tls.map(|tls| tls.config.into())),
            #[cfg(feature = "redis")]
            redis,
        });
        Ok(Server { inner })
    }

    /// Where it listens, with the ports that the system chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.inner.addresses
    }

    /// Sets the callback. Events come in order, one at a time, from within [`Server::run`].
    ///
    /// At a server that authenticates it must answer each [`ServerEvent::Authenticate`]: whom nobody answers is
    /// refused after [`verdict_timeout`](crate::server::Config::verdict_timeout). That is so at a camera's own
    /// server too, whose own check of its token then admits nobody (`camera::Admit`).
    pub fn on(&self, callback: impl FnMut(ServerEvent) + Send + 'static) {
        self.inner.events.set_callback(Box::new(callback));
    }

    /// Has `judge` called before the application hears of a newcomer; what it keeps, by `true`, the application
    /// does not hear of.
    #[cfg(feature = "camera")]
    pub(crate) fn judge(&self, mut judge: impl FnMut(&AuthRequest) -> bool + Send + 'static) {
        self.inner.events.set_hook(Box::new(move |event| match event {
            ServerEvent::Authenticate(request) => judge(request),
            _ => false,
        }));
    }

    /// The same events as a stream that holds at most `capacity`.
    pub fn events(&self, capacity: usize) -> Events<ServerEvent> {
        self.inner.events.stream(capacity)
    }

    /// Gives a message, as it stands, to the peers that its `to` names (`"user|id"`, `"user"`, a room, or a
    /// list of them), on all instances, without a permission check. Without a `to` it goes nowhere. Nobody is held
    /// for it: answers how many of the peers here did not get it because too much waits for them already. Those are told
    /// how much they missed.
    pub fn publish(&self, text: &str) -> usize {
        self.inner.with(|hub, now| hub.publish(text, now))
    }

    /// Throws out whom `address` names (`user|id`, or every session of `user`), on all instances: an `error`, then the close
    /// that goes with the status.
    pub fn kick(&self, address: &str, status: Status, message: &str) {
        self.inner.input(Input::Kick { whom: Whom::Address(address), status, message });
    }

    /// Where the peer with this address (`user|id`) comes from; `None` where it is none of this server's sockets.
    /// For limits and logs: no other peer is told.
    pub fn host_of(&self, address: &str) -> Option<IpAddr> {
        lock(&self.inner.hub).host_of(address)
    }

    /// Whether limits for each address leave this one out, since it stands for many.
    #[cfg(feature = "camera")]
    pub(crate) fn exempts(&self, host: IpAddr) -> bool {
        self.inner.door.is_exempt(host)
    }

    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        lock(&self.inner.hub).stats()
    }

    /// Whether Redis is there, if there is one: other instances are reached, and sessions can be looked up.
    #[cfg(feature = "redis")]
    pub fn redis_is_up(&self) -> Option<bool> {
        self.inner.redis.as_ref().map(|redis| redis.is_up())
    }

    /// Whether a peer is here whose session in Redis this token names.
    #[cfg(feature = "redis")]
    pub fn has_session(&self, token: &str) -> bool {
        self.inner.redis.as_ref().is_some_and(|redis| redis.has_session(token))
    }

    /// Shows this certificate from the next connection on; those that are open stay.
    #[cfg(feature = "tls")]
    pub fn set_tls(&self, tls: super::ServerTls) {
        *lock(&self.inner.tls) = Some(tls.config.into());
    }

    /// Says goodbye to every client and ends all [`Server::run`].
    pub fn shutdown(&self) {
        self.inner.closing.store(true, Ordering::Release);
        lock(&self.inner.open).take();
        self.inner.input(Input::Shutdown);
        self.inner.end_if_over();
        if let Some(executor) = lock(&self.inner.executor).upgrade() {
            let inner = self.inner.clone();
            executor
                .spawn(async move {
                    Timer::after(LAST_GOODBYE).await;
                    lock(&inner.running).take();
                })
                .detach();
        }
    }

    /// A client in this process, without a socket: its messages go straight to the hub, rate and number
    /// of such peers are not limited, and its rooms are trusted.
    #[cfg(feature = "client")]
    pub fn peer(&self, config: crate::client::Config) -> super::Client {
        super::Client::local(self.inner.clone(), config)
    }

    /// Serves until [`Server::shutdown`]. The first future listens; each further one, on a thread of its
    /// own, adds a core to the same hub.
    pub fn run(&self) -> impl Future<Output = ()> + Send + use<> {
        let inner = self.inner.clone();
        async move {
            let executor = inner.clone().executor();
            // Nothing is ever sent: this ends when the sender is dropped.
            _ = executor.run(inner.end.recv()).await;
            #[cfg(feature = "redis")]
            if let Some(redis) = &inner.redis {
                executor.run(redis.flush(&inner)).await;
            }
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.inner.addresses).finish_non_exhaustive()
    }
}

impl Inner {
    /// The executor that all `run` futures share. They alone own it, so that dropping them drops the
    /// tasks, and with them the sockets.
    fn executor(self: Arc<Self>) -> Arc<Executor<'static>> {
        let mut held = lock(&self.executor);
        if let Some(executor) = held.upgrade() {
            return executor;
        }
        let executor = Arc::new(Executor::new());
        *held = Arc::downgrade(&executor);
        drop(held);
        for listener in std::mem::take(&mut *lock(&self.listeners)) {
            executor.spawn(self.clone().accept(listener)).detach();
        }
        executor.spawn(self.clone().keep_time()).detach();
        #[cfg(feature = "redis")]
        if let Some(redis) = &self.redis {
            executor.spawn(redis.clone().run(self.clone())).detach();
        }
        executor
            .spawn({
                let inner = self.clone();
                async move { poll_fn(|cx| inner.poll_events(cx)).await }
            })
            .detach();
        executor
    }

    fn poll_events(&self, cx: &mut Context<'_>) -> Poll<()> {
        while self.events.poll(cx).is_ready() {}
        Poll::Pending
    }

    fn end_if_over(&self) {
        if self.closing.load(Ordering::Acquire) && self.sockets.load(Ordering::Acquire) == 0 {
            lock(&self.running).take();
        }
    }

    /// Hands one input to the hub and does what it answers.
    pub fn input(&self, input: Input<'_>) {
        self.with(|hub, now| hub.handle_input(input, now));
    }

    fn with<R>(&self, act: impl FnOnce(&mut Hub, Instant) -> R) -> R {
        let (mut wake, mut bus) = (Vec::new(), false);
        let (result, sooner) = {
            let mut hub = lock(&self.hub);
            let result = act(&mut hub, Instant::now());
            let deadline = loop {
                match hub.poll_output() {
                    Output::Ready(conn) | Output::Resume(conn) => wake.push(conn),
                    Output::Event(event) => {
                        if let Some((conn, verdict)) = self.tell(event) {
                            hub.handle_input(Input::Verdict { conn, verdict }, Instant::now());
                        }
                    }
                    Output::Bus => bus = true,
                    Output::Timeout(deadline) => break deadline,
                }
            };
            let held = std::mem::replace(&mut *lock(&self.deadline), deadline);
            (result, deadline.is_some_and(|d| held.is_none_or(|h| d < h)))
        };
        if !wake.is_empty() {
            let wakes = lock(&self.wakes);
            wake.iter().filter_map(|conn| wakes.get(conn)).for_each(|signal| signal.notify());
        }
        if sooner {
            self.timer.notify();
        }
        if bus {
            self.notify_bus();
        }
        result
    }

    #[cfg(feature = "redis")]
    fn notify_bus(&self) {
        if let Some(redis) = &self.redis {
            redis.notify();
        }
    }

    #[cfg(not(feature = "redis"))]
    fn notify_bus(&self) {}

    /// Under the hub's lock, so that the order of events is the hub's. Returns a verdict for which nobody has
    /// to be asked.
    fn tell(&self, event: Event) -> Option<(ConnId, Verdict)> {
        let event = match event {
            Event::Authenticate { conn, auth } => {
                let shown = match Shown::new(&auth, &self.rules) {
                    Ok(shown) => shown,
                    Err(wait) => return Some((conn, too_many_tries(wait))),
                };
                let request = AuthRequest { auth, conn, server: self.this.clone(), shown };
                #[cfg(feature = "redis")]
                if let Some(redis) = self.redis.as_ref().filter(|redis| redis.judges()) {
                    redis.ask(request);
                    return None;
                }
                ServerEvent::Authenticate(request)
            }
            Event::PeerOnline { conn, peer } => {
                if let Some((_, admitted)) = lock(&self.strangers).remove(&conn) {
                    admitted.store(true, Ordering::Release);
                }
                ServerEvent::PeerOnline(peer)
            }
            Event::PeerOffline { peer, .. } => ServerEvent::PeerOffline(peer),
            _ => return None,
        };
        self.events.push(event);
        None
    }

    /// Moves what the hub has for the bus into `batch`; whether more waits.
    #[cfg(feature = "redis")]
    pub fn take_bus(&self, max: usize, batch: &mut Vec<crate::server::cluster::Bus>) -> bool {
        self.with(|hub, now| hub.transmit_bus(max, now, batch))
    }

    /// Hands the hub what the bus answered.
    #[cfg(feature = "redis")]
    pub fn bus<'a>(&self, inputs: impl Iterator<Item = crate::server::cluster::BusInput<'a>>) {
        self.with(|hub, now| inputs.for_each(|input| hub.handle_input(Input::Bus(input), now)));
    }

    /// Whether the hub has something for the bus.
    #[cfg(feature = "redis")]
    pub fn says_more(&self) -> bool {
        self.with(|hub, now| hub.transmit_bus(0, now, &mut Vec::new()))
    }

    /// When the peer of a connection last sent a frame.
    #[cfg(feature = "redis")]
    pub fn last_active(&self, conn: ConnId) -> Option<Instant> {
        lock(&self.hub).last_active(conn)
    }

    async fn keep_time(self: Arc<Self>) {
        loop {
            let deadline = *lock(&self.deadline);
            let sooner = async {
                poll_fn(|cx| self.timer.poll(cx)).await;
                false
            };
            let due = async {
                match deadline {
                    Some(at) => _ = Timer::at(at).await,
                    None => std::future::pending().await,
                }
                true
            };
            if due.or(sooner).await {
                *lock(&self.deadline) = None;
                self.input(Input::Timeout);
            }
        }
    }

    /// Warns once a minute, in words that tell of how many.
    fn warn(&self, which: impl FnOnce(&mut Warnings) -> &mut Seldom, words: impl FnOnce(u64) -> String) {
        if let Some(count) = which(&mut lock(&self.warnings)).due(Instant::now()) {
            log::warn!("{}", words(count));
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let listener = match Async::new(listener) {
            Ok(listener) => listener,
            Err(e) => return log::error!("a listening socket cannot be used: {e}"),
        };
        loop {
            match listener.accept().await {
                Ok((tcp, peer)) => {
                    let Some(executor) = lock(&self.executor).upgrade() else { return };
                    if self.closing.load(Ordering::Acquire) {
                        return;
                    }
                    let Some(socket) = Socket::open(&self) else {
                        self.warn(|warnings| &mut warnings.full, |count| {
                            format!(
                                "{} sockets are open, as many as connections and open files allow: {count} \
                                 more were closed at once",
                                self.max_sockets
                            )
                        });
                        continue;
                    };
                    executor.spawn(self.clone().socket(tcp, peer.ip(), socket)).detach();
                }
                Err(e) => {
                    // Out of descriptors or memory: trying again at once would only burn the CPU.
                    self.warn(
                        |warnings| &mut warnings.accept,
                        |count| format!("a connection could not be accepted ({e}), {count} times"),
                    );
                    Timer::after(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

fn too_many_tries(wait: Duration) -> Verdict {
    let seconds = wait.as_secs_f64().ceil();
    let message = format!("Too many wrong tokens came from this address; try again in {seconds} s");
    Verdict::Refuse { status: Status::TOO_MANY, message }
}
