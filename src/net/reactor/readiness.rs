//! What an edge-triggered epoll has reported of one source, and who waits for it.
//!
//! An edge is told once, so readiness is remembered until a call shows that there is none. It is forgotten before that
//! call, not after it: an edge that comes meanwhile is kept, at the price of one call in vain.

use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};

use atomic_waker::AtomicWaker;

/// A direction, as bits.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    ready: u8,
    ended: u8,
}

pub(crate) const READ: Way = Way { ready: 1, ended: 2 };
pub(crate) const WRITE: Way = Way { ready: 4, ended: 8 };

impl Way {
    pub(super) fn is_read(self) -> bool {
        self.ready == READ.ready
    }
}

/// The reactor has ended.
const GONE: u8 = 16;

pub(super) struct Readiness {
    bits: AtomicU8,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

/// What has happened to a source.
#[derive(Clone, Copy, Default)]
pub(super) struct Edge(u8);

impl Edge {
    pub(super) fn ready(self, way: Way) -> Edge {
        Edge(self.0 | way.ready)
    }

    /// From now on no call in this direction waits: the other side has closed it, or the socket has failed. Of data and an
    /// end that come together there is one edge, so that this must outlast the data.
    pub(super) fn ended(self, way: Way) -> Edge {
        Edge(self.0 | way.ready | way.ended)
    }

    pub(super) fn gone() -> Edge {
        Edge(GONE).ready(READ).ready(WRITE)
    }
}

impl Readiness {
    /// A new source may be ready: a call tells.
    pub(super) fn new() -> Readiness {
        let bits = AtomicU8::new(READ.ready | WRITE.ready);
        Readiness { bits, reader: AtomicWaker::new(), writer: AtomicWaker::new() }
    }

    pub(super) fn tell(&self, edge: Edge) {
        self.bits.fetch_or(edge.0, Ordering::AcqRel);
        if edge.0 & READ.ready != 0 {
            self.reader.wake();
        }
        if edge.0 & WRITE.ready != 0 {
            self.writer.wake();
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.bits.load(Ordering::Acquire) & GONE != 0
    }

    /// Ready when a call in this direction may succeed.
    pub(super) fn poll(&self, way: Way, cx: &mut Context<'_>) -> Poll<()> {
        if self.is(way) {
            return Poll::Ready(());
        }
        self.waiting(way).register(cx.waker());
        if self.is(way) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Before a call that may exhaust it.
    pub(super) fn clear(&self, way: Way) {
        self.bits.fetch_and(!way.ready, Ordering::AcqRel);
    }

    /// After a call that did not exhaust it.
    pub(super) fn restore(&self, way: Way) {
        self.bits.fetch_or(way.ready, Ordering::AcqRel);
    }

    /// After a call that would block: then it has not ended either, whatever was reported.
    pub(super) fn blocked(&self, way: Way) {
        if self.bits.load(Ordering::Acquire) & way.ended != 0 {
            self.bits.fetch_and(!way.ended, Ordering::AcqRel);
        }
    }

    fn is(&self, way: Way) -> bool {
        self.bits.load(Ordering::Acquire) & (way.ready | way.ended) != 0
    }

    fn waiting(&self, way: Way) -> &AtomicWaker {
        if way.is_read() { &self.reader } else { &self.writer }
    }

    /// Those who wait; a reactor that drops its sources must not drop these under a lock.
    pub(super) fn take(&self) -> [Option<Waker>; 2] {
        [self.reader.take(), self.writer.take()]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::net::wake::Signal;

    #[test]
    fn an_edge_during_a_call_is_kept_and_an_end_outlasts_the_data() {
        let readiness = Readiness::new();
        let signal = Arc::new(Signal::default());
        let waker = Waker::from(signal.clone());
        let cx = &mut Context::from_waker(&waker);
        let is = |way, cx: &mut Context<'_>| readiness.poll(way, cx).is_ready();
        assert!(is(READ, cx) && is(WRITE, cx), "nobody has tried");
        readiness.clear(READ);
        assert!(!is(READ, cx) && is(WRITE, cx));
        assert!(signal.poll(cx).is_pending());
        readiness.tell(Edge::default().ready(READ));
        assert!(signal.poll(cx).is_ready() && is(READ, cx));
        // A call begins, an edge comes, the call has found nothing.
        readiness.clear(READ);
        readiness.tell(Edge::default().ready(READ));
        readiness.blocked(READ);
        assert!(is(READ, cx));
        // Data and the end of it.
        readiness.tell(Edge::default().ended(READ));
        readiness.clear(READ);
        assert!(is(READ, cx), "the end can be read");
        readiness.blocked(READ);
        assert!(!is(READ, cx), "it was none");
        readiness.clear(WRITE);
        assert!(!is(WRITE, cx) && !readiness.is_gone());
        readiness.tell(Edge::gone());
        assert!(is(READ, cx) && is(WRITE, cx) && readiness.is_gone());
    }
}
