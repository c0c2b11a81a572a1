//! Only GStreamer: encodes a few frames with a camera's encoder, receives them, and idles, like a camera that has
//! chosen an encoder. Its memory is not ours.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSink;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    gst::init()?;
    let launch = "videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=1280,height=720,framerate=30/1 ! \
                  videoconvert ! x264enc tune=zerolatency speed-preset=superfast ! h264parse ! appsink name=out sync=false";
    let pipeline = gst::parse::launch(launch)?.downcast::<gst::Pipeline>().map_err(|_| "no pipeline")?;
    let out = pipeline.by_name("out").and_downcast::<AppSink>().ok_or("no output")?;
    pipeline.set_state(gst::State::Playing)?;
    let pictures = std::iter::from_fn(|| out.pull_sample().ok()).count();
    pipeline.set_state(gst::State::Null)?;
    drop((out, pipeline));
    assert_eq!(pictures, 5, "all that were made");
    println!("at rest");
    loop {
        std::thread::park();
    }
}
