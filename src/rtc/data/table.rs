//! The channels of a session, by the numbers that its owner knows: what may be opened and sent, and what is counted.

use super::{ChannelError, ChannelId, ChannelLimits, ChannelOptions, ChannelStats, MAX_LABEL, MAX_SENT};

/// Violations of the limits after which a session loses its channels: a program that opens one channel too many, or sends a packet that
/// is dropped, may do so for a while.
const MAX_OFFENSES: u64 = 1000;

/// A channel; `K` is what the library below calls it.
#[derive(Clone, Debug)]
struct Entry<K> {
    id: ChannelId,
    key: K,
    phase: Phase,
    /// A message did not fit into the queue.
    blocked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// We have asked for it.
    Opening,
    Open,
    /// We want it closed.
    Closing,
}

/// What becomes of a channel that the library reports as open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) enum Opened {
    /// The other side opened it.
    Theirs(ChannelId),
    /// We did.
    Ours(ChannelId),
    /// It is to be closed: there are too many, or we have closed it meanwhile.
    Refused,
}

/// The channels of a session.
#[derive(Debug)]
pub(in crate::rtc) struct Table<K> {
    limits: ChannelLimits,
    entries: Vec<Entry<K>>,
    /// Channels that we open once both sides have agreed on data channels.
    waiting: Vec<(ChannelId, ChannelOptions)>,
    next: u32,
    /// The largest message that the other side takes.
    their_limit: usize,
    stats: ChannelStats,
    offenses: u64,
}

impl<K: Copy + PartialEq> Table<K> {
    pub(in crate::rtc) fn new(limits: ChannelLimits) -> Table<K> {
        Table {
            limits,
            entries: vec![],
            waiting: vec![],
            next: 0,
            their_limit: MAX_SENT,
            stats: ChannelStats::default(),
            offenses: 0,
        }
    }

    pub(in crate::rtc) fn stats(&self) -> ChannelStats {
        let open = self.entries.iter().filter(|entry| entry.phase == Phase::Open).count();
        ChannelStats { open, ..self.stats }
    }

    /// The largest message that the other side takes, as its description says: 0 is any.
    pub(in crate::rtc) fn set_their_limit(&mut self, limit: Option<u64>) {
        self.their_limit = match limit {
            Some(0) | None => MAX_SENT,
            Some(limit) => usize::try_from(limit).unwrap_or(usize::MAX).min(MAX_SENT),
        };
    }

    /// Whether a channel may be opened.
    pub(in crate::rtc) fn check_open(&self, options: &ChannelOptions) -> Result<(), ChannelError> {
        if options.label.len().max(options.protocol.len()) > MAX_LABEL {
            return Err(ChannelError::LongLabel);
        }
        let limit = self.limits.channels;
        if self.has_room() { Ok(()) } else { Err(ChannelError::TooMany { limit }) }
    }

    /// We open a channel.
    pub(in crate::rtc) fn open(&mut self, key: K) -> ChannelId {
        let id = self.next_id();
        self.add(id, key, Phase::Opening);
        id
    }

    /// We open a channel once both sides have agreed.
    pub(in crate::rtc) fn wait(&mut self, options: ChannelOptions) -> ChannelId {
        let id = self.next_id();
        self.waiting.push((id, options));
        id
    }

    /// Both sides have agreed: opens the channels that wait. `open` does so in the library.
    pub(in crate::rtc) fn open_waiting(&mut self, mut open: impl FnMut(&ChannelOptions) -> K) {
        for (id, options) in std::mem::take(&mut self.waiting) {
            self.add(id, open(&options), Phase::Opening);
        }
    }

    /// The other side has not agreed. Returns the channels that waited.
    pub(in crate::rtc) fn refuse_waiting(&mut self) -> Vec<ChannelId> {
        std::mem::take(&mut self.waiting).into_iter().map(|(id, _)| id).collect()
    }

    /// The library reports a channel as open.
    pub(in crate::rtc) fn opened(&mut self, key: K, label: usize, protocol: usize) -> Opened {
        let has_room = self.has_room();
        match self.entries.iter_mut().find(|entry| entry.key == key) {
            Some(entry) if entry.phase == Phase::Opening => {
                entry.phase = Phase::Open;
                self.stats.opened += 1;
                Opened::Ours(entry.id)
            }
            Some(_) => Opened::Refused,
            None if has_room && label.max(protocol) <= MAX_LABEL => {
                self.stats.opened += 1;
                let id = self.next_id();
                self.add(id, key, Phase::Open);
                Opened::Theirs(id)
            }
            None => {
                self.stats.refused += 1;
                self.offend(1);
                Opened::Refused
            }
        }
    }

    /// Whether a message of this length may be sent, and by which channel of the library; `waiting` bytes wait already.
    pub(in crate::rtc) fn check_send(
        &mut self,
        id: ChannelId,
        len: usize,
        waiting: usize,
    ) -> Result<K, ChannelError> {
        let limit = self.their_limit.min(self.limits.message);
        let queue = self.limits.send_queue;
        if self.waiting.iter().any(|(waiting, _)| *waiting == id) {
            return Err(ChannelError::NotOpen);
        }
        let entry = self.entries.iter_mut().find(|entry| entry.id == id).ok_or(ChannelError::Closed)?;
        match entry.phase {
            Phase::Opening => return Err(ChannelError::NotOpen),
            Phase::Closing => return Err(ChannelError::Closed),
            Phase::Open => {}
        }
        if len == 0 {
            return Err(ChannelError::Empty);
        }
        if len > limit {
            return Err(ChannelError::TooLarge { limit });
        }
        if waiting > 0 && waiting + len > queue {
            entry.blocked = true;
            return Err(ChannelError::Full);
        }
        Ok(entry.key)
    }

    pub(in crate::rtc) fn sent(&mut self, len: usize) {
        self.stats.messages_sent += 1;
        self.stats.bytes_sent += len as u64;
    }

    /// Whether some channel waits for room.
    pub(in crate::rtc) fn is_blocked(&self) -> bool {
        self.entries.iter().any(|entry| entry.blocked)
    }

    /// The channels that may send again, if so little waits.
    pub(in crate::rtc) fn unblock(&mut self, waiting: usize) -> Vec<ChannelId> {
        if waiting > self.limits.send_queue / 2 {
            return vec![];
        }
        let blocked = self.entries.iter_mut().filter(|entry| entry.blocked);
        let free = |entry: &mut Entry<K>| {
            entry.blocked = false;
            entry.id
        };
        blocked.map(free).collect()
    }

    /// The channel by which a message of this length came, if it is one of ours.
    pub(in crate::rtc) fn received(&mut self, key: K, len: usize) -> Option<ChannelId> {
        let entry = self.entries.iter().find(|entry| entry.key == key && entry.phase == Phase::Open)?;
        self.stats.messages_received += 1;
        self.stats.bytes_received += len as u64;
        Some(entry.id)
    }

    /// We close a channel. The library's, if there is something to close.
    pub(in crate::rtc) fn close(&mut self, id: ChannelId) -> Option<K> {
        self.waiting.retain(|(waiting, _)| *waiting != id);
        let entry = self.entries.iter_mut().find(|entry| entry.id == id)?;
        let before = std::mem::replace(&mut entry.phase, Phase::Closing);
        entry.blocked = false;
        // One that is not open yet is closed when it is.
        (before == Phase::Open).then_some(entry.key)
    }

    /// A channel is closed. Returns it if its owner does not know yet.
    pub(in crate::rtc) fn closed(&mut self, key: K) -> Option<ChannelId> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        let entry = self.entries.remove(at);
        (entry.phase != Phase::Closing).then_some(entry.id)
    }

    /// All channels are closed. Returns those whose owner does not know yet.
    pub(in crate::rtc) fn close_all(&mut self) -> Vec<ChannelId> {
        let all = std::mem::take(&mut self.entries);
        all.into_iter().filter(|entry| entry.phase != Phase::Closing).map(|entry| entry.id).collect()
    }

    /// The library's names of the channels that are open.
    pub(in crate::rtc) fn keys(&self) -> impl Iterator<Item = K> {
        self.entries.iter().map(|entry| entry.key)
    }

    /// Packets were dropped that break the limits.
    pub(in crate::rtc) fn dropped(&mut self, packets: u32) {
        self.stats.dropped += u64::from(packets);
        self.offend(u64::from(packets));
    }

    /// A packet came while too much was held.
    pub(in crate::rtc) fn dropped_held(&mut self) {
        self.stats.dropped += 1;
    }

    pub(in crate::rtc) fn offend(&mut self, count: u64) {
        self.offenses += count;
    }

    /// Whether the other side broke the limits too often.
    pub(in crate::rtc) fn is_abused(&self) -> bool {
        self.offenses >= MAX_OFFENSES
    }

    fn has_room(&self) -> bool {
        self.entries.len() + self.waiting.len() < self.limits.channels
    }

    fn next_id(&mut self) -> ChannelId {
        let id = ChannelId(self.next);
        self.next = self.next.wrapping_add(1);
        id
    }

    fn add(&mut self, id: ChannelId, key: K, phase: Phase) {
        self.entries.push(Entry { id, key, phase, blocked: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(channels: usize, send_queue: usize) -> Table<u8> {
        Table::new(ChannelLimits { channels, send_queue, ..ChannelLimits::default() })
    }

    #[test]
    fn both_sides_share_the_limit_and_what_exceeds_it_counts() {
        let mut t = table(2, 100);
        assert_eq!(t.check_open(&ChannelOptions::new("a")), Ok(()));
        let ours = t.open(1);
        assert_eq!(t.opened(1, 1, 0), Opened::Ours(ours));
        assert_eq!(t.opened(2, 1, 0), Opened::Theirs(ChannelId(1)));
        assert_eq!(t.opened(3, 1, 0), Opened::Refused);
        assert_eq!(t.check_open(&ChannelOptions::new("a")), Err(ChannelError::TooMany { limit: 2 }));
        assert_eq!(t.closed(2), Some(ChannelId(1)));
        assert_eq!(t.opened(4, MAX_LABEL + 1, 0), Opened::Refused, "its label is too long");
        assert_eq!(t.opened(5, 1, 0), Opened::Theirs(ChannelId(2)), "no number comes twice");
        let long = ChannelOptions::new("x".repeat(MAX_LABEL + 1));
        assert_eq!(t.check_open(&long), Err(ChannelError::LongLabel));
        let stats = t.stats();
        assert_eq!((stats.open, stats.opened, stats.refused), (2, 3, 2));
    }

    #[test]
    fn what_does_not_fit_is_refused_and_announced_when_half_is_free() {
        let mut t = table(2, 100);
        let id = t.open(1);
        assert_eq!(t.check_send(id, 1, 0), Err(ChannelError::NotOpen));
        t.opened(1, 1, 0);
        assert_eq!(t.check_send(id, 100, 0), Ok(1));
        assert_eq!(t.check_send(id, 60, 40), Ok(1));
        assert_eq!(t.check_send(id, 61, 40), Err(ChannelError::Full));
        assert!(t.is_blocked());
        assert_eq!(t.unblock(51), []);
        assert_eq!(t.unblock(50), [id]);
        assert_eq!((t.unblock(0), t.is_blocked()), (vec![], false));
        assert_eq!(t.check_send(id, 0, 0), Err(ChannelError::Empty));
        assert_eq!(t.check_send(id, 70_000, 0), Err(ChannelError::TooLarge { limit: MAX_SENT }));
        t.set_their_limit(Some(10));
        assert_eq!(t.check_send(id, 11, 0), Err(ChannelError::TooLarge { limit: 10 }));
        t.set_their_limit(Some(0));
        assert_eq!(t.check_send(id, 11, 0), Ok(1), "0 is any");
    }

    #[test]
    fn a_channel_that_we_close_is_closed_once_it_is_open() {
        let mut t = table(4, 100);
        let (early, late) = (t.open(1), t.open(2));
        t.opened(2, 1, 0);
        assert_eq!((t.close(early), t.close(late)), (None, Some(2)));
        assert_eq!(t.close(late), None, "only once");
        assert_eq!(t.opened(1, 1, 0), Opened::Refused);
        assert_eq!((t.closed(1), t.closed(2)), (None, None), "its owner knows");
        assert_eq!(t.check_send(late, 1, 0), Err(ChannelError::Closed));
        let theirs = t.opened(3, 1, 0);
        assert_eq!(t.close_all(), [ChannelId(2)]);
        assert_eq!(theirs, Opened::Theirs(ChannelId(2)));
    }

    #[test]
    fn channels_that_wait_count_and_keep_their_numbers() {
        let mut t = table(3, 100);
        let ids = ["a", "b", "c"].map(|label| t.wait(ChannelOptions::new(label)));
        assert_eq!(ids, [0, 1, 2].map(ChannelId));
        assert_eq!(t.check_open(&ChannelOptions::new("d")), Err(ChannelError::TooMany { limit: 3 }));
        assert_eq!(t.opened(9, 1, 0), Opened::Refused, "no room for the other side's");
        assert_eq!(t.check_send(ids[0], 1, 0), Err(ChannelError::NotOpen));
        assert_eq!(t.close(ids[1]), None, "it is in no library yet");
        let mut labels = vec![];
        t.open_waiting(|options| {
            labels.push(options.label.clone());
            labels.len() as u8
        });
        assert_eq!(labels, ["a", "c"]);
        assert_eq!((t.opened(1, 1, 0), t.opened(2, 1, 0)), (Opened::Ours(ids[0]), Opened::Ours(ids[2])));
        let late = t.wait(ChannelOptions::new("e"));
        assert_eq!((t.refuse_waiting(), t.refuse_waiting()), (vec![late], vec![]));
        assert_eq!(t.check_send(late, 1, 0), Err(ChannelError::Closed));
    }

    #[test]
    fn a_peer_that_breaks_the_limits_often_is_found_out() {
        let mut t = table(0, 100);
        t.dropped(900);
        (0..99).for_each(|_| assert_eq!(t.opened(1, 1, 0), Opened::Refused));
        t.dropped_held();
        assert!(!t.is_abused());
        t.offend(1);
        assert!(t.is_abused());
    }
}
