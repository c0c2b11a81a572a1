//! The packets sent to one viewer on one stream, for retransmission.
//!
//! All viewers share the frames' bytes; each viewer keeps only the sequence numbers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cut::Payloads;
use crate::media::Codec;

/// Older packets are useless: media this late is not played.
const MAX_AGE: Duration = Duration::from_secs(2);
/// A number this far behind the newest was not lost; it was never sent.
const MAX_BACK: u16 = 4096;
/// How many retransmissions are remembered, so that no packet is repeated twice for the same loss.
const MAX_RECENT: usize = 128;

/// Packets of one frame with consecutive numbers.
#[derive(Debug)]
struct Run {
    /// The number of the first one.
    number: u64,
    /// The index of its payload in the frame.
    first: usize,
    count: usize,
    codec: Codec,
    payloads: Arc<Payloads>,
    time: u32,
    sent: Instant,
}

/// A packet to send again.
#[derive(Clone, Debug)]
pub(in crate::rtc) struct Repeat {
    pub(in crate::rtc) number: u16,
    pub(in crate::rtc) codec: Codec,
    pub(in crate::rtc) payloads: Arc<Payloads>,
    pub(in crate::rtc) index: usize,
    pub(in crate::rtc) time: u32,
}

#[derive(Debug)]
pub(in crate::rtc) struct History {
    runs: VecDeque<Run>,
    packets: usize,
    max_packets: usize,
    recent: VecDeque<(u64, Instant)>,
    /// Frames from this packet on do not depend on packets before it.
    begins: u64,
    /// Packets before this one are of no use to anybody.
    abandoned: u64,
}

impl History {
    /// A history of at most this many packets.
    pub(in crate::rtc) fn new(max_packets: usize) -> History {
        History {
            runs: VecDeque::new(),
            packets: 0,
            max_packets,
            recent: VecDeque::new(),
            begins: 0,
            abandoned: 0,
        }
    }

    /// Records a packet that was sent: its number, and the index of its payload.
    pub(in crate::rtc) fn push(
        &mut self,
        number: u64,
        codec: Codec,
        payloads: &Arc<Payloads>,
        index: usize,
        time: u32,
        now: Instant,
    ) {
        if self.max_packets == 0 {
            return;
        }
        self.packets += 1;
        match self.runs.back_mut() {
            Some(run)
                if Arc::ptr_eq(&run.payloads, payloads)
                    && run.first + run.count == index
                    && run.number + run.count as u64 == number =>
            {
                run.count += 1;
                run.sent = now;
            }
            _ => {
                let payloads = payloads.clone();
                self.runs.push_back(Run { number, first: index, count: 1, codec, payloads, time, sent: now });
            }
        }
        // Removes whole runs, but never the newest.
        while self.runs.len() > 1
            && let Some(oldest) = self.runs.front()
            && (self.packets > self.max_packets || now.saturating_duration_since(oldest.sent) > MAX_AGE)
        {
            self.packets -= oldest.count;
            self.runs.pop_front();
        }
    }

    /// The next frame, and those after it, do not depend on what was sent before.
    pub(in crate::rtc) fn begin_anew(&mut self) {
        self.begins = self.newest().map_or(0, |newest| newest + 1);
    }

    /// What was sent so far cannot be continued, and is not repeated.
    pub(in crate::rtc) fn abandon(&mut self) {
        self.begin_anew();
        self.abandoned = self.begins;
    }

    /// Whether a packet is never repeated.
    pub(in crate::rtc) fn is_abandoned(&self, number: u16) -> bool {
        self.whole(number).is_some_and(|number| number < self.abandoned)
    }

    /// Whether a packet precedes the last such frame.
    pub(in crate::rtc) fn is_superseded(&self, number: u16) -> bool {
        self.whole(number).is_some_and(|number| number < self.begins)
    }

    /// Whether a packet was sent and is kept.
    pub(in crate::rtc) fn is_kept(&self, number: u16) -> bool {
        let oldest = self.runs.front().map(|run| run.number);
        self.whole(number).is_some_and(|number| oldest.is_some_and(|oldest| number >= oldest))
    }

    fn newest(&self) -> Option<u64> {
        self.runs.back().map(|run| run.number + run.count as u64 - 1)
    }

    /// The number of a packet, by its number on the wire.
    fn whole(&self, number: u16) -> Option<u64> {
        let newest = self.newest()?;
        newest.checked_sub(u64::from((newest as u16).wrapping_sub(number)))
    }

    /// A packet that the viewer has not received, by its number on the wire; `None` if it is no longer kept, or was
    /// repeated less than `again` ago.
    pub(in crate::rtc) fn repeat(&mut self, number: u16, again: Duration, now: Instant) -> Option<Repeat> {
        let number = self.whole(number)?;
        let at = self.runs.partition_point(|run| run.number <= number).checked_sub(1)?;
        let run = &self.runs[at];
        let offset = usize::try_from(number - run.number).ok().filter(|offset| *offset < run.count)?;
        if now.saturating_duration_since(run.sent) > MAX_AGE {
            return None;
        }
        let is_recent =
            |(other, at): &(u64, Instant)| *other == number && now.saturating_duration_since(*at) < again;
        if self.recent.iter().any(is_recent) {
            return None;
        }
        let repeat = Repeat {
            number: number as u16,
            codec: run.codec,
            payloads: run.payloads.clone(),
            index: run.first + offset,
            time: run.time,
        };
        if self.recent.len() >= MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((number, now));
        Some(repeat)
    }

    /// Whether a packet that the viewer has not received was sent, and cannot be repeated.
    pub(in crate::rtc) fn is_gone(&self, number: u16, now: Instant) -> bool {
        let Some(newest) = self.newest() else { return false };
        let back = (newest as u16).wrapping_sub(number);
        let Some(number) = newest.checked_sub(back.into()).filter(|_| back <= MAX_BACK) else { return false };
        let at = self.runs.partition_point(|run| run.number <= number).checked_sub(1);
        at.is_none_or(|at| now.saturating_duration_since(self.runs[at].sent) > MAX_AGE)
    }

    /// The packet sent `back` packets before the newest, for probing; `back` wraps within the newest run.
    pub(in crate::rtc) fn probe(&self, back: usize) -> Option<Repeat> {
        let run = self.runs.back()?;
        let offset = run.count - 1 - back % run.count;
        Some(Repeat {
            number: (run.number + offset as u64) as u16,
            codec: run.codec,
            payloads: run.payloads.clone(),
            index: run.first + offset,
            time: run.time,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(packets: u8) -> Arc<Payloads> {
        Arc::new((0..packets).map(|n| [n].into()).collect())
    }

    const AGAIN: Duration = Duration::from_millis(50);

    #[test]
    fn what_is_abandoned_is_not_repeated() {
        let now = Instant::now();
        let mut history = History::new(100);
        assert!(!history.is_abandoned(7));
        (7..10).for_each(|number| history.push(number, Codec::H264, &frame(3), number as usize - 7, 0, now));
        history.abandon();
        history.push(10, Codec::H264, &frame(1), 0, 0, now);
        let abandoned =
            [7, 9, 10].map(|number| (history.is_abandoned(number), history.is_superseded(number)));
        assert_eq!(abandoned, [(true, true), (true, true), (false, false)]);
    }

    #[test]
    fn a_packet_that_was_sent_and_is_not_kept_is_gone() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut history = History::new(4);
        assert!(!history.is_gone(1, start), "nothing was sent");
        for number in 10..20 {
            history.push(number, Codec::H264, &frame(1), 0, 0, start);
        }
        assert!(history.is_gone(12, start) && !history.is_gone(17, start), "four are kept");
        assert!(!history.is_gone(20, start) && !history.is_gone(25, start), "not sent yet");
        assert!(!history.is_gone(17, at(2000)) && history.is_gone(17, at(2001)));
        assert!(history.repeat(17, AGAIN, at(2001)).is_none());
    }

    #[test]
    fn a_packet_is_found_by_its_number_across_rollovers() {
        let now = Instant::now();
        let mut history = History::new(100);
        let mut number = 65_530;
        for packets in [4, 3, 5] {
            let payloads = frame(packets);
            for index in 0..payloads.len() {
                history.push(number, Codec::H264, &payloads, index, u32::from(packets), now);
                number += 1;
            }
        }
        let mut found = |number| history.repeat(number, AGAIN, now).map(|r| (r.time, r.index));
        assert_eq!(found(65_529), None, "never sent");
        assert_eq!(found(65_530), Some((4, 0)));
        assert_eq!(found(65_535), Some((3, 1)));
        assert_eq!(found(0), Some((3, 2)));
        assert_eq!(found(5), Some((5, 4)));
        assert_eq!(found(6), None, "not sent yet");
        assert_eq!(found(5), None, "repeated just now");
    }

    #[test]
    fn what_a_stream_that_begins_anew_does_not_refer_to_is_superseded() {
        let now = Instant::now();
        let mut history = History::new(100);
        history.begin_anew();
        for number in 65_530..65_540 {
            history.push(number, Codec::H264, &frame(1), 0, 0, now);
        }
        assert!(!history.is_superseded(65_535), "nothing came after it");
        history.begin_anew();
        assert!(history.is_superseded(65_535) && history.is_superseded(3));
        history.push(65_540, Codec::H264, &frame(1), 0, 0, now);
        assert!(history.is_superseded(3) && !history.is_superseded(4));
        // It can still be repeated, where there is room.
        assert!(history.repeat(3, AGAIN, now).is_some());
    }

    #[test]
    fn it_is_bounded_and_forgets_what_is_old() {
        let start = Instant::now();
        let mut history = History::new(10);
        for n in 0..100 {
            history.push(n, Codec::H264, &frame(1), 0, n as u32, start);
        }
        assert_eq!((history.packets, history.runs.len()), (10, 10));
        assert!(history.repeat(89, AGAIN, start).is_none() && history.repeat(90, AGAIN, start).is_some());
        let later = start + MAX_AGE + AGAIN;
        assert!(history.repeat(95, AGAIN, later).is_none(), "too old");
        history.push(100, Codec::H264, &frame(1), 0, 100, later);
        assert_eq!(history.packets, 1);
        for n in 0..1000 {
            history.push(101 + n, Codec::H264, &frame(1), 0, 0, later);
            history.repeat((101 + n) as u16, AGAIN, later);
        }
        assert_eq!(history.recent.len(), MAX_RECENT);
        let mut none = History::new(0);
        none.push(1, Codec::H264, &frame(1), 0, 0, start);
        assert!(none.repeat(1, AGAIN, start).is_none() && none.probe(0).is_none());
    }

    #[test]
    fn a_large_frame_is_kept_whole() {
        let now = Instant::now();
        let mut history = History::new(10);
        let payloads = frame(50);
        for index in 0..50 {
            history.push(index as u64, Codec::H264, &payloads, index, 0, now);
        }
        assert!(history.repeat(0, AGAIN, now).is_some());
        let probed: Vec<usize> = (0..3).filter_map(|back| history.probe(back)).map(|r| r.index).collect();
        assert_eq!(probed, [49, 48, 47]);
        assert_eq!(history.probe(50).map(|r| r.index), Some(49));
    }
}
