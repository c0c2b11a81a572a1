//! Tracks missing packets and when to request each again (RFC 4585, 6.2.1).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Networks reorder packets. On a path that reorders more than this, some requests are unnecessary, which costs a few
/// bytes.
const REORDERED: Duration = Duration::from_millis(10);
/// How often a packet is requested. With 20 % loss each way, one in 20,000 is still missing after that.
const MAX_ASKED: u8 = 10;
/// The wait before another request, in addition to the round trip: senders pace retransmissions.
const MARGIN: Duration = Duration::from_millis(10);
/// Missing packets at a time: half a second at 8 Mbit/s. After a larger gap a key frame takes fewer bytes.
const MAX_MISSING: usize = 500;
/// Packets per request: each may take four bytes of a datagram.
const MAX_AT_ONCE: usize = 100;

#[derive(Clone, Copy, Debug)]
struct Wanted {
    /// When to request it next.
    at: Instant,
    asked: u8,
}

#[derive(Debug, Default)]
pub(in crate::rtc) struct Missing {
    highest: Option<u64>,
    wanted: BTreeMap<u64, Wanted>,
}

impl Missing {
    /// Handles a packet: those between it and the previous ones are missing.
    pub(in crate::rtc) fn handle_packet(&mut self, number: u64, now: Instant) {
        self.wanted.remove(&number);
        let Some(highest) = self.highest.filter(|highest| number > *highest) else {
            self.highest.get_or_insert(number);
            return;
        };
        self.highest = Some(number);
        let gap = number - highest - 1;
        if self.wanted.len() as u64 + gap > MAX_MISSING as u64 {
            self.wanted.clear();
            return;
        }
        let wanted = Wanted { at: now + REORDERED, asked: 0 };
        self.wanted.extend((highest + 1..number).map(|number| (number, wanted)));
    }

    /// Gives up on packets before this one.
    pub(in crate::rtc) fn forget_before(&mut self, number: u64) {
        self.wanted = self.wanted.split_off(&number);
    }

    /// Whether there is a packet to request now.
    pub(in crate::rtc) fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|at| at <= now)
    }

    /// Returns the numbers to request now, in order; at most as many as fit into a datagram.
    pub(in crate::rtc) fn poll(&mut self, rtt: Duration, now: Instant) -> Vec<u16> {
        let mut out = vec![];
        self.wanted.retain(|number, wanted| {
            if wanted.at > now || out.len() == MAX_AT_ONCE {
                return true;
            }
            if wanted.asked == MAX_ASKED {
                return false;
            }
            out.push(*number as u16);
            wanted.asked += 1;
            wanted.at = now + rtt + MARGIN;
            true
        });
        out
    }

    /// Returns when there is a packet to request.
    pub(in crate::rtc) fn deadline(&self) -> Option<Instant> {
        self.wanted.values().map(|wanted| wanted.at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(40);

    #[test]
    fn what_is_missing_is_asked_for_until_it_comes() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut missing = Missing::default();
        for (number, ms) in [(0xffff, 0), (0x1_0002, 1), (0x1_0000, 5)] {
            missing.handle_packet(number, at(ms));
        }
        assert_eq!(missing.deadline(), Some(at(11)));
        assert!(!missing.is_due(at(10)) && missing.is_due(at(11)));
        assert_eq!(missing.poll(RTT, at(11)), [1]);
        assert_eq!(missing.poll(RTT, at(60)), [0; 0], "the answer could not be here yet");
        assert_eq!(missing.poll(RTT, at(61)), [1]);
        missing.handle_packet(0x1_0001, at(70));
        assert_eq!(missing.deadline(), None);
    }

    #[test]
    fn no_packet_is_asked_for_without_end() {
        let mut now = Instant::now();
        let mut missing = Missing::default();
        missing.handle_packet(1, now);
        missing.handle_packet(3, now);
        let mut asked = 0;
        while let Some(at) = missing.deadline() {
            now = at;
            asked += missing.poll(RTT, now).len();
        }
        assert_eq!(asked, usize::from(MAX_ASKED));
    }

    #[test]
    fn a_large_gap_takes_several_requests() {
        let now = Instant::now();
        let mut missing = Missing::default();
        missing.handle_packet(0, now);
        missing.handle_packet(251, now);
        let later = now + REORDERED;
        let mut asked = vec![];
        for expected in [100, 100, 50] {
            assert!(missing.is_due(later));
            let some = missing.poll(RTT, later);
            assert_eq!(some.len(), expected);
            asked.extend(some);
        }
        assert!(!missing.is_due(later) && asked.into_iter().eq(1..251));
    }

    #[test]
    fn what_nobody_waits_for_is_forgotten() {
        let now = Instant::now();
        let mut missing = Missing::default();
        missing.handle_packet(1, now);
        missing.handle_packet(6, now);
        missing.forget_before(4);
        assert_eq!(missing.poll(RTT, now + REORDERED), [4, 5]);
        // A gap for which a key frame takes fewer bytes.
        missing.handle_packet(1000, now);
        assert_eq!(missing.deadline(), None);
        missing.handle_packet(1002, now);
        assert_eq!(missing.poll(RTT, now + REORDERED), [1001]);
    }
}
