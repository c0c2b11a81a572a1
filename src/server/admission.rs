//! Admits peers: the first frame, the host's verdict, and the terms.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use log::{debug, warn};
use serde_json::Value;

use crate::proto::{Address, PROTOCOL, Status, valid_room, valid_user};

use super::auth_frame::{Claim, Terms, claim, denied};
use super::error::Refusal;
use super::io::{Admission, Auth, ConnId, Event, Verdict};
use super::limits::Bucket;
use super::presence::{self, Profile, Who};
use super::session::{Arrival, Judging, Live, State};
use super::slab::Key;
use super::{Hub, policy};

impl Hub {
    pub(super) fn first_frame(&mut self, key: Key, text: &str, now: Instant) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let (conn, local) = (session.conn, session.local);
        let granted = policy::grants_own_rooms(&self.config, local);
        let ask = policy::needs_verdict(&self.config, local);
        let claim = claim(text, granted, self.config.max_rooms).and_then(|claim| {
            if ask && claim.token.is_none() { Err(denied("a token is needed")) } else { Ok(claim) }
        });
        let mut claim = match claim {
            Ok(claim) if policy::is_reserved(&self.config, local, &claim.user) => {
                let refusal = reserved();
                return self.refuse(key, &refusal, refusal.close_code(), now);
            }
            Ok(claim) if ask => claim,
            Ok(claim) => return self.admit(key, claim, None, now),
            Err(refusal) => return self.refuse(key, &refusal, refusal.close_code(), now),
        };
        let State::Waiting(arrival) = std::mem::replace(&mut session.state, State::Closing) else { return };
        let auth = Auth {
            user: claim.user.clone(),
            name: claim.name.clone(),
            // Only the host gets the token; it is not stored.
            token: claim.token.take(),
            rooms: claim.rooms.clone(),
            data: claim.data.as_deref().and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default(),
            host: arrival.host,
        };
        self.events.push_back(Event::Authenticate { conn, auth });
        let held = Vec::new();
        session.state =
            State::Judging(Box::new(Judging { arrival: *arrival, claim, since: now, held, terms: None }));
        debug!("connection {} is waiting for the host's verdict", conn.0);
        self.reschedule(key);
    }

    pub(super) fn judged(&mut self, conn: ConnId, verdict: Verdict, now: Instant) {
        let Some(&key) = self.conns.get(&conn) else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        let State::Judging(judging) = &mut session.state else {
            return debug!("connection {} is not waiting for a verdict", conn.0);
        };
        if judging.terms.is_some() {
            return debug!("connection {} has a verdict already", conn.0);
        }
        match verdict {
            Verdict::Refuse { status, message } => {
                let refusal = Refusal::new(status, message);
                self.refuse(key, &refusal, refusal.close_code(), now);
            }
            Verdict::Admit(admission) => {
                let (claim, held) = (judging.claim.clone(), std::mem::take(&mut judging.held));
                self.admit(key, claim, Some(admission), now);
                for text in held {
                    self.text(key, &text, now);
                }
            }
        }
    }

    /// Admits a peer, once it is reachable from other instances, or refuses it.
    fn admit(&mut self, key: Key, claim: Claim, admission: Option<Admission>, now: Instant) {
        let Some(session) = self.sessions.get(key) else { return };
        let Arrival { id, host, .. } = match &session.state {
            State::Waiting(arrival) => arrival,
            State::Judging(judging) => &judging.arrival,
            State::Live(_) | State::Closing | State::Away(_) => return,
        };
        let (id, host) = (id.clone(), *host);
        let terms = match self.terms(claim.clone(), admission, session.local) {
            Ok(terms) => terms,
            Err(refusal) => return self.refuse(key, &refusal, refusal.close_code(), now),
        };
        if !self.expect(key, &terms.names(&id)) {
            return self.enter(key, &id, host, terms, now);
        }
        let Some(session) = self.sessions.get_mut(key) else { return };
        let mut judging = match std::mem::replace(&mut session.state, State::Closing) {
            State::Judging(judging) => judging,
            _ => Box::new(Judging {
                arrival: Arrival { id, host, since: now },
                claim,
                since: now,
                held: Vec::new(),
                terms: None,
            }),
        };
        judging.terms = Some(Box::new(terms));
        session.state = State::Judging(judging);
        self.reschedule(key);
    }

    /// A newcomer is now reachable from other instances.
    pub(super) fn expected(&mut self, key: Key, now: Instant) {
        let Some(State::Judging(judging)) = self.sessions.get_mut(key).map(|session| &mut session.state)
        else {
            return;
        };
        let Some(terms) = judging.terms.take() else { return };
        let Arrival { id, host, .. } = &judging.arrival;
        let (id, host, held) = (id.clone(), *host, std::mem::take(&mut judging.held));
        self.enter(key, &id, host, *terms, now);
        for text in held {
            self.text(key, &text, now);
        }
    }

    /// A peer left before it was admitted.
    pub(super) fn turned_away(&mut self, judging: &Judging, now: Instant) {
        if let Some(terms) = &judging.terms {
            self.unexpect(&terms.names(&judging.arrival.id), now);
        }
    }

    /// Sends `welcome` to a peer, announces it to those who share a room, and them to it.
    fn enter(&mut self, key: Key, id: &str, host: Option<IpAddr>, terms: Terms, now: Instant) {
        let Some(session) = self.sessions.get(key) else { return };
        let conn = session.conn;
        if !self.rooms.seat(key, &terms.user, id) {
            self.unexpect(&terms.names(id), now);
            let refusal =
                Refusal::new(Status::INTERNAL, "The server generated an id that is in use; try again");
            return self.refuse(key, &refusal, refusal.close_code(), now);
        }
        let Terms { user, name, profile, rooms, batches } = terms;
        debug!("connection {} is admitted to {} named rooms", conn.0, rooms.len());
        let mut names = vec![user];
        for room in rooms {
            self.rooms.join(key, &room);
            if room != names[0] {
                names.push(room);
            }
        }
        let who = Arc::new(Who { address: Address::new(&names[0], id), name: name.into() });
        let from = host.map(|host| host.to_canonical());
        let host = from.map(|host| host.to_string());
        let welcome = format!(
            r#"{{"type":"welcome","protocol":"{PROTOCOL}","status":200,"peer":{},"rooms":{}}}"#,
            presence::object(&who, &profile, host.as_deref()),
            Value::from(names)
        );
        let peer = presence::peer(&who, &profile, true);
        self.events.push_back(Event::PeerOnline { conn, peer });
        self.stats.admitted += 1;
        let bucket = Bucket::new(&self.config, now);
        if let Some(session) = self.sessions.get_mut(key) {
            session.outbox.batches = batches;
            session.state = State::Live(Box::new(Live {
                who,
                host: from,
                profile,
                card: None,
                bucket,
                since: now,
                unsent: None,
            }));
        }
        self.answer(key, &welcome.into(), now);
        self.catch_up(key);
        self.tell_changes(now);
        self.arrived(key);
        self.reschedule(key);
    }

    fn terms(&self, claim: Claim, admission: Option<Admission>, local: bool) -> Result<Terms, Refusal> {
        let by_host = admission.is_some();
        let admission = admission.unwrap_or_default();
        let user = admission.user.unwrap_or(claim.user);
        if !valid_user(&user) {
            return Err(Refusal::new(
                Status::INTERNAL,
                "The server admitted this client without a valid user name",
            ));
        }
        if policy::is_reserved(&self.config, local, &user) {
            return Err(reserved());
        }
        let named = admission.name.or(claim.name).filter(|name| !name.is_empty());
        let taken = named.as_ref().map_or(user.len(), String::len);
        let raw = claim.data.as_deref().unwrap_or("{}");
        let merged = Profile::default().merge(raw, taken, self.config.max_peer_data)?;
        let told = merged.name.filter(|_| !policy::forces_name(&self.config, local));
        let name = named.or(told).unwrap_or_else(|| user.clone());
        let mut profile = merged.profile.unwrap_or_default();
        profile.set_all(&admission.data);

        let granted = policy::grants_own_rooms(&self.config, local);
        let wanted = if granted { claim.rooms } else { admission.rooms };
        let mut rooms = self.config.rooms.clone();
        for room in wanted {
            // The user's own room exists already; a named room with the same name would be open to others.
            if valid_room(&room) && room != user && !rooms.contains(&room) {
                rooms.push(room);
            }
        }
        if by_host && rooms.len() >= self.config.max_rooms {
            warn!("an admission contains more rooms than a session may be in; ignoring the last ones");
            rooms.truncate(self.config.max_rooms.saturating_sub(1));
        }
        policy::check_count(&self.config, rooms.len() + 1)?;
        Ok(Terms { user, name, profile, rooms, batches: claim.batches })
    }
}

fn reserved() -> Refusal {
    denied("this user name is reserved for the server's own process; choose another")
}
