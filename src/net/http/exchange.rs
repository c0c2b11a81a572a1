//! What a host is asked on HTTP, and what it answers.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;

use crate::proto::Token;

/// A request that is no WebSocket.
#[derive(Debug)]
pub struct Request<'a> {
    /// `GET` or `HEAD`; others are answered 405 before anybody is asked.
    pub path: &'a str,
    /// What stands behind the `?`.
    pub query: Option<&'a str>,
    /// What stands behind `Bearer ` in `Authorization`.
    pub bearer: Option<&'a str>,
    /// Whether its token was right for something, once it was looked at.
    right: Cell<Option<bool>>,
}

impl<'a> Request<'a> {
    /// A request for `path` that shows `bearer`: to try a handler with.
    pub fn new(path: &'a str, bearer: Option<&'a str>) -> Self {
        Request { path, query: None, bearer, right: Cell::new(None) }
    }

    /// Whether it shows this token. A wrong one is counted as a guess, as is one that is answered 401: whose
    /// address guesses too often is answered 429 before its token is looked at.
    pub fn bears(&self, token: &Token) -> bool {
        let right = self.bearer.is_some_and(|bearer| token.is(bearer));
        self.right.set(Some(right || self.right.get() == Some(true)));
        right
    }

    pub(super) fn was_wrong(&self) -> bool {
        self.bearer.is_some() && self.right.get() == Some(false)
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The HTTP status, such as 200.
    pub status: u16,
    /// Such as `text/html; charset=utf-8`.
    pub content_type: &'static str,
    /// The whole body.
    pub body: Cow<'static, [u8]>,
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
    /// 200 with JSON.
    pub fn json(body: String) -> Self {
        Response::of(200, "application/json", body.into_bytes())
    }

    /// A status with a sentence.
    pub fn text(status: u16, body: &'static str) -> Self {
        Response::of(status, "text/plain; charset=utf-8", body.as_bytes())
    }

    /// 200 with a file that lies in the program, and its validator with the quotes.
    pub fn file(content_type: &'static str, body: &'static [u8], etag: &'static str) -> Self {
        Response { etag: Some(etag.into()), ..Response::of(200, content_type, body) }
    }

    /// The same body compressed with gzip, for clients that accept it.
    pub fn gzipped(mut self, body: &'static [u8]) -> Self {
        self.gzip = Some(body);
        self
    }

    /// Lets pages of the origins that may open a socket ([`Origins`](super::super::Origins)) read it by CORS and show it
    /// in a frame. What is not shared is for the server's own pages, and for programs.
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    /// 401 with a sentence, for a request whose bearer token is missing or wrong: the challenge says which
    /// (RFC 9110, section 11.6.1; RFC 6750, section 3).
    pub fn unauthorized(request: &Request<'_>, body: &'static str) -> Self {
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

    fn of(status: u16, content_type: &'static str, body: impl Into<Cow<'static, [u8]>>) -> Self {
        Response {
            status,
            content_type,
            body: body.into(),
            gzip: None,
            etag: None,
            shared: false,
            headers: Vec::new(),
        }
    }
}

/// Answers requests; `None` is 404. It must not block.
pub type Handler = Arc<dyn Fn(&Request<'_>) -> Option<Response> + Send + Sync>;
