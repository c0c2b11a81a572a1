//! The formats of a section: which of them carries the output of our encoders best.

use super::payload::Choice;
use super::sdp::{Format, Section};
use crate::media::Codec;

/// The profile if none is given: baseline (RFC 6184, 8.1), here with the common level 3.1.
pub(super) const NO_PROFILE: u32 = 0x42_001f;

/// Its name for people.
pub(super) fn words(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => "H264 42e01f mode 1",
        Codec::Vp8 => "VP8",
        Codec::Opus => "opus",
        Codec::Jpeg => "JPEG",
    }
}

/// Whether a format's name allows this codec; a format without a name allows any.
pub(super) fn is_named(f: &Format, codec: Codec) -> bool {
    f.name.is_empty()
        || f.is(match codec {
            Codec::H264 => "H264/90000",
            Codec::Vp8 => "VP8/90000",
            Codec::Opus => "opus/48000/2",
            Codec::Jpeg => "JPEG/90000",
        })
}

/// Whether a format can carry the output of our encoders.
pub(super) fn matches(f: &Format, codec: Codec) -> bool {
    let mode =
        || f.param("packetization-mode") == Some("1") && profile_of(f).is_some_and(|p| rank(p).is_some());
    !f.name.is_empty() && is_named(f, codec) && (codec != Codec::H264 || mode())
}

/// Returns the `profile-level-id` of a format; `None` if it is invalid.
pub(super) fn profile_of(f: &Format) -> Option<u32> {
    let Some(id) = f.param("profile-level-id") else { return Some(NO_PROFILE) };
    u32::from_str_radix(id, 16).ok().filter(|_| id.len() == 6)
}

/// Ranks how well a decoder of a profile suits a constrained baseline stream, 0 for best; `None` if not at all
/// (H.264, A.2). Baseline has tools that main and high lack, but constrained baseline is a subset of each.
fn rank(profile: u32) -> Option<u8> {
    let constraint_set1 = profile & 0x4000 != 0;
    match profile >> 16 {
        0x42 if constraint_set1 => Some(0),
        0x42 => Some(1),
        // Main, High, High 10, High 4:2:2, High 4:4:4 Predictive.
        0x4d => Some(2),
        0x64 => Some(3),
        0x6e | 0x7a | 0xf4 => Some(4),
        _ => None,
    }
}

/// Chooses the best payload type of a section for a codec.
pub(super) fn choose(s: &Section, codec: Codec, level: u8) -> Option<Choice> {
    // 64 to 95 collide with RTCP packet types on a shared port (RFC 5761 4).
    let usable = |pt: u8| !(64..96).contains(&pt);
    let candidates = s.formats.iter().filter(|f| usable(f.pt) && matches(f, codec));
    let best = candidates.min_by_key(|f| match codec {
        Codec::H264 => profile_of(f).and_then(rank),
        _ => None,
    })?;
    let rtx = s.formats.iter().find(|f| {
        codec.is_video()
            && usable(f.pt)
            && f.pt != best.pt
            && f.is("rtx/90000")
            && f.param("apt").and_then(|apt| apt.parse().ok()) == Some(best.pt)
    });
    let asymmetric = best.param("level-asymmetry-allowed") == Some("1");
    let offered = profile_of(best).unwrap_or(NO_PROFILE);
    // The offered profile (RFC 6184, 8.2.2), with a level that covers what we send, if levels may differ.
    let profile = if asymmetric { offered & 0xff_ff00 | (offered & 0xff).max(level.into()) } else { offered };
    Some(Choice { codec, pt: best.pt, rtx: rtx.map(|f| f.pt), profile, asymmetric })
}
