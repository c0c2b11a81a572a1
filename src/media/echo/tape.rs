//! The newest samples of a signal, by their positions in it.

use std::ops::Range;

/// Samples in a row. Of older ones, at most as many again are kept.
#[derive(Debug)]
pub(super) struct Tape<T> {
    samples: Vec<T>,
    /// The position of the first one.
    start: i64,
    keep: usize,
}

impl<T: Copy + Default> Tape<T> {
    /// A tape that keeps at least the newest `keep` samples.
    pub(super) fn new(keep: usize) -> Tape<T> {
        Tape { samples: Vec::new(), start: 0, keep }
    }

    /// The position of the next sample.
    pub(super) fn end(&self) -> i64 {
        self.start + self.samples.len() as i64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.samples.capacity()
    }

    /// Forgets all, to go on elsewhere.
    pub(super) fn restart(&mut self, position: i64) {
        self.samples.clear();
        self.start = position;
    }

    pub(super) fn push(&mut self, sample: T) {
        if self.samples.len() >= 2 * self.keep {
            let old = self.samples.len() - self.keep;
            self.samples.drain(..old);
            self.start += old as i64;
        }
        self.samples.push(sample);
    }

    /// Copies a range of positions; zero where there is nothing.
    pub(super) fn read(&self, range: Range<i64>, into: &mut Vec<T>) {
        into.clear();
        into.resize(usize::try_from(range.end - range.start).unwrap_or(0), T::default());
        let (from, to) = (range.start.max(self.start), range.end.min(self.end()));
        if from < to {
            let there = (from - range.start) as usize;
            let here = (from - self.start) as usize;
            let length = (to - from) as usize;
            into[there..there + length].copy_from_slice(&self.samples[here..here + length]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_samples_are_there_and_memory_is_bounded() {
        let mut tape = Tape::new(100);
        for sample in 0..10_000i32 {
            tape.push(sample);
            assert!(tape.samples.capacity() <= 256, "{}", tape.samples.capacity());
        }
        let mut read = vec![];
        tape.read(9_900..10_000, &mut read);
        assert!(read.iter().copied().eq(9_900..10_000));
        tape.read(9_998..10_002, &mut read);
        assert_eq!(read, [9_998, 9_999, 0, 0]);
        tape.read(0..2, &mut read);
        assert_eq!(read, [0, 0]);
        tape.restart(-5);
        assert!(tape.is_empty());
        tape.push(7);
        tape.read(-6..-3, &mut read);
        assert_eq!((read, tape.end()), (vec![0, 7, 0], -4));
    }
}
