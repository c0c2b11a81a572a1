//! Log lines and `Debug` output contain no token, no address, and no text from a peer.

use std::sync::Mutex;

use serde_json::json;
use symple::client::{Config, Input};
use symple::proto::{Draft, MessageKind, Token};

use crate::scenario::{Client, config, presence, secs};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Collect;

impl log::Log for Collect {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Debug
    }

    fn log(&self, record: &log::Record<'_>) {
        LINES.lock().expect("no panic under this lock").push(record.args().to_string());
    }

    fn flush(&self) {}
}

#[test]
fn no_secret_reaches_a_log_line_or_a_debug_text() {
    log::set_logger(&Collect).expect("the only one of this program");
    log::set_max_level(log::LevelFilter::Debug);
    let secrets = ["hidden-token", "hidden-sdp", "hidden-user", "192.0.2.7", "hidden-room"];

    let token = Some(Token::new("hidden-token"));
    let mut client =
        Client::new(Config { token, rooms: vec!["hidden-room".into()], max_peers: 1, ..config() });
    let mut shown = format!("{:?}", client.agent);
    client.agent.connect(client.now);
    client.agent.handle_input(Input::Opened, client.now);
    for _ in 0..2 {
        shown.push_str(&format!("{:?}", client.agent.poll_output()));
    }
    client.text(&crate::scenario::welcome(1, &[]));
    client.json(presence("hidden-user", 2, true));
    client.json(presence("hidden-user", 3, true));
    client.text(r#"{"hidden-sdp"#);
    client.text(r#""hidden-sdp""#);
    client.text(r#"{"type":"hidden-sdp","type":"x"}"#);
    client.json(json!({"type":"error","status":403,"message":"hidden-room"}));
    client
        .agent
        .send(Draft::new(MessageKind::Message).to("hidden-user|2").data("hidden-sdp"), client.now)
        .expect("online");
    shown.push_str(&format!("{:?}", client.agent));
    shown.push_str(&format!("{:?}", client.agent.poll_output()));
    client.drain();
    client.input(Input::Closed { code: None, reason: "hidden-user" });
    client.run(secs(60));

    let lines = LINES.lock().expect("no panic under this lock").join("\n");
    assert!(lines.contains("offline") && lines.contains("ignoring a frame"), "the log is not empty: {lines}");
    for secret in secrets {
        assert!(!lines.contains(secret), "{secret} is in the log:\n{lines}");
        assert!(!shown.contains(secret), "{secret} is shown: {shown}");
    }
}
