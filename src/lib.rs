//! Symple v4 messaging, presence and calls, and cameras that browsers watch, in one small crate.
//!
//! | layer | what it is |
//! |---|---|
//! | [`proto`] | the wire: addresses, message heads, peers; values only |
//! | [`client`] | the client, sans-IO |
//! | [`server`] | the server's hub, sans-IO |
//! | [`call`] | call signalling, sans-IO; SDP is an opaque string to it |
//! | [`media`] | frames, the bounded queue, rate control; where pictures come from |
//! | `rtc` | one encoded stream to many WebRTC viewers, sans-IO on str0m (feature `rtc`) |
//! | `net` | the drivers: the only place with sockets, clocks and tasks (feature `net`) |
//! | `calling` | where calls meet WebRTC sessions (feature `camera`) |
//! | `camera` | the facade that a firmware embeds (feature `camera`) |
//!
//! What most programs begin with stands at the root: `Client`, `Server` and `Camera`, each a future to run.
//!
//! Every core has one shape: `handle_input(input, now)`, then `poll_output()` until it says when to
//! wake it (`Output::Timeout`). A driver is a future that the caller runs on whatever runtime it has.
// docs.rs shows the feature that each item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs)]
// Only in files named for it.
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

#[cfg(feature = "camera")]
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

#[cfg(all(any(test, fuzzing), feature = "camera", feature = "redis"))]
#[doc(hidden)]
pub mod fuzzing;

/// The README's program is compiled as the others are.
#[cfg(all(doctest, feature = "camera-gst"))]
#[doc = include_str!("../README.md")]
struct Readme;
