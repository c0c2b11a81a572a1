//! A camera that also plays on the local display and speaker what its viewers get.
//!
//! Run `cargo run --example monitor --features camera-gst,web`. Arguments: where to listen, where to show video
//! (`window`, `/dev/video10`, or elements of GStreamer) and where to play audio (`default`, `none`, a name that
//! `symple devices` lists, or elements).

use std::error::Error;

use futures_lite::StreamExt;
use futures_lite::future::or;
use symple::camera::{Camera, Config, FrameEvent, Serve, Signalling};
use symple::media::Codec;
use symple::media::playback::{Playback, Settings};
use symple::media::source::gst::CaptureSettings;
use symple::net::block_on;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next().unwrap_or_else(|| "127.0.0.1:4500".into()).parse()?;
    let video = arguments.next().unwrap_or_else(|| "window".into()).parse()?;
    let audio = arguments.next().unwrap_or_else(|| "default".into()).parse()?;
    let playback = Playback::start(Settings { video, audio, ..Settings::default() })?;

    let serve = Serve { listen: vec![listen], ..Serve::default() };
    let config = Config { signalling: Signalling::Serve(serve), ..Config::new(CaptureSettings::default()) };
    let camera = Camera::new(config)?;
    println!("open {}", camera.urls().join(" or "));

    playback.on(|event| println!("{}: {event:?}", event.code()));
    // The reader begins at a key frame, and again after each loss, so none has to be requested.
    let mut frames = camera.frames_of(&[Codec::H264, Codec::Opus], 60);
    let shown = async {
        while let Some(event) = frames.next().await {
            if let FrameEvent::Frame { frame } = event {
                playback.push(&frame);
            }
        }
    };
    block_on(or(camera.run(), shown));
    println!("{:?}", playback.stats());
    Ok(())
}
