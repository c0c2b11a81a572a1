//! Why a frame that an application pushed is not taken, and what would be right.

use std::fmt;
use std::time::Duration;

/// Why a frame was not taken. Nothing of it went on, and the stream continues with the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushError {
    /// No bytes at all.
    Empty,
    /// H.264 that is not in byte-stream form.
    NotAnnexB,
    /// H.264 NAL units, and none of a picture or its parameter sets among them.
    NoPicture,
    /// It was called a key frame and is none.
    NotAKeyFrame,
    /// A key frame of H.264 without parameter sets, and none came before it.
    NoParameterSets,
    /// Parameter sets of H.264 that cannot be read.
    BadParameterSets,
    /// VP8 whose frame header cannot be read.
    NotVp8,
    /// JPEG whose frame header cannot be read.
    NotJpeg,
    /// Its presentation time is not after that of the frame before it.
    TimeWentBack {
        /// As it was given.
        pts: Duration,
        /// That of the frame before.
        last: Duration,
    },
}

impl PushError {
    /// A stable name, for logs and other languages.
    pub fn code(self) -> &'static str {
        match self {
            PushError::Empty => "empty",
            PushError::NotAnnexB => "not-annex-b",
            PushError::NoPicture => "no-picture",
            PushError::NotAKeyFrame => "not-a-key-frame",
            PushError::NoParameterSets => "no-parameter-sets",
            PushError::BadParameterSets => "bad-parameter-sets",
            PushError::NotVp8 => "not-vp8",
            PushError::NotJpeg => "not-jpeg",
            PushError::TimeWentBack { .. } => "time-went-back",
        }
    }
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PushError::Empty => "the frame is empty: push whole access units, one at a time",
            PushError::NotAnnexB => {
                "H.264 must be a byte stream (Annex B), each NAL unit after a start code 00 00 01 or 00 00 00 01; \
                 this has none at its beginning. If the encoder writes lengths there (AVCC), set it to byte-stream"
            }
            PushError::NoPicture => {
                "the access unit has no slice and no parameter sets: push the NAL units of one picture together"
            }
            PushError::NotAKeyFrame => {
                "this is not a key frame: only IDR pictures of H.264, and key frames by the header of VP8, are. An \
                 encoder that refreshes bit by bit (intra refresh, recovery points) must be set to IDR"
            }
            PushError::NoParameterSets => {
                "the key frame has no SPS and PPS, and none came before it: set the encoder to repeat them at each IDR \
                 picture, or push them by themselves before the first one"
            }
            PushError::BadParameterSets => {
                "the SPS cannot be read: push it as the encoder made it, with its emulation prevention bytes"
            }
            PushError::NotVp8 => "the VP8 frame has no valid header (RFC 6386, 9.1): push raw frames, not IVF",
            PushError::NotJpeg => "the JPEG has no frame header with a size: push whole images, from FF D8 on",
            PushError::TimeWentBack { pts, last } => {
                return write!(
                    f,
                    "pts must rise: {pts:?} came after {last:?}. Turn B-frames off, and count from one zero for as \
                     long as any stream is wanted"
                );
            }
        })
    }
}

impl std::error::Error for PushError {}
