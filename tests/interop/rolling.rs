//! A camera that sends a lot of audio when a line on its standard input asks for it: `speak 500` makes 500 packets. For
//! the test in which all sequence numbers are used up.
//!
//! PORT is the port to listen on; LISTEN the address, loopback by default.

use std::io::BufRead;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use symple::camera::{Camera, Config, Serve, Signalling};
use symple::media::Codec;
use symple::media::frame::sps::is_idr;
use symple::media::source::{Feed, Request, Source};

/// Two seconds of H.264 in Annex B, 30 frames a second; each access unit begins with a delimiter (NAL unit 9).
const CLIP: &[u8] = include_bytes!("../../examples/pushed.h264");
const DELIMITER: &[u8] = &[0, 0, 0, 1, 9];
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 30);
/// 20 ms of silence (RFC 6716, 3.1: CELT, full band, mono, one frame).
const SILENCE: &[u8] = &[0xf8, 0xff, 0xfe];
const AUDIO_FRAME: Duration = Duration::from_millis(20);
/// Between packets that a line asked for.
const BRISK: Duration = Duration::from_micros(200);

fn main() {
    let var = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let port = var("PORT").expect("PORT is set").parse().expect("PORT is a number");
    let ip = var("LISTEN").map_or(Ipv4Addr::LOCALHOST.into(), |ip| ip.parse().expect("LISTEN is an address"));
    let (source, [video, sound]) = Source::push_streams([Codec::H264, Codec::Opus]);
    let camera = Camera::new(Config {
        signalling: Signalling::Serve(Serve { listen: vec![SocketAddr::new(ip, port)], ..Serve::default() }),
        // A packet for each frame.
        audio_packet: Duration::ZERO,
        ..Config::new(source)
    });
    let camera = camera.expect("the address is free");
    let asked = Arc::new(AtomicU32::new(0));
    let (began, count) = (Instant::now(), asked.clone());
    thread::spawn(move || show(&video, began));
    thread::spawn(move || speak(&sound, &count, began));
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let more = line.strip_prefix("speak ").and_then(|n| n.parse().ok());
            asked.fetch_add(more.expect("the line is like `speak 500`"), Ordering::Relaxed);
        }
    });
    println!("open {}", camera.urls().first().expect("it serves"));
    smol::block_on(camera.run());
}

fn show(feed: &Feed, began: Instant) {
    let key_wanted = Arc::new(AtomicBool::new(false));
    let asked = key_wanted.clone();
    feed.on(move |request| {
        if matches!(request, Request::Start | Request::KeyFrame) {
            asked.store(true, Ordering::Relaxed);
        }
    });
    let starts = CLIP.windows(DELIMITER.len()).enumerate().filter(|(_, bytes)| *bytes == DELIMITER);
    let starts: Vec<usize> = starts.map(|(at, _)| at).collect();
    let mut next = 0;
    for number in 0.. {
        if key_wanted.swap(false, Ordering::Relaxed) || next == starts.len() {
            next = 0;
        }
        let end = starts.get(next + 1).copied().unwrap_or(CLIP.len());
        let unit = &CLIP[starts[next]..end];
        feed.push(unit, is_idr(unit), FRAME * number).expect("an access unit");
        next += 1;
        thread::sleep((FRAME * (number + 1)).saturating_sub(began.elapsed()));
    }
}

/// As many packets as were asked for, as fast as they go; else one each 20 ms.
fn speak(feed: &Feed, asked: &AtomicU32, began: Instant) {
    loop {
        let is_asked = |n: u32| n.checked_sub(1);
        let brisk = asked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_asked).is_ok();
        feed.push(SILENCE, true, began.elapsed()).expect("a packet");
        thread::sleep(if brisk { BRISK } else { AUDIO_FRAME });
    }
}
