//! What a source does, as people are told it: a state with a code and words, and never an address.

use serde_json::{Value, json};

use crate::media::error::{ErrorKind, MediaError};

/// What a source does while something of it is wanted.
///
/// ```text
/// starting ──▶ playing ◀──▶ lost
///     │           │           │
///     └───────────┴───────────┴──▶ ended │ failed ── wanted again ──▶ starting
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SourceState {
    /// It is being opened.
    Starting,
    /// Frames flow.
    Playing,
    /// Nothing comes from it. Calls stay, and it is tried again.
    Lost,
    /// It came to its end and is not repeated; calls have ended. The next viewer opens it again.
    Ended,
    /// It cannot be used, and is not tried again by itself; calls have ended. The next viewer opens it again.
    Failed,
}

impl SourceState {
    /// Its name on the wire.
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

/// What the source does, and why. Neither code nor words hold an address or a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceStatus {
    /// What it does.
    pub state: SourceState,
    /// The state's name, or where something is wrong that of [`MediaError::code`].
    pub code: &'static str,
    /// The same for people.
    pub message: &'static str,
}

impl SourceStatus {
    /// The status of a source with which nothing is wrong.
    pub fn of(state: SourceState) -> Self {
        let message = match state {
            SourceState::Starting => "The source is being opened.",
            SourceState::Playing => "The source plays.",
            SourceState::Lost => "The source ended and is opened again.",
            SourceState::Ended => "The source came to its end.",
            SourceState::Failed => "The source failed.",
        };
        let code = if state == SourceState::Lost { "ended" } else { state.as_str() };
        SourceStatus { state, code, message }
    }

    /// The status of a source with which this is wrong.
    pub fn because(state: SourceState, error: &MediaError) -> Self {
        SourceStatus { state, code: error.code(), message: words(error.kind()) }
    }

    /// As it stands in an event and in the presence: `{"state":…,"code":…,"message":…}`.
    pub fn to_json(self) -> Value {
        json!({ "state": self.state.as_str(), "code": self.code, "message": self.message })
    }
}

/// An error's own words may name a path or a host, which are not for everybody who watches.
fn words(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::BadSettings => "The source's settings make no sense.",
        ErrorKind::MissingPlugin => "The camera's machine lacks a plugin for this source.",
        ErrorKind::NoEncoder => "The camera's machine has no encoder that works.",
        ErrorKind::NoCamera => "The camera is not plugged in.",
        ErrorKind::CameraBusy => "The camera is in use by another program.",
        ErrorKind::NotACamera => "The device is not a camera.",
        ErrorKind::NotAllowed => "The program has no permission to open the source.",
        ErrorKind::NoFile => "The file is not there.",
        ErrorKind::NotMedia => "The file cannot be played.",
        ErrorKind::NoPictures => "The source has no video.",
        ErrorKind::Unreachable => "The network camera cannot be reached.",
        ErrorKind::NotFound => "The network camera knows no such path.",
        ErrorKind::Unauthorized => "The network camera wants another user and password.",
        ErrorKind::Stalled => "Nothing comes from the source.",
        _ => "The source is in trouble.",
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
