//! The hub: connections open and close. Admission is in `admission`, the frames of admitted peers in `live`.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{debug, trace, warn};

use crate::proto::{CloseCode, Status, Target, valid_room};

use super::announce::Announcements;
use super::error::{Refusal, reason};
use super::flow::Memory;
use super::hold::Holds;
use super::hold::barred::Barred;
use super::io::{ConnId, Event, Input, Output, Whom};
use super::limits::{Deadlines, Seldom, is_past};
use super::outbox::Outbox;
use super::presence;
use super::remote::{Remote, ToCluster};
use super::rooms::Rooms;
use super::session::{Arrival, MAX_FAREWELL, Session, State};
use super::slab::{Key, Slab};
use super::{Config, Stats, policy};

/// Deadlines closer than this are handled together, however short the host's timeouts are.
const TICK: Duration = Duration::from_millis(1);

const SHUTDOWN: &str =
    r#"{"type":"event","name":"shutdown","subtype":"shutdown","message":"Server shutting down"}"#;

fn too_large(max: usize) -> Refusal {
    Refusal::new(Status::TOO_LARGE, format!("A frame may have {max} bytes at most"))
}

/// The server without its sockets: pass inputs, poll outputs, and [`transmit`](Hub::transmit) what is queued for each
/// connection. See the [module](super) for an example.
pub struct Hub {
    pub(super) config: Config,
    pub(super) conns: HashMap<ConnId, Key>,
    pub(super) sessions: Slab<Session>,
    pub(super) rooms: Rooms,
    deadlines: Deadlines,
    pub(super) ready: VecDeque<ConnId>,
    /// Connections that are no longer held.
    pub(super) resumed: VecDeque<ConnId>,
    pub(super) holds: Holds<Key>,
    pub(super) barred: Barred,
    pub(super) memory: Memory,
    pub(super) events: VecDeque<Event>,
    pub(super) stats: Stats,
    pub(super) push_warning: Seldom,
    /// Recipients of the current message; kept for its capacity.
    pub(super) found: Vec<Key>,
    /// Rooms whose members are told together.
    pub(super) announcements: Announcements,
    /// Connections that count against `max_connections`.
    counted: usize,
    pub(super) down: bool,
    /// The additional state of one of several instances.
    pub(super) remote: Option<Box<Remote>>,
}

impl Hub {
    /// An empty hub.
    pub fn new(mut config: Config) -> Hub {
        config.rooms.retain(|room| {
            let valid = valid_room(room);
            if !valid {
                warn!("ignoring a configured room: its name must have 1 to 256 bytes");
            }
            valid
        });
        let mut seen = HashSet::new();
        config.rooms.retain(|room| seen.insert(room.clone()));
        Hub {
            holds: Holds::new(config.slow_after),
            barred: Barred::default(),
            memory: Memory::new(config.memory_limit),
            resumed: VecDeque::new(),
            config,
            conns: HashMap::new(),
            sessions: Slab::new(),
            rooms: Rooms::default(),
            deadlines: Deadlines::default(),
            ready: VecDeque::new(),
            events: VecDeque::new(),
            stats: Stats::default(),
            push_warning: Seldom::default(),
            found: Vec::new(),
            announcements: Announcements::default(),
            counted: 0,
            down: false,
            remote: None,
        }
    }

    /// An empty hub that is one of several instances. The values of [`Hub::poll_cluster`] are for its
    /// [`Cluster`](super::cluster::Cluster), which must answer before the next input.
    pub fn clustered(config: Config) -> Hub {
        Hub { remote: Some(Box::default()), ..Hub::new(config) }
    }

    /// Handles an input. Poll afterwards. Inputs for an unknown or closing connection are ignored.
    pub fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Connected { conn, id, host, local } => self.connected(conn, id, host, local, now),
            Input::Text { conn, text } => {
                if let Some(key) = self.heard(conn, now) {
                    self.text(key, text, now);
                }
            }
            Input::Binary { conn } => {
                let refusal = Refusal::bad("Frames must be text, not binary");
                self.refuse_conn(conn, &refusal, CloseCode::UNSUPPORTED, now);
            }
            Input::TooLarge { conn } => {
                let session = self.conns.get(&conn).and_then(|key| self.sessions.get(*key));
                let refusal = too_large(session.map_or(0, |session| session.max_frame(&self.config)));
                self.refuse_conn(conn, &refusal, CloseCode::TOO_BIG, now);
            }
            Input::BadFrame { conn, code } => {
                self.refuse_conn(conn, &Refusal::bad("The WebSocket protocol was violated"), code, now);
            }
            Input::Alive { conn } => _ = self.heard(conn, now),
            Input::Full { conn, moved } => self.full(conn, moved, now),
            Input::Buffered { conn, bytes } => self.buffered(conn, bytes, now),
            Input::Closed { conn } => self.closed(conn, now),
            Input::Verdict { conn, verdict } => self.judged(conn, verdict, now),
            Input::Inject { text } => _ = self.publish(text, now),
            Input::Kick { whom, status, message } => {
                self.kick(whom, status, message, now);
                if let Whom::Address(address) = whom {
                    self.spread_kick(address, status, message);
                }
            }
            Input::Shutdown => self.shutdown(now),
            Input::Timeout => self.timeout(now),
        }
        self.relieve(now);
    }

    /// The next output. Ends with [`Output::Timeout`].
    pub fn poll_output(&mut self) -> Output {
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        if let Some(conn) = self.ready.pop_front() {
            return Output::Ready(conn);
        }
        if let Some(conn) = self.resumed.pop_front() {
            return Output::Resume(conn);
        }
        let due =
            [self.deadlines.next(), self.holds.due(), self.announcements.due()].into_iter().flatten().min();
        Output::Timeout(due)
    }

    /// The next value for the cluster, from a hub that is one of several.
    pub fn poll_cluster(&mut self) -> Option<ToCluster> {
        self.remote.as_mut()?.poll()
    }

    /// When a peer last sent a frame of its own; `None` if it is not admitted.
    pub fn last_active(&self, conn: ConnId) -> Option<Instant> {
        match &self.sessions.get(*self.conns.get(&conn)?)?.state {
            State::Live(live) => Some(live.bucket.last()),
            _ => None,
        }
    }

    /// Whether this name is reserved for peers in this process.
    #[cfg(feature = "camera")]
    pub(crate) fn reserves(&self, user: &str) -> bool {
        policy::is_reserved(&self.config, false, user)
    }

    /// The origin of the session with this address (`user|id`), if it is live here and has a socket.
    pub fn host_of(&self, address: &str) -> Option<IpAddr> {
        let Some(Target::Session { user, id }) = Target::parse(address) else { return None };
        let key = self.rooms.session(id).filter(|key| self.rooms.user_of(*key) == Some(user))?;
        match &self.sessions.get(key)?.state {
            State::Live(live) => live.host,
            _ => None,
        }
    }

    /// Whether there are outputs, or values for the cluster, after a [`Hub::transmit`].
    pub fn has_output(&self) -> bool {
        let says = self.remote.as_ref().is_some_and(|remote| remote.has_more());
        says || !self.resumed.is_empty() || !self.ready.is_empty() || !self.events.is_empty()
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        let (mut peers, mut peers_away, mut queued, mut longest_queue) = (0, 0, 0, 0);
        for (_, session) in self.sessions.iter() {
            peers += usize::from(matches!(session.state, State::Live(_)));
            peers_away += usize::from(matches!(session.state, State::Away(_)));
            queued += session.outbox.bytes();
            longest_queue = longest_queue.max(session.outbox.bytes());
        }
        Stats {
            connections: self.conns.len(),
            peers,
            peers_away,
            rooms: self.rooms.len(),
            queued,
            longest_queue,
            held: self.holds.held(),
            ..self.stats
        }
    }

    fn connected(&mut self, conn: ConnId, id: String, host: Option<IpAddr>, local: bool, now: Instant) {
        if self.conns.contains_key(&conn) {
            warn!("connection {} was reported twice; ignoring the second", conn.0);
            return;
        }
        let valid = !id.is_empty() && !id.contains('|');
        let key = self.sessions.insert(Session {
            conn,
            local,
            heard: now,
            pinged: now,
            alarm: None,
            input: 0,
            outbox: Outbox::new(self.config.queue_limit),
            state: State::Waiting(Box::new(Arrival { id, host, since: now })),
        });
        self.conns.insert(conn, key);
        self.counted += usize::from(policy::is_limited(local));
        trace!("connection {} opened", conn.0);
        if self.down {
            let refusal = Refusal::new(Status::UNAVAILABLE, "Server shutting down");
            self.refuse(key, &refusal, CloseCode::GOING_AWAY, now);
        } else if self.counted > self.config.max_connections {
            let refusal = Refusal::new(Status::UNAVAILABLE, "The server is full; try again later");
            self.refuse(key, &refusal, CloseCode::TRY_AGAIN, now);
        } else if !valid {
            self.fail(key, "the id of a session must not be empty or contain |", now);
        } else {
            self.reschedule(key);
        }
    }

    /// Records that a connection is alive.
    fn heard(&mut self, conn: ConnId, now: Instant) -> Option<Key> {
        let key = *self.conns.get(&conn)?;
        self.sessions.get_mut(key)?.heard = now;
        Some(key)
    }

    pub(super) fn text(&mut self, key: Key, text: &str, now: Instant) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let max = session.max_frame(&self.config);
        if text.len() > max && !matches!(session.state, State::Closing) {
            let refusal = too_large(max);
            return self.refuse(key, &refusal, CloseCode::TOO_BIG, now);
        }
        match &mut session.state {
            State::Live(_) => self.live_frame(key, text, now),
            State::Waiting(_) => self.first_frame(key, text, now),
            State::Judging(judging) => {
                if judging.hold(text) {
                    return self.relieve_strangers(now);
                }
                let refusal = Refusal::new(Status::TOO_MANY, "Too much was sent before \"welcome\"");
                self.refuse(key, &refusal, CloseCode::POLICY, now);
            }
            State::Closing | State::Away(_) => {}
        }
    }

    /// The presence that announces a live session.
    pub(super) fn card(&mut self, key: Key) -> Option<Arc<str>> {
        match &mut self.sessions.get_mut(key)?.state {
            State::Live(live) => {
                Some(live.card.get_or_insert_with(|| presence::online(&live.who, &live.profile)).clone())
            }
            State::Away(away) => Some(Self::away_card(away)),
            _ => None,
        }
    }

    /// Reports that there is something to transmit, if there is, and updates the session's deadline.
    pub(super) fn wake(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if !session.outbox.announced && !session.outbox.is_empty() {
            session.outbox.announced = true;
            self.ready.push_back(session.conn);
        }
        self.reschedule(key);
    }

    pub(super) fn reschedule(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let due = session.due(&self.config);
        self.deadlines.set(key, &mut session.alarm, due);
    }

    fn refuse_conn(&mut self, conn: ConnId, refusal: &Refusal, code: CloseCode, now: Instant) {
        if let Some(key) = self.heard(conn, now) {
            self.refuse(key, refusal, code, now);
        }
    }

    /// Sends an error, and closes.
    pub(super) fn refuse(&mut self, key: Key, refusal: &Refusal, code: CloseCode, now: Instant) {
        let Some(session) = self.sessions.get(key) else { return };
        let host = match &session.state {
            State::Closing | State::Away(_) => return,
            State::Live(_) => None,
            State::Waiting(arrival) => Some(arrival.host),
            State::Judging(judging) => Some(judging.arrival.host),
        };
        if let Some(host) = host {
            self.stats.refused += 1;
            self.events.push_back(Event::Refused { host, status: refusal.status });
        }
        debug!("closing connection {}: error {}, close code {code}", session.conn.0, refusal.status);
        self.answer(key, &refusal.frame().into(), now);
        self.close(key, code, refusal.message.clone(), false, now);
    }

    /// A fault of the server itself; the client is not told the reason.
    fn fail(&mut self, key: Key, why: &str, now: Instant) {
        warn!("a connection cannot be served: {why}");
        let refusal = Refusal::new(Status::INTERNAL, "The server failed");
        self.refuse(key, &refusal, CloseCode::INTERNAL, now);
    }

    /// Ends a session: others see it offline at once; the driver reports when it has closed.
    pub(super) fn close(
        &mut self,
        key: Key,
        code: CloseCode,
        why: std::borrow::Cow<'static, str>,
        discard: bool,
        now: Instant,
    ) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.outbox.shut(code, reason(why), discard, now);
        // Reported again: a driver that is stuck in a write to a slow peer must notice the close.
        session.outbox.announced = false;
        self.depart(key, now);
        self.wake(key);
    }

    fn closed(&mut self, conn: ConnId, now: Instant) {
        let Some(key) = self.conns.remove(&conn) else { return };
        self.depart(key, now);
        trace!("connection {} has ended", conn.0);
        if let Some(session) = self.sessions.remove(key) {
            self.unbuffered(&session);
        }
    }

    /// Removes a session from its rooms and tells those who shared one; exactly once, for whatever reason it ends.
    fn depart(&mut self, key: Key, now: Instant) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let was = std::mem::replace(&mut session.state, State::Closing);
        let conn = session.conn;
        if !matches!(was, State::Closing) {
            self.counted -= usize::from(policy::is_limited(session.local));
        }
        self.deadlines.set(key, &mut session.alarm, None);
        self.forget_holds(key, now);
        let live = match was {
            State::Live(live) => live,
            State::Judging(judging) => return self.turned_away(&judging, now),
            _ => return,
        };
        let names = self.departs(key, &live.who);
        self.rooms.unseat(key, &live.who);
        let peer = presence::peer(&live.who, &live.profile, false);
        self.events.push_back(Event::PeerOffline { conn, peer });
        debug!("connection {} is offline", conn.0);
        self.tell_changes(now);
        self.departed(names, now);
    }

    pub(super) fn kick(&mut self, whom: Whom<'_>, status: Status, message: &str, now: Instant) {
        let refusal = Refusal::new(status, message.to_owned());
        for key in self.meant(whom) {
            self.refuse(key, &refusal, refusal.close_code(), now);
        }
    }

    fn meant(&self, whom: Whom<'_>) -> Vec<Key> {
        let user =
            |name: &str| self.rooms.user(name).map_or(&[][..], |room| self.rooms.members(room)).to_vec();
        match whom {
            Whom::Conn(conn) => self.conns.get(&conn).copied().into_iter().collect(),
            Whom::Address(address) => match Target::parse(address) {
                Some(Target::Session { user, id }) => {
                    let session = self.rooms.session(id);
                    session.filter(|key| self.rooms.user_of(*key) == Some(user)).into_iter().collect()
                }
                Some(Target::Id(id)) => self.rooms.session(id).into_iter().collect(),
                Some(Target::User(name) | Target::Name(name)) => user(name),
                None => Vec::new(),
            },
        }
    }

    fn shutdown(&mut self, now: Instant) {
        if std::mem::replace(&mut self.down, true) {
            return;
        }
        debug!("shutting down with {} connections", self.conns.len());
        let (event, keys) = (SHUTDOWN.into(), self.conns.values().copied().collect::<Vec<_>>());
        for key in keys {
            self.answer(key, &event, now);
            self.close(key, CloseCode::GOING_AWAY, "Server shutting down".into(), false, now);
        }
        self.say_bye();
    }

    fn timeout(&mut self, now: Instant) {
        self.look_at_holds(now);
        self.tell_due(now);
        while let Some(key) = self.deadlines.pop(now) {
            let Some(session) = self.sessions.get_mut(key) else { continue };
            session.alarm = None;
            self.alarm(key, now);
            let Some(session) = self.sessions.get_mut(key) else { continue };
            let due = session.due(&self.config).map(|due| due.max(now + TICK));
            self.deadlines.set(key, &mut session.alarm, due);
        }
    }

    /// Handles the deadline of a session.
    fn alarm(&mut self, key: Key, now: Instant) {
        let config = &self.config;
        let Some(session) = self.sessions.get_mut(key) else { return };
        let conn = session.conn.0;
        match &session.state {
            State::Waiting(arrival) if is_past(arrival.since, config.auth_timeout, now) => {
                let wait = config.auth_timeout;
                let refusal =
                    Refusal::new(Status::TIMEOUT, format!("\"auth\" was not received within {wait:?}"));
                self.refuse(key, &refusal, CloseCode::POLICY, now);
            }
            State::Judging(judging) if is_past(judging.since, config.verdict_timeout, now) => {
                warn!("the host did not decide in time");
                let refusal = Refusal::new(Status::UNAVAILABLE, "Authentication takes too long; try again");
                self.refuse(key, &refusal, CloseCode::TRY_AGAIN, now);
            }
            State::Live(_) if policy::is_limited(session.local) => {
                let is_quiet = is_past(session.heard.max(session.pinged), config.ping_interval, now);
                if self.holds.is_held(key) {
                    // Its socket is not being read.
                    session.heard = now;
                }
                if is_past(session.heard, config.idle_timeout, now) {
                    debug!("closing connection {conn}: nothing received for {:?}", config.idle_timeout);
                    return self.close(key, CloseCode::POLICY, "idle for too long".into(), true, now);
                }
                if is_quiet {
                    session.pinged = now;
                    session.outbox.push_ping();
                    self.wake(key);
                }
            }
            State::Closing
                if session.outbox.closing_since().is_some_and(|t| is_past(t, MAX_FAREWELL, now)) =>
            {
                debug!("connection {conn} does not accept its close; dropping its queue");
                self.give_up(key);
            }
            _ => {}
        }
    }
}
