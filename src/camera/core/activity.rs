//! What a publisher sends: video, audio alone, or nothing. This follows from what arrives, since a page that turns its
//! camera off negotiates nothing.

use std::time::{Duration, Instant};

use super::publish::Order;
use super::{CameraCore, Output};
use crate::media::Kind;

/// Video has paused after this time without a frame. Browsers repeat the frame of a screen that does not change every
/// second.
const PAUSE: Duration = Duration::from_secs(2);
/// Audio has stopped after this time without a packet. In silence, Opus sends one every 400 ms (RFC 6716, 2.1.9).
const SILENCE: Duration = Duration::from_millis(1500);

/// What a publisher sends at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// Video, with or without audio.
    Video,
    /// Audio alone.
    Audio,
    /// Nothing.
    Nothing,
}

/// The activity of one publisher, who is expected to send video at first.
#[derive(Debug)]
pub(super) struct Activity {
    sending: Sending,
    /// The last frame, or the beginning.
    video: Instant,
    audio: Option<Instant>,
}

impl Activity {
    pub(super) fn new(now: Instant) -> Self {
        Activity { sending: Sending::Video, video: now, audio: None }
    }

    /// Handles the arrival of a frame. Returns what is sent from now on, if that changed.
    pub(super) fn handle_frame(&mut self, kind: Kind, now: Instant) -> Option<Sending> {
        match kind {
            Kind::Video => self.video = now,
            Kind::Audio => self.audio = Some(now),
        }
        self.handle_timeout(now)
    }

    /// Handles the passing of time. Returns what is sent from now on, if that changed.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Sending> {
        let passed = |at: Instant| now.saturating_duration_since(at);
        let sending = match self.audio {
            _ if passed(self.video) < PAUSE => Sending::Video,
            Some(audio) if passed(audio) < SILENCE => Sending::Audio,
            _ => Sending::Nothing,
        };
        (std::mem::replace(&mut self.sending, sending) != sending).then_some(sending)
    }

    /// Returns when it may change without a frame.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.sending {
            Sending::Video => Some(self.video + PAUSE),
            Sending::Audio => self.audio.map(|audio| audio + SILENCE),
            Sending::Nothing => None,
        }
    }
}

impl CameraCore {
    /// Handles something that concerns the activity of the publisher, if there is one.
    pub(super) fn note_activity(&mut self, what: impl FnOnce(&mut Activity) -> Option<Sending>) {
        let activity = self.publishers.as_mut().and_then(|publishers| publishers.activity.as_mut());
        let sending = activity.and_then(what);
        self.out.extend(sending.map(|sending| Output::Publish(Order::Sends(sending))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn video_pauses_while_audio_goes_on_and_nothing_is_told_apart_from_that() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut activity = Activity::new(start);
        assert_eq!(activity.handle_frame(Kind::Video, at(100)), None);
        for ms in (100..2100).step_by(20) {
            assert_eq!(activity.handle_frame(Kind::Audio, at(ms)), None, "{ms}");
        }
        assert_eq!(activity.poll_timeout(), Some(at(2100)));
        assert_eq!(activity.handle_timeout(at(2100)), Some(Sending::Audio));
        assert_eq!(activity.handle_frame(Kind::Audio, at(2120)), None);
        assert_eq!(activity.poll_timeout(), Some(at(3620)));
        assert_eq!(activity.handle_timeout(at(3620)), Some(Sending::Nothing));
        assert_eq!(activity.poll_timeout(), None);
        assert_eq!(activity.handle_frame(Kind::Audio, at(9000)), Some(Sending::Audio));
        assert_eq!(activity.handle_frame(Kind::Video, at(9010)), Some(Sending::Video));
        // A network that stops takes both at once.
        assert_eq!(activity.handle_frame(Kind::Audio, at(9010)), None);
        assert_eq!(activity.handle_timeout(at(11_010)), Some(Sending::Nothing));
    }

    #[test]
    fn who_begins_without_video_is_told_apart_after_the_same_time() {
        let start = Instant::now();
        let mut activity = Activity::new(start);
        assert_eq!(activity.handle_frame(Kind::Audio, start), None);
        assert_eq!(activity.handle_frame(Kind::Audio, start + PAUSE), Some(Sending::Audio));
        // Silence that is transmitted discontinuously goes on being audio.
        let next = start + PAUSE + Duration::from_millis(400);
        assert_eq!(activity.handle_timeout(next), None);
    }
}
