//! A hub and its cluster, driven as one core.

use std::time::Instant;

use super::{Bus, BusInput, Cluster, ClusterSettings};
use crate::server::{Config, ConnId, Event, Hub, Input, Output, Stats, Transmit};

/// One of several instances: a hub with its cluster. Its inputs and outputs are those of a [`Hub`](crate::server::Hub)
/// and those of the bus.
pub struct Instance {
    /// For reading; inputs go through the instance.
    pub hub: Hub,
    /// For reading; inputs go through the instance.
    pub cluster: Cluster,
    /// Outputs of the cluster that came up while the hub was driven.
    bus: bool,
    due: Instant,
}

/// What an instance asks of its driver. Poll until [`InstanceOutput::Timeout`], which ends a round.
#[derive(Debug)]
#[non_exhaustive]
pub enum InstanceOutput {
    /// As [`Output::Ready`].
    Ready(ConnId),
    /// As [`Output::Resume`].
    Resume(ConnId),
    /// There are commands for the bus ([`Instance::transmit_bus`]).
    Bus,
    /// As [`Output::Event`].
    Event(Event),
    /// As [`Output::Timeout`].
    Timeout(Instant),
}

impl Instance {
    /// An empty hub without a bus.
    pub fn new(config: Config, settings: ClusterSettings, now: Instant) -> Instance {
        let (mut hub, mut cluster) = (Hub::clustered(config), Cluster::new(settings, now));
        let (bus, due) = cluster.exchange(&mut hub, now);
        Instance { hub, cluster, bus, due }
    }

    /// Handles an input of the hub. Poll afterwards.
    pub fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        if matches!(input, Input::Timeout) {
            self.cluster.handle_input(super::Input::Timeout, now);
            self.exchange(now);
        }
        self.hub.handle_input(input, now);
        self.exchange(now);
    }

    /// Handles an event of the bus. Poll afterwards.
    pub fn handle_bus(&mut self, input: BusInput<'_>, now: Instant) {
        self.cluster.handle_input(super::Input::Bus(input), now);
        self.exchange(now);
    }

    /// The next output. Ends with [`InstanceOutput::Timeout`].
    pub fn poll_output(&mut self) -> InstanceOutput {
        match self.hub.poll_output() {
            Output::Ready(conn) => InstanceOutput::Ready(conn),
            Output::Resume(conn) => InstanceOutput::Resume(conn),
            Output::Event(event) => InstanceOutput::Event(event),
            Output::Timeout(_) if std::mem::take(&mut self.bus) => InstanceOutput::Bus,
            Output::Timeout(due) => InstanceOutput::Timeout(due.map_or(self.due, |due| due.min(self.due))),
        }
    }

    /// As [`Hub::transmit`].
    pub fn transmit(&mut self, conn: ConnId, max: usize, now: Instant, out: &mut Vec<Transmit>) -> bool {
        let more = self.hub.transmit(conn, max, now, out);
        self.exchange(now);
        more
    }

    /// As [`Cluster::transmit`].
    pub fn transmit_bus(&mut self, max: usize, now: Instant, out: &mut Vec<Bus>) -> bool {
        let more = self.cluster.transmit(max, out);
        self.exchange(now);
        more
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        Stats { dropped_bus: self.cluster.dropped(), ..self.hub.stats() }
    }

    fn exchange(&mut self, now: Instant) {
        let (bus, due) = self.cluster.exchange(&mut self.hub, now);
        self.bus |= bus;
        self.due = due;
    }
}
