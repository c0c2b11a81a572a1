//! One encoder at a tee, from its queue to our callback: a part of the pipeline that can be added and removed alone.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::gate;
use super::streams::Announced;
use super::target::CaptureInfo;
use crate::media::board::{Knob, Setting};
use crate::media::error::{ErrorKind, MediaError};
use crate::media::frame::sps;
use crate::media::source::encodings::Encodings;
use crate::media::source::timestamps::Missing;
use crate::media::source::v4l2::choose::Way;
use crate::media::source::{Listener, SourceEvent};
use crate::media::{Codec, Encoding, Format, Frame, StreamId, VideoFormat};

/// The elements of a chain that get a gate: the end of an inner decoder, and the encoder's input.
pub(super) const GATES: [&str; 2] = ["decoded", "thin"];

/// State shared by the branches of one run: its timing, and the single [`SourceEvent::Started`].
pub(super) struct Timing {
    /// The zero of all presentation times.
    epoch: Instant,
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    /// From the epoch to zero of this run's running time.
    offset: OnceLock<Duration>,
    started: Once,
    /// How the camera delivers frames; announced with the first frame.
    info: Option<CaptureInfo>,
    /// The stream that a camera with an encoder provides itself.
    best: StreamId,
    /// Called at the first frame.
    first: Box<dyn Fn() + Send + Sync>,
}

impl Timing {
    pub(super) fn new(
        epoch: Instant,
        pipeline: &gst::Pipeline,
        info: Option<CaptureInfo>,
        best: StreamId,
        first: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Timing {
            epoch,
            pipeline: pipeline.downgrade(),
            offset: OnceLock::new(),
            started: Once::new(),
            info,
            best,
            first: Box::new(first),
        }
    }

    pub(super) fn has_started(&self) -> bool {
        self.started.is_completed()
    }

    /// Time from the epoch to a running time. The pipeline runs on the system's monotonic clock, as [`Instant`] does:
    /// they only differ in their zero.
    fn since_epoch(&self, running: gst::ClockTime) -> Option<Duration> {
        let offset = match self.offset.get() {
            Some(offset) => *offset,
            None => {
                let elapsed = self.pipeline.upgrade()?.current_running_time()?;
                let zero = self.epoch.elapsed().saturating_sub(elapsed.into());
                *self.offset.get_or_init(|| zero)
            }
        };
        Some(offset + Duration::from(running))
    }

    /// The frame in a sample, as one that can be decoded alone; and its running time.
    pub(super) fn frame(
        &self,
        sample: &gst::Sample,
        stream: StreamId,
        codec: Codec,
    ) -> Option<(Frame, gst::ClockTime)> {
        let buffer = sample.buffer()?;
        let map = buffer.map_readable().ok()?;
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        let now = Instant::now();
        let running = segment.to_running_time(buffer.pts()?)?;
        let pts = self.since_epoch(running)?;
        let frame = Frame {
            stream,
            codec,
            key: true,
            // A source may set timestamps slightly ahead of the clock, but no frame is captured in the future.
            captured: (self.epoch + pts).min(now),
            pts,
            duration: buffer.duration().map_or(Duration::ZERO, Duration::from),
            discontinuity: false,
            encoding: None,
            data: Arc::from(map.as_slice()),
        };
        Some((frame, running))
    }
}

/// The limit of the queue before a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueLimit {
    /// One frame, leaky: an encoder that falls behind gets the newest frame instead of an old one.
    Raw,
    Sound,
    /// Frames that depend on previous ones: dropped only if the branch can never catch up.
    Coded,
}

impl QueueLimit {
    fn properties(self) -> &'static str {
        match self {
            QueueLimit::Raw => "max-size-buffers=1 max-size-time=0",
            QueueLimit::Sound => "max-size-buffers=0 max-size-time=1000000000",
            QueueLimit::Coded => "max-size-buffers=120 max-size-time=0",
        }
    }
}

/// The output of a branch, and how to make it.
#[derive(Clone)]
pub(super) struct Job {
    /// Unique in its run.
    pub name: String,
    pub stream: StreamId,
    pub codec: Codec,
    /// From raw to encoded frames, in launch syntax.
    pub chain: String,
    /// Maximum frame rate.
    pub fps: u32,
    pub limit: QueueLimit,
    /// Whether the source renegotiates its buffers for this branch. Meanwhile it waits until each branch has finished
    /// its last frame, and a new one has opened its encoder.
    pub renegotiates: bool,
    /// If set, errors stay within the branch: the source and other branches continue.
    pub spare: Option<Spare>,
}

/// What counts as a failure of a branch alone, not of the source.
#[derive(Clone)]
pub(super) struct Spare {
    /// The highest H.264 level to accept, since the stream must match what was negotiated for another one. For the same
    /// reason it must be constrained baseline.
    pub level: u8,
    /// The number of frames that it may take without producing one.
    pub silence: u32,
    /// Called at a failure, with the reason.
    pub failed: Arc<dyn Fn(String) + Send + Sync>,
}

/// Where the output goes.
#[derive(Clone)]
pub(super) struct Outlet {
    pub timing: Arc<Timing>,
    pub announced: Arc<Announced>,
    pub on: Listener,
}

/// A running encoder.
pub(super) struct Branch {
    bin: gst::Bin,
    /// When it produced its first frame.
    first: Arc<OnceLock<Instant>>,
    tee: gst::Element,
    tee_pad: gst::Pad,
}

impl Branch {
    /// Adds a branch to a running pipeline.
    pub(super) fn attach(
        pipeline: &gst::Pipeline,
        tee: &gst::Element,
        job: Job,
        outlet: Outlet,
    ) -> Result<Branch, MediaError> {
        let Job { name, stream, codec, chain, fps, limit, renegotiates, spare } = job;
        let waiting = Arc::new(AtomicU32::new(0));
        let failed =
            |what: &str| MediaError::new(ErrorKind::Other, format!("the encoder cannot start: {what}"));
        let limit = limit.properties();
        let launch = format!(
            "queue name=in leaky=downstream max-size-bytes=0 {limit} ! {chain} ! appsink name=out sync=false async=false"
        );
        let bin = gst::parse::bin_from_description_with_name(&launch, false, &name)
            .map_err(|error| failed(error.message()))?;
        // By name: while a decoder inside is detecting its input, the elements after it are not linked.
        let input = bin.by_name("in").and_then(|queue| queue.static_pad("sink"));
        let input = input.and_then(|pad| gst::GhostPad::builder_with_target(&pad).ok());
        let input = input.ok_or_else(|| failed("it has no input"))?;
        let input = match spare.clone() {
            Some(spare) => contain(input, waiting.clone(), spare),
            None => input,
        };
        bin.add_pad(&input.name("sink").build()).map_err(|error| failed(&error.to_string()))?;
        for gated in GATES.iter().filter_map(|name| bin.by_name(name)) {
            let pad = gated.static_pad("sink").ok_or_else(|| failed("it has no gate"))?;
            gate::put(&pad, fps, Missing::Arrived);
        }
        let sink = bin
            .by_name("out")
            .and_downcast::<gst_app::AppSink>()
            .ok_or_else(|| failed("it has no output"))?;
        let encodings = bin.by_name("enc").filter(|_| codec.is_video()).and_then(|encoder| watch(&encoder));
        let first = Arc::new(OnceLock::new());
        let mut taker = Taker {
            stream,
            codec,
            outlet,
            spare,
            format: None,
            running: false,
            first: first.clone(),
            encodings,
            waiting,
        };
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
            taker.take(&sink.pull_sample().map_err(|_| gst::FlowError::Eos)?);
            Ok(gst::FlowSuccess::Ok)
        });
        sink.set_callbacks(callbacks.build());

        let tee_pad = tee.request_pad_simple("src_%u").ok_or_else(|| failed("the tee has no free pad"))?;
        let branch = Branch { bin, first, tee: tee.clone(), tee_pad };
        match branch.connect(pipeline, renegotiates) {
            Ok(()) => Ok(branch),
            Err(error) => {
                branch.remove();
                Err(failed(&error.to_string()))
            }
        }
    }

    fn connect(&self, pipeline: &gst::Pipeline, renegotiates: bool) -> Result<(), gst::glib::BoolError> {
        pipeline.add(&self.bin)?;
        self.bin.sync_state_with_parent()?;
        let sink = self.bin.static_pad("sink").ok_or_else(|| gst::glib::bool_error!("it has no input"))?;
        let mut checks = gst::PadLinkCheck::DEFAULT;
        checks.set(gst::PadLinkCheck::NO_RECONFIGURE, !renegotiates);
        self.tee_pad
            .link_full(&sink, checks)
            .map_err(|error| gst::glib::bool_error!("cannot link it: {error}"))?;
        Ok(())
    }

    pub(super) fn name(&self) -> String {
        self.bin.name().into()
    }

    /// How long ago it produced its first frame.
    pub(super) fn ran(&self) -> Option<Duration> {
        self.first.get().map(Instant::elapsed)
    }

    /// Unlinks the branch once no buffer is on its way into it, then calls `unlinked`, on any thread.
    /// [`remove`](Self::remove) does the rest.
    pub(super) fn detach(self, unlinked: impl FnOnce(Branch) + Send + 'static) {
        let pad = self.tee_pad.clone();
        // An idle probe may be called once more before its removal takes effect, hence the Option.
        let last = Mutex::new(Some((self, unlinked)));
        pad.add_probe(gst::PadProbeType::IDLE, move |pad, _| {
            let taken = last.lock().ok().and_then(|mut last| last.take());
            if let Some((branch, unlinked)) = taken {
                if let Some(peer) = pad.peer() {
                    _ = pad.unlink(&peer);
                }
                unlinked(branch);
            }
            gst::PadProbeReturn::Remove
        });
    }

    /// Stops the encoder and removes it from the pipeline. The branch must be unlinked, or the pipeline stopped.
    pub(super) fn remove(self) {
        _ = self.bin.set_state(gst::State::Null);
        if let Some(pipeline) = self.bin.parent().and_downcast::<gst::Bin>() {
            _ = pipeline.remove(&self.bin);
        }
        self.tee.release_request_pad(&self.tee_pad);
    }

    /// Like [`remove`](Self::remove), for an encoder that may never stop: the pipeline does not wait for it.
    pub(super) fn abandon(self) {
        if let Some(pipeline) = self.bin.parent().and_downcast::<gst::Bin>() {
            _ = pipeline.remove(&self.bin);
        }
        self.tee.release_request_pad(&self.tee_pad);
        _ = self.bin.set_state(gst::State::Null);
    }

    /// Makes the next frame a key frame: with the encoder's control if it has one and accepts it, otherwise with
    /// GStreamer's event force-key-unit.
    pub(super) fn request_key_frame(&self, control: Option<&str>) {
        if let Some((control, encoder)) = control.zip(self.encoder()) {
            match set_control(&encoder, control, 1) {
                Ok(_) => return,
                Err(words) => log::debug!("{words}; sending GStreamer's event instead"),
            }
        }
        let wish = gst::Structure::builder("GstForceKeyUnit")
            .field("all-headers", true)
            .field("count", 0u32)
            .build();
        if let Some(sink) = self.bin.by_name("out") {
            sink.send_event(gst::event::CustomUpstream::new(wish));
        }
    }

    /// Sets a bitrate (bit/s) or a number of frames while it runs. Returns whether that worked.
    pub(super) fn turn(&self, knob: &Knob, value: u32) -> bool {
        let Some(encoder) = self.encoder() else { return false };
        let value = knob.unit.of(value);
        match &knob.setting {
            Setting::Property(name) => {
                let has = encoder.has_property(name);
                if has {
                    encoder.set_property_from_str(name, &value.to_string());
                }
                has
            }
            Setting::Control(name) => match set_control(&encoder, name, value) {
                Ok(taken) => {
                    if i64::from(taken) != i64::from(value) {
                        log::debug!("the encoder set {name} to {taken} instead of {value}");
                    }
                    true
                }
                Err(words) => {
                    log::debug!("{words}");
                    false
                }
            },
        }
    }

    /// Whether the element documents that this can be changed while it runs.
    pub(super) fn turns_live(&self, knob: &Knob) -> bool {
        match &knob.setting {
            Setting::Control(_) => true,
            Setting::Property(name) => {
                let spec = self.encoder().and_then(|encoder| encoder.find_property(name));
                spec.is_some_and(|spec| spec.flags().contains(gst::PARAM_FLAG_MUTABLE_PLAYING))
            }
        }
    }

    fn encoder(&self) -> Option<gst::Element> {
        self.bin.by_name("enc")
    }
}

/// Notes when raw frames enter an encoder.
fn watch(encoder: &gst::Element) -> Option<Arc<Mutex<Encodings>>> {
    let encodings = Arc::new(Mutex::new(Encodings::default()));
    let inside = encodings.clone();
    encoder.static_pad("sink")?.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let segment = pad.sticky_event::<gst::event::Segment>(0);
        let running = info.buffer().and_then(|buffer| buffer.pts()).and_then(|pts| {
            segment.as_ref()?.segment().downcast_ref::<gst::ClockTime>()?.to_running_time(pts)
        });
        if let (Some(running), Ok(mut inside)) = (running, inside.lock()) {
            inside.handle_raw(running.into(), Instant::now());
        }
        gst::PadProbeReturn::Ok
    })?;
    Some(encodings)
}

/// Keeps errors within a branch: a tee stops its source if any of its branches returns one.
fn contain(
    pad: gst::PadBuilder<gst::GhostPad>,
    waiting: Arc<AtomicU32>,
    spare: Spare,
) -> gst::PadBuilder<gst::GhostPad> {
    use gst::FlowError::{Eos, Error, NotNegotiated, NotSupported};
    pad.chain_function(move |pad, parent, buffer| {
        if waiting.fetch_add(1, Ordering::Relaxed) == spare.silence {
            (spare.failed)(format!("it made nothing of {} frames", spare.silence));
        }
        match gst::ProxyPad::chain_default(pad, parent, buffer) {
            // No buffers follow the end of the source, so this is the end of the encoder.
            Err(error @ (Eos | Error | NotNegotiated | NotSupported)) => {
                (spare.failed)(format!("it does not accept frames ({error})"));
                Ok(gst::FlowSuccess::Ok)
            }
            other => other,
        }
    })
}

/// Sets a V4L2 control on the file that the element has open. Returns the value as the driver rounded it.
#[cfg(all(feature = "v4l2", target_os = "linux"))]
fn set_control(encoder: &gst::Element, name: &str, value: u32) -> Result<i32, String> {
    use crate::media::board;
    use crate::media::source::v4l2;
    let id = board::control_id(name)?;
    // Only the calling thread closes the element, so the file stays open meanwhile.
    let file = encoder
        .has_property("device-fd")
        .then(|| encoder.property_value("device-fd").get::<i32>().ok())
        .flatten()
        .filter(|file| *file >= 0)
        .ok_or_else(|| format!("{} has no device open", encoder.name()))?;
    let value = i32::try_from(value).unwrap_or(i32::MAX);
    v4l2::encoder::set(file, id, value)
        .map_err(|error| format!("the encoder rejected {name} = {value} while running: {error}"))
}

/// Without V4L2 the element itself must do it, and GStreamer before 1.24 reads its controls only at the start.
#[cfg(not(all(feature = "v4l2", target_os = "linux")))]
fn set_control(encoder: &gst::Element, name: &str, value: u32) -> Result<i32, String> {
    if !encoder.has_property("extra-controls") {
        return Err(format!("{} has no controls", encoder.name()));
    }
    encoder.set_property_from_str("extra-controls", &format!("controls,{name}={value}"));
    Ok(i32::try_from(value).unwrap_or(i32::MAX))
}

/// Turns samples into frames.
struct Taker {
    stream: StreamId,
    codec: Codec,
    outlet: Outlet,
    spare: Option<Spare>,
    format: Option<VideoFormat>,
    /// Whether a key frame has been seen.
    running: bool,
    first: Arc<OnceLock<Instant>>,
    /// When frames entered the encoder; `None` without one, or for audio.
    encodings: Option<Arc<Mutex<Encodings>>>,
    /// Frames that the branch has taken since its last one.
    waiting: Arc<AtomicU32>,
}

impl Taker {
    fn take(&mut self, sample: &gst::Sample) {
        let Some(frame) = self.frame(sample) else { return };
        self.waiting.store(0, Ordering::Relaxed);
        self.running |= frame.key;
        if !self.running {
            return;
        }
        if let Some(spare) = &self.spare
            && let Some(words) = unfit(&frame, spare.level)
        {
            self.running = false;
            return (spare.failed)(words);
        }
        self.first.get_or_init(Instant::now);
        let Outlet { timing, on, .. } = &self.outlet;
        timing.started.call_once(|| {
            if let Some(info) = timing.info.clone() {
                let (bitrate, quality) = (info.steers_bitrate, info.choice.way != Way::PassThrough);
                let stream = timing.best;
                on(SourceEvent::Adjustable { stream, bitrate, quality });
                on(SourceEvent::Capture(info));
            }
            on(SourceEvent::Started);
            (timing.first)();
        });
        if frame.key && frame.codec.is_video() {
            self.announce_format(sample, &frame);
        }
        (self.outlet.on)(SourceEvent::Frame(frame));
    }

    fn frame(&self, sample: &gst::Sample) -> Option<Frame> {
        let (mut frame, running) = self.outlet.timing.frame(sample, self.stream, self.codec)?;
        frame.encoding = self.encoding(running, Instant::now());
        if let Some(encoding) = frame.encoding {
            frame.captured = frame.captured.min(encoding.began);
        }
        frame.key = match self.codec {
            Codec::H264 => sps::is_idr(&frame.data),
            // The lowest bit of the frame tag is 0 in a key frame (RFC 6386, 9.1).
            Codec::Vp8 => frame.data.first().is_some_and(|tag| tag & 1 == 0),
            Codec::Opus | Codec::Jpeg => true,
        };
        Some(frame)
    }

    /// When the frame of this running time was encoded.
    fn encoding(&self, running: gst::ClockTime, now: Instant) -> Option<Encoding> {
        self.encodings.as_ref()?.lock().ok()?.handle_encoded(running.into(), now)
    }

    fn announce_format(&mut self, sample: &gst::Sample, frame: &Frame) {
        let sps = if frame.codec == Codec::H264 { sps::Sps::find(&frame.data) } else { None };
        let caps = sample.caps().and_then(|caps| caps.structure(0));
        let number = |name| caps.and_then(|caps| caps.get::<i32>(name).ok()).map_or(0, |n| n.max(0) as u32);
        let rate = caps.and_then(|caps| caps.get::<gst::Fraction>("framerate").ok());
        let format = VideoFormat {
            width: sps.map_or_else(|| number("width"), |sps| sps.width),
            height: sps.map_or_else(|| number("height"), |sps| sps.height),
            fps: rate
                .filter(|rate| rate.denom() > 0)
                .map_or(0, |rate| (rate.numer() / rate.denom()).max(0) as u32),
            profile_level_id: sps.map(|sps| sps.profile_level_id),
        };
        if self.format.replace(format) != Some(format) {
            let Outlet { announced, on, .. } = &self.outlet;
            announced.announce(self.stream, Format::Video(format), on);
        }
    }
}

/// Why a key frame's parameter sets do not fit constrained baseline up to this level.
fn unfit(frame: &Frame, most: u8) -> Option<String> {
    if !frame.key {
        return None;
    }
    let Some(sps) = sps::Sps::find(&frame.data) else { return Some("it makes no parameter sets".into()) };
    let [profile, _, level] = sps.profile_level_id;
    if !sps.is_baseline() {
        return Some(format!("it makes H.264 profile {profile}, not constrained baseline"));
    }
    (level > most).then(|| format!("it makes H.264 level {level}, above {most}"))
}

#[cfg(all(test, feature = "v4l2", target_os = "linux"))]
#[path = "stateful_tests.rs"]
mod stateful;
