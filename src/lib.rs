//! Symple v4 messaging, presence and calls, and cameras to watch in a browser, in one small crate.
//!
//! | layer | purpose |
//! |---|---|
//! | [`proto`] | the wire protocol: addresses, message heads, peers; values only |
//! | [`client`] | the client, sans-IO |
//! | [`server`] | the server's hub, sans-IO |
//! | [`call`] | call signalling, sans-IO; treats SDP as an opaque string |
//! | [`media`] | frames, the bounded queue, rate control, and video and audio sources |
//! | `rtc` | one encoded stream to many WebRTC viewers, sans-IO on str0m (feature `rtc`) |
//! | `net` | the drivers: the only layer with sockets, clocks and tasks (feature `net`) |
//! | `calling` | calls: watching what a peer sends (feature `calls`) |
//! | `camera` | the facade for firmware and other programs (feature `camera`) |
//!
//! Most programs start with one of the types at the root: `Client`, `Server` and `Camera`, each a future to run.
//!
//! Every core has the same shape: `handle_input(input, now)`, then `poll_output()` until it returns the time of the
//! next wake-up (`Output::Timeout`). A driver is a future that the caller runs on any runtime.
// docs.rs shows the feature that each item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs)]
// Allowed only in files named for it.
#![deny(unsafe_code)]

pub mod call;
pub mod client;
mod limit;
pub mod media;
pub mod proto;
pub mod server;

#[cfg(feature = "rtc")]
pub mod rtc;

#[cfg(feature = "net")]
pub mod net;

#[cfg(feature = "calls")]
pub mod calling;
#[cfg(all(feature = "camera", not(feature = "calls")))]
pub(crate) mod calling;

#[cfg(feature = "camera")]
pub mod camera;

#[cfg(feature = "web")]
pub mod web;

#[cfg(feature = "camera")]
pub use camera::Camera;
#[cfg(feature = "client")]
pub use net::client::Client;
#[cfg(feature = "server")]
pub use net::server::Server;

#[cfg(all(any(test, fuzzing), feature = "camera-gst", feature = "redis", feature = "calls"))]
#[doc(hidden)]
pub mod fuzzing;

#[cfg(test)]
mod dice;

/// Compiles the README's program as a doctest.
#[cfg(all(doctest, feature = "camera-gst"))]
#[doc = include_str!("../README.md")]
struct Readme;
