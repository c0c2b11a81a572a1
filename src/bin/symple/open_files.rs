//! The limit on open files, which is one on connections: raised by whoever serves.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the program needs beside peers: listeners, the log, timers, Redis; and sockets of pages, and of those
/// who are told that it is full.
const BESIDE: u64 = 320;

/// A limit beyond which Linux lets nobody go unless told (`fs.nr_open`).
const MOST: u64 = 1 << 20;

/// How many files the program could have open, at most.
pub fn reachable() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(MOST)
}

/// Raises the limit as far as it may, and says how far that is.
pub fn raise() -> u64 {
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

/// How many connections so many open files allow.
pub fn connections(open_files: u64) -> usize {
    usize::try_from(open_files.saturating_sub(BESIDE).max(16)).unwrap_or(usize::MAX)
}
