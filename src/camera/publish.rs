//! The settings of a relay, whose source is a caller: who may publish, and what happens to a second publisher.

use super::controllers::Controllers;
use super::event::CameraError;
use crate::media::error::{ErrorKind, MediaError};
use crate::media::source::{Feed, Source};
use crate::media::{Codec, VIDEO_H264_LAYERS};

/// A relay: a caller that may publish and sends video or audio is the source, and all other callers watch it. The media
/// is forwarded without transcoding.
///
/// One caller publishes at a time. The viewers' key frame requests are merged and forwarded to it, and its bitrate is
/// limited to what the viewers' networks carry (REMB). If it sends several encodings of its video (simulcast), each viewer
/// gets the best one that its network carries, and only the publisher's own network limits how many it sends. A publisher
/// that also receives gets its own video back, like all others. While nobody publishes, the source is
/// [lost](crate::media::source::SourceState::Lost) with the code `no-publisher`, and viewers stay.
///
/// A publisher may turn its video off, or begin without any: after 2 s without a frame the source is
/// [lost](crate::media::source::SourceState::Lost) with the code `video-off`, and its audio goes on. The video continues
/// in the same calls.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Publishing {
    /// Who may publish. Default: [`Controllers::Auto`].
    pub who: Controllers,
    /// What happens to a second publisher. Default: it is rejected.
    pub occupied: Occupied,
    /// The video codecs that may be published, in order of preference: H.264, VP8 or both. A publisher that can send
    /// several is asked for the one that most of the present viewers support, and sends one at a time. If the codec
    /// changes, with another publisher or in the call of the same one, the viewers that support both continue from the
    /// next key frame on. A publisher that sends none of these, or a viewer that does not support the one that is
    /// published, has its call ended with `no-codec`. Default: H.264, VP8.
    pub video: Vec<Codec>,
}

impl Default for Publishing {
    fn default() -> Publishing {
        Publishing {
            who: Controllers::Auto,
            occupied: Occupied::Refuse,
            video: vec![Codec::H264, Codec::Vp8],
        }
    }
}

/// What happens to a second publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Occupied {
    /// It is rejected: a call that sends and receives becomes a viewer's; a call that only sends ends with
    /// `not-allowed`.
    #[default]
    Refuse,
    /// It takes over, and the previous publisher's call ends with `replaced`.
    Replace,
}

impl Publishing {
    /// The source, and its video and audio.
    pub(super) fn open(&self) -> Result<(Source, Feeds), CameraError> {
        let unusable = |words: String| Err(MediaError::new(ErrorKind::BadSettings, words).into());
        let known = |codec: &&Codec| matches!(codec, Codec::H264 | Codec::Vp8);
        if let Some(other) = self.video.iter().find(|codec| !known(codec)) {
            return unusable(format!("{other:?} cannot be published as video: choose H264 or Vp8"));
        }
        let video = match self.video[..] {
            [one] => one,
            [one, other] if one != other => one,
            [] => return unusable("choose a video codec that may be published".into()),
            _ => return unusable("a video codec is listed twice".into()),
        };
        let codecs = [video, video, video, Codec::Opus];
        let (source, [best, middle, small, audio]) = Source::fed(codecs, silent());
        audio.follow_video();
        best.leave(nobody());
        Ok((source, ([best, middle, small], audio)))
    }
}

/// The feeds of the video, the best encoding first, and the feed of the audio.
pub(super) type Feeds = ([Feed; VIDEO_H264_LAYERS.len()], Feed);

/// The error of a source whose publisher sends audio alone.
pub(super) fn video_off() -> MediaError {
    MediaError::new(ErrorKind::VideoOff, "whoever publishes sends no video for now, only audio")
}

/// The error of a source whose publisher sends nothing.
pub(super) fn silent() -> MediaError {
    MediaError::new(ErrorKind::Stalled, "whoever publishes sends nothing")
}

/// The error of a source without a publisher.
pub(super) fn nobody() -> MediaError {
    MediaError::new(ErrorKind::NoPublisher, "nobody publishes at the moment")
}
