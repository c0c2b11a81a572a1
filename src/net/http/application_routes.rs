//! The host's own routes: paths and their handlers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::{Method, Request, Response};

type ResponseFuture = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Handlers by path and method. Clones share the handlers.
///
/// A path matches exactly; one that ends in `/*` matches everything below it. The longest match wins. A request for a
/// path without a route for its method gets 405; a route for `GET` also handles `HEAD`.
///
/// ```
/// use symple::net::http::{BodyError, Method, Request, Response, Routes};
///
/// async fn motor(mut request: Request) -> Result<Response, BodyError> {
///     let speed: u32 = request.json().await?;
///     Ok(Response::json(format!(r#"{{"speed":{speed}}}"#)))
/// }
///
/// let routes = Routes::new()
///     .route(Method::Post, "/api/motor", motor)
///     .route(Method::Get, "/logs/*", |request: Request| async move {
///         Response::text(200, format!("the log {}\n", &request.path()["/logs/".len()..]))
///     })
///     .route(Method::Put, "/firmware", |mut request: Request| async move {
///         let mut size = 0;
///         while let Some(part) = request.chunk().await? {
///             size += part.len();
///         }
///         Ok::<_, BodyError>(Response::text(200, format!("{size} bytes\n")))
///     })
///     .body_limit(16 << 20);
/// # futures_lite::future::block_on(async {
/// let request = Request::new("/api/motor", None).with_method(Method::Post).with_body("7");
/// assert_eq!(routes.answer(request).await.and_then(|r| r.body.bytes().map(<[u8]>::to_vec)), Some(br#"{"speed":7}"#.to_vec()));
/// # });
/// ```
#[derive(Clone, Default)]
pub struct Routes {
    routes: Vec<Route>,
}

#[derive(Clone)]
pub(super) struct Route {
    method: Method,
    /// Without the `*`.
    path: Arc<str>,
    below: bool,
    pub(super) body_limit: Option<usize>,
    handler: Arc<dyn Fn(Request) -> ResponseFuture + Send + Sync>,
}

/// The result of looking up a path and a method.
pub(super) enum Found<'a> {
    Route(&'a Route),
    /// The path has routes, but only for these methods.
    WrongMethod(Vec<Method>),
    Nothing,
}

impl Routes {
    /// No route.
    pub fn new() -> Self {
        Routes::default()
    }

    /// Whether both are copies of the same routes.
    #[cfg(feature = "camera")]
    pub(crate) fn is_same(&self, other: &Routes) -> bool {
        let is_same = |a: &Route, b: &Route| {
            a.body_limit == b.body_limit
                && Arc::ptr_eq(&a.path, &b.path)
                && Arc::ptr_eq(&a.handler, &b.handler)
        };
        self.routes.len() == other.routes.len()
            && self.routes.iter().zip(&other.routes).all(|(a, b)| is_same(a, b))
    }

    /// Adds a handler for `path` with this method. The handler's future runs in the server's own, so it must not block;
    /// it is dropped when the client disconnects. If it panics, the client gets 500.
    ///
    /// # Panics
    /// If `path` does not begin with a slash.
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
        assert!(path.starts_with('/'), "the path of a route must begin with a slash: {path:?}");
        let (path, below) = match path.strip_suffix('*').filter(|path| path.ends_with('/')) {
            Some(path) => (path, true),
            None => (path, false),
        };
        let handler = move |request: Request| -> ResponseFuture {
            let answer = handler(request);
            Box::pin(async move { answer.await.into() })
        };
        self.routes.push(Route {
            method,
            path: path.into(),
            below,
            body_limit: None,
            handler: Arc::new(handler),
        });
        self
    }

    /// Sets the maximum body size of the last route, in bytes, instead of
    /// [`ServerConfig::body_limit`](crate::net::ServerConfig::body_limit).
    pub fn body_limit(mut self, bytes: usize) -> Self {
        if let Some(route) = self.routes.last_mut() {
            route.body_limit = Some(bytes);
        }
        self
    }

    /// Handles a request as a server would, for tests of handlers; `None` if no route matches.
    pub async fn answer(&self, request: Request) -> Option<Response> {
        match self.find(Some(request.method()), request.path()) {
            Found::Route(route) => Some(route.answer(request).await),
            _ => None,
        }
    }

    /// `None` for a method that no route can have.
    pub(super) fn find(&self, method: Option<Method>, path: &str) -> Found<'_> {
        let mut matching: Vec<&Route> = self.routes.iter().filter(|route| route.matches(path)).collect();
        matching.sort_by_key(|route| (route.below, std::cmp::Reverse(route.path.len())));
        let by = |method| matching.iter().find(|route| route.method == method);
        let head = || by(Method::Get).filter(|_| method == Some(Method::Head));
        match method.and_then(by).or_else(head) {
            Some(route) => Found::Route(route),
            None if matching.is_empty() => Found::Nothing,
            None => {
                let mut methods: Vec<Method> = matching.iter().map(|route| route.method).collect();
                if methods.contains(&Method::Get) {
                    methods.push(Method::Head);
                }
                methods.sort_unstable();
                methods.dedup();
                Found::WrongMethod(methods)
            }
        }
    }
}

impl Route {
    fn matches(&self, path: &str) -> bool {
        match self.below {
            true => path.starts_with(&*self.path),
            false => path == &*self.path,
        }
    }

    pub(super) fn answer(&self, request: Request) -> ResponseFuture {
        (self.handler)(request)
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name =
            |route: &Route| format!("{} {}{}", route.method, route.path, if route.below { "*" } else { "" });
        f.debug_list().entries(self.routes.iter().map(name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;

    #[test]
    fn the_longest_matching_path_wins() {
        let named = |name: &'static str| move |_: Request| async move { Response::text(200, name) };
        let routes = Routes::new()
            .route(Method::Get, "/*", named("all"))
            .route(Method::Get, "/api/*", named("api"))
            .route(Method::Get, "/api/x", named("x"))
            .route(Method::Post, "/api/x", named("post x"))
            .route(Method::Delete, "/only", named("only"));
        for (method, path, found) in [
            (Method::Get, "/api/x", "x"),
            (Method::Head, "/api/x", "x"),
            (Method::Post, "/api/x", "post x"),
            (Method::Get, "/api/x/", "api"),
            (Method::Get, "/api/", "api"),
            (Method::Get, "/api", "all"),
            (Method::Get, "/", "all"),
            (Method::Get, "/only", "all"),
            (Method::Delete, "/only", "only"),
            (Method::Put, "/api/x", "405 [Get, Head, Post]"),
            (Method::Post, "/only", "405 [Get, Head, Delete]"),
        ] {
            let answer = match routes.find(Some(method), path) {
                Found::Route(route) => {
                    let body = block_on(route.answer(Request::new(path, None))).body;
                    String::from_utf8(body.bytes().expect("whole").to_vec()).expect("text")
                }
                Found::WrongMethod(methods) => format!("405 {methods:?}"),
                Found::Nothing => "404".into(),
            };
            assert_eq!(answer, found, "{method} {path}");
        }
        assert!(matches!(Routes::new().find(Some(Method::Get), "/"), Found::Nothing));
    }
}
