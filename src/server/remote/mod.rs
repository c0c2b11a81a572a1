//! Peers of other instances, as the hub sees them: what it says to the [`cluster`](super::cluster), and what it is told.
//!
//! The hub knows neither the bus nor the instances. It speaks to the cluster by values, [`ToCluster`] one way and
//! [`FromCluster`] the other, and a hub that is alone says nothing. Whoever drives both moves the values after each
//! input ([`Cluster::exchange`](super::cluster::Cluster::exchange)), so that neither ever waits for the other.

mod hear;
mod peers;
mod say;
mod values;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::slab::Key;

pub(super) use peers::Away;
pub(super) use say::Spread;
pub use values::{Card, FromCluster, Holding, Incoming, Outgoing, Question, ToCluster};

/// What waits for the cluster.
#[derive(Debug)]
pub(super) enum Wait {
    Admit(Key),
    /// Into this room; it is made known there if it was not in it before.
    Join {
        key: Key,
        room: Box<str>,
        enters: bool,
    },
    /// It was ended early; the room is still to be heard of.
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

/// What a hub that is one of several keeps for that.
#[derive(Debug, Default)]
pub(super) struct Remote {
    out: VecDeque<ToCluster>,
    up: bool,
    takes: bool,
    waits: BTreeMap<u64, Wait>,
    last_wait: u64,
    /// Named rooms that somebody here waits to enter, and in how many ways: what is said in them does not arrive yet,
    /// so who is told to be in them may have left by then.
    pending: HashMap<Box<str>, u32>,
    /// Peers that have a seat here, by their instances and ids.
    peers: BTreeMap<Arc<str>, BTreeMap<Box<str>, Key>>,
    /// Who missed something and was not told yet.
    missing: BTreeSet<Key>,
}

impl Remote {
    fn say(&mut self, said: ToCluster) {
        self.out.push_back(said);
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

    /// Whether all that is said in a named room arrives here, if the bus is there and somebody here is in it.
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
