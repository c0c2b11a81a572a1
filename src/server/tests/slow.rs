//! Peers that do not read, or not fast enough.

use super::*;
use crate::proto::Status;
use crate::server::Whom;

fn small() -> World {
    let mut w = World::new(Config { queue_limit: 10_000, ..Config::default() });
    w.join("alice", &["r"]);
    w.join("bob", &["r"]);
    w.join("carol", &["r"]);
    w
}

fn shout(w: &mut World, n: usize) {
    let text = format!(r#"{{"type":"message","x":"{}"}}"#, "x".repeat(1000));
    (0..n).for_each(|_| w.send("alice", &text));
}

#[test]
fn a_queue_full_for_a_second_closes_with_1008_too_slow() {
    let mut w = small();
    w.stop_reading("bob");
    shout(&mut w, 20);
    assert_eq!(w.got("carol").len(), 20, "others never wait for it");
    assert!(w.hub.stats().queued <= 10_000 && w.hub.stats().dropped_slow == 11);
    w.pass(millis(999));
    assert_eq!(w.hub.stats().closed_slow, 0);
    w.pass(millis(1));
    assert_eq!((w.hub.stats().closed_slow, w.hub.stats().queued), (1, 0), "its queue is freed at once");
    assert_eq!((w.got("alice"), w.got("carol")), (vec![offline("bob")], vec![offline("bob")]));
    w.read("bob");
    assert_eq!((w.got("bob").len(), w.close("bob")), (0, Some((1008, "too slow".into()))));
}

#[test]
fn whoever_reads_within_the_second_stays() {
    let mut w = small();
    w.stop_reading("bob");
    shout(&mut w, 20);
    w.pass(millis(900));
    w.read("bob");
    assert_eq!(w.got("bob").len(), 9);
    shout(&mut w, 5);
    w.pass(secs(5));
    assert_eq!((w.got("bob").len(), w.close("bob")), (5, None));
}

#[test]
fn a_trickle_is_too_slow() {
    let mut w = small();
    w.stop_reading("bob");
    for _ in 0..20 {
        shout(&mut w, 10);
        w.read_some("bob", 1000);
        w.pass(millis(100));
    }
    assert_eq!(w.hub.stats().closed_slow, 1);
}

#[test]
fn presences_are_made_up_for() {
    let mut w = small();
    w.join("dave", &["r"]);
    w.stop_reading("bob");
    shout(&mut w, 20);
    w.cut("carol");
    w.join("erin", &["r"]);
    w.send("dave", r#"{"type":"presence","data":{"mood":"new"}}"#);
    w.send("alice", r#"{"type":"leave","room":"r"}"#);
    w.send("alice", r#"{"type":"join","room":"r"}"#);
    w.join("fred", &["r"]);
    w.cut("fred");
    w.read("bob");
    let got = w.got("bob");
    let of = |name: &str| {
        let told = got.iter().filter(|text| text.contains("presence"));
        told.filter(|text| text.contains(&format!("\"{name}|"))).cloned().collect::<Vec<_>>()
    };
    assert_eq!(
        (of("carol"), of("erin"), of("alice")),
        (vec![offline("carol")], vec![online("erin")], vec![online("alice")])
    );
    assert!(matches!(&of("dave")[..], [told] if told.contains(r#""mood":"new""#)));
    assert_eq!(of("fred"), [offline("fred")]);
}

#[test]
fn a_close_reaches_whoever_reads_again() {
    let mut w = small();
    w.stop_reading("bob");
    shout(&mut w, 3);
    w.send("bob", r#"{"type":"close"}"#);
    w.read("bob");
    assert_eq!((w.got("bob").len(), w.close_code("bob")), (3, Some(1000)));
}

#[test]
fn a_close_does_not_wait_for_whoever_never_reads() {
    let mut w = small();
    w.stop_reading("bob");
    shout(&mut w, 3);
    w.send("bob", r#"{"type":"close"}"#);
    w.pass(millis(4_999));
    assert!(w.hub.stats().queued > 3000);
    w.pass(millis(1));
    assert_eq!(w.hub.stats().queued, 0);
    w.read("bob");
    assert_eq!((w.got("bob").len(), w.close_code("bob")), (0, Some(1000)));
    w.cut("bob");
    w.pass(secs(10));
    assert_eq!(w.hub.stats().connections, 2);
}

#[test]
fn ready_is_said_once_until_all_is_read() {
    let mut w = small();
    let conn = w.end("bob").conn;
    let readies = |w: &mut World, n: usize| {
        let text = r#"{"type":"message","to":"bob"}"#;
        let alice = w.end("alice").conn;
        (0..n).for_each(|_| w.hub.handle_input(Input::Text { conn: alice, text }, w.now));
        let mut readies = 0;
        loop {
            match w.hub.poll_output() {
                Output::Ready(ready) => readies += usize::from(ready == conn),
                Output::Timeout(_) => return readies,
                Output::Event(_) | Output::Bus => {}
            }
        }
    };
    assert_eq!((readies(&mut w, 5), readies(&mut w, 5)), (1, 0));
    assert!(w.read_some("bob", 10), "one of ten");
    assert_eq!(readies(&mut w, 1), 0);
    assert!(!w.read_some("bob", 10_000));
    assert_eq!((readies(&mut w, 1), w.got("bob").len()), (1, 11));
    w.hub.handle_input(Input::Kick { whom: Whom::Conn(conn), status: Status(403), message: "" }, w.now);
    assert_eq!(readies(&mut w, 0), 1, "a driver that waits for its socket hears of the close");
}

#[test]
fn answers_and_rosters_of_one_who_does_not_read_are_bounded() {
    let mut w = small();
    for n in 0..50 {
        w.join(&format!("p{n}"), &["s"]);
    }
    w.stop_reading("bob");
    for _ in 0..250 {
        w.send("bob", r#"{"type":"join","room":"s"}"#);
        w.send("bob", r#"{"type":"leave","room":"s"}"#);
    }
    assert!(w.hub.stats().queued <= 10_000 + (64 << 10), "{}", w.hub.stats().queued);
    w.pass(secs(1));
    assert_eq!((w.hub.stats().closed_slow, w.hub.stats().queued), (1, 0));
}
