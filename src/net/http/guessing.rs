//! Slows down guessing of tokens: an address with wrong tokens has to wait.
//!
//! An address may send [`AT_ONCE`] wrong tokens, and one more every [`EACH`]. So an attacker has 8,650 guesses a day,
//! while an owner who mistyped, or who shares the address with an attacker that gave up, waits for seconds. A token
//! that is sent too early is not checked: otherwise the delay would have no effect.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::net::server::connection_limits::owner;

/// More than a person mistypes, and more than a household has devices with an old token.
const AT_ONCE: u32 = 10;

/// A day has 8,640 of these intervals.
const EACH: Duration = Duration::from_secs(10);

/// Concurrent attempts of one address. If all of them are wrong, it waits for up to 11 minutes.
const UNDECIDED: u32 = 64;

/// The number of addresses to remember. An attacker with more addresses is not slowed down.
const ADDRESSES: usize = 4096;

/// Addresses that recently sent wrong tokens.
#[derive(Default)]
pub(crate) struct Tries {
    addresses: HashMap<IpAddr, Record>,
}

struct Record {
    /// When the address has its full allowance again: [`EACH`] from now for each wrong token.
    clear: Instant,
    undecided: u32,
}

impl Tries {
    /// Begins an attempt. The error is how long to wait before the next one.
    pub(crate) fn begin(&mut self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let record = self.record(address, now);
        let owed = record.clear.saturating_duration_since(now);
        let free = EACH * (AT_ONCE - 1);
        if owed > free {
            return Err(owed - free);
        }
        if record.undecided >= UNDECIDED {
            return Err(EACH);
        }
        record.undecided += 1;
        Ok(())
    }

    /// The result of an attempt.
    pub(crate) fn end(&mut self, address: IpAddr, wrong: bool, now: Instant) {
        let record = self.record(address, now);
        record.undecided = record.undecided.saturating_sub(1);
        if wrong {
            record.clear = record.clear.max(now) + EACH;
        } else if record.undecided == 0 && record.clear <= now {
            self.addresses.remove(&owner(address));
        }
    }

    fn record(&mut self, address: IpAddr, now: Instant) -> &mut Record {
        let address = owner(address);
        if self.addresses.len() >= ADDRESSES && !self.addresses.contains_key(&address) {
            self.addresses.retain(|_, record| record.clear > now || record.undecided > 0);
            if self.addresses.len() >= ADDRESSES {
                // Evict the address that has its full allowance soonest; prefer those without a pending attempt.
                let least = self.addresses.iter().min_by_key(|(_, r)| (r.undecided > 0, r.clear));
                if let Some(least) = least.map(|(address, _)| *address) {
                    self.addresses.remove(&least);
                }
            }
        }
        self.addresses.entry(address).or_insert(Record { clear: now, undecided: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn guess(tries: &mut Tries, address: &str, now: Instant) -> bool {
        let may = tries.begin(ip(address), now).is_ok();
        if may {
            tries.end(ip(address), true, now);
        }
        may
    }

    #[test]
    fn a_day_has_8650_guesses() {
        let (mut tries, start) = (Tries::default(), Instant::now());
        // Ten a second, each from another address of one /64.
        let guesses = (0..864_000u64).filter(|n| {
            let address = format!("2001:db8::{:x}:{:x}", n >> 16, n & 0xffff);
            guess(&mut tries, &address, start + Duration::from_millis(n * 100))
        });
        assert_eq!(guesses.count(), 8650 - 1, "the last one is allowed at midnight");
        assert!(guess(&mut tries, "192.0.2.1", start), "other addresses are not affected");
    }

    #[test]
    fn an_address_may_try_again_after_waiting() {
        let (mut tries, start) = (Tries::default(), Instant::now());
        while guess(&mut tries, "192.0.2.1", start) {}
        assert_eq!(tries.begin(ip("192.0.2.1"), start), Err(EACH));
        let later = start + EACH;
        assert_eq!(tries.begin(ip("192.0.2.1"), later), Ok(()));
        tries.end(ip("192.0.2.1"), false, later);
        assert!(tries.begin(ip("192.0.2.1"), later).is_ok(), "a right token costs nothing");
    }

    #[test]
    fn concurrent_guesses_count_too() {
        let (mut tries, start) = (Tries::default(), Instant::now());
        let begun = (0..1000).filter(|_| tries.begin(ip("192.0.2.1"), start).is_ok()).count();
        assert_eq!(begun, UNDECIDED as usize);
        (0..begun).for_each(|_| tries.end(ip("192.0.2.1"), true, start));
        let wait = EACH * (UNDECIDED - AT_ONCE + 1);
        assert_eq!(tries.begin(ip("192.0.2.1"), start), Err(wait));
        assert!(tries.begin(ip("192.0.2.1"), start + wait).is_ok());
    }

    #[test]
    fn right_tokens_are_neither_slowed_down_nor_remembered() {
        let (mut tries, now) = (Tries::default(), Instant::now());
        for _ in 0..10_000 {
            assert!(tries.begin(ip("192.0.2.1"), now).is_ok());
            tries.end(ip("192.0.2.1"), false, now);
        }
        assert!(tries.addresses.is_empty());
    }

    #[test]
    fn memory_is_bounded_and_the_worst_addresses_stay() {
        let (mut tries, now) = (Tries::default(), Instant::now());
        while guess(&mut tries, "192.0.2.1", now) {}
        for n in 0..3 * ADDRESSES as u32 {
            tries.begin(IpAddr::V4(n.into()), now).expect("its first");
            tries.end(IpAddr::V4(n.into()), true, now);
        }
        assert_eq!(tries.addresses.len(), ADDRESSES);
        assert!(!guess(&mut tries, "192.0.2.1", now));
    }
}
