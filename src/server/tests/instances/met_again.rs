//! Peers that an instance forgets, because they share no room with its own, and meets again: what a reader is told
//! about them that was behind meanwhile, since it reads slowly or waits for a join; and whom they hold.

use super::*;

/// ben and dan are at the first instance, in `blue` and `red`; dan does not read. ann at the second is in `red` only.
fn fleet() -> Fleet {
    let mut fleet = Fleet::new(2);
    for (name, at, rooms) in [("ben", 0, &["blue"][..]), ("dan", 0, &["blue", "red"]), ("ann", 1, &["red"])] {
        fleet.connect(name, at, rooms);
        fleet.settle();
    }
    assert_eq!(fleet.roster("dan"), ["ann", "ben"]);
    fleet.forget();
    fleet.stop("dan");
    fleet
}

fn say(fleet: &mut Fleet, name: &str, kind: &str, room: &str) {
    fleet.send(name, &format!(r#"{{"type":"{kind}","room":"{room}"}}"#));
    fleet.settle();
}

/// What a client was told about a peer since the last call: whether it is online, and its `n`.
fn told(fleet: &mut Fleet, name: &str, peer: &str) -> Vec<(bool, Option<u64>)> {
    let inbox = std::mem::take(&mut fleet.clients.get_mut(name).expect("connected").inbox);
    let from = format!("{peer}|#{peer}");
    let of = inbox.iter().filter(|message| message["type"] == "presence" && message["from"] == *from);
    of.map(|message| (message["data"]["online"] == true, message["data"]["n"].as_u64())).collect()
}

#[test]
fn a_peer_that_leaves_the_last_shared_room_and_enters_another_is_online() {
    let mut fleet = fleet();
    say(&mut fleet, "ann", "leave", "red");
    assert_eq!(fleet.instances[&0].hub.stats().peers_away, 0, "its instance has forgotten it");
    fleet.send("ann", r#"{"type":"presence","data":{"n":7}}"#);
    say(&mut fleet, "ann", "join", "blue");
    fleet.read("dan");
    assert_eq!(told(&mut fleet, "dan", "ann"), [(true, Some(7))]);
    assert_eq!(fleet.roster("dan"), ["ann", "ben"]);
}

#[test]
fn a_peer_that_is_met_several_times_and_leaves_for_good_goes_offline_once() {
    for (rounds, stays) in [(1, true), (1, false), (4, true), (4, false)] {
        let mut fleet = fleet();
        for _ in 0..rounds {
            for (from, to) in [("red", "blue"), ("blue", "red")] {
                say(&mut fleet, "ann", "leave", from);
                say(&mut fleet, "ann", "join", to);
            }
        }
        if !stays {
            fleet.cut("ann");
            fleet.settle();
        }
        fleet.read("dan");
        assert_eq!(told(&mut fleet, "dan", "ann"), [(stays, None)]);
        let hub = &fleet.instances[&0].hub;
        assert_eq!(hub.stats().peers_away, usize::from(stays));
        for name in ["dan", "ben"] {
            fleet.cut(name);
        }
        assert!(fleet.instances[&0].hub.hub.rooms.is_clean(), "nothing is kept of anybody");
    }
}

#[test]
fn a_message_between_two_meetings_comes_from_a_peer_that_is_online() {
    let mut fleet = fleet();
    say(&mut fleet, "ann", "leave", "red");
    say(&mut fleet, "ann", "join", "blue");
    fleet.send("ann", r#"{"type":"message","to":"blue","data":"hi"}"#);
    say(&mut fleet, "ann", "leave", "blue");
    say(&mut fleet, "ann", "join", "red");
    fleet.read("dan");
    let inbox = std::mem::take(&mut fleet.clients.get_mut("dan").expect("connected").inbox);
    let said: Vec<&str> = inbox
        .iter()
        .filter(|message| message["from"] == "ann|#ann")
        .map(|message| match (message["type"].as_str(), message["data"]["online"].as_bool()) {
            (Some("message"), _) => "message",
            (_, Some(true)) => "online",
            _ => "offline",
        })
        .collect();
    assert_eq!(said, ["online", "message", "online"]);
    assert_eq!(fleet.roster("dan"), ["ann", "ben"]);
}

#[test]
fn a_peer_that_moves_while_a_join_waits_for_the_bus_is_online() {
    let mut fleet = fleet();
    fleet.read("dan");
    fleet.forget();
    fleet.send("dan", r#"{"type":"join","room":"green"}"#);
    // The subscription is on its way; what the other instance says arrives before the bus confirms it.
    for (kind, room) in [("leave", "red"), ("join", "blue")] {
        fleet.send("ann", &format!(r#"{{"type":"{kind}","room":"{room}"}}"#));
        while fleet.step(1, 0) | fleet.step(1, 1) | fleet.step(0, 1) {}
    }
    assert!(fleet.got("dan").is_empty(), "the join is not answered yet");
    fleet.settle();
    assert_eq!(told(&mut fleet, "dan", "ann"), [(true, None)]);
    assert_eq!(fleet.roster("dan"), ["ann", "ben"]);
}

#[test]
fn peers_of_an_instance_that_was_given_up_and_returns_are_online() {
    let mut fleet = fleet();
    fleet.send("ann", r#"{"type":"join","room":"blue"}"#);
    fleet.settle();
    fleet.instances.get_mut(&1).expect("runs").hangs = true;
    fleet.pass(Duration::from_secs(15));
    assert_eq!(fleet.instances[&0].hub.stats().peers_away, 0, "it counts as gone");
    fleet.instances.get_mut(&1).expect("runs").hangs = false;
    fleet.wake();
    fleet.pass(Duration::from_secs(15));
    assert_eq!(fleet.instances[&0].hub.stats().peers_away, 1);
    fleet.read("dan");
    assert_eq!(told(&mut fleet, "dan", "ann"), [(true, None)]);
    assert_eq!(fleet.roster("dan"), ["ann", "ben"]);
}

/// sam is at the first instance, and ron, who does not read, beside tia at the second. Queues have a limit of 20 KB.
fn one_stops(sam: &[&str], tia: &[&str]) -> Fleet {
    let mut fleet = Fleet::new(0);
    fleet.config.queue_limit = 20_000;
    (0..2).for_each(|at| fleet.start(at));
    fleet.settle();
    for (name, at, rooms) in [("sam", 0, sam), ("ron", 1, &["red"]), ("tia", 1, tia)] {
        fleet.connect(name, at, rooms);
        fleet.settle();
    }
    fleet.stop("ron");
    fleet
}

/// sam sends 2 KB to ron; the fifth of these makes ron hold sam.
fn send(fleet: &mut Fleet) {
    fleet.send("sam", &format!(r#"{{"type":"message","to":"ron","data":"{}"}}"#, "x".repeat(2000)));
}

/// How many are held at each instance.
fn holds(fleet: &Fleet) -> [usize; 2] {
    [0, 1].map(|at| fleet.instances[&at].hub.stats().held)
}

/// sam was released and knows ron again: ron holds it at the next message, until he reads.
fn holds_again(fleet: &mut Fleet) {
    assert!(holds(fleet)[0] == 0 && fleet.roster("sam").contains(&"ron".into()));
    send(fleet);
    fleet.settle();
    assert_eq!(holds(fleet), [1, 1]);
    fleet.read("ron");
    fleet.settle();
    assert_eq!(holds(fleet), [0, 0]);
}

#[test]
fn a_recipient_that_leaves_the_last_shared_room_holds_nobody_there() {
    let mut fleet = one_stops(&["red", "blue"], &["red", "blue"]);
    (0..5).for_each(|_| send(&mut fleet));
    fleet.settle();
    assert_eq!(holds(&fleet), [1, 1]);
    say(&mut fleet, "ron", "leave", "red");
    // The answer to that waits for ron himself.
    assert_eq!(holds(&fleet), [0, 1]);
}

#[test]
fn a_sender_that_leaves_and_returns_is_held_again() {
    let mut fleet = one_stops(&["red", "blue"], &["red", "blue"]);
    // All of this before the hold arrives.
    (0..5).for_each(|_| send(&mut fleet));
    say(&mut fleet, "sam", "leave", "red");
    assert_eq!(holds(&fleet), [0, 0], "they share no room");
    say(&mut fleet, "sam", "join", "red");
    holds_again(&mut fleet);
}

#[test]
fn a_hold_by_a_peer_that_is_not_known_yet_is_repeated() {
    let mut fleet = one_stops(&["red"], &["red"]);
    // These wait on the line to the second instance, which counts as gone when it receives them.
    fleet.instances.get_mut(&1).expect("runs").hangs = true;
    (0..5).for_each(|_| send(&mut fleet));
    fleet.pass(Duration::from_secs(15));
    fleet.instances.get_mut(&1).expect("runs").hangs = false;
    fleet.wake();
    fleet.settle();
    holds_again(&mut fleet);
}

#[test]
fn a_late_report_of_an_unknown_holder_leaves_nobody_held() {
    let mut fleet = one_stops(&["red"], &["red"]);
    fleet.instances.get_mut(&1).expect("runs").hangs = true;
    (0..5).for_each(|_| send(&mut fleet));
    fleet.pass(Duration::from_secs(15));
    fleet.instances.get_mut(&1).expect("runs").hangs = false;
    // The first hold is on its way to the first instance, which does not know ron; it will also learn of him, and of a
    // second hold, before its report of the first arrives.
    while fleet.step(1, 1) {}
    fleet.read("ron");
    fleet.stop("ron");
    fleet.send("ron", r#"{"type":"presence","data":{"n":1}}"#);
    (0..5).for_each(|_| send(&mut fleet));
    while fleet.step(0, 0) {}
    while fleet.step(1, 1) {}
    fleet.settle();
    fleet.read("ron");
    fleet.settle();
    assert_eq!(holds(&fleet), [0, 0]);
}
