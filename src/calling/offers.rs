//! A queue of offers, so that work for callers never delays frames.
//!
//! An offer costs a millisecond of cryptography and parsing, ten on a small board, and a peer may send one in each
//! message. So each host (or user) has a token bucket, all hosts share another one, and after each offer there is a
//! pause in proportion to its cost; an offer that exceeds any of these waits. Only the newest offer of each call waits,
//! since it replaces earlier ones. No offer is refused and no call ends because of this. The next offer is that of the
//! host with the fullest bucket, so a newcomer never waits behind a flood.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::call::body::Candidate;
use crate::call::{CallId, RateLimit};
use crate::limit::{Bucket, Buckets, RateKey};

/// The rate of offers of all callers together; 64 at once are the viewers of a camera that reconnect after a restart.
const ALL: RateLimit = RateLimit { per_second: 64, burst: 64 };

/// The pause after an offer, as a multiple of its cost: offers never use more than a quarter of a core. This is the
/// stricter limit on a board that takes more than 4 ms per offer.
#[cfg(feature = "camera")]
const PAUSE: u32 = 3;

/// Limit of candidates queued with an offer; further ones are ignored.
const MAX_CANDIDATES: usize = 64;

/// An offer, and the candidates that arrived after it.
pub(super) struct Waiting {
    pub id: CallId,
    pub sdp: String,
    pub candidates: Vec<Candidate>,
    origin: RateKey,
    /// Its place in the queue.
    number: u64,
}

pub(super) struct Offers {
    each: Buckets<RateKey>,
    all: Bucket,
    /// At most one per call.
    waiting: BTreeMap<CallId, Waiting>,
    next: u64,
    /// When the last offer was taken, until it is known how long it took.
    began: Option<Instant>,
    pause_until: Option<Instant>,
}

impl Offers {
    pub(super) fn new(each: RateLimit, now: Instant) -> Self {
        Offers {
            each: Buckets::new(each),
            all: Bucket::new(ALL, now),
            waiting: BTreeMap::new(),
            next: 0,
            began: None,
            pause_until: None,
        }
    }

    /// Queues an offer, replacing an earlier one of its call.
    pub(super) fn push(&mut self, id: CallId, origin: RateKey, sdp: String) {
        if let Some(waiting) = self.waiting.get_mut(&id) {
            (waiting.origin, waiting.sdp) = (origin, sdp);
            return;
        }
        let number = self.next;
        self.next += 1;
        self.waiting.insert(id, Waiting { id, sdp, candidates: Vec::new(), origin, number });
    }

    /// Adds a candidate to the call's offer; returns it if none is queued.
    pub(super) fn hold(&mut self, id: CallId, candidate: Candidate) -> Option<Candidate> {
        let Some(waiting) = self.waiting.get_mut(&id) else { return Some(candidate) };
        if waiting.candidates.len() < MAX_CANDIDATES {
            waiting.candidates.push(candidate);
        }
        None
    }

    /// Removes the offer of a call that ended.
    pub(super) fn remove(&mut self, id: CallId) {
        self.waiting.remove(&id);
    }

    /// Returns the next offer, if one may be answered now.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Waiting> {
        if self.ready_at(now) > now {
            return None;
        }
        let ready = self.waiting.values().filter(|w| self.each.ready_at(&w.origin, now) <= now);
        let id = ready.min_by_key(|w| (self.each.full_at(&w.origin, now), w.number))?.id;
        let waiting = self.waiting.remove(&id)?;
        self.all.take(now);
        self.each.take(&waiting.origin, now);
        self.began = Some(now);
        Some(waiting)
    }

    /// Starts the pause after the last offer was answered.
    #[cfg(feature = "camera")]
    pub(super) fn pause(&mut self, now: Instant) {
        let took = self.began.take().map(|began| now.saturating_duration_since(began));
        self.pause_until = took.map(|took| now + took * PAUSE).or(self.pause_until);
    }

    fn ready_at(&self, now: Instant) -> Instant {
        let all = self.all.ready_at(now);
        self.pause_until.map_or(all, |until| all.max(until))
    }

    /// Returns when to call [`pop`](Self::pop) again.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let first = self.waiting.values().map(|w| self.each.ready_at(&w.origin, now)).min()?;
        Some(first.max(self.ready_at(now)))
    }
}

#[cfg(test)]
#[cfg(feature = "camera")]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Returns how many offers, each from another host, are answered in a second, if one takes `took`.
    fn in_a_second(took: Duration) -> usize {
        let start = Instant::now();
        let (mut now, mut offers, mut count) = (start, Offers::new(RateLimit::UNLIMITED, start), 0);
        (0..1000).for_each(|id| offers.push(CallId(id), RateKey::User(id.to_string()), String::new()));
        while now < start + Duration::from_secs(1) {
            if offers.pop(now).is_some() {
                count += 1;
                now += took;
                offers.pause(now);
            } else {
                now = offers.poll_timeout(now).expect("some wait").max(now + Duration::from_micros(1));
            }
        }
        count
    }

    #[test]
    fn offers_take_a_quarter_of_a_core_at_most() {
        for (took, expected) in [(0, 128), (1, 128), (2, 125), (10, 25), (100, 3)] {
            let count = in_a_second(Duration::from_millis(took));
            assert!(count.abs_diff(expected) <= 1, "{took} ms each: {count} instead of {expected}");
        }
    }
}
