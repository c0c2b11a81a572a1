//! What a host can configure, and the defaults.

use std::time::Duration;

/// The hub's configuration. Start from the default:
///
/// ```
/// use symple::server::Config;
/// let config = Config { rooms: vec!["public".into()], ..Config::default() };
/// assert_eq!(config.max_connections, 1024);
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether an `auth` needs a token that the host checks ([`Event::Authenticate`](super::Event)). If not,
    /// everybody is admitted under the name they give. Default: no.
    pub authenticate: bool,
    /// Whether clients may `join` and `leave` rooms by name. Default: yes, as on the Node.js server.
    pub dynamic_rooms: bool,
    /// Named rooms that every admitted peer is put into. Default: none.
    pub rooms: Vec<String>,
    /// User names reserved for peers in this process; everyone else who asks for one is refused with 401,
    /// whatever the host says. Such peers speak for the host: no slow recipient holds them; one that has no
    /// room for them is closed. Default: none.
    pub reserved: Vec<String>,
    /// The largest frame in bytes. Default: 512 KiB, but at most 16 KiB before `welcome`. The driver refuses
    /// larger ones before buffering them ([`Input::TooLarge`](super::Input)); the hub checks too.
    pub max_message_size: usize,
    /// Messages per second that a session may send; `f64::INFINITY` means no limit. Default: 100.
    pub rate: f64,
    /// Messages that a session may send at once. Default: 500.
    pub burst: f64,
    /// A session that exceeds the rate for this long, without a pause of a second, is closed. Default: 10 s.
    pub abuse_after: Duration,
    /// How long a connection may take to send `auth`. Default: 10 s.
    pub auth_timeout: Duration,
    /// How long the host may take for a [`Verdict`](super::Verdict); after that the client gets 503. Default:
    /// 10 s.
    pub verdict_timeout: Duration,
    /// How long a connection may be silent before it is pinged. Default: 25 s.
    pub ping_interval: Duration,
    /// How long a connection may go without sending any frame before it is dropped. Default: 60 s.
    pub idle_timeout: Duration,
    /// Simultaneous connections, not counting in-process peers. Default: 1024.
    pub max_connections: usize,
    /// Rooms per session, including its user's own. Default: 256.
    pub max_rooms: usize,
    /// Names that one `to` may list. Default: 1024: more than that is a job for a room, and each costs a
    /// lookup.
    pub max_to: usize,
    /// Bytes that may be queued for one connection. From half of it, its senders are held until it has read
    /// down to a quarter. Over it, each of them adds at most one frame, and only while the connection accepts
    /// something. Default: 8 MiB, sixteen of the largest frames.
    pub queue_limit: usize,
    /// Bytes of messages that may be queued for all connections together, counting a message for many only
    /// once, plus bytes of incomplete frames. Over it the connection that uses most is closed. Default: 64
    /// MiB.
    pub memory_limit: usize,
    /// How long a connection that reads too slowly may hold those who send to it before it is closed, and how
    /// long a sender may be held per minute. Half of it for a connection that accepts nothing at all.
    /// Default: 10 s.
    pub slow_after: Duration,
    /// Bytes of name and data that are kept for one peer and sent to others, counting each member with 64
    /// bytes besides its text. Default: 16 KiB.
    pub max_peer_data: usize,
    /// A named room with more members than this no longer announces newcomers, but gives its size in an event
    /// `room:count` (see the [module](super)). It announces members again once it is a quarter below the
    /// limit. Messages still reach all members. Default: `None`, every room announces its members.
    pub count_above: Option<usize>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            authenticate: false,
            dynamic_rooms: true,
            rooms: Vec::new(),
            reserved: Vec::new(),
            max_message_size: 512 << 10,
            rate: 100.0,
            burst: 500.0,
            abuse_after: Duration::from_secs(10),
            auth_timeout: Duration::from_secs(10),
            verdict_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(25),
            idle_timeout: Duration::from_secs(60),
            max_connections: 1024,
            max_rooms: 256,
            max_to: 1024,
            queue_limit: 8 << 20,
            memory_limit: 64 << 20,
            slow_after: Duration::from_secs(10),
            max_peer_data: 16 << 10,
            count_above: None,
        }
    }
}
