//! Texts that many readers of a large room share.
//!
//! Whoever comes into a large room is told the same as all who came before. So the log of a room is cut into pages,
//! and what one says of those who came, made into frames, is kept as long as it is true: until one of them goes, or
//! tells something new of itself, or another comes in the same page. Only for clients that take several presences in a
//! frame, who share no other room with anybody.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::rooms::RoomId;

/// Changes in one page. Whoever is told from the middle of one on is told the rest of it one by one.
const CHANGES: u64 = 256;

/// Bytes that pages may keep, beside the texts that are kept anyhow; then all are made anew. A room of 30,000.
const MOST: usize = 4 << 20;

/// A page that nobody asked for in so long is not needed any more: the rush is over.
const IDLE: Duration = Duration::from_secs(10);

/// Names a page: the room, and the page of its log.
pub(super) type PageId = (RoomId, u64);

/// The page of a change.
pub(super) fn page_of(seq: u64) -> u64 {
    seq / CHANGES
}

/// The first change behind a page.
pub(super) fn end_of(page: u64) -> u64 {
    (page + 1) * CHANGES
}

/// What is told of those who came in a page of changes.
#[derive(Debug)]
pub(super) struct Page {
    /// In order.
    pub frames: Vec<Arc<str>>,
    /// The last change in it.
    pub last: u64,
    /// It is the truth from this change on: whoever came and is not in it went before.
    pub from: u64,
    /// Somebody went in it, which it does not tell.
    pub went: bool,
}

/// Pages that are true.
#[derive(Debug, Default)]
pub(super) struct Pages {
    pages: HashMap<PageId, Arc<Page>>,
    bytes: usize,
    used: Option<Instant>,
}

impl Pages {
    pub fn get(&mut self, id: PageId, now: Instant) -> Option<Arc<Page>> {
        let page = self.pages.get(&id)?;
        self.used = Some(now);
        Some(page.clone())
    }

    /// Keeps a page that takes so many bytes of its own.
    pub fn keep(&mut self, id: PageId, page: Arc<Page>, bytes: usize, now: Instant) {
        if self.bytes + bytes > MOST {
            self.clear();
        }
        self.bytes += bytes;
        self.used = Some(now);
        self.pages.insert(id, page);
    }

    /// A page is true no more.
    pub fn drop(&mut self, id: PageId) {
        if !self.pages.is_empty() {
            self.pages.remove(&id);
        }
    }

    /// Forgets all once nobody asks for them.
    pub fn expire(&mut self, now: Instant) {
        if self.used.is_some_and(|used| now.saturating_duration_since(used) >= IDLE) {
            self.clear();
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    fn clear(&mut self) {
        *self = Pages::default();
    }
}
