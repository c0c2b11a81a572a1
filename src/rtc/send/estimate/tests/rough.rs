//! Paths that lose packets and have some overtaken, in both directions, and carry far more than is sent.

use super::S;
use super::link::Path;
use super::sender::Video;
use super::world::{Setup, run};

/// What others overtake arrives later by this, in µs: about a frame at 30 frames a second.
const LATE: i64 = 30_000;
/// The upper bound of the estimate, in bit/s.
const MOST: f64 = 6e6;

/// A path that loses this part of packets and feedback, and has this part overtaken, for an application that sends `sent`.
fn rough(loss: f64, late: f64, sent: f64, seed: u64) -> Setup {
    let path = Path { delay: 100_000, loss, late: (late, LATE), ..Path::new(50e6) };
    let mut setup = Setup::new(path, Video::new(sent));
    (setup.limits.initial, setup.limits.max) = (1_500_000, MOST as u32);
    setup.feedback = (100_000, 100_000);
    (setup.feedback_loss, setup.feedback_late) = (loss, (late, LATE));
    (setup.wanted, setup.seed) = (Some(MOST), seed);
    setup
}

#[test]
fn packets_that_were_overtaken_cost_no_rate() {
    for (loss, late) in [(0.0, 0.05), (0.05, 0.05), (0.0, 0.2), (0.05, 0.2)] {
        for sent in [0.3e6, 2e6, 20e6] {
            let runs = (1..=5).map(|seed| run(rough(loss, late, sent, seed), 30 * S));
            let parts: Vec<_> = runs.map(|run| run.mean(5 * S, 30 * S) / MOST).collect();
            println!("{loss} lost, {late} overtaken, {sent} sent: {parts:.2?}");
            let least = if loss > 0.0 { 0.8 } else { 0.98 };
            assert!(parts.iter().all(|part| *part > least), "{parts:?}");
        }
    }
}

#[test]
fn a_longer_route_is_not_taken_for_a_queue() {
    const FROM: i64 = 5 * S;
    for (loss, late) in [(0.0, 0.0), (0.05, 0.0), (0.0, 0.05), (0.05, 0.05), (0.1, 0.1)] {
        for sent in [0.3e6, 2e6, 20e6] {
            let runs = (1..=5).map(|seed| {
                let mut setup = rough(loss, late, sent, seed);
                (setup.path.delay, setup.longer) = (1_000, Some((FROM, 100_000)));
                run(setup, 20 * S).mean(FROM + 3 * S, 20 * S) / MOST
            });
            let parts: Vec<_> = runs.collect();
            println!("{loss} lost, {late} overtaken, {sent} sent: {parts:.2?}");
            assert!(
                parts.iter().sum::<f64>() / 5.0 > 0.85 && parts.iter().all(|part| *part > 0.6),
                "{parts:?}"
            );
        }
    }
}
