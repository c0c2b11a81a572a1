//! Commands of viewers to the program: one handler for each node, and a reply for each command.

use std::fmt;
use std::sync::Mutex;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client::SendError;
use crate::net::{Client, lock};
use crate::proto::{Address, DataError, Message, Status};

/// A command that a peer sent, such as `{"type":"command","node":"pan","action":"left"}`. Answer it with
/// [`CommandRequest::reply`], now or later; who sent it waits for that.
pub struct CommandRequest {
    message: Message,
    client: Client,
}

impl CommandRequest {
    /// Who sent it, as the server vouches for it.
    pub fn from(&self) -> Option<&Address> {
        self.message.from()
    }

    /// What is to be done; empty where the command does not say.
    pub fn action(&self) -> String {
        self.message.get("action").ok().flatten().unwrap_or_default()
    }

    /// What comes with it.
    ///
    /// Errors: there is nothing, or something else than a `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, DataError> {
        self.message.data()
    }

    /// All of it.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Answers it.
    ///
    /// Errors: the camera is offline, or too much waits to be sent.
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

    /// Whether a handler had it.
    pub(super) fn handle(&self, command: &Message, client: &Client) -> bool {
        let Some(node) = command.get::<String>("node").ok().flatten() else { return false };
        // Taken out for the call, under no lock.
        let taken = lock(&self.handlers).iter_mut().find(|(known, _)| *known == node).map(|(_, h)| h.take());
        let Some(handler) = taken else { return false };
        let Some(mut handler) = handler else { return true };
        handler(CommandRequest { message: command.clone(), client: client.clone() });
        if let Some((_, place)) = lock(&self.handlers).iter_mut().find(|(known, _)| *known == node) {
            place.get_or_insert(handler);
        }
        true
    }

    /// Lets go of what they hold.
    pub(super) fn clear(&self) {
        lock(&self.handlers).clear();
    }
}
