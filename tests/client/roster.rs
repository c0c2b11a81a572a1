//! The roster: peers are added, updated and removed, and do not flicker during a reconnect.

use serde_json::json;
use symple::client::{Config, Event};

use crate::scenario::{Client, config, presence, secs};

fn users(client: &Client) -> Vec<String> {
    client.agent.roster().map(|peer| peer.address().to_string()).collect()
}

fn told(client: &mut Client) -> Vec<String> {
    let words = |event: Event| match event {
        Event::PeerAdded { peer } => format!("+{}", peer.address()),
        Event::PeerUpdated { peer } => format!("={}", peer.address()),
        Event::PeerRemoved { peer } => format!("-{}", peer.address()),
        other => panic!("{other:?}"),
    };
    client.take_events().into_iter().map(words).collect()
}

#[test]
fn presences_build_the_roster() {
    let mut client = Client::online(config());
    client.json(presence("bob", 2, true));
    client.json(presence("bob", 2, true));
    client.json(
        json!({"type":"presence","from":"bob|2","data":{"peerType":"camera","capabilities":{"audio":true}}}),
    );
    client.json(presence("cyd", 3, true));
    client.json(presence("bob", 2, false));
    assert_eq!(told(&mut client), ["+bob|2", "=bob|2", "+cyd|3", "-bob|2"]);
    assert_eq!(users(&client), ["cyd|3"]);
}

#[test]
fn batched_presences_are_reported_one_by_one() {
    let mut client = Client::online(config());
    let batch = |data: serde_json::Value| json!({"type":"presence:batch","data":data});
    let probe = json!({"type":"presence","from":"dan|4","probe":true,"data":{"online":true}});
    client.json(batch(json!([
        presence("bob", 2, true),
        presence("cyd", 3, true),
        {"type":"message","from":"eve|5"},
        7,
        presence("bob", 2, false),
        probe,
    ])));
    assert_eq!(told(&mut client), ["+bob|2", "+cyd|3", "-bob|2", "+dan|4"]);
    client.run(secs(1));
    assert!(client.sent.iter().any(|text| text.contains(r#""to":"dan|4""#)), "a probe is answered");
    client.json(batch(json!([])));
    assert!(told(&mut client).is_empty());
    client.json(batch(json!({"no":"list"})));
    assert!(
        matches!(&client.take_events()[..], [Event::Message { message }] if message.kind().as_str() == "presence:batch")
    );
}

#[test]
fn a_client_with_a_small_frame_limit_requests_no_batches() {
    for (max_message_size, asks) in [(4096, false), (64 << 10, true)] {
        let mut client = Client::new(Config { max_message_size, ..config() });
        client.connect();
        client.input(symple::client::Input::Opened);
        assert_eq!(client.sent[0].contains(r#""accept":["presence:batch"]"#), asks, "{max_message_size}");
    }
}

#[test]
fn capabilities_are_stored_and_found() {
    let mut client = Client::online(config());
    client.json(json!({"type":"presence","from":"cam|2","data":{"id":"2","user":"cam","online":true,"peerType":"camera","capabilities":{"audio":true}}}));
    for by in ["2", "cam|2"] {
        let camera = client.agent.find(by).expect("there");
        assert_eq!(
            (camera.peer_type(), &camera.extra["capabilities"]["audio"]),
            (Some("camera"), &json!(true))
        );
    }
    assert!(client.agent.find("eve|2").is_none() && client.agent.find("3").is_none());
}

#[test]
fn the_senders_address_wins_over_its_data() {
    let mut client = Client::online(config());
    client.json(json!({"type":"presence","from":"eve|2","data":{"id":"3","user":"bob","online":true}}));
    assert_eq!(users(&client), ["eve|2"]);
    client.json(json!({"type":"presence","data":{"id":"4","user":"dan","online":true}}));
    assert_eq!(users(&client), ["eve|2", "dan|4"], "a presence without a sender uses its data");
}

#[test]
fn neither_we_nor_our_ghosts_are_in_our_roster() {
    let mut client = Client::online(config());
    client.json(presence("alice", 1, true));
    client.lose(None);
    client.wait_for_dial();
    client.admit(2, &[]);
    for id in [1, 2] {
        client.json(presence("alice", id, true));
        assert!(users(&client).is_empty(), "{id}");
    }
    client.json(presence("alice", 9, true));
    assert_eq!(users(&client), ["alice|9"], "another device of the same user is a peer");
}

#[test]
fn peers_seen_again_after_a_reconnect_do_not_flicker_and_others_are_removed() {
    let mut client = Client::online(config());
    for (user, id) in [("bob", 2), ("cyd", 3), ("dan", 4)] {
        client.json(presence(user, id, true));
    }
    client.lose(None);
    client.drop_past();
    client.run(secs(1));
    client.drop_past();
    assert_eq!(users(&client).len(), 3, "the last known roster stays while offline");
    client.admit(5, &[]);
    client.drop_past();
    client.json(presence("bob", 2, true));
    client.json(json!({"type":"presence","from":"cyd|3","data":{"id":"3","user":"cyd","name":"cyd","online":true,"busy":true}}));
    client.json(presence("eve", 6, true));
    assert_eq!(told(&mut client), ["=cyd|3", "+eve|6"]);
    client.run(secs(2));
    assert_eq!(told(&mut client), ["-dan|4"]);
    client.run(secs(20));
    assert_eq!(told(&mut client), [""; 0]);
}

#[test]
fn a_second_loss_before_the_sweep_removes_nobody_too_early() {
    let mut client = Client::online(config());
    client.json(presence("bob", 2, true));
    for id in 3..6 {
        client.lose(None);
        client.wait_for_dial();
        client.admit(id, &[]);
        client.drop_past();
    }
    client.json(presence("bob", 2, true));
    client.run(secs(10));
    assert_eq!(told(&mut client), [""; 0]);
}

#[test]
fn the_answer_to_a_probe_goes_to_the_prober_and_is_no_probe() {
    let mut client = Client::online(config());
    client.json(json!({"type":"presence","from":"bob|2","data":{"online":true},"probe":true}));
    let sent = client.take_sent();
    assert_eq!(sent.len(), 1);
    assert_eq!((&sent[0]["type"], &sent[0]["to"]), (&json!("presence"), &json!("bob|2")));
    assert_eq!((sent[0].get("probe"), &sent[0]["data"]["id"]), (None, &json!("1")));
    assert_eq!(told(&mut client), ["+bob|2"], "a prober is online");
}

#[test]
fn an_answer_is_never_answered() {
    let mut client = Client::online(config());
    for answer in [
        presence("bob", 2, true),
        json!({"type":"presence","from":"bob|2","data":{"online":true},"probe":false}),
        json!({"type":"presence","from":"bob|2","data":{"online":true},"probe":"true"}),
        json!({"type":"presence","from":"alice|1","data":{"online":true},"probe":true}),
        json!({"type":"presence","data":{},"probe":true}),
    ] {
        client.json(answer.clone());
        assert!(client.sent.is_empty(), "{answer}");
    }
}

#[test]
fn ten_probes_at_once_are_answered_once() {
    let mut client = Client::online(Config { burst: 1, rate: 1, ..config() });
    for _ in 0..10 {
        client.json(json!({"type":"presence","from":"bob|2","data":{"online":true},"probe":true}));
    }
    client.run(secs(20));
    assert_eq!(client.sent.len(), 1);
}

#[test]
fn a_flood_of_probes_does_not_delay_our_own_messages() {
    let mut client = Client::online(Config { burst: 10, rate: 10, ..config() });
    client.run(secs(10));
    for n in 0..1000 {
        client
            .json(json!({"type":"presence","from":format!("bob{n}|1"),"data":{"online":true},"probe":true}));
        client.json(json!({"type":"presence","from":"bob|2","data":{"online":true},"probe":true}));
    }
    assert_eq!(client.sent.len(), 5, "half of the burst");
    for n in 0..5 {
        let draft = symple::proto::Draft::new(symple::proto::MessageKind::Message).to("bob|2").data(&n);
        client.agent.send(draft, client.now).expect("online");
    }
    client.drain();
    let own = client.take_sent().iter().filter(|frame| frame["type"] == "message").count();
    assert_eq!(own, 5, "all at once");
    client.run(secs(55));
    assert!(client.sent.len() <= 257, "and the number of probers is bounded: {}", client.sent.len());
}
