//! What this side supplies to a call: the streams it can send, and the kinds of media it receives.

use crate::media::frame::sps;
use crate::media::{Codec, Kind, StreamId, StreamInfo};
#[cfg(feature = "recv")]
use crate::rtc::Directions;

/// The level to announce if a stream is unknown: that of 1280x720 at 30 fps.
const COMMON_LEVEL: u8 = 31;

/// A stream that can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) struct Sendable {
    pub(in crate::rtc) id: StreamId,
    pub(in crate::rtc) codec: Codec,
    rendition: u8,
    /// `level_idc`, for H.264.
    pub(in crate::rtc) level: u8,
}

/// The policy for data channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::rtc) enum Data {
    /// Declines a section for them.
    #[default]
    Declined,
    /// Accepts an offered section.
    Accepted,
    /// Offers a section, and accepts one.
    Offered,
}

impl Data {
    /// Returns the policy for what the owner of a session wants.
    pub(in crate::rtc) fn of(wanted: Option<bool>) -> Data {
        match wanted {
            Some(false) => Data::Declined,
            None => Data::Accepted,
            Some(true) => Data::Offered,
        }
    }
}

/// What we can send and receive in a call.
#[derive(Clone, Debug, Default)]
pub(in crate::rtc) struct Supply {
    /// In order of preference, one per codec.
    streams: Vec<Sendable>,
    /// The kinds that we receive; none without the feature `recv`.
    takes: Vec<Kind>,
    /// Whether we receive several encodings of a video.
    takes_layers: bool,
    data: Data,
}

impl Supply {
    /// Sets the available streams, in order of preference. Uses the best rendition of each codec; ignores codecs that
    /// we don't send over RTP.
    pub(in crate::rtc) fn set(&mut self, streams: &[StreamInfo]) {
        let mut found: Vec<Sendable> = vec![];
        for info in streams.iter().filter(|info| is_carried(info.codec)) {
            let known = self.streams.iter().find(|known| known.id == info.id);
            let stream = Sendable {
                id: info.id,
                codec: info.codec,
                rendition: info.rendition,
                // An encoder that is temporarily reduced will return to its level.
                level: level(info).max(known.map_or(0, |known| known.level)),
            };
            match found.iter_mut().find(|other| other.codec == info.codec) {
                Some(other) if stream.rendition < other.rendition => *other = stream,
                Some(_) => {}
                None => found.push(stream),
            }
        }
        self.streams = found;
    }

    /// Whether there is no audio or video to send or receive.
    pub(in crate::rtc) fn has_no_media(&self) -> bool {
        self.streams.is_empty() && self.takes.is_empty()
    }

    pub(in crate::rtc) fn data(&self) -> Data {
        self.data
    }

    pub(in crate::rtc) fn with_data(self, data: Data) -> Supply {
        Supply { data, ..self }
    }

    #[cfg(test)]
    pub(in crate::rtc) fn take(&mut self, kinds: &[Kind]) {
        self.takes = kinds.to_vec();
    }

    /// Returns what a session with these directions sends and receives.
    #[cfg(feature = "recv")]
    pub(in crate::rtc) fn directed(&self, directions: &Directions) -> Supply {
        let sent = |stream: &&Sendable| directions.send.contains(&stream.codec.kind());
        Supply {
            streams: self.streams.iter().filter(sent).copied().collect(),
            takes: directions.receive.iter().copied().collect(),
            takes_layers: directions.simulcast,
            data: self.data,
        }
    }

    /// Returns the streams of a kind, in order of preference.
    pub(in crate::rtc) fn streams(&self, kind: Kind) -> impl Iterator<Item = &Sendable> {
        self.streams.iter().filter(move |stream| stream.codec.kind() == kind)
    }

    /// Whether we receive a kind of media.
    pub(in crate::rtc) fn takes(&self, kind: Kind) -> bool {
        self.takes.contains(&kind)
    }

    /// Whether we receive several encodings of a video.
    pub(in crate::rtc) fn takes_layers(&self) -> bool {
        self.takes_layers
    }

    /// Returns the codecs for a section of a kind, with the level for H.264: first those of available streams, then the
    /// rest, for sections in which we send nothing.
    pub(in crate::rtc) fn codecs(&self, kind: Kind) -> impl Iterator<Item = (Option<StreamId>, Codec, u8)> {
        let known: &[Codec] = match kind {
            Kind::Audio => &[Codec::Opus],
            Kind::Video => &[Codec::H264, Codec::Vp8],
        };
        let streams = self.streams(kind).map(|stream| (Some(stream.id), stream.codec, stream.level));
        streams.chain(known.iter().map(|codec| (None, *codec, self.level())))
    }

    /// Returns what our offer proposes for a section of a kind: each codec once.
    pub(in crate::rtc) fn proposals(
        &self,
        kind: Kind,
    ) -> impl Iterator<Item = (Option<StreamId>, Codec, u8)> {
        let sent = |codec| self.streams.iter().any(|stream| stream.codec == codec);
        let takes = self.takes(kind);
        self.codecs(kind).filter(move |(stream, codec, _)| stream.is_some() || takes && !sent(*codec))
    }

    /// Returns the level to announce for H.264.
    pub(in crate::rtc) fn level(&self) -> u8 {
        let h264 = self.streams.iter().find(|stream| stream.codec == Codec::H264);
        h264.map_or(COMMON_LEVEL, |stream| stream.level)
    }
}

/// Whether we can send a codec over RTP.
pub(in crate::rtc) fn is_carried(codec: Codec) -> bool {
    match codec {
        Codec::H264 | Codec::Vp8 | Codec::Opus => true,
        Codec::Jpeg => false,
    }
}

/// Returns the level that a stream needs, from its encoder or from its size and frame rate.
fn level(info: &StreamInfo) -> u8 {
    let Some(format) = info.video() else { return 0 };
    let made = format.profile_level_id.map(|[_, _, level]| level);
    let known = format.width > 0 && format.height > 0;
    let needed = known.then(|| sps::level(format.width, format.height, format.fps));
    made.max(needed).unwrap_or(COMMON_LEVEL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Format, VideoFormat};

    fn stream(id: u32, codec: Codec, rendition: u8) -> StreamInfo {
        let mut info = StreamInfo::new(StreamId(id), codec);
        info.rendition = rendition;
        info
    }

    fn h264(width: u32, height: u32, level: Option<u8>) -> StreamInfo {
        let profile_level_id = level.map(|level| [0x42, 0xe0, level]);
        stream(0, Codec::H264, 0).with_format(Format::Video(VideoFormat {
            width,
            height,
            fps: 30,
            profile_level_id,
        }))
    }

    #[test]
    fn the_order_is_kept_and_the_best_rendition_of_each_codec_counts() {
        let mut supply = Supply::default();
        supply.set(&[
            stream(9, Codec::Jpeg, 0),
            stream(1, Codec::Vp8, 0),
            stream(2, Codec::H264, 1),
            stream(3, Codec::Opus, 0),
            stream(4, Codec::H264, 0),
            stream(5, Codec::H264, 2),
        ]);
        let ids = |kind| supply.streams(kind).map(|stream| stream.id.0).collect::<Vec<_>>();
        assert_eq!((ids(Kind::Video), ids(Kind::Audio)), (vec![1, 4], vec![3]));
        assert!(!supply.takes(Kind::Video) && !supply.takes(Kind::Audio));
        supply.set(&[stream(9, Codec::Jpeg, 0)]);
        assert!(supply.has_no_media());
    }

    #[test]
    fn a_level_follows_from_the_format_and_never_falls() {
        let mut supply = Supply::default();
        let mut level = |info: StreamInfo| {
            supply.set(&[info]);
            supply.level()
        };
        assert_eq!(level(h264(0, 0, None)), 31);
        assert_eq!(level(h264(1920, 1080, None)), 40);
        assert_eq!(level(h264(640, 360, Some(30))), 40, "asked for less for a while");
        assert_eq!(level(h264(640, 360, Some(51))), 51, "what the encoder says");
        assert_eq!(level(stream(1, Codec::H264, 0)), 31, "another stream");
        assert_eq!(level(h264(640, 360, Some(13))), 31, "what browsers offer");
    }
}
