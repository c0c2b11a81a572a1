//! Datagrams that one system call can send: all of the same size, except that the last may be shorter (UDP GSO).

/// Linux accepts at most 64 segments per call (`UDP_MAX_SEGMENTS`), newer versions 128.
const MAX_SEGMENTS: usize = 64;
/// And at most as many bytes as fit into one UDP datagram without its headers.
const MAX_BYTES: usize = 65_000;

/// Datagrams, one directly after the other.
#[derive(Debug, Default)]
pub(in crate::rtc) struct Batch {
    data: Vec<u8>,
    /// The size of the first datagram.
    segment: usize,
    count: usize,
    /// The last one was shorter, so none may follow.
    is_full: bool,
}

impl Batch {
    /// A batch with memory reserved for the expected number of bytes.
    pub(in crate::rtc) fn expecting(bytes: usize) -> Batch {
        Batch { data: Vec::with_capacity(bytes.min(MAX_BYTES)), ..Batch::default() }
    }

    /// Whether a datagram of this size may follow.
    pub(in crate::rtc) fn has_room(&self, size: usize) -> bool {
        let fits = size <= self.segment && self.data.len() + size <= MAX_BYTES;
        self.count == 0 || (fits && !self.is_full && self.count < MAX_SEGMENTS)
    }

    /// Whether a datagram of this size may follow, and after it another one that is no longer.
    pub(in crate::rtc) fn has_room_for_two(&self, size: usize, last: usize) -> bool {
        let segment = if self.count == 0 { size } else { self.segment };
        let fits = self.data.len() + segment + last <= MAX_BYTES && self.count + 2 <= MAX_SEGMENTS;
        self.has_room(size) && last <= segment && fits
    }

    /// By how many bytes a datagram that may follow is shorter than the others.
    pub(in crate::rtc) fn gap(&self, size: usize) -> usize {
        if self.count == 0 { 0 } else { self.segment.saturating_sub(size) }
    }

    /// Appends a datagram that fits; `write` writes it. Returns its size.
    pub(in crate::rtc) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let before = self.data.len();
        write(&mut self.data);
        let size = self.data.len() - before;
        if self.count == 0 {
            self.segment = size;
        }
        self.is_full = size < self.segment;
        self.count += 1;
        size
    }

    pub(in crate::rtc) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The data, and the size of each datagram if there are several.
    pub(in crate::rtc) fn take(self) -> (Option<usize>, Vec<u8>) {
        ((self.count > 1).then_some(self.segment), self.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many datagrams of these sizes fit into one batch, and how it is sent.
    fn joined(sizes: &[usize]) -> (usize, Option<usize>, usize) {
        let mut batch = Batch::default();
        let mut taken = 0;
        for size in sizes {
            if !batch.has_room(*size) {
                break;
            }
            batch.push(|out| out.resize(out.len() + size, 0));
            taken += 1;
        }
        let (segment, data) = batch.take();
        (taken, segment, data.len())
    }

    #[test]
    fn equal_sizes_are_one_batch_and_a_shorter_one_ends_it() {
        type Row<'a> = (&'a [usize], (usize, Option<usize>, usize));
        let table: [Row<'_>; 5] = [
            (&[], (0, None, 0)),
            (&[100], (1, None, 100)),
            (&[100, 100, 60], (3, Some(100), 260)),
            (&[100, 60, 60], (2, Some(100), 160)),
            (&[60, 100, 100], (1, None, 60)),
        ];
        for (sizes, batch) in table {
            assert_eq!(joined(sizes), batch, "{sizes:?}");
        }
    }

    #[test]
    fn room_for_two_leaves_some_for_the_last() {
        let mut batch = Batch::default();
        assert!(batch.has_room_for_two(100, 100) && !batch.has_room_for_two(100, 101));
        assert_eq!(batch.gap(60), 0, "the first one sets the size");
        batch.push(|out| out.resize(100, 0));
        assert!(batch.has_room_for_two(90, 100) && !batch.has_room_for_two(90, 101));
        assert!(!batch.has_room_for_two(101, 90));
        assert_eq!((batch.gap(90), batch.gap(100), batch.gap(110)), (10, 0, 0));
        for size in [10, 1200] {
            let mut batch = Batch::default();
            while batch.has_room_for_two(size, size) {
                batch.push(|out| out.resize(out.len() + size, 0));
            }
            assert!(batch.has_room(size), "the last one");
            batch.push(|out| out.resize(out.len() + size, 0));
            assert!(!batch.has_room(size) && batch.data.len() <= MAX_BYTES && batch.count <= MAX_SEGMENTS);
        }
        batch.push(|out| out.resize(out.len() + 60, 0));
        assert!(!batch.has_room_for_two(60, 60), "a shorter one was the last");
    }

    #[test]
    fn a_batch_is_what_the_kernel_takes() {
        assert_eq!(joined(&[10; 130]), (64, Some(10), 640));
        assert!(joined(&[1200; 200]).2 <= MAX_BYTES);
    }
}
