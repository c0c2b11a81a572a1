//! Rooms with many senders and readers of every speed: those who keep up lose nothing, and no sender waits for long.

use std::collections::HashMap;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use tungstenite::Message;

use crate::slow::{Peer, closed_slow, enter_room, server, try_enter_room};
use crate::world::Server;

/// A room in which all senders send a message every quarter of a second, and all read.
#[derive(Clone, Copy)]
pub(crate) struct Room {
    senders: usize,
    readers: usize,
    /// Messages of each sender, and their size.
    messages: usize,
    bytes: usize,
    /// The bytes per second of the slow reader while they send; afterwards it reads the rest as fast as possible.
    slow: usize,
}

/// A hundred senders send 1.6 MB per second to a room of two hundred, in which one reads 1 MB per second: 320 MB per
/// second in all.
pub(crate) const LARGE: Room =
    Room { senders: 100, readers: 99, messages: 240, bytes: 4096, slow: 1_000_000 };

const PACE: Duration = Duration::from_millis(250);

/// The longest that a message may be delayed with one server.
const LIMIT: Duration = Duration::from_secs(10);

/// What arrived from one sender: how many messages, and the longest delay.
type Came = HashMap<String, (usize, Duration)>;

impl Room {
    fn all(&self) -> usize {
        self.senders * self.messages
    }

    /// Reads the messages of all senders, at a maximum rate in bytes per second while they send, until all arrived or it
    /// is closed.
    fn read_all(self, mut ws: Peer, rate: Option<usize>, began: Instant) -> Came {
        let (mut came, mut total, mut bytes) = (Came::new(), 0, 0);
        while total < self.all() {
            let Ok(message) = ws.read() else { break };
            bytes += message.len();
            if let Message::Text(text) = &message
                && let Some((_, data)) = text.split_once(r#""data":["#)
            {
                let data: Vec<u64> = data
                    .split(']')
                    .next()
                    .unwrap_or_default()
                    .split(',')
                    .filter_map(|n| n.parse().ok())
                    .collect();
                let [sender, number, sent] = data[..] else { panic!("{data:?}") };
                let (next, longest) = came.entry(sender.to_string()).or_default();
                assert_eq!(number as usize, *next, "of {sender}");
                *next += 1;
                *longest = (*longest).max(began.elapsed().saturating_sub(Duration::from_micros(sent)));
                total += 1;
            }
            if let Some(rate) = rate {
                let sending = PACE * self.messages as u32;
                let due = Duration::from_secs_f64(bytes as f64 / rate as f64).min(sending);
                sleep(due.saturating_sub(began.elapsed()));
            }
        }
        came
    }

    /// Sends its messages at their pace. It also reads, since otherwise it would be a slow reader itself. Returns how
    /// long its messages waited to be sent in all.
    fn send_all(self, mut ws: Peer, sender: usize, began: Instant) -> (Peer, Duration) {
        let rest = "x".repeat(self.bytes);
        let mut waited = Duration::ZERO;
        ws.get_mut().set_nonblocking(true).expect("a socket");
        for n in 0..self.messages {
            let at = began.elapsed();
            let now = at.as_micros();
            let text = format!(r#"{{"type":"message","data":[{sender},{n},{now}],"rest":"{rest}"}}"#);
            let mut written = ws.send(Message::text(text));
            while would_block(&written) {
                while ws.read().is_ok() {}
                sleep(Duration::from_millis(1));
                written = ws.flush();
            }
            written.expect("it is not closed");
            waited += began.elapsed() - at;
            while began.elapsed() < PACE * (n as u32 + 1) {
                while ws.read().is_ok() {}
                sleep(Duration::from_millis(5));
            }
        }
        (ws, waited)
    }

    /// The slow one gets everything or is closed; everybody else gets everything in time. The senders are at the first
    /// server, the others at the second.
    pub(crate) fn run(self, (first, second): (&Server, &Server), buffer: Option<usize>, limit: Duration) {
        let slow = enter_room(second.address, "slow", "r");
        if let Some(buffer) = buffer {
            set_socket_recv_buffer_size(slow.get_ref(), buffer).expect("a socket");
        }
        let enter = |at: &Server, user: &str, n: usize| enter_room(at.address, &format!("{user}{n}"), "r");
        let readers: Vec<Peer> = (0..self.readers).map(|n| enter(second, "reader", n)).collect();
        let senders: Vec<Peer> = (0..self.senders).map(|n| enter(first, "sender", n)).collect();
        let began = Instant::now();
        scope(|threads| {
            let slow = threads.spawn(move || self.read_all(slow, Some(self.slow), began));
            let readers: Vec<_> =
                readers.into_iter().map(|ws| threads.spawn(move || self.read_all(ws, None, began))).collect();
            let senders: Vec<_> = (senders.into_iter().enumerate())
                .map(|(n, ws)| threads.spawn(move || self.send_all(ws, n, began)))
                .collect();
            let senders: Vec<_> =
                senders.into_iter().map(|sender| sender.join().expect("it sends")).collect();
            let sent = began.elapsed();
            let mut longest = Duration::ZERO;
            for (n, reader) in readers.into_iter().enumerate() {
                let came = reader.join().expect("all in order");
                assert!(
                    came.len() == self.senders && came.values().all(|(n, _)| *n == self.messages),
                    "reader {n}: {came:?}"
                );
                longest = came.values().map(|(_, longest)| *longest).fold(longest, Duration::max);
            }
            let came: usize = slow.join().expect("what came is in order").values().map(|(n, _)| n).sum();
            let waited = senders.iter().map(|(_, waited)| *waited).max().unwrap_or_default();
            drop(senders);
            let closed = closed_slow(second);
            let all = self.all();
            println!(
                "the slow one got {came} of {all}, closed {closed}; others waited {longest:.1?} for a message and \
                 {waited:.1?} to send at most, sent in {sent:.1?}"
            );
            assert!(closed == "1" || came == all && closed == "0");
            assert!(longest < limit, "{longest:?}");
        });
    }
}

/// Twenty senders send 660 KB per second to a room of forty, in which one reads 50 KB per second.
#[test]
fn one_slow_reader_in_a_room_costs_nobody_a_message() {
    // Small buffers, at the server and in the kernel, so that the backlog fills them within the test.
    let server = Server::start(&["--rate", "0", "--queue", "256K"], &[]);
    let room = Room { senders: 20, readers: 20, messages: 40, bytes: 8192, slow: 50_000 };
    room.run((&server, &server), Some(16 << 10), LIMIT);
}

#[test]
#[ignore = "takes a minute, and two idle cores: in `make test-all`"]
fn one_slow_reader_in_a_large_room_costs_nobody_a_message() {
    let server = server();
    LARGE.run((&server, &server), None, LIMIT);
}

fn would_block(result: &tungstenite::Result<()>) -> bool {
    matches!(result, Err(tungstenite::Error::Io(e)) if e.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
#[ignore = "takes a minute: in `make test-all`"]
fn repeatedly_stopping_readers_hold_a_sender_for_ten_seconds_a_minute() {
    let server = server();
    stopping_readers(&server, &server);
}

/// In each of ten rooms at the second server, ten peers that read one byte per second, and always reconnect. The senders
/// are at the first.
pub(crate) fn stopping_readers(first: &Server, second: &Server) {
    const ROOMS: usize = 10;
    const STOPPED: usize = 10;
    const MINUTE: Duration = Duration::from_secs(60);
    let over = AtomicBool::new(false);
    let rest = "x".repeat(100_000);
    let waits: Vec<(Duration, usize)> = scope(|threads| {
        for (room, n) in (0..ROOMS).flat_map(|room| (0..STOPPED).map(move |n| (room, n))) {
            let (address, over) = (second.address, &over);
            threads.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let (user, room) = (format!("stopped{room}-{n}"), format!("r{room}"));
                    // One that was closed may hold nobody for a minute, and may be closed again at once.
                    let Ok(mut ws) = try_enter_room(address, &user, &room) else { continue };
                    // Longer than the time after which a stopped reader is closed; it does not see the close behind its
                    // queue.
                    for _ in 0..12 {
                        sleep(Duration::from_secs(1));
                        if over.load(Ordering::Relaxed) || ws.get_mut().read(&mut [0]).is_err() {
                            break;
                        }
                    }
                }
            });
        }
        let senders: Vec<_> = (0..ROOMS)
            .map(|room| {
                let (address, over, rest) = (first.address, &over, &rest);
                let mut reader = enter_room(second.address, &format!("reader{room}"), &format!("r{room}"));
                threads.spawn(move || while !over.load(Ordering::Relaxed) && reader.read().is_ok() {});
                threads.spawn(move || {
                    let mut ws = enter_room(address, &format!("sender{room}"), &format!("r{room}"));
                    let (began, mut waited, mut sent) = (Instant::now(), Duration::ZERO, 0);
                    while began.elapsed() < MINUTE {
                        let text = format!(r#"{{"type":"message","rest":"{rest}"}}"#);
                        let at = Instant::now();
                        ws.send(Message::text(text)).expect("it is not closed");
                        waited += at.elapsed();
                        sent += 1;
                        sleep(Duration::from_millis(100));
                    }
                    (waited, sent)
                })
            })
            .collect();
        let waits = senders.into_iter().map(|sender| sender.join().expect("it sends")).collect();
        over.store(true, Ordering::Relaxed);
        waits
    });
    let closed = closed_slow(second);
    println!("of a minute the senders waited {waits:.1?} (messages); {closed} were closed");
    assert!(closed.parse::<usize>().expect("a number") >= ROOMS * STOPPED);
    // The kernel's buffers also fill up, and a busy machine is slow by itself.
    assert!(waits.iter().all(|(waited, _)| *waited < Duration::from_secs(12)), "{waits:?}");
}
