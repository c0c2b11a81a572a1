//! Connects calls and their sessions: passes outputs of one as inputs to the other, and the rest to their owner.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use super::offers::Offers;
#[cfg(feature = "calls")]
use super::renegotiation::Renegotiation;
use super::seat::{AnswerPolicy, Caller, Seat};
use super::{CoreConfig, Event, Input, Output, Whence};
use crate::call::body::{Candidate, End, EndReason};
use crate::call::{self, CallError, CallId, Calls};
use crate::media::StreamId;
use crate::proto::Address;
use crate::rtc::{self, Fanout, LocalCandidate, SessionId, SessionStats, Transmit};

/// How many calls signalling accepts beyond the number of seats; we reject those with `busy` ourselves.
pub(super) const SPARE: usize = 64;

/// All calls and their sessions. See the [module](super).
///
/// Mutate it once (call a method, or pass one [`Input`]), then drain [`Core::poll_output`] until it returns
/// [`Output::Timeout`].
pub(crate) struct Core {
    pub(super) calls: Calls,
    /// Public for fuzzing.
    pub(crate) fanout: Fanout,
    pub(super) seats: BTreeMap<CallId, Seat>,
    sessions: HashMap<SessionId, CallId>,
    next_session: u64,
    pub(super) offers: Offers,
    /// The origin of the current message.
    pub(super) whence: Whence,
    pub(super) answer: AnswerPolicy,
    pub(super) max_calls: usize,
    pub(super) max_unconnected: usize,
    pub(super) out: VecDeque<Output>,
    /// The calls with an offer to make, or with an unanswered one.
    #[cfg(feature = "calls")]
    pub(super) renegotiating: BTreeSet<CallId>,
    calls_at: Option<Instant>,
    offers_at: Option<Instant>,
    fanout_at: Option<Instant>,
    /// When a datagram arrived whose consequences are not handled yet, since more may follow.
    unsettled: Option<Instant>,
}

impl Core {
    /// Creates a core without calls. Assumes that signalling is connected.
    pub(crate) fn new(config: CoreConfig, now: Instant) -> Self {
        let mut fanout = Fanout::new(config.rtc, now);
        fanout.set_streams(&config.streams);
        let calls =
            call::Config { max_calls: config.max_calls.saturating_add(SPARE), ..call::Config::default() };
        Core {
            calls: Calls::new(calls),
            fanout,
            seats: BTreeMap::new(),
            sessions: HashMap::new(),
            next_session: 0,
            offers: Offers::new(config.offer_rate, now),
            whence: Whence::Unknown,
            answer: config.answer,
            max_calls: config.max_calls,
            max_unconnected: config.max_unconnected.max(1),
            out: VecDeque::new(),
            #[cfg(feature = "calls")]
            renegotiating: BTreeSet::new(),
            calls_at: None,
            offers_at: None,
            fanout_at: None,
            unsettled: None,
        }
    }

    /// Calls a peer. `wire_id` is the call's ID on the wire, random and unguessable. `at_once` sends our offer in the
    /// init, for a peer that accepts every call.
    #[cfg(feature = "camera")]
    pub(crate) fn invite(
        &mut self,
        to: &str,
        wire_id: &str,
        at_once: bool,
        now: Instant,
    ) -> Result<CallId, CallError> {
        let session = self.new_session();
        self.begin(to, wire_id, "{}", at_once, session, now)
    }

    /// Does the same with a direction for each lane, and `data`, a JSON object, for the peer.
    #[cfg(feature = "calls")]
    pub(crate) fn call(
        &mut self,
        to: &str,
        wire_id: &str,
        data: &str,
        at_once: bool,
        wanted: super::wish::Wanted,
        now: Instant,
    ) -> Result<CallId, CallError> {
        let session = self.new_session();
        self.fanout.set_directions(session, wanted.directions);
        self.fanout.set_channels(session, wanted.channels);
        let call = self.begin(to, wire_id, data, at_once, session, now)?;
        self.set_channels(call, wanted.channels);
        Ok(call)
    }

    /// Sets what a call sends and receives, from its next description on. With the feature `calls`, makes an offer if
    /// the call was described before. At [`Event::Incoming`] or [`Event::Calling`] a caller's offer is not answered
    /// yet, since the answer waits for an [`Input::Timeout`].
    #[cfg(any(feature = "calls", feature = "talk", feature = "relay"))]
    pub(crate) fn set_directions(&mut self, call: CallId, directions: rtc::Directions, now: Instant) {
        let Some(seat) = self.seats.get(&call) else { return };
        self.fanout.set_directions(seat.session, directions);
        #[cfg(feature = "calls")]
        self.change(call);
        self.settle(now);
    }

    /// Limits what the other side of a call sends, in bit/s.
    #[cfg(feature = "relay")]
    pub(crate) fn limit_received(&mut self, call: CallId, bps: u32, now: Instant) {
        let Some(seat) = self.seats.get(&call) else { return };
        self.fanout.limit_received(seat.session, Some(bps), now);
        self.settle(now);
    }

    /// Requests a key frame from the other side of a call.
    #[cfg(any(feature = "calls", feature = "relay"))]
    pub(crate) fn request_key_frame(&mut self, call: CallId, stream: StreamId, now: Instant) {
        let Some(seat) = self.seats.get(&call) else { return };
        self.fanout.request_key_frame(seat.session, stream, now);
        self.settle(now);
    }

    fn begin(
        &mut self,
        to: &str,
        wire_id: &str,
        data: &str,
        at_once: bool,
        session: SessionId,
        now: Instant,
    ) -> Result<CallId, CallError> {
        if !self.make_room(None, now) {
            self.fanout.close(session, now);
            return Err(CallError::Full(self.max_calls));
        }
        // An error of this offer will occur again, and be handled, after the accept.
        let offer = if at_once { self.fanout.offer(session, now).ok() } else { None };
        let invited = match &offer {
            Some(offer) => self.calls.invite_with_offer(to, wire_id, data, &offer.sdp, now),
            None => self.calls.invite(to, wire_id, data, now),
        };
        let call = invited.inspect_err(|_| self.fanout.close(session, now))?;
        self.seat(call, to, session, None);
        self.go_on(call);
        if offer.is_some() {
            #[cfg(feature = "calls")]
            self.described(call);
            self.end_candidates(call, now);
        }
        self.settle(now);
        Ok(call)
    }

    /// Ends a call, in any state.
    pub(crate) fn hang_up(&mut self, call: CallId, end: End, now: Instant) -> Result<(), CallError> {
        self.calls.hangup(call, end, now)?;
        self.settle(now);
        Ok(())
    }

    /// Ends every call, including those that are not connected yet. Returns how many.
    pub(crate) fn hang_up_all(&mut self, end: &End, now: Instant) -> usize {
        let calls: Vec<CallId> = self.seats.keys().copied().collect();
        for call in &calls {
            _ = self.calls.hangup(*call, end.clone(), now);
        }
        self.settle(now);
        calls.len()
    }

    /// Sets the addresses at which calls can reach us, those that go on too, and those at which they no longer can.
    pub(crate) fn set_candidates(&mut self, candidates: Vec<LocalCandidate>, gone: &[IpAddr], now: Instant) {
        self.fanout.set_candidates(candidates);
        self.fanout.lose_addresses(gone, now);
        self.settle(now);
    }

    /// Returns the statistics of a call's session.
    pub(crate) fn stats(&self, call: CallId) -> Option<SessionStats> {
        self.fanout.stats(self.seats.get(&call)?.session)
    }

    /// Returns the address of a call's remote.
    #[cfg(feature = "calls")]
    pub(crate) fn peer(&self, call: CallId) -> Option<Address> {
        Some(self.seats.get(&call)?.peer.clone())
    }

    #[cfg(feature = "calls")]
    pub(crate) fn state(&self, call: CallId) -> Option<call::State> {
        self.calls.state(call)
    }

    pub(crate) fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Online { address } => {
                self.calls.handle_input(call::Input::Own { address }, now);
                self.name_found_again(now);
            }
            Input::Offline => self.calls.handle_input(call::Input::SignallingLost, now),
            Input::PeerGone { address } => self.calls.handle_input(call::Input::PeerOffline { address }, now),
            Input::PeerThere { address } => self.calls.handle_input(call::Input::PeerOnline { address }, now),
            Input::Message { from, whence, subtype, data, call } => {
                self.whence = whence;
                let host = whence.host();
                self.calls.handle_input(call::Input::Message { from, host, subtype, data, call }, now);
            }
            #[cfg(any(feature = "camera", feature = "calls"))]
            Input::Frame(frame) => self.fanout.handle_input(rtc::Input::Frame(frame), now),
            Input::Datagram { path, data } => {
                self.fanout.handle_input(rtc::Input::Datagram { path, data }, now);
                self.unsettled = Some(now);
                return;
            }
            Input::Timeout => {
                self.fanout.handle_input(rtc::Input::Timeout, now);
                // One at a time: in between, the driver handles frames and datagrams.
                self.take_offer(now);
            }
        }
        self.settle(now);
    }

    /// Returns the next datagram to send. Call it while the socket accepts data, followed by
    /// [`poll_output`](Self::poll_output).
    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        let transmit = self.fanout.poll_transmit(now);
        if transmit.is_none() {
            // Late frames are dropped, which may cause events.
            self.settle(now);
        }
        transmit
    }

    /// Call this after a timeout was handled: it measures how long answering an offer took.
    #[cfg(feature = "camera")]
    pub(crate) fn pause_offers(&mut self, now: Instant) {
        self.offers.pause(now);
        self.offers_at = self.offers.poll_timeout(now);
    }

    pub(crate) fn poll_output(&mut self) -> Output {
        if let Some(now) = self.unsettled {
            self.settle(now);
        }
        self.out.pop_front().unwrap_or_else(|| {
            let times = [self.calls_at, self.offers_at, self.fanout_at, self.offer_again_at()];
            Output::Timeout(times.into_iter().flatten().min())
        })
    }

    /// Exchanges outputs between calls and sessions until neither has more.
    pub(super) fn settle(&mut self, now: Instant) {
        self.unsettled = None;
        loop {
            let mut quiet = true;
            loop {
                match self.calls.poll_output(now) {
                    call::Output::Timeout(at) => break self.calls_at = at,
                    call::Output::Send { to, subtype, call, data } => {
                        self.out.push_back(Output::Send { to, subtype, call, data });
                    }
                    call::Output::Event(event) => self.call_event(event, now),
                }
                quiet = false;
            }
            loop {
                match self.fanout.poll_output() {
                    rtc::Output::Timeout(at) => break self.fanout_at = Some(at),
                    #[cfg(feature = "camera")]
                    rtc::Output::Wake(shard) => self.out.push_back(Output::Wake(shard)),
                    // Without further drivers, there are no shards.
                    #[cfg(not(feature = "camera"))]
                    rtc::Output::Wake(_) => {}
                    rtc::Output::Event(event) => {
                        self.rtc_event(event, now);
                        quiet = false;
                    }
                }
            }
            // Only now: an answer queued above belongs to the previous offer.
            #[cfg(feature = "calls")]
            let quiet = quiet && !self.renegotiate(now);
            if quiet {
                break;
            }
        }
        self.offers_at = self.offers.poll_timeout(now);
    }

    fn call_event(&mut self, event: call::Event, now: Instant) {
        match event {
            call::Event::Incoming { id, from, data, .. } => self.incoming(id, &from, data, now),
            call::Event::Accepted { id } => {
                let Some(seat) = self.seats.get(&id) else { return };
                match self.fanout.offer(seat.session, now) {
                    Ok(offer) => self.describe(id, &offer.sdp, Calls::local_offer, now),
                    Err(refusal) => self.refuse(id, &refusal, now),
                }
            }
            call::Event::RemoteOffer { id, sdp } => {
                #[cfg(feature = "calls")]
                self.gave_way(id);
                if let (true, Some(origin)) = (self.seats.contains_key(&id), self.calls.origin(id)) {
                    self.offers.push(id, origin.clone(), sdp);
                }
            }
            call::Event::RemoteAnswer { id, sdp } => {
                let Some(seat) = self.seats.get(&id) else { return };
                let answered = self.fanout.answer(seat.session, &sdp, now);
                #[cfg(feature = "calls")]
                let goes_on = self.answered(id);
                #[cfg(not(feature = "calls"))]
                let goes_on = false;
                match answered {
                    Ok(answered) => self.agree(id, answered.streams),
                    Err(refusal) if goes_on => {
                        log::info!("call {id}: cannot use the answer to a renegotiation: {}", refusal.code());
                    }
                    Err(refusal) => self.refuse(id, &refusal, now),
                }
            }
            call::Event::RemoteCandidate { id, candidate } => {
                if let Some(candidate) = self.offers.hold(id, candidate) {
                    self.add_candidate(id, &candidate);
                }
            }
            call::Event::Moved { id, remote } => {
                if let Some(seat) = self.seats.get_mut(&id) {
                    seat.peer = Address::from(remote.as_str());
                }
            }
            call::Event::Ended { id, remote, end } => self.leave(id, &remote, end, now),
            _ => {}
        }
    }

    fn rtc_event(&mut self, event: rtc::Event, now: Instant) {
        match event {
            rtc::Event::Connected { session } => {
                let Some(&call) = self.sessions.get(&session) else { return };
                self.join(call, now);
            }
            rtc::Event::KeyFrameWanted { session, stream, reason } => {
                let Some(&call) = self.sessions.get(&session) else { return };
                self.emit(Event::KeyFrameWanted { call, stream, reason });
            }
            rtc::Event::Estimate { session, bps } => {
                let Some(&call) = self.sessions.get(&session) else { return };
                self.emit(Event::Estimate { call, bps });
            }
            rtc::Event::Candidate { session, candidate, mid } => {
                let Some(&call) = self.sessions.get(&session) else { return };
                let candidate = Candidate { sdp_mid: mid, ..Candidate::new(candidate) };
                self.name_candidate(call, candidate.clone(), now);
                let seat = self.seats.get_mut(&call).expect("sessions and seats are kept together");
                seat.found.push(candidate);
            }
            #[cfg(feature = "recv")]
            rtc::Event::Frame { session, frame } => {
                let Some(&call) = self.sessions.get(&session) else { return };
                self.emit(Event::Frame { call, frame });
            }
            rtc::Event::Closed { session, end } => {
                let Some(&id) = self.sessions.get(&session) else { return };
                _ = match end.reason {
                    // The other side closed the session, so its offers are void.
                    EndReason::Ended => {
                        self.offers.remove(id);
                        self.calls.media_closed(id, end, now)
                    }
                    _ => self.calls.media_failed(id, end, now),
                };
            }
            #[cfg(any(feature = "calls", feature = "channels"))]
            other => self.channel_event(other),
            // Without them, no session has channels.
            #[cfg(not(any(feature = "calls", feature = "channels")))]
            _ => {}
        }
    }

    #[cfg(any(feature = "calls", feature = "channels"))]
    pub(super) fn call_of(&self, session: SessionId) -> Option<CallId> {
        self.sessions.get(&session).copied()
    }

    /// Answers the next offer in the queue.
    fn take_offer(&mut self, now: Instant) {
        let Some(offer) = self.offers.pop(now) else { return };
        let Some(seat) = self.seats.get(&offer.id) else { return };
        let goes_on = self.fanout.contains(seat.session);
        match self.fanout.accept(seat.session, &offer.sdp, now) {
            Ok(answer) => {
                self.agree(offer.id, answer.streams);
                self.describe(offer.id, &answer.sdp, Calls::local_answer, now);
            }
            Err(refusal) if goes_on => {
                log::info!("call {}: refused a renegotiation: {}", offer.id, refusal.code());
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

    fn add_candidate(&mut self, call: CallId, candidate: &Candidate) {
        let Some(seat) = self.seats.get(&call) else { return };
        if let Err(refusal) = self.fanout.add_remote_candidate(seat.session, &candidate.candidate) {
            log::debug!("call {call}: ignored a candidate: {}", refusal.code());
        }
    }

    fn name_candidate(&mut self, call: CallId, candidate: Candidate, now: Instant) {
        if let Err(e) = self.calls.local_candidate(call, candidate, now) {
            log::debug!("call {call}: cannot name a candidate: {e}");
        }
    }

    /// Names the candidates again that were found during calls: when addresses change, the connection to the server may
    /// be lost before it is noticed, and all that was sent by it.
    fn name_found_again(&mut self, now: Instant) {
        let found = |(id, seat): (&CallId, &Seat)| {
            seat.found.iter().map(|candidate| (*id, candidate.clone())).collect::<Vec<_>>()
        };
        for (call, candidate) in self.seats.iter().flat_map(found).collect::<Vec<_>>() {
            self.name_candidate(call, candidate, now);
        }
    }

    /// Returns when to repeat an offer.
    #[cfg(not(feature = "calls"))]
    fn offer_again_at(&self) -> Option<Instant> {
        None
    }

    pub(super) fn new_session(&mut self) -> SessionId {
        let session = SessionId(self.next_session);
        self.next_session += 1;
        session
    }

    pub(super) fn seat(&mut self, call: CallId, remote: &str, session: SessionId, caller: Option<Caller>) {
        let (peer, takes) = (Address::from(remote), BTreeSet::new());
        self.seats.insert(
            call,
            Seat {
                session,
                caller,
                peer,
                takes,
                found: vec![],
                joined: false,
                #[cfg(feature = "calls")]
                renegotiation: Renegotiation::default(),
                #[cfg(feature = "calls")]
                wants_channels: false,
            },
        );
        self.sessions.insert(session, call);
    }

    fn agree(&mut self, call: CallId, streams: BTreeSet<StreamId>) {
        let Some(seat) = self.seats.get_mut(&call) else { return };
        seat.takes.clone_from(&streams);
        #[cfg(feature = "calls")]
        seat.renegotiation.agree();
        self.emit(Event::Takes { call, streams });
        #[cfg(feature = "calls")]
        self.settle_channels(call);
    }

    /// Sends our description, followed by the end of candidates, since the description contains all of them.
    pub(super) fn describe(
        &mut self,
        call: CallId,
        sdp: &str,
        hand_over: impl FnOnce(&mut Calls, CallId, &str, Instant) -> Result<(), CallError>,
        now: Instant,
    ) {
        match hand_over(&mut self.calls, call, sdp, now) {
            Ok(()) => {
                if let Some(seat) = self.seats.get_mut(&call) {
                    seat.found.clear();
                }
                #[cfg(feature = "calls")]
                self.described(call);
                self.end_candidates(call, now);
            }
            Err(e) => log::debug!("call {call}: {e}"),
        }
    }

    fn end_candidates(&mut self, call: CallId, now: Instant) {
        if let Err(e) = self.calls.local_candidates_done(call, now) {
            log::debug!("call {call}: {e}");
        }
    }

    fn refuse(&mut self, call: CallId, refusal: &rtc::Refusal, now: Instant) {
        log::info!("refused call {call}: {}", refusal.code());
        _ = self.calls.hangup(call, refusal.end(), now);
    }

    /// Reports that a call proceeds.
    pub(super) fn go_on(&mut self, call: CallId) {
        if let Some(seat) = self.seats.get(&call) {
            let peer = seat.peer.clone();
            self.emit(Event::Calling { call, peer });
        }
    }

    fn join(&mut self, call: CallId, now: Instant) {
        _ = self.calls.media_connected(call, now);
        let seat = self.seats.get_mut(&call).expect("sessions and seats are kept together");
        seat.joined = true;
        self.emit(Event::Joined { call });
    }

    /// The one place where a call and its session end.
    pub(super) fn leave(&mut self, call: CallId, remote: &str, end: End, now: Instant) {
        let Some(seat) = self.seats.remove(&call) else { return };
        #[cfg(feature = "calls")]
        self.renegotiating.remove(&call);
        self.sessions.remove(&seat.session);
        self.offers.remove(call);
        self.fanout.close(seat.session, now);
        self.emit(match seat.joined {
            true => Event::Left { call, peer: seat.peer, takes: seat.takes, end },
            false => Event::Failed { call, peer: remote.into(), end },
        });
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    /// Acts as if a session had reported that its media is connected.
    #[cfg(all(test, feature = "camera"))]
    pub(crate) fn connect(&mut self, peer: &str, now: Instant) {
        let found = self.seats.iter().find(|(_, seat)| seat.peer.as_str() == peer);
        let call = *found.expect("it called").0;
        self.join(call, now);
        self.settle(now);
    }
}
