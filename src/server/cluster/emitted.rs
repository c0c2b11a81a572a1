//! What emitters pushed lately, for instances that did not hear it.
//!
//! Redis keeps nothing of [`BROADCAST`](super::BROADCAST) for an instance that has lost its subscription, and an
//! emitter neither numbers its messages nor waits for anybody. But all who subscribe to one Redis hear the same
//! messages in the same order, and hear the heartbeats of each instance at the same place in that order. So each
//! instance keeps what it heard. Who returns asks each of the others for what came after the last heartbeat of theirs
//! that it heard before, and delivers what it did not hear itself. Texts are counted, not just compared: an emitter may
//! push the same twice.
//!
//! What an instance was told by another has its place in the gap where it was missed, so that it is not offered to who
//! heard it then. What comes meanwhile waits behind the first answer, so that it stays behind what came before it. What nobody
//! heard cannot be made up for: Redis answered its `PUBLISH` with 0.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::server::limits::is_past;

/// What an entry costs beside its text.
const ENTRY: usize = 48;

/// Heartbeats that are kept: of one hour, as long as a silent instance is remembered.
const BEATS: usize = 1200;

/// For how long the first answer is waited for: others say that they live within this.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where another instance's heartbeats were heard, in the order of what was pushed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position {
    /// The number of the last one, and how much was heard before it.
    beat: Option<(u64, u64)>,
    /// The same, of the last one before the subscription was lost. It remains until another one is heard.
    lost_at: Option<(u64, u64)>,
    /// What was missed is still to be said.
    is_owed: bool,
}

impl Position {
    /// The subscription is lost: something may be missed from here on.
    pub(super) fn lose(&mut self) {
        let beat = self.beat.take();
        if !self.is_owed && beat.is_some() {
            self.lost_at = beat;
        }
        self.is_owed = self.lost_at.is_some();
    }

    /// From where on something may be missed.
    pub(super) fn missed_after(&self) -> Option<(u64, u64)> {
        self.lost_at.filter(|_| self.is_owed)
    }

    /// All that was missed has been said.
    pub(super) fn settle(&mut self) {
        self.is_owed = false;
    }

    /// Whether anything missed could be asked for.
    #[cfg(test)]
    pub(super) fn is_known(&self) -> bool {
        self.beat.or(self.lost_at).is_some()
    }
}

#[derive(Debug)]
struct Heard {
    place: u64,
    /// The last place that it may have had: another instance told of it, and there were several gaps.
    last: u64,
    text: Arc<str>,
    at: Instant,
}

/// What was heard lately.
#[derive(Debug)]
pub(super) struct Pushed {
    /// By place; those of one gap have the same.
    heard: VecDeque<Heard>,
    /// The next place.
    next: u64,
    /// The first place of which nothing is forgotten.
    forgot: u64,
    /// The places of gaps in our hearing.
    gaps: VecDeque<u64>,
    bytes: usize,
    limit: usize,
    keep_for: Duration,
    /// Our own heartbeats as we heard them: the number, and how much was heard before it.
    beats: VecDeque<(u64, u64)>,
    /// What waits for the first answer, and until when.
    waiting: Option<(Instant, Vec<Arc<str>>)>,
    /// What each of the others may still offer that we have.
    offers: BTreeMap<Arc<str>, Offer>,
}

#[derive(Debug)]
struct Offer {
    sync: u64,
    known: HashMap<Arc<str>, u64>,
}

impl Pushed {
    pub(super) fn new(limit: usize, keep_for: Duration) -> Pushed {
        Pushed {
            heard: VecDeque::new(),
            next: 0,
            forgot: 0,
            gaps: VecDeque::new(),
            bytes: 0,
            limit,
            keep_for,
            beats: VecDeque::new(),
            waiting: None,
            offers: BTreeMap::new(),
        }
    }

    /// An emitter pushed something, which is kept if there is anybody to `keep` it for. To be delivered now, if it need
    /// not wait.
    pub(super) fn hear(&mut self, text: &str, keep: bool, now: Instant) -> Option<Arc<str>> {
        let text: Arc<str> = text.into();
        self.next += 1;
        match keep {
            true => self.add((self.next - 1, self.next - 1), &text, now),
            false => self.clear(),
        }
        match &mut self.waiting {
            Some((_, texts)) => {
                texts.push(text);
                None
            }
            None => Some(text),
        }
    }

    fn clear(&mut self) {
        (self.heard, self.bytes, self.forgot) = (VecDeque::new(), 0, self.next);
    }

    /// The index of the first entry from this place on.
    fn index(&self, place: u64) -> usize {
        self.heard.partition_point(|heard| heard.place < place)
    }

    fn add(&mut self, (place, last): (u64, u64), text: &Arc<str>, now: Instant) {
        self.bytes += ENTRY + text.len();
        self.heard.insert(self.index(place + 1), Heard { place, last, text: text.clone(), at: now });
        for offer in self.offers.values_mut() {
            *offer.known.entry(text.clone()).or_default() += 1;
        }
        self.forget(now);
    }

    /// Forgets what is too old, or too much. It is kept for longer than it is offered, since whoever asks for it
    /// compares it with what it has itself.
    pub(super) fn forget(&mut self, now: Instant) {
        while let Some(heard) = self.heard.front()
            && (self.bytes > self.limit || is_past(heard.at, 2 * self.keep_for, now))
        {
            self.bytes -= ENTRY + heard.text.len();
            self.forgot = self.forgot.max(heard.place + 1);
            self.heard.pop_front();
        }
        if self.heard.is_empty() && self.heard.capacity() > 64 {
            self.heard = VecDeque::new();
        }
    }

    /// We heard our own heartbeat of this number.
    pub(super) fn echo(&mut self, n: u64) {
        if self.beats.len() >= BEATS {
            self.beats.pop_front();
        }
        self.beats.push_back((n, self.next));
    }

    /// Our subscription was lost and comes anew. What was said up to number `n` is over. `asks`: others are asked for
    /// what was missed.
    pub(super) fn rise(&mut self, n: u64, asks: bool, now: Instant) {
        self.offers.clear();
        self.echo(n);
        if self.gaps.len() >= BEATS {
            self.gaps.pop_front();
        }
        self.gaps.push_back(self.next);
        self.next += 1;
        if asks {
            self.waiting.get_or_insert((now + PATIENCE, Vec::new())).0 = now + PATIENCE;
        }
    }

    /// A heartbeat of another instance.
    pub(super) fn beat(&self, place: &mut Position, n: u64) {
        place.beat = Some((n, self.next));
    }

    /// What was heard after our heartbeat of this number, and how much of it is forgotten.
    pub(super) fn after(&self, n: u64, now: Instant) -> (u64, impl Iterator<Item = &Arc<str>>) {
        let at = self.beats.partition_point(|(beat, _)| *beat < n);
        let from = self.beats.get(at).map_or(self.next, |(_, place)| *place);
        let gaps = self.gaps.iter().filter(|gap| (from..self.forgot).contains(*gap)).count() as u64;
        let forgot = self.forgot.saturating_sub(from).saturating_sub(gaps);
        let rest = self.heard.range(self.index(from)..);
        let old = rest.clone().take_while(|heard| is_past(heard.at, self.keep_for, now)).count();
        (forgot + old as u64, rest.skip(old).map(|heard| &heard.text))
    }

    /// Another instance heard something after `place`. Whether we did not.
    pub(super) fn offered(
        &mut self,
        (instance, sync): (&Arc<str>, u64),
        (_, from): (u64, u64),
        text: &str,
        now: Instant,
    ) -> Option<Arc<str>> {
        if self.offers.get(instance).is_none_or(|offer| offer.sync != sync) {
            let mut known = HashMap::<Arc<str>, u64>::new();
            for heard in self.heard.iter().filter(|heard| heard.last >= from) {
                *known.entry(heard.text.clone()).or_default() += 1;
            }
            self.offers.insert(instance.clone(), Offer { sync, known });
        }
        let offer = self.offers.get_mut(instance)?;
        if let Some(count) = offer.known.get_mut(text).filter(|count| **count > 0) {
            *count -= 1;
            return None;
        }
        let text: Arc<str> = text.into();
        // Of several gaps the first: who heard it in a later one is then not offered it.
        let gap = self.gaps.iter().find(|gap| **gap >= from).copied().unwrap_or(from);
        self.add((gap, self.gaps.back().copied().unwrap_or(gap)), &text, now);
        let offer = self.offers.get_mut(instance)?;
        offer.known.entry(text.clone()).and_modify(|count| *count -= 1);
        Some(text)
    }

    /// An instance has offered all. What waited for that.
    pub(super) fn end(&mut self, instance: &str) -> Vec<Arc<str>> {
        self.offers.remove(instance);
        self.waiting.take().map_or_else(Vec::new, |(_, texts)| texts)
    }

    /// When nothing waits any longer.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|(until, _)| *until)
    }

    /// What has waited for too long.
    pub(super) fn late(&mut self, now: Instant) -> Vec<Arc<str>> {
        let late = self.waiting.take_if(|(until, texts)| {
            *until <= now || texts.iter().map(|text| text.len()).sum::<usize>() > self.limit
        });
        late.map_or_else(Vec::new, |(_, texts)| texts)
    }
}
