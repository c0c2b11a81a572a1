//! A program plays what a camera sends, over real sockets: in sync as seen behind the sinks, and with key frames where the
//! player needs them.
#![cfg(all(feature = "camera-gst", feature = "calls"))]

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use futures_lite::future::{or, zip};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use symple::Client;
use symple::call::body::EndReason;
use symple::calling::{Calling, Conversation};
use symple::camera::{Camera, Config, Serve, Signalling};
use symple::client;
use symple::media::playback::{Event, Playback, Settings};
use symple::media::source::{Feed, Request, Source};
use symple::media::{Codec, Kind};
use symple::net::ClientEvent;

/// Long enough for a machine with other load.
const PATIENCE: Duration = Duration::from_secs(60);
const VIDEO_FRAME: Duration = Duration::from_nanos(1_000_000_000 / 30);
const PACKET: Duration = Duration::from_millis(20);
/// What is encoded, and then repeated: whole seconds, and as many frames as have a grey of their own, many times.
const SECONDS: u32 = 8;

type Coded = Vec<(Arc<[u8]>, bool)>;

/// Takes this many encoded buffers from a pipeline with an appsink `out`. Each is preceded by what `feed` does.
fn encoded(line: &str, count: u32, feed: impl Fn(&gst::Pipeline, u32)) -> Coded {
    gst::init().expect("GStreamer starts");
    let pipeline = gst::parse::launch(line).expect("a pipeline").downcast::<gst::Pipeline>().expect("one");
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().expect("it is named");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let take = |number| {
        feed(&pipeline, number);
        let sample = sink.pull_sample().expect("a buffer for each");
        let buffer = sample.buffer().expect("a sample has one");
        let key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        (buffer.map_readable().expect("readable").as_slice().into(), key)
    };
    let all = (0..count).map(take).collect();
    pipeline.set_state(gst::State::Null).expect("it stops");
    all
}

/// Frames of one grey each, in eight steps, so that each shows when it was captured, modulo eight frames.
fn greys() -> &'static Coded {
    static GREYS: OnceLock<Coded> = OnceLock::new();
    GREYS.get_or_init(|| {
        let line = "appsrc name=in format=time caps=video/x-raw,format=I420,width=160,height=128,framerate=30/1 ! \
                    x264enc tune=zerolatency key-int-max=240 ! \
                    video/x-h264,profile=baseline,stream-format=byte-stream,alignment=au ! \
                    appsink name=out sync=false";
        encoded(line, SECONDS * 30, |pipeline, number| {
            let source = pipeline.by_name("in").and_downcast::<gst_app::AppSrc>().expect("named above");
            let bytes = [vec![20 + (number % 8) as u8 * 28; 160 * 128], vec![128; 160 * 128 / 2]].concat();
            let mut buffer = gst::Buffer::from_slice(bytes);
            let fields = buffer.get_mut().expect("made in the line above");
            fields.set_pts(gst::ClockTime::try_from(VIDEO_FRAME * number).ok());
            source.push_buffer(buffer).expect("it takes frames");
        })
    })
}

/// A tick at each full second.
fn ticks() -> &'static Coded {
    static TICKS: OnceLock<Coded> = OnceLock::new();
    TICKS.get_or_init(|| {
        let line = "audiotestsrc samplesperbuffer=960 wave=ticks tick-interval=1000000000 freq=2000 \
                    sine-periods-per-tick=40 ! audio/x-raw,rate=48000,channels=2 ! opusenc ! \
                    appsink name=out sync=false";
        encoded(line, SECONDS * 50, |_, _| {})
    })
}

/// A camera whose frames are made here; it ends when this is dropped.
struct Scene {
    camera: Camera,
    url: String,
    /// When the times of its frames began.
    zero: Instant,
    shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<()>>,
    /// One at a time, as times are measured.
    _alone: MutexGuard<'static, ()>,
}

/// Pushes frames, and begins anew when a key frame is requested.
fn push(feed: &Feed, frames: &Coded, every: Duration, late: Duration, zero: Instant, scene: &Shared) {
    let mut index = 0;
    let mut answered = 0;
    for number in 0.. {
        let pts = every * number;
        thread::sleep((pts + late).saturating_sub(zero.elapsed()));
        if scene.over.load(Ordering::Relaxed) {
            return;
        }
        let requested = scene.key_frames.load(Ordering::Relaxed);
        // Where the greys begin anew, too.
        if feed.stream().0 == 0 && requested > answered && number % 8 == 0 {
            (index, answered) = (0, requested);
        }
        let (data, key) = &frames[index % frames.len()];
        feed.push_captured(data.clone(), *key, pts, zero + pts).expect("a valid frame");
        index += 1;
    }
}

#[derive(Default)]
struct Shared {
    /// How many were requested.
    key_frames: AtomicU32,
    over: AtomicBool,
}

impl Scene {
    fn new() -> Scene {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (source, [video, audio]) = Source::push_streams([Codec::H264, Codec::Opus]);
        let serve = Serve { listen: vec!["127.0.0.1:0".parse().expect("literal")], ..Serve::default() };
        let signalling = Signalling::Serve(serve);
        let config = Config { signalling, vp8: false, adapt: false, ..Config::new(source) };
        let camera = Camera::new(config).expect("a free port");
        let url = camera.urls()[0].replace("http", "ws");
        let shared = Arc::<Shared>::default();
        video.on({
            let shared = shared.clone();
            move |request| {
                if matches!(request, Request::KeyFrame) {
                    shared.key_frames.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let (greys, ticks) = (greys(), ticks());
        let zero = Instant::now();
        let ms = Duration::from_millis;
        // Video takes longer to encode.
        let pictures = {
            let shared = shared.clone();
            thread::spawn(move || push(&video, greys, VIDEO_FRAME, ms(60), zero, &shared))
        };
        let sound = {
            let shared = shared.clone();
            thread::spawn(move || push(&audio, ticks, PACKET, ms(20), zero, &shared))
        };
        let run = camera.run();
        let threads = vec![pictures, sound, thread::spawn(move || smol::block_on(run))];
        Scene { camera, url, zero, shared, threads, _alone: alone }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.camera.shutdown();
        self.threads.drain(..).for_each(|thread| _ = thread.join());
    }
}

/// Runs a client that watches the camera, and what is done with that.
fn watching<T>(url: &str, act: impl AsyncFnOnce(&mut Conversation) -> T) -> T {
    let config = client::Config { rooms: vec!["public".into()], ..client::Config::new("watcher") };
    let client = Client::new(url, config).expect("a good address");
    let mut events = client.events(64);
    let calling = Calling::new(&client).expect("a free port");
    let acts = async {
        let found = |event| match event {
            ClientEvent::Event { event: client::Event::PeerAdded { peer } } => Some(peer.address()),
            _ => None,
        };
        let camera = events.find_map(found).await.expect("the camera is there");
        let watch = calling.watch(camera.as_str(), [Kind::Video, Kind::Audio]);
        let result = act(&mut watch.expect("the camera is there")).await;
        calling.shutdown();
        client.close();
        result
    };
    let late = async {
        smol::Timer::after(PATIENCE).await;
        panic!("not done within {PATIENCE:?}");
    };
    let drivers = zip(client.run(), calling.run());
    smol::block_on(or(async { zip(acts, drivers).await.0 }, late))
}

/// A place behind a sink: what arrives is shown or heard then.
struct Behind {
    port: u16,
    seen: Receiver<(Instant, Vec<u8>)>,
}

impl Behind {
    fn new() -> Behind {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let port = socket.local_addr().expect("bound").port();
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
        let (tell, seen) = channel();
        thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while let Ok(count) = socket.recv(&mut buffer) {
                if tell.send((Instant::now(), buffer[..count].to_vec())).is_err() {
                    return;
                }
            }
        });
        Behind { port, seen }
    }

    fn sink(&self, caps: &str) -> String {
        format!("{caps} ! udpsink host=127.0.0.1 port={}", self.port)
    }
}

fn median(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// `after` less `before`, in microseconds.
fn between(before: Instant, after: Instant) -> i64 {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).expect("less than an hour");
    match after.checked_duration_since(before) {
        Some(duration) => micros(duration),
        None => -micros(before - after),
    }
}

#[test]
fn lips_are_in_sync_behind_the_sinks() {
    let scene = Scene::new();
    let (screen, speaker) = (Behind::new(), Behind::new());
    let video = screen.sink("videoconvert ! videoscale ! video/x-raw,format=GRAY8,width=16,height=16");
    let audio = speaker.sink("audioconvert ! audio/x-raw,format=S16LE,channels=1,rate=48000");
    let settings = Settings {
        video: video.parse().expect("elements"),
        audio: audio.parse().expect("elements"),
        ..Settings::default()
    };
    let playback = Playback::start(settings).expect("nothing is missing");
    let stats = watching(&scene.url, async |watch| {
        let enough = async {
            smol::Timer::after(Duration::from_secs(u64::from(SECONDS) + 2)).await;
            None
        };
        let end = or(async { Some(watch.play(&playback, |event| println!("{event:?}")).await) }, enough);
        assert_eq!(end.await, None, "the call goes on");
        println!("{:?}", watch.stats().expect("the call goes on").received);
        playback.stats()
    });
    drop(playback);
    let zero = scene.zero;
    // How long each frame took until it was shown, modulo eight frames.
    let frames: Vec<_> = screen.seen.try_iter().collect();
    let packets: Vec<_> = speaker.seen.try_iter().collect();
    let mut skews = Vec::new();
    let mut quiet_until = zero;
    for (at, bytes) in &packets {
        let samples = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
        let onset = samples.into_iter().position(|sample| sample.unsigned_abs() > 4_000);
        let Some(index) = onset.filter(|_| *at >= quiet_until) else { continue };
        let heard = *at + Duration::from_micros(index as u64 * 1_000_000 / 48_000);
        quiet_until = heard + Duration::from_millis(500);
        let latency = between(zero, heard).rem_euclid(1_000_000);
        let cycle = 8 * 1_000_000 / 30;
        let skew = |(at, bytes): &(Instant, Vec<u8>)| {
            let step = i64::from((u32::from(bytes[128]).saturating_sub(6) / 28).min(7));
            let skew = (between(zero, *at) - step * 1_000_000 / 30 - latency).rem_euclid(cycle);
            if skew > cycle / 2 { skew - cycle } else { skew }
        };
        let near = |(at, _): &&(Instant, Vec<u8>)| between(heard, *at).abs() < 200_000;
        let around: Vec<i64> = frames.iter().filter(near).map(skew).collect();
        if !around.is_empty() {
            println!("heard after {latency} µs, video {} µs later", median(around.clone()));
            skews.push(median(around));
        }
    }
    println!("{stats:?}");
    assert!(skews.len() >= 5, "video and audio were seen together: {skews:?}");
    // Not all, as a busy machine can delay a frame on its way.
    assert!(median(skews.clone()).abs() <= 40_000, "{skews:?}");
    assert!(stats.shown > 150 && stats.heard > 80, "{stats:?}");
}

#[test]
fn key_frames_that_the_player_needs_are_requested_of_the_sender() {
    let scene = Scene::new();
    let settings = Settings {
        video: "/dev/symple-none".parse().expect("a path"),
        audio: "none".parse().expect("a word"),
        ..Settings::default()
    };
    let playback = Playback::start(settings).expect("nothing is missing");
    let (failures, failed) = channel();
    let requested = || scene.shared.key_frames.load(Ordering::Relaxed);
    watching(&scene.url, async |watch| {
        let listener = move |event| {
            println!("{event:?}");
            if let Event::Failed { retry, .. } = event {
                _ = failures.send(retry);
            }
        };
        let failure = smol::unblock(move || failed.recv_timeout(PATIENCE));
        let again = async {
            assert!(
                failure.await.is_ok_and(|retry| retry.is_some()),
                "the output is missing, and tried again"
            );
            // The failure loses what the decoder knew.
            let before = requested();
            while requested() == before {
                smol::Timer::after(Duration::from_millis(10)).await;
            }
            None
        };
        let played = or(async { Some(watch.play(&playback, listener).await) }, again);
        assert_eq!(played.await, None, "the call goes on");
        watch.hang_up(EndReason::Ended);
        assert_eq!(watch.play(&playback, drop).await.reason, EndReason::Ended);
    });
}
