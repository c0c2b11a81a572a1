//! Checks before the start: plugins, the file, the device.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use gst::prelude::*;
use gstreamer as gst;

use super::csi::Csi;
use super::fault;
use super::parts::{discard, end_of, file_uri, launch, need};
use super::settings::CaptureSettings;
use crate::media::error::{ErrorKind, MediaError};
use crate::media::source::Location;

const CORE: &str = "libgstreamer1.0-0";
const BASE: &str = "gstreamer1.0-plugins-base";
const GOOD: &str = "gstreamer1.0-plugins-good";
const BAD: &str = "gstreamer1.0-plugins-bad";

/// Elements that are always needed, with their Debian packages.
const ALWAYS: &[(&str, &str)] = &[
    ("tee", CORE),
    ("queue", CORE),
    ("capsfilter", CORE),
    ("appsink", BASE),
    ("videoconvert", BASE),
    ("identity", CORE),
    ("videoscale", BASE),
    ("videotestsrc", BASE), // for the trial of each encoder
    ("h264parse", BAD),
];
const DECODED: &[(&str, &str)] = &[
    ("audioconvert", BASE),
    ("audioresample", BASE),
    ("decodebin", BASE),
    ("uridecodebin", BASE),
    ("deinterlace", GOOD),
    ("videoflip", GOOD),
];

/// Timeout for a file or device to report its streams.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(10);

/// What the check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Has {
    pub audio: bool,
}

/// Checks GStreamer and the elements that the settings need.
pub(super) fn gstreamer(settings: &CaptureSettings) -> Result<(), MediaError> {
    gst::init().map_err(|error| {
        let words = format!("cannot initialize GStreamer: {}", error.message());
        MediaError::new(ErrorKind::MissingPlugin, words)
    })?;
    let own: &[(&str, &str)] = match settings.source {
        Location::Test => &[("audiotestsrc", BASE)],
        Location::V4l2 { .. } => &[("v4l2src", GOOD), ("jpegdec", GOOD)],
        // Its element depends on the board: see `csi`.
        Location::Csi { .. } => &[],
        Location::File { .. } => &[("filesrc", CORE), ("clocksync", CORE), ("imagefreeze", GOOD)],
        Location::Rtsp { .. } => {
            &[("rtspsrc", GOOD), ("udpsrc", GOOD), ("rtpbin", GOOD), ("rtph264depay", GOOD)]
        }
    };
    let decoded: &[_] = if settings.source == Location::Test { &[] } else { DECODED };
    let sound: &[_] = if settings.audio { &[("opusenc", BASE)] } else { &[] };
    if settings.audio {
        settings.microphone.check()?;
    }
    for (element, package) in [ALWAYS, own, decoded, sound].into_iter().flatten() {
        need(element, package)?;
    }
    Ok(())
}

/// Whether an element is installed.
pub(super) fn has(element: &str) -> bool {
    gst::ElementFactory::find(element).is_some()
}

/// Checks that the source exists. A network camera is not probed, as it may come up later. A camera that is `ours` is
/// not asked for a frame: the source that is about to close may have it open.
pub(super) fn source(settings: &CaptureSettings, csi: Option<&Csi>, ours: bool) -> Result<Has, MediaError> {
    let found = match &settings.source {
        Location::Test | Location::Rtsp { .. } => Has { audio: true },
        Location::V4l2 { path } => camera(path, &settings.source, ours).map(|()| Has { audio: false })?,
        Location::Csi { .. } => {
            if let Some(csi) = csi.filter(|_| !ours) {
                sensor(csi, &settings.source)?;
            }
            Has { audio: false }
        }
        Location::File { path } => file(path, &settings.source)?,
    };
    Ok(Has { audio: found.audio && settings.audio })
}

/// Whether both are the same camera, perhaps by two paths of one device.
#[cfg(any(test, feature = "camera"))]
pub(super) fn is_same_camera(a: &Location, b: &Location) -> bool {
    use std::os::unix::fs::MetadataExt;

    match (a, b) {
        (Location::V4l2 { path: a }, Location::V4l2 { path: b }) => {
            let device =
                |path| fs::metadata(path).ok().map(|data| (data.file_type().is_char_device(), data.rdev()));
            a == b || device(a).is_some_and(|found| found.0 && Some(found) == device(b))
        }
        (Location::Csi { .. }, Location::Csi { .. }) => a == b,
        _ => false,
    }
}

fn camera(path: &Path, source: &Location, ours: bool) -> Result<(), MediaError> {
    let kind = fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => MediaError::new(
            ErrorKind::NotAllowed,
            format!("permission denied: {source} (add the user to the group video)"),
        ),
        _ => MediaError::new(ErrorKind::NoCamera, format!("camera {source} not found: {}", others())),
    })?;
    if !kind.file_type().is_char_device() {
        return Err(MediaError::new(
            ErrorKind::NotACamera,
            format!("{source} is not a device: {}", others()),
        ));
    }
    if ours {
        return Ok(());
    }
    // One frame, because only streaming shows that no other program holds the camera.
    let pipeline = launch("v4l2src name=camera num-buffers=1 ! fakesink sync=false")?;
    let camera = pipeline.by_name("camera").expect("named in the line above");
    camera.set_property("device", path.to_string_lossy().as_ref());
    let outcome = play_to_the_end(&pipeline, source);
    _ = pipeline.set_state(gst::State::Null);
    outcome
}

/// Takes one frame from a CSI camera, because its element reports only then whether a camera exists.
fn sensor(csi: &Csi, source: &Location) -> Result<(), MediaError> {
    let pipeline = launch(&format!("{} ! identity eos-after=1 ! fakesink sync=false", csi.head))?;
    let outcome = play_to_the_end(&pipeline, source);
    _ = pipeline.set_state(gst::State::Null);
    outcome.map_err(|error| fault::with_advice(error, Some(&csi.advice)))
}

/// Lists the available cameras.
fn others() -> String {
    let names = fs::read_dir("/dev").into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut cameras: Vec<String> =
        names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with("video")).collect();
    cameras.sort_unstable();
    match cameras.as_slice() {
        [] => "no cameras are connected (the source `test` needs none)".into(),
        some => format!("available are /dev/{}", some.join(", /dev/")),
    }
}

/// What a single word without an extension may have been meant to be.
fn other_sources(path: &Path) -> &'static str {
    if path.extension().is_none() && path.components().count() == 1 {
        "; a source may also be `test`, a device such as /dev/video0, `csi` or rtsp://…"
    } else {
        ""
    }
}

fn file(path: &Path, source: &Location) -> Result<Has, MediaError> {
    let kind = fs::File::open(path).and_then(|file| file.metadata()).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let others = other_sources(path);
            MediaError::new(ErrorKind::NoFile, format!("file {source} not found{others}"))
        }
        io::ErrorKind::PermissionDenied => {
            MediaError::new(ErrorKind::NotAllowed, format!("permission denied: {source}"))
        }
        _ => MediaError::new(ErrorKind::NoFile, format!("cannot open {source}: {error}")),
    })?;
    if kind.is_dir() {
        return Err(MediaError::new(ErrorKind::NoFile, format!("{source} is a directory, not a file")));
    }
    let pipeline = launch("uridecodebin name=decoder")?;
    let decoder = pipeline.by_name("decoder").expect("named in the line above");
    decoder.set_property("uri", file_uri(path)?);
    // An unlinked pad is a stream error, which may be reported before everything is known.
    decoder.connect_pad_added(discard);
    let outcome = look_inside(&pipeline, &decoder, source);
    _ = pipeline.set_state(gst::State::Null);
    outcome
}

fn play_to_the_end(pipeline: &gst::Pipeline, source: &Location) -> Result<(), MediaError> {
    match end_of(pipeline, PATIENCE).as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => Ok(()),
        Some(gst::MessageView::Error(error)) => {
            Err(fault::from_gstreamer(source, &error.error(), &error.debug().unwrap_or_default()))
        }
        _ => Err(fault::stalled(source)),
    }
}

/// Opens a file until its streams are known.
fn look_inside(
    pipeline: &gst::Pipeline,
    decoder: &gst::Element,
    source: &Location,
) -> Result<Has, MediaError> {
    let bus = pipeline.bus().expect("a pipeline has a bus until it is dropped");
    _ = pipeline.set_state(gst::State::Paused);
    let mut missing = None;
    let wanted = [gst::MessageType::AsyncDone, gst::MessageType::Error, gst::MessageType::Element];
    let outcome = loop {
        let Some(message) = bus.timed_pop_filtered(PATIENCE, &wanted) else {
            break Err(fault::stalled(source));
        };
        match message.view() {
            gst::MessageView::Error(error) => {
                break Err(fault::from_gstreamer(source, &error.error(), &error.debug().unwrap_or_default()));
            }
            gst::MessageView::Element(element) => {
                let plugin = element.structure().filter(|structure| structure.name() == "missing-plugin");
                missing = plugin.and_then(|plugin| plugin.get::<String>("name").ok()).or(missing);
            }
            _ => break Ok(()),
        }
    };
    let has = |kind: &str| {
        decoder.src_pads().iter().any(|pad| {
            pad.current_caps()
                .and_then(|caps| caps.structure(0).map(|s| s.name().starts_with(kind)))
                .unwrap_or(false)
        })
    };
    let outcome = outcome.and_then(|()| {
        if has("video/") {
            return Ok(Has { audio: has("audio/") });
        }
        Err(MediaError::new(ErrorKind::NoVideo, format!("{source} has no video that can be decoded")))
    });
    outcome.map_err(|error| fault::with_missing(error, missing.as_deref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_of_our_own_need_not_deliver_a_frame() {
        gst::init().expect("GStreamer starts");
        let at = |path: &str| CaptureSettings {
            source: Location::V4l2 { path: path.into() },
            ..CaptureSettings::default()
        };
        // A device without frames, like a camera in use.
        let table = [
            ("/dev/null", false, Some("not-a-camera")),
            ("/dev/null", true, None),
            ("/dev/symple-none", true, Some("no-camera")),
            ("/dev/shm", true, Some("not-a-camera")),
        ];
        for (path, ours, expected) in table {
            let found = source(&at(path), None, ours);
            assert_eq!(found.err().map(|error| error.code()), expected, "{path} {ours}");
        }
    }

    #[test]
    fn one_camera_may_have_two_paths() {
        let table = [
            ("/dev/null", "/dev/null", true),
            ("/dev/null", "/dev/../dev/null", true),
            ("/dev/null", "/dev/zero", false),
            ("/dev/symple-none", "/dev/symple-none", true),
            ("/dev/symple-none", "/dev/symple-other", false),
            ("/dev", "/proc", false),
            ("csi", "csi", true),
            ("csi", "/dev/null", false),
            ("test", "test", false),
        ];
        for (a, b, expected) in table {
            let location = |words: &str| match words.strip_prefix("/dev").or(words.strip_prefix("/proc")) {
                Some(_) => Location::V4l2 { path: words.into() },
                None => words.parse().expect("a location"),
            };
            assert_eq!(is_same_camera(&location(a), &location(b)), expected, "{a} {b}");
        }
    }
}
