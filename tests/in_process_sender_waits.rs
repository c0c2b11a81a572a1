//! An in-process peer that sends faster than a slow reader reads: its queue fills up and reports it, it waits, and
//! nothing is lost.
#![cfg(all(feature = "client", feature = "server"))]

use std::future::{Future, poll_fn};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_lite::future::block_on;
use serde_json::{Value, json};
use symple::Server;
use symple::client::{Config, Event, SendError};
use symple::net::ServerConfig;
use symple::proto::{Draft, MessageKind};
use tungstenite::Message;

const BODY: usize = 100_000;
/// 40 MB: several times what the hub, the client and the kernel buffer together.
const MESSAGES: usize = 400;

#[test]
fn an_in_process_peer_waits_for_a_slow_reader() {
    let server =
        Server::bind(ServerConfig::listen(["127.0.0.1:0".parse().expect("literal")])).expect("a free port");
    let inside = server.peer(Config { rooms: vec!["team".into()], ..Config::new("inside") });
    let (tell, told) = channel();
    inside.on(move |event| {
        if let Event::PeerAdded { peer } = event {
            _ = tell.send(peer.user);
        }
    });
    let drivers = [
        std::thread::spawn({
            let run = server.run();
            move || smol::block_on(run)
        }),
        std::thread::spawn({
            let run = inside.run();
            move || smol::block_on(run)
        }),
    ];

    let address = server.addresses()[0];
    let tcp = TcpStream::connect(address).expect("it listens");
    tcp.set_read_timeout(Some(Duration::from_secs(30))).expect("not zero");
    let (mut reader, _) = tungstenite::client(format!("ws://{address}/"), tcp).expect("upgraded");
    reader
        .send(Message::text(json!({"type":"auth","user":"bob","rooms":["team"]}).to_string()))
        .expect("open");
    assert_eq!(told.recv_timeout(Duration::from_secs(20)).as_deref(), Ok("bob"));

    // Nobody reads.
    let body = "x".repeat(BODY);
    let draft = |n: usize| Draft::new(MessageKind::Message).to("bob").with("n", &n).with("body", &body);
    let sent = (0..MESSAGES).find(|n| match inside.send(draft(*n)) {
        Ok(_) => false,
        Err(error) => error == SendError::Full,
    });
    let sent = sent.expect("what waits is bounded");

    let reading = std::thread::spawn(move || {
        let mut next = 0;
        while next < MESSAGES {
            let Message::Text(text) = reader.read().expect("it is not closed") else { continue };
            let message: Value = serde_json::from_str(&text).expect("JSON");
            if message["type"] == "message" {
                assert_eq!(message["n"], next, "everything, in order");
                next += 1;
            }
        }
    });
    for n in sent..MESSAGES {
        block_on(inside.room_to_send()).expect("online");
        inside.send(draft(n)).expect("there is room");
    }
    reading.join().expect("all came");
    inside.close();
    assert_eq!(block_on(inside.room_to_send()), Err(SendError::Offline));
    server.shutdown();
    drivers.into_iter().for_each(|driver| driver.join().expect("no panic"));
}

/// Without a driver, nothing else would end the wait.
#[test]
fn waiting_for_room_ends_when_the_driver_is_dropped() {
    let server =
        Server::bind(ServerConfig::listen(["127.0.0.1:0".parse().expect("literal")])).expect("a free port");
    let inside = server.peer(Config { outbox_limit: 4096, ..Config::new("inside") });
    let (tell, told) = channel();
    inside.on(move |event| {
        if let Event::Online { .. } = event {
            _ = tell.send(());
        }
    });
    let mut run = Box::pin(inside.run());
    let mut serve = Box::pin(server.run());
    block_on(poll_fn(|cx| {
        _ = (serve.as_mut().poll(cx), run.as_mut().poll(cx));
        if told.try_recv().is_ok() { Poll::Ready(()) } else { Poll::Pending }
    }));
    let draft = || Draft::new(MessageKind::Message).to("nobody").with("body", &"x".repeat(1000));
    while inside.send(draft()).is_ok() {}
    let mut room = Box::pin(inside.room_to_send());
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let cx = &mut Context::from_waker(&waker);
    assert!(room.as_mut().poll(cx).is_pending());
    drop(run);
    assert!(woken.0.load(Ordering::Relaxed), "it would wait forever");
    assert_eq!(room.as_mut().poll(cx), Poll::Ready(Err(SendError::Offline)));
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
