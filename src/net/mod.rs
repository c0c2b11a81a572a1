//! The drivers: the only layer with sockets, clocks and tasks.
//!
//! Each driver is a future that the caller runs: [`Client::run`](crate::Client::run), [`Server::run`](crate::Server::run). Nothing is spawned except the
//! reactor thread of `async-io` and, during a name lookup, one thread that calls the system's resolver. The same future
//! runs on smol, on tokio and on a plain thread. A server and a camera cost least with [`block_on`], which gives their thread a
//! reactor.
//!
//! ```no_run
//! # #[cfg(feature = "client")] {
//! use symple::{Client, client::Config};
//! let client = Client::new("ws://127.0.0.1:4500", Config::new("alice"))?;
//! client.on(|event| println!("{event:?}"));
//! futures_lite::future::block_on(client.run());
//! # }
//! # Ok::<(), symple::net::UrlError>(())
//! ```

#[cfg(any(feature = "client", feature = "server", feature = "udp"))]
use std::sync::{Mutex, MutexGuard, PoisonError};

#[cfg(any(feature = "camera", feature = "calls"))]
mod address_changes;
#[cfg(feature = "udp")]
pub(crate) mod addresses;
#[cfg(feature = "calls")]
pub(crate) mod channel;
#[cfg(feature = "client")]
pub(crate) mod client;
#[cfg(any(feature = "client", feature = "server"))]
pub(crate) mod event_loop;
#[cfg(any(feature = "client", feature = "server"))]
mod events;
#[cfg(any(feature = "camera", feature = "calls"))]
pub(crate) mod frame_outbox;
#[cfg(feature = "server")]
pub mod http;
#[cfg(any(feature = "client", feature = "redis"))]
mod lookup;
#[cfg(feature = "server")]
mod network;
#[cfg(any(feature = "camera", feature = "calls"))]
pub(crate) mod own_addresses;
#[cfg(feature = "camera")]
pub(crate) mod own_waker;
#[cfg(any(feature = "client", feature = "server", feature = "udp"))]
// `udp` alone uses a part of it.
#[cfg_attr(not(any(feature = "client", feature = "server")), allow(dead_code, unused_imports))]
pub(crate) mod reactor;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "server")]
pub(crate) mod server;
#[cfg(feature = "server")]
pub mod site;
#[cfg(any(feature = "client", feature = "server", feature = "udp"))]
// `udp` alone uses a part of it.
#[cfg_attr(not(any(feature = "client", feature = "server")), allow(dead_code))]
pub(crate) mod time;
#[cfg(all(feature = "tls", any(feature = "client", feature = "server")))]
mod tls;
#[cfg(feature = "udp")]
pub mod udp;
#[cfg(any(feature = "client", feature = "server", all(test, feature = "udp")))]
mod wake;
#[cfg(any(feature = "client", feature = "server"))]
pub(crate) mod ws;

#[cfg(feature = "client")]
pub use client::UrlError;
#[cfg(feature = "client")]
pub use client::{ClientEvent, Delivery, Reply};
#[cfg(any(feature = "client", feature = "server"))]
pub use events::Events;
#[cfg(feature = "camera")]
pub(crate) use events::{Lossy, Outlet};
#[cfg(feature = "server")]
pub use http::origins::Origins;
#[cfg(feature = "server")]
pub use network::{Network, NetworkError};
#[cfg(any(feature = "client", feature = "server", feature = "udp"))]
pub use reactor::block_on;
#[cfg(feature = "server")]
pub use server::{AuthRequest, BindError, ServerConfig, ServerEvent};
#[cfg(all(feature = "tls", feature = "client"))]
pub use tls::Roots;
#[cfg(all(feature = "tls", feature = "server"))]
pub use tls::ServerTls;
#[cfg(all(feature = "tls", any(feature = "client", feature = "server")))]
pub use tls::TlsError;
#[cfg(any(feature = "camera", feature = "calls"))]
pub(crate) use wake::Signal;

/// No code of ours panics while it holds a lock, short of a bug; the state behind it is still consistent.
#[cfg(any(feature = "client", feature = "server", feature = "udp"))]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 128 random bits from the system, as 22 characters of URL-safe base64: the id of a session or a call.
///
/// # Panics
/// If the system has no random numbers: ids are capabilities, and guessable ones would be worse than none.
pub fn random_id() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    let bits = u128::from_be_bytes(bytes);
    (0..22).map(|i| ALPHABET[(bits >> (i * 6)) as usize & 63] as char).collect()
}

/// The address from which this machine reaches others. Finding it sends no packet.
#[cfg(feature = "camera")]
pub(crate) fn outward_address() -> Option<std::net::IpAddr> {
    use std::net::{Ipv4Addr, UdpSocket};
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // TEST-NET-1 (RFC 5737): a route is looked up, nothing leaves.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|a| a.ip()).filter(|ip| !ip.is_unspecified())
}

/// A seed for anything that needs no secrecy, such as the jitter of a reconnect.
#[cfg(feature = "client")]
pub(crate) fn random_seed() -> u64 {
    getrandom::u64().expect("the system has random numbers")
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_are_url_safe_and_differ() {
        let ids: std::collections::HashSet<String> = (0..1000).map(|_| super::random_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(
            ids.iter()
                .all(|id| id.len() == 22
                    && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)))
        );
    }
}
