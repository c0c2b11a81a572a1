//! Awaited answers: each is taken once, can be discarded, and has an error code; their number is limited.

use serde_json::{Value, json};
use symple::client::{AnswerId, Config, Event, RequestError, SendError};
use symple::proto::{Draft, MessageKind, Status};

use crate::scenario::{Client, config, secs};

fn request(client: &mut Client) -> (AnswerId, Value) {
    let id = client.agent.request("bob|2", "cam", "zoom", &json!({"level":2}), client.now).expect("online");
    client.drain();
    (id, client.take_sent().remove(0))
}

fn deliver(client: &mut Client) -> (AnswerId, Value) {
    let draft = Draft::new(MessageKind::Message).to("bob").data("hi");
    let id = client.agent.deliver(draft, client.now).expect("online");
    client.drain();
    (id, client.take_sent().remove(0))
}

fn reply(client: &mut Client, command: &Value, status: u16) {
    let id = &command["id"];
    client.json(json!({"type":"command","id":id,"from":"bob|2","to":"alice|1","status":status,"data":7}));
}

fn receipt(client: &mut Client, message: &Value, status: u16, delivered: u64) {
    client.json(json!({"type":"receipt","id":message["id"],"status":status,"delivered":delivered}));
}

/// The error's code, once available.
fn code(client: &mut Client, id: AnswerId) -> &'static str {
    client.agent.take_answer(id).expect("it is there").expect_err("an error").code()
}

#[test]
fn a_reply_is_kept_until_it_is_taken_and_is_an_event_too() {
    let mut client = Client::online(config());
    let (id, command) = request(&mut client);
    assert_eq!(client.agent.take_answer(id), None);
    reply(&mut client, &command, 202);
    assert_eq!(client.agent.take_answer(id), None, "202 is not the final reply");
    client.run(secs(9));
    reply(&mut client, &command, 200);
    assert_eq!(client.answered, [id]);
    let events = client.take_events();
    assert!(matches!(events[..], [Event::Progress { .. }, Event::Reply { result: Ok(_), .. }]), "{events:?}");
    let answer = client.agent.take_answer(id).expect("it is there").expect("status 200");
    assert_eq!(answer.data::<u32>().ok(), Some(7));
    assert_eq!(client.agent.take_answer(id), None, "once");
}

#[test]
fn each_outcome_of_a_request_has_its_code() {
    let mut client = Client::online(Config { max_commands: 3, ..config() });
    let (refused, command) = request(&mut client);
    reply(&mut client, &command, 403);
    let answer = client.agent.take_answer(refused).expect("it is there");
    let Err(error @ RequestError::Refused { .. }) = answer else { panic!("{answer:?}") };
    assert_eq!((error.code(), error.to_string().contains("403")), ("refused", true));
    let RequestError::Refused { status, answer } = error else { unreachable!("just matched") };
    assert_eq!((status, answer.data::<u32>().ok()), (Status::FORBIDDEN, Some(7)), "with the peer's data");

    let (nobody, command) = request(&mut client);
    receipt(&mut client, &command, 404, 0);
    assert_eq!(code(&mut client, nobody), "nobody-there");

    let (late, _) = request(&mut client);
    client.run(secs(10));
    assert_eq!(code(&mut client, late), "timed-out");

    let (lost, _) = request(&mut client);
    client.lose(None);
    assert_eq!(code(&mut client, lost), "lost");
    let error = client.agent.request("bob|2", "n", "a", &(), client.now).expect_err("offline");
    assert_eq!(RequestError::from(error).code(), "offline");

    let mut client = Client::online(config());
    let (closed, _) = request(&mut client);
    client.agent.close(client.now);
    client.drain();
    assert_eq!(code(&mut client, closed), "closed");
    assert_eq!(client.answered, [closed]);
}

#[test]
fn a_receipt_gives_the_number_of_recipients() {
    let mut client = Client::online(config());
    let (id, message) = deliver(&mut client);
    let wire = message["id"].clone();
    assert_eq!(message, json!({"type":"message","to":"bob","data":"hi","id":wire,"receipt":true}));
    receipt(&mut client, &message, 200, 3);
    assert_eq!(client.answered, [id]);
    assert!(matches!(&client.take_events()[..], [Event::Receipt { delivered: 3, .. }]), "an event too");
    let answer = client.agent.take_answer(id).expect("it is there").expect("status 200");
    assert_eq!(answer.get::<u64>("delivered").ok().flatten(), Some(3));

    let (nobody, message) = deliver(&mut client);
    receipt(&mut client, &message, 404, 0);
    assert_eq!(code(&mut client, nobody), "nobody-there");
    let (refused, message) = deliver(&mut client);
    receipt(&mut client, &message, 503, 0);
    assert_eq!(code(&mut client, refused), "refused");
    let (late, _) = deliver(&mut client);
    client.run(secs(10));
    assert_eq!(code(&mut client, late), "timed-out");
    let (lost, _) = deliver(&mut client);
    client.lose(None);
    assert_eq!(code(&mut client, lost), "lost");
}

#[test]
fn a_draft_requests_one_receipt_whatever_it_contains() {
    let mut client = Client::online(config());
    let plain = || Draft::new(MessageKind::Message).to("bob").id("mine");
    assert!(client.agent.deliver(plain().receipt(), client.now).is_ok());
    client.drain();
    assert_eq!(client.sent, [r#"{"type":"message","to":"bob","id":"mine","receipt":true}"#]);
    let again = client.agent.deliver(plain(), client.now);
    assert!(matches!(again, Err(SendError::Invalid { .. })), "the receipt would be ambiguous");
    client.drain();
    assert_eq!(client.sent.len(), 1);
}

#[test]
fn a_discarded_answer_frees_its_slot() {
    let mut client = Client::online(Config { max_commands: 2, ..config() });
    for _ in 0..100 {
        let (id, command) = request(&mut client);
        client.agent.forget(id);
        reply(&mut client, &command, 200);
        let events = client.take_events();
        assert!(matches!(&events[..], [Event::Message { .. }]), "it arrives like any message: {events:?}");
        let (id, message) = deliver(&mut client);
        client.agent.forget(id);
        receipt(&mut client, &message, 200, 1);
        assert!(matches!(&client.take_events()[..], [Event::Receipt { .. }]));
        let (id, command) = request(&mut client);
        reply(&mut client, &command, 200);
        client.agent.forget(id);
        assert_eq!(client.agent.take_answer(id), None);
        client.events.clear();
    }
    client.answered.clear();
    client.run(secs(20));
    assert!(client.answered.is_empty() && client.events.is_empty());
}

#[test]
fn pending_and_untaken_answers_are_bounded() {
    let mut client = Client::online(Config { max_commands: 2, ..config() });
    let (first, command) = request(&mut client);
    let (second, _) = deliver(&mut client);
    let now = client.now;
    let draft = || Draft::new(MessageKind::Message).to("bob");
    assert_eq!(client.agent.deliver(draft(), now), Err(SendError::TooManyCommands));
    reply(&mut client, &command, 200);
    assert_eq!(
        client.agent.deliver(draft(), now),
        Err(SendError::TooManyCommands),
        "an untaken answer counts"
    );
    assert!(client.agent.take_answer(first).is_some());
    assert!(client.agent.deliver(draft(), now).is_ok());
    client.agent.forget(second);
    assert!(client.agent.request("bob|2", "n", "a", &(), now).is_ok());
}
