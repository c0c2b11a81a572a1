//! Readers that are slow, or stop: everybody who reads gets everything, and nobody waits forever for others.
//!
//! Each reader has a thread of its own, as another process would, so that it reads while its sender sends.

use std::net::{SocketAddr, TcpStream};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use tungstenite::{Message, WebSocket};

use crate::world::{PATIENCE, Server};

pub(crate) type Peer = WebSocket<TcpStream>;

pub(crate) fn server() -> Server {
    Server::start(&["--rate", "0"], &[])
}

/// A peer in the room `r`, which receives no further announcements of its own arrival.
pub(crate) fn enter(server: &Server, user: &str) -> Peer {
    enter_room(server.address, user, "r")
}

pub(crate) fn enter_room(address: SocketAddr, user: &str, room: &str) -> Peer {
    try_enter_room(address, user, room).expect("it is admitted")
}

/// Fails for a peer that is closed again before it has read that it is admitted.
pub(crate) fn try_enter_room(address: SocketAddr, user: &str, room: &str) -> tungstenite::Result<Peer> {
    let tcp = TcpStream::connect(address)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    let url = format!("ws://{}/", address);
    let (mut ws, _) = tungstenite::client(url, tcp).expect("it speaks WebSocket");
    ws.send(Message::text(format!(r#"{{"type":"auth","user":"{user}","rooms":["{room}"]}}"#)))?;
    try_await_text(&mut ws, "welcome")?;
    Ok(ws)
}

pub(crate) fn await_text(ws: &mut Peer, part: &str) -> String {
    try_await_text(ws, part).expect("it is open")
}

fn try_await_text(ws: &mut Peer, part: &str) -> tungstenite::Result<String> {
    loop {
        let message = ws.read()?;
        if let Message::Text(text) = message
            && text.contains(part)
        {
            return Ok(text.to_string());
        }
    }
}

/// Sends this many numbered messages of this size; returns the longest time that one had to wait.
pub(crate) fn send(ws: &mut Peer, count: usize, bytes: usize) -> Duration {
    let rest = "x".repeat(bytes);
    let mut longest = Duration::ZERO;
    for n in 0..count {
        let text = format!(r#"{{"type":"message","data":{n},"rest":"{rest}"}}"#);
        let began = Instant::now();
        ws.send(Message::text(text)).expect("the reader catches up");
        longest = longest.max(began.elapsed());
    }
    longest
}

/// Reads until this many messages arrived or the connection ended, at this maximum rate in bytes per second; returns
/// their numbers.
pub(crate) fn read(mut ws: Peer, count: usize, rate: Option<usize>) -> JoinHandle<Vec<usize>> {
    spawn(move || {
        let (mut numbers, mut bytes, began) = (Vec::new(), 0, Instant::now());
        while numbers.len() < count {
            let Ok(message) = ws.read() else { break };
            bytes += message.len();
            if let Message::Text(text) = &message
                && let Some(data) = text.split_once(r#""data":"#)
                && text.contains(r#""message""#)
            {
                let number = data.1.split(',').next().and_then(|number| number.parse().ok());
                numbers.push(number.expect("a number"));
            }
            if let Some(rate) = rate {
                let due = Duration::from_secs_f64(bytes as f64 / rate as f64);
                sleep(due.saturating_sub(began.elapsed()));
            }
        }
        numbers
    })
}

pub(crate) fn closed_slow(server: &Server) -> String {
    metric(server, "symple_closed_slow_total")
}

pub(crate) fn metric(server: &Server, name: &str) -> String {
    let metrics = server.get("/metrics", None).2;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.expect("it is counted").to_owned()
}

/// In KiB.
pub(crate) fn memory(server: &Server, name: &str) -> usize {
    let status = std::fs::read_to_string(server.program.proc().join("status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells it");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number")
}

/// Messages, their size, and the reader's bytes per second.
pub(crate) type Case = (usize, usize, Option<usize>);
pub(crate) const CASES: [Case; 3] =
    [(250, 100_000, Some(5_000_000)), (100, 500_000, None), (400, 4096, None)];
/// 245 MB.
pub(crate) const LONG: [Case; 1] = [(490, 500_000, None)];

#[test]
fn a_reader_gets_everything_in_order() {
    in_order(&CASES);
}

#[test]
#[ignore = "takes half a minute: in `make test-all`"]
fn a_reader_gets_everything_in_order_for_long() {
    in_order(&LONG);
}

fn in_order(cases: &[Case]) {
    for &(count, bytes, rate) in cases {
        let server = server();
        let (mut alice, bob) = (enter(&server, "alice"), enter(&server, "bob"));
        let reader = read(bob, count, rate);
        send(&mut alice, count, bytes);
        let got = reader.join().expect("it reads");
        assert!(got.iter().copied().eq(0..count), "{} of {count} of {bytes} bytes", got.len());
        assert_eq!(closed_slow(&server), "0");
    }
}

#[test]
fn next_to_a_stopped_reader_others_get_everything_in_order() {
    in_order_next_to_one_that_stops(&CASES);
}

#[test]
#[ignore = "takes half a minute: in `make test-all`"]
fn next_to_a_stopped_reader_others_get_everything_in_order_for_long() {
    in_order_next_to_one_that_stops(&LONG);
}

fn in_order_next_to_one_that_stops(cases: &[Case]) {
    for &(count, bytes, rate) in cases {
        let server = server();
        let [mut alice, bob, mut eve] = ["alice", "bob", "eve"].map(|user| enter(&server, user));
        let reader = read(bob, count, rate);
        let waited = send(&mut alice, count, bytes);
        let got = reader.join().expect("it reads");
        assert!(got.iter().copied().eq(0..count), "{} of {count} of {bytes} bytes", got.len());
        println!("{count} of {bytes} bytes beside one that has stopped: the sender waited {waited:.1?}");
        assert!(waited < Duration::from_secs(10), "{waited:?}");
        // Messages that do not fill a queue do no harm.
        let is_too_much = count * bytes > 20 << 20;
        assert_eq!(closed_slow(&server), if is_too_much { "1" } else { "0" });
        if is_too_much {
            assert!(await_text(&mut alice, r#""online":false"#).contains("eve"), "its senders learn of it");
            let end = std::iter::from_fn(|| eve.read().ok()).count();
            assert!(end < count, "it did not get everything: {end}");
        }
    }
}

#[test]
fn a_stopped_reader_costs_at_most_its_queue_limit() {
    one_that_stops_costs_its_queue_limit(150);
}

#[test]
#[ignore = "takes half a minute: in `make test-all`"]
fn a_stopped_reader_costs_at_most_its_queue_limit_for_long() {
    one_that_stops_costs_its_queue_limit(1500);
}

/// Sends this many messages of 400 KB.
fn one_that_stops_costs_its_queue_limit(count: usize) {
    let server = server();
    let [mut alice, bob, _eve] = ["alice", "bob", "eve"].map(|user| enter(&server, user));
    let before = memory(&server, "VmRSS:");
    let reader = read(bob, count, None);
    send(&mut alice, count, 400_000);
    assert_eq!(reader.join().expect("it reads").len(), count);
    let grown = memory(&server, "VmHWM:") - before;
    println!("{count} of 400 KB for one that stops: {grown} KiB more at most");
    assert!(grown < 20 << 10, "{grown} KiB, although a queue has at most 8 MiB");
}

#[test]
fn a_held_sender_that_is_reset_goes_offline_at_once() {
    let server = server();
    let [mut alice, mut bob, _eve] = ["alice", "bob", "eve"].map(|user| enter(&server, user));
    let first_to_go = spawn(move || await_text(&mut bob, r#""online":false"#));
    // Blocks once it is held, when eve's queue is half full; then it is dropped without a close.
    alice.get_mut().set_write_timeout(Some(Duration::from_secs(1))).expect("not zero");
    set_socket_linger(alice.get_ref(), Some(Duration::ZERO)).expect("a socket");
    let text = format!(r#"{{"type":"message","rest":"{}"}}"#, "x".repeat(100_000));
    while alice.send(Message::text(&*text)).is_ok() {}
    assert!(server.get("/metrics", None).2.contains("symple_held_peers 1\n"));
    drop(alice);
    let first = first_to_go.join().expect("it hears that somebody has gone");
    assert!(first.contains("alice"), "before eve is closed: {first}");
}
