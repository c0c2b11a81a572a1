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

    /// The one for this shard is gone. Another may have the shard already, and a signal of its own.
    pub(super) fn remove(&self, shard: ShardId, signal: &Arc<Signal>) {
        let mut signals = lock(&self.signals);
        if signals.get(&shard).is_some_and(|known| Arc::ptr_eq(known, signal)) {
            signals.remove(&shard);
        }
    }

    /// Whether the camera has ended.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_fn, poll_once};

    use super::*;

    #[test]
    fn one_that_is_gone_late_does_not_silence_its_successor() {
        let udp = Udp::bind("127.0.0.1:0".parse().expect("literal")).expect("a free port");
        let senders = Senders::new(udp.port_for_others());
        let shard = ShardId(1);
        let first = senders.add(shard);
        let second = senders.add(shard);
        senders.remove(shard, &first);
        senders.wake(shard);
        assert!(block_on(poll_once(poll_fn(|cx| second.poll(cx)))).is_some(), "it is woken");
        senders.remove(shard, &second);
        assert!(lock(&senders.signals).is_empty());
    }
}
