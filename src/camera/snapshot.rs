//! Where a request for a snapshot waits.

use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

#[cfg(feature = "channels")]
use crate::call::CallId;
use crate::media::sink::Outcome;
use crate::net::lock;

/// Who waits for a snapshot.
pub(in crate::camera) enum Waiter {
    /// The program, or somebody who asks by HTTP.
    Slot(Arc<PendingSnapshot>),
    /// A viewer, by a command of its call.
    #[cfg(feature = "channels")]
    Viewer(CallId, crate::proto::Message),
}

/// Where one request waits.
#[derive(Default)]
pub(in crate::camera) struct PendingSnapshot {
    state: Mutex<(Option<Outcome>, Option<Waker>)>,
}

impl PendingSnapshot {
    pub(super) fn set(&self, outcome: Outcome) {
        let mut state = lock(&self.state);
        state.0 = Some(outcome);
        let waker = state.1.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    pub(super) fn wait(self: Arc<Self>) -> impl Future<Output = Outcome> + Send + use<> {
        poll_fn(move |cx| {
            let mut state = lock(&self.state);
            match &state.0 {
                Some(outcome) => Poll::Ready(outcome.clone()),
                None => {
                    state.1 = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
    }
}
