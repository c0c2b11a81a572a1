//! Pacing and arbitrary input: nothing panics, nothing grows beyond its limit.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use symple::client::{Config, Event, Input, SendError, State};
use symple::proto::{CloseCode, Draft, MessageKind};

use crate::scenario::{Client, config, secs, welcome};

fn say(client: &mut Client, n: usize) -> Result<String, SendError> {
    client.agent.send(Draft::new(MessageKind::Message).to("bob|2").data(&n), client.now)
}

/// A server's bucket: 100 per second, 500 at once.
fn refused_by_a_server(times: &[Duration]) -> usize {
    let (mut tokens, mut last, mut refused) = (500.0f64, Duration::ZERO, 0);
    for &at in times {
        tokens = (tokens + (at - last).as_secs_f64() * 100.0).min(500.0);
        last = at;
        if tokens >= 1.0 { tokens -= 1.0 } else { refused += 1 }
    }
    refused
}

#[test]
fn a_flood_leaves_in_order_below_the_servers_rate() {
    let mut client = Client::online(config());
    for n in 0..4000 {
        say(&mut client, n).expect("fits");
    }
    client.drain();
    let mut times = Vec::new();
    let mut seen = Vec::new();
    while seen.len() < 4000 {
        for frame in client.take_sent() {
            times.push(client.now - client.start);
            seen.push(frame["data"].as_u64().expect("a number"));
        }
        client.input(Input::Alive);
        let wait = client.wake.expect("more is waiting") - client.now;
        client.run(wait);
    }
    assert!(seen.iter().enumerate().all(|(n, got)| n as u64 == *got), "in order");
    assert_eq!(refused_by_a_server(&times), 0);
    assert_eq!(
        times.iter().filter(|at| **at == Duration::ZERO).count(),
        399,
        "the probe was the first of 400"
    );
    let whole = times[3999];
    assert_eq!(whole, Duration::from_micros(12_500) * 3601);
}

#[test]
fn the_queue_is_bounded_and_reports_when_it_is_full() {
    let mut client = Client::online(Config { outbox_limit: 10_000, ..config() });
    let taken = (0..10_000).take_while(|n| say(&mut client, *n).is_ok()).count();
    assert!((50..100).contains(&taken), "{taken}");
    assert_eq!(say(&mut client, 0), Err(SendError::Full));
    assert_eq!(client.agent.join("r", client.now), Err(SendError::Full));
    assert_eq!(client.agent.set_data(Default::default(), client.now), Err(SendError::Full));
    client.drain();
    assert!(say(&mut client, 0).is_ok(), "and there is room again after sending");
}

#[test]
fn frames_that_the_socket_does_not_accept_wait_within_the_limit() {
    let mut client = Client::online(Config { outbox_limit: 10_000, rate: 1000, burst: 1000, ..config() });
    assert_eq!(client.agent.has_room(), Ok(true));
    client.input(Input::Full);
    let taken = (0..10_000).take_while(|n| say(&mut client, *n).is_ok()).count();
    assert!((50..100).contains(&taken), "{taken}");
    client.run(secs(20));
    assert_eq!(client.take_sent(), Vec::<Value>::new(), "nothing leaves");
    assert_eq!((client.agent.has_room(), say(&mut client, 0)), (Ok(false), Err(SendError::Full)));
    client.input(Input::Writable);
    assert_eq!(client.take_sent().len(), taken, "everything is sent, nothing is lost");
    assert_eq!(client.agent.has_room(), Ok(true));
    client.input(Input::Full);
    client.input(Input::Closed { code: None, reason: "gone" });
    assert_eq!(client.agent.has_room(), Err(SendError::Offline));
    client.run(secs(2));
    client.admit(2, &[]);
    client.drop_past();
    say(&mut client, 1).expect("online");
    client.drain();
    assert_eq!(client.take_sent().len(), 1, "a new socket is not full");
}

#[test]
fn queued_frames_within_the_rate_are_sent_before_a_close() {
    let mut client = Client::online(config());
    say(&mut client, 1).expect("online");
    client.agent.close(client.now);
    client.drain();
    let kinds: Vec<Value> = client.take_sent().into_iter().map(|frame| frame["type"].clone()).collect();
    assert_eq!(kinds, [json!("message"), json!("close")]);
}

#[test]
fn answers_to_probes_of_one_user_are_rate_limited() {
    let mut client = Client::online(config());
    for n in 0..1000 {
        let probe = json!({"type": "presence", "from": format!("mallory|m{}", n % 7), "probe": true});
        client.json(probe);
    }
    assert_eq!(client.take_sent().len(), 8);
    client.json(json!({"type": "presence", "from": "bob|b1", "probe": true}));
    assert_eq!(client.take_sent()[0]["to"], "bob|b1");
    client.run(secs(2));
    client.drop_past();
    for _ in 0..100 {
        client.json(json!({"type": "presence", "from": "mallory|m1", "probe": true}));
    }
    assert_eq!(client.take_sent().len(), 4, "2 per second");
}

#[test]
fn a_backlog_for_one_recipient_does_not_delay_others() {
    let mut client = Client::online(Config { rate: 10, burst: 10, ..config() });
    for n in 0..1000 {
        client
            .agent
            .send(Draft::new(MessageKind::Message).to("mallory|1").data(&n), client.now)
            .expect("fits");
    }
    client.drain();
    client.drop_past();
    say(&mut client, 0).expect("fits");
    client.run(Duration::from_millis(200));
    assert!(client.take_sent().iter().any(|frame| frame["to"] == "bob|2"), "it waits for at most one turn");
}

#[test]
fn an_overlong_frame_is_ignored() {
    let mut client = Client::online(config());
    client.json(json!({"type":"message","data":"x".repeat(512 << 10)}));
    assert!(client.events.is_empty());
    assert_eq!(client.agent.state(), State::Online);
}

#[test]
fn the_roster_is_bounded() {
    let mut client = Client::online(config());
    for n in 0..3000 {
        client.json(json!({"type":"presence","from":format!("u|x{n}"),"data":{"online":true}}));
        client.json(json!({"type":"join:ok","room":format!("r{n}")}));
    }
    assert_eq!(client.agent.roster().count(), 1024);
    assert_eq!(client.agent.rooms().count(), 1024);
}

#[test]
fn odd_settings_are_harmless() {
    let zero = Duration::ZERO;
    for time in [zero, Duration::MAX] {
        let mut client = Client::new(Config {
            connect_timeout: time,
            auth_timeout: time,
            ping_interval: time,
            idle_timeout: Duration::MAX,
            roster_grace: time,
            command_timeout: time,
            backoff_max: time.max(secs(1)),
            backoff_min: time.max(secs(1)),
            rate: 0,
            burst: 0,
            outbox_limit: 1 << 20,
            ..config()
        });
        client.connect();
        client.admit(1, &[]);
        client.agent.command("bob", "n", "a", &(), client.now).expect("online");
        client.drain();
        client.run(secs(100));
        client.lose(None);
    }
}

fn hostile_frame() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just(json!(null)),
        Just(json!(-1)),
        Just(json!(1e300)),
        Just(json!(true)),
        Just(json!("")),
        Just(json!("alice|1")),
        Just(json!("bob|2")),
        Just(json!("r")),
        Just(json!([])),
        Just(json!([[1], {"a": null}])),
        Just(json!({"id": "2", "user": "bob", "online": true, "x": 1})),
        Just(json!({"id": 2, "user": [], "online": false, "name": {}})),
        Just(json!("x".repeat(3000))),
        any::<u16>().prop_map(|n| json!(n)),
        ".{0,20}".prop_map(|s| json!(s)),
    ];
    let kind = prop::sample::select(vec![
        "welcome", "error", "presence", "command", "message", "event", "join:ok", "leave:ok", "receipt",
        "auth", "close", "odd",
    ]);
    let member = prop::sample::select(vec![
        "id",
        "from",
        "to",
        "subtype",
        "data",
        "peer",
        "rooms",
        "room",
        "status",
        "message",
        "probe",
        "delivered",
        "node",
    ]);
    let members = prop::collection::vec((member, word), 0..6);
    let built = (kind, members).prop_map(|(kind, members)| {
        let mut frame = serde_json::Map::from_iter([("type".to_owned(), json!(kind))]);
        frame.extend(members.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Value::Object(frame).to_string()
    });
    prop_oneof![6 => built, 1 => ".{0,200}", 1 => Just(welcome(1, &["r"])), 1 => (0usize..80).prop_map(|cut| welcome(1, &[])[..cut].to_owned())]
}

#[derive(Clone, Debug)]
enum Step {
    Text(String),
    Opened,
    OpenFailed(String),
    Closed(Option<u16>, String),
    Alive,
    Wait(u64),
    Connect,
    Close,
    Join(String),
    Send(String),
    Command(String),
    Reply,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => hostile_frame().prop_map(Step::Text),
        3 => Just(Step::Opened),
        1 => ".{0,400}".prop_map(Step::OpenFailed),
        1 => (any::<Option<u16>>(), ".{0,400}").prop_map(|(code, reason)| Step::Closed(code, reason)),
        1 => Just(Step::Alive),
        3 => (0u64..40_000).prop_map(Step::Wait),
        2 => Just(Step::Connect),
        1 => prop::bool::weighted(0.1).prop_map(|really| if really { Step::Close } else { Step::Alive }),
        2 => ".{0,4}".prop_map(Step::Join),
        2 => ".{0,50}".prop_map(Step::Send),
        1 => ".{0,10}".prop_map(Step::Command),
        1 => Just(Step::Reply),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_inputs_breaks_it(steps in prop::collection::vec(step(), 0..120)) {
        let small = Config { max_peers: 4, max_peer_data: 300, max_rooms: 3, max_commands: 3, outbox_limit: 2000, ..config() };
        let mut client = Client::new(small);
        client.connect();
        client.admit(1, &["r"]);
        let mut last = None;
        for step in steps {
            let now = client.now;
            match step {
                Step::Text(text) => client.text(&text),
                Step::Opened => client.input(Input::Opened),
                Step::OpenFailed(reason) => client.input(Input::OpenFailed { reason: &reason }),
                Step::Closed(code, reason) => client.input(Input::Closed { code: code.map(CloseCode), reason: &reason }),
                Step::Alive => client.input(Input::Alive),
                Step::Wait(ms) => client.run(Duration::from_millis(ms)),
                Step::Connect => client.connect(),
                Step::Close => client.agent.close(now),
                Step::Join(room) => _ = client.agent.join(&room, now),
                Step::Send(text) => _ = client.agent.send(Draft::new(MessageKind::Message).with(&text, &text), now),
                Step::Command(to) => _ = client.agent.command(&to, &to, &to, &to, now),
                Step::Reply => if let Some(m) = &last { _ = client.agent.reply(m, symple::proto::Status::OK, &1, now) },
            }
            client.drain();
            prop_assert!(client.agent.roster().count() <= 4);
            prop_assert!(client.agent.roster().all(|peer| serde_json::to_string(peer).expect("peers are JSON").len() <= 1000));
            prop_assert!(client.agent.peer().is_some() == (client.agent.state() == State::Online));
            for event in client.take_events() {
                match event {
                    Event::Message { message: m } | Event::Command { command: m } => last = Some(m),
                    Event::Offline { reason, retry_in, .. } => {
                        prop_assert!(reason.len() <= 320 && retry_in <= secs(30));
                    }
                    _ => {}
                }
            }
            // `take_sent` asserts that each frame is JSON.
            client.take_sent();
        }
        // The pending commands all end, whatever was received.
        client.run(secs(100));
    }
}
