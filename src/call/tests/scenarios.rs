//! Two or more ends over the virtual network.

use super::net::{App, Net};
use crate::call::{Config, State};

const ACTIVE: State = State::Active;

fn assert_one_active_call(net: &mut Net, a: usize, b: usize, what: &str) {
    let (at_a, at_b) = (net.states(a), net.states(b));
    let logs = format!("{what}\n{:#?}\n{:#?}", net.ends[a].log, net.ends[b].log);
    assert_eq!(at_a.len(), 1, "{logs}");
    assert_eq!(at_a[0].0, ACTIVE, "{logs}");
    assert_eq!(at_a, at_b, "{logs}");
}

#[test]
fn a_call_connects_and_either_side_hangs_up() {
    for who in [0, 1] {
        let mut net = Net::pair("a|1", "b|2");
        net.invite(0, 1);
        net.run(1000);
        assert_one_active_call(&mut net, 0, 1, "call");
        let of = |net: &Net, end: usize| -> Vec<String> {
            net.ends[end].log.iter().filter(|line| line.starts_with("candidate")).cloned().collect()
        };
        assert_eq!(
            (of(&net, 0), of(&net, 1)),
            (vec!["candidate 1 candidate:callee".into()], vec!["candidate 1 candidate:caller".into()])
        );
        let id = net.only(who);
        net.hangup(who, id);
        net.run(1000);
        for end in [0, 1] {
            assert_eq!(net.states(end), []);
            assert!(net.ends[end].log.last().expect("long").ends_with("bye"));
        }
    }
}

#[test]
fn glare_leaves_one_call_whoever_was_first() {
    // The second invite starts at any point of the first one's flight, over links of any two speeds.
    for (first, second) in [(0, 1), (1, 0)] {
        for there in [5, 10, 40] {
            for between in 0..45 {
                let mut net = Net::pair("a|1", "b|2");
                net.delays.insert((0, 1), there);
                net.invite(first, second);
                net.run(between);
                net.invite(second, first);
                net.run(5000);
                assert_one_active_call(&mut net, 0, 1, &format!("{first} first, {between} ms, {there} ms"));
                // Which call survives: that of the smaller address, if they really crossed.
                if between < 5 {
                    let log = net.ends[1].log.join("\n");
                    assert!(log.contains("ended 1 a|1 replaced"), "{log}");
                    assert!(!net.ends[0].log.join("\n").contains("ended"), "the smaller's call stays");
                }
            }
        }
    }
}

#[test]
fn glare_with_a_published_client_leaves_one_call() {
    for published in ["a|0", "z|9"] {
        for between in 0..25 {
            for order in [0, 1] {
                let mut net = Net::new();
                net.ours("m|1", App { accepts: true, connects: true, at_once: false });
                net.published(published);
                net.invite(order, 1 - order);
                net.run(between);
                net.invite(1 - order, order);
                net.run(5000);
                let what = format!("{published} {between} {order}: {:#?}", net.ends[0].log);
                assert_eq!(net.states(0).len(), 1, "{what}");
                assert_eq!(net.states(0)[0].0, ACTIVE, "{what}");
                assert!(net.published_at(1).active, "{what}");
                assert_eq!(net.published_at(1).remote.as_deref(), Some("m|1"));
            }
        }
    }
}

#[test]
fn a_published_client_calls_and_is_called() {
    for caller in [0, 1] {
        let mut net = Net::new();
        net.ours("m|1", App { accepts: true, connects: true, at_once: false });
        net.published("p|1");
        net.invite(caller, 1 - caller);
        net.run(1000);
        assert_eq!(net.states(0)[0].0, ACTIVE);
        assert!(net.published_at(1).active);
        let id = net.only(0);
        net.hangup(0, id);
        net.run(1000);
        assert_eq!(net.published_at(1).remote, None);
    }
}

#[test]
fn a_published_client_in_another_call_is_busy() {
    let mut net = Net::pair("m|1", "n|2");
    net.published("p|1");
    net.invite(0, 2);
    net.run(1000);
    net.invite(1, 2);
    net.run(1000);
    assert_eq!(net.ends[1].log.last().map(String::as_str), Some("ended 1 p|1 busy"));
    assert_eq!(net.states(0)[0].0, ACTIVE);
    assert!(net.published_at(2).active, "its first call goes on");
}

#[test]
fn a_camera_holds_many_calls_and_loses_one_at_a_time() {
    let mut net = Net::new();
    net.ours("camera|0", App { accepts: true, connects: true, at_once: false });
    for n in 1..=20 {
        let end = net.ours(&format!("viewer{n}|{n}"), App { accepts: false, connects: true, at_once: false });
        net.invite(end, 0);
    }
    net.run(1000);
    assert_eq!(net.states(0).len(), 20);
    net.lose(7);
    net.run(29_000);
    assert_eq!(net.states(0).len(), 20);
    net.run(2000);
    assert_eq!(net.states(0).len(), 19);
    let id = net.only(3);
    net.hangup(3, id);
    net.run(100);
    assert_eq!(net.states(0).len(), 18);
    assert!(net.states(0).iter().all(|(state, _)| *state == ACTIVE));
}

#[test]
fn a_camera_with_a_limit_is_busy_for_the_rest() {
    let mut net = Net::new();
    net.ours_with(
        "camera|0",
        App { accepts: true, connects: true, at_once: false },
        Config { busy_limit: Some(2), ..Config::default() },
    );
    for n in 1..=3 {
        let end = net.ours(&format!("viewer{n}|{n}"), App { accepts: false, connects: true, at_once: false });
        net.invite(end, 0);
    }
    net.run(1000);
    assert_eq!(net.states(0).len(), 2);
    assert_eq!(net.ends[3].log.last().map(String::as_str), Some("ended 1 camera|0 busy"));
}

#[test]
fn a_hangup_that_crosses_an_accept_leaves_nothing() {
    for after in 0..40 {
        let mut net = Net::pair("a|1", "b|2");
        let id = net.invite(0, 1).expect("idle");
        net.run(after);
        net.hangup(0, id);
        net.run(1000);
        assert_eq!((net.states(0), net.states(1)), (vec![], vec![]), "after {after} ms");
    }
}

#[test]
fn an_unanswered_call_rings_out_at_both_ends() {
    let mut net = Net::new();
    net.ours("a|1", App::default());
    net.ours("b|2", App::default());
    net.invite(0, 1);
    net.run(29_000);
    assert_eq!((net.states(0).len(), net.states(1).len()), (1, 1));
    net.run(2000);
    for end in [0, 1] {
        assert_eq!(net.states(end), []);
        assert!(net.ends[end].log.iter().any(|line| line.ends_with("timeout")), "{:?}", net.ends[end].log);
    }
}

#[test]
fn a_side_that_is_back_under_a_new_address_goes_on() {
    for who in [0, 1] {
        let mut net = Net::pair("a|1", "b|2");
        net.invite(0, 1);
        net.run(1000);
        net.lose(who);
        net.run(20_000);
        net.back(who, if who == 0 { "a|7" } else { "b|7" });
        net.run(60_000);
        assert_one_active_call(&mut net, 0, 1, "back");
        let id = net.only(who);
        net.hangup(who, id);
        net.run(100);
        assert_eq!((net.states(0), net.states(1)), (vec![], vec![]));
    }
}

#[test]
fn an_active_call_survives_a_restart_of_the_server() {
    // Everyone is back under a new address, and nobody knows the other's.
    for (first, second) in [(0, 1), (1, 0)] {
        for between in [0, 5, 10, 3000] {
            let mut net = Net::pair("a|1", "b|2");
            net.invite(0, 1);
            net.run(1000);
            net.lose(0);
            net.lose(1);
            net.run(5000);
            let new = ["a|7", "b|7"];
            net.back(first, new[first]);
            net.run(between);
            net.back(second, new[second]);
            net.run(60_000);
            assert_one_active_call(&mut net, 0, 1, &format!("{first} first, {between} ms"));
            for (end, remote) in [(0, "b|7"), (1, "a|7")] {
                let id = net.only(end);
                assert_eq!(net.calls(end).remote(id), Some(remote));
            }
        }
    }
}

#[test]
fn a_name_rings_at_every_device_and_the_first_gets_the_call() {
    let mut net = Net::new();
    net.ours("a|1", App { accepts: false, connects: true, at_once: false });
    for device in ["b|2", "b|3", "b|4"] {
        net.ours(device, App { accepts: false, connects: true, at_once: false });
    }
    net.invite_name(0, "b");
    net.run(5000);
    for device in [2, 3] {
        let (id, now) = (net.only(device), net.now);
        net.calls(device).accept(id, now).expect("incoming");
    }
    net.run(60_000);
    assert_one_active_call(&mut net, 0, 2, "the first");
    assert_eq!(net.ends[3].log.last().map(String::as_str), Some("ended 1 a|1 replaced"));
    assert_eq!(net.ends[1].log.last().map(String::as_str), Some("ended 1 a|1 timeout"));
}
