//! A client core, its driver and a small server, on a clock that only the test advances.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use symple::client::{Agent, AnswerId, Config, Event, Input, Output, State};
use symple::proto::CloseCode;

/// A client core with a driver that records its outputs.
pub(crate) struct Client {
    pub agent: Agent,
    pub start: Instant,
    pub now: Instant,
    pub sent: Vec<String>,
    pub events: Vec<Event>,
    pub opens: usize,
    pub pings: usize,
    pub answered: Vec<AnswerId>,
    pub closes: Vec<u16>,
    pub wake: Option<Instant>,
}

impl Client {
    pub(crate) fn new(config: Config) -> Self {
        let now = Instant::now();
        Client {
            agent: Agent::new(config, 42, now),
            start: now,
            now,
            sent: Vec::new(),
            events: Vec::new(),
            opens: 0,
            pings: 0,
            answered: Vec::new(),
            closes: Vec::new(),
            wake: None,
        }
    }

    /// Connected, welcomed as `user|1`, with its first frames read.
    pub(crate) fn online(config: Config) -> Self {
        let mut client = Client::new(config);
        client.connect();
        client.admit(1, &[]);
        client.drop_past();
        client
    }

    pub(crate) fn connect(&mut self) {
        self.agent.connect(self.now);
        self.drain();
    }

    /// Opens the socket and welcomes.
    pub(crate) fn admit(&mut self, id: u32, rooms: &[&str]) {
        self.input(Input::Opened);
        self.text(&welcome(id, rooms));
    }

    pub(crate) fn input(&mut self, input: Input<'_>) {
        self.agent.handle_input(input, self.now);
        self.drain();
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.input(Input::Text(text));
    }

    pub(crate) fn json(&mut self, value: Value) {
        self.text(&value.to_string());
    }

    pub(crate) fn lose(&mut self, code: Option<u16>) {
        self.input(Input::Closed { code: code.map(CloseCode), reason: "" });
    }

    /// Executes outputs until there are none left.
    pub(crate) fn drain(&mut self) {
        for _ in 0..100_000 {
            match self.agent.poll_output() {
                Output::Open => self.opens += 1,
                Output::Send(text) => self.sent.push(text),
                Output::Ping => self.pings += 1,
                Output::Close { code, .. } => self.closes.push(code.0),
                Output::Event(event) => self.events.push(event),
                Output::Answered(id) => self.answered.push(id),
                Output::Timeout(at) => return self.wake = at,
                other => panic!("unknown output {other:?}"),
            }
        }
        panic!("it never becomes idle");
    }

    /// Advances the time, waking the client at its timeouts.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..100_000 {
            match self.wake {
                Some(at) if at <= end => {
                    self.now = self.now.max(at);
                    self.input(Input::Timeout);
                }
                _ => return self.now = end,
            }
        }
        panic!("it wakes continuously");
    }

    /// Waits for the next attempt to connect.
    pub(crate) fn wait_for_dial(&mut self) -> Duration {
        let State::Waiting { until } = self.agent.state() else { panic!("{:?}", self.agent.state()) };
        let wait = until - self.now;
        self.run(wait);
        assert_eq!(self.agent.state(), State::Opening);
        wait
    }

    pub(crate) fn drop_past(&mut self) {
        self.sent.clear();
        self.events.clear();
    }

    /// The frames sent since the last call, as values.
    pub(crate) fn take_sent(&mut self) -> Vec<Value> {
        self.sent.drain(..).map(|text| serde_json::from_str(&text).expect("JSON")).collect()
    }

    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
}

pub(crate) fn config() -> Config {
    Config::new("alice")
}

pub(crate) fn welcome(id: u32, rooms: &[&str]) -> String {
    let mut all = vec!["alice"];
    all.extend(rooms);
    json!({"type": "welcome", "protocol": "symple/4", "status": 200, "rooms": all,
        "peer": {"id": id.to_string(), "user": "alice", "name": "Alice", "online": true, "host": "192.0.2.7"}})
    .to_string()
}

pub(crate) fn presence(user: &str, id: u32, online: bool) -> Value {
    json!({"type": "presence", "from": format!("{user}|{id}"),
        "data": {"id": id.to_string(), "user": user, "name": user, "online": online}})
}

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}
