//! What the data channels of a call have received, until their readers take it; and who waits for what.
//!
//! Bytes are counted over all channels of a call. Above the high mark nothing more is taken from the peer, which stops
//! sending; below the low mark it is taken again.

use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll, Waker};

use super::answers::Answers;
use super::data::{LABEL, receipt};
use crate::net::channel::Sender;
use crate::proto::Message;
use crate::rtc::{ChannelError, ChannelId, ChannelMessage};

/// Bytes that wait for the readers of a call's channels before the peer is held: four of the largest messages.
const HIGH: usize = 256 * 1024;
const LOW: usize = HIGH / 2;
/// What a message costs beside its bytes.
const OVERHEAD: usize = 64;

/// A channel that the peer opened.
pub(crate) struct Arrived {
    pub channel: ChannelId,
    pub label: String,
    pub protocol: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    Open,
    Closed(ChannelError),
}

struct Queue {
    phase: Phase,
    messages: VecDeque<ChannelMessage>,
    /// The queue of what is sent is full.
    full: bool,
    reader: Option<Waker>,
    /// For the channel to open, or for room.
    writers: Vec<Waker>,
}

/// What to do about the session after a change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    Nothing,
    Hold(bool),
    Close(ChannelId),
}

/// The channels of a call. Whoever changes it wakes [`woken`](Self::woken) after its lock is released.
#[derive(Default)]
pub(crate) struct ChannelQueues {
    queues: BTreeMap<ChannelId, Queue>,
    /// Where channels of the peer go, if the program takes any.
    taker: Option<Sender<Arrived>>,
    waiting: usize,
    held: bool,
    over: bool,
    /// The channel of messages; whether somebody reads them, who waits for the channel, what else is to be sent by it.
    messages: Option<ChannelId>,
    reads_messages: bool,
    without_messages: bool,
    message_waiters: Vec<Waker>,
    receipts: VecDeque<String>,
    /// What is awaited of the peer.
    pub(crate) answers: Answers,
    woken: Vec<Waker>,
}

impl ChannelQueues {
    /// Whom to wake, since the last time.
    pub(super) fn woken(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.woken)
    }

    /// Channels of the peer go there from now on.
    pub(crate) fn set_taker(&mut self, taker: Sender<Arrived>) {
        if self.over {
            taker.close();
        }
        let before = self.taker.replace(taker);
        before.into_iter().for_each(|before| _ = before.close());
    }

    /// We open a channel.
    pub(crate) fn opening(&mut self, channel: ChannelId) {
        self.add(channel, Phase::Opening);
    }

    /// A channel is open.
    pub(crate) fn opened(
        &mut self,
        channel: ChannelId,
        label: String,
        protocol: String,
        ours: bool,
    ) -> Demand {
        if ours {
            // Its handle may be gone: then it is closed already.
            if let Some(queue) = self.queues.get_mut(&channel) {
                queue.phase = Phase::Open;
                self.woken.append(&mut queue.writers);
            }
            return Demand::Nothing;
        }
        if label == LABEL {
            if self.messages.is_some() || self.over {
                return Demand::Close(channel);
            }
            self.messages = Some(channel);
            self.add(channel, Phase::Open);
            self.woken.append(&mut self.message_waiters);
            return Demand::Nothing;
        }
        let arrived = Arrived { channel, label, protocol };
        let taken = self.taker.as_ref().is_some_and(|taker| taker.try_send(arrived).is_ok());
        if !taken {
            return Demand::Close(channel);
        }
        self.add(channel, Phase::Open);
        Demand::Nothing
    }

    /// A message came.
    pub(crate) fn push(&mut self, channel: ChannelId, message: ChannelMessage) -> Demand {
        if self.messages == Some(channel) && !self.is_for_reader(&message) {
            return Demand::Nothing;
        }
        let Some(queue) = self.queues.get_mut(&channel) else { return Demand::Nothing };
        self.waiting += cost(&message);
        queue.messages.push_back(message);
        self.woken.extend(queue.reader.take());
        if self.waiting > HIGH && !self.held {
            self.held = true;
            return Demand::Hold(true);
        }
        Demand::Nothing
    }

    /// There is room to send.
    pub(super) fn writable(&mut self, channel: ChannelId) {
        if let Some(queue) = self.queues.get_mut(&channel) {
            queue.full = false;
            self.woken.append(&mut queue.writers);
        }
    }

    /// A message did not fit.
    pub(super) fn full(&mut self, channel: ChannelId) {
        if let Some(queue) = self.queues.get_mut(&channel) {
            queue.full = true;
        }
    }

    /// The channel was closed; what came before can still be read.
    pub(crate) fn closed(&mut self, channel: ChannelId, error: ChannelError) {
        if let Some(queue) = self.queues.get_mut(&channel) {
            queue.phase = Phase::Closed(error);
            self.woken.extend(queue.reader.take());
            self.woken.append(&mut queue.writers);
        }
        if self.messages == Some(channel) {
            self.woken.append(&mut self.answers.fail_all());
        }
    }

    /// The call has ended.
    pub(crate) fn end(&mut self) {
        self.over = true;
        let all: Vec<ChannelId> = self.queues.keys().copied().collect();
        for channel in all {
            let error = self.error(channel).unwrap_or(ChannelError::Closed);
            self.closed(channel, error);
        }
        if let Some(taker) = self.taker.take() {
            taker.close();
        }
        self.woken.append(&mut self.message_waiters);
        self.woken.append(&mut self.answers.fail_all());
    }

    /// Nobody reads a channel any more.
    pub(crate) fn forget(&mut self, channel: ChannelId) -> Demand {
        let Some(queue) = self.queues.remove(&channel) else { return Demand::Nothing };
        self.woken.extend(queue.reader);
        self.woken.extend(queue.writers);
        self.waiting -= queue.messages.iter().map(cost).sum::<usize>();
        self.release()
    }

    /// Why a channel is closed, if it is.
    pub(super) fn error(&self, channel: ChannelId) -> Option<ChannelError> {
        match self.queues.get(&channel)?.phase {
            Phase::Closed(error) => Some(error),
            Phase::Opening | Phase::Open => None,
        }
    }

    pub(super) fn is_open(&self, channel: ChannelId) -> bool {
        self.queues.get(&channel).is_some_and(|queue| queue.phase == Phase::Open)
    }

    /// Until the channel is open, or was closed before that.
    pub(super) fn poll_open(
        &mut self,
        channel: ChannelId,
        cx: &Context<'_>,
    ) -> Poll<Result<(), ChannelError>> {
        self.poll_writer(channel, cx, |queue| queue.phase != Phase::Opening)
    }

    /// Until there is room to send.
    pub(super) fn poll_room(
        &mut self,
        channel: ChannelId,
        cx: &Context<'_>,
    ) -> Poll<Result<(), ChannelError>> {
        self.poll_writer(channel, cx, |queue| queue.phase != Phase::Opening && !queue.full)
    }

    fn poll_writer(
        &mut self,
        channel: ChannelId,
        cx: &Context<'_>,
        is_ready: impl Fn(&Queue) -> bool,
    ) -> Poll<Result<(), ChannelError>> {
        let Some(queue) = self.queues.get_mut(&channel) else {
            return Poll::Ready(Err(ChannelError::Closed));
        };
        if let Phase::Closed(error) = queue.phase {
            return Poll::Ready(Err(error));
        }
        if is_ready(queue) {
            return Poll::Ready(Ok(()));
        }
        wait(&mut queue.writers, cx);
        Poll::Pending
    }

    /// The next message; `None` after the channel was closed.
    pub(crate) fn poll_message(
        &mut self,
        channel: ChannelId,
        cx: &Context<'_>,
    ) -> (Poll<Option<ChannelMessage>>, Demand) {
        let Some(queue) = self.queues.get_mut(&channel) else { return (Poll::Ready(None), Demand::Nothing) };
        if let Some(message) = queue.messages.pop_front() {
            self.waiting -= cost(&message);
            return (Poll::Ready(Some(message)), self.release());
        }
        if let Phase::Closed(_) = queue.phase {
            return (Poll::Ready(None), Demand::Nothing);
        }
        self.woken.extend(queue.reader.replace(cx.waker().clone()).filter(|old| !old.will_wake(cx.waker())));
        (Poll::Pending, Demand::Nothing)
    }

    /// The channel of messages.
    pub(super) fn messages(&self) -> Option<ChannelId> {
        self.messages
    }

    /// We open the channel of messages, or could not.
    pub(super) fn opening_messages(&mut self, channel: Option<ChannelId>) {
        match channel {
            Some(channel) => {
                self.messages = Some(channel);
                self.opening(channel);
            }
            None => self.without_messages = true,
        }
        self.woken.append(&mut self.message_waiters);
    }

    /// Whether the call has data channels is settled, for now.
    pub(super) fn settle(&mut self, agreed: bool) {
        self.without_messages = !agreed;
        self.woken.append(&mut self.message_waiters);
    }

    /// The answer to our offer of data channels is not there yet.
    pub(super) fn unsettle(&mut self) {
        self.without_messages = false;
    }

    /// A program reads messages from now on, or does so no more: then those that wait are dropped.
    pub(crate) fn read_messages(&mut self, reads: bool) -> Demand {
        self.reads_messages = reads;
        let queue = self.messages.and_then(|channel| self.queues.get_mut(&channel)).filter(|_| !reads);
        let dropped =
            queue.map(|queue| queue.messages.drain(..).map(|message| cost(&message)).sum::<usize>());
        self.waiting -= dropped.unwrap_or(0);
        self.release()
    }

    /// Until the channel of messages is known; `None` if there is none.
    pub(super) fn poll_messages_known(&mut self, cx: &Context<'_>) -> Poll<Option<ChannelId>> {
        match self.messages {
            Some(channel) => Poll::Ready(Some(channel)),
            None if self.over || self.without_messages => Poll::Ready(None),
            None => {
                wait(&mut self.message_waiters, cx);
                Poll::Pending
            }
        }
    }

    /// Until messages can be sent.
    pub(super) fn poll_messages_open(&mut self, cx: &Context<'_>) -> Poll<Result<(), ChannelError>> {
        match self.poll_messages_known(cx) {
            Poll::Ready(Some(channel)) => self.poll_open(channel, cx),
            Poll::Ready(None) => Poll::Ready(Err(ChannelError::NotAgreed)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The next receipt to send.
    pub(crate) fn receipt(&mut self) -> Option<(ChannelId, String)> {
        Some((self.messages?, self.receipts.pop_front()?))
    }

    /// Whether what came by the channel of messages is for who reads them. Answers are for who awaits them; and who asks
    /// for a receipt gets one.
    fn is_for_reader(&mut self, message: &ChannelMessage) -> bool {
        let ChannelMessage::Text(text) = message else { return false };
        let Ok(message) = Message::parse(text.as_str()) else { return false };
        let (is_answer, waker) = self.answers.take_in(&message);
        self.woken.extend(waker);
        if is_answer || !message.kind().is_routed() {
            return false;
        }
        self.receipts.extend(receipt(&message, self.reads_messages));
        self.reads_messages
    }

    fn release(&mut self) -> Demand {
        if self.held && self.waiting <= LOW {
            self.held = false;
            return Demand::Hold(false);
        }
        Demand::Nothing
    }

    fn add(&mut self, channel: ChannelId, phase: Phase) {
        let queue = Queue { phase, messages: VecDeque::new(), full: false, reader: None, writers: vec![] };
        self.queues.insert(channel, queue);
    }
}

/// Adds a task to those that wait, once. Several may wait for the same thing.
fn wait(waiters: &mut Vec<Waker>, cx: &Context<'_>) {
    if !waiters.iter().any(|waker| waker.will_wake(cx.waker())) {
        waiters.push(cx.waker().clone());
    }
}

fn cost(message: &ChannelMessage) -> usize {
    message.as_bytes().len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::channel::bounded;

    const A: ChannelId = ChannelId(1);
    const B: ChannelId = ChannelId(2);

    fn message(len: usize) -> ChannelMessage {
        ChannelMessage::Binary(vec![7; len])
    }

    fn cx() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    fn arrive(queues: &mut ChannelQueues, channel: ChannelId) -> Demand {
        queues.opened(channel, "x".into(), String::new(), false)
    }

    #[test]
    fn the_peer_is_held_between_the_marks_of_all_channels() {
        let (sender, _receiver) = bounded(4);
        let mut queues = ChannelQueues::default();
        queues.set_taker(sender);
        assert_eq!([arrive(&mut queues, A), arrive(&mut queues, B)], [Demand::Nothing, Demand::Nothing]);
        let half = HIGH / 2 - OVERHEAD;
        assert_eq!(queues.push(A, message(half)), Demand::Nothing);
        assert_eq!(queues.push(B, message(half)), Demand::Nothing);
        assert_eq!(queues.push(B, message(0)), Demand::Hold(true), "it costs, too");
        assert_eq!(queues.push(B, message(9)), Demand::Nothing, "it is held already");
        let (read, demand) = queues.poll_message(A, &cx());
        assert_eq!((read, demand), (Poll::Ready(Some(message(half))), Demand::Nothing));
        assert_eq!(queues.forget(B), Demand::Hold(false), "what nobody reads any more does not wait");
        assert_eq!(queues.poll_message(A, &cx()).0, Poll::Pending);
    }

    #[test]
    fn channels_that_nobody_takes_are_closed() {
        let mut queues = ChannelQueues::default();
        assert_eq!(arrive(&mut queues, A), Demand::Close(A));
        let (sender, receiver) = bounded(1);
        queues.set_taker(sender);
        assert_eq!(arrive(&mut queues, A), Demand::Nothing);
        assert_eq!(arrive(&mut queues, B), Demand::Close(B), "too many wait");
        assert_eq!(receiver.try_recv().expect("it waits").channel, A);
        queues.end();
        assert!(receiver.is_closed());
        assert_eq!(arrive(&mut queues, B), Demand::Close(B));
    }

    #[test]
    fn messages_are_sorted_and_receipts_follow() {
        let mut queues = ChannelQueues::default();
        assert!(queues.poll_messages_open(&cx()).is_pending());
        assert_eq!(
            queues.opened(A, LABEL.into(), String::new(), false),
            Demand::Nothing,
            "nobody need take it"
        );
        assert_eq!(queues.opened(B, LABEL.into(), String::new(), false), Demand::Close(B), "one is enough");
        assert_eq!(queues.poll_messages_open(&cx()), Poll::Ready(Ok(())));
        let text = |text: &str| ChannelMessage::Text(text.into());
        let hello = text(r#"{"type":"message","id":"1","receipt":true}"#);
        queues.push(A, hello.clone());
        let receipt = |status, delivered| {
            let receipt =
                format!(r#"{{"type":"receipt","id":"1","status":{status},"delivered":{delivered}}}"#);
            Some((A, receipt))
        };
        assert_eq!((queues.receipt(), queues.poll_message(A, &cx()).0), (receipt(404, 0), Poll::Pending));
        queues.read_messages(true);
        queues.answers.add("2", super::super::answers::Awaits::Reply).expect("the first");
        for what in [
            hello.clone(),
            text(r#"{"type":"command","id":"2","status":200}"#),
            text("garbage"),
            ChannelMessage::Binary(vec![1]),
            text(r#"{"type":"auth","user":"mallory"}"#),
        ] {
            queues.push(A, what);
        }
        assert_eq!((queues.receipt(), queues.receipt()), (receipt(200, 1), None));
        assert_eq!(queues.poll_message(A, &cx()).0, Poll::Ready(Some(hello.clone())));
        assert_eq!(queues.poll_message(A, &cx()).0, Poll::Pending);
        assert!(matches!(queues.answers.poll("2", &cx()), Poll::Ready(Ok(_))));
        queues.push(A, hello);
        queues.read_messages(false);
        assert_eq!((queues.poll_message(A, &cx()).0, queues.waiting), (Poll::Pending, 0));
    }

    #[test]
    fn what_came_before_the_end_can_be_read() {
        let mut queues = ChannelQueues::default();
        queues.opening(A);
        assert!(queues.poll_open(A, &cx()).is_pending() && !queues.is_open(A));
        assert_eq!(queues.opened(A, String::new(), String::new(), true), Demand::Nothing);
        assert_eq!(queues.poll_open(A, &cx()), Poll::Ready(Ok(())));
        queues.full(A);
        assert!(queues.poll_room(A, &cx()).is_pending());
        queues.writable(A);
        assert_eq!(queues.poll_room(A, &cx()), Poll::Ready(Ok(())));
        queues.push(A, message(3));
        assert_eq!(queues.error(A), None);
        queues.closed(A, ChannelError::Closed);
        assert_eq!(queues.poll_room(A, &cx()), Poll::Ready(Err(ChannelError::Closed)));
        assert_eq!(queues.poll_message(A, &cx()).0, Poll::Ready(Some(message(3))));
        assert_eq!(queues.poll_message(A, &cx()).0, Poll::Ready(None));
        assert!(!queues.woken().is_empty(), "who waited is woken");
    }
}
