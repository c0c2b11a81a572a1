//! The packets that were sent, by number, until the receiver reports on them.

use std::collections::VecDeque;

use super::Sent;

/// How long a packet is remembered, in µs. Feedback comes every 50 to 250 ms, and a path with a round trip of over two
/// seconds cannot carry live video.
const KEPT: i64 = 3_000_000;
/// The maximum number of packets remembered, for 3 s at 32 Mbit/s: 128 KB. Up to half of the 16-bit range, numbers are
/// unambiguous.
const MAX_KEPT: usize = 8192;

/// What happened to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Unknown,
    /// Reported as not received, which a later report may correct.
    Missing,
    Received,
}

/// A packet that left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// When it left, in µs since the estimator began.
    pub(super) at: i64,
    pub(super) size: u16,
    pub(super) fate: Fate,
}

/// Packets that left recently. Numbers without a packet are kept as packets of size 0.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The number of the first record.
    first: u64,
    records: VecDeque<Record>,
}

impl History {
    /// Remembers a packet that left at `at`. A number that is not above all previous ones is ignored.
    pub(super) fn push(&mut self, sent: Sent, at: i64) -> bool {
        let next = self.first + self.records.len() as u64;
        if sent.number < next && !self.records.is_empty() {
            return false;
        }
        if self.records.is_empty() || sent.number - next >= MAX_KEPT as u64 {
            self.records.clear();
            self.first = sent.number;
        }
        while self.first + (self.records.len() as u64) < sent.number {
            self.add(Record { at, size: 0, fate: Fate::Received });
        }
        self.add(Record { at, size: sent.size, fate: Fate::Unknown });
        while self.records.front().is_some_and(|oldest| oldest.at < at - KEPT) {
            self.forget_oldest();
        }
        true
    }

    fn add(&mut self, record: Record) {
        // Before one is added; otherwise the memory would double.
        if self.records.len() == MAX_KEPT {
            self.forget_oldest();
        }
        self.records.push_back(record);
    }

    fn forget_oldest(&mut self) {
        self.records.pop_front();
        self.first += 1;
    }

    /// Bytes of memory in use.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.records.capacity() * size_of::<Record>()
    }

    /// The bytes of the packets that left after this one.
    pub(super) fn bytes_after(&self, number: u64) -> u64 {
        let first = (number + 1).saturating_sub(self.first).min(self.records.len() as u64);
        self.records.range(first as usize..).map(|record| u64::from(record.size)).sum()
    }

    /// The packet that the receiver identifies by the low 16 bits of its number. None if it was never sent, is
    /// forgotten, or was already reported as received: each counts once.
    pub(super) fn reported(&mut self, number: u16) -> Option<(u64, &mut Record)> {
        let newest = self.first + (self.records.len() as u64).checked_sub(1)?;
        let back = u64::from((newest as u16).wrapping_sub(number));
        let number = newest.checked_sub(back)?;
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let record = self.records.get_mut(index)?;
        (record.fate != Fate::Received).then_some((number, record))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn sent(number: u64) -> Sent {
        Sent { number, size: 100, at: Instant::now(), probe: None }
    }

    #[test]
    fn numbers_are_found_across_a_wrap() {
        let mut history = History::default();
        for number in 65_000..66_000 {
            assert!(history.push(sent(number), number as i64));
        }
        assert_eq!(history.reported(65_535).expect("sent").0, 65_535);
        assert_eq!(history.reported(0).expect("sent").0, 65_536);
        assert_eq!(history.reported(65_000).expect("sent").0, 65_000);
        assert!(history.reported(64_999).is_none(), "before the first");
        assert!(history.reported(464).is_none(), "after the last");
    }

    #[test]
    fn each_packet_counts_once_and_a_missing_one_may_still_arrive() {
        let mut history = History::default();
        assert!(history.reported(0).is_none(), "nothing was sent");
        history.push(sent(7), 0);
        history.reported(7).expect("sent").1.fate = Fate::Missing;
        history.reported(7).expect("may arrive late").1.fate = Fate::Received;
        assert!(history.reported(7).is_none());
        assert!(!history.push(sent(7), 1), "a number twice");
    }

    #[test]
    fn what_left_after_a_packet_is_counted() {
        let mut history = History::default();
        assert_eq!(history.bytes_after(0), 0);
        (70_000..70_010).for_each(|number| _ = history.push(sent(number), 0));
        let after = [0, 69_999, 70_000, 70_008, 70_009, 80_000].map(|number| history.bytes_after(number));
        assert_eq!(after, [1000, 1000, 900, 100, 0, 0]);
    }

    #[test]
    fn memory_is_bounded_by_count_by_age_and_over_gaps() {
        let mut history = History::default();
        for number in 0..100_000 {
            history.push(sent(number), 0);
        }
        assert_eq!(history.records.len(), MAX_KEPT);
        assert!(history.records.capacity() <= MAX_KEPT);
        history.push(sent(100_000), KEPT + 1);
        assert_eq!(history.records.len(), 1, "the others are too old");
        history.push(sent(100_010), KEPT + 1);
        assert!(history.reported(100_005_u32 as u16).is_none(), "numbers that nothing left under");
        history.push(sent(u64::MAX / 2), KEPT + 1);
        assert_eq!(history.records.len(), 1, "a jump of the numbers starts anew");
    }
}
