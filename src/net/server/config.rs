//! What a server is told at its start.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Bus;
use crate::net::http::{Handler, Method, Request, Response, Routes};
use crate::net::{Network, Origins};
use crate::server::{Config, Hub};

/// What a server does beside the protocol. Its `Default` listens nowhere: it serves peers of its process.
#[derive(Clone)]
pub struct ServerConfig {
    /// Rules and limits of the protocol.
    pub hub: Config,
    /// Addresses to listen on, port 0 for any free one. Loopback is the safe choice; who listens openly
    /// without authentication is warned in the log.
    pub listen: Vec<SocketAddr>,
    /// Which pages may connect; by default any, for tokens protect.
    pub origins: Option<Origins>,
    /// Proxies whose `X-Forwarded-For` and `X-Real-IP` are believed. In a network that is named here nobody
    /// but proxies should be able to connect: who can, invents addresses.
    pub trusted_proxies: Vec<Network>,
    /// Sockets that one address may hold, a /64 of IPv6 counting as one address; what is over is closed at
    /// once. Trusted proxies are not counted, but the clients they tell of. Default: no limit, for a whole
    /// office may share an address.
    pub max_per_address: Option<usize>,
    /// Sockets of one address that may be open without a peer admitted on them. Default: no limit.
    pub max_unauthenticated_per_address: Option<usize>,
    /// Sockets that may be open without a peer admitted on them. Default: no limit but that on sockets.
    pub max_unauthenticated: Option<usize>,
    /// Whose sockets are counted for no address, and who may guess tokens without waiting; else an address
    /// has 10 wrong ones, and then one each 10 s. Default: this machine, [`Network::LOOPBACK`].
    pub exempt: Vec<Network>,
    /// How many of the files that the process may have open sockets leave for all else. Sockets beyond are
    /// closed at once. The limit is looked at when the server is made. Default: 64.
    pub reserved_files: usize,
    /// The certificate to serve `https://` and `wss://` with; without one `http://` and `ws://`.
    #[cfg(feature = "tls")]
    pub tls: Option<crate::net::ServerTls>,
    /// The Redis that this server shares with other instances.
    #[cfg(feature = "redis")]
    pub redis: Option<crate::net::redis::RedisConfig>,
    /// What answers GET requests that no route answers; see [`ServerConfig::http`].
    pub handler: Option<Handler>,
    /// The host's own paths; see [`ServerConfig::route`].
    pub routes: Routes,
    /// The largest body of a request, in bytes; what is over is answered 413. A route may have another:
    /// [`Routes::body_limit`]. Default: 64 KiB.
    pub body_limit: usize,
    /// The path under which a proxy shows this server, such as `/cam1/`: page, modules, WebSocket and API are found
    /// below it, and still at `/`, for the proxy may cut it off. Default: none.
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
    /// Listens on these addresses, with the protocol's default limits.
    pub fn listen(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        ServerConfig { listen: addresses.into_iter().collect(), ..ServerConfig::default() }
    }

    /// The hub, and the bus between it and other instances.
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

    /// Answers requests for this path by this method; see [`Routes`], which tells what a path may be.
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

    /// Answers GET requests at once, where no route does; `None` is 404. It must not block.
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
