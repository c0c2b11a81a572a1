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
use crate::media::source::Request;
use crate::media::{AUDIO_OPUS, Codec, Frame, StreamId, VIDEO_H264};

/// A camera to which alice and bob may publish.
fn world(occupied: Occupied) -> World {
    let users = ["alice", "bob"].map(str::to_owned).to_vec();
    let signalling = Signalling::Connect(Connect::new("wss://a.example"));
    let permission = Permission::new(Controllers::Users(users), &signalling);
    let mut world = World::new(8, false);
    world.core.set_publishers(Publishers::new(permission, occupied, Codec::H264, 1_000_000));
    world
}

impl World {
    /// A peer calls with this direction for all it offers. Returns its call, and the directions of the answer.
    fn calls(&mut self, peer: &str, direction: &str) -> Option<CallId> {
        self.offer(peer, &OFFER.replace("a=recvonly", &format!("a={direction}")));
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
        let frame = Frame {
            stream,
            codec,
            key: true,
            captured: self.now,
            pts: Duration::ZERO,
            duration: Duration::ZERO,
            discontinuity: false,
            encoding: None,
            data: [0x65].into(),
        };
        self.core.calling_event(calling::Event::Frame { call, frame }, self.now);
        self.drain();
    }

    /// What happened since the last time: frames to the source, and who began and ended.
    fn published(&mut self) -> Vec<String> {
        let orders = std::mem::take(&mut self.orders).into_iter().map(|order| match order {
            Order::Frame(frame) => format!("{:?}", frame.codec),
            Order::Lost => "lost".into(),
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
    assert_eq!(world.published(), ["H264", "Opus", "alice began"]);
    // Who watches is sent what she publishes.
    world.calls("carol|3", "recvonly").expect("a viewer");
    assert_eq!(world.directions("carol|3"), ["sendonly"; 2]);
    world.call("alice|1", "call:hangup", "{}");
    assert_eq!(world.published(), ["lost", "ended"]);
    let bob = world.calls("bob|2", "sendonly").expect("it is free again");
    world.sends(bob, VIDEO_H264, Codec::H264);
    assert_eq!(world.published(), ["H264", "bob began"]);
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
            assert_eq!(world.published(), ["lost", "H264", "ended", "bob began"]);
            assert!(refused(&world, "alice|1", "replaced"), "{:?}", world.said);
        }
    }
}

#[test]
fn strangers_only_watch_and_other_codecs_are_left_out() {
    let mut world = world(Occupied::Replace);
    assert_eq!(world.calls("eve|6", "sendonly"), None);
    world.calls("eve|7", "sendrecv").expect("a viewer");
    assert_eq!(world.directions("eve|7"), ["sendonly"; 2]);
    let alice = world.calls("alice|1", "sendonly").expect("taken");
    world.sends(alice, crate::media::VIDEO_VP8, Codec::Vp8);
    assert_eq!(world.published(), [""; 0]);
}

#[test]
fn the_publisher_is_asked_for_what_the_viewers_need() {
    let mut world = world(Occupied::Replace);
    let alice = world.calls("alice|1", "sendonly").expect("taken");
    world.sends(alice, VIDEO_H264, Codec::H264);
    assert_eq!(world.core.publisher_limit(), Some(150_000), "nobody watches");
    world.input(Input::Asked(Request::Start));
    assert_eq!(world.core.publisher_limit(), Some(1_000_000));
    world.input(Input::Asked(Request::Bitrate { bps: 400_000 }));
    assert_eq!(world.core.publisher_limit(), Some(400_000));
    world.input(Input::Asked(Request::KeyFrame));
    world.input(Input::Asked(Request::Stop));
    assert_eq!(world.core.publisher_limit(), Some(150_000));
    // A bitrate that comes meanwhile counts from the next start on.
    world.input(Input::Asked(Request::Bitrate { bps: 300_000 }));
    assert_eq!(world.core.publisher_limit(), Some(150_000));
    world.input(Input::Asked(Request::Start));
    assert_eq!(world.core.publisher_limit(), Some(300_000));
}
