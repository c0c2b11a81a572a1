//! Between sinks and sources: what a source is asked for, decided here and nowhere else.
//!
//! Sinks say which streams they want, what their networks carry and when they need a key frame. Out come the
//! [`Command`]s for the source. Nothing else starts an encoder, sets its bitrate or forces a key frame, and every
//! further policy belongs here.
//!
//! | what is decided | from what | how |
//! |---|---|---|
//! | which streams run | what all sinks want | what any sink wants; `linger` longer than the last one, so that who comes back finds the source running; JPEG only until it is there |
//! | key frames | requests of viewers, of full queues, of takers | merged by reason: [`KeyFrames`] |
//! | an encoder's bitrate | estimates of those who take its stream | [`Rate`], while frames flow; no more than [`Ladder::ceiling`] |
//! | frame rate and size | that bitrate, heat | [`Ladder`] |
//! | heat | the board's thermometer, read while video is encoded | [`Heat`] |
//!
//! What an encoder cannot follow ([`Input::Adjustable`]) it is not asked for. A source that gave up is asked again by
//! the next sink that wants a stream; those that were there are forgotten. When nobody is left, rates begin anew: the
//! next viewer's network is another one.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::call::CallId;
use crate::media::adapt::heat::{self, Heat};
use crate::media::adapt::keyframes::{KeyFrameReason, KeyFrames};
use crate::media::adapt::ladder::{Ladder, Quality, Step};
use crate::media::adapt::rate::{Limits, Rate};
use crate::media::source::Command;
use crate::media::{Codec, Kind, StreamId, StreamInfo, VideoFormat};

/// What it is told at its start.
#[derive(Clone, Debug)]
pub(super) struct Config {
    /// Of each encoder.
    pub bitrate: Limits,
    /// Whether frame rate and size may be lowered.
    pub adapt: bool,
    /// From which temperatures on less is asked; `None` where nothing is read.
    pub heat: Option<heat::Limits>,
    /// For how long streams run on that nobody wants any more.
    pub linger: Duration,
}

/// Who takes frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sink {
    /// A viewer.
    Call(CallId),
    /// The application.
    Frames(u64),
    /// Snapshots.
    Snapshot,
}

/// What happened outside.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// The source announces its streams, anew where one has another format.
    Streams(Vec<StreamInfo>),
    /// Another source takes the place of the one before. It has been asked for nothing yet.
    Replaced(Vec<StreamInfo>),
    /// A sink wants these streams from now on; none where it is gone.
    Wants { sink: Sink, streams: BTreeSet<StreamId> },
    /// What a sink's network carries, in bit/s.
    Estimate { sink: Sink, bps: u32 },
    /// Somebody cannot decode a stream before a key frame.
    KeyFrameWanted { stream: StreamId, reason: KeyFrameReason },
    /// A key frame of a video stream came.
    KeyFrame(StreamId),
    /// Whether video comes: without any there is nothing to adapt.
    Flows(bool),
    /// What can be adjusted at the encoder of a stream.
    Adjustable { stream: StreamId, bitrate: bool, quality: bool },
    /// What the board said, as [`Output::ReadHeat`] wanted.
    Heat(heat::Reading),
    /// Other bounds for bitrates.
    Limits(Limits),
    /// Another time for which streams run on.
    Linger(Duration),
    /// The source is not tried again by itself: all who wanted it are let go.
    GaveUp,
    /// Nothing lingers any more.
    Shutdown,
    /// The time of [`Output::Timeout`] has come.
    Timeout,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Output {
    /// Ask the source for this.
    Command(Command),
    /// Know this.
    Event(Event),
    /// [`Input::Heat`] is wanted.
    ReadHeat,
    /// Nothing more until then, or until another input.
    Timeout(Option<Instant>),
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    /// These streams run from now on.
    Running(BTreeSet<StreamId>),
    /// An encoder's bitrate follows the networks.
    Bitrate { stream: StreamId, bps: u32 },
    /// Less is asked of an encoder, or more again, and why.
    Quality { stream: StreamId, quality: Quality, why: String },
    /// The board is in trouble; in words.
    Board(String),
}

/// The core. See the [module](self).
pub(super) struct Demand {
    config: Config,
    streams: BTreeMap<StreamId, Stream>,
    sinks: BTreeMap<Sink, Taker>,
    /// Names sinks for [`Rate`].
    next_number: u64,
    running: BTreeSet<StreamId>,
    key_frames: KeyFrames,
    heat: Option<Heat>,
    /// The steps down that it asks for now, and why.
    cooling: (usize, String),
    flows: bool,
    /// When to stop what nobody wants, if nobody comes.
    stop_at: Option<Instant>,
    out: VecDeque<Output>,
}

struct Taker {
    number: u64,
    streams: BTreeSet<StreamId>,
}

struct Stream {
    info: StreamInfo,
    /// `None` for audio and JPEG, whose bits nobody steers.
    encoder: Option<Encoder>,
}

/// What an encoder is asked for.
struct Encoder {
    rate: Rate,
    ladder: Ladder,
    adjustable: Adjustable,
    /// The bitrate that it was asked for last.
    asked: Option<u32>,
}

/// One within a camera has its own size, and perhaps no control for bits; what cannot follow is neither asked nor
/// told of.
#[derive(Clone, Copy, Debug)]
struct Adjustable {
    bitrate: bool,
    quality: bool,
}

impl Demand {
    /// Nobody wants anything yet of a source with these streams.
    pub(super) fn new(config: Config, streams: &[StreamInfo]) -> Self {
        let mut demand = Demand {
            streams: BTreeMap::new(),
            sinks: BTreeMap::new(),
            next_number: 0,
            running: BTreeSet::new(),
            key_frames: KeyFrames::new(),
            heat: None,
            cooling: Default::default(),
            flows: false,
            stop_at: None,
            out: VecDeque::new(),
            config,
        };
        demand.announce(streams);
        let depth = demand.encoders().map(|encoder| encoder.ladder.depth()).max().unwrap_or_default();
        demand.heat = demand.config.heat.map(|limits| Heat::new(limits, depth));
        demand
    }

    /// What the source is asked for now.
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

    /// The bitrate that an encoder is to have, in bit/s.
    pub(super) fn bitrate(&self, stream: StreamId) -> Option<u32> {
        let encoder = self.streams.get(&stream)?.encoder.as_ref()?;
        Some(encoder.asked.unwrap_or(encoder.rate.current()))
    }

    /// What is asked of the encoder of a stream.
    pub(super) fn quality(&self, stream: StreamId) -> Option<Quality> {
        Some(self.streams.get(&stream)?.encoder.as_ref()?.ladder.quality())
    }

    pub(super) fn handle_input(&mut self, input: Input, now: Instant) {
        match input {
            Input::Streams(streams) => self.announce(&streams),
            Input::Replaced(streams) => {
                (self.running, self.flows) = (BTreeSet::new(), false);
                self.streams.retain(|id, _| streams.iter().any(|info| info.id == *id));
                for encoder in self.encoders_mut() {
                    (encoder.asked, encoder.adjustable) = (None, Adjustable::ALL);
                    encoder.ladder = Ladder::fixed(0, 0, 0);
                }
                for stream in self.streams.values_mut() {
                    stream.info.format = StreamInfo::new(stream.info.id, stream.info.codec).format;
                }
                self.announce(&streams);
            }
            Input::Wants { sink, streams } => self.want(sink, streams),
            Input::Estimate { sink, bps } => self.estimate(sink, bps, now),
            Input::KeyFrameWanted { stream, reason } => self.key_frames.request(stream, reason, now),
            Input::KeyFrame(stream) => self.key_frames.handle_key_frame(stream, now),
            Input::Flows(flows) => self.flows = flows,
            Input::Adjustable { stream, bitrate, quality } => {
                let known = self.streams.get_mut(&stream).and_then(|stream| stream.encoder.as_mut());
                if let Some(encoder) = known {
                    encoder.adjustable = Adjustable { bitrate, quality };
                }
            }
            Input::Heat(reading) => {
                if let Some(heat) = &mut self.heat {
                    heat.handle_reading(reading, now);
                }
            }
            Input::Limits(limits) => {
                self.encoders_mut().for_each(|encoder| encoder.rate.set_limits(limits.clone()));
                self.config.bitrate = limits;
            }
            Input::Linger(linger) => (self.config.linger, self.stop_at) = (linger, None),
            Input::GaveUp => {
                self.sinks.clear();
                self.stop_at = None;
                self.running.clear();
            }
            // Whoever left before is not lingered for either.
            Input::Shutdown => (self.config.linger, self.stop_at) = (Duration::ZERO, None),
            Input::Timeout => {}
        }
        self.settle(now);
    }

    pub(super) fn poll_output(&mut self) -> Output {
        self.out.pop_front().unwrap_or_else(|| {
            let rates = self.encoders().filter(|_| self.flows).filter_map(|e| e.rate.poll_timeout());
            let ladders = self.encoders().filter_map(|e| e.ladder.poll_timeout());
            let heat = self.heat.as_ref().and_then(Heat::poll_timeout);
            let fixed = [self.stop_at, self.key_frames.poll_timeout(), heat];
            Output::Timeout(fixed.into_iter().flatten().chain(rates).chain(ladders).min())
        })
    }

    fn announce(&mut self, streams: &[StreamInfo]) {
        let Demand { streams: known, config, cooling, .. } = self;
        for info in streams {
            let stream = known.entry(info.id).or_insert_with(|| Stream::new(*info, &config.bitrate));
            stream.handle_format(*info, config.adapt, cooling);
        }
    }

    fn want(&mut self, sink: Sink, streams: BTreeSet<StreamId>) {
        let before = self.sinks.get(&sink);
        let number = before.map_or(self.next_number, |taker| taker.number);
        self.next_number = self.next_number.max(number + 1);
        // Its estimate says nothing any more of what it takes no longer.
        for (id, stream) in &mut self.streams {
            if let Some(encoder) = stream.encoder.as_mut().filter(|_| !streams.contains(id)) {
                encoder.rate.remove(number);
            }
        }
        match streams.is_empty() {
            true => _ = self.sinks.remove(&sink),
            false => _ = self.sinks.insert(sink, Taker { number, streams }),
        }
    }

    fn estimate(&mut self, sink: Sink, bps: u32, now: Instant) {
        // What is estimated while nothing is sent says nothing of the network.
        let Some(taker) = self.sinks.get(&sink).filter(|_| self.flows) else { return };
        for id in &taker.streams {
            let stream = self.streams.get_mut(id);
            if let Some(encoder) = stream.and_then(|stream| stream.encoder.as_mut()) {
                encoder.rate.handle_estimate(taker.number, bps.into(), now);
            }
        }
    }

    /// Brings the source into step with what was told.
    fn settle(&mut self, now: Instant) {
        self.run(now);
        while let Some(stream) = self.key_frames.poll(now) {
            self.command(Command::KeyFrame(stream));
        }
        self.heed_heat(now);
        let Demand { streams, running, flows, out, .. } = self;
        for (id, stream) in streams {
            if let Some(encoder) = &mut stream.encoder {
                encoder.adapt(*id, running.contains(id), *flows, now, out);
            }
        }
    }

    /// Which streams run.
    fn run(&mut self, now: Instant) {
        let wanted: BTreeSet<StreamId> =
            self.sinks.values().flat_map(|taker| &taker.streams).copied().collect();
        let (brief, lasting): (BTreeSet<_>, BTreeSet<_>) =
            wanted.into_iter().filter(|id| self.streams.contains_key(id)).partition(|id| self.is_brief(*id));
        let running: BTreeSet<_> = self.running.iter().copied().filter(|id| !self.is_brief(*id)).collect();
        if !lasting.is_empty() || running.is_empty() {
            self.stop_at = None;
            return self.start(&lasting | &brief);
        }
        let at = *self.stop_at.get_or_insert(now + self.config.linger);
        if now < at {
            return self.start(&running | &brief);
        }
        self.stop_at = None;
        self.start(brief);
        let limits = &self.config.bitrate;
        for (id, stream) in &mut self.streams {
            if let Some(encoder) = &mut stream.encoder {
                encoder.rate = Rate::new(limits.clone());
                encoder.ladder.forget_rate();
                let bps = encoder.rate.current();
                encoder.asked = Some(bps);
                self.out.push_back(Output::Command(Command::Bitrate { stream: *id, bps }));
            }
        }
    }

    /// Streams of single pictures run only until those are there.
    fn is_brief(&self, id: StreamId) -> bool {
        self.streams.get(&id).is_some_and(|stream| stream.info.codec == Codec::Jpeg)
    }

    fn start(&mut self, streams: BTreeSet<StreamId>) {
        if streams == self.running {
            return;
        }
        // An encoder begins at the bitrate that it is to have.
        for id in &streams {
            let encoder = self.streams.get_mut(id).and_then(|stream| stream.encoder.as_mut());
            if let Some(encoder) = encoder.filter(|e| e.asked.is_none() && e.adjustable.bitrate) {
                let bps = encoder.rate.current();
                encoder.asked = Some(bps);
                self.out.push_back(Output::Command(Command::Bitrate { stream: *id, bps }));
            }
        }
        self.running.clone_from(&streams);
        self.command(Command::Want(streams.clone()));
        self.emit(Event::Running(streams));
    }

    /// Has the board looked at while video is encoded, and heeds what it says.
    fn heed_heat(&mut self, now: Instant) {
        let encodes = self.running.iter().any(|id| self.streams.get(id).is_some_and(|s| s.encoder.is_some()));
        let Some(heat) = &mut self.heat else { return };
        heat.handle_watched(encodes, now);
        while let Some(output) = heat.poll_output(now) {
            match output {
                heat::Output::Read => self.out.push_back(Output::ReadHeat),
                heat::Output::Say(words) => self.out.push_back(Output::Event(Event::Board(words))),
                heat::Output::Steps(steps, why) => {
                    let encoders = self.streams.values_mut().filter_map(|stream| stream.encoder.as_mut());
                    encoders.for_each(|encoder| encoder.ladder.handle_heat(steps, &why));
                    self.cooling = (steps, why);
                }
            }
        }
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

impl Stream {
    /// Of a format that is not known yet.
    fn new(info: StreamInfo, limits: &Limits) -> Stream {
        let steered = info.kind() == Kind::Video && info.codec != Codec::Jpeg;
        let encoder = steered.then(|| Encoder {
            rate: Rate::new(limits.clone()),
            ladder: Ladder::fixed(0, 0, 0),
            adjustable: Adjustable::ALL,
            asked: None,
        });
        Stream { info: StreamInfo::new(info.id, info.codec), encoder }
    }

    /// The source announces it, perhaps in another format.
    fn handle_format(&mut self, info: StreamInfo, adapt: bool, (steps, why): &(usize, String)) {
        let before = std::mem::replace(&mut self.info, info);
        let (Some(encoder), Some(format)) = (&mut self.encoder, info.video()) else { return };
        if before.format == info.format || !is_known(format) {
            return;
        }
        if before.video().is_some_and(is_known) {
            return encoder.ladder.handle_size(format.width, format.height);
        }
        // Of what nobody knows the size, nothing less can be asked.
        let ladder = if adapt { Ladder::new } else { Ladder::fixed };
        encoder.ladder = ladder(format.width, format.height, format.fps);
        encoder.ladder.handle_heat(*steps, why);
    }
}

fn is_known(format: VideoFormat) -> bool {
    format.width > 0 && format.height > 0 && format.fps > 0
}

impl Adjustable {
    const ALL: Adjustable = Adjustable { bitrate: true, quality: true };
}

impl Encoder {
    /// Brings the encoder into step with network and board; with the network only while frames flow.
    fn adapt(&mut self, stream: StreamId, runs: bool, flows: bool, now: Instant, out: &mut VecDeque<Output>) {
        let changed = flows && self.rate.poll(now).is_some();
        if runs && flows {
            self.ladder.handle_rate(self.rate.current());
        }
        // Asked in any case, for its time has come.
        let step = self.ladder.poll(now).filter(|_| self.adjustable.quality);
        if let Some(Step { quality, why }) = step {
            out.push_back(Output::Command(Command::Quality { stream, quality }));
            if runs {
                out.push_back(Output::Event(Event::Quality { stream, quality, why }));
            }
        }
        let ceiling = self.ladder.ceiling().filter(|_| self.adjustable.quality);
        let bps = ceiling.map_or(self.rate.current(), |most| most.min(self.rate.current()));
        if !self.adjustable.bitrate {
            return;
        }
        if self.asked.is_some_and(|asked| asked != bps) {
            self.asked = Some(bps);
            out.push_back(Output::Command(Command::Bitrate { stream, bps }));
        }
        if changed {
            out.push_back(Output::Event(Event::Bitrate { stream, bps }));
        }
    }
}
