//! What the application awaits: replies to requests and receipts of messages, from the sending to the taking.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use super::{CommandId, SendError};
use crate::proto::{Message, Status};

/// An answer that somebody awaits, of [`Agent::request`](super::Agent::request) or
/// [`Agent::deliver`](super::Agent::deliver).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AnswerId(pub u64);

/// Why a request has no reply, or a message no receipt.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RequestError {
    /// Nothing was sent.
    NotSent {
        /// Why; there is no connection, for instance.
        error: SendError,
    },
    /// The connection was lost meanwhile. Whether the peer got it is not known.
    Lost,
    /// The client was closed or refused meanwhile. Whether the peer got it is not known.
    Closed,
    /// No answer within [`command_timeout`](super::Config::command_timeout).
    TimedOut,
    /// Nobody got it: there is no such peer, or no room shared with it.
    NobodyThere,
    /// The answer's status is 400 or more.
    Refused {
        /// The answer's status.
        status: Status,
        /// The whole answer, with the peer's `data`.
        answer: Box<Message>,
    },
}

impl RequestError {
    /// A stable name: `lost`, `closed`, `timed-out`, `nobody-there`, `refused`, or that of the
    /// [`SendError`], such as `offline`.
    pub fn code(&self) -> &'static str {
        match self {
            RequestError::NotSent { error } => error.code(),
            RequestError::Lost => "lost",
            RequestError::Closed => "closed",
            RequestError::TimedOut => "timed-out",
            RequestError::NobodyThere => "nobody-there",
            RequestError::Refused { .. } => "refused",
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::NotSent { error } => error.fmt(f),
            RequestError::Lost => f.write_str("the connection was lost before an answer came"),
            RequestError::Closed => f.write_str("the client was closed before an answer came"),
            RequestError::TimedOut => f.write_str("no answer came in time"),
            RequestError::NobodyThere => {
                f.write_str("nobody got it: no such peer, or no room shared with it")
            }
            RequestError::Refused { status, .. } => write!(f, "refused with status {status}"),
        }
    }
}

impl std::error::Error for RequestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RequestError::NotSent { error } => Some(error),
            _ => None,
        }
    }
}

impl From<SendError> for RequestError {
    fn from(error: SendError) -> Self {
        RequestError::NotSent { error }
    }
}

/// A reply or receipt, by its status; `None` if more of it follows, so that the timeout begins again.
pub(crate) fn judged(answer: &Message) -> Option<Result<Message, RequestError>> {
    match answer.status().unwrap_or(Status::OK) {
        Status::ACCEPTED => None,
        status if status >= Status::BAD_REQUEST => {
            Some(Err(RequestError::Refused { status, answer: Box::new(answer.clone()) }))
        }
        _ => Some(Ok(answer.clone())),
    }
}

/// What one of them waits for.
enum Awaited {
    Reply(CommandId),
    Receipt {
        wire_id: String,
        until: Instant,
    },
    /// Nothing more: the application has not taken it yet.
    Nothing(Result<Message, RequestError>),
}

/// Everything that is awaited or not taken yet.
#[derive(Default)]
pub(super) struct Answers {
    awaited: BTreeMap<AnswerId, Awaited>,
    /// Whose receipt a message's id names, and whose reply a command's.
    receipts: BTreeMap<String, AnswerId>,
    replies: BTreeMap<CommandId, AnswerId>,
    count: u64,
}

impl Answers {
    pub(super) fn len(&self) -> usize {
        self.awaited.len()
    }

    pub(super) fn awaits_receipt(&self, wire_id: &str) -> bool {
        self.receipts.contains_key(wire_id)
    }

    pub(super) fn add_reply(&mut self, command: CommandId) -> AnswerId {
        let id = self.add(Awaited::Reply(command));
        self.replies.insert(command, id);
        id
    }

    pub(super) fn add_receipt(&mut self, wire_id: String, until: Instant) -> AnswerId {
        let id = self.add(Awaited::Receipt { wire_id: wire_id.clone(), until });
        self.receipts.insert(wire_id, id);
        id
    }

    fn add(&mut self, awaited: Awaited) -> AnswerId {
        self.count += 1;
        let id = AnswerId(self.count);
        self.awaited.insert(id, awaited);
        id
    }

    /// The reply to a command, if somebody awaits it: whom to wake.
    pub(super) fn reply(
        &mut self,
        command: CommandId,
        result: impl FnOnce() -> Result<Message, RequestError>,
    ) -> Option<AnswerId> {
        let id = self.replies.remove(&command)?;
        self.awaited.insert(id, Awaited::Nothing(result()));
        Some(id)
    }

    /// The receipt of a message, if somebody awaits it: whom to wake.
    pub(super) fn receipt(
        &mut self,
        wire_id: &str,
        result: impl FnOnce() -> Result<Message, RequestError>,
    ) -> Option<AnswerId> {
        let id = self.receipts.remove(wire_id)?;
        self.awaited.insert(id, Awaited::Nothing(result()));
        Some(id)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let receipts = self.receipts.values().filter_map(|id| self.awaited.get(id));
        let until = |awaited: &Awaited| match awaited {
            Awaited::Receipt { until, .. } => Some(*until),
            Awaited::Reply(_) | Awaited::Nothing(_) => None,
        };
        receipts.filter_map(until).min()
    }

    /// Those whose receipt did not come in time, oldest first: whom to wake.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<AnswerId> {
        self.fail_receipts(|until| until <= now, &RequestError::TimedOut)
    }

    /// All whose receipt cannot come any more, oldest first: whom to wake.
    pub(super) fn fail_all_receipts(&mut self, error: &RequestError) -> Vec<AnswerId> {
        self.fail_receipts(|_| true, error)
    }

    fn fail_receipts(&mut self, which: impl Fn(Instant) -> bool, error: &RequestError) -> Vec<AnswerId> {
        let mut failed = Vec::new();
        for (id, awaited) in &mut self.awaited {
            if let Awaited::Receipt { wire_id, until } = awaited
                && which(*until)
            {
                self.receipts.remove(wire_id);
                *awaited = Awaited::Nothing(Err(error.clone()));
                failed.push(*id);
            }
        }
        failed
    }

    /// The answer, once, when it is there.
    pub(super) fn take(&mut self, id: AnswerId) -> Option<Result<Message, RequestError>> {
        match self.awaited.remove(&id)? {
            Awaited::Nothing(result) => Some(result),
            awaited => {
                self.awaited.insert(id, awaited);
                None
            }
        }
    }

    /// Nobody awaits it any more. Returns the command that nobody asks for then.
    pub(super) fn forget(&mut self, id: AnswerId) -> Option<CommandId> {
        match self.awaited.remove(&id)? {
            Awaited::Reply(command) => {
                self.replies.remove(&command);
                Some(command)
            }
            Awaited::Receipt { wire_id, .. } => {
                self.receipts.remove(&wire_id);
                None
            }
            Awaited::Nothing(_) => None,
        }
    }
}
