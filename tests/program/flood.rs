//! Many unauthenticated clients: how much memory they cost the program, and that it keeps files for its own work.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::world::{HERE, PATIENCE, Program, Server};

const ALICE: &str = r#"{"type":"auth","user":"alice"}"#;

/// The number of clients at a time, and how much each claims to send in one frame.
const STRANGERS: usize = 1100;
const SAYS: u64 = 511 << 10;

/// In KiB. Each may have a frame of 16 KiB, the bytes read with it, and the socket's own memory.
const PEAK: u64 = 64 << 10;

/// The KiB that may remain: fragmented pages, and the capacity of tables.
const KEPT: u64 = 4 << 10;

fn anonymous(program: &Program) -> u64 {
    let status = fs::read_to_string(program.proc().join("status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).expect("Linux reports it")
}

/// A WebSocket without an admitted peer.
fn stranger(server: &Server) -> TcpStream {
    let mut tcp = server.tcp();
    write!(
        tcp,
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .expect("it reads");
    let mut head = [0; 512];
    let n = tcp.read(&mut head).expect("it answers");
    assert!(head[..n].starts_with(b"HTTP/1.1 101"));
    tcp
}

/// Waits until a condition is true.
fn until(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn files(program: &Program) -> usize {
    fs::read_dir(program.proc().join("fd")).expect("it runs").count()
}

/// Each client claims a frame of size `says`, and sends `sent` bytes of it.
fn flood(server: &Server, says: u64, sent: usize) -> u64 {
    let before = files(&server.program);
    let mut strangers: Vec<_> = (0..STRANGERS).map(|_| stranger(server)).collect();
    let head = [&[0x81, 0x80 | 127][..], &says.to_be_bytes(), &[0; 4]].concat();
    let frame = [head, vec![b'{'; sent]].concat();
    for tcp in &mut strangers {
        tcp.set_write_timeout(Some(Duration::from_secs(1))).expect("not zero");
        // A refused client may be disconnected already.
        _ = tcp.write_all(&frame);
    }
    // All of it is read: an honest peer after them is answered.
    server.peer(ALICE);
    let peak = anonymous(&server.program);
    drop(strangers);
    until("their sockets are closed", || files(&server.program) <= before);
    peak
}

#[test]
fn unauthenticated_clients_cost_little_memory_and_it_is_freed() {
    let server = Server::of(Program::start(&[&HERE[..], &["--max-unauthenticated", "0"]].concat(), &[]));
    server.peer(ALICE);
    let before = anonymous(&server.program);
    // A frame refused by its head; the largest allowed frame without its last byte; and again.
    for (says, sent) in [(SAYS, SAYS as usize - 1), (16 << 10, (16 << 10) - 1), (SAYS, 100)] {
        let peak = flood(&server, says, sent);
        println!(
            "{STRANGERS} clients with frames of {says}: RssAnon {before} KiB before, {peak} KiB at most"
        );
        assert!(peak < before + PEAK, "{before} KiB grew to {peak} KiB");
    }
    until("memory is freed", || anonymous(&server.program) <= before + KEPT);
    println!("RssAnon {} KiB after", anonymous(&server.program));
}

#[test]
fn sockets_leave_files_for_other_work() {
    // 64 of the 100 files are reserved.
    let server =
        Server::of(Program::start_bound(100, &[&HERE[..], &["--max-unauthenticated", "0"]].concat()));
    let held: Vec<_> = (0..60).map(|_| server.tcp()).collect();
    server.program.logs("as many as connections and open files allow");
    assert!(files(&server.program) <= 36 + 20, "{} files", files(&server.program));
    drop(held);
    until("there is room again", || files(&server.program) < 36);
    server.peer(ALICE);
}

#[test]
fn without_free_files_it_waits_instead_of_spinning() {
    // Not even enough for the minimum of 16 sockets.
    let server = Server::of(Program::start_bound(20, &[&HERE[..], &["--max-unauthenticated", "0"]].concat()));
    let held: Vec<_> = (0..16).map(|_| server.tcp()).collect();
    server.program.logs("cannot accept a connection");
    let busy = || {
        let stat = fs::read_to_string(server.program.proc().join("stat")).expect("it runs");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
        // User and system time, in hundredths of a second.
        [11, 12].iter().map(|at| fields[*at].parse::<u64>().expect("a number")).sum::<u64>()
    };
    let (before, began) = (busy(), Instant::now());
    std::thread::sleep(Duration::from_secs(1));
    let (used, passed) = (busy() - before, began.elapsed());
    assert!(used < 20, "{used} hundredths of a second of CPU time in {passed:?}");
    drop(held);
    until("there is room again", || files(&server.program) < 18);
    server.peer(ALICE);
}
