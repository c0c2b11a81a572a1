//! The front of a pipeline: from a source to a tee of raw video and a tee of raw audio.
//!
//! Sources other than the pattern report their streams only once they are open, so decoded pads are linked as they
//! appear, and [`Found`] reports them.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use gst::prelude::*;
use gstreamer as gst;

use super::csi::Csi;
use super::findings::Found;
use super::microphone_settings::Microphone;
use super::parts::{discard, file_uri, launch, part, sink_pad};
use super::raw::H264_TAIL;
use super::settings::CaptureSettings;
use super::target::Target;
use super::{gate, pattern, rtsp};
use crate::media::error::{ErrorKind, MediaError};
use crate::media::frame::sps::Sps;
use crate::media::source::Location;
use crate::media::source::frame_rate_check::{self, FrameRateVerdict};
use crate::media::source::timestamps::Missing;
use crate::media::source::v4l2::device::{FrameRate, Size};

/// How often a still picture is repeated: new viewers see it quickly, at almost no cost.
const STILL_FPS: u32 = 5;
/// From this rate on, both fields of an interlaced frame become frames: 25 of them become 50.
const FIELDS_FPS: u32 = 60;

/// A pipeline that ends in two tees.
pub(super) struct Capture {
    pub pipeline: gst::Pipeline,
    pub video: gst::Element,
    pub audio: gst::Element,
    /// The video is H.264 already.
    pub coded: bool,
}

/// What is known about a source before it is opened.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    /// The details of a V4L2 source.
    pub camera: Option<&'a Target>,
    /// How to open a CSI source.
    pub csi: Option<&'a Csi>,
    /// The file contains a single picture, which is shown as long as anybody watches.
    pub still: bool,
}

/// Builds the front for a source. `counter` counts the frames of the test pattern.
pub(super) fn build(
    settings: &CaptureSettings,
    counter: &Arc<AtomicU32>,
    known: Known<'_>,
    found: impl Fn(Found) + Send + Sync + 'static,
) -> Result<Capture, MediaError> {
    let capture = match &settings.source {
        Location::Test => test(settings)?,
        Location::V4l2 { .. } => {
            let none = || MediaError::new(ErrorKind::Other, "the camera was not probed");
            return camera(settings, known.camera.ok_or_else(none)?, Arc::new(found));
        }
        Location::Csi { .. } => {
            let none = || MediaError::new(ErrorKind::Other, "the CSI camera was not probed");
            let csi = known.csi.ok_or_else(none)?;
            parsed(&decoded(settings, &format!("{} ! decodebin name=decoder", csi.head), Pace::Live))?
        }
        Location::File { .. } => {
            let pace = if known.still { Pace::Still } else { Pace::Clock };
            parsed(&decoded(settings, "uridecodebin name=decoder", pace))?
        }
        Location::Rtsp { .. } => parsed(&decoded(settings, "uridecodebin name=decoder", Pace::Live))?,
    };
    match &settings.source {
        Location::Test => {
            burn_into(&capture.video, settings, counter.clone());
            mark_in(&capture.audio);
            found(Found::Video);
            found(Found::Audio);
            return Ok(capture);
        }
        Location::V4l2 { .. } | Location::Csi { .. } => {}
        Location::File { path } => part(&capture.pipeline, "decoder")?.set_property("uri", file_uri(path)?),
        Location::Rtsp { url, login } => {
            let decoder = part(&capture.pipeline, "decoder")?;
            let login = login.clone();
            decoder.connect("source-setup", false, move |values| {
                if let Some(Ok(source)) = values.get(1).map(|value| value.get::<gst::Element>()) {
                    rtsp::set_up(&source, login.as_ref());
                }
                None
            });
            decoder.set_property("uri", url.reveal());
        }
    }
    let found = Arc::new(found);
    if matches!(settings.source, Location::File { .. }) {
        watch_end(&capture.pipeline, known.still, found.clone())?;
    }
    link_as_they_come(&capture.pipeline, settings, found)?;
    Ok(capture)
}

/// The front for a camera: encoded if its H.264 is passed through, otherwise decoded. Checks that the camera delivers
/// what was negotiated.
fn camera<F>(settings: &CaptureSettings, target: &Target, found: Arc<F>) -> Result<Capture, MediaError>
where
    F: Fn(Found) + Send + Sync + 'static,
{
    let capture = if target.passes_through() {
        coded(&target.head)?
    } else {
        let decoder = format!("{} ! decodebin name=decoder", target.head);
        parsed(&decoded(settings, &decoder, Pace::Live))?
    };
    let camera = part(&capture.pipeline, "camera")?;
    if camera.has_property("device") {
        camera.set_property("device", path_text(&target.path)?);
    }
    if let Some(info) = &target.info {
        let tell = found.clone();
        let pad = camera.static_pad("src").expect("a source has one");
        watch_pace(&pad, info.choice.rate, move |verdict| tell(Found::Pace(verdict)));
    }
    let agreed = target.info.as_ref().map(|info| info.choice.size);
    if capture.coded {
        let tell = found.clone();
        watch_parameter_sets(&capture.video, agreed, move |what| tell(what));
        found(Found::Video);
        found(Found::NoMore);
    } else {
        let tell = found.clone();
        watch_size(&part(&capture.pipeline, "video_in")?, agreed, move |(w, h)| tell(Found::Size(w, h)));
        link_as_they_come(&capture.pipeline, settings, found)?;
    }
    Ok(capture)
}

/// Counts a camera's frames before any is dropped.
fn watch_pace(
    pad: &gst::Pad,
    rate: Option<FrameRate>,
    tell: impl Fn(FrameRateVerdict) + Send + Sync + 'static,
) {
    let Some(rate) = rate else { return };
    let pace = Mutex::new(frame_rate_check::FrameRateCheck::new(rate.per_second()));
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        // Only one thread calls this, and it does not panic in between.
        let verdict = pace.lock().ok().and_then(|mut pace| pace.handle_frame(Instant::now()));
        if let Some(verdict) = verdict {
            tell(verdict);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Reports raw frames whose size is not the negotiated one: only a JPEG contains its actual size.
fn watch_size(into: &gst::Element, agreed: Option<Size>, tell: impl Fn(Size) + Send + Sync + 'static) {
    let Some(agreed) = agreed else { return };
    let pad = into.static_pad("sink").expect("a filter has a sink pad");
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view())
            && let Some(size) = caps.caps().structure(0).and_then(size_of)
            && size != agreed
        {
            tell(size);
        }
        gst::PadProbeReturn::Ok
    });
}

fn size_of(caps: &gst::StructureRef) -> Option<Size> {
    let number = |name| caps.get::<i32>(name).ok().and_then(|n| u32::try_from(n).ok());
    Some((number("width")?, number("height")?))
}

/// Reports a camera's first SPS if it differs from what was negotiated, or if browsers may not decode it.
fn watch_parameter_sets(
    tee: &gst::Element,
    agreed: Option<Size>,
    tell: impl Fn(Found) + Send + Sync + 'static,
) {
    let pad = tee.static_pad("sink").expect("a tee has a sink pad");
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let map = info.buffer().and_then(|buffer| buffer.map_readable().ok());
        let Some(sps) = map.and_then(|map| Sps::find(&map)) else { return gst::PadProbeReturn::Ok };
        if !sps.is_baseline() {
            tell(Found::Foreign(sps.profile_level_id));
            // Not `Drop`: with GStreamer 1.22 that logs a warning about a freed buffer.
            return gst::PadProbeReturn::Handled;
        }
        if agreed.is_some_and(|agreed| agreed != (sps.width, sps.height)) {
            tell(Found::Size(sps.width, sps.height));
        }
        gst::PadProbeReturn::Remove
    });
}

fn test(settings: &CaptureSettings) -> Result<Capture, MediaError> {
    let CaptureSettings { width, height, fps, .. } = settings;
    parsed(&format!(
        "videotestsrc is-live=true pattern=smpte75 horizontal-speed=2 ! \
         video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 ! \
         tee name=video allow-not-linked=true \
         audiotestsrc is-live=true wave=sine freq=440 volume=0.2 samplesperbuffer=480 ! \
         audio/x-raw,format=S16LE,rate=48000,channels=2 ! tee name=audio allow-not-linked=true"
    ))
}

/// The front for a camera that encodes H.264: parameter sets are kept and repeated for viewers that join later.
fn coded(head: &str) -> Result<Capture, MediaError> {
    let capture = parsed(&format!(
        "{head} ! {H264_TAIL} ! tee name=video allow-not-linked=true tee name=audio allow-not-linked=true"
    ))?;
    Ok(Capture { coded: true, ..capture })
}

/// How a source is synchronized with the clock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// The source does so itself.
    Live,
    /// A file, which otherwise would be read as fast as possible.
    Clock,
    /// A single picture, repeated.
    Still,
}

/// The rest of the front for decoded video. Deinterlacing and rotation do not change progressive, upright frames; the
/// first `videoconvert` only converts formats that these two don't support.
fn decoded(settings: &CaptureSettings, decoder: &str, pace: Pace) -> String {
    let clock = if pace == Pace::Live { "" } else { "clocksync !" };
    let freeze = match pace {
        Pace::Still => {
            format!("imagefreeze is-live=true ! video/x-raw,framerate={}/1 !", settings.fps.min(STILL_FPS))
        }
        _ => String::new(),
    };
    let fields = if settings.fps >= FIELDS_FPS { "all" } else { "top" };
    format!(
        "{decoder} \
         identity name=video_in ! {clock} videoconvert ! deinterlace name=deinterlace fields={fields} ! \
         videoflip video-direction=auto ! videoscale name=scale ! videoconvert ! capsfilter name=fit ! {freeze} \
         tee name=video allow-not-linked=true \
         audioconvert name=audio_in ! {clock} audioresample ! \
         audio/x-raw,format=S16LE,rate=48000,channels=[1,2] ! tee name=audio allow-not-linked=true"
    )
}

fn parsed(line: &str) -> Result<Capture, MediaError> {
    let pipeline = launch(line)?;
    let video = part(&pipeline, "video")?;
    let audio = part(&pipeline, "audio")?;
    Ok(Capture { pipeline, video, audio, coded: false })
}

fn path_text(path: &Path) -> Result<&str, MediaError> {
    path.to_str().ok_or_else(|| MediaError::new(ErrorKind::BadSettings, "the source's path is not UTF-8"))
}

/// Test frames later than this are dropped: a machine that cannot draw them in time would lag more and more.
const LATEST: gst::ClockTime = gst::ClockTime::from_mseconds(500);

/// The time of a test frame for `pts` that is drawn at `now`, in running time, after one with the time `last`. If it is
/// late by more than a frame, or would be older than the last one, it gets the time at which it was drawn: no camera
/// captures the past.
fn drawn_at(
    pts: gst::ClockTime,
    last: Option<gst::ClockTime>,
    now: gst::ClockTime,
    fps: u32,
) -> Option<gst::ClockTime> {
    let late = now.saturating_sub(pts);
    let frame = gst::ClockTime::SECOND / u64::from(fps.max(1));
    if late > LATEST {
        return None;
    }
    let drawn = if late > frame { now } else { pts };
    Some(
        last.map_or(drawn, |last| if drawn > last { drawn } else { now.max(last + gst::ClockTime::NSECOND) }),
    )
}

/// Draws the clock and the counter into each frame.
fn burn_into(tee: &gst::Element, settings: &CaptureSettings, counter: Arc<AtomicU32>) {
    let (width, height, fps) = (settings.width as usize, settings.height as usize, settings.fps);
    let pad = tee.static_pad("sink").expect("a tee has a sink pad");
    let last = Mutex::new(None);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let now = pad.parent_element().and_then(|tee| tee.current_running_time());
        if let Some(buffer) = info.buffer_mut()
            && let Some((pts, now)) = buffer.pts().zip(now)
        {
            // Not `Drop`: see `gate`.
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(drawn) = drawn_at(pts, *last, now, fps) else { return gst::PadProbeReturn::Handled };
            *last = Some(drawn);
            if drawn != pts {
                buffer.make_mut().set_pts(drawn);
            }
        }
        if let Some(mut map) = info.buffer_mut().and_then(|buffer| buffer.make_mut().map_writable().ok()) {
            let number = counter.fetch_add(1, Ordering::Relaxed);
            pattern::burn(&mut map, width, height, number, SystemTime::now());
        }
        gst::PadProbeReturn::Ok
    });
}

/// Marks full seconds in the tone, by the clock of the frames.
fn mark_in(tee: &gst::Element) {
    let pad = tee.static_pad("sink").expect("a tee has a sink pad");
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let now = pad.parent_element().and_then(|tee| tee.current_running_time());
        if let Some(buffer) = info.buffer_mut()
            && let Some((pts, now)) = buffer.pts().zip(now)
            && let Ok(mut map) = buffer.make_mut().map_writable()
        {
            let age = Duration::from_nanos(now.nseconds().saturating_sub(pts.nseconds()));
            pattern::mark(&mut map, 2, 48_000, SystemTime::now() - age);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Reports that a file's video ended after one picture, or that the audio of a still picture ended: nothing else ends
/// in these cases.
fn watch_end<F>(pipeline: &gst::Pipeline, still: bool, found: Arc<F>) -> Result<(), MediaError>
where
    F: Fn(Found) + Send + Sync + 'static,
{
    let (name, what) = if still { ("audio_in", Found::SoundEnded) } else { ("video_in", Found::Still) };
    let pad = sink_pad(pipeline, name)?;
    let frames = AtomicU32::new(0);
    let mask = gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::BUFFER;
    pad.add_probe(mask, move |_, info| {
        match &info.data {
            Some(gst::PadProbeData::Buffer(_)) => _ = frames.fetch_add(1, Ordering::Relaxed),
            Some(gst::PadProbeData::Event(event))
                if event.type_() == gst::EventType::Eos && (still || frames.load(Ordering::Relaxed) == 1) =>
            {
                found(what.clone());
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

/// Scales frames to the size that fits, whenever it changes.
fn fit_as_it_comes<F>(
    pipeline: &gst::Pipeline,
    settings: &CaptureSettings,
    found: Arc<F>,
) -> Result<(), MediaError>
where
    F: Fn(Found) + Send + Sync + 'static,
{
    let fit = part(pipeline, "fit")?;
    let pad = sink_pad(pipeline, "scale")?;
    let CaptureSettings { width, height, .. } = *settings;
    let running = AtomicBool::new(false);
    let mask = gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::BUFFER;
    pad.add_probe(mask, move |_, info| {
        match info.event().map(|event| event.view()) {
            Some(gst::EventView::Caps(caps)) => {
                let caps = fitting(caps.caps(), width, height);
                if fit.property::<gst::Caps>("caps") != caps {
                    fit.set_property("caps", caps);
                    if running.load(Ordering::Relaxed) {
                        found(Found::Resized);
                    }
                }
            }
            Some(_) => {}
            None => running.store(true, Ordering::Relaxed),
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

/// Combines two fields to a frame if each comes in a buffer of its own. `deinterlace` gives both fields of a frame the
/// same time, which encoders and RTP treat as one frame.
fn join_fields(pipeline: &gst::Pipeline) -> Result<(), MediaError> {
    let deinterlace = part(pipeline, "deinterlace")?.downgrade();
    let pad = sink_pad(pipeline, "deinterlace")?;
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view())
            && caps.caps().structure(0).is_some_and(gate::has_fields)
            && let Some(deinterlace) = deinterlace.upgrade()
        {
            deinterlace.set_property_from_str("fields", "top");
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

/// Links the first pad of each kind. Others are discarded, since the source would stop otherwise.
fn link_as_they_come<F>(
    pipeline: &gst::Pipeline,
    settings: &CaptureSettings,
    found: Arc<F>,
) -> Result<(), MediaError>
where
    F: Fn(Found) + Send + Sync + 'static,
{
    let decoder = part(pipeline, "decoder")?;
    let video_in = sink_pad(pipeline, "video_in")?;
    let audio_in = sink_pad(pipeline, "audio_in")?;
    let missing = match settings.source {
        Location::File { .. } => Missing::Follows,
        _ => Missing::Arrived,
    };
    gate::put(&video_in, settings.fps, missing);
    join_fields(pipeline)?;
    fit_as_it_comes(pipeline, settings, found.clone())?;
    let audio = settings.audio && settings.microphone == Microphone::None;
    let found_pad = found.clone();
    decoder.connect_pad_added(move |decoder, pad| {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let name = caps.structure(0).map_or("", |structure| structure.name().as_str());
        let (kind, sink) = match name {
            "video/x-raw" if !video_in.is_linked() => (Found::Video, &video_in),
            "audio/x-raw" if audio && !audio_in.is_linked() => (Found::Audio, &audio_in),
            _ => return discard(decoder, pad),
        };
        match pad.link(sink) {
            Ok(_) => found_pad(kind),
            Err(error) => {
                log::debug!("cannot link a decoded stream: {error}");
                discard(decoder, pad);
            }
        }
    });
    decoder.connect_no_more_pads(move |_| found(Found::NoMore));
    Ok(())
}

/// The caps of raw video.
fn fitting(caps: &gst::CapsRef, max_width: u32, max_height: u32) -> gst::Caps {
    let structure = caps.structure(0);
    let number = |name| structure.and_then(|s| s.get::<i32>(name).ok()).and_then(|n| u32::try_from(n).ok());
    let (width, height) = (number("width").unwrap_or(max_width), number("height").unwrap_or(max_height));
    let par = structure.and_then(|s| s.get::<gst::Fraction>("pixel-aspect-ratio").ok());
    let par = par.map_or((1, 1), |par| (par.numer().unsigned_abs(), par.denom().unsigned_abs()));
    let (width, height) = fit((width, height), par, (max_width, max_height));
    gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", width as i32)
        .field("height", height as i32)
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .build()
}

/// The size with square pixels that keeps a frame's aspect ratio, within the limits, never enlarged, and even as 4:2:0
/// requires.
fn fit(size: (u32, u32), par: (u32, u32), max: (u32, u32)) -> (u32, u32) {
    let par = if par.0 == 0 || par.1 == 0 { 1.0 } else { f64::from(par.0) / f64::from(par.1) };
    let (width, height) = (f64::from(size.0.max(1)) * par, f64::from(size.1.max(1)));
    let scale = (f64::from(max.0) / width).min(f64::from(max.1) / height).min(1.0);
    // A cast from float saturates; 16 is the smallest block that can be encoded.
    let even = |length: f64, max: u32| (((length * scale / 2.0).round() as u32) * 2).clamp(16, max.max(16));
    (even(width, max.0), even(height, max.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_frame_that_is_drawn_late_says_when() {
        let ms = gst::ClockTime::from_mseconds;
        let table = [
            ("in time", 1000, 1001, Some(1000)),
            ("ahead of the clock", 1000, 998, Some(1000)),
            ("within its frame", 1000, 1033, Some(1000)),
            ("late", 1000, 1034, Some(1034)),
            ("as late as can be", 1000, 1500, Some(1500)),
            ("too late", 1000, 1501, None),
        ];
        for (what, pts, now, expected) in table {
            assert_eq!(drawn_at(ms(pts), None, ms(now), 30), expected.map(ms), "{what}");
        }
    }

    #[test]
    fn test_frames_never_go_back_in_time() {
        let ms = gst::ClockTime::from_mseconds;
        let mut last = None;
        // At 10 fps: only the second is late by more than a frame.
        for (pts, now) in [(0, 0), (100, 250), (200, 270), (300, 310), (400, 400)] {
            let drawn = drawn_at(ms(pts), last, ms(now), 10);
            assert!(drawn > last, "{drawn:?} after {last:?}");
            last = drawn;
        }
        assert_eq!(last, Some(ms(400)), "and go on as they come");
        assert!(drawn_at(ms(400), last, ms(390), 10) > last, "even if the clock is behind");
    }

    #[test]
    fn test_frames_that_are_too_late_are_dropped_without_a_complaint_of_gstreamer() {
        gst::init().expect("GStreamer");
        let complaints = Arc::new(AtomicU32::new(0));
        let counting = complaints.clone();
        let critical = gst::glib::LogLevels::LEVEL_CRITICAL;
        let handler =
            gst::glib::log_set_handler(Some("GStreamer"), critical, false, false, move |_, _, _| {
                counting.fetch_add(1, Ordering::Relaxed);
            });
        let line = "videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=320,height=180,framerate=30/1 ! \
                    tee name=video ! fakesink name=out sync=false";
        let pipeline = launch(line).expect("it is built");
        let burned = Arc::new(AtomicU32::new(0));
        let settings = CaptureSettings { width: 320, height: 180, ..CaptureSettings::default() };
        burn_into(&part(&pipeline, "video").expect("named above"), &settings, burned.clone());
        // As if the pipeline had been playing for a minute.
        let clock = gst::SystemClock::obtain();
        pipeline.use_clock(Some(&clock));
        pipeline.set_start_time(gst::ClockTime::NONE);
        let now = clock.time();
        pipeline.set_base_time(now.saturating_sub(gst::ClockTime::from_seconds(60)));
        pipeline.set_state(gst::State::Playing).expect("it plays");
        let bus = pipeline.bus().expect("a pipeline has a bus");
        let ends = [gst::MessageType::Eos, gst::MessageType::Error];
        let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &ends).expect("it ends");
        assert_eq!(end.type_(), gst::MessageType::Eos);
        pipeline.set_state(gst::State::Null).expect("it stops");
        gst::glib::log_remove_handler(Some("GStreamer"), handler);
        assert_eq!(burned.load(Ordering::Relaxed), 1, "only the one of the preroll was in time");
        assert_eq!(complaints.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn frames_keep_their_aspect_ratio_and_are_never_enlarged() {
        let table = [
            ("as it is", (640, 480), (1, 1), (1280, 720), (640, 480)),
            ("too large", (1920, 1080), (1, 1), (1280, 720), (1280, 720)),
            ("too high", (1080, 1920), (1, 1), (1280, 720), (406, 720)),
            ("4:3 of a large camera", (2592, 1944), (1, 1), (1280, 720), (960, 720)),
            ("odd", (639, 479), (1, 1), (1280, 720), (640, 480)),
            ("PAL wide pixels", (720, 576), (16, 11), (1280, 720), (1048, 576)),
            ("no pixel shape", (720, 576), (0, 1), (1280, 720), (720, 576)),
            ("nothing known", (0, 0), (1, 1), (1280, 720), (16, 16)),
            ("a line", (20000, 10), (1, 1), (1280, 720), (1280, 16)),
        ];
        for (name, size, par, max, expected) in table {
            assert_eq!(fit(size, par, max), expected, "{name}");
        }
    }
}

#[cfg(test)]
#[path = "interlaced_tests.rs"]
mod interlaced;
