//! One connection at the hub, with a socket or without.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::Inner;
use super::shared::Core;
use crate::net::random_id;
use crate::net::wake::Signal;
use crate::server::{ConnId, Input, Transmit};

/// Dropping it tells the hub that the connection has ended.
pub(crate) struct Port {
    pub conn: ConnId,
    pub signal: Arc<Signal>,
    inner: Arc<Inner>,
}

impl Port {
    /// Without a `host` it is a peer in this process.
    pub(crate) fn open(inner: &Arc<Inner>, host: Option<IpAddr>) -> Port {
        let conn = inner.next_conn();
        let signal = Arc::new(Signal::default());
        inner.hub.wake_by(conn, signal.clone());
        inner.input(Input::Connected { conn, id: random_id(), host, local: host.is_none() });
        Port { conn, signal, inner: inner.clone() }
    }

    /// Calls the hub, then executes its outputs.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Core<'_>, Instant) -> R) -> R {
        self.inner.with(act)
    }

    /// Passes a text to the hub; returns whether the hub now holds back the connection.
    #[cfg(feature = "client")]
    pub(crate) fn send(&self, text: &str) -> bool {
        self.with(|hub, now| {
            hub.handle_input(Input::Text { conn: self.conn, text }, now);
            hub.is_held(self.conn)
        })
    }

    pub(crate) fn is_held(&self) -> bool {
        self.inner.hub.look(|hub| hub.is_held(self.conn))
    }

    /// Moves what the hub has queued into `batch`, up to about `max` bytes; returns whether more is queued. `full`: the
    /// socket has just become full, or accepted something and is full again.
    pub(crate) fn transmit(&self, max: usize, full: Option<bool>, batch: &mut Vec<Transmit>) -> bool {
        self.inner.maybe_with(|hub, now| {
            if let Some(moved) = full {
                hub.handle_input(Input::Full { conn: self.conn, moved }, now);
            }
            let more = hub.transmit(self.conn, max, now, batch);
            // Otherwise the hub learns nothing new, and nobody has to be woken.
            (more, full.is_some() || hub.has_output())
        })
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.inner.hub.forget(self.conn);
        self.inner.sockets.forget(self.conn);
        self.inner.input(Input::Closed { conn: self.conn });
    }
}
