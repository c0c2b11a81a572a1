//! Writes a receiver's RTCP packets: reception statistics (RFC 3550, 6.4.2), NACK and PLI (RFC 4585, 6.2.1 and 6.3.1).

const RECEIVER_REPORT: u8 = 201;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
/// Their formats.
const NACK: u8 = 1;
const PLI: u8 = 1;
const TRANSPORT_WIDE: u8 = 15;
const APPLICATION: u8 = 15;
/// The flag of a packet that ends with padding.
const PADDED: u8 = 0x20;

/// The report block of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) struct Block {
    pub(in crate::rtc) ssrc: u32,
    /// Lost since the last report, in 1/256.
    pub(in crate::rtc) fraction: u8,
    /// Total lost, in 24 bits.
    pub(in crate::rtc) lost: u32,
    /// The extended highest sequence number.
    pub(in crate::rtc) highest: u32,
    /// In ticks.
    pub(in crate::rtc) jitter: u32,
    pub(in crate::rtc) last_sr: u32,
    /// In 1/65536 s.
    pub(in crate::rtc) delay_since: u32,
}

/// Appends a report on at most 31 streams; an empty one can start a compound, too.
pub(in crate::rtc) fn reception(from: u32, blocks: &[Block], out: &mut Vec<u8>) {
    let blocks = &blocks[..blocks.len().min(31)];
    header(blocks.len() as u8, RECEIVER_REPORT, 4 + 24 * blocks.len(), out);
    out.extend_from_slice(&from.to_be_bytes());
    for block in blocks {
        out.extend_from_slice(&block.ssrc.to_be_bytes());
        out.extend_from_slice(&(u32::from(block.fraction) << 24 | block.lost & 0xff_ffff).to_be_bytes());
        for field in [block.highest, block.jitter, block.last_sr, block.delay_since] {
            out.extend_from_slice(&field.to_be_bytes());
        }
    }
}

/// Appends a request for these packets of a stream; they must be in order.
pub(in crate::rtc) fn nack(from: u32, about: u32, numbers: &[u16], out: &mut Vec<u8>) {
    let mut entries: Vec<(u16, u16)> = vec![];
    for number in numbers {
        match entries.last_mut() {
            // Bit 0 is the next number.
            Some((first, bits)) if (1..=16).contains(&number.wrapping_sub(*first)) => {
                *bits |= 1 << (number.wrapping_sub(*first) - 1);
            }
            _ => entries.push((*number, 0)),
        }
    }
    feedback(NACK, TRANSPORT_FEEDBACK, from, about, 4 * entries.len(), out);
    for (first, bits) in entries {
        out.extend_from_slice(&first.to_be_bytes());
        out.extend_from_slice(&bits.to_be_bytes());
    }
}

/// Appends a request for a key frame.
pub(in crate::rtc) fn pli(from: u32, about: u32, out: &mut Vec<u8>) {
    feedback(PLI, PAYLOAD_FEEDBACK, from, about, 0, out);
}

/// Appends the bitrate limit for all of these streams together, in bit/s (draft-alvestrand-rmcat-remb-03, 2.2).
pub(in crate::rtc) fn remb(from: u32, bps: u32, about: &[u32], out: &mut Vec<u8>) {
    let about = &about[..about.len().min(255)];
    // An 18-bit mantissa and an exponent; rounded down, because it is a limit.
    let exponent = (u32::BITS - bps.leading_zeros()).saturating_sub(18);
    feedback(APPLICATION, PAYLOAD_FEEDBACK, from, 0, 8 + 4 * about.len(), out);
    out.extend_from_slice(b"REMB");
    out.extend_from_slice(&((about.len() as u32) << 24 | exponent << 18 | bps >> exponent).to_be_bytes());
    for ssrc in about {
        out.extend_from_slice(&ssrc.to_be_bytes());
    }
}

/// Appends transport-wide feedback.
pub(in crate::rtc) fn transport(from: u32, about: u32, body: &[u8], out: &mut Vec<u8>) {
    let len = body.len().next_multiple_of(4);
    let padding = len - body.len();
    let format = if padding > 0 { PADDED | TRANSPORT_WIDE } else { TRANSPORT_WIDE };
    feedback(format, TRANSPORT_FEEDBACK, from, about, len, out);
    out.extend_from_slice(body);
    // The last byte is the number of padding bytes.
    out.resize(out.len() + padding, 0);
    if let Some(last) = out.last_mut().filter(|_| padding > 0) {
        *last = padding as u8;
    }
}

fn feedback(format: u8, kind: u8, from: u32, about: u32, len: usize, out: &mut Vec<u8>) {
    header(format, kind, 8 + len, out);
    out.extend_from_slice(&from.to_be_bytes());
    out.extend_from_slice(&about.to_be_bytes());
}

/// Appends the header of a packet with `len` bytes after it.
fn header(count: u8, kind: u8, len: usize, out: &mut Vec<u8>) {
    let [a, b] = ((len / 4) as u16).to_be_bytes();
    out.extend_from_slice(&[0x80 | count, kind, a, b]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtc::send::feedback::{Feedback, read};

    #[test]
    fn reports_are_read_as_they_are_written() {
        let block = Block {
            ssrc: 7,
            fraction: 64,
            lost: 0x01_0203,
            highest: 0x0001_0009,
            jitter: 5,
            last_sr: 6,
            delay_since: 8,
        };
        let mut out = vec![];
        reception(1, &[block, Block { ssrc: 8, fraction: 0, ..block }], &mut out);
        assert_eq!(out[..20], [0x82, 201, 0, 13, 0, 0, 0, 1, 0, 0, 0, 7, 64, 1, 2, 3, 0, 1, 0, 9]);
        let report = |ssrc, lost| Feedback::Report {
            ssrc,
            lost,
            highest: 0x0001_0009,
            jitter: 5,
            last_sr: 6,
            delay_since: 8,
        };
        assert!(read(&out).eq([report(7, 0.25), report(8, 0.0)]));
        let mut empty = vec![];
        reception(1, &[], &mut empty);
        assert_eq!(empty, [0x80, 201, 0, 1, 0, 0, 0, 1]);
        let mut many = vec![];
        reception(1, &[block; 40], &mut many);
        assert_eq!(read(&many).count(), 31);
    }

    #[test]
    fn requests_are_read_as_they_are_written() {
        for numbers in [&[5][..], &[0xfffe, 0xffff, 0, 14], &[1, 17, 18, 34, 35], &[9, 9]] {
            let mut out = vec![];
            nack(1, 2, numbers, &mut out);
            let all: Vec<_> = read(&out).collect();
            let [Feedback::Nack { ssrc: 2, numbers: found }] = &all[..] else { panic!("{all:?}") };
            let found: Vec<u16> = found.clone().collect();
            assert!(found == numbers, "{found:?}");
        }
        let mut out = vec![];
        pli(1, 2, &mut out);
        assert!(read(&out).eq([Feedback::Pli { ssrc: 2 }]));
    }

    #[test]
    fn limits_are_read_as_they_are_written_and_never_grow() {
        for bps in [0, 1, 150_000, 262_143, 262_144, 4_000_001, u32::MAX] {
            let mut out = vec![];
            remb(1, bps, &[2, 3], &mut out);
            let all: Vec<_> = read(&out).collect();
            let [Feedback::Remb { bps: found, ssrcs }] = &all[..] else { panic!("{all:?}") };
            assert!(ssrcs.clone().eq([2, 3]));
            let bps = u64::from(bps);
            assert!(*found <= bps && bps - *found <= bps >> 17, "{found} of {bps}");
        }
    }
}
