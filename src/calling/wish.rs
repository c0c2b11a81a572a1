//! The directions that an application wants of a call, without muted or held media.

use std::collections::BTreeSet;

use crate::media::Kind;
use crate::rtc::Directions;

#[derive(Clone, Debug)]
pub(super) struct Wish {
    directions: Directions,
    muted: BTreeSet<Kind>,
    held: bool,
    channels: bool,
}

/// What a call begins with.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub directions: Directions,
    /// Whether it has data channels.
    pub channels: bool,
}

impl Wish {
    pub(super) fn new(directions: Directions) -> Wish {
        Wish { directions, muted: BTreeSet::new(), held: false, channels: false }
    }

    /// The same, with data channels or without.
    pub(super) fn with_channels(self, channels: bool) -> Wish {
        Wish { channels, ..self }
    }

    pub(super) fn wanted(&self) -> Wanted {
        Wanted { directions: self.directions(), channels: self.channels }
    }

    /// Returns the directions to negotiate now.
    pub(super) fn directions(&self) -> Directions {
        if self.held {
            let (send, receive) = Default::default();
            return Directions { send, receive, ..self.directions };
        }
        let send = self.directions.send.difference(&self.muted).copied().collect();
        Directions { send, ..self.directions.clone() }
    }

    /// Whether the call does more than send, when it is not on hold.
    pub(super) fn receives(&self) -> bool {
        self.channels || !self.directions.receive.is_empty()
    }

    /// Data channels are wanted, too.
    pub(super) fn want_channels(&mut self) {
        self.channels = true;
    }

    pub(super) fn set(&mut self, directions: Directions) {
        self.directions = directions;
    }

    pub(super) fn mute(&mut self, kind: Kind, muted: bool) {
        if muted {
            self.muted.insert(kind);
        } else {
            self.muted.remove(&kind);
        }
    }

    pub(super) fn hold(&mut self, held: bool) {
        self.held = held;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Kind::{Audio, Video};

    #[test]
    fn what_is_muted_and_held_comes_back() {
        let all = Directions::new([Audio, Video], [Audio, Video]);
        let mut wish = Wish::new(all.clone());
        wish.mute(Video, true);
        assert_eq!(wish.directions(), Directions::new([Audio], [Audio, Video]));
        wish.hold(true);
        assert_eq!(wish.directions(), Directions::new([], []));
        assert!(wish.receives());
        wish.mute(Video, false);
        wish.mute(Audio, true);
        wish.hold(false);
        assert_eq!(wish.directions(), Directions::new([Video], [Audio, Video]));
        wish.set(Directions::new([Audio], [Video]));
        assert_eq!(wish.directions(), Directions::new([], [Video]));
        wish.mute(Audio, false);
        assert_eq!(wish.directions(), Directions::new([Audio], [Video]));
    }
}
