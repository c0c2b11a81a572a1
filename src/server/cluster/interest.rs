//! The names that this instance subscribes to: its own peers, their users and their rooms.

use std::collections::HashMap;
use std::sync::Arc;

#[derive(Debug)]
struct Name {
    /// How many uses of the name our peers have.
    count: u32,
    /// The number of its latest subscription; `None` while there is no bus.
    tag: Option<u64>,
}

/// The names, and which subscriptions the bus has confirmed.
#[derive(Debug, Default)]
pub(super) struct Interest {
    names: HashMap<Arc<str>, Name>,
    next: u64,
    confirmed: u64,
}

/// The state of a name that was acquired.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Its subscription is active.
    Heard,
    /// Its subscription has this number and is not confirmed yet.
    Coming(u64),
    /// It must be subscribed to, with this number.
    New(u64),
}

impl Interest {
    /// Adds a use of `name`. `up`: there is a bus to subscribe at.
    pub(super) fn acquire(&mut self, name: &str, up: bool) -> Wanted {
        if !self.names.contains_key(name) {
            self.names.insert(name.into(), Name { count: 0, tag: None });
        }
        let entry = self.names.get_mut(name).expect("inserted above if it was not there");
        entry.count += 1;
        match entry.tag {
            Some(tag) if tag <= self.confirmed => Wanted::Heard,
            Some(tag) => Wanted::Coming(tag),
            None if up => {
                self.next += 1;
                entry.tag = Some(self.next);
                Wanted::New(self.next)
            }
            None => Wanted::Heard,
        }
    }

    /// Removes a use of a name. True for the last one.
    pub(super) fn release(&mut self, name: &str) -> bool {
        let Some(entry) = self.names.get_mut(name) else { return false };
        entry.count -= 1;
        entry.count == 0 && self.names.remove(name).is_some()
    }

    /// The number of the subscription to `name` that is not confirmed yet, if there is one.
    pub(super) fn coming(&self, name: &str) -> Option<u64> {
        self.names.get(name)?.tag.filter(|tag| *tag > self.confirmed)
    }

    #[cfg(test)]
    fn hears(&self, name: &str) -> bool {
        self.names.get(name).is_some_and(|entry| entry.tag.is_some_and(|tag| tag <= self.confirmed))
    }

    /// A subscription number for a channel that belongs to no name.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The bus confirmed all subscriptions up to this number. Returns whether that is new.
    pub(super) fn confirm(&mut self, tag: u64) -> bool {
        let news = tag > self.confirmed && tag <= self.next;
        if news {
            self.confirmed = tag;
        }
        news
    }

    /// The bus is disconnected, and all subscriptions are lost.
    pub(super) fn lose(&mut self) {
        self.names.values_mut().for_each(|entry| entry.tag = None);
    }

    /// Gives all names new numbers.
    pub(super) fn renew(&mut self) -> Vec<(Arc<str>, u64)> {
        let next = &mut self.next;
        let numbered = self.names.iter_mut().map(|(name, entry)| {
            *next += 1;
            entry.tag = Some(*next);
            (name.clone(), *next)
        });
        numbered.collect()
    }

    /// The number of names.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_subscribed_once_and_dropped_with_the_last() {
        let mut interest = Interest::default();
        assert_eq!(interest.acquire("team", true), Wanted::New(1));
        assert_eq!(interest.acquire("team", true), Wanted::Coming(1));
        assert!(!interest.hears("team"));
        assert!(interest.confirm(1) && !interest.confirm(1) && !interest.confirm(9));
        assert_eq!((interest.acquire("team", true), interest.hears("team")), (Wanted::Heard, true));
        assert_eq!([(); 3].map(|()| interest.release("team")), [false, false, true]);
        assert!(!interest.release("team"));
        assert_eq!(interest.acquire("team", true), Wanted::New(2), "an older confirmation does not count");
        assert_eq!((interest.hears("team"), interest.coming("team")), (false, Some(2)));
    }

    #[test]
    fn without_a_bus_nobody_waits_and_a_new_bus_renumbers_all_names() {
        let mut interest = Interest::default();
        assert_eq!(interest.acquire("a", false), Wanted::Heard);
        assert!(!interest.hears("a") && interest.coming("a").is_none());
        assert_eq!(interest.renew(), [("a".into(), 1)]);
        interest.confirm(1);
        assert!(interest.hears("a"));
        interest.lose();
        assert!(!interest.hears("a"));
    }
}
