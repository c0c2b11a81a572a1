//! The timers of hyper.

use std::pin::Pin;
use std::time::{Duration, Instant};

use hyper::rt::Sleep;

use crate::net::time::Timer;

impl Sleep for Timer {}

/// Makes timers of ours.
pub(super) struct Timers;

impl hyper::rt::Timer for Timers {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Timer::after(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Timer::at(deadline))
    }
}
