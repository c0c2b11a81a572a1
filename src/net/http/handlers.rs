//! Calls the host's handlers: checks tokens, limits bodies, and contains panics.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::poll_fn;
use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper::header;
use hyper::http::request::Parts;

use super::application_routes::{Found, Route};
use super::upload::{BodyOutcome, Upload};
use super::{Method, Request, Response, Rules, bearer, single};
use crate::net::reactor::outside;

/// A request on its way to its handler.
pub(super) struct Asked<'a> {
    pub rules: &'a Arc<Rules>,
    pub from: IpAddr,
    /// `None` for a method that no route can have.
    pub method: Option<Method>,
    pub path: String,
    pub found: Found<'a>,
}

impl Asked<'_> {
    /// The host's response. An address with too many wrong tokens has to wait instead.
    pub(super) async fn answer<B>(self, head: &Parts, body: B) -> Response
    where
        B: hyper::body::Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let Ok(authorization) = single(&head.headers, header::AUTHORIZATION.as_str()) else {
            return Response::text(
                400,
                "There must be only one Authorization header, and it must be valid text.\n",
            );
        };
        let bearer = authorization.and_then(bearer).map(str::to_owned);
        let outcome = Arc::<BodyOutcome>::default();
        let trial = match &bearer {
            None => None,
            Some(_) => match Trial::begin(self.rules, self.from, &outcome) {
                Ok(trial) => Some(trial),
                Err(wait) => return too_many_tokens(wait),
            },
        };
        let Some(method) = self.method else { return nothing(&self.found, false) };
        let limit = match &self.found {
            Found::Route(route) => route.body_limit.unwrap_or(self.rules.answers.body_limit),
            _ => 0,
        };
        let mut request = Request {
            method,
            path: self.path,
            query: head.uri.query().map(str::to_owned),
            bearer,
            client: Some(self.from),
            headers: head.headers.clone(),
            body: Upload::new(body.map_err(|e| Box::new(e) as _).boxed(), limit, outcome.clone()),
            outcome: outcome.clone(),
        };
        let reads = matches!(method, Method::Get | Method::Head);
        let handler = self.rules.answers.handler.as_ref().filter(|_| reads);
        let response = match (self.found, handler) {
            (Found::Route(route), _) => match request.body.check() {
                Ok(()) => run(route, request).await,
                Err(error) => {
                    // A client that sent `Expect: 100-continue` has not sent its body yet.
                    if !head.headers.contains_key(header::EXPECT) {
                        request.body.discard().await;
                    }
                    Response::from(error)
                }
            },
            (found, Some(handler)) => match contained(|| handler(&request)) {
                Some(response) => response.unwrap_or_else(|| nothing(&found, reads)),
                None => panicked(method, request.path()),
            },
            (found, None) => nothing(&found, reads),
        };
        if let Some(trial) = trial {
            trial.end(response.status == 401);
        }
        match outcome.failure() {
            Some(error) if response.status < 400 => Response::from(error).header("Connection", "close"),
            Some(_) => response.header("Connection", "close"),
            None => response,
        }
    }
}

/// Runs a handler to its end.
async fn run(route: &Route, request: Request) -> Response {
    let (method, path) = (request.method(), request.path().to_owned());
    let Some(mut answer) = contained(|| route.answer(request)) else { return panicked(method, &path) };
    let polled = poll_fn(|cx| match contained(|| answer.as_mut().poll(cx)) {
        Some(polled) => polled.map(Some),
        None => std::task::Poll::Ready(None),
    });
    polled.await.unwrap_or_else(|| panicked(method, &path))
}

/// The result of the handler, or `None` if it panicked.
pub(super) fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    let work = || outside(work);
    #[cfg(feature = "rtc")]
    return crate::rtc::contained(work);
    #[cfg(not(feature = "rtc"))]
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok()
}

fn panicked(method: Method, path: &str) -> Response {
    log::error!("the handler of {method} {path} panicked; responding with 500");
    Response::text(500, "The handler of this request failed.\n")
}

/// The response if no handler matches.
fn nothing(found: &Found<'_>, reads: bool) -> Response {
    match found {
        Found::WrongMethod(methods) => {
            let names: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
            Response::text(405, "This path does not support that method.\n").header("Allow", names.join(", "))
        }
        _ if reads => Response::text(404, "Not found. Symple uses WebSocket on this port.\n"),
        _ => Response::text(405, "Only GET is supported here.\n").header("Allow", "GET, HEAD"),
    }
}

fn too_many_tokens(wait: Duration) -> Response {
    Response::text(429, "Too many wrong tokens from this address; wait, and try again.\n")
        .header("Retry-After", wait.as_secs_f64().ceil().to_string())
}

/// A token being checked, until the response shows whether it was a wrong guess.
struct Trial {
    rules: Arc<Rules>,
    from: IpAddr,
    outcome: Arc<BodyOutcome>,
    refused: bool,
}

impl Trial {
    /// The error is how long to wait before a token from this address is checked.
    fn begin(rules: &Arc<Rules>, from: IpAddr, outcome: &Arc<BodyOutcome>) -> Result<Self, Duration> {
        rules.begin_try(from)?;
        Ok(Trial { rules: rules.clone(), from, outcome: outcome.clone(), refused: false })
    }

    fn end(mut self, refused: bool) {
        self.refused = refused;
    }
}

impl Drop for Trial {
    /// Also runs when the client disconnects before the response: otherwise that guess would be free.
    fn drop(&mut self) {
        self.rules.end_try(self.from, self.refused || self.outcome.was_wrong());
    }
}
