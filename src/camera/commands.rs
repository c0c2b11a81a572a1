//! Commands that viewers send to the program: one handler per node, and a reply to each command.

use std::fmt;
use std::sync::Mutex;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Client;
use crate::client::SendError;
use crate::net::lock;
use crate::proto::{Address, DataError, Message, Status};

/// A command that a peer sent, such as `{"type":"command","node":"pan","action":"left"}`. Answer it with
/// [`CommandRequest::reply`], now or later; the sender is waiting.
pub struct CommandRequest {
    message: Message,
    client: Client,
}

impl CommandRequest {
    /// The sender, verified by the server.
    pub fn from(&self) -> Option<&Address> {
        self.message.from()
    }

    /// The action; empty if the command has none.
    pub fn action(&self) -> String {
        self.message.get("action").ok().flatten().unwrap_or_default()
    }

    /// The data of the command.
    ///
    /// Errors: there is no data, or it is not a `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, DataError> {
        self.message.data()
    }

    /// The whole message.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Sends the reply.
    ///
    /// Errors: the camera is offline, or the send queue is full.
    pub fn reply(self, status: Status, data: &Value) -> Result<(), SendError> {
        self.client.reply(&self.message, status, data)
    }
}

impl fmt::Debug for CommandRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandRequest").field("action", &self.action()).finish_non_exhaustive()
    }
}

type Handler = Box<dyn FnMut(CommandRequest) + Send>;

/// The program's handlers.
#[derive(Default)]
pub(super) struct Handlers {
    handlers: Mutex<Vec<(String, Option<Handler>)>>,
}

impl Handlers {
    pub(super) fn set(&self, node: &str, handler: Handler) {
        let mut handlers = lock(&self.handlers);
        handlers.retain(|(known, _)| known != node);
        handlers.push((node.to_owned(), Some(handler)));
    }

    /// Whether there is a handler for it.
    pub(super) fn handle(&self, command: &Message, client: &Client) -> bool {
        let Some(node) = command.get::<String>("node").ok().flatten() else { return false };
        // Taken out, so that it runs without the lock.
        let taken = lock(&self.handlers).iter_mut().find(|(known, _)| *known == node).map(|(_, h)| h.take());
        let Some(handler) = taken else { return false };
        let Some(mut handler) = handler else { return true };
        handler(CommandRequest { message: command.clone(), client: client.clone() });
        if let Some((_, place)) = lock(&self.handlers).iter_mut().find(|(known, _)| *known == node) {
            place.get_or_insert(handler);
        }
        true
    }

    /// Drops the handlers and what they own.
    pub(super) fn clear(&self) {
        lock(&self.handlers).clear();
    }
}
