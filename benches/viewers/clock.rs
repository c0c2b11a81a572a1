//! One clock for all processes and for the kernel's timestamps on datagrams: nanoseconds of `CLOCK_REALTIME`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) type Nanos = u64;

pub(crate) const MILLISECOND: Nanos = 1_000_000;
pub(crate) const SECOND: Nanos = 1_000_000_000;

pub(crate) fn now() -> Nanos {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as Nanos)
}

pub(crate) fn until(then: Nanos) -> Duration {
    Duration::from_nanos(then.saturating_sub(now()))
}
