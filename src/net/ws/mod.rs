//! WebSockets: one is read and written by `socket`, over the bytes of `io`.

#[cfg(all(test, feature = "server"))]
mod conformance;
pub(crate) mod io;
#[cfg(feature = "server")]
mod served;
#[cfg(feature = "server")]
mod size_limit;
mod socket;
#[cfg(all(test, feature = "server"))]
mod tests;

#[cfg(feature = "server")]
pub(crate) use served::SENT;
#[cfg(feature = "server")]
pub(crate) use size_limit::Gate;
#[cfg(feature = "client")]
pub(crate) use socket::BATCH;
pub(crate) use socket::{Got, Put, WebSocket, config};
