//! Records which packets arrived and when, for the sender's bandwidth estimate
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::report;
use crate::rtc::crypto::open_rtp::nearest;

/// The unit of arrival times, in microseconds.
const TICK: i64 = 250;
/// The unit of the reference time, in ticks; the field has 24 bits.
const REFERENCE: i64 = 64_000 / TICK;
/// How often feedback is sent: the default of libwebrtc's receiver.
const EVERY: Duration = Duration::from_millis(100);
/// Statuses in one feedback packet: with two bytes of time each it leaves room for reports in the datagram. More than
/// arrive in 100 ms at 20 Mbit/s.
const MAX_STATUSES: u64 = 200;
/// How far a number may be behind the newest.
const WINDOW: u64 = 4000;
/// How many statuses a run-length chunk covers, and a chunk of two-bit statuses.
const MAX_RUN: usize = 0x1fff;
const VECTOR: usize = 7;

/// The arrivals of a session that are not reported yet.
#[derive(Debug)]
pub(in crate::rtc) struct Arrivals {
    zero: Instant,
    /// Extended transport-wide numbers in order, each with its arrival in ticks since `zero`.
    came: VecDeque<(u64, i64)>,
    highest: Option<u64>,
    /// The first unreported number.
    next: Option<u64>,
    /// The number of the next feedback packet.
    number: u8,
    due: Option<Instant>,
}

impl Arrivals {
    pub(in crate::rtc) fn new(now: Instant) -> Arrivals {
        Arrivals { zero: now, came: VecDeque::new(), highest: None, next: None, number: 0, due: None }
    }

    /// Records the arrival of a packet with this number.
    pub(in crate::rtc) fn handle_packet(&mut self, number: u16, now: Instant) {
        let number = match self.highest {
            // Starts one rollover up, so that packets that overtook the first one are not below zero.
            None => 0x1_0000 | u64::from(number),
            Some(highest) => nearest(highest, number),
        };
        let highest = self.highest.map_or(number, |highest| highest.max(number));
        self.highest = Some(highest);
        if number + WINDOW <= highest {
            return;
        }
        let ticks = now.saturating_duration_since(self.zero).as_micros() as i64 / TICK;
        if self.came.back().is_none_or(|(last, _)| *last < number) {
            self.came.push_back((number, ticks));
        } else if let Err(at) = self.came.binary_search_by_key(&number, |(number, _)| *number) {
            self.came.insert(at, (number, ticks));
        }
        let oldest = (highest + 1).saturating_sub(WINDOW);
        while self.came.front().is_some_and(|(first, _)| *first < oldest) {
            self.came.pop_front();
        }
        // Late packets are still reported.
        self.next = Some(self.next.map_or(number, |next| next.min(number)).max(oldest));
        self.due.get_or_insert_with(|| now + EVERY);
    }

    /// Returns when to send feedback.
    pub(in crate::rtc) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Appends one packet of the feedback that is due. If there is more, it stays due.
    pub(in crate::rtc) fn write(&mut self, from: u32, about: u32, out: &mut Vec<u8>) {
        let Some((first, ticks)) = self.came.front() else {
            self.due = None;
            return;
        };
        let base = self.next.unwrap_or(*first).max(first.saturating_sub(MAX_STATUSES / 2));
        // Shortly before the first arrival.
        let reference = ticks / REFERENCE;
        let (mut statuses, mut deltas) = (vec![], vec![]);
        let (mut time, mut count, mut end) = (reference * REFERENCE, 0, base);
        for (number, ticks) in self.came.iter().take_while(|(number, _)| *number < base + MAX_STATUSES) {
            // After a longer silence a new packet starts with its own reference time.
            let Ok(delta) = i16::try_from(ticks - time) else { break };
            statuses.resize((number - base) as usize, 0);
            match u8::try_from(delta) {
                Ok(small) => {
                    statuses.push(1);
                    deltas.push(small);
                }
                Err(_) => {
                    statuses.push(2);
                    deltas.extend_from_slice(&delta.to_be_bytes());
                }
            }
            (time, count, end) = (*ticks, count + 1, number + 1);
        }
        self.came.drain(..count);
        self.next = Some(end);
        if self.came.is_empty() {
            self.due = None;
        }
        let mut body = vec![];
        body.extend_from_slice(&(base as u16).to_be_bytes());
        body.extend_from_slice(&(statuses.len() as u16).to_be_bytes());
        body.extend_from_slice(&(reference as u32).to_be_bytes()[1..]);
        body.push(self.number);
        self.number = self.number.wrapping_add(1);
        chunks(&statuses, &mut body);
        body.extend_from_slice(&deltas);
        report::transport(from, about, &body, out);
    }
}

/// Appends statuses, as runs if possible, otherwise seven at a time.
fn chunks(mut statuses: &[u8], out: &mut Vec<u8>) {
    while let Some(first) = statuses.first() {
        let run = statuses.iter().take(MAX_RUN).take_while(|status| *status == first).count();
        let (len, chunk) = if run >= VECTOR || run == statuses.len() {
            (run, u16::from(*first) << 13 | run as u16)
        } else {
            let len = statuses.len().min(VECTOR);
            let symbols =
                (0..VECTOR).fold(0, |all, n| all << 2 | u16::from(statuses.get(n).copied().unwrap_or(0)));
            (len, 0xc000 | symbols)
        };
        out.extend_from_slice(&chunk.to_be_bytes());
        statuses = &statuses[len..];
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::rtc::send::feedback::{Feedback, read};

    /// Returns the content of the feedback, each number with its arrival in ticks, and the number of feedback packets.
    fn told(arrivals: &mut Arrivals) -> (Vec<(u16, Option<i64>)>, usize) {
        let mut out = vec![];
        while arrivals.deadline().is_some() {
            arrivals.write(1, 2, &mut out);
        }
        let (mut all, mut packets) = (vec![], 0);
        for feedback in read(&out) {
            let Feedback::Transport(feedback) = feedback else { panic!("{feedback:?}") };
            packets += 1;
            all.extend(feedback.arrivals().map(|(number, at)| (number, at.map(|micros| micros / TICK))));
        }
        (all, packets)
    }

    #[test]
    fn the_sender_is_told_what_came_when_and_what_did_not() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut arrivals = Arrivals::new(start);
        for (number, ms) in [(0xfffe, 500), (0xffff, 501), (1, 600), (2, 599)] {
            arrivals.handle_packet(number, at(ms));
        }
        assert_eq!(arrivals.deadline(), Some(at(600)));
        let expected =
            vec![(0xfffe, Some(2000)), (0xffff, Some(2004)), (0, None), (1, Some(2400)), (2, Some(2396))];
        assert_eq!(told(&mut arrivals), (expected, 1));
        assert_eq!((arrivals.deadline(), told(&mut arrivals)), (None, (vec![], 0)));
        // The next feedback continues after the last, so that gaps in between are known.
        arrivals.handle_packet(4, at(700));
        assert_eq!(told(&mut arrivals).0, [(3, None), (4, Some(2800))]);
        arrivals.handle_packet(3, at(710));
        assert_eq!(told(&mut arrivals).0, [(3, Some(2840))], "late, and told after all");
    }

    #[test]
    fn a_long_silence_takes_another_packet() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(start);
        arrivals.handle_packet(1, start);
        arrivals.handle_packet(2, start + Duration::from_secs(60));
        assert_eq!(told(&mut arrivals), (vec![(1, Some(0)), (2, Some(240_000))], 2));
    }

    #[test]
    fn a_jump_of_the_numbers_is_not_told_one_by_one() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(start);
        for number in [0, 30_000, 60_000, 20_000, 19_999, 19_999] {
            arrivals.handle_packet(number, start);
        }
        let (all, _) = told(&mut arrivals);
        assert!(all.len() <= WINDOW as usize, "{}", all.len());
        assert_eq!(all.last(), Some(&(20_000, Some(0))));
    }

    proptest! {
        /// Parsed feedback has each arrival once, at its time.
        #[test]
        fn all_is_told_once(
            steps in proptest::collection::vec((0_u64..12, 0_u64..30_000), 1..600),
            every in 1_usize..200,
        ) {
            let mut now = Instant::now();
            let mut arrivals = Arrivals::new(now);
            let start = now;
            let (mut newest, mut expected, mut all) = (65_000_u64, BTreeMap::new(), vec![]);
            for (n, (step, micros)) in steps.into_iter().enumerate() {
                now += Duration::from_micros(micros);
                let number = newest + step - 4;
                newest = newest.max(number);
                // Duplicates may be reported twice or once.
                if expected.contains_key(&(number as u16)) {
                    continue;
                }
                expected.insert(number as u16, (now - start).as_micros() as i64 / TICK);
                arrivals.handle_packet(number as u16, now);
                if n % every == 0 {
                    all.extend(told(&mut arrivals).0);
                }
            }
            all.extend(told(&mut arrivals).0);
            let told: Vec<(u16, i64)> = all.iter().filter_map(|(number, at)| Some((*number, (*at)?))).collect();
            prop_assert_eq!(told.len(), expected.len());
            prop_assert_eq!(BTreeMap::from_iter(told), expected);
        }
    }
}
