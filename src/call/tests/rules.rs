//! The tables of the module docs and the rules of protocol.md "Calls", seen from one end.

use std::time::Duration;

use super::bench::{ANSWER, Bench, CANDIDATE, END, HIGH, LOW, OFFER, STAGES, Stage, id};
use crate::call::body::Candidate;
use crate::call::{CallError, Config, Input, State};

const NOTHING: &[&str] = &[];

/// What each message does at each stage: the tables of the module docs.
#[test]
fn every_message_does_at_every_stage_what_the_tables_say() {
    use Stage::*;
    let ended: &[&str] = &["ended 1 b|2 x"];
    for stage in STAGES {
        let reason = r#"{"reason":"x"}"#;
        let rows: [(&str, &str, &[&str]); 8] = [
            (
                "call:init",
                r#"{"v":1}"#,
                match stage {
                    Idle => &[r#"incoming 1 b|2 {"v":1}"#],
                    Ringing => &["ended 1 b|2 replaced", r#"incoming 2 b|2 {"v":1} for 1"#],
                    _ => &["ended 1 b|2 replaced", r#"incoming 2 b|2 {"v":1} for 1"#],
                },
            ),
            (
                "call:accept",
                "{}",
                match stage {
                    Idle => &[r#"b|2 < hangup w {"reason":"no-such-call"}"#],
                    Ringing => &["state 1 Connecting", "accepted 1"],
                    _ => NOTHING,
                },
            ),
            ("call:reject", reason, if stage.is_caller() { ended } else { NOTHING }),
            (
                "call:offer",
                OFFER,
                match stage {
                    Idle => &[r#"b|2 < hangup w {"reason":"no-such-call"}"#],
                    Ringing | Incoming => NOTHING,
                    CallerFresh | CallerOffered | CallerActiveOffered => NOTHING,
                    _ => &["offer 1 O"],
                },
            ),
            (
                "call:answer",
                ANSWER,
                match stage {
                    Idle => &[r#"b|2 < hangup w {"reason":"no-such-call"}"#],
                    CallerOffered | CallerActiveOffered | CalleeActiveOffered => &["answer 1 A"],
                    _ => NOTHING,
                },
            ),
            (
                "call:candidate",
                CANDIDATE,
                match stage {
                    Idle | Ringing | Incoming | CallerFresh | CalleeFresh | CallerOffered => NOTHING,
                    _ => &["candidate 1 candidate:c"],
                },
            ),
            ("call:hangup", reason, if stage == Idle { NOTHING } else { ended }),
            ("call:never-heard-of", reason, NOTHING),
        ];
        for (subtype, data, expected) in rows {
            let mut b = Bench::at(stage);
            assert_eq!(b.hear(LOW, subtype, data), expected, "{subtype} at {stage:?}");
            if stage == Idle {
                continue;
            }
            // The same from a client that knows no ids, recognized by its address.
            let mut b = Bench::at(stage);
            assert_eq!(b.hear_plain(LOW, subtype, data), expected, "plain {subtype} at {stage:?}");
        }
    }
}

#[test]
fn what_is_not_the_calls_does_not_touch_it() {
    for stage in STAGES.into_iter().filter(|stage| *stage != Stage::Idle) {
        for subtype in ["call:reject", "call:candidate", "call:hangup", "call:other"] {
            let mut b = Bench::at(stage);
            assert_eq!(
                b.hear_id(LOW, "other", subtype, "{}"),
                NOTHING,
                "{subtype} of another call at {stage:?}"
            );
            assert_eq!(b.hear_plain(HIGH, subtype, "{}"), NOTHING, "{subtype} of a stranger at {stage:?}");
            if stage != Stage::Ringing && !stage.is_active() {
                assert_eq!(
                    b.hear(HIGH, subtype, "{}"),
                    NOTHING,
                    "{subtype} by a stranger with the id at {stage:?}"
                );
            }
            assert!(b.calls.state(id(1)).is_some());
        }
        for subtype in ["call:accept", "call:offer", "call:answer"] {
            let mut b = Bench::at(stage);
            assert_eq!(
                b.hear_id(LOW, "other", subtype, "{}"),
                [r#"b|2 < hangup other {"reason":"no-such-call"}"#],
                "{subtype} of another call at {stage:?}"
            );
            assert_eq!(b.hear_plain(HIGH, subtype, "{}"), [r#"z|3 < hangup - {"reason":"no-such-call"}"#]);
            assert!(b.calls.state(id(1)).is_some());
        }
    }
}

#[test]
fn bodies_that_cannot_be_read_end_that_call_alone() {
    use Stage::*;
    let bad_descriptions = [
        "",
        "null",
        "[]",
        "7",
        "{",
        "{}",
        r#"{"type":"offer"}"#,
        r#"{"type":7,"sdp":"O"}"#,
        r#"{"type":"offer","sdp":""}"#,
    ];
    let mut checked = 0;
    let mut check = |stage: Stage, subtype: &str, data: Option<&str>, told: &str| {
        let mut b = Bench::at(stage);
        b.hear_id(HIGH, "h", "call:init", "{}");
        let said = b.input(Input::Message { from: LOW, host: None, subtype, data, call: Some("w") });
        assert_eq!(
            said,
            [
                format!(r#"b|2 < {told} w {{"reason":"bad-description"}}"#).as_str(),
                "ended 1 b|2 bad-description"
            ],
            "{subtype} {data:?} at {stage:?}"
        );
        assert_eq!(b.calls.state(id(2)), Some(State::Incoming), "the other call goes on");
        checked += 1;
    };
    for stage in [CalleeFresh, CalleeAsked, CalleeStable, CalleeActive, CallerActive] {
        for data in bad_descriptions {
            check(stage, "call:offer", Some(data), "hangup");
        }
        check(stage, "call:offer", Some(ANSWER), "hangup");
        check(stage, "call:offer", None, "hangup");
    }
    check(Incoming, "call:offer", Some("{}"), "reject");
    for stage in [CallerOffered, CallerActiveOffered, CalleeActiveOffered] {
        for data in bad_descriptions {
            check(stage, "call:answer", Some(data), "hangup");
        }
        check(stage, "call:answer", Some(OFFER), "hangup");
    }
    assert!(checked > 60);
}

#[test]
fn candidates_that_cannot_be_read_are_passed_over_and_counted() {
    let bad = ["", "{", "[]", "7", "{}", r#"{"candidate":7}"#, r#"{"candidate":"c","sdpMLineIndex":-1}"#];
    for stage in STAGES.into_iter().filter(|stage| *stage != Stage::Idle) {
        let mut b = Bench::at(stage);
        let before = b.calls.state(id(1));
        for data in bad.into_iter().map(Some).chain([None]) {
            let message =
                Input::Message { from: LOW, host: None, subtype: "call:candidate", data, call: Some("w") };
            assert_eq!(b.input(message), NOTHING, "{data:?} at {stage:?}");
        }
        assert_eq!((b.calls.state(id(1)), b.calls.unread_candidates()), (before, 8), "{stage:?}");
    }
}

#[test]
fn bodies_that_cannot_be_read_are_harmless_where_nothing_hangs_on_them() {
    use Stage::*;
    for data in ["", "null", "{", "[]", "7"] {
        // Ignored messages are not parsed.
        for (stage, subtype) in
            [(Ringing, "call:offer"), (CallerFresh, "call:offer"), (CalleeStable, "call:answer")]
        {
            assert_eq!(Bench::at(stage).hear(LOW, subtype, data), NOTHING);
        }
        assert_eq!(Bench::at(Ringing).hear(LOW, "call:accept", data).len(), 2);
        assert_eq!(Bench::at(Ringing).hear(LOW, "call:reject", data), ["ended 1 b|2 declined"]);
        assert_eq!(Bench::at(CalleeActive).hear(LOW, "call:hangup", data), ["ended 1 b|2 ended"]);
    }
}

#[test]
fn an_init_holds_any_json_or_nothing_at_all() {
    for data in ["{}", "null", "7", r#"{"video":true,"n":1.0e3}"#] {
        assert_eq!(Bench::at(Stage::Idle).hear(LOW, "call:init", data), [format!("incoming 1 b|2 {data}")]);
    }
    let mut b = Bench::at(Stage::Idle);
    let none = Input::Message { from: LOW, host: None, subtype: "call:init", data: None, call: Some("w") };
    assert_eq!(b.input(none), ["incoming 1 b|2 {}"]);
    for data in ["", "{", "{}{}", "\u{0}"] {
        assert_eq!(
            Bench::at(Stage::Idle).hear(LOW, "call:init", data),
            [r#"b|2 < reject w {"reason":"bad-description"}"#]
        );
    }
}

#[test]
fn a_caller_walks_from_init_to_hangup() {
    let mut b = Bench::at(Stage::Idle);
    let call = b.calls.invite(LOW, "w", r#"{"video":true}"#, b.now).expect("idle");
    assert_eq!(b.drain(), [r#"b|2 < init w {"video":true}"#]);
    assert_eq!(b.hear(LOW, "call:accept", "{}"), ["state 1 Connecting", "accepted 1"]);
    b.calls.local_offer(call, "O", b.now).expect("accepted");
    assert_eq!(b.drain(), [format!("b|2 < offer w {OFFER}")]);
    assert_eq!(b.hear(LOW, "call:answer", ANSWER), ["answer 1 A"]);
    b.calls.media_connected(call, b.now).expect("connecting");
    b.calls.media_connected(call, b.now).expect("again is harmless");
    assert_eq!(b.drain(), ["state 1 Active"]);
    assert_eq!(b.wakes_in(), None);
    assert_eq!((b.calls.state(call), b.calls.remote(call)), (Some(State::Active), Some(LOW)));
    b.calls.hangup(call, "bye", b.now).expect("active");
    assert_eq!(b.drain(), [r#"b|2 < hangup w {"reason":"bye"}"#, "ended 1 b|2 bye"]);
    assert_eq!((b.calls.state(call), b.calls.remote(call)), (None, None));
}

#[test]
fn a_callee_walks_from_init_to_hangup() {
    let mut b = Bench::at(Stage::Incoming);
    b.calls.accept(id(1), b.now).expect("incoming");
    assert_eq!(b.drain(), ["b|2 < accept w {}", "state 1 Connecting"]);
    assert_eq!(b.hear(LOW, "call:offer", OFFER), ["offer 1 O"]);
    b.calls.local_answer(id(1), "A", b.now).expect("offered");
    assert_eq!(b.drain(), [format!("b|2 < answer w {ANSWER}")]);
    b.calls.media_connected(id(1), b.now).expect("connecting");
    assert_eq!(b.drain(), ["state 1 Active"]);
    assert_eq!(b.hear(LOW, "call:hangup", r#"{"reason":"bye"}"#), ["ended 1 b|2 bye"]);
}

#[test]
fn what_we_end_is_told_by_the_right_message() {
    for stage in STAGES.into_iter().filter(|stage| *stage != Stage::Idle) {
        let told = if stage == Stage::Incoming { "reject" } else { "hangup" };
        let expected = [format!(r#"b|2 < {told} w {{"reason":"x"}}"#), "ended 1 b|2 x".into()];
        let mut b = Bench::at(stage);
        b.calls.hangup(id(1), "x", b.now).expect("any state");
        assert_eq!(b.drain(), expected, "hangup at {stage:?}");
        let mut b = Bench::at(stage);
        b.calls.media_failed(id(1), "x", b.now).expect("any state");
        assert_eq!(b.drain(), expected, "media failure at {stage:?}");
        let mut b = Bench::at(stage);
        let rejected = b.calls.reject(id(1), "x", b.now);
        assert_eq!(rejected.is_ok(), stage == Stage::Incoming, "reject at {stage:?}");
        assert_eq!(b.drain().len(), if stage == Stage::Incoming { 2 } else { 0 });
    }
}

#[test]
fn commands_are_taken_at_their_stages_only() {
    use Stage::*;
    for stage in STAGES {
        let check = |name: &str, allowed: bool, command: &dyn Fn(&mut Bench) -> Result<(), CallError>| {
            let mut b = Bench::at(stage);
            let result = command(&mut b);
            assert_eq!(result.is_ok(), allowed, "{name} at {stage:?}: {result:?}");
            if let Err(error) = result {
                assert!(!error.to_string().is_empty());
                assert_eq!(b.drain(), NOTHING, "{name} at {stage:?} left something behind");
            }
        };
        check("accept", stage == Incoming, &|b| b.calls.accept(id(1), b.now));
        check(
            "local_offer",
            matches!(stage, CallerFresh | CallerStable | CalleeStable | CallerActive | CalleeActive),
            &|b| b.calls.local_offer(id(1), "O", b.now),
        );
        check("local_answer", matches!(stage, CalleeAsked | CallerActiveAsked | CalleeActiveAsked), &|b| {
            b.calls.local_answer(id(1), "A", b.now)
        });
        check("local_candidate", stage != Idle, &|b| {
            b.calls.local_candidate(id(1), Candidate::new("c"), b.now)
        });
        check("local_candidates_done", stage != Idle, &|b| b.calls.local_candidates_done(id(1), b.now));
        check("media_connected", !matches!(stage, Idle | Ringing | Incoming), &|b| {
            b.calls.media_connected(id(1), b.now)
        });
        check("invite the same remote", stage == Idle, &|b| b.calls.invite(LOW, "v", "{}", b.now).map(drop));
        check("invite another", true, &|b| b.calls.invite(HIGH, "v", "{}", b.now).map(drop));
        check("reuse the id", stage == Idle, &|b| b.calls.invite(HIGH, "w", "{}", b.now).map(drop));
        check("invite without JSON", false, &|b| b.calls.invite(HIGH, "v", "", b.now).map(drop));
        check("invite nobody", false, &|b| b.calls.invite("", "v", "{}", b.now).map(drop));
        check("invite without id", false, &|b| b.calls.invite(HIGH, "", "{}", b.now).map(drop));
    }
}

#[test]
fn unanswered_inits_end_after_thirty_seconds() {
    let mut b = Bench::at(Stage::Ringing);
    assert_eq!(b.wakes_in(), Some(30));
    assert_eq!(b.pass(29), NOTHING);
    assert_eq!(b.pass(1), [r#"b|2 < hangup w {"reason":"timeout"}"#, "ended 1 b|2 timeout"]);
    assert_eq!(b.wakes_in(), None);

    let mut b = Bench::at(Stage::Incoming);
    assert_eq!(b.wakes_in(), Some(30));
    assert_eq!(b.pass(30), [r#"b|2 < reject w {"reason":"timeout"}"#, "ended 1 b|2 timeout"]);
    assert_eq!(b.wakes_in(), None);
}

#[test]
fn an_accepted_call_has_a_minute_to_connect() {
    for stage in [Stage::CallerFresh, Stage::CalleeFresh, Stage::CallerStable, Stage::CalleeStable] {
        let mut b = Bench::at(stage);
        assert_eq!(b.wakes_in(), Some(60));
        assert_eq!(b.pass(60), [r#"b|2 < hangup w {"reason":"timeout"}"#, "ended 1 b|2 timeout"]);
    }
}

#[test]
fn a_deadline_that_passed_comes_before_what_is_late() {
    let mut b = Bench::at(Stage::Ringing);
    b.now += std::time::Duration::from_secs(31);
    assert_eq!(
        b.hear(LOW, "call:accept", "{}"),
        [
            r#"b|2 < hangup w {"reason":"timeout"}"#,
            "ended 1 b|2 timeout",
            r#"b|2 < hangup w {"reason":"no-such-call"}"#
        ]
    );
    let mut b = Bench::at(Stage::Incoming);
    b.now += std::time::Duration::from_secs(31);
    assert_eq!(b.calls.accept(id(1), b.now), Err(CallError::Unknown(id(1))));
}

#[test]
fn remote_candidates_wait_for_the_remote_description() {
    let expected = ["candidate 1 candidate:c", "done 1"];
    // The caller, whose answer arrives late.
    let mut b = Bench::at(Stage::CallerOffered);
    assert_eq!(b.hear(LOW, "call:candidate", CANDIDATE), NOTHING);
    assert_eq!(b.hear(LOW, "call:candidate", END), NOTHING);
    let said = b.hear(LOW, "call:answer", ANSWER);
    assert_eq!((said[0].as_str(), &said[1..]), ("answer 1 A", &expected.map(String::from)[..]));

    // The callee, before the application accepts, and after.
    for stage in [Stage::Incoming, Stage::CalleeFresh] {
        let mut b = Bench::at(stage);
        assert_eq!(b.hear(LOW, "call:candidate", r#"{"candidate":"a=candidate:c"}"#), NOTHING);
        assert_eq!(b.hear(LOW, "call:candidate", "null"), NOTHING);
        if stage == Stage::Incoming {
            b.calls.accept(id(1), b.now).expect("incoming");
            assert_eq!(b.drain().len(), 2);
        }
        let said = b.hear(LOW, "call:offer", OFFER);
        assert_eq!((said[0].as_str(), &said[1..]), ("offer 1 O", &expected.map(String::from)[..]));
        // From here on they are passed on.
        assert_eq!(b.hear(LOW, "call:candidate", CANDIDATE), ["candidate 1 candidate:c"]);
        assert_eq!(b.hear(LOW, "call:candidate", r#"{"candidate":""}"#), ["done 1"]);
    }
}

#[test]
fn an_offer_that_did_not_wait_for_the_accept_is_kept() {
    let mut b = Bench::at(Stage::Incoming);
    assert_eq!(b.hear(LOW, "call:offer", r#"{"type":"offer","sdp":"old"}"#), NOTHING);
    assert_eq!(b.hear(LOW, "call:offer", OFFER), NOTHING);
    assert_eq!(b.hear(LOW, "call:candidate", CANDIDATE), NOTHING);
    b.calls.accept(id(1), b.now).expect("incoming");
    assert_eq!(
        b.drain(),
        ["b|2 < accept w {\"offer\":true}", "state 1 Connecting", "offer 1 O", "candidate 1 candidate:c"]
    );
}

#[test]
fn none_of_our_candidates_leaves_before_our_description() {
    for (stage, subtype) in
        [(Stage::CallerFresh, "offer"), (Stage::CalleeAsked, "answer"), (Stage::Incoming, "answer")]
    {
        let mut b = Bench::at(stage);
        for line in ["candidate:1", "a=candidate:2"] {
            b.calls.local_candidate(id(1), Candidate::new(line), b.now).expect("held");
        }
        b.calls.local_candidates_done(id(1), b.now).expect("held");
        assert_eq!(b.drain(), NOTHING);
        let body = if subtype == "offer" {
            b.calls.local_offer(id(1), "O", b.now).expect("caller");
            OFFER
        } else {
            if stage == Stage::Incoming {
                b.calls.accept(id(1), b.now).expect("incoming");
                b.hear(LOW, "call:offer", OFFER);
            }
            b.calls.local_answer(id(1), "A", b.now).expect("callee");
            ANSWER
        };
        assert_eq!(
            b.drain(),
            [
                format!("b|2 < {subtype} w {body}"),
                r#"b|2 < candidate w {"candidate":"candidate:1","sdpMid":"0","sdpMLineIndex":0}"#.into(),
                r#"b|2 < candidate w {"candidate":"candidate:2","sdpMid":"0","sdpMLineIndex":0}"#.into(),
                format!("b|2 < candidate w {END}"),
            ]
        );
        b.calls.local_candidate(id(1), Candidate::new("candidate:c"), b.now).expect("described");
        assert_eq!(b.drain(), [format!("b|2 < candidate w {CANDIDATE}")]);
    }
}

#[test]
fn either_side_may_renegotiate() {
    for stage in [Stage::CallerActive, Stage::CalleeActive, Stage::CallerStable, Stage::CalleeStable] {
        let mut b = Bench::at(stage);
        b.calls.local_offer(id(1), "O", b.now).expect("stable");
        assert_eq!(b.drain(), [format!("b|2 < offer w {}", numbered(OFFER, 1))]);
        assert_eq!(b.hear(LOW, "call:answer", ANSWER), ["answer 1 A"]);
        assert_eq!(b.hear(LOW, "call:offer", OFFER), ["offer 1 O"]);
        b.calls.local_answer(id(1), "A", b.now).expect("asked");
        assert_eq!(b.drain(), [format!("b|2 < answer w {ANSWER}")]);
    }
}

#[test]
fn the_callee_gives_way_when_both_renegotiate() {
    let mut callee = Bench::at(Stage::CalleeActiveOffered);
    assert_eq!(callee.hear(LOW, "call:offer", OFFER), ["offer 1 O"]);
    callee.calls.local_answer(id(1), "A", callee.now).expect("asked");
    assert_eq!(callee.drain().len(), 1);
    assert_eq!(callee.hear(LOW, "call:answer", ANSWER), NOTHING, "our offer is void");
}

/// A description with a number.
fn numbered(body: &str, number: u64) -> String {
    body.replace('}', &format!(r#","number":{number}}}"#))
}

#[test]
fn an_answer_to_an_earlier_offer_is_ignored() {
    for stage in [Stage::CallerActive, Stage::CalleeActive] {
        let mut b = Bench::at(stage);
        b.calls.local_offer(id(1), "O", b.now).expect("stable");
        assert_eq!(b.drain(), [format!("b|2 < offer w {}", numbered(OFFER, 1))]);
        b.pass(5);
        b.calls.local_offer(id(1), "O", b.now).expect("the first one is lost");
        assert_eq!(b.drain(), [format!("b|2 < offer w {}", numbered(OFFER, 2))]);
        for other in [0, 1, 3] {
            assert_eq!(b.hear(LOW, "call:answer", &numbered(ANSWER, other)), NOTHING, "{other}");
        }
        assert_eq!(b.hear(LOW, "call:answer", &numbered(ANSWER, 2)), ["answer 1 A"]);
        // Other clients do not count, or have a number of their own that is none.
        for answer in [ANSWER.to_owned(), ANSWER.replace('}', r#","number":"x"}"#)] {
            b.calls.local_offer(id(1), "O", b.now).expect("stable");
            b.drain();
            assert_eq!(b.hear(LOW, "call:answer", &answer), ["answer 1 A"]);
        }
    }
}

#[test]
fn an_offer_that_a_later_one_has_overtaken_is_ignored() {
    for stage in [Stage::CallerActive, Stage::CalleeActive] {
        let mut b = Bench::at(stage);
        for (number, taken) in [(2, true), (1, false), (2, false), (5, true), (4, false), (6, true)] {
            let said = b.hear(LOW, "call:offer", &numbered(OFFER, number));
            if !taken {
                assert_eq!(said, NOTHING, "{number}");
                continue;
            }
            assert_eq!(said, ["offer 1 O"], "{number}");
            b.calls.local_answer(id(1), "A", b.now).expect("asked");
            assert_eq!(b.drain(), [format!("b|2 < answer w {}", numbered(ANSWER, number))]);
        }
        assert_eq!(b.hear(LOW, "call:offer", OFFER), ["offer 1 O"]);
        b.calls.local_answer(id(1), "A", b.now).expect("asked");
        assert_eq!(b.drain(), [format!("b|2 < answer w {ANSWER}")]);
    }
}

#[test]
fn an_offer_that_nobody_answers_counts_as_lost_after_five_seconds() {
    let mut b = Bench::at(Stage::CallerActiveOffered);
    let lost_at = b.now + Duration::from_secs(5);
    assert_eq!(b.calls.offer_lost_at(id(1)), Some(lost_at));
    assert_eq!(b.pass(4), NOTHING);
    assert_eq!(b.hear(LOW, "call:offer", OFFER), NOTHING);
    assert!(!b.calls.may_offer(id(1), b.now) && b.calls.local_offer(id(1), "O", b.now).is_err());
    assert_eq!(b.pass(1), NOTHING);
    assert!(b.calls.may_offer(id(1), b.now));
    assert_eq!(b.hear(LOW, "call:offer", OFFER), ["offer 1 O"]);
    assert_eq!(b.hear(LOW, "call:answer", ANSWER), NOTHING, "our offer is void");
    b.calls.local_answer(id(1), "A", b.now).expect("asked");
    assert!(b.calls.may_offer(id(1), b.now) && b.calls.offer_lost_at(id(1)).is_none());
    b.input(Input::SignallingLost);
    assert!(!b.calls.may_offer(id(1), b.now));
    // The first one is waited for.
    let mut b = Bench::at(Stage::CallerOffered);
    b.pass(30);
    assert_eq!(b.calls.offer_lost_at(id(1)), None);
    assert!(!b.calls.may_offer(id(1), b.now));
    assert_eq!(b.hear(LOW, "call:offer", OFFER), NOTHING);
}

#[test]
fn further_inits_are_answered_busy_at_the_limit() {
    let config = Config { busy_limit: Some(1), ..Config::default() };
    for stage in STAGES.into_iter().filter(|stage| *stage != Stage::Idle) {
        let mut b = Bench::with(config.clone(), stage);
        assert_eq!(
            b.hear_id(HIGH, "h", "call:init", "{}"),
            [r#"z|3 < reject h {"reason":"busy"}"#],
            "{stage:?}"
        );
        assert_eq!(b.hear_plain(HIGH, "call:init", "{}"), [r#"z|3 < reject - {"reason":"busy"}"#]);
        assert_eq!(b.calls.iter().count(), 1);
        // A second init from the same remote replaces its call, so it does not count as another one.
        assert_eq!(b.hear_id(LOW, "n", "call:init", "{}").len(), 2, "{stage:?}");
    }
    // Calls that we make ourselves are not limited.
    let mut b = Bench::with(config, Stage::Incoming);
    assert!(b.calls.invite(HIGH, "h", "{}", b.now).is_ok());
}

#[test]
fn a_remote_without_ids_is_known_by_its_address() {
    // It calls: there is no id to answer with.
    let mut b = Bench::at(Stage::Idle);
    assert_eq!(b.hear_plain(LOW, "call:init", "{}"), ["incoming 1 b|2 {}"]);
    b.calls.accept(id(1), b.now).expect("incoming");
    assert_eq!(b.drain(), ["b|2 < accept - {}", "state 1 Connecting"]);
    assert_eq!(b.hear_plain(LOW, "call:offer", OFFER), ["offer 1 O"]);
    assert_eq!(b.hear_plain(LOW, "call:hangup", "{}"), ["ended 1 b|2 ended"]);

    // We call: our messages carry our id to the end, its messages have none.
    let mut b = Bench::at(Stage::Ringing);
    assert_eq!(b.hear_plain(LOW, "call:accept", "{}").len(), 2);
    b.calls.local_offer(id(1), "O", b.now).expect("accepted");
    assert_eq!(b.drain(), [format!("b|2 < offer w {OFFER}")]);
    assert_eq!(b.hear_plain(LOW, "call:answer", ANSWER), ["answer 1 A"]);
    // An empty id counts as none.
    assert_eq!(b.hear_id(LOW, "", "call:hangup", "{}"), ["ended 1 b|2 ended"]);
}
