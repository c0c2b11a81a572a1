//! The agent: its states, its deadlines, and the commands of the application.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use super::answers::Answers;
use super::backoff::{Random, Wait, after_close, next_delay};
use super::commands::Commands;
use super::pacing::Outbox;
use super::rooms::RoomChoices;
use super::roster::Roster;
use super::{AnswerId, CommandError, Config, End, Event, Input, Output, RequestError, SendError};
use crate::limit::{Bucket, Buckets, RateKey, RateLimit};
use crate::proto::{Address, CloseCode, Draft, MessageKind, Peer};

/// A session that lasted this long was stable: the waits start from the shortest again. It equals the time
/// after which a server closes a connection that stays over its rate, so a client in such a loop slows down.
const STABLE: Duration = Duration::from_secs(10);
/// How long a server may take to answer a ping after the network changed: a viewer waits for what comes after that.
const CHECK: Duration = Duration::from_secs(1);

/// How often one user's probes are answered. A browser probes once for each connection it makes.
const PROBES: RateLimit = RateLimit { per_second: 2, burst: 8 };

/// The state of an [`Agent`]; the module docs draw the transitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Not connected yet.
    Idle,
    /// The driver is dialling.
    Opening,
    /// `auth` is sent; waiting for `welcome`.
    Authenticating,
    /// Admitted.
    Online,
    /// Between two attempts.
    Waiting {
        /// When it dials again.
        until: Instant,
    },
    /// Finished, until it is told to connect again.
    Ended,
}

/// A state with the data that exists only in it.
pub(super) enum Stage {
    Idle,
    Opening { until: Instant },
    Authenticating { until: Instant },
    Online(Box<Session>),
    Waiting { until: Instant },
    Ended,
}

/// What lives from a `welcome` until that connection is lost.
pub(super) struct Session {
    pub(super) peer: Peer,
    pub(super) rooms: BTreeSet<String>,
    /// Joins and leaves not answered yet, oldest first.
    pub(super) asked: VecDeque<String>,
    pub(super) since: Instant,
    pub(super) heard: Instant,
    pub(super) pinged: Instant,
    /// By when something must have come, after the network changed.
    pub(super) check: Option<Instant>,
    /// When peers from before the reconnect that were not seen again are removed.
    pub(super) sweep: Option<Instant>,
    pub(super) bucket: Bucket,
    pub(super) outbox: Outbox,
    /// The socket accepts nothing right now.
    pub(super) full: bool,
    /// Who asked for our presence. Answered after everything else, so probes never delay a call.
    pub(super) askers: VecDeque<Address>,
}

/// A Symple client without a socket. The [module](super) docs explain its states and what its driver must do.
pub struct Agent {
    pub(super) config: Config,
    pub(super) stage: Stage,
    pub(super) wishes: RoomChoices,
    pub(super) roster: Roster,
    pub(super) commands: Commands,
    pub(super) answers: Answers,
    /// Our recent session ids: a server that has not noticed the loss of one still announces it.
    pub(super) past: VecDeque<String>,
    outputs: VecDeque<Output>,
    pub(super) probes: Buckets<RateKey>,
    pub(super) random: Random,
    /// Dials and waits since the last stable session.
    dials: u32,
    waits: u32,
    pub(super) now: Instant,
}

impl Agent {
    /// Creates an idle agent. `seed` is a random number that spreads the reconnects of many clients and makes
    /// their message ids differ.
    pub fn new(mut config: Config, seed: u64, now: Instant) -> Self {
        let mut wishes = RoomChoices::new(config.max_rooms);
        // An interval of zero would ping in a loop.
        config.ping_interval = config.ping_interval.max(Duration::from_secs(1));
        for room in std::mem::take(&mut config.rooms) {
            if let Err(error) = wishes.join(&room) {
                log::warn!("ignoring a configured room: {error}");
            }
        }
        Agent {
            roster: Roster::new(config.max_peers, config.max_peer_data),
            config,
            stage: Stage::Idle,
            wishes,
            commands: Commands::default(),
            answers: Answers::default(),
            past: VecDeque::new(),
            outputs: VecDeque::new(),
            probes: Buckets::new(PROBES),
            random: Random(seed),
            dials: 0,
            waits: 0,
            now,
        }
    }

    /// The current state.
    pub fn state(&self) -> State {
        match self.stage {
            Stage::Idle => State::Idle,
            Stage::Opening { .. } => State::Opening,
            Stage::Authenticating { .. } => State::Authenticating,
            Stage::Online(_) => State::Online,
            Stage::Waiting { until } => State::Waiting { until },
            Stage::Ended => State::Ended,
        }
    }

    /// Ourselves, while online: the peer from `welcome`, with what [`Agent::set_data`] has set since.
    pub fn peer(&self) -> Option<&Peer> {
        match &self.stage {
            Stage::Online(session) => Some(&session.peer),
            _ => None,
        }
    }

    /// Whether at least half of `outbox_limit` is free. A sender that waits for this never gets
    /// [`SendError::Full`](super::SendError::Full). An error while there is no connection.
    pub fn has_room(&self) -> Result<bool, SendError> {
        match &self.stage {
            Stage::Online(session) => Ok(session.outbox.is_half_free()),
            _ => Err(SendError::Offline),
        }
    }

    /// The rooms we are in, while online.
    pub fn rooms(&self) -> impl Iterator<Item = &str> {
        let rooms = match &self.stage {
            Stage::Online(session) => Some(&session.rooms),
            _ => None,
        };
        rooms.into_iter().flatten().map(String::as_str)
    }

    /// The peers we know of, without ourselves. While offline: those last known.
    pub fn roster(&self) -> impl Iterator<Item = &Peer> {
        self.roster.iter()
    }

    /// A peer from the roster, by session id or address.
    pub fn find(&self, id: &str) -> Option<&Peer> {
        match id.split_once('|') {
            Some((user, id)) => self.roster.get(id).filter(|peer| peer.user == user),
            None => self.roster.get(id),
        }
    }

    /// Dials: the first time, again after it ended, or immediately instead of waiting. In other states a
    /// connection is already open or under way, and nothing happens.
    pub fn connect(&mut self, now: Instant) {
        self.tick(now);
        match self.stage {
            Stage::Idle | Stage::Ended => {
                (self.dials, self.waits) = (0, 0);
                self.dial();
            }
            Stage::Waiting { .. } => self.dial(),
            Stage::Opening { .. } | Stage::Authenticating { .. } | Stage::Online(_) => {}
        }
    }

    /// The network changed, and the connection may have gone with it, which nothing else tells soon: dials immediately
    /// instead of waiting; a session is lost unless something comes within a second.
    pub fn check(&mut self, now: Instant) {
        self.tick(now);
        match &mut self.stage {
            Stage::Waiting { .. } => {
                self.waits = 0;
                self.dial();
            }
            Stage::Online(session) => {
                (session.check, session.pinged) = (Some(later(now, CHECK)), now);
                self.outputs.push_back(Output::Ping);
            }
            Stage::Idle | Stage::Opening { .. } | Stage::Authenticating { .. } | Stage::Ended => {}
        }
    }

    /// Closes the connection and ends. What is queued and within the rate is sent first.
    pub fn close(&mut self, now: Instant) {
        self.tick(now);
        if let Stage::Online(_) = self.stage {
            while let Some(frame) = self.next_frame() {
                self.outputs.push_back(Output::Send(frame));
            }
            self.outputs.push_back(Output::Send(Draft::new(MessageKind::Close).finish()));
        }
        if self.state() != State::Ended {
            self.end(End::Closed);
        }
    }

    /// Handles an input from the driver. Drain [`Agent::poll_output`] after each.
    pub fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        self.tick(now);
        match (input, &mut self.stage) {
            (Input::Opened, Stage::Opening { .. }) => {
                self.stage = Stage::Authenticating { until: later(self.now, self.config.auth_timeout) };
                let auth = self.auth();
                self.outputs.push_back(Output::Send(auth));
            }
            (Input::OpenFailed { reason }, Stage::Opening { .. }) => {
                self.lost(format!("cannot connect: {}", brief(reason)), Wait::Next, None);
            }
            (Input::Text(text), Stage::Authenticating { .. } | Stage::Online(_)) => self.handle_text(text),
            (Input::Alive, Stage::Online(session)) => (session.heard, session.check) = (self.now, None),
            (Input::Full, Stage::Online(session)) => session.full = true,
            (Input::Writable, Stage::Online(session)) => session.full = false,
            (
                Input::Closed { code, reason },
                Stage::Opening { .. } | Stage::Authenticating { .. } | Stage::Online(_),
            ) => {
                let code_text = code.map_or(String::new(), |code| format!(" {code}"));
                let reason = brief(reason);
                let words = format!("the connection was closed:{code_text} {reason}");
                self.lost(words.trim_end_matches([' ', ':']).to_owned(), after_close(code), None);
            }
            (Input::Timeout, _) => self.handle_timeout(),
            // From an abandoned socket, or a repeat.
            _ => {}
        }
    }

    /// The next thing to do; [`Output::Timeout`] when there is nothing left.
    pub fn poll_output(&mut self) -> Output {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        match self.next_frame() {
            Some(frame) => Output::Send(frame),
            None => Output::Timeout(self.deadline()),
        }
    }

    /// Time never goes back, whatever the caller passes.
    pub(super) fn tick(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn dial(&mut self) {
        self.dials = self.dials.saturating_add(1);
        self.stage = Stage::Opening { until: later(self.now, self.config.connect_timeout) };
        self.outputs.push_back(Output::Open);
    }

    /// The connection was lost, or could not be made. `close` if the driver still has a socket.
    pub(super) fn lost(&mut self, reason: String, wait: Wait, close: Option<(CloseCode, &'static str)>) {
        if let Some((code, reason)) = close {
            self.outputs.push_back(Output::Close { code, reason });
        }
        let mut unsent = 0;
        if let Stage::Online(session) = &self.stage {
            unsent = session.outbox.len();
            if self.now.saturating_duration_since(session.since) >= STABLE {
                (self.dials, self.waits) = (0, 0);
            }
        }
        let max = self.config.max_attempts;
        if max.is_some_and(|max| self.dials >= max) {
            self.stage = Stage::Ended;
            return self.end(End::GaveUp { reason });
        }
        let attempt = if wait == Wait::Longest { u32::MAX } else { self.waits };
        self.waits = self.waits.saturating_add(1);
        let (min, longest) = (self.config.backoff_min, self.config.backoff_max);
        let retry_in = next_delay(min, longest, attempt, self.random.fraction());
        log::debug!("offline; next attempt in {retry_in:?}");
        self.stage = Stage::Waiting { until: later(self.now, retry_in) };
        self.event(Event::Offline { reason, retry_in, unsent });
        self.fail_commands(&RequestError::Lost);
    }

    /// Ends, and closes the socket if there is one.
    pub(super) fn end(&mut self, why: End) {
        if let Stage::Opening { .. } | Stage::Authenticating { .. } | Stage::Online(_) = self.stage {
            self.outputs.push_back(Output::Close { code: CloseCode::NORMAL, reason: "" });
        }
        log::debug!("ended");
        self.stage = Stage::Ended;
        self.fail_commands(&RequestError::Closed);
        self.event(Event::Ended { why });
    }

    /// Nothing that was sent is answered any more; those who await it hear this error.
    fn fail_commands(&mut self, error: &RequestError) {
        for id in self.commands.take_all() {
            let awaited = self.answers.reply(id, || Err(error.clone()));
            self.answered(awaited);
            self.event(Event::Reply { id, result: Err(CommandError::Offline) });
        }
        let receipts = self.answers.fail_all_receipts(error);
        self.answered(receipts);
    }

    /// These answers are there.
    pub(super) fn answered(&mut self, ids: impl IntoIterator<Item = AnswerId>) {
        self.outputs.extend(ids.into_iter().map(Output::Answered));
    }

    fn handle_timeout(&mut self) {
        let now = self.now;
        let gone = Some((CloseCode::GOING_AWAY, "too late"));
        match &mut self.stage {
            Stage::Opening { until } if *until <= now => {
                let reason = format!("no connection within {:?}", self.config.connect_timeout);
                self.lost(reason, Wait::Next, gone);
            }
            Stage::Authenticating { until } if *until <= now => {
                let reason = format!("no welcome within {:?}", self.config.auth_timeout);
                self.lost(reason, Wait::Next, gone);
            }
            Stage::Waiting { until } if *until <= now => self.dial(),
            Stage::Online(session) if session.check.is_some_and(|at| at <= now) => {
                self.lost("nothing received since the network changed".into(), Wait::Next, gone);
            }
            Stage::Online(session) if later(session.heard, self.config.idle_timeout) <= now => {
                let reason = format!("nothing received for {:?}", self.config.idle_timeout);
                self.lost(reason, Wait::Next, gone);
            }
            Stage::Online(session) => {
                if later(session.heard.max(session.pinged), self.config.ping_interval) <= now {
                    session.pinged = now;
                    self.outputs.push_back(Output::Ping);
                }
                if session.sweep.is_some_and(|at| at <= now) {
                    session.sweep = None;
                    for change in self.roster.sweep() {
                        self.event(change.into());
                    }
                }
                for id in self.commands.expire(now) {
                    let awaited = self.answers.reply(id, || Err(RequestError::TimedOut));
                    self.answered(awaited);
                    self.event(Event::Reply { id, result: Err(CommandError::TimedOut) });
                }
                let late = self.answers.expire(now);
                self.answered(late);
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Idle | Stage::Ended => None,
            Stage::Opening { until } | Stage::Authenticating { until } | Stage::Waiting { until } => {
                Some(*until)
            }
            Stage::Online(session) => {
                let ping = later(session.heard.max(session.pinged), self.config.ping_interval);
                let idle = later(session.heard, self.config.idle_timeout);
                let send = match (session.outbox.is_empty(), session.askers.is_empty()) {
                    _ if session.full => None,
                    (false, _) => Some(session.bucket.ready_at(self.now)),
                    (true, false) => Some(session.bucket.half_at(self.now)),
                    (true, true) => None,
                };
                let (commands, receipts) = (self.commands.next_deadline(), self.answers.next_deadline());
                let all = [Some(ping), Some(idle), session.check, send, session.sweep, commands, receipts];
                all.into_iter().flatten().min()
            }
        }
    }

    /// The next frame that may be sent.
    fn next_frame(&mut self) -> Option<String> {
        let now = self.now;
        let Stage::Online(session) = &mut self.stage else { return None };
        if session.full {
            return None;
        }
        if !session.outbox.is_empty() {
            if session.bucket.ready_at(now) > now {
                return None;
            }
            session.bucket.take(now);
            return session.outbox.pop();
        }
        if session.askers.is_empty() || session.bucket.half_at(now) > now {
            return None;
        }
        session.bucket.take(now);
        let asker = session.askers.pop_front()?;
        Some(self.presence(Some(asker.as_str()), false))
    }
}

impl fmt::Debug for Agent {
    /// Only numbers: queued messages may hold SDP.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peers = self.roster.iter().count();
        f.debug_struct("Agent").field("state", &self.state()).field("peers", &peers).finish_non_exhaustive()
    }
}

impl Session {
    /// Remembers the room that was requested, to match an error that names no room. Once there are very many,
    /// the oldest are of no use for that.
    pub(super) fn note_asked(&mut self, room: &str) {
        if self.asked.len() >= 256 {
            self.asked.pop_front();
        }
        self.asked.push_back(room.to_owned());
    }
}

/// A deadline. A wait longer than the clock can represent becomes a year.
pub(super) fn later(from: Instant, wait: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    from.checked_add(wait).unwrap_or_else(|| from + YEAR)
}

/// At most 256 bytes of text from a server or the operating system.
pub(super) fn brief(words: &str) -> &str {
    let mut end = words.len().min(256);
    while !words.is_char_boundary(end) {
        end -= 1;
    }
    &words[..end]
}
