//! Several ends joined by a virtual network and clock, which delays but never loses or reorders.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::bench::line;
use crate::call::body::Candidate;
use crate::call::{CallId, Calls, Config, Event, Input, Output, State};

/// A message or a presence in flight.
enum Flying {
    Message { from: String, subtype: String, call: Option<String>, data: String },
    Offline(String),
}

/// What the application of an end does by itself.
#[derive(Clone, Copy, Default)]
pub(super) struct App {
    pub accepts: bool,
    /// Reports media_connected as soon as both descriptions are there.
    pub connects: bool,
    /// Calls with its offer in the init.
    pub at_once: bool,
}

pub(super) enum Kind {
    Ours(Box<Calls>, App),
    Published(Published),
}

pub(super) struct End {
    pub address: String,
    pub kind: Kind,
    /// What it did and received, as lines.
    pub log: Vec<String>,
}

/// The published browser client: one call, no ids, `busy` to everyone else, including the peer it is calling.
#[derive(Default)]
pub(super) struct Published {
    pub remote: Option<String>,
    pub ringing: bool,
    pub active: bool,
}

pub(super) struct Net {
    pub now: Instant,
    pub ends: Vec<End>,
    flying: BTreeMap<(Instant, u64), (String, Flying)>,
    sent: u64,
    /// Milliseconds by sender and receiver; 10 if not set.
    pub delays: BTreeMap<(usize, usize), u64>,
    wires: u64,
}

impl Net {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Net { now, ends: vec![], flying: BTreeMap::new(), sent: 0, delays: BTreeMap::new(), wires: 0 }
    }

    /// Two of our own ends that accept and connect.
    pub(super) fn pair(a: &str, b: &str) -> Self {
        let mut net = Self::new();
        for address in [a, b] {
            net.ours(address, App { accepts: true, connects: true, at_once: false });
        }
        net
    }

    pub(super) fn ours(&mut self, address: &str, app: App) -> usize {
        self.ours_with(address, app, Config::default())
    }

    pub(super) fn ours_with(&mut self, address: &str, app: App, config: Config) -> usize {
        let mut calls = Calls::new(config);
        calls.handle_input(Input::Own { address }, self.now);
        self.add(address, Kind::Ours(Box::new(calls), app))
    }

    pub(super) fn published(&mut self, address: &str) -> usize {
        self.add(address, Kind::Published(Published::default()))
    }

    fn add(&mut self, address: &str, kind: Kind) -> usize {
        self.ends.push(End { address: address.into(), kind, log: vec![] });
        self.ends.len() - 1
    }

    pub(super) fn calls(&mut self, end: usize) -> &mut Calls {
        match &mut self.ends[end].kind {
            Kind::Ours(calls, _) => calls,
            Kind::Published(_) => panic!("end {end} is not ours"),
        }
    }

    pub(super) fn published_at(&mut self, end: usize) -> &mut Published {
        match &mut self.ends[end].kind {
            Kind::Ours(..) => panic!("end {end} is ours"),
            Kind::Published(published) => published,
        }
    }

    /// The states of an end's calls, oldest first, with the wire ids.
    pub(super) fn states(&mut self, end: usize) -> Vec<(State, Option<String>)> {
        let calls = self.calls(end);
        calls.iter().map(|(id, state)| (state, calls.calls[&id].wire.clone())).collect()
    }

    pub(super) fn only(&mut self, end: usize) -> CallId {
        let ids: Vec<_> = self.calls(end).iter().map(|(id, _)| id).collect();
        assert_eq!(ids.len(), 1, "one call at {end}: {:?}", self.ends[end].log);
        ids[0]
    }

    pub(super) fn invite(&mut self, from: usize, to: usize) -> Option<CallId> {
        let name = self.ends[to].address.clone();
        self.invite_name(from, &name)
    }

    pub(super) fn invite_name(&mut self, from: usize, name: &str) -> Option<CallId> {
        self.wires += 1;
        let (wire, now) = (format!("w{}", self.wires), self.now);
        let id = match &mut self.ends[from].kind {
            Kind::Ours(calls, App { at_once: true, .. }) => {
                let id = calls.invite_with_offer(name, &wire, "{}", "O", now).ok();
                if let Some(id) = id {
                    calls.local_candidate(id, Candidate::new("candidate:caller"), now).expect("ringing");
                    calls.local_candidates_done(id, now).expect("ringing");
                }
                id
            }
            Kind::Ours(calls, _) => calls.invite(name, &wire, "{}", now).ok(),
            Kind::Published(published) => {
                if published.remote.is_none() {
                    *published = Published { remote: Some(name.into()), ringing: true, active: false };
                    self.fly(from, name, "call:init", None, "{}");
                }
                None
            }
        };
        self.drain(from);
        id
    }

    pub(super) fn hangup(&mut self, end: usize, id: CallId) {
        let now = self.now;
        let _ = self.calls(end).hangup(id, "bye", now);
        self.drain(end);
    }

    /// An end loses its connection: everybody is informed, and nothing reaches it.
    pub(super) fn lose(&mut self, end: usize) {
        let now = self.now;
        let old = std::mem::take(&mut self.ends[end].address);
        for other in 0..self.ends.len() {
            if other != end {
                let to = self.ends[other].address.clone();
                self.fly_at(end, other, to, Flying::Offline(old.clone()));
            }
        }
        self.calls(end).handle_input(Input::SignallingLost, now);
        self.drain(end);
    }

    pub(super) fn back(&mut self, end: usize, address: &str) {
        let now = self.now;
        self.ends[end].address = address.into();
        self.calls(end).handle_input(Input::Own { address }, now);
        self.drain(end);
    }

    /// Runs until nothing is in flight and no deadline is within `millis`.
    pub(super) fn run(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        loop {
            let mut next = self.flying.keys().next().map(|(at, _)| *at);
            for end in 0..self.ends.len() {
                if let Some(at) = self.drain(end) {
                    assert!(at > self.now, "a deadline that passed was not met");
                    next = Some(next.map_or(at, |next| next.min(at)));
                }
            }
            // Draining may have sent something.
            next = self.flying.keys().next().map(|(at, _)| *at).into_iter().chain(next).min();
            match next {
                Some(at) if at <= until => self.now = at,
                _ => break,
            }
            while let Some((&key, _)) = self.flying.iter().next().filter(|((at, _), _)| *at <= self.now) {
                let (to, flying) = self.flying.remove(&key).expect("seen one line above");
                self.arrive(&to, flying);
            }
        }
        self.now = until;
    }

    fn arrive(&mut self, to: &str, flying: Flying) {
        let Some(end) = self.ends.iter().position(|end| !to.is_empty() && end.address == to) else { return };
        let now = self.now;
        match (&mut self.ends[end].kind, flying) {
            (Kind::Ours(calls, _), Flying::Message { from, subtype, call, data }) => {
                let input = Input::Message {
                    from: &from,
                    host: None,
                    subtype: &subtype,
                    data: Some(&data),
                    call: call.as_deref(),
                };
                calls.handle_input(input, now);
            }
            (Kind::Ours(calls, _), Flying::Offline(address)) => {
                calls.handle_input(Input::PeerOffline { address: &address }, now);
            }
            (Kind::Published(published), Flying::Message { from, subtype, .. }) => {
                let answers = published.hears(&from, &subtype);
                for (subtype, data) in answers {
                    self.fly(end, &from, subtype, None, data);
                }
            }
            (Kind::Published(published), Flying::Offline(address)) => {
                if published.remote.as_deref() == Some(&address) {
                    *published = Published::default();
                }
            }
        }
        self.drain(end);
    }

    /// Handles every output of an end, with its application's reactions; returns when to wake it.
    fn drain(&mut self, end: usize) -> Option<Instant> {
        loop {
            let now = self.now;
            let Kind::Ours(calls, app) = &mut self.ends[end].kind else { return None };
            let app = *app;
            let output = calls.poll_output(now);
            if !matches!(output, Output::Timeout(_)) {
                self.ends[end].log.push(line(&output));
            }
            match output {
                Output::Timeout(at) => return at,
                Output::Send { to, subtype, call, data } => self.fly(end, &to, subtype, call, &data),
                Output::Event(event) => self.react(end, app, &event),
            }
        }
    }

    fn react(&mut self, end: usize, app: App, event: &Event) {
        let now = self.now;
        let calls = self.calls(end);
        // Events are queued: their call may have ended, and then these are errors, as in real use.
        let _ = match event {
            Event::Incoming { id, .. } if app.accepts => calls.accept(*id, now),
            Event::Accepted { id } => calls
                .local_candidate(*id, Candidate::new("candidate:caller"), now)
                .and_then(|()| calls.local_offer(*id, "O", now))
                .and_then(|()| calls.local_candidates_done(*id, now)),
            Event::RemoteOffer { id, .. } => calls
                .local_candidate(*id, Candidate::new("candidate:callee"), now)
                .and_then(|()| calls.local_answer(*id, "A", now))
                .and_then(|()| if app.connects { calls.media_connected(*id, now) } else { Ok(()) }),
            Event::RemoteAnswer { id, .. } if app.connects => calls.media_connected(*id, now),
            _ => Ok(()),
        };
    }

    fn fly(&mut self, end: usize, to: &str, subtype: &str, call: Option<String>, data: &str) {
        let from = self.ends[end].address.clone();
        if from.is_empty() {
            return; // without a connection nothing leaves
        }
        let reached: Vec<_> = (0..self.ends.len())
            .filter(|&other| {
                let address = &self.ends[other].address;
                let user = address.split('|').next().unwrap_or_default();
                other != end
                    && !address.is_empty()
                    && (address == to || user == to || to == format!("{user}|"))
            })
            .collect();
        for other in reached {
            let message = Flying::Message {
                from: from.clone(),
                subtype: subtype.into(),
                call: call.clone(),
                data: data.into(),
            };
            let to = self.ends[other].address.clone();
            self.fly_at(end, other, to, message);
        }
    }

    fn fly_at(&mut self, from: usize, to: usize, address: String, flying: Flying) {
        let delay = self.delays.get(&(from, to)).copied().unwrap_or(10);
        self.sent += 1;
        self.flying.insert((self.now + Duration::from_millis(delay), self.sent), (address, flying));
    }

    /// What ICE does: media fails if its other end is gone.
    pub(super) fn settle_media(&mut self) {
        let mut ends_by_wire: BTreeMap<Option<String>, BTreeSet<usize>> = BTreeMap::new();
        for end in 0..self.ends.len() {
            for (_, wire) in self.states(end) {
                ends_by_wire.entry(wire).or_default().insert(end);
            }
        }
        for end in 0..self.ends.len() {
            let now = self.now;
            let calls = self.calls(end);
            let ids: Vec<_> = calls.iter().map(|(id, _)| id).collect();
            for id in ids {
                if ends_by_wire[&calls.calls[&id].wire].len() < 2 {
                    calls.media_failed(id, "ice", now).expect("listed");
                }
            }
            self.drain(end);
        }
    }
}

impl Published {
    fn hears(&mut self, from: &str, subtype: &str) -> Vec<(&'static str, &'static str)> {
        let mine = self.remote.as_deref() == Some(from);
        match subtype {
            "call:init" if self.remote.is_some() => vec![("call:reject", r#"{"reason":"busy"}"#)],
            "call:init" => {
                self.remote = Some(from.into());
                vec![("call:accept", "{}")]
            }
            "call:accept" if mine && self.ringing => {
                self.ringing = false;
                vec![("call:offer", r#"{"type":"offer","sdp":"O"}"#)]
            }
            "call:offer" if mine => {
                self.active = true;
                vec![("call:answer", r#"{"type":"answer","sdp":"A"}"#)]
            }
            "call:answer" if mine => {
                self.active = true;
                vec![]
            }
            "call:reject" | "call:hangup" if mine => {
                *self = Published::default();
                vec![]
            }
            _ => vec![],
        }
    }
}
