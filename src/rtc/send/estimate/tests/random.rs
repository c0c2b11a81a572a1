//! Thousands of random paths: whatever they do, the estimate stays within its limits, and what they carry is used.
//!
//! `SYMPLE_PATHS` is how many the long test takes.

use super::super::Limits;
use super::S;
use super::link::{Cross, Path};
use super::sender::Video;
use super::world::{Setup, run};
use crate::dice::Dice;

/// The length of a run; during its last part, the path does not change.
const LENGTH: i64 = 30 * S;
const CALM: i64 = 15 * S;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// All that the path carries is ours.
    Alone,
    /// Others use a part of it, all the time or now and then.
    Beside,
    /// It loses much, has a short queue, or varies much in its delays.
    Bad,
}

/// The result of a run.
struct Outcome {
    seed: u64,
    /// The mean estimate of the last 5 s as a part of our share of the path, and the 95th percentile of the wait (ms).
    part: f64,
    wait: i64,
    kind: Kind,
}

/// A path, and our share of it.
fn setup(seed: u64) -> (Setup, f64, Kind) {
    let mut dice = Dice(seed);
    let mut rate = || 10_f64.powf(dice.range(5.3, 7.0));
    let rates = [rate(), rate(), rate()];
    let mut path = Path::new(rates[0]);
    for (at, rate) in [(4, rates[1]), (10, rates[2])] {
        if dice.chance(0.5) {
            path = path.step(at * S, rate);
        }
    }
    path.queue = dice.range(60_000.0, 1_000_000.0) as i64;
    path.delay = dice.range(1_000.0, 150_000.0) as i64;
    path.loss = if dice.chance(0.3) { dice.range(0.0, 0.1) } else { 0.0 };
    path.jitter = if dice.chance(0.5) { dice.range(0.0, 30_000.0) as i64 } else { 0 };
    path.reorders = dice.chance(0.5);
    let last = path.rate(LENGTH);
    let mut left = last;
    if dice.chance(0.3) {
        let taken = dice.range(0.05, 0.4) * last;
        let (on, off) = (dice.range(0.1, 3.0), if dice.chance(0.5) { dice.range(0.1, 3.0) } else { 0.0 });
        path.cross.push(Cross {
            from: 0,
            to: 2 * LENGTH,
            rate: taken,
            on: (on * 1e6) as i64,
            off: (off * 1e6) as i64,
        });
        left -= taken * on / (on + off);
    }
    let is_bad = path.loss > 0.05 || path.jitter > 15_000 || path.queue < 100_000 || left < 400_000.0;
    let kind = match path.cross.is_empty() {
        _ if is_bad => Kind::Bad,
        true => Kind::Alone,
        false => Kind::Beside,
    };
    let mut video = Video::new(50e6);
    video.fps = [15, 25, 30, 60][dice.next() as usize % 4];
    video.spread = dice.range(0.0, 0.5);
    video.key_every = dice.range(2e6, 20e6) as i64;
    video.key_size = dice.range(2.0, 8.0);
    video.audio = dice.chance(0.7);
    let mut setup = Setup::new(path, video);
    setup.limits =
        Limits { initial: dice.range(100e3, 2e6) as u32, min: 50_000, max: dice.range(12e6, 50e6) as u32 };
    setup.feedback = if dice.chance(0.8) { (50_000, 100_000) } else { (20_000, 250_000) };
    setup.feedback_loss = if dice.chance(0.3) { dice.range(0.0, 0.2) } else { 0.0 };
    setup.clock = dice.range(0.0, 1e12) as i64;
    setup.drift = dice.range(-100e-6, 100e-6);
    setup.seed = dice.next();
    if dice.chance(0.2) {
        let late = (dice.range(0.01, 0.15), dice.range(10_000.0, 50_000.0) as i64);
        (setup.path.late, setup.feedback_late) = (late, late);
    }
    if dice.chance(0.2) {
        setup.longer = Some((dice.range(2e6, 18e6) as i64, dice.range(20_000.0, 150_000.0) as i64));
    }
    (setup, left, kind)
}

fn outcome(seed: u64) -> Outcome {
    let (setup, left, kind) = setup(seed);
    let limits = setup.limits;
    let run = run(setup, LENGTH);
    for point in &run.points {
        assert!(
            point.estimate >= limits.min.into() && point.estimate <= limits.max.into(),
            "seed {seed}: {point:?}"
        );
    }
    assert!((0.0..=1.0).contains(&run.estimator.loss()) && run.estimator.rtt().is_some(), "seed {seed}");
    Outcome { seed, part: run.mean(LENGTH - 5 * S, LENGTH) / left, wait: run.wait(95, CALM, LENGTH), kind }
}

/// The value below which this percentage of `values` lies.
fn percentile<T: Copy>(values: &mut [T], percent: usize, order: impl Fn(&T, &T) -> std::cmp::Ordering) -> T {
    values.sort_by(order);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

fn all(seeds: std::ops::Range<u64>) {
    let outcomes: Vec<_> = seeds.map(outcome).collect();
    for kind in [Kind::Alone, Kind::Beside, Kind::Bad] {
        let of_kind = || outcomes.iter().filter(move |outcome| outcome.kind == kind);
        let mut parts: Vec<_> = of_kind().map(|outcome| outcome.part).collect();
        let mut waits: Vec<_> = of_kind().map(|outcome| outcome.wait).collect();
        let mut part = |percent| percentile(&mut parts, percent, f64::total_cmp);
        let mut wait = |percent| percentile(&mut waits, percent, i64::cmp);
        let within = of_kind().filter(|outcome| (0.95..1.05).contains(&outcome.part)).count();
        let count = of_kind().count();
        println!(
            "{count} {kind:?}: part of the path: 1 % {:.2}, 5 % {:.2}, median {:.3}, 95 % {:.2}, 99 % {:.2}, within 5 %: \
             {:.0} %; p95 of the wait: median {}, 95 % {} ms",
            part(1),
            part(5),
            part(50),
            part(95),
            part(99),
            within as f64 * 100.0 / count as f64,
            wait(50),
            wait(95),
        );
        // The path is used, and its queue stays short.
        let (median, low, high, usual, most) = match kind {
            Kind::Alone => (0.96, 0.91, 1.05, 110, 230),
            Kind::Beside => (0.92, 0.75, 1.05, 130, 330),
            Kind::Bad => (0.92, 0.75, 1.10, 135, 260),
        };
        assert!(part(50) > median && part(5) > low && part(95) < high, "they use too little or too much");
        assert!(wait(50) < usual && wait(95) < most, "they wait too long");
    }
    let starved: Vec<_> = outcomes
        .iter()
        .filter(|outcome| outcome.part < if outcome.kind == Kind::Bad { 0.15 } else { 0.4 })
        .map(|outcome| (outcome.seed, outcome.part))
        .collect();
    println!("starved: {starved:.2?}");
    // One of ten thousand did: its route became longer while little was sent and 5 % lost.
    assert!(starved.len() <= outcomes.len() / 1000, "too many starved");
}

#[test]
fn random_paths_are_used_and_nobody_starves() {
    all(0..300);
}

#[test]
#[ignore = "takes minutes"]
fn ten_thousand_random_paths_are_used_and_nobody_starves() {
    let count = std::env::var("SYMPLE_PATHS").ok().and_then(|count| count.parse().ok());
    all(0..count.unwrap_or(10_000));
}
