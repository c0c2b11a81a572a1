//! Messages from a program that is no peer.

use serde::Serialize;

use super::nodes::Shared;
use super::{RedisError, RedisUrl};
use crate::proto::{Draft, Kind};
use crate::server::cluster::BROADCAST;

/// Pushes messages to peers on all instances: no WebSocket, one publish each. Clones share one connection.
///
/// The builders say from whom and to whom, and leave the emitter they were called on as it was:
///
/// ```no_run
/// # async fn f(emitter: symple::net::redis::Emitter) -> Result<(), symple::net::redis::RedisError> {
/// emitter.from("app|1").rooms(["team-a", "team-b"]).event("deployed", &"1.2.0").await?;
/// # Ok(())
/// # }
/// ```
///
/// A message without a recipient goes nowhere, and that is an error here.
#[derive(Clone, Debug)]
pub struct Emitter {
    redis: Shared,
    from: Option<String>,
    to: Vec<String>,
}

impl Emitter {
    /// At this Redis. Nothing is connected before the first message.
    pub fn new(redis: RedisUrl) -> Self {
        Emitter { redis: Shared::new(redis), from: None, to: Vec::new() }
    }

    /// Who it is from, such as `app|1`; peers see it as it is.
    pub fn from(&self, address: &str) -> Self {
        Emitter { from: Some(address.into()), ..self.clone() }
    }

    /// One more recipient: `user|id`, `user`, or a room.
    pub fn to(&self, name: &str) -> Self {
        self.rooms([name])
    }

    /// More recipients: rooms, or whatever [`Emitter::to`] takes. A peer gets one copy.
    pub fn rooms<S: Into<String>>(&self, names: impl IntoIterator<Item = S>) -> Self {
        let mut more = self.clone();
        more.to.extend(names.into_iter().map(Into::into));
        more
    }

    /// A `message` with this data.
    pub async fn send<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), RedisError> {
        self.publish(Draft::new(Kind::Message).data(data)).await
    }

    /// A `message` of this subtype, which pages that use the published browser client listen for by name.
    pub async fn emit<T: Serialize + ?Sized>(&self, subtype: &str, data: &T) -> Result<(), RedisError> {
        self.publish(Draft::new(Kind::Message).subtype(subtype).data(data)).await
    }

    /// An `event` of this name.
    pub async fn event<T: Serialize + ?Sized>(&self, name: &str, data: &T) -> Result<(), RedisError> {
        self.publish(Draft::new(Kind::Event).with("name", name).data(data)).await
    }

    /// A `presence` that tells this of the sender.
    pub async fn presence<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), RedisError> {
        self.publish(Draft::new(Kind::Presence).data(data)).await
    }

    /// Any message; `from` and `to` are added where the builders named them.
    pub async fn publish(&self, draft: Draft) -> Result<(), RedisError> {
        let text = self.print(draft)?;
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(BROADCAST).arg(text);
        self.redis.ask(BROADCAST, publish).await
    }

    fn print(&self, draft: Draft) -> Result<String, RedisError> {
        let draft = match &self.from {
            Some(from) => draft.with("from", from),
            None => draft,
        };
        let text = match &*self.to {
            [] => draft,
            [one] => draft.to(one),
            all => draft.to_all(all),
        }
        .finish();
        let to = crate::proto::Head::parse(&text).ok().and_then(|head| head.to());
        match to {
            None | Some(crate::proto::To::Absent) => {
                Err(RedisError::new("malformed", "The message names no recipient: say to whom it goes"))
            }
            Some(_) => Ok(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_printed_as_the_wire_has_them() {
        let emitter = Emitter::new("redis://127.0.0.1".parse().expect("literal")).from("app|1");
        let draft = || Draft::new(Kind::Message).subtype("order").data(&7);
        assert_eq!(
            emitter.to("alice").print(draft()).as_deref(),
            Ok(r#"{"type":"message","subtype":"order","data":7,"from":"app|1","to":"alice"}"#)
        );
        assert_eq!(
            emitter.rooms(["a", "b"]).print(Draft::new(Kind::Presence)).as_deref(),
            Ok(r#"{"type":"presence","from":"app|1","to":["a","b"]}"#)
        );
        assert_eq!(emitter.print(draft()).expect_err("to nobody").code(), "malformed");
    }
}
