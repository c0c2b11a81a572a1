//! What a server answers on HTTP, beside the upgrade to WebSocket: hyper over smol's sockets.

mod encoding;
mod exchange;
mod proxy;
mod sharing;
mod tries;
mod trouble;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use futures_lite::FutureExt;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, StatusCode, Version};
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::server::connection_limits::ConnectionLimits;
use super::time::now;
use super::ws::io::Io;
use super::{Network, lock};
pub use exchange::{Handler, Request, Response};
use proxy::client_address;
use tries::Tries;
use trouble::{Trouble, Troubles};

/// How long a client may take to the end of a request's head, and a connection be idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may speak HTTP: a client that does not read what it asked for would stay for ever.
const HTTP_TIMEOUT: Duration = Duration::from_secs(60);

/// The largest head; the least that hyper takes.
const HEAD_SIZE: usize = 8 << 10;

/// Which web pages may open a socket, import the modules and frame the page. What is no browser sends no `Origin`
/// and is not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Every page; tokens protect.
    Any,
    /// Pages that this server served itself, and those of these origins (`https://viewer.example`). Its own
    /// are those that were opened by its address, by a name without a dot, or by one in `.local`; by any
    /// other name it answers only where that is among the origins.
    OwnAnd(Vec<String>),
}

impl Origins {
    /// Decides over a socket whose request bears `origin` and `host`.
    ///
    /// A page is the server's own when its origin's authority is the `Host` it asked for, and that is an
    /// address or a name that no stranger can point here: else any site could be its own by DNS rebinding.
    pub(crate) fn admit(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        let (Origins::OwnAnd(others), Some(origin)) = (self, origin) else { return true };
        if others.iter().any(|o| o.trim_end_matches('/').eq_ignore_ascii_case(origin)) {
            return true;
        }
        let (Some((_, authority)), Some(host)) = (origin.split_once("://"), host) else { return false };
        authority.eq_ignore_ascii_case(host) && is_local_name(host)
    }

    /// Whether to answer a plain request to `host`: where pages are held apart, a stranger's name that
    /// points here must not make its page our own.
    fn serve(&self, host: Option<&str>) -> bool {
        let (Origins::OwnAnd(others), Some(host)) = (self, host) else { return true };
        let named = |o: &String| {
            o.split_once("://").is_some_and(|(_, a)| a.trim_end_matches('/').eq_ignore_ascii_case(host))
        };
        is_local_name(host) || others.iter().any(named)
    }
}

fn is_local_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => return v6.split_once(']').is_some_and(|(ip, _)| ip.parse::<IpAddr>().is_ok()),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.parse::<IpAddr>().is_ok() || !name.contains('.') || name.to_ascii_lowercase().ends_with(".local")
}

/// What an HTTP connection may do.
pub(crate) struct Rules {
    pub origins: Origins,
    pub handler: Option<Handler>,
    pub proxies: Vec<Network>,
    pub limits: Arc<ConnectionLimits>,
    pub tries: Mutex<Tries>,
    troubles: Mutex<Troubles>,
}

impl Rules {
    pub fn new(
        origins: Origins,
        handler: Option<Handler>,
        proxies: Vec<Network>,
        limits: Arc<ConnectionLimits>,
    ) -> Arc<Rules> {
        let (tries, troubles) = Default::default();
        Arc::new(Rules { origins, handler, proxies, limits, tries, troubles })
    }

    pub fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(address))
    }

    /// A token is shown; the error is how long to wait before the next one is looked at.
    pub fn begin_try(&self, from: IpAddr) -> Result<(), Duration> {
        match self.limits.is_exempt(from) {
            true => Ok(()),
            false => lock(&self.tries).begin(from, now()),
        }
    }

    /// What came of it.
    pub fn end_try(&self, from: IpAddr, wrong: bool) {
        if !self.limits.is_exempt(from) {
            lock(&self.tries).end(from, wrong, now());
        }
    }

    fn warn(&self, trouble: Trouble) {
        lock(&self.troubles).warn(trouble, now());
    }
}

/// A connection that asked for a WebSocket and has its 101.
pub(crate) struct Upgraded {
    pub io: Io,
    pub read: Vec<u8>,
    pub host: IpAddr,
}

/// Serves HTTP until the client goes or asks for a WebSocket.
pub(crate) async fn serve(rules: Arc<Rules>, io: Io, host: IpAddr) -> Option<Upgraded> {
    let upgrade = Arc::new(Mutex::new(None));
    let service = service_fn({
        let (rules, upgrade) = (rules.clone(), upgrade.clone());
        move |request: hyper::Request<Incoming>| {
            let mut response = answer(&rules, &request, host, &upgrade);
            if response.status() != StatusCode::SWITCHING_PROTOCOLS && rules.limits.is_crowded(host) {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            std::future::ready(Ok::<_, std::convert::Infallible>(response))
        }
    });
    let mut connection = http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_SIZE)
        .serve_connection(FuturesIo::new(io), service);
    let end = {
        let served = async { Some(std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await) };
        let late = async {
            smol::Timer::after(HTTP_TIMEOUT).await;
            None
        };
        served.or(late).await?
    };
    let host = lock(&upgrade).take();
    if let Err(e) = end {
        log::debug!("http: {e}");
        return None;
    }
    let parts = connection.into_parts();
    host.map(|host| Upgraded { io: parts.io.into_inner(), read: parts.read_buf.to_vec(), host })
}

pub(crate) fn answer<B>(
    rules: &Rules,
    request: &hyper::Request<B>,
    peer: IpAddr,
    upgrade: &Mutex<Option<IpAddr>>,
) -> hyper::Response<Full<Bytes>> {
    let headers = request.headers();
    let from = client_address(headers, peer, &rules.proxies);
    if let Some(trouble) = proxy::trouble(headers, peer, rules) {
        rules.warn(trouble);
    }
    let host = match host(rules, request) {
        Ok(host) => host,
        Err(refusal) => return respond(request, refusal),
    };
    if is_websocket(headers) && request.version() > Version::HTTP_10 {
        return match handshake(rules, request, host) {
            Ok(accept) => {
                *lock(upgrade) = Some(from);
                plain(StatusCode::SWITCHING_PROTOCOLS)
                    .header(header::UPGRADE, "websocket")
                    .header(header::CONNECTION, "Upgrade")
                    .header("Sec-WebSocket-Accept", accept)
                    .body(Full::default())
                    .expect("all headers are valid text")
            }
            Err(refusal) => respond(request, refusal),
        };
    }
    if headers.contains_key("sec-websocket-key") {
        rules.warn(Trouble::NoUpgrade);
        return respond(request, Trouble::NoUpgrade.refusal(426).header("Upgrade", "websocket"));
    }
    if !rules.origins.serve(host) {
        rules.warn(Trouble::ForeignHost);
        return respond(request, Trouble::ForeignHost.refusal(421));
    }
    if sharing::is_preflight(request) {
        let mut answer = respond(request, sharing::silence());
        rules.origins.preflight(headers, host, answer.headers_mut());
        return answer;
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let refusal = Response::text(405, "Only GET is answered here.\n").header("Allow", "GET, HEAD");
        return respond(request, refusal);
    }
    let response = handle(rules, request, from);
    let is_shared = response.shared;
    let mut answer = respond(request, response);
    if is_shared {
        rules.origins.share(headers, host, answer.headers_mut());
    }
    answer
}

/// What the host has for a request, to whom shows the right token or none.
fn handle<B>(rules: &Rules, request: &hyper::Request<B>, from: IpAddr) -> Response {
    let Ok(authorization) = single(request.headers(), header::AUTHORIZATION.as_str()) else {
        return Response::text(400, "Authorization must come once, and as text.\n");
    };
    let mut asked = Request::new(request.uri().path(), authorization.and_then(bearer));
    asked.query = request.uri().query();
    let shows_token = asked.bearer.is_some();
    if shows_token && let Err(wait) = rules.begin_try(from) {
        return Response::text(429, "Too many wrong tokens came from this address; wait, and try again.\n")
            .header("Retry-After", wait.as_secs_f64().ceil().to_string());
    }
    let found = rules.handler.as_ref().and_then(|handler| handler(&asked));
    if shows_token {
        let refused = found.as_ref().is_some_and(|response| response.status == 401);
        rules.end_try(from, refused || asked.was_wrong());
    }
    found.unwrap_or_else(|| Response::text(404, "Nothing is here. Symple speaks WebSocket on this port.\n"))
}

/// The host that was asked for, or why that cannot be told (RFC 9112, section 3.2).
fn host<'a, B>(rules: &Rules, request: &'a hyper::Request<B>) -> Result<Option<&'a str>, Response> {
    match single(request.headers(), header::HOST.as_str()) {
        Ok(None) if request.version() > Version::HTTP_10 => {
            rules.warn(Trouble::NoHost);
            Err(Trouble::NoHost.refusal(400))
        }
        Ok(host) => Ok(host),
        Err(Unclear) => Err(Response::text(400, "Host must come once, and as text.\n")),
    }
}

/// Checks an upgrade (RFC 6455, section 4.2.1) and makes its `Sec-WebSocket-Accept`.
fn handshake<B>(rules: &Rules, request: &hyper::Request<B>, host: Option<&str>) -> Result<String, Response> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(Response::text(405, "A WebSocket is asked for by GET.\n").header("Allow", "GET"));
    }
    if text(headers, "sec-websocket-version") != Some("13") {
        let refusal = Response::text(426, "Only version 13 of WebSocket is spoken here.\n");
        return Err(refusal.header("Upgrade", "websocket").header("Sec-WebSocket-Version", "13"));
    }
    // 16 bytes in base64 are 22 characters and two of padding.
    let Some(key) =
        headers.get("sec-websocket-key").filter(|k| k.len() == 24 && k.as_bytes().ends_with(b"=="))
    else {
        return Err(Response::text(400, "Sec-WebSocket-Key must be 16 bytes in base64.\n"));
    };
    // What cannot be read must not count as absent, for what sends no origin is no browser.
    let Ok(origin) = single(headers, header::ORIGIN.as_str()) else {
        return Err(Response::text(403, "Origin must come once, and as text.\n"));
    };
    if !rules.origins.admit(origin, host) {
        rules.warn(Trouble::ForeignOrigin);
        return Err(Trouble::ForeignOrigin.refusal(403));
    }
    Ok(derive_accept_key(key.as_bytes()))
}

fn is_websocket(headers: &HeaderMap) -> bool {
    let has = |name: &str, token: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .any(|v| v.split(',').any(|t| t.trim().eq_ignore_ascii_case(token)))
    };
    has("upgrade", "websocket") && has("connection", "upgrade")
}

/// The token of an `Authorization`; the name of the scheme is spelled as anybody likes (RFC 9110, 11.1).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim_start_matches(' '))
}

fn respond<B>(request: &hyper::Request<B>, response: Response) -> hyper::Response<Full<Bytes>> {
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let shape = encoding::choose(request.headers(), &response);
    let (status, body) = match shape.cached {
        true => (StatusCode::NOT_MODIFIED, Bytes::new()),
        false => (status, shape.gzip.map_or_else(|| Bytes::from_owner(response.body), Bytes::from_static)),
    };
    let mut out = plain(status).body(Full::new(body)).expect("all headers are valid text");
    let keep = if shape.etag.is_some() { "no-cache" } else { "no-store" };
    let own = [
        ("Content-Type", Some(response.content_type.into())),
        ("Cache-Control", (!shape.cached).then(|| keep.into())),
        ("Content-Encoding", shape.gzip.map(|_| "gzip".into())),
        // Also of the answer that is not compressed: a cache on the way must ask for each kind of client.
        ("Vary", response.gzip.map(|_| "Accept-Encoding".into())),
        ("ETag", shape.etag.map(Into::into)),
    ];
    let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
    for (name, value) in own.chain(response.headers) {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            (Ok(name), Ok(value)) => _ = out.headers_mut().append(name, value),
            _ => log::error!("an answer's header {name:?} cannot be sent and is left out"),
        }
    }
    out
}

/// What every answer bears.
fn plain(status: StatusCode) -> hyper::http::response::Builder {
    hyper::Response::builder()
        .status(status)
        .header("X-Content-Type-Options", HeaderValue::from_static("nosniff"))
        .header(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A header came several times, or is no text.
#[derive(Debug, PartialEq, Eq)]
struct Unclear;

/// A header that decides something: it is there once, or not at all.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Unclear> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Unclear),
        (Some(_), Some(_)) => Err(Unclear),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_may_connect_where_it_came_from() {
        let own = Origins::OwnAnd(vec!["https://viewer.example/".into()]);
        for (origin, host, admitted) in [
            (None, Some("camera.lan:4500"), true),
            (Some("http://192.0.2.7:4500"), Some("192.0.2.7:4500"), true),
            (Some("http://[2001:db8::7]:4500"), Some("[2001:db8::7]:4500"), true),
            (Some("http://localhost:4500"), Some("localhost:4500"), true),
            (Some("http://cam.local:4500"), Some("cam.local:4500"), true),
            (Some("https://viewer.example"), Some("192.0.2.7:4500"), true),
            (Some("http://localhost:4501"), Some("localhost:4500"), false),
            (Some("https://evil.example"), Some("192.0.2.7:4500"), false),
            // DNS rebinding: the page's own name, pointed at this machine.
            (Some("http://evil.example:4500"), Some("evil.example:4500"), false),
            (Some("null"), Some("192.0.2.7:4500"), false),
            (Some("http://192.0.2.7:4500"), None, false),
        ] {
            assert_eq!(own.admit(origin, host), admitted, "{origin:?} at {host:?}");
            assert!(Origins::Any.admit(origin, host));
        }
        for (host, served) in [
            ("192.0.2.7:4500", true),
            ("camera.local", true),
            ("viewer.example", true),
            ("evil.example:4500", false),
        ] {
            assert_eq!(own.serve(Some(host)), served, "{host}");
            assert!(Origins::Any.serve(Some(host)) && own.serve(None));
        }
    }

    #[test]
    fn a_bearer_is_known_by_any_spelling_of_its_scheme() {
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
    fn a_header_that_decides_is_there_once_or_not_at_all() {
        let value = |bytes| HeaderValue::from_bytes(bytes).expect("visible or opaque");
        for (values, want) in [
            (&[][..], Ok(None)),
            (&[&b"a.example"[..]][..], Ok(Some("a.example"))),
            (&[&b"a.example"[..], b"a.example"][..], Err(Unclear)),
            (&[&b"\xff"[..]][..], Err(Unclear)),
            (&[&b"a.example\xe9"[..]][..], Err(Unclear)),
        ] {
            let mut headers = HeaderMap::new();
            values.iter().for_each(|bytes| _ = headers.append("origin", value(bytes)));
            assert_eq!(single(&headers, "origin"), want, "{values:?}");
        }
    }
}
