//! What a reader has to be told between two points in time.
//!
//! Time is the number of the last change of any room. A session is in a room for a [`Span`] of time, and two
//! sessions share a room where their spans overlap; so whom a reader knew at any time is a fact that never
//! changes later. A [`Round`] takes a reader from the time up to which it was told to a later one, and yields
//! the difference: who shared no room then and does now, and the other way round. Whoever came and went in
//! between is in neither and is told to nobody; whoever left and came back is told again, since its data may
//! have changed. A round keeps its place, so it continues when the socket accepts more.
//!
//! If reader and peer have several rooms in common, a round meets the peer several times. The reader is told
//! about it at the first room that they share, in the order of the reader's rooms: among those shared at the
//! end for an arrival, among those shared at the beginning for a departure.

use std::sync::Arc;

use super::super::presence::Who;
use super::super::roster_pages::{Page, PageId, end_of, page_of};
use super::super::slab::Key;
use super::log::Entry;
use super::{MUTE, RoomId, Rooms, Seat};

/// A page with fewer entries is not worth keeping.
const WORTH: usize = 32;

/// A time in a room: from its first change until just before its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub room: RoomId,
    pub from: u64,
    pub to: u64,
}

impl Span {
    fn holds(&self, at: u64) -> bool {
        self.from <= at && at < self.to
    }
}

/// What is kept about a peer that left a room while somebody has to be told.
#[derive(Debug)]
pub(super) struct Past {
    pub who: Arc<Who>,
    pub spans: Vec<Span>,
}

/// One thing to tell a reader.
#[derive(Debug)]
pub(in crate::server) enum Told {
    /// A peer is there.
    Here(Key),
    /// A peer was there and has left since, which a later round tells: something it sent may lie in between.
    Was(Key),
    /// A peer has left.
    Gone(Key),
    /// The number of members of a room has changed.
    Count(RoomId),
}

/// A reader on its way from one time to another.
#[derive(Debug)]
pub(in crate::server) struct Round {
    reader: Key,
    from: u64,
    to: u64,
    /// The reader's own spans, in order.
    spans: Vec<Span>,
    /// The index of the current span.
    at: usize,
    /// The last log entry that was examined there, and its index.
    seq: u64,
    index: usize,
    /// Rooms whose number is told at the end.
    counts: Vec<RoomId>,
    /// The page it is in, and how many of its frames it has been sent.
    page: Option<(Arc<Page>, usize)>,
}

/// What a room means in a round.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scan {
    /// The reader was in it the whole time.
    Stayed,
    Entered,
    Left,
}

impl Round {
    /// The current span, and how far to examine it.
    fn scan(&self) -> Option<(Span, Scan, u64)> {
        let span = *self.spans.get(self.at)?;
        let (scan, end) = match (span.holds(self.from), span.holds(self.to)) {
            (true, true) => (Scan::Stayed, self.to),
            (false, true) => (Scan::Entered, self.to),
            (true, false) => (Scan::Left, self.from),
            (false, false) => (Scan::Left, 0),
        };
        Some((span, scan, end))
    }

    fn turn(&mut self, at: usize) {
        (self.at, self.index) = (at, usize::MAX);
        self.seq = match self.scan() {
            Some((_, Scan::Stayed, _)) => self.from,
            _ => 0,
        };
    }
}

impl Round {
    /// The next frame of a page, if it is in one.
    pub(crate) fn next_frame(&mut self) -> Option<Arc<str>> {
        let (page, at) = self.page.as_mut()?;
        let frame = page.frames.get(*at).cloned();
        *at += 1;
        if frame.is_none() {
            self.page = None;
        }
        frame
    }

    /// Starts telling from a page and continues after it. False if the page does not contain what the reader
    /// has to be told.
    pub(crate) fn enter(&mut self, page: &Arc<Page>) -> bool {
        let Some((_, scan, end)) = self.scan() else { return false };
        let fits = page.last <= end && page.from <= self.to && (scan == Scan::Entered || !page.went);
        if fits {
            (self.seq, self.index) = (page.last, usize::MAX);
            self.page = Some((page.clone(), 0));
        }
        fits
    }
}

impl Rooms {
    /// The page of changes just ahead of a round that others may have been told from, if there is one.
    pub(crate) fn page_ahead(&self, round: &Round) -> Option<PageId> {
        let (span, scan, end) = round.scan().filter(|_| round.spans.len() == 1)?;
        let entries = self.rooms[span.room.0 as usize].log.entries();
        let at = match entries.get(round.index) {
            Some(entry) if entry.seq == round.seq => round.index + 1,
            _ => self.rooms[span.room.0 as usize].log.after(round.seq),
        };
        let page = page_of(entries.get(at)?.seq);
        if scan == Scan::Left || at.checked_sub(1).is_some_and(|before| page_of(entries[before].seq) == page)
        {
            return None;
        }
        let rest = &entries[at..];
        let count = rest.partition_point(|entry| entry.seq < end_of(page));
        let own = page_of(span.from) == page;
        (count >= WORTH && rest[count - 1].seq <= end && !own).then_some((span.room, page))
    }

    /// Who joined in a page of changes and is still there, in order; and the page, without frames.
    pub(crate) fn page(&self, (room, page): PageId) -> (Vec<Key>, Page) {
        let log = &self.rooms[room.0 as usize].log;
        let entries = log.entries();
        let first = entries.partition_point(|entry| page_of(entry.seq) < page);
        let (mut keys, mut of) = (Vec::new(), Page { frames: Vec::new(), last: 0, from: 0, went: false });
        for entry in entries[first..].iter().take_while(|entry| entry.seq < end_of(page)) {
            of.last = entry.seq;
            if entry.went {
                of.went = true;
            } else if self.sitting(entry.key).and_then(|seat| seat.since_in(room)) == Some(entry.seq) {
                keys.push(entry.key);
            } else {
                let past = self.past.get(&entry.key).map_or(&[][..], |past| &past.spans);
                let span = past.iter().find(|span| span.room == room && span.from == entry.seq);
                of.from = of.from.max(span.map_or(u64::MAX, |span| span.to));
            }
        }
        (keys, of)
    }

    /// Starts a round that takes a reader up to a time, or continues the one it is in. `None` if it has no
    /// seat.
    pub(crate) fn round(&mut self, reader: Key, to: u64) -> Option<Box<Round>> {
        let seat = self.sitting_mut(reader)?;
        if let Some(round) = seat.round.take() {
            return Some(round);
        }
        let seat = self.sitting(reader)?;
        let (from, rooms) = (seat.told, seat.rooms.iter().zip(&seat.since));
        let left = self.left.get(&reader).map_or(&[][..], |left| left);
        let now = rooms.map(|(room, since)| Span { room: *room, from: *since, to: u64::MAX });
        let mut spans: Vec<Span> = now.chain(left.iter().copied()).collect();
        spans.retain(|span| span.from <= to && self.concerns(span, reader));
        if !left.is_empty() {
            spans.sort_unstable();
        }
        let counted = |room: &RoomId| (from + 1..=to).contains(self.quiet.get(room).unwrap_or(&0));
        let counts = if self.quiet.is_empty() {
            Vec::new()
        } else {
            seat.rooms.iter().copied().filter(counted).collect()
        };
        let mut round =
            Round { reader, from, to, spans, at: 0, seq: 0, index: usize::MAX, counts, page: None };
        round.turn(0);
        Some(Box::new(round))
    }

    /// Whether anybody else is or was there; usually nobody in a user's own room.
    fn concerns(&self, span: &Span, reader: Key) -> bool {
        self.rooms[span.room.0 as usize].log.entries().iter().any(|entry| entry.key != reader)
    }

    /// The next thing to tell the reader; `None` at the end.
    pub(crate) fn step(&self, round: &mut Round) -> Option<Told> {
        while let Some((span, scan, end)) = round.scan() {
            let log = &self.rooms[span.room.0 as usize].log;
            let entries = log.entries();
            let mut at = match entries.get(round.index) {
                Some(entry) if entry.seq == round.seq => round.index + 1,
                _ => log.after(round.seq),
            };
            while let Some(entry) = entries.get(at).filter(|entry| entry.seq <= end) {
                (round.seq, round.index) = (entry.seq, at);
                if let Some(told) = self.look(round, span, scan, entry) {
                    return Some(told);
                }
                at += 1;
            }
            round.turn(round.at + 1);
        }
        round.counts.pop().map(Told::Count)
    }

    /// Keeps a round that continues later.
    pub(crate) fn pause(&mut self, round: Box<Round>) {
        if let Some(seat) = self.sitting_mut(round.reader) {
            seat.round = Some(round);
        }
    }

    /// Finishes a round: the reader was told all of it.
    pub(crate) fn finish(&mut self, round: &Round) {
        let Some(seat) = self.sitting_mut(round.reader) else { return };
        seat.told = round.to;
        let Some(left) = self.left.get_mut(&round.reader) else { return };
        let mut done = Vec::new();
        left.retain(|span| {
            let over = span.to <= round.to;
            done.extend(over.then_some(span.room));
            !over
        });
        if left.is_empty() {
            self.left.remove(&round.reader);
        }
        done.into_iter().for_each(|room| self.forget_leaver(room, round.reader));
    }

    fn look(&self, round: &Round, span: Span, scan: Scan, entry: &Entry) -> Option<Told> {
        if entry.key == round.reader {
            return None;
        }
        let first = |at| self.first(&round.spans, entry.key, at);
        match (scan, entry.went) {
            (Scan::Stayed | Scan::Entered, false) => {
                let here = Some((span.room, entry.seq));
                if first(round.to) != here || self.stays(round, entry.key) {
                    return None;
                }
                let is =
                    |key, since| self.sitting(key).and_then(|seat| seat.since_in(span.room)) == Some(since);
                let stay = is(entry.key, entry.seq) && is(round.reader, span.from);
                let here = stay || self.knows(round.reader, entry.key);
                Some(if here { Told::Here(entry.key) } else { Told::Was(entry.key) })
            }
            (Scan::Stayed, true) => {
                let past = self.past.get(&entry.key)?;
                let its = |other: &&Span| other.room == span.room && other.to == entry.seq;
                let from = past.spans.iter().find(its)?.from;
                self.gone(round, (span.room, from), entry.key)
            }
            (Scan::Left, false) => self.gone(round, (span.room, entry.seq), entry.key),
            (Scan::Entered | Scan::Left, true) => None,
        }
    }

    fn gone(&self, round: &Round, span: (RoomId, u64), peer: Key) -> Option<Told> {
        let first = |at| self.first(&round.spans, peer, at);
        (first(round.from) == Some(span) && first(round.to).is_none()).then_some(Told::Gone(peer))
    }

    /// The first room that a reader with these spans shared with a peer at some time, and since when the peer
    /// was in it.
    fn first(&self, spans: &[Span], peer: Key, at: u64) -> Option<(RoomId, u64)> {
        let (seat, past) = self.times(peer);
        spans.iter().filter(|span| span.holds(at)).find_map(|span| {
            let now = seat.and_then(|seat| seat.since_in(span.room)).filter(|since| *since <= at);
            let was =
                || past.iter().find(|past| past.room == span.room && past.holds(at)).map(|past| past.from);
            Some((span.room, now.or_else(was)?))
        })
    }

    /// Whether a reader shared one room with a peer the whole time, and so received what the peer announced
    /// about itself.
    fn stays(&self, round: &Round, peer: Key) -> bool {
        let (seat, past) = self.times(peer);
        let all = |span: &Span| span.holds(round.from) && span.holds(round.to);
        round.spans.iter().filter(|span| all(span)).any(|span| {
            seat.and_then(|seat| seat.since_in(span.room)).is_some_and(|since| since <= round.from)
                || past.iter().any(|past| past.room == span.room && all(past))
        })
    }

    /// The rooms of a peer, now and before.
    fn times(&self, peer: Key) -> (Option<&Seat>, &[Span]) {
        let seat = self.sitting(peer);
        let past = if seat.is_none_or(|seat| seat.past) { self.past.get(&peer) } else { None };
        (seat, past.map_or(&[], |past| &past.spans))
    }

    /// Whether each of two is told about the other: they share a room that announces its members.
    pub(crate) fn knows(&self, a: Key, b: Key) -> bool {
        let (Some(a), Some(b)) = (self.sitting(a), self.sitting(b)) else { return false };
        let mut told = a.rooms.iter().zip(&a.since).filter(|(_, since)| **since != MUTE);
        told.any(|(room, _)| b.since_in(*room).is_some_and(|since| since != MUTE))
    }

    /// The time up to which a reader was told.
    pub(crate) fn told(&self, reader: Key) -> Option<u64> {
        Some(self.sitting(reader)?.told)
    }
}
