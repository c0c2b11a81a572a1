//! The common part of both sides: a client, its calls and a UDP port, reporting one sequence of events.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

use futures_lite::{FutureExt, Stream};
use smol::Timer;
use symple::Client;
use symple::call::{self, CallId, Calls, Input, Output};
use symple::client::{Config, Event};
use symple::net::udp::Udp;
use symple::net::{ClientEvent, Events, random_id};
use symple::proto::{Draft, Message, MessageKind};
use symple::rtc::{Path, Transmit};

const ROOM: &str = "public";

/// An event of a side.
pub(crate) enum Came {
    /// A peer is online.
    Peer(String),
    Call(call::Event),
    Datagram {
        path: Path,
        data: Vec<u8>,
    },
    /// The awaited time has come.
    Due,
}

pub(crate) struct Side {
    /// The user whom a viewer calls.
    pub camera: &'static str,
    pub client: Client,
    pub calls: Calls,
    events: Events<ClientEvent>,
    udp: Udp,
    datagrams: VecDeque<(Path, Vec<u8>)>,
    timer: Timer,
}

impl Side {
    pub(crate) fn new(url: &str, user: &str) -> Side {
        let config = Config { rooms: vec![ROOM.into()], ..Config::new(user) };
        let client = Client::new(url, config).expect("a good address");
        Side {
            camera: "camera",
            events: client.events(1000),
            client,
            calls: Calls::new(call::Config::default()),
            udp: Udp::bind("127.0.0.1:0".parse().expect("literal")).expect("a free port"),
            datagrams: VecDeque::new(),
            timer: Timer::never(),
        }
    }

    /// The address at which the other side reaches our port.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.udp.port()))
    }

    pub(crate) fn invite(&mut self, who: &str) {
        self.calls.invite(who, &random_id(), "{}", Instant::now()).expect("a first call");
    }

    /// Sends our description to the other side; it contains all candidates.
    pub(crate) fn describe(&mut self, id: CallId, kind: call::body::SdpType, sdp: &str) {
        let now = Instant::now();
        match kind {
            call::body::SdpType::Offer => self.calls.local_offer(id, sdp, now),
            call::body::SdpType::Answer => self.calls.local_answer(id, sdp, now),
            other => panic!("unexpected {other:?}"),
        }
        .and_then(|()| self.calls.local_candidates_done(id, now))
        .expect("it is our turn");
    }

    pub(crate) async fn send(&mut self, transmit: Transmit) {
        poll_fn(|cx| self.udp.poll_send(cx, &transmit)).await;
    }

    /// The next event, or [`Came::Due`].
    pub(crate) async fn next(&mut self, due: Instant) -> Came {
        loop {
            let calls_due = match self.calls.poll_output(Instant::now()) {
                Output::Event(event) => return Came::Call(event),
                Output::Send { to, subtype, call, data } => {
                    self.say(&to, subtype, call.as_deref(), &data);
                    continue;
                }
                Output::Timeout(at) => at.unwrap_or(due),
                other => panic!("unknown event {other:?}"),
            };
            if let Some((path, data)) = self.datagrams.pop_front() {
                return Came::Datagram { path, data };
            }
            self.timer.set_at(due.min(calls_due));
            match self.wait().await {
                Some(event) => {
                    if let Some(user) = self.take(event) {
                        return Came::Peer(user);
                    }
                }
                None if Instant::now() >= due => return Came::Due,
                None => {}
            }
        }
    }

    /// Waits for an event, datagrams, or the timer.
    async fn wait(&mut self) -> Option<Event> {
        poll_fn(|cx| {
            match Pin::new(&mut self.events).poll_next(cx) {
                Poll::Ready(Some(ClientEvent::Event { event })) => return Poll::Ready(Some(event)),
                Poll::Ready(lost) => panic!("the client reported {lost:?}"),
                Poll::Pending => {}
            }
            let datagrams = &mut self.datagrams;
            let came = self.udp.poll_recv(cx, |path, data| datagrams.push_back((path, data.into())));
            if let Poll::Ready(result) = came {
                result.expect("the port is ours");
                return Poll::Ready(None);
            }
            self.timer.poll(cx).map(|_| None)
        })
        .await
    }

    fn say(&self, to: &str, subtype: &str, call: Option<&str>, data: &str) {
        let call = call.expect("both sides write the call's id");
        let draft = Draft::new(MessageKind::Message).to(to).subtype(subtype).with("call", call);
        self.client.send(draft.raw("data", data)).expect("online");
    }

    /// Passes call messages to the calls, and reports new peers.
    fn take(&mut self, event: Event) -> Option<String> {
        let now = Instant::now();
        match event {
            Event::Online { peer, .. } => {
                self.calls.handle_input(Input::Own { address: peer.address().as_str() }, now);
            }
            Event::PeerAdded { peer } => return Some(peer.address().as_str().to_owned()),
            Event::PeerRemoved { peer } => {
                self.calls.handle_input(Input::PeerOffline { address: peer.address().as_str() }, now);
            }
            Event::Message { message } => self.hear(&message, now),
            _ => {}
        }
        None
    }

    fn hear(&mut self, message: &Message, now: Instant) {
        // A camera's event about its source has no subtype.
        let (Some(subtype), Some(from)) = (message.subtype(), message.from()) else { return };
        let call: Option<String> = message.get("call").expect("a text");
        let input = Input::Message {
            from: from.as_str(),
            host: None,
            subtype,
            data: message.raw("data"),
            call: call.as_deref(),
        };
        self.calls.handle_input(input, now);
    }
}
