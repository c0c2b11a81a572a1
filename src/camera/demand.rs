//! Between sinks and sources: decides what a source has to produce, and what each viewer gets of it.
//!
//! Sinks report which streams they want, what their networks carry, and when they need a key frame. The output is the
//! [`Command`]s for the source, and the [`Share`] of each viewer. Nothing else starts an encoder, sets its bitrate or
//! forces a key frame; further policies belong here too.
//!
//! | decision | based on | rule |
//! |---|---|---|
//! | which streams run | what all sinks want, and the viewers' shares | every stream that any sink gets; a rendition that no viewer gets any more continues for 5 s, and everything continues for `linger` after the last sink has left, so that a returning viewer finds the source running; JPEG only until a frame has arrived |
//! | bitrate of the main rendition | estimates of its viewers, [`BitratePolicy`] | [`divide`]; down at once, up after a second, longer after each rise that had to be taken back ([`RateControl`](crate::media::adapt::rate::RateControl)), while frames flow; at most [`Ladder::ceiling`](crate::media::adapt::ladder::Ladder::ceiling) |
//! | what a viewer gets | its estimate | see below; down at once, up after half a second, longer after each time that it was too much |
//! | bitrate of the small rendition | estimates of those who get it | the lowest of them, with headroom |
//! | key frames | requests of viewers, full queues, readers | merged by reason: [`KeyFrames`]; one viewer costs those it shares a stream with at most one in 5 s, and gets the small rendition if it asks for more, or waits for what it wishes for again: [`key_frame_requests`] |
//! | frame rate and size | that bitrate, heat | [`Ladder`](crate::media::adapt::ladder::Ladder); of the small rendition, heat alone |
//! | heat | the board's thermometer, read while video is encoded | [`Heat`]; the small rendition stops once the main one was cooled down to its size |
//!
//! A viewer gets the first of these that is possible:
//!
//! | share | if its network carries | with [`BitratePolicy::Best`] the bitrate is |
//! |---|---|---|
//! | the main rendition | its bitrate, or nothing is known yet | what costs the worst-off viewer least, compared with watching alone; for a single viewer, what its network carries |
//! | the small rendition, if the source has one, or the best of several | the lowest bitrate at which it is worth watching | what the lowest of them carries |
//! | key frames, of the small rendition if it runs, else of the main one | one in 10 s | |
//! | nothing | | |
//!
//! A share changes without renegotiation, at a key frame. The application's sinks have no network; they get the main
//! rendition and influence no other decision.
//!
//! An encoder only gets commands that it supports ([`Input::Adjustable`]); the viewers of one with a fixed bitrate all get
//! it. Encodings that are somebody else's, such as those of a publisher, have the bitrates that were measured
//! ([`Input::Rate`]): there may be several small ones, and each viewer gets the best that its network carries. A source
//! that gave up is restarted by the next sink that wants a stream; the sinks it had are forgotten. When the last sink
//! leaves, bitrates start over, since the next viewer has another network.

mod bitrate;
mod divide;
mod encoder;
mod key_frame_requests;
mod network;
mod running;
mod share;
mod viewer;

#[cfg(test)]
#[path = "demand/tests/simulation/mod.rs"]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::call::CallId;
use crate::media::adapt::keyframes::{KeyFrameReason, KeyFrames};
use crate::media::adapt::ladder::Quality;
use crate::media::adapt::rate::BitrateLimits;
use crate::media::adapt::temperature::{self, Heat};
use crate::media::source::Command;
use crate::media::{Kind, StreamId, StreamInfo};

#[cfg(any(test, feature = "relay"))]
pub(super) use encoder::Rate;
use encoder::{Adjustable, Encoder, Stream};
pub use share::ShareReason;
pub(super) use share::{BitratePolicy, Share, Wish};
use viewer::Viewer;

/// The configuration.
#[derive(Clone, Debug)]
pub(super) struct Config {
    /// Of each encoder.
    pub bitrate: BitrateLimits,
    /// Whether frame rate and size may be lowered.
    pub adapt: bool,
    /// The temperature from which the load is reduced; `None` without a thermometer.
    pub heat: Option<temperature::TemperatureLimits>,
    /// How long unused streams keep running.
    pub linger: Duration,
}

/// A consumer of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sink {
    /// A viewer.
    Call(CallId),
    /// The application.
    Frames(u64),
    /// Snapshots.
    Snapshot,
}

/// An input.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// The source announces its streams, or a new format of one.
    Streams(Vec<StreamInfo>),
    /// The source was replaced. The new one has received no command yet.
    Replaced(Vec<StreamInfo>),
    /// A sink wants these streams from now on; none if it has left.
    Wants { sink: Sink, streams: BTreeSet<StreamId> },
    /// What a viewer's network can carry, in bit/s.
    Estimate { sink: Sink, bps: u32 },
    /// What is sent to a viewer in bit/s, on average over about a second, if that is counted; the loss, 0 to 1; and the
    /// round trip. Expected about once a second: without it, every estimate is trusted.
    Link { sink: Sink, sent: Option<u32>, loss: f32, round_trip: Option<Duration> },
    /// The most that a viewer asks for.
    Wish { sink: Sink, wish: Wish },
    /// A decoder needs a key frame of this stream: that of a sink, if it is known.
    KeyFrameWanted { sink: Option<Sink>, stream: StreamId, reason: KeyFrameReason },
    /// A key frame of a video stream arrived, of so many bytes.
    KeyFrame { stream: StreamId, bytes: usize },
    /// Whether video is flowing: without it there is nothing to adapt.
    Flows(bool),
    /// What can be adjusted on the encoder of a stream.
    Adjustable { stream: StreamId, bitrate: bool, quality: bool },
    /// What the bitrate of a video stream is from now on.
    #[cfg(any(test, feature = "relay"))]
    Rate { stream: StreamId, rate: Rate },
    /// The board's readings, in reply to [`Output::ReadHeat`].
    Heat(temperature::Reading),
    /// New bitrate limits.
    Limits(BitrateLimits),
    /// Another policy.
    Policy(BitratePolicy),
    /// A new time for which unused streams keep running.
    Linger(Duration),
    /// The source no longer retries by itself: all its sinks are dropped.
    GaveUp,
    /// Unused streams stop at once.
    Shutdown,
    /// The time of [`Output::Timeout`] has come.
    Timeout,
}

/// An output.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Output {
    /// A command for the source.
    Command(Command),
    /// What a viewer gets from now on, or another reason for it. Until a key frame of another stream comes, the viewer
    /// continues with the one it has, as far as its network carries that.
    Serve { sink: Sink, share: Share, why: ShareReason },
    /// An event.
    Event(Event),
    /// [`Input::Heat`] is needed.
    ReadHeat,
    /// Nothing until then, or until another input.
    Timeout(Option<Instant>),
}

/// A decision.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    /// These streams run from now on.
    Running(BTreeSet<StreamId>),
    /// The bitrate of an encoder changed to follow the networks.
    Bitrate { stream: StreamId, bps: u32 },
    /// The quality of an encoder was lowered or raised, and why.
    Quality { stream: StreamId, quality: Quality, why: String },
    /// A problem of the board, for people.
    Board(String),
}

/// The core. See the [module](self).
pub(super) struct Demand {
    config: Config,
    policy: BitratePolicy,
    streams: BTreeMap<StreamId, Stream>,
    sinks: BTreeMap<Sink, Taker>,
    running: BTreeSet<StreamId>,
    key_frames: KeyFrames,
    heat: Option<Heat>,
    /// The current steps down because of heat, and why.
    cooling: (usize, String),
    flows: bool,
    /// When to stop unused streams.
    stop_at: Option<Instant>,
    /// When viewers and renditions are due next.
    wake: Option<Instant>,
    /// When it is due next, while nothing has changed that.
    timeout: Option<Option<Instant>>,
    out: VecDeque<Output>,
}

struct Taker {
    streams: BTreeSet<StreamId>,
    /// Calls only.
    viewer: Option<Viewer>,
}

impl Taker {
    /// Whether it gets a stream, which may be another rendition than the one it wants.
    fn takes(&self, stream: StreamId) -> bool {
        let Some(viewer) = self.viewer.as_ref().filter(|viewer| viewer.main.is_some()) else {
            return self.streams.contains(&stream);
        };
        let served = viewer.served.map_or(viewer.main, |(share, _)| share.stream());
        served == Some(stream) || viewer.main != Some(stream) && self.streams.contains(&stream)
    }
}

impl Demand {
    /// For a source with these streams, without sinks.
    pub(super) fn new(config: Config, streams: &[StreamInfo]) -> Self {
        let mut demand = Demand {
            policy: BitratePolicy::default(),
            streams: BTreeMap::new(),
            sinks: BTreeMap::new(),
            running: BTreeSet::new(),
            key_frames: KeyFrames::new(),
            heat: None,
            cooling: Default::default(),
            flows: false,
            stop_at: None,
            wake: None,
            timeout: None,
            out: VecDeque::new(),
            config,
        };
        demand.announce(streams);
        let depth = demand.encoders().map(|encoder| encoder.ladder.depth()).max().unwrap_or_default();
        demand.heat = demand.config.heat.map(|limits| Heat::new(limits, depth));
        demand
    }

    /// The streams that the source is producing.
    pub(super) fn running(&self) -> &BTreeSet<StreamId> {
        &self.running
    }

    /// All streams, the best video first.
    pub(super) fn streams(&self) -> impl Iterator<Item = &StreamInfo> + Clone {
        self.streams.values().map(|stream| &stream.info)
    }

    pub(super) fn stream(&self, id: StreamId) -> Option<&StreamInfo> {
        self.streams.get(&id).map(|stream| &stream.info)
    }

    /// The target bitrate of the encoder, in bit/s.
    pub(super) fn bitrate(&self, stream: StreamId) -> Option<u32> {
        let encoder = self.streams.get(&stream)?.encoder.as_ref()?;
        Some(encoder.asked.unwrap_or(encoder.rate.current()))
    }

    /// The target quality of the encoder of a stream.
    pub(super) fn quality(&self, stream: StreamId) -> Option<Quality> {
        Some(self.streams.get(&stream)?.encoder.as_ref()?.ladder.quality())
    }

    pub(super) fn handle_input(&mut self, input: Input, now: Instant) {
        let mut ran = false;
        match input {
            Input::Streams(streams) => {
                // A small rendition whose encoders all failed is withdrawn.
                self.streams.retain(|id, s| !s.is_small() || streams.iter().any(|info| info.id == *id));
                self.announce(&streams);
            }
            Input::Replaced(streams) => {
                self.flows = false;
                ran = !std::mem::take(&mut self.running).is_empty();
                self.streams.retain(|id, _| streams.iter().any(|info| info.id == *id));
                self.encoders_mut().for_each(Encoder::replace);
                for stream in self.streams.values_mut() {
                    stream.forget_format();
                }
                self.announce(&streams);
            }
            Input::Wants { sink, streams } => self.want(sink, streams),
            Input::Estimate { sink, bps } => {
                // An estimate without traffic tells nothing about the network.
                let (flows, guess) = (self.flows, self.config.bitrate.start);
                match self.viewer_mut(sink) {
                    Some(viewer) if flows => viewer.link.handle_estimate(bps, guess, now),
                    Some(viewer) => viewer.link.handle_early(bps),
                    None => {}
                }
            }
            Input::Link { sink, sent, loss, round_trip } => {
                if let Some(viewer) = self.viewer_mut(sink) {
                    viewer.link.handle_traffic(sent, loss, round_trip);
                }
            }
            Input::Wish { sink, wish } => {
                if let Some(viewer) = self.viewer_mut(sink) {
                    viewer.handle_wish(wish);
                }
            }
            Input::KeyFrameWanted { sink, stream, reason } => self.want_key_frame(sink, stream, reason, now),
            Input::KeyFrame { stream, bytes } => {
                self.key_frames.handle_key_frame(stream, now);
                let encoder = self.streams.get_mut(&stream).and_then(|stream| stream.encoder.as_mut());
                if let Some(encoder) = encoder {
                    encoder.handle_key_frame(bytes, now);
                }
                for taker in self.sinks.values_mut().filter(|taker| taker.takes(stream)) {
                    if let Some(viewer) = &mut taker.viewer {
                        viewer.requests.handle_key_frame();
                    }
                }
            }
            Input::Flows(flows) => {
                self.flows = flows;
                let guess = self.config.bitrate.start;
                let viewers = self.sinks.values_mut().filter_map(|taker| taker.viewer.as_mut());
                viewers.filter(|_| flows).for_each(|viewer| viewer.link.handle_flow(guess, now));
            }
            Input::Adjustable { stream, bitrate, quality } => {
                let known = self.streams.get_mut(&stream).and_then(|stream| stream.encoder.as_mut());
                if let Some(encoder) = known {
                    encoder.adjustable = Adjustable { bitrate, quality };
                }
            }
            #[cfg(any(test, feature = "relay"))]
            Input::Rate { stream, rate } => {
                let known = self.streams.get_mut(&stream).and_then(|stream| stream.encoder.as_mut());
                if let Some(encoder) = known {
                    encoder.bitrate = rate;
                }
            }
            Input::Heat(reading) => {
                if let Some(heat) = &mut self.heat {
                    heat.handle_reading(reading, now);
                }
            }
            Input::Limits(limits) => {
                self.config.bitrate = limits;
                self.limit();
            }
            Input::Policy(policy) => self.policy = policy,
            Input::Linger(linger) => (self.config.linger, self.stop_at) = (linger, None),
            Input::GaveUp => {
                self.sinks.clear();
                self.stop_at = None;
                self.running.clear();
            }
            // No lingering for former sinks either.
            Input::Shutdown => (self.config.linger, self.stop_at) = (Duration::ZERO, None),
            Input::Timeout => {}
        }
        self.settle(now);
        self.timeout = None;
        if ran && self.running.is_empty() {
            // What lingered ended with its source.
            self.emit(Event::Running(BTreeSet::new()));
        }
    }

    pub(super) fn poll_output(&mut self) -> Output {
        if let Some(output) = self.out.pop_front() {
            return output;
        }
        // It is asked after each datagram of any viewer, and looks at all of them.
        let at = self.timeout.unwrap_or_else(|| {
            let rates = self.encoders().filter(|_| self.flows).filter_map(|e| e.rate.poll_timeout());
            let ladders = self.encoders().filter_map(|e| e.ladder.poll_timeout());
            let heat = self.heat.as_ref().and_then(Heat::poll_timeout);
            let fixed = [self.stop_at, self.wake, self.key_frames.poll_timeout(), heat];
            fixed.into_iter().flatten().chain(rates).chain(ladders).min()
        });
        self.timeout = Some(at);
        Output::Timeout(at)
    }

    fn announce(&mut self, streams: &[StreamInfo]) {
        let Demand { streams: known, config, cooling, .. } = self;
        for info in streams {
            let stream = known.entry(info.id).or_insert_with(|| Stream::new(*info, &config.bitrate));
            stream.handle_format(*info, config.adapt, cooling);
        }
        self.limit();
    }

    /// Sets the limits of all encoders.
    fn limit(&mut self) {
        for stream in self.streams.values_mut() {
            let limits = stream.limits(&self.config.bitrate);
            if let Some(encoder) = &mut stream.encoder {
                encoder.rate.set_limits(limits);
            }
        }
    }

    fn want(&mut self, sink: Sink, streams: BTreeSet<StreamId>) {
        if streams.is_empty() {
            self.sinks.remove(&sink);
            return;
        }
        let steered = |id: &&StreamId| {
            self.streams.get(id).is_some_and(|stream| stream.encoder.is_some() && !stream.is_small())
        };
        let main = streams.iter().find(steered).copied();
        let is_audio =
            |id: &StreamId| self.streams.get(id).is_some_and(|stream| stream.info.kind() == Kind::Audio);
        let has_audio = streams.iter().any(is_audio);
        let is_call = matches!(sink, Sink::Call(_));
        let new = || Taker { streams: BTreeSet::new(), viewer: is_call.then(|| Viewer::new(main)) };
        let taker = self.sinks.entry(sink).or_insert_with(new);
        taker.streams = streams;
        if let Some(viewer) = &mut taker.viewer {
            viewer.handle_main(main);
            viewer.link.handle_audio(has_audio);
        }
    }

    fn viewer_mut(&mut self, sink: Sink) -> Option<&mut Viewer> {
        self.sinks.get_mut(&sink)?.viewer.as_mut()
    }

    /// A request counts as one of its viewer where that costs others of the stream something.
    fn want_key_frame(&mut self, sink: Option<Sink>, stream: StreamId, reason: KeyFrameReason, now: Instant) {
        let has_begun = |sink: &Sink| {
            let viewer = self.sinks.get(sink).and_then(|taker| taker.viewer.as_ref());
            viewer.is_some_and(|viewer| viewer.requests.has_begun())
        };
        if sink.is_some_and(|sink| self.is_on_key_frames(sink) && has_begun(&sink)) {
            // It gets the next one of those that are made for it.
            return;
        }
        let others = self.takers(stream).any(|other| Some(other) != sink);
        let viewer = sink.filter(|_| others).and_then(|sink| self.viewer_mut(sink));
        if viewer.is_none_or(|viewer| viewer.requests.handle_request(reason, now)) {
            self.key_frames.request(stream, reason, now);
        }
    }

    /// Brings the source in line with the inputs.
    fn settle(&mut self, now: Instant) {
        self.wake = None;
        self.grant(now);
        self.serve(now);
        self.run(now);
        self.make_key_frames(now);
        if self.heed_heat(now) {
            self.serve(now);
            self.run(now);
        }
        let Demand { streams, running, flows, out, .. } = self;
        for (id, stream) in streams {
            if let Some(encoder) = &mut stream.encoder {
                encoder.adapt(&stream.info, running.contains(id), *flows, now, out);
            }
        }
        let viewers = self.sinks.values().filter_map(|taker| taker.viewer.as_ref());
        let due =
            viewers.filter(|viewer| viewer.main.is_some()).filter_map(|viewer| viewer.poll_timeout(now));
        let due = due.min();
        self.wake(due);
    }

    /// Gives viewers what they wish for again. Where others get the same stream, they pay for the key frame that it begins
    /// with, so that counts as a request.
    fn grant(&mut self, now: Instant) {
        let mains: Vec<(Sink, StreamId)> = self
            .sinks
            .iter()
            .filter_map(|(sink, taker)| {
                let viewer = taker.viewer.as_ref().filter(|viewer| viewer.wished.is_some())?;
                Some((*sink, viewer.main?))
            })
            .collect();
        for (sink, main) in mains {
            let alone = self.takers(main).all(|other| other == sink);
            if let Some(viewer) = self.viewer_mut(sink) {
                viewer.grant(alone, now);
            }
        }
    }

    /// To be woken at this time too.
    fn wake(&mut self, at: Option<Instant>) {
        self.wake = self.wake.into_iter().chain(at).min();
    }

    fn make_key_frames(&mut self, now: Instant) {
        let mut waited = Vec::new();
        for viewer in self.sinks.values_mut().filter_map(|taker| taker.viewer.as_mut()) {
            let stream = viewer.served.and_then(|(share, _)| share.stream());
            waited.extend(viewer.requests.poll(now).and_then(|reason| Some((stream?, reason))));
        }
        for (stream, reason) in waited {
            self.key_frames.request(stream, reason, now);
        }
        while let Some(stream) = self.key_frames.poll(now) {
            self.command(Command::KeyFrame(stream));
        }
    }

    /// Reads the board's temperature while video is encoded, and reacts to it. Returns whether it did.
    fn heed_heat(&mut self, now: Instant) -> bool {
        let encodes = self.running.iter().any(|id| self.streams.get(id).is_some_and(|s| s.encoder.is_some()));
        let Some(heat) = &mut self.heat else { return false };
        heat.handle_watched(encodes, now);
        let mut changed = false;
        while let Some(output) = heat.poll_output(now) {
            match output {
                temperature::Output::Read => self.out.push_back(Output::ReadHeat),
                temperature::Output::Say(words) => self.out.push_back(Output::Event(Event::Board(words))),
                temperature::Output::Steps(steps, why) => {
                    let encoders = self.streams.values_mut().filter_map(|stream| stream.encoder.as_mut());
                    encoders.for_each(|encoder| encoder.ladder.handle_heat(steps, &why));
                    (self.cooling, changed) = ((steps, why), true);
                }
            }
        }
        changed
    }

    fn encoders(&self) -> impl Iterator<Item = &Encoder> {
        self.streams.values().filter_map(|stream| stream.encoder.as_ref())
    }

    fn encoders_mut(&mut self) -> impl Iterator<Item = &mut Encoder> {
        self.streams.values_mut().filter_map(|stream| stream.encoder.as_mut())
    }

    fn command(&mut self, command: Command) {
        self.out.push_back(Output::Command(command));
    }

    fn emit(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }
}
