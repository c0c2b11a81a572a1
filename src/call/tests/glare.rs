//! Both ends calling each other, and names with many devices, seen from one end.

use super::bench::{Bench, CANDIDATE, HIGH, LOW, OFFER, Stage, id};
use crate::call::{Config, Input};

const NOTHING: &[&str] = &[];

#[test]
fn in_a_glare_the_greater_address_takes_the_others_call() {
    let mut b = Bench::at(Stage::Ringing); // b|2 is smaller than m|1
    assert_eq!(
        b.hear_id(LOW, "theirs", "call:init", r#"{"t":1}"#),
        ["ended 1 b|2 replaced", r#"incoming 2 b|2 {"t":1} for 1"#]
    );
    // The published browser client still answers our init, and that must not end its own call.
    assert_eq!(b.hear_plain(LOW, "call:reject", r#"{"reason":"busy"}"#), NOTHING);
    b.calls.accept(id(2), b.now).expect("incoming");
    assert_eq!(b.drain(), ["b|2 < accept theirs {}", "state 2 Connecting"]);
    assert_eq!(b.hear_plain(LOW, "call:reject", r#"{"reason":"busy"}"#), NOTHING);
}

/// Ringing at z|3, whose init we hold.
fn holding() -> Bench {
    let mut b = Bench::at(Stage::Idle);
    b.calls.invite(HIGH, "w", "{}", b.now).expect("idle");
    b.drain();
    b.pass(1);
    assert_eq!(b.hear_id(HIGH, "theirs", "call:init", r#"{"t":1}"#), NOTHING);
    assert_eq!(b.calls.iter().count(), 1, "the held one is nobody's business");
    b
}

#[test]
fn in_a_glare_the_smaller_address_holds_the_others_call() {
    let busy = r#"{"reason":"busy"}"#;
    // Its own call is accepted: the held one is silently dropped.
    let mut b = holding();
    assert_eq!(b.hear(HIGH, "call:accept", "{}"), ["state 1 Connecting", "accepted 1"]);
    assert_eq!(b.hear_id(HIGH, "theirs", "call:hangup", "{}"), NOTHING);

    // Its own call is answered busy: it takes the held one, and what arrived for it in the meantime.
    for plain in [true, false] {
        let mut b = holding();
        b.hear_id(HIGH, "theirs", "call:candidate", CANDIDATE);
        let said =
            if plain { b.hear_plain(HIGH, "call:reject", busy) } else { b.hear(HIGH, "call:reject", busy) };
        assert_eq!(said, ["ended 1 z|3 busy", r#"incoming 2 z|3 {"t":1} for 1"#]);
        b.calls.accept(id(2), b.now).expect("incoming");
        assert_eq!(b.drain(), ["z|3 < accept theirs {}", "state 2 Connecting"]);
        assert_eq!(b.hear_id(HIGH, "theirs", "call:offer", OFFER), ["offer 2 O", "candidate 2 candidate:c"]);
    }

    // The 30 s of the held call run from its arrival, one second after ours.
    let mut b = holding();
    b.hear(HIGH, "call:reject", busy);
    assert_eq!(b.wakes_in(), Some(30));
    b.pass(5);
    assert_eq!(b.wakes_in(), Some(25));
}

#[test]
fn a_held_call_goes_with_the_one_that_holds_it() {
    let busy = [r#"z|3 < hangup w {"reason":"x"}"#, "ended 1 z|3 x", r#"z|3 < reject theirs {"reason":"x"}"#];
    let mut b = holding();
    b.calls.hangup(id(1), "x", b.now).expect("ringing");
    assert_eq!(b.drain(), busy);

    let mut b = holding();
    assert_eq!(b.pass(29), busy.map(|line| line.replace("\"x\"", "\"timeout\"").replace(" x", " timeout")));

    let mut b = holding();
    assert_eq!(b.hear(HIGH, "call:reject", r#"{"reason":"declined"}"#), ["ended 1 z|3 declined"]);
    assert_eq!(b.calls.calls.len(), 0);

    let mut b = holding();
    assert_eq!(b.hear(HIGH, "call:hangup", "{}"), ["ended 1 z|3 ended"]);
    assert_eq!(b.calls.calls.len(), 0);

    let mut b = holding();
    assert_eq!(b.input(Input::PeerOffline { address: HIGH }), ["ended 1 z|3 offline"]);
    assert_eq!(b.calls.calls.len(), 0);

    // The remote withdraws its call and calls again.
    let mut b = holding();
    assert_eq!(b.hear_id(HIGH, "theirs", "call:hangup", "{}"), NOTHING);
    assert_eq!(b.calls.calls.len(), 1);
    let mut b = holding();
    assert_eq!(b.hear_id(HIGH, "anew", "call:init", "{}"), NOTHING);
    assert_eq!(b.calls.calls.len(), 2);
    assert_eq!(b.hear(HIGH, "call:reject", r#"{"reason":"busy"}"#).len(), 2);
    b.calls.accept(id(3), b.now).expect("the newer");
    assert_eq!(b.drain()[0], "z|3 < accept anew {}");
}

#[test]
fn a_glare_is_not_one_more_call() {
    for remote in [LOW, HIGH] {
        let mut b = Bench::new(Config { busy_limit: Some(1), ..Config::default() });
        b.calls.invite(remote, "w", "{}", b.now).expect("idle");
        b.drain();
        let said = b.hear_id(remote, "theirs", "call:init", "{}").join("\n");
        assert!(!said.contains("busy"), "{said}");
    }
}

#[test]
fn a_name_is_the_first_device_that_answers() {
    for name in ["b", "b|", "2", "|2"] {
        let mut b = Bench::at(Stage::Idle);
        b.calls.invite(name, "w", "{}", b.now).expect("idle");
        b.drain();
        assert_eq!(b.hear_plain(LOW, "call:accept", "{}"), ["state 1 Connecting", "accepted 1"], "{name}");
        assert_eq!(b.calls.remote(id(1)), Some(LOW));
        assert_eq!(b.hear("b|9", "call:accept", "{}"), [r#"b|9 < hangup w {"reason":"replaced"}"#]);
        assert_eq!(b.hear("b|9", "call:reject", r#"{"reason":"timeout"}"#), NOTHING);
        b.calls.media_connected(id(1), b.now).expect("connecting");
        b.drain();
        assert_eq!(b.hear("b|9", "call:accept", "{}"), [r#"b|9 < hangup w {"reason":"replaced"}"#]);
        assert_eq!(b.hear("b|9", "call:reject", r#"{"reason":"timeout"}"#), NOTHING);
        assert_eq!(b.calls.remote(id(1)), Some(LOW));
    }
    for stranger in ["c|2", "bb|2", "b"] {
        let mut b = Bench::at(Stage::Idle);
        b.calls.invite("b|", "w", "{}", b.now).expect("idle");
        b.drain();
        assert_eq!(b.hear_plain(stranger, "call:reject", "{}"), NOTHING, "{stranger}");
    }
    // One declines: the others stop ringing.
    let mut b = Bench::at(Stage::Idle);
    b.calls.invite("b", "w", "{}", b.now).expect("idle");
    b.drain();
    assert_eq!(
        b.hear(LOW, "call:reject", r#"{"reason":"declined"}"#),
        [r#"b < hangup w {"reason":"declined"}"#, "ended 1 b declined"]
    );
    // Glare is also detected through the name.
    let mut b = Bench::at(Stage::Idle);
    b.calls.invite("b", "w", "{}", b.now).expect("idle");
    b.drain();
    assert_eq!(b.hear_id(LOW, "v", "call:init", "{}"), ["ended 1 b replaced", "incoming 2 b|2 {} for 1"]);
    // A held call ends, whichever device it came from.
    let mut b = Bench::at(Stage::Idle);
    b.calls.invite("z", "w", "{}", b.now).expect("idle");
    b.drain();
    assert_eq!(b.hear_id(HIGH, "v", "call:init", "{}"), NOTHING);
    assert_eq!(b.hear("z|4", "call:accept", "{}"), ["state 1 Connecting", "accepted 1"]);
    assert_eq!(b.calls.calls.len(), 1);
    // The device that accepts may have had a call with us, which our init has replaced.
    let mut b = Bench::at(Stage::CalleeActive);
    b.calls.invite("b", "v", "{}", b.now).expect("another name");
    b.drain();
    assert_eq!(
        b.hear_id(LOW, "v", "call:accept", "{}"),
        ["ended 1 b|2 replaced", "state 2 Connecting", "accepted 2"]
    );
}
