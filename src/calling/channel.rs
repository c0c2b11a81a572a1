//! A data channel of a call as a program has it.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::Stream;

use super::channel_queues::Arrived;
use super::line::Line;
use super::shared::Shared;
use crate::call::CallId;
use crate::net::channel::Receiver;
use crate::rtc::{ChannelError, ChannelId, ChannelMessage};

/// A data channel of a [`Conversation`](super::Conversation). As a stream it is the messages that the peer sends; it ends
/// when either side closes the channel, and with the call. Dropping it closes it, after what was sent.
///
/// Up to 256 KiB wait for the readers of all channels of a call. What exceeds that stays with the peer: read every channel,
/// or drop it.
pub struct Channel {
    shared: Arc<Shared>,
    call: CallId,
    line: Arc<Line>,
    channel: ChannelId,
    label: String,
    protocol: String,
}

impl Channel {
    pub(super) fn new(shared: &Arc<Shared>, call: CallId, line: &Arc<Line>, arrived: Arrived) -> Channel {
        let Arrived { channel, label, protocol } = arrived;
        Channel { shared: shared.clone(), call, line: line.clone(), channel, label, protocol }
    }

    /// Its label: what it is for.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Its subprotocol; empty if there is none.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// Whether messages can be sent.
    pub fn is_open(&self) -> bool {
        self.line.channels(|queues| queues.is_open(self.channel))
    }

    /// Waits until messages can be sent. A channel of the peer is open from the beginning.
    ///
    /// # Errors
    ///
    /// The peer does not take the channel, or the call has ended.
    pub async fn opened(&self) -> Result<(), ChannelError> {
        poll_fn(|cx| self.line.channels(|queues| queues.poll_open(self.channel, cx))).await
    }

    /// Sends a message, or refuses it; it never waits.
    ///
    /// # Errors
    ///
    /// The channel is not open, or not any more; the message exceeds what the peer takes, or 64 KiB; or 256 KiB wait to be
    /// sent already ([`ChannelError::Full`]), after which [`room`](Self::room) waits.
    pub fn send(&self, message: &ChannelMessage) -> Result<(), ChannelError> {
        self.shared.send_on(self.call, &self.line, self.channel, message)
    }

    /// Waits until there is room to send, if the last message was refused for lack of it.
    ///
    /// # Errors
    ///
    /// The channel is closed.
    pub async fn room(&self) -> Result<(), ChannelError> {
        poll_fn(|cx| self.line.channels(|queues| queues.poll_room(self.channel, cx))).await
    }

    /// The next message; `None` after the channel was closed.
    pub async fn recv(&self) -> Option<ChannelMessage> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    fn poll_message(&self, cx: &Context<'_>) -> Poll<Option<ChannelMessage>> {
        self.shared.poll_message(self.call, &self.line, self.channel, cx)
    }
}

impl Stream for Channel {
    type Item = ChannelMessage;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ChannelMessage>> {
        self.poll_message(cx)
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.shared.close_channel(self.call, &self.line, self.channel);
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("call", &self.call)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

/// The channels that the peer opens, from [`Conversation::channels`](super::Conversation::channels). It ends with the call.
pub struct Channels {
    shared: Arc<Shared>,
    call: CallId,
    line: Arc<Line>,
    arrived: Pin<Box<Receiver<Arrived>>>,
}

impl Channels {
    pub(super) fn new(
        shared: &Arc<Shared>,
        call: CallId,
        line: &Arc<Line>,
        arrived: Receiver<Arrived>,
    ) -> Channels {
        Channels { shared: shared.clone(), call, line: line.clone(), arrived: Box::pin(arrived) }
    }
}

impl Stream for Channels {
    type Item = Channel;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Channel>> {
        let next = self.arrived.as_mut().poll_next(cx);
        next.map(|next| next.map(|arrived| Channel::new(&self.shared, self.call, &self.line, arrived)))
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        self.arrived.close();
        while let Ok(Arrived { channel, .. }) = self.arrived.try_recv() {
            self.shared.close_channel(self.call, &self.line, channel);
        }
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channels").field("call", &self.call).finish_non_exhaustive()
    }
}
