//! The payload types of a session, each with its codec.

use crate::media::Codec;

/// Constrained baseline, without its level: what browsers offer first and encoders for them make.
const CONSTRAINED_BASELINE: u32 = 0x42_e000;
/// A payload type that was chosen, with its retransmissions'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) struct Choice {
    pub(in crate::rtc) codec: Codec,
    pub(in crate::rtc) pt: u8,
    pub(in crate::rtc) rtx: Option<u8>,
    /// `profile-level-id`, for H.264.
    pub(in crate::rtc) profile: u32,
    /// Each side has a level of its own (RFC 6184, 8.1).
    pub(in crate::rtc) asymmetric: bool,
}

impl Choice {
    /// What we propose where the other side has not spoken yet.
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

    pub(in crate::rtc) fn payload_types(&self) -> impl Iterator<Item = u8> + use<> {
        [Some(self.pt), self.rtx].into_iter().flatten()
    }
}
