//! Peers that do not read, or not fast enough: their senders wait for them, within bounds, and then they are closed.

use super::*;
use crate::proto::Status;
use crate::server::Whom;

fn small() -> World {
    let mut w = World::new(Config { queue_limit: 10_000, idle_timeout: secs(3600), ..Config::default() });
    w.join("alice", &["r"]);
    w.join("bob", &["r"]);
    w.join("carol", &["r"]);
    w
}

fn shout(w: &mut World, n: usize) {
    say(w, "alice", n, 1000);
}

fn say(w: &mut World, name: &str, n: usize, bytes: usize) {
    let text = format!(r#"{{"type":"message","x":"{}"}}"#, "x".repeat(bytes));
    (0..n).for_each(|_| w.send(name, &text));
}

/// Advances the time while readers read this many bytes per second each.
fn flow(w: &mut World, time: Duration, readers: &[(&str, usize)]) {
    const STEP: Duration = millis(10);
    let mut credit = vec![0isize; readers.len()];
    for _ in 0..time.as_millis() / STEP.as_millis() {
        w.pass(STEP);
        for ((name, rate), credit) in readers.iter().zip(&mut credit) {
            *credit = (*credit + (rate / 100) as isize).min(1 << 20);
            while *credit > 0 && w.close(name).is_none() {
                let before: usize = w.end(name).inbox.iter().map(String::len).sum();
                w.read_some(name, 1);
                let after: usize = w.end(name).inbox.iter().map(String::len).sum();
                if after == before {
                    break;
                }
                *credit -= (after - before) as isize;
            }
        }
    }
}

fn heard(w: &mut World, name: &str) -> usize {
    w.got(name).iter().filter(|text| text.contains(r#""type":"message""#)).count()
}

#[test]
fn a_sender_waits_above_the_high_mark_and_continues_below_the_low_one() {
    let mut w = small();
    w.stop_reading("bob");
    shout(&mut w, 20);
    // Messages take 1,080 bytes including their entry in the queue; the fifth exceeds 5,000.
    assert_eq!((w.got("carol").len(), w.end("alice").unread.len()), (5, 15));
    assert!(w.is_held("alice") && !w.is_held("carol") && w.hub.stats().held == 1);
    w.read_some("bob", 1000);
    assert!(w.is_held("alice"), "more than a quarter still waits");
    w.read("bob");
    assert!(!w.is_held("alice"));
    assert_eq!((w.got("bob").len(), w.got("carol").len(), w.hub.stats().closed_slow), (20, 15, 0));
}

#[test]
fn a_peer_that_accepts_nothing_is_closed_after_five_seconds_with_1008_too_slow() {
    let mut w = small();
    w.stop_reading("bob");
    shout(&mut w, 20);
    w.pass(millis(4_900));
    assert_eq!(w.hub.stats().closed_slow, 0);
    w.pass(millis(100));
    assert_eq!((w.hub.stats().closed_slow, w.hub.stats().queued), (1, 0), "its queue is freed at once");
    assert_eq!((heard(&mut w, "carol"), w.end("alice").unread.len()), (20, 0));
    assert_eq!(w.got("alice"), [offline("bob")]);
    w.read("bob");
    assert_eq!((w.got("bob").len(), w.close("bob")), (0, Some((1008, "too slow".into()))));
}

#[test]
fn no_peer_is_closed_while_nobody_waits_for_it() {
    let mut w = small();
    w.stop_reading("bob");
    shout(&mut w, 4);
    w.pass(secs(50));
    w.read("bob");
    assert_eq!((w.got("bob").len(), w.close("bob")), (4, None));
}

#[test]
fn a_peer_that_accepts_little_is_closed_after_ten_seconds() {
    let mut w = small();
    w.stop_reading("bob");
    shout(&mut w, 200);
    flow(&mut w, millis(9_900), &[("bob", 500)]);
    assert_eq!(w.hub.stats().closed_slow, 0);
    flow(&mut w, secs(1), &[("bob", 500)]);
    assert_eq!((w.hub.stats().closed_slow, heard(&mut w, "carol")), (1, 200));
}

/// Everything divided by a hundred: limits, messages and rates.
fn hundredth() -> Config {
    let limit = Config::default().queue_limit / 100;
    Config { queue_limit: limit, rate: 1e9, burst: 1e9, ..Config::default() }
}

#[test]
fn a_reader_at_any_rate_gets_everything_in_order() {
    // Messages, their size, the reader's bytes per second.
    for (n, bytes, rate) in [(250, 1000, 50_000), (490, 5000, 2_000_000), (40, 400, 50_000)] {
        for beside in [false, true] {
            let mut w = World::new(hundredth());
            ["alice", "bob", "eve"].iter().for_each(|name| w.join(name, &["r"]));
            w.stop_reading("bob");
            if beside {
                w.stop_reading("eve");
            }
            for at in 0..n {
                w.send("alice", &format!(r#"{{"type":"message","data":{at},"x":"{}"}}"#, "x".repeat(bytes)));
            }
            let mut waited = millis(0);
            for _ in 0..150 {
                waited += if w.is_held("alice") { millis(100) } else { millis(0) };
                flow(&mut w, millis(100), &[("bob", rate)]);
            }
            let got: Vec<String> = w.got("bob").into_iter().filter(|text| text.contains("message")).collect();
            let is_next = |(at, text): &(usize, &String)| text.contains(&format!(r#""data":{at},"#));
            let in_order = got.iter().enumerate().filter(is_next).count();
            assert_eq!((in_order, w.close("bob")), (n, None), "{n} times {bytes}, beside: {beside}");
            assert_eq!(w.hub.stats().closed_slow, u64::from(beside && n * bytes > 50_000));
            assert!(waited < secs(10), "{waited:?} for {n} times {bytes}, beside: {beside}");
        }
    }
}

#[test]
fn many_senders_wait_at_most_ten_seconds_for_one_slow_reader() {
    let mut w = World::new(hundredth());
    let senders: Vec<String> = (0..25).map(|n| format!("s{n}")).collect();
    senders.iter().for_each(|name| w.join(name, &["r"]));
    ["bob", "carol"].iter().for_each(|name| w.join(name, &["r"]));
    w.stop_reading("bob");
    let mut waited = millis(0);
    for _ in 0..160 {
        senders.iter().for_each(|name| say(&mut w, name, 1, 80));
        waited += if w.hub.stats().held > 0 { millis(250) } else { millis(0) };
        flow(&mut w, millis(250), &[("bob", 8_000)]);
        w.end("carol").inbox.clear();
    }
    assert_eq!((w.hub.stats().closed_slow, w.hub.stats().held), (1, 0));
    assert!((millis(9_000)..=millis(10_250)).contains(&waited), "{waited:?}");
    assert!(senders.iter().all(|name| w.end(name).unread.is_empty()));
}

#[test]
fn slow_readers_that_reconnect_hold_senders_for_at_most_ten_seconds_a_minute() {
    let mut w = World::new(Config { queue_limit: 100_000, ..Config::default() });
    let rooms = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    w.join("alice", &rooms);
    let mut times = 0;
    let mut readers: Vec<(usize, String)> = Vec::new();
    let mut held = VecDeque::new();
    for step in 0..1500 {
        // Ten in each room, each of a user of its own; they reconnect as soon as they are closed.
        readers.retain(|(_, name)| {
            let is_open = w.close(name).is_none();
            if !is_open {
                w.cut(name);
            }
            is_open
        });
        for n in 0..100 {
            if readers.iter().all(|(other, _)| *other != n) {
                times += 1;
                let name = format!("u{n}.{times}");
                w.join(&name, &[rooms[n / 10]]);
                w.stop_reading(&name);
                readers.push((n, name));
            }
        }
        if w.end("alice").unread.is_empty() {
            say(&mut w, "alice", 1, 20_000);
        }
        held.push_back(w.is_held("alice"));
        w.pass(millis(100));
        if step % 10 == 0 {
            readers.iter().for_each(|(_, name)| _ = w.read_some(name, 1));
        }
        if held.len() > 600 {
            held.pop_front();
        }
        let waited = held.iter().filter(|held| **held).count() as u64 * 100;
        assert!(waited <= 10_200, "{waited} ms of the last minute");
    }
    assert!(w.hub.stats().closed_slow > 100, "they were closed");
}

#[test]
fn a_peer_that_stops_reading_costs_at_most_its_queue_limit() {
    let mut w = World::new(hundredth());
    ["alice", "bob", "carol"].iter().for_each(|name| w.join(name, &["r"]));
    w.stop_reading("bob");
    let mut most = 0;
    for _ in 0..600 {
        say(&mut w, "alice", 10, 1000);
        most = most.max(w.hub.stats().queued);
        w.pass(millis(100));
        w.forget();
    }
    assert!(most <= hundredth().queue_limit && w.hub.stats().closed_slow == 1, "{most}");
}

#[test]
fn at_the_limit_each_sender_adds_one_frame_to_a_queue_that_moves() {
    let mut w = World::new(Config { queue_limit: 10_000, ..Config::default() });
    for n in 0..20 {
        w.join(&format!("s{n}"), &["r"]);
    }
    w.join("bob", &["r"]);
    w.stop_reading("bob");
    for n in 0..20 {
        say(&mut w, &format!("s{n}"), 2, 1000);
        w.read_some("bob", 1);
    }
    assert!(w.close("bob").is_none(), "it always accepts something");
    w.read("bob");
    assert_eq!(heard(&mut w, "bob"), 40);
    // If it accepts nothing for a second, the frame that does not fit closes it.
    w.stop_reading("bob");
    (0..9).for_each(|n| say(&mut w, &format!("s{n}"), 2, 1000));
    w.pass(secs(1));
    assert!(w.close("bob").is_none() && w.hub.stats().queued > 9000);
    say(&mut w, "s15", 1, 1000);
    w.read("bob");
    assert_eq!(w.close("bob"), Some((1008, "too slow".into())));
}

#[test]
fn a_user_closed_for_slowness_is_closed_at_the_high_mark_for_a_minute() {
    let mut w = small();
    w.stop_reading("bob");
    shout(&mut w, 20);
    w.pass(secs(5));
    w.cut("bob");
    w.join("bob.2", &["r"]);
    w.stop_reading("bob.2");
    shout(&mut w, 20);
    assert_eq!((w.hub.stats().closed_slow, w.is_held("alice")), (2, false));
    w.pass(secs(60));
    w.join("bob.3", &["r"]);
    w.stop_reading("bob.3");
    shout(&mut w, 20);
    assert_eq!((w.hub.stats().closed_slow, w.is_held("alice")), (2, true));
}

#[test]
fn time_held_does_not_count_as_silence() {
    let mut w = World::new(Config { queue_limit: 10_000, slow_after: secs(1000), ..Config::default() });
    w.join("alice", &["r"]);
    w.join("bob", &["r"]);
    w.stop_reading("bob");
    shout(&mut w, 6);
    let bob = w.end("bob").conn;
    for _ in 0..20 {
        w.pass(secs(10));
        w.input(Input::Alive { conn: bob });
    }
    assert!(w.is_held("alice") && w.close("alice").is_none());
    assert!(w.end("alice").pings > 1, "it is pinged nevertheless");
    w.read("bob");
    w.pass(secs(59));
    assert!(w.close("alice").is_none());
    w.pass(secs(1));
    assert!(w.close("alice").is_some(), "and now it is silent");
}

#[test]
fn a_peer_that_reads_its_queue_is_not_silent() {
    let mut w = World::new(Config { slow_after: secs(1000), ..Config::default() });
    w.join("alice", &["r"]);
    w.join("bob", &["r"]);
    let [alice, bob] = ["alice", "bob"].map(|name| w.end(name).conn);
    w.stop_reading("bob");
    shout(&mut w, 10);
    // A ping is queued behind so much that its answer takes longer than the idle timeout.
    for _ in 0..8 {
        w.pass(secs(20));
        w.input(Input::Alive { conn: alice });
        assert!(w.read_some("bob", 1));
    }
    w.pass(secs(59));
    w.input(Input::Alive { conn: alice });
    assert!(w.close("bob").is_none() && w.hub.stats().peers == 2);
    w.pass(secs(1));
    assert_eq!(w.hub.stats().peers, 1, "it has accepted nothing for too long");
    w.read("bob");
    assert_eq!(w.close_code("bob"), Some(1008), "{bob:?}");
}

#[test]
fn two_that_wait_for_each_other_do_not_wait_forever() {
    let mut w = small();
    for name in ["alice", "bob"] {
        w.stop_reading(name);
    }
    for _ in 0..20 {
        say(&mut w, "alice", 1, 1000);
        say(&mut w, "bob", 1, 1000);
    }
    assert!(w.is_held("alice") && w.is_held("bob"));
    // Each reads once everything of its own has been sent.
    for _ in 0..200 {
        w.pass(millis(100));
        for name in ["alice", "bob"] {
            if w.end(name).unread.is_empty() {
                w.read(name);
            }
        }
    }
    assert_eq!((w.hub.stats().held, w.hub.stats().queued), (0, 0));
    assert!(w.hub.stats().closed_slow >= 1);
}

#[test]
fn pushes_hold_nobody_and_missed_ones_are_reported() {
    let mut w = small();
    w.stop_reading("bob");
    let text = format!(r#"{{"type":"event","to":"r","x":"{}"}}"#, "x".repeat(1000));
    let mut publish = |_| {
        let missed = w.hub.publish(&text, w.now);
        w.settle();
        missed
    };
    let missed: Vec<usize> = (0..12).map(&mut publish).collect();
    assert_eq!(missed, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]);
    w.settle();
    assert_eq!((w.hub.stats().held, w.hub.stats().dropped_slow), (0, 3));
    assert_eq!((w.got("carol").len(), w.close("bob")), (12, None));
    w.read("bob");
    let got = w.got("bob");
    assert_eq!(got.len(), 10);
    assert_eq!(
        got[9],
        r#"{"type":"event","name":"missed","subtype":"missed","missed":3,"message":"3 messages for you were lost"}"#
    );
}

#[test]
fn a_receipt_counts_the_recipients() {
    let mut w = small();
    w.stop_reading("bob");
    shout(&mut w, 9);
    w.pass(secs(1));
    let text = format!(r#"{{"type":"message","id":"1","receipt":true,"x":"{}"}}"#, "x".repeat(9_000));
    w.send("carol", &text);
    let got = w.got("carol");
    let receipt = r#"{"type":"receipt","id":"1","status":200,"delivered":1}"#;
    assert!(got.iter().any(|text| text == receipt), "{got:?}");
    assert!(got.contains(&offline("bob")), "it accepted nothing, and is gone");
}

#[test]
fn a_peer_that_does_not_read_its_answers_is_held_by_itself() {
    let mut w = small();
    for n in 0..50 {
        w.join(&format!("p{n}"), &["s"]);
    }
    w.stop_reading("bob");
    for _ in 0..250 {
        w.send("bob", r#"{"type":"join","room":"s"}"#);
        w.send("bob", r#"{"type":"leave","room":"s"}"#);
    }
    assert!(w.is_held("bob") && w.hub.stats().queued <= 10_000, "{}", w.hub.stats().queued);
    w.pass(secs(5));
    assert_eq!((w.hub.stats().closed_slow, w.hub.stats().queued), (1, 0));
}

#[test]
fn over_the_memory_limit_the_largest_queue_is_closed() {
    let mut w = World::new(Config { queue_limit: 100_000, memory_limit: 60_000, ..Config::default() });
    for name in ["alice", "bob", "carol", "dave"] {
        w.join(name, &["r"]);
    }
    for name in ["bob", "carol", "dave"] {
        w.stop_reading(name);
    }
    say(&mut w, "alice", 45, 1000);
    assert_eq!(w.hub.stats().closed_slow, 0, "a message for three counts once");
    let conn = w.end("dave").conn;
    w.input(Input::Buffered { conn, bytes: 20_000 });
    assert_eq!(w.hub.stats().closed_slow, 1);
    w.read("dave");
    assert_eq!(
        w.close("dave"),
        Some((1008, "too slow".into())),
        "it uses most, including an incomplete frame"
    );
    assert_eq!((w.close("bob"), w.close("carol")), (None, None));
}

#[test]
fn input_before_admission_has_a_limit_of_its_own() {
    let mut w = World::open();
    w.join("alice", &[]);
    let mut refused = 0;
    for n in 0..100 {
        let name = format!("x{n}");
        let conn = w.connect(&name);
        w.input(Input::Buffered { conn, bytes: 16 << 10 });
        refused += usize::from(
            w.close(&name)
                == Some((
                    1013,
                    "Too much data from clients that are not admitted yet; try again later".into(),
                )),
        );
    }
    assert_eq!((refused, w.close("alice"), w.close("x0")), (36, None, None), "64 of 16 KiB are 1 MiB");
    let conn = w.end("x0").conn;
    w.input(Input::Buffered { conn, bytes: 0 });
    let conn = w.connect("late");
    w.input(Input::Buffered { conn, bytes: 16 << 10 });
    assert_eq!(w.close("late"), None, "there is room again");
}

/// A camera's own server, whose camera is a peer in this process.
fn with_a_host() -> World {
    World::new(Config { queue_limit: 10_000, reserved: vec!["cam".into()], ..Config::default() })
}

#[test]
fn a_peer_in_this_process_is_held_like_any_other() {
    let mut w = World::new(Config { queue_limit: 10_000, ..Config::default() });
    w.connect_as("clock", true);
    w.auth("clock", &["r"]);
    w.join("bob", &["r"]);
    w.stop_reading("bob");
    say(&mut w, "clock", 20, 1000);
    assert!(w.is_held("clock"));
    w.read("bob");
    assert!(!w.is_held("clock"));
    assert_eq!((heard(&mut w, "bob"), w.hub.stats().closed_slow), (20, 0));
}

#[test]
fn the_host_itself_is_held_by_nobody() {
    let mut w = with_a_host();
    w.connect_as("cam", true);
    w.auth("cam", &["r"]);
    w.join("alice", &["r"]);
    w.join("bob", &["r"]);
    w.stop_reading("bob");
    say(&mut w, "cam", 9, 1000);
    assert!(!w.is_held("cam") && w.hub.stats().closed_slow == 0, "there is still room");
    say(&mut w, "cam", 11, 1000);
    assert!(!w.is_held("cam") && w.hub.stats().closed_slow == 1 && w.hub.stats().queued == 0);
    assert_eq!(heard(&mut w, "alice"), 20);
    w.read("bob");
    assert_eq!(w.close("bob"), Some((1008, "too slow".into())));
}

#[test]
fn messages_of_the_host_are_bounded_while_the_server_is_behind() {
    let mut w = with_a_host();
    w.connect_as("cam", true);
    w.auth("cam", &["r"]);
    w.join("bob", &["r"]);
    // The hub learns nothing about the socket meanwhile.
    let conn = w.end("cam").conn;
    let text = format!(r#"{{"type":"message","x":"{}"}}"#, "x".repeat(1000));
    for n in 0..40 {
        w.hub.handle_input(Input::Text { conn, text: &text }, w.now);
        assert!(w.hub.stats().queued <= 20_000);
        assert_eq!(w.hub.stats().closed_slow, u64::from(n >= 18), "after {n}");
    }
}

#[test]
fn a_peer_in_this_process_that_fetches_nothing_holds_others() {
    let mut w = World::new(Config { queue_limit: 10_000, ..Config::default() });
    w.connect_as("cam", true);
    w.auth("cam", &["r"]);
    w.join("bob", &["r"]);
    // It has no socket that could be asked.
    w.stop_reading("cam");
    say(&mut w, "bob", 20, 1000);
    assert!(w.is_held("bob"));
    w.pass(secs(5));
    assert!(!w.is_held("bob") && w.hub.stats().closed_slow == 1);
}

#[test]
fn missed_presences_are_sent_later() {
    let mut w = small();
    w.join("dave", &["r"]);
    w.join("zoe", &["r"]);
    w.stop_reading("bob");
    say(&mut w, "zoe", 20, 1000);
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
    assert_eq!(of("fred").len(), 0, "nobody met him");
}

#[test]
fn a_close_reaches_a_peer_that_reads_again() {
    let mut w = small();
    w.stop_reading("bob");
    shout(&mut w, 3);
    w.send("bob", r#"{"type":"close"}"#);
    w.read("bob");
    assert_eq!((w.got("bob").len(), w.close_code("bob")), (3, Some(1000)));
}

#[test]
fn a_close_does_not_wait_for_a_peer_that_never_reads() {
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
fn ready_is_reported_once_until_everything_is_read() {
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
                Output::Event(_) | Output::Resume(_) => {}
            }
        }
    };
    assert_eq!((readies(&mut w, 5), readies(&mut w, 5)), (1, 0));
    assert!(w.read_some("bob", 10), "one of ten");
    assert_eq!(readies(&mut w, 1), 0);
    assert!(!w.read_some("bob", 10_000));
    assert_eq!((readies(&mut w, 1), w.got("bob").len()), (1, 11));
    w.hub.handle_input(Input::Kick { whom: Whom::Conn(conn), status: Status(403), message: "" }, w.now);
    assert_eq!(readies(&mut w, 0), 1, "a driver that waits for its socket learns of the close");
}
