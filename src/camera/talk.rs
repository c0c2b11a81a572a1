//! Talk-back: handles the commands of viewers who talk, sans-IO.
//!
//! A viewer's page sends a command with the node `camera:talk`, and gets a reply with the same id:
//!
//! | action | data | reply's data, with status 200 |
//! |---|---|---|
//! | `start` | | `{"mode":"half"}`, or `full`: the viewer talks now |
//! | `stop` | | the same |
//! | `read` | | the same: the viewer may talk |
//!
//! An error reply has a `code` and a `message`: 400 for an unknown action, 403 `not-allowed`, 404 `no-such-call` for a peer
//! without a call, 503 `busy` while somebody else talks.

use std::net::IpAddr;
use std::time::Instant;

use serde_json::{Value as Json, json};

use super::controls::Reply;
use super::permission::Permission;
use super::talk_settings::Duplex;
use crate::call::RateLimit;
use crate::limit::{Buckets, RateKey};
use crate::media::error::{ErrorKind, MediaError};
use crate::proto::{Message, Status};

/// The node of such commands.
const NODE: &str = "camera:talk";

/// The member of presence data.
pub(super) const MEMBER: &str = "talk";

/// The rate of commands answered per host, or user: a page sends one, and two for each press of its button.
const ALLOWED: RateLimit = RateLimit { per_second: 4, burst: 16 };

/// The action of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Start,
    Stop,
    Read,
}

/// Parses and authorizes the commands.
pub(super) struct Commands {
    permission: Permission,
    heard: Buckets<RateKey>,
}

impl Commands {
    pub(super) fn new(permission: Permission) -> Commands {
        Commands { permission, heard: Buckets::new(ALLOWED) }
    }

    /// Whether a command is addressed to talk-back.
    pub(super) fn is_concerned(command: &Message) -> bool {
        command.get::<String>("node").ok().flatten().is_some_and(|node| node == NODE)
    }

    /// Whether a command is within the rate limit. `host` is the peer's host, if known.
    pub(super) fn admits(&mut self, command: &Message, host: Option<IpAddr>, now: Instant) -> bool {
        command.from().is_some_and(|from| self.heard.take(&RateKey::new(host, from.as_str()), now))
    }

    /// Whether a user may talk.
    pub(super) fn allows(&self, user: &str) -> bool {
        self.permission.allows(user)
    }

    /// Returns the action of a command.
    ///
    /// Errors: the reply to a command that is not permitted or invalid.
    pub(super) fn read(&self, command: &Message) -> Result<Action, Reply> {
        if !command.from().is_some_and(|from| self.allows(from.user())) {
            let words = "you may not talk to this camera: its owner decides who may";
            return Err(refusal(Status::FORBIDDEN, "not-allowed", words));
        }
        let action: Option<String> = command.get("action").ok().flatten();
        match action.as_deref() {
            Some("start") => Ok(Action::Start),
            Some("stop") => Ok(Action::Stop),
            Some("read") => Ok(Action::Read),
            _ => Err(refusal(Status::BAD_REQUEST, "bad-request", "its actions are start, stop and read")),
        }
    }
}

/// Returns the reply to a successful command.
pub(super) fn taken(duplex: Duplex) -> Reply {
    (Status::OK, json!({ "mode": duplex.code() }))
}

/// Returns the reply while somebody else talks.
pub(super) fn busy() -> Reply {
    refusal(Status::UNAVAILABLE, "busy", "somebody else is talking")
}

/// Returns the reply to a peer without a call.
pub(super) fn no_call() -> Reply {
    refusal(Status::NOT_FOUND, "no-such-call", "talking is for those who are in a call with the camera")
}

fn refusal(status: Status, code: &str, message: &str) -> Reply {
    (status, json!({ "code": code, "message": message }))
}

/// Describes an output that does not work to viewers, without device names, which are private.
pub(super) fn problem(error: &MediaError) -> Json {
    let words = match error.kind() {
        ErrorKind::OutputBusy => "the camera's speaker is in use by another program",
        ErrorKind::NoOutput => "the camera's speaker is missing; its owner can choose another one",
        ErrorKind::NotAllowed => "the camera may not use its speaker; its owner must permit it",
        ErrorKind::Stalled => "the camera's speaker has stopped",
        ErrorKind::MissingPlugin => "the camera lacks software for playing audio; its owner can install it",
        _ => "the camera cannot play audio; its log has the cause",
    };
    json!({ "code": error.code(), "message": words })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::{Connect, Controllers, Signalling};

    fn read(from: &str, rest: &str) -> Result<Action, u16> {
        let signalling = Signalling::Connect(Connect::new("wss://a.example"));
        let users = Controllers::Users(vec!["bob".into()]);
        let commands = Commands::new(Permission::new(users, &signalling));
        let text = format!(r#"{{"type":"command","from":"{from}","node":"camera:talk"{rest}}}"#);
        let command = Message::parse(text).expect("a command");
        assert!(Commands::is_concerned(&command));
        commands.read(&command).map_err(|(status, _)| status.0)
    }

    #[test]
    fn commands_are_start_and_stop_of_those_who_may() {
        assert_eq!(read("bob|1", r#","action":"start""#), Ok(Action::Start));
        assert_eq!(read("bob|1", r#","action":"stop","data":{"more":1}"#), Ok(Action::Stop));
        assert_eq!(read("bob|1", r#","action":"read""#), Ok(Action::Read));
        for rest in ["", r#","action":"sing""#, r#","action":7"#] {
            assert_eq!(read("bob|1", rest), Err(400), "{rest}");
        }
        for action in ["start", "stop", "read"] {
            assert_eq!(read("eve|1", &format!(r#","action":"{action}""#)), Err(403));
        }
    }

    #[test]
    fn viewers_are_told_no_names_of_devices() {
        let error = MediaError::new(ErrorKind::OutputBusy, "audio device alsa:hw:1,0 is in use");
        assert_eq!(problem(&error)["code"], "output-busy");
        assert!(!problem(&error).to_string().contains("alsa"));
    }
}
