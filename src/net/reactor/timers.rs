//! The timers of one reactor.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Instant;

/// When, and a number that makes it unique.
pub(super) type Key = (Instant, u64);

#[derive(Default)]
pub(super) struct Timers {
    queue: BTreeMap<Key, Waker>,
    next: u64,
}

impl Timers {
    pub(super) fn insert(&mut self, at: Instant, waker: Waker) -> Key {
        self.next += 1;
        let key = (at, self.next);
        self.queue.insert(key, waker);
        key
    }

    /// From now on it wakes `waker`; false if it has fired.
    pub(super) fn update(&mut self, key: Key, waker: &Waker) -> bool {
        let held = self.queue.get_mut(&key);
        held.map(|held| held.clone_from(waker)).is_some()
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Waker> {
        self.queue.remove(&key)
    }

    /// When the next one fires.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// Moves the wakers of those that fire by `now`.
    pub(super) fn fire(&mut self, now: Instant, into: &mut Vec<Waker>) {
        while let Some(first) = self.queue.first_entry().filter(|first| first.key().0 <= now) {
            into.push(first.remove());
        }
    }

    /// The wakers of all.
    pub(super) fn take_all(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.queue).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Context;
    use std::time::Duration;

    use super::*;
    use crate::net::wake::Signal;

    #[test]
    fn they_fire_in_order_once_and_not_when_removed() {
        let mut timers = Timers::default();
        let began = crate::net::time::now();
        let at = |s| began + Duration::from_secs(s);
        let signals: Vec<_> = (0..4).map(|_| Arc::new(Signal::default())).collect();
        let waker = |n: usize| Waker::from(signals[n].clone());
        let third = timers.insert(at(3), waker(2));
        let first = timers.insert(at(1), waker(0));
        let same = timers.insert(at(1), waker(1));
        assert_eq!(timers.next(), Some(at(1)));
        assert!(timers.update(same, &waker(3)) && timers.remove(third).is_some());
        let mut fired = Vec::new();
        timers.fire(began, &mut fired);
        assert!(fired.is_empty());
        timers.fire(at(5), &mut fired);
        let mut cx = Context::from_waker(Waker::noop());
        let mut woken = |waker: Waker| {
            waker.wake();
            (0..4).filter(|n| signals[*n].poll(&mut cx).is_ready()).collect::<Vec<_>>()
        };
        let which: Vec<_> = fired.into_iter().map(&mut woken).collect();
        assert_eq!(which, [[0], [3]]);
        assert!(!timers.update(first, &waker(0)) && timers.next().is_none());
    }
}
