//! Checks whether a camera's RTP timestamps are plausible: some run twice as fast as real time, or not at all.
//!
//! They are compared with arrival times. Networks delay and bunch packets, so the check covers seconds and must fail
//! twice in a row in the same way; then arrival times replace the timestamps (RFC 3550, 5.1: the clock must increase
//! linearly in time).

use std::time::Duration;

/// The clock is judged this often.
const WINDOW: Duration = Duration::from_secs(3);
/// Timestamps may advance this much faster or slower than packets arrive. Clocks of crystals differ by 0.01 %; what
/// remains is the network's share within a window.
const FASTER: f64 = 1.4;
const SLOWER: f64 = 0.7;

/// One RTP stream's clock.
#[derive(Debug)]
pub struct SenderClock {
    /// Ticks a second.
    rate: u32,
    /// The first packet of the window: its timestamp and arrival.
    since: Option<(u32, Duration)>,
    last_wrong: Option<Wrong>,
    replaced: Option<Replaced>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Fast,
    Slow,
}

/// Timestamps by arrival.
#[derive(Debug)]
struct Replaced {
    /// A timestamp of ours, and when it was.
    base: (u32, Duration),
    /// The sender's last timestamp, and ours for it: packets of one frame share theirs.
    last: (u32, u32),
}

impl SenderClock {
    /// Creates a clock; `rate` is the RTP clock rate in Hz from the session description.
    pub fn new(rate: u32) -> Self {
        SenderClock { rate: rate.max(1), since: None, last_wrong: None, replaced: None }
    }

    /// Whether arrival times replace the timestamps.
    pub fn is_replaced(&self) -> bool {
        self.replaced.is_some()
    }

    /// Records a packet and returns the timestamp to use for it.
    pub fn handle_packet(&mut self, timestamp: u32, arrived: Duration) -> u32 {
        if let Some(replaced) = &mut self.replaced {
            return replaced.timestamp(timestamp, arrived, self.rate);
        }
        let Some((first, began)) = self.since else {
            self.since = Some((timestamp, arrived));
            return timestamp;
        };
        let time = arrived.saturating_sub(began);
        if time < WINDOW {
            return timestamp;
        }
        // The difference has a sign: frames may be sent in another order than they are shown.
        let ticks = timestamp.wrapping_sub(first).cast_signed();
        let ratio = f64::from(ticks) / f64::from(self.rate) / time.as_secs_f64();
        let wrong = match ratio {
            _ if ratio > FASTER => Some(Wrong::Fast),
            _ if ratio < SLOWER => Some(Wrong::Slow),
            _ => None,
        };
        if wrong.is_some() && wrong == self.last_wrong {
            self.replaced = Some(Replaced { base: (timestamp, arrived), last: (timestamp, timestamp) });
        }
        self.last_wrong = wrong;
        self.since = Some((timestamp, arrived));
        timestamp
    }
}

impl Replaced {
    fn timestamp(&mut self, timestamp: u32, arrived: Duration, rate: u32) -> u32 {
        if timestamp != self.last.0 {
            let (base, began) = self.base;
            let ticks = arrived.saturating_sub(began).as_secs_f64() * f64::from(rate);
            // Timestamps wrap, as they do in RTP.
            self.last = (timestamp, base.wrapping_add(ticks as u64 as u32));
        }
        self.last.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 90_000;

    struct World {
        clock: SenderClock,
        /// The sender's.
        timestamp: f64,
        now: Duration,
    }

    impl World {
        fn new() -> World {
            // It wraps within the first second.
            let timestamp = f64::from(u32::MAX) - 30_000.0;
            World { clock: SenderClock::new(RATE), timestamp, now: Duration::from_secs(7) }
        }

        /// Frames of two packets each, 25 a second, whose timestamps run `speed` times as fast as time; the ones
        /// that are used, and when.
        fn send(&mut self, seconds: u32, speed: f64) -> Vec<(u32, Duration)> {
            let mut used = Vec::new();
            for _ in 0..25 * seconds {
                self.now += Duration::from_millis(40);
                self.timestamp += f64::from(RATE) * 0.04 * speed;
                let timestamp = self.timestamp as u64 as u32;
                let first = self.clock.handle_packet(timestamp, self.now);
                let second = self.clock.handle_packet(timestamp, self.now + Duration::from_millis(5));
                assert_eq!(first, second, "packets of one frame have one time");
                used.push((first, self.now));
            }
            used
        }
    }

    fn is_as_fast_as_time(used: &[(u32, Duration)]) -> bool {
        used.windows(2).all(|pair| {
            let ticks = f64::from(pair[1].0.wrapping_sub(pair[0].0));
            (ticks / f64::from(RATE) - (pair[1].1 - pair[0].1).as_secs_f64()).abs() < 0.001
        })
    }

    #[test]
    fn what_is_impossible_gives_way_to_the_arrival() {
        for speed in [2.0, 10.0, 0.5, 0.0, -1.0] {
            let mut world = World::new();
            world.send(8, speed);
            assert!(world.clock.is_replaced(), "{speed}");
            assert!(is_as_fast_as_time(&world.send(10, speed)) || speed == 0.0, "{speed}");
        }
    }

    #[test]
    fn what_is_possible_is_left_alone() {
        for speed in [1.0, 1.001, 0.999, 1.1, 0.9] {
            let mut world = World::new();
            let before = world.timestamp;
            let used = world.send(30, speed);
            assert!(!world.clock.is_replaced(), "{speed}");
            let expected = (before + f64::from(RATE) * 0.04 * speed) as u64 as u32;
            assert_eq!(used[0].0, expected);
        }
    }

    #[test]
    fn a_network_that_stalls_and_catches_up_is_no_wrong_clock() {
        let mut world = World::new();
        for _ in 0..10 {
            world.send(4, 1.0);
            // Two seconds of frames come at once, after two seconds of none.
            world.now += Duration::from_secs(2);
            for _ in 0..50 {
                world.timestamp += f64::from(RATE) * 0.04;
                world.clock.handle_packet(world.timestamp as u64 as u32, world.now);
            }
        }
        assert!(!world.clock.is_replaced());
    }

    #[test]
    fn a_clock_that_was_set_is_no_wrong_clock() {
        let mut world = World::new();
        for _ in 0..5 {
            world.send(7, 1.0);
            world.timestamp += 1e9;
        }
        assert!(!world.clock.is_replaced());
    }
}
