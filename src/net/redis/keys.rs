//! Queries for sessions: to the one Redis on the server's own connection, or to the nodes of a cluster.

use std::future::Future;
use std::time::Duration;

use futures_lite::FutureExt;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Value};

use super::nodes::{Ask, Nodes, Reply};
use super::sessions::millis;
use super::{PATIENCE, RedisError};
use crate::net::time::Timer;

/// The timeout for the nodes of a cluster together: one that hangs must not delay queries to others.
const TURN: Duration = Duration::from_secs(2);

/// Where to look up sessions: on the existing connection to the one Redis, or at the nodes of a cluster.
pub(super) enum Keys {
    Line(MultiplexedConnection),
    Nodes(Nodes),
}

impl Keys {
    /// `None`: the connection is to be closed.
    pub(super) async fn ask(&mut self, asks: &[Ask]) -> Option<Vec<Reply>> {
        let redis = match self {
            Keys::Nodes(nodes) => return Some(nodes.ask(asks, TURN).await),
            Keys::Line(redis) => redis,
        };
        let mut pipeline = Pipeline::new();
        for command in asks.iter().flat_map(|ask| &ask.commands) {
            pipeline.add_command(command.clone());
        }
        let mut answers = send(redis, &pipeline).await?.into_iter();
        let each = asks.iter().map(|ask| answers.by_ref().take(ask.commands.len()).last());
        each.map(|last| last.map(|value| value.extract_error().map_err(RedisError::of))).collect()
    }
}

/// A command on the key of a session. If `extend` is set, first prolongs its lifetime to that, but never shortens it.
pub(super) fn question(command: &str, key: String, extend: Option<Duration>) -> Ask {
    let mut commands = Vec::new();
    if let Some(ttl) = extend {
        let mut later = redis::cmd("PEXPIRE");
        later.arg(&key).arg(millis(ttl)).arg("GT");
        commands.push(later);
    }
    let mut last = redis::cmd(command);
    last.arg(&key);
    commands.push(last);
    Ask { key, commands }
}

/// Executes all in order. `None` if one was refused, failed or timed out. A key with a value that is not text is an
/// ordinary answer: a program that wrote it must not be able to disconnect the instances from each other.
pub(super) async fn send(redis: &mut MultiplexedConnection, pipeline: &Pipeline) -> Option<Vec<Value>> {
    let count = pipeline.len();
    let answers = in_time(redis.send_packed_commands(pipeline, 0, count)).await?;
    let refused = |answer: &Value| match answer {
        Value::ServerError(e) if e.code() != "WRONGTYPE" => Some(redis::RedisError::from(e.clone())),
        _ => None,
    };
    match answers.and_then(|answers| answers.iter().find_map(refused).map_or(Ok(answers), Err)) {
        Ok(answers) => Some(answers).filter(|answers| answers.len() == count),
        Err(e) => {
            log::warn!("{}", RedisError::of(e));
            None
        }
    }
}

pub(super) async fn in_time<T>(act: impl Future<Output = T>) -> Option<T> {
    let late = async {
        Timer::after(PATIENCE).await;
        log::warn!("Redis is too slow");
        None
    };
    async { Some(act.await) }.or(late).await
}
