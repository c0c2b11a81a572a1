//! Who gets a seat, what callers may cost, and the application's verdict on a call; on a virtual clock.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{BOTH, OFFER, World};
use crate::calling::AnswerPolicy;
use crate::camera::core::{Input, Output, Whence};
use crate::camera::event::{Event, ViewerId};

const SECOND: Duration = Duration::from_secs(1);

fn at(host: &str) -> Whence {
    Whence::At(host.parse::<IpAddr>().expect("literal"))
}

fn offer_body() -> String {
    serde_json::json!({ "type": "offer", "sdp": OFFER }).to_string()
}

fn init(world: &mut World, from: &str, whence: Whence) {
    world.call_from(from, whence, "call:init", "{}");
}

fn told(world: &World, subtype: &str, who: &str, reason: &str) -> usize {
    world.said(&format!(r#"{subtype} {who} {{"reason":"{reason}"}}"#))
}

/// What an application that is asked has been told of.
fn incoming(world: &World) -> Vec<(ViewerId, String)> {
    let of = |event: &Event| match event {
        Event::Incoming { id, peer, .. } => Some((*id, peer.as_str().to_owned())),
        _ => None,
    };
    world.events.iter().filter_map(of).collect()
}

#[test]
fn the_oldest_call_without_media_gives_way_when_all_seats_are_taken() {
    let mut world = World::new(3, true);
    for n in 0..3 {
        init(&mut world, &format!("mallory{n}|1"), at(&format!("192.0.2.{n}")));
    }
    init(&mut world, "owner|1", at("198.51.100.1"));
    assert_eq!(told(&world, "call:hangup", "mallory0|1", "busy"), 1, "{:?}", world.said);
    assert_eq!((world.said("call:accept owner|1"), told(&world, "call:reject", "owner|1", "busy")), (1, 0));
    assert!(world.events.iter().any(|e| matches!(e, Event::CallFailed { peer: who, end: why, .. }
        if who.as_str() == "mallory0|1" && why.reason.code() == "busy")));
    // However many more come, seats are not exceeded, and the newest is served.
    for n in 10..60 {
        init(&mut world, &format!("mallory{n}|1"), at(&format!("203.0.113.{n}")));
    }
    assert_eq!(world.said("call:accept mallory59|1"), 1);
    assert_eq!(world.said("call:accept") - world.said("call:hangup"), 3);
}

#[test]
fn who_watches_gives_way_to_nobody() {
    let mut world = World::new(3, true);
    for n in 0..3 {
        init(&mut world, &format!("viewer{n}|1"), at("192.0.2.1"));
        world.connect(&format!("viewer{n}|1"));
    }
    init(&mut world, "mallory|1", at("192.0.2.1"));
    assert_eq!(told(&world, "call:reject", "mallory|1", "busy"), 1);
    assert_eq!(world.said("call:hangup"), 0);
    // One goes; one host's calls without media share the seat, and those with media are not of the four.
    world.call("viewer1|1", "call:hangup", "{}");
    for n in 0..3 {
        init(&mut world, &format!("eve{n}|1"), at("192.0.2.1"));
    }
    assert_eq!((world.said("call:accept eve"), world.said("call:hangup eve")), (3, 2));
    assert_eq!(world.said("call:hangup viewer"), 0);
}

#[test]
fn a_call_that_we_made_gives_way_to_nobody() {
    let mut world = World::new(1, true);
    world.core.invite("bob|2", "k3Jq", false, world.now).expect("online");
    world.drain();
    init(&mut world, "owner|1", at("198.51.100.1"));
    assert_eq!(told(&world, "call:reject", "owner|1", "busy"), 1);
    assert!(!world.core.is_idle());
}

#[test]
fn our_own_call_finds_a_seat_too() {
    let mut world = World::new(1, true);
    init(&mut world, "mallory|1", at("192.0.2.1"));
    world.core.invite("bob|2", "k3Jq", false, world.now).expect("who brings no media gives way");
    world.drain();
    assert_eq!(told(&world, "call:hangup", "mallory|1", "busy"), 1);
    assert_eq!(world.said("call:init bob|2"), 1);
}

#[test]
fn one_host_has_four_calls_without_media() {
    let mut world = World::new(64, true);
    init(&mut world, "alice|1", at("2001:db8:ff::1"));
    for n in 0..6 {
        init(&mut world, &format!("mallory{n}|1"), at(&format!("2001:db8::{n}")));
    }
    for n in 0..6 {
        let gone = told(&world, "call:hangup", &format!("mallory{n}|1"), "busy");
        assert_eq!(gone, usize::from(n < 2), "the oldest two: {:?}", world.said);
    }
    assert_eq!(world.said("call:hangup alice|1"), 0, "others are not concerned");
    // Where the server does not tell hosts, users are counted.
    for n in 0..6 {
        init(&mut world, &format!("eve|{n}"), Whence::Unknown);
    }
    assert_eq!((0..6).map(|n| told(&world, "call:hangup", &format!("eve|{n}"), "busy")).sum::<usize>(), 2);
}

#[test]
fn this_machine_and_proxies_are_not_counted() {
    let mut world = World::new(64, true);
    for n in 0..8 {
        init(&mut world, &format!("viewer|{n}"), Whence::Exempt);
    }
    assert_eq!((world.said("call:accept"), world.said("call:hangup")), (8, 0));
}

#[test]
fn offers_of_a_flood_wait_and_no_call_ends_by_it() {
    let mut world = World::new(8, true);
    let (mallory, body) = (at("192.0.2.1"), offer_body());
    init(&mut world, "mallory|1", mallory);
    for _ in 0..1000 {
        world.call_from("mallory|1", mallory, "call:offer", &body);
    }
    assert_eq!(world.said("call:answer mallory|1"), 8, "the burst");
    // Whoever else comes does not wait.
    init(&mut world, "owner|1", at("198.51.100.1"));
    world.call_from("owner|1", at("198.51.100.1"), "call:offer", &body);
    assert_eq!(world.said("call:answer owner|1"), 1);
    for _ in 0..10 {
        world.pass(SECOND);
        for _ in 0..95 {
            world.call_from("mallory|1", mallory, "call:offer", &body);
        }
    }
    assert_eq!(world.said("call:answer mallory|1"), 8 + 20, "2 a second");
    assert_eq!(world.said("call:hangup mallory|1"), 0);
    // The last one waits for its turn and gets it.
    world.pass(5 * SECOND);
    assert_eq!(world.said("call:answer mallory|1"), 8 + 20 + 1);
}

/// The data of an init with an offer.
fn init_with_offer() -> String {
    serde_json::json!({ "offer": { "type": "offer", "sdp": OFFER } }).to_string()
}

#[test]
fn an_offer_in_the_init_is_answered_at_once() {
    let mut world = World::new(4, true);
    world.call("bob|2", "call:init", &init_with_offer());
    let said: Vec<&str> = world.said.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(said, ["call:accept", "call:answer", "call:candidate"]);
    assert_eq!(world.produced.last(), Some(&BOTH.to_vec()), "the source starts");
    // Whoever sends it again, not knowing that it was taken, gets another answer, and the call goes on.
    world.call("bob|2", "call:offer", &offer_body());
    assert_eq!((world.said("call:answer"), world.said("call:hangup")), (2, 0));
    // The page was reloaded and calls again.
    world.input(Input::Call {
        from: "bob|2",
        whence: Whence::Unknown,
        subtype: "call:init",
        data: Some(&init_with_offer().replace("a=ice-ufrag:", "a=ice-ufrag:Q")),
        call: Some("again"),
    });
    assert_eq!((world.said("call:accept"), world.said("call:answer")), (2, 3));
    assert_eq!(world.said("call:hangup"), 0);
}

#[test]
fn an_offer_in_the_init_that_cannot_be_used_ends_that_call_alone() {
    let mut world = World::new(4, true);
    world.call("eve|1", "call:init", &init_with_offer());
    for (n, bad) in ["v=0", "nonsense"].into_iter().enumerate() {
        let data = serde_json::json!({ "offer": { "type": "offer", "sdp": bad } }).to_string();
        world.call(&format!("bob|{n}"), "call:init", &data);
        assert_eq!(told(&world, "call:hangup", &format!("bob|{n}"), "bad-description"), 0, "with words");
        assert_eq!(
            world.said(&format!(r#"call:hangup bob|{n} {{"reason":"bad-description""#)),
            1,
            "{:?}",
            world.said
        );
    }
    assert_eq!(world.said("call:hangup eve"), 0);
}

#[test]
fn offers_in_inits_have_the_limits_of_others() {
    // Of one host: its bucket holds eight.
    let mut world = World::new(100, true);
    for n in 0..4 {
        world.call_from(&format!("mallory|{n}"), at("192.0.2.1"), "call:init", &init_with_offer());
    }
    for _ in 0..100 {
        world.call_from("mallory|0", at("192.0.2.1"), "call:offer", &offer_body());
    }
    assert_eq!(world.said("call:answer mallory"), 8, "the burst");
    // Of all together.
    let mut world = World::new(200, true);
    for n in 0..100u8 {
        world.call_from(&format!("u{n}|1"), at(&format!("192.0.2.{n}")), "call:init", &init_with_offer());
    }
    assert_eq!((world.said("call:accept"), world.said("call:answer")), (100, 64));
    world.pass(3 * SECOND);
    assert_eq!(world.said("call:answer"), 100);
    // Seats, and inits of one host.
    let mut world = World::new(1, true);
    world.call_from("owner|1", at("198.51.100.1"), "call:init", &init_with_offer());
    world.connect("owner|1");
    world.call_from("mallory|1", at("192.0.2.1"), "call:init", &init_with_offer());
    assert_eq!(told(&world, "call:reject", "mallory|1", "busy"), 1);
    assert_eq!(world.said("call:answer"), 1);
}

#[test]
fn whoever_is_asked_answers_the_offer_of_the_init_after_the_verdict() {
    let mut world = World::with(4, true, AnswerPolicy::Ask);
    world.call("bob|2", "call:init", &init_with_offer());
    world.call("bob|2", "call:candidate", r#"{"candidate":""}"#);
    assert_eq!(world.said, Vec::<String>::new());
    assert!(world.events.iter().any(|e| matches!(e, Event::Incoming { data, .. } if data == "{}")));
    let (id, _) = incoming(&world)[0].clone();
    world.core.accept(id, world.now).expect("it waits");
    world.drain();
    assert_eq!((world.said("call:accept bob|2"), world.said("call:answer bob|2")), (1, 1));
}

#[test]
fn one_offer_is_taken_at_a_time_and_all_together_have_a_rate() {
    let mut world = World::new(200, true);
    let body = offer_body();
    for n in 0..100u8 {
        let (from, whence) = (format!("u{n}|1"), at(&format!("192.0.2.{n}")));
        for (subtype, data) in [("call:init", "{}"), ("call:offer", body.as_str())] {
            let input = Input::Call { from: &from, whence, subtype, data: Some(data), call: Some(&from) };
            world.core.handle_input(input, world.now);
        }
    }
    // The driver's turns: frames come between them.
    let mut answers = |now: Instant| {
        let mut each = vec![];
        loop {
            world.core.handle_input(Input::Timeout, now);
            let mut answered = 0;
            let next = loop {
                match world.core.poll_output() {
                    Output::Send { subtype: "call:answer", .. } => answered += 1,
                    Output::Timeout(at) => break at,
                    _ => {}
                }
            };
            each.push(answered);
            if next.is_none_or(|at| at > now) {
                return each;
            }
        }
    };
    let burst = answers(world.now);
    assert!(burst.iter().all(|n| *n <= 1), "{burst:?}");
    assert_eq!(burst.iter().sum::<usize>(), 64);
    let later =
        (1..=40).map(|n| answers(world.now + n * SECOND / 64).iter().sum::<usize>()).collect::<Vec<_>>();
    assert!(later.iter().all(|n| *n <= 1), "{later:?}");
    assert_eq!(later.iter().sum::<usize>(), 36, "64 a second");
}

#[test]
fn a_renegotiation_that_is_refused_leaves_the_call_as_it_was() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    assert_eq!(world.said("call:answer bob|2"), 1);
    let produced = world.produced.clone();
    for bad in ["v=0", "nonsense", &OFFER.replace("a=ice-ufrag", "a=ice-nothing")] {
        world.call("bob|2", "call:offer", &serde_json::json!({ "type": "offer", "sdp": bad }).to_string());
    }
    assert_eq!((world.said("call:answer bob|2"), world.said("call:hangup")), (1, 0), "{:?}", world.said);
    assert_eq!(world.produced, produced);
    world.call("bob|2", "call:offer", &offer_body());
    assert_eq!(world.said("call:answer bob|2"), 2, "the next one is answered");
}

#[test]
fn calls_over_and_over_are_answered_busy_and_then_not_at_all() {
    let mut world = World::new(4, true);
    for n in 0..1000 {
        let id = format!("id{n}");
        let input = Input::Call {
            from: "mallory|1",
            whence: at("192.0.2.1"),
            subtype: "call:init",
            data: Some("{}"),
            call: Some(&id),
        };
        world.input(input);
    }
    assert_eq!((world.said("call:accept"), told(&world, "call:reject", "mallory|1", "busy")), (8, 8));
    assert_eq!(world.said.len(), 16, "{:?}", world.said);
    assert!(!world.core.is_idle(), "the call that it has goes on");
}

#[test]
fn messages_of_no_call_are_answered_now_and_then() {
    let mut world = World::new(4, true);
    for n in 0..1000 {
        let subtype = ["call:accept", "call:offer", "call:answer"][n % 3];
        let input = Input::Call {
            from: "mallory|1",
            whence: at("192.0.2.1"),
            subtype,
            data: Some("{}"),
            call: Some("nope7"),
        };
        world.input(input);
    }
    assert_eq!(world.said.len(), 8, "{:?}", world.said);
    // From another user of the same host it is the same sender.
    world.call_from("mallory2|1", at("192.0.2.1"), "call:accept", "{}");
    assert_eq!(world.said.len(), 8);
    world.call_from("alice|1", at("192.0.2.2"), "call:accept", "{}");
    assert_eq!(told(&world, "call:hangup", "alice|1", "no-such-call"), 1);
}

#[test]
fn the_application_accepts_and_finds_what_came_before() {
    let mut world = World::with(4, true, AnswerPolicy::Ask);
    world.offer("bob|2", OFFER);
    world.call("bob|2", "call:candidate", r#"{"candidate":"candidate:1 1 udp 1 192.0.2.9 9 typ host"}"#);
    assert!(world.said.is_empty() && world.produced.is_empty(), "{:?}", world.said);
    let [(id, peer)] = &incoming(&world)[..] else { panic!("{:?}", world.events) };
    assert_eq!(peer, "bob|2");
    assert!(!world.events.iter().any(|e| matches!(e, Event::Calling { .. })));
    world.core.accept(*id, world.now).expect("it waits");
    world.drain();
    assert_eq!((world.said("call:accept bob|2"), world.said("call:answer bob|2")), (1, 1));
    assert!(world.events.iter().any(|e| matches!(e, Event::Calling { id: calling, .. } if calling == id)));
    assert!(world.core.accept(*id, world.now).is_err(), "once is enough");
    world.pass(SECOND);
    assert!(world.reached.contains(&"192.0.2.9:9".parse().expect("literal")), "the candidate was kept");
}

#[test]
fn the_application_rejects_or_says_nothing() {
    let mut world = World::with(4, true, AnswerPolicy::Ask);
    world.offer("bob|2", OFFER);
    world.offer("eve|3", OFFER);
    let asked = incoming(&world);
    world.core.reject(asked[0].0, "declined".into(), world.now).expect("it waits");
    world.drain();
    assert_eq!(told(&world, "call:reject", "bob|2", "declined"), 1);
    assert!(world.core.reject(asked[0].0, "declined".into(), world.now).is_err(), "it is over");
    assert!(world.core.accept(asked[0].0, world.now).is_err(), "it is over");
    world.pass(Duration::from_secs(29));
    assert_eq!(world.said("call:reject eve|3"), 0);
    world.pass(2 * SECOND);
    assert_eq!(told(&world, "call:reject", "eve|3", "timeout"), 1);
    assert!(world.core.is_idle() && world.produced.is_empty());
    let failed = |who: &str, why: &str| {
        world
            .events
            .iter()
            .any(|e| matches!(e, Event::CallFailed { peer, end: words, .. } if peer.as_str() == who && words.reason.code() == why))
    };
    assert!(failed("bob|2", "declined") && failed("eve|3", "timeout"), "{:?}", world.events);
}

#[test]
fn a_caller_that_hangs_up_before_the_answer_is_gone() {
    let mut world = World::with(4, true, AnswerPolicy::Ask);
    world.offer("bob|2", OFFER);
    let asked = incoming(&world);
    world.call("bob|2", "call:hangup", "{}");
    assert!(world.core.accept(asked[0].0, world.now).is_err());
    world.drain();
    assert!(world.core.is_idle() && world.said.is_empty(), "{:?}", world.said);
}
