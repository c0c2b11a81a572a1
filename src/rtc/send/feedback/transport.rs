//! Which packets arrived, and when (draft-holmer-rmcat-transport-wide-cc-extensions-01).

/// The unit of transport-wide arrival times, in microseconds.
const TICK: i64 = 250;
/// The unit of their reference time, in microseconds.
const REFERENCE: i64 = 64_000;

/// Which packets of a run of transport-wide numbers arrived, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TransportFeedback<'a> {
    /// The first number.
    pub(crate) base: u16,
    /// How many numbers it covers: at least one.
    pub(crate) count: u16,
    /// The number of this feedback, which reveals gaps.
    pub(crate) number: u8,
    /// In units of 64 ms; 24 bits.
    reference: i32,
    chunks: &'a [[u8; 2]],
    deltas: &'a [u8],
}

impl<'a> TransportFeedback<'a> {
    /// `None` unless it has a status for each number and a time for each arrival.
    pub(super) fn read(about: &'a [u8]) -> Option<TransportFeedback<'a>> {
        let (&[b0, b1, c0, c1, r0, r1, r2, number], rest) = about.split_first_chunk()?;
        let count = u16::from_be_bytes([c0, c1]);
        let (all, _) = rest.as_chunks();
        let (mut left, mut chunks, mut bytes) = (usize::from(count), 0, 0);
        while left > 0 {
            let chunk = Chunk::of(*all.get(chunks)?);
            let taken = chunk.len().min(left);
            bytes += chunk.delta_bytes(taken)?;
            left -= taken;
            chunks += 1;
        }
        let deltas = rest[2 * chunks..].get(..bytes)?;
        (count > 0).then_some(TransportFeedback {
            base: u16::from_be_bytes([b0, b1]),
            count,
            number,
            // Its sign is that of the first of 24 bits.
            reference: i32::from_be_bytes([r0, r1, r2, 0]) >> 8,
            chunks: &all[..chunks],
            deltas,
        })
    }

    /// Each number with its arrival in microseconds, or `None` if it has not arrived.
    ///
    /// The receiver's clock begins anywhere. Times wrap with the 24-bit reference time, from 2^23 x 64 ms (six days) to
    /// the same value below zero, so compare differences.
    pub(crate) fn arrivals(&self) -> impl Iterator<Item = (u16, Option<i64>)> + use<'a> {
        let (mut deltas, mut time) = (self.deltas, i64::from(self.reference) * REFERENCE);
        let symbols = self.chunks.iter().flat_map(|chunk| {
            let chunk = Chunk::of(*chunk);
            (0..chunk.len()).map(move |n| chunk.symbol(n))
        });
        let numbers = (0..self.count).map({
            let base = self.base;
            move |n| base.wrapping_add(n)
        });
        numbers.zip(symbols).map(move |(number, symbol)| {
            let delta = match (symbol, deltas) {
                (1, [small, behind @ ..]) => {
                    deltas = behind;
                    Some(i64::from(*small))
                }
                (2, [a, b, behind @ ..]) => {
                    deltas = behind;
                    Some(i64::from(i16::from_be_bytes([*a, *b])))
                }
                _ => None,
            };
            let arrival = delta.map(|delta| {
                time += delta * TICK;
                time
            });
            (number, arrival)
        })
    }
}

/// The statuses of several packets (draft, 3.1.2): 0 has not arrived; 1 and 2 have, with a delta of 1 or 2 bytes.
#[derive(Clone, Copy)]
enum Chunk {
    Run { symbol: u8, len: u16 },
    OneBit(u16),
    TwoBits(u16),
}

impl Chunk {
    fn of(bytes: [u8; 2]) -> Chunk {
        let bits = u16::from_be_bytes(bytes);
        match bits >> 14 {
            0 | 1 => Chunk::Run { symbol: (bits >> 13) as u8, len: bits & 0x1fff },
            2 => Chunk::OneBit(bits),
            _ => Chunk::TwoBits(bits),
        }
    }

    fn len(self) -> usize {
        match self {
            Chunk::Run { len, .. } => len.into(),
            Chunk::OneBit(_) => 14,
            Chunk::TwoBits(_) => 7,
        }
    }

    fn symbol(self, n: usize) -> u8 {
        match self {
            Chunk::Run { symbol, .. } => symbol,
            Chunk::OneBit(bits) => (bits >> (13 - n)) as u8 & 1,
            Chunk::TwoBits(bits) => (bits >> (12 - 2 * n)) as u8 & 3,
        }
    }

    /// The total size of the deltas of its first statuses. `None` if one of them is reserved.
    fn delta_bytes(self, statuses: usize) -> Option<usize> {
        match self {
            Chunk::Run { symbol: 3, .. } if statuses > 0 => None,
            Chunk::Run { symbol, .. } => Some(statuses * usize::from(symbol)),
            _ => (0..statuses).map(|n| Some(self.symbol(n)).filter(|s| *s != 3).map(usize::from)).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Feedback, read};

    fn transport(base: u16, count: u16, reference: u32, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];
        packet.extend(base.to_be_bytes());
        packet.extend(count.to_be_bytes());
        packet.extend((reference << 8 | 9).to_be_bytes());
        packet.extend(rest);
        packet.resize(packet.len().next_multiple_of(4), 0);
        packet[3] = (packet.len() / 4 - 1) as u8;
        packet
    }

    fn arrivals(packet: &[u8]) -> Vec<(u16, Option<i64>)> {
        read(packet)
            .flat_map(|feedback| match feedback {
                Feedback::Transport(transport) => {
                    assert_eq!(transport.number, 9);
                    let all: Vec<_> = transport.arrivals().collect();
                    assert_eq!((all.len(), all[0].0), (transport.count.into(), transport.base));
                    all
                }
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn arrivals_come_by_runs() {
        // Three small deltas, two missing packets, a large negative delta.
        let rest = [0x20, 3, 0, 2, 0x40, 1, 4, 0, 8, 0xff, 0xfc];
        assert_eq!(
            arrivals(&transport(0xfffe, 6, 1, &rest)),
            [
                (0xfffe, Some(65_000)),
                (0xffff, Some(65_000)),
                (0, Some(67_000)),
                (1, None),
                (2, None),
                (3, Some(66_000))
            ]
        );
    }

    #[test]
    fn arrivals_come_by_vectors_of_one_and_two_bits() {
        // 14 of one bit: the first, third and last arrived; then of two bits: missing, small, large, small, and the
        // rest is beyond the count.
        let rest = [0b1010_1000, 0b0000_0001, 0b1100_0110, 0b0111_1111, 1, 2, 3, 4, 0x01, 0x00, 255];
        let all = arrivals(&transport(10, 18, 0, &rest));
        let came: Vec<_> = all.iter().filter_map(|(n, at)| at.map(|at| (*n, at))).collect();
        assert_eq!(
            came,
            [(10, 250), (12, 750), (23, 1500), (25, 2500), (26, 66_500), (27, 130_250)],
            "{all:?}"
        );
    }

    /// Bytes written by hand from the draft's field layout: 24 bits with a sign.
    #[test]
    fn the_reference_time_has_a_sign() {
        let rest = [0x20, 1, 0];
        let first = |reference| arrivals(&transport(0, 1, reference, &rest))[0].1;
        assert_eq!(first(0x7f_ffff), Some(0x7f_ffff * 64_000));
        assert_eq!(first(0x80_0000), Some(-0x80_0000 * 64_000));
        assert_eq!(first(0xff_ffff), Some(-64_000));
    }

    #[test]
    fn a_count_over_what_is_there_yields_nothing() {
        for (count, rest) in [
            (0, &[0x20, 1, 4][..]),
            // Zeros fill the last word, which makes six deltas.
            (7, &[0x20, 7, 1, 1, 1, 1]),
            (2, &[0x20, 1]),
            (15, &[0x80, 0]),
            (8, &[0xc0, 0]),
            (8191, &[0x3f, 0xff, 1, 1]),
            (65_535, &[0x1f, 0xff, 0x1f, 0xff]),
            // The reserved status, in a run and in a vector.
            (1, &[0x60, 1, 0, 0, 0, 0]),
            (2, &[0b1101_1100, 0, 1, 1, 1, 1]),
        ] {
            assert_eq!(arrivals(&transport(1, count, 1, rest)), [], "{count} {rest:?}");
        }
        let long = [0x1f, 0xff].repeat(9);
        let all = arrivals(&transport(1, 65_535, 1, &long));
        assert_eq!((all.len(), all.last()), (65_535, Some(&(65_535, None))));
        assert_eq!(
            arrivals(&transport(1, 1, 1, &[0b1101_1100, 0, 1])).len(),
            1,
            "the reserved one is behind the count"
        );
    }

    #[test]
    fn transport_feedback_is_filled_up_to_a_word() {
        for (deltas, padding) in [(&[1][..], &[1][..]), (&[1, 2, 1], &[0, 0, 3]), (&[1, 2, 1, 1], &[0, 2])] {
            let count = deltas.len() as u16;
            let run = (0x2000 | count).to_be_bytes();
            let mut feedback = transport(7, count, 0, &[&run[..], deltas, padding].concat());
            feedback[0] |= 0x20;
            let arrivals = arrivals(&feedback);
            assert_eq!(arrivals.len(), deltas.len());
            assert_eq!(arrivals[0], (7, Some(250)));
        }
    }
}
