//! The HTTP API and page of a server: its health, the page's configuration, paths that need a token, and the page
//! itself. Used by a camera's own server and by `symple serve`.
//! | path | answer |
//! |---|---|
//! | `/api/health` | `{"status":"ok"}` |
//! | `/api/config` | `{"auth":true,"iceServers":[…],"room":"public"}`; the ICE servers, which contain credentials, only for requests that [`Site::watchers`] admits |
//! | those of [`Site::open`] | their own, for everybody |
//! | those of [`Site::guarded`] | their own, for requests that [`Site::numbers`] admits; otherwise 401 |
//! | anything else | the page and its files (feature `web`), or 404 |
//!
//! The page, its files and `/api/config` are [shared](Response::shared): pages of other allowed origins may import the
//! modules, and frame the page.

mod metrics;

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

pub use metrics::Metrics;

use super::http::{Request, Response};
use crate::proto::Token;

/// Who may see something.
#[derive(Clone)]
#[non_exhaustive]
pub enum Guard {
    /// Everybody.
    Everybody,
    /// Requests with this token, as `Authorization: Bearer TOKEN`.
    Token {
        /// The token.
        token: Token,
    },
    /// Requests with a token for which this returns true. It must not block. A token that it refuses does not count as
    /// a guess.
    Check {
        /// Whether the token is known.
        check: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    },
    /// Nobody.
    Nobody,
}

impl Guard {
    /// Whether this request is admitted.
    pub fn admits(&self, request: &Request) -> bool {
        match self {
            Guard::Everybody => true,
            Guard::Token { token } => request.bears(token),
            Guard::Check { check: is_known } => request.bearer().is_some_and(|bearer| is_known(bearer)),
            Guard::Nobody => false,
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Guard::Everybody => "Everybody",
            Guard::Token { .. } => "Token(…)",
            Guard::Check { .. } => "Check(…)",
            Guard::Nobody => "Nobody",
        })
    }
}

/// Handles a path.
type Responder = Box<dyn Fn() -> Response + Send + Sync>;

/// The HTTP site of a server; see the [module](self) for its paths.
///
/// ```
/// use symple::net::site::{Guard, Site};
/// use symple::net::ServerConfig;
/// use symple::net::http::{Request, Response};
/// use symple::proto::Token;
///
/// let guard = Guard::Token { token: Token::new("s3cret") };
/// let site = Site::new(&[], Some("public"), true)
///     .watchers(guard.clone())
///     .numbers(guard)
///     .guarded("/api/status", || Response::json("{}".into()));
/// assert_eq!(site.answer(&Request::new("/api/status", None)).map(|r| r.status), Some(401));
/// let config = ServerConfig::default().http(move |request| site.answer(request));
/// ```
pub struct Site {
    /// The page's configuration: without the ICE servers, and with them.
    config: (String, String),
    watchers: Guard,
    numbers: Guard,
    routes: Vec<(&'static str, bool, Responder)>,
}

impl Site {
    /// A site that gives the page these ICE servers (each a W3C `RTCIceServer`), the room where people and cameras
    /// meet, and whether the server requires a token. Everybody may see all of it.
    pub fn new(ice_servers: &[Value], room: Option<&str>, auth: bool) -> Site {
        let config = |ice: &[Value]| json!({ "iceServers": ice, "room": room, "auth": auth }).to_string();
        Site {
            config: (config(&[]), config(ice_servers)),
            watchers: Guard::Everybody,
            numbers: Guard::Everybody,
            routes: Vec::new(),
        }
    }

    /// Restricts who gets the ICE servers.
    pub fn watchers(mut self, guard: Guard) -> Self {
        self.watchers = guard;
        self
    }

    /// Restricts who may see the [`guarded`](Site::guarded) paths.
    pub fn numbers(mut self, guard: Guard) -> Self {
        self.numbers = guard;
        self
    }

    /// Adds a path for everybody.
    pub fn open(mut self, path: &'static str, answer: impl Fn() -> Response + Send + Sync + 'static) -> Self {
        self.routes.push((path, false, Box::new(answer)));
        self
    }

    /// Adds a path for those who may see the guarded paths.
    pub fn guarded(
        mut self,
        path: &'static str,
        answer: impl Fn() -> Response + Send + Sync + 'static,
    ) -> Self {
        self.routes.push((path, true, Box::new(answer)));
        self
    }

    /// The response to a request; `None` becomes 404.
    pub fn answer(&self, request: &Request) -> Option<Response> {
        match request.path() {
            "/api/health" => Some(Response::json(json!({ "status": "ok" }).to_string())),
            "/api/config" => {
                let (open, whole) = &self.config;
                let config = if self.watchers.admits(request) { whole } else { open };
                Some(Response::json(config.clone()).shared())
            }
            path => match self.routes.iter().find(|(route, ..)| *route == path) {
                Some((_, true, _)) if !self.numbers.admits(request) => Some(self.refuse(request)),
                Some((.., answer)) => Some(answer()),
                None => page(path),
            },
        }
    }

    fn refuse(&self, request: &Request) -> Response {
        let words = match self.numbers {
            Guard::Nobody => "This server has no status token; set one with status_token.\n",
            _ => "A token is required: Authorization: Bearer …\n",
        };
        Response::unauthorized(request, words)
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("watchers", &self.watchers)
            .field("numbers", &self.numbers)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "web")]
fn page(path: &str) -> Option<Response> {
    crate::web::asset(path).map(|asset| {
        Response::file(asset.mime, asset.body, asset.etag)
            .gzipped(asset.gzip)
            .shared()
            .header("Content-Security-Policy", crate::web::CONTENT_SECURITY_POLICY)
    })
}

#[cfg(not(feature = "web"))]
fn page(_: &str) -> Option<Response> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(watchers: Guard, numbers: Guard) -> Site {
        let ice = json!({ "urls": "turn:turn.example", "username": "u", "credential": "p4ss" });
        Site::new(&[ice], Some("public"), true)
            .watchers(watchers)
            .numbers(numbers)
            .open("/api/ready", || Response::json("{}".into()))
            .guarded("/metrics", || Response::json("{}".into()))
    }

    fn token() -> Guard {
        Guard::Token { token: Token::new("secret") }
    }

    #[test]
    fn only_those_who_may_watch_get_the_ice_servers() {
        let online = || Guard::Check { check: Arc::new(|bearer| bearer == "online") };
        for (guard, bearer, told) in [
            (Guard::Everybody, None, true),
            (token(), None, false),
            (token(), Some("secreT"), false),
            (token(), Some("secret"), true),
            (online(), None, false),
            (online(), Some("offline"), false),
            (online(), Some("online"), true),
            (Guard::Nobody, Some("secret"), false),
        ] {
            let site = site(guard, Guard::Nobody);
            let response = site.answer(&Request::new("/api/config", bearer)).expect("it is there");
            let body = String::from_utf8(response.body.bytes().expect("whole").to_vec()).expect("JSON");
            assert_eq!((response.status, body.contains("p4ss")), (200, told), "{site:?} {bearer:?}");
            assert!(body.contains(r#""room":"public""#) && body.contains(r#""auth":true"#), "{body}");
        }
    }

    #[test]
    fn numbers_are_guarded_and_health_is_not() {
        let ask = |guard, path, bearer| {
            site(Guard::Nobody, guard).answer(&Request::new(path, bearer)).map(|response| response.status)
        };
        assert_eq!(ask(token(), "/metrics", Some("secret")), Some(200));
        assert_eq!(ask(token(), "/metrics", Some("secreT")), Some(401));
        assert_eq!(ask(token(), "/metrics", None), Some(401));
        assert_eq!(ask(Guard::Nobody, "/metrics", Some("")), Some(401));
        assert_eq!(ask(Guard::Everybody, "/metrics", None), Some(200));
        for path in ["/api/health", "/api/ready"] {
            assert_eq!(ask(Guard::Nobody, path, None), Some(200), "{path}");
        }
        assert_eq!(ask(Guard::Nobody, "/", None), cfg!(feature = "web").then_some(200));
        assert_eq!(ask(Guard::Nobody, "/nothing", None), None);
    }
}
