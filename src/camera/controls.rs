//! Commands of peers to the camera's controls, sans-IO: what the device is asked for, and what each command is answered,
//! at the latest when the device has had its time. [`permission`](super::permission) decides who may send them.
//!
//! The commands are described at [`Controllers`](super::Controllers).

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::permission::Permission;
use crate::call::RateLimit;
use crate::limit::{Buckets, RateKey};
use crate::media::error::{ErrorKind, MediaError};
use crate::media::source::controls::{Control, Value};
use crate::media::source::{Command, RequestId};
use crate::proto::{Message, Status};

/// The node of these commands.
const NODE: &str = "camera:control";

/// The maximum number of commands that wait for the device, which takes milliseconds for each.
const MAX_ASKED: usize = 32;

/// How long a device may take to respond. Opening one takes a second or two.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Commands of one host or user with permission: a hand that drags a slider.
const ALLOWED: RateLimit = RateLimit { per_second: 50, burst: 100 };

/// Commands of one host or user without permission that get a refusal.
const REFUSED: RateLimit = RateLimit { per_second: 2, burst: 8 };

/// A valid command.
#[derive(Clone, Debug, PartialEq)]
enum ControlRequest {
    List,
    Set(String, Value),
}

/// A reply: its status and data.
pub(crate) type Reply = (Status, Json);

/// A request to the core.
#[derive(Debug)]
pub(super) enum Output {
    /// The answer to a peer's command.
    Reply(Message, Reply),
    /// A command for the device.
    Command(Command),
}

/// The pending commands, and the controls as last read.
pub(crate) struct ControlCommands {
    permission: Permission,
    known: Vec<Control>,
    /// Commands without a response so far, and when they were sent to the device.
    asked: BTreeMap<RequestId, (Instant, Message)>,
    out: VecDeque<Output>,
    heard: Buckets<RateKey>,
    refused: Buckets<RateKey>,
}

impl ControlCommands {
    pub(super) fn new(permission: Permission, known: Vec<Control>) -> Self {
        ControlCommands {
            permission,
            known,
            asked: BTreeMap::new(),
            out: VecDeque::new(),
            heard: Buckets::new(ALLOWED),
            refused: Buckets::new(REFUSED),
        }
    }

    /// The controls as last read.
    pub(super) fn known(&self) -> &[Control] {
        &self.known
    }

    /// The next output.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When the oldest command times out.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.asked.values().map(|(at, _)| *at + ANSWERS_WITHIN).min()
    }

    /// A peer's command; `request` identifies it to the device. `host` is the peer's, if it is known.
    pub(super) fn handle_command(
        &mut self,
        command: Message,
        host: Option<IpAddr>,
        request: RequestId,
        now: Instant,
    ) {
        if !self.admits(&command, host, now) {
            return log::debug!("a control command is passed over: its sender sends too many");
        }
        let wanted = match self.request(&command) {
            Ok(ControlRequest::List) => Command::ReadControls { request },
            Ok(ControlRequest::Set(name, value)) => Command::SetControl { request, name, value },
            Err(reply) => return self.out.push_back(Output::Reply(command, reply)),
        };
        self.asked.insert(request, (now, command));
        self.out.push_back(Output::Command(wanted));
    }

    /// Refuses the commands that the device has not executed in time.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let late =
            |_: &RequestId, (at, _): &mut (Instant, Message)| now.duration_since(*at) >= ANSWERS_WITHIN;
        let late = self.asked.extract_if(.., late).map(|(_, (_, command))| command);
        let reply = not_now("the camera did not answer in time");
        self.out.extend(late.map(|command| Output::Reply(command, reply.clone())));
    }

    /// Whether a command is one of these.
    pub(super) fn is_concerned(command: &Message) -> bool {
        command.get::<String>("node").ok().flatten().is_some_and(|node| node == NODE)
    }

    /// Whether anybody can use them.
    pub(super) fn is_of_use(&self) -> bool {
        !self.known.is_empty() && self.permission.is_given()
    }

    /// Whether to reply to a command at all, so that nobody can make this camera send at any rate.
    fn admits(&mut self, command: &Message, host: Option<IpAddr>, now: Instant) -> bool {
        let Some(from) = command.from() else { return false };
        let allowed = self.permission.allows(from.user());
        let buckets = if allowed { &mut self.heard } else { &mut self.refused };
        buckets.take(&RateKey::new(host, from.as_str()), now)
    }

    /// Parses and checks a command.
    ///
    /// Errors: the reply to a command without permission, or to one that is invalid.
    fn request(&self, command: &Message) -> Result<ControlRequest, Reply> {
        let refuse =
            |status, code: &str, message: String| (status, json!({ "code": code, "message": message }));
        let user = command.from().map(|from| from.user().to_owned()).unwrap_or_default();
        if !self.permission.allows(&user) {
            let message = "you may not set this camera's controls: its owner decides who may";
            return Err(refuse(Status::FORBIDDEN, "not-allowed", message.into()));
        }
        if self.asked.len() >= MAX_ASKED {
            let message = "too many requests at once: wait for the replies";
            return Err(refuse(Status::UNAVAILABLE, "busy", message.into()));
        }
        let bad = |message: &str| refuse(Status::BAD_REQUEST, "bad-request", message.into());
        let data: Option<Json> = command.get("data").ok().flatten();
        let name = || {
            let name = data.as_ref().and_then(|data| data.get("name")).and_then(Json::as_str);
            name.map(str::to_owned).ok_or_else(|| bad("data is {\"name\":…,\"value\":…}"))
        };
        let action: Option<String> = command.get("action").ok().flatten();
        match action.as_deref() {
            Some("list") => Ok(ControlRequest::List),
            Some("reset") => Ok(ControlRequest::Set(name()?, Value::Default)),
            Some("set") => {
                let json = data.as_ref().and_then(|data| data.get("value")).unwrap_or(&Json::Null);
                let value = Value::from_json(json).map_err(|error| answer_error(&error))?;
                Ok(ControlRequest::Set(name()?, value))
            }
            _ => Err(bad("its actions are list, set and reset")),
        }
    }

    /// The source is replaced, and the old one answers nothing any more.
    pub(super) fn abandon(&mut self) {
        let asked = std::mem::take(&mut self.asked).into_values();
        let reply = not_now("another source takes the camera's place");
        self.out.extend(asked.map(|(_, command)| Output::Reply(command, reply.clone())));
    }

    /// A control was set, or not. Answers the command that wanted it, if there is one.
    pub(super) fn handle_control(&mut self, request: RequestId, result: &Result<Control, MediaError>) {
        if let Ok(control) = result
            && let Some(known) = self.known.iter_mut().find(|known| known.id == control.id)
        {
            known.clone_from(control);
        }
        self.answer(request, || match result {
            Ok(control) => (Status::OK, json!({ "control": control })),
            Err(error) => answer_error(error),
        });
    }

    /// All controls were read, or not. Answers the command that wanted them, if there is one.
    pub(super) fn handle_controls(&mut self, request: RequestId, result: &Result<Vec<Control>, MediaError>) {
        if let Ok(controls) = result {
            self.known.clone_from(controls);
        }
        self.answer(request, || match result {
            Ok(controls) => (Status::OK, json!({ "controls": controls })),
            Err(error) => answer_error(error),
        });
    }

    fn answer(&mut self, request: RequestId, reply: impl FnOnce() -> Reply) {
        if let Some((_, command)) = self.asked.remove(&request) {
            self.out.push_back(Output::Reply(command, reply()));
        }
    }
}

/// It may be asked again.
fn not_now(words: &str) -> Reply {
    answer_error(&MediaError::new(ErrorKind::NoCamera, words))
}

fn answer_error(error: &MediaError) -> Reply {
    let status = match error.kind() {
        ErrorKind::BadValue => Status::BAD_REQUEST,
        ErrorKind::NoControl => Status::NOT_FOUND,
        ErrorKind::NoCamera | ErrorKind::CameraBusy | ErrorKind::NotAllowed => Status::UNAVAILABLE,
        _ => Status::INTERNAL,
    };
    (status, json!({ "code": error.code(), "message": error.to_string() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::{Controllers, Serve, Signalling};
    use crate::media::source::controls::ControlKind;

    fn gain() -> Control {
        Control::new(0x0098_0913, "Gain", ControlKind::Integer { min: 0, max: 255, step: 1 })
    }

    fn serve(listen: &str) -> Signalling {
        Signalling::Serve(Serve { listen: vec![listen.parse().expect("literal")], ..Serve::default() })
    }

    fn command(action: &str, data: &str) -> Message {
        let text = format!(
            r#"{{"type":"command","id":"7","from":"bob|1","node":"camera:control","action":"{action}","data":{data}}}"#
        );
        Message::parse(text).expect("a command")
    }

    #[test]
    fn who_may_not_is_told_so_often_and_no_more() {
        let now = Instant::now();
        let answered = |may: Controllers| {
            let mut commands = commands(may);
            (0..1000).filter(|_| commands.admits(&command("list", "null"), None, now)).count()
        };
        assert_eq!(answered(Controllers::Nobody), 8);
        assert_eq!(answered(Controllers::Everybody), 100);
    }

    /// The replies that are due, with the ids of their commands.
    fn replies(commands: &mut ControlCommands) -> Vec<(Option<String>, Reply)> {
        let all = std::iter::from_fn(|| commands.poll_output());
        let replies = all.filter_map(|output| match output {
            Output::Reply(command, reply) => Some((command.id().map(str::to_owned), reply)),
            Output::Command(_) => None,
        });
        replies.collect()
    }

    fn ask(commands: &mut ControlCommands, request: u64, at: Instant) {
        commands.handle_command(command("list", "null"), None, RequestId(request), at);
    }

    fn commands(may: Controllers) -> ControlCommands {
        ControlCommands::new(Permission::new(may, &serve("127.0.0.1:4500")), vec![gain()])
    }

    #[test]
    fn nobody_gets_controls_without_permission_and_nobody_offers_none() {
        for (controllers, expected) in [(Controllers::Everybody, true), (Controllers::Nobody, false)] {
            let commands = commands(controllers);
            let refused = commands.request(&command("list", "null")).err().map(|(status, _)| status);
            assert_eq!(refused, (!expected).then_some(Status::FORBIDDEN));
            assert_eq!(commands.is_of_use(), expected);
        }
        let permission = Permission::new(Controllers::Everybody, &serve("127.0.0.1:1"));
        assert!(!ControlCommands::new(permission, vec![]).is_of_use());
    }

    #[test]
    fn commands_are_understood_or_answered_in_words() {
        let set = |value: Value| Ok(ControlRequest::Set("gain".into(), value));
        let table = [
            ("list", "null", Ok(ControlRequest::List)),
            ("set", r#"{"name":"gain","value":12}"#, set(12.into())),
            ("set", r#"{"name":"gain","value":true}"#, set(true.into())),
            ("set", r#"{"name":"gain","value":"high"}"#, set("high".into())),
            ("set", r#"{"name":"gain"}"#, set(Value::Press)),
            ("reset", r#"{"name":"gain"}"#, set(Value::Default)),
            ("set", r#"{"name":"gain","value":[1]}"#, Err("bad-value")),
            ("set", r#"{"value":1}"#, Err("bad-request")),
            ("set", r#"{"name":7,"value":1}"#, Err("bad-request")),
            ("set", r#""gain""#, Err("bad-request")),
            ("erase", "null", Err("bad-request")),
        ];
        for (action, data, expected) in table {
            let wish = commands(Controllers::Auto).request(&command(action, data));
            let wish = wish.map_err(|(status, data)| {
                assert_eq!(status, Status::BAD_REQUEST);
                data["code"].as_str().map(str::to_owned).expect("a code")
            });
            assert_eq!(wish, expected.map_err(str::to_owned), "{action} {data}");
        }
        assert!(ControlCommands::is_concerned(&command("list", "null")));
        let other = Message::parse(r#"{"type":"command","from":"bob|1","node":"door","action":"open"}"#);
        assert!(!ControlCommands::is_concerned(&other.expect("a command")));
    }

    #[test]
    fn replies_have_the_control_as_it_is_and_errors_their_code() {
        let (mut commands, now) = (commands(Controllers::Auto), Instant::now());
        let seven = Some("7".to_owned());
        commands.handle_command(command("set", r#"{"name":"gain","value":12}"#), None, RequestId(1), now);
        assert!(matches!(commands.poll_output(), Some(Output::Command(Command::SetControl { .. }))));
        let set = Control { value: Some(12), ..gain() };
        commands.handle_control(RequestId(1), &Ok(set.clone()));
        assert_eq!(replies(&mut commands), [(seven.clone(), (Status::OK, json!({ "control": set })))]);
        assert_eq!(commands.known()[0].value, Some(12));
        commands.handle_control(RequestId(1), &Ok(gain()));
        assert!(replies(&mut commands).is_empty(), "answered once");
        for (kind, status) in [
            (ErrorKind::BadValue, 400),
            (ErrorKind::NoControl, 404),
            (ErrorKind::NoCamera, 503),
            (ErrorKind::Other, 500),
        ] {
            ask(&mut commands, 2, now);
            let error = MediaError::new(kind, "words");
            commands.handle_controls(RequestId(2), &Err(error.clone()));
            let expected = (Status(status), json!({ "code": error.code(), "message": "words" }));
            assert_eq!(replies(&mut commands), [(seven.clone(), expected)]);
        }
    }

    #[test]
    fn no_more_is_taken_than_the_device_can_answer() {
        let (mut commands, now) = (commands(Controllers::Auto), Instant::now());
        for request in 0..MAX_ASKED as u64 {
            ask(&mut commands, request, now);
        }
        assert!(replies(&mut commands).is_empty());
        ask(&mut commands, 99, now);
        let refused = replies(&mut commands);
        assert_eq!((refused[0].1.0, &refused[0].1.1["code"]), (Status::UNAVAILABLE, &json!("busy")));
        commands.handle_controls(RequestId(0), &Ok(vec![]));
        assert_eq!(replies(&mut commands)[0].1.0, Status::OK);
        ask(&mut commands, 100, now);
        assert!(replies(&mut commands).is_empty(), "there is room for one more");
    }

    #[test]
    fn what_the_device_never_answers_is_answered_and_forgotten() {
        let (mut commands, now) = (commands(Controllers::Auto), Instant::now());
        assert_eq!(commands.poll_timeout(), None);
        let full = |commands: &mut ControlCommands, at| {
            for request in 0..MAX_ASKED as u64 {
                ask(commands, request, at);
            }
            assert!(commands.request(&command("list", "null")).is_err(), "it is busy");
        };
        full(&mut commands, now);
        assert_eq!(commands.poll_timeout(), Some(now + ANSWERS_WITHIN));
        commands.handle_timeout(now + ANSWERS_WITHIN - Duration::from_millis(1));
        assert!(replies(&mut commands).is_empty());
        commands.handle_timeout(now + ANSWERS_WITHIN);
        let late = replies(&mut commands);
        assert_eq!(late.len(), MAX_ASKED);
        let told = |(id, (status, _)): &(Option<String>, Reply)| {
            id.as_deref() == Some("7") && *status == Status::UNAVAILABLE
        };
        assert!(late.iter().all(told), "{late:?}");
        assert!(commands.poll_timeout().is_none() && commands.request(&command("list", "null")).is_ok());
        full(&mut commands, now + Duration::from_secs(60));
        commands.abandon();
        assert_eq!(replies(&mut commands).len(), MAX_ASKED);
        commands.abandon();
        assert!(commands.request(&command("list", "null")).is_ok() && replies(&mut commands).is_empty());
    }
}
