//! Calls whose media the remote has closed: who hangs up closes its media and says why in a message, and either may
//! arrive first. So the call waits for the message, for a moment.

use std::time::Instant;

use super::body::End;
use super::calls::{Calls, Tell};
use super::phase::{Call, Negotiation, Phase};
use super::timers::Timer;
use super::{CallError, CallId};

impl Calls {
    /// The remote has closed the media of a call. The call ends with the remote's `call:hangup`, and its reason; with
    /// `end` if none comes within [`Config::hangup_wait`](super::Config::hangup_wait), or if none can come since one
    /// side is offline.
    ///
    /// A remote that knows no ids is not informed: it has ended its call, and would take our word for the end of the
    /// next one.
    pub fn media_closed(&mut self, id: CallId, end: impl Into<End>, now: Instant) -> Result<(), CallError> {
        self.expire(now);
        let call = self.known(id)?;
        let state = call.state().filter(|_| call.is_accepted());
        let away = matches!(call.phase, Phase::Active { away: true, .. });
        let (Some(state), true) = (state, self.online && !away) else {
            let tell = call.tell_of_closed();
            self.end(id, tell, end);
            return Ok(());
        };
        let call = self.calls.get_mut(&id).expect("known some statements above");
        call.phase = Phase::Closed { end: end.into(), was: state };
        call.negotiation = Negotiation::Stable;
        self.timers.set(id, Timer::Hangup, &self.config, now);
        Ok(())
    }

    /// No hangup comes any more, if one was awaited. Returns whether the call has ended by that.
    pub(super) fn end_closed(&mut self, id: CallId, tell: Option<Tell>) -> bool {
        let Some(call) = self.calls.get_mut(&id) else { return false };
        let (usual, Phase::Closed { end, .. }) = (call.tell_of_closed(), &mut call.phase) else {
            return false;
        };
        let end = End { reason: end.reason.clone(), message: std::mem::take(&mut end.message) };
        self.end(id, tell.unwrap_or(usual), end);
        true
    }

    /// Whether the remote has closed the media of a call.
    pub(super) fn is_closed(&self, id: CallId) -> bool {
        matches!(self.calls.get(&id), Some(Call { phase: Phase::Closed { .. }, .. }))
    }
}

impl Call {
    fn tell_of_closed(&self) -> Tell {
        if self.named { Tell::Remote } else { Tell::Nobody }
    }
}
