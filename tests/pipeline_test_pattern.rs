//! The test pattern through real encoders.
#![cfg(feature = "gst")]

mod media;

use std::time::{Duration, Instant};

use media::{ALL, BoardFile, H264, Watched, burned, decoded, open, settings};
use symple::media::adapt::ladder::Quality;
use symple::media::frame::jpeg;
use symple::media::frame::queue::{Enqueued, FrameQueue};
use symple::media::frame::sps::{Sps, is_idr, nal_units};
use symple::media::source::gst::CaptureSettings;
use symple::media::source::{Command, SourceEvent};
use symple::media::{Codec, Frame};

fn pattern() -> Watched {
    open(settings("test")).expect("the test pattern works everywhere")
}

fn set_bitrate(watched: &Watched, codec: Codec, bps: u32) {
    watched.command(Command::Bitrate { stream: watched.id(codec), bps });
}

fn set_quality(watched: &Watched, percent: u32, fps: u32) {
    let quality = Quality { percent, fps };
    watched.command(Command::Quality { stream: watched.id(Codec::H264), quality });
}

/// The bitrate by the frames' own times, so that frames which a busy machine drops don't count.
fn rate(frames: &[Frame]) -> f64 {
    let [first, .., last] = frames else { panic!("a rate takes two frames") };
    let bytes: usize = frames[..frames.len() - 1].iter().map(|frame| frame.data.len()).sum();
    bytes as f64 * 8.0 / (last.pts - first.pts).as_secs_f64()
}

#[test]
fn the_first_frame_is_a_key_frame_of_constrained_baseline() {
    let watched = open(CaptureSettings { width: 1280, height: 720, ..settings("test") }).expect("a pipeline");
    let began = Instant::now();
    watched.start(H264);
    watched.event("the start", |event| matches!(event, SourceEvent::Started));
    let told = watched.until("the format", |event| match event {
        SourceEvent::Frame(_) => panic!("a frame before its format"),
        event => watched.announced(event, Codec::H264),
    });
    let frame = watched.frame(Codec::H264);
    println!("first frame after {:?} by {}", began.elapsed(), watched.encoder().name);
    assert!(frame.key && frame.codec == Codec::H264);
    let sps = Sps::find(&frame.data).expect("parameter sets before the key frame");
    assert_eq!((told.width, told.height, told.fps), (1280, 720, 30));
    assert_eq!(told.profile_level_id, Some(sps.profile_level_id));
    assert_eq!((sps.width, sps.height), (1280, 720));
    let [profile, flags, level] = sps.profile_level_id;
    assert_eq!((profile, flags & 0x40, level), (0x42, 0x40, 0x1f), "constrained baseline 3.1");
    // Annex B with a start code at the very beginning, and parameter sets before the frame.
    assert!(frame.data.starts_with(&[0, 0, 0, 1]) || frame.data.starts_with(&[0, 0, 1]));
    let types: Vec<u8> = nal_units(&frame.data).map(|nal| nal[0] & 0x1f).collect();
    let at = |kind| types.iter().position(|&other| other == kind);
    assert!(at(7) < at(8) && at(8) < at(5), "{types:?}");
}

#[test]
fn times_rise_at_the_frame_rate_and_share_one_zero() {
    let watched = pattern();
    watched.start(ALL);
    let mut video = vec![watched.key_frame(Codec::H264)];
    video.extend(watched.frames(Codec::H264, 30));
    let sound = watched.frames(Codec::Opus, 20);
    assert!(video.windows(2).all(|pair| pair[0].pts < pair[1].pts));
    assert!(video.iter().all(|frame| frame.captured <= Instant::now()));
    // Frames are dropped only if the machine is too slow, so the median interval is the frame's.
    let mut steps: Vec<Duration> = video.windows(2).map(|pair| pair[1].pts - pair[0].pts).collect();
    steps.sort();
    assert_eq!(steps[steps.len() / 2].as_millis(), 33);
    for pair in sound.windows(2) {
        assert_eq!((pair[1].pts - pair[0].pts).as_millis(), 20, "20 ms of audio per packet");
    }
    assert!(sound.iter().all(|frame| frame.key && frame.codec == Codec::Opus && frame.data.len() < 1000));
    // The difference of `captured` and `pts` is the same for both, except where it is clamped to the present.
    let zero = |frame: &Frame| frame.captured - frame.pts;
    let apart = zero(&video[30]).max(zero(&sound[19])) - zero(&video[30]).min(zero(&sound[19]));
    assert!(apart < Duration::from_millis(50), "{apart:?}");
}

#[test]
fn a_key_frame_follows_a_request() {
    let watched = pattern();
    watched.start(H264);
    for _ in 0..3 {
        let before = watched.frame_where(Codec::H264, "other pictures", |frame| !frame.key);
        watched.request_key_frame(Codec::H264);
        let key = watched.key_frame(Codec::H264);
        assert!(is_idr(&key.data) && Sps::find(&key.data).is_some());
        // The next regular key frame is 10 s away.
        assert!(key.pts - before.pts < Duration::from_secs(5));
    }
}

#[test]
fn the_bitrate_changes_while_it_runs() {
    for stream in [Codec::H264, Codec::Vp8] {
        let watched = pattern();
        watched.start(&[stream]);
        set_bitrate(&watched, stream, 100_000);
        watched.frames(stream, 30);
        let low = rate(&watched.frames(stream, 31));
        set_bitrate(&watched, stream, 3_000_000);
        let mut formats = 0;
        let mut high = Vec::new();
        watched.until("60 more frames", |event| {
            match event {
                SourceEvent::Frame(frame) => high.push(frame.clone()),
                SourceEvent::Started | SourceEvent::Streams(_) => formats += 1,
                _ => {}
            }
            (high.len() == 60).then_some(())
        });
        assert_eq!(formats, 0, "without a restart");
        assert!(high.iter().all(|frame| !frame.key), "and without a key frame");
        let high = rate(&high[29..]);
        println!("{stream:?}: {low:.0} and {high:.0} bit/s");
        assert!(high > 1.7 * low, "{stream:?}: {high} bit/s after {low}");
    }
}

#[test]
fn the_burned_in_counter_and_clock_survive_a_low_bitrate() {
    gstreamer::init().expect("GStreamer");
    for (stream, decoder) in [(Codec::H264, "h264parse ! avdec_h264"), (Codec::Vp8, "vp8dec")] {
        let large = CaptureSettings { width: 640, height: 360, ..settings("test") };
        let watched = open(large).expect("a pipeline");
        watched.start(&[stream]);
        set_bitrate(&watched, stream, 300_000);
        watched.key_frame(stream);
        watched.request_key_frame(stream);
        let mut frames = vec![watched.key_frame(stream)];
        frames.extend(watched.frames(stream, 60));
        let seen = burned(&frames, decoder, 640, 360);
        assert_eq!(seen.len(), frames.len());
        for (pair, burned) in frames.windows(2).zip(seen.windows(2)) {
            let counted = burned[1].frame.wrapping_sub(burned[0].frame);
            // Dropped frames, of which a busy machine has many, were also counted.
            let steps = (pair[1].pts - pair[0].pts).as_secs_f64() * 30.0;
            assert_eq!(f64::from(counted), steps.round(), "the counter matches the time");
            let passed = burned[1].millis.wrapping_sub(burned[0].millis);
            assert!(passed < 30_000, "the clock goes forward: {passed} ms");
        }
    }
}

#[test]
fn vp8_starts_and_stops_without_affecting_h264() {
    let watched = pattern();
    watched.start(H264);
    let mut last = watched.key_frame(Codec::H264);
    // Every H.264 frame meanwhile must follow the previous one.
    let mut check = |event: &SourceEvent| {
        if let SourceEvent::Frame(frame) = event
            && frame.codec == Codec::H264
        {
            assert!(frame.pts > last.pts && !frame.key, "H.264 was interrupted");
            last = frame.clone();
        }
    };
    for _ in 0..3 {
        watched.start(&[Codec::H264, Codec::Vp8]);
        let first = watched.until("VP8", |event| {
            check(event);
            match event {
                SourceEvent::Frame(frame) if frame.codec == Codec::Vp8 => Some(frame.clone()),
                _ => None,
            }
        });
        assert!(first.key && first.codec == Codec::Vp8);
        // A key frame contains the size (RFC 6386, 9.1).
        assert_eq!(first.data[3..10], [0x9d, 0x01, 0x2a, 64, 1, 180, 0]);
        watched.start(H264);
        // After ten consecutive H.264 frames without VP8, it has stopped.
        let mut alone = 0;
        watched.until("H.264 alone", |event| {
            check(event);
            if let SourceEvent::Frame(frame) = event {
                alone = if frame.codec == Codec::H264 { alone + 1 } else { 0 };
            }
            (alone == 10).then_some(())
        });
    }
    watched.start(&[Codec::Vp8]);
    let first = watched.frame(Codec::Vp8);
    assert!(first.key);
    watched.frame_where(Codec::Vp8, "other pictures", |frame| !frame.key);
    watched.request_key_frame(Codec::Vp8);
    watched.key_frame(Codec::Vp8);
}

#[test]
fn stopping_stops_and_a_restart_begins_with_a_key_frame() {
    let watched = pattern();
    let mut last = Duration::ZERO;
    for _ in 0..3 {
        watched.start(ALL);
        watched.start(ALL);
        watched.event("the start", |event| matches!(event, SourceEvent::Started));
        let first = watched.frame(Codec::H264);
        assert!(first.key && first.pts > last, "times rise across a restart");
        last = watched.frame(Codec::H264).pts;
        watched.frame(Codec::Opus);
        watched.stop();
        watched.event("the stop", |event| matches!(event, SourceEvent::Stopped));
        assert!(watched.rest().is_empty(), "nothing follows Stopped");
    }
    watched.stop();
}

#[test]
fn the_encoder_is_chosen_by_trying_and_each_rejection_has_its_reason() {
    let names = ["nosuchenc", "openh264enc", "x264enc"].map(String::from);
    let watched = open(CaptureSettings { encoders: names.to_vec(), ..settings("test") }).expect("a pipeline");
    let encoder = watched.encoder();
    assert_eq!((encoder.name.as_str(), encoder.hardware), ("openh264enc", false), "{:?}", encoder.tried);
    assert_eq!(encoder.tried.len(), 1);
    assert!(encoder.tried[0].reason.contains("x264enc"), "{}", encoder.tried[0]);
    watched.start(H264);
    let key = watched.key_frame(Codec::H264);
    assert!(Sps::find(&key.data).is_some_and(|sps| sps.is_baseline()));
    watched.frame_where(Codec::H264, "other pictures", |frame| !frame.key);
    watched.request_key_frame(Codec::H264);
    watched.key_frame(Codec::H264);

    let none = CaptureSettings { encoders: vec!["nosuchenc".into()], ..settings("test") };
    let error = open(none).err().expect("no encoder of that name");
    assert_eq!(error.code(), "no-encoder");
    println!("{error}");
}

#[test]
fn invalid_settings_are_refused_with_a_reason() {
    let good = settings("test");
    let table = [
        CaptureSettings { width: 321, ..good.clone() },
        CaptureSettings { height: 0, ..good.clone() },
        CaptureSettings { width: 100_000, ..good.clone() },
        CaptureSettings { fps: 0, ..good.clone() },
        CaptureSettings { bitrate: 1, ..good.clone() },
    ];
    for settings in table {
        assert_eq!(open(settings).err().map(|error| error.code()), Some("bad-settings"));
    }
}

#[test]
fn a_full_queue_drops_frames_until_the_next_key_frame() {
    let queue = FrameQueue::new(5);
    let watched = pattern();
    watched.start(H264);
    let mut pushed = 0;
    while queue.dropped() < 8 {
        queue.push(watched.frame(Codec::H264));
        pushed += 1;
    }
    assert!(pushed >= 8 && queue.pop().is_none(), "no key frame, nothing to decode");
    watched.request_key_frame(Codec::H264);
    while queue.push(watched.frame(Codec::H264)) == Enqueued::NeedsKeyFrame {}
    assert!(queue.pop().is_some_and(|frame| frame.key));
}

#[test]
fn one_streams_rate_and_size_change_without_affecting_others() {
    let watched = pattern();
    watched.start(ALL);
    watched.key_frame(Codec::H264);
    watched.key_frame(Codec::Vp8);
    let mut last = watched.frame(Codec::H264);
    for (percent, fps, width, height) in [(50, 10, 160, 90), (100, 15, 320, 180), (100, 30, 320, 180)] {
        set_quality(&watched, percent, fps);
        // VP8 continues unchanged meanwhile.
        let told = watched.until("the new format", |event| match event {
            // A recreated encoder announces that, even if its format is the same.
            SourceEvent::Streams(_) => {
                Some(watched.announced(event, Codec::H264).expect("VP8 was interrupted"))
            }
            _ => None,
        });
        assert_eq!((told.width, told.height), (width, height), "{percent} %");
        let first = watched.frame(Codec::H264);
        assert!(first.key && first.pts > last.pts, "{percent} %");
        let sps = Sps::find(&first.data).expect("parameter sets before the key frame");
        assert_eq!((sps.width, sps.height), (width, height));
        let frames: Vec<Frame> = std::iter::once(first).chain(watched.frames(Codec::H264, 20)).collect();
        assert!(frames[1..].iter().all(|frame| !frame.key), "one key frame is enough");
        // A busy machine delivers fewer; a late frame may be followed soon, so only the total counts.
        let second = 20.0 / (frames[20].pts - frames[0].pts).as_secs_f64();
        assert!(second < f64::from(fps) * 1.1, "{second} fps where {fps} were requested");
        last = frames[20].clone();
    }
    // The same command again has no effect; a command while stopped applies at the next start.
    set_quality(&watched, 100, 30);
    assert!(watched.frames(Codec::H264, 10).iter().all(|frame| !frame.key));
    watched.stop();
    watched.event("the stop", |event| matches!(event, SourceEvent::Stopped));
    set_quality(&watched, 50, 30);
    watched.start(H264);
    let sps = Sps::find(&watched.frame(Codec::H264).data).expect("a key frame first");
    assert_eq!((sps.width, sps.height), (160, 90));
}

#[test]
fn the_key_frame_interval_changes_while_it_runs() {
    let watched = pattern();
    watched.start(H264);
    watched.key_frame(Codec::H264);
    watched.command(Command::KeyFrameInterval { interval: Duration::from_millis(500) });
    // If the encoder has to be recreated, its first frame is that one.
    watched.key_frame(Codec::H264);
    let mut since = 0;
    for _ in 0..2 {
        watched.until("a key frame", |event| match event {
            SourceEvent::Frame(frame) => {
                since += 1;
                frame.key.then_some(())
            }
            _ => None,
        });
    }
    assert_eq!(since, 30, "every 15 frames");
}

#[test]
fn every_quality_is_applied_at_once_however_often_it_changes() {
    let watched = pattern();
    watched.start(H264);
    for round in 0..30 {
        let percent = if round % 2 == 0 { 50 } else { 100 };
        set_quality(&watched, percent, 30);
    }
    set_quality(&watched, 50, 30);
    let found = watched.until("the last one", |event| match event {
        SourceEvent::Frame(frame) => Sps::find(&frame.data).filter(|sps| sps.width == 160),
        SourceEvent::Failed(error) => panic!("{error}"),
        _ => None,
    });
    assert_eq!(found.height, 90);
    assert!(watched.frames(Codec::H264, 30).iter().skip(3).all(|frame| !frame.key), "and then it stays");
}

/// An encoder that exists only once, like most hardware: it occupies a port.
fn exclusive(port: u16) -> String {
    format!(
        "name = 'one encoder'\nmeasured = 'not measured'\ntwo_encodes = false\n[match]\n[[encoder]]\nname = 'x264enc'\n\
         [element.x264enc]\nhardware = true\npackage = 'none'\nsource = 'this test'\ncaps = 'video/x-h264,profile=constrained-baseline'\n\
         before = 'tee name=held held. ! queue ! tcpserversink host=127.0.0.1 port={port} sync=false async=false held. ! queue'\n\
         bitrate = {{ property = 'bitrate', unit = 'kbit/s' }}\nkey_interval = [{{ property = 'key-int-max', unit = 'frames' }}]\n\
         properties = {{ tune = 'zerolatency' }}\ndocumented = ['bitrate', 'key-int-max', 'tune']\n"
    )
}

#[test]
fn a_single_encoder_is_closed_before_it_is_reopened() {
    gstreamer::init().expect("GStreamer");
    if gstreamer::ElementFactory::find("tcpserversink").is_none() {
        return println!("SKIPPED: GStreamer's plugin tcp is not installed here");
    }
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let file = BoardFile::new(&exclusive(port));
    let watched = open(CaptureSettings { board: file.board(), ..settings("test") }).expect("it works alone");
    assert_eq!((watched.pipeline.board().name.as_str(), watched.has(Codec::Vp8)), ("one encoder", false));
    assert!(watched.encoder().hardware);
    watched.start(H264);
    watched.key_frame(Codec::H264);
    for (percent, width) in [(50, 160), (100, 320), (50, 160)] {
        set_quality(&watched, percent, 30);
        watched.until("frames of that size", |event| match event {
            SourceEvent::Frame(frame) => Sps::find(&frame.data).filter(|sps| sps.width == width),
            SourceEvent::Failed(error) => panic!("{error}"),
            _ => None,
        });
        // Also for one that stops and starts again before it is closed.
        watched.start(&[Codec::Opus]);
        watched.start(H264);
        watched.until("pictures again", |event| match event {
            SourceEvent::Frame(frame) if frame.codec == Codec::H264 => frame.key.then_some(()),
            SourceEvent::Failed(error) => panic!("{error}"),
            _ => None,
        });
    }
}

#[test]
fn snapshots_arrive_once_a_second_and_leave_nothing_behind() {
    let watched = pattern();
    if !watched.has(Codec::Jpeg) {
        return println!("SKIPPED: GStreamer's jpegenc is not installed here");
    }
    let announced = watched.info(Codec::Jpeg).video().expect("it is video");
    assert_eq!((announced.width, announced.height, announced.fps), (320, 180, 1));
    watched.start(&[Codec::Jpeg]);
    let frames: Vec<Frame> = (0..3)
        .map(|_| {
            watched.until("a snapshot", |event| match event {
                SourceEvent::Frame(frame) => Some(frame.clone()),
                _ => None,
            })
        })
        .collect();
    for frame in &frames {
        assert_eq!((frame.codec, frame.key, frame.stream), (Codec::Jpeg, true, watched.id(Codec::Jpeg)));
        assert_eq!(jpeg::size(&frame.data), Some((320, 180)));
    }
    // A quarter of the interval may be jitter.
    assert!(frames.windows(2).all(|pair| pair[1].pts - pair[0].pts >= Duration::from_millis(750)));
    assert_eq!(shown(&frames), [(320, 180); 3], "they are decoded");

    // It starts and stops beside H.264, which is not affected.
    watched.start(H264);
    let first = watched.frame(Codec::H264);
    assert!(first.key);
    watched.start(&[Codec::H264, Codec::Jpeg]);
    let mut last = first;
    watched.until("a snapshot beside it", |event| match event {
        SourceEvent::Frame(frame) if frame.codec == Codec::Jpeg => Some(()),
        SourceEvent::Frame(frame) => {
            assert!(frame.pts > last.pts && !frame.key, "H.264 was interrupted");
            last = frame.clone();
            None
        }
        _ => None,
    });
    watched.start(H264);
    watched.frames(Codec::H264, 10);
    let mut others = 0;
    let mut alone = 0;
    watched.until("two seconds without a snapshot", |event| {
        if let SourceEvent::Frame(frame) = event {
            if frame.codec == Codec::H264 { alone += 1 } else { others += 1 }
        }
        (alone == 60).then_some(())
    });
    assert_eq!(others, 0);
    watched.stop();
    watched.event("the stop", |event| matches!(event, SourceEvent::Stopped));
}

/// The sizes that GStreamer's own decoder reports for these.
fn shown(frames: &[Frame]) -> Vec<(i32, i32)> {
    decoded(frames, "caps=image/jpeg ! jpegdec", |sample| {
        let caps = sample.caps().and_then(|caps| caps.structure(0)).expect("a decoded frame has caps");
        let length = |name| caps.get::<i32>(name).expect("a length");
        (length("width"), length("height"))
    })
}
