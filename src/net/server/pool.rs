//! The tasks of a server, and the workers that run them: one for each `run` future.
//!
//! A task has a home, the worker whose reactor its socket is registered with, but any worker can run it. One that is woken
//! by a worker runs there next, without a word between threads: a message from a peer of one thread to a peer of another
//! is written by the first. Only a worker with a long queue sends tasks home, and wakes their worker once for all of them.
//! So little work stays on one thread, where it costs least, and much is shared.
//!
//! The tasks live while a `run` future does. Those of one that is dropped go to the others.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Wake, Waker};

use atomic_waker::AtomicWaker;

use crate::net::lock;
use crate::net::reactor::{self, Reactor};
use crate::net::wake::Signal;

/// Tasks that run before others on the thread, such as its reactor, have their turn.
const TURN: usize = 64;

/// With so many tasks waiting, a worker sends those that it wakes home. To wake a thread costs about as much as a few
/// tasks.
const LONG: usize = 16;

thread_local! {
    /// The worker that runs on this thread now.
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

struct Running {
    pool: Weak<Pool>,
    worker: Arc<Worker>,
    queue: VecDeque<Arc<Task>>,
}

pub(super) struct Pool {
    this: Weak<Pool>,
    workers: Mutex<Vec<Arc<Worker>>>,
    /// All tasks that have not ended.
    tasks: Mutex<HashMap<u64, Arc<Task>>>,
    next_task: AtomicU64,
    /// Sockets that were placed so far.
    placed: AtomicUsize,
}

pub(super) struct Worker {
    /// `None` after its end.
    inbox: Mutex<Option<Vec<Arc<Task>>>>,
    waker: AtomicWaker,
    /// Of the thread that began to run it.
    pub reactor: Option<Arc<Reactor>>,
    sockets: AtomicUsize,
}

/// A worker in its `run` future.
pub(super) struct Work {
    pool: Arc<Pool>,
    worker: Arc<Worker>,
    queue: VecDeque<Arc<Task>>,
}

/// A place for a socket at a worker.
pub(super) struct Place(pub Arc<Worker>);

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    id: u64,
    pool: Weak<Pool>,
    home: Arc<Worker>,
    state: AtomicU8,
    /// Taken while it runs.
    job: Mutex<Option<Job>>,
}

/// It waits in a queue, or must run again.
const QUEUED: u8 = 1;
const RUNS: u8 = 2;

impl Pool {
    pub(super) fn new() -> Arc<Pool> {
        Arc::new_cyclic(|this| Pool {
            this: this.clone(),
            workers: Mutex::default(),
            tasks: Mutex::default(),
            next_task: AtomicU64::new(0),
            placed: AtomicUsize::new(0),
        })
    }

    /// Adds a worker, for the thread that calls this.
    pub(super) fn enter(self: Arc<Self>) -> Work {
        let worker = Arc::new(Worker {
            inbox: Mutex::new(Some(Vec::new())),
            waker: AtomicWaker::new(),
            reactor: reactor::current(),
            sockets: AtomicUsize::new(0),
        });
        lock(&self.workers).push(worker.clone());
        Work { pool: self, worker, queue: VecDeque::new() }
    }

    /// Starts a task at any worker.
    pub(super) fn spawn(&self, job: impl Future<Output = ()> + Send + 'static) {
        let first = lock(&self.workers).first().cloned();
        if let Some(worker) = first {
            self.spawn_at(&worker, job);
        }
    }

    /// Starts a task whose socket is registered with this worker's reactor.
    pub(super) fn spawn_at(&self, home: &Arc<Worker>, job: impl Future<Output = ()> + Send + 'static) {
        let task = Arc::new(Task {
            id: self.next_task.fetch_add(1, Ordering::Relaxed),
            pool: self.this.clone(),
            home: home.clone(),
            state: AtomicU8::new(QUEUED),
            job: Mutex::new(Some(Box::pin(job))),
        });
        lock(&self.tasks).insert(task.id, task.clone());
        task.schedule();
    }

    /// Where the next socket goes: to the worker with the fewest.
    pub(super) fn place(&self) -> Option<Place> {
        let workers = lock(&self.workers);
        let count = |worker: &Arc<Worker>| worker.sockets.load(Ordering::Relaxed);
        let turn = first_of(self.placed.fetch_add(1, Ordering::Relaxed), workers.len());
        let (before, from) = workers.split_at(turn);
        // Of equals, the first is taken.
        let worker = from.iter().chain(before).min_by_key(|worker| count(worker))?;
        worker.sockets.fetch_add(1, Ordering::Relaxed);
        Some(Place(worker.clone()))
    }
}

/// Which of `workers` is the first choice for a socket. Not simply each in its turn: clients also come in pairs, a sender
/// and its recipient, and then all senders would meet in one thread. The multiples of the golden ratio, modulo one, are
/// spread evenly, and so is every second or third of them.
fn first_of(round: usize, workers: usize) -> usize {
    /// 2^64 by the golden ratio.
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let part = (round as u64).wrapping_mul(GOLDEN);
    ((u128::from(part) * workers as u128) >> 64) as usize
}

impl Drop for Pool {
    /// With the last `run` future, all tasks are dropped, and with them their sockets.
    fn drop(&mut self) {
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        for task in tasks.into_values() {
            let job = lock(&task.job).take();
            drop(job);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Worker {
    /// Leaves a task in the inbox; returns it if the worker has ended.
    fn push(&self, task: Arc<Task>) -> Option<Arc<Task>> {
        {
            let mut inbox = lock(&self.inbox);
            let Some(tasks) = &mut *inbox else { return Some(task) };
            tasks.push(task);
            // The first has woken it.
            if tasks.len() > 1 {
                return None;
            }
        }
        self.waker.wake();
        None
    }
}

impl Work {
    /// Runs tasks until `end` is ready.
    pub(super) async fn run<T>(&mut self, end: impl Future<Output = T>) -> T {
        let mut end = pin!(end);
        let ends = Arc::new(Signal::default());
        ends.notify();
        let waker = Waker::from(ends.clone());
        poll_fn(|cx| {
            // It has a waker of its own, since this is polled for each task that was woken.
            if ends.take(cx)
                && let Poll::Ready(end) = end.as_mut().poll(&mut Context::from_waker(&waker))
            {
                return Poll::Ready(end);
            }
            self.turn(cx);
            Poll::Pending
        })
        .await
    }

    fn turn(&mut self, cx: &mut Context<'_>) {
        self.worker.waker.register(cx.waker());
        let entered = Entered::new(Running {
            pool: Arc::downgrade(&self.pool),
            worker: self.worker.clone(),
            queue: std::mem::take(&mut self.queue),
        });
        let mut left = TURN;
        while left > 0 {
            let next = with_queue(|queue| {
                if queue.is_empty()
                    && let Some(inbox) = &mut *lock(&self.worker.inbox)
                {
                    queue.extend(inbox.drain(..));
                }
                queue.pop_front()
            });
            let Some(task) = next.flatten() else { break };
            task.run();
            left -= 1;
        }
        self.queue = entered.leave();
        if left == 0 {
            cx.waker().wake_by_ref();
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        lock(&self.pool.workers).retain(|worker| !Arc::ptr_eq(worker, &self.worker));
        let left = lock(&self.worker.inbox).take().unwrap_or_default();
        left.into_iter().chain(self.queue.drain(..)).for_each(Task::go_home);
    }
}

/// While it lives, a worker runs on this thread.
struct Entered {
    outer: Option<Running>,
    left: bool,
}

impl Entered {
    fn new(running: Running) -> Entered {
        Entered { outer: RUNNING.replace(Some(running)), left: false }
    }

    /// Returns the tasks that still wait.
    fn leave(mut self) -> VecDeque<Arc<Task>> {
        self.restore()
    }

    fn restore(&mut self) -> VecDeque<Arc<Task>> {
        self.left = true;
        RUNNING.replace(self.outer.take()).map(|running| running.queue).unwrap_or_default()
    }
}

impl Drop for Entered {
    /// A task has panicked; the others go on where they can.
    fn drop(&mut self) {
        if !self.left {
            self.restore().into_iter().for_each(Task::go_home);
        }
    }
}

fn with_queue<T>(act: impl FnOnce(&mut VecDeque<Arc<Task>>) -> T) -> Option<T> {
    RUNNING.with_borrow_mut(|running| running.as_mut().map(|running| act(&mut running.queue)))
}

impl Task {
    /// Puts it into a queue. It is marked as queued already.
    fn schedule(self: Arc<Self>) {
        let far = RUNNING.with_borrow_mut(|running| match running {
            Some(Running { pool, worker, queue })
                if pool.ptr_eq(&self.pool) && (queue.len() < LONG || Arc::ptr_eq(worker, &self.home)) =>
            {
                queue.push_back(self);
                None
            }
            _ => Some(self),
        });
        if let Some(task) = far {
            task.go_home();
        }
    }

    /// To its own worker; after the end of that, to any.
    fn go_home(self: Arc<Self>) {
        let home = self.home.clone();
        let mut homeless = home.push(self);
        while let Some(task) = homeless {
            let Some(pool) = task.pool.upgrade() else { return };
            let Some(worker) = lock(&pool.workers).first().cloned() else { return };
            homeless = worker.push(task);
        }
    }

    fn run(self: Arc<Self>) {
        self.state.swap(RUNS, Ordering::AcqRel);
        // If it panics, it is dropped.
        let Some(mut job) = lock(&self.job).take() else { return };
        let waker = Waker::from(self.clone());
        if job.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            drop(job);
            if let Some(pool) = self.pool.upgrade() {
                lock(&pool.tasks).remove(&self.id);
            }
            return;
        }
        *lock(&self.job) = Some(job);
        let state = self.state.fetch_and(!RUNS, Ordering::AcqRel);
        if state & QUEUED != 0 {
            // Behind those that wait, also if the queue is long: it is here.
            with_queue(|queue| queue.push_back(self));
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if self.state.fetch_or(QUEUED, Ordering::AcqRel) == 0 {
            self.schedule();
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.fetch_or(QUEUED, Ordering::AcqRel) == 0 {
            self.clone().schedule();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread::{self, ThreadId};

    use futures_lite::future::{block_on, pending, poll_once, yield_now};
    use smol::channel::{Receiver, Sender, unbounded};

    use super::*;

    /// Runs a worker until all senders of `end` are gone.
    fn thread(pool: &Arc<Pool>, end: &Receiver<()>) -> thread::JoinHandle<()> {
        let (mut work, end) = (pool.clone().enter(), end.clone());
        thread::spawn(move || {
            _ = block_on(work.run(end.recv()));
        })
    }

    /// Whether it tells at its end that it was dropped.
    struct Alive(Arc<AtomicBool>);

    impl Drop for Alive {
        fn drop(&mut self) {
            self.0.store(false, Ordering::Release);
        }
    }

    #[test]
    fn sockets_are_spread_evenly_also_those_that_come_in_pairs() {
        for workers in [1, 2, 3, 4] {
            let pool = Pool::new();
            let works: Vec<_> = (0..workers).map(|_| pool.clone().enter()).collect();
            let mut places = Vec::new();
            for _ in 0..600 {
                let place = pool.place().expect("there are workers");
                let at = works.iter().position(|work| Arc::ptr_eq(&work.worker, &place.0)).expect("one");
                places.push((at, place));
            }
            for step in 1..=8 {
                let mut counts = vec![0; workers];
                places.iter().step_by(step).for_each(|(at, _)| counts[*at] += 1);
                let (least, most) = (counts.iter().min(), counts.iter().max());
                let apart = most.expect("workers") - least.expect("workers");
                assert!(
                    apart <= if step == 1 { 1 } else { 10 },
                    "{workers} workers, step {step}: {counts:?}"
                );
            }
            // Who lost its sockets gets the next ones.
            places.retain(|(at, _)| *at != 0);
            let next = pool.place().expect("there are workers");
            assert!(Arc::ptr_eq(&next.0, &works[0].worker));
        }
    }

    #[test]
    fn a_task_runs_where_it_was_woken_unless_many_wait_there() {
        let pool = Pool::new();
        let (end, ended) = unbounded::<()>();
        let mut here = pool.clone().enter();
        let there = pool.clone().enter();
        let (home, count) = (there.worker.clone(), 3 * LONG);
        let (told, ran) = unbounded::<ThreadId>();
        let wakes: Vec<(Sender<()>, Receiver<()>)> = (0..count).map(|_| unbounded()).collect();
        let other = thread::spawn({
            let mut there = there;
            move || _ = block_on(there.run(ended.recv()))
        });
        for (_, wake) in &wakes {
            let (wake, told) = (wake.clone(), told.clone());
            pool.spawn_at(&home, async move {
                while wake.recv().await.is_ok() {
                    told.send(thread::current().id()).await.expect("heard");
                }
            });
        }
        let (one, all) = (wakes[0].0.clone(), wakes.iter().map(|wake| wake.0.clone()).collect::<Vec<_>>());
        let (mine, theirs) = (thread::current().id(), other.thread().id());
        let (done, is_done) = unbounded::<()>();
        pool.spawn(async move {
            // All wait.
            thread::sleep(std::time::Duration::from_millis(50));
            for _ in 0..5 {
                one.send(()).await.expect("it waits");
                yield_now().await;
                assert_eq!(ran.recv().await, Ok(mine));
            }
            for wake in &all {
                wake.send(()).await.expect("it waits");
            }
            let mut counts = (0, 0);
            for _ in 0..count {
                match ran.recv().await.expect("they run") {
                    id if id == mine => counts.0 += 1,
                    id => counts.1 += usize::from(id == theirs),
                }
            }
            assert_eq!(counts, (LONG, count - LONG));
            drop(done);
        });
        // The first task belongs to this worker, since it came first.
        _ = block_on(here.run(is_done.recv()));
        drop(end);
        other.join().expect("no task panics");
    }

    #[test]
    fn tasks_of_a_dropped_worker_go_on_at_another_and_end_with_the_last() {
        let pool = Pool::new();
        let (first, mut second) = (pool.clone().enter(), pool.clone().enter());
        let (wake, woken) = unbounded::<()>();
        let (told, ran) = unbounded::<()>();
        let alive = Arc::new(AtomicBool::new(true));
        let held = Alive(alive.clone());
        pool.spawn_at(&first.worker, async move {
            while woken.recv().await.is_ok() {
                told.send(()).await.expect("heard");
            }
            drop(held);
        });
        // It waits in the inbox of the first, and has never run.
        drop(first);
        wake.try_send(()).expect("it waits");
        _ = block_on(second.run(ran.recv()));
        // Now it waits for its channel.
        wake.try_send(()).expect("it waits");
        _ = block_on(second.run(ran.recv()));
        drop(pool);
        assert!(alive.load(Ordering::Acquire));
        drop(second);
        assert!(!alive.load(Ordering::Acquire), "nobody runs it");
        assert!(wake.try_send(()).is_err());
    }

    #[test]
    fn a_panic_ends_its_own_task_and_worker_alone() {
        let pool = Pool::new();
        let (end, ended) = unbounded::<()>();
        let other = thread(&pool, &ended);
        let mut here = pool.clone().enter();
        let (told, ran) = unbounded::<()>();
        let alive = Arc::new(AtomicBool::new(true));
        let held = Alive(alive.clone());
        pool.spawn_at(&here.worker, async move {
            let _held = held;
            panic!("a fault")
        });
        pool.spawn_at(&here.worker, async move { told.send(()).await.expect("heard") });
        let run = std::panic::AssertUnwindSafe(|| block_on(poll_once(here.run(pending::<()>()))));
        assert!(std::panic::catch_unwind(run).is_err());
        assert!(!alive.load(Ordering::Acquire));
        drop(here);
        assert_eq!(block_on(ran.recv()), Ok(()), "the other worker has run it");
        drop(end);
        other.join().expect("it goes on");
    }

    #[test]
    fn many_wake_ups_from_all_sides_lose_none() {
        const ROUNDS: usize = 20_000;
        let pool = Pool::new();
        let (end, ended) = unbounded::<()>();
        let threads: Vec<_> = (0..3).map(|_| thread(&pool, &ended)).collect();
        // A ring, in which 20 tokens go round.
        let ring: Vec<(Sender<usize>, Receiver<usize>)> = (0..50).map(|_| unbounded()).collect();
        let (told, finished) = unbounded::<()>();
        for n in 0..ring.len() {
            let (from, to) = (ring[n].1.clone(), ring[(n + 1) % ring.len()].0.clone());
            let told = told.clone();
            let place = pool.place().expect("there are workers");
            pool.spawn_at(&place.0.clone(), async move {
                let _place = place;
                while let Ok(left) = from.recv().await {
                    match left {
                        0 => _ = told.send(()).await,
                        left => _ = to.send(left - 1).await,
                    }
                }
            });
        }
        (0..20).for_each(|n| ring[n * 2].0.try_send(ROUNDS).expect("unbounded"));
        let late = async {
            smol::Timer::after(std::time::Duration::from_secs(60)).await;
            panic!("a token was lost");
        };
        let all = async {
            for _ in 0..20 {
                finished.recv().await.expect("a task tells");
            }
        };
        block_on(futures_lite::future::or(all, late));
        drop(end);
        threads.into_iter().for_each(|thread| thread.join().expect("no task panics"));
    }
}
