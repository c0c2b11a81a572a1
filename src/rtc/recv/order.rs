//! Restores the order of one stream's packets, and gives up on those that don't arrive.
//!
//! Packets behind a gap wait for a limited time and up to a limit of bytes; then the gap is skipped. A whole key frame waits
//! less: it needs nothing before it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The memory of a packet in addition to its payload, including its map entry.
const OVERHEAD: usize = 128;
/// How long a whole key frame waits for what precedes it: a round trip, in which a retransmission would have come.
const KEY_PATIENCE: Duration = Duration::from_millis(200);

/// A packet of a stream.
#[derive(Clone, Debug)]
pub(in crate::rtc) struct Packet {
    /// Its extended sequence number, which includes rollovers.
    pub(in crate::rtc) number: u64,
    /// Its RTP timestamp.
    pub(in crate::rtc) time: u32,
    pub(in crate::rtc) marker: bool,
    /// It begins a key frame.
    pub(in crate::rtc) key: bool,
    pub(in crate::rtc) payload: Vec<u8>,
    /// When it arrived.
    pub(in crate::rtc) came: Instant,
}

/// The next packet or gap.
#[derive(Debug)]
pub(in crate::rtc) enum Next {
    Packet(Packet),
    /// This many packets did not arrive in time.
    Lost(u64),
}

#[derive(Debug)]
pub(in crate::rtc) struct Order {
    patience: Duration,
    max_bytes: usize,
    waiting: BTreeMap<u64, Packet>,
    /// The number of the next packet, after the first one.
    next: Option<u64>,
    bytes: usize,
    key: Option<KeyFrame>,
}

/// The latest key frame that waits.
#[derive(Debug)]
struct KeyFrame {
    first: u64,
    /// Its packets before this one have arrived.
    next: u64,
    whole: bool,
}

impl Order {
    /// Packets wait for an earlier one for at most `patience`, and up to `max_bytes` of them.
    pub(in crate::rtc) fn new(patience: Duration, max_bytes: usize) -> Order {
        Order { patience, max_bytes, waiting: BTreeMap::new(), next: None, bytes: 0, key: None }
    }

    /// Returns the number of the next packet, after the first one.
    pub(in crate::rtc) fn next(&self) -> Option<u64> {
        self.next
    }

    /// Passes the packet with this number through if it is the next one: it counts as polled. Others must be inserted.
    pub(in crate::rtc) fn pass(&mut self, number: u64) -> bool {
        let next = self.next.get_or_insert(number);
        let is_next = number == *next && !self.waiting.contains_key(&number);
        *next += u64::from(is_next);
        is_next
    }

    /// Inserts a packet, unless it is late or a duplicate. Returns whether it was inserted.
    pub(in crate::rtc) fn insert(&mut self, packet: Packet) -> bool {
        let next = *self.next.get_or_insert(packet.number);
        if packet.number < next || self.waiting.contains_key(&packet.number) {
            return false;
        }
        self.bytes += size(&packet);
        if packet.key && self.key.as_ref().is_none_or(|key| key.first < packet.number) {
            self.key = Some(KeyFrame { first: packet.number, next: packet.number, whole: false });
        }
        self.waiting.insert(packet.number, packet);
        true
    }

    /// Returns the next packet, or the gap before it once its wait is over.
    pub(in crate::rtc) fn poll(&mut self, now: Instant) -> Option<Next> {
        let next = self.next?;
        let first = self.waiting.first_entry()?;
        if *first.key() == next {
            let packet = first.remove();
            self.bytes -= size(&packet);
            self.next = Some(next + 1);
            self.key.take_if(|key| key.first <= next);
            return Some(Next::Packet(packet));
        }
        let (first, waited) = (*first.key(), now.saturating_duration_since(first.get().came));
        if let Some(key) = self.whole_key().filter(|_| waited >= KEY_PATIENCE.min(self.patience)) {
            return Some(Next::Lost(self.skip_to(key, next)));
        }
        if waited < self.patience && self.bytes <= self.max_bytes {
            return None;
        }
        self.next = Some(first);
        Some(Next::Lost(first - next))
    }

    /// The first packet of the key frame, if it is whole.
    fn whole_key(&mut self) -> Option<u64> {
        let key = self.key.as_mut()?;
        while !key.whole
            && let Some(packet) = self.waiting.get(&key.next)
        {
            (key.next, key.whole) = (key.next + 1, packet.marker);
        }
        key.whole.then_some(key.first)
    }

    /// Drops the packets before `key`, which refer to missing ones. Returns how many from `next` on did not arrive.
    fn skip_to(&mut self, key: u64, next: u64) -> u64 {
        let kept = self.waiting.split_off(&key);
        let dropped = std::mem::replace(&mut self.waiting, kept);
        self.bytes -= dropped.values().map(size).sum::<usize>();
        self.next = Some(key);
        key - next - dropped.len() as u64
    }

    /// Returns when the wait for a missing packet ends.
    pub(in crate::rtc) fn deadline(&self) -> Option<Instant> {
        let whole = self.key.as_ref().is_some_and(|key| key.whole);
        let patience = if whole { KEY_PATIENCE.min(self.patience) } else { self.patience };
        self.waiting.first_key_value().map(|(_, packet)| packet.came + patience)
    }
}

fn size(packet: &Packet) -> usize {
    packet.payload.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(100);

    fn packet(number: u64, len: usize, came: Instant) -> Packet {
        Packet { number, time: 0, marker: false, key: false, payload: vec![0; len], came }
    }

    /// Returns the numbers of packets; the counts of lost ones are negative.
    fn drain(order: &mut Order, now: Instant) -> Vec<i64> {
        let next = |next| match next {
            Next::Packet(packet) => packet.number as i64,
            Next::Lost(count) => -(count as i64),
        };
        std::iter::from_fn(|| order.poll(now).map(next)).collect()
    }

    #[test]
    fn packets_come_out_in_order_and_once() {
        let now = Instant::now();
        let mut order = Order::new(PATIENCE, 1 << 20);
        let came = |order: &mut Order, number| order.insert(packet(number, 10, now));
        assert!(came(&mut order, 5));
        assert_eq!(drain(&mut order, now), [5]);
        assert!(came(&mut order, 7) && !came(&mut order, 7) && !came(&mut order, 5) && !came(&mut order, 4));
        assert!(drain(&mut order, now).is_empty());
        assert!(came(&mut order, 6) && !order.pass(6), "it waits already");
        assert_eq!(drain(&mut order, now), [6, 7]);
        assert_eq!((order.bytes, order.deadline()), (0, None));
        assert!(order.pass(8) && !order.pass(8) && !order.pass(10) && !came(&mut order, 8));
    }

    #[test]
    fn a_gap_is_passed_over_when_its_time_has_come() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut order = Order::new(PATIENCE, 1 << 20);
        for (number, ms) in [(1, 0), (3, 10), (6, 50)] {
            order.insert(packet(number, 10, at(ms)));
        }
        assert_eq!(drain(&mut order, at(50)), [1]);
        assert_eq!(order.deadline(), Some(at(110)));
        assert!(drain(&mut order, at(109)).is_empty());
        assert_eq!(drain(&mut order, at(110)), [-1, 3]);
        assert_eq!(order.deadline(), Some(at(150)), "each gap has its own time");
        assert_eq!(drain(&mut order, at(150)), [-2, 6]);
    }

    #[test]
    fn a_whole_key_frame_waits_less_for_what_precedes_it() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut order = Order::new(5 * KEY_PATIENCE, 1 << 20);
        // 2, 4 and 7 are lost; 5 to 8 are a key frame.
        for (number, ms) in [(1, 0), (3, 10), (5, 20), (6, 30), (8, 40), (9, 50)] {
            let packet = packet(number, 10, at(ms));
            order.insert(Packet { key: number == 5, marker: number == 8, ..packet });
        }
        assert_eq!(drain(&mut order, at(50)), [1]);
        assert!(drain(&mut order, at(999)).is_empty(), "it is not whole");
        order.insert(packet(7, 10, at(999)));
        assert_eq!(drain(&mut order, at(999)), [-2, 5, 6, 7, 8, 9]);
        assert_eq!((order.bytes, order.deadline()), (0, None));
        // One before which nothing waits long.
        order.insert(packet(11, 10, at(1100)));
        order.insert(Packet { key: true, marker: true, ..packet(13, 10, at(1200)) });
        assert!(drain(&mut order, at(1299)).is_empty());
        assert_eq!(order.deadline(), Some(at(1300)));
        assert_eq!(drain(&mut order, at(1300)), [-2, 13]);
    }

    #[test]
    fn a_gap_is_passed_over_when_too_many_bytes_wait() {
        let now = Instant::now();
        let mut order = Order::new(PATIENCE, 10_000);
        order.insert(packet(1, 10, now));
        let mut out = drain(&mut order, now);
        for number in 3..100 {
            order.insert(packet(number, 1000, now));
            out.extend(drain(&mut order, now));
            assert!(order.bytes <= 10_000);
        }
        assert_eq!(out, [&[1, -1][..], &(3..100).collect::<Vec<_>>()].concat());
    }

    proptest! {
        /// With any loss, delay or duplication: numbers increase, gaps are counted, bytes are bounded. It is the same
        /// for packets that pass.
        #[test]
        fn nothing_comes_twice_or_out_of_order(
            steps in proptest::collection::vec((0_u64..60, 0_u64..40, 0_usize..1500), 1..300)
        ) {
            let mut now = Instant::now();
            let mut order = Order::new(PATIENCE, 20_000);
            let mut passed = Order::new(PATIENCE, 20_000);
            let (mut newest, mut expected) = (1000, None);
            for (step, ms, len) in steps {
                now += Duration::from_millis(ms);
                let number = newest + step - 30;
                newest = newest.max(number);
                order.insert(packet(number, len, now));
                expected = expected.or(Some(number));
                let mut at = expected.expect("set above");
                let passes = passed.pass(number);
                if !passes {
                    passed.insert(packet(number, len, now));
                }
                let mut out: Vec<i64> = passes.then_some(number as i64).into_iter().collect();
                out.extend(drain(&mut passed, now));
                prop_assert_eq!(&out, &drain(&mut order, now));
                for next in out {
                    if next < 0 {
                        at += next.unsigned_abs();
                    } else {
                        prop_assert_eq!(next as u64, at);
                        at += 1;
                    }
                }
                expected = Some(at);
                prop_assert!(order.bytes <= 20_000 && passed.bytes == order.bytes);
                prop_assert!(order.deadline().is_none_or(|at| at > now));
            }
        }
    }
}
