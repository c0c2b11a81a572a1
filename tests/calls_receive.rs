//! A program watches a camera over real sockets, without a browser: each frame arrives as it was pushed.
#![cfg(all(feature = "camera", feature = "calls"))]

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use futures_lite::future::{block_on, or, zip};
use symple::Client;
use symple::call::CallError;
use symple::call::body::EndReason;
use symple::calling::{Calling, Conversation, FrameEvent};
use symple::camera::{AnswerPolicy, Camera, Config, Event, Serve, Signalling};
use symple::client;
use symple::media::source::{Feed, Request, Source};
use symple::media::{Codec, Frame, Kind};
use symple::net::ClientEvent;

/// Long enough for a machine with other load.
const PATIENCE: Duration = Duration::from_secs(60);
const FRAME_EVERY: Duration = Duration::from_millis(20);

/// 1280 x 720, constrained baseline 3.1.
const SPS: &[u8] = &[0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe4];
const PPS: &[u8] = &[0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80];
const IDR: &[u8] = &[0, 0, 0, 1, 0x65, 0x88, 0x84];
const SLICE: &[u8] = &[0, 0, 0, 1, 0x41, 0x9a, 0x24];

type Pushed = Arc<Mutex<Vec<Arc<[u8]>>>>;

/// A frame that no other is equal to.
fn made(codec: Codec, number: u32, key: bool) -> Arc<[u8]> {
    let mut data = match codec {
        Codec::Opus => vec![31 << 3; 80],
        _ if key => [SPS, PPS, IDR, &[0x5a; 9000]].concat(),
        _ => [SLICE, &[0x5a; 2500]].concat(),
    };
    // Without zeros, which would need emulation prevention.
    data.extend((0..5).map(|i| 0x80 | (number >> (7 * i)) as u8));
    data.into()
}

/// A camera whose frames are made here; it ends when this is dropped.
struct Scene {
    camera: Camera,
    url: String,
    pushed: Pushed,
    over: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

fn push(feed: &Feed, codec: Codec, pushed: &Pushed, over: &AtomicBool) {
    let wanted = Arc::new(AtomicBool::new(true));
    let asked = wanted.clone();
    feed.on(move |request| {
        if matches!(request, Request::Start | Request::KeyFrame) {
            asked.store(true, Ordering::Relaxed);
        }
    });
    let began = Instant::now();
    for number in 0.. {
        let pts = FRAME_EVERY * number;
        thread::sleep(pts.saturating_sub(began.elapsed()));
        if over.load(Ordering::Relaxed) {
            return;
        }
        let key = wanted.swap(false, Ordering::Relaxed);
        let data = made(codec, number, key);
        pushed.lock().unwrap_or_else(PoisonError::into_inner).push(data.clone());
        feed.push(data, key || codec == Codec::Opus, pts).expect("a valid frame");
    }
}

impl Scene {
    fn new(codec: Codec, change: impl FnOnce(&mut Config)) -> Scene {
        let (source, feed) = Source::push(codec);
        let serve = Serve { listen: vec!["127.0.0.1:0".parse().expect("literal")], ..Serve::default() };
        let mut config = Config {
            signalling: Signalling::Serve(serve),
            vp8: false,
            adapt: false,
            // Each frame alone, so that they can be compared.
            audio_packet: Duration::ZERO,
            ..Config::new(source)
        };
        change(&mut config);
        let camera = Camera::new(config).expect("a free port");
        let url = camera.urls()[0].replace("http", "ws");
        let (pushed, over) = (Pushed::default(), Arc::new(AtomicBool::new(false)));
        let encoder = thread::spawn({
            let (pushed, over) = (pushed.clone(), over.clone());
            move || push(&feed, codec, &pushed, &over)
        });
        let run = camera.run();
        let threads = vec![encoder, thread::spawn(move || block_on(run))];
        Scene { camera, url, pushed, over, threads }
    }

    /// The position of a frame among those that were pushed.
    fn position(&self, frame: &Frame) -> usize {
        let pushed = self.pushed.lock().unwrap_or_else(PoisonError::into_inner);
        pushed.iter().position(|data| *data == frame.data).expect("it was pushed")
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.camera.shutdown();
        self.threads.drain(..).for_each(|thread| _ = thread.join());
    }
}

/// Runs a client with its calls, and what is done with them once the camera is there.
fn with_calls<T>(url: &str, act: impl AsyncFnOnce(&Calling, &str) -> T) -> T {
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
        let result = act(&calling, camera.as_str()).await;
        calling.shutdown();
        client.close();
        result
    };
    let late = async {
        smol::Timer::after(PATIENCE).await;
        panic!("nothing within {PATIENCE:?}");
    };
    let drivers = zip(client.run(), calling.run());
    smol::block_on(or(async { zip(acts, drivers).await.0 }, late))
}

async fn frames(watch: &mut Conversation, count: usize) -> Vec<Frame> {
    let mut out = vec![];
    while out.len() < count {
        match watch.next().await {
            Some(FrameEvent::Frame { frame }) => out.push(frame),
            Some(event) => panic!("{event:?}"),
            None => panic!("{:?} after {} frames", watch.end(), out.len()),
        }
    }
    out
}

#[test]
fn each_frame_of_a_camera_arrives_as_it_was_pushed() {
    for codec in [Codec::H264, Codec::Opus] {
        let scene = Scene::new(codec, |_| {});
        with_calls(&scene.url, async |calling, camera| {
            let mut watch = calling.watch(camera, [Kind::Video, Kind::Audio]).expect("the camera is there");
            assert!(matches!(calling.watch(camera, [Kind::Video]), Err(CallError::Exists(_))));
            let received = frames(&mut watch, 100).await;
            assert!(received[0].key && received.iter().all(|frame| frame.codec == codec));
            let first = scene.position(&received[0]);
            let at: Vec<usize> = received.iter().map(|frame| scene.position(frame) - first).collect();
            assert_eq!(at, (0..100).collect::<Vec<_>>(), "{codec:?}: in order, and none is missing");
            // The first report moves a stream back whose first frame took longer than the others, once.
            let steps: Vec<Duration> = received.windows(2).map(|pair| pair[1].pts - pair[0].pts).collect();
            let near = |step: &&Duration| step.abs_diff(FRAME_EVERY) < Duration::from_millis(5);
            let others: Vec<&Duration> = steps.iter().filter(|step| !near(step)).collect();
            assert!(
                others.len() <= 1 && others.iter().all(|step| **step < FRAME_EVERY),
                "{codec:?}: {steps:?}"
            );
            let stats = watch.stats().expect("the call goes on");
            assert!(stats.connected && stats.packets == 0 && stats.received.frames >= 100, "{stats:?}");
            assert_eq!((stats.received.lost, stats.received.dropped), (0, 0));
            if codec == Codec::H264 {
                watch.request_key_frame(received[0].stream);
                let more = frames(&mut watch, 50).await;
                assert!(more.iter().any(|frame| frame.key), "it was asked for");
            }
            watch.hang_up(EndReason::Ended);
            while watch.next().await.is_some() {}
            assert_eq!(watch.end().map(|end| end.reason), Some(EndReason::Ended));
            assert_eq!(watch.stats(), None);
        });
        // The message may be slower than the end of the media.
        let late = Instant::now() + PATIENCE;
        while !scene.camera.status().viewers.is_empty() {
            assert!(Instant::now() < late, "the camera does not know that the call has ended");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_watch_that_is_dropped_hangs_up_and_the_next_one_begins_at_a_key_frame() {
    let scene = Scene::new(Codec::H264, |_| {});
    let left = Arc::new(AtomicBool::new(false));
    scene.camera.on({
        let left = left.clone();
        move |event| {
            if let Event::ViewerLeft { end, .. } = event {
                left.store(end.reason == EndReason::Ended, Ordering::Relaxed);
            }
        }
    });
    with_calls(&scene.url, async |calling, camera| {
        let mut watch = calling.watch(camera, [Kind::Video]).expect("the camera is there");
        frames(&mut watch, 10).await;
        drop(watch);
        while !left.load(Ordering::Relaxed) {
            smol::Timer::after(Duration::from_millis(10)).await;
        }
        let mut watch = calling.watch(camera, [Kind::Video]).expect("the call before has ended");
        assert!(frames(&mut watch, 10).await[0].key);
    });
}

#[test]
fn a_slow_reader_loses_frames_up_to_a_key_frame_which_is_requested() {
    let scene = Scene::new(Codec::H264, |_| {});
    with_calls(&scene.url, async |calling, camera| {
        let mut watch = calling.watch(camera, [Kind::Video]).expect("the camera is there");
        frames(&mut watch, 10).await;
        smol::Timer::after(FRAME_EVERY * 150).await;
        let mut before_loss = 0;
        let lost = loop {
            match watch.next().await.expect("the call goes on") {
                FrameEvent::Frame { .. } => before_loss += 1,
                FrameEvent::Lost { count, .. } => break count,
                event => panic!("{event:?}"),
            }
        };
        assert!(before_loss <= 100 && lost >= 40, "{before_loss} before {lost} were lost");
        assert!(frames(&mut watch, 10).await[0].key);
    });
}

#[test]
fn a_call_that_is_refused_tells_why() {
    let scene = Scene::new(Codec::H264, |config| config.answer = AnswerPolicy::Ask);
    let camera = scene.camera.clone();
    scene.camera.on(move |event| {
        if let Event::Incoming { id, .. } = event {
            camera.reject(id, EndReason::NotAllowed).expect("it is ringing");
        }
    });
    with_calls(&scene.url, async |calling, camera| {
        let mut watch = calling.watch(camera, [Kind::Video]).expect("the camera is there");
        assert!(watch.next().await.is_none());
        assert_eq!(watch.end().map(|end| end.reason), Some(EndReason::NotAllowed));
        // What the camera does not send.
        let mut nobody = calling.watch("nobody|nowhere", [Kind::Video]).expect("it rings");
        nobody.hang_up(EndReason::Ended);
        assert!(nobody.next().await.is_none());
    });
    scene.camera.on(drop);
}

#[test]
fn a_camera_that_is_called_calls_nobody_of_this_kind() {
    let scene = Scene::new(Codec::H264, |_| {});
    let (tell, told) = std::sync::mpsc::channel();
    scene.camera.on(move |event| {
        if let Event::CallFailed { end, .. } = event {
            _ = tell.send(end.reason);
        }
    });
    with_calls(&scene.url, async |_, _| {
        scene.camera.call("watcher").expect("it is there");
        let ended = smol::unblock(move || told.recv_timeout(PATIENCE)).await;
        assert_eq!(ended, Ok(EndReason::Declined));
    });
}

#[test]
fn the_example_writes_what_it_watches() {
    let scene = Scene::new(Codec::H264, |_| {});
    let test = std::env::current_exe().expect("this test");
    let built = test.parent().and_then(|deps| deps.parent()).expect("a folder of the build");
    let file = std::env::temp_dir().join(format!("symple-watch-{}.h264", std::process::id()));
    let example = Command::new(built.join("examples").join("watch"))
        .args([&scene.url, "camera"])
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the example was built");
    let began = Instant::now();
    let enough = |data: &[u8]| data.len() > 300_000;
    let written = loop {
        let data = std::fs::read(&file).unwrap_or_default();
        if enough(&data) || began.elapsed() > PATIENCE {
            break data;
        }
        thread::sleep(Duration::from_millis(50));
    };
    scene.camera.shutdown();
    let output = example.wait_with_output().expect("it ends with the camera");
    _ = std::fs::remove_file(&file);
    assert!(enough(&written), "{} bytes within {PATIENCE:?}", written.len());
    assert!(written.starts_with(SPS));
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && words.contains("100 frames of video, 0 of audio"), "{words}");
    assert!(words.contains("the call has ended: "), "{words}");
    let pushed = scene.pushed.lock().unwrap_or_else(PoisonError::into_inner);
    let first = pushed.iter().position(|data| written.starts_with(data)).expect("it begins with a frame");
    let expected: Vec<u8> = pushed[first..].iter().flat_map(|data| data.iter().copied()).collect();
    let len = written.len().min(expected.len());
    assert!(written[..len] == expected[..len], "frame after frame");
}
