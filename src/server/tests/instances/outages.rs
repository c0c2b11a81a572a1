//! Messages sent while the bus is down, or while an instance does not receive: they arrive later, once and in order, or
//! those concerned are told that they are lost.

use super::*;
use crate::proto::Status;
use crate::server::Whom;

/// alice at the first instance and bob at the second, both in `team`; the instances know each other.
fn two(limit: usize) -> Fleet {
    let mut fleet = Fleet::limited(2, limit);
    fleet.connect("alice", 0, &["team"]);
    fleet.connect("bob", 1, &["team"]);
    fleet.pass(secs(4));
    fleet.forget();
    fleet
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Numbered messages from alice.
fn say(fleet: &mut Fleet, numbers: std::ops::Range<usize>, bytes: usize) {
    let rest = "x".repeat(bytes);
    for n in numbers {
        fleet.send("alice", &format!(r#"{{"type":"message","to":"team","data":"{n}","rest":"{rest}"}}"#));
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

fn stats(fleet: &Fleet, at: usize) -> crate::server::Stats {
    fleet.instances[&at].hub.stats()
}

/// Pushes of an emitter to the room, the same text as often as it is told.
fn push(fleet: &mut Fleet, numbers: std::ops::Range<usize>) {
    for n in numbers {
        fleet.emit(&format!(r#"{{"type":"message","to":"team","data":"{}"}}"#, n / 2));
    }
}

/// How often alice was told that messages of hers are lost.
fn told(fleet: &mut Fleet) -> usize {
    fleet.got("alice").iter().filter(|m| m["type"] == "error" && m["status"] == 503).count()
}

#[test]
fn what_emitters_push_while_one_instance_is_away_arrives_there_too_in_order() {
    let halves: Vec<String> = (0..40).map(|n| (n / 2).to_string()).collect();
    for steps in 0..30 {
        let mut fleet = two(16 << 20);
        push(&mut fleet, 0..5);
        fleet.settle();
        push(&mut fleet, 5..10);
        fleet.part(1);
        push(&mut fleet, 10..20);
        // It is back by and by.
        (0..steps)
            .for_each(|_| _ = fleet.step(1, 1) | fleet.step(1, 0) | fleet.step(0, 1) | fleet.step(0, 0));
        push(&mut fleet, 20..25);
        fleet.settle();
        push(&mut fleet, 25..30);
        // Once more, before or after a heartbeat.
        fleet.pass(secs(steps % 5));
        fleet.part(1);
        push(&mut fleet, 30..35);
        fleet.pass(secs(5));
        push(&mut fleet, 35..40);
        fleet.settle();
        assert_eq!(fleet.heard("bob"), halves, "{steps}");
        assert_eq!(fleet.heard("alice"), halves, "{steps}");
    }
}

#[test]
fn who_heard_a_push_first_after_an_outage_of_the_bus_passes_it_on() {
    let mut fleet = two(16 << 20);
    fleet.stop_bus();
    fleet.pass(secs(2));
    assert!(fleet.emit(r#"{"type":"message","to":"team","data":"lost"}"#).is_empty(), "nobody hears it");
    fleet.bus = true;
    fleet.instances.get_mut(&1).expect("runs").cut_off = true;
    fleet.settle();
    push(&mut fleet, 0..4);
    fleet.pass(secs(2));
    fleet.instances.get_mut(&1).expect("runs").cut_off = false;
    fleet.pass(secs(5));
    push(&mut fleet, 4..6);
    fleet.settle();
    for name in ["alice", "bob"] {
        assert_eq!(fleet.heard(name), ["0", "0", "1", "1", "2", "2"], "{name}");
    }
}

/// What comes after a return waits for what was missed, but not for somebody who does not answer.
#[test]
fn a_push_waits_for_five_seconds_at_most_for_those_before_it() {
    let mut fleet = two(16 << 20);
    fleet.part(1);
    fleet.instances.get_mut(&0).expect("runs").hangs = true;
    fleet.settle();
    push(&mut fleet, 0..2);
    fleet.pass(secs(4));
    assert_eq!(fleet.heard("bob"), [""; 0]);
    fleet.pass(secs(2));
    assert_eq!(fleet.heard("bob"), ["0", "0"]);
}

/// A message that was given up is not missed by somebody who came later.
#[test]
fn who_came_later_missed_nothing() {
    let mut fleet = two(16 << 20);
    fleet.instances.get_mut(&1).expect("runs").cut_off = true;
    fleet.part(1);
    fleet.pass(secs(1));
    say(&mut fleet, 0..7, 10);
    fleet.pass(secs(60));
    fleet.connect("eve", 1, &["team"]);
    fleet.instances.get_mut(&1).expect("runs").cut_off = false;
    fleet.pass(secs(5));
    let missed =
        |fleet: &mut Fleet, name| fleet.got(name).iter().filter_map(|m| m["missed"].as_u64()).sum::<u64>();
    assert_eq!((missed(&mut fleet, "bob"), missed(&mut fleet, "eve")), (7, 0));
}

#[test]
fn messages_sent_during_an_outage_arrive_once_and_in_order() {
    for (first, second) in [(0, 1), (1, 0)] {
        let mut fleet = two(16 << 20);
        say(&mut fleet, 0..10, 10);
        // The connection breaks with some messages in transit; the others follow over five seconds.
        (0..4).for_each(|_| _ = fleet.step(0, 0));
        fleet.stop_bus();
        for n in 1..6 {
            say(&mut fleet, n * 10..n * 10 + 10, 10);
            fleet.pass(secs(1));
        }
        fleet.bus = true;
        // Either of them may reconnect first, and send before the other receives.
        (0..20).for_each(|_| _ = fleet.step(first, 0) | fleet.step(first, 1));
        say(&mut fleet, 60..70, 10);
        (0..20).for_each(|_| _ = fleet.step(second, 0) | fleet.step(second, 1));
        say(&mut fleet, 70..80, 10);
        fleet.pass(secs(1));
        assert_eq!(fleet.heard("bob"), numbers(0..80));
        assert_eq!((stats(&fleet, 0).dropped_bus, told(&mut fleet)), (0, 0));
    }
}

#[test]
fn a_broken_subscription_loses_nothing() {
    let mut fleet = two(16 << 20);
    for round in 0..10 {
        say(&mut fleet, round * 10..round * 10 + 5, 10);
        (0..round).for_each(|_| _ = fleet.step(0, 0) | fleet.step(1, 1));
        fleet.part(1);
        say(&mut fleet, round * 10 + 5..round * 10 + 10, 10);
        fleet.settle();
    }
    assert_eq!(fleet.heard("bob"), numbers(0..100));
    assert_eq!(stats(&fleet, 0).dropped_bus, 0);
}

#[test]
fn an_instance_that_returns_after_its_timeout_gets_everything() {
    let mut fleet = two(16 << 20);
    fleet.stop_bus();
    for n in 0..20 {
        say(&mut fleet, n..n + 1, 10);
        fleet.pass(secs(1));
    }
    assert_eq!(fleet.roster("alice"), [""; 0]);
    fleet.bus = true;
    fleet.pass(secs(1));
    assert_eq!((fleet.heard("bob"), fleet.roster("alice")), (numbers(0..20), vec!["bob".into()]));
}

#[test]
fn messages_over_the_limit_are_counted_and_both_ends_are_told() {
    let mut fleet = two(64 << 10);
    fleet.stop_bus();
    fleet.settle();
    say(&mut fleet, 0..70, 1000);
    let lost = stats(&fleet, 0).dropped_bus;
    assert!((10..30).contains(&lost), "64 KiB hold about fifty: {lost}");
    assert_eq!(told(&mut fleet), 1, "once a second");
    fleet.pass(millis(900));
    say(&mut fleet, 70..71, 1000);
    assert_eq!(told(&mut fleet), 0);
    fleet.pass(millis(100));
    say(&mut fleet, 71..72, 1000);
    assert_eq!((told(&mut fleet), stats(&fleet, 0).dropped_bus), (1, lost + 2));
    assert_eq!(stats(&fleet, 0).held, 0, "nobody waits for a disconnected bus");
    fleet.bus = true;
    fleet.pass(secs(1));
    let lost = lost as usize + 2;
    let got = fleet.got("bob");
    let missed: Vec<&Value> = got.iter().filter(|m| m["name"] == "missed").collect();
    assert_eq!(missed.len(), 1, "{missed:?}");
    assert_eq!(missed[0]["missed"], lost);
    let data: Vec<&str> = got.iter().filter_map(|m| m["data"].as_str()).collect();
    assert_eq!(data, numbers(0..72 - lost));
    say(&mut fleet, 0..1, 1000);
    fleet.settle();
    assert_eq!((fleet.heard("bob").len(), told(&mut fleet)), (1, 0));
}

#[test]
fn expired_messages_are_counted_and_reported() {
    let mut fleet = two(16 << 20);
    fleet.stop_bus();
    say(&mut fleet, 0..3, 10);
    fleet.pass(secs(29));
    say(&mut fleet, 3..4, 10);
    assert_eq!((stats(&fleet, 0).dropped_bus, told(&mut fleet)), (0, 0));
    fleet.pass(secs(4));
    assert_eq!((stats(&fleet, 0).dropped_bus, told(&mut fleet)), (3, 1));
    fleet.bus = true;
    fleet.pass(secs(1));
    assert_eq!(came(&mut fleet, "bob"), (vec!["3".into()], 3));
    assert_eq!(
        (stats(&fleet, 0).dropped_bus, told(&mut fleet)),
        (3, 0),
        "it was counted and reported before"
    );
}

/// The bus is unreachable from the second instance for this many seconds; in each of them both ends send a message.
fn cut_off(fleet: &mut Fleet, seconds: usize) {
    fleet.instances.get_mut(&1).expect("runs").cut_off = true;
    fleet.part(1);
    for n in 0..seconds {
        say(fleet, n..n + 1, 10);
        fleet.send("bob", &format!(r#"{{"type":"message","to":"team","data":"{n}"}}"#));
        fleet.pass(secs(1));
    }
    fleet.instances.get_mut(&1).expect("runs").cut_off = false;
    fleet.pass(secs(2));
}

/// What a client received, and how many messages it was told that it missed.
fn came(fleet: &mut Fleet, name: &str) -> (Vec<String>, u64) {
    let got = fleet.got(name);
    let missed = got.iter().filter_map(|m| m["missed"].as_u64()).sum();
    (got.iter().filter_map(|m| Some(m["data"].as_str()?.to_owned())).collect(), missed)
}

#[test]
fn an_instance_absent_for_longer_than_messages_are_kept_learns_what_it_missed() {
    for seconds in [20, 35, 60, 300] {
        let mut fleet = two(16 << 20);
        cut_off(&mut fleet, seconds);
        // The first instance forgets it 30 s after its timeout, which takes up to 13 s; until then everything is kept.
        let (data, missed) = came(&mut fleet, "bob");
        let (kept, gone) = (data.len(), missed as usize);
        assert!(data.is_sorted_by_key(|n| n.parse::<usize>().expect("a number")), "{data:?}");
        assert_eq!(stats(&fleet, 0).dropped_bus, missed, "{seconds} s");
        if seconds <= 40 {
            assert_eq!(kept + gone, seconds, "{seconds} s");
            assert_eq!(data, numbers(gone..seconds));
        } else {
            assert!((40..46).contains(&(kept + gone)), "{seconds} s: {kept} and {gone}");
        }
        assert_eq!(gone > 0, seconds > 30);
        let told = fleet.got("alice");
        let refused = told.iter().filter(|m| m["status"] == 503).count();
        assert_eq!(refused, usize::from(gone > 0), "alice is told that some of her messages are lost");
        // The disconnected instance knows that the other exists, and keeps what it can.
        let missed: u64 = told.iter().filter_map(|m| m["missed"].as_u64()).sum();
        let data: Vec<String> = told.iter().filter_map(|m| Some(m["data"].as_str()?.to_owned())).collect();
        assert_eq!(data, numbers(missed as usize..seconds), "{seconds} s");
        assert_eq!(stats(&fleet, 1).dropped_bus, missed);
    }
}

#[test]
fn an_instance_that_alone_knows_the_other_loses_nothing() {
    for breaks in [false, true] {
        let mut fleet = Fleet::new(2);
        fleet.connect("bob", 1, &["team"]);
        fleet.pass(secs(60));
        fleet.kill(0);
        fleet.pass(secs(60));
        fleet.start(0);
        // The first sends, and then receives nothing for a while: the second knows it, but not the other way round.
        while fleet.step(0, 0) || fleet.step(0, 1) {}
        fleet.connect("alice", 0, &["team"]);
        while fleet.step(0, 0) || fleet.step(0, 1) {}
        while fleet.step(1, 1) || fleet.step(1, 0) {}
        assert_eq!(fleet.roster("bob"), ["alice"], "she is seen");
        for n in 0..5 {
            fleet.send("bob", &format!(r#"{{"type":"message","to":"alice","data":"{n}"}}"#));
        }
        while fleet.step(1, 0) {}
        if breaks {
            // Everything on the line is lost, before the first instance knows that there is a second.
            fleet.part(0);
            fleet.instances.get_mut(&0).expect("runs").from_bus.retain(|back| matches!(back, Back::Down));
        }
        fleet.send("bob", r#"{"type":"message","to":"alice","data":"5"}"#);
        fleet.settle();
        fleet.send("bob", r#"{"type":"message","to":"alice","data":"6"}"#);
        fleet.pass(secs(2));
        assert_eq!(came(&mut fleet, "alice"), (numbers(0..7), 0), "breaks: {breaks}");
        assert_eq!(fleet.roster("alice"), ["bob"]);
    }
}

#[test]
fn messages_sent_before_instances_meet_arrive_once() {
    let mut fleet = Fleet::new(1);
    fleet.connect("bob", 0, &["team"]);
    fleet.pass(secs(60));
    fleet.start(1);
    fleet.connect("alice", 1, &["team"]);
    while fleet.step(1, 0) || fleet.step(1, 1) {}
    assert_eq!(fleet.got("alice")[0]["type"], "welcome");
    for n in 0..5 {
        fleet.send("bob", &format!(r#"{{"type":"message","to":"team","data":"{n}"}}"#));
        fleet.step(0, 0);
    }
    fleet.settle();
    fleet.send("bob", r#"{"type":"message","to":"team","data":"5"}"#);
    fleet.settle();
    assert_eq!(came(&mut fleet, "alice"), (numbers(0..6), 0));
}

#[test]
fn without_another_instance_nothing_is_kept_and_nobody_is_told() {
    let mut fleet = Fleet::new(1);
    fleet.connect("alice", 0, &["team"]);
    fleet.connect("carol", 0, &["team"]);
    fleet.settle();
    fleet.stop_bus();
    say(&mut fleet, 0..100, 400 << 10);
    fleet.pass(secs(60));
    assert_eq!((stats(&fleet, 0).dropped_bus, told(&mut fleet), fleet.heard("carol").len()), (0, 0, 100));
}

#[test]
fn nothing_is_kept_for_an_instance_that_shut_down() {
    let mut fleet = two(16 << 20);
    fleet.say(1, Input::Shutdown);
    fleet.settle();
    fleet.kill(1);
    fleet.stop_bus();
    say(&mut fleet, 0..10, 10);
    fleet.pass(secs(60));
    assert_eq!((stats(&fleet, 0).dropped_bus, told(&mut fleet)), (0, 0));
}

#[test]
fn a_receipt_counts_resent_messages_that_arrive_in_time() {
    let mut fleet = two(16 << 20);
    fleet.part(0);
    fleet.send("alice", r#"{"type":"message","id":1,"to":"bob","data":"x","receipt":true}"#);
    fleet.settle();
    fleet.pass(secs(1));
    let got = fleet.got("alice");
    assert_eq!((got.len(), &got[0]["delivered"], &got[0]["status"]), (1, &1.into(), &200.into()), "{got:?}");
    fleet.stop_bus();
    fleet.send("alice", r#"{"type":"message","id":2,"to":"bob","data":"x","receipt":true}"#);
    assert_eq!(fleet.got("alice").len(), 0, "the bus may be back in time");
    fleet.pass(secs(1));
    assert_eq!(fleet.got("alice")[0]["delivered"], 0);
    fleet.bus = true;
    fleet.settle();
    assert_eq!(fleet.heard("bob").len(), 2);
}

#[test]
fn pushed_messages_and_kicks_are_kept_too() {
    let mut fleet = two(16 << 20);
    fleet.stop_bus();
    fleet.say(0, Input::Inject { text: r#"{"type":"event","to":"team","data":"host"}"# });
    fleet.say(0, Input::Kick { whom: Whom::Address("bob"), status: Status(401), message: "out" });
    fleet.bus = true;
    fleet.settle();
    assert_eq!(fleet.heard("bob"), ["host"]);
    assert!(fleet.clients["bob"].closed);
}

#[test]
fn an_instance_that_hangs_holds_senders_until_its_timeout() {
    let mut fleet = two(16 << 20);
    fleet.instances.get_mut(&1).expect("runs").hangs = true;
    for n in 0..100 {
        say(&mut fleet, n..n + 1, 400 << 10);
        fleet.settle();
    }
    assert!(stats(&fleet, 0).held == 1, "more than 8 MiB are unconfirmed");
    assert_eq!(fleet.clients["alice"].unread.len(), 79);
    fleet.pass(secs(14));
    assert_eq!((stats(&fleet, 0).held, fleet.clients["alice"].unread.len()), (0, 0));
    // The bus has everything, and the suspended instance continues to read.
    fleet.instances.get_mut(&1).expect("runs").hangs = false;
    fleet.pass(secs(4));
    assert_eq!((fleet.heard("bob"), stats(&fleet, 0).dropped_bus), (numbers(0..100), 0));
}

#[test]
fn an_instance_whose_line_was_cut_learns_how_many_messages_were_dropped() {
    let mut fleet = two(64 << 10);
    fleet.instances.get_mut(&1).expect("runs").hangs = true;
    for n in 0..70 {
        say(&mut fleet, n..n + 1, 1000);
        fleet.pass(millis(200));
    }
    // Meanwhile Redis has disconnected it.
    fleet.part(1);
    fleet.instances.get_mut(&1).expect("runs").from_bus.retain(|back| matches!(back, Back::Down));
    fleet.instances.get_mut(&1).expect("runs").hangs = false;
    fleet.pass(secs(4));
    let got = fleet.got("bob");
    let data: Vec<&str> = got.iter().filter_map(|m| m["data"].as_str()).collect();
    let missed: u64 = got.iter().filter_map(|m| m["missed"].as_u64()).sum();
    assert_eq!(data, numbers(missed as usize..70), "the newest are kept");
    assert!(missed > 5 && stats(&fleet, 0).dropped_bus == missed, "{missed}");
    assert_eq!(told(&mut fleet), 1);
}
