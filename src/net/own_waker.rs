//! Futures of one task, each polled only when it was woken itself.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::Signal;

/// A future with a waker of its own: that something else in its task was woken does not concern it. A camera is woken for
/// datagrams hundreds of times a second, and its server and its client are not to be asked each time.
pub(crate) struct OwnWaker<F> {
    future: Pin<Box<F>>,
    signal: Arc<Signal>,
    waker: Waker,
}

impl<F: Future> OwnWaker<F> {
    pub(crate) fn new(future: F) -> OwnWaker<F> {
        let signal = Arc::new(Signal::default());
        // It has never been polled.
        signal.notify();
        OwnWaker { future: Box::pin(future), waker: Waker::from(signal.clone()), signal }
    }
}

impl<F: Future> Future for OwnWaker<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if !self.signal.take(cx) {
            return Poll::Pending;
        }
        let OwnWaker { future, waker, .. } = &mut *self;
        future.as_mut().poll(&mut Context::from_waker(waker))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Mutex;

    use futures_lite::future::{block_on, poll_fn, poll_once, zip};

    use super::*;
    use crate::net::lock;

    #[test]
    fn a_future_is_polled_first_and_then_when_it_is_woken() {
        let (polls, kept) = (Cell::new(0), Mutex::new(None::<Waker>));
        let mut future = OwnWaker::new(poll_fn(|cx| {
            polls.set(polls.get() + 1);
            *lock(&kept) = Some(cx.waker().clone());
            if polls.get() < 3 { Poll::Pending } else { Poll::Ready(7) }
        }));
        for _ in 0..3 {
            assert!(block_on(poll_once(&mut future)).is_none());
        }
        assert_eq!(polls.get(), 1, "nobody woke it");
        lock(&kept).take().expect("kept").wake();
        assert!(block_on(poll_once(&mut future)).is_none());
        assert!(block_on(poll_once(&mut future)).is_none());
        assert_eq!(polls.get(), 2);
        // From another thread, and the task is woken with it.
        let waker = lock(&kept).take().expect("kept");
        std::thread::scope(|scope| {
            scope.spawn(|| waker.wake());
            assert_eq!(block_on(&mut future), 7);
        });
    }

    #[test]
    fn one_that_wakes_itself_goes_on() {
        let mut left = 100;
        let busy = poll_fn(move |cx| {
            left -= 1;
            cx.waker().wake_by_ref();
            if left > 0 { Poll::Pending } else { Poll::Ready(()) }
        });
        let other = poll_fn(|_| Poll::Ready(1));
        assert_eq!(block_on(zip(OwnWaker::new(busy), OwnWaker::new(other))), ((), 1));
    }
}
