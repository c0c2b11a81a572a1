//! Between sinks and sources: decides what a source has to produce.
//!
//! Sinks report which streams they want, what their networks carry, and when they need a key frame. The output is the
//! [`Command`]s for the source. Nothing else starts an encoder, sets its bitrate or forces a key frame; further
//! policies belong here too.
//!
//! | decision | based on | rule |
//! |---|---|---|
//! | which streams run | what all sinks want | every stream that any sink wants; it continues for `linger` after the last one has left, so that a returning viewer finds the source running; JPEG only until a frame has arrived |
//! | key frames | requests of viewers, full queues, readers | merged by reason: [`KeyFrames`] |
//! | bitrate of an encoder | estimates of the sinks of its stream | [`Rate`], while frames flow; at most
//! [`Ladder::ceiling`] |
//! | frame rate and size | that bitrate, heat | [`Ladder`] |
//! | heat | the board's thermometer, read while video is encoded | [`Heat`] |
//!
//! An encoder only gets commands that it supports ([`Input::Adjustable`]). A source that gave up is restarted by the
//! next sink that wants a stream; the sinks it had are forgotten. When the last sink leaves, bitrates start over, since
//! the next viewer has another network.

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

/// The configuration.
#[derive(Clone, Debug)]
pub(super) struct Config {
    /// Of each encoder.
    pub bitrate: Limits,
    /// Whether frame rate and size may be lowered.
    pub adapt: bool,
    /// The temperature from which the load is reduced; `None` without a thermometer.
    pub heat: Option<heat::Limits>,
    /// How long unused streams keep running.
    pub linger: Duration,
}

/// A taker of frames.
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
    /// The source was replaced. The new one has got no command yet.
    Replaced(Vec<StreamInfo>),
    /// A sink wants these streams from now on; none if it has left.
    Wants { sink: Sink, streams: BTreeSet<StreamId> },
    /// What a sink's network can carry, in bit/s.
    Estimate { sink: Sink, bps: u32 },
    /// A decoder needs a key frame of this stream.
    KeyFrameWanted { stream: StreamId, reason: KeyFrameReason },
    /// A key frame of a video stream arrived.
    KeyFrame(StreamId),
    /// Whether video is flowing: without it there is nothing to adapt.
    Flows(bool),
    /// What can be adjusted on the encoder of a stream.
    Adjustable { stream: StreamId, bitrate: bool, quality: bool },
    /// The board's readings, in reply to [`Output::ReadHeat`].
    Heat(heat::Reading),
    /// New bitrate limits.
    Limits(Limits),
    /// A new time for which unused streams keep running.
    Linger(Duration),
    /// The source does not retry by itself any more: all its sinks are dropped.
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
    streams: BTreeMap<StreamId, Stream>,
    sinks: BTreeMap<Sink, Taker>,
    /// Identifies sinks for [`Rate`].
    next_number: u64,
    running: BTreeSet<StreamId>,
    key_frames: KeyFrames,
    heat: Option<Heat>,
    /// The current steps down because of heat, and why.
    cooling: (usize, String),
    flows: bool,
    /// When to stop unused streams.
    /// When it is due next, while nothing has changed that.
    timeout: Option<Option<Instant>>,
    stop_at: Option<Instant>,
    out: VecDeque<Output>,
}

struct Taker {
    number: u64,
    streams: BTreeSet<StreamId>,
}

struct Stream {
    info: StreamInfo,
    /// `None` for audio and JPEG, whose bitrate is not controlled.
    encoder: Option<Encoder>,
}

/// The commands for an encoder.
struct Encoder {
    rate: Rate,
    ladder: Ladder,
    adjustable: Adjustable,
    /// The bitrate that was last commanded.
    asked: Option<u32>,
}

/// An encoder within a camera has a fixed size, and perhaps no bitrate control; what it does not support is neither
/// commanded nor reported.
#[derive(Clone, Copy, Debug)]
struct Adjustable {
    bitrate: bool,
    quality: bool,
}

impl Demand {
    /// For a source with these streams, without sinks.
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
            timeout: None,
            stop_at: None,
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
            Input::Streams(streams) => self.announce(&streams),
            Input::Replaced(streams) => {
                self.flows = false;
                ran = !std::mem::take(&mut self.running).is_empty();
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
            let fixed = [self.stop_at, self.key_frames.poll_timeout(), heat];
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
    }

    fn want(&mut self, sink: Sink, streams: BTreeSet<StreamId>) {
        let before = self.sinks.get(&sink);
        let number = before.map_or(self.next_number, |taker| taker.number);
        self.next_number = self.next_number.max(number + 1);
        // Its estimate no longer counts for streams that it has left.
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
        // An estimate without traffic tells nothing about the network.
        let Some(taker) = self.sinks.get(&sink).filter(|_| self.flows) else { return };
        for id in &taker.streams {
            let stream = self.streams.get_mut(id);
            if let Some(encoder) = stream.and_then(|stream| stream.encoder.as_mut()) {
                encoder.rate.handle_estimate(taker.number, bps.into(), now);
            }
        }
    }

    /// Brings the source in line with the inputs.
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

    /// Decides which streams run.
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
        // A time that no clock reaches is no end.
        self.stop_at = self.stop_at.or_else(|| now.checked_add(self.config.linger));
        if self.stop_at.is_none_or(|at| now < at) {
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

    /// Streams of single frames only run until those have arrived.
    fn is_brief(&self, id: StreamId) -> bool {
        self.streams.get(&id).is_some_and(|stream| stream.info.codec == Codec::Jpeg)
    }

    fn start(&mut self, streams: BTreeSet<StreamId>) {
        if streams == self.running {
            return;
        }
        // An encoder starts at its target bitrate.
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

    /// Reads the board's temperature while video is encoded, and reacts to it.
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
    /// With a format that is not known yet.
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

    /// The source announces the stream, or a new format of it.
    fn handle_format(&mut self, info: StreamInfo, adapt: bool, (steps, why): &(usize, String)) {
        let before = std::mem::replace(&mut self.info, info);
        let (Some(encoder), Some(format)) = (&mut self.encoder, info.video()) else { return };
        if before.format == info.format || !is_known(format) {
            return;
        }
        if before.video().is_some_and(is_known) {
            return encoder.ladder.handle_size(format.width, format.height);
        }
        // Without a known size, it cannot be reduced.
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
    /// Adapts the encoder to network and board; to the network only while frames flow.
    fn adapt(&mut self, stream: StreamId, runs: bool, flows: bool, now: Instant, out: &mut VecDeque<Output>) {
        let changed = flows && self.rate.poll(now).is_some();
        if runs && flows {
            self.ladder.handle_rate(self.rate.current());
        }
        // Polled in any case, since its time may have come.
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
