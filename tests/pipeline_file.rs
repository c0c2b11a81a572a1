//! Files with real video and audio, and files without.
#![cfg(feature = "gst")]

mod media;

use std::path::{Path, PathBuf};

use gstreamer::prelude::*;
use media::{ALL, H264, open, settings};
use symple::media::Codec;
use symple::media::source::SourceEvent;
use symple::media::source::gst::CaptureSettings;

const VIDEO: &str = "videotestsrc num-buffers=45 pattern=ball ! video/x-raw,width=322,height=242,framerate=15/1 ! \
                     x264enc tune=zerolatency speed-preset=ultrafast ! mux.";
const AUDIO: &str = "audiotestsrc num-buffers=130 ! audio/x-raw,rate=44100,channels=1 ! flacenc ! mux.";

/// A folder for this test, which is removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("symple-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }

    /// Three seconds of the chains' output, in Matroska.
    fn record(&self, name: &str, chains: &str) -> String {
        gstreamer::init().expect("GStreamer");
        let path = self.0.join(name);
        let launch = format!("matroskamux name=mux ! filesink name=file {chains}");
        let pipeline =
            gstreamer::parse::launch(&launch).expect("the chains").downcast::<gstreamer::Pipeline>();
        let pipeline = pipeline.expect("a pipeline");
        pipeline
            .by_name("file")
            .expect("named above")
            .set_property("location", path.to_str().expect("UTF-8"));
        pipeline.set_state(gstreamer::State::Playing).expect("it records");
        let ends = [gstreamer::MessageType::Eos, gstreamer::MessageType::Error];
        let end = pipeline.bus().expect("a bus").timed_pop_filtered(None, &ends).expect("an end");
        assert_eq!(end.type_(), gstreamer::MessageType::Eos, "{end:?}");
        pipeline.set_state(gstreamer::State::Null).expect("it stops");
        text(&path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("a file");
        text(&path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").into()
}

#[test]
fn a_file_plays_with_audio_in_its_aspect_ratio_and_loops() {
    let folder = Folder::new("plays");
    let watched =
        open(settings(&folder.record("a clip 1%.mkv", &format!("{VIDEO} {AUDIO}")))).expect("it opens");
    assert!(watched.has(Codec::Opus));
    watched.start(ALL);
    let format = watched.until("the format", |event| watched.announced(event, Codec::H264));
    assert_eq!((format.width, format.height), (240, 180), "4:3 within 320 x 180");
    let mut last = watched.key_frame(Codec::H264).pts;
    watched.frame(Codec::Vp8);
    watched.frame(Codec::Opus);
    for _ in 0..2 {
        // Times rise across the end; each round begins with an announcement and a key frame.
        let mut ended = false;
        let mut started = false;
        let first = watched.until("the next round", |event| match event {
            SourceEvent::Ended => {
                ended = true;
                None
            }
            SourceEvent::Started => {
                started = ended;
                None
            }
            SourceEvent::Frame(frame) if frame.codec == Codec::H264 => {
                assert!(frame.pts > last);
                last = frame.pts;
                (ended && started).then(|| frame.clone())
            }
            _ => None,
        });
        assert!(first.key);
    }
}

#[test]
fn a_stopped_pipeline_keeps_nothing_open() {
    let folder = Folder::new("closed");
    let path = folder.record("clip.mkv", VIDEO);
    let open_now = || {
        let links = std::fs::read_dir("/proc/self/fd").expect("Linux").flatten();
        links.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|file| file == Path::new(&path))).count()
    };
    let watched = open(settings(&path)).expect("it opens");
    assert_eq!(open_now(), 0, "before the start");
    watched.start(H264);
    watched.frame(Codec::H264);
    assert_eq!(open_now(), 1, "while it plays");
    watched.stop();
    watched.event("the stop", |event| matches!(event, SourceEvent::Stopped));
    assert_eq!(open_now(), 0, "after Stopped");
    assert!(watched.rest().is_empty(), "nothing follows Stopped");
}

#[test]
fn a_file_plays_at_its_own_speed() {
    let folder = Folder::new("speed");
    let path = folder.record("silent.mkv", VIDEO);
    let watched = open(CaptureSettings { repeat: false, ..settings(&path) }).expect("it opens");
    assert!(!watched.has(Codec::Opus));
    watched.start(ALL);
    let first = watched.key_frame(Codec::H264);
    let mut frames = vec![first];
    watched.until("the end", |event| match event {
        SourceEvent::Frame(frame) if frame.codec == Codec::H264 => {
            frames.push(frame.clone());
            None
        }
        SourceEvent::Frame(frame) => {
            assert_eq!(frame.codec, Codec::Vp8, "it has no audio");
            None
        }
        SourceEvent::Ended => Some(()),
        _ => None,
    });
    watched.event("the stop, as it is not repeated", |event| matches!(event, SourceEvent::GaveUp));
    // 45 frames at 15 fps; `captured` is when each arrived by the clock.
    let took = frames[frames.len() - 1].captured - frames[0].captured;
    assert!(took.as_millis() >= 2500, "{} frames within {took:?}", frames.len());
}

#[test]
fn audio_can_be_left_out() {
    let folder = Folder::new("mute");
    let path = folder.record("clip.mkv", &format!("{VIDEO} {AUDIO}"));
    let watched = open(CaptureSettings { audio: false, ..settings(&path) }).expect("it opens");
    assert!(!watched.has(Codec::Opus));
    watched.start(ALL);
    watched.until("the second round", |event| match event {
        SourceEvent::Ended => Some(()),
        SourceEvent::Frame(frame) => {
            assert_ne!(frame.codec, Codec::Opus);
            None
        }
        _ => None,
    });
}

#[test]
fn unplayable_files_are_refused_at_once_with_a_reason() {
    let folder = Folder::new("refused");
    let table = [
        (text(&folder.0.join("missing.mp4")), "no-file", "not found"),
        (text(&folder.0), "no-file", "is a directory"),
        (folder.write("text.mp4", b"This is no video."), "not-media", "not a playable video"),
        (folder.write("empty.mp4", b""), "not-media", "not a playable video"),
        (folder.record("sound.mkv", AUDIO), "no-video", "has no video"),
        ("/dev/video97".into(), "no-camera", "camera /dev/video97 not found"),
        ("/dev/null".into(), "not-a-camera", "is not a camera"),
        ("/dev/v4l".into(), "no-camera", "camera /dev/v4l not found"),
    ];
    for (source, code, words) in table {
        let error = open(settings(&source)).err().unwrap_or_else(|| panic!("{source} is refused"));
        println!("{}: {error}", error.code());
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_file_that_vanishes_fails_with_a_reason_and_can_be_restarted() {
    let folder = Folder::new("vanishes");
    let path = folder.record("clip.mkv", VIDEO);
    let watched = open(settings(&path)).expect("it opens");
    std::fs::rename(&path, folder.0.join("away")).expect("it moves");
    watched.start(H264);
    let error = watched.failure();
    assert_eq!(error.code(), "no-file", "{error}");
    watched.event("the stop", |event| matches!(event, SourceEvent::GaveUp));
    std::fs::rename(folder.0.join("away"), &path).expect("it moves back");
    watched.start(H264);
    assert!(watched.frame(Codec::H264).key);
}
