//! A reactor for each thread: the sockets and timers of what [`block_on`] runs are its own.
//!
//! `async-io` has one reactor for the whole process, and arms a socket anew for each wait: a message that wakes a server
//! cost 8 system calls with it, and its thread takes turns at waiting with the others, which cost a camera of twenty
//! viewers an eighth of its CPU time. Here a socket is registered once, edge-triggered, with the thread that serves it, so
//! that three remain: waiting, reading and writing. Wherever no such reactor runs, as on another runtime or another system,
//! sockets and timers are `async-io`'s. One whose reactor has ended registers again where it is polled next.

#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
mod epoll;
#[cfg(target_os = "linux")]
mod epoll;
mod readiness;
mod source;
#[cfg(all(test, target_os = "linux"))]
mod tests;
#[cfg(target_os = "linux")]
mod timers;

use std::future::Future;

pub(crate) use epoll::{Deadline, Reactor, current, outside};
pub(crate) use source::Socket;
#[cfg(any(feature = "server", feature = "udp"))]
pub(crate) use source::Source;

/// Runs a future on this thread, with a reactor of its own for the sockets and timers of
/// [`Server::run`](crate::Server::run), `Camera::run` and the other drivers. A server and a camera cost less CPU this way
/// than on another runtime, most of all on several threads: each serves its share of the connections or viewers.
///
/// Only on Linux; elsewhere it is `smol::block_on`. Sockets and timers of other crates work in it as on any thread.
///
/// ```no_run
/// use symple::Server;
/// use symple::net::{ServerConfig, block_on};
/// let server = Server::bind(ServerConfig::listen(["127.0.0.1:4500".parse()?]))?;
/// let second = std::thread::spawn({
///     let run = server.run();
///     move || block_on(run)
/// });
/// block_on(server.run());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    epoll::block_on(future)
}
