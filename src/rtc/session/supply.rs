//! What this side supplies to a call: the streams it can send, and the kinds of media it receives.

use crate::media::frame::sps;
use crate::media::{Codec, Kind, StreamId, StreamInfo};
#[cfg(feature = "recv")]
use crate::rtc::Directions;

/// The level that is named where nothing is known of a stream: 1280x720 at 30 fps needs it.
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

/// What becomes of data channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::rtc) enum Data {
    /// A section for them is declined.
    #[default]
    Declined,
    /// One is accepted that is offered.
    Accepted,
    /// Our offers have one.
    Offered,
}

impl Data {
    /// By what the owner of a session wants.
    pub(in crate::rtc) fn of(wanted: Option<bool>) -> Data {
        match wanted {
            Some(false) => Data::Declined,
            None => Data::Accepted,
            Some(true) => Data::Offered,
        }
    }
}

/// What we would do in a call.
#[derive(Clone, Debug, Default)]
pub(in crate::rtc) struct Supply {
    /// By preference, one of each codec.
    streams: Vec<Sendable>,
    /// What is taken of the other side's; nothing without the feature `recv`.
    takes: Vec<Kind>,
    /// Of a video, several encodings.
    takes_layers: bool,
    data: Data,
}

impl Supply {
    /// The streams that there are from now on, by preference. Of those with one codec the best rendition counts; what
    /// RTP does not carry here is left out.
    pub(in crate::rtc) fn set(&mut self, streams: &[StreamInfo]) {
        let mut found: Vec<Sendable> = vec![];
        for info in streams.iter().filter(|info| is_carried(info.codec)) {
            let known = self.streams.iter().find(|known| known.id == info.id);
            let stream = Sendable {
                id: info.id,
                codec: info.codec,
                rendition: info.rendition,
                // An encoder that is asked for less for a while comes back to it.
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

    /// Whether neither audio nor video could flow in a call.
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

    /// What of it a session sends and takes.
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

    /// The streams of a kind, by preference.
    pub(in crate::rtc) fn streams(&self, kind: Kind) -> impl Iterator<Item = &Sendable> {
        self.streams.iter().filter(move |stream| stream.codec.kind() == kind)
    }

    /// Whether something takes what the other side sends of a kind.
    pub(in crate::rtc) fn takes(&self, kind: Kind) -> bool {
        self.takes.contains(&kind)
    }

    /// Whether several encodings of a video are taken.
    pub(in crate::rtc) fn takes_layers(&self) -> bool {
        self.takes_layers
    }

    /// What a section of a kind may be used for: streams that there are go first, the rest is for sections in which
    /// nothing is sent. With the level of H.264.
    pub(in crate::rtc) fn codecs(&self, kind: Kind) -> impl Iterator<Item = (Option<StreamId>, Codec, u8)> {
        let known: &[Codec] = match kind {
            Kind::Audio => &[Codec::Opus],
            Kind::Video => &[Codec::H264, Codec::Vp8],
        };
        let streams = self.streams(kind).map(|stream| (Some(stream.id), stream.codec, stream.level));
        streams.chain(known.iter().map(|codec| (None, *codec, self.level())))
    }

    /// What an offer of ours proposes for a section of a kind: each codec once.
    pub(in crate::rtc) fn proposals(
        &self,
        kind: Kind,
    ) -> impl Iterator<Item = (Option<StreamId>, Codec, u8)> {
        let sent = |codec| self.streams.iter().any(|stream| stream.codec == codec);
        let takes = self.takes(kind);
        self.codecs(kind).filter(move |(stream, codec, _)| stream.is_some() || takes && !sent(*codec))
    }

    /// The level to name for H.264.
    pub(in crate::rtc) fn level(&self) -> u8 {
        let h264 = self.streams.iter().find(|stream| stream.codec == Codec::H264);
        h264.map_or(COMMON_LEVEL, |stream| stream.level)
    }
}

/// Whether RTP carries a codec here.
pub(in crate::rtc) fn is_carried(codec: Codec) -> bool {
    match codec {
        Codec::H264 | Codec::Vp8 | Codec::Opus => true,
        Codec::Jpeg => false,
    }
}

/// The level that a stream needs: what its encoder says, or its size and frame rate do.
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
