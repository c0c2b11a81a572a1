//! The camera's core on a virtual clock; the viewer is a real browser's offer.

mod callers;
#[cfg(all(feature = "channels", feature = "recv"))]
mod channels;
mod controls;
#[cfg(feature = "relay")]
mod publish;
mod shares;
mod sinks;
#[cfg(feature = "recv")]
mod slow_viewer;
mod source;
#[cfg(feature = "talk")]
mod talk;
mod watching;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::SnapshotError;
use super::controls::ControlCommands;
#[cfg(feature = "talk")]
use super::core::talk::{Order, Talking};
use super::core::{CameraCore, Config, Input, Output, Whence};
use super::event::Event;
use crate::call::RateLimit;
use crate::calling::AnswerPolicy;
use crate::camera::BitratePolicy;
use crate::media::adapt::ladder::Quality;
use crate::media::adapt::rate::BitrateLimits;
use crate::media::adapt::temperature;
use crate::media::source::{Command, RequestId, SourceEvent, SourceState, SourceStatus};
use crate::media::{
    AUDIO_OPUS, Codec, Format, StreamId, StreamInfo, VIDEO_H264, VIDEO_H264_SMALL, VIDEO_VP8, VideoFormat,
};
use crate::proto::Message;
use crate::rtc;

pub(super) const OFFER: &str = include_str!("../../rtc/tests/chromium_offer.sdp");

pub(super) struct World {
    pub core: CameraCore,
    pub now: Instant,
    /// Messages that left, `subtype to data`.
    pub said: Vec<String>,
    pub produced: Vec<Vec<StreamId>>,
    pub events: Vec<Event>,
    /// Whom the source's state was told to, and what.
    pub sources: Vec<(Option<SourceStatus>, Vec<String>)>,
    pub viewers: Vec<usize>,
    /// Who was told of its share, and which.
    pub shares: Vec<(String, String)>,
    pub bitrates: Vec<u32>,
    /// The last bitrate that each stream was asked for.
    pub rates: BTreeMap<StreamId, u32>,
    pub key_frames: Vec<StreamId>,
    /// Answers to commands: the command's id, and the status.
    pub replies: Vec<(Option<String>, u16)>,
    /// The data of the last of them.
    pub replied: serde_json::Value,
    /// What was asked of the source's controls.
    pub control_requests: Vec<RequestId>,
    pub qualities: Vec<(StreamId, Quality)>,
    /// How hot the board is, and how often that was read.
    pub celsius: f32,
    pub reads: usize,
    pub next: Option<Instant>,
    /// What the speaker was ordered, and what everybody was told of talking.
    /// What became of what callers published.
    #[cfg(feature = "relay")]
    pub orders: Vec<super::core::publish::Order>,
    #[cfg(feature = "talk")]
    pub speaker: Vec<Order>,
    #[cfg(feature = "talk")]
    pub talk: Vec<serde_json::Value>,
    /// Where datagrams went.
    pub reached: Vec<SocketAddr>,
    /// What viewers said by their channels.
    #[cfg(feature = "channels")]
    pub heard: Vec<Message>,
    /// The datagrams themselves, where a test takes them.
    #[cfg(feature = "recv")]
    pub datagrams: Option<Vec<(SocketAddr, Vec<u8>)>>,
}

impl World {
    pub(super) fn new(max_viewers: usize, vp8: bool) -> World {
        World::with(max_viewers, vp8, AnswerPolicy::All)
    }

    pub(super) fn with(max_viewers: usize, vp8: bool, answer: AnswerPolicy) -> World {
        World::of(max_viewers, vp8, answer, None)
    }

    #[cfg(feature = "talk")]
    fn with_talking(talking: Talking) -> World {
        World::made(4, true, AnswerPolicy::All, None, Some(talking))
    }

    fn of(max_viewers: usize, vp8: bool, answer: AnswerPolicy, controls: Option<ControlCommands>) -> World {
        World::made(
            max_viewers,
            vp8,
            answer,
            controls,
            #[cfg(feature = "talk")]
            None,
        )
    }

    fn made(
        max_viewers: usize,
        vp8: bool,
        answer: AnswerPolicy,
        controls: Option<ControlCommands>,
        #[cfg(feature = "talk")] talking: Option<Talking>,
    ) -> World {
        let config = World::config(max_viewers, vp8, answer, controls);
        World::from(Config {
            #[cfg(feature = "talk")]
            talking,
            ..config
        })
    }

    fn config(
        max_viewers: usize,
        vp8: bool,
        answer: AnswerPolicy,
        controls: Option<ControlCommands>,
    ) -> Config {
        let host = rtc::LocalCandidate { base: "192.0.2.1:4000".parse().expect("literal"), advertised: None };
        Config {
            rtc: rtc::Config {
                candidates: vec![host],
                #[cfg(feature = "channels")]
                channels: Some(super::core::channels::limits()),
                ..rtc::Config::default()
            },
            streams: streams(vp8, None),
            bitrate: BitrateLimits::default(),
            adapt: true,
            heat: Some(temperature::TemperatureLimits { step_down: 75.0, step_up: 68.0 }),
            answer,
            policy: BitratePolicy::Best,
            max_viewers,
            max_unconnected: 4,
            offer_rate: RateLimit { per_second: 2, burst: 8 },
            linger: Duration::from_secs(10),
            snapshot_every: Duration::from_secs(1),
            live: true,
            controls,
            #[cfg(feature = "relay")]
            publishers: None,
            #[cfg(feature = "talk")]
            talking: None,
        }
    }

    fn from(config: Config) -> World {
        let now = Instant::now();
        let mut world = World {
            core: CameraCore::new(config, now),
            now,
            said: vec![],
            produced: vec![],
            events: vec![],
            sources: vec![],
            viewers: vec![],
            shares: vec![],
            bitrates: vec![],
            rates: BTreeMap::new(),
            key_frames: vec![],
            replies: vec![],
            replied: serde_json::Value::Null,
            control_requests: vec![],
            qualities: vec![],
            celsius: 40.0,
            reads: 0,
            #[cfg(feature = "relay")]
            orders: vec![],
            #[cfg(feature = "talk")]
            speaker: vec![],
            #[cfg(feature = "talk")]
            talk: vec![],
            next: None,
            reached: vec![],
            #[cfg(feature = "channels")]
            heard: vec![],
            #[cfg(feature = "recv")]
            datagrams: None,
        };
        world.input(Input::Online { address: "camera|1" });
        world
    }

    pub(super) fn input(&mut self, input: Input<'_>) {
        self.core.handle_input(input, self.now);
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        loop {
            while let Some(transmit) = self.core.poll_transmit(self.now) {
                self.reached.push(transmit.path.remote);
                #[cfg(feature = "recv")]
                if let Some(all) = &mut self.datagrams {
                    all.extend(transmit.datagrams().map(|data| (transmit.path.remote, data.to_vec())));
                }
            }
            match self.core.poll_output() {
                Output::Timeout(Some(at)) if at <= self.now => {
                    self.core.handle_input(Input::Timeout, self.now);
                }
                Output::Timeout(at) => return self.next = at,
                Output::Send { to, subtype, data, .. } => self.said.push(format!("{subtype} {to} {data}")),
                Output::Command(command) => match command {
                    Command::Want(streams) => self.produced.push(streams.into_iter().collect()),
                    Command::Bitrate { stream, bps } => {
                        self.bitrates.push(bps);
                        self.rates.insert(stream, bps);
                    }
                    Command::KeyFrame(stream) => self.key_frames.push(stream),
                    Command::Quality { stream, quality } => self.qualities.push((stream, quality)),
                    Command::ReadControls { request } | Command::SetControl { request, .. } => {
                        self.control_requests.push(request);
                    }
                    other => panic!("{other:?}"),
                },
                Output::Reply(command, (status, data)) => {
                    #[cfg(feature = "channels")]
                    self.answer(&command, status, &data);
                    self.replied = data;
                    self.replies.push((command.id().map(str::to_owned), status.0));
                }
                Output::Event(event) => self.events.push(event),
                #[cfg(feature = "channels")]
                Output::Said(message) => self.heard.push(message),
                Output::ReadHeat => {
                    self.reads += 1;
                    let reading = temperature::Reading { celsius: Some(self.celsius), throttled: None };
                    self.core.handle_input(Input::Heat(reading), self.now);
                }
                Output::Source(status, to) => self.sources.push((status, to)),
                Output::Viewers(count) => self.viewers.push(count),
                Output::Share(to, data) => {
                    self.shares.push((to, data["share"].as_str().unwrap_or("").to_owned()))
                }
                #[cfg(feature = "relay")]
                Output::Publish(order) => self.orders.push(order),
                #[cfg(feature = "talk")]
                Output::Speaker(order) => self.speaker.push(order),
                #[cfg(feature = "talk")]
                Output::Talk(data) => self.talk.push(data),
                Output::Wake(_) => {}
            }
        }
    }

    /// Replies by the channel that a command came by. Returns whether it came by one.
    #[cfg(feature = "channels")]
    pub(super) fn answer(
        &mut self,
        command: &Message,
        status: crate::proto::Status,
        data: &serde_json::Value,
    ) -> bool {
        let draft = crate::proto::Draft::new(crate::proto::MessageKind::Command);
        let reply = draft.reply(command, status, data).finish();
        self.core.answer_by_channel(command, status, reply, self.now).is_some()
    }

    /// Time passes, and the core is woken when it wants and not else.
    pub(super) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.next.filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Timeout);
        }
        self.now = end;
    }

    /// Time passes, and the core is woken at its end too.
    pub(super) fn pass(&mut self, time: Duration) {
        self.wait(time);
        self.input(Input::Timeout);
    }

    pub(super) fn call(&mut self, from: &str, subtype: &str, data: &str) {
        self.call_from(from, Whence::Unknown, subtype, data);
    }

    pub(super) fn call_from(&mut self, from: &str, whence: Whence, subtype: &str, data: &str) {
        self.input(Input::Call { from, whence, subtype, data: Some(data), call: Some(from) });
    }

    pub(super) fn offer(&mut self, from: &str, sdp: &str) {
        self.call(from, "call:init", "{}");
        self.call(from, "call:offer", &serde_json::json!({ "type": "offer", "sdp": sdp }).to_string());
    }

    /// What the fan-out says when a viewer's media is there.
    pub(super) fn connect(&mut self, from: &str) {
        self.core.calling.connect(from, self.now);
        self.core.handle_input(Input::Timeout, self.now);
        self.drain();
    }

    pub(super) fn said(&self, start: &str) -> usize {
        self.said.iter().filter(|s| s.starts_with(start)).count()
    }
}

pub(super) const BOTH: [StreamId; 2] = [VIDEO_H264, AUDIO_OPUS];
const NOTHING: [StreamId; 0] = [];

/// What a source announces.
fn streams(vp8: bool, profile_level_id: Option<[u8; 3]>) -> Vec<StreamInfo> {
    let video = |id, codec, profile_level_id| {
        let format = VideoFormat { width: 1280, height: 720, fps: 30, profile_level_id };
        StreamInfo::new(id, codec).with_format(Format::Video(format))
    };
    let h264 = video(VIDEO_H264, Codec::H264, profile_level_id);
    let vp8 = vp8.then(|| video(VIDEO_VP8, Codec::Vp8, None));
    [Some(h264), vp8, Some(StreamInfo::new(AUDIO_OPUS, Codec::Opus))].into_iter().flatten().collect()
}

/// The same with a small rendition.
fn renditions() -> Vec<StreamInfo> {
    let mut small = StreamInfo::new(VIDEO_H264_SMALL, Codec::H264).with_format(Format::Video(VideoFormat {
        width: 640,
        height: 360,
        fps: 15,
        profile_level_id: None,
    }));
    small.rendition = 1;
    let mut all = streams(false, None);
    all.push(small);
    all
}

const JPEG: StreamId = StreamId(7);

fn outcome(slot: std::sync::Arc<crate::camera::snapshot::PendingSnapshot>) -> crate::media::sink::Outcome {
    let waits = futures_lite::future::poll_once(slot.wait());
    futures_lite::future::block_on(waits).expect("it is decided")
}

impl World {
    fn with_jpeg() -> World {
        let mut world = World::new(4, true);
        world.input(Input::Source(SourceEvent::Streams(vec![StreamInfo::new(JPEG, Codec::Jpeg)])));
        world
    }

    pub(super) fn frame(&mut self, stream: StreamId, codec: Codec, key: bool) {
        let frame = crate::media::Frame {
            stream,
            codec,
            key,
            captured: self.now,
            pts: Duration::ZERO,
            duration: Duration::ZERO,
            discontinuity: false,
            encoding: None,
            data: [0xab].into(),
        };
        self.input(Input::Frame(&frame));
    }
}
