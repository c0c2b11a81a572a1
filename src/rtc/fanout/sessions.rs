//! The sessions of one shard: which ones get a frame, which one sends next, which ones have ended.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cutting::Parcel;
use crate::call::body::{End, EndReason};
use crate::media::adapt::keyframes::KeyFrameReason;
use crate::media::{Codec, StreamId};
use crate::rtc::directory::Directory;
use crate::rtc::guard::contained;
use crate::rtc::ids::ById;
use crate::rtc::send::gop::Recent;
use crate::rtc::send_order::{Turn, Turns};
use crate::rtc::session::channels::ChannelNote;
use crate::rtc::session::sdp::Remote;
use crate::rtc::session::supply::Supply;
use crate::rtc::session::{Note, Session, Shared, Sink};
use crate::rtc::{Answer, Answered, Event, Offer, Refusal, SessionId, Skipped, Transmit};

/// When nothing is due, look again then.
const IDLE: Duration = Duration::from_secs(60);
/// The frames since the last key frame go to a viewer that joins if its link is assumed to carry them in this time.
const CATCH_UP_MS: u64 = 300;

/// What is counted here, of [`Totals`](crate::rtc::Totals).
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) caught_up: u64,
    pub(super) panics: u64,
    pub(super) skipped: Skipped,
}

/// Sessions that one driver at a time sends for.
pub(super) struct Sessions {
    pub(super) shared: Arc<Shared>,
    pub(super) supply: Arc<Supply>,
    directory: Arc<Directory>,
    all: ById<SessionId, Member>,
    timers: BTreeSet<(Instant, SessionId)>,
    /// The video streams, and their frames since the last key frame.
    recent: HashMap<StreamId, Recent>,
    turns: Turns,
    /// The last frame, for those who have not got it.
    handing: Option<Handing>,
    pub(super) events: VecDeque<Event>,
    pub(super) counts: Counts,
    now: Instant,
}

struct Member {
    session: Session,
    /// Its entry in the timers.
    due: Option<Instant>,
}

/// A frame on its way to the sessions. Each gets it when its turn to send comes, so that the memory of each is fetched
/// into the cache once for a frame.
struct Handing {
    parcel: Arc<Parcel>,
    to: VecDeque<SessionId>,
}

impl From<Session> for Member {
    fn from(session: Session) -> Member {
        Member { session, due: None }
    }
}

impl Sessions {
    pub(super) fn new(
        shared: Arc<Shared>,
        supply: Arc<Supply>,
        directory: Arc<Directory>,
        now: Instant,
    ) -> Sessions {
        Sessions {
            shared,
            supply,
            directory,
            all: ById::default(),
            timers: BTreeSet::new(),
            recent: HashMap::new(),
            turns: Turns::default(),
            handing: None,
            events: VecDeque::new(),
            counts: Counts::default(),
            now,
        }
    }

    /// Another shard of the same fan-out, without sessions.
    pub(super) fn another(&self) -> Sessions {
        let (shared, supply, directory) = (self.shared.clone(), self.supply.clone(), self.directory.clone());
        Sessions { recent: self.recent.clone(), ..Sessions::new(shared, supply, directory, self.now) }
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Session> {
        self.all.get(&id).map(|member| &member.session)
    }

    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.all.get_mut(&id).map(|member| &mut member.session)
    }

    #[cfg(test)]
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.all.values_mut().map(|member| &mut member.session)
    }

    /// The time has come this far, for whatever is called next.
    pub(super) fn tick(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    pub(super) fn set_max_bitrate(&mut self, bps: u32) {
        self.step_all(|session, _, _| session.set_max_bitrate(bps));
    }

    /// Tells all sessions that there are other candidates.
    pub(super) fn find_candidates(&mut self) {
        let shared = self.shared.clone();
        self.step_all(|session, now, sink| {
            session.find_candidates(&shared.config, now, sink);
            session.handle_timeout(now, sink);
        });
    }

    /// Tells all sessions that addresses are gone.
    pub(super) fn lose_addresses(&mut self, gone: &[IpAddr]) {
        self.step_all(|session, now, sink| {
            session.lose_addresses(gone, now, sink);
            session.handle_timeout(now, sink);
        });
    }

    /// Takes over a new session.
    pub(super) fn insert(&mut self, id: SessionId, session: Session) {
        self.all.insert(id, session.into());
        self.adopt(id);
    }

    /// Gives a session to another shard, as it is.
    pub(super) fn give(&mut self) -> Option<(SessionId, Session)> {
        let id = *self.all.keys().next()?;
        Some((id, self.take_out(id)?))
    }

    /// Takes a session over from another shard.
    pub(super) fn receive(&mut self, id: SessionId, session: Session) {
        self.all.insert(id, session.into());
        // Whatever it has to do is found again.
        self.step(id, |_, _, _| {});
    }

    pub(super) fn renegotiate(&mut self, id: SessionId, remote: &Remote) -> Result<Answer, Refusal> {
        let Member { session, .. } = self.all.get_mut(&id).ok_or(Refusal::UnknownSession)?;
        let done = contained(|| session.renegotiate(&self.shared, remote, &self.supply));
        let answer = self.ended(id, done)?;
        self.adopt(id);
        Ok(answer)
    }

    pub(super) fn offer_again(&mut self, id: SessionId) -> Result<Offer, Refusal> {
        let Member { session, .. } = self.all.get_mut(&id).ok_or(Refusal::UnknownSession)?;
        let done = contained(|| session.offer_again(&self.supply));
        let sdp = self.ended(id, done)?;
        Ok(Offer { sdp })
    }

    pub(super) fn answer(&mut self, id: SessionId, remote: &Remote) -> Result<Answered, Refusal> {
        let Member { session, .. } = self.all.get_mut(&id).ok_or(Refusal::UnknownSession)?;
        let done = contained(|| session.answer(&self.shared, remote, &self.supply));
        let answered = self.ended(id, done)?;
        self.adopt(id);
        Ok(answered)
    }

    pub(super) fn add_remote_candidate(&mut self, id: SessionId, candidate: &str) -> Result<(), Refusal> {
        let Member { session, .. } = self.all.get_mut(&id).ok_or(Refusal::UnknownSession)?;
        let done = contained(|| session.add_remote_candidate(candidate));
        self.ended(id, done)?;
        self.step(id, Session::handle_timeout);
        Ok(())
    }

    /// Removes a session; its goodbye.
    pub(super) fn close(&mut self, id: SessionId) -> Vec<Transmit> {
        let Some(mut session) = self.forget(id) else { return vec![] };
        let done = contained(|| {
            let (paths, skipped) = (&*self.directory, &mut self.counts.skipped);
            let out = session.close(self.now, &mut Sink { paths, notes: &mut vec![], skipped });
            drop(session);
            out
        });
        self.counts.panics += u64::from(done.is_none());
        self.directory.forget(id);
        done.unwrap_or_default()
    }

    pub(super) fn handle_timeout(&mut self) {
        while let Some((_, id)) = self.timers.first().copied().filter(|(at, _)| *at <= self.now) {
            self.step(id, Session::handle_timeout);
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(super) fn deadline(&self) -> Instant {
        self.timers.first().map_or(self.now + IDLE, |(at, _)| *at)
    }

    /// Whether something may be sent now.
    pub(super) fn has_turns(&self) -> bool {
        self.handing.is_some() || !self.turns.is_empty()
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        loop {
            let (id, turn, parcel) = self.next_turn()?;
            let mut transmit = None;
            self.step(id, |session, now, sink| {
                if let Some(parcel) = parcel {
                    parcel.hand_to(session, now, sink);
                }
                transmit = session.poll_transmit(turn, now, sink);
            });
            if transmit.is_some() {
                return transmit;
            }
        }
    }

    /// Who sends next, and the frame that it has not got.
    fn next_turn(&mut self) -> Option<(SessionId, Turn, Option<Arc<Parcel>>)> {
        if let Some(id) = self.turns.next_of(Turn::Control) {
            return Some((id, Turn::Control, None));
        }
        if let Some((parcel, id)) = self.next_to_hand() {
            return Some((id, Turn::Frame, Some(parcel)));
        }
        Some((self.turns.next_of(Turn::Frame)?, Turn::Frame, None))
    }

    /// Whether somebody here watches a stream.
    pub(super) fn follow(&self, stream: StreamId, codec: Codec) -> bool {
        self.all.values().any(|member| member.session.follows(stream, codec))
    }

    /// Nobody anywhere watches a stream.
    pub(super) fn drop_recent(&mut self, stream: StreamId) {
        self.recent.remove(&stream);
    }

    /// Takes a frame for those who watch its stream, whom [`poll_transmit`](Self::poll_transmit) gives it to. Call
    /// [`hand_out`](Self::hand_out) before whatever else.
    pub(super) fn handle_frame(&mut self, parcel: &Arc<Parcel>) {
        let Parcel { stream, ref cut, number, .. } = **parcel;
        let codec = cut.codec;
        if codec.is_video() {
            self.recent.entry(stream).or_default().push(cut, self.now);
        }
        let takes = |member: &Member| parcel.is_for(&member.session);
        let mut to: VecDeque<SessionId> =
            self.all.iter().filter(|(_, member)| takes(member)).map(|(id, _)| *id).collect();
        if to.is_empty() {
            return;
        }
        // Nobody is always the last one served.
        let first = usize::try_from(number).unwrap_or(0) % to.len();
        to.rotate_left(first);
        self.handing = Some(Handing { parcel: parcel.clone(), to });
    }

    /// Gives the last frame to those who have not got it: the socket was full.
    pub(super) fn hand_out(&mut self) {
        while let Some((parcel, id)) = self.next_to_hand() {
            self.step(id, |session, now, sink| parcel.hand_to(session, now, sink));
        }
    }

    fn next_to_hand(&mut self) -> Option<(Arc<Parcel>, SessionId)> {
        let Handing { parcel, to } = self.handing.as_mut()?;
        let next = to.pop_front().map(|id| (parcel.clone(), id));
        if to.is_empty() {
            self.handing = None;
        }
        next
    }

    /// Gives a session that joins a stream the frames since the last key frame, if its link is assumed to carry them
    /// soon; otherwise it needs a key frame.
    fn join(&mut self, id: SessionId, stream: StreamId) {
        let Some(session) = self.get(id) else { return };
        let bytes = u64::from(session.estimate()) / 8 * CATCH_UP_MS / 1000;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let recent = self.recent.get(&stream);
        let Some(frames) = recent.and_then(|recent| recent.frames(bytes, self.now)) else {
            let reason = KeyFrameReason::Join;
            return self.events.push_back(Event::KeyFrameWanted { session: id, stream, reason });
        };
        self.counts.caught_up += 1;
        for cut in frames {
            self.step(id, |session, now, sink| session.handle_frame(stream, &cut, now, sink));
        }
    }

    /// Registers a session that is new or was renegotiated: its user name may have changed.
    fn adopt(&mut self, id: SessionId) {
        if let Some(Member { session, .. }) = self.all.get_mut(&id) {
            if session.renew_names() {
                self.directory.restart(id);
            }
            self.directory.name(id, session.names().ours.clone());
            self.step(id, Session::handle_timeout);
        }
    }

    /// Lets each session do something.
    fn step_all(&mut self, mut act: impl FnMut(&mut Session, Instant, &mut Sink<'_>)) {
        let all: Vec<SessionId> = self.all.keys().copied().collect();
        for id in all {
            self.step(id, &mut act);
        }
    }

    /// Lets one session do something, and takes care of what follows.
    pub(super) fn step(&mut self, id: SessionId, act: impl FnOnce(&mut Session, Instant, &mut Sink<'_>)) {
        let Some(Member { session, due: before }) = self.all.get_mut(&id) else { return };
        let mut notes = vec![];
        let done = contained(|| {
            let (paths, skipped) = (&*self.directory, &mut self.counts.skipped);
            act(session, self.now, &mut Sink { paths, notes: &mut notes, skipped });
            let over = session.check_alive(&self.shared.config, self.now);
            (over, session.deadline(&self.shared, self.now), session.turn(self.now))
        });
        let Some((over, due, turn)) = done else { return self.bury(id) };
        self.turns.list(id, turn);
        if over.is_none() && *before != Some(due) {
            if let Some(before) = before.replace(due) {
                self.timers.remove(&(before, id));
            }
            self.timers.insert((due, id));
        }
        if !notes.is_empty() || over.is_some() {
            self.take_notes(id, notes, over);
        }
    }

    /// What follows of a step. There is a copy of the above for each kind of step, and this is large.
    #[inline(never)]
    fn take_notes(&mut self, id: SessionId, notes: Vec<Note>, over: Option<End>) {
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
            Note::Candidate { line, mid } => Some(Event::Candidate { session: id, candidate: line, mid }),
            #[cfg(feature = "recv")]
            Note::Frame(frame) => Some(Event::Frame { session: id, frame }),
            Note::Channel(note) => Some(channel_event(id, note)),
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
                for stream in joined {
                    self.join(id, stream);
                }
            }
        }
    }

    /// Begins a session's transport anew.
    pub(super) fn begin_anew(&mut self, id: SessionId) {
        let Some(Member { session, .. }) = self.all.get_mut(&id) else { return };
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

    /// Drops a session that panicked, without another word to it.
    fn bury(&mut self, id: SessionId) {
        log::error!("session {} panicked and was closed; this is a bug, please report it", id.0);
        self.counts.panics += 1;
        let session = self.forget(id);
        // What is broken may be broken in its drop, too.
        contained(|| drop(session));
        self.events
            .push_back(Event::Closed { session: id, end: End::new(EndReason::Lost, "internal error") });
    }

    fn forget(&mut self, id: SessionId) -> Option<Session> {
        let session = self.take_out(id)?;
        self.directory.forget(id);
        Some(session)
    }

    fn take_out(&mut self, id: SessionId) -> Option<Session> {
        let Member { session, due } = self.all.remove(&id)?;
        self.turns.forget(id);
        if let Some(due) = due {
            self.timers.remove(&(due, id));
        }
        Some(session)
    }
}

fn channel_event(session: SessionId, note: ChannelNote) -> Event {
    match note {
        ChannelNote::Open { channel, label, protocol, ours } => {
            Event::ChannelOpen { session, channel, label, protocol, ours }
        }
        ChannelNote::Message { channel, message } => Event::ChannelMessage { session, channel, message },
        ChannelNote::Writable { channel } => Event::ChannelWritable { session, channel },
        ChannelNote::Closed { channel, error } => Event::ChannelClosed { session, channel, error },
    }
}
