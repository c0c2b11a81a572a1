//! GStreamer alone: encodes a few pictures with a camera's encoder and rests, as a camera does that has chosen one.
//! What it holds is none of ours.

use gstreamer as gst;
use gstreamer::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    gst::init()?;
    let launch = "videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=1280,height=720,framerate=30/1 ! \
                  videoconvert ! x264enc tune=zerolatency speed-preset=superfast ! h264parse ! fakesink";
    let pipeline = gst::parse::launch(launch)?;
    pipeline.set_state(gst::State::Playing)?;
    let bus = pipeline.bus().ok_or("a pipeline without a bus")?;
    bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &[gst::MessageType::Eos]).ok_or("no end")?;
    pipeline.set_state(gst::State::Null)?;
    drop((bus, pipeline));
    println!("at rest");
    loop {
        std::thread::park();
    }
}
