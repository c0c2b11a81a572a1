//! What a viewer is sent of its video: another rendition, key frames only, nothing; and never more than its link
//! carries.

use std::time::Duration;

use str0m::format::Codec as Theirs;
use str0m::media::Direction;

use super::world::*;
use crate::media::{Codec, StreamId, StreamInfo};
use crate::rtc::{Config, Serving, SessionId};

const VIEWER: SessionId = SessionId(1);

fn renditions() -> Vec<StreamInfo> {
    let mut small = stream(SMALL, Codec::H264);
    small.rendition = 1;
    vec![small, stream(H264, Codec::H264), stream(OPUS, Codec::Opus)]
}

/// A viewer of two renditions, connected, that has seen the best one for two seconds.
fn watched(config: Config, viewers: u64) -> World {
    let mut w = World::with(config);
    w.streams = vec![H264, SMALL, OPUS];
    w.fanout.set_streams(&renditions());
    for id in 1..=viewers {
        w.viewer(id);
    }
    w.run(ms(2000));
    w
}

/// Of each frame that a viewer got: when, of which stream, and whether it is a key frame.
fn got(w: &World, id: u64) -> Vec<(Duration, StreamId, bool)> {
    let of = |data: &[u8]| {
        let is_in = |stream: &StreamId| w.fed[stream].iter().any(|fed| **fed == *data);
        [H264, SMALL].into_iter().find(is_in).expect("a whole frame that was fed")
    };
    let frames = w.browsers[&id].frames(Theirs::H264);
    frames.iter().map(|m| (m.network_time - w.start, of(&m.data), m.data[4] & 0x1f == 7)).collect()
}

/// No frame is decoded without those before it.
fn check_decodes(w: &World, id: u64) {
    let frames = w.browsers[&id].frames(Theirs::H264);
    let mut last: Option<(StreamId, usize)> = None;
    for frame in frames {
        let (stream, number) = [H264, SMALL]
            .into_iter()
            .find_map(|stream| Some((stream, w.fed[&stream].iter().position(|fed| **fed == *frame.data)?)))
            .expect("a whole frame that was fed");
        let follows = last.is_some_and(|(s, n)| s == stream && n + 1 == number);
        assert!(follows || frame.data[4] & 0x1f == 7, "frame {number} of {stream:?} after {last:?}");
        last = Some((stream, number));
    }
    let times: Vec<u64> = frames_times(w, id);
    assert!(times.is_sorted_by(|a, b| a < b), "time goes back: {times:?}");
}

fn frames_times(w: &World, id: u64) -> Vec<u64> {
    w.browsers[&id].frames(Theirs::H264).iter().map(|m| m.time.numer()).collect()
}

#[test]
fn a_viewer_changes_to_another_rendition_and_back_without_a_gap() {
    let mut w = watched(Config::default(), 2);
    assert_eq!(w.fanout.stats(VIEWER).expect("lives").video, Some(H264));
    let changed = w.now - w.start;
    w.fanout.serve(VIEWER, Serving::Frames(SMALL), w.now);
    w.run(ms(1500));
    assert_eq!(w.fanout.stats(VIEWER).expect("lives").video, Some(SMALL));
    let back = w.now - w.start;
    w.fanout.serve(VIEWER, Serving::Frames(H264), w.now);
    w.run(ms(1500));
    let all = got(&w, 1);
    for frames in all.windows(2) {
        let (gap, most) = (frames[1].0 - frames[0].0, if frames[1].1 == SMALL { ms(80) } else { ms(120) });
        assert!(gap <= most, "{gap:?} before {:?}", frames[1]);
    }
    let small = |from: Duration, to: Duration| {
        all.iter().filter(|(at, stream, _)| *at >= from && *at < to && *stream == SMALL).count()
    };
    assert_eq!(small(Duration::ZERO, changed), 0);
    assert!(small(changed + ms(300), back) >= 15, "{all:?}");
    assert_eq!(small(back + ms(300), back + ms(1500)), 0);
    check_decodes(&w, 1);
    check_decodes(&w, 2);
    assert!(got(&w, 2).iter().all(|(_, stream, _)| *stream == H264), "the other viewer sees the best one");
    let ssrcs: std::collections::BTreeSet<_> =
        w.browsers[&1].frames(Theirs::H264).iter().map(|m| *m.seq_range.start()).collect();
    assert_eq!(ssrcs.len(), all.len(), "its numbers go on");
}

#[test]
fn frames_since_the_last_key_frame_make_a_change_instant() {
    let mut w = watched(Config::default(), 2);
    w.fanout.serve(SessionId(2), Serving::Frames(SMALL), w.now);
    w.run(ms(500));
    let asked = w.events.iter().filter(|(_, e)| is_join(e, SMALL)).count();
    w.fanout.serve(VIEWER, Serving::Frames(SMALL), w.now);
    w.run(ms(30));
    assert_eq!(w.fanout.stats(VIEWER).expect("lives").video, Some(SMALL));
    assert_eq!(w.events.iter().filter(|(_, e)| is_join(e, SMALL)).count(), asked, "no key frame was needed");
    w.run(ms(500));
    check_decodes(&w, 1);
}

#[test]
fn the_same_selection_again_changes_nothing() {
    let mut w = watched(Config::default(), 1);
    for _ in 0..3 {
        w.fanout.serve(VIEWER, Serving::Frames(SMALL), w.now);
    }
    w.run(ms(50));
    assert_eq!(w.events.iter().filter(|(_, e)| is_join(e, SMALL)).count(), 1, "one key frame is enough");
    w.run(ms(500));
    assert_eq!(w.fanout.stats(VIEWER).expect("lives").video, Some(SMALL));
}

#[test]
fn key_frames_alone_and_nothing() {
    let mut w = watched(Config::default(), 1);
    w.fanout.serve(VIEWER, Serving::KeyFrames(H264), w.now);
    w.run(ms(100));
    let from = w.now - w.start;
    w.run(ms(6000));
    let frames: Vec<_> = got(&w, 1).into_iter().filter(|(at, ..)| *at > from).collect();
    assert!(frames.iter().all(|(_, _, key)| *key), "{frames:?}");
    assert!((4..=6).contains(&frames.len()), "about one a second: {frames:?}");
    w.fanout.serve(VIEWER, Serving::Nothing, w.now);
    w.run(ms(100));
    let before = got(&w, 1).len();
    w.run(ms(3000));
    assert_eq!(got(&w, 1).len(), before);
    w.fanout.serve(VIEWER, Serving::Frames(H264), w.now);
    w.run(ms(1000));
    assert!(got(&w, 1).len() > before + 20);
    check_decodes(&w, 1);
}

#[test]
fn a_selection_lasts_through_a_renegotiation() {
    let mut w = watched(Config::default(), 1);
    w.fanout.serve(VIEWER, Serving::Frames(SMALL), w.now);
    w.run(ms(500));
    w.reoffer(1, |b| {
        let sound = b.mids[0].1;
        let mut api = b.rtc.sdp_api();
        api.set_direction(sound, Direction::Inactive);
        let (offer, pending) = api.apply().expect("a change");
        (offer.to_sdp_string(), pending)
    });
    let from = w.now - w.start;
    w.run(ms(1000));
    let frames: Vec<_> = got(&w, 1).into_iter().filter(|(at, ..)| *at > from + ms(100)).collect();
    assert!(frames.len() > 10 && frames.iter().all(|(_, stream, _)| *stream == SMALL), "{frames:?}");
}

#[test]
fn what_did_not_pass_holds_no_smaller_rendition_back() {
    for after in [300, 600, 1000, 1500, 3000] {
        let mut w = World::new();
        // 2 Mbit/s for a link of 300 kbit/s, and then 120.
        (w.streams, w.frame_size, w.link) = (vec![H264, SMALL], 8000, Some(300_000));
        w.fanout.set_streams(&renditions()[..2]);
        w.viewer(1);
        w.run(ms(after));
        let changed = w.now - w.start;
        w.fanout.serve(VIEWER, Serving::Frames(SMALL), w.now);
        w.run(ms(5000));
        let small: Vec<_> = got(&w, 1).into_iter().filter(|(_, stream, _)| *stream == SMALL).collect();
        let first = small.first().expect("it arrives").0 - changed;
        assert!(first <= ms(1000), "after {after}: {first:?}");
        let from = changed + first;
        let count = small.iter().filter(|(at, ..)| *at < from + ms(2000)).count();
        assert!(count >= 10, "after {after}: {count} frames of 30");
        check_decodes(&w, 1);
    }
}

#[test]
fn a_key_frame_that_is_on_its_way_is_not_requested_again() {
    let mut w = watched(Config::default(), 1);
    w.link = Some(1_000_000);
    let wanted = |w: &World| w.events.iter().filter(|(_, e)| is_loss(e, H264)).count();
    let before = wanted(&w);
    w.ask_key_frame(1);
    let is_key = |w: &World| w.fed[&H264].last().is_some_and(|frame| frame[4] & 0x1f == 7);
    while !is_key(&w) {
        w.run(ms(5));
    }
    assert_eq!(wanted(&w) - before, 1);
    w.ask_key_frame(1);
    w.run(ms(500));
    assert_eq!(wanted(&w) - before, 1, "it came");
    w.ask_key_frame(1);
    w.run(ms(500));
    assert_eq!(wanted(&w) - before, 2);
}

#[test]
fn a_slow_link_never_gets_more_than_its_estimate_for_over_a_second() {
    // What an encoder that does not follow makes of a link, and how many of its frames arrive in 20 s: half of what fits,
    // because each key frame fills a queue that drains at half the rate.
    let table = [(9000, 400_000, 30), (8000, 300_000, 20), (8000, 400_000, 30), (9000, 300_000, 20)];
    let enough = table.into_iter().filter(|(frame_size, link, least)| {
        let mut w = World::new();
        (w.streams, w.frame_size, w.link) = (vec![H264], *frame_size, Some(*link));
        w.fanout.set_streams(&[stream(H264, Codec::H264)]);
        w.viewer(1);
        w.run(ms(100));
        let (mut sent, mut ahead, mut before) = (0, 0.0_f64, 0.0_f64);
        for tick in 0..2000 {
            w.run(ms(10));
            let stats = w.fanout.stats(VIEWER).expect("lives");
            let bits = (stats.bytes - sent) as f64 * 8.0;
            sent = stats.bytes;
            let estimate = f64::from(stats.estimate.expect("connected"));
            // What was sent at a lower estimate takes less time at this one.
            ahead = (ahead - 0.01).max(0.0) * (before / estimate).min(1.0) + bits / estimate;
            before = estimate;
            // A second, and the key frame of two thirds of a second that crosses that line; probes are in it, too.
            assert!(ahead < 2.0, "{frame_size} bytes for {link} bit/s: {ahead:.1} s ahead at {tick}");
        }
        check_decodes(&w, 1);
        let frames = got(&w, 1).len();
        println!("{frame_size} bytes for {link} bit/s: {frames} frames");
        frames >= *least
    });
    assert_eq!(enough.count(), table.len());
}
