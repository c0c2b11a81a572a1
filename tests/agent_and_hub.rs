//! Both ends at once: clients against the server's hub, on one virtual clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use symple::client::{self, Agent, CommandError, End};
use symple::proto::{Draft, MessageKind, Status};
use symple::server::{self, ConnId, Hub, Transmit, Verdict};

struct Side {
    agent: Agent,
    conn: Option<ConnId>,
    events: Vec<client::Event>,
    /// The connection is cut silently: frames are lost, and neither end is notified.
    cut: bool,
}

struct World {
    hub: Option<Hub>,
    ends: BTreeMap<&'static str, Side>,
    now: Instant,
    conns: u64,
    token: &'static str,
    errors: Vec<String>,
}

impl World {
    fn new(config: server::Config) -> Self {
        World {
            hub: Some(Hub::new(config)),
            ends: BTreeMap::new(),
            now: Instant::now(),
            conns: 0,
            token: "",
            errors: vec![],
        }
    }

    fn add(&mut self, user: &'static str, config: client::Config) {
        let mut agent = Agent::new(config, user.bytes().map(u64::from).sum(), self.now);
        agent.connect(self.now);
        self.ends.insert(user, Side { agent, conn: None, events: Vec::new(), cut: false });
        self.settle();
    }

    fn agent(&mut self, user: &str) -> (&mut Agent, Instant) {
        let now = self.now;
        (&mut self.ends.get_mut(user).expect("added").agent, now)
    }

    fn take_events(&mut self, user: &str) -> Vec<client::Event> {
        self.settle();
        std::mem::take(&mut self.ends.get_mut(user).expect("added").events)
    }

    fn roster(&self, user: &str) -> Vec<String> {
        let mut users: Vec<String> = self.ends[user].agent.roster().map(|peer| peer.user.clone()).collect();
        users.sort();
        users
    }

    fn hub_input(&mut self, input: server::Input<'_>) {
        if let Some(hub) = &mut self.hub {
            hub.handle_input(input, self.now);
        }
    }

    /// Transports everything until both ends are idle.
    fn settle(&mut self) -> Option<Instant> {
        let users: Vec<&'static str> = self.ends.keys().copied().collect();
        for _ in 0..100_000 {
            let (mut busy, mut wake) = (false, None::<Instant>);
            let mut note = |at: Option<Instant>| wake = [wake, at].into_iter().flatten().min();
            for user in &users {
                loop {
                    let output = self.ends.get_mut(user).expect("a key").agent.poll_output();
                    if let client::Output::Timeout(at) = output {
                        note(at);
                        break;
                    }
                    busy = true;
                    self.obey(user, output);
                }
            }
            while let Some(hub) = &mut self.hub {
                match hub.poll_output() {
                    server::Output::Timeout(at) => {
                        note(at);
                        break;
                    }
                    server::Output::Ready(conn) => {
                        busy = true;
                        self.carry(conn);
                    }
                    server::Output::Event(server::Event::Authenticate { conn, auth }) => {
                        let verdict = if auth.token.is_some_and(|token| token.reveal() == self.token) {
                            Verdict::Admit(Default::default())
                        } else {
                            Verdict::Refuse { status: Status::UNAUTHORIZED, message: "No session".into() }
                        };
                        self.hub_input(server::Input::Verdict { conn, verdict });
                    }
                    server::Output::Event(_) => {}
                    // No queue fills up here, so nobody is held.
                    server::Output::Resume(_) => {}
                    other => panic!("unknown output {other:?}"),
                }
            }
            if !busy {
                return wake;
            }
        }
        panic!("it never becomes idle");
    }

    fn obey(&mut self, user: &str, output: client::Output) {
        let now = self.now;
        let end = self.ends.get_mut(user).expect("a key");
        match output {
            client::Output::Open if self.hub.is_some() => {
                self.conns += 1;
                let conn = ConnId(self.conns);
                (end.conn, end.cut) = (Some(conn), false);
                end.agent.handle_input(client::Input::Opened, now);
                self.hub_input(server::Input::Connected {
                    conn,
                    id: format!("s{}", conn.0),
                    host: None,
                    local: false,
                });
            }
            client::Output::Open => {
                end.agent.handle_input(client::Input::OpenFailed { reason: "refused" }, now)
            }
            client::Output::Send(text) => {
                if let (Some(conn), false) = (end.conn, end.cut) {
                    self.hub_input(server::Input::Text { conn, text: &text });
                }
            }
            client::Output::Ping => {
                if let (Some(conn), false) = (end.conn, end.cut) {
                    end.agent.handle_input(client::Input::Alive, now);
                    self.hub_input(server::Input::Alive { conn });
                }
            }
            client::Output::Close { .. } => {
                if let (Some(conn), false) = (end.conn.take(), end.cut) {
                    self.hub_input(server::Input::Closed { conn });
                }
            }
            client::Output::Event(event) => {
                if let client::Event::Error { status, message } = &event {
                    self.errors.push(format!("{status} {message}"));
                }
                end.events.push(event);
            }
            client::Output::Timeout(_) => unreachable!("the caller's"),
            other => unreachable!("no awaited answers here: {other:?}"),
        }
    }

    fn carry(&mut self, conn: ConnId) {
        let Some(hub) = &mut self.hub else { return };
        let mut out = Vec::new();
        while hub.transmit(conn, 1 << 20, self.now, &mut out) {}
        let end = self.ends.values_mut().find(|end| end.conn == Some(conn) && !end.cut);
        let mut closed = false;
        if let Some(end) = end {
            for transmit in out {
                match transmit {
                    Transmit::Text(text) => end.agent.handle_input(client::Input::Text(&text), self.now),
                    Transmit::Ping => {
                        end.agent.handle_input(client::Input::Alive, self.now);
                        hub.handle_input(server::Input::Alive { conn }, self.now);
                    }
                    Transmit::Close { code, reason } => {
                        end.conn = None;
                        end.agent.handle_input(
                            client::Input::Closed { code: Some(code), reason: &reason },
                            self.now,
                        );
                        closed = true;
                    }
                    other => panic!("unknown output {other:?}"),
                }
            }
        } else {
            closed = out.iter().any(|transmit| matches!(transmit, Transmit::Close { .. }));
        }
        if closed {
            self.hub_input(server::Input::Closed { conn });
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..100_000 {
            match self.settle() {
                Some(at) if at <= end => {
                    self.now = self.now.max(at);
                    for one in self.ends.values_mut() {
                        one.agent.handle_input(client::Input::Timeout, self.now);
                    }
                    self.hub_input(server::Input::Timeout);
                }
                _ => return self.now = end,
            }
        }
        panic!("it wakes continuously");
    }

    /// The server stops, with all its connections.
    fn stop(&mut self) {
        self.hub_input(server::Input::Shutdown);
        self.settle();
        self.hub = None;
    }
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn public() -> server::Config {
    server::Config { rooms: vec!["public".into()], ..server::Config::default() }
}

fn config(user: &str) -> client::Config {
    client::Config::new(user)
}

fn object(value: serde_json::Value) -> symple::proto::Object {
    value.as_object().cloned().expect("an object")
}

#[test]
fn all_peers_see_each_other_and_their_data() {
    let mut world = World::new(public());
    let camera = client::Config { data: object(json!({"peerType":"camera"})), ..config("camera") };
    world.add("camera", camera);
    world.add("alice", config("alice"));
    world.add("bob", config("bob"));
    assert_eq!(world.roster("camera"), ["alice", "bob"]);
    assert_eq!(world.roster("alice"), ["bob", "camera"]);
    let (agent, now) = world.agent("camera");
    agent.set_data(object(json!({"viewers": 2})), now).expect("online");
    world.settle();
    let (agent, _) = world.agent("bob");
    let camera = agent.roster().find(|peer| peer.user == "camera").expect("there");
    assert_eq!((camera.peer_type(), &camera.extra["viewers"]), (Some("camera"), &json!(2)));
    assert_eq!(camera.host, None);
    let (agent, now) = world.agent("alice");
    agent.close(now);
    world.settle();
    assert_eq!(world.roster("camera"), ["bob"]);
    assert_eq!(world.errors, [""; 0]);
}

#[test]
fn rooms_and_rosters_return_after_a_restart() {
    let mut world = World::new(server::Config::default());
    for user in ["alice", "bob", "cyd"] {
        world.add(user, config(user));
        let (agent, now) = world.agent(user);
        agent.join("team", now).expect("online");
        world.settle();
    }
    for _ in 0..5 {
        world.stop();
        world.run(secs(7));
        world.hub = Some(Hub::new(server::Config::default()));
        world.run(secs(40));
        assert_eq!(world.roster("alice"), ["bob", "cyd"], "and no ghosts");
        assert_eq!(world.roster("cyd"), ["alice", "bob"]);
        assert!(world.ends["bob"].agent.rooms().any(|room| room == "team"));
    }
    assert_eq!(world.errors, [""; 0]);
}

#[test]
fn a_silent_loss_is_noticed_at_both_ends() {
    let mut world = World::new(public());
    world.add("alice", config("alice"));
    world.add("bob", config("bob"));
    world.take_events("bob");
    world.ends.get_mut("alice").expect("added").cut = true;
    world.run(secs(70));
    assert_eq!(world.roster("bob"), ["alice"], "back, exactly once");
    assert_eq!(world.roster("alice"), ["bob"]);
    let events = world.take_events("alice");
    let flicker = |event: &client::Event| matches!(event, client::Event::PeerRemoved { .. });
    assert!(!events.iter().any(flicker), "bob was online all the time: {events:?}");
}

#[test]
fn commands_get_their_replies_or_an_error_if_nobody_is_there() {
    let mut world = World::new(public());
    world.add("alice", config("alice"));
    world.add("bob", config("bob"));
    world.take_events("alice");
    let bob = world.ends["bob"].agent.peer().expect("online").address().to_string();
    let (alice, now) = world.agent("alice");
    let known = alice.command(&bob, "cam", "zoom", &json!({"level": 2}), now).expect("online");
    let unknown = alice.command("bob|nobody", "cam", "zoom", &(), now).expect("online");
    let request = world.take_events("bob").into_iter().find_map(|event| match event {
        client::Event::Command { command: message } => Some(message),
        _ => None,
    });
    let (bob, now) = world.agent("bob");
    bob.reply(&request.expect("a request"), Status::OK, &json!({"level": 2}), now).expect("online");
    let mut ended = BTreeMap::new();
    for event in world.take_events("alice") {
        if let client::Event::Reply { id, result } = event {
            ended.insert(id, result.map(|reply| reply.status()));
        }
    }
    assert_eq!(ended[&known], Ok(Some(Status::OK)));
    world.run(secs(1));
    for event in world.take_events("alice") {
        if let client::Event::Reply { id, result } = event {
            ended.insert(id, result.map(|reply| reply.status()));
        }
    }
    assert_eq!(ended[&unknown], Err(CommandError::NobodyThere));
}

#[test]
fn a_flood_arrives_completely_and_in_order() {
    let mut world = World::new(public());
    world.add("alice", config("alice"));
    world.add("bob", config("bob"));
    world.take_events("bob");
    for n in 0..3000 {
        let (alice, now) = world.agent("alice");
        alice.send(Draft::new(MessageKind::Message).to("bob").data(&n), now).expect("fits");
    }
    world.run(secs(60));
    let got = world.take_events("bob");
    let numbers = got.iter().filter_map(|event| match event {
        client::Event::Message { message } => message.data::<usize>().ok(),
        _ => None,
    });
    assert!(numbers.eq(0..3000));
    assert_eq!(world.errors, [""; 0], "never above the server's rate");
}

#[test]
fn a_refused_room_is_not_requested_again() {
    let mut world = World::new(server::Config { dynamic_rooms: false, ..public() });
    world.add("alice", config("alice"));
    let (alice, now) = world.agent("alice");
    alice.join("team", now).expect("online");
    let refused = |events: &[client::Event]| {
        events.iter().any(|event| matches!(event, client::Event::RoomRefused { room, status: Status::FORBIDDEN, .. } if room == "team"))
    };
    assert!(refused(&world.take_events("alice")));
    world.stop();
    world.hub = Some(Hub::new(server::Config { dynamic_rooms: false, ..public() }));
    world.run(secs(10));
    assert!(!refused(&world.take_events("alice")), "not requested again");
}

#[test]
fn a_refusal_ends_the_client_and_a_token_admits_it() {
    let mut world = World::new(server::Config { authenticate: true, ..public() });
    world.token = "right";
    let with = |token| client::Config { token: Some(symple::proto::Token::new(token)), ..config("alice") };
    world.add("alice", with("wrong"));
    world.run(secs(600));
    let events = world.take_events("alice");
    assert!(
        matches!(&events[..], [client::Event::Ended { why: End::Refused { message } }] if message.contains("No session")),
        "{events:?}"
    );
    let (alice, now) = world.agent("alice");
    alice.set_token(Some(symple::proto::Token::new("right")));
    alice.connect(now);
    assert!(matches!(world.take_events("alice")[..], [client::Event::Online { .. }]));
}
