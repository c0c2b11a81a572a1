//! The load: many cheap viewers in one thread, over epoll, each with a socket of its own, since a sender tells viewers
//! apart by their addresses.
//!
//! They decrypt no more than the label of each frame. Times of arrival are the kernel's, so it doesn't matter how late
//! they are read.

use std::net::UdpSocket;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::call::{Calls, Desk, News};
use crate::clock::{self, Nanos};
use crate::dtls::Identity;
use crate::peer::{Datagrams, Got, Peer, Role};
use crate::rtcp::{self, Report};
use crate::sdp::{self, Description};
use crate::track::Track;
use crate::unsafe_udp::{self, Inbox};
use crate::wake::Wake;

/// What a viewer's socket holds: half a second of its video in the kernel's reckoning, which counts 2 KB for a packet.
const BUFFER: i32 = 1 << 20;
/// The number of the wake among the events; viewers have theirs from 0.
const WAKE: u64 = u64::MAX;
/// While viewers connect, for they shouldn't wait for each other.
const SHORT: Duration = Duration::from_millis(1);
/// So that datagrams come many in a call.
const LONG: Duration = Duration::from_millis(8);

pub(crate) struct Load {
    epoll: OwnedFd,
    ready: Vec<epoll::Event>,
    inbox: Inbox,
    identity: Identity,
    pub(crate) viewers: Vec<Viewer>,
    desk: Desk,
    news: Receiver<(usize, News)>,
    turned: Instant,
    datagrams: Datagrams,
    plain: Vec<u8>,
    loss: Loss,
}

/// Loses packets, the same ones in every run.
struct Loss {
    /// Of 2^32.
    share: u64,
    state: u64,
}

impl Loss {
    fn strikes(&mut self) -> bool {
        // Knuth's generator, whose upper bits are good.
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.state >> 32 < self.share
    }
}

pub(crate) struct Viewer {
    socket: UdpSocket,
    peer: Peer,
    pub(crate) track: Track,
    /// When the call began.
    pub(crate) called: Option<Nanos>,
    /// Datagrams that the kernel dropped because this thread didn't read them in time.
    pub(crate) dropped: u32,
}

impl Load {
    /// Viewers lose this share of packets.
    pub(crate) fn new(loss: f64) -> Load {
        let (sender, news) = channel();
        let wake = Wake::new();
        let epoll = epoll::create(CreateFlags::CLOEXEC).expect("Linux has epoll");
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), EventFlags::IN).expect("it can be polled");
        Load {
            epoll,
            ready: Vec::with_capacity(512),
            inbox: Inbox::new(),
            identity: Identity::new(),
            viewers: Vec::new(),
            desk: Desk { news: sender, wake },
            news,
            turned: Instant::now(),
            datagrams: Vec::new(),
            plain: Vec::new(),
            loss: Loss { share: (loss * 2f64.powi(32)) as u64, state: 1 },
        }
    }

    /// Where a subject puts its answers.
    pub(crate) fn desk(&self) -> Desk {
        self.desk.clone()
    }

    /// One more viewer calls.
    pub(crate) fn add(&mut self, calls: &mut Calls) {
        let (number, socket, peer) =
            (self.viewers.len(), unsafe_udp::socket(BUFFER), Peer::new(Role::Viewer));
        epoll::add(&self.epoll, &socket, EventData::new_u64(number as u64), EventFlags::IN)
            .expect("a new socket can be polled");
        let address = socket.local_addr().expect("it is bound");
        calls.call(number, sdp::offer(&peer, &self.identity, address), &self.desk);
        self.viewers.push(Viewer { socket, peer, track: Track::new(), called: None, dropped: 0 });
    }

    pub(crate) fn measure(&mut self, window: &Range<Nanos>) {
        self.viewers.iter_mut().for_each(|viewer| viewer.track.measure(window.clone()));
    }

    /// Goes on until this time, or until `done`.
    pub(crate) fn run(&mut self, until: Nanos, done: impl Fn(&[Viewer]) -> bool) {
        while clock::now() < until && !done(&self.viewers) {
            self.turn(until);
        }
    }

    fn turn(&mut self, until: Nanos) {
        let tick = match self.viewers.iter().all(|viewer| viewer.track.first_key.is_some()) {
            true => LONG,
            false => SHORT,
        };
        thread::sleep(tick.saturating_sub(self.turned.elapsed()).min(clock::until(until)));
        self.turned = Instant::now();
        let wait = Timespec::try_from(LONG.min(clock::until(until))).expect("a short while");
        self.ready.clear();
        _ = epoll::wait(&self.epoll, spare_capacity(&mut self.ready), Some(&wait));
        let now = clock::now();
        for event in &self.ready {
            match event.data.u64() {
                WAKE => self.desk.wake.clear(),
                number => {
                    let viewer = &mut self.viewers[number as usize];
                    viewer.read(&mut self.inbox, &mut self.plain, &mut self.loss, now, &mut self.datagrams);
                    viewer.send(&mut self.datagrams);
                }
            }
        }
        for (number, news) in self.news.try_iter() {
            let viewer = &mut self.viewers[number];
            viewer.learn(news, &self.identity, now, &mut self.datagrams);
            viewer.send(&mut self.datagrams);
        }
        for viewer in &mut self.viewers {
            viewer.handle_timeout(now, &mut self.datagrams);
            viewer.send(&mut self.datagrams);
        }
    }
}

impl Viewer {
    fn learn(&mut self, news: News, identity: &Identity, now: Nanos, out: &mut Datagrams) {
        match news {
            News::Calling(at) => self.called = Some(at),
            News::Answer(sdp) => self.peer.set_remote(Description::parse(&sdp), identity, now, out),
            News::Candidate(line) => {
                sdp::candidate(&line).into_iter().for_each(|candidate| _ = self.peer.add_candidate(candidate))
            }
        }
    }

    fn read(
        &mut self,
        inbox: &mut Inbox,
        plain: &mut Vec<u8>,
        loss: &mut Loss,
        now: Nanos,
        out: &mut Datagrams,
    ) {
        let Viewer { socket, peer, track, dropped, .. } = self;
        inbox.receive(socket, |datagram| {
            *dropped = (*dropped).max(datagram.dropped);
            let got = peer.handle_datagram(datagram.bytes, datagram.from, now, out);
            let Some(keys) = &mut peer.receive else { return };
            match got {
                Got::Rtp if loss.strikes() => {}
                Got::Rtp => track.handle_rtp(datagram.bytes, keys, datagram.at),
                Got::Rtcp if keys.open_rtcp(datagram.bytes, plain).is_some() => {
                    for report in rtcp::reports(plain) {
                        if let Report::Sender(middle) = report {
                            track.handle_sender_report(middle, datagram.at);
                        }
                    }
                }
                _ => {}
            }
        });
    }

    fn handle_timeout(&mut self, now: Nanos, out: &mut Datagrams) {
        self.peer.handle_timeout(now, out);
        let Peer { send: Some(keys), selected: Some(to), .. } = &mut self.peer else { return };
        self.track.handle_timeout(now, |plain| out.push((*to, keys.seal_rtcp(&plain))));
    }

    fn send(&self, out: &mut Datagrams) {
        for (to, datagram) in out.drain(..) {
            // What is lost is repeated, as on any network.
            _ = self.socket.send_to(&datagram, to);
        }
    }
}
