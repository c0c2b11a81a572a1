//! Live pictures and sound through GStreamer: a source, encoders, and [`Frame`]s out.
//!
//! ```text
//! test │ V4L2 │ CSI │ file │ RTSP           (capture)
//!    video ─ scaled, I420 ─ tee ─┬─ H.264 ── frames VIDEO_H264
//!                                └─ VP8 ──── frames VIDEO_VP8      (branches that come and go)
//!    audio ─ 48 kHz ─────── tee ─── Opus ─── frames AUDIO_OPUS
//! ```
//!
//! [`Pipeline`] is a handle whose methods never wait: one control thread owns the GStreamer objects. While
//! stopped there are none: no device is open and no CPU is used.
//! (GStreamer 1.22 keeps a handle of a V4L2 device each time that its v4l2src played; it stays free for others.)
//!
//! Pictures of all runs of one [`Pipeline`], and its sound, have times that count from its making, so
//! they rise over restarts and over the end of a repeated file.

mod branch;
mod camera;
mod capture;
mod check;
mod control;
mod csi;
mod encoders;
mod fault;
mod gate;
pub mod pattern;
mod producer;
mod rtsp;
mod run;
mod unsafe_sdp;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use gstreamer as gst;

use super::controls::{self, Value};
use super::{Location, RequestId, SourceStatus};
use crate::media::adapt::ladder::Quality;
use crate::media::board::{self, Board, BoardInfo, Thermometer, machine};
use crate::media::error::{ErrorKind, MediaError};
use crate::media::{Frame, StreamId};

pub use camera::CaptureInfo;
use control::{Command, Control};
pub use encoders::{EncoderInfo, Rejected};

/// What to capture and how to encode it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where pictures and sound come from.
    pub source: Location,
    /// Width of the pictures in pixels. The test pattern has it exactly; other sources are scaled down,
    /// never up, to fit into `width` x `height` with their shape kept.
    pub width: u32,
    /// Height of the pictures in pixels.
    pub height: u32,
    /// Pictures a second, at most.
    pub fps: u32,
    /// The video bitrate to start with, in bit/s; later see [`Pipeline::set_bitrate`].
    pub bitrate: u32,
    /// Whether to take the source's sound.
    pub audio: bool,
    /// The board's profile: which encoders are tried, in which order and with which settings.
    pub board: Board,
    /// The H.264 encoders to try, by their GStreamer names, in this order. Empty: those of the board.
    pub encoders: Vec<String>,
    /// A key frame comes this often, asked for or not; encoders count it in pictures, so a source slower than
    /// `fps` takes longer. Viewers ask when they need one, so it can be long.
    pub key_interval: Duration,
    /// Whether a file starts again at its end.
    pub repeat: bool,
    /// Whether H.264 that a camera makes itself goes to the viewers as it is, where it is what browsers take.
    pub pass_through: bool,
}

impl Default for Settings {
    /// The test pattern in 1280 x 720, 30 pictures a second, 1 Mbit/s, with sound.
    fn default() -> Self {
        Settings {
            source: Location::Test,
            width: 1280,
            height: 720,
            fps: 30,
            bitrate: 1_000_000,
            audio: true,
            board: Board::Auto,
            encoders: Vec::new(),
            key_interval: Duration::from_secs(10),
            repeat: true,
            pass_through: true,
        }
    }
}

impl Settings {
    fn check(&self) -> Result<(), MediaError> {
        let wrong = if !(64..=7680).contains(&self.width) || !(64..=4320).contains(&self.height) {
            format!(
                "a picture of {} x {} is not possible: 64 x 64 to 7680 x 4320 is",
                self.width, self.height
            )
        } else if !self.width.is_multiple_of(2) || !self.height.is_multiple_of(2) {
            format!("a picture of {} x {} is not possible: both must be even", self.width, self.height)
        } else if !(1..=240).contains(&self.fps) {
            format!("{} pictures a second are not possible: 1 to 240 are", self.fps)
        } else if self.bitrate < 10_000 {
            format!("{} bit/s are too few for pictures: give 10000 at least", self.bitrate)
        } else {
            return Ok(());
        };
        Err(MediaError::new(ErrorKind::BadSettings, wrong))
    }
}

/// Which streams are to be produced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// H.264 pictures, [`VIDEO_H264`](crate::media::VIDEO_H264).
    pub h264: bool,
    /// VP8 pictures, [`VIDEO_VP8`](crate::media::VIDEO_VP8).
    pub vp8: bool,
    /// Opus sound, [`AUDIO_OPUS`](crate::media::AUDIO_OPUS), where the source has any.
    pub audio: bool,
}

impl Streams {
    /// No stream at all: the same as stopping.
    pub fn is_empty(self) -> bool {
        self == Streams::default()
    }

    fn has(self, stream: StreamId) -> bool {
        match stream {
            crate::media::VIDEO_H264 => self.h264,
            crate::media::VIDEO_VP8 => self.vp8,
            crate::media::AUDIO_OPUS => self.audio,
            _ => false,
        }
    }
}

/// What a [`Pipeline`] tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MediaEvent {
    /// The source gives: the first frame follows. Comes again after each interruption.
    Started,
    /// What the frames of a video stream are from the next one on, which is a key frame.
    Format {
        /// The stream.
        stream: StreamId,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Pictures a second; 0 when the source does not say.
        fps: u32,
        /// Of H.264: what the encoder's SPS says, the `profile-level-id` of an SDP.
        profile_level_id: Option<[u8; 3]>,
    },
    /// One coded picture or packet of sound. The first of a stream after each start is a key frame.
    Frame(Frame),
    /// The source came to its end. A file starts again ([`Settings::repeat`]), and so does an RTSP source.
    Ended,
    /// Nothing has come for 5 s. The source is opened anew, after a wait that grows to 30 s.
    Stalled(MediaError),
    /// The source cannot be used. RTSP sources and devices are tried again by themselves after a wait that
    /// grows to 30 s, with one such event each time; others stay stopped until the next `start`.
    Failed(MediaError),
    /// How a V4L2 camera's pictures come, where it says what it has: just before each
    /// [`Started`](Self::Started).
    Capture(CaptureInfo),
    /// What the source does from now on.
    State(SourceStatus),
    /// Something is not as it should be, and the source goes on.
    Trouble(MediaError),
    /// How the setting of a control ended; see [`Pipeline::set_control`].
    Control {
        /// As it was asked for.
        request: RequestId,
        /// The control's name.
        name: String,
        /// The control as it is now, or why it is not set.
        result: Result<controls::Control, MediaError>,
    },
    /// The camera's controls, read anew; see [`Pipeline::read_controls`].
    Controls {
        /// As it was asked for.
        request: RequestId,
        /// All of them, or why they cannot be read.
        result: Result<Vec<controls::Control>, MediaError>,
    },
    /// All is closed, and no frame comes any more.
    Stopped,
    /// The source is not tried again by itself: it failed for good, or ended and is not repeated. All is
    /// closed; the next [`Pipeline::start`] tries anew.
    GaveUp,
}

/// A source of encoded pictures and sound: a cheap handle. The last one dropped closes everything.
#[derive(Clone)]
pub struct Pipeline {
    inner: Arc<Inner>,
}

struct Inner {
    controls: Vec<controls::Control>,
    commands: Sender<Command>,
    board: BoardInfo,
    encoder: EncoderInfo,
    thermometer: Option<Thermometer>,
    has_audio: bool,
    has_vp8: bool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        _ = self.commands.send(Command::Quit);
    }
}

impl Pipeline {
    /// Checks what can be known at once (plugins, the file or device) and chooses the encoder by trying.
    /// That may take seconds and blocks; nothing runs afterwards until [`start`](Self::start).
    ///
    /// `on` gets all events, frames included, on the pipeline's own threads: those of one stream in order,
    /// those of different streams at the same time. It must not wait, or pictures are lost.
    pub fn new(
        settings: Settings,
        on: impl Fn(MediaEvent) + Send + Sync + 'static,
    ) -> Result<Pipeline, MediaError> {
        settings.check()?;
        let elements = board::elements();
        let (profile, board) = machine::board(Path::new("/"), &settings.board, &elements)?;
        log::info!("board: {board}");
        check::gstreamer(&settings)?;
        let installed = |name: &str| gst::ElementFactory::find(name).is_some();
        let csi = csi::find(&settings, &profile, &elements, installed)?;
        let found = check::source(&settings, csi.as_ref())?;
        let (encoder, info) = encoders::choose(&settings, &profile, &elements)?;
        let mut camera = match &settings.source {
            Location::V4l2(path) => Some(camera::Camera::new(path, &settings, &info)),
            _ => None,
        };
        let target = camera.as_mut().map(camera::Camera::find).transpose()?;
        let passes_through = target.is_some_and(|target| target.passes_through());
        let has_vp8 = profile.two_encodes && check::has_vp8() && (!passes_through || camera::decodes_h264());
        let controls = camera.as_mut().and_then(|camera| camera.controls().ok()).unwrap_or_default();
        let heat = profile.heat.as_ref();
        let thermometer = heat.and_then(|heat| Thermometer::find(Path::new("/"), heat));
        let (commands, inbox) = mpsc::channel();
        let control = Control::new(settings, encoder, camera, csi, Arc::new(on), commands.clone());
        std::thread::Builder::new().name("symple-media".into()).spawn(move || control.run(inbox)).map_err(
            |error| MediaError::new(ErrorKind::Other, format!("no thread for the pipeline: {error}")),
        )?;
        Ok(Pipeline {
            inner: Arc::new(Inner {
                controls,
                commands,
                board,
                encoder: info,
                thermometer,
                has_audio: found.audio,
                has_vp8,
            }),
        })
    }

    /// Produces these streams from now on. While running, streams are added and taken away without
    /// disturbing the others; no stream at all is [`stop`](Self::stop). VP8 comes only where
    /// [`has_vp8`](Self::has_vp8) says so.
    pub fn start(&self, streams: Streams) {
        let vp8 = streams.vp8 && self.has_vp8();
        self.send(Command::Start(Streams { vp8, ..streams }));
    }

    /// Closes the source; [`MediaEvent::Stopped`] follows.
    pub fn stop(&self) {
        self.send(Command::Start(Streams::default()));
    }

    /// Makes the next picture of a video stream a key frame. See [`KeyFrames`](crate::media::adapt::keyframes::KeyFrames)
    /// for merging what many viewers ask for.
    pub fn request_key_frame(&self, stream: StreamId) {
        self.send(Command::KeyFrame(stream));
    }

    /// Changes a stream's bitrate (bit/s) while it runs, and for its later starts.
    pub fn set_bitrate(&self, stream: StreamId, bps: u32) {
        self.send(Command::Bitrate(stream, bps));
    }

    /// Sets a control of a V4L2 camera, by name; [`MediaEvent::Control`] says how that ended. It is set again
    /// when the camera was away.
    pub fn set_control(&self, request: RequestId, name: &str, value: impl Into<Value>) {
        self.send(Command::SetControl(request, name.into(), value.into()));
    }

    /// Asks a V4L2 camera for its controls, which [`MediaEvent::Controls`] tells.
    pub fn read_controls(&self, request: RequestId) {
        self.send(Command::ReadControls(request));
    }

    /// The controls that a V4L2 camera had when the pipeline was made.
    pub fn controls(&self) -> &[controls::Control] {
        &self.inner.controls
    }

    /// Makes a video stream of fewer and smaller pictures, or of all again, from now on. The stream begins
    /// anew with a key frame, and [`MediaEvent::Format`] before it. Pictures that a camera encodes itself stay
    /// as they are.
    pub fn set_quality(&self, stream: StreamId, quality: Quality) {
        if stream != crate::media::AUDIO_OPUS {
            self.send(Command::Quality(stream, quality));
        }
    }

    /// Changes [`Settings::key_interval`] while it runs. Where the encoder cannot, it is built anew, which
    /// is a key frame.
    pub fn set_key_interval(&self, interval: Duration) {
        self.send(Command::KeyInterval(interval));
    }

    /// The board's profile that was chosen, and why.
    pub fn board(&self) -> &BoardInfo {
        &self.inner.board
    }

    /// The H.264 encoder that was chosen, and why not those before it.
    pub fn encoder(&self) -> &EncoderInfo {
        &self.inner.encoder
    }

    /// Where the board's heat is read, if anywhere.
    pub fn thermometer(&self) -> Option<&Thermometer> {
        self.inner.thermometer.as_ref()
    }

    /// Whether there is sound, as far as is known before the start: an RTSP source may turn out to have none.
    pub fn has_audio(&self) -> bool {
        self.inner.has_audio
    }

    /// Whether VP8 can be made beside H.264: an encoder is installed, and the board is said to be fast enough.
    pub fn has_vp8(&self) -> bool {
        self.inner.has_vp8
    }

    fn send(&self, command: Command) {
        // The control thread leaves only after the last handle.
        _ = self.inner.commands.send(command);
    }
}
