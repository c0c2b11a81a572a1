//! Changing a stateful encoder on its own file, with `vicodec`, the kernel's virtual one, if it is loaded. Its output
//! is not H.264, but its file and controls work like those of any other.

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use super::*;
use crate::media::board::control_id;

struct Codec {
    pipeline: gst::Pipeline,
    encoder: gst::Element,
    /// Whether each frame is a key frame.
    keys: Receiver<bool>,
}

/// Encodes with a key frame every 16 frames, the maximum that it accepts; prints SKIPPED if `None`.
fn codec(test: &str) -> Option<Codec> {
    gst::init().expect("GStreamer");
    if gst::ElementFactory::find("v4l2fwhtenc").is_none() {
        println!("SKIPPED {test}: the kernel's vicodec is not loaded here");
        return None;
    }
    let launch = "videotestsrc is-live=true pattern=ball ! \
        video/x-raw,format=I420,width=640,height=360,framerate=30/1 ! \
        v4l2fwhtenc name=enc extra-controls=controls,video_gop_size=16 ! appsink name=out sync=false";
    let pipeline = gst::parse::launch(launch).expect("it is installed").downcast::<gst::Pipeline>();
    let pipeline = pipeline.expect("a pipeline");
    let encoder = pipeline.by_name("enc").expect("named above");
    let (tell, keys) = mpsc::channel();
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().expect("named above");
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let picture = sample.buffer().and_then(|buffer| buffer.map_readable().ok());
        _ = tell.send(picture.is_some_and(|picture| is_key(&picture)));
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
    pipeline.set_state(gst::State::Playing).expect("it plays");
    Some(Codec { pipeline, encoder, keys })
}

/// A FWHT header has its flags after two magic words, version, width and height (`codec-fwht.h`).
fn is_key(picture: &[u8]) -> bool {
    let flags = picture.get(20..24).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes);
    flags >> 10 & 1 == 1
}

impl Codec {
    /// How many of the next frames are key frames.
    fn keys(&self, pictures: usize) -> usize {
        let next = || self.keys.recv_timeout(Duration::from_secs(20)).expect("frames continue");
        (0..pictures).filter(|_| next()).count()
    }
}

impl Drop for Codec {
    fn drop(&mut self) {
        _ = self.pipeline.set_state(gst::State::Null);
    }
}

#[test]
fn a_control_is_set_while_frames_flow_on_the_elements_own_file() {
    let Some(codec) = codec("controls of a running encoder") else { return };
    assert_eq!(codec.keys(48), 3, "as it was started");
    assert_eq!(set_control(&codec.encoder, "video_gop_size", 5), Ok(5));
    codec.keys(25);
    assert_eq!(codec.keys(50), 10, "as it was set");
    // Each open file of the device has its own controls, so setting them on another file has no effect.
    let path = codec.encoder.property::<String>("device");
    let id = control_id("video_gop_size").expect("it is known");
    let other = crate::media::source::v4l2::encoder::of_another_opening(&path, id);
    assert!(other != 5 && other != 16, "{other}");
}

#[test]
fn a_control_that_the_driver_rejects_is_an_error() {
    let Some(codec) = codec("what a driver lacks") else { return };
    codec.keys(1);
    let words = set_control(&codec.encoder, "force_key_frame", 1).expect_err("vicodec has none");
    assert!(words.contains("force_key_frame"), "{words}");
    let clamped = set_control(&codec.encoder, "video_gop_size", 1_000).expect("the nearest is taken");
    assert!((1..1_000).contains(&clamped), "{clamped}");
    codec.pipeline.set_state(gst::State::Null).expect("it stops");
    let words = set_control(&codec.encoder, "video_gop_size", 5).expect_err("it is closed");
    assert!(words.contains("no device open"), "{words}");
}
