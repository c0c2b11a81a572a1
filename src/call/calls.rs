//! The calls and the application's commands; `messages` handles what peers send.

use std::collections::{BTreeMap, VecDeque};
#[cfg(feature = "calls")]
use std::time::Duration;
use std::time::Instant;

use serde_json::value::RawValue;

use super::body::{self, Candidate, Description, End, EndReason, SdpType};
use super::messages::Sender;
use super::phase::{Call, Negotiation, Phase, Role};
use super::timers::{Timer, Timers};
use super::{CallError, CallId, Config, Event, Input, MAX_NAME, Output, State};
use crate::limit::{Buckets, RateKey};

pub(super) const INIT: &str = "call:init";
pub(super) const ACCEPT: &str = "call:accept";
/// The body of an accept whose answer follows: the offer was in the init.
const ACCEPT_WITH_OFFER: &str = r#"{"offer":true}"#;
pub(super) const REJECT: &str = "call:reject";
pub(super) const OFFER: &str = "call:offer";
pub(super) const ANSWER: &str = "call:answer";
pub(super) const CANDIDATE: &str = "call:candidate";
pub(super) const HANGUP: &str = "call:hangup";

/// All calls of one peer. See the [module](super) for the rules.
///
/// Drain [`Calls::poll_output`] after every input and command; nothing else bounds what is queued there.
/// Deadlines that have passed are handled before the input or command that comes with the later time.
pub struct Calls {
    pub(super) config: Config,
    pub(super) own: Option<String>,
    pub(super) online: bool,
    pub(super) calls: BTreeMap<CallId, Call>,
    pub(super) timers: Timers,
    /// How often peers may call, and how often a refusal is answered.
    pub(super) inits: Buckets<RateKey>,
    pub(super) answers: Buckets<RateKey>,
    /// Candidates that could not be parsed.
    pub(super) unread_candidates: u64,
    outputs: VecDeque<Output>,
    next: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tell {
    Remote,
    Nobody,
}

impl Calls {
    /// No calls yet; signalling counts as connected.
    pub fn new(config: Config) -> Self {
        Calls {
            inits: Buckets::new(config.init_rate),
            answers: Buckets::new(config.answer_rate),
            config,
            own: None,
            online: true,
            calls: BTreeMap::new(),
            timers: Timers::default(),
            unread_candidates: 0,
            outputs: VecDeque::new(),
            next: 1,
        }
    }

    /// The state of a call; `None` once it has ended.
    pub fn state(&self, id: CallId) -> Option<State> {
        self.calls.get(&id)?.state()
    }

    /// The latest known address of the call's remote.
    pub fn remote(&self, id: CallId) -> Option<&str> {
        self.calls.get(&id).filter(|call| call.state().is_some()).map(|call| call.remote.as_str())
    }

    /// Who limits count the call's remote as; `None` until it has sent something.
    #[cfg(any(feature = "camera", feature = "calls"))]
    pub(crate) fn origin(&self, id: CallId) -> Option<&RateKey> {
        self.calls.get(&id)?.origin.as_ref()
    }

    /// How many calls there may be from now on.
    #[cfg(feature = "camera")]
    pub(crate) fn set_max_calls(&mut self, max: usize) {
        self.config.max_calls = max;
    }

    /// How many candidates could not be parsed and were ignored.
    pub fn unread_candidates(&self) -> u64 {
        self.unread_candidates
    }

    /// All calls, oldest first, with their states.
    pub fn iter(&self) -> impl Iterator<Item = (CallId, State)> + '_ {
        self.calls.iter().filter_map(|(id, call)| Some((*id, call.state()?)))
    }

    /// Calls a peer: sends an init with `data`, raw JSON that describes what is wanted, or `{}`.
    ///
    /// Both sides know the call by `wire_id`. Whoever has it can speak for the remote, so make it from at
    /// least 128 random bits.
    pub fn invite(&mut self, to: &str, wire_id: &str, data: &str, now: Instant) -> Result<CallId, CallError> {
        self.init(to, wire_id, data, None, now)
    }

    /// Like [`Calls::invite`], with our offer at once: a callee that answers everybody needs one turn less. Its
    /// presence data says so with `"answers":"all"`; a callee that ignores the offer gets it again after its accept.
    /// [`Event::RemoteAnswer`] follows, and no [`Event::Accepted`].
    ///
    /// `data` must be a JSON object without an `offer`. An address that may be many devices gets the offer after the
    /// accept, since an offer is for one of them only.
    pub fn invite_with_offer(
        &mut self,
        to: &str,
        wire_id: &str,
        data: &str,
        sdp: &str,
        now: Instant,
    ) -> Result<CallId, CallError> {
        self.init(to, wire_id, data, Some(sdp), now)
    }

    fn init(
        &mut self,
        to: &str,
        wire_id: &str,
        data: &str,
        sdp: Option<&str>,
        now: Instant,
    ) -> Result<CallId, CallError> {
        self.expire(now);
        for (what, name) in [("the address", to), ("the call id", wire_id)] {
            if name.is_empty() || name.len() > MAX_NAME {
                return Err(CallError::BadName(what));
            }
        }
        if data.len() > self.config.max_init {
            return Err(CallError::TooLarge { what: "max_init", limit: self.config.max_init });
        }
        serde_json::from_str::<&RawValue>(data).map_err(|_| CallError::NotJson)?;
        let offer = sdp.map(|sdp| Description::new(SdpType::Offer, sdp));
        if offer.as_ref().is_some_and(|offer| body::json(offer).len() > self.config.max_description) {
            return Err(CallError::TooLarge { what: "max_description", limit: self.config.max_description });
        }
        let whole =
            offer.as_ref().map(|offer| body::init::with_offer(data, offer).ok_or(CallError::NotAnInit));
        let whole = whole.transpose()?.filter(|_| is_one_session(to));
        if !self.online {
            return Err(CallError::Offline);
        }
        if let Some((&id, _)) = self.calls.iter().find(|(_, call)| call.remote == to && !call.is_held())
            && !self.end_closed(id, Some(Tell::Nobody))
        {
            return Err(CallError::Exists(id));
        }
        if self.by_wire(wire_id).is_some() {
            return Err(CallError::WireIdTaken);
        }
        if self.calls.len() >= self.config.max_calls {
            return Err(CallError::Full(self.config.max_calls));
        }
        let described = whole.is_some();
        let phase = Phase::Ringing { offer: sdp.map(str::to_owned) };
        let id = self.insert(Call { described, ..Call::new(to, Some(wire_id), Role::Caller, phase) }, now);
        self.tell(id, INIT, whole.unwrap_or_else(|| data.to_owned()));
        Ok(id)
    }

    /// Accepts an incoming call. The caller's offer follows as [`Event::RemoteOffer`], at once if its init carried it.
    pub fn accept(&mut self, id: CallId, now: Instant) -> Result<(), CallError> {
        self.expire(now);
        let call = self.calls.get_mut(&id).ok_or(CallError::Unknown(id))?;
        let offer = match &mut call.phase {
            Phase::Incoming { offer } => offer.take(),
            _ => return Err(call.wrong(id, "an incoming call")),
        };
        call.phase = Phase::Connecting;
        self.timers.set(id, Timer::Connect, &self.config, now);
        // To a caller whose init carried its offer this says that it need not send it again.
        self.tell(id, ACCEPT, if offer.is_some() { ACCEPT_WITH_OFFER } else { "{}" }.into());
        self.event(Event::State { id, state: State::Connecting });
        if let Some(sdp) = offer {
            self.described(id, SdpType::Offer, sdp);
        }
        Ok(())
    }

    /// Rejects an incoming call; the caller gets the reason.
    pub fn reject(&mut self, id: CallId, end: impl Into<End>, now: Instant) -> Result<(), CallError> {
        self.expire(now);
        let call = self.calls.get(&id).ok_or(CallError::Unknown(id))?;
        if !matches!(call.phase, Phase::Incoming { .. }) {
            return Err(call.wrong(id, "an incoming call; use hangup for any other"));
        }
        self.end(id, Tell::Remote, end);
        Ok(())
    }

    /// Ends a call in any state; the remote gets the reason.
    pub fn hangup(&mut self, id: CallId, end: impl Into<End>, now: Instant) -> Result<(), CallError> {
        self.expire(now);
        self.known(id)?;
        if !self.end_closed(id, None) {
            self.end(id, Tell::Remote, end);
        }
        Ok(())
    }

    /// Sends our offer: the caller's first one after [`Event::Accepted`], and later from either side to
    /// renegotiate. One that renegotiates may be replaced by another after [`Config::answer_timeout`].
    pub fn local_offer(&mut self, id: CallId, sdp: &str, now: Instant) -> Result<(), CallError> {
        self.expire(now);
        let call = self.known(id)?;
        if !self.has_turn(id, now) {
            return Err(
                call.wrong(id, "a caller whose call was accepted, or either side when no offer is pending")
            );
        }
        let number = call.is_negotiated().then_some(call.offers + 1);
        let offer = Description { number, ..Description::new(SdpType::Offer, sdp) };
        self.describe(id, OFFER, offer, Negotiation::OursWaits, now)?;
        let call = self.calls.get_mut(&id).expect("known some statements above");
        call.offers = number.unwrap_or(0);
        Ok(())
    }

    /// Whether [`Calls::local_offer`] is for this call now, and there is a connection to the server.
    pub fn may_offer(&self, id: CallId, now: Instant) -> bool {
        self.online && self.has_turn(id, now)
    }

    fn has_turn(&self, id: CallId, now: Instant) -> bool {
        self.calls.get(&id).filter(|call| call.is_accepted()).is_some_and(|call| match call.negotiation {
            Negotiation::Fresh => call.role == Role::Caller,
            Negotiation::OursWaits => call.is_lost(&self.config, now),
            Negotiation::TheirsWaits => false,
            Negotiation::Stable => true,
        })
    }

    /// [`Config::answer_timeout`].
    #[cfg(feature = "calls")]
    pub(crate) fn answer_timeout(&self) -> Duration {
        self.config.answer_timeout
    }

    /// When our pending offer counts as lost ([`Config::answer_timeout`]); `None` if it never does, or none is pending.
    pub fn offer_lost_at(&self, id: CallId) -> Option<Instant> {
        self.calls.get(&id)?.lost_at(&self.config)
    }

    /// Sends our answer to the last [`Event::RemoteOffer`].
    pub fn local_answer(&mut self, id: CallId, sdp: &str, now: Instant) -> Result<(), CallError> {
        self.expire(now);
        let call = self.known(id)?;
        if call.negotiation != Negotiation::TheirsWaits {
            return Err(call.wrong(id, "a call with a pending remote offer"));
        }
        let answer = Description { number: call.heard, ..Description::new(SdpType::Answer, sdp) };
        self.describe(id, ANSWER, answer, Negotiation::Stable, now)
    }

    /// Leaves the last [`Event::RemoteOffer`] unanswered because what it asks for is impossible. A call that
    /// was negotiated before continues unchanged.
    pub fn refuse_offer(&mut self, id: CallId, now: Instant) -> Result<(), CallError> {
        self.expire(now);
        let call = self.known(id)?;
        if call.negotiation != Negotiation::TheirsWaits || !call.described {
            return Err(call.wrong(id, "a negotiated call with a pending remote offer"));
        }
        self.calls.get_mut(&id).expect("known four statements above").negotiation = Negotiation::Stable;
        Ok(())
    }

    /// Sends one of our candidates, in order: at once, or after our first description.
    pub fn local_candidate(
        &mut self,
        id: CallId,
        candidate: Candidate,
        now: Instant,
    ) -> Result<(), CallError> {
        self.expire(now);
        self.known(id)?;
        let data = body::json(&candidate);
        if data.len() > self.config.max_candidate {
            return Err(CallError::TooLarge { what: "max_candidate", limit: self.config.max_candidate });
        }
        let call = self.calls.get_mut(&id).expect("known two statements above");
        if call.described && self.online {
            self.tell(id, CANDIDATE, data);
        } else if call.waiting.len() < self.config.max_early_candidates {
            call.waiting.push(candidate);
        } else {
            return Err(CallError::TooManyCandidates(self.config.max_early_candidates));
        }
        Ok(())
    }

    /// Signals that we have no more candidates.
    pub fn local_candidates_done(&mut self, id: CallId, now: Instant) -> Result<(), CallError> {
        self.local_candidate(id, Candidate::end(), now)
    }

    /// The media of a call is connected, so the call becomes active. Repeating this is harmless.
    pub fn media_connected(&mut self, id: CallId, now: Instant) -> Result<(), CallError> {
        self.expire(now);
        let call = self.calls.get_mut(&id).ok_or(CallError::Unknown(id))?;
        match call.phase {
            Phase::Connecting => {
                call.phase = Phase::Active { away: false, moved: false };
                self.timers.clear(id);
                self.event(Event::State { id, state: State::Active });
                Ok(())
            }
            Phase::Active { .. } => Ok(()),
            _ => Err(call.wrong(id, "an accepted call")),
        }
    }

    /// The media of a call failed, which ends it: like [`Calls::hangup`], from any state. A peer that
    /// [vanished](EndReason::Vanished) while signalling to it is gone, too, is [lost](EndReason::Lost).
    pub fn media_failed(&mut self, id: CallId, end: impl Into<End>, now: Instant) -> Result<(), CallError> {
        let mut end = end.into();
        if end.reason == EndReason::Vanished && self.is_away(id) {
            end = EndReason::Lost.into();
        }
        self.hangup(id, end, now)
    }

    /// Whether signalling reaches the remote no more.
    fn is_away(&self, id: CallId) -> bool {
        let away = |call: &Call| matches!(call.phase, Phase::Active { away: true, .. });
        !self.online || self.calls.get(&id).is_some_and(away)
    }

    /// Handles what happened outside. Nothing a peer sends is an error here.
    pub fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        self.expire(now);
        match input {
            Input::Message { from, host, subtype, data, call } => {
                self.message(&Sender { from, origin: RateKey::new(host, from) }, subtype, data, call, now);
            }
            Input::Own { address } => self.welcomed(address, now),
            Input::PeerOffline { address } => self.peer_offline(address, now),
            Input::PeerOnline { address } => self.peer_online(address),
            Input::SignallingLost => self.signalling_lost(now),
            Input::SignallingBack => self.signalling_back(),
        }
    }

    /// The next thing to do, and finally when to ask again.
    pub fn poll_output(&mut self, now: Instant) -> Output {
        self.expire(now);
        self.outputs.pop_front().unwrap_or_else(|| Output::Timeout(self.timers.next()))
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((id, timer)) = self.timers.expired(now) {
            match timer {
                Timer::Ring | Timer::Connect => self.end(id, Tell::Remote, EndReason::Timeout),
                Timer::Resume => self.end(id, Tell::Nobody, EndReason::Offline),
                Timer::Hangup => _ = self.end_closed(id, None),
            }
        }
    }

    fn welcomed(&mut self, address: &str, now: Instant) {
        let moved = self.own.as_deref().is_some_and(|own| own != address);
        if moved && self.online {
            self.signalling_lost(now); // not reported, but the old address is gone and the server has told the remotes
        }
        self.own = Some(address.to_owned());
        self.signalling_back();
        if moved {
            let active: Vec<_> = self.iter().filter(|(_, state)| *state == State::Active).collect();
            for (id, _) in active {
                self.announce(id);
            }
        }
    }

    /// Tells the remote of an active call our new address, in a message that changes nothing: the end of
    /// candidates. It goes to all devices of the remote's user, since the remote may have moved too.
    fn announce(&mut self, id: CallId) {
        let Some(Call { wire: Some(wire), remote, phase: Phase::Active { moved, .. }, .. }) =
            self.calls.get_mut(&id)
        else {
            return;
        };
        *moved = true;
        let to = remote.split_once('|').map_or(remote.clone(), |(user, _)| format!("{user}|"));
        let wire = wire.clone();
        self.send(&to, CANDIDATE, Some(wire), body::json(&Candidate::end()));
    }

    fn peer_offline(&mut self, address: &str, now: Instant) {
        let with: Vec<_> =
            self.calls.iter().filter(|(_, c)| c.remote == address).map(|(id, _)| *id).collect();
        for id in with {
            if self.end_closed(id, Some(Tell::Nobody)) {
                continue;
            }
            match self.calls.get_mut(&id).map(|call| &mut call.phase) {
                Some(Phase::Active { away, .. }) => {
                    *away = true;
                    self.open_window(id, now);
                }
                _ => self.end(id, Tell::Nobody, EndReason::Offline),
            }
        }
    }

    fn peer_online(&mut self, address: &str) {
        if address.len() > MAX_NAME || self.calls.values().any(|call| call.remote == address) {
            return;
        }
        let user = |address: &str| address.split_once('|').map(|(user, _)| user.to_owned());
        let waits = self.calls.iter_mut().find(|(_, call)| {
            let away = matches!(call.phase, Phase::Active { away: true, .. });
            away && !call.named && user(&call.remote).is_some_and(|name| user(address) == Some(name))
        });
        let Some((&id, call)) = waits else { return };
        if let Phase::Active { away, .. } = &mut call.phase {
            *away = false;
        }
        self.moved(id, address);
        if self.online {
            self.timers.clear(id);
        }
    }

    /// The remote of an active call has another address.
    pub(super) fn moved(&mut self, id: CallId, address: &str) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.remote != address) else { return };
        address.clone_into(&mut call.remote);
        self.event(Event::Moved { id, remote: address.to_owned() });
    }

    fn signalling_lost(&mut self, now: Instant) {
        self.online = false;
        let all: Vec<_> = self.calls.keys().copied().collect();
        for id in all {
            if self.end_closed(id, Some(Tell::Nobody)) {
                continue;
            }
            match self.state(id) {
                Some(State::Active) => self.open_window(id, now),
                // The server tells the remote that we are offline, so it ends there as well.
                _ => self.end(id, Tell::Nobody, EndReason::Offline),
            }
        }
    }

    fn signalling_back(&mut self) {
        self.online = true;
        let all: Vec<_> = self.calls.keys().copied().collect();
        for id in all {
            if let Some(Call { phase: Phase::Active { away: false, .. }, .. }) = self.calls.get(&id) {
                self.timers.clear(id);
            }
            self.flush(id);
        }
    }

    /// Gives the call `resume_window` from now on, unless that is running already.
    fn open_window(&mut self, id: CallId, now: Instant) {
        if !self.timers.is_set(id) {
            self.timers.set(id, Timer::Resume, &self.config, now);
        }
    }

    /// Sends our description and the candidates that waited for it.
    pub(super) fn describe(
        &mut self,
        id: CallId,
        subtype: &'static str,
        description: Description,
        then: Negotiation,
        now: Instant,
    ) -> Result<(), CallError> {
        let data = body::json(&description);
        if data.len() > self.config.max_description {
            return Err(CallError::TooLarge { what: "max_description", limit: self.config.max_description });
        }
        if !self.online {
            return Err(CallError::Offline);
        }
        let call = self.calls.get_mut(&id).expect("the caller looked it up");
        call.negotiation = then;
        call.described = true;
        if then == Negotiation::OursWaits {
            call.offered = Some(now);
        }
        self.tell(id, subtype, data);
        self.flush(id);
        Ok(())
    }

    fn flush(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.described) else { return };
        for candidate in std::mem::take(&mut call.waiting) {
            self.tell(id, CANDIDATE, body::json(&candidate));
        }
    }

    /// Passes on a remote description and the candidates that waited for it.
    pub(super) fn described(&mut self, id: CallId, kind: SdpType, sdp: String) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let early = call.early.take();
        let event = match kind {
            SdpType::Offer => {
                call.negotiation = Negotiation::TheirsWaits;
                Event::RemoteOffer { id, sdp }
            }
            SdpType::Answer => {
                call.negotiation = Negotiation::Stable;
                Event::RemoteAnswer { id, sdp }
            }
        };
        self.event(event);
        for candidate in early.into_iter().flatten() {
            self.candidate_event(id, candidate);
        }
    }

    pub(super) fn candidate_event(&mut self, id: CallId, candidate: Candidate) {
        self.event(if candidate.is_end() {
            Event::RemoteCandidatesDone { id }
        } else {
            Event::RemoteCandidate { id, candidate }
        });
    }

    /// The only place where calls end. A held init ends with the call that holds it.
    pub(super) fn end(&mut self, id: CallId, tell: Tell, end: impl Into<End>) {
        let end = end.into();
        let Some(call) = self.calls.remove(&id) else { return };
        self.timers.clear(id);
        if tell == Tell::Remote {
            let subtype = if call.is_unanswered() { REJECT } else { HANGUP };
            self.send(&call.remote, subtype, call.wire.clone(), end.body());
        }
        if call.is_held() {
            return;
        }
        self.event(Event::Ended { id, remote: call.remote, end: end.clone() });
        log::debug!("call {id} ended");
        if let Some(held) = self.held_by(id) {
            self.end(held, tell, end);
        }
    }

    pub(super) fn insert(&mut self, call: Call, now: Instant) -> CallId {
        let id = CallId(self.next);
        self.next += 1;
        self.calls.insert(id, call);
        self.timers.set(id, Timer::Ring, &self.config, now);
        id
    }

    pub(super) fn by_wire(&self, wire: &str) -> Option<CallId> {
        self.calls.iter().find(|(_, call)| call.wire.as_deref() == Some(wire)).map(|(id, _)| *id)
    }

    pub(super) fn held_by(&self, id: CallId) -> Option<CallId> {
        self.calls
            .iter()
            .find(|(_, call)| matches!(call.phase, Phase::Held { by, .. } if by == id))
            .map(|(held, _)| *held)
    }

    pub(super) fn known(&self, id: CallId) -> Result<&Call, CallError> {
        self.calls.get(&id).filter(|call| !call.is_held()).ok_or(CallError::Unknown(id))
    }

    pub(super) fn tell(&mut self, id: CallId, subtype: &'static str, data: String) {
        if let Some(call) = self.calls.get(&id) {
            let (to, wire) = (call.remote.clone(), call.wire.clone());
            self.send(&to, subtype, wire, data);
        }
    }

    /// Without signalling nothing can be sent; the remotes find out when we are back.
    pub(super) fn send(&mut self, to: &str, subtype: &'static str, call: Option<String>, data: String) {
        if self.online {
            self.outputs.push_back(Output::Send { to: to.to_owned(), subtype, call, data });
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        if let Event::State { id, state } = &event {
            log::debug!("call {id} is {state:?}");
        }
        self.outputs.push_back(Output::Event(event));
    }
}

/// Whether an address names one session for sure.
fn is_one_session(address: &str) -> bool {
    address.split_once('|').is_some_and(|(user, id)| !user.is_empty() && !id.is_empty())
}
