//! Rate limits: a token bucket, or one per key in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// A rate with a burst: a token bucket that holds `burst` tokens and gets `per_second` of them back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Tokens a second; 0 counts as 1.
    pub per_second: u32,
    /// Tokens in a full bucket; 0 counts as 1.
    pub burst: u32,
}

impl RateLimit {
    /// No limit.
    pub const UNLIMITED: RateLimit = RateLimit { per_second: u32::MAX, burst: u32::MAX };
}

/// Who limits count together: everyone from one host, or if the host is unknown, all sessions of one user.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum RateKey {
    /// An IPv4 address, or the /64 network of an IPv6 address, since one subscriber has all of it.
    Host(IpAddr),
    /// A user's name.
    User(String),
}

impl RateKey {
    /// The origin of the peer with `address` (`user|id`), connecting from `host` if that is known.
    pub(crate) fn new(host: Option<IpAddr>, address: &str) -> RateKey {
        match host.map(|host| host.to_canonical()) {
            Some(IpAddr::V6(v6)) => {
                let network = v6.to_bits() & !u128::from(u64::MAX);
                RateKey::Host(Ipv6Addr::from_bits(network).into())
            }
            Some(v4) => RateKey::Host(v4),
            None => RateKey::User(address.split('|').next().unwrap_or_default().to_owned()),
        }
    }
}

/// A token bucket, stored as the time at which it will be full again, so tokens are never counted in
/// fractions and a wake-up is never a nanosecond early.
pub(crate) struct Bucket {
    /// Time per token.
    each: Duration,
    /// Time from empty to full.
    whole: Duration,
    full_at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(rate: RateLimit, now: Instant) -> Self {
        let each = Duration::from_secs(1) / rate.per_second.max(1);
        Bucket { each, whole: each.saturating_mul(rate.burst.max(1)), full_at: now }
    }

    /// When a token may be taken: `now` or later.
    pub(crate) fn ready_at(&self, now: Instant) -> Instant {
        self.ready_within(self.whole, now)
    }

    /// When a token may be taken that leaves the bucket half full.
    pub(crate) fn half_at(&self, now: Instant) -> Instant {
        self.ready_within((self.whole / 2).max(self.each), now)
    }

    fn ready_within(&self, whole: Duration, now: Instant) -> Instant {
        // `full_at` is at most `whole` ahead, so this is at most that far from `now`.
        let wait = (self.full_at.saturating_duration_since(now) + self.each).saturating_sub(whole);
        now + wait
    }

    /// Takes a token, which must be ready.
    pub(crate) fn take(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now) + self.each;
    }

    /// Takes tokens, whether they are there or not: [`ready_at`](Self::ready_at) tells when what is missing is back.
    #[cfg(feature = "channels")]
    pub(crate) fn charge(&mut self, tokens: u32, now: Instant) {
        self.full_at = self.full_at.max(now) + self.each.saturating_mul(tokens);
    }

    fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

/// The most buckets kept. A bucket that is full again is dropped, so an honest crowd has far fewer. Keys that
/// arrive while the table is full share one bucket.
const MAX_BUCKETS: usize = 1024;

/// One bucket per key. Created without a clock: a bucket starts when it is first used.
pub(crate) struct Buckets<K> {
    rate: RateLimit,
    table: HashMap<K, Bucket>,
    /// For keys that find the table full.
    rest: Option<Bucket>,
    /// No bucket can have become full again before then.
    swept: Option<Instant>,
}

impl<K: Clone + Eq + Hash> Buckets<K> {
    pub(crate) fn new(rate: RateLimit) -> Self {
        Buckets { rate, table: HashMap::new(), rest: None, swept: None }
    }

    /// Takes a token for `key`; false if there is none now.
    pub(crate) fn take(&mut self, key: &K, now: Instant) -> bool {
        if self.rate == RateLimit::UNLIMITED {
            return true;
        }
        let bucket = self.bucket(key, now);
        let ready = bucket.ready_at(now) <= now;
        if ready {
            bucket.take(now);
        }
        ready
    }

    /// When a token for `key` may be taken: `now` or later.
    #[cfg(any(test, feature = "camera", feature = "calls"))]
    pub(crate) fn ready_at(&self, key: &K, now: Instant) -> Instant {
        self.find(key).map_or(now, |bucket| bucket.ready_at(now))
    }

    /// When the bucket of `key` is full again: later, the more it has used recently.
    #[cfg(any(test, feature = "camera", feature = "calls"))]
    pub(crate) fn full_at(&self, key: &K, now: Instant) -> Instant {
        self.find(key).map_or(now, |bucket| bucket.full_at.max(now))
    }

    #[cfg(any(test, feature = "camera", feature = "calls"))]
    fn find(&self, key: &K) -> Option<&Bucket> {
        let rest = self.rest.as_ref().filter(|_| self.table.len() >= MAX_BUCKETS);
        self.table.get(key).or(rest)
    }

    fn bucket(&mut self, key: &K, now: Instant) -> &mut Bucket {
        if self.table.len() >= MAX_BUCKETS && !self.table.contains_key(key) {
            self.sweep(now);
        }
        if self.table.len() >= MAX_BUCKETS && !self.table.contains_key(key) {
            return self.rest.get_or_insert_with(|| Bucket::new(self.rate, now));
        }
        self.table.entry(key.clone()).or_insert_with(|| Bucket::new(self.rate, now))
    }

    fn sweep(&mut self, now: Instant) {
        if self.swept.is_none_or(|at| now.saturating_duration_since(at) >= Duration::from_secs(1)) {
            self.swept = Some(now);
            self.table.retain(|_, bucket| !bucket.is_full(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EIGHTY: RateLimit = RateLimit { per_second: 80, burst: 400 };

    #[test]
    fn a_burst_leaves_at_once_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut now = start;
        let mut bucket = Bucket::new(EIGHTY, now);
        for _ in 0..400 {
            assert_eq!(bucket.ready_at(now), now);
            bucket.take(now);
        }
        for n in 1..=160u32 {
            now = bucket.ready_at(now);
            assert_eq!(now, start + Duration::from_micros(12_500) * n);
            bucket.take(now);
        }
        now += Duration::from_secs(3600);
        let left =
            (0..1000).take_while(|_| bucket.ready_at(now) == now && (bucket.take(now), true).1).count();
        assert_eq!(left, 400, "an hour of silence saves up no more than a burst");
    }

    #[test]
    fn half_of_the_burst_is_kept_for_what_matters() {
        let now = Instant::now();
        let mut bucket = Bucket::new(RateLimit { per_second: 10, burst: 10 }, now);
        let early = (0..100).take_while(|_| bucket.half_at(now) == now && (bucket.take(now), true).1).count();
        assert_eq!((early, bucket.half_at(now)), (5, now + Duration::from_millis(100)));
        assert_eq!(bucket.ready_at(now), now);
    }

    #[test]
    fn without_a_limit_everything_leaves_at_once() {
        let now = Instant::now();
        let mut bucket = Bucket::new(RateLimit::UNLIMITED, now);
        for _ in 0..100_000 {
            assert_eq!((bucket.ready_at(now), bucket.half_at(now)), (now, now));
            bucket.take(now);
        }
    }

    #[test]
    fn each_has_its_own_and_the_table_is_bounded() {
        let mut buckets = Buckets::new(RateLimit { per_second: 2, burst: 8 });
        let start = Instant::now();
        let taken = |buckets: &mut Buckets<u32>, key: u32, now: Instant| {
            (0..100).filter(|_| buckets.take(&key, now)).count()
        };
        assert_eq!((taken(&mut buckets, 1, start), taken(&mut buckets, 2, start)), (8, 8));
        assert_eq!(buckets.ready_at(&1, start), start + Duration::from_millis(500));
        assert_eq!(buckets.full_at(&1, start), start + Duration::from_secs(4));
        assert_eq!(taken(&mut buckets, 1, start + Duration::from_secs(1)), 2);
        // Far more keys than buckets: the rest share one.
        let all: usize = (10..11_010).map(|key| taken(&mut buckets, key, start)).sum();
        assert_eq!(all, (MAX_BUCKETS - 2 + 1) * 8);
        assert_eq!(buckets.table.len(), MAX_BUCKETS);
        // The buckets are full again, and nobody shares any more.
        let later = start + Duration::from_secs(10);
        assert_eq!((taken(&mut buckets, 99_999, later), buckets.table.len()), (8, 1));
    }

    #[test]
    fn one_subscriber_is_one_origin() {
        let of = |host: &str| RateKey::new(Some(host.parse().expect("literal")), "bob|1");
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::3"), of("2001:db8:1:3::3"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(RateKey::new(None, "bob|1"), RateKey::new(None, "bob|2"));
    }
}
