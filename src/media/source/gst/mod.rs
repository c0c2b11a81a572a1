//! Live video and audio with GStreamer: a source and encoders that produce [`Frame`](crate::media::Frame)s.
//!
//! ```text
//! test │ V4L2 │ CSI │ file │ RTSP           (capture)
//!    video ─ scaled, I420 ─ tee ─┬─ H.264
//!                                ├─ H.264 at half the size: the small rendition
//!                                ├─ VP8      (one branch per stream, added on demand)
//!                                └─ JPEG, at most one frame per second
//!    audio ─ 48 kHz ─────── tee ─── Opus
//! ```
//!
//! [`Pipeline`] is a handle whose commands never block: one control thread owns the GStreamer objects. While no stream
//! is wanted there are none: no device is open and no CPU is used.
//! (GStreamer 1.22 leaks a handle of the V4L2 device each time its v4l2src has played; others can still use the device.)
//!
//! The timestamps of all video and audio frames count from the creation of the [`Pipeline`], so they keep rising across
//! restarts and when a file loops.

mod branch;
mod camera;
mod canceller;
mod candidates;
mod capture;
mod check;
mod control;
mod csi;
mod echo;
mod encoders;
mod fault;
mod findings;
mod gate;
mod inbox;
mod microphone;
mod microphone_settings;
mod parts;
pub mod pattern;
mod plan;
mod raw;
mod rtsp;
mod run;
mod settings;
mod small_rendition;
mod streams;
mod target;
mod unsafe_sdp;

use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use super::controls;
use super::{Command, Listener, Location, Produce, Source};
use crate::media::adapt::temperature::{Reading, TemperatureLimits};
use crate::media::board::{self, BoardInfo, Thermometer, host};
use crate::media::error::{ErrorKind, MediaError};
use crate::media::frame::sps;
use crate::media::{
    AUDIO_OPUS, Format, StreamId, StreamInfo, VIDEO_H264, VIDEO_H264_SMALL, VIDEO_VP8, VideoFormat,
};

#[cfg(feature = "talk")]
pub(crate) use canceller::check as check_canceller;
use control::Control;
pub use encoders::{EncoderInfo, Rejected};
use inbox::Order;
pub use microphone_settings::Microphone;
use plan::Plan;
use raw::RawVideo;
pub use settings::CaptureSettings;
use streams::{Announced, Maker, Stream};
pub use target::CaptureInfo;

/// A GStreamer source: a cheap handle. Dropping the last one closes everything.
#[derive(Clone)]
pub struct Pipeline {
    inner: Arc<Inner>,
}

struct Inner {
    orders: Sender<Order>,
    listener: Arc<OnceLock<Listener>>,
    announced: Arc<Announced>,
    controls: Vec<controls::Control>,
    board: BoardInfo,
    encoder: EncoderInfo,
    /// The name of the one in use.
    in_use: Arc<Mutex<String>>,
    thermometer: Option<Thermometer>,
    live: bool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        _ = self.orders.send(Order::Quit);
    }
}

impl Source {
    /// Creates a GStreamer source. Checks the plugins and the file or device, and chooses an encoder by trying the
    /// candidates. This blocks and may take seconds. No device stays open until streams are wanted.
    ///
    /// Errors: a setting, source or encoder that does not work; the message has the cause and how to fix it.
    pub fn gstreamer(settings: CaptureSettings) -> Result<Source, MediaError> {
        Pipeline::build(settings).map(Source::new)
    }

    /// Like [`Source::gstreamer`], for a source that replaces one with other settings. The old one may still have the
    /// same camera open, so the camera need not deliver a frame now.
    #[cfg(feature = "camera")]
    pub(crate) fn gstreamer_in_place_of(
        settings: CaptureSettings,
        old: &CaptureSettings,
    ) -> Result<Source, MediaError> {
        let ours = check::is_same_camera(&settings.source, &old.source);
        Pipeline::build_checked(settings, ours).map(Source::new)
    }
}

impl Pipeline {
    /// Like [`Source::gstreamer`], for callers who need more than [`Source`] offers.
    ///
    /// Errors: the same.
    pub fn build(settings: CaptureSettings) -> Result<Pipeline, MediaError> {
        Pipeline::build_checked(settings, false)
    }

    /// `ours` is a camera that one of our sources may have open.
    fn build_checked(settings: CaptureSettings, ours: bool) -> Result<Pipeline, MediaError> {
        settings.check()?;
        let elements = board::elements();
        let (profile, board) = host::board(Path::new("/"), &settings.board, &elements)?;
        log::info!("board: {board}");
        check::gstreamer(&settings)?;
        let csi = csi::find(&settings, &profile, &elements, check::has)?;
        let found = check::source(&settings, csi.as_ref(), ours)?;
        let (encoder, mut info) = encoders::choose(&settings, &profile, &elements)?;
        let small = small_rendition::candidates(&settings, &profile, &elements, &info.name);
        info.small = small.encoder().map(|chosen| chosen.name.clone());
        let imports = encoder.encoder().is_some_and(|chosen| !chosen.element.dmabuf.is_empty());
        let mut camera = match &settings.source {
            Location::V4l2 { path } => Some(camera::Camera::new(path, &settings, &info, imports)),
            _ => None,
        };
        let target = camera.as_mut().map(camera::Camera::find).transpose()?;
        let passes = target.is_some_and(|target| target.passes_through());
        let raw = !passes || camera::decodes_h264();
        let controls = camera.as_mut().and_then(|camera| camera.controls().ok()).unwrap_or_default();
        let heat = profile.heat.as_ref();
        let thermometer = heat.and_then(|heat| Thermometer::find(Path::new("/"), heat));
        let streams = streams(
            match settings.microphone {
                Microphone::None => found.audio.then_some(Maker::Opus),
                _ => settings.audio.then_some(Maker::Microphone),
            },
            small.encoder().is_some(),
            profile.two_encodes && raw && check::has("vp8enc"),
            raw && check::has("jpegenc"),
        );
        let announced =
            Arc::new(Announced::new(streams.iter().map(|stream| info_of(stream, &settings)).collect()));
        let RawVideo { width, height, fps } = RawVideo::of(&settings);
        let level = sps::level(width, height, fps).max(info.profile_level_id[2]);
        let listener: Arc<OnceLock<Listener>> = Arc::default();
        let heard = listener.clone();
        let on: Listener =
            Arc::new(move |event| heard.get().into_iter().for_each(|listener| listener(event.clone())));
        announced.set_available(VIDEO_H264_SMALL, !passes, &on);
        let (orders, inbox) = mpsc::channel();
        let (live, epoch) = (settings.source.is_live(), Instant::now());
        let in_use = Arc::new(Mutex::new(info.name.clone()));
        let microphone = streams.iter().find(|stream| stream.maker == Maker::Microphone);
        let echo = settings.echo.clone().filter(|_| match canceller::check() {
            Ok(()) => true,
            Err(error) => {
                log::warn!("the echo of the speaker is not cancelled: {error}");
                false
            }
        });
        let microphone = microphone.map(|stream| {
            microphone::Capture::start(microphone::Job {
                microphone: settings.microphone.clone(),
                echo: echo.clone(),
                stream: stream.id,
                bitrate: plan::AUDIO_BITRATE,
                epoch,
                on: on.clone(),
            })
        });
        let plan = Plan {
            settings,
            encoder,
            in_use: in_use.clone(),
            small,
            level,
            streams,
            announced: announced.clone(),
            on,
            orders: orders.clone(),
            epoch,
            counter: Arc::default(),
            camera,
            csi,
            still: false,
        };
        let control = Control::new(plan, microphone.transpose()?);
        std::thread::Builder::new().name("symple-media".into()).spawn(move || control.run(inbox)).map_err(
            |error| MediaError::new(ErrorKind::Other, format!("cannot start the pipeline thread: {error}")),
        )?;
        let encoder = info;
        let inner =
            Inner { orders, listener, announced, controls, board, encoder, in_use, thermometer, live };
        Ok(Pipeline { inner: Arc::new(inner) })
    }

    /// The chosen board profile, with the reason.
    pub fn board(&self) -> &BoardInfo {
        &self.inner.board
    }

    /// The H.264 encoder that was chosen at the start, and why the ones before it were rejected.
    pub fn encoder(&self) -> &EncoderInfo {
        &self.inner.encoder
    }
}

/// The streams that can be produced. Their ids do not depend on what is installed.
fn streams(audio: Option<Maker>, small: bool, vp8: bool, jpeg: bool) -> Vec<Stream> {
    let all = [
        (VIDEO_H264, Maker::Encoder, true),
        (VIDEO_H264_SMALL, Maker::Small, small),
        (VIDEO_VP8, Maker::Vp8, vp8),
        (StreamId(3), Maker::Jpeg, jpeg),
        (AUDIO_OPUS, audio.unwrap_or(Maker::Opus), audio.is_some()),
    ];
    let can = all.into_iter().filter(|(.., can)| *can);
    can.map(|(id, maker, _)| Stream::new(id, maker)).collect()
}

/// What is known about a stream before it runs, from the settings.
fn info_of(stream: &Stream, settings: &CaptureSettings) -> StreamInfo {
    let mut info = StreamInfo::new(stream.id, stream.codec());
    if !stream.is_video() {
        return info;
    }
    info.rendition = u8::from(stream.maker == Maker::Small);
    let RawVideo { width, height, fps } = plan::full(stream.maker, RawVideo::of(settings));
    info.with_format(Format::Video(VideoFormat { width, height, fps, profile_level_id: None }))
}

impl Produce for Pipeline {
    fn streams(&self) -> Vec<StreamInfo> {
        self.inner.announced.infos()
    }

    fn listen(&self, listener: Listener) {
        _ = self.inner.listener.set(listener);
    }

    fn command(&self, command: Command) {
        // The control thread only ends after the last handle is dropped.
        _ = self.inner.orders.send(Order::Ask(command));
    }

    fn is_live(&self) -> bool {
        self.inner.live
    }

    fn encoder(&self) -> Option<String> {
        Some(self.inner.in_use.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn encoder_info(&self) -> Option<&EncoderInfo> {
        Some(&self.inner.encoder)
    }

    fn controls(&self) -> Vec<controls::Control> {
        self.inner.controls.clone()
    }

    fn heat_limits(&self) -> Option<TemperatureLimits> {
        self.inner.thermometer.as_ref().map(|thermometer| thermometer.limits)
    }

    fn read_heat(&self) -> Reading {
        self.inner.thermometer.as_ref().map(Thermometer::read).unwrap_or_default()
    }

    fn board(&self) -> Option<&BoardInfo> {
        Some(&self.inner.board)
    }
}
