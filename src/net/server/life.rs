//! The life of a server: open, closing, ended; and the tasks that all of its `run` futures share.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use smol::channel::{Receiver, Sender, bounded};

use super::pool::Pool;
use crate::net::lock;

/// Moves in one direction: [`close`](Life::close), then [`end`](Life::end) or the end of the last socket.
pub(super) struct Life {
    closing: AtomicBool,
    /// Dropped when the shutdown begins, which `last_call` reports to HTTP connections.
    open: Mutex<Option<Sender<()>>>,
    last_call: Receiver<()>,
    /// Dropped at the end, which `end` reports to every waiting `run`.
    running: Mutex<Option<Sender<()>>>,
    end: Receiver<()>,
    /// Accepted sockets that are still open.
    sockets: AtomicUsize,
    /// Owned only by the `run` futures, so that dropping them drops the tasks, and with them the sockets.
    pool: Mutex<Weak<Pool>>,
}

impl Life {
    pub(super) fn new() -> Life {
        let ((running, end), (open, last_call)) = (bounded(1), bounded(1));
        Life {
            closing: AtomicBool::new(false),
            open: Mutex::new(Some(open)),
            last_call,
            running: Mutex::new(Some(running)),
            end,
            sockets: AtomicUsize::new(0),
            pool: Mutex::default(),
        }
    }

    /// The tasks, and whether this call created the pool: then they must be spawned, once a worker has entered it.
    pub(super) fn pool(&self) -> (Arc<Pool>, bool) {
        let mut held = lock(&self.pool);
        if let Some(pool) = held.upgrade() {
            return (pool, false);
        }
        let pool = Pool::new();
        *held = Arc::downgrade(&pool);
        (pool, true)
    }

    /// The tasks while a `run` future lives.
    pub(super) fn running(&self) -> Option<Arc<Pool>> {
        lock(&self.pool).upgrade()
    }

    /// Stops accepting sockets. The end of the last open one ends the server; without any, [`Life::end_if_over`] does,
    /// once the hub has been told.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        lock(&self.open).take();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Ends all sockets.
    pub(super) fn end(&self) {
        lock(&self.running).take();
    }

    pub(super) fn end_if_over(&self) {
        if self.is_closing() && self.sockets.load(Ordering::Acquire) == 0 {
            self.end();
        }
    }

    /// Resolves when the shutdown begins.
    pub(super) fn last_call(&self) -> impl Future<Output = ()> + Send + use<> {
        dropped(self.last_call.clone())
    }

    /// Resolves at the end.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        dropped(self.end.clone())
    }

    /// Counts one more socket; returns false beyond `max`, though it is counted then too.
    pub(super) fn add_socket(&self, max: usize) -> bool {
        self.sockets.fetch_add(1, Ordering::AcqRel) < max
    }

    pub(super) fn remove_socket(&self) {
        self.sockets.fetch_sub(1, Ordering::AcqRel);
        self.end_if_over();
    }
}

/// Nothing is ever sent: this resolves when the sender is dropped.
async fn dropped(from: Receiver<()>) {
    _ = from.recv().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};

    #[test]
    fn a_closing_server_ends_with_its_last_socket() {
        let life = Life::new();
        assert!(life.add_socket(2) && life.add_socket(2) && !life.add_socket(2));
        life.remove_socket();
        let is_over = |life: &Life| block_on(poll_once(life.ended())).is_some();
        life.close();
        assert!(block_on(poll_once(life.last_call())).is_some() && !is_over(&life));
        life.remove_socket();
        assert!(!is_over(&life));
        life.remove_socket();
        assert!(is_over(&life));
    }

    #[test]
    fn without_sockets_a_closing_server_ends_at_once_but_an_open_one_never() {
        let life = Life::new();
        assert!(life.add_socket(1));
        life.remove_socket();
        assert!(block_on(poll_once(life.ended())).is_none(), "it is open");
        life.close();
        life.end_if_over();
        block_on(life.ended());
    }
}
