//! A source with two renditions, viewers on their networks, and what sends to them, on one clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::network::Network;
use crate::call::CallId;
use crate::camera::demand::{BitratePolicy, Config, Demand, Input, Output, Share, Sink, Wish};
use crate::dice::Dice;
use crate::media::adapt::keyframes::KeyFrameReason;
use crate::media::adapt::rate::BitrateLimits;
use crate::media::source::Command;
use crate::media::{Codec, Format, StreamId, StreamInfo, VideoFormat};

pub(super) const MAIN: StreamId = StreamId(1);
pub(super) const SMALL: StreamId = StreamId(2);

/// Time passes in steps of so many seconds, and is counted in whole ones.
pub(super) const TICK: f64 = 0.1;
/// Encoders start within this time, in seconds.
const STARTS: f64 = 0.4;
/// A key frame is as large as so many seconds of its stream.
const KEY: f64 = 0.3;
/// What waits for longer than this is thrown away, in seconds.
const STUCK: f64 = 1.0;
const AUDIO: f64 = 32_000.0;
/// Between key frames that nobody asked for, in seconds.
const KEY_INTERVAL: f64 = 10.0;

pub(super) struct World {
    pub demand: Demand,
    pub dice: Dice,
    pub limits: BitrateLimits,
    /// In seconds.
    pub now: f64,
    pub viewers: BTreeMap<u64, Watching>,
    /// How much of the bitrate the encoders need, 0 to 1.
    pub content: f64,
    start: Instant,
    ticks: u64,
    next: Option<Instant>,
    /// The streams that run: since when, the bitrate, the next key frame.
    encoders: BTreeMap<StreamId, Running>,
    bitrates: BTreeMap<StreamId, f64>,
    /// When key frames of the main rendition were forced.
    pub forced: Vec<(f64, StreamId)>,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    live_at: f64,
    key_at: f64,
}

/// A viewer, and what was seen of it.
pub(super) struct Watching {
    pub network: Network,
    pub share: Option<Share>,
    /// What it gets until a key frame of its share comes.
    on: Option<StreamId>,
    /// It can decode what comes.
    synced: bool,
    /// The bits that wait to be sent.
    backlog: f64,
    reported: f64,
    /// What was sent in the last second, by tick.
    sent: VecDeque<f64>,
    /// Whether what is sent to it is counted.
    counted: bool,
    pub joined: f64,
    /// When frames arrived, with the stream.
    pub frames: Vec<(f64, StreamId)>,
    /// When its share changed to another stream or kind.
    pub switches: Vec<(f64, Share)>,
    /// Since when it is served more than its estimate, and the longest time.
    over: Option<f64>,
    pub longest_over: f64,
    /// How often it asks for a key frame on top of what it needs, per second.
    pub greed: f64,
    pub asked: u32,
}

impl World {
    /// With a source that has a small rendition or not.
    pub(super) fn new(seed: u64, has_small: bool) -> World {
        let limits = BitrateLimits::default();
        let config =
            Config { bitrate: limits.clone(), adapt: true, heat: None, linger: Duration::from_secs(10) };
        let video = |id, rendition, width, height, fps| {
            let format = VideoFormat { width, height, fps, profile_level_id: None };
            let mut info = StreamInfo::new(id, Codec::H264).with_format(Format::Video(format));
            info.rendition = rendition;
            info
        };
        let mut streams = vec![video(MAIN, 0, 1280, 720, 30)];
        if has_small {
            streams.push(video(SMALL, 1, 640, 360, 15));
        }
        World {
            demand: Demand::new(config, &streams),
            dice: Dice(seed),
            limits,
            now: 0.0,
            viewers: BTreeMap::new(),
            content: 1.0,
            start: Instant::now(),
            ticks: 0,
            next: None,
            encoders: BTreeMap::new(),
            bitrates: BTreeMap::new(),
            forced: Vec::new(),
        }
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.now)
    }

    /// A viewer comes, on a network of so many bit/s.
    pub(super) fn join(&mut self, id: u64, capacity: f64) {
        let (start, wanted) = (f64::from(self.limits.start), f64::from(self.limits.enough()));
        let network = Network::new(capacity, start, wanted, self.now, &mut self.dice);
        let watching = Watching {
            share: None,
            on: Some(MAIN),
            synced: false,
            backlog: 0.0,
            reported: 0.0,
            sent: VecDeque::new(),
            // Who doesn't count has to believe what sags.
            counted: network.sags || self.dice.chance(0.8),
            joined: self.now,
            frames: Vec::new(),
            switches: Vec::new(),
            over: None,
            longest_over: 0.0,
            greed: 0.0,
            asked: 0,
            network,
        };
        self.viewers.insert(id, watching);
        self.input(Input::Wants { sink: sink(id), streams: BTreeSet::from([MAIN]) });
        self.want_key_frame(id, MAIN, KeyFrameReason::Join);
    }

    pub(super) fn leave(&mut self, id: u64) {
        self.viewers.remove(&id);
        self.input(Input::Wants { sink: sink(id), streams: BTreeSet::new() });
    }

    pub(super) fn wish(&mut self, id: u64, wish: Wish) {
        self.input(Input::Wish { sink: sink(id), wish });
    }

    pub(super) fn set_policy(&mut self, policy: BitratePolicy) {
        self.input(Input::Policy(policy));
    }

    /// The bitrate of a stream that runs, in bit/s; else 0.
    pub(super) fn bitrate(&self, stream: StreamId) -> f64 {
        let runs = self.encoders.contains_key(&stream);
        if runs { self.bitrates.get(&stream).copied().unwrap_or(0.0) } else { 0.0 }
    }

    pub(super) fn runs(&self, stream: StreamId) -> bool {
        self.encoders.contains_key(&stream)
    }

    /// What a viewer would have if it were alone, in bit/s.
    pub(super) fn alone(&self, id: u64) -> f64 {
        let carries = self.viewers[&id].network.capacity;
        (carries * f64::from(self.limits.headroom) / 100.0).min(self.limits.max.into())
    }

    /// Lets so many seconds pass, and looks at each tick.
    pub(super) fn pass(&mut self, seconds: f64, mut look: impl FnMut(&World)) {
        for _ in 0..(seconds / TICK).round() as u32 {
            self.ticks += 1;
            self.now = self.ticks as f64 * TICK;
            while self.next.is_some_and(|at| at <= self.instant()) {
                let before = self.next;
                self.input(Input::Timeout);
                assert_ne!(before, self.next, "it wakes for nothing at {}", self.now);
            }
            self.tick();
            look(self);
        }
    }

    fn tick(&mut self) {
        let now = self.now;
        let mut keys = BTreeSet::new();
        let mut live = BTreeSet::new();
        for (id, encoder) in &mut self.encoders {
            if now >= encoder.live_at {
                live.insert(*id);
                if now >= encoder.key_at {
                    keys.insert(*id);
                    encoder.key_at = now + KEY_INTERVAL;
                }
            }
        }
        if !live.is_empty() {
            self.input(Input::Flows(true));
        }
        for stream in &keys {
            let bytes = (self.bitrate(*stream) * self.content * KEY / 8.0) as usize;
            self.input(Input::KeyFrame { stream: *stream, bytes });
        }
        let ids: Vec<u64> = self.viewers.keys().copied().collect();
        for id in ids {
            self.send(id, &live, &keys);
        }
    }

    /// Sends one viewer what was made in this tick.
    fn send(&mut self, id: u64, live: &BTreeSet<StreamId>, keys: &BTreeSet<StreamId>) {
        let now = self.now;
        let (bitrates, content, ticks) = (self.bitrates.clone(), self.content, self.ticks);
        let Some(viewer) = self.viewers.get_mut(&id) else { return };
        let served = viewer.share.and_then(Share::stream);
        let only_keys = matches!(viewer.share, Some(Share::KeyFrames(_)));
        if served != viewer.on && served.is_some_and(|stream| keys.contains(&stream)) {
            (viewer.on, viewer.backlog, viewer.synced) = (served, 0.0, false);
        }
        let estimate = viewer.network.estimate();
        let mut wants_key = None;
        if let Some(stream) = viewer.on.filter(|stream| live.contains(stream)) {
            let key = keys.contains(&stream);
            let rate = bitrates.get(&stream).copied().unwrap_or(0.0) * content;
            if key && (viewer.synced || viewer.backlog < estimate * 0.1) {
                viewer.synced = true;
            }
            if only_keys && !key {
                viewer.synced = served != viewer.on && viewer.synced;
            }
            let gives = viewer.share != Some(Share::Nothing)
                && viewer.synced
                && (key || !only_keys || served != viewer.on);
            if gives {
                viewer.backlog += rate * if key { KEY } else { TICK };
                // A frame a tick, which are fewer than there are.
                viewer.frames.push((now + viewer.backlog / estimate + viewer.network.delay(), stream));
            }
            if viewer.backlog > estimate * STUCK && !only_keys {
                // Thrown away, and on from the next key frame.
                (viewer.backlog, viewer.synced) = (0.0, false);
                wants_key = Some((stream, KeyFrameReason::Loss));
            } else if !viewer.synced && !only_keys && served == viewer.on && ticks % 10 == 0 {
                wants_key = Some((stream, KeyFrameReason::Join));
            }
        }
        // By what it is to get: until a key frame of that comes, what sends to it keeps within its estimate.
        let target = served.and_then(|stream| bitrates.get(&stream)).copied().unwrap_or(0.0) * content;
        let is_over = !live.is_empty() && !only_keys && target > viewer.reported.max(estimate) * 1.02;
        viewer.over = is_over.then(|| viewer.over.unwrap_or(now));
        viewer.longest_over = viewer.longest_over.max(viewer.over.map_or(0.0, |since| now - since));
        let sent = (viewer.backlog).min(estimate * TICK);
        viewer.backlog -= sent;
        let bits = sent + AUDIO * TICK;
        viewer.network.pass(bits, TICK, now, &mut self.dice);
        viewer.sent.push_back(bits);
        if viewer.sent.len() > (1.0 / TICK) as usize {
            viewer.sent.pop_front();
        }
        let estimate = viewer.network.estimate();
        let changed = (estimate - viewer.reported).abs() > viewer.reported * 0.02;
        let flows = !live.is_empty();
        let greedy = viewer.greed > 0.0 && self.dice.chance(viewer.greed * TICK);
        let traffic = (viewer.counted && ticks % 5 == id % 5).then(|| {
            let sum: f64 = viewer.sent.iter().sum();
            (sum / (viewer.sent.len() as f64 * TICK), viewer.network.delay())
        });
        if changed && flows {
            viewer.reported = estimate;
        }
        let on = viewer.on;
        if greedy && let Some(stream) = on {
            self.want_key_frame(id, stream, KeyFrameReason::Loss);
        }
        if let Some((sent, delay)) = traffic {
            let round_trip = Some(Duration::from_secs_f64(0.02 + delay));
            self.input(Input::Link { sink: sink(id), sent: Some(sent as u32), loss: 0.0, round_trip });
        }
        if changed && flows {
            self.input(Input::Estimate { sink: sink(id), bps: estimate as u32 });
        }
        if let Some((stream, reason)) = wants_key {
            self.want_key_frame(id, stream, reason);
        }
    }

    fn want_key_frame(&mut self, id: u64, stream: StreamId, reason: KeyFrameReason) {
        if let Some(viewer) = self.viewers.get_mut(&id) {
            viewer.asked += 1;
        }
        self.input(Input::KeyFrameWanted { sink: Some(sink(id)), stream, reason });
    }

    fn input(&mut self, input: Input) {
        self.demand.handle_input(input, self.instant());
        let now = self.now;
        loop {
            match self.demand.poll_output() {
                Output::Timeout(at) => return self.next = at,
                Output::Command(Command::Want(streams)) => {
                    self.encoders.retain(|id, _| streams.contains(id));
                    for id in streams {
                        let live_at = now + STARTS * self.dice.range(0.5, 1.0);
                        self.encoders.entry(id).or_insert(Running { live_at, key_at: 0.0 });
                    }
                }
                Output::Command(Command::Bitrate { stream, bps }) => {
                    self.bitrates.insert(stream, bps.into());
                }
                Output::Command(Command::KeyFrame(stream)) => {
                    self.forced.push((now, stream));
                    if let Some(encoder) = self.encoders.get_mut(&stream) {
                        encoder.key_at = now;
                    }
                }
                Output::Serve { sink: Sink::Call(CallId(id)), share, .. } => {
                    if let Some(viewer) = self.viewers.get_mut(&id) {
                        if viewer.share.is_some_and(|before| before != share) {
                            viewer.switches.push((now, share));
                        }
                        viewer.share = Some(share);
                    }
                }
                Output::Serve { sink, .. } => panic!("{sink:?} is no viewer"),
                Output::Command(_) | Output::Event(_) | Output::ReadHeat => {}
            }
        }
    }
}

fn sink(id: u64) -> Sink {
    Sink::Call(CallId(id))
}

impl Watching {
    /// What is sent to it is counted from now on.
    pub(super) fn counted(&mut self) {
        self.counted = true;
    }

    /// The frames that arrived between two times.
    pub(super) fn frames_within(&self, from: f64, to: f64) -> usize {
        self.frames.iter().filter(|(at, _)| (from..to).contains(at)).count()
    }

    /// The longest time without a frame between two times, in seconds.
    pub(super) fn longest_gap(&self, from: f64, to: f64) -> f64 {
        let mut last = from;
        let mut longest = 0.0_f64;
        for (at, _) in self.frames.iter().filter(|(at, _)| (from..to).contains(at)) {
            longest = longest.max(at - last);
            last = last.max(*at);
        }
        longest.max(to - last)
    }
}
