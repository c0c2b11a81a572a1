//! A call's seat, whose share it is taken from, and who answers: what `core` and `admission` both need.

use std::collections::BTreeSet;

use crate::limit::RateKey;
use crate::media::StreamId;
use crate::proto::Address;
use crate::rtc::SessionId;

/// Who answers a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Each call is accepted.
    #[default]
    All,
    /// The application decides on each incoming call.
    Ask,
}

/// Whose share a call is taken from.
pub(super) struct Caller {
    pub origin: RateKey,
    /// Many may come from there.
    pub exempt: bool,
}

/// A call that is not over.
pub(super) struct Seat {
    pub session: SessionId,
    /// Whose share it is taken from; `None` for those that we called.
    pub caller: Option<Caller>,
    pub peer: Address,
    /// What was agreed that it gets.
    pub takes: BTreeSet<StreamId>,
    pub joined: bool,
}
