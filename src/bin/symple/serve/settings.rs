//! What `symple serve` can be told: a table, whose rows are keys of the file, variables and flags at once.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;
use serde_json::Value;
use symple::proto::{DEFAULT_PORT, Token, valid_room};
use symple::server::Config;

use crate::limits::{self, HasLimits, Limits};
use crate::merge::{Setting, SettingSources};
use crate::redis::{self, HasRedis, Redis};
use crate::value::{
    addresses, bytes, count, limit, list, minutes, objects, origins, parsed, seconds, secret, set, switch,
    text,
};

/// The library's defaults, which exist only with the feature `redis`.
const REDIS_QUEUE: usize = 16 << 20;
const REDIS_KEEP: Duration = Duration::from_secs(30);

/// What the server runs with.
pub(crate) struct Settings {
    pub port: u16,
    /// None at all: every address of the machine.
    pub listen: Vec<IpAddr>,
    /// `None`: pages of any origin.
    pub origins: Option<Vec<String>>,
    pub ssl_enabled: bool,
    pub ssl_key: Option<PathBuf>,
    pub ssl_cert: Option<PathBuf>,
    pub state_dir: Option<PathBuf>,
    pub authentication: Option<bool>,
    pub token: Option<Token>,
    pub status_token: Option<Token>,
    pub dynamic_rooms: bool,
    pub rooms: Vec<String>,
    /// For how long activity extends a session; `None`: it does not.
    pub session_ttl: Option<Duration>,
    pub redis: Redis,
    /// Bytes of messages that may be queued for Redis or other instances.
    pub redis_queue: usize,
    /// How long a message is kept for instances that have not confirmed it.
    pub redis_keep: Duration,
    /// `None`: no limit.
    pub rate: Option<f64>,
    pub burst: f64,
    /// `None`: as many as the system lets.
    pub max_connections: Option<usize>,
    pub max_message_size: usize,
    pub queue: usize,
    pub queues: usize,
    /// `None`: every room tells who is in it.
    pub count_above: Option<usize>,
    pub limits: Limits,
    /// `None`: a quarter of all connections.
    pub max_unauthenticated: Option<Option<usize>>,
    pub ice_servers: Vec<Value>,
    /// `None`: one for each core.
    pub threads: Option<usize>,
    pub log: LevelFilter,
}

impl HasRedis for Settings {
    fn redis(&mut self) -> &mut Redis {
        &mut self.redis
    }
}

impl HasLimits for Settings {
    fn limits(&mut self) -> &mut Limits {
        &mut self.limits
    }
}

impl Default for Settings {
    fn default() -> Self {
        let hub = Config::default();
        Settings {
            port: DEFAULT_PORT,
            listen: Vec::new(),
            origins: None,
            ssl_enabled: false,
            ssl_key: None,
            ssl_cert: None,
            state_dir: None,
            authentication: None,
            token: None,
            status_token: None,
            dynamic_rooms: hub.dynamic_rooms,
            rooms: Vec::new(),
            session_ttl: None,
            redis: Redis::default(),
            redis_queue: REDIS_QUEUE,
            redis_keep: REDIS_KEEP,
            rate: Some(hub.rate),
            burst: hub.burst,
            max_connections: None,
            max_message_size: hub.max_message_size,
            queue: hub.queue_limit,
            queues: hub.memory_limit,
            count_above: hub.count_above,
            limits: Limits::default(),
            max_unauthenticated: None,
            ice_servers: Vec::new(),
            threads: None,
            log: LevelFilter::Info,
        }
    }
}

type S = Settings;

/// The settings in the groups of the help.
pub(crate) const GROUPS: &[(&str, &[Setting<Settings>])] = &[
    ("Network", NETWORK),
    ("Admission", ADMISSION),
    ("Redis", &redis::rows()),
    ("Limits", LIMITS),
    ("Other", REST),
];

const NETWORK: &[Setting<Settings>] = &[
    Setting::new("port", "N", "Port to listen on, 0 for any free one. Default: 4500", |s: &mut S, v| {
        let right = |_: String| "must be a port, 0 to 65535".to_owned();
        set(&mut s.port, parsed(v).map_err(right))
    })
    .also(&["PORT"], &[]),
    Setting::new(
        "listen",
        "IP",
        "Address to listen on, or `all`, the default; repeat the flag or separate addresses with commas",
        |s: &mut S, v| {
            s.listen = addresses(v)?.unwrap_or_default();
            Ok(())
        },
    )
    .list(),
    Setting::new("ssl_enabled", "", "Serve https and wss", |s: &mut S, v| set(&mut s.ssl_enabled, switch(v))),
    Setting::new(
        "ssl_cert",
        "FILE",
        "Certificate chain in PEM, reloaded on SIGHUP. Without certificate and key, a self-signed one is \
         created and kept",
        |s: &mut S, v| set(&mut s.ssl_cert, text(v).map(|found| Some(found.into()))),
    ),
    Setting::new("ssl_key", "FILE", "Its private key in PEM", |s: &mut S, v| {
        set(&mut s.ssl_key, text(v).map(|found| Some(found.into())))
    }),
    Setting::new(
        "state_dir",
        "DIR",
        "Where to keep a self-signed certificate. Default: systemd's STATE_DIRECTORY, or \
         ~/.local/state/symple",
        |s: &mut S, v| set(&mut s.state_dir, text(v).map(|found| Some(found.into()))),
    ),
    Setting::new(
        "origins",
        "URL",
        "Origins of web pages that may connect, such as https://chat.example, besides the pages of this \
         server. Default: `*`, any",
        |s: &mut S, v| {
            let origins = origins(v)?;
            s.origins = (!origins.iter().any(|o| o == "*")).then_some(origins);
            Ok(())
        },
    )
    .list()
    .also(&[], &["SYMPLE_CORS_ORIGINS"]),
    limits::trusted_proxies(),
    limits::base_path(),
];

const ADMISSION: &[Setting<Settings>] = &[
    Setting::new(
        "authentication",
        "",
        "Require a token: that of a session in Redis, or the one set with --token. Default: no",
        |s: &mut S, v| set(&mut s.authentication, switch(v).map(Some)),
    ),
    Setting::new(
        "token",
        "SECRET",
        "One token for everybody, for a server without Redis. Other users of this machine can see flags, so \
         use the file or the environment",
        |s: &mut S, v| set(&mut s.token, secret(v).map(Some)),
    )
    .secret(),
    Setting::new(
        "status_token",
        "SECRET",
        "Token for /api/status and /metrics, as `Authorization: Bearer SECRET`. Default: that of --token. \
         With authentication on and neither token set, both are closed",
        |s: &mut S, v| set(&mut s.status_token, secret(v).map(Some)),
    )
    .secret(),
    Setting::new(
        "dynamic_rooms",
        "",
        "Allow peers to join rooms by name. Default: yes; --no-dynamic-rooms forbids it",
        |s: &mut S, v| set(&mut s.dynamic_rooms, switch(v)),
    ),
    Setting::new("rooms", "NAME", "Rooms to put every peer into. Default: none", |s: &mut S, v| {
        s.rooms = list(v)?;
        if s.rooms.iter().all(|room| valid_room(room)) {
            Ok(())
        } else {
            Err("a room name must have 1 to 256 bytes".into())
        }
    })
    .list(),
    Setting::new(
        "session_ttl",
        "MINUTES",
        "How long activity extends a session; -1, the default, means not at all",
        |s: &mut S, v| set(&mut s.session_ttl, minutes(v)),
    ),
];

const LIMITS: &[Setting<Settings>] = &[
    Setting::new(
        "rate",
        "N",
        "Messages per second from one peer, 0 for no limit. Default: 100",
        |s: &mut S, v| {
            let found = text(v)?.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
            let rate = found.ok_or("must be a number of messages per second, 0 for no limit")?;
            s.rate = (rate > 0.0).then_some(rate);
            Ok(())
        },
    ),
    Setting::new("burst", "N", "Messages that one peer may send at once. Default: 500", |s: &mut S, v| {
        set(&mut s.burst, count(v, 1).map(|n| n as f64))
    }),
    Setting::new(
        "max_connections",
        "N",
        "Simultaneous connections. Default: as many as the limit on open files allows, after raising it",
        |s: &mut S, v| set(&mut s.max_connections, count(v, 1).map(|n| Some(n as usize))),
    ),
    limits::max_per_address("Connections per address; 0, the default, means no limit"),
    limits::max_unauthenticated_per_address(
        "Connections per address that are not admitted yet; 0, the default, means no limit",
    ),
    limits::exempt(),
    Setting::new(
        "max_unauthenticated",
        "N",
        "Connections that are not admitted yet, 0 for no limit. Default: a quarter of all",
        |s: &mut S, v| set(&mut s.max_unauthenticated, limit(v).map(Some)),
    ),
    Setting::new("max_message_size", "BYTES", "The largest message. Default: 512K", |s: &mut S, v| {
        set(&mut s.max_message_size, bytes(v))
    }),
    Setting::new(
        "queue",
        "BYTES",
        "Queue limit per peer. Above half of it the senders to that peer wait, for up to 10 s. Default: 8M",
        |s: &mut S, v| set(&mut s.queue, bytes(v)),
    ),
    Setting::new(
        "queues",
        "BYTES",
        "Queue limit for all peers together; above it the peer with the longest queue is closed. Default: 64M",
        |s: &mut S, v| set(&mut s.queues, bytes(v)),
    ),
    Setting::new(
        "redis_queue",
        "BYTES",
        "Queue limit for messages to other instances. Above half of it senders wait. Default: 16M",
        |s: &mut S, v| set(&mut s.redis_queue, bytes(v)),
    ),
    Setting::new(
        "redis_keep",
        "SECONDS",
        "How long to keep a message for an instance that has not confirmed it. Default: 30",
        |s: &mut S, v| set(&mut s.redis_keep, seconds(v)),
    ),
    Setting::new(
        "count_above",
        "N",
        "Rooms with more peers than this only give their number, not who they are. Default: 0, no limit",
        |s: &mut S, v| set(&mut s.count_above, limit(v)),
    ),
];

const REST: &[Setting<Settings>] = &[
    Setting::new(
        "ice_servers",
        "JSON",
        "STUN and TURN servers for the page, a list of RTCIceServer: \
         [{\"urls\":\"stun:stun.example\"}]. Default: none",
        |s: &mut S, v| set(&mut s.ice_servers, objects(v)),
    ),
    Setting::new(
        "threads",
        "N",
        "Server threads. Default: 1, which costs least per message; more threads serve more peers at once",
        |s: &mut S, v| set(&mut s.threads, count(v, 1).map(|n| Some(n as usize))),
    ),
    Setting::new("log", "LEVEL", "off, error, warn, info (the default), debug or trace", |s: &mut S, v| {
        set(&mut s.log, parsed(v).map_err(|_| "must be off, error, warn, info, debug or trace".into()))
    }),
];

/// All rows.
pub(crate) fn table() -> Vec<Setting<Settings>> {
    let copy = |s: &Setting<Settings>| Setting { ..*s };
    GROUPS.iter().flat_map(|(_, settings)| settings.iter().map(copy)).collect()
}

impl Settings {
    /// Whether peers need a token; an error if the settings contradict each other.
    pub(crate) fn authenticates(&self) -> Result<bool, String> {
        match (self.authentication, &self.token) {
            (Some(false), Some(_)) => {
                Err("a token is set, but authentication is off: remove one of the two settings".into())
            }
            (on, token) => Ok(on.unwrap_or(false) || token.is_some()),
        }
    }

    /// The URL of Redis, if one is configured or sessions need it.
    pub(crate) fn redis_url(&self, sources: &SettingSources) -> Option<Token> {
        let sessions = self.authentication == Some(true) && self.token.is_none();
        self.redis.address(sources, sessions)
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
