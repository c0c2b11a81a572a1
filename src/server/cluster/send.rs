//! Publishes what the hub says.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use super::interest::Wanted;
use super::unconfirmed::Owner;
use super::wire::{Ask, Gone, Got, Hold, Kick, Kind, Peers, Route, Spent};
use super::{Bus, BusState, Card, Cluster, FromCluster, Holding, Outgoing, Question, Receipt, ToCluster};

/// The number of peers in one answer, to keep it below a few MiB.
const ANSWER: usize = 64;

impl Cluster {
    pub(super) fn hear_hub(&mut self, said: ToCluster, now: Instant) {
        match said {
            ToCluster::Message { names, message } => self.spread(&names, message, now),
            ToCluster::Host { names, to, text } => {
                let body = Route { from: "".into(), rooms: Vec::new(), to: (&to).into(), receipt: false };
                let channels = self.channels(&names);
                self.say_kept(&channels, (Kind::Host, Owner::Host), &body, &text, false, now);
            }
            ToCluster::Kick { names, address, status, message } => {
                let (address, message) = (Cow::Borrowed(&*address), Cow::Borrowed(&*message));
                let channels = self.channels(&names);
                let kick = Kick { address, status: status.0, message };
                self.say_kept(&channels, (Kind::Kick, Owner::Nobody), &kick, "", false, now);
            }
            ToCluster::Want { names, wait } => {
                let tag = names.iter().filter_map(|name| self.want(name)).max();
                self.wait(tag, wait);
            }
            ToCluster::Await { name, wait } => self.wait(self.interest.coming(&name), wait),
            ToCluster::Unwant { name } => {
                if self.interest.release(&name) && self.link != BusState::Down {
                    let channel = self.to(&name).to_string();
                    self.push(Bus::Unsubscribe { channel });
                }
            }
            ToCluster::Peer { names, card, told } => {
                let peers = Peers { peers: vec![card], told, sync: None, last: false };
                self.publish(&self.channels(&names), Kind::Peers, &peers, "");
            }
            ToCluster::Gone { names, id } => {
                let gone = Gone { ids: vec![Cow::Borrowed(&*id)] };
                self.publish(&self.channels(&names), Kind::Gone, &gone, "");
            }
            ToCluster::Ask { name, own } => {
                let (mut users, mut rooms) = (Vec::new(), Vec::new());
                if own { &mut users } else { &mut rooms }.push(Cow::Borrowed(&*name));
                let ask = Ask { users, rooms, sync: None, since: None, first: false, pushed: None };
                self.publish(&[self.to(&name)], Kind::Ask, &ask, "");
            }
            ToCluster::Rooms { instance, sync, users, rooms } => {
                self.ask_all(&instance, sync, &users, &rooms);
            }
            ToCluster::Peers { instance, cards, question } => self.answer(&instance, cards, &question),
            ToCluster::Delivered { instance, n, delivered } => self.say_got(&instance, n, delivered),
            ToCluster::Hold { holding: Holding { instance, by, held, ends } } => {
                let (by, held) = (Cow::Borrowed(&*by), held.as_deref().map(Cow::Borrowed));
                self.publish(&[self.at(&instance)], Kind::Hold, &Hold { by, held, ends }, "");
            }
            ToCluster::Spent { instance, id, millis } => {
                let spent = Spent { id: Cow::Borrowed(&*id), millis };
                self.publish(&[self.at(&instance)], Kind::Spent, &spent, "");
            }
            ToCluster::Bye => self.publish(&[self.all()], Kind::Bye, &(), ""),
        }
    }

    fn channels(&self, names: &[Arc<str>]) -> Vec<Arc<str>> {
        names.iter().map(|name| self.to(name)).collect()
    }

    /// Sends a peer's message, or keeps it until there is a bus.
    fn spread(&mut self, names: &[Arc<str>], message: Outgoing, now: Instant) {
        let Outgoing { conn, from, rooms, to, text, is_state, receipt } = message;
        let owner = if is_state { (Kind::State, Owner::Nobody) } else { (Kind::Route, Owner::Peer(conn)) };
        let body = Route {
            from: from.as_str().into(),
            rooms: rooms.iter().map(|name| Cow::Borrowed(&**name)).collect(),
            to: (&to).into(),
            receipt: receipt.is_some(),
        };
        let channels = self.channels(names);
        let said = self.say_kept(&channels, owner, &body, &text, receipt.is_some(), now);
        if self.link == BusState::Up && self.is_high() {
            self.holds = true;
            self.tell_hub(FromCluster::HoldForBus { conn });
        }
        self.tell_unsent();
        let Some((id, delivered)) = receipt else { return };
        let Some(n) = said else { return self.tell_hub(FromCluster::Receipt { conn, id, delivered }) };
        let (until, unsent) = (now + self.settings.receipt_wait, channels.len());
        self.receipts.insert(n, Receipt { conn, id, delivered, unsent, silent: 0, until });
    }

    /// Asks an instance for everything that concerns us.
    fn ask_all(&mut self, instance: &str, sync: u64, users: &[Arc<str>], rooms: &[Arc<str>]) {
        let Some(other) = self.others.get(instance).filter(|other| other.sync == sync) else { return };
        let names = |names: &[Arc<str>]| names.iter().map(|name| Cow::Owned(name.to_string())).collect();
        let (since, first) = (Some(other.got), other.early.is_some());
        let pushed = other.place.missed_after().map(|(beat, _)| beat);
        let ask = Ask { users: names(users), rooms: names(rooms), sync: Some(sync), since, first, pushed };
        self.publish(&[self.at(instance)], Kind::Ask, &ask, "");
    }

    /// Answers which peers are here, and resends what the instance missed.
    fn answer(&mut self, instance: &str, mut cards: Vec<Card>, question: &Question) {
        let channel = [self.at(instance)];
        loop {
            let rest = cards.split_off(cards.len().min(ANSWER));
            let last = rest.is_empty();
            if !cards.is_empty() || question.sync.is_some() {
                let peers = Peers { peers: cards, told: false, sync: question.sync, last };
                self.publish(&channel, Kind::Peers, &peers, "");
            }
            if last {
                break;
            }
            cards = rest;
        }
        if let (Some(sync), Some(since)) = (question.sync, question.since) {
            let owed = self.others.get(instance).filter(|_| question.first).map(|other| other.acked);
            let since = owed.unwrap_or(since);
            self.say_again(instance, sync, since);
            self.free_if_low();
        }
    }

    pub(super) fn say_got(&mut self, instance: &str, n: u64, delivered: usize) {
        self.publish(&[self.at(instance)], Kind::Got, &Got { n, delivered }, "");
    }

    /// Subscribes to a name; returns the number of the subscription if it is not active yet.
    fn want(&mut self, name: &str) -> Option<u64> {
        match self.interest.acquire(name, self.link != BusState::Down) {
            Wanted::Heard => None,
            Wanted::Coming(tag) => Some(tag),
            Wanted::New(tag) => {
                let channel = self.to(name).to_string();
                self.push(Bus::Subscribe { channel, tag });
                Some(tag)
            }
        }
    }

    /// Ends a wait of the hub once this subscription is active.
    fn wait(&mut self, tag: Option<u64>, wait: u64) {
        let Some(tag) = tag else { return self.tell_hub(FromCluster::Heard { wait }) };
        let at = self.waits.partition_point(|(other, _)| *other <= tag);
        self.waits.insert(at, (tag, wait));
    }
}
