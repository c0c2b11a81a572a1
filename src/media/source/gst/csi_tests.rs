//! A CSI source at work: another element in the sensor's place, and libcamera's own without a camera.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use gstreamer as gst;

use super::super::control::{Command, Control};
use super::super::{MediaEvent, Pipeline, Streams, encoders};
use super::*;
use crate::media::board::{self, Board};

/// What is said of a camera that is not there.
const ADVICE: &str = "look at the cable";
/// Longer than anything here takes, on a machine that is busy.
const LONG: Duration = Duration::from_secs(30);

/// A source `csi` that is opened by this head, asked for H.264 until `enough`; then all it told, and when.
fn told(head: &str, enough: impl Fn(&[(Instant, MediaEvent)]) -> bool) -> Vec<(Instant, MediaEvent)> {
    gst::init().expect("GStreamer");
    let source = Location::Csi(None);
    let settings = Settings { source, width: 320, height: 180, fps: 10, ..Settings::default() };
    let elements = board::elements();
    let (profile, _) = board::named("generic", &elements).expect("it is built in");
    let (encoder, _) = encoders::choose(&settings, &profile, &elements).expect("an encoder");
    let csi = Csi { head: head.into(), advice: ADVICE.into() };
    let (commands, inbox) = channel();
    let (tell, events): (_, Receiver<(Instant, MediaEvent)>) = channel();
    let on = Arc::new(move |event| _ = tell.send((Instant::now(), event)));
    let control = Control::new(settings, encoder, None, Some(csi), on, commands.clone());
    let thread = thread::spawn(move || control.run(inbox));
    let send = |command| commands.send(command).expect("it runs");
    send(Command::Start(Streams { h264: true, ..Streams::default() }));
    let mut all = Vec::new();
    while !enough(&all) {
        match events.recv_timeout(LONG) {
            Ok(event) => all.push(event),
            Err(_) => panic!("nothing more came after {all:?}"),
        }
    }
    send(Command::Quit);
    thread.join().expect("it does not panic");
    all
}

#[test]
fn a_sensors_raw_pictures_are_encoded() {
    let head = "videotestsrc name=camera is-live=true ! \
                video/x-raw,format=NV12,width=320,height=180,framerate=10/1";
    let all = told(head, |all| matches!(all.last(), Some((_, MediaEvent::Frame(_)))));
    let format = all.iter().find_map(|(_, event)| match event {
        MediaEvent::Format { width, height, .. } => Some((*width, *height)),
        _ => None,
    });
    assert_eq!(format, Some((320, 180)), "{all:?}");
    let Some((_, MediaEvent::Frame(frame))) = all.last() else { panic!("{all:?}") };
    assert!(frame.key, "the first picture is a key frame");
}

#[test]
fn a_camera_that_is_not_there_is_tried_again_with_growing_waits() {
    let failed = |all: &[(Instant, MediaEvent)]| -> Vec<(Instant, MediaError)> {
        let failed = all.iter().filter_map(|(at, event)| match event {
            MediaEvent::Failed(error) => Some((*at, error.clone())),
            MediaEvent::GaveUp => panic!("it gave up"),
            _ => None,
        });
        failed.collect()
    };
    let head = "v4l2src name=camera device=/dev/video-that-is-not ! video/x-raw";
    let failures = failed(&told(head, |all| failed(all).len() >= 3));
    let waits = [failures[1].0 - failures[0].0, failures[2].0 - failures[1].0];
    assert!(waits[0] >= Duration::from_secs(1) && waits[1] >= Duration::from_secs(2), "{waits:?}");
    for (_, error) in failures {
        assert_eq!(error.kind(), ErrorKind::NoCamera, "{error}");
        assert!(error.to_string().contains(ADVICE), "{error}");
    }
}

#[test]
fn a_size_that_a_sensor_does_not_give_is_told() {
    // A decoder finds out while it runs, as libcamera does.
    let head = "videotestsrc name=camera ! video/x-raw,width=100 ! jpegenc ! jpegdec ! video/x-raw,width=320";
    let all = told(head, |all| matches!(all.last(), Some((_, MediaEvent::Failed(_)))));
    let Some((_, MediaEvent::Failed(error))) = all.last() else { panic!("{all:?}") };
    assert_eq!(error.kind(), ErrorKind::WrongPictures, "{error}");
    assert!(error.to_string().contains("size and rate"), "{error}");
}

#[test]
fn libcamera_without_a_camera_says_what_to_check() {
    gst::init().expect("GStreamer");
    let settings = |source: &str| Settings {
        source: source.parse().expect("a source"),
        board: Board::Named("raspberry-pi-5".into()),
        ..Settings::default()
    };
    let open = |source: &str| Pipeline::new(settings(source), |_| {}).err();
    if gst::ElementFactory::find("libcamerasrc").is_none() {
        let error = open("csi").expect("its element is missing");
        assert_eq!(error.kind(), ErrorKind::MissingPlugin, "{error}");
        assert!(error.to_string().contains("apt install gstreamer1.0-libcamera"), "{error}");
        println!("SKIPPED: gstreamer1.0-libcamera is not installed, so libcamera's own words were not seen");
        return;
    }
    let error = open("csi:no such camera").expect("nobody has a camera of this name");
    assert_eq!(error.kind(), ErrorKind::NoCamera, "{error}");
    assert!(error.to_string().contains("'no such camera'"), "{error}");
    let Some(error) = open("csi") else {
        println!("SKIPPED: this machine has a camera for libcamera, so the words without one were not seen");
        return;
    };
    assert_eq!(error.kind(), ErrorKind::NoCamera, "{error}");
    for part in ["ribbon cable", "cam --list", "camera_auto_detect=1"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}
