//! Messages, commands and their replies, receipts, errors.

use serde_json::{Value, json};
use symple::client::{CommandError, CommandId, Event, SendError};
use symple::proto::{Draft, Message, MessageKind, Status};

use crate::scenario::{Client, config, secs};

fn reply_to(command: &Value, from: &str, status: u16) -> Value {
    json!({"type":"command","id":command["id"],"from":from,"to":"alice|1","node":"cam","action":"zoom","status":status,"data":{"level":2}})
}

fn ask(client: &mut Client, to: &str) -> (CommandId, Value) {
    let id = client.agent.command(to, "cam", "zoom", &json!({"level":2}), client.now).expect("online");
    client.drain();
    (id, client.take_sent().remove(0))
}

#[test]
fn a_message_without_an_id_gets_one() {
    let mut client = Client::online(config());
    let id =
        client.agent.send(Draft::new(MessageKind::Message).to("bob").data("hi"), client.now).expect("online");
    let own = client
        .agent
        .send(Draft::new(MessageKind::Event).id("mine").with("name", "tick"), client.now)
        .expect("online");
    client.drain();
    assert_eq!(own, "mine");
    assert_eq!(
        client.sent,
        [
            format!(r#"{{"type":"message","to":"bob","data":"hi","id":"{id}"}}"#),
            r#"{"type":"event","id":"mine","name":"tick"}"#.to_owned()
        ]
    );
    let next = client.agent.send(Draft::new(MessageKind::Message).to("bob"), client.now).expect("online");
    assert_ne!(id, next);
}

#[test]
fn undeliverable_messages_are_refused_with_a_reason() {
    let mut client = Client::online(config());
    for (draft, why) in [
        (Draft::new(MessageKind::Join).with("room", "r"), "join()"),
        (Draft::new(MessageKind::Leave).with("room", "r"), "leave()"),
        (Draft::new(MessageKind::Close), "close()"),
        (Draft::new(MessageKind::Auth), "\"type\""),
        (Draft::new(MessageKind::Welcome), "\"type\""),
        (Draft::new(MessageKind::Message).to(""), "\"to\""),
        (Draft::new(MessageKind::Message).with("to", &7), "\"to\""),
        (Draft::new(MessageKind::Message).to("a").to("b"), "twice"),
        (Draft::new(MessageKind::Message).with("id", &7), "\"id\""),
    ] {
        let error = client.agent.send(draft, client.now).expect_err(why);
        assert!(matches!(&error, SendError::Invalid { reason: said } if said.contains(why)), "{error}");
    }
    let long = Draft::new(MessageKind::Message).data(&"x".repeat(600 << 10));
    assert!(matches!(client.agent.send(long, client.now), Err(SendError::TooLarge { limit: 524288, .. })));
    client.drain();
    assert!(client.sent.is_empty());
    let other = Draft::new(MessageKind::from("whatever")).to("bob");
    assert!(client.agent.send(other, client.now).is_ok(), "a server may know more types than we do");
}

#[test]
fn offline_messages_that_would_be_lost_are_refused() {
    let mut client = Client::online(config());
    client.lose(None);
    let now = client.now;
    let error = client.agent.send(Draft::new(MessageKind::Message).to("bob"), now).expect_err("offline");
    assert_eq!((&error, error.to_string().contains("once online")), (&SendError::Offline, true));
    assert_eq!(client.agent.command("bob", "n", "a", &(), now), Err(SendError::Offline));
    assert_eq!(client.agent.probe(now), Err(SendError::Offline));
}

#[test]
fn messages_and_unknown_types_arrive_unchanged() {
    let mut client = Client::online(config());
    for text in [
        r#"{"type":"message","id":"1","from":"bob|2","subtype":"call:init","call":"c","data":{ "n" : 1.0 }}"#,
        r#"{"type":"event","name":"shutdown","subtype":"shutdown","message":"Server shutting down"}"#,
        r#"{"type":"sparkle","n":1e3}"#,
    ] {
        client.text(text);
        assert!(
            matches!(&client.take_events()[..], [Event::Message { message: m }] if m.as_str() == text),
            "{text}"
        );
    }
}

#[test]
fn a_command_has_its_wire_format_and_its_reply_ends_it() {
    let mut client = Client::online(config());
    let (id, command) = ask(&mut client, "bob|2");
    assert_eq!(
        command,
        json!({"type":"command","id":command["id"],"to":"bob|2","node":"cam","action":"zoom","data":{"level":2},"receipt":true})
    );
    client.json(reply_to(&command, "bob|2", 200));
    let events = client.take_events();
    let [Event::Reply { id: of, result: Ok(reply) }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((*of, reply.status()), (id, Some(Status::OK)));
    client.json(reply_to(&command, "bob|2", 200));
    assert!(
        matches!(&client.take_events()[..], [Event::Message { .. }]),
        "only the first reply counts; a second is a message"
    );
    client.run(secs(20));
    assert!(client.events.is_empty());
}

#[test]
fn only_the_recipient_of_a_command_can_end_it() {
    let mut client = Client::online(config());
    let (id, command) = ask(&mut client, "bob|2");
    client.json(reply_to(&command, "eve|3", 200));
    assert!(matches!(&client.take_events()[..], [Event::Message { .. }]));
    client.json(reply_to(&command, "bob|2", 404));
    assert!(matches!(&client.take_events()[..], [Event::Reply { id: of, result: Ok(_) }] if *of == id));
}

#[test]
fn a_command_ends_at_its_deadline_which_202_extends() {
    let mut client = Client::online(config());
    let (first, _) = ask(&mut client, "bob|2");
    let (second, command) = ask(&mut client, "bob|2");
    client.run(secs(9));
    client.json(reply_to(&command, "bob|2", 202));
    assert!(matches!(&client.take_events()[..], [Event::Progress { id, .. }] if *id == second));
    client.run(secs(1));
    assert_eq!(client.take_events(), [Event::Reply { id: first, result: Err(CommandError::TimedOut) }]);
    client.run(secs(8));
    assert!(client.events.is_empty());
    client.run(secs(1));
    assert_eq!(client.take_events(), [Event::Reply { id: second, result: Err(CommandError::TimedOut) }]);
}

#[test]
fn a_command_to_nobody_fails_at_once() {
    let mut client = Client::online(config());
    let (id, command) = ask(&mut client, "bob|2");
    client.json(json!({"type":"receipt","id":command["id"],"status":404,"delivered":0}));
    assert_eq!(client.take_events(), [Event::Reply { id, result: Err(CommandError::NobodyThere) }]);
    let (id, command) = ask(&mut client, "bob|2");
    client.json(json!({"type":"receipt","id":command["id"],"status":200,"delivered":1}));
    assert!(client.events.is_empty(), "delivered: the reply is yet to come");
    client.json(reply_to(&command, "bob|2", 200));
    assert!(matches!(&client.take_events()[..], [Event::Reply { id: of, result: Ok(_) }] if *of == id));
}

#[test]
fn a_lost_connection_ends_all_commands() {
    let mut client = Client::online(config());
    let ids = [ask(&mut client, "bob|2").0, ask(&mut client, "bob|2").0];
    client.lose(None);
    let lost = |id| Event::Reply { id, result: Err(CommandError::Offline) };
    assert_eq!(client.take_events()[1..], [lost(ids[0]), lost(ids[1])]);
    let mut client = Client::online(config());
    let (id, _) = ask(&mut client, "bob|2");
    client.agent.close(client.now);
    client.drain();
    assert_eq!(client.take_events()[0], lost(id));
}

#[test]
fn pending_commands_are_bounded() {
    let mut client = Client::online(config());
    for _ in 0..256 {
        ask(&mut client, "bob|2");
    }
    assert_eq!(client.agent.command("bob|2", "n", "a", &(), client.now), Err(SendError::TooManyCommands));
    client.run(secs(10));
    assert!(client.agent.command("bob|2", "n", "a", &(), client.now).is_ok());
}

#[test]
fn a_request_is_answered_under_its_own_id() {
    let mut client = Client::online(config());
    client.text(
        r#"{"type":"command","id":"\u0037","from":"bob|2","node":"cam","action":"zoom","data":{"level":2}}"#,
    );
    let Some(Event::Command { command: request }) = client.take_events().pop() else { panic!("a command") };
    client.agent.reply(&request, Status::OK, &json!({"level": 2}), client.now).expect("online");
    client.drain();
    assert_eq!(
        client.sent,
        [
            r#"{"type":"command","to":"bob|2","id":"\u0037","node":"cam","action":"zoom","status":200,"data":{"level":2}}"#
        ]
    );
    let nobody = Message::parse(r#"{"type":"command","id":"7"}"#).expect("valid");
    assert!(matches!(
        client.agent.reply(&nobody, Status::OK, &(), client.now),
        Err(SendError::Invalid { .. })
    ));
}

#[test]
fn receipts_and_errors_are_events() {
    let mut client = Client::online(config());
    client.text(r#"{"type":"receipt","id":"m1","status":200,"delivered":3}"#);
    client.text(r#"{"type":"receipt","id":"m2","status":404,"delivered":0}"#);
    client.text(r#"{"type":"error","status":429,"message":"Slower"}"#);
    client.text(r#"{"type":"error"}"#);
    let receipt = |id: &str, status, delivered| Event::Receipt { id: id.into(), status, delivered };
    assert_eq!(
        client.take_events(),
        [
            receipt("m1", Status::OK, 3),
            receipt("m2", Status::NOT_FOUND, 0),
            Event::Error { status: Status::TOO_MANY, message: "Slower".into() },
            Event::Error { status: Status::INTERNAL, message: String::new() },
        ]
    );
    client.json(json!({"type":"error","status":500,"message":"ä".repeat(1000)}));
    assert!(matches!(&client.take_events()[..], [Event::Error { message, .. }] if message.len() == 256));
}
