//! The clock of the drivers, and an alarm for a core's timeout.

use std::task::{Context, Poll};
use std::time::Instant;

use futures_lite::FutureExt;
use smol::Timer;

pub(crate) fn now() -> Instant {
    Instant::now()
}

/// What the system's clock shows, for times that others read.
#[cfg(feature = "camera")]
pub(crate) fn wall_clock() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

pub(crate) struct Alarm {
    timer: Timer,
    at: Option<Instant>,
}

impl Alarm {
    /// An alarm that is not set.
    pub(crate) fn unset() -> Self {
        Alarm { timer: Timer::never(), at: None }
    }

    #[cfg(feature = "client")]
    pub(crate) fn after(delay: std::time::Duration) -> Self {
        let at = now() + delay;
        Alarm { timer: Timer::at(at), at: Some(at) }
    }

    pub(crate) fn set(&mut self, at: Option<Instant>) {
        if self.at != at {
            self.at = at;
            match at {
                Some(at) => self.timer.set_at(at),
                None => self.timer.clear(),
            }
        }
    }

    /// Ready once each time it was set.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.at.is_none() || self.timer.poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.at = None;
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_fn};

    #[test]
    fn an_alarm_is_ready_once() {
        let mut alarm = Alarm::unset();
        let past = now();
        alarm.set(Some(past));
        block_on(poll_fn(|cx| alarm.poll(cx)));
        assert!(block_on(poll_fn(|cx| Poll::Ready(alarm.poll(cx)))).is_pending());
        alarm.set(Some(past));
        block_on(poll_fn(|cx| alarm.poll(cx)));
    }
}
