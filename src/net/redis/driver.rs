//! The server's connection to Redis: carries the hub's messages to other instances, and looks up sessions.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_lite::FutureExt;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Value};
use smol::Timer;
use smol::channel::{Receiver, Sender, unbounded};

use super::super::server::{self, AuthRequest, Inner, Task};
use super::super::signal::Signal;
use super::super::time::now;
use super::super::{lock, random_id};
use super::keys::{Keys, in_time, question, send};
use super::line::Line;
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
const AT_THE_DOOR: Duration = Duration::from_secs(2);

/// A verdict and a subscription take this long at most, so that a token may be forgotten whose connection is not
/// let in yet.
const ENTERING: Duration = Duration::from_secs(60);

/// Somebody at the door, and since when.
type Asker = (Instant, AuthRequest);

/// A hub that is one of several instances, and what it shares its peers by.
pub(crate) fn instance(config: Config, redis: RedisConfig) -> (Hub, Arc<dyn server::Bus>) {
    (Hub::clustered(config), Arc::new(Hook::new(redis)))
}

/// What a server keeps for its Redis.
struct Hook {
    config: RedisConfig,
    /// Locked while the hub is, if both are.
    cluster: Mutex<Cluster>,
    /// There is something for the bus.
    bus: Signal,
    asks: Sender<Asker>,
    asked: Receiver<Asker>,
    /// Whose session is behind which connection, and when it was last looked at.
    tokens: Mutex<HashMap<ConnId, (Token, Instant)>>,
    up: AtomicBool,
    /// Nothing that was taken from the hub is still on its way.
    idle: AtomicBool,
}

impl server::Bus for Hook {
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
        // Each is one of the hub's connections, so there are not many.
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
                && (!self.idle.load(Ordering::Acquire) || self.says_more(server))
            {
                Timer::after(Duration::from_millis(5)).await;
            }
        };
        let late = async { _ = Timer::after(Duration::from_millis(500)).await };
        Box::pin(done.or(late))
    }
}

impl Hook {
    fn new(config: RedisConfig) -> Self {
        let (asks, asked) = unbounded();
        let (up, idle) = (AtomicBool::new(false), AtomicBool::new(true));
        let cluster = Mutex::new(Cluster::new(settings(&config), now()));
        Hook { config, cluster, bus: Signal::default(), asks, asked, tokens: Mutex::default(), up, idle }
    }

    /// Hands over what the bus did.
    fn hear<'a>(&self, server: &Inner, inputs: impl IntoIterator<Item = BusInput<'a>>) {
        server.with(|_, now| {
            let mut cluster = lock(&self.cluster);
            inputs.into_iter().for_each(|input| cluster.handle_input(cluster::Input::Bus(input), now));
        });
    }

    /// Moves what is to be said into `batch`, up to about `max` bytes; whether more waits.
    fn take(&self, server: &Inner, max: usize, batch: &mut Vec<Bus>) -> bool {
        server.with(|_, _| lock(&self.cluster).transmit(max, batch))
    }

    fn says_more(&self, server: &Inner) -> bool {
        self.take(server, 0, &mut Vec::new())
    }

    /// Connects, stays connected, and comes back.
    async fn stay_connected(self: Arc<Self>, inner: Arc<Inner>) {
        let mut wait = BACKOFF.0;
        let mut door = VecDeque::new();
        loop {
            let open = async {
                let (weak, hook) = (Arc::downgrade(&inner), self.clone());
                let said = move |channel: &str, text: &str| {
                    let Some(inner) = weak.upgrade() else { return };
                    let said = match channel {
                        BROADCAST => BusInput::Broadcast { text },
                        _ => BusInput::Said { payload: text },
                    };
                    hook.hear(&inner, [said]);
                };
                Line::open(&self.config.url, Box::new(said)).await
            };
            match open.or(self.keep_door(&mut door)).await {
                Ok(line) => {
                    log::info!("connected to Redis");
                    wait = BACKOFF.0;
                    self.up.store(true, Ordering::Release);
                    self.hear(&inner, [BusInput::Up]);
                    self.serve(&inner, line, &mut door).await;
                    self.up.store(false, Ordering::Release);
                    self.idle.store(true, Ordering::Release);
                    self.hear(&inner, [BusInput::Down]);
                    log::warn!("lost the connection to Redis; reconnecting");
                }
                Err(e) => log::warn!("{e}; reconnecting in {wait:?}"),
            }
            // Several instances shall not come back in one instant.
            let jitter = getrandom::u32().unwrap_or(0) % 256;
            let pause = async { _ = Timer::after(wait / 2 + wait * jitter / 512).await };
            pause.or(self.keep_door(&mut door)).await;
            wait = (wait * 2).min(BACKOFF.1);
        }
    }

    /// Without Redis: who waits for too long hears so.
    async fn keep_door<T>(&self, door: &mut VecDeque<Asker>) -> T {
        loop {
            let first = door.front().map(|(since, _)| *since + AT_THE_DOOR);
            let due = async {
                match first {
                    Some(at) => _ = Timer::at(at).await,
                    None => std::future::pending().await,
                }
                None
            };
            match due.or(async { self.asked.recv().await.ok() }).await {
                Some(asker) => door.push_back(asker),
                None => _ = door.pop_front().map(|(_, request)| unavailable(&request)),
            }
        }
    }

    /// Ends when the connection does, or Redis takes too long.
    async fn serve(&self, inner: &Arc<Inner>, line: Line, door: &mut VecDeque<Asker>) {
        let Line { commands, driver } = line;
        let waiting = door.drain(..).map(|(_, request)| request).collect();
        let bus = self.carry(inner, commands.clone());
        let asks = self.judge(waiting, self.keys(&commands));
        let touches = self.touch(inner, self.keys(&commands));
        let place = self.keep_place(commands);
        driver.or(bus).or(asks).or(touches).or(place).await;
    }

    /// Who is asked for sessions.
    fn keys(&self, line: &MultiplexedConnection) -> Keys {
        match self.config.url.is_cluster() {
            true => Keys::Nodes(Nodes::new(self.config.url.clone())),
            false => Keys::Line(line.clone()),
        }
    }

    /// Ends when a cluster's node no longer holds the slot that all instances meet at: its connections
    /// outlive that, and so would two meeting places.
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

    /// What the hub says.
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
                self.hear(inner, done);
            }
            self.idle.store(true, Ordering::Release);
            poll_fn(|cx| self.bus.poll(cx)).await;
        }
    }

    /// Asks for the sessions of those at the door.
    async fn judge(&self, mut requests: Vec<AuthRequest>, mut keys: Keys) {
        loop {
            let mut next = None;
            if requests.is_empty() {
                let Ok(asker) = self.asked.recv().await else { return };
                next = Some(asker);
            }
            while let Some((since, request)) = next.take().or_else(|| self.asked.try_recv().ok()) {
                // While others were waited for.
                match now().saturating_duration_since(since) > AT_THE_DOOR {
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
                    // An admission is activity.
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

    /// Looks at the sessions of those who are here, and extends those of the active.
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
                            if at.saturating_duration_since(*last) > ENTERING {
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
                    // Who cannot be asked for stays.
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

/// Those whose sessions are being asked for. If that is given up, they hear so.
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

/// How the cluster takes part.
fn settings(config: &RedisConfig) -> ClusterSettings {
    let mut settings = ClusterSettings::new(random_id());
    settings.dead_after = config.dead_after;
    settings.queue_limit = config.queue_limit;
    settings.keep_for = config.keep_for;
    settings.heartbeat = (config.dead_after / 3).min(settings.heartbeat);
    settings.prefix = format!("symple:cluster:{}", config.url.db());
    settings
}

/// What the cluster says, as commands.
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
