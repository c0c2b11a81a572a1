//! The drivers' futures run under smol, on tokio's threads and on bare threads: one scenario, three ways.
#![cfg(all(feature = "client", feature = "server"))]

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use symple::client::{Config, Event};
use symple::net::ServerConfig;
use symple::proto::{Draft, MessageKind};
use symple::{Client, Server};

/// Far longer than anything here takes; a timeout, not a measurement.
const PATIENCE: Duration = Duration::from_secs(20);

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A server with one peer inside and two outside: presence, rooms, a direct message, a room message, a shutdown. Every
/// future is passed to `spawn`.
fn scenario(mut spawn: impl FnMut(Task)) {
    let server =
        Server::bind(ServerConfig::listen(["127.0.0.1:0".parse().expect("literal")])).expect("a free port");
    let url = format!("ws://{}", server.addresses()[0]);
    let config = |user: &str| Config { rooms: vec!["team".into()], ..Config::new(user) };

    let inside = server.peer(config("inside"));
    let alice = Client::new(&url, config("alice")).expect("a good address");
    let bob = Client::new(&url, config("bob")).expect("a good address");
    let [heard_inside, heard_alice, heard_bob] = [&inside, &alice, &bob].map(listen);

    spawn(Box::pin(server.run()));
    spawn(Box::pin(inside.run()));
    spawn(Box::pin(alice.run()));
    wait(&heard_inside, "alice comes", |e| matches!(e, Event::PeerAdded { peer: p } if p.user == "alice"));
    spawn(Box::pin(bob.run()));
    wait(&heard_alice, "bob comes", |e| matches!(e, Event::PeerAdded { peer: p } if p.user == "bob"));
    wait(
        &heard_bob,
        "the in-process peer is known",
        |e| matches!(e, Event::PeerAdded { peer: p } if p.user == "inside"),
    );

    alice.send(Draft::new(MessageKind::Message).to("bob").data("direct")).expect("online");
    let direct = |e: &Event| matches!(e, Event::Message { message: m } if m.data::<String>().is_ok_and(|d| d == "direct"));
    let got = wait(&heard_bob, "a direct message", direct);
    let Event::Message { message: got } = got else { unreachable!("just matched") };
    assert_eq!(got.from().map(|f| f.user()), Some("alice"));

    bob.send(Draft::new(MessageKind::Event).to("team").with("name", "tick")).expect("online");
    let tick = |e: &Event| matches!(e, Event::Message { message: m } if m.raw("name") == Some("\"tick\""));
    wait(&heard_alice, "a room message outside", tick);
    wait(&heard_inside, "a room message inside", tick);

    bob.close();
    wait(&heard_alice, "bob goes", |e| matches!(e, Event::PeerRemoved { peer: p } if p.user == "bob"));
    wait(&heard_bob, "bob's end", |e| matches!(e, Event::Ended { .. }));
    server.shutdown();
    wait(&heard_alice, "the server's end", |e| matches!(e, Event::Offline { .. }));
    alice.close();
    inside.close();
    wait(&heard_alice, "alice's end", |e| matches!(e, Event::Ended { .. }));
    wait(&heard_inside, "the end inside", |e| matches!(e, Event::Ended { .. }));
}

fn listen(client: &Client) -> Receiver<Event> {
    let (tell, heard) = channel();
    client.on(move |event| _ = tell.send(event));
    heard
}

fn wait(heard: &Receiver<Event>, what: &str, is: impl Fn(&Event) -> bool) -> Event {
    loop {
        let event = heard.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{what} was not heard"));
        if is(&event) {
            return event;
        }
    }
}

#[test]
fn on_bare_threads() {
    let mut threads = Vec::new();
    scenario(|task| threads.push(std::thread::spawn(move || futures_lite::future::block_on(task))));
    threads.into_iter().for_each(|t| t.join().expect("no driver panics"));
}

#[test]
fn on_threads_with_reactors_of_their_own() {
    let mut threads = Vec::new();
    scenario(|task| threads.push(std::thread::spawn(move || symple::net::block_on(task))));
    threads.into_iter().for_each(|t| t.join().expect("no driver panics"));
    // All in one thread, which begins when the scenario waits for the first time.
    let (give, given) = smol::channel::unbounded::<Task>();
    let thread = std::thread::spawn(move || {
        let executor = smol::LocalExecutor::new();
        symple::net::block_on(executor.run(async {
            let mut tasks = Vec::new();
            while let Ok(task) = given.recv().await {
                tasks.push(executor.spawn(task));
            }
            for task in tasks {
                task.await;
            }
        }));
    });
    scenario(|task| give.try_send(task).expect("unbounded"));
    drop(give);
    thread.join().expect("no driver panics");
}

#[test]
fn under_smol() {
    let executor = std::sync::Arc::new(smol::Executor::new());
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    let thread = std::thread::spawn({
        let executor = executor.clone();
        move || smol::block_on(executor.run(stopped.recv()))
    });
    let mut tasks = Vec::new();
    scenario(|task| tasks.push(executor.spawn(task)));
    smol::block_on(async {
        for task in tasks {
            task.await;
        }
    });
    drop(stop);
    assert!(thread.join().expect("no driver panics").is_err(), "it ends when its sender is dropped");
}

#[test]
fn on_tokio() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let mut tasks = Vec::new();
    scenario(|task| tasks.push(runtime.spawn(task)));
    runtime.block_on(async {
        for task in tasks {
            task.await.expect("no driver panics");
        }
    });
}

#[test]
fn several_drivers_share_one_hub() {
    let server =
        Server::bind(ServerConfig::listen(["127.0.0.1:0".parse().expect("literal")])).expect("a free port");
    let url = format!("ws://{}", server.addresses()[0]);
    // Of different kinds.
    let drivers: Vec<_> = (0..3)
        .map(|n| {
            let run = server.run();
            std::thread::spawn(move || if n == 1 { smol::block_on(run) } else { symple::net::block_on(run) })
        })
        .collect();
    let client = Client::new(&url, Config::new("alice")).expect("a good address");
    let heard = listen(&client);
    let running = std::thread::spawn({
        let run = client.run();
        move || smol::block_on(run)
    });
    wait(&heard, "welcome", |e| matches!(e, Event::Online { .. }));
    client.close();
    running.join().expect("no driver panics");
    server.shutdown();
    drivers.into_iter().for_each(|d| d.join().expect("every driver ends"));
}

#[test]
fn peers_of_a_driver_that_is_dropped_go_on_with_the_others() {
    const PEERS: usize = 6;
    let server =
        Server::bind(ServerConfig::listen(["127.0.0.1:0".parse().expect("literal")])).expect("a free port");
    let url = format!("ws://{}", server.addresses()[0]);
    let clients: Vec<_> = (0..PEERS)
        .map(|n| {
            let config = Config { rooms: vec!["team".into()], ..Config::new(format!("peer-{n}")) };
            Client::new(&url, config).expect("a good address")
        })
        .collect();
    let heard: Vec<_> = clients.iter().map(listen).collect();
    let runs: Vec<_> = clients.iter().map(Client::run).collect();
    let running = std::thread::spawn(move || {
        let executor = smol::LocalExecutor::new();
        let tasks: Vec<_> = runs.into_iter().map(|run| executor.spawn(run)).collect();
        smol::block_on(executor.run(async {
            for task in tasks {
                task.await;
            }
        }));
    });
    // The first accepts; in each round one that has peers ends, and the next takes over.
    let drive = |kind: usize| {
        let (stop, stopped) = smol::channel::bounded::<()>(1);
        let (tell, told) = std::sync::mpsc::channel();
        let run = server.run();
        let thread = std::thread::spawn(move || {
            let until = async {
                let mut run = std::pin::pin!(run);
                _ = futures_lite::future::poll_once(&mut run).await;
                tell.send(()).expect("somebody waits for it");
                futures_lite::future::or(run, async { _ = stopped.recv().await }).await;
            };
            if kind == 2 { smol::block_on(until) } else { symple::net::block_on(until) }
        });
        // Before that it cannot take over from another.
        told.recv().expect("it runs");
        (stop, thread)
    };
    let mut drivers = std::collections::VecDeque::from([drive(0), drive(1)]);
    for heard in &heard {
        wait(heard, "welcome", |e| matches!(e, Event::Online { .. }));
    }
    for round in 0..4 {
        let text = format!("round {round}");
        for (n, from) in clients.iter().enumerate() {
            let to = (n + 1) % PEERS;
            let draft = Draft::new(MessageKind::Message).to(&format!("peer-{to}")).data(&text);
            from.send(draft).expect("online");
            let is = |e: &Event| {
                assert!(!matches!(e, Event::Offline { .. }), "peer-{to} lost its connection: {e:?}");
                matches!(e, Event::Message { message: m } if m.data::<String>().is_ok_and(|d| d == text))
            };
            wait(&heard[to], &format!("a message in round {round}"), is);
        }
        drivers.push_back(drive(round + 2));
        let (stop, thread) = drivers.pop_front().expect("there are two");
        drop(stop);
        thread.join().expect("no driver panics");
    }
    clients.iter().for_each(Client::close);
    running.join().expect("no driver panics");
    server.shutdown();
    drivers.into_iter().for_each(|(_, thread)| thread.join().expect("no driver panics"));
}

#[test]
fn dropping_the_driver_frees_the_port() {
    let server =
        Server::bind(ServerConfig::listen(["127.0.0.1:0".parse().expect("literal")])).expect("a free port");
    let address = server.addresses()[0];
    let run = server.run();
    futures_lite::future::block_on(async {
        futures_lite::future::poll_once(run).await;
    });
    drop(server);
    Server::bind(ServerConfig::listen([address])).expect("the port is free again");
}

#[test]
fn an_in_process_peer_is_not_dropped_for_its_silence() {
    let server = Server::bind(ServerConfig::default()).expect("it listens nowhere");
    let second = Duration::from_secs(1);
    let config = Config { ping_interval: second, idle_timeout: 2 * second, ..Config::new("inside") };
    let inside = server.peer(config);
    let heard = listen(&inside);
    let runs = futures_lite::future::zip(server.run(), inside.run());
    let running = std::thread::spawn(move || smol::block_on(runs));
    wait(&heard, "welcome", |e| matches!(e, Event::Online { .. }));
    // Twice the idle timeout; any event meanwhile is a failure.
    let came = heard.recv_timeout(4 * second);
    assert!(came.is_err(), "{came:?}");
    inside.close();
    server.shutdown();
    running.join().expect("no driver panics");
}

#[test]
fn the_last_messages_of_an_in_process_peer_arrive() {
    let server = Server::bind(ServerConfig::default()).expect("it listens nowhere");
    let config = |user: &str| Config { rooms: vec!["team".into()], ..Config::new(user) };
    let (alice, bob) = (server.peer(config("alice")), server.peer(config("bob")));
    let [heard_alice, heard_bob] = [&alice, &bob].map(listen);
    let clients = futures_lite::future::zip(alice.run(), bob.run());
    let runs = futures_lite::future::zip(server.run(), clients);
    let running = std::thread::spawn(move || smol::block_on(runs));
    wait(&heard_alice, "bob", |e| matches!(e, Event::PeerAdded { peer: p } if p.user == "bob"));
    alice.send(Draft::new(MessageKind::Message).to("bob").data("goodbye")).expect("online");
    alice.close();
    wait(&heard_bob, "the goodbye", |e| matches!(e, Event::Message { .. }));
    bob.close();
    server.shutdown();
    running.join().expect("no driver panics");
}

#[test]
fn a_client_runs_once_at_a_time_and_again_after_a_drop() {
    let server = Server::bind(ServerConfig::default()).expect("it listens nowhere");
    let inside = server.peer(Config::new("inside"));
    let heard = listen(&inside);
    let serving = std::thread::spawn({
        let run = server.run();
        move || smol::block_on(run)
    });
    smol::block_on(async {
        let online = async {
            while !matches!(heard.try_recv(), Ok(Event::Online { .. })) {
                futures_lite::future::yield_now().await;
            }
        };
        // The second ends at once; the first is dropped in its current state.
        futures_lite::future::or(inside.run(), async {
            online.await;
            inside.run().await;
        })
        .await;
        assert!(inside.peer().is_none(), "its connection was dropped with it");
    });
    let again = std::thread::spawn({
        let run = inside.run();
        move || smol::block_on(run)
    });
    wait(&heard, "welcome again", |e| matches!(e, Event::Online { .. }));
    inside.close();
    again.join().expect("no driver panics");
    server.shutdown();
    serving.join().expect("no driver panics");
}
