//! Messages from a program that is not a peer.

use serde::Serialize;

use super::nodes::Shared;
use super::{RedisError, RedisUrl};
use crate::proto::{Draft, MessageKind};
use crate::server::cluster::BROADCAST;

/// Sends messages to peers on all instances: without a WebSocket, by one publish each. Clones share one connection.
///
/// The builders set sender and recipients; each returns a new emitter and leaves the original unchanged:
///
/// ```no_run
/// # async fn f(emitter: symple::net::redis::Emitter) -> Result<(), symple::net::redis::RedisError> {
/// emitter.from("app|1").rooms(["team-a", "team-b"]).event("deployed", &"1.2.0").await?;
/// # Ok(())
/// # }
/// ```
///
/// A message without a recipient is an error, and so is one that no server heard (`unheard`), since none is connected to
/// Redis: nobody got it, so it can be sent again. A server that has lost its connection while others have theirs gets
/// from those what it missed, unless it is away for longer than [`RedisConfig::keep_for`](super::RedisConfig).
#[derive(Clone, Debug)]
pub struct Emitter {
    redis: Shared,
    from: Option<String>,
    to: Vec<String>,
}

impl Emitter {
    /// An emitter for this Redis. It does not connect before the first message.
    pub fn new(redis: RedisUrl) -> Self {
        Emitter { redis: Shared::new(redis), from: None, to: Vec::new() }
    }

    /// Sets the sender, such as `app|1`; peers see it unchanged.
    pub fn from(&self, address: &str) -> Self {
        Emitter { from: Some(address.into()), ..self.clone() }
    }

    /// Adds a recipient: `user|id`, `user`, or a room.
    pub fn to(&self, name: &str) -> Self {
        self.rooms([name])
    }

    /// Adds recipients: rooms, or anything that [`Emitter::to`] accepts. Each peer gets one copy.
    pub fn rooms<S: Into<String>>(&self, names: impl IntoIterator<Item = S>) -> Self {
        let mut more = self.clone();
        more.to.extend(names.into_iter().map(Into::into));
        more
    }

    /// Sends a `message` with this data.
    pub async fn send<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), RedisError> {
        self.publish(Draft::new(MessageKind::Message).data(data)).await
    }

    /// Sends a `message` of this subtype; pages that use the published browser client listen for it by name.
    pub async fn emit<T: Serialize + ?Sized>(&self, subtype: &str, data: &T) -> Result<(), RedisError> {
        self.publish(Draft::new(MessageKind::Message).subtype(subtype).data(data)).await
    }

    /// Sends an `event` with this name.
    pub async fn event<T: Serialize + ?Sized>(&self, name: &str, data: &T) -> Result<(), RedisError> {
        self.publish(Draft::new(MessageKind::Event).with("name", name).data(data)).await
    }

    /// Sends a `presence` with this data about the sender.
    pub async fn presence<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), RedisError> {
        self.publish(Draft::new(MessageKind::Presence).data(data)).await
    }

    /// Sends any message; adds `from` and `to` if the builders set them.
    pub async fn publish(&self, draft: Draft) -> Result<(), RedisError> {
        let text = self.print(draft)?;
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(BROADCAST).arg(text);
        let servers: u64 = self.redis.ask(BROADCAST, publish).await?;
        match servers {
            0 => {
                Err(RedisError::new("unheard", "No server is connected to Redis, so nobody got the message"))
            }
            _ => Ok(()),
        }
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
                Err(RedisError::new("malformed", "The message has no recipient"))
            }
            Some(_) => Ok(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_written_in_their_wire_format() {
        let emitter = Emitter::new("redis://127.0.0.1".parse().expect("literal")).from("app|1");
        let draft = || Draft::new(MessageKind::Message).subtype("order").data(&7);
        assert_eq!(
            emitter.to("alice").print(draft()).as_deref(),
            Ok(r#"{"type":"message","subtype":"order","data":7,"from":"app|1","to":"alice"}"#)
        );
        assert_eq!(
            emitter.rooms(["a", "b"]).print(Draft::new(MessageKind::Presence)).as_deref(),
            Ok(r#"{"type":"presence","from":"app|1","to":["a","b"]}"#)
        );
        assert_eq!(emitter.print(draft()).expect_err("to nobody").code(), "malformed");
    }
}
