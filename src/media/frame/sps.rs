//! Parses H.264 streams: NAL units, and the frame size and profile in the SPS.
//!
//! An SDP answer must name the profile that the running encoder produces, and that stands in the sequence
//! parameter set (ITU-T H.264, 7.3.2.1.1). Only what is needed is read; the VUI is not.

/// The NAL unit types that matter here (H.264, table 7-1).
const NAL_IDR: u8 = 5;
const NAL_SPS: u8 = 7;

/// The fields of a sequence parameter set that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// `profile_idc`, the constraint flags, `level_idc`: the `profile-level-id` of RFC 6184, section 8.1.
    pub profile_level_id: [u8; 3],
    /// Width of the visible picture, in pixels.
    pub width: u32,
    /// Height of the visible picture, in pixels.
    pub height: u32,
}

impl Sps {
    /// Parses an SPS NAL unit (with its header byte, without the start code).
    pub fn parse(nal: &[u8]) -> Option<Sps> {
        Sps::read(nal).map(|(sps, _)| sps)
    }

    /// Also returns how many pixels are coded, with those that are cropped.
    fn read(nal: &[u8]) -> Option<(Sps, u64)> {
        let (&header, body) = nal.split_first()?;
        if header & 0x1f != NAL_SPS {
            return None;
        }
        let mut bits = Bits { bytes: body, at: 0, zeros: 0, byte: 0, left: 0 };
        let [profile, flags, level] = [bits.u(8)? as u8, bits.u(8)? as u8, bits.u(8)? as u8];
        bits.ue()?; // seq_parameter_set_id
        let mut chroma = 1;
        // The profiles with a chroma format (7.3.2.1.1).
        if [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135].contains(&profile) {
            chroma = bits.ue()?;
            if chroma == 3 {
                bits.flag()?; // separate_colour_plane_flag
            }
            bits.ue()?; // bit_depth_luma_minus8
            bits.ue()?; // bit_depth_chroma_minus8
            bits.flag()?; // qpprime_y_zero_transform_bypass_flag
            if bits.flag()? {
                for list in 0..if chroma == 3 { 12 } else { 8 } {
                    if bits.flag()? {
                        bits.skip_scaling_list(if list < 6 { 16 } else { 64 })?;
                    }
                }
            }
        }
        bits.ue()?; // log2_max_frame_num_minus4
        match bits.ue()? {
            0 => _ = bits.ue()?, // log2_max_pic_order_cnt_lsb_minus4
            1 => {
                bits.flag()?;
                bits.ue()?;
                bits.ue()?;
                // num_ref_frames_in_pic_order_cnt_cycle is at most 255 (7.4.2.1.1).
                for _ in 0..Some(bits.ue()?).filter(|&n| n <= 255)? {
                    bits.ue()?;
                }
            }
            _ => {}
        }
        bits.ue()?; // max_num_ref_frames
        bits.flag()?; // gaps_in_frame_num_value_allowed_flag
        let width_mbs = bits.ue()?.checked_add(1)?;
        let height_units = bits.ue()?.checked_add(1)?;
        let frame_mbs_only = bits.flag()?;
        if !frame_mbs_only {
            bits.flag()?; // mb_adaptive_frame_field_flag
        }
        bits.flag()?; // direct_8x8_inference_flag
        let fields = if frame_mbs_only { 1 } else { 2 };
        let (crop_x, crop_y) = if bits.flag()? {
            let [left, right, top, bottom] = [bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?];
            let (unit_x, unit_y) = match chroma {
                1 => (2, 2),
                2 => (2, 1),
                _ => (1, 1), // monochrome, 4:4:4 or separate planes (7.4.2.1.1)
            };
            let crop = |a: u32, b: u32, unit: u32| a.checked_add(b)?.checked_mul(unit);
            (crop(left, right, unit_x)?, crop(top, bottom, unit_y * fields)?)
        } else {
            (0, 0)
        };
        let (coded_width, coded_height) =
            (width_mbs.checked_mul(16)?, height_units.checked_mul(16 * fields)?);
        let width = coded_width.checked_sub(crop_x)?;
        let height = coded_height.checked_sub(crop_y)?;
        // What is cropped is less than all (7.4.2.1.1).
        let is_picture = width > 0 && height > 0;
        let coded = u64::from(coded_width) * u64::from(coded_height);
        is_picture.then_some((Sps { profile_level_id: [profile, flags, level], width, height }, coded))
    }

    /// Finds and parses the first SPS in an Annex B access unit.
    pub fn find(access_unit: &[u8]) -> Option<Sps> {
        nal_units(access_unit).find_map(Sps::parse)
    }

    /// Whether this is (constrained) baseline, which every browser that has H.264 decodes. Plain baseline
    /// counts: the tools that constrained baseline takes away (H.264, A.2.1.1) no encoder in use makes.
    pub fn is_baseline(&self) -> bool {
        self.profile_level_id[0] == 66
    }
}

/// How a stream compares with its negotiated `profile-level-id` (RFC 6184, 8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Agreement {
    /// It matches.
    Kept,
    /// Its level is higher than negotiated, which `level-asymmetry-allowed` permits and browsers decode.
    HigherLevel,
    /// It needs coding tools that were not negotiated: a decoder may show nothing.
    OtherProfile,
}

/// Compares a stream's profile, constraints and level with the negotiated ones.
pub fn agreement(stream: [u8; 3], negotiated: [u8; 3]) -> Agreement {
    let [profile, constraints, level] = stream;
    // Baseline without the flag of its constrained form is taken for that: see `Sps::is_baseline`. Main and
    // high streams with the flag of constrained baseline are one (A.2.1).
    let constrained = profile == 66 || (matches!(profile, 77 | 88) && constraints & 0x80 != 0);
    // Each of these has all tools of those before it (A.2), plain baseline apart.
    let step = |profile: u8| [66, 77, 100, 110, 122, 244].iter().position(|p| *p == profile);
    let decodes = match (step(if constrained { 66 } else { profile }), step(negotiated[0])) {
        (Some(stream), Some(decoder)) => stream <= decoder,
        _ => profile == negotiated[0],
    };
    if !decodes {
        Agreement::OtherProfile
    } else if level > negotiated[2] {
        Agreement::HigherLevel
    } else {
        Agreement::Kept
    }
}

/// The least common level (table A-1, macroblocks a frame and a second) that a size fits, as `level_idc`: ten times
/// its number. Nothing below 3.1, which browsers offer, and below which some hardware hangs.
///
/// ```
/// use symple::media::frame::sps::level;
/// assert_eq!((level(1280, 720, 30), level(1920, 1080, 30)), (31, 40));
/// ```
pub fn level(width: u32, height: u32, fps: u32) -> u8 {
    let frame = u64::from(width.div_ceil(16)) * u64::from(height.div_ceil(16));
    let second = frame * u64::from(fps);
    match (frame, second) {
        (..=3_600, ..=108_000) => 31,
        (..=8_192, ..=245_760) => 40,
        (..=8_704, ..=522_240) => 42,
        (..=22_080, ..=589_824) => 50,
        _ => 52,
    }
}

/// Returns the pixels for which an Annex B access unit makes a decoder allocate: the most of all its SPSs, and
/// [`u64::MAX`] if one of them cannot be parsed.
#[cfg(feature = "gst")]
pub(in crate::media) fn coded_pixels(access_unit: &[u8]) -> u64 {
    let sets = nal_units(access_unit).filter(|nal| nal[0] & 0x1f == NAL_SPS);
    sets.map(|nal| Sps::read(nal).map_or(u64::MAX, |(_, coded)| coded)).max().unwrap_or(0)
}

/// Whether an Annex B access unit holds an IDR picture: nothing before it is needed to decode it.
pub fn is_idr(access_unit: &[u8]) -> bool {
    nal_units(access_unit).any(|nal| nal.first().is_some_and(|header| header & 0x1f == NAL_IDR))
}

/// The NAL units of an Annex B byte stream (H.264, annex B), without start codes.
pub fn nal_units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(stream);
    std::iter::from_fn(move || {
        let nal = rest?;
        let end = find_start_code(nal).unwrap_or(nal.len());
        rest = after_start_code(&nal[end..]);
        // Zeros before a start code belong to it; a NAL unit never ends in one (7.4.1).
        let end = nal[..end].iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        Some(&nal[..end])
    })
    .filter(|nal| !nal.is_empty())
}

fn find_start_code(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|window| window == [0, 0, 1])
}

fn after_start_code(bytes: &[u8]) -> Option<&[u8]> {
    find_start_code(bytes).map(|at| &bytes[at + 3..])
}

/// Reads bits, most significant first, passing over emulation prevention bytes (7.4.1).
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    zeros: u8,
    byte: u8,
    left: u8,
}

impl Bits<'_> {
    fn bit(&mut self) -> Option<u32> {
        if self.left == 0 {
            if self.zeros >= 2 && self.bytes.get(self.at) == Some(&3) {
                self.at += 1;
                self.zeros = 0;
            }
            self.byte = *self.bytes.get(self.at)?;
            self.at += 1;
            self.zeros = if self.byte == 0 { self.zeros + 1 } else { 0 };
            self.left = 8;
        }
        self.left -= 1;
        Some(u32::from(self.byte >> self.left & 1))
    }

    fn flag(&mut self) -> Option<bool> {
        Some(self.bit()? == 1)
    }

    fn u(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |value, _| Some(value << 1 | self.bit()?))
    }

    /// Unsigned Exp-Golomb (9.1), up to 32 bits.
    fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1u32 << zeros) - 1 + self.u(zeros)?)
    }

    fn se(&mut self) -> Option<i64> {
        let code = i64::from(self.ue()?);
        Some(if code % 2 == 1 { (code + 1) / 2 } else { -code / 2 })
    }

    /// 7.3.2.1.1.1
    fn skip_scaling_list(&mut self, size: usize) -> Option<()> {
        let (mut last, mut next) = (8i64, 8i64);
        for _ in 0..size {
            if next != 0 {
                next = (last + self.se()?).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each from an encoder's real output: x264enc, openh264enc.
    type Row = (&'static str, &'static [u8], [u8; 3], u32, u32);
    const SEEN: [Row; 8] = [
        (
            "x264 cropped",
            b"\x67\x42\xc0\x15\xd9\x01\x41\x9f\x9f\x01\x6a\x0c\x0c\x0d\x4a",
            [0x42, 0xc0, 0x15],
            320,
            180,
        ),
        (
            "x264",
            b"\x67\x42\xc0\x1e\xd9\x00\xa0\x2f\xf9\x70\x16\xa0\xc0\xc0\xd4\xa0\x00\x00\x03",
            [0x42, 0xc0, 0x1e],
            640,
            360,
        ),
        (
            "x264 720p",
            b"\x67\x42\xc0\x1f\xd9\x00\x50\x05\xbb\x01\x6a\x02\x02\x02\x80",
            [0x42, 0xc0, 0x1f],
            1280,
            720,
        ),
        (
            "openh264",
            b"\x67\x42\xc0\x1e\x8c\x8d\x40\x50\x17\xfc\xb0\x0f\x08\x84\x6a",
            [0x42, 0xc0, 0x1e],
            640,
            360,
        ),
        (
            "high 1080p",
            b"\x67\x64\x00\x28\xac\xb2\x00\xf0\x04\x4f\xcb\x80\xb5\x01\x01\x01\x40",
            [0x64, 0x00, 0x28],
            1920,
            1080,
        ),
        (
            "high, odd",
            b"\x67\x64\x00\x1e\xac\xb2\x01\x48\x5f\xc4\x49\x80\xb5\x06\x06\x06\xa5",
            [0x64, 0x00, 0x1e],
            642,
            362,
        ),
        (
            "4:4:4",
            b"\x67\xf4\x00\x0d\x91\x96\x40\x50\x67\xe3\x70\x16\xa0\xc0\xc0\xc8",
            [0xf4, 0x00, 0x0d],
            320,
            180,
        ),
        (
            "interlaced",
            b"\x67\x4d\x40\x28\xec\xa0\x3c\x02\x27\xef\x01\x6a\x02\x02\x02\x80",
            [0x4d, 0x40, 0x28],
            1920,
            1080,
        ),
    ];

    #[test]
    fn size_and_profile_are_read() {
        for (name, nal, profile_level_id, width, height) in SEEN {
            assert_eq!(Sps::parse(nal), Some(Sps { profile_level_id, width, height }), "{name}");
        }
    }

    #[test]
    fn a_stream_is_held_against_what_was_negotiated() {
        use Agreement::{HigherLevel, Kept, OtherProfile};
        for (stream, negotiated, expected) in [
            (0x42c01f, 0x42e01f, Kept),
            (0x42c00d, 0x42e01f, Kept),
            (0x42001f, 0x42e01f, Kept),
            (0x4d801f, 0x42e01f, Kept),
            (0x42c028, 0x42e01f, HigherLevel),
            (0x4d401f, 0x42e01f, OtherProfile),
            (0x64001f, 0x42e01f, OtherProfile),
            (0x640028, 0x64001f, HigherLevel),
            (0x42c01f, 0x4d001f, Kept),
            (0x42001f, 0x64001f, Kept),
            (0x4d401f, 0x640028, Kept),
            (0x64001f, 0x4d001f, OtherProfile),
            (0x64001f, 0xf4001f, Kept),
        ] {
            let bytes = |id: u32| [(id >> 16) as u8, (id >> 8) as u8, id as u8];
            assert_eq!(
                agreement(bytes(stream), bytes(negotiated)),
                expected,
                "{stream:06x} {negotiated:06x}"
            );
        }
    }

    #[test]
    fn an_sps_that_stops_short_is_none() {
        for (name, nal, ..) in SEEN {
            for end in 0..8 {
                assert_eq!(Sps::parse(&nal[..end]), None, "{name} cut at {end}");
            }
        }
        assert_eq!(Sps::parse(b"\x68\xcb\x8c\xb2"), None, "a PPS");
    }

    #[test]
    fn an_sps_that_crops_all_of_its_picture_is_none() {
        assert_eq!(Sps::parse(b"\x67\x01\x00\x13\xff\x13\x13"), None);
    }

    #[test]
    fn nal_units_are_found_behind_both_start_codes() {
        let table: [(&[u8], &[&[u8]]); 6] = [
            (b"", &[]),
            (b"\x09\xf0", &[]),
            (b"\0\0\x01\x09\xf0", &[b"\x09\xf0"]),
            (b"\0\0\0\x01\x67\x42\0\0\0\x01\x68\0\0\x01\x65\x88", &[b"\x67\x42", b"\x68", b"\x65\x88"]),
            (b"\0\0\x01\0\0\x01\x65", &[b"\x65"]),
            (b"\0\0\x01\x41\0\0\x03\x01\0\0", &[b"\x41\0\0\x03\x01"]),
        ];
        for (stream, expected) in table {
            assert_eq!(nal_units(stream).collect::<Vec<_>>(), expected, "{stream:?}");
        }
    }

    #[test]
    fn an_idr_is_told_from_other_pictures() {
        assert!(is_idr(b"\0\0\0\x01\x09\x10\0\0\x01\x67\x42\0\0\x01\x65\x88"));
        assert!(!is_idr(b"\0\0\0\x01\x09\x30\0\0\x01\x41\x9a\x65"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..64), at in 0usize..60) {
            _ = Sps::find(&bytes);
            _ = is_idr(&bytes);
            if bytes.len() > 8 {
                bytes[..3].copy_from_slice(&[0x67, 100, 0]);
                let zeros = at % bytes.len();
                bytes[3.min(zeros)..zeros].fill(0);
                _ = Sps::parse(&bytes);
            }
        }
    }
}
