//! Lost connections: how long to wait after which, and how they are noticed.

use std::time::Duration;

use serde_json::json;
use symple::client::{Config, Event, Input, SendError, State};

use crate::scenario::{Client, config, secs};

/// Every close code, and whether the client retries soon or late.
#[test]
fn each_close_code_has_its_reaction() {
    for (code, late) in [
        (None, false),
        (Some(1000), false),
        (Some(1001), false),
        (Some(1002), true),
        (Some(1003), true),
        (Some(1005), false),
        (Some(1006), false),
        (Some(1007), true),
        (Some(1008), false),
        (Some(1009), false),
        (Some(1011), false),
        (Some(1013), true),
        (Some(4999), false),
    ] {
        let mut client = Client::online(config());
        client.run(secs(11));
        client.drop_past();
        client.lose(code);
        let [Event::Offline { retry_in, unsent: 0, .. }] = &client.events[..] else {
            panic!("{:?}", client.events)
        };
        let expected =
            if late { secs(15)..=secs(30) } else { Duration::from_millis(250)..=Duration::from_millis(500) };
        assert!(expected.contains(retry_in), "{code:?}: {retry_in:?}");
        assert!(client.closes.is_empty(), "the socket is closed already");
        client.wait_for_dial();
        client.admit(2, &[]);
        assert_eq!(client.agent.peer().map(|peer| peer.address()), Some("alice|2".into()), "a new address");
    }
}

#[test]
fn sessions_that_fail_at_once_are_not_retried_at_once() {
    let mut client = Client::online(config());
    let mut waits = Vec::new();
    for id in 2..12 {
        client.run(secs(9));
        client.lose(Some(1008));
        waits.push(client.wait_for_dial());
        client.admit(id, &[]);
    }
    assert!(waits[9] >= secs(15), "{waits:?}");
    client.run(secs(10));
    client.lose(Some(1008));
    assert!(
        client.wait_for_dial() <= Duration::from_millis(500),
        "after a good session the waits start again"
    );
}

#[test]
fn a_silent_connection_is_pinged_and_then_closed() {
    let mut client = Client::online(config());
    client.run(secs(24));
    assert_eq!(client.pings, 0);
    client.run(secs(1));
    assert_eq!(client.pings, 1);
    client.input(Input::Alive);
    client.run(secs(25));
    assert_eq!(client.pings, 2, "after 25 s of silence, not sooner");
    client.run(secs(34));
    assert_eq!((client.pings, client.agent.state()), (3, State::Online));
    client.run(secs(1));
    assert!(
        matches!(&client.events[..], [Event::Offline { reason, .. }] if reason == "nothing received for 60s")
    );
    assert_eq!(client.closes, [1001]);
}

#[test]
fn after_a_change_of_the_network_a_silent_server_is_lost_within_a_second() {
    let mut client = Client::online(config());
    client.agent.check(client.now);
    client.drain();
    assert_eq!(client.pings, 1);
    client.input(Input::Alive);
    client.run(secs(2));
    assert_eq!(client.agent.state(), State::Online, "it answered");
    client.agent.check(client.now);
    client.drain();
    client.run(secs(1));
    assert!(matches!(client.agent.state(), State::Waiting { .. }), "{:?}", client.agent.state());
    assert_eq!(client.closes, [1001]);
    client.agent.check(client.now);
    client.drain();
    assert_eq!(client.agent.state(), State::Opening, "and nothing is waited for");
}

#[test]
fn any_frame_is_a_sign_of_life() {
    let mut client = Client::online(config());
    for n in 0..20 {
        client.run(secs(20));
        client.text(if n % 2 == 0 { "rubbish" } else { r#"{"type":"event","name":"tick"}"# });
    }
    assert_eq!((client.pings, client.agent.state()), (0, State::Online));
}

#[test]
fn a_clock_that_goes_back_is_ignored() {
    let mut client = Client::online(config());
    client.run(secs(30));
    client.input(Input::Alive);
    client.agent.handle_input(Input::Alive, client.start);
    client.drain();
    assert_eq!(client.wake, Some(client.now + secs(25)));
}

#[test]
fn inputs_of_an_old_socket_change_nothing() {
    let mut client = Client::online(config());
    client.lose(None);
    client.drop_past();
    for input in [
        Input::Opened,
        Input::OpenFailed { reason: "" },
        Input::Text(r#"{"type":"message"}"#),
        Input::Alive,
        Input::Closed { code: None, reason: "" },
        Input::Timeout,
    ] {
        client.input(input);
        assert!(matches!(client.agent.state(), State::Waiting { .. }));
    }
    assert!(client.events.is_empty() && client.sent.is_empty() && client.opens == 1);
}

#[test]
fn many_clients_of_one_server_do_not_reconnect_together() {
    let now = std::time::Instant::now();
    let mut waits: Vec<Duration> = (0..100)
        .map(|seed| {
            let mut agent = symple::client::Agent::new(config(), seed, now);
            agent.connect(now);
            agent.handle_input(Input::OpenFailed { reason: "" }, now);
            let State::Waiting { until } = agent.state() else { panic!("waits") };
            until - now
        })
        .collect();
    waits.sort();
    waits.dedup();
    assert!(waits.len() > 95 && waits[waits.len() - 1] - waits[0] > Duration::from_millis(200), "{waits:?}");
}

#[test]
fn our_data_is_announced_again_after_a_reconnect() {
    let mut client = Client::online(config());
    let data =
        json!({"busy": true, "id": "mallory", "online": false}).as_object().cloned().expect("an object");
    client.agent.set_data(data, client.now).expect("online");
    client.drain();
    let told = client.take_sent().remove(0);
    assert_eq!(told["data"], json!({"id":"1","user":"alice","name":"Alice","online":true,"busy":true}));
    assert!(told.get("probe").is_none());
    assert_eq!(client.agent.peer().and_then(|peer| peer.extra.get("busy")), Some(&json!(true)));

    client.lose(None);
    let more = json!({"zoom": 2}).as_object().cloned().expect("an object");
    client.agent.set_data(more, client.now).expect("remembered while offline");
    client.wait_for_dial();
    client.drop_past();
    client.admit(2, &[]);
    let sent = client.take_sent();
    assert_eq!(sent[0]["data"], json!({"busy":true,"zoom":2}), "in auth");
    assert_eq!(
        sent[1]["data"],
        json!({"id":"2","user":"alice","name":"Alice","online":true,"busy":true,"zoom":2})
    );
}

#[test]
fn more_data_than_a_server_keeps_is_refused_and_not_merged() {
    let mut client = Client::online(config());
    let data = |size: usize| json!({"note": "x".repeat(size)}).as_object().cloned().expect("an object");
    assert!(matches!(
        client.agent.set_data(data(17 << 10), client.now),
        Err(SendError::TooLarge { limit: 16384, .. })
    ));
    client.drain();
    assert!(client.sent.is_empty() && client.agent.peer().is_some_and(|peer| peer.extra.is_empty()));
    assert_eq!(client.agent.set_data(data(15 << 10), client.now), Ok(()));
}

#[test]
fn unsent_messages_are_counted() {
    let mut client = Client::online(Config { burst: 1, rate: 1, ..config() });
    for _ in 0..3 {
        let draft = symple::proto::Draft::new(symple::proto::MessageKind::Message).to("bob");
        client.agent.send(draft, client.now).expect("fits");
    }
    client.drain();
    client.lose(None);
    assert!(matches!(client.events[..], [Event::Offline { unsent: 3, .. }]), "{:?}", client.events);
    client.wait_for_dial();
    client.drop_past();
    client.admit(2, &[]);
    client.run(secs(10));
    assert!(
        client.take_sent().iter().all(|frame| frame["type"] != "message"),
        "and not sent under another address"
    );
}
