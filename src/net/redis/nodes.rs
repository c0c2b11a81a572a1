//! Queries for keys, each sent to the Redis that has the key: the only one, or a node of a cluster.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_lite::FutureExt;
use redis::{Cmd, FromRedisValue, Pipeline, Value};

use super::super::time::{Timer, now};
use super::connection::{Connection, master, nobody, slots};
use super::slots::{Redirect, Slots, slot};
use super::url::{HostPort, RedisHosts};
use super::{PATIENCE, RedisError, RedisUrl};

/// The maximum number of redirects of a query: one to the new node of the slot, one to that of the key, and both again
/// if the cluster changes meanwhile.
const HOPS: usize = 5;

/// Commands on one key; the result is that of the last.
pub(super) struct Ask {
    pub key: String,
    pub commands: Vec<Cmd>,
}

impl Ask {
    pub(super) fn new(key: impl Into<String>, command: Cmd) -> Self {
        Ask { key: key.into(), commands: vec![command] }
    }
}

/// The result of a query.
pub(super) type Reply = Result<Value, RedisError>;

/// Connections, opened when needed.
pub(super) struct Nodes {
    url: RedisUrl,
    slots: Slots,
    lines: HashMap<HostPort, Connection>,
}

/// A query without a result so far.
#[derive(Clone)]
struct Open {
    /// Its index among all queries.
    at: usize,
    /// The node to which it was redirected; otherwise that of its slot is asked.
    redirect: Option<Redirect>,
    /// A node that could not be reached. If the slot is still there, this is the result.
    failed: Option<(HostPort, RedisError)>,
}

/// The answers of one node.
struct Answered {
    node: HostPort,
    /// Kept for reuse, unless it is in the middle of an answer.
    line: Option<Connection>,
    answers: Vec<(Open, Result<Vec<Value>, RedisError>)>,
}

impl Nodes {
    pub(super) fn new(url: RedisUrl) -> Self {
        Nodes { url, slots: Slots::default(), lines: HashMap::new() }
    }

    /// Sends all queries at once, and returns their results in the same order. One that fails or times out does not
    /// affect the others.
    pub(super) async fn ask(&mut self, asks: &[Ask], time: Duration) -> Vec<Reply> {
        let deadline = now() + time;
        let mut answers: Vec<Reply> = asks.iter().map(|_| Err(RedisError::late())).collect();
        let mut open: Vec<Open> =
            (0..asks.len()).map(|at| Open { at, redirect: None, failed: None }).collect();
        let mut stale = self.slots.is_empty();
        for _ in 0..HOPS {
            if open.is_empty() || now() >= deadline {
                break;
            }
            let mut parts: HashMap<HostPort, Vec<Open>> = HashMap::new();
            match self.learn(std::mem::take(&mut stale)).or(late(deadline)).await {
                Ok(only) => {
                    for one in open.drain(..) {
                        match self.holder(&one, &asks[one.at], only.as_ref()) {
                            Ok(node) => parts.entry(node).or_default().push(one),
                            Err(e) => answers[one.at] = Err(e),
                        }
                    }
                }
                Err(e) => {
                    open.iter().for_each(|one| answers[one.at] = Err(e.clone()));
                    break;
                }
            }
            let parts = parts.into_iter().map(|(node, part)| {
                let line = self.lines.remove(&node);
                Box::pin(talk(&self.url, line, node, part, asks, deadline)) as Pin<Box<_>>
            });
            let done = together(parts.collect::<Vec<_>>()).await;
            for Answered { node, line, answers: given } in done {
                for (one, got) in given {
                    let at = one.at;
                    match self.settle(&node, one, got) {
                        Ok(answer) => answers[at] = answer,
                        Err(again) => {
                            stale |= !matches!(again.redirect, Some(Redirect::Ask(_)));
                            open.push(again);
                        }
                    }
                }
                self.lines.extend(line.map(|line| (node, line)));
            }
        }
        answers
    }

    /// Updates the layout of the cluster. Without a cluster, returns the address of the only Redis.
    async fn learn(&mut self, stale: bool) -> Result<Option<HostPort>, RedisError> {
        match &self.url.place {
            RedisHosts::At(at) => Ok(Some(at.clone())),
            RedisHosts::Sentinels(sentinels, name) => {
                let kept = self.lines.iter_mut().next();
                if let Some((at, line)) = kept
                    && line.is_open().await
                {
                    return Ok(Some(at.clone()));
                }
                self.lines.clear();
                master(&self.url, sentinels, name).await.map(Some)
            }
            RedisHosts::Cluster(named) => {
                if stale {
                    // The configured nodes may be gone, and so may those known now; ask both.
                    let known = self.slots.nodes().iter().filter(|at| !named.contains(at));
                    let guides: Vec<HostPort> = named.iter().chain(known).cloned().collect();
                    self.slots = slots(&self.url, &guides).await?;
                    let nodes = self.slots.nodes();
                    self.lines.retain(|at, _| nodes.contains(at));
                }
                Ok(None)
            }
        }
    }

    fn holder(&self, one: &Open, ask: &Ask, only: Option<&HostPort>) -> Result<HostPort, RedisError> {
        let node = match (only, &one.redirect) {
            (Some(only), _) => only,
            (None, Some(Redirect::Ask(at) | Redirect::Moved(at))) => at,
            (None, None) => self.slots.holder(slot(&ask.key)).ok_or_else(nobody)?,
        };
        match &one.failed {
            Some((failed, why)) if failed == node => Err(why.clone()),
            _ => Ok(node.clone()),
        }
    }

    /// The result, or the query to send to another node.
    fn settle(&self, node: &HostPort, one: Open, got: Result<Vec<Value>, RedisError>) -> Result<Reply, Open> {
        let cluster = matches!(self.url.place, RedisHosts::Cluster(_));
        let values = match got {
            Err(e) if cluster && e.code() == "unreachable" && one.failed.is_none() => {
                return Err(Open { redirect: None, failed: Some((node.clone(), e)), ..one });
            }
            got => got,
        };
        let error = |value: &Value| match value {
            Value::ServerError(e) => Some(redis::RedisError::from(e.clone())),
            _ => None,
        };
        match values {
            Err(e) => Ok(Err(e)),
            Ok(mut values) => match values.iter().find_map(error) {
                None => Ok(values.pop().ok_or_else(RedisError::late)),
                Some(e) => match Redirect::read(&e, node).filter(|_| cluster) {
                    Some(redirect) => Err(Open { redirect: Some(redirect), ..one }),
                    None => Ok(Err(RedisError::of(e))),
                },
            },
        }
    }
}

/// Sends all queries for one node in one pipeline.
async fn talk(
    url: &RedisUrl,
    kept: Option<Connection>,
    node: HostPort,
    part: Vec<Open>,
    asks: &[Ask],
    deadline: Instant,
) -> Answered {
    let mut pipeline = Pipeline::new();
    let mut lengths = Vec::new();
    for one in &part {
        let asking = matches!(one.redirect, Some(Redirect::Ask(_)));
        for command in &asks[one.at].commands {
            if asking {
                pipeline.cmd("ASKING");
            }
            pipeline.add_command(command.clone());
        }
        lengths.push(asks[one.at].commands.len() * if asking { 2 } else { 1 });
    }
    let said = async {
        let kept = match kept {
            Some(mut line) => line.is_open().await.then_some(line),
            None => None,
        };
        let mut line = match kept {
            Some(line) => line,
            None => Connection::to(url, &node).await?,
        };
        let count = lengths.iter().sum();
        let got = line.run(async |line| line.send_packed_commands(&pipeline, 0, count).await).await?;
        Ok((line, got))
    };
    match said.or(late(deadline)).await {
        Ok((line, values)) => {
            let mut values = values.into_iter();
            let answers = part.into_iter().zip(lengths);
            let answers = answers.map(|(one, length)| (one, Ok(values.by_ref().take(length).collect())));
            Answered { answers: answers.collect(), line: Some(line), node }
        }
        Err(e) => {
            let answers = part.into_iter().map(|one| (one, Err(e.clone()))).collect();
            Answered { node, line: None, answers }
        }
    }
}

async fn late<T>(deadline: Instant) -> Result<T, RedisError> {
    Timer::at(deadline).await;
    Err(RedisError::late())
}

/// Polls all futures until all are done.
async fn together<T>(futures: Vec<Pin<Box<impl Future<Output = T> + ?Sized>>>) -> Vec<T> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (future, None)).collect();
    poll_fn(|cx| {
        let mut pending = false;
        for (future, done) in &mut running {
            if done.is_none() {
                match future.as_mut().poll(cx) {
                    Poll::Ready(result) => *done = Some(result),
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    running.into_iter().filter_map(|(_, done)| done).collect()
}

/// Nodes that clones share, for one query at a time.
#[derive(Clone)]
pub(super) struct Shared {
    nodes: Arc<smol::lock::Mutex<Nodes>>,
    url: RedisUrl,
}

impl Shared {
    pub(super) fn new(url: RedisUrl) -> Self {
        Shared { nodes: Arc::new(smol::lock::Mutex::new(Nodes::new(url.clone()))), url }
    }

    /// The answer to a command on this key, from the Redis that has it.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        key: impl Into<String>,
        command: Cmd,
    ) -> Result<T, RedisError> {
        let asks = [Ask::new(key, command)];
        let answer = self
            .nodes
            .lock()
            .await
            .ask(&asks, PATIENCE)
            .await
            .pop()
            .unwrap_or_else(|| Err(RedisError::late()))?;
        redis::from_redis_value(answer).map_err(|e| RedisError::of(e.into()))
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.url.fmt(f)
    }
}
