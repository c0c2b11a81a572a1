//! Receivers without transport-wide feedback: reports and REMB.

use std::time::{Duration, Instant};

use super::super::{Arrival, Estimator, Limits, Sent};

const LIMITS: Limits = Limits { initial: 500_000, min: 50_000, max: 5_000_000 };

/// Sends at `rate` for a second, up to `now`.
fn send(estimator: &mut Estimator, number: &mut u64, rate: u32, now: Instant) {
    let packets = rate / 8 / 1000;
    for packet in 0..packets {
        let at = now - Duration::from_secs(1) + Duration::from_secs(1) * packet / packets;
        estimator.handle_sent(Sent { number: *number, size: 1000, at, probe: None });
        *number += 1;
    }
}

#[test]
fn reports_without_loss_raise_the_estimate_as_far_as_it_is_used() {
    let start = Instant::now();
    let (mut estimator, mut number) = (Estimator::new(LIMITS, start), 0);
    for second in 1..=20 {
        let now = start + Duration::from_secs(second);
        send(&mut estimator, &mut number, 600_000, now);
        estimator.handle_report(0.0, Some(Duration::from_millis(40)), now);
    }
    let estimate = estimator.estimate();
    assert!((800_000..950_000).contains(&estimate), "{estimate}");
    assert_eq!(estimator.rtt(), Some(Duration::from_millis(40)));
}

#[test]
fn reports_of_loss_lower_it_to_what_passes() {
    let start = Instant::now();
    let (mut estimator, mut number) = (Estimator::new(LIMITS, start), 0);
    for second in 1..=20 {
        let now = start + Duration::from_secs(second);
        let sent = estimator.estimate();
        send(&mut estimator, &mut number, sent, now);
        let lost = 1.0 - (300_000.0 / sent as f32).min(1.0);
        estimator.handle_report(lost, None, now);
    }
    let estimate = estimator.estimate();
    assert!((240_000..345_000).contains(&estimate), "{estimate}");
    for odd in [f32::NAN, f32::INFINITY, -1.0, 7.0] {
        estimator.handle_report(odd, Some(Duration::MAX), start + Duration::from_secs(30));
    }
    assert!((0.0..=1.0).contains(&estimator.loss()));
}

#[test]
fn a_receivers_estimate_is_followed_within_the_limits_until_there_is_feedback() {
    let start = Instant::now();
    let mut estimator = Estimator::new(LIMITS, start);
    for (remb, expected) in [(1_000_000, 1_000_000), (300_000, 300_000), (0, 50_000), (u32::MAX, 5_000_000)] {
        estimator.handle_remb(remb, start);
        assert_eq!(estimator.estimate(), expected);
    }
    assert_eq!(estimator.poll_probe(start), None, "it probes by itself");
    estimator.handle_sent(Sent { number: 1, size: 1000, at: start, probe: None });
    let arrivals = [Arrival { number: 1, at: Some(5_000_000) }];
    estimator.handle_feedback(arrivals.into_iter(), start + Duration::from_millis(30));
    assert_eq!(estimator.estimate(), 5_000_000);
    // From then on it is a limit, and no more.
    for (remb, expected) in [(1_000_000, 1_000_000), (u32::MAX, 1_000_000), (0, 50_000)] {
        estimator.handle_remb(remb, start);
        assert_eq!(estimator.estimate(), expected);
    }
}

#[test]
fn a_round_trip_of_a_report_is_preferred_to_our_own() {
    let start = Instant::now();
    let mut estimator = Estimator::new(LIMITS, start);
    assert_eq!(estimator.rtt(), None);
    let mut feedback = |number: u64, ms: u64, report: Option<u64>| {
        let at = start + Duration::from_millis(ms);
        estimator.handle_sent(Sent { number, size: 1000, at, probe: None });
        let arrivals = [Arrival { number: number as u16, at: Some(ms as i64 * 1000) }];
        estimator.handle_feedback(arrivals.into_iter(), at + Duration::from_millis(80));
        if let Some(report) = report {
            estimator.handle_report(0.0, Some(Duration::from_millis(report)), at);
        }
        estimator.rtt()
    };
    assert_eq!(feedback(0, 100, None), Some(Duration::from_millis(80)));
    assert_eq!(feedback(1, 200, Some(50)), Some(Duration::from_millis(50)));
    assert_eq!(feedback(2, 300, None), Some(Duration::from_millis(50)));
    assert!(feedback(3, 60_000, None) > Some(Duration::from_millis(50)), "the report is too old");
}
