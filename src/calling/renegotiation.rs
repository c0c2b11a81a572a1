//! How far a call's own offers are, as [`own_offers`](super::own_offers) needs it.

use std::time::{Duration, Instant};

/// How often an offer is made again that nobody answers. The first one waits for [`Config::answer_timeout`], each other
/// one twice as long as the one before.
///
/// [`Config::answer_timeout`]: crate::call::Config::answer_timeout
const TRIES: u32 = 3;

/// How far a call's own offers are.
#[derive(Debug, Default)]
pub(super) struct Renegotiation {
    /// A description of ours has left.
    pub described: bool,
    /// Both sides have agreed before.
    pub agreed: bool,
    /// What is wanted differs from what was described last.
    pub due: bool,
    /// When an offer left that is not answered yet.
    pub open: Option<Instant>,
    /// How often it was made again.
    pub tries: u32,
}

impl Renegotiation {
    /// Something changed since the last description.
    pub(super) fn change(&mut self) {
        if self.described {
            (self.due, self.tries) = (true, 0);
        }
    }

    pub(super) fn agree(&mut self) {
        self.agreed = true;
    }

    /// When the open offer is made again, if the first one is given so long.
    pub(super) fn again_at(&self, timeout: Duration) -> Option<Instant> {
        self.open.filter(|_| self.tries < TRIES).map(|at| at + timeout * 2_u32.pow(self.tries))
    }

    pub(super) fn is_at_rest(&self, timeout: Duration) -> bool {
        !self.due && self.again_at(timeout).is_none()
    }
}
