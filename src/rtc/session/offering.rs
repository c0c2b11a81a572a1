//! Our offers: the first one of a session, later ones, and their answers (RFC 8829, 5.2).
//!
//! Later offers change which media flows and keep the transport: sections keep their position, name and payload types,
//! streams their SSRCs. A kind without a section gets one, in the position of a declined one or at the end. Sections
//! that are no longer used become inactive and can be resumed.

use std::time::Instant;

use super::agree::choices;
use super::negotiate::{Offered, Plan, Settled};
use super::payload::Choice;
use super::section::{DataSection, Part, Used, Whole};
use super::slots::Slots;
use super::{Session, Shared};
use crate::media;
use crate::rtc::refusal::Refusal;
use crate::rtc::session::direction::Direction;
use crate::rtc::session::sdp::{Kind, Remote, Transport};
use crate::rtc::session::supply::{Data, Supply};
use crate::rtc::{Answered, SessionId};

/// Our pending offer.
pub(super) struct OpenOffer {
    /// Whether it is the session's first.
    is_first: bool,
    sections: Vec<Offered>,
    /// What is negotiated once it is answered.
    settled: Settled,
}

impl OpenOffer {
    /// Whether it has a section for data channels.
    pub(super) fn has_data(&self) -> bool {
        self.sections.iter().any(|section| section.is_data)
    }
}

impl Session {
    /// Creates a session with our offer.
    pub(in crate::rtc) fn offer(
        id: SessionId,
        shared: &Shared,
        supply: &Supply,
        now: Instant,
    ) -> Result<(Session, String), Refusal> {
        let has_data = supply.data() == Data::Offered;
        if supply.has_no_media() && !has_data {
            return Err(Refusal::NothingToSend);
        }
        let choices = choices(&Settled::default(), supply);
        let mut session = Session::new(id, shared, now);
        // The side of the first offer controls ICE (RFC 8445, 6.1.1).
        session.rtc.direct_api().set_ice_controlling(true);
        let mut mids: Vec<(Kind, String)> = vec![];
        for kind in [Kind::Audio, Kind::Video] {
            let media = media_kind(kind);
            if supply.streams(media).next().is_none() && !supply.takes(media) {
                continue;
            }
            mids.push((kind, mids.len().to_string()));
        }
        let data = has_data.then(|| mids.len().to_string());
        let names: Vec<String> = mids.iter().map(|(_, mid)| mid).chain(&data).cloned().collect();
        let settled = Settled { slots: Slots::of(&names), ..Settled::default() };
        let mut parts = vec![];
        for (slot, (kind, mid)) in mids.iter().enumerate() {
            let of_kind = |choice: &&Choice| choice.codec.kind() == media_kind(*kind);
            let own: Vec<Choice> = choices.iter().filter(of_kind).copied().collect();
            parts.push(Part::Used(Used::offered(*kind, mid, slot, &own, &[])));
        }
        parts.extend(data.map(|mid| Part::Data(DataSection { mid, slot: mids.len() })));
        let sdp = session.offer_parts(
            true,
            settled,
            parts,
            Whole { bundles: true, mixes_extensions: false },
            supply,
        );
        Ok((session, sdp))
    }

    /// Makes another offer in an existing session, for what it wants now.
    pub(in crate::rtc) fn offer_again(&mut self, supply: &Supply) -> Result<String, Refusal> {
        if self.parts.is_empty() {
            // The first offer is not answered yet.
            return Err(Refusal::SessionExists);
        }
        self.roll_back();
        let supply = &*self.own(supply);
        let (mut settled, mut parts) = (self.settled.clone(), self.parts.clone());
        for kind in [Kind::Audio, Kind::Video] {
            let media = media_kind(kind);
            let has = parts.iter().filter_map(Part::used).any(|used| used.kind == kind);
            if !has && (supply.streams(media).next().is_some() || supply.takes(media)) {
                add_section(kind, &mut parts, &mut settled, supply);
            }
        }
        match parts.iter().position(|part| part.data().is_some()) {
            None if supply.data() == Data::Offered => add_data_section(&mut parts, &mut settled),
            Some(at) if supply.data() == Data::Declined => {
                let data = parts[at].data().expect("it was found");
                parts[at] = Part::Declined(data.declined());
            }
            _ => {}
        }
        match parts.iter().any(|part| part.data().is_some()) {
            true => self.await_data(),
            // There is none to be had.
            false => self.end_waiting(),
        }
        let bundles = self.whole.bundles || parts.iter().filter(|part| !part.is_declined()).count() > 1;
        let whole = Whole { bundles, ..self.whole };
        Ok(self.offer_parts(false, settled, parts, whole, supply))
    }

    /// Offers these sections, for what we send and receive now.
    fn offer_parts(
        &mut self,
        is_first: bool,
        settled: Settled,
        mut parts: Vec<Part>,
        whole: Whole,
        supply: &Supply,
    ) -> String {
        for kind in [Kind::Audio, Kind::Video] {
            let media = media_kind(kind);
            let of_kind = |part: &Part| part.used().filter(|used| used.kind == kind).cloned();
            // One section of each kind is enough to send in: the current one, if there is one.
            let sent = |used: &Used| {
                let codec =
                    |(choice, _): &(Choice, _)| supply.streams(media).any(|s| s.codec == choice.codec);
                used.formats.iter().any(codec)
            };
            let candidates: Vec<Used> = parts.iter().filter_map(of_kind).filter(sent).collect();
            let first = candidates.iter().find(|used| used.sends.is_some()).or(candidates.first());
            let first = first.map(|used| used.slot);
            for part in &mut parts {
                let Part::Used(used) = part else { continue };
                if used.kind != kind {
                    continue;
                }
                used.receives = supply.takes(media);
                used.sends = (first == Some(used.slot)).then(|| {
                    let (ssrc, rtx) = self.announce(settled.slots.serial(used.slot));
                    (ssrc, used.formats.iter().any(|(choice, _)| choice.rtx.is_some()).then_some(rtx))
                });
            }
        }
        let offered = |part: &Part| match part {
            Part::Used(used) => Offered {
                mid: used.mid.clone(),
                slot: Some(used.slot),
                choices: used.formats.iter().map(|(choice, _)| *choice).collect(),
                direction: used.direction(),
                is_data: false,
            },
            Part::Data(data) => Offered {
                mid: data.mid.clone(),
                slot: Some(data.slot),
                choices: vec![],
                direction: Direction::Inactive,
                is_data: true,
            },
            Part::Declined(declined) => Offered {
                mid: declined.mid.clone(),
                slot: None,
                choices: vec![],
                direction: Direction::Inactive,
                is_data: false,
            },
        };
        let sections = parts.iter().map(offered).collect();
        self.open = Some(OpenOffer { is_first, sections, settled });
        self.describe("actpass", whole, &parts)
    }

    /// Discards our pending offer and restores the previous state.
    pub(in crate::rtc) fn roll_back(&mut self) {
        if self.open.take_if(|open| !open.is_first).is_some() {
            let slots = &self.settled.slots;
            self.announced.retain(|known| slots.has(known.section));
        }
    }

    /// Applies the answer to our pending offer. An unusable answer to a later offer changes nothing.
    pub(in crate::rtc) fn answer(
        &mut self,
        shared: &Shared,
        remote: &Remote,
        supply: &Supply,
    ) -> Result<Answered, Refusal> {
        // A first offer is not rolled back: it stays pending, or its session is useless.
        self.apply_answer(shared, remote, supply).inspect_err(|_| self.roll_back())
    }

    fn apply_answer(
        &mut self,
        shared: &Shared,
        remote: &Remote,
        supply: &Supply,
    ) -> Result<Answered, Refusal> {
        let Some(open) = &self.open else { return Err(Refusal::NoOpenOffer) };
        let (is_first, has_data) = (open.is_first, open.has_data());
        let plan = Plan::of_answer(remote, &open.sections, open.settled.clone(), supply, is_first)?;
        let transport = self.transport(remote);
        if is_first {
            self.connect(&transport)?;
        } else {
            // Only an offer may restart ICE (RFC 8839, 4.4.1.1.1), and ours never does.
            let identity = |t: &Transport| (t.ufrag.clone(), t.pwd.clone(), t.fingerprint.clone());
            if identity(&transport) != identity(&self.remote) {
                return Err(Refusal::bad_sdp("the answer is from another peer connection"));
            }
            for candidate in transport.candidates.clone() {
                // Ignores candidates that were checked before.
                if let Err(refusal) = self.add_remote_candidate(&candidate) {
                    log::debug!("session {}: ignored a candidate: {}", self.id.0, refusal.code());
                }
            }
        }
        self.open = None;
        self.settle(shared, remote, transport, &plan);
        self.note_transport(remote);
        self.keep_agreed(remote, plan);
        if has_data {
            self.end_waiting();
        }
        Ok(Answered { streams: self.stats.streams.clone() })
    }
}

fn media_kind(kind: Kind) -> media::Kind {
    if kind == Kind::Audio { media::Kind::Audio } else { media::Kind::Video }
}

/// Adds a section for a kind that has none, unless the other side used up all sections.
fn add_section(kind: Kind, parts: &mut Vec<Part>, settled: &mut Settled, supply: &Supply) {
    let media = media_kind(kind);
    let Some((mid, slot)) = place(parts, settled) else { return };
    let choices = match *settled.of(media) {
        // A payload type keeps its meaning (RFC 3264, 8.3.2).
        Some(choice) => vec![choice],
        None => {
            let mut taken: Vec<u8> =
                [settled.audio, settled.video].iter().flatten().flat_map(Choice::payload_types).collect();
            let proposed = supply.proposals(media).map(|(_, codec, level)| {
                let choice = renumbered(Choice::proposal(codec, level), &taken);
                taken.extend(choice.payload_types());
                choice
            });
            proposed.collect()
        }
    };
    let mut known: Vec<(u8, &'static str)> = vec![];
    known.extend(parts.iter().filter_map(Part::used).flat_map(|used| used.extensions.iter().copied()));
    let part = Part::Used(Used::offered(kind, &mid, slot, &choices, &known));
    put(part, parts);
}

/// Adds a section for data channels, if there is room.
fn add_data_section(parts: &mut Vec<Part>, settled: &mut Settled) {
    let Some((mid, slot)) = place(parts, settled) else { return };
    put(Part::Data(DataSection { mid, slot }), parts);
}

/// Returns a name and a slot for a new section; `None` if the other side used up all sections.
fn place(parts: &[Part], settled: &mut Settled) -> Option<(String, usize)> {
    let mid = (0..).map(|n: usize| n.to_string()).find(|mid| !parts.iter().any(|part| part.mid() == mid));
    let mid = mid.expect("there are more numbers than sections");
    let mut free = settled.slots.free();
    let slot = settled.slots.make(&mid, &mut free)?;
    Some((mid, slot))
}

/// Adds a section; reuses stopped ones first (RFC 8829, 5.2.2).
fn put(part: Part, parts: &mut Vec<Part>) {
    match parts.iter().position(Part::is_declined) {
        Some(at) => parts[at] = part,
        None => parts.push(part),
    }
}

/// Renumbers a proposal for a bundle in which these payload types are taken.
fn renumbered(choice: Choice, taken: &[u8]) -> Choice {
    let mut taken = taken.to_vec();
    let mut number = |wanted: u8| {
        // First the dynamic range, then the free range below (RFC 8829, 5.2.1; RFC 5761, 4).
        let free = std::iter::once(wanted).chain(96..=127).chain(35..=63).find(|pt| !taken.contains(pt));
        let pt = free.unwrap_or(wanted);
        taken.push(pt);
        pt
    };
    let pt = number(choice.pt);
    Choice { pt, rtx: choice.rtx.map(&mut number), ..choice }
}
