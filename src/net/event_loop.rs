//! The loop of all drivers: polls inputs, drains the core, sets the alarm, and repeats while there was anything to do.
//! It yields after a while, so that other tasks run.

use std::task::{Context, Poll};

/// Turns of a driver before it yields: at some microseconds each, others wait for less than a millisecond.
const TURNS: usize = 64;

/// The result of one turn.
pub(crate) enum Turn<T> {
    /// There was something, so there may be more.
    Again,
    /// There was nothing: any input wakes the task.
    Rest,
    /// There is more, but it took long enough for others to go first.
    #[cfg(feature = "camera")]
    Yield,
    /// The driver has ended.
    Done(T),
}

impl<T> Turn<T> {
    /// Whether there was anything.
    pub(crate) fn after(any: bool) -> Turn<T> {
        if any { Turn::Again } else { Turn::Rest }
    }
}

/// Takes turns until one finds nothing. A driver that stays busy wakes itself and yields.
pub(crate) fn poll<T>(cx: &mut Context<'_>, mut turn: impl FnMut(&mut Context<'_>) -> Turn<T>) -> Poll<T> {
    for _ in 0..TURNS {
        match turn(cx) {
            Turn::Again => {}
            Turn::Rest => return Poll::Pending,
            #[cfg(feature = "camera")]
            Turn::Yield => break,
            Turn::Done(value) => return Poll::Ready(value),
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_fn, poll_once, yield_now};
    use std::cell::Cell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Polls a driver that has this many things to do once: returns the result, the number of turns, and how often it
    /// woke itself.
    fn polled(mut things: usize) -> (Poll<()>, usize, usize) {
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut turns = 0;
        let poll = poll(&mut Context::from_waker(&waker), |_| {
            turns += 1;
            let any = things > 0;
            things = things.saturating_sub(1);
            Turn::after(any)
        });
        (poll, turns, count.0.load(Ordering::Relaxed))
    }

    #[test]
    fn a_driver_rests_when_idle_and_otherwise_wakes_itself() {
        assert_eq!(polled(0), (Poll::Pending, 1, 0));
        assert_eq!(polled(TURNS - 1), (Poll::Pending, TURNS, 0), "idle on the last turn");
        assert_eq!(polled(TURNS), (Poll::Pending, TURNS, 1));
        assert_eq!(polled(usize::MAX), (Poll::Pending, TURNS, 1));
        #[cfg(feature = "camera")]
        {
            let mut turns = 0;
            let yields = |cx: &mut Context<'_>| {
                poll(cx, |_| {
                    turns += 1;
                    Turn::<()>::Yield
                })
            };
            assert!(block_on(poll_once(poll_fn(yields))).is_none());
            assert_eq!(turns, 1, "others go first");
        }
        let done = block_on(poll_fn(|cx| poll(cx, |_| Turn::Done(7))));
        assert_eq!(done, 7);
    }

    #[test]
    fn a_driver_that_is_never_idle_lets_others_run() {
        let (busy_turns, others) = (Cell::new(0), Cell::new(0));
        let busy = poll_fn(|cx| {
            poll(cx, |_| {
                busy_turns.set(busy_turns.get() + 1);
                Turn::<()>::Again
            })
        });
        let other = async {
            for _ in 0..10 {
                others.set(others.get() + 1);
                yield_now().await;
            }
        };
        // Only fair if the first driver ever returns pending.
        block_on(futures_lite::future::or(busy, other));
        assert_eq!(others.get(), 10);
        assert!(busy_turns.get() <= 11 * TURNS, "{} turns", busy_turns.get());
        assert!(block_on(poll_once(poll_fn(|cx| poll(cx, |_| Turn::<()>::Again)))).is_none());
    }
}
