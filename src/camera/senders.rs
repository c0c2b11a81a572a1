//! Who sends to viewers beside the camera's first task, and how they are woken.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::net::udp::{Port, Udp};
use crate::net::{Signal, lock};
use crate::rtc::ShardId;

/// The senders of a camera.
pub(super) struct Senders {
    /// `None` when the camera has ended.
    port: Mutex<Option<Port>>,
    signals: Mutex<BTreeMap<ShardId, Arc<Signal>>>,
    over: AtomicBool,
}

impl Senders {
    pub(super) fn new(port: Port) -> Senders {
        Senders { port: Mutex::new(Some(port)), signals: Mutex::default(), over: AtomicBool::new(false) }
    }

    /// A shard has something to do.
    pub(super) fn wake(&self, shard: ShardId) {
        if let Some(signal) = lock(&self.signals).get(&shard) {
            signal.notify();
        }
    }

    /// The camera has ended.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
        *lock(&self.port) = None;
        lock(&self.signals).values().for_each(|signal| signal.notify());
    }

    /// A socket for another of them; `None` when the camera has ended.
    pub(super) fn udp(&self) -> Option<io::Result<Udp>> {
        lock(&self.port).as_ref().map(Port::udp)
    }

    /// One more, for this shard; the signal wakes it.
    pub(super) fn add(&self, shard: ShardId) -> Arc<Signal> {
        let signal = Arc::new(Signal::default());
        lock(&self.signals).insert(shard, signal.clone());
        signal
    }

    /// The one for this shard is gone.
    pub(super) fn remove(&self, shard: ShardId) {
        lock(&self.signals).remove(&shard);
    }

    /// Whether the camera has ended.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}
