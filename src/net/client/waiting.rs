//! Futures of replies and receipts. The core keeps the results; this file only keeps wakers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::Inner;
use crate::client::{AnswerId, RequestError, SendError};
use crate::net::lock;
use crate::proto::Message;

/// The reply to a [`Client::request`](super::Client::request). Dropping it discards the reply.
#[must_use = "await the reply, or discard it"]
pub struct Reply(Awaited);

/// The receipt of a [`Client::deliver`](super::Client::deliver). Dropping it discards the receipt.
#[must_use = "await the receipt, or discard it"]
pub struct Delivery(Awaited);

impl Reply {
    pub(super) fn new(inner: &Arc<Inner>, sent: Result<AnswerId, SendError>) -> Self {
        Reply(Awaited::new(inner, sent))
    }
}

impl Delivery {
    pub(super) fn new(inner: &Arc<Inner>, sent: Result<AnswerId, SendError>) -> Self {
        Delivery(Awaited::new(inner, sent))
    }
}

impl Future for Reply {
    type Output = Result<Message, RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl Future for Delivery {
    type Output = Result<u64, RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let delivered = |receipt: Message| receipt.get("delivered").ok().flatten().unwrap_or(0);
        self.0.poll(cx).map_ok(delivered)
    }
}

struct Awaited {
    inner: Arc<Inner>,
    state: State,
}

enum State {
    NotSent(SendError),
    Awaited(AnswerId),
    Taken,
}

impl Awaited {
    fn new(inner: &Arc<Inner>, sent: Result<AnswerId, SendError>) -> Self {
        let state = sent.map_or_else(State::NotSent, State::Awaited);
        Awaited { inner: inner.clone(), state }
    }

    /// # Panics
    /// If it is polled again after it was ready.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, RequestError>> {
        let id = match &self.state {
            State::Awaited(id) => *id,
            State::NotSent(error) => {
                let error = RequestError::from(error.clone());
                self.state = State::Taken;
                return Poll::Ready(Err(error));
            }
            State::Taken => panic!("polled again after it was ready"),
        };
        // Wakers are dropped without a lock: one may own another answer.
        let (answer, _waker) = {
            let mut agent = lock(&self.inner.agent);
            let answer = agent.take_answer(id);
            // Under the core's lock, so that the result cannot arrive in between.
            let mut awaiting = lock(&self.inner.awaiting);
            let waker = match answer {
                Some(_) => awaiting.remove(&id),
                None => awaiting.insert(id, cx.waker().clone()),
            };
            (answer, waker)
        };
        let Some(answer) = answer else { return Poll::Pending };
        self.state = State::Taken;
        Poll::Ready(answer)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        if let State::Awaited(id) = self.state {
            // As above.
            let _waker = {
                let mut agent = lock(&self.inner.agent);
                agent.forget(id);
                lock(&self.inner.awaiting).remove(&id)
            };
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").finish_non_exhaustive()
    }
}
