//! Media that the remote closes, and its hangup, in either order.

use super::bench::{ANSWER, Bench, CANDIDATE, LOW, OFFER, STAGES, Stage, id};
use crate::call::{Input, State};

const NOTHING: [&str; 0] = [];
const BUSY: &str = r#"{"reason":"shutdown","message":"see you"}"#;

impl Bench {
    fn close(&mut self) -> Vec<String> {
        self.calls.media_closed(id(1), "ended", self.now).expect("a call");
        self.drain()
    }
}

/// The stages at which media may be there.
fn stages() -> impl Iterator<Item = Stage> {
    use Stage::{CalleeFresh, CallerFresh, Idle, Incoming, Ringing};
    STAGES.into_iter().filter(|stage| !matches!(stage, Idle | Ringing | Incoming | CallerFresh | CalleeFresh))
}

#[test]
fn the_reason_is_that_of_the_hangup_in_either_order() {
    for stage in stages() {
        let mut first = Bench::at(stage);
        assert_eq!(first.hear(LOW, "call:hangup", BUSY), ["ended 1 b|2 shutdown"], "{stage:?}");
        let mut last = Bench::at(stage);
        let state = last.calls.state(id(1));
        assert_eq!(last.close(), NOTHING, "{stage:?}");
        assert_eq!(last.calls.state(id(1)), state);
        assert_eq!(last.hear(LOW, "call:hangup", BUSY), ["ended 1 b|2 shutdown"], "{stage:?}");
        assert_eq!(last.pass(60), NOTHING);
    }
}

#[test]
fn what_else_was_on_its_way_is_ignored() {
    for stage in stages() {
        let mut b = Bench::at(stage);
        b.close();
        for (subtype, data) in [
            ("call:offer", OFFER),
            ("call:answer", ANSWER),
            ("call:candidate", CANDIDATE),
            ("call:accept", "{}"),
        ] {
            assert_eq!(b.hear(LOW, subtype, data), NOTHING, "{stage:?} {subtype}");
        }
        assert!(!b.calls.may_offer(id(1), b.now) && b.calls.local_offer(id(1), "O", b.now).is_err());
        assert!(b.calls.local_answer(id(1), "A", b.now).is_err(), "{stage:?}");
        assert!(b.calls.media_connected(id(1), b.now).is_err());
        assert_eq!(b.drain(), NOTHING);
    }
}

#[test]
fn without_a_hangup_it_ends_after_a_second_and_the_remote_is_informed_if_it_knows_ids() {
    let mut b = Bench::at(Stage::CalleeActive);
    assert_eq!(b.close(), NOTHING);
    assert_eq!(b.pass(1), [r#"b|2 < hangup w {"reason":"ended"}"#, "ended 1 b|2 ended"]);
    let mut b = Bench::at(Stage::Idle);
    b.hear_plain(LOW, "call:init", "{}");
    b.calls.accept(id(1), b.now).expect("incoming");
    b.drain();
    assert_eq!(b.close(), NOTHING);
    assert_eq!(b.pass(1), ["ended 1 b|2 ended"], "it may be calling again by now");
}

#[test]
fn one_that_calls_again_is_not_waited_for() {
    let mut b = Bench::at(Stage::CalleeActive);
    b.close();
    assert_eq!(b.hear_id(LOW, "n", "call:init", "{}"), ["ended 1 b|2 ended", "incoming 2 b|2 {}"]);
    let mut b = Bench::at(Stage::CalleeActive);
    b.close();
    assert_eq!(b.calls.invite(LOW, "n", "{}", b.now), Ok(id(2)));
    assert_eq!(b.drain(), ["ended 1 b|2 ended", "b|2 < init n {}"]);
}

#[test]
fn one_that_is_offline_is_not_waited_for() {
    for before in [true, false] {
        let mut b = Bench::at(Stage::CallerActive);
        let gone = if before { b.input(Input::PeerOffline { address: LOW }) } else { vec![] };
        assert_eq!(gone, NOTHING);
        let mut heard = b.close();
        if !before {
            assert_eq!(heard, NOTHING);
            heard = b.input(Input::PeerOffline { address: LOW });
        }
        assert_eq!(heard.last().map(String::as_str), Some("ended 1 b|2 ended"), "{before}");
        assert_eq!(b.calls.state(id(1)), None::<State>);
    }
    let mut b = Bench::at(Stage::CallerActive);
    b.close();
    assert_eq!(b.input(Input::SignallingLost), ["ended 1 b|2 ended"]);
}

#[test]
fn a_person_who_hangs_up_meanwhile_hangs_up_what_the_other_has_ended() {
    let mut b = Bench::at(Stage::CalleeActive);
    b.close();
    b.calls.hangup(id(1), "busy", b.now).expect("a call");
    assert_eq!(b.drain(), [r#"b|2 < hangup w {"reason":"ended"}"#, "ended 1 b|2 ended"]);
}
