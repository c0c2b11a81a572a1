//! What a source announces about a stream: codec, clock and current format.

use super::Codec;

/// Identifies one stream of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u32);

/// Identifies a clock. Streams with the same clock are in lip sync: their timestamps share one zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClockId(pub u32);

/// The kind of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// Video.
    Video,
    /// Audio.
    Audio,
}

/// A stream as announced by its source.
///
/// ```
/// use symple::media::{Codec, Format, Kind, StreamId, StreamInfo, VideoFormat};
/// let stream = StreamInfo::new(StreamId(7), Codec::H264)
///     .with_format(Format::Video(VideoFormat { width: 1280, height: 720, fps: 30, ..Default::default() }));
/// assert_eq!(stream.kind(), Kind::Video);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// The ID that its frames carry.
    pub id: StreamId,
    /// The codec of its frames. That of a relay's video changes with its publisher.
    pub codec: Codec,
    /// The rank among several streams of the same content; 0 is the best.
    pub rendition: u8,
    /// The clock of its timestamps.
    pub clock: ClockId,
    /// Increases with each change of `format` or `codec`. A generation starts with a key frame.
    pub generation: u32,
    /// The format of its frames, if known. Before the encoder has run, this is its configuration.
    pub format: Format,
}

impl StreamInfo {
    /// Creates a stream with the best rendition, the first clock and an unknown format.
    pub fn new(id: StreamId, codec: Codec) -> StreamInfo {
        let format = match codec.kind() {
            Kind::Video => Format::Video(VideoFormat::default()),
            Kind::Audio => Format::Audio(AudioFormat { channels: 2, sample_rate: codec.clock_rate() }),
        };
        StreamInfo { id, codec, rendition: 0, clock: ClockId::default(), generation: 0, format }
    }

    /// Returns the stream with this format.
    pub fn with_format(self, format: Format) -> StreamInfo {
        StreamInfo { format, ..self }
    }

    /// Whether it is video or audio.
    pub fn kind(&self) -> Kind {
        self.codec.kind()
    }

    /// Its format, if it is a video stream.
    pub fn video(&self) -> Option<VideoFormat> {
        match self.format {
            Format::Video(format) => Some(format),
            Format::Audio(_) => None,
        }
    }

    /// Takes over a format. Says whether it is another one, which begins a new generation.
    pub fn change_format(&mut self, format: Format) -> bool {
        let changed = self.format != format;
        if changed {
            self.generation += 1;
            self.format = format;
        }
        changed
    }

    /// Changes to another video codec, in the same size.
    #[cfg(feature = "relay")]
    pub(crate) fn change_codec(&mut self, codec: Codec) {
        self.codec = codec;
        self.generation += 1;
        if let Format::Video(format) = &mut self.format {
            format.profile_level_id = None;
        }
    }
}

/// The format of a stream's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Video format.
    Video(VideoFormat),
    /// Audio format.
    Audio(AudioFormat),
}

/// Size and frame rate of a video stream; 0 means unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VideoFormat {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Frames per second.
    pub fps: u32,
    /// H.264 only: profile, constraints and level from the SPS (RFC 6184, 8.1).
    pub profile_level_id: Option<[u8; 3]>,
}

/// Channels and sample rate of an audio stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioFormat {
    /// Number of channels: 1 is mono, 2 is stereo.
    pub channels: u8,
    /// Sample rate in Hz.
    pub sample_rate: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_format_is_another_generation() {
        let mut stream = StreamInfo::new(StreamId(0), Codec::H264);
        let small = Format::Video(VideoFormat { width: 320, height: 180, fps: 30, profile_level_id: None });
        assert!(stream.change_format(small) && stream.generation == 1);
        assert!(!stream.change_format(small) && stream.generation == 1);
        assert_eq!(stream.video().map(|format| format.width), Some(320));
    }

    #[test]
    fn sound_has_a_format_before_it_is_heard() {
        let stream = StreamInfo::new(StreamId(2), Codec::Opus);
        assert_eq!(stream.kind(), Kind::Audio);
        assert_eq!(stream.format, Format::Audio(AudioFormat { channels: 2, sample_rate: 48_000 }));
        assert_eq!(stream.video(), None);
    }
}
