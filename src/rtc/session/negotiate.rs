//! Decides what a viewer is sent.
//!
//! Turns a remote description into a [`Plan`]: for each of its media sections, whether to send in it, keep it inactive
//! or decline it. The answer contains all sections ([`Plan::parts`]).

use super::describe::SCTP_PORT;
use super::direction::Direction;
use super::formats::{choose, is_named, matches, profile_of, words};
use super::payload::Choice;
use super::sdp::{Format, Kind, Remote, Section};
use super::section::{DataSection, Declined, Part, Used};
use super::simulcast::Layers;
use super::slots::{self, Slots};
use super::supply::{Data, Supply};
use crate::media::{self, Codec, StreamId};
use crate::rtc::refusal::Refusal;
use crate::rtc::send::header::Extensions;

/// When it is decided on a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// We send in it.
    Sending,
    /// It exists.
    Known,
    /// It is new, and says what its formats are.
    New,
    /// It names none of the formats that we have.
    NotDescribed,
}

/// What we do with a remote section.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// Accepted in this slot; `a=inactive` if neither side sends.
    Use(Use),
    /// Accepted for data channels.
    Data { slot: usize },
    /// Declined with port 0. The slot is that of the section in our offer, if it was ours.
    Decline(Option<usize>),
}

/// How a section is used.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Use {
    slot: usize,
    choice: Choice,
    /// Formats that the stream may change to, without another description.
    others: Vec<Choice>,
    /// What we send.
    sends: Option<StreamId>,
    /// Whether we receive what the other side sends.
    receives: bool,
    /// Receive several encodings, if they are offered.
    takes_layers: bool,
}

/// A section of our offer.
#[derive(Clone, Debug)]
pub(in crate::rtc) struct Offered {
    pub(in crate::rtc) mid: String,
    /// `None` for a stopped section.
    pub(in crate::rtc) slot: Option<usize>,
    pub(in crate::rtc) choices: Vec<Choice>,
    pub(in crate::rtc) direction: Direction,
    /// For data channels.
    pub(in crate::rtc) is_data: bool,
}

impl Use {
    fn direction(&self) -> Direction {
        Direction::of(self.sends.is_some(), self.receives)
    }

    /// Returns the encodings to receive in a section.
    fn layers(&self, s: &Section) -> Option<Layers> {
        Layers::of(s, &self.choice).filter(|_| self.takes_layers)
    }
}

impl Fate {
    fn used(&self) -> Option<&Use> {
        match self {
            Fate::Use(used) => Some(used),
            Fate::Data { .. } | Fate::Decline(_) => None,
        }
    }

    fn slot(&self) -> Option<usize> {
        match self {
            Fate::Use(used) => Some(used.slot),
            Fate::Data { slot } => Some(*slot),
            Fate::Decline(_) => None,
        }
    }

    fn sends(&self) -> bool {
        self.used().is_some_and(|used| used.sends.is_some())
    }
}

/// What a session negotiated and must keep in later descriptions.
#[derive(Clone, Debug, Default)]
pub(in crate::rtc) struct Settled {
    /// What new sections of a kind get if they can. All sections of a kind have one codec, but maybe under different
    /// payload types: each section keeps its own ([`Slots::choice`]).
    pub(in crate::rtc) video: Option<Choice>,
    pub(in crate::rtc) audio: Option<Choice>,
    pub(in crate::rtc) slots: Slots,
}

impl Settled {
    pub(in crate::rtc) fn of(&mut self, kind: media::Kind) -> &mut Option<Choice> {
        match kind {
            media::Kind::Video => &mut self.video,
            media::Kind::Audio => &mut self.audio,
        }
    }

    fn choice(&self, kind: media::Kind) -> Option<Choice> {
        match kind {
            media::Kind::Video => self.video,
            media::Kind::Audio => self.audio,
        }
    }

    /// Chooses the format of a remote section: its `own` of before, that of its kind, or the best one. Also returns the
    /// stream that can be sent in it. The codec of a kind only changes if no section goes on (`anew`).
    fn choose(
        &self,
        s: &Section,
        kind: media::Kind,
        own: Option<Choice>,
        supply: &Supply,
        anew: bool,
    ) -> Option<(Option<StreamId>, Choice)> {
        let settled = self.choice(kind);
        // A payload type keeps its meaning (RFC 3264, 8.3.2); werift does not describe it again when it reappears.
        let as_before = |c: Choice| {
            let again = |f: &Format| f.pt == c.pt && is_named(f, c.codec) && f.fmtp.is_empty();
            let same = |f: &Format| f.pt == c.pt && matches(f, c.codec);
            let (stream, ..) = supply.codecs(kind).find(|(_, codec, _)| *codec == c.codec)?;
            let repeats = c.rtx.is_none_or(|rtx| s.formats.iter().any(|f| f.pt == rtx));
            (repeats && s.formats.iter().any(|f| same(f) || again(f))).then_some((stream, c))
        };
        // A codec may get another payload type: when Firefox offers, it uses its own numbers. If all sections of a kind
        // are stopped, the codec may change, too.
        let is_free = |codec| anew || settled.is_none_or(|c| c.codec == codec);
        let best = || {
            let mut codecs = supply.codecs(kind).filter(|(_, codec, _)| is_free(*codec));
            codecs.find_map(|(stream, codec, level)| Some((stream, choose(s, codec, level)?)))
        };
        own.into_iter().chain(settled).find_map(as_before).or_else(best)
    }
}

/// A section in which media flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rtc) struct Lane {
    /// The section's number in the session.
    pub(in crate::rtc) section: u32,
    /// Its name in the other side's descriptions.
    pub(in crate::rtc) mid: String,
    pub(in crate::rtc) choice: Choice,
    /// Formats that the stream that we send may change to.
    pub(in crate::rtc) others: Vec<Choice>,
    pub(in crate::rtc) extensions: Extensions,
    /// What we send.
    pub(in crate::rtc) sends: Option<StreamId>,
    /// Whether we receive what the other side sends.
    pub(in crate::rtc) receives: bool,
    /// Its encodings, if there are several.
    #[cfg(feature = "recv")]
    pub(in crate::rtc) layers: Option<Layers>,
    /// Formats that may arrive instead: the other side may switch between all formats of our offer without notice
    /// (RFC 3264, 5.1). Chromium does so even to formats that its answer left out.
    #[cfg(feature = "recv")]
    pub(in crate::rtc) also: Vec<Choice>,
    /// The feedback that both sides support.
    #[cfg(feature = "recv")]
    pub(in crate::rtc) feedback: Vec<&'static str>,
}

/// The consequences of a remote description.
#[derive(Clone, Debug)]
pub(in crate::rtc) struct Plan {
    fates: Vec<Fate>,
    /// The formats of our offer, if this plan is for its answer.
    #[cfg(feature = "recv")]
    listed: Vec<Choice>,
    pub(in crate::rtc) settled: Settled,
}

impl Plan {
    /// Plans the answer to an offer; `before` is what an existing session negotiated.
    pub(in crate::rtc) fn of_offer(
        remote: &Remote,
        supply: &Supply,
        before: Option<&Settled>,
    ) -> Result<Plan, Refusal> {
        let takes_data = supply.data() != Data::Declined && remote.sections.iter().any(is_data);
        if before.is_none() && supply.has_no_media() && !takes_data {
            let is_for_data = remote.sections.iter().all(|s| s.rejected || s.kind == Kind::Data);
            return Err(if is_for_data { Refusal::NothingTaken } else { Refusal::NothingToSend });
        }
        let mut plan = Plan {
            fates: vec![Fate::Decline(None); remote.sections.len()],
            #[cfg(feature = "recv")]
            listed: vec![],
            settled: before.cloned().unwrap_or_default(),
        };
        let mut free = plan.settled.slots.free();
        // Existing sections keep their slots before new ones get theirs, and the one in which we send goes on with it.
        // Those that leave out what a payload type means come behind those that say it.
        let turn = |s: &Section| {
            let slots = &plan.settled.slots;
            // One whose name was that of another kind is new.
            let same = |slot: &usize| slots.choice(*slot).map(|c| c.codec.kind()) == s.kind.media();
            match slots.find(&s.mid).filter(same) {
                Some(slot) if slots.sends(slot) => Turn::Sending,
                Some(_) => Turn::Known,
                None if is_described(s, supply) => Turn::New,
                None => Turn::NotDescribed,
            }
        };
        let mut order: Vec<(Turn, usize)> =
            remote.sections.iter().enumerate().map(|(i, s)| (turn(s), i)).collect();
        order.sort_unstable();
        let goes_on = |kind| {
            let goes_on = |s: &Section| {
                let settled = &plan.settled;
                let known =
                    settled.slots.find(&s.mid).filter(|_| s.reachable && s.kind.media() == Some(kind));
                known.is_some_and(|slot| {
                    settled.choose(s, kind, settled.slots.choice(slot), supply, false).is_some()
                })
            };
            remote.sections.iter().any(goes_on)
        };
        let mut anew: Vec<media::Kind> =
            [media::Kind::Audio, media::Kind::Video].into_iter().filter(|kind| !goes_on(*kind)).collect();
        let (known, new): (Vec<_>, Vec<_>) = order.into_iter().partition(|(turn, _)| *turn <= Turn::Known);
        for (_, i) in known {
            plan.fates[i] = plan.fate(&remote.sections[i], supply, &mut anew, &mut free);
        }
        plan.settle_on_known();
        for (_, i) in new {
            plan.fates[i] = plan.fate(&remote.sections[i], supply, &mut anew, &mut free);
        }
        let ours: Vec<&str> = supply.streams(media::Kind::Video).map(|stream| words(stream.codec)).collect();
        let video_missed = |(s, fate): (&Section, &Fate)| {
            s.kind == Kind::Video && s.direction.receives() && s.reachable && !fate.sends()
        };
        let missed = !ours.is_empty() && remote.sections.iter().zip(&plan.fates).any(video_missed);
        if missed && !plan.sends(media::Kind::Video) {
            return Err(Refusal::NoCommonCodec { theirs: remote.video_codecs(), ours: ours.join(" or ") });
        }
        // A viewer may stop everything later, but a new call for nothing is a mistake.
        if before.is_none() && plan.is_for_nothing(remote) {
            let receives = remote.sections.iter().any(|s| s.kind != Kind::Data && s.direction.receives());
            let sends = remote.sections.iter().any(|s| s.reachable && s.direction.sends());
            return Err(if sends && !receives { Refusal::NothingTaken } else { Refusal::NothingWanted });
        }
        plan.keep_used();
        plan.check_payload_types()?;
        Ok(plan)
    }

    /// Plans for the answer to our offer with these sections; `settled` is what the offer negotiates. Only offered
    /// streams are sent.
    pub(in crate::rtc) fn of_answer(
        remote: &Remote,
        offered: &[Offered],
        settled: Settled,
        supply: &Supply,
        is_first: bool,
    ) -> Result<Plan, Refusal> {
        let same = |(s, offered): (&Section, &Offered)| s.mid.is_empty() || s.mid == offered.mid;
        if remote.sections.len() != offered.len() || !remote.sections.iter().zip(offered).all(same) {
            return Err(Refusal::bad_sdp("the answer's media sections do not match the offer"));
        }
        let mut plan = Plan {
            fates: vec![],
            #[cfg(feature = "recv")]
            listed: offered.iter().flat_map(|section| section.choices.iter().copied()).collect(),
            settled,
        };
        for (s, offered) in remote.sections.iter().zip(offered) {
            let fate = plan.answered(offered, s, supply);
            plan.fates.push(fate);
        }
        // Later, both sides may have reasons to send nothing for a while.
        if is_first && plan.is_for_nothing(remote) {
            return Err(Refusal::NothingWanted);
        }
        plan.keep_used();
        plan.check_payload_types()?;
        Ok(plan)
    }

    /// New sections get what one of those that continue has.
    fn settle_on_known(&mut self) {
        for kind in [media::Kind::Audio, media::Kind::Video] {
            let used = self.fates.iter().filter_map(Fate::used).map(|used| used.choice);
            let mut choices = used.filter(|choice| choice.codec.kind() == kind);
            let settled = self.settled.of(kind);
            let first = choices.next();
            if first != *settled && choices.all(|choice| Some(choice) != *settled) {
                *settled = first.or(*settled);
            }
        }
    }

    /// Stops the sections that this description does not use.
    fn keep_used(&mut self) {
        let used: Vec<usize> = self.fates.iter().filter_map(Fate::slot).collect();
        self.settled.slots.keep(|slot| used.contains(&slot));
    }

    /// Returns the section for data channels.
    pub(in crate::rtc) fn data<'a>(&self, remote: &'a Remote) -> Option<&'a Section> {
        let is_data = |fate: &Fate| matches!(fate, Fate::Data { .. });
        Some(&remote.sections[self.fates.iter().position(is_data)?])
    }

    fn is_for_nothing(&self, remote: &Remote) -> bool {
        self.lanes(remote).is_empty() && self.data(remote).is_none()
    }

    /// Returns the sections in which media flows, audio first.
    pub(in crate::rtc) fn lanes(&self, remote: &Remote) -> Vec<Lane> {
        let slots = &self.settled.slots;
        let lane = |(s, fate): (&Section, &Fate)| {
            let used = fate.used().filter(|used| used.direction() != Direction::Inactive)?;
            Some(Lane {
                section: slots.serial(used.slot),
                mid: s.mid.clone(),
                choice: used.choice,
                others: used.others.clone(),
                extensions: slots::packet_extensions(s, used.choice.pt),
                sends: used.sends,
                receives: used.receives,
                #[cfg(feature = "recv")]
                layers: used.layers(s),
                #[cfg(feature = "recv")]
                also: self.instead(used),
                #[cfg(feature = "recv")]
                feedback: slots::feedback(s, used.choice.pt).collect(),
            })
        };
        let mut lanes: Vec<Lane> = remote.sections.iter().zip(&self.fates).filter_map(lane).collect();
        lanes.sort_by_key(|lane| lane.choice.codec.is_video());
        lanes
    }

    /// Returns the formats that may arrive in a section instead of the agreed one.
    #[cfg(feature = "recv")]
    fn instead(&self, used: &Use) -> Vec<Choice> {
        let Choice { codec, rtx, .. } = used.choice;
        if !used.receives {
            return vec![];
        }
        let other = |listed: &&Choice| {
            let answered = used.others.iter().any(|other| other.codec == listed.codec);
            listed.codec.kind() == codec.kind() && listed.codec != codec && !answered
        };
        let found = self.listed.iter().filter(other);
        let found = found.map(|choice| Choice { rtx: choice.rtx.filter(|_| rtx.is_some()), ..*choice });
        // Our answer lists these, too.
        used.others.iter().copied().chain(found).collect()
    }

    /// Whether a stream of a kind is already sent: one section of each kind is enough.
    fn sends(&self, kind: media::Kind) -> bool {
        let sends = |used: &Use| used.sends.is_some() && used.choice.codec.kind() == kind;
        self.fates.iter().filter_map(Fate::used).any(sends)
    }

    /// Returns how to use a section for which `stream` was found.
    fn direction(
        &self,
        s: &Section,
        kind: media::Kind,
        stream: Option<StreamId>,
        supply: &Supply,
    ) -> Direction {
        let ours = Direction::of(stream.is_some() && !self.sends(kind), supply.takes(kind));
        s.direction.agree(ours)
    }

    /// Decides on a section of an answer. A payload type means what we offered under it, whatever the answer says about
    /// it: webrtcbin leaves out the profile.
    fn answered(&mut self, offered: &Offered, s: &Section, supply: &Supply) -> Fate {
        let Some(slot) = offered.slot else { return Fate::Decline(None) };
        if offered.is_data {
            return if is_data(s) { Fate::Data { slot } } else { Fate::Decline(Some(slot)) };
        }
        let taken = offered.choices.iter().find_map(|ours| {
            let theirs = s.formats.iter().find(|f| f.pt == ours.pt && is_named(f, ours.codec))?;
            let rtx = ours.rtx.filter(|rtx| s.formats.iter().any(|f| f.pt == *rtx));
            let profile = profile_of(theirs).unwrap_or(ours.profile);
            Some(Choice { rtx, profile, ..*ours })
        });
        if let Some(choice) = taken.filter(|_| s.reachable) {
            let kind = choice.codec.kind();
            let direction = s.direction.agree(offered.direction);
            if direction != Direction::Inactive {
                self.settled.of(kind).get_or_insert(choice);
                self.settled.slots.agree(slot, choice);
            }
            let stream = supply.streams(kind).find(|stream| stream.codec == choice.codec);
            let sends = stream.map(|stream| stream.id).filter(|_| direction.sends() && !self.sends(kind));
            self.settled.slots.send(slot, sends.is_some());
            let others = others(sends, choice, supply, |codec, _| {
                let ours = offered.choices.iter().find(|ours| ours.codec == codec)?;
                let theirs = s.formats.iter().find(|f| f.pt == ours.pt && is_named(f, codec))?;
                let rtx = ours.rtx.filter(|rtx| s.formats.iter().any(|f| f.pt == *rtx));
                Some(Choice { rtx, profile: profile_of(theirs).unwrap_or(ours.profile), ..*ours })
            });
            let (receives, takes_layers) = (direction.receives(), supply.takes_layers());
            return Fate::Use(Use { slot, choice, others, sends, receives, takes_layers });
        }
        Fate::Decline(Some(slot))
    }

    /// Decides on a section; kinds in `anew` have no section that continues.
    fn fate(
        &mut self,
        s: &Section,
        supply: &Supply,
        anew: &mut Vec<media::Kind>,
        free: &mut Vec<usize>,
    ) -> Fate {
        if is_data(s) && supply.data() != Data::Declined {
            return self.data_fate(s, free);
        }
        let Some(kind) = s.kind.media().filter(|_| s.reachable) else { return Fate::Decline(None) };
        let slots = &self.settled.slots;
        let known = slots.find(&s.mid);
        let own = known.and_then(|slot| slots.choice(slot));
        let chosen = self.settled.choose(s, kind, own, supply, anew.contains(&kind));
        let Some((stream, choice)) = chosen else { return Fate::Decline(None) };
        let Some(slot) = known.or_else(|| self.settled.slots.make(&s.mid, free)) else {
            return Fate::Decline(None);
        };
        let direction = self.direction(s, kind, stream, supply);
        let sends = stream.filter(|_| direction.sends());
        self.settled.slots.agree(slot, choice);
        self.settled.slots.send(slot, sends.is_some());
        let settled = self.settled.of(kind);
        if anew.contains(&kind) || settled.is_none_or(|c| c.codec != choice.codec) {
            *settled = Some(choice);
        }
        anew.retain(|other| *other != kind);
        let others = others(sends, choice, supply, |codec, level| choose(s, codec, level));
        let (receives, takes_layers) = (direction.receives(), supply.takes_layers());
        Fate::Use(Use { slot, choice, others, sends, receives, takes_layers })
    }

    /// Decides on a section for data channels; only the first is accepted.
    fn data_fate(&mut self, s: &Section, free: &mut Vec<usize>) -> Fate {
        if self.fates.iter().any(|fate| matches!(fate, Fate::Data { .. })) {
            return Fate::Decline(None);
        }
        let slots = &mut self.settled.slots;
        match slots.find(&s.mid).or_else(|| slots.make(&s.mid, free)) {
            Some(slot) => Fate::Data { slot },
            None => Fate::Decline(None),
        }
    }

    /// Refuses a payload type with two meanings in a bundle.
    fn check_payload_types(&self) -> Result<(), Refusal> {
        let used = self.fates.iter().filter_map(Fate::used);
        let used = used.flat_map(|used| used.others.iter().copied().chain([used.choice]));
        let mut meanings: Vec<(u8, Codec, Option<u8>)> = vec![];
        for choice in used.chain(self.settled.audio).chain(self.settled.video) {
            for (pt, codec, repeats) in choice.meanings() {
                match meanings.iter().find(|known| known.0 == pt) {
                    Some(known) if *known != (pt, codec, repeats) => {
                        return Err(Refusal::bad_sdp("one payload type is used for two codecs"));
                    }
                    Some(_) => {}
                    None => meanings.push((pt, codec, repeats)),
                }
            }
        }
        Ok(())
    }

    /// Returns the sections that both sides agree on, which are those of our answer. `ssrcs` returns the SSRCs of the
    /// stream in a section and of its retransmissions.
    pub(in crate::rtc) fn parts(
        &self,
        remote: &Remote,
        mut ssrcs: impl FnMut(u32) -> (u32, u32),
    ) -> Vec<Part> {
        let slots = &self.settled.slots;
        let part = |(s, fate): (&Section, &Fate)| {
            let used = match fate {
                Fate::Use(used) => used,
                Fate::Data { slot } => {
                    return Part::Data(DataSection { mid: slots.mid(*slot).to_owned(), slot: *slot });
                }
                // A declined section of an answer may lack its name.
                Fate::Decline(Some(slot)) => return Part::Declined(Declined::of(s, slots.mid(*slot))),
                Fate::Decline(None) => return Part::Declined(Declined::of(s, &s.mid)),
            };
            let Use { slot, choice, sends, receives, ref others, .. } = *used;
            let listed = std::iter::once(choice).chain(others.iter().copied());
            Part::Used(Used {
                kind: s.kind,
                mid: slots.mid(slot).to_owned(),
                slot,
                sends: sends.map(|_| {
                    let (ssrc, rtx) = ssrcs(slots.serial(slot));
                    (ssrc, choice.rtx.map(|_| rtx))
                }),
                receives,
                layers: used.layers(s),
                formats: listed.map(|choice| (choice, slots::feedback(s, choice.pt).collect())).collect(),
                extensions: slots::extensions(s),
                reduced_rtcp: s.reduced_rtcp,
            })
        };
        remote.sections.iter().zip(&self.fates).map(part).collect()
    }
}

/// Returns the formats that a stream may change to: those of its other codecs that the section has.
fn others(
    sends: Option<StreamId>,
    choice: Choice,
    supply: &Supply,
    find: impl Fn(Codec, u8) -> Option<Choice>,
) -> Vec<Choice> {
    let kind = choice.codec.kind();
    let same = |codec: Codec, id: StreamId| Some(id) == sends && codec != choice.codec;
    let others = supply.streams(kind).filter(|stream| same(stream.codec, stream.id));
    let found = others.filter_map(|stream| find(stream.codec, stream.level));
    // Retransmissions of all of them have one SSRC, if there is one.
    found.map(|other| Choice { rtx: other.rtx.filter(|_| choice.rtx.is_some()), ..other }).collect()
}

/// Whether a section names a format that we have.
fn is_described(s: &Section, supply: &Supply) -> bool {
    let kind = s.kind.media();
    kind.is_some_and(|kind| supply.codecs(kind).any(|(_, codec, level)| choose(s, codec, level).is_some()))
}

/// Whether a section can carry data channels.
fn is_data(s: &Section) -> bool {
    let port = s.sctp_port.as_ref().is_none_or(|port| *port == SCTP_PORT.to_string());
    s.kind == Kind::Data && s.reachable && port
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::StreamInfo;

    const OFFER: &str = include_str!("../tests/chromium_offer.sdp");

    #[cfg(feature = "recv")]
    #[test]
    fn whatever_an_offer_of_ours_listed_may_come() {
        let mut supply = Supply::default();
        supply.take(&[media::Kind::Video, media::Kind::Audio]);
        let section = |line: &str, mid: &str, more: &str| {
            format!(
                "m={line}\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdefghijkl\r\n\
                 a=fingerprint:sha-256 {}\r\na=setup:active\r\na=mid:{mid}\r\na=sendonly\r\na=rtcp-mux\r\n{more}",
                ["AB"; 32].join(":"),
            )
        };
        let answer = |video: &str, formats: &str| {
            let audio = section("audio 9 UDP/TLS/RTP/SAVPF 111", "a", "a=rtpmap:111 opus/48000/2\r\n");
            let video = section(&format!("video 9 UDP/TLS/RTP/SAVPF {video}"), "v", formats);
            let head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE a v\r\n";
            Remote::parse(&format!("{head}{audio}{video}")).expect("well-formed")
        };
        let (h264, vp8) = (
            "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r\n",
            "a=rtpmap:98 VP8/90000\r\na=rtpmap:99 rtx/90000\r\na=fmtp:99 apt=98\r\n",
        );
        for (remote, chosen, also) in [
            (answer("98 99", vp8), (Codec::Vp8, Some(99)), (Codec::H264, 96, Some(97))),
            (answer("98 96", &format!("{vp8}{h264}")), (Codec::H264, None), (Codec::Vp8, 98, None)),
        ] {
            let offered = |(slot, (mid, kind)): (usize, (&str, media::Kind))| Offered {
                mid: mid.to_owned(),
                slot: Some(slot),
                choices: supply
                    .proposals(kind)
                    .map(|(_, codec, level)| Choice::proposal(codec, level))
                    .collect(),
                direction: Direction::RecvOnly,
                is_data: false,
            };
            let sections = [("a", media::Kind::Audio), ("v", media::Kind::Video)];
            let offered: Vec<Offered> = sections.into_iter().enumerate().map(offered).collect();
            let names: Vec<String> = offered.iter().map(|one| one.mid.clone()).collect();
            let settled = Settled { slots: Slots::of(&names), ..Settled::default() };
            let plan = Plan::of_answer(&remote, &offered, settled, &supply, true).expect("agreed");
            let lanes = plan.lanes(&remote);
            assert!(lanes[0].also.is_empty() && lanes[0].receives, "of audio there is one codec");
            assert_eq!((lanes[1].choice.codec, lanes[1].choice.rtx), chosen);
            let found: Vec<_> = lanes[1].also.iter().map(|one| (one.codec, one.pt, one.rtx)).collect();
            assert_eq!(found, [also]);
        }
    }

    #[test]
    fn what_flows_in_a_section_follows_from_both_sides() {
        let streams = [StreamInfo::new(StreamId(0), Codec::H264), StreamInfo::new(StreamId(2), Codec::Opus)];
        let kinds = [media::Kind::Video, media::Kind::Audio];
        for theirs in ["sendrecv", "sendonly", "recvonly", "inactive"] {
            let offer = OFFER.replace("a=recvonly", &format!("a={theirs}"));
            let remote = Remote::parse(&offer).expect("Chromium's");
            let theirs = Direction::parse(theirs).expect("one of four");
            for ours in [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive] {
                let mut supply = Supply::default();
                supply.set(if ours.sends() { &streams } else { &[] });
                supply.take(if ours.receives() { &kinds } else { &[] });
                let agreed = theirs.agree(ours);
                let plan = Plan::of_offer(&remote, &supply, None);
                if ours == Direction::Inactive {
                    assert_eq!(plan.expect_err("for nothing"), Refusal::NothingToSend);
                    continue;
                }
                if agreed == Direction::Inactive {
                    let why = match theirs {
                        Direction::SendOnly => Refusal::NothingTaken,
                        _ => Refusal::NothingWanted,
                    };
                    assert_eq!(plan.expect_err("for nothing"), why, "{theirs:?}, {ours:?}");
                    continue;
                }
                let plan = plan.expect("something flows");
                let lanes = plan.lanes(&remote);
                assert_eq!(lanes.len(), 2, "{theirs:?}, {ours:?}");
                for lane in lanes {
                    assert_eq!((lane.sends.is_some(), lane.receives), (agreed.sends(), agreed.receives()));
                }
                for part in plan.parts(&remote, |_| (1, 2)) {
                    let Part::Used(used) = part else { panic!("{theirs:?}, {ours:?}: declined") };
                    assert_eq!(used.direction(), agreed);
                }
            }
        }
    }
}
