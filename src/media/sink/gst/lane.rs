//! The pipeline of one kind: encoded frames in, an output at its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::control::{News, Order};
use super::decoders::{caps, window};
use super::fault::{self, Target};
use super::settings::{Audio, Video};
use super::{Shared, picture};
use crate::media::echo::{EchoReference, RATE};
use crate::media::error::{ErrorKind, MediaError};
use crate::media::sound_system::system;
use crate::media::{Codec, Kind};

/// The name of the decoder, by which its errors are recognized.
const DECODER: &str = "decoder";
/// The name of the first element.
const SOURCE: &str = "source";
/// Frames that wait for a decoder or an output that has stopped: the playout gives them 50 ms ahead, so this is over a
/// second.
const MOST_WAITING: u64 = 60;

/// What a V4L2 output needs before it. One without a scaler takes one size only. And its buffers are its own: given to a
/// decoder, one in use, which has none, would look like a stream that cannot be decoded.
const TO_DEVICE: &str = "videoscale ! identity drop-allocation=true";

/// The one clock of both pipelines, and its relation to [`Instant`], which on Linux is the same clock.
#[derive(Clone, Debug)]
pub(super) struct Time {
    clock: gst::Clock,
    base: gst::ClockTime,
    epoch: Instant,
}

impl Time {
    pub(super) fn new() -> Time {
        let clock = gst::SystemClock::obtain();
        let (base, epoch) = (clock.time(), Instant::now());
        Time { clock, base, epoch }
    }

    /// The time by the clock of the pipelines.
    pub(super) fn running(&self, at: Instant) -> gst::ClockTime {
        let since = at.saturating_duration_since(self.epoch);
        gst::ClockTime::from_nseconds(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX / 2))
    }

    /// When it is this time by the clock of the pipelines.
    fn instant(&self, running: gst::ClockTime) -> Instant {
        self.epoch + Duration::from(running)
    }
}

/// What reached the output.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub buffers: AtomicU64,
    /// How much later than planned the last one was, in nanoseconds.
    pub late: AtomicI64,
}

/// Sees each decoded buffer at the output, for tests.
pub(super) type Tap = Arc<dyn Fn(Kind, &gst::Pad, &gst::BufferRef) + Send + Sync>;

/// What is needed to open a lane.
#[derive(Clone)]
pub(super) struct Plan {
    pub number: u64,
    pub codec: Codec,
    /// Of video.
    pub decoder: Option<String>,
    pub target: Target,
    pub time: Time,
    pub volume: f64,
    pub muted: bool,
    pub orders: Sender<Order>,
    pub tap: Option<Tap>,
    pub shared: Arc<Shared>,
    /// Of audio.
    pub echo: Option<EchoReference>,
}

/// An open pipeline. Dropping it closes the output, which may block.
pub(super) struct Lane {
    pub number: u64,
    pub codec: Codec,
    pub meter: Arc<Meter>,
    time: Time,
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    volume: Option<gst::Element>,
    first: First,
}

impl Drop for Lane {
    fn drop(&mut self) {
        _ = self.pipeline.set_state(gst::State::Null);
    }
}

impl Lane {
    /// Opens the output. May block.
    pub(super) fn open(plan: &Plan) -> Result<Lane, MediaError> {
        let pipeline = build(plan)?;
        let part = |name| {
            let part = pipeline.by_name(name);
            part.ok_or_else(|| MediaError::new(ErrorKind::Other, format!("the pipeline has no {name}")))
        };
        let source = part(SOURCE)?.downcast::<gst_app::AppSrc>();
        let source =
            source.map_err(|_| MediaError::new(ErrorKind::BadSettings, "`source` is a reserved name"))?;
        source.set_caps(Some(&caps(plan.codec)));
        if let Target::Video(Video::Pictures) = plan.target
            && let Some(sink) = pipeline.by_name("output").and_downcast::<gst_app::AppSink>()
        {
            picture::deliver(&sink, plan.shared.clone());
        }
        let volume = pipeline.by_name("volume");
        let first = listen(&pipeline, plan);
        let lane = Lane {
            number: plan.number,
            codec: plan.codec,
            meter: Arc::default(),
            time: plan.time.clone(),
            pipeline,
            source,
            volume,
            first,
        };
        lane.set_volume(plan.volume, plan.muted);
        lane.start(plan)?;
        Ok(lane)
    }

    fn start(&self, plan: &Plan) -> Result<(), MediaError> {
        let pipeline = &self.pipeline;
        pipeline.use_clock(Some(&plan.time.clock));
        pipeline.set_start_time(gst::ClockTime::NONE);
        pipeline.set_base_time(plan.time.base);
        // Timestamps say when frames are due at the output, so no latency is added.
        pipeline.set_latency(gst::ClockTime::ZERO);
        let failed = |_| self.first.lock().take().unwrap_or_else(|| fault::unopened(&plan.target));
        // Automatic sinks choose the actual sink here.
        pipeline.set_state(gst::State::Ready).map_err(failed)?;
        self.configure(plan)?;
        pipeline.set_state(gst::State::Playing).map_err(failed)?;
        Ok(())
    }

    /// The error, if it has failed already.
    pub(super) fn failure(&self) -> Option<MediaError> {
        self.first.lock().clone()
    }

    /// Sets the properties that all sinks have, once they exist.
    fn configure(&self, plan: &Plan) -> Result<(), MediaError> {
        let mut sinks = Vec::new();
        for element in self.pipeline.iterate_recurse().into_iter().flatten() {
            if element.has_property("max-errors") {
                // The decoder continues after invalid input.
                element.set_property("max-errors", -1i32);
            }
            let is_sink = element.element_flags().contains(gst::ElementFlags::SINK);
            if !is_sink || element.is::<gst::Bin>() {
                continue;
            }
            let automatic =
                element.parent().is_some_and(|parent| parent != *self.pipeline.upcast_ref::<gst::Object>());
            let fake = element.factory().is_some_and(|factory| factory.name() == "fakesink");
            match &plan.target {
                // If no sink works, the automatic ones choose a fakesink.
                Target::Audio(Audio::Default) if automatic && fake => return Err(fault::no_speaker()),
                _ => {}
            }
            if matches!(plan.target, Target::Audio(Audio::Default | Audio::Device { .. })) {
                follow(&element, plan.echo.is_some());
            }
            if matches!(plan.target, Target::Video(_)) && element.has_property("qos") {
                // The playout decides which frames are late; a decoder must not skip any by itself.
                element.set_property("qos", false);
            }
            if matches!(plan.target, Target::Video(_)) && element.has_property("max-lateness") {
                element.set_property("max-lateness", -1i64);
            }
            sinks.push(element);
        }
        let [sink] = &sinks[..] else {
            let words = format!("the output must have one sink, not {}", sinks.len());
            return Err(MediaError::new(ErrorKind::BadSettings, words));
        };
        let Some(pad) = sink.static_pad("sink") else {
            return Err(MediaError::new(ErrorKind::BadSettings, "the output does not end in a sink"));
        };
        self.measure(plan, &pad);
        if let Some(echo) = plan.echo.clone()
            && let Some(pad) = self.pipeline.by_name(DECODER).and_then(|decoder| decoder.static_pad("src"))
        {
            pass_on(&pad, self.time.clone(), echo);
        }
        Ok(())
    }

    fn measure(&self, plan: &Plan, pad: &gst::Pad) {
        let (meter, time, tap) = (self.meter.clone(), plan.time.clone(), plan.tap.clone());
        let (number, kind, orders) = (plan.number, plan.codec.kind(), plan.orders.clone());
        let first = self.first.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let Some(buffer) = info.buffer() else { return gst::PadProbeReturn::Ok };
            if let Some(pts) = buffer.pts() {
                let now = time.running(Instant::now());
                let late = now.nseconds().saturating_sub(pts.nseconds());
                meter.late.store(i64::try_from(late).unwrap_or(i64::MAX), Ordering::Relaxed);
            }
            if meter.buffers.fetch_add(1, Ordering::Relaxed) == 0
                && let Some(before) = pad.peer()
            {
                // By then the output has shown it, or said why not: a device in use refuses its first buffer.
                let (first, orders) = (first.clone(), orders.clone());
                before.add_probe(gst::PadProbeType::IDLE, move |_, _| {
                    if first.lock().is_none() {
                        _ = orders.send(Order::News(kind, number, News::Playing));
                    }
                    gst::PadProbeReturn::Remove
                });
            }
            if let Some(tap) = &tap {
                tap(kind, pad, buffer);
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Passes a frame to the decoder. Returns false if there is no room, because the decoder or the output has stopped.
    pub(super) fn push(
        &self,
        data: Arc<[u8]>,
        at: Instant,
        length: Option<Duration>,
        flags: gst::BufferFlags,
    ) -> bool {
        if self.source.current_level_buffers() >= MOST_WAITING {
            return false;
        }
        let mut buffer = gst::Buffer::from_slice(data);
        let fields = buffer.get_mut().expect("made in the line above");
        fields.set_pts(self.time.running(at));
        fields.set_duration(length.and_then(|length| gst::ClockTime::try_from(length).ok()));
        fields.set_flags(flags);
        // The bus reports the error, too.
        _ = self.source.push_buffer(buffer);
        true
    }

    /// Makes the decoder fill a gap.
    pub(super) fn conceal(&self, at: Instant, length: Duration) {
        let length = gst::ClockTime::try_from(length).ok();
        let gap = gst::event::Gap::builder(self.time.running(at)).duration(length).build();
        // Queued among the buffers.
        _ = self.source.send_event(gap);
    }

    pub(super) fn set_volume(&self, volume: f64, muted: bool) {
        if let Some(element) = &self.volume {
            element.set_property("volume", volume.clamp(0.0, 10.0));
            element.set_property("mute", muted);
        }
    }
}

/// Makes a device keep to the time of the pipelines. By default GStreamer's sinks correct a device that starts late by so
/// little at a time that PulseAudio's was 40 ms late only after four seconds, and 300 at first; by resampling, after two.
///
/// Resampling goes on, though, and a canceller has to follow it; skewing is rare, and in steps.
fn follow(sink: &gst::Element, has_echo: bool) {
    if sink.has_property("slave-method") {
        sink.set_property_from_str("slave-method", if has_echo { "skew" } else { "resample" });
    }
}

/// Passes decoded audio, in the decoder's format, to the microphone that hears it, too.
fn pass_on(pad: &gst::Pad, time: Time, echo: EchoReference) {
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let format = pad.current_caps().and_then(|caps| {
            let caps = caps.structure(0)?;
            Some((caps.get::<i32>("rate").ok()?, caps.get::<i32>("channels").ok()?))
        });
        // Opus has this rate unless the elements after it take no other.
        if let Some((rate, channels @ 1..)) = format
            && rate == RATE as i32
            && let Some(buffer) = info.buffer()
            && let (Some(pts), Ok(map)) = (buffer.pts(), buffer.map_readable())
        {
            let mean = |frame: &[u8]| {
                let samples = frame.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
                (samples.map(i32::from).sum::<i32>() / channels) as i16
            };
            echo.play(map.chunks_exact(2 * channels as usize).map(mean), time.instant(pts));
        }
        gst::PadProbeReturn::Ok
    });
}

fn build(plan: &Plan) -> Result<gst::Pipeline, MediaError> {
    let source = format!("appsrc name={SOURCE} format=time is-live=true max-bytes=0");
    let decoder = plan.decoder.as_deref().unwrap_or_default();
    let head = match plan.codec {
        Codec::Opus => format!(
            "{source} ! opusdec name={DECODER} plc=true use-inband-fec=true ! audioconvert ! audioresample ! volume name=volume"
        ),
        Codec::H264 => format!("{source} ! h264parse ! {decoder} name={DECODER} ! videoconvert"),
        _ => format!("{source} ! {decoder} name={DECODER} ! videoconvert"),
    };
    let tail = match &plan.target {
        Target::Video(Video::Device { path }) => {
            fault::check_device(path)?;
            let line = format!("{head} ! {TO_DEVICE} ! v4l2sink name=output");
            return launch(&line, Some(("device", path.to_string_lossy().into_owned())));
        }
        Target::Audio(Audio::Device { name }) => {
            let (system, device) = system(name)
                .ok_or_else(|| MediaError::new(ErrorKind::BadSettings, "unknown audio device"))?;
            let line = format!("{head} ! {} name=output", system.sink);
            return launch(&line, Some((system.property, device.into())));
        }
        Target::Video(Video::Element { launch }) | Target::Audio(Audio::Element { launch }) => launch,
        Target::Video(Video::Pictures) => picture::SINK,
        Target::Video(_) => window()?,
        Target::Audio(_) => "autoaudiosink",
    };
    launch(&format!("{head} ! {tail}"), None)
}

fn launch(line: &str, property: Option<(&str, String)>) -> Result<gst::Pipeline, MediaError> {
    let bad = |error: &dyn std::fmt::Display| {
        MediaError::new(ErrorKind::BadSettings, format!("the output cannot be built: {error}"))
    };
    let pipeline = gst::parse::launch(line).map_err(|error| bad(&error.message()))?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().map_err(|_| bad(&"it is not a pipeline"))?;
    if let Some((name, value)) = property
        && let Some(output) = pipeline.by_name("output")
    {
        output.set_property(name, value);
    }
    Ok(pipeline)
}

/// The first error on the bus, for whoever opens the lane.
#[derive(Clone, Default)]
struct First(Arc<std::sync::Mutex<Option<MediaError>>>);

impl First {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<MediaError>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Forwards errors to the control thread.
fn listen(pipeline: &gst::Pipeline, plan: &Plan) -> First {
    let bus = pipeline.bus().expect("a pipeline has a bus until it is dropped");
    let first = First::default();
    let (kept, target) = (first.clone(), plan.target.clone());
    let (number, kind, orders) = (plan.number, plan.codec.kind(), plan.orders.clone());
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::Error(error) = message.view() {
            let from = message.src().cloned();
            let mut parts = std::iter::successors(from, gst::Object::parent);
            // A decoder that refuses the format appears as an error of the source element.
            let decoder = parts.any(|part| part.name() == DECODER || part.name() == SOURCE);
            let closed = fault::is_closed(&error.error());
            let error = fault::from_gstreamer(&target, &error.error(), &error.debug().unwrap_or_default());
            let (error, decoder) = match fault::unplugged(&target) {
                Some(unplugged) => (unplugged, false),
                None => (error, decoder),
            };
            kept.lock().get_or_insert_with(|| error.clone());
            let news = match (closed, decoder) {
                (true, _) => News::Closed,
                (_, true) => News::DecoderFailed(error),
                _ => News::Failed(error),
            };
            _ = orders.send(Order::News(kind, number, news));
        }
        gst::BusSyncReply::Drop
    });
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_does_not_use_the_buffers_of_a_device() {
        gst::init().expect("GStreamer starts");
        for (before, expected) in [(TO_DEVICE, false), ("videoscale", true)] {
            let line = format!("videotestsrc num-buffers=3 ! videoconvert ! {before} ! fakesink name=output");
            let pipeline = launch(&line, None).expect("elements of every machine");
            let pad =
                pipeline.by_name("output").and_then(|output| output.static_pad("sink")).expect("named above");
            let asked = Arc::new(AtomicU64::new(0));
            let count = asked.clone();
            pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, move |_, info| {
                if let Some(gst::QueryViewMut::Allocation(_)) = info.query_mut().map(|query| query.view_mut())
                {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                gst::PadProbeReturn::Ok
            });
            pipeline.set_state(gst::State::Playing).expect("it plays");
            let bus = pipeline.bus().expect("a pipeline has one");
            let end = [gst::MessageType::Eos, gst::MessageType::Error];
            let last = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &end).expect("it ends");
            pipeline.set_state(gst::State::Null).expect("it stops");
            assert_eq!(last.type_(), gst::MessageType::Eos, "{last:?}");
            assert_eq!(asked.load(Ordering::Relaxed) > 0, expected, "{before}");
        }
    }
}
