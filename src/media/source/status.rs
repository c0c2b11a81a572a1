//! The public status of a source: a state with a code and a message, never an address.

use serde_json::{Value, json};

use crate::media::error::{ErrorKind, MediaError};

/// The state of a source while any of its streams is wanted.
///
/// ```text
/// starting ──▶ playing ◀──▶ lost
///     │           │           │
///     └───────────┴───────────┴──▶ ended │ failed ── wanted again ──▶ starting
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SourceState {
    /// Being opened.
    Starting,
    /// Delivering frames.
    Playing,
    /// No frames arrive. Calls stay open, and the source is retried. With the code `video-off` audio goes on.
    Lost,
    /// Ended without looping; calls have ended. The next viewer opens it again.
    Ended,
    /// Failed and not retried automatically; calls have ended. The next viewer opens it again.
    Failed,
}

impl SourceState {
    /// The state's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            SourceState::Starting => "starting",
            SourceState::Playing => "playing",
            SourceState::Lost => "lost",
            SourceState::Ended => "ended",
            SourceState::Failed => "failed",
        }
    }
}

/// The state of a source, and why. Neither code nor message contains an address or a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceStatus {
    /// The state.
    pub state: SourceState,
    /// The state's name, or [`MediaError::code`] if there is an error.
    pub code: &'static str,
    /// The same as a sentence for people.
    pub message: &'static str,
}

impl SourceStatus {
    /// The status of a source without an error.
    pub fn of(state: SourceState) -> Self {
        let message = match state {
            SourceState::Starting => "The source is being opened.",
            SourceState::Playing => "The source is playing.",
            SourceState::Lost => "The source ended and is being reopened.",
            SourceState::Ended => "The source has ended.",
            SourceState::Failed => "The source failed.",
        };
        let code = if state == SourceState::Lost { "ended" } else { state.as_str() };
        SourceStatus { state, code, message }
    }

    /// The status of a source with this error.
    pub fn because(state: SourceState, error: &MediaError) -> Self {
        SourceStatus { state, code: error.code(), message: words(error.kind()) }
    }

    /// Its JSON form in events and presence: `{"state":…,"code":…,"message":…}`.
    pub fn to_json(self) -> Value {
        json!({ "state": self.state.as_str(), "code": self.code, "message": self.message })
    }
}

/// An error's own message may name a path or a host, which viewers must not see.
fn words(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::BadSettings => "The source's settings are invalid.",
        ErrorKind::MissingPlugin => "A plugin for this source is not installed on the camera.",
        ErrorKind::NoEncoder => "The camera has no working encoder.",
        ErrorKind::NoCamera => "The camera is not plugged in.",
        ErrorKind::CameraBusy => "The camera is in use by another program.",
        ErrorKind::NotACamera => "The device is not a camera.",
        ErrorKind::NotAllowed => "The program has no permission to open the source.",
        ErrorKind::NoFile => "The file does not exist.",
        ErrorKind::NotMedia => "The file cannot be played.",
        ErrorKind::NoVideo => "The source has no video.",
        ErrorKind::VideoOff => "The video is off; only sound is sent.",
        ErrorKind::NoPublisher => "Nobody publishes at the moment.",
        ErrorKind::Unreachable => "The network camera cannot be reached.",
        ErrorKind::NotFound => "The network camera has no such path.",
        ErrorKind::Unauthorized => "The network camera rejected the user or password.",
        ErrorKind::Stalled => "The source delivers no frames.",
        _ => "The source has a problem.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_is_told() {
        let error = MediaError::new(ErrorKind::Unreachable, "rtsp://192.0.2.7/s3cret");
        assert_eq!(
            SourceStatus::because(SourceState::Lost, &error).to_json().to_string(),
            r#"{"code":"unreachable","message":"The network camera cannot be reached.","state":"lost"}"#
        );
        assert_eq!(SourceStatus::of(SourceState::Lost).code, "ended");
        assert_eq!(SourceStatus::of(SourceState::Playing).code, "playing");
    }
}
