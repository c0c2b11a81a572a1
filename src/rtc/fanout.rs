//! All viewers of a source: who gets a frame, who sends next, who has ended.

mod incoming;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::demux::paths::Paths;
use super::guard::contained;
use super::refusal::Refusal;
use super::send::clock::{Position, Timeline};
use super::send::cut::Cutter;
use super::send::opus::Joiner;
use super::send::recent::Recent;
use super::send::select::Serving;
use super::send::track::Cut;
use super::send::wall::Wall;
use super::session::sdp::Remote;
use super::session::supply::{Supply, is_carried};
use super::session::{Note, Session, Shared, Sink};
use super::turns::Turns;
use super::{
    Answer, Answered, Config, Event, Input, LocalCandidate, Offer, Output, SessionId, SessionStats, Totals,
    Transmit,
};
use crate::call::body::{End, EndReason};
use crate::media::adapt::keyframes::KeyFrameReason;
use crate::media::{Codec, Frame, StreamId, StreamInfo};

/// When nothing is due, look again then.
const IDLE: Duration = Duration::from_secs(60);
/// The frames since the last key frame go to a viewer that joins if its link is assumed to carry them in this time.
const CATCH_UP_MS: u64 = 300;
/// Goodbyes that wait for the socket: some for each of the sessions that there may be by default.
const MAX_GOODBYES: usize = 1024;

/// A stream on its way to all viewers.
#[derive(Debug, Default)]
struct Lane {
    codec: Option<Codec>,
    cutter: Cutter,
    position: Position,
    joiner: Joiner,
    recent: Recent,
}

/// One encoded stream to many viewers. See the [module](super).
pub struct Fanout {
    shared: Shared,
    supply: Supply,
    sessions: HashMap<SessionId, Session>,
    paths: Paths,
    /// Each session's ICE user name, with which it is called from a new address.
    ufrags: HashMap<String, SessionId>,
    timers: BTreeSet<(Instant, SessionId)>,
    due: HashMap<SessionId, Instant>,
    streams: HashMap<StreamId, Lane>,
    timeline: Timeline,
    turns: Turns,
    /// What says so to viewers whose sessions are forgotten.
    goodbyes: VecDeque<Transmit>,
    events: VecDeque<Event>,
    totals: Totals,
    now: Instant,
}

impl Fanout {
    /// Creates a fan-out without sessions. All sessions share a DTLS certificate, which is created with the first one.
    pub fn new(config: Config, now: Instant) -> Fanout {
        let crypto = Arc::new(super::crypto::provider());
        Fanout {
            shared: Shared {
                wall: Wall::new(config.wall_clock, now),
                config,
                crypto,
                certificate: OnceLock::new(),
                start: now,
            },
            supply: Supply::default(),
            sessions: HashMap::new(),
            paths: Paths::new(now),
            ufrags: HashMap::new(),
            timers: BTreeSet::new(),
            due: HashMap::new(),
            streams: HashMap::new(),
            timeline: Timeline::new(now),
            turns: Turns::default(),
            goodbyes: VecDeque::new(),
            events: VecDeque::new(),
            totals: Totals::default(),
            now,
        }
    }

    /// Sets the streams to send, per kind in order of preference: each viewer gets the first one that it can decode. If
    /// several have the same codec, the best rendition is offered. Codecs that are not sent over RTP (JPEG) are ignored.
    /// Call this again when a format changes, because it determines the H.264 level offered to new sessions. Existing
    /// sessions keep what they negotiated.
    pub fn set_streams(&mut self, streams: &[StreamInfo]) {
        self.supply.set(streams);
    }

    /// Sets the candidates of new sessions, for instance after a network change.
    pub fn set_candidates(&mut self, candidates: Vec<LocalCandidate>) {
        self.shared.config.candidates = candidates;
    }

    /// Looks for no more bandwidth than this from now on, in bit/s, in sessions that exist too.
    pub fn set_max_bitrate(&mut self, bps: u32) {
        self.shared.config.max_bitrate = bps;
        let all: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in all {
            self.step(id, |session, _, _| session.set_max_bitrate(bps));
        }
    }

    /// Answers a viewer's offer. If the session exists and the offer is from the same peer connection, it is
    /// renegotiated, and continues unchanged if that is refused. An offer from another peer connection (the page was
    /// reloaded) replaces the session.
    pub fn accept(&mut self, id: SessionId, offer: &str, now: Instant) -> Result<Answer, Refusal> {
        self.now = self.now.max(now);
        let remote = self.refused(contained(|| Remote::parse(offer)))?;
        let answer = match self.sessions.get_mut(&id) {
            Some(session) if session.is_with(&remote) => {
                let done = contained(|| session.renegotiate(&self.shared, &remote, &self.supply));
                self.ended(id, done)?
            }
            existing => {
                let room = existing.is_some() || self.sessions.len() < self.shared.config.max_sessions;
                if !room {
                    return Err(Refusal::Full { limit: self.shared.config.max_sessions });
                }
                let made = contained(|| Session::accept(id, &self.shared, &remote, &self.supply, self.now));
                let (session, answer) = self.refused(made)?;
                self.close(id, now);
                self.sessions.insert(id, session);
                answer
            }
        };
        self.adopt(id);
        Ok(answer)
    }

    /// Creates an offer: send-only audio and video, as far as there are streams. The session then waits for
    /// [`answer`](Self::answer).
    pub fn offer(&mut self, id: SessionId, now: Instant) -> Result<Offer, Refusal> {
        self.now = self.now.max(now);
        if self.sessions.contains_key(&id) {
            return Err(Refusal::SessionExists);
        }
        if self.sessions.len() >= self.shared.config.max_sessions {
            return Err(Refusal::Full { limit: self.shared.config.max_sessions });
        }
        let made = contained(|| Session::offer(id, &self.shared, &self.supply, self.now));
        let (session, sdp) = self.refused(made)?;
        self.sessions.insert(id, session);
        self.adopt(id);
        Ok(Offer { sdp })
    }

    /// Applies the answer to our offer. If the answer cannot be parsed, the offer stays open; after any other error,
    /// close the session.
    pub fn answer(&mut self, id: SessionId, answer: &str, now: Instant) -> Result<Answered, Refusal> {
        self.now = self.now.max(now);
        if !self.sessions.contains_key(&id) {
            return Err(Refusal::UnknownSession);
        }
        let remote = self.refused(contained(|| Remote::parse(answer)))?;
        let session = self.sessions.get_mut(&id).ok_or(Refusal::UnknownSession)?;
        let done = contained(|| session.answer(&self.shared, &remote, &self.supply));
        let answered = self.ended(id, done)?;
        self.adopt(id);
        Ok(answered)
    }

    /// Adds a remote candidate (`candidate:…`). Unusable ones are ignored: with an mDNS name, over TCP, for RTCP, or at
    /// an address that is never sent to. Of the rest, a session accepts 64 in its lifetime, including those in
    /// descriptions, and checks 16; any beyond that are ignored and counted
    /// ([`SessionStats::candidates_ignored`]). An error never affects the session.
    pub fn add_remote_candidate(&mut self, id: SessionId, candidate: &str) -> Result<(), Refusal> {
        let session = self.sessions.get_mut(&id).ok_or(Refusal::UnknownSession)?;
        let done = contained(|| session.add_remote_candidate(candidate));
        self.ended(id, done)?;
        self.step(id, Session::handle_timeout);
        Ok(())
    }

    /// Selects what a session is sent of its video, if it exists: another rendition, key frames only, or nothing. The
    /// stream must have the codec that was negotiated; until a key frame of it arrives, the stream before continues.
    /// Nothing is renegotiated. The selection lasts through renegotiations.
    pub fn serve(&mut self, id: SessionId, serving: Serving, now: Instant) {
        self.now = self.now.max(now);
        self.step(id, |session, now, sink| session.serve(serving, now, sink));
    }

    /// The local candidates of a session (`candidate:…`), for trickle ICE. Its description already has them all.
    pub fn local_candidates(&self, id: SessionId) -> Vec<String> {
        self.sessions.get(&id).map(|s| s.local_candidates().to_vec()).unwrap_or_default()
    }

    /// Closes a session: queues the goodbye to the viewer and removes the session. Does nothing if it does not exist.
    pub fn close(&mut self, id: SessionId, now: Instant) {
        self.now = self.now.max(now);
        if let Some(mut session) = self.forget(id) {
            let done = contained(|| {
                let (paths, skipped) = (&mut self.paths, &mut self.totals.skipped);
                let out = session.close(self.now, &mut Sink { paths, notes: &mut vec![], skipped });
                drop(session);
                out
            });
            self.totals.panics += u64::from(done.is_none());
            for goodbye in done.into_iter().flatten() {
                if self.goodbyes.len() < MAX_GOODBYES {
                    self.goodbyes.push_back(goodbye);
                } else {
                    self.totals.goodbyes_dropped += 1;
                }
            }
            self.paths.forget(id);
        }
    }

    /// Handles an input. `now` must never go backwards.
    pub fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        self.now = self.now.max(now);
        match input {
            Input::Datagram { path, data } => {
                // What looks for the session reads only; what changes one is contained in its step.
                let done = contained(|| self.handle_datagram(path.canonical(), data));
                self.totals.panics += u64::from(done.is_none());
            }
            Input::Frame(frame) => self.handle_frame(frame),
            Input::Timeout => {
                while let Some((_, id)) = self.timers.first().copied().filter(|(at, _)| *at <= self.now) {
                    self.step(id, Session::handle_timeout);
                }
            }
        }
    }

    /// The next output. Drain it until it returns [`Output::Timeout`].
    pub fn poll_output(&mut self) -> Output {
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        Output::Timeout(self.timers.first().map_or(self.now + IDLE, |(at, _)| *at))
    }

    /// The next data to send in one system call; `None` if there is nothing more. Call it only while the socket accepts
    /// data, and before [`poll_output`](Self::poll_output), because sending may cause events. Unsent data stays in its
    /// session, which drops whole frames, up to a key frame, when they wait too long ([`Skipped`](super::Skipped)).
    /// Sessions take turns; packets that keep calls alive go before frames.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        self.now = self.now.max(now);
        if let Some(goodbye) = self.goodbyes.pop_front() {
            return Some(goodbye);
        }
        while let Some((id, turn)) = self.turns.next() {
            let mut transmit = None;
            self.step(id, |session, now, sink| transmit = session.poll_transmit(turn, now, sink));
            if transmit.is_some() {
                return transmit;
            }
        }
        None
    }

    /// The IDs of all sessions.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.sessions.keys().copied()
    }

    /// Whether there is a session with this ID.
    pub fn contains(&self, id: SessionId) -> bool {
        self.sessions.contains_key(&id)
    }

    /// Statistics of one session.
    pub fn stats(&self, id: SessionId) -> Option<SessionStats> {
        self.sessions.get(&id).map(Session::stats)
    }

    /// Statistics of all sessions together.
    pub fn totals(&self) -> Totals {
        Totals { checks: self.paths.checks_sent(), checks_held: self.paths.checks_held(), ..self.totals }
    }

    fn handle_frame(&mut self, frame: &Frame) {
        self.totals.frames += 1;
        if !is_carried(frame.codec) {
            return;
        }
        let mut viewers: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, s)| s.follows(frame.stream, frame.codec))
            .map(|(id, _)| *id)
            .collect();
        let lane = self.streams.entry(frame.stream).or_default();
        lane.codec = Some(frame.codec);
        let timestamp = self.timeline.place(&mut lane.position, frame);
        if viewers.is_empty() {
            // What waits for more audio would be old when somebody comes.
            (lane.recent, lane.joiner) = Default::default();
            return;
        }
        let payloads = Arc::new(lane.cutter.cut(frame));
        self.totals.cut += 1;
        // Nobody is always the last one served.
        let first = usize::try_from(self.totals.cut).unwrap_or(0) % viewers.len();
        viewers.rotate_left(first);
        if payloads.is_empty() {
            log::debug!("ignoring an empty frame of stream {}", frame.stream.0);
            return;
        }
        let cut = Cut { key: frame.key, payloads, timestamp };
        let joined: Vec<Cut> = if frame.codec == Codec::Opus {
            let per_packet = self.shared.config.audio_packet;
            let complete = lane.joiner.push(&frame.data, timestamp, per_packet).into_iter();
            complete
                .map(|(payloads, timestamp)| Cut { key: false, payloads: Arc::new(payloads), timestamp })
                .collect()
        } else {
            lane.recent.push(&cut, self.now);
            vec![]
        };
        for id in viewers {
            self.step(id, |session, now, sink| {
                let alone = frame.codec != Codec::Opus || session.is_conversation();
                for cut in if alone { std::slice::from_ref(&cut) } else { &joined } {
                    session.handle_frame(frame.stream, frame.codec, cut, now, sink);
                }
            });
        }
    }

    /// Gives a session that joins a stream the frames since the last key frame, if its link is assumed to carry them
    /// soon; otherwise it needs a key frame.
    fn join(&mut self, id: SessionId, stream: StreamId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let bytes = u64::from(session.estimate()) / 8 * CATCH_UP_MS / 1000;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let lane = self.streams.get(&stream);
        let recent = lane.and_then(|lane| Some((lane.codec?, lane.recent.frames(bytes, self.now)?)));
        let Some((codec, frames)) = recent else {
            let reason = KeyFrameReason::Join;
            return self.events.push_back(Event::KeyFrameWanted { session: id, stream, reason });
        };
        self.totals.caught_up += 1;
        for cut in frames {
            self.step(id, |session, now, sink| session.handle_frame(stream, codec, &cut, now, sink));
        }
    }

    /// Registers a session that is new or was renegotiated: its user name may have changed.
    fn adopt(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            if session.renew_names() {
                self.paths.restart(id);
            }
            let ufrag = session.names().ours.clone();
            self.ufrags.retain(|_, owner| *owner != id);
            self.ufrags.insert(ufrag, id);
            self.step(id, Session::handle_timeout);
        }
    }

    /// Lets one session do something, and takes care of what follows.
    fn step(&mut self, id: SessionId, act: impl FnOnce(&mut Session, Instant, &mut Sink<'_>)) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let mut notes = vec![];
        let done = contained(|| {
            let (paths, skipped) = (&mut self.paths, &mut self.totals.skipped);
            act(session, self.now, &mut Sink { paths, notes: &mut notes, skipped });
            let over = session.check_alive(&self.shared.config, self.now);
            (over, session.deadline(&self.shared, self.now), session.turn(self.now))
        });
        let Some((over, due, turn)) = done else { return self.bury(id) };
        self.turns.list(id, turn);
        let anew = notes.iter().any(|note| matches!(note, Note::Anew));
        let joined: Vec<StreamId> = notes
            .iter()
            .filter_map(|note| match note {
                Note::Joined(stream) => Some(*stream),
                _ => None,
            })
            .collect();
        self.events.extend(notes.into_iter().filter_map(|note| match note {
            Note::Connected => Some(Event::Connected { session: id }),
            Note::KeyFrameWanted(stream, reason) => {
                Some(Event::KeyFrameWanted { session: id, stream, reason })
            }
            Note::Estimate(bps) => Some(Event::Estimate { session: id, bps }),
            Note::Anew | Note::Joined(_) => None,
        }));
        if anew && over.is_none() {
            return self.begin_anew(id);
        }
        match over {
            Some(end) => {
                log::debug!("session {} ended", id.0);
                self.forget(id);
                self.events.push_back(Event::Closed { session: id, end });
            }
            None => {
                let before = self.due.insert(id, due);
                if before != Some(due) {
                    if let Some(before) = before {
                        self.timers.remove(&(before, id));
                    }
                    self.timers.insert((due, id));
                }
                for stream in joined {
                    self.join(id, stream);
                }
            }
        }
    }

    /// Begins a session's transport anew.
    fn begin_anew(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        match contained(|| session.begin_anew(&self.shared, &self.supply, self.now)) {
            Some(Ok(())) => self.adopt(id),
            Some(Err(refusal)) => {
                log::debug!("session {}: cannot restart the transport: {}", id.0, refusal.code());
                self.step(id, |session, _, _| session.lose());
            }
            None => self.bury(id),
        }
    }

    /// What a session's work returned; if it panicked, the session is over.
    fn ended<T>(&mut self, id: SessionId, done: Option<Result<T, Refusal>>) -> Result<T, Refusal> {
        done.unwrap_or_else(|| {
            self.bury(id);
            Err(Refusal::panicked())
        })
    }

    /// What work outside any session returned; if it panicked, nothing came of it.
    fn refused<T>(&mut self, done: Option<Result<T, Refusal>>) -> Result<T, Refusal> {
        self.totals.panics += u64::from(done.is_none());
        done.unwrap_or_else(|| Err(Refusal::panicked()))
    }

    /// Drops a session that panicked, without another word to it.
    fn bury(&mut self, id: SessionId) {
        log::error!("session {} panicked and was closed; this is a bug, please report it", id.0);
        self.totals.panics += 1;
        let session = self.forget(id);
        // What is broken may be broken in its drop, too.
        contained(|| drop(session));
        self.events
            .push_back(Event::Closed { session: id, end: End::new(EndReason::Lost, "internal error") });
    }

    /// Frames that wait for the socket, for one viewer at most; and datagrams that do, over all of them.
    #[cfg(test)]
    pub(super) fn waiting(&mut self) -> (usize, usize) {
        let each: Vec<(usize, usize)> = self.sessions.values_mut().map(Session::waiting).collect();
        let frames = each.iter().map(|(frames, _)| *frames).max().unwrap_or(0);
        (frames, each.iter().map(|(_, datagrams)| datagrams).sum::<usize>() + self.goodbyes.len())
    }

    #[cfg(test)]
    pub(super) fn panic_in(&mut self, id: SessionId) {
        self.sessions.get_mut(&id).expect("made").panics = true;
    }

    fn forget(&mut self, id: SessionId) -> Option<Session> {
        let session = self.sessions.remove(&id)?;
        self.paths.forget(id);
        self.turns.forget(id);
        self.ufrags.retain(|_, owner| *owner != id);
        if let Some(due) = self.due.remove(&id) {
            self.timers.remove(&(due, id));
        }
        Some(session)
    }
}

impl std::fmt::Debug for Fanout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fanout")
            .field("sessions", &self.sessions.len())
            .field("totals", &self.totals)
            .finish()
    }
}
