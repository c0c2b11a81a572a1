//! What is known about a peer, and the presences that announce it.
//!
//! A peer's own members are kept as the JSON it sent, so a snapshot repeats them unchanged.

use std::sync::Arc;

use serde_json::Value;

use crate::proto::{Address, Object, Peer, walk};

use super::error::Refusal;

/// What a member costs besides its text when it is counted: its place in the list and two allocations.
const MEMBER: usize = 64;

/// A session's identity. Shared with the messages that announce its departure.
#[derive(Debug)]
pub(super) struct Who {
    pub address: Address,
    pub name: Box<str>,
}

/// What a peer adds about itself: `peerType`, capabilities, status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    members: Vec<(Box<str>, Box<str>)>,
}

/// The result of a merge.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Merged {
    /// The new profile, if it differs.
    pub profile: Option<Profile>,
    /// A name, if there is one among the members.
    pub name: Option<String>,
}

impl Profile {
    /// Merges the object `raw` member by member; anything but an object has nothing to merge. `taken` bytes
    /// of `max` are used by something else.
    pub(super) fn merge(&self, raw: &str, taken: usize, max: usize) -> Result<Merged, Refusal> {
        let mut merged = Merged::default();
        let mut grown = self.clone();
        _ = walk(raw, |member, value, _| match member {
            "id" | "user" | "online" | "host" | "token" | "rooms" => {}
            "name" => {
                let name = serde_json::from_str::<String>(value).ok();
                merged.name = name.filter(|name| !name.is_empty()).or(merged.name.take());
            }
            _ => grown.set(member, value),
        });
        let name = merged.name.as_ref().map_or(0, String::len);
        if grown.size() + name.max(taken) > max {
            return Err(Refusal::bad(format!("A peer's name and data may have at most {max} bytes")));
        }
        merged.profile = Some(grown).filter(|grown| grown != self);
        Ok(merged)
    }

    /// Sets what the host says about the peer.
    pub(super) fn set_all(&mut self, data: &Object) {
        for (member, value) in data {
            match &**member {
                "id" | "user" | "name" | "online" | "host" | "token" | "rooms" => {}
                _ => self.set(member, &value.to_string()),
            }
        }
    }

    /// Reads an object that [`Profile::json`] wrote; anything else, or more than `max` bytes, reads as empty.
    pub(super) fn read(raw: &str, max: usize) -> Self {
        let merged = Profile::default().merge(raw, 0, max);
        merged.ok().and_then(|merged| merged.profile).unwrap_or_default()
    }

    /// The members as an object.
    pub(super) fn json(&self) -> String {
        let mut text = String::from("{");
        for (member, value) in &self.members {
            push(&mut text, member, value);
        }
        text.push('}');
        text
    }

    fn set(&mut self, member: &str, value: &str) {
        match self.members.iter_mut().find(|(name, _)| **name == *member) {
            Some((_, old)) if **old == *value => {}
            Some((_, old)) => *old = value.into(),
            None => self.members.push((member.into(), value.into())),
        }
    }

    fn size(&self) -> usize {
        self.members.iter().map(|(name, value)| name.len() + value.len() + MEMBER).sum()
    }
}

/// The peer as JSON. Only the peer itself may see `host`.
pub(super) fn object(who: &Who, profile: &Profile, host: Option<&str>) -> String {
    let mut text = identity(who, true);
    if let Some(host) = host {
        push(&mut text, "host", &Value::from(host).to_string());
    }
    for (member, value) in &profile.members {
        push(&mut text, member, value);
    }
    text.push('}');
    text
}

/// The presence that announces a peer: a snapshot, or its arrival.
pub(super) fn online(who: &Who, profile: &Profile) -> Arc<str> {
    frame(who, &object(who, profile, None))
}

/// The presence that announced a peer that has left since: its name, and nothing else about it.
pub(super) fn was(who: &Who) -> Arc<str> {
    frame(who, &(identity(who, true) + "}"))
}

/// The presence that announces a peer's departure.
pub(super) fn offline(who: &Who) -> Arc<str> {
    frame(who, &(identity(who, false) + "}"))
}

/// The peer as values, for the host.
pub(super) fn peer(who: &Who, profile: &Profile, online: bool) -> Peer {
    let read = |value: &str| serde_json::from_str(value).ok();
    let extra = profile.members.iter().filter_map(|(member, value)| Some((member.to_string(), read(value)?)));
    Peer {
        id: who.address.id().into(),
        user: who.address.user().into(),
        name: who.name.to_string(),
        online,
        host: None,
        extra: extra.collect(),
    }
}

fn frame(who: &Who, data: &str) -> Arc<str> {
    let from = Value::from(who.address.as_str());
    format!(r#"{{"type":"presence","from":{from},"data":{data}}}"#).into()
}

fn identity(who: &Who, online: bool) -> String {
    let [id, user, name] = [who.address.id(), who.address.user(), &who.name].map(Value::from);
    format!(r#"{{"id":{id},"user":{user},"name":{name},"online":{online}"#)
}

fn push(text: &mut String, member: &str, value: &str) {
    if !text.ends_with('{') {
        text.push(',');
    }
    text.push_str(&Value::from(member).to_string());
    text.push(':');
    text.push_str(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> Who {
        Who { address: Address::new("alice", "9f"), name: "Al\"ice".into() }
    }

    fn merged(profile: &Profile, raw: &str) -> Profile {
        profile.merge(raw, 0, 1000).expect("small").profile.expect("something new")
    }

    #[test]
    fn presences_are_written_in_their_wire_format() {
        let profile =
            merged(&Profile::default(), r#"{"peerType":"person","n":1.0,"big":123456789012345678901}"#);
        assert_eq!(
            &*online(&alice(), &profile),
            r#"{"type":"presence","from":"alice|9f","data":{"id":"9f","user":"alice","name":"Al\"ice","online":true,"peerType":"person","n":1.0,"big":123456789012345678901}}"#
        );
        assert_eq!(
            &*offline(&alice()),
            r#"{"type":"presence","from":"alice|9f","data":{"id":"9f","user":"alice","name":"Al\"ice","online":false}}"#
        );
        assert_eq!(
            object(&alice(), &Profile::default(), Some("192.0.2.7")),
            r#"{"id":"9f","user":"alice","name":"Al\"ice","online":true,"host":"192.0.2.7"}"#
        );
    }

    #[test]
    fn a_merge_replaces_members_but_not_those_of_the_server() {
        let first = merged(&Profile::default(), r#"{"a":1,"b":2}"#);
        let second = merged(
            &first,
            r#"{"\u0062":[3.0],"c":null,"id":"x","user":"x","online":false,"host":"h","token":"t","rooms":[]}"#,
        );
        assert_eq!(
            object(&alice(), &second, None),
            r#"{"id":"9f","user":"alice","name":"Al\"ice","online":true,"a":1,"b":[3.0],"c":null}"#
        );
        for nothing in [r#"{"a":1}"#, "[]", "7", "null", "{"] {
            assert_eq!(first.merge(nothing, 0, 1000), Ok(Merged::default()), "{nothing}");
        }
        let name = |raw: &str| first.merge(raw, 0, 1000).expect("small").name;
        assert_eq!(name(r#"{"name":"N"}"#).as_deref(), Some("N"));
        assert_eq!((name(r#"{"name":""}"#), name(r#"{"name":7}"#)), (None, None));
        let peer = peer(&alice(), &second, true);
        assert_eq!((peer.extra["b"].to_string(), peer.host), ("[3.0]".into(), None));
    }

    #[test]
    fn the_stored_data_of_a_peer_is_bounded() {
        let profile = Profile::default();
        let data = format!(r#"{{"a":"{}"}}"#, "x".repeat(500));
        assert!(profile.merge(&data, 0, 600).is_ok());
        assert_eq!(profile.merge(&data, 100, 600).expect_err("with a name").status.0, 400);
        let many: Vec<String> = (0..100).map(|n| format!("\"{n}\":0")).collect();
        assert!(profile.merge(&format!("{{{}}}", many.join(",")), 0, 1000).is_err());
        let same: Vec<&str> = vec!["\"n\":0"; 1000];
        assert!(profile.merge(&format!("{{{}}}", same.join(",")), 0, 100).is_ok());
    }
}
