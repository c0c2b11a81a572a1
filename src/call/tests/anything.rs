//! Random inputs: no sequence panics, exceeds a limit, or leaves two ends in disagreement.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::bench::US;
use super::net::{App, Net};
use crate::call::body::Candidate;
use crate::call::phase::Phase;
use crate::call::{CallId, Calls, Config, Event, Input, Output, RateLimit, State};

const LIMITS: Config = Config {
    ring_timeout: Duration::from_secs(30),
    connect_timeout: Duration::from_secs(60),
    resume_window: Duration::from_secs(30),
    answer_timeout: Duration::from_secs(5),
    hangup_wait: Duration::from_secs(1),
    busy_limit: Some(4),
    max_calls: 5,
    max_early_candidates: 3,
    max_candidate: 120,
    max_description: 120,
    max_init: 60,
    init_rate: RateLimit::UNLIMITED,
    answer_rate: RateLimit::UNLIMITED,
};

#[derive(Clone, Debug)]
enum Op {
    Hear { from: String, subtype: String, data: Option<String>, call: Option<String> },
    Own(String),
    Offline(String),
    Online(String),
    Lost,
    Back,
    Pass(u64),
    Invite { to: String, wire: String, data: String, sdp: Option<String> },
    Accept(u64),
    Reject(u64),
    Hangup(u64),
    Offer(u64),
    Answer(u64),
    Candidate(u64),
    Connected(u64),
    Failed(u64),
    Closed(u64),
}

fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(vec!["a|1", "a|2", "b|1", "z|1", "z|2", "a", "z|", US]).prop_map(String::from),
        1 => any::<String>(),
    ]
}

fn wire() -> impl Strategy<Value = String> {
    prop_oneof![8 => prop::sample::select(vec!["v", "w", "x", "y"]).prop_map(String::from), 1 => any::<String>()]
}

fn data() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(vec![
            "{}",
            "null",
            r#"{"reason":"busy"}"#,
            r#"{"offer":{"type":"offer","sdp":"O"}}"#,
            r#"{"offer":true}"#,
            r#"{"type":"offer","sdp":"O"}"#,
            r#"{"type":"answer","sdp":"A"}"#,
            r#"{"candidate":"a=candidate:1","sdpMid":"0"}"#,
            r#"{"candidate":""}"#,
        ])
        .prop_map(String::from),
        1 => any::<String>(),
        1 => ".{0,200}".prop_map(|text| serde_json::json!({ "candidate": text, "type": "offer", "sdp": text }).to_string()),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let subtype = prop_oneof![
        12 => prop::sample::select(vec![
            "call:init", "call:init", "call:accept", "call:reject", "call:offer", "call:answer", "call:candidate",
            "call:candidate", "call:hangup",
        ])
        .prop_map(String::from),
        1 => any::<String>(),
    ];
    // Bad bodies are rare enough that calls survive.
    let hear =
        (address(), subtype, prop::option::weighted(0.95, data()), prop::option::of(wire()), any::<u8>())
            .prop_map(|(from, subtype, data, call, luck)| {
                let data = match subtype.as_str() {
                    "call:offer" if luck > 30 => Some(r#"{"type":"offer","sdp":"O"}"#.to_owned()),
                    "call:answer" if luck > 30 => Some(r#"{"type":"answer","sdp":"A"}"#.to_owned()),
                    "call:candidate" if luck > 30 => Some(r#"{"candidate":"candidate:1"}"#.to_owned()),
                    _ => data,
                };
                Op::Hear { from, subtype, data, call }
            });
    let call = || 1..12u64;
    prop_oneof![
        12 => hear,
        1 => address().prop_map(Op::Own),
        1 => address().prop_map(Op::Offline),
        1 => address().prop_map(Op::Online),
        1 => Just(Op::Lost),
        2 => Just(Op::Back),
        2 => (0..40u64).prop_map(Op::Pass),
        4 => (address(), wire(), data(), prop::option::of(prop::sample::select(vec!["O", ""])))
            .prop_map(|(to, wire, data, sdp)| Op::Invite { to, wire, data, sdp: sdp.map(String::from) }),
        3 => call().prop_map(Op::Accept),
        1 => call().prop_map(Op::Reject),
        1 => call().prop_map(Op::Hangup),
        2 => call().prop_map(Op::Offer),
        2 => call().prop_map(Op::Answer),
        3 => call().prop_map(Op::Candidate),
        3 => call().prop_map(Op::Connected),
        1 => call().prop_map(Op::Failed),
        1 => call().prop_map(Op::Closed),
    ]
}

fn held_bytes(calls: &Calls) -> usize {
    let of = |list: &[Candidate]| {
        assert!(list.len() <= LIMITS.max_early_candidates);
        list.iter().map(|c| c.candidate.len() + c.sdp_mid.as_ref().map_or(0, String::len)).sum::<usize>()
    };
    let size = |call: &crate::call::phase::Call| {
        let phase = match &call.phase {
            Phase::Ringing { offer } | Phase::Incoming { offer } => offer.as_ref().map_or(0, String::len),
            Phase::Held { data, offer, .. } => data.len() + offer.as_ref().map_or(0, String::len),
            _ => 0,
        };
        of(call.early.as_deref().unwrap_or(&[])) + of(&call.waiting) + phase
    };
    calls.calls.values().map(size).sum()
}

/// Checks the history of each call: it starts, only goes forward, and ends once.
#[derive(Default)]
struct Stories(BTreeMap<CallId, State>);

impl Stories {
    fn hear(&mut self, event: &Event) {
        match event {
            Event::Incoming { id, replaces, .. } => {
                assert_eq!(self.0.insert(*id, State::Incoming), None);
                assert!(
                    replaces.is_none_or(|old| !self.0.contains_key(&old)),
                    "{replaces:?} has ended before"
                );
            }
            Event::State { id, state } => {
                let before = self.0.insert(*id, *state).expect("begun");
                match state {
                    State::Connecting => assert!(matches!(before, State::Ringing | State::Incoming)),
                    State::Active => assert_eq!(before, State::Connecting),
                    other => panic!("{other:?} is not told so"),
                }
            }
            Event::Ended { id, .. } => assert!(self.0.remove(id).is_some(), "ended once"),
            Event::Moved { id, .. } => assert_eq!(self.0.get(id), Some(&State::Active)),
            Event::Accepted { id }
            | Event::RemoteOffer { id, .. }
            | Event::RemoteAnswer { id, .. }
            | Event::RemoteCandidate { id, .. }
            | Event::RemoteCandidatesDone { id } => {
                assert!(matches!(self.0.get(id), Some(State::Connecting | State::Active)));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_input_panics_or_grows(ops in prop::collection::vec(op(), 1..120)) {
        let mut calls = Calls::new(LIMITS);
        let mut now = std::time::Instant::now();
        let mut stories = Stories::default();
        calls.handle_input(Input::Own { address: US }, now);
        for op in ops {
            let n = CallId;
            match &op {
                Op::Hear { from, subtype, data, call } => calls.handle_input(
                    Input::Message { from, host: None, subtype, data: data.as_deref(), call: call.as_deref() },
                    now,
                ),
                Op::Own(address) => calls.handle_input(Input::Own { address }, now),
                Op::Offline(address) => calls.handle_input(Input::PeerOffline { address }, now),
                Op::Online(address) => calls.handle_input(Input::PeerOnline { address }, now),
                Op::Lost => calls.handle_input(Input::SignallingLost, now),
                Op::Back => calls.handle_input(Input::SignallingBack, now),
                Op::Pass(seconds) => now += Duration::from_secs(*seconds),
                Op::Invite { to, wire, data, sdp } => {
                    let id = match sdp {
                        Some(sdp) => calls.invite_with_offer(to, wire, data, sdp, now),
                        None => calls.invite(to, wire, data, now),
                    };
                    if let Ok(id) = id {
                        stories.0.insert(id, State::Ringing);
                    }
                }
                Op::Accept(id) => drop(calls.accept(n(*id), now)),
                Op::Reject(id) => drop(calls.reject(n(*id), "no", now)),
                Op::Hangup(id) => drop(calls.hangup(n(*id), "bye", now)),
                Op::Offer(id) => drop(calls.local_offer(n(*id), "O", now)),
                Op::Answer(id) => drop(calls.local_answer(n(*id), "A", now)),
                Op::Candidate(id) => drop(calls.local_candidate(n(*id), Candidate::new("c"), now)),
                Op::Connected(id) => drop(calls.media_connected(n(*id), now)),
                Op::Failed(id) => drop(calls.media_failed(n(*id), "ice", now)),
                Op::Closed(id) => drop(calls.media_closed(n(*id), "ended", now)),
            }
            let mut outputs = 0;
            loop {
                match calls.poll_output(now) {
                    Output::Timeout(at) => {
                        prop_assert!(at.is_none_or(|at| at > now));
                        break;
                    }
                    Output::Event(event) => stories.hear(&event),
                    Output::Send { to, data, .. } => {
                        prop_assert!(!to.is_empty());
                        prop_assert!(serde_json::from_str::<serde_json::Value>(&data).is_ok());
                    }
                }
                outputs += 1;
            }
            prop_assert!(outputs <= LIMITS.max_calls * (LIMITS.max_early_candidates + 3), "{outputs} outputs of one input");
            prop_assert!(calls.calls.len() <= LIMITS.max_calls);
            prop_assert!(
                held_bytes(&calls)
                    <= LIMITS.max_calls
                        * (2 * LIMITS.max_early_candidates * LIMITS.max_candidate + LIMITS.max_init + LIMITS.max_description)
            );
            // The application knows exactly the existing calls and their states.
            let told: Vec<_> = stories.0.iter().map(|(id, state)| (*id, *state)).collect();
            prop_assert_eq!(told, calls.iter().collect::<Vec<_>>());
            // Each id belongs to one call only, and every call that is not active has a deadline.
            let mut wires: Vec<_> = calls.calls.values().filter_map(|call| call.wire.as_deref()).collect();
            wires.sort_unstable();
            let count = wires.len();
            wires.dedup();
            prop_assert_eq!(wires.len(), count);
            for (id, call) in &calls.calls {
                let active = matches!(call.phase, Phase::Active { .. });
                prop_assert!(active || calls.timers.is_set(*id));
                if let Phase::Held { by, .. } = call.phase {
                    prop_assert_eq!(calls.state(by), Some(State::Ringing));
                }
            }
        }
        // Without signalling everything ends in time.
        calls.handle_input(Input::SignallingLost, now);
        now += LIMITS.resume_window;
        for _ in 0..2 * LIMITS.max_calls {
            calls.poll_output(now);
        }
        prop_assert_eq!(calls.poll_output(now), Output::Timeout(None));
        prop_assert_eq!(calls.calls.len(), 0);
    }
}

#[derive(Clone, Debug)]
enum Act {
    Invite(usize, usize),
    Hangup(usize),
    Run(u64),
    Lose(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..3usize, 0..3usize).prop_filter("not itself", |(a, b)| a != b).prop_map(|(a, b)| Act::Invite(a, b)),
        2 => (0..3usize).prop_map(Act::Hangup),
        6 => (0..60u64).prop_map(Act::Run),
        1 => (0..3usize).prop_map(Act::Lose),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ends_agree_in_the_end(
        acts in prop::collection::vec(act(), 1..60),
        delays in prop::collection::vec(1..50u64, 9),
        at_once in any::<[bool; 3]>(),
    ) {
        let mut net = Net::new();
        for (user, at_once) in ["a", "b", "c"].into_iter().zip(at_once) {
            net.ours(&format!("{user}|0"), App { accepts: true, connects: true, at_once });
        }
        for (n, delay) in delays.into_iter().enumerate() {
            net.delays.insert((n / 3, n % 3), delay);
        }
        for (n, act) in acts.into_iter().enumerate() {
            match act {
                Act::Invite(from, to) => drop(net.invite(from, to)),
                Act::Hangup(end) => {
                    let first = net.calls(end).iter().next();
                    if let Some((id, _)) = first {
                        net.hangup(end, id);
                    }
                }
                Act::Run(millis) => net.run(millis),
                Act::Lose(end) => {
                    net.lose(end);
                    net.run(100);
                    let user = ["a", "b", "c"][end];
                    net.back(end, &format!("{user}|{n}"));
                }
            }
        }
        // Within the time that an accepted call has to connect, everything is decided except what ICE
        // decides.
        net.run(61_000);
        net.settle_media();
        net.run(1000);
        let mut halves: BTreeMap<Option<String>, Vec<(usize, State)>> = BTreeMap::new();
        for end in 0..3 {
            for (state, wire) in net.states(end) {
                halves.entry(wire).or_default().push((end, state));
            }
        }
        for (wire, ends) in halves {
            prop_assert_eq!(ends.len(), 2, "{:?}: {:?}", wire, net.ends.iter().map(|end| &end.log).collect::<Vec<_>>());
            prop_assert!(ends.iter().all(|(_, state)| *state == State::Active));
        }
    }
}
