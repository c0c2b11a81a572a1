//! The size in a JPEG's frame header (ITU-T T.81, B.2.2). Nothing is decoded.

/// Width and height in pixels; `None` if it is not a JPEG or its header has no size.
///
/// ```
/// use symple::media::frame::jpeg::size;
/// let header = [0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0, 180, 1, 64, 1, 0, 0, 0];
/// assert_eq!(size(&header), Some((320, 180)));
/// ```
pub fn size(jpeg: &[u8]) -> Option<(u32, u32)> {
    let mut rest = jpeg.strip_prefix(&[0xff, 0xd8])?;
    loop {
        let (&[mark, kind], after) = rest.split_first_chunk::<2>()?;
        if mark != 0xff {
            return None;
        }
        match kind {
            // A marker may be filled up with 0xff before it (B.1.1.2).
            0xff => rest = &rest[1..],
            // Markers that stand alone.
            0x01 | 0xd0..=0xd7 => rest = after,
            // The image begins, or ends, without a frame header.
            0xd8..=0xda => return None,
            // A frame header, of whatever process; the three others of that row are no such.
            0xc0..=0xcf if !matches!(kind, 0xc4 | 0xc8 | 0xcc) => {
                let &[_, _, _, high, low, wide, narrow] = after.first_chunk::<7>()?;
                let (height, width) = (u16::from_be_bytes([high, low]), u16::from_be_bytes([wide, narrow]));
                return (width > 0 && height > 0).then_some((width.into(), height.into()));
            }
            _ => {
                let length = u16::from_be_bytes(*after.first_chunk()?);
                rest = after.get(usize::from(length).max(2)..)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_found_behind_other_segments_and_never_made_up() {
        let frame = [0xff, 0xc2, 0, 11, 8, 2, 208, 5, 0, 1, 0, 0, 0];
        let app = [0xff, 0xe0, 0, 6, 0xff, 0xc0, 1, 2];
        let start = [0xff, 0xd8];
        let whole = |parts: &[&[u8]]| parts.concat();
        for (name, jpeg, expected) in [
            ("progressive, behind a segment", whole(&[&start, &app, &frame]), Some((1280, 720))),
            ("filled up", whole(&[&start, &[0xff, 0xff], &frame]), Some((1280, 720))),
            ("Huffman tables are no frame", whole(&[&start, &[0xff, 0xc4, 0, 2], &frame]), Some((1280, 720))),
            ("no start", frame.to_vec(), None),
            ("cut off", whole(&[&start, &frame[..7]]), None),
            ("no frame", whole(&[&start, &[0xff, 0xd9]]), None),
            ("a length that leads out", whole(&[&start, &[0xff, 0xe0, 0xff, 0xff]]), None),
            ("a height that comes later", whole(&[&start, &[0xff, 0xc0, 0, 11, 8, 0, 0, 5, 0]]), None),
            ("nothing", vec![], None),
        ] {
            assert_eq!(size(&jpeg), expected, "{name}");
        }
    }
}
