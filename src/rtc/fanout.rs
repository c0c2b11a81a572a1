//! All viewers of a source, in one shard or several.

mod channels;
mod cutting;
mod incoming;
#[cfg(feature = "recv")]
mod receive;
mod sessions;
mod shard;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::directory::Directory;
use super::guard::contained;
use super::ids::ById;
use super::refusal::Refusal;
use super::send::ntp::Wall;
use super::send::select::Serving;
use super::session::sdp::Remote;
use super::session::supply::{Supply, is_carried};
use super::session::{Session, Shared};
use super::{
    Answer, Answered, Config, Event, Input, LocalCandidate, Offer, Output, SessionId, SessionStats, ShardId,
    Totals, Transmit,
};
use crate::media::{Frame, StreamInfo};
use cutting::Cutting;
use sessions::{Counts, Sessions};
use shard::Cell;
pub use shard::Shard;

/// Goodbyes that wait for the socket: some for each of the sessions that there may be by default.
const MAX_GOODBYES: usize = 1024;

/// One encoded stream to many viewers. See the [module](super).
pub struct Fanout {
    shared: Arc<Shared>,
    supply: Arc<Supply>,
    directory: Arc<Directory>,
    /// The first one is the fan-out's own; one that nobody drives has no sessions.
    shards: Vec<Arc<Cell>>,
    /// In which shard each session is.
    places: ById<SessionId, usize>,
    /// What sessions send and receive that differ from others, those to come too.
    #[cfg(feature = "recv")]
    directions: ById<SessionId, super::Directions>,
    /// Sessions, those to come too, that have data channels, or have none whatever is offered.
    with_channels: ById<SessionId, bool>,
    cutting: Cutting,
    /// What says so to viewers whose sessions are forgotten.
    goodbyes: VecDeque<Transmit>,
    events: VecDeque<Event>,
    /// Shards that have something to do.
    wakes: VecDeque<ShardId>,
    /// What is not counted in the shards.
    totals: Totals,
    now: Instant,
}

impl Fanout {
    /// Creates a fan-out without sessions. All sessions share a DTLS certificate, which is created with the first one.
    pub fn new(config: Config, now: Instant) -> Fanout {
        let crypto = Arc::new(super::crypto::provider());
        let shared = Arc::new(Shared {
            wall: Wall::new(config.wall_clock, now),
            config,
            crypto,
            certificate: Arc::new(OnceLock::new()),
            start: now,
        });
        let (supply, directory) = (Arc::new(Supply::default()), Arc::new(Directory::new(now)));
        let own = Sessions::new(shared.clone(), supply.clone(), directory.clone(), now);
        Fanout {
            shared,
            supply,
            directory,
            shards: vec![Arc::new(Cell::new(own))],
            places: ById::default(),
            #[cfg(feature = "recv")]
            directions: ById::default(),
            with_channels: ById::default(),
            cutting: Cutting::new(now),
            goodbyes: VecDeque::new(),
            events: VecDeque::new(),
            wakes: VecDeque::new(),
            totals: Totals::default(),
            now,
        }
    }

    /// A shard for another driver, possibly on another thread: it gets its share of the sessions, now and whenever some
    /// come or go, and sends for them. All inputs still come here.
    pub fn shard(&mut self) -> Shard {
        let free = (1..self.shards.len()).find(|at| !self.shards[*at].is_driven());
        let at = free.unwrap_or_else(|| {
            let another = self.shards[0].look(Sessions::another);
            self.shards.push(Arc::new(Cell::new(another)));
            self.shards.len() - 1
        });
        let cell = self.shards[at].clone();
        cell.driven.store(true, Ordering::Release);
        self.balance();
        Shard::new(ShardId(at), cell)
    }

    /// Sets the streams to send, per kind in order of preference: each viewer gets the first one that it can decode. If
    /// several have the same codec, the best rendition is offered. Codecs that are not sent over RTP (JPEG) are ignored.
    /// A stream whose codec may change is listed once with each codec: sessions agree on all of them that the viewer
    /// supports, and follow the stream from a key frame of one to that of another without another description.
    /// Call this again when a format changes, because it determines the H.264 level offered to new sessions. Existing
    /// sessions keep what they negotiated.
    pub fn set_streams(&mut self, streams: &[StreamInfo]) {
        Arc::make_mut(&mut self.supply).set(streams);
        for shard in &self.shards {
            shard.with(self.now, |sessions| sessions.supply = self.supply.clone());
        }
    }

    /// Sets the candidates of new sessions, for instance after a network change. Existing sessions also check from those
    /// that they did not have before, but for loopback, and [`Event::Candidate`] names them to the other side.
    /// Candidates that are missing here remain in existing sessions: see [`lose_addresses`](Self::lose_addresses).
    pub fn set_candidates(&mut self, candidates: Vec<LocalCandidate>) {
        if self.shared.config.candidates == candidates {
            return;
        }
        Arc::make_mut(&mut self.shared).config.candidates = candidates;
        self.share();
        for at in 0..self.shards.len() {
            self.with(at, Sessions::find_candidates);
        }
        self.collect();
    }

    /// Handles that this machine no longer has these addresses: existing sessions stop using them. What is sent from
    /// one of them moves to the best path that is left, or to the next one on which the other side answers. An address
    /// that comes back is in [`set_candidates`](Self::set_candidates) again.
    pub fn lose_addresses(&mut self, gone: &[IpAddr], now: Instant) {
        self.tick(now);
        for at in 0..self.shards.len() {
            self.with(at, |sessions| sessions.lose_addresses(gone));
        }
        self.collect();
    }

    /// Looks for no more bandwidth than this from now on, in bit/s, in sessions that exist too.
    pub fn set_max_bitrate(&mut self, bps: u32) {
        Arc::make_mut(&mut self.shared).config.max_bitrate = bps;
        self.share();
        for at in 0..self.shards.len() {
            self.with(at, |sessions| sessions.set_max_bitrate(bps));
        }
        self.collect();
    }

    fn share(&self) {
        for shard in &self.shards {
            shard.with(self.now, |sessions| sessions.shared = self.shared.clone());
        }
    }

    /// Answers a viewer's offer. If the session exists and the offer is from the same peer connection, it is
    /// renegotiated, and continues unchanged if that is refused. An offer from another peer connection (the page was
    /// reloaded) replaces the session.
    pub fn accept(&mut self, id: SessionId, offer: &str, now: Instant) -> Result<Answer, Refusal> {
        self.tick(now);
        let remote = self.refused(contained(|| Remote::parse(offer)))?;
        let exists = self.look(id, |session| session.is_with(&remote));
        let answer = if let (Some(true), Some(at)) = (exists, self.places.get(&id).copied()) {
            self.with(at, |sessions| sessions.renegotiate(id, &remote))
        } else {
            self.check_room(exists.is_some())?;
            let supply = self.supply_of(id);
            let made = contained(|| Session::accept(id, &self.shared, &remote, &supply, self.now));
            let (session, answer) = self.refused(made)?;
            self.take_out(id);
            self.insert(id, session);
            Ok(answer)
        };
        self.collect();
        answer
    }

    /// Creates an offer, which then waits for [`answer`](Self::answer): send-only audio and video, as far as there are
    /// streams. With the feature `recv`, `set_directions` says what else it is for.
    ///
    /// In a session that exists it is a renegotiation: of the directions that were set and the streams that there are
    /// now. Nothing changes before the answer is applied; [`accept`](Self::accept), [`roll_back`](Self::roll_back) and
    /// another offer make this one void.
    ///
    /// # Errors
    ///
    /// [`Refusal::SessionExists`] if the first offer of the session is not answered yet.
    pub fn offer(&mut self, id: SessionId, now: Instant) -> Result<Offer, Refusal> {
        self.tick(now);
        if let Some(at) = self.places.get(&id).copied() {
            let offer = self.with(at, |sessions| sessions.offer_again(id));
            self.collect();
            return offer;
        }
        self.check_room(false)?;
        let supply = self.supply_of(id);
        let made = contained(|| Session::offer(id, &self.shared, &supply, self.now));
        let (session, sdp) = self.refused(made)?;
        self.insert(id, session);
        self.collect();
        Ok(Offer { sdp })
    }

    /// Applies the answer to our offer. If the answer cannot be parsed, the offer stays open. After any other error, a
    /// session whose first offer it was is of no use: close it; a renegotiation is void, and the session continues
    /// unchanged.
    pub fn answer(&mut self, id: SessionId, answer: &str, now: Instant) -> Result<Answered, Refusal> {
        self.tick(now);
        let at = self.places.get(&id).copied().ok_or(Refusal::UnknownSession)?;
        let remote = self.refused(contained(|| Remote::parse(answer)))?;
        let answered = self.with(at, |sessions| sessions.answer(id, &remote));
        self.collect();
        answered
    }

    /// Takes back an offer that renegotiates a session: nothing was changed by it. Does nothing if none is open.
    pub fn roll_back(&mut self, id: SessionId) {
        self.step(id, |session, _, _| session.roll_back());
        self.collect();
    }

    /// Adds a remote candidate (`candidate:…`). Unusable ones are ignored: with an mDNS name, over TCP, for RTCP, or at
    /// an address that is never sent to. Of the rest, a session accepts 64 in its lifetime, including those in
    /// descriptions, and checks 16; any beyond that are ignored and counted
    /// ([`SessionStats::candidates_ignored`]). An error never affects the session.
    pub fn add_remote_candidate(&mut self, id: SessionId, candidate: &str) -> Result<(), Refusal> {
        let at = self.places.get(&id).copied().ok_or(Refusal::UnknownSession)?;
        let added = self.with(at, |sessions| sessions.add_remote_candidate(id, candidate));
        self.collect();
        added
    }

    /// Selects what a session is sent of its video, if it exists: another rendition, key frames only, or nothing. The
    /// stream must have the codec that was negotiated; until a key frame of it arrives, the stream before continues.
    /// Nothing is renegotiated. The selection lasts through renegotiations.
    pub fn serve(&mut self, id: SessionId, serving: Serving, now: Instant) {
        self.tick(now);
        self.step(id, |session, now, sink| session.serve(serving, now, sink));
        self.collect();
    }

    /// Sends a session no audio, or sends it again; nothing is renegotiated. It lasts through renegotiations, and as long as
    /// the session.
    pub fn set_silent(&mut self, id: SessionId, is_silent: bool, now: Instant) {
        self.tick(now);
        self.step(id, |session, _, _| session.set_silent(is_silent));
        self.collect();
    }

    /// The local candidates of a session (`candidate:…`), for trickle ICE. Its description already has them all.
    pub fn local_candidates(&self, id: SessionId) -> Vec<String> {
        self.look(id, |session| session.local_candidates().to_vec()).unwrap_or_default()
    }

    /// Closes a session: queues the goodbye to the viewer and removes the session. Does nothing if it does not exist.
    pub fn close(&mut self, id: SessionId, now: Instant) {
        self.tick(now);
        #[cfg(feature = "recv")]
        self.directions.remove(&id);
        self.with_channels.remove(&id);
        self.take_out(id);
    }

    /// Removes a session, with a goodbye.
    fn take_out(&mut self, id: SessionId) {
        let Some(at) = self.places.remove(&id) else { return };
        for goodbye in self.with(at, |sessions| sessions.close(id)) {
            if self.goodbyes.len() < MAX_GOODBYES {
                self.goodbyes.push_back(goodbye);
            } else {
                self.totals.goodbyes_dropped += 1;
            }
        }
        self.balance();
    }

    /// Handles an input. `now` must never go backwards.
    pub fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        self.tick(now);
        match input {
            Input::Datagram { path, data } => {
                // What looks for the session reads only; what changes one is contained in its step.
                let done = contained(|| self.handle_datagram(path.canonical(), data));
                self.totals.panics += u64::from(done.is_none());
            }
            Input::Frame(frame) => self.handle_frame(frame),
            Input::Timeout => self.with(0, Sessions::handle_timeout),
        }
        self.collect();
    }

    /// The next output. Drain it until it returns [`Output::Timeout`].
    pub fn poll_output(&mut self) -> Output {
        self.collect();
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        if let Some(shard) = self.wakes.pop_front() {
            return Output::Wake(shard);
        }
        Output::Timeout(self.shards[0].look(Sessions::deadline))
    }

    /// The next data to send in one system call; `None` if there is nothing more. Call it only while the socket accepts
    /// data, and before [`poll_output`](Self::poll_output), because sending may cause events. Unsent data stays in its
    /// session, which drops whole frames, up to a key frame, when they wait too long ([`Skipped`](super::Skipped)).
    /// Sessions take turns; packets that keep calls alive go before frames.
    ///
    /// What the sessions in a [`Shard`] have to send comes from there.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        self.tick(now);
        if let Some(goodbye) = self.goodbyes.pop_front() {
            return Some(goodbye);
        }
        self.shards[0].poll_transmit(self.now)
    }

    /// The IDs of all sessions.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.places.keys().copied()
    }

    /// Whether there is a session with this ID.
    pub fn contains(&self, id: SessionId) -> bool {
        self.places.contains_key(&id)
    }

    /// Statistics of one session.
    pub fn stats(&self, id: SessionId) -> Option<SessionStats> {
        let shard = ShardId(*self.places.get(&id)?);
        self.look(id, |session| SessionStats { shard, ..session.stats() })
    }

    /// Statistics of all sessions together.
    pub fn totals(&self) -> Totals {
        let (checks, checks_held) = self.directory.checks();
        let mut totals = Totals { cut: self.cutting.count, checks, checks_held, ..self.totals };
        self.shards.iter().for_each(|shard| add(&mut totals, shard.look(|sessions| sessions.counts)));
        totals
    }

    fn handle_frame(&mut self, frame: &Frame) {
        self.totals.frames += 1;
        let (stream, codec) = (frame.stream, frame.codec);
        if !is_carried(codec) {
            return;
        }
        let timestamp = self.cutting.place(frame);
        if !self.shards.iter().any(|shard| shard.look(|sessions| sessions.follow(stream, codec))) {
            self.cutting.drop_waiting(stream);
            for shard in &self.shards {
                shard.with(self.now, |sessions| sessions.drop_recent(stream));
            }
            return;
        }
        let per_packet = self.shared.config.audio_packet;
        let Some(parcel) = self.cutting.cut(frame, timestamp, per_packet, self.now) else { return };
        let parcel = Arc::new(parcel);
        // Other drivers begin before this one goes on.
        for at in (0..self.shards.len()).rev() {
            self.with(at, |sessions| sessions.handle_frame(&parcel));
        }
    }

    fn tick(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.collect();
    }

    fn check_room(&self, exists: bool) -> Result<(), Refusal> {
        let limit = self.shared.config.max_sessions;
        if exists || self.places.len() < limit { Ok(()) } else { Err(Refusal::Full { limit }) }
    }

    /// What a session would do in a call.
    fn supply_of(&self, id: SessionId) -> Arc<Supply> {
        let data = self.data_of(id);
        #[cfg(feature = "recv")]
        if let Some(directions) = self.directions.get(&id) {
            return Arc::new(self.supply.directed(directions).with_data(data));
        }
        if data == self.supply.data() {
            return self.supply.clone();
        }
        Arc::new(Supply::clone(&self.supply).with_data(data))
    }

    /// Puts a new session into the shard with the fewest.
    fn insert(&mut self, id: SessionId, session: Session) {
        #[cfg(feature = "recv")]
        let session = self.directed(id, session);
        let session = self.with_channels(id, session);
        let sizes = self.sizes();
        let at = self.drivable().min_by_key(|at| sizes[*at]).expect("the fan-out's own");
        self.places.insert(id, at);
        self.with(at, |sessions| sessions.insert(id, session));
    }

    /// Reads from a session.
    fn look<R>(&self, id: SessionId, look: impl FnOnce(&Session) -> R) -> Option<R> {
        let shard = &self.shards[*self.places.get(&id)?];
        shard.look(|sessions| sessions.get(id).map(look))
    }

    /// Lets the sessions of a shard do something, and notices if its driver has to know.
    fn with<R>(&mut self, at: usize, act: impl FnOnce(&mut Sessions) -> R) -> R {
        if at == 0 {
            return self.shards[at].with(self.now, act);
        }
        let (result, calls) = self.shards[at].with(self.now, |sessions| {
            let before = sessions.deadline();
            let result = act(sessions);
            (result, sessions.has_turns() || sessions.deadline() < before)
        });
        let id = ShardId(at);
        if calls && !self.wakes.contains(&id) {
            self.wakes.push_back(id);
        }
        result
    }

    /// The shards that sessions may be in.
    fn drivable(&self) -> impl Iterator<Item = usize> {
        (0..self.shards.len()).filter(|at| *at == 0 || self.shards[*at].is_driven())
    }

    /// How many sessions each shard has.
    pub(super) fn sizes(&self) -> Vec<usize> {
        let mut sizes = vec![0; self.shards.len()];
        self.places.values().for_each(|at| sizes[*at] += 1);
        sizes
    }

    /// Takes over what the shards have to say, and the sessions that nobody drives any more.
    fn collect(&mut self) {
        let mut fewer = false;
        for at in 0..self.shards.len() {
            let shard = &self.shards[at];
            if shard.has_events() {
                let events = shard.take_events();
                for event in &events {
                    if let Event::Closed { session, .. } = event {
                        self.places.remove(session);
                        #[cfg(feature = "recv")]
                        self.directions.remove(session);
                        self.with_channels.remove(session);
                        fewer = true;
                    }
                }
                self.events.extend(events);
            }
            fewer |= at > 0 && !self.shards[at].is_driven();
        }
        if fewer {
            self.balance();
        }
    }

    /// Moves sessions until all shards have as many, but for one.
    fn balance(&mut self) {
        if self.shards.len() == 1 {
            return;
        }
        let mut sizes = self.sizes();
        let to_all: Vec<usize> = self.drivable().collect();
        loop {
            let to = *to_all.iter().min_by_key(|at| sizes[**at]).expect("the fan-out's own");
            let left = (0..sizes.len()).find(|at| sizes[*at] > 0 && !to_all.contains(at));
            let most = to_all.iter().copied().max_by_key(|at| sizes[*at]);
            let Some(from) = left.or(most.filter(|at| sizes[*at] > sizes[to] + 1)) else { break };
            // One that just ended is still counted.
            let Some((id, session)) = self.with(from, Sessions::give) else { break };
            self.places.insert(id, to);
            self.with(to, |sessions| sessions.receive(id, session));
            sizes[from] -= 1;
            sizes[to] += 1;
        }
        let ended = |last: usize| last > 0 && sizes[last] == 0 && !to_all.contains(&last);
        while ended(self.shards.len() - 1) {
            let last = self.shards.pop().expect("there is the fan-out's own, and another");
            add(&mut self.totals, last.look(|sessions| sessions.counts));
        }
    }

    /// What work outside any session returned; if it panicked, nothing came of it.
    fn refused<T>(&mut self, done: Option<Result<T, Refusal>>) -> Result<T, Refusal> {
        self.totals.panics += u64::from(done.is_none());
        done.unwrap_or_else(|| Err(Refusal::panicked()))
    }

    /// Frames that wait for the socket, for one viewer at most; and datagrams that do, over all of them.
    #[cfg(test)]
    pub(super) fn waiting(&mut self) -> (usize, usize) {
        let each: Vec<(usize, usize)> = self
            .shards
            .iter()
            .flat_map(|shard| {
                shard.with(self.now, |sessions| sessions.all_mut().map(Session::waiting).collect::<Vec<_>>())
            })
            .collect();
        let frames = each.iter().map(|(frames, _)| *frames).max().unwrap_or(0);
        (frames, each.iter().map(|(_, datagrams)| datagrams).sum::<usize>() + self.goodbyes.len())
    }

    #[cfg(test)]
    pub(super) fn panic_in(&mut self, id: SessionId) {
        self.with(self.places[&id], |sessions| sessions.get_mut(id).expect("made").panics = true);
    }
}

fn add(totals: &mut Totals, counts: Counts) {
    let Counts { caught_up, panics, skipped } = counts;
    totals.caught_up += caught_up;
    totals.panics += panics;
    totals.skipped.joining += skipped.joining;
    totals.skipped.network += skipped.network;
    totals.skipped.socket += skipped.socket;
}

impl std::fmt::Debug for Fanout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fanout")
            .field("sessions", &self.places.len())
            .field("shards", &self.shards.len())
            .field("totals", &self.totals())
            .finish()
    }
}
