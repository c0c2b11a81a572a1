//! An offer in the init: as caller and as callee, and with ends that know nothing of it.

use super::bench::{ANSWER, Bench, CANDIDATE, HIGH, LOW, OFFER, Stage, id};
use super::net::{App, Net};
use crate::call::body::Candidate;
use crate::call::{CallError, Config, Input, State};

const NOTHING: &[&str] = &[];
const WITH_OFFER: &str = r#"{"v":1,"offer":{"type":"offer","sdp":"O"}}"#;
const TAKEN: &str = r#"{"offer":true}"#;

/// Ringing at `remote`, with the offer in the init.
fn ringing(remote: &str) -> Bench {
    let mut b = Bench::at(Stage::Idle);
    b.calls.invite_with_offer(remote, "w", r#"{"v":1}"#, "O", b.now).expect("idle");
    assert_eq!(b.drain(), [format!("{remote} < init w {WITH_OFFER}")]);
    b
}

#[test]
fn an_answer_follows_the_accept_of_a_callee_that_took_the_offer() {
    let mut b = ringing(LOW);
    assert_eq!(b.hear(LOW, "call:accept", TAKEN), ["state 1 Connecting"]);
    assert!(b.calls.local_offer(id(1), "P", b.now).is_err(), "ours is pending");
    assert_eq!(b.hear(LOW, "call:candidate", CANDIDATE), NOTHING);
    assert_eq!(b.hear(LOW, "call:answer", ANSWER), ["answer 1 A", "candidate 1 candidate:c"]);
    b.calls.media_connected(id(1), b.now).expect("connecting");
    assert_eq!(b.drain(), ["state 1 Active"]);
    // From here on it is a call as any other.
    b.calls.local_offer(id(1), "P", b.now).expect("stable");
}

#[test]
fn a_callee_that_ignored_the_offer_gets_it_after_its_accept() {
    for accept in ["{}", "null", "7", r#"{"offer":false}"#, r#"{"offer":"yes"}"#, ""] {
        for plain in [true, false] {
            let mut b = ringing(LOW);
            let said = if plain {
                b.hear_plain(LOW, "call:accept", accept)
            } else {
                b.hear(LOW, "call:accept", accept)
            };
            assert_eq!(said, ["state 1 Connecting".into(), format!("b|2 < offer w {OFFER}")], "{accept}");
            assert_eq!(b.hear(LOW, "call:answer", ANSWER), ["answer 1 A"]);
        }
    }
}

#[test]
fn our_candidates_follow_the_init_and_are_sent_once() {
    let mut b = ringing(LOW);
    b.calls.local_candidate(id(1), Candidate::new("candidate:c"), b.now).expect("ringing");
    assert_eq!(b.drain(), [format!("b|2 < candidate w {CANDIDATE}")]);
    assert_eq!(b.hear(LOW, "call:accept", "{}").len(), 2);
}

#[test]
fn an_init_that_is_not_answered_ends_as_any_other() {
    let mut b = ringing(LOW);
    assert_eq!(b.hear(LOW, "call:answer", ANSWER), NOTHING, "not before the accept");
    assert_eq!(b.hear(LOW, "call:offer", OFFER), NOTHING);
    assert_eq!(b.pass(30), [r#"b|2 < hangup w {"reason":"timeout"}"#, "ended 1 b|2 timeout"]);
    for (subtype, code) in [("call:reject", "declined"), ("call:hangup", "ended")] {
        assert_eq!(ringing(LOW).hear(LOW, subtype, "{}"), [format!("ended 1 b|2 {code}")]);
    }
    for input in [Input::SignallingLost, Input::PeerOffline { address: LOW }] {
        assert_eq!(ringing(LOW).input(input), ["ended 1 b|2 offline"]);
    }
    // It took the offer, and then could not answer it.
    let mut b = ringing(LOW);
    b.hear(LOW, "call:accept", TAKEN);
    assert_eq!(b.hear(LOW, "call:hangup", r#"{"reason":"no-codec"}"#), ["ended 1 b|2 no-codec"]);
    // Nor did it answer in time.
    let mut b = ringing(LOW);
    b.hear(LOW, "call:accept", TAKEN);
    assert_eq!(b.pass(60), [r#"b|2 < hangup w {"reason":"timeout"}"#, "ended 1 b|2 timeout"]);
}

#[test]
fn a_name_of_many_devices_gets_the_offer_after_the_accept() {
    for name in ["b", "b|", "|2"] {
        let mut b = Bench::at(Stage::Idle);
        b.calls.invite_with_offer(name, "w", "{}", "O", b.now).expect("idle");
        assert_eq!(b.drain(), [format!("{name} < init w {{}}")]);
        b.calls.local_candidate(id(1), Candidate::new("candidate:c"), b.now).expect("held");
        assert_eq!(b.drain(), NOTHING, "our description has not left");
        assert_eq!(
            b.hear(LOW, "call:accept", TAKEN),
            [
                "state 1 Connecting".into(),
                format!("b|2 < offer w {OFFER}"),
                format!("b|2 < candidate w {CANDIDATE}")
            ]
        );
        assert_eq!(b.hear("b|9", "call:answer", ANSWER), NOTHING);
        assert_eq!(b.hear(LOW, "call:answer", ANSWER), ["answer 1 A"]);
    }
}

#[test]
fn what_cannot_carry_an_offer_changes_nothing() {
    let mut b = Bench::new(Config { max_description: 40, ..Config::default() });
    for data in ["[]", "7", r#"{"offer":1}"#] {
        assert_eq!(
            b.calls.invite_with_offer(LOW, "w", data, "O", b.now),
            Err(CallError::NotAnInit),
            "{data}"
        );
    }
    assert_eq!(b.calls.invite_with_offer(LOW, "w", "{", "O", b.now), Err(CallError::NotJson));
    let limit = CallError::TooLarge { what: "max_description", limit: 40 };
    assert_eq!(b.calls.invite_with_offer(LOW, "w", "{}", &"O".repeat(40), b.now), Err(limit));
    assert_eq!((b.drain().as_slice(), b.calls.iter().count()), ([].as_slice(), 0));
}

#[test]
fn a_callee_gets_the_offer_of_the_init_as_soon_as_it_accepts() {
    let mut b = Bench::at(Stage::Idle);
    assert_eq!(b.hear(LOW, "call:init", WITH_OFFER), [r#"incoming 1 b|2 {"v":1}"#]);
    assert_eq!(b.hear(LOW, "call:candidate", CANDIDATE), NOTHING, "kept until it accepts");
    b.calls.accept(id(1), b.now).expect("incoming");
    assert_eq!(
        b.drain(),
        ["b|2 < accept w {\"offer\":true}", "state 1 Connecting", "offer 1 O", "candidate 1 candidate:c"]
    );
    b.calls.local_answer(id(1), "A", b.now).expect("offered");
    assert_eq!(b.drain(), [format!("b|2 < answer w {ANSWER}")]);
}

#[test]
fn an_offer_that_follows_the_init_takes_the_place_of_its_own() {
    let newer = r#"{"type":"offer","sdp":"N"}"#;
    let mut b = Bench::at(Stage::Idle);
    b.hear(LOW, "call:init", WITH_OFFER);
    assert_eq!(b.hear(LOW, "call:offer", newer), NOTHING);
    b.calls.accept(id(1), b.now).expect("incoming");
    assert_eq!(b.drain()[2], "offer 1 N");
    // After the accept it is a newer offer as ever.
    assert_eq!(b.hear(LOW, "call:offer", OFFER), ["offer 1 O"]);
}

#[test]
fn what_is_no_offer_in_an_init_is_the_applications_own() {
    for offer in [r#""half price""#, "{}", r#"{"type":"answer","sdp":"A"}"#, r#"{"type":"offer","sdp":7}"#] {
        let mut b = Bench::at(Stage::Idle);
        let data = format!(r#"{{"offer":{offer}}}"#);
        assert_eq!(b.hear(LOW, "call:init", &data), [format!("incoming 1 b|2 {data}")]);
        b.calls.accept(id(1), b.now).expect("incoming");
        assert_eq!(b.drain(), ["b|2 < accept w {}", "state 1 Connecting"]);
    }
}

#[test]
fn an_offer_has_its_own_limit_within_an_init() {
    let config = Config { max_init: 40, max_description: 60, ..Config::default() };
    let init = |wants: usize, sdp: usize| {
        let (wants, sdp) = ("w".repeat(wants), "s".repeat(sdp));
        format!(r#"{{"v":"{wants}","offer":{{"type":"offer","sdp":"{sdp}"}}}}"#)
    };
    for (data, said) in [
        (init(32, 35), true),
        (init(33, 35), false), // what is wanted is too long
        (init(1, 36), false),  // so is the offer, which then counts as what is wanted
        (init(1, 5000), false),
    ] {
        let mut b = Bench::with(config.clone(), Stage::Idle);
        let heard = b.hear(LOW, "call:init", &data);
        assert_eq!(heard[0].starts_with("incoming"), said, "{heard:?}");
        assert_eq!(heard[0].contains("bad-description"), !said, "{heard:?}");
    }
}

#[test]
fn in_a_glare_offers_stay_with_their_inits() {
    // The greater address drops its own call with its offer, and takes the other's.
    let mut b = ringing(LOW);
    assert_eq!(
        b.hear_id(LOW, "theirs", "call:init", WITH_OFFER),
        ["ended 1 b|2 replaced", r#"incoming 2 b|2 {"v":1} for 1"#]
    );
    b.calls.accept(id(2), b.now).expect("incoming");
    assert_eq!(b.drain(), ["b|2 < accept theirs {\"offer\":true}", "state 2 Connecting", "offer 2 O"]);
    // The smaller one holds the other's, and takes it if its own is answered busy.
    for accepted in [true, false] {
        let mut b = ringing(HIGH);
        assert_eq!(b.hear_id(HIGH, "theirs", "call:init", WITH_OFFER), NOTHING);
        if accepted {
            assert_eq!(b.hear(HIGH, "call:accept", TAKEN), ["state 1 Connecting"]);
            assert_eq!(b.hear(HIGH, "call:answer", ANSWER), ["answer 1 A"]);
            continue;
        }
        b.hear(HIGH, "call:reject", r#"{"reason":"busy"}"#);
        b.calls.accept(id(2), b.now).expect("incoming");
        assert_eq!(b.drain()[2], "offer 2 O");
    }
}

#[test]
fn a_second_init_with_an_offer_replaces_the_first() {
    let mut b = Bench::at(Stage::CalleeActive);
    let newer = WITH_OFFER.replace("\"O\"", "\"N\"");
    assert_eq!(
        b.hear_id(LOW, "v", "call:init", &newer),
        ["ended 1 b|2 replaced", r#"incoming 2 b|2 {"v":1} for 1"#]
    );
    b.calls.accept(id(2), b.now).expect("incoming");
    assert_eq!(b.drain()[2], "offer 2 N");
}

#[test]
fn one_turn_connects_two_ends_that_know_it() {
    // 10 ms one way: init there, accept and answer back.
    for (at_once, millis) in [(true, 20), (false, 40)] {
        let mut net = Net::new();
        net.ours("a|1", App { accepts: true, connects: true, at_once });
        net.ours("b|2", App { accepts: true, connects: true, at_once });
        net.invite(0, 1);
        net.run(millis - 1);
        assert!(net.states(0)[0].0 != State::Active, "{at_once}: {:#?}", net.ends[0].log);
        net.run(1);
        assert_eq!(net.states(0)[0].0, State::Active, "{at_once}: {:#?}", net.ends[0].log);
        let sent = net.ends.iter().flat_map(|end| &end.log).filter(|line| line.contains(" < ")).count();
        assert_eq!(
            sent,
            if at_once { 6 } else { 7 },
            "{:#?}",
            net.ends.iter().map(|e| &e.log).collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_published_client_is_called_with_an_offer_as_ever() {
    let mut net = Net::new();
    net.ours("m|1", App { accepts: true, connects: true, at_once: true });
    net.published("p|1");
    net.invite(0, 1);
    net.run(1000);
    assert_eq!(net.states(0)[0].0, State::Active, "{:#?}", net.ends[0].log);
    assert!(net.published_at(1).active);
    let offers = net.ends[0].log.iter().filter(|line| line.contains("p|1 < offer")).count();
    assert_eq!(offers, 1, "{:#?}", net.ends[0].log);
}
