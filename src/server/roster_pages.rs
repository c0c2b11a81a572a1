//! Texts that many readers of a large room share.
//!
//! Everyone who enters a large room is told the same as all who came before. So the log of a room is divided
//! into pages, and the frames that announce the arrivals of one page are kept as long as they are accurate:
//! until one of those peers leaves or changes its data, or another arrives in the same page. Only for clients
//! that accept batched presences and share no other room with anybody.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::rooms::RoomId;

/// Changes in one page. A reader that starts in the middle of a page is told the rest of it one by one.
const CHANGES: u64 = 256;

/// Bytes that pages may use besides the texts that are kept anyway; above it all pages are rebuilt. Enough
/// for a room of 30,000.
const MOST: usize = 4 << 20;

/// A page that nobody asked for in this time is no longer needed: the rush is over.
const IDLE: Duration = Duration::from_secs(10);

/// Identifies a page: the room, and the page of its log.
pub(super) type PageId = (RoomId, u64);

/// The page that a change is in.
pub(super) fn page_of(seq: u64) -> u64 {
    seq / CHANGES
}

/// The first change after a page.
pub(super) fn end_of(page: u64) -> u64 {
    (page + 1) * CHANGES
}

/// The frames that announce who arrived in a page of changes.
#[derive(Debug)]
pub(super) struct Page {
    /// In order.
    pub frames: Vec<Arc<str>>,
    /// The last change in the page.
    pub last: u64,
    /// The page is accurate from this change on: arrivals missing from it left before.
    pub from: u64,
    /// Somebody left in this page, which the frames do not tell.
    pub went: bool,
}

/// The pages that are accurate.
#[derive(Debug, Default)]
pub(super) struct Pages {
    pages: HashMap<PageId, Arc<Page>>,
    bytes: usize,
    used: Option<Instant>,
}

impl Pages {
    pub(super) fn get(&mut self, id: PageId, now: Instant) -> Option<Arc<Page>> {
        let page = self.pages.get(&id)?;
        self.used = Some(now);
        Some(page.clone())
    }

    /// Stores a page that uses this many bytes of its own.
    pub(super) fn keep(&mut self, id: PageId, page: Arc<Page>, bytes: usize, now: Instant) {
        if self.bytes + bytes > MOST {
            self.clear();
        }
        self.bytes += bytes;
        self.used = Some(now);
        self.pages.insert(id, page);
    }

    /// A page is no longer accurate.
    pub(super) fn drop(&mut self, id: PageId) {
        if !self.pages.is_empty() {
            self.pages.remove(&id);
        }
    }

    /// Drops all pages once nobody asks for them.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.used.is_some_and(|used| now.saturating_duration_since(used) >= IDLE) {
            self.clear();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.pages.len()
    }

    fn clear(&mut self) {
        *self = Pages::default();
    }
}
