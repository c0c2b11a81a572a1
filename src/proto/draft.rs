//! A message under construction.

use serde::Serialize;
use serde_json::Value;

use super::{Message, MessageKind, Status};

/// Writes a message member by member, in the order of the calls.
///
/// ```
/// use symple::proto::{Draft, MessageKind};
/// let text = Draft::new(MessageKind::Message).to("bob").subtype("chat").data(&"hello").finish();
/// assert_eq!(text, r#"{"type":"message","to":"bob","subtype":"chat","data":"hello"}"#);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Draft {
    text: String,
}

impl Draft {
    /// Begins a message.
    pub fn new(kind: MessageKind) -> Self {
        Draft { text: format!("{{\"type\":{}", Value::from(kind.as_str())) }
    }

    /// `to`: an address, a user or a room.
    pub fn to(self, to: &str) -> Self {
        self.with("to", to)
    }

    /// `to`: everyone the entries reach, one copy each.
    pub fn to_all<S: AsRef<str>>(self, to: &[S]) -> Self {
        let to: Vec<&str> = to.iter().map(AsRef::as_ref).collect();
        self.with("to", &to)
    }

    /// `subtype`.
    pub fn subtype(self, subtype: &str) -> Self {
        self.with("subtype", subtype)
    }

    /// `id`.
    pub fn id(self, id: &str) -> Self {
        self.with("id", id)
    }

    /// `data`.
    pub fn data<T: Serialize + ?Sized>(self, data: &T) -> Self {
        self.with("data", data)
    }

    /// `receipt`: the server reports how many sessions the message was delivered to, within a second.
    pub fn receipt(self) -> Self {
        self.with("receipt", &true)
    }

    /// A command's members: its node, its action and their `data`.
    pub(crate) fn command<T: Serialize + ?Sized>(self, node: &str, action: &str, data: &T) -> Self {
        self.with("node", node).with("action", action).data(data)
    }

    /// The members of a reply to a command, under the command's own id.
    pub(crate) fn reply<T: Serialize + ?Sized>(self, command: &Message, status: Status, data: &T) -> Self {
        let copied =
            ["id", "node", "action"].into_iter().filter_map(|member| Some((member, command.raw(member)?)));
        let draft = copied.fold(self, |draft, (member, raw)| draft.raw(member, raw));
        draft.with("status", &status.0).data(data)
    }

    /// Any member. A value that JSON cannot represent (a map whose keys are not strings) becomes `null`.
    pub fn with<T: Serialize + ?Sized>(self, member: &str, value: &T) -> Self {
        let value = serde_json::to_string(value).unwrap_or_else(|_| "null".into());
        self.raw(member, &value)
    }

    /// Any member whose value is already JSON. The caller guarantees that it is valid.
    pub fn raw(mut self, member: &str, value: &str) -> Self {
        self.text.push(',');
        self.text.push_str(&Value::from(member).to_string());
        self.text.push(':');
        self.text.push_str(value);
        self
    }

    /// The frame.
    pub fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }
}

impl std::fmt::Debug for Draft {
    /// Only the length: a draft may hold a token or SDP.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft").field("bytes", &self.text.len()).finish()
    }
}
