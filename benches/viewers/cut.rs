//! Cuts an access unit into RTP payloads as [`here`](crate::here) does: evenly, and as long (RFC 6184).

/// The same as in the crate, so that both send as many packets.
const MAX: usize = 1136;

const PARAMETER_SETS: std::ops::RangeInclusive<u8> = 7..=8;
const AGGREGATE: u8 = 24;
const FRAGMENT: u8 = 28;

pub(crate) fn payloads(unit: &[u8]) -> Vec<Vec<u8>> {
    let (mut out, mut sets) = (Vec::new(), vec![0x60 | AGGREGATE]);
    for nal in nal_units(unit) {
        if PARAMETER_SETS.contains(&(nal[0] & 0x1f)) {
            sets.extend((nal.len() as u16).to_be_bytes());
            sets.extend(nal);
            continue;
        }
        if sets.len() > 1 {
            out.push(std::mem::take(&mut sets));
        }
        if nal.len() <= MAX {
            out.push(nal.to_vec());
            continue;
        }
        let (head, body) = (nal[0], &nal[1..]);
        let count = body.len().div_ceil(MAX - 2);
        for (i, piece) in body.chunks(body.len().div_ceil(count)).enumerate() {
            let ends = u8::from(i == 0) << 7 | u8::from(i + 1 == count) << 6;
            let mut payload = vec![head & 0xe0 | FRAGMENT, ends | head & 0x1f];
            payload.extend(piece);
            out.push(payload);
        }
    }
    out
}

/// Of start codes of four bytes, which is what the encoder writes.
fn nal_units(unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    const START: &[u8] = &[0, 0, 0, 1];
    let starts: Vec<usize> = (0..unit.len()).filter(|at| unit[*at..].starts_with(START)).collect();
    let ends = starts.clone().into_iter().skip(1).chain([unit.len()]);
    starts.into_iter().zip(ends).map(|(start, end)| &unit[start + START.len()..end])
}
