//! Measures a thread's allocations: the tests of this crate run with a counting allocator.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes that this thread has allocated and not freed, and their maximum since the last query.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
    /// How often this thread has allocated, also to grow or to shrink.
    static TIMES: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static HEAP: Counting = Counting;

fn count(bytes: isize) {
    // Does not allocate: the value is constant and has no destructor. At a thread's end it may be gone.
    _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + bytes, most.max(now + bytes)));
    });
}

fn count_time() {
    _ = TIMES.try_with(|times| times.set(times.get() + 1));
}

// SAFETY: forwards everything to the system allocator with the same layouts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_time();
        count(layout.size().cast_signed());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_time();
        count(layout.size().cast_signed());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_time();
        count(size.cast_signed() - layout.size().cast_signed());
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Returns the bytes that this thread has allocated and not freed. Other threads may free what it allocated.
pub(in crate::rtc) fn held() -> isize {
    HELD.get().0
}

/// Returns how often this thread allocates while it runs `act`, and the result.
pub(in crate::rtc) fn allocations<T>(act: impl FnOnce() -> T) -> (u64, T) {
    let before = TIMES.get();
    let result = act();
    (TIMES.get() - before, result)
}

/// Returns the peak of this thread's additional allocations while it runs `act`, in bytes, and the result.
pub(in crate::rtc) fn peak<T>(act: impl FnOnce() -> T) -> (usize, T) {
    let before = HELD.get().0;
    HELD.set((before, before));
    let result = act();
    (usize::try_from(HELD.get().1 - before).unwrap_or(0), result)
}

#[test]
fn what_is_freed_counts_no_more_and_the_peak_does() {
    let (most, kept) = peak(|| {
        drop(vec![1_u8; 300_000]);
        vec![2_u8; 100_000]
    });
    assert!((300_000..301_000).contains(&most) && kept.len() == 100_000, "{most}");
    assert!(peak(|| drop(kept)).0 < 1000);
}

#[test]
fn each_allocation_counts() {
    let (times, mut kept) = allocations(|| (vec![1_u8; 10], vec![0_u8; 10], Vec::<u8>::new()));
    assert_eq!(times, 2);
    assert_eq!(allocations(|| kept.0.reserve(100)).0, 1);
    assert_eq!(allocations(|| drop(kept)).0, 0);
}
