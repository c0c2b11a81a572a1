//! The payload types of a session and their codecs.

use crate::media::Codec;

/// Constrained baseline, without a level: what browsers offer first and our encoders produce.
const CONSTRAINED_BASELINE: u32 = 0x42_e000;
/// A chosen payload type and that of its retransmissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) struct Choice {
    pub(in crate::rtc) codec: Codec,
    pub(in crate::rtc) pt: u8,
    pub(in crate::rtc) rtx: Option<u8>,
    /// `profile-level-id`, for H.264.
    pub(in crate::rtc) profile: u32,
    /// Whether each side may use its own level (RFC 6184, 8.1).
    pub(in crate::rtc) asymmetric: bool,
}

impl Choice {
    /// Returns the payload type to propose before the other side's description is known.
    pub(in crate::rtc) fn proposal(codec: Codec, level: u8) -> Choice {
        let (pt, rtx) = match codec {
            Codec::H264 => (96, Some(97)),
            Codec::Vp8 => (98, Some(99)),
            Codec::Opus => (111, None),
            // RFC 3551, table 5.
            Codec::Jpeg => (26, None),
        };
        Choice { codec, pt, rtx, profile: CONSTRAINED_BASELINE | u32::from(level), asymmetric: true }
    }

    /// Returns what each payload type means: its codec, and for retransmissions the payload type that they repeat.
    pub(in crate::rtc) fn meanings(&self) -> impl Iterator<Item = (u8, Codec, Option<u8>)> + use<> {
        let Choice { codec, pt, rtx, .. } = *self;
        [Some((pt, codec, None)), rtx.map(|rtx| (rtx, codec, Some(pt)))].into_iter().flatten()
    }

    pub(in crate::rtc) fn payload_types(&self) -> impl Iterator<Item = u8> + use<> {
        [Some(self.pt), self.rtx].into_iter().flatten()
    }
}
