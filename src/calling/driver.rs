//! The task that connects the client, the UDP port, the source and the core.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use super::shared::Shared;
use super::{Input, Output};
use crate::net::event_loop::{self, Turn};
use crate::net::lock;
use crate::net::own_addresses::OwnAddresses;
use crate::net::time::{self, Alarm};
use crate::net::udp::Udp;

pub(super) struct Driver {
    shared: Arc<Shared>,
    udp: Option<Udp>,
    alarm: Alarm,
    own_addresses: OwnAddresses,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, udp: Option<Udp>) -> Driver {
        Driver { shared, udp, alarm: Alarm::unset(), own_addresses: OwnAddresses::new() }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        event_loop::poll(cx, |cx| self.turn(cx))
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Turn<()> {
        let mut any = self.poll_datagrams(cx);
        if self.shared.changed.poll(cx).is_ready() {
            any = true;
            self.find_candidates();
        }
        if self.udp.is_some() && self.own_addresses.poll(cx).is_ready() {
            any = true;
            self.find_candidates();
        }
        any |= self.poll_source(cx);
        if self.alarm.poll(cx).is_ready() {
            any = true;
            let now = time::now();
            lock(&self.shared.feeding).handle_timeout(now);
            lock(&self.shared.core).handle_input(Input::Timeout, now);
        }
        self.drain();
        let core = &self.shared.core;
        let next = || lock(core).poll_transmit(time::now());
        match &mut self.udp {
            Some(udp) => _ = udp.poll_transmits(cx, next),
            None => while next().is_some() {},
        }
        self.drain();
        if self.shared.over.load(Ordering::Acquire) {
            return Turn::Done(());
        }
        Turn::after(any)
    }

    fn poll_datagrams(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(udp) = &mut self.udp else { return false };
        let (core, now) = (&self.shared.core, time::now());
        match udp.poll_recv(cx, |path, data| lock(core).handle_input(Input::Datagram { path, data }, now)) {
            Poll::Pending => false,
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(e)) => {
                log::error!("the UDP port is lost, and with it all calls: {e}");
                self.udp = None;
                false
            }
        }
    }

    /// Handles the source's events and frames: one frame at a time, so that datagrams do not wait.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(feeder) = lock(&self.shared.feeder).clone() else { return false };
        let mut any = false;
        while let Some(event) = feeder.poll_event() {
            any = true;
            self.shared.source_event(&feeder, &event);
        }
        let Poll::Ready(frame) = feeder.poll_frame(cx) else { return any };
        let now = time::now();
        lock(&self.shared.feeding).handle_frame(&frame, now);
        lock(&self.shared.core).handle_input(Input::Frame(&frame), now);
        true
    }

    /// Networks come and go, and calls go on. An address that is gone may also be that of our connection to the server.
    fn find_candidates(&mut self) {
        let now = time::now();
        let Some(udp) = &self.udp else { return };
        let candidates = || {
            udp.local_candidates(self.shared.advertise).unwrap_or_else(|e| {
                log::warn!("cannot list the network interfaces: {e}");
                vec![]
            })
        };
        let Some(listed) = self.own_addresses.list(candidates, now) else { return };
        let is_gone = !listed.gone.is_empty();
        lock(&self.shared.core).set_candidates(listed.candidates, &listed.gone, now);
        if is_gone {
            self.shared.client.check();
        }
    }

    /// Performs all of the core's outputs.
    fn drain(&mut self) {
        loop {
            let output = lock(&self.shared.core).poll_output();
            match output {
                Output::Timeout(at) => {
                    self.command_source();
                    self.shared.show_source();
                    let feeding = lock(&self.shared.feeding).poll_timeout();
                    return self.alarm.set(at.into_iter().chain(feeding).min());
                }
                Output::Send { to, subtype, call, data } => {
                    self.shared.send(&to, subtype, call.as_deref(), &data);
                }
                Output::Event(event) => self.shared.event(event),
                #[cfg(feature = "camera")]
                Output::Wake(_) => {}
            }
        }
    }

    /// Passes the calls' commands to the source. Holds no lock meanwhile, since the source may respond at once.
    fn command_source(&self) {
        let next = || {
            // Under the feeder's lock, so that a command reaches the source that it was made for.
            let feeder = lock(&self.shared.feeder);
            let command = lock(&self.shared.feeding).poll_command()?;
            Some((feeder.clone()?, command))
        };
        while let Some((feeder, command)) = next() {
            feeder.command(command);
        }
    }
}
