//! Errors of media sources: the cause, and how to fix it.

use std::fmt;

/// The kind of a [`MediaError`], for programs to match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Invalid settings: source, size, frame rate or bitrate.
    BadSettings,
    /// GStreamer or one of its plugins is not installed.
    MissingPlugin,
    /// None of the encoders works on this machine.
    NoEncoder,
    /// The device does not exist.
    NoCamera,
    /// The camera is in use by another program.
    CameraBusy,
    /// The device exists but is not a camera.
    NotACamera,
    /// Permission to open the device or file was denied.
    NotAllowed,
    /// The file does not exist.
    NoFile,
    /// The file has nothing that can be played.
    NotMedia,
    /// The source has no video.
    NoVideo,
    /// The source sends audio alone for now.
    VideoOff,
    /// Nobody publishes at a relay.
    NoPublisher,
    /// The video's H.264 profile is not the one negotiated with viewers.
    OtherProfile,
    /// There is no such microphone.
    NoMicrophone,
    /// The microphone is in use by another program.
    MicrophoneBusy,
    /// The network source is unreachable.
    Unreachable,
    /// The network source has no such path.
    NotFound,
    /// The network source requires a valid user and password.
    Unauthorized,
    /// The source ended.
    Ended,
    /// The source is open but delivers nothing.
    Stalled,
    /// The camera delivers frames of another size or format than negotiated.
    WrongFormat,
    /// The camera's frame rate is far below the negotiated one.
    TooSlow,
    /// The camera has no such control.
    NoControl,
    /// A control does not accept this value, or cannot be set now.
    BadValue,
    /// There is no such display, speaker or output device.
    NoOutput,
    /// The output device is in use by another program.
    OutputBusy,
    /// The device exists but does not show video.
    NotAnOutput,
    /// Any other error; the message is usually GStreamer's.
    Other,
}

/// Why a media source cannot be used: [`kind`](Self::kind) is for programs, [`Display`](fmt::Display) for people.
///
/// The message may name the source's host, path or device, but never a credential: see [`Location`](super::source::Location).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaError {
    kind: ErrorKind,
    words: String,
}

impl MediaError {
    /// Creates an error with a message that gives the cause and how to fix it.
    pub fn new(kind: ErrorKind, words: impl Into<String>) -> Self {
        MediaError { kind, words: words.into() }
    }

    /// The error for a missing GStreamer element; `package` is the Debian package that provides it.
    pub fn missing_plugin(element: &str, package: &str) -> Self {
        let words = format!("the GStreamer element {element} is not installed (try `apt install {package}`)");
        MediaError::new(ErrorKind::MissingPlugin, words)
    }

    /// The kind of error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether a retry may succeed. A wrong password stays wrong, and repeated attempts may lock the account.
    pub fn may_pass(&self) -> bool {
        !matches!(self.kind, ErrorKind::MissingPlugin | ErrorKind::Unauthorized | ErrorKind::BadSettings)
    }

    /// A stable code for the kind, for logs and translations.
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
            ErrorKind::NoVideo => "no-video",
            ErrorKind::VideoOff => "video-off",
            ErrorKind::NoPublisher => "no-publisher",
            ErrorKind::OtherProfile => "other-profile",
            ErrorKind::NoMicrophone => "no-microphone",
            ErrorKind::MicrophoneBusy => "microphone-busy",
            ErrorKind::Unreachable => "unreachable",
            ErrorKind::NotFound => "not-found",
            ErrorKind::Unauthorized => "unauthorized",
            ErrorKind::Ended => "ended",
            ErrorKind::Stalled => "stalled",
            ErrorKind::WrongFormat => "wrong-format",
            ErrorKind::TooSlow => "too-slow",
            ErrorKind::NoControl => "no-control",
            ErrorKind::BadValue => "bad-value",
            ErrorKind::NoOutput => "no-output",
            ErrorKind::OutputBusy => "output-busy",
            ErrorKind::NotAnOutput => "not-an-output",
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
