//! Plays encoded frames on this machine: video in a window or to a device, audio to a speaker.
//!
//! ```no_run
//! use symple::media::Frame;
//! use symple::media::playback::{Event, Playback, Settings};
//!
//! # fn frames() -> std::vec::IntoIter<Frame> { Vec::new().into_iter() }
//! let playback = Playback::start(Settings::default())?;
//! playback.on(|event| match event {
//!     Event::NeedKeyFrame { stream } => { /* request one from the source */ }
//!     Event::Failed { kind, error, .. } => println!("{kind:?}: {error}"),
//!     _ => {}
//! });
//! for frame in frames() {
//!     playback.push(&frame);
//! }
//! println!("{:?}", playback.stats());
//! # Ok::<(), symple::media::error::MediaError>(())
//! ```
//!
//! Video and audio have a pipeline each, so neither waits for the other's device, on one clock:
//!
//! ```text
//! frames ─ playout ─┬─ appsrc ─ (h264parse) ─ decoder ─ videoconvert ─ window │ V4L2 device │ elements │ the program
//!                   └─ appsrc ─ opusdec ─ audioconvert ─ audioresample ─ volume ─ speaker │ elements
//! ```
//!
//! The playout core decides when each frame is shown. Devices are opened and closed on threads of their own, since that
//! may block; one control thread does the rest.

mod control;
mod decoders;
mod devices;
mod fault;
mod lane;
mod picture;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use self::control::{Control, Order};
pub use self::devices::{AudioDevice, Direction, audio_devices};
pub use self::picture::Picture;
pub use self::settings::{Audio, Settings, Video};
use crate::media::error::{ErrorKind, MediaError};
use crate::media::{Frame, Kind, StreamId};

/// How long dropping the last handle waits for the devices to be closed.
const PATIENCE: Duration = Duration::from_millis(900);
/// The bytes of frames that the control thread has not taken yet are bounded by this.
const MOST_BYTES: usize = 16 << 20;
/// Their number is bounded by this: two seconds of video and audio.
const MOST_FRAMES: usize = 200;

/// An event of a [`Playback`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The first frame reached the output. Repeated after each failure.
    Playing {
        /// Video or audio.
        kind: Kind,
    },
    /// The output or the decoder failed.
    Failed {
        /// Video or audio.
        kind: Kind,
        /// The cause, and how to fix it.
        error: MediaError,
        /// When it is tried again; `None` if it needs other settings or packages.
        retry: Option<Duration>,
    },
    /// The user closed the window. It is not opened again.
    Closed {
        /// Video.
        kind: Kind,
    },
    /// No frame has arrived for two seconds: the stream is muted, or has stalled.
    Stalled {
        /// Video or audio.
        kind: Kind,
    },
    /// Frames arrive again.
    Resumed {
        /// Video or audio.
        kind: Kind,
    },
    /// Nothing can be shown before the next key frame: request one from the source. Repeated every second.
    NeedKeyFrame {
        /// The stream.
        stream: StreamId,
    },
}

impl Event {
    /// A stable code, for logs and translations; of a failure, that of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Event::Playing { .. } => "playing",
            Event::Failed { error, .. } => error.code(),
            Event::Closed { .. } => "closed",
            Event::Stalled { .. } => "stalled",
            Event::Resumed { .. } => "resumed",
            Event::NeedKeyFrame { .. } => "need-key-frame",
        }
    }
}

/// Statistics of the frames since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Video frames that reached the output.
    pub shown: u64,
    /// Video frames that came too late to be shown. They were decoded, because later ones need them.
    pub late: u64,
    /// Video frames that could not be decoded without an earlier one that is missing.
    pub undecodable: u64,
    /// Audio packets that were decoded.
    pub heard: u64,
    /// Audio packets that came too late.
    pub audio_late: u64,
    /// Audio packets that are not valid Opus.
    pub audio_undecodable: u64,
    /// Audio packets dropped to reduce the delay.
    pub skipped: u64,
    /// Missing audio packets whose gap was concealed.
    pub concealed: u64,
    /// Frames dropped because too many waited, or because the output was not open.
    pub overflow: u64,
    /// Frames of streams that are not played.
    pub other: u64,
    /// How long the fastest frame waits to be decoded: the size of the jitter buffer.
    pub delay: Duration,
    /// How much later video reaches its output than audio of the same time, in microseconds; negative if earlier. `None`
    /// unless both play. The delay inside a display or a speaker is unknown.
    pub skew: Option<i64>,
}

type Listener = Arc<dyn Fn(Event) + Send + Sync>;

/// What the handles and the control thread share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    listener: Option<Listener>,
    viewer: Option<picture::Viewer>,
    stats: Stats,
    /// Frames that the control thread has not taken yet.
    frames: usize,
    bytes: usize,
    /// How many were dropped before the control thread saw them.
    dropped: u64,
    /// How many were of a kind that is not played.
    ignored: u64,
    /// Since the last drop, video has a gap.
    broken: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock can panic halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Plays frames: a cheap handle. Dropping the last one closes window and speaker, within a second.
#[derive(Clone)]
pub struct Playback {
    inner: Arc<Inner>,
}

struct Inner {
    orders: Sender<Order>,
    shared: Arc<Shared>,
    video: bool,
    audio: bool,
    control: ThreadId,
    /// Dropping it waits until all is closed.
    waits: AtomicBool,
    ended: Mutex<Receiver<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        _ = self.orders.send(Order::Quit);
        // If it is dropped in the event callback, it would wait for itself.
        if *self.waits.get_mut() && std::thread::current().id() != self.control {
            let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
            _ = ended.recv_timeout(PATIENCE);
        }
    }
}

impl Playback {
    /// Starts playing, and returns at once: window and speaker open with the first frame of their kind.
    ///
    /// Errors: invalid settings, or a GStreamer element that is not installed; the message names its Debian package. A
    /// device that is missing or busy is an [event](Event::Failed), and is tried again.
    pub fn start(settings: Settings) -> Result<Playback, MediaError> {
        Playback::build(settings, None)
    }

    fn build(settings: Settings, tap: Option<lane::Tap>) -> Result<Playback, MediaError> {
        settings.check()?;
        let shared = Arc::<Shared>::default();
        let (orders, inbox) = mpsc::channel();
        let (video, audio) = (settings.video != Video::None, settings.audio != Audio::None);
        let control = Control::new(settings, tap, shared.clone(), orders.clone());
        let (end, ended) = mpsc::channel();
        let thread = std::thread::Builder::new().name("symple-play".into());
        let thread = thread.spawn(move || {
            control.run(inbox);
            _ = end.send(());
        });
        let thread = thread.map_err(|error| {
            MediaError::new(ErrorKind::Other, format!("cannot start the playback thread: {error}"))
        })?;
        let control = thread.thread().id();
        let inner = Inner {
            orders,
            shared,
            video,
            audio,
            control,
            waits: AtomicBool::new(true),
            ended: Mutex::new(ended),
        };
        Ok(Playback { inner: Arc::new(inner) })
    }

    /// Plays a frame at its time, which follows from `captured`. Never blocks, and takes frames of any stream: of several
    /// video or audio streams the first plays until it has stopped for a second.
    ///
    /// Video must be pushed in decoding order. If frames were lost, mark the next one as a
    /// [discontinuity](Frame::discontinuity).
    pub fn push(&self, frame: &Frame) {
        let plays = match frame.codec.kind() {
            Kind::Video => self.inner.video,
            Kind::Audio => self.inner.audio,
        };
        let mut state = self.inner.shared.lock();
        if !plays {
            state.ignored += 1;
            return;
        }
        let bytes = state.bytes + frame.data.len();
        if bytes > MOST_BYTES || state.frames >= MOST_FRAMES {
            state.dropped += 1;
            state.broken |= frame.codec.is_video();
            return;
        }
        (state.bytes, state.frames) = (bytes, state.frames + 1);
        drop(state);
        _ = self.inner.orders.send(Order::Frame(frame.clone()));
    }

    /// Closes window and speaker like dropping the last handle, without waiting for it.
    pub fn close(self) {
        self.inner.waits.store(false, Ordering::Relaxed);
    }

    /// What became of the frames, and how well audio and video are in sync.
    pub fn stats(&self) -> Stats {
        self.inner.shared.lock().stats
    }

    /// Calls `listener` with each event, on the control thread, one at a time. It must not block, or playing stops.
    /// Replaces the listener before it.
    pub fn on(&self, listener: impl Fn(Event) + Send + Sync + 'static) {
        self.inner.shared.lock().listener = Some(Arc::new(listener));
    }

    /// Calls `viewer` with each decoded frame when it is time to show it, if [`Settings::video`] is [`Video::Pictures`], on
    /// a thread of the player. While it blocks, newer frames replace those that wait. Replaces the viewer before it.
    pub fn on_picture(&self, viewer: impl Fn(Picture) + Send + Sync + 'static) {
        self.inner.shared.lock().viewer = Some(Arc::new(viewer));
    }

    /// Sets the volume: 0.0 is silent, 1.0 is unchanged, 10.0 is the most.
    pub fn set_volume(&self, volume: f64) {
        _ = self.inner.orders.send(Order::Volume(volume));
    }

    /// Mutes the audio, or restores it. Nothing else changes.
    pub fn set_muted(&self, muted: bool) {
        _ = self.inner.orders.send(Order::Muted(muted));
    }
}
