//! Decides which callers get a seat and who answers: the part exposed to strangers.
//!
//! A caller without media does not keep a seat for long. The number of such calls per host is limited, and when all
//! seats are taken, the oldest such call is ended with `busy` in favour of a new one. Calls with media, and calls that
//! we made, are never ended for that. The cost of callers' offers is limited in `offers`.

use std::time::Instant;

use super::Event;
use super::core::Core;
use super::seat::{AnswerPolicy, Caller, Seat};
use crate::call::body::{End, EndReason};
use crate::call::{CallError, CallId};
use crate::proto::Address;

impl Core {
    /// Accepts a call that [`Event::Incoming`] reported.
    #[cfg(any(feature = "camera", feature = "calls"))]
    pub(crate) fn accept(&mut self, call: CallId, now: Instant) -> Result<(), CallError> {
        self.calls.accept(call, now)?;
        self.go_on(call);
        self.settle(now);
        Ok(())
    }

    /// Rejects a call that [`Event::Incoming`] reported.
    pub(crate) fn reject(&mut self, call: CallId, end: End, now: Instant) -> Result<(), CallError> {
        self.calls.reject(call, end, now)?;
        self.settle(now);
        Ok(())
    }

    /// Gives a caller a seat, if there is room. Then answers, or asks the application.
    pub(super) fn incoming(&mut self, call: CallId, from: &str, data: String, now: Instant) {
        let origin = self.calls.origin(call).cloned();
        let caller = origin.map(|origin| Caller { origin, exempt: self.whence.is_exempt() });
        if !self.make_room(caller.as_ref(), now) {
            _ = self.calls.reject(call, EndReason::Busy, now);
            return;
        }
        let session = self.new_session();
        self.seat(call, from, session, caller);
        match self.answer {
            AnswerPolicy::All => {
                self.go_on(call);
                _ = self.calls.accept(call, now);
            }
            AnswerPolicy::Ask => self.emit(Event::Incoming { call, peer: Address::from(from), data }),
        }
    }

    /// Makes room for a call by ending calls without media: the oldest of the caller's own host if that has reached its
    /// limit, and the oldest of all if every seat is taken. Returns whether a seat is free.
    pub(super) fn make_room(&mut self, caller: Option<&Caller>, now: Instant) -> bool {
        if let Some(caller) = caller.filter(|caller| !caller.exempt) {
            let own = |seat: &Seat| seat.caller.as_ref().is_some_and(|c| c.origin == caller.origin);
            let waiting: Vec<CallId> =
                self.unconnected().filter(|(_, seat)| own(seat)).map(|(call, _)| call).collect();
            let over = (waiting.len() + 1).saturating_sub(self.max_unconnected);
            waiting.into_iter().take(over).for_each(|call| self.displace(call, now));
        }
        let oldest = self.unconnected().next().map(|(call, _)| call);
        if let Some(oldest) = oldest.filter(|_| self.seats.len() >= self.max_calls) {
            self.displace(oldest, now);
        }
        self.seats.len() < self.max_calls
    }

    /// Returns the incoming calls without media so far, the oldest first.
    fn unconnected(&self) -> impl Iterator<Item = (CallId, &Seat)> {
        self.seats
            .iter()
            .filter(|(_, seat)| !seat.joined && seat.caller.is_some())
            .map(|(call, seat)| (*call, seat))
    }

    fn displace(&mut self, call: CallId, now: Instant) {
        let Some(remote) = self.calls.remote(call).map(str::to_owned) else { return };
        log::debug!("ending call {call} without media in favour of a newer one");
        _ = self.calls.hangup(call, EndReason::Busy, now);
        // Immediately: the seat is needed before the call's last event is emitted.
        self.leave(call, &remote, EndReason::Busy.into(), now);
    }
}
