//! A camera that shows what a caller publishes: who may, and what becomes of a second one.

use super::controllers::Controllers;
use super::core::layers::LAYERS;
use super::event::CameraError;
use crate::media::error::{ErrorKind, MediaError};
use crate::media::source::{Feed, Source};
use crate::media::{Codec, Kind};

/// A relay: whoever may publish and sends video or audio in a call is the source, and all other callers watch it. Nothing
/// is decoded or encoded on the way.
///
/// One caller publishes at a time. Key frames that viewers need are requested of it, merged, and it is asked for no more
/// bitrate than the viewers' networks carry (REMB). When it leaves, the source is lost until the next one publishes;
/// viewers stay. Of a video in several encodings (simulcast) each viewer gets the best that its network carries, and the
/// publisher is left to send as many as its own carries. A publisher that also receives gets its own picture back, as the others do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Publishing {
    /// Who may publish. Default: [`Controllers::Auto`].
    pub who: Controllers,
    /// What happens to a second publisher. Default: it is refused.
    pub occupied: Occupied,
    /// The codec of the video, in which publishers must be able to send: H.264 or VP8. Default: H.264.
    pub video: Codec,
}

impl Default for Publishing {
    fn default() -> Publishing {
        Publishing { who: Controllers::Auto, occupied: Occupied::Refuse, video: Codec::H264 }
    }
}

/// What happens while somebody publishes already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Occupied {
    /// Another publisher is refused: a call that sends and receives becomes a viewer's, one that only sends ends with
    /// `not-allowed`.
    #[default]
    Refuse,
    /// The newest publisher takes over, and the call of the one before ends with `replaced`.
    Replace,
}

impl Publishing {
    /// The source, and its video and audio.
    pub(super) fn open(&self) -> Result<(Source, Feeds), CameraError> {
        if self.video.kind() != Kind::Video || !matches!(self.video, Codec::H264 | Codec::Vp8) {
            let words = format!("{:?} cannot be published: choose H264 or Vp8", self.video);
            return Err(MediaError::new(ErrorKind::BadSettings, words).into());
        }
        let stalled = MediaError::new(ErrorKind::Stalled, "whoever publishes sends nothing");
        let video = self.video;
        let (source, [best, middle, small, audio]) = Source::fed([video, video, video, Codec::Opus], stalled);
        Ok((source, ([best, middle, small], audio)))
    }
}

/// Those of the video, the best encoding first, and of the audio.
pub(super) type Feeds = ([Feed; LAYERS], Feed);

/// The error of a source whose publisher is gone.
pub(super) fn left() -> MediaError {
    MediaError::new(ErrorKind::Ended, "whoever published has left")
}
