//! Ten thousand peers that die without a close, each at another moment: the server removes them, and other peers see
//! it.
//!
//! Three things are compared with their values before: the server's counters, its file descriptors, and its anonymous
//! memory (`RssAnon`). The first two must be equal. Memory is compared after as many deaths as the allocator needs to
//! reach its high-water mark, and may have grown by [`GROWN`].

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use symple::Client;
use symple::client::{Config, Event};
use tungstenite::{Message, WebSocket};

use crate::world::{PATIENCE, Server};

/// How many die at the same time.
const AT_ONCE: usize = 8;

/// Deaths before the first measurement, and after it.
const WARM_UP: usize = 1000;
const DEATHS: usize = 10_000;

/// The KiB that memory may have grown. Fragmentation costs some 100 KiB; a peer that is not removed costs at least 4
/// KiB, so one in eighty would be noticed, and so would a leak of 60 bytes per death.
const GROWN: u64 = 512;

/// The moment at which a peer dies.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Moment {
    Connected,
    InTheHead,
    BeforeAuth,
    BeforeItsWelcome,
    Welcomed,
    BetweenMessages,
    InAFrame,
}

const MOMENTS: [Moment; 7] = [
    Moment::Connected,
    Moment::InTheHead,
    Moment::BeforeAuth,
    Moment::BeforeItsWelcome,
    Moment::Welcomed,
    Moment::BetweenMessages,
    Moment::InAFrame,
];

/// Lives until its moment, and dies by a FIN without a close, or by a reset.
fn die(address: SocketAddr, n: usize) {
    let moment = MOMENTS[n % MOMENTS.len()];
    let mut tcp = TcpStream::connect(address).expect("it listens");
    tcp.set_read_timeout(Some(PATIENCE)).expect("not zero");
    if (n / MOMENTS.len()).is_multiple_of(2) {
        set_socket_linger(&tcp, Some(Duration::ZERO)).expect("a socket");
    }
    if moment == Moment::InTheHead {
        tcp.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: webs").expect("it reads");
    }
    if moment > Moment::InTheHead {
        speak(address, tcp, n, moment);
    }
}

fn speak(address: SocketAddr, tcp: TcpStream, n: usize, moment: Moment) {
    let (mut ws, _) = tungstenite::client(format!("ws://{address}/"), tcp).expect("it speaks WebSocket");
    if moment == Moment::BeforeAuth {
        return;
    }
    let user = n % 50;
    send(&mut ws, &format!(r#"{{"type":"auth","user":"u{user}","rooms":["team","room-{user}"]}}"#));
    if moment == Moment::BeforeItsWelcome {
        return;
    }
    while !ws.read().expect("it is let in").to_text().expect("it speaks JSON").contains("welcome") {}
    if moment == Moment::BetweenMessages {
        // The answers to these are never read.
        (0..20).for_each(|n| send(&mut ws, &format!(r#"{{"type":"message","to":"team","data":{n}}}"#)));
    }
    if moment == Moment::InAFrame {
        // 126: the length follows, 4000 bytes; the mask is zeros.
        let begun = [&[0x81, 0x80 | 126, 15, 160, 0, 0, 0, 0][..], br#"{"type":"message","to":"te"#].concat();
        ws.get_mut().write_all(&begun).expect("it reads");
    }
}

fn send(ws: &mut WebSocket<TcpStream>, text: &str) {
    ws.send(Message::text(text)).expect("it reads");
}

/// This many die, equally many of each kind.
fn deaths(server: &Server, count: usize) {
    let (address, next) = (server.address, AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let mine = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < count);
                std::iter::from_fn(mine).for_each(|n| die(address, n));
            });
        }
    });
}

/// The resources of a server.
#[derive(Debug, PartialEq)]
struct Held {
    /// Its gauges.
    counted: Vec<String>,
    files: usize,
}

fn held(server: &Server) -> Held {
    let metrics = server.get("/metrics", None).2;
    let gauges = ["connections", "peers", "rooms", "queue_bytes", "longest_queue_bytes"];
    let is_gauge = |line: &&str| gauges.iter().any(|g| line.starts_with(&format!("symple_{g} ")));
    let counted = metrics.lines().filter(is_gauge).map(str::to_owned).collect();
    let files = fs::read_dir(server.program.proc().join("fd")).expect("it runs").count();
    Held { counted, files }
}

/// Waits until the resources are the same again, and returns the memory in KiB.
fn settled(server: &Server, rest: &Held) -> u64 {
    let end = Instant::now() + PATIENCE;
    loop {
        let now = held(server);
        if now == *rest {
            break;
        }
        assert!(Instant::now() < end, "resources: {now:?}, before: {rest:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = fs::read_to_string(server.program.proc().join("status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).expect("Linux reports it")
}

#[test]
fn peers_that_die_leave_nothing_behind() {
    let server = Server::start(&["--threads", "2"], &[]);
    // One peer stays, and sees the others come and go.
    let config = Config { rooms: vec!["team".into()], ..Config::new("watcher") };
    let watcher = Client::new(&format!("ws://{}", server.address), config).expect("a good address");
    let seen = Arc::new(AtomicUsize::new(0));
    watcher.on({
        let seen = seen.clone();
        move |event| match event {
            Event::PeerAdded { .. } => _ = seen.fetch_add(1, Ordering::Relaxed),
            Event::Offline { .. } => panic!("the watcher was disconnected: {event:?}"),
            _ => {}
        }
    });
    let run = watcher.run();
    let watches = std::thread::spawn(move || smol::block_on(run));
    let end = Instant::now() + PATIENCE;
    while watcher.peer().is_none() {
        assert!(Instant::now() < end, "the watcher is not admitted");
        std::thread::sleep(Duration::from_millis(5));
    }
    let rest = held(&server);
    deaths(&server, WARM_UP);
    let before = settled(&server, &rest);
    deaths(&server, DEATHS);
    let after = settled(&server, &rest);
    println!("{DEATHS} deaths: RssAnon {before} KiB before, {after} KiB after, {} open files", rest.files);
    assert!(after <= before + GROWN, "{before} KiB of memory grew to {after} KiB by {DEATHS} deaths");

    // Three of the seven moments come after the welcome; a peer that left before the watcher read its arrival is not
    // announced.
    let seen = seen.load(Ordering::Relaxed);
    assert!(seen >= DEATHS / 10, "the watcher saw only {seen} arrivals");
    let end = Instant::now() + PATIENCE;
    while !watcher.roster().is_empty() {
        assert!(Instant::now() < end, "ghosts: {:?}", watcher.roster());
        std::thread::sleep(Duration::from_millis(5));
    }
    watcher.close();
    watches.join().expect("the watcher was never disconnected");
}
