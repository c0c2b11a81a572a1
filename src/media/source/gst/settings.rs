//! What to capture and how to encode it.

use std::time::Duration;

use crate::media::board::Board;
use crate::media::error::{ErrorKind, MediaError};
use crate::media::source::Location;

/// What to capture and how to encode it.
#[derive(Clone, Debug, PartialEq)]
pub struct CaptureSettings {
    /// Where video and audio come from.
    pub source: Location,
    /// Width of the frames in pixels. The test pattern has it exactly; other sources are scaled down,
    /// never up, to fit into `width` x `height` with their shape kept.
    pub width: u32,
    /// Height of the frames in pixels.
    pub height: u32,
    /// Frames a second, at most.
    pub fps: u32,
    /// The video bitrate to start with, in bit/s; later see [`Command::Bitrate`](crate::media::source::Command).
    pub bitrate: u32,
    /// Whether to take the source's audio.
    pub audio: bool,
    /// The board's profile: which encoders are tried, in which order and with which settings.
    pub board: Board,
    /// The H.264 encoders to try, by their GStreamer names, in this order. Empty: those of the board.
    pub encoders: Vec<String>,
    /// A key frame comes this often, asked for or not; encoders count it in frames, so a source slower than
    /// `fps` takes longer. Viewers ask when they need one, so it can be long.
    pub key_interval: Duration,
    /// Whether a file starts again at its end.
    pub repeat: bool,
    /// Whether H.264 that a camera makes itself goes to the viewers as it is, where it is what browsers take.
    pub pass_through: bool,
}

impl Default for CaptureSettings {
    /// The test pattern in 1280 x 720, 30 frames a second, 1 Mbit/s, with audio.
    fn default() -> Self {
        CaptureSettings {
            source: Location::Test,
            width: 1280,
            height: 720,
            fps: 30,
            bitrate: 1_000_000,
            audio: true,
            board: Board::Auto,
            encoders: Vec::new(),
            key_interval: Duration::from_secs(10),
            repeat: true,
            pass_through: true,
        }
    }
}

impl CaptureSettings {
    pub(super) fn check(&self) -> Result<(), MediaError> {
        let wrong = if !(64..=7680).contains(&self.width) || !(64..=4320).contains(&self.height) {
            format!(
                "a picture of {} x {} is not possible: 64 x 64 to 7680 x 4320 is",
                self.width, self.height
            )
        } else if !self.width.is_multiple_of(2) || !self.height.is_multiple_of(2) {
            format!("a picture of {} x {} is not possible: both must be even", self.width, self.height)
        } else if !(1..=240).contains(&self.fps) {
            format!("{} pictures a second are not possible: 1 to 240 are", self.fps)
        } else if self.bitrate < 10_000 {
            format!("{} bit/s are too few for pictures: give 10000 at least", self.bitrate)
        } else {
            return Ok(());
        };
        Err(MediaError::new(ErrorKind::BadSettings, wrong))
    }
}
