//! Audio packets in order, laid out one after another without a gap.

use std::collections::VecDeque;

use super::timeline::Timeline;
use super::{Counts, LEAD, Limits, Micros, Presence};
use crate::media::Frame;

/// What is missing is concealed up to this long; then the stream pauses. Decoders fade to silence long before.
const MOST_CONCEALED: Micros = 500_000;
/// A packet of at most this share of the average size is quiet, and dropping it is not noticed.
const QUIET: (usize, usize) = (3, 4);
/// After waiting this long for a quiet packet, any is dropped to reduce the delay.
const IMPATIENT: Micros = 2_000_000;

#[derive(Debug, Default)]
pub(super) struct Audio {
    pub(super) presence: Presence,
    /// Sorted by capture time.
    queue: VecDeque<Packet>,
    bytes: usize,
    /// When the next packet or concealment is due; `None` before the start and in a pause.
    slot: Option<Micros>,
    /// The capture time of the last packet that was released.
    last: Option<Micros>,
    /// The duration of that packet.
    step: Micros,
    /// Concealed since that packet: time, and packets.
    gap: Micros,
    missing: u64,
    /// By how much audio is heard later than the timeline says: at most half a packet.
    offset: Micros,
    /// The moving average of packet sizes.
    average: usize,
}

#[derive(Debug)]
struct Packet {
    captured: Micros,
    duration: Micros,
    frame: Frame,
}

#[derive(Debug)]
pub(super) enum Next {
    Packet { frame: Frame, due: Micros, duration: Micros, resume: bool },
    Missing { due: Micros, duration: Micros },
}

impl Audio {
    /// Forgets all that waits, and returns how many packets that were.
    pub(super) fn clear(&mut self) -> u64 {
        let count = self.queue.len() as u64;
        self.queue.clear();
        (self.bytes, self.slot, self.last) = (0, None, None);
        (self.gap, self.missing, self.offset) = (0, 0, 0);
        count
    }

    pub(super) fn push(
        &mut self,
        frame: Frame,
        captured: Micros,
        duration: Micros,
        limits: &Limits,
        counts: &mut Counts,
    ) {
        if self.last.is_some_and(|last| captured <= last) {
            counts.audio_late += 1;
            return;
        }
        let index = self.queue.partition_point(|packet| packet.captured < captured);
        if self.queue.get(index).is_some_and(|packet| packet.captured == captured) {
            counts.other += 1;
            return;
        }
        self.bytes += frame.data.len();
        self.queue.insert(index, Packet { captured, duration, frame });
        let span = |queue: &VecDeque<Packet>| match (queue.front(), queue.back()) {
            (Some(first), Some(last)) => last.captured - first.captured,
            _ => 0,
        };
        while self.bytes > limits.most_bytes || span(&self.queue) > limits.most_time() {
            self.pop();
            counts.overflow += 1;
        }
    }

    fn pop(&mut self) -> Option<Packet> {
        let packet = self.queue.pop_front()?;
        self.bytes -= packet.frame.data.len();
        Some(packet)
    }

    /// How much later than by the timeline audio is heard; 0 while none plays.
    pub(super) fn offset(&self) -> Micros {
        if self.plays() { self.offset } else { 0 }
    }

    /// Whether it plays without a pause.
    pub(super) fn plays(&self) -> bool {
        self.slot.is_some()
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn due(&self, timeline: &Timeline) -> Option<Micros> {
        let head = || Some(self.queue.front()?.captured + timeline.latency()?);
        self.slot.or_else(head)
    }

    /// The next packet, or what replaces it, if it is due.
    pub(super) fn next(&mut self, timeline: &mut Timeline, now: Micros, counts: &mut Counts) -> Option<Next> {
        loop {
            let latency = timeline.latency()?;
            let head = self.queue.front();
            let due = head.map(|packet| (packet.captured + latency, packet.duration));
            let Some(slot) = self.slot else {
                let (due, _) = due.filter(|(due, _)| now >= *due)?;
                if now > due + LEAD {
                    self.pop();
                    counts.audio_late += 1;
                    continue;
                }
                return self.take(due, due, true, counts);
            };
            // How long after the slot the packet is due; the rest of the gap is concealed.
            let wait = due.map_or(Micros::MAX, |(due, _)| due - slot);
            if now < slot {
                return None;
            }
            match due {
                Some((due, duration)) if wait <= self.step / 2 => {
                    let late = -wait > duration / 2;
                    if late && !timeline.rise(-wait, now) {
                        self.pop();
                        counts.audio_late += 1;
                        continue;
                    }
                    if self.should_skip(timeline, duration, now) {
                        timeline.fall(duration, now);
                        self.pop();
                        counts.audio_skipped += 1;
                        continue;
                    }
                    let due = if late { slot } else { due };
                    return self.take(slot, due, false, counts);
                }
                _ if self.gap >= MOST_CONCEALED => {
                    // A pause, not a loss.
                    (self.slot, self.gap, self.missing) = (None, 0, 0);
                }
                _ => {
                    self.slot = Some(slot + self.step);
                    self.gap += self.step;
                    self.missing += 1;
                    return Some(Next::Missing { due: slot, duration: self.step });
                }
            }
        }
    }

    fn take(&mut self, slot: Micros, due: Micros, resume: bool, counts: &mut Counts) -> Option<Next> {
        let Packet { captured, duration, frame } = self.pop()?;
        self.offset = slot - due;
        self.slot = Some(slot + duration);
        (self.last, self.step) = (Some(captured), duration);
        counts.audio += 1;
        counts.concealed += self.missing;
        (self.gap, self.missing) = (0, 0);
        self.average = (self.average * 15 + frame.data.len() * 16) / 16;
        Some(Next::Packet { frame, due: slot, duration, resume })
    }

    /// Whether to drop the first packet, so that those after it are heard earlier.
    fn should_skip(&self, timeline: &Timeline, duration: Micros, now: Micros) -> bool {
        let Some(waited) = timeline.could_fall(duration, now) else { return false };
        let size = self.queue.front().map_or(0, |packet| packet.frame.data.len());
        // `average` is kept times 16.
        let quiet = size * 16 * QUIET.1 <= self.average * QUIET.0;
        self.queue.len() > 1 && (quiet || waited >= IMPATIENT)
    }
}
