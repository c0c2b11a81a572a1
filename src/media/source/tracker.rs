//! Derives a source's status from its events, so that an application's producer need not send [`SourceEvent::State`].

use super::{SourceEvent, SourceState, SourceStatus};

/// Tracks the status of a source while any of its streams is wanted.
pub(crate) struct StatusTracker {
    /// It is reopened after a failure or an end: not a file.
    live: bool,
    /// It sends its state itself, so its other events add nothing.
    says: bool,
    /// It has ended, and not started since.
    ended: bool,
    status: Option<SourceStatus>,
}

impl StatusTracker {
    pub(crate) fn new(live: bool) -> Self {
        StatusTracker { live, says: false, ended: false, status: None }
    }

    /// `None` while nothing is wanted.
    pub(crate) fn status(&self) -> Option<SourceStatus> {
        self.status
    }

    /// Whether it ended or failed, and will not be retried.
    pub(crate) fn is_over(&self) -> bool {
        let over = |status: SourceStatus| matches!(status.state, SourceState::Ended | SourceState::Failed);
        self.status.is_some_and(over)
    }

    /// Something of it is wanted from now on, or nothing.
    pub(crate) fn handle_wanted(&mut self, something: bool) {
        if !something {
            self.status = None;
        } else if self.status.is_none() || self.is_over() {
            (self.status, self.ended) = (Some(SourceStatus::of(SourceState::Starting)), false);
        }
    }

    /// Takes what it says. True where that is what it does, be it news or not.
    pub(crate) fn handle_event(&mut self, event: &SourceEvent) -> bool {
        self.says |= matches!(event, SourceEvent::State(_));
        // What comes when nothing is wanted any more was on its way.
        let Some(status) = self.status else { return false };
        let next = match event {
            SourceEvent::State(status) => Some(*status),
            _ if self.says => None,
            event => self.derive(status, event),
        };
        self.status = next.or(self.status);
        next.is_some()
    }

    /// What a source does that does not say so.
    fn derive(&mut self, status: SourceStatus, event: &SourceEvent) -> Option<SourceStatus> {
        match event {
            SourceEvent::Started | SourceEvent::Failed(_) => self.ended = false,
            SourceEvent::Ended => self.ended = true,
            _ => {}
        }
        Some(match event {
            SourceEvent::Started => SourceStatus::of(SourceState::Playing),
            SourceEvent::Stalled(error) => SourceStatus::because(SourceState::Lost, error),
            SourceEvent::Failed(error) => {
                let passes = self.live && error.may_pass();
                SourceStatus::because(if passes { SourceState::Lost } else { SourceState::Failed }, error)
            }
            // A file goes on at its beginning, or is given up with the next event.
            SourceEvent::Ended if self.live => SourceStatus::of(SourceState::Lost),
            SourceEvent::GaveUp if self.ended => SourceStatus::of(SourceState::Ended),
            SourceEvent::GaveUp if status.state != SourceState::Failed => {
                SourceStatus::of(SourceState::Failed)
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::error::{ErrorKind, MediaError};

    fn error(kind: ErrorKind) -> MediaError {
        MediaError::new(kind, "rtsp://192.0.2.7/s3cret")
    }

    /// The states that it goes through once something is wanted.
    fn states(live: bool, events: &[SourceEvent]) -> Vec<(&'static str, &'static str)> {
        let mut tracker = StatusTracker::new(live);
        tracker.handle_wanted(true);
        let mut states = vec![];
        let mut last = tracker.status();
        for event in events {
            tracker.handle_event(event);
            let now = tracker.status();
            if std::mem::replace(&mut last, now) != now {
                states.extend(now.map(|status| (status.state.as_str(), status.code)));
            }
        }
        states
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
        assert_eq!(states(true, &events), expected);
    }

    #[test]
    fn what_waiting_does_not_mend_is_failed_once() {
        let events = [SourceEvent::Failed(error(ErrorKind::Unauthorized)), SourceEvent::GaveUp];
        assert_eq!(states(true, &events), [("failed", "unauthorized")]);
        let events =
            [SourceEvent::Started, SourceEvent::Failed(error(ErrorKind::NoFile)), SourceEvent::GaveUp];
        assert_eq!(states(false, &events), [("playing", "playing"), ("failed", "no-file")]);
        assert_eq!(states(false, &[SourceEvent::GaveUp]), [("failed", "failed")]);
    }

    #[test]
    fn a_file_ends_or_goes_round_without_a_word() {
        let round = [SourceEvent::Started, SourceEvent::Ended, SourceEvent::Started, SourceEvent::Ended];
        assert_eq!(states(false, &round), [("playing", "playing")]);
        let once = [SourceEvent::Started, SourceEvent::Ended, SourceEvent::GaveUp];
        assert_eq!(states(false, &once), [("playing", "playing"), ("ended", "ended")]);
    }

    #[test]
    fn one_that_says_what_it_does_is_taken_at_its_word() {
        let events = [
            SourceEvent::State(SourceStatus::of(SourceState::Starting)),
            SourceEvent::Started,
            SourceEvent::State(SourceStatus::of(SourceState::Playing)),
            // A source that is fed has ended for good, though it is live.
            SourceEvent::Ended,
            SourceEvent::State(SourceStatus::of(SourceState::Ended)),
            SourceEvent::GaveUp,
        ];
        assert_eq!(states(true, &events), [("playing", "playing"), ("ended", "ended")]);
    }

    #[test]
    fn it_starts_anew_once_it_was_closed_or_given_up() {
        let mut tracker = StatusTracker::new(true);
        let state = |tracker: &mut StatusTracker, wanted: Option<bool>, event: Option<SourceEvent>| {
            wanted.into_iter().for_each(|wanted| tracker.handle_wanted(wanted));
            event.iter().for_each(|event| _ = tracker.handle_event(event));
            tracker.status().map(|status| status.state)
        };
        assert_eq!(state(&mut tracker, None, Some(SourceEvent::Started)), None, "nothing is wanted");
        assert_eq!(state(&mut tracker, Some(true), None), Some(SourceState::Starting));
        assert_eq!(state(&mut tracker, None, Some(SourceEvent::Started)), Some(SourceState::Playing));
        assert_eq!(state(&mut tracker, Some(true), None), Some(SourceState::Playing), "another stream");
        assert_eq!(state(&mut tracker, None, Some(SourceEvent::GaveUp)), Some(SourceState::Failed));
        assert_eq!(state(&mut tracker, Some(true), None), Some(SourceState::Starting));
        assert_eq!(state(&mut tracker, Some(false), None), None);
        assert_eq!(state(&mut tracker, Some(true), Some(SourceEvent::Started)), Some(SourceState::Playing));
        // A producer may take its time to close.
        assert_eq!(state(&mut tracker, None, Some(SourceEvent::Stopped)), Some(SourceState::Playing));
    }
}
