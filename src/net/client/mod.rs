//! The client's driver: one future that connects, reads, writes, keeps time and delivers events.

mod dial;
mod waiting;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_lite::FutureExt;
use serde::Serialize;

#[cfg(feature = "camera")]
use super::events::Hook;
use super::events::{Events, Lossy, Outlet};
use super::signal::Signal;
use super::time::{Alarm, now};
use super::turn::{self, Turn};
use super::ws::{BATCH, Got, Put, WebSocket};
use super::{lock, random_seed};
pub use dial::UrlError;
use dial::{Dialer, Url};
pub use waiting::{Delivery, Reply};

#[cfg(doc)]
use crate::client::RequestError;
use crate::client::{Agent, AnswerId, CommandId, Config, Event, Input, Output, SendError};
use crate::proto::{CloseCode, Draft, Message, Object, Peer, Status, Token};

/// The maximum size of a received message: the default limit of servers.
const MAX_MESSAGE: usize = 512 << 10;

/// How long the close frame may take to leave.
const LINGER: Duration = Duration::from_secs(1);

/// An event of the core, or a report of lost events.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// An event.
    Event {
        /// The event.
        event: Event,
    },
    /// Events were lost because the reader of the stream was too slow.
    Lost {
        /// How many events.
        count: u64,
    },
}

impl Lossy for ClientEvent {
    fn lost(count: u64) -> Self {
        ClientEvent::Lost { count }
    }
}

/// A Symple client. Clones are handles of the same client; their methods do not block.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    running: AtomicBool,
    agent: Mutex<Agent>,
    changed: Signal,
    /// Tasks that wait for space in the core's queue.
    waiting: Mutex<Vec<Waker>>,
    #[cfg(feature = "camera")]
    hook: Hook<Event>,
    /// Tasks that wait for a reply or receipt.
    awaiting: Mutex<HashMap<AnswerId, Waker>>,
    events: Outlet<ClientEvent>,
    way: Way,
}

/// How to connect to the server.
enum Way {
    Dial(Mutex<Dialer>),
    #[cfg(feature = "server")]
    Local(Arc<super::server::Inner>),
}

impl Client {
    /// A client of the server at `url`, such as `ws://127.0.0.1:4500` or `wss://signal.example`. It does not connect
    /// before [`Client::run`] is polled.
    pub fn new(url: &str, config: Config) -> Result<Client, UrlError> {
        let dialer = Dialer {
            url: Url::parse(url)?,
            max_message_size: MAX_MESSAGE,
            #[cfg(feature = "tls")]
            roots: super::Roots::System,
        };
        Ok(Self::with(Way::Dial(Mutex::new(dialer)), config))
    }

    #[cfg(feature = "server")]
    pub(crate) fn local(server: Arc<super::server::Inner>, mut config: Config) -> Client {
        // The hub does not limit the rate of peers in its own process, and messages to one peer must not delay those
        // that another waits for.
        (config.rate, config.burst) = (u32::MAX, u32::MAX);
        Self::with(Way::Local(server), config)
    }

    fn with(way: Way, config: Config) -> Client {
        let agent = Mutex::new(Agent::new(config, random_seed(), now()));
        Client {
            inner: Arc::new(Inner {
                running: AtomicBool::new(false),
                agent,
                changed: Signal::default(),
                waiting: Mutex::default(),
                #[cfg(feature = "camera")]
                hook: Hook::unset(),
                awaiting: Mutex::default(),
                events: Outlet::new(),
                way,
            }),
        }
    }

    /// Trusts these root certificates for `wss://`, from the next connection on.
    #[cfg(feature = "tls")]
    pub fn trust(&self, roots: super::Roots) {
        match &self.inner.way {
            Way::Dial(dialer) => lock(dialer).roots = roots,
            #[cfg(feature = "server")]
            Way::Local(_) => {}
        }
    }

    /// Sets the callback. Events arrive in order, one at a time, from within [`Client::run`]. A callback that owns a
    /// clone of the client keeps it alive.
    pub fn on(&self, mut callback: impl FnMut(Event) + Send + 'static) {
        self.inner.events.set_callback(Box::new(move |event| match event {
            ClientEvent::Event { event } => callback(event),
            ClientEvent::Lost { count } => {
                log::error!("{count} events were lost: the callback does not return")
            }
        }));
    }

    /// A callback of the crate's own, called for every event before the application's. It misses none, however long the
    /// application's takes.
    #[cfg(feature = "camera")]
    pub(crate) fn hook(&self, mut callback: impl FnMut(Event) + Send + 'static) {
        self.inner.hook.set(Box::new(move |event| callback(event.clone())));
    }

    /// The same events as a stream that buffers at most `capacity`.
    pub fn events(&self, capacity: usize) -> Events<ClientEvent> {
        self.inner.events.stream(capacity)
    }

    /// Sends a message, and returns its `id`.
    pub fn send(&self, draft: Draft) -> Result<String, SendError> {
        self.with_agent(|agent, now| agent.send(draft, now))
    }

    /// Waits until at least half of `outbox_limit` is free, so that [`Client::send`] does not return
    /// [`SendError::Full`]. This paces the sender at the server's rate limit and at slow recipients. Errors: there is
    /// no connection, or it is lost while waiting.
    ///
    /// ```no_run
    /// # async fn all(client: symple::Client, lines: Vec<String>) -> Result<(), symple::client::SendError> {
    /// use symple::proto::{Draft, Kind};
    ///
    /// for line in lines {
    ///     client.room_to_send().await?;
    ///     client.send(Draft::new(Kind::Message).to("log").with("body", &line))?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn room_to_send(&self) -> impl Future<Output = Result<(), SendError>> + Send + use<> {
        let inner = self.inner.clone();
        poll_fn(move |cx| {
            let agent = lock(&inner.agent);
            match agent.has_room() {
                Ok(true) => Poll::Ready(Ok(())),
                Ok(false) => {
                    // Under the lock, so that the driver cannot make room in between.
                    let mut waiting = lock(&inner.waiting);
                    if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                        waiting.push(cx.waker().clone());
                    }
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(error)),
            }
        })
    }

    /// Joins a room, now and after every reconnect.
    pub fn join(&self, room: &str) -> Result<(), SendError> {
        self.with_agent(|agent, now| agent.join(room, now))
    }

    /// Leaves a room for good.
    pub fn leave(&self, room: &str) -> Result<(), SendError> {
        self.with_agent(|agent, now| agent.leave(room, now))
    }

    /// Merges this into our presence data, and announces it.
    pub fn set_data(&self, data: Object) -> Result<(), SendError> {
        self.with_agent(|agent, now| agent.set_data(data, now))
    }

    /// Requests the presence of everybody who shares a room with us.
    pub fn probe(&self) -> Result<(), SendError> {
        self.with_agent(|agent, now| agent.probe(now))
    }

    /// Sends a command `action` to the node `node` of a peer, and awaits its reply, which is also an event. The command
    /// is sent at once; the future only waits, on any runtime, and needs [`Client::run`] to run elsewhere. A reply with
    /// status 202 restarts the timeout.
    ///
    /// Errors: see [`RequestError`]; a reply with a status of 400 or more is [`RequestError::Refused`].
    ///
    /// ```no_run
    /// # async fn zoom(client: symple::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use serde_json::json;
    /// use symple::client::RequestError;
    ///
    /// match client.request("camera", "lens", "zoom", &json!({ "level": 2 })).await {
    ///     Ok(reply) => println!("it zooms: {}", reply.data::<serde_json::Value>()?),
    ///     Err(RequestError::Refused { status, .. }) => println!("it does not: {status}"),
    ///     Err(error) => println!("no reply ({}): {error}", error.code()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn request<T: Serialize + ?Sized>(&self, to: &str, node: &str, action: &str, data: &T) -> Reply {
        let sent = self.with_agent(|agent, now| agent.request(to, node, action, data, now));
        Reply::new(&self.inner, sent)
    }

    /// Sends a message, and awaits the server's receipt, which is also an event: how many sessions received it. The
    /// message is sent at once; the future only waits.
    ///
    /// Errors: see [`RequestError`]; [`RequestError::NobodyThere`] if nobody received it, and
    /// [`RequestError::TimedOut`] also from a server without receipts.
    ///
    /// ```no_run
    /// # async fn chat(client: symple::Client) -> Result<(), symple::client::RequestError> {
    /// use symple::proto::{Draft, Kind};
    ///
    /// let hello = Draft::new(Kind::Message).to("bob").data("hello");
    /// println!("{} got it", client.deliver(hello).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn deliver(&self, draft: Draft) -> Delivery {
        let sent = self.with_agent(|agent, now| agent.deliver(draft, now));
        Delivery::new(&self.inner, sent)
    }

    /// Sends a command to a peer. Its reply, or the timeout, is an event with the same id.
    pub fn command<T: Serialize + ?Sized>(
        &self,
        to: &str,
        node: &str,
        action: &str,
        data: &T,
    ) -> Result<CommandId, SendError> {
        self.with_agent(|agent, now| agent.command(to, node, action, data, now))
    }

    /// Replies to a command.
    pub fn reply<T: Serialize + ?Sized>(
        &self,
        command: &Message,
        status: Status,
        data: &T,
    ) -> Result<(), SendError> {
        self.with_agent(|agent, now| agent.reply(command, status, data, now))
    }

    /// Our own peer as the server knows it; `None` while offline.
    pub fn peer(&self) -> Option<Peer> {
        lock(&self.inner.agent).peer().cloned()
    }

    /// The peers that are online.
    pub fn roster(&self) -> Vec<Peer> {
        lock(&self.inner.agent).roster().cloned().collect()
    }

    /// Sets the token for the next connection, if the old one has expired; after a refusal ended the client, call
    /// [`Client::run`] again.
    pub fn set_token(&self, token: Option<Token>) {
        self.with_agent(|agent, _| agent.set_token(token));
    }

    /// Disconnects and ends [`Client::run`].
    pub fn close(&self) {
        self.with_agent(|agent, now| agent.close(now));
    }

    /// Connects, and stays connected, until the server refuses, the client gives up, or it is closed; the last event,
    /// [`Event::Ended`], tells which. If several such futures exist, only the first does anything; when it is dropped,
    /// so is the connection, and the next one reconnects.
    pub fn run(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut driver = Driver {
            inner: self.inner.clone(),
            line: None,
            out: VecDeque::new(),
            full: false,
            alarm: Alarm::unset(),
            goodbye: None,
            ended: false,
        };
        async move {
            let Some(_running) = Running::begin(&driver.inner) else {
                return log::error!("the client is already running; this second run() does nothing");
            };
            lock(&driver.inner.agent).connect(now());
            poll_fn(|cx| driver.poll(cx)).await;
        }
    }

    fn with_agent<R>(&self, act: impl FnOnce(&mut Agent, Instant) -> R) -> R {
        let result = act(&mut lock(&self.inner.agent), now());
        self.inner.changed.notify();
        result
    }
}

impl Inner {
    fn input(&self, input: Input<'_>) {
        lock(&self.agent).handle_input(input, now());
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// The only running driver of a client. Dropping it drops the connection.
struct Running(Arc<Inner>);

impl Running {
    fn begin(inner: &Arc<Inner>) -> Option<Running> {
        (!inner.running.swap(true, Ordering::AcqRel)).then(|| Running(inner.clone()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.input(Input::Closed { code: None, reason: "the driver stopped" });
        // No event wakes these tasks.
        let wakers = std::mem::take(&mut *lock(&self.0.waiting));
        let awaiting = std::mem::take(&mut *lock(&self.0.awaiting));
        wakers.into_iter().chain(awaiting.into_values()).for_each(Waker::wake);
        self.0.running.store(false, Ordering::Release);
    }
}

/// The state of the connection.
enum Line {
    Dialling(Pin<Box<dyn Future<Output = Result<WebSocket, String>> + Send>>),
    Socket(Box<WebSocket>),
    #[cfg(feature = "server")]
    Local(Local),
}

/// Why a connection ended.
type Closed = (Option<CloseCode>, String);

/// A connection to a server in this process.
#[cfg(feature = "server")]
struct Local {
    port: super::server::Port,
    batch: Vec<crate::server::Transmit>,
    opened: bool,
    /// The hub accepts nothing from it, because a recipient's queue is full.
    held: bool,
}

#[cfg(feature = "server")]
impl Local {
    fn exchange(
        &mut self,
        inner: &Inner,
        out: &mut VecDeque<Put>,
        cx: &mut Context<'_>,
    ) -> Result<bool, Closed> {
        use crate::server::Transmit;
        let mut any = !std::mem::replace(&mut self.opened, true);
        if any {
            inner.input(Input::Opened);
        }
        if self.port.signal.take(cx) {
            self.held = self.held && self.port.is_held();
        }
        while !self.held
            && let Some(put) = out.pop_front()
        {
            any = true;
            match put {
                Put::Text(text) => self.held = self.port.send(&text),
                // A connection in this process is answered at once.
                Put::Ping => inner.input(Input::Alive),
                Put::Close(..) => {}
            }
        }
        self.port.transmit(BATCH, None, &mut self.batch);
        for transmit in self.batch.drain(..) {
            any = true;
            match transmit {
                Transmit::Text(text) => inner.input(Input::Text(&text)),
                Transmit::Ping => inner.input(Input::Alive),
                Transmit::Close { code, reason } => return Err((Some(code), reason.to_string())),
            }
        }
        Ok(any)
    }
}

/// A socket that is being closed, and still sends its close frame.
struct Goodbye {
    link: Box<WebSocket>,
    out: VecDeque<Put>,
    alarm: Alarm,
}

struct Driver {
    inner: Arc<Inner>,
    line: Option<Line>,
    out: VecDeque<Put>,
    /// The connection does not accept all of that at the moment, and the core knows.
    full: bool,
    alarm: Alarm,
    goodbye: Option<Goodbye>,
    ended: bool,
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        turn::poll(cx, |cx| self.turn(cx))
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Turn<()> {
        self.drain();
        let mut any = self.inner.events.poll(cx).is_ready();
        any |= self.inner.changed.poll(cx).is_ready();
        any |= self.poll_alarm(cx);
        any |= self.poll_line(cx);
        any |= self.tell_fullness();
        self.poll_goodbye(cx);
        if self.ended && self.goodbye.is_none() {
            while self.inner.events.poll(cx).is_ready() {}
            return Turn::Done(());
        }
        Turn::after(any)
    }

    fn input(&self, input: Input<'_>) {
        self.inner.input(input);
    }

    /// Executes all outputs of the core.
    fn drain(&mut self) {
        let inner = self.inner.clone();
        let mut wakers = Vec::new();
        loop {
            // Events are delivered without a lock.
            let output = lock(&inner.agent).poll_output();
            match output {
                Output::Open => self.line = Some(self.open()),
                Output::Send(text) => self.out.push_back(Put::Text(text.into())),
                Output::Ping => self.out.push_back(Put::Ping),
                Output::Close { code, reason } => self.hang_up(code, reason),
                Output::Event(event) => {
                    if matches!(event, Event::Ended { .. }) {
                        self.ended = true;
                    }
                    #[cfg(feature = "camera")]
                    inner.hook.call(&event);
                    inner.events.push(ClientEvent::Event { event });
                }
                Output::Answered(id) => wakers.extend(lock(&inner.awaiting).remove(&id)),
                Output::Timeout(at) => {
                    self.alarm.set(at);
                    break;
                }
            }
        }
        let agent = lock(&inner.agent);
        if agent.has_room() != Ok(false) {
            wakers.append(&mut lock(&inner.waiting));
        }
        drop(agent);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Drops the connection; a socket may still send what is queued and the close.
    fn hang_up(&mut self, code: CloseCode, reason: &'static str) {
        let mut out = std::mem::take(&mut self.out);
        match self.line.take() {
            Some(Line::Socket(link)) => {
                out.push_back(Put::Close(code, reason.into()));
                self.goodbye = Some(Goodbye { link, out, alarm: Alarm::after(LINGER) });
            }
            #[cfg(feature = "server")]
            Some(Line::Local(local)) => {
                for put in out {
                    if let Put::Text(text) = put {
                        _ = local.port.send(&text);
                    }
                }
            }
            _ => {}
        }
    }

    fn poll_goodbye(&mut self, cx: &mut Context<'_>) {
        let Some(Goodbye { link, out, alarm }) = &mut self.goodbye else { return };
        let written = Self::write(link, out, cx);
        // Read until nothing is left: otherwise no wake-up follows for the answer after it.
        let answered = turn::poll(cx, |cx| match link.poll_read(cx) {
            Poll::Ready(Got::Closed(..) | Got::TooLarge | Got::Malformed(_)) => Turn::Done(()),
            Poll::Ready(_) => Turn::Again,
            Poll::Pending => Turn::Rest,
        });
        if written.is_err() || answered.is_ready() || alarm.poll(cx).is_ready() {
            self.goodbye = None;
        }
    }

    /// Tells the core whether its messages are being sent, so that they wait there, within its limit. Returns whether
    /// that has changed.
    fn tell_fullness(&mut self) -> bool {
        let full = !self.out.is_empty();
        if full == self.full {
            return false;
        }
        self.full = full;
        self.input(if full { Input::Full } else { Input::Writable });
        true
    }

    fn open(&mut self) -> Line {
        self.out.clear();
        self.full = false;
        match &self.inner.way {
            Way::Dial(dialer) => Line::Dialling(lock(dialer).clone().dial().boxed()),
            #[cfg(feature = "server")]
            Way::Local(server) => Line::Local(Local {
                port: super::server::Port::open(server, None),
                batch: Vec::new(),
                opened: false,
                held: false,
            }),
        }
    }

    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> bool {
        let due = self.alarm.poll(cx).is_ready();
        if due {
            self.input(Input::Timeout);
        }
        due
    }

    /// Whether anything happened.
    fn poll_line(&mut self, cx: &mut Context<'_>) -> bool {
        let result = match &mut self.line {
            None => return false,
            Some(Line::Dialling(dial)) => match dial.poll(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(link)) => {
                    self.line = Some(Line::Socket(Box::new(link)));
                    self.input(Input::Opened);
                    return true;
                }
                Poll::Ready(Err(reason)) => {
                    self.line = None;
                    self.input(Input::OpenFailed { reason: &reason });
                    return true;
                }
            },
            Some(Line::Socket(link)) => Self::read(&self.inner, link, cx)
                .and_then(|read| Ok(Self::write(link, &mut self.out, cx)? | read)),
            #[cfg(feature = "server")]
            Some(Line::Local(local)) => local.exchange(&self.inner, &mut self.out, cx),
        };
        result.unwrap_or_else(|(code, reason)| {
            self.line = None;
            self.out.clear();
            self.input(Input::Closed { code, reason: &reason });
            true
        })
    }

    fn read(inner: &Inner, link: &mut WebSocket, cx: &mut Context<'_>) -> Result<bool, Closed> {
        let Poll::Ready(got) = link.poll_read(cx) else { return Ok(false) };
        match got {
            Got::Text(text) => inner.input(Input::Text(&text)),
            Got::Binary | Got::Alive => inner.input(Input::Alive),
            Got::Closed(code, reason) => return Err((code, reason)),
            Got::TooLarge => return Err((None, "the server sent a message that is too large".into())),
            Got::Malformed(code) => {
                return Err((
                    None,
                    format!("the server violated the WebSocket protocol (close code {code})"),
                ));
            }
        }
        Ok(true)
    }

    fn write(link: &mut WebSocket, out: &mut VecDeque<Put>, cx: &mut Context<'_>) -> Result<bool, Closed> {
        let failed = |e: async_tungstenite::tungstenite::Error| (None, e.to_string());
        let mut any = false;
        loop {
            match link.poll_flush(cx) {
                Poll::Pending => return Ok(any),
                Poll::Ready(result) => result.map_err(failed)?,
            }
            if out.is_empty() {
                return Ok(any);
            }
            let mut room = BATCH as isize;
            while room > 0
                && let Some(put) = out.pop_front()
            {
                room -= if let Put::Text(text) = &put { text.len() as isize } else { 8 };
                link.put(put).map_err(failed)?;
                any = true;
            }
        }
    }
}
