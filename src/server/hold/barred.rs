//! Who may hold nobody for a while, having been closed for holding others for too long.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// For how long.
const BARRED: Duration = Duration::from_secs(60);

/// The most users and addresses remembered for that. Beyond this the oldest is forgotten and has an allowance
/// again.
const MAX_BARRED: usize = 1024;

/// A user at an address.
pub(in crate::server) type HoldKey = (Box<str>, Option<IpAddr>);

/// Those, and since when.
#[derive(Default)]
pub(in crate::server) struct Barred {
    since: BTreeMap<HoldKey, Instant>,
}

impl Barred {
    /// This user at this address was closed for being too slow.
    pub(in crate::server) fn add(&mut self, origin: HoldKey, now: Instant) {
        self.since.retain(|_, since| now.saturating_duration_since(*since) < BARRED);
        if self.since.len() >= MAX_BARRED {
            let oldest = self.since.iter().min_by_key(|(_, since)| **since).map(|(origin, _)| origin.clone());
            oldest.map(|origin| self.since.remove(&origin));
        }
        self.since.insert(origin, now);
    }

    /// Whether this user at this address may hold nobody.
    pub(in crate::server) fn contains(&self, origin: &HoldKey, now: Instant) -> bool {
        self.since.get(origin).is_some_and(|since| now.saturating_duration_since(*since) < BARRED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_closed_for_slowness_may_hold_nobody_for_a_minute() {
        let (mut barred, now) = (Barred::default(), Instant::now());
        let origin = |user: &str| (Box::from(user), None);
        barred.add(origin("eve"), now);
        for (after, user, expected) in
            [(0, "eve", true), (59, "eve", true), (59, "bob", false), (60, "eve", false)]
        {
            let then = now + Duration::from_secs(after);
            assert_eq!(barred.contains(&origin(user), then), expected, "{user} {after}");
        }
        (0..5000).for_each(|n| barred.add(origin(&n.to_string()), now));
        assert_eq!(barred.since.len(), MAX_BARRED);
    }
}
