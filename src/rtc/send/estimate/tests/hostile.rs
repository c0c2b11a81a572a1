//! Receivers that report anything: nothing panics, memory does not grow, and the estimate stays within its limits.

use std::time::{Duration, Instant};

use super::super::{Arrival, Estimator, Limits, ProbeId, Sent};
use crate::dice::Dice;

const LIMITS: Limits = Limits { initial: 500_000, min: 50_000, max: 5_000_000 };

fn ms(start: Instant, ms: u64) -> Instant {
    start + Duration::from_millis(ms)
}

/// Ten seconds at 1 Mbit/s; `report` returns the report on each packet.
fn claims(mut report: impl FnMut(u64, i64) -> Vec<Arrival>) -> Estimator {
    let start = Instant::now();
    let mut estimator = Estimator::new(LIMITS, start);
    for number in 0..1000 {
        let at = number * 10;
        estimator.handle_sent(Sent { number, size: 1250, at: ms(start, at), probe: None });
        let arrivals = report(number, at as i64 * 1000 + 20_000);
        estimator.handle_feedback(arrivals.into_iter(), ms(start, at + 40));
        estimator.handle_timeout(ms(start, at + 40));
        let estimate = estimator.estimate();
        assert!((LIMITS.min..=LIMITS.max).contains(&estimate));
    }
    estimator
}

fn honest(number: u64, at: i64) -> Arrival {
    Arrival { number: number as u16, at: Some(at) }
}

#[test]
fn packets_that_were_never_sent_count_for_nothing() {
    let expected = claims(|number, at| vec![honest(number, at)]);
    let found = claims(|number, at| {
        let never = (1..60_000_u16).step_by(97).map(|ahead| Arrival {
            number: (number as u16).wrapping_add(ahead),
            at: Some(at * i64::from(ahead)),
        });
        never.chain([honest(number, at)]).collect()
    });
    assert_eq!(found.estimate(), expected.estimate());
    assert_eq!(found.loss(), 0.0);
}

#[test]
fn duplicates_count_once() {
    let expected = claims(|number, at| vec![honest(number, at)]);
    let found = claims(|number, at| {
        let older = (0..20).map(|back| honest(number.saturating_sub(back), at));
        [honest(number, at)].into_iter().chain(older).collect()
    });
    assert_eq!(found.estimate(), expected.estimate());
}

#[test]
fn a_lie_about_losses_that_is_corrected_is_no_loss() {
    let found = claims(|number, at| {
        vec![
            Arrival { number: number as u16, at: None },
            honest(number, at),
            Arrival { number: number as u16, at: None },
        ]
    });
    assert_eq!(found.loss(), 0.0);
}

#[test]
fn a_clock_that_is_set_costs_no_rate() {
    let expected = f64::from(claims(|number, at| vec![honest(number, at)]).estimate());
    for jump in [3_600 * 1_000_000, -3_600 * 1_000_000, 10_000_000, -10_000_000] {
        let found = claims(|number, at| {
            vec![honest(number, at + if (300..600).contains(&number) { jump } else { 0 })]
        });
        let part = f64::from(found.estimate()) / expected;
        assert!(part > 0.95, "{jump}: {part}");
    }
}

#[test]
fn wild_times_and_numbers_change_nothing_but_the_estimate() {
    let mut dice = Dice(7);
    for _ in 0..20 {
        claims(|number, at| {
            let wild = (0..dice.next() % 10).map(|_| Arrival {
                number: match dice.next() % 3 {
                    0 => dice.next() as u16,
                    _ => (number as u16).wrapping_sub((dice.next() % 64) as u16),
                },
                at: match dice.next() % 5 {
                    0 => None,
                    1 => Some(dice.next() as i64),
                    2 => Some(at + (dice.next() % 2_000_000) as i64 - 1_000_000),
                    3 => Some(i64::MIN),
                    _ => Some(at),
                },
            });
            wild.collect()
        });
    }
}

#[test]
fn memory_stays_what_it_was_without_and_with_feedback() {
    let start = Instant::now();
    let mut estimator = Estimator::new(LIMITS, start);
    for number in 0..300_000_u64 {
        let at = start + Duration::from_micros(number * 20);
        let probe = number.is_multiple_of(3).then_some(ProbeId((number / 7) as u32));
        estimator.handle_sent(Sent { number, size: u16::MAX, at, probe });
        estimator.poll_probe(at);
        if number.is_multiple_of(500) {
            estimator.handle_feedback((0..=u16::MAX).map(|n| Arrival { number: n, at: None }), at);
        }
    }
    assert!(estimator.history.memory() <= 128 * 1024, "{}", estimator.history.memory());
    assert!(size_of::<Estimator>() < 4 * 1024, "{}", size_of::<Estimator>());
}

#[test]
fn times_that_go_backwards_are_survived() {
    let start = Instant::now();
    let mut estimator = Estimator::new(LIMITS, ms(start, 5_000));
    for number in 0..1000_u64 {
        let at = ms(start, 10_000 - number * 10);
        estimator.handle_sent(Sent { number, size: 1250, at, probe: None });
        estimator.handle_feedback([honest(number, 1_000_000 - number as i64)].into_iter(), at);
        estimator.handle_timeout(at);
        estimator.poll_probe(at);
        assert!(estimator.deadline().is_some());
    }
}
