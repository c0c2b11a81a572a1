//! A camera with the application's own encoder, with its page, without GStreamer and V4L2: `pushed CLIP ADDRESS TOKEN`,
//! where CLIP is H.264 in Annex B with a delimiter before each access unit.

use std::time::Duration;

use symple::camera::{Camera, Config, Serve, Signalling};
use symple::media::Codec;
use symple::media::frame::sps::is_idr;
use symple::media::source::{Feed, Source};
use symple::proto::Token;

const FRAME: Duration = Duration::from_millis(33);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [clip, address, token] = &args[..] else {
        return Err("usage: pushed CLIP ADDRESS TOKEN".into());
    };
    let clip = std::fs::read(clip)?;
    let (source, feed) = Source::push(Codec::H264);
    let mut config = Config::new(source);
    config.signalling = Signalling::Serve(Serve {
        listen: vec![address.parse()?],
        token: Some(Token::new(token.clone())),
        ..Serve::default()
    });
    let camera = Camera::new(config)?;
    println!("open {}", camera.urls().join(" or "));
    std::thread::spawn(move || give(&feed, &clip));
    symple::net::block_on(camera.run());
    Ok(())
}

/// Pushes the clip in a loop.
fn give(feed: &Feed, clip: &[u8]) {
    let delimiter = [0, 0, 0, 1, 9];
    let starts = clip.windows(delimiter.len()).enumerate().filter(|(_, bytes)| *bytes == delimiter);
    let starts: Vec<usize> = starts.map(|(at, _)| at).chain([clip.len()]).collect();
    for (number, unit) in (0..).zip(starts.windows(2).cycle()) {
        let unit = &clip[unit[0]..unit[1]];
        if let Err(e) = feed.push(unit, is_idr(unit), FRAME * number) {
            eprintln!("a frame was not accepted: {e}");
        }
        std::thread::sleep(FRAME);
    }
}
