//! The load: many clients in one thread, over epoll.
//!
//! Everything that a client sends in one turn of the loop leaves in one write, like that of a client that was busy for
//! a moment.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::frame;

pub(crate) struct Load {
    address: SocketAddr,
    epoll: OwnedFd,
    clients: Vec<Client>,
    outbox: Outbox,
    ready: Vec<epoll::Event>,
    buffer: Vec<u8>,
}

struct Client {
    stream: TcpStream,
    /// The beginning of a frame whose end has not come.
    input: Vec<u8>,
    /// What it says once the socket is a WebSocket.
    auth: Option<String>,
    /// The socket is full; epoll tells when it is not.
    full: bool,
    closed: bool,
}

/// What clients are about to say.
#[derive(Default)]
pub(crate) struct Outbox {
    bytes: Vec<Vec<u8>>,
    dirty: Vec<usize>,
}

impl Outbox {
    pub(crate) fn send(&mut self, client: usize, text: &str) {
        self.put(client, frame::TEXT, text.as_bytes());
    }

    fn put(&mut self, client: usize, opcode: u8, payload: &[u8]) {
        frame::write(self.touch(client), opcode, payload);
    }

    fn touch(&mut self, client: usize) -> &mut Vec<u8> {
        let bytes = &mut self.bytes[client];
        if bytes.is_empty() {
            self.dirty.push(client);
        }
        bytes
    }
}

impl Load {
    pub(crate) fn new(address: SocketAddr) -> Load {
        assert!(address.ip().is_loopback(), "load is only for this machine");
        Load {
            address,
            epoll: epoll::create(CreateFlags::CLOEXEC).expect("Linux has epoll"),
            clients: Vec::new(),
            outbox: Outbox::default(),
            ready: Vec::with_capacity(256),
            buffer: vec![0; 256 << 10],
        }
    }

    /// Adds a client, which sends `auth` as soon as it may. Clients are numbered from 0.
    pub(crate) fn dial(&mut self, auth: String) {
        let stream =
            TcpStream::connect(self.address).expect("it listens, and the limit on open files suffices");
        stream.set_nonblocking(true).expect("a socket can be polled");
        stream.set_nodelay(true).expect("a TCP socket");
        let client = self.clients.len();
        epoll::add(&self.epoll, &stream, EventData::new_u64(client as u64), EventFlags::IN)
            .expect("a new socket can be polled");
        self.clients.push(Client { stream, input: Vec::new(), auth: Some(auth), full: false, closed: false });
        self.outbox.bytes.push(Vec::new());
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.address
        );
        self.outbox.touch(client).extend_from_slice(request.as_bytes());
    }

    pub(crate) fn send(&mut self, client: usize, text: &str) {
        self.outbox.send(client, text);
    }

    /// This client stops reading.
    pub(crate) fn stop_reading(&mut self, client: usize) {
        epoll::delete(&self.epoll, &self.clients[client].stream).expect("added when it connected");
    }

    pub(crate) fn is_open(&self, client: usize) -> bool {
        !self.clients[client].closed
    }

    /// Sends what is queued, waits for input, and passes on each text. False if nothing arrived.
    pub(crate) fn turn(&mut self, wait: Duration, mut on: impl FnMut(&mut Outbox, usize, &str)) -> bool {
        self.flush();
        let wait = Timespec::try_from(wait).expect("a short wait");
        self.ready.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.ready), Some(&wait)) {
            Err(rustix::io::Errno::INTR) => return true,
            result => _ = result.expect("an epoll can be waited for"),
        }
        for event in &self.ready {
            let (client, flags) = (event.data.u64() as usize, event.flags);
            if flags.contains(EventFlags::OUT) {
                self.outbox.dirty.push(client);
                self.clients[client].full = false;
                self.clients[client].watch(&self.epoll, client, EventFlags::IN);
            }
            if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                let it = &mut self.clients[client];
                if it.read(client, &mut self.buffer, &mut self.outbox, &mut on).is_none() {
                    it.closed = true;
                    _ = epoll::delete(&self.epoll, &it.stream);
                }
            }
        }
        let came = !self.ready.is_empty();
        self.flush();
        came
    }

    /// Reads until nothing is left.
    pub(crate) fn settle(&mut self) {
        while self.turn(Duration::from_millis(100), |_, _, _| {}) {}
    }

    fn flush(&mut self) {
        for client in std::mem::take(&mut self.outbox.dirty) {
            let bytes = &mut self.outbox.bytes[client];
            let it = &mut self.clients[client];
            if it.full || it.closed {
                continue;
            }
            match it.stream.write(bytes) {
                Ok(n) if n == bytes.len() => bytes.clear(),
                Ok(n) => {
                    bytes.drain(..n);
                    it.wait_for_room(&self.epoll, client);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => it.wait_for_room(&self.epoll, client),
                Err(_) => {
                    it.closed = true;
                    _ = epoll::delete(&self.epoll, &it.stream);
                }
            }
        }
    }
}

impl Client {
    fn wait_for_room(&mut self, epoll: &OwnedFd, client: usize) {
        self.full = true;
        self.watch(epoll, client, EventFlags::IN | EventFlags::OUT);
    }

    fn watch(&self, epoll: &OwnedFd, client: usize, flags: EventFlags) {
        epoll::modify(epoll, &self.stream, EventData::new_u64(client as u64), flags).expect("it was added");
    }

    /// Reads once, and epoll reports again while there is more; `None` at the end.
    fn read(
        &mut self,
        client: usize,
        buffer: &mut [u8],
        outbox: &mut Outbox,
        on: &mut impl FnMut(&mut Outbox, usize, &str),
    ) -> Option<()> {
        let came = match self.stream.read(buffer) {
            Ok(n) if n > 0 => &buffer[..n],
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Some(()),
            _ => return None,
        };
        let mut held = std::mem::take(&mut self.input);
        let mut rest = if held.is_empty() {
            came
        } else {
            held.extend_from_slice(came);
            &held
        };
        if let Some(auth) = &self.auth {
            let Some(end) = rest.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                self.input = rest.to_vec();
                return Some(());
            };
            let head = String::from_utf8_lossy(&rest[..end]);
            assert!(head.starts_with("HTTP/1.1 101 "), "the server did not open a WebSocket:\n{head}");
            outbox.send(client, auth);
            self.auth = None;
            rest = &rest[end + 4..];
        }
        while let Some((opcode, payload, behind)) = frame::read(rest) {
            rest = behind;
            match opcode {
                frame::TEXT => on(outbox, client, std::str::from_utf8(payload).expect("texts are UTF-8")),
                frame::PING => outbox.put(client, frame::PONG, payload),
                frame::PONG => {}
                frame::CLOSE => return None,
                other => panic!("a frame with opcode {other} arrived"),
            }
        }
        self.input = rest.to_vec();
        Some(())
    }
}
