//! What waits for one connection: a bounded queue, and what a peer is owed that found it full.
//!
//! Over the high mark, half of the limit, the recipient holds its senders ([`hold`](super::hold)), so that each
//! of them adds one frame more at most. Over the limit such a frame is still taken while the socket takes
//! something: keeping it here or at its sender costs the same, and here it keeps its place. Otherwise the
//! recipient is to be closed.
//!
//! A peer of this process under a reserved name is held by nobody: over the limit the recipient is closed at once, or
//! over twice the limit while its socket has refused nothing and the server is behind.
//!
//! Nobody can be held for what the host pushes either: over the limit it is not taken, and the recipient is told how
//! much it missed once it has read. Presences are state, and one that is lost would leave a ghost in a roster: over
//! the high mark it is noted whom it told of, and the newest state of each of those is told below the low mark,
//! a quarter of the limit. Rosters of newcomers are notes too, a key a peer, and become text as the socket
//! takes them.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

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
    /// Its sender is held.
    Message,
    /// Its sender is of this process and is not: one slow peer must not stop a camera.
    Unheld,
    /// Nobody is: the host or another program sent it.
    Pushed,
    /// It has the reserve.
    Answer,
    /// It tells the state of a peer, which is told later; `gone` if it tells of its going.
    State { of: Key, gone: Option<&'a Arc<Who>> },
}

/// What became of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    /// Noted, missed, or for a connection that is closing.
    No,
    /// There is no room, and there will be none: the connection is to be closed.
    Stuck,
}

/// A socket that took something within this time is slow, and not stuck.
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
    /// When the socket last took something; only while it refuses more.
    refuses: Option<Instant>,
    /// What the host pushed and did not fit, since that was last told.
    missed: u32,
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

    /// Queues a text.
    pub fn push(&mut self, text: &Arc<str>, class: Class<'_>, now: Instant) -> Taken {
        if self.shut {
            return Taken::No;
        }
        let limit = match class {
            Class::Message | Class::Pushed => self.limit,
            // Nobody waits, so what the server itself has not written yet must end too.
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
                Class::State { of, gone } => {
                    self.owe(of, gone.cloned());
                    return Taken::No;
                }
            }
        }
        self.add(Item::Text(text.clone()));
        Taken::Yes
    }

    /// Queues peers to be told of.
    pub fn push_cards(&mut self, peers: Vec<Key>) {
        if peers.is_empty() || self.shut {
            return;
        }
        let item = Item::Cards(peers);
        if self.fits(item.cost(), self.high()) {
            return self.add(item);
        }
        if let Item::Cards(peers) = item {
            peers.into_iter().for_each(|key| self.owe(key, None));
        }
    }

    /// Queues peers that were lost.
    pub fn push_lost(&mut self, peers: Vec<(Key, Arc<Who>)>) {
        if peers.is_empty() || self.shut {
            return;
        }
        if self.fits(ENTRY + peers.len() * LOST, self.high()) {
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
        self.owed = None;
        self.missed = 0;
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

    /// The texts that wait.
    pub fn texts(&self) -> impl Iterator<Item = &Arc<str>> {
        self.items.iter().filter_map(|item| match item {
            Item::Text(text) => Some(text),
            Item::Cards(_) | Item::Lost(_) => None,
        })
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

    /// The socket takes nothing more just now; `moved`: it took something since this was last said.
    pub fn refuse(&mut self, moved: bool, now: Instant) {
        match &mut self.refuses {
            Some(at) if moved => *at = now,
            Some(_) => {}
            refuses => *refuses = Some(now),
        }
    }

    /// The socket takes more. Whether it did not before.
    pub fn accept(&mut self) -> bool {
        self.refuses.take().is_some()
    }

    pub fn refuses(&self) -> bool {
        self.refuses.is_some()
    }

    /// Whether its socket takes what it is given, however slowly.
    fn is_moving(&self, now: Instant) -> bool {
        self.refuses.is_none_or(|at| now.saturating_duration_since(at) < MOVING)
    }

    fn high(&self) -> usize {
        self.limit / 2
    }

    /// Senders are to be held.
    pub fn is_high(&self) -> bool {
        self.bytes > self.high() && !self.shut
    }

    /// Senders are to be held no more.
    pub fn is_low(&self) -> bool {
        self.bytes <= self.limit / 4
    }

    /// Gives back room, and whose state is owed now that there is some. `None` as owner: of whom nothing
    /// is to be told unless they are there.
    pub fn drained(&mut self) -> Option<BTreeMap<Key, Option<Arc<Who>>>> {
        if self.items.is_empty() && self.items.capacity() > KEPT {
            self.items = VecDeque::new();
        }
        if !self.is_low() {
            return None;
        }
        let missed = std::mem::take(&mut self.missed);
        if missed > 0 {
            self.add(Item::Text(told_missed(missed)));
        }
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

    /// Whether there is room. A queue that is empty takes anything.
    fn fits(&self, cost: usize, limit: usize) -> bool {
        self.items.is_empty() || self.bytes + cost <= limit
    }

    /// A later note does not forget that somebody may have to be told offline.
    fn owe(&mut self, key: Key, gone: Option<Arc<Who>>) {
        let owed = self.owed.get_or_insert_default().entry(key).or_default();
        *owed = gone.or(owed.take());
    }
}

/// Tells a peer how many messages it did not get.
pub(super) fn told_missed(count: u32) -> Arc<str> {
    format!(
        r#"{{"type":"event","name":"missed","subtype":"missed","missed":{count},"message":"{count} messages for you were lost"}}"#
    )
    .into()
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

    fn filled() -> (Outbox, Instant) {
        let (mut outbox, now) = (Outbox::new(1000), Instant::now());
        assert_eq!(outbox.push(&text(900), Class::Message, now), Taken::Yes);
        assert!(outbox.is_high());
        (outbox, now)
    }

    #[test]
    fn at_the_limit_who_takes_nothing_is_stuck_and_others_get_more() {
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
    fn states_are_noted_and_pushes_are_counted() {
        let ((mut outbox, now), one) = (filled(), who("1"));
        let state = |gone| Class::State { of: Key::test(1), gone };
        assert_eq!(outbox.push(&text(100), Class::Pushed, now), Taken::No);
        assert_eq!(outbox.push(&text(100), state(Some(&one)), now), Taken::No);
        assert_eq!(outbox.push(&text(100), state(None), now), Taken::No);
        outbox.push_cards((2..200).map(Key::test).collect());
        assert!(outbox.drained().is_none(), "more than a quarter still waits");
        outbox.pop().expect("queued first");
        let owed = outbox.drained().expect("less than a quarter waits");
        assert_eq!(owed.len(), 199);
        assert!(owed[&Key::test(1)].is_some(), "it may have to be told that 1 has gone");
        assert!(matches!(outbox.pop(), Some(Item::Text(text)) if text.contains(r#""missed":1,"#)));
        assert!(outbox.drained().is_none() && outbox.is_empty(), "told once");
    }

    #[test]
    fn an_empty_queue_takes_one_message_of_any_size() {
        for class in
            [Class::Message, Class::Pushed, Class::Answer, Class::State { of: Key::test(1), gone: None }]
        {
            let (mut outbox, now) = (Outbox::new(100), Instant::now());
            outbox.refuse(false, now);
            assert_eq!(outbox.push(&text(500), class, now + MOVING), Taken::Yes);
        }
    }

    #[test]
    fn the_close_comes_last_or_instead() {
        for (discard, waits) in [(false, true), (true, false)] {
            let (mut outbox, now) = (Outbox::new(1000), Instant::now());
            outbox.push(&text(10), Class::Message, now);
            outbox.shut(CloseCode::POLICY, "why".into(), discard, now);
            assert_eq!(outbox.take_close().is_none(), waits);
            assert_eq!(outbox.push(&text(10), Class::Answer, now), Taken::No, "nothing is taken any more");
            assert_eq!(outbox.pop().is_some(), waits);
            assert_eq!(outbox.take_close().is_some(), waits);
            assert!(outbox.is_empty() && outbox.bytes() == 0);
        }
    }
}
