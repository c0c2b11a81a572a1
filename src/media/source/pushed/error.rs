//! Why a pushed frame was rejected, and how to fix it.

use std::fmt;
use std::time::Duration;

/// Why a frame was rejected. None of it was forwarded, and the stream continues with the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushError {
    /// The frame is empty.
    Empty,
    /// H.264 that is not in byte-stream form.
    NotAnnexB,
    /// H.264 NAL units without a slice or parameter sets.
    NoPicture,
    /// It was marked as a key frame but is not one.
    NotAKeyFrame,
    /// An H.264 key frame without parameter sets, and none came before it.
    NoParameterSets,
    /// H.264 parameter sets that cannot be parsed.
    BadParameterSets,
    /// VP8 with an invalid frame header.
    NotVp8,
    /// JPEG with an invalid frame header.
    NotJpeg,
    /// Its `pts` is not later than the previous frame's.
    TimeWentBack {
        /// The frame's `pts`.
        pts: Duration,
        /// The previous frame's `pts`.
        last: Duration,
    },
    /// Its presentation time is more than a minute ahead of the clock and of all frames before it.
    TimeJumped {
        /// As it was given.
        pts: Duration,
    },
}

impl PushError {
    /// A stable code, for logs and translations.
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
            PushError::TimeJumped { .. } => "time-jumped",
        }
    }
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PushError::Empty => "the frame is empty: push whole access units, one at a time",
            PushError::NotAnnexB => {
                "H.264 must be a byte stream (Annex B), each NAL unit after a start code 00 00 01 or 00 00 00 01; \
                 this data starts without one. If the encoder writes lengths instead (AVCC), set it to byte-stream"
            }
            PushError::NoPicture => {
                "the access unit has no slice and no parameter sets: push the NAL units of one picture together"
            }
            PushError::NotAKeyFrame => {
                "this is not a key frame: H.264 needs an IDR picture, VP8 a key frame header. Set an encoder that \
                 refreshes gradually (intra refresh, recovery points) to IDR"
            }
            PushError::NoParameterSets => {
                "the key frame has no SPS and PPS, and none came before it: set the encoder to repeat them at each IDR \
                 picture, or push them separately before the first one"
            }
            PushError::BadParameterSets => {
                "the SPS cannot be parsed: push it unmodified, including its emulation prevention bytes"
            }
            PushError::NotVp8 => "the VP8 frame has no valid header (RFC 6386, 9.1): push raw frames, not IVF",
            PushError::NotJpeg => "the JPEG has no frame header with a size: push whole images, starting with FF D8",
            PushError::TimeWentBack { pts, last } => {
                return write!(
                    f,
                    "pts must increase: {pts:?} came after {last:?}. Turn off B-frames, and count from the same zero \
                     while any stream is wanted"
                );
            }
            PushError::TimeJumped { pts } => {
                return write!(
                    f,
                    "pts jumped: {pts:?} is more than a minute ahead of the clock. Count in real time and from one \
                     zero, or call failed() before the encoder begins another"
                );
            }
        })
    }
}

impl std::error::Error for PushError {}
