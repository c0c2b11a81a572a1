//! The peers that presences announced, bounded in number and in bytes per peer.

use std::collections::BTreeMap;

use crate::proto::{Address, MAX_USER, Object, Peer};

/// A peer was added, updated or removed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    Added(Peer),
    Updated(Peer),
    Removed(Peer),
}

/// The longest session id that is accepted. Our server's have 22 characters; those of others are not much
/// longer.
const MAX_ID: usize = 128;

struct Entry {
    peer: Peer,
    /// Seen since the last `welcome`.
    seen: bool,
}

/// All known peers, by session id.
pub(super) struct Roster {
    peers: BTreeMap<String, Entry>,
    max_peers: usize,
    max_data: usize,
}

impl Roster {
    pub(super) fn new(max_peers: usize, max_data: usize) -> Self {
        Roster { peers: BTreeMap::new(), max_peers, max_data }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values().map(|entry| &entry.peer)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Peer> {
        self.peers.get(id).map(|entry| &entry.peer)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Handles a presence of `peer` with its `data`, whose `online` decides whether the peer came or went.
    /// The data is merged into what is known, as on the server: a presence may carry a single member.
    pub(super) fn presence(&mut self, peer: &Address, data: Object) -> Option<Change> {
        let (user, id) = (peer.user(), peer.id());
        if id.is_empty() || user.is_empty() || id.len() > MAX_ID || user.len() > MAX_USER {
            return None;
        }
        if data.get("online").is_some_and(|online| online == false) {
            return self.remove(id);
        }
        if let Some(entry) = self.peers.get_mut(id) {
            entry.seen = true;
            let next = merged(Peer { user: user.to_owned(), ..entry.peer.clone() }, data, self.max_data);
            if next == entry.peer {
                return None;
            }
            entry.peer = next.clone();
            return Some(Change::Updated(next));
        }
        if self.peers.len() >= self.max_peers {
            log::debug!("the roster is full with {} peers; ignoring another one", self.max_peers);
            return None;
        }
        let (id, user) = (id.to_owned(), user.to_owned());
        let fresh = Peer { id: id.clone(), name: user.clone(), user, online: true, ..Peer::default() };
        let peer = merged(fresh, data, self.max_data);
        self.peers.insert(id, Entry { peer: peer.clone(), seen: true });
        Some(Change::Added(peer))
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Change> {
        self.peers.remove(id).map(|entry| Change::Removed(Peer { online: false, ..entry.peer }))
    }

    /// After a new `welcome`: whoever is not seen from now on is removed by [`Roster::sweep`].
    pub(super) fn unsee(&mut self) {
        self.peers.values_mut().for_each(|entry| entry.seen = false);
    }

    /// Removes those not seen again.
    pub(super) fn sweep(&mut self) -> Vec<Change> {
        let gone: Vec<String> =
            self.peers.iter().filter(|(_, e)| !e.seen).map(|(id, _)| id.clone()).collect();
        gone.iter().filter_map(|id| self.remove(id)).collect()
    }
}

/// Merges new data into known data. If the result is too large, keeps only the new; if that is too large as
/// well, only the old.
fn merged(known: Peer, data: Object, max: usize) -> Peer {
    let fits = |peer: &Peer| serde_json::to_string(peer).is_ok_and(|text| text.len() <= max);
    let mut next = known.clone();
    next.merge(data.clone(), false);
    if fits(&next) {
        return next;
    }
    let mut next = Peer { extra: Object::new(), ..known.clone() };
    next.merge(data, false);
    if fits(&next) { next } else { known }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(value: Value) -> Object {
        match value {
            Value::Object(object) => object,
            other => panic!("{other} is no object"),
        }
    }

    fn tell(roster: &mut Roster, address: &str, data: Value) -> Option<Change> {
        roster.presence(&address.into(), object(data))
    }

    #[test]
    fn peers_come_change_and_go() {
        let mut roster = Roster::new(8, 1024);
        let Some(Change::Added(bob)) =
            tell(&mut roster, "bob|1", json!({"id":"9","online":true,"peerType":"camera","host":"h"}))
        else {
            panic!("added")
        };
        assert_eq!((bob.address().as_str(), &*bob.name, bob.peer_type()), ("bob|1", "bob", Some("camera")));
        assert_eq!(bob.host, None, "a peer's address is nobody's business");
        assert_eq!(tell(&mut roster, "bob|1", json!({"online":true})), None, "nothing new");
        let Some(Change::Updated(bob)) = tell(&mut roster, "bob|1", json!({"busy":true})) else {
            panic!("updated")
        };
        assert_eq!((bob.extra.len(), bob.peer_type()), (2, Some("camera")), "merged, not replaced");
        let Some(Change::Removed(bob)) = tell(&mut roster, "bob|1", json!({"online":false})) else {
            panic!("removed")
        };
        assert_eq!((bob.online, bob.peer_type()), (false, Some("camera")));
        assert_eq!(tell(&mut roster, "bob|1", json!({"online":false})), None, "once");
    }

    #[test]
    fn what_names_no_session_is_no_peer() {
        let mut roster = Roster::new(8, 1024);
        let long = format!("bob|{}", "1".repeat(MAX_ID + 1));
        for address in ["", "bob", "|", "|1", "bob|", &long, &format!("{}|1", "b".repeat(MAX_USER + 1))] {
            assert_eq!(tell(&mut roster, address, json!({})), None, "{address}");
        }
        assert!(roster.is_empty());
    }

    #[test]
    fn it_is_bounded_in_peers_and_in_bytes() {
        let mut roster = Roster::new(2, 256);
        for n in 0..10 {
            tell(&mut roster, &format!("u|{n}"), json!({}));
        }
        assert_eq!(roster.iter().count(), 2);
        for n in 0..100 {
            tell(&mut roster, "u|0", json!({ format!("member{n}"): n }));
        }
        tell(&mut roster, "u|0", json!({"big": "x".repeat(1000), "name": "y".repeat(1000)}));
        let peer = roster.get("u|0".split_once('|').expect("two").1).expect("there");
        assert!(serde_json::to_string(peer).expect("plain").len() <= 256);
        assert!(peer.extra.contains_key("member99"), "the newest is kept");
    }

    #[test]
    fn a_sweep_takes_those_not_seen_again() {
        let mut roster = Roster::new(8, 1024);
        for address in ["a|1", "b|2"] {
            tell(&mut roster, address, json!({"x":1}));
        }
        roster.unsee();
        assert_eq!(tell(&mut roster, "b|2", json!({"x":1})), None, "seen again without a flicker");
        let gone = roster.sweep();
        assert!(matches!(&gone[..], [Change::Removed(peer)] if peer.user == "a"));
        assert_eq!(roster.sweep(), []);
    }
}
