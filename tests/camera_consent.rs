//! Who decides at a camera: whether the token or the application admits clients to its server, never both; and which
//! calls it accepts.
#![cfg(feature = "camera-gst")]

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use symple::call::body::{End, EndReason};
use symple::camera::{Admit, AnswerPolicy, Camera, Config, Event, Serve, Signalling};
use symple::media::source::gst::CaptureSettings;
use symple::net::ServerEvent;
use symple::proto::{Status, Token};
use symple::server::Admission;
use tungstenite::Message;

struct Running {
    camera: Camera,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(token: Option<&str>, admit: Admit, prepare: impl FnOnce(&Camera)) -> Running {
        Running::answering(AnswerPolicy::default(), token, admit, prepare)
    }

    fn answering(
        answer: AnswerPolicy,
        token: Option<&str>,
        admit: Admit,
        prepare: impl FnOnce(&Camera),
    ) -> Running {
        let listen = vec!["127.0.0.1:0".parse().expect("literal")];
        let serve = Serve { listen, token: token.map(Token::new), admit, ..Serve::default() };
        let capture = CaptureSettings { width: 320, height: 240, fps: 10, ..Default::default() };
        let mut config = Config { signalling: Signalling::Serve(serve), answer, ..Config::new(capture) };
        config.ice_servers = vec![json!({"urls": "turn:turn.example", "credential": "s3cret"})];
        let camera = Camera::new(config).expect("it starts");
        prepare(&camera);
        let address = camera.server().expect("its own").addresses()[0];
        let run = camera.run();
        let thread = Some(std::thread::spawn(move || smol::block_on(run)));
        Running { camera, address, thread }
    }

    /// The server's first answer to a client: `welcome`, or the status of an error.
    fn says_to(&self, user: &str, token: Option<&str>) -> Result<(), u64> {
        let message = Peer::enter(self, user, token).next();
        match message["type"].as_str() {
            Some("welcome") => Ok(()),
            _ => Err(message["status"].as_u64().expect("an error has a status")),
        }
    }

    fn get(&self, path: &str) -> String {
        use std::io::{Read, Write};
        let mut tcp = TcpStream::connect(self.address).expect("it listens");
        write!(tcp, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("open");
        let mut all = String::new();
        tcp.read_to_string(&mut all).expect("an answer");
        all
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.camera.shutdown();
        _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A client that has sent `auth`.
struct Peer(tungstenite::WebSocket<TcpStream>);

impl Peer {
    fn enter(running: &Running, user: &str, token: Option<&str>) -> Peer {
        let tcp = TcpStream::connect(running.address).expect("it listens");
        tcp.set_read_timeout(Some(Duration::from_secs(30))).expect("not zero");
        let (ws, _) = tungstenite::client(format!("ws://{}/", running.address), tcp).expect("upgraded");
        let mut peer = Peer(ws);
        peer.send(&json!({"type":"auth","user":user,"token":token,"rooms":["public"]}));
        peer
    }

    fn send(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).expect("open");
    }

    fn next(&mut self) -> Value {
        let Message::Text(text) = self.0.read().expect("a message") else { panic!("a text") };
        serde_json::from_str(&text).expect("JSON")
    }

    /// Waits until the camera is there: its server takes peers before.
    fn meet_camera(&mut self) {
        loop {
            let message = self.next();
            if message["type"] == "presence" && message["data"]["user"] == "camera" {
                return;
            }
        }
    }

    /// Calls the camera; returns the answer.
    fn call(&mut self, call: &str, data: &Value) -> Value {
        self.send(&json!({"type":"message","to":"camera","subtype":"call:init","call":call,"data":data}));
        loop {
            let message = self.next();
            if message["call"] == call {
                return message;
            }
        }
    }
}

/// Admits only Alice.
fn alice_alone(request: &symple::net::AuthRequest) {
    match request.auth.user.as_str() {
        "alice" => request.admit(Admission::default()),
        _ => request.refuse(Status::FORBIDDEN, "you are not Alice"),
    }
}

#[test]
fn the_token_decides_unless_the_application_does() {
    let running = Running::start(Some("t0ken"), Admit::default(), |_| {});
    assert_eq!(running.says_to("bob", Some("t0ken")), Ok(()));
    assert_eq!(running.says_to("bob", Some("wrong")), Err(401));
    assert_eq!(running.says_to("bob", None), Err(401));
    assert_eq!(running.says_to("camera", Some("t0ken")), Err(401));
}

#[test]
fn a_hook_on_the_server_decides_and_the_token_does_not() {
    let running = Running::start(Some("t0ken"), Admit::default(), |camera| {
        camera.server().expect("its own").on(|event| {
            if let ServerEvent::Authenticate { request } = event {
                alice_alone(&request);
            }
        });
    });
    assert_eq!(
        running.says_to("bob", Some("t0ken")),
        Err(403),
        "a client that the hook refuses is not admitted"
    );
    assert_eq!(
        running.says_to("alice", Some("another")),
        Ok(()),
        "a client that the hook admits is admitted"
    );
    assert_eq!(running.says_to("camera", Some("t0ken")), Err(401));
}

#[test]
fn a_client_without_a_verdict_is_refused_after_a_timeout() {
    let running = Running::start(Some("t0ken"), Admit::default(), |camera| {
        camera.server().expect("its own").on(|_| {});
    });
    let began = Instant::now();
    assert_eq!(running.says_to("bob", Some("t0ken")), Err(503));
    assert!(began.elapsed() >= Duration::from_secs(9), "{:?}", began.elapsed());
}

#[test]
fn a_callback_in_the_configuration_decides_alone() {
    let seen = Arc::new(Mutex::new(0));
    let count = seen.clone();
    let admit = Admit::application(|request| alice_alone(&request));
    let running = Running::start(None, admit, move |camera| {
        camera.server().expect("its own").on(move |event| {
            if let ServerEvent::Authenticate { request } = event {
                *count.lock().expect("no panic") += 1;
                request.admit(Admission::default());
            }
        });
    });
    assert_eq!(running.says_to("bob", Some("any")), Err(403));
    assert_eq!(running.says_to("alice", Some("any")), Ok(()));
    assert_eq!(
        running.says_to("alice", None),
        Err(401),
        "a client without a token is refused without a verdict"
    );
    assert_eq!(*seen.lock().expect("no panic"), 0, "the event callback is not asked as well");
    // The token does not open these paths either.
    assert!(running.get("/api/status").starts_with("HTTP/1.1 401"));
    assert!(!running.get("/api/config").contains("s3cret"));
}

#[test]
fn the_application_accepts_or_rejects_a_call() {
    let running = Running::answering(AnswerPolicy::Ask, None, Admit::default(), |camera| {
        let handle = camera.clone();
        camera.on(move |event| {
            let Event::Incoming { id, peer, data } = event else { return };
            let answered = match serde_json::from_str::<Value>(&data).expect("JSON")["purpose"].as_str() {
                Some("delivery") => handle.accept(id),
                Some("sales") => handle.reject(id, EndReason::NotAllowed),
                _ => handle.reject(id, End::new(EndReason::Declined, format!("not today, {}", peer.user()))),
            };
            answered.expect("the call waits for an answer");
            handle.accept(id).expect_err("the first answer counts");
        });
    });
    let mut caller = Peer::enter(&running, "postman", None);
    caller.meet_camera();
    let taken = caller.call("c1", &json!({"purpose": "delivery"}));
    assert_eq!(taken["subtype"], "call:accept");
    // A call replaces the previous one.
    let refused = caller.call("c2", &json!({"purpose": "sales"}));
    assert_eq!(
        (&refused["subtype"], &refused["data"]["reason"]),
        (&"call:reject".into(), &"not-allowed".into())
    );
    let declined = caller.call("c3", &json!({}));
    assert_eq!(declined["data"]["reason"], "declined");
    assert_eq!(declined["data"]["message"], "not today, postman");
}

#[test]
fn presence_says_that_everybody_is_answered_exactly_while_that_is_so() {
    let running = Running::answering(AnswerPolicy::All, None, Admit::default(), |_| {});
    let mut viewer = Peer::enter(&running, "viewer", None);
    let mut answers = |wanted: &Value| {
        loop {
            let message = viewer.next();
            let data = &message["data"];
            if message["type"] == "presence" && data["user"] == "camera" && &data["answers"] == wanted {
                return;
            }
        }
    };
    answers(&json!("all"));
    running.camera.reconfigure(|config| config.answer = AnswerPolicy::Ask).expect("it may change");
    answers(&Value::Null);
    let mut later = Peer::enter(&running, "later", None);
    let seen = loop {
        let message = later.next();
        if message["type"] == "presence" && message["data"]["user"] == "camera" {
            break message;
        }
    };
    assert_eq!(seen["data"]["answers"], Value::Null, "{seen}");
    running.camera.reconfigure(|config| config.answer = AnswerPolicy::All).expect("it may change");
    answers(&json!("all"));
    // A call with an offer is answered without another turn.
    let offer = include_str!("../src/rtc/tests/chromium_offer.sdp");
    let mut caller = Peer::enter(&running, "caller", None);
    let taken = caller.call("c1", &json!({"video": true, "offer": {"type": "offer", "sdp": offer}}));
    assert_eq!((&taken["subtype"], &taken["data"]), (&"call:accept".into(), &json!({"offer": true})));
    let answered = loop {
        let message = caller.next();
        if message["call"] == "c1" {
            break message;
        }
    };
    assert_eq!(answered["subtype"], "call:answer", "{answered}");
}
