//! A shard of the sessions, for a driver of its own.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::sessions::Sessions;
use crate::rtc::{Event, ShardId, Transmit};

/// Some of the sessions of a [`Fanout`](super::Fanout), for a driver of their own: each session is in one shard, and
/// each shard has its lock. See [`Fanout::shard`](super::Fanout::shard).
///
/// After [`Output::Wake`](crate::rtc::Output::Wake), and at the time that [`poll_timeout`](Self::poll_timeout) returns,
/// call [`handle_timeout`](Self::handle_timeout), then [`poll_transmit`](Self::poll_transmit) as long as the socket accepts
/// data. If [`has_events`](Self::has_events) then, let the fan-out's driver call
/// [`Fanout::poll_output`](super::Fanout::poll_output).
///
/// When it is dropped, its sessions move to other shards with the next call to the fan-out.
pub struct Shard {
    id: ShardId,
    cell: Arc<Cell>,
}

impl Shard {
    pub(super) fn new(id: ShardId, cell: Arc<Cell>) -> Shard {
        Shard { id, cell }
    }

    /// Which one it is.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// Does what is due.
    pub fn handle_timeout(&self, now: Instant) {
        self.cell.with(now, Sessions::handle_timeout);
    }

    /// The next data to send in one system call, as [`Fanout::poll_transmit`](super::Fanout::poll_transmit). No lock is
    /// held when it returns.
    pub fn poll_transmit(&self, now: Instant) -> Option<Transmit> {
        self.cell.poll_transmit(now)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    pub fn poll_timeout(&self) -> Instant {
        self.cell.look(Sessions::deadline)
    }

    /// Whether there are events for [`Fanout::poll_output`](super::Fanout::poll_output) to return.
    pub fn has_events(&self) -> bool {
        self.cell.has_events()
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.cell.driven.store(false, Ordering::Release);
    }
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The sessions of a shard behind their lock. Only one such lock is taken at a time.
pub(super) struct Cell {
    sessions: Mutex<Sessions>,
    /// Somebody has the [`Shard`].
    pub(super) driven: AtomicBool,
    /// There are events.
    tells: AtomicBool,
}

impl Cell {
    pub(super) fn new(sessions: Sessions) -> Cell {
        Cell { sessions: Mutex::new(sessions), driven: AtomicBool::new(false), tells: AtomicBool::new(false) }
    }

    /// Reads.
    pub(super) fn look<R>(&self, look: impl FnOnce(&Sessions) -> R) -> R {
        look(&self.lock())
    }

    /// Lets the sessions do something, after all have the last frame.
    pub(super) fn with<R>(&self, now: Instant, act: impl FnOnce(&mut Sessions) -> R) -> R {
        self.at(now, |sessions| {
            sessions.hand_out();
            act(sessions)
        })
    }

    pub(super) fn poll_transmit(&self, now: Instant) -> Option<Transmit> {
        self.at(now, Sessions::poll_transmit)
    }

    pub(super) fn take_events(&self) -> VecDeque<Event> {
        let mut sessions = self.lock();
        self.tells.store(false, Ordering::Release);
        std::mem::take(&mut sessions.events)
    }

    fn at<R>(&self, now: Instant, act: impl FnOnce(&mut Sessions) -> R) -> R {
        let mut sessions = self.lock();
        sessions.tick(now);
        let result = act(&mut sessions);
        self.tells.store(!sessions.events.is_empty(), Ordering::Release);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        // A panic in a session is contained there, and a session that panicked is dropped.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_events(&self) -> bool {
        self.tells.load(Ordering::Acquire)
    }

    pub(super) fn is_driven(&self) -> bool {
        self.driven.load(Ordering::Acquire)
    }
}
