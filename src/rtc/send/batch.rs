//! Joins datagrams that one system call can send (UDP GSO).

use crate::rtc::{Path, Transmit};
use std::collections::VecDeque;

/// Linux takes at most 64 segments a call (`UDP_MAX_SEGMENTS`), later versions 128.
const MAX_SEGMENTS: usize = 64;
/// And no more bytes than a UDP datagram could hold, its headers taken off.
const MAX_BYTES: usize = 65_000;

/// Datagrams on their way out, joined where they follow one another to the same address and are of one
/// size; the last of a batch may be shorter.
#[derive(Debug, Default)]
pub(in crate::rtc) struct Batches {
    done: VecDeque<Transmit>,
    open: Option<Transmit>,
}

impl Batches {
    pub(in crate::rtc) fn push(&mut self, path: Path, data: Vec<u8>) {
        if let Some(open) = &mut self.open {
            let segment = open.segment.unwrap_or(open.data.len());
            let fits = open.path == path
                && (1..=segment).contains(&data.len())
                && open.data.len() / segment.max(1) < MAX_SEGMENTS
                && open.data.len() + data.len() <= MAX_BYTES;
            if fits {
                open.segment = Some(segment);
                open.data.extend_from_slice(&data);
                if data.len() < segment {
                    self.flush();
                }
                return;
            }
        }
        self.flush();
        self.open = Some(Transmit { path, segment: None, data });
    }

    /// Closes the open batch: what comes next belongs to another moment.
    pub(in crate::rtc) fn flush(&mut self) {
        self.done.extend(self.open.take());
    }

    pub(in crate::rtc) fn pop(&mut self) -> Option<Transmit> {
        if self.done.is_empty() {
            self.flush();
        }
        self.done.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn joined(sizes: &[(u16, usize)]) -> Vec<(Option<usize>, usize)> {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut b = Batches::default();
        for (to, size) in sizes {
            b.push(Path::udp(address(1), address(*to)), vec![0; *size]);
        }
        std::iter::from_fn(|| b.pop()).map(|t| (t.segment, t.data.len())).collect()
    }

    #[test]
    fn equal_sizes_to_one_address_are_one_batch_and_a_shorter_one_ends_it() {
        type Row<'a> = (&'a [(u16, usize)], &'a [(Option<usize>, usize)]);
        let table: [Row<'_>; 7] = [
            (&[], &[]),
            (&[(2, 100)], &[(None, 100)]),
            (&[(2, 100), (2, 100), (2, 60)], &[(Some(100), 260)]),
            (&[(2, 100), (2, 60), (2, 60)], &[(Some(100), 160), (None, 60)]),
            (&[(2, 60), (2, 100), (2, 100)], &[(None, 60), (Some(100), 200)]),
            (&[(2, 100), (3, 100), (2, 100)], &[(None, 100), (None, 100), (None, 100)]),
            (&[(2, 0), (2, 0)], &[(None, 0), (None, 0)]),
        ];
        for (sizes, batches) in table {
            assert_eq!(joined(sizes), batches, "{sizes:?}");
        }
    }

    #[test]
    fn a_batch_is_what_the_kernel_takes() {
        assert_eq!(joined(&[(2, 10); 130]), [(Some(10), 640), (Some(10), 640), (Some(10), 20)]);
        assert!(joined(&[(2, 1200); 200]).iter().all(|(_, len)| *len <= MAX_BYTES));
    }
}
