//! Frames of admitted peers: routed messages, presences, and control messages.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use log::{debug, trace, warn};
use serde_json::Value;

use crate::proto::{self, CloseCode, Head, Peer, Status, To, stamped};

use super::Hub;
use super::error::Refusal;
use super::limits::Pass;
use super::outbox::Class;
use super::policy::{self, Join};
use super::presence::Who;
use super::remote::Spread;
use super::routing::{Sender, recipients};
use super::session::{Live, State};
use super::slab::Key;

impl Hub {
    pub(super) fn live_frame(&mut self, key: Key, text: &str, now: Instant) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let (conn, local) = (session.conn, session.local);
        let State::Live(live) = &mut session.state else { return };
        let pass = if policy::is_limited(local) { live.bucket.take(&self.config, now) } else { Pass::Yes };
        if pass != Pass::Yes {
            self.stats.dropped_rate += 1;
            let rate = self.config.rate;
            let refusal =
                Refusal::new(Status::TOO_MANY, format!("Dropped: more than {rate} messages per second"));
            return match pass {
                Pass::Abuse => self.refuse(key, &refusal, CloseCode::POLICY, now),
                _ => self.report(key, &refusal, now),
            };
        }
        trace!("connection {} sent {} bytes", conn.0, text.len());
        let done = match Head::parse(text) {
            Err(malformed) => Err(Refusal::bad(malformed.to_string())),
            Ok(head) => self.act(key, local, &head, now),
        };
        if let Err(refusal) = done {
            debug!("connection {} is answered error {}", conn.0, refusal.status);
            self.stats.bad_frames += 1;
            self.report(key, &refusal, now);
        }
    }

    /// Does what a frame asks for, or returns why not.
    fn act(&mut self, key: Key, local: bool, head: &Head<'_>, now: Instant) -> Result<(), Refusal> {
        let count = match &*head.kind {
            "message" => &mut self.stats.messages,
            "command" => &mut self.stats.commands,
            "event" => &mut self.stats.events,
            "presence" => {
                self.stats.presences += 1;
                return self.presence(key, local, head, now);
            }
            "join" => return self.join(key, local, head, now),
            "leave" => return self.leave(key, local, head, now),
            "close" => {
                self.close(key, CloseCode::NORMAL, "".into(), false, now);
                return Ok(());
            }
            "auth" => return Err(Refusal::bad("Already authenticated")),
            _ => {
                return Err(Refusal::bad(
                    "Unknown \"type\": must be message, presence, command, event, join, leave or close",
                ));
            }
        };
        *count += 1;
        let to = self.to(head)?;
        let Some(from) = self.who(key) else { return Ok(()) };
        self.route(key, head, &to, Class::Message, |head| stamped(head, from.address.as_str()), now);
        Ok(())
    }

    fn to<'a>(&self, head: &Head<'a>) -> Result<To<'a>, Refusal> {
        let max = self.config.max_to;
        match head.to() {
            None => Err(Refusal::bad("\"to\" must be a non-empty string or a list of them")),
            Some(To::List(names)) if names.len() > max => {
                Err(Refusal::bad(format!("\"to\" may list at most {max} names")))
            }
            Some(to) => Ok(to),
        }
    }

    pub(super) fn who(&self, key: Key) -> Option<Arc<Who>> {
        match &self.sessions.get(key)?.state {
            State::Live(live) => Some(live.who.clone()),
            State::Away(away) => Some(away.who.clone()),
            _ => None,
        }
    }

    /// Sends a frame to everyone it reaches, serialized once for all, and a receipt if one was requested.
    fn route(
        &mut self,
        key: Key,
        head: &Head<'_>,
        to: &To<'_>,
        class: Class,
        print: impl FnOnce(&Head<'_>) -> String,
        now: Instant,
    ) {
        let mut found = std::mem::take(&mut self.found);
        recipients(to, Sender::Session(key), &mut self.rooms, &mut found);
        if self.rooms.any_quiet() && matches!(class, Class::State { .. }) {
            // Whoever is told that a peer is there must also be told when it leaves.
            found.retain(|peer| self.rooms.knows(key, *peer));
        }
        let names = self.names(Some(key), to);
        let goes_elsewhere = !names.is_empty();
        let mut delivered = 0;
        let mut receipt = head.receipt.then(|| head.id.unwrap_or("null"));
        if !found.is_empty() || goes_elsewhere {
            let text: Arc<str> = print(head).into();
            delivered = self.deliver(Some(key), &found, &text, class, now);
            let what = Spread { to, text: &text, class, receipt: receipt.map(|id| (id, delivered)) };
            if self.spread(key, names, &what) {
                receipt = None;
            }
        }
        found.clear();
        self.found = found;
        self.stats.unheard += u64::from(delivered == 0 && !goes_elsewhere);
        if let Some(id) = receipt {
            self.receipt(key, id, delivered, now);
        }
    }

    /// Tells a sender how many its message reached. `id` is raw.
    pub(super) fn receipt(&mut self, key: Key, id: &str, delivered: usize, now: Instant) {
        let status = if delivered > 0 { Status::OK } else { Status::NOT_FOUND };
        let receipt = format!(r#"{{"type":"receipt","id":{id},"status":{status},"delivered":{delivered}}}"#);
        self.answer(key, &receipt.into(), now);
    }

    /// Delivers a message from the host to everyone its `to` names, like
    /// [`Input::Inject`](super::Input::Inject). Nobody is held for it. Returns how many of the peers here did
    /// not get it because their queue is full; each of those is told once it has read.
    pub fn publish(&mut self, text: &str, now: Instant) -> usize {
        self.inject(text, true, now)
    }

    /// Delivers a message from the host to the peers here, and to those on other instances if `everywhere`.
    pub(super) fn inject(&mut self, text: &str, everywhere: bool, now: Instant) -> usize {
        let to = Head::parse(text).ok().and_then(|head| head.to());
        let Some(to) = to.filter(|to| *to != To::Absent) else {
            self.stats.bad_pushes += 1;
            if let Some(count) = self.push_warning.due(now) {
                warn!(
                    "{count} pushed messages were dropped: each must be one JSON object with \"type\" and \"to\""
                );
            }
            return 0;
        };
        self.stats.injected += 1;
        let mut found = Vec::new();
        recipients(&to, Sender::Host, &mut self.rooms, &mut found);
        let queued = self.deliver(None, &found, &text.into(), Class::Pushed, now);
        if everywhere {
            self.spread_host(&to, text);
        }
        found.len() - queued
    }

    /// Merges what a peer says about itself, and forwards its presence.
    fn presence(&mut self, key: Key, local: bool, head: &Head<'_>, now: Instant) -> Result<(), Refusal> {
        let to = self.to(head)?;
        let forced = policy::forces_name(&self.config, local);
        let max = self.config.max_peer_data;
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        let State::Live(live) = &mut session.state else { return Ok(()) };
        let changed = head.data.map_or(Ok(false), |raw| merge(live, raw, forced, max))?;
        let who = live.who.clone();
        if changed {
            self.rooms.renew(key);
            // Before the message about it: whoever is introduced to the peer in between must see the new
            // state.
            self.changed(key);
        }
        let print = |head: &Head<'_>| {
            let peer = Peer {
                id: who.address.id().into(),
                user: who.address.user().into(),
                name: who.name.to_string(),
                ..Peer::default()
            };
            proto::presence(head, who.address.as_str(), &peer, forced)
        };
        self.route(key, head, &to, Class::State { of: key }, print, now);
        Ok(())
    }

    fn join(&mut self, key: Key, local: bool, head: &Head<'_>, now: Instant) -> Result<(), Refusal> {
        let room = room(head);
        let joins = policy::join(&self.config, local, &self.rooms, key, room.as_deref())?;
        let room = room.unwrap_or_default();
        if joins == Join::Enters {
            self.rooms.join(key, &room);
        }
        if !self.entered(key, &room, joins == Join::Enters) {
            self.joined(key, &room, now);
        }
        self.tell_changes(now);
        Ok(())
    }

    /// Answers a `join`, followed by who else is in the room.
    pub(super) fn joined(&mut self, key: Key, room: &str, now: Instant) {
        self.answer(key, &done("join:ok", room), now);
        self.catch_up(key);
    }

    fn leave(&mut self, key: Key, local: bool, head: &Head<'_>, now: Instant) -> Result<(), Refusal> {
        let name = room(head);
        let room = policy::leave(&self.config, local, &self.rooms, key, name.as_deref())?;
        if let Some(name) = name.as_deref().filter(|_| self.is_one_of_several()) {
            self.settle_join(key, name, now);
        }
        self.answer(key, &done("leave:ok", name.as_deref().unwrap_or_default()), now);
        let (Some(room), Some(who)) = (room, self.who(key)) else { return Ok(()) };
        self.rooms.leave(key, room, &who);
        self.catch_up(key);
        self.tell_changes(now);
        if let Some(name) = name.as_deref().filter(|_| self.is_one_of_several()) {
            self.left(key, name, now);
        }
        Ok(())
    }

    fn report(&mut self, key: Key, refusal: &Refusal, now: Instant) {
        self.answer(key, &refusal.frame().into(), now);
    }
}

/// Merges the `data` of a presence. Returns whether it changed anything. The cached presence is rebuilt when
/// somebody has to be told.
fn merge(live: &mut Live, raw: &str, forced_name: bool, max: usize) -> Result<bool, Refusal> {
    let merged = live.profile.merge(raw, live.who.name.len(), max)?;
    let mut changed = merged.profile.is_some();
    if let Some(profile) = merged.profile {
        live.profile = profile;
        live.card = None;
    }
    let name = merged.name.filter(|name| !forced_name && **name != *live.who.name);
    if let Some(name) = name {
        live.who = Arc::new(Who { address: live.who.address.clone(), name: name.into() });
        live.card = None;
        changed = true;
    }
    Ok(changed)
}

fn room<'a>(head: &Head<'a>) -> Option<Cow<'a, str>> {
    serde_json::from_str::<String>(head.room?).ok().map(Cow::Owned)
}

fn done(kind: &str, room: &str) -> Arc<str> {
    format!(r#"{{"type":"{kind}","room":{}}}"#, Value::from(room)).into()
}
