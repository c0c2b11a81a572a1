//! Rooms with many members: changes are announced together, in few frames, or as a number only; in the end all are
//! right.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::*;
use crate::dice::Dice;

const BATCHES: &str = r#""accept":["presence:batch"],"#;

fn crowd(w: &mut World, count: usize) {
    for n in 0..count {
        w.connect(&format!("p{n}"));
        w.auth(&format!("p{n}"), &["r"]);
    }
    w.pass(secs(1));
    w.forget();
}

fn auth_batches(w: &mut World, name: &str, rooms: &[&str]) {
    w.send(name, &format!(r#"{{"type":"auth",{BATCHES}"user":"{name}","rooms":{rooms:?}}}"#));
}

/// The presences in a frame, or the frame itself.
fn unpacked(text: &str) -> Vec<Value> {
    let message: Value = serde_json::from_str(text).expect("the hub writes JSON");
    if message["type"] != "presence:batch" {
        return vec![message];
    }
    assert_eq!(message.as_object().map(|object| object.len()), Some(2));
    let all = message["data"].as_array().expect("a list").clone();
    assert!(all.len() > 1 && all.iter().all(|one| one["type"] == "presence"));
    all
}

#[test]
fn a_small_room_is_told_at_once_and_a_large_one_in_batches() {
    let mut w = World::open();
    crowd(&mut w, 49);
    w.join("a", &["r"]);
    w.connect("b");
    w.auth("b", &["r"]);
    assert_eq!(w.got("p0").len(), 0, "a told at once was forgotten, b waits");
    assert_eq!(w.got("b").len(), 1 + 50, "a newcomer does not wait");
    w.pass(millis(49));
    assert_eq!(w.got("p0").len(), 0);
    w.connect("c");
    w.auth("c", &["r"]);
    w.pass(millis(1));
    assert_eq!(w.got("p0"), [online("b"), online("c")]);
    w.cut("b");
    w.cut("c");
    w.pass(millis(50));
    assert_eq!(w.got("p0"), [offline("b"), offline("c")]);
    w.join("d", &["r"]);
    w.join("e", &["r"]);
    w.cut("p1");
    assert_eq!(w.got("p0").len(), 0);
    w.cut("p2");
    w.cut("p3");
    assert_eq!(
        w.got("p0"),
        [online("d"), online("e"), offline("p1"), offline("p2"), offline("p3")],
        "the room is small again, and pending changes are sent too"
    );
    w.pass(secs(1));
    assert_eq!(w.got("p0").len(), 0);
}

#[test]
fn the_wait_grows_with_the_room() {
    for (members, wait) in [(51, 50), (400, 100), (1000, 250), (1500, 250)] {
        let mut w = World::new(Config { max_connections: 2000, ..Config::default() });
        crowd(&mut w, members - 1);
        w.join("a", &["r"]);
        w.pass(millis(wait - 1));
        assert_eq!(w.got("p0").len(), 0, "{members}");
        w.pass(millis(1));
        assert_eq!(w.got("p0"), [online("a")], "{members}");
    }
}

#[test]
fn a_peer_that_joins_and_leaves_in_between_is_not_announced() {
    let mut w = World::open();
    crowd(&mut w, 60);
    w.join("a", &["r"]);
    w.cut("a");
    w.cut("p1");
    w.pass(secs(1));
    assert_eq!(w.got("p0"), [offline("p1")]);
    w.connect("b");
    w.auth("b", &["r"]);
    assert_eq!(w.got("b").len(), 1 + 59);
    w.cut("p2");
    w.cut("b");
    w.pass(secs(1));
    assert_eq!(w.got("p0"), [offline("p2")]);
}

#[test]
fn a_message_does_not_arrive_before_its_sender_is_announced() {
    let mut w = World::open();
    crowd(&mut w, 60);
    w.join("a", &["r"]);
    w.send("a", r#"{"type":"message","to":"p0"}"#);
    let got = w.got("p0");
    assert_eq!((got.len(), &got[0]), (2, &online("a")));
    w.send("a", r#"{"type":"presence","probe":true,"to":"p1"}"#);
    assert_eq!(w.got("p1")[0], online("a"));
    w.send("p2", r#"{"type":"message","to":"p1"}"#);
    assert_eq!((w.got("p1").len(), w.got("p2").len()), (1, 0), "a known peer is not announced again");
    w.pass(secs(1));
    assert_eq!((w.got("p0").len(), w.got("p1").len(), w.got("p2")), (0, 0, vec![online("a")]));
}

#[test]
fn several_presences_share_a_frame_of_bounded_size() {
    let mut w = World::open();
    for n in 0..1000 {
        w.connect(&format!("p{n}"));
        w.auth(&format!("p{n}"), &["r"]);
    }
    let large = "x".repeat(4000);
    w.connect("large");
    w.send("large", &format!(r#"{{"type":"auth","user":"large","rooms":["r"],"data":{{"x":"{large}"}}}}"#));
    w.pass(secs(1));
    w.forget();
    w.connect("b");
    auth_batches(&mut w, "b", &["r"]);
    let got = w.got("b");
    assert!(got[0].contains("welcome"));
    assert!(got.len() < 12, "{} frames", got.len());
    assert!(got.iter().all(|text| text.len() <= 16 << 10));
    let all: Vec<Value> = got[1..].iter().flat_map(|text| unpacked(text)).collect();
    let ids: Vec<&str> = all.iter().filter_map(|one| one["data"]["id"].as_str()).collect();
    let want: Vec<String> = (0..1000).map(|n| format!("#p{n}")).chain(["#large".into()]).collect();
    assert_eq!(ids, want, "in the order in which they joined");
    w.cut("p7");
    w.pass(secs(1));
    assert_eq!(w.got("b"), [offline("p7")], "one goes by itself");
    w.cut("p8");
    w.cut("p9");
    w.pass(secs(1));
    let batch = format!(r#"{{"type":"presence:batch","data":[{},{}]}}"#, offline("p8"), offline("p9"));
    assert_eq!(w.got("b"), [batch]);
    assert_eq!(w.got("p0").len(), 4, "others get each by itself");
}

#[test]
fn shared_frames_are_built_once_and_correct() {
    let mut w = World::open();
    for n in 0..300 {
        w.connect(&format!("p{n}"));
        w.auth(&format!("p{n}"), &["r"]);
    }
    w.pass(secs(1));
    let told = |w: &mut World, name: &str| {
        w.connect(name);
        auth_batches(w, name, &["r"]);
        let got = w.got(name);
        got.iter().flat_map(|text| unpacked(text)).skip(1).collect::<Vec<_>>()
    };
    let of = |told: &[Value], id: &str| told.iter().find(|one| one["data"]["id"] == id).cloned();
    // The last page contains the readers themselves.
    assert_eq!((told(&mut w, "a").len(), w.hub.rooms.pages.len()), (300, 2));
    assert_eq!((told(&mut w, "b").len(), w.hub.rooms.pages.len()), (301, 2));
    w.send("p7", r#"{"type":"presence","to":"nobody","data":{"new":1}}"#);
    w.cut("p200");
    assert_eq!(w.hub.rooms.pages.len(), 0);
    let c = told(&mut w, "c");
    assert_eq!((c.len(), of(&c, "#p200")), (301, None));
    assert_eq!(of(&c, "#p7").expect("it is there")["data"]["new"], 1);
    // A reader in the middle of a page is told the rest of that page, and what has changed after it.
    w.connect("d");
    w.stop_reading("d");
    auth_batches(&mut w, "d", &["r"]);
    w.read_some("d", 1);
    w.read_some("d", 1);
    w.cut("p8");
    w.send("p9", r#"{"type":"presence","data":{"new":2}}"#);
    w.pass(secs(1));
    w.read("d");
    let d: Vec<Value> = w.got("d").iter().flat_map(|text| unpacked(text)).skip(1).collect();
    let of =
        |id: &str| d.iter().filter(|one| one["data"]["id"] == id).map(|one| &one["data"]).collect::<Vec<_>>();
    assert!(of("#p8").iter().map(|data| &data["online"]).eq([true, false]));
    assert_eq!(of("#p9").last().expect("it is there")["new"], 2);
    w.pass(secs(11));
    w.input(Input::Timeout);
    assert_eq!(w.hub.rooms.pages.len(), 0, "the rush is over");
}

#[test]
fn a_large_room_may_announce_only_its_size() {
    let mut w = World::new(Config { count_above: Some(4), ..Config::default() });
    for name in ["a", "b", "c", "d"] {
        w.join(name, &["r"]);
    }
    w.forget();
    let count = |n: usize| {
        format!(r#"{{"type":"event","name":"room:count","subtype":"room:count","room":"r","count":{n}}}"#)
    };
    w.connect("e");
    w.auth("e", &["r"]);
    assert_eq!(w.got("a"), [online("e"), count(5)], "the one that was too many");
    assert_eq!(w.got("e").len(), 1 + 4 + 1);
    w.connect("f");
    w.auth("f", &["r"]);
    assert_eq!((w.got("a"), w.got("f")[1..].to_vec()), (vec![count(6)], vec![count(6)]));
    // Messages go to everyone, presences only to those who are told about their sender.
    w.send("f", r#"{"type":"presence","data":{"x":1}}"#);
    w.send("f", r#"{"type":"message"}"#);
    w.send("b", r#"{"type":"presence"}"#);
    assert_eq!((w.got("a").len(), w.got("f").len()), (2, 0));
    w.cut("b");
    assert_eq!((w.got("a"), w.got("f")), (vec![offline("b"), count(5)], vec![count(5)]));
    w.send("f", r#"{"type":"leave","room":"r"}"#);
    assert_eq!((w.got("a"), w.got("f").len()), (vec![count(4)], 1));
    w.send("f", r#"{"type":"join","room":"r"}"#);
    w.cut("c");
    w.forget();
    w.cut("d");
    let told =
        r##"{"type":"presence","from":"f|#f","data":{"id":"#f","user":"f","name":"f","online":true,"x":1}}"##;
    assert_eq!(w.got("a"), [offline("d"), told.to_owned()], "few enough again");
    assert_eq!(w.got("f"), [online("a"), online("e")]);
}

#[test]
fn the_log_of_a_room_does_not_grow_with_past_members() {
    for members in [2, 60, 500] {
        let mut w = World::open();
        crowd(&mut w, members);
        for name in ["p0", "p1"] {
            w.stop_reading(name);
        }
        for n in 0..3000 {
            let name = format!("q{n}");
            w.join(&name, &["r"]);
            if n % 7 == 0 {
                w.pass(millis(300));
            }
            w.cut(&name);
        }
        let (log, past) = w.hub.rooms.kept("r");
        assert!(log < 3 * members + 40 && past < 2 * members + 40, "{members}: {log} {past}");
        w.pass(secs(1));
        w.read("p0");
        let got = w.got("p0");
        assert!(got.is_empty(), "no present member was announced again: {got:?}");
        w.read("p1");
        for n in 0..members {
            w.cut(&format!("p{n}"));
        }
        assert_eq!(w.hub.rooms.kept("r"), (0, 0));
    }
}

/// A peer in the model.
#[derive(Default)]
struct Model {
    rooms: BTreeSet<usize>,
    /// The last data it announced.
    told: Option<u64>,
    /// Its view, from what it received: who is online, with what data.
    roster: HashMap<String, Option<u64>>,
    counts: HashMap<String, u64>,
}

/// The parameters of a walk.
struct Town {
    /// The maximum number of peers that are online.
    most: usize,
    rooms: usize,
    /// The number of users; each has as many sessions as chance gives it.
    users: usize,
    /// How many of ten peers accept batches.
    batches: usize,
    count_above: Option<usize>,
}

const TOWN: Town = Town { most: 130, rooms: 2, users: 60, batches: 5, count_above: None };
const VILLAGE: Town = Town { most: 12, rooms: 3, users: 6, batches: 5, count_above: None };
/// Whether all members get the same frames.
const HALL: Town = Town { most: 150, rooms: 1, users: usize::MAX, batches: 9, count_above: None };

/// Arrivals, departures, messages and pauses of many peers, some of which read slowly. Every frame is checked as it
/// arrives, and rosters are compared with the model whenever all queues are empty.
fn walk(seed: u64, steps: usize, town: &Town) {
    let Town { most, rooms, users, batches, count_above } = *town;
    let config = Config {
        count_above,
        rate: 1e9,
        burst: 1e9,
        queue_limit: 20_000,
        slow_after: secs(3600),
        ..Config::default()
    };
    let (mut w, mut dice, mut came) = (World::new(config), Dice(seed), 0);
    let mut peers: BTreeMap<String, Model> = BTreeMap::new();
    let user = |name: &str| name.split('.').next().expect("a split has a first part").to_owned();
    for at in 0..steps {
        let any = |dice: &mut Dice, peers: &BTreeMap<String, Model>| {
            peers.keys().nth(dice.roll(peers.len().max(1))).cloned()
        };
        let room = dice.roll(rooms);
        match dice.roll(20) {
            // Waves: all arrive, then most leave.
            0..=6 if peers.len() < most && (at / 400) % 3 != 2 => {
                came += 1;
                let name = format!("u{}.{came}", came % users);
                w.connect(&name);
                if dice.roll(3) == 0 {
                    w.stop_reading(&name);
                }
                let accept = if dice.roll(10) < batches { BATCHES } else { "" };
                let auth =
                    format!(r#"{{"type":"auth",{accept}"user":"{}","rooms":["r{room}"]}}"#, user(&name));
                w.send(&name, &auth);
                peers.insert(name, Model { rooms: [room].into(), ..Model::default() });
            }
            0..=9 => {
                if let Some(name) =
                    any(&mut dice, &peers).filter(|_| dice.roll(3) == 0 || (at / 400) % 3 == 2)
                {
                    check(&mut w, &name, &mut peers);
                    if dice.roll(2) == 0 {
                        w.send(&name, r#"{"type":"close"}"#);
                    }
                    w.cut(&name);
                    peers.remove(&name);
                }
            }
            10 | 11 => {
                if let Some(name) = any(&mut dice, &peers) {
                    w.send(&name, &format!(r#"{{"type":"join","room":"r{room}"}}"#));
                    if w.end(&name).unread.is_empty() {
                        peers.get_mut(&name).expect("there").rooms.insert(room);
                    }
                }
            }
            12 | 13 => {
                if let Some(name) = any(&mut dice, &peers) {
                    w.send(&name, &format!(r#"{{"type":"leave","room":"r{room}"}}"#));
                    if w.end(&name).unread.is_empty() {
                        peers.get_mut(&name).expect("there").rooms.remove(&room);
                    }
                }
            }
            14 => {
                if let Some(name) = any(&mut dice, &peers) {
                    w.send(&name, &format!(r#"{{"type":"presence","data":{{"told":{at}}}}}"#));
                    if w.end(&name).unread.is_empty() {
                        peers.get_mut(&name).expect("there").told = Some(at as u64);
                    }
                }
            }
            15 => {
                if let (Some(name), Some(to)) = (any(&mut dice, &peers), any(&mut dice, &peers)) {
                    let (to, size) = match dice.roll(2) {
                        0 => (format!(r#""to":"{}","#, user(&to)), dice.roll(900)),
                        _ => (String::new(), dice.roll(20)),
                    };
                    w.send(&name, &format!(r#"{{"type":"message",{to}"x":"{}"}}"#, "x".repeat(size)));
                }
            }
            16 | 17 => {
                if let Some(name) = any(&mut dice, &peers) {
                    w.read_some(&name, 1 + dice.roll(3000));
                }
            }
            _ => w.pass(millis(dice.roll(120) as u64)),
        }
        // What held peers had yet to send does not matter here.
        peers.keys().for_each(|name| w.end(name).unread.clear());
        if at % 500 == 499 {
            w.pass(secs(1));
            let names: Vec<String> = peers.keys().cloned().collect();
            names.iter().for_each(|name| w.read(name));
            names.iter().for_each(|name| w.read(name));
            assert_eq!(w.hub.stats().closed_slow, 0);
            names.iter().for_each(|name| check(&mut w, name, &mut peers));
            compare(&peers, count_above, &user);
            for name in names.iter().filter(|_| dice.roll(3) == 0) {
                w.stop_reading(name);
            }
        }
    }
    let names: Vec<String> = peers.keys().cloned().collect();
    names.iter().for_each(|name| w.cut(name));
    let stats = w.hub.stats();
    assert_eq!((stats.connections, stats.peers, stats.rooms, stats.queued), (0, 0, 0, 0));
    assert!(w.hub.rooms.is_clean(), "nothing is kept");
}

/// Applies what a peer received: nobody goes offline who was not online, and nobody sends before being announced.
fn check(w: &mut World, name: &str, peers: &mut BTreeMap<String, Model>) {
    let counts_only = w.hub.config.count_above.is_some();
    let model = peers.get_mut(name).expect("there");
    for message in w.got(name).iter().flat_map(|text| unpacked(text)) {
        let from =
            message["from"].as_str().unwrap_or_default().split('|').nth(1).unwrap_or_default().to_owned();
        match message["type"].as_str() {
            Some("presence") if message["data"]["online"] == true => {
                assert_ne!(from, format!("#{name}"), "no peer is announced to itself");
                model.roster.insert(from, message["data"]["told"].as_u64());
            }
            Some("presence") => {
                assert!(model.roster.remove(&from).is_some(), "{from} was not announced to {name}")
            }
            Some("message") => {
                assert!(
                    counts_only || model.roster.contains_key(&from),
                    "{from} sends to {name} before it is announced"
                );
            }
            Some("event") if message["name"] == "room:count" => {
                let room = message["room"].as_str().expect("a name").to_owned();
                model.counts.insert(room, message["count"].as_u64().expect("a number"));
            }
            _ => {}
        }
    }
}

fn compare(peers: &BTreeMap<String, Model>, count_above: Option<usize>, user: &dyn Fn(&str) -> String) {
    for (name, model) in peers {
        let mut want = HashMap::new();
        for (other, theirs) in peers.iter().filter(|(other, _)| *other != name) {
            if user(name) == user(other) || !model.rooms.is_disjoint(&theirs.rooms) {
                want.insert(format!("#{other}"), theirs.told);
            }
        }
        match count_above {
            None => assert_eq!(model.roster, want, "the roster of {name}"),
            Some(above) => {
                for (id, told) in &model.roster {
                    assert_eq!(want.get(id), Some(told), "{id} in the roster of {name}");
                }
                for room in &model.rooms {
                    let size = peers.values().filter(|peer| peer.rooms.contains(room)).count();
                    if size > above {
                        assert_eq!(
                            model.counts.get(&format!("r{room}")),
                            Some(&(size as u64)),
                            "{name} in r{room}"
                        );
                    }
                }
                let small = |room: &&usize| {
                    peers.values().filter(|peer| peer.rooms.contains(room)).count() <= above - above / 4
                };
                let all_small = model.rooms.iter().all(|room| small(&room));
                assert!(
                    !all_small || model.roster.len() == want.len(),
                    "{name} knows all members of small rooms"
                );
            }
        }
    }
}

#[test]
fn rosters_always_equal_a_simple_model() {
    walk(1, 2000, &TOWN);
    (2..=7).for_each(|seed| walk(seed, 3000, &VILLAGE));
    walk(8, 2000, &HALL);
}

#[test]
fn rosters_are_right_when_rooms_announce_only_their_size() {
    walk(21, 1500, &Town { count_above: Some(40), ..TOWN });
    (22..=25).for_each(|seed| walk(seed, 3000, &Town { count_above: Some(4), ..VILLAGE }));
    walk(26, 1500, &Town { count_above: Some(80), ..HALL });
}
