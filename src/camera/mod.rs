//! The facade for firmware and other programs: a source, its encoder, calls and viewers, and the server where browsers
//! find them, or a client of a server elsewhere.
//!
//! ```no_run
//! # #[cfg(feature = "gst")] {
//! use symple::camera::{Camera, Config, Event};
//!
//! let camera = Camera::new(Config::default())?;
//! camera.on(|event| match event {
//!     Event::ViewerJoined { viewer } => println!("{} is watching", viewer.address),
//!     event => println!("{event:?}"),
//! });
//! println!("open {}", camera.urls()[0]);
//! symple::net::block_on(camera.run());
//! # }
//! # Ok::<(), symple::camera::CameraError>(())
//! ```

mod audience;
mod burst;
mod commands;
mod config;
mod controllers;
mod controls;
pub(crate) mod core;
mod demand;
mod driver;
#[cfg(feature = "talk")]
mod echo;
mod event;
#[cfg(feature = "relay")]
mod feeds;
#[cfg(feature = "talk")]
mod floor;
mod frame_callbacks;
mod permission;
mod profile;
#[cfg(feature = "relay")]
mod publish;
mod reconfigure;
mod sender;
mod senders;
mod shared;
mod sharing;
mod site;
mod snapshot;
mod sources;
#[cfg(feature = "talk")]
mod speaker;
mod status;
mod stream;
#[cfg(feature = "talk")]
mod talk;
#[cfg(feature = "talk")]
mod talk_settings;
#[cfg(test)]
mod tests;
mod wishes;

use std::collections::BTreeSet;
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures_lite::future::{or, zip};

pub use crate::calling::AnswerPolicy;
pub use commands::CommandRequest;
pub use config::{Admit, CameraSource, Config, Connect, Serve, Signalling};
pub use controllers::Controllers;
pub use event::{CameraError, Event, Viewer, ViewerId};
#[cfg(feature = "relay")]
pub use publish::{Occupied, Publishing};
pub use sharing::{BitratePolicy, Share, ShareReason};
pub use status::Status;
pub use stream::{FrameSubscription, Frames};
#[cfg(feature = "talk")]
pub use talk_settings::{Duplex, Talk};

#[cfg(feature = "talk")]
pub use self::core::talk::TalkStatus;
use self::core::{CameraCore, Input};
use crate::call::CallError;
use crate::call::body::End;
use crate::calling::answers_everybody;
use crate::media::Codec;
#[cfg(feature = "gst")]
use crate::media::board::BoardInfo;
use crate::media::frame::queue::FrameQueue;
pub use crate::media::sink::{FrameEvent, Snapshot, SnapshotError};
use crate::media::source::controls::{Control, Value};
#[cfg(feature = "gst")]
use crate::media::source::gst::EncoderInfo;
use crate::media::source::{Command, RequestId, Source};
use crate::net::frame_outbox::FrameOutbox;
use crate::net::http::Response;
use crate::net::own_waker::OwnWaker;
use crate::net::{Events, Outlet, Signal, lock, random_id, time};
use crate::proto::{Address, Draft, MessageKind};
use crate::rtc;
use crate::{Client, Server};
use commands::Handlers;
use controls::ControlCommands;
use driver::Driver;
use frame_callbacks::FrameCallbacks;
use permission::Permission;
use sender::Sender;
use senders::Senders;
use shared::Shared;
use site::Entrance;
use sources::{Epoch, Inbox, Sources};

/// Frames between encoder and viewers: one second of video and audio. More would add delay, not safety.
const QUEUE: usize = 100;

/// A camera to watch in a browser. Clones are handles of the same camera; their methods do not block.
#[derive(Clone)]
pub struct Camera {
    shared: Arc<Shared>,
}

impl Camera {
    /// Opens the ports, checks the source, and chooses the encoder by trying. This may take seconds and blocks. Nothing
    /// is served, and no device stays open, before [`Camera::run`] is polled.
    ///
    /// Errors: a setting, port, source or encoder that does not work, with cause and cure.
    pub fn new(mut config: Config) -> Result<Camera, CameraError> {
        config.bitrate.check()?;
        let inbox = Arc::new(Inbox {
            frames: FrameQueue::new(QUEUE),
            events: Mutex::default(),
            torn: Mutex::default(),
            epoch: Epoch::default(),
            changed: Signal::default(),
            ending: Mutex::default(),
        });
        #[cfg(feature = "talk")]
        let echo = echo::reference(&config);
        #[cfg(feature = "talk")]
        echo::connect(&mut config, echo.as_ref());
        let opened = open(&config.source)?;
        let (source, is_v4l2) = (opened.source, opened.is_v4l2);
        Epoch::listen(&inbox, &source);
        let producer = source.producer();
        let streams = reconfigure::offered(producer.streams(), config.vp8);
        let known = producer.controls();
        let control_commands = (is_v4l2 || !known.is_empty()).then(|| {
            let permission = Permission::new(config.controls.clone(), &config.signalling);
            ControlCommands::new(permission, known)
        });
        if control_commands.as_ref().is_some_and(ControlCommands::is_of_use) {
            // Pages offer what they may only.
            config.data.entry("controls").or_insert_with(|| true.into());
        }
        #[cfg(feature = "relay")]
        let publishers = publishers(&mut config);
        #[cfg(feature = "talk")]
        let talking = open_talk(&mut config)?;
        let made: Arc<Mutex<Weak<Shared>>> = Arc::default();
        let Entrance { server, owned, client, rules } = site::open(&config, made.clone())?;
        let tcp = server.as_ref().filter(|_| owned).and_then(|s| s.addresses().first().copied());
        let udp = site::udp(&config, tcp)?;
        let page = server.as_ref().and_then(|s| s.addresses().first().copied());
        let place = site::Reachability {
            advertise: config.advertise,
            loopback: page.is_some_and(|a| a.ip().is_loopback()),
        };
        let candidates = place.candidates(&udp);
        let core = self::core::Config {
            rtc: rtc::Config {
                candidates,
                initial_bitrate: config.bitrate.start,
                max_bitrate: config.bitrate.enough(),
                // Seats are counted, and may become more while it runs.
                max_sessions: usize::MAX,
                audio_packet: config.audio_packet,
                wall_clock: Some(time::wall_clock()),
                #[cfg(feature = "channels")]
                channels: Some(self::core::channels::limits()),
                ..rtc::Config::default()
            },
            streams,
            bitrate: config.bitrate.clone(),
            adapt: config.adapt,
            policy: config.policy.clone(),
            heat: producer.heat_limits(),
            answer: config.answer,
            max_viewers: config.max_viewers,
            max_unconnected: config.max_unconnected,
            offer_rate: config.offer_rate,
            linger: config.linger,
            snapshot_every: config.snapshot_every,
            live: producer.is_live(),
            controls: control_commands,
            #[cfg(feature = "relay")]
            publishers,
            #[cfg(feature = "talk")]
            talking,
        };
        let urls = server.as_ref().map(site::urls).unwrap_or_default();
        let shared = Arc::new(Shared {
            core: Mutex::new(CameraCore::new(core, time::now())),
            inbox,
            events: Outlet::new(),
            client,
            server,
            sources: Mutex::new(Sources::new(source)),
            config: Mutex::new(config),
            changing: Mutex::default(),
            handlers: Handlers::default(),
            frame_callbacks: FrameCallbacks::default(),
            rules,
            owns_server: owned,
            requests: AtomicU64::new(0),
            ran: AtomicBool::new(false),
            senders: Senders::new(udp.port_for_others()),
            udp: Mutex::new(Some(udp)),
            #[cfg(feature = "relay")]
            feeds: Mutex::new(opened.feeds),
            #[cfg(feature = "talk")]
            echo,
            place,
            urls,
        });
        *lock(&made) = Arc::downgrade(&shared);
        shared.client.hook({
            let shared = Arc::downgrade(&shared);
            move |event| {
                if let Some(shared) = shared.upgrade() {
                    shared.client_event(event);
                }
            }
        });
        #[cfg(feature = "channels")]
        shared.client.route_replies({
            let shared = Arc::downgrade(&shared);
            move |command, status, reply| {
                let shared = shared.upgrade()?;
                let sent = lock(&shared.core).answer_by_channel(command, status, reply, time::now());
                shared.inbox.changed.notify();
                sent
            }
        });
        Ok(Camera { shared })
    }

    /// Sets the callback. Events arrive in order, one at a time, from within [`Camera::run`], without a lock. A
    /// callback that owns a clone of the camera keeps it alive.
    pub fn on(&self, callback: impl FnMut(Event) + Send + 'static) {
        self.shared.events.set_callback(Box::new(callback));
    }

    /// The same events as a stream that buffers at most `capacity`.
    pub fn events(&self, capacity: usize) -> Events<Event> {
        self.shared.events.stream(capacity)
    }

    /// The URLs of its page, below the server's base path, those for other machines last; empty if the server is
    /// elsewhere. The URL at a proxy is not known here.
    pub fn urls(&self) -> &[String] {
        &self.shared.urls
    }

    /// The chosen board profile, and why; only for a GStreamer source.
    #[cfg(feature = "gst")]
    pub fn board(&self) -> Option<BoardInfo> {
        let source = lock(&self.shared.sources).current.clone();
        source.producer().board().cloned()
    }

    /// The chosen H.264 encoder, and why those before it were rejected; only for a GStreamer source.
    #[cfg(feature = "gst")]
    pub fn encoder(&self) -> Option<EncoderInfo> {
        let source = lock(&self.shared.sources).current.clone();
        source.producer().encoder_info().cloned()
    }

    /// Sets the `handler` for commands to this node, such as `pan`. It may reply now or later, must not block, and is
    /// called from within [`Camera::run`], without a lock. A second handler for a node replaces the first. Commands to
    /// other nodes are [`Event::Client`]s.
    ///
    /// ```no_run
    /// # fn f(camera: symple::Camera) {
    /// use symple::proto::Status;
    /// camera.on_command("pan", |command| {
    ///     let degrees: Option<f64> = command.data().ok();
    ///     _ = command.reply(Status::OK, &serde_json::json!({ "degrees": degrees }));
    /// });
    /// # }
    /// ```
    pub fn on_command(&self, node: &str, handler: impl FnMut(CommandRequest) + Send + 'static) {
        self.shared.handlers.set(node, Box::new(handler));
    }

    /// Sends an event message to all viewers, `{"type":"event","name":name,"data":data}`, such as motion or a low
    /// battery. Returns the number of recipients; viewers that are not connected to the server at the moment get none.
    pub fn notify_viewers(&self, name: &str, data: &serde_json::Value) -> usize {
        let watchers = lock(&self.shared.core).watchers();
        let event = |to: &Address| {
            Draft::new(MessageKind::Event).to(to.as_str()).with("name", name).with("data", data)
        };
        watchers.iter().filter(|to| self.shared.client.send(event(to)).is_ok()).count()
    }

    /// The camera's client of the server: for messages, presence, and commands outside calls.
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// The server, if it is in this process. Whoever listens to its events decides about admission, if there is
    /// anything to decide: see [`Admit`].
    pub fn server(&self) -> Option<&Server> {
        self.shared.server.as_ref()
    }

    /// Calls a peer (`user|id`, or `user` for whichever of its devices accepts first) to send it the video. A peer whose
    /// presence data has `"answers":"all"` gets the offer with the call, which saves a turn.
    pub fn call(&self, to: &str) -> Result<ViewerId, CallError> {
        let all = self.shared.client.roster();
        let callee = all.iter().find(|peer| peer.address().as_str() == to);
        let at_once = callee.is_some_and(|peer| answers_everybody(&peer.extra));
        let id = lock(&self.shared.core).invite(to, &random_id(), at_once, time::now());
        self.shared.inbox.changed.notify();
        id
    }

    /// Accepts a call from [`Event::Incoming`]. The offer and candidates that the caller has sent meanwhile were kept.
    pub fn accept(&self, call: ViewerId) -> Result<(), CallError> {
        let done = lock(&self.shared.core).accept(call, time::now());
        self.shared.inbox.changed.notify();
        done
    }

    /// Rejects a call from [`Event::Incoming`] with a reason for the caller, such as
    /// [`EndReason::Declined`](crate::call::body::EndReason).
    pub fn reject(&self, call: ViewerId, end: impl Into<End>) -> Result<(), CallError> {
        let done = lock(&self.shared.core).reject(call, end.into(), time::now());
        self.shared.inbox.changed.notify();
        done
    }

    /// Ends a call with a reason for the viewer, which decides whether its page calls again.
    pub fn hang_up(&self, viewer: ViewerId, end: impl Into<End>) -> Result<(), CallError> {
        let done = lock(&self.shared.core).hang_up(viewer, end.into(), time::now());
        self.shared.inbox.changed.notify();
        done
    }

    /// Ends all calls, including those that are ringing or connecting, with a reason for the viewers. Returns how many.
    pub fn hang_up_all(&self, end: impl Into<End>) -> usize {
        let count = lock(&self.shared.core).hang_up_all(&end.into(), time::now());
        self.shared.inbox.changed.notify();
        count
    }

    /// The controls of a V4L2 camera, as last read; empty for any other source.
    pub fn controls(&self) -> Vec<Control> {
        lock(&self.shared.core).controls().to_vec()
    }

    /// Sets a control of a V4L2 camera by name; [`Event::ControlSet`] reports the result. It is set again after the camera
    /// was unplugged.
    ///
    /// ```no_run
    /// # #[cfg(feature = "gst")] {
    /// # let camera = symple::camera::Camera::new(Default::default())?;
    /// camera.set_control("exposure_auto", "manual_mode");
    /// camera.set_control("gain", 12);
    /// # }
    /// # Ok::<(), symple::camera::CameraError>(())
    /// ```
    pub fn set_control(&self, name: &str, value: impl Into<Value>) -> RequestId {
        let request = self.shared.request();
        self.shared.set_control(request, name, value.into());
        request
    }

    /// Reads the controls of a V4L2 camera, since some change by themselves; [`Event::ControlsRead`] reports them.
    pub fn read_controls(&self) -> RequestId {
        let request = self.shared.request();
        self.shared.command(Command::ReadControls { request });
        request
    }

    /// The encoded frames of the source's best video and its audio, as a stream that buffers at most `capacity` frames
    /// of each: for recording, relaying or analysis. The source runs while the stream exists. [`Camera::on_frames`] has
    /// them as a callback.
    pub fn frames(&self, capacity: usize) -> Frames {
        self.frames_of(&[], capacity)
    }

    /// Like [`Camera::frames`], but of these codecs: the best rendition of each.
    pub fn frames_of(&self, codecs: &[Codec], capacity: usize) -> Frames {
        let (id, outbox) = (self.shared.request().0, FrameOutbox::new(capacity));
        lock(&self.shared.core).take_frames(id, codecs.to_vec(), outbox.clone(), time::now());
        self.shared.inbox.changed.notify();
        Frames::new(Arc::downgrade(&self.shared), id, outbox)
    }

    /// Calls `callback` with the encoded frames of these codecs, the best rendition of each; without codecs, with those
    /// of the source's best video and its audio. Like the callback of [`Camera::on`] it is called in order, one at a
    /// time, from within [`Camera::run`], and without a lock. It must not block: viewers wait meanwhile.
    ///
    /// The source runs until the [`FrameSubscription`] is dropped. The callback is dropped with it, or when the frames
    /// end: with the camera, or when the source fails for good.
    ///
    /// ```no_run
    /// # fn f(camera: symple::Camera, mut file: std::fs::File) {
    /// use std::io::Write;
    /// use symple::camera::FrameEvent;
    /// use symple::media::Codec;
    ///
    /// let recording = camera.on_frames(&[Codec::H264], move |event| match event {
    ///     FrameEvent::Frame { frame } => file.write_all(&frame.data).expect("the disk has room"),
    ///     FrameEvent::Stream { info } => println!("it begins: {info:?}"),
    ///     FrameEvent::Lost { count, .. } => println!("{count} frames are missing"),
    ///     _ => {}
    /// });
    /// // …
    /// drop(recording);
    /// # }
    /// ```
    pub fn on_frames(
        &self,
        codecs: &[Codec],
        callback: impl FnMut(FrameEvent) + Send + 'static,
    ) -> FrameSubscription {
        let shared = &self.shared;
        let (id, outbox) = (shared.request().0, FrameOutbox::new(QUEUE));
        shared.frame_callbacks.add(id, outbox.clone(), Box::new(callback));
        lock(&shared.core).take_frames(id, codecs.to_vec(), outbox.clone(), time::now());
        if outbox.is_over() {
            // Nobody polls the callback after the end of the camera, and it may own the camera.
            shared.frame_callbacks.remove(id);
        }
        shared.inbox.changed.notify();
        FrameSubscription::new(Arc::downgrade(shared), id)
    }

    /// The newest frame as JPEG. If nobody watches, the source is opened for it and closed again; within
    /// [`Config::snapshot_every`] the last snapshot is returned again.
    ///
    /// Errors: the source cannot make JPEG, no frame arrived within 10 s, or the source or the camera ended.
    pub fn snapshot(&self) -> impl Future<Output = Result<Snapshot, SnapshotError>> + Send + use<> {
        self.shared.snapshot(Duration::ZERO)
    }

    /// A snapshot as an HTTP response, for a route of the program's own server; the route decides who may see it. A
    /// camera's own server has `/api/snapshot.jpg`, for everybody who may watch.
    pub fn snapshot_response(&self) -> impl Future<Output = Response> + Send + use<> {
        let snapshot = self.shared.snapshot(Duration::ZERO);
        async move { site::picture(snapshot.await) }
    }

    /// Viewers, streams and their statistics.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Ends all calls, disconnects, closes the source, and ends [`Camera::run`].
    pub fn shutdown(&self) {
        let shared = &self.shared;
        lock(&shared.inbox.ending).asked = true;
        lock(&shared.core).handle_input(Input::Shutdown, time::now());
        shared.inbox.changed.notify();
    }

    /// Runs until [`Camera::shutdown`], or until a server elsewhere refuses the camera for good, on any runtime. Dropped,
    /// it closes the source, and ends what waits for frames and snapshots.
    ///
    /// The first future that is polled runs the camera. Each further one, on a thread of its own, adds a core: it gets its
    /// share of the viewers, and sends to them, and runs the camera's own server too. It ends with the camera; dropped, it
    /// leaves its viewers to those that go on.
    ///
    /// ```no_run
    /// # fn f(camera: symple::Camera) {
    /// let second = camera.run();
    /// let thread = std::thread::spawn(move || symple::net::block_on(second));
    /// symple::net::block_on(camera.run());
    /// thread.join().expect("it doesn't panic");
    /// # }
    /// ```
    pub fn run(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = self.shared.clone();
        async move {
            let served = async {
                if let Some(server) = shared.server.as_ref().filter(|_| shared.owns_server) {
                    server.run().await;
                }
            };
            let Some(running) = Running::begin(&shared) else {
                match Sender::new(&shared) {
                    Ok(mut sender) => {
                        let serves = async {
                            served.await;
                            pending().await
                        };
                        or(OwnWaker::new(poll_fn(|cx| sender.poll(cx))), OwnWaker::new(serves)).await;
                    }
                    Err(e) => log::error!("a further run() of the camera does nothing: {e}"),
                }
                return;
            };
            let connected = async {
                shared.client.run().await;
                lock(&shared.inbox.ending).offline = true;
                shared.inbox.changed.notify();
            };
            let udp = lock(&shared.udp).take();
            let mut driver = Driver::new(shared.clone(), udp);
            let drives = poll_fn(|cx| driver.poll(cx));
            zip(zip(OwnWaker::new(served), OwnWaker::new(connected)), OwnWaker::new(drives)).await;
            drop(running);
        }
    }
}

/// The one run of a camera. However it ends, finished or dropped, nothing runs on and nobody waits for it.
struct Running(Arc<Shared>);

impl Running {
    fn begin(shared: &Arc<Shared>) -> Option<Running> {
        (!shared.ran.swap(true, Ordering::AcqRel)).then(|| Running(shared.clone()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let shared = &self.0;
        shared.input(Input::Shutdown);
        shared.senders.end();
        shared.command(Command::Want(BTreeSet::new()));
        // A callback may own the camera, and the camera its ports.
        shared.events.clear();
        shared.handlers.clear();
        shared.frame_callbacks.clear();
    }
}

impl fmt::Debug for Camera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Camera").field("urls", &self.shared.urls).finish_non_exhaustive()
    }
}

/// A source that is ready to be started.
struct Opened {
    source: Source,
    is_v4l2: bool,
    /// Where what callers publish goes.
    #[cfg(feature = "relay")]
    feeds: Option<publish::Feeds>,
}

impl Opened {
    fn new(source: Source, is_v4l2: bool) -> Opened {
        Opened {
            source,
            is_v4l2,
            #[cfg(feature = "relay")]
            feeds: None,
        }
    }
}

fn open(source: &CameraSource) -> Result<Opened, CameraError> {
    match source {
        CameraSource::Source(source) => Ok(Opened::new(source.clone(), false)),
        #[cfg(feature = "gst")]
        CameraSource::Capture(settings) => {
            let is_v4l2 = matches!(settings.source, crate::media::source::Location::V4l2 { .. });
            Ok(Opened::new(Source::gstreamer((**settings).clone())?, is_v4l2))
        }
        #[cfg(feature = "relay")]
        CameraSource::Published(publishing) => {
            let (source, feeds) = publishing.open()?;
            Ok(Opened { feeds: Some(feeds), ..Opened::new(source, false) })
        }
    }
}

/// Checks the settings, and says in the presence that viewers may talk. `None` where nobody may.
///
/// Errors: an output that cannot work, with cause and cure.
#[cfg(feature = "talk")]
fn open_talk(config: &mut Config) -> Result<Option<self::core::talk::Talking>, CameraError> {
    let permission = Permission::new(config.talk.who.clone(), &config.signalling);
    if !permission.is_given() {
        return Ok(None);
    }
    speaker::settings(&config.talk.output).check()?;
    let talking = self::core::talk::Talking::new(talk::Commands::new(permission), config.talk.duplex);
    config.data.entry(talk::MEMBER).or_insert_with(|| talking.presence());
    Ok(Some(talking))
}

/// What the core knows of publishers; `None` if the source is another one.
#[cfg(feature = "relay")]
fn publishers(config: &mut Config) -> Option<self::core::publish::Publishers> {
    let CameraSource::Published(Publishing { who, occupied, video }) = &config.source else { return None };
    let permission = Permission::new(who.clone(), &config.signalling);
    if permission.is_given() {
        // Pages offer what somebody may only.
        config.data.entry("publish").or_insert_with(|| true.into());
    }
    Some(self::core::publish::Publishers::new(permission, *occupied, video.clone(), config.bitrate.start))
}

/// A source that takes the place of another, which may hold the same camera until it closes.
fn open_in_place_of(old: &CameraSource, new: &CameraSource) -> Result<Source, CameraError> {
    match (old, new) {
        #[cfg(feature = "gst")]
        (CameraSource::Capture(old), CameraSource::Capture(new)) => {
            Ok(Source::gstreamer_in_place_of((**new).clone(), old)?)
        }
        _ => Ok(open(new)?.source),
    }
}
