//! Delivers events to the application: to one callback, in order, one at a time, never under a lock; and as bounded
//! streams of the same events for async code.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use futures_lite::Stream;
use smol::channel::{Receiver, Sender, TrySendError, bounded};

use super::lock;
use super::reactor::outside;
use super::wake::Signal;

/// The number of events that may wait for a callback; beyond it, an application whose callback does not return loses
/// events. A room of 1,024 peers that leaves at once fits four times.
const WAITING: usize = 4096;

/// The number of events delivered before the rest of the task has its turn.
const AT_ONCE: usize = 64;

/// An event type that can report lost events.
pub(crate) trait Lossy: Clone + Send + 'static {
    fn lost(count: u64) -> Self;

    /// Whether somebody waits for its result, so that it is kept for the callback regardless of the queue's length. The
    /// number of such events is limited elsewhere.
    fn is_owed(&self) -> bool {
        false
    }
}

type Callback<E> = Box<dyn FnMut(E) + Send>;

/// The queue between a driver and its task that delivers the events.
pub(crate) struct Outlet<E> {
    waiting: Mutex<Waiting<E>>,
    callback: Mutex<Slot<E>>,
    streams: Mutex<Vec<Tap<E>>>,
    signal: Signal,
}

/// The callback, or its empty place while it is called.
struct Slot<E> {
    callback: Option<Callback<E>>,
    /// Whether the application set one. True during its call, and after one that panicked.
    is_set: bool,
    /// Counts changes, so that a callback that was replaced during its call is not restored afterwards.
    changes: u64,
}

impl<E> Slot<E> {
    /// Returns the previous callback. Drop it without a lock: it may own the object that calls this.
    fn change(&mut self, callback: Option<Callback<E>>) -> Option<Callback<E>> {
        self.is_set = callback.is_some();
        self.changes += 1;
        std::mem::replace(&mut self.callback, callback)
    }
}

struct Waiting<E> {
    queue: VecDeque<E>,
    lost: u64,
}

struct Tap<E> {
    to: Sender<E>,
    lost: u64,
}

impl<E: Lossy> Outlet<E> {
    pub(crate) fn new() -> Self {
        Outlet {
            waiting: Mutex::new(Waiting { queue: VecDeque::new(), lost: 0 }),
            callback: Mutex::new(Slot { callback: None, is_set: false, changes: 0 }),
            streams: Mutex::new(Vec::new()),
            signal: Signal::default(),
        }
    }

    pub(crate) fn set_callback(&self, callback: Callback<E>) {
        let before = lock(&self.callback).change(Some(callback));
        drop(before);
    }

    /// Whether the application listens, by its callback or by a stream.
    #[cfg(feature = "camera")]
    pub(crate) fn is_heard(&self) -> bool {
        lock(&self.callback).is_set || lock(&self.streams).iter().any(|tap| !tap.to.is_closed())
    }

    /// Drops the application's callback, and everything that it owns.
    #[cfg(feature = "camera")]
    pub(crate) fn clear(&self) {
        let callback = lock(&self.callback).change(None);
        drop(callback);
        lock(&self.streams).clear();
    }

    pub(crate) fn stream(&self, capacity: usize) -> Events<E> {
        let (to, from) = bounded(capacity.max(1));
        lock(&self.streams).push(Tap { to, lost: 0 });
        Events { from: Box::pin(from) }
    }

    pub(crate) fn push(&self, event: E) {
        let mut waiting = lock(&self.waiting);
        if waiting.queue.len() >= WAITING && !event.is_owed() {
            waiting.lost += 1;
        } else {
            if waiting.lost > 0 && waiting.queue.len() < WAITING / 2 {
                let lost = std::mem::take(&mut waiting.lost);
                waiting.queue.push_back(E::lost(lost));
            }
            waiting.queue.push_back(event);
        }
        drop(waiting);
        self.signal.notify();
    }

    /// Delivers queued events, at most a batch. Ready if it delivered any; then poll it again.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut handed = 0;
        loop {
            while let Some(event) = self.next() {
                self.hand_on(event);
                handed += 1;
                if handed == AT_ONCE {
                    return Poll::Ready(());
                }
            }
            match self.signal.poll(cx) {
                Poll::Ready(()) => {}
                Poll::Pending if handed > 0 => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn next(&self) -> Option<E> {
        lock(&self.waiting).queue.pop_front()
    }

    fn hand_on(&self, event: E) {
        lock(&self.streams).retain_mut(|tap| tap.give(&event));
        // Taken out for the call, so that the callback may set another, and no lock is held meanwhile.
        let (callback, changes) = {
            let mut slot = lock(&self.callback);
            (slot.callback.take(), slot.changes)
        };
        if let Some(mut callback) = callback {
            outside(|| callback(event));
            let mut slot = lock(&self.callback);
            if slot.changes == changes {
                slot.callback = Some(callback);
            }
            // Dropped after the lock: variables are dropped in reverse order.
        }
    }
}

impl<E: Lossy> Tap<E> {
    /// False if nobody listens any more.
    fn give(&mut self, event: &E) -> bool {
        if self.lost > 0 {
            match self.to.try_send(E::lost(self.lost)) {
                Ok(()) => self.lost = 0,
                Err(TrySendError::Full(_)) => {
                    self.lost += 1;
                    return true;
                }
                Err(TrySendError::Closed(_)) => return false,
            }
        }
        match self.to.try_send(event.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.lost += 1;
                true
            }
            Err(TrySendError::Closed(_)) => false,
        }
    }
}

/// A bounded stream of events. Events that did not fit are reported by an event once there is room again.
pub struct Events<E> {
    from: Pin<Box<Receiver<E>>>,
}

impl<E> Stream for Events<E> {
    type Item = E;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<E>> {
        self.from.as_mut().poll_next(cx)
    }
}

impl<E> std::fmt::Debug for Events<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("waiting", &self.from.len()).finish()
    }
}

/// The crate's own listeners: they get every event at once, in order, before the application does, and independently of
/// it. Called by one task, without a lock.
#[cfg(any(feature = "camera", feature = "calls"))]
pub(crate) struct Hook<E>(Mutex<Vec<HookCallback<E>>>);

#[cfg(any(feature = "camera", feature = "calls"))]
type HookCallback<E> = Box<dyn FnMut(&E) + Send>;

#[cfg(any(feature = "camera", feature = "calls"))]
impl<E> Hook<E> {
    pub(super) fn unset() -> Self {
        Hook(Mutex::new(Vec::new()))
    }

    pub(super) fn add(&self, hook: HookCallback<E>) {
        lock(&self.0).push(hook);
    }

    pub(super) fn call(&self, event: &E) {
        let mut hooks = std::mem::take(&mut *lock(&self.0));
        hooks.iter_mut().for_each(|hook| hook(event));
        // Behind those that were added meanwhile.
        lock(&self.0).append(&mut hooks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_fn};
    use std::sync::Arc;

    #[derive(Clone, Debug, PartialEq)]
    enum E {
        N(u32),
        Owed(u32),
        Lost(u64),
    }

    impl Lossy for E {
        fn lost(count: u64) -> Self {
            E::Lost(count)
        }

        fn is_owed(&self) -> bool {
            matches!(self, E::Owed(_))
        }
    }

    fn pump(outlet: &Outlet<E>) {
        while block_on(poll_fn(|cx| Poll::Ready(outlet.poll(cx)))).is_ready() {}
    }

    #[test]
    fn a_full_stream_reports_its_losses_and_the_callback_loses_nothing() {
        let outlet = Outlet::new();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        outlet.set_callback(Box::new(move |e| lock(&sink).push(e)));
        let mut stream = outlet.stream(2);
        for n in 0..5 {
            outlet.push(E::N(n));
        }
        pump(&outlet);
        assert_eq!(*lock(&seen), (0..5).map(E::N).collect::<Vec<_>>());
        let mut next = || block_on(futures_lite::StreamExt::next(&mut stream));
        assert_eq!((next(), next()), (Some(E::N(0)), Some(E::N(1))));
        outlet.push(E::N(5));
        pump(&outlet);
        assert_eq!((next(), next()), (Some(E::Lost(3)), Some(E::N(5))));
    }

    #[test]
    fn the_queue_is_bounded_and_losses_are_reported() {
        let outlet = Outlet::new();
        for n in 0..WAITING as u32 + 7 {
            outlet.push(E::N(n));
        }
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        outlet.set_callback(Box::new(move |e| lock(&sink).push(e)));
        outlet.push(E::Owed(1));
        pump(&outlet);
        assert_eq!(lock(&seen).pop(), Some(E::Owed(1)), "somebody waits for it");
        outlet.push(E::N(0));
        pump(&outlet);
        let seen = lock(&seen);
        assert_eq!((seen.len(), &seen[WAITING]), (WAITING + 2, &E::Lost(7)));
    }

    #[cfg(feature = "camera")]
    #[test]
    fn the_callback_counts_as_set_while_it_runs_and_until_it_is_cleared() {
        let outlet = Arc::new(Outlet::new());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (asks, sink) = (outlet.clone(), seen.clone());
        outlet.set_callback(Box::new(move |e: E| {
            lock(&sink).push((e.clone(), asks.is_heard()));
            if e == E::N(1) {
                asks.clear();
            }
        }));
        assert!(outlet.is_heard());
        for n in 0..3 {
            outlet.push(E::N(n));
            pump(&outlet);
        }
        assert_eq!(*lock(&seen), [(E::N(0), true), (E::N(1), true)]);
        assert!(!outlet.is_heard());
    }

    #[cfg(feature = "camera")]
    #[test]
    fn values_owned_by_a_callback_may_use_its_outlet() {
        struct Asks(Arc<Outlet<E>>);
        impl Drop for Asks {
            fn drop(&mut self) {
                self.0.is_heard();
            }
        }
        type LetGo = fn(&Outlet<E>);
        let ways: [(&str, LetGo); 2] = [
            ("cleared", |outlet| outlet.clear()),
            ("replaced", |outlet| outlet.set_callback(Box::new(drop))),
        ];
        for (name, let_go) in ways {
            let (done, ended) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                let outlet = Arc::new(Outlet::new());
                let asks = Asks(outlet.clone());
                outlet.set_callback(Box::new(move |_| _ = &asks));
                let_go(&outlet);
                _ = done.send(());
            });
            // Far longer than needed, so that a deadlock ends the test.
            assert!(ended.recv_timeout(std::time::Duration::from_secs(10)).is_ok(), "{name}");
        }
    }
}
