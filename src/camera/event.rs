//! What a camera tells its program.

use std::fmt;

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

/// Names a call with a viewer, from [`Event::Incoming`] or [`Event::Calling`] to [`Event::ViewerLeft`] or [`Event::CallFailed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewerId(pub(super) crate::call::CallId);

impl fmt::Display for ViewerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who watches.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Viewer {
    /// The call.
    pub id: ViewerId,
    /// The peer.
    pub address: Address,
    /// How its pictures are coded; `None` where it gets none.
    pub video: Option<Codec>,
    /// Whether it gets sound.
    pub audio: bool,
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The server knows us under this address: viewers can call.
    Online {
        /// Ours.
        address: Address,
    },
    /// The server is out of reach. The camera goes on trying.
    Offline {
        /// In words.
        reason: String,
    },
    /// The server will not have us, or we closed; nothing is tried any more.
    Ended {
        /// The status, such as 401, where the server refused us.
        status: Option<Status>,
        /// In words.
        reason: String,
    },
    /// A peer calls and waits for [`Camera::accept`](super::Camera::accept) or
    /// [`Camera::reject`](super::Camera::reject), 30 s at most: only with [`Answer::Ask`](super::Answer). A call
    /// that is not taken ends with [`Event::CallFailed`].
    Incoming {
        /// The call.
        id: ViewerId,
        /// Who calls.
        peer: Address,
        /// What it wants, in its own words: JSON, `{}` where it says nothing.
        data: String,
    },
    /// A call with a peer is on its way, made by us, or by the peer and accepted.
    Calling {
        /// The call.
        id: ViewerId,
        /// With whom.
        peer: Address,
    },
    /// Pictures flow to a viewer.
    ViewerJoined {
        /// Who watches.
        viewer: Viewer,
    },
    /// So many watch from now on.
    Viewers {
        /// Whose media is connected.
        count: usize,
    },
    /// A viewer is gone, and why.
    ViewerLeft {
        /// Who watched.
        viewer: Viewer,
        /// Why it is gone.
        end: End,
    },
    /// A call ended before any frame was sent, and why.
    CallFailed {
        /// The call.
        id: ViewerId,
        /// With whom.
        peer: Address,
        /// Why it ended.
        end: End,
    },
    /// The streams that are produced from now on; none of them when nobody has watched for a while.
    Streaming {
        /// All of them.
        streams: Vec<StreamInfo>,
    },
    /// What pictures are, from the next key frame on.
    Format {
        /// Which stream.
        stream: StreamId,
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// Pictures a second; 0 when the source does not say.
        fps: u32,
    },
    /// The encoder's bitrate follows the viewers' networks.
    Bitrate {
        /// Which stream.
        stream: StreamId,
        /// In bit/s.
        bps: u32,
    },
    /// How a V4L2 camera's pictures come: format, size, rate, and why; and what it cannot do.
    #[cfg(feature = "gst")]
    Capture {
        /// What was chosen, and why.
        info: CaptureInfo,
    },
    /// How the setting of a control ended, by [`Camera::set_control`](super::Camera::set_control) or by a
    /// peer's command.
    Control {
        /// As it was asked for.
        request: RequestId,
        /// The control's name.
        name: String,
        /// The control as it is now, or why it is not set.
        result: Result<Control, MediaError>,
    },
    /// The camera's controls, read anew for [`Camera::read_controls`](super::Camera::read_controls) or for a
    /// peer.
    Controls {
        /// As it was asked for.
        request: RequestId,
        /// All of them, or why they cannot be read.
        result: Result<Vec<Control>, MediaError>,
    },
    /// Fewer and smaller pictures are made, or more again: for the network's or the board's sake.
    Quality {
        /// Which stream.
        stream: StreamId,
        /// Of the full width and height, in percent.
        percent: u32,
        /// Pictures a second, at most.
        fps: u32,
        /// In words: how hot the board is, how few bits the network takes.
        why: String,
    },
    /// The board itself is in trouble, such as a power supply that is too weak.
    Board {
        /// In words.
        message: String,
    },
    /// What the source does from now on, as viewers are told it too. Not told while nobody watches.
    Source {
        /// State, code and words.
        status: SourceStatus,
    },
    /// The source is in trouble; it is opened anew where that may help.
    Media {
        /// What is wrong.
        error: MediaError,
    },
    /// The source came to its end. A file starts again.
    SourceEnded,
    /// What the camera's client told beside its calls: peers, messages, commands, rooms.
    Client {
        /// As the client told it.
        event: client::Event,
    },
    /// So many events were lost, because the callback or the stream's reader did not come back.
    Lost {
        /// How many.
        count: u64,
    },
}

impl crate::net::Lossy for Event {
    fn lost(count: u64) -> Self {
        Event::Lost { count }
    }
}

/// Why a camera does not start: the cause and the cure in words, and a stable code.
#[derive(Debug)]
#[non_exhaustive]
pub enum CameraError {
    /// The source or its encoder.
    Media {
        /// What is wrong with it.
        cause: MediaError,
    },
    /// The port for browsers.
    Bind {
        /// What is wrong with it.
        cause: BindError,
    },
    /// The UDP port for pictures.
    Udp {
        /// Which port.
        port: u16,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The address of the server elsewhere.
    Url {
        /// What is wrong with it.
        cause: crate::net::UrlError,
    },
    /// A setting that makes no sense.
    Setting {
        /// In words.
        message: String,
    },
}

impl CameraError {
    /// A stable name for programs, such as `port-taken` or `camera-busy`.
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
                    "UDP port {port}, for pictures, is taken by another program: stop that one, or choose another port"
                )
            }
            CameraError::Udp { port, cause } => {
                write!(f, "UDP port {port}, for pictures, cannot be used: {cause}")
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
