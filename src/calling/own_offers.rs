//! Makes our own offers in existing calls, when the wanted directions or streams change.
//!
//! A change stays due until it is offered; the offer waits until the previous one is answered. An offer that gave way
//! to one of the other side is repeated after that. An unanswered offer counts as lost after a timeout and is repeated
//! a few times; the answer may also be late because a person must decide first.

use std::time::Instant;

use super::core::Core;
use crate::call::CallId;
use crate::media::StreamInfo;

impl Core {
    /// Records that the wanted directions of a call changed.
    pub(super) fn change(&mut self, call: CallId) {
        if let Some(seat) = self.seats.get_mut(&call) {
            seat.renegotiation.change();
            self.renegotiating.insert(call);
        }
    }

    /// Sets the available streams; if they are different ones (`others`), existing calls get an offer.
    pub(crate) fn change_streams(&mut self, streams: &[StreamInfo], others: bool, now: Instant) {
        self.fanout.set_streams(streams);
        let all: Vec<CallId> = self.seats.keys().filter(|_| others).copied().collect();
        all.into_iter().for_each(|call| self.change(call));
        self.settle(now);
    }

    /// Records that our description was sent.
    pub(super) fn described(&mut self, call: CallId) {
        if let Some(seat) = self.seats.get_mut(&call) {
            seat.renegotiation.described = true;
        }
    }

    /// Records that our offer became void because the other side made one.
    pub(super) fn gave_way(&mut self, call: CallId) {
        let Some(seat) = self.seats.get_mut(&call) else { return };
        if seat.renegotiation.open.take().is_some() {
            self.change(call);
        }
    }

    /// Records an answer. Returns whether both sides had agreed before.
    pub(super) fn answered(&mut self, call: CallId) -> bool {
        let Some(seat) = self.seats.get_mut(&call) else { return false };
        (seat.renegotiation.open, seat.renegotiation.tries) = (None, 0);
        seat.renegotiation.agreed
    }

    /// Makes the offers that are due. Returns whether there was one.
    pub(super) fn renegotiate(&mut self, now: Instant) -> bool {
        let mut any = false;
        let timeout = self.calls.answer_timeout();
        let all: Vec<CallId> = self.renegotiating.iter().copied().collect();
        for call in all {
            let Some(seat) = self.seats.get_mut(&call) else { continue };
            let (session, state) = (seat.session, &mut seat.renegotiation);
            if !state.due && state.again_at(timeout).is_some_and(|at| at <= now) {
                (state.due, state.tries) = (true, state.tries + 1);
            }
            if state.due && self.calls.may_offer(call, now) {
                self.offer_again(call, session, now);
                any = true;
            }
            if self.seats.get(&call).is_none_or(|seat| seat.renegotiation.is_at_rest(timeout)) {
                self.renegotiating.remove(&call);
            }
        }
        any
    }

    fn offer_again(&mut self, call: CallId, session: crate::rtc::SessionId, now: Instant) {
        let offer = match self.fanout.offer(session, now) {
            Ok(offer) => offer,
            Err(refusal) => {
                log::info!("call {call}: cannot renegotiate: {}", refusal.code());
                if let Some(seat) = self.seats.get_mut(&call) {
                    seat.renegotiation.due = false;
                }
                return;
            }
        };
        let sent = self.calls.local_offer(call, &offer.sdp, now);
        let Some(seat) = self.seats.get_mut(&call) else { return };
        match sent {
            Ok(()) => (seat.renegotiation.due, seat.renegotiation.open) = (false, Some(now)),
            Err(e) => {
                log::debug!("call {call}: {e}");
                seat.renegotiation.due = false;
                self.fanout.roll_back(session);
            }
        }
    }

    /// Returns when to repeat an unanswered offer.
    pub(super) fn offer_again_at(&self) -> Option<Instant> {
        let at = |call: &CallId| {
            let state = &self.seats.get(call)?.renegotiation;
            match state.due {
                true => self.calls.offer_lost_at(*call),
                false => state.again_at(self.calls.answer_timeout()),
            }
        };
        self.renegotiating.iter().filter_map(at).min()
    }
}
