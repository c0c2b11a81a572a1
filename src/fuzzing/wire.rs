//! The path of every frame: its head, the rewritten `from`, the merged presence, the bodies of calls.

use serde_json::Value;

use super::bytes::Bytes;
use crate::call::body::{Candidate, Description, End, EndReason};
use crate::proto::{
    Address, Head, Malformed, Message, MessageKind, Object, Peer, Target, To, presence as merged, stamped,
    walk,
};

const FROM: &str = "alice|9f";

/// A second parser's view of a frame: of duplicate members, the last counts. `Err(true)`: valid JSON with a number or
/// an escape that this parser does not support.
fn judge(text: &str) -> Result<Value, bool> {
    serde_json::from_str(text).map_err(|e| {
        let words = e.to_string();
        ["number out of range", "surrogate", "hex escape"].iter().any(|known| words.contains(known))
    })
}

/// Heads: a second JSON parser agrees, and a rewritten `from` changes nothing else.
pub fn head(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    addresses(text);
    let judged = judge(text);
    let head = match (Head::parse(text), &judged) {
        (Ok(head), _) => head,
        (Err(Malformed::Twice(member)), _) => return assert!(count(text, member) > 1),
        (Err(Malformed::NoType), Ok(value)) => return assert!(!value["type"].is_string(), "{text}"),
        (Err(Malformed::Json(_)), Ok(value)) => return assert!(!value.is_object(), "{text}"),
        (Err(Malformed::TooDeep), Ok(_)) => panic!("the second parser accepts this depth: {text}"),
        (Err(_), Err(_)) => return,
    };
    let stamp = stamped(&head, FROM);
    let again = Head::parse(&stamp).expect("a stamped frame is a frame");
    assert_eq!(again.froms.len(), 1);
    assert_eq!(again.from, Some("\"alice|9f\""));
    assert_eq!(stamped(&again, FROM), stamp, "stamping twice changes nothing");
    let message = Message::parse(text).expect("a frame with a head is a message");
    assert_eq!(message.as_str(), text);
    assert_eq!(message.kind().as_str(), &*head.kind);
    assert_eq!(MessageKind::from(&*head.kind).as_str(), &*head.kind);
    let value = match judged {
        Ok(value) => value,
        Err(known) => return assert!(known, "a head was parsed from invalid JSON: {text}"),
    };
    let object = value.as_object().expect("a head is an object's");
    assert_eq!(value["type"].as_str(), Some(&*head.kind));
    assert_eq!(head.probe, value["probe"] == true);
    assert_eq!(head.receipt, value["receipt"] == true);
    for (member, raw) in
        [("id", head.id), ("subtype", head.subtype), ("data", head.data), ("room", head.room)]
    {
        let read = raw.map(|raw| serde_json::from_str::<Value>(raw).expect("raw members are JSON"));
        assert_eq!(read.as_ref(), object.get(member), "{member}");
        assert_eq!(message.raw(member), raw, "{member}");
    }
    assert_eq!(head.to(), to(object.get("to")));
    let mut expected = object.clone();
    expected.insert("from".into(), FROM.into());
    assert_eq!(judge(&stamp), Ok(Value::Object(expected)), "nothing else changes");
}

/// `to` according to the protocol.
fn to(value: Option<&Value>) -> Option<To<'_>> {
    let name = |value: &Value| value.as_str().filter(|s| !s.is_empty()).map(|s| s.to_owned().into());
    match value {
        None => Some(To::Absent),
        Some(Value::Array(list)) => Some(To::List(list.iter().filter_map(name).collect())),
        Some(one) => name(one).map(To::One),
    }
}

/// How often a member occurs in a frame.
fn count(text: &str, member: &str) -> usize {
    let mut count = 0;
    walk(text, |name, _, _| count += usize::from(name == member)).expect("the head was walked");
    count
}

fn addresses(text: &str) {
    let address = Address::from(text);
    let joined = Address::new(address.user(), address.id());
    assert!(address.as_str() == text && !address.user().contains('|'));
    assert!(joined == address || !text.contains('|'), "{text}");
    match Target::parse(text) {
        None => assert!(text.is_empty() || text == "|"),
        Some(Target::Name(name)) => assert_eq!((name, text.contains('|')), (text, false)),
        Some(Target::User(user)) => assert_eq!((user, ""), (address.user(), address.id())),
        Some(Target::Id(id)) => assert_eq!(("", id), (address.user(), address.id())),
        Some(Target::Session { user, id }) => assert_eq!((user, id), (address.user(), address.id())),
    }
}

/// Presences: members that the server guarantees are its own, no secret passes, and merging in the roster agrees.
pub fn presence(data: &[u8]) {
    let mut bytes = Bytes(data);
    let forced_name = bytes.u8() & 1 == 1;
    let Ok(text) = std::str::from_utf8(bytes.0) else { return };
    let Ok(head) = Head::parse(text) else { return };
    let mut peer = Peer { id: "9f".into(), user: "alice".into(), name: "Al\"".into(), ..Peer::default() };
    let out = merged(&head, FROM, &peer, forced_name);
    let rebuilt = Head::parse(&out).expect("a rebuilt presence is a frame");
    assert_eq!(rebuilt.from, Some("\"alice|9f\""));
    let (Ok(value), Ok(given)) = (judge(&out), judge(text)) else { return };
    for member in ["token", "host", "rooms"] {
        assert!(value.get(member).is_none() && value["data"].get(member).is_none(), "{member} in {out}");
    }
    let told = value["data"].as_object().expect("data is the client's own");
    assert_eq!((told["id"].as_str(), told["user"].as_str()), (Some("9f"), Some("alice")));
    assert_eq!(told["online"], true);
    assert!(told["name"].as_str().is_some_and(|name| !name.is_empty()));
    for member in ["id", "user", "online", "name"] {
        assert_eq!(count(rebuilt.data.expect("written"), member), 1, "{member} once: {out}");
    }
    for (name, value_given) in given.as_object().expect("a head is an object's") {
        if !["from", "data", "token", "host", "rooms"].contains(&&**name) {
            assert_eq!(value.get(name), Some(value_given), "{name}");
        }
    }
    // Of duplicate names, the first counts here and the last in a map.
    let raw = head.data.filter(|raw| raw.starts_with('{'));
    if raw.is_none_or(|raw| count(raw, "name") < 2) {
        let own = given.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
        peer.online = true;
        peer.merge(own, forced_name);
        let roster: Object =
            serde_json::from_value(serde_json::to_value(&peer).expect("plain")).expect("plain");
        assert_eq!(&roster, told, "the roster and the presence agree");
    }
}

/// Bodies of call messages: printing reverses parsing.
pub fn body(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(candidate) = serde_json::from_str::<Candidate>(text) {
        let written = serde_json::to_string(&candidate).expect("plain");
        let read: Candidate = serde_json::from_str(&written).expect("just written");
        assert_eq!(serde_json::to_string(&read).expect("plain"), written);
        assert_eq!(candidate.is_end(), read.is_end());
        for member in ["candidate", "sdpMid", "sdpMLineIndex"] {
            assert_eq!(count(&written, member), 1);
        }
    }
    if let Ok(description) = serde_json::from_str::<Description>(text) {
        let written = serde_json::to_string(&description).expect("plain");
        assert_eq!(serde_json::from_str::<Description>(&written).expect("just written"), description);
    }
    let end = End::of(Some(text), EndReason::Declined);
    assert!(end.reason.code().len() <= 64 && end.message.len() <= 240);
    assert!(!end.to_string().is_empty() && !end.to_string().contains(char::is_control));
    assert_eq!(End::of(Some(&end.body()), EndReason::Ended), end, "an end survives a hop");
}
