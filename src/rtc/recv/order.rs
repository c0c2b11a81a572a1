//! Puts the packets of one stream back in order, and gives up on those that don't come.
//!
//! What waits for a missing packet is bounded by time and by bytes; then the gap is passed over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What a packet takes beside its payload, with its place in the map.
const OVERHEAD: usize = 128;

/// A packet of a stream.
#[derive(Clone, Debug)]
pub(in crate::rtc) struct Packet {
    /// Its sequence number, with the rollovers before it.
    pub(in crate::rtc) number: u64,
    /// Its RTP timestamp.
    pub(in crate::rtc) time: u32,
    pub(in crate::rtc) marker: bool,
    pub(in crate::rtc) payload: Vec<u8>,
    /// When it arrived.
    pub(in crate::rtc) came: Instant,
}

/// What comes next.
#[derive(Debug)]
pub(in crate::rtc) enum Next {
    Packet(Packet),
    /// So many packets did not come in time.
    Lost(u64),
}

#[derive(Debug)]
pub(in crate::rtc) struct Order {
    patience: Duration,
    max_bytes: usize,
    waiting: BTreeMap<u64, Packet>,
    /// The number of the next packet, once there was one.
    next: Option<u64>,
    bytes: usize,
}

impl Order {
    /// Packets wait at most this long for one before them, and at most so many bytes of them.
    pub(in crate::rtc) fn new(patience: Duration, max_bytes: usize) -> Order {
        Order { patience, max_bytes, waiting: BTreeMap::new(), next: None, bytes: 0 }
    }

    /// The number of the next packet, once there was one.
    pub(in crate::rtc) fn next(&self) -> Option<u64> {
        self.next
    }

    /// Takes a packet, unless it is late or came before. Says whether it was taken.
    pub(in crate::rtc) fn insert(&mut self, packet: Packet) -> bool {
        let next = *self.next.get_or_insert(packet.number);
        if packet.number < next || self.waiting.contains_key(&packet.number) {
            return false;
        }
        self.bytes += size(&packet);
        self.waiting.insert(packet.number, packet);
        true
    }

    /// The next packet, or the gap before it if that was waited for long enough.
    pub(in crate::rtc) fn poll(&mut self, now: Instant) -> Option<Next> {
        let next = self.next?;
        let first = self.waiting.first_entry()?;
        if *first.key() == next {
            let packet = first.remove();
            self.bytes -= size(&packet);
            self.next = Some(next + 1);
            return Some(Next::Packet(packet));
        }
        let late = now.saturating_duration_since(first.get().came) >= self.patience;
        if !late && self.bytes <= self.max_bytes {
            return None;
        }
        let lost = first.key() - next;
        self.next = Some(next + lost);
        Some(Next::Lost(lost))
    }

    /// When the wait for a packet ends.
    pub(in crate::rtc) fn deadline(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|(_, packet)| packet.came + self.patience)
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
        Packet { number, time: 0, marker: false, payload: vec![0; len], came }
    }

    /// Numbers of packets, and of those that were lost, negative.
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
        assert!(came(&mut order, 6));
        assert_eq!(drain(&mut order, now), [6, 7]);
        assert_eq!((order.bytes, order.deadline()), (0, None));
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
        /// Whatever is lost, late or comes twice: numbers go up, gaps are counted, bytes are bounded.
        #[test]
        fn nothing_comes_twice_or_out_of_order(
            steps in proptest::collection::vec((0_u64..60, 0_u64..40, 0_usize..1500), 1..300)
        ) {
            let mut now = Instant::now();
            let mut order = Order::new(PATIENCE, 20_000);
            let (mut newest, mut expected) = (1000, None);
            for (step, ms, len) in steps {
                now += Duration::from_millis(ms);
                let number = newest + step - 30;
                newest = newest.max(number);
                order.insert(packet(number, len, now));
                expected = expected.or(Some(number));
                let mut at = expected.expect("set above");
                for next in drain(&mut order, now) {
                    if next < 0 {
                        at += next.unsigned_abs();
                    } else {
                        prop_assert_eq!(next as u64, at);
                        at += 1;
                    }
                }
                expected = Some(at);
                prop_assert!(order.bytes <= 20_000);
                prop_assert!(order.deadline().is_none_or(|at| at > now));
            }
        }
    }
}
