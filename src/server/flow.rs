//! How much is queued for each connection, who is held because of it, and the limit on memory for all of it.
//!
//! The [module](super) docs state the rule, [`hold`](super::hold) implements its timing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use log::{debug, warn};

use crate::proto::{CloseCode, Status};

use super::Hub;
use super::error::Refusal;
use super::hold::barred::HoldKey;
use super::io::ConnId;
use super::outbox::{Class, Taken};
use super::policy;
use super::session::{Session, State};
use super::slab::Key;

/// Bytes that all connections together may have sent, and the server buffered, before they are admitted: 64
/// clients whose first frame has the maximum size, where 500 bytes is typical.
const STRANGERS: usize = 1 << 20;

/// Bytes queued or buffered in the process.
#[derive(Debug)]
pub(super) struct Memory {
    limit: usize,
    /// Texts in queues, each counted once. Never less than the true value, because what has been sent is not
    /// subtracted.
    texts: usize,
    /// They are counted again when above this.
    recount: usize,
    /// What drivers buffer of frames that are incomplete or not handled yet.
    input: usize,
}

impl Memory {
    pub(super) fn new(limit: usize) -> Self {
        Memory { limit, texts: 0, recount: limit, input: 0 }
    }

    /// A text was queued, for one recipient or many.
    pub(super) fn add(&mut self, text: &str) {
        self.texts = self.texts.saturating_add(text.len());
    }

    fn is_over(&self) -> bool {
        self.texts.saturating_add(self.input) > self.recount
    }
}

impl Hub {
    /// Queues a text for a session. False if it was not queued.
    pub(super) fn post(&mut self, key: Key, text: &Arc<str>, class: Class, now: Instant) -> bool {
        let Some(session) = self.sessions.get_mut(key) else { return false };
        match session.outbox.push(text, class, now) {
            Taken::Yes => {}
            Taken::No => {
                self.stats.dropped_slow += u64::from(matches!(class, Class::Pushed));
                return false;
            }
            Taken::Stuck => {
                self.too_slow(key, now);
                return false;
            }
        }
        if session.local && !session.outbox.refuses() {
            // An in-process peer has no socket to ask: it has received what it has fetched.
            session.outbox.refuse(false, now);
        }
        if !session.outbox.announced {
            session.outbox.announced = true;
            self.ready.push_back(session.conn);
        }
        true
    }

    /// Queues a text for all of these; returns how many queues took it. Those with too much queued hold
    /// `sender`.
    pub(super) fn deliver(
        &mut self,
        sender: Option<Key>,
        found: &[Key],
        text: &Arc<str>,
        class: Class,
        now: Instant,
    ) -> usize {
        let mut queued = 0;
        let shown = sender.map_or(0, |sender| self.rooms.shown(sender));
        let class = match class {
            Class::Message if sender.is_some_and(|sender| !self.can_be_held(sender)) => Class::Unheld,
            class => class,
        };
        for peer in found {
            if !self.is_told(*peer, shown, class) {
                continue;
            }
            if !self.post(*peer, text, class, now) {
                continue;
            }
            queued += 1;
            if let (Some(sender), Class::Message) = (sender, class)
                && self.sessions.get(*peer).is_some_and(|session| session.outbox.is_high())
            {
                self.hold(*peer, sender, now);
            }
        }
        self.memory.add(text);
        self.stats.deliveries += queued as u64;
        queued
    }

    /// Makes sure that a recipient has been told about a peer, which arrived with the change `shown`, before
    /// it gets anything from it. False if that is not possible yet and the text is a state, which it gets
    /// later with the rest.
    fn is_told(&mut self, recipient: Key, shown: u64, class: Class) -> bool {
        let Some(session) = self.sessions.get_mut(recipient) else { return false };
        let is_joining = session.outbox.joining > 0;
        if let (true, Class::State { of }) = (is_joining, class) {
            session.outbox.owe(of);
            return false;
        }
        if session.outbox.told() < shown && !is_joining {
            self.catch_up(recipient);
        }
        true
    }

    /// Answers a session itself, which its own queue holds.
    pub(super) fn answer(&mut self, key: Key, text: &Arc<str>, now: Instant) {
        self.memory.add(text);
        self.post(key, text, Class::Answer, now);
        let full = |session: &Session| session.outbox.is_high() && matches!(session.state, State::Live(_));
        if self.sessions.get(key).is_some_and(full) {
            self.hold(key, key, now);
        }
    }

    /// Too much is queued for other instances: holds a sender until there is less.
    pub(super) fn hold_for_bus(&mut self, sender: Key, now: Instant) {
        if self.can_be_held(sender) {
            self.holds.hold(Key::BUS, sender, false, now);
        }
    }

    fn hold(&mut self, recipient: Key, sender: Key, now: Instant) {
        let Some(session) = self.sessions.get(recipient) else { return };
        let refuses = session.outbox.refuses();
        if refuses && self.is_barred(recipient, now) {
            return self.too_slow(recipient, now);
        }
        if self.holds.hold(recipient, sender, refuses, now) {
            self.hold_away(recipient, sender);
        }
    }

    /// Whether a connection is held: pass on nothing more from it until
    /// [`Output::Resume`](super::Output::Resume).
    pub fn is_held(&self, conn: ConnId) -> bool {
        !self.holds.is_idle() && self.conns.get(&conn).is_some_and(|key| self.holds.is_held(*key))
    }

    /// A recipient no longer holds anybody, if its queue is low enough.
    pub(super) fn drained(&mut self, recipient: Key, now: Instant) {
        if self.holds.is_holding(recipient) {
            self.resume_away(recipient);
            let away = self.held_away(recipient);
            let free = self.holds.release(recipient, now);
            self.tell_spent(&away, now);
            self.resume(free, now);
        }
    }

    /// A session is gone: it holds nobody, and nobody holds it.
    pub(super) fn forget_holds(&mut self, key: Key, now: Instant) {
        let away = self.held_away(key);
        let free = self.holds.remove(key, now);
        self.tell_spent(&away, now);
        self.resume(free, now);
    }

    /// A peer that is held by peers of another instance, or holds some, starts over when that instance does.
    pub(super) fn free_away(&mut self, key: Key, now: Instant) {
        self.holds.free(key, now);
        let free = self.holds.release(key, now);
        self.resume(free, now);
    }

    /// A peer on another instance holds one of ours.
    pub(super) fn held_from_away(&mut self, recipient: Key, sender: Key, now: Instant) {
        if !self.can_be_held(sender) {
            return;
        }
        // Its own instance does the counting and knows what its socket does.
        self.holds.hold(recipient, sender, false, now);
    }

    /// It no longer holds that one.
    pub(super) fn freed_from_away(&mut self, recipient: Key, sender: Key, now: Instant) {
        if self.holds.part(recipient, sender, now) {
            self.resume(vec![sender], now);
        }
    }

    fn can_be_held(&self, sender: Key) -> bool {
        let Some(session) = self.sessions.get(sender) else { return false };
        match &session.state {
            State::Live(live) => policy::is_held(&self.config, session.local, live.who.address.user()),
            _ => !session.is_local(),
        }
    }

    fn resume(&mut self, free: Vec<Key>, now: Instant) {
        for key in free {
            let Some(session) = self.sessions.get_mut(key) else { continue };
            if matches!(session.state, State::Away(_)) {
                continue;
            }
            // It may have been sending all the time.
            session.heard = now;
            self.resumed.push_back(session.conn);
            self.reschedule(key);
        }
    }

    /// A socket accepts nothing more right now.
    pub(super) fn full(&mut self, conn: ConnId, moved: bool, now: Instant) {
        let Some(&key) = self.conns.get(&conn) else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.outbox.refuse(moved, now);
        if moved {
            // Its answer to a ping comes after everything it still has to read.
            session.heard = now;
        }
        if !self.holds.is_holding(key) {
            return;
        }
        if self.is_barred(key, now) {
            return self.too_slow(key, now);
        }
        self.holds.refuses(key, moved, now);
    }

    /// Closes those who have held others for too long.
    pub(super) fn look_at_holds(&mut self, now: Instant) {
        if self.holds.due().is_none_or(|due| due > now) {
            return;
        }
        let (due, held) = self.holds.look(now);
        self.tell_spent(&held, now);
        for key in due {
            // Unless those it held were released along with another.
            if self.holds.is_holding(key) {
                self.too_slow(key, now);
            }
        }
    }

    pub(super) fn too_slow(&mut self, key: Key, now: Instant) {
        let Some(session) = self.sessions.get(key) else { return };
        debug!(
            "closing connection {}: it reads too slowly, {} bytes are queued",
            session.conn.0,
            session.outbox.bytes()
        );
        self.stats.closed_slow += 1;
        if let Some(origin) = self.origin(key) {
            self.barred.add(origin, now);
        }
        self.close(key, CloseCode::POLICY, "too slow".into(), true, now);
    }

    fn is_barred(&self, key: Key, now: Instant) -> bool {
        self.origin(key).is_some_and(|origin| self.barred.contains(&origin, now))
    }

    fn origin(&self, key: Key) -> Option<HoldKey> {
        let session = self.sessions.get(key).filter(|session| !session.local)?;
        let State::Live(live) = &session.state else { return None };
        Some((live.who.address.user().into(), live.host))
    }

    /// A driver is buffering this many bytes from a connection.
    pub(super) fn buffered(&mut self, conn: ConnId, bytes: usize, now: Instant) {
        let Some(&key) = self.conns.get(&conn) else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        let old = std::mem::replace(&mut session.input, u32::try_from(bytes).unwrap_or(u32::MAX));
        self.memory.input =
            self.memory.input.saturating_sub(old as usize).saturating_add(session.input as usize);
        if bytes > 0 && session.is_stranger() {
            self.relieve_strangers(now);
        }
    }

    /// The session is gone, and so is what was buffered for it.
    pub(super) fn unbuffered(&mut self, session: &Session) {
        self.memory.input = self.memory.input.saturating_sub(session.input as usize);
    }

    /// Refuses the newest connection that is not admitted while those together have sent too much.
    pub(super) fn relieve_strangers(&mut self, now: Instant) {
        loop {
            let strangers = || self.sessions.iter().filter(|(_, session)| session.is_stranger());
            if strangers().map(|(_, session)| session.kept()).sum::<usize>() <= STRANGERS {
                return;
            }
            let Some((key, _)) = strangers().max_by_key(|(_, session)| session.conn) else { return };
            let words = "Too much data from clients that are not admitted yet; try again later";
            self.refuse(key, &Refusal::new(Status::UNAVAILABLE, words), CloseCode::TRY_AGAIN, now);
        }
    }

    /// Closes the connection that uses most while all together use too much.
    pub(super) fn relieve(&mut self, now: Instant) {
        while self.memory.is_over() {
            let mut seen = HashSet::new();
            let texts = self.sessions.iter().flat_map(|(_, session)| session.outbox.texts());
            self.memory.texts = texts.filter(|text| seen.insert(text.as_ptr())).map(|text| text.len()).sum();
            let Memory { limit, texts, input, .. } = self.memory;
            if texts + input <= limit {
                // Counted again once an eighth more has been added, so that counting stays cheap near the
                // limit too.
                self.memory.recount = limit.max(texts + input + limit / 8);
                return;
            }
            self.memory.recount = limit;
            let of = |session: &Session| session.outbox.bytes() + session.kept();
            let largest = self.sessions.iter().max_by_key(|(_, session)| of(session));
            let Some((key, session)) = largest.filter(|(_, session)| of(session) > 0) else { return };
            warn!("the queues use {} bytes, over the limit: closing the largest", texts + input);
            self.memory.input = input.saturating_sub(session.input as usize);
            match session.state {
                State::Closing => self.give_up(key),
                _ => self.too_slow(key, now),
            }
            if let Some(session) = self.sessions.get_mut(key) {
                session.input = 0;
            }
        }
    }

    /// Drops what is queued for a connection that is closing.
    pub(super) fn give_up(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.outbox.discard();
        session.outbox.announced = false;
        self.wake(key);
    }
}
