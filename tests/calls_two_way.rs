//! Programs call each other over real sockets, without a browser: each frame arrives as it was pushed, both ways.
#![cfg(all(feature = "calls", feature = "server"))]

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use futures_lite::future::{block_on, or, zip};
use symple::call::body::EndReason;
use symple::call::{CallError, State};
use symple::calling::{Call, Calling, Conversation, FrameEvent};
use symple::client;
use symple::media::Kind::{self, Audio, Video};
use symple::media::error::{ErrorKind, MediaError};
use symple::media::source::{Feed, Request, Source, SourceState};
use symple::media::{Codec, Frame};
use symple::net::{ClientEvent, ServerConfig};
use symple::rtc::Directions;
use symple::{Client, Server};

/// Long enough for a machine with other load.
const PATIENCE: Duration = Duration::from_secs(90);
const FRAME_EVERY: Duration = Duration::from_millis(20);

/// 1280 x 720, constrained baseline 3.1.
const SPS: &[u8] = &[0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe4];
const PPS: &[u8] = &[0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80];
const IDR: &[u8] = &[0, 0, 0, 1, 0x65, 0x88, 0x84];
const SLICE: &[u8] = &[0, 0, 0, 1, 0x41, 0x9a, 0x24];

type Pushed = Arc<Mutex<Vec<Arc<[u8]>>>>;

/// A frame that no other is equal to.
fn made(codec: Codec, who: u8, number: u32, key: bool) -> Arc<[u8]> {
    let mut data = match codec {
        Codec::Opus => vec![31 << 3; 80],
        _ if key => [SPS, PPS, IDR, &[0x5a; 9000]].concat(),
        _ => [SLICE, &[0x5a; 2500]].concat(),
    };
    // Without zeros, which would need emulation prevention.
    data.push(0x80 | who);
    data.extend((0..5).map(|i| 0x80 | (number >> (7 * i)) as u8));
    data.into()
}

/// One program: a client with its calls, and an encoder for each kind.
struct Program {
    client: Client,
    calling: Calling,
    pushed: Pushed,
    /// The bitrate that the video encoder was asked for last, and how often encoders were started and stopped.
    bitrate: Arc<AtomicU32>,
    starts: Arc<AtomicU32>,
    stops: Arc<AtomicU32>,
    over: Arc<AtomicBool>,
    encoders: Vec<thread::JoinHandle<()>>,
}

impl Program {
    fn new(url: &str, who: u8) -> Program {
        let user = ["alice", "bob"][usize::from(who)];
        let config = client::Config { rooms: vec!["public".into()], ..client::Config::new(user) };
        let client = Client::new(url, config).expect("a good address");
        let calling = Calling::new(&client).expect("a free port");
        let (source, feeds) = Source::push_streams([Codec::H264, Codec::Opus]);
        calling.set_source(source);
        let mut program = Program {
            client,
            calling,
            pushed: Pushed::default(),
            bitrate: Arc::default(),
            starts: Arc::default(),
            stops: Arc::default(),
            over: Arc::default(),
            encoders: vec![],
        };
        for (feed, codec) in feeds.into_iter().zip([Codec::H264, Codec::Opus]) {
            let encoder = program.encoder(feed, codec, who);
            program.encoders.push(thread::spawn(encoder));
        }
        program
    }

    fn encoder(&self, feed: Feed, codec: Codec, who: u8) -> impl FnOnce() + Send + 'static {
        let (pushed, over) = (self.pushed.clone(), self.over.clone());
        let key = Arc::new(AtomicBool::new(true));
        feed.on({
            let key = key.clone();
            let (bitrate, starts, stops) = (self.bitrate.clone(), self.starts.clone(), self.stops.clone());
            move |request| match request {
                Request::Start => {
                    starts.fetch_add(1, Ordering::Relaxed);
                    key.store(true, Ordering::Relaxed);
                }
                Request::Stop => _ = stops.fetch_add(1, Ordering::Relaxed),
                Request::KeyFrame => key.store(true, Ordering::Relaxed),
                Request::Bitrate { bps } => bitrate.store(bps, Ordering::Relaxed),
                _ => {}
            }
        });
        move || {
            let began = Instant::now();
            for number in 0.. {
                let pts = FRAME_EVERY * number;
                thread::sleep(pts.saturating_sub(began.elapsed()));
                if over.load(Ordering::Relaxed) {
                    return;
                }
                if !feed.is_wanted() {
                    continue;
                }
                let key = key.swap(false, Ordering::Relaxed) || codec == Codec::Opus;
                let data = made(codec, who, number, key);
                pushed.lock().unwrap_or_else(PoisonError::into_inner).push(data.clone());
                feed.push(data, key, pts).expect("a valid frame");
            }
        }
    }

    /// Whether a frame is one that was pushed here.
    fn made(&self, frame: &Frame) -> bool {
        self.pushed.lock().unwrap_or_else(PoisonError::into_inner).contains(&frame.data)
    }

    fn address(&self) -> String {
        self.client.peer().expect("it is online").address().as_str().to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.calling.shutdown();
        self.client.close();
        self.encoders.drain(..).for_each(|encoder| _ = encoder.join());
    }
}

/// A server and two programs that see each other, as tasks that `spawn` runs; then what is done with them.
fn with_two(spawn: impl Fn(Task), act: impl AsyncFnOnce(&Program, &Program)) {
    with_two_for(PATIENCE, spawn, act);
}

fn with_two_for(patience: Duration, spawn: impl Fn(Task), act: impl AsyncFnOnce(&Program, &Program)) {
    let address = "127.0.0.1:0".parse().expect("literal");
    let server = Server::bind(ServerConfig::listen([address])).expect("a free port");
    let url = format!("ws://{}", server.addresses()[0]);
    let (alice, bob) = (Program::new(&url, 0), Program::new(&url, 1));
    let mut events = [alice.client.events(64), bob.client.events(64)];
    spawn(Box::pin(server.run()));
    for program in [&alice, &bob] {
        let (client, calls) = (program.client.run(), program.calling.run());
        spawn(Box::pin(async move { _ = zip(client, calls).await }));
    }
    let acts = async {
        for events in &mut events {
            let added =
                |event| matches!(event, ClientEvent::Event { event: client::Event::PeerAdded { .. } });
            assert!(events.any(added).await, "they see each other");
        }
        act(&alice, &bob).await;
    };
    let late = async {
        smol::Timer::after(patience).await;
        panic!("not done within {patience:?}");
    };
    block_on(or(acts, late));
    drop((alice, bob));
    server.shutdown();
}

type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn bare(task: Task) {
    thread::spawn(move || block_on(task));
}

/// The kinds of the next frames, each of which the other side pushed; until all that are `expected` came.
async fn receives(call: &mut Conversation, from: &Program, expected: &[Kind]) {
    let expected: BTreeSet<Kind> = expected.iter().copied().collect();
    let mut seen = BTreeSet::new();
    while seen != expected {
        match call.next().await {
            Some(FrameEvent::Frame { frame }) => {
                assert!(from.made(&frame), "a frame of somebody else");
                seen.insert(frame.codec.kind());
            }
            Some(_) => {}
            None => panic!("{:?} after {seen:?}", call.end()),
        }
    }
}

/// Reads what is there, until nothing came for half a second.
async fn silence(call: &mut Conversation) {
    let quiet = || async {
        smol::Timer::after(Duration::from_millis(500)).await;
        None
    };
    while let Some(event) = or(call.next(), quiet()).await {
        drop(event);
    }
}

async fn connect(from: &Program, to: &Program, call: Call, grant: Directions) -> [Conversation; 2] {
    let mut incoming = to.calling.incoming();
    let made = from.calling.call(&to.address(), call).expect("it is there");
    let arrived = incoming.next().await.expect("it rings");
    assert_eq!(arrived.peer().as_str(), from.address());
    let taken = arrived.accept(grant).expect("it still rings");
    made.connected().await.expect("media is connected");
    taken.connected().await.expect("media is connected");
    assert_eq!((made.state(), taken.state()), (Some(State::Active), Some(State::Active)));
    [made, taken]
}

fn everything() -> Call {
    Call::new([Audio, Video], [Audio, Video])
}

fn all() -> Directions {
    Directions::new([Audio, Video], [Audio, Video])
}

async fn talk(alice: &Program, bob: &Program) {
    let [mut a, mut b] = connect(alice, bob, everything(), all()).await;
    assert_eq!(a.peer().map(|peer| peer.as_str().to_owned()), Some(bob.address()));
    receives(&mut a, bob, &[Audio, Video]).await;
    receives(&mut b, alice, &[Audio, Video]).await;
    assert!(alice.bitrate.load(Ordering::Relaxed) > 100_000, "the encoder was told");
    a.hang_up(EndReason::Ended);
    while b.next().await.is_some() {}
    assert_eq!(b.end().map(|end| end.reason), Some(EndReason::Ended));
    assert_eq!((b.state(), b.stats()), (None, None));
}

#[test]
fn two_programs_talk_on_bare_threads() {
    with_two(bare, talk);
}

#[test]
fn two_programs_talk_under_smol() {
    let executor = Arc::new(smol::Executor::new());
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    let runs = thread::spawn({
        let executor = executor.clone();
        move || _ = smol::block_on(executor.run(stopped.recv()))
    });
    with_two(|task| executor.spawn(task).detach(), talk);
    drop(stop);
    runs.join().expect("no panic");
}

#[test]
fn two_programs_talk_on_tokio() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("threads");
    with_two(|task| drop(runtime.spawn(task)), talk);
}

#[test]
fn ten_renegotiations_hold_and_resume_from_both_sides() {
    with_two(bare, async |alice, bob| {
        let [mut a, mut b] = connect(alice, bob, everything(), all()).await;
        receives(&mut b, alice, &[Audio, Video]).await;
        for round in 0..5 {
            a.hold();
            silence(&mut b).await;
            silence(&mut a).await;
            a.resume();
            receives(&mut b, alice, &[Audio, Video]).await;
            receives(&mut a, bob, &[Audio, Video]).await;
            b.mute(Video);
            while b.stats().expect("it goes on").streams.len() > 1 {
                smol::Timer::after(Duration::from_millis(5)).await;
            }
            silence_of_video(&mut a).await;
            receives(&mut a, bob, &[Audio]).await;
            b.unmute(Video);
            receives(&mut a, bob, &[Audio, Video]).await;
            receives(&mut b, alice, &[Audio, Video]).await;
            assert!(a.end().is_none() && b.end().is_none(), "round {round}");
        }
        assert!(alice.starts.load(Ordering::Relaxed) >= 12, "encoders rest while nobody takes their streams");
        assert!(alice.stops.load(Ordering::Relaxed) >= 10);
        for call in [&a, &b] {
            let stats = call.stats().expect("it goes on");
            assert!(stats.connected, "{stats:?}");
        }
    });
}

/// Reads until no video came for half a second.
async fn silence_of_video(call: &mut Conversation) {
    let mut since = Instant::now();
    while since.elapsed() < Duration::from_millis(500) {
        match call.next().await {
            Some(FrameEvent::Frame { frame }) if frame.codec.is_video() => since = Instant::now(),
            Some(_) => {}
            None => panic!("{:?}", call.end()),
        }
    }
}

#[test]
fn video_is_added_to_an_audio_call() {
    with_two(bare, async |alice, bob| {
        let audio = Directions::new([Audio], [Audio]);
        let [mut a, mut b] = connect(alice, bob, Call::new([Audio], [Audio]), audio).await;
        receives(&mut a, bob, &[Audio]).await;
        receives(&mut b, alice, &[Audio]).await;
        assert_eq!(a.stats().expect("it goes on").streams.len(), 1);
        // The callee takes video, then sends it, too.
        b.set_directions(Directions::new([Audio], [Audio, Video]));
        a.set_directions(all());
        receives(&mut b, alice, &[Audio, Video]).await;
        b.set_directions(all());
        receives(&mut a, bob, &[Audio, Video]).await;
    });
}

#[test]
fn less_is_granted_than_the_caller_asks_for() {
    with_two(bare, async |alice, bob| {
        let [mut a, mut b] = connect(alice, bob, everything(), Directions::new([Video], [Audio])).await;
        receives(&mut a, bob, &[Video]).await;
        receives(&mut b, alice, &[Audio]).await;
        let streams = |call: &Conversation| call.stats().expect("it goes on").streams.len();
        assert_eq!((streams(&a), streams(&b)), (1, 1));
    });
}

#[test]
fn calls_are_rejected_with_a_code_and_declined_by_who_takes_none() {
    with_two(bare, async |alice, bob| {
        let call = || {
            let data = r#"{"door":"front"}"#.into();
            alice.calling.call(&bob.address(), Call { data, ..everything() }).expect("it is there")
        };
        let ended =
            async |call: &Conversation| call.connected().await.expect_err("it is not answered").reason;
        assert_eq!(ended(&call()).await, EndReason::Declined, "nobody takes calls");
        let mut incoming = bob.calling.incoming();
        let made = call();
        assert_eq!(made.state(), Some(State::Ringing));
        assert!(matches!(alice.calling.call(&bob.address(), everything()), Err(CallError::Exists(_))));
        let arrived = incoming.next().await.expect("it rings");
        assert_eq!(arrived.data(), r#"{"door":"front"}"#);
        arrived.reject(EndReason::Busy);
        assert_eq!(ended(&made).await, EndReason::Busy);
        // One that is dropped.
        let made = call();
        drop(incoming.next().await.expect("it rings"));
        assert_eq!(ended(&made).await, EndReason::Declined);
        // The caller does not wait.
        let made = call();
        let arrived = incoming.next().await.expect("it rings");
        made.hang_up(EndReason::Ended);
        let too_late = loop {
            smol::Timer::after(Duration::from_millis(20)).await;
            if made.state().is_none() {
                smol::Timer::after(Duration::from_millis(200)).await;
                break arrived.accept(all());
            }
        };
        assert!(matches!(too_late, Err(CallError::Unknown(_))), "{too_late:?}");
        let bad = Call { data: "no JSON".into(), ..everything() };
        assert!(matches!(alice.calling.call(&bob.address(), bad), Err(CallError::NotJson)));
        drop(incoming);
        assert_eq!(ended(&call()).await, EndReason::Declined);
    });
}

#[test]
fn a_source_that_ends_ends_the_calls_that_only_send_it() {
    with_two(bare, async |alice, bob| {
        let [mut a, mut b] =
            connect(alice, bob, Call::new([Audio, Video], []), Directions::new([], [Audio, Video])).await;
        receives(&mut b, alice, &[Audio, Video]).await;
        let (source, feed) = Source::push(Codec::Opus);
        alice.calling.set_source(source);
        while a.stats().is_some_and(|stats| stats.streams.len() > 1) {
            smol::Timer::after(Duration::from_millis(10)).await;
        }
        drop(feed);
        while a.next().await.is_some() {}
        assert_eq!(a.end().map(|end| end.reason), Some(EndReason::SourceEnded));
        while b.next().await.is_some() {}
        assert_eq!(b.end().map(|end| end.reason), Some(EndReason::SourceEnded));
    });
}

#[test]
fn calls_go_on_while_the_source_is_lost_and_the_next_one_tries_one_that_was_given_up_again() {
    with_two(bare, async |alice, bob| {
        let (source, feed) = Source::push(Codec::Opus);
        alice.calling.set_source(source);
        let states = Arc::new(Mutex::new(vec![]));
        alice.calling.on_source({
            let states = states.clone();
            move |status| states.lock().unwrap_or_else(PoisonError::into_inner).push(status.state)
        });
        let began = Instant::now();
        let speak = || {
            let data = made(Codec::Opus, 0, began.elapsed().as_millis() as u32, true);
            alice.pushed.lock().unwrap_or_else(PoisonError::into_inner).push(data.clone());
            feed.push(data, true, began.elapsed()).expect("a valid frame");
        };
        /// Speaks until the other one hears it.
        async fn heard(call: &mut Conversation, alice: &Program, speak: impl Fn()) {
            let speaking = async {
                loop {
                    speak();
                    smol::Timer::after(FRAME_EVERY).await;
                }
            };
            or(receives(call, alice, &[Audio]), speaking).await;
        }
        let audio = || Directions::new([Audio], [Audio]);
        let [mut a, mut b] = connect(alice, bob, Call::new([Audio], [Audio]), audio()).await;
        heard(&mut b, alice, speak).await;
        feed.failed(MediaError::new(ErrorKind::Unreachable, "the microphone is gone"));
        silence(&mut b).await;
        receives(&mut a, bob, &[Audio]).await;
        assert_eq!((a.end(), b.end()), (None, None), "the source comes back by itself");
        heard(&mut b, alice, speak).await;
        // Given up, it is no longer sent, and what is received goes on.
        feed.ended();
        while a.stats().is_some_and(|stats| !stats.streams.is_empty()) {
            smol::Timer::after(Duration::from_millis(10)).await;
        }
        silence(&mut b).await;
        // What waited was read long before the end of a second.
        let second = Instant::now() + Duration::from_secs(1);
        while Instant::now() < second {
            receives(&mut a, bob, &[Audio]).await;
        }
        assert_eq!((a.end(), b.end()), (None, None));
        // Who wants to send again tries it again.
        a.mute(Audio);
        a.unmute(Audio);
        heard(&mut b, alice, speak).await;
        feed.failed(MediaError::new(ErrorKind::Unauthorized, "a wrong password"));
        a.hang_up(EndReason::Ended);
        while b.next().await.is_some() {}
        // One that only sends.
        let [mut a, mut b] = connect(alice, bob, Call::new([Audio], []), Directions::new([], [Audio])).await;
        heard(&mut b, alice, speak).await;
        feed.failed(MediaError::new(ErrorKind::Unauthorized, "a wrong password"));
        while a.next().await.is_some() {}
        while b.next().await.is_some() {}
        let failed = Some(EndReason::SourceFailed);
        assert_eq!((a.end().map(|end| end.reason), b.end().map(|end| end.reason)), (failed.clone(), failed));
        let mut states = states.lock().unwrap_or_else(PoisonError::into_inner).clone();
        states.dedup();
        use SourceState::{Ended, Failed, Lost, Playing, Starting};
        let expected =
            [Starting, Playing, Lost, Playing, Ended, Starting, Playing, Failed, Starting, Playing, Failed];
        assert_eq!(states, expected);
    });
}

/// What the process has in memory, in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("Linux")
}

/// Reads a call until `end`. Returns how far audio and video of each time were apart, in order.
async fn apart(call: &mut Conversation, from: &Program, end: Instant) -> Vec<Duration> {
    let mut all = vec![];
    let mut times: [VecDeque<(u32, Duration)>; 2] = Default::default();
    while Instant::now() < end {
        let Some(event) = call.next().await else { panic!("{:?}", call.end()) };
        let FrameEvent::Frame { frame } = event else { continue };
        let number = frame.data.iter().rev().take(5).fold(0, |all, byte| all << 7 | u32::from(byte & 0x7f));
        let of = usize::from(frame.codec.is_video());
        times[of].push_back((number, frame.pts));
        if let Some((_, other)) = times[1 - of].iter().find(|(other, _)| *other == number) {
            all.push(other.abs_diff(frame.pts));
        }
        times.iter_mut().filter(|times| times.len() > 100).for_each(|times| _ = times.pop_front());
        let mut pushed = from.pushed.lock().unwrap_or_else(PoisonError::into_inner);
        let old = pushed.len().saturating_sub(200);
        pushed.drain(..old);
    }
    all
}

#[test]
#[ignore = "takes CALL_MINUTES, ten by default"]
fn a_long_call_keeps_audio_and_video_together_and_does_not_grow() {
    let minutes = std::env::var("CALL_MINUTES").ok().and_then(|minutes| minutes.parse().ok()).unwrap_or(10);
    with_two_for(Duration::from_secs(60 * minutes) + PATIENCE, bare, async |alice, bob| {
        let [mut a, mut b] = connect(alice, bob, everything(), all()).await;
        let begin = Instant::now();
        let mut listen = async |until: Duration| {
            zip(apart(&mut a, bob, begin + until), apart(&mut b, alice, begin + until)).await
        };
        // Until the estimates have found what the loopback carries, and the tables are as large as they get.
        listen(Duration::from_secs(12 * minutes).max(Duration::from_secs(45))).await;
        let before = memory();
        let heard = listen(Duration::from_secs(60 * minutes)).await;
        let grown = memory().saturating_sub(before);
        println!("{minutes} minutes: {before} KiB, and {grown} more at the end");
        let limit = Duration::from_millis(40);
        for all in <[_; 2]>::from(heard) {
            let most = all.iter().max().expect("frames came");
            let far = all.iter().filter(|apart| **apart >= limit).count();
            println!(
                "{} pairs of frames, {far} of them {limit:?} apart or more, {most:?} at most",
                all.len()
            );
            assert!(all.len() > 1000, "{} pairs", all.len());
            // A thread that a busy machine did not run looks like a microphone that was away, until its next frames.
            assert!(far * 100 < all.len(), "{far} of {} pairs are apart", all.len());
            assert!(all[all.len() - 100..].iter().max() < Some(&limit), "they drift");
        }
        assert!(grown < 4 << 10, "{grown} KiB more than the {before} at first");
    });
}

#[test]
fn the_example_calls_and_is_called() {
    let address = "127.0.0.1:0".parse().expect("literal");
    let server = Server::bind(ServerConfig::listen([address])).expect("a free port");
    let url = format!("ws://{}", server.addresses()[0]);
    let runs = thread::spawn({
        let run = server.run();
        move || block_on(run)
    });
    let test = std::env::current_exe().expect("this test");
    let built = test.parent().and_then(|deps| deps.parent()).expect("a folder of the build");
    let file =
        |who: &str| std::env::temp_dir().join(format!("symple-call-{who}-{}.h264", std::process::id()));
    let start = |who: &str, whom: &[&str]| {
        Command::new(built.join("examples").join("call"))
            .args([&url, who])
            .arg(file(who))
            .args(whom)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example was built")
    };
    let (bob, alice) = (start("bob", &[]), start("alice", &["bob"]));
    let began = Instant::now();
    let written = |who| std::fs::metadata(file(who)).map_or(0, |file| file.len());
    while (written("alice") < 50_000 || written("bob") < 50_000) && began.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(50));
    }
    server.shutdown();
    runs.join().expect("no panic");
    for (who, mut example) in [("alice", alice), ("bob", bob)] {
        // Without its server it would try again for good.
        example.kill().expect("it runs");
        let output = example.wait_with_output().expect("it ended");
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        let data = std::fs::read(file(who)).unwrap_or_default();
        _ = std::fs::remove_file(file(who));
        assert!(data.len() > 50_000, "{who}: {} bytes: {words}", data.len());
        // A key frame, which begins with its parameter sets.
        assert!(data.starts_with(&[0, 0, 0, 1, 0x67]), "{who}: {:?}", &data[..16]);
        assert!(words.contains("connected"), "{who}: {words}");
    }
}
