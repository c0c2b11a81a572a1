//! Join and leave.

use super::*;

#[test]
fn join_and_leave_are_answered() {
    let mut w = World::open();
    w.join("alice", &[]);
    let long = "r".repeat(257);
    for (frame, want) in [
        (r#""type":"join","room":"r""#, Ok("join:ok")),
        (r#""type":"join","room":"r""#, Ok("join:ok")),
        (r#""type":"join","room":"alice""#, Ok("join:ok")),
        (r#""type":"leave","room":"r""#, Ok("leave:ok")),
        (r#""type":"leave","room":"r""#, Ok("leave:ok")),
        (r#""type":"leave","room":"alice""#, Err(403)),
        (r#""type":"join""#, Err(400)),
        (r#""type":"join","room":"""#, Err(400)),
        (r#""type":"join","room":7"#, Err(400)),
        (r#""type":"join","room":null"#, Err(400)),
        (r#""type":"join","room":["r"]"#, Err(400)),
        (&format!(r#""type":"join","room":"{long}""#), Err(400)),
        (r#""type":"leave""#, Err(400)),
        (r#""type":"leave","room":{}"#, Err(400)),
    ] {
        w.send("alice", &format!("{{{frame}}}"));
        match want {
            Ok(kind) => {
                let room = if frame.contains("alice") { "alice" } else { "r" };
                assert_eq!(w.got("alice"), [format!(r#"{{"type":"{kind}","room":"{room}"}}"#)], "{frame}");
            }
            Err(status) => assert_eq!(w.errors("alice"), [status], "{frame}"),
        }
    }
    assert_eq!(w.close("alice"), None);
}

#[test]
fn without_dynamic_rooms_both_are_403() {
    let mut w = World::new(Config { dynamic_rooms: false, ..Config::default() });
    w.join("alice", &["r"]);
    w.send("alice", r#"{"type":"join","room":"s"}"#);
    w.send("alice", r#"{"type":"leave","room":"r"}"#);
    assert_eq!((w.errors("alice"), w.close("alice")), (vec![403, 403], None));
    w.join("bob", &["r"]);
    w.send("bob", r#"{"type":"message","to":"r"}"#);
    assert_eq!(w.got("alice").len(), 1, "she is in the room still");
}

#[test]
fn a_session_is_in_at_most_256_rooms() {
    let mut w = World::open();
    w.join("alice", &[]);
    for n in 1..256 {
        w.send("alice", &format!(r#"{{"type":"join","room":"{n}"}}"#));
    }
    assert!(w.errors("alice").is_empty());
    w.send("alice", r#"{"type":"join","room":"one more"}"#);
    assert_eq!((w.errors("alice"), w.hub.stats().rooms), (vec![429], 256));
    w.send("alice", r#"{"type":"leave","room":"1"}"#);
    w.send("alice", r#"{"type":"join","room":"one more"}"#);
    assert!(w.errors("alice").is_empty());
}

#[test]
fn a_room_named_like_a_user_is_not_the_users_own() {
    for before in [true, false] {
        let mut w = World::open();
        if before {
            w.join("mallory", &["alice"]);
            w.join("alice", &[]);
        } else {
            w.join("alice", &[]);
            w.join("mallory", &["alice"]);
        }
        w.join("alice.2", &[]);
        w.join("bob", &["r"]);
        w.send("alice", r#"{"type":"join","room":"alice"}"#);
        w.send("alice", r#"{"type":"join","room":"r"}"#);
        w.forget();
        w.send("bob", r#"{"type":"message","to":"alice"}"#);
        w.send("alice.2", r#"{"type":"message"}"#);
        w.send("alice.2", r#"{"type":"presence","to":"alice"}"#);
        w.send("mallory", r#"{"type":"message","to":"alice"}"#);
        w.send("mallory", r#"{"type":"message"}"#);
        assert_eq!(w.got("mallory").len(), 0);
        assert_eq!(w.got("alice").len(), 3, "bob's, and two of her other session");
        w.cut("alice");
        assert_eq!((w.got("mallory").len(), w.got("bob")), (0, vec![offline("alice")]));
    }
}

#[test]
fn an_admission_into_the_users_own_name_creates_no_named_room() {
    for authenticate in [true, false] {
        let mut w = World::new(Config { authenticate, ..Config::default() });
        for name in ["alice", "mallory"] {
            let conn = w.connect(name);
            w.send(name, &format!(r#"{{"type":"auth","user":"{name}","token":"t","rooms":["alice"]}}"#));
            let admission = crate::server::Admission { rooms: vec!["alice".into()], ..Default::default() };
            w.input(Input::Verdict { conn, verdict: crate::server::Verdict::Admit(admission) });
        }
        assert_eq!(w.got("alice").len(), 1, "the welcome");
        assert!(w.got("mallory")[0].ends_with(r#""rooms":["mallory","alice"]}"#));
        w.send("mallory", r#"{"type":"message","to":"alice"}"#);
        assert_eq!(w.got("alice").len(), 0);
    }
}
