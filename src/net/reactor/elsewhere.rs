//! Systems without a reactor of ours: all sockets and timers are `async-io`'s.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::readiness::{Readiness, Way};
use super::source::Watch;

/// There is none.
pub(crate) enum Reactor {}

pub(crate) enum Registered {}

pub(crate) enum Deadline {}

pub(crate) fn current() -> Option<Arc<Reactor>> {
    None
}

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    smol::block_on(future)
}

pub(crate) fn outside<T>(act: impl FnOnce() -> T) -> T {
    act()
}

impl Reactor {
    pub(super) fn register<T>(self: &Arc<Self>, _: T, _: Watch) -> io::Result<Registered> {
        match **self {}
    }

    pub(crate) fn wake_at(self: Arc<Self>, _: Instant, _: &Waker) -> Deadline {
        match *self {}
    }
}

impl Registered {
    pub(super) fn is_gone(&self) -> bool {
        match *self {}
    }

    pub(super) fn poll(&self, _: Way, _: &mut Context<'_>) -> Poll<()> {
        match *self {}
    }

    pub(super) fn readiness(&self) -> &Readiness {
        match *self {}
    }

    pub(super) fn watch<T>(&mut self, _: T, _: Way) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn ignore<T>(&mut self, _: T, _: Way) -> io::Result<()> {
        match *self {}
    }

    #[cfg(feature = "udp")]
    pub(super) fn forget<T>(&self, _: T) {
        match *self {}
    }
}

impl Deadline {
    pub(crate) fn update(&self, _: &Waker) -> bool {
        match *self {}
    }
}
