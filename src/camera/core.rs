//! The camera's core, sans-IO. It passes what viewers and readers want to [`demand`](super::demand), the decisions to the
//! source, and the source's frames and status to viewers, readers and the application.

#[cfg(feature = "relay")]
pub(in crate::camera) mod activity;
#[cfg(feature = "channels")]
pub(in crate::camera) mod channels;
#[cfg(feature = "relay")]
pub(in crate::camera) mod publish;
mod shares;
#[cfg(feature = "relay")]
mod simulcast;
mod source;
#[cfg(feature = "talk")]
pub(in crate::camera) mod talk;
mod viewers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::audience::Audience;
use super::controls::{self, ControlCommands, Reply};
use super::demand::{self, Demand, Sink};
use super::event::Event;
use super::sharing::BitratePolicy;
use super::snapshot::Waiter;
use super::wishes::Wishes;
use crate::call::RateLimit;
use crate::call::body::EndReason;
use crate::calling::{self, AnswerPolicy};
use crate::media::adapt::keyframes::KeyFrameReason;
use crate::media::adapt::ladder::Quality;
use crate::media::adapt::rate::BitrateLimits;
use crate::media::adapt::temperature;
use crate::media::sink::{SnapshotError, Snapshots};
use crate::media::source::controls::Control;
use crate::media::source::{Command, RequestId, SourceEvent, SourceStatus, StatusTracker};
use crate::media::{Codec, Frame, Kind, StreamId, StreamInfo};
use crate::net::frame_outbox::FrameOutbox;
use crate::proto::Message;
use crate::rtc::{self, Path, ShardId, Transmit};

pub(crate) use crate::calling::Whence;
use shares::Shares;

/// The configuration of the core.
pub(crate) struct Config {
    pub rtc: rtc::Config,
    /// The streams that the source announces.
    pub streams: Vec<StreamInfo>,
    pub bitrate: BitrateLimits,
    /// Whether frame rate and size may be lowered.
    pub adapt: bool,
    /// The temperatures at which the load is reduced; `None` without a thermometer.
    pub heat: Option<temperature::TemperatureLimits>,
    pub answer: AnswerPolicy,
    pub max_viewers: usize,
    /// The maximum number of calls without media per host or user.
    pub max_unconnected: usize,
    /// The rate of offers per host or user.
    pub offer_rate: RateLimit,
    pub linger: Duration,
    /// Whose network the bitrate follows.
    pub policy: BitratePolicy,
    /// The maximum age of a snapshot that is served again.
    pub snapshot_every: Duration,
    /// The source is live: it does not end like a file.
    pub live: bool,
    /// Commands to the source's controls; `None` if the application handles them.
    pub controls: Option<ControlCommands>,
    /// Callers who publish; `None` if the source is another one.
    #[cfg(feature = "relay")]
    pub publishers: Option<publish::Publishers>,
    /// Viewers who talk; `None` where nobody may.
    #[cfg(feature = "talk")]
    pub talking: Option<talk::Talking>,
}

/// What happened outside. Frames and datagrams are borrowed.
pub(crate) enum Input<'a> {
    /// The server knows us under this address.
    Online {
        address: &'a str,
    },
    Offline,
    PeerGone {
        address: &'a str,
    },
    PeerThere {
        address: &'a str,
    },
    /// A `call:…` message.
    Call {
        from: &'a str,
        whence: Whence,
        subtype: &'a str,
        data: Option<&'a str>,
        call: Option<&'a str>,
    },
    /// A peer's command to the controls; the request id is for the source.
    Control {
        command: Message,
        whence: Whence,
        request: RequestId,
    },
    /// A viewer's command: it asks for less, for everything again, or for its figures. `encoder` is the name of the main
    /// rendition's.
    Share {
        command: Message,
        whence: Whence,
        encoder: Option<String>,
    },
    /// What the source's video is asked for, for the publisher: of the rendition of this rank.
    #[cfg(feature = "relay")]
    Asked(usize, crate::media::source::Request),
    /// A viewer's command: it talks, or has talked.
    #[cfg(feature = "talk")]
    Talk {
        command: Message,
        whence: Whence,
    },
    /// What became of the speaker.
    #[cfg(feature = "talk")]
    Speaker(talk::News),
    Frame(&'a Frame),
    /// Frames of a stream were lost before they arrived here.
    Torn(StreamId),
    /// An event of the source, other than a frame.
    Source(SourceEvent),
    Datagram {
        path: Path,
        data: &'a [u8],
    },
    /// The board's readings, in reply to [`Output::ReadHeat`].
    Heat(temperature::Reading),
    /// The source was replaced. The new one has received no command yet.
    Replaced {
        streams: Vec<StreamInfo>,
        live: bool,
    },
    /// Settings that change while it runs.
    Settings(LiveSettings),
    /// Ends all calls.
    Shutdown,
    Timeout,
}

/// Settings that can change while the camera runs.
pub(crate) struct LiveSettings {
    pub bitrate: BitrateLimits,
    pub policy: BitratePolicy,
    pub linger: Duration,
    pub max_viewers: usize,
    pub answer: AnswerPolicy,
    pub snapshot_every: Duration,
}

/// A request to the driver.
#[derive(Debug)]
pub(crate) enum Output {
    /// Sends a message of a call.
    Send {
        to: String,
        subtype: &'static str,
        call: Option<String>,
        data: String,
    },
    /// The answer to a peer's command.
    Reply(Message, Reply),
    /// What the source is asked for.
    Command(Command),
    /// [`Input::Heat`] is wanted.
    ReadHeat,
    /// What the source does now, for everybody who comes and, at once, for these; `None` while nobody watches.
    Source(Option<SourceStatus>, Vec<String>),
    /// So many watch now, for everybody.
    Viewers(usize),
    /// What a viewer said by its call's channel, other than to the core.
    #[cfg(feature = "channels")]
    Said(Message),
    /// What this peer gets of the video from now on, and why.
    Share(String, serde_json::Value),
    /// For the feeds of the source that callers publish to.
    #[cfg(feature = "relay")]
    Publish(publish::Order),
    /// For the speaker on which viewers are heard.
    #[cfg(feature = "talk")]
    Speaker(talk::Order),
    /// What everybody is told of talking.
    #[cfg(feature = "talk")]
    Talk(serde_json::Value),
    /// The driver of this shard of the viewers has something to do.
    Wake(ShardId),
    Event(Event),
    Timeout(Option<Instant>),
}

pub(crate) struct CameraCore {
    pub calling: calling::Core,
    demand: Demand,
    source: StatusTracker,
    /// The status last sent to viewers; `None` while nobody watches.
    status: Option<SourceStatus>,
    /// Frames are flowing to viewers: otherwise there is nothing to adapt.
    flows: bool,
    audience: Audience,
    /// How many watch.
    joined: usize,
    /// The number of viewers last reported to the program.
    watching: usize,
    shares: Shares,
    policy: BitratePolicy,
    /// The policy that demand has.
    applied: demand::BitratePolicy,
    takers: BTreeMap<u64, Taker>,
    snapshots: Snapshots<Waiter>,
    /// JPEG is wanted for them.
    makes_jpeg: bool,
    controls: Option<ControlCommands>,
    #[cfg(feature = "channels")]
    channels: channels::Channels,
    #[cfg(feature = "relay")]
    publishers: Option<publish::Publishers>,
    #[cfg(feature = "talk")]
    talking: Option<talk::Talking>,
    wishes: Wishes,
    over: bool,
    out: VecDeque<Output>,
    calling_at: Option<Instant>,
    demand_at: Option<Instant>,
    /// A datagram came then, and what follows from it was not looked at yet: there may be more of them.
    unsettled: Option<Instant>,
}

/// Somebody of the program who takes frames.
struct Taker {
    codecs: Vec<Codec>,
    streams: BTreeSet<StreamId>,
    outbox: Arc<FrameOutbox>,
}

impl CameraCore {
    pub(crate) fn new(config: Config, now: Instant) -> Self {
        let demand = demand::Config {
            bitrate: config.bitrate,
            adapt: config.adapt,
            heat: config.heat,
            linger: config.linger,
        };
        let calls = calling::CoreConfig {
            rtc: config.rtc,
            streams: by_preference(&config.streams),
            answer: config.answer,
            max_calls: config.max_viewers,
            max_unconnected: config.max_unconnected,
            offer_rate: config.offer_rate,
        };
        #[cfg_attr(not(feature = "relay"), expect(unused_mut, reason = "only a relay changes it"))]
        let mut demand = Demand::new(demand, &config.streams);
        #[cfg(feature = "relay")]
        if let Some(publishers) = &config.publishers {
            publishers.begin(&mut demand, now);
        }
        #[cfg_attr(not(feature = "relay"), expect(unused_mut, reason = "only a relay changes it"))]
        let mut core = CameraCore {
            calling: calling::Core::new(calls, now),
            demand,
            source: StatusTracker::new(config.live),
            status: None,
            flows: false,
            audience: Audience::default(),
            joined: 0,
            watching: 0,
            shares: Shares::default(),
            policy: config.policy,
            applied: demand::BitratePolicy::default(),
            takers: BTreeMap::new(),
            snapshots: Snapshots::new(config.snapshot_every),
            makes_jpeg: false,
            controls: config.controls,
            #[cfg(feature = "channels")]
            channels: channels::Channels::default(),
            #[cfg(feature = "relay")]
            publishers: config.publishers,
            #[cfg(feature = "talk")]
            talking: config.talking,
            wishes: Wishes::new(),
            over: false,
            out: VecDeque::new(),
            calling_at: None,
            demand_at: None,
            unsettled: None,
        };
        #[cfg(feature = "relay")]
        core.set_streams();
        core
    }

    pub(crate) fn bitrate(&self, stream: StreamId) -> Option<u32> {
        self.demand.bitrate(stream)
    }

    /// What is asked of the encoder of a stream.
    pub(crate) fn quality(&self, stream: StreamId) -> Option<Quality> {
        self.demand.quality(stream)
    }

    /// The stream that most viewers get.
    pub(crate) fn main_video(&self) -> Option<StreamId> {
        let all = by_preference(self.demand.streams());
        all.iter().find(|info| info.kind() == Kind::Video && info.codec != Codec::Jpeg).map(|info| info.id)
    }

    /// The controls of the source, as last read.
    pub(crate) fn controls(&self) -> &[Control] {
        self.controls.as_ref().map(ControlCommands::known).unwrap_or_default()
    }

    /// Whether a peer's command is one to the controls.
    pub(crate) fn is_control(&self, command: &Message) -> bool {
        self.controls.is_some() && ControlCommands::is_concerned(command)
    }

    /// Whether a peer's command is one to its share.
    pub(crate) fn is_share(command: &Message) -> bool {
        Wishes::is_concerned(command)
    }

    /// Whether there is a call with this address.
    pub(crate) fn is_in_call(&self, address: &str) -> bool {
        self.calling.parties().any(|party| party.peer.as_str() == address)
    }

    pub(crate) fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Online { address } => self.calling.handle_input(calling::Input::Online { address }, now),
            Input::Offline => self.calling.handle_input(calling::Input::Offline, now),
            Input::PeerGone { address } => {
                self.calling.handle_input(calling::Input::PeerGone { address }, now)
            }
            Input::PeerThere { address } => {
                self.calling.handle_input(calling::Input::PeerThere { address }, now)
            }
            Input::Call { from, whence, subtype, data, call } => {
                self.calling.handle_input(calling::Input::Message { from, whence, subtype, data, call }, now);
            }
            Input::Datagram { path, data } => {
                self.calling.handle_input(calling::Input::Datagram { path, data }, now);
                self.unsettled = Some(now);
                return;
            }
            Input::Control { command, whence, request } => {
                if let Some(controls) = &mut self.controls {
                    controls.handle_command(command, whence.host(), request, now);
                }
            }
            Input::Share { command, whence, encoder } => {
                if self.wishes.admits(&command, whence.host(), now) {
                    let reply = self.answer_viewer(&command, encoder, now);
                    self.out.push_back(Output::Reply(command, reply));
                }
            }
            #[cfg(feature = "relay")]
            Input::Asked(rank, request) => self.ask_for_video(rank, request, now),
            #[cfg(feature = "talk")]
            Input::Talk { command, whence } => {
                if let Some(reply) = self.talk_command(&command, whence.host(), now) {
                    self.out.push_back(Output::Reply(command, reply));
                }
            }
            #[cfg(feature = "talk")]
            Input::Speaker(news) => self.speaker_news(news),
            Input::Frame(frame) => {
                if frame.codec.is_video() {
                    self.set_flows(self.status.is_some() && !self.source.is_over(), now);
                    if frame.key {
                        let (stream, bytes) = (frame.stream, frame.data.len());
                        self.demand.handle_input(demand::Input::KeyFrame { stream, bytes }, now);
                    }
                }
                self.hand_out(frame, now);
                self.calling.handle_input(calling::Input::Frame(frame), now);
            }
            Input::Torn(stream) => self.want_key_frame(None, stream, KeyFrameReason::Loss, now),
            Input::Source(event) => self.source_event(event, now),
            Input::Heat(reading) => self.demand.handle_input(demand::Input::Heat(reading), now),
            Input::Replaced { streams, live } => self.replace(streams, live, now),
            Input::Settings(settings) => {
                self.calling.set_max_calls(settings.max_viewers);
                self.calling.set_answer(settings.answer);
                self.calling.set_max_bitrate(settings.bitrate.enough());
                self.snapshots.set_every(settings.snapshot_every);
                self.demand.handle_input(demand::Input::Limits(settings.bitrate), now);
                self.demand.handle_input(demand::Input::Linger(settings.linger), now);
                self.policy = settings.policy;
                self.apply_policy(now);
            }
            Input::Shutdown => {
                self.over = true;
                #[cfg(feature = "talk")]
                self.stop_talking();
                self.end_takers(SnapshotError::Shutdown, now);
                self.snapshots.end();
                self.calling.hang_up_all(&EndReason::Shutdown.into(), now);
                self.demand.handle_input(demand::Input::Shutdown, now);
            }
            Input::Timeout => {
                self.calling.handle_input(calling::Input::Timeout, now);
                self.snapshots.handle_timeout(now);
                self.rest_snapshots(now);
                if let Some(controls) = &mut self.controls {
                    controls.handle_timeout(now);
                }
                self.look(now);
                #[cfg(feature = "channels")]
                self.release_channels(now);
                #[cfg(feature = "relay")]
                self.note_activity(|activity| activity.handle_timeout(now));
                #[cfg(feature = "talk")]
                self.talk_timeout(now);
                if self.demand_at.is_some_and(|at| at <= now) {
                    self.demand.handle_input(demand::Input::Timeout, now);
                }
            }
        }
        self.settle(now);
    }

    /// [`Input::Timeout`] was handled, which ended now.
    pub(crate) fn handle_timeout_done(&mut self, now: Instant) {
        self.calling.pause_offers(now);
        self.settle(now);
    }

    pub(crate) fn poll_output(&mut self) -> Output {
        if let Some(now) = self.unsettled {
            self.settle(now);
        }
        self.out.pop_front().unwrap_or_else(|| {
            let times = [
                self.calling_at,
                self.demand_at,
                self.shares.poll_timeout(),
                self.audience.poll_timeout(),
                self.snapshots.poll_timeout(),
                self.controls.as_ref().and_then(ControlCommands::poll_timeout),
                #[cfg(feature = "channels")]
                self.channels.poll_timeout(),
                #[cfg(feature = "relay")]
                self.publishers.as_ref().and_then(publish::Publishers::poll_timeout),
                #[cfg(feature = "talk")]
                self.talking.as_ref().and_then(talk::Talking::poll_timeout),
            ];
            Output::Timeout(times.into_iter().flatten().min())
        })
    }

    fn want_key_frame(&mut self, sink: Option<Sink>, stream: StreamId, reason: KeyFrameReason, now: Instant) {
        self.demand.handle_input(demand::Input::KeyFrameWanted { sink, stream, reason }, now);
    }

    /// What to send next to viewers; to be called while the socket takes it, and followed by
    /// [`poll_output`](Self::poll_output).
    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        if let Some(transmit) = self.calling.poll_transmit(now) {
            return Some(transmit);
        }
        self.settle(now);
        self.calling.poll_transmit(now)
    }

    /// Passes on snapshots and what controls are asked for, and lets calls and demand talk to each other until both are quiet.
    fn settle(&mut self, now: Instant) {
        self.unsettled = None;
        while let Some((waiter, outcome)) = self.snapshots.poll_answer() {
            match waiter {
                Waiter::Slot(slot) => slot.set(outcome),
                #[cfg(feature = "channels")]
                Waiter::Viewer(call, command) => self.send_snapshot(call, &command, outcome, now),
            }
        }
        while let Some(output) = self.controls.as_mut().and_then(ControlCommands::poll_output) {
            self.out.push_back(match output {
                controls::Output::Reply(command, reply) => Output::Reply(command, reply),
                controls::Output::Command(command) => Output::Command(command),
            });
        }
        loop {
            self.settle_calls(now);
            if !self.settle_demand(now) {
                break;
            }
        }
    }

    fn settle_calls(&mut self, now: Instant) {
        self.calling_at = loop {
            match self.calling.poll_output() {
                calling::Output::Timeout(at) => break at,
                calling::Output::Event(event) => self.calling_event(event, now),
                calling::Output::Wake(shard) => self.out.push_back(Output::Wake(shard)),
                calling::Output::Send { to, subtype, call, data } => {
                    self.out.push_back(Output::Send { to, subtype, call, data });
                }
            }
        };
        let joined = self.joined;
        self.out.extend(self.audience.handle_count(joined, now).map(Output::Viewers));
        if std::mem::replace(&mut self.watching, joined) != joined {
            self.out.push_back(Output::Event(Event::Viewers { count: joined }));
        }
    }

    /// Returns whether calls were asked for something.
    fn settle_demand(&mut self, now: Instant) -> bool {
        let mut asked = false;
        self.demand_at = loop {
            match self.demand.poll_output() {
                demand::Output::Timeout(at) => break at,
                demand::Output::Command(command) => self.out.push_back(Output::Command(command)),
                demand::Output::Serve { sink, share, why } => {
                    self.serve(sink, share, why, now);
                    asked = true;
                }
                demand::Output::ReadHeat => self.out.push_back(Output::ReadHeat),
                demand::Output::Event(event) => self.demand_event(event, now),
            }
        };
        asked
    }

    fn want(&mut self, sink: Sink, streams: BTreeSet<StreamId>, now: Instant) {
        self.demand.handle_input(demand::Input::Wants { sink, streams }, now);
    }

    fn demand_event(&mut self, event: demand::Event, now: Instant) {
        match event {
            demand::Event::Running(streams) => {
                self.out.push_back(Output::Event(Event::Streaming { streams: self.running() }));
                // A snapshot alone is no news.
                let lasts = |id: &StreamId| self.demand.stream(*id).is_some_and(|s| s.codec != Codec::Jpeg);
                let watched = streams.iter().any(lasts);
                self.source.handle_wanted(!streams.is_empty());
                self.show_source(watched, now);
            }
            demand::Event::Bitrate { stream, bps } => {
                self.out.push_back(Output::Event(Event::Bitrate { stream, bps }));
            }
            demand::Event::Quality { stream, quality: Quality { percent, fps }, why } => {
                self.out.push_back(Output::Event(Event::Quality { stream, percent, fps, why }));
            }
            demand::Event::Board(words) => self.out.push_back(Output::Event(Event::Board { message: words })),
        }
    }
}

/// Streams in the order that viewers are offered them: more browsers decode H.264 in hardware than VP8.
pub(crate) fn by_preference<'a>(streams: impl IntoIterator<Item = &'a StreamInfo>) -> Vec<StreamInfo> {
    let mut streams: Vec<StreamInfo> = streams.into_iter().copied().collect();
    streams.sort_unstable_by_key(|info| (info.codec != Codec::H264, info.rendition, info.id));
    streams
}
