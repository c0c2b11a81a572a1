//! Handles what comes from the bus.

use std::sync::Arc;
use std::time::Instant;

use log::{debug, info};

use super::wire::{self, Alive, Ask, Gone, Got, Head, Heard, Hold, Kick, Kind, Peers, Route, Spent, boxed};
use super::{ASK_AGAIN, BusInput, BusState, Cluster, FromCluster, Holding, Incoming, Question, Receipt};
use crate::proto::{Address, Status};
use crate::server::limits::is_past;

impl Cluster {
    pub(super) fn hear_bus(&mut self, input: BusInput<'_>, now: Instant) {
        match input {
            BusInput::Up => self.rise(now),
            BusInput::Down => {
                if self.link != BusState::Down {
                    info!("disconnected from the bus; only the peers of this instance reach each other");
                }
                self.lose();
                self.tell_reach();
                self.tell_hub(FromCluster::Free { instance: None });
                self.holds = false;
                self.tell_hub(FromCluster::FreeForBus);
                for (_, wait) in std::mem::take(&mut self.waits) {
                    self.tell_hub(FromCluster::Heard { wait });
                }
            }
            BusInput::Subscribed(tag) => self.subscribed(tag, now),
            BusInput::Published { tag, receivers } => {
                if let Some(receipt) = self.receipts.get_mut(&tag) {
                    receipt.unsent = receipt.unsent.saturating_sub(1);
                    receipt.silent = receipt.silent.saturating_add_unsigned(receivers);
                    self.count(tag);
                }
            }
            BusInput::Said { payload } if self.link == BusState::Up => self.said(payload, now),
            BusInput::Said { .. } => {}
            BusInput::Broadcast { text } => {
                let text = self.pushed.hear(text, self.keeps() || !self.gone.is_empty(), now);
                self.push_here(text);
                let late = self.pushed.late(now);
                self.push_here(late);
            }
        }
    }

    /// Heartbeats, dead instances, overdue receipts, and expired messages.
    pub(super) fn beat(&mut self, now: Instant) {
        let mut late = Vec::new();
        while let Some(first) = self.receipts.first_entry().filter(|first| first.get().until <= now) {
            late.push(first.remove());
        }
        if self.beat <= now {
            let (heartbeat, dead_after) = (self.settings.heartbeat, self.settings.dead_after);
            // After such a jump of the clock, this process was suspended: messages of others may still wait to be read.
            if is_past(self.beat, dead_after / 2, now) {
                self.others.values_mut().for_each(|other| other.heard = now);
            }
            self.beat = now + heartbeat;
            self.publish(&[self.all()], Kind::Alive, &Alive { hail: false, answers: false }, "");
            self.pushed.forget(now);
            self.remind(now);
            let dead = self.others.iter().filter(|(_, other)| is_past(other.heard, dead_after, now));
            let dead: Vec<Arc<str>> = dead.map(|(instance, _)| instance.clone()).collect();
            dead.iter().for_each(|instance| self.bury(instance, true, now));
        }
        let waited = self.pushed.late(now);
        self.push_here(waited);
        self.look_at_kept(now);
        self.tell_unsent();
        late.into_iter().for_each(|receipt| self.settle_receipt(receipt));
    }

    fn subscribed(&mut self, tag: u64, now: Instant) {
        if !self.interest.confirm(tag) {
            return;
        }
        if matches!(self.link, BusState::Rising(last) if last <= tag) {
            self.link = BusState::Up;
            self.beat = now + self.settings.heartbeat;
            self.publish(&[self.all()], Kind::Alive, &Alive { hail: true, answers: false }, "");
            info!("connected to the bus, {} subscriptions", self.interest.len());
            self.tell_reach();
        }
        let due = self.waits.partition_point(|(wanted, _)| *wanted <= tag);
        let due = self.waits.drain(..due).map(|(_, wait)| FromCluster::Heard { wait });
        self.effects.extend(due);
    }

    fn said(&mut self, payload: &str, now: Instant) {
        let Some((head, body, frame)) = wire::read(payload) else {
            return debug!("ignored a message on the bus that is not an envelope of this version");
        };
        if *head.i == *self.settings.instance {
            if head.k == Kind::Alive {
                self.pushed.echo(head.n);
            }
            // Our own copy, which we receive as a subscriber and were counted for.
            if let (Kind::Route | Kind::State, Some(receipt)) = (head.k, self.receipts.get_mut(&head.n)) {
                receipt.silent -= 1;
                self.count(head.n);
            }
            return;
        }
        self.take_up_before(&head, now);
        match self.note(&head, now) {
            Some(is_fresh) => self.do_said(&head, body, frame, is_fresh, now),
            None => self.put_by(&head, payload, now),
        }
    }

    /// Buffered envelopes with a smaller number come before what is resent.
    fn take_up_before(&mut self, head: &Head<'_>, now: Instant) {
        let other = self.others.get(&*head.i);
        if head.again.is_some() && other.is_some_and(|other| head.again == Some(other.sync)) {
            let below = if head.k == Kind::Caught { u64::MAX } else { head.n };
            self.take_up(&head.i, below, now);
        }
    }

    /// Handles an envelope. If it is not fresh, another copy was handled already.
    pub(super) fn do_said(&mut self, head: &Head<'_>, body: &str, frame: &str, is_fresh: bool, now: Instant) {
        let instance: Arc<str> = (&*head.i).into();
        let done = match head.k {
            Kind::Route | Kind::State => serde_json::from_str(body).map(|route| {
                self.routed(head, route, frame, is_fresh);
            }),
            _ if !is_fresh => Ok(()),
            Kind::Lost => serde_json::from_str(body).map(|route| self.lost(head, route)),
            Kind::Caught => {
                self.caught(&head.i, head.n);
                Ok(())
            }
            Kind::Mark => {
                self.confirm(&head.i);
                Ok(())
            }
            Kind::Heard => serde_json::from_str(body).map(|heard: Heard| {
                self.heard(&head.i, heard.n);
                self.free_if_low();
            }),
            Kind::Kick => serde_json::from_str(body).map(|kick: Kick<'_>| {
                let (address, message) = (kick.address.into(), kick.message.into());
                self.tell_hub(FromCluster::Kick { address, status: Status(kick.status), message });
            }),
            Kind::Host => {
                self.tell_hub(FromCluster::Host { text: frame.into() });
                Ok(())
            }
            Kind::Peers => serde_json::from_str(body).map(|peers| self.told(&instance, peers)),
            Kind::Gone => serde_json::from_str(body).map(|gone: Gone<'_>| {
                self.tell_hub(FromCluster::Gone { instance, ids: boxed(gone.ids) });
            }),
            Kind::Ask => serde_json::from_str(body).map(|ask: Ask<'_>| {
                if let (Some(sync), Some(n)) = (ask.sync, ask.pushed) {
                    self.offer_pushed(&instance, sync, n, now);
                }
                let (users, rooms) = (boxed(ask.users), boxed(ask.rooms));
                let question = Question { sync: ask.sync, since: ask.since, first: ask.first };
                self.tell_hub(FromCluster::ListPeers { instance, users, rooms, question });
            }),
            Kind::Alive => serde_json::from_str(body).map(|alive: Alive| {
                if !alive.answers
                    && let Some(other) = self.others.get_mut(&instance)
                {
                    self.pushed.beat(&mut other.place, head.n);
                }
                if alive.hail {
                    let alive = Alive { hail: false, answers: true };
                    self.publish(&[self.at(&instance)], Kind::Alive, &alive, "");
                }
            }),
            Kind::Pushed => {
                serde_json::from_str(body).map(|offer| self.take_pushed(&instance, &offer, frame, now))
            }
            Kind::Bye => {
                self.bury(&instance, false, now);
                Ok(())
            }
            Kind::Spent => serde_json::from_str(body).map(|spent: Spent<'_>| {
                let (id, millis) = (spent.id.into(), spent.millis);
                self.tell_hub(FromCluster::Spent { instance, id, millis });
            }),
            Kind::Hold => serde_json::from_str(body).map(|hold: Hold<'_>| {
                let (by, held) = (hold.by.into(), hold.held.map(|id| id.into()));
                let holding = Holding { instance, by, held, ends: hold.ends };
                self.tell_hub(FromCluster::Hold { holding });
            }),
            Kind::Got => serde_json::from_str(body).map(|got: Got| {
                if let Some(receipt) = self.receipts.get_mut(&got.n) {
                    receipt.delivered += got.delivered;
                    receipt.silent -= 1;
                    self.count(got.n);
                }
            }),
        };
        if done.is_err() {
            debug!("ignored an envelope whose body is not of this version");
        }
    }

    /// Records that an instance sent something, and asks it for its peers and for missed messages if necessary. Returns
    /// whether the envelope is new; `None` if it is to be ignored.
    fn note(&mut self, head: &Head<'_>, now: Instant) -> Option<bool> {
        if !self.others.contains_key(&*head.i) && !self.meet_instance(head, now) {
            return None;
        }
        let other = self.others.get_mut(&*head.i)?;
        if head.e < other.epoch {
            return None;
        }
        let is_new = head.e > other.epoch;
        if is_new {
            (other.epoch, other.synced, other.behind, other.asked) = (head.e, false, true, None);
        }
        other.heard = now;
        let is_fresh = other.takes(head, now);
        let is_owed = !other.synced || other.behind;
        let asks = is_owed && other.asked.is_none_or(|at| is_past(at, ASK_AGAIN, now)) && head.k != Kind::Bye;
        if is_new {
            self.tell_hub(FromCluster::Free { instance: Some((&*head.i).into()) });
        }
        if asks {
            self.syncs += 1;
            let (sync, other) = (self.syncs, self.others.get_mut(&*head.i)?);
            (other.sync, other.synced, other.asked) = (sync, false, Some(now));
            self.tell_hub(FromCluster::ListRooms { instance: (&*head.i).into(), sync });
        }
        is_fresh
    }

    fn told(&mut self, instance: &Arc<str>, peers: Peers) {
        let Some(other) = self.others.get_mut(instance) else { return };
        let sync = other.sync;
        // Peers that were not listed since the question are gone.
        let is_all = peers.last && peers.sync == Some(sync);
        other.synced |= is_all;
        for card in peers.peers {
            let (instance, told) = (instance.clone(), peers.told);
            self.tell_hub(FromCluster::Peer { instance, card, told, sync });
        }
        if is_all {
            self.tell_hub(FromCluster::GoneBefore { instance: instance.clone(), sync });
        }
    }

    /// An instance is gone, with its peers; it `returns` perhaps, unless it said goodbye.
    fn bury(&mut self, instance: &str, returns: bool, now: Instant) {
        // Nothing before the buffered envelopes will come any more.
        self.take_up(instance, u64::MAX, now);
        if !self.others.contains_key(instance) {
            return;
        }
        self.tell_hub(FromCluster::Buried { instance: instance.into() });
        self.part(instance, returns, now);
        self.free_if_low();
        self.tell_hub(FromCluster::TellMissed);
    }

    fn routed(&mut self, head: &Head<'_>, route: Route<'_>, frame: &str, is_fresh: bool) {
        let receipt = route.receipt.then_some(head.n);
        if !is_fresh {
            return receipt.into_iter().for_each(|n| self.say_got(&head.i, n, 0));
        }
        let message = Incoming {
            instance: (&*head.i).into(),
            from: Address::from(&*route.from),
            rooms: boxed(route.rooms),
            to: route.to.into(),
            text: frame.into(),
            is_state: head.k == Kind::State,
            receipt,
        };
        self.tell_hub(FromCluster::Message { message });
    }

    /// Answers a receipt once all instances have reported.
    fn count(&mut self, n: u64) {
        if self.receipts.get(&n).is_some_and(|receipt| receipt.unsent == 0 && receipt.silent <= 0)
            && let Some(receipt) = self.receipts.remove(&n)
        {
            self.settle_receipt(receipt);
        }
    }

    fn settle_receipt(&mut self, receipt: Receipt) {
        let Receipt { conn, id, delivered, .. } = receipt;
        self.tell_hub(FromCluster::Receipt { conn, id, delivered });
    }
}
