//! The raw video for an encoder, and the elements after every H.264 encoder.

use std::time::Duration;

use super::settings::CaptureSettings;
use crate::media::frame::sps;

/// The elements after every H.264 encoder: parameter sets before each key frame, one access unit per buffer.
pub(super) const H264_TAIL: &str =
    "h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au";

/// Size and rate of raw video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RawVideo {
    pub width: u32,
    pub height: u32,
    pub fps: u32,
}

impl RawVideo {
    pub(super) fn of(settings: &CaptureSettings) -> RawVideo {
        let CaptureSettings { width, height, fps, .. } = *settings;
        RawVideo { width, height, fps }
    }

    /// Frames between two key frames.
    pub(super) fn gop(self, interval: Duration) -> u32 {
        let frames = interval.as_secs_f64() * f64::from(self.fps);
        // A cast saturates, so any interval is valid; encoders accept at most an i32.
        (frames as u32).clamp(1, i32::MAX as u32)
    }

    /// The H.264 level as GStreamer writes it.
    pub(super) fn level(self) -> &'static str {
        match sps::level(self.width, self.height, self.fps) {
            31 => "3.1",
            40 => "4",
            42 => "4.2",
            50 => "5",
            _ => "5.2",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_the_lowest_for_the_frames_and_at_least_3_1() {
        for (width, height, fps, level) in [
            (320, 180, 10, "3.1"),
            (1280, 720, 30, "3.1"),
            (1280, 720, 60, "4"),
            (1920, 1080, 30, "4"),
            (1920, 1080, 60, "4.2"),
            (3840, 2160, 30, "5.2"),
        ] {
            assert_eq!(RawVideo { width, height, fps }.level(), level, "{width} x {height}, {fps}");
        }
    }
}
