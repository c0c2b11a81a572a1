//! Talk-back: who may talk, where it is played, and the commands of viewers who do, sans-IO.
//!
//! A viewer's page sends a command with the node `camera:talk`, and gets a reply with the same id:
//!
//! | action | data | reply's data, with status 200 |
//! |---|---|---|
//! | `start` | | `{"mode":"half"}`, or `full`: it talks now |
//! | `stop` | | the same |
//! | `read` | | the same: it may talk |
//!
//! An error reply has a `code` and a `message`: 400 for an unknown action, 403 `not-allowed`, 404 `no-such-call` for a peer
//! that is in no call, 503 `busy` while somebody else talks.

use std::net::IpAddr;
use std::time::Instant;

use serde_json::{Value as Json, json};

use super::controls::Reply;
use super::core::talk::Talking;
use super::permission::Permission;
use super::{CameraError, Config, speaker};
use crate::call::RateLimit;
use crate::limit::{Buckets, RateKey};
use crate::media::error::{ErrorKind, MediaError};
use crate::media::playback::Audio;
use crate::proto::{Message, Status};

/// What such commands are sent to.
const NODE: &str = "camera:talk";

/// The member of presence data.
pub(super) const MEMBER: &str = "talk";

/// Commands of one host, or user, that are answered: one for each page, and two for each press of its button.
const ALLOWED: RateLimit = RateLimit { per_second: 4, burst: 16 };

/// Viewers who talk: who may, and where it is played.
///
/// One viewer talks at a time. A page asks for it by command, and is told `busy` while somebody else talks. The camera's
/// presence has `"talk":{"mode":"half"}` where anybody may, with the address of who talks (`by`) and of an output that does
/// not work a `problem`: `{"code":"output-busy","message":"…"}`. A caller that sends audio without asking is played while
/// nobody asks. Video of callers is not taken.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Talk {
    /// Who may talk. Default: nobody.
    pub who: Talkers,
    /// The output, by the names that `symple devices` lists. It is opened when somebody talks, and closed 10 s after the
    /// last one. Default: the system's.
    pub output: Audio,
    /// Whether the camera's audio goes on meanwhile. Default: no.
    pub duplex: Duplex,
}

/// Who may talk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Talkers {
    /// Nobody.
    #[default]
    Nobody,
    /// With an own server that has a token: everybody who knows the token. With an own server that only listens on
    /// loopback and has no trusted proxies: everybody. Otherwise nobody.
    Auto,
    /// Every caller.
    Everybody,
    /// The peers of these users. Their names are as reliable as the server's authentication.
    Users(Vec<String>),
}

/// Whether a viewer hears the camera while it talks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Duplex {
    /// The camera sends no audio to who talks, so that nobody hears themselves from the camera's microphone. Others hear
    /// the camera as ever.
    #[default]
    Half,
    /// Both at once, for headphones or a source that cancels the echo of the speaker.
    Full,
}

impl Duplex {
    /// As messages have it.
    pub fn code(self) -> &'static str {
        match self {
            Duplex::Half => "half",
            Duplex::Full => "full",
        }
    }
}

/// Checks the settings, and says in the presence that viewers may talk. `None` where nobody may.
///
/// Errors: an output that cannot work, with cause and cure.
pub(super) fn open(config: &mut Config) -> Result<Option<Talking>, CameraError> {
    let permission = Permission::new(config.talk.who.clone(), &config.signalling);
    if !permission.is_given() {
        return Ok(None);
    }
    speaker::settings(&config.talk.output).check()?;
    let talking = Talking::new(Commands::new(permission), config.talk.duplex);
    config.data.entry(MEMBER).or_insert_with(|| talking.presence());
    Ok(Some(talking))
}

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Start,
    Stop,
    Read,
}

/// Reads the commands.
pub(super) struct Commands {
    permission: Permission,
    heard: Buckets<RateKey>,
}

impl Commands {
    pub(super) fn new(permission: Permission) -> Commands {
        Commands { permission, heard: Buckets::new(ALLOWED) }
    }

    /// Whether a command is one of these.
    pub(super) fn is_concerned(command: &Message) -> bool {
        command.get::<String>("node").ok().flatten().is_some_and(|node| node == NODE)
    }

    /// Whether to take a command at all. `host` is where the peer is, if that is known.
    pub(super) fn admits(&mut self, command: &Message, host: Option<IpAddr>, now: Instant) -> bool {
        command.from().is_some_and(|from| self.heard.take(&RateKey::new(host, from.as_str()), now))
    }

    /// Whether a user may talk.
    pub(super) fn allows(&self, user: &str) -> bool {
        self.permission.allows(user)
    }

    /// What a command asks for.
    ///
    /// Errors: the reply to one without permission, or that is not understood.
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

/// The reply to a command that is taken.
pub(super) fn taken(duplex: Duplex) -> Reply {
    (Status::OK, json!({ "mode": duplex.code() }))
}

/// The reply while somebody else talks.
pub(super) fn busy() -> Reply {
    refusal(Status::UNAVAILABLE, "busy", "somebody else is talking")
}

/// The reply to a peer that is in no call.
pub(super) fn no_call() -> Reply {
    refusal(Status::NOT_FOUND, "no-such-call", "talking is for those who are in a call with the camera")
}

fn refusal(status: Status, code: &str, message: &str) -> Reply {
    (status, json!({ "code": code, "message": message }))
}

/// What viewers are told of an output that does not work: without the names of devices, which are the owner's.
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
    use crate::camera::{Connect, Signalling};

    fn read(from: &str, rest: &str) -> Result<Action, u16> {
        let signalling = Signalling::Connect(Connect::new("wss://a.example"));
        let users = Talkers::Users(vec!["bob".into()]);
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
