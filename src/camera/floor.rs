//! Decides who talks, one viewer at a time: a pure function of commands, frames and time.
//!
//! ```text
//!            start, or a frame of a call that never sent a command
//!   free ─────────────────────────────────────────────────────────▶ held
//!    ▲                                                               │
//!    └── stop, the call ended, or no frame for a while ◀─────────────┘
//! ```
//!
//! Callers that sent a command take precedence over those that only send audio: a caller whose microphone is always
//! open must not keep others from talking.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::call::CallId;

/// How long a caller that sent a command keeps the floor without a frame: meanwhile the browser may ask for the
/// microphone, and the first press renegotiates.
const ASKED: Duration = Duration::from_secs(10);
/// The same for a caller without a command: its microphone is muted, or its network lost.
const SILENT: Duration = Duration::from_secs(1);

/// The floor: who talks.
#[derive(Debug, Default)]
pub(super) struct Floor {
    holder: Option<Holder>,
    /// Calls that have sent a command: they are only heard between `start` and `stop`.
    asking: BTreeSet<CallId>,
}

#[derive(Debug)]
struct Holder {
    call: CallId,
    asked: bool,
    /// When it last sent a command or was heard.
    last: Instant,
}

impl Holder {
    fn ends_at(&self) -> Instant {
        self.last + if self.asked { ASKED } else { SILENT }
    }
}

impl Floor {
    /// Returns who holds the floor.
    pub(super) fn holder(&self) -> Option<CallId> {
        self.holder.as_ref().map(|holder| holder.call)
    }

    /// Handles a viewer's request to talk. Returns whether it may; if not, somebody else is talking.
    pub(super) fn start(&mut self, call: CallId, now: Instant) -> bool {
        self.asking.insert(call);
        let is_free = self.holder.as_ref().is_none_or(|holder| holder.call == call || !holder.asked);
        if is_free {
            self.holder = Some(Holder { call, asked: true, last: now });
        }
        is_free
    }

    /// Handles the end of a viewer's talking.
    pub(super) fn stop(&mut self, call: CallId) {
        self.asking.insert(call);
        self.holder.take_if(|holder| holder.call == call);
    }

    /// Handles a frame of audio. Returns whether to play it.
    pub(super) fn hear(&mut self, call: CallId, now: Instant) -> bool {
        match &mut self.holder {
            Some(holder) if holder.call == call => holder.last = now,
            Some(_) => return false,
            None if self.asking.contains(&call) => return false,
            None => self.holder = Some(Holder { call, asked: false, last: now }),
        }
        true
    }

    /// Handles the end of a call.
    pub(super) fn leave(&mut self, call: CallId) {
        self.stop(call);
        self.asking.remove(&call);
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout).
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.holder.as_ref().map(Holder::ends_at)
    }

    /// Frees the floor if its holder has been silent for too long.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.holder.take_if(|holder| now >= holder.ends_at());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: CallId = CallId(1);
    const BOB: CallId = CallId(2);

    #[test]
    fn the_first_who_asks_holds_it_until_it_stops() {
        let (mut floor, now) = (Floor::default(), Instant::now());
        assert!(floor.start(ALICE, now) && floor.start(ALICE, now), "asking twice changes nothing");
        assert!(!floor.start(BOB, now));
        assert_eq!((floor.hear(ALICE, now), floor.hear(BOB, now)), (true, false));
        floor.stop(BOB);
        assert_eq!(floor.holder(), Some(ALICE), "it is not Bob's to give");
        floor.stop(ALICE);
        assert!(!floor.hear(ALICE, now), "what was on its way is not played, and takes nothing");
        assert!(floor.start(BOB, now));
        floor.leave(BOB);
        assert_eq!(floor.holder(), None);
    }

    #[test]
    fn who_only_sends_gives_way_to_who_asks_and_others_who_send_wait() {
        let (mut floor, now) = (Floor::default(), Instant::now());
        assert_eq!((floor.hear(ALICE, now), floor.hear(BOB, now)), (true, false));
        assert!(floor.start(BOB, now));
        assert_eq!((floor.hear(ALICE, now), floor.hear(BOB, now)), (false, true));
        floor.stop(BOB);
        assert!(floor.hear(ALICE, now), "she goes on");
        // From now on she needs the command as well.
        assert!(floor.start(ALICE, now));
        assert!(!floor.start(BOB, now));
    }

    #[test]
    fn silence_frees_it_sooner_for_who_never_asked() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut floor = Floor::default();
        assert_eq!(floor.poll_timeout(), None);
        floor.hear(ALICE, at(0));
        floor.hear(ALICE, at(500));
        assert_eq!(floor.poll_timeout(), Some(at(1500)));
        floor.handle_timeout(at(1499));
        assert_eq!(floor.holder(), Some(ALICE));
        floor.handle_timeout(at(1500));
        assert_eq!(floor.holder(), None);
        floor.start(BOB, at(2000));
        floor.handle_timeout(at(11_999));
        assert_eq!(floor.holder(), Some(BOB));
        floor.hear(BOB, at(11_999));
        floor.handle_timeout(at(12_000));
        assert_eq!(floor.holder(), Some(BOB));
        floor.handle_timeout(at(21_999));
        assert_eq!(floor.holder(), None);
    }
}
