//! Messages of Symple between the two sides of a call, which no server sees.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::Stream;
use serde::Serialize;

use super::answers::Awaits;
use super::data::{LABEL, stamp};
use super::line::Line;
use super::shared::Shared;
use crate::call::CallId;
use crate::client::{RequestError, SendError};
use crate::net::time::Alarm;
use crate::net::{lock, random_id, time};
use crate::proto::{Address, Draft, Message, MessageKind, PROTOCOL, Status};
use crate::rtc::{ChannelError, ChannelMessage, ChannelOptions};

/// As [`command_timeout`](crate::client::Config::command_timeout) of a client.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// The channel of messages, which the caller opens.
pub(super) fn channel() -> ChannelOptions {
    ChannelOptions { protocol: PROTOCOL.into(), ..ChannelOptions::new(LABEL) }
}

/// Messages of Symple by a data channel of a call, from [`Conversation::messages`](super::Conversation::messages): for
/// what must not go through a server. As a stream it is those of the peer, each with the call's peer as `from`, whatever
/// the peer wrote there; it ends with the call. While nobody has it, the peer's messages are dropped, and receipts say so.
pub struct Messages {
    shared: Arc<Shared>,
    call: CallId,
    line: Arc<Line>,
    /// As it was known last.
    peer: Mutex<Option<Address>>,
}

impl Messages {
    pub(super) fn new(shared: &Arc<Shared>, call: CallId, line: &Arc<Line>) -> Messages {
        line.channels(|queues| {
            queues.read_messages(true);
            queues.unsettle();
        });
        lock(&line.wish).want_channels();
        lock(&shared.core).offer_channels(call, time::now());
        shared.changed.notify();
        let peer = Mutex::new(lock(&shared.core).peer(call));
        Messages { shared: shared.clone(), call, line: line.clone(), peer }
    }

    /// Waits until messages can be sent.
    ///
    /// # Errors
    ///
    /// Both sides have not agreed on data channels, or the call has ended.
    pub async fn opened(&self) -> Result<(), ChannelError> {
        poll_fn(|cx| self.line.channels(|queues| queues.poll_messages_open(cx))).await
    }

    /// Sends a message to the peer, and returns its `id`; `to` may be left out. It never waits.
    ///
    /// # Errors
    ///
    /// The channel is not open ([`SendError::Offline`]), too much waits to be sent, or the message exceeds 64 KiB.
    pub fn send(&self, draft: Draft) -> Result<String, SendError> {
        let (id, text) = finish(draft)?;
        self.send_text(text)?;
        Ok(id)
    }

    /// Sends a message, and awaits the receipt: whether the peer's program reads such messages. It is sent at once; the
    /// future only waits.
    ///
    /// # Errors
    ///
    /// As of [`Client::deliver`](crate::Client::deliver).
    pub fn deliver(&self, draft: Draft) -> impl Future<Output = Result<(), RequestError>> + Send + use<> {
        let sent = self.send_awaiting(draft.receipt(), Awaits::Receipt);
        async move { sent?.await.map(drop) }
    }

    /// Sends a command to the peer, and awaits its reply. It is sent at once; the future only waits. A reply with status
    /// 202 restarts the timeout.
    ///
    /// # Errors
    ///
    /// As of [`Client::request`](crate::Client::request).
    pub fn request<T: Serialize + ?Sized>(
        &self,
        node: &str,
        action: &str,
        data: &T,
    ) -> impl Future<Output = Result<Message, RequestError>> + Send + use<T> {
        let draft = Draft::new(MessageKind::Command).command(node, action, data);
        let sent = self.send_awaiting(draft.receipt(), Awaits::Reply);
        async move { sent?.await }
    }

    /// Answers a command of the peer.
    ///
    /// # Errors
    ///
    /// As of [`send`](Self::send).
    pub fn reply<T: Serialize + ?Sized>(
        &self,
        command: &Message,
        status: Status,
        data: &T,
    ) -> Result<(), SendError> {
        self.send(Draft::new(MessageKind::Command).reply(command, status, data)).map(drop)
    }

    /// The next message of the peer; `None` after the call has ended.
    pub async fn recv(&self) -> Option<Message> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    fn poll_message(&self, cx: &Context<'_>) -> Poll<Option<Message>> {
        loop {
            match self.shared.poll_own_message(self.call, &self.line, cx) {
                Poll::Ready(Some(message)) => match self.stamp(&message) {
                    Some(message) => return Poll::Ready(Some(message)),
                    None => continue,
                },
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn send_awaiting(&self, draft: Draft, what: Awaits) -> Result<Awaiting, RequestError> {
        let (id, text) = finish(draft)?;
        self.line.channels(|queues| queues.answers.add(&id, what))?;
        let awaiting = Awaiting { line: self.line.clone(), id, alarm: Alarm::after(ANSWERS_WITHIN) };
        // Where it is not sent, it is forgotten again.
        self.send_text(text)?;
        Ok(awaiting)
    }

    fn send_text(&self, text: String) -> Result<(), SendError> {
        let bytes = text.len();
        self.shared.send_message(self.call, &self.line, text).map_err(|e| match e {
            ChannelError::Full => SendError::Full,
            ChannelError::TooLarge { limit } => SendError::TooLarge { bytes, limit },
            _ => SendError::Offline,
        })
    }

    /// A message with its sender, as it is known last.
    fn stamp(&self, message: &ChannelMessage) -> Option<Message> {
        let ChannelMessage::Text(text) = message else { return None };
        let mut peer = lock(&self.peer);
        if let Some(now) = lock(&self.shared.core).peer(self.call) {
            *peer = Some(now);
        }
        stamp(text, peer.as_ref()?)
    }
}

impl Stream for Messages {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.poll_message(cx)
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.shared.leave_messages(self.call, &self.line);
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("call", &self.call).finish_non_exhaustive()
    }
}

/// A draft with an `id`; both.
fn finish(draft: Draft) -> Result<(String, String), SendError> {
    let invalid = |reason: &str| SendError::Invalid { reason: reason.into() };
    let text = draft.clone().finish();
    let message = Message::parse(text.as_str()).map_err(|_| invalid("it is not a message"))?;
    if !message.kind().is_routed() {
        return Err(invalid("only messages, presences, commands and events are sent to peers"));
    }
    match (message.id(), message.raw("id")) {
        (Some(id), _) => Ok((id.to_owned(), text)),
        (None, Some(_)) => Err(invalid("\"id\" is a string")),
        (None, None) => {
            let id = random_id();
            let text = draft.id(&id).finish();
            Ok((id, text))
        }
    }
}

/// An answer that a program awaits.
struct Awaiting {
    line: Arc<Line>,
    id: String,
    alarm: Alarm,
}

impl Future for Awaiting {
    type Output = Result<Message, RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (progress, answer) = self
            .line
            .channels(|queues| (queues.answers.take_progress(&self.id), queues.answers.poll(&self.id, cx)));
        if progress {
            self.alarm = Alarm::after(ANSWERS_WITHIN);
        }
        if answer.is_pending() && self.alarm.poll(cx).is_ready() {
            return Poll::Ready(Err(RequestError::TimedOut));
        }
        answer
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        // Dropped without the lock.
        let _waker = self.line.channels(|queues| queues.answers.forget(&self.id));
    }
}

impl Shared {
    /// The caller opens the channel of messages, once.
    pub(super) fn open_messages(&self, call: CallId, line: &Line) {
        line.channels(|queues| {
            queues.settle(true);
            if queues.messages().is_some() {
                return;
            }
            let opened = lock(&self.core).open_channel(call, &channel(), time::now());
            queues.opening_messages(opened.ok());
        });
        self.changed.notify();
    }

    fn send_message(&self, call: CallId, line: &Line, text: String) -> Result<(), ChannelError> {
        let channel = line.channels(|queues| queues.messages()).ok_or(ChannelError::NotOpen)?;
        self.send_on(call, line, channel, &ChannelMessage::Text(text))
    }

    fn poll_own_message(&self, call: CallId, line: &Line, cx: &Context<'_>) -> Poll<Option<ChannelMessage>> {
        match line.channels(|queues| queues.poll_messages_known(cx)) {
            Poll::Ready(Some(channel)) => self.poll_message(call, line, channel, cx),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    fn leave_messages(&self, call: CallId, line: &Line) {
        line.channels(|queues| {
            let demand = queues.read_messages(false);
            self.meet(call, &demand);
        });
        self.changed.notify();
    }
}
