//! Several hubs around one virtual bus, on a virtual clock.
//!
//! Each instance has one line to the bus and one back, like a connection to Redis: a line keeps its order, and the test
//! decides which line moves next. A bus that restarts loses everything on the lines.

mod bounds;
mod met_again;
mod outages;
mod random;
mod scenarios;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::cluster::{self, BROADCAST, Bus, BusInput, ClusterSettings, InstanceOutput as Output};
use crate::server::{Config, ConnId, Input, Transmit};

const HOUR: Duration = Duration::from_secs(3600);

/// What arrives from the bus.
enum Back {
    Subscribed(u64),
    Published(u64, u64),
    Said(String, Arc<str>),
    Down,
}

pub(super) struct Instance {
    pub hub: cluster::Instance,
    name: String,
    connected: bool,
    /// The instance is suspended; its input waits.
    pub hangs: bool,
    /// The bus is unreachable for this instance.
    pub cut_off: bool,
    /// Its driver waits for the bus, and takes nothing from the hub.
    pub stalls: bool,
    to_bus: VecDeque<Bus>,
    from_bus: VecDeque<Back>,
    channels: BTreeSet<String>,
    due: Option<Instant>,
    /// The connection of each client.
    conns: BTreeMap<ConnId, String>,
}

/// A client as its user sees it.
pub(super) struct Client {
    pub at: usize,
    conn: ConnId,
    pub inbox: Vec<Value>,
    /// Addresses, and the last presence of each.
    pub roster: BTreeMap<String, Value>,
    /// It was told of a departure of these, and had not been told that they were there.
    pub strangers: Vec<String>,
    pub closed: bool,
    /// What it sends while it is held stays on its socket.
    pub unread: Vec<String>,
    /// It accepts nothing from its socket.
    pub stopped: bool,
}

pub(super) struct Fleet {
    pub now: Instant,
    pub instances: BTreeMap<usize, Instance>,
    pub clients: BTreeMap<String, Client>,
    /// The bus accepts connections.
    pub bus: bool,
    pub config: Config,
    /// The queue limit of all instances, in bytes.
    limit: usize,
    started: usize,
    conns: u64,
}

impl Fleet {
    pub(super) fn new(instances: usize) -> Fleet {
        Fleet::limited(instances, ClusterSettings::new("").queue_limit)
    }

    /// Instances with this queue limit.
    pub(super) fn limited(instances: usize, limit: usize) -> Fleet {
        let mut fleet = Fleet {
            now: Instant::now(),
            instances: BTreeMap::new(),
            clients: BTreeMap::new(),
            bus: true,
            // A line to the bus may stop for long here; a driver would give up before.
            config: Config {
                rate: 1e9,
                burst: 1e9,
                verdict_timeout: HOUR,
                idle_timeout: HOUR,
                ..Config::default()
            },
            limit,
            started: 0,
            conns: 0,
        };
        for at in 0..instances {
            fleet.start(at);
        }
        fleet.settle();
        fleet
    }

    pub(super) fn start(&mut self, at: usize) {
        self.started += 1;
        let name = format!("i{}", self.started);
        let mut settings = ClusterSettings::new(&*name);
        settings.queue_limit = self.limit;
        let instance = Instance {
            hub: cluster::Instance::new(self.config.clone(), settings, self.now),
            name,
            connected: false,
            hangs: false,
            cut_off: false,
            stalls: false,
            to_bus: VecDeque::new(),
            from_bus: VecDeque::new(),
            channels: BTreeSet::new(),
            due: None,
            conns: BTreeMap::new(),
        };
        assert!(self.instances.insert(at, instance).is_none(), "it is running already");
    }

    /// The process dies, and its clients' sockets with it.
    pub(super) fn kill(&mut self, at: usize) {
        self.instances.remove(&at);
        self.clients.retain(|_, client| client.at != at);
    }

    /// The connection of an instance to the bus breaks.
    pub(super) fn part(&mut self, at: usize) {
        let Some(instance) = self.instances.get_mut(&at) else { return };
        if instance.connected {
            instance.connected = false;
            instance.channels.clear();
            instance.to_bus.clear();
            // Data in the kernel's buffer is read before the end.
            instance.from_bus.push_back(Back::Down);
        }
    }

    pub(super) fn stop_bus(&mut self) {
        self.bus = false;
        for at in self.instances.keys().copied().collect::<Vec<_>>() {
            self.part(at);
        }
    }

    pub(super) fn connect(&mut self, name: &str, at: usize, rooms: &[&str]) {
        self.conns += 1;
        let conn = ConnId(self.conns);
        let client = Client {
            at,
            conn,
            inbox: Vec::new(),
            roster: BTreeMap::new(),
            strangers: Vec::new(),
            closed: false,
            unread: Vec::new(),
            stopped: false,
        };
        assert!(self.clients.insert(name.into(), client).is_none(), "{name} is connected already");
        let id = format!("#{name}");
        let instance = self.instances.get_mut(&at).expect("runs");
        instance.conns.insert(conn, name.into());
        instance.hub.handle_input(Input::Connected { conn, id, host: None, local: false }, self.now);
        let user = name.split('.').next().expect("a split has a first part");
        self.send(name, &format!(r#"{{"type":"auth","user":"{user}","rooms":{rooms:?}}}"#));
    }

    pub(super) fn send(&mut self, name: &str, text: &str) {
        let client = self.clients.get_mut(name).expect("connected");
        let (at, conn) = (client.at, client.conn);
        let now = self.now;
        if self.instances[&at].hub.hub.is_held(conn) {
            return client.unread.push(text.into());
        }
        self.instances.get_mut(&at).expect("runs").hub.handle_input(Input::Text { conn, text }, now);
        self.drain(at);
    }

    /// A client reads nothing any more.
    pub(super) fn stop(&mut self, name: &str) {
        self.clients.get_mut(name).expect("connected").stopped = true;
    }

    /// A client reads everything, and continues to read.
    pub(super) fn read(&mut self, name: &str) {
        let client = self.clients.get_mut(name).expect("connected");
        client.stopped = false;
        let (at, conn, now) = (client.at, client.conn, self.now);
        let mut out = Vec::new();
        fetch(&mut self.instances.get_mut(&at).expect("runs").hub, conn, now, &mut out);
        out.into_iter().for_each(|transmit| client.take(transmit));
        self.drain(at);
    }

    /// A client that has stopped accepts about this many bytes, and nothing more.
    pub(super) fn trickle(&mut self, name: &str, bytes: usize) {
        let client = self.clients.get_mut(name).expect("connected");
        let (at, conn, now) = (client.at, client.conn, self.now);
        let instance = self.instances.get_mut(&at).expect("runs");
        let mut out = Vec::new();
        if instance.hub.transmit(conn, bytes, now, &mut out) {
            instance.hub.handle_input(Input::Full { conn, moved: true }, now);
        }
        out.into_iter().for_each(|transmit| client.take(transmit));
        self.drain(at);
    }

    pub(super) fn cut(&mut self, name: &str) {
        let client = self.clients.remove(name).expect("connected");
        let now = self.now;
        let instance = self.instances.get_mut(&client.at).expect("runs");
        instance.conns.remove(&client.conn);
        instance.hub.handle_input(Input::Closed { conn: client.conn }, now);
        self.drain(client.at);
    }

    /// An emitter publishes. Which instances are handed it.
    pub(super) fn emit(&mut self, text: &str) -> Vec<usize> {
        self.publish(BROADCAST, &text.into());
        let hears = |i: &Instance| i.connected && i.channels.contains(BROADCAST);
        self.instances.iter().filter(|(_, i)| hears(i)).map(|(at, _)| *at).collect()
    }

    pub(super) fn say(&mut self, at: usize, input: Input<'_>) {
        let now = self.now;
        self.instances.get_mut(&at).expect("runs").hub.handle_input(input, now);
        self.drain(at);
    }

    fn publish(&mut self, channel: &str, payload: &Arc<str>) -> u64 {
        let mut heard = 0;
        for instance in self.instances.values_mut().filter(|i| i.connected && i.channels.contains(channel)) {
            instance.from_bus.push_back(Back::Said(channel.into(), payload.clone()));
            heard += 1;
        }
        heard
    }

    /// Moves one entry on one of the lines; false if there is none. Lines are 0 to the bus, 1 from it.
    pub(super) fn step(&mut self, at: usize, line: usize) -> bool {
        let now = self.now;
        let Some(instance) = self.instances.get_mut(&at) else { return false };
        if line == 0 {
            if !instance.connected {
                if !self.bus || instance.hangs || instance.cut_off || !instance.from_bus.is_empty() {
                    return false;
                }
                instance.connected = true;
                instance.hub.handle_bus(BusInput::Up, now);
                self.drain(at);
                return true;
            }
            let Some(bus) = instance.to_bus.pop_front() else { return false };
            match bus {
                Bus::Reset => self.part(at),
                Bus::Subscribe { channel, tag } => {
                    instance.channels.insert(channel);
                    instance.from_bus.push_back(Back::Subscribed(tag));
                }
                Bus::Unsubscribe { channel } => _ = instance.channels.remove(&channel),
                Bus::Publish { channel, payload, tag } => {
                    let heard = self.publish(&channel, &payload);
                    let instance = self.instances.get_mut(&at).expect("looked at above");
                    instance.from_bus.extend(tag.map(|tag| Back::Published(tag, heard)));
                }
            }
            return true;
        }
        if instance.hangs {
            return false;
        }
        let Some(back) = instance.from_bus.pop_front() else { return false };
        let input = match &back {
            Back::Subscribed(tag) => BusInput::Subscribed(*tag),
            Back::Published(tag, receivers) => BusInput::Published { tag: *tag, receivers: *receivers },
            Back::Said(channel, text) if channel == BROADCAST => BusInput::Broadcast { text },
            Back::Said(_, payload) => BusInput::Said { payload },
            Back::Down => BusInput::Down,
        };
        instance.hub.handle_bus(input, now);
        self.drain(at);
        true
    }

    /// Lets everything arrive.
    pub(super) fn settle(&mut self) {
        loop {
            let all: Vec<usize> = self.instances.keys().copied().collect();
            let mut any = false;
            for at in all {
                self.drain(at);
                any |= self.step(at, 0) | self.step(at, 1);
            }
            if !any {
                return;
            }
        }
    }

    /// Lets time pass, and everything arrive meanwhile.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let due = self.instances.values().filter(|i| !i.hangs).filter_map(|i| i.due).min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            self.wake();
        }
        self.now = end;
    }

    /// Wakes the hubs whose timeout is due.
    pub(super) fn wake(&mut self) {
        let now = self.now;
        for at in self.instances.keys().copied().collect::<Vec<_>>() {
            let instance = self.instances.get_mut(&at).expect("a key");
            if !instance.hangs && instance.due.is_some_and(|due| due <= now) {
                instance.hub.handle_input(Input::Timeout, now);
                self.drain(at);
            }
        }
    }

    pub(super) fn drain(&mut self, at: usize) {
        let now = self.now;
        let Some(instance) = self.instances.get_mut(&at) else { return };
        if instance.hangs {
            return;
        }
        loop {
            match instance.hub.poll_output() {
                Output::Timeout(due) => {
                    instance.due = Some(due.max(now));
                    return;
                }
                Output::Event(_) => {}
                Output::Resume(conn) => {
                    let Some(name) = instance.conns.get(&conn) else { continue };
                    let unread = std::mem::take(&mut self.clients.get_mut(name).expect("connected").unread);
                    let mut unread = VecDeque::from(unread);
                    while !instance.hub.hub.is_held(conn)
                        && let Some(text) = unread.pop_front()
                    {
                        instance.hub.handle_input(Input::Text { conn, text: &text }, now);
                    }
                    self.clients.get_mut(name).expect("connected").unread = unread.into();
                }
                Output::Bus if instance.stalls => {}
                Output::Bus => {
                    let mut out = Vec::new();
                    while instance.hub.transmit_bus(1 << 10, now, &mut out) {}
                    if instance.connected {
                        instance.to_bus.extend(out);
                    }
                }
                Output::Ready(conn) => {
                    let mut out = Vec::new();
                    let name = instance.conns.get(&conn);
                    if name.and_then(|name| self.clients.get(name)).is_some_and(|client| client.stopped) {
                        instance.hub.handle_input(Input::Full { conn, moved: false }, now);
                        // The connection may have been closed.
                        instance.hub.transmit(conn, 0, now, &mut out);
                    } else {
                        fetch(&mut instance.hub, conn, now, &mut out);
                    }
                    let Some(client) = name.and_then(|name| self.clients.get_mut(name)) else { continue };
                    out.into_iter().for_each(|transmit| client.take(transmit));
                }
            }
        }
    }

    /// The driver of an instance returns to its hub.
    pub(super) fn go_on(&mut self, at: usize) {
        let instance = self.instances.get_mut(&at).expect("runs");
        instance.stalls = false;
        let mut out = Vec::new();
        while instance.hub.transmit_bus(1 << 10, self.now, &mut out) {}
        instance.to_bus.extend(out);
        self.settle();
    }

    /// What a client received since the last call, without presences.
    pub(super) fn got(&mut self, name: &str) -> Vec<Value> {
        let inbox = std::mem::take(&mut self.clients.get_mut(name).expect("connected").inbox);
        inbox.into_iter().filter(|m| m["type"] != "presence").collect()
    }

    /// The `data` of the messages that a client received.
    pub(super) fn heard(&mut self, name: &str) -> Vec<String> {
        let got = self.got(name);
        let said = got.iter().filter(|m| m["data"].is_string());
        said.map(|m| m["data"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Whether a client is admitted, or still may be.
    pub(super) fn is_live(&self, name: &str) -> bool {
        let client = &self.clients[name];
        !client.closed && self.instances[&client.at].hub.hub.last_active(client.conn).is_some()
    }

    /// The names in a client's roster.
    pub(super) fn roster(&self, name: &str) -> Vec<String> {
        let names = self.clients[name].roster.keys().filter_map(|address| address.split_once("|#"));
        names.map(|(_, name)| name.to_owned()).collect()
    }

    pub(super) fn forget(&mut self) {
        self.clients.values_mut().for_each(|client| client.inbox.clear());
    }
}

/// Moves everything queued for a connection, as a driver does: one that got nothing waits until it is notified.
fn fetch(hub: &mut cluster::Instance, conn: ConnId, now: Instant, out: &mut Vec<Transmit>) {
    let mut before = out.len();
    while hub.transmit(conn, usize::MAX, now, out) && out.len() > before {
        before = out.len();
    }
}

impl Client {
    fn take(&mut self, transmit: Transmit) {
        let text = match transmit {
            Transmit::Text(text) => text,
            Transmit::Ping => return,
            Transmit::Close { .. } => return self.closed = true,
        };
        let message: Value = serde_json::from_str(&text).expect("the hub writes JSON");
        if message["type"] == "presence" {
            let from = message["from"].as_str().expect("the hub stamps it").to_owned();
            if message["data"]["online"] == true {
                self.roster.insert(from, message["data"].clone());
            } else if self.roster.remove(&from).is_none() {
                self.strangers.push(from);
            }
        }
        self.inbox.push(message);
    }
}

impl Instance {
    /// Its former name at the bus.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}
