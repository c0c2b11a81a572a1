//! The hub behind its lock: after each input, all of its outputs are executed in order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Instant;

use super::Bus;
use crate::net::lock;
use crate::net::time::{Alarm, now};
use crate::net::wake::Signal;
use crate::server::{ConnId, Event, Hub, Input, Output, Transmit, Verdict};

pub(super) struct SharedHub {
    state: Mutex<State>,
    /// Wakes the task of a connection for which the hub has something.
    wakes: Mutex<HashMap<ConnId, Arc<Signal>>>,
    /// Notified when the deadline is earlier than before.
    sooner: Signal,
}

struct State {
    hub: Hub,
    deadline: Option<Instant>,
}

/// The locked hub; after each input, the bus exchanges with it.
pub(crate) struct Core<'a> {
    hub: &'a mut Hub,
    bus: Option<&'a dyn Bus>,
    /// When the bus wants to be woken.
    due: Option<Instant>,
}

impl Core<'_> {
    pub(crate) fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        if let (Input::Timeout, Some(bus)) = (&input, self.bus) {
            bus.timeout(now);
            self.exchange(now);
        }
        self.hub.handle_input(input, now);
        self.exchange(now);
    }

    /// As [`Hub::publish`].
    pub(crate) fn publish(&mut self, text: &str, now: Instant) -> usize {
        let missed = self.hub.publish(text, now);
        self.exchange(now);
        missed
    }

    pub(crate) fn is_held(&self, conn: ConnId) -> bool {
        self.hub.is_held(conn)
    }

    /// As [`Hub::transmit`].
    pub(crate) fn transmit(
        &mut self,
        conn: ConnId,
        max: usize,
        now: Instant,
        out: &mut Vec<Transmit>,
    ) -> bool {
        self.hub.transmit(conn, max, now, out)
    }

    /// As [`Hub::has_output`].
    pub(crate) fn has_output(&self) -> bool {
        self.hub.has_output()
    }

    fn exchange(&mut self, now: Instant) {
        self.due = self.bus.map(|bus| bus.exchange(self.hub, now));
    }
}

impl SharedHub {
    pub(super) fn new(hub: Hub) -> SharedHub {
        let state = Mutex::new(State { hub, deadline: None });
        SharedHub { state, wakes: Mutex::default(), sooner: Signal::default() }
    }

    /// Reads from the hub without an input.
    pub(super) fn look<R>(&self, look: impl FnOnce(&Hub) -> R) -> R {
        look(&self.lock().hub)
    }

    /// Calls the hub, then executes its outputs if the second value of `act` says that there may be some. `tell` gets
    /// events under the lock, so that they are in order; it returns a verdict if no decision of the application is
    /// needed.
    pub(super) fn with<R>(
        &self,
        bus: Option<&dyn Bus>,
        act: impl FnOnce(&mut Core<'_>, Instant) -> (R, bool),
        tell: impl Fn(Event) -> Option<(ConnId, Verdict)>,
    ) -> R {
        let mut wake = Vec::new();
        let mut state = self.lock();
        let mut core = Core { hub: &mut state.hub, bus, due: None };
        let (result, acted) = act(&mut core, now());
        if !acted {
            return result;
        }
        core.exchange(now());
        let deadline = loop {
            match core.hub.poll_output() {
                Output::Ready(conn) | Output::Resume(conn) => wake.push(conn),
                Output::Event(event) => {
                    if let Some((conn, verdict)) = tell(event) {
                        core.handle_input(Input::Verdict { conn, verdict }, now());
                    }
                }
                Output::Timeout(deadline) => break deadline.into_iter().chain(core.due).min(),
            }
        };
        let held = std::mem::replace(&mut state.deadline, deadline);
        drop(state);
        if !wake.is_empty() {
            let wakes = lock(&self.wakes);
            wake.iter().filter_map(|conn| wakes.get(conn)).for_each(|signal| signal.notify());
        }
        if deadline.is_some_and(|at| held.is_none_or(|held| at < held)) {
            self.sooner.notify();
        }
        result
    }

    /// Registers the signal of a connection.
    pub(super) fn wake_by(&self, conn: ConnId, signal: Arc<Signal>) {
        lock(&self.wakes).insert(conn, signal);
    }

    pub(super) fn forget(&self, conn: ConnId) {
        lock(&self.wakes).remove(&conn);
    }

    /// Ready when the hub needs [`Input::Timeout`].
    pub(super) fn poll_due(&self, alarm: &mut Alarm, cx: &mut Context<'_>) -> Poll<()> {
        while self.sooner.poll(cx).is_ready() {}
        alarm.set(self.lock().deadline);
        if alarm.poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.lock().deadline = None;
        Poll::Ready(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}
