//! The seam between whatever makes frames and whatever takes them.
//!
//! A [`Source`] announces streams and gives frames of those that are wanted. It is a handle over something that
//! [produces](Produce): a GStreamer pipeline, an application's own encoder, a peer in a call. Commands go in and never
//! wait; events come out on the producer's own threads.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::SourceStatus;
use super::controls::{Control, Value};
use crate::media::adapt::heat::{Limits, Reading};
use crate::media::adapt::ladder::Quality;
use crate::media::error::MediaError;
use crate::media::{Frame, StreamId, StreamInfo};

/// What a source is asked for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// Give frames of these streams from now on, and of no others. While it runs, streams come and go without
    /// disturbing the rest. No stream at all closes the source, which [`SourceEvent::Stopped`] confirms.
    Want(BTreeSet<StreamId>),
    /// Make the next frame of a video stream a key frame.
    KeyFrame(StreamId),
    /// Encode a stream at this bitrate, now and at its later starts.
    Bitrate {
        /// The stream.
        stream: StreamId,
        /// In bit/s.
        bps: u32,
    },
    /// Make fewer and smaller frames of a video stream, or all again. It begins a new generation.
    Quality {
        /// The stream.
        stream: StreamId,
        /// Frame rate and size.
        quality: Quality,
    },
    /// Make a key frame this often, asked for or not, where the source encodes H.264 itself.
    KeyFrameInterval {
        /// From one to the next; encoders count it in frames.
        interval: Duration,
    },
    /// Set a control of the camera, by its name; [`SourceEvent::Control`] says how that ended.
    SetControl {
        /// The event bears it.
        request: RequestId,
        /// The control's name.
        name: String,
        /// What it is set to.
        value: Value,
    },
    /// Read the camera's controls, which [`SourceEvent::Controls`] gives.
    ReadControls {
        /// The event bears it.
        request: RequestId,
    },
}

/// Names a request, so that its answer is known by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What a source says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SourceEvent {
    /// All streams that can be wanted, or the same ones with another format. What a stream's frames are from the
    /// next one on, which is a key frame, where its generation is a new one.
    Streams(Vec<StreamInfo>),
    /// One encoded frame. The first of a stream after each start is a key frame.
    Frame(Frame),
    /// The source gives: the first frame follows. Comes again after each interruption.
    Started,
    /// Nothing has come for a while. It is opened again by itself.
    Stalled(MediaError),
    /// It cannot be used now; [`SourceEvent::GaveUp`] follows where it is not tried again by itself.
    Failed(MediaError),
    /// It came to its end. It begins again, or [`SourceEvent::GaveUp`] follows.
    Ended,
    /// It is not tried again by itself: everything is closed. The next [`Command::Want`] tries anew.
    GaveUp,
    /// All is closed, as wanted; no frame comes any more.
    Stopped,
    /// What it does from now on, for everybody: a code and words without an address. It says the same as the events
    /// above, and comes once for each change; [`SourceEvent::Stopped`] ends it.
    State(SourceStatus),
    /// Something is not as it should be, and the source goes on.
    Trouble(MediaError),
    /// What can be adjusted at the encoder of a stream from now on: one within a camera has its own frame size, and
    /// perhaps no control for its bitrate.
    Adjustable {
        /// The stream.
        stream: StreamId,
        /// Whether [`Command::Bitrate`] has an effect.
        bitrate: bool,
        /// Whether [`Command::Quality`] has one.
        quality: bool,
    },
    /// How a V4L2 camera's frames come, where it says what it has: just before [`SourceEvent::Started`].
    #[cfg(feature = "gst")]
    Capture(super::CaptureInfo),
    /// How the setting of a control ended.
    Control {
        /// As it was asked for.
        request: RequestId,
        /// The control's name.
        name: String,
        /// The control as it is now, or why it is not set.
        result: Result<Control, MediaError>,
    },
    /// The camera's controls, read anew.
    Controls {
        /// As it was asked for.
        request: RequestId,
        /// All of them, or why they cannot be read.
        result: Result<Vec<Control>, MediaError>,
    },
}

/// Takes the events of a source. It is called on the source's own threads, for one stream in order and for several at
/// the same time; it must not wait, or frames are lost.
pub type Listener = Arc<dyn Fn(SourceEvent) + Send + Sync>;

/// What makes frames. Implement it for a source of one's own that [`Source::push`] is too narrow for.
pub trait Produce: Send + Sync + 'static {
    /// All that can be wanted, as far as it is known before the first start.
    fn streams(&self) -> Vec<StreamInfo>;

    /// Events go to `listener` from now on. Called once, before the first command.
    fn listen(&self, listener: Listener);

    /// Does what is asked for, without waiting. What it cannot do it leaves.
    fn command(&self, command: Command);

    /// Whether it may be back after a while: a camera is, a file that has ended is not.
    fn is_live(&self) -> bool {
        true
    }

    /// The name of the encoder of its best video stream, for people.
    fn encoder(&self) -> Option<String> {
        None
    }

    /// The H.264 encoder that was chosen, and why not those before it.
    #[cfg(feature = "gst")]
    fn encoder_info(&self) -> Option<&super::EncoderInfo> {
        None
    }

    /// The controls that its camera had when it was made.
    fn controls(&self) -> Vec<Control> {
        Vec::new()
    }

    /// Between which temperatures less is asked of the machine that encodes; `None` where none is read.
    fn heat_limits(&self) -> Option<Limits> {
        None
    }

    /// Reads the machine's temperature now, which takes a millisecond at most.
    fn read_heat(&self) -> Reading {
        Reading::default()
    }

    /// The board's profile that was chosen.
    #[cfg(feature = "gst")]
    fn board(&self) -> Option<&crate::media::board::BoardInfo> {
        None
    }
}

/// A source of encoded frames: a cheap handle. The last one dropped closes it.
#[derive(Clone)]
pub struct Source {
    producer: Arc<dyn Produce>,
}

impl Source {
    /// A source over a producer of one's own.
    pub fn new(producer: impl Produce) -> Source {
        Source { producer: Arc::new(producer) }
    }

    /// Whether both are handles of the same source.
    #[cfg(feature = "camera")]
    pub(crate) fn is_same(&self, other: &Source) -> bool {
        Arc::ptr_eq(&self.producer, &other.producer)
    }

    /// What makes the frames.
    pub fn producer(&self) -> &dyn Produce {
        &*self.producer
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("streams", &self.producer.streams()).finish_non_exhaustive()
    }
}
