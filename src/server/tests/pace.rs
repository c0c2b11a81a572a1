//! Rate, keepalive and size.

use super::*;

#[test]
fn messages_over_the_rate_are_dropped_with_429() {
    let mut w = World::open();
    w.join("alice", &["r"]);
    w.join("bob", &["r"]);
    for n in 0..520 {
        w.send("alice", &format!(r#"{{"type":"message","n":{n}}}"#));
    }
    assert_eq!((w.got("bob").len(), w.errors("alice")), (500, vec![429; 20]));
    w.pass(secs(1));
    for _ in 0..120 {
        w.send("alice", r#"{"type":"message"}"#);
    }
    assert_eq!((w.got("bob").len(), w.errors("alice").len(), w.close("alice")), (100, 20, None));
    assert_eq!(w.hub.stats().dropped_rate, 40);
}

#[test]
fn ten_seconds_of_excess_close_with_1008() {
    let mut w = World::open();
    w.join("alice", &["r"]);
    w.join("bob", &["r"]);
    let mut waited = 0;
    while w.close("alice").is_none() && waited < 20_000 {
        w.send("alice", r#"{"type":"message"}"#);
        w.pass(millis(4));
        waited += 4;
    }
    assert_eq!(w.close_code("alice"), Some(1008));
    assert!((13_000..14_000).contains(&waited), "{waited}");
    assert!(w.errors("alice").iter().all(|status| *status == 429));
    assert_eq!(w.got("bob").last(), Some(&offline("alice")));
}

#[test]
fn bad_frames_count_too() {
    let mut w = World::open();
    w.join("alice", &[]);
    for _ in 0..501 {
        w.send("alice", "junk");
    }
    assert_eq!(w.errors("alice").last(), Some(&429));
}

#[test]
fn local_peers_have_no_rate_limit() {
    let mut w = World::open();
    w.connect_as("cam", true);
    w.auth("cam", &["r"]);
    w.join("bob", &["r"]);
    for _ in 0..2000 {
        w.send("cam", r#"{"type":"message"}"#);
    }
    assert_eq!((w.got("bob").len(), w.errors("cam").len()), (2000, 0));
}

#[test]
fn an_idle_connection_is_pinged_and_then_dropped() {
    let mut w = World::open();
    w.join("alice", &[]);
    w.pass(millis(24_999));
    assert_eq!(w.end("alice").pings, 0);
    w.pass(millis(1));
    assert_eq!(w.end("alice").pings, 1);
    assert_eq!(w.settle(), Some(w.now + secs(25)), "no timeout before the next ping");
    w.pass(secs(25));
    assert_eq!((w.end("alice").pings, w.close("alice")), (2, None));
    w.pass(secs(10));
    assert_eq!(w.close("alice"), Some((1008, "idle for too long".into())));
}

#[test]
fn any_frame_keeps_a_connection_alive() {
    let mut w = World::open();
    w.join("alice", &[]);
    for n in 0..20 {
        w.pass(secs(20));
        let conn = w.end("alice").conn;
        match n % 2 {
            0 => w.input(Input::Alive { conn }),
            _ => w.send("alice", "junk"),
        }
    }
    assert_eq!((w.close("alice"), w.end("alice").pings), (None, 0));
    for _ in 0..20 {
        w.pass(secs(26));
        let conn = w.end("alice").conn;
        w.input(Input::Alive { conn });
    }
    assert_eq!((w.close("alice"), w.end("alice").pings), (None, 20));
}

#[test]
fn a_frame_over_the_size_closes_with_1009() {
    let mut w = World::new(Config { max_message_size: 100, ..Config::default() });
    w.join("alice", &[]);
    w.join("bob", &[]);
    w.connect("carol");
    w.send("alice", &format!(r#"{{"type":"message","x":"{}"}}"#, "x".repeat(100)));
    for name in ["bob", "carol"] {
        let conn = w.end(name).conn;
        w.input(Input::TooLarge { conn });
    }
    for name in ["alice", "bob", "carol"] {
        assert_eq!((w.errors(name), w.close_code(name)), (vec![413], Some(1009)), "{name}");
    }
}

#[test]
fn odd_timeouts_do_not_hang() {
    for config in [
        Config { ping_interval: Duration::ZERO, ..Config::default() },
        Config { ping_interval: Duration::MAX, idle_timeout: Duration::MAX, ..Config::default() },
        Config { auth_timeout: Duration::MAX, rate: 0.0, burst: 0.0, queue_limit: 0, ..Config::default() },
    ] {
        let mut w = World::new(config);
        w.connect("alice");
        w.auth("alice", &[]);
        assert!(!w.got("alice").is_empty());
        w.pass(millis(100));
    }
}

#[test]
fn before_welcome_a_frame_has_at_most_16_kib() {
    const MAX: usize = 16 << 10;
    let auth = |len: usize| {
        let head = r#"{"type":"auth","user":"alice","token":"t","pad":""#;
        format!("{head}{}\"}}", "x".repeat(len - head.len() - 2))
    };
    let mut w = World::new(Config { authenticate: true, ..Config::default() });
    for (name, len, refused) in [("fits", MAX, false), ("over", MAX + 1, true)] {
        w.connect(name);
        w.send(name, &auth(len));
        assert_eq!(w.close_code(name), refused.then_some(1009), "{name}");
    }
    // While the host decides nothing changes, and the message names the limit that applies.
    let conn = w.end("fits").conn;
    w.input(Input::TooLarge { conn });
    assert!(w.got("fits")[0].contains("A frame may have 16384 bytes at most"));
    // Admitted peers, and peers in this process, may send more.
    w.connect_as("inside", true);
    w.send("inside", &auth(100_000));
    assert_eq!(w.close_code("inside"), None);
    w.send("inside", &format!(r#"{{"type":"message","to":"inside","data":"{}"}}"#, "x".repeat(100_000)));
    assert_eq!((w.errors("inside"), w.close_code("inside")), (vec![], None));
}
