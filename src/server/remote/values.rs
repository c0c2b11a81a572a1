//! What the hub and its cluster say to each other.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::proto::{Address, Status, To};
use crate::server::ConnId;

/// A peer as instances tell each other of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Card {
    pub(in crate::server) id: Box<str>,
    pub(in crate::server) user: Box<str>,
    pub(in crate::server) name: Box<str>,
    /// Its named rooms, all of them.
    pub(in crate::server) rooms: Vec<Box<str>>,
    /// What it adds to itself; an object.
    pub(in crate::server) data: Box<RawValue>,
}

/// A message of a peer, for those at other instances.
#[derive(Debug)]
pub struct Outgoing {
    pub(in crate::server) conn: ConnId,
    pub(in crate::server) from: Address,
    /// The named rooms of the sender: what it may reach is decided where its recipients are.
    pub(in crate::server) rooms: Vec<Arc<str>>,
    pub(in crate::server) to: To<'static>,
    pub(in crate::server) text: Arc<str>,
    /// It tells the state of the peer.
    pub(in crate::server) is_state: bool,
    /// The raw id of the message, if its sender wants a receipt, and how many it reached here.
    pub(in crate::server) receipt: Option<(Box<str>, usize)>,
}

/// A message of a peer at another instance.
#[derive(Debug)]
pub struct Incoming {
    pub(in crate::server) instance: Arc<str>,
    pub(in crate::server) from: Address,
    pub(in crate::server) rooms: Vec<Box<str>>,
    pub(in crate::server) to: To<'static>,
    pub(in crate::server) text: Arc<str>,
    /// It tells the state of the peer.
    pub(in crate::server) is_state: bool,
    /// Its number, if the instance wants to know how many it reached.
    pub(in crate::server) receipt: Option<u64>,
}

/// One peer holds another, or does so no more. Sessions by their ids.
#[derive(Debug)]
pub struct Holding {
    /// The instance of the other side.
    pub(in crate::server) instance: Arc<str>,
    pub(in crate::server) by: Box<str>,
    /// Who is held; without it, all are free whom `by` holds.
    pub(in crate::server) held: Option<Box<str>>,
    pub(in crate::server) ends: bool,
}

/// What the hub says to the cluster. A `wait` is answered by [`FromCluster::Heard`]; `names` are users and rooms, and
/// reach the instances where somebody is by that name.
#[derive(Debug)]
#[non_exhaustive]
pub enum ToCluster {
    /// A peer sent a message.
    Message {
        /// Where it goes.
        names: Vec<Arc<str>>,
        /// The message.
        message: Outgoing,
    },
    /// The host pushed a message.
    Host {
        /// Where it goes.
        names: Vec<Arc<str>>,
        /// To whom.
        to: To<'static>,
        /// The message.
        text: Arc<str>,
    },
    /// The host throws peers out.
    Kick {
        /// Where they may be.
        names: Vec<Arc<str>>,
        /// Whom.
        address: Box<str>,
        /// The number of the error.
        status: Status,
        /// Its words.
        message: Box<str>,
    },
    /// One more peer here concerns itself with these names.
    Want {
        /// Which.
        names: Vec<Box<str>>,
        /// To be answered when all that is said under them arrives here.
        wait: u64,
    },
    /// A peer waits for a name that is wanted already.
    Await {
        /// Which.
        name: Box<str>,
        /// To be answered when all that is said under it arrives here.
        wait: u64,
    },
    /// One peer fewer concerns itself with a name.
    Unwant {
        /// Which.
        name: Arc<str>,
    },
    /// A peer here is to be known under these names.
    Peer {
        /// Where.
        names: Vec<Arc<str>>,
        /// As it is.
        card: Card,
        /// What changed in its data is told by a message next.
        told: bool,
    },
    /// A peer here has gone.
    Gone {
        /// Where it was known.
        names: Vec<Arc<str>>,
        /// Its session.
        id: Box<str>,
    },
    /// Who else is in a room?
    Ask {
        /// Its name.
        name: Arc<str>,
        /// Whether it is a user's own.
        own: bool,
    },
    /// Answers [`FromCluster::ListRooms`].
    Rooms {
        /// For which instance.
        instance: Arc<str>,
        /// The number of the question.
        sync: u64,
        /// Users who are here.
        users: Vec<Arc<str>>,
        /// Named rooms that somebody here is in.
        rooms: Vec<Arc<str>>,
    },
    /// Answers [`FromCluster::ListPeers`].
    Peers {
        /// For which instance.
        instance: Arc<str>,
        /// The peers.
        cards: Vec<Card>,
        /// Its question.
        question: Question,
    },
    /// Answers a [`FromCluster::Message`] that wanted it.
    Delivered {
        /// The instance of the sender.
        instance: Arc<str>,
        /// The number of the message.
        n: u64,
        /// How many it reached here.
        delivered: usize,
    },
    /// A peer here holds one at another instance, or frees it.
    Hold {
        /// Who whom.
        holding: Holding,
    },
    /// For how long a sender was held in the last minute.
    Spent {
        /// Which instance is to know it.
        instance: Arc<str>,
        /// The session.
        id: Box<str>,
        /// In ms.
        millis: u64,
    },
    /// This instance ends.
    Bye,
}

/// What another instance asks when it asks who is there.
#[derive(Debug)]
pub struct Question {
    pub(in crate::server) sync: Option<u64>,
    pub(in crate::server) since: Option<u64>,
    /// This instance is new to who asks, and knows better what it owes.
    pub(in crate::server) first: bool,
}

/// What the cluster says to the hub: give it to [`Hub::handle_cluster`](crate::server::Hub::handle_cluster).
#[derive(Debug)]
#[non_exhaustive]
pub enum FromCluster {
    /// What the cluster is good for since now.
    Reaches {
        /// Other instances are reached.
        up: bool,
        /// Messages for them go out, or are kept for when they do.
        takes: bool,
    },
    /// A wait is over.
    Heard {
        /// Its number.
        wait: u64,
    },
    /// What became of a message.
    Receipt {
        /// Its sender.
        conn: ConnId,
        /// Its raw id.
        id: Box<str>,
        /// How many it reached.
        delivered: usize,
    },
    /// Messages of these were given up.
    Unsent {
        /// Their senders.
        conns: Vec<ConnId>,
    },
    /// Too much waits for the bus: a sender is to be held.
    HoldForBus {
        /// Which.
        conn: ConnId,
    },
    /// Nobody is to be held for the bus.
    FreeForBus,
    /// Which rooms is somebody here in?
    ListRooms {
        /// The instance that will be asked about them.
        instance: Arc<str>,
        /// The number of the question.
        sync: u64,
    },
    /// Who is here of these?
    ListPeers {
        /// The instance that asks.
        instance: Arc<str>,
        /// Users.
        users: Vec<Box<str>>,
        /// Named rooms.
        rooms: Vec<Box<str>>,
        /// What else it asks.
        question: Question,
    },
    /// A peer of another instance sent a message.
    Message {
        /// The message.
        message: Incoming,
    },
    /// A message was given up that was for some of ours.
    Missed {
        /// From whom; empty for the host.
        from: Address,
        /// The sender's named rooms.
        rooms: Vec<Box<str>>,
        /// To whom.
        to: To<'static>,
    },
    /// Those who missed something are to be told.
    TellMissed,
    /// A host pushed a message at another instance, or on the broadcast channel.
    Host {
        /// The message.
        text: Box<str>,
    },
    /// A host throws peers out.
    Kick {
        /// Whom.
        address: Box<str>,
        /// The number of the error.
        status: Status,
        /// Its words.
        message: Box<str>,
    },
    /// A peer at another instance as it is.
    Peer {
        /// Where.
        instance: Arc<str>,
        /// As it is.
        card: Card,
        /// A message of its own tells what changed in its data.
        told: bool,
        /// The number of the last question to its instance.
        sync: u64,
    },
    /// Peers at another instance have gone.
    Gone {
        /// Where.
        instance: Arc<str>,
        /// Their sessions.
        ids: Vec<Box<str>>,
    },
    /// Peers of an instance that were told of before a question have gone.
    GoneBefore {
        /// Where.
        instance: Arc<str>,
        /// The number of the question.
        sync: u64,
    },
    /// An instance is no more.
    Buried {
        /// Which.
        instance: Arc<str>,
    },
    /// Peers of an instance, or of all, hold nobody and are held by nobody.
    Free {
        /// Which.
        instance: Option<Arc<str>>,
    },
    /// A peer of another instance holds one here, or frees it.
    Hold {
        /// Who whom.
        holding: Holding,
    },
    /// For how long a sender was held in the last minute, by what another instance counts.
    Spent {
        /// The instance.
        instance: Arc<str>,
        /// The session, there or here.
        id: Box<str>,
        /// In ms.
        millis: u64,
    },
}
