//! The task between source, sockets and core.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde_json::Value;

use super::burst::Burst;
use super::core::{Input, Output};
#[cfg(feature = "relay")]
use super::feeds::Feeds;
use super::shared::Shared;
#[cfg(feature = "talk")]
use super::speaker::Speaker;
use crate::media::source::{Command, SourceEvent, SourceStatus};
use crate::net::event_loop::{self, Turn};
use crate::net::lock;
use crate::net::own_addresses::OwnAddresses;
use crate::net::time::{self, Alarm};
use crate::net::udp::Udp;
use crate::proto::{Draft, MessageKind};

/// How long a shutdown waits for goodbyes and for the source to close: who embeds a camera gives it a second in all.
const LAST_GOODBYE: Duration = Duration::from_millis(700);

/// Frames of one turn: a source that gives them faster than they can be sent must not keep datagrams, alarms and
/// signalling waiting.
const FRAMES: usize = 8;

/// How long a source that is replaced may take to close.
const LAST_FRAME: Duration = Duration::from_secs(3);

pub(super) struct Driver {
    shared: Arc<Shared>,
    udp: Option<Udp>,
    own_addresses: OwnAddresses,
    /// The source is to give something, and has not said that it stopped.
    producing: bool,
    /// A burst has ended before all was sent.
    sending: bool,
    alarm: Alarm,
    goodbye: Option<Alarm>,
    #[cfg(feature = "relay")]
    feeds: Option<Feeds>,
    #[cfg(feature = "talk")]
    speaker: Speaker,
    /// The source is to be replaced, and has not closed yet.
    leaving: Option<Alarm>,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, udp: Option<Udp>) -> Self {
        #[cfg(feature = "talk")]
        let speaker = {
            let output = lock(&shared.config).talk.output.clone();
            Speaker::new(output, shared.echo.clone(), shared.inbox.clone())
        };
        #[cfg(feature = "relay")]
        let feeds = lock(&shared.feeds).take().map(|feeds| Feeds::new(feeds, &shared.inbox));
        Driver {
            own_addresses: OwnAddresses::new(),
            udp,
            producing: false,
            sending: false,
            #[cfg(feature = "relay")]
            feeds,
            #[cfg(feature = "talk")]
            speaker,
            shared,
            alarm: Alarm::unset(),
            goodbye: None,
            leaving: None,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        event_loop::poll(cx, |cx| self.turn(cx))
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Turn<()> {
        // Each frame leaves before the next is cut.
        let mut any = !self.sending && self.poll_frames(cx);
        any |= self.poll_datagrams(cx);
        if self.shared.inbox.changed.poll(cx).is_ready() {
            any = true;
            self.find_candidates();
        }
        any |= self.poll_addresses(cx);
        any |= self.take_media();
        #[cfg(feature = "relay")]
        while let Some((rank, request)) = self.feeds.as_ref().and_then(Feeds::poll_asked) {
            any = true;
            self.shared.input(Input::Asked(rank, request));
        }
        #[cfg(feature = "talk")]
        while let Some(news) = self.speaker.poll_news() {
            any = true;
            self.shared.input(Input::Speaker(news));
        }
        any |= self.replace_source(cx);
        any |= self.poll_alarm(cx);
        self.drain();
        self.poll_transmits(cx);
        self.drain();
        any |= self.shared.events.poll(cx).is_ready();
        any |= self.shared.frame_callbacks.poll(cx);
        match self.poll_end(cx) {
            Poll::Ready(()) => Turn::Done(()),
            Poll::Pending if self.sending => Turn::Yield,
            Poll::Pending => Turn::after(any),
        }
    }

    fn poll_frames(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..FRAMES {
            if self.shared.inbox.frames.poll_ready(cx).is_pending() {
                return false;
            }
            let Some(frame) = self.shared.inbox.frames.pop() else { continue };
            self.shared.input(Input::Frame(&frame));
            // Other drivers begin before this one goes on.
            self.drain();
            self.poll_transmits(cx);
            self.drain();
            if self.sending {
                break;
            }
        }
        true
    }

    fn take_media(&mut self) -> bool {
        let inbox = &self.shared.inbox;
        let torn = std::mem::take(&mut *lock(&inbox.torn));
        let mut any = !torn.is_empty();
        for stream in torn {
            self.shared.input(Input::Torn(stream));
        }
        while let Some(event) = { lock(&inbox.events).pop_front() } {
            any = true;
            if matches!(event, SourceEvent::Stopped | SourceEvent::GaveUp) {
                self.producing = false;
            }
            self.shared.input(Input::Source(event));
        }
        any
    }

    /// Another source begins when the one before has closed, or does not within a while.
    fn replace_source(&mut self, cx: &mut Context<'_>) -> bool {
        if !lock(&self.shared.sources).is_leaving() {
            return false;
        }
        let late = self.leaving.get_or_insert_with(|| Alarm::after(LAST_FRAME)).poll(cx).is_ready();
        if self.producing && !late {
            return false;
        }
        (self.leaving, self.producing) = (None, false);
        self.shared.replace_source();
        true
    }

    /// Networks come and go, and calls go on. An address that is gone may also be that of our connection to the server.
    fn find_candidates(&mut self) {
        let now = time::now();
        let Some(udp) = &self.udp else { return };
        let place = &self.shared.place;
        let Some(listed) = self.own_addresses.list(|| place.candidates(udp), now) else { return };
        let is_gone = !listed.gone.is_empty();
        lock(&self.shared.core).set_candidates(listed.candidates, &listed.gone, now);
        if is_gone {
            log::info!("an address of this machine is gone: checking the connection to the server");
            self.shared.client.check();
        }
    }

    fn poll_addresses(&mut self, cx: &mut Context<'_>) -> bool {
        let changed = self.udp.is_some() && self.own_addresses.poll(cx).is_ready();
        if changed {
            self.find_candidates();
        }
        changed
    }

    fn poll_datagrams(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(udp) = &mut self.udp else { return false };
        let (core, now) = (&self.shared.core, time::now());
        let came = udp.poll_recv(cx, |path, data| {
            lock(core).handle_input(Input::Datagram { path, data }, now);
        });
        match came {
            Poll::Pending => false,
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(e)) => {
                log::error!("the UDP port is lost, and with it all viewers: {e}");
                self.udp = None;
                false
            }
        }
    }

    /// Sends what viewers are to get, as far as the system takes it; a burst of it.
    fn poll_transmits(&mut self, cx: &mut Context<'_>) {
        let core = &self.shared.core;
        let mut burst = Burst::new();
        let next = || burst.next(|| lock(core).poll_transmit(time::now()));
        match &mut self.udp {
            Some(udp) => _ = udp.poll_transmits(cx, next),
            None => while lock(core).poll_transmit(time::now()).is_some() {},
        }
        self.sending = burst.is_over();
    }

    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> bool {
        let due = self.alarm.poll(cx).is_ready();
        if due {
            let mut core = lock(&self.shared.core);
            core.handle_input(Input::Timeout, time::now());
            core.handle_timeout_done(time::now());
        }
        due
    }

    /// Does all that the core wants done.
    fn drain(&mut self) {
        let shared = self.shared.clone();
        loop {
            let output = lock(&shared.core).poll_output();
            match output {
                Output::Timeout(at) => return self.alarm.set(at),
                Output::Send { to, subtype, call, data } => self.send(&to, subtype, call.as_deref(), &data),
                Output::Reply(command, reply) => shared.reply(&command, &reply),
                Output::Command(command) => {
                    self.producing |= matches!(&command, Command::Want(streams) if !streams.is_empty());
                    shared.command(command);
                }
                Output::ReadHeat => {
                    let source = lock(&shared.sources).current.clone();
                    let reading = source.producer().read_heat();
                    shared.input(Input::Heat(reading));
                }
                Output::Wake(shard) => shared.senders.wake(shard),
                Output::Viewers(count) => shared.publish("viewers", count.into()),
                #[cfg(feature = "channels")]
                Output::Said(message) => shared.said(message),
                Output::Share(to, data) => self.tell(&to, "share", &data),
                #[cfg(feature = "relay")]
                Output::Publish(order) => {
                    if let Some(feeds) = &self.feeds {
                        feeds.handle(order);
                    }
                }
                #[cfg(feature = "talk")]
                Output::Speaker(order) => self.speaker.handle(order),
                #[cfg(feature = "talk")]
                Output::Talk(data) => shared.publish(super::talk::MEMBER, data),
                Output::Source(status, to) => self.tell_source(status, &to),
                Output::Event(event) => shared.events.push(event),
            }
        }
    }

    /// Sends a viewer an event.
    fn tell(&self, to: &str, name: &str, data: &Value) {
        let draft = Draft::new(MessageKind::Event).to(to).with("name", name).with("data", data);
        if let Err(e) = self.shared.client.send(draft) {
            log::debug!("a viewer does not get the event {name}: {e}");
        }
    }

    fn tell_source(&self, status: Option<SourceStatus>, to: &[String]) {
        let data = status.map_or(Value::Null, SourceStatus::to_json);
        for to in to.iter().filter(|_| status.is_some()) {
            self.tell(to, "source", &data);
        }
        self.shared.publish("source", data);
    }

    fn send(&self, to: &str, subtype: &'static str, call: Option<&str>, data: &str) {
        let mut draft = Draft::new(MessageKind::Message).to(to).subtype(subtype);
        if let Some(call) = call {
            draft = draft.with("call", call);
        }
        // Offline, a call's words are lost as its remote's are; its timers end it.
        if let Err(e) = self.shared.client.send(draft.raw("data", data)) {
            log::debug!("{subtype} was not sent: {e}");
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = self.shared.clone();
        let (asked, offline) = {
            let ending = lock(&shared.inbox.ending);
            (ending.asked, ending.offline)
        };
        if !asked && !offline {
            return Poll::Pending;
        }
        if self.goodbye.is_none() {
            self.goodbye = Some(Alarm::after(LAST_GOODBYE));
            shared.input(Input::Shutdown);
            self.drain();
            shared.client.close();
        }
        let idle = {
            let core = lock(&shared.core);
            core.is_idle() && core.running().is_empty()
        };
        let late = self.goodbye.as_mut().is_some_and(|alarm| alarm.poll(cx).is_ready());
        // Our own goodbyes go first.
        if let Some(server) = shared.server.as_ref().filter(|_| shared.owns_server && (offline || late)) {
            server.shutdown();
        }
        if !late && (!offline || !idle || self.producing) {
            return Poll::Pending;
        }
        while shared.events.poll(cx).is_ready() {}
        shared.frame_callbacks.poll(cx);
        Poll::Ready(())
    }
}
