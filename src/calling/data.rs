//! Data channels of calls, in the core, and what is common to all who read messages of Symple from one.

use std::time::Instant;

use super::core::Core;
use super::{ChannelEvent, Event};
use crate::call::CallId;
use crate::proto::{Address, Draft, Head, Message, MessageKind, Status, stamped};
#[cfg(feature = "calls")]
use crate::rtc::ChannelOptions;
use crate::rtc::{self, ChannelError, ChannelId, ChannelMessage};

/// The label of the channel for messages of Symple.
pub(crate) const LABEL: &str = "symple";

/// A message with its sender. The call's peer is known by signalling; what a peer says of itself counts for nothing.
pub(crate) fn stamp(text: &str, peer: &Address) -> Option<Message> {
    let head = Head::parse(text).ok()?;
    Message::parse(stamped(&head, peer.as_str())).ok()
}

/// The receipt of a message whose sender asks for one. `is_read`: whether somebody here reads it.
pub(crate) fn receipt(message: &Message, is_read: bool) -> Option<String> {
    let (Some(id), Ok(Some(true))) = (message.id(), message.get("receipt")) else { return None };
    let (status, delivered) = if is_read { (Status::OK, 1) } else { (Status::NOT_FOUND, 0) };
    let receipt = Draft::new(MessageKind::Receipt).id(id).with("status", &status.0);
    Some(receipt.with("delivered", &delivered).finish())
}

impl Core {
    /// Sets whether a call has data channels, from its next description on.
    #[cfg(feature = "calls")]
    pub(crate) fn set_channels(&mut self, call: CallId, wanted: bool) {
        if let Some(seat) = self.seats.get_mut(&call) {
            seat.wants_channels = wanted;
            self.fanout.set_channels(seat.session, wanted);
        }
    }

    /// Offers data channels in a call that has none.
    #[cfg(feature = "calls")]
    pub(crate) fn offer_channels(&mut self, call: CallId, now: Instant) {
        self.set_channels(call, true);
        if self.seats.get(&call).is_some_and(|seat| !self.fanout.takes_channels(seat.session)) {
            self.change(call);
        }
        self.settle(now);
    }

    /// Reports whether the descriptions have agreed on data channels that we want. Where our offer is still to be made,
    /// that is not settled.
    #[cfg(feature = "calls")]
    pub(super) fn settle_channels(&mut self, call: CallId) {
        let Some(seat) = self.seats.get(&call).filter(|seat| seat.wants_channels) else { return };
        let agreed = self.fanout.has_channels(seat.session);
        if agreed || !seat.renegotiation.due {
            self.emit(Event::Channel { call, event: ChannelEvent::Settled { agreed } });
        }
    }

    /// Opens a channel. A call without data channels offers them; the new one waits for the answer.
    #[cfg(feature = "calls")]
    pub(crate) fn open_channel(
        &mut self,
        call: CallId,
        options: &ChannelOptions,
        now: Instant,
    ) -> Result<ChannelId, ChannelError> {
        let seat = self.seats.get(&call).ok_or(ChannelError::UnknownSession)?;
        if !seat.renegotiation.agreed {
            return Err(ChannelError::NotAgreed);
        }
        let session = seat.session;
        self.set_channels(call, true);
        let opened = self.fanout.open_channel(session, options, now);
        match opened {
            Ok(_) => self.offer_channels(call, now),
            Err(_) => self.settle(now),
        }
        opened
    }

    /// Sends a message on a channel.
    pub(crate) fn send(
        &mut self,
        call: CallId,
        channel: ChannelId,
        message: &ChannelMessage,
        now: Instant,
    ) -> Result<(), ChannelError> {
        let seat = self.seats.get(&call).ok_or(ChannelError::UnknownSession)?;
        let sent = self.fanout.send(seat.session, channel, message, now);
        self.settle(now);
        sent
    }

    pub(crate) fn close_channel(&mut self, call: CallId, channel: ChannelId, now: Instant) {
        let Some(seat) = self.seats.get(&call) else { return };
        self.fanout.close_channel(seat.session, channel, now);
        self.settle(now);
    }

    /// Takes nothing on a call's channels for a while.
    pub(crate) fn hold_channels(&mut self, call: CallId, held: bool, now: Instant) {
        let Some(seat) = self.seats.get(&call) else { return };
        self.fanout.hold_channels(seat.session, held, now);
        self.settle(now);
    }

    /// What a session says of its channels, for the owner of its call.
    pub(super) fn channel_event(&mut self, event: rtc::Event) {
        let (session, event) = match event {
            rtc::Event::ChannelOpen { session, channel, label, protocol, ours } => {
                (session, ChannelEvent::Open { channel, label, protocol, ours })
            }
            rtc::Event::ChannelMessage { session, channel, message } => {
                (session, ChannelEvent::Message { channel, message })
            }
            rtc::Event::ChannelWritable { session, channel } => (session, ChannelEvent::Writable { channel }),
            rtc::Event::ChannelClosed { session, channel, error } => {
                (session, ChannelEvent::Closed { channel, error })
            }
            _ => return,
        };
        if let Some(call) = self.call_of(session) {
            self.emit(Event::Channel { call, event });
        }
    }
}
