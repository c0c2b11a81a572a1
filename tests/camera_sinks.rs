//! A camera with a source that does not use GStreamer: its frames in the program, snapshots, a replaced source,
//! commands, and an end within a second.
#![cfg(feature = "camera")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use futures_lite::future::{block_on, or, zip};
use serde_json::{Value, json};
use symple::camera::{Camera, Config, Event, FrameEvent, Serve, Signalling, SnapshotError};
use symple::client;
use symple::media::adapt::rate::BitrateLimits;
use symple::media::source::{Command, Listener, Produce, Source, SourceEvent};
use symple::media::{Codec, Format, Frame, StreamId, StreamInfo, VideoFormat};
use symple::net::{ClientEvent, ServerConfig};
use symple::proto::{Status, Token};
use symple::{Client, Server};

const H264: StreamId = StreamId(4);
const OPUS: StreamId = StreamId(5);
const JPEG: StreamId = StreamId(6);

/// Long enough for a machine with other load.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes a frame of each requested stream every 10 ms, beginning with a key frame.
#[derive(Clone, Default)]
struct Fake {
    state: Arc<State>,
    jpeg: bool,
    width: u32,
}

#[derive(Default)]
struct State {
    listener: OnceLock<Listener>,
    wanted: Mutex<BTreeSet<StreamId>>,
    commands: Mutex<Vec<Command>>,
    starts: AtomicUsize,
    /// Does not report that it stopped.
    stuck: AtomicBool,
    key: AtomicBool,
    /// Called when it gets a command.
    asks: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl State {
    fn wanted(&self) -> BTreeSet<StreamId> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn emit(&self, event: SourceEvent) {
        if let Some(listener) = self.listener.get() {
            listener(event);
        }
    }

    fn work(&self) {
        let start = Instant::now();
        let mut known = BTreeSet::new();
        loop {
            let wanted = self.wanted();
            if wanted.is_empty() {
                break;
            }
            let forced = self.key.swap(false, Ordering::AcqRel);
            for stream in &wanted {
                let first = known.insert(*stream);
                let codec = match *stream {
                    H264 => Codec::H264,
                    OPUS => Codec::Opus,
                    _ => Codec::Jpeg,
                };
                let key = first || forced || codec != Codec::H264;
                let data: &[u8] = if key { &[0, 0, 1, 0x65, 1] } else { &[0, 0, 1, 0x41, 1] };
                self.emit(SourceEvent::Frame(Frame {
                    stream: *stream,
                    codec,
                    key,
                    captured: Instant::now(),
                    pts: start.elapsed(),
                    duration: Duration::ZERO,
                    discontinuity: first,
                    encoding: None,
                    data: data.into(),
                }));
            }
            known.retain(|stream| wanted.contains(stream));
            std::thread::sleep(Duration::from_millis(10));
        }
        if !self.stuck.load(Ordering::Acquire) {
            self.emit(SourceEvent::Stopped);
        }
    }
}

impl Produce for Fake {
    fn streams(&self) -> Vec<StreamInfo> {
        let format = VideoFormat { width: self.width, height: 90, fps: 100, profile_level_id: None };
        let video = StreamInfo::new(H264, Codec::H264).with_format(Format::Video(format));
        let jpeg = self.jpeg.then(|| StreamInfo::new(JPEG, Codec::Jpeg));
        [Some(video), Some(StreamInfo::new(OPUS, Codec::Opus)), jpeg].into_iter().flatten().collect()
    }

    fn listen(&self, listener: Listener) {
        assert!(self.state.listener.set(listener).is_ok(), "only one camera uses it");
    }

    fn command(&self, command: Command) {
        let mut commands = self.state.commands.lock().unwrap_or_else(PoisonError::into_inner);
        commands.push(command.clone());
        drop(commands);
        if let Some(asks) = self.state.asks.get() {
            asks();
        }
        match command {
            Command::Want(streams) => {
                let before = std::mem::replace(
                    &mut *self.state.wanted.lock().unwrap_or_else(PoisonError::into_inner),
                    streams.clone(),
                );
                if before.is_empty() && !streams.is_empty() {
                    self.state.starts.fetch_add(1, Ordering::AcqRel);
                    let state = self.state.clone();
                    std::thread::spawn(move || {
                        state.emit(SourceEvent::Started);
                        state.work();
                    });
                }
            }
            Command::KeyFrame(_) => self.state.key.store(true, Ordering::Release),
            _ => {}
        }
    }
}

fn fake(width: u32) -> Fake {
    Fake { jpeg: true, width, ..Fake::default() }
}

fn config(source: &Fake) -> Config {
    let serve = Serve { listen: vec!["127.0.0.1:0".parse().expect("literal")], ..Serve::default() };
    Config {
        signalling: Signalling::Serve(serve),
        linger: Duration::ZERO,
        ..Config::new(Source::new(source.clone()))
    }
}

/// Runs a camera while `work` runs; it must end within a second afterwards.
fn with<T>(camera: &Camera, work: impl Future<Output = T>) -> T {
    let late = async {
        smol::Timer::after(PATIENCE).await;
        panic!("timed out after {PATIENCE:?}");
    };
    let run = camera.run();
    let worked = async {
        let result = work.await;
        let began = Instant::now();
        camera.shutdown();
        (result, began)
    };
    let ((result, began), ()) = block_on(or(zip(worked, run), late));
    let took = began.elapsed();
    println!("it ended within {took:?}");
    assert!(took < Duration::from_secs(1), "it ended after {took:?}");
    result
}

async fn pass(time: Duration) {
    smol::Timer::after(time).await;
}

/// Waits until `is` returns true.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        pass(Duration::from_millis(5)).await;
    }
}

#[test]
fn frames_arrive_in_order_from_a_key_frame_until_the_reader_is_dropped() {
    let source = fake(160);
    let camera = Camera::new(config(&source)).expect("it starts");
    with(&camera, async {
        let mut frames = camera.frames_of(&[Codec::H264], 100);
        assert!(
            matches!(frames.next().await, Some(FrameEvent::Stream { info }) if info.codec == Codec::H264)
        );
        let mut last = None;
        for number in 0..20 {
            let Some(FrameEvent::Frame { frame }) = frames.next().await else { panic!("no frame {number}") };
            assert_eq!(frame.key, number == 0);
            assert!(last.is_none_or(|last| last < frame.pts));
            last = Some(frame.pts);
        }
        assert_eq!(source.state.wanted(), [H264].into());
        drop(frames);
        until(|| source.state.wanted().is_empty()).await;
        assert_eq!(source.state.starts.load(Ordering::Acquire), 1);
    });
}

#[test]
fn a_callback_gets_frames_in_order_until_its_handle_is_dropped() {
    let source = fake(160);
    let camera = Camera::new(config(&source)).expect("it starts");
    with(&camera, async {
        let got: Arc<Mutex<Vec<FrameEvent>>> = Arc::default();
        let (sink, asks) = (got.clone(), camera.clone());
        let subscription = camera.on_frames(&[Codec::H264], move |event| {
            // It is called under no lock of the camera's.
            assert!(!asks.status().streams.is_empty());
            sink.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        });
        let count = || got.lock().unwrap_or_else(PoisonError::into_inner).len();
        until(|| count() > 20).await;
        assert_eq!(source.state.wanted(), [H264].into());
        drop(subscription);
        assert_eq!(Arc::strong_count(&got), 1, "the callback is gone");
        let events = std::mem::take(&mut *got.lock().unwrap_or_else(PoisonError::into_inner));
        assert!(matches!(events[0], FrameEvent::Stream { info } if info.codec == Codec::H264));
        let mut last = None;
        for (number, event) in events[1..].iter().enumerate() {
            let FrameEvent::Frame { frame } = event else { panic!("{event:?}") };
            assert_eq!(frame.key, number == 0);
            assert!(last.is_none_or(|last| last < frame.pts));
            last = Some(frame.pts);
        }
        until(|| source.state.wanted().is_empty()).await;
    });
    // After the end nothing is kept.
    let owned = Arc::new(());
    let (kept, own) = (owned.clone(), camera.clone());
    let subscription = camera.on_frames(&[], move |_| _ = (&kept, &own));
    assert_eq!(Arc::strong_count(&owned), 1, "the callback is gone");
    drop(subscription);
}

#[test]
fn a_callback_that_panics_ends_the_run_and_leaves_nothing_on() {
    let source = fake(160);
    let camera = Camera::new(config(&source)).expect("it starts");
    let owned = Arc::new(());
    let (kept, own) = (owned.clone(), camera.clone());
    let _subscription = camera.on_frames(&[Codec::H264], move |_| {
        _ = (&kept, &own);
        panic!("on purpose");
    });
    let mut frames = camera.frames(1000);
    let run = std::panic::AssertUnwindSafe(|| block_on(camera.run()));
    assert!(std::panic::catch_unwind(run).is_err(), "as one of Camera::on");
    assert_eq!(Arc::strong_count(&owned), 1, "the callback is gone");
    assert!(source.state.wanted().is_empty());
    while block_on(frames.next()).is_some() {}
    assert_eq!(camera.status().panics, 0);
    assert_eq!(block_on(camera.snapshot()).err(), Some(SnapshotError::Shutdown));
}

#[test]
fn a_slow_reader_loses_frames_is_told_and_continues_at_a_key_frame() {
    let source = fake(160);
    let camera = Camera::new(config(&source)).expect("it starts");
    with(&camera, async {
        let mut frames = camera.frames_of(&[Codec::H264], 5);
        assert!(frames.next().await.is_some());
        pass(Duration::from_millis(300)).await;
        let mut after_loss = None;
        while after_loss.is_none() {
            match frames.next().await.expect("frames continue") {
                FrameEvent::Lost { stream, count } => {
                    assert!(stream == H264 && count > 5, "{count}");
                    after_loss = frames.next().await;
                }
                FrameEvent::Frame { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(after_loss, Some(FrameEvent::Frame { frame }) if frame.key), "a key frame");
    });
}

#[test]
fn frames_end_with_the_camera() {
    let source = fake(160);
    let camera = Camera::new(config(&source)).expect("it starts");
    let mut frames = camera.frames(1000);
    with(&camera, async { assert!(frames.next().await.is_some()) });
    while block_on(frames.next()).is_some() {}
    assert!(source.state.wanted().is_empty());
    assert_eq!(block_on(camera.snapshot()).err(), Some(SnapshotError::Shutdown));
}

#[test]
fn a_dropped_run_leaves_nothing_running() {
    let source = fake(160);
    let camera = Camera::new(config(&source)).expect("it starts");
    let held = Arc::new(());
    camera.on({
        let (held, _camera) = (held.clone(), camera.clone());
        move |_| _ = &held
    });
    let mut frames = camera.frames(1000);
    block_on(or(camera.run(), async { assert!(frames.next().await.is_some()) }));
    let late = async {
        pass(PATIENCE).await;
        panic!("frames still arrive");
    };
    block_on(or(async { while frames.next().await.is_some() {} }, late));
    assert!(source.state.wanted().is_empty());
    assert_eq!(block_on(camera.snapshot()).err(), Some(SnapshotError::Shutdown));
    assert_eq!(Arc::strong_count(&held), 1, "the callback is gone");
    // `run` can only be called once.
    block_on(camera.run());
}

#[test]
fn a_snapshot_opens_the_source_and_closes_it() {
    let source = fake(160);
    let camera = Camera::new(config(&source)).expect("it starts");
    with(&camera, async {
        let first = camera.snapshot().await.expect("a picture");
        assert_eq!(first.jpeg[..3], [0, 0, 1]);
        until(|| source.state.wanted().is_empty()).await;
        let again = camera.snapshot().await.expect("a picture");
        assert!(Arc::ptr_eq(&first.jpeg, &again.jpeg), "the same within a second");
        assert_eq!(source.state.starts.load(Ordering::Acquire), 1);
    });
    let none = Fake { jpeg: false, ..fake(160) };
    let camera = Camera::new(config(&none)).expect("it starts");
    with(&camera, async {
        assert_eq!(camera.snapshot().await.err(), Some(SnapshotError::NoJpeg));
    });
}

/// The response to a request: its head and body.
fn get(address: SocketAddr, path: &str, token: Option<&str>) -> (String, Vec<u8>) {
    let mut tcp = TcpStream::connect(address).expect("it listens");
    let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(tcp, "GET {path} HTTP/1.1\r\nHost: localhost\r\n{bearer}Connection: close\r\n\r\n").expect("open");
    let mut answer = vec![];
    tcp.read_to_end(&mut answer).expect("a complete response");
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
    (String::from_utf8_lossy(&answer[..end]).into_owned(), answer[end + 4..].to_vec())
}

#[test]
fn clients_that_may_watch_get_a_snapshot_by_http() {
    let token = Some("s3cret");
    for (jpeg, expected) in [(true, "HTTP/1.1 200"), (false, "HTTP/1.1 404")] {
        let source = Fake { jpeg, ..fake(160) };
        let listen = vec!["127.0.0.1:0".parse().expect("literal")];
        let serve = Serve { listen, token: token.map(Token::new), ..Serve::default() };
        let signalling = Signalling::Serve(serve);
        let camera = Camera::new(Config { signalling, ..config(&source) }).expect("it starts");
        let address = camera.server().expect("its own").addresses()[0];
        with(&camera, async {
            let (head, _) = smol::unblock(move || get(address, "/api/snapshot.jpg", None)).await;
            assert!(head.starts_with("HTTP/1.1 401"), "{head}");
            let (head, _) = smol::unblock(move || get(address, "/metrics", None)).await;
            assert!(head.starts_with("HTTP/1.1 401"), "{head}");
            let (head, body) = smol::unblock(move || get(address, "/metrics", token)).await;
            let text = String::from_utf8(body).expect("text");
            let line = "symple_camera_skipped_frames_total{reason=\"network\"} 0\n";
            assert!(head.starts_with("HTTP/1.1 200") && text.contains(line), "{head}\n{text}");
            assert_eq!(
                source.state.starts.load(Ordering::Acquire),
                0,
                "no snapshot is made without the token"
            );
            let (head, body) = smol::unblock(move || get(address, "/api/snapshot.jpg", token)).await;
            assert!(head.starts_with(expected), "{head}");
            assert_eq!((head.contains("image/jpeg"), body.starts_with(&[0, 0, 1])), (jpeg, jpeg), "{head}");
            let own = head.to_lowercase().contains("cross-origin-resource-policy: same-origin");
            assert!(own, "pages of other origins cannot show it: {head}");
            // The token changes, and the next request needs the new one.
            let change = |config: &mut Config| {
                if let Signalling::Serve(serve) = &mut config.signalling {
                    serve.token = Some(Token::new("other"));
                }
            };
            camera.reconfigure(change).expect("it can change");
            let (head, _) = smol::unblock(move || get(address, "/api/snapshot.jpg", token)).await;
            assert!(head.starts_with("HTTP/1.1 401"), "{head}");
            let (head, _) = smol::unblock(move || get(address, "/api/snapshot.jpg", Some("other"))).await;
            assert!(head.starts_with(expected), "{head}");
        });
    }
}

#[test]
fn bitrates_that_contradict_each_other_are_refused() {
    let small = fake(160);
    let refused = |bitrate| Camera::new(Config { bitrate, ..config(&small) }).err().map(|e| e.code());
    let limits = config(&small).bitrate;
    assert_eq!(refused(BitrateLimits { min: limits.max + 1, ..limits.clone() }), Some("bad-settings"));
    assert_eq!(refused(BitrateLimits { start: limits.max + 1, ..limits }), Some("bad-settings"));
    let camera = Camera::new(config(&small)).expect("it starts");
    let limited = |min, max| camera.reconfigure(|c| (c.bitrate.min, c.bitrate.max) = (min, max));
    assert_eq!(limited(3_000_000, 1_000_000).map_err(|e| e.code()), Err("bad-settings"));
    limited(100_000, 500_000).expect("where it started no longer matters");
}

#[test]
fn a_replaced_source_continues_for_the_same_readers() {
    let (small, large) = (fake(160), fake(320));
    let camera = Camera::new(config(&small)).expect("it starts");
    with(&camera, async {
        let mut frames = camera.frames_of(&[Codec::H264], 1000);
        assert!(frames.next().await.is_some() && frames.next().await.is_some());
        camera
            .reconfigure(|config| {
                config.source = Source::new(large.clone()).into();
                config.bitrate.max = 500_000;
                config.bitrate.start = 400_000;
            })
            .expect("it can change");
        let format = loop {
            if let FrameEvent::Stream { info } = frames.next().await.expect("frames continue") {
                break info.video().expect("video");
            }
        };
        assert_eq!(format.width, 320);
        assert!(matches!(frames.next().await, Some(FrameEvent::Frame { frame }) if frame.key));
        assert!(small.state.wanted().is_empty());
        let commands = large.state.commands.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let bitrate = commands.iter().find_map(|command| match command {
            Command::Bitrate { bps, .. } => Some(*bps),
            _ => None,
        });
        assert!(bitrate.is_some_and(|bps| bps <= 500_000), "{commands:?}");
        let refused = camera.reconfigure(|config| config.user = "another".into());
        assert_eq!(refused.map_err(|e| e.code()), Err("bad-setting"));
    });
}

#[test]
fn a_source_may_query_the_camera_while_handling_a_command() {
    let (first, second) = (fake(160), fake(320));
    let camera = Camera::new(config(&first)).expect("it starts");
    for source in [&first, &second] {
        let camera = camera.clone();
        let asks = Box::new(move || _ = (camera.status(), camera.controls()));
        assert!(source.state.asks.set(asks).is_ok(), "set once");
    }
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let starts = with(&camera, async {
            let mut frames = camera.frames_of(&[Codec::H264], 1000);
            assert!(frames.next().await.is_some());
            camera.read_controls();
            let next = Source::new(second.clone());
            camera.reconfigure(|config| config.source = next.into()).expect("it can change");
            until(|| !second.state.wanted().is_empty()).await;
            second.state.starts.load(Ordering::Acquire)
        });
        _ = done.send(starts);
    });
    assert_eq!(is_done.recv_timeout(PATIENCE), Ok(1), "deadlock");
}

#[test]
fn a_source_that_does_not_stop_delays_the_end_by_less_than_a_second() {
    let source = fake(160);
    source.state.stuck.store(true, Ordering::Release);
    let camera = Camera::new(config(&source)).expect("it starts");
    let mut frames = camera.frames(10);
    with(&camera, async { assert!(frames.next().await.is_some()) });
}

/// Sends a command and waits for the reply.
async fn ask(peer: &Client, to: &str, node: &str, data: Value) -> (Status, Value) {
    let mut events = peer.events(64);
    let asked = peer.command(to, node, "left", &data).expect("online");
    loop {
        match events.next().await.expect("it is online") {
            ClientEvent::Event { event: client::Event::Reply { id, result } } if id == asked => {
                let reply = result.expect("a reply");
                return (reply.status().expect("a status"), reply.data().expect("data"));
            }
            _ => {}
        }
    }
}

#[test]
fn two_cameras_share_a_server_and_answer_commands() {
    let mut server = ServerConfig::listen(["127.0.0.1:0".parse().expect("literal")]);
    server.hub.rooms = vec!["public".into()];
    let server = Server::bind(server).expect("a free port");
    let (door, yard) = (fake(160), fake(160));
    let at = |source: &Fake, user: &str| {
        let signalling = Signalling::Within(server.clone());
        Camera::new(Config { signalling, user: user.into(), ..config(source) }).expect("it starts")
    };
    let (door, yard) = (at(&door, "door"), at(&yard, "yard"));
    door.on_command("pan", |command| {
        let degrees: i64 = command.data().expect("a number");
        let action = command.action();
        command.reply(Status::OK, &json!({ "done": action, "degrees": degrees })).expect("online");
    });
    yard.on(|event| {
        if let Event::Client { event: client::Event::Command { .. } } = event {
            panic!("it gets no commands");
        }
    });
    let url = format!("ws://{}", server.addresses()[0]);
    let peer =
        Client::new(&url, client::Config { rooms: vec!["public".into()], ..client::Config::new("bob") });
    let peer = peer.expect("a good address");
    let mut events = peer.events(64);
    let asks = async {
        let mut known = std::collections::BTreeMap::new();
        while known.len() < 2 {
            if let Some(ClientEvent::Event { event: client::Event::PeerAdded { peer: added } }) =
                events.next().await
            {
                known.insert(added.user.clone(), added.address());
            }
        }
        let reply = ask(&peer, known["door"].as_str(), "pan", json!(7)).await;
        assert_eq!(reply, (Status::OK, json!({ "done": "left", "degrees": 7 })));
        door.shutdown();
        loop {
            if let Some(ClientEvent::Event { event: client::Event::PeerRemoved { peer: gone } }) =
                events.next().await
            {
                break assert_eq!(gone.user, "door");
            }
        }
        yard.shutdown();
        peer.close();
        server.shutdown();
    };
    let late = async {
        smol::Timer::after(PATIENCE).await;
        panic!("timed out after {PATIENCE:?}");
    };
    let cameras = zip(door.run(), yard.run());
    let all = zip(zip(cameras, server.run()), zip(peer.run(), asks));
    block_on(or(async { _ = all.await }, late));
}
