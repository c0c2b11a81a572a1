//! The reactor of one thread on Linux: an epoll for its sockets, an eventfd by which others wake it, and its timers.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

use super::readiness::{Edge, READ, Readiness, WRITE, Way};
use super::source::Watch;
use super::timers::{Key, Timers};
use crate::net::lock;
use crate::net::time::now;

/// The most events of one turn; a thread that stays busy then runs tasks before it takes more.
const EVENTS: usize = 256;

/// What the eventfd is registered as.
const BELL: u64 = u64::MAX;

/// The future need not be polled.
const AWAKE: u8 = 0;
/// The future must be polled.
const WOKEN: u8 = 1;
/// As `AWAKE`, and the thread waits in the system: whoever wakes it must ring.
const ASLEEP: u8 = 2;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Reactor>>> = const { RefCell::new(None) };
}

/// The reactor of this thread, if [`block_on`] runs on it.
pub(crate) fn current() -> Option<Arc<Reactor>> {
    CURRENT.with_borrow(Clone::clone)
}

pub(crate) struct Reactor {
    epoll: OwnedFd,
    bell: OwnedFd,
    state: AtomicU8,
    sources: Mutex<Sources>,
    timers: Mutex<Timers>,
    #[cfg(test)]
    pub(super) turns: std::sync::atomic::AtomicUsize,
}

/// The registered sources, by number. A number is used again, but with another generation, since the events of one turn
/// may still name a source that was removed in it.
#[derive(Default)]
struct Sources {
    slots: Vec<Slot>,
    free: Vec<u32>,
    ended: bool,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    source: Option<Arc<Readiness>>,
}

/// A source at a reactor. Closing its descriptor ends the registration in the system.
pub(crate) struct Registered {
    reactor: Arc<Reactor>,
    readiness: Arc<Readiness>,
    key: u64,
    flags: EventFlags,
}

/// A timer at a reactor.
pub(crate) struct Deadline {
    reactor: Arc<Reactor>,
    key: Key,
}

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let reactor = match Reactor::new() {
        Ok(reactor) => Arc::new(reactor),
        Err(e) => {
            log::warn!("this thread gets no reactor of its own: {e}");
            return smol::block_on(future);
        }
    };
    let _entered = Entered::new(Some(reactor.clone()));
    let waker = Waker::from(reactor.clone());
    let cx = &mut Context::from_waker(&waker);
    let mut future = pin!(future);
    let mut turn = Turn { events: Vec::with_capacity(EVENTS), ..Turn::default() };
    loop {
        if reactor.state.swap(AWAKE, Ordering::AcqRel) == WOKEN
            && let Poll::Ready(value) = future.as_mut().poll(cx)
        {
            return value;
        }
        reactor.turn(&mut turn);
    }
}

/// Calls code of the application. It may block this thread on other futures, for whose sockets and timers nobody would
/// wait then: they go to async-io, which has a thread for this.
pub(crate) fn outside<T>(act: impl FnOnce() -> T) -> T {
    let _inner = Entered::new(None);
    act()
}

/// Sets the reactor of the thread while it lives.
struct Entered {
    outer: Option<Arc<Reactor>>,
}

impl Entered {
    fn new(reactor: Option<Arc<Reactor>>) -> Entered {
        Entered { outer: CURRENT.replace(reactor) }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(ended) = CURRENT.replace(self.outer.take()) {
            ended.end();
        }
    }
}

/// What one turn collects, kept for its memory.
#[derive(Default)]
struct Turn {
    events: Vec<epoll::Event>,
    edges: Vec<(Arc<Readiness>, Edge)>,
    fired: Vec<Waker>,
}

impl Reactor {
    fn new() -> io::Result<Reactor> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        // Edge-triggered, each ring is an event of its own, and nobody needs to read the counter.
        epoll::add(&epoll, &bell, EventData::new_u64(BELL), EventFlags::IN | EventFlags::ET)?;
        let (sources, timers) = Default::default();
        let state = AtomicU8::new(WOKEN);
        Ok(Reactor {
            epoll,
            bell,
            state,
            sources,
            timers,
            #[cfg(test)]
            turns: Default::default(),
        })
    }

    /// Waits unless the future has been woken, and tells all that has happened.
    fn turn(&self, turn: &mut Turn) {
        #[cfg(test)]
        self.turns.fetch_add(1, Ordering::Relaxed);
        let sleeps = self.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok();
        let next = lock(&self.timers).next();
        let wait = match sleeps {
            true => next.map(|at| at.saturating_duration_since(now())),
            false => Some(Duration::ZERO),
        };
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        turn.events.clear();
        // An error is an interrupted call; the loop comes back.
        _ = epoll::wait(&self.epoll, spare_capacity(&mut turn.events), wait.as_ref());
        if sleeps {
            _ = self.state.compare_exchange(ASLEEP, AWAKE, Ordering::AcqRel, Ordering::Acquire);
        }
        {
            let sources = lock(&self.sources);
            let known = turn.events.iter().filter_map(|event| {
                let readiness = sources.get(event.data.u64())?;
                Some((readiness.clone(), edge(event.flags)))
            });
            turn.edges.extend(known);
        }
        turn.edges.drain(..).for_each(|(readiness, edge)| readiness.tell(edge));
        if next.is_some() {
            lock(&self.timers).fire(now(), &mut turn.fired);
            turn.fired.drain(..).for_each(Waker::wake);
        }
    }

    /// Registers a source, which from now on does not block.
    pub(super) fn register(self: &Arc<Self>, io: impl AsFd, watch: Watch) -> io::Result<Registered> {
        rustix::io::ioctl_fionbio(&io, true)?;
        let readiness = Arc::new(Readiness::new());
        let key = lock(&self.sources).insert(readiness.clone()).ok_or(io::ErrorKind::NotConnected)?;
        let flags = match watch {
            Watch::Both => EventFlags::ET | flags_of(READ) | flags_of(WRITE),
            Watch::Waiting => EventFlags::ET,
        };
        let registered = Registered { reactor: self.clone(), readiness, key, flags };
        epoll::add(&self.epoll, io, EventData::new_u64(key), flags)?;
        Ok(registered)
    }

    /// Calls `waker` at the instant.
    pub(crate) fn wake_at(self: Arc<Self>, at: Instant, waker: &Waker) -> Deadline {
        let key = lock(&self.timers).insert(at, waker.clone());
        Deadline { reactor: self, key }
    }

    /// Wakes everything that waits for it, to wait elsewhere.
    fn end(&self) {
        let sources = {
            let mut sources = lock(&self.sources);
            sources.ended = true;
            std::mem::take(&mut sources.slots)
        };
        let sources = sources.into_iter().filter_map(|slot| slot.source);
        sources.for_each(|readiness| readiness.tell(Edge::gone()));
        let timers = lock(&self.timers).take_all();
        timers.into_iter().for_each(Waker::wake);
    }
}

impl Wake for Reactor {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == ASLEEP {
            // It fails only if the counter is full, and then it has been rung.
            _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        }
    }
}

fn edge(flags: EventFlags) -> Edge {
    let mut edge = Edge::default();
    if flags.contains(EventFlags::IN) {
        edge = edge.ready(READ);
    }
    if flags.contains(EventFlags::OUT) {
        edge = edge.ready(WRITE);
    }
    if flags.contains(EventFlags::RDHUP) {
        edge = edge.ended(READ);
    }
    if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
        edge = edge.ended(READ).ended(WRITE);
    }
    edge
}

impl Sources {
    /// `None` after the end.
    fn insert(&mut self, readiness: Arc<Readiness>) -> Option<u64> {
        if self.ended {
            return None;
        }
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[at as usize];
        slot.source = Some(readiness);
        Some(u64::from(slot.generation) << 32 | u64::from(at))
    }

    fn get(&self, key: u64) -> Option<&Arc<Readiness>> {
        let slot = self.slots.get(key as u32 as usize)?;
        slot.source.as_ref().filter(|_| u64::from(slot.generation) == key >> 32)
    }

    fn remove(&mut self, key: u64) -> Option<Arc<Readiness>> {
        let slot = self.slots.get_mut(key as u32 as usize)?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key as u32);
        slot.source.take()
    }
}

impl Registered {
    pub(super) fn is_gone(&self) -> bool {
        self.readiness.is_gone()
    }

    pub(super) fn poll(&self, way: Way, cx: &mut Context<'_>) -> Poll<()> {
        self.readiness.poll(way, cx)
    }

    pub(super) fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// The system reports this direction from now on, and at once if it is ready.
    pub(super) fn watch(&mut self, io: impl AsFd, way: Way) -> io::Result<()> {
        self.set(io, self.flags | flags_of(way))
    }

    /// The system reports this direction no more.
    pub(super) fn ignore(&mut self, io: impl AsFd, way: Way) -> io::Result<()> {
        self.set(io, self.flags - flags_of(way))
    }

    fn set(&mut self, io: impl AsFd, flags: EventFlags) -> io::Result<()> {
        if flags != self.flags {
            epoll::modify(&self.reactor.epoll, io, EventData::new_u64(self.key), flags)?;
            self.flags = flags;
        }
        Ok(())
    }

    /// The system reports nothing more.
    #[cfg(feature = "udp")]
    pub(super) fn forget(&self, io: impl AsFd) {
        // An error is that of a descriptor that isn't there.
        _ = epoll::delete(&self.reactor.epoll, io);
    }
}

fn flags_of(way: Way) -> EventFlags {
    if way.is_read() { EventFlags::IN | EventFlags::RDHUP } else { EventFlags::OUT }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let removed = lock(&self.reactor.sources).remove(self.key);
        drop(removed);
        drop(self.readiness.take());
    }
}

impl Deadline {
    /// From now on it wakes `waker`; false if it has fired, or its reactor has ended.
    pub(crate) fn update(&self, waker: &Waker) -> bool {
        lock(&self.reactor.timers).update(self.key, waker)
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let waker = lock(&self.reactor.timers).remove(self.key);
        drop(waker);
    }
}
