//! The small rendition: its size and frame rate, and which encoder makes it.
//!
//! Whether two encoders work at the same time shows only when both run, and a trial of each at the start would cost
//! time that most viewers never need. So candidates are not tried beforehand: one that fails is rebuilt or replaced by
//! the next while the main rendition continues, and without candidates the rendition is withdrawn.

use std::time::Duration;

use super::check;
use super::encoders::Chosen;
use super::raw::RawVideo;
use super::settings::CaptureSettings;
use crate::media::board::{Elements, Profile};
use crate::media::source::life::GOOD_RUN;

/// Its part of the main rendition's initial bitrate, unless it was commanded: it has an eighth of the pixels, which need
/// more bits each.
pub(super) const BITRATE_PART: u32 = 4;
/// Half of a usual rate, at which motion is still smooth enough to follow.
const MAX_FPS: u32 = 15;
/// The narrowest frame in which people can still be recognized; the same limit as that of the quality ladder.
const MIN_WIDTH: u32 = 160;
/// How often an encoder that has made frames may fail in a row before the next one is used.
const MAX_FAILURES: u32 = 3;

/// Size and frame rate of the small rendition of captured frames.
pub(super) fn of(captured: RawVideo) -> RawVideo {
    let RawVideo { width, height, fps } = captured;
    let even = |length: u32| length / 2 * 2;
    // A main rendition that is narrower keeps its size.
    let narrow = even(width / 2).max(MIN_WIDTH).min(width.max(16));
    let low = u64::from(height) * u64::from(narrow) / u64::from(width.max(1));
    // 16 is the smallest block that can be encoded.
    let low = even(u32::try_from(low).unwrap_or(u32::MAX)).max(16);
    RawVideo { width: narrow, height: low, fps: fps.min(MAX_FPS) }
}

/// The encoders that can make the small rendition; the first one is in use.
#[derive(Clone, Debug)]
pub(super) struct Small {
    candidates: Vec<Chosen>,
    /// Of the first one, in a row.
    failures: u32,
}

impl Small {
    /// The board's candidates for a main rendition that `main` encodes. A hardware encoder is only one if it is the
    /// same, since the others failed their trial or are not wanted.
    pub(super) fn new(
        settings: &CaptureSettings,
        profile: &Profile,
        elements: &Elements,
        main: &Chosen,
    ) -> Small {
        let named = profile.small_candidates(elements).into_iter().filter(|_| settings.small);
        let usable = named.filter(|(name, element)| {
            let allowed = settings.encoders.is_empty() || settings.encoders.contains(name);
            allowed && (!element.hardware || *name == main.name) && check::has(name)
        });
        Small { candidates: usable.map(|(name, element)| Chosen { name, element }).collect(), failures: 0 }
    }

    #[cfg(test)]
    pub(super) fn only(encoder: Chosen) -> Small {
        Small { candidates: vec![encoder], failures: 0 }
    }

    /// The encoder to use; `None` if there is none, or none is left.
    pub(super) fn encoder(&self) -> Option<&Chosen> {
        self.candidates.first()
    }

    /// The encoder failed, after it had made frames for this time. Says which one is used next.
    ///
    /// One that never made any does not work on this machine.
    pub(super) fn handle_failure(&mut self, ran: Option<Duration>) -> Option<&Chosen> {
        self.failures = match ran {
            None => MAX_FAILURES,
            Some(ran) if ran >= GOOD_RUN => 1,
            Some(_) => self.failures + 1,
        };
        if self.failures >= MAX_FAILURES && !self.candidates.is_empty() {
            self.candidates.remove(0);
            self.failures = 0;
        }
        self.encoder()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::board;

    fn small(names: &[&str]) -> Small {
        let elements = board::elements();
        let chosen = |name: &&str| Chosen { name: (*name).into(), element: elements.encoder[*name].clone() };
        Small { candidates: names.iter().map(chosen).collect(), failures: 0 }
    }

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
    fn an_encoder_that_never_worked_is_replaced_and_one_that_did_is_rebuilt() {
        const SECOND: Duration = Duration::from_secs(1);
        let name = |chosen: Option<&Chosen>| chosen.map(|chosen| chosen.name.clone());
        let (v4l2, x264) = (Some("v4l2h264enc".to_owned()), Some("x264enc".to_owned()));
        let mut one = small(&["v4l2h264enc", "x264enc"]);
        assert_eq!(name(one.encoder()), v4l2);
        assert_eq!(name(one.handle_failure(None)), x264);
        assert_eq!(name(one.handle_failure(None)), None, "nothing is left");
        assert_eq!(name(one.handle_failure(Some(SECOND))), None);

        let mut two = small(&["v4l2h264enc", "x264enc"]);
        assert_eq!(name(two.handle_failure(Some(SECOND))), v4l2);
        assert_eq!(name(two.handle_failure(Some(SECOND))), v4l2);
        // A good run is a new beginning.
        assert_eq!(name(two.handle_failure(Some(GOOD_RUN))), v4l2);
        assert_eq!(name(two.handle_failure(Some(SECOND))), v4l2);
        assert_eq!(name(two.handle_failure(Some(SECOND))), x264, "three in a row");
        assert_eq!(name(two.handle_failure(Some(SECOND))), x264, "which begins anew");
    }

    #[test]
    fn a_hardware_encoder_is_used_twice_and_no_other() {
        gstreamer::init().expect("GStreamer");
        let elements = board::elements();
        // Elements that are installed here stand for hardware ones.
        let mut hardware = elements.clone();
        hardware.encoder.get_mut("x264enc").expect("it is known").hardware = true;
        let (profile, _) = board::named("generic", &elements).expect("it is built in");
        let names = |settings: &CaptureSettings, elements: &Elements, main: &str| {
            let main = Chosen { name: main.into(), element: elements.encoder[main].clone() };
            let found = Small::new(settings, &profile, elements, &main);
            found.candidates.into_iter().map(|chosen| chosen.name).collect::<Vec<_>>()
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
