//! One call: its role, its phase, and how far its negotiation is.

use std::time::Instant;

use super::body::{Candidate, End};
use super::{CallError, CallId, Config, State};
use crate::limit::RateKey;

pub(super) struct Call {
    /// The id on the wire, if the caller gave one.
    pub wire: Option<String>,
    pub remote: String,
    /// The remote has sent the id.
    pub named: bool,
    /// Who limits count the remote as; `None` until it has sent something.
    pub origin: Option<RateKey>,
    pub role: Role,
    pub phase: Phase,
    pub negotiation: Negotiation,
    /// The remote's candidates, until its description is known.
    pub early: Option<Vec<Candidate>>,
    /// Our candidates that cannot be sent yet.
    pub waiting: Vec<Candidate>,
    /// We have sent a description.
    pub described: bool,
    /// When our last offer was sent.
    pub offered: Option<Instant>,
    /// How many of our offers renegotiated.
    pub offers: u64,
    /// The number of the remote's last offer, if it counts them.
    pub heard: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Caller,
    Callee,
}

pub(super) enum Phase {
    Ringing {
        /// The offer that our init carried.
        offer: Option<String>,
    },
    /// An offer that arrived in the init, or before our accept, is kept.
    Incoming {
        offer: Option<String>,
    },
    /// The other half of a glare; the application does not know about it yet.
    Held {
        by: CallId,
        data: String,
        offer: Option<String>,
    },
    Connecting,
    Active {
        /// The remote was reported offline and has not sent anything since.
        away: bool,
        /// Our address changed, and the remote has not sent anything since.
        moved: bool,
    },
    /// The remote has closed the media, and its hangup is awaited.
    Closed {
        end: End,
        was: State,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Negotiation {
    Fresh,
    OursWaits,
    TheirsWaits,
    Stable,
}

impl Call {
    pub(super) fn new(remote: &str, wire: Option<&str>, role: Role, phase: Phase) -> Self {
        Call {
            wire: wire.map(str::to_owned),
            remote: remote.to_owned(),
            named: wire.is_some() && role == Role::Callee,
            origin: None,
            role,
            phase,
            negotiation: Negotiation::Fresh,
            early: Some(Vec::new()),
            waiting: Vec::new(),
            described: false,
            offered: None,
            offers: 0,
            heard: None,
        }
    }

    /// The state as the application sees it; `None` while the call is held.
    pub(super) fn state(&self) -> Option<State> {
        match self.phase {
            Phase::Ringing { .. } => Some(State::Ringing),
            Phase::Incoming { .. } => Some(State::Incoming),
            Phase::Held { .. } => None,
            Phase::Connecting => Some(State::Connecting),
            Phase::Active { .. } => Some(State::Active),
            Phase::Closed { was, .. } => Some(was),
        }
    }

    pub(super) fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Held { .. })
    }

    pub(super) fn is_accepted(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Active { .. })
    }

    /// Both sides have described themselves before.
    pub(super) fn is_negotiated(&self) -> bool {
        self.described && self.early.is_none()
    }

    /// When our pending offer counts as lost; `None` for the first one of a call, which never does.
    pub(super) fn lost_at(&self, config: &Config) -> Option<Instant> {
        let pending = self.negotiation == Negotiation::OursWaits && self.is_negotiated();
        self.offered.filter(|_| pending)?.checked_add(config.answer_timeout)
    }

    pub(super) fn is_lost(&self, config: &Config, now: Instant) -> bool {
        self.lost_at(config).is_some_and(|at| at <= now)
    }

    /// The remote's init, neither accepted nor rejected yet.
    pub(super) fn is_unanswered(&self) -> bool {
        matches!(self.phase, Phase::Incoming { .. } | Phase::Held { .. })
    }

    pub(super) fn wrong(&self, id: CallId, wanted: &'static str) -> CallError {
        match self.state() {
            Some(state) => CallError::WrongState { id, state, wanted },
            None => CallError::Unknown(id),
        }
    }
}
