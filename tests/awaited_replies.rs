//! Replies and receipts are awaited on any runtime: under smol, on tokio and on a bare thread.
#![cfg(all(feature = "client", feature = "server"))]

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_lite::future::{block_on, or, zip};
use futures_lite::{Stream, StreamExt};
use serde_json::json;
use symple::client::{Config, Event, RequestError};
use symple::net::{ClientEvent, Events, ServerConfig};
use symple::proto::{Draft, MessageKind, Status};
use symple::{Client, Server};

/// Far longer than anything here takes; a timeout, not a measurement.
const PATIENCE: Duration = Duration::from_secs(30);

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A server with a camera in its process that answers commands, and a client connected by a socket.
fn cast() -> (Server, Client, Client) {
    let config = ServerConfig::listen(["127.0.0.1:0".parse().expect("literal")]);
    let server = Server::bind(config).expect("a free port");
    let url = format!("ws://{}", server.addresses()[0]);
    let config = |user: &str| Config { rooms: vec!["team".into()], ..Config::new(user) };
    let camera = server.peer(config("camera"));
    let handle = camera.clone();
    camera.on(move |event| {
        let Event::Command { command } = event else { return };
        let level: u32 = command.data().expect("a number");
        // At the end, no requester is left.
        let answer = |status, data| _ = handle.reply(&command, status, &data);
        match level {
            0..10 => answer(Status::OK, json!(level + 1)),
            10 => answer(Status::FORBIDDEN, json!("too far")),
            // Status 202, without end.
            _ => answer(Status(202), json!(null)),
        }
    });
    (server, camera, Client::new(&url, config("alice")).expect("a good address"))
}

/// Waits until `alice` sees the camera.
async fn meet(events: &mut (impl Stream<Item = ClientEvent> + Unpin)) {
    while let Some(event) = events.next().await {
        if matches!(event, ClientEvent::Event { event: Event::PeerAdded { peer } } if peer.user == "camera") {
            return;
        }
    }
}

/// The application's part, which awaits everything.
async fn application(server: Server, camera: Client, alice: Client, mut events: Events<ClientEvent>) {
    meet(&mut events).await;

    let reply = alice.request("camera", "lens", "zoom", &1).await.expect("a reply");
    assert_eq!(reply.data::<u32>().ok(), Some(2));
    let (two, three) =
        zip(alice.request("camera", "lens", "zoom", &2), alice.request("camera", "lens", "zoom", &3)).await;
    let level =
        |reply: Result<symple::proto::Message, RequestError>| reply.expect("a reply").data::<u32>().ok();
    assert_eq!((level(two), level(three)), (Some(3), Some(4)));

    let refused = alice.request("camera", "lens", "zoom", &10).await.expect_err("too far");
    assert_eq!(refused.code(), "refused");
    let nobody = alice.request("nobody", "lens", "zoom", &1).await.expect_err("nobody");
    assert_eq!(nobody.code(), "nobody-there");

    let chat = |to: &str| Draft::new(MessageKind::Message).to(to).data("hi");
    assert_eq!(alice.deliver(chat("camera")).await, Ok(1));
    assert_eq!(alice.deliver(chat("nobody")).await, Err(RequestError::NobodyThere));

    // Dropping a reply frees its slot: these are more than are kept at a time.
    for _ in 0..300 {
        let mut reply = alice.request("camera", "lens", "zoom", &11);
        let waits = poll_fn(|cx| Poll::Ready(Pin::new(&mut reply).poll(cx).is_pending())).await;
        assert!(waits, "its slot was free");
    }

    let unanswered = alice.request("camera", "lens", "zoom", &11);
    let closing = async {
        alice.close();
        std::future::pending::<()>().await
    };
    let closed = or(unanswered, async {
        closing.await;
        unreachable!("it is pending")
    });
    assert_eq!(closed.await.expect_err("closed meanwhile").code(), "closed");
    let offline = alice.request("camera", "lens", "zoom", &1).await.expect_err("closed before");
    assert_eq!(offline.code(), "offline");

    camera.close();
    server.shutdown();
}

/// Runs everything, each future passed to `spawn`; the last one is the application's, whose panic fails the test.
fn scenario(mut spawn: impl FnMut(Task)) {
    let (server, camera, alice) = cast();
    let events = alice.events(64);
    spawn(Box::pin(server.run()));
    spawn(Box::pin(camera.run()));
    spawn(Box::pin(alice.run()));
    let late = async {
        smol::Timer::after(PATIENCE).await;
        panic!("it takes too long");
    };
    spawn(Box::pin(or(application(server, camera, alice, events), late)));
}

#[test]
fn on_bare_threads() {
    let mut threads = Vec::new();
    scenario(|task| threads.push(std::thread::spawn(move || block_on(task))));
    threads.into_iter().rev().for_each(|thread| thread.join().expect("nothing panics"));
}

#[test]
fn under_smol() {
    let executor = smol::Executor::new();
    let mut tasks = Vec::new();
    scenario(|task| tasks.push(executor.spawn(task)));
    smol::block_on(executor.run(async {
        for task in tasks.into_iter().rev() {
            task.await;
        }
    }));
}

#[test]
fn on_tokio() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let mut tasks = Vec::new();
    scenario(|task| tasks.push(runtime.spawn(task)));
    runtime.block_on(async {
        for task in tasks.into_iter().rev() {
            task.await.expect("nothing panics");
        }
    });
}

/// Whether the waker was called.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn awaited_replies_end_when_the_driver_is_dropped() {
    let (server, camera, alice) = cast();
    let mut events = alice.events(64);
    let others = async { _ = zip(server.run(), camera.run()).await };
    block_on(or(others, async {
        let mut run = Box::pin(alice.run());
        or(&mut run, meet(&mut events)).await;
        let reply = Box::pin(alice.request("camera", "lens", "zoom", &11));
        let delivery = Box::pin(alice.deliver(Draft::new(MessageKind::Message).to("camera")));
        let [mut reply, mut delivery]: [Pin<Box<dyn Future<Output = &str>>>; 2] = [
            Box::pin(async { reply.await.expect_err("no reply").code() }),
            Box::pin(async { delivery.await.expect_err("no receipt").code() }),
        ];
        let woken = [(); 2].map(|()| Arc::<Woken>::default());
        let wakers = woken.clone().map(Waker::from);
        assert!(reply.as_mut().poll(&mut Context::from_waker(&wakers[0])).is_pending());
        assert!(delivery.as_mut().poll(&mut Context::from_waker(&wakers[1])).is_pending());
        drop(run);
        assert!(woken.iter().all(|woken| woken.0.load(Ordering::Relaxed)), "both are woken");
        assert_eq!(zip(reply, delivery).await, ("lost", "lost"));
    }));
}
