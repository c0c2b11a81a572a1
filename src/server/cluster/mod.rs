//! Several hubs as one: what is exchanged with other instances, sans-IO.
//!
//! Instances share a bus, which is what a Redis gives: named channels, each told to those who subscribed,
//! what one publisher says in the order it said it, and nothing kept for those who were away. The driver
//! carries [`Bus`] commands out ([`Hub::transmit_bus`](super::Hub::transmit_bus)) and what happens in
//! ([`Input::Bus`](super::Input::Bus)). A hub that has no cluster pays nothing for it.
//!
//! | channel | who hears it | what is said |
//! |---|---|---|
//! | `PREFIX:to:NAME` | instances with a peer of that id or user, or in that room | messages, peers of that room, "who is there?" |
//! | `PREFIX:at:INSTANCE` | that instance | answers |
//! | `PREFIX:all` | every instance | heartbeats |
//! | `symple:broadcast` | every instance | what emitters push, for the peers that are here |
//!
//! - **A message** goes to the channels of the names in its `to` (of all rooms of the sender where there is
//!   none), with the sender's rooms. Whom it reaches is decided where the recipients are, by the same table
//!   as at home. An instance that hears several channels gets several copies; all have the same number, and
//!   the first counts.
//! - **Subscribed before confirmed:** `welcome` and `join:ok` wait for the bus to confirm the
//!   subscriptions. What is published afterwards arrives.
//! - **Peers of others** that share a room with one of ours sit in the same rooms and are told to ours as our
//!   own are. Who enters a room that nobody here was in asks on its channel who is there.
//! - **An epoch** begins whenever the bus comes back. Who sees a new one, or an instance that it does not
//!   know, asks it for the peers of all its rooms, and forgets those who are not in the answer. So what was
//!   missed while the bus was away, or while one of them hung, is made up for without a peer flickering.
//! - **Nothing is lost** that fits. Messages are kept until all instances have confirmed them: with every MiB, or
//!   after a second, a mark asks how far each has heard. Whoever lost its subscriptions, or sees a new epoch,
//!   passes over what it hears of that instance, asks for what is behind the last number that it has, gets
//!   that again on its own channel, and goes on when told that it has caught up. All numbers ascend, so each
//!   message counts once, and those of one sender stay in order. While there is no bus, messages are kept for
//!   those who were known when it went.
//! - **What does not fit** in [`Settings::queue_limit`], or is older than [`Settings::keep_for`], is given up. It is
//!   counted, its sender is told by an `error` 503 (once a second at most), and whom it was for is noted: the
//!   recipients get an event `missed` that tells how many. What was given up for an instance that was away is counted
//!   and told when that returns, within an hour; before that it may have ended, and its peers with it.
//! - **First contact.** Of two instances one may have heard of the other first, and keep messages for it. So whoever
//!   meets one that it does not know asks for what it is owed, and puts by what it hears meanwhile, which the other
//!   need not have kept.
//! - **An instance that says nothing** for [`Settings::dead_after`] has no peers any more, and neither has
//!   anyone while the bus is away for so long. A process that hung itself gives the others that time anew.
//! - **Who is slow** holds peers of other instances as it holds our own ([`Hub`](super::Hub)): their instance is told whom,
//!   and when that ends. A new epoch ends it too; whoever still is too slow says so again at the next message.
//!   They tell each other for how long a sender was held, so that it is held for ten seconds a minute in all.
//! - **A full bus** holds those who add to it: when an eighth of the limit waits for it here, or half of it is
//!   under way and not confirmed. So a slow Redis, and a slow instance, slow those down who send to others.
//!
//! While there is no bus, nobody is held for it, all waits end, and messages reach the peers that are here.
//!
//! **Nobody waits for ever.** The driver hands over what comes from the bus whatever waits for it, and the hub takes it
//! whatever waits for its peers: reading never waits for writing, and what is said to say so (hold, free, marks and
//! their answers) is queued whatever else is. So a hold ends when its cause does: the recipient reads, or its
//! instance closes it after its allowance; the bus takes what waits, or its driver gives it up after a few
//! seconds without an answer; the other instances confirm, or are taken for dead. Whatever the message that ends
//! a hold may have got lost with ends it as well: the loss of the bus, a new epoch, and the death of an instance
//! free all whom they held.

mod again;
mod away;
mod interest;
mod kept;
mod receive;
mod send;
mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::warn;
use serde::Serialize;

use super::slab::Key;
use again::{Absent, Resend};
use interest::Interest;
use kept::Kept;

pub(super) use away::Away;
pub(super) use send::Spread;

/// What carries `symple:broadcast`.
pub const BROADCAST: &str = "symple:broadcast";

/// Longer names are nobody's: a room's has at most 256 bytes.
const MAX_NAME: usize = 256;

/// Instances that are kept in mind; what others say is passed over until one of these dies.
const MAX_INSTANCES: usize = 1024;

/// An answer that is owed for so long is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// The part of the queue from which on senders are held: 2 MiB by default, eight batches of the driver. Less
/// waits then at a recipient whose word to hold comes late.
const HIGH: usize = 8;

/// How an instance takes part. Build it from [`Settings::new`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The name of this instance: one that no other ever has, also none that ran here before.
    pub instance: String,
    /// What the channels begin with. Instances that shall be one agree in it. Default: `symple:cluster`.
    pub prefix: String,
    /// How often the others are told that this one lives. Default: 3 s.
    pub heartbeat: Duration,
    /// An instance that says nothing for so long is gone, and its peers with it. Default: 10 s.
    pub dead_after: Duration,
    /// How long a receipt waits for other instances to count. Default: 800 ms, for it is owed within a second.
    pub receipt_wait: Duration,
    /// Bytes that may wait for the bus, each copy counted, and bytes that are kept until other instances have
    /// confirmed them. Peers that add to it are held from an eighth of the former and a half of the latter on,
    /// while the bus is there. What they say beyond all of it is dropped, and they are told; who comes and goes
    /// is not dropped, so where that alone takes four times as much the bus is begun anew. Default: 16 MiB, half
    /// of what Redis lets wait for one subscriber (`client-output-buffer-limit`).
    pub queue_limit: usize,
    /// How long a message is kept that not all instances have confirmed. Default: 30 s: a Redis that restarts is
    /// back by then, and so is a master's successor with usual settings.
    pub keep_for: Duration,
}

impl Settings {
    /// The defaults, for the instance of this name.
    pub fn new(instance: impl Into<String>) -> Self {
        Settings {
            instance: instance.into(),
            prefix: "symple:cluster".into(),
            heartbeat: Duration::from_secs(3),
            dead_after: Duration::from_secs(10),
            receipt_wait: Duration::from_millis(800),
            queue_limit: 16 << 20,
            keep_for: Duration::from_secs(30),
        }
    }
}

/// What the bus is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bus {
    /// Hear a channel; to be confirmed by [`BusInput::Subscribed`].
    Subscribe {
        /// Which.
        channel: String,
        /// The number of the subscription; ascending.
        tag: u64,
    },
    /// Hear it no more.
    Unsubscribe {
        /// Which.
        channel: String,
    },
    /// Give it up and come back, for it falls behind: [`BusInput::Down`], then [`BusInput::Up`].
    Reset,
    /// Say something once. The driver need not say it again when it fails: with the bus's next coming all is
    /// made up for.
    Publish {
        /// Where.
        channel: Arc<str>,
        /// What.
        payload: Arc<str>,
        /// How many heard it is to be told by [`BusInput::Published`].
        tag: Option<u64>,
    },
}

impl Bus {
    fn cost(&self) -> usize {
        64 + match self {
            Bus::Reset => 0,
            Bus::Subscribe { channel, .. } | Bus::Unsubscribe { channel } => channel.len(),
            Bus::Publish { channel, payload, .. } => channel.len() + payload.len(),
        }
    }
}

/// What the bus did.
#[derive(Clone, Copy, Debug)]
pub enum BusInput<'a> {
    /// It is there, and nothing is subscribed.
    Up,
    /// It is gone, with all subscriptions and whatever was under way.
    Down,
    /// All subscriptions up to this number are in force.
    Subscribed(u64),
    /// So many subscribers were handed what was published under this tag.
    Published {
        /// The tag.
        tag: u64,
        /// How many.
        receivers: u64,
    },
    /// Something was said on a channel of ours, [`BROADCAST`] excepted.
    Said {
        /// What.
        payload: &'a str,
    },
    /// Something was said on [`BROADCAST`].
    Broadcast {
        /// A message.
        text: &'a str,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Down,
    /// Up to this number subscriptions must be in force before we speak.
    Rising(u64),
    Up,
}

/// What waits for a subscription.
#[derive(Debug)]
enum Wait {
    Admit(Key),
    Join(Key, Box<str>),
}

/// Another instance.
#[derive(Debug)]
struct Other {
    epoch: u64,
    /// The number of its last envelope.
    last: u64,
    /// Up to which number all that it keeps for us was heard.
    got: u64,
    /// Something behind that may have been missed: what it says is passed over until it has said all again.
    behind: bool,
    /// What was heard of it before it said what it owes us, where it is new to us.
    early: Option<Early>,
    /// Up to which number it has heard all that we keep for it.
    acked: u64,
    heard: Instant,
    /// What it was asked for all its peers with, and whether it answered.
    sync: u64,
    synced: bool,
    asked: Option<Instant>,
    peers: BTreeMap<Box<str>, Key>,
}

/// Envelopes that wait for those before them.
#[derive(Debug, Default)]
struct Early {
    /// Their numbers, ascending, and texts.
    said: VecDeque<(u64, Box<str>)>,
    bytes: usize,
}

/// A receipt that waits for other instances.
#[derive(Debug)]
struct Receipt {
    key: Key,
    id: Box<str>,
    delivered: usize,
    /// Copies that the bus has not taken yet.
    unsent: usize,
    /// Subscribers that have not said how many they reached. The bus's count and theirs may come in any order.
    silent: i64,
    until: Instant,
}

pub(super) struct Cluster {
    settings: Settings,
    link: Link,
    epoch: u64,
    number: u64,
    interest: Interest,
    waits: VecDeque<(u64, Wait)>,
    others: BTreeMap<Arc<str>, Other>,
    /// By the number of the message, and so by the time that each waits until.
    receipts: BTreeMap<u64, Receipt>,
    syncs: u64,
    beat: Instant,
    out: VecDeque<Bus>,
    waiting: usize,
    announced: bool,
    /// What others may have missed.
    kept: Kept,
    absent: BTreeMap<Arc<str>, Absent>,
    /// Those that were away for so long that nothing is kept for them.
    gone: BTreeMap<Arc<str>, Absent>,
    resends: VecDeque<Resend>,
    /// Bytes that were said since others were last asked how far they heard, and when they are asked again.
    unmarked: usize,
    mark_due: Option<Instant>,
    /// Whose messages were given up and who was not told yet.
    unsent: Vec<Key>,
    /// Who missed something and was not told yet.
    missing: BTreeSet<Key>,
    /// Messages that were given up.
    pub dropped: u64,
}

impl Cluster {
    pub fn new(settings: Settings, now: Instant) -> Self {
        Cluster {
            beat: now + settings.heartbeat,
            kept: Kept::new(settings.queue_limit, settings.keep_for),
            absent: BTreeMap::new(),
            gone: BTreeMap::new(),
            resends: VecDeque::new(),
            unmarked: 0,
            mark_due: None,
            unsent: Vec::new(),
            missing: BTreeSet::new(),
            settings,
            link: Link::Down,
            epoch: 0,
            number: 0,
            interest: Interest::default(),
            waits: VecDeque::new(),
            others: BTreeMap::new(),
            receipts: BTreeMap::new(),
            syncs: 0,
            out: VecDeque::new(),
            waiting: 0,
            announced: false,
            dropped: 0,
        }
    }

    pub fn is_up(&self) -> bool {
        self.link == Link::Up
    }

    /// When something is due here.
    pub fn due(&self) -> Instant {
        let receipt = self.receipts.first_key_value().map(|(_, receipt)| receipt.until);
        receipt.into_iter().chain(self.mark_due).chain([self.beat]).min().unwrap_or(self.beat)
    }

    /// Whether the driver is to be told that something waits.
    pub fn announce(&mut self) -> bool {
        self.has_more() && !std::mem::replace(&mut self.announced, true)
    }

    /// Moves commands into `out`, about `max_bytes`; whether more wait.
    pub fn transmit(&mut self, max_bytes: usize, out: &mut Vec<Bus>) -> bool {
        if max_bytes == 0 {
            return self.has_more();
        }
        // What others missed has half of it, so that neither waits for the other.
        let mut again = max_bytes / 2;
        self.resend(&mut again, out);
        let mut room = max_bytes / 2 + again;
        while room > 0
            && let Some(bus) = self.out.pop_front()
        {
            self.waiting -= bus.cost();
            room = room.saturating_sub(bus.cost());
            out.push(bus);
        }
        self.announced = self.has_more();
        self.announced
    }

    fn has_more(&self) -> bool {
        !self.out.is_empty() || !self.resends.is_empty()
    }

    fn to(&self, name: &str) -> Arc<str> {
        format!("{}:to:{name}", self.settings.prefix).into()
    }

    fn at(&self, instance: &str) -> Arc<str> {
        format!("{}:at:{instance}", self.settings.prefix).into()
    }

    fn all(&self) -> Arc<str> {
        format!("{}:all", self.settings.prefix).into()
    }

    fn push(&mut self, bus: Bus) {
        self.waiting += bus.cost();
        self.out.push_back(bus);
        if self.waiting > self.settings.queue_limit.saturating_mul(4) {
            warn!("the bus falls behind; it is begun anew");
            self.lose();
            self.waiting += Bus::Reset.cost();
            self.out.push_back(Bus::Reset);
        }
    }

    /// Says one thing on several channels, under one number.
    fn say(&mut self, channels: &[Arc<str>], kind: wire::Kind, body: &impl Serialize, frame: &str) {
        self.number += 1;
        if self.link != Link::Up {
            return;
        }
        let payload: Arc<str> = wire::write(&self.head(self.number, kind), body, frame).into();
        for channel in channels {
            let (channel, payload) = (channel.clone(), payload.clone());
            self.push(Bus::Publish { channel, payload, tag: None });
        }
    }

    /// So much waits that those who add to it are to be held.
    pub fn is_high(&self) -> bool {
        self.waiting > self.settings.queue_limit / HIGH || self.is_far_ahead()
    }

    /// So little waits that nobody is to be held for it.
    pub fn is_low(&self) -> bool {
        self.waiting <= self.settings.queue_limit / HIGH / 2 && self.is_near()
    }

    fn lose(&mut self) {
        self.link = Link::Down;
        self.interest.lose();
        self.out.clear();
        self.waiting = 0;
        self.resends.clear();
        (self.unmarked, self.mark_due) = (0, None);
    }

    fn rise(&mut self, now: Instant) {
        self.lose();
        self.epoch += 1;
        for fixed in [self.all().to_string(), self.at(&self.settings.instance).to_string(), BROADCAST.into()]
        {
            let tag = self.interest.number();
            self.push(Bus::Subscribe { channel: fixed, tag });
        }
        for (name, tag) in self.interest.renew() {
            let channel = self.to(&name).to_string();
            self.push(Bus::Subscribe { channel, tag });
        }
        // Taken last, so that it is behind all of them.
        let Some(Bus::Subscribe { tag, .. }) = self.out.back() else { return };
        self.link = Link::Rising(*tag);
        // What still comes because of an old question has gaps.
        self.syncs += 1;
        let sync = self.syncs;
        self.others.values_mut().for_each(|other| {
            (other.synced, other.behind, other.asked) = (false, true, None);
            (other.sync, other.heard) = (sync, now);
        });
        self.absent.values_mut().for_each(|absent| absent.since = now);
    }
}
