//! Viewers who talk; on a virtual clock.

use std::time::Duration;

use serde_json::json;

use super::{OFFER, World};
use crate::call::CallId;
use crate::calling;
use crate::camera::core::talk::{News, Order, Talking};
use crate::camera::core::{Input, Whence};
use crate::camera::event::Event;
use crate::camera::permission::Permission;
use crate::camera::talk::Commands;
use crate::camera::talk_settings::Duplex;
use crate::camera::{Connect, Controllers, Signalling};
use crate::media::error::{ErrorKind, MediaError};
use crate::media::{AUDIO_OPUS, Codec, Frame};
use crate::proto::Message;

const SECOND: Duration = Duration::from_secs(1);

/// A camera that alice, bob and carol may talk to.
fn world(duplex: Duplex) -> World {
    let users = ["alice", "bob", "carol"].map(str::to_owned).to_vec();
    let signalling = Signalling::Connect(Connect::new("wss://a.example"));
    let permission = Permission::new(Controllers::Users(users), &signalling);
    World::with_talking(Talking::new(Commands::new(permission), duplex))
}

/// Chromium's offer with this direction of its audio.
fn with_audio(direction: &str) -> String {
    let audio = OFFER.find("m=audio").expect("it has audio");
    let (before, after) = OFFER.split_at(audio);
    before.to_owned() + &after.replacen("a=recvonly", &format!("a={direction}"), 1)
}

/// What the answer to a peer says of a kind.
fn answered<'a>(world: &'a World, peer: &str, kind: &str) -> &'a str {
    let start = format!("call:answer {peer} ");
    let answer = world.said.iter().find(|said| said.starts_with(&start)).expect("answered");
    let section = answer.split("m=").find(|section| section.starts_with(kind)).expect(kind);
    let ways = ["sendrecv", "sendonly", "recvonly", "inactive"];
    ways.into_iter().find(|way| section.contains(&format!("a={way}"))).expect("a direction")
}

impl World {
    fn talker(&self) -> Option<&str> {
        self.talk.last().and_then(|data| data["by"].as_str())
    }

    fn join(&mut self, peer: &str) -> CallId {
        self.offer(peer, &with_audio("sendrecv"));
        self.connect(peer);
        self.core.calling.parties().find(|party| party.peer.as_str() == peer).expect("it is in a call").call
    }

    /// Sends a command, and returns the status of its reply.
    fn command(&mut self, peer: &str, action: &str) -> u16 {
        let text = format!(
            r#"{{"type":"command","id":"7","from":"{peer}","node":"camera:talk","action":"{action}"}}"#
        );
        let command = Message::parse(text).expect("a command");
        assert!(self.core.is_talk(&command));
        self.input(Input::Talk { command, whence: Whence::Unknown });
        self.replies.last().expect("a reply").1
    }

    /// A frame of somebody's microphone comes; whether it was played.
    fn speak(&mut self, call: CallId) -> bool {
        let frame = Frame {
            stream: AUDIO_OPUS,
            codec: Codec::Opus,
            key: true,
            captured: self.now,
            pts: Duration::ZERO,
            duration: Duration::ZERO,
            discontinuity: false,
            encoding: None,
            data: [0xf8].into(),
        };
        let before = self.speaker.len();
        self.core.calling_event(calling::Event::Frame { call, frame }, self.now);
        self.drain();
        self.speaker[before..].iter().any(|order| matches!(order, Order::Play(_)))
    }

    /// Whether the camera's own audio is kept from somebody.
    fn is_silent(&self, call: CallId) -> bool {
        self.core.calling.stats(call).expect("it has a session").is_silent
    }

    fn orders(&mut self) -> Vec<&'static str> {
        let name = |order: Order| match order {
            Order::Open => Some("open"),
            Order::Play(_) => None,
            Order::Close => Some("close"),
        };
        self.speaker.drain(..).filter_map(name).collect()
    }
}

#[test]
fn the_audio_of_who_may_talk_is_taken_and_nobody_elses() {
    let mut world = world(Duplex::Half);
    for (peer, audio) in [("bob|1", "sendrecv"), ("eve|1", "sendonly")] {
        world.offer(peer, &with_audio("sendrecv"));
        assert_eq!((answered(&world, peer, "audio"), answered(&world, peer, "video")), (audio, "sendonly"));
    }
    assert_eq!((world.command("eve|1", "start"), world.command("carol|1", "start")), (403, 404));
    assert_eq!((world.command("eve|1", "read"), world.command("bob|1", "read")), (403, 200));
    assert_eq!(world.talker(), None, "who asks whether it may does not talk");
}

#[test]
fn who_only_sends_is_taken_where_it_may_and_else_is_told_why() {
    let mut world = world(Duplex::Half);
    let sends = OFFER.replace("a=recvonly", "a=sendonly");
    world.offer("bob|1", &sends);
    assert_eq!(
        (answered(&world, "bob|1", "audio"), answered(&world, "bob|1", "video")),
        ("recvonly", "inactive")
    );
    world.offer("eve|1", &sends);
    let hangup = world.said.iter().find(|said| said.starts_with("call:hangup eve|1")).expect("it is told");
    assert!(hangup.contains(r#""reason":"not-allowed""#) && hangup.contains("who may send"), "{hangup}");
    // It talks without asking, and watches nothing.
    world.connect("bob|1");
    let bob = world.core.calling.parties().next().expect("bob").call;
    assert!(world.speak(bob));
}

#[test]
fn one_talks_at_a_time_and_the_others_are_told_busy() {
    let mut world = world(Duplex::Half);
    let (bob, carol) = (world.join("bob|1"), world.join("carol|1"));
    assert_eq!((world.command("bob|1", "start"), world.command("carol|1", "start")), (200, 503));
    assert_eq!(world.talk.last(), Some(&json!({ "mode": "half", "by": "bob|1" })));
    assert_eq!((world.speak(bob), world.speak(carol)), (true, false));
    assert_eq!((world.is_silent(bob), world.is_silent(carol)), (true, false), "carol hears the camera");
    assert_eq!(world.command("bob|1", "stop"), 200);
    assert_eq!((world.talker(), world.is_silent(bob)), (None, false));
    assert!(!world.speak(bob), "what was on its way");
    assert_eq!(world.command("carol|1", "start"), 200);
    assert!(world.speak(carol) && world.is_silent(carol));
    let told = |event: &Event| match event {
        Event::TalkStarted { peer, .. } => Some(peer.as_str().to_owned()),
        Event::TalkEnded { .. } => Some("-".into()),
        _ => None,
    };
    assert_eq!(world.events.iter().filter_map(told).collect::<Vec<_>>(), ["bob|1", "-", "carol|1"]);
    assert_eq!(world.core.talk_status().expect("it is on").frames, 2);
}

#[test]
fn with_both_at_once_the_camera_is_heard_on() {
    let mut world = world(Duplex::Full);
    let bob = world.join("bob|1");
    assert_eq!(world.command("bob|1", "start"), 200);
    assert!(world.speak(bob) && !world.is_silent(bob));
    assert_eq!(world.talk.last(), Some(&json!({ "mode": "full", "by": "bob|1" })));
}

#[test]
fn the_speaker_opens_for_the_first_and_closes_a_while_after_the_last() {
    let mut world = world(Duplex::Half);
    let bob = world.join("bob|1");
    world.command("bob|1", "start");
    world.speak(bob);
    world.command("bob|1", "stop");
    world.wait(9 * SECOND);
    assert_eq!(world.orders(), ["open"]);
    world.command("bob|1", "start");
    world.command("bob|1", "stop");
    world.wait(10 * SECOND);
    assert_eq!(world.orders(), ["close"], "it was still open");
    // One whose call ends has talked.
    world.command("bob|1", "start");
    world.call("bob|1", "call:hangup", "{}");
    assert_eq!(world.talker(), None);
    world.wait(11 * SECOND);
    assert_eq!(world.orders(), ["open", "close"]);
    // One who says nothing as well.
    world.join("carol|1");
    world.command("carol|1", "start");
    world.wait(30 * SECOND);
    assert_eq!(world.talker(), None);
    assert_eq!(world.orders(), ["open", "close"]);
}

#[test]
fn an_output_that_does_not_work_is_told_to_everybody_until_it_does() {
    let mut world = world(Duplex::Half);
    world.join("bob|1");
    world.command("bob|1", "start");
    let busy =
        MediaError::new(ErrorKind::OutputBusy, "audio device alsa:hw:1,0 is in use by another program");
    for _ in 0..3 {
        world.input(Input::Speaker(News::Failed { error: busy.clone(), is_over: false }));
    }
    let problem = world.talk.last().expect("told")["problem"].clone();
    assert_eq!(problem["code"], "output-busy");
    assert!(!problem["message"].as_str().expect("words").contains("alsa"), "devices are the owner's");
    let words = |event: &Event| match event {
        Event::Speaker { error } => Some(error.as_ref().map(ToString::to_string)),
        _ => None,
    };
    let told: Vec<_> = world.events.iter().filter_map(words).collect();
    assert_eq!(told, [Some(busy.to_string())], "once, with the name of the device");
    assert_eq!(world.core.talk_status().expect("it is on").problem, Some(busy));
    world.input(Input::Speaker(News::Playing));
    assert_eq!(world.talk.last(), Some(&json!({ "mode": "half", "by": "bob|1" })));
    // One that is not tried again by itself is opened anew for the next who talks.
    let missing = MediaError::missing_plugin("alsasink", "gstreamer1.0-alsa");
    world.input(Input::Speaker(News::Failed { error: missing, is_over: true }));
    world.command("bob|1", "stop");
    world.command("bob|1", "start");
    assert_eq!(world.orders(), ["open", "close", "open"]);
}

#[test]
fn a_renegotiation_does_not_bring_the_sound_back_while_one_talks() {
    let mut world = world(Duplex::Half);
    let bob = world.join("bob|1");
    world.command("bob|1", "start");
    let offer = json!({ "type": "offer", "sdp": with_audio("sendrecv") }).to_string();
    world.call("bob|1", "call:offer", &offer);
    assert!(world.said("call:answer bob|1") == 2 && world.is_silent(bob));
}
