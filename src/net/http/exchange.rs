//! What a host is asked on HTTP, and what it answers.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde::de::DeserializeOwned;

use super::upload::{Told, Upload};
use super::{Body, BodyError, BodyWriter, Method};
use crate::proto::Token;

/// A request that is no WebSocket.
pub struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) bearer: Option<String>,
    pub(super) client: Option<IpAddr>,
    pub(super) headers: HeaderMap,
    pub(super) told: Arc<Told>,
    pub(super) body: Upload,
}

impl Request {
    /// A `GET` of `path` that shows `bearer`: to try a handler with.
    pub fn new(path: &str, bearer: Option<&str>) -> Self {
        let told = Arc::<Told>::default();
        Request {
            method: Method::Get,
            path: path.into(),
            query: None,
            bearer: bearer.map(str::to_owned),
            client: None,
            headers: HeaderMap::new(),
            body: Upload::none(told.clone()),
            told,
        }
    }

    /// By another method.
    pub fn with_method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// With this behind the `?`.
    pub fn with_query(mut self, query: &str) -> Self {
        self.query = Some(query.into());
        self
    }

    /// With a header. One that cannot stand in a request is left out.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            self.headers.append(name, value);
        }
        self
    }

    /// With a body, however long.
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        let body = Full::new(body.into().into()).map_err(|never| match never {}).boxed();
        self.body = Upload::new(body, usize::MAX, self.told.clone());
        self
    }

    /// What is to be done.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The path, as it was asked for and still percent-encoded, below the server's
    /// [`base_path`](crate::net::ServerConfig::base_path).
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What stands behind the `?`.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// What stands behind `Bearer ` in `Authorization`.
    pub fn bearer(&self) -> Option<&str> {
        self.bearer.as_deref()
    }

    /// The address of the client, as the server sees it, or as a trusted proxy says.
    pub fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// A header, the first of that name; `None` also where it is no text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All headers that are text, names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
    }

    /// Whether it shows this token. A wrong one is counted as a guess, as is one that is answered 401: whose
    /// address guesses too often is answered 429 before its token is looked at.
    pub fn bears(&self, token: &Token) -> bool {
        let right = self.bearer().is_some_and(|bearer| token.is(bearer));
        self.told.token_was(right);
        right
    }

    /// The next part of the body, as it comes; `None` at the end. The client is told to send on
    /// (`100 Continue`) when it is first asked for.
    ///
    /// Errors: see [`BodyError`]. Once there was one, the client gets its status, unless the handler answers with
    /// another of 400 or more.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, BodyError> {
        Ok(self.body.chunk().await?.map(Vec::from))
    }

    /// The whole body, or what is left of it.
    ///
    /// Errors: as [`Request::chunk`].
    pub async fn bytes(&mut self) -> Result<Vec<u8>, BodyError> {
        let mut whole = Vec::new();
        while let Some(part) = self.body.chunk().await? {
            whole.extend_from_slice(&part);
        }
        Ok(whole)
    }

    /// The whole body, read as JSON, whatever its `Content-Type` says.
    ///
    /// Errors: as [`Request::chunk`], and [`BodyError::NotJson`].
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, BodyError> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|error| BodyError::NotJson { reason: error.to_string() })
    }
}

impl fmt::Debug for Request {
    /// Without what may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// The HTTP status, such as 200.
    pub status: u16,
    /// Such as `text/html; charset=utf-8`.
    pub content_type: Cow<'static, str>,
    /// What it brings.
    pub body: Body,
    /// The body with `Content-Encoding: gzip`, for those who accept it.
    pub gzip: Option<&'static [u8]>,
    /// A validator; a client that has it gets 304. The compressed body has one of its own, made of this one.
    pub etag: Option<String>,
    /// Whether pages of the origins that may open a socket may read and frame it; see [`Response::shared`].
    pub shared: bool,
    /// Headers beside those that the members above make; see [`Response::header`].
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
}

impl Response {
    /// A status with a body of any type.
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

    /// 200 with JSON.
    pub fn json(body: String) -> Self {
        Response::new(200, "application/json", body.into_bytes())
    }

    /// A status with a sentence.
    pub fn text(status: u16, body: impl Into<Cow<'static, str>>) -> Self {
        let body = match body.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Response::new(status, "text/plain; charset=utf-8", body)
    }

    /// 200 with a body that is made while the client takes it, each part when the one before has left, for as long
    /// as both like: events, pictures, a large file. `make` runs in the server's future and must not block; it is
    /// dropped when the client goes. A client that takes less than 16 KiB in 20 s while there is more is cut off; one that
    /// vanished without a word is noticed by what is sent, so send something now and then.
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

    /// 200 with a file that lies in the program, and its validator with the quotes.
    pub fn file(content_type: &'static str, body: &'static [u8], etag: &'static str) -> Self {
        Response { etag: Some(etag.into()), ..Response::new(200, content_type, body) }
    }

    /// The same body compressed with gzip, for clients that accept it.
    pub fn gzipped(mut self, body: &'static [u8]) -> Self {
        self.gzip = Some(body);
        self
    }

    /// Lets pages of the origins that may open a socket ([`Origins`](super::Origins)) read it by CORS and show it
    /// in a frame. What is not shared is for the server's own pages, and for programs.
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    /// 401 with a sentence, for a request whose bearer token is missing or wrong: the challenge says which
    /// (RFC 9110, section 11.6.1; RFC 6750, section 3).
    pub fn unauthorized(request: &Request, body: &'static str) -> Self {
        let challenge = match request.bearer {
            None => r#"Bearer realm="symple""#,
            Some(_) => r#"Bearer realm="symple", error="invalid_token""#,
        };
        Response::text(401, body).header("WWW-Authenticate", challenge)
    }

    /// One more header, or another value of it. What cannot stand in the head of an answer is left out,
    /// and said in the log.
    pub fn header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Answers `GET` and `HEAD` at once; `None` is 404. It must not block. What takes time, reads a body or answers
/// other methods is a [route](super::Routes).
pub type Handler = Arc<dyn Fn(&Request) -> Option<Response> + Send + Sync>;
