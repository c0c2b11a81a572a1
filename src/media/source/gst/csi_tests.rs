//! A running CSI source: with another element in place of the sensor, and libcamera's element without a camera.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use gstreamer as gst;

use super::super::candidates::Candidates;
use super::super::control::Control;
use super::super::inbox::Order;
use super::super::plan::Plan;
use super::super::streams::{Announced, Maker, Stream};
use super::super::{Pipeline, encoders};
use super::*;
use crate::media::board::{self, Board};
use crate::media::source::{Command, SourceEvent};
use crate::media::{Codec, StreamId, StreamInfo};

/// The advice for a missing camera.
const ADVICE: &str = "look at the cable";
/// Longer than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(30);

/// Runs a source `csi` that these elements open, with H.264 requested, until `enough`; returns all its events with
/// their times.
fn told(head: &str, enough: impl Fn(&[(Instant, SourceEvent)]) -> bool) -> Vec<(Instant, SourceEvent)> {
    gst::init().expect("GStreamer");
    let source = Location::Csi { camera: None };
    let settings = CaptureSettings { source, width: 320, height: 180, fps: 10, ..CaptureSettings::default() };
    let elements = board::elements();
    let (profile, _) = board::named("generic", &elements).expect("it is built in");
    let (encoder, _) = encoders::choose(&settings, &profile, &elements).expect("an encoder");
    let small = Candidates::new(encoder.encoder().cloned().into_iter().collect());
    let csi = Csi { head: head.into(), advice: ADVICE.into() };
    let (orders, inbox) = channel();
    let (tell, events): (_, Receiver<(Instant, SourceEvent)>) = channel();
    let on = Arc::new(move |event| _ = tell.send((Instant::now(), event)));
    let id = StreamId(0);
    let plan = Plan {
        level: 31,
        small,
        settings,
        encoder,
        in_use: Arc::default(),
        streams: vec![Stream::new(id, Maker::Encoder)],
        announced: Arc::new(Announced::new(vec![StreamInfo::new(id, Codec::H264)])),
        on,
        orders: orders.clone(),
        epoch: Instant::now(),
        counter: Arc::default(),
        camera: None,
        csi: Some(csi),
        still: false,
    };
    let control = Control::new(plan, None);
    let thread = thread::spawn(move || control.run(inbox));
    let send = |order| orders.send(order).expect("it runs");
    send(Order::Ask(Command::Want([id].into())));
    let mut all = Vec::new();
    while !enough(&all) {
        match events.recv_timeout(LONG) {
            Ok(event) => all.push(event),
            Err(_) => panic!("nothing more came after {all:?}"),
        }
    }
    send(Order::Quit);
    thread.join().expect("it does not panic");
    all
}

#[test]
fn raw_frames_of_a_sensor_are_encoded() {
    let head = "videotestsrc name=camera is-live=true ! \
                video/x-raw,format=NV12,width=320,height=180,framerate=10/1";
    let all = told(head, |all| matches!(all.last(), Some((_, SourceEvent::Frame(_)))));
    let format = all.iter().find_map(|(_, event)| match event {
        SourceEvent::Streams(streams) => streams[0].video().map(|video| (video.width, video.height)),
        _ => None,
    });
    assert_eq!(format, Some((320, 180)), "{all:?}");
    let Some((_, SourceEvent::Frame(frame))) = all.last() else { panic!("{all:?}") };
    assert!(frame.key, "the first frame is a key frame");
}

#[test]
fn a_missing_camera_is_retried_with_growing_delays() {
    let failed = |all: &[(Instant, SourceEvent)]| -> Vec<(Instant, MediaError)> {
        let failed = all.iter().filter_map(|(at, event)| match event {
            SourceEvent::Failed(error) => Some((*at, error.clone())),
            SourceEvent::GaveUp => panic!("it gave up"),
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
fn an_unsupported_sensor_size_is_reported() {
    // A decoder fails only while it runs, as libcamera does.
    let head = "videotestsrc name=camera ! video/x-raw,width=100 ! jpegenc ! jpegdec ! video/x-raw,width=320";
    let all = told(head, |all| matches!(all.last(), Some((_, SourceEvent::Failed(_)))));
    let Some((_, SourceEvent::Failed(error))) = all.last() else { panic!("{all:?}") };
    assert_eq!(error.kind(), ErrorKind::WrongFormat, "{error}");
    assert!(error.to_string().contains("size and frame rate"), "{error}");
}

#[test]
fn libcamera_without_a_camera_reports_what_to_check() {
    gst::init().expect("GStreamer");
    let settings = |source: &str| CaptureSettings {
        source: source.parse().expect("a source"),
        board: Board::Named { name: "raspberry-pi-5".into() },
        ..CaptureSettings::default()
    };
    let open = |source: &str| Pipeline::build(settings(source)).err();
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
