//! Redis: several instances as one cluster, sessions stored by a web application, and messages from it.
//!
//! - A [`Server`] with [`ServerConfig::redis`](super::ServerConfig) shares its peers with every other server on the
//!   same Redis, and admits whoever has a session there.
//! - [`Sessions`] stores those sessions, and [`Emitter`] sends messages to peers: for a web application, when somebody
//!   logs in, and when something happens.
//!
//! ```no_run
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use symple::net::redis::{Emitter, RedisUrl, Session, Sessions};
//! let redis: RedisUrl = "redis://127.0.0.1:6379".parse()?;
//! let session = Session::new("alice").name("Alice").room("team-a");
//! Sessions::new(redis.clone()).set("t0k3n", &session, Some(Duration::from_secs(1800))).await?;
//! Emitter::new(redis).from("app|1").to("alice").event("order-shipped", &7).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Redis 7 or newer. A single one: `redis://user:password@host:port/db`; behind Sentinel:
//! `redis+sentinel://user:password@host:port,host:port/name/db`; a cluster:
//! `redis+cluster://user:password@host:port,host:port`; all with `rediss` instead of `redis` for TLS, with the crate's
//! feature `tls`.
//! Nothing is spawned: futures make progress while they are polled.
//!
//! For a cluster, list several nodes: they are asked for its layout. Each session is looked up at the node of its slot.
//! The instances meet at the master of the slot of `symple:broadcast`, since Redis only counts the subscribers of one
//! node; messages that others publish arrive from any node. When that master fails, the instances have no Redis until
//! its replica is promoted.

mod connection;
mod driver;
mod emitter;
mod keys;
mod nodes;
pub(crate) mod sessions;
pub(crate) mod slots;
pub(crate) mod url;

use std::fmt;
use std::time::Duration;

use crate::Server;
pub(crate) use driver::instance;
pub use emitter::Emitter;
pub use sessions::{Session, Sessions};
pub use url::{RedisUrl, RedisUrlError};

/// The timeout of a command.
const PATIENCE: Duration = Duration::from_secs(4);

/// What a server with Redis provides.
impl Server {
    /// Whether Redis is connected, if there is one: other instances are reachable, and sessions can be looked up.
    pub fn redis_is_up(&self) -> Option<bool> {
        self.bus().map(|bus| bus.is_up())
    }

    /// Whether a peer is connected here whose session in Redis has this token.
    pub fn has_session(&self, token: &str) -> bool {
        self.bus().is_some_and(|bus| bus.has_session(token))
    }
}

/// The key of a session.
fn key(token: &str) -> String {
    format!("symple:session:{token}")
}

/// How a server uses its Redis. Create it with [`RedisConfig::new`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RedisConfig {
    /// The URL.
    pub url: RedisUrl,
    /// Whether `symple:session:<token>` decides about admission, if the hub authenticates. Otherwise the host decides,
    /// as without Redis. Default: yes.
    pub sessions: bool,
    /// How long a session lives on after activity of its peer. With `None`, the default, its expiry does not change.
    pub session_ttl: Option<Duration>,
    /// How often the sessions of connected peers are checked. Default: 10 s.
    pub touch_interval: Duration,
    /// The time after which a silent instance counts as gone, with all its peers. Default: 10 s.
    pub dead_after: Duration,
    /// The maximum size of messages that wait for Redis, or for confirmation by other instances, in bytes. Before it is
    /// reached, senders are slowed down, except while Redis is disconnected; messages that then do not fit are lost,
    /// and their senders are told. Default: 16 MiB.
    pub queue_limit: usize,
    /// How long a message is kept that not all instances have confirmed. Default: 30 s.
    pub keep_for: Duration,
}

impl RedisConfig {
    /// The defaults, for this Redis.
    pub fn new(url: RedisUrl) -> Self {
        RedisConfig {
            url,
            sessions: true,
            session_ttl: None,
            touch_interval: Duration::from_secs(10),
            dead_after: Duration::from_secs(10),
            queue_limit: 16 << 20,
            keep_for: Duration::from_secs(30),
        }
    }
}

/// Why a command to Redis failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisError {
    code: &'static str,
    words: String,
}

impl RedisError {
    fn new(code: &'static str, words: impl Into<String>) -> Self {
        RedisError { code, words: words.into() }
    }

    /// A stable code: `unreachable`, `late`, `refused` (the message tells why), `malformed` (what is stored), `unheard`
    /// (no server is connected to Redis).
    pub fn code(&self) -> &'static str {
        self.code
    }

    fn late() -> Self {
        RedisError::new("late", "Redis did not answer in time")
    }
}

impl fmt::Display for RedisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for RedisError {}

impl RedisError {
    /// The client's own words may hold what was sent.
    fn of(e: ::redis::RedisError) -> Self {
        match e.code() {
            Some(code @ ("NOAUTH" | "WRONGPASS" | "NOPERM")) => RedisError::new(
                "refused",
                format!("Redis refused the command ({code}): wrong user or password in its URL"),
            ),
            Some(code @ ("MOVED" | "ASK")) => RedisError::new(
                "refused",
                format!(
                    "Redis refused the command ({code}): it is part of a cluster, whose URL must begin with redis+cluster://"
                ),
            ),
            Some("WRONGTYPE") => RedisError::new("malformed", "The session is not text"),
            Some(code) => RedisError::new("refused", format!("Redis refused the command ({code})")),
            None => {
                RedisError::new("unreachable", format!("The connection to Redis failed: {}", e.category()))
            }
        }
    }
}
