//! The deadlines of all calls, in one small table.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{CallId, Config};

/// What a call may be waiting for; one of these at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// An answer to the init.
    Ring,
    /// Media to connect, after the accept.
    Connect,
    /// One side of an active call to be back on signalling.
    Resume,
    /// The hangup of a remote that has closed the media.
    Hangup,
}

impl Timer {
    fn duration(self, config: &Config) -> Duration {
        match self {
            Timer::Ring => config.ring_timeout,
            Timer::Connect => config.connect_timeout,
            Timer::Resume => config.resume_window,
            Timer::Hangup => config.hangup_wait,
        }
    }
}

/// The running deadlines; a call that has ended has none.
#[derive(Default)]
pub(super) struct Timers {
    at: BTreeMap<CallId, (Instant, Timer)>,
}

impl Timers {
    /// Starts `timer`, replacing whatever the call was waiting for.
    pub(super) fn set(&mut self, call: CallId, timer: Timer, config: &Config, now: Instant) {
        // A deadline past the end of the clock means "never".
        match now.checked_add(timer.duration(config)) {
            Some(at) => self.at.insert(call, (at, timer)),
            None => self.at.remove(&call),
        };
    }

    pub(super) fn clear(&mut self, call: CallId) {
        self.at.remove(&call);
    }

    pub(super) fn is_set(&self, call: CallId) -> bool {
        self.at.contains_key(&call)
    }

    /// Removes the earliest deadline that has passed; of two at the same instant, the older call's.
    pub(super) fn expired(&mut self, now: Instant) -> Option<(CallId, Timer)> {
        let (&call, &(at, timer)) = self.at.iter().min_by_key(|(call, (at, _))| (*at, **call))?;
        (at <= now).then(|| {
            self.at.remove(&call);
            (call, timer)
        })
    }

    /// When to wake up next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.at.values().map(|&(at, _)| at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_pass_in_order_and_once() {
        let now = Instant::now();
        let config = Config { connect_timeout: Duration::MAX, ..Config::default() };
        let mut timers = Timers::default();
        timers.set(CallId(2), Timer::Ring, &config, now);
        timers.set(CallId(1), Timer::Ring, &config, now);
        timers.set(CallId(3), Timer::Resume, &config, now - Duration::from_secs(1));
        timers.set(CallId(4), Timer::Connect, &config, now);
        assert!(!timers.is_set(CallId(4)), "never");
        assert_eq!(timers.next(), Some(now + Duration::from_secs(29)));
        assert_eq!(timers.expired(now), None);
        let late = now + Duration::from_secs(60);
        assert_eq!(timers.expired(late), Some((CallId(3), Timer::Resume)));
        assert_eq!(timers.expired(late), Some((CallId(1), Timer::Ring)));
        timers.clear(CallId(2));
        assert_eq!(timers.expired(late), None);
        assert_eq!(timers.next(), None);
    }
}
