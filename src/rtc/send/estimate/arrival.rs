//! Arrivals by the receiver's clock, in groups: the packets of one burst count as one observation.

/// The receiver's clock wraps after this time, in µs: 24 bits of 64 ms.
const WRAP: i64 = (1 << 24) * 64_000;
/// Packets that left within this time are one group, in µs (draft-ietf-rmcat-gcc-02, section 5.2).
const BURST: i64 = 5_000;
/// If the delay changes by more than this between two packets, the receiver's clock was set; in µs (libwebrtc resets at
/// the same value).
const JUMP: i64 = 3_000_000;

/// A packet that arrived. All times are in µs, each by its own end's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) number: u64,
    pub(super) sent: i64,
    pub(super) arrived: i64,
    pub(super) size: u16,
    /// A packet that left later arrived before it: its delay says nothing about a queue.
    pub(super) overtaken: bool,
}

impl Packet {
    /// From sending to arrival, plus a constant offset between the clocks.
    pub(super) fn delay(&self) -> i64 {
        self.arrived - self.sent
    }
}

/// Finds the packets of one feedback, in the order of their numbers, that others overtook. Numbers up to `reported` are
/// those of earlier feedback, which reported them as missing or overtook this one.
pub(super) fn find_overtaken(packets: &mut [Packet], reported: u64) {
    let mut next = i64::MAX;
    for packet in packets.iter_mut().rev() {
        packet.overtaken = packet.arrived > next || packet.number <= reported;
        next = next.min(packet.arrived);
    }
}

/// The receiver's clock, without jumps.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// The latest continuous reading, and the delay that it implied.
    last: Option<(i64, i64)>,
}

impl Clock {
    /// The continuous time of a packet that left at `sent` and arrived at the reading `at`; and whether the clock was
    /// set since the previous packet, so that earlier times cannot be compared with this one.
    pub(super) fn read(&mut self, at: i64, sent: i64) -> (i64, bool) {
        let at = at.rem_euclid(WRAP);
        let Some((last, delay)) = self.last else {
            self.last = Some((at, at - sent));
            return (at, false);
        };
        let ahead = (at - last).rem_euclid(WRAP);
        let arrived = last + if ahead >= WRAP / 2 { ahead - WRAP } else { ahead };
        let jumped = (arrived - sent - delay).abs() > JUMP;
        // So readings stay small, however often a receiver sets its clock.
        let arrived = if jumped { at } else { arrived };
        self.last = Some((arrived, arrived - sent));
        (arrived, jumped)
    }
}

/// The observation of a group: the packet that waited least. The others also waited for each other, which shows how
/// large the burst was, not how full the path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) sent: i64,
    pub(super) delay: i64,
}

/// The current group.
#[derive(Debug, Default)]
pub(super) struct Groups {
    open: Option<(i64, Sample)>,
}

impl Groups {
    /// Takes the next packet. If it begins a new group, returns the previous one.
    pub(super) fn add(&mut self, packet: &Packet) -> Option<Sample> {
        let sample = Sample { sent: packet.sent, delay: packet.delay() };
        let Some((first, least)) = &mut self.open else {
            self.open = Some((packet.sent, sample));
            return None;
        };
        if packet.sent - *first <= BURST {
            // A packet that left before the group began arrived late: its delay says nothing about the present.
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
        Packet { number: 0, sent, arrived, size: 1200, overtaken: false }
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
        // No reading, however wild, leads out of the range of times.
        for (step, at) in
            [i64::MIN, i64::MAX, -1, 0, WRAP * 1000].into_iter().cycle().take(10_000).enumerate()
        {
            let (arrived, _) = clock.read(at, step as i64);
            assert!(arrived.abs() <= 2 * WRAP, "{arrived}");
        }
    }

    #[test]
    fn packets_that_others_overtook_are_found() {
        let arrived = [90, 130, 100, 131, 132, 101, 150];
        let mut packets: Vec<_> = arrived.iter().map(|at| packet(0, *at)).collect();
        packets.iter_mut().zip(7..).for_each(|(packet, number)| packet.number = number);
        find_overtaken(&mut packets, 7);
        let found: Vec<_> = packets.iter().filter(|packet| packet.overtaken).map(|p| p.arrived).collect();
        assert_eq!(found, [90, 130, 131, 132]);
    }

    #[test]
    fn a_pause_is_no_jump() {
        let mut clock = Clock::default();
        clock.read(0, 0);
        assert_eq!(clock.read(60_000_000, 60_000_000), (60_000_000, false));
    }
}
