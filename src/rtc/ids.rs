//! Tables by ids that the program chooses: nobody can make them collide, so they need no keyed hash.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A table by [`SessionId`](super::SessionId).
pub(super) type ById<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// Spreads the bits of one number over the word (Fibonacci hashing, with the product folded): the table takes both its
/// lowest and its highest.
#[derive(Default)]
pub(super) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        let product = u128::from(self.0 ^ number) * 0x9e37_79b9_7f4a_7c15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use super::*;
    use crate::rtc::SessionId;

    #[test]
    fn numbers_in_a_row_or_far_apart_fill_a_table_evenly() {
        let hash = |id: u64| BuildHasherDefault::<Mix>::default().hash_one(SessionId(id));
        for shift in [0, 20, 40] {
            let all: Vec<u64> = (0..1024).map(|id| hash(id << shift)).collect();
            let low: HashSet<u64> = all.iter().map(|hash| hash & 0x3ff).collect();
            let high: HashSet<u64> = all.iter().map(|hash| hash >> 57).collect();
            assert!(low.len() > 500 && high.len() > 100, "{shift}: {} {}", low.len(), high.len());
        }
    }
}
