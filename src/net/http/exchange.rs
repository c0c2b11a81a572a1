//! HTTP requests and responses of the host's handlers.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde::de::DeserializeOwned;

use super::upload::{BodyOutcome, Upload};
use super::{Body, BodyError, BodyWriter, Method};
use crate::proto::Token;

/// An HTTP request other than a WebSocket handshake.
pub struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) bearer: Option<String>,
    pub(super) client: Option<IpAddr>,
    pub(super) headers: HeaderMap,
    pub(super) outcome: Arc<BodyOutcome>,
    pub(super) body: Upload,
}

impl Request {
    /// A `GET` request for `path` with the token `bearer`, for tests of handlers.
    pub fn new(path: &str, bearer: Option<&str>) -> Self {
        let outcome = Arc::<BodyOutcome>::default();
        Request {
            method: Method::Get,
            path: path.into(),
            query: None,
            bearer: bearer.map(str::to_owned),
            client: None,
            headers: HeaderMap::new(),
            body: Upload::none(outcome.clone()),
            outcome,
        }
    }

    /// Changes the method.
    pub fn with_method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Sets the query string.
    pub fn with_query(mut self, query: &str) -> Self {
        self.query = Some(query.into());
        self
    }

    /// Adds a header. An invalid one is left out.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            self.headers.append(name, value);
        }
        self
    }

    /// Sets the body, of any size.
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        let body = Full::new(body.into().into()).map_err(|never| match never {}).boxed();
        self.body = Upload::new(body, usize::MAX, self.outcome.clone());
        self
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The path below the server's [`base_path`](crate::net::ServerConfig::base_path), still percent-encoded.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query string, after the `?`.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The token after `Bearer ` in the header `Authorization`.
    pub fn bearer(&self) -> Option<&str> {
        self.bearer.as_deref()
    }

    /// The client's address as the server sees it, or as reported by a trusted proxy.
    pub fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// A header, the first of that name; also `None` if it is not valid text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All headers that are valid text, with names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
    }

    /// Whether the request has this token. A wrong token counts as a guess, as does a response of 401. An address that
    /// guesses too often gets 429 before its token is checked.
    pub fn bears(&self, token: &Token) -> bool {
        let right = self.bearer().is_some_and(|bearer| token.is(bearer));
        self.outcome.token_was(right);
        right
    }

    /// The next part of the body as it arrives; `None` at the end. The first call tells the client to continue (`100
    /// Continue`).
    ///
    /// Errors: see [`BodyError`]. After an error, the client gets its status, unless the handler responds with another
    /// status of 400 or more.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, BodyError> {
        Ok(self.body.chunk().await?.map(Vec::from))
    }

    /// The whole body, or the rest of it.
    ///
    /// Errors: see [`Request::chunk`].
    pub async fn bytes(&mut self) -> Result<Vec<u8>, BodyError> {
        let mut whole = Vec::new();
        while let Some(part) = self.body.chunk().await? {
            whole.extend_from_slice(&part);
        }
        Ok(whole)
    }

    /// The whole body, parsed as JSON, regardless of its `Content-Type`.
    ///
    /// Errors: see [`Request::chunk`], and [`BodyError::NotJson`].
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, BodyError> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|error| BodyError::NotJson { reason: error.to_string() })
    }
}

impl fmt::Debug for Request {
    /// Omits what may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// An HTTP response.
#[derive(Debug)]
pub struct Response {
    /// The HTTP status, such as 200.
    pub status: u16,
    /// The content type, such as `text/html; charset=utf-8`.
    pub content_type: Cow<'static, str>,
    /// The body.
    pub body: Body,
    /// The gzip-compressed body (`Content-Encoding: gzip`), for clients that accept it.
    pub gzip: Option<&'static [u8]>,
    /// The ETag; a client that has it gets 304. The compressed body has its own, derived from this one.
    pub etag: Option<String>,
    /// Whether pages of the allowed origins may read and frame the response; see [`Response::shared`].
    pub shared: bool,
    /// Further headers; see [`Response::header`].
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
}

impl Response {
    /// A response with a body of any type.
    pub fn new(status: u16, content_type: impl Into<Cow<'static, str>>, body: impl Into<Body>) -> Self {
        Response {
            status,
            content_type: content_type.into(),
            body: body.into(),
            gzip: None,
            etag: None,
            shared: false,
            headers: Vec::new(),
        }
    }

    /// A response of 200 with JSON.
    pub fn json(body: String) -> Self {
        Response::new(200, "application/json", body.into_bytes())
    }

    /// A response with a line of text.
    pub fn text(status: u16, body: impl Into<Cow<'static, str>>) -> Self {
        let body = match body.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Response::new(status, "text/plain; charset=utf-8", body)
    }

    /// A response of 200 whose body is produced while the client reads it, each part once the previous one has been
    /// sent, without a time limit: for events, images or a large file. `make` runs in the server's future and must not
    /// block; it is dropped when the client disconnects. A client that reads less than 16 KiB in 20 s while more is
    /// available is disconnected. Only sending reveals that a client has vanished, so send something now and then.
    ///
    /// ```
    /// use symple::net::http::{Method, Request, Response, Routes};
    ///
    /// Routes::new().route(Method::Get, "/api/count", |_: Request| async {
    ///     Response::stream("text/plain", |mut body| async move {
    ///         for n in 0..1_000_000 {
    ///             body.send(format!("{n}\n")).await?;
    ///         }
    ///         Ok(())
    ///     })
    /// });
    /// ```
    pub fn stream<F>(content_type: impl Into<Cow<'static, str>>, make: impl FnOnce(BodyWriter) -> F) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        Response::new(200, content_type, Body::stream(make))
    }

    /// A response of 200 with a static file, and its ETag including the quotes.
    pub fn file(content_type: &'static str, body: &'static [u8], etag: &'static str) -> Self {
        Response { etag: Some(etag.into()), ..Response::new(200, content_type, body) }
    }

    /// Adds the same body compressed with gzip, for clients that accept it.
    pub fn gzipped(mut self, body: &'static [u8]) -> Self {
        self.gzip = Some(body);
        self
    }

    /// Allows pages of the allowed origins ([`Origins`](super::Origins)) to read it by CORS and to show it in a frame.
    /// Other responses are only for the server's own pages, and for programs.
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    /// A response of 401 with a line of text, for a missing or wrong bearer token; the challenge tells which (RFC 9110,
    /// section 11.6.1; RFC 6750, section 3).
    pub fn unauthorized(request: &Request, body: &'static str) -> Self {
        let challenge = match request.bearer {
            None => r#"Bearer realm="symple""#,
            Some(_) => r#"Bearer realm="symple", error="invalid_token""#,
        };
        Response::text(401, body).header("WWW-Authenticate", challenge)
    }

    /// Adds a header, or another value of one. An invalid one is left out and logged.
    pub fn header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Responds to `GET` and `HEAD` at once; `None` becomes 404. It must not block. Use a [route](super::Routes) for
/// anything that takes time, reads a body or handles other methods.
pub type Handler = Arc<dyn Fn(&Request) -> Option<Response> + Send + Sync>;
