//! What a server shares with other instances, where it is one of several: one object, or none.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use super::{AuthRequest, Inner};
use crate::server::Hub;

/// A future that borrows the bus.
pub(crate) type Task<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The bus between instances with this one's cluster, and the store of their sessions.
pub(crate) trait Bus: Send + Sync {
    /// Moves what the hub and the cluster say to each other. Under the hub's lock, after each of its inputs. Answers
    /// when [`Bus::timeout`] is due.
    fn exchange(&self, hub: &mut Hub, now: Instant) -> Instant;

    /// The instant that [`Bus::exchange`] answered may have come. Under the hub's lock; exchange afterwards.
    fn timeout(&self, now: Instant);

    /// Messages for other instances that were given up.
    fn dropped(&self) -> u64;

    /// Takes over whom the hub asks about, or gives the request back: then the host decides.
    fn judge(&self, request: AuthRequest) -> Option<AuthRequest>;

    /// Whether other instances are reached.
    #[cfg(feature = "redis")]
    fn is_up(&self) -> bool;

    /// Whether a peer is here that came in with this token.
    #[cfg(feature = "redis")]
    fn has_session(&self, token: &str) -> bool;

    /// Connects, stays connected, and comes back.
    fn run(self: Arc<Self>, server: Arc<Inner>) -> Task<'static>;

    /// What was said last leaves, if it may.
    fn flush<'a>(&'a self, server: &'a Inner) -> Task<'a>;
}
