//! What to capture and how to encode it.

use std::time::Duration;

use super::microphone_settings::Microphone;
use crate::media::board::Board;
use crate::media::echo::EchoReference;
use crate::media::error::{ErrorKind, MediaError};
use crate::media::source::Location;

/// What to capture and how to encode it.
#[derive(Clone, Debug, PartialEq)]
pub struct CaptureSettings {
    /// Where video and audio come from.
    pub source: Location,
    /// Maximum frame width in pixels. The test pattern has exactly this width; other sources are scaled down,
    /// never up, to fit into `width` x `height` with their aspect ratio kept.
    pub width: u32,
    /// Maximum frame height in pixels.
    pub height: u32,
    /// Maximum frame rate, in frames per second.
    pub fps: u32,
    /// Initial video bitrate in bit/s; [`Command::Bitrate`](crate::media::source::Command) changes it later.
    pub bitrate: u32,
    /// Whether to capture audio, if there is any.
    pub audio: bool,
    /// Where audio comes from, if not from the source. A microphone that fails is tried again, and does not stop the
    /// video. Default: from the source.
    pub microphone: Microphone,
    /// What a speaker beside the microphone plays, to be removed from what the microphone hears. Needs GStreamer's
    /// element `webrtcdsp`; without it a warning is logged, and nothing is removed. Default: none.
    pub echo: Option<EchoReference>,
    /// The board profile: which encoders to try, in which order and with which settings.
    pub board: Board,
    /// H.264 encoders to try, by GStreamer element name, in this order. If empty, the board profile decides. The small
    /// rendition uses no others either.
    pub encoders: Vec<String>,
    /// The longest time between key frames. Encoders count it in frames, so it takes longer when the source is
    /// slower than `fps`. It can be long, because viewers request a key frame when they need one.
    pub key_interval: Duration,
    /// Whether to loop a file.
    pub repeat: bool,
    /// Whether to send a camera's own H.264 to viewers unchanged, if browsers can decode it.
    pub pass_through: bool,
    /// Whether to offer a second H.264 stream beside the main one, for viewers with little bandwidth: half the width
    /// and height and at most 15 fps, `rendition` 1. It needs raw frames, and a board whose profile allows two encoders;
    /// its encoder runs only while the stream is wanted.
    pub small: bool,
}

impl Default for CaptureSettings {
    /// The test pattern at 1280x720, 30 fps and 1 Mbit/s, with audio.
    fn default() -> Self {
        CaptureSettings {
            source: Location::Test,
            width: 1280,
            height: 720,
            fps: 30,
            bitrate: 1_000_000,
            audio: true,
            microphone: Microphone::None,
            echo: None,
            board: Board::Auto,
            encoders: Vec::new(),
            key_interval: Duration::from_secs(10),
            repeat: true,
            pass_through: true,
            small: true,
        }
    }
}

impl CaptureSettings {
    pub(super) fn check(&self) -> Result<(), MediaError> {
        let wrong = if !(64..=7680).contains(&self.width) || !(64..=4320).contains(&self.height) {
            format!("the frame size must be between 64x64 and 7680x4320, not {}x{}", self.width, self.height)
        } else if !self.width.is_multiple_of(2) || !self.height.is_multiple_of(2) {
            format!("width and height must be even, not {}x{}", self.width, self.height)
        } else if !(1..=240).contains(&self.fps) {
            format!("fps must be between 1 and 240, not {}", self.fps)
        } else if self.bitrate < 10_000 {
            format!("the bitrate must be at least 10000 bit/s, not {}", self.bitrate)
        } else {
            return Ok(());
        };
        Err(MediaError::new(ErrorKind::BadSettings, wrong))
    }
}
