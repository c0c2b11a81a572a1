//! A path that changes under full use: the queue drains, and capacity that returns is found.

use super::S;
use super::link::{Cross, Path};
use super::sender::Video;
use super::world::{Run, Setup, run};

/// When the capacity falls, and when it is back.
const FALLS: i64 = 15 * S;
const BACK: i64 = 40 * S;
/// Until then, no key frame causes a queue of its own: there is one every 10 s.
const NO_KEY: i64 = 20 * S;

fn fall(high: f64, low: f64, queue: i64, seed: u64) -> Run {
    let path = Path { queue, ..Path::new(high).step(FALLS, low).step(BACK, high) };
    run(Setup { seed, ..Setup::new(path, Video::new(20e6)) }, BACK + 8 * S)
}

#[test]
fn a_queue_drains_after_the_path_was_halved() {
    for (high, low) in [(1e6, 0.5e6), (3e6, 1.5e6), (8e6, 4e6)] {
        for seed in 1..=5 {
            let run = fall(high, low, 1_000_000, seed);
            let (peak, drained) = (run.wait(100, FALLS, NO_KEY), run.drained(200, FALLS, NO_KEY));
            println!("{high} to {low}: at most {peak} ms, over 200 ms for {drained} ms");
            // The encoder takes 100 ms of this, the feedback 50 to 100, the round trip 50.
            assert!(peak < 700 && drained < 2_000, "{high} to {low}: {peak} ms, for {drained} ms");
        }
    }
}

#[test]
fn the_rate_after_a_fall_is_that_of_the_path() {
    for (high, low) in [(1e6, 0.5e6), (3e6, 1.5e6), (8e6, 4e6), (2e6, 0.5e6)] {
        for (seed, queue) in [(1, 1_000_000), (2, 200_000), (3, 60_000)] {
            let run = fall(high, low, queue, seed);
            let part = run.mean(FALLS + 10 * S, BACK) / low;
            // A queue of 60 ms is shorter than a frame needs, so it drops packets before delays show anything.
            let most = if queue < 100_000 { 1.2 } else { 1.02 };
            assert!((0.9..most).contains(&part), "{high} to {low}, queue {queue}: {part}");
        }
    }
}

#[test]
fn what_comes_back_is_used_within_five_seconds() {
    for (high, low) in [(1e6, 0.5e6), (3e6, 1.5e6), (8e6, 4e6), (2e6, 0.5e6), (4e6, 0.3e6)] {
        for seed in 1..=5 {
            let run = fall(high, low, 500_000, seed);
            let back = run.reaches(0.9 * high, BACK);
            println!("{low} to {high}: after {back:?} ms");
            assert!(back.is_some_and(|after| after < 5_000), "{low} to {high}: {back:?}");
        }
    }
}

#[test]
fn what_others_leave_is_used_within_five_seconds() {
    for seed in 1..=5 {
        let cross = vec![Cross { from: FALLS, to: BACK, rate: 1.5e6, on: S, off: 0 }];
        let path = Path { cross, ..Path::new(3e6) };
        let run = run(Setup { seed, ..Setup::new(path, Video::new(20e6)) }, BACK + 8 * S);
        let between = run.mean(FALLS + 10 * S, BACK);
        assert!((1.2e6..1.7e6).contains(&between), "{between}");
        let back = run.reaches(2.7e6, BACK);
        assert!(back.is_some_and(|after| after < 5_000), "{back:?}");
    }
}

#[test]
fn a_path_that_was_dead_is_used_again_within_five_seconds() {
    for seed in 1..=5 {
        // So slow that nothing arrives.
        let run = fall(2e6, 100.0, 300_000, seed);
        let low = run.least(FALLS, BACK);
        assert!(low < 0.3e6, "nothing arrives and {low} bit/s are sent");
        let back = run.reaches(1.8e6, BACK);
        println!("after {back:?} ms");
        assert!(back.is_some_and(|after| after < 5_000), "{back:?}");
    }
}

#[test]
fn a_path_that_was_gone_for_a_while_carries_what_it_did() {
    for gone in [700_000, S, 2 * S] {
        for seed in 1..=5 {
            let path = Path { gone: (FALLS, FALLS + gone), ..Path::new(2e6) };
            let run = run(Setup { seed, ..Setup::new(path, Video::new(20e6)) }, FALLS + 10 * S);
            let (before, least) = (run.mean(FALLS - S, FALLS), run.least(FALLS, FALLS + 10 * S));
            println!("gone for {gone}: {before} bit/s, then {least} at least");
            // After 2 s without feedback it is lowered once.
            assert!(least > before * 0.6, "{before}, then {least}");
        }
    }
}

#[test]
fn a_longer_route_costs_no_rate_for_long() {
    // This looks as if the receiver's clock had been set by as much, too.
    for (longer, seed) in
        [30_000, 80_000, 150_000].into_iter().flat_map(|by| (1..=5).map(move |seed| (by, seed)))
    {
        let path = Path::new(2e6);
        let setup = Setup { seed, longer: Some((FALLS, longer)), ..Setup::new(path, Video::new(20e6)) };
        let run = run(setup, 40 * S);
        let (soon, later) =
            (run.mean(FALLS + 3 * S, FALLS + 12 * S) / 2e6, run.mean(FALLS + 12 * S, 40 * S) / 2e6);
        println!("{longer}: {soon:.2}, then {later:.2}");
        assert!(soon > 0.93 && later > 0.93, "{soon}, then {later}");
    }
}

#[test]
fn a_queue_that_others_keep_full_is_not_taken_for_a_longer_route() {
    for (taken, queue) in [(1.1e6, 220_000), (1.4e6, 190_000), (1.4e6, 100_000)] {
        for seed in 1..=5 {
            // At first others send more than the path carries, so it drops the rest and every packet waits as long.
            let cross = vec![Cross { from: 0, to: BACK, rate: taken, on: S, off: 0 }];
            let path = Path { queue, cross, ..Path::new(0.8e6).step(10 * S, 4e6) };
            let run = run(Setup { seed, ..Setup::new(path, Video::new(20e6)) }, 30 * S);
            let part = run.mean(18 * S, 30 * S) / (4e6 - taken);
            let first = run.mean(3 * S, 10 * S) / 0.8e6;
            println!("{taken} taken, {queue}: {first:.2}, then {part:.2}");
            assert!((0.85..1.1).contains(&part), "{part} of what others leave");
        }
    }
}
