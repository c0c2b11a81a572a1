//! No bad frame from a client affects other clients.

use super::*;

/// Frames that are wrong in every way that a parser checks.
fn bad_frames() -> Vec<String> {
    let mut frames: Vec<String> = [
        "",
        " ",
        "null",
        "true",
        "7",
        "-0",
        "\"text\"",
        "[]",
        "[{}]",
        "{",
        "}",
        "{}",
        "{}{}",
        "{\"type\"}",
        "{'type':'auth'}",
        "{\"type\":\"auth\",}",
        "{\"type\":\"auth\" \"user\":\"a\"}",
        "\u{feff}{}",
        "\0",
        "{\"type\":\"\\ud800\"}",
        "{\"type\":\"message\",\"type\":\"message\"}",
        "{\"type\":\"message\",\"to\":\"a\",\"\\u0074o\":\"b\"}",
        "{\"\\ud800\":1,\"type\":\"message\"}",
        "{\"type\":\"message\",\"to\":\"\\ud800\"}",
        "{\"type\":\"presence\",\"to\":{}}",
        "{\"type\":\"message\",\"n\":01}",
        "{\"type\":\"message\",\"n\":NaN}",
        "{\"type\":\"message\",\"s\":\"\n\"}",
        "GET / HTTP/1.1",
        "<xml/>",
    ]
    .map(String::from)
    .to_vec();
    let values = ["null", "true", "7", "\"\"", "\"a|b\"", "[]", "[null]", "{}", "1e999"];
    for value in values {
        frames.push(format!(r#"{{"type":{value}}}"#));
        for field in ["user", "name", "token", "rooms", "data"] {
            frames.push(format!(r#"{{"type":"auth","{field}":{value}}}"#));
            frames.push(format!(r#"{{"type":"auth","user":"mallory","{field}":{value}}}"#));
        }
        for kind in ["join", "leave"] {
            frames.push(format!(r#"{{"type":"{kind}","room":{value}}}"#));
        }
        for kind in ["message", "presence", "command", "event", "close", "welcome", "receipt"] {
            frames.push(format!(r#"{{"type":"{kind}","to":{value},"id":{value},"data":{value}}}"#));
        }
        frames.push(format!(
            r#"{{"type":"presence","to":"nobody","data":{{"name":{value},"x":{value},"id":{value}}}}}"#
        ));
    }
    frames.push(format!(r#"{{"type":"message","data":{}{}}}"#, "[".repeat(500), "]".repeat(500)));
    frames.push(format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)));
    frames.push("{\"a\":".repeat(100_000));
    frames.push(format!(r#"{{"type":"auth","user":"{}"}}"#, "u".repeat(100_000)));
    frames.push(format!(r#"{{"type":"{}"}}"#, "t".repeat(100_000)));
    frames.push("x".repeat(600 << 10));
    frames
}

/// alice and bob talk; nobody else may receive anything.
fn undisturbed(w: &mut World, frame: &str) {
    let shown = &frame[..frame.len().min(80)];
    w.send("alice", r#"{"type":"message","to":"bob"}"#);
    let message = r##"{"from":"alice|#alice","type":"message","to":"bob"}"##;
    assert_eq!((w.got("bob"), w.got("alice")), (vec![message.to_owned()], vec![]), "{shown}");
    // They send one message per frame here, which must stay within the rate.
    w.pass(millis(20));
    w.forget();
}

#[test]
fn bad_frames_before_auth_close_their_sender_alone() {
    let (mut w, frames) = (World::open(), bad_frames());
    assert!(frames.len() > 100, "{}", frames.len());
    w.join("alice", &["r"]);
    w.join("bob", &["r"]);
    for frame in &frames {
        w.connect("mallory");
        w.send("mallory", frame);
        let admitted = w.got("mallory")[0].contains("welcome");
        assert_eq!(admitted, w.close("mallory").is_none(), "{frame}");
        w.cut("mallory");
        undisturbed(&mut w, frame);
    }
}

#[test]
fn bad_frames_after_auth_are_answered_or_ignored() {
    let mut w = World::open();
    w.join("alice", &["r"]);
    w.join("bob", &["r"]);
    for frame in &bad_frames() {
        w.join("mallory", &[]);
        w.send("mallory", frame);
        let (errors, close) = (w.errors("mallory"), w.close_code("mallory"));
        match close {
            None => assert!(errors.len() <= 1 && errors.iter().all(|status| [400, 403].contains(status))),
            Some(1000) => assert!(frame.contains("close")),
            Some(code) => assert_eq!((errors, code), (vec![413], 1009)),
        }
        w.cut("mallory");
        undisturbed(&mut w, frame);
    }
}

#[test]
fn binary_and_invalid_frames_close_with_their_code() {
    for admitted in [true, false] {
        let mut w = World::open();
        for name in ["binary", "broken", "latin"] {
            w.connect(name);
            if admitted {
                w.auth(name, &[]);
                w.forget();
            }
        }
        let [binary, broken, latin] = ["binary", "broken", "latin"].map(|name| w.end(name).conn);
        w.input(Input::Binary { conn: binary });
        w.input(Input::BadFrame { conn: broken, code: crate::proto::CloseCode(1002) });
        w.input(Input::BadFrame { conn: latin, code: crate::proto::CloseCode(1007) });
        for (name, code) in [("binary", 1003), ("broken", 1002), ("latin", 1007)] {
            assert_eq!((w.errors(name), w.close_code(name)), (vec![400], Some(code)), "{name}");
        }
    }
}

#[test]
fn inputs_for_unknown_connections_are_ignored() {
    let (mut w, conn) = (World::open(), ConnId(77));
    for input in [
        Input::Text { conn, text: "{}" },
        Input::Binary { conn },
        Input::TooLarge { conn },
        Input::Alive { conn },
        Input::Closed { conn },
        Input::Timeout,
    ] {
        w.input(input);
    }
    assert!(!w.hub.transmit(conn, 1000, w.now, &mut Vec::new()) && w.events.is_empty());
    w.connect("a");
    let conn = w.end("a").conn;
    w.input(Input::Connected { conn, id: "again".into(), host: None, local: false });
    assert_eq!(w.hub.stats().connections, 1);
}
