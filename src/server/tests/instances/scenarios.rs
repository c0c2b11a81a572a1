//! What peers at several instances see, fault by fault.

use super::*;
use crate::proto::Status;
use crate::server::Whom;

/// alice and carol at the first instance, bob at the second, dave at the third; all but dave in `team`.
fn fleet() -> Fleet {
    let mut fleet = Fleet::new(3);
    for (name, at, rooms) in
        [("alice", 0, &["team"][..]), ("bob", 1, &["team"]), ("carol", 0, &["team"]), ("dave", 2, &[])]
    {
        fleet.connect(name, at, rooms);
        fleet.settle();
    }
    fleet.forget();
    fleet
}

fn message(to: &str, data: &str) -> String {
    format!(r#"{{"type":"message","to":{to},"data":"{data}"}}"#)
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Six of them are too much for the bus of an instance, eleven for the high mark of a queue.
fn long() -> String {
    "x".repeat(400 << 10)
}

impl Fleet {
    fn hang(&mut self, at: usize, hangs: bool) {
        self.instances.get_mut(&at).expect("runs").hangs = hangs;
    }

    /// `to` reads nothing more, and alice sends it this many long messages.
    fn stop_and_fill(&mut self, to: &str, count: usize) {
        self.stop(to);
        for _ in 0..count {
            self.send("alice", &message(&format!("{to:?}"), &long()));
            self.settle();
        }
    }

    /// Waits until the first instance holds nobody, or for this many tenths of a second; returns how many it were.
    fn tenths_held(&mut self, most: usize) -> usize {
        let mut tenths = 0;
        while tenths < most && self.instances[&0].hub.stats().held > 0 {
            self.pass(Duration::from_millis(100));
            tenths += 1;
        }
        tenths
    }

    fn is_nobody_held(&self) -> bool {
        self.instances.values().all(|instance| instance.hub.stats().held == 0)
    }
}

#[test]
fn every_form_of_to_delivers_once_across_instances() {
    for (to, want) in [
        (r#""bob""#, &["bob"][..]),
        (r##""bob|#bob""##, &["bob"]),
        (r##""carol|#bob""##, &[]),
        (r##""|#bob""##, &["bob"]),
        (r##""#bob""##, &["bob"]),
        (r#""bob|""#, &["bob"]),
        (r#""team""#, &["bob", "carol"]),
        (r##"["team","bob","bob|#bob","carol"]"##, &["bob", "carol"]),
        (r#""dave""#, &[]),
        (r##""dave|#dave""##, &[]),
        (r##"["#dave","nobody"]"##, &[]),
    ] {
        let mut fleet = fleet();
        fleet.send("alice", &message(to, "x"));
        fleet.settle();
        for name in ["alice", "bob", "carol", "dave"] {
            let times = usize::from(want.contains(&name));
            assert_eq!(fleet.heard(name).len(), times, "{to} at {name}");
        }
    }
    let mut fleet = fleet();
    fleet.send("alice", r#"{"type":"message","data":"x","n":1.0}"#);
    fleet.settle();
    assert_eq!(["bob", "carol", "dave"].map(|name| fleet.heard(name).len()), [1, 1, 0]);
}

#[test]
fn rooms_are_the_boundary_across_instances_too() {
    let mut fleet = fleet();
    fleet.connect("eve", 1, &["alice"]);
    fleet.connect("alice.2", 2, &[]);
    fleet.settle();
    fleet.forget();
    fleet.send("eve", &message(r##"["alice","team","bob","#alice","alice|#alice"]"##, "x"));
    fleet.send("dave", &message(r#""alice""#, "x"));
    fleet.settle();
    for name in ["alice", "alice.2", "bob", "carol"] {
        assert_eq!(fleet.heard(name), [""; 0], "{name}");
    }
    fleet.send("alice.2", &message(r#""alice""#, "own"));
    fleet.settle();
    assert_eq!(fleet.heard("alice"), ["own"]);
    assert_eq!(fleet.roster("eve"), [""; 0]);
}

#[test]
fn rosters_are_complete_from_the_start_and_follow_joins_and_leaves() {
    let mut fleet = fleet();
    assert_eq!(fleet.roster("alice"), ["bob", "carol"]);
    assert_eq!(fleet.roster("bob"), ["alice", "carol"]);
    assert_eq!(fleet.roster("dave"), [""; 0]);
    fleet.send("dave", r#"{"type":"join","room":"team"}"#);
    fleet.settle();
    assert_eq!(fleet.got("dave")[0]["type"], "join:ok");
    assert_eq!(fleet.roster("dave"), ["alice", "bob", "carol"]);
    assert_eq!(fleet.roster("bob"), ["alice", "carol", "dave"]);
    fleet.send("bob", r#"{"type":"leave","room":"team"}"#);
    fleet.settle();
    assert_eq!(fleet.roster("bob"), [""; 0]);
    assert_eq!(fleet.roster("alice"), ["carol", "dave"]);
    fleet.cut("alice");
    fleet.settle();
    assert_eq!(fleet.roster("dave"), ["carol"]);
    for at in 0..3 {
        let rooms = fleet.instances[&at].hub.stats();
        assert!(rooms.peers_away <= 1, "peers without a shared room are not kept");
    }
}

#[test]
fn data_of_a_peer_reaches_later_arrivals_on_other_instances() {
    let mut fleet = fleet();
    fleet.send("bob", r#"{"type":"presence","data":{"peerType":"camera","n":1.0}}"#);
    fleet.settle();
    assert_eq!(fleet.clients["alice"].roster["bob|#bob"]["peerType"], "camera");
    let inbox = std::mem::take(&mut fleet.clients.get_mut("alice").expect("there").inbox);
    assert_eq!(inbox.len(), 1, "announced once: {inbox:?}");
    fleet.connect("erin", 0, &["team"]);
    fleet.connect("fred", 2, &["team"]);
    fleet.settle();
    for name in ["erin", "fred"] {
        assert_eq!(fleet.clients[name].roster["bob|#bob"]["peerType"], "camera", "{name}");
    }
}

#[test]
fn a_join_is_answered_after_the_bus_has_confirmed_it() {
    let mut fleet = fleet();
    fleet.send("dave", r#"{"type":"join","room":"team"}"#);
    fleet.send("dave", &message(r#""team""#, "early"));
    assert_eq!(fleet.got("dave").len(), 0);
    assert!(fleet.step(2, 0), "the subscription reaches the bus");
    fleet.send("alice", &message(r#""team""#, "first"));
    assert!(fleet.step(0, 0), "the message reaches the bus");
    fleet.settle();
    let got = fleet.got("dave");
    assert_eq!((&got[0]["type"], &got[1]["data"]), (&"join:ok".into(), &"first".into()));
    assert_eq!(fleet.heard("alice"), ["early"]);
}

#[test]
fn welcome_and_frames_sent_before_it_wait_for_the_bus() {
    let mut fleet = fleet();
    fleet.connect("erin", 2, &["team"]);
    fleet.send("erin", &message(r#""team""#, "hello"));
    assert_eq!(fleet.got("erin").len(), 0);
    fleet.settle();
    assert_eq!(fleet.got("erin")[0]["type"], "welcome");
    assert_eq!(["alice", "bob"].map(|name| fleet.heard(name)), [["hello"]; 2]);
    fleet.connect("gone", 2, &["team"]);
    fleet.cut("gone");
    fleet.settle();
    assert_eq!(fleet.roster("bob"), ["alice", "carol", "erin"]);
}

#[test]
fn a_receipt_counts_across_instances() {
    let mut fleet = fleet();
    for (to, delivered) in [("team", 2), ("bob", 1), ("nobody", 0), ("dave", 0), ("carol", 1)] {
        let text = format!(r#"{{"type":"message","id":7,"to":"{to}","receipt":true}}"#);
        fleet.send("alice", &text);
        fleet.settle();
        let got = fleet.got("alice");
        assert_eq!(got.len(), 1, "{to}: {got:?}");
        assert_eq!((&got[0]["id"], &got[0]["delivered"]), (&7.into(), &delivered.into()), "{to}");
        assert_eq!(got[0]["status"], if delivered > 0 { 200 } else { 404 });
    }
    fleet.hang(1, true);
    fleet.send("alice", r#"{"type":"message","id":8,"to":"team","receipt":true}"#);
    fleet.settle();
    assert_eq!(fleet.got("alice").len(), 0);
    fleet.pass(secs(1));
    assert_eq!(fleet.got("alice")[0]["delivered"], 1, "a suspended instance is not waited for");
}

#[test]
fn an_instance_receives_only_what_concerns_its_peers() {
    let mut fleet = fleet();
    let channels = &fleet.instances[&2].channels;
    let own = ["symple:cluster:to:#dave", "symple:cluster:to:dave"];
    let fixed =
        [BROADCAST, "symple:cluster:all", &format!("symple:cluster:at:{}", fleet.instances[&2].name())];
    assert_eq!(*channels, own.into_iter().chain(fixed).map(Into::into).collect());
    fleet.cut("dave");
    fleet.settle();
    assert_eq!(fleet.instances[&2].channels.len(), 3);
    fleet.send("bob", r#"{"type":"leave","room":"team"}"#);
    fleet.settle();
    assert!(!fleet.instances[&1].channels.contains("symple:cluster:to:team"));
    assert_eq!(fleet.instances[&1].hub.stats().peers_away, 0);
}

#[test]
fn peers_of_a_dead_instance_go_offline_within_fifteen_seconds() {
    let mut fleet = fleet();
    fleet.kill(1);
    fleet.pass(secs(5));
    assert_eq!(fleet.roster("alice"), ["bob", "carol"]);
    fleet.pass(secs(10));
    assert_eq!(fleet.roster("alice"), ["carol"]);
    fleet.start(1);
    fleet.connect("bob.2", 1, &["team"]);
    fleet.settle();
    assert_eq!(fleet.roster("alice"), ["bob.2", "carol"]);
}

#[test]
fn peers_of_an_instance_that_shuts_down_go_offline_at_once() {
    let mut fleet = fleet();
    fleet.say(1, Input::Shutdown);
    fleet.settle();
    assert_eq!(fleet.roster("alice"), ["carol"]);
}

#[test]
fn an_instance_that_hangs_and_returns_causes_no_ghosts() {
    let mut fleet = fleet();
    fleet.connect("erin", 1, &["team"]);
    fleet.settle();
    fleet.hang(1, true);
    fleet.pass(secs(20));
    assert_eq!(fleet.roster("alice"), ["carol"]);
    let end = fleet.clients.remove("erin").expect("connected");
    fleet.cut("carol");
    fleet.settle();
    fleet.hang(1, false);
    // Its timer comes first, then everything that waited for it; the end of erin's socket comes last.
    fleet.wake();
    fleet.settle();
    fleet.say(1, Input::Closed { conn: end.conn });
    fleet.pass(secs(4));
    assert_eq!(fleet.roster("alice"), ["bob"]);
    assert_eq!(fleet.roster("bob"), ["alice"]);
    let inbox = &fleet.clients["bob"].inbox;
    let lost = inbox.iter().filter(|m| m["data"]["online"] == false).map(|m| &m["data"]["user"]);
    assert_eq!(
        lost.collect::<Vec<_>>(),
        ["carol", "erin"],
        "it was suspended itself, so it declares nobody dead"
    );
}

#[test]
fn without_the_bus_local_traffic_continues_and_rosters_recover() {
    let mut fleet = fleet();
    fleet.stop_bus();
    fleet.settle();
    fleet.connect("erin", 1, &["team"]);
    fleet.send("dave", r#"{"type":"join","room":"team"}"#);
    assert_eq!(fleet.got("erin")[0]["type"], "welcome");
    assert_eq!(fleet.got("dave")[0]["type"], "join:ok");
    fleet.send("alice", &message(r#""team""#, "home"));
    assert_eq!((fleet.heard("carol"), fleet.heard("bob").len()), (vec!["home".into()], 0));
    fleet.cut("bob");
    fleet.pass(secs(5));
    assert_eq!(fleet.roster("alice"), ["bob", "carol"]);
    fleet.bus = true;
    fleet.forget();
    fleet.settle();
    assert_eq!(fleet.roster("alice"), ["carol", "dave", "erin"]);
    assert_eq!(fleet.roster("erin"), ["alice", "carol", "dave"]);
    let told = fleet.clients["carol"].inbox.len();
    assert_eq!(told, 3, "no peer goes offline in between: {:?}", fleet.clients["carol"].inbox);
    fleet.send("alice", &message(r#""team""#, "again"));
    fleet.settle();
    assert_eq!(
        ["carol", "dave", "erin"].map(|name| fleet.heard(name).join(" ")),
        ["again", "home again", "home again"]
    );
}

#[test]
fn unreachable_peers_are_not_shown_for_long() {
    let mut fleet = fleet();
    fleet.stop_bus();
    fleet.pass(secs(15));
    assert_eq!(fleet.roster("alice"), ["carol"]);
    fleet.bus = true;
    fleet.pass(secs(1));
    assert_eq!(fleet.roster("alice"), ["bob", "carol"]);
}

#[test]
fn both_sides_recover_from_a_broken_line() {
    let mut fleet = fleet();
    fleet.part(1);
    fleet.cut("carol");
    fleet.send("dave", r#"{"type":"join","room":"team"}"#);
    for line in [0, 0, 0, 0, 0, 0] {
        fleet.step(0, line);
        fleet.step(2, line);
    }
    fleet.send("bob", r#"{"type":"presence","data":{"x":1}}"#);
    fleet.settle();
    assert_eq!(fleet.roster("bob"), ["alice", "dave"]);
    assert_eq!(fleet.roster("alice"), ["bob", "dave"]);
    assert_eq!(fleet.clients["alice"].roster["bob|#bob"]["x"], 1);
}

#[test]
fn emitters_reach_each_peer_once_and_the_host_reaches_all_instances() {
    let mut fleet = fleet();
    fleet.emit(r#"{"type":"event","from":"app|1","to":["team","bob"],"data":"pushed"}"#);
    fleet.emit(r#"{"type":"event","from":"app|1","data":"lost"}"#);
    fleet.emit("no JSON");
    fleet.say(2, Input::Inject { text: r#"{"type":"event","to":["team","dave"],"data":"host"}"# });
    fleet.settle();
    for name in ["alice", "bob", "carol"] {
        assert_eq!(fleet.heard(name), ["pushed", "host"], "{name}");
    }
    assert_eq!(fleet.heard("dave"), ["host"]);
}

#[test]
fn a_kick_reaches_all_instances() {
    let mut fleet = fleet();
    fleet.connect("bob.2", 0, &[]);
    fleet.connect("team", 2, &[]);
    fleet.settle();
    let kick = |address| Input::Kick { whom: Whom::Address(address), status: Status(401), message: "out" };
    fleet.say(2, kick("bob"));
    fleet.say(2, kick("team"));
    fleet.settle();
    let closed = ["alice", "bob", "bob.2", "carol", "dave", "team"].map(|name| fleet.clients[name].closed);
    assert_eq!(closed, [false, true, true, false, false, true]);
    assert_eq!(fleet.roster("alice"), ["carol"]);
}

#[test]
fn a_slow_bus_holds_those_who_add_to_it() {
    let mut fleet = fleet();
    let long = long();
    fleet.instances.get_mut(&0).expect("runs").stalls = true;
    for _ in 0..100 {
        fleet.send("alice", &message(r#""bob""#, &long));
    }
    assert_eq!(fleet.clients["alice"].unread.len(), 94, "over 2 MiB with the sixth");
    fleet.go_on(0);
    assert_eq!((fleet.heard("bob").len(), fleet.instances[&0].hub.stats().dropped_bus), (100, 0));
}

#[test]
fn a_bus_far_behind_is_reset_and_gets_the_newest_state() {
    let mut fleet = fleet();
    // Joins, leaves and changes are not dropped; peers in many rooms cause many of them.
    let rooms: Vec<String> = (0..200).map(|n| format!("r{n}")).collect();
    let rooms: Vec<&str> = rooms.iter().map(|room| &**room).collect();
    let names: Vec<String> = (0..20).map(|n| format!("e{n}")).collect();
    names.iter().for_each(|name| fleet.connect(name, 0, &rooms));
    fleet.settle();
    fleet.instances.get_mut(&0).expect("runs").stalls = true;
    for name in &names {
        let data = format!(r#"{{"type":"presence","to":"bob","data":{{"x":"{}"}}}}"#, "x".repeat(16_000));
        fleet.send(name, &data);
    }
    assert!(!fleet.instances[&0].hub.cluster.is_up(), "64 MiB are enough");
    fleet.go_on(0);
    fleet.connect("fred", 1, &["r7"]);
    fleet.settle();
    let x = fleet.clients["fred"].roster["e19|#e19"]["x"].as_str().expect("told").len();
    assert_eq!(x, 16_000, "the newest state arrives in the end");
}

/// alice at the first instance sends to bob at the second, who has stopped reading, and to carol beside her.
fn one_stops() -> Fleet {
    let mut fleet = fleet();
    fleet.stop("bob");
    let long = long();
    for _ in 0..30 {
        fleet.send("alice", &message(r#"["bob","carol"]"#, &long));
        fleet.settle();
    }
    fleet
}

#[test]
fn a_recipient_on_another_instance_holds_a_sender_until_it_reads() {
    let mut fleet = one_stops();
    assert_eq!(fleet.clients["alice"].unread.len(), 19, "over 4 MiB with the eleventh");
    fleet.pass(secs(4));
    fleet.read("bob");
    fleet.settle();
    assert_eq!((fleet.heard("bob").len(), fleet.heard("carol").len()), (30, 30));
    assert!(fleet.is_nobody_held());
}

#[test]
fn a_user_that_joins_its_own_room_is_answered_and_sees_its_next_session() {
    let mut fleet = fleet();
    fleet.send("alice", r#"{"type":"join","room":"alice"}"#);
    fleet.settle();
    assert_eq!(fleet.got("alice"), [serde_json::json!({ "type": "join:ok", "room": "alice" })]);
    fleet.connect("alice.2", 0, &[]);
    fleet.settle();
    assert!(fleet.roster("alice").contains(&"alice.2".into()));
}

#[test]
fn a_recipient_that_reads_again_releases_senders_on_other_instances() {
    let mut fleet = one_stops();
    let (conn, now) = (fleet.clients["bob"].conn, fleet.now);
    let hub = &mut fleet.instances.get_mut(&1).expect("runs").hub.hub;
    let mut out = Vec::new();
    while hub.transmit(conn, 1 << 20, now, &mut out) {}
    assert!(hub.has_output(), "alice waits for the release");
}

#[test]
fn a_recipient_on_another_instance_is_closed_when_its_time_is_up() {
    let mut fleet = one_stops();
    fleet.pass(secs(6));
    assert!(fleet.clients["bob"].closed && fleet.instances[&1].hub.stats().closed_slow == 1);
    assert_eq!(fleet.heard("carol").len(), 30);
    assert!(fleet.is_nobody_held());
}

#[test]
fn recipients_on_several_instances_hold_a_sender_for_ten_seconds_in_total() {
    let mut fleet = fleet();
    fleet.send("dave", r#"{"type":"join","room":"team"}"#);
    fleet.connect("erin", 1, &["team"]);
    fleet.settle();
    let held = ["bob", "dave", "erin"].map(|name| {
        fleet.stop_and_fill(name, 15);
        let tenths = fleet.tenths_held(usize::MAX);
        assert!(fleet.clients[name].closed, "{name}");
        tenths
    });
    assert!(matches!(held, [49..=52, 49..=52, 0..=2]), "{held:?}");
}

/// `bob` holds alice for six seconds, and `dave` from the third on.
#[test]
fn overlapping_holds_by_several_instances_count_once_and_in_full() {
    let mut fleet = fleet();
    fleet.send("dave", r#"{"type":"join","room":"team"}"#);
    fleet.settle();
    let long = long();
    // What she sends before her instance knows that she is held.
    let say = |fleet: &mut Fleet, to: &str| {
        let (conn, now) = (fleet.clients["alice"].conn, fleet.now);
        let text = message(&format!("{to:?}"), &long);
        let hub = &mut fleet.instances.get_mut(&0).expect("runs").hub;
        hub.handle_input(Input::Text { conn, text: &text }, now);
        fleet.settle();
    };
    let stop = |fleet: &mut Fleet, name: &str| {
        fleet.stop(name);
        (0..15).for_each(|_| say(fleet, name));
    };
    let mut tenths = 0;
    while fleet.is_live("dave") && !fleet.clients["dave"].closed {
        match tenths {
            0 => stop(&mut fleet, "bob"),
            30 => stop(&mut fleet, "dave"),
            60 => fleet.read("bob"),
            _ => {}
        }
        for name in ["bob", "dave"] {
            if fleet.clients[name].stopped && tenths % 10 == 5 {
                fleet.trickle(name, 1);
                say(&mut fleet, name);
            }
        }
        fleet.pass(Duration::from_millis(100));
        tenths += 1;
    }
    assert!((98..=103).contains(&tenths), "{tenths}");
}

/// Each of three slow readers holds alice for four seconds, until an outage.
#[test]
fn an_outage_gives_nobody_more_time() {
    let mut fleet = fleet();
    fleet.send("dave", r#"{"type":"join","room":"team"}"#);
    fleet.connect("erin", 1, &["team"]);
    fleet.settle();
    let held = [("bob", 1), ("dave", 2), ("erin", 1)].map(|(name, at)| {
        fleet.stop_and_fill(name, 15);
        let tenths = fleet.tenths_held(40);
        fleet.instances.get_mut(&at).expect("runs").cut_off = true;
        fleet.part(at);
        fleet.settle();
        fleet.read(name);
        fleet.instances.get_mut(&at).expect("runs").cut_off = false;
        fleet.pass(secs(2));
        assert!(fleet.is_nobody_held());
        tenths
    });
    assert!(matches!(held, [40, 40, 19..=21]), "{held:?}");
}

#[test]
fn nobody_is_held_by_messages_from_before_the_bus_was_lost() {
    for fault in [0, 1, 2] {
        let mut fleet = one_stops();
        match fault {
            0 => fleet.stop_bus(),
            at => fleet.part(at - 1),
        }
        fleet.settle();
        // What waits on her socket continues to carol, and to bob until he holds her again.
        fleet.bus = true;
        fleet.settle();
        fleet.read("bob");
        fleet.pass(secs(1));
        assert_eq!((fleet.clients["alice"].unread.len(), fleet.heard("carol").len()), (0, 30));
        assert!(fleet.is_nobody_held());
    }
}

#[test]
fn an_instance_that_dies_holds_nobody() {
    let mut fleet = one_stops();
    fleet.kill(1);
    fleet.pass(secs(14));
    assert_eq!((fleet.clients["alice"].unread.len(), fleet.heard("carol").len()), (0, 30));
}

#[test]
fn garbage_on_the_bus_is_harmless() {
    let mut fleet = fleet();
    let all: Vec<String> = fleet.instances[&0].channels.iter().cloned().collect();
    let nonsense = [
        "",
        "{}",
        "\n\n",
        "{\"i\":\"x\",\"e\":1,\"n\":1,\"k\":\"route\"}\n\n",
        "{\"i\":\"x\",\"e\":1,\"n\":2,\"k\":\"peers\"}\n{\"peers\":[{\"id\":\"\",\"user\":\"\",\"name\":\"\",\"rooms\":[\"team\"],\"data\":7}],\"told\":false,\"sync\":null,\"last\":true}\n",
        "{\"i\":\"x\",\"e\":1,\"n\":3,\"k\":\"got\"}\n{\"n\":1,\"delivered\":1}\n",
        "{\"i\":\"x\",\"e\":0,\"n\":4,\"k\":\"bye\"}\n\n",
        "{\"i\":\"x\",\"e\":1,\"n\":5,\"k\":\"gone\"}\n{\"ids\":[\"#alice\",\"#bob\"]}\n",
    ];
    for channel in &all {
        for text in nonsense {
            fleet.publish(channel, &text.into());
        }
    }
    fleet.settle();
    assert_eq!(fleet.roster("alice"), ["bob", "carol"]);
}
