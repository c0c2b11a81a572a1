//! `symple camera` with sources of every kind: each is watched over real sockets, and the program survives.
//!
//! It runs with `G_DEBUG=fatal-criticals`: a critical message of GStreamer ends it, and fails the test.

use std::time::Duration;

use futures_lite::FutureExt;
use futures_lite::future::zip;
use gstreamer as gst;
use gstreamer::prelude::*;
use rustix::process::Signal;
use symple::media::frame::sps::{Sps, is_idr};

use crate::world::{Folder, Program};

#[path = "../whole_call/side.rs"]
mod side;
#[path = "../whole_call/viewer.rs"]
mod viewer;

use viewer::Enough;

/// Far longer than it takes; a timeout, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);

/// The file that a pipeline writes; its last element is added here.
fn made(folder: &Folder, name: &str, launch: &str) -> String {
    gst::init().expect("GStreamer");
    let path = folder.path(name);
    let pipeline = gst::parse::launch(&format!("{launch} ! filesink name=file")).expect(launch);
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
    pipeline.by_name("file").expect("named above").set_property("location", &path);
    pipeline.set_state(gst::State::Playing).expect(launch);
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = pipeline.bus().expect("a bus").timed_pop_filtered(None, &ends).expect("an end");
    assert_eq!(end.type_(), gst::MessageType::Eos, "{launch}: {end:?}");
    pipeline.set_state(gst::State::Null).expect("it stops");
    path
}

/// Watches it until enough has arrived; returns the frame size.
fn watched(name: &str, source: &str, enough: Enough) -> (u32, u32) {
    let audio = if enough.sounds > 0 { "--audio" } else { "--no-audio" };
    let args = ["camera", "--port", "0", "--size", "320x240", "--source", source, audio];
    let camera = Program::start(&args, &[("G_DEBUG", "fatal-criticals")]);
    let line = camera.says("open http://");
    let url = line.replace("open http", "ws");
    let side = side::Side::new(&url, "viewer");
    let client = side.client.clone();
    let call = async {
        let watched = viewer::watch(side, true, enough).await;
        client.close();
        watched
    };
    let late = async {
        smol::Timer::after(PATIENCE).await;
        panic!(
            "{name}: fewer than {} frames and {} audio packets within {PATIENCE:?}",
            enough.pictures, enough.sounds
        );
    };
    let watched = smol::block_on(async { zip(call, client.run()).await.0 }.or(late));
    assert!(watched.pictures.len() >= enough.pictures, "{name}: {}", watched.reason);
    assert!(is_idr(&watched.pictures[0]), "{name}: the first frame can be decoded");
    camera.signal(Signal::TERM);
    assert_eq!(camera.end().code(), Some(0), "{name}: it runs until it is stopped");
    let sps = Sps::find(&watched.pictures[0]).expect("parameter sets stand before a key frame");
    println!("{name}: {} x {}", sps.width, sps.height);
    (sps.width, sps.height)
}

const SOME: Enough = Enough { pictures: 8, sounds: 0 };
const FEW: Enough = Enough { pictures: 3, sounds: 0 };

fn raw(caps: &str, frames: u32) -> String {
    format!("videotestsrc num-buffers={frames} pattern=ball ! video/x-raw,{caps}")
}

const X264: &str = "x264enc tune=zerolatency speed-preset=ultrafast";

#[test]
fn a_source_without_a_frame_rate_plays() {
    let folder = Folder::new();
    let novui = format!(
        "{} ! openh264enc gop-size=15 ! video/x-h264,stream-format=byte-stream",
        raw("width=640,height=360,framerate=15/1,format=I420", 60)
    );
    let recorder = format!(
        "{} ! capssetter caps=\"video/x-raw,framerate=(fraction)0/1\" ! vp8enc deadline=1 ! \
         webmmux streamable=true",
        raw("width=640,height=360,framerate=30/1,format=I420", 60)
    );
    for (name, launch, size) in [
        ("novui.h264", novui, (320, 180)),
        ("recorder.webm", recorder, (320, 180)),
        (
            "uneven.mkv",
            format!(
                "{} ! identity drop-probability=0.4 ! capssetter caps=\"video/x-raw,framerate=(fraction)0/1\" ! \
                 avenc_ffv1 ! matroskamux",
                raw("width=320,height=240,framerate=30/1,format=I420", 90)
            ),
            (320, 240),
        ),
    ] {
        let path = made(&folder, name, &launch);
        assert_eq!(watched(name, &path, SOME), size, "{name}");
    }
}

#[test]
fn a_single_picture_is_shown_as_long_as_anybody_watches() {
    let folder = Folder::new();
    let still = |size: &str| raw(&format!("{size},framerate=30/1"), 1);
    for (name, launch, size) in [
        ("still.png", format!("{} ! videoconvert ! pngenc", still("width=320,height=200")), (320, 200)),
        ("still.jpg", format!("{} ! videoconvert ! jpegenc", still("width=640,height=480")), (320, 240)),
        ("one.mp4", format!("{} ! {X264} ! mp4mux", still("width=320,height=240,format=I420")), (320, 240)),
        ("huge.png", format!("{} ! videoconvert ! pngenc", still("width=5000,height=3000")), (320, 192)),
        ("alpha.png", format!("{} ! pngenc", still("width=64,height=64,format=RGBA")), (64, 64)),
        ("pixel.png", format!("{} ! pngenc", still("width=1,height=1,format=RGB")), (16, 16)),
    ] {
        let path = made(&folder, name, &launch);
        assert_eq!(watched(name, &path, SOME), size, "{name}");
    }
    let path = folder.path("animated.gif");
    std::fs::write(&path, animation()).expect("a file");
    assert_eq!(watched("animated.gif", &path, SOME), (64, 48));
}

#[test]
fn interlaced_and_rotated_frames_play_upright_and_complete() {
    let folder = Folder::new();
    let pal = raw("width=720,height=576,framerate=25/1,interlace-mode=interleaved,format=I420", 50);
    for (name, launch) in [
        ("interlaced.ts", format!("{pal} ! {X264} interlaced=true key-int-max=25 ! mpegtsmux")),
        ("raw-interlaced.mkv", format!("{pal} ! avenc_ffv1 ! matroskamux")),
    ] {
        let path = made(&folder, name, &launch);
        assert_eq!(watched(name, &path, SOME), (300, 240), "{name}");
    }
    let film = format!("{} ! {X264} ! qtmux", raw("width=640,height=360,framerate=30/1,format=I420", 60));
    let film = std::fs::read(made(&folder, "film.mov", &film)).expect("made above");
    for (name, turn, size) in [
        ("upright.mov", [1, 0, 0, 1], (320, 180)),
        ("right.mov", [0, 1, -1, 0], (136, 240)),
        ("left.mov", [0, -1, 1, 0], (136, 240)),
        ("over.mov", [-1, 0, 0, -1], (320, 180)),
    ] {
        let path = folder.path(name);
        std::fs::write(&path, turned(&film, turn)).expect("a file");
        assert_eq!(watched(name, &path, SOME), size, "{name}");
    }
}

/// A video from a phone in another orientation: the matrix of its track header (ISO/IEC 14496-12, 8.3.2) has these
/// values in its upper left corner, as whole numbers of 16.16.
fn turned(film: &[u8], [a, b, c, d]: [i32; 4]) -> Vec<u8> {
    let mut film = film.to_vec();
    let head = film.windows(4).position(|name| name == b"tkhd").expect("a track");
    for (place, number) in [(0, a), (1, b), (3, c), (4, d)] {
        let at = head + 44 + 4 * place;
        film[at..at + 4].copy_from_slice(&(number << 16).to_be_bytes());
    }
    film
}

#[test]
fn odd_sizes_rates_and_formats_play() {
    let folder = Folder::new();
    let ffv1 = |caps: &str, frames| format!("{} ! avenc_ffv1 ! matroskamux", raw(caps, frames));
    for (name, launch, enough, size) in [
        ("odd.mkv", ffv1("width=17,height=13,framerate=30/1", 60), SOME, Some((18, 16))),
        ("line.mkv", ffv1("width=2000,height=2,framerate=30/1", 60), SOME, None),
        ("slow.mkv", ffv1("width=320,height=240,framerate=1/1", 6), FEW, None),
        ("slower.mkv", ffv1("width=320,height=240,framerate=1/2", 3), Enough { pictures: 2, ..FEW }, None),
        ("fast.mkv", ffv1("width=64,height=64,framerate=1000/1", 3000), SOME, None),
        ("ten-bit.mkv", ffv1("width=320,height=240,framerate=30/1,format=I420_10LE", 60), SOME, None),
        ("4-4-4.mkv", ffv1("width=320,height=240,framerate=30/1,format=Y444", 60), SOME, None),
        ("alpha.mkv", ffv1("width=320,height=240,framerate=30/1,format=BGRA", 60), SOME, None),
        ("grey.mkv", ffv1("width=320,height=240,framerate=30/1,format=GRAY8", 60), SOME, None),
        (
            "wide-pixels.mkv",
            ffv1("width=160,height=240,framerate=30/1,pixel-aspect-ratio=2/1", 60),
            SOME,
            Some((320, 240)),
        ),
    ] {
        let path = made(&folder, name, &launch);
        let found = watched(name, &path, enough);
        assert!(size.is_none_or(|size| size == found), "{name}: {found:?}");
    }
    let part = |size: &str, name: &str| {
        let launch = format!(
            "{} ! {X264} key-int-max=10 ! video/x-h264,stream-format=byte-stream,profile=baseline",
            raw(&format!("{size},framerate=30/1,format=I420"), 20)
        );
        std::fs::read(made(&folder, name, &launch)).expect("made above")
    };
    let changing = [
        part("width=320,height=240", "a.h264"),
        part("width=240,height=320", "b.h264"),
        part("width=64,height=48", "c.h264"),
    ];
    let path = folder.path("changing.h264");
    std::fs::write(&path, changing.concat()).expect("a file");
    watched("changing.h264", &path, Enough { pictures: 50, sounds: 0 });
}

#[test]
fn any_audio_plays_and_never_stops_the_video() {
    let folder = Folder::new();
    let with = |audio: &str| {
        format!(
            "matroskamux name=mux {} ! {X264} ! mux. audiotestsrc num-buffers=200 ! {audio} ! mux. mux.",
            raw("width=320,height=240,framerate=30/1,format=I420", 90)
        )
    };
    for (name, audio) in [
        ("low.mkv", "audio/x-raw,rate=8000,channels=1"),
        ("high.mkv", "audio/x-raw,rate=192000,channels=2"),
        ("surround.mkv", "audio/x-raw,rate=48000,channels=6,channel-mask=(bitmask)0x3f"),
        ("unplaced.mkv", "audio/x-raw,rate=48000,channels=6,channel-mask=(bitmask)0x0"),
        ("float.mkv", "audio/x-raw,format=F64LE,rate=44100,channels=1"),
    ] {
        let path = made(&folder, name, &with(audio));
        watched(name, &path, Enough { pictures: 5, sounds: 5 });
    }
}

/// Three frames of one colour each, 200 ms long, in GIF's own compression with a clear code before it would grow.
fn animation() -> Vec<u8> {
    let (width, height) = (64u16, 48u16);
    let size = [width.to_le_bytes(), height.to_le_bytes()].concat();
    let mut gif = [b"GIF89a", &size[..], &[0xf6, 0, 0]].concat();
    gif.extend((0..128u8).flat_map(|n| [n * 2, 255 - n, n]));
    gif.extend(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00");
    for colour in [10, 60, 120] {
        gif.extend([0x21, 0xf9, 4, 0, 20, 0, 0, 0]);
        gif.extend([&[0x2c, 0, 0, 0, 0], &size[..], &[0, 7]].concat());
        let mut codes = Vec::new();
        for pixel in 0..usize::from(width) * usize::from(height) {
            if pixel % 100 == 0 {
                codes.push(128);
            }
            codes.push(colour);
        }
        codes.push(129);
        for block in codes.chunks(255) {
            gif.push(block.len() as u8);
            gif.extend(block);
        }
        gif.push(0);
    }
    gif.push(0x3b);
    gif
}
