//! Probes for bandwidth: what they cost, and what becomes of them beside everything else.

use str0m::format::Codec as Theirs;
use str0m::media::{Direction, MediaKind};

use super::world::*;
use crate::rtc::{Config, SessionId};

fn pause(w: &mut World) {
    w.reoffer(1, |b| {
        let mids: Vec<_> = b.mids.iter().map(|(_, mid)| *mid).collect();
        let mut api = b.rtc.sdp_api();
        for mid in mids {
            api.set_direction(mid, Direction::Inactive);
        }
        let (offer, pending) = api.apply().expect("a change");
        (offer.to_sdp_string(), pending)
    });
}

fn wakes_each_second(w: &mut World) -> u64 {
    let before = w.wakes;
    w.run(ms(10_000));
    (w.wakes - before) / 10
}

#[test]
fn a_viewer_that_cannot_be_probed_costs_few_wake_ups() {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(3000));
    pause(&mut w);
    w.run(ms(1000));
    let paused = wakes_each_second(&mut w);
    // Audio is not sent again, so there is nothing to probe with.
    let mut w = World::new();
    w.browser(1, |c| c);
    w.call_for(1, &[MediaKind::Audio], Direction::RecvOnly).expect("accepted");
    w.run(ms(3000));
    let listening = wakes_each_second(&mut w);
    assert!(paused < 20 && listening < 20, "{paused} {listening}");
}

#[test]
fn a_probe_ends_with_the_stream_that_carried_it() {
    // The socket takes a datagram now and then, so that probes are always under way.
    for after in (0..200).step_by(10) {
        let mut w = World::new();
        w.streams.retain(|stream| *stream == H264);
        w.frame_size = 300;
        w.viewer(1);
        w.run(ms(300));
        w.socket_takes = ms(20);
        w.run(ms(1000 + after));
        pause(&mut w);
        w.run(ms(1000));
        assert!(w.closed(1).is_none());
    }
}

#[test]
fn probes_leave_room_for_repeats() {
    let mut w = World::new();
    w.streams.retain(|stream| *stream == H264);
    // Of 30 kbit/s, probes are a large part.
    w.frame_size = 100;
    w.viewer(1);
    w.run(ms(500));
    w.lose = |n| n % 5 == 0;
    w.run(ms(20_000));
    w.lose = |_| false;
    w.run(ms(500));
    let asked = w.fanout.stats(SessionId(1)).expect("lives").key_frame_requests;
    let (fed, seen) = (w.fed[&H264].len(), w.browsers[&1].frames(Theirs::H264).len());
    assert!(
        asked <= 2 && seen > fed * 95 / 100,
        "{seen} of {fed} frames came, {asked} key frames were asked for"
    );
}

#[test]
fn the_first_probe_shows_what_a_fast_link_carries_however_frames_of_audio_fall() {
    let mut found = vec![];
    for after in (0..100).step_by(10) {
        let mut w = World::new();
        w.frame_size = 5_000;
        w.viewer(1);
        w.run(ms(3000 + after));
        w.viewer(2);
        w.run(ms(700));
        let stats = w.fanout.stats(SessionId(2)).expect("lives");
        found.push(stats.estimate.expect("connected"));
    }
    let max = Config::default().max_bitrate;
    assert!(found.iter().all(|estimate| estimate * 10 >= max * 9), "{found:?} of {max}");
}
