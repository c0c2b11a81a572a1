//! Redis: several instances as one, sessions that a web application keeps there, and messages from it.
//!
//! - A [`Server`] with [`ServerConfig::redis`](super::ServerConfig) shares its peers with
//!   every other that names the same Redis, and lets in whom a session there vouches for.
//! - [`Sessions`] writes those sessions, and [`Emitter`] pushes messages to peers: what a web application
//!   does when somebody logs in, and when something happened.
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
//! Redis 7 or newer. `redis://user:password@host:port/db`, behind Sentinel
//! `redis+sentinel://user:password@host:port,host:port/name/db`, a cluster
//! `redis+cluster://user:password@host:port,host:port`, and all with `rediss` by the crate's feature `tls`.
//! Nothing is spawned: futures do their work while they are polled.
//!
//! Of a cluster name several nodes: those are asked who holds what. Each session is asked for where its slot
//! is. The instances meet at the master of the slot of `symple:broadcast`, since only subscribers of one node
//! are counted; what others publish reaches them from any node. When that master fails they are without a
//! Redis until its replica is promoted.

mod driver;
mod emitter;
mod keys;
mod line;
mod nodes;
pub(crate) mod sessions;
pub(crate) mod slots;
pub(crate) mod url;

use std::fmt;
use std::time::Duration;

use super::Server;
pub(crate) use driver::instance;
pub use emitter::Emitter;
pub use sessions::{Session, Sessions};
pub use url::{RedisUrl, RedisUrlError};

/// How long a Redis may take to do what it is told.
const PATIENCE: Duration = Duration::from_secs(4);

/// What a server with a Redis can answer.
impl Server {
    /// Whether Redis is there, if there is one: other instances are reached, and sessions can be looked up.
    pub fn redis_is_up(&self) -> Option<bool> {
        self.bus().map(|bus| bus.is_up())
    }

    /// Whether a peer is here whose session in Redis this token names.
    pub fn has_session(&self, token: &str) -> bool {
        self.bus().is_some_and(|bus| bus.has_session(token))
    }
}

/// The key of a session.
fn key(token: &str) -> String {
    format!("symple:session:{token}")
}

/// What a server does with its Redis. Build it from [`RedisConfig::new`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RedisConfig {
    /// Where it is.
    pub url: RedisUrl,
    /// Whether `symple:session:<token>` decides who is let in, where the hub authenticates. Without it the
    /// host is asked, as without a Redis. Default: yes.
    pub sessions: bool,
    /// How long a session lives on after its peer did something. `None`, the default, leaves its end alone.
    pub session_ttl: Option<Duration>,
    /// How often the sessions of connected peers are looked at. Default: 10 s.
    pub touch_interval: Duration,
    /// An instance that says nothing for so long is gone, and its peers with it. Default: 10 s.
    pub dead_after: Duration,
    /// Bytes of messages that may wait for Redis, or for other instances to confirm them. Senders are held before that,
    /// except while there is no Redis; what does not fit then is lost, and they are told. Default: 16 MiB.
    pub queue_limit: usize,
    /// How long a message is kept that not all instances have confirmed. Default: 30 s.
    pub keep_for: Duration,
}

impl RedisConfig {
    /// The defaults, at this Redis.
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

/// Why Redis did not do what it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisError {
    code: &'static str,
    words: String,
}

impl RedisError {
    fn new(code: &'static str, words: impl Into<String>) -> Self {
        RedisError { code, words: words.into() }
    }

    /// A stable name: `unreachable`, `late`, `refused` (the words say why), `malformed` (what is stored).
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
                format!("Redis refused it ({code}): the password or user of its address is wrong"),
            ),
            Some(code @ ("MOVED" | "ASK")) => RedisError::new(
                "refused",
                format!(
                    "Redis refused it ({code}): it belongs to a cluster, whose address begins with redis+cluster://"
                ),
            ),
            Some("WRONGTYPE") => RedisError::new("malformed", "The session is no text"),
            Some(code) => RedisError::new("refused", format!("Redis refused it ({code})")),
            None => {
                RedisError::new("unreachable", format!("The connection to Redis failed: {}", e.category()))
            }
        }
    }
}
