//! The facade that a firmware embeds: a source, its encoder, calls and viewers, and the server that a
//! browser finds them at, or a client of one elsewhere.
//!
//! ```no_run
//! # #[cfg(feature = "gst")] {
//! use symple::camera::{Camera, Config, Event};
//!
//! let camera = Camera::new(Config::default())?;
//! camera.on(|event| match event {
//!     Event::ViewerJoined(viewer) => println!("{} watches", viewer.address),
//!     event => println!("{event:?}"),
//! });
//! println!("open {}", camera.urls()[0]);
//! futures_lite::future::block_on(camera.run());
//! # }
//! # Ok::<(), symple::camera::StartError>(())
//! ```

mod audience;
#[cfg(test)]
mod callers_tests;
mod config;
mod controls;
mod demand;
mod driver;
mod event;
mod profile;
mod site;
mod source;
pub(crate) mod studio;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use futures_lite::future::zip;

pub use crate::calling::Answer;
pub use config::{Admit, CameraSource, Config, Connect, Controllers, Serve, Signalling};
pub use event::{Event, StartError, Viewer, ViewerId};
pub use source::{SourceState, SourceStatus};

use crate::call::CallError;
use crate::call::body::End;
use crate::client;
use crate::media::adapt::ladder::Quality;
#[cfg(feature = "gst")]
use crate::media::board::BoardInfo;
use crate::media::frame::queue::{FrameQueue, Pushed};
use crate::media::source::controls::{Control, Value};
#[cfg(feature = "gst")]
use crate::media::source::gst::EncoderInfo;
use crate::media::source::{Command, RequestId, Source, SourceEvent};
use crate::media::{Codec, StreamId, StreamInfo};
use crate::net::time;
use crate::net::udp::Udp;
use crate::net::{Client, Events, Outlet, Server, Signal, lock, random_id};
use crate::proto::{Kind, Message};
use crate::rtc::{self, SessionStats};
use controls::{Desk, Reply, Wish};
use driver::Driver;
use studio::{Input, Studio, Whence};

/// Frames between encoder and viewers: a second of pictures and sound. More is delay, not safety.
const QUEUE: usize = 100;

/// A camera that browsers watch. Clones are handles of the same one; their methods do not block.
#[derive(Clone)]
pub struct Camera {
    shared: Arc<Shared>,
}

struct Shared {
    studio: Mutex<Studio>,
    /// What the source says.
    inbox: Arc<Inbox>,
    /// Of a V4L2 source; other sources' commands are the application's.
    desk: Option<Mutex<Desk>>,
    events: Outlet<Event>,
    client: Client,
    server: Option<Server>,
    source: Source,
    requests: AtomicU64,
    /// The UDP port, until the driver takes it.
    udp: Mutex<Option<Udp>>,
    place: site::Place,
    urls: Vec<String>,
}

/// From the source's threads to the camera's task.
struct Inbox {
    frames: FrameQueue,
    events: Mutex<VecDeque<SourceEvent>>,
    /// Streams of which frames were dropped.
    torn: Mutex<BTreeSet<StreamId>>,
    changed: Signal,
    /// The camera is told to end, and its connection has ended.
    ending: Mutex<Ending>,
}

#[derive(Default)]
struct Ending {
    asked: bool,
    offline: bool,
}

/// What a camera does just now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// Who watches, and how that goes.
    pub viewers: Vec<(Viewer, Option<SessionStats>)>,
    /// What is produced.
    pub streams: Vec<StreamInfo>,
    /// What the source does; `None` while nobody watches.
    pub source: Option<SourceStatus>,
    /// Frames that were dropped because the viewers' side did not keep up with the encoder.
    pub dropped: u64,
    /// Panics that ended a viewer's session, and nothing else. Each is a defect to report.
    pub panics: u64,
    /// The H.264 encoder's name.
    pub encoder: String,
    /// The bitrate that the H.264 encoder is asked for, in bit/s.
    pub bitrate: u32,
    /// What pictures it is asked for: less than all where network or board do not allow that.
    pub quality: Option<Quality>,
    /// The name of the board's profile.
    #[cfg(feature = "gst")]
    pub board: String,
}

impl Camera {
    /// Opens ports, checks the source and chooses the encoder by trying. This may take seconds and
    /// blocks; nothing is served and no device stays open before [`Camera::run`] is polled.
    ///
    /// Errors: a setting, port, source or encoder that does not work, with cause and cure in words.
    pub fn new(mut config: Config) -> Result<Camera, StartError> {
        let inbox = Arc::new(Inbox {
            frames: FrameQueue::new(QUEUE),
            events: Mutex::default(),
            torn: Mutex::default(),
            changed: Signal::default(),
            ending: Mutex::default(),
        });
        let (source, is_v4l2) = open(&config.source)?;
        let producer = source.producer();
        producer.listen({
            let inbox = inbox.clone();
            Arc::new(move |event| inbox.take(event))
        });
        let mut streams = producer.streams();
        let has_h264 = streams.iter().any(|info| info.codec == Codec::H264);
        streams.retain(|info| config.vp8 || !has_h264 || info.codec != Codec::Vp8);
        let known = producer.controls();
        let desk = (is_v4l2 || !known.is_empty())
            .then(|| Desk::new(config.controls.clone(), &config.signalling, known));
        if desk.as_ref().is_some_and(Desk::is_of_use) {
            // Pages offer what they may only.
            config.data.entry("controls").or_insert_with(|| true.into());
        }
        let status: Arc<Mutex<Weak<Shared>>> = Arc::default();
        let (server, client) = site::open(&config, {
            let status = status.clone();
            move || lock(&status).upgrade().map(|shared| shared.status())
        })?;
        let tcp = server.as_ref().and_then(|s| s.addresses().first().copied());
        let udp = site::udp(&config, tcp)?;
        let place =
            site::Place { advertise: config.advertise, loopback: tcp.is_some_and(|a| a.ip().is_loopback()) };
        let candidates = place.candidates(&udp);
        let studio = studio::Config {
            rtc: rtc::Config {
                candidates,
                initial_bitrate: config.bitrate.start,
                max_bitrate: config.bitrate.max,
                max_sessions: config.max_viewers + 1,
                ..rtc::Config::default()
            },
            streams,
            bitrate: config.bitrate,
            adapt: config.adapt,
            heat: producer.heat_limits(),
            answer: config.answer,
            max_viewers: config.max_viewers,
            max_unconnected: config.max_unconnected,
            offer_rate: config.offer_rate,
            linger: config.linger,
            live: producer.is_live(),
        };
        let urls = server.as_ref().map(|s| site::urls(s.addresses(), &config.signalling)).unwrap_or_default();
        let shared = Arc::new(Shared {
            studio: Mutex::new(Studio::new(studio, time::now())),
            inbox,
            desk: desk.map(Mutex::new),
            events: Outlet::new(),
            client,
            server,
            source,
            requests: AtomicU64::new(0),
            udp: Mutex::new(Some(udp)),
            place,
            urls,
        });
        *lock(&status) = Arc::downgrade(&shared);
        shared.client.hook({
            let shared = Arc::downgrade(&shared);
            move |event| {
                if let Some(shared) = shared.upgrade() {
                    shared.client_event(event);
                }
            }
        });
        Ok(Camera { shared })
    }

    /// Sets the callback. Events come in order, one at a time, from within [`Camera::run`], under no lock.
    /// A callback that holds a clone of the camera keeps it alive.
    pub fn on(&self, callback: impl FnMut(Event) + Send + 'static) {
        self.shared.events.set_callback(Box::new(callback));
    }

    /// The same events as a stream that holds at most `capacity`.
    pub fn events(&self, capacity: usize) -> Events<Event> {
        self.shared.events.stream(capacity)
    }

    /// Where its page is, the address for other machines last; empty where the server is elsewhere.
    pub fn urls(&self) -> &[String] {
        &self.shared.urls
    }

    /// The board's profile that was chosen, and why; of a source by GStreamer.
    #[cfg(feature = "gst")]
    pub fn board(&self) -> Option<&BoardInfo> {
        self.shared.source.producer().board()
    }

    /// The H.264 encoder that was chosen, and why not those before it; of a source by GStreamer.
    #[cfg(feature = "gst")]
    pub fn encoder(&self) -> Option<&EncoderInfo> {
        self.shared.source.producer().encoder_info()
    }

    /// Its client of the server, own or elsewhere: for messages, presence and commands beside calls.
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// Its own server, where it has one. Who listens to its events gives the verdicts on newcomers, where there are
    /// any to give: see [`Admit`].
    pub fn server(&self) -> Option<&Server> {
        self.shared.server.as_ref()
    }

    /// Calls a peer (`user|id`, or `user` for whichever of its devices accepts first) to show it the pictures.
    pub fn call(&self, to: &str) -> Result<ViewerId, CallError> {
        let id = lock(&self.shared.studio).invite(to, &random_id(), time::now());
        self.shared.inbox.changed.notify();
        id
    }

    /// Takes a call that [`Event::Incoming`] told of. What the caller sent meanwhile, its offer and candidates, was
    /// kept.
    pub fn accept(&self, call: ViewerId) -> Result<(), CallError> {
        let done = lock(&self.shared.studio).accept(call, time::now());
        self.shared.inbox.changed.notify();
        done
    }

    /// Turns a call down that [`Event::Incoming`] told of. The caller is told why, such as
    /// [`EndReason::Declined`](crate::call::body::EndReason).
    pub fn reject(&self, call: ViewerId, end: impl Into<End>) -> Result<(), CallError> {
        let done = lock(&self.shared.studio).reject(call, end.into(), time::now());
        self.shared.inbox.changed.notify();
        done
    }

    /// Ends a call. The viewer is told why; its page calls again or not, as the reason has it.
    pub fn hang_up(&self, viewer: ViewerId, end: impl Into<End>) -> Result<(), CallError> {
        let done = lock(&self.shared.studio).hang_up(viewer, end.into(), time::now());
        self.shared.inbox.changed.notify();
        done
    }

    /// The controls of a V4L2 camera, as they were read last; none of another source.
    pub fn controls(&self) -> Vec<Control> {
        self.shared.desk.as_ref().map(|desk| lock(desk).known.clone()).unwrap_or_default()
    }

    /// Sets a control of a V4L2 camera by its name; [`Event::Control`] tells how that ended. It is set again
    /// when the camera was unplugged.
    ///
    /// ```no_run
    /// # #[cfg(feature = "gst")] {
    /// # let camera = symple::camera::Camera::new(Default::default())?;
    /// camera.set_control("exposure_auto", "manual_mode");
    /// camera.set_control("gain", 12);
    /// # }
    /// # Ok::<(), symple::camera::StartError>(())
    /// ```
    pub fn set_control(&self, name: &str, value: impl Into<Value>) -> RequestId {
        let request = self.shared.request();
        self.shared.set_control(request, name, value.into());
        request
    }

    /// Asks a V4L2 camera for its controls, which [`Event::Controls`] tells: some change by themselves.
    pub fn read_controls(&self) -> RequestId {
        let request = self.shared.request();
        self.shared.command(Command::ReadControls { request });
        request
    }

    /// Who watches, what is produced, and how that goes.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Hangs up, says goodbye, closes the source, and ends [`Camera::run`].
    pub fn shutdown(&self) {
        let shared = &self.shared;
        lock(&shared.inbox.ending).asked = true;
        lock(&shared.studio).handle_input(Input::Shutdown, time::now());
        shared.inbox.changed.notify();
    }

    /// Serves until [`Camera::shutdown`], or until a server elsewhere refuses it for good. Run it once, on
    /// any runtime.
    pub fn run(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = self.shared.clone();
        let server = shared.server.as_ref().map(|server| server.run());
        let client = shared.client.run();
        let served = async move {
            if let Some(server) = server {
                server.await;
            }
        };
        let connected = {
            let inbox = shared.inbox.clone();
            async move {
                client.await;
                lock(&inbox.ending).offline = true;
                inbox.changed.notify();
            }
        };
        let udp = lock(&shared.udp).take();
        let mut driver = Driver::new(shared.clone(), udp);
        let worked = async move { poll_fn(|cx| driver.poll(cx)).await };
        async move {
            zip(zip(served, connected), worked).await;
            // A callback may hold the camera, and the camera its ports.
            shared.events.clear();
        }
    }
}

impl fmt::Debug for Camera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Camera").field("urls", &self.shared.urls).finish_non_exhaustive()
    }
}

impl Inbox {
    /// On the source's threads: never waits.
    fn take(&self, event: SourceEvent) {
        match event {
            SourceEvent::Frame(frame) => {
                let (stream, video) = (frame.stream, frame.codec.is_video());
                if self.frames.push(frame) == Pushed::NeedsKeyFrame && video {
                    lock(&self.torn).insert(stream);
                    self.changed.notify();
                }
            }
            event => {
                lock(&self.events).push_back(event);
                self.changed.notify();
            }
        }
    }
}

impl Shared {
    fn request(&self) -> RequestId {
        RequestId(self.requests.fetch_add(1, Ordering::Relaxed))
    }

    fn command(&self, command: Command) {
        self.source.producer().command(command);
    }

    fn set_control(&self, request: RequestId, name: &str, value: Value) {
        self.command(Command::SetControl { request, name: name.to_owned(), value });
    }

    fn input(&self, input: Input<'_>) {
        lock(&self.studio).handle_input(input, time::now());
    }

    fn status(&self) -> Status {
        let studio = lock(&self.studio);
        let producer = self.source.producer();
        let main = studio.main_video();
        Status {
            viewers: studio.viewers().collect(),
            streams: studio.running(),
            source: studio.source(),
            dropped: self.inbox.frames.dropped(),
            panics: studio.panics(),
            encoder: producer.encoder().unwrap_or_default(),
            bitrate: main.and_then(|stream| studio.bitrate(stream)).unwrap_or_default(),
            quality: main.and_then(|stream| studio.quality(stream)),
            #[cfg(feature = "gst")]
            board: producer.board().map(|board| board.file.clone()).unwrap_or_default(),
        }
    }

    fn client_event(&self, event: client::Event) {
        match event {
            client::Event::Online { peer, .. } => {
                let address = peer.address();
                self.input(Input::Online { address: address.as_str() });
                self.events.push(Event::Online(address));
            }
            client::Event::Offline { reason, .. } => {
                self.input(Input::Offline);
                self.events.push(Event::Offline(reason));
            }
            client::Event::Ended { why } => {
                let refused = matches!(why, client::End::Refused { .. });
                let status = refused.then_some(crate::proto::Status::UNAUTHORIZED);
                self.events.push(Event::Ended { status, reason: why.to_string() });
            }
            client::Event::Message { message } if is_call(&message) => self.call_message(&message),
            client::Event::Command { command } if self.desk.is_some() && Desk::is_concerned(&command) => {
                self.control_command(command);
            }
            event => {
                if let client::Event::PeerRemoved { peer } = &event {
                    self.input(Input::PeerGone { address: peer.address().as_str() });
                }
                self.events.push(Event::Client(event));
            }
        }
        self.inbox.changed.notify();
    }

    fn control_command(&self, command: Message) {
        let Some(desk) = &self.desk else { return };
        let mut desk = lock(desk);
        let host = command.from().and_then(|from| match self.whence(from.as_str()) {
            Whence::At(host) => Some(host),
            Whence::Exempt | Whence::Unknown => None,
        });
        if !desk.hears(&command, host, time::now()) {
            return log::debug!("a control command is passed over: its sender sends too many");
        }
        let request = match desk.wish(&command) {
            Ok(Wish::List) => {
                let request = self.request();
                self.command(Command::ReadControls { request });
                request
            }
            Ok(Wish::Set(name, value)) => {
                let request = self.request();
                self.set_control(request, &name, value);
                request
            }
            Err(reply) => return self.reply(&command, &reply),
        };
        // Under the lock that the device's answer takes too.
        desk.asked(request, command);
    }

    fn reply(&self, command: &Message, (status, data): &Reply) {
        if let Err(e) = self.client.reply(command, *status, data) {
            log::debug!("a command is not answered: {e}");
        }
    }

    /// What the device answered.
    fn controlled(&self, event: &SourceEvent) {
        let Some(desk) = &self.desk else { return };
        let answered = match event {
            SourceEvent::Control { request, result, .. } => lock(desk).handle_control(*request, result),
            SourceEvent::Controls { request, result } => lock(desk).handle_controls(*request, result),
            _ => None,
        };
        if let Some((command, reply)) = answered {
            self.reply(&command, &reply);
        }
    }

    fn whence(&self, address: &str) -> Whence {
        let Some(server) = &self.server else { return Whence::Unknown };
        match server.host_of(address) {
            Some(host) if server.exempts(host) => Whence::Exempt,
            Some(host) => Whence::At(host),
            // A peer of this process, or one that has gone.
            None => Whence::Unknown,
        }
    }

    fn call_message(&self, message: &Message) {
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

/// The source, and whether it is a V4L2 camera.
fn open(source: &CameraSource) -> Result<(Source, bool), StartError> {
    match source {
        CameraSource::Source(source) => Ok((source.clone(), false)),
        #[cfg(feature = "gst")]
        CameraSource::Capture(settings) => {
            let is_v4l2 = matches!(settings.source, crate::media::source::Location::V4l2 { .. });
            Ok((Source::gstreamer((**settings).clone())?, is_v4l2))
        }
    }
}

fn is_call(message: &Message) -> bool {
    *message.kind() == Kind::Message && message.subtype().is_some_and(|s| s.starts_with("call:"))
}
