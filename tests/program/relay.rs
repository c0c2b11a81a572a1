//! `symple relay`: a publisher, viewers, and the next publisher.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use futures_lite::future::{block_on, or, zip};
use rustix::process::Signal;
use symple::Client;
use symple::calling::{Call, Calling, Conversation, FrameEvent};
use symple::client::Config;
use symple::media::frame::sps::is_idr;
use symple::media::source::{Feed, Request, Source};
use symple::media::{Codec, Kind};

use crate::world::{PATIENCE, Program};

/// Two seconds of H.264; each access unit begins with a delimiter (NAL unit 9).
const CLIP: &[u8] = include_bytes!("../../examples/pushed.h264");
const DELIMITER: &[u8] = &[0, 0, 0, 1, 9];
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 30);

fn units() -> Vec<&'static [u8]> {
    let starts = CLIP.windows(DELIMITER.len()).enumerate().filter(|(_, bytes)| *bytes == DELIMITER);
    let starts: Vec<usize> = starts.map(|(at, _)| at).collect();
    let ends = starts[1..].iter().copied().chain([CLIP.len()]);
    starts.iter().zip(ends).map(|(start, end)| &CLIP[*start..end]).collect()
}

/// The parts of an access unit that matter, without start codes.
fn slices(data: &[u8]) -> Vec<Vec<u8>> {
    let mut nals: Vec<Vec<u8>> = vec![];
    let mut rest = data;
    while let Some(at) = rest.windows(3).position(|bytes| bytes == [0, 0, 1]) {
        let from = &rest[at + 3..];
        let end = from.windows(3).position(|bytes| bytes == [0, 0, 1]).unwrap_or(from.len());
        let nal = from[..end].strip_suffix(&[0]).filter(|_| end < from.len()).unwrap_or(&from[..end]);
        nals.push(nal.to_vec());
        rest = &from[end.min(from.len())..];
    }
    nals.retain(|nal| nal.first().is_some_and(|first| matches!(first & 0x1f, 1 | 5)));
    nals
}

/// A peer with calls.
struct Peer {
    client: Client,
    calling: Calling,
}

impl Peer {
    fn new(url: &str, user: &str) -> Peer {
        let client = Client::new(url, Config { rooms: vec!["public".into()], ..Config::new(user) });
        let client = client.expect("a good address");
        let calling = Calling::new(&client).expect("a free port");
        Peer { client, calling }
    }

    /// Does something beside the clients' tasks.
    fn run<T>(peers: &[&Peer], act: impl Future<Output = T>) -> T {
        Peer::run_for(PATIENCE, peers, act)
    }

    fn run_for<T>(patience: Duration, peers: &[&Peer], act: impl Future<Output = T>) -> T {
        let drivers = async {
            let all = peers.iter().map(|peer| zip(peer.client.run(), peer.calling.run()));
            let mut all: Vec<_> = all.map(Box::pin).collect();
            std::future::poll_fn(|cx| {
                all.iter_mut().for_each(|one| _ = one.as_mut().poll(cx));
                std::task::Poll::<T>::Pending
            })
            .await
        };
        let late = async {
            smol::Timer::after(patience).await;
            panic!("nothing came in time")
        };
        block_on(or(or(act, drivers), late))
    }

    async fn address_of(&self, user: &str) -> String {
        loop {
            let all = self.client.roster();
            if let Some(peer) = all.iter().find(|peer| peer.user == user) {
                return peer.address().as_str().to_owned();
            }
            smol::Timer::after(Duration::from_millis(20)).await;
        }
    }

    /// Publishes the clip, again and again, until the flag is set.
    async fn publish(&self, to: &str, over: &Arc<AtomicBool>) -> Conversation {
        let (source, feed) = Source::push(Codec::H264);
        self.calling.set_source(source);
        let over = over.clone();
        thread::spawn(move || encode(&feed, &over));
        let to = self.address_of(to).await;
        self.calling.call(&to, Call::new([Kind::Video], [])).expect("a call")
    }
}

/// When each unit of the clip was pushed last.
type PushedAt = Mutex<Vec<Option<Instant>>>;

static PUSHED: PushedAt = Mutex::new(Vec::new());

fn encode(feed: &Feed, over: &AtomicBool) {
    let key = Arc::new(AtomicBool::new(true));
    let asked = key.clone();
    feed.on(move |request| {
        if matches!(request, Request::Start | Request::KeyFrame) {
            asked.store(true, Ordering::Relaxed);
        }
    });
    let (units, began) = (units(), Instant::now());
    let mut next = 0;
    for number in 0.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        if key.swap(false, Ordering::Relaxed) || next == units.len() {
            next = 0;
        }
        {
            let mut pushed = PUSHED.lock().expect("no panic under this lock");
            pushed.resize(units.len(), None);
            pushed[next] = Some(Instant::now());
        }
        feed.push(units[next], is_idr(units[next]), FRAME * number).expect("a valid frame");
        next += 1;
        thread::sleep((FRAME * (number + 1)).saturating_sub(began.elapsed()));
    }
}

/// Takes so many frames, which are those of the clip.
async fn take(watch: &mut Conversation, count: usize) {
    let known: Vec<_> = units().into_iter().map(slices).collect();
    let mut taken = 0;
    while taken < count {
        let Some(event) = watch.next().await else { panic!("the call ended: {:?}", watch.end()) };
        if let FrameEvent::Frame { frame } = event {
            assert!(taken > 0 || frame.key, "it begins with a key frame");
            assert!(known.contains(&slices(&frame.data)), "a frame that nobody published");
            taken += 1;
        }
    }
}

/// Takes what waits, until nothing has come for a while.
async fn drain(watch: &mut Conversation) {
    let quiet = async || {
        smol::Timer::after(Duration::from_millis(500)).await;
        None
    };
    while or(watch.next(), quiet()).await.is_some() {}
    assert_eq!(watch.end(), None, "the call goes on");
}

#[test]
fn a_relay_shows_one_publisher_after_another() {
    let relay = Program::start(&["relay", "--port", "0", "--names", "stage", "--names", "porch"], &[]);
    let line = relay.says("open http://127.0.0.1:");
    let url = line.trim_start_matches("open ").trim_end_matches('/').replace("http", "ws");
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|user| Peer::new(&url, user));
    let over = Arc::new(AtomicBool::new(false));
    Peer::run(&[&alice, &bob, &carol], async {
        let stage = alice.publish("stage", &over).await;
        let address = carol.address_of("stage").await;
        let mut watch = carol.calling.watch(&address, [Kind::Video]).expect("a call");
        take(&mut watch, 60).await;

        // Somebody else is refused here, and publishes under the other name.
        let mut second = bob.publish("stage", &over).await;
        while second.next().await.is_some() {}
        assert_eq!(second.end().expect("it ended").reason.code(), "not-allowed");
        let _porch = bob.publish("porch", &over).await;
        let address = alice.address_of("porch").await;
        let mut other = alice.calling.watch(&address, [Kind::Video]).expect("a call");
        take(&mut other, 30).await;

        // The next one takes the place of who has left, in the same call of the viewer.
        stage.hang_up(symple::call::body::EndReason::Ended);
        drain(&mut watch).await;
        let _next = bob.publish("stage", &over).await;
        let last = Instant::now();
        take(&mut watch, 30).await;
        println!("the next publisher's frames came after {:?}", last.elapsed());
    });
    // Not above: waiting for a line blocks the peers' tasks.
    relay.says("publishes no more");
    relay.says("ended (the call was ended)");
    over.store(true, Ordering::Relaxed);
    relay.signal(Signal::TERM);
    assert_eq!(relay.end().code(), Some(0));
}

#[test]
fn who_may_publish_is_decided_before_strangers_can() {
    let (code, _, words) = crate::world::run(&["relay", "--port", "0", "--listen", "all"], &[]);
    assert_eq!(code, 78, "{words}");
    assert!(words.contains("set a token"), "{words}");
    // A proxy on this machine forwards strangers.
    let proxied = ["relay", "--port", "0", "--trusted-proxies", "127.0.0.1"];
    let (code, _, words) = crate::world::run(&proxied, &[]);
    assert!(code == 78 && words.contains("set a token"), "{code}: {words}");
    let (code, _, words) = crate::world::run(&["relay", "--codec", "av1"], &[]);
    assert!(code != 0 && words.contains("must be h264 or vp8"), "{words}");
}

#[test]
fn a_check_describes_a_relay_and_a_deep_one_tries_its_ports() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let check = |more: &[&str]| crate::world::run(&[&["relay", "--port", &port], more].concat(), &[]);
    let (code, out, _) = check(&["--check", "--names", "stage", "--names", "porch", "--publish", "alice"]);
    assert_eq!(code, 0, "a plain check opens nothing: {out}");
    for part in ["names           stage, porch, in room public", "published       H.264 or VP8, by alice"] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    let (code, out, err) = check(&["--check=deep"]);
    assert!(code == 69 && out.contains("  FAILED  port"), "{out}{err}");
    let (code, _, err) = check(&["--check", "--listen", "all"]);
    assert!(code == 78 && err.contains("anybody could publish here"), "{err}");
}

/// What a program has in memory, in KiB.
fn resident(program: &Program) -> u64 {
    let status = std::fs::read_to_string(program.proc().join("status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("Linux")
}

/// From the publisher's encoder to the viewer's reader, over two calls on one machine.
#[test]
#[ignore = "measures for CALL_MINUTES, ten by default"]
fn delay_through_a_relay() {
    let minutes = std::env::var("CALL_MINUTES").ok().and_then(|minutes| minutes.parse().ok()).unwrap_or(10);
    let lasts = Duration::from_secs(60 * minutes);
    let relay = Program::start(&["relay", "--port", "0"], &[]);
    let line = relay.says("open http://127.0.0.1:");
    let url = line.trim_start_matches("open ").trim_end_matches('/').replace("http", "ws");
    let [alice, carol] = ["alice", "carol"].map(|user| Peer::new(&url, user));
    let over = Arc::new(AtomicBool::new(false));
    Peer::run_for(lasts + PATIENCE, &[&alice, &carol], async {
        let _stage = alice.publish("stage", &over).await;
        let address = carol.address_of("stage").await;
        let mut watch = carol.calling.watch(&address, [Kind::Video]).expect("a call");
        take(&mut watch, 30).await;
        let known: Vec<_> = units().into_iter().map(slices).collect();
        let mut delays = vec![];
        let began = Instant::now();
        let mut before = None;
        while began.elapsed() < lasts {
            if began.elapsed() > lasts / 5 {
                before.get_or_insert_with(|| resident(&relay));
            }
            let Some(event) = watch.next().await else { panic!("the call ended: {:?}", watch.end()) };
            let FrameEvent::Frame { frame } = event else { continue };
            let arrived = Instant::now();
            let of = known.iter().position(|unit| *unit == slices(&frame.data)).expect("published");
            let pushed = PUSHED.lock().expect("no panic under this lock")[of].expect("pushed");
            delays.push(arrived - pushed);
        }
        delays.sort_unstable();
        let [half, late] = [50, 95].map(|percent| delays[delays.len() * percent / 100]);
        let count = delays.len();
        println!("encoder to reader through a relay: p50 {half:?}, p95 {late:?}, of {count} frames");
        let (before, after) = (before.expect("it lasted"), resident(&relay));
        println!("{before} KiB after a fifth of {minutes} minutes, and {after} at the end");
        assert!(late < Duration::from_millis(10), "{late:?}");
        assert!(after < before + (4 << 10), "{before} KiB, then {after}");
    });
    over.store(true, Ordering::Relaxed);
}
