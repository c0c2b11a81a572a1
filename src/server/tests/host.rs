//! What the host can do: push, kick, shut down, count.

use super::*;
use crate::proto::Status;
use crate::server::Whom;

fn town() -> World {
    let mut w = World::open();
    w.join("alice", &["team"]);
    w.join("alice.2", &[]);
    w.join("bob", &["team"]);
    w.join("eve", &["alice"]);
    w
}

const NAMES: [&str; 4] = ["alice", "alice.2", "bob", "eve"];

#[test]
fn a_pushed_message_reaches_its_recipients_unchanged() {
    for (to, want) in [
        (r##""alice|#alice""##, "alice"),
        (r#""alice""#, "alice alice.2 eve"),
        (r#""team""#, "alice bob"),
        (r##"["eve","|#bob","bob"]"##, "bob eve"),
        (r#""nobody""#, ""),
    ] {
        let mut w = town();
        let text = format!(r#"{{"from":"me","to":{to},"type":"event","emit":1.0,"receipt":true}}"#);
        w.input(Input::Inject { text: &text });
        let got: Vec<&str> = NAMES.into_iter().filter(|name| w.got(name) == [text.clone()]).collect();
        assert_eq!(got.join(" "), want, "{to}");
    }
}

#[test]
fn a_pushed_message_without_to_is_dropped() {
    let mut w = town();
    for text in [r#"{"type":"event"}"#, "junk", "[]", r#"{"to":"bob"}"#, r#"{"type":"event","to":7}"#] {
        w.input(Input::Inject { text });
    }
    assert!(NAMES.into_iter().all(|name| w.got(name).is_empty()));
    assert_eq!((w.hub.stats().bad_pushes, w.hub.stats().injected), (5, 0));
}

#[test]
fn a_kick_gives_the_reason() {
    for (whom, gone) in [
        (Whom::Address("alice|#alice"), "alice"),
        (Whom::Address("bob|#alice"), ""),
        (Whom::Address("|#eve"), "eve"),
        (Whom::Address("alice"), "alice alice.2"),
        (Whom::Address("alice|"), "alice alice.2"),
        (Whom::Address("team"), ""),
        (Whom::Address("|"), ""),
        (Whom::Conn(ConnId(3)), "bob"),
        (Whom::Conn(ConnId(99)), ""),
    ] {
        let mut w = town();
        w.input(Input::Kick { whom, status: Status::UNAUTHORIZED, message: "Session ended" });
        let kicked: Vec<&str> = NAMES.into_iter().filter(|name| w.close(name).is_some()).collect();
        assert_eq!(kicked.join(" "), gone, "{whom:?}");
        for name in kicked {
            let got = w.got(name);
            assert_eq!(
                got.last().map(|text| &**text),
                Some(r#"{"type":"error","status":401,"message":"Session ended"}"#)
            );
            assert_eq!(w.close(name), Some((1008, "Session ended".into())));
        }
    }
}

#[test]
fn a_shutdown_tells_everybody_and_closes_with_1001() {
    let mut w = town();
    w.connect("waiting");
    w.input(Input::Shutdown);
    w.input(Input::Shutdown);
    for name in NAMES.into_iter().chain(["waiting"]) {
        assert_eq!(
            w.got(name),
            [r#"{"type":"event","name":"shutdown","subtype":"shutdown","message":"Server shutting down"}"#]
        );
        assert_eq!(w.close(name), Some((1001, "Server shutting down".into())));
    }
    w.connect("late");
    assert_eq!((w.errors("late"), w.close_code("late")), (vec![503], Some(1001)));
    assert_eq!((w.hub.stats().peers, w.hub.stats().rooms), (0, 0));
}

#[test]
fn the_counters_match_the_events() {
    let mut w = town();
    w.connect("x");
    w.send("x", "junk");
    w.send("alice", r#"{"type":"message"}"#);
    w.send("alice", r#"{"type":"command","to":"bob"}"#);
    w.send("alice", r#"{"type":"event","to":"eve"}"#);
    w.send("alice", r#"{"type":"presence"}"#);
    w.send("alice", r#"{"type":"nonsense"}"#);
    w.input(Input::Inject { text: r#"{"type":"event","to":"eve"}"# });
    let s = w.hub.stats();
    assert_eq!((s.connections, s.peers, s.rooms, s.queued), (5, 4, 5, 0));
    assert_eq!((s.admitted, s.refused, s.bad_frames), (4, 1, 1));
    assert_eq!((s.messages, s.commands, s.events, s.presences, s.injected), (1, 1, 1, 1, 1));
    assert_eq!((s.deliveries, s.unheard), (2 + 1 + 2 + 1, 1));
}
