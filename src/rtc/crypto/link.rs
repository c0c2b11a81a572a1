//! What a session and its DTLS connection tell each other past str0m, which stands between them and ends all of a
//! session where only its data channels have failed.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Shared by a session and its DTLS connection. Both are used by one thread at a time.
#[derive(Debug, Default)]
pub(crate) struct Link {
    dropped: AtomicU32,
    ended: AtomicBool,
    gone: AtomicBool,
    kept: AtomicBool,
    abandoned: AtomicBool,
    leaves: AtomicBool,
}

thread_local! {
    static MADE: RefCell<Option<Arc<Link>>> = const { RefCell::new(None) };
}

/// Returns the link of the connection that was made last on this thread. It ends with [`Link::leave`], and not where str0m
/// ends all because SCTP has failed.
pub(crate) fn made() -> Arc<Link> {
    let link = MADE.take().expect("str0m makes its connection at once");
    link.kept.store(true, Ordering::Relaxed);
    link
}

/// For the connection.
impl Link {
    pub(super) fn new() -> Arc<Link> {
        let link = Arc::new(Link::default());
        MADE.set(Some(link.clone()));
        link
    }

    /// A packet of SCTP was dropped.
    pub(super) fn drop_packet(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// The other side has ended the SCTP association.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// The other side has ended DTLS.
    pub(super) fn go(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    /// Whether SCTP is neither sent nor received any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Whether it stays where str0m ends it.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed) && !self.leaves()
    }

    /// Whether the session ends.
    pub(super) fn leaves(&self) -> bool {
        self.leaves.load(Ordering::Relaxed)
    }
}

/// For the session.
impl Link {
    /// Returns the number of dropped packets since the last call.
    pub(crate) fn take_dropped(&self) -> u32 {
        self.dropped.swap(0, Ordering::Relaxed)
    }

    /// Whether the other side has ended the SCTP association.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Whether the other side has ended DTLS.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Gives up on SCTP. DTLS stays.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Ends DTLS.
    pub(crate) fn leave(&self) {
        self.leaves.store(true, Ordering::Relaxed);
    }
}
