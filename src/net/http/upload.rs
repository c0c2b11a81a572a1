//! Request bodies: read by the handler as they arrive, limited in size and time.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures_lite::FutureExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Bytes};

use super::pace::Patience;
use super::{Response, lock, now};
use crate::net::time::Timer;

/// How much to read of a refused body, so that its sender sees the response instead of a reset.
const MAX_DISCARD: usize = 512 << 10;

/// And for how long.
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// Why the body of a request cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// It is too large.
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// It arrives too slowly.
    TooSlow,
    /// It is incomplete, or violates HTTP.
    Broken,
    /// It is not JSON of the requested type.
    NotJson {
        /// The error of the parser.
        reason: String,
    },
}

impl BodyError {
    /// A stable code: `too-large`, `too-slow`, `broken` or `not-json`.
    pub fn code(&self) -> &'static str {
        match self {
            BodyError::TooLarge { .. } => "too-large",
            BodyError::TooSlow => "too-slow",
            BodyError::Broken => "broken",
            BodyError::NotJson { .. } => "not-json",
        }
    }

    /// The status of the response: 413, 408 or 400.
    pub fn status(&self) -> u16 {
        match self {
            BodyError::TooLarge { .. } => 413,
            BodyError::TooSlow => 408,
            BodyError::Broken | BodyError::NotJson { .. } => 400,
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::TooLarge { limit } => write!(f, "The body is larger than {limit} bytes"),
            BodyError::TooSlow => f.write_str("The body arrived too slowly"),
            BodyError::Broken => f.write_str("The body is incomplete or malformed"),
            BodyError::NotJson { reason } => write!(f, "The body cannot be read: {reason}"),
        }
    }
}

impl std::error::Error for BodyError {}

impl From<BodyError> for Response {
    fn from(error: BodyError) -> Self {
        Response::text(error.status(), format!("{error}.\n"))
    }
}

impl From<Result<Response, BodyError>> for Response {
    fn from(result: Result<Response, BodyError>) -> Self {
        result.unwrap_or_else(Response::from)
    }
}

/// What the server learns about a request that a handler processes.
#[derive(Debug, Default)]
pub(super) struct BodyOutcome {
    /// Whether its token was correct for anything, once checked: 1 is no, 2 is yes.
    token: AtomicU8,
    /// The error that ended its body.
    failure: std::sync::Mutex<Option<BodyError>>,
}

impl BodyOutcome {
    pub(super) fn token_was(&self, right: bool) {
        self.token.fetch_max(1 + u8::from(right), Ordering::Relaxed);
    }

    /// The token was checked, and was never correct.
    pub(super) fn was_wrong(&self) -> bool {
        self.token.load(Ordering::Relaxed) == 1
    }

    pub(super) fn failure(&self) -> Option<BodyError> {
        lock(&self.failure).clone()
    }
}

type Source = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// An incoming body.
pub(super) struct Upload {
    source: Option<Source>,
    limit: usize,
    left: usize,
    patience: Patience,
    outcome: Arc<BodyOutcome>,
}

impl Upload {
    pub(super) fn none(outcome: Arc<BodyOutcome>) -> Self {
        Upload { source: None, limit: 0, left: 0, patience: Patience::default(), outcome }
    }

    pub(super) fn new(source: Source, limit: usize, outcome: Arc<BodyOutcome>) -> Self {
        Upload { source: Some(source), limit, left: limit, patience: Patience::default(), outcome }
    }

    /// Whether the head already shows that the body is too large.
    pub(super) fn check(&self) -> Result<(), BodyError> {
        let least = self.source.as_ref().map_or(0, |source| source.size_hint().lower());
        match least > self.limit as u64 {
            true => Err(self.fail(BodyError::TooLarge { limit: self.limit })),
            false => Ok(()),
        }
    }

    /// The next part; `None` at the end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        if let Some(failure) = self.outcome.failure() {
            return Err(failure);
        }
        self.check()?;
        while let Some(source) = &mut self.source {
            let (asked, left) = (now(), self.patience.left());
            let late = async {
                Timer::after(left).await;
                None
            };
            let frame = async { Some(poll_fn(|cx| Pin::new(&mut *source).poll_frame(cx)).await) };
            let frame = frame.or(late).await;
            self.patience.waited(now() - asked);
            let data = match frame {
                None => return Err(self.fail(BodyError::TooSlow)),
                Some(None) => {
                    self.source = None;
                    break;
                }
                Some(Some(Err(_))) => return Err(self.fail(BodyError::Broken)),
                // Trailers are ignored.
                Some(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            };
            self.patience.received(data.len());
            if data.len() > self.left {
                self.discard().await;
                return Err(self.fail(BodyError::TooLarge { limit: self.limit }));
            }
            self.left -= data.len();
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// Reads a little of a refused body.
    pub(super) async fn discard(&mut self) {
        let Some(mut source) = self.source.take() else { return };
        let reading = async {
            let mut read = 0;
            while read < MAX_DISCARD {
                match poll_fn(|cx| Pin::new(&mut source).poll_frame(cx)).await {
                    Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
                    _ => break,
                }
            }
        };
        let late = async { _ = Timer::after(DISCARD_TIME).await };
        reading.or(late).await;
    }

    fn fail(&self, error: BodyError) -> BodyError {
        lock(&self.outcome.failure).get_or_insert(error).clone()
    }
}
