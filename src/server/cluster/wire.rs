//! What instances say to each other: three lines, a head, a body by its kind, and a frame as it goes out.
//!
//! ```text
//! {"i":"3k…","e":2,"n":71,"k":"route"}
//! {"from":"alice|9f…","rooms":["team"],"to":"bob","receipt":false}
//! {"from":"alice|9f…","type":"message","to":"bob","data":1.0}
//! ```
//!
//! Who can publish is trusted, as with `symple:broadcast`, but what cannot be read is passed over: another
//! version may speak here.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Card;
use crate::proto::To;

/// Who speaks, and in which order.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Head<'a> {
    /// The instance, by a name that no other one ever has.
    #[serde(borrow)]
    pub i: Cow<'a, str>,
    /// Its epoch: how often it came back to the bus.
    pub e: u64,
    /// Its number of the envelope, ascending. Copies on several channels have the same, and so has one that is
    /// said again.
    pub n: u64,
    pub k: Kind,
    /// It is said again to one instance, because of its [`Ask`] of this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// A message of a peer ([`Route`], frame).
    Route,
    /// One that tells the state of the peer, which must not be lost on a slow recipient ([`Route`], frame).
    State,
    /// A message of the host ([`Route`] from nobody, frame).
    Host,
    /// The host throws peers out ([`Kick`]).
    Kick,
    /// Peers as they are ([`Peers`]).
    Peers,
    /// Peers that have gone ([`Gone`]).
    Gone,
    /// Who is in these rooms? ([`Ask`])
    Ask,
    /// The instance lives ([`Alive`]).
    Alive,
    /// It ends.
    Bye,
    /// How many a message reached ([`Got`]).
    Got,
    /// A peer has too much waiting for it, or no more ([`Hold`]).
    Hold,
    /// For how long a sender was held in the last minute ([`Spent`]).
    Spent,
    /// A message that was given up ([`Route`]): whom it was for missed one.
    Lost,
    /// All that was said up to the head's number has been said again.
    Caught,
    /// How far have you heard?
    Mark,
    /// So far ([`Heard`]).
    Heard,
}

impl Kind {
    /// Whether it is kept for those who may have missed it. Of all else the newest is asked for.
    pub(super) fn is_kept(self) -> bool {
        matches!(self, Kind::Route | Kind::Host | Kind::Kick | Kind::Lost)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Route<'a> {
    #[serde(borrow)]
    pub from: Cow<'a, str>,
    /// The named rooms of the sender: what it may reach is decided where its recipients are.
    #[serde(borrow)]
    pub rooms: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    pub to: Names<'a>,
    /// Each copy is answered with [`Got`].
    pub receipt: bool,
}

/// `to`, read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(in crate::server::cluster) enum Names<'a> {
    All,
    One(#[serde(borrow)] Cow<'a, str>),
    List(#[serde(borrow)] Vec<Cow<'a, str>>),
}

impl<'a> From<&'a To<'_>> for Names<'a> {
    fn from(to: &'a To<'_>) -> Self {
        let name = |name: &'a Cow<'_, str>| Cow::Borrowed(&**name);
        match to {
            To::Absent => Names::All,
            To::One(one) => Names::One(name(one)),
            To::List(list) => Names::List(list.iter().map(name).collect()),
        }
    }
}

impl From<Names<'_>> for To<'static> {
    fn from(names: Names<'_>) -> Self {
        let name = |name: Cow<'_, str>| Cow::Owned(name.into_owned());
        match names {
            Names::All => To::Absent,
            Names::One(one) => To::One(name(one)),
            Names::List(list) => To::List(list.into_iter().map(name).collect()),
        }
    }
}

/// What outlives the envelope.
pub(super) fn boxed(names: Vec<Cow<'_, str>>) -> Vec<Box<str>> {
    names.into_iter().map(|name| name.into()).collect()
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Peers {
    pub peers: Vec<Card>,
    /// What changed in their data is told by a message next.
    pub told: bool,
    /// Which [`Ask`] this answers, if it had a number.
    pub sync: Option<u64>,
    /// Nothing more answers it.
    pub last: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kick<'a> {
    #[serde(borrow)]
    pub address: Cow<'a, str>,
    pub status: u16,
    #[serde(borrow)]
    pub message: Cow<'a, str>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Gone<'a> {
    #[serde(borrow)]
    pub ids: Vec<Cow<'a, str>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ask<'a> {
    #[serde(borrow)]
    pub users: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    pub rooms: Vec<Cow<'a, str>>,
    /// Whoever is not in the answer is not in these rooms.
    pub sync: Option<u64>,
    /// All kept envelopes up to this number were heard; those behind it are to be said again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// The asked one is new to who asks, and knows better than `since` what it owes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Alive {
    /// Others shall say so too.
    pub hail: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Got {
    /// The number of the message.
    pub n: u64,
    pub delivered: usize,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Heard {
    /// All kept envelopes up to this number.
    pub n: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Spent<'a> {
    /// The id of the sender.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    pub millis: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hold<'a> {
    /// The id of the recipient.
    #[serde(borrow)]
    pub by: Cow<'a, str>,
    /// The id of the sender that is held; without it, all are free whom this recipient holds.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Cow<'a, str>>,
    /// This one is free.
    #[serde(default)]
    pub ends: bool,
}

/// Writes an envelope.
pub(super) fn write(head: &Head<'_>, body: &impl Serialize, frame: &str) -> String {
    let mut text = line(head);
    text.push_str(&line(body));
    text.push_str(frame);
    text
}

/// Writes an envelope anew whose body and frame are printed already.
pub(super) fn rewrite(head: &Head<'_>, rest: &str) -> String {
    line(head) + rest
}

fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("strings, numbers and lists have JSON") + "\n"
}

/// The head of an envelope, its body and its frame.
pub(super) fn read(text: &str) -> Option<(Head<'_>, &str, &str)> {
    let (head, rest) = text.split_once('\n')?;
    let (body, frame) = rest.split_once('\n')?;
    Some((serde_json::from_str(head).ok()?, body, frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_reads_as_it_was_written() {
        let to = To::List(vec!["bob".into(), "ro\"om\n".into()]);
        let route =
            Route { from: "alice|9f".into(), rooms: vec!["team".into()], to: (&to).into(), receipt: true };
        let head = Head { i: "x".into(), e: 2, n: 71, k: Kind::Route, again: None };
        let text = write(&head, &route, "{\n\"type\":\"message\"\n}");
        assert!(text.starts_with(
            r#"{"i":"x","e":2,"n":71,"k":"route"}
{"from":"alice|9f","rooms":["team"],"to":["bob","ro\"om\n"],"receipt":true}
"#
        ));
        let (read_head, body, frame) = read(&text).expect("just written");
        assert_eq!((read_head, frame), (head, "{\n\"type\":\"message\"\n}"));
        let route: Route<'_> = serde_json::from_str(body).expect("just written");
        assert_eq!(To::from(route.to), to);
        let again = Head { i: "x".into(), e: 3, n: 71, k: Kind::Route, again: Some(7) };
        let (_, rest) = text.split_once('\n').expect("three lines");
        assert!(
            rewrite(&again, rest)
                .starts_with("{\"i\":\"x\",\"e\":3,\"n\":71,\"k\":\"route\",\"again\":7}\n{\"from\"")
        );
        for to in [To::Absent, To::One("a".into())] {
            let names = serde_json::to_string(&Names::from(&to)).expect("plain");
            assert_eq!(To::from(serde_json::from_str::<Names<'_>>(&names).expect("plain")), to);
        }
    }

    #[test]
    fn what_is_no_envelope_is_passed_over() {
        for text in ["", "{}", "{}\n\n", "x\ny\nz", "{\"i\":\"x\",\"e\":1,\"n\":1,\"k\":\"new\"}\n\n"] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
