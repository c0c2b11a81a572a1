//! An application that sends less than the path carries: the estimate stays, and no probe exceeds what is wanted.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::{Arrival, Estimator, Limits, Sent};
use super::S;
use super::link::Path;
use super::sender::Video;
use super::world::{Run, Setup, run};

/// From this time on, little is sent.
const LITTLE: i64 = 20 * S;

fn little(high: f64, sent: f64, wanted: f64, jitter: i64, key_size: f64, seed: u64) -> Run {
    let mut video = Video { key_size, ..Video::new(20e6) };
    video.rates.push((LITTLE, sent));
    let path = Path { jitter, ..Path::new(high) };
    run(Setup { seed, wanted: Some(wanted), ..Setup::new(path, video) }, 100 * S)
}

#[test]
fn an_estimate_does_not_sag_while_little_is_sent() {
    for (jitter, least) in [(0, 0.95), (10_000, 0.9), (30_000, 0.85)] {
        for (high, sent) in [(3e6, 0.5e6), (2e6, 0.2e6), (5e6, 1e6)] {
            for key_size in [5.0, 15.0] {
                for seed in 1..=2 {
                    let run = little(high, sent, high, jitter, key_size, seed);
                    let found = run.least(LITTLE + 5 * S, 100 * S) / high;
                    assert!(found > least, "{sent} of {high}, jitter {jitter}, key {key_size}: {found}");
                }
            }
        }
    }
}

#[test]
fn little_is_probed_when_little_is_wanted() {
    let run = little(3e6, 0.5e6, 1e6, 0, 5.0, 1);
    assert!(run.probes <= 3, "{} probes", run.probes);
    let run = run_wanting_more();
    let part = run.probe_bytes as f64 / run.bytes as f64;
    assert!(run.probes > 20 && part < 0.03, "{} probes, {part} of what was sent", run.probes);
}

/// Full use of a path that never carries what is wanted.
fn run_wanting_more() -> Run {
    run(Setup { wanted: Some(8e6), ..Setup::new(Path::new(2e6), Video::new(20e6)) }, 100 * S)
}

#[test]
fn a_path_below_even_the_little_is_noticed() {
    for seed in 1..=5 {
        let mut video = Video::new(20e6);
        video.rates.push((LITTLE, 1e6));
        let path = Path::new(3e6).step(40 * S, 0.5e6);
        let run = run(Setup { seed, ..Setup::new(path, video) }, 70 * S);
        assert!(run.least(LITTLE + 5 * S, 40 * S) > 2.7e6);
        let part = run.mean(50 * S, 70 * S) / 0.5e6;
        assert!((0.85..1.1).contains(&part), "{part}");
        let over = run.drained(200, 40 * S, 49 * S);
        assert!(over < 3_000, "over 200 ms for {over} ms");
    }
}

#[test]
fn the_upper_bound_is_probed_and_not_passed() {
    let mut setup = Setup::new(Path::new(10e6), Video::new(20e6));
    setup.limits.max = 1_500_000;
    let run = run(setup, 20 * S);
    assert!(run.reaches(1.5e6, 0).is_some_and(|after| after < 1_000));
    assert!(run.points.iter().all(|point| point.estimate <= 1.5e6));
    assert!(run.probes < 5, "{}", run.probes);
}

/// A burst fills the queue of a slow path; then nothing is sent for a while, and then a little.
#[test]
fn a_pause_while_a_queue_drains_is_not_taken_for_the_path() {
    let start = Instant::now();
    let limits = Limits { initial: 600_000, min: 50_000, max: 5_000_000 };
    for pause in (100..3000).step_by(10) {
        let mut estimator = Estimator::new(limits, start);
        let (mut number, mut free, mut waiting) = (0, 0_u64, VecDeque::new());
        let mut least = u32::MAX;
        for ms in 0..700 + pause + 2000 {
            let now = start + Duration::from_millis(ms);
            // 600 kbit/s, and after the pause 100.
            let every = if ms < 700 { 16 } else { 96 };
            if (ms < 700 || ms >= 700 + pause) && ms % every == 0 {
                estimator.handle_sent(Sent { number, size: 1200, at: now, probe: None });
                // 300 kbit/s.
                free = free.max(ms) + 32;
                waiting.push_back((free, number));
                number += 1;
            }
            if ms % 50 == 0 {
                let is_here = |(at, _): &(u64, u64)| *at <= ms;
                let count = waiting.iter().take_while(|packet| is_here(packet)).count();
                let came: Vec<_> = waiting.drain(..count).collect();
                let report = |(at, number): &(u64, u64)| Arrival {
                    number: *number as u16,
                    at: Some(*at as i64 * 1000),
                };
                estimator.handle_feedback(came.iter().map(report), now);
                least = least.min(estimator.estimate());
            }
        }
        assert!(least >= 130_000, "{least} after {pause} ms");
        assert!(estimator.estimate() >= 250_000, "{} after {pause} ms", estimator.estimate());
    }
}

/// A busy receiver stamps all that has come since it last read with one time.
#[test]
fn a_receiver_that_reads_seldom_at_first_gets_what_is_wanted_soon() {
    const WANTED: f64 = 4.7e6;
    for every in [1, 15, 20, 30] {
        let path = Path { delay: 1_000, ..Path::new(100e6) };
        let limits = Limits { initial: 2_000_000, min: 50_000, max: 20_000_000 };
        let reads = (every * 1000, S);
        let setup = Setup { wanted: Some(WANTED), limits, reads, ..Setup::new(path, Video::new(2e6)) };
        let times = (1..=40).map(|seed| {
            let run = run(Setup { seed, ..setup.clone() }, 10 * S);
            run.reaches(1.5 * f64::from(limits.initial), 0).expect("it carries far more")
        });
        let latest = times.max();
        println!("reads every {every} ms: after {latest:?} ms at the latest");
        assert!(latest < Some(500), "{every}: {latest:?}");
    }
}
