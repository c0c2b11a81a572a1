//! How long peers are held, and hold others, as seen from outside the hubs: never beyond their allowances.
//!
//! Only whole steps of time count in which everything arrives, so no more than the hubs count themselves.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::Fleet;

/// The length of a step.
pub(super) const STEP: Duration = Duration::from_millis(100);

/// What a sender is held in a minute at most, and what a recipient may hold others before it regains any.
const ALLOWANCE: Duration = Duration::from_secs(10);

/// Holds are checked once per step, and each of those that end a sender's time is noticed by then.
const LATE: Duration = Duration::from_millis(300);

const MINUTE: Duration = Duration::from_secs(60);

/// Who is held, and who holds somebody while it refuses bytes.
#[derive(Default, Debug)]
pub(super) struct Now {
    held: Vec<String>,
    holding: Vec<String>,
}

impl Fleet {
    /// Whether a client's instance can count how long it holds others.
    fn counts(&self, name: &str) -> bool {
        self.clients.get(name).is_some_and(|client| !self.instances[&client.at].hangs)
    }
}

#[derive(Default)]
pub(super) struct Bounds {
    /// The ends of the steps of the last minute in which each was held.
    held: BTreeMap<String, VecDeque<Instant>>,
    /// What is left of the allowance of each that held others, and when that was counted.
    left: BTreeMap<String, (Duration, Instant)>,
}

impl Bounds {
    pub(super) fn look(fleet: &Fleet) -> Now {
        let mut now = Now::default();
        for (name, client) in &fleet.clients {
            let instance = &fleet.instances[&client.at];
            let hub = &instance.hub.hub;
            if instance.hangs {
                continue;
            }
            let Some(key) = hub.conns.get(&client.conn) else { continue };
            let by = hub.holds.holders(*key).iter().filter_map(|by| hub.who(*by));
            // What an instance cannot count, because it hangs or is dead, ends when that is noticed.
            if by.into_iter().any(|by| fleet.counts(&by.address.id()[1..])) {
                now.held.push(name.clone());
            }
            if client.stopped && hub.holds.is_holding(*key) {
                now.holding.push(name.clone());
            }
        }
        now
    }

    /// Counts a step, by what was seen before and after it.
    pub(super) fn count(&mut self, before: &Now, after: &Now, at: Instant) {
        for name in before.held.iter().filter(|name| after.held.contains(name)) {
            let steps = self.held.entry(name.clone()).or_default();
            steps.push_back(at);
            while steps.front().is_some_and(|first| at - *first >= MINUTE) {
                steps.pop_front();
            }
            let held = STEP * steps.len() as u32;
            assert!(held <= ALLOWANCE + LATE, "{name} was held for {held:?} of a minute");
        }
        for name in before.holding.iter().filter(|name| after.holding.contains(name)) {
            let (left, counted) = self.left.entry(name.clone()).or_insert((ALLOWANCE + LATE, at - STEP));
            let regained = (*left + (at - *counted) / 60).min(ALLOWANCE + LATE);
            let rest = regained.checked_sub(STEP);
            assert!(rest.is_some(), "{name} held others for longer than it may");
            (*left, *counted) = (rest.unwrap_or_default(), at);
        }
    }
}
