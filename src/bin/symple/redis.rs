//! The settings for Redis: a URL or its parts, as in the Node.js server.

use symple::proto::Token;

use super::merge::{Setting, SettingSources};
use super::value::{parsed, set, text};

/// The settings.
#[derive(Default)]
pub(crate) struct Redis {
    /// May contain a password.
    pub url: Option<Token>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub protocol: Option<String>,
}

/// Settings that include those for Redis.
pub(crate) trait HasRedis {
    fn redis(&mut self) -> &mut Redis;
}

/// The rows of the table.
pub(crate) const fn rows<T: HasRedis>() -> [Setting<T>; 4] {
    [
        Setting::new(
            "redis_url",
            "URL",
            "Redis for sessions, pushed messages and other instances: redis://user:password@host:6379/0, \
             rediss:// over TLS, redis+sentinel://host:26379,host:26379/name, or \
             redis+cluster://host:6379,host:6379",
            |s: &mut T, v| {
                let url = text(v)?;
                if !url.contains("://") {
                    return Err("must look like redis://localhost:6379".into());
                }
                s.redis().url = Some(Token::new(url));
                Ok(())
            },
        )
        .also(&[], &["REDIS_URL"])
        .secret(),
        Setting::new("redis_host", "HOST", "The Redis host, if there is no URL", |s: &mut T, v| {
            set(&mut s.redis().host, text(v).map(Some))
        })
        .also(&[], &["REDIS_HOST"]),
        Setting::new("redis_port", "N", "The Redis port. Default: 6379", |s: &mut T, v| {
            set(&mut s.redis().port, parsed(v).map(Some).map_err(|_| "must be a port, 1 to 65535".into()))
        })
        .also(&[], &["REDIS_PORT"]),
        Setting::new("redis_protocol", "NAME", "redis or rediss. Default: redis", |s: &mut T, v| {
            let name = text(v)?;
            if name != "redis" && name != "rediss" {
                return Err("must be redis or rediss".into());
            }
            s.redis().protocol = Some(name);
            Ok(())
        }),
    ]
}

impl Redis {
    /// The URL of Redis: the one configured, unless host or port come from a place with higher precedence. If
    /// nothing is configured and it is `needed`, Redis on this machine.
    pub(crate) fn address(&self, sources: &SettingSources, needed: bool) -> Option<Token> {
        let rank = |key: &str| sources.get(key).map_or(0, |(source, _)| source.rank());
        let parts = ["redis_host", "redis_port", "redis_protocol"].map(rank).into_iter().max().unwrap_or(0);
        if let Some(url) = self.url.as_ref().filter(|_| rank("redis_url") >= parts) {
            return Some(url.clone());
        }
        if self.host.is_none() && self.port.is_none() && !needed {
            return None;
        }
        let host = self.host.as_deref().unwrap_or("localhost");
        let protocol = self.protocol.as_deref().unwrap_or("redis");
        Some(Token::new(format!("{protocol}://{host}:{}", self.port.unwrap_or(6379))))
    }
}

/// The exit code for a failed command.
#[cfg(feature = "redis")]
pub(crate) fn failure(e: symple::net::redis::RedisError) -> super::exit::Failure {
    use super::exit::{Failure, FailureKind};
    let kind = match e.code() {
        "unreachable" | "late" | "unheard" => FailureKind::Unavailable,
        "refused" => FailureKind::NoPermission,
        _ => FailureKind::Data,
    };
    Failure::new(kind, e.to_string())
}

/// The URL as the library expects it.
#[cfg(feature = "redis")]
pub(crate) fn parse(url: &Token) -> Result<symple::net::redis::RedisUrl, super::exit::Failure> {
    use super::exit::{Failure, FailureKind};
    url.reveal().parse().map_err(Failure::of(FailureKind::Config, "redis"))
}

/// Whether Redis answers; the question does not matter.
#[cfg(feature = "redis")]
pub(crate) fn ask(url: &Token) -> Result<String, super::exit::Failure> {
    let sessions = symple::net::redis::Sessions::new(parse(url)?);
    smol::block_on(sessions.exists(&symple::net::random_id())).map_err(failure)?;
    Ok(format!("{} answers", super::merge::without_login(url.reveal())))
}
