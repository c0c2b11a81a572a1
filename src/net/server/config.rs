//! The configuration of a server.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Bus;
use crate::net::http::{Handler, Method, Request, Response, Routes};
use crate::net::{Network, Origins};
use crate::server::{Config, Hub};

/// The configuration of a server. Its `Default` does not listen: it serves peers in its process.
#[derive(Clone)]
pub struct ServerConfig {
    /// Configuration and limits of the protocol.
    pub hub: Config,
    /// Addresses to listen on, with port 0 for any free port. Loopback is the safe choice; the server logs a warning if
    /// it listens on other addresses without authentication.
    pub listen: Vec<SocketAddr>,
    /// The pages that may connect. Default: any, since tokens protect the server.
    pub origins: Option<Origins>,
    /// Proxies whose `X-Forwarded-For` and `X-Real-IP` headers are trusted. Only proxies should be able to connect from
    /// these networks, since anybody there can forge addresses.
    pub trusted_proxies: Vec<Network>,
    /// The maximum number of sockets per address, where a /64 of IPv6 counts as one address; further sockets are closed
    /// at once. For trusted proxies, the addresses that they report are counted instead of their own. Default: no
    /// limit, since a whole office may share one address.
    pub max_per_address: Option<usize>,
    /// The maximum number of unauthenticated sockets per address. Default: no limit.
    pub max_unauthenticated_per_address: Option<usize>,
    /// The maximum number of unauthenticated sockets in total. Default: only the limit on sockets.
    pub max_unauthenticated: Option<usize>,
    /// Networks that are exempt from the limits per address and from delays after wrong tokens; any other address may
    /// send 10 wrong ones, then one every 10 s. Default: this machine, [`Network::LOOPBACK`].
    pub exempt: Vec<Network>,
    /// How many of the process's open files sockets leave for everything else. Further sockets are closed at once. The
    /// limit on open files is read when the server is created. Default: 64.
    pub reserved_files: usize,
    /// The certificate for `https://` and `wss://`; without one the server uses `http://` and `ws://`.
    #[cfg(feature = "tls")]
    pub tls: Option<crate::net::ServerTls>,
    /// The Redis that this server shares with other instances.
    #[cfg(feature = "redis")]
    pub redis: Option<crate::net::redis::RedisConfig>,
    /// Answers GET requests that match no route; see [`ServerConfig::http`].
    pub handler: Option<Handler>,
    /// The application's own routes; see [`ServerConfig::route`].
    pub routes: Routes,
    /// The maximum size of a request body, in bytes; larger ones are answered with 413. A route may set another limit:
    /// [`Routes::body_limit`]. Default: 64 KiB.
    pub body_limit: usize,
    /// The path under which a proxy serves this server, such as `/cam1/`. Page, modules, WebSocket and API are
    /// available below it, and still at `/`, since the proxy may strip it. Default: none.
    pub base_path: String,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            hub: Config::default(),
            listen: Vec::new(),
            origins: None,
            trusted_proxies: Vec::new(),
            max_per_address: None,
            max_unauthenticated_per_address: None,
            max_unauthenticated: None,
            exempt: Network::LOOPBACK.to_vec(),
            reserved_files: 64,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "redis")]
            redis: None,
            handler: None,
            routes: Routes::new(),
            body_limit: 64 << 10,
            base_path: String::new(),
        }
    }
}

impl ServerConfig {
    /// Listens on these addresses, with the default limits of the protocol.
    pub fn listen(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        ServerConfig { listen: addresses.into_iter().collect(), ..ServerConfig::default() }
    }

    /// Creates the hub, and the bus to other instances.
    #[cfg(feature = "redis")]
    pub(super) fn hub_and_bus(&mut self) -> (Hub, Option<Arc<dyn Bus>>) {
        match self.redis.take() {
            Some(redis) => {
                let (hub, bus) = crate::net::redis::instance(std::mem::take(&mut self.hub), redis);
                (hub, Some(bus))
            }
            None => (Hub::new(std::mem::take(&mut self.hub)), None),
        }
    }

    #[cfg(not(feature = "redis"))]
    pub(super) fn hub_and_bus(&mut self) -> (Hub, Option<Arc<dyn Bus>>) {
        (Hub::new(std::mem::take(&mut self.hub)), None)
    }

    /// Adds a handler for this path and method; see [`Routes`] for the syntax of paths.
    ///
    /// ```
    /// use symple::net::ServerConfig;
    /// use symple::net::http::{BodyError, Method, Request, Response};
    ///
    /// ServerConfig::default().route(Method::Post, "/api/motor", |mut request: Request| async move {
    ///     let speed: u32 = request.json().await?;
    ///     Ok::<_, BodyError>(Response::json(format!(r#"{{"speed":{speed}}}"#)))
    /// });
    /// ```
    pub fn route<F, R>(
        mut self,
        method: Method,
        path: &str,
        handler: impl Fn(Request) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = R> + Send + 'static,
        R: Into<Response>,
    {
        self.routes = self.routes.route(method, path, handler);
        self
    }

    /// Sets the handler for GET requests that match no route; `None` becomes 404. It must not block.
    pub fn http(mut self, handler: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static) -> Self {
        self.handler = Some(Arc::new(handler));
        self
    }
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig")
            .field("hub", &self.hub)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}
