//! What was said to other instances and may not have arrived at all of them.
//!
//! Entries leave when every instance has confirmed them, or when they are too old. Over the limit, and when it is too
//! old, a message is shortened to what tells whom it was for, so that those can be told that they missed one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::wire::Kind;
use crate::server::ConnId;
use crate::server::limits::is_past;

/// What an entry costs beside its text.
const ENTRY: usize = 128;

/// The part of the limit that shortened entries may take beside it, and those that were too old once more. Of about 300
/// bytes each, 2 MiB keep 7,000.
const SHORT: usize = 8;

/// One envelope.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its number.
    pub n: u64,
    pub kind: Kind,
    /// Who is told if it is lost, and nobody is if it is no message: states are made up for in another way.
    pub owner: Owner,
    /// The envelope; its body alone where it was shortened.
    text: Arc<str>,
    pub whole: bool,
    /// It was counted as lost.
    pub counted: bool,
    at: Instant,
    /// Bytes of all whole entries up to this one, since the beginning.
    total: u64,
}

/// Whose message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Peer(ConnId),
    Host,
    /// It is no message.
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
    /// Of whole entries.
    bytes: usize,
    /// Of shortened ones.
    short: usize,
    /// Entries at the front that are shortened.
    cut: usize,
    total: u64,
    /// Shortened entries that were too old before all who may return had confirmed them.
    notes: VecDeque<Entry>,
    noted: usize,
    /// The number of the last one of which not even a note is left.
    forgot: u64,
}

impl Entry {
    /// What it says behind its head.
    pub(super) fn rest(&self) -> &str {
        if self.whole { self.text.split_once('\n').map_or("", |(_, rest)| rest) } else { &self.text }
    }

    fn cost(&self) -> usize {
        ENTRY + self.text.len()
    }
}

impl Kept {
    /// An empty one.
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

    /// Whether an envelope of so many bytes has room, after entries up to number `idle` were shortened for it if
    /// it needs that.
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

    /// Adds an envelope, for which there is room.
    pub(super) fn add(&mut self, n: u64, kind: Kind, owner: Owner, text: Arc<str>, now: Instant) {
        self.put(Entry { n, kind, owner, text, whole: true, counted: false, at: now, total: 0 });
    }

    /// Notes a message that was not sent because there was no room.
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

    /// The first entry behind this number, or the first note.
    pub(super) fn after(&mut self, n: u64) -> Option<&mut Entry> {
        let note = self.notes.partition_point(|note| note.n <= n);
        if note < self.notes.len() {
            return self.notes.get_mut(note);
        }
        let at = self.entries.partition_point(|entry| entry.n <= n);
        self.entries.get_mut(at)
    }

    /// Bytes of what is behind this number.
    pub(super) fn bytes_after(&self, n: u64) -> usize {
        let at = self.entries.partition_point(|entry| entry.n <= n);
        let before = at.checked_sub(1).and_then(|at| self.entries.get(at)).map(|entry| entry.total);
        let before = before.unwrap_or(self.total - self.bytes as u64);
        (self.total - before) as usize
    }

    /// All have what is up to this number.
    pub(super) fn trim(&mut self, n: u64) {
        while self.entries.front().is_some_and(|entry| entry.n <= n) {
            self.pop();
        }
        if self.entries.is_empty() && self.entries.capacity() > 1024 {
            self.entries = VecDeque::new();
        }
    }

    /// All have what is up to number `n` but for those for whom nothing is kept any more: what they had not `confirmed`
    /// is noted.
    pub(super) fn give_up(&mut self, n: u64, confirmed: u64) {
        while self.entries.front().is_some_and(|entry| entry.n <= n)
            && let Some(entry) = self.pop()
        {
            if entry.n > confirmed && entry.owner != Owner::Nobody {
                self.note(entry);
            }
        }
    }

    /// Gives up what is too old, and notes what is behind `confirmed`, up to where all have it who may ask for it. Whose
    /// message the next one is of which nobody was told, where they are to be `told` now.
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

    /// Nobody asks for what is up to this number any more.
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

    /// The number of the last envelope of which not even a note is left for those who had not confirmed it.
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

/// Leaves the body, which says whom it was for.
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
    fn what_all_have_leaves_and_the_rest_is_found_by_its_number() {
        let (mut log, _) = filled(10);
        assert!(!log.make_room(1, 0), "it is full, and nobody has anything of it");
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
    fn what_only_the_absent_need_is_shortened_for_what_is_new() {
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
        assert!(!log.make_room(3000, 3), "one more may be shortened");
        assert!(log.make_room(3000, 10));
        log.trim(11);
        assert_eq!((log.bytes, log.short, log.cut), (0, 0, 0));
    }

    #[test]
    fn what_is_lost_is_noted_within_bounds() {
        let (mut log, now) = filled(10);
        for n in 11..100 {
            log.add_lost(n, Kind::Route, Owner::Host, &text(20), now);
        }
        assert_eq!(log.short, 1250 / (ENTRY + 5) * (ENTRY + 5), "an eighth of the limit");
        let lost = log.after(10).expect("noted");
        assert_eq!((lost.n, lost.whole, lost.counted, lost.rest()), (11, false, true, "body\n"));
        // The room that it has is given up from the front alone.
        assert!(log.make_room(1000 - ENTRY, 1));
        assert!(log.after(0).is_some_and(|entry| entry.n == 2));
    }

    #[test]
    fn what_is_too_old_leaves_a_note_and_is_told_once() {
        let (mut log, now) = filled(2);
        log.add_lost(3, Kind::Route, Owner::Host, &text(20), now);
        log.add(4, Kind::Route, Owner::Nobody, text(100), now);
        log.add(5, Kind::Route, Owner::Host, text(100), now + AGE / 2);
        assert!(log.expire(now + AGE - Duration::from_millis(1), 0, true).is_none());
        // The third was counted when it was lost, and all but the first are owed to somebody.
        let told = std::iter::from_fn(|| log.expire(now + AGE, 1, true)).count();
        assert_eq!((told, log.bytes), (2, 100 + ENTRY));
        let mut seen = Vec::new();
        let mut n = 0;
        while let Some(entry) = log.after(n) {
            (n, _) = (entry.n, seen.push((entry.n, entry.whole, entry.counted)));
        }
        assert_eq!(seen, [(2, false, true), (3, false, true), (5, true, false)]);
        assert!(log.expire(now + AGE * 2, 0, false).is_none(), "they are told when somebody asks");
        assert!(log.after(3).is_some_and(|note| !note.whole && !note.counted));
        log.trim_notes(3);
        assert_eq!(log.after(0).map(|note| note.n), Some(5));
        log.trim_notes(5);
        assert!(log.after(0).is_none() && log.noted == 0);
    }

    #[test]
    fn notes_are_bounded_and_those_that_went_are_known() {
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
