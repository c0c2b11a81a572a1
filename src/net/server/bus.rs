//! What a server shares with other instances, if it is one of several: one object, or none.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use super::{AuthRequest, Inner};
use crate::server::Hub;

/// A future that borrows the bus.
pub(crate) type Task<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The bus between the cluster's instances, and the store of their sessions.
pub(crate) trait Bus: Send + Sync {
    /// Passes messages between hub and cluster. Called under the hub's lock, after each of its inputs. Returns when
    /// [`Bus::timeout`] is due.
    fn exchange(&self, hub: &mut Hub, now: Instant) -> Instant;

    /// Called when the instant from [`Bus::exchange`] may have come, under the hub's lock; exchange afterwards.
    fn timeout(&self, now: Instant);

    /// The number of messages to other instances that were dropped.
    fn dropped(&self) -> u64;

    /// Takes over a request of the hub, or returns it: then the host decides.
    fn judge(&self, request: AuthRequest) -> Option<AuthRequest>;

    /// Whether other instances are reachable.
    #[cfg(feature = "redis")]
    fn is_up(&self) -> bool;

    /// Whether a peer that was admitted with this token is connected here.
    #[cfg(feature = "redis")]
    fn has_session(&self, token: &str) -> bool;

    /// Connects, stays connected, and reconnects.
    fn run(self: Arc<Self>, server: Arc<Inner>) -> Task<'static>;

    /// Sends the last messages, if possible.
    fn flush<'a>(&'a self, server: &'a Inner) -> Task<'a>;
}
