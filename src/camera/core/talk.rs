//! Viewers who talk: whose audio is taken.

use std::time::Instant;

use super::CameraCore;
use crate::call::CallId;
use crate::media::Kind;
use crate::proto::Address;
use crate::rtc::Directions;

impl CameraCore {
    /// Takes the audio of a caller who has the permission.
    pub(super) fn grant_talk(&mut self, call: CallId, peer: &Address, now: Instant) {
        if self.talkers.as_ref().is_some_and(|talkers| talkers.allows(peer.user())) {
            let directions = Directions { receive: [Kind::Audio].into(), ..Directions::default() };
            self.calling.grant(call, directions, now);
        }
    }
}
