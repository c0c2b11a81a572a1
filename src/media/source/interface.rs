//! The interface between producers and consumers of frames.
//!
//! A [`Source`] announces streams and delivers frames of those that are wanted. It is a handle to a
//! [producer](Produce): a GStreamer pipeline, an application's own encoder, a peer in a call. Commands never block;
//! events arrive on the producer's threads.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::SourceStatus;
use super::controls::{Control, Value};
use crate::media::adapt::ladder::Quality;
use crate::media::adapt::temperature::{Reading, TemperatureLimits};
use crate::media::error::MediaError;
use crate::media::{Frame, StreamId, StreamInfo};

/// A command to a source.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// Deliver frames of exactly these streams from now on. Adding or removing one does not disturb the others. An empty
    /// set closes the source, which [`SourceEvent::Stopped`] confirms.
    Want(BTreeSet<StreamId>),
    /// Make the next frame of a video stream a key frame.
    KeyFrame(StreamId),
    /// Encode a stream at this bitrate, now and after every restart.
    Bitrate {
        /// The stream.
        stream: StreamId,
        /// Bitrate in bit/s.
        bps: u32,
    },
    /// Reduce the frame rate and size of a video stream, or restore them. This starts a new generation.
    Quality {
        /// The stream.
        stream: StreamId,
        /// Frame rate and size.
        quality: Quality,
    },
    /// Set the H.264 key frame interval, if the source encodes H.264 itself.
    KeyFrameInterval {
        /// The interval; encoders count it in frames.
        interval: Duration,
    },
    /// Set a control of the camera by name; [`SourceEvent::ControlSet`] has the result.
    SetControl {
        /// Returned in the event.
        request: RequestId,
        /// The control's name.
        name: String,
        /// The new value.
        value: Value,
    },
    /// Read the camera's controls; [`SourceEvent::ControlsRead`] has the result.
    ReadControls {
        /// Returned in the event.
        request: RequestId,
    },
}

/// Identifies a request, to match its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// An event from a source.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SourceEvent {
    /// The available streams, or a format change. A stream with a new generation has the new format from its next frame
    /// on, which is a key frame.
    Streams(Vec<StreamInfo>),
    /// An encoded frame. A stream's first frame after each start is a key frame.
    Frame(Frame),
    /// The source started, and the first frame follows. Repeated after each interruption.
    Started,
    /// No frame arrived within the timeout. The source reopens by itself.
    Stalled(MediaError),
    /// The source failed. [`SourceEvent::GaveUp`] follows if it does not retry by itself.
    Failed(MediaError),
    /// The source ended. It starts again, or [`SourceEvent::GaveUp`] follows.
    Ended,
    /// The source is closed and does not retry by itself. The next [`Command::Want`] retries.
    GaveUp,
    /// The source is closed as requested; no more frames follow.
    Stopped,
    /// The new state, with a code and a message that are safe to publish: they contain no address. Sent once per change,
    /// in addition to the events above; ends with [`SourceEvent::Stopped`]. A producer may omit it: the state is then
    /// derived from those events.
    State(SourceStatus),
    /// A problem that does not stop the source.
    Trouble(MediaError),
    /// What can be adjusted on a stream's encoder from now on. An encoder inside a camera has a fixed frame size and may
    /// have no bitrate control.
    Adjustable {
        /// The stream.
        stream: StreamId,
        /// Whether [`Command::Bitrate`] has an effect.
        bitrate: bool,
        /// Whether [`Command::Quality`] has an effect.
        quality: bool,
    },
    /// How a V4L2 camera's video is captured, if it reports its formats. Sent just before [`SourceEvent::Started`].
    #[cfg(feature = "gst")]
    Capture(super::CaptureInfo),
    /// The result of setting a control.
    ControlSet {
        /// The ID of the request.
        request: RequestId,
        /// The control's name.
        name: String,
        /// The control's new state, or why it was not set.
        result: Result<Control, MediaError>,
    },
    /// The camera's controls, freshly read.
    ControlsRead {
        /// The ID of the request.
        request: RequestId,
        /// The controls, or why they cannot be read.
        result: Result<Vec<Control>, MediaError>,
    },
}

/// Receives the events of a source. Called on the source's threads: in order for each stream, concurrently for several.
/// It must not block, or frames are lost.
pub type Listener = Arc<dyn Fn(SourceEvent) + Send + Sync>;

/// A producer of frames. Implement it for a custom source if [`Source::push`] is not enough.
pub trait Produce: Send + Sync + 'static {
    /// The available streams, as far as known before the first start.
    fn streams(&self) -> Vec<StreamInfo>;

    /// Sends events to `listener` from now on. Called once, before the first command.
    fn listen(&self, listener: Listener);

    /// Executes a command without blocking. Ignores commands it does not support.
    fn command(&self, command: Command);

    /// Whether it may come back after a loss: true for a camera, false for a file.
    fn is_live(&self) -> bool {
        true
    }

    /// The name of the encoder of its best video stream, for display.
    fn encoder(&self) -> Option<String> {
        None
    }

    /// The chosen H.264 encoder, and why the ones before it were rejected.
    #[cfg(feature = "gst")]
    fn encoder_info(&self) -> Option<&super::EncoderInfo> {
        None
    }

    /// The camera's controls at the time the source was created.
    fn controls(&self) -> Vec<Control> {
        Vec::new()
    }

    /// The temperature limits at which quality is reduced; `None` if no temperature is read.
    fn heat_limits(&self) -> Option<TemperatureLimits> {
        None
    }

    /// Reads the machine's temperature. Takes at most a millisecond.
    fn read_heat(&self) -> Reading {
        Reading::default()
    }

    /// The chosen board profile.
    #[cfg(feature = "gst")]
    fn board(&self) -> Option<&crate::media::board::BoardInfo> {
        None
    }
}

/// A source of encoded frames: a cheap handle. Dropping the last one closes the source.
#[derive(Clone)]
pub struct Source {
    producer: Arc<dyn Produce>,
}

impl Source {
    /// Creates a source from a custom producer.
    pub fn new(producer: impl Produce) -> Source {
        Source { producer: Arc::new(producer) }
    }

    /// Whether both are handles of the same source.
    #[cfg(feature = "camera")]
    pub(crate) fn is_same(&self, other: &Source) -> bool {
        Arc::ptr_eq(&self.producer, &other.producer)
    }

    /// The producer.
    pub fn producer(&self) -> &dyn Produce {
        &*self.producer
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("streams", &self.producer.streams()).finish_non_exhaustive()
    }
}
