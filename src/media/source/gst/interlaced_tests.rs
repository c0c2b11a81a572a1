//! Interlaced cameras in every mode of GStreamer: encoders get progressive, complete frames, and at most the requested
//! rate.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::*;

/// The input of the encoders: caps, and the times of the frames.
struct Front {
    capture: Capture,
    frames: Receiver<(gst::Caps, Duration)>,
}

/// A camera with 25 frames per second, which `tail` produces from 50 progressive ones.
fn camera(tail: &str, fps: u32) -> Front {
    gst::init().expect("GStreamer");
    let source = Location::V4l2 { path: "/dev/video0".into() };
    let settings =
        CaptureSettings { source, width: 320, height: 240, fps, audio: false, ..CaptureSettings::default() };
    let head = format!(
        "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=50/1 ! \
         {tail} ! identity name=camera"
    );
    let target = Target { head, path: "/dev/video9999".into(), info: None };
    let known = Known { camera: Some(&target), csi: None, still: false };
    let capture = build(&settings, &Arc::default(), known, |_| ()).expect("its front is built");
    if tail == FIELDS {
        spread_fields(&capture);
    }
    let (tell, frames) = channel();
    let tee = capture.video.static_pad("sink").expect("a tee has a sink pad");
    tee.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        if let (Some(caps), Some(time)) = (pad.current_caps(), info.buffer().and_then(|buffer| buffer.pts()))
        {
            _ = tell.send((caps, time.into()));
        }
        gst::PadProbeReturn::Ok
    });
    capture.pipeline.set_state(gst::State::Playing).expect("it plays");
    Front { capture, frames }
}

/// `interlace` gives both fields of a frame the same time; a camera gives each its own.
fn spread_fields(capture: &Capture) {
    let camera =
        capture.pipeline.by_name("camera").and_then(|camera| camera.static_pad("sink")).expect("named above");
    let second = AtomicBool::new(false);
    camera.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let second = second.fetch_not(Ordering::Relaxed);
        if let Some(buffer) = info.buffer_mut().map(|buffer| buffer.make_mut()).filter(|_| second) {
            buffer.set_pts(buffer.pts().map(|pts| pts + gst::ClockTime::from_mseconds(20)));
        }
        gst::PadProbeReturn::Ok
    });
}

impl Drop for Front {
    fn drop(&mut self) {
        _ = self.capture.pipeline.set_state(gst::State::Null);
    }
}

const FIELDS: &str = "interlace field-pattern=1:1 ! video/x-raw(format:Interlaced),interlace-mode=alternate";
const WOVEN: &str = "interlace field-pattern=1:1 ! video/x-raw,interlace-mode=interleaved";
const MIXED: &str = "interlace field-pattern=1:1 ! video/x-raw,interlace-mode=interleaved ! \
                     capssetter caps=\"video/x-raw,interlace-mode=mixed\"";

#[test]
fn every_mode_becomes_progressive_within_the_requested_rate() {
    gst::init().expect("GStreamer");
    if gst::ElementFactory::find("interlace").is_none() {
        println!("SKIPPED: the element interlace is not installed here");
        return;
    }
    for (name, tail, fps, expected) in [
        ("fields", FIELDS, 30, 25.0),
        ("fields, lower rate requested", FIELDS, 10, 10.0),
        ("fields, same rate requested", FIELDS, 25, 25.0),
        ("fields, higher rate requested", FIELDS, 60, 25.0),
        ("woven", WOVEN, 30, 25.0),
        ("interleaved, each field a frame", WOVEN, 60, 50.0),
        ("mixed", MIXED, 30, 25.0),
        ("mixed, lower rate requested", MIXED, 10, 10.0),
    ] {
        let front = camera(tail, fps);
        let next = || front.frames.recv_timeout(Duration::from_secs(60)).expect(name);
        let frames: Vec<_> = (0..41).map(|_| next()).skip(10).collect();
        let mode = frames[0].0.structure(0).and_then(|caps| caps.get::<String>("interlace-mode").ok());
        assert_eq!(mode.as_deref().unwrap_or("progressive"), "progressive", "{name}");
        assert!(frames.windows(2).all(|pair| pair[0].1 < pair[1].1), "{name}: times must rise");
        let rate = 30.0 / (frames[30].1 - frames[0].1).as_secs_f64();
        println!("{name}: {rate:.1} fps");
        assert!((rate / expected - 1.0).abs() < 0.15, "{name}: {rate:.1} fps");
    }
}
