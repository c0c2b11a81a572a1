//! What went wrong at a source of pictures, in words: the cause and the cure.

use std::fmt;

/// The kind of a [`MediaError`], for a program to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A source, size or rate that makes no sense.
    BadSettings,
    /// GStreamer itself or one of its plugins is not installed.
    MissingPlugin,
    /// No encoder of the list works on this machine.
    NoEncoder,
    /// There is no such device.
    NoCamera,
    /// Another program uses the camera.
    CameraBusy,
    /// The device is there and is not a camera that gives pictures.
    NotACamera,
    /// This user may not open the device or file.
    NotAllowed,
    /// There is no such file.
    NoFile,
    /// The file holds nothing that can be played.
    NotMedia,
    /// The source has no pictures.
    NoPictures,
    /// The pictures are coded otherwise than was agreed with viewers.
    OtherProfile,
    /// The network source does not answer.
    Unreachable,
    /// The network source answers that it knows no such address.
    NotFound,
    /// The network source wants a user and password, or others than given.
    Unauthorized,
    /// The source ended.
    Ended,
    /// The source is open and gives nothing.
    Stalled,
    /// The camera gives pictures of another size or kind than it agreed to.
    WrongPictures,
    /// The camera gives far fewer pictures a second than it agreed to.
    TooSlow,
    /// The camera has no such control.
    NoControl,
    /// A control does not take this value, or none now.
    BadValue,
    /// Anything else, in GStreamer's words.
    Other,
}

/// Why a source of pictures cannot be used: [`kind`](Self::kind) for programs, [`Display`](fmt::Display) for
/// people.
///
/// It may name the source's host, path or device, and never a credential: see [`Location`](super::source::Location).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaError {
    kind: ErrorKind,
    words: String,
}

impl MediaError {
    /// An error of a kind, with its cause and cure in words.
    pub fn new(kind: ErrorKind, words: impl Into<String>) -> Self {
        MediaError { kind, words: words.into() }
    }

    /// A GStreamer element is missing; `package` is the Debian package that brings it.
    pub fn missing_plugin(element: &str, package: &str) -> Self {
        let words =
            format!("the GStreamer element {element} is missing: install it with `apt install {package}`");
        MediaError::new(ErrorKind::MissingPlugin, words)
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether waiting may mend it. A wrong password does not become right, and many tries lock an account.
    pub fn may_pass(&self) -> bool {
        !matches!(self.kind, ErrorKind::MissingPlugin | ErrorKind::Unauthorized | ErrorKind::BadSettings)
    }

    /// A stable name of the kind, for logs and other languages.
    pub fn code(&self) -> &'static str {
        match self.kind {
            ErrorKind::BadSettings => "bad-settings",
            ErrorKind::MissingPlugin => "missing-plugin",
            ErrorKind::NoEncoder => "no-encoder",
            ErrorKind::NoCamera => "no-camera",
            ErrorKind::CameraBusy => "camera-busy",
            ErrorKind::NotACamera => "not-a-camera",
            ErrorKind::NotAllowed => "not-allowed",
            ErrorKind::NoFile => "no-file",
            ErrorKind::NotMedia => "not-media",
            ErrorKind::NoPictures => "no-pictures",
            ErrorKind::OtherProfile => "other-profile",
            ErrorKind::Unreachable => "unreachable",
            ErrorKind::NotFound => "not-found",
            ErrorKind::Unauthorized => "unauthorized",
            ErrorKind::Ended => "ended",
            ErrorKind::Stalled => "stalled",
            ErrorKind::WrongPictures => "wrong-pictures",
            ErrorKind::TooSlow => "too-slow",
            ErrorKind::NoControl => "no-control",
            ErrorKind::BadValue => "bad-value",
            ErrorKind::Other => "media",
        }
    }
}

impl fmt::Display for MediaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for MediaError {}
