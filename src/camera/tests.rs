//! Calls, viewers and the source's life on a virtual clock; the viewer is a real browser's offer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::SnapshotError;
use super::event::Event;
use super::studio::{Config, Input, Output, Studio, Whence};
use crate::call::RateLimit;
use crate::calling::Answer;
use crate::media::adapt::heat;
use crate::media::adapt::ladder::Quality;
use crate::media::adapt::rate::Limits;
use crate::media::source::{Command, SourceEvent, SourceState, SourceStatus};
use crate::media::{AUDIO_OPUS, Codec, Format, StreamId, StreamInfo, VIDEO_H264, VIDEO_VP8, VideoFormat};
use crate::rtc;

pub(super) const OFFER: &str = include_str!("../rtc/tests/chromium_offer.sdp");

pub(super) struct World {
    pub studio: Studio,
    pub now: Instant,
    /// Messages that left, `subtype to data`.
    pub said: Vec<String>,
    pub produced: Vec<Vec<StreamId>>,
    pub events: Vec<Event>,
    /// Whom the source's state was told to, and what.
    pub sources: Vec<(Option<SourceStatus>, Vec<String>)>,
    pub viewers: Vec<usize>,
    pub bitrates: Vec<u32>,
    pub key_frames: Vec<StreamId>,
    pub qualities: Vec<(StreamId, Quality)>,
    /// How hot the board is, and how often that was read.
    pub celsius: f32,
    pub reads: usize,
    pub next: Option<Instant>,
    /// Where datagrams went.
    pub reached: Vec<SocketAddr>,
}

impl World {
    pub(super) fn new(max_viewers: usize, vp8: bool) -> World {
        World::with(max_viewers, vp8, Answer::All)
    }

    pub(super) fn with(max_viewers: usize, vp8: bool, answer: Answer) -> World {
        let now = Instant::now();
        let host = rtc::LocalCandidate { base: "192.0.2.1:4000".parse().expect("literal"), advertised: None };
        let config = Config {
            rtc: rtc::Config { candidates: vec![host], ..rtc::Config::default() },
            streams: streams(vp8, None),
            bitrate: Limits::default(),
            adapt: true,
            heat: Some(heat::Limits { step_down: 75.0, step_up: 68.0 }),
            answer,
            max_viewers,
            max_unconnected: 4,
            offer_rate: RateLimit { per_second: 2, burst: 8 },
            linger: Duration::from_secs(10),
            snapshot_every: Duration::from_secs(1),
            live: true,
        };
        let studio = Studio::new(config, now);
        let mut world = World {
            studio,
            now,
            said: vec![],
            produced: vec![],
            events: vec![],
            sources: vec![],
            viewers: vec![],
            bitrates: vec![],
            key_frames: vec![],
            qualities: vec![],
            celsius: 40.0,
            reads: 0,
            next: None,
            reached: vec![],
        };
        world.input(Input::Online { address: "camera|1" });
        world
    }

    pub(super) fn input(&mut self, input: Input<'_>) {
        self.studio.handle_input(input, self.now);
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        loop {
            while let Some(transmit) = self.studio.poll_transmit(self.now) {
                self.reached.push(transmit.path.remote);
            }
            match self.studio.poll_output() {
                Output::Timeout(Some(at)) if at <= self.now => {
                    self.studio.handle_input(Input::Timeout, self.now);
                }
                Output::Timeout(at) => return self.next = at,
                Output::Send { to, subtype, data, .. } => self.said.push(format!("{subtype} {to} {data}")),
                Output::Command(command) => match command {
                    Command::Want(streams) => self.produced.push(streams.into_iter().collect()),
                    Command::Bitrate { bps, .. } => self.bitrates.push(bps),
                    Command::KeyFrame(stream) => self.key_frames.push(stream),
                    Command::Quality { stream, quality } => self.qualities.push((stream, quality)),
                    other => panic!("{other:?}"),
                },
                Output::Event(event) => self.events.push(event),
                Output::ReadHeat => {
                    self.reads += 1;
                    let reading = heat::Reading { celsius: Some(self.celsius), throttled: None };
                    self.studio.handle_input(Input::Heat(reading), self.now);
                }
                Output::Source(status, to) => self.sources.push((status, to)),
                Output::Viewers(count) => self.viewers.push(count),
            }
        }
    }

    /// Lets time pass, waking the core when it wants.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.next.filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Timeout);
        }
        self.now = end;
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
        self.studio.calling.connect(from, self.now);
        self.studio.handle_input(Input::Timeout, self.now);
        self.drain();
    }

    pub(super) fn said(&self, start: &str) -> usize {
        self.said.iter().filter(|s| s.starts_with(start)).count()
    }
}

/// The same offer without H.264: every payload type of it becomes an unknown codec's.
fn without_h264() -> String {
    OFFER.replace("H264/90000", "H266/90000")
}

const BOTH: [StreamId; 2] = [VIDEO_H264, AUDIO_OPUS];
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

#[test]
fn an_offer_starts_the_source_before_the_viewer_is_connected() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    assert_eq!((world.said("call:accept bob|2"), world.said("call:answer bob|2")), (1, 1));
    assert_eq!(world.produced, [BOTH]);
    let answer = world.said.iter().find(|s| s.starts_with("call:answer")).expect("counted above");
    assert!(answer.contains("a=sendonly") && answer.contains("192.0.2.1 4000"), "{answer}");
}

#[test]
fn the_source_runs_ten_seconds_longer_than_the_last_call() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    world.offer("eve|3", OFFER);
    world.call("bob|2", "call:hangup", "{}");
    world.pass(Duration::from_secs(20));
    assert_eq!(world.produced, [BOTH], "somebody still watches");
    world.call("eve|3", "call:hangup", "{}");
    world.pass(Duration::from_millis(9_990));
    assert_eq!(world.produced, [BOTH]);
    world.pass(Duration::from_millis(20));
    assert_eq!(world.produced, [&BOTH[..], &NOTHING]);
    assert!(!world.bitrates.is_empty(), "the next viewer's network is another one");
}

#[test]
fn who_comes_back_within_ten_seconds_finds_the_source_running() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    world.call("bob|2", "call:hangup", "{}");
    world.pass(Duration::from_secs(9));
    world.offer("bob|2", OFFER);
    world.pass(Duration::from_secs(9));
    assert_eq!(world.produced, [BOTH]);
}

#[test]
fn a_viewer_without_h264_gets_vp8_or_a_refusal_in_words() {
    let mut world = World::new(4, true);
    world.offer("bob|2", &without_h264());
    assert_eq!(world.produced, [[VIDEO_VP8, AUDIO_OPUS]]);
    world.offer("eve|3", OFFER);
    assert_eq!(world.produced[1], [VIDEO_H264, VIDEO_VP8, AUDIO_OPUS]);
    world.call("bob|2", "call:hangup", "{}");
    assert_eq!(world.produced[2], BOTH, "the second encoder stops with its last viewer");

    let mut world = World::new(4, false);
    world.offer("bob|2", &without_h264());
    assert!(world.produced.is_empty());
    let hangup = world.said.iter().find(|s| s.starts_with("call:hangup bob|2")).expect("it is refused");
    assert!(hangup.contains("H264") || hangup.contains("H.264"), "{hangup}");
}

#[test]
fn a_bad_description_ends_its_call_and_nothing_else() {
    let mut world = World::new(8, true);
    world.offer("good|1", OFFER);
    let cut: String =
        OFFER.lines().filter(|l| !l.starts_with("a=ice-ufrag")).map(|l| format!("{l}\r\n")).collect();
    for (at, sdp) in ["", "v=0", "nonsense", "v=0\r\nm=video 9 x 1\r\n", &cut, &"a=\u{1F4A5}\r\n".repeat(500)]
        .iter()
        .enumerate()
    {
        let from = format!("bad|{at}");
        world.offer(&from, sdp);
        assert_eq!(world.said(&format!("call:hangup {from}")), 1, "{sdp:.40}");
    }
    world.call("good|1", "call:candidate", r#"{"candidate":"candidate:nonsense"}"#);
    world.call("good|1", "call:candidate", r#"{"candidate":"candidate:1 1 udp 1 f00.local 9 typ host"}"#);
    assert_eq!(world.said("call:hangup good|1"), 0, "a bad candidate is passed over");
    assert_eq!(world.produced, [BOTH]);
}

#[test]
fn one_viewer_too_many_is_told_busy() {
    let mut world = World::new(1, true);
    world.offer("bob|2", OFFER);
    world.connect("bob|2");
    world.offer("eve|3", OFFER);
    assert_eq!(world.said(r#"call:reject eve|3 {"reason":"busy"}"#), 1);
    assert_eq!(world.said("call:answer"), 1);
}

#[test]
fn an_accepted_call_that_brings_no_media_ends_by_itself() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    world.pass(Duration::from_secs(90));
    assert!(world.studio.is_idle());
    assert!(world.events.iter().any(|e| matches!(e, Event::CallFailed { .. })));
    assert_eq!(world.produced.last(), Some(&NOTHING.to_vec()));
}

#[test]
fn a_peer_that_goes_offline_before_its_pictures_is_gone() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    world.input(Input::PeerGone { address: "bob|2" });
    assert!(world.studio.is_idle());
}

#[test]
fn the_camera_calls_with_an_offer_and_hangs_up() {
    let mut world = World::new(1, true);
    let id = world.studio.invite("bob|2", "k3Jq", world.now).expect("online");
    world.drain();
    assert_eq!(world.said("call:init bob|2"), 1);
    assert!(world.studio.invite("eve|3", "x9", world.now).is_err(), "as many viewers as allowed");
    world.input(Input::Call {
        from: "bob|2",
        whence: Whence::Unknown,
        subtype: "call:accept",
        data: Some("{}"),
        call: Some("k3Jq"),
    });
    assert_eq!(world.said("call:offer bob|2"), 1);
    world.studio.hang_up(id, "done".into(), world.now).expect("it is on");
    world.drain();
    assert_eq!(world.said(r#"call:hangup bob|2 {"reason":"done"}"#), 1);
    assert!(world.produced.is_empty(), "nothing was agreed");
}

#[test]
fn a_shutdown_hangs_up_and_stops_the_source_at_once() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    world.input(Input::Shutdown);
    assert_eq!(world.said("call:hangup bob|2"), 1);
    assert_eq!(world.produced.last(), Some(&NOTHING.to_vec()));
}

#[test]
fn a_shutdown_does_not_linger_for_a_viewer_who_left_before() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    world.call("bob|2", "call:hangup", "{}");
    assert_eq!(world.produced, [BOTH], "it lingers");
    world.input(Input::Shutdown);
    assert_eq!(world.produced.last(), Some(&NOTHING.to_vec()));
}

#[test]
fn both_streams_have_a_bitrate_of_their_own() {
    let world = World::new(1, true);
    let start = Limits::default().start;
    assert_eq!([VIDEO_H264, VIDEO_VP8].map(|s| world.studio.bitrate(s)), [Some(start); 2]);
}

#[test]
fn a_source_that_gave_up_ends_its_calls_and_is_tried_again_by_the_next() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    world.input(Input::Source(SourceEvent::GaveUp));
    assert_eq!(world.said(r#"call:hangup bob|2 {"reason":"source-failed""#), 1, "{:?}", world.said);
    assert!(world.studio.is_idle() && world.studio.running().is_empty());
    world.offer("eve|3", OFFER);
    assert_eq!(world.produced, [BOTH, BOTH]);
}

#[test]
fn viewers_are_told_what_the_source_does() {
    use crate::media::error::{ErrorKind, MediaError};

    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    let gone = MediaError::new(ErrorKind::Unreachable, "rtsp://192.0.2.7/ cannot be reached");
    for event in [SourceEvent::Failed(gone.clone()), SourceEvent::Failed(gone), SourceEvent::Started] {
        world.input(Input::Source(event));
    }
    assert_eq!(world.said("call:hangup"), 0, "calls stay while it is lost");
    let states = |world: &World| -> Vec<_> {
        let told = world.sources.iter().map(|(status, to)| (status.map(|s| (s.state, s.code)), to.clone()));
        told.collect()
    };
    let bob = vec!["bob|2".to_owned()];
    let expected = [
        (Some((SourceState::Starting, "starting")), bob.clone()),
        (Some((SourceState::Lost, "unreachable")), bob.clone()),
        (Some((SourceState::Playing, "playing")), bob),
    ];
    assert_eq!(states(&world), expected);
    let events = world.events.iter().filter(|event| matches!(event, Event::Source { .. }));
    assert_eq!(events.count(), 3);
    world.call("bob|2", "call:hangup", "{}");
    world.pass(Duration::from_secs(11));
    assert_eq!(states(&world).last(), Some(&(None, vec![])), "nobody watches");
}

#[test]
fn the_presence_has_the_number_of_viewers() {
    let mut world = World::new(4, true);
    for peer in ["bob|2", "eve|3"] {
        world.offer(peer, OFFER);
        world.connect(peer);
        world.pass(Duration::from_millis(1500));
    }
    world.call("bob|2", "call:hangup", "{}");
    world.call("eve|3", "call:hangup", "{}");
    world.pass(Duration::from_millis(1500));
    assert_eq!(world.viewers, [1, 2, 1, 0]);
}

#[test]
fn torn_pictures_ask_for_a_key_frame() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    world.input(Input::Torn(VIDEO_H264));
    world.pass(Duration::from_millis(500));
    assert_eq!(world.key_frames, [VIDEO_H264]);
}

#[test]
fn later_calls_are_told_of_new_addresses() {
    let mut world = World::new(4, true);
    let base = "192.0.2.99:4000".parse().expect("literal");
    world.studio.set_candidates(vec![rtc::LocalCandidate { base, advertised: None }]);
    world.offer("bob|2", OFFER);
    let answer = world.said.iter().find(|s| s.starts_with("call:answer")).expect("it is answered");
    assert!(answer.contains("192.0.2.99 4000") && !answer.contains("192.0.2.1 4000"), "{answer}");
}

#[test]
fn what_the_source_says_reaches_the_program() {
    use crate::media::error::{ErrorKind, MediaError};
    use crate::media::source::RequestId;

    let mut world = World::new(4, true);
    let slow = MediaError::new(ErrorKind::TooSlow, "12 pictures a second, not 30");
    world.input(Input::Source(SourceEvent::Trouble(slow.clone())));
    world.input(Input::Source(SourceEvent::Control {
        request: RequestId(7),
        name: "gain".into(),
        result: Err(slow.clone()),
    }));
    world.input(Input::Source(SourceEvent::Controls { request: RequestId(8), result: Ok(vec![]) }));
    let [
        Event::Media { error: trouble },
        Event::Control { request, name, result: Err(why) },
        Event::Controls { result, .. },
    ] = &world.events[..]
    else {
        panic!("{:?}", world.events)
    };
    assert_eq!((trouble, why, request.0, name.as_str()), (&slow, &slow, 7, "gain"));
    assert_eq!(result, &Ok(vec![]));
}

#[test]
fn a_hot_board_is_asked_for_less_and_that_is_said() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    world.celsius = 76.5;
    world.pass(Duration::from_secs(6));
    // H.264 runs; VP8 will begin with as much, if anybody comes for it.
    let half = Quality { percent: 100, fps: 15 };
    assert_eq!(world.qualities, [(VIDEO_H264, half), (VIDEO_VP8, half)]);
    let said = world.events.iter().filter_map(|event| match event {
        Event::Quality { stream, percent, fps, why } => Some((*stream, *percent, *fps, why.as_str())),
        _ => None,
    });
    assert_eq!(said.collect::<Vec<_>>(), [(VIDEO_H264, 100, 15, "the board is at 76.5 °C")]);
    world.celsius = 80.5;
    world.pass(Duration::from_secs(20));
    let last = |world: &World| *world.qualities.last().expect("some came");
    assert_eq!(last(&world), (VIDEO_VP8, Quality { percent: 33, fps: 15 }));
    assert!(world.bitrates.last().is_some_and(|bps| *bps < 400_000), "so small a picture needs few bits");
    // The call brings no media and ends. Who comes later finds the board cooled down.
    world.pass(Duration::from_secs(300));
    world.celsius = 60.0;
    world.offer("eve|3", OFFER);
    world.pass(Duration::from_secs(1));
    assert_eq!(last(&world), (VIDEO_VP8, Quality { percent: 100, fps: 30 }));
    assert_eq!(world.bitrates.last(), Some(&1_000_000));
}

#[test]
fn nobody_watches_and_the_camera_does_not_wake() {
    let mut world = World::new(4, true);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.reads, 0);
    world.offer("bob|2", OFFER);
    world.pass(Duration::from_secs(9));
    assert_eq!(world.reads, 2, "at once, and each 5 s");
    world.call("bob|2", "call:hangup", "{}");
    world.pass(Duration::from_secs(15));
    let reads = world.reads;
    let mut wakes = 0;
    let end = world.now + Duration::from_secs(600);
    while let Some(at) = world.next.filter(|at| *at <= end) {
        world.now = world.now.max(at);
        world.input(Input::Timeout);
        wakes += 1;
    }
    assert_eq!(world.reads, reads, "the board is left alone");
    println!("{wakes} wake-ups in ten minutes");
    assert!(wakes < 1200, "{wakes} in ten minutes are more than two a second");
}

#[test]
fn a_stream_that_is_not_what_was_agreed_is_told_once() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    world.offer("eve|3", OFFER);
    let format = |profile_level_id| SourceEvent::Streams(streams(true, Some(profile_level_id)));
    let told = |world: &World| {
        let media = world.events.iter().filter_map(|event| match event {
            Event::Media { error } => Some(error.to_string()),
            _ => None,
        });
        media.collect::<Vec<_>>()
    };
    for kept in [[0x42, 0xc0, 0x1f], [0x42, 0xc0, 0x28]] {
        world.input(Input::Source(format(kept)));
    }
    assert_eq!(told(&world), Vec::<String>::new());
    // Who comes later is told the level that it gets.
    world.offer("dan|5", OFFER);
    let answer = world.said.iter().rev().find(|said| said.contains("profile-level-id")).expect("an answer");
    assert!(answer.contains("profile-level-id=42e028"), "{answer}");
    world.call("dan|5", "call:hangup", "{}");
    world.input(Input::Source(format([0x64, 0x00, 0x28])));
    let words = told(&world);
    assert!(words.len() == 1 && words[0].contains("640028") && words[0].contains("(2)"), "{words:?}");
    world.offer("ann|4", OFFER);
    assert!(told(&world).len() == 2, "and to who comes then");
}

#[test]
fn who_takes_frames_runs_the_source_as_a_viewer_does() {
    use super::frames::Outbox;

    let mut world = World::new(4, true);
    world.studio.take_frames(1, vec![], Outbox::new(2), world.now);
    world.drain();
    assert_eq!(world.produced, [BOTH]);
    world.studio.take_frames(2, vec![Codec::Vp8], Outbox::new(2), world.now);
    world.drain();
    assert_eq!(world.produced[1..], [[VIDEO_H264, VIDEO_VP8, AUDIO_OPUS]]);
    world.studio.drop_frames(1, world.now);
    world.studio.drop_frames(2, world.now);
    world.drain();
    world.pass(Duration::from_secs(11));
    assert_eq!(world.produced.last(), Some(&NOTHING.to_vec()), "nobody is left");
}

#[test]
fn a_taker_that_is_slow_goes_on_at_a_key_frame_that_is_asked_for() {
    use super::frames::Outbox;

    let mut world = World::new(4, true);
    world.studio.take_frames(1, vec![Codec::H264], Outbox::new(3), world.now);
    world.drain();
    for number in 0..4 {
        world.frame(VIDEO_H264, Codec::H264, number == 0);
    }
    world.pass(Duration::from_secs(1));
    assert_eq!(world.key_frames, [VIDEO_H264], "the fourth found no room");
    world.frame(VIDEO_H264, Codec::H264, false);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.key_frames.len(), 2, "asked for until it comes");
    world.frame(VIDEO_H264, Codec::H264, true);
    world.frame(VIDEO_H264, Codec::H264, false);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.key_frames.len(), 2);
}

#[test]
fn a_source_that_gave_up_ends_frames_and_snapshots() {
    use super::frames::Outbox;

    let mut world = World::with_jpeg();
    world.studio.take_frames(1, vec![], Outbox::new(2), world.now);
    let slot = world.studio.snapshot(world.now);
    world.drain();
    world.input(Input::Source(SourceEvent::GaveUp));
    assert_eq!(outcome(slot).err(), Some(SnapshotError::SourceEnded));
    let produced = world.produced.len();
    world.pass(Duration::from_secs(60));
    assert_eq!(world.produced.len(), produced, "it is not tried again for them");
}

#[test]
fn a_snapshot_is_made_once_and_no_encoder_stays() {
    let mut world = World::with_jpeg();
    let slots = [world.studio.snapshot(world.now), world.studio.snapshot(world.now)];
    world.drain();
    assert_eq!(world.produced, [[JPEG]]);
    assert!(world.sources.is_empty(), "nobody watches: that is no news");
    world.frame(JPEG, Codec::Jpeg, true);
    for slot in slots {
        assert_eq!(outcome(slot).expect("a picture").jpeg[..], [0xab]);
    }
    assert_eq!(world.produced, [vec![JPEG], vec![]]);
    // Within a second the same one; then another.
    world.pass(Duration::from_millis(900));
    assert!(outcome(world.studio.snapshot(world.now)).is_ok());
    world.drain();
    assert_eq!(world.produced.len(), 2);
    world.pass(Duration::from_millis(200));
    let slot = world.studio.snapshot(world.now);
    world.drain();
    assert_eq!(world.produced.len(), 3);
    // A source that gives nothing is not waited for for ever.
    world.pass(Duration::from_secs(11));
    assert_eq!(outcome(slot).err(), Some(SnapshotError::Timeout));
    assert_eq!(world.produced.last(), Some(&NOTHING.to_vec()));
}

#[test]
fn who_comes_to_a_source_that_plays_already_is_told_so() {
    let mut world = World::with_jpeg();
    let slot = world.studio.snapshot(world.now);
    world.drain();
    for event in [SourceEvent::State(SourceStatus::of(SourceState::Playing)), SourceEvent::Started] {
        world.input(Input::Source(event));
    }
    world.offer("bob|2", OFFER);
    let states: Vec<_> = world.sources.iter().map(|(status, _)| status.map(|s| s.state)).collect();
    assert_eq!(states, [Some(SourceState::Playing)]);
    world.frame(JPEG, Codec::Jpeg, true);
    assert!(outcome(slot).is_ok());
    assert_eq!(world.sources.len(), 1, "the snapshot's end is no news");
}

#[test]
fn each_who_asks_for_a_snapshot_waits_as_long() {
    let mut world = World::with_jpeg();
    let first = world.studio.snapshot(world.now);
    world.drain();
    world.pass(Duration::from_secs(9));
    let second = world.studio.snapshot(world.now);
    world.drain();
    world.pass(Duration::from_secs(2));
    assert_eq!(outcome(first).err(), Some(SnapshotError::Timeout));
    world.frame(JPEG, Codec::Jpeg, true);
    assert!(outcome(second).is_ok(), "it came within its time");
}

#[test]
fn a_source_without_jpeg_says_so_at_once() {
    let mut world = World::new(1, true);
    let slot = world.studio.snapshot(world.now);
    world.drain();
    assert_eq!(outcome(slot).err(), Some(SnapshotError::NoJpeg));
    assert!(world.produced.is_empty());
}

#[test]
fn another_source_goes_on_in_the_same_calls() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    world.input(Input::Source(SourceEvent::Started));
    let mut h264 = streams(false, None);
    h264.retain(|info| info.codec == Codec::H264);
    world.input(Input::Replaced { streams: h264, live: true });
    assert_eq!(world.produced, [vec![VIDEO_H264, AUDIO_OPUS], vec![VIDEO_H264]]);
    assert_eq!(world.said("call:hangup"), 0);
    // Who comes later is told of no audio.
    world.offer("eve|3", OFFER);
    let answer = world.said.iter().find(|said| said.starts_with("call:answer eve")).expect("an answer");
    let audio = answer.split("m=audio").nth(1).and_then(|rest| rest.split("m=video").next());
    assert!(audio.expect("a section").contains("a=inactive"), "{answer}");
}

#[test]
fn settings_change_while_it_runs() {
    let mut world = World::new(1, true);
    world.offer("bob|2", OFFER);
    world.connect("bob|2");
    let bitrate = Limits { max: 500_000, ..Limits::default() };
    let settings = super::studio::LiveSettings {
        bitrate,
        linger: Duration::from_secs(2),
        max_viewers: 2,
        answer: Answer::Ask,
        snapshot_every: Duration::from_secs(1),
    };
    world.input(Input::Settings(settings));
    assert_eq!(world.bitrates.last(), Some(&500_000));
    world.offer("eve|3", OFFER);
    assert!(matches!(world.events.last(), Some(Event::Incoming { .. })), "{:?}", world.events);
    world.offer("dan|4", OFFER);
    world.input(Input::Call {
        from: "bob|2",
        whence: Whence::Unknown,
        subtype: "call:hangup",
        data: Some("{}"),
        call: Some("bob|2"),
    });
    world.pass(Duration::from_millis(2_100));
    assert_eq!(world.produced.last(), Some(&NOTHING.to_vec()), "it lingers for two seconds");
}

#[test]
fn the_largest_values_mean_no_limit() {
    let mut world = World::new(usize::MAX, true);
    let settings = super::studio::LiveSettings {
        bitrate: Limits::default(),
        linger: Duration::MAX,
        max_viewers: usize::MAX,
        answer: Answer::All,
        snapshot_every: Duration::MAX,
    };
    world.input(Input::Settings(settings));
    world.offer("bob|2", OFFER);
    world.connect("bob|2");
    assert_eq!(world.said("call:answer"), 1);
    let mut world = World::with_jpeg();
    world.input(Input::Settings(super::studio::LiveSettings {
        bitrate: Limits::default(),
        linger: Duration::MAX,
        max_viewers: 4,
        answer: Answer::All,
        snapshot_every: Duration::MAX,
    }));
    let first = world.studio.snapshot(world.now);
    world.frame(JPEG, Codec::Jpeg, true);
    assert!(outcome(first).is_ok());
    world.pass(Duration::from_secs(9_999));
    let again = world.studio.snapshot(world.now);
    assert!(outcome(again).is_ok(), "it is served for ever");
}

#[test]
fn all_calls_end_at_once_those_that_connect_too() {
    let mut world = World::with(4, true, Answer::Ask);
    for who in ["bob|2", "eve|3", "dan|4"] {
        world.offer(who, OFFER);
    }
    let asked = world.events.iter().filter_map(|event| match event {
        Event::Incoming { id, .. } => Some(*id),
        _ => None,
    });
    for id in asked.take(2).collect::<Vec<_>>() {
        world.studio.accept(id, world.now).expect("it waits");
    }
    world.drain();
    world.connect("bob|2");
    world.drain();
    assert_eq!(world.studio.hang_up_all(&"button".into(), world.now), 3);
    world.drain();
    for who in ["call:hangup bob|2", "call:hangup eve|3", "call:reject dan|4"] {
        assert_eq!(world.said(&format!(r#"{who} {{"reason":"button"}}"#)), 1, "{:?}", world.said);
    }
    assert!(world.studio.is_idle());
    let counts = world.events.iter().filter_map(|event| match event {
        Event::Viewers { count } => Some(*count),
        _ => None,
    });
    assert_eq!(counts.collect::<Vec<_>>(), [1, 0]);
}

const JPEG: StreamId = StreamId(7);

fn outcome(slot: std::sync::Arc<super::snapshot::Slot>) -> crate::media::sink::Outcome {
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
            data: [0xab].into(),
        };
        self.input(Input::Frame(&frame));
    }
}
