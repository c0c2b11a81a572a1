//! Who gets a seat, and who answers: the part of the studio that strangers reach.
//!
//! A caller that brings no media holds no seat for long. Of each host so many calls may be without media, and where
//! all seats are taken the oldest such call gives way to a newcomer, with `busy`. Who watches never does, nor whom we
//! called. What callers' offers cost is bounded in `offers`.

use std::time::Instant;

use super::config::Answer;
use super::event::{Event, ViewerId};
use super::studio::{Output, Seat, Studio, Whence};
use crate::call::body::{Candidate, End, EndReason};
use crate::call::{CallError, CallId, Calls};
use crate::limit::Origin;
use crate::proto::Address;

/// Whose share a call is taken from.
pub(crate) struct Caller {
    origin: Origin,
    /// Many may come from there.
    exempt: bool,
}

impl Studio {
    /// Takes a call that [`Event::Incoming`] told of.
    pub fn accept(&mut self, viewer: ViewerId, now: Instant) -> Result<(), CallError> {
        self.calls.accept(viewer.0, now)?;
        self.calling(viewer.0);
        self.settle(now);
        Ok(())
    }

    /// Turns a call down that [`Event::Incoming`] told of.
    pub fn reject(&mut self, viewer: ViewerId, end: End, now: Instant) -> Result<(), CallError> {
        self.calls.reject(viewer.0, end, now)?;
        self.settle(now);
        Ok(())
    }

    /// Seats a caller, if there is room, and answers it or lets the application do so.
    pub(super) fn incoming(&mut self, id: CallId, from: &str, data: String, now: Instant) {
        let origin = self.calls.origin(id).cloned();
        let caller = origin.map(|origin| Caller { origin, exempt: self.whence == Whence::Exempt });
        if !self.make_room(caller.as_ref(), now) {
            _ = self.calls.reject(id, EndReason::Busy, now);
            return;
        }
        self.seat(id, from, caller);
        match self.answer {
            Answer::All => {
                self.calling(id);
                _ = self.calls.accept(id, now);
            }
            Answer::Ask => {
                let peer = Address::from(from);
                self.out.push_back(Output::Event(Event::Incoming { id: ViewerId(id), peer, data }));
            }
        }
    }

    /// Whether there is a seat for one more, once those give way that bring no media: the oldest of the caller's own
    /// host where that has its share, and the oldest of all where every seat is taken.
    pub(super) fn make_room(&mut self, caller: Option<&Caller>, now: Instant) -> bool {
        if let Some(caller) = caller.filter(|caller| !caller.exempt) {
            let own = |seat: &Seat| seat.caller.as_ref().is_some_and(|c| c.origin == caller.origin);
            let held: Vec<CallId> =
                self.unconnected().filter(|(_, seat)| own(seat)).map(|(id, _)| id).collect();
            let over = (held.len() + 1).saturating_sub(self.max_unconnected);
            held.into_iter().take(over).for_each(|id| self.displace(id, now));
        }
        let oldest = self.unconnected().next().map(|(id, _)| id);
        if let Some(oldest) = oldest.filter(|_| self.seats.len() >= self.max_viewers) {
            self.displace(oldest, now);
        }
        self.seats.len() < self.max_viewers
    }

    /// Those who called and have no media yet, the oldest first.
    fn unconnected(&self) -> impl Iterator<Item = (CallId, &Seat)> {
        self.seats
            .iter()
            .filter(|(_, seat)| !seat.joined && seat.caller.is_some())
            .map(|(id, seat)| (*id, seat))
    }

    fn displace(&mut self, id: CallId, now: Instant) {
        let Some(remote) = self.calls.remote(id).map(str::to_owned) else { return };
        log::debug!("call {id} without media gives way to a newer one");
        _ = self.calls.hangup(id, EndReason::Busy, now);
        // At once: the seat is needed before the call's last event comes.
        self.leave(id, &remote, EndReason::Busy.into(), now);
    }

    /// Answers the offer whose turn it is.
    pub(super) fn take_offer(&mut self, now: Instant) {
        let Some(offer) = self.offers.pop(now) else { return };
        let Some(seat) = self.seats.get(&offer.id) else { return };
        let goes_on = self.fanout.stats(seat.session).is_some();
        match self.fanout.accept(seat.session, &offer.sdp, now) {
            Ok(answer) => {
                self.agree(offer.id, &answer.streams);
                self.describe(offer.id, &answer.sdp, Calls::local_answer, now);
            }
            Err(refusal) if goes_on => {
                log::info!("call {}: a renegotiation is refused: {}", offer.id, refusal.code());
                if let Err(e) = self.calls.refuse_offer(offer.id, now) {
                    log::debug!("call {}: {e}", offer.id);
                }
            }
            Err(refusal) => self.refuse(offer.id, &refusal, now),
        }
        for candidate in &offer.candidates {
            self.add_candidate(offer.id, candidate);
        }
    }

    pub(super) fn add_candidate(&mut self, id: CallId, candidate: &Candidate) {
        let Some(seat) = self.seats.get(&id) else { return };
        if let Err(refusal) = self.fanout.add_remote_candidate(seat.session, &candidate.candidate) {
            log::debug!("call {id}: a candidate is passed over: {}", refusal.code());
        }
    }

    /// The call goes on: the application is told.
    pub(super) fn calling(&mut self, id: CallId) {
        if let Some(seat) = self.seats.get(&id) {
            self.out.push_back(Output::Event(Event::Calling(seat.viewer.id, seat.viewer.address.clone())));
        }
    }
}
