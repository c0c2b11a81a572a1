//! A whole camera, with every crate that it uses: tokens, SDP and addresses stay out of every log line above trace,
//! with and without failures.
//!
//! In a file of its own, since a logger is global to the process.
#![cfg(feature = "camera-gst")]

use std::net::TcpStream;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use symple::camera::{Camera, Config, Event, Serve, Signalling};
use symple::media::source::gst::CaptureSettings;
use symple::proto::Token;
use tungstenite::{Message, WebSocket};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Recorder;

impl log::Log for Recorder {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() < log::Level::Trace
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LINES.lock().expect("no logger panics").push(format!("{}: {}", record.target(), record.args()));
        }
    }

    fn flush(&self) {}
}

const OFFER: &str = include_str!("../src/rtc/tests/chromium_offer.sdp");

struct Viewer(WebSocket<TcpStream>);

impl Viewer {
    fn connect(port: u16, token: &str) -> Viewer {
        let tcp = TcpStream::connect(("127.0.0.1", port)).expect("the camera listens");
        tcp.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
        let mut ws =
            tungstenite::client(format!("ws://127.0.0.1:{port}/?s3cret-query"), tcp).expect("upgraded").0;
        let auth = json!({"type":"auth","user":"s3cret-user","token":token,"data":{"x":"s3cret-data"}});
        ws.send(Message::text(auth.to_string())).expect("open");
        Viewer(ws)
    }

    /// The next message that matches; `None` if the socket ends first.
    fn next(&mut self, is: impl Fn(&Value) -> bool) -> Option<Value> {
        loop {
            let Ok(Message::Text(text)) = self.0.read() else { return None };
            let message = serde_json::from_str(&text).expect("the server sends JSON");
            if is(&message) {
                return Some(message);
            }
        }
    }

    fn say(&mut self, to: &str, subtype: &str, data: Value) {
        let message = json!({"type":"message","to":to,"subtype":subtype,"call":"s3cret-call","data":data});
        self.0.send(Message::text(message.to_string())).expect("open");
    }
}

/// All messages of a camera with this source to its program and a viewer, until the source is lost.
fn dead_source(source: &str) -> String {
    let listen = vec!["127.0.0.1:0".parse().expect("literal")];
    let signalling = Signalling::Serve(Serve { listen, ..Serve::default() });
    let source = source.parse().expect("a source");
    let config =
        Config { signalling, ..Config::new(CaptureSettings { source, ..CaptureSettings::default() }) };
    let printed = format!("{config:?}");
    let camera = Camera::new(config).expect("nothing is asked of the source before the start");
    let port = camera.server().expect("its own").addresses()[0].port();
    let (tell, told) = std::sync::mpsc::channel();
    camera.on(move |event| {
        // The viewer's own data is not a secret of the source.
        if !matches!(event, Event::Client { .. } | Event::Calling { .. } | Event::CallFailed { .. }) {
            _ = tell.send(format!("{event:?}"));
        }
    });
    let run = camera.run();
    let running = std::thread::spawn(move || smol::block_on(run));
    let mut viewer = Viewer::connect(port, "");
    let to = viewer.next(|m| m["data"]["peerType"] == "camera").expect("it is there")["from"].clone();
    let to = to.as_str().expect("an address");
    viewer.say(to, "call:init", json!({}));
    viewer.say(to, "call:offer", json!({"type":"offer","sdp":OFFER}));
    let lost = viewer.next(|m| m["name"] == "source" && m["data"]["state"] == "lost").expect("it is told");
    let status = format!("{:?}", camera.status().source);
    drop(viewer);
    camera.shutdown();
    running.join().expect("no driver panics");
    [printed, lost["data"].to_string(), status, told.try_iter().collect()].concat()
}

#[test]
fn no_line_contains_a_token_a_description_or_an_address() {
    log::set_logger(&Recorder).expect("no other logger in this process");
    log::set_max_level(log::LevelFilter::Trace);

    let listen = vec!["127.0.0.1:0".parse().expect("literal")];
    let serve = Serve { listen, token: Some(Token::new("s3cret-token")), ..Serve::default() };
    let camera =
        Camera::new(Config { signalling: Signalling::Serve(serve), ..Config::default() }).expect("it starts");
    let port = camera.server().expect("its own").addresses()[0].port();
    let run = camera.run();
    let running = std::thread::spawn(move || smol::block_on(run));

    let mut wrong = Viewer::connect(port, "s3cret-wrong");
    assert_eq!(wrong.next(|m| m["type"] == "error").expect("refused")["status"], 401);

    let mut viewer = Viewer::connect(port, "s3cret-token");
    let is_camera = |m: &Value| m["type"] == "presence" && m["data"]["peerType"] == "camera";
    let to = viewer.next(is_camera).expect("it is told of the camera")["from"].clone();
    let to = to.as_str().expect("an address");

    // An invalid description, and other possible mistakes of a viewer.
    viewer.say(to, "call:init", json!({}));
    viewer.say(
        to,
        "call:offer",
        json!({"type":"offer","sdp":"v=0\r\ns=s3cret-sdp\r\nc=IN IP4 203.0.113.9\r\n"}),
    );
    viewer.next(|m| m["subtype"] == "call:hangup").expect("it is refused");
    viewer.0.send(Message::text(r#"{"type":"message","to":7,"data":"s3cret-data"}"#)).expect("open");
    viewer.0.send(Message::text(r#"{"type":"message","s3cret-member"}"#)).expect("open");
    viewer.next(|m| m["type"] == "error").expect("it is told");

    // A valid one, with good and bad candidates.
    viewer.say(to, "call:init", json!({}));
    viewer.say(to, "call:offer", json!({"type":"offer","sdp":OFFER}));
    let answer = viewer.next(|m| m["subtype"] == "call:answer").expect("an answer");
    let sdp = answer["data"]["sdp"].as_str().expect("a description").to_owned();
    for candidate in ["candidate:1 1 udp 2130706431 203.0.113.9 5000 typ host", "candidate:s3cret-candidate"]
    {
        viewer.say(to, "call:candidate", json!({"candidate":candidate,"sdpMid":"0","sdpMLineIndex":0}));
    }
    viewer.say(to, "call:hangup", json!({"reason":"s3cret-reason"}));
    // A second call is answered, so the camera has handled everything before.
    viewer.say(to, "call:init", json!({}));
    viewer.next(|m| m["subtype"] == "call:accept").expect("it accepts");
    drop(viewer);
    camera.shutdown();
    running.join().expect("no driver panics");

    // An unreachable network camera, with credentials in each part of its address.
    for source in ["rtsp://s3cret:s3cret/x@127.0.0.1:1/s3cret", "rtsp://127.0.0.1:1/user=s3cret?token=s3cret"]
    {
        let told = dead_source(source);
        assert!(told.contains("unreachable") && !told.contains("s3cret"), "{source}: {told}");
    }

    let secrets = sdp
        .lines()
        .filter_map(|l| {
            l.strip_prefix("a=ice-ufrag:")
                .or(l.strip_prefix("a=ice-pwd:"))
                .or(l.strip_prefix("a=fingerprint:sha-256 "))
        })
        .chain(["s3cret", "203.0.113.9", "127.0.0.1", "a=ice-ufrag", "v=0"]);
    let lines = LINES.lock().expect("no logger panics");
    assert!(lines.iter().any(|l| l.contains("is admitted")), "the recorder works: {lines:?}");
    for secret in secrets {
        let told: Vec<_> = lines.iter().filter(|l| l.contains(secret)).collect();
        assert!(told.is_empty(), "{secret} is revealed: {told:#?}");
    }
}
