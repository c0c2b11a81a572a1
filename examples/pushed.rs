//! A camera whose frames the program encodes itself; here they come from a clip, played in a loop.
//!
//! Neither GStreamer nor V4L2 is needed: `cargo run --example pushed --no-default-features --features camera,web`.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use symple::camera::{Camera, Config, Serve, Signalling};
use symple::media::Codec;
use symple::media::frame::sps::is_idr;
use symple::media::source::{Feed, Request, Source};

/// Two seconds of H.264 in Annex B, 30 frames a second; each access unit begins with a delimiter (NAL unit 9).
const CLIP: &[u8] = include_bytes!("pushed.h264");
const DELIMITER: &[u8] = &[0, 0, 0, 1, 9];
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 30);

fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4500".into());
    let camera = camera(listen.parse()?)?;
    println!("open {}", camera.urls().join(" or "));
    symple::net::block_on(camera.run());
    Ok(())
}

/// A camera with a page at `listen`, and the thread that encodes for it.
pub(crate) fn camera(listen: SocketAddr) -> Result<Camera, Box<dyn Error>> {
    let (source, feed) = Source::push(Codec::H264);
    let serve = Serve { listen: vec![listen], ..Serve::default() };
    let config = Config { signalling: Signalling::Serve(serve), ..Config::new(source) };
    let camera = Camera::new(config)?;
    std::thread::spawn(move || encode(&feed));
    Ok(camera)
}

/// In place of an encoder: delivers 30 frames per second, and a key frame on request.
fn encode(feed: &Feed) {
    let key_wanted = Arc::new(AtomicBool::new(false));
    let asked = key_wanted.clone();
    feed.on(move |request| match request {
        Request::Start | Request::KeyFrame => asked.store(true, Ordering::Relaxed),
        Request::Bitrate { bps } => println!("requested bitrate: {} kbit/s", bps / 1000),
        other => println!("{other:?}"),
    });
    let starts = CLIP.windows(DELIMITER.len()).enumerate().filter(|(_, bytes)| *bytes == DELIMITER);
    let starts: Vec<usize> = starts.map(|(at, _)| at).collect();
    let began = Instant::now();
    let mut next = 0;
    for number in 0.. {
        if key_wanted.swap(false, Ordering::Relaxed) || next == starts.len() {
            next = 0;
        }
        let end = starts.get(next + 1).copied().unwrap_or(CLIP.len());
        let unit = &CLIP[starts[next]..end];
        if let Err(e) = feed.push(unit, is_idr(unit), FRAME * number) {
            eprintln!("cannot push a frame: {e}");
        }
        next += 1;
        std::thread::sleep((FRAME * (number + 1)).saturating_sub(began.elapsed()));
    }
}
