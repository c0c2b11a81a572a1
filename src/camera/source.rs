//! Follows what the camera's source does while somebody watches, by its events.

use crate::media::source::{SourceEvent, SourceState, SourceStatus};

/// Follows a source by what it says.
pub(super) struct Follower {
    /// Of a source that is tried again: not a file.
    live: bool,
    status: Option<SourceStatus>,
    /// Frames have come since the last trouble.
    flows: bool,
    ended: bool,
}

impl Follower {
    pub(super) fn new(live: bool) -> Self {
        Follower { live, status: None, flows: false, ended: false }
    }

    /// Another source is followed from now on.
    pub(super) fn set_live(&mut self, live: bool) {
        (self.live, self.flows, self.ended) = (live, false, false);
    }

    /// `None` while nobody watches.
    pub(super) fn status(&self) -> Option<SourceStatus> {
        self.status
    }

    /// Whether frames flow: without any there is nothing to adapt.
    pub(super) fn flows(&self) -> bool {
        self.flows
    }

    /// Whether it is given up, and why.
    pub(super) fn end(&self) -> Option<SourceState> {
        self.status
            .map(|status| status.state)
            .filter(|s| matches!(s, SourceState::Ended | SourceState::Failed))
    }

    /// It is to produce something, or nothing. True when that is news.
    pub(super) fn handle_produce(&mut self, something: bool) -> bool {
        let status = match (something, self.status) {
            (true, Some(status)) if self.end().is_none() => Some(status),
            (true, _) => Some(SourceStatus::of(SourceState::Starting)),
            (false, _) => None,
        };
        if status.map(|s| s.state) != self.status.map(|s| s.state) {
            self.flows = false;
        }
        self.set(status)
    }

    /// A video frame came.
    pub(super) fn handle_frame(&mut self) {
        self.flows = self.status.is_some() && self.end().is_none();
    }

    /// What it says. True when that is news.
    pub(super) fn handle_source(&mut self, event: &SourceEvent) -> bool {
        // What comes after the last viewer left is of no interest.
        let Some(now) = self.status else { return false };
        let next = match event {
            SourceEvent::Started => {
                self.ended = false;
                SourceStatus::of(SourceState::Playing)
            }
            SourceEvent::Stalled(error) => SourceStatus::because(SourceState::Lost, error),
            SourceEvent::Failed(error) => {
                self.ended = false;
                let state =
                    if self.live && error.may_pass() { SourceState::Lost } else { SourceState::Failed };
                SourceStatus::because(state, error)
            }
            SourceEvent::Ended => {
                self.ended = true;
                // A file goes on at its beginning, or is given up with the next event.
                if !self.live {
                    return false;
                }
                SourceStatus::of(SourceState::Lost)
            }
            SourceEvent::GaveUp if self.ended => SourceStatus::of(SourceState::Ended),
            SourceEvent::GaveUp if now.state != SourceState::Failed => SourceStatus::of(SourceState::Failed),
            _ => return false,
        };
        if next.state != SourceState::Playing {
            self.flows = false;
        }
        self.set(Some(next))
    }

    fn set(&mut self, status: Option<SourceStatus>) -> bool {
        std::mem::replace(&mut self.status, status) != status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::error::{ErrorKind, MediaError};

    fn error(kind: ErrorKind) -> MediaError {
        MediaError::new(kind, "rtsp://192.0.2.7/s3cret")
    }

    /// The states that are told, in order.
    fn told(live: bool, events: &[SourceEvent]) -> Vec<(&'static str, &'static str)> {
        let mut follower = Follower::new(live);
        assert!(follower.handle_produce(true));
        let mut told = vec![];
        for event in events {
            if follower.handle_source(event) {
                let status = follower.status().expect("it is to produce");
                told.push((status.state.as_str(), status.code));
            }
        }
        told
    }

    #[test]
    fn a_live_source_is_lost_and_comes_back() {
        let events = [
            SourceEvent::Failed(error(ErrorKind::Unreachable)),
            SourceEvent::Failed(error(ErrorKind::Unreachable)),
            SourceEvent::Started,
            SourceEvent::Stalled(error(ErrorKind::Stalled)),
            SourceEvent::Started,
            SourceEvent::Ended,
            SourceEvent::Started,
        ];
        let expected = [
            ("lost", "unreachable"),
            ("playing", "playing"),
            ("lost", "stalled"),
            ("playing", "playing"),
            ("lost", "ended"),
            ("playing", "playing"),
        ];
        assert_eq!(told(true, &events), expected);
    }

    #[test]
    fn what_waiting_does_not_mend_is_failed_and_told_once() {
        let events = [SourceEvent::Failed(error(ErrorKind::Unauthorized)), SourceEvent::GaveUp];
        assert_eq!(told(true, &events), [("failed", "unauthorized")]);
        let events =
            [SourceEvent::Started, SourceEvent::Failed(error(ErrorKind::NoFile)), SourceEvent::GaveUp];
        assert_eq!(told(false, &events), [("playing", "playing"), ("failed", "no-file")]);
        assert_eq!(told(false, &[SourceEvent::GaveUp]), [("failed", "failed")]);
    }

    #[test]
    fn a_file_ends_or_goes_round_without_a_word() {
        let round = [SourceEvent::Started, SourceEvent::Ended, SourceEvent::Started, SourceEvent::Ended];
        assert_eq!(told(false, &round), [("playing", "playing")]);
        let once = [SourceEvent::Started, SourceEvent::Ended, SourceEvent::GaveUp];
        assert_eq!(told(false, &once), [("playing", "playing"), ("ended", "ended")]);
    }

    #[test]
    fn frames_flow_until_something_is_wrong() {
        let mut follower = Follower::new(true);
        follower.handle_frame();
        assert!(!follower.flows(), "one that was on its way when the last viewer left");
        follower.handle_produce(true);
        assert!(!follower.flows());
        follower.handle_frame();
        assert!(follower.flows());
        follower.handle_source(&SourceEvent::Stalled(error(ErrorKind::Stalled)));
        assert!(!follower.flows());
        follower.handle_frame();
        assert!(follower.flows() && follower.handle_produce(false) && !follower.flows());
    }
}
