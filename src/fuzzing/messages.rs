//! Messages of Symple that a call's peer sends by data channels, and what waits for their readers.

use std::collections::BTreeSet;
use std::task::{Context, Poll, Waker};

use super::bytes::Bytes;
use super::walk::{self, walk};
use crate::calling::answers::Awaits;
use crate::calling::channel_queues::{Arrived, ChannelQueues, Demand};
use crate::calling::data::{LABEL, stamp};
use crate::net::channel::{Receiver, bounded};
use crate::proto::{Address, Message, MessageKind};
use crate::rtc::{ChannelError, ChannelId, ChannelMessage};

const CHANNELS: [ChannelId; 3] = [ChannelId(0), ChannelId(1), ChannelId(2)];
/// Of messages for which something is awaited.
const IDS: [&str; 3] = ["1", "2", "\u{e9}"];
const PEER: &str = "alice|9f";
/// What may wait for readers: the mark at which the peer is held, and the message that passes it.
const MOST: usize = 256 * 1024 + 64 * 1024;

struct World {
    queues: ChannelQueues,
    arrived: Receiver<Arrived>,
    held: bool,
    /// Channels that were opened, or refused.
    known: BTreeSet<ChannelId>,
    /// Receipts that are asked for.
    asked: usize,
}

/// Channels open, carry messages, and close: the peer is held while too much waits and only then, messages are from the
/// peer, and receipts are about what it sent.
pub fn messages(data: &[u8]) {
    let (sender, arrived) = bounded(2);
    let mut queues = ChannelQueues::default();
    queues.set_taker(sender);
    let world = World { queues, arrived, held: false, known: BTreeSet::new(), asked: 0 };
    walk(world, Bytes(data), 200);
}

impl walk::World for World {
    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let cx = Context::from_waker(Waker::noop());
        let channel = bytes.pick(&CHANNELS);
        match bytes.u8() % 10 {
            // A number is used once.
            0 if self.known.insert(channel) => {
                let label = if bytes.u8() & 1 == 0 { LABEL } else { bytes.text() };
                let demand = self.queues.opened(channel, label.into(), bytes.text().into(), false);
                self.meet(&demand);
            }
            1..=3 => {
                let (text, times) = (bytes.text(), usize::from(bytes.u8()) + 1);
                // Not held at once: what is on its way still comes.
                if !self.held {
                    let message = ChannelMessage::Text(text.repeat(if times > 200 { times } else { 1 }));
                    self.push(channel, message);
                }
            }
            4 if !self.held => self.push(channel, ChannelMessage::Binary(bytes.piece().repeat(200))),
            5 => self.read(channel, &cx),
            6 => {
                let demand = self.queues.read_messages(bytes.u8() & 1 == 0);
                self.meet(&demand);
            }
            7 => {
                let (id, what) = (bytes.pick(&IDS), bytes.pick(&[Awaits::Receipt, Awaits::Reply]));
                if self.queues.answers.add(id, what).is_err() {
                    self.queues.answers.forget(id);
                }
            }
            8 => {
                let id = bytes.pick(&IDS);
                if let Poll::Ready(Ok(message)) = self.queues.answers.poll(id, &cx) {
                    assert_eq!(message.id(), Some(id));
                    assert!(message.status().is_some() || *message.kind() == MessageKind::Receipt);
                }
            }
            9 if bytes.u8() & 1 == 0 => self.queues.closed(channel, ChannelError::Closed),
            9 => {
                let demand = self.queues.forget(channel);
                self.meet(&demand);
            }
            _ => {}
        }
        while let Some((_, receipt)) = self.queues.receipt() {
            let receipt = Message::parse(receipt).expect("ours is a message");
            assert!(*receipt.kind() == MessageKind::Receipt && receipt.id().is_some());
            self.asked = self.asked.checked_sub(1).expect("receipts are about messages");
        }
        self.asked = 0;
    }

    // What it does is checked where it does it.
    fn check(&self) {}

    fn end(mut self) {
        self.queues.end();
        assert!(self.arrived.is_closed());
        let cx = Context::from_waker(Waker::noop());
        let mut waited = 0;
        for channel in CHANNELS {
            // What came before can be read, then the end.
            while let (Poll::Ready(Some(message)), demand) = self.queues.poll_message(channel, &cx) {
                waited += message.as_bytes().len();
                self.meet(&demand);
            }
            assert!(matches!(self.queues.poll_message(channel, &cx).0, Poll::Ready(None)));
        }
        assert!(!self.held && waited <= MOST, "{waited} bytes");
    }
}

impl World {
    fn push(&mut self, channel: ChannelId, message: ChannelMessage) {
        self.asked = 1;
        let demand = self.queues.push(channel, message);
        self.meet(&demand);
    }

    fn read(&mut self, channel: ChannelId, cx: &Context<'_>) {
        let (read, demand) = self.queues.poll_message(channel, cx);
        self.meet(&demand);
        let Poll::Ready(Some(ChannelMessage::Text(text))) = read else { return };
        if let Some(message) = stamp(&text, &Address::from(PEER)) {
            assert_eq!(message.from().map(Address::as_str), Some(PEER));
        }
    }

    fn meet(&mut self, demand: &Demand) {
        match *demand {
            Demand::Nothing => {}
            Demand::Hold(held) => {
                assert_ne!(held, self.held, "it is so already");
                self.held = held;
            }
            Demand::Close(channel) => assert!(self.known.contains(&channel)),
        }
    }
}
