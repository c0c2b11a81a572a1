//! Peers of other instances, as the hub sees them: what it exchanges with the [`cluster`](super::cluster).
//!
//! The hub knows neither the bus nor the instances. It sends [`ToCluster`] values and receives [`FromCluster`] values;
//! a hub without a cluster sends none. The driver of both moves the values after each input
//! ([`Cluster::exchange`](super::cluster::Cluster::exchange)), so that neither ever waits for the other.

mod incoming;
mod outgoing;
mod peers;
mod values;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::slab::Key;

pub(super) use outgoing::Spread;
pub(super) use peers::Away;
pub use values::{Card, FromCluster, Holding, Incoming, Outgoing, Question, ToCluster};

/// Something that waits for the cluster.
#[derive(Debug)]
pub(super) enum Wait {
    Admit(Key),
    /// A join of this room. If the peer `enters` it, it is announced there.
    Join {
        key: Key,
        room: Box<str>,
        enters: bool,
    },
    /// Ended early; the subscription to the room is still pending.
    Settled {
        room: Box<str>,
    },
}

impl Wait {
    fn room(&self) -> Option<&str> {
        match self {
            Wait::Admit(_) => None,
            Wait::Join { room, .. } | Wait::Settled { room } => Some(room),
        }
    }
}

/// The additional state of a hub that is one of several.
#[derive(Debug, Default)]
pub(super) struct Remote {
    out: VecDeque<ToCluster>,
    up: bool,
    takes: bool,
    waits: BTreeMap<u64, Wait>,
    last_wait: u64,
    /// Named rooms that somebody here is about to enter, and how many waits each has. Messages in them do not arrive
    /// yet, so peers that are reported to be in them may have left meanwhile.
    pending: HashMap<Box<str>, u32>,
    /// Peers that have a seat here, by their instances and ids.
    peers: BTreeMap<Arc<str>, BTreeMap<Box<str>, Key>>,
    /// Peers that missed something and were not told yet.
    missing: BTreeSet<Key>,
}

impl Remote {
    fn send(&mut self, message: ToCluster) {
        self.out.push_back(message);
    }

    pub(super) fn poll(&mut self) -> Option<ToCluster> {
        self.out.pop_front()
    }

    pub(super) fn has_more(&self) -> bool {
        !self.out.is_empty()
    }

    fn wait(&mut self, wait: Wait) -> u64 {
        if let Some(room) = wait.room() {
            *self.pending.entry(room.into()).or_default() += 1;
        }
        self.last_wait += 1;
        self.waits.insert(self.last_wait, wait);
        self.last_wait
    }

    fn end_wait(&mut self, n: u64) -> Option<Wait> {
        let wait = self.waits.remove(&n)?;
        if let Some(room) = wait.room()
            && let Some(count) = self.pending.get_mut(room)
        {
            *count -= 1;
            if *count == 0 {
                self.pending.remove(room);
            }
        }
        Some(wait)
    }

    /// Ends the waits of a peer for a room early.
    fn settle(&mut self, key: Key, room: &str) -> Vec<Wait> {
        let is = |wait: &&mut Wait| matches!(wait, Wait::Join { key: of, room: name, .. } if *of == key && **name == *room);
        let due = self.waits.values_mut().filter(is);
        due.map(|wait| std::mem::replace(wait, Wait::Settled { room: room.into() })).collect()
    }

    /// Whether everything sent in a named room arrives here, given a bus and a member here.
    fn hears(&self, room: &str) -> bool {
        !self.pending.contains_key(room)
    }

    fn peer(&self, instance: &str, id: &str) -> Option<Key> {
        self.peers.get(instance)?.get(id).copied()
    }

    fn peers_of(&self, instance: &str) -> Vec<Key> {
        self.peers.get(instance).map_or_else(Vec::new, |peers| peers.values().copied().collect())
    }

    fn add_peer(&mut self, instance: &Arc<str>, id: &str, key: Key) {
        self.peers.entry(instance.clone()).or_default().insert(id.into(), key);
    }

    fn remove_peer(&mut self, instance: &str, id: &str) {
        let Some(peers) = self.peers.get_mut(instance) else { return };
        peers.remove(id);
        if peers.is_empty() {
            self.peers.remove(instance);
        }
    }
}
