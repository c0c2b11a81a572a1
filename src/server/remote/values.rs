//! The values that the hub and its cluster exchange.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::proto::{Address, Status, To};
use crate::server::ConnId;

/// A peer, as instances describe it to each other.
#[derive(Debug, Serialize, Deserialize)]
pub struct Card {
    pub(in crate::server) id: Box<str>,
    pub(in crate::server) user: Box<str>,
    pub(in crate::server) name: Box<str>,
    /// All of its named rooms.
    pub(in crate::server) rooms: Vec<Box<str>>,
    /// Its data; an object.
    pub(in crate::server) data: Box<RawValue>,
}

/// A message of a peer, for other instances.
#[derive(Debug)]
pub struct Outgoing {
    pub(in crate::server) conn: ConnId,
    pub(in crate::server) from: Address,
    /// The named rooms of the sender: the recipients' instance decides whom it may reach.
    pub(in crate::server) rooms: Vec<Arc<str>>,
    pub(in crate::server) to: To<'static>,
    pub(in crate::server) text: Arc<str>,
    /// Whether it contains the state of the peer.
    pub(in crate::server) is_state: bool,
    /// The raw id of the message, if its sender wants a receipt, and how many peers it reached here.
    pub(in crate::server) receipt: Option<(Box<str>, usize)>,
}

/// A message of a peer on another instance.
#[derive(Debug)]
pub struct Incoming {
    pub(in crate::server) instance: Arc<str>,
    pub(in crate::server) from: Address,
    pub(in crate::server) rooms: Vec<Box<str>>,
    pub(in crate::server) to: To<'static>,
    pub(in crate::server) text: Arc<str>,
    /// Whether it contains the state of the peer.
    pub(in crate::server) is_state: bool,
    /// Its number, if the instance wants to know how many peers it reached.
    pub(in crate::server) receipt: Option<u64>,
}

/// A peer holds another, or releases it. Both are identified by the ids of their sessions.
#[derive(Debug)]
pub struct Holding {
    /// The instance of the other one.
    pub(in crate::server) instance: Arc<str>,
    pub(in crate::server) by: Box<str>,
    /// The sender that is held; without it, `by` releases all that it holds.
    pub(in crate::server) held: Option<Box<str>>,
    pub(in crate::server) ends: bool,
}

/// A value from the hub for the cluster. [`FromCluster::Heard`] ends a `wait`; `names` are users and rooms, and reach
/// the instances where somebody has that name.
#[derive(Debug)]
#[non_exhaustive]
pub enum ToCluster {
    /// A peer sent a message.
    Message {
        /// The names that it is for.
        names: Vec<Arc<str>>,
        /// The message.
        message: Outgoing,
    },
    /// The host pushed a message.
    Host {
        /// The names that it is for.
        names: Vec<Arc<str>>,
        /// The recipients.
        to: To<'static>,
        /// The message.
        text: Arc<str>,
    },
    /// The host kicks peers.
    Kick {
        /// The names under which they may be found.
        names: Vec<Arc<str>>,
        /// The address of the peers.
        address: Box<str>,
        /// The status of the error.
        status: Status,
        /// The message of the error.
        message: Box<str>,
    },
    /// One more peer here uses these names.
    Want {
        /// The names.
        names: Vec<Box<str>>,
        /// Ends once everything sent to them arrives here.
        wait: u64,
    },
    /// A peer waits for a name that is in use already.
    Await {
        /// The name.
        name: Box<str>,
        /// Ends once everything sent to it arrives here.
        wait: u64,
    },
    /// One peer fewer uses a name.
    Unwant {
        /// The name.
        name: Arc<str>,
    },
    /// Announce a peer here under these names.
    Peer {
        /// The names.
        names: Vec<Arc<str>>,
        /// The peer.
        card: Card,
        /// A message with what changed in its data comes next.
        told: bool,
    },
    /// A peer here went offline.
    Gone {
        /// The names under which it was announced.
        names: Vec<Arc<str>>,
        /// The id of its session.
        id: Box<str>,
    },
    /// Which other peers are in a room?
    Ask {
        /// The name of the room.
        name: Arc<str>,
        /// Whether it is a user's own room.
        own: bool,
    },
    /// Answers [`FromCluster::ListRooms`].
    Rooms {
        /// The instance to ask.
        instance: Arc<str>,
        /// The number of the question.
        sync: u64,
        /// Users with peers here.
        users: Vec<Arc<str>>,
        /// Named rooms with members here.
        rooms: Vec<Arc<str>>,
    },
    /// Answers [`FromCluster::ListPeers`].
    Peers {
        /// The instance that asked.
        instance: Arc<str>,
        /// The peers.
        cards: Vec<Card>,
        /// Its question.
        question: Question,
    },
    /// Answers a [`FromCluster::Message`] that asks for a count.
    Delivered {
        /// The instance of the sender.
        instance: Arc<str>,
        /// The number of the message.
        n: u64,
        /// How many peers it reached here.
        delivered: usize,
    },
    /// A peer here holds one on another instance, or releases it.
    Hold {
        /// Both peers, and whether the hold ends.
        holding: Holding,
    },
    /// How long a sender was held in the last minute.
    Spent {
        /// The instance to tell.
        instance: Arc<str>,
        /// The id of the session.
        id: Box<str>,
        /// In ms.
        millis: u64,
    },
    /// This instance shuts down.
    Bye,
}

/// Details of another instance's question for peers.
#[derive(Debug)]
pub struct Question {
    pub(in crate::server) sync: Option<u64>,
    pub(in crate::server) since: Option<u64>,
    /// The asking instance has just met this one, which knows better what it owes.
    pub(in crate::server) first: bool,
}

/// A value from the cluster for the hub: pass it to [`Hub::handle_cluster`](crate::server::Hub::handle_cluster).
#[derive(Debug)]
#[non_exhaustive]
pub enum FromCluster {
    /// The state of the cluster changed.
    Reaches {
        /// Other instances are reachable.
        up: bool,
        /// Messages for them are sent, or kept until they can be.
        takes: bool,
    },
    /// A wait has ended.
    Heard {
        /// Its number.
        wait: u64,
    },
    /// The result of a message with a receipt.
    Receipt {
        /// Its sender.
        conn: ConnId,
        /// Its raw id.
        id: Box<str>,
        /// How many peers it reached.
        delivered: usize,
    },
    /// Messages of these connections were dropped.
    Unsent {
        /// Their senders.
        conns: Vec<ConnId>,
    },
    /// Too much is waiting for the bus: hold a sender.
    HoldForBus {
        /// Its connection.
        conn: ConnId,
    },
    /// Release everybody who is held because of the bus.
    FreeForBus,
    /// Which rooms have members here?
    ListRooms {
        /// The instance that will be asked about them.
        instance: Arc<str>,
        /// The number of the question.
        sync: u64,
    },
    /// Which peers are here, of these users and rooms?
    ListPeers {
        /// The instance that asks.
        instance: Arc<str>,
        /// Users.
        users: Vec<Box<str>>,
        /// Named rooms.
        rooms: Vec<Box<str>>,
        /// Details of the question.
        question: Question,
    },
    /// A peer of another instance sent a message.
    Message {
        /// The message.
        message: Incoming,
    },
    /// A message for some of our peers was dropped.
    Missed {
        /// The sender; empty for the host.
        from: Address,
        /// The sender's named rooms.
        rooms: Vec<Box<str>>,
        /// The recipients.
        to: To<'static>,
        /// How long ago it was sent: who came later missed nothing.
        ago: Duration,
    },
    /// Tell the peers that missed something.
    TellMissed,
    /// A host pushed a message on another instance, or a program on the broadcast channel.
    Host {
        /// The message.
        text: Box<str>,
    },
    /// A host kicks peers.
    Kick {
        /// The address of the peers.
        address: Box<str>,
        /// The status of the error.
        status: Status,
        /// The message of the error.
        message: Box<str>,
    },
    /// The state of a peer on another instance.
    Peer {
        /// Its instance.
        instance: Arc<str>,
        /// The peer.
        card: Card,
        /// A message of its own announces what changed in its data.
        told: bool,
        /// The number of the last question to its instance.
        sync: u64,
    },
    /// Peers on another instance went offline.
    Gone {
        /// Their instance.
        instance: Arc<str>,
        /// The ids of their sessions.
        ids: Vec<Box<str>>,
    },
    /// Peers of an instance that were last reported before this question are gone.
    GoneBefore {
        /// The instance.
        instance: Arc<str>,
        /// The number of the question.
        sync: u64,
    },
    /// An instance is gone.
    Buried {
        /// The instance.
        instance: Arc<str>,
    },
    /// All holds by and of the peers of an instance end, or of all instances.
    Free {
        /// The instance.
        instance: Option<Arc<str>>,
    },
    /// A peer of another instance holds one here, or releases it.
    Hold {
        /// Both peers, and whether the hold ends.
        holding: Holding,
    },
    /// How long a sender was held in the last minute, as counted by another instance.
    Spent {
        /// The instance.
        instance: Arc<str>,
        /// The id of the session, there or here.
        id: Box<str>,
        /// In ms.
        millis: u64,
    },
}
