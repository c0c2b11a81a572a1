use std::sync::mpsc::{Receiver, channel};

use super::state::MOST_QUEUED;
use super::*;
use crate::media::Frame;
use crate::media::source::SourceEvent;

const SETS: &[u8] = &[
    0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xda, 0x05, 0x06, 0x7e, 0x7c, 0x05, 0xa8, 0x30, 0x30, 0x35, 0x28, 0,
    0, 3, 0, 8, 0, 0, 3, 1, 0xe4, 0x78, 0xc1, 0x95, 0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80,
];
const IDR: &[u8] = &[0, 0, 1, 0x65, 0x88, 0x84, 0x3a];
const SLICE: &[u8] = &[0, 0, 0, 1, 0x41, 0x9a, 0x24, 0x6c];
const AUDIO: &[u8] = &[0xfc, 1, 2];

const MS: fn(u64) -> Duration = Duration::from_millis;

fn key() -> Vec<u8> {
    [SETS, IDR].concat()
}

/// H.264 and Opus by an application, with whatever comes out, in words and in order.
struct World {
    source: Source,
    video: Feed,
    audio: Feed,
    said: Receiver<String>,
    frames: Receiver<Frame>,
}

impl World {
    fn new() -> World {
        let (source, [video, audio]) = Source::push_streams([Codec::H264, Codec::Opus]);
        let (tell, said) = channel();
        let (give, frames) = channel();
        for (name, feed) in [("video", &video), ("audio", &audio)] {
            let tell = tell.clone();
            feed.on(move |request| {
                tell.send(match request {
                    Request::Bitrate { bps } => format!("{name}: {bps} bit/s"),
                    Request::Quality { quality } => format!("{name}: {} %", quality.percent),
                    other => format!("{name}: {other:?}"),
                })
                .expect("the test listens")
            });
        }
        source.producer().listen(Arc::new(move |event| {
            let words = match event {
                SourceEvent::Frame(frame) => {
                    let words = format!("frame {}", frame.stream.0);
                    give.send(frame).expect("the test listens");
                    words
                }
                SourceEvent::Streams(streams) => {
                    let video = streams[0].video().expect("the first is video");
                    format!("{}x{} of generation {}", video.width, video.height, streams[0].generation)
                }
                SourceEvent::State(status) => format!("{}/{}", status.state.as_str(), status.code),
                SourceEvent::Failed(error) => format!("Failed({})", error.code()),
                SourceEvent::Adjustable { stream, bitrate, quality } => {
                    format!("adjustable {} {bitrate} {quality}", stream.0)
                }
                event => format!("{event:?}"),
            };
            // When a test ends its source does.
            _ = tell.send(words);
        }));
        World { source, video, audio, said, frames }
    }

    fn want(&self, streams: &[u32]) {
        let streams = streams.iter().copied().map(StreamId).collect();
        self.source.producer().command(Command::Want(streams));
    }

    fn said(&self) -> Vec<String> {
        self.said.try_iter().collect()
    }
}

#[test]
fn frames_go_on_while_somebody_wants_them_and_cost_nothing_else() {
    let world = World::new();
    assert_eq!(world.video.push(key(), true, MS(0)), Ok(Pushed::Unwanted));
    assert_eq!(world.video.push(vec![], true, MS(0)), Ok(Pushed::Unwanted), "not even looked at");
    assert_eq!(world.said(), [""; 0]);

    world.want(&[0]);
    assert_eq!(world.said(), ["starting/starting", "video: Start"]);
    assert_eq!(world.video.push(SLICE, false, MS(40)), Ok(Pushed::NeedsKeyFrame));
    assert_eq!(world.video.push(SLICE, false, MS(80)), Ok(Pushed::NeedsKeyFrame));
    assert_eq!(world.said(), ["video: KeyFrame"], "asked for once");
    assert_eq!(world.video.push(key(), true, MS(120)), Ok(Pushed::Taken));
    assert_eq!(world.video.push(SLICE, false, MS(160)), Ok(Pushed::Taken));
    assert_eq!(world.audio.push(AUDIO, true, MS(160)), Ok(Pushed::Unwanted));
    assert_eq!(
        world.said(),
        [
            "adjustable 0 true true",
            "adjustable 1 true true",
            "Started",
            "playing/playing",
            "320x180 of generation 1",
            "frame 0",
            "frame 0"
        ]
    );
    let [first, second] = [(); 2].map(|()| world.frames.recv().expect("it came"));
    assert_eq!((first.key, first.codec, first.discontinuity), (true, Codec::H264, false));
    assert_eq!((&*first.data, &*second.data), (&*key(), SLICE));
    assert_eq!(second.pts - first.pts, MS(40));
    assert!(second.captured <= Instant::now() && second.captured >= first.captured);

    world.want(&[0, 1]);
    assert_eq!(world.audio.push(AUDIO, true, MS(160)), Ok(Pushed::Taken));
    assert_eq!(world.frames.recv().map(|frame| frame.pts), Ok(second.pts), "one zero for both");
    world.want(&[]);
    assert_eq!(world.said(), ["audio: Start", "frame 1", "video: Stop", "audio: Stop", "Stopped"]);
    assert_eq!(world.video.push(SLICE, false, MS(200)), Ok(Pushed::Unwanted));
    assert_eq!(world.said(), [""; 0], "nothing comes after Stopped");
}

#[test]
fn the_application_gives_what_it_knows_of_capture_and_encoding() {
    let world = World::new();
    world.want(&[0]);
    let captured = Instant::now() - MS(40);
    let push = |n: u64, captured, began| world.video.push_encoded(key(), true, MS(40 * n), captured, began);
    assert_eq!(push(0, captured, captured + MS(15)), Ok(Pushed::Taken));
    let frame = world.frames.recv().expect("it came");
    let encoding = frame.encoding.expect("it was given");
    assert_eq!((frame.captured, encoding.began), (captured, captured + MS(15)));
    assert!(encoding.took() >= MS(25) && encoding.ended <= Instant::now());

    // Nobody's clock is trusted: times stay in order.
    let future = Instant::now() + MS(60_000);
    for (n, captured, began) in [(1, captured, captured - MS(9)), (2, future, future), (3, captured, future)]
    {
        assert_eq!(push(n, captured, began), Ok(Pushed::Taken));
        let frame = world.frames.recv().expect("it came");
        let Encoding { began, ended } = frame.encoding.expect("it was given");
        assert!(frame.captured <= began && began <= ended && ended <= Instant::now(), "{n}");
    }
    assert_eq!(world.video.push_captured(key(), true, MS(200), captured), Ok(Pushed::Taken));
    assert_eq!(world.frames.recv().map(|frame| frame.encoding), Ok(None));
}

#[test]
fn times_go_on_over_a_restart_that_counts_from_another_zero() {
    let world = World::new();
    world.want(&[0]);
    world.video.push(key(), true, MS(5_000)).expect("in order");
    world.video.push(SLICE, false, MS(9_000)).expect("in order");
    let error = world.video.push(SLICE, false, MS(8_000)).expect_err("it went back");
    assert_eq!(error, PushError::TimeWentBack { pts: MS(8_000), last: MS(9_000) });
    assert!(error.to_string().contains("pts must increase: 8s came after 9s"), "{error}");
    world.want(&[]);
    world.want(&[0]);
    world.video.push(key(), true, MS(0)).expect("another zero");
    let frames: Vec<Frame> = world.frames.try_iter().collect();
    assert!(frames.is_sorted_by(|a, b| a.pts < b.pts), "{frames:?}");
    assert!(frames[2].discontinuity && !frames[1].discontinuity);
}

#[test]
fn what_is_asked_for_reaches_the_encoder_and_is_repeated_at_its_start() {
    let world = World::new();
    let ask = |command| world.source.producer().command(command);
    let stream = world.video.stream();
    let half = Quality { percent: 50, fps: 15 };
    ask(Command::Bitrate { stream, bps: 300_000 });
    ask(Command::Quality { stream, quality: half });
    ask(Command::KeyFrame(stream));
    assert_eq!(world.said(), [""; 0], "nobody wants it yet");
    world.want(&[0]);
    assert_eq!(world.said(), ["starting/starting", "video: 300000 bit/s", "video: 50 %", "video: Start"]);
    ask(Command::Bitrate { stream, bps: 300_000 });
    ask(Command::Bitrate { stream, bps: 200_000 });
    ask(Command::KeyFrame(stream));
    ask(Command::KeyFrame(StreamId(9)));
    assert_eq!(world.said(), ["video: 200000 bit/s", "video: KeyFrame"]);
    // Who listens later hears how it stands.
    let (tell, heard) = channel();
    world.video.on(move |request| _ = tell.send(request));
    let heard: Vec<Request> = heard.try_iter().collect();
    assert_eq!(
        heard,
        [Request::Bitrate { bps: 200_000 }, Request::Quality { quality: half }, Request::Start]
    );
    world.video.adjustable(true, false);
    world.video.push(key(), true, MS(0)).expect("in order");
    assert!(world.said().contains(&"adjustable 0 true false".into()));
    let request = crate::media::source::RequestId(7);
    ask(Command::ReadControls { request });
    assert!(world.said().iter().any(|said| said.contains("this source has no controls")));
}

#[test]
fn a_format_that_changes_is_another_generation_and_one_that_stays_is_not_told() {
    let world = World::new();
    world.want(&[0]);
    for pts in 0..3 {
        world.video.push(key(), true, MS(pts)).expect("in order");
    }
    // The same picture of another level.
    let mut other = key();
    other[7] = 0x20;
    world.video.push(other, true, MS(4)).expect("in order");
    let formats: Vec<String> = world.said().into_iter().filter(|said| said.contains("generation")).collect();
    assert_eq!(formats, ["320x180 of generation 1", "320x180 of generation 2"]);
    assert_eq!(world.source.producer().streams()[0].generation, 2);
}

#[test]
fn a_source_that_fails_is_lost_until_it_gives_again_or_is_given_up() {
    let world = World::new();
    world.want(&[0]);
    world.video.push(key(), true, MS(0)).expect("in order");
    world.said();
    world.video.failed(MediaError::new(ErrorKind::CameraBusy, "somebody else has it"));
    assert_eq!(world.said(), ["Failed(camera-busy)", "lost/camera-busy"]);
    assert_eq!(world.video.push(SLICE, false, MS(40)), Ok(Pushed::NeedsKeyFrame));
    assert_eq!(world.video.push(key(), true, MS(80)), Ok(Pushed::Taken));
    let said = world.said();
    assert!(said.contains(&"Started".into()) && said.contains(&"playing/playing".into()), "{said:?}");
    assert!(world.frames.try_iter().last().is_some_and(|frame| frame.discontinuity));

    world.audio.failed(MediaError::new(ErrorKind::Unauthorized, "no"));
    assert_eq!(world.said(), ["Failed(unauthorized)", "failed/unauthorized", "video: Stop", "GaveUp"]);
    assert_eq!(world.video.push(key(), true, MS(120)), Ok(Pushed::Unwanted));
    world.want(&[0]);
    assert_eq!(world.said(), ["starting/starting", "video: Start"], "the next one tries anew");
}

#[cfg(feature = "relay")]
#[test]
fn a_source_whose_video_pauses_goes_on_with_audio() {
    let off = || MediaError::new(ErrorKind::VideoOff, "audio alone");
    let world = World::new();
    world.audio.follow_video();
    let speak = |pts| world.audio.push(AUDIO, true, MS(pts)).expect("in order");
    world.want(&[0, 1]);
    world.said();
    speak(0);
    assert_eq!(world.said(), ["frame 1"], "it has not begun to play");
    world.video.push(key(), true, MS(10)).expect("in order");
    assert!(world.said().contains(&"playing/playing".into()));
    world.video.pause(off());
    assert_eq!(world.said(), ["Failed(video-off)", "lost/video-off"]);
    speak(20);
    assert_eq!(world.said(), ["frame 1"]);
    world.video.resume();
    // It goes on where it was: no key frame is needed, and no time jumps.
    assert_eq!(world.video.push(SLICE, false, MS(40)), Ok(Pushed::Taken));
    let said = world.said();
    assert!(
        said.contains(&"playing/playing".into()) && !said.contains(&"video: KeyFrame".into()),
        "{said:?}"
    );
    let frames: Vec<Frame> = world.frames.try_iter().collect();
    assert!(frames.iter().all(|frame| !frame.discontinuity));
    assert_eq!(frames[3].pts - frames[2].pts, MS(20));

    // Whoever comes later is told at once.
    world.want(&[]);
    world.video.pause(off());
    world.said();
    world.want(&[0, 1]);
    assert_eq!(
        world.said(),
        ["starting/starting", "video: Start", "audio: Start", "Failed(video-off)", "lost/video-off"]
    );
    // And not if it was over before.
    world.want(&[]);
    world.video.resume();
    world.said();
    world.want(&[0, 1]);
    assert_eq!(world.said(), ["starting/starting", "video: Start", "audio: Start"]);
}

#[cfg(feature = "relay")]
#[test]
fn a_source_that_nobody_pushes_to_is_lost_until_somebody_does() {
    let nobody = || MediaError::new(ErrorKind::NoPublisher, "nobody");
    let world = World::new();
    world.video.leave(nobody());
    assert_eq!(world.said(), [""; 0], "nobody is there to be told");
    for _ in 0..2 {
        world.want(&[0]);
        let opened = ["starting/starting", "video: Start", "Failed(no-publisher)", "lost/no-publisher"];
        assert_eq!(world.said(), opened);
        world.video.resume();
        world.video.push(key(), true, MS(10)).expect("in order");
        assert!(world.said().contains(&"playing/playing".into()));
        world.want(&[]);
        world.said();
        world.want(&[0]);
        assert_eq!(world.said(), ["starting/starting", "video: Start"], "somebody is there now");
        world.video.push(key(), true, MS(30)).expect("in order");
        world.said();
        world.video.leave(nobody());
        assert_eq!(world.said(), ["Failed(no-publisher)", "lost/no-publisher"]);
        // The next one's times have another zero, and its first frame is a key frame.
        assert_eq!(world.video.push(SLICE, false, MS(7_000)), Ok(Pushed::NeedsKeyFrame));
        world.want(&[]);
        world.said();
    }
}

#[test]
fn a_source_ends_when_it_says_so_or_when_its_last_feed_is_gone() {
    let world = World::new();
    world.want(&[0, 1]);
    world.said();
    world.video.ended();
    assert_eq!(world.said(), ["Ended", "ended/ended", "video: Stop", "audio: Stop", "GaveUp"]);
    let World { source, video, audio, said, frames: _frames } = world;
    let want = || source.producer().command(Command::Want([StreamId(0)].into()));
    let heard = || said.try_iter().collect::<Vec<String>>();
    want();
    assert_eq!(heard(), ["starting/starting", "video: Start"]);
    drop(video);
    assert_eq!(heard(), [""; 0], "its audio is still there");
    drop(audio);
    assert_eq!(heard(), ["Ended", "ended/ended", "GaveUp"]);
    want();
    assert_eq!(heard(), ["starting/starting", "Ended", "ended/ended", "GaveUp"]);
}

#[test]
fn a_source_that_is_gone_stops_its_encoder() {
    let World { source, video, said, .. } = World::new();
    let handle = source.clone();
    handle.producer().command(Command::Want([StreamId(0)].into()));
    drop(handle);
    assert!(video.is_wanted());
    drop(source);
    assert!(!video.is_wanted());
    assert!(said.try_iter().any(|said| said == "video: Stop"));
}

#[test]
fn callbacks_may_push_and_command_in_their_turn() {
    let (source, feed) = Source::push(Codec::H264);
    let feed = Arc::new(feed);
    let pusher = Arc::downgrade(&feed);
    let number = Mutex::new(0);
    feed.on(move |request| {
        if let (Request::Start | Request::KeyFrame, Some(feed)) = (request, pusher.upgrade()) {
            let pts = {
                let mut number = number.lock().expect("no panic");
                *number += 1;
                MS(*number)
            };
            assert_eq!(feed.push(key(), true, pts), Ok(Pushed::Taken));
        }
    });
    let (tell, told) = channel();
    let asker = Arc::new(Mutex::new(None::<Source>));
    *asker.lock().expect("no panic") = Some(source.clone());
    source.producer().listen(Arc::new(move |event| {
        if let SourceEvent::Frame(frame) = event {
            // The first frame is answered with a wish for another.
            let source = asker.lock().expect("no panic").take();
            source.into_iter().for_each(|source| source.producer().command(Command::KeyFrame(frame.stream)));
            tell.send(frame).expect("the test listens");
        }
    }));
    source.producer().command(Command::Want([StreamId(0)].into()));
    assert_eq!(told.try_iter().count(), 2);
}

#[test]
fn a_listener_that_does_not_return_costs_frames_and_no_memory() {
    let (source, feed) = Source::push(Codec::H264);
    let (feed, pushing) = (Arc::new(feed), Arc::new(Mutex::new(None::<Arc<Feed>>)));
    *pushing.lock().expect("no panic") = Some(feed.clone());
    let (tell, told) = channel();
    source.producer().listen(Arc::new(move |event| {
        if let SourceEvent::Frame(frame) = event {
            tell.send(frame.discontinuity).expect("the test listens");
            // As if others went on pushing meanwhile.
            let feed = pushing.lock().expect("no panic").take();
            let pushed =
                feed.map(|feed| (2..500).map(|ms| feed.push(SLICE, false, MS(ms))).collect::<Vec<_>>());
            if let Some(pushed) = pushed {
                let taken = pushed.iter().filter(|result| **result == Ok(Pushed::Taken)).count();
                assert_eq!(taken, MOST_QUEUED - 1, "the measured rate waits too");
                assert_eq!(pushed.last(), Some(&Ok(Pushed::NeedsKeyFrame)));
            }
        }
    }));
    source.producer().command(Command::Want([StreamId(0)].into()));
    feed.push(key(), true, MS(1)).expect("in order");
    assert_eq!(told.try_iter().count(), MOST_QUEUED);
    feed.push(key(), true, MS(600)).expect("in order");
    assert_eq!(told.try_iter().last(), Some(true), "what is missing is said");
}

#[test]
fn callbacks_may_own_feeds_of_their_source() {
    /// Far longer than it takes, so that a lock that is taken twice ends the test.
    const DEADLINE: Duration = Duration::from_secs(10);
    type Way = fn(Source, Feed, Feed);
    let ways: [(&str, Way); 3] = [
        ("its feed is dropped", |_source, video, audio| {
            video.on(move |_| _ = &audio);
            drop(video);
        }),
        ("another takes its place", |_source, video, audio| {
            video.on(move |_| _ = &audio);
            video.on(|_| {});
        }),
        ("another listens", |source, video, audio| {
            source.producer().listen(Arc::new(move |_| _ = (&video, &audio)));
            source.producer().listen(Arc::new(|_| {}));
        }),
    ];
    for (name, way) in ways {
        let (done, ended) = channel();
        std::thread::spawn(move || {
            let (source, [video, audio]) = Source::push_streams([Codec::H264, Codec::Opus]);
            way(source, video, audio);
            _ = done.send(());
        });
        assert!(ended.recv_timeout(DEADLINE).is_ok(), "{name}");
    }
}

#[test]
fn a_time_that_jumps_ahead_is_refused_and_costs_no_other_frame() {
    let world = World::new();
    world.want(&[0, 1]);
    world.video.push(key(), true, MS(1_000)).expect("in order");
    for garbage in [MS(100_000), Duration::MAX] {
        let error = world.video.push(key(), true, garbage).expect_err("far ahead");
        assert_eq!(error.code(), "time-jumped");
        assert_eq!(world.audio.push(AUDIO, true, garbage).map_err(|error| error.code()), Err("time-jumped"));
    }
    world.video.push(SLICE, false, MS(1_040)).expect("it goes on");
    world.audio.push(AUDIO, true, MS(1_040)).expect("it goes on");
    let frames: Vec<Frame> = world.frames.try_iter().collect();
    assert_eq!(frames[1].pts - frames[0].pts, MS(40));
    assert_eq!(frames[1].pts, frames[2].pts);

    // Said to be a new beginning, it is another zero, whichever.
    for zero in [Duration::MAX, MS(0)] {
        world.video.failed(MediaError::new(ErrorKind::Stalled, "the encoder starts anew"));
        world.video.push(key(), true, zero).expect("another zero");
    }
    let restarted: Vec<Frame> = world.frames.try_iter().collect();
    assert!(restarted.is_sorted_by(|a, b| a.pts < b.pts) && restarted[0].pts < frames[1].pts + MS(10_000));
}

#[test]
fn the_frame_rate_is_measured_once_and_kept() {
    let world = World::new();
    let fps = || world.source.producer().streams()[0].video().map_or(0, |format| format.fps);
    world.want(&[0]);
    world.video.push(key(), true, MS(0)).expect("in order");
    // A frame of an encoder at 30 a second comes late, and another is lost.
    let late = |n: u64| n * 1000 / 30 + if n == 5 { 9 } else { 0 };
    for n in (1..30).filter(|n| *n != 9) {
        world.video.push(SLICE, false, MS(late(n))).expect("in order");
    }
    assert_eq!(fps(), 30);
    // Half as many, perhaps as it was asked for.
    for n in 15..60 {
        world.video.push(SLICE, false, MS(n * 1000 / 15)).expect("in order");
    }
    world.video.push(key(), true, MS(5_000)).expect("in order");
    assert_eq!(fps(), 30);
    let formats: Vec<String> = world.said().into_iter().filter(|said| said.contains("generation")).collect();
    assert_eq!(formats.len(), 2, "its size, then its rate: {formats:?}");
}

#[test]
fn streams_of_one_codec_are_renditions_and_run_independently() {
    let (source, [main, small, _audio]) = Source::push_streams([Codec::H264, Codec::H264, Codec::Opus]);
    let producer = source.producer();
    let announced: Vec<_> = producer.streams().iter().map(|info| (info.id.0, info.rendition)).collect();
    assert_eq!(announced, [(0, 0), (1, 1), (2, 0)]);
    let (give, frames) = channel();
    producer.listen(Arc::new(move |event| {
        if let SourceEvent::Frame(frame) = event {
            give.send((frame.stream.0, frame.pts)).expect("the test listens");
        }
    }));
    producer.command(Command::Want([StreamId(0)].into()));
    assert_eq!(main.push(key(), true, MS(40)), Ok(Pushed::Taken));
    assert_eq!(small.push(key(), true, MS(40)), Ok(Pushed::Unwanted));
    producer.command(Command::Want([StreamId(0), StreamId(1)].into()));
    for feed in [&main, &small] {
        assert_eq!(feed.push(key(), true, MS(80)), Ok(Pushed::Taken));
    }
    let [first, second, third] = [(); 3].map(|()| frames.recv().expect("it was taken"));
    assert_eq!([first.0, second.0, third.0], [0, 0, 1]);
    assert_eq!(second.1, third.1, "one frame has one time");
}
