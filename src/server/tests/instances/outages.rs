//! What is said while the bus is away, or while somebody does not hear it: it comes later, once and in order, or
//! those concerned learn that it does not.

use super::*;
use crate::proto::Status;
use crate::server::Whom;

/// alice at the first instance and bob at the second, both in `team`, which know each other.
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

/// Numbered messages of alice's.
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

/// How often alice was told that messages of hers are lost.
fn told(fleet: &mut Fleet) -> usize {
    fleet.got("alice").iter().filter(|m| m["type"] == "error" && m["status"] == 503).count()
}

#[test]
fn what_is_said_during_an_outage_arrives_once_and_in_order() {
    for (first, second) in [(0, 1), (1, 0)] {
        let mut fleet = two(16 << 20);
        say(&mut fleet, 0..10, 10);
        // It breaks with some on their way, and the rest follow over five seconds.
        (0..4).for_each(|_| _ = fleet.step(0, 0));
        fleet.stop_bus();
        for n in 1..6 {
            say(&mut fleet, n * 10..n * 10 + 10, 10);
            fleet.pass(secs(1));
        }
        fleet.bus = true;
        // Either of them may be back first, and speak before the other hears it.
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
fn a_subscription_that_breaks_costs_nothing() {
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
fn who_returns_after_having_been_taken_for_dead_gets_all() {
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
fn over_the_limit_messages_are_counted_and_both_ends_are_told() {
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
    assert_eq!(stats(&fleet, 0).held, 0, "nobody waits for a bus that is away");
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
fn what_is_too_old_is_counted_and_told() {
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
    assert_eq!(fleet.heard("bob"), ["3"]);
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
fn an_instance_that_has_ended_is_owed_nothing() {
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
fn a_receipt_counts_what_arrives_in_time_although_it_was_said_again() {
    let mut fleet = two(16 << 20);
    fleet.part(0);
    fleet.send("alice", r#"{"type":"message","id":1,"to":"bob","data":"x","receipt":true}"#);
    fleet.settle();
    fleet.pass(secs(1));
    let got = fleet.got("alice");
    assert_eq!((got.len(), &got[0]["delivered"], &got[0]["status"]), (1, &1.into(), &200.into()), "{got:?}");
    fleet.stop_bus();
    fleet.send("alice", r#"{"type":"message","id":2,"to":"bob","data":"x","receipt":true}"#);
    assert_eq!(fleet.got("alice").len(), 0, "it may be back in time");
    fleet.pass(secs(1));
    assert_eq!(fleet.got("alice")[0]["delivered"], 0);
    fleet.bus = true;
    fleet.settle();
    assert_eq!(fleet.heard("bob").len(), 2);
}

#[test]
fn what_the_host_says_and_whom_it_throws_out_is_kept_too() {
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
fn an_instance_that_hears_nothing_holds_senders_until_it_is_taken_for_dead() {
    let mut fleet = two(16 << 20);
    fleet.instances.get_mut(&1).expect("runs").hangs = true;
    for n in 0..100 {
        say(&mut fleet, n..n + 1, 400 << 10);
        fleet.settle();
    }
    assert!(stats(&fleet, 0).held == 1, "more than 8 MiB are under way");
    assert_eq!(fleet.clients["alice"].unread.len(), 79);
    fleet.pass(secs(14));
    assert_eq!((stats(&fleet, 0).held, fleet.clients["alice"].unread.len()), (0, 0));
    // The bus has it all, and the one that hung reads on.
    fleet.instances.get_mut(&1).expect("runs").hangs = false;
    fleet.pass(secs(4));
    assert_eq!((fleet.heard("bob"), stats(&fleet, 0).dropped_bus), (numbers(0..100), 0));
}

#[test]
fn an_instance_that_lost_what_hung_in_its_line_is_told_what_is_kept_no_more() {
    let mut fleet = two(64 << 10);
    fleet.instances.get_mut(&1).expect("runs").hangs = true;
    for n in 0..70 {
        say(&mut fleet, n..n + 1, 1000);
        fleet.pass(millis(200));
    }
    // Redis has cut it off meanwhile.
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
