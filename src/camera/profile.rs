//! Whether an encoder makes the H.264 that was agreed with viewers.

use crate::media::error::{ErrorKind, MediaError};
use crate::media::frame::sps::{self, Agreement};

/// Compares what is made with what each viewer agreed to, as (made, agreed) `profile-level-id`s (RFC 6184, 8.1). One
/// error stands for all.
pub(super) fn check(viewers: impl IntoIterator<Item = ([u8; 3], [u8; 3])>) -> Option<MediaError> {
    let (mut higher, mut other, mut last) = (0, 0, [0; 3]);
    for (made, agreed) in viewers {
        last = made;
        match sps::agreement(made, agreed) {
            Agreement::Kept => {}
            Agreement::HigherLevel => higher += 1,
            Agreement::OtherProfile => other += 1,
        }
    }
    let [profile, constraints, level] = last;
    if higher > 0 {
        log::info!("H.264 of level {level} goes to {higher} who agreed to a lower one: browsers decode it");
    }
    if other == 0 {
        return None;
    }
    let words = format!(
        "the encoder makes H.264 {profile:02x}{constraints:02x}{level:02x}, which is not the profile that was agreed \
         with viewers ({other}): some may see nothing. Choose another encoder"
    );
    log::warn!("{words}");
    Some(MediaError::new(ErrorKind::OtherProfile, words))
}
