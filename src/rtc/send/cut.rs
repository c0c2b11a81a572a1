//! Cuts a frame into RTP payloads, once for all viewers.
//!
//! A unit that needs several packets is cut evenly: all packets but the last have the same size, so that one system
//! call can send them all (UDP GSO).

use std::sync::Arc;

use crate::media::{Codec, Frame};

/// The maximum size of a payload, in bytes. With the RTP header and its extensions (at most 44), the original sequence
/// number of a retransmission (2) and the tag of AES-GCM (16), a packet has at most 1200 bytes, which pass wherever
/// WebRTC works.
pub(crate) const MAX_PAYLOAD: usize = 1136;

/// With header and tag, an audio packet also fits an MTU of 1280 over IPv6. This allows 470 kbit/s in frames of 20 ms,
/// and is close to the maximum size of an Opus frame, 1275 bytes (RFC 6716, 3.2).
const MAX_AUDIO: usize = 1176;

/// The payloads of one frame, in order; the last one gets the marker if the frame is video.
pub(crate) type Payloads = Vec<Arc<[u8]>>;

/// Cuts the frames of one stream.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    picture_id: u16,
}

impl Cutter {
    /// The payloads of a frame; none if it is empty or not valid for its codec.
    pub(crate) fn cut(&mut self, frame: &Frame) -> Payloads {
        match frame.codec {
            Codec::H264 => h264(&frame.data),
            Codec::Vp8 => {
                self.picture_id = (self.picture_id + 1) & 0x7fff;
                vp8(&frame.data, self.picture_id)
            }
            Codec::Opus if (1..=MAX_AUDIO).contains(&frame.data.len()) => vec![frame.data.clone()],
            Codec::Opus | Codec::Jpeg => vec![],
        }
    }
}

/// The size of the pieces when `len` bytes are cut evenly into pieces of at most `max`.
fn even(len: usize, max: usize) -> usize {
    len.div_ceil(len.div_ceil(max).max(1)).max(1)
}

const SINGLE_TIME_AGGREGATION: u8 = 24;
const FRAGMENT: u8 = 28;
const ACCESS_UNIT_DELIMITER: u8 = 9;
const FILLER: u8 = 12;

/// Whether a unit is sent. Delimiters and filler contain nothing that receivers of packets need. Types 0 and 24 to 31
/// are not H.264 units (table 7-1); in a packet they would be read as aggregates and fragments (RFC 6184, 5.2).
fn is_sent(nal: &[u8]) -> bool {
    matches!(nal[0] & 0x1f, 1..SINGLE_TIME_AGGREGATION)
        && ![ACCESS_UNIT_DELIMITER, FILLER].contains(&(nal[0] & 0x1f))
}

/// RFC 6184, non-interleaved mode: consecutive small NAL units (parameter sets, thin slices) share a packet, and large
/// ones are fragmented.
fn h264(data: &[u8]) -> Payloads {
    let mut out = vec![];
    let mut small: Vec<&[u8]> = vec![];
    let mut small_len = 1;
    for nal in nal_units(data).filter(|nal| is_sent(nal)) {
        if small_len + 2 + nal.len() > MAX_PAYLOAD {
            aggregate(&small, &mut out);
            small.clear();
            small_len = 1;
        }
        if nal.len() > MAX_PAYLOAD {
            fragment(nal, &mut out);
        } else {
            small.push(nal);
            small_len += 2 + nal.len();
        }
    }
    aggregate(&small, &mut out);
    out
}

fn aggregate(nals: &[&[u8]], out: &mut Payloads) {
    match nals {
        [] => {}
        [one] => out.push(Arc::from(*one)),
        many => {
            // RFC 6184, 5.7: F is set if it is set in any unit, and NRI is the highest of all.
            let f = many.iter().fold(0, |f, n| f | n[0] & 0x80);
            let nri = many.iter().map(|n| n[0] & 0x60).max().unwrap_or(0);
            let mut payload = vec![f | nri | SINGLE_TIME_AGGREGATION];
            for n in many {
                payload.extend_from_slice(&(n.len() as u16).to_be_bytes()); // at most MAX_PAYLOAD
                payload.extend_from_slice(n);
            }
            out.push(payload.into());
        }
    }
}

fn fragment(nal: &[u8], out: &mut Payloads) {
    let (head, body) = (nal[0], &nal[1..]);
    let size = even(body.len(), MAX_PAYLOAD - 2);
    let last = body.len().div_ceil(size) - 1;
    for (i, piece) in body.chunks(size).enumerate() {
        let start_end = u8::from(i == 0) << 7 | u8::from(i == last) << 6;
        let mut payload = Vec::with_capacity(2 + piece.len());
        payload.extend_from_slice(&[head & 0xe0 | FRAGMENT, start_end | head & 0x1f]);
        payload.extend_from_slice(piece);
        out.push(payload.into());
    }
}

/// The NAL units of an Annex B byte stream, without start codes and trailing zeros. Data without a start code counts as
/// one unit.
fn nal_units(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = match start_code(data) {
        Some((_, end)) => &data[end..],
        None => data,
    };
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let (nal, next) = match start_code(rest) {
                Some((at, end)) => (&rest[..at], &rest[end..]),
                None => (rest, &rest[rest.len()..]),
            };
            rest = next;
            // A NAL unit ends with its stop bit; zeros after it belong to the byte stream (Annex B.1).
            let len = nal.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
            if len > 0 {
                return Some(&nal[..len]);
            }
        }
        None
    })
}

/// The position of the next 00 00 01: start and end.
fn start_code(data: &[u8]) -> Option<(usize, usize)> {
    let mut i = 2;
    while i < data.len() {
        match data[i] {
            0 => i += 1,
            1 if data[i - 1] == 0 && data[i - 2] == 0 => return Some((i - 2, i + 1)),
            _ => i += 3,
        }
    }
    None
}

/// RFC 7741: a descriptor with a 15-bit picture id before each piece.
fn vp8(data: &[u8], picture_id: u16) -> Payloads {
    const DESCRIPTOR: usize = 4;
    let [high, low] = (picture_id | 0x8000).to_be_bytes();
    let pieces = data.chunks(even(data.len(), MAX_PAYLOAD - DESCRIPTOR)).enumerate();
    pieces
        .map(|(i, piece)| {
            let mut payload = Vec::with_capacity(DESCRIPTOR + piece.len());
            let start_of_partition = u8::from(i == 0) << 4;
            payload.extend_from_slice(&[0x80 | start_of_partition, 0x80, high, low]);
            payload.extend_from_slice(piece);
            payload.into()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nal(kind: u8, len: usize) -> Vec<u8> {
        let mut nal = vec![0x60 | kind];
        nal.extend((1..len).map(|i| (i % 250) as u8 + 1));
        nal
    }

    fn annex_b(nals: &[Vec<u8>]) -> Vec<u8> {
        nals.iter().flat_map(|n| [&[0, 0, 0, 1][..], n].concat()).collect()
    }

    /// Reassembles payloads as in the RFC, independently of the code above.
    fn glue(payloads: &Payloads) -> Vec<Vec<u8>> {
        let mut nals: Vec<Vec<u8>> = vec![];
        for p in payloads {
            match p[0] & 0x1f {
                24 => {
                    let mut rest = &p[1..];
                    while !rest.is_empty() {
                        let n = u16::from_be_bytes([rest[0], rest[1]]) as usize;
                        nals.push(rest[2..2 + n].to_vec());
                        rest = &rest[2 + n..];
                    }
                }
                28 => {
                    if p[1] & 0x80 != 0 {
                        nals.push(vec![p[0] & 0xe0 | p[1] & 0x1f]);
                    }
                    nals.last_mut().expect("a start").extend_from_slice(&p[2..]);
                }
                _ => nals.push(p.to_vec()),
            }
        }
        nals
    }

    #[test]
    fn h264_units_survive_whatever_their_sizes() {
        let sizes = [
            1,
            2,
            100,
            MAX_PAYLOAD - 3,
            MAX_PAYLOAD - 1,
            MAX_PAYLOAD,
            MAX_PAYLOAD + 1,
            2 * MAX_PAYLOAD,
            50_000,
        ];
        for a in sizes {
            for b in sizes {
                let nals = vec![nal(7, 20), nal(8, 5), nal(5, a), nal(5, b), nal(1, a)];
                let payloads = h264(&annex_b(&nals));
                assert_eq!(glue(&payloads), nals, "{a} {b}");
                assert!(payloads.iter().all(|p| p.len() <= MAX_PAYLOAD));
            }
        }
    }

    #[test]
    fn fragments_are_of_one_size_but_the_last() {
        for len in [MAX_PAYLOAD + 1, 3000, 10_007, 65_536] {
            let sizes: Vec<usize> = h264(&annex_b(&[nal(5, len)])).iter().map(|p| p.len()).collect();
            let (last, others) = sizes.split_last().expect("cut");
            assert!(others.iter().all(|s| *s == others[0]) && *last <= others[0], "{sizes:?}");
            // Evenly: the last one is shorter by less than a byte for each of the others.
            assert!(others[0] - last < sizes.len(), "{sizes:?}");
        }
    }

    #[test]
    fn parameter_sets_share_a_packet() {
        let payloads = h264(&annex_b(&[nal(7, 20), nal(8, 5), nal(5, 5000)]));
        assert_eq!(payloads[0][0], 0x60 | SINGLE_TIME_AGGREGATION);
        assert_eq!(payloads[1][0] & 0x1f, FRAGMENT);
    }

    #[test]
    fn delimiters_and_filler_are_left_out() {
        let payloads = h264(&annex_b(&[nal(9, 2), nal(1, 50), nal(12, 30)]));
        assert_eq!(glue(&payloads), [nal(1, 50)]);
    }

    #[test]
    fn units_whose_types_are_packets_in_rtp_are_left_out() {
        for kind in [0, 24, 25, 28, 29, 30, 31] {
            for len in [1, 50, 3000] {
                let payloads = h264(&annex_b(&[nal(1, 50), nal(kind, len)]));
                assert_eq!(glue(&payloads), [nal(1, 50)], "type {kind}, {len} bytes");
            }
        }
        assert!(h264(&[0x1c, 0x00, 0x65, 0x2f, 0x09]).is_empty(), "found by a fuzzer");
    }

    #[test]
    fn byte_streams_of_every_form_are_read() {
        let table: [(&[u8], &[&[u8]]); 8] = [
            (&[], &[]),
            (&[0, 0, 1], &[]),
            (&[0, 0, 0, 0], &[]),
            (&[0x65, 9], &[&[0x65, 9]]),
            (&[0, 0, 1, 0x65, 9], &[&[0x65, 9]]),
            (&[0, 0, 0, 0, 1, 0x65, 9, 0, 0], &[&[0x65, 9]]),
            (&[0, 0, 1, 0x67, 0, 0, 0, 1, 0x68, 7], &[&[0x67], &[0x68, 7]]),
            (&[0, 0, 1, 0, 0, 1, 0x68, 0, 1, 0, 2], &[&[0x68, 0, 1, 0, 2]]),
        ];
        for (data, nals) in table {
            assert_eq!(nal_units(data).collect::<Vec<_>>(), nals, "{data:?}");
        }
    }

    #[test]
    fn vp8_pieces_carry_the_picture_id_and_mark_the_start() {
        let data: Vec<u8> = (0..3000).map(|i| i as u8).collect();
        let payloads = vp8(&data, 0x1234);
        assert_eq!(payloads.iter().map(|p| p.len()).collect::<Vec<_>>(), [1004, 1004, 1004]);
        assert_eq!(payloads[0][..4], [0x90, 0x80, 0x92, 0x34]);
        assert_eq!(payloads[1][..4], [0x80, 0x80, 0x92, 0x34]);
        let glued: Vec<u8> = payloads.iter().flat_map(|p| p[4..].to_vec()).collect();
        assert_eq!(glued, data);
        assert!(vp8(&[], 1).is_empty());
    }
}
