//! A client as the application has it; [`driver`] runs it.

mod dial;
mod driver;
mod waiting;

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Instant;

use serde::Serialize;

#[cfg(any(feature = "camera", feature = "calls"))]
use super::events::Hook;
use super::events::{Events, Lossy, Outlet};
use super::time::now;
use super::wake::Signal;
use super::{lock, random_seed};
pub use dial::UrlError;
use dial::{Dialer, Url};
use driver::{Driver, Running};
pub use waiting::{Delivery, Reply};

#[cfg(doc)]
use crate::client::RequestError;
use crate::client::{Agent, AnswerId, CommandId, Config, Event, Input, SendError};
use crate::proto::{Draft, Message, Object, Peer, Status, Token};

/// The maximum size of a received message: the default limit of servers.
const MAX_MESSAGE: usize = 512 << 10;

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
    #[cfg(any(feature = "camera", feature = "calls"))]
    hook: Hook<Event>,
    /// Where replies go first: a command may have come past the server.
    #[cfg(feature = "channels")]
    replies: Mutex<Option<ReplyRoute>>,
    /// Tasks that wait for a reply or receipt.
    awaiting: Mutex<HashMap<AnswerId, Waker>>,
    events: Outlet<ClientEvent>,
    way: Way,
}

/// Takes the reply to a command, whole and without `to`, if the command came by its way.
#[cfg(feature = "channels")]
type ReplyRoute = Arc<dyn Fn(&Message, Status, String) -> Option<Result<(), SendError>> + Send + Sync>;

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
                #[cfg(any(feature = "camera", feature = "calls"))]
                hook: Hook::unset(),
                #[cfg(feature = "channels")]
                replies: Mutex::default(),
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

    /// Adds a callback of the crate's own, called for every event before the application's. It misses none, however long
    /// the application's takes, and stays as long as the client.
    #[cfg(any(feature = "camera", feature = "calls"))]
    pub(crate) fn hook(&self, mut callback: impl FnMut(Event) + Send + 'static) {
        self.inner.hook.add(Box::new(move |event| callback(event.clone())));
    }

    /// Sets where replies go first.
    #[cfg(feature = "channels")]
    pub(crate) fn route_replies(
        &self,
        route: impl Fn(&Message, Status, String) -> Option<Result<(), SendError>> + Send + Sync + 'static,
    ) {
        *lock(&self.inner.replies) = Some(Arc::new(route));
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
    /// use symple::proto::{Draft, MessageKind};
    ///
    /// for line in lines {
    ///     client.room_to_send().await?;
    ///     client.send(Draft::new(MessageKind::Message).to("log").with("body", &line))?;
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
    /// use symple::proto::{Draft, MessageKind};
    ///
    /// let hello = Draft::new(MessageKind::Message).to("bob").data("hello");
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

    /// Replies to a command, by the way that it came.
    pub fn reply<T: Serialize + ?Sized>(
        &self,
        command: &Message,
        status: Status,
        data: &T,
    ) -> Result<(), SendError> {
        #[cfg(feature = "channels")]
        if let Some(route) = { lock(&self.inner.replies).clone() } {
            let draft = Draft::new(crate::proto::MessageKind::Command).reply(command, status, data);
            if let Some(sent) = route(command, status, draft.finish()) {
                return sent;
            }
        }
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

    /// The network changed, and the connection may have gone with it, which nothing else tells soon: connects at once
    /// instead of waiting, and reconnects unless the server answers within a second.
    pub fn check(&self) {
        self.with_agent(|agent, now| agent.check(now));
    }

    /// Disconnects and ends [`Client::run`].
    pub fn close(&self) {
        self.with_agent(|agent, now| agent.close(now));
    }

    /// Connects, and stays connected, until the server refuses, the client gives up, or it is closed; the last event,
    /// [`Event::Ended`], tells which. If several such futures exist, only the first does anything; when it is dropped,
    /// so is the connection, and the next one reconnects.
    pub fn run(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut driver = Driver::new(self.inner.clone());
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
