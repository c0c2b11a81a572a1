//! A queue of offers, so that work for callers never delays frames.
//!
//! An offer costs milliseconds of cryptography and parsing, and a peer may send one in each message. So each host (or
//! user) has a token bucket, and all share another one; an offer that exceeds either waits. Only the newest offer of
//! each call waits, since it replaces earlier ones. No offer is refused and no call ends because of this. The next
//! offer is that of the host with the fullest bucket, so a newcomer never waits behind a flood.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::call::body::Candidate;
use crate::call::{CallId, RateLimit};
use crate::limit::{Bucket, Buckets, RateKey};

/// The rate of offers of all callers together. At 2.7 ms each, 16 per second use 4 % of a core; 64 at once are the
/// viewers of a camera that reconnect after a restart.
const ALL: RateLimit = RateLimit { per_second: 16, burst: 64 };

/// Candidates that wait with an offer; further ones are ignored.
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
}

impl Offers {
    pub(super) fn new(each: RateLimit, now: Instant) -> Self {
        Offers { each: Buckets::new(each), all: Bucket::new(ALL, now), waiting: BTreeMap::new(), next: 0 }
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

    /// The call has ended.
    pub(super) fn remove(&mut self, id: CallId) {
        self.waiting.remove(&id);
    }

    /// The next offer, if one may be answered now.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Waiting> {
        if self.all.ready_at(now) > now {
            return None;
        }
        let ready = self.waiting.values().filter(|w| self.each.ready_at(&w.origin, now) <= now);
        let id = ready.min_by_key(|w| (self.each.full_at(&w.origin, now), w.number))?.id;
        let waiting = self.waiting.remove(&id)?;
        self.all.take(now);
        self.each.take(&waiting.origin, now);
        Some(waiting)
    }

    /// When to call [`pop`](Self::pop) again.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let first = self.waiting.values().map(|w| self.each.ready_at(&w.origin, now)).min()?;
        Some(first.max(self.all.ready_at(now)))
    }
}
