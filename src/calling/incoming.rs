//! Incoming calls, which an application accepts or rejects.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::Stream;

use super::conversation::Conversation;
use super::shared::{Shared, Waiting};
use super::wish::Wish;
use crate::call::body::{End, EndReason};
use crate::call::{CallError, CallId};
use crate::net::channel::Receiver;
use crate::proto::Address;
use crate::rtc::Directions;

/// The stream of incoming calls, from [`Calling::incoming`](super::Calling::incoming). Dropping it declines waiting and
/// later calls.
pub struct Incoming {
    shared: Arc<Shared>,
    waiting: Pin<Box<Receiver<Waiting>>>,
}

impl Incoming {
    pub(super) fn new(shared: &Arc<Shared>, waiting: Receiver<Waiting>) -> Incoming {
        Incoming { shared: shared.clone(), waiting: Box::pin(waiting) }
    }
}

impl Stream for Incoming {
    type Item = IncomingCall;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<IncomingCall>> {
        let next = self.waiting.as_mut().poll_next(cx);
        next.map(|waiting| waiting.map(|waiting| IncomingCall::new(&self.shared, waiting)))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.waiting.close();
        while let Ok(Waiting { call, .. }) = self.waiting.try_recv() {
            self.shared.reject(call, EndReason::Declined.into());
        }
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}

/// A call from a peer. After 30 s without a decision it ends with the reason `timeout`. Dropping it declines the call.
pub struct IncomingCall {
    shared: Arc<Shared>,
    call: CallId,
    peer: Address,
    data: String,
    channels: bool,
    decided: bool,
}

impl IncomingCall {
    fn new(shared: &Arc<Shared>, waiting: Waiting) -> IncomingCall {
        let Waiting { call, peer, data } = waiting;
        IncomingCall { shared: shared.clone(), call, peer, data, channels: false, decided: false }
    }

    /// Returns the ID of the call.
    pub fn id(&self) -> CallId {
        self.call
    }

    /// Returns the caller's address.
    pub fn peer(&self) -> &Address {
        &self.peer
    }

    /// Returns the caller's data, as JSON.
    pub fn data(&self) -> &str {
        &self.data
    }

    /// Grants data channels, too, if the caller offers them.
    pub fn with_channels(mut self) -> IncomingCall {
        self.channels = true;
        self
    }

    /// Accepts the call. `grant` limits what the caller's offer may send and receive.
    ///
    /// # Errors
    ///
    /// If the call has ended: the caller hung up, or waited too long.
    pub fn accept(mut self, grant: Directions) -> Result<Conversation, CallError> {
        self.decided = true;
        let (call, line) = self.shared.accept(self.call, Wish::new(grant).with_channels(self.channels))?;
        Ok(Conversation::new(&self.shared, call, line))
    }

    /// Rejects the call with a reason for the caller, for instance [`EndReason::Busy`].
    pub fn reject(mut self, end: impl Into<End>) {
        self.decided = true;
        self.shared.reject(self.call, end.into());
    }
}

impl Drop for IncomingCall {
    fn drop(&mut self) {
        if !self.decided {
            self.shared.reject(self.call, EndReason::Declined.into());
        }
    }
}

impl fmt::Debug for IncomingCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingCall")
            .field("call", &self.call)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
