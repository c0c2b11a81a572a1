//! Two threads run a camera that many viewers watch over real sockets: each sends to half of them.
#![cfg(feature = "camera")]

#[path = "whole_call/side.rs"]
mod side;
#[path = "whole_call/viewer.rs"]
mod viewer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use side::Side;
use smol::{Executor, Timer};
use symple::camera::{Camera, Config, Serve, Signalling};
use symple::media::Codec;
use symple::media::source::{Feed, Request, Source};
use symple::rtc::ShardId;
use viewer::{Enough, Watched};

/// Long enough for a machine with other load.
const PATIENCE: Duration = Duration::from_secs(120);

const VIEWERS: usize = 12;
const FRAME_EVERY: Duration = Duration::from_millis(50);
/// Frames during which the load is compared.
const FRAMES: usize = 60;
/// Of two packets and a bit.
const BYTES: usize = 2500;

/// 1280 x 720, constrained baseline 3.1.
const SPS: &[u8] = &[0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe4];
const PPS: &[u8] = &[0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80];
const IDR: &[u8] = &[0, 0, 0, 1, 0x65, 0x88, 0x84];
const SLICE: &[u8] = &[0, 0, 0, 1, 0x41, 0x9a, 0x24];

type Pushed = Arc<Mutex<Vec<Arc<[u8]>>>>;

/// An access unit that no other is equal to.
fn access_unit(number: u32, key: bool) -> Arc<[u8]> {
    let mut unit = if key { [SPS, PPS, IDR].concat() } else { SLICE.to_vec() };
    unit.resize(BYTES, 0x5a);
    // Without zeros, which would need emulation prevention.
    unit.extend((0..5).map(|i| 0x80 | (number >> (7 * i)) as u8));
    unit.into()
}

/// Pushes frames until `over`.
fn encode(feed: Feed, pushed: &Pushed, over: &AtomicBool) {
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
        let unit = access_unit(number, key);
        pushed.lock().unwrap_or_else(PoisonError::into_inner).push(unit.clone());
        feed.push(unit, key, pts).expect("a valid access unit");
    }
}

/// Waits until something holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let late = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < late, "{what} within {PATIENCE:?}");
        Timer::after(Duration::from_millis(20)).await;
    }
}

/// By viewer: which shard sends to it, and how many packets it was sent.
fn packets(camera: &Camera) -> BTreeMap<String, (ShardId, u64)> {
    let of = |(viewer, stats): (symple::camera::Viewer, Option<symple::rtc::SessionStats>)| {
        let stats = stats.expect("its session lives");
        (viewer.address.user().to_owned(), (stats.shard, stats.packets))
    };
    camera.status().viewers.into_iter().map(of).collect()
}

#[test]
fn two_threads_send_to_half_of_the_viewers_each_and_every_frame_arrives() {
    let (source, feed) = Source::push(Codec::H264);
    let serve = Serve { listen: vec!["127.0.0.1:0".parse().expect("literal")], ..Serve::default() };
    let camera = Camera::new(Config {
        signalling: Signalling::Serve(serve),
        vp8: false,
        adapt: false,
        ..Config::new(source)
    });
    let camera = camera.expect("a free port");
    let (pushed, over) = (Pushed::default(), Arc::new(AtomicBool::new(false)));
    let encoder = thread::spawn({
        let (pushed, over) = (pushed.clone(), over.clone());
        move || encode(feed, &pushed, &over)
    });
    let drivers = [(); 2].map(|()| {
        let run = camera.run();
        thread::spawn(move || smol::block_on(run))
    });

    let url = camera.urls()[0].replace("http", "ws");
    let executor = Executor::new();
    let sides: Vec<Side> = (0..VIEWERS).map(|n| Side::new(&url, &format!("viewer-{n}"))).collect();
    let clients: Vec<_> = sides.iter().map(|side| side.client.clone()).collect();
    clients.iter().for_each(|client| executor.spawn(client.run()).detach());
    let enough = Enough { pictures: usize::MAX, sounds: 0 };
    let watching: Vec<_> =
        sides.into_iter().map(|side| executor.spawn(viewer::watch(side, true, enough))).collect();
    let count = || pushed.lock().unwrap_or_else(PoisonError::into_inner).len();
    let (before, after, skipped, watched) = smol::block_on(executor.run(async {
        until("all watch", || {
            let all = camera.status().viewers;
            all.len() == VIEWERS && all.iter().all(|(_, s)| s.as_ref().is_some_and(|s| s.frames > 0))
        })
        .await;
        let (before, begin) = (packets(&camera), count());
        until("frames are made", || count() >= begin + FRAMES).await;
        let after = packets(&camera);
        let skipped = camera.status().skipped;
        camera.shutdown();
        let mut watched: Vec<Watched> = vec![];
        for watching in watching {
            watched.push(watching.await);
        }
        clients.iter().for_each(symple::Client::close);
        (before, after, skipped, watched)
    }));
    drivers.into_iter().for_each(|driver| driver.join().expect("it ends with the camera"));
    over.store(true, Ordering::Relaxed);
    encoder.join().expect("it ends when told to");

    let mut shares: BTreeMap<ShardId, (usize, u64)> = BTreeMap::new();
    for (viewer, (shard, sent)) in &after {
        let (place, already) = before[viewer];
        assert_eq!(place, *shard, "nobody came or went, so nobody moved");
        let share = shares.entry(place).or_default();
        *share = (share.0 + 1, share.1 + sent - already);
    }
    let shares: Vec<(usize, u64)> = shares.into_values().collect();
    let [(some, first), (others, second)] = shares[..] else { panic!("two threads send: {shares:?}") };
    assert_eq!((some, others), (VIEWERS / 2, VIEWERS / 2));
    assert!(first * 10 < second * 11 && second * 10 < first * 11, "{first} and {second} packets");

    let pushed = pushed.lock().unwrap_or_else(PoisonError::into_inner);
    let mut missing = 0;
    for (n, watched) in watched.iter().enumerate() {
        assert!(watched.pictures.len() >= FRAMES / 2, "viewer {n} got {} frames", watched.pictures.len());
        let first = pushed.iter().position(|f| *f == watched.pictures[0]).expect("one of ours");
        let mut next = first;
        for picture in &watched.pictures {
            let skip = pushed[next..].iter().position(|f| f == picture).expect("one of ours, in order, once");
            missing += skip;
            next += skip + 1;
        }
    }
    // On a machine that had no CPU for half a second, frames were skipped, and counted.
    let skipped = skipped.network + skipped.socket;
    assert!(missing as u64 <= skipped, "{missing} frames are missing, {skipped} were skipped");
}
