//! Thousands of random paths: whatever they do, the estimate stays within its limits and nobody starves.

use super::super::Limits;
use super::S;
use super::link::{Cross, Path};
use super::sender::Video;
use super::world::{Setup, run};
use crate::dice::Dice;

/// The length of a run; during its last part, the path does not change.
const LENGTH: i64 = 30 * S;
const CALM: i64 = 15 * S;

/// The result of a run.
struct Outcome {
    seed: u64,
    /// The mean estimate of the last 5 s as a part of our share of the path, and the 95th percentile of the wait (ms).
    part: f64,
    wait: i64,
    /// Whether the path counts as bad because of its losses or delays.
    bad: bool,
}

fn setup(seed: u64) -> (Setup, f64, bool) {
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
    let bad = path.loss > 0.05 || path.jitter > 15_000 || path.queue < 100_000 || left < 400_000.0;
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
    (setup, left, bad)
}

fn outcome(seed: u64) -> Outcome {
    let (setup, left, bad) = setup(seed);
    let limits = setup.limits;
    let run = run(setup, LENGTH);
    for point in &run.points {
        assert!(
            point.estimate >= limits.min.into() && point.estimate <= limits.max.into(),
            "seed {seed}: {point:?}"
        );
    }
    assert!((0.0..=1.0).contains(&run.estimator.loss()) && run.estimator.rtt().is_some(), "seed {seed}");
    Outcome { seed, part: run.mean(LENGTH - 5 * S, LENGTH) / left, wait: run.wait(95, CALM, LENGTH), bad }
}

fn all(seeds: std::ops::Range<u64>) {
    let outcomes: Vec<_> = seeds.map(outcome).collect();
    for bad in [false, true] {
        let mut parts: Vec<_> =
            outcomes.iter().filter(|o| o.bad == bad).map(|o| (o.part, o.wait, o.seed)).collect();
        parts.sort_by(|a, b| a.0.total_cmp(&b.0));
        let at = |percent: usize| parts[(parts.len() * percent / 100).min(parts.len() - 1)].0;
        let mut waits: Vec<_> = parts.iter().map(|part| part.1).collect();
        waits.sort_unstable();
        let wait = |percent: usize| waits[(waits.len() * percent / 100).min(waits.len() - 1)];
        println!(
            "{} {} paths: part of the path: least {:.2?}, 1 % {:.2}, 5 % {:.2}, median {:.2}, 95 % {:.2}, most {:.2?}; \
             p95 of the wait: median {}, 95 % {}, 99 % {} ms",
            parts.len(),
            if bad { "bad" } else { "fair" },
            &parts[..3],
            at(1),
            at(5),
            at(50),
            at(95),
            &parts[parts.len() - 3..],
            wait(50),
            wait(95),
            wait(99),
        );
    }
    for Outcome { seed, part, bad, .. } in outcomes {
        let least = if bad { 0.15 } else { 0.4 };
        assert!(part > least, "seed {seed} starved at {part}");
    }
}

#[test]
fn nobody_starves_on_random_paths() {
    all(0..150);
}

#[test]
#[ignore = "takes minutes"]
fn nobody_starves_on_ten_thousand_random_paths() {
    all(0..10_000);
}
