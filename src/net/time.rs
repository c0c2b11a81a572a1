//! The clock of the drivers, and timers: at the reactor of the thread that waits, or at `async-io`'s.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::reactor::{self, Deadline};

pub(crate) fn now() -> Instant {
    Instant::now()
}

/// What the system's clock shows, for times that others read.
#[cfg(feature = "camera")]
pub(crate) fn wall_clock() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// Ready from its instant on.
pub(crate) struct Timer {
    /// Never without one.
    at: Option<Instant>,
    wait: Wait,
}

/// Who wakes the task.
enum Wait {
    /// Nobody: it was not polled.
    Unset,
    Own(Deadline),
    Shared(Box<smol::Timer>),
}

impl Timer {
    pub(crate) fn never() -> Timer {
        Timer { at: None, wait: Wait::Unset }
    }

    #[cfg(feature = "server")]
    pub(crate) fn at(at: Instant) -> Timer {
        Timer { at: Some(at), wait: Wait::Unset }
    }

    pub(crate) fn after(delay: Duration) -> Timer {
        // An instant too far away for the clock does not come.
        Timer { at: now().checked_add(delay), wait: Wait::Unset }
    }

    /// Sets it again.
    pub(crate) fn set(&mut self, at: Option<Instant>) {
        *self = Timer { at, wait: Wait::Unset };
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        if now() >= at {
            self.wait = Wait::Unset;
            return Poll::Ready(());
        }
        match &mut self.wait {
            Wait::Own(deadline) if deadline.update(cx.waker()) => return Poll::Pending,
            Wait::Shared(timer) => return Pin::new(timer).poll(cx).map(drop),
            Wait::Unset | Wait::Own(_) => {}
        }
        if let Some(reactor) = reactor::current() {
            self.wait = Wait::Own(reactor.wake_at(at, cx.waker()));
            return Poll::Pending;
        }
        let mut timer = Box::new(smol::Timer::at(at));
        let fired = Pin::new(&mut timer).poll(cx).map(drop);
        self.wait = Wait::Shared(timer);
        fired
    }
}

/// A timer that is set again and again.
pub(crate) struct Alarm(Timer);

impl Alarm {
    /// An alarm that is not set.
    pub(crate) fn unset() -> Self {
        Alarm(Timer::never())
    }

    #[cfg(feature = "client")]
    pub(crate) fn after(delay: Duration) -> Self {
        Alarm(Timer::after(delay))
    }

    pub(crate) fn set(&mut self, at: Option<Instant>) {
        if self.0.at != at {
            self.0.set(at);
        }
    }

    /// Ready once each time it was set.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let fired = Pin::new(&mut self.0).poll(cx);
        if fired.is_ready() {
            self.0.set(None);
        }
        fired
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
