//! Tracks missing packets and when to request each again (RFC 4585, 6.2.1).
//!
//! A missing packet is lost, or was overtaken and is merely late. So the first request waits for as long as late packets
//! of this path take: a request for one of them has it sent twice, and the wait for a lost one is delay.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::reordering::Reordering;

/// How often a packet is requested. With 20 % loss each way, one in 20,000 is still missing after that.
const MAX_ASKED: u8 = 10;
/// The wait before another request, in addition to the round trip: senders pace retransmissions.
const MARGIN: Duration = Duration::from_millis(10);
/// Missing packets at a time: half a second at 8 Mbit/s. After a larger gap a key frame takes fewer bytes.
const MAX_MISSING: usize = 500;
/// Packets per request: each may take four bytes of a datagram.
const MAX_AT_ONCE: usize = 100;
/// Retransmissions that are remembered: the originals of those that came too early are still on their way.
const REMEMBERED: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Wanted {
    /// Since when it is missing.
    since: Instant,
    /// When to request it next.
    at: Instant,
    asked: u8,
    /// When a retransmission can be here.
    answered_at: Option<Instant>,
}

#[derive(Debug, Default)]
pub(in crate::rtc) struct Missing {
    highest: Option<u64>,
    wanted: BTreeMap<u64, Wanted>,
    /// Whether retransmissions have a format of their own (RFC 4588).
    has_repeats: bool,
    /// Packets that were sent again, and since when they were missing.
    repeated: VecDeque<(u64, Instant)>,
    reordering: Reordering,
}

impl Missing {
    pub(in crate::rtc) fn set_repeats(&mut self, has_repeats: bool) {
        self.has_repeats = has_repeats;
    }

    /// Returns the state for a new sender on the same path.
    pub(in crate::rtc) fn anew(&self) -> Missing {
        let (has_repeats, reordering) = (self.has_repeats, self.reordering.clone());
        Missing { has_repeats, reordering, ..Missing::default() }
    }

    /// Handles a retransmission with a format of its own.
    pub(in crate::rtc) fn handle_repeat(&mut self, number: u64) {
        if let Some(wanted) = self.wanted.remove(&number) {
            self.reordering.lost();
            self.repeated.truncate(REMEMBERED - 1);
            self.repeated.push_front((number, wanted.since));
        }
    }

    /// Handles a packet: those between it and the previous ones are missing.
    pub(in crate::rtc) fn handle_packet(&mut self, number: u64, now: Instant) {
        // The next one was neither missing nor sent again.
        if self.highest.is_some_and(|highest| number == highest + 1) {
            self.highest = Some(number);
            return;
        }
        if let Some(wanted) = self.wanted.remove(&number) {
            let is_repeat = !self.has_repeats && wanted.answered_at.is_some_and(|at| now >= at);
            match is_repeat {
                true => self.reordering.lost(),
                false => self.reordering.late(now.saturating_duration_since(wanted.since)),
            }
        } else if let Some((_, since)) = self.repeated.iter().find(|(repeated, _)| *repeated == number) {
            self.reordering.late(now.saturating_duration_since(*since));
        }
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
        let at = now + self.reordering.wait();
        let wanted = Wanted { since: now, at, asked: 0, answered_at: None };
        self.wanted.extend((highest + 1..number).map(|number| (number, wanted)));
    }

    /// Gives up on packets before this one.
    pub(in crate::rtc) fn forget_before(&mut self, number: u64) {
        if self.wanted.first_key_value().is_some_and(|(first, _)| *first < number) {
            self.wanted = self.wanted.split_off(&number);
        }
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
            // The round trip is an average.
            wanted.answered_at.get_or_insert(now + rtt * 3 / 4);
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

    use crate::rtc::recv::reordering::LEAST;

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
        let later = now + LEAST;
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
        assert_eq!(missing.poll(RTT, now + LEAST), [4, 5]);
        // A gap for which a key frame takes fewer bytes.
        missing.handle_packet(1000, now);
        assert_eq!(missing.deadline(), None);
        missing.handle_packet(1002, now);
        assert_eq!(missing.poll(RTT, now + LEAST), [1001]);
    }

    /// The requests on a path where every fourth packet is `late_ms` late, of the first thousand packets and of the next;
    /// each request is answered after the round trip.
    fn requests(late_ms: u64, has_repeats: bool) -> [usize; 2] {
        let start = Instant::now();
        let mut missing = Missing::default();
        missing.set_repeats(has_repeats);
        let mut arrivals: Vec<(u64, u64)> =
            (0..2000).map(|n| (n * 5 + if n % 4 == 1 { late_ms } else { 0 }, n)).collect();
        arrivals.sort_unstable();
        let mut answers: BTreeMap<u64, u64> = BTreeMap::new();
        let mut asked = [0; 2];
        let mut arrivals = arrivals.into_iter().peekable();
        for ms in 0..12_000 {
            let now = start + Duration::from_millis(ms);
            while let Some((_, number)) = arrivals.next_if(|(at, _)| *at <= ms) {
                missing.handle_packet(number, now);
            }
            while let Some(entry) = answers.first_entry().filter(|entry| *entry.key() / 10_000 <= ms) {
                let number = entry.remove();
                match has_repeats {
                    true => missing.handle_repeat(number),
                    false => missing.handle_packet(number, now),
                }
            }
            for number in missing.poll(RTT, now) {
                let number = u64::from(number);
                asked[usize::from(number >= 1000)] += 1;
                answers.insert((ms + 40) * 10_000 + number, number);
            }
        }
        asked
    }

    #[test]
    fn packets_that_are_merely_late_are_hardly_asked_for() {
        for has_repeats in [true, false] {
            assert_eq!(requests(8, has_repeats), [0, 0]);
            for late_ms in [17, 28, 90] {
                // Without a format of its own, an answer comes as early as a packet that is so late.
                let [first, then] = requests(late_ms, has_repeats);
                let name = format!("{late_ms} ms late, {has_repeats}: {first} requests, then {then}");
                if has_repeats || late_ms < 30 {
                    assert!((1..40).contains(&first) && then == 0, "{name}");
                } else {
                    assert!(first > 100 && then > 100, "{name}");
                }
            }
        }
    }

    #[test]
    fn what_is_lost_on_a_path_that_reorders_is_asked_for_after_the_wait() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut missing = Missing::default();
        missing.set_repeats(true);
        for n in 0..20 {
            for (number, ms) in [(2 * n + 1, 100 * n), (2 * n, 100 * n + 30)] {
                missing.handle_packet(number, at(ms));
                missing.poll(RTT, at(ms));
            }
        }
        missing.handle_packet(42, at(3000));
        assert_eq!(missing.deadline(), Some(at(3032)));
        assert_eq!(missing.anew().reordering.wait(), Duration::from_millis(32), "the path is the same");
        missing.handle_repeat(40);
        missing.handle_repeat(41);
        assert_eq!(missing.deadline(), None);
    }
}
