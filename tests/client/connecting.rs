//! From disconnected to online, and every way in which that fails.

use serde_json::json;
use symple::client::{Config, End, Event, Input, State};
use symple::proto::{Address, CloseCode, Object, Token};

use crate::scenario::{Client, config, secs, welcome};

#[test]
fn auth_is_the_first_frame_in_its_wire_format() {
    let data: Object = [("peerType".to_owned(), "person".into())].into_iter().collect();
    let mut client = Client::new(Config {
        name: Some("Alice".into()),
        token: Some(Token::new("t0ken")),
        rooms: vec!["team-a".into()],
        data,
        ..config()
    });
    client.connect();
    assert!(client.sent.is_empty(), "nothing before the socket is open");
    client.input(Input::Opened);
    assert_eq!(
        client.sent,
        [
            r#"{"type":"auth","user":"alice","name":"Alice","token":"t0ken","rooms":["team-a"],"data":{"peerType":"person"},"accept":["presence:batch"]}"#
        ]
    );
}

#[test]
fn welcome_gives_our_identity_and_a_probe_follows() {
    let mut client =
        Client::new(Config { data: [("busy".into(), true.into())].into_iter().collect(), ..config() });
    client.connect();
    client.input(Input::Opened);
    client.drop_past();
    client.text(&welcome(7, &["team"]));
    let Event::Online { peer, rooms } = &client.events[0] else { panic!("{:?}", client.events) };
    assert_eq!((peer.address(), &*peer.name), (Address::from("alice|7"), "Alice"));
    assert_eq!(rooms, &["alice", "team"]);
    assert_eq!(client.agent.peer().map(|peer| peer.address()), Some("alice|7".into()));
    assert_eq!(client.agent.rooms().collect::<Vec<_>>(), ["alice", "team"]);
    let sent = client.take_sent();
    assert_eq!(sent.len(), 1);
    assert_eq!((&sent[0]["type"], &sent[0]["probe"]), (&json!("presence"), &json!(true)));
    assert_eq!(
        sent[0]["data"],
        json!({"id":"7","user":"alice","name":"Alice","online":true,"busy":true}),
        "without our network address"
    );
}

#[test]
fn frames_before_welcome_are_ignored() {
    let mut client = Client::new(config());
    client.connect();
    client.input(Input::Opened);
    client.drop_past();
    for early in [
        json!({"type":"ready"}),
        json!({"type":"message","from":"bob|2","data":1}),
        json!({"type":"presence","from":"bob|2","data":{"online":true},"probe":true}),
        json!({"type":"command","from":"bob|2","node":"n"}),
        json!({"type":"join:ok","room":"r"}),
    ] {
        client.json(early);
    }
    client.text("not JSON");
    assert!(client.events.is_empty() && client.sent.is_empty());
    assert_eq!((client.agent.state(), client.agent.roster().count()), (State::Authenticating, 0));
    client.text(&welcome(1, &[]));
    assert_eq!(client.agent.state(), State::Online);
    client.drop_past();
    client.text(&welcome(2, &[]));
    assert_eq!(
        client.agent.peer().map(|peer| peer.address()),
        Some("alice|1".into()),
        "only the first welcome counts"
    );
}

#[test]
fn a_welcome_without_our_identity_is_invalid() {
    for broken in [
        json!({"type":"welcome"}),
        json!({"type":"welcome","status":200,"peer":7}),
        json!({"type":"welcome","status":200,"peer":{"id":"","user":"alice"}}),
        json!({"type":"welcome","status":200,"peer":{"id":"a|b","user":"alice"}}),
        json!({"type":"welcome","status":200,"peer":{"id":"1"}}),
    ] {
        let mut client = Client::new(config());
        client.connect();
        client.input(Input::Opened);
        client.json(broken.clone());
        assert!(matches!(client.agent.state(), State::Waiting { .. }), "{broken}");
        assert_eq!(client.closes, [1002]);
    }
    let mut client = Client::new(config());
    client.connect();
    client.input(Input::Opened);
    client.json(json!({"type":"welcome","status":401,"message":"No"}));
    assert_eq!(client.agent.state(), State::Ended, "a status in welcome counts as an error's");
}

/// What the server sends instead of `welcome`, and the resulting state.
#[test]
fn an_error_in_place_of_welcome() {
    for (status, ends, late) in [
        (400, false, true),
        (401, true, false),
        (408, false, false),
        (429, false, false),
        (500, false, false),
        (503, false, true),
    ] {
        let mut client = Client::new(config());
        client.connect();
        client.input(Input::Opened);
        client.json(json!({"type":"error","status":status,"message":"Because"}));
        assert_eq!(client.closes, [1000], "{status}: the socket is closed");
        match client.events.last() {
            Some(Event::Ended { why: End::Refused { message } }) => {
                assert!(ends, "{status}");
                assert_eq!(message, "Because");
                client.run(secs(3600));
                assert_eq!(client.opens, 1, "no loop");
            }
            Some(Event::Offline { reason, retry_in, .. }) => {
                assert!(!ends, "{status}");
                assert_eq!(*retry_in >= secs(15), late, "{status}: {retry_in:?}");
                assert!(reason.contains(&status.to_string()) && reason.contains("Because"), "{reason}");
            }
            other => panic!("{status}: {other:?}"),
        }
    }
}

#[test]
fn a_401_in_a_session_ends_it_too() {
    let mut client = Client::online(config());
    client.json(json!({"type":"error","status":401,"message":"Session expired"}));
    assert_eq!(
        client.take_events(),
        [Event::Ended { why: End::Refused { message: "Session expired".into() } }]
    );
    // The close frame that follows belongs to a forgotten socket.
    client.lose(Some(1008));
    assert!(client.events.is_empty());
    client.agent.set_token(Some(Token::new("fresh")));
    client.connect();
    client.input(Input::Opened);
    assert!(
        client.sent.last().is_some_and(|auth| auth.contains("fresh")),
        "the application may try another token"
    );
}

#[test]
fn the_first_connect_retries_too_and_never_gives_up() {
    let mut client = Client::new(config());
    client.connect();
    for attempt in 1..=200 {
        client.input(Input::OpenFailed { reason: "connection refused" });
        assert!(matches!(&client.events[..], [Event::Offline { reason, .. }] if reason.contains("refused")));
        client.drop_past();
        let wait = client.wait_for_dial();
        assert!(wait >= secs(15) || attempt < 7, "{attempt}: {wait:?}");
        assert!(wait <= secs(30));
    }
    assert_eq!(client.opens, 201);
}

#[test]
fn it_gives_up_after_the_configured_attempts() {
    let mut client = Client::new(Config { max_attempts: Some(3), ..config() });
    client.connect();
    for _ in 0..2 {
        client.input(Input::OpenFailed { reason: "no route" });
        client.wait_for_dial();
    }
    client.drop_past();
    client.input(Input::OpenFailed { reason: "no route" });
    let [Event::Ended { why: End::GaveUp { reason } }] = &client.events[..] else {
        panic!("{:?}", client.events)
    };
    assert!(reason.contains("no route"));
    assert_eq!((client.opens, client.agent.state()), (3, State::Ended));
    client.connect();
    assert_eq!(client.opens, 4, "and starts again on request");
    client.input(Input::OpenFailed { reason: "no route" });
    assert!(matches!(client.agent.state(), State::Waiting { .. }));
}

#[test]
fn a_slow_connect_or_welcome_times_out() {
    let mut client = Client::new(config());
    client.connect();
    assert_eq!(client.wake, Some(client.now + secs(10)));
    client.run(secs(10));
    assert!(
        matches!(&client.events[..], [Event::Offline { reason, .. }] if reason == "no connection within 10s")
    );
    client.wait_for_dial();
    client.input(Input::Opened);
    client.drop_past();
    client.run(secs(10));
    assert!(
        matches!(&client.events[..], [Event::Offline { reason, .. }] if reason == "no welcome within 10s")
    );
    assert_eq!(client.closes, [1001, 1001]);
    client.input(Input::Opened);
    assert!(matches!(client.agent.state(), State::Waiting { .. }), "a late socket is ignored");
}

#[test]
fn connect_ends_a_wait_early_and_is_harmless_otherwise() {
    let mut client = Client::new(config());
    client.connect();
    client.connect();
    client.input(Input::OpenFailed { reason: "" });
    client.connect();
    assert_eq!(client.opens, 2);
    client.admit(1, &[]);
    client.connect();
    assert_eq!((client.opens, client.agent.state()), (2, State::Online));
}

#[test]
fn close_says_goodbye_from_every_state() {
    for stage in 0..5 {
        let mut client = Client::new(config());
        if stage > 0 {
            client.connect();
        }
        match stage {
            2 => client.input(Input::Opened),
            3 => client.admit(1, &[]),
            4 => client.input(Input::OpenFailed { reason: "" }),
            _ => {}
        }
        client.drop_past();
        client.agent.close(client.now);
        client.drain();
        assert_eq!(client.take_events(), [Event::Ended { why: End::Closed }], "{stage}");
        assert_eq!(client.sent.len(), usize::from(stage == 3));
        assert_eq!(
            client.closes.len(),
            usize::from((1..=3).contains(&stage)),
            "{stage}: only an open socket is closed"
        );
        client.agent.close(client.now);
        client.drain();
        assert!(client.events.is_empty(), "{stage}: once");
        client.run(secs(3600));
        assert_eq!(client.agent.state(), State::Ended);
    }
}

#[test]
fn the_socket_may_end_before_welcome() {
    let mut client = Client::new(config());
    client.connect();
    client.input(Input::Opened);
    client.input(Input::Closed { code: Some(CloseCode::TRY_AGAIN), reason: "full" });
    assert!(matches!(&client.events[..], [Event::Offline { reason, retry_in, .. }]
        if reason == "the connection was closed: 1013 full" && *retry_in >= secs(15)));
}
