//! Routed messages: who receives what, and what the sender gets back.

use super::*;

/// alice in two sessions and bob in `team`; eve apart, in a room with alice's name.
fn town() -> World {
    let mut w = World::open();
    w.join("alice", &["team"]);
    w.join("alice.2", &[]);
    w.join("bob", &["team"]);
    w.join("eve", &["alice"]);
    w
}

fn reached(w: &mut World) -> String {
    let names = ["alice", "alice.2", "bob", "eve"];
    names.into_iter().filter(|name| !w.got(name).is_empty()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_message_passes_byte_for_byte_except_from() {
    let mut w = town();
    let rest =
        r#" "b" : 1.0,"e":1e3,"big":123456789012345678901234567890,"s":"\u0041\/","n":{"from":"x","to":[ ]}"#;
    w.send("alice", &format!(r##"{{"fr\u006fm":7,"type":"message","to":"bob","from":"eve|#eve",{rest}}}"##));
    assert_eq!(w.got("bob"), [format!(r##"{{"from":"alice|#alice","type":"message","to":"bob",{rest}}}"##)]);
}

#[test]
fn all_four_types_are_routed() {
    for kind in ["message", "presence", "command", "event"] {
        let mut w = town();
        w.send("alice", &format!(r#"{{"type":"{kind}","to":"bob"}}"#));
        assert_eq!(reached(&mut w), "bob", "{kind}");
    }
}

#[test]
fn every_row_of_the_routing_table() {
    for (to, want) in [
        ("", "alice.2 bob"),
        (r##","to":"bob|#bob""##, "bob"),
        (r##","to":"eve|#bob""##, ""),
        (r##","to":"|#bob""##, "bob"),
        (r##","to":"#bob""##, "bob"),
        (r#","to":"bob|""#, "bob"),
        (r#","to":"bob""#, "bob"),
        (r#","to":"alice""#, "alice.2"),
        (r#","to":"team""#, "bob"),
        (r#","to":"eve""#, ""),
        (r##","to":"eve|#eve""##, ""),
        (r#","to":"nobody""#, ""),
        (r##","to":["bob","team",7,"",null,"bob|#bob",["x"]]"##, "bob"),
        (r#","to":[]"#, ""),
    ] {
        let mut w = town();
        w.send("alice", &format!(r#"{{"type":"message"{to}}}"#));
        assert_eq!(reached(&mut w), want, "{to}");
    }
}

#[test]
fn each_recipient_gets_one_copy() {
    let mut w = World::open();
    w.join("alice", &["a", "b", "c"]);
    w.join("bob", &["a", "b", "c"]);
    w.send("alice", r##"{"type":"message","to":["a","b","c","bob","#bob","|#bob"]}"##);
    w.send("alice", r#"{"type":"message"}"#);
    assert_eq!(w.got("bob").len(), 2);
}

#[test]
fn a_bad_to_is_400_and_dropped() {
    for to in ["null", "7", "true", "{}", r#""""#] {
        let mut w = town();
        w.send("alice", &format!(r#"{{"type":"message","receipt":true,"to":{to}}}"#));
        assert_eq!(w.errors("alice"), [400], "{to}");
        assert_eq!(reached(&mut w), "");
    }
    let mut w = town();
    w.send("alice", &format!(r#"{{"type":"message","to":[{}"bob"]}}"#, r#""x","#.repeat(1024)));
    assert_eq!((w.errors("alice"), w.got("bob").len()), (vec![400], 0), "too many names");
}

#[test]
fn unreachable_peers_look_as_if_they_did_not_exist() {
    for (to, delivered) in [("bob", 1), ("alice", 1), ("team", 1), ("eve", 0), ("nobody", 0), ("eve|#eve", 0)]
    {
        let mut w = town();
        w.send("alice", &format!(r#"{{"type":"command","id":1.50,"to":"{to}"}}"#));
        assert!(w.got("alice").is_empty(), "no receipt was asked for");
        w.send("alice", &format!(r#"{{"type":"command","id":1.50,"to":"{to}","receipt":true}}"#));
        let status = if delivered > 0 { 200 } else { 404 };
        assert_eq!(
            w.got("alice"),
            [format!(r#"{{"type":"receipt","id":1.50,"status":{status},"delivered":{delivered}}}"#)]
        );
    }
}

#[test]
fn messages_arrive_in_order() {
    let mut w = town();
    w.stop_reading("bob");
    for n in 0..100 {
        let to = ["\"bob\"", "\"team\"", "[\"#bob\"]"][n % 3];
        w.send("alice", &format!(r#"{{"n":{n},"type":"message","to":{to}}}"#));
    }
    w.read("bob");
    let got = w.got("bob");
    assert_eq!(got.len(), 100);
    assert!((0..100).all(|n| got[n].contains(&format!("\"n\":{n},"))));
}

#[test]
fn unknown_types_are_400_and_the_session_continues() {
    let mut w = town();
    for kind in ["welcome", "error", "receipt", "nonsense", "", "join:ok"] {
        w.send("alice", &format!(r#"{{"type":"{kind}","to":"bob"}}"#));
        assert_eq!(w.errors("alice"), [400], "{kind}");
    }
    w.send("alice", r#"{"type":"message","to":"bob"}"#);
    assert_eq!(reached(&mut w), "bob");
}

#[test]
fn close_closes_with_1000() {
    let mut w = town();
    w.send("alice", r#"{"type":"close"}"#);
    assert_eq!(w.close("alice"), Some((1000, "".into())));
    assert_eq!(w.got("bob"), [offline("alice")]);
    w.cut("alice");
    assert!(w.got("bob").is_empty(), "exactly once");
}

#[test]
fn a_name_is_the_union_of_id_user_and_room() {
    let mut w = World::open();
    w.join("alice", &["r", "x"]);
    w.join("x", &["r"]);
    w.join("bob", &["x"]);
    w.join("carol", &["r"]);
    w.send("alice", r#"{"type":"message","to":"x"}"#);
    assert_eq!((w.got("x").len(), w.got("bob").len(), w.got("carol").len()), (1, 1, 0));
    w.send("carol", r#"{"type":"message","to":"x"}"#);
    assert_eq!((w.got("x").len(), w.got("bob").len()), (1, 0), "carol is not in the room x");
}

#[test]
fn invalid_messages_are_400_and_the_session_continues() {
    let mut w = town();
    let deep = format!(r#"{{"type":"message","to":"bob","data":{}{}}}"#, "[".repeat(128), "]".repeat(128));
    for (frame, words) in [
        (&*deep, "Nested deeper than 128"),
        (r#"{"type":"message","to":"bob","t\u006f":"bob"}"#, "\\\"to\\\" appears twice"),
        (r#"{"type":"message","\u0074ype":"message"}"#, "\\\"type\\\" appears twice"),
        ("[]", "Not a JSON object"),
        (r#"{"to":"bob"}"#, "\\\"type\\\" must be a string"),
    ] {
        w.send("alice", frame);
        let got = w.got("alice").concat();
        assert!(got.contains(r#""status":400"#) && got.contains(words), "{got}");
    }
    w.send("alice", r#"{"type":"message","to":"bob"}"#);
    assert_eq!(reached(&mut w), "bob");
}
