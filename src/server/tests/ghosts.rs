//! Events in any order: in the end rosters are correct, and nothing panics or grows.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::proto::{Message, Peer};

#[derive(Clone, Debug)]
enum Step {
    /// A peer that is offline connects; one that is online leaves, with its socket cut or with `close`.
    Come(usize, Vec<usize>),
    Go(usize, bool),
    Join(usize, usize),
    Leave(usize, usize),
    /// A presence with data.
    Tell(usize),
    /// A message large enough to fill queues.
    Shout(usize),
    /// A peer reads this many bytes of its queue.
    Read(usize, usize),
    Wait(u64),
}

const PEERS: usize = 5;
const ROOMS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    let (peer, room) = (0..PEERS, 0..ROOMS);
    prop_oneof![
        3 => (peer.clone(), prop::collection::vec(room.clone(), 0..3)).prop_map(|(p, r)| Step::Come(p, r)),
        1 => (peer.clone(), any::<bool>()).prop_map(|(p, how)| Step::Go(p, how)),
        3 => (peer.clone(), room.clone()).prop_map(|(p, r)| Step::Join(p, r)),
        3 => (peer.clone(), room).prop_map(|(p, r)| Step::Leave(p, r)),
        1 => peer.clone().prop_map(Step::Tell),
        2 => peer.clone().prop_map(Step::Shout),
        3 => (peer, 1..3000usize).prop_map(|(p, n)| Step::Read(p, n)),
        1 => (0..300u64).prop_map(Step::Wait),
    ]
}

/// The roster of a client according to the presences it received, with the last data of each peer.
fn fold(roster: &mut BTreeMap<String, Option<i64>>, got: Vec<String>, own: &str) {
    for text in got {
        let message = Message::parse(&*text).expect("the hub writes messages");
        if message.kind().as_str() != "presence" {
            continue;
        }
        let peer: Peer = message.data().expect("the data of a presence is a peer");
        assert_ne!(peer.id, own, "no peer is announced to itself");
        assert_eq!(message.from().map(|from| from.id()), Some(&*peer.id));
        if peer.online {
            roster.insert(peer.id, peer.extra.get("told").and_then(|told| told.as_i64()));
        } else {
            assert!(roster.remove(&peer.id).is_some(), "{own} was not told that {} was online", peer.id);
        }
    }
}

/// Peers here share a user in pairs, so users' own rooms count as well.
fn run(steps: Vec<Step>, queue_limit: usize, slow_after: Duration) {
    let mut w = World::new(Config { queue_limit, slow_after, rate: 1e9, burst: 1e9, ..Config::default() });
    let user = |p: usize| format!("u{}", p / 2);
    // By peer: how often it connected, its rooms while it is online, and the last data it announced.
    let mut times = [0usize; PEERS];
    let mut there: [Option<(BTreeSet<usize>, Option<i64>)>; PEERS] = Default::default();
    let mut rosters: [BTreeMap<String, Option<i64>>; PEERS] = Default::default();
    let name = |p: usize, times: &[usize; PEERS]| format!("{}.{p}.{}", user(p), times[p]);
    for (at, step) in steps.into_iter().enumerate() {
        match step {
            Step::Come(p, rooms) if there[p].is_none() => {
                times[p] += 1;
                let name = name(p, &times);
                w.connect(&name);
                w.stop_reading(&name);
                let named: Vec<String> = rooms.iter().map(|room| format!("r{room}")).collect();
                w.auth(&name, &named.iter().map(|room| &**room).collect::<Vec<_>>());
                there[p] = Some((rooms.into_iter().collect(), None));
                rosters[p].clear();
            }
            Step::Go(p, politely) if there[p].take().is_some() => {
                if politely {
                    w.send(&name(p, &times), r#"{"type":"close"}"#);
                }
                w.cut(&name(p, &times));
            }
            Step::Join(p, room) => {
                if let Some((rooms, _)) = &mut there[p] {
                    rooms.insert(room);
                    w.send(&name(p, &times), &format!(r#"{{"type":"join","room":"r{room}"}}"#));
                }
            }
            Step::Leave(p, room) => {
                if let Some((rooms, _)) = &mut there[p] {
                    rooms.remove(&room);
                    w.send(&name(p, &times), &format!(r#"{{"type":"leave","room":"r{room}"}}"#));
                }
            }
            Step::Tell(p) => {
                if let Some((_, told)) = &mut there[p] {
                    *told = Some(at as i64);
                    let text = format!(r#"{{"type":"presence","data":{{"told":{at}}}}}"#);
                    w.send(&name(p, &times), &text);
                }
            }
            Step::Shout(p) if there[p].is_some() => {
                w.send(&name(p, &times), &format!(r#"{{"type":"message","x":"{}"}}"#, "x".repeat(700)));
            }
            Step::Read(p, bytes) if there[p].is_some() => _ = w.read_some(&name(p, &times), bytes),
            Step::Wait(ms) => w.pass(millis(ms)),
            _ => {}
        }
        // Peers that were too slow are gone, from the hub and from the model.
        for (p, state) in there.iter_mut().enumerate().filter(|(_, state)| state.is_some()) {
            if w.hub.rooms.session(&format!("#{}", name(p, &times))).is_none() {
                *state = None;
                w.cut(&name(p, &times));
            }
        }
        // Each adds one more frame to a queue that accepts something.
        let bound = queue_limit + (64 << 10) + 2000 + PEERS * 1000;
        assert!(w.hub.stats().queued <= PEERS * bound);
    }
    let names: Vec<String> = (0..PEERS).filter(|p| there[*p].is_some()).map(|p| name(p, &times)).collect();
    // When one reads, held peers can send; a peer that had stopped reading may then be closed because of it.
    (0..PEERS).for_each(|_| names.iter().for_each(|name| w.read(name)));
    for (p, state) in there.iter_mut().enumerate().filter(|(_, state)| state.is_some()) {
        if w.close(&name(p, &times)).is_some() {
            *state = None;
            w.cut(&name(p, &times));
        }
    }
    for (p, mine) in there.iter().enumerate() {
        let Some((mine, _)) = mine else { continue };
        let own = name(p, &times);
        assert!(w.end(&own).unread.is_empty(), "nobody is held forever");
        let got = w.got(&own);
        fold(&mut rosters[p], got, &format!("#{own}"));
        let mut want = BTreeMap::new();
        for (q, theirs) in there.iter().enumerate().filter(|(q, _)| *q != p) {
            let Some((theirs, told)) = theirs else { continue };
            if user(p) == user(q) || !mine.is_disjoint(theirs) {
                want.insert(format!("#{}", name(q, &times)), *told);
            }
        }
        assert_eq!(rosters[p], want, "the roster of {own}");
    }
    for (p, _) in there.iter().enumerate().filter(|(_, state)| state.is_some()) {
        w.cut(&name(p, &times));
    }
    let stats = w.hub.stats();
    assert_eq!((stats.connections, stats.peers, stats.rooms, stats.queued), (0, 0, 0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rosters_have_no_ghost_and_miss_nobody(steps in prop::collection::vec(step(), 1..120)) {
        run(steps, 1 << 20, secs(1));
    }

    #[test]
    fn no_ghost_when_queues_overflow(steps in prop::collection::vec(step(), 1..120)) {
        run(steps, 2000, secs(3600));
    }

    #[test]
    fn no_ghost_when_slow_peers_are_closed(steps in prop::collection::vec(step(), 1..120)) {
        run(steps, 2000, millis(500));
    }

    #[test]
    fn no_input_makes_the_hub_panic_or_grow(
        frames in prop::collection::vec((0..3usize, frame()), 1..60)
    ) {
        let limit = 20_000;
        let mut w = World::new(Config { queue_limit: limit, ..Config::default() });
        for name in ["a", "b", "c"] {
            w.connect(name);
            w.stop_reading(name);
        }
        w.auth("a", &["r"]);
        w.auth("b", &["r"]);
        for (who, text) in frames {
            w.send(["a", "b", "c"][who], &text);
            w.input(Input::Inject { text: &text });
            assert!(w.hub.stats().queued <= 3 * (limit + (64 << 10) + 2000));
        }
        for name in ["a", "b", "c"] {
            w.read(name);
            let got = w.got(name);
            assert!(got.iter().all(|text| Message::parse(&**text).is_ok()), "{got:?}");
            w.cut(name);
        }
        assert_eq!((w.hub.stats().peers, w.hub.stats().rooms, w.hub.stats().queued), (0, 0, 0));
    }
}

/// Noise, almost valid frames, and valid frames.
fn frame() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec![
        "auth", "join", "leave", "message", "presence", "command", "event", "close", "welcome", "x",
    ]);
    let member = prop::sample::select(vec![
        "to",
        "from",
        "id",
        "user",
        "name",
        "token",
        "rooms",
        "room",
        "data",
        "probe",
        "receipt",
        "x",
        "fr\\u006fm",
    ]);
    let value = prop::sample::select(vec![
        "null",
        "true",
        "7",
        "1e999",
        "\"\"",
        "\"a\"",
        "\"r\"",
        "\"#b\"",
        "\"a|#a\"",
        "\"|\"",
        "[]",
        "[\"a\",\"r\",null]",
        "{}",
        "{\"name\":\"n\",\"id\":7,\"x\":[1.0]}",
        "\"\\ud800\"",
        "[[[[]]]]",
    ]);
    let members = prop::collection::vec((member, value), 0..6);
    let made = (kind, members).prop_map(|(kind, members)| {
        let members: String = members.iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect();
        format!("{{\"type\":\"{kind}\"{members}}}")
    });
    prop_oneof![
        6 => made.clone(),
        1 => ".{0,60}",
        1 => "[\\[\\]{}\",:a0\\\\ ]{0,60}",
        1 => (made, any::<prop::sample::Index>()).prop_map(|(text, cut)| {
            let end = cut.index(text.len() + 1);
            text.chars().take(end).collect()
        }),
    ]
}
