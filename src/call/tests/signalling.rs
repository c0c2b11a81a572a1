//! Signalling that is lost and returns: offline before and after media is connected, and back under a new
//! address.

use super::bench::{ANSWER, Bench, CANDIDATE, END, HIGH, LOW, OFFER, STAGES, Stage, id};
use crate::call::body::Candidate;
use crate::call::{CallError, Input, State};

const NOTHING: &[&str] = &[];
const AWAY: Input<'static> = Input::PeerOffline { address: LOW };

#[test]
fn before_the_media_is_connected_offline_ends_the_call() {
    for stage in STAGES.into_iter().filter(|stage| *stage != Stage::Idle && !stage.is_active()) {
        for input in [AWAY, Input::SignallingLost] {
            let mut b = Bench::at(stage);
            assert_eq!(b.input(Input::PeerOffline { address: HIGH }), NOTHING, "somebody else");
            assert_eq!(b.input(input), ["ended 1 b|2 offline"], "{input:?} at {stage:?}");
            assert_eq!(b.wakes_in(), None);
        }
    }
}

#[test]
fn an_active_call_has_thirty_seconds_without_signalling() {
    for stage in STAGES.into_iter().filter(|stage| stage.is_active()) {
        for input in [AWAY, Input::SignallingLost] {
            let mut b = Bench::at(stage);
            assert_eq!(b.input(input), NOTHING, "{input:?} at {stage:?}");
            assert_eq!(b.pass(29), NOTHING);
            assert_eq!(b.input(input), NOTHING, "said twice, it is no longer");
            assert_eq!(b.pass(1), ["ended 1 b|2 offline"]);
        }
    }
}

#[test]
fn ice_alone_decides_meanwhile() {
    for input in [AWAY, Input::SignallingLost] {
        let mut b = Bench::at(Stage::CalleeActive);
        b.input(input);
        b.calls.media_failed(id(1), "ice", b.now).expect("active");
        assert!(b.drain().contains(&"ended 1 b|2 ice".to_owned()));
    }
}

#[test]
fn any_message_with_the_id_goes_on_from_a_new_address() {
    for (subtype, data, expected) in [
        ("call:offer", OFFER, "offer 1 O"),
        ("call:candidate", CANDIDATE, "candidate 1 candidate:c"),
        ("call:candidate", END, "done 1"),
        ("call:hangup", "{}", "ended 1 b|7 ended"),
        ("call:whatever", "{}", ""),
    ] {
        for away in [true, false] {
            let mut b = Bench::at(Stage::CallerActive);
            if away {
                b.input(AWAY);
                b.pass(29);
            }
            let said = b.hear("b|7", subtype, data);
            assert_eq!(said[0], "moved 1 b|7", "{subtype}");
            assert_eq!(said[1..].join(""), expected, "{subtype}");
            if subtype == "call:hangup" {
                continue;
            }
            assert_eq!(b.wakes_in(), None, "nobody waits any longer");
            assert_eq!(b.calls.remote(id(1)), Some("b|7"));
            assert_eq!(b.input(AWAY), NOTHING, "the old address is nobody's");
            assert_eq!(b.pass(60), NOTHING);
            b.calls.hangup(id(1), "x", b.now).expect("active");
            assert_eq!(b.drain(), [r#"b|7 < hangup w {"reason":"x"}"#, "ended 1 b|7 x"]);
        }
    }
}

#[test]
fn a_new_address_without_the_id_is_a_stranger() {
    let mut b = Bench::at(Stage::CallerActive);
    b.input(AWAY);
    assert_eq!(b.hear_plain("b|7", "call:hangup", "{}"), NOTHING);
    assert_eq!(b.hear_id("b|7", "guess", "call:hangup", "{}"), NOTHING);
    assert_eq!(b.pass(30), ["ended 1 b|2 offline"]);
}

/// Active calls with a client that knows no ids: one that it made, and one that we made.
fn plain_calls() -> [Bench; 2] {
    let mut called = Bench::at(Stage::Idle);
    called.hear_plain(LOW, "call:init", "{}");
    called.calls.accept(id(1), called.now).expect("incoming");
    called.hear_plain(LOW, "call:offer", OFFER);
    called.calls.local_answer(id(1), "A", called.now).expect("offered");
    let mut calling = Bench::at(Stage::Ringing);
    calling.hear_plain(LOW, "call:accept", "{}");
    calling.calls.local_offer(id(1), "O", calling.now).expect("accepted");
    calling.hear_plain(LOW, "call:answer", ANSWER);
    [called, calling].map(|mut b| {
        b.calls.media_connected(id(1), b.now).expect("connecting");
        b.drain();
        b
    })
}

#[test]
fn a_client_that_knows_no_ids_is_back_with_the_next_session_of_its_user() {
    for mut b in plain_calls() {
        b.input(AWAY);
        b.pass(29);
        assert_eq!(b.input(Input::PeerOnline { address: "z|9" }), NOTHING, "another user");
        assert_eq!(b.input(Input::PeerOnline { address: "b|7" }), ["moved 1 b|7"]);
        assert_eq!(b.pass(60), NOTHING);
        assert_eq!(b.input(Input::PeerOnline { address: "b|8" }), NOTHING, "it is not away");
        assert_eq!(b.hear_plain(LOW, "call:hangup", "{}"), NOTHING, "the old address is nobody's");
        assert_eq!(b.hear_plain("b|7", "call:hangup", "{}"), ["ended 1 b|7 ended"]);
    }
}

#[test]
fn its_window_opens_again_when_it_leaves_again() {
    for mut b in plain_calls() {
        b.input(AWAY);
        b.input(Input::PeerOnline { address: "b|7" });
        b.input(Input::PeerOffline { address: "b|7" });
        assert_eq!(b.pass(30), ["ended 1 b|7 offline"]);
    }
}

#[test]
fn another_device_of_the_user_keeps_its_own_call() {
    for mut b in plain_calls() {
        b.hear_plain("b|7", "call:init", "{}");
        b.input(AWAY);
        assert_eq!(b.input(Input::PeerOnline { address: "b|7" }), NOTHING);
        assert_eq!(b.calls.remote(id(1)), Some(LOW));
    }
}

#[test]
fn one_that_sent_the_id_sends_it_again() {
    for stage in STAGES.into_iter().filter(|stage| stage.is_active()) {
        let mut b = Bench::at(stage);
        b.input(AWAY);
        assert_eq!(b.input(Input::PeerOnline { address: "b|7" }), NOTHING, "{stage:?}");
        assert_eq!(b.pass(30), ["ended 1 b|2 offline"]);
    }
}

#[test]
fn the_old_address_heard_again_goes_on_too() {
    let mut b = Bench::at(Stage::CallerActive);
    b.input(AWAY);
    assert_eq!(b.hear_plain(LOW, "call:candidate", CANDIDATE), ["candidate 1 candidate:c"]);
    assert_eq!(b.wakes_in(), None);
}

#[test]
fn an_init_with_the_id_from_a_new_address_replaces_an_active_call_only() {
    let mut b = Bench::at(Stage::CalleeActive);
    b.input(AWAY);
    assert_eq!(b.hear("b|7", "call:init", "{}"), ["ended 1 b|2 replaced", "incoming 2 b|7 {} for 1"]);
    for stage in STAGES.into_iter().filter(|stage| *stage != Stage::Idle && !stage.is_active()) {
        let mut b = Bench::at(stage);
        assert_eq!(
            b.hear(HIGH, "call:init", "{}"),
            [r#"z|3 < reject w {"reason":"bad-description"}"#],
            "{stage:?}"
        );
        assert!(b.calls.state(id(1)).is_some());
    }
}

#[test]
fn while_our_signalling_is_gone_nothing_is_sent() {
    let mut b = Bench::at(Stage::CalleeActive);
    b.input(Input::SignallingLost);
    assert_eq!(b.calls.invite(HIGH, "v", "{}", b.now), Err(CallError::Offline));
    assert_eq!(b.calls.local_offer(id(1), "O", b.now), Err(CallError::Offline));
    b.calls.local_candidate(id(1), Candidate::new("candidate:c"), b.now).expect("held");
    assert_eq!(b.drain(), NOTHING);
    b.pass(29);
    assert_eq!(b.input(Input::SignallingBack), [format!("b|2 < candidate w {CANDIDATE}")]);
    assert_eq!(b.wakes_in(), None);
    b.calls.local_offer(id(1), "O", b.now).expect("as before");
    assert_eq!(b.drain().len(), 1);
    assert_eq!(b.hear(LOW, "call:answer", ANSWER), ["answer 1 A"]);

    let mut b = Bench::at(Stage::CalleeActive);
    b.input(Input::SignallingLost);
    b.calls.hangup(id(1), "x", b.now).expect("active");
    assert_eq!(b.drain(), ["ended 1 b|2 x"]);
}

#[test]
fn our_own_return_does_not_bring_the_remote_back() {
    let mut b = Bench::at(Stage::CalleeActive);
    b.input(AWAY);
    b.pass(10);
    b.input(Input::SignallingLost);
    b.pass(10);
    b.input(Input::SignallingBack);
    assert_eq!(b.wakes_in(), Some(10));
    assert_eq!(b.pass(10), ["ended 1 b|2 offline"]);
}

#[test]
fn a_new_address_of_ours_is_announced_to_the_remotes_user() {
    for lost in [true, false] {
        let mut b = Bench::at(Stage::CalleeActive);
        b.hear_plain("c|4", "call:init", "{}"); // not active: the server has told it that we are offline
        if lost {
            assert_eq!(b.input(Input::SignallingLost), ["ended 2 c|4 offline"]);
        }
        let said = b.input(Input::Own { address: "m|2" });
        assert_eq!(said.last(), Some(&format!("b| < candidate w {END}")));
        assert_eq!(said.len(), if lost { 1 } else { 2 });
        assert_eq!(b.input(Input::Own { address: "m|2" }), NOTHING, "once");
        // The remote moved as well, so it did not receive that: it is informed when it sends something.
        assert_eq!(
            b.hear("b|7", "call:candidate", END),
            ["moved 1 b|7".into(), format!("b|7 < candidate w {END}"), "done 1".into()]
        );
        assert_eq!(b.hear("b|7", "call:candidate", END), ["done 1"]);
        assert_eq!(b.hear("b|8", "call:candidate", END), ["moved 1 b|8", "done 1"]);
        assert_eq!(b.calls.state(id(1)), Some(State::Active));
    }
}
