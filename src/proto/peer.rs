//! What is known about a peer: the object in `welcome` and in the `data` of a presence.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Address;

/// A JSON object.
pub type Object = Map<String, Value>;

/// A peer as its roster entry describes it: what the server vouches for, and whatever the peer adds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// The session's id, assigned by the server.
    #[serde(default)]
    pub id: String,
    /// The user it belongs to.
    #[serde(default)]
    pub user: String,
    /// The display name.
    #[serde(default)]
    pub name: String,
    /// Whether it is online.
    #[serde(default)]
    pub online: bool,
    /// Its IP address as the server sees it; sent to the peer itself and to nobody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Capabilities and status: `peerType`, `type`, and anything an application adds.
    #[serde(flatten)]
    pub extra: Object,
}

impl Peer {
    /// `user|id`.
    pub fn address(&self) -> Address {
        Address::new(&self.user, &self.id)
    }

    /// The member `peerType`, such as `camera` or `person`.
    pub fn peer_type(&self) -> Option<&str> {
        self.extra.get("peerType")?.as_str()
    }

    /// Merges what a client says about itself, member by member. Members that belong to the server are
    /// ignored: `id`, `user`, `online`, `host`, `token`, `rooms`, and `name` when `forced_name`.
    pub fn merge(&mut self, data: Object, forced_name: bool) {
        for (key, value) in data {
            match &*key {
                "id" | "user" | "online" | "host" | "token" | "rooms" => {}
                "name" => {
                    if let (false, Some(name)) = (forced_name, value.as_str().filter(|n| !n.is_empty())) {
                        self.name = name.to_owned();
                    }
                }
                _ => _ = self.extra.insert(key, value),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_reads_and_writes_as_the_wire_has_it() {
        let text = r#"{"id":"9f","user":"alice","name":"Alice","online":true,"host":"192.0.2.7","peerType":"person"}"#;
        let peer: Peer = serde_json::from_str(text).expect("valid");
        assert_eq!((peer.peer_type(), peer.address().as_str()), (Some("person"), "alice|9f"));
        assert_eq!(serde_json::to_string(&peer).expect("plain values"), text);
    }

    #[test]
    fn a_merge_leaves_the_servers_members_alone() {
        let mut peer =
            Peer { id: "1".into(), user: "a".into(), name: "A".into(), online: true, ..Peer::default() };
        let data = serde_json::json!({"id":"2","user":"b","online":false,"host":"h","token":"t","rooms":[],"name":"N","x":1});
        let Value::Object(data) = data else { unreachable!("an object was written above") };
        peer.merge(data.clone(), true);
        assert_eq!(
            serde_json::to_value(&peer).expect("plain"),
            serde_json::json!({"id":"1","user":"a","name":"A","online":true,"x":1})
        );
        peer.merge(data, false);
        assert_eq!(peer.name, "N");
    }
}
