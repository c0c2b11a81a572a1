//! What the source does and says, and what it is asked for.

use super::*;

#[test]
fn both_streams_have_a_bitrate_of_their_own() {
    let world = World::new(1, true);
    let start = BitrateLimits::default().start;
    assert_eq!([VIDEO_H264, VIDEO_VP8].map(|s| world.core.bitrate(s)), [Some(start); 2]);
}

#[test]
fn a_source_that_gave_up_ends_its_calls_and_is_tried_again_by_the_next() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    world.input(Input::Source(SourceEvent::GaveUp));
    assert_eq!(world.said(r#"call:hangup bob|2 {"reason":"source-failed""#), 1, "{:?}", world.said);
    assert!(world.core.is_idle() && world.core.running().is_empty());
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
fn torn_pictures_ask_for_a_key_frame() {
    let mut world = World::new(4, true);
    world.offer("bob|2", OFFER);
    world.input(Input::Torn(VIDEO_H264));
    world.pass(Duration::from_millis(500));
    assert_eq!(world.key_frames, [VIDEO_H264]);
}

#[test]
fn what_the_source_says_reaches_the_program() {
    use crate::media::error::{ErrorKind, MediaError};
    use crate::media::source::RequestId;

    let mut world = World::new(4, true);
    let slow = MediaError::new(ErrorKind::TooSlow, "12 frames a second, not 30");
    world.input(Input::Source(SourceEvent::Trouble(slow.clone())));
    world.input(Input::Source(SourceEvent::ControlSet {
        request: RequestId(7),
        name: "gain".into(),
        result: Err(slow.clone()),
    }));
    world.input(Input::Source(SourceEvent::ControlsRead { request: RequestId(8), result: Ok(vec![]) }));
    let [
        Event::Media { error: trouble },
        Event::ControlSet { request, name, result: Err(why) },
        Event::ControlsRead { result, .. },
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
