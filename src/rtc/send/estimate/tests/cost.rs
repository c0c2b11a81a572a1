//! The CPU time of a packet.

use std::time::{Duration, Instant};

use super::super::{Arrival, Estimator, Limits, Sent};

/// CPU time of this thread in ns, if the kernel reports it.
fn cpu() -> Option<u64> {
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}

#[test]
#[ignore = "measures; build it with --release"]
fn a_packet_costs_less_than_a_microsecond() {
    // 2 Mbit/s in frames of 8 packets, feedback every 70 ms, two million packets.
    const PACKETS: u64 = 2_000_000;
    let start = Instant::now();
    let limits = Limits { initial: 2_000_000, min: 50_000, max: 2_000_000 };
    let mut estimator = Estimator::new(limits, start);
    let Some(before) = cpu() else {
        println!("SKIPPED: the kernel doesn't tell CPU time");
        return;
    };
    let mut reported = 0;
    for frame in 0..PACKETS / 8 {
        let at = start + Duration::from_micros(frame * 33_333);
        for packet in 0..8 {
            estimator.handle_sent(Sent { number: frame * 8 + packet, size: 1050, at, probe: None });
        }
        estimator.handle_timeout(at);
        estimator.poll_probe(at);
        if frame % 2 == 1 {
            let next = frame * 8;
            let arrivals = (reported..next).map(|number| Arrival {
                number: number as u16,
                at: Some((number / 8 * 33_333 + number % 8 * 3_800 + number * 7_919 % 3_000) as i64),
            });
            reported = next;
            estimator.handle_feedback(arrivals, at);
        }
    }
    let spent = cpu().unwrap_or(before) - before;
    let each = spent as f64 / PACKETS as f64;
    println!(
        "{each:.0} ns a packet, {} bytes, {} of history",
        size_of::<Estimator>(),
        estimator.history.memory()
    );
    assert!(each < 1_000.0 || cfg!(debug_assertions), "{each} ns");
}
