//! Viewers on networks that a seed chooses, in virtual time: what each gets, and what it costs the others.
//!
//! `SYMPLE_SEED` repeats one seed.

mod network;
mod world;

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use world::{MAIN, SMALL, TICK, World};

use super::divide::{self, Bounds};
use super::{BitratePolicy, Share, Sink, Wish};
use crate::call::CallId;
use crate::dice::Dice;
use crate::media::adapt::ladder::Ladder;

const FAST: f64 = 20e6;
const SLOW: f64 = 300e3;

/// A number below `count`.
fn below(dice: &mut Dice, count: usize) -> usize {
    dice.range(0.0, count as f64) as usize
}

/// Runs a property with so many seeds.
fn seeds(count: u64, property: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let (count, first) = match std::env::var("SYMPLE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => (1, seed),
        None => (count, 1),
    };
    for seed in first..first + count {
        if std::panic::catch_unwind(|| property(seed)).is_err() {
            panic!("reproduce with SYMPLE_SEED={seed}");
        }
    }
}

/// A world in which viewers on these networks came one after the other within two seconds, and so many seconds passed.
fn settled(seed: u64, has_small: bool, capacities: &[f64], seconds: f64) -> World {
    let mut world = World::new(seed, has_small);
    for (id, capacity) in (1..).zip(capacities) {
        world.join(id, *capacity);
        let pause = world.dice.range(0.0, 2.0 / capacities.len() as f64);
        world.pass(pause, |_| {});
    }
    world.pass(seconds, |_| {});
    world
}

/// What a viewer has of what it would have alone, 0 to 1, in bits.
fn part(world: &World, id: u64) -> f64 {
    let viewer = &world.viewers[&id];
    let bitrate = match viewer.share {
        Some(Share::Full(stream) | Share::Small(stream)) => world.bitrate(stream),
        _ => 0.0,
    };
    bitrate / world.alone(id)
}

#[test]
fn nine_fast_viewers_do_not_notice_a_slow_one_and_it_sees_something() {
    seeds(60, |seed| {
        let mut world = settled(seed, true, &[FAST; 9], 8.0);
        assert!(world.bitrate(MAIN) >= 3.6e6, "{}", world.bitrate(MAIN));
        world.join(10, SLOW);
        let joined = world.now;
        world.pass(20.0, |world| {
            assert!(world.bitrate(MAIN) >= 3.6e6, "{} at {}", world.bitrate(MAIN), world.now);
        });
        for id in 1..10 {
            let frames = world.viewers[&id].frames_within(joined, joined + 20.0);
            assert!(frames >= 20 * 9, "{id}: {frames} frames of 200");
        }
        let slow = &world.viewers[&10];
        for second in 3..19 {
            let from = joined + f64::from(second);
            let frames = slow.frames_within(from, from + 1.0);
            assert!(frames >= 5, "{frames} frames in second {second}: {:?}", slow.switches);
        }
        let left = world.now;
        world.leave(10);
        world.pass(20.0, |_| {});
        assert!(!world.runs(SMALL) && world.bitrate(MAIN) >= 3.6e6);
        assert!((1..10).all(|id| world.viewers[&id].longest_gap(left, left + 19.0) < 0.5));
    });
}

#[test]
fn a_slow_viewer_that_was_first_gives_way_without_a_freeze() {
    seeds(60, |seed| {
        let mut world = settled(seed, true, &[SLOW], 8.0);
        assert!(part(&world, 1) > 0.75 && world.bitrate(MAIN) < SLOW, "alone, it caps the encoder");
        let joined = world.now;
        world.join(2, FAST);
        // Its frames were fewer, which takes a while to change.
        world.pass(6.0, |_| {});
        assert!(world.bitrate(MAIN) >= 2.7e6, "{}", world.bitrate(MAIN));
        world.pass(20.0, |_| {});
        assert!(world.bitrate(MAIN) >= 3.6e6, "{}", world.bitrate(MAIN));
        let slow = &world.viewers[&1];
        assert_eq!(slow.share, Some(Share::Small(SMALL)));
        assert!(slow.longest_gap(joined, joined + 11.0) < 1.5, "{}", slow.longest_gap(joined, joined + 11.0));
        // Alone again, it gets the encoder back.
        world.leave(2);
        world.pass(8.0, |_| {});
        assert!(part(&world, 1) > 0.75 && world.viewers[&1].share == Some(Share::Full(MAIN)));
    });
}

#[test]
fn where_networks_fall_into_two_groups_nobody_costs_another_more_than_a_tenth() {
    // What each group has of what it would have alone, with the other and without it.
    let mean = |world: &mut World, ids: &[u64]| {
        let mut sum = 0.0;
        world.pass(10.0, |world| {
            sum += ids.iter().map(|id| part(world, *id)).sum::<f64>() / ids.len() as f64 * TICK / 10.0;
        });
        sum
    };
    let sums = std::sync::Mutex::new([[0.0; 2]; 2]);
    seeds(150, |seed| {
        let mut dice = Dice(seed ^ 0xaa);
        let groups = [dice.scale(1.2e6, 20e6), dice.scale(100e3, 1e6)];
        let count = 2 + below(&mut dice, 7);
        for (n, capacity) in groups.into_iter().enumerate() {
            let all: Vec<f64> = (0..count).map(|id| groups[id % 2]).collect();
            let own: Vec<u64> = (1..=count as u64).filter(|id| (*id as usize - 1) % 2 == n).collect();
            let with = mean(&mut settled(seed, true, &all, 12.0), &own);
            let alone: Vec<u64> = (1..=own.len() as u64).collect();
            let without = mean(&mut settled(seed, true, &vec![capacity; own.len()], 12.0), &alone);
            assert!(with >= 0.5, "{with:.2} of {capacity:.0}, without the others {without:.2}");
            let mut sums = sums.lock().expect("no one panicked with it");
            (sums[n][0], sums[n][1]) = (sums[n][0] + with, sums[n][1] + without);
        }
    });
    let sums = *sums.lock().expect("no one panicked with it");
    for [with, without] in sums {
        assert!(with >= 0.9 * without, "{with:.1}, not {without:.1}");
    }
}

#[test]
fn ten_viewers_on_ten_networks() {
    seeds(200, |seed| {
        let mut dice = Dice(seed ^ 0xbb);
        let capacities: Vec<f64> = (0..10).map(|_| dice.scale(60e3, 20e6)).collect();
        let mut world = settled(seed, true, &capacities, 12.0);
        world.pass(10.0, |_| {});
        for (id, viewer) in &world.viewers {
            assert!(
                viewer.longest_over <= 1.0,
                "{id} got too much for {}: {capacities:?}",
                viewer.longest_over
            );
            let late = viewer.switches.iter().filter(|(at, _)| *at > 14.0).count();
            assert!(late <= 4, "{id}: {:?} {capacities:?}", viewer.switches);
            assert!(viewer.switches.len() <= 10, "{id}: {:?} {capacities:?}", viewer.switches);
            if viewer.network.capacity > 80e3 {
                assert!(matches!(viewer.share, Some(Share::Full(_) | Share::Small(_) | Share::KeyFrames(_))));
            }
        }
        // Not much less than what is best with what the networks really carry.
        let mut alone: Vec<u32> = (1..=10).map(|id| world.alone(id) as u32).collect();
        alone.sort_unstable();
        let bounds = Bounds { min: world.limits.min, small: Some(Ladder::bounds(640, 360, 15).0) };
        let best = divide::best(&alone, bounds, 0).main.map_or(0.0, f64::from);
        assert!(world.bitrate(MAIN) >= 0.6 * best, "{}, not {best}: {alone:?}", world.bitrate(MAIN));
    });
}

#[test]
fn nothing_freezes_for_a_second_when_a_network_halves() {
    seeds(150, |seed| {
        let mut dice = Dice(seed ^ 0xcc);
        let count = 1 + below(&mut dice, 4);
        let capacities: Vec<f64> = (0..count).map(|_| dice.scale(500e3, 20e6)).collect();
        let mut world = settled(seed, true, &capacities, 10.0);
        let from = world.now;
        let id = 1 + below(&mut dice, count) as u64;
        if let Some(viewer) = world.viewers.get_mut(&id) {
            viewer.network.capacity /= 2.0;
        }
        world.pass(15.0, |_| {});
        for (id, viewer) in &world.viewers {
            let gap = viewer.longest_gap(from, from + 14.0);
            assert!(gap < 1.0, "{id} froze for {gap:.2}: {capacities:?} {:?}", viewer.switches);
            assert!(viewer.longest_over <= 1.0, "{id} got too much for {:.2}", viewer.longest_over);
        }
    });
}

#[test]
fn the_full_picture_is_back_within_five_seconds_after_the_network_is() {
    let (all, late) = (AtomicU32::new(0), AtomicU32::new(0));
    seeds(300, |seed| {
        let mut dice = Dice(seed ^ 0xdd);
        let count = 1 + below(&mut dice, 4);
        let capacities: Vec<f64> = (0..count).map(|_| dice.scale(2e6, 20e6)).collect();
        let mut world = settled(seed, dice.chance(0.7), &capacities, 15.0);
        let id = 1 + below(&mut dice, count) as u64;
        let (share, before) = (world.viewers[&id].share, part(&world, id));
        let set = |world: &mut World, capacity: f64| {
            if let Some(viewer) = world.viewers.get_mut(&id) {
                viewer.network.capacity = capacity;
            }
        };
        // Alone it gets fewer frames below that, which takes a while to change.
        let least = if count == 1 { 450e3 } else { 100e3 };
        let (low, time) = (dice.scale(least, 500e3), dice.range(3.0, 10.0));
        set(&mut world, low);
        world.pass(time, |_| {});
        set(&mut world, capacities[id as usize - 1]);
        let is_back = |world: &World| world.viewers[&id].share == share && part(world, id) >= 0.7 * before;
        world.pass(5.0, |_| {});
        all.fetch_add(1, Relaxed);
        if !is_back(&world) {
            // Its estimate took that long, or it is just as well served in another way.
            late.fetch_add(1, Relaxed);
        }
    });
    let (all, late) = (all.into_inner(), late.into_inner());
    assert!(late * 20 <= all.max(20), "{late} of {all} took longer");
}

#[test]
fn an_estimate_that_sags_costs_nothing() {
    seeds(100, |seed| {
        let mut world = settled(seed, true, &[FAST, FAST], 10.0);
        for viewer in world.viewers.values_mut() {
            viewer.network.sags = true;
            viewer.counted();
        }
        world.pass(2.0, |_| {});
        // Hardly anything moves.
        world.content = 0.05;
        world.pass(60.0, |world| {
            assert!(world.bitrate(MAIN) >= 3.6e6, "{} at {}", world.bitrate(MAIN), world.now)
        });
        assert!(world.viewers.values().all(|viewer| viewer.share == Some(Share::Full(MAIN))));
    });
}

#[test]
fn without_a_small_rendition_the_slow_get_key_frames_and_all_are_back_when_they_leave() {
    seeds(100, |seed| {
        let mut world = settled(seed, false, &[FAST, FAST, FAST], 10.0);
        world.join(4, SLOW);
        let joined = world.now;
        world.pass(20.0, |world| assert!(world.bitrate(MAIN) >= 3.6e6));
        let slow = &world.viewers[&4];
        assert_eq!(slow.share, Some(Share::KeyFrames(MAIN)));
        let frames = slow.frames_within(joined + 5.0, joined + 25.0);
        assert!((2..=5).contains(&frames), "{frames}");
        // One whose network carries more is worth a compromise, while it is there.
        world.leave(4);
        world.join(5, 2e6);
        world.pass(10.0, |_| {});
        assert!((1.4e6..2.6e6).contains(&world.bitrate(MAIN)), "{}", world.bitrate(MAIN));
        world.leave(5);
        world.pass(3.0, |_| {});
        assert!(world.bitrate(MAIN) >= 3.6e6, "{}", world.bitrate(MAIN));
    });
}

#[test]
fn other_policies_follow_the_slowest_or_one() {
    seeds(50, |seed| {
        let mut world = settled(seed, true, &[FAST, 1e6, 3e6], 10.0);
        world.set_policy(BitratePolicy::Slowest);
        world.pass(10.0, |_| {});
        assert!((0.7e6..1.4e6).contains(&world.bitrate(MAIN)), "{}", world.bitrate(MAIN));
        assert!(world.viewers.values().all(|viewer| viewer.share == Some(Share::Full(MAIN))));
        world.set_policy(BitratePolicy::Follow(Sink::Call(CallId(3))));
        world.pass(10.0, |_| {});
        assert!((2e6..3.5e6).contains(&world.bitrate(MAIN)), "{}", world.bitrate(MAIN));
        assert_eq!(world.viewers[&2].share, Some(Share::Small(SMALL)));
    });
}

#[test]
fn one_viewers_requests_for_key_frames_cost_the_others_one_in_five_seconds() {
    seeds(50, |seed| {
        let has_small = seed % 2 == 0;
        let mut world = settled(seed, has_small, &[FAST; 4], 10.0);
        let from = world.now;
        let before = world.forced.len();
        if let Some(viewer) = world.viewers.get_mut(&2) {
            viewer.greed = 4.0;
        }
        world.pass(20.0, |_| {});
        assert!(world.viewers[&2].asked > 40);
        let forced = world.forced[before..].iter().filter(|(_, stream)| *stream == MAIN).count();
        assert!(forced <= 2 + 20 / 5, "{forced} from {from}");
        assert_eq!(
            world.viewers[&2].share,
            Some(if has_small { Share::Small(SMALL) } else { Share::Full(MAIN) })
        );
    });
}

#[test]
fn a_page_that_is_shown_again_has_its_picture_within_a_second_and_costs_the_others_nothing() {
    seeds(100, |seed| {
        let mut dice = Dice(seed ^ 0xff);
        let mut world = settled(seed, dice.chance(0.5), &[FAST; 4], 10.0);
        let (bitrate, from) = (world.bitrate(MAIN), world.now);
        world.wish(1, Wish::KeyFrames);
        world.pass(dice.range(5.0, 30.0), |_| {});
        let hidden = world.viewers[&1].frames_within(from + 1.0, world.now);
        let most = (world.now - from) / 5.0 + 2.0;
        assert!(hidden as f64 <= most, "{hidden} frames in {:.1} s", world.now - from);
        let shown = world.now;
        world.wish(1, Wish::Full);
        world.pass(5.0, |_| {});
        let frames = |from: f64| world.viewers[&1].frames_within(from, from + 1.0);
        assert!(frames(shown) > 0 && frames(shown + 1.0) >= 9, "{:?}", world.viewers[&1].switches);
        assert!(world.bitrate(MAIN) >= 0.9 * bitrate);
        assert!((2..=4).all(|id| world.viewers[&id].longest_gap(from, shown + 4.0) < 0.5));
    });
}

#[test]
fn a_page_that_is_hidden_and_shown_all_the_time_costs_the_others_one_key_frame_in_five_seconds() {
    seeds(50, |seed| {
        let mut world = settled(seed, seed % 2 == 0, &[FAST; 4], 10.0);
        let before = world.forced.len();
        for n in 0..60 {
            world.wish(2, if n % 2 == 0 { Wish::KeyFrames } else { Wish::Full });
            world.pass(0.5, |_| {});
        }
        let forced = world.forced[before..].iter().filter(|(_, stream)| *stream == MAIN).count();
        // Those that it gets while it is hidden come once in 5 s, too.
        assert!(forced <= 2 + 2 * 30 / 5, "{forced}");
        world.wish(2, Wish::Full);
        world.pass(8.0, |_| {});
        assert_eq!(world.viewers[&2].share, Some(Share::Full(MAIN)));
    });
}

#[test]
fn whatever_happens_nobody_is_switched_to_and_fro() {
    seeds(100, |seed| {
        let mut dice = Dice(seed ^ 0xee);
        let mut world = World::new(seed, dice.chance(0.8));
        let mut next = 1;
        for _ in 0..40 {
            match below(&mut dice, 4) {
                0 if world.viewers.len() < 8 => {
                    world.join(next, dice.scale(50e3, 20e6));
                    next += 1;
                }
                1 if world.viewers.len() > 3 => {
                    let id = *world
                        .viewers
                        .keys()
                        .nth(below(&mut dice, world.viewers.len()))
                        .expect("one of them");
                    world.leave(id);
                }
                2 => {
                    let factor = dice.scale(0.3, 3.0);
                    let count = world.viewers.len();
                    if let Some(viewer) = world.viewers.values_mut().nth(below(&mut dice, count.max(1))) {
                        viewer.network.capacity = (viewer.network.capacity * factor).clamp(50e3, 30e6);
                    }
                }
                _ => world.content = dice.range(0.1, 1.0),
            }
            world.pass(dice.range(0.1, 3.0), |_| {});
        }
        for (id, viewer) in &world.viewers {
            let minutes = (world.now - viewer.joined) / 60.0;
            let most = 8.0 + 10.0 * minutes;
            assert!((viewer.switches.len() as f64) < most, "{id}: {minutes:.1} {:?}", viewer.switches);
            assert!(viewer.longest_over <= 1.0, "{id} got too much for {:.2}", viewer.longest_over);
        }
    });
}
