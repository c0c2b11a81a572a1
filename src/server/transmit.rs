//! From a connection's queue to its socket. Texts go out as they are. Changes of its rooms become presences
//! only now, in their latest form.
//!
//! Clients that support it get several small presences in one frame, `presence:batch`. Large ones are sent on
//! their own: everyone who is told about a peer shares that text, and a batch would have to copy it for each.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use super::Hub;
use super::io::{ConnId, Transmit};
use super::outbox::{Item, Outbox};
use super::presence::{self, Who};
use super::rooms::Told;
use super::roster_pages::{Page, PageId};
use super::slab::Key;

/// The most bytes in a batch: about 240 small presences, enough to make the cost of a frame negligible and
/// small enough for a client to hold whole.
const BATCH: usize = 32 << 10;

/// A presence with more bytes is sent on its own: the cost of a frame is small compared with copying that
/// much.
const LARGE: usize = 1 << 10;

const HEAD: &str = r#"{"type":"presence:batch","data":["#;
const TAIL: &str = "]}";

/// Presences on their way to the socket.
struct Presences<'a> {
    out: &'a mut Vec<Transmit>,
    /// Bytes that may still be sent.
    room: usize,
    batches: bool,
    first: Option<Arc<str>>,
    /// At least two presences.
    batch: String,
}

impl Presences<'_> {
    /// Returns whether more may follow.
    fn add(&mut self, text: Arc<str>) -> bool {
        self.room = self.room.saturating_sub(text.len());
        if !self.batches || text.len() > LARGE {
            self.flush();
            self.out.push(Transmit::Text(text));
            return self.room > 0;
        }
        if self.batch.len() + text.len() + TAIL.len() >= BATCH {
            self.flush();
        }
        match self.first.take() {
            None if self.batch.is_empty() => self.first = Some(text),
            first => {
                if let Some(first) = first {
                    self.batch.reserve(BATCH.min(self.room));
                    self.batch.push_str(HEAD);
                    self.batch.push_str(&first);
                }
                self.batch.push(',');
                self.batch.push_str(&text);
            }
        }
        self.room > 0
    }

    /// Anything but a presence.
    fn other(&mut self, text: Arc<str>) -> bool {
        self.flush();
        self.room = self.room.saturating_sub(text.len());
        self.out.push(Transmit::Text(text));
        self.room > 0
    }

    fn flush(&mut self) {
        if let Some(first) = self.first.take() {
            self.out.push(Transmit::Text(first));
        } else if !self.batch.is_empty() {
            self.batch.push_str(TAIL);
            self.out.push(Transmit::Text(std::mem::take(&mut self.batch).into()));
        }
    }
}

impl Hub {
    /// Moves what is queued for a connection into `out`, in order, up to about `max_bytes` (one frame may
    /// exceed it). Returns whether more is queued; if not, [`Output::Ready`](super::Output) reports the next.
    /// A driver whose socket is full asks for 0 bytes, because the queue may have been dropped. If
    /// [`Hub::has_output`] is true afterwards, poll.
    pub fn transmit(
        &mut self,
        conn: ConnId,
        max_bytes: usize,
        now: Instant,
        out: &mut Vec<Transmit>,
    ) -> bool {
        let Some(&key) = self.conns.get(&conn) else { return false };
        let Some(session) = self.sessions.get_mut(key) else { return false };
        let local = session.local;
        if max_bytes > 0 && session.outbox.accept() {
            session.heard = now;
            self.holds.takes(key, now);
        }
        // Taken out, because turning entries into text looks at other sessions.
        let mut outbox = std::mem::take(&mut session.outbox);
        if outbox.take_ping() {
            out.push(Transmit::Ping);
        }
        // Before anything is taken: a driver that gets nothing does not ask again.
        outbox.tell_missed();
        let mut room = max_bytes;
        while room > 0 {
            let Some(item) = outbox.pop() else { break };
            match item {
                Item::Text(text) => {
                    room = room.saturating_sub(text.len());
                    out.push(Transmit::Text(text));
                }
                Item::Cards(mut peers) => {
                    while room > 0
                        && let Some(peer) = peers.pop()
                    {
                        if let Some(card) = self.card(peer).filter(|_| self.rooms.knows(key, peer)) {
                            room = room.saturating_sub(card.len());
                            out.push(Transmit::Text(card));
                        }
                    }
                    if !peers.is_empty() {
                        outbox.put_back(Item::Cards(peers));
                    }
                }
                Item::Roster { upto, .. } => room = self.tell_roster(key, upto, room, &mut outbox, out, now),
            }
        }
        let owed = outbox.drained();
        if !owed.is_empty() {
            // After whatever introduces them.
            outbox.push_roster(self.rooms.seq());
            outbox.pay(owed.into_iter().filter(|peer| self.rooms.knows(key, *peer)).collect());
        }
        if let Some((code, reason)) = outbox.take_close() {
            out.push(Transmit::Close { code, reason });
        }
        let more = !outbox.is_empty();
        outbox.announced = more;
        if local && more {
            outbox.refuse(true, now);
            self.holds.refuses(key, true, now);
        }
        let is_low = outbox.is_low();
        if let Some(session) = self.sessions.get_mut(key) {
            session.outbox = outbox;
        }
        if is_low {
            self.drained(key, now);
        }
        more
    }

    /// Tells a session what has changed in its rooms up to `upto`, or about `room` bytes of it; returns how
    /// many are left.
    fn tell_roster(
        &mut self,
        key: Key,
        upto: u64,
        room: usize,
        outbox: &mut Outbox,
        out: &mut Vec<Transmit>,
        now: Instant,
    ) -> usize {
        let Some(mut round) = self.rooms.round(key, upto) else { return room };
        let (batches, batch) = (outbox.batches, String::new());
        let mut presences = Presences { out, room, batches, first: None, batch };
        loop {
            let goes_on = if let Some(frame) = round.next_frame() {
                presences.other(frame)
            } else if batches
                && let Some(id) = self.rooms.page_ahead(&round)
                && round.enter(&self.page(id, now))
            {
                true
            } else {
                let Some(told) = self.rooms.step(&mut round) else {
                    self.rooms.finish(&round);
                    break;
                };
                match told {
                    Told::Here(peer) => self.card(peer).is_none_or(|card| presences.add(card)),
                    Told::Was(peer) => {
                        self.who_was(peer).is_none_or(|who| presences.add(presence::was(&who)))
                    }
                    Told::Gone(peer) => {
                        self.who_was(peer).is_none_or(|who| presences.add(presence::offline(&who)))
                    }
                    Told::Count(of) => {
                        let members = self.rooms.members(of).len() + self.rooms.away(of).len();
                        presences.other(count(self.rooms.name(of).0, members))
                    }
                }
            };
            if !goes_on {
                self.rooms.pause(round);
                outbox.put_back(Item::Roster { upto, begun: true });
                break;
            }
        }
        presences.flush();
        presences.room
    }
}

impl Hub {
    /// Who a peer is, or was while readers may still be told about it.
    fn who_was(&self, peer: Key) -> Option<Arc<Who>> {
        self.who(peer).or_else(|| self.rooms.was(peer).cloned())
    }

    /// A page of a room's log as frames.
    fn page(&mut self, id: PageId, now: Instant) -> Arc<Page> {
        if let Some(page) = self.rooms.pages.get(id, now) {
            return page;
        }
        let (keys, mut page) = self.rooms.page(id);
        let mut out = Vec::new();
        let mut presences =
            Presences { out: &mut out, room: usize::MAX, batches: true, first: None, batch: String::new() };
        for key in keys {
            if let Some(card) = self.card(key) {
                presences.add(card);
            }
        }
        presences.flush();
        let frames = out.into_iter().filter_map(|transmit| match transmit {
            Transmit::Text(text) => Some(text),
            _ => None,
        });
        page.frames = frames.collect();
        let own: usize =
            page.frames.iter().filter(|text| text.starts_with(HEAD)).map(|text| text.len()).sum();
        let bytes = own + page.frames.len() * size_of::<Arc<str>>();
        let page = Arc::new(page);
        self.rooms.pages.keep(id, page.clone(), bytes, now);
        page
    }
}

/// The event with the size of a room that no longer announces its members.
fn count(room: &str, count: usize) -> Arc<str> {
    let room = Value::from(room);
    format!(r#"{{"type":"event","name":"room:count","subtype":"room:count","room":{room},"count":{count}}}"#)
        .into()
}
