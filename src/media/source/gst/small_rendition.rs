//! The small rendition: its size, its frame rate, and its encoder.
//!
//! Only when both run does it show whether two encoders work at the same time, and a trial at the start would take time
//! for something that most viewers never need. So candidates are not tried beforehand: see [`Candidates`]. If none
//! works, the rendition is withdrawn.

use super::candidates::{Candidates, Chosen};
use super::check;
use super::raw::RawVideo;
use super::settings::CaptureSettings;
use crate::media::board::{Elements, Profile};

/// Its initial bitrate is the main rendition's divided by this, unless another was commanded: it has an eighth of the
/// pixels a second, but each needs more bits.
pub(super) const BITRATE_PART: u32 = 4;
/// Half of a usual rate, at which motion is still smooth enough to follow.
const MAX_FPS: u32 = 15;
/// The narrowest frame in which people can still be recognized; the quality ladder has the same limit.
const MIN_WIDTH: u32 = 160;

/// Size and frame rate of the small rendition of captured frames.
pub(super) fn of(captured: RawVideo) -> RawVideo {
    let RawVideo { width, height, fps } = captured;
    let even = |length: u32| length / 2 * 2;
    // A narrower main rendition keeps its size.
    let narrow = even(width / 2).max(MIN_WIDTH).min(width.max(16));
    let low = u64::from(height) * u64::from(narrow) / u64::from(width.max(1));
    // 16 is the smallest block that can be encoded.
    let low = even(u32::try_from(low).unwrap_or(u32::MAX)).max(16);
    RawVideo { width: narrow, height: low, fps: fps.min(MAX_FPS) }
}

/// The board's candidates for the small rendition, if `main` encodes the main one. The only hardware encoder among them
/// is `main` itself, since the others failed their trial or are not wanted.
pub(super) fn candidates(
    settings: &CaptureSettings,
    profile: &Profile,
    elements: &Elements,
    main: &str,
) -> Candidates {
    let named = profile.small_candidates(elements).into_iter().filter(|_| settings.small);
    let usable = named.filter(|(name, element)| {
        let allowed = settings.encoders.is_empty() || settings.encoders.contains(name);
        allowed && (!element.hardware || name == main) && check::has(name)
    });
    Candidates::new(usable.map(|(name, element)| Chosen { name, element }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::board;

    #[test]
    fn it_has_half_the_size_and_keeps_the_aspect_ratio() {
        for (size, fps, expected) in [
            ((1920, 1080), 30, (960, 540, 15)),
            ((1280, 720), 60, (640, 360, 15)),
            ((1280, 720), 10, (640, 360, 10)),
            ((640, 480), 30, (320, 240, 15)),
            ((406, 720), 30, (202, 358, 15)),
            ((320, 180), 30, (160, 90, 15)),
            ((240, 180), 30, (160, 120, 15)),
            ((128, 96), 30, (128, 96, 15)),
            ((1280, 16), 30, (640, 16, 15)),
            ((16, 16), 1, (16, 16, 1)),
            ((7680, 4320), 240, (3840, 2160, 15)),
        ] {
            let RawVideo { width, height, fps: rate } = of(RawVideo { width: size.0, height: size.1, fps });
            assert_eq!((width, height, rate), expected, "{size:?} at {fps}");
        }
    }

    #[test]
    fn a_hardware_encoder_is_used_twice_and_no_other() {
        gstreamer::init().expect("GStreamer");
        let elements = board::elements();
        // Installed elements stand in for hardware ones.
        let mut hardware = elements.clone();
        hardware.encoder.get_mut("x264enc").expect("it is known").hardware = true;
        let (profile, _) = board::named("generic", &elements).expect("it is built in");
        let names = |settings: &CaptureSettings, elements: &Elements, main: &str| {
            candidates(settings, &profile, elements, main).names()
        };
        let any = CaptureSettings::default();
        assert_eq!(names(&any, &hardware, "x264enc"), ["x264enc", "openh264enc"]);
        assert_eq!(names(&any, &hardware, "openh264enc"), ["openh264enc"], "x264enc was rejected");
        assert_eq!(names(&any, &elements, "openh264enc"), ["x264enc", "openh264enc"]);
        let asked = CaptureSettings { encoders: vec!["openh264enc".into()], ..any.clone() };
        assert_eq!(names(&asked, &elements, "openh264enc"), ["openh264enc"], "no other was allowed");
        assert!(names(&CaptureSettings { small: false, ..any }, &elements, "x264enc").is_empty());
    }
}
