//! Commands that viewers send to the program: one handler per node, and a reply to each command.

use std::fmt;
use std::sync::Mutex;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

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

/// What became of a command.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// No handler is there for it.
    Unknown,
    Handled,
    /// Its handler panicked before.
    Broken,
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

    /// Whether a handler had it. Who asks one that panicked is told so, and waits for nothing.
    pub(super) fn handle(&self, command: &Message, client: &Client) -> bool {
        let outcome = self.call(command, client);
        if outcome == Outcome::Broken {
            let data = json!({ "code": "failed", "message": "what answers such commands has failed" });
            if let Err(e) = client.reply(command, Status::INTERNAL, &data) {
                log::debug!("a command is not answered: {e}");
            }
        }
        outcome != Outcome::Unknown
    }

    fn call(&self, command: &Message, client: &Client) -> Outcome {
        let Some(node) = command.get::<String>("node").ok().flatten() else { return Outcome::Unknown };
        // Taken out for the call, under no lock.
        let taken = lock(&self.handlers).iter_mut().find(|(known, _)| *known == node).map(|(_, h)| h.take());
        let Some(handler) = taken else { return Outcome::Unknown };
        let Some(mut handler) = handler else { return Outcome::Broken };
        handler(CommandRequest { message: command.clone(), client: client.clone() });
        if let Some((_, place)) = lock(&self.handlers).iter_mut().find(|(known, _)| *known == node) {
            place.get_or_insert(handler);
        }
        Outcome::Handled
    }

    /// Drops the handlers and what they own.
    pub(super) fn clear(&self) {
        lock(&self.handlers).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;
    use crate::net::ServerConfig;

    #[test]
    fn a_node_whose_handler_panicked_is_answered_so_until_it_has_another() {
        let server = Server::bind(ServerConfig::listen([])).expect("no port is needed");
        let client = server.peer(crate::client::Config::new("camera"));
        let command =
            Message::parse(r#"{"type":"command","id":"7","from":"bob|1","node":"pan","action":"left"}"#);
        let command = command.expect("a command");
        let handlers = Handlers::default();
        assert_eq!(handlers.call(&command, &client), Outcome::Unknown);
        handlers.set("pan", Box::new(|_| panic!("on purpose")));
        let call = || handlers.call(&command, &client);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err());
        assert_eq!(handlers.call(&command, &client), Outcome::Broken);
        handlers.set("pan", Box::new(drop));
        assert_eq!(handlers.call(&command, &client), Outcome::Handled);
        assert_eq!(handlers.call(&command, &client), Outcome::Handled);
    }
}
