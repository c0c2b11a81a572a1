//! Assembles H.264 access units from single NAL units, STAP-A and FU-A (RFC 6184, 5.6, 5.7.1, 5.8): everything in
//! packetization mode 1.
//!
//! Streams without IDR pictures (periodic intra refresh) are not supported: they have no frame to start with.

use super::{Broken, Made, empty};

const SLICES: std::ops::RangeInclusive<u8> = 1..=5;
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const AGGREGATE: u8 = 24;
const FRAGMENT: u8 = 28;
const START_CODE: [u8; 4] = [0, 0, 0, 1];
/// Limit of the parameter sets kept for key frames without their own: those of encoders have 10 to 100 bytes.
const MAX_PARAMETERS: usize = 4 << 10;

/// A partial access unit, in Annex B format.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    data: Vec<u8>,
    /// Whether the current NAL unit is fragmented and incomplete.
    fragmented: bool,
    has_slice: bool,
    has_idr: bool,
    has_sps: bool,
    /// The ranges of the parameter sets in `data`; bounded by what can be kept.
    parameter_sets: Vec<(usize, usize)>,
    parameter_bytes: usize,
    /// The last parameter sets, for key frames without their own.
    parameters: Vec<u8>,
}

impl Assembler {
    /// Discards the access unit.
    pub(super) fn clear(&mut self) {
        empty(&mut self.data);
        self.parameter_sets.clear();
        self.parameter_bytes = 0;
        (self.fragmented, self.has_slice, self.has_idr, self.has_sps) = (false, false, false, false);
    }

    /// Adds the payload of a packet. If packets before it may be missing (`unsure`), it must be the start of an access
    /// unit. Returns the size so far in bytes.
    pub(super) fn push(&mut self, payload: &[u8], unsure: bool) -> Result<usize, Broken> {
        let (indicator, rest) = payload.split_first().ok_or(Broken)?;
        let kind = indicator & 0x1f;
        if self.fragmented && kind != FRAGMENT {
            return Err(Broken);
        }
        if unsure && !matches!(first_kind(payload), Some(SPS | DELIMITER)) {
            return Err(Broken);
        }
        match kind {
            1..AGGREGATE => self.unit(payload),
            AGGREGATE => self.aggregate(rest)?,
            FRAGMENT => self.fragment(*indicator, rest)?,
            // STAP-B, MTAP and FU-B belong to interleaved mode; 0, 30 and 31 are undefined.
            _ => return Err(Broken),
        }
        Ok(self.data.len())
    }

    /// Finishes an access unit with all its packets. Returns whether it is a key frame, and its bytes; `None` if it has
    /// only parameter sets.
    pub(super) fn finish(&mut self) -> Result<Option<Made>, Broken> {
        if self.has_sps {
            self.parameters.clear();
        }
        for (begin, end) in self.parameter_sets.drain(..) {
            if self.parameters.len() + end - begin <= MAX_PARAMETERS {
                self.parameters.extend_from_slice(&self.data[begin..end]);
            }
        }
        let made = self.made();
        self.clear();
        made
    }

    fn made(&mut self) -> Result<Option<Made>, Broken> {
        if self.fragmented {
            return Err(Broken);
        }
        if !self.has_slice {
            return Ok(None);
        }
        if self.has_idr && !self.has_sps {
            // No decoder could decode it.
            if self.parameters.is_empty() {
                return Err(Broken);
            }
            self.data.splice(..0, self.parameters.iter().copied());
        }
        Ok(Some((self.has_idr, self.data.as_slice().into())))
    }

    fn unit(&mut self, nal: &[u8]) {
        let begin = self.data.len();
        self.begin(nal[0] & 0x1f);
        self.data.extend_from_slice(nal);
        let size = self.data.len() - begin;
        if matches!(nal[0] & 0x1f, SPS | PPS) && self.parameter_bytes + size <= MAX_PARAMETERS {
            self.parameter_bytes += size;
            self.parameter_sets.push((begin, self.data.len()));
        }
    }

    fn begin(&mut self, kind: u8) {
        self.data.extend_from_slice(&START_CODE);
        self.has_slice |= SLICES.contains(&kind);
        self.has_idr |= kind == IDR;
        self.has_sps |= kind == SPS;
    }

    fn aggregate(&mut self, mut rest: &[u8]) -> Result<(), Broken> {
        if rest.is_empty() {
            return Err(Broken);
        }
        while let Some((len, behind)) = rest.split_first_chunk() {
            let len = usize::from(u16::from_be_bytes(*len));
            let (nal, behind) = behind.split_at_checked(len).ok_or(Broken)?;
            let kind = nal.first().ok_or(Broken)? & 0x1f;
            if !(1..AGGREGATE).contains(&kind) {
                return Err(Broken);
            }
            self.unit(nal);
            rest = behind;
        }
        if rest.is_empty() { Ok(()) } else { Err(Broken) }
    }

    fn fragment(&mut self, indicator: u8, rest: &[u8]) -> Result<(), Broken> {
        let (head, piece) = rest.split_first().ok_or(Broken)?;
        let (starts, ends, kind) = (head & 0x80 != 0, head & 0x40 != 0, head & 0x1f);
        if starts == self.fragmented || !(1..AGGREGATE).contains(&kind) {
            return Err(Broken);
        }
        if starts {
            self.begin(kind);
            self.data.push(indicator & 0xe0 | kind);
        }
        self.data.extend_from_slice(piece);
        self.fragmented = !ends;
        Ok(())
    }
}

/// The type of the first NAL unit of a payload.
fn first_kind(payload: &[u8]) -> Option<u8> {
    match payload.first()? & 0x1f {
        AGGREGATE => payload.get(3).map(|head| head & 0x1f),
        other => Some(other),
    }
}

/// Whether a payload is the first of a key frame with parameter sets.
pub(super) fn begins_key(payload: &[u8]) -> bool {
    first_kind(payload) == Some(SPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Assembles an access unit from these payloads.
    fn made(assembler: &mut Assembler, payloads: &[&[u8]]) -> Result<Option<(bool, Vec<u8>)>, Broken> {
        for payload in payloads {
            if let Err(broken) = assembler.push(payload, false) {
                assembler.clear();
                return Err(broken);
            }
        }
        Ok(assembler.finish()?.map(|(key, data)| (key, data.to_vec())))
    }

    #[test]
    fn units_aggregates_and_fragments_become_a_byte_stream() {
        let whole = made(
            &mut Assembler::default(),
            &[
                &[0x78, 0, 2, 0x67, 1, 0, 1, 0x68],
                &[0x7c, 0x85, 2, 3],
                &[0x7c, 0x05, 4],
                &[0x7c, 0x45, 5],
                &[0x65, 6],
            ],
        );
        let expected =
            [0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 0, 0, 0, 1, 0x65, 2, 3, 4, 5, 0, 0, 0, 1, 0x65, 6];
        assert_eq!(whole, Ok(Some((true, expected.to_vec()))));
        let delta = made(&mut Assembler::default(), &[&[0x41, 9]]);
        assert_eq!(delta, Ok(Some((false, vec![0, 0, 0, 1, 0x41, 9]))));
    }

    #[test]
    fn a_key_frame_gets_the_parameters_that_came_before() {
        let mut assembler = Assembler::default();
        assert_eq!(made(&mut assembler, &[&[0x65, 1]]), Err(Broken), "nothing could decode it");
        assert_eq!(made(&mut assembler, &[&[0x67, 1], &[0x68, 2]]), Ok(None), "parameters alone");
        let expected = vec![0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 0, 1, 0x65, 3];
        assert_eq!(made(&mut assembler, &[&[0x65, 3]]), Ok(Some((true, expected))));
        let own = vec![0, 0, 0, 1, 0x67, 7, 0, 0, 0, 1, 0x68, 8, 0, 0, 0, 1, 0x65, 9];
        assert_eq!(made(&mut assembler, &[&[0x67, 7], &[0x68, 8], &[0x65, 9]]), Ok(Some((true, own))));
        let expected = vec![0, 0, 0, 1, 0x67, 7, 0, 0, 0, 1, 0x68, 8, 0, 0, 0, 1, 0x65, 3];
        assert_eq!(made(&mut assembler, &[&[0x65, 3]]), Ok(Some((true, expected))), "the latest");
    }

    #[test]
    fn parameters_that_are_kept_are_bounded() {
        let mut assembler = Assembler::default();
        let large = [&[0x68][..], &[1; 1000]].concat();
        for _ in 0..20 {
            assert_eq!(made(&mut assembler, &[&large]), Ok(None));
        }
        assert!(assembler.parameters.len() <= MAX_PARAMETERS);
        for _ in 0..2000 {
            assert!(assembler.push(&[0x67, 1], false).is_ok());
        }
        assert!(assembler.parameter_sets.len() <= MAX_PARAMETERS / 6, "in one access unit, too");
    }

    #[test]
    fn what_is_malformed_breaks_the_frame() {
        let bad: [&[&[u8]]; 13] = [
            &[&[0x7c]],
            &[&[0x7c, 0x05, 4]],
            &[&[0x7c, 0x85, 4], &[0x7c, 0x85, 4]],
            &[&[0x7c, 0x85, 4], &[0x41, 4]],
            &[&[0x7c, 0x85, 4]],
            &[&[0x7c, 0x98, 4]],
            &[&[0x78]],
            &[&[0x78, 0]],
            &[&[0x78, 0, 0]],
            &[&[0x78, 0, 3, 0x41, 1]],
            &[&[0x78, 0, 1, 0x41, 0]],
            &[&[0x78, 0, 1, 0x78]],
            &[&[0x7d, 0x85, 4]],
        ];
        for payloads in bad {
            assert_eq!(made(&mut Assembler::default(), payloads), Err(Broken), "{payloads:?}");
        }
        assert_eq!(Assembler::default().push(&[], false), Err(Broken));
    }

    #[test]
    fn after_a_gap_a_frame_begins_with_a_delimiter_or_parameters() {
        for (payload, ok) in [
            (&[0x41, 1][..], false),
            (&[0x65, 1], false),
            (&[0x06, 1], false),
            (&[0x7c, 0x85, 1], false),
            (&[0x67, 1], true),
            (&[0x09, 0xf0], true),
            (&[0x78, 0, 1, 0x67], true),
            (&[0x78, 0, 1, 0x41], false),
            (&[0x78], false),
        ] {
            assert_eq!(Assembler::default().push(payload, true).is_ok(), ok, "{payload:?}");
        }
    }
}
