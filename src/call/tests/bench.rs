//! One end on its own, taken to any stage of a call in one line; its outputs are read as lines.

use std::time::{Duration, Instant};

use crate::call::{CallId, Calls, Config, Event, Input, Output};

pub(super) const US: &str = "m|1";
/// Its address is smaller than ours, so in a glare we give way.
pub(super) const LOW: &str = "b|2";
/// Its address is greater than ours, so in a glare it gives way.
pub(super) const HIGH: &str = "z|3";

pub(super) const OFFER: &str = r#"{"type":"offer","sdp":"O"}"#;
pub(super) const ANSWER: &str = r#"{"type":"answer","sdp":"A"}"#;
pub(super) const CANDIDATE: &str = r#"{"candidate":"candidate:c","sdpMid":"0","sdpMLineIndex":0}"#;
pub(super) const END: &str = r#"{"candidate":"","sdpMid":"0","sdpMLineIndex":0}"#;

/// Every stage of a call at which a message can arrive. The call is number 1, its remote `b|2`, its id `w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Idle,
    Ringing,
    Incoming,
    CallerFresh,
    CalleeFresh,
    CallerOffered,
    CalleeAsked,
    CallerStable,
    CalleeStable,
    CallerActive,
    CalleeActive,
    CallerActiveOffered,
    CalleeActiveOffered,
    CallerActiveAsked,
    CalleeActiveAsked,
}

pub(super) const STAGES: [Stage; 15] = [
    Stage::Idle,
    Stage::Ringing,
    Stage::Incoming,
    Stage::CallerFresh,
    Stage::CalleeFresh,
    Stage::CallerOffered,
    Stage::CalleeAsked,
    Stage::CallerStable,
    Stage::CalleeStable,
    Stage::CallerActive,
    Stage::CalleeActive,
    Stage::CallerActiveOffered,
    Stage::CalleeActiveOffered,
    Stage::CallerActiveAsked,
    Stage::CalleeActiveAsked,
];

impl Stage {
    pub(super) fn is_caller(self) -> bool {
        use Stage::*;
        matches!(
            self,
            Ringing
                | CallerFresh
                | CallerOffered
                | CallerStable
                | CallerActive
                | CallerActiveOffered
                | CallerActiveAsked
        )
    }

    pub(super) fn is_active(self) -> bool {
        use Stage::*;
        matches!(
            self,
            CallerActive
                | CalleeActive
                | CallerActiveOffered
                | CalleeActiveOffered
                | CallerActiveAsked
                | CalleeActiveAsked
        )
    }
}

pub(super) struct Bench {
    pub calls: Calls,
    pub now: Instant,
}

pub(super) fn id(n: u64) -> CallId {
    CallId(n)
}

impl Bench {
    pub(super) fn new(config: Config) -> Self {
        let mut bench = Bench { calls: Calls::new(config), now: Instant::now() };
        assert_eq!(bench.input(Input::Own { address: US }), [""; 0]);
        bench
    }

    /// At this stage, with the default configuration.
    pub(super) fn at(stage: Stage) -> Self {
        Self::with(Config::default(), stage)
    }

    pub(super) fn with(config: Config, stage: Stage) -> Self {
        use Stage::*;
        let mut b = Self::new(config);
        let now = b.now;
        if stage == Idle {
            return b;
        }
        if stage.is_caller() {
            b.calls.invite(LOW, "w", "{}", now).expect("idle");
        } else {
            b.hear(LOW, "call:init", "{}");
        }
        if matches!(stage, Ringing | Incoming) {
            b.drain();
            return b;
        }
        if stage.is_caller() {
            b.hear(LOW, "call:accept", "{}");
        } else {
            b.calls.accept(id(1), now).expect("incoming");
        }
        if matches!(stage, CallerFresh | CalleeFresh) {
            b.drain();
            return b;
        }
        if stage.is_caller() {
            b.calls.local_offer(id(1), "O", now).expect("accepted");
        } else {
            b.hear(LOW, "call:offer", OFFER);
        }
        if matches!(stage, CallerOffered | CalleeAsked) {
            b.drain();
            return b;
        }
        if stage.is_caller() {
            b.hear(LOW, "call:answer", ANSWER);
        } else {
            b.calls.local_answer(id(1), "A", now).expect("offered");
        }
        if stage.is_active() {
            b.calls.media_connected(id(1), now).expect("connecting");
        }
        match stage {
            CallerActiveOffered | CalleeActiveOffered => {
                b.calls.local_offer(id(1), "O", now).expect("stable")
            }
            CallerActiveAsked | CalleeActiveAsked => drop(b.hear(LOW, "call:offer", OFFER)),
            _ => {}
        }
        b.drain();
        b
    }

    pub(super) fn input(&mut self, input: Input<'_>) -> Vec<String> {
        self.calls.handle_input(input, self.now);
        self.drain()
    }

    /// A message with the id `w`.
    pub(super) fn hear(&mut self, from: &str, subtype: &str, data: &str) -> Vec<String> {
        self.input(Input::Message { from, host: None, subtype, data: Some(data), call: Some("w") })
    }

    /// A message from a client that knows no ids.
    pub(super) fn hear_plain(&mut self, from: &str, subtype: &str, data: &str) -> Vec<String> {
        self.input(Input::Message { from, host: None, subtype, data: Some(data), call: None })
    }

    pub(super) fn hear_id(&mut self, from: &str, call: &str, subtype: &str, data: &str) -> Vec<String> {
        self.input(Input::Message { from, host: None, subtype, data: Some(data), call: Some(call) })
    }

    pub(super) fn pass(&mut self, seconds: u64) -> Vec<String> {
        self.now += Duration::from_secs(seconds);
        self.drain()
    }

    pub(super) fn drain(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.calls.poll_output(self.now) {
                Output::Timeout(_) => return lines,
                output => lines.push(line(&output)),
            }
        }
    }

    /// Seconds until the next deadline.
    pub(super) fn wakes_in(&mut self) -> Option<u64> {
        match self.calls.poll_output(self.now) {
            Output::Timeout(at) => at.map(|at| (at - self.now).as_secs()),
            other => panic!("drain first: {other:?}"),
        }
    }
}

/// `to < subtype id data` for what is sent, otherwise the event as text.
pub(super) fn line(output: &Output) -> String {
    match output {
        Output::Send { to, subtype, call, data } => {
            let subtype = subtype.strip_prefix("call:").expect("all subtypes are call:…");
            format!("{to} < {subtype} {} {data}", call.as_deref().unwrap_or("-"))
        }
        Output::Event(event) => match event {
            Event::Incoming { id, from, data, replaces: None } => format!("incoming {id} {from} {data}"),
            Event::Incoming { id, from, data, replaces: Some(old) } => {
                format!("incoming {id} {from} {data} for {old}")
            }
            Event::Accepted { id } => format!("accepted {id}"),
            Event::RemoteOffer { id, sdp } => format!("offer {id} {sdp}"),
            Event::RemoteAnswer { id, sdp } => format!("answer {id} {sdp}"),
            Event::RemoteCandidate { id, candidate } => format!("candidate {id} {}", candidate.candidate),
            Event::RemoteCandidatesDone { id } => format!("done {id}"),
            Event::State { id, state } => format!("state {id} {state:?}"),
            Event::Moved { id, remote } => format!("moved {id} {remote}"),
            Event::Ended { id, remote, end } => format!("ended {id} {remote} {}", end.reason.code()),
        },
        Output::Timeout(at) => format!("timeout {at:?}"),
    }
}
