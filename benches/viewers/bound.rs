//! The subject `bound`: the least that a viewer can cost. No library is in a packet's way: payloads are cut once, and a
//! viewer costs headers, one encryption and its share of a system call. NACKs and PLIs are answered, and transport
//! feedback is decrypted and read to the last arrival, but nothing is estimated.
//!
//! It is a bound and no design: packets aren't paced, repeats aren't limited, and a viewer that needs a key frame gets one
//! of its own, which no encoder makes.

use std::collections::{HashMap, VecDeque};
use std::hint::black_box;
use std::io::BufRead;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::call;
use crate::clock::{self, Nanos, SECOND};
use crate::cut;
use crate::dtls::Identity;
use crate::encoder::{self, Label, Outputs};
use crate::peer::{self, Datagrams, Got, Peer, Role};
use crate::rtcp::{self, Report};
use crate::rtp::{Header, Outgoing, extend};
use crate::sdp::{self, Description};
use crate::srtp::TAG;
use crate::stun::Message;
use crate::unsafe_udp::{self, Inbox, Outbox};
use crate::wake::Wake;

pub(crate) const NAME: &str = "bound";

const BUFFER: i32 = 4 << 20;
/// Frames and packets that may be sent again.
const FRAMES_KEPT: usize = 30;
const PACKETS_KEPT: usize = 512;
/// How late ICE and DTLS may be.
const TICK: Duration = Duration::from_millis(50);

enum Event {
    Frame(Label, Arc<[u8]>),
    Offer(usize, String),
}

struct Frames(Sender<Event>, Wake);

impl Outputs for Frames {
    fn video(&mut self, label: Label, unit: Arc<[u8]>, _pts: Duration) {
        if self.0.send(Event::Frame(label, unit)).is_ok() {
            self.1.wake();
        }
    }
}

pub(crate) fn run() {
    let (sender, events) = channel();
    let wake = Wake::new();
    let offers = (sender.clone(), wake.clone());
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let (viewer, sdp) = call::parse("offer", &line).expect("lines are offers");
            _ = offers.0.send(Event::Offer(viewer, sdp));
            offers.1.wake();
        }
        // The process that measures is gone.
        std::process::exit(0);
    });
    encoder::write(NAME);
    encoder::start(Arc::default(), false, Frames(sender, wake.clone()));
    let socket = unsafe_udp::socket(BUFFER);
    Bound {
        address: socket.local_addr().expect("it is bound"),
        socket,
        identity: Identity::new(),
        viewers: Vec::new(),
        paths: HashMap::new(),
        frames: VecDeque::new(),
        outbox: Outbox::default(),
        datagrams: Vec::new(),
        plain: Vec::new(),
    }
    .run(&events, &wake);
}

struct Bound {
    socket: UdpSocket,
    address: SocketAddr,
    identity: Identity,
    viewers: Vec<Viewer>,
    /// Which viewer is at an address.
    paths: HashMap<SocketAddr, usize>,
    frames: VecDeque<Arc<Cut>>,
    outbox: Outbox,
    datagrams: Datagrams,
    plain: Vec<u8>,
}

/// A frame, cut for all viewers.
struct Cut {
    timestamp: u32,
    payloads: Vec<Vec<u8>>,
}

struct Viewer {
    peer: Peer,
    ssrc: u32,
    next: Next,
    wants_key: bool,
    /// What went out, by the low bits of its index.
    sent: Vec<Sent>,
    packets: u32,
    bytes: u32,
    next_report: Nanos,
}

/// Numbers of the next packet.
struct Next {
    index: u64,
    transport: u16,
}

#[derive(Clone, Default)]
struct Sent {
    index: u64,
    transport: u16,
    frame: std::sync::Weak<Cut>,
    piece: u16,
}

impl Bound {
    fn run(mut self, events: &Receiver<Event>, wake: &Wake) {
        let epoll = epoll::create(CreateFlags::CLOEXEC).expect("Linux has epoll");
        for fd in [std::os::fd::AsFd::as_fd(&self.socket), std::os::fd::AsFd::as_fd(wake)] {
            epoll::add(&epoll, fd, EventData::new_u64(0), EventFlags::IN).expect("it can be polled");
        }
        let (mut inbox, mut ready, mut next_tick) = (Inbox::new(), Vec::with_capacity(4), 0);
        loop {
            let wait = Timespec::try_from(TICK).expect("a short while");
            ready.clear();
            _ = epoll::wait(&epoll, spare_capacity(&mut ready), Some(&wait));
            wake.clear();
            let now = clock::now();
            for event in events.try_iter() {
                match event {
                    Event::Frame(label, unit) => self.frame(label, &unit, now),
                    Event::Offer(viewer, offer) => self.accept(viewer, &offer, now),
                }
            }
            let socket = self.socket.try_clone();
            inbox.receive(socket.as_ref().expect("it is open"), |datagram| {
                self.datagram(datagram.bytes, datagram.from, now);
            });
            if now >= next_tick {
                next_tick = now + TICK.as_nanos() as Nanos;
                for viewer in &mut self.viewers {
                    if let Got::Connected = viewer.peer.handle_timeout(now, &mut self.datagrams) {
                        viewer.wants_key = true;
                    }
                }
            }
            for (to, datagram) in self.datagrams.drain(..) {
                self.outbox.slot(to, datagram.len()).copy_from_slice(&datagram);
            }
            self.outbox.send(&self.socket);
        }
    }

    fn accept(&mut self, number: usize, offer: &str, now: Nanos) {
        let mut peer = Peer::new(Role::Sender);
        peer.set_remote(Description::parse(offer), &self.identity, now, &mut self.datagrams);
        let answer = sdp::answer(&peer, &self.identity, self.address);
        encoder::write(&call::line("answer", number, &answer));
        self.viewers.push(Viewer {
            peer,
            ssrc: u32::from_be_bytes(peer::random()),
            next: Next { index: 1000, transport: 0 },
            wants_key: false,
            sent: vec![Sent::default(); PACKETS_KEPT],
            packets: 0,
            bytes: 0,
            next_report: 0,
        });
    }

    fn frame(&mut self, label: Label, unit: &[u8], now: Nanos) {
        let timestamp = label.number.wrapping_mul(encoder::TICKS);
        let cut = |unit: &[u8]| Arc::new(Cut { timestamp, payloads: cut::payloads(unit) });
        let frame = cut(unit);
        let mut key = label.key.then(|| frame.clone());
        for viewer in &mut self.viewers {
            let frame = match std::mem::take(&mut viewer.wants_key) {
                true => key.get_or_insert_with(|| cut(&encoder::access_unit(Label { key: true, ..label }))),
                false => &frame,
            };
            viewer.frame(frame, &mut self.outbox);
            viewer.report(now, timestamp, &mut self.datagrams);
            if self.outbox.is_full() {
                self.outbox.send(&self.socket);
            }
        }
        self.frames.extend(key.filter(|key| !Arc::ptr_eq(key, &frame)));
        self.frames.push_back(frame);
        while self.frames.len() > FRAMES_KEPT {
            self.frames.pop_front();
        }
    }

    fn datagram(&mut self, datagram: &[u8], from: SocketAddr, now: Nanos) {
        let at = self.paths.get(&from).copied().or_else(|| {
            let message = Message::parse(datagram)?;
            let ours = message.username?.split(|byte| *byte == b':').next()?;
            let at = self.viewers.iter().position(|viewer| viewer.peer.ufrag.as_bytes() == ours)?;
            self.paths.insert(from, at);
            Some(at)
        });
        let Some(viewer) = at.map(|at| &mut self.viewers[at]) else { return };
        match viewer.peer.handle_datagram(datagram, from, now, &mut self.datagrams) {
            Got::Connected => viewer.wants_key = true,
            Got::Rtcp => {
                let keys = viewer.peer.receive.as_mut();
                if keys.and_then(|keys| keys.open_rtcp(datagram, &mut self.plain)).is_some() {
                    viewer.handle_rtcp(&self.plain, &mut self.outbox);
                }
            }
            Got::Nothing | Got::Rtp => {}
        }
    }
}

impl Viewer {
    fn frame(&mut self, frame: &Arc<Cut>, outbox: &mut Outbox) {
        if !self.peer.is_connected() {
            return;
        }
        for (piece, payload) in frame.payloads.iter().enumerate() {
            let Next { index, transport } = self.next;
            self.next = Next { index: index + 1, transport: transport.wrapping_add(1) };
            let sent = Sent { index, transport, frame: Arc::downgrade(frame), piece: piece as u16 };
            self.packet(&sent, frame, outbox);
            self.sent[index as usize % PACKETS_KEPT] = sent;
            self.packets = self.packets.wrapping_add(1);
            self.bytes = self.bytes.wrapping_add(payload.len() as u32);
        }
    }

    fn packet(&mut self, sent: &Sent, frame: &Cut, outbox: &mut Outbox) {
        let (Some(keys), Some(to)) = (&mut self.peer.send, self.peer.selected) else { return };
        let piece = usize::from(sent.piece);
        let payload = &frame.payloads[piece];
        let out = outbox.slot(to, Header::LEN + payload.len() + TAG);
        let packet = Outgoing {
            marker: piece + 1 == frame.payloads.len(),
            payload_type: sdp::H264,
            index: sent.index,
            timestamp: frame.timestamp,
            ssrc: self.ssrc,
            extension: sdp::TRANSPORT_EXTENSION,
            transport: sent.transport,
        };
        Header::write(out, &packet);
        keys.seal(self.ssrc, sent.index, Header::LEN, payload, out);
    }

    fn handle_rtcp(&mut self, plain: &[u8], outbox: &mut Outbox) {
        for report in rtcp::reports(plain) {
            match report {
                Report::Pli => self.wants_key = true,
                Report::Nack(body) => {
                    for number in rtcp::nacked(body) {
                        let index = extend(self.next.index, number);
                        let sent = self.sent[index as usize % PACKETS_KEPT].clone();
                        // The very packet again: sealed once more it is the same, so no nonce has two texts.
                        if let Some(frame) = sent.frame.upgrade().filter(|_| sent.index == index) {
                            self.packet(&sent, &frame, outbox);
                        }
                    }
                }
                Report::Congestion(body) => {
                    let read = rtcp::arrivals(body, |number, arrival| _ = black_box((number, arrival)));
                    assert!(read.is_some(), "feedback that can't be read");
                }
                Report::Sender(_) | Report::Other => {}
            }
        }
    }

    fn report(&mut self, now: Nanos, timestamp: u32, out: &mut Datagrams) {
        let (Some(keys), Some(to)) = (&mut self.peer.send, self.peer.selected) else { return };
        if now >= self.next_report {
            self.next_report = now + SECOND;
            let report = rtcp::sender_report(self.ssrc, timestamp, self.packets, self.bytes, now);
            out.push((to, keys.seal_rtcp(&report)));
        }
    }
}
