//! What waits for one connection: a bounded queue, and what a peer is owed that found it full.
//!
//! Presences are state: one that is lost leaves a ghost in a roster. So of what finds the queue full a
//! message is dropped and counted, but of a presence it is noted whom it told of, and when half of the queue
//! has drained the newest state of each of those is told. Rosters of newcomers are notes too, a key a
//! peer, and become text as the socket takes them.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::proto::CloseCode;

use super::presence::Who;
use super::slab::Key;

/// What an entry costs beside its text: its place in the queue, and the counters of a shared text.
const ENTRY: usize = 40;
/// What is kept of a peer that a newcomer is to be told of.
const CARD: usize = size_of::<Key>();
/// What is kept of a peer that was lost, if nobody else keeps it any more.
const LOST: usize = 128;
/// What answers may take beyond the limit, so that a burst of requests to a full queue is still answered.
const RESERVE: usize = 64 << 10;
/// A queue that has drained gives back room for more entries than this.
const KEPT: usize = 16;

#[derive(Debug)]
pub(super) enum Item {
    Text(Arc<str>),
    /// Peers to be told of, as they are when their turn comes; who has gone by then is passed over, as the
    /// presence of the going is behind this entry.
    Cards(Vec<Key>),
    /// Peers that were lost, to be told offline.
    Lost(Vec<Arc<Who>>),
}

impl Item {
    fn cost(&self) -> usize {
        ENTRY
            + match self {
                Item::Text(text) => text.len(),
                Item::Cards(peers) => peers.len() * CARD,
                Item::Lost(peers) => peers.len() * LOST,
            }
    }
}

/// What a text means to its recipient, which decides what becomes of it when the queue is full.
#[derive(Clone, Copy, Debug)]
pub(super) enum Class<'a> {
    /// It is dropped.
    Message,
    /// It has the reserve.
    Answer,
    /// It tells the state of a peer, which is told later; `gone` if it tells of its going.
    State { of: Key, gone: Option<&'a Arc<Who>> },
}

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
    /// Since when the queue has been full. It is full until half of it has drained.
    pub full_since: Option<Instant>,
    /// Whose state could not be told; with whom it was if they may have gone for good.
    owed: Option<BTreeMap<Key, Option<Arc<Who>>>>,
    close: Option<Box<Farewell>>,
    ping: bool,
    /// Nothing is taken any more.
    shut: bool,
    /// The driver knows that there is something.
    pub announced: bool,
}

impl Outbox {
    pub fn new(limit: usize) -> Self {
        Outbox { limit, ..Outbox::default() }
    }

    /// One that takes nothing.
    pub fn closed() -> Self {
        Outbox { shut: true, ..Outbox::default() }
    }

    /// Queues a text. False if it was dropped.
    pub fn push(&mut self, text: &Arc<str>, class: Class<'_>, now: Instant) -> bool {
        let cost = ENTRY + text.len();
        let limit = self.limit + if matches!(class, Class::Answer) { RESERVE } else { 0 };
        if self.shut {
            return false;
        }
        if self.fits(cost, limit, now) {
            self.add(Item::Text(text.clone()));
            return true;
        }
        if let Class::State { of, gone } = class {
            self.owe(of, gone.cloned());
        }
        false
    }

    /// Queues peers to be told of.
    pub fn push_cards(&mut self, peers: Vec<Key>, now: Instant) {
        if peers.is_empty() || self.shut {
            return;
        }
        let item = Item::Cards(peers);
        if self.fits(item.cost(), self.limit, now) {
            return self.add(item);
        }
        if let Item::Cards(peers) = item {
            peers.into_iter().for_each(|key| self.owe(key, None));
        }
    }

    /// Queues peers that were lost.
    pub fn push_lost(&mut self, peers: Vec<(Key, Arc<Who>)>, now: Instant) {
        if peers.is_empty() || self.shut {
            return;
        }
        if self.fits(ENTRY + peers.len() * LOST, self.limit, now) {
            return self.add(Item::Lost(peers.into_iter().map(|(_, who)| who).collect()));
        }
        peers.into_iter().for_each(|(key, who)| self.owe(key, Some(who)));
    }

    pub fn push_ping(&mut self) {
        self.ping = !self.shut;
    }

    /// The last thing that is sent, behind what waits; or, of a peer that takes nothing, instead of it.
    pub fn shut(&mut self, code: CloseCode, reason: Cow<'static, str>, discard: bool, now: Instant) {
        if self.shut {
            return;
        }
        self.shut = true;
        self.close = Some(Box::new(Farewell { code, reason, since: now }));
        self.full_since = None;
        self.owed = None;
        if discard {
            self.discard();
        }
    }

    /// Since when a close has been waiting behind other things.
    pub fn closing_since(&self) -> Option<Instant> {
        self.close.as_ref().filter(|_| !self.items.is_empty()).map(|close| close.since)
    }

    /// Gives up what waits.
    pub fn discard(&mut self) {
        self.items = VecDeque::new();
        self.bytes = 0;
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && !self.ping && self.close.is_none()
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn take_ping(&mut self) -> bool {
        std::mem::take(&mut self.ping)
    }

    /// The next entry; what is left of it goes back by [`Outbox::put_back`].
    pub fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= item.cost();
        Some(item)
    }

    pub fn put_back(&mut self, item: Item) {
        self.bytes += item.cost();
        self.items.push_front(item);
    }

    /// The close, once nothing else waits.
    pub fn take_close(&mut self) -> Option<(CloseCode, Cow<'static, str>)> {
        let close = if self.items.is_empty() { self.close.take() } else { None };
        close.map(|close| (close.code, close.reason))
    }

    /// Gives back room, and whose state is owed now that there is some. `None` as owner: of whom nothing
    /// is to be told unless they are there.
    pub fn drained(&mut self) -> Option<BTreeMap<Key, Option<Arc<Who>>>> {
        if self.items.is_empty() && self.items.capacity() > KEPT {
            self.items = VecDeque::new();
        }
        if self.bytes > self.limit / 2 {
            return None;
        }
        self.full_since = None;
        self.owed.take()
    }

    /// Queues whose state was owed: who is there, and who has gone. Takes no part in the limit, since it was noted
    /// already in about as many bytes.
    pub fn pay(&mut self, there: Vec<Key>, gone: Vec<Arc<Who>>) {
        if !gone.is_empty() {
            self.add(Item::Lost(gone));
        }
        if !there.is_empty() {
            self.add(Item::Cards(there));
        }
    }

    fn add(&mut self, item: Item) {
        self.bytes += item.cost();
        self.items.push_back(item);
    }

    /// Whether there is room; notes since when there is none. A queue that is empty takes anything.
    fn fits(&mut self, cost: usize, limit: usize, now: Instant) -> bool {
        let fits = self.items.is_empty() || self.bytes + cost <= limit;
        if !fits {
            self.full_since.get_or_insert(now);
        }
        fits
    }

    /// A later note does not forget that somebody may have to be told offline.
    fn owe(&mut self, key: Key, gone: Option<Arc<Who>>) {
        let owed = self.owed.get_or_insert_default().entry(key).or_default();
        *owed = gone.or(owed.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Address;

    fn text(n: usize) -> Arc<str> {
        "x".repeat(n).into()
    }

    fn who(id: &str) -> Arc<Who> {
        Arc::new(Who { address: Address::new("u", id), name: "u".into() })
    }

    #[test]
    fn a_full_queue_drops_messages_and_notes_states() {
        let (mut outbox, now) = (Outbox::new(1000), Instant::now());
        assert!(outbox.push(&text(900), Class::Message, now));
        assert!(!outbox.push(&text(100), Class::Message, now));
        assert_eq!(outbox.full_since, Some(now));
        assert!(outbox.push(&text(100), Class::Answer, now), "answers have a reserve");
        assert!(!outbox.push(&text(100), Class::State { of: Key::test(1), gone: Some(&who("1")) }, now));
        assert!(!outbox.push(&text(100), Class::State { of: Key::test(1), gone: None }, now));
        outbox.push_cards((2..200).map(Key::test).collect(), now);
        assert!(outbox.drained().is_none(), "more than half still waits");
        outbox.pop().expect("queued first");
        let owed = outbox.drained().expect("less than half waits");
        assert_eq!((owed.len(), outbox.full_since), (199, None));
        assert!(owed[&Key::test(1)].is_some(), "it may have to be told that 1 has gone");
    }

    #[test]
    fn an_empty_queue_takes_one_message_of_any_size() {
        let (mut outbox, now) = (Outbox::new(100), Instant::now());
        assert!(outbox.push(&text(500), Class::Message, now));
        assert!(!outbox.push(&text(1), Class::Message, now));
    }

    #[test]
    fn the_close_comes_last_or_instead() {
        for (discard, waits) in [(false, true), (true, false)] {
            let (mut outbox, now) = (Outbox::new(1000), Instant::now());
            outbox.push(&text(10), Class::Message, now);
            outbox.shut(CloseCode::POLICY, "why".into(), discard, now);
            assert_eq!(outbox.take_close().is_none(), waits);
            assert!(!outbox.push(&text(10), Class::Answer, now), "nothing is taken any more");
            assert_eq!(outbox.pop().is_some(), waits);
            assert_eq!(outbox.take_close().is_some(), waits);
            assert!(outbox.is_empty() && outbox.bytes() == 0);
        }
    }
}
