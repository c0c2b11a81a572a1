//! Envelopes for other instances that not all of them may have received.
//!
//! An entry leaves when every instance has confirmed it, or when it is too old. Over the limit, or when it is too old,
//! a message is shortened to its recipients, so that these can be told that they missed one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::wire::Kind;
use crate::server::ConnId;
use crate::server::limits::is_past;

/// What an entry costs besides its text.
const ENTRY: usize = 128;

/// The additional part of the limit for shortened entries, and again for expired ones. At about 300 bytes each, 2 MiB
/// keep 7,000.
const SHORT: usize = 8;

/// One envelope.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its number.
    pub n: u64,
    pub kind: Kind,
    /// Who is told if it is lost. Nobody is told of an envelope that is not a message: states are resynchronized in
    /// another way.
    pub owner: Owner,
    /// The envelope, or only its body if it was shortened.
    text: Arc<str>,
    pub whole: bool,
    /// It was counted as lost.
    pub counted: bool,
    pub at: Instant,
    /// Total bytes of all whole entries up to this one, ever.
    total: u64,
}

/// Whose message an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Peer(ConnId),
    Host,
    /// It is not a message.
    Nobody,
}

impl Owner {
    pub(super) fn peer(self) -> Option<ConnId> {
        match self {
            Owner::Peer(conn) => Some(conn),
            Owner::Host | Owner::Nobody => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Kept {
    entries: VecDeque<Entry>,
    limit: usize,
    keep_for: Duration,
    /// The size of whole entries.
    bytes: usize,
    /// The size of shortened entries.
    short: usize,
    /// The number of shortened entries at the front.
    cut: usize,
    total: u64,
    /// Shortened entries that expired before all instances that may return had confirmed them.
    notes: VecDeque<Entry>,
    noted: usize,
    /// The number of the last message that is forgotten completely.
    forgot: u64,
}

impl Entry {
    /// Everything after its head.
    pub(super) fn rest(&self) -> &str {
        if self.whole { self.text.split_once('\n').map_or("", |(_, rest)| rest) } else { &self.text }
    }

    fn cost(&self) -> usize {
        ENTRY + self.text.len()
    }
}

impl Kept {
    /// An empty queue.
    pub(super) fn new(limit: usize, keep_for: Duration) -> Self {
        Kept {
            entries: VecDeque::new(),
            limit,
            keep_for,
            bytes: 0,
            short: 0,
            cut: 0,
            total: 0,
            notes: VecDeque::new(),
            noted: 0,
            forgot: 0,
        }
    }

    /// Whether an envelope of this size fits. If necessary, shortens entries up to number `idle` first.
    pub(super) fn make_room(&mut self, bytes: usize, idle: u64) -> bool {
        let cost = ENTRY + bytes;
        while self.bytes + cost > self.limit
            && let Some(entry) = self.entries.get_mut(self.cut)
            && (!entry.whole || entry.n <= idle)
        {
            if entry.whole {
                self.bytes -= entry.cost();
                shorten(entry);
                self.short += entry.cost();
            }
            self.cut += 1;
            while self.short > self.limit / SHORT && self.cut > 0 {
                self.forgot = self.pop().map_or(self.forgot, |entry| entry.n);
            }
        }
        self.bytes + cost <= self.limit
    }

    /// Adds an envelope that fits.
    pub(super) fn add(&mut self, n: u64, kind: Kind, owner: Owner, text: Arc<str>, now: Instant) {
        self.put(Entry { n, kind, owner, text, whole: true, counted: false, at: now, total: 0 });
    }

    /// Records a message that was not sent because it did not fit.
    pub(super) fn add_lost(&mut self, n: u64, kind: Kind, owner: Owner, text: &Arc<str>, now: Instant) {
        let mut entry =
            Entry { n, kind, owner, text: text.clone(), whole: true, counted: true, at: now, total: 0 };
        shorten(&mut entry);
        if self.short + entry.cost() <= self.limit / SHORT {
            self.put(entry);
        }
    }

    fn put(&mut self, mut entry: Entry) {
        let cost = entry.cost();
        if entry.whole {
            self.bytes += cost;
            self.total += cost as u64;
        } else {
            self.short += cost;
        }
        entry.total = self.total;
        self.entries.push_back(entry);
    }

    /// The first note or entry after this number.
    pub(super) fn after(&mut self, n: u64) -> Option<&mut Entry> {
        let note = self.notes.partition_point(|note| note.n <= n);
        if note < self.notes.len() {
            return self.notes.get_mut(note);
        }
        let at = self.entries.partition_point(|entry| entry.n <= n);
        self.entries.get_mut(at)
    }

    /// The size of the entries after this number.
    pub(super) fn bytes_after(&self, n: u64) -> usize {
        let at = self.entries.partition_point(|entry| entry.n <= n);
        let before = at.checked_sub(1).and_then(|at| self.entries.get(at)).map(|entry| entry.total);
        let before = before.unwrap_or(self.total - self.bytes as u64);
        (self.total - before) as usize
    }

    /// All instances have confirmed everything up to this number.
    pub(super) fn trim(&mut self, n: u64) {
        while self.entries.front().is_some_and(|entry| entry.n <= n) {
            self.pop();
        }
        if self.entries.is_empty() && self.entries.capacity() > 1024 {
            self.entries = VecDeque::new();
        }
    }

    /// All instances for which something is kept have confirmed everything up to number `n`; what the others had not
    /// `confirmed` becomes notes.
    pub(super) fn give_up(&mut self, n: u64, confirmed: u64) {
        while self.entries.front().is_some_and(|entry| entry.n <= n)
            && let Some(entry) = self.pop()
        {
            if entry.n > confirmed && entry.owner != Owner::Nobody {
                self.note(entry);
            }
        }
    }

    /// Drops entries that are too old, and makes notes of those after `confirmed`, for instances that may still ask for
    /// them. Returns the owner of the next message that was not reported as lost, if it is to be reported now (`told`).
    pub(super) fn expire(&mut self, now: Instant, confirmed: u64, told: bool) -> Option<Owner> {
        while self.entries.front().is_some_and(|entry| is_past(entry.at, self.keep_for, now)) {
            let mut entry = self.pop()?;
            let owner = entry.owner;
            if owner == Owner::Nobody {
                continue;
            }
            let is_news = told && !entry.counted;
            entry.counted |= told;
            if entry.n > confirmed {
                self.note(entry);
            }
            if is_news {
                return Some(owner);
            }
        }
        None
    }

    fn note(&mut self, mut entry: Entry) {
        if entry.whole {
            shorten(&mut entry);
        }
        self.noted += entry.cost();
        self.notes.push_back(entry);
        while self.noted > self.limit / SHORT {
            self.forgot = self.pop_note().unwrap_or(self.forgot);
        }
    }

    /// No instance will ask for anything up to this number.
    pub(super) fn trim_notes(&mut self, n: u64) {
        while self.notes.front().is_some_and(|note| note.n <= n) {
            self.pop_note();
        }
    }

    fn pop_note(&mut self) -> Option<u64> {
        let note = self.notes.pop_front()?;
        self.noted -= note.cost();
        Some(note.n)
    }

    /// The number of the last message that is forgotten completely, though some instance had not confirmed it.
    pub(super) fn forgot(&self) -> u64 {
        self.forgot
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        if entry.whole {
            self.bytes -= entry.cost();
        } else {
            self.short -= entry.cost();
        }
        self.cut = self.cut.saturating_sub(1);
        Some(entry)
    }
}

/// Only leaves the body, which contains the recipients.
fn shorten(entry: &mut Entry) {
    let body = match entry.owner {
        Owner::Nobody => "",
        _ => entry.rest().split_once('\n').map_or("", |(body, _)| body),
    };
    entry.text = format!("{body}\n").into();
    entry.whole = false;
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(30);

    fn text(bytes: usize) -> Arc<str> {
        format!("head\nbody\n{}", "x".repeat(bytes - 10)).into()
    }

    fn filled(count: u64) -> (Kept, Instant) {
        let (mut log, now) = (Kept::new(10_000, AGE), Instant::now());
        for n in 1..=count {
            assert!(log.make_room(1000 - ENTRY, 0));
            log.add(n, Kind::Route, Owner::Host, text(1000 - ENTRY), now);
        }
        (log, now)
    }

    #[test]
    fn confirmed_entries_leave_and_the_rest_is_found_by_number() {
        let (mut log, _) = filled(10);
        assert!(!log.make_room(1, 0), "it is full, and nothing is confirmed");
        assert_eq!((log.bytes_after(0), log.bytes_after(4), log.bytes_after(10)), (10_000, 6000, 0));
        log.trim(4);
        assert_eq!((log.bytes_after(0), log.bytes_after(4), log.bytes_after(7)), (6000, 6000, 3000));
        assert_eq!(log.after(0).map(|entry| entry.n), Some(5));
        assert_eq!(log.after(7).map(|entry| entry.n), Some(8));
        assert!(log.after(10).is_none() && !log.is_empty());
        log.trim(10);
        assert!(log.is_empty() && log.bytes_after(0) == 0);
    }

    #[test]
    fn entries_for_absent_instances_are_shortened_to_make_room() {
        let (mut log, now) = filled(10);
        assert!(log.make_room(2000 - ENTRY, 3));
        log.add(11, Kind::Route, Owner::Host, text(2000 - ENTRY), now);
        let mut seen = Vec::new();
        let mut n = 0;
        while let Some(entry) = log.after(n) {
            (n, _) = (entry.n, seen.push((entry.whole, entry.rest().len())));
        }
        assert_eq!(seen[..3], [(false, 5), (false, 5), (true, 867)]);
        assert_eq!((log.bytes_after(0), log.bytes_after(3), seen.len()), (10_000, 9000, 11));
        assert!(!log.make_room(3000, 3), "one more can be shortened");
        assert!(log.make_room(3000, 10));
        log.trim(11);
        assert_eq!((log.bytes, log.short, log.cut), (0, 0, 0));
    }

    #[test]
    fn notes_of_lost_messages_are_bounded() {
        let (mut log, now) = filled(10);
        for n in 11..100 {
            log.add_lost(n, Kind::Route, Owner::Host, &text(20), now);
        }
        assert_eq!(log.short, 1250 / (ENTRY + 5) * (ENTRY + 5), "an eighth of the limit");
        let lost = log.after(10).expect("noted");
        assert_eq!((lost.n, lost.whole, lost.counted, lost.rest()), (11, false, true, "body\n"));
        // Its space is only freed from the front.
        assert!(log.make_room(1000 - ENTRY, 1));
        assert!(log.after(0).is_some_and(|entry| entry.n == 2));
    }

    #[test]
    fn an_expired_message_leaves_a_note_and_is_reported_once() {
        let (mut log, now) = filled(2);
        log.add_lost(3, Kind::Route, Owner::Host, &text(20), now);
        log.add(4, Kind::Route, Owner::Nobody, text(100), now);
        log.add(5, Kind::Route, Owner::Host, text(100), now + AGE / 2);
        assert!(log.expire(now + AGE - Duration::from_millis(1), 0, true).is_none());
        // The third was counted when it was lost; all but the first are unconfirmed by somebody.
        let told = std::iter::from_fn(|| log.expire(now + AGE, 1, true)).count();
        assert_eq!((told, log.bytes), (2, 100 + ENTRY));
        let mut seen = Vec::new();
        let mut n = 0;
        while let Some(entry) = log.after(n) {
            (n, _) = (entry.n, seen.push((entry.n, entry.whole, entry.counted)));
        }
        assert_eq!(seen, [(2, false, true), (3, false, true), (5, true, false)]);
        assert!(log.expire(now + AGE * 2, 0, false).is_none(), "they are reported when an instance asks");
        assert!(log.after(3).is_some_and(|note| !note.whole && !note.counted));
        log.trim_notes(3);
        assert_eq!(log.after(0).map(|note| note.n), Some(5));
        log.trim_notes(5);
        assert!(log.after(0).is_none() && log.noted == 0);
    }

    #[test]
    fn notes_are_bounded_and_the_last_forgotten_number_is_known() {
        let mut log = Kept::new(10_000, AGE);
        let now = Instant::now();
        for n in 1..=20 {
            log.add(n, Kind::Route, Owner::Host, text(20), now);
        }
        assert!(log.expire(now + AGE, 0, false).is_none());
        let left = (10_000 / SHORT / (ENTRY + 5)) as u64;
        assert_eq!((log.forgot(), log.after(0).map(|note| note.n)), (20 - left, Some(21 - left)));
    }
}
