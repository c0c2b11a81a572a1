//! Arrivals by the receiver's clock, in groups: packets sent as one burst count as one observation.

/// The receiver's clock begins anew after so many µs: 24 bits of 64 ms.
const WRAP: i64 = (1 << 24) * 64_000;
/// Packets that left within so many µs are one group, as in draft-ietf-rmcat-gcc-02, section 5.2.
const BURST: i64 = 5_000;
/// A delay that changes by more than this between two packets is a receiver's clock that was set, in µs (libwebrtc
/// begins anew at the same figure).
const JUMP: i64 = 3_000_000;

/// A packet that arrived. All times are in µs, each by the clock of its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) number: u64,
    pub(super) sent: i64,
    pub(super) arrived: i64,
    pub(super) size: u16,
}

impl Packet {
    /// From sending to arrival, with an offset between the clocks that doesn't change.
    pub(super) fn delay(&self) -> i64 {
        self.arrived - self.sent
    }
}

/// The receiver's clock, made continuous.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// The latest reading, continuous, and the delay it meant.
    last: Option<(i64, i64)>,
}

impl Clock {
    /// The continuous time of a packet that left at `sent` and arrived at the reading `at`; and whether the clock was
    /// set since the packet before, so that no time from before it compares with this.
    pub(super) fn read(&mut self, at: i64, sent: i64) -> (i64, bool) {
        let at = at.rem_euclid(WRAP);
        let Some((last, delay)) = self.last else {
            self.last = Some((at, at - sent));
            return (at, false);
        };
        let ahead = (at - last).rem_euclid(WRAP);
        let arrived = last + if ahead >= WRAP / 2 { ahead - WRAP } else { ahead };
        let jumped = (arrived - sent - delay).abs() > JUMP;
        // Readings from here on stay small, however often a receiver sets its clock.
        let arrived = if jumped { at } else { arrived };
        self.last = Some((arrived, arrived - sent));
        (arrived, jumped)
    }
}

/// What a group showed: the packet of it that waited least. Its fellows waited for each other as well, which says how
/// large the burst was, not how full the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) sent: i64,
    pub(super) delay: i64,
}

/// The group that is open.
#[derive(Debug, Default)]
pub(super) struct Groups {
    open: Option<(i64, Sample)>,
}

impl Groups {
    /// Takes the next packet; gives the group before it when it begins another.
    pub(super) fn add(&mut self, packet: &Packet) -> Option<Sample> {
        let sample = Sample { sent: packet.sent, delay: packet.delay() };
        let Some((first, least)) = &mut self.open else {
            self.open = Some((packet.sent, sample));
            return None;
        };
        if packet.sent - *first <= BURST {
            // One that left before the group began came late: what it waited is no news.
            if packet.sent >= *first && sample.delay < least.delay {
                *least = sample;
            }
            return None;
        }
        let done = *least;
        self.open = Some((packet.sent, sample));
        Some(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sent: i64, arrived: i64) -> Packet {
        Packet { number: 0, sent, arrived, size: 1200 }
    }

    #[test]
    fn a_burst_is_one_sample_of_its_least_delay() {
        let mut groups = Groups::default();
        assert_eq!(groups.add(&packet(0, 900)), None);
        assert_eq!(groups.add(&packet(100, 950)), None, "waited less than the first");
        assert_eq!(groups.add(&packet(4_000, 9_000)), None);
        assert_eq!(groups.add(&packet(-1, 0)), None, "late from an earlier group");
        assert_eq!(groups.add(&packet(33_000, 34_000)), Some(Sample { sent: 100, delay: 850 }));
        assert_eq!(groups.add(&packet(66_000, 66_500)), Some(Sample { sent: 33_000, delay: 1_000 }));
    }

    #[test]
    fn the_clock_wraps_without_a_jump() {
        let mut clock = Clock::default();
        assert_eq!(clock.read(WRAP - 10, 0), (WRAP - 10, false));
        assert_eq!(clock.read(20, 30), (WRAP + 20, false));
        assert_eq!(clock.read(WRAP - 5, 35), (WRAP - 5, false), "reordered across the wrap");
    }

    #[test]
    fn a_clock_that_is_set_is_found_in_both_directions() {
        let mut clock = Clock::default();
        clock.read(10_000_000, 0);
        assert_eq!(clock.read(10_020_000, 20_000), (10_020_000, false));
        assert_eq!(clock.read(60_000_000, 40_000), (60_000_000, true), "forward");
        assert_eq!(clock.read(60_020_000, 60_000), (60_020_000, false));
        assert_eq!(clock.read(1_000_000, 80_000), (1_000_000, true), "backward");
        // No reading leads out of the range of times, however wild.
        for (step, at) in
            [i64::MIN, i64::MAX, -1, 0, WRAP * 1000].into_iter().cycle().take(10_000).enumerate()
        {
            let (arrived, _) = clock.read(at, step as i64);
            assert!(arrived.abs() <= 2 * WRAP, "{arrived}");
        }
    }

    #[test]
    fn a_pause_is_no_jump() {
        let mut clock = Clock::default();
        clock.read(0, 0);
        assert_eq!(clock.read(60_000_000, 60_000_000), (60_000_000, false));
    }
}
