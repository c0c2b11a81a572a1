//! The server's connection to Redis: carries the hub's messages to other instances, and looks up sessions.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_lite::FutureExt;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Value};
use smol::channel::{Receiver, Sender, unbounded};

use super::super::server::{self, AuthRequest, Inner, Task};
use super::super::time::{Timer, now};
use super::super::wake::Signal;
use super::super::{lock, random_id};
use super::connection::Connection;
use super::keys::{Keys, in_time, question, send};
use super::nodes::{Ask, Nodes};
use super::sessions::verdict;
use super::{RedisConfig, key};
use crate::proto::{Status, Token};
use crate::server::cluster::{self, BROADCAST, Bus, BusInput, Cluster, ClusterSettings};
use crate::server::{Config, ConnId, Hub, Input, Verdict, Whom};

/// The maximum size of one batch to Redis, in bytes.
const BATCH: usize = 256 << 10;

/// The maximum number of sessions in one lookup.
const ASKED: usize = 256;

/// The first delay before reconnecting to Redis, and the longest: well below the time after which other instances would
/// consider us dead.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How long an authenticating client waits while Redis is connecting; the protocol allows 5 s for the answer.
const LOOKUP_WAIT: Duration = Duration::from_secs(2);

/// The maximum time between a verdict and an admission. Tokens of connections that are still not admitted by then are
/// forgotten.
const ADMISSION_MAX: Duration = Duration::from_secs(60);

/// A client that waits for its session to be looked up, and since when.
type Waiting = (Instant, AuthRequest);

/// A hub that is one of several instances, and the bus by which it shares its peers.
pub(crate) fn instance(config: Config, redis: RedisConfig) -> (Hub, Arc<dyn server::Bus>) {
    (Hub::clustered(config), Arc::new(RedisBus::new(redis)))
}

/// What a server keeps for its Redis.
struct RedisBus {
    config: RedisConfig,
    /// When both are locked, the hub is locked first.
    cluster: Mutex<Cluster>,
    /// Notified when there are commands for the bus.
    bus: Signal,
    asks: Sender<Waiting>,
    asked: Receiver<Waiting>,
    /// The token of each connection, and when its session was last checked.
    tokens: Mutex<HashMap<ConnId, (Token, Instant)>>,
    up: AtomicBool,
    /// Whether nothing taken from the hub is still on its way.
    idle: AtomicBool,
}

impl server::Bus for RedisBus {
    fn exchange(&self, hub: &mut Hub, now: Instant) -> Instant {
        let (wanted, due) = lock(&self.cluster).exchange(hub, now);
        if wanted {
            self.bus.notify();
        }
        due
    }

    fn timeout(&self, now: Instant) {
        lock(&self.cluster).handle_input(cluster::Input::Timeout, now);
    }

    fn dropped(&self) -> u64 {
        lock(&self.cluster).dropped()
    }

    fn judge(&self, request: AuthRequest) -> Option<AuthRequest> {
        if !self.config.sessions {
            return Some(request);
        }
        // Each client in it has a connection at the hub, so the number is limited.
        _ = self.asks.try_send((now(), request));
        None
    }

    fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    fn has_session(&self, token: &str) -> bool {
        lock(&self.tokens).values().any(|(known, _)| known.is(token))
    }

    fn run(self: Arc<Self>, server: Arc<Inner>) -> Task<'static> {
        Box::pin(self.stay_connected(server))
    }

    fn flush<'a>(&'a self, server: &'a Inner) -> Task<'a> {
        let done = async {
            while self.up.load(Ordering::Acquire)
                && (!self.idle.load(Ordering::Acquire) || self.has_commands(server))
            {
                Timer::after(Duration::from_millis(5)).await;
            }
        };
        let late = async { _ = Timer::after(Duration::from_millis(500)).await };
        Box::pin(done.or(late))
    }
}

impl RedisBus {
    fn new(config: RedisConfig) -> Self {
        let (asks, asked) = unbounded();
        let (up, idle) = (AtomicBool::new(false), AtomicBool::new(true));
        let cluster = Mutex::new(Cluster::new(settings(&config), now()));
        RedisBus { config, cluster, bus: Signal::default(), asks, asked, tokens: Mutex::default(), up, idle }
    }

    /// Passes events of the bus to the cluster.
    fn pass<'a>(&self, server: &Inner, inputs: impl IntoIterator<Item = BusInput<'a>>) {
        server.with(|_, now| {
            let mut cluster = lock(&self.cluster);
            inputs.into_iter().for_each(|input| cluster.handle_input(cluster::Input::Bus(input), now));
        });
    }

    /// Moves commands for the bus into `batch`, up to about `max` bytes; returns whether more are waiting.
    fn take(&self, server: &Inner, max: usize, batch: &mut Vec<Bus>) -> bool {
        server.with(|_, _| lock(&self.cluster).transmit(max, batch))
    }

    fn has_commands(&self, server: &Inner) -> bool {
        self.take(server, 0, &mut Vec::new())
    }

    /// Connects, stays connected, and reconnects.
    async fn stay_connected(self: Arc<Self>, inner: Arc<Inner>) {
        let mut wait = BACKOFF.0;
        let mut queue = VecDeque::new();
        loop {
            let open = async {
                let (weak, bus) = (Arc::downgrade(&inner), self.clone());
                let said = move |channel: &str, text: &str| {
                    let Some(inner) = weak.upgrade() else { return };
                    let said = match channel {
                        BROADCAST => BusInput::Broadcast { text },
                        _ => BusInput::Said { payload: text },
                    };
                    bus.pass(&inner, [said]);
                };
                Connection::open(&self.config.url, Box::new(said)).await
            };
            match open.or(self.refuse_late(&mut queue)).await {
                Ok(line) => {
                    log::info!("connected to Redis");
                    wait = BACKOFF.0;
                    self.up.store(true, Ordering::Release);
                    self.pass(&inner, [BusInput::Up]);
                    self.serve(&inner, line, &mut queue).await;
                    self.up.store(false, Ordering::Release);
                    self.idle.store(true, Ordering::Release);
                    self.pass(&inner, [BusInput::Down]);
                    log::warn!("lost the connection to Redis; reconnecting");
                }
                Err(e) => log::warn!("{e}; reconnecting in {wait:?}"),
            }
            // The instances must not all reconnect at the same moment.
            let jitter = getrandom::u32().unwrap_or(0) % 256;
            let pause = async { _ = Timer::after(wait / 2 + wait * jitter / 512).await };
            pause.or(self.refuse_late(&mut queue)).await;
            wait = (wait * 2).min(BACKOFF.1);
        }
    }

    /// While Redis is disconnected: refuses clients that have waited for too long.
    async fn refuse_late<T>(&self, queue: &mut VecDeque<Waiting>) -> T {
        loop {
            let first = queue.front().map(|(since, _)| *since + LOOKUP_WAIT);
            let due = async {
                match first {
                    Some(at) => _ = Timer::at(at).await,
                    None => std::future::pending().await,
                }
                None
            };
            match due.or(async { self.asked.recv().await.ok() }).await {
                Some(asker) => queue.push_back(asker),
                None => _ = queue.pop_front().map(|(_, request)| unavailable(&request)),
            }
        }
    }

    /// Ends when the connection does, or Redis takes too long.
    async fn serve(&self, inner: &Arc<Inner>, line: Connection, queue: &mut VecDeque<Waiting>) {
        let Connection { commands, driver } = line;
        let waiting = queue.drain(..).map(|(_, request)| request).collect();
        let bus = self.carry(inner, commands.clone());
        let asks = self.judge(waiting, self.keys(&commands));
        let touches = self.touch(inner, self.keys(&commands));
        let place = self.keep_place(commands);
        driver.or(bus).or(asks).or(touches).or(place).await;
    }

    /// Where to look up sessions.
    fn keys(&self, line: &MultiplexedConnection) -> Keys {
        match self.config.url.is_cluster() {
            true => Keys::Nodes(Nodes::new(self.config.url.clone())),
            false => Keys::Line(line.clone()),
        }
    }

    /// Ends when a cluster's node no longer serves the slot where all instances meet. Its connections would survive
    /// that, and the instances would meet at two nodes.
    async fn keep_place(&self, mut redis: MultiplexedConnection) {
        if !self.config.url.is_cluster() {
            return std::future::pending().await;
        }
        let mut look = redis::cmd("EXISTS");
        look.arg(BROADCAST);
        loop {
            Timer::after(self.config.touch_interval).await;
            match in_time(look.query_async::<bool>(&mut redis)).await {
                Some(Ok(_)) => {}
                Some(Err(_)) => return log::info!("the cluster's instances now meet at another node"),
                None => return,
            }
        }
    }

    /// Sends the commands of the cluster.
    async fn carry(&self, inner: &Inner, mut redis: MultiplexedConnection) {
        loop {
            let (mut batch, mut more) = (Vec::new(), true);
            while more {
                self.idle.store(false, Ordering::Release);
                more = self.take(inner, BATCH, &mut batch);
                if batch.is_empty() {
                    break;
                }
                if batch.contains(&Bus::Reset) {
                    return;
                }
                let Some(answers) = send(&mut redis, &commands(&batch)).await else { return };
                let done = batch.drain(..).zip(&answers).filter_map(|(bus, answer)| match (bus, answer) {
                    (Bus::Subscribe { tag, .. }, _) => Some(BusInput::Subscribed(tag)),
                    (Bus::Publish { tag: Some(tag), .. }, Value::Int(heard)) => {
                        Some(BusInput::Published { tag, receivers: u64::try_from(*heard).unwrap_or(0) })
                    }
                    _ => None,
                });
                self.pass(inner, done);
            }
            self.idle.store(true, Ordering::Release);
            poll_fn(|cx| self.bus.poll(cx)).await;
        }
    }

    /// Looks up the sessions of waiting clients.
    async fn judge(&self, mut requests: Vec<AuthRequest>, mut keys: Keys) {
        loop {
            let mut next = None;
            if requests.is_empty() {
                let Ok(asker) = self.asked.recv().await else { return };
                next = Some(asker);
            }
            while let Some((since, request)) = next.take().or_else(|| self.asked.try_recv().ok()) {
                // Further clients that arrived during the last lookup.
                match now().saturating_duration_since(since) > LOOKUP_WAIT {
                    true => unavailable(&request),
                    false => requests.push(request),
                }
                if requests.len() >= ASKED {
                    break;
                }
            }
            if requests.is_empty() {
                continue;
            }
            let asked = Asked { requests: std::mem::take(&mut requests) };
            let questions: Vec<Ask> = asked
                .requests
                .iter()
                .map(|request| {
                    let key =
                        request.auth.token.as_ref().map(|token| key(token.reveal())).unwrap_or_default();
                    // An admission counts as activity.
                    let extend = self.config.session_ttl;
                    question("GET", key, extend)
                })
                .collect();
            let Some(answers) = keys.ask(&questions).await else { return };
            for (request, answer) in asked.done().into_iter().zip(answers) {
                let stored = match answer {
                    Ok(Value::BulkString(stored)) => Some(stored),
                    Ok(_) => None,
                    Err(e) if e.code() == "malformed" => Some(Vec::new()),
                    Err(e) => {
                        log::warn!("cannot look up a session: {e}");
                        unavailable(&request);
                        continue;
                    }
                };
                let verdict = verdict(stored.as_deref());
                if let (Verdict::Admit(_), Some(token)) = (&verdict, &request.auth.token) {
                    lock(&self.tokens).insert(request.conn(), (token.clone(), now()));
                }
                request.answer(verdict);
            }
        }
    }

    /// Checks the sessions of connected peers, and extends those of active ones.
    async fn touch(&self, inner: &Inner, mut keys: Keys) {
        loop {
            Timer::after(self.config.touch_interval).await;
            let at = now();
            let held: Vec<(ConnId, Token, Instant)> =
                lock(&self.tokens).iter().map(|(conn, (token, at))| (*conn, token.clone(), *at)).collect();
            for part in held.chunks(ASKED) {
                let (mut look, mut looked) = (Vec::new(), Vec::new());
                for (conn, token, last) in part {
                    let extend = match inner.last_active(*conn) {
                        None => {
                            if at.saturating_duration_since(*last) > ADMISSION_MAX {
                                lock(&self.tokens).remove(conn);
                            }
                            continue;
                        }
                        Some(active) => self.config.session_ttl.filter(|_| active >= *last),
                    };
                    look.push(question("EXISTS", key(token.reveal()), extend));
                    looked.push(*conn);
                }
                if looked.is_empty() {
                    continue;
                }
                let Some(answers) = keys.ask(&look).await else { return };
                for (conn, answer) in looked.into_iter().zip(answers) {
                    // If the session cannot be checked, the peer stays.
                    let Ok(Value::Int(there)) = answer else { continue };
                    let there = there > 0;
                    if there {
                        lock(&self.tokens).entry(conn).and_modify(|(_, looked)| *looked = at);
                        continue;
                    }
                    lock(&self.tokens).remove(&conn);
                    inner.input(Input::Kick {
                        whom: Whom::Conn(conn),
                        status: Status::UNAUTHORIZED,
                        message: "Authentication failed: The session has ended",
                    });
                }
            }
        }
    }
}

/// Clients whose sessions are being looked up. If the lookup is abandoned, they are refused.
struct Asked {
    requests: Vec<AuthRequest>,
}

impl Asked {
    fn done(mut self) -> Vec<AuthRequest> {
        std::mem::take(&mut self.requests)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.requests.iter().for_each(unavailable);
    }
}

fn unavailable(request: &AuthRequest) {
    request.refuse(Status::UNAVAILABLE, "Authentication is temporarily unavailable; try again");
}

/// The settings of the cluster.
fn settings(config: &RedisConfig) -> ClusterSettings {
    let mut settings = ClusterSettings::new(random_id());
    settings.dead_after = config.dead_after;
    settings.queue_limit = config.queue_limit;
    settings.keep_for = config.keep_for;
    settings.heartbeat = (config.dead_after / 3).min(settings.heartbeat);
    settings.prefix = format!("symple:cluster:{}", config.url.db());
    settings
}

/// The cluster's commands as a Redis pipeline.
fn commands(batch: &[Bus]) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(batch.len());
    for bus in batch {
        match bus {
            Bus::Subscribe { channel, .. } => pipeline.cmd("SUBSCRIBE").arg(channel),
            Bus::Unsubscribe { channel } => pipeline.cmd("UNSUBSCRIBE").arg(channel),
            Bus::Publish { channel, payload, .. } => pipeline.cmd("PUBLISH").arg(&**channel).arg(&**payload),
            Bus::Reset => continue,
        };
    }
    pipeline
}
