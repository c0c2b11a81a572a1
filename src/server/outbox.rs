//! The queue of one connection: bounded, with a record of what the peer is owed when it was full.
//!
//! Over the high mark, half of the limit, the recipient holds its senders ([`hold`](super::hold)), so each of
//! them adds at most one more frame. Over the limit such a frame is still queued as long as the socket
//! accepts something: keeping it here or at its sender costs the same, and here it keeps its place. Otherwise
//! the recipient must be closed.
//!
//! A peer in this process under a reserved name is held by nobody. Over the limit its recipient is closed at
//! once; or only over twice the limit, as long as the recipient's socket has refused nothing because the
//! server itself is behind.
//!
//! Nobody can be held for what the host pushes either: over the limit it is not queued, and once the
//! recipient has read, it is told how much it missed. Arrivals and departures are in the logs of the rooms,
//! and an entry here says up to which change the recipient is to be told at this place; it becomes text as
//! the socket accepts it. Presences that peers send are state: over the high mark only their subjects are
//! noted, and below the low mark, a quarter of the limit, the recipient is told the latest state of each.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::proto::CloseCode;

use super::slab::Key;

/// What an entry costs besides its text: its place in the queue, and the counters of a shared text.
const ENTRY: usize = 40;
/// What is kept for a peer whose state is owed.
const CARD: usize = size_of::<Key>();
/// What answers may use beyond the limit, so that a burst of requests from a client with a full queue is
/// still answered.
const RESERVE: usize = 64 << 10;
/// A queue that has drained frees capacity above this many entries.
const KEPT: usize = 16;

#[derive(Debug)]
pub(super) enum Item {
    Text(Arc<str>),
    /// Peers to announce, in their state when their turn comes; those who are gone by then are skipped,
    /// because the presence of their departure comes after this entry.
    Cards(Vec<Key>),
    /// Announce what has changed in its rooms up to this change. `begun`: part of it was announced already.
    Roster {
        upto: u64,
        begun: bool,
    },
}

impl Item {
    fn cost(&self) -> usize {
        ENTRY
            + match self {
                Item::Text(text) => text.len(),
                Item::Cards(peers) => peers.len() * CARD,
                Item::Roster { .. } => 0,
            }
    }
}

/// What a text means to its recipient, which decides what happens to it when the queue is full.
#[derive(Clone, Copy, Debug)]
pub(super) enum Class {
    /// Its sender is held.
    Message,
    /// Its sender is in this process and is not held: one slow peer must not stop a camera.
    Unheld,
    /// Nobody is held: the host or another program sent it.
    Pushed,
    /// It may use the reserve.
    Answer,
    /// The state of a peer that is online, which can be told later.
    State { of: Key },
}

/// What happened to a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    /// Noted, missed, or for a connection that is closing.
    No,
    /// There is no room, and there will be none: close the connection.
    Stuck,
}

/// A socket that accepted something within this time is slow, not stuck.
const MOVING: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Farewell {
    code: CloseCode,
    reason: Cow<'static, str>,
    since: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    items: VecDeque<Item>,
    bytes: usize,
    limit: usize,
    /// When the socket last accepted something; only while it refuses more.
    refuses: Option<Instant>,
    /// What the host pushed and did not fit, and what was lost between instances, since the last report of
    /// it.
    missed: u32,
    /// Peers whose state could not be told.
    owed: BTreeSet<Key>,
    /// The change of its rooms up to which it will have been told once all of this is sent.
    told: u64,
    close: Option<Box<Farewell>>,
    ping: bool,
    /// Nothing is queued any more.
    shut: bool,
    /// The driver knows that there is something.
    pub announced: bool,
    /// The client understands `presence:batch`.
    pub batches: bool,
    /// Joins without an answer yet; nothing about their rooms is told before it.
    pub joining: u16,
}

impl Outbox {
    pub(super) fn new(limit: usize) -> Self {
        Outbox { limit, ..Outbox::default() }
    }

    /// A queue that accepts nothing.
    pub(super) fn closed() -> Self {
        Outbox { shut: true, ..Outbox::default() }
    }

    /// Queues a text.
    pub(super) fn push(&mut self, text: &Arc<str>, class: Class, now: Instant) -> Taken {
        if self.shut {
            return Taken::No;
        }
        let limit = match class {
            Class::Message | Class::Pushed => self.limit,
            // Nobody waits, so what the server itself has not written yet must be bounded too.
            Class::Unheld if self.refuses() => self.limit,
            Class::Unheld => self.limit * 2,
            Class::Answer => self.limit + RESERVE,
            Class::State { .. } => self.high(),
        };
        if !self.fits(ENTRY + text.len(), limit) {
            match class {
                Class::Message | Class::Answer if self.is_moving(now) => {}
                Class::Message | Class::Unheld | Class::Answer => return Taken::Stuck,
                Class::Pushed => {
                    self.missed = self.missed.saturating_add(1);
                    return Taken::No;
                }
                Class::State { of } => {
                    self.owe(of);
                    return Taken::No;
                }
            }
        }
        self.add(Item::Text(text.clone()));
        Taken::Yes
    }

    /// At this place the recipient is to be told what has changed in its rooms up to this change.
    pub(super) fn push_roster(&mut self, seq: u64) {
        if self.shut || self.joining > 0 || self.told >= seq {
            return;
        }
        self.told = seq;
        match self.items.back_mut() {
            Some(Item::Roster { upto, begun: false }) => *upto = seq,
            _ => self.add(Item::Roster { upto: seq, begun: false }),
        }
    }

    /// The change of its rooms up to which it is told before what is queued next.
    pub(super) fn told(&self) -> u64 {
        self.told
    }

    /// The changes up to which it will have been told at one time or another.
    pub(super) fn rosters(&self) -> impl Iterator<Item = u64> {
        self.items.iter().filter_map(|item| match item {
            Item::Roster { upto, .. } => Some(*upto),
            Item::Text(_) | Item::Cards(_) => None,
        })
    }

    pub(super) fn push_ping(&mut self) {
        self.ping = !self.shut;
    }

    /// The last thing sent, after what is queued; or, for a peer that accepts nothing, instead of it.
    pub(super) fn shut(&mut self, code: CloseCode, reason: Cow<'static, str>, discard: bool, now: Instant) {
        if self.shut {
            return;
        }
        self.shut = true;
        self.close = Some(Box::new(Farewell { code, reason, since: now }));
        self.owed = BTreeSet::new();
        self.missed = 0;
        if discard {
            self.discard();
        }
    }

    /// Since when a close has been waiting behind other things.
    pub(super) fn closing_since(&self) -> Option<Instant> {
        self.close.as_ref().filter(|_| !self.items.is_empty()).map(|close| close.since)
    }

    /// Drops what is queued.
    pub(super) fn discard(&mut self) {
        self.items = VecDeque::new();
        self.bytes = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty() && !self.ping && self.close.is_none() && self.missed == 0
    }

    /// A message was lost before it got here. Returns whether that is to be reported.
    pub(super) fn miss(&mut self) -> bool {
        self.missed += u32::from(!self.shut);
        !self.shut
    }

    /// Bytes queued.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The queued texts.
    pub(super) fn texts(&self) -> impl Iterator<Item = &Arc<str>> {
        self.items.iter().filter_map(|item| match item {
            Item::Text(text) => Some(text),
            Item::Cards(_) | Item::Roster { .. } => None,
        })
    }

    pub(super) fn take_ping(&mut self) -> bool {
        std::mem::take(&mut self.ping)
    }

    /// The next entry; what is left of it is returned with [`Outbox::put_back`].
    pub(super) fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= item.cost();
        Some(item)
    }

    pub(super) fn put_back(&mut self, item: Item) {
        self.bytes += item.cost();
        self.items.push_front(item);
    }

    /// The close, once nothing else is queued.
    pub(super) fn take_close(&mut self) -> Option<(CloseCode, Cow<'static, str>)> {
        let close = if self.items.is_empty() { self.close.take() } else { None };
        close.map(|close| (close.code, close.reason))
    }

    /// The socket accepts nothing more right now; `moved`: it accepted something since the last report.
    pub(super) fn refuse(&mut self, moved: bool, now: Instant) {
        match &mut self.refuses {
            Some(at) if moved => *at = now,
            Some(_) => {}
            refuses => *refuses = Some(now),
        }
    }

    /// The socket accepts more. Returns whether it did not before.
    pub(super) fn accept(&mut self) -> bool {
        self.refuses.take().is_some()
    }

    pub(super) fn refuses(&self) -> bool {
        self.refuses.is_some()
    }

    /// Whether its socket accepts what it is given, however slowly.
    fn is_moving(&self, now: Instant) -> bool {
        self.refuses.is_none_or(|at| now.saturating_duration_since(at) < MOVING)
    }

    fn high(&self) -> usize {
        self.limit / 2
    }

    /// Whether senders must be held.
    pub(super) fn is_high(&self) -> bool {
        self.bytes > self.high() && !self.shut
    }

    /// Whether senders can be released.
    pub(super) fn is_low(&self) -> bool {
        self.bytes <= self.limit / 4
    }

    /// Frees capacity. Returns the peers whose state is owed, if there is room for them now.
    pub(super) fn drained(&mut self) -> BTreeSet<Key> {
        if self.items.is_empty() && self.items.capacity() > KEPT {
            self.items = VecDeque::new();
        }
        self.tell_missed();
        if !self.is_low() || self.joining > 0 {
            return BTreeSet::new();
        }
        std::mem::take(&mut self.owed)
    }

    /// Queues how many were missed, once there is room.
    pub(super) fn tell_missed(&mut self) {
        if self.missed > 0 && self.is_low() {
            let missed = std::mem::take(&mut self.missed);
            self.add(Item::Text(told_missed(missed)));
        }
    }

    /// The state of a peer could not be told.
    pub(super) fn owe(&mut self, of: Key) {
        if !self.shut {
            self.owed.insert(of);
        }
    }

    /// Queues peers whose state was owed. Not subject to the limit, since noting them took about as many
    /// bytes.
    pub(super) fn pay(&mut self, peers: Vec<Key>) {
        if !peers.is_empty() {
            self.add(Item::Cards(peers));
        }
    }

    fn add(&mut self, item: Item) {
        self.bytes += item.cost();
        self.items.push_back(item);
    }

    /// Whether there is room. An empty queue accepts anything.
    fn fits(&self, cost: usize, limit: usize) -> bool {
        self.items.is_empty() || self.bytes + cost <= limit
    }
}

/// Tells a peer how many messages it missed.
pub(super) fn told_missed(count: u32) -> Arc<str> {
    format!(
        r#"{{"type":"event","name":"missed","subtype":"missed","missed":{count},"message":"{count} messages for you were lost"}}"#
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(n: usize) -> Arc<str> {
        "x".repeat(n).into()
    }

    fn filled() -> (Outbox, Instant) {
        let (mut outbox, now) = (Outbox::new(1000), Instant::now());
        assert_eq!(outbox.push(&text(900), Class::Message, now), Taken::Yes);
        assert!(outbox.is_high());
        (outbox, now)
    }

    #[test]
    fn at_the_limit_a_socket_that_accepts_nothing_is_stuck_and_others_get_more() {
        for class in [Class::Message, Class::Answer] {
            let (mut outbox, now) = filled();
            assert_eq!(outbox.push(&text(70_000), class, now), Taken::Yes, "the server is behind");
            outbox.refuse(false, now);
            assert_eq!(outbox.push(&text(100), class, now + MOVING / 2), Taken::Yes);
            assert_eq!(outbox.push(&text(100), class, now + MOVING), Taken::Stuck);
            outbox.refuse(true, now + MOVING);
            assert_eq!(outbox.push(&text(100), class, now + MOVING), Taken::Yes);
            assert!(outbox.accept() && !outbox.accept());
            assert_eq!(outbox.push(&text(100), class, now + 9 * MOVING), Taken::Yes);
        }
        let (mut outbox, now) = filled();
        outbox.refuse(false, now);
        assert_eq!(
            outbox.push(&text(1000), Class::Answer, now + MOVING),
            Taken::Yes,
            "answers have a reserve"
        );
    }

    #[test]
    fn missed_states_are_noted_and_missed_pushes_counted() {
        let (mut outbox, now) = filled();
        let state = |of| Class::State { of: Key::test(of) };
        assert_eq!(outbox.push(&text(100), Class::Pushed, now), Taken::No);
        for of in [1, 2, 1] {
            assert_eq!(outbox.push(&text(100), state(of), now), Taken::No);
        }
        assert!(outbox.drained().is_empty(), "more than a quarter still waits");
        outbox.pop().expect("queued first");
        assert_eq!(outbox.drained(), BTreeSet::from([1, 2].map(Key::test)), "less than a quarter waits");
        assert!(matches!(outbox.pop(), Some(Item::Text(text)) if text.contains(r#""missed":1,"#)));
        assert!(outbox.drained().is_empty() && outbox.is_empty(), "told once");
    }

    #[test]
    fn room_changes_are_announced_where_they_happened() {
        let (mut outbox, now) = (Outbox::new(1000), Instant::now());
        let upto = |outbox: &Outbox| outbox.rosters().collect::<Vec<_>>();
        (1..=9).for_each(|seq| outbox.push_roster(seq));
        assert_eq!((upto(&outbox), outbox.told(), outbox.bytes()), (vec![9], 9, ENTRY), "one entry");
        outbox.push(&text(10), Class::Message, now);
        outbox.push_roster(9);
        assert_eq!(upto(&outbox), [9]);
        outbox.push_roster(10);
        assert_eq!(upto(&outbox), [9, 10]);
        let Some(Item::Roster { upto: 9, .. }) = outbox.pop() else { panic!("queued first") };
        outbox.pop().expect("the text");
        outbox.pop().expect("the last");
        outbox.put_back(Item::Roster { upto: 10, begun: true });
        outbox.push_roster(11);
        assert_eq!(upto(&outbox), [10, 11], "an announcement that has begun ends where it was meant to");
        outbox.joining = 1;
        outbox.push_roster(12);
        assert_eq!(outbox.told(), 11, "not before the join is answered");
    }

    #[test]
    fn an_empty_queue_takes_one_message_of_any_size() {
        for class in [Class::Message, Class::Pushed, Class::Answer, Class::State { of: Key::test(1) }] {
            let (mut outbox, now) = (Outbox::new(100), Instant::now());
            outbox.refuse(false, now);
            assert_eq!(outbox.push(&text(500), class, now + MOVING), Taken::Yes);
        }
    }

    #[test]
    fn the_close_comes_after_the_queue_or_replaces_it() {
        for (discard, waits) in [(false, true), (true, false)] {
            let (mut outbox, now) = (Outbox::new(1000), Instant::now());
            outbox.push(&text(10), Class::Message, now);
            outbox.shut(CloseCode::POLICY, "why".into(), discard, now);
            assert_eq!(outbox.take_close().is_none(), waits);
            assert_eq!(outbox.push(&text(10), Class::Answer, now), Taken::No, "nothing is accepted any more");
            assert_eq!(outbox.pop().is_some(), waits);
            assert_eq!(outbox.take_close().is_some(), waits);
            assert!(outbox.is_empty() && outbox.bytes() == 0);
        }
    }
}
