//! Readers of frames and snapshots, next to viewers.

use super::*;

#[test]
fn who_takes_frames_runs_the_source_as_a_viewer_does() {
    use crate::net::frame_outbox::FrameOutbox;

    let mut world = World::new(4, true);
    world.core.take_frames(1, vec![], FrameOutbox::new(2), world.now);
    world.drain();
    assert_eq!(world.produced, [BOTH]);
    world.core.take_frames(2, vec![Codec::Vp8], FrameOutbox::new(2), world.now);
    world.drain();
    assert_eq!(world.produced[1..], [[VIDEO_H264, VIDEO_VP8, AUDIO_OPUS]]);
    world.core.drop_frames(1, world.now);
    world.core.drop_frames(2, world.now);
    world.drain();
    world.pass(Duration::from_secs(11));
    assert_eq!(world.produced.last(), Some(&NOTHING.to_vec()), "nobody is left");
}

#[test]
fn a_taker_that_is_slow_goes_on_at_a_key_frame_that_is_asked_for() {
    use crate::net::frame_outbox::FrameOutbox;

    let mut world = World::new(4, true);
    world.core.take_frames(1, vec![Codec::H264], FrameOutbox::new(3), world.now);
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
    use crate::net::frame_outbox::FrameOutbox;

    let mut world = World::with_jpeg();
    world.core.take_frames(1, vec![], FrameOutbox::new(2), world.now);
    let slot = world.core.snapshot(Duration::ZERO, world.now);
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
    let slots =
        [world.core.snapshot(Duration::ZERO, world.now), world.core.snapshot(Duration::ZERO, world.now)];
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
    assert!(outcome(world.core.snapshot(Duration::ZERO, world.now)).is_ok());
    world.drain();
    assert_eq!(world.produced.len(), 2);
    world.pass(Duration::from_millis(200));
    let slot = world.core.snapshot(Duration::ZERO, world.now);
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
    let slot = world.core.snapshot(Duration::ZERO, world.now);
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
    let first = world.core.snapshot(Duration::ZERO, world.now);
    world.drain();
    world.pass(Duration::from_secs(9));
    let second = world.core.snapshot(Duration::ZERO, world.now);
    world.drain();
    world.pass(Duration::from_secs(2));
    assert_eq!(outcome(first).err(), Some(SnapshotError::Timeout));
    world.frame(JPEG, Codec::Jpeg, true);
    assert!(outcome(second).is_ok(), "it came within its time");
}

#[test]
fn a_source_without_jpeg_says_so_at_once() {
    let mut world = World::new(1, true);
    let slot = world.core.snapshot(Duration::ZERO, world.now);
    world.drain();
    assert_eq!(outcome(slot).err(), Some(SnapshotError::NoJpeg));
    assert!(world.produced.is_empty());
}
