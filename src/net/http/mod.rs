//! The HTTP side of a server, apart from the upgrade to WebSocket: hyper on smol's sockets.

mod application_routes;
mod body;
mod cross_origin;
mod encoding;
mod exchange;
mod guessing;
mod handlers;
mod method;
pub(super) mod origins;
mod pace;
mod proxy;
mod proxy_faults;
mod response;
mod timer;
mod upgrade;
mod upload;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{StatusCode, Version};
use smol_hyper::rt::FuturesIo;

use super::server::connection_limits::{ConnectionLimits, Counted};
use super::time::{Alarm, now};
use super::ws::io::Io;
use super::{Network, lock};
use application_routes::Found;
pub use application_routes::Routes;
pub use body::{Body, BodyStream, BodyWriter};
pub use exchange::{Handler, Request, Response};
use guessing::Tries;
use handlers::{Asked, contained};
pub use method::Method;
use origins::Origins;
use pace::Pace;
use proxy::client_address;
use proxy_faults::{Trouble, Troubles};
use response::{Out, Watched};
use timer::Timers;
pub use upload::BodyError;

/// The timeout for the head of a request, and for an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum size of a head; the minimum that hyper accepts.
const HEAD_SIZE: usize = 8 << 10;

/// The host's HTTP handlers.
#[derive(Default)]
pub(crate) struct Answers {
    pub handler: Option<Handler>,
    pub routes: Routes,
    /// The maximum body size for routes without their own.
    pub body_limit: usize,
    /// Empty, or without a trailing slash.
    pub base_path: String,
}

/// The rules for HTTP connections.
pub(crate) struct Rules {
    pub origins: Origins,
    pub answers: Answers,
    pub proxies: Vec<Network>,
    pub limits: Arc<ConnectionLimits>,
    pub tries: Mutex<Tries>,
    troubles: Mutex<Troubles>,
}

impl Rules {
    pub(crate) fn new(
        origins: Origins,
        answers: Answers,
        proxies: Vec<Network>,
        limits: Arc<ConnectionLimits>,
    ) -> Arc<Rules> {
        let (tries, troubles) = Default::default();
        Arc::new(Rules { origins, answers, proxies, limits, tries, troubles })
    }

    pub(crate) fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(address))
    }

    /// Called when a token is presented; the error is how long to wait before the next one is checked.
    pub(crate) fn begin_try(&self, from: IpAddr) -> Result<(), Duration> {
        match self.limits.is_exempt(from) {
            true => Ok(()),
            false => lock(&self.tries).begin(from, now()),
        }
    }

    /// The result of the check.
    pub(crate) fn end_try(&self, from: IpAddr, wrong: bool) {
        if !self.limits.is_exempt(from) {
            lock(&self.tries).end(from, wrong, now());
        }
    }

    fn warn(&self, trouble: Trouble) {
        lock(&self.troubles).warn(trouble, now());
    }
}

/// A connection that requested a WebSocket and got its 101.
pub(crate) struct Upgraded {
    pub io: Io,
    pub read: Vec<u8>,
    pub host: IpAddr,
}

/// Serves HTTP until the client disconnects or requests a WebSocket.
pub(crate) async fn serve(rules: Arc<Rules>, io: Io, host: IpAddr) -> Option<Upgraded> {
    let upgrade = Arc::new(Mutex::new(None));
    let pace = Arc::new(Mutex::new(Pace::new(now())));
    let service = service_fn({
        let (rules, upgrade, pace) = (rules.clone(), upgrade.clone(), pace.clone());
        move |request: hyper::Request<Incoming>| {
            let (rules, upgrade, pace) = (rules.clone(), upgrade.clone(), pace.clone());
            lock(&pace).request();
            Box::pin(async move {
                let mut response = answer(&rules, request, host, &upgrade).await;
                let mut is_last = rules.limits.is_crowded(host);
                if response.body().is_stream() {
                    lock(&pace).stream();
                    response.body_mut().paced(pace);
                } else {
                    is_last |= lock(&pace).answer(now());
                }
                if is_last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, std::convert::Infallible>(response)
            })
        }
    });
    let mut connection = http1::Builder::new()
        .timer(Timers)
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_SIZE)
        .serve_connection(FuturesIo::new(Watched { io, pace: pace.clone() }), service);
    let mut alarm = Alarm::unset();
    let end = std::future::poll_fn(|cx| {
        if let Poll::Ready(end) = connection.poll_without_shutdown(cx) {
            return Poll::Ready(Some(end));
        }
        alarm.set(lock(&pace).deadline());
        alarm.poll(cx).map(|()| None)
    });
    let end = end.await?;
    let host = lock(&upgrade).take();
    if let Err(e) = end {
        log::debug!("http: {e}");
        return None;
    }
    let parts = connection.into_parts();
    host.map(|host| Upgraded { io: parts.io.into_inner().io, read: parts.read_buf.to_vec(), host })
}

pub(crate) async fn answer<B>(
    rules: &Arc<Rules>,
    request: hyper::Request<B>,
    peer: IpAddr,
    upgrade: &Mutex<Option<IpAddr>>,
) -> hyper::Response<Out>
where
    B: hyper::body::Body<Data = Bytes> + Send + Sync + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let headers = request.headers();
    let from = client_address(headers, peer, &rules.proxies);
    if let Some(trouble) = proxy::trouble(headers, peer, rules) {
        rules.warn(trouble);
    }
    let host = match host(rules, &request) {
        Ok(host) => host,
        Err(refusal) => return respond(headers, refusal),
    };
    if upgrade::is_websocket(headers) && request.version() > Version::HTTP_10 {
        return match upgrade::handshake(rules, &request, host) {
            Ok(accept) => {
                *lock(upgrade) = Some(from);
                plain(StatusCode::SWITCHING_PROTOCOLS)
                    .header(header::UPGRADE, "websocket")
                    .header(header::CONNECTION, "Upgrade")
                    .header("Sec-WebSocket-Accept", accept)
                    .body(Out::empty())
                    .expect("all headers are valid text")
            }
            Err(refusal) => respond(headers, refusal),
        };
    }
    if headers.contains_key("sec-websocket-key") {
        rules.warn(Trouble::NoUpgrade);
        return respond(headers, Trouble::NoUpgrade.refusal(426).header("Upgrade", "websocket"));
    }
    if !rules.origins.serve(host) {
        rules.warn(Trouble::ForeignHost);
        return respond(headers, Trouble::ForeignHost.refusal(421));
    }
    let Some(path) = below(&rules.answers.base_path, request.uri().path()) else {
        return respond(headers, to_base(rules, request.uri().query()));
    };
    let method = Method::parse(request.method().as_str());
    let found = rules.answers.routes.find(method, path);
    if cross_origin::is_preflight(&request) {
        let mut answer = respond(headers, cross_origin::no_content());
        rules.origins.preflight(headers, host, answer.headers_mut());
        if let Found::WrongMethod(methods) = &found {
            cross_origin::allow_methods(methods, answer.headers_mut());
        }
        return answer;
    }
    // As for a handshake: otherwise a page of another origin could use its visitor's access.
    if method.is_some_and(|method| !method.is_safe()) {
        let origin = single(headers, header::ORIGIN.as_str());
        if !origin.is_ok_and(|origin| rules.origins.admit(origin, host)) {
            rules.warn(Trouble::ForeignOrigin);
            return respond(headers, Trouble::ForeignOrigin.refusal(403));
        }
    }
    let place = match visit(rules, peer, from) {
        Ok(place) => place,
        Err(refusal) => return respond(headers, refusal),
    };
    let asked = Asked { rules, from, method, path: path.to_owned(), found };
    let (head, body) = request.into_parts();
    let response = asked.answer(&head, body).await;
    let (headers, is_shared) = (&head.headers, response.shared);
    let mut answer = respond(headers, response);
    if is_shared {
        let host = single(headers, header::HOST.as_str()).ok().flatten();
        rules.origins.share(headers, host, answer.headers_mut());
    }
    answer.body_mut().place = place;
    answer
}

/// A base path in the form that [`Answers`] expects, however its slashes were written.
pub(crate) fn base_path(text: &str) -> String {
    let path = text.trim_matches('/');
    if path.is_empty() { String::new() } else { format!("/{path}") }
}

/// The path below the base. A path outside of it is returned unchanged, since a proxy may have stripped the base.
/// `None`: the base without its trailing slash.
fn below<'a>(base: &str, path: &'a str) -> Option<&'a str> {
    match path.strip_prefix(base) {
        Some("") => None,
        Some(rest) if rest.starts_with('/') => Some(rest),
        _ => Some(path),
    }
}

/// Redirects a client to the base with its slash, which the page's relative URLs need.
fn to_base(rules: &Rules, query: Option<&str>) -> Response {
    let query = query.map_or(String::new(), |query| format!("?{query}"));
    let there = format!("{}/{query}", rules.answers.base_path);
    Response::text(308, "The address ends with a slash.\n").header("Location", there)
}

/// Counts a request that a proxy forwards for its client, like a connection of the client's own.
fn visit(rules: &Arc<Rules>, peer: IpAddr, from: IpAddr) -> Result<Option<Counted>, Response> {
    if peer == from {
        return Ok(None);
    }
    rules.limits.visit(from).map(Some).map_err(|_| {
        Response::text(429, "Too many requests from this address are in progress.\n")
            .header("Retry-After", "1")
    })
}

/// The requested host, or the refusal if it is missing or ambiguous (RFC 9112, section 3.2).
fn host<'a, B>(rules: &Rules, request: &'a hyper::Request<B>) -> Result<Option<&'a str>, Response> {
    match single(request.headers(), header::HOST.as_str()) {
        Ok(None) if request.version() > Version::HTTP_10 => {
            rules.warn(Trouble::NoHost);
            Err(Trouble::NoHost.refusal(400))
        }
        Ok(host) => Ok(host),
        Err(Ambiguous) => {
            Err(Response::text(400, "There must be exactly one Host header, and it must be valid text.\n"))
        }
    }
}

/// The token of an `Authorization` header; the scheme is case-insensitive (RFC 9110, 11.1).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim_start_matches(' '))
}

fn respond(request: &HeaderMap, response: Response) -> hyper::Response<Out> {
    // Only hyper sends interim responses.
    let status = StatusCode::from_u16(response.status).ok().filter(|status| !status.is_informational());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let shape = encoding::choose(request, &response);
    let (status, body) = match (shape.cached, shape.gzip) {
        (true, _) => (StatusCode::NOT_MODIFIED, Out::empty()),
        (false, Some(gzip)) => (status, Out::full(Bytes::from_static(gzip))),
        (false, None) => (status, Out::of(response.body)),
    };
    let mut out = plain(status).body(body).expect("all headers are valid text");
    let is = |name: &str, header: &str| name.eq_ignore_ascii_case(header);
    let keeps_otherwise = response.headers.iter().any(|(name, _)| is(name, "Cache-Control"));
    let keep = if shape.etag.is_some() { "no-cache" } else { "no-store" };
    let own = [
        ("Content-Type", Some(response.content_type)),
        ("Cache-Control", (!shape.cached && !keeps_otherwise).then(|| keep.into())),
        ("Content-Encoding", shape.gzip.map(|_| "gzip".into())),
        // Also for the uncompressed response: caches must distinguish clients by the encodings they accept.
        ("Vary", response.gzip.map(|_| "Accept-Encoding".into())),
        ("ETag", shape.etag.map(Into::into)),
    ];
    let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
    for (name, value) in own.chain(response.headers) {
        // Only hyper sets the length of the body.
        let frames = is(name, "Content-Length") || is(name, "Transfer-Encoding");
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            (Ok(name), Ok(value)) if !frames => _ = out.headers_mut().append(name, value),
            _ => log::error!("omitted the invalid header {name:?} of a response"),
        }
    }
    out
}

/// The headers of every response.
fn plain(status: StatusCode) -> hyper::http::response::Builder {
    hyper::Response::builder()
        .status(status)
        .header("X-Content-Type-Options", HeaderValue::from_static("nosniff"))
        .header(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A header that occurs several times, or is not text.
#[derive(Debug, PartialEq, Eq)]
struct Ambiguous;

/// A header that must occur at most once, because a decision depends on it.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Ambiguous> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Ambiguous),
        (Some(_), Some(_)) => Err(Ambiguous),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bearer_scheme_is_case_insensitive() {
        for (authorization, token) in [
            ("Bearer s3cret", Some("s3cret")),
            ("bearer s3cret", Some("s3cret")),
            ("BEARER  s3cret", Some("s3cret")),
            ("Basic s3cret", None),
            ("Bearer", None),
        ] {
            assert_eq!(bearer(authorization), token, "{authorization}");
        }
    }

    #[test]
    fn a_header_that_decides_occurs_at_most_once() {
        let value = |bytes| HeaderValue::from_bytes(bytes).expect("visible or opaque");
        for (values, want) in [
            (&[][..], Ok(None)),
            (&[&b"a.example"[..]][..], Ok(Some("a.example"))),
            (&[&b"a.example"[..], b"a.example"][..], Err(Ambiguous)),
            (&[&b"\xff"[..]][..], Err(Ambiguous)),
            (&[&b"a.example\xe9"[..]][..], Err(Ambiguous)),
        ] {
            let mut headers = HeaderMap::new();
            values.iter().for_each(|bytes| _ = headers.append("origin", value(bytes)));
            assert_eq!(single(&headers, "origin"), want, "{values:?}");
        }
    }
}
