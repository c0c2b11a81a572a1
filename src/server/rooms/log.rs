//! The log of a room: who joined and who left, in order.
//!
//! Members are told from it, each at its own pace, so N members cost N entries instead of one for each pair.
//! The two entries for one member's arrival and departure are removed together once nobody has to be told
//! about either.

use super::super::slab::Key;

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Ascending, over all rooms.
    pub seq: u64,
    pub key: Key,
    /// A departure.
    pub went: bool,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    entries: Vec<Entry>,
    went: u32,
    /// Compacting is worthwhile at this many departures.
    full: u32,
}

/// A log with fewer departures is not worth compacting.
const FEW: usize = 4;

impl Log {
    pub(super) fn push(&mut self, entry: Entry) {
        if self.entries.len() < FEW {
            // Most rooms are users' own, with one session each, or have two members.
            self.entries.reserve_exact(1);
        }
        self.went += u32::from(entry.went);
        self.entries.push(entry);
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The index of the first entry after `seq`.
    pub(super) fn after(&self, seq: u64) -> usize {
        match self.entries.last() {
            Some(last) if last.seq > seq => self.entries.partition_point(|entry| entry.seq <= seq),
            _ => self.entries.len(),
        }
    }

    /// Gives the entry with this number to another key.
    pub(super) fn rename(&mut self, seq: u64, key: Key) {
        if let Ok(at) = self.entries.binary_search_by_key(&seq, |entry| entry.seq) {
            self.entries[at].key = key;
        }
    }

    /// Whether the log has enough departures to be compacted, for a room with this many members. A quarter of
    /// them must have left since the last time, so that a departure costs a constant number of steps.
    pub(super) fn is_full(&self, members: usize) -> bool {
        self.went as usize >= (self.full as usize).max(FEW).max(members / 4)
    }

    pub(super) fn retain(&mut self, keeps: impl FnMut(&Entry) -> bool) {
        self.entries.retain(keeps);
        self.went = self.entries.iter().map(|entry| u32::from(entry.went)).sum();
        self.full = 2 * self.went;
        if self.entries.capacity() > 4 * self.entries.len() + FEW {
            self.entries.shrink_to_fit();
        }
    }
}
