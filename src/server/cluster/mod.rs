//! Several hubs as one: what is exchanged with other instances, sans-IO.
//!
//! Instances share a bus, which is what a Redis gives: named channels, each told to those who subscribed,
//! what one publisher says in the order it said it, and nothing kept for those who were away. The [`Cluster`] is a
//! core of its own beside the [`Hub`]: it takes [`Input`]s, from the hub and from the bus, and is polled
//! for [`Output`]s; the driver carries [`Bus`] commands out ([`Cluster::transmit`]). It knows no rooms and no
//! sessions, which are the hub's; between the two go values ([`ToCluster`], [`FromCluster`]), which
//! [`Cluster::exchange`] moves. A server that is alone has no cluster. [`Instance`] is both, driven as one.
//!
//! ```
//! use std::time::Instant;
//! use symple::server::cluster::{Bus, BusInput, Cluster, Input, Output, ClusterSettings};
//!
//! let now = Instant::now();
//! let mut cluster = Cluster::new(ClusterSettings::new("one"), now);
//! cluster.handle_input(Input::Bus(BusInput::Up), now);
//! assert!(matches!(cluster.poll_output(), Output::Bus));
//! let mut out = Vec::new();
//! assert!(!cluster.transmit(64 << 10, &mut out), "nothing more waits");
//! assert!(matches!(&out[0], Bus::Subscribe { channel, .. } if channel == "symple:cluster:all"));
//! ```
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
//! - **What does not fit** in [`ClusterSettings::queue_limit`], or is older than [`ClusterSettings::keep_for`], is given up. It is
//!   counted, its sender is told by an `error` 503 (once a second at most), and whom it was for is noted: the
//!   recipients get an event `missed` that tells how many. What was given up for an instance that was away is counted
//!   and told when that returns, within an hour; before that it may have ended, and its peers with it.
//! - **First contact.** Of two instances one may have heard of the other first, and keep messages for it. So whoever
//!   meets one that it does not know asks for what it is owed, and puts by what it hears meanwhile, which the other
//!   need not have kept.
//! - **An instance that says nothing** for [`ClusterSettings::dead_after`] has no peers any more, and neither has
//!   anyone while the bus is away for so long. A process that hung itself gives the others that time anew.
//! - **Who is slow** holds peers of other instances as it holds our own ([`Hub`]): their instance is told whom,
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
mod bus;
mod instance;
mod interest;
mod kept;
mod receive;
mod send;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::warn;
use serde::Serialize;

use super::{ConnId, Hub};
use again::{Absent, Resend};
use interest::Interest;
use kept::Kept;

pub use super::remote::{Card, FromCluster, Holding, Incoming, Outgoing, Question, ToCluster};
pub use bus::{BROADCAST, Bus, BusInput, ClusterSettings};
pub use instance::{Instance, InstanceOutput};

/// Instances that are kept in mind; what others say is passed over until one of these dies.
const MAX_INSTANCES: usize = 1024;

/// An answer that is owed for so long is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// The part of the queue from which on senders are held: 2 MiB by default, eight batches of the driver. Less
/// waits then at a recipient whose word to hold comes late.
const HIGH: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Down,
    /// Up to this number subscriptions must be in force before we speak.
    Rising(u64),
    Up,
}

/// What happened outside of the cluster.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input<'a> {
    /// The hub says something.
    Hub(ToCluster),
    /// The bus did something.
    Bus(BusInput<'a>),
    /// The instant that [`Output::Timeout`] asked for has come.
    Timeout,
}

/// What the cluster wants done. Poll until [`Output::Timeout`] comes: it ends a round.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// The hub is to be told something ([`Hub::handle_cluster`](super::Hub::handle_cluster)).
    Hub(FromCluster),
    /// There is something to do for the bus ([`Cluster::transmit`]). Said once until all of it is taken.
    Bus,
    /// Nothing more to do before an input comes, or this instant ([`Input::Timeout`]).
    Timeout(Instant),
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
    conn: ConnId,
    id: Box<str>,
    delivered: usize,
    /// Copies that the bus has not taken yet.
    unsent: usize,
    /// Subscribers that have not said how many they reached. The bus's count and theirs may come in any order.
    silent: i64,
    until: Instant,
}

/// One instance's part in the cluster, without the bus. It begins without one.
pub struct Cluster {
    settings: ClusterSettings,
    link: Link,
    epoch: u64,
    number: u64,
    interest: Interest,
    /// What of the hub waits for which subscription.
    waits: VecDeque<(u64, u64)>,
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
    unsent: Vec<ConnId>,
    /// Messages that were given up.
    dropped: u64,
    /// What the hub is to be told.
    effects: VecDeque<FromCluster>,
    /// What it was told last of what we reach: instances, and whether messages are taken.
    reaches: (bool, bool),
    /// Somebody may be held for the bus.
    holds: bool,
}

impl Cluster {
    /// An instance that has heard of no other.
    pub fn new(settings: ClusterSettings, now: Instant) -> Self {
        Cluster {
            beat: now + settings.heartbeat,
            kept: Kept::new(settings.queue_limit, settings.keep_for),
            absent: BTreeMap::new(),
            gone: BTreeMap::new(),
            resends: VecDeque::new(),
            unmarked: 0,
            mark_due: None,
            unsent: Vec::new(),
            effects: VecDeque::new(),
            reaches: (false, false),
            holds: false,
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

    /// Takes in what happened. Poll afterwards.
    pub fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Hub(said) => self.hear_hub(said, now),
            Input::Bus(input) => self.hear_bus(input, now),
            Input::Timeout => self.beat(now),
        }
        self.tell_reach();
    }

    /// What the cluster wants next. Ends with [`Output::Timeout`].
    pub fn poll_output(&mut self) -> Output {
        if let Some(effect) = self.effects.pop_front() {
            return Output::Hub(effect);
        }
        if self.has_more() && !std::mem::replace(&mut self.announced, true) {
            return Output::Bus;
        }
        Output::Timeout(self.due())
    }

    /// Moves what this cluster and its hub say to each other, until neither has more to say. To be called after each
    /// input of either. Answers whether there is something to do for the bus, as [`Output::Bus`] does, and when
    /// [`Input::Timeout`] is due.
    pub fn exchange(&mut self, hub: &mut Hub, now: Instant) -> (bool, Instant) {
        let mut bus = false;
        loop {
            while let Some(said) = hub.poll_cluster() {
                self.handle_input(Input::Hub(said), now);
            }
            match self.poll_output() {
                Output::Hub(effect) => hub.handle_cluster(effect, now),
                Output::Bus => bus = true,
                Output::Timeout(due) => return (bus, due),
            }
        }
    }

    /// Whether other instances are reached.
    pub fn is_up(&self) -> bool {
        self.link == Link::Up
    }

    /// Messages for other instances that were given up.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// When something is due here.
    fn due(&self) -> Instant {
        let receipt = self.receipts.first_key_value().map(|(_, receipt)| receipt.until);
        receipt.into_iter().chain(self.mark_due).chain([self.beat]).min().unwrap_or(self.beat)
    }

    /// Moves what waits for the bus into `out`, in order, up to about `max_bytes`. Returns whether more waits; if none
    /// does, [`Output::Bus`] tells of the next. Poll afterwards.
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
        self.free_if_low();
        self.tell_unsent();
        self.announced
    }

    fn tell_hub(&mut self, effect: FromCluster) {
        self.effects.push_back(effect);
    }

    /// Tells the hub what we reach, where that has changed.
    fn tell_reach(&mut self) {
        let reaches = (self.is_up(), self.is_up() || self.keeps());
        if self.reaches != reaches {
            self.reaches = reaches;
            self.tell_hub(FromCluster::Reaches { up: reaches.0, takes: reaches.1 });
        }
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
    fn is_high(&self) -> bool {
        self.waiting > self.settings.queue_limit / HIGH || self.is_far_ahead()
    }

    /// So little waits that nobody is to be held for it.
    fn is_low(&self) -> bool {
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
