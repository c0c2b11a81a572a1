//! Callers who publish; on a virtual clock.

use std::time::Duration;

use super::{OFFER, World};
use crate::call::CallId;
use crate::calling;
use crate::camera::core::Input;
use crate::camera::core::publish::{Order, Publishers};
use crate::camera::event::{Event, ViewerId};
use crate::camera::permission::Permission;
use crate::camera::publish::Occupied;
use crate::camera::{Connect, Controllers, Signalling};
use crate::media::source::{Request, SourceEvent, SourceState, SourceStatus};
use crate::media::{
    AUDIO_OPUS, Codec, Frame, StreamId, StreamInfo, VIDEO_H264, VIDEO_H264_LAYERS, VIDEO_VP8,
};

/// The source's streams, the best first.
const RENDITIONS: [StreamId; 3] = [VIDEO_H264, StreamId(20), StreamId(21)];

/// A camera to which alice and bob may publish.
fn world(occupied: Occupied) -> World {
    world_of(occupied, &[Codec::H264])
}

/// A camera to which they may publish in these codecs.
fn world_of(occupied: Occupied, codecs: &[Codec]) -> World {
    let users = ["alice", "bob"].map(str::to_owned).to_vec();
    let signalling = Signalling::Connect(Connect::new("wss://a.example"));
    let permission = Permission::new(Controllers::Users(users), &signalling);
    let mut world = World::new(8, false);
    let streams = (0..3).map(|rendition: u8| {
        let mut info = StreamInfo::new(RENDITIONS[usize::from(rendition)], Codec::H264);
        info.rendition = rendition;
        info
    });
    let streams = streams.chain([StreamInfo::new(AUDIO_OPUS, Codec::Opus)]).collect();
    world.input(Input::Source(SourceEvent::Streams(streams)));
    world.core.set_publishers(Publishers::new(permission, occupied, codecs.to_vec(), 1_000_000), world.now);
    world
}

impl World {
    /// A peer calls with this direction for all it offers. Returns its call, and the directions of the answer.
    fn calls(&mut self, peer: &str, direction: &str) -> Option<CallId> {
        self.calls_with(peer, &OFFER.replace("a=recvonly", &format!("a={direction}")))
    }

    fn calls_with(&mut self, peer: &str, offer: &str) -> Option<CallId> {
        self.offer(peer, offer);
        let party = self.core.calling.parties().find(|party| party.peer.as_str() == peer)?.call;
        self.connect(peer);
        Some(party)
    }

    fn directions(&self, peer: &str) -> Vec<&str> {
        let start = format!("call:answer {peer} ");
        let answer = self.said.iter().rev().find(|said| said.starts_with(&start)).expect("answered");
        let ways = ["sendrecv", "sendonly", "recvonly", "inactive"];
        let of = |section: &'_ str| ways.into_iter().find(|way| section.contains(&format!("a={way}\\r")));
        answer.split("m=").skip(1).filter_map(of).collect()
    }

    fn sends(&mut self, call: CallId, stream: StreamId, codec: Codec) {
        self.sends_bytes(call, stream, codec, true, &[0x65]);
    }

    fn sends_bytes(&mut self, call: CallId, stream: StreamId, codec: Codec, key: bool, data: &[u8]) {
        let frame = Frame {
            stream,
            codec,
            key,
            captured: self.now,
            pts: Duration::ZERO,
            duration: Duration::ZERO,
            discontinuity: false,
            encoding: None,
            data: data.into(),
        };
        self.core.calling_event(calling::Event::Frame { call, frame }, self.now);
        self.drain();
    }

    /// What happened since the last time: frames to the source, and who began and ended.
    fn published(&mut self) -> Vec<String> {
        let orders = std::mem::take(&mut self.orders).into_iter().filter_map(|order| match order {
            Order::Frame(frame, 0) => Some(format!("{:?}", frame.codec)),
            Order::Frame(frame, rank) => Some(format!("{:?} {rank}", frame.codec)),
            Order::Codec(codec) => Some(format!("now {codec:?}")),
            Order::Moved => None,
            Order::Sends(sending) => Some(format!("sends {sending:?}")),
            Order::Lost => Some("lost".into()),
        });
        let events = std::mem::take(&mut self.events).into_iter().filter_map(|event| match event {
            Event::PublishStarted { peer, .. } => Some(format!("{} began", peer.user())),
            Event::PublishEnded { id: ViewerId(_) } => Some("ended".into()),
            _ => None,
        });
        orders.chain(events).collect()
    }
}

#[test]
fn who_may_publish_is_the_source_until_it_leaves() {
    let mut world = world(Occupied::Refuse);
    let alice = world.calls("alice|1", "sendonly").expect("taken");
    assert_eq!(world.directions("alice|1"), ["recvonly"; 2]);
    assert_eq!(world.published(), [""; 0]);
    world.sends(alice, VIDEO_H264, Codec::H264);
    world.sends(alice, AUDIO_OPUS, Codec::Opus);
    assert_eq!(world.published(), ["sends Video", "H264", "Opus", "alice began"]);
    // Who watches is sent what she publishes.
    world.calls("carol|3", "recvonly").expect("a viewer");
    assert_eq!(world.directions("carol|3"), ["sendonly"; 2]);
    world.call("alice|1", "call:hangup", "{}");
    assert_eq!(world.published(), ["lost", "ended"]);
    let bob = world.calls("bob|2", "sendonly").expect("it is free again");
    world.sends(bob, VIDEO_H264, Codec::H264);
    assert_eq!(world.published(), ["sends Video", "H264", "bob began"]);
}

#[test]
fn a_second_one_is_refused_or_takes_over() {
    for occupied in [Occupied::Refuse, Occupied::Replace] {
        let mut world = world(occupied);
        let alice = world.calls("alice|1", "sendonly").expect("taken");
        let early = world.calls("bob|9", "sendonly").expect("nobody publishes yet");
        world.sends(alice, VIDEO_H264, Codec::H264);
        world.published();
        let bob = world.calls("bob|2", "sendonly");
        let refused = |world: &World, peer: &str, code: &str| {
            world.said.iter().any(|s| s.starts_with(&format!("call:hangup {peer} ")) && s.contains(code))
        };
        if occupied == Occupied::Refuse {
            assert_eq!(bob, None);
            assert!(refused(&world, "bob|2", "not-allowed"), "{:?}", world.said);
            world.sends(early, VIDEO_H264, Codec::H264);
            assert!(refused(&world, "bob|9", "busy"), "{:?}", world.said);
            assert_eq!(world.published(), [""; 0]);
            // One that does both is a viewer.
            world.calls("bob|3", "sendrecv").expect("a viewer");
            assert_eq!(world.directions("bob|3"), ["sendonly"; 2]);
        } else {
            world.sends(bob.expect("taken"), VIDEO_H264, Codec::H264);
            assert_eq!(world.published(), ["lost", "sends Video", "H264", "ended", "bob began"]);
            assert!(refused(&world, "alice|1", "replaced"), "{:?}", world.said);
        }
    }
}

#[test]
fn strangers_only_watch_and_other_codecs_are_refused_by_a_code() {
    let mut world = world(Occupied::Replace);
    assert_eq!(world.calls("eve|6", "sendonly"), None);
    world.calls("eve|7", "sendrecv").expect("a viewer");
    assert_eq!(world.directions("eve|7"), ["sendonly"; 2]);
    let alice = world.calls("alice|1", "sendonly").expect("taken");
    world.sends(alice, crate::media::VIDEO_VP8, Codec::Vp8);
    assert_eq!(world.published(), [""; 0]);
    let said = world.said.iter().find(|said| said.starts_with("call:hangup alice|1")).expect("it ended");
    assert!(
        said.contains("no-codec") && said.contains("only H.264 can be published here, not VP8"),
        "{said}"
    );
    // A viewer that cannot decode what is published is told by the same code.
    let vp8_only: String = OFFER.replace("H264/90000", "H265/90000");
    assert_eq!(world.calls_with("dave|4", &vp8_only), None);
    let said = world.said.iter().find(|said| said.starts_with("call:hangup dave|4")).expect("refused");
    assert!(said.contains("no-codec"), "{said}");
}

#[test]
fn the_publisher_is_asked_for_what_the_viewers_need() {
    let mut world = world(Occupied::Replace);
    let alice = world.calls("alice|1", "sendonly").expect("taken");
    world.sends(alice, VIDEO_H264, Codec::H264);
    assert_eq!(world.core.publisher_limit(), Some(150_000), "nobody watches");
    world.input(Input::Asked(0, Request::Start));
    assert_eq!(world.core.publisher_limit(), Some(1_000_000));
    world.input(Input::Asked(0, Request::Bitrate { bps: 400_000 }));
    assert_eq!(world.core.publisher_limit(), Some(400_000));
    world.input(Input::Asked(0, Request::KeyFrame));
    world.input(Input::Asked(0, Request::Stop));
    assert_eq!(world.core.publisher_limit(), Some(150_000));
    // A bitrate that comes meanwhile counts from the next start on.
    world.input(Input::Asked(0, Request::Bitrate { bps: 300_000 }));
    assert_eq!(world.core.publisher_limit(), Some(150_000));
    world.input(Input::Asked(0, Request::Start));
    assert_eq!(world.core.publisher_limit(), Some(300_000));
}

/// What a relay reads of a key frame: the SPS of an encoder for a size.
fn key_frame(width: u32) -> Vec<u8> {
    let sps: &[u8] = match width {
        320 => b"\x67\x42\xc0\x15\xd9\x01\x41\x9f\x9f\x01\x6a\x0c\x0c\x0d\x4a",
        640 => b"\x67\x42\xc0\x1e\xd9\x00\xa0\x2f\xf9\x70\x16\xa0\xc0\xc0\xd4\xa0\x00\x00\x03",
        1280 => b"\x67\x42\xc0\x1f\xd9\x00\x50\x05\xbb\x01\x6a\x02\x02\x02\x80",
        _ => panic!("one of three"),
    };
    [&[0, 0, 0, 1], sps, &[0, 0, 0, 1, 0x65]].concat()
}

/// Two seconds in which a publisher sends so many bytes of each encoding in a frame, and frames come of the source's
/// stream; each viewer's network carries so much, in bit/s.
fn two_seconds(
    world: &mut World,
    publisher: CallId,
    bytes: [usize; 3],
    of: StreamId,
    carry: &[(CallId, u32)],
) {
    for _ in 0..60 {
        for (at, bytes) in bytes.into_iter().enumerate().filter(|(_, bytes)| *bytes > 0) {
            world.sends_bytes(publisher, VIDEO_H264_LAYERS[at], Codec::H264, false, &vec![0x41; bytes]);
        }
        world.frame(of, Codec::H264, false);
        for (call, bps) in carry {
            world.core.calling_event(calling::Event::Estimate { call: *call, bps: *bps }, world.now);
        }
        world.pass(Duration::from_millis(33));
    }
}

#[test]
fn each_viewer_gets_the_encoding_that_its_network_carries() {
    let mut world = world(Occupied::Refuse);
    let alice = world.calls("alice|1", "sendonly").expect("taken");
    // The small ones come first, as a browser's bandwidth grows.
    for (at, width) in [(2, 320), (1, 640), (0, 1280)] {
        world.sends_bytes(alice, VIDEO_H264_LAYERS[at], Codec::H264, true, &key_frame(width));
    }
    assert_eq!(
        world.published(),
        ["sends Video", "H264", "H264", "H264", "alice began"],
        "each was the best when it came"
    );
    let viewers = ["carol|3", "dave|4", "eve|5"].map(|peer| world.calls(peer, "recvonly").expect("a viewer"));
    for event in [SourceEvent::State(SourceStatus::of(SourceState::Playing)), SourceEvent::Started] {
        world.input(Input::Source(event));
    }
    world.input(Input::Asked(0, Request::Start));
    assert_eq!(world.core.publisher_limit(), Some(100_000_000), "its network decides");
    // At 30 frames a second 1200, 360 and 96 kbit/s.
    let all = [5000, 1500, 400];
    let carry: Vec<_> = viewers.into_iter().zip([5_000_000, 700_000, 200_000]).collect();
    for _ in 0..3 {
        two_seconds(&mut world, alice, all, RENDITIONS[0], &carry);
    }
    let served = |world: &World| viewers.map(|call| world.core.served(call));
    let [best, middle, small] = RENDITIONS.map(Some);
    assert_eq!(served(&world), [best, middle, small]);
    assert_eq!(world.produced.last().map(|running| running.len()), Some(4), "with audio");
    // Each stream is the encoding of its rank.
    world.published();
    world.sends_bytes(alice, VIDEO_H264_LAYERS[2], Codec::H264, true, &key_frame(320));
    world.sends_bytes(alice, VIDEO_H264_LAYERS[1], Codec::H264, true, &key_frame(640));
    assert_eq!(world.published(), ["H264 2", "H264 1"]);
    // The best one pauses: whoever had it gets the next.
    for _ in 0..2 {
        two_seconds(&mut world, alice, [0, 1500, 400], RENDITIONS[1], &carry);
    }
    assert_eq!(served(&world), [middle, middle, small]);
    for _ in 0..2 {
        two_seconds(&mut world, alice, all, RENDITIONS[0], &carry);
    }
    assert_eq!(served(&world), [best, middle, small], "it is back");
    // The next publisher sends one encoding: there is no other.
    world.call("alice|1", "call:hangup", "{}");
    let bob = world.calls("bob|2", "sendonly").expect("taken");
    world.sends_bytes(bob, VIDEO_H264_LAYERS[0], Codec::H264, true, &key_frame(1280));
    two_seconds(&mut world, bob, [1000, 0, 0], RENDITIONS[0], &carry);
    assert!(served(&world).into_iter().all(|stream| stream == best), "{:?}", served(&world));
    assert!(world.core.publisher_limit().is_some_and(|bps| bps < 5_000_000));
}

/// An offer without H.264, and one without VP8.
fn offer_without(codec: &str) -> String {
    OFFER.replace(&format!("{codec}/90000"), "H265/90000")
}

impl World {
    /// The video codecs of the last answer to a peer, in order.
    fn answered_codecs(&self, peer: &str) -> Vec<Codec> {
        let start = format!("call:answer {peer} ");
        let answer = self.said.iter().rev().find(|said| said.starts_with(&start)).expect("answered");
        let mut found: Vec<(usize, Codec)> = [("H264/90000", Codec::H264), ("VP8/90000", Codec::Vp8)]
            .into_iter()
            .filter_map(|(name, codec)| Some((answer.find(name)?, codec)))
            .collect();
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(_, codec)| codec).collect()
    }

    /// Why a peer's call was ended, if it was.
    fn ended(&self, peer: &str) -> Option<&String> {
        self.said.iter().find(|said| said.starts_with(&format!("call:hangup {peer} ")))
    }
}

const BOTH_CODECS: [Codec; 2] = [Codec::H264, Codec::Vp8];

#[test]
fn a_publisher_of_both_codecs_is_asked_for_the_one_that_most_viewers_support() {
    let offer = OFFER.replace("a=recvonly", "a=sendonly");
    for (viewers, codecs, asked) in [
        (&[][..], &BOTH_CODECS[..], Codec::H264),
        (&[], &[Codec::Vp8, Codec::H264], Codec::Vp8),
        (&["H264"], &BOTH_CODECS, Codec::Vp8),
        (&["VP8"], &[Codec::Vp8, Codec::H264], Codec::H264),
        (&["H264", "VP8"], &BOTH_CODECS, Codec::H264),
        (&["H264", "VP8", "H264", ""], &BOTH_CODECS, Codec::Vp8),
    ] {
        let mut world = world_of(Occupied::Refuse, codecs);
        for (number, without) in viewers.iter().enumerate() {
            let offer = if without.is_empty() { OFFER.to_owned() } else { offer_without(without) };
            world.calls_with(&format!("viewer{number}|9"), &offer).expect("nobody publishes yet");
        }
        world.calls_with("alice|1", &offer).expect("taken");
        assert_eq!(world.answered_codecs("alice|1"), [asked], "{viewers:?} {codecs:?}");
    }
}

#[test]
fn viewers_follow_the_codec_of_another_publisher_and_who_cannot_is_told() {
    let mut world = world_of(Occupied::Replace, &BOTH_CODECS);
    world.calls("carol|3", "recvonly").expect("a viewer");
    assert_eq!(world.answered_codecs("carol|3").len(), 2);
    world.calls_with("dave|4", &offer_without("VP8")).expect("a viewer");
    let alice = world.calls("alice|1", "sendonly").expect("taken");
    world.sends(alice, VIDEO_H264, Codec::H264);
    assert_eq!(world.published(), ["sends Video", "H264", "alice began"]);
    // Whoever cannot decode what is published is told at once.
    world.calls_with("eve|5", &offer_without("H264"));
    let said = world.ended("eve|5").expect("refused");
    assert!(said.contains("no-codec") && said.contains("H.264 now") && said.contains("only VP8"), "{said}");
    // Bob can send VP8 alone.
    let offer = offer_without("H264").replace("a=recvonly", "a=sendonly");
    let bob = world.calls_with("bob|2", &offer).expect("taken");
    assert_eq!(world.answered_codecs("bob|2"), [Codec::Vp8]);
    world.sends(bob, VIDEO_VP8, Codec::Vp8);
    assert_eq!(world.published(), ["lost", "sends Video", "now Vp8", "Vp8", "ended", "bob began"]);
    let said = world.ended("dave|4").expect("he is told");
    assert!(said.contains("no-codec") && said.contains("VP8 now") && said.contains("only H.264"), "{said}");
    assert_eq!(world.ended("carol|3"), None, "she follows");
    world.calls_with("eve|6", &offer_without("H264")).expect("a viewer now");
    assert_eq!(world.ended("eve|6"), None);
    // While nobody publishes, everybody may wait.
    world.call("bob|2", "call:hangup", "{}");
    world.calls_with("dave|7", &offer_without("VP8")).expect("a viewer");
    assert_eq!(world.ended("dave|7"), None);
}

#[test]
fn a_publisher_may_change_its_codec_at_a_key_frame_but_not_back_at_once() {
    let mut world = world_of(Occupied::Refuse, &BOTH_CODECS);
    let alice = world.calls("alice|1", "sendrecv").expect("taken");
    world.sends(alice, VIDEO_H264, Codec::H264);
    assert_eq!(world.published(), ["sends Video", "H264", "alice began"]);
    world.sends_bytes(alice, VIDEO_VP8, Codec::Vp8, false, &[1]);
    assert_eq!(world.published(), [""; 0], "it begins at a key frame");
    world.sends(alice, VIDEO_VP8, Codec::Vp8);
    world.sends(alice, VIDEO_H264, Codec::H264);
    assert_eq!(world.published(), ["now Vp8", "Vp8"]);
    world.pass(Duration::from_secs(1));
    world.sends(alice, VIDEO_H264, Codec::H264);
    assert_eq!(world.published(), ["now H264", "H264"]);
}

#[test]
fn a_publisher_that_renegotiates_to_another_codec_is_answered_with_it() {
    let mut world = world_of(Occupied::Refuse, &BOTH_CODECS);
    let offer = OFFER.replace("a=recvonly", "a=sendonly");
    world.calls_with("alice|1", &offer).expect("taken");
    assert_eq!(world.answered_codecs("alice|1"), [Codec::H264]);
    let again = offer.replace("H264/90000", "H265/90000");
    let data = serde_json::json!({ "type": "offer", "sdp": again }).to_string();
    world.call("alice|1", "call:offer", &data);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.answered_codecs("alice|1"), [Codec::Vp8]);
}

#[test]
fn a_publisher_that_turns_its_video_off_goes_on_with_audio_and_comes_back() {
    let mut world = world(Occupied::Refuse);
    let alice = world.calls("alice|1", "sendonly").expect("taken");
    world.sends(alice, VIDEO_H264, Codec::H264);
    let speaks = |world: &mut World, packets: u32| {
        for _ in 0..packets {
            world.sends(alice, AUDIO_OPUS, Codec::Opus);
            world.wait(Duration::from_millis(20));
        }
        let mut said = world.published();
        said.retain(|said| said != "Opus");
        said
    };
    assert_eq!(
        speaks(&mut world, 100),
        ["sends Video", "H264", "sends Audio", "alice began"],
        "after two seconds"
    );
    assert_eq!(speaks(&mut world, 500), [""; 0], "once");
    world.sends(alice, VIDEO_H264, Codec::H264);
    assert_eq!(world.published(), ["sends Video", "H264"], "in the same call");
    // Without audio, too, the source is not one that plays. No frame wakes the core then.
    world.wait(Duration::from_millis(1_999));
    assert_eq!(world.published(), [""; 0]);
    world.wait(Duration::from_millis(1));
    assert_eq!(world.published(), ["sends Nothing"]);
    world.call("alice|1", "call:hangup", "{}");
    assert_eq!(world.published(), ["lost", "ended"]);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.published(), [""; 0], "nobody publishes");
}

#[test]
fn a_publisher_without_a_camera_is_told_apart_from_one_whose_video_is_late() {
    let mut world = world(Occupied::Refuse);
    let alice = world.calls("alice|1", "sendonly").expect("taken");
    for _ in 0..99 {
        world.sends(alice, AUDIO_OPUS, Codec::Opus);
        world.wait(Duration::from_millis(20));
    }
    let sends = |world: &mut World| world.published().iter().any(|said| said == "sends Audio");
    assert!(!sends(&mut world), "its video may be late");
    world.sends(alice, AUDIO_OPUS, Codec::Opus);
    world.wait(Duration::from_millis(20));
    assert!(sends(&mut world));
}
