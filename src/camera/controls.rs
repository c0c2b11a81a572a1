//! The camera's controls by the wire: who may, what is asked, and what is answered.
//!
//! The commands are described at [`Controllers`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::config::{Controllers, Signalling};
use crate::call::RateLimit;
use crate::limit::{Buckets, RateKey};
use crate::media::error::{ErrorKind, MediaError};
use crate::media::source::RequestId;
use crate::media::source::controls::{Control, Value};
use crate::proto::{Message, Status};

/// What such commands are sent to.
const NODE: &str = "camera:control";

/// Commands that wait for the device. Each takes it milliseconds.
const MAX_ASKED: usize = 32;

/// How long a device may take to answer. One that is being opened takes a second or two.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Commands of one host, or user, who may set the controls: a hand that drags a slider.
const ALLOWED: RateLimit = RateLimit { per_second: 50, burst: 100 };

/// Commands of one host, or user, who may not, and is told so.
const REFUSED: RateLimit = RateLimit { per_second: 2, burst: 8 };

/// What a peer wants.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ControlRequest {
    List,
    Set(String, Value),
}

/// A reply: its status and data.
pub(super) type Reply = (Status, Json);

/// The commands under way, and what is known of the controls.
pub(super) struct ControlCommands {
    may: Controllers,
    /// Whether [`Controllers::Auto`] is everybody.
    open: bool,
    pub known: Vec<Control>,
    /// Since when.
    asked: BTreeMap<RequestId, (Instant, Message)>,
    heard: Buckets<RateKey>,
    refused: Buckets<RateKey>,
}

impl ControlCommands {
    pub(super) fn new(may: Controllers, signalling: &Signalling, known: Vec<Control>) -> Self {
        let open = match signalling {
            // Who knows the token may do what the token is for; and who reaches loopback is at home, unless a
            // proxy there brings in anybody.
            Signalling::Serve(serve) => {
                let home = serve.listen.iter().all(|address| address.ip().is_loopback());
                serve.token.is_some() || home && serve.trusted_proxies.is_empty()
            }
            // That server's rules are not ours to guess.
            Signalling::Connect(_) | Signalling::Within(_) => false,
        };
        ControlCommands {
            may,
            open,
            known,
            asked: BTreeMap::new(),
            heard: Buckets::new(ALLOWED),
            refused: Buckets::new(REFUSED),
        }
    }

    /// Whether a command is one of these.
    pub(super) fn is_concerned(command: &Message) -> bool {
        command.get::<String>("node").ok().flatten().is_some_and(|node| node == NODE)
    }

    /// Whether anybody at all may.
    pub(super) fn is_of_use(&self) -> bool {
        !self.known.is_empty()
            && match &self.may {
                Controllers::Auto => self.open,
                Controllers::Nobody => false,
                Controllers::Everybody => true,
                Controllers::Users(users) => !users.is_empty(),
            }
    }

    fn allows(&self, user: &str) -> bool {
        match &self.may {
            Controllers::Auto => self.open,
            Controllers::Nobody => false,
            Controllers::Everybody => true,
            Controllers::Users(users) => users.iter().any(|allowed| allowed == user),
        }
    }

    /// Whether to answer a command at all: each is answered, and nobody makes us send as much as they like.
    pub(super) fn admits(&mut self, command: &Message, host: Option<IpAddr>, now: Instant) -> bool {
        let Some(from) = command.from() else { return false };
        let allowed = self.allows(from.user());
        let buckets = if allowed { &mut self.heard } else { &mut self.refused };
        buckets.take(&RateKey::new(host, from.as_str()), now)
    }

    /// What a command wants of the device.
    ///
    /// Errors: the reply to one that wants what it may not, or what nobody understands.
    pub(super) fn request(&self, command: &Message) -> Result<ControlRequest, Reply> {
        let refuse =
            |status, code: &str, message: String| (status, json!({ "code": code, "message": message }));
        let user = command.from().map(|from| from.user().to_owned()).unwrap_or_default();
        if !self.allows(&user) {
            let message = "this camera's controls are not for you: its owner says who may set them";
            return Err(refuse(Status::FORBIDDEN, "not-allowed", message.into()));
        }
        if self.asked.len() >= MAX_ASKED {
            let message = "too much is asked of the camera at once: wait for the replies";
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

    /// A command's wish is with the device now.
    pub(super) fn asked(&mut self, request: RequestId, command: Message, now: Instant) {
        self.asked.insert(request, (now, command));
    }

    /// Commands that the device has not answered in time, and what they are answered instead.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(Message, Reply)> {
        let late =
            |_: &RequestId, (at, _): &mut (Instant, Message)| now.duration_since(*at) >= ANSWERS_WITHIN;
        let late = self.asked.extract_if(.., late).map(|(_, (_, command))| command);
        late.map(|command| (command, not_now("the camera did not answer in time"))).collect()
    }

    /// The source is replaced: what it was asked for, it does not answer any more.
    pub(super) fn abandon(&mut self) -> Vec<(Message, Reply)> {
        let asked = std::mem::take(&mut self.asked).into_values();
        asked.map(|(_, command)| (command, not_now("another source takes the camera's place"))).collect()
    }

    /// A control was set, or not. Answers the command that wanted it, where one did.
    pub(super) fn handle_control(
        &mut self,
        request: RequestId,
        result: &Result<Control, MediaError>,
    ) -> Option<(Message, Reply)> {
        if let Ok(control) = result
            && let Some(known) = self.known.iter_mut().find(|known| known.id == control.id)
        {
            known.clone_from(control);
        }
        let reply = match result {
            Ok(control) => (Status::OK, json!({ "control": control })),
            Err(error) => answer_error(error),
        };
        self.asked.remove(&request).map(|(_, command)| (command, reply))
    }

    /// All controls were read, or not. Answers the command that wanted them, where one did.
    pub(super) fn handle_controls(
        &mut self,
        request: RequestId,
        result: &Result<Vec<Control>, MediaError>,
    ) -> Option<(Message, Reply)> {
        if let Ok(controls) = result {
            self.known.clone_from(controls);
        }
        let reply = match result {
            Ok(controls) => (Status::OK, json!({ "controls": controls })),
            Err(error) => answer_error(error),
        };
        self.asked.remove(&request).map(|(_, command)| (command, reply))
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
    use crate::camera::{Connect, Serve};
    use crate::media::source::controls::ControlKind;
    use crate::proto::Token;

    fn gain() -> Control {
        Control::new(0x0098_0913, "Gain", ControlKind::Integer { min: 0, max: 255, step: 1 })
    }

    fn serve(listen: &str, token: Option<&str>) -> Signalling {
        let listen = vec![listen.parse().expect("literal")];
        Signalling::Serve(Serve { listen, token: token.map(Token::new), ..Serve::default() })
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

    fn commands(may: Controllers) -> ControlCommands {
        ControlCommands::new(may, &serve("127.0.0.1:4500", None), vec![gain()])
    }

    #[test]
    fn who_may_is_told_by_configuration_token_and_reach() {
        let elsewhere = Signalling::Connect(Connect::new("wss://a.example"));
        let Signalling::Serve(home) = serve("127.0.0.1:4500", None) else { unreachable!("made as such") };
        let trusted_proxies = vec!["127.0.0.1".parse().expect("a network")];
        let proxied = Signalling::Serve(Serve { trusted_proxies, ..home });
        let users = |names: &[&str]| Controllers::Users(names.iter().map(|&name| name.into()).collect());
        let table = [
            (Controllers::Auto, serve("127.0.0.1:4500", None), true),
            (Controllers::Auto, serve("[::1]:4500", None), true),
            (Controllers::Auto, serve("0.0.0.0:4500", None), false),
            (Controllers::Auto, serve("0.0.0.0:4500", Some("secret")), true),
            (Controllers::Auto, proxied, false),
            (Controllers::Auto, elsewhere.clone(), false),
            (Controllers::Everybody, elsewhere.clone(), true),
            (Controllers::Everybody, serve("0.0.0.0:4500", None), true),
            (Controllers::Nobody, serve("127.0.0.1:4500", Some("secret")), false),
            (users(&["bob"]), elsewhere.clone(), true),
            (users(&["eve"]), serve("127.0.0.1:4500", None), false),
            (users(&[]), elsewhere, false),
        ];
        for (may, signalling, expected) in table {
            let words = format!("{may:?} {signalling:?}");
            let commands = ControlCommands::new(may, &signalling, vec![gain()]);
            assert_eq!(commands.allows("bob"), expected, "{words}");
            let refused = commands.request(&command("list", "null")).err().map(|(status, _)| status);
            assert_eq!(refused, (!expected).then_some(Status::FORBIDDEN), "{words}");
        }
        assert!(
            !ControlCommands::new(Controllers::Everybody, &serve("127.0.0.1:1", None), vec![]).is_of_use()
        );
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
    fn replies_tell_the_control_as_it_is_and_errors_their_code() {
        let mut commands = commands(Controllers::Auto);
        commands.asked(RequestId(1), command("set", "null"), Instant::now());
        let set = Control { value: Some(12), ..gain() };
        let (to, (status, data)) = commands.handle_control(RequestId(1), &Ok(set)).expect("it was asked");
        assert_eq!((to.id(), status), (Some("7"), Status::OK));
        assert_eq!((&data["control"]["name"], &data["control"]["value"]), (&json!("gain"), &json!(12)));
        assert_eq!(commands.known[0].value, Some(12));
        assert!(commands.handle_control(RequestId(1), &Ok(gain())).is_none(), "answered once");
        for (kind, status) in [
            (ErrorKind::BadValue, 400),
            (ErrorKind::NoControl, 404),
            (ErrorKind::NoCamera, 503),
            (ErrorKind::Other, 500),
        ] {
            commands.asked(RequestId(2), command("list", "null"), Instant::now());
            let error = MediaError::new(kind, "words");
            let (_, (found, data)) =
                commands.handle_controls(RequestId(2), &Err(error.clone())).expect("asked");
            assert_eq!(found, Status(status));
            assert_eq!(data, json!({ "code": error.code(), "message": "words" }));
        }
    }

    #[test]
    fn no_more_is_taken_than_the_device_can_answer() {
        let (mut commands, now) = (commands(Controllers::Auto), Instant::now());
        for request in 0..MAX_ASKED {
            assert!(commands.request(&command("list", "null")).is_ok());
            commands.asked(RequestId(request as u64), command("list", "null"), now);
        }
        let (status, data) = commands.request(&command("list", "null")).expect_err("too many");
        assert_eq!((status, &data["code"]), (Status::UNAVAILABLE, &json!("busy")));
        commands.handle_controls(RequestId(0), &Ok(vec![]));
        assert!(commands.request(&command("list", "null")).is_ok());
    }
    #[test]
    fn what_the_device_never_answers_is_answered_and_forgotten() {
        let (mut commands, now) = (commands(Controllers::Auto), Instant::now());
        let full = |commands: &mut ControlCommands, at| {
            for request in 0..MAX_ASKED {
                commands.asked(RequestId(request as u64), command("list", "null"), at);
            }
            assert!(commands.request(&command("list", "null")).is_err(), "it is busy");
        };
        full(&mut commands, now);
        assert!(commands.expire(now + ANSWERS_WITHIN - Duration::from_millis(1)).is_empty());
        let late = commands.expire(now + ANSWERS_WITHIN);
        assert_eq!(late.len(), MAX_ASKED);
        assert!(late.iter().all(|(to, (status, _))| to.id() == Some("7") && *status == Status::UNAVAILABLE));
        assert!(commands.request(&command("list", "null")).is_ok(), "it is busy no longer");
        full(&mut commands, now);
        assert_eq!(commands.abandon().len(), MAX_ASKED);
        assert!(commands.request(&command("list", "null")).is_ok() && commands.abandon().is_empty());
    }
}
