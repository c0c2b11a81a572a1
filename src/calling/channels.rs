//! What the handles of data channels and the task of calls share.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::ChannelEvent;
use super::channel::{Channel, Channels};
use super::channel_queues::{Arrived, Demand};
use super::line::Line;
use super::shared::{MAX_WAITING, Shared};
use crate::call::CallId;
use crate::net::channel::bounded;
use crate::net::{lock, time};
use crate::rtc::{ChannelError, ChannelId, ChannelMessage, ChannelOptions};

// The lock of a call's queues is taken before the core's: what the core reports of a channel waits until its handle is
// known.
impl Shared {
    pub(super) fn open_channel(
        self: &Arc<Self>,
        call: CallId,
        line: &Arc<Line>,
        options: ChannelOptions,
    ) -> Result<Channel, ChannelError> {
        let opened = line.channels(|queues| {
            let opened = lock(&self.core).open_channel(call, &options, time::now());
            opened.inspect(|channel| queues.opening(*channel))
        });
        if opened.is_ok() {
            lock(&line.wish).want_channels();
        }
        self.changed.notify();
        let ChannelOptions { label, protocol, .. } = options;
        let channel = opened?;
        Ok(Channel::new(self, call, line, Arrived { channel, label, protocol }))
    }

    /// The channels that the peer opens from now on.
    pub(super) fn channels(self: &Arc<Self>, call: CallId, line: &Arc<Line>) -> Channels {
        let (sender, receiver) = bounded(MAX_WAITING);
        line.channels(|queues| queues.set_taker(sender));
        lock(&line.wish).want_channels();
        // If they are not agreed yet, it is the peer that offers them.
        lock(&self.core).set_channels(call, true);
        Channels::new(self, call, line, receiver)
    }

    pub(super) fn send_on(
        &self,
        call: CallId,
        line: &Line,
        channel: ChannelId,
        message: &ChannelMessage,
    ) -> Result<(), ChannelError> {
        let sent = line.channels(|queues| {
            if let Some(error) = queues.error(channel) {
                return Err(error);
            }
            let sent = lock(&self.core).send(call, channel, message, time::now());
            if sent == Err(ChannelError::Full) {
                queues.full(channel);
            }
            sent
        });
        self.changed.notify();
        sent
    }

    pub(super) fn poll_message(
        &self,
        call: CallId,
        line: &Line,
        channel: ChannelId,
        cx: &Context<'_>,
    ) -> Poll<Option<ChannelMessage>> {
        let (message, changed) = line.channels(|queues| {
            let (message, demand) = queues.poll_message(channel, cx);
            (message, self.meet(call, &demand))
        });
        if changed {
            self.changed.notify();
        }
        message
    }

    pub(super) fn close_channel(&self, call: CallId, line: &Line, channel: ChannelId) {
        line.channels(|queues| {
            let demand = queues.forget(channel);
            self.meet(call, &demand);
            lock(&self.core).close_channel(call, channel, time::now());
        });
        self.changed.notify();
    }

    /// Something happened to a channel.
    pub(super) fn channel_event(&self, call: CallId, event: ChannelEvent) {
        let Some(line) = lock(&self.lines).get(&call).cloned() else { return };
        if event == (ChannelEvent::Settled { agreed: true }) && line.is_caller {
            return self.open_messages(call, &line);
        }
        line.channels(|queues| {
            let demand = match event {
                ChannelEvent::Open { channel, label, protocol, ours } => {
                    queues.opened(channel, label, protocol, ours)
                }
                ChannelEvent::Message { channel, message } => queues.push(channel, message),
                ChannelEvent::Writable { channel } => {
                    queues.writable(channel);
                    Demand::Nothing
                }
                ChannelEvent::Closed { channel, error } => {
                    queues.closed(channel, error);
                    Demand::Nothing
                }
                ChannelEvent::Settled { agreed } => {
                    queues.settle(agreed);
                    Demand::Nothing
                }
            };
            self.meet(call, &demand);
            while let Some((channel, receipt)) = queues.receipt() {
                // Where there is no room for it, its sender takes it for lost.
                let receipt = ChannelMessage::Text(receipt);
                if let Err(e) = lock(&self.core).send(call, channel, &receipt, time::now()) {
                    log::debug!("call {call}: a receipt was not sent: {e}");
                }
            }
        });
    }

    /// Does what the queues ask for. Returns whether there was something to do.
    pub(super) fn meet(&self, call: CallId, demand: &Demand) -> bool {
        match *demand {
            Demand::Nothing => return false,
            Demand::Hold(held) => lock(&self.core).hold_channels(call, held, time::now()),
            Demand::Close(channel) => lock(&self.core).close_channel(call, channel, time::now()),
        }
        true
    }
}
