//! What a viewer gets of its video, and why.

use std::fmt;

use super::Sink;
use crate::media::StreamId;

/// What a viewer gets of its video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::camera) enum Share {
    /// The main rendition.
    Full(StreamId),
    /// The small rendition.
    Small(StreamId),
    /// Key frames of this stream, as many as its network carries.
    KeyFrames(StreamId),
    /// No video: at most stills.
    Nothing,
}

impl Share {
    /// The stream that it is taken from.
    pub(in crate::camera) fn stream(self) -> Option<StreamId> {
        match self {
            Share::Full(stream) | Share::Small(stream) | Share::KeyFrames(stream) => Some(stream),
            Share::Nothing => None,
        }
    }
}

/// Why a viewer gets its share. [`Display`](fmt::Display) explains it to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShareReason {
    /// It gets everything.
    Full,
    /// Its network carries this much, in bit/s, and more is not sent.
    Network(u32),
    /// Its network carries more, but the encoder follows another viewer.
    Others,
    /// It asked for no more, for example because its page is hidden.
    Wish,
    /// It requests key frames so often, for example after losses, that other viewers would suffer.
    Loss,
    /// The board is too hot to encode a second rendition.
    Heat,
    /// The source sends nothing better at the moment: the network of whoever publishes does not carry it.
    Source,
}

impl ShareReason {
    /// A stable name, for programs.
    pub fn code(self) -> &'static str {
        match self {
            ShareReason::Full => "full",
            ShareReason::Network(_) => "network",
            ShareReason::Others => "others",
            ShareReason::Wish => "wish",
            ShareReason::Loss => "loss",
            ShareReason::Heat => "heat",
            ShareReason::Source => "source",
        }
    }
}

impl fmt::Display for ShareReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShareReason::Full => f.write_str("full quality"),
            ShareReason::Network(bps) => {
                write!(f, "the network carries {} kbit/s", bps / 1000)
            }
            ShareReason::Others => {
                f.write_str("the network carries more, but that of another viewer does not")
            }
            ShareReason::Wish => f.write_str("the viewer asked for no more"),
            ShareReason::Loss => f.write_str("the network loses too many packets for more"),
            ShareReason::Heat => f.write_str("the board is too hot to encode a smaller picture as well"),
            ShareReason::Source => f.write_str("the source sends nothing better at the moment"),
        }
    }
}

/// The most that a viewer asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::camera) enum Wish {
    /// Everything that its network carries.
    #[default]
    Full,
    /// The small rendition; where there is none, the main one.
    Small,
    /// Key frames, for example because its page is hidden.
    KeyFrames,
}

/// Whose network the bitrate of a main rendition follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::camera) enum BitratePolicy {
    /// The worst-off viewer loses least: see [`divide`](super::divide).
    #[default]
    Best,
    /// The viewer with the slowest network.
    Slowest,
    /// This viewer. While it isn't there, as `Best`.
    Follow(Sink),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_code_and_words() {
        let all = [
            ShareReason::Full,
            ShareReason::Network(300_000),
            ShareReason::Others,
            ShareReason::Wish,
            ShareReason::Loss,
            ShareReason::Heat,
            ShareReason::Source,
        ];
        let codes = all.map(ShareReason::code);
        assert_eq!(codes, ["full", "network", "others", "wish", "loss", "heat", "source"]);
        let words = ShareReason::Network(300_000).to_string();
        assert_eq!(words, "the network carries 300 kbit/s");
        assert!(all.iter().all(|why| !why.to_string().is_empty()));
    }
}
