//! Several hubs as one: what instances exchange, sans-IO.
//!
//! Instances share a bus such as Redis: named channels whose subscribers receive each message, in the order in which
//! its publisher sent it. Nothing is stored for those who are disconnected. The [`Cluster`] is a core of its own beside
//! the [`Hub`]: it takes [`Input`]s from the hub and from the bus, and is polled for [`Output`]s; the driver executes
//! the [`Bus`] commands ([`Cluster::transmit`]). Rooms and sessions belong to the hub; the two exchange values
//! ([`ToCluster`], [`FromCluster`]) by [`Cluster::exchange`]. A single server has no cluster. [`Instance`] drives both
//! as one.
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
//! | channel | subscribers | content |
//! |---|---|---|
//! | `PREFIX:to:NAME` | instances with a peer of that id or user, or in that room | messages, presences of peers in that room, queries for its peers |
//! | `PREFIX:at:INSTANCE` | that instance | answers |
//! | `PREFIX:all` | every instance | heartbeats |
//! | `symple:broadcast` | every instance | messages from emitters, for the peers on each instance |
//!
//! - **A message** is published on the channels of the names in its `to` (without one, of all rooms of the sender),
//!   with the sender's rooms. The recipients' instance decides whom it reaches, by the same table as for local
//!   messages. An instance that subscribes to several of these channels gets several copies with the same number; the
//!   first counts.
//! - **Subscribed before confirmed:** `welcome` and `join:ok` wait until the bus confirms the subscriptions. Everything
//!   published afterwards arrives.
//! - **Peers of other instances** that share a room with one of ours sit in the same rooms, and are announced to our
//!   peers as our own are. An instance whose first peer enters a room asks on its channel who else is in it.
//! - **An epoch** begins whenever the bus reconnects. An instance that sees a new epoch, or an unknown instance, asks
//!   that instance for the peers of all its rooms, and removes those that are missing from the answer. This makes up
//!   for what was missed while the bus was disconnected or an instance hung, and no peer goes offline in between.
//! - **Nothing is lost** that fits. Messages are kept until all instances have confirmed them: after every MiB, or
//!   after a second, a mark asks what each has received. An instance that lost its subscriptions, or that sees a new
//!   epoch, ignores further messages of that instance, asks for everything after the last number it received, gets it
//!   on its own channel, and continues once it has caught up. All numbers ascend, so each message counts once, and the
//!   messages of one sender stay in order. While there is no bus, messages are kept for the instances that were known
//!   when it disconnected.
//! - **What does not fit** in [`ClusterSettings::queue_limit`], or is older than [`ClusterSettings::keep_for`], is
//!   dropped and counted. Its sender is told by an `error` 503, at most once a second, and its recipients get an event
//!   `missed` with the number of lost messages. What was dropped for an absent instance is counted and reported if it
//!   returns within an hour; until then nobody knows whether it and its peers still exist.
//! - **Messages of emitters** on [`BROADCAST`] have no numbers. Each instance keeps those it received lately
//!   (`emitted`), and an instance that was disconnected asks the others for what it missed. What no instance received
//!   is lost, and Redis tells the emitter: `PUBLISH` returns 0.
//! - **First contact.** One of two instances may have seen the other first, and keep messages for it. So an instance
//!   that meets an unknown one asks it for these, and buffers what it receives meanwhile, since the other may not have
//!   kept that.
//! - **A silent instance** loses all its peers after [`ClusterSettings::dead_after`]; while the bus is disconnected for
//!   that long, all other instances do. A process that itself hung gives the others that time again.
//! - **A slow recipient** holds peers of other instances as it holds our own ([`Hub`]): their instance is told whom it
//!   holds, and when the hold ends. A new epoch ends it too; a recipient that is still slow holds again at the next
//!   message. An instance that does not know the recipient, or forgets it, replies that the hold ends, since it holds
//!   nobody; then the next message begins another. Instances tell each other how long a sender was held, so that ten
//!   seconds per minute is the limit for all of them together.
//! - **A full bus** holds those who add to it: when an eighth of the limit waits for it here, or half of the limit is
//!   unconfirmed. So a slow Redis or a slow instance slows down the peers that send to other instances.
//!
//! Without a bus, it holds nobody, all waits end, and messages reach the peers on this instance.
//!
//! **Nobody waits forever.** The driver passes on everything from the bus, and the hub handles it, regardless of their
//! queues: reading never waits for writing, and control envelopes (hold, free, marks and confirmations) are always
//! queued. So a hold ends when its cause does: the recipient reads, or its instance closes it after its allowance; the
//! bus accepts more, or its driver reconnects after a few seconds without a reply; the other instances confirm, or
//! count as gone. If the envelope that ends a hold is lost, then so is the bus, the epoch or the instance, and each of
//! these releases everybody who was held because of it.

mod bus;
mod emitted;
mod instance;
mod interest;
mod receive;
mod resend;
mod send;
mod unconfirmed;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::warn;
use serde::Serialize;

use super::{ConnId, Hub};
use emitted::{Position, Pushed};
use interest::Interest;
use resend::{Absent, Resend};
use unconfirmed::Kept;

pub use super::remote::{Card, FromCluster, Holding, Incoming, Outgoing, Question, ToCluster};
pub use bus::{BROADCAST, Bus, BusInput, ClusterSettings};
pub use instance::{Instance, InstanceOutput};

/// The maximum number of other instances; further ones are ignored.
const MAX_INSTANCES: usize = 1024;

/// How long to wait for an answer before asking again.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// The part of the limit above which senders are held: 2 MiB by default, eight batches of the driver. Little enough
/// that a recipient is not overrun if its hold arrives late.
const HIGH: usize = 8;

/// The part of the limit that is kept of what emitters push: 2 MiB by default.
const PUSHED: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BusState {
    Down,
    /// Subscriptions up to this number must be active before we publish.
    Rising(u64),
    Up,
}

/// An input of the cluster.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input<'a> {
    /// The hub says something.
    Hub(ToCluster),
    /// An event of the bus.
    Bus(BusInput<'a>),
    /// The instant of [`Output::Timeout`] has come.
    Timeout,
}

/// What the cluster asks of its driver. Poll until [`Output::Timeout`], which ends a round.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// Pass this to the hub ([`Hub::handle_cluster`](super::Hub::handle_cluster)).
    Hub(FromCluster),
    /// There are commands for the bus ([`Cluster::transmit`]). Reported once until all are taken.
    Bus,
    /// Nothing left to do until an input or this instant ([`Input::Timeout`]).
    Timeout(Instant),
}

/// Another instance.
#[derive(Debug)]
struct Other {
    epoch: u64,
    /// The number of its last envelope.
    last: u64,
    /// The number up to which we received everything that it keeps for us.
    got: u64,
    /// We may have missed something after `got`: further envelopes are ignored until it has resent everything.
    behind: bool,
    /// What it sent before it resent what it owes us, if it is new to us.
    early: Option<Early>,
    /// The number up to which it confirmed everything that we keep for it.
    acked: u64,
    heard: Instant,
    /// The number of the last question for all its peers, and whether it was answered.
    sync: u64,
    synced: bool,
    asked: Option<Instant>,
    /// Where what emitters push stood when it was heard.
    place: Position,
}

/// Envelopes that wait for earlier ones.
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
    /// Copies that the bus has not published yet.
    unsent: usize,
    /// Subscribers that have not reported how many peers they reached. The bus's count and their reports may come in
    /// any order.
    silent: i64,
    until: Instant,
}

/// One instance's part in the cluster, without the bus. Initially it has none.
pub struct Cluster {
    settings: ClusterSettings,
    link: BusState,
    epoch: u64,
    number: u64,
    interest: Interest,
    /// Waits of the hub, by the subscription that ends each.
    waits: VecDeque<(u64, u64)>,
    others: BTreeMap<Arc<str>, Other>,
    /// By the number of the message, and therefore also by deadline.
    receipts: BTreeMap<u64, Receipt>,
    syncs: u64,
    beat: Instant,
    out: VecDeque<Bus>,
    waiting: usize,
    announced: bool,
    /// Envelopes that others may have missed.
    kept: Kept,
    /// What emitters pushed, which others may have missed too.
    pushed: Pushed,
    /// The time of the last input.
    clock: Instant,
    absent: BTreeMap<Arc<str>, Absent>,
    /// Instances that have been absent for so long that nothing is kept for them.
    gone: BTreeMap<Arc<str>, Absent>,
    resends: VecDeque<Resend>,
    /// Bytes sent since the last mark, and when the next one is due.
    unmarked: usize,
    mark_due: Option<Instant>,
    /// The senders of dropped messages that were not told yet.
    unsent: Vec<ConnId>,
    /// The number of dropped messages.
    dropped: u64,
    /// Values for the hub.
    effects: VecDeque<FromCluster>,
    /// What the hub was last told: whether other instances are reachable, and whether messages are accepted.
    reaches: (bool, bool),
    /// Somebody may be held because of the bus.
    holds: bool,
}

impl Cluster {
    /// An instance that knows no other.
    pub fn new(settings: ClusterSettings, now: Instant) -> Self {
        Cluster {
            beat: now + settings.heartbeat,
            kept: Kept::new(settings.queue_limit, settings.keep_for),
            pushed: Pushed::new(settings.queue_limit / PUSHED, settings.keep_for),
            clock: now,
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
            link: BusState::Down,
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

    /// Handles an input. Poll afterwards.
    pub fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        self.clock = now;
        match input {
            Input::Hub(said) => self.hear_hub(said, now),
            Input::Bus(input) => self.hear_bus(input, now),
            Input::Timeout => self.beat(now),
        }
        self.tell_reach();
    }

    /// The next output. Ends with [`Output::Timeout`].
    pub fn poll_output(&mut self) -> Output {
        if let Some(effect) = self.effects.pop_front() {
            return Output::Hub(effect);
        }
        if self.has_more() && !std::mem::replace(&mut self.announced, true) {
            return Output::Bus;
        }
        Output::Timeout(self.due())
    }

    /// Moves values between this cluster and its hub until neither has more. Call it after each input of either.
    /// Returns whether there are commands for the bus, as [`Output::Bus`] does, and when [`Input::Timeout`] is due.
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

    /// Whether other instances are reachable.
    pub fn is_up(&self) -> bool {
        self.link == BusState::Up
    }

    /// The number of messages for other instances that were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// When something is due here.
    fn due(&self) -> Instant {
        let receipt = self.receipts.first_key_value().map(|(_, receipt)| receipt.until);
        receipt
            .into_iter()
            .chain(self.mark_due)
            .chain(self.pushed.due())
            .chain([self.beat])
            .min()
            .unwrap_or(self.beat)
    }

    /// Moves commands for the bus into `out`, in order, up to about `max_bytes`. Returns whether more are waiting; if
    /// not, [`Output::Bus`] reports the next. Poll afterwards.
    pub fn transmit(&mut self, max_bytes: usize, out: &mut Vec<Bus>) -> bool {
        if max_bytes == 0 {
            return self.has_more();
        }
        // Resends get half of it, so that neither delays the other.
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

    /// Tells the hub what is reachable, if that has changed.
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
            warn!("the bus cannot keep up; reconnecting");
            self.lose();
            self.waiting += Bus::Reset.cost();
            self.out.push_back(Bus::Reset);
        }
    }

    /// Publishes one envelope on several channels, under one number.
    fn publish(&mut self, channels: &[Arc<str>], kind: wire::Kind, body: &impl Serialize, frame: &str) {
        self.number += 1;
        if self.link != BusState::Up {
            return;
        }
        let payload: Arc<str> = wire::write(&self.head(self.number, kind), body, frame).into();
        for channel in channels {
            let (channel, payload) = (channel.clone(), payload.clone());
            self.push(Bus::Publish { channel, payload, tag: None });
        }
    }

    /// So much is waiting that those who add to it must be held.
    fn is_high(&self) -> bool {
        self.waiting > self.settings.queue_limit / HIGH || self.is_far_ahead()
    }

    /// So little is waiting that nobody needs to be held.
    fn is_low(&self) -> bool {
        self.waiting <= self.settings.queue_limit / HIGH / 2 && self.is_near()
    }

    fn lose(&mut self) {
        self.link = BusState::Down;
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
        // Taken last, so that it comes after all of them.
        let Some(Bus::Subscribe { tag, .. }) = self.out.back() else { return };
        self.link = BusState::Rising(*tag);
        // Late answers to an earlier question would leave gaps.
        self.syncs += 1;
        let sync = self.syncs;
        self.others.values_mut().for_each(|other| {
            (other.synced, other.behind, other.asked) = (false, true, None);
            (other.sync, other.heard) = (sync, now);
        });
        self.absent.values_mut().for_each(|absent| absent.since = now);
        let others = self.others.values_mut().map(|other| &mut other.place);
        let away = self.absent.values_mut().chain(self.gone.values_mut()).map(|absent| &mut absent.place);
        others.chain(away).for_each(Position::lose);
        let asks = self.others.values().any(|other| other.place.missed_after().is_some());
        self.pushed.rise(self.number, asks, now);
    }
}
