//! Who is told about whom, when, and with what text.

use super::*;

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts
}

#[test]
fn a_newcomer_is_told_and_gets_the_roster_after_welcome() {
    let mut w = World::open();
    w.join("alice", &["r", "s"]);
    w.join("bob", &["r"]);
    w.join("carol", &["s"]);
    w.join("dave", &["t"]);
    w.connect("eve");
    w.auth("eve", &["r", "s"]);
    let got = w.got("eve");
    assert!(got[0].contains("welcome"));
    assert_eq!(sorted(got[1..].to_vec()), [online("alice"), online("bob"), online("carol")]);
    for (name, want) in [("alice", vec![online("eve")]), ("bob", vec![online("eve")]), ("dave", vec![])] {
        assert_eq!(w.got(name), want, "{name}");
    }
}

#[test]
fn a_join_announces_only_peers_that_do_not_know_each_other() {
    let mut w = World::open();
    w.join("alice", &["r"]);
    w.join("bob", &["r", "s"]);
    w.join("carol", &["s"]);
    w.send("alice", r#"{"type":"join","room":"s"}"#);
    assert_eq!(w.got("alice"), [r#"{"type":"join:ok","room":"s"}"#.into(), online("carol")]);
    assert_eq!((w.got("bob"), w.got("carol")), (vec![], vec![online("alice")]));
    w.send("alice", r#"{"type":"join","room":"s"}"#);
    assert_eq!((w.got("alice").len(), w.got("carol").len()), (1, 0), "joining twice changes nothing");
}

#[test]
fn a_leave_is_announced_to_those_who_share_no_other_room() {
    let mut w = World::open();
    w.join("alice", &["r", "s"]);
    w.join("bob", &["r", "s"]);
    w.join("carol", &["s"]);
    w.send("alice", r#"{"type":"leave","room":"s"}"#);
    assert_eq!(w.got("alice"), [r#"{"type":"leave:ok","room":"s"}"#.into(), offline("carol")]);
    assert_eq!((w.got("bob"), w.got("carol")), (vec![], vec![offline("alice")]));
    w.send("alice", r#"{"type":"leave","room":"s"}"#);
    assert_eq!((w.got("alice").len(), w.got("carol").len()), (1, 0));
}

#[test]
fn every_kind_of_disconnect_is_announced_once() {
    type Way = fn(&mut World);
    let ways: [(&str, Way); 7] = [
        ("the socket ends", |w| w.cut("alice")),
        ("close", |w| w.send("alice", r#"{"type":"close"}"#)),
        ("binary", |w| {
            let conn = w.end("alice").conn;
            w.input(Input::Binary { conn });
        }),
        ("too large", |w| {
            let conn = w.end("alice").conn;
            w.input(Input::TooLarge { conn });
        }),
        ("idle", |w| {
            for _ in 0..8 {
                w.pass(secs(10));
                for name in ["bob", "carol"] {
                    let conn = w.end(name).conn;
                    w.input(Input::Alive { conn });
                }
            }
        }),
        ("kick", |w| {
            let whom = crate::server::Whom::Address("alice");
            w.input(Input::Kick { whom, status: crate::proto::Status::UNAUTHORIZED, message: "out" });
        }),
        ("size", |w| w.send("alice", &"x".repeat((512 << 10) + 1))),
    ];
    for (way, act) in ways {
        let mut w = World::open();
        w.join("alice", &["r", "s"]);
        w.join("bob", &["r", "s"]);
        w.join("carol", &["t"]);
        act(&mut w);
        assert_eq!((w.got("bob"), w.got("carol")), (vec![offline("alice")], vec![]), "{way}");
        let gone = w.events.iter().filter(|event| matches!(event, Event::PeerOffline { .. })).count();
        if w.ends.contains_key("alice") {
            w.cut("alice");
        }
        assert_eq!((w.got("bob").len(), gone), (0, 1), "{way}: once");
        assert_eq!(w.hub.stats().peers, 2);
    }
}

#[test]
fn sessions_of_a_user_see_each_other() {
    let mut w = World::open();
    w.join("alice", &[]);
    w.connect("alice.2");
    w.auth("alice.2", &[]);
    assert_eq!(w.got("alice"), [online("alice.2")]);
    assert_eq!(w.got("alice.2")[1..], [online("alice")]);
}

#[test]
fn a_probe_is_forwarded_and_its_answer_reaches_the_prober_by_id() {
    let mut w = World::open();
    w.join("alice", &["r"]);
    w.join("bob", &["r"]);
    w.join("carol", &["r"]);
    w.send("alice", r#"{"type":"presence","probe":true}"#);
    let data = r##""data":{"id":"#alice","user":"alice","name":"alice","online":true}"##;
    let probe = format!(r##"{{"from":"alice|#alice",{data},"type":"presence","probe":true}}"##);
    assert_eq!((w.got("bob"), w.got("carol"), w.got("alice")), (vec![probe.clone()], vec![probe], vec![]));
    w.send("bob", r##"{"type":"presence","to":"#alice"}"##);
    assert_eq!((w.got("alice").len(), w.got("carol").len()), (1, 0));
}

#[test]
fn a_presence_is_rebuilt_and_its_data_kept() {
    let mut w = World::open();
    w.join("alice", &["r"]);
    w.join("bob", &["r"]);
    w.send("alice", r#"{"type":"presence","token":"t","data":{"id":"x","name":"Al","online":false,"host":"h","n":1.0},"rooms":[],"x":1e3}"#);
    assert_eq!(
        w.got("bob"),
        [
            r##"{"from":"alice|#alice","type":"presence","data":{"id":"#alice","user":"alice","online":true,"name":"Al","n":1.0},"x":1e3}"##
        ]
    );
    w.send("alice", r#"{"type":"presence","to":"nobody","data":{"m":2}}"#);
    w.connect("carol");
    w.auth("carol", &["r"]);
    let told = r##"{"type":"presence","from":"alice|#alice","data":{"id":"#alice","user":"alice","name":"Al","online":true,"n":1.0,"m":2}}"##;
    assert!(w.got("carol").contains(&told.to_owned()), "snapshots tell what was merged");
}

#[test]
fn an_authenticating_server_decides_names() {
    let mut w = World::new(Config { authenticate: true, ..Config::default() });
    for name in ["alice", "bob"] {
        let conn = w.connect(name);
        w.send(name, &format!(r#"{{"type":"auth","user":"{name}","token":"t","data":{{"name":"Root"}}}}"#));
        let admission = crate::server::Admission { rooms: vec!["r".into()], ..Default::default() };
        w.input(Input::Verdict { conn, verdict: crate::server::Verdict::Admit(admission) });
    }
    assert_eq!(w.got("bob")[1], online("alice"));
    w.forget();
    w.send("alice", r#"{"type":"presence","data":{"name":"Root"}}"#);
    assert!(w.got("bob")[0].contains(r#""name":"alice""#));
}

#[test]
fn the_stored_data_of_a_peer_is_bounded() {
    let mut w = World::open();
    w.join("alice", &["r"]);
    w.join("bob", &["r"]);
    let big = "x".repeat(17 << 10);
    w.send("alice", &format!(r#"{{"type":"presence","data":{{"a":1,"big":"{big}"}}}}"#));
    assert_eq!((w.errors("alice"), w.got("bob").len(), w.close("alice")), (vec![400], 0, None));
    w.send("alice", &format!(r#"{{"type":"presence","data":{{"name":"{big}"}}}}"#));
    assert_eq!(w.errors("alice"), [400]);
    w.connect("carol");
    w.auth("carol", &["r"]);
    assert!(w.got("carol").contains(&online("alice")), "of what was refused nothing is kept");
    // Small enough for an auth, but each member counts 64 bytes besides its text.
    let many: Vec<String> = (0..300).map(|n| format!(r#""k{n}":{n}"#)).collect();
    let many = format!(r#""data":{{{}}}"#, many.join(","));
    for (data, status) in [(many, 400), (format!(r#""name":"{big}""#), 413)] {
        w.connect("dave");
        w.send("dave", &format!(r#"{{"type":"auth","user":"dave",{data}}}"#));
        assert_eq!(w.errors("dave"), [status]);
        w.cut("dave");
    }
}

#[test]
fn a_roster_is_queued_as_one_entry_and_shows_the_latest_state() {
    let mut w = World::open();
    for n in 0..1000 {
        w.connect(&format!("p{n}"));
        w.stop_reading(&format!("p{n}"));
        w.auth(&format!("p{n}"), &["r"]);
    }
    w.pass(secs(1));
    let crowd = w.hub.stats().queued;
    assert!(crowd < 1000 * 400, "a welcome and a note for each, not a thousand: {crowd}");
    w.connect("late");
    w.stop_reading("late");
    w.auth("late", &["r"]);
    let late = w.hub.stats().queued - crowd;
    assert!(late < 400, "one note, not a thousand: {late}");
    w.read_some("late", 1);
    assert!(w.got("late")[0].contains("welcome"));
    w.read_some("late", 500);
    assert!((3..=6).contains(&w.got("late").len()), "as the socket accepts them");
    w.send("p999", r#"{"type":"presence","to":"nobody","data":{"latest":true}}"#);
    w.cut("p998");
    w.pass(secs(1));
    w.read("late");
    let got = w.got("late");
    let of = |name: &str| got.iter().filter(|text| text.contains(&format!("\"{name}|"))).collect::<Vec<_>>();
    assert!(matches!(&of("p999")[..], [told] if told.contains("latest")));
    assert_eq!(of("p998"), [&online("p998"), &offline("p998")], "it left while the roster was being sent");
    assert_eq!(of("late").len(), 0);
    w.cut("late");
    w.pass(secs(1));
    w.read("p2");
    let got = w.got("p2");
    let of = |name: &str| got.iter().filter(|text| text.contains(&format!("\"{name}|"))).count();
    assert_eq!(
        (got.len(), of("p998"), of("late")),
        (1 + 998, 0, 0),
        "a peer that came and left is not announced"
    );
}

#[test]
fn peers_that_left_before_a_snapshot_are_not_in_it() {
    let mut w = World::open();
    w.join("alice", &["r"]);
    w.connect("bob");
    w.stop_reading("bob");
    w.auth("bob", &["r"]);
    w.send("alice", r#"{"type":"leave","room":"r"}"#);
    w.send("alice", r#"{"type":"presence","data":{"private":1}}"#);
    w.read("bob");
    assert_eq!(w.got("bob").len(), 1, "the welcome");
}

#[test]
fn a_peer_that_sent_something_and_left_is_announced_by_name_only() {
    let mut w = World::open();
    for name in ["alice", "bob"] {
        w.join(name, &["r"]);
    }
    w.stop_reading("bob");
    w.send("alice", r#"{"type":"leave","room":"r"}"#);
    w.send("alice", r#"{"type":"join","room":"r"}"#);
    w.join("carol", &["r"]);
    w.send("carol", r#"{"type":"message","data":1}"#);
    w.send("carol", r#"{"type":"leave","room":"r"}"#);
    w.send("carol", r#"{"type":"presence","data":{"private":1}}"#);
    w.read("bob");
    let message = r##"{"from":"carol|#carol","type":"message","data":1}"##.to_owned();
    let back = online("alice");
    assert_eq!(w.got("bob"), [back, online("carol"), message, offline("carol")]);
}

#[test]
fn messages_of_a_peer_arrive_before_its_departure() {
    let mut w = World::open();
    for name in ["alice", "bob"] {
        w.join(name, &["r"]);
    }
    w.stop_reading("bob");
    w.send("alice", r#"{"type":"message","data":1}"#);
    w.cut("alice");
    w.read("bob");
    let got = w.got("bob");
    assert!(got[0].contains("\"message\""));
    assert_eq!(got[1..], [offline("alice")]);
}

#[test]
fn joins_and_leaves_among_peers_that_share_another_room_are_not_announced() {
    let mut w = World::open();
    w.join("alice", &["r", "s"]);
    w.join("bob", &["r", "s"]);
    for (act, room) in [("leave", "r"), ("leave", "s"), ("join", "r"), ("join", "s")] {
        w.send("alice", &format!(r#"{{"type":"{act}","room":"{room}"}}"#));
        let want = match (act, room) {
            ("leave", "s") => vec![offline("alice")],
            ("join", "r") => vec![online("alice")],
            _ => vec![],
        };
        assert_eq!(w.got("bob"), want, "{act} {room}");
    }
    // Into another room before leaving the last one, while bob does not read.
    w.send("alice", r#"{"type":"leave","room":"s"}"#);
    w.stop_reading("bob");
    w.send("alice", r#"{"type":"join","room":"s"}"#);
    w.send("alice", r#"{"type":"leave","room":"r"}"#);
    w.read("bob");
    assert_eq!(w.got("bob"), [online("alice")], "again perhaps, but not offline");
    w.cut("alice");
    assert_eq!(w.got("bob"), [offline("alice")]);
}

#[test]
fn a_peer_that_left_and_returned_is_announced_with_its_new_data() {
    let mut w = World::open();
    for name in ["alice", "bob"] {
        w.join(name, &["r"]);
    }
    w.stop_reading("bob");
    w.send("alice", r#"{"type":"leave","room":"r"}"#);
    w.send("alice", r#"{"type":"presence","data":{"new":1}}"#);
    w.send("alice", r#"{"type":"join","room":"r"}"#);
    w.read("bob");
    assert!(matches!(&w.got("bob")[..], [told] if told.contains(r#""new":1"#)));
}
