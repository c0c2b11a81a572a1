//! Decides what a viewer is sent.
//!
//! A remote description becomes a [`Plan`]: for each of its media sections whether we send there, keep it
//! silent or decline it. str0m is then given a description with just the sections, payload types and
//! extensions of the plan ([`Plan::for_str0m`]), and the other side gets an answer with all sections
//! ([`Plan::parts`]).

use super::choice::Choice;
use super::part::{Part, Used};
use super::sdp::{Format, Kind, Remote, Section, Transport};
use super::slots::{self, Slots};
use crate::media::{Codec, StreamId};
use crate::rtc::MediaSet;
use crate::rtc::refusal::Refusal;

/// Baseline of level 3.1: what is meant where no profile is given (RFC 6184, 8.1), of the level that is common.
const NO_PROFILE: u32 = 0x42_001f;

/// What becomes of a remote section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// We send this in this slot.
    Send(usize, Choice),
    /// Understood, but nothing is sent: `a=inactive`.
    Silent(usize, Choice),
    /// Port 0; for str0m it isn't there, or is over.
    Decline,
}

impl Fate {
    fn slot(&self) -> Option<usize> {
        match self {
            Fate::Send(slot, _) | Fate::Silent(slot, _) => Some(*slot),
            Fate::Decline => None,
        }
    }
}

/// What a session settled on, which later descriptions of it must keep.
#[derive(Clone, Debug, Default)]
pub(in crate::rtc) struct Settled {
    pub(in crate::rtc) video: Option<Choice>,
    pub(in crate::rtc) audio: Option<Choice>,
    pub(in crate::rtc) slots: Slots,
}

/// A stream and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rtc) struct Lane {
    pub(in crate::rtc) stream: StreamId,
    /// The section, as str0m names it.
    pub(in crate::rtc) mid: String,
    pub(in crate::rtc) choice: Choice,
}

/// What there is to send, and how an H.264 stream of it may be.
#[derive(Clone, Copy, Debug)]
pub(in crate::rtc) struct Supply<'a> {
    pub(in crate::rtc) media: &'a MediaSet,
    /// `level_idc` that the streams need.
    pub(in crate::rtc) level: u8,
}

/// What a remote description leads to.
#[derive(Clone, Debug)]
pub(in crate::rtc) struct Plan {
    fates: Vec<Fate>,
    pub(in crate::rtc) video: Option<Lane>,
    pub(in crate::rtc) audio: Option<Lane>,
    pub(in crate::rtc) settled: Settled,
}

impl Plan {
    /// What to do about an offer; `before` is what the session settled on if it isn't new.
    pub(in crate::rtc) fn of_offer(
        remote: &Remote,
        supply: Supply<'_>,
        before: Option<&Settled>,
    ) -> Result<Plan, Refusal> {
        let media = supply.media;
        if media.video.is_empty() && media.audio.is_none() {
            return Err(Refusal::NothingToSend);
        }
        let mut plan =
            Plan { fates: vec![], video: None, audio: None, settled: before.cloned().unwrap_or_default() };
        let mut free = plan.settled.slots.free();
        // What goes on keeps its place before anything new looks for one.
        let known = |plan: &Plan, s: &Section| plan.settled.slots.find(&s.mid).is_some();
        let order: Vec<bool> = remote.sections.iter().map(|s| known(&plan, s)).collect();
        let mut pictures_missed = false;
        plan.fates = vec![Fate::Decline; remote.sections.len()];
        for turn in [true, false] {
            for (i, s) in remote.sections.iter().enumerate().filter(|(i, _)| order[*i] == turn) {
                let fate = plan.fate(s, supply, &mut free);
                let wants_pictures =
                    s.kind == Kind::Video && s.receives && s.reachable && !media.video.is_empty();
                pictures_missed |= wants_pictures && !matches!(fate, Fate::Send(..));
                plan.fates[i] = fate;
            }
        }
        if pictures_missed && plan.video.is_none() {
            let ours: Vec<&str> = media.video.iter().map(|(_, codec)| words(*codec)).collect();
            return Err(Refusal::NoCommonCodec { theirs: remote.video_codecs(), ours: ours.join(" or ") });
        }
        // A viewer may fall silent later, but a call for nothing is a mistake.
        if before.is_none() && plan.video.is_none() && plan.audio.is_none() {
            return Err(Refusal::NothingWanted);
        }
        let used: Vec<usize> = plan.fates.iter().filter_map(Fate::slot).collect();
        plan.settled.slots.keep(|slot| used.contains(&slot));
        plan.check_payload_types()?;
        Ok(plan)
    }

    /// What to do about the answer to an offer of ours with these sections.
    pub(in crate::rtc) fn of_answer(
        remote: &Remote,
        supply: Supply<'_>,
        offered: &[String],
    ) -> Result<Plan, Refusal> {
        let same = |(s, mid): (&Section, &String)| s.mid.is_empty() || s.mid == *mid;
        if remote.sections.len() != offered.len() || !remote.sections.iter().zip(offered).all(same) {
            return Err(Refusal::BadSdp("the answer's media sections are not those of the offer".into()));
        }
        let settled = Settled { slots: Slots::of(offered), ..Settled::default() };
        let mut plan = Plan { fates: vec![], video: None, audio: None, settled };
        for (slot, s) in remote.sections.iter().enumerate() {
            let fate = plan.answered(slot, s, supply);
            plan.fates.push(fate);
        }
        if plan.video.is_none() && plan.audio.is_none() {
            return Err(Refusal::NothingWanted);
        }
        plan.check_payload_types()?;
        Ok(plan)
    }

    /// A section of an answer. What we offered under a number is meant by it, whatever else is said of it or not:
    /// webrtcbin leaves out the profile.
    fn answered(&mut self, slot: usize, s: &Section, supply: Supply<'_>) -> Fate {
        let taken = choose_of(s, supply).find_map(|(stream, codec)| {
            let ours = Choice::proposal(codec, supply.level);
            let theirs = s.formats.iter().find(|f| f.pt == ours.pt && is_named(f, codec))?;
            let rtx = ours.rtx.filter(|rtx| s.formats.iter().any(|f| f.pt == *rtx));
            let profile = profile_of(theirs).unwrap_or(ours.profile);
            Some((stream?, Choice { rtx, profile, ..ours }))
        });
        let name = self.settled.slots.name(slot).to_owned();
        let (lane, settled) = match s.kind {
            Kind::Audio => (&mut self.audio, &mut self.settled.audio),
            _ => (&mut self.video, &mut self.settled.video),
        };
        match taken.filter(|_| s.reachable && s.receives && lane.is_none()) {
            Some((stream, choice)) => {
                settled.get_or_insert(choice);
                *lane = Some(Lane { stream, mid: name, choice });
                Fate::Send(slot, choice)
            }
            // Our own section: str0m must hear of it even if it was declined.
            None => {
                let codec = match s.kind {
                    Kind::Audio => Codec::Opus,
                    _ => supply.media.video.first().map_or(Codec::H264, |(_, codec)| *codec),
                };
                let choice = taken.map_or(Choice::proposal(codec, supply.level), |(_, choice)| choice);
                Fate::Silent(slot, choice)
            }
        }
    }

    fn fate(&mut self, s: &Section, supply: Supply<'_>, free: &mut Vec<usize>) -> Fate {
        let (lane, settled) = match s.kind {
            Kind::Audio => (&mut self.audio, &mut self.settled.audio),
            Kind::Video => (&mut self.video, &mut self.settled.video),
            Kind::Other => return Fate::Decline,
        };
        if !s.reachable {
            return Fate::Decline;
        }
        let found = choose_of(s, supply).find_map(|(stream, codec)| {
            let choice = match settled {
                // A number means the same as before (RFC 3264, 8.3.2); werift says no more of it when it comes back.
                Some(c) => {
                    let again = |f: &Format| f.pt == c.pt && is_named(f, codec) && f.fmtp.is_empty();
                    let same = |f: &Format| f.pt == c.pt && matches(f, codec);
                    (c.codec == codec && s.formats.iter().any(|f| same(f) || again(f))).then_some(*c)
                }
                None => choose(s, codec, supply.level),
            };
            Some((stream, choice?))
        });
        let slots = &mut self.settled.slots;
        let Some((stream, choice)) = found else { return Fate::Decline };
        let Some(slot) = slots.find(&s.mid).or_else(|| slots.make(&s.mid, free)) else {
            return Fate::Decline;
        };
        settled.get_or_insert(choice);
        match stream {
            Some(stream) if s.receives && lane.is_none() => {
                *lane = Some(Lane { stream, mid: slots.name(slot).to_owned(), choice });
                Fate::Send(slot, choice)
            }
            _ => Fate::Silent(slot, choice),
        }
    }

    /// One number must mean one thing in a bundle, or str0m panics.
    fn check_payload_types(&self) -> Result<(), Refusal> {
        let all: Vec<u8> = [self.settled.audio, self.settled.video]
            .iter()
            .flatten()
            .flat_map(Choice::payload_types)
            .collect();
        if (1..all.len()).any(|i| all[..i].contains(&all[i])) {
            return Err(Refusal::BadSdp("one payload type stands for two codecs".into()));
        }
        Ok(())
    }

    /// The remote description, reduced to what was chosen, with these of its candidates.
    pub(in crate::rtc) fn for_str0m(
        &self,
        remote: &Remote,
        transport: &Transport,
        candidates: &[String],
    ) -> String {
        let shown: Vec<(usize, &Section, Choice, bool)> = remote
            .sections
            .iter()
            .zip(&self.fates)
            .filter_map(|(s, fate)| match *fate {
                Fate::Send(slot, choice) => Some((slot, s, choice, true)),
                Fate::Silent(slot, choice) => Some((slot, s, choice, false)),
                Fate::Decline => None,
            })
            .collect();
        self.settled.slots.describe(transport, candidates, &shown)
    }

    /// The sections of our answer; `ssrcs` says what is sent in a section that str0m knows by this name.
    pub(in crate::rtc) fn parts<'a>(
        &self,
        remote: &'a Remote,
        mut ssrcs: impl FnMut(&str) -> Option<(u32, Option<u32>)>,
    ) -> Vec<Part<'a>> {
        let slots = &self.settled.slots;
        let part = |(s, fate): (&'a Section, &Fate)| {
            let (slot, choice, sends) = match *fate {
                Fate::Send(slot, choice) => (slot, choice, ssrcs(slots.name(slot))),
                Fate::Silent(slot, choice) => (slot, choice, None),
                Fate::Decline => return Part::Declined(s),
            };
            Part::Used(Used {
                kind: s.kind,
                mid: &s.mid,
                sends,
                formats: vec![(choice, slots::feedback(s, choice.pt).collect())],
                extensions: slots.extensions(slot, s),
                reduced_rtcp: s.reduced_rtcp,
            })
        };
        remote.sections.iter().zip(&self.fates).map(part).collect()
    }
}

fn words(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => "H264 42e01f mode 1",
        Codec::Vp8 => "VP8",
        Codec::Opus => "opus",
        Codec::Jpeg => "JPEG",
    }
}

/// What a section may be sent: what is really sent goes first, the rest is for sections that stay silent.
fn choose_of(s: &Section, supply: Supply<'_>) -> impl Iterator<Item = (Option<StreamId>, Codec)> {
    let (video, audio) = (supply.media.video.clone(), supply.media.audio);
    let streams: Vec<(Option<StreamId>, Codec)> = match s.kind {
        Kind::Audio => vec![(audio, Codec::Opus)],
        _ => {
            let real = video.into_iter().map(|(id, codec)| (Some(id), codec));
            real.chain([(None, Codec::H264), (None, Codec::Vp8)]).collect()
        }
    };
    streams.into_iter()
}

/// Whether a format can be this codec by its name; one without a name can.
fn is_named(f: &Format, codec: Codec) -> bool {
    f.name.is_empty()
        || f.is(match codec {
            Codec::H264 => "H264/90000",
            Codec::Vp8 => "VP8/90000",
            Codec::Opus => "opus/48000/2",
            Codec::Jpeg => "JPEG/90000",
        })
}

/// Whether a format can carry what our encoders make.
fn matches(f: &Format, codec: Codec) -> bool {
    let mode =
        || f.param("packetization-mode") == Some("1") && profile_of(f).is_some_and(|p| rank(p).is_some());
    !f.name.is_empty() && is_named(f, codec) && (codec != Codec::H264 || mode())
}

/// The `profile-level-id` of a format; `None` where it can't be read.
fn profile_of(f: &Format) -> Option<u32> {
    let Some(id) = f.param("profile-level-id") else { return Some(NO_PROFILE) };
    u32::from_str_radix(id, 16).ok().filter(|_| id.len() == 6)
}

/// How well a decoder of a profile suits a constrained baseline stream, the best first; `None` is not at all
/// (H.264, A.2). Baseline has tools beyond main's and high's, but constrained baseline is a part of each.
fn rank(profile: u32) -> Option<u8> {
    let constraint_set1 = profile & 0x4000 != 0;
    match profile >> 16 {
        0x42 if constraint_set1 => Some(0),
        0x42 => Some(1),
        // Main, High, High 10, High 4:2:2, High 4:4:4 Predictive.
        0x4d => Some(2),
        0x64 => Some(3),
        0x6e | 0x7a | 0xf4 => Some(4),
        _ => None,
    }
}

/// The best payload type of a section for a codec.
fn choose(s: &Section, codec: Codec, level: u8) -> Option<Choice> {
    // 64 to 95 can't be told from RTCP on a shared port (RFC 5761 4).
    let usable = |pt: u8| !(64..96).contains(&pt);
    let candidates = s.formats.iter().filter(|f| usable(f.pt) && matches(f, codec));
    let best = candidates.min_by_key(|f| match codec {
        Codec::H264 => profile_of(f).and_then(rank),
        _ => None,
    })?;
    let rtx = s.formats.iter().find(|f| {
        codec.is_video()
            && usable(f.pt)
            && f.pt != best.pt
            && f.is("rtx/90000")
            && f.param("apt").and_then(|apt| apt.parse().ok()) == Some(best.pt)
    });
    let asymmetric = best.param("level-asymmetry-allowed") == Some("1");
    let offered = profile_of(best).unwrap_or(NO_PROFILE);
    // The profile as it was offered (RFC 6184, 8.2.2), and a level that covers what is sent, if it may be another.
    let profile = if asymmetric { offered & 0xff_ff00 | (offered & 0xff).max(level.into()) } else { offered };
    Some(Choice { codec, pt: best.pt, rtx: rtx.map(|f| f.pt), profile, asymmetric })
}
