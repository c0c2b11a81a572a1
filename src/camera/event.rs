//! Events and errors of a camera.

use std::fmt;

use super::sharing::{Share, ShareReason};
use crate::call::body::End;
use crate::client;
use crate::media::error::MediaError;
use crate::media::source::controls::Control;
#[cfg(feature = "gst")]
use crate::media::source::gst::CaptureInfo;
use crate::media::source::{RequestId, SourceStatus};
use crate::media::{Codec, StreamId, StreamInfo};
use crate::net::BindError;
use crate::proto::{Address, Status};

/// Identifies a call with a viewer, from [`Event::Incoming`] or [`Event::Calling`] to [`Event::ViewerLeft`] or
/// [`Event::CallFailed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewerId(pub(super) crate::call::CallId);

impl fmt::Display for ViewerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Viewer {
    /// The call.
    pub id: ViewerId,
    /// The peer.
    pub address: Address,
    /// The codec of its video; `None` if it gets no video.
    pub video: Option<Codec>,
    /// Whether it gets audio.
    pub audio: bool,
    /// What it gets of the video, and why; `None` before that is decided.
    pub share: Option<(Share, ShareReason)>,
}

/// An event of a camera.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Connected to the server under this address; viewers can call.
    Online {
        /// The camera's address.
        address: Address,
    },
    /// Disconnected from the server. The camera keeps trying to reconnect.
    Offline {
        /// The reason, for people.
        reason: String,
    },
    /// The server refused the camera, or the camera was closed. It does not reconnect.
    Ended {
        /// The status, such as 401, if the server refused the camera.
        status: Option<Status>,
        /// The reason, for people.
        reason: String,
    },
    /// A peer is calling and waits for [`Camera::accept`](super::Camera::accept) or
    /// [`Camera::reject`](super::Camera::reject) for up to 30 s; only with
    /// [`AnswerPolicy::Ask`](super::AnswerPolicy). A call that is not accepted ends with [`Event::CallFailed`].
    Incoming {
        /// The call.
        id: ViewerId,
        /// The caller.
        peer: Address,
        /// The data of the call, as sent by the peer: JSON, `{}` if there is none.
        data: String,
    },
    /// A call is being set up: one that the camera made, or one that it accepted.
    Calling {
        /// The call.
        id: ViewerId,
        /// The other peer.
        peer: Address,
    },
    /// Media is connected to a viewer.
    ViewerJoined {
        /// The viewer.
        viewer: Viewer,
    },
    /// The number of viewers changed.
    Viewers {
        /// Viewers whose media is connected.
        count: usize,
    },
    /// What a viewer gets of the video changed, or the reason for it. The viewer was told.
    Share {
        /// The viewer.
        id: ViewerId,
        /// What it gets from now on.
        share: Share,
        /// Why.
        reason: ShareReason,
    },
    /// A viewer has left.
    ViewerLeft {
        /// The viewer.
        viewer: Viewer,
        /// The reason.
        end: End,
    },
    /// A call ended before any frame was sent.
    CallFailed {
        /// The call.
        id: ViewerId,
        /// The other peer.
        peer: Address,
        /// The reason.
        end: End,
    },
    /// The streams that are produced from now on; none once nobody has watched for a while.
    Streaming {
        /// All of them.
        streams: Vec<StreamInfo>,
    },
    /// The video format, from the next key frame on.
    Format {
        /// Which stream.
        stream: StreamId,
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// Frames per second; 0 if the source does not report it.
        fps: u32,
    },
    /// The encoder's bitrate changed to follow the viewers' networks.
    Bitrate {
        /// Which stream.
        stream: StreamId,
        /// In bit/s.
        bps: u32,
    },
    /// The capture mode of a V4L2 camera: format, size and frame rate, why it was chosen, and its limits.
    #[cfg(feature = "gst")]
    Capture {
        /// What was chosen, and why.
        info: CaptureInfo,
    },
    /// The result of setting a control, by [`Camera::set_control`](super::Camera::set_control) or by a peer's command.
    ControlSet {
        /// The id of the request.
        request: RequestId,
        /// The control's name.
        name: String,
        /// The control with its actual value, or why it could not be set.
        result: Result<Control, MediaError>,
    },
    /// The camera's current controls, for [`Camera::read_controls`](super::Camera::read_controls) or for a peer.
    ControlsRead {
        /// The id of the request.
        request: RequestId,
        /// All controls, or why they could not be read.
        result: Result<Vec<Control>, MediaError>,
    },
    /// Frame rate or resolution were lowered or raised, because of the network or the temperature of the board.
    Quality {
        /// Which stream.
        stream: StreamId,
        /// The percentage of the full width and height.
        percent: u32,
        /// The maximum number of frames per second.
        fps: u32,
        /// The reason, for people: the temperature of the board, or the available bandwidth.
        why: String,
    },
    /// A problem of the board itself, such as an inadequate power supply.
    Board {
        /// The problem, for people.
        message: String,
    },
    /// The state of the source changed, as reported to viewers too. Not emitted while nobody watches.
    Source {
        /// State, code and message.
        status: SourceStatus,
    },
    /// The source failed; it is reopened if that may help.
    Media {
        /// The error.
        error: MediaError,
    },
    /// A caller publishes: it is the source now. Only with [`CameraSource::Published`](super::CameraSource::Published).
    #[cfg(feature = "relay")]
    PublishStarted {
        /// The call.
        id: ViewerId,
        /// The caller.
        peer: Address,
    },
    /// It does not publish any more.
    #[cfg(feature = "relay")]
    PublishEnded {
        /// The call.
        id: ViewerId,
    },
    /// A viewer talks, and is played. Only with [`Config::talk`](super::Config::talk).
    #[cfg(feature = "talk")]
    TalkStarted {
        /// The call.
        id: ViewerId,
        /// The viewer.
        peer: Address,
    },
    /// It has talked.
    #[cfg(feature = "talk")]
    TalkEnded {
        /// The call.
        id: ViewerId,
    },
    /// The output on which viewers are heard failed, and is tried again while somebody talks; or it works again.
    #[cfg(feature = "talk")]
    Speaker {
        /// The cause, and how to fix it; `None` once it works.
        error: Option<MediaError>,
    },
    /// The source ended. A file restarts.
    SourceEnded,
    /// Events of the camera's client other than its calls: peers, messages, commands, rooms.
    Client {
        /// The client's event.
        event: client::Event,
    },
    /// Events were lost because the callback or the reader of the stream was too slow.
    Lost {
        /// How many events.
        count: u64,
    },
}

impl crate::net::Lossy for Event {
    fn lost(count: u64) -> Self {
        Event::Lost { count }
    }
}

/// Why a camera cannot start: cause and cure for people, and a stable code for programs.
#[derive(Debug)]
#[non_exhaustive]
pub enum CameraError {
    /// The source or its encoder.
    Media {
        /// The error.
        cause: MediaError,
    },
    /// The TCP port for page and signalling.
    Bind {
        /// The error.
        cause: BindError,
    },
    /// The UDP port for media.
    Udp {
        /// The port.
        port: u16,
        /// The error of the operating system.
        cause: std::io::Error,
    },
    /// The URL of the server elsewhere.
    Url {
        /// The error.
        cause: crate::net::UrlError,
    },
    /// An invalid setting.
    Setting {
        /// The error, for people.
        message: String,
    },
}

impl CameraError {
    /// A stable code for programs, such as `port-taken` or `camera-busy`.
    pub fn code(&self) -> &'static str {
        match self {
            CameraError::Media { cause: e } => e.code(),
            CameraError::Bind { cause: e } => e.code(),
            CameraError::Udp { cause, .. } if cause.kind() == std::io::ErrorKind::AddrInUse => {
                "udp-port-taken"
            }
            CameraError::Udp { .. } => "udp-failed",
            CameraError::Url { .. } => "bad-url",
            CameraError::Setting { .. } => "bad-setting",
        }
    }
}

impl fmt::Display for CameraError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CameraError::Media { cause: e } => e.fmt(f),
            CameraError::Bind { cause: e } => e.fmt(f),
            CameraError::Udp { port, .. } if self.code() == "udp-port-taken" => {
                write!(
                    f,
                    "UDP port {port} for media is in use by another program: stop it, or choose another port"
                )
            }
            CameraError::Udp { port, cause } => {
                write!(f, "cannot use UDP port {port} for media: {cause}")
            }
            CameraError::Url { cause: e } => e.fmt(f),
            CameraError::Setting { message } => f.write_str(message),
        }
    }
}

impl std::error::Error for CameraError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CameraError::Media { cause: e } => Some(e),
            CameraError::Bind { cause: e } => Some(e),
            CameraError::Udp { cause, .. } => Some(cause),
            CameraError::Url { cause: e } => Some(e),
            CameraError::Setting { .. } => None,
        }
    }
}

impl From<MediaError> for CameraError {
    fn from(e: MediaError) -> Self {
        CameraError::Media { cause: e }
    }
}

impl From<BindError> for CameraError {
    fn from(e: BindError) -> Self {
        CameraError::Bind { cause: e }
    }
}

impl From<crate::net::UrlError> for CameraError {
    fn from(e: crate::net::UrlError) -> Self {
        CameraError::Url { cause: e }
    }
}
