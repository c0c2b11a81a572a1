//! From the socket to `welcome`, and every way to be refused.

use super::*;
use crate::proto::Token;
use crate::proto::{CloseCode, Object, Status};
use crate::server::{Admission, Auth, Verdict};

const AUTH: &str = r#"{"type":"auth","user":"alice","name":"Alice","token":"t0ken","rooms":["team-a"],"data":{"peerType":"person"}}"#;

fn guarded() -> World {
    World::new(Config { authenticate: true, ..Config::default() })
}

fn asked(w: &mut World) -> Auth {
    match w.events.pop() {
        Some(Event::Authenticate { auth, .. }) => auth,
        other => panic!("not asked: {other:?}"),
    }
}

fn judge(w: &mut World, name: &str, verdict: Verdict) {
    let conn = w.end(name).conn;
    w.input(Input::Verdict { conn, verdict });
}

fn error(status: u16, message: &str) -> String {
    format!(r#"{{"type":"error","status":{status},"message":{message:?}}}"#)
}

#[test]
fn auth_is_answered_welcome() {
    let mut w = World::open();
    w.connect("a");
    w.send("a", AUTH);
    assert_eq!(
        w.got("a"),
        [
            r##"{"type":"welcome","protocol":"symple/4","status":200,"peer":{"id":"#a","user":"alice","name":"Alice","online":true,"host":"192.0.2.7","peerType":"person"},"rooms":["alice","team-a"]}"##
        ]
    );
    assert!(matches!(&w.events[..], [Event::PeerOnline { peer, .. }] if peer.host.is_none()));
}

#[test]
fn name_defaults_to_user() {
    for (members, want) in [
        (r#""name":"Al""#, "Al"),
        (r#""name":"""#, "alice"),
        (r#""x":1"#, "alice"),
        (r#""data":{"name":"Ali"}"#, "Ali"),
        (r#""name":"Al","data":{"name":"Ali"}"#, "Al"),
    ] {
        let mut w = World::open();
        w.connect("a");
        w.send("a", &format!(r#"{{"type":"auth","user":"alice",{members}}}"#));
        assert!(w.got("a")[0].contains(&format!(r#""name":"{want}","online":true"#)), "{members}");
    }
}

#[test]
fn data_becomes_members_except_those_of_the_server() {
    let mut w = World::open();
    w.join("bob", &["r"]);
    w.connect("a");
    w.send("a", r#"{"type":"auth","user":"alice","rooms":["r"],"token":"t0ken","data":{"id":"x","user":"x","online":false,"host":"x","token":"t0ken","rooms":["x"],"n":1.0,"type":"cam"}}"#);
    let told = r##"{"id":"#a","user":"alice","name":"alice","online":true,"n":1.0,"type":"cam"}"##;
    assert_eq!(w.got("bob"), [format!(r##"{{"type":"presence","from":"alice|#a","data":{told}}}"##)]);
    assert!(!w.got("a").concat().contains("t0ken"), "a token is revealed to nobody, not even its owner");
}

#[test]
fn anything_instead_of_auth_closes_with_its_error() {
    for (first, status, code) in [
        (r#"{"type":"message"}"#, 401, 1008),
        (r#"{"type":"join","room":"r"}"#, 401, 1008),
        (r#"{"type":"auth"}"#, 401, 1008),
        (r#"{"type":"auth","user":"a|b"}"#, 401, 1008),
        ("no json", 400, 1008),
        ("null", 400, 1008),
    ] {
        let mut w = World::open();
        w.connect("a");
        w.send("a", first);
        assert_eq!((w.errors("a"), w.close_code("a")), (vec![status], Some(code)), "{first}");
        assert!(matches!(&w.events[..], [Event::Refused { status: s, .. }] if s.0 == status));
        w.send("a", AUTH);
        assert!(w.got("a").is_empty(), "later frames are ignored");
    }
}

#[test]
fn no_auth_in_ten_seconds_is_408() {
    let mut w = World::open();
    w.connect("a");
    w.pass(millis(9_999));
    assert!(w.got("a").is_empty());
    w.pass(millis(1));
    assert_eq!(w.got("a"), [error(408, "\"auth\" was not received within 10s")]);
    assert_eq!(w.close_code("a"), Some(1008));
}

#[test]
fn pings_do_not_prolong_the_wait_for_auth() {
    let mut w = World::open();
    let conn = w.connect("a");
    for _ in 0..10 {
        w.pass(secs(1));
        w.input(Input::Alive { conn });
    }
    assert_eq!(w.errors("a"), [408]);
}

#[test]
fn a_second_auth_is_answered_400_and_ignored() {
    let mut w = World::open();
    w.join("alice", &[]);
    w.send("alice", r#"{"type":"auth","user":"bob"}"#);
    assert_eq!(w.got("alice"), [error(400, "Already authenticated")]);
    w.join("carol", &["alice", "bob"]);
    w.send("alice", r#"{"type":"join","room":"alice"}"#);
    assert_eq!(w.got("alice"), [r#"{"type":"join:ok","room":"alice"}"#]);
}

#[test]
fn the_host_is_asked_and_its_verdict_counts() {
    let mut w = guarded();
    w.connect("a");
    w.send("a", AUTH);
    let auth = asked(&mut w);
    assert_eq!((&*auth.user, auth.name.as_deref()), ("alice", Some("Alice")));
    assert_eq!((auth.token.as_ref().map(Token::reveal), auth.host), (Some("t0ken"), Some(HOST)));
    assert_eq!((&*auth.rooms, auth.data["peerType"].as_str()), (&["team-a".into()][..], Some("person")));
    assert!(!format!("{auth:?}").contains("t0ken"));
    w.pass(secs(5));
    assert!(w.got("a").is_empty(), "the verdict may take its time");
    let mut data = Object::new();
    data.insert("peerType".into(), "camera".into());
    data.insert("id".into(), "x".into());
    let admission = Admission {
        user: Some("alina".into()),
        name: Some("A.".into()),
        rooms: vec!["club".into(), "".into(), "club".into()],
        data,
    };
    judge(&mut w, "a", Verdict::Admit(admission));
    assert_eq!(
        w.got("a"),
        [
            r##"{"type":"welcome","protocol":"symple/4","status":200,"peer":{"id":"#a","user":"alina","name":"A.","online":true,"host":"192.0.2.7","peerType":"camera"},"rooms":["alina","club"]}"##
        ]
    );
}

#[test]
fn rooms_of_auth_are_honoured_only_without_authentication() {
    let mut w = guarded();
    w.connect("a");
    w.send("a", AUTH);
    judge(&mut w, "a", Verdict::Admit(Admission::default()));
    assert!(w.got("a")[0].ends_with(r#""rooms":["alice"]}"#));
}

#[test]
fn an_authenticating_server_requires_a_token() {
    for token in ["", r#","token":"""#, r#","token":null"#, r#","token":7"#] {
        let mut w = guarded();
        w.connect("a");
        w.send("a", &format!(r#"{{"type":"auth","user":"alice"{token}}}"#));
        assert_eq!((w.errors("a"), w.close_code("a")), (vec![401], Some(1008)), "{token}");
        assert!(!w.events.iter().any(|event| matches!(event, Event::Authenticate { .. })));
    }
}

#[test]
fn a_refusal_has_the_words_of_the_host() {
    for (status, code) in [(401, 1008), (403, 1008), (500, 1011), (503, 1013)] {
        let mut w = guarded();
        w.connect("a");
        w.send("a", AUTH);
        let message = "Authentication failed: No session";
        judge(&mut w, "a", Verdict::Refuse { status: Status(status), message: message.into() });
        assert_eq!(w.got("a"), [error(status, message)]);
        assert_eq!(w.close("a"), Some((code, message.into())));
        judge(&mut w, "a", Verdict::Admit(Admission::default()));
        assert!(w.got("a").is_empty(), "the first verdict stands");
    }
}

#[test]
fn an_admission_without_a_valid_user_is_500() {
    let mut w = guarded();
    w.connect("a");
    w.send("a", AUTH);
    judge(&mut w, "a", Verdict::Admit(Admission { user: Some("a|b".into()), ..Admission::default() }));
    assert_eq!((w.errors("a"), w.close_code("a")), (vec![500], Some(1011)));
    assert_eq!(w.hub.stats().peers, 0);
}

#[test]
fn no_verdict_in_time_is_503() {
    let mut w = guarded();
    w.connect("a");
    w.send("a", AUTH);
    w.pass(secs(10));
    assert_eq!((w.errors("a"), w.close_code("a")), (vec![503], Some(1013)));
}

#[test]
fn frames_before_the_verdict_are_held_in_order() {
    let mut w = guarded();
    w.connect("a");
    w.send("a", AUTH);
    w.send("a", r#"{"type":"join","room":"x"}"#);
    w.send("a", r#"{"type":"auth","user":"b"}"#);
    w.send("a", "junk");
    assert!(w.got("a").is_empty());
    judge(&mut w, "a", Verdict::Admit(Admission::default()));
    let got = w.got("a");
    assert!(got[0].contains("welcome") && got[1].contains("join:ok"));
    assert!(got[2].contains("400") && got[3].contains("400") && got.len() == 4);
}

#[test]
fn frames_before_the_verdict_are_bounded() {
    for (frames, bytes) in [(65, 10), (5, 16 << 10)] {
        let mut w = guarded();
        w.connect("a");
        w.send("a", AUTH);
        for _ in 0..frames {
            w.send("a", &"x".repeat(bytes));
        }
        assert_eq!((w.errors("a"), w.close_code("a")), (vec![429], Some(1008)));
    }
}

#[test]
fn a_verdict_for_a_closed_connection_is_ignored() {
    let mut w = guarded();
    w.connect("a");
    w.send("a", AUTH);
    let conn = w.end("a").conn;
    w.cut("a");
    w.input(Input::Verdict { conn, verdict: Verdict::Admit(Admission::default()) });
    assert_eq!((w.hub.stats().peers, w.hub.stats().connections, w.hub.stats().rooms), (0, 0, 0));
    assert!(!w.events.iter().any(|event| matches!(event, Event::PeerOnline { .. })));
}

#[test]
fn a_verdict_without_a_request_is_ignored() {
    let mut w = guarded();
    w.connect("a");
    judge(&mut w, "a", Verdict::Admit(Admission::default()));
    assert_eq!((w.got("a").len(), w.hub.stats().peers), (0, 0));
}

#[test]
fn a_full_server_answers_503_and_closes_with_1013() {
    let mut w = World::new(Config { max_connections: 2, ..Config::default() });
    w.connect("a");
    w.join("b", &[]);
    w.connect("c");
    assert_eq!(w.got("c"), [error(503, "The server is full; try again later")]);
    assert_eq!(w.close_code("c"), Some(1013));
    w.connect_as("local", true);
    w.auth("local", &[]);
    assert!(w.got("local")[0].contains("welcome"), "in-process peers are not counted");
    w.cut("b");
    w.connect("d");
    assert_eq!(w.close("d"), None, "one left, and the refused one does not count");
}

#[test]
fn everybody_is_put_into_the_configured_rooms() {
    let mut w = World::new(Config { rooms: vec!["public".into(), "".into()], ..Config::default() });
    w.connect("public");
    w.auth("public", &[]);
    assert!(w.got("public")[0].ends_with(r#""rooms":["public"]}"#));
    w.connect("bob");
    w.auth("bob", &["team"]);
    let got = w.got("bob");
    assert!(got[0].ends_with(r#""rooms":["bob","public","team"]}"#));
    assert_eq!(got[1..], [online("public")], "a user with the name of the room is in it too");
}

#[test]
fn local_peers_are_trusted() {
    let mut w = World::new(Config { authenticate: true, dynamic_rooms: false, ..Config::default() });
    w.connect_as("cam", true);
    w.auth("cam", &["public"]);
    w.send("cam", r#"{"type":"join","room":"more"}"#);
    let got = w.got("cam");
    assert!(got[0].ends_with(r#""rooms":["cam","public"]}"#) && got[1].contains("join:ok"));
    w.pass(secs(600));
    assert_eq!((w.close("cam"), w.end("cam").pings), (None, 0));
}

#[test]
fn too_many_rooms_at_auth_are_429() {
    let mut w = World::new(Config { max_rooms: 3, ..Config::default() });
    for (name, rooms, ok) in [("a", &["1", "2"][..], true), ("b", &["1", "2", "3"][..], false)] {
        w.connect(name);
        w.auth(name, rooms);
        assert_eq!(w.close_code(name), if ok { None } else { Some(1008) });
        assert_eq!(w.errors(name), if ok { vec![] } else { vec![429] });
    }
}

#[test]
fn an_id_belongs_to_one_session() {
    let mut w = World::open();
    w.join("alice", &[]);
    for (conn, id) in [(91, "#alice"), (92, ""), (93, "a|b")] {
        let conn = ConnId(conn);
        w.input(Input::Connected { conn, id: id.into(), host: None, local: false });
        w.input(Input::Text { conn, text: r#"{"type":"auth","user":"x"}"# });
        let mut out = Vec::new();
        w.hub.transmit(conn, 1000, w.now, &mut out);
        assert!(
            matches!(&out[..], [Transmit::Text(_), Transmit::Close { code, .. }] if *code == CloseCode::INTERNAL)
        );
    }
    assert_eq!(w.hub.stats().peers, 1);
}

#[test]
fn host_is_shown_in_its_canonical_form() {
    for (host, told) in
        [("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8::1", "2001:db8::1")]
    {
        let (mut w, conn, mut out) = (World::open(), ConnId(9), Vec::new());
        let host = host.parse().ok();
        w.input(Input::Connected { conn, id: "9f".into(), host, local: false });
        w.input(Input::Text { conn, text: r#"{"type":"auth","user":"alice"}"# });
        w.hub.transmit(conn, 1000, w.now, &mut out);
        let host = format!(r#""host":"{told}""#);
        assert!(matches!(&out[..], [Transmit::Text(text)] if text.contains(&host)), "{out:?}");
    }
}

#[test]
fn only_peers_in_this_process_may_use_a_reserved_name() {
    let words =
        "Authentication failed: this user name is reserved for the server's own process; choose another";
    for authenticate in [false, true] {
        let mut w = World::new(Config { authenticate, reserved: vec!["camera".into()], ..Config::default() });
        w.connect_as("camera", true);
        w.auth("camera", &["public"]);
        assert!(w.got("camera")[0].contains(r#""type":"welcome""#));
        w.events.clear();
        w.connect("mallory");
        w.send("mallory", r#"{"type":"auth","user":"camera","token":"t0ken"}"#);
        assert_eq!(w.got("mallory"), [error(401, words)]);
        assert_eq!(w.close("mallory").expect("closed").0, 1008);
        assert!(!w.events.iter().any(|e| matches!(e, Event::Authenticate { .. })), "the host is not asked");
    }
    // Not even with the host's verdict.
    let mut w =
        World::new(Config { authenticate: true, reserved: vec!["camera".into()], ..Config::default() });
    w.connect("mallory");
    w.send("mallory", r#"{"type":"auth","user":"mallory","token":"t0ken"}"#);
    let admission = Admission { user: Some("camera".into()), ..Admission::default() };
    judge(&mut w, "mallory", Verdict::Admit(admission));
    assert_eq!(w.got("mallory"), [error(401, words)]);
}

#[test]
fn the_host_can_look_up_the_origin_of_a_peer() {
    let mut w = World::open();
    w.join("alice", &[]);
    w.connect("bob");
    assert_eq!(w.hub.host_of("alice|#alice"), Some(HOST));
    for nobody in ["alice", "bob|#alice", "bob|#bob", "alice|", "", "|"] {
        assert_eq!(w.hub.host_of(nobody), None, "{nobody}");
    }
    w.cut("alice");
    assert_eq!(w.hub.host_of("alice|#alice"), None);
}
