//! Dispatches received datagrams to their sessions.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use str0m::net::{Protocol as Carrier, Receive};

use super::{Fanout, Sessions};
use crate::rtc::demux::{self, BadRecord, BadStun, Class, Stage, Stun, StunKind};
use crate::rtc::session::route::Sign;
use crate::rtc::session::{Session, Sink};
use crate::rtc::{Path, Protocol, SessionId};

/// A path that carried nothing for so long may have moved to another port: two intervals of the feedback that
/// browsers send for bandwidth estimation.
const MOVED: Duration = Duration::from_millis(200);
/// A session that was silent for so long while a newer one was heard by the same path gives way to it: viewers send
/// reports every second or more often.
const GONE: Duration = Duration::from_secs(3);
/// Sessions whose keys are tried on media that came by a path of nobody's.
const MAX_TRIES: usize = 4;

impl Fanout {
    pub(super) fn handle_datagram(&mut self, path: Path, data: &[u8]) {
        match demux::classify(data) {
            Some(Class::Stun) => self.handle_stun(path, data),
            Some(Class::Dtls) => self.handle_dtls(path, data),
            Some(Class::Media) if !demux::media_is_whole(data) => self.totals.dropped.media_malformed += 1,
            Some(Class::Media) => self.hand_over(path, data),
            None => self.totals.strays += 1,
        }
    }

    fn handle_stun(&mut self, path: Path, data: &[u8]) {
        let stun = match demux::stun(data) {
            Ok(stun) => stun,
            Err(why) => {
                let dropped = &mut self.totals.dropped;
                *match why {
                    BadStun::Kind => &mut dropped.stun_kind,
                    BadStun::Username | BadStun::Integrity => &mut dropped.stun_unsigned,
                    BadStun::Header | BadStun::Attribute | BadStun::Fingerprint => {
                        &mut dropped.stun_malformed
                    }
                } += 1;
                return;
            }
        };
        let id = match (stun.kind, stun.user) {
            (StunKind::Request, Some((ours, _))) => self.directory.named(ours),
            (StunKind::Request, None) => None,
            (StunKind::Success, _) => self.directory.asker(&stun.transaction, path),
            // It asks for no answer, and anybody can send it: it keeps a NAT's port open, and that is all.
            (StunKind::Indication, _) => {
                self.totals.strays += u64::from(self.directory.claimants(path).is_empty());
                return;
            }
        };
        let Some(id) = id else {
            self.totals.strays += 1;
            return;
        };
        let room = || {
            let reached = self.look(id, |session| session.reaches(path.remote)).unwrap_or(false);
            reached && self.directory.has_room(id, path, self.now)
        };
        if stun.kind == StunKind::Request && !room() {
            self.totals.dropped.stun_paths += 1;
            return;
        }
        if !self.is_authentic(id, &stun) {
            self.totals.dropped.stun_unsigned += 1;
            return;
        }
        let sign = if stun.kind == StunKind::Success {
            self.directory.handle_answer(id, &stun.transaction, path, self.now);
            Sign::Answer
        } else {
            self.directory.handle_request(id, path, self.now);
            Sign::Check
        };
        self.deliver(id, path, data, Some(sign));
        self.replace_others(id, path, sign);
    }

    /// Ends what a session takes the place of at its path: one whose DTLS can't be told from its own, one of a
    /// viewer that is there no more.
    fn replace_others(&mut self, id: SessionId, path: Path, sign: Sign) {
        let standing = |id| self.look(id, |session| Standing::of(session, path));
        let Some(newer) = standing(id) else { return };
        let gives_way = |other: &SessionId| {
            let Some(older) = standing(*other).filter(|older| older.made < newer.made) else { return false };
            let mixed = sign == Sign::Answer && !newer.connected && !older.connected && older.uses;
            mixed || (newer.connected && older.uses && newer.heard >= older.heard + GONE)
        };
        let claimants = self.directory.claimants(path);
        for other in claimants.into_iter().filter(gives_way).collect::<Vec<_>>() {
            self.step(other, |session, _, _| session.replace());
        }
    }

    fn is_authentic(&self, id: SessionId, stun: &Stun<'_>) -> bool {
        let crypto = &self.shared.crypto.sha1_hmac_provider;
        let check = |session: &Session| {
            let names = session.names();
            let password = match (stun.kind, stun.user) {
                (StunKind::Success, _) => &names.their_password,
                // Checks may come before the answer to our offer.
                (_, Some((_, theirs))) if names.theirs.is_empty() || theirs == names.theirs => {
                    &names.our_password
                }
                _ => return false,
            };
            !password.is_empty() && stun.is_signed_with(|parts| crypto.sha1_hmac(password.as_bytes(), parts))
        };
        self.look(id, check).unwrap_or(false)
    }

    fn handle_dtls(&mut self, path: Path, data: &[u8]) {
        let ids = self.claimants(path);
        for id in &ids {
            let id = *id;
            let random = demux::records(data, Stage::Handshake).find_map(|r| demux::client_random(r.ok()?));
            let begins = |s: &Session| random.is_some_and(|random| s.may_begin_anew(random));
            if self.directory.answered(id, path).is_some() && self.look(id, begins).unwrap_or(false) {
                self.at(id, |sessions| sessions.begin_anew(id));
            }
            let Some(stage) = self.look(id, Session::stage) else { continue };
            // One by one: a lost last flight comes again as plaintext, which is too late, and a Finished,
            // which must be answered.
            for record in demux::records(data, stage) {
                match record {
                    Ok(record) if !self.is_handshake_of(id, record) => {}
                    Ok(record) => self.deliver(id, path, record, None),
                    Err(BadRecord::Truncated | BadRecord::Kind | BadRecord::Short) => {
                        self.totals.dropped.dtls_malformed += 1;
                    }
                    Err(BadRecord::Epoch | BadRecord::Plaintext | BadRecord::Data) => {
                        self.totals.dropped.dtls_unexpected += 1;
                    }
                }
            }
        }
    }

    /// Whether a record may belong to a session's handshake: a client that began one goes on with it.
    fn is_handshake_of(&mut self, id: SessionId, record: &[u8]) -> bool {
        let Some(random) = demux::client_random(record) else { return true };
        let is_it = |session: &mut Session| *session.client.get_or_insert(random) == random;
        self.at(id, |sessions| sessions.get_mut(id).is_some_and(is_it)).unwrap_or(false)
    }

    /// Hands RTP or RTCP to those whose it may be, until one finds by its keys that it is its own.
    fn hand_over(&mut self, path: Path, data: &[u8]) {
        let known = self.directory.claimants(path);
        let mut take = |id: &SessionId| self.deliver_media(*id, path, data);
        if let Some(id) = known.iter().copied().find(&mut take) {
            if known.len() > 1 {
                self.replace_others(id, path, Sign::Media);
            }
            return;
        }
        let others: Vec<SessionId> =
            self.silent_of(path.remote.ip()).filter(|id| !known.contains(id)).collect();
        let taken = others.iter().any(|id| self.deliver_media(*id, path, data));
        self.totals.strays += u64::from(!taken && known.is_empty());
    }

    /// The sessions of a host whose path carries nothing just now: a NAT may have given one another port. Those
    /// that are silent for longest come first.
    fn silent_of(&self, host: IpAddr) -> impl Iterator<Item = SessionId> + use<> {
        let silent = |id| Some((self.look(id, |session| session.silent(self.now))??, id));
        let of_host = self.directory.of_host(host).into_iter();
        let mut found: Vec<(Duration, SessionId)> =
            of_host.filter_map(silent).filter(|(silent, _)| *silent >= MOVED).collect();
        found.sort_unstable_by_key(|(silent, id)| (Reverse(*silent), *id));
        found.dedup();
        found.into_iter().map(|(_, id)| id).take(MAX_TRIES)
    }

    fn claimants(&mut self, path: Path) -> Vec<SessionId> {
        let ids = self.directory.claimants(path);
        self.totals.strays += u64::from(ids.is_empty());
        ids
    }

    /// Lets a session read RTP or RTCP. Returns whether it is authentic there.
    fn deliver_media(&mut self, id: SessionId, path: Path, data: &[u8]) -> bool {
        let mut authentic = false;
        self.step(id, |session, now, sink| authentic = session.handle_media(path, data, now, sink));
        authentic
    }

    /// Lets a session's library read a datagram.
    fn deliver(&mut self, id: SessionId, path: Path, data: &[u8], sign: Option<Sign>) {
        if self.look(id, Session::is_clogged).unwrap_or(false) {
            self.totals.dropped.unanswered += 1;
            return;
        }
        if self.look(id, |session| session.holds(data)).unwrap_or(false) {
            return self.step(id, |session, _, _| session.hold(path, data));
        }
        let carrier = match path.proto {
            Protocol::Udp => Carrier::Udp,
        };
        match Receive::new(carrier, path.remote, path.local, data) {
            Ok(receive) => {
                self.step(id, |session, now, sink| session.handle_datagram(path, receive, sign, now, sink))
            }
            // Read here as well-formed, there not.
            Err(_) => self.totals.dropped.stun_malformed += 1,
        }
    }

    fn at<R>(&mut self, id: SessionId, act: impl FnOnce(&mut Sessions) -> R) -> Option<R> {
        let at = *self.places.get(&id)?;
        Some(self.with(at, act))
    }

    /// Lets one session do something, if it exists.
    pub(super) fn step(&mut self, id: SessionId, act: impl FnOnce(&mut Session, Instant, &mut Sink<'_>)) {
        self.at(id, |sessions| sessions.step(id, act));
    }
}

/// What is compared of the sessions at a path, which may be in several shards.
struct Standing {
    made: (Instant, SessionId),
    heard: Instant,
    connected: bool,
    /// The path is the one in use, or may become so.
    uses: bool,
}

impl Standing {
    fn of(session: &Session, path: Path) -> Standing {
        Standing {
            made: session.made(),
            heard: session.heard(),
            connected: session.stage() != Stage::Handshake,
            uses: session.uses(path),
        }
    }
}
