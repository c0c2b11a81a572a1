//! The URL of a Redis.

use std::fmt;
use std::str::FromStr;

use redis::{ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};

/// Why a text is not the URL of a Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrlError(String);

impl fmt::Display for RedisUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; use a URL such as redis://:password@127.0.0.1:6379/0, for Sentinel \
             redis+sentinel://:password@10.0.0.1:26379,10.0.0.2:26379/mymaster/0, or for a cluster \
             redis+cluster://:password@10.0.0.1:6379,10.0.0.2:6379",
            self.0
        )
    }
}

impl std::error::Error for RedisUrlError {}

/// A host and a port.
pub(crate) type HostPort = (String, u16);

/// The location of Redis, or of nodes that know it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum RedisHosts {
    At(HostPort),
    /// These sentinels, any of which suffices, monitor the master of this name.
    Sentinels(Vec<HostPort>, String),
    /// A cluster; any of these nodes knows the others.
    Cluster(Vec<HostPort>),
}

/// The part before the host.
enum Scheme {
    Plain,
    Sentinel,
    Cluster,
}

/// The URL of a Redis, with its credentials. `Debug` only shows host and port.
#[derive(Clone)]
pub struct RedisUrl {
    pub(crate) place: RedisHosts,
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "refused when it was read"))]
    pub(super) tls: bool,
    pub(crate) login: RedisConnectionInfo,
    /// The trusted certificates.
    #[cfg(feature = "tls")]
    pub(super) roots: crate::net::Roots,
}

impl RedisUrl {
    /// Trusts these root certificates for `rediss://` instead of the system's.
    #[cfg(feature = "tls")]
    pub fn trust(mut self, roots: crate::net::Roots) -> Self {
        self.roots = roots;
        self
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.place, RedisHosts::Cluster(_))
    }

    /// The number of the database. Channels ignore it, so instances with different numbers must use different channel
    /// names.
    pub(super) fn db(&self) -> i64 {
        self.login.db()
    }
}

impl FromStr for RedisUrl {
    type Err = RedisUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |why: &str| RedisUrlError(why.to_owned());
        // The client library parses the URL of one Redis; TLS, Sentinel and clusters are handled here.
        let (tls, scheme, rest) = match text.split_once("://") {
            Some(("redis", rest)) => (false, Scheme::Plain, rest),
            Some(("rediss", rest)) => (true, Scheme::Plain, rest),
            Some(("redis+sentinel", rest)) => (false, Scheme::Sentinel, rest),
            Some(("rediss+sentinel", rest)) => (true, Scheme::Sentinel, rest),
            Some(("redis+cluster", rest)) => (false, Scheme::Cluster, rest),
            Some(("rediss+cluster", rest)) => (true, Scheme::Cluster, rest),
            Some(_) => {
                return Err(bad(
                    "Only redis://, rediss://, redis+sentinel:// and redis+cluster:// are supported",
                ));
            }
            None => return Err(bad("The URL does not begin with redis://")),
        };
        if tls && cfg!(not(feature = "tls")) {
            return Err(bad("rediss:// needs the crate's feature `tls`"));
        }
        let read = |plain: &str| {
            let info = format!("redis://{plain}").into_connection_info();
            let info = info.map_err(|_| bad("The URL is not valid"))?;
            let login = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
            match info.addr() {
                ConnectionAddr::Tcp(host, port) if !host.is_empty() => Ok(((host.clone(), *port), login)),
                _ => Err(bad("The URL has no host")),
            }
        };
        // Several hosts, followed by a path, and preceded by the login for a database.
        let hosts = || {
            let (login, rest) = rest.rsplit_once('@').map_or(("", rest), |(login, rest)| (login, rest));
            let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
            let hosts: Result<Vec<_>, _> = hosts.split(',').map(|host| Ok(read(host)?.0)).collect();
            let at = if login.is_empty() { "" } else { "@" };
            hosts.map(|hosts| (hosts, path, move |db: &str| Ok(read(&format!("{login}{at}host/{db}"))?.1)))
        };
        let (place, login) = match scheme {
            Scheme::Plain => {
                let (at, login) = read(rest)?;
                (RedisHosts::At(at), login)
            }
            Scheme::Sentinel => {
                let (hosts, path, login) = hosts()?;
                let (name, db) = path.split_once('/').unwrap_or((path, ""));
                if name.is_empty() {
                    return Err(bad("The URL does not name the Redis that the sentinels monitor"));
                }
                (RedisHosts::Sentinels(hosts, name.to_owned()), login(db)?)
            }
            Scheme::Cluster => {
                let (hosts, db, login) = hosts()?;
                let login = login(db)?;
                if login.db() != 0 {
                    return Err(bad("A cluster only has database 0"));
                }
                (RedisHosts::Cluster(hosts), login)
            }
        };
        Ok(RedisUrl {
            place,
            tls,
            login,
            #[cfg(feature = "tls")]
            roots: Default::default(),
        })
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            RedisHosts::At((host, port)) => write!(f, "RedisUrl({host}:{port})"),
            RedisHosts::Sentinels(at, name) => write!(f, "RedisUrl({name} of {} sentinels)", at.len()),
            RedisHosts::Cluster(at) => write!(f, "RedisUrl(a cluster by {} of its nodes)", at.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parsed_or_refused_with_a_reason() {
        for (text, host, port, db, password) in [
            ("redis://127.0.0.1:6380/7", "127.0.0.1", 6380, 7, None),
            ("redis://redis.local", "redis.local", 6379, 0, None),
            ("redis://:s3%20cret@[::1]:1", "::1", 1, 0, Some("s3 cret")),
        ] {
            let url: RedisUrl = text.parse().expect(text);
            let login = (url.login.db(), url.login.password());
            assert!(url.place == RedisHosts::At((host.into(), port)), "{text}");
            assert_eq!(login, (db, password), "{text}");
            assert!(!format!("{url:?}").contains("cret"));
        }
        for (text, why) in [
            ("127.0.0.1:6379", "does not begin with redis://"),
            ("http://h", "Only redis://"),
            ("redis://", "no host"),
            ("redis://h/x", "is not valid"),
        ] {
            let said = text.parse::<RedisUrl>().expect_err(text).to_string();
            assert!(said.contains(why) || said.contains("is not valid"), "{text}: {said}");
        }
        let url: RedisUrl = "redis+sentinel://:s3cret@a:1,b/main/3".parse().expect("good");
        let sentinels = vec![("a".to_owned(), 1), ("b".to_owned(), 6379)];
        assert!(url.place == RedisHosts::Sentinels(sentinels, "main".into()));
        assert_eq!((url.db(), url.login.password()), (3, Some("s3cret")));
        let said = "redis+sentinel://a:1".parse::<RedisUrl>().expect_err("which one?").to_string();
        assert!(said.contains("does not name the Redis"), "{said}");
        let url: RedisUrl = "redis+cluster://app:s3cret@a:1,b".parse().expect("good");
        assert!(url.place == RedisHosts::Cluster(vec![("a".to_owned(), 1), ("b".to_owned(), 6379)]));
        assert_eq!((url.login.username(), url.login.password()), (Some("app"), Some("s3cret")));
        assert!(!format!("{url:?}").contains("cret"));
        let said = "redis+cluster://a/3".parse::<RedisUrl>().expect_err("which 3?").to_string();
        assert!(said.contains("only has database 0"), "{said}");
        assert_eq!("rediss://h".parse::<RedisUrl>().is_ok(), cfg!(feature = "tls"));
    }
}
