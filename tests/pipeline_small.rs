//! The small rendition beside the main one, with real encoders.
#![cfg(feature = "gst")]

mod media;

use std::collections::BTreeMap;
use std::time::Duration;

use media::{BoardFile, H264, Watched, burned, open, settings};
use symple::media::adapt::ladder::Quality;
use symple::media::board::Board;
use symple::media::frame::sps::{Sps, is_idr};
use symple::media::source::gst::CaptureSettings;
use symple::media::source::gst::pattern::Burned;
use symple::media::source::{Command, SourceEvent};
use symple::media::{Codec, Frame, StreamId, VIDEO_H264};

const MAIN: StreamId = VIDEO_H264;

/// 10 fps, so that a busy machine keeps up and both renditions have the same rate; and no regular key frames.
fn slow() -> CaptureSettings {
    let key_interval = Duration::from_secs(600);
    CaptureSettings {
        fps: 10,
        key_interval,
        board: Board::Named { name: "generic".into() },
        ..settings("test")
    }
}

fn with_small(settings: CaptureSettings) -> (Watched, StreamId) {
    let watched = open(settings).expect("the test pattern works everywhere");
    let small = watched.small().expect("a small rendition").id;
    (watched, small)
}

/// What a stream's frames may not do while something happens to another one.
struct Undisturbed {
    stream: StreamId,
    last: Option<Frame>,
    /// Frames that are missing, by their times.
    lost: u32,
    seen: u32,
}

impl Undisturbed {
    fn new(stream: StreamId) -> Undisturbed {
        Undisturbed { stream, last: None, lost: 0, seen: 0 }
    }

    fn check(&mut self, event: &SourceEvent) {
        match event {
            SourceEvent::Frame(frame) if frame.stream == self.stream => {
                if let Some(last) = &self.last {
                    assert!(!frame.key, "it needed a key frame");
                    let steps = (frame.pts - last.pts).as_secs_f64() * 10.0;
                    self.lost += steps.round() as u32 - 1;
                }
                self.seen += 1;
                self.last = Some(frame.clone());
            }
            SourceEvent::Failed(error) | SourceEvent::Stalled(error) => panic!("the source failed: {error}"),
            SourceEvent::Ended | SourceEvent::GaveUp => panic!("the source ended"),
            _ => {}
        }
    }
}

#[test]
fn it_is_announced_where_settings_and_board_allow_it() {
    let large = CaptureSettings { width: 1280, height: 720, ..settings("test") };
    let watched = open(CaptureSettings { board: slow().board, ..large.clone() }).expect("a pipeline");
    let (main, small) = (watched.info(Codec::H264), watched.small().expect("two renditions"));
    assert_eq!((main.id, main.rendition), (MAIN, 0));
    assert_eq!((small.codec, small.clock), (Codec::H264, main.clock));
    assert_ne!(small.id, main.id);
    let format = small.video().expect("it is video");
    assert_eq!((format.width, format.height, format.fps), (640, 360, 15));
    assert!(watched.encoder().small.is_some());

    let off = open(CaptureSettings { small: false, ..large.clone() }).expect("a pipeline");
    assert_eq!((off.small(), &off.encoder().small), (None, &None));
    let board = Board::Named { name: "raspberry-pi-zero-2w".into() };
    assert_eq!(open(CaptureSettings { board, ..large }).expect("a pipeline").small(), None);
}

#[test]
fn it_starts_and_stops_without_disturbing_the_main_rendition() {
    let (watched, small) = with_small(slow());
    watched.start(H264);
    let sps = Sps::find(&watched.frame_of(MAIN, "main", |_| true).data).expect("parameter sets");
    // A busy machine loses frames by itself.
    let mut alone = Undisturbed::new(MAIN);
    watched.until("frames of the main rendition", |event| {
        alone.check(event);
        (alone.seen == 20).then_some(())
    });
    let mut main = Undisturbed::new(MAIN);
    let rounds = 4;
    for _ in 0..rounds {
        watched.want(&[MAIN, small]);
        let first = watched.until("the small rendition", |event| {
            main.check(event);
            match event {
                SourceEvent::Frame(frame) if frame.stream == small => Some(frame.clone()),
                _ => None,
            }
        });
        assert!(first.key && first.codec == Codec::H264 && is_idr(&first.data));
        let own = Sps::find(&first.data).expect("parameter sets before its key frame");
        assert_eq!((own.width, own.height), (160, 90));
        assert!(own.is_baseline() && own.profile_level_id[2] <= sps.profile_level_id[2], "{own:?} {sps:?}");
        assert_eq!(own.profile_level_id[..2], sps.profile_level_id[..2], "the same profile");
        let told = watched.small().and_then(|info| info.video()).expect("its format");
        assert_eq!((told.width, told.height, told.fps), (160, 90, 10));
        watched.want(&[MAIN]);
        let mut alone = 0;
        watched.until("the main rendition alone", |event| {
            main.check(event);
            if let SourceEvent::Frame(frame) = event {
                alone = if frame.stream == MAIN { alone + 1 } else { 0 };
            }
            (alone == 6).then_some(())
        });
    }
    println!("{} of {} frames lost", main.lost, main.seen + main.lost);
    if alone.lost > 0 {
        println!("SKIPPED: the machine is too busy to tell whether frames are lost");
    } else {
        assert!(main.lost < rounds, "fewer than one in each round: {}", main.lost);
    }
    // It runs without the main one too.
    watched.want(&[small]);
    assert!(watched.frame_of(small, "the small rendition alone", |_| true).key);
}

#[test]
fn the_same_frame_has_the_same_time_in_both() {
    gstreamer::init().expect("GStreamer");
    let large = CaptureSettings { width: 1280, height: 720, bitrate: 1_000_000, ..slow() };
    let (watched, small) = with_small(large);
    watched.want(&[MAIN, small]);
    let (mut mains, mut smalls) = (Vec::new(), Vec::new());
    watched.until("frames of both", |event| {
        if let SourceEvent::Frame(frame) = event {
            if frame.stream == MAIN { &mut mains } else { &mut smalls }.push(frame.clone());
        }
        (mains.len() >= 20 && smalls.len() >= 20).then_some(())
    });
    let read = |frames: &[Frame], width, height| -> BTreeMap<Duration, Burned> {
        frames
            .iter()
            .map(|frame| frame.pts)
            .zip(burned(frames, "h264parse ! avdec_h264", width, height))
            .collect()
    };
    let (large, small) = (read(&mains, 1280, 720), read(&smalls, 640, 360));
    let both: Vec<_> = small.iter().filter_map(|(pts, own)| Some((*own, *large.get(pts)?))).collect();
    println!("{} main, {} small, {} in both", large.len(), small.len(), both.len());
    assert!(both.len() >= 10, "few are in both: {:?} {:?}", large.keys(), small.keys());
    for (own, main) in both {
        assert_eq!(own, main, "it shows the same frame");
    }
}

#[test]
fn each_is_steered_alone() {
    let (watched, small) = with_small(slow());
    watched.start(H264);
    watched.frame_of(MAIN, "main", |_| true);
    watched.want(&[MAIN, small]);
    let mut main = Undisturbed::new(MAIN);
    let mut next = |what: &str, wanted: &dyn Fn(&Frame) -> bool| {
        watched.until(what, |event| {
            main.check(event);
            match event {
                SourceEvent::Frame(frame) if frame.stream == small && wanted(frame) => Some(frame.clone()),
                _ => None,
            }
        })
    };
    next("the small rendition", &|frame| frame.key);
    next("other frames", &|frame| !frame.key);
    watched.command(Command::KeyFrame(small));
    let key = next("a key frame of its own", &|frame| frame.key);
    assert!(Sps::find(&key.data).is_some(), "with parameter sets");
    // Its bitrate.
    let mut rate = |bps| {
        watched.command(Command::Bitrate { stream: small, bps });
        (0..15).for_each(|_| _ = next("frames", &|_| true));
        let frames: Vec<Frame> = (0..21).map(|_| next("frames", &|_| true)).collect();
        assert!(frames.iter().all(|frame| !frame.key), "without a restart");
        let bytes: usize = frames[..20].iter().map(|frame| frame.data.len()).sum();
        bytes as f64 * 8.0 / (frames[20].pts - frames[0].pts).as_secs_f64()
    };
    let (low, high) = (rate(30_000), rate(600_000));
    println!("{low:.0} and {high:.0} bit/s");
    assert!(high > 1.7 * low, "{high} bit/s after {low}");
    // Its quality: of its own size.
    watched.command(Command::Quality { stream: small, quality: Quality { percent: 50, fps: 5 } });
    next("a smaller one", &|frame| {
        Sps::find(&frame.data).is_some_and(|sps| (sps.width, sps.height) == (80, 44))
    });
    // And the main one's is not its own.
    let mut own = Undisturbed::new(small);
    watched.command(Command::Quality { stream: MAIN, quality: Quality { percent: 50, fps: 5 } });
    watched.until("a reduced main rendition", |event| {
        own.check(event);
        match event {
            SourceEvent::Frame(frame) if frame.stream == MAIN => {
                Sps::find(&frame.data).filter(|sps| (sps.width, sps.height) == (160, 90))
            }
            _ => None,
        }
    });
}

#[test]
#[ignore = "takes a minute, and a machine that keeps up"]
fn it_costs_a_fraction_of_the_main_rendition() {
    let large = CaptureSettings { width: 1280, height: 720, bitrate: 1_000_000, ..settings("test") };
    let (watched, small) = with_small(CaptureSettings { board: slow().board, ..large });
    let time = Duration::from_secs(30);
    // The pattern itself counts in both.
    let cost = |streams: &[StreamId]| {
        watched.want(streams);
        streams.iter().for_each(|stream| _ = watched.frame_of(*stream, "a frame", |_| true));
        let before = cpu();
        let first = watched.frame_of(MAIN, "a frame", |_| true).pts;
        let mut frames = [0; 2];
        watched.until("half a minute", |event| match event {
            SourceEvent::Frame(frame) => {
                frames[usize::from(frame.stream == small)] += 1;
                (frame.pts - first >= time).then_some(())
            }
            _ => None,
        });
        (cpu() - before, frames)
    };
    let (alone, both) = (cost(&[MAIN]), cost(&[MAIN, small]));
    println!("CPU time in 30 s: {:.2} s for {:?} frames, {:.2} s for {:?}", alone.0, alone.1, both.0, both.1);
    assert!(both.0 - alone.0 < alone.0 / 2.0, "{both:?} after {alone:?}");
}

/// CPU time of this process, in seconds.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // User and system time, in hundredths of a second (proc_pid_stat(5)); the name before may contain spaces.
    let after = stat.rsplit_once(')').expect("a name in parentheses").1.split_whitespace();
    after.skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("a number")).sum::<f64>() / 100.0
}

/// A board whose small rendition has these encoders: `x264enc`, changed by `lines`, then others.
fn board(name: &str, lines: &str, others: &[&str]) -> BoardFile {
    let others: String = others.iter().map(|name| format!("[[small]]\nname = '{name}'\n")).collect();
    let text = format!(
        "name = '{name}'\nmeasured = 'not measured'\ntwo_encodes = false\n[match]\n[[encoder]]\nname = 'openh264enc'\n\
         [[small]]\nname = 'x264enc'\n{others}\
         [element.x264enc]\nhardware = false\npackage = 'none'\nsource = 'this test'\n{lines}\n\
         bitrate = {{ property = 'bitrate', unit = 'kbit/s' }}\nkey_interval = [{{ property = 'key-int-max', unit = 'frames' }}]\n\
         properties = {{ tune = 'zerolatency', speed-preset = 'superfast' }}\ndocumented = ['bitrate', 'key-int-max', 'tune', 'speed-preset']\n"
    );
    BoardFile::new(&text)
}

const BASELINE: &str = "caps = 'video/x-h264,profile=constrained-baseline'";

#[test]
fn an_encoder_that_fails_is_replaced_and_the_main_rendition_continues() {
    let after = |frames: u32| format!("{BASELINE}\nbefore = 'identity error-after={frames}'");
    for (name, lines, troubles) in [
        ("at once", after(1), 1),
        ("again and again", after(6), 3),
        ("without a word", format!("{BASELINE}\nbefore = 'video/x-raw,format=Y444,width=8 ! identity'"), 1),
        ("before it starts", format!("{BASELINE}\nbefore = 'nosuchelement'"), 1),
        ("with another profile", "caps = 'video/x-h264,profile=high'\nbefore = 'identity'".into(), 1),
        ("silently", format!("{BASELINE}\nbefore = 'identity drop-probability=1'"), 1),
        (
            "with a higher level",
            format!("{}\nbefore = 'identity'", BASELINE.replace("baseline'", "baseline,level=(string)4'")),
            1,
        ),
    ] {
        let profile = board(name, &lines, &["openh264enc"]);
        let (watched, small) = with_small(CaptureSettings { board: profile.board(), ..slow() });
        watched.start(H264);
        watched.frame_of(MAIN, "main", |_| true);
        watched.want(&[MAIN, small]);
        let mut main = Undisturbed::new(MAIN);
        let mut told = Vec::new();
        let mut after = 0;
        watched.until(name, |event| {
            main.check(event);
            match event {
                SourceEvent::Trouble(error) => {
                    assert_eq!(error.code(), "no-encoder", "{error}");
                    told.push(error.to_string());
                }
                SourceEvent::Frame(frame) if frame.stream == small && told.len() == troubles => {
                    after += 1;
                    assert!(Sps::find(&frame.data).is_none_or(|sps| sps.is_baseline()));
                }
                _ => {}
            }
            (after == 20).then_some(())
        });
        println!("{name}: {told:?}, {} of {} main frames lost", main.lost, main.seen + main.lost);
        assert_eq!(told.len(), troubles, "{name}: {told:?}");
        assert!(told.iter().all(|words| words.starts_with("x264enc failed")), "{told:?}");
        assert!(told.last().is_some_and(|words| words.ends_with("openh264enc")), "{told:?}");
        // Some are lost on a busy machine; that they continue is what counts.
        watched.frame_of(MAIN, name, |frame| !frame.key);
    }
}

#[test]
fn the_main_rendition_is_steered_while_the_small_ones_encoder_hangs() {
    // After 5 s without a frame it has failed, and 2 s later it is given up, which it could be removed 8 s after.
    let hangs = format!("{BASELINE}\nbefore = 'identity sleep-time=15000000'");
    let profile = board("hangs", &hangs, &["openh264enc"]);
    let (watched, small) = with_small(CaptureSettings { board: profile.board(), ..slow() });
    watched.start(H264);
    watched.frame_of(MAIN, "main", |_| true);
    watched.want(&[MAIN, small]);
    let mut main = Undisturbed::new(MAIN);
    watched.until("the failure", |event| {
        main.check(event);
        matches!(event, SourceEvent::Trouble(_)).then_some(())
    });
    watched.command(Command::KeyFrame(MAIN));
    let next = |what| {
        watched.until(what, |event| match event {
            SourceEvent::Frame(frame) => frame.key.then_some(frame.stream),
            SourceEvent::Failed(error) | SourceEvent::Stalled(error) => panic!("{what}: {error}"),
            _ => None,
        })
    };
    assert_eq!(next("a key frame while it hangs"), MAIN);
    assert_eq!(next("another encoder"), small);
}

#[test]
fn without_an_encoder_it_is_withdrawn_and_the_main_rendition_continues() {
    let profile = board("none", &format!("{BASELINE}\nbefore = 'identity error-after=1'"), &[]);
    let (watched, small) = with_small(CaptureSettings { board: profile.board(), ..slow() });
    watched.start(H264);
    watched.frame_of(MAIN, "main", |_| true);
    watched.want(&[MAIN, small]);
    let mut main = Undisturbed::new(MAIN);
    watched.until("its withdrawal", |event| {
        main.check(event);
        match event {
            SourceEvent::Streams(streams) => streams.iter().all(|info| info.rendition == 0).then_some(()),
            SourceEvent::Frame(frame) => {
                assert_eq!(frame.stream, MAIN);
                None
            }
            _ => None,
        }
    });
    assert_eq!(watched.small(), None);
    // To want it has no effect from now on, neither beside the main one nor after a restart.
    let mut more = 0;
    watched.until("main frames", |event| {
        main.check(event);
        more += u32::from(matches!(event, SourceEvent::Frame(_)));
        (more == 20).then_some(())
    });
    watched.stop();
    watched.event("the stop", |event| matches!(event, SourceEvent::Stopped));
    watched.want(&[MAIN, small]);
    assert!(watched.frame_of(MAIN, "main again", |_| true).key);
    assert!(!watched.rest().iter().any(|event| matches!(event, SourceEvent::Trouble(_))));
    assert_eq!(watched.small(), None);
}
