//! The address of a Redis.

use std::fmt;
use std::str::FromStr;

use redis::{ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};

/// Why a text is no address of a Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrlError(String);

impl fmt::Display for RedisUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; a Redis looks like redis://:password@127.0.0.1:6379/0", self.0)
    }
}

impl std::error::Error for RedisUrlError {}

/// Where a Redis is, and how it lets us in. `Debug` shows host and port alone.
#[derive(Clone)]
pub struct RedisUrl {
    pub(super) host: String,
    pub(super) port: u16,
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "refused when it was read"))]
    pub(super) tls: bool,
    pub(super) login: RedisConnectionInfo,
    /// Whose certificate is believed.
    #[cfg(feature = "tls")]
    pub(super) roots: crate::net::Roots,
}

impl RedisUrl {
    /// Trusts these roots for `rediss://` in the place of the system's.
    #[cfg(feature = "tls")]
    pub fn trust(mut self, roots: crate::net::Roots) -> Self {
        self.roots = roots;
        self
    }

    /// The number of the database. Channels know none, so instances with another number have other names.
    pub(super) fn db(&self) -> i64 {
        self.login.db()
    }
}

impl FromStr for RedisUrl {
    type Err = RedisUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |why: &str| RedisUrlError(why.to_owned());
        // The client library reads all but TLS, which is ours.
        let (tls, plain) = match text.split_once("://") {
            Some(("redis", rest)) => (false, rest),
            Some(("rediss", rest)) => (true, rest),
            Some(_) => return Err(bad("Only redis:// and rediss:// are spoken")),
            None => return Err(bad("The address has no redis://")),
        };
        if tls && cfg!(not(feature = "tls")) {
            return Err(bad("rediss:// needs the crate's feature `tls`"));
        }
        let info = format!("redis://{plain}").into_connection_info();
        let info = info.map_err(|_| bad("The address cannot be read"))?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else {
            return Err(bad("The address names no host"));
        };
        if host.is_empty() {
            return Err(bad("The address names no host"));
        }
        Ok(RedisUrl {
            host: host.clone(),
            port: *port,
            tls,
            login: info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3),
            #[cfg(feature = "tls")]
            roots: Default::default(),
        })
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({}:{})", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused_in_words() {
        for (text, host, port, db, password) in [
            ("redis://127.0.0.1:6380/7", "127.0.0.1", 6380, 7, None),
            ("redis://redis.local", "redis.local", 6379, 0, None),
            ("redis://:s3%20cret@[::1]:1", "::1", 1, 0, Some("s3 cret")),
        ] {
            let url: RedisUrl = text.parse().expect(text);
            let login = (url.login.db(), url.login.password());
            assert_eq!((&*url.host, url.port, login), (host, port, (db, password)), "{text}");
            assert!(!format!("{url:?}").contains("cret"));
        }
        for (text, why) in [
            ("127.0.0.1:6379", "no redis://"),
            ("http://h", "Only redis://"),
            ("redis://", "no host"),
            ("redis://h/x", "cannot be read"),
        ] {
            let said = text.parse::<RedisUrl>().expect_err(text).to_string();
            assert!(said.contains(why) || said.contains("cannot be read"), "{text}: {said}");
        }
        assert_eq!("rediss://h".parse::<RedisUrl>().is_ok(), cfg!(feature = "tls"));
    }
}
