//! What viewers get of a video with a small rendition, and what runs for that.

use std::time::Duration;

use super::*;
use crate::camera::demand::Wish;

const SMALL: StreamId = StreamId(14);
const CAROL: Sink = Sink::Call(CallId(3));
const FRAMES: Sink = Sink::Frames(1);
const SNAPSHOT: Sink = Sink::Snapshot;
const NOTHING: [&str; 0] = [];

fn renditions() -> Vec<StreamInfo> {
    let mut small = video(SMALL, Codec::H264, 640, 360);
    small.rendition = 1;
    let Format::Video(format) = &mut small.format else { panic!("it is video") };
    format.fps = 15;
    vec![video(VIDEO, Codec::H264, 1280, 720), StreamInfo::new(AUDIO, Codec::Opus), small]
}

impl World {
    /// Alice is on a fast network and Bob on one of 300 kbit/s, and everything has settled.
    fn fast_and_slow() -> World {
        let mut w = World::of(&renditions());
        w.celsius = Some(50.0);
        w.wants(ALICE, &[VIDEO, AUDIO]);
        w.flows();
        w.pass(5 * SECOND, &[(ALICE, 5_000_000)]);
        w.wants(BOB, &[VIDEO, AUDIO]);
        w.pass(SECOND, &[(ALICE, 5_000_000), (BOB, 300_000)]);
        w
    }

    /// The same, and the small rendition works.
    fn with_small() -> World {
        let mut w = World::fast_and_slow();
        w.key_frame(SMALL);
        w
    }

    fn key_frame(&mut self, stream: StreamId) {
        self.input(Input::KeyFrame { stream, bytes: 20_000 });
    }
}

#[test]
fn a_slow_viewer_gets_the_small_rendition_at_its_bitrate() {
    let mut w = World::with_small();
    assert_eq!(
        w.taken("serve"),
        ["serve 1 full 10: full", "serve 2 full 10: full", "serve 2 small 14: network",]
    );
    assert_eq!((w.demand.bitrate(VIDEO), w.demand.bitrate(SMALL)), (Some(4_000_000), Some(225_000)));
    // It is told its bitrate before it starts.
    let mut w = World::with_small();
    let lines = w.taken("");
    let at = |what: &str| lines.iter().position(|line| line == what);
    assert!(at("rate 14 225000").is_some() && at("rate 14 225000") < at("want 10,12,14"), "{lines:?}");
    // The lowest of those who have it counts, down to its floor.
    w.wants(CAROL, &[VIDEO]);
    w.pass(2 * SECOND, &[(ALICE, 5_000_000), (BOB, 300_000), (CAROL, 60_000)]);
    assert_eq!(w.demand.bitrate(SMALL), Some(51_000));
    w.taken("");
    // Such an estimate may pass, and a key frame of the main rendition would cost as much as seconds of the small one.
    w.pass(SECOND, &[(ALICE, 5_000_000), (BOB, 300_000), (CAROL, 30_000)]);
    assert_eq!(w.taken("serve 3"), Vec::<String>::new());
    w.pass(2 * SECOND, &[(ALICE, 5_000_000), (BOB, 300_000), (CAROL, 30_000)]);
    assert_eq!(w.taken("serve 3").last().map(String::as_str), Some("serve 3 key frames 14: network"));
    assert_eq!(w.demand.bitrate(SMALL), Some(225_000));
    w.pass(2 * SECOND, &[(ALICE, 5_000_000), (BOB, 300_000), (CAROL, 3_000)]);
    assert_eq!(w.taken("serve"), ["serve 3 nothing: network"]);
}

#[test]
fn the_small_rendition_stops_five_seconds_after_its_last_viewer_left_it() {
    let all = [(ALICE, 5_000_000), (BOB, 5_000_000)];
    let mut w = World::with_small();
    w.taken("");
    w.pass(Duration::from_millis(700), &all);
    assert_eq!(w.taken("serve"), ["serve 2 full 10: full"]);
    w.pass(Duration::from_millis(4_500), &all);
    assert_eq!(w.taken("want"), NOTHING);
    w.pass(SECOND, &all);
    assert_eq!(w.taken("want"), ["want 10,12"]);
    // Nobody is left who could want it back.
    let mut w = World::with_small();
    w.taken("");
    w.wants(ALICE, &[]);
    w.wants(BOB, &[]);
    w.wants(FRAMES, &[VIDEO]);
    assert_eq!(w.taken("want").last().map(String::as_str), Some("want 10"));
}

#[test]
fn nobody_is_left_on_a_small_rendition_that_is_withdrawn() {
    let mut w = World::with_small();
    w.taken("");
    let mut left = renditions();
    left.retain(|info| info.id != SMALL);
    w.input(Input::Streams(left));
    assert_eq!(w.taken("serve").last().map(String::as_str), Some("serve 2 key frames 10: network"));
    w.pass(10 * SECOND, &[(ALICE, 5_000_000), (BOB, 300_000)]);
    assert!(!w.demand.running().contains(&SMALL));
    w.input(Input::Streams(renditions()));
    w.pass(2 * SECOND, &[(ALICE, 5_000_000), (BOB, 300_000)]);
    assert_eq!(w.taken("serve 2").last().map(String::as_str), Some("serve 2 small 14: network"));
}

#[test]
fn a_lone_viewer_caps_the_encoder_itself() {
    let mut w = World::of(&renditions());
    w.wants(ALICE, &[VIDEO]);
    w.flows();
    w.taken("");
    w.pass(SECOND, &[(ALICE, 300_000)]);
    assert_eq!(w.taken("rate"), ["rate 10 255000"]);
    assert_eq!(w.taken("want"), NOTHING);
    // Below the lowest bitrate the small rendition is the better one.
    w.pass(SECOND, &[(ALICE, 100_000)]);
    assert_eq!(w.taken("serve").last().map(String::as_str), Some("serve 1 small 14: network"));
}

#[test]
fn a_lone_viewer_is_limited_by_nobody_else() {
    let mut w = World::of(&renditions());
    w.wants(ALICE, &[VIDEO]);
    w.flows();
    w.pass(SECOND, &[(ALICE, 300_000)]);
    w.taken("");
    // More than the encoder follows at once.
    for estimate in (400_000..6_000_000).step_by(200_000) {
        w.pass(Duration::from_millis(100), &[(ALICE, estimate)]);
    }
    w.pass(10 * SECOND, &[(ALICE, 6_000_000)]);
    let told = w.taken("serve");
    assert!(told.iter().all(|line| !line.ends_with("others")), "{told:?}");
    assert_eq!(told.last().map(String::as_str), Some("serve 1 full 10: full"));
}

#[test]
fn the_bitrate_that_was_asked_for_stays_while_the_network_carries_it() {
    let mut w = World::of(&renditions());
    w.wants(ALICE, &[VIDEO]);
    w.flows();
    w.taken("");
    w.pass(10 * SECOND, &[(ALICE, 1_000_000)]);
    assert_eq!(w.taken("rate"), NOTHING);
}

#[test]
fn a_joiner_lowers_nothing_for_others() {
    for streams in [renditions(), streams()] {
        let mut w = World::of(&streams);
        w.wants(ALICE, &[VIDEO]);
        w.flows();
        w.pass(5 * SECOND, &[(ALICE, 5_000_000)]);
        w.taken("");
        w.wants(BOB, &[VIDEO]);
        w.pass(4 * SECOND, &[(ALICE, 5_000_000), (BOB, 3_000_000)]);
        assert_eq!(w.demand.bitrate(VIDEO), Some(4_000_000));
        assert_eq!(w.taken("serve").len(), 2, "something at once, and what the network carries");
    }
}

#[test]
fn the_applications_sinks_take_the_main_rendition_and_have_no_network() {
    let mut w = World::with_small();
    w.wants(FRAMES, &[VIDEO]);
    w.wants(SNAPSHOT, &[VIDEO]);
    w.taken("");
    w.pass(5 * SECOND, &[(ALICE, 5_000_000), (BOB, 300_000), (FRAMES, 1_000), (SNAPSHOT, 1_000)]);
    assert_eq!((w.taken("serve"), w.demand.bitrate(VIDEO)), (vec![], Some(4_000_000)));
    w.wants(ALICE, &[]);
    w.wants(BOB, &[]);
    w.pass(10 * SECOND, &[]);
    assert_eq!(w.taken("want").last().map(String::as_str), Some("want 10"));
}

#[test]
fn a_viewer_that_wishes_less_gets_less_and_counts_for_nothing() {
    let all = [(ALICE, 5_000_000), (BOB, 5_000_000)];
    let mut w = World::of(&renditions());
    w.wants(ALICE, &[VIDEO]);
    w.wants(BOB, &[VIDEO]);
    w.flows();
    w.pass(5 * SECOND, &all);
    w.taken("");
    for (wish, line) in [
        (Wish::Small, "serve 2 small 14: wish"),
        (Wish::KeyFrames, "serve 2 key frames 10: wish"),
        (Wish::Full, "serve 2 full 10: full"),
    ] {
        w.input(Input::Wish { sink: BOB, wish });
        assert_eq!(w.taken("serve"), [line], "at once");
    }
    w.input(Input::Wish { sink: BOB, wish: Wish::KeyFrames });
    w.pass(10 * SECOND, &[(ALICE, 5_000_000), (BOB, 2_000_000)]);
    assert_eq!(w.demand.bitrate(VIDEO), Some(4_000_000));
    // Without a small rendition, its wish is for the main one.
    let mut w = World::new();
    w.wants(ALICE, &[VIDEO]);
    w.input(Input::Wish { sink: ALICE, wish: Wish::Small });
    assert_eq!(w.taken("serve"), ["serve 1 full 10: full"]);
}

#[test]
fn what_a_viewer_wishes_for_again_waits_where_others_pay_for_its_key_frame() {
    let all = [(ALICE, 5_000_000), (BOB, 5_000_000)];
    let mut w = World::of(&renditions());
    w.wants(ALICE, &[VIDEO]);
    w.wants(BOB, &[VIDEO]);
    w.flows();
    w.pass(5 * SECOND, &all);
    w.taken("");
    for _ in 0..2 {
        w.input(Input::Wish { sink: BOB, wish: Wish::KeyFrames });
        w.input(Input::Wish { sink: BOB, wish: Wish::Full });
        assert_eq!(w.taken("serve 2"), ["serve 2 key frames 10: wish", "serve 2 full 10: full"], "at once");
    }
    w.input(Input::Wish { sink: BOB, wish: Wish::KeyFrames });
    w.input(Input::Wish { sink: BOB, wish: Wish::Full });
    assert_eq!(w.taken("serve 2"), ["serve 2 key frames 10: wish"]);
    w.pass(4 * SECOND, &all);
    assert_eq!(w.taken("serve 2"), [""; 0]);
    w.pass(2 * SECOND, &all);
    assert_eq!(w.taken("serve 2"), ["serve 2 full 10: full"]);
    // What it asks for while it gets single frames costs it nothing: those come as they come.
    w.pass(20 * SECOND, &all);
    w.input(Input::Wish { sink: BOB, wish: Wish::KeyFrames });
    for _ in 0..10 {
        w.pass(SECOND, &all);
        w.input(Input::KeyFrameWanted { sink: Some(BOB), stream: VIDEO, reason: KeyFrameReason::Join });
    }
    w.taken("");
    w.input(Input::Wish { sink: BOB, wish: Wish::Full });
    assert_eq!(w.taken("serve 2"), ["serve 2 full 10: full"], "at once");
    // Nobody pays for one that is alone.
    w.wants(ALICE, &[]);
    for _ in 0..5 {
        w.input(Input::Wish { sink: BOB, wish: Wish::KeyFrames });
        w.input(Input::Wish { sink: BOB, wish: Wish::Full });
        assert_eq!(w.taken("serve 2").len(), 2);
    }
}

#[test]
fn a_viewer_of_key_frames_gets_them_as_often_as_its_network_carries() {
    let all = [(ALICE, 5_000_000), (BOB, 300_000)];
    // Beside others once in 5 s; a key frame of 20 kB takes 0.6 s.
    let mut w = World::new();
    w.wants(ALICE, &[VIDEO]);
    w.flows();
    w.pass(5 * SECOND, &all[..1]);
    w.wants(BOB, &[VIDEO]);
    w.pass(SECOND, &all);
    assert_eq!(w.taken("serve 2").last().map(String::as_str), Some("serve 2 key frames 10: network"));
    w.key_frame(VIDEO);
    w.pass(20 * SECOND, &all);
    assert_eq!(w.taken("key 10").len(), 4);
    // Alone, in a stream that nobody else gets, as its network carries: 20 kB at 85 kbit/s take 1.9 s.
    let mut w = World::new();
    w.wants(ALICE, &[VIDEO]);
    w.flows();
    w.pass(SECOND, &[(ALICE, 100_000)]);
    w.key_frame(VIDEO);
    w.taken("");
    w.pass(20 * SECOND, &[(ALICE, 100_000)]);
    let count = w.taken("key 10").len();
    assert!((9..=11).contains(&count), "{count}");
}

#[test]
fn a_viewer_that_asks_for_too_many_key_frames_gets_the_small_rendition() {
    let all = [(ALICE, 5_000_000), (BOB, 5_000_000)];
    let ask = |w: &mut World, stream| {
        w.input(Input::KeyFrameWanted { sink: Some(BOB), stream, reason: KeyFrameReason::Loss });
    };
    let mut w = World::of(&renditions());
    w.wants(ALICE, &[VIDEO]);
    w.wants(BOB, &[VIDEO]);
    w.flows();
    w.pass(5 * SECOND, &all);
    w.taken("");
    for _ in 0..4 {
        ask(&mut w, VIDEO);
        w.pass(Duration::from_millis(600), &all);
    }
    let log = w.taken("");
    assert_eq!(
        log.iter().filter(|line| *line == "key 10").count(),
        3,
        "the one it begins with, and two: {log:?}"
    );
    assert!(log.contains(&"serve 2 small 14: loss".to_owned()), "{log:?}");
    // More than that would not be seen.
    assert_eq!(w.demand.bitrate(SMALL), Some(1_382_400));
    // There it may ask as often as it likes.
    for _ in 0..4 {
        ask(&mut w, SMALL);
        w.pass(Duration::from_millis(600), &all);
    }
    assert_eq!(w.taken("key 14").len(), 4);
    w.key_frame(SMALL);
    w.pass(40 * SECOND, &all);
    assert_eq!(w.taken("serve"), ["serve 2 full 10: full"]);
}

#[test]
fn heat_ends_the_small_rendition_once_the_main_one_is_as_small() {
    let all = [(ALICE, 5_000_000), (BOB, 300_000)];
    let mut w = World::with_small();
    w.celsius = Some(76.0);
    w.taken("");
    w.pass(50 * SECOND, &all);
    let log = w.taken("");
    let at =
        |what: &str| log.iter().position(|line| line == what).unwrap_or_else(|| panic!("{what}: {log:?}"));
    assert!(at("quality 10 67 15") < at("quality 10 50 15"));
    assert!(at("quality 14 100 10") < at("serve 2 key frames 10: heat"), "both cool down");
    assert!(at("quality 10 67 15") < at("serve 2 key frames 10: heat"));
    assert!(at("serve 2 key frames 10: heat") < at("want 10,12"));
}

#[test]
fn a_small_rendition_that_gives_no_frames_is_done_without_for_a_minute() {
    let all = [(ALICE, 5_000_000), (BOB, 300_000)];
    let mut w = World::fast_and_slow();
    w.taken("");
    w.pass(5 * SECOND, &all);
    assert_eq!(w.taken("serve"), ["serve 2 key frames 10: network"]);
    w.pass(61 * SECOND, &all);
    assert_eq!(w.taken("serve"), ["serve 2 small 14: network"]);
    w.key_frame(SMALL);
    w.pass(20 * SECOND, &all);
    assert_eq!(w.taken("serve"), NOTHING);
}

#[test]
fn an_estimate_that_sags_while_little_is_sent_costs_nothing() {
    let link = |sent| Input::Link { sink: ALICE, sent: Some(sent), loss: 0.0, round_trip: None };
    let mut w = World::of(&renditions());
    w.wants(ALICE, &[VIDEO]);
    w.flows();
    w.pass(5 * SECOND, &[(ALICE, 5_000_000)]);
    w.input(link(50_000));
    w.taken("");
    for part in 1..=40 {
        w.pass(Duration::from_millis(100), &[(ALICE, 5_000_000 - part * 100_000)]);
    }
    assert_eq!(w.taken("rate"), NOTHING);
    w.input(link(900_000));
    assert_eq!(w.taken("rate"), ["rate 10 850000"]);
    // What falls in one step does so because the network is full.
    w.input(link(50_000));
    w.pass(SECOND, &[(ALICE, 500_000)]);
    assert_eq!(w.taken("rate"), ["rate 10 425000"]);
}

#[test]
fn an_encoder_with_a_fixed_bitrate_is_for_all() {
    let mut w = World::of(&renditions());
    w.input(Input::Adjustable { stream: VIDEO, bitrate: false, quality: false });
    w.wants(ALICE, &[VIDEO]);
    w.flows();
    w.pass(10 * SECOND, &[(ALICE, 100_000)]);
    assert_eq!(w.taken("serve"), ["serve 1 full 10: full"]);
}

#[test]
fn audio_alone_is_not_shared() {
    let mut w = World::of(&renditions());
    w.wants(ALICE, &[AUDIO]);
    w.flows();
    w.pass(10 * SECOND, &[(ALICE, 10_000)]);
    assert_eq!((w.taken("serve"), w.taken("want")), (vec![], vec![]));
}
