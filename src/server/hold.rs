//! Who holds whom, and for how long that may last.
//!
//! A recipient whose queue is over its high mark **holds** those who add to it: their sockets are not read
//! until the queue is below the low mark or the recipient is closed. Two allowances limit this:
//!
//! - a recipient may hold others for [`Config::slow_after`](super::Config::slow_after) in total and regains a
//!   sixtieth of the time that passes; if its socket accepts nothing at all, it has half of that at a time,
//!   so that its senders keep the other half of theirs for recipients that are slow but do read;
//! - a sender is held for at most `slow_after` per minute, by whomever; then whoever holds it is closed,
//!   starting with the one that has held it longest.
//!
//! In a cluster each instance counts for its own recipients, and they tell each other what they counted for a
//! sender, every second and at the end of a hold: the larger number counts.
//!
//! Peers in this process are held like any other; their client's queue then fills up, and it reports that.
//! Peers under a [reserved](super::Config::reserved) name are not held: one stranger must not be able to stop
//! a camera, so a recipient that has no room for them is closed.
//!
//! Only time in which the recipient's socket refuses bytes counts, so a server that is itself behind closes
//! nobody. After being closed, the same user at the same address may hold nobody for a while ([`barred`]): it cannot
//! come back for another ten seconds of everybody's time.
//!
//! **Nobody waits forever.** What is queued for a recipient is sent as its socket accepts it, whether it is
//! held itself or not: writing never waits for reading. So a hold ends as soon as the recipient reads. If it
//! does not read, because it has stopped or is itself waiting to be read, its allowance ends the hold. No
//! circle of peers waiting for each other outlives that.
//!
//! The counts are checked every [`LOOK`] while anybody is held, and cost nothing otherwise.

pub(super) mod barred;
mod minute;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use minute::Minute;

/// How often the holders are checked. A hundredth of the allowance, so a close is late by that much at most.
const LOOK: Duration = Duration::from_millis(100);

/// A recipient regains its whole allowance of 10 s in ten minutes: one that needs it more often than that is
/// slower than what it is sent, however its link behaves.
const REGAIN: u32 = 60;

/// Who holds whom. `K` identifies a session.
pub(super) struct Holds<K> {
    allowance: Duration,
    recipients: BTreeMap<K, Recipient<K>>,
    senders: BTreeMap<K, Sender<K>>,
    /// When they were last checked; only while somebody is held.
    looked: Option<Instant>,
    /// The start of time for [`Minute`].
    began: Option<Instant>,
}

struct Recipient<K> {
    /// The senders it holds.
    senders: Vec<K>,
    since: Instant,
    /// Since when its socket has refused bytes, apart from what is in `refused` already.
    refuses: Option<Instant>,
    /// Since the last check.
    refused: Duration,
    /// When its socket last accepted something.
    moved: Instant,
    left: Duration,
    counted: Instant,
}

struct Sender<K> {
    holders: Vec<K>,
    /// Since the last check, by whomever.
    pending: Duration,
    minute: Minute,
}

impl<K: Copy + Ord> Holds<K> {
    /// Nobody is held. `allowance` is that of a recipient, and that of a sender per minute.
    pub(super) fn new(allowance: Duration) -> Self {
        Holds { allowance, recipients: BTreeMap::new(), senders: BTreeMap::new(), looked: None, began: None }
    }

    /// From now on `recipient`, whose socket currently refuses bytes or does not, holds `sender`. True if it
    /// did not before.
    pub(super) fn hold(&mut self, recipient: K, sender: K, refuses: bool, now: Instant) -> bool {
        self.looked.get_or_insert(now);
        self.began.get_or_insert(now);
        let allowance = self.allowance;
        let entry = self.recipients.entry(recipient).or_insert_with(|| Recipient {
            senders: Vec::new(),
            since: now,
            refuses: None,
            refused: Duration::ZERO,
            moved: now,
            left: allowance,
            counted: now,
        });
        if entry.senders.is_empty() {
            (entry.since, entry.refused) = (now, Duration::ZERO);
            // Time it refused bytes before anybody waited for it does not count.
            (entry.refuses, entry.moved) = (refuses.then_some(now), now);
        }
        let held = self.senders.entry(sender).or_insert_with(Sender::new);
        if held.holders.contains(&recipient) {
            return false;
        }
        entry.senders.push(sender);
        held.holders.push(recipient);
        true
    }

    pub(super) fn is_held(&self, sender: K) -> bool {
        self.senders.get(&sender).is_some_and(|held| !held.holders.is_empty())
    }

    /// The senders that a recipient holds.
    pub(super) fn held_by(&self, recipient: K) -> &[K] {
        self.recipients.get(&recipient).map_or(&[], |entry| &entry.senders)
    }

    pub(super) fn is_holding(&self, recipient: K) -> bool {
        self.recipients.get(&recipient).is_some_and(|entry| !entry.senders.is_empty())
    }

    /// Whether nobody is held.
    pub(super) fn is_idle(&self) -> bool {
        self.looked.is_none()
    }

    /// How many senders are held.
    pub(super) fn held(&self) -> usize {
        self.senders.values().filter(|held| !held.holders.is_empty()).count()
    }

    /// A recipient's socket refuses bytes from now on; `moved`: it accepted some since the last report.
    pub(super) fn refuses(&mut self, recipient: K, moved: bool, now: Instant) {
        if let Some(entry) = self.recipients.get_mut(&recipient) {
            entry.refuses.get_or_insert(now);
            if moved {
                entry.moved = now;
            }
        }
    }

    /// A recipient's socket accepts bytes again.
    pub(super) fn takes(&mut self, recipient: K, now: Instant) {
        if let Some(entry) = self.recipients.get_mut(&recipient) {
            entry.settle(now);
            (entry.refuses, entry.moved) = (None, now);
        }
    }

    /// A recipient no longer holds anybody. Returns those whom nobody else holds.
    pub(super) fn release(&mut self, recipient: K, now: Instant) -> Vec<K> {
        let Some(entry) = self.recipients.get_mut(&recipient) else { return Vec::new() };
        entry.settle(now);
        let (elapsed, at) = (since(self.looked, now), since(self.began, now));
        let refused = std::mem::take(&mut entry.refused);
        entry.spend(refused, self.allowance, now);
        let mut free = Vec::new();
        for key in std::mem::take(&mut entry.senders) {
            let Some(held) = self.senders.get_mut(&key) else { continue };
            held.pending = (held.pending + refused).min(elapsed);
            held.holders.retain(|other| *other != recipient);
            if held.holders.is_empty() {
                held.minute.add(std::mem::take(&mut held.pending), at);
                free.push(key);
            }
        }
        self.rest();
        free
    }

    /// The recipients that hold a sender.
    pub(super) fn holders(&self, sender: K) -> &[K] {
        self.senders.get(&sender).map_or(&[], |held| &held.holders)
    }

    /// A recipient no longer holds this sender. True if nobody else does.
    pub(super) fn part(&mut self, recipient: K, sender: K, now: Instant) -> bool {
        let (elapsed, at) = (since(self.looked, now), since(self.began, now));
        let Some(entry) = self.recipients.get_mut(&recipient) else { return false };
        let Some(held) = self.senders.get_mut(&sender).filter(|held| held.holders.contains(&recipient))
        else {
            return false;
        };
        entry.settle(now);
        entry.senders.retain(|other| *other != sender);
        held.pending = (held.pending + entry.refused).min(elapsed);
        held.holders.retain(|other| *other != recipient);
        let is_free = held.holders.is_empty();
        if is_free {
            held.minute.add(std::mem::take(&mut held.pending), at);
        }
        self.rest();
        is_free
    }

    /// A session is gone. Returns those who were held by it alone.
    pub(super) fn remove(&mut self, key: K, now: Instant) -> Vec<K> {
        let free = self.release(key, now);
        self.recipients.remove(&key);
        self.free(key, now);
        self.senders.remove(&key);
        free
    }

    /// Nobody holds `sender` any more.
    pub(super) fn free(&mut self, sender: K, now: Instant) {
        for recipient in self.holders(sender).to_vec() {
            self.part(recipient, sender, now);
        }
    }

    /// How long a sender was held in the last minute, as counted so far.
    pub(super) fn spent(&self, sender: K, now: Instant) -> Duration {
        self.senders.get(&sender).map_or(Duration::ZERO, |held| held.minute.sum(since(self.began, now)))
    }

    /// A sender was held for this long in the last minute, counting other instances too.
    pub(super) fn learn_spent(&mut self, sender: K, spent: Duration, now: Instant) {
        let at = since(Some(*self.began.get_or_insert(now)), now);
        let minute = &mut self.senders.entry(sender).or_insert_with(Sender::new).minute;
        minute.add(spent.min(self.allowance).saturating_sub(minute.sum(at)), at);
    }

    /// When the next check is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.looked.map(|at| at + LOOK)
    }

    /// Counts the time that has passed. Returns those whose time is up, in the order in which to close them;
    /// the caller must [remove](Holds::remove) each. Once a second, also returns those who are held.
    pub(super) fn look(&mut self, now: Instant) -> (Vec<K>, Vec<K>) {
        let elapsed = since(self.looked, now);
        if self.looked.is_some() {
            self.looked = Some(now);
        }
        let allowance = self.allowance;
        for entry in self.recipients.values_mut() {
            entry.settle(now);
            let mut refused = std::mem::take(&mut entry.refused);
            if entry.senders.is_empty() {
                refused = Duration::ZERO;
            }
            entry.spend(refused, allowance, now);
            for key in &entry.senders {
                if let Some(held) = self.senders.get_mut(key) {
                    held.pending = (held.pending + refused).min(elapsed);
                }
            }
        }
        let at = since(self.began, now);
        self.senders.values_mut().for_each(|held| held.minute.add(std::mem::take(&mut held.pending), at));
        let is_new_second = at.as_secs() > at.saturating_sub(elapsed).as_secs();
        let held = self.senders.iter().filter(|(_, held)| is_new_second && !held.holders.is_empty());
        let held = held.map(|(key, _)| *key).collect();
        let spent = |held: &Sender<K>| held.minute.sum(at) >= allowance;
        let is_due = |entry: &Recipient<K>| {
            let stands =
                entry.refuses.is_some() && now.saturating_duration_since(entry.moved) >= allowance / 2;
            let holds_too_long =
                |key: &K| entry.refuses.is_some() && self.senders.get(key).is_some_and(spent);
            !entry.senders.is_empty()
                && (entry.left.is_zero() || stands || entry.senders.iter().any(holds_too_long))
        };
        let mut due: Vec<(Instant, K)> = self
            .recipients
            .iter()
            .filter(|(_, entry)| is_due(entry))
            .map(|(key, entry)| (entry.since, *key))
            .collect();
        due.sort_unstable();
        // Drops entries that say nothing a new entry would not say.
        self.recipients.retain(|_, entry| !entry.senders.is_empty() || entry.left < allowance);
        self.senders.retain(|_, held| !held.holders.is_empty() || !held.minute.sum(at).is_zero());
        (due.into_iter().map(|(_, key)| key).collect(), held)
    }

    /// Nothing needs checking while nobody is held.
    fn rest(&mut self) {
        if self.recipients.values().all(|entry| entry.senders.is_empty()) {
            self.looked = None;
        }
    }
}

impl<K> Sender<K> {
    fn new() -> Self {
        Sender { holders: Vec::new(), pending: Duration::ZERO, minute: Minute::new() }
    }
}

impl<K> Recipient<K> {
    fn settle(&mut self, now: Instant) {
        if let Some(at) = &mut self.refuses {
            self.refused += now.saturating_duration_since(*at);
            *at = now;
        }
    }

    fn spend(&mut self, refused: Duration, allowance: Duration, now: Instant) {
        let regained = now.saturating_duration_since(self.counted) / REGAIN;
        self.counted = now;
        self.left = (self.left + regained).min(allowance).saturating_sub(refused);
    }
}

fn since(at: Option<Instant>, now: Instant) -> Duration {
    at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    fn secs(n: f64) -> Duration {
        Duration::from_secs_f64(n)
    }

    /// Recipients are numbered from 100.
    struct World {
        holds: Holds<u32>,
        began: Instant,
        now: Instant,
        /// Who was closed, and after how long.
        closed: Vec<(u32, f64)>,
    }

    impl World {
        fn new() -> World {
            let now = Instant::now();
            World { holds: Holds::new(TEN), began: now, now, closed: Vec::new() }
        }

        fn hold(&mut self, recipient: u32, sender: u32) {
            self.holds.hold(recipient, sender, true, self.now);
        }

        fn pass(&mut self, time: f64) {
            let end = self.now + secs(time);
            while let Some(at) = self.holds.due().filter(|at| *at <= end) {
                self.now = at;
                for key in self.holds.look(at).0 {
                    self.holds.remove(key, at);
                    let after = (at - self.began).as_secs_f64();
                    self.closed.push((key, (after * 10.0).round() / 10.0));
                }
            }
            self.now = end;
        }

        /// The recipient accepts bytes once every `each` seconds.
        fn trickle(&mut self, recipient: u32, each: f64, time: f64) {
            for _ in 0..(time / each) as u32 {
                self.pass(each);
                self.holds.refuses(recipient, true, self.now);
            }
        }
    }

    #[test]
    fn a_recipient_that_accepts_nothing_is_closed_after_half_of_its_time() {
        let mut w = World::new();
        w.hold(100, 1);
        w.pass(20.0);
        assert_eq!((w.closed, w.holds.is_held(1)), (vec![(100, 5.0)], false));
    }

    #[test]
    fn a_recipient_that_accepts_little_has_all_of_its_time() {
        let mut w = World::new();
        w.hold(100, 1);
        w.trickle(100, 1.0, 20.0);
        // It regained a sixtieth in the meantime, but its sender did not.
        assert_eq!(w.closed, [(100, 10.0)]);
    }

    #[test]
    fn time_in_which_the_socket_accepts_bytes_does_not_count() {
        let mut w = World::new();
        w.holds.hold(100, 1, false, w.now);
        w.pass(3600.0);
        assert!(w.closed.is_empty() && w.holds.is_held(1), "only the server is behind");
    }

    #[test]
    fn time_in_which_a_recipient_holds_nobody_does_not_count() {
        let mut w = World::new();
        w.hold(100, 1);
        w.pass(0.1);
        w.holds.part(100, 1, w.now);
        // While another holds somebody, the times of all are counted.
        w.holds.hold(101, 2, false, w.now);
        w.pass(9.0);
        w.hold(100, 3);
        w.trickle(100, 1.0, 9.0);
        assert!(w.closed.is_empty(), "{:?}", w.closed);
        w.trickle(100, 1.0, 2.0);
        assert_eq!(w.closed, [(100, 19.1)], "its time, and that of its sender");
    }

    #[test]
    fn a_recipient_that_reads_holds_senders_briefly_and_regains_a_second_a_minute() {
        let mut w = World::new();
        for _ in 0..30 {
            w.hold(100, 1);
            w.trickle(100, 0.1, 0.35);
            assert_eq!(w.holds.release(100, w.now), [1]);
            w.pass(9.9);
        }
        assert!(w.closed.is_empty(), "{:?}", w.closed);
        w.hold(100, 2);
        w.trickle(100, 1.0, 20.0);
        let [(100, after)] = w.closed[..] else { panic!("{:?}", w.closed) };
        // 30 × 0.3 s of the 10 s were spent in 306 s, and a sixtieth of those was regained.
        assert!((306.0 + 6.0..306.0 + 6.5).contains(&after), "{after}");
    }

    #[test]
    fn no_sender_is_held_for_more_than_ten_seconds_a_minute() {
        let mut w = World::new();
        // Nine of them hold it for 1.1 s, one after the other, each for the first time.
        for recipient in 100..109 {
            w.hold(recipient, 1);
            w.trickle(recipient, 0.1, 1.1);
            w.holds.release(recipient, w.now);
        }
        assert!(w.closed.is_empty());
        w.hold(200, 1);
        w.pass(1.0);
        assert_eq!(w.closed, [(200, 10.0)]);
        w.pass(52.0);
        w.hold(201, 1);
        w.trickle(201, 0.1, 1.0);
        assert_eq!(w.closed.len(), 1, "the first seconds are more than a minute ago");
    }

    #[test]
    fn overlapping_holds_of_a_sender_count_once() {
        let mut w = World::new();
        (100..110).for_each(|recipient| w.hold(recipient, 1));
        w.pass(4.0);
        (100..110).for_each(|recipient| _ = w.holds.release(recipient, w.now));
        w.hold(200, 1);
        w.trickle(200, 0.5, 5.0);
        assert!(w.closed.is_empty(), "four seconds and five");
        w.trickle(200, 0.5, 5.0);
        assert_eq!(w.closed, [(200, 10.0)]);
    }

    #[test]
    fn holds_on_other_instances_count_too() {
        let mut w = World::new();
        w.holds.learn_spent(1, secs(6.0), w.now);
        w.hold(100, 1);
        w.trickle(100, 0.5, 5.0);
        assert_eq!(w.closed, [(100, 4.0)]);
        assert_eq!(w.holds.spent(1, w.now), secs(10.0));
        w.holds.learn_spent(1, secs(9.0), w.now);
        assert_eq!(w.holds.spent(1, w.now), secs(10.0), "they count the same time");
        w.pass(61.0);
        assert_eq!(w.holds.spent(1, w.now), secs(0.0));
    }

    #[test]
    fn when_a_senders_time_is_up_the_longest_holder_is_closed_first() {
        let mut w = World::new();
        w.hold(101, 1);
        w.trickle(101, 1.0, 8.0);
        w.hold(100, 1);
        w.trickle(101, 1.0, 4.0);
        assert_eq!(w.closed, [(101, 10.0), (100, 10.0)]);
    }

    #[test]
    fn a_sender_held_by_two_waits_for_both() {
        let mut w = World::new();
        assert!(w.holds.hold(100, 1, false, w.now));
        assert!(w.holds.hold(101, 1, false, w.now));
        assert!(!w.holds.hold(101, 1, false, w.now), "said again");
        assert!(w.holds.hold(101, 2, false, w.now));
        assert_eq!(w.holds.release(101, w.now), [2]);
        assert_eq!(w.holds.held(), 1);
        assert_eq!(w.holds.remove(100, w.now), [1]);
        assert_eq!((w.holds.held(), w.holds.due()), (0, None));
    }

    #[test]
    fn one_of_several_held_senders_can_be_released_alone() {
        let mut w = World::new();
        [(100, 1), (100, 2), (101, 1)].iter().for_each(|(recipient, sender)| w.hold(*recipient, *sender));
        w.pass(1.0);
        assert!(!w.holds.part(100, 1, w.now) && w.holds.part(101, 1, w.now) && !w.holds.part(101, 1, w.now));
        assert_eq!(
            (w.holds.held_by(100), w.holds.holders(1), w.holds.spent(1, w.now)),
            (&[2][..], &[][..], secs(1.0))
        );
        assert!(w.holds.part(100, 2, w.now) && w.holds.is_idle());
    }

    #[test]
    fn time_held_counts_however_the_hold_ends() {
        let mut w = World::new();
        w.hold(100, 1);
        w.pass(1.05);
        w.holds.free(1, w.now);
        assert_eq!((w.holds.spent(1, w.now), w.holds.is_held(1)), (secs(1.05), false));
        w.hold(100, 1);
        w.pass(0.5);
        assert!(w.holds.part(100, 1, w.now));
        assert_eq!(w.holds.spent(1, w.now), secs(1.55));
    }

    #[test]
    fn those_who_are_held_are_named_once_a_second() {
        let mut w = World::new();
        w.hold(100, 1);
        w.holds.takes(100, w.now);
        let named = (1..40).filter(|n| !w.holds.look(w.now + *n * LOOK).1.is_empty()).count();
        assert_eq!(named, 3);
    }

    #[test]
    fn a_sender_that_leaves_leaves_no_trace() {
        let mut w = World::new();
        w.hold(100, 1);
        assert!(w.holds.remove(1, w.now).is_empty());
        assert!(!w.holds.is_holding(100));
        assert_eq!(w.holds.due(), None);
    }
}
