//! In-process peers: what parts of the crate receive does not depend on the application's callback.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use futures_lite::FutureExt;
use futures_lite::future::block_on;

use super::*;
use crate::Client;
use crate::client::{self, CommandError};
use crate::net::lock;
use crate::proto::{Draft, MessageKind};

const CALLS: usize = 10_000;

/// The timeout of a failing test.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gate that opens once.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn open(&self) {
        *lock(&self.0) = true;
        self.1.notify_all();
    }

    fn wait(&self) {
        let open = lock(&self.0);
        let (open, _) =
            self.1.wait_timeout_while(open, PATIENCE, |open| !*open).expect("no panic under this lock");
        assert!(*open, "nothing came");
    }
}

/// A peer in the shared room: others cannot be called.
fn peer(user: &str) -> client::Config {
    client::Config { rooms: vec!["team".into()], ..client::Config::new(user) }
}

/// A server for its own process only, an online peer of it, and that peer's address.
fn server_and_peer(config: client::Config) -> (Server, Client, String) {
    let server = Server::bind(ServerConfig::default()).expect("a server without addresses");
    let peer = server.peer(config);
    for run in [server.run().boxed(), peer.run().boxed()] {
        thread::spawn(move || block_on(run));
    }
    while peer.peer().is_none() {
        thread::yield_now();
    }
    let address = peer.peer().expect("just looked").address().to_string();
    (server, peer, address)
}

#[test]
fn ten_thousand_calls_arrive_in_order_while_the_applications_callback_blocks() {
    let (server, camera, address) = server_and_peer(peer("camera"));
    let (heard, all_heard) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Gate::default()));
    let (sent, stands) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
    camera.hook({
        let (heard, all_heard) = (heard.clone(), all_heard.clone());
        move |event| {
            if let client::Event::Message { message } = event {
                let n = message.data::<usize>().expect("a number");
                let mut heard = lock(&heard);
                heard.push(n);
                if heard.len() == CALLS {
                    all_heard.open();
                }
            }
        }
    });
    let called = Arc::new(AtomicUsize::new(0));
    camera.on({
        let (sent, stands, called) = (sent.clone(), stands.clone(), called.clone());
        move |event| {
            if let client::Event::Message { .. } = event
                && called.fetch_add(1, Ordering::Relaxed) == 0
            {
                stands.open();
                sent.wait();
            }
        }
    });
    let caller = server.peer(peer("caller"));
    thread::spawn({
        let caller = caller.clone();
        move || block_on(caller.run())
    });
    while caller.peer().is_none() {
        thread::yield_now();
    }
    for n in 0..CALLS {
        let draft = Draft::new(MessageKind::Message).to(&address).subtype("call:candidate").with("data", &n);
        block_on(caller.room_to_send()).expect("online");
        caller.send(draft).expect("there is room");
    }
    stands.wait();
    sent.open();
    all_heard.wait();
    assert!(lock(&heard).iter().copied().eq(0..CALLS), "each once, in order");
    server.shutdown();
}

#[test]
fn every_event_of_one_instant_is_delivered() {
    const COMMANDS: usize = 5_000;
    let config = client::Config { max_commands: COMMANDS, ..peer("camera") };
    let (server, camera, _) = server_and_peer(config);
    let (replies, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(Gate::default()));
    camera.hook({
        let (replies, ended) = (replies.clone(), ended.clone());
        move |event| match event {
            client::Event::Reply { result, .. } => {
                assert!(matches!(result, Err(CommandError::Offline)), "{result:?}");
                replies.fetch_add(1, Ordering::Relaxed);
            }
            client::Event::Ended { .. } => ended.open(),
            _ => {}
        }
    });
    let data = serde_json::Value::Null;
    // The peer is online, but does not answer.
    let silent = server.peer(peer("silent"));
    thread::spawn({
        let silent = silent.clone();
        move || block_on(silent.run())
    });
    while silent.peer().is_none() {
        thread::yield_now();
    }
    let to = silent.peer().expect("just looked").address().to_string();
    for _ in 0..COMMANDS {
        block_on(camera.room_to_send()).expect("online");
        camera.command(&to, "node", "execute", &data).expect("there is room");
    }
    camera.close();
    ended.wait();
    assert_eq!(replies.load(Ordering::Relaxed), COMMANDS);
    server.shutdown();
}
