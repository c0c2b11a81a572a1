//! A response on its way: hyper's view of a body, and a socket that records how fast its client reads.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};
use hyper::body::{Bytes, Frame, SizeHint};

use super::pace::Pace;
use super::{Body, BodyStream, lock};
use crate::net::server::connection_limits::Counted;
use crate::net::time::now;
use crate::net::ws::io::Io;

/// The maximum written to the socket at a time, so that progress of a slow client shows within a large part.
const STEP: usize = 16 << 10;

/// A body for hyper.
pub(crate) struct Out {
    content: Content,
    /// Dropped with the body: the connection's pace, and the slot of a request that came through a proxy.
    pace: Option<Arc<Mutex<Pace>>>,
    pub(super) place: Option<Counted>,
}

enum Content {
    Full(Option<Bytes>),
    Stream { stream: BodyStream, part: Bytes },
}

impl Out {
    pub(super) fn full(bytes: Bytes) -> Self {
        Out { content: Content::Full(Some(bytes).filter(|b| !b.is_empty())), pace: None, place: None }
    }

    pub(super) fn empty() -> Self {
        Out::full(Bytes::new())
    }

    pub(super) fn of(body: Body) -> Self {
        match body {
            Body::Full { bytes } => Out::full(Bytes::from_owner(bytes)),
            Body::Stream { stream } => {
                Out { content: Content::Stream { stream, part: Bytes::new() }, pace: None, place: None }
            }
        }
    }

    pub(super) fn is_stream(&self) -> bool {
        matches!(self.content, Content::Stream { .. })
    }

    /// Reports the end of the body to the connection's pace.
    pub(super) fn paced(&mut self, pace: Arc<Mutex<Pace>>) {
        self.pace = Some(pace);
    }
}

impl hyper::body::Body for Out {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut self.content {
            Content::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Stream { stream, part } => {
                if part.is_empty() {
                    match stream.poll_part(cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(None) => return Poll::Ready(None),
                        Poll::Ready(Some(Err(error))) => {
                            log::debug!("http: a stream failed: {error}");
                            return Poll::Ready(Some(Err(error)));
                        }
                        Poll::Ready(Some(Ok(next))) => *part = next.into(),
                    }
                }
                let step = part.split_to(part.len().min(STEP));
                Poll::Ready(Some(Ok(Frame::data(step))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Content::Stream { .. } => SizeHint::default(),
        }
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        if let Some(pace) = &self.pace {
            lock(pace).answer(now());
        }
    }
}

/// The stream of a connection; records how fast the client reads what is written.
pub(super) struct Watched {
    pub(super) io: Io,
    pub(super) pace: Arc<Mutex<Pace>>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        match &written {
            Poll::Ready(Ok(bytes)) => lock(&self.pace).wrote(*bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => lock(&self.pace).refused(now()),
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        match &flushed {
            Poll::Ready(_) => lock(&self.pace).flushed(),
            Poll::Pending => lock(&self.pace).refused(now()),
        }
        flushed
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}
