//! What each viewer gets of the video, as applications and viewers see it: the policy, the share and its reason.

use serde_json::{Value, json};

use super::demand;
pub use super::demand::ShareReason;

/// Whose network the main encoder's bitrate follows when viewers' networks differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BitratePolicy {
    /// The worst-off viewer loses as little as possible, compared with watching alone. Viewers on slower networks get the
    /// small rendition or key frames, so that if networks are either fast or slow, no viewer costs the others more than a
    /// tenth.
    #[default]
    Best,
    /// The slowest viewer's; everybody gets the same.
    Slowest,
    /// That of the viewer with this user name; `Best` while it is not watching.
    Follow(String),
}

/// What a viewer gets of the video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Share {
    /// The main rendition.
    Full,
    /// The small rendition.
    Small,
    /// Only key frames, as many as its network carries.
    KeyFrames,
    /// No video; at most snapshots.
    Nothing,
}

impl Share {
    /// A stable name, for programs.
    pub fn code(self) -> &'static str {
        match self {
            Share::Full => "full",
            Share::Small => "small",
            Share::KeyFrames => "key-frames",
            Share::Nothing => "nothing",
        }
    }

    /// The `data` of the event `share` for a viewer.
    pub(super) fn told(self, reason: ShareReason) -> Value {
        json!({ "share": self.code(), "code": reason.code(), "message": reason.to_string() })
    }
}

impl From<demand::Share> for Share {
    fn from(share: demand::Share) -> Share {
        match share {
            demand::Share::Full(_) => Share::Full,
            demand::Share::Small(_) => Share::Small,
            demand::Share::KeyFrames(_) => Share::KeyFrames,
            demand::Share::Nothing => Share::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::StreamId;

    #[test]
    fn a_viewer_is_told_in_codes_and_words() {
        let id = StreamId(0);
        let shares = [
            demand::Share::Full(id),
            demand::Share::Small(id),
            demand::Share::KeyFrames(id),
            demand::Share::Nothing,
        ];
        let codes = shares.map(|share| Share::from(share).code());
        assert_eq!(codes, ["full", "small", "key-frames", "nothing"]);
        let told = Share::Small.told(ShareReason::Network(300_000));
        assert_eq!((&told["share"], &told["code"]), (&json!("small"), &json!("network")));
        assert!(told["message"].as_str().is_some_and(|words| words.contains("300 kbit/s")));
    }
}
