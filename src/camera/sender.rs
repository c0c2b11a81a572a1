//! A task that sends to a shard of the viewers, on a thread of its own: all but that is left to the camera's first task.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::burst::Burst;
use super::shared::Shared;
use crate::net::event_loop::{self, Turn};
use crate::net::time::{self, Alarm};
use crate::net::udp::Udp;
use crate::net::{Signal, lock};
use crate::rtc::{Shard, ShardId};

pub(super) struct Sender {
    shard: Shard,
    udp: Udp,
    alarm: Alarm,
    /// Dropped after the shard.
    place: Place,
}

/// Its place among those that send.
struct Place {
    shared: Arc<Shared>,
    shard: ShardId,
    signal: Arc<Signal>,
}

impl Sender {
    /// Takes over a shard.
    ///
    /// Errors: the camera has ended, or no file descriptor is free.
    pub(super) fn new(shared: &Arc<Shared>) -> io::Result<Sender> {
        let ended = || io::Error::other("the camera has ended");
        let udp = shared.senders.udp().ok_or_else(ended)??;
        let shard = lock(&shared.core).shard(time::now());
        let signal = shared.senders.add(shard.id());
        // Viewers that were there before are now this one's.
        signal.notify();
        let place = Place { shared: shared.clone(), shard: shard.id(), signal };
        Ok(Sender { shard, udp, alarm: Alarm::unset(), place })
    }

    /// Ready when the camera has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        event_loop::poll(cx, |cx| self.turn(cx))
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Turn<()> {
        let woken = self.place.signal.poll(cx).is_ready();
        if self.place.shared.senders.is_over() {
            return Turn::Done(());
        }
        let due = self.alarm.poll(cx).is_ready();
        if due {
            self.shard.handle_timeout(time::now());
        }
        let mut burst = Burst::new();
        let shard = &self.shard;
        _ = self.udp.poll_transmits(cx, || burst.next(|| shard.poll_transmit(time::now())));
        if self.shard.has_events() {
            self.place.shared.inbox.changed.notify();
        }
        self.alarm.set(Some(self.shard.poll_timeout()));
        if burst.is_over() { Turn::Yield } else { Turn::after(woken || due) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.senders.remove(self.shard, &self.signal);
        // The first task moves the viewers to those who go on.
        self.shared.inbox.changed.notify();
    }
}
