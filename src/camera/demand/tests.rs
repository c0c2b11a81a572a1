//! Each rule of demand, on a virtual clock.

mod measured;
mod sharing;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::{Config, Demand, Event, Input, Output, Share, Sink};
use crate::call::CallId;
use crate::media::adapt::keyframes::KeyFrameReason;
use crate::media::adapt::ladder::Quality;
use crate::media::adapt::rate::BitrateLimits;
use crate::media::adapt::temperature;
use crate::media::source::{Command, Request, Source, SourceEvent};
use crate::media::{Codec, Format, StreamId, StreamInfo, VideoFormat};

const VIDEO: StreamId = StreamId(10);
const OTHER: StreamId = StreamId(11);
const AUDIO: StreamId = StreamId(12);
const JPEG: StreamId = StreamId(13);
const ALICE: Sink = Sink::Call(CallId(1));
const BOB: Sink = Sink::Call(CallId(2));
const SECOND: Duration = Duration::from_secs(1);

struct World {
    demand: Demand,
    start: Instant,
    now: Instant,
    next: Option<Instant>,
    /// What came out, with its millisecond.
    log: Vec<(u128, String)>,
    celsius: Option<f32>,
}

fn video(id: StreamId, codec: Codec, width: u32, height: u32) -> StreamInfo {
    let format = VideoFormat { width, height, fps: 30, profile_level_id: None };
    StreamInfo::new(id, codec).with_format(Format::Video(format))
}

fn streams() -> Vec<StreamInfo> {
    vec![
        video(VIDEO, Codec::H264, 1280, 720),
        video(OTHER, Codec::Vp8, 1280, 720),
        StreamInfo::new(AUDIO, Codec::Opus),
        video(JPEG, Codec::Jpeg, 1280, 720),
    ]
}

impl World {
    fn new() -> World {
        World::of(&streams())
    }

    fn of(streams: &[StreamInfo]) -> World {
        let config = Config {
            bitrate: BitrateLimits::default(),
            adapt: true,
            heat: Some(temperature::TemperatureLimits { step_down: 75.0, step_up: 68.0 }),
            linger: 10 * SECOND,
        };
        let start = Instant::now();
        let demand = Demand::new(config, streams);
        World { demand, start, now: start, next: None, log: vec![], celsius: None }
    }

    fn input(&mut self, input: Input) {
        self.demand.handle_input(input, self.now);
        loop {
            let line = match self.demand.poll_output() {
                Output::Timeout(at) => return self.next = at,
                Output::ReadHeat => {
                    let reading = temperature::Reading { celsius: self.celsius, throttled: None };
                    self.demand.handle_input(Input::Heat(reading), self.now);
                    continue;
                }
                Output::Command(Command::Want(streams)) => format!("want {}", ids(&streams)),
                Output::Command(Command::KeyFrame(stream)) => format!("key {}", stream.0),
                Output::Command(Command::Bitrate { stream, bps }) => format!("rate {} {bps}", stream.0),
                Output::Command(Command::Quality { stream, quality: Quality { percent, fps } }) => {
                    format!("quality {} {percent} {fps}", stream.0)
                }
                Output::Command(other) => panic!("{other:?}"),
                Output::Serve { sink, share, why } => {
                    let Sink::Call(CallId(call)) = sink else { panic!("{sink:?}") };
                    let share = match share {
                        Share::Full(stream) => format!("full {}", stream.0),
                        Share::Small(stream) => format!("small {}", stream.0),
                        Share::KeyFrames(stream) => format!("key frames {}", stream.0),
                        Share::Nothing => "nothing".to_owned(),
                    };
                    format!("serve {call} {share}: {}", why.code())
                }
                Output::Event(Event::Running(streams)) => format!("running {}", ids(&streams)),
                Output::Event(Event::Bitrate { stream, bps }) => format!("event rate {} {bps}", stream.0),
                Output::Event(Event::Quality { stream, why, .. }) => {
                    format!("event quality {} {why}", stream.0)
                }
                Output::Event(Event::Board(words)) => words,
            };
            self.log.push(((self.now - self.start).as_millis(), line));
        }
    }

    fn wants(&mut self, sink: Sink, streams: &[StreamId]) {
        self.input(Input::Wants { sink, streams: streams.iter().copied().collect() });
    }

    fn flows(&mut self) {
        self.input(Input::Flows(true));
    }

    /// Lets time pass with an estimate each 100 ms, where there is one.
    fn pass(&mut self, time: Duration, estimates: &[(Sink, u32)]) {
        let end = self.now + time;
        while self.now < end {
            let step = (self.now + Duration::from_millis(100)).min(end);
            while let Some(at) = self.next.filter(|at| *at <= step) {
                let before = (self.now, self.log.len());
                self.now = self.now.max(at);
                self.input(Input::Timeout);
                if self.next.is_some_and(|next| next <= self.now) {
                    assert_ne!(before, (self.now, self.log.len()), "it wakes for nothing");
                }
            }
            self.now = step;
            for (sink, bps) in estimates {
                self.input(Input::Estimate { sink: *sink, bps: *bps });
            }
        }
    }

    /// What came out since the last time.
    fn taken(&mut self, start: &str) -> Vec<String> {
        let lines = std::mem::take(&mut self.log).into_iter().map(|(_, line)| line);
        lines.filter(|line| line.starts_with(start)).collect()
    }
}

fn ids(streams: &BTreeSet<StreamId>) -> String {
    streams.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(",")
}

#[test]
fn what_any_sink_wants_runs() {
    let mut w = World::new();
    w.wants(ALICE, &[VIDEO, AUDIO]);
    w.wants(BOB, &[VIDEO]);
    w.wants(BOB, &[OTHER]);
    w.wants(ALICE, &[VIDEO]);
    w.wants(ALICE, &[]);
    // No source has it.
    w.wants(ALICE, &[StreamId(99)]);
    assert_eq!(w.taken("want"), ["want 10,12", "want 10,11,12", "want 10,11", "want 11"]);
}

#[test]
fn streams_linger_after_the_last_sink_and_not_before() {
    let mut w = World::new();
    w.wants(ALICE, &[VIDEO, AUDIO]);
    w.wants(BOB, &[AUDIO]);
    w.wants(ALICE, &[]);
    assert_eq!(w.taken("want"), ["want 10,12", "want 12"], "others go on: nothing lingers");
    w.wants(BOB, &[]);
    w.pass(9 * SECOND, &[]);
    w.wants(ALICE, &[AUDIO]);
    w.wants(ALICE, &[]);
    w.pass(Duration::from_millis(9_990), &[]);
    assert_eq!(w.taken("want"), Vec::<String>::new());
    w.pass(SECOND, &[]);
    assert_eq!(w.taken("want"), ["want "]);
    assert_eq!(w.next, None, "nothing is left to wake for");
}

#[test]
fn a_linger_without_end_is_one() {
    let mut w = World::new();
    w.input(Input::Linger(Duration::MAX));
    w.wants(ALICE, &[VIDEO]);
    w.wants(ALICE, &[]);
    w.pass(60 * SECOND, &[]);
    assert_eq!(w.taken("want"), ["want 10"]);
    w.input(Input::Shutdown);
    assert_eq!(w.taken("want"), ["want "]);
}

#[test]
fn a_shutdown_lets_nothing_linger() {
    let mut w = World::new();
    w.wants(ALICE, &[VIDEO]);
    w.wants(ALICE, &[]);
    w.input(Input::Shutdown);
    assert_eq!(w.taken("want"), ["want 10", "want "]);
}

#[test]
fn a_snapshot_runs_no_longer_than_its_picture_takes() {
    let mut w = World::new();
    w.wants(Sink::Snapshot, &[JPEG]);
    w.wants(Sink::Snapshot, &[]);
    assert_eq!(w.taken("want"), ["want 13", "want "]);
    // Beside what lingers it changes nothing of that.
    w.wants(ALICE, &[VIDEO]);
    w.wants(ALICE, &[]);
    w.pass(5 * SECOND, &[]);
    w.wants(Sink::Snapshot, &[JPEG]);
    w.wants(Sink::Snapshot, &[]);
    w.pass(Duration::from_millis(5_100), &[]);
    assert_eq!(w.taken("want"), ["want 10", "want 10,13", "want 10", "want "]);
}

#[test]
fn an_encoder_is_told_its_bitrate_before_it_starts() {
    let mut w = World::new();
    w.wants(ALICE, &[VIDEO, AUDIO, JPEG]);
    let lines: Vec<String> = w.log.iter().map(|(_, line)| line.clone()).collect();
    assert_eq!(lines, ["serve 1 full 10: full", "rate 10 1000000", "want 10,12,13", "running 10,12,13"]);
    // An encoder that has no such control is not.
    let mut w = World::new();
    w.input(Input::Adjustable { stream: VIDEO, bitrate: false, quality: false });
    w.wants(ALICE, &[VIDEO]);
    assert_eq!(w.taken("rate"), Vec::<String>::new());
}

#[test]
fn each_encoder_follows_those_who_take_its_stream() {
    let mut w = World::new();
    w.wants(ALICE, &[VIDEO]);
    w.wants(BOB, &[OTHER]);
    w.flows();
    w.taken("");
    w.pass(SECOND, &[(ALICE, 400_000), (BOB, 5_000_000)]);
    assert_eq!(w.taken("rate"), ["rate 10 340000"], "85 % of it");
    w.pass(60 * SECOND, &[(ALICE, 400_000), (BOB, 5_000_000)]);
    assert_eq!(w.demand.bitrate(VIDEO), Some(340_000));
    assert!(w.demand.bitrate(OTHER).is_some_and(|bps| bps > 3_600_000));
    assert_eq!((w.demand.bitrate(AUDIO), w.demand.bitrate(JPEG)), (None, None));
}

#[test]
fn who_takes_another_stream_holds_the_first_back_no_longer() {
    let mut w = World::new();
    w.wants(ALICE, &[VIDEO]);
    w.wants(BOB, &[VIDEO]);
    w.flows();
    w.pass(SECOND, &[(ALICE, 5_000_000), (BOB, 300_000)]);
    assert_eq!(w.demand.bitrate(VIDEO), Some(255_000));
    w.wants(BOB, &[OTHER]);
    w.pass(60 * SECOND, &[(ALICE, 5_000_000), (BOB, 300_000)]);
    assert!(w.demand.bitrate(VIDEO).is_some_and(|bps| bps > 3_600_000));
    assert_eq!(w.demand.bitrate(OTHER), Some(255_000));
}

#[test]
fn nothing_is_adapted_while_nothing_flows() {
    let mut w = World::new();
    w.wants(ALICE, &[VIDEO]);
    w.taken("");
    w.pass(10 * SECOND, &[(ALICE, 100_000)]);
    assert_eq!(w.taken(""), Vec::<String>::new());
    w.flows();
    w.pass(SECOND, &[(ALICE, 100_000)]);
    assert_eq!(w.taken("rate"), ["rate 10 150000"]);
    w.input(Input::Flows(false));
    w.pass(60 * SECOND, &[(ALICE, 5_000_000)]);
    assert_eq!(w.taken("rate"), Vec::<String>::new());
}

#[test]
fn an_estimate_from_before_the_first_frame_counts_from_then_on() {
    let mut w = World::new();
    w.wants(ALICE, &[VIDEO]);
    w.pass(SECOND, &[(ALICE, 5_000_000)]);
    w.flows();
    // It changes no more, so there is no other.
    w.pass(6 * SECOND, &[]);
    w.wants(BOB, &[VIDEO]);
    w.pass(2 * SECOND, &[(BOB, 300_000)]);
    assert_eq!(w.demand.bitrate(VIDEO), Some(4_000_000));
}

#[test]
fn the_next_viewers_network_is_another_one() {
    let mut w = World::new();
    w.wants(ALICE, &[VIDEO]);
    w.flows();
    w.pass(SECOND, &[(ALICE, 200_000)]);
    w.wants(ALICE, &[]);
    w.pass(11 * SECOND, &[]);
    assert_eq!(w.demand.bitrate(VIDEO), Some(1_000_000));
    assert_eq!(w.taken("rate").last().map(String::as_str), Some("rate 11 1000000"));
}

#[test]
fn other_limits_count_at_once_and_later() {
    let mut w = World::new();
    w.wants(ALICE, &[VIDEO]);
    w.flows();
    w.taken("");
    w.input(Input::Limits(BitrateLimits { max: 500_000, ..BitrateLimits::default() }));
    assert_eq!(w.taken("rate"), ["rate 10 500000"]);
    w.pass(60 * SECOND, &[(ALICE, 5_000_000)]);
    assert_eq!(w.demand.bitrate(VIDEO), Some(500_000));
}

#[test]
fn key_frames_are_merged_by_reason() {
    let mut w = World::new();
    for (ms, reason) in [
        (0, KeyFrameReason::Join),
        (10, KeyFrameReason::Join),
        (50, KeyFrameReason::Loss),
        (300, KeyFrameReason::Loss),
        (700, KeyFrameReason::Loss),
    ] {
        w.pass((w.start + Duration::from_millis(ms)).saturating_duration_since(w.now), &[]);
        w.input(Input::KeyFrameWanted { sink: None, stream: VIDEO, reason });
    }
    w.pass(2 * SECOND, &[]);
    let key: Vec<u128> = w.log.iter().filter(|(_, line)| line == "key 10").map(|(at, _)| *at).collect();
    assert_eq!(key, [0, 100, 600, 1100]);
    w.input(Input::KeyFrame { stream: VIDEO, bytes: 20_000 });
    w.input(Input::KeyFrameWanted { sink: None, stream: VIDEO, reason: KeyFrameReason::Loss });
    w.pass(Duration::from_millis(400), &[]);
    assert_eq!(w.taken("key").len(), 4, "one came by itself just now");
}

#[test]
fn few_bits_make_frames_fewer_and_smaller_where_the_encoder_can() {
    for can in [true, false] {
        let mut w = World::new();
        w.input(Input::Adjustable { stream: VIDEO, bitrate: true, quality: can });
        w.wants(ALICE, &[VIDEO]);
        w.flows();
        w.taken("");
        w.pass(8 * SECOND, &[(ALICE, 180_000)]);
        let log = w.taken("quality");
        let expected: &[&str] = if can { &["quality 10 100 15", "quality 10 67 15"] } else { &[] };
        assert_eq!(log, expected);
    }
}

#[test]
fn a_stream_of_unknown_size_is_left_whole_until_its_size_is_known() {
    let mut w = World::new();
    let pushed = StreamId(20);
    w.input(Input::Streams(vec![StreamInfo::new(pushed, Codec::H264)]));
    w.wants(ALICE, &[pushed]);
    w.flows();
    w.pass(10 * SECOND, &[(ALICE, 180_000)]);
    assert_eq!(w.taken("quality"), Vec::<String>::new());
    w.input(Input::Streams(vec![video(pushed, Codec::H264, 1280, 720)]));
    w.pass(4 * SECOND, &[(ALICE, 180_000)]);
    assert_eq!(w.taken("quality"), ["quality 20 100 15"]);
}

#[test]
fn a_hot_board_makes_less_of_everything_and_is_not_looked_at_in_vain() {
    let mut w = World::new();
    w.celsius = Some(76.0);
    w.wants(ALICE, &[AUDIO]);
    w.pass(60 * SECOND, &[]);
    assert_eq!(w.taken("quality"), Vec::<String>::new(), "audio heats nothing");
    w.wants(ALICE, &[VIDEO]);
    assert_eq!(w.taken("quality"), ["quality 10 100 15", "quality 11 100 15"]);
}

#[test]
fn a_source_that_gave_up_is_tried_again_by_the_next_sink() {
    let mut w = World::new();
    w.wants(ALICE, &[VIDEO]);
    w.input(Input::GaveUp);
    w.pass(60 * SECOND, &[]);
    assert_eq!(w.taken("want"), ["want 10"], "not by those that were there");
    w.wants(BOB, &[VIDEO]);
    assert_eq!(w.taken("want"), ["want 10"]);
}

#[test]
fn what_lingers_ends_with_its_source() {
    let mut w = World::new();
    w.wants(ALICE, &[VIDEO]);
    w.wants(ALICE, &[]);
    assert_eq!(w.taken("running"), ["running 10"]);
    w.input(Input::Replaced(streams()));
    assert_eq!(w.taken("running"), ["running "]);
    w.wants(ALICE, &[VIDEO]);
    w.taken("");
    w.input(Input::Replaced(streams()));
    assert_eq!(w.taken("running"), ["running 10"], "it goes on without a gap");
}

#[test]
fn another_source_is_asked_for_what_the_one_before_was() {
    let mut w = World::new();
    w.celsius = Some(76.0);
    w.wants(ALICE, &[VIDEO, AUDIO]);
    w.flows();
    w.pass(SECOND, &[(ALICE, 400_000)]);
    w.taken("");
    w.input(Input::Replaced(vec![video(VIDEO, Codec::H264, 640, 360)]));
    assert_eq!(w.taken("want"), ["want 10"], "it has no audio");
    assert_eq!(w.demand.bitrate(VIDEO), Some(325_000), "the networks are the same");
    assert_eq!(w.demand.quality(VIDEO), Some(Quality { percent: 100, fps: 15 }), "and so is the heat");
    assert!(w.demand.stream(OTHER).is_none() && w.demand.stream(AUDIO).is_none());
}

#[test]
fn an_encoder_of_the_application_is_asked_for_fewer_frames() {
    // Key frames of VP8 by their headers: 1280 x 720.
    const KEY: [u8; 10] = [0x10, 2, 0, 0x9d, 0x01, 0x2a, 0, 5, 0xd0, 2];
    let (source, feed) = Source::push(Codec::Vp8);
    let (asks, asked) = channel();
    feed.on(move |request| _ = asks.send(request));
    let (announces, announced) = channel();
    source.producer().listen(Arc::new(move |event| {
        if let SourceEvent::Streams(streams) = event {
            _ = announces.send(streams);
        }
    }));
    let (mut now, stream) = (Instant::now(), feed.stream());
    let config = Config { bitrate: BitrateLimits::default(), adapt: true, heat: None, linger: SECOND };
    let mut demand = Demand::new(config, &source.producer().streams());
    let end = now + 20 * SECOND;
    demand.handle_input(Input::Wants { sink: ALICE, streams: [stream].into() }, now);
    demand.handle_input(Input::Flows(true), now);
    for number in 0.. {
        loop {
            match demand.poll_output() {
                Output::Command(command) => source.producer().command(command),
                Output::Timeout(at) => {
                    now = at.unwrap_or(end).min(now + SECOND);
                    break;
                }
                _ => {}
            }
        }
        if now >= end {
            break;
        }
        feed.push(KEY, true, Duration::from_millis(number * 1000 / 30)).expect("in order");
        announced.try_iter().for_each(|streams| demand.handle_input(Input::Streams(streams), now));
        demand.handle_input(Input::Estimate { sink: ALICE, bps: 100_000 }, now);
        demand.handle_input(Input::Timeout, now);
    }
    let lower = Request::Quality { quality: Quality { percent: 100, fps: 15 } };
    let asked: Vec<Request> = asked.try_iter().collect();
    assert!(asked.contains(&lower), "{asked:?}");
}
