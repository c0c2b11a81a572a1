//! Joins datagrams that one system call can send (UDP GSO).

use crate::rtc::{Path, Transmit};
/// Linux takes at most 64 segments a call (`UDP_MAX_SEGMENTS`), later versions 128.
const MAX_SEGMENTS: usize = 64;
/// And no more bytes than a UDP datagram could hold, its headers taken off.
const MAX_BYTES: usize = 65_000;

/// Datagrams on their way out, joined where they follow one another by the same path and are of one size; the last of
/// a batch may be shorter.
#[derive(Debug, Default)]
pub(in crate::rtc) struct Batch {
    open: Option<Transmit>,
    /// A shorter one was the last.
    whole: bool,
}

impl Batch {
    /// Joins a datagram; gives out the batch before, where it does not belong to that.
    pub(in crate::rtc) fn push(&mut self, path: Path, data: Vec<u8>) -> Option<Transmit> {
        if let Some(open) = self.open.as_mut().filter(|_| !self.whole) {
            let segment = open.segment.unwrap_or(open.data.len());
            let fits = open.path == path
                && (1..=segment).contains(&data.len())
                && open.data.len() / segment.max(1) < MAX_SEGMENTS
                && open.data.len() + data.len() <= MAX_BYTES;
            if fits {
                open.segment = Some(segment);
                open.data.extend_from_slice(&data);
                self.whole = data.len() < segment;
                return None;
            }
        }
        self.whole = false;
        self.open.replace(Transmit { path, segment: None, data })
    }

    #[cfg(test)]
    pub(in crate::rtc) fn len(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.datagrams().count())
    }

    pub(in crate::rtc) fn take(&mut self) -> Option<Transmit> {
        self.whole = false;
        self.open.take()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn joined(sizes: &[(u16, usize)]) -> Vec<(Option<usize>, usize)> {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut batch = Batch::default();
        let push =
            |(to, size): &(u16, usize)| batch.push(Path::udp(address(1), address(*to)), vec![0; *size]);
        let mut out: Vec<Transmit> = sizes.iter().filter_map(push).collect();
        out.extend(batch.take());
        out.iter().map(|t| (t.segment, t.data.len())).collect()
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
