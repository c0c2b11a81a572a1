//! Viewers whose commands come by the channel of their calls: the camera's core and real SCTP, on a virtual clock.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::*;
use crate::camera::wishes;
use crate::media::Kind;
use crate::proto::{Draft, MessageKind, Status};
use crate::rtc::{
    ChannelError, ChannelId, ChannelMessage, ChannelOptions, Directions, Fanout, Path, SessionId,
};

const SESSION: SessionId = SessionId(1);
const CAMERA: &str = "192.0.2.1:4000";
/// The way between a viewer and the camera.
const DELAY: Duration = Duration::from_millis(10);
/// What a viewer may say in a second, and at once; see the core's `channels`.
const PER_SECOND: usize = 100;
const BURST: usize = 200;

/// A viewer, with the messages of its channels.
struct Viewer {
    name: &'static str,
    fanout: Fanout,
    deadline: Option<Instant>,
    channel: Option<ChannelId>,
    messages: Vec<ChannelMessage>,
    closed: usize,
}

struct Watched {
    world: World,
    viewers: Vec<Viewer>,
    /// On its way: to a viewer, or to the camera from one.
    wire: VecDeque<(Instant, Way, Vec<u8>)>,
    count: usize,
}

#[derive(Clone, Copy)]
enum Way {
    To(usize),
    From(usize),
}

fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 10 + n as u8], 5000))
}

impl Watched {
    /// Viewers with these names, who are in a call with the camera and have opened its channel.
    fn new(world: World, names: &[&'static str]) -> Watched {
        let mut watched = Watched { world, viewers: vec![], wire: VecDeque::new(), count: 0 };
        watched.world.datagrams = Some(vec![]);
        for (n, name) in names.iter().enumerate() {
            watched.join(n, name);
        }
        watched
    }

    fn join(&mut self, n: usize, name: &'static str) {
        self.call(name, true);
        self.viewers[n].channel = Some(self.open(n, "symple"));
        self.run(Duration::from_millis(200));
    }

    /// Another viewer calls the camera, with a section for data channels or without.
    fn call(&mut self, name: &'static str, channels: bool) {
        let now = self.world.now;
        let candidate = rtc::LocalCandidate { base: address(self.viewers.len()), advertised: None };
        let config = rtc::Config {
            candidates: vec![candidate],
            channels: Some(rtc::ChannelLimits::default()),
            ..rtc::Config::default()
        };
        let mut fanout = Fanout::new(config, now);
        fanout.set_directions(SESSION, Directions::new([], [Kind::Audio, Kind::Video]));
        fanout.set_channels(SESSION, channels);
        let offer = fanout.offer(SESSION, now).expect("it has something to offer");
        self.world.offer(name, &offer.sdp);
        let start = format!("call:answer {name} ");
        let answer = self.world.said.iter().find_map(|said| said.strip_prefix(&start)).expect("answered");
        let answer: Value = serde_json::from_str(answer).expect("JSON");
        fanout
            .answer(SESSION, answer["sdp"].as_str().expect("a description"), now)
            .expect("it fits the offer");
        self.viewers.push(Viewer {
            name,
            fanout,
            deadline: None,
            channel: None,
            messages: vec![],
            closed: 0,
        });
        self.run(Duration::from_secs(1));
    }

    fn open(&mut self, n: usize, label: &str) -> ChannelId {
        let now = self.world.now;
        self.viewers[n].fanout.open_channel(SESSION, &ChannelOptions::new(label), now).expect("agreed")
    }

    fn drain(&mut self) {
        let now = self.world.now;
        for (n, viewer) in self.viewers.iter_mut().enumerate() {
            while let Some(transmit) = viewer.fanout.poll_transmit(now) {
                let all = transmit.datagrams().map(|data| (now + DELAY, Way::From(n), data.to_vec()));
                self.wire.extend(all);
            }
            loop {
                match viewer.fanout.poll_output() {
                    rtc::Output::Timeout(at) => break viewer.deadline = Some(at),
                    rtc::Output::Event(rtc::Event::ChannelMessage { message, .. }) => {
                        viewer.messages.push(message)
                    }
                    rtc::Output::Event(rtc::Event::ChannelClosed { .. }) => viewer.closed += 1,
                    _ => {}
                }
            }
        }
        self.world.drain();
        for (to, data) in self.world.datagrams.as_mut().expect("taken").drain(..) {
            let n = (0..self.viewers.len()).find(|n| address(*n) == to);
            self.wire.extend(n.map(|n| (now + DELAY, Way::To(n), data)));
        }
    }

    fn run(&mut self, span: Duration) {
        let end = self.world.now + span;
        loop {
            self.drain();
            let wire = self.wire.front().map(|(at, ..)| *at);
            let deadlines = self.viewers.iter().filter_map(|viewer| viewer.deadline).min();
            let next = [wire, deadlines, self.world.next].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.world.now = self.world.now.max(next);
            let now = self.world.now;
            while let Some((_, way, data)) = self.wire.pop_front_if(|(at, ..)| *at <= now) {
                let camera: SocketAddr = CAMERA.parse().expect("literal");
                match way {
                    Way::To(n) => {
                        let path = Path::udp(address(n), camera);
                        let input = rtc::Input::Datagram { path, data: &data };
                        self.viewers[n].fanout.handle_input(input, now);
                    }
                    Way::From(n) => {
                        let path = Path::udp(camera, address(n));
                        self.world.input(Input::Datagram { path, data: &data });
                    }
                }
                self.drain();
            }
            for viewer in &mut self.viewers {
                if viewer.deadline.is_some_and(|at| at <= now) {
                    viewer.fanout.handle_input(rtc::Input::Timeout, now);
                }
            }
            if self.world.next.is_some_and(|at| at <= now) {
                self.world.input(Input::Timeout);
            }
            self.answer_wishes();
        }
        self.world.now = end;
        self.drain();
    }

    /// As the camera's task does.
    fn answer_wishes(&mut self) {
        for command in std::mem::take(&mut self.world.heard) {
            self.count += 1;
            if CameraCore::is_share(&command) {
                self.world.input(Input::Share { command, whence: Whence::Unknown, encoder: None });
            }
        }
    }

    fn say(&mut self, n: usize, message: impl Into<ChannelMessage>) -> Result<(), ChannelError> {
        let (now, viewer) = (self.world.now, &mut self.viewers[n]);
        viewer.fanout.send(SESSION, viewer.channel.expect("open"), &message.into(), now)
    }

    /// Sends a command, and returns the status and the data of its reply.
    fn ask(&mut self, n: usize, node: &str, action: &str) -> Option<(u16, Value)> {
        self.count += 1;
        let id = format!("{}-{}", self.viewers[n].name, self.count);
        let command = Draft::new(MessageKind::Command).id(&id).with("from", "owner|1");
        let text = command.with("node", node).with("action", action).finish();
        self.say(n, text.as_str()).expect("there is room");
        self.run(Duration::from_millis(300));
        self.reply(n, &id)
    }

    fn reply(&self, n: usize, id: &str) -> Option<(u16, Value)> {
        let reply = self.texts(n).find(|text| text["id"] == id && text["type"] == "command")?;
        Some((reply["status"].as_u64().expect("a number") as u16, reply["data"].clone()))
    }

    fn texts(&self, n: usize) -> impl Iterator<Item = Value> {
        self.viewers[n].messages.iter().filter_map(|message| match message {
            ChannelMessage::Text(text) => Some(serde_json::from_str(text).expect("JSON")),
            ChannelMessage::Binary(_) => None,
        })
    }

    fn bytes(&self, n: usize) -> Vec<u8> {
        let binary = |message: &ChannelMessage| match message {
            ChannelMessage::Binary(bytes) => bytes.clone(),
            ChannelMessage::Text(_) => vec![],
        };
        self.viewers[n].messages.iter().flat_map(binary).collect()
    }

    /// A snapshot of this size is made, if one is wanted.
    fn picture(&mut self, bytes: usize) -> Vec<u8> {
        let data: Vec<u8> = (0..bytes).map(|n| (n / 7) as u8).collect();
        let frame = crate::media::Frame {
            stream: JPEG,
            codec: Codec::Jpeg,
            key: true,
            captured: self.world.now,
            pts: Duration::ZERO,
            duration: Duration::ZERO,
            discontinuity: false,
            encoding: None,
            data: data.clone().into(),
        };
        self.world.input(Input::Frame(&frame));
        data
    }
}

fn with_jpeg() -> World {
    let mut world = World::new(4, true);
    let all = streams(true, None).into_iter().chain([StreamInfo::new(JPEG, Codec::Jpeg)]);
    world.input(Input::Source(SourceEvent::Streams(all.collect())));
    world
}

#[test]
fn commands_are_answered_by_the_way_that_they_came() {
    let mut all = Watched::new(World::new(4, true), &["bob|2", "eve|3"]);
    let (status, data) = all.ask(0, "camera:share", "read").expect("a reply");
    assert_eq!((status, data["user"].as_str()), (200, Some("bob")), "not the owner, as it says");
    assert_eq!(all.ask(1, "camera:share", "wish").expect("a reply").0, 400);
    // The server carries this one.
    let command = r#"{"type":"command","id":"9","from":"bob|2","node":"camera:share","action":"read"}"#;
    let command = Message::parse(command).expect("a command");
    let (status, data) = wishes::no_call();
    assert!(!all.world.answer(&command, status, &data), "it did not come by a channel");
    // So does one with the id of another one's command.
    all.say(0, r#"{"type":"command","id":"7","node":"pan"}"#).expect("there is room");
    all.drain();
    let theirs = Message::parse(r#"{"type":"command","id":"7","from":"eve|3","node":"pan"}"#);
    assert!(!all.world.answer(&theirs.expect("a command"), Status::OK, &json!(1)));
}

#[test]
fn a_command_is_answered_once_and_more_may_be_said_before() {
    let mut all = Watched::new(World::new(4, true), &["bob|2"]);
    all.say(0, r#"{"type":"command","id":"7","node":"pan","action":"left"}"#).expect("there is room");
    all.run(Duration::from_millis(30));
    let command =
        Message::parse(r#"{"type":"command","id":"7","from":"bob|2","node":"pan","action":"left"}"#);
    let command = command.expect("a command");
    let sent = [202, 202, 200, 200].map(|status| all.world.answer(&command, Status(status), &json!(status)));
    assert_eq!(sent, [true, true, true, false]);
    all.run(Duration::from_millis(100));
    let data: Vec<Value> = all.texts(0).map(|text| text["data"].clone()).collect();
    assert_eq!(data, [json!(202), json!(202), json!(200)]);
}

#[test]
fn what_is_not_for_the_channel_is_not_taken_from_it() {
    let mut all = Watched::new(World::new(4, true), &["bob|2"]);
    let said = all.world.said.len();
    let init = r#"{"type":"message","id":"1","receipt":true,"subtype":"call:hangup","data":{}}"#;
    let table = [
        (r#"{"type":"message","id":"2","receipt":true,"data":"hello"}"#, Some(200)),
        (r#"{"type":"event","id":"3","receipt":true,"name":"knock"}"#, Some(200)),
        (r#"{"type":"command","id":"4","receipt":true,"node":"pan"}"#, Some(200)),
        (init, Some(404)),
        (r#"{"type":"presence","id":"5","receipt":true,"data":{}}"#, Some(404)),
        (r#"{"type":"command","id":"6","receipt":true,"node":"pan","status":200}"#, Some(404)),
        (r#"{"type":"auth","id":"7","receipt":true,"user":"owner"}"#, None),
        (r#"{"type":"message","id":"8"}"#, None),
        ("garbage", None),
    ];
    for (text, _) in table {
        all.say(0, text).expect("there is room");
    }
    all.say(0, &[1_u8, 2][..]).expect("there is room");
    all.run(Duration::from_millis(200));
    let receipts: Vec<u64> = all.texts(0).filter_map(|text| text["status"].as_u64()).collect();
    let expected: Vec<u64> = table.into_iter().filter_map(|(_, status)| status).collect();
    assert_eq!(receipts, expected);
    assert_eq!(all.count, 4, "what was passed on");
    assert_eq!(all.world.said.len(), said, "no call is made or ended by it");
    // Nor is any other channel, nor a second one of the same name.
    for label in ["chat", "symple"] {
        all.open(0, label);
        all.run(Duration::from_millis(300));
    }
    assert_eq!(all.viewers[0].closed, 2);
    assert!(all.ask(0, "camera:share", "read").is_some());
}

#[test]
fn a_viewer_that_floods_is_held_and_harms_nobody() {
    let mut all = Watched::new(World::new(4, true), &["bob|2", "eve|3"]);
    let message = |len: usize| format!(r#"{{"type":"message","data":"{}"}}"#, "x".repeat(len));
    let (short, long) = (message(400), message(9 * 1024));
    // The messages that each second brings, and how many tokens each of them costs.
    for (text, cost) in [(short.as_str(), 1), (long.as_str(), 10)] {
        let before = all.count;
        let mut slowest = Duration::ZERO;
        let mut refused = 0;
        let seconds = 5;
        for n in 0..seconds * 20 {
            for _ in 0..40 {
                refused += usize::from(all.say(0, text) == Err(ChannelError::Full));
            }
            all.run(Duration::from_millis(50));
            if n % 20 == 10 {
                let asked = all.world.now;
                assert_eq!(all.ask(1, "camera:share", "read").map(|(status, _)| status), Some(200));
                slowest = slowest.max(all.world.now - asked);
            }
        }
        let said = all.count - before;
        assert!(refused > 0, "it is held");
        // With those of the other one, and what came in one datagram.
        let most = (BURST + PER_SECOND * seconds * 2) / cost + 200;
        assert!(said < most && said > PER_SECOND / cost, "{said} were taken, not up to {most}");
        // It is no worse off than before, once it is quiet.
        all.run(Duration::from_secs(70));
        assert!(all.ask(0, "camera:share", "read").is_some());
    }
    assert!(all.world.events.iter().all(|event| !matches!(event, Event::ViewerLeft { .. })));
}

#[test]
fn a_snapshot_comes_whole_beside_other_replies() {
    let mut all = Watched::new(with_jpeg(), &["bob|2", "eve|3"]);
    assert_eq!(all.ask(0, "camera:snapshot", "keep").map(|(status, _)| status), Some(400));
    assert_eq!(all.ask(0, "camera:snapshot", "take"), None, "it is being taken");
    assert_eq!(all.ask(0, "camera:snapshot", "take").map(|(status, _)| status), Some(503), "one at a time");
    let jpeg = all.picture(700_000);
    assert_eq!(all.ask(0, "camera:share", "read").map(|(status, _)| status), Some(200));
    all.run(Duration::from_secs(3));
    let replies: Vec<Value> = all.texts(0).filter(|text| text["node"] == "camera:snapshot").collect();
    assert_eq!(replies.last().expect("three")["data"], json!({ "type": "image/jpeg", "bytes": jpeg.len() }));
    assert!(all.bytes(0) == jpeg, "{} bytes", all.bytes(0).len());
    assert!(all.bytes(1).is_empty(), "it is for who asked");
    assert_eq!(all.ask(1, "camera:snapshot", "take"), None);
    let next = all.picture(1000);
    all.run(Duration::from_millis(100));
    assert!(all.bytes(1) == next && all.bytes(0) == jpeg);
}

#[test]
fn a_viewer_that_does_not_read_its_snapshot_keeps_nobody_waiting() {
    let mut all = Watched::new(with_jpeg(), &["bob|2", "eve|3"]);
    for n in 0..2 {
        assert_eq!(all.ask(n, "camera:snapshot", "take"), None);
    }
    let now = all.world.now;
    all.viewers[0].fanout.hold_channels(SESSION, true, now);
    let jpeg = all.picture(3_000_000);
    all.run(Duration::from_secs(15));
    assert!(all.bytes(1) == jpeg, "{} bytes", all.bytes(1).len());
    let sent = |all: &Watched| {
        let bob = |viewer: &crate::camera::Viewer| viewer.address.as_str() == "bob|2";
        let found = all.world.core.viewers().find(|(viewer, _)| bob(viewer));
        found.and_then(|(_, stats)| stats).expect("it watches").channels.bytes_sent
    };
    assert!(sent(&all) < 512 * 1024, "{} bytes wait for bob", sent(&all));
    // It goes on when it reads, or is forgotten with the call.
    let now = all.world.now;
    all.viewers[0].fanout.hold_channels(SESSION, false, now);
    all.run(Duration::from_secs(90));
    assert!(all.bytes(0) == jpeg, "{} bytes", all.bytes(0).len());
    all.world.call("bob|2", "call:hangup", "{}");
    all.run(Duration::from_secs(1));
    assert_eq!(all.ask(1, "camera:share", "read").map(|(status, _)| status), Some(200));
}

#[test]
fn a_camera_without_jpeg_says_so() {
    let mut all = Watched::new(World::new(4, true), &["bob|2"]);
    let (status, data) = all.ask(0, "camera:snapshot", "take").expect("a reply");
    assert_eq!((status, data["code"].as_str()), (404, Some("no-jpeg")));
}

#[test]
fn a_channel_that_nobody_uses_costs_nothing_that_counts() {
    let sent = |has_channel: bool| {
        let mut all = Watched::new(World::new(4, true), &[]);
        all.call("bob|2", has_channel);
        if has_channel {
            all.viewers[0].channel = Some(all.open(0, "symple"));
        }
        all.run(Duration::from_secs(1));
        let before = all.world.reached.len();
        all.run(Duration::from_secs(600));
        all.world.reached.len() - before
    };
    let (without, with) = (sent(false), sent(true));
    println!("in ten minutes: {with} datagrams with a channel, {without} without");
    assert!(with <= without + 60, "{with}, not {without}");
}
