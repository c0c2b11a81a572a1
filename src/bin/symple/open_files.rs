//! The limit on open files, which also limits connections; servers raise it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files the program needs besides peers: listeners, the log, timers, Redis; and sockets that load the page or are
/// refused because the server is full.
const BESIDE: u64 = 320;

/// Linux' default upper limit (`fs.nr_open`).
const MOST: u64 = 1 << 20;

/// The most files the program could have open.
pub(crate) fn reachable() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(MOST)
}

/// Raises the limit as far as allowed, and returns it.
pub(crate) fn raise() -> u64 {
    let now = getrlimit(Resource::Nofile);
    let current = now.current.unwrap_or(MOST);
    let wanted = now.maximum.unwrap_or(MOST);
    if current >= wanted {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: now.maximum }) {
        Ok(()) => wanted,
        Err(e) => {
            log::warn!("the limit on open files stays at {current}: {e}");
            current
        }
    }
}

/// How many connections this many open files allow.
pub(crate) fn connections(open_files: u64) -> usize {
    usize::try_from(open_files.saturating_sub(BESIDE).max(16)).unwrap_or(usize::MAX)
}
