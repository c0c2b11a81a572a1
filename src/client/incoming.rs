//! What the server sends: `welcome`, errors, rooms, presences, and messages from peers.

use std::collections::{BTreeSet, VecDeque};

use serde_json::Value;
use serde_json::value::RawValue;

use super::agent::{Session, Stage, brief, later};
use super::answers::judged;
use super::backoff::{Wait, after_error};
use super::pacing::Outbox;
use super::roster::Change;
use super::{Agent, CommandError, End, Event, RequestError};
use crate::limit::{Bucket, RateKey, RateLimit};
use crate::proto::{
    Address, CloseCode, Draft, Message, MessageKind, Object, PRESENCE_BATCH, Peer, Status, valid_room,
};

/// The most rooms accepted from a server: far more than any server allows a session.
const MAX_ROOMS_TOLD: usize = 1024;

/// Probes waiting for our presence. A peer beyond that can ask again.
const MAX_ASKERS: usize = 256;

/// Former sessions of ours that a server may still announce.
const MAX_PAST: usize = 8;

impl From<Change> for Event {
    fn from(change: Change) -> Self {
        match change {
            Change::Added(peer) => Event::PeerAdded { peer },
            Change::Updated(peer) => Event::PeerUpdated { peer },
            Change::Removed(peer) => Event::PeerRemoved { peer },
        }
    }
}

impl Agent {
    pub(super) fn handle_text(&mut self, text: &str) {
        if let Stage::Online(session) = &mut self.stage {
            (session.heard, session.check) = (self.now, None);
        }
        if text.len() > self.config.max_message_size {
            return log::debug!("ignoring a frame of {} bytes: too long", text.len());
        }
        let message = match Message::parse(text) {
            Ok(message) => message,
            Err(error) => {
                log::debug!("ignoring a frame that is not a message");
                // The error quotes the frame.
                return log::trace!("{error}");
            }
        };
        let online = matches!(self.stage, Stage::Online(_));
        match message.kind() {
            MessageKind::Welcome if !online => self.welcome(&message),
            MessageKind::Error if !online => {
                let (status, words) = error_of(&message);
                self.refused(status, words);
            }
            // Some servers announce that they are ready; other frames have no meaning yet.
            _ if !online => log::debug!("ignoring a frame before welcome"),
            MessageKind::Welcome => log::debug!("ignoring a second welcome"),
            MessageKind::Error => self.server_error(&message),
            MessageKind::JoinOk => self.room_answer(&message, true),
            MessageKind::LeaveOk => self.room_answer(&message, false),
            MessageKind::Presence => self.presence_came(&message),
            MessageKind::Other(kind) if **kind == *PRESENCE_BATCH => self.presences_came(message),
            MessageKind::Receipt => self.receipt(&message),
            MessageKind::Command => self.command_came(message),
            _ => self.event(Event::Message { message }),
        }
    }

    fn welcome(&mut self, message: &Message) {
        let status = message.status().unwrap_or(Status::OK);
        if status != Status::OK {
            return self.refused(status, text_of(message, "message"));
        }
        let peer = message.get::<Peer>("peer").ok().flatten();
        let valid = |peer: &Peer| !peer.user.is_empty() && !peer.id.is_empty() && !peer.id.contains('|');
        let Some(mut peer) = peer.filter(valid) else {
            let reason = "the server's welcome has no peer".to_owned();
            return self.lost(reason, Wait::Longest, Some((CloseCode(1002), "welcome without a peer")));
        };
        // For a server that keeps no data about its peers, we add our own.
        peer.merge(self.config.data.clone(), true);
        let told = message.get::<Vec<Value>>("rooms").ok().flatten().unwrap_or_default();
        let told =
            told.into_iter().filter_map(|room| room.as_str().filter(|r| valid_room(r)).map(str::to_owned));
        let rooms: BTreeSet<String> = told.take(MAX_ROOMS_TOLD).collect();
        log::debug!("online, in {} rooms", rooms.len());

        self.roster.unsee();
        self.past.push_back(peer.id.clone());
        if self.past.len() > MAX_PAST {
            self.past.pop_front();
        }
        let now = self.now;
        let mut session = Session {
            sweep: (!self.roster.is_empty()).then(|| later(now, self.config.roster_grace)),
            asked: VecDeque::new(),
            since: now,
            heard: now,
            pinged: now,
            check: None,
            bucket: Bucket::new(RateLimit { per_second: self.config.rate, burst: self.config.burst }, now),
            outbox: Outbox::new(self.config.outbox_limit),
            full: false,
            askers: VecDeque::new(),
            peer: peer.clone(),
            rooms: rooms.clone(),
        };
        // An entry of `rooms` that equals our user name is the user's own room; a named room of that name is
        // a different one.
        let missing = self.wishes.wanted().filter(|room| *room == peer.user || !rooms.contains(*room));
        let spare = self.wishes.unwanted().filter(|room| rooms.contains(*room));
        for (kind, room) in
            missing.map(|r| (MessageKind::Join, r)).chain(spare.map(|r| (MessageKind::Leave, r)))
        {
            session.note_asked(room);
            session.outbox.push(Draft::new(kind).with("room", room).finish(), None);
        }
        self.stage = Stage::Online(Box::new(session));
        self.event(Event::Online { peer, rooms: rooms.into_iter().collect() });
        // Last, so that it reaches the rooms just joined.
        let probe = self.presence(None, true);
        if let Stage::Online(session) = &mut self.stage {
            session.outbox.push(probe, None);
        }
    }

    /// An `error` instead of `welcome`.
    fn refused(&mut self, status: Status, words: String) {
        match after_error(status) {
            None => self.end(End::Refused { message: words }),
            Some(wait) => {
                let reason = format!("the server refused the connection: {status} {words}");
                self.lost(reason.trim_end().to_owned(), wait, Some((CloseCode::NORMAL, "")));
            }
        }
    }

    fn server_error(&mut self, message: &Message) {
        let (status, words) = error_of(message);
        if status == Status::UNAUTHORIZED {
            return self.end(End::Refused { message: words });
        }
        if let Some(room) = self.refused_room(message, status) {
            self.wishes.forget(&room);
            return self.event(Event::RoomRefused { room, status, message: words });
        }
        self.event(Event::Error { status, message: words });
    }

    /// Which room an error is about: the one it names, or the oldest request without an answer. Among errors
    /// that name no room, only 403 is certain to answer a room request, and one without a status, as the Node.js server
    /// answers with dynamic rooms off; 429 may be about any frame.
    fn refused_room(&mut self, message: &Message, status: Status) -> Option<String> {
        let Stage::Online(session) = &mut self.stage else { return None };
        match message.get::<String>("room").ok().flatten() {
            Some(room) => session.take_asked(&room),
            None if status == Status::FORBIDDEN || message.status().is_none() => session.asked.pop_front(),
            None => None,
        }
    }

    fn room_answer(&mut self, message: &Message, joined: bool) {
        let Stage::Online(session) = &mut self.stage else { return };
        let Some(room) = message.get::<String>("room").ok().flatten().filter(|room| valid_room(room)) else {
            return log::debug!("ignoring an answer without a room");
        };
        session.take_asked(&room);
        if !joined {
            session.rooms.remove(&room);
            return self.event(Event::Left { room });
        }
        if session.rooms.len() < MAX_ROOMS_TOLD {
            session.rooms.insert(room.clone());
        }
        // The presences of its members follow.
        if let Some(sweep) = &mut session.sweep {
            *sweep = later(self.now, self.config.roster_grace);
        }
        self.event(Event::Joined { room });
    }

    fn presence_came(&mut self, message: &Message) {
        let data = message.data::<Object>().ok();
        let member = |name| data.as_ref().and_then(|data| data.get(name)?.as_str());
        // `from` is set by the server; a server that announces others may leave it out.
        let peer = match message.from().filter(|from| !from.id().is_empty()) {
            Some(from) => from.clone(),
            None => Address::new(member("user").unwrap_or_default(), member("id").unwrap_or_default()),
        };
        let Stage::Online(session) = &mut self.stage else { return };
        if self.past.iter().any(|own| own == peer.id()) {
            return;
        }
        if message.is_probe() && !peer.id().is_empty() {
            let room = session.askers.len() < MAX_ASKERS && peer.as_str().len() <= 1024;
            let fresh = room && !session.askers.contains(&peer);
            if fresh && self.probes.take(&RateKey::new(None, peer.as_str()), self.now) {
                session.askers.push_back(peer.clone());
            }
        }
        if let Some(change) = data.and_then(|data| self.roster.presence(&peer, data)) {
            self.event(change.into());
        }
    }

    /// Several presences at once, in order. Entries that are not presences are ignored.
    fn presences_came(&mut self, message: Message) {
        let Ok(batch) = message.data::<Vec<Box<RawValue>>>() else {
            return self.event(Event::Message { message });
        };
        for raw in batch {
            match Message::parse(raw.get()) {
                Ok(presence) if *presence.kind() == MessageKind::Presence => self.presence_came(&presence),
                _ => log::debug!("ignoring a batch entry that is not a presence"),
            }
        }
    }

    fn receipt(&mut self, message: &Message) {
        let Some(id) = message.id().map(str::to_owned) else { return };
        let status = message.status().unwrap_or(Status::OK);
        let delivered = message.get::<u64>("delivered").ok().flatten().unwrap_or(0);
        if self.commands.is_pending(&id) {
            // The receipt of a command that we sent. If it was delivered, the reply is still to come.
            if status == Status::NOT_FOUND
                && let Some(id) = self.commands.finish(&id)
            {
                let awaited = self.answers.reply(id, || Err(RequestError::NobodyThere));
                self.answered(awaited);
                self.event(Event::Reply { id, result: Err(CommandError::NobodyThere) });
            }
            return;
        }
        let awaited = self.answers.receipt(&id, || match status {
            Status::NOT_FOUND => Err(RequestError::NobodyThere),
            _ => judged(message).unwrap_or_else(|| Ok(message.clone())),
        });
        self.answered(awaited);
        self.event(Event::Receipt { id, status, delivered });
    }

    /// A command with a `status` is a reply, as in every Symple client; 202 means that the peer is still
    /// working on it.
    fn command_came(&mut self, message: Message) {
        if message.raw("status").is_none() {
            return self.event(Event::Command { command: message });
        }
        let wire_id = message.id().unwrap_or_default();
        let Some(id) = self.commands.find(wire_id, message.from()) else {
            return self.event(Event::Message { message });
        };
        let Some(judged) = judged(&message) else {
            self.commands.postpone(wire_id, later(self.now, self.config.command_timeout));
            return self.event(Event::Progress { id, message });
        };
        self.commands.finish(wire_id);
        let awaited = self.answers.reply(id, || judged);
        self.answered(awaited);
        self.event(Event::Reply { id, result: Ok(message) });
    }
}

impl Session {
    fn take_asked(&mut self, room: &str) -> Option<String> {
        let at = self.asked.iter().position(|asked| asked == room)?;
        self.asked.remove(at)
    }
}

fn error_of(message: &Message) -> (Status, String) {
    (message.status().unwrap_or(Status::INTERNAL), text_of(message, "message"))
}

fn text_of(message: &Message, member: &str) -> String {
    message.get::<String>(member).ok().flatten().map_or(String::new(), |words| brief(&words).to_owned())
}
