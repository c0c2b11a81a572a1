//! Playing real streams into sinks that are watched: sync, concealment, key frames, failures, stopping.

use std::collections::VecDeque;
use std::sync::mpsc::Receiver;
use std::time::{Instant, SystemTime};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::*;
use crate::media::source::gst::{CaptureSettings, pattern};
use crate::media::source::{Command, Source, SourceEvent};
use crate::media::{AUDIO_OPUS, Codec, VIDEO_H264, VIDEO_VP8};

/// Far longer than anything takes: it only ends a test that would otherwise wait forever.
const PATIENCE: Duration = Duration::from_secs(60);
const SPEAKER: &str = "audioconvert ! audio/x-raw,format=S16LE,channels=2,rate=48000 ! fakesink sync=true";
const SCREEN: &str = "videoconvert ! video/x-raw,format=I420 ! fakesink sync=true";

fn settings(video: bool, audio: bool) -> Settings {
    let video = if video { Video::Element { launch: SCREEN.into() } } else { Video::None };
    let audio = if audio { Audio::Element { launch: SPEAKER.into() } } else { Audio::None };
    Settings { video, audio, ..Settings::default() }
}

/// A buffer as it reached a sink, with the time at which it is shown or heard.
struct Seen {
    kind: Kind,
    pts: Duration,
    at: SystemTime,
    bytes: Vec<u8>,
}

struct Bench {
    playback: Option<Playback>,
    events: Receiver<Event>,
    seen: Receiver<Seen>,
}

impl Bench {
    fn start(settings: Settings) -> Bench {
        gst::init().expect("GStreamer starts");
        let (sender, seen) = mpsc::channel();
        let clock = gst::SystemClock::obtain();
        let tap: lane::Tap = Arc::new(move |kind, pad, buffer| {
            let pts = buffer.pts().expect("every buffer has a time");
            let base = pad.parent_element().and_then(|sink| sink.base_time()).expect("it plays");
            // A sink shows late buffers at once.
            let wait = (base + pts).saturating_sub(clock.time());
            let bytes = buffer.map_readable().expect("readable").to_vec();
            let at = SystemTime::now() + Duration::from(wait);
            _ = sender.send(Seen { kind, pts: pts.into(), at, bytes });
        });
        let playback = Playback::build(settings, Some(tap)).expect("nothing is missing");
        let (sender, events) = mpsc::channel();
        playback.on(move |event| _ = sender.send(event));
        Bench { playback: Some(playback), events, seen }
    }

    fn playback(&self) -> &Playback {
        self.playback.as_ref().expect("not stopped yet")
    }

    fn event(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        let end = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) if wanted(&event) => return event,
                Ok(event) => others.push(event),
                Err(_) => panic!("timed out waiting for {what}; received {others:?}"),
            }
        }
    }

    /// Waits until the statistics are like this.
    fn until(&self, what: &str, wanted: impl Fn(&Stats) -> bool) -> Stats {
        let end = Instant::now() + PATIENCE;
        loop {
            let stats = self.playback().stats();
            if wanted(&stats) {
                return stats;
            }
            assert!(Instant::now() < end, "timed out waiting for {what}: {stats:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The test pattern's frames of one codec.
fn pattern(codec: Codec) -> (Source, Receiver<Frame>) {
    let capture = CaptureSettings { width: 320, height: 180, audio: false, ..CaptureSettings::default() };
    let source = Source::gstreamer(capture).expect("the test pattern works everywhere");
    let (sender, frames) = mpsc::channel();
    source.producer().listen(Arc::new(move |event| {
        if let SourceEvent::Frame(frame) = event {
            _ = sender.send(frame);
        }
    }));
    let stream = if codec == Codec::Vp8 { VIDEO_VP8 } else { VIDEO_H264 };
    source.producer().command(Command::Want([stream].into()));
    (source, frames)
}

fn sound(data: impl Into<Arc<[u8]>>, captured: Instant, number: u32) -> Frame {
    Frame {
        stream: AUDIO_OPUS,
        codec: Codec::Opus,
        key: true,
        captured,
        pts: Duration::from_millis(20) * number,
        duration: Duration::from_millis(20),
        discontinuity: false,
        encoding: None,
        data: data.into(),
    }
}

/// Encodes this many packets of 20 ms, with in-band FEC.
fn encoded(source: &str, count: usize) -> Vec<Arc<[u8]>> {
    gst::init().expect("GStreamer starts");
    let line = format!(
        "{source} ! audio/x-raw,rate=48000,channels=2 ! opusenc inband-fec=true packet-loss-percentage=20 ! \
         appsink name=out sync=false"
    );
    let pipeline = gst::parse::launch(&line).expect("a pipeline").downcast::<gst::Pipeline>().expect("one");
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().expect("named above");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let packet = |_| {
        let sample = sink.pull_sample().expect("a packet");
        sample.buffer().expect("a sample has one").map_readable().expect("readable").as_slice().into()
    };
    let all = (0..count).map(packet).collect();
    pipeline.set_state(gst::State::Null).expect("it stops");
    all
}

fn median(values: &mut [i64]) -> i64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// Frames of one grey each, in eight steps, so that each shows when it was captured, modulo eight frames.
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 30);

fn greys(count: u32) -> Vec<(Arc<[u8]>, bool)> {
    let line = "appsrc name=in format=time caps=video/x-raw,format=I420,width=160,height=128,framerate=30/1 ! \
                x264enc tune=zerolatency key-int-max=30 ! video/x-h264,stream-format=byte-stream,alignment=au ! \
                appsink name=out sync=false";
    gst::init().expect("GStreamer starts");
    let pipeline = gst::parse::launch(line).expect("a pipeline").downcast::<gst::Pipeline>().expect("one");
    let source = pipeline.by_name("in").and_downcast::<gst_app::AppSrc>().expect("named above");
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().expect("named above");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let encode = |number: u32| {
        let luma = 20 + (number % 8) as u8 * 28;
        let bytes = [vec![luma; 160 * 128], vec![128; 160 * 128 / 2]].concat();
        let mut buffer = gst::Buffer::from_slice(bytes);
        let fields = buffer.get_mut().expect("made in the line above");
        fields.set_pts(gst::ClockTime::try_from(FRAME * number).ok());
        source.push_buffer(buffer).expect("it takes frames");
        let sample = sink.pull_sample().expect("a frame for each");
        let buffer = sample.buffer().expect("a sample has one");
        let key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        (buffer.map_readable().expect("readable").as_slice().into(), key)
    };
    let all = (0..count).map(encode).collect();
    pipeline.set_state(gst::State::Null).expect("it stops");
    all
}

/// Ticks are captured at full seconds, and frames show when they were.
#[test]
fn lips_are_in_sync_at_the_sinks() {
    const SECONDS: u32 = 8;
    let video = greys(SECONDS * 30);
    let ticks = "audiotestsrc num-buffers=400 samplesperbuffer=960 wave=ticks tick-interval=1000000000 freq=2000 \
                 sine-periods-per-tick=40";
    let audio = encoded(ticks, 400);
    let bench = Bench::start(settings(true, true));
    let (start, zero) = (Instant::now(), SystemTime::now());
    let mut frames = Vec::new();
    for (number, (data, key)) in (0..).zip(video) {
        let captured = start + FRAME * number;
        // Video takes longer to encode and to send.
        let frame = Frame { stream: VIDEO_H264, codec: Codec::H264, key, ..sound(data, captured, number) };
        frames.push((captured + Duration::from_millis(60), frame));
    }
    for (number, data) in (0..).zip(audio) {
        let captured = start + Duration::from_millis(20) * number;
        frames.push((captured + Duration::from_millis(20), sound(data, captured, number)));
    }
    frames.sort_by_key(|(arrival, _)| *arrival);
    for (arrival, frame) in frames {
        std::thread::sleep(arrival.saturating_duration_since(Instant::now()));
        bench.playback().push(&frame);
    }
    let (mut video, mut audio) = (Vec::new(), Vec::new());
    let mut quiet_until = zero;
    while let Ok(seen) = bench.seen.recv_timeout(Duration::from_secs(1)) {
        if seen.kind == Kind::Video {
            let luma = u32::from(seen.bytes[64 * 160 + 80]);
            let step = (luma.saturating_sub(6) / 28).min(7);
            video.push((seen.at, step));
            continue;
        }
        let samples = seen.bytes.chunks_exact(4).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
        let onset = samples.into_iter().position(|sample| sample.unsigned_abs() > 4_000);
        let Some(index) = onset.filter(|_| seen.at >= quiet_until) else { continue };
        let heard = seen.at + Duration::from_micros(index as u64 * 1_000_000 / 48_000);
        let since = heard.duration_since(zero).expect("after the first tick").as_micros() as i64;
        audio.push((heard, since % 1_000_000));
        quiet_until = heard + Duration::from_millis(500);
    }
    // Each tick, and the frames around it, whose latency is that of the audio plus the skew. It is known modulo eight
    // frames, 267 ms, and taken for the least that is possible.
    let cycle = 8_000_000 / 30;
    let mut skews = Vec::new();
    for (heard, latency) in &audio {
        let near = |at: &SystemTime| {
            let apart = at.duration_since(*heard).or_else(|_| heard.duration_since(*at));
            apart.is_ok_and(|apart| apart < Duration::from_millis(200))
        };
        let skew = |(at, step): &(SystemTime, u32)| {
            let since = at.duration_since(zero).expect("after the start").as_micros() as i64;
            let skew = (since - i64::from(*step) * 1_000_000 / 30 - latency).rem_euclid(cycle);
            if skew > cycle / 2 { skew - cycle } else { skew }
        };
        let mut near: Vec<i64> = video.iter().filter(|(at, _)| near(at)).map(skew).collect();
        if !near.is_empty() {
            skews.push(median(&mut near));
        }
    }
    let stats = bench.playback().stats();
    println!("video later than audio by {skews:?} µs at {} of {SECONDS} ticks; {stats:?}", skews.len());
    assert!(skews.len() >= 5, "video and audio were seen together");
    // Not all, as a busy machine can delay a frame on its way to the sink.
    let middle = median(&mut skews);
    assert!(middle.abs() <= 40_000, "{skews:?}");
}

#[test]
fn lost_packets_are_concealed_and_the_duration_is_kept() {
    let packets = encoded("audiotestsrc num-buffers=250 samplesperbuffer=960 freq=440", 250);
    for (percent, seed) in [(0u64, 1u64), (5, 2), (20, 3)] {
        let bench = Bench::start(settings(false, true));
        let mut random = seed;
        let mut lost = 0;
        let start = Instant::now();
        for (number, data) in (0..).zip(&packets) {
            let captured = start + Duration::from_millis(20) * number;
            std::thread::sleep(captured.saturating_duration_since(Instant::now()));
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Not the first and the last, so that the duration is known.
            if (random >> 33) % 100 < percent && number != 0 && number != 249 {
                lost += 1;
                continue;
            }
            bench.playback().push(&sound(data.clone(), captured, number));
        }
        let stats = bench
            .until("the last packet", |stats| stats.heard + stats.audio_late + stats.skipped >= 250 - lost);
        let mut seen: VecDeque<Seen> = VecDeque::new();
        // The decoder keeps one packet back; what is concealed behind the last one drives it out.
        while let Ok(next) = bench.seen.recv_timeout(Duration::from_millis(700)) {
            seen.push_back(next);
        }
        let samples: usize = seen.iter().map(|seen| seen.bytes.len() / 4).sum();
        let played = Duration::from_micros(samples as u64 * 1_000_000 / 48_000);
        let first = seen.front().expect("it was heard").pts;
        let last = seen.back().expect("it was heard");
        let ends = last.pts + Duration::from_micros(last.bytes.len() as u64 / 4 * 1_000_000 / 48_000);
        println!("{percent} %: {lost} lost, {played:?} in {:?}; {stats:?}", ends - first);
        // Each lost packet, and what raised the delay, if packets were late on a busy machine.
        let risen = stats.delay.as_millis() as u64 / 20 + 2;
        assert!(stats.concealed + stats.skipped >= lost, "{lost} lost: {stats:?}");
        assert!(stats.concealed <= lost + stats.audio_late + stats.skipped + risen, "{lost} lost: {stats:?}");
        // Up to half a second is concealed behind the end.
        let expected = Duration::from_secs(5);
        assert!(played >= expected - Duration::from_millis(100), "{played:?}");
        assert!(played <= expected + Duration::from_millis(600) + stats.delay, "{played:?}");
        assert!((ends - first).abs_diff(played) < Duration::from_millis(60), "no gap: {:?}", ends - first);
    }
}

#[test]
fn video_waits_for_a_key_frame_in_each_codec() {
    for codec in [Codec::H264, Codec::Vp8] {
        let bench = Bench::start(settings(true, false));
        let (source, frames) = pattern(codec);
        let mut skipped = 0;
        let mut others = frames.iter().skip_while(|frame| frame.key);
        while skipped < 5 {
            let frame = others.next().expect("it goes on");
            skipped += u64::from(!frame.key);
            if !frame.key {
                bench.playback().push(&frame);
            }
        }
        let event = bench.event("a request", |event| matches!(event, Event::NeedKeyFrame { .. }));
        let Event::NeedKeyFrame { stream } = event else { unreachable!() };
        assert_eq!((event.code(), bench.playback().stats().shown), ("need-key-frame", 0));
        source.producer().command(Command::KeyFrame(stream));
        let playback = bench.playback().clone();
        std::thread::spawn(move || frames.into_iter().for_each(|frame| playback.push(&frame)));
        bench.event("the first frame", |event| matches!(event, Event::Playing { kind: Kind::Video }));
        let stats = bench.until("30 frames", |stats| stats.shown >= 30);
        assert!(stats.undecodable >= 5, "{stats:?}");
    }
}

#[test]
fn pictures_reach_the_program() {
    let bench = Bench::start(Settings { video: Video::Pictures, ..settings(true, false) });
    let (sender, pictures) = mpsc::channel();
    bench.playback().on_picture(move |picture| _ = sender.send(picture));
    let (_source, frames) = pattern(Codec::H264);
    let playback = bench.playback().clone();
    std::thread::spawn(move || frames.into_iter().for_each(|frame| playback.push(&frame)));
    let mut last = None;
    for _ in 0..20 {
        let picture = pictures.recv_timeout(PATIENCE).expect("it plays");
        let (width, height) = (picture.width(), picture.height());
        assert_eq!((width, height, picture.rgba().len()), (320, 180, 320 * 180 * 4));
        let green: Vec<u8> = picture.rgba().iter().skip(1).step_by(4).copied().collect();
        let burned = pattern::read(&green, width, width, height).expect("the pattern");
        assert!(last.is_none_or(|last| burned.frame.wrapping_sub(last) < 100), "{burned:?} after {last:?}");
        assert_ne!(Some(burned.frame), last, "each is new");
        last = Some(burned.frame);
    }
}

#[test]
fn it_stops_within_a_second_even_if_the_output_hangs() {
    let hanging = "identity sleep-time=20000000 ! fakesink";
    for launch in [SCREEN, hanging] {
        let video = Video::Element { launch: launch.into() };
        let mut bench = Bench::start(Settings { video, ..settings(true, true) });
        let (_source, frames) = pattern(Codec::H264);
        for frame in frames.iter().take(10) {
            bench.playback().push(&frame);
        }
        if launch == SCREEN {
            bench.event("the first frame", |event| matches!(event, Event::Playing { .. }));
        }
        let began = Instant::now();
        bench.playback = None;
        let took = began.elapsed();
        println!("stopped after {took:?}");
        // 0.9 s, and what a busy machine adds.
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}

#[test]
fn whatever_bytes_come_in_it_goes_on() {
    let bench = Bench::start(settings(true, true));
    let mut random = 7u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for round in 0..600u32 {
        let codec = [Codec::H264, Codec::Vp8, Codec::Opus][(round / 200) as usize];
        let mut data: Vec<u8> = (0..next() % 2_000).map(|_| next() as u8).collect();
        if codec == Codec::H264 && data.len() > 4 {
            let kind = [0x67, 0x68, 0x65, 0x41][(next() % 4) as usize];
            data[..5].copy_from_slice(&[0, 0, 0, 1, kind]);
        }
        let stream = if codec == Codec::Opus { AUDIO_OPUS } else { VIDEO_H264 };
        let frame = Frame { stream, codec, key: next() % 3 != 0, ..sound(data, Instant::now(), round) };
        bench.playback().push(&frame);
        std::thread::sleep(Duration::from_millis(5));
    }
    let (source, frames) = pattern(Codec::H264);
    let playback = bench.playback().clone();
    let shown = playback.stats().shown;
    std::thread::spawn(move || frames.into_iter().for_each(|frame| playback.push(&frame)));
    // Key frames that it asks for are given, as by a caller.
    let end = Instant::now() + PATIENCE;
    while bench.playback().stats().shown < shown + 30 {
        assert!(Instant::now() < end, "a good stream does not play: {:?}", bench.playback().stats());
        if let Ok(Event::NeedKeyFrame { .. }) = bench.events.recv_timeout(Duration::from_millis(50)) {
            source.producer().command(Command::KeyFrame(VIDEO_H264));
        }
    }
    println!("{:?}", bench.playback().stats());
}

#[test]
fn an_output_that_is_missing_is_tried_again_in_words() {
    let video = Video::Device { path: "/dev/symple-none".into() };
    let bench = Bench::start(Settings { video, ..settings(true, false) });
    let (source, frames) = pattern(Codec::H264);
    let playback = bench.playback().clone();
    std::thread::spawn(move || frames.into_iter().for_each(|frame| playback.push(&frame)));
    for _ in 0..2 {
        let event = bench.event("a failure", |event| matches!(event, Event::Failed { .. }));
        let Event::Failed { kind, error, retry } = &event else { unreachable!() };
        println!("{error} ({retry:?})");
        assert_eq!((*kind, event.code()), (Kind::Video, "no-output"));
        assert!(error.to_string().contains("/dev/symple-none") && retry.is_some(), "{error}");
        source.producer().command(Command::KeyFrame(VIDEO_H264));
    }
    assert!(bench.playback().stats().overflow > 0);
}

#[test]
fn an_output_that_refuses_its_first_frame_has_not_played() {
    let video = Video::Element { launch: "filesink location=/dev/full buffer-mode=unbuffered".into() };
    let bench = Bench::start(Settings { video, ..settings(true, false) });
    let (_source, frames) = pattern(Codec::H264);
    let playback = bench.playback().clone();
    std::thread::spawn(move || frames.into_iter().for_each(|frame| playback.push(&frame)));
    let event =
        bench.event("a failure", |event| matches!(event, Event::Playing { .. } | Event::Failed { .. }));
    assert!(matches!(event, Event::Failed { kind: Kind::Video, .. }), "{event:?}");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let of = |video: &str, audio: &str| Settings {
        video: video.parse().expect("a word"),
        audio: audio.parse().expect("a word"),
        ..Settings::default()
    };
    let table = [
        (Settings { volume: 11.0, ..of("none", "none") }, "bad-settings"),
        (Settings { min_delay: Duration::from_secs(2), ..of("none", "none") }, "bad-settings"),
        (Settings { audio: Audio::Device { name: "speaker".into() }, ..of("none", "none") }, "bad-settings"),
    ];
    for (settings, code) in table {
        assert_eq!(Playback::start(settings).err().map(|error| error.code()), Some(code));
    }
    assert_eq!("/dev/video10".parse(), Ok(Video::Device { path: "/dev/video10".into() }));
    assert_eq!("alsa:hw:0,0".parse(), Ok(Audio::Device { name: "alsa:hw:0,0".into() }));
    assert_eq!("kmssink".parse(), Ok(Video::Element { launch: "kmssink".into() }));
    assert!("".parse::<Video>().is_err() && " ".parse::<Audio>().is_err());
}

#[test]
fn devices_are_listed_without_a_sound_system() {
    let began = Instant::now();
    let found = audio_devices();
    println!("{found:?} after {:?}", began.elapsed());
    for device in found.expect("no sound server hangs here") {
        assert!(device.name.contains(':') && !device.label.is_empty(), "{device:?}");
    }
}
