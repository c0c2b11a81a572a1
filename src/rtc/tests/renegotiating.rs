//! Offers of ours in sessions that exist: what flows is changed from either side, and all else stays.

use std::collections::BTreeSet;

use str0m::change::SdpOffer;
use str0m::format::Codec as Theirs;
use str0m::media::{Direction, MediaKind};

use super::pair::{BOTH, CALL, Pair, directions};
use super::world::{World, ms};
use crate::dice::Dice;
use crate::media::Kind;
use crate::rtc::{Directions, Event, Refusal, SessionId};

/// What each side receives when both have these wishes: what it wants, if the other side sends it.
fn expected(wishes: &[Directions; 2]) -> [BTreeSet<Kind>; 2] {
    [0, 1].map(|n: usize| wishes[n].receive.intersection(&wishes[1 - n].send).copied().collect())
}

/// The lines of a description that begin so, in their order.
fn lines<'a>(sdp: &'a str, starts: &[&str]) -> Vec<&'a str> {
    sdp.lines().filter(|line| starts.iter().any(|start| line.starts_with(start))).collect()
}

/// What is the same in all descriptions of one side.
const KEPT: [&str; 6] = ["m=", "a=mid:", "a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=rtpmap:"];

#[test]
fn either_side_holds_and_resumes() {
    let both = || directions(&BOTH, &BOTH);
    let mut pair = Pair::call(both(), both()).expect("agreed");
    pair.run(ms(1000));
    let (first, _) = pair.renegotiate(0);
    let (second, _) = pair.renegotiate(1);
    let first = [first, second];
    let mut wishes = [both(), both()];
    for round in 0..10 {
        for n in [0, 1] {
            let holds = [directions(&[], &[]), directions(&[], &BOTH), directions(&BOTH, &[Kind::Audio])];
            for wish in [holds[round % 3].clone(), both()] {
                wishes[n] = wish.clone();
                pair.set(n, wish);
                let (offer, answer) = pair.renegotiate(n);
                for (from, sdp) in [(n, &offer), (1 - n, &answer)] {
                    assert_eq!(lines(sdp, &KEPT), lines(&first[from], &KEPT), "round {round}");
                    let ssrcs = lines(sdp, &["a=ssrc:"]);
                    assert!(ssrcs.iter().all(|line| first[from].contains(line)), "{ssrcs:?}");
                }
                assert_eq!(pair.flowing(), expected(&wishes), "round {round}: {n}");
            }
        }
    }
    for peer in &pair.peers {
        assert!(!peer.events.iter().any(|event| matches!(event, Event::Closed { .. })));
        assert_eq!(peer.fanout.totals().panics, 0);
    }
}

#[test]
fn what_an_offer_asks_for_is_in_its_directions() {
    let both = || directions(&BOTH, &BOTH);
    let mut pair = Pair::call(both(), both()).expect("agreed");
    pair.run(ms(500));
    let table = [
        (directions(&[], &[]), ["inactive"; 2], ["inactive"; 2]),
        (directions(&[], &BOTH), ["recvonly"; 2], ["sendonly"; 2]),
        (directions(&BOTH, &[]), ["sendonly"; 2], ["recvonly"; 2]),
        (directions(&[Kind::Video], &BOTH), ["recvonly", "sendrecv"], ["sendonly", "sendrecv"]),
        (both(), ["sendrecv"; 2], ["sendrecv"; 2]),
    ];
    let of = |sdp: &str| -> Vec<String> {
        let all = lines(sdp, &["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"]);
        all.iter().map(|line| line[2..].to_owned()).collect()
    };
    for (wish, asked, answered) in table {
        pair.set(1, wish.clone());
        let (offer, answer) = pair.renegotiate(1);
        assert_eq!(
            (of(&offer), of(&answer)),
            (asked.map(String::from).to_vec(), answered.map(String::from).to_vec())
        );
        assert!(offer.contains("a=setup:actpass") && !answer.contains("a=setup:actpass"));
    }
}

#[test]
fn video_is_added_to_an_audio_call_from_either_side() {
    let audio = || directions(&[Kind::Audio], &[Kind::Audio]);
    for n in [0, 1] {
        let mut pair = Pair::call(audio(), audio()).expect("agreed");
        let kinds = |kinds: &[Kind]| kinds.iter().copied().collect::<BTreeSet<Kind>>();
        assert_eq!(pair.flowing(), [kinds(&[Kind::Audio]), kinds(&[Kind::Audio])]);
        let mut wishes = [audio(), audio()];
        // The other side takes it before, and then sends it as well.
        wishes[1 - n] = directions(&[Kind::Audio], &BOTH);
        pair.set(1 - n, wishes[1 - n].clone());
        wishes[n] = directions(&BOTH, &BOTH);
        pair.set(n, wishes[n].clone());
        let (offer, answer) = pair.renegotiate(n);
        assert_eq!(lines(&offer, &["m="]).len(), 2, "{offer}");
        assert!(lines(&answer, &["m="])[1].starts_with("m=video"), "{answer}");
        assert_eq!(pair.flowing(), expected(&wishes), "from {n}");
        wishes[1 - n] = directions(&BOTH, &BOTH);
        pair.set(1 - n, wishes[1 - n].clone());
        let (offer, _) = pair.renegotiate(1 - n);
        assert_eq!(lines(&offer, &["m="]).len(), 2, "no third section");
        assert_eq!(pair.flowing(), expected(&wishes), "from {n}");
    }
}

#[test]
fn an_offer_that_is_void_leaves_all_as_it_was() {
    let both = || directions(&BOTH, &BOTH);
    let audio = directions(&[Kind::Audio], &[Kind::Audio]);
    let mut pair = Pair::call(audio.clone(), both()).expect("agreed");
    let before = pair.flowing();
    for round in 0..4 {
        pair.set(0, both());
        let offer = pair.offer(0);
        assert_eq!(lines(&offer, &["m="]).len(), 2);
        match round {
            0 => pair.peers[0].fanout.roll_back(CALL),
            1 => {
                // Another one crosses it, and is answered as before.
                pair.set(0, audio.clone());
                pair.renegotiate(1);
            }
            2 => {
                let answer = pair.peers[0].fanout.answer(
                    CALL,
                    &offer.replace("a=ice-ufrag:", "a=ice-ufrag:x"),
                    pair.now,
                );
                assert!(matches!(answer, Err(Refusal::BadSdp { .. })), "{answer:?}");
            }
            _ => {
                let foreign = offer.replacen("a=mid:", "a=mid:x", 1);
                let answer = pair.peers[0].fanout.answer(CALL, &foreign, pair.now);
                assert!(matches!(answer, Err(Refusal::BadSdp { .. })), "{answer:?}");
            }
        }
        let late = pair.peers[0].fanout.answer(CALL, &offer, pair.now);
        assert_eq!(late, Err(Refusal::NoOpenOffer), "round {round}");
        assert_eq!(pair.flowing(), before, "round {round}");
    }
    // One that can't be read is not the end of it.
    let offer = pair.offer(0);
    assert!(pair.peers[0].fanout.answer(CALL, "v=0\r\n", pair.now).is_err());
    pair.set(0, both());
    let answer = pair.accept(1, &offer);
    pair.answer(0, &answer);
}

#[test]
fn the_first_offer_is_answered_before_another_one() {
    let mut pair = Pair::new();
    pair.peers[0].fanout.offer(CALL, pair.now).expect("an offer");
    assert_eq!(pair.peers[0].fanout.offer(CALL, pair.now), Err(Refusal::SessionExists));
}

#[test]
fn directions_that_change_while_an_offer_is_open_wait_for_the_next_one() {
    let both = || directions(&BOTH, &BOTH);
    let mut pair = Pair::call(both(), both()).expect("agreed");
    pair.run(ms(500));
    let offer = pair.offer(0);
    pair.set(0, directions(&[], &[]));
    let answer = pair.accept(1, &offer);
    pair.answer(0, &answer);
    assert_eq!(pair.flowing(), expected(&[both(), both()]), "as was offered");
    pair.renegotiate(0);
    assert_eq!(pair.flowing(), expected(&[directions(&[], &[]), both()]));
}

#[test]
fn no_number_is_sealed_twice_however_both_sides_renegotiate() {
    for seed in 1..=6 {
        let mut dice = Dice(seed);
        let mut any = || {
            let mut kinds = || BOTH.into_iter().filter(|_| dice.chance(0.6)).collect::<Vec<Kind>>();
            let (send, receive) = (kinds(), kinds());
            (directions(&send, &receive), dice.roll(100), dice.roll(2), 20 + dice.roll(300) as u64)
        };
        let mut pair = Pair::call(directions(&BOTH, &BOTH), directions(&BOTH, &BOTH)).expect("agreed");
        pair.lose = 37;
        pair.run(ms(500));
        let mut wishes = [directions(&BOTH, &BOTH), directions(&BOTH, &BOTH)];
        for _ in 0..30 {
            let (wish, chance, n, pause) = any();
            wishes[n] = wish.clone();
            pair.set(n, wish);
            match chance {
                // Not said, or the offer is lost, or its answer is.
                0..20 => {}
                20..30 => _ = pair.offer(n),
                30..40 => {
                    let offer = pair.offer(n);
                    pair.accept(1 - n, &offer);
                }
                // Both make one, and one of them counts.
                40..55 => {
                    pair.offer(1 - n);
                    pair.renegotiate(n);
                }
                // The answer is late.
                55..70 => {
                    let offer = pair.offer(n);
                    let answer = pair.accept(1 - n, &offer);
                    pair.run(ms(pause));
                    pair.answer(n, &answer);
                }
                _ => _ = pair.renegotiate(n),
            }
            pair.run(ms(pause));
        }
        pair.renegotiate(seed as usize % 2);
        pair.lose = u64::MAX;
        assert_eq!(pair.flowing(), expected(&wishes), "seed {seed}");
        wishes = [directions(&BOTH, &BOTH), directions(&BOTH, &BOTH)];
        for n in [0, 1] {
            pair.set(n, wishes[n].clone());
        }
        let (offer, _) = pair.renegotiate(0);
        assert_eq!(lines(&offer, &["m="]).len(), 2, "seed {seed}: sections stay");
        assert_eq!(pair.flowing(), expected(&wishes), "seed {seed}");
        for peer in &pair.peers {
            assert_eq!(peer.fanout.totals().panics, 0, "seed {seed}");
            assert!(peer.fanout.contains(CALL), "seed {seed}");
        }
    }
}

/// Our offer to a browser, its answer, and what it makes of the section of a kind.
fn reoffer(world: &mut World, kind: MediaKind) -> Direction {
    let offer = world.fanout.offer(SessionId(1), world.now).expect("the session is there");
    world.drain_camera();
    let browser = world.browsers.get_mut(&1).expect("made");
    let parsed = SdpOffer::from_sdp_string(&offer.sdp).expect("an offer that can be read");
    let answer = browser.rtc.sdp_api().accept_offer(parsed).expect("an offer that fits").to_sdp_string();
    world.poke(1);
    world.fanout.answer(SessionId(1), &answer, world.now).expect("an answer that fits");
    world.drain_camera();
    let browser = &world.browsers[&1];
    browser.rtc.media(browser.mid(kind)).expect("negotiated").direction()
}

#[test]
fn a_browser_answers_our_offers_and_makes_its_own() {
    for is_caller in [true, false] {
        let mut world = World::new();
        world.browser(1, |c| c.enable_h264(true).enable_vp8(true));
        let send = |kinds: &[Kind]| directions(kinds, &[]);
        world.fanout.set_directions(SessionId(1), send(&[Kind::Audio]));
        if is_caller {
            world.call_for(1, &[MediaKind::Audio], Direction::RecvOnly).expect("accepted");
        } else {
            let answer = world.call_browser(1);
            world.fanout.answer(SessionId(1), &answer, world.now).expect("an answer that fits");
            world.drain_camera();
        }
        world.run(ms(1000));
        let frames = |world: &World, codec| world.browsers[&1].frames(codec).len();
        assert!(frames(&world, Theirs::Opus) > 20 && frames(&world, Theirs::H264) == 0);
        // Video, then nothing, then all; ten times.
        for round in 0..10 {
            for (wish, direction) in [
                (send(&BOTH), Direction::RecvOnly),
                (send(&[]), Direction::Inactive),
                (send(&BOTH), Direction::RecvOnly),
            ] {
                world.fanout.set_directions(SessionId(1), wish);
                assert_eq!(reoffer(&mut world, MediaKind::Video), direction, "round {round}");
                world.run(ms(300));
                let before = (frames(&world, Theirs::H264), frames(&world, Theirs::Opus));
                world.run(ms(500));
                let more = (frames(&world, Theirs::H264) > before.0, frames(&world, Theirs::Opus) > before.1);
                let flows = direction == Direction::RecvOnly;
                assert_eq!(more, (flows, flows), "round {round}: {direction:?}");
            }
            // An offer of the browser's own, with what we have added.
            world.reoffer(1, |browser| {
                let mid = browser.mid(MediaKind::Video);
                let mut api = browser.rtc.sdp_api();
                let before = if round % 2 == 0 { Direction::Inactive } else { Direction::RecvOnly };
                api.set_direction(mid, Direction::SendRecv);
                api.set_direction(mid, before);
                api.ice_restart(true);
                let (offer, pending) = api.apply().expect("a change");
                (offer.to_sdp_string(), pending)
            });
            world.run(ms(200));
        }
        assert_eq!(world.fanout.totals().panics, 0);
        assert!(world.closed(1).is_none(), "{:?}", world.closed(1));
    }
}
