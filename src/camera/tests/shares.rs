//! Who gets which rendition, from an estimate to the session, the viewer and the program.

use std::time::Duration;

use super::{OFFER, World, renditions};
use crate::calling;
use crate::camera::core::Input;
use crate::camera::{Event, Share};
use crate::media::source::{SourceEvent, SourceState, SourceStatus};
use crate::media::{Codec, VIDEO_H264, VIDEO_H264_SMALL};

/// Two viewers, and a source with a small rendition, whose frames flow.
fn world() -> World {
    let mut world = World::new(4, false);
    world.input(Input::Source(SourceEvent::Streams(renditions())));
    for peer in ["bob|2", "carol|3"] {
        world.offer(peer, OFFER);
        world.connect(peer);
    }
    for event in [SourceEvent::State(SourceStatus::of(SourceState::Playing)), SourceEvent::Started] {
        world.input(Input::Source(event));
    }
    world
}

/// Time passes with frames and these estimates, in bit/s.
fn pass(world: &mut World, seconds: u64, bob: u32, carol: u32) {
    for tenth in 0..seconds * 10 {
        world.wait(Duration::from_millis(100));
        world.frame(VIDEO_H264, Codec::H264, tenth % 10 == 0);
        if world.produced.last().is_some_and(|running| running.contains(&VIDEO_H264_SMALL)) {
            world.frame(VIDEO_H264_SMALL, Codec::H264, tenth % 10 == 0);
        }
        for (peer, bps) in [("bob|2", bob), ("carol|3", carol)] {
            let call = world.core.calling.parties().find(|party| party.peer.as_str() == peer);
            let call = call.expect("it watches").call;
            world.core.calling_event(calling::Event::Estimate { call, bps }, world.now);
        }
    }
}

#[test]
fn a_viewer_whose_network_is_slow_gets_the_small_rendition_and_is_told() {
    let mut world = world();
    pass(&mut world, 8, 4_000_000, 300_000);
    assert_eq!(world.shares.last(), Some(&("carol|3".to_owned(), "small".to_owned())));
    assert!(world.produced.last().is_some_and(|running| running.contains(&VIDEO_H264_SMALL)));
    let told = world.events.iter().any(|event| matches!(event, Event::Share { share: Share::Small, .. }));
    assert!(told);
    let shares: Vec<_> =
        world.core.viewers().map(|(viewer, _)| viewer.share.map(|(share, _)| share)).collect();
    assert_eq!(shares, [Some(Share::Full), Some(Share::Small)]);
    pass(&mut world, 12, 4_000_000, 4_000_000);
    let of_bob = world.shares.iter().filter(|(peer, share)| peer == "bob|2" && share != "full").count();
    assert_eq!(of_bob, 0, "the other viewer keeps everything: {:?}", world.shares);
    assert_eq!(world.shares.last(), Some(&("carol|3".to_owned(), "full".to_owned())));
    assert!(
        !world.produced.last().is_some_and(|running| running.contains(&VIDEO_H264_SMALL)),
        "nobody needs it"
    );
}

#[test]
fn a_named_viewer_decides_while_it_watches() {
    let mut world = world();
    let settings = crate::camera::core::LiveSettings {
        policy: crate::camera::BitratePolicy::Follow("carol".into()),
        bitrate: Default::default(),
        linger: Duration::from_secs(10),
        max_viewers: 4,
        answer: Default::default(),
        snapshot_every: Duration::from_secs(1),
    };
    world.input(Input::Settings(settings));
    pass(&mut world, 10, 4_000_000, 500_000);
    let all_full = world.shares.iter().all(|(_, share)| share == "full");
    assert!(all_full, "both get what carol's network carries: {:?}", world.shares);
    assert!(world.bitrates.last().is_some_and(|bps| *bps <= 500_000), "{:?}", world.bitrates);
}

/// A command to the node `camera:share`; `rest` are its other members.
fn ask(world: &mut World, from: &str, rest: &str) {
    let text = format!(r#"{{"type":"command","id":"w","from":"{from}","node":"camera:share",{rest}}}"#);
    let command = crate::proto::Message::parse(text).expect("a command");
    let (whence, encoder) = (crate::camera::core::Whence::Unknown, Some("x264enc".to_owned()));
    world.input(Input::Share { command, whence, encoder });
}

fn wish(world: &mut World, from: &str, share: &str) {
    ask(world, from, &format!(r#""action":"wish","data":{{"share":"{share}"}}"#));
}

#[test]
fn a_viewer_reads_its_own_figures_and_a_stranger_none() {
    let mut world = world();
    pass(&mut world, 3, 4_000_000, 4_000_000);
    ask(&mut world, "carol|3", r#""action":"read""#);
    assert_eq!(world.replies.last().map(|(_, status)| *status), Some(200));
    let figures = &world.replied;
    assert_eq!((&figures["user"], &figures["encoder"]), (&"carol".into(), &"x264enc".into()));
    assert_eq!((&figures["share"], &figures["rendition"]), (&"full".into(), &0.into()));
    assert_eq!(figures["skipped"]["network"], 0);
    ask(&mut world, "eve|4", r#""action":"read""#);
    assert_eq!(world.replies.last().map(|(_, status)| *status), Some(404));
    assert!(!world.replied.to_string().contains("x264enc"), "{}", world.replied);
}

#[test]
fn a_viewer_gets_what_it_wishes_for_and_a_stranger_an_error() {
    let mut world = world();
    pass(&mut world, 3, 4_000_000, 4_000_000);
    let status = |world: &World| world.replies.last().map(|(_, status)| *status);
    wish(&mut world, "carol|3", "key-frames");
    assert_eq!(status(&world), Some(200));
    assert_eq!(world.shares.last(), Some(&("carol|3".to_owned(), "key-frames".to_owned())));
    wish(&mut world, "carol|3", "full");
    assert_eq!(world.shares.last(), Some(&("carol|3".to_owned(), "full".to_owned())));
    wish(&mut world, "carol|3", "everything");
    assert_eq!(status(&world), Some(400));
    wish(&mut world, "eve|4", "full");
    assert_eq!(status(&world), Some(404));
    let before = world.replies.len();
    for _ in 0..50 {
        wish(&mut world, "eve|4", "full");
    }
    assert!(world.replies.len() - before <= 8, "nobody makes us send as much as they like");
    assert!(world.shares.iter().all(|(peer, _)| peer == "carol|3"));
}

#[test]
fn a_page_that_is_loaded_anew_in_the_same_call_keeps_its_share() {
    let mut world = world();
    pass(&mut world, 8, 4_000_000, 0);
    assert_eq!(world.shares.last(), Some(&("carol|3".to_owned(), "nothing".to_owned())));
    let sent = |world: &World| -> Vec<bool> {
        world.core.viewers().map(|(_, stats)| stats.expect("it has a session").video.is_some()).collect()
    };
    assert_eq!(sent(&world), [true, false]);
    // Another peer connection has another certificate.
    let other = OFFER.replace("sha-256 A1:", "sha-256 A2:");
    assert_ne!(other, OFFER);
    let body = serde_json::json!({ "type": "offer", "sdp": other }).to_string();
    world.call("carol|3", "call:offer", &body);
    assert_eq!(world.said("call:answer carol|3"), 2);
    assert_eq!(sent(&world), [true, false]);
    pass(&mut world, 3, 4_000_000, 0);
}
