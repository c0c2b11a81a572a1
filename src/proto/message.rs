//! A received message that owns its text: typed head, untouched remainder.

use std::fmt;

use serde::de::DeserializeOwned;

use super::head::{Head, Malformed, string, walk};
use super::{Address, Status};

/// The `type` of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// Application data, including calls.
    Message,
    /// A peer's presence.
    Presence,
    /// A request or its reply.
    Command,
    /// Something happened.
    Event,
    /// A client's first frame.
    Auth,
    /// A client joins a room.
    Join,
    /// A client leaves a room.
    Leave,
    /// A client disconnects.
    Close,
    /// The server admits a client.
    Welcome,
    /// The server refuses something.
    Error,
    /// The client has joined a room.
    JoinOk,
    /// The client has left a room.
    LeaveOk,
    /// How many sessions a message was delivered to.
    Receipt,
    /// A type that this version does not know, as received.
    Other(Box<str>),
}

impl MessageKind {
    /// The spelling on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            MessageKind::Message => "message",
            MessageKind::Presence => "presence",
            MessageKind::Command => "command",
            MessageKind::Event => "event",
            MessageKind::Auth => "auth",
            MessageKind::Join => "join",
            MessageKind::Leave => "leave",
            MessageKind::Close => "close",
            MessageKind::Welcome => "welcome",
            MessageKind::Error => "error",
            MessageKind::JoinOk => "join:ok",
            MessageKind::LeaveOk => "leave:ok",
            MessageKind::Receipt => "receipt",
            MessageKind::Other(other) => other,
        }
    }

    /// Whether servers forward it from peer to peer.
    pub fn is_routed(&self) -> bool {
        matches!(
            self,
            MessageKind::Message | MessageKind::Presence | MessageKind::Command | MessageKind::Event
        )
    }
}

impl From<&str> for MessageKind {
    fn from(text: &str) -> Self {
        match text {
            "message" => MessageKind::Message,
            "presence" => MessageKind::Presence,
            "command" => MessageKind::Command,
            "event" => MessageKind::Event,
            "auth" => MessageKind::Auth,
            "join" => MessageKind::Join,
            "leave" => MessageKind::Leave,
            "close" => MessageKind::Close,
            "welcome" => MessageKind::Welcome,
            "error" => MessageKind::Error,
            "join:ok" => MessageKind::JoinOk,
            "leave:ok" => MessageKind::LeaveOk,
            "receipt" => MessageKind::Receipt,
            other => MessageKind::Other(other.into()),
        }
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a member cannot be read as the requested type.
#[derive(Debug)]
pub struct DataError {
    member: String,
    cause: serde_json::Error,
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\": {}", self.member, self.cause)
    }
}

impl std::error::Error for DataError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// A message as received. [`Message::get`] reads any member from the stored text.
#[derive(Clone, PartialEq)]
pub struct Message {
    text: Box<str>,
    kind: MessageKind,
    from: Option<Address>,
    id: Option<Box<str>>,
    subtype: Option<Box<str>>,
    probe: bool,
}

impl Message {
    /// Reads one frame.
    pub fn parse(text: impl Into<Box<str>>) -> Result<Message, Malformed> {
        let text = text.into();
        let owned = |raw: Option<&str>| raw.and_then(string).map(Box::<str>::from);
        let head = Head::parse(&text)?;
        let (kind, probe) = (MessageKind::from(&*head.kind), head.probe);
        let from = head.from.and_then(string).map(|from| Address::from(&*from));
        let (id, subtype) = (owned(head.id), owned(head.subtype));
        Ok(Message { kind, from, id, subtype, probe, text })
    }

    /// The whole frame, byte for byte.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `type`.
    pub fn kind(&self) -> &MessageKind {
        &self.kind
    }

    /// `from`: the sender's address, set by the server.
    pub fn from(&self) -> Option<&Address> {
        self.from.as_ref()
    }

    /// `id`, if it is a string.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// `subtype`, if it is a string.
    pub fn subtype(&self) -> Option<&str> {
        self.subtype.as_deref()
    }

    /// Whether this is a presence that asks for ours.
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// The raw JSON of a top-level member, exactly as received; the last one if there are several.
    pub fn raw(&self, member: &str) -> Option<&str> {
        let mut found = None;
        walk(&self.text, |name, value, _| {
            if name == member {
                found = Some(value);
            }
        })
        .expect("the text was walked when it was parsed");
        found
    }

    /// Reads a top-level member; `Ok(None)` if there is none.
    ///
    /// ```
    /// let m = symple::proto::Message::parse(r#"{"type":"event","name":"tick","time":7}"#)?;
    /// assert_eq!(m.get::<u64>("time")?, Some(7));
    /// assert!(m.get::<u64>("name").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get<T: DeserializeOwned>(&self, member: &str) -> Result<Option<T>, DataError> {
        let read =
            |raw| serde_json::from_str(raw).map_err(|cause| DataError { member: member.into(), cause });
        self.raw(member).map(read).transpose()
    }

    /// Reads `data`; a missing one reads as `null`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, DataError> {
        let raw = self.raw("data").unwrap_or("null");
        serde_json::from_str(raw).map_err(|cause| DataError { member: "data".into(), cause })
    }

    /// The status of an `error`, a `welcome` or a `receipt`.
    pub fn status(&self) -> Option<Status> {
        self.get("status").ok().flatten().map(Status)
    }
}

impl fmt::Debug for Message {
    /// Only the head: data may hold secrets and SDP.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("kind", &self.kind)
            .field("from", &self.from)
            .field("subtype", &self.subtype)
            .field("bytes", &self.text.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_goes_both_ways() {
        for text in [
            "message", "presence", "command", "event", "auth", "join", "leave", "close", "welcome", "error",
            "join:ok", "leave:ok", "receipt", "whatever",
        ] {
            assert_eq!(MessageKind::from(text).as_str(), text);
        }
        let routed = ["message", "presence", "command", "event"];
        assert!(routed.iter().all(|k| MessageKind::from(*k).is_routed()) && !MessageKind::Join.is_routed());
    }

    #[test]
    fn members_survive_as_they_came() {
        let text = r#"{"type":"command","id":"7","from":"a|1","node":"cam:zoom","status":200,"n":1.50}"#;
        let m = Message::parse(text).expect("valid");
        assert_eq!(m.as_str(), text);
        assert_eq!(
            (m.kind(), m.id(), m.from().map(Address::as_str)),
            (&MessageKind::Command, Some("7"), Some("a|1"))
        );
        assert_eq!((m.raw("n"), m.status()), (Some("1.50"), Some(Status::OK)));
        assert!(m.data::<String>().is_err() && m.data::<Option<u8>>().is_ok());
        assert!(!format!("{m:?}").contains("zoom"));
    }
}
