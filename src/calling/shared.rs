//! State shared by the handles of calls, their task and the client's task.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::core::Core;
use super::feeder::Feeder;
use super::feeding::{Change, Feeding};
use super::line::Line;
use super::wish::Wish;
use super::{Event, Input, Whence};
use crate::Client;
use crate::call::body::{End, EndReason};
use crate::call::{CallError, CallId};
use crate::client;
use crate::media::source::{SourceEvent, SourceStatus};
use crate::media::{Frame, StreamId, StreamInfo};
use crate::net::channel::Sender;
use crate::net::udp::Udp;
use crate::net::{Signal, lock, random_id, time};
use crate::proto::{Address, Draft, Message, MessageKind};
use crate::rtc::Directions;

/// Limit of incoming calls that wait for the application; further ones get `busy`.
pub(super) const MAX_WAITING: usize = 16;

/// An undecided incoming call.
pub(super) struct Waiting {
    pub call: CallId,
    pub peer: Address,
    pub data: String,
}

pub(super) type SourceListener = Arc<dyn Fn(SourceStatus) + Send + Sync>;

/// Lock order: in the order of the fields, and the core last.
pub(super) struct Shared {
    pub lines: Mutex<BTreeMap<CallId, Arc<Line>>>,
    /// The queue of incoming calls, if the application takes any.
    pub incoming: Mutex<Option<Sender<Waiting>>>,
    /// The source that calls send.
    pub feeder: Mutex<Option<Arc<Feeder>>>,
    pub feeding: Mutex<Feeding>,
    /// The callback for the status of the source.
    pub source_listener: Mutex<Option<SourceListener>>,
    pub core: Mutex<Core>,
    pub client: Client,
    pub changed: Signal,
    /// The UDP port, until the driver takes it.
    pub udp: Mutex<Option<Udp>>,
    pub advertise: Option<SocketAddr>,
    /// Whether the task runs or has run.
    pub ran: AtomicBool,
    /// Whether the task is ending or has ended.
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
        if *message.kind() != MessageKind::Message || !subtype.starts_with("call:") {
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
        let mut draft = Draft::new(MessageKind::Message).to(to).subtype(subtype);
        if let Some(call) = call {
            draft = draft.with("call", call);
        }
        // While offline, messages of both sides are lost; timers end the call.
        if let Err(e) = self.client.send(draft.raw("data", data)) {
            log::debug!("{subtype} was not sent: {e}");
        }
    }

    pub(super) fn event(&self, event: Event) {
        lock(&self.feeding).handle_event(&event, time::now());
        match event {
            Event::Incoming { call, peer, data } => self.incoming(call, peer, data),
            Event::Joined { call } => {
                let line = lock(&self.lines).get(&call).cloned();
                line.into_iter().for_each(|line| line.connect());
            }
            Event::Frame { call, frame } => self.frame(call, &frame),
            Event::Channel { call, event } => self.channel_event(call, event),
            Event::Left { call, end, .. } | Event::Failed { call, end, .. } => {
                let line = lock(&self.lines).remove(&call);
                line.into_iter().for_each(|line| line.end(end.clone()));
            }
            _ => {}
        }
    }

    fn incoming(&self, call: CallId, peer: Address, data: String) {
        let taker = lock(&self.incoming).clone();
        let Some(taker) = taker.filter(|taker| !taker.is_closed()) else {
            let end = End::new(EndReason::Declined, "this program takes no calls");
            return self.reject(call, end);
        };
        if taker.try_send(Waiting { call, peer, data }).is_err() {
            self.reject(call, EndReason::Busy.into());
        }
    }

    fn frame(&self, call: CallId, frame: &Frame) {
        let line = lock(&self.lines).get(&call).cloned();
        if line.is_some_and(|line| !line.push(frame)) {
            lock(&self.core).request_key_frame(call, frame.stream, time::now());
        }
    }

    /// Calls a peer; the data is JSON.
    pub(super) fn call(
        &self,
        to: &str,
        wish: Wish,
        data: &str,
        at_once: bool,
    ) -> Result<(CallId, Arc<Line>), CallError> {
        let wanted = wish.wanted();
        self.before_sending(&wanted.directions);
        self.begin(wish, true, |core| core.call(to, &random_id(), data, at_once, wanted, time::now()))
    }

    /// Accepts a call.
    pub(super) fn accept(&self, call: CallId, wish: Wish) -> Result<(CallId, Arc<Line>), CallError> {
        let wanted = wish.wanted();
        self.before_sending(&wanted.directions);
        self.begin(wish, false, |core| {
            core.set_channels(call, wanted.channels);
            core.set_directions(call, wanted.directions, time::now());
            core.accept(call, time::now()).map(|()| call)
        })
    }

    fn begin(
        &self,
        wish: Wish,
        is_caller: bool,
        begin: impl FnOnce(&mut Core) -> Result<CallId, CallError>,
    ) -> Result<(CallId, Arc<Line>), CallError> {
        // Holding the lock delays the end of the call until there is a line to report it to.
        let mut lines = lock(&self.lines);
        if self.over.load(Ordering::Acquire) {
            return Err(CallError::Offline);
        }
        let call = begin(&mut lock(&self.core))?;
        let line = Arc::new(Line::new(wish, is_caller));
        lines.insert(call, line.clone());
        drop(lines);
        self.changed.notify();
        Ok((call, line))
    }

    pub(super) fn reject(&self, call: CallId, end: End) {
        _ = lock(&self.core).reject(call, end, time::now());
        self.changed.notify();
    }

    /// Changes the wanted directions of a call.
    pub(super) fn change(&self, call: CallId, line: &Line, change: impl FnOnce(&mut Wish)) {
        // Under its lock, so that the later of two changes wins.
        let mut wish = lock(&line.wish);
        let before = wish.directions();
        change(&mut wish);
        let after = wish.directions();
        let more = Directions { send: &after.send - &before.send, ..after.clone() };
        lock(&self.core).set_directions(call, after, time::now());
        drop(wish);
        self.before_sending(&more);
        self.changed.notify();
    }

    pub(super) fn request_key_frame(&self, call: CallId, stream: StreamId) {
        lock(&self.core).request_key_frame(call, stream, time::now());
        self.changed.notify();
    }

    /// Ends a call, if it has not ended.
    pub(super) fn hang_up(&self, call: CallId, end: End) {
        _ = lock(&self.core).hang_up(call, end, time::now());
        self.changed.notify();
    }

    /// Tries a source again that was given up, if there is something to send.
    fn before_sending(&self, directions: &Directions) {
        if directions.send.is_empty() {
            return;
        }
        // Locked, so that no other source replaces it meanwhile.
        let current = lock(&self.feeder);
        let now = time::now();
        if let Some(streams) = lock(&self.feeding).try_again(now) {
            lock(&self.core).change_streams(&streams, true, now);
        }
        drop(current);
    }

    /// Ends calls that only send, because the source was given up.
    fn end_senders(&self, reason: &EndReason) {
        let lines = lock(&self.lines).clone();
        let senders = lines.iter().filter(|(_, line)| !lock(&line.wish).receives());
        senders.for_each(|(call, _)| self.hang_up(*call, reason.clone().into()));
    }

    /// Sets the streams of a new source. Call it under the feeder's lock.
    pub(super) fn set_streams(&self, streams: &[StreamInfo]) {
        let now = time::now();
        let others = lock(&self.feeding).set_streams(streams, now);
        lock(&self.core).change_streams(streams, others, now);
    }

    /// Handles an event of a source.
    pub(super) fn source_event(&self, feeder: &Arc<Feeder>, event: &SourceEvent) {
        if let SourceEvent::Failed(e) | SourceEvent::Stalled(e) | SourceEvent::Trouble(e) = event {
            log::warn!("the source of calls: {e}");
        }
        let current = lock(&self.feeder);
        // Another one may have replaced it meanwhile.
        if !current.as_ref().is_some_and(|current| Arc::ptr_eq(current, feeder)) {
            return;
        }
        let now = time::now();
        let change = lock(&self.feeding).handle_source(event, now);
        match change {
            Change::Nothing => {}
            Change::Streams { streams, others } => lock(&self.core).change_streams(&streams, others, now),
            Change::GivenUp(reason) => {
                lock(&self.core).change_streams(&[], true, now);
                drop(current);
                self.end_senders(&reason);
            }
        }
    }

    /// Reports the status of the source to the application.
    pub(super) fn show_source(&self) {
        let next = || lock(&self.feeding).poll_status();
        while let Some(status) = next() {
            let listener = lock(&self.source_listener).clone();
            listener.into_iter().for_each(|listener| listener(status));
        }
    }

    /// Ends all calls and the task.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
        lock(&self.core).hang_up_all(&EndReason::Shutdown.into(), time::now());
        self.changed.notify();
    }

    /// Cleans up after the task has ended, as nothing else would.
    pub(super) fn forget_all(&self) {
        let lines = std::mem::take(&mut *lock(&self.lines));
        lines.into_values().for_each(|line| line.end(EndReason::Shutdown.into()));
        // Ends the stream of incoming calls, and stops the source.
        let (incoming, feeder) = (lock(&self.incoming).take(), lock(&self.feeder).take());
        // The listener may own a handle.
        drop(lock(&self.source_listener).take());
        incoming.into_iter().for_each(|incoming| _ = incoming.close());
        feeder.into_iter().for_each(|feeder| feeder.stop());
    }
}
