//! Everything that is stored is bounded, and exceeding a limit does no harm.

use super::bench::{Bench, CANDIDATE, HIGH, LOW, OFFER, Stage, id};
use crate::call::body::Candidate;
use crate::call::{CallError, Config, Input, MAX_NAME, State};

const NOTHING: &[&str] = &[];

#[test]
fn more_calls_than_the_maximum_are_answered_busy() {
    let mut b = Bench::with(Config { max_calls: 3, ..Config::default() }, Stage::Incoming);
    b.calls.invite(HIGH, "h", "{}", b.now).expect("two of three");
    b.drain();
    assert_eq!(b.hear_id(HIGH, "held", "call:init", "{}"), NOTHING, "a held one is one of three");
    assert_eq!(b.hear_id("c|1", "c", "call:init", "{}"), [r#"c|1 < reject c {"reason":"busy"}"#]);
    assert_eq!(b.calls.invite("c|1", "c", "{}", b.now), Err(CallError::Full(3)));
    assert_eq!(b.calls.calls.len(), 3);
    // Glare with no room for another call.
    let mut b = Bench::with(Config { max_calls: 1, ..Config::default() }, Stage::Idle);
    b.calls.invite(HIGH, "h", "{}", b.now).expect("one of one");
    b.drain();
    assert_eq!(b.hear_id(HIGH, "held", "call:init", "{}"), [r#"z|3 < reject held {"reason":"busy"}"#]);
    assert_eq!(b.calls.state(id(1)), Some(State::Ringing));
}

#[test]
fn early_candidates_over_the_limit_are_dropped() {
    let mut b = Bench::with(Config { max_early_candidates: 2, ..Config::default() }, Stage::CalleeFresh);
    for _ in 0..1000 {
        assert_eq!(b.hear(LOW, "call:candidate", CANDIDATE), NOTHING);
    }
    assert_eq!(b.hear(LOW, "call:offer", OFFER).len(), 3);

    let mut b = Bench::with(Config { max_early_candidates: 2, ..Config::default() }, Stage::CallerFresh);
    for _ in 0..2 {
        b.calls.local_candidate(id(1), Candidate::new("c"), b.now).expect("room");
    }
    assert_eq!(
        b.calls.local_candidate(id(1), Candidate::new("c"), b.now),
        Err(CallError::TooManyCandidates(2))
    );
    b.calls.local_offer(id(1), "O", b.now).expect("caller");
    assert_eq!(b.drain().len(), 3);
}

#[test]
fn bodies_over_their_limits_are_refused() {
    let config = Config { max_candidate: 100, max_description: 100, max_init: 100, ..Config::default() };
    let long = "x".repeat(100);
    for (stage, subtype, data) in [
        (Stage::CalleeFresh, "call:offer", format!(r#"{{"type":"offer","sdp":"{long}"}}"#)),
        (Stage::CallerOffered, "call:answer", format!(r#"{{"type":"answer","sdp":"{long}"}}"#)),
    ] {
        let mut b = Bench::with(config.clone(), stage);
        assert_eq!(
            b.hear(LOW, subtype, &data).last().map(String::as_str),
            Some("ended 1 b|2 bad-description")
        );
    }
    let mut b = Bench::with(config.clone(), Stage::CalleeFresh);
    assert_eq!(b.hear(LOW, "call:candidate", &format!(r#"{{"candidate":"{long}"}}"#)), NOTHING);
    assert_eq!(b.calls.unread_candidates(), 1);
    let mut b = Bench::with(config.clone(), Stage::Idle);
    let data = format!(r#"{{"x":"{long}"}}"#);
    assert_eq!(b.hear(LOW, "call:init", &data), [r#"b|2 < reject w {"reason":"bad-description"}"#]);
    let large = |error| matches!(error, Err(CallError::TooLarge { limit: 100, .. }));
    assert!(large(b.calls.invite(LOW, "w", &data, b.now).map(drop)));
    let mut b = Bench::with(config.clone(), Stage::CallerFresh);
    assert!(large(b.calls.local_offer(id(1), &long, b.now)));
    assert!(large(b.calls.local_candidate(id(1), Candidate::new(long.as_str()), b.now)));
    let mut b = Bench::with(config, Stage::CalleeAsked);
    assert!(large(b.calls.local_answer(id(1), &long, b.now)));
    assert_eq!(b.drain(), NOTHING);
    b.calls.local_answer(id(1), "A", b.now).expect("nothing has changed");
}

#[test]
fn names_over_the_limit_are_nobodys() {
    let long = "x".repeat(MAX_NAME + 1);
    let mut b = Bench::at(Stage::Idle);
    assert_eq!(b.hear(&long, "call:init", "{}"), NOTHING);
    assert_eq!(b.hear("", "call:init", "{}"), NOTHING);
    assert_eq!(b.hear_id(LOW, &long, "call:init", "{}"), [r#"b|2 < reject - {"reason":"bad-description"}"#]);
    assert_eq!(b.hear_id(LOW, &long, "call:offer", "{}"), [r#"b|2 < hangup - {"reason":"no-such-call"}"#]);
    assert!(matches!(b.calls.invite(&long, "w", "{}", b.now), Err(CallError::BadName(_))));
    assert!(matches!(b.calls.invite(LOW, &long, "{}", b.now), Err(CallError::BadName(_))));
    assert_eq!(b.calls.calls.len(), 0);
}

#[test]
fn a_duration_without_end_never_ends() {
    let config = Config { ring_timeout: std::time::Duration::MAX, ..Config::default() };
    let mut b = Bench::with(config, Stage::Ringing);
    assert_eq!(b.wakes_in(), None);
    b.input(Input::SignallingLost);
    assert_eq!(b.calls.calls.len(), 0);
}
