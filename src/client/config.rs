//! The client's identity and limits.

use std::time::Duration;

use crate::proto::{Object, Token};

/// The client's identity, timeouts and limits.
///
/// ```
/// use symple::{client::Config, proto::Token};
/// let config = Config { token: Some(Token::new("s3cret")), rooms: vec!["team".into()], ..Config::new("alice") };
/// assert!(!format!("{config:?}").contains("s3cret"));
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// The user to connect as; see [`valid_user`](crate::proto::valid_user).
    pub user: String,
    /// The display name; without one the server uses `user`.
    pub name: Option<String>,
    /// The token for a server that authenticates.
    pub token: Option<Token>,
    /// Rooms to be in from the start, as if [`join`](super::Agent::join) had been called for each.
    pub rooms: Vec<String>,
    /// What others see about us: `peerType`, capabilities, status.
    pub data: Object,

    /// The longest first wait before dialling again; each later one may be twice as long. 500 ms.
    pub backoff_min: Duration,
    /// The longest wait before dialling again. 30 s.
    pub backoff_max: Duration,
    /// How many times in a row it dials without staying online before it gives up. `None`, the default, means
    /// never.
    pub max_attempts: Option<u32>,
    /// How long dialling may take, including TLS and the upgrade. 10 s.
    pub connect_timeout: Duration,
    /// How long `welcome` may take. 10 s, the time a server waits for `auth`.
    pub auth_timeout: Duration,
    /// How much silence before we ping. 25 s, as on the server; at least 1 s.
    pub ping_interval: Duration,
    /// How much silence before the connection counts as lost. 60 s, as on the server.
    pub idle_timeout: Duration,
    /// How long after `welcome` (or the last `join:ok` within that time) a peer known from before has to be
    /// seen again. 2 s: snapshots follow `welcome` at once, answers to our probe within a round trip.
    pub roster_grace: Duration,
    /// How long a reply to a command, or an awaited receipt, may take. 10 s.
    pub command_timeout: Duration,

    /// The most frames per second that we send; `u32::MAX` in both this and `burst` means no limit. 80: below
    /// the server's 100.
    pub rate: u32,
    /// Frames that may be sent at once before `rate` applies. 400: below the server's 500.
    pub burst: u32,
    /// Bytes of messages that may be queued. 1 MiB.
    pub outbox_limit: usize,
    /// The longest frame in bytes, in both directions. 512 KiB, the server's default.
    pub max_message_size: usize,
    /// Peers in the roster; any beyond that are not reported. 1024, the server's connection limit.
    pub max_peers: usize,
    /// Bytes kept per peer, ourselves included. 16 KiB, the server's default.
    pub max_peer_data: usize,
    /// Rooms that are remembered. 255: the server allows 256 per session, including the user's own.
    pub max_rooms: usize,
    /// Commands that may be waiting for replies, and answers that may be awaited. 256 of each.
    pub max_commands: usize,
}

impl Config {
    /// `user` with the defaults for everything else.
    pub fn new(user: impl Into<String>) -> Self {
        Config {
            user: user.into(),
            name: None,
            token: None,
            rooms: Vec::new(),
            data: Object::new(),
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            max_attempts: None,
            connect_timeout: Duration::from_secs(10),
            auth_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(25),
            idle_timeout: Duration::from_secs(60),
            roster_grace: Duration::from_secs(2),
            command_timeout: Duration::from_secs(10),
            rate: 80,
            burst: 400,
            outbox_limit: 1 << 20,
            max_message_size: 512 << 10,
            max_peers: 1024,
            max_peer_data: 16 << 10,
            max_rooms: 255,
            max_commands: 256,
        }
    }
}
