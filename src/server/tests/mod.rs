//! Named peers around one hub, on a virtual clock.
//!
//! The peer `alice.2` is the user `alice`, her session `#alice.2`.

mod admission;
mod bad_frames;
mod crowds;
mod ghosts;
mod host;
mod instances;
mod messages;
mod pace;
mod presence;
mod rooms;
mod slow;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::proto::Message;

use super::{Config, ConnId, Event, Hub, Input, Output, Transmit};

pub(super) struct World {
    pub hub: Hub,
    pub now: Instant,
    pub events: Vec<Event>,
    ends: BTreeMap<String, End>,
    names: BTreeMap<ConnId, String>,
    conns: u64,
}

/// The other end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub conn: ConnId,
    pub inbox: Vec<String>,
    pub pings: usize,
    pub close: Option<(u16, String)>,
    /// A peer that does not read leaves its queue in the hub.
    reads: bool,
    /// What it sends while it is held stays on its socket.
    pub unread: VecDeque<String>,
}

pub(super) const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

impl World {
    pub(super) fn new(config: Config) -> World {
        let (ends, names) = Default::default();
        World { hub: Hub::new(config), now: Instant::now(), events: Vec::new(), ends, names, conns: 0 }
    }

    pub(super) fn open() -> World {
        World::new(Config::default())
    }

    /// A connection that has sent nothing yet.
    pub(super) fn connect(&mut self, name: &str) -> ConnId {
        self.connect_as(name, false)
    }

    pub(super) fn connect_as(&mut self, name: &str, local: bool) -> ConnId {
        self.conns += 1;
        let conn = ConnId(self.conns);
        let end =
            End { conn, inbox: Vec::new(), pings: 0, close: None, reads: true, unread: VecDeque::new() };
        assert!(self.ends.insert(name.into(), end).is_none(), "{name} is connected already");
        self.names.insert(conn, name.into());
        self.input(Input::Connected { conn, id: format!("#{name}"), host: Some(HOST), local });
        conn
    }

    /// A peer that is admitted into these rooms; everything received so far is discarded, for all peers.
    pub(super) fn join(&mut self, name: &str, rooms: &[&str]) {
        self.connect(name);
        self.auth(name, rooms);
        assert!(self.got(name)[0].contains(r#""type":"welcome""#));
        self.forget();
    }

    pub(super) fn auth(&mut self, name: &str, rooms: &[&str]) {
        let user = name.split('.').next().expect("a split has a first part");
        self.send(name, &format!(r#"{{"type":"auth","user":"{user}","rooms":{rooms:?}}}"#));
    }

    pub(super) fn send(&mut self, name: &str, text: &str) {
        let conn = self.end(name).conn;
        if self.hub.is_held(conn) {
            return self.end(name).unread.push_back(text.into());
        }
        self.input(Input::Text { conn, text });
    }

    pub(super) fn is_held(&mut self, name: &str) -> bool {
        let conn = self.end(name).conn;
        self.hub.is_held(conn)
    }

    /// The socket of a peer ends.
    pub(super) fn cut(&mut self, name: &str) {
        let end = self.ends.remove(name).expect("connected");
        self.input(Input::Closed { conn: end.conn });
    }

    /// What arrived since the last call.
    pub(super) fn got(&mut self, name: &str) -> Vec<String> {
        std::mem::take(&mut self.end(name).inbox)
    }

    /// The statuses of the errors that arrived.
    pub(super) fn errors(&mut self, name: &str) -> Vec<u16> {
        let got = self.got(name);
        let read = got.iter().map(|text| Message::parse(&**text).expect("the hub writes messages"));
        read.filter(|m| m.kind().as_str() == "error").filter_map(|m| Some(m.status()?.0)).collect()
    }

    pub(super) fn close(&mut self, name: &str) -> Option<(u16, String)> {
        self.end(name).close.clone()
    }

    pub(super) fn close_code(&mut self, name: &str) -> Option<u16> {
        Some(self.close(name)?.0)
    }

    pub(super) fn end(&mut self, name: &str) -> &mut End {
        self.ends.get_mut(name).unwrap_or_else(|| panic!("{name} is not connected"))
    }

    pub(super) fn forget(&mut self) {
        self.ends.values_mut().for_each(|end| end.inbox.clear());
        self.events.clear();
    }

    pub(super) fn stop_reading(&mut self, name: &str) {
        self.end(name).reads = false;
    }

    /// Reads everything, and continues to read.
    pub(super) fn read(&mut self, name: &str) {
        self.end(name).reads = true;
        let end = self.ends.get_mut(name).expect("asked for above");
        drain(&mut self.hub, end, usize::MAX, self.now);
        self.settle();
    }

    /// Reads about this many bytes; returns whether more is queued.
    pub(super) fn read_some(&mut self, name: &str, bytes: usize) -> bool {
        let end = self.ends.get_mut(name).expect("connected");
        let (conn, more) = (end.conn, take(&mut self.hub, end, bytes, self.now));
        if more {
            self.hub.handle_input(Input::Full { conn, moved: true }, self.now);
        }
        self.settle();
        more
    }

    pub(super) fn input(&mut self, input: Input<'_>) {
        self.hub.handle_input(input, self.now);
        self.settle();
    }

    /// Lets time pass, stopping wherever the hub wants to be woken.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.settle().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Timeout);
        }
        self.now = end;
    }

    fn settle(&mut self) -> Option<Instant> {
        loop {
            match self.hub.poll_output() {
                Output::Timeout(at) => return at,
                Output::Event(event) => self.events.push(event),
                Output::Ready(conn) => {
                    let end = self.names.get(&conn).and_then(|name| self.ends.get_mut(name));
                    match end.filter(|end| end.conn == conn) {
                        Some(end) if end.reads => drain(&mut self.hub, end, usize::MAX, self.now),
                        Some(_) => self.hub.handle_input(Input::Full { conn, moved: false }, self.now),
                        None => {}
                    }
                }
                Output::Resume(conn) => {
                    let name = self.names[&conn].clone();
                    while let Some(end) = self.ends.get_mut(&name).filter(|end| end.conn == conn)
                        && !self.hub.is_held(conn)
                        && let Some(text) = end.unread.pop_front()
                    {
                        self.hub.handle_input(Input::Text { conn, text: &text }, self.now);
                    }
                }
            }
        }
    }
}

fn drain(hub: &mut Hub, end: &mut End, bytes: usize, now: Instant) {
    while take(hub, end, bytes, now) {}
}

fn take(hub: &mut Hub, end: &mut End, bytes: usize, now: Instant) -> bool {
    let mut out = Vec::new();
    let more = hub.transmit(end.conn, bytes, now, &mut out);
    for transmit in out {
        assert!(end.close.is_none(), "nothing comes after the close: {transmit:?}");
        match transmit {
            Transmit::Text(text) => end.inbox.push(text.to_string()),
            Transmit::Ping => end.pings += 1,
            Transmit::Close { code, reason } => end.close = Some((code.0, reason.into())),
        }
    }
    more
}

pub(super) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A snapshot or announcement of a peer without data, as it is on the wire.
pub(super) fn online(name: &str) -> String {
    told(name, true)
}

pub(super) fn offline(name: &str) -> String {
    told(name, false)
}

fn told(name: &str, online: bool) -> String {
    let user = name.split('.').next().expect("a split has a first part");
    format!(
        r##"{{"type":"presence","from":"{user}|#{name}","data":{{"id":"#{name}","user":"{user}","name":"{user}","online":{online}}}}}"##
    )
}

#[test]
fn an_idle_session_is_small() {
    let size = size_of::<super::session::Session>();
    assert!(size <= 256, "{size} bytes");
}
