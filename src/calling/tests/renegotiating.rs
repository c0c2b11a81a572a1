//! What flows is what both sides want, however their offers cross, are overtaken, or get lost.

use super::world::{Signalling, World, both, expected, ms};
use crate::calling::Event;
use crate::media::Kind::{self, Audio, Video};
use crate::rtc::Directions;

/// A call between both, in which all flows.
fn talking(seed: u64) -> World {
    let mut world = World::seeded(seed);
    world.call(0, both());
    world.run(ms(1000));
    assert!(world.peers.iter().all(|peer| peer.connected));
    world
}

fn offers(world: &World) -> usize {
    world.delivered.iter().filter(|message| message.subtype == "call:offer").count()
}

#[test]
fn hold_resume_and_mute_from_either_side() {
    let mut world = talking(1);
    let mut wishes = [both(), both()];
    for round in 0..5 {
        for n in [0, 1] {
            let some = [
                Directions::new([], []),
                both(),
                Directions::new([Audio], [Audio, Video]),
                Directions::new([], [Audio, Video]),
                both(),
            ];
            for wish in some {
                let before = offers(&world);
                wishes[n] = wish.clone();
                world.set(n, wish);
                assert_eq!(world.flowing(), expected(&wishes), "round {round}, {n}");
                assert_eq!(offers(&world), before + 1, "one offer is enough");
            }
        }
    }
    for peer in &world.peers {
        assert!(!peer.events.iter().any(|event| matches!(event, Event::Left { .. })));
        assert_eq!(peer.core.fanout.totals().panics, 0);
    }
}

#[test]
fn a_source_rests_while_nobody_takes_its_streams() {
    let mut world = talking(1);
    assert_eq!(world.peers[0].wanted.len(), 2);
    world.set(1, Directions::new([Audio, Video], [Audio]));
    world.run(ms(500));
    assert_eq!(world.peers[0].wanted.len(), 1, "no video is taken");
    assert_eq!(world.peers[1].wanted.len(), 2);
    world.set(1, both());
    world.run(ms(500));
    assert_eq!(world.peers[0].wanted.len(), 2);
}

#[test]
fn of_two_offers_that_cross_the_callers_counts_and_the_callee_makes_its_own_afterwards() {
    for caller in [0, 1] {
        let mut world = World::new();
        world.call(caller, both());
        world.run(ms(1000));
        world.delivered.clear();
        let mut wishes = [both(), both()];
        wishes[0] = Directions::new([Audio], [Audio, Video]);
        wishes[1] = Directions::new([Audio, Video], [Video]);
        // At the same moment, both with a message on its way.
        world.set(0, wishes[0].clone());
        world.set(1, wishes[1].clone());
        assert_eq!(world.flowing(), expected(&wishes), "caller {caller}");
        let to: Vec<(usize, &str)> = world
            .delivered
            .iter()
            .filter(|m| m.subtype != "call:candidate")
            .map(|m| (m.to, m.subtype))
            .collect();
        let callee = 1 - caller;
        let crossed = [(callee, "call:offer"), (caller, "call:offer")];
        assert!(to[..2].iter().all(|sent| crossed.contains(sent)), "{to:?}");
        assert_eq!(
            to[2..],
            [(caller, "call:answer"), (caller, "call:offer"), (callee, "call:answer")],
            "caller {caller}"
        );
    }
}

#[test]
fn an_offer_or_answer_that_is_lost_is_made_again() {
    for lost in 0..3 {
        for n in [0, 1] {
            let mut world = talking(1);
            let mut wishes = [both(), both()];
            wishes[n] = Directions::new([Audio], [Audio]);
            // Nothing gets through for a while: the offer is lost, or its answer is.
            match lost {
                0 => world.signalling.loss = 1.0,
                1 => {}
                _ => world.signalling.loss = 1.0,
            }
            world.set(n, wishes[n].clone());
            if lost == 1 {
                world.signalling.loss = 1.0;
            }
            world.run(ms(if lost == 2 { 6000 } else { 4000 }));
            world.signalling.loss = 0.0;
            world.run(ms(16_000));
            assert_eq!(world.flowing(), expected(&wishes), "{lost}, {n}");
        }
    }
}

#[test]
fn a_change_that_is_made_offline_follows_when_we_are_back() {
    use crate::calling::Input;
    let mut world = talking(1);
    world.peers[0].core.handle_input(Input::Offline, world.now);
    let mut wishes = [both(), both()];
    wishes[0] = Directions::new([Audio], []);
    world.set(0, wishes[0].clone());
    world.delivered.clear();
    world.run(ms(2000));
    assert_eq!(offers(&world), 0);
    let address = super::world::NAMES[0];
    world.peers[0].core.handle_input(Input::Online { address }, world.now);
    assert_eq!(world.flowing(), expected(&wishes));
    assert_eq!(offers(&world), 1);
}

#[test]
fn a_call_in_which_nothing_flows_goes_on() {
    let mut world = talking(1);
    world.set(0, Directions::new([], []));
    world.run(ms(120_000));
    assert_eq!((world.end(0), world.end(1)), (None, None));
    world.set(0, both());
    assert_eq!(world.flowing(), expected(&[both(), both()]));
}

#[test]
fn a_peer_that_answers_no_offer_is_asked_four_times() {
    let mut world = talking(1);
    world.delivered.clear();
    world.set(0, Directions::new([], []));
    // The offer is on its way, and nothing gets through after it.
    world.signalling.loss = 1.0;
    world.run(ms(29_000));
    let open = world.peers[0].core.offer_again_at();
    assert!(open.is_some());
    world.run(ms(60_000));
    assert_eq!(world.peers[0].core.offer_again_at(), None, "it is left at that");
    assert!(world.peers[0].connected, "and the call goes on");
}

#[test]
fn after_any_changes_each_side_receives_what_both_want() {
    for seed in 1..=16 {
        let mut world = talking(seed);
        world.feed_every = ms(100);
        world.signalling = match seed % 4 {
            0 => Signalling { delay: ms(5), jitter: ms(2000), overtake: false, loss: 0.0 },
            1 => Signalling { delay: ms(20), jitter: ms(300), overtake: true, loss: 0.0 },
            2 => Signalling { delay: ms(5), jitter: ms(100), overtake: false, loss: 0.2 },
            _ => Signalling { delay: ms(5), jitter: ms(7000), overtake: true, loss: 0.1 },
        };
        let mut wishes = [both(), both()];
        for _ in 0..20 {
            let n = world.dice.roll(2);
            let mut kinds =
                || -> Vec<Kind> { [Audio, Video].into_iter().filter(|_| world.dice.chance(0.6)).collect() };
            wishes[n] = Directions::new(kinds(), kinds());
            world.set(n, wishes[n].clone());
            // At once, soon, or when offers have become old.
            let pause = world.dice.scale(1.0, 7000.0) as u64;
            world.run(ms(pause));
        }
        // What is on its way arrives; what gets lost after that is made again.
        world.run(ms(8000));
        world.signalling.loss = 0.0;
        world.run(ms(60_000));
        for n in [0, 1] {
            assert_eq!(
                world.end(n),
                None,
                "seed {seed}: {n} at {:?}: {:?}",
                world.now - world.start,
                world.peers[n].events
            );
        }
        assert_eq!(world.flowing(), expected(&wishes), "seed {seed}: {wishes:?}");
        for (n, peer) in world.peers.iter().enumerate() {
            assert_eq!(peer.core.fanout.totals().panics, 0, "seed {seed}");
            assert!(peer.connected, "seed {seed}: {n}");
            let streams = peer.core.stats(peer.call.expect("it goes on")).expect("and its session").streams;
            assert_eq!(streams, peer.wanted, "seed {seed}: the encoder runs for what is sent");
        }
    }
}
