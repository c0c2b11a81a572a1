//! The state of a call's own offers, for [`own_offers`](super::own_offers).

use std::time::{Duration, Instant};

/// How often an unanswered offer is repeated. The first offer waits for [`Config::answer_timeout`], each further one
/// twice as long as the previous.
///
/// [`Config::answer_timeout`]: crate::call::Config::answer_timeout
const TRIES: u32 = 3;

/// The state of a call's own offers.
#[derive(Debug, Default)]
pub(super) struct Renegotiation {
    /// We have sent a description.
    pub described: bool,
    /// Both sides have agreed at least once.
    pub agreed: bool,
    /// The wanted directions or streams differ from our last description.
    pub due: bool,
    /// When the unanswered offer was sent.
    pub open: Option<Instant>,
    /// How often it was repeated.
    pub tries: u32,
}

impl Renegotiation {
    /// Records a change since the last description.
    pub(super) fn change(&mut self) {
        if self.described {
            (self.due, self.tries) = (true, 0);
        }
    }

    pub(super) fn agree(&mut self) {
        self.agreed = true;
    }

    /// Returns when to repeat the open offer; `timeout` is the wait for the first one.
    pub(super) fn again_at(&self, timeout: Duration) -> Option<Instant> {
        self.open.filter(|_| self.tries < TRIES).map(|at| at + timeout * 2_u32.pow(self.tries))
    }

    pub(super) fn is_at_rest(&self, timeout: Duration) -> bool {
        !self.due && self.again_at(timeout).is_none()
    }
}
