//! Sender, path, receiver and estimator on a virtual clock.

use std::time::{Duration, Instant};

use super::super::{Arrival, Estimator, Limits, Sent};
use super::link::{Link, Path};
use super::sender::{Sender, TICK, Video};
use crate::dice::Dice;

/// The receiver's clock wraps after this time, in µs.
const WRAP: i64 = (1 << 24) * 64_000;

#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) path: Path,
    pub(super) video: Video,
    pub(super) limits: Limits,
    /// The minimum and maximum interval of feedback, in µs, and how often it is lost. It takes the path's delay.
    pub(super) feedback: (i64, i64),
    pub(super) feedback_loss: f64,
    /// This part of it arrives later by this time.
    pub(super) feedback_late: (f64, i64),
    /// The receiver's clock at the start, and how much faster it runs.
    pub(super) clock: i64,
    pub(super) drift: f64,
    /// The time from which packets take another route, and its additional delay.
    pub(super) longer: Option<(i64, i64)>,
    /// How often the receiver reads, when it stamps what has come, and until when, in µs.
    pub(super) reads: (i64, i64),
    /// What the application wants to send, if the estimator is told.
    pub(super) wanted: Option<f64>,
    pub(super) seed: u64,
}

impl Setup {
    pub(super) fn new(path: Path, video: Video) -> Setup {
        Setup {
            path,
            video,
            limits: Limits { initial: 300_000, min: 50_000, max: 20_000_000 },
            feedback: (50_000, 100_000),
            feedback_loss: 0.0,
            feedback_late: (0.0, 0),
            clock: WRAP - 7_000_000,
            drift: 30e-6,
            longer: None,
            reads: (1, 0),
            wanted: None,
            seed: 1,
        }
    }
}

/// The state at one turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) at: i64,
    pub(super) estimate: f64,
    pub(super) wait: i64,
}

pub(super) struct Run {
    pub(super) points: Vec<Point>,
    pub(super) probes: usize,
    pub(super) probe_bytes: u64,
    pub(super) bytes: u64,
    pub(super) estimator: Estimator,
}

/// Runs for `length`, in µs.
pub(super) fn run(setup: Setup, length: i64) -> Run {
    let mut seeds = Dice(setup.seed);
    let start = Instant::now();
    let mut estimator = Estimator::new(setup.limits, start);
    if let Some(wanted) = setup.wanted {
        estimator.set_wanted(wanted as u32);
    }
    let delay = setup.path.delay;
    let mut link = Link::new(setup.path, Dice(seeds.next()));
    let mut sender = Sender::new(setup.video, Dice(seeds.next()));
    let mut dice = Dice(seeds.next());
    let mut number = seeds.next() % 70_000;
    let mut base = number;
    // What is on its way: packets with arrival and number, and feedback.
    let (mut flying, mut reports) = (Vec::<(i64, u64)>::new(), Vec::<(i64, Vec<Arrival>)>::new());
    let mut next_feedback = 0;
    let (mut points, mut out, mut arrived) = (Vec::new(), Vec::new(), Vec::<(i64, u64)>::new());
    let (mut probes, mut probe_bytes, mut bytes) = (0, 0, 0);
    for now in (0..length).step_by(TICK as usize) {
        let instant = start + Duration::from_micros(now as u64);
        flying.retain(|packet| {
            let there = packet.0 <= now;
            if there {
                arrived.push(*packet);
            }
            !there
        });
        if now >= next_feedback {
            next_feedback = now + dice.range(setup.feedback.0 as f64, setup.feedback.1 as f64) as i64;
            if !arrived.is_empty() {
                arrived.sort_by_key(|(_, number)| *number);
                let newest = arrived.last().map_or(base, |(_, number)| number + 1);
                let clock = |at: i64| {
                    let at = setup.clock + at + (at as f64 * setup.drift) as i64;
                    (at / 250 * 250).rem_euclid(WRAP)
                };
                let mut report = Vec::new();
                let mut list = arrived.drain(..).peekable();
                while let Some((at, number)) = list.next_if(|(_, number)| *number < base) {
                    report.push(Arrival { number: number as u16, at: Some(clock(at)) });
                }
                for number in base..newest {
                    let at = list.next_if(|(_, arrived)| *arrived == number).map(|(at, _)| clock(at));
                    report.push(Arrival { number: number as u16, at });
                }
                drop(list);
                base = base.max(newest);
                if !dice.chance(setup.feedback_loss) {
                    let (part, by) = setup.feedback_late;
                    let late = if part > 0.0 && dice.chance(part) { by } else { 0 };
                    reports.push((now + delay + late, report));
                }
            }
        }
        for (_, report) in reports.extract_if(.., |(at, _)| *at <= now) {
            estimator.handle_feedback(report.into_iter(), instant);
        }
        let due = |estimator: &Estimator| estimator.deadline().into_iter().chain(estimator.probe_due()).min();
        if due(&estimator).is_some_and(|due| due <= instant) {
            estimator.handle_timeout(instant);
            if let Some(probe) = estimator.poll_probe(instant) {
                probes += 1;
                sender.probe(probe);
            }
        }
        assert!(due(&estimator).is_none_or(|due| due > instant), "wakes at once again");
        sender.turn(now, estimator.estimate().into(), &mut out);
        for (size, probe) in out.drain(..) {
            bytes += u64::from(size);
            probe_bytes += if probe.is_some() { u64::from(size) } else { 0 };
            estimator.handle_sent(Sent { number, size: size as u16, at: instant, probe });
            if let Some(at) = link.send(now, size) {
                let longer = setup.longer.filter(|(from, _)| now >= *from).map_or(0, |(_, by)| by);
                let (every, until) = setup.reads;
                let read = if at < until { every } else { 1 };
                flying.push(((at + read - 1) / read * read + longer, number));
            }
            number += 1;
        }
        points.push(Point { at: now, estimate: estimator.estimate().into(), wait: link.wait(now) });
    }
    Run { points, probes, probe_bytes, bytes, estimator }
}

impl Run {
    pub(super) fn between(&self, from: i64, to: i64) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(move |point| (from..to).contains(&point.at))
    }

    pub(super) fn mean(&self, from: i64, to: i64) -> f64 {
        let (sum, count) =
            self.between(from, to).fold((0.0, 0.0), |(sum, n), point| (sum + point.estimate, n + 1.0));
        sum / count
    }

    pub(super) fn least(&self, from: i64, to: i64) -> f64 {
        self.between(from, to).map(|point| point.estimate).fold(f64::MAX, f64::min)
    }

    /// A percentile of the wait, in ms.
    pub(super) fn wait(&self, percent: usize, from: i64, to: i64) -> i64 {
        let mut waits: Vec<_> = self.between(from, to).map(|point| point.wait).collect();
        waits.sort_unstable();
        waits[(waits.len() * percent / 100).min(waits.len() - 1)] / 1000
    }

    /// How long after `from` the estimate reached `rate`, in ms.
    pub(super) fn reaches(&self, rate: f64, from: i64) -> Option<i64> {
        let point = self.points.iter().find(|point| point.at >= from && point.estimate >= rate)?;
        Some((point.at - from) / 1000)
    }

    /// How long after `from` the queue was last above `wait` ms, in ms.
    pub(super) fn drained(&self, wait: i64, from: i64, to: i64) -> i64 {
        let last = self.between(from, to).filter(|point| point.wait > wait * 1000).last();
        last.map_or(0, |point| (point.at - from) / 1000)
    }
}
