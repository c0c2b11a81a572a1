//! The log of a room: who came and who went, in order.
//!
//! It is what the members are told from, each at its own pace, so that N members cost N entries and not one for
//! each pair. Two entries, of one coming and its going, leave together once nobody has to be told of either.

use super::super::slab::Key;

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Ascending, over all rooms.
    pub seq: u64,
    pub key: Key,
    /// It tells of a going.
    pub went: bool,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    entries: Vec<Entry>,
    went: u32,
    /// It is worth a look at so many goings.
    full: u32,
}

/// A log with fewer goings is not worth a look.
const FEW: usize = 4;

impl Log {
    pub fn push(&mut self, entry: Entry) {
        if self.entries.len() < FEW {
            // Most rooms are those of users, with one session each, or of two.
            self.entries.reserve_exact(1);
        }
        self.went += u32::from(entry.went);
        self.entries.push(entry);
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Where the first entry after `seq` lies.
    pub fn after(&self, seq: u64) -> usize {
        match self.entries.last() {
            Some(last) if last.seq > seq => self.entries.partition_point(|entry| entry.seq <= seq),
            _ => self.entries.len(),
        }
    }

    /// Whether so many goings are in it that it should be compacted, of a room with so many members. A quarter of
    /// them must have gone since the last time, so that a going costs a constant number of steps.
    pub fn is_full(&self, members: usize) -> bool {
        self.went as usize >= (self.full as usize).max(FEW).max(members / 4)
    }

    pub fn retain(&mut self, keeps: impl FnMut(&Entry) -> bool) {
        self.entries.retain(keeps);
        self.went = self.entries.iter().map(|entry| u32::from(entry.went)).sum();
        self.full = 2 * self.went;
        if self.entries.capacity() > 4 * self.entries.len() + FEW {
            self.entries.shrink_to_fit();
        }
    }
}
