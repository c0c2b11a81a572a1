//! What the camera's handles, its task and its source's threads share.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures_lite::future::Boxed;

use super::commands::Handlers;
use super::controls::Reply;
use super::core::{CameraCore, Input, Whence};
use super::frame_callbacks::FrameCallbacks;
use super::senders::Senders;
use super::site::{self, Rules, SiteData};
use super::sources::{Inbox, Sources};
use super::{Config, Event, Status};
use crate::client;
use crate::media::sink::Outcome;
use crate::media::source::controls::Value;
use crate::media::source::{Command, RequestId};
use crate::net::udp::Udp;
use crate::net::{Outlet, lock, time};
use crate::proto::{Message, MessageKind, Object, Peer};
use crate::{Client, Server};

pub(super) struct Shared {
    pub core: Mutex<CameraCore>,
    /// What the source says.
    pub inbox: Arc<Inbox>,
    pub events: Outlet<Event>,
    pub client: Client,
    pub server: Option<Server>,
    pub sources: Mutex<Sources>,
    pub config: Mutex<Config>,
    /// Taken while settings change.
    pub changing: Mutex<()>,
    pub handlers: Handlers,
    pub frame_callbacks: FrameCallbacks,
    /// Of its own server.
    pub rules: Option<Arc<Rules>>,
    /// Whether that server runs and ends with the camera.
    pub owns_server: bool,
    pub requests: AtomicU64,
    /// It runs, or has run.
    pub ran: AtomicBool,
    /// The UDP port, until the driver takes it.
    pub udp: Mutex<Option<Udp>>,
    /// Where what callers publish goes, until the driver takes them.
    #[cfg(feature = "relay")]
    pub feeds: Mutex<Option<super::publish::Feeds>>,
    /// From the speaker to the microphone, if both may be open at once.
    #[cfg(feature = "talk")]
    pub echo: Option<crate::media::EchoReference>,
    /// Further drivers.
    pub senders: Senders,
    pub place: site::Reachability,
    pub urls: Vec<String>,
}

impl Shared {
    pub(super) fn request(&self) -> RequestId {
        RequestId(self.requests.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn snapshot(&self, age: Duration) -> impl Future<Output = Outcome> + Send + use<> {
        let slot = lock(&self.core).snapshot(age, time::now());
        self.inbox.changed.notify();
        slot.wait()
    }

    pub(super) fn drop_frames(&self, id: u64) {
        lock(&self.core).drop_frames(id, time::now());
        self.inbox.changed.notify();
    }

    pub(super) fn command(&self, command: Command) {
        // Under no lock: a source may be the application's, which asks the camera for something in turn.
        let Some(source) = lock(&self.sources).asked() else { return };
        source.producer().command(command);
        // One that was told to close meanwhile closes, whatever came after.
        let current = lock(&self.sources).asked();
        if !current.is_some_and(|current| current.is_same(&source)) {
            source.producer().command(Command::Want(BTreeSet::new()));
        }
    }

    pub(super) fn set_control(&self, request: RequestId, name: &str, value: Value) {
        self.command(Command::SetControl { request, name: name.to_owned(), value });
    }

    pub(super) fn input(&self, input: Input<'_>) {
        lock(&self.core).handle_input(input, time::now());
    }

    pub(super) fn status(&self) -> Status {
        // What the source says itself comes first, under no lock.
        let source = lock(&self.sources).current.clone();
        let producer = source.producer();
        let encoder = producer.encoder().unwrap_or_default();
        let core = lock(&self.core);
        let main = core.main_video();
        Status {
            viewers: core.viewers().collect(),
            streams: core.running(),
            source: core.source(),
            dropped: self.inbox.frames.dropped(),
            skipped: core.skipped(),
            panics: core.panics(),
            encoder,
            bitrate: main.and_then(|stream| core.bitrate(stream)).unwrap_or_default(),
            quality: main.and_then(|stream| core.quality(stream)),
            #[cfg(feature = "talk")]
            talk: core.talk_status(),
            celsius: producer.read_heat().celsius,
            #[cfg(feature = "gst")]
            board: producer.board().map(|board| board.file.clone()).unwrap_or_default(),
        }
    }

    pub(super) fn client_event(&self, event: client::Event) {
        match event {
            client::Event::Online { peer, .. } => {
                let address = peer.address();
                self.input(Input::Online { address: address.as_str() });
                self.events.push(Event::Online { address });
            }
            client::Event::Offline { reason, .. } => {
                self.input(Input::Offline);
                self.events.push(Event::Offline { reason });
            }
            client::Event::Ended { why } => {
                let refused = matches!(why, client::End::Refused { .. });
                let status = refused.then_some(crate::proto::Status::UNAUTHORIZED);
                self.events.push(Event::Ended { status, reason: why.to_string() });
            }
            client::Event::Message { message } if is_call(&message) => self.call_message(&message),
            client::Event::Command { command } if lock(&self.core).is_control(&command) => {
                let from = command.from().map(|from| from.as_str());
                let whence = from.map_or(Whence::Unknown, |from| self.whence(from));
                self.input(Input::Control { command, whence, request: self.request() });
            }
            client::Event::Command { command } if CameraCore::is_share(&command) => {
                let from = command.from().map(|from| from.as_str());
                let whence = from.map_or(Whence::Unknown, |from| self.whence(from));
                // What the source says itself comes first, under no lock.
                let source = lock(&self.sources).current.clone();
                let encoder = source.producer().encoder();
                self.input(Input::Share { command, whence, encoder });
            }
            #[cfg(feature = "talk")]
            client::Event::Command { command } if lock(&self.core).is_talk(&command) => {
                let from = command.from().map(|from| from.as_str());
                let whence = from.map_or(Whence::Unknown, |from| self.whence(from));
                self.input(Input::Talk { command, whence });
            }
            client::Event::Command { command } if self.handlers.handle(&command, &self.client) => {}
            event => {
                match &event {
                    client::Event::PeerAdded { peer } => {
                        self.input(Input::PeerThere { address: peer.address().as_str() });
                    }
                    client::Event::PeerRemoved { peer } => self.peer_gone(peer),
                    _ => {}
                }
                self.events.push(Event::Client { event });
            }
        }
        self.inbox.changed.notify();
    }

    /// A server notices a lost connection late: the peer's user may be back already.
    fn peer_gone(&self, gone: &Peer) {
        let address = gone.address();
        let watched = lock(&self.core).is_in_call(address.as_str());
        self.input(Input::PeerGone { address: address.as_str() });
        if !watched {
            return;
        }
        for peer in self.client.roster().iter().filter(|peer| peer.user == gone.user) {
            self.input(Input::PeerThere { address: peer.address().as_str() });
        }
    }

    /// Puts a member into our presence, for all who are there and those who come later. Offline it waits for the next
    /// welcome.
    pub(super) fn publish(&self, member: &str, value: serde_json::Value) {
        if let Err(e) = self.client.set_data(Object::from_iter([(member.to_owned(), value)])) {
            log::debug!("the presence goes without a new {member:?}: {e}");
        }
    }

    /// What a viewer says by its call's channel is what it says by the server.
    #[cfg(feature = "channels")]
    pub(super) fn said(&self, message: Message) {
        self.client_event(match message.kind() {
            MessageKind::Command => client::Event::Command { command: message },
            _ => client::Event::Message { message },
        });
    }

    pub(super) fn reply(&self, command: &Message, (status, data): &Reply) {
        if let Err(e) = self.client.reply(command, *status, data) {
            log::debug!("a command is not answered: {e}");
        }
    }

    pub(super) fn whence(&self, address: &str) -> Whence {
        let Some(server) = &self.server else { return Whence::Unknown };
        match server.host_of(address) {
            Some(host) if server.exempts(host) => Whence::Exempt,
            Some(host) => Whence::At(host),
            // A peer of this process, or one that has gone.
            None => Whence::Unknown,
        }
    }

    pub(super) fn call_message(&self, message: &Message) {
        let (Some(subtype), Some(from)) = (message.subtype(), message.from()) else { return };
        let call: Option<String> = message.get("call").ok().flatten();
        let (data, call) = (message.raw("data"), call.as_deref());
        self.input(Input::Call {
            from: from.as_str(),
            whence: self.whence(from.as_str()),
            subtype,
            data,
            call,
        });
    }
}

/// Empty before the camera is made, and after it was dropped.
impl SiteData for Mutex<Weak<Shared>> {
    fn status(&self) -> Option<Status> {
        let shared = lock(self).upgrade()?;
        Some(shared.status())
    }

    fn snapshot(&self, age: Duration) -> Option<Boxed<Outcome>> {
        let shared = lock(self).upgrade()?;
        Some(Box::pin(shared.snapshot(age)))
    }
}

fn is_call(message: &Message) -> bool {
    *message.kind() == MessageKind::Message && message.subtype().is_some_and(|s| s.starts_with("call:"))
}
