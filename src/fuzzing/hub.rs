//! The server's hub under any sequence of inputs: connections open, send, stop reading and close, on a virtual clock.
//!
//! The driver here keeps its side of the contract: it does not read held connections, and reports full sockets.
//! Everything else depends on the bytes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::bytes::Bytes;
use super::walk::{self, walk};
use crate::proto::{CloseCode, Head, Status};
use crate::server::{Admission, Config, ConnId, Event, Hub, Input, Output, Transmit, Verdict, Whom};

const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
const ROOMS: [&str; 3] = ["team", "alice", "den"];
const MAX_FRAME: usize = 2000;
const QUEUE: usize = 4000;
/// The maximum number of connections, and the number of frames in a burst.
const MAX_CONNECTIONS: usize = 6;
const BURST: usize = 50;
/// The maximum queue of one connection: twice the limit for peers in this process, the reserve for answers (64 KiB),
/// one more frame of each sender that was not held yet, and the answers to a burst while the socket still accepts
/// something.
const MOST: usize =
    2 * QUEUE + (64 << 10) + (MAX_CONNECTIONS + 3) * (MAX_FRAME + 500) + MAX_CONNECTIONS * BURST * 400;

/// The other end of a connection.
struct End {
    id: String,
    reads: bool,
    /// What it sends while it is held stays on its socket.
    unread: VecDeque<String>,
    close: Option<u16>,
    /// The last number received from each sender.
    heard: HashMap<u64, u64>,
}

struct World {
    hub: Hub,
    now: Instant,
    ends: BTreeMap<ConnId, End>,
    conns: u64,
    sent: u64,
    /// For each numbered message: copies received, and copies counted by the receipt.
    copies: HashMap<u64, (u64, Option<u64>)>,
    /// A connection ended, or something queued for one was dropped.
    lossy: bool,
    online: i64,
}

/// Runs the hub.
pub fn hub(data: &[u8]) {
    let mut bytes = Bytes(data);
    let flags = bytes.u8();
    let config = Config {
        authenticate: flags & 1 == 1,
        dynamic_rooms: flags & 2 == 0,
        rooms: if flags & 4 == 0 { vec!["team".into()] } else { vec![] },
        reserved: if flags & 8 == 0 { vec![] } else { vec!["dave".into()] },
        max_message_size: MAX_FRAME,
        rate: 100.0,
        burst: BURST as f64,
        max_connections: MAX_CONNECTIONS,
        queue_limit: QUEUE,
        memory_limit: if flags & 16 == 0 { 64 << 20 } else { 3 * QUEUE },
        max_rooms: 3,
        max_to: 8,
        max_peer_data: 1000,
        ..Config::default()
    };
    let w = World {
        hub: Hub::new(config),
        now: Instant::now(),
        ends: BTreeMap::new(),
        conns: 0,
        sent: 0,
        copies: HashMap::new(),
        lossy: false,
        online: 0,
    };
    walk(w, bytes, 400);
}

impl walk::World for World {
    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let op = bytes.u8() % 20;
        let conn = {
            let all: Vec<ConnId> = self.ends.keys().copied().collect();
            match all.len() {
                0 => ConnId(0),
                n => all[usize::from(bytes.u8()) % n],
            }
        };
        match op {
            0 => self.connect(bytes.u8() & 3 == 3),
            1 => {
                // An honest client: connects and authenticates.
                self.connect(false);
                let (conn, user, room) = (ConnId(self.conns), bytes.pick(&USERS), bytes.pick(&ROOMS));
                self.say(
                    conn,
                    &format!(r#"{{"type":"auth","user":"{user}","token":"t","rooms":["{room}"]}}"#),
                );
            }
            2 => {
                let (user, room) = (bytes.pick(&USERS), bytes.pick(&ROOMS));
                self.say(conn, &format!(r#"{{"type":"auth","user":"{user}","rooms":["{room}"]}}"#));
            }
            3..=6 => self.message(conn, bytes),
            7 => {
                let text = bytes.text();
                self.lossy = true; // it may contain a close
                if !text.contains("\"n\"") {
                    self.say(conn, text); // its number could equal one of ours
                }
            }
            8 => {
                let end = self.ends.get_mut(&conn);
                if let Some(end) = end {
                    end.reads = false;
                }
            }
            9 => self.read(conn),
            10 => self.read_some(conn, usize::from(bytes.u8()) * 16),
            11 => {
                self.lossy = true;
                self.ends.remove(&conn);
                self.input(Input::Closed { conn });
            }
            12 => self.pass(Duration::from_millis(u64::from(bytes.u8()) * 50)),
            13 => {
                let buffered = usize::from(bytes.u8()) * 8;
                self.input(Input::Buffered { conn, bytes: buffered });
            }
            14 => {
                let (kind, room) = (bytes.pick(&["join", "leave"]), bytes.pick(&ROOMS));
                self.say(conn, &format!(r#"{{"type":"{kind}","room":"{room}"}}"#));
            }
            15 => {
                let (probe, data) = (bytes.u8() & 1 == 1, "d".repeat(bytes.u8().into()));
                self.say(conn, &format!(r#"{{"type":"presence","probe":{probe},"data":{{"x":"{data}"}}}}"#));
            }
            16 => {
                let (to, pad) = (bytes.pick(&USERS), "p".repeat(usize::from(bytes.u8()) * 8));
                let text = format!(r#"{{"type":"event","from":"host|1","to":["{to}","team"],"x":"{pad}"}}"#);
                self.input(Input::Inject { text: &text });
            }
            17 => match bytes.u8() % 6 {
                0 => self.input(Input::Alive { conn }),
                1 => self.ending(Input::Binary { conn }),
                2 => self.ending(Input::TooLarge { conn }),
                3 => self.ending(Input::BadFrame { conn, code: CloseCode(1002) }),
                4 => self.ending(Input::Kick { whom: Whom::Conn(conn), status: Status(403), message: "no" }),
                _ => self.ending(Input::Kick {
                    whom: Whom::Address(bytes.pick(&USERS)),
                    status: Status(401),
                    message: "who?",
                }),
            },
            18 => {
                let verdict = match bytes.u8() & 1 {
                    0 => Verdict::Admit(Admission { rooms: vec!["den".into()], ..Admission::default() }),
                    _ => Verdict::Refuse { status: Status(401), message: "no".into() },
                };
                self.input(Input::Verdict { conn, verdict });
            }
            _ => {
                if bytes.u8() == 255 {
                    self.ending(Input::Shutdown);
                }
            }
        }
    }

    fn check(&self) {
        let stats = self.hub.stats();
        assert_eq!(stats.connections, self.ends.len(), "connections");
        assert_eq!(stats.peers as i64, self.online, "the number of announced peers");
        assert!(stats.longest_queue <= MOST, "{} bytes are queued for one connection", stats.longest_queue);
        assert!(stats.queued <= MOST * self.ends.len());
        assert!(stats.held <= stats.peers);
        assert!(stats.admitted >= stats.peers as u64);
    }

    /// All clients read everything, and then disconnect.
    fn end(mut self) {
        let all: Vec<ConnId> = self.ends.keys().copied().collect();
        for conn in &all {
            self.read(*conn);
        }
        self.pass(Duration::from_millis(100));
        assert_eq!(self.hub.stats().held, 0, "nobody is held once everybody has read");
        assert_eq!(self.hub.stats().queued, 0, "everything was read");
        let mut open = self.ends.values().filter(|end| end.close.is_none());
        assert!(open.all(|end| end.unread.is_empty()), "all sockets are read again");
        for (n, (came, told)) in &self.copies {
            let Some(told) = told else { continue };
            assert!(came <= told, "message {n}: {came} copies came, {told} were delivered");
            assert!(self.lossy || came == told, "message {n}: {came} copies came of {told}");
        }
        assert!(self.hub.stats().deliveries >= self.copies.values().map(|(came, _)| came).sum::<u64>());
        for conn in all {
            self.ends.remove(&conn);
            self.input(Input::Closed { conn });
        }
        let s = self.hub.stats();
        assert_eq!((s.connections, s.peers, s.rooms, s.queued, s.held), (0, 0, 0, 0, 0));
        assert_eq!(self.online, 0);
        self.pass(Duration::from_secs(120));
    }
}

impl World {
    fn connect(&mut self, local: bool) {
        self.conns += 1;
        let (conn, id) = (ConnId(self.conns), format!("s{}", self.conns));
        let end =
            End { id: id.clone(), reads: true, unread: VecDeque::new(), close: None, heard: HashMap::new() };
        self.ends.insert(conn, end);
        self.input(Input::Connected { conn, id, host: None, local });
    }

    /// A numbered message with a request for a receipt.
    fn message(&mut self, conn: ConnId, bytes: &mut Bytes<'_>) {
        let to = match bytes.u8() % 6 {
            0 => String::new(),
            1 => format!(r#""to":"{}","#, bytes.pick(&USERS)),
            2 => format!(r#""to":"{}","#, bytes.pick(&ROOMS)),
            3 => format!(r#""to":"|s{}","#, bytes.u8()),
            4 => format!(
                r#""to":["{}","{}","{}"],"#,
                bytes.pick(&USERS),
                bytes.pick(&ROOMS),
                bytes.pick(&USERS)
            ),
            _ => format!(r#""to":"{}|s{}","#, bytes.pick(&USERS), bytes.u8() % 8),
        };
        self.sent += 1;
        let (n, pad) = (self.sent, "m".repeat(usize::from(bytes.u8()) * 8));
        self.say(
            conn,
            &format!(
                r#"{{"type":"message",{to}"id":"{n}","receipt":true,"data":{{"s":{},"n":{n}}},"x":"{pad}"}}"#,
                conn.0
            ),
        );
    }

    /// A frame of a connection, once its socket is read.
    fn say(&mut self, conn: ConnId, text: &str) {
        let Some(end) = self.ends.get_mut(&conn) else { return };
        if self.hub.is_held(conn) || !end.unread.is_empty() {
            return end.unread.push_back(text.into());
        }
        self.input(Input::Text { conn, text });
    }

    /// An event that ends connections.
    fn ending(&mut self, input: Input<'_>) {
        self.lossy = true;
        self.input(input);
    }

    fn input(&mut self, input: Input<'_>) {
        self.hub.handle_input(input, self.now);
        self.settle();
    }

    fn settle(&mut self) -> Option<Instant> {
        for _ in 0..100_000 {
            match self.hub.poll_output() {
                Output::Timeout(at) => return at,
                Output::Event(Event::PeerOnline { .. }) => self.online += 1,
                Output::Event(Event::PeerOffline { .. }) => self.online -= 1,
                Output::Event(_) => {}
                Output::Ready(conn) => match self.ends.get(&conn).map(|end| end.reads) {
                    Some(true) => while self.take(conn, usize::MAX) {},
                    Some(false) => self.hub.handle_input(Input::Full { conn, moved: false }, self.now),
                    None => {}
                },
                Output::Resume(conn) => {
                    while !self.hub.is_held(conn)
                        && let Some(text) = self.ends.get_mut(&conn).and_then(|end| end.unread.pop_front())
                    {
                        self.hub.handle_input(Input::Text { conn, text: &text }, self.now);
                    }
                }
            }
        }
        panic!("the hub never becomes idle");
    }

    /// Reads about this many bytes from a connection; returns whether more are queued.
    fn take(&mut self, conn: ConnId, max: usize) -> bool {
        let mut out = Vec::new();
        let more = self.hub.transmit(conn, max, self.now, &mut out);
        for transmit in out {
            let end = self.ends.get_mut(&conn).expect("asked for");
            assert!(end.close.is_none(), "{transmit:?} after the close");
            match transmit {
                Transmit::Ping => {}
                Transmit::Close { code, .. } => {
                    end.close = Some(code.0);
                    self.lossy = true;
                }
                Transmit::Text(text) => {
                    let head = Head::parse(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
                    let data: Value =
                        head.data.map_or(Value::Null, |d| serde_json::from_str(d).expect("JSON"));
                    match (&*head.kind, data["s"].as_u64(), data["n"].as_u64()) {
                        ("message", Some(sender), Some(n)) if head.from.is_some() => {
                            let from: String =
                                serde_json::from_str(head.from.expect("looked at")).expect("text");
                            assert!(from.ends_with(&format!("|s{sender}")), "{from} is not the sender");
                            let last = end.heard.insert(sender, n);
                            assert!(last.is_none_or(|last| last < n), "{n} after {last:?}, to {}", end.id);
                            self.copies.entry(n).or_default().0 += 1;
                        }
                        ("receipt", ..) => {
                            let value: Value = serde_json::from_str(&text).expect("the hub writes JSON");
                            let n = value["id"].as_str().and_then(|id| id.parse().ok());
                            if let (Some(n), Some(delivered)) = (n, value["delivered"].as_u64()) {
                                let told = self.copies.entry(n).or_default().1.replace(delivered);
                                assert!(told.is_none(), "two receipts for {n}");
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
        more
    }

    fn read(&mut self, conn: ConnId) {
        let Some(end) = self.ends.get_mut(&conn) else { return };
        end.reads = true;
        while self.take(conn, usize::MAX) {}
        self.settle();
    }

    /// A slow connection reads a part.
    fn read_some(&mut self, conn: ConnId, max: usize) {
        if self.ends.contains_key(&conn) {
            if self.take(conn, max) {
                self.hub.handle_input(Input::Full { conn, moved: max > 0 }, self.now);
            }
            self.settle();
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut wakes = 0;
        while let Some(at) = self.settle().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.hub.handle_input(Input::Timeout, self.now);
            wakes += 1;
            assert!(wakes < 20_000, "the hub is woken continuously");
        }
        self.now = end;
    }
}
