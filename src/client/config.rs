//! Who the client is, and its limits.

use std::time::Duration;

use crate::proto::{Object, Token};

/// Who the client is, how patient, and how much it holds.
///
/// ```
/// use symple::{client::Config, proto::Token};
/// let config = Config { token: Some(Token::new("s3cret")), rooms: vec!["team".into()], ..Config::new("alice") };
/// assert!(!format!("{config:?}").contains("s3cret"));
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// The user that we are; see [`valid_user`](crate::proto::valid_user).
    pub user: String,
    /// Our name for people; the server takes `user` where there is none.
    pub name: Option<String>,
    /// What a server that authenticates asks for.
    pub token: Option<Token>,
    /// Rooms to be in from the start, as if [`join`](super::Agent::join) had been called for each.
    pub rooms: Vec<String>,
    /// What others are told of us: `peerType`, capabilities, status.
    pub data: Object,

    /// The longest first wait before dialling again; each later one may be twice as long. 500 ms.
    pub backoff_min: Duration,
    /// The longest wait before dialling again. 30 s.
    pub backoff_max: Duration,
    /// How often it dials in a row without staying online, before it gives up. `None`, the default: never.
    pub max_attempts: Option<u32>,
    /// How long dialling may take, TLS and upgrade included. 10 s.
    pub connect_timeout: Duration,
    /// How long `welcome` may take. 10 s, as long as a server waits for `auth`.
    pub auth_timeout: Duration,
    /// After how much silence we ping. 25 s, as the server does; at least 1 s.
    pub ping_interval: Duration,
    /// After how much silence the connection counts as lost. 60 s, as at the server.
    pub idle_timeout: Duration,
    /// How long after `welcome` (or the last `join:ok` in that time) a peer that was known before may take
    /// to be seen again. 2 s: snapshots follow `welcome` at once, answers to our probe within a round trip.
    pub roster_grace: Duration,
    /// How long a reply may take. 10 s.
    pub command_timeout: Duration,

    /// Frames a second that we send at most; `u32::MAX`, for this and `burst`, is no limit. 80: below the server's 100.
    pub rate: u32,
    /// Frames that may leave at once before `rate` holds. 400: below the server's 500.
    pub burst: u32,
    /// Bytes of messages that may wait for their turn. 1 MiB.
    pub outbox_limit: usize,
    /// The longest frame in bytes, both ways. 512 KiB, the server's default.
    pub max_message_size: usize,
    /// Peers that the roster holds; further ones are not told of. 1024, the server's connections.
    pub max_peers: usize,
    /// Bytes that are told and kept of one peer, ourselves included. 16 KiB, the server's default.
    pub max_peer_data: usize,
    /// Rooms that are remembered. 255: a session has 256 at the server, the user's own one included.
    pub max_rooms: usize,
    /// Commands that may await their replies. 256.
    pub max_commands: usize,
}

impl Config {
    /// `user` with every default.
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
