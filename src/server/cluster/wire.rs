//! The format of envelopes: three lines with a head, a body by its kind, and the frame to deliver.
//!
//! ```text
//! {"i":"3k…","e":2,"n":71,"k":"route"}
//! {"from":"alice|9f…","rooms":["team"],"to":"bob","receipt":false}
//! {"from":"alice|9f…","type":"message","to":"bob","data":1.0}
//! ```
//!
//! Publishers are trusted, as on `symple:broadcast`, but what cannot be parsed is ignored: an instance of another
//! version may have sent it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Card;
use crate::proto::To;

/// The sender of an envelope, and its place in the order.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Head<'a> {
    /// The name of the instance, which no other ever has.
    #[serde(borrow)]
    pub i: Cow<'a, str>,
    /// Its epoch: how often it has connected to the bus.
    pub e: u64,
    /// The number of the envelope, ascending. Copies on several channels have the same number, and so has one that is
    /// resent.
    pub n: u64,
    pub k: Kind,
    /// It is resent to one instance, which asked with an [`Ask`] of this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<u64>,
    /// For how long it is lost that way, in milliseconds: who came later missed nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ago: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// A message of a peer ([`Route`], frame).
    Route,
    /// A message with the state of a peer, which must not be dropped for a slow recipient ([`Route`], frame).
    State,
    /// A message of the host ([`Route`] without a sender, frame).
    Host,
    /// The host kicks peers ([`Kick`]).
    Kick,
    /// Peers and their state ([`Peers`]).
    Peers,
    /// Peers that have left ([`Gone`]).
    Gone,
    /// Which peers are in these rooms? ([`Ask`])
    Ask,
    /// A heartbeat ([`Alive`]).
    Alive,
    /// The instance shuts down.
    Bye,
    /// How many peers a message reached ([`Got`]).
    Got,
    /// A peer holds another, or releases it ([`Hold`]).
    Hold,
    /// How long a sender was held in the last minute ([`Spent`]).
    Spent,
    /// A message that was dropped ([`Route`]): its recipients missed one.
    Lost,
    /// Everything up to the head's number has been resent.
    Caught,
    /// What an emitter pushed, for an instance that may not have heard it ([`Offer`], frame).
    Pushed,
    /// A mark: what have you received?
    Mark,
    /// The answer to a mark ([`Heard`]).
    Heard,
}

impl Kind {
    /// Whether it is kept for those who may have missed it. Of everything else, the current state is requested instead.
    pub(super) fn is_kept(self) -> bool {
        matches!(self, Kind::Route | Kind::Host | Kind::Kick | Kind::Lost)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Route<'a> {
    #[serde(borrow)]
    pub from: Cow<'a, str>,
    /// The named rooms of the sender: the recipients' instance decides whom it may reach.
    #[serde(borrow)]
    pub rooms: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    pub to: Names<'a>,
    /// Each copy is answered with [`Got`].
    pub receipt: bool,
}

/// `to`, parsed.
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

/// An owned copy, which outlives the envelope.
pub(super) fn boxed(names: Vec<Cow<'_, str>>) -> Vec<Box<str>> {
    names.into_iter().map(|name| name.into()).collect()
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Peers {
    pub peers: Vec<Card>,
    /// A message with what changed in their data comes next.
    pub told: bool,
    /// The number of the [`Ask`] that this answers, if it had one.
    pub sync: Option<u64>,
    /// This is the last part of the answer.
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
    /// Peers of these rooms that are missing from the answer are not in them.
    pub sync: Option<u64>,
    /// All kept envelopes up to this number were received; the later ones are to be resent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// The asking instance has just met the other, which knows better than `since` what it owes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first: bool,
    /// The last heartbeat that was heard before the subscription was lost: what emitters pushed after it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Offer {
    /// The [`Ask`] that this answers.
    pub sync: u64,
    /// Nothing more answers it, and so much is forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgot: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Alive {
    /// Others should answer with a heartbeat.
    pub hail: bool,
    /// It is said to one instance, which asked for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answers: bool,
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
    /// The id of the sender that is held; if absent, this recipient releases all that it holds.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Cow<'a, str>>,
    /// The hold ends. The instance of the sender replies so if it does not know the recipient.
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

/// Writes an envelope with a new head; its body and frame are printed already.
pub(super) fn rewrite(head: &Head<'_>, rest: &str) -> String {
    line(head) + rest
}

fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("strings, numbers and lists are valid JSON") + "\n"
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
    fn an_envelope_survives_writing_and_reading() {
        let to = To::List(vec!["bob".into(), "ro\"om\n".into()]);
        let route =
            Route { from: "alice|9f".into(), rooms: vec!["team".into()], to: (&to).into(), receipt: true };
        let head = Head { i: "x".into(), e: 2, n: 71, k: Kind::Route, again: None, ago: None };
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
        let again = Head { i: "x".into(), e: 3, n: 71, k: Kind::Route, again: Some(7), ago: None };
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
    fn invalid_envelopes_are_ignored() {
        for text in ["", "{}", "{}\n\n", "x\ny\nz", "{\"i\":\"x\",\"e\":1,\"n\":1,\"k\":\"new\"}\n\n"] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
