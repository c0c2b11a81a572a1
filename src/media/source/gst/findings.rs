//! What a source reports about itself once it is open.

use crate::media::source::frame_rate_check::FrameRateVerdict;

/// A fact about an open source.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    Video,
    Audio,
    /// There are no further streams.
    NoMore,
    /// A camera's H.264 has a profile that browsers may not support.
    Foreign([u8; 3]),
    /// The frames have a different size than negotiated.
    Size(u32, u32),
    /// The camera's frame rate became worse or better.
    Pace(FrameRateVerdict),
    /// The file contains a single picture.
    Still,
    /// The audio of a file with a still picture has ended.
    SoundEnded,
    /// The frames have a different size from now on.
    Resized,
}
