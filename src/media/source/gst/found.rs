//! What a source turned out to have once it was open.

use crate::media::source::pace::Verdict;

/// What a source turned out to have.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    Video,
    Audio,
    /// That was all.
    NoMore,
    /// A camera's H.264 of a profile that browsers are not promised.
    Foreign([u8; 3]),
    /// Frames of another size than agreed to.
    Size(u32, u32),
    /// The camera's rate changed for the worse or the better.
    Pace(Verdict),
    /// The file holds one picture only.
    Still,
    /// The audio beside a still picture has ended.
    SoundEnded,
    /// Frames have another size from now on.
    Resized,
}
