//! Rooms that were joined outlive connections.

use serde_json::{Value, json};
use symple::client::{Config, Event, SendError};
use symple::proto::Status;

use crate::scenario::{Client, config, presence, secs};

fn asked(client: &mut Client) -> Vec<String> {
    let is_room = |frame: &Value| frame["type"] == "join" || frame["type"] == "leave";
    let sent = client.take_sent();
    let words = |frame: &Value| {
        format!("{} {}", frame["type"].as_str().expect("a text"), frame["room"].as_str().expect("a text"))
    };
    sent.iter().filter(|frame| is_room(frame)).map(words).collect()
}

#[test]
fn join_and_leave_have_their_wire_format() {
    let mut client = Client::online(config());
    client.agent.join("r", client.now).expect("online");
    client.agent.leave("r", client.now).expect("online");
    client.drain();
    assert_eq!(client.sent, [r#"{"type":"join","room":"r"}"#, r#"{"type":"leave","room":"r"}"#]);
    client.text(r#"{"type":"join:ok","room":"r"}"#);
    assert!(client.agent.rooms().any(|room| room == "r"));
    client.text(r#"{"type":"leave:ok","room":"r"}"#);
    assert!(!client.agent.rooms().any(|room| room == "r"));
    assert_eq!(client.take_events(), [Event::Joined { room: "r".into() }, Event::Left { room: "r".into() }]);
}

#[test]
fn rooms_return_after_a_reconnect_including_those_joined_meanwhile() {
    let mut client = Client::online(Config { rooms: vec!["first".into()], ..config() });
    client.agent.join("second", client.now).expect("online");
    client.lose(None);
    client.agent.join("third", client.now).expect("remembered");
    client.agent.leave("first", client.now).expect("remembered");
    client.wait_for_dial();
    client.drop_past();
    client.input(symple::client::Input::Opened);
    assert_eq!(
        client.take_sent()[0]["rooms"],
        json!(["second", "third"]),
        "a server without authentication accepts rooms in auth"
    );
    client.text(&crate::scenario::welcome(2, &["second", "first"]));
    assert_eq!(asked(&mut client), ["join third", "leave first"], "only differences from welcome");
}

#[test]
fn the_probe_comes_after_the_joins() {
    let mut client = Client::new(Config { rooms: vec!["a".into(), "b".into()], ..config() });
    client.connect();
    client.admit(1, &[]);
    let kinds: Vec<String> =
        client.take_sent().iter().map(|f| f["type"].as_str().expect("a text").to_owned()).collect();
    assert_eq!(kinds, ["auth", "join", "join", "presence"]);
}

#[test]
fn a_named_room_with_our_name_differs_from_our_own_room() {
    let mut client = Client::new(Config { rooms: vec!["alice".into()], ..config() });
    client.connect();
    client.admit(1, &[]);
    assert_eq!(asked(&mut client), ["join alice"], "welcome lists the user's own room");
}

#[test]
fn a_refused_room_is_reported_and_not_requested_again() {
    for (error, refused) in [
        (json!({"type":"error","status":403,"message":"No rooms here"}), Some("a")),
        (json!({"type":"error","message":"No rooms here"}), Some("a")),
        (json!({"type":"error","status":403,"message":"No","room":"b"}), Some("b")),
        (json!({"type":"error","status":429,"message":"Too many rooms","room":"b"}), Some("b")),
        (json!({"type":"error","status":429,"message":"Too fast"}), None),
        (json!({"type":"error","status":400,"message":"Bad to"}), None),
        (json!({"type":"error","status":403,"message":"No","room":"never asked for"}), None),
    ] {
        let mut client = Client::online(config());
        for room in ["a", "b"] {
            client.agent.join(room, client.now).expect("online");
        }
        client.drain();
        client.json(error.clone());
        match (refused, &client.events[..]) {
            (Some(expected), [Event::RoomRefused { room, .. }]) => assert_eq!(room, expected, "{error}"),
            (None, [Event::Error { .. }]) => {}
            other => panic!("{error}: {other:?}"),
        }
        client.lose(None);
        client.wait_for_dial();
        client.drop_past();
        client.admit(2, &[]);
        let again: Vec<&str> =
            ["join a", "join b"].into_iter().filter(|j| !refused.is_some_and(|r| j.ends_with(r))).collect();
        assert_eq!(asked(&mut client), again, "{error}");
    }
}

#[test]
fn refusals_are_matched_in_the_order_of_requests() {
    let mut client = Client::online(config());
    for room in ["a", "b", "c"] {
        client.agent.join(room, client.now).expect("online");
    }
    client.text(r#"{"type":"join:ok","room":"a"}"#);
    client.text(r#"{"type":"error","status":403,"message":"No"}"#);
    client.text(r#"{"type":"join:ok","room":"c"}"#);
    assert_eq!(
        client.take_events(),
        [
            Event::Joined { room: "a".into() },
            Event::RoomRefused { room: "b".into(), status: Status::FORBIDDEN, message: "No".into() },
            Event::Joined { room: "c".into() }
        ]
    );
    client.text(r#"{"type":"error","status":403,"message":"Nothing is asked"}"#);
    assert!(matches!(&client.events[..], [Event::Error { status: Status::FORBIDDEN, .. }]));
}

#[test]
fn names_and_numbers_of_rooms_are_bounded() {
    let mut client = Client::online(config());
    assert_eq!(client.agent.join("", client.now), Err(SendError::BadRoom));
    assert_eq!(client.agent.join(&"x".repeat(257), client.now), Err(SendError::BadRoom));
    for n in 0..255 {
        client.agent.join(&n.to_string(), client.now).expect("256 including our user's own");
    }
    assert_eq!(client.agent.join("255", client.now), Err(SendError::TooManyRooms));
}

#[test]
fn a_rejoined_room_gives_its_peers_time_to_be_seen() {
    let mut client = Client::online(Config { rooms: vec!["r".into()], ..config() });
    client.json(presence("bob", 2, true));
    client.lose(None);
    client.wait_for_dial();
    client.drop_past();
    client.admit(3, &[]);
    client.run(secs(1));
    client.text(r#"{"type":"join:ok","room":"r"}"#);
    client.drop_past();
    client.run(std::time::Duration::from_millis(1900));
    client.json(presence("bob", 2, true));
    client.run(secs(60 - 3));
    assert!(
        !client
            .events
            .iter()
            .any(|event| matches!(event, Event::PeerRemoved { .. } | Event::PeerAdded { .. }))
    );
}
