//! Panics if an index is sealed twice under a key, in every test of this crate.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Indexes used, as the ranges from each key up to its value.
type Ranges = BTreeMap<u64, u64>;
/// Those of a key: of RTP by SSRC, and of RTCP, which is numbered over all of them.
type Used = HashMap<Option<u32>, Ranges>;
/// Of one key, for all sealers that have it.
type Shared = Arc<Mutex<Used>>;

/// By key, for as long as the tests run: a second sealer with the same key may repeat nothing either.
static ALL: LazyLock<Mutex<HashMap<Vec<u8>, Shared>>> = LazyLock::new(Mutex::default);

thread_local! {
    static PANICS: Cell<bool> = const { Cell::new(false) };
}

/// Makes the next packet that this thread seals panic.
pub(crate) fn panic_at_the_next() {
    PANICS.set(true);
}

pub(super) struct Once(Shared);

impl Once {
    pub(super) fn of(key: &[u8]) -> Once {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        Once(all.entry(key.to_vec()).or_default().clone())
    }

    pub(super) fn rtp(&self, ssrc: u32, index: u64) {
        self.note(Some(ssrc), index);
    }

    pub(super) fn rtcp(&self, index: u64) {
        self.note(None, index);
    }

    fn note(&self, ssrc: Option<u32>, index: u64) {
        assert!(!PANICS.take(), "a test wants this");
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = add(used.entry(ssrc).or_default(), index);
        drop(used);
        let what = ssrc.map_or("RTCP".into(), |ssrc| format!("SSRC {ssrc}"));
        assert!(new, "index {index} of {what} is sealed twice under a key");
    }
}

/// Whether it was not there yet.
fn add(ranges: &mut Ranges, index: u64) -> bool {
    let before = ranges.range(..=index).next_back().map(|(begin, end)| (*begin, *end));
    if before.is_some_and(|(_, end)| index < end) {
        return false;
    }
    let end = ranges.remove(&(index + 1)).unwrap_or(index + 1);
    let begin = before.filter(|(_, end)| *end == index).map_or(index, |(begin, _)| begin);
    ranges.insert(begin, end);
    true
}

#[test]
fn an_index_is_new_once() {
    let mut ranges = Ranges::new();
    for index in [5, 6, 4, 9, 7, 8, 0] {
        assert!(add(&mut ranges, index), "{index}");
        assert!(!add(&mut ranges, index), "{index}");
    }
    assert_eq!(ranges, Ranges::from([(0, 1), (4, 10)]));
}

#[test]
#[should_panic(expected = "index 7 of SSRC 1 is sealed twice under a key")]
fn a_repeat_panics_even_by_a_second_sealer() {
    Once::of(b"a key of this test").rtp(1, 7);
    Once::of(b"a key of this test").rtcp(7);
    Once::of(b"another key of this test").rtp(1, 7);
    Once::of(b"a key of this test").rtp(2, 7);
    Once::of(b"a key of this test").rtp(1, 7);
}
