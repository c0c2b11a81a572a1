//! Sessions: the users of tokens.

use std::time::Duration;

use serde_json::Value;

use super::nodes::Shared;
use super::{RedisError, RedisUrl, key};
use crate::proto::{Object, Status, valid_user};
use crate::server::{Admission, Verdict};

/// The session of a token: a JSON object, of which the server reads `user`, `name`, `rooms` and `data`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    object: Object,
}

impl Session {
    /// A session for this user.
    pub fn new(user: &str) -> Self {
        Session::default().with("user", user)
    }

    /// Sets the display name.
    pub fn name(self, name: &str) -> Self {
        self.with("name", name)
    }

    /// Adds a room that its peers join.
    pub fn room(mut self, room: &str) -> Self {
        let rooms = self.object.entry("rooms").or_insert_with(|| Value::Array(Vec::new()));
        match rooms {
            Value::Array(rooms) => rooms.push(room.into()),
            other => *other = vec![room].into(),
        }
        self
    }

    /// Sets any member. `data`, an object, is visible to other peers; other members are not.
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.object.insert(member.into(), value.into());
        self
    }

    /// The JSON object.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// Parses what is stored; the error tells why it is not a session.
    fn read(text: &[u8]) -> Result<Session, &'static str> {
        match serde_json::from_slice(text) {
            Ok(Value::Object(object)) => Ok(Session { object }),
            Ok(_) => Err("The session is not a JSON object"),
            Err(_) => Err("The session is not JSON"),
        }
    }
}

impl From<Object> for Session {
    fn from(object: Object) -> Self {
        Session { object }
    }
}

/// The verdict for the value of a session's key.
pub(crate) fn verdict(stored: Option<&[u8]>) -> Verdict {
    let read = stored.ok_or("No session").and_then(Session::read);
    let admitted = read.and_then(|session| {
        let text = |member: &str| session.object.get(member).and_then(Value::as_str).map(str::to_owned);
        let user = text("user").filter(|user| valid_user(user)).ok_or("The session has no valid user")?;
        let rooms = session.object.get("rooms").and_then(Value::as_array);
        let rooms = rooms.into_iter().flatten().filter_map(|room| room.as_str().map(str::to_owned)).collect();
        let data = session.object.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
        Ok(Admission { user: Some(user), name: text("name"), rooms, data })
    });
    match admitted {
        Ok(admission) => Verdict::Admit(admission),
        Err(why) => {
            let message = format!("Authentication failed: {why}");
            Verdict::Refuse { status: Status::UNAUTHORIZED, message }
        }
    }
}

/// The sessions in a Redis, under `symple:session:<token>`. Clones share one connection.
#[derive(Clone, Debug)]
pub struct Sessions {
    redis: Shared,
}

impl Sessions {
    /// The sessions of this Redis. It does not connect before the first command.
    pub fn new(redis: RedisUrl) -> Self {
        Sessions { redis: Shared::new(redis) }
    }

    /// Stores a session under a token, which should have 128 random bits. Without a `ttl` it stays until it is deleted.
    pub async fn set(&self, token: &str, session: &Session, ttl: Option<Duration>) -> Result<(), RedisError> {
        let mut set = redis::cmd("SET");
        set.arg(key(token)).arg(Value::Object(session.object.clone()).to_string());
        if let Some(ttl) = ttl {
            set.arg("PX").arg(millis(ttl));
        }
        self.redis.ask(key(token), set).await
    }

    /// The session of a token; `None` if there is none.
    pub async fn get(&self, token: &str) -> Result<Option<Session>, RedisError> {
        let mut get = redis::cmd("GET");
        get.arg(key(token));
        let stored: Option<Vec<u8>> = self.redis.ask(key(token), get).await?;
        let read = stored.as_deref().map(Session::read).transpose();
        read.map_err(|why| RedisError::new("malformed", why))
    }

    /// Sets the remaining lifetime of a session to `ttl`; returns whether it exists.
    pub async fn touch(&self, token: &str, ttl: Duration) -> Result<bool, RedisError> {
        let mut touch = redis::cmd("PEXPIRE");
        touch.arg(key(token)).arg(millis(ttl));
        self.redis.ask(key(token), touch).await
    }

    /// Whether a token has a session.
    pub async fn exists(&self, token: &str) -> Result<bool, RedisError> {
        let mut exists = redis::cmd("EXISTS");
        exists.arg(key(token));
        self.redis.ask(key(token), exists).await
    }

    /// Deletes a session; returns whether it existed. Its peers are disconnected soon after.
    pub async fn delete(&self, token: &str) -> Result<bool, RedisError> {
        let mut delete = redis::cmd("DEL");
        delete.arg(key(token));
        self.redis.ask(key(token), delete).await
    }
}

/// Redis refuses an expiry of zero.
pub(super) fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX as u64 / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_admits_its_user_and_nobody_else() {
        let refused = |stored: Option<&str>| match verdict(stored.map(str::as_bytes)) {
            Verdict::Refuse { status, message } => (status.0, message),
            Verdict::Admit(admission) => panic!("admitted: {admission:?}"),
        };
        for (stored, why) in [
            (None, "No session"),
            (Some("{"), "The session is not JSON"),
            (Some("[]"), "The session is not a JSON object"),
            (Some("null"), "The session is not a JSON object"),
            (Some("{}"), "The session has no valid user"),
            (Some(r#"{"user":""}"#), "The session has no valid user"),
            (Some(r#"{"user":7}"#), "The session has no valid user"),
            (Some(r#"{"user":"a|b"}"#), "The session has no valid user"),
        ] {
            assert_eq!(refused(stored), (401, format!("Authentication failed: {why}")), "{stored:?}");
        }
        let stored = br#"{"user":"alice","name":"Alice","rooms":["team-a",7],"data":{"x":1},"email":"a@b"}"#;
        let Verdict::Admit(admission) = verdict(Some(stored)) else { panic!("refused") };
        assert_eq!((admission.user.as_deref(), admission.name.as_deref()), (Some("alice"), Some("Alice")));
        assert_eq!((admission.rooms, admission.data.len()), (vec!["team-a".to_owned()], 1));
    }

    #[test]
    fn futures_may_run_on_any_thread() {
        fn send<T: Send>(_: T) {}
        let sessions = Sessions::new("redis://127.0.0.1".parse().expect("literal"));
        send(sessions.get("t"));
        send(sessions.delete("t"));
        let emitter = super::super::Emitter::new("redis://127.0.0.1".parse().expect("literal"));
        send(emitter.send("x"));
    }

    #[test]
    fn a_session_survives_writing_and_reading() {
        let session = Session::new("alice").name("Alice").room("a").room("b");
        let text = Value::Object(session.object().clone()).to_string();
        assert_eq!(text, r#"{"name":"Alice","rooms":["a","b"],"user":"alice"}"#);
        assert_eq!(Session::read(text.as_bytes()), Ok(session));
    }
}
