//! Which packets of a sender came, so that none is taken twice (RFC 3711, 3.3.2).

/// The last 64 x `WORDS` indexes of a sender, as a ring of bits.
#[derive(Debug)]
pub(super) struct Window<const WORDS: usize> {
    newest: u64,
    /// Bit n of all of them: an index that is n modulo the size.
    seen: [u64; WORDS],
}

impl<const WORDS: usize> Window<WORDS> {
    const SIZE: u64 = 64 * WORDS as u64;

    /// With its first packet.
    pub(super) fn new(index: u64) -> Self {
        let mut window = Window { newest: index, seen: [0; WORDS] };
        window.set(index);
        window
    }

    /// The highest index that was noted.
    #[cfg(any(test, feature = "recv"))]
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// Whether an index is neither noted nor too old to know.
    pub(super) fn is_new(&self, index: u64) -> bool {
        match self.newest.checked_sub(index) {
            Some(age) => age < Self::SIZE && !self.is_set(index),
            None => true,
        }
    }

    /// Remembers an index that is new.
    pub(super) fn note(&mut self, index: u64) {
        if index > self.newest {
            if index - self.newest >= Self::SIZE {
                self.seen = [0; WORDS];
            } else {
                (self.newest + 1..index).for_each(|skipped| self.clear(skipped));
            }
            self.newest = index;
        }
        self.set(index);
    }

    fn place(index: u64) -> (usize, u64) {
        let at = index % Self::SIZE;
        ((at / 64) as usize, 1 << (at % 64))
    }

    fn is_set(&self, index: u64) -> bool {
        let (word, bit) = Self::place(index);
        self.seen[word] & bit != 0
    }

    fn set(&mut self, index: u64) {
        let (word, bit) = Self::place(index);
        self.seen[word] |= bit;
    }

    fn clear(&mut self, index: u64) {
        let (word, bit) = Self::place(index);
        self.seen[word] &= !bit;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_window_has_its_edges() {
        let mut window = Window::<2>::new(10);
        assert!(!window.is_new(10) && window.is_new(11) && window.is_new(0));
        window.note(10 + 128);
        assert!(!window.is_new(10), "older than the window");
        assert!(window.is_new(11));
        window.note(1 << 47);
        assert!(!window.is_new(10 + 128) && !window.is_new(1 << 47));
        assert!(window.is_new((1 << 47) - 127));
        assert!(!window.is_new((1 << 47) - 128));
    }

    proptest! {
        /// As a set of all indexes has it.
        #[test]
        fn each_index_is_new_once(steps in proptest::collection::vec(0_u64..300, 1..400)) {
            let mut window = Window::<2>::new(1000);
            let (mut all, mut newest) = (HashSet::from([1000]), 1000);
            for step in steps {
                let index = newest + step - 200;
                let expected = index + 128 > newest && !all.contains(&index);
                prop_assert_eq!(window.is_new(index), expected, "{} with {}", index, newest);
                if expected {
                    window.note(index);
                    all.insert(index);
                    newest = newest.max(index);
                }
                prop_assert_eq!(window.newest(), newest);
            }
        }
    }
}
