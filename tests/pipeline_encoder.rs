//! The main rendition's encoder fails or hangs: it is rebuilt, then the next one is used, while the source continues. What
//! frames take in it is told apart from what they took before.
#![cfg(feature = "gst")]

mod media;

use std::path::PathBuf;
use std::time::Duration;

use media::{H264, Watched, open, settings};
use symple::media::board::Board;
use symple::media::source::SourceEvent;
use symple::media::source::gst::CaptureSettings;
use symple::media::{Codec, VIDEO_H264};

/// A board with `x264enc`, changed by `before`, and then others.
struct Bench(PathBuf);

impl Bench {
    fn new(name: &str, before: &str, others: &[&str]) -> Bench {
        Bench::with(name, before, "tune = 'zerolatency'", others)
    }

    fn with(name: &str, before: &str, properties: &str, others: &[&str]) -> Bench {
        let others: String = others.iter().map(|name| format!("[[encoder]]\nname = '{name}'\n")).collect();
        let text = format!(
            "name = '{name}'\nmeasured = 'not measured'\ntwo_encodes = false\n[match]\n[[encoder]]\nname = 'x264enc'\n{others}\
             [element.x264enc]\nhardware = false\npackage = 'none'\nsource = 'this test'\nbefore = '{before}'\n\
             caps = 'video/x-h264,profile=constrained-baseline'\n\
             bitrate = {{ property = 'bitrate', unit = 'kbit/s' }}\nkey_interval = [{{ property = 'key-int-max', unit = 'frames' }}]\n\
             properties = {{ {properties}, speed-preset = 'superfast' }}\n\
             documented = ['bitrate', 'key-int-max', 'tune', 'speed-preset', 'rc-lookahead', 'mb-tree']\n"
        );
        let path = std::env::temp_dir().join(format!("symple-{name}-{}.toml", std::process::id()));
        std::fs::write(&path, text).expect("a file");
        Bench(path)
    }

    fn open(&self) -> Watched {
        let board = Board::File { path: self.0.clone() };
        let key_interval = Duration::from_secs(600);
        let settings = CaptureSettings { fps: 20, key_interval, board, ..settings("test") };
        let watched = open(settings).expect("it works at first");
        watched.start(H264);
        watched
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.0);
    }
}

/// What became of the main rendition: the troubles, each followed by a key frame.
fn troubles(watched: &Watched, count: usize) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    let mut begins = true;
    let mut after = 0;
    watched.until("the next encoder's frames", |event| {
        match event {
            SourceEvent::Trouble(error) => {
                assert_eq!(error.code(), "no-encoder", "{error}");
                told.push(error.to_string());
                begins = true;
            }
            SourceEvent::Frame(frame) if frame.stream == VIDEO_H264 => {
                assert!(frame.key || !begins, "frame {after} after {told:?} needs those before it");
                begins = false;
                after += u32::from(told.len() == count);
            }
            SourceEvent::Failed(error) | SourceEvent::Stalled(error) => panic!("{error}, after {told:?}"),
            _ => {}
        }
        (after == 20).then_some(())
    });
    told
}

#[test]
fn an_encoder_that_fails_is_rebuilt_and_then_replaced() {
    // More than the trial at the start takes.
    let bench = Bench::new("fails", "identity error-after=15", &["openh264enc"]);
    let told = troubles(&bench.open(), 3);
    println!("{told:?}");
    assert_eq!(told.len(), 3);
    assert!(told[0].starts_with("x264enc failed: "), "{told:?}");
    assert!(told[..2].iter().all(|words| words.ends_with("; restarting it")), "{told:?}");
    assert!(told[2].ends_with("; continuing with openh264enc"), "{told:?}");
}

#[test]
fn an_encoder_that_ends_by_itself_is_rebuilt_and_then_replaced() {
    let bench = Bench::new("ends", "identity eos-after=15", &["openh264enc"]);
    let told = troubles(&bench.open(), 3);
    assert!(told[2].ends_with("; continuing with openh264enc"), "{told:?}");
}

#[test]
fn an_encoder_that_hangs_is_rebuilt_and_then_replaced() {
    // It makes a frame or two and keeps the others until the end, which the trial has, and a camera has not.
    let keeps = "queue min-threshold-buffers=100000 max-size-buffers=0 max-size-bytes=0 max-size-time=0";
    let bench = Bench::new("hangs", keeps, &["openh264enc"]);
    let told = troubles(&bench.open(), 3);
    assert!(told[0].starts_with("x264enc failed: it made nothing of 60 frames; "), "{told:?}");
    assert!(told[2].ends_with("; continuing with openh264enc"), "{told:?}");
}

#[test]
fn without_another_encoder_the_source_fails_and_begins_anew_when_it_is_wanted() {
    let bench = Bench::new("alone", "identity error-after=15", &[]);
    let watched = bench.open();
    for _ in 0..2 {
        let mut told = Vec::new();
        watched.until("the end", |event| match event {
            SourceEvent::Trouble(error) => {
                told.push(error.to_string());
                None
            }
            SourceEvent::Failed(error) => {
                assert!(error.to_string().ends_with("; there is no other"), "{error}");
                Some(())
            }
            _ => None,
        });
        assert_eq!(told.len(), 2, "{told:?}");
        watched.event("the test pattern is not opened again by itself", |event| {
            matches!(event, SourceEvent::GaveUp)
        });
        watched.want(&[VIDEO_H264]);
        assert!(watched.key_frame(Codec::H264).key);
    }
}

/// What frames take until the encoder has them, and in it: the medians of 30.
fn medians(watched: &Watched) -> (Duration, Duration) {
    watched.frames(Codec::H264, 20); // those of the start wait for it
    let frames = watched.frames(Codec::H264, 30);
    let times = frames.iter().map(|frame| {
        let encoding = frame.encoding.expect("its encoder is ours");
        assert!(frame.captured <= encoding.began && encoding.began <= encoding.ended, "{frame:?}");
        (encoding.began - frame.captured, encoding.took())
    });
    let (mut before, mut inside): (Vec<_>, Vec<_>) = times.unzip();
    before.sort();
    inside.sort();
    (before[15], inside[15])
}

#[test]
fn what_a_frame_takes_before_its_encoder_and_in_it_are_told_apart() {
    let delay = Duration::from_millis(35);
    // 8 frames at 20 a second.
    let lookahead = 8 * Duration::from_millis(50);
    let plain = medians(&Bench::new("plain", "identity", &[]).open());
    let late = medians(&Bench::new("late", "identity sleep-time=35000", &[]).open());
    let properties = "tune = 'fastdecode', mb-tree = true, rc-lookahead = 8";
    let slow = medians(&Bench::with("slow", "identity", properties, &[]).open());
    println!(
        "before the encoder and in it: {plain:?}, with {delay:?} before it {late:?}, with lookahead {slow:?}"
    );
    assert!(late.0 >= delay && late.1 < lookahead, "{late:?}");
    assert!(slow.1 >= lookahead && slow.0 < lookahead, "{slow:?}");
    assert!(plain.1 < lookahead, "{plain:?}");
}
