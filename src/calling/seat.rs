//! A call's seat, the origin that limits apply to, and who answers: shared by `core` and `admission`.

use std::collections::BTreeSet;

use serde_json::Value;

#[cfg(feature = "calls")]
use super::renegotiation::Renegotiation;
use crate::call::body::Candidate;
use crate::limit::RateKey;
use crate::media::StreamId;
use crate::proto::{Address, Object};
use crate::rtc::SessionId;

/// Who answers a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnswerPolicy {
    /// Each call is accepted.
    #[default]
    All,
    /// The application decides on each incoming call.
    Ask,
}

/// The member of presence data in which a callee says who answers.
pub(crate) const ANSWERS: &str = "answers";
/// Its value if every call is accepted: a caller may send its offer in the init.
const EVERYBODY: &str = "all";

impl AnswerPolicy {
    /// Returns its presence data; `null` removes an earlier value.
    #[cfg(feature = "camera")]
    pub(crate) fn presence(self) -> Value {
        match self {
            AnswerPolicy::All => EVERYBODY.into(),
            AnswerPolicy::Ask => Value::Null,
        }
    }
}

/// Whether a peer accepts every call, according to its presence data.
pub(crate) fn answers_everybody(data: &Object) -> bool {
    data.get(ANSWERS).and_then(Value::as_str) == Some(EVERYBODY)
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
    /// The negotiated streams.
    pub takes: BTreeSet<StreamId>,
    /// Our candidates that were found since the last agreement.
    pub found: Vec<Candidate>,
    pub joined: bool,
    /// The state of our own offers.
    #[cfg(feature = "calls")]
    pub renegotiation: Renegotiation,
    /// Whether we want data channels.
    #[cfg(feature = "calls")]
    pub wants_channels: bool,
}
