//! What the handles of calls, their task and the client's share.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::core::Core;
use super::inlet::Inlet;
use super::{Event, Input, Whence};
use crate::Client;
use crate::call::CallId;
use crate::call::body::{End, EndReason};
use crate::client;
use crate::media::{Frame, StreamId};
use crate::net::udp::Udp;
use crate::net::{Signal, lock, time};
use crate::proto::{Draft, Kind, Message};
use crate::rtc::SessionStats;

pub(super) struct Shared {
    pub core: Mutex<Core>,
    pub client: Client,
    /// Taken before the core's lock, where both are.
    pub watches: Mutex<BTreeMap<CallId, Arc<Inlet>>>,
    pub changed: Signal,
    /// The UDP port, until the driver takes it.
    pub udp: Mutex<Option<Udp>>,
    pub advertise: Option<SocketAddr>,
    /// It runs, or has run.
    pub ran: AtomicBool,
    /// It ends, or has ended.
    pub over: AtomicBool,
}

impl Shared {
    pub(super) fn input(&self, input: Input<'_>) {
        lock(&self.core).handle_input(input, time::now());
        self.changed.notify();
    }

    pub(super) fn online(&self, address: &str) {
        self.input(Input::Online { address });
    }

    pub(super) fn client_event(&self, event: client::Event) {
        match event {
            client::Event::Online { peer, .. } => self.online(peer.address().as_str()),
            client::Event::Offline { .. } => self.input(Input::Offline),
            client::Event::Ended { .. } => self.end(),
            client::Event::PeerAdded { peer } => {
                self.input(Input::PeerThere { address: peer.address().as_str() });
            }
            client::Event::PeerRemoved { peer } => {
                self.input(Input::PeerGone { address: peer.address().as_str() });
            }
            client::Event::Message { message } => self.message(&message),
            _ => {}
        }
    }

    fn message(&self, message: &Message) {
        let (Some(subtype), Some(from)) = (message.subtype(), message.from()) else { return };
        if *message.kind() != Kind::Message || !subtype.starts_with("call:") {
            return;
        }
        let call: Option<String> = message.get("call").ok().flatten();
        self.input(Input::Message {
            from: from.as_str(),
            whence: Whence::Unknown,
            subtype,
            data: message.raw("data"),
            call: call.as_deref(),
        });
    }

    pub(super) fn send(&self, to: &str, subtype: &'static str, call: Option<&str>, data: &str) {
        let mut draft = Draft::new(Kind::Message).to(to).subtype(subtype);
        if let Some(call) = call {
            draft = draft.with("call", call);
        }
        // Offline, a call's words are lost as its remote's are; its timers end it.
        if let Err(e) = self.client.send(draft.raw("data", data)) {
            log::debug!("{subtype} was not sent: {e}");
        }
    }

    pub(super) fn event(&self, event: Event) {
        match event {
            // Calls of others are not taken so far.
            Event::Incoming { call, .. } => {
                let end = End::new(EndReason::Declined, "this program takes no calls");
                _ = lock(&self.core).reject(call, end, time::now());
            }
            Event::Frame { call, frame } => self.frame(call, &frame),
            Event::Left { call, end, .. } | Event::Failed { call, end, .. } => {
                let watch = lock(&self.watches).remove(&call);
                watch.into_iter().for_each(|watch| watch.end(end.clone()));
            }
            _ => {}
        }
    }

    fn frame(&self, call: CallId, frame: &Frame) {
        let watch = lock(&self.watches).get(&call).cloned();
        if watch.is_some_and(|watch| !watch.push(frame)) {
            lock(&self.core).request_key_frame(call, frame.stream, time::now());
        }
    }

    pub(super) fn request_key_frame(&self, call: CallId, stream: StreamId) {
        lock(&self.core).request_key_frame(call, stream, time::now());
        self.changed.notify();
    }

    /// Ends a call, if it goes on.
    pub(super) fn hang_up(&self, call: CallId, end: End) {
        _ = lock(&self.core).hang_up(call, end, time::now());
        self.changed.notify();
    }

    pub(super) fn stats(&self, call: CallId) -> Option<SessionStats> {
        lock(&self.core).stats(call)
    }

    /// Ends all calls, and the task.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
        lock(&self.core).hang_up_all(&EndReason::Shutdown.into(), time::now());
        self.changed.notify();
    }

    /// Nothing runs any more that would.
    pub(super) fn forget_all(&self) {
        let watches = std::mem::take(&mut *lock(&self.watches));
        watches.into_values().for_each(|watch| watch.end(EndReason::Shutdown.into()));
    }
}
