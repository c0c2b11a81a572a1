//! Packets' numbers: never one twice under a key, whatever is paused, stopped, moved and resumed.

use std::collections::HashMap;

use str0m::format::Codec as Theirs;
use str0m::media::{Direction, MediaKind};

use super::world::*;
use crate::dice::Dice;
use crate::media::{Codec, StreamId};
use crate::rtc::SessionId;

/// A world with one viewer. A sealer panics if an index is sealed twice under a key, which ends the session and is
/// counted.
fn watched() -> World {
    let mut w = World::new();
    w.viewer(1);
    w.run(ms(1000));
    w
}

fn set_direction(w: &mut World, kind: MediaKind, direction: Direction) {
    w.reoffer(1, |b| {
        let mid = b.mid(kind);
        let mut api = b.rtc.sdp_api();
        api.set_direction(mid, direction);
        let (offer, pending) = api.apply().expect("a change");
        (offer.to_sdp_string(), pending)
    });
}

fn sealed(w: &World) -> u64 {
    w.fanout.stats(SessionId(1)).expect("lives").packets
}

fn seen(w: &World) -> usize {
    w.browsers[&1].frames(Theirs::H264).len()
}

fn heard(w: &World) -> usize {
    w.browsers[&1].frames(Theirs::Opus).len()
}

#[test]
fn a_viewer_that_paused_gets_its_video_and_audio_back() {
    let mut w = watched();
    for kind in [MediaKind::Video, MediaKind::Audio] {
        set_direction(&mut w, kind, Direction::Inactive);
        w.run(ms(1000));
        let before = (seen(&w), heard(&w));
        w.run(ms(1000));
        let paused = if kind == MediaKind::Video { seen(&w) - before.0 } else { heard(&w) - before.1 };
        assert_eq!(paused, 0, "{kind:?}");
        set_direction(&mut w, kind, Direction::RecvOnly);
        w.run(ms(500));
        let before = (seen(&w), heard(&w));
        w.run(ms(2000));
        let (seen, heard) = (seen(&w) - before.0, heard(&w) - before.1);
        assert!(seen > 50 && heard > 80, "after {kind:?} paused, in 2 s: {seen} frames, {heard} of audio");
    }
    assert_eq!(w.fanout.totals().panics, 0);
    assert!(sealed(&w) > 500, "{}", sealed(&w));
}

#[test]
pub(super) fn no_number_is_sealed_twice_over_random_renegotiations() {
    for seed in 1..=3 {
        renegotiate_at_random(seed);
    }
}

fn renegotiate_at_random(seed: u64) {
    let mut w = watched();
    w.lose = |n| n % 37 == 0; // repeats have an SSRC of their own
    let mut dice = Dice(seed);
    let mut random = |below: usize| dice.roll(below);
    let other = |w: &mut World, moved: bool| {
        let video = if moved { StreamId(7) } else { H264 };
        w.moved = moved.then_some(video);
        w.fanout.set_streams(&[
            stream(video, Codec::H264),
            stream(VP8, Codec::Vp8),
            stream(OPUS, Codec::Opus),
        ]);
    };
    for _ in 0..16 {
        let kind = if random(3) == 0 { MediaKind::Audio } else { MediaKind::Video };
        match random(6) {
            0 | 1 => toggle(&mut w, kind),
            2 => {
                // Off and on again before anything else is said.
                toggle(&mut w, kind);
                toggle(&mut w, kind);
            }
            3 => {
                w.reoffer(1, |b| {
                    let mut api = b.rtc.sdp_api();
                    api.ice_restart(true);
                    let (offer, pending) = api.apply().expect("a change");
                    (offer.to_sdp_string(), pending)
                });
            }
            4 => {
                // The video moves to another stream, as when a source is replaced.
                let moved = w.moved.is_none();
                other(&mut w, moved);
                toggle(&mut w, MediaKind::Video);
            }
            _ => {
                // Stopped for good, and another section in its place.
                w.reoffer(1, |b| {
                    let at = b.mids.iter().position(|(k, _)| *k == kind).expect("one of each kind");
                    let (_, mid) = b.mids.remove(at);
                    let mut api = b.rtc.sdp_api();
                    api.stop_media(mid);
                    b.mids.push((kind, api.add_media(kind, Direction::RecvOnly, None, None, None)));
                    let (offer, pending) = api.apply().expect("a change");
                    (offer.to_sdp_string(), pending)
                });
            }
        }
        w.run(ms(100 + random(400) as u64));
        assert!(w.closed(1).is_none(), "seed {seed}");
    }
    for kind in [MediaKind::Audio, MediaKind::Video] {
        if direction(&w, kind) == Direction::Inactive {
            toggle(&mut w, kind);
        }
    }
    w.run(ms(1500));
    let before = (seen(&w), heard(&w));
    w.run(ms(1000));
    assert!(seen(&w) > before.0 + 10 && heard(&w) > before.1 + 20, "seed {seed}: all is there at the end");
    assert!(sealed(&w) > 500, "seed {seed}: {}", sealed(&w));
    assert_eq!(w.fanout.totals().panics, 0, "seed {seed}");
}

fn direction(w: &World, kind: MediaKind) -> Direction {
    let b = &w.browsers[&1];
    b.rtc.media(b.mid(kind)).expect("negotiated").direction()
}

fn toggle(w: &mut World, kind: MediaKind) {
    let next = match direction(w, kind) {
        Direction::Inactive => Direction::RecvOnly,
        _ => Direction::Inactive,
    };
    set_direction(w, kind, next);
}

#[test]
fn the_rollover_counts_on_after_a_wrap_and_a_pause() {
    let mut w = watched();
    w.streams = vec![OPUS];
    // More than all numbers there are, with a pause now and then.
    let mut got = 0;
    for round in 0..8 {
        for _ in 0..100 {
            for _ in 0..100 {
                w.hear();
            }
            w.run(ms(20));
        }
        let before = heard(&w);
        w.run(ms(1000));
        assert!(heard(&w) > before + 30, "round {round}: audio still arrives");
        got += heard(&w);
        w.browsers.get_mut(&1).expect("made").media.clear();
        if round % 3 == 1 {
            set_direction(&mut w, MediaKind::Audio, Direction::Inactive);
            w.run(ms(100));
            set_direction(&mut w, MediaKind::Audio, Direction::RecvOnly);
            w.run(ms(200));
        }
    }
    assert!(sealed(&w) > 80_000 && got > 70_000, "{} {got}", sealed(&w));
    assert_eq!(w.fanout.totals().panics, 0);
}

#[test]
fn numbers_begin_at_random_below_the_middle() {
    let mut w = World::new();
    for id in 1..=8 {
        w.viewer(id);
    }
    w.run(ms(1000));
    let mut first: HashMap<u32, u16> = HashMap::new();
    for t in &w.sent {
        for d in t.datagrams().filter(|d| d.len() > 12 && matches!(d[0], 128..=191) && d[1] & 0x7f >= 96) {
            let ssrc = u32::from_be_bytes([d[8], d[9], d[10], d[11]]);
            first.entry(ssrc).or_insert(u16::from_be_bytes([d[2], d[3]]));
        }
    }
    assert!(first.len() >= 16, "video and audio of eight viewers");
    assert!(first.values().all(|n| *n < 0x8000), "a receiver could not tell an early wrap");
    let guessed = first.iter().filter(|(ssrc, n)| (**ssrc & 0x7fff) as u16 == **n).count();
    assert!(guessed < 2, "{guessed} of {} follow from the SSRC", first.len());
    assert!(w.fanout.stats(SessionId(8)).is_some());
}
