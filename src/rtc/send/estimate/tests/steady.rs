//! A constant path under full use: the estimate matches its capacity, and the queue stays short.

use super::S;
use super::link::{Cross, Path};
use super::sender::Video;
use super::world::{Setup, run};

/// The rate that the application could send at.
const PLENTY: f64 = 20e6;

/// The mean of the estimate over the last 40 of 60 s as a part of `capacity`, and the 95th percentile of the wait (ms):
/// the average and the worst of three seeds.
fn figures(name: &str, path: &Path, capacity: f64, change: impl Fn(Setup) -> Setup) -> (f64, i64) {
    let (from, to) = (20 * S, 60 * S);
    let runs = (1..=3).map(|seed| {
        let run = run(change(Setup { seed, ..Setup::new(path.clone(), Video::new(PLENTY)) }), to);
        (run.mean(from, to) / capacity, run.wait(95, from, to), run.wait(50, from, to))
    });
    let runs: Vec<_> = runs.collect();
    let mean = runs.iter().map(|run| run.0).sum::<f64>() / 3.0;
    let wait = runs.iter().map(|run| run.1).max().unwrap_or(0);
    println!(
        "{name:28} mean {mean:.3} p95 {wait} ms, medians {:?}",
        runs.iter().map(|run| run.2).collect::<Vec<_>>()
    );
    (mean, wait)
}

fn as_it_is(setup: Setup) -> Setup {
    setup
}

#[test]
fn the_mean_is_within_five_percent_and_the_queue_below_100_ms() {
    for rate in [0.5e6, 1e6, 2e6, 8e6] {
        let (mean, wait) = figures(&format!("{rate}"), &Path::new(rate), rate, as_it_is);
        assert!((0.95..1.02).contains(&mean) && wait < 100);
    }
    for delay in [1_000, 150_000] {
        let (mean, wait) =
            figures(&format!("delay {delay}"), &Path { delay, ..Path::new(2e6) }, 2e6, as_it_is);
        assert!((0.95..1.02).contains(&mean) && wait < 100);
    }
    let (mean, wait) = figures("short queue", &Path { queue: 100_000, ..Path::new(2e6) }, 2e6, as_it_is);
    assert!((0.95..1.02).contains(&mean) && wait < 100);
}

#[test]
fn at_200_kbits_the_queue_is_a_little_longer() {
    // A packet takes 48 ms there.
    let (mean, wait) = figures("0.2e6", &Path::new(0.2e6), 0.2e6, as_it_is);
    assert!((0.93..1.02).contains(&mean) && wait < 140);
}

#[test]
fn jitter_costs_little() {
    for (jitter, reorders, least) in
        [(5_000, true, 0.95), (15_000, false, 0.94), (30_000, true, 0.94), (30_000, false, 0.9)]
    {
        let path = Path { jitter, reorders, ..Path::new(2e6) };
        let (mean, wait) = figures(&format!("jitter {jitter} {reorders}"), &path, 2e6, as_it_is);
        assert!((least..1.02).contains(&mean) && wait < 100);
    }
}

#[test]
fn random_loss_costs_little() {
    for (loss, least) in [(0.01, 0.95), (0.05, 0.94), (0.2, 0.88)] {
        let (mean, wait) = figures(&format!("loss {loss}"), &Path { loss, ..Path::new(2e6) }, 2e6, as_it_is);
        assert!((least..1.02).contains(&mean) && wait < 150);
    }
}

#[test]
fn feedback_may_be_lost_or_seldom() {
    let path = Path::new(2e6);
    for lost in [0.05, 0.2] {
        let change = |setup| Setup { feedback_loss: lost, ..setup };
        let (mean, wait) = figures(&format!("feedback lost {lost}"), &path, 2e6, change);
        assert!((0.95..1.02).contains(&mean) && wait < 100);
    }
    let change = |setup| Setup { feedback: (200_000, 250_000), ..setup };
    let (mean, wait) = figures("feedback each 200 to 250 ms", &path, 2e6, change);
    assert!((0.9..1.02).contains(&mean) && wait < 120);
}

#[test]
fn others_get_what_they_take() {
    let cross = |on, off| vec![Cross { from: 0, to: 1000 * S, rate: 1e6, on, off }];
    let path = Path { cross: cross(S, 0), ..Path::new(3e6) };
    let (mean, wait) = figures("1 of 3 Mbit/s taken", &path, 2e6, as_it_is);
    assert!((0.9..1.02).contains(&mean) && wait < 150);
    let path = Path { cross: cross(S, S), ..Path::new(3e6) };
    let (mean, wait) = figures("the same, half of the time", &path, 2.5e6, as_it_is);
    assert!((0.75..1.02).contains(&mean) && wait < 200);
}

#[test]
fn the_first_second_finds_the_path() {
    for rate in [0.5e6, 1e6, 2e6, 8e6] {
        for seed in 1..=5 {
            let run = run(Setup { seed, ..Setup::new(Path::new(rate), Video::new(PLENTY)) }, 2 * S);
            let reached = run.reaches(0.9 * rate, 0);
            assert!(reached.is_some_and(|after| after < 1000), "{rate}: {reached:?} ms");
        }
    }
}
