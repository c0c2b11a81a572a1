//! What each message from a peer does: the tables of the module docs, row by row.

use std::time::Instant;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::body::{self, Candidate, Description, End, EndReason, SdpType};
use super::calls::{ACCEPT, ANSWER, CANDIDATE, Calls, HANGUP, INIT, OFFER, REJECT, Tell};
use super::phase::{Call, Negotiation, Phase, Role};
use super::timers::Timer;
use super::{CallId, Event, MAX_NAME, State};
use crate::limit::RateKey;

/// Who sent a message.
pub(super) struct Sender<'a> {
    /// `user|id`
    pub from: &'a str,
    pub origin: RateKey,
}

/// Room for the name of an init's offer and what stands around it, however it is spelled.
const OFFER_NAME: usize = 64;

impl Calls {
    pub(super) fn message(
        &mut self,
        sender: &Sender<'_>,
        subtype: &str,
        data: Option<&str>,
        wire: Option<&str>,
        now: Instant,
    ) {
        let (from, wire) = (sender.from, wire.filter(|wire| !wire.is_empty()));
        if from.is_empty() || from.len() > MAX_NAME {
            log::debug!("call message ignored: its sender's address is empty or too long");
            return;
        }
        if subtype == INIT {
            self.on_init(sender, data, wire, now);
            return;
        }
        let Some(id) = self.find(from, wire) else {
            // Someone who is waiting for us gets an answer; other messages are leftovers of a call that has
            // ended.
            if matches!(subtype, ACCEPT | OFFER | ANSWER) {
                self.turn_away(sender, wire, HANGUP, EndReason::NoSuchCall, now);
            }
            return;
        };
        if !self.speaks_for(id, sender, subtype) {
            if subtype == ACCEPT {
                self.turn_away(sender, wire, HANGUP, EndReason::Replaced, now);
            }
            return;
        }
        if let Some(call) = self.calls.get_mut(&id) {
            call.named |= wire.is_some();
        }
        match subtype {
            HANGUP => self.end(id, Tell::Nobody, End::of(data, EndReason::Ended)),
            // It has closed its media, so this was on its way.
            _ if self.is_closed(id) => {}
            ACCEPT => self.on_accept(id, sender, data, now),
            REJECT => self.on_reject(id, from, &End::of(data, EndReason::Declined)),
            OFFER => self.on_offer(id, data, now),
            ANSWER => self.on_answer(id, data),
            CANDIDATE => self.on_candidate(id, data),
            _ => log::trace!("unknown call subtype ignored"),
        }
    }

    /// The call a message belongs to.
    fn find(&self, from: &str, wire: Option<&str>) -> Option<CallId> {
        match wire {
            Some(wire) => self.by_wire(wire),
            None => self.with(from),
        }
    }

    /// The call with a remote: by its exact address, or else one that rings at a name which covers the
    /// remote.
    fn with(&self, from: &str) -> Option<CallId> {
        let seen = || self.calls.iter().filter(|(_, call)| !call.is_held());
        let exact = seen().find(|(_, call)| call.remote == from);
        exact
            .or_else(|| {
                seen().find(|(_, call)| {
                    matches!(call.phase, Phase::Ringing { .. }) && covers(&call.remote, from)
                })
            })
            .map(|(id, _)| *id)
    }

    /// Whether the sender is the call's remote. In an active call, whoever has the id becomes the remote.
    fn speaks_for(&mut self, id: CallId, sender: &Sender<'_>, subtype: &str) -> bool {
        let from = sender.from;
        let Some(call) = self.calls.get_mut(&id) else { return false };
        let same = call.remote == from;
        match &mut call.phase {
            // A device that also rang and answers late is not the remote under a new address.
            Phase::Active { .. } if !same && matches!(subtype, ACCEPT | REJECT) => false,
            Phase::Active { away, moved } => {
                *away = false;
                let both_moved = std::mem::take(moved) && !same;
                call.origin = Some(sender.origin.clone());
                self.timers.clear(id);
                self.moved(id, from);
                if both_moved {
                    // Our last one went to an address where the remote no longer was.
                    self.tell(id, CANDIDATE, body::json(&Candidate::end()));
                }
                true
            }
            Phase::Ringing { .. } => true,
            _ => same,
        }
    }

    fn on_init(&mut self, sender: &Sender<'_>, data: Option<&str>, wire: Option<&str>, now: Instant) {
        let from = sender.from;
        let data = data.unwrap_or("{}");
        let most =
            self.config.max_init.saturating_add(self.config.max_description).saturating_add(OFFER_NAME);
        let (wants, offer) = match data.len() <= most {
            true => body::init::split(data, self.config.max_description),
            false => (data.into(), None),
        };
        if wants.len() > self.config.max_init || serde_json::from_str::<&RawValue>(&wants).is_err() {
            self.turn_away(sender, wire, REJECT, EndReason::BadDescription, now);
            return;
        }
        // Before anything is replaced: a peer that calls too often keeps the call it has.
        if !self.inits.take(&sender.origin, now) {
            self.turn_away(sender, wire, REJECT, EndReason::Busy, now);
            return;
        }
        // A remote that closed the media of its call before.
        let closed = self.with(from).or_else(|| self.by_wire(wire?)).filter(|id| self.is_closed(*id));
        closed.into_iter().for_each(|id| _ = self.end_closed(id, Some(Tell::Nobody)));
        // A remote that reconnected under a new address and calls again.
        let mut replaces = wire
            .and_then(|wire| self.by_wire(wire))
            .filter(|id| self.state(*id) == Some(State::Active) && self.remote(*id) != Some(from));
        if let Some(id) = replaces {
            self.end(id, Tell::Nobody, EndReason::Replaced);
        }
        let mut held_by = None;
        if let Some(id) = self.with(from) {
            let ringing = self.state(id) == Some(State::Ringing);
            if ringing && self.own.as_deref().is_none_or(|own| own <= from) {
                held_by = Some(id);
                if let Some(earlier) = self.held_by(id) {
                    self.end(earlier, Tell::Nobody, EndReason::Replaced);
                }
            } else {
                // No message to the remote: one that knows no ids would take it for the end of the new call.
                self.end(id, Tell::Nobody, EndReason::Replaced);
                replaces = Some(id);
            }
        }
        if wire.is_some_and(|wire| wire.len() > MAX_NAME || self.by_wire(wire).is_some()) {
            self.turn_away(sender, wire, REJECT, EndReason::BadDescription, now);
            return;
        }
        let busy = held_by.is_none()
            && self.config.busy_limit.is_some_and(|limit| self.iter().take(limit).count() == limit);
        if busy || self.calls.len() >= self.config.max_calls {
            self.turn_away(sender, wire, REJECT, EndReason::Busy, now);
            return;
        }
        let data = wants.into_owned();
        let origin = Some(sender.origin.clone());
        match held_by {
            Some(by) => {
                let phase = Phase::Held { by, data, offer };
                self.insert(Call { origin, ..Call::new(from, wire, Role::Callee, phase) }, now);
            }
            None => {
                let phase = Phase::Incoming { offer };
                let id = self.insert(Call { origin, ..Call::new(from, wire, Role::Callee, phase) }, now);
                self.event(Event::Incoming { id, from: from.to_owned(), data, replaces });
            }
        }
    }

    fn on_accept(&mut self, id: CallId, sender: &Sender<'_>, data: Option<&str>, now: Instant) {
        let from = sender.from;
        if self.state(id) != Some(State::Ringing) {
            return;
        }
        if let Some(held) = self.held_by(id) {
            self.end(held, Tell::Nobody, EndReason::Replaced);
        }
        // We rang at a name, and the device that answered already had a call with us: our init replaced that
        // call there.
        let earlier = self.calls.iter().find(|(other, call)| **other != id && call.remote == from);
        if let Some(earlier) = earlier.map(|(earlier, _)| *earlier) {
            self.end(earlier, Tell::Nobody, EndReason::Replaced);
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        from.clone_into(&mut call.remote);
        call.origin = Some(sender.origin.clone());
        let phase = std::mem::replace(&mut call.phase, Phase::Connecting);
        self.timers.set(id, Timer::Connect, &self.config, now);
        self.event(Event::State { id, state: State::Connecting });
        match phase {
            Phase::Ringing { offer: Some(sdp) } => self.offer_again(id, sdp, data, now),
            _ => self.event(Event::Accepted { id }),
        }
    }

    /// Our offer is there already: it was in the init and the callee took it, or it is sent now.
    fn offer_again(&mut self, id: CallId, sdp: String, accept: Option<&str>, now: Instant) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.described && body::init::takes_offer(accept) {
            (call.negotiation, call.offered) = (Negotiation::OursWaits, Some(now));
            return;
        }
        let offer = Description::new(SdpType::Offer, sdp);
        if let Err(e) = self.describe(id, OFFER, offer, Negotiation::OursWaits, now) {
            log::debug!("call {id}: the offer was not sent: {e}");
        }
    }

    fn on_reject(&mut self, id: CallId, from: &str, end: &End) {
        let Some(call) = self.calls.get(&id).filter(|call| call.role == Role::Caller) else { return };
        if matches!(call.phase, Phase::Ringing { .. }) {
            if call.remote != from {
                // Other devices may be ringing at this name.
                self.tell(id, HANGUP, end.body());
            }
            if end.reason == EndReason::Busy && self.take_held(id) {
                return;
            }
        }
        self.end(id, Tell::Nobody, end.clone());
    }

    /// Our own call was answered `busy`: if the remote's call is held, it takes its place.
    fn take_held(&mut self, own: CallId) -> bool {
        let Some(id) = self.held_by(own) else { return false };
        let Some(call) = self.calls.get_mut(&id) else { return false };
        let Phase::Held { data, offer, .. } = &mut call.phase else { return false };
        let (data, offer) = (std::mem::take(data), offer.take());
        call.phase = Phase::Incoming { offer };
        let from = call.remote.clone();
        self.end(own, Tell::Nobody, EndReason::Busy);
        self.event(Event::Incoming { id, from, data, replaces: Some(own) });
        true
    }

    fn on_offer(&mut self, id: CallId, data: Option<&str>, now: Instant) {
        let Some(call) = self.calls.get(&id) else { return };
        let taken = match (&call.phase, call.negotiation, call.role) {
            (Phase::Ringing { .. }, ..) => false,
            (Phase::Incoming { .. } | Phase::Held { .. }, ..) => true,
            (_, Negotiation::Fresh | Negotiation::OursWaits, Role::Callee) => true,
            (_, Negotiation::Fresh, Role::Caller) => false,
            (_, Negotiation::OursWaits, Role::Caller) => call.is_lost(&self.config, now),
            (_, Negotiation::TheirsWaits | Negotiation::Stable, _) => true,
        };
        if !taken {
            return;
        }
        let heard = call.heard;
        let Some(Description { sdp, number, .. }) = self.description(data, SdpType::Offer) else {
            self.end(id, Tell::Remote, EndReason::BadDescription);
            return;
        };
        if number.is_some() && number <= heard {
            log::debug!("call {id}: ignoring an offer that is older than the last one");
            return;
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        match &mut call.phase {
            Phase::Incoming { offer } | Phase::Held { offer, .. } => *offer = Some(sdp),
            _ => {
                call.heard = number;
                self.described(id, SdpType::Offer, sdp);
            }
        }
    }

    fn on_answer(&mut self, id: CallId, data: Option<&str>) {
        let pending = |call: &&Call| call.negotiation == Negotiation::OursWaits;
        let Some(offers) = self.calls.get(&id).filter(pending).map(|call| call.offers) else { return };
        match self.description(data, SdpType::Answer) {
            Some(Description { number: Some(number), .. }) if number != offers => {
                log::debug!("call {id}: ignoring an answer to an earlier offer");
            }
            Some(Description { sdp, .. }) => self.described(id, SdpType::Answer, sdp),
            None => self.end(id, Tell::Remote, EndReason::BadDescription),
        }
    }

    fn on_candidate(&mut self, id: CallId, data: Option<&str>) {
        // A browser's last icecandidate event is `null`.
        let Some(candidate) = parse::<Option<Candidate>>(data, self.config.max_candidate) else {
            self.unread_candidates += 1;
            log::debug!("call {id}: ignoring a candidate that cannot be parsed");
            return;
        };
        let candidate = candidate.unwrap_or_default();
        let Some(call) = self.calls.get_mut(&id) else { return };
        match &mut call.early {
            Some(early) if early.len() < self.config.max_early_candidates => early.push(candidate),
            Some(_) => log::debug!("call {id}: too many early candidates; dropping one"),
            None => self.candidate_event(id, candidate),
        }
    }

    fn description(&self, data: Option<&str>, kind: SdpType) -> Option<Description> {
        parse::<Description>(data, self.config.max_description)
            .filter(|description| description.kind == kind && !description.sdp.is_empty())
    }

    /// Answers a message that belongs to no call, unless its sender has sent many of them: otherwise it could
    /// make us send any amount.
    fn turn_away(
        &mut self,
        sender: &Sender<'_>,
        wire: Option<&str>,
        subtype: &'static str,
        reason: EndReason,
        now: Instant,
    ) {
        if !self.answers.take(&sender.origin, now) {
            log::debug!("not answering a call message that belongs to no call: its sender has sent too many");
            return;
        }
        let wire = wire.filter(|wire| wire.len() <= MAX_NAME).map(str::to_owned);
        self.send(sender.from, subtype, wire, End::from(reason).body());
    }
}

fn parse<T: DeserializeOwned>(data: Option<&str>, limit: usize) -> Option<T> {
    serde_json::from_str(data.filter(|data| data.len() <= limit)?).ok()
}

/// Whether a message to `name` can reach `address`: protocol.md "Routing", without rooms.
fn covers(name: &str, address: &str) -> bool {
    match (name.split_once('|'), address.split_once('|')) {
        (None, Some((user, id))) => name == user || name == id,
        (Some((to_user, to_id)), Some((user, id))) => {
            (to_user.is_empty() || to_user == user) && (to_id.is_empty() || to_id == id)
        }
        _ => false,
    }
}
