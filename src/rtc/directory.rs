//! Finds the session of a datagram, whatever shard it is in.
//!
//! One table for all shards, since sessions of several shards may claim the same path, and the limits on checks apply to
//! all of them. Its lock is always taken last, and held only for a look-up.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::demux::Transaction;
use super::demux::paths::Paths;
use super::{Path, SessionId};

/// The tables of a fan-out.
pub(super) struct Directory(Mutex<Tables>);

struct Tables {
    paths: Paths,
    /// Each session's ICE user name, with which it is called from a new address.
    names: HashMap<String, SessionId>,
}

impl Directory {
    pub(super) fn new(now: Instant) -> Directory {
        Directory(Mutex::new(Tables { paths: Paths::new(now), names: HashMap::new() }))
    }

    /// The session with this ICE user name.
    pub(super) fn named(&self, name: &str) -> Option<SessionId> {
        self.lock().names.get(name).copied()
    }

    /// A session is called by this name, and by no other.
    pub(super) fn name(&self, id: SessionId, name: String) {
        let mut tables = self.lock();
        if tables.names.get(&name) != Some(&id) {
            tables.names.retain(|_, owner| *owner != id);
            tables.names.insert(name, id);
        }
    }

    /// A session is over.
    pub(super) fn forget(&self, id: SessionId) {
        let mut tables = self.lock();
        tables.names.retain(|_, owner| *owner != id);
        tables.paths.forget(id);
    }

    /// As [`Paths::claimants`].
    pub(super) fn claimants(&self, path: Path) -> Vec<SessionId> {
        self.lock().paths.claimants(path).collect()
    }

    /// As [`Paths::of_host`].
    pub(super) fn of_host(&self, host: IpAddr) -> Vec<SessionId> {
        self.lock().paths.of_host(host).collect()
    }

    /// As [`Paths::answered`].
    pub(super) fn answered(&self, id: SessionId, path: Path) -> Option<Instant> {
        self.lock().paths.answered(id, path)
    }

    /// As [`Paths::proven`].
    pub(super) fn proven(&self, id: SessionId) -> Vec<(Path, Instant)> {
        self.lock().paths.proven(id).collect()
    }

    /// As [`Paths::has_room`].
    pub(super) fn has_room(&self, id: SessionId, path: Path, now: Instant) -> bool {
        self.lock().paths.has_room(id, path, now)
    }

    /// As [`Paths::handle_request`].
    pub(super) fn handle_request(&self, id: SessionId, path: Path, now: Instant) {
        self.lock().paths.handle_request(id, path, now);
    }

    /// As [`Paths::asker`].
    pub(super) fn asker(&self, transaction: &Transaction, path: Path) -> Option<SessionId> {
        self.lock().paths.asker(transaction, path)
    }

    /// As [`Paths::handle_answer`].
    pub(super) fn handle_answer(&self, id: SessionId, transaction: &Transaction, path: Path, now: Instant) {
        self.lock().paths.handle_answer(id, transaction, path, now);
    }

    /// As [`Paths::handle_check`].
    pub(super) fn handle_check(&self, id: SessionId, path: Path, check: Transaction, now: Instant) -> bool {
        self.lock().paths.handle_check(id, path, check, now)
    }

    /// As [`Paths::restart`].
    pub(super) fn restart(&self, id: SessionId) {
        self.lock().paths.restart(id);
    }

    /// As [`Paths::checks_sent`] and [`Paths::checks_held`].
    pub(super) fn checks(&self) -> (u64, u64) {
        let tables = self.lock();
        (tables.paths.checks_sent(), tables.paths.checks_held())
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // A panic in a look-up left nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
