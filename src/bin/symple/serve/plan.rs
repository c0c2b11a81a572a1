//! From settings to what runs: checked as a whole, and described by `--check`.

use std::fmt::Write;

use symple::net::Origins;
use symple::proto::Token;
use symple::server::Config;

use super::settings::Settings;
use crate::certificate::{self, Certificate};
use crate::exit::{Failure, FailureKind};
use crate::merge::{self, Setting, SettingSources};
use crate::open_files;
#[cfg(feature = "redis")]
use crate::redis;

/// What would run.
pub(super) struct Plan {
    pub settings: Settings,
    pub authenticate: bool,
    pub redis: Option<Token>,
    pub certificate: Option<Certificate>,
    pub threads: usize,
    sources: SettingSources,
}

impl Plan {
    pub(super) fn new(settings: Settings, sources: SettingSources) -> Result<Plan, Failure> {
        let config = |words: String| Failure::new(FailureKind::Config, words);
        let authenticate = settings.authenticates().map_err(config)?;
        let redis = settings.redis_url(&sources);
        if redis.is_some() && cfg!(not(feature = "redis")) {
            return Err(config(without_redis(&settings, &sources)));
        }
        #[cfg(feature = "redis")]
        redis.as_ref().map(redis::parse).transpose()?;
        certificate::refuse_unused(&sources)?;
        let (cert, key) = (settings.ssl_cert.as_deref(), settings.ssl_key.as_deref());
        let certificate = settings
            .ssl_enabled
            .then(|| Certificate::choose(cert, key, settings.state_dir.as_deref(), &settings.listen))
            .transpose()?;
        let (queue, queues) = (settings.queue, settings.queues);
        if queue > queues {
            return Err(config(format!(
                "queue ({queue} bytes, for one peer) must not exceed queues ({queues} bytes, for all peers)"
            )));
        }
        let threads = settings.threads.unwrap_or(1);
        Ok(Plan { settings, authenticate, redis, certificate, threads, sources })
    }

    /// The configuration of the hub.
    pub(super) fn hub(&self, open_files: u64) -> Config {
        let settings = &self.settings;
        let max_connections = self.max_connections(open_files);
        if max_connections > open_files::connections(open_files) {
            log::warn!(
                "max_connections is {max_connections}, but {open_files} open files are only enough for {}",
                open_files::connections(open_files)
            );
        }
        if self.authenticate && settings.dynamic_rooms {
            log::warn!(
                "dynamic rooms are on: any authenticated peer may join any named room (--no-dynamic-rooms forbids it)"
            );
        }
        Config {
            authenticate: self.authenticate,
            dynamic_rooms: settings.dynamic_rooms,
            rooms: settings.rooms.clone(),
            max_message_size: settings.max_message_size,
            rate: settings.rate.unwrap_or(f64::INFINITY),
            burst: settings.burst,
            max_connections,
            queue_limit: settings.queue,
            memory_limit: settings.queues,
            count_above: settings.count_above,
            ..Config::default()
        }
    }

    pub(super) fn max_connections(&self, open_files: u64) -> usize {
        self.settings.max_connections.unwrap_or_else(|| open_files::connections(open_files))
    }

    pub(super) fn max_unauthenticated(&self, open_files: u64) -> Option<usize> {
        let quarter = self.max_connections(open_files).div_ceil(4);
        self.settings.max_unauthenticated.unwrap_or(Some(quarter))
    }

    /// Whether sessions in Redis decide who is admitted.
    pub(super) fn judges_by_sessions(&self) -> bool {
        self.authenticate && self.settings.token.is_none()
    }

    /// What is shared with other instances.
    #[cfg(feature = "redis")]
    pub(super) fn redis(&self) -> Result<Option<symple::net::redis::RedisConfig>, Failure> {
        let Some(url) = &self.redis else { return Ok(None) };
        let mut config = symple::net::redis::RedisConfig::new(redis::parse(url)?);
        config.sessions = self.judges_by_sessions();
        config.session_ttl = self.settings.session_ttl;
        config.queue_limit = self.settings.redis_queue;
        config.keep_for = self.settings.redis_keep;
        Ok(Some(config))
    }

    pub(super) fn origins(&self) -> Option<Origins> {
        self.settings.origins.clone().map(|others| Origins::OwnAnd { others })
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.certificate.is_some() { "wss" } else { "ws" }
    }

    /// Describes the certificate that would be used. Fails if using it would fail.
    pub(super) fn certificate(&self) -> Result<String, Failure> {
        match &self.certificate {
            Some(certificate) => certificate.check(),
            None if self.settings.ssl_cert.is_some() => Ok("given, but not used: ssl_enabled is off".into()),
            None => Ok("none".into()),
        }
    }

    /// Describes what would run, and lists the settings that were configured.
    pub(super) fn describe(&self, table: &[Setting<Settings>], certificate: &str) -> String {
        let settings = &self.settings;
        let files = open_files::reachable();
        let number = |limit: Option<usize>| limit.map_or("any number".into(), |n| n.to_string());
        let mut out = "symple serve would run:\n".to_owned();
        let mut row = |name: &str, words: String| _ = writeln!(out, "  {name:16}{words}");
        let listen = match settings.listen.as_slice() {
            [] => "all addresses".to_owned(),
            ips => ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        row("listen", format!("{}, port {} of {listen}", self.scheme(), settings.port));
        row("certificate", certificate.into());
        row(
            "web pages",
            settings.origins.as_ref().map_or("anywhere".into(), |list| {
                ["this server".to_owned()].iter().chain(list).cloned().collect::<Vec<_>>().join(", ")
            }),
        );
        row(
            "admission",
            match (self.authenticate, &settings.token) {
                (false, _) => "everyone".into(),
                (true, Some(_)) => "with the token".into(),
                (true, None) => "with a session in Redis".into(),
            },
        );
        row("redis", self.redis.as_ref().map_or("none".into(), |url| merge::without_login(url.reveal())));
        if self.redis.is_some() {
            let (queue, keep) = (settings.redis_queue, settings.redis_keep.as_secs_f64());
            row("redis queue", format!("{queue} bytes, kept for {keep} s"));
        }
        let rooms = if settings.dynamic_rooms { "dynamic" } else { "fixed" };
        row("rooms", [&[rooms.to_owned()], settings.rooms.as_slice()].concat().join(", "));
        let ttl = settings.session_ttl.map(|ttl| format!("extended to {} s by activity", ttl.as_secs()));
        row("sessions", ttl.unwrap_or("not extended".into()));
        let rate = settings.rate.map_or("any number of".into(), |n| n.to_string());
        row("one peer", format!("{rate} messages per second, {} at once", settings.burst));
        row("message", format!("{} bytes", settings.max_message_size));
        row("queue", format!("{} bytes, {} for all", settings.queue, settings.queues));
        row(
            "connections",
            format!(
                "{}; per address {}; not admitted yet {}, per address {}",
                self.max_connections(files),
                number(settings.limits.per_address),
                number(self.max_unauthenticated(files)),
                number(settings.limits.strangers_per_address)
            ),
        );
        row("open files", files.to_string());
        row("threads", self.threads.to_string());
        out + &merge::set_by(table, &self.sources)
    }
}

fn without_redis(settings: &Settings, sources: &SettingSources) -> String {
    let named = ["redis_url", "redis_host", "redis_port"].iter().find_map(|key| sources.get(key));
    let why = match named {
        Some((source, _)) => format!("Redis is configured ({source})"),
        None => "Authentication needs sessions in Redis".to_owned(),
    };
    let token = if settings.token.is_none() { ", or set one token for everybody (SYMPLE_TOKEN)" } else { "" };
    format!("{why}, but this program was built without Redis: build it with the feature `redis`{token}")
}
