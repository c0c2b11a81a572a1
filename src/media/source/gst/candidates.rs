//! The encoders for a rendition, in order of preference, and which of them is in use.
//!
//! One that fails or hangs is rebuilt, or replaced by the next, while the source and other renditions continue:
//!
//! | the encoder | then |
//! |---|---|
//! | has not produced a frame since it was built | the next: it does not work on this machine, or no longer |
//! | failed for the third time in a row | the next is used |
//! | does not return from a frame, so it cannot be removed | the next: the hardware is not free |
//! | failed otherwise | it is rebuilt; after a good run the count restarts |

use std::time::Duration;

use super::raw::{H264_TAIL, RawVideo};
use crate::media::board::{Encoder, Start};
use crate::media::source::lifecycle::GOOD_RUN;

/// How often in a row an encoder that has produced frames may fail before the next one is used.
const MAX_FAILURES: u32 = 3;

/// An encoder with its element.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub name: String,
    pub element: Encoder,
}

impl Chosen {
    /// From raw frames to Annex B access units, in GStreamer's launch syntax.
    pub(super) fn chain(&self, raw: RawVideo, key_interval: Duration, bps: u32, dmabuf: bool) -> String {
        let start = Start { bitrate: bps, key_interval: raw.gop(key_interval), level: raw.level(), dmabuf };
        format!("{} ! {H264_TAIL}", self.element.chain(&self.name, start))
    }
}

/// The encoders; the first one that is left is in use.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidates {
    all: Vec<Chosen>,
    /// Encoders that were given up.
    gone: usize,
    /// Consecutive failures of the one in use.
    failures: u32,
}

impl Candidates {
    pub(super) fn new(all: Vec<Chosen>) -> Candidates {
        Candidates { all, gone: 0, failures: 0 }
    }

    /// The encoder to use; `None` if there is none or none is left.
    pub(super) fn encoder(&self) -> Option<&Chosen> {
        self.all.get(self.gone)
    }

    /// Its name; empty if there is none.
    pub(super) fn name(&self) -> &str {
        self.encoder().map_or("", |chosen| &chosen.name)
    }

    /// The encoder failed after it had made frames for this time. [`encoder`](Self::encoder) is the next to use.
    pub(super) fn handle_failure(&mut self, ran: Option<Duration>) {
        self.failures = match ran {
            None => MAX_FAILURES,
            Some(ran) if ran >= GOOD_RUN => 1,
            Some(_) => self.failures + 1,
        };
        if self.failures >= MAX_FAILURES {
            self.skip();
        }
    }

    /// An encoder of this name cannot be removed. Returns whether that changes the one to use.
    pub(super) fn handle_stuck(&mut self, name: &str) -> bool {
        let in_use = self.name() == name;
        if in_use {
            self.skip();
        }
        in_use
    }

    /// All are candidates again, from the first one on.
    pub(super) fn restore(&mut self) {
        (self.gone, self.failures) = (0, 0);
    }

    fn skip(&mut self) {
        self.gone = (self.gone + 1).min(self.all.len());
        self.failures = 0;
    }

    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<String> {
        self.all.iter().map(|chosen| chosen.name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::board;

    const SECOND: Duration = Duration::from_secs(1);

    fn candidates(names: &[&str]) -> Candidates {
        let elements = board::elements();
        let chosen = |name: &&str| Chosen { name: (*name).into(), element: elements.encoder[*name].clone() };
        Candidates::new(names.iter().map(chosen).collect())
    }

    /// The name of the encoder that is used after a failure.
    fn after(candidates: &mut Candidates, ran: Option<Duration>) -> String {
        candidates.handle_failure(ran);
        candidates.name().to_owned()
    }

    #[test]
    fn an_encoder_that_never_worked_is_replaced_and_one_that_did_is_rebuilt() {
        let mut one = candidates(&["v4l2h264enc", "x264enc"]);
        assert_eq!(one.name(), "v4l2h264enc");
        assert_eq!(after(&mut one, None), "x264enc");
        assert_eq!(after(&mut one, None), "", "nothing is left");
        assert_eq!(after(&mut one, Some(SECOND)), "");
        one.restore();
        assert_eq!(one.name(), "v4l2h264enc");

        let mut two = candidates(&["v4l2h264enc", "x264enc"]);
        assert_eq!(after(&mut two, Some(SECOND)), "v4l2h264enc");
        assert_eq!(after(&mut two, Some(SECOND)), "v4l2h264enc");
        // A good run resets the count.
        assert_eq!(after(&mut two, Some(GOOD_RUN)), "v4l2h264enc");
        assert_eq!(after(&mut two, Some(SECOND)), "v4l2h264enc");
        assert_eq!(after(&mut two, Some(SECOND)), "x264enc", "three in a row");
        assert_eq!(after(&mut two, Some(SECOND)), "x264enc", "which begins anew");
    }

    #[test]
    fn an_encoder_that_does_not_return_is_not_used_again() {
        let mut one = candidates(&["v4l2h264enc", "x264enc"]);
        assert_eq!(after(&mut one, Some(SECOND)), "v4l2h264enc");
        assert!(one.handle_stuck("v4l2h264enc"));
        assert_eq!(one.name(), "x264enc");
        assert!(!one.handle_stuck("v4l2h264enc"), "it is not in use any more");
        assert_eq!(one.name(), "x264enc");
    }
}
