//! What a host may set, and the defaults.

use std::time::Duration;

/// How the hub behaves. Build it from the default:
///
/// ```
/// use symple::server::Config;
/// let config = Config { rooms: vec!["public".into()], ..Config::default() };
/// assert_eq!(config.max_connections, 1024);
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether an `auth` needs a token that the host judges ([`Event::Authenticate`](super::Event)).
    /// Without it everybody is admitted under the name they give. Default: no.
    pub authenticate: bool,
    /// Whether clients may `join` and `leave` rooms by name. Default: yes, as on the Node.js server.
    pub dynamic_rooms: bool,
    /// Named rooms that every admitted peer is put into. Default: none.
    pub rooms: Vec<String>,
    /// Users that peers of this process alone may be; whoever else wants to be one is refused with 401, whatever the
    /// host says. They speak for the host: no slow recipient holds them; who has no room for them is closed. Default: none.
    pub reserved: Vec<String>,
    /// The largest frame in bytes. Default: 512 KiB; before `welcome` 16 KiB at most. The driver refuses larger ones before it holds them
    /// ([`Input::TooLarge`](super::Input)); the hub checks too.
    pub max_message_size: usize,
    /// Messages a second that a session may send; `f64::INFINITY` for no limit. Default: 100.
    pub rate: f64,
    /// Messages that a session may send at once. Default: 500.
    pub burst: f64,
    /// Excess for this long without a pause of a second closes the session. Default: 10 s.
    pub abuse_after: Duration,
    /// How long a connection may take to send `auth`. Default: 10 s.
    pub auth_timeout: Duration,
    /// How long the host may take for a [`Verdict`](super::Verdict); then the client hears 503. Default: 10 s.
    pub verdict_timeout: Duration,
    /// A connection that is silent for so long is pinged. Default: 25 s.
    pub ping_interval: Duration,
    /// A connection from which no frame at all came for so long is dropped. Default: 60 s.
    pub idle_timeout: Duration,
    /// Connections at one time, in-process peers not counted. Default: 1024.
    pub max_connections: usize,
    /// Rooms of one session, its user's own included. Default: 256.
    pub max_rooms: usize,
    /// Names that one `to` may list. Default: 1024: more than that is a room's work, and each costs a look-up.
    pub max_to: usize,
    /// Bytes that may wait for one connection. From half of it on its senders are held until it has read down
    /// to a quarter; over it each of them adds one frame at most, and only while the connection takes something.
    /// Default: 8 MiB, sixteen of the largest frames.
    pub queue_limit: usize,
    /// Bytes of messages that may wait for all connections together, a message for many counted once, and of
    /// frames that are not whole yet. Over it the connection that keeps most is closed. Default: 64 MiB.
    pub memory_limit: usize,
    /// How long a connection that reads too slowly may hold those who send to it before it is closed, and how
    /// long a sender may be held in a minute. Half of it for one that takes nothing at all. Default: 10 s.
    pub slow_after: Duration,
    /// Bytes of name and data that are kept of one peer and told to others, each member counted with
    /// 64 bytes beside its text. Default: 16 KiB.
    pub max_peer_data: usize,
    /// A named room with more members than this no longer tells who comes, but how many are in it, by an event
    /// `room:count` (see the [module](super)); who is in it again once a quarter fewer are. Messages reach all members
    /// as ever. Default: `None`, every room tells who is in it.
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
