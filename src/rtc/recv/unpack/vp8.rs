//! Assembles VP8 frames from payloads with a descriptor (RFC 7741, 4.2).

use super::{Broken, Made, empty};

/// The header of a key frame: tag, start code and size (RFC 6386, 9.1).
const KEY_HEAD: usize = 10;
const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];

/// A partial frame.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    data: Vec<u8>,
}

impl Assembler {
    /// Discards the frame.
    pub(super) fn clear(&mut self) {
        empty(&mut self.data);
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.data.capacity()
    }

    /// Adds the payload of a packet. Returns the size so far in bytes.
    pub(super) fn push(&mut self, payload: &[u8]) -> Result<usize, Broken> {
        let (starts, piece) = described(payload).ok_or(Broken)?;
        // Only the first packet of a frame starts its first partition.
        if starts != self.data.is_empty() || piece.is_empty() {
            return Err(Broken);
        }
        self.data.extend_from_slice(piece);
        Ok(self.data.len())
    }

    /// Finishes a frame with all its packets. Returns whether it is a key frame, and its bytes.
    pub(super) fn finish(&mut self) -> Result<Option<Made>, Broken> {
        let made = made(&self.data);
        self.clear();
        made
    }
}

fn made(data: &[u8]) -> Result<Option<Made>, Broken> {
    let key = data.first().ok_or(Broken)? & 1 == 0;
    if key && (data.len() < KEY_HEAD || data[3..6] != START_CODE) {
        return Err(Broken);
    }
    Ok(Some((key, data.into())))
}

/// Whether a payload is the first of a key frame.
pub(super) fn begins_key(payload: &[u8]) -> bool {
    described(payload).is_some_and(|(starts, piece)| starts && piece.first().is_some_and(|tag| tag & 1 == 0))
}

/// Returns whether a payload starts a frame's first partition, and the data after its descriptor.
fn described(payload: &[u8]) -> Option<(bool, &[u8])> {
    let (first, mut rest) = payload.split_first()?;
    let starts = first & 0x10 != 0 && first & 0x0f == 0;
    if first & 0x80 != 0 {
        let (extensions, behind) = rest.split_first()?;
        let [has_picture, has_level, has_layer] = [0x80, 0x40, 0x30].map(|bits| extensions & bits != 0);
        rest = behind;
        if has_picture {
            // 7 or 15 bits.
            let long = rest.first()? & 0x80 != 0;
            rest = rest.get(1 + usize::from(long)..)?;
        }
        rest = rest.get(usize::from(has_level) + usize::from(has_layer)..)?;
    }
    Some((starts, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_those_of_the_rfc() {
        for (payload, starts, len) in [
            (&[0x10, 7][..], true, 1),
            (&[0x00, 7], false, 1),
            // Its second partition.
            (&[0x11, 7], false, 1),
            (&[0x90, 0x80, 0x11, 7], true, 1),
            (&[0x90, 0x80, 0x92, 0x34, 7], true, 1),
            (&[0xb0, 0xf0, 0x92, 0x34, 5, 0x40, 7, 7], true, 2),
            (&[0x90, 0x20, 0x40, 7], true, 1),
            (&[0x90, 0x40, 5, 7], true, 1),
        ] {
            let (found, rest) = described(payload).expect("whole");
            assert_eq!((found, rest.len()), (starts, len), "{payload:?}");
        }
        for cut in [&[][..], &[0x90], &[0x90, 0x80], &[0x90, 0x80, 0x92], &[0x90, 0x60, 5]] {
            assert_eq!(described(cut), None, "{cut:?}");
        }
    }

    #[test]
    fn a_frame_begins_once_and_a_key_frame_has_its_start_code() {
        let key = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 1, 0xb4, 0];
        let mut assembler = Assembler::default();
        assert_eq!(assembler.push(&[0x00, 1]), Err(Broken), "its beginning is missing");
        assert_eq!(assembler.push(&[&[0x10][..], &key].concat()), Ok(10));
        assert_eq!(assembler.push(&[0x10, 1]), Err(Broken), "it begins twice");
        assert_eq!(assembler.push(&[0x00]), Err(Broken), "nothing");
        assert_eq!(assembler.push(&[0x01, 9]), Ok(11));
        assert_eq!(assembler.finish(), Ok(Some((true, [&key[..], &[9]].concat().into()))));
        assert_eq!(assembler.finish(), Err(Broken));
        assert_eq!(assembler.push(&[0x10, 0x11]), Ok(1));
        assert_eq!(assembler.finish(), Ok(Some((false, [0x11].into()))));
        for wrong in [&key[..9], &[0x10, 0, 0, 0x9d, 0x01, 0x2b, 0x40, 1, 0xb4, 0]] {
            assert_eq!(assembler.push(&[&[0x10][..], wrong].concat()), Ok(wrong.len()));
            assert_eq!(assembler.finish(), Err(Broken));
        }
    }
}
