//! What a source announces of a stream: what it is, on which clock, and in which form just now.

use super::Codec;

/// Names one stream of a source. Frames, wishes and drops are told apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u32);

/// Names a clock. Streams of one clock are in lip sync: their presentation times share one zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClockId(pub u32);

/// What a stream is for: something to see or something to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// A stream, as its source announces it.
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
    /// What its frames name.
    pub id: StreamId,
    /// How its frames are coded.
    pub codec: Codec,
    /// Of several streams that show the same, 0 is the best.
    pub rendition: u8,
    /// The clock that its presentation times count on.
    pub clock: ClockId,
    /// Grows with each change of `format`. A generation begins at a key frame.
    pub generation: u32,
    /// What its frames hold, as far as that is known: an encoder that has not run yet is believed its settings.
    pub format: Format,
}

impl StreamInfo {
    /// A stream of the best rendition on the first clock, of a format that is not known yet.
    pub fn new(id: StreamId, codec: Codec) -> StreamInfo {
        let format = match codec.kind() {
            Kind::Video => Format::Video(VideoFormat::default()),
            Kind::Audio => Format::Audio(AudioFormat { channels: 2, sample_rate: codec.clock_rate() }),
        };
        StreamInfo { id, codec, rendition: 0, clock: ClockId::default(), generation: 0, format }
    }

    /// The same stream in this format.
    pub fn with_format(self, format: Format) -> StreamInfo {
        StreamInfo { format, ..self }
    }

    /// Whether it is seen or heard.
    pub fn kind(&self) -> Kind {
        self.codec.kind()
    }

    /// Its format, where it is a video stream.
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
}

/// What the frames of a stream hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Of a video stream.
    Video(VideoFormat),
    /// Of an audio stream.
    Audio(AudioFormat),
}

/// Size and rate of a video stream. What is 0 is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VideoFormat {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Frames a second.
    pub fps: u32,
    /// Of H.264: profile, constraints and level as its SPS has them (RFC 6184, 8.1).
    pub profile_level_id: Option<[u8; 3]>,
}

/// Channels and rate of an audio stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioFormat {
    /// 1 is mono, 2 stereo.
    pub channels: u8,
    /// Samples a second of each channel.
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
