//! A call's seat, the origin that limits apply to, and who answers: shared by `core` and `admission`.

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

/// The origin of a call, for limits.
pub(super) struct Caller {
    pub origin: RateKey,
    /// Limits do not apply, since many peers may share this origin.
    pub exempt: bool,
}

/// A call that has not ended.
pub(super) struct Seat {
    pub session: SessionId,
    /// The caller; `None` for calls that we made.
    pub caller: Option<Caller>,
    pub peer: Address,
    /// The streams that were agreed on.
    pub takes: BTreeSet<StreamId>,
    pub joined: bool,
}
