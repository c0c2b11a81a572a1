//! The camera's core, sans-IO: what those in calls take reaches [`demand`](super::demand), what it decides reaches
//! the source, and what the source does is told to all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::audience::Audience;
use super::demand::{self, Demand, Sink};
use super::event::{Event, Viewer, ViewerId};
use super::frames::{self, Outbox};
use super::profile;
use super::snapshot::{Slot, SnapshotError, Snapshots};
use crate::call::body::{End, EndReason};
use crate::call::{CallError, CallId, RateLimit};
use crate::calling::{self, Answer, Party};
use crate::media::adapt::heat;
use crate::media::adapt::keyframes::KeyFrameReason;
use crate::media::adapt::ladder::Quality;
use crate::media::adapt::rate::Limits;
use crate::media::source::{Command, SourceEvent, SourceState, SourceStatus, StatusTracker};
use crate::media::{Codec, Format, Frame, Kind, StreamId, StreamInfo, VideoFormat};
use crate::proto::Address;
use crate::rtc::{self, Path, SessionStats, Transmit};

pub(crate) use crate::calling::Whence;

/// What a studio is told at its start.
pub(crate) struct Config {
    pub rtc: rtc::Config,
    /// What the source announces.
    pub streams: Vec<StreamInfo>,
    pub bitrate: Limits,
    /// Whether less than everything may be asked of an encoder.
    pub adapt: bool,
    /// From which temperatures on less is asked; `None` where nothing is read.
    pub heat: Option<heat::Limits>,
    pub answer: Answer,
    pub max_viewers: usize,
    /// Calls without media that each host, or user, may have.
    pub max_unconnected: usize,
    /// Offers of each host, or user.
    pub offer_rate: RateLimit,
    pub linger: Duration,
    /// How old a snapshot may be that is served again.
    pub snapshot_every: Duration,
    /// The source is a camera, and no file that comes to an end.
    pub live: bool,
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
    /// A `call:…` message.
    Call {
        from: &'a str,
        whence: Whence,
        subtype: &'a str,
        data: Option<&'a str>,
        call: Option<&'a str>,
    },
    Frame(&'a Frame),
    /// Frames of a stream were lost before they came here.
    Torn(StreamId),
    /// What the source says, frames apart.
    Source(SourceEvent),
    Datagram {
        path: Path,
        data: &'a [u8],
    },
    /// What the board said, as [`Output::ReadHeat`] wanted.
    Heat(heat::Reading),
    /// Another source takes the place of the one before, and has been asked for nothing yet.
    Replaced {
        streams: Vec<StreamInfo>,
        live: bool,
    },
    /// Settings that change while it runs.
    Settings(Settings),
    /// All calls are hung up.
    Shutdown,
    Timeout,
}

/// Settings that can change while the camera runs.
pub(crate) struct Settings {
    pub bitrate: Limits,
    pub linger: Duration,
    pub max_viewers: usize,
    pub answer: Answer,
    pub snapshot_every: Duration,
}

/// What is to be done outside.
#[derive(Debug)]
pub(crate) enum Output {
    /// A message of a call, by the signalling.
    Send {
        to: String,
        subtype: &'static str,
        call: Option<String>,
        data: String,
    },
    /// What the source is asked for.
    Command(Command),
    /// [`Input::Heat`] is wanted.
    ReadHeat,
    /// What the source does now, for everybody who comes and, at once, for these; `None` while nobody watches.
    Source(Option<SourceStatus>, Vec<String>),
    /// So many watch now, for everybody.
    Viewers(usize),
    Event(Event),
    Timeout(Option<Instant>),
}

pub(crate) struct Studio {
    pub calling: calling::Core,
    demand: Demand,
    source: StatusTracker,
    /// What those who watch were told of it last; `None` while nobody does.
    status: Option<SourceStatus>,
    /// Frames flow, for those who watch: without any there is nothing to adapt.
    flows: bool,
    audience: Audience,
    /// How many watched when the program was told last.
    watching: usize,
    takers: BTreeMap<u64, Taker>,
    snapshots: Snapshots,
    /// JPEG is wanted for them.
    makes_jpeg: bool,
    over: bool,
    out: VecDeque<Output>,
    calling_at: Option<Instant>,
    demand_at: Option<Instant>,
}

/// Somebody of the program who takes frames.
struct Taker {
    codecs: Vec<Codec>,
    streams: BTreeSet<StreamId>,
    outbox: Arc<Outbox>,
}

impl Studio {
    pub(crate) fn new(config: Config, now: Instant) -> Self {
        let demand = demand::Config {
            bitrate: config.bitrate,
            adapt: config.adapt,
            heat: config.heat,
            linger: config.linger,
        };
        let calls = calling::Config {
            rtc: config.rtc,
            streams: by_preference(&config.streams),
            answer: config.answer,
            max_calls: config.max_viewers,
            max_unconnected: config.max_unconnected,
            offer_rate: config.offer_rate,
        };
        Studio {
            calling: calling::Core::new(calls, now),
            demand: Demand::new(demand, &config.streams),
            source: StatusTracker::new(config.live),
            status: None,
            flows: false,
            audience: Audience::default(),
            watching: 0,
            takers: BTreeMap::new(),
            snapshots: Snapshots::new(config.snapshot_every),
            makes_jpeg: false,
            over: false,
            out: VecDeque::new(),
            calling_at: None,
            demand_at: None,
        }
    }

    /// Calls a peer, to show it the pictures.
    pub(crate) fn invite(&mut self, to: &str, wire_id: &str, now: Instant) -> Result<ViewerId, CallError> {
        let call = self.calling.invite(to, wire_id, now)?;
        self.settle(now);
        Ok(ViewerId(call))
    }

    pub(crate) fn accept(&mut self, viewer: ViewerId, now: Instant) -> Result<(), CallError> {
        self.calling.accept(viewer.0, now)?;
        self.settle(now);
        Ok(())
    }

    pub(crate) fn reject(&mut self, viewer: ViewerId, end: End, now: Instant) -> Result<(), CallError> {
        self.calling.reject(viewer.0, end, now)?;
        self.settle(now);
        Ok(())
    }

    pub(crate) fn hang_up(&mut self, viewer: ViewerId, end: End, now: Instant) -> Result<(), CallError> {
        self.calling.hang_up(viewer.0, end, now)?;
        self.settle(now);
        Ok(())
    }

    /// Ends every call, those that are not connected yet too. Says how many.
    pub(crate) fn hang_up_all(&mut self, end: &End, now: Instant) -> usize {
        let count = self.calling.hang_up_all(end, now);
        self.settle(now);
        count
    }

    /// Frames of these codecs go to the outbox from now on; of none, of the best video and the audio.
    pub(super) fn take_frames(&mut self, id: u64, codecs: Vec<Codec>, outbox: Arc<Outbox>, now: Instant) {
        if self.over {
            return outbox.end();
        }
        self.takers.insert(id, Taker { codecs, streams: BTreeSet::new(), outbox });
        self.choose(now);
        self.settle(now);
    }

    pub(crate) fn drop_frames(&mut self, id: u64, now: Instant) {
        if self.takers.remove(&id).is_some() {
            self.want(Sink::Frames(id), BTreeSet::new(), now);
            self.settle(now);
        }
    }

    /// The newest picture as JPEG, now or once it is there.
    pub(super) fn snapshot(&mut self, now: Instant) -> Arc<Slot> {
        let jpeg = frames::choose(self.demand.streams(), &[Codec::Jpeg]);
        let slot = self.snapshots.ask(!jpeg.is_empty(), now);
        if self.snapshots.wants() {
            self.makes_jpeg = true;
            self.want(Sink::Snapshot, jpeg, now);
        }
        self.settle(now);
        slot
    }

    /// Where those who watch are.
    pub(crate) fn watchers(&self) -> Vec<Address> {
        self.calling.parties().filter(|party| party.joined).map(|party| party.peer.clone()).collect()
    }

    /// Where the viewers of later calls can reach us.
    pub(crate) fn set_candidates(&mut self, candidates: Vec<rtc::LocalCandidate>) {
        self.calling.set_candidates(candidates);
    }

    pub(crate) fn viewers(&self) -> impl Iterator<Item = (Viewer, Option<SessionStats>)> {
        self.calling.parties().filter(|party| party.joined).map(|party| (self.viewer(&party), party.stats))
    }

    /// Sessions that a panic ended.
    pub(crate) fn panics(&self) -> u64 {
        self.calling.panics()
    }

    /// What the source is asked for now.
    pub(crate) fn running(&self) -> Vec<StreamInfo> {
        self.demand.running().iter().filter_map(|id| self.demand.stream(*id)).copied().collect()
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

    /// What the source does; `None` while nobody watches.
    pub(crate) fn source(&self) -> Option<SourceStatus> {
        self.status
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.calling.is_idle()
    }

    pub(crate) fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Online { address } => self.calling.handle_input(calling::Input::Online { address }, now),
            Input::Offline => self.calling.handle_input(calling::Input::Offline, now),
            Input::PeerGone { address } => {
                self.calling.handle_input(calling::Input::PeerGone { address }, now)
            }
            Input::Call { from, whence, subtype, data, call } => {
                self.calling.handle_input(calling::Input::Message { from, whence, subtype, data, call }, now);
            }
            Input::Datagram { path, data } => {
                self.calling.handle_input(calling::Input::Datagram { path, data }, now);
            }
            Input::Frame(frame) => {
                if frame.codec.is_video() {
                    self.set_flows(self.status.is_some() && !self.source.is_over(), now);
                    if frame.key {
                        self.demand.handle_input(demand::Input::KeyFrame(frame.stream), now);
                    }
                }
                self.hand_out(frame, now);
                self.calling.handle_input(calling::Input::Frame(frame), now);
            }
            Input::Torn(stream) => self.want_key_frame(stream, KeyFrameReason::Loss, now),
            Input::Source(event) => self.source_event(event, now),
            Input::Heat(reading) => self.demand.handle_input(demand::Input::Heat(reading), now),
            Input::Replaced { streams, live } => self.replace(streams, live, now),
            Input::Settings(settings) => {
                self.calling.set_max_calls(settings.max_viewers);
                self.calling.set_answer(settings.answer);
                self.snapshots.set_every(settings.snapshot_every);
                self.demand.handle_input(demand::Input::Limits(settings.bitrate), now);
                self.demand.handle_input(demand::Input::Linger(settings.linger), now);
            }
            Input::Shutdown => {
                self.over = true;
                self.end_takers(SnapshotError::Shutdown, now);
                self.snapshots.end();
                self.calling.hang_up_all(&EndReason::Shutdown.into(), now);
                self.demand.handle_input(demand::Input::Shutdown, now);
            }
            Input::Timeout => {
                self.calling.handle_input(calling::Input::Timeout, now);
                self.snapshots.handle_timeout(now);
                self.rest_snapshots(now);
                if self.demand_at.is_some_and(|at| at <= now) {
                    self.demand.handle_input(demand::Input::Timeout, now);
                }
            }
        }
        self.settle(now);
    }

    pub(crate) fn poll_output(&mut self) -> Output {
        self.out.pop_front().unwrap_or_else(|| {
            let times = [
                self.calling_at,
                self.demand_at,
                self.audience.poll_timeout(),
                self.snapshots.poll_timeout(),
            ];
            Output::Timeout(times.into_iter().flatten().min())
        })
    }

    fn want_key_frame(&mut self, stream: StreamId, reason: KeyFrameReason, now: Instant) {
        self.demand.handle_input(demand::Input::KeyFrameWanted { stream, reason }, now);
    }

    /// Nothing flows of a source that does not play.
    fn rest_flow(&mut self, now: Instant) {
        if self.status.is_none_or(|status| status.state != SourceState::Playing) {
            self.set_flows(false, now);
        }
    }

    fn set_flows(&mut self, flows: bool, now: Instant) {
        if std::mem::replace(&mut self.flows, flows) != flows {
            self.demand.handle_input(demand::Input::Flows(flows), now);
        }
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

    /// Lets calls and demand talk to each other until both are quiet.
    fn settle(&mut self, now: Instant) {
        self.calling_at = loop {
            match self.calling.poll_output() {
                calling::Output::Timeout(at) => break at,
                calling::Output::Event(event) => self.calling_event(event, now),
                calling::Output::Send { to, subtype, call, data } => {
                    self.out.push_back(Output::Send { to, subtype, call, data });
                }
            }
        };
        let joined = self.calling.parties().filter(|party| party.joined).count();
        self.out.extend(self.audience.handle_count(joined, now).map(Output::Viewers));
        if std::mem::replace(&mut self.watching, joined) != joined {
            self.out.push_back(Output::Event(Event::Viewers { count: joined }));
        }
        self.demand_at = loop {
            match self.demand.poll_output() {
                demand::Output::Timeout(at) => break at,
                demand::Output::Command(command) => self.out.push_back(Output::Command(command)),
                demand::Output::ReadHeat => self.out.push_back(Output::ReadHeat),
                demand::Output::Event(event) => self.demand_event(event, now),
            }
        };
    }

    fn calling_event(&mut self, event: calling::Event, now: Instant) {
        let event = match event {
            calling::Event::Incoming { call, peer, data } => {
                Event::Incoming { id: ViewerId(call), peer, data }
            }
            calling::Event::Calling { call, peer } => Event::Calling { id: ViewerId(call), peer },
            calling::Event::Takes { call, streams } => {
                self.hold_to_agreement(&[call]);
                return self.want(Sink::Call(call), streams, now);
            }
            calling::Event::Joined { call } => {
                let Some(party) = self.calling.party(call) else { return };
                Event::ViewerJoined { viewer: self.viewer(&party) }
            }
            calling::Event::Left { call, peer, takes, end } => {
                let viewer =
                    self.viewer(&Party { call, peer: &peer, takes: &takes, joined: true, stats: None });
                self.want(Sink::Call(call), BTreeSet::new(), now);
                Event::ViewerLeft { viewer, end }
            }
            calling::Event::Failed { call, peer, end } => {
                self.want(Sink::Call(call), BTreeSet::new(), now);
                Event::CallFailed { id: ViewerId(call), peer, end }
            }
            calling::Event::KeyFrameWanted { stream, reason } => {
                return self.want_key_frame(stream, reason, now);
            }
            calling::Event::Estimate { call, bps } => {
                let estimate = demand::Input::Estimate { sink: Sink::Call(call), bps };
                return self.demand.handle_input(estimate, now);
            }
        };
        self.out.push_back(Output::Event(event));
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

    fn source_event(&mut self, event: SourceEvent, now: Instant) {
        if self.source.handle_event(&event) {
            self.show_source(self.status.is_some(), now);
            // Trouble again, after a frame that was on its way.
            self.rest_flow(now);
        }
        let event = match event {
            SourceEvent::Streams(streams) => return self.streams(streams, now),
            SourceEvent::Ended => Event::SourceEnded,
            SourceEvent::GaveUp => {
                // Whoever comes next makes it try again.
                self.end_takers(SnapshotError::SourceEnded, now);
                self.demand.handle_input(demand::Input::GaveUp, now);
                let ended = self.source.status().is_some_and(|status| status.state == SourceState::Ended);
                let reason = if ended { EndReason::SourceEnded } else { EndReason::SourceFailed };
                self.calling.hang_up_all(&reason.into(), now);
                Event::Streaming { streams: Vec::new() }
            }
            SourceEvent::Stalled(e) | SourceEvent::Failed(e) | SourceEvent::Trouble(e) => {
                Event::Media { error: e }
            }
            SourceEvent::Adjustable { stream, bitrate, quality } => {
                let adjustable = demand::Input::Adjustable { stream, bitrate, quality };
                return self.demand.handle_input(adjustable, now);
            }
            #[cfg(feature = "gst")]
            SourceEvent::Capture(info) => Event::Capture { info },
            SourceEvent::Control { request, name, result } => Event::Control { request, name, result },
            SourceEvent::Controls { request, result } => Event::Controls { request, result },
            _ => return,
        };
        self.out.push_back(Output::Event(event));
    }

    /// The source announces its streams, new ones and those of another format.
    fn streams(&mut self, streams: Vec<StreamInfo>, now: Instant) {
        let before: Vec<StreamInfo> = self.demand.streams().copied().collect();
        self.demand.handle_input(demand::Input::Streams(streams.clone()), now);
        self.calling.set_streams(&by_preference(self.demand.streams()));
        self.choose(now);
        let changed = |info: &&StreamInfo| {
            before.iter().find(|known| known.id == info.id).is_none_or(|known| known.format != info.format)
        };
        for info in streams.iter().filter(changed) {
            let Format::Video(VideoFormat { width, height, fps, profile_level_id }) = info.format else {
                continue;
            };
            if profile_level_id.is_some() {
                let all: Vec<CallId> = self.calling.parties().map(|party| party.call).collect();
                self.hold_to_agreement(&all);
            }
            self.out.push_back(Output::Event(Event::Format { stream: info.id, width, height, fps }));
        }
    }

    /// Gives a frame to those of the program who take its stream.
    fn hand_out(&mut self, frame: &Frame, now: Instant) {
        if frame.codec == Codec::Jpeg && self.snapshots.wants() {
            self.snapshots.handle_frame(frame, now);
            self.rest_snapshots(now);
        }
        let info = self.demand.stream(frame.stream);
        let mut torn = false;
        for taker in self.takers.values().filter(|taker| taker.streams.contains(&frame.stream)) {
            torn |= !taker.outbox.push(frame, info);
        }
        if torn {
            self.want_key_frame(frame.stream, KeyFrameReason::Loss, now);
        }
    }

    /// No JPEG is made that nobody waits for.
    fn rest_snapshots(&mut self, now: Instant) {
        if !self.snapshots.wants() && std::mem::take(&mut self.makes_jpeg) {
            self.want(Sink::Snapshot, BTreeSet::new(), now);
        }
    }

    /// Which streams takers get of those that there are.
    fn choose(&mut self, now: Instant) {
        let mut wants = Vec::new();
        for (id, taker) in &mut self.takers {
            let streams = frames::choose(self.demand.streams(), &taker.codecs);
            if streams != taker.streams {
                taker.streams.clone_from(&streams);
                wants.push((Sink::Frames(*id), streams));
            }
        }
        for (sink, streams) in wants {
            self.want(sink, streams, now);
        }
    }

    fn end_takers(&mut self, error: SnapshotError, now: Instant) {
        for (id, taker) in std::mem::take(&mut self.takers) {
            taker.outbox.end();
            self.want(Sink::Frames(id), BTreeSet::new(), now);
        }
        self.snapshots.fail(error);
        self.rest_snapshots(now);
    }

    /// Another source goes on where the one before was; calls stay.
    fn replace(&mut self, streams: Vec<StreamInfo>, live: bool, now: Instant) {
        self.source = StatusTracker::new(live);
        self.flows = false;
        self.demand.handle_input(demand::Input::Replaced(streams), now);
        self.calling.set_streams(&by_preference(self.demand.streams()));
        self.choose(now);
    }

    /// Whether the encoder makes what was negotiated with these viewers; told once for all of them.
    fn hold_to_agreement(&mut self, calls: &[CallId]) {
        let parties = calls.iter().filter_map(|call| self.calling.party(*call));
        let agreed = parties.filter_map(|party| {
            let stats = party.stats?;
            let mut made =
                stats.streams.iter().filter_map(|id| self.demand.stream(*id)?.video()?.profile_level_id);
            Some((made.next()?, stats.profile_level_id?))
        });
        let error = profile::check(agreed);
        self.out.extend(error.map(|error| Output::Event(Event::Media { error })));
    }

    fn viewer(&self, party: &Party<'_>) -> Viewer {
        let kind = |kind| {
            let codecs = party.takes.iter().filter_map(|id| self.demand.stream(*id)).map(|info| info.codec);
            codecs.into_iter().find(|codec: &Codec| codec.kind() == kind)
        };
        Viewer {
            id: ViewerId(party.call),
            address: party.peer.clone(),
            video: kind(Kind::Video),
            audio: kind(Kind::Audio).is_some(),
        }
    }

    /// Tells the program, and all who watch or are about to, what the source does where that is news.
    fn show_source(&mut self, watched: bool, now: Instant) {
        let status = self.source.status().filter(|_| watched);
        if std::mem::replace(&mut self.status, status) == status {
            return;
        }
        self.rest_flow(now);
        let to = self.calling.parties().map(|party| party.peer.as_str().to_owned());
        self.out.push_back(Output::Source(status, to.collect()));
        self.out.extend(status.map(|status| Output::Event(Event::Source { status })));
    }
}

/// Streams in the order that viewers are offered them: more browsers decode H.264 in hardware than VP8.
pub(crate) fn by_preference<'a>(streams: impl IntoIterator<Item = &'a StreamInfo>) -> Vec<StreamInfo> {
    let mut streams: Vec<StreamInfo> = streams.into_iter().copied().collect();
    streams.sort_by_key(|info| (info.codec != Codec::H264, info.rendition, info.id));
    streams
}
