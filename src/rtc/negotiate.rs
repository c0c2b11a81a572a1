//! Decides what a viewer is sent, and writes the descriptions that say so.
//!
//! A remote description becomes a [`Plan`]: for each of its media sections whether we send there, keep it
//! silent or decline it. str0m is then given a description with just the sections, payload types and
//! extensions of the plan ([`Plan::for_str0m`]), and its answer is completed with the declined sections
//! ([`Plan::complete`]).

use std::borrow::Cow;
use std::fmt::Write;

use super::MediaSet;
use super::refusal::Refusal;
use super::sdp::{Format, Kind, Remote, Section};
use crate::media::{Codec, StreamId};

/// Constrained baseline, level 3.1: what browsers offer first and encoders for them make.
pub(super) const CONSTRAINED_BASELINE: u32 = 0x42_e01f;
/// Baseline, level 3.1: a decoder of it decodes constrained baseline, which is a part of it.
const BASELINE: u32 = 0x42_001f;

/// The MediaStream that sound and pictures are in: in one, browsers play them in step.
pub(super) const STREAM_NAME: &str = "symple";

/// The RTP header extensions we use: arrival times for bandwidth estimation, and the section's name.
const EXTENSIONS: [&str; 3] = [
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "urn:ietf:params:rtp-hdrext:sdes:mid",
];

/// A payload type that was chosen, with its retransmissions'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) codec: Codec,
    pub(super) pt: u8,
    pub(super) rtx: Option<u8>,
    /// `profile-level-id`, for H.264.
    pub(super) profile: u32,
}

impl Choice {
    /// What we propose where the other side has not spoken yet.
    pub(super) fn proposal(codec: Codec) -> Choice {
        let (pt, rtx) = match codec {
            Codec::H264 => (96, Some(97)),
            Codec::Vp8 => (98, Some(99)),
            Codec::Opus => (111, None),
        };
        Choice { codec, pt, rtx, profile: CONSTRAINED_BASELINE }
    }

    fn payload_types(&self) -> impl Iterator<Item = u8> {
        [Some(self.pt), self.rtx].into_iter().flatten()
    }
}

/// What becomes of a remote section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// We send this there.
    Send(Choice),
    /// Understood, but nothing is sent: `a=inactive`.
    Silent(Choice),
    /// Port 0; str0m never sees it.
    Decline,
    /// Port 0, but str0m knows it from before, as inactive.
    Retire(Choice),
}

/// What a session settled on, which later descriptions of it must keep.
#[derive(Clone, Debug, Default)]
pub(super) struct Settled {
    pub(super) video: Option<Choice>,
    pub(super) audio: Option<Choice>,
    /// The sections that str0m has seen.
    shown: Vec<String>,
}

/// A stream and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lane {
    pub(super) stream: StreamId,
    pub(super) mid: String,
    pub(super) choice: Choice,
}

/// What a remote description leads to.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    fates: Vec<Fate>,
    pub(super) video: Option<Lane>,
    pub(super) audio: Option<Lane>,
    pub(super) settled: Settled,
}

impl Plan {
    /// What to do about an offer; `before` is what the session settled on if it isn't new.
    pub(super) fn of_offer(
        remote: &Remote,
        media: &MediaSet,
        before: Option<&Settled>,
    ) -> Result<Plan, Refusal> {
        if media.video.is_empty() && media.audio.is_none() {
            return Err(Refusal::NothingToSend);
        }
        let mut plan =
            Plan { fates: vec![], video: None, audio: None, settled: before.cloned().unwrap_or_default() };
        let mut pictures_missed = false;
        for s in &remote.sections {
            let fate = plan.fate(s, media);
            let wants_pictures =
                s.kind == Kind::Video && s.receives && !s.rejected && !media.video.is_empty();
            pictures_missed |= wants_pictures && !matches!(fate, Fate::Send(_));
            plan.fates.push(fate);
        }
        if pictures_missed && plan.video.is_none() {
            let ours: Vec<&str> = media.video.iter().map(|(_, codec)| words(*codec)).collect();
            return Err(Refusal::NoCommonCodec { theirs: remote.video_codecs(), ours: ours.join(" or ") });
        }
        // A viewer may fall silent later, but a call for nothing is a mistake.
        if before.is_none() && plan.video.is_none() && plan.audio.is_none() {
            return Err(Refusal::NothingWanted);
        }
        plan.check_payload_types()?;
        Ok(plan)
    }

    /// What to do about the answer to an offer of ours with these sections.
    pub(super) fn of_answer(remote: &Remote, media: &MediaSet, offered: &[String]) -> Result<Plan, Refusal> {
        if !remote.sections.iter().map(|s| &s.mid).eq(offered) {
            return Err(Refusal::BadSdp("the answer's media sections are not those of the offer".into()));
        }
        let mut plan = Plan { fates: vec![], video: None, audio: None, settled: Settled::default() };
        for s in &remote.sections {
            let fate = match plan.fate(s, media) {
                // Our own section: str0m must hear of it even if it was declined.
                Fate::Decline | Fate::Retire(_) => Fate::Silent(Choice::proposal(match s.kind {
                    Kind::Audio => Codec::Opus,
                    _ => media.video.first().map_or(Codec::H264, |(_, codec)| *codec),
                })),
                fate => fate,
            };
            plan.fates.push(fate);
        }
        if plan.video.is_none() && plan.audio.is_none() {
            return Err(Refusal::NothingWanted);
        }
        plan.settled.shown = offered.to_vec();
        plan.check_payload_types()?;
        Ok(plan)
    }

    fn fate(&mut self, s: &Section, media: &MediaSet) -> Fate {
        let known = self.settled.shown.contains(&s.mid);
        let (lane, settled) = match s.kind {
            Kind::Audio => (&mut self.audio, &mut self.settled.audio),
            Kind::Video => (&mut self.video, &mut self.settled.video),
            Kind::Other => return Fate::Decline,
        };
        if s.rejected {
            return match *settled {
                Some(choice) if known => Fate::Retire(choice),
                _ => Fate::Decline,
            };
        }
        // What is really sent goes first; the rest is for sections that stay silent.
        let streams: Vec<(Option<StreamId>, Codec)> = match s.kind {
            Kind::Audio => vec![(media.audio, Codec::Opus)],
            _ => {
                let real = media.video.iter().map(|(id, codec)| (Some(*id), *codec));
                real.chain([(None, Codec::H264), (None, Codec::Vp8)]).collect()
            }
        };
        let found = streams.into_iter().find_map(|(stream, codec)| {
            let choice = match settled {
                Some(c) => (c.codec == codec && s.formats.iter().any(|f| matches(f, codec) && f.pt == c.pt))
                    .then_some(*c),
                None => choose(s, codec),
            };
            Some((stream, choice?))
        });
        let Some((stream, choice)) = found else { return Fate::Decline };
        settled.get_or_insert(choice);
        if !known {
            self.settled.shown.push(s.mid.clone());
        }
        match stream {
            Some(stream) if s.receives && lane.is_none() => {
                *lane = Some(Lane { stream, mid: s.mid.clone(), choice });
                Fate::Send(choice)
            }
            _ => Fate::Silent(choice),
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
    pub(super) fn for_str0m(&self, remote: &Remote, candidates: &[String]) -> String {
        let shown: Vec<(&Section, Choice, bool)> = remote
            .sections
            .iter()
            .zip(&self.fates)
            .filter_map(|(s, fate)| match *fate {
                Fate::Send(choice) => Some((s, choice, true)),
                Fate::Silent(choice) | Fate::Retire(choice) => Some((s, choice, false)),
                Fate::Decline => None,
            })
            .collect();
        let mids: Vec<&str> = shown.iter().map(|(s, ..)| s.mid.as_str()).collect();
        let mut sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n",
            mids.join(" ")
        );
        let t = &remote.transport;
        write_line(&mut sdp, format_args!("a=ice-ufrag:{}", t.ufrag));
        write_line(&mut sdp, format_args!("a=ice-pwd:{}", t.pwd));
        write_line(&mut sdp, format_args!("a=fingerprint:{}", t.fingerprint));
        if let Some(setup) = &t.setup {
            write_line(&mut sdp, format_args!("a=setup:{setup}"));
        }
        if t.ice_lite {
            write_line(&mut sdp, format_args!("a=ice-lite"));
        }
        for candidate in candidates {
            write_line(&mut sdp, format_args!("a={candidate}"));
        }
        for (s, choice, sends) in shown {
            write_section(&mut sdp, s, &choice, sends);
        }
        sdp
    }

    /// str0m's answer with the sections it never saw, or that are over, declined in their places.
    pub(super) fn complete(&self, remote: &Remote, ours: &str) -> String {
        let mut parts = ours.split_inclusive("\r\n").fold(vec![String::new()], |mut parts, line| {
            if line.starts_with("m=") {
                parts.push(String::new());
            }
            parts.last_mut().expect("made with one").push_str(line);
            parts
        });
        let sections = parts.split_off(1);
        // str0m puts its candidates into its first section, which may be one that is declined here.
        let candidates: String = sections
            .iter()
            .flat_map(|s| s.split_inclusive("\r\n"))
            .filter(|l| l.starts_with("a=candidate:"))
            .collect();
        let mut sections = sections.into_iter();
        let mut body = String::new();
        let mut mids = String::new();
        for (s, fate) in remote.sections.iter().zip(&self.fates) {
            let section = if *fate == Fate::Decline { None } else { sections.next() };
            match section {
                Some(section) if !matches!(fate, Fate::Retire(_)) => {
                    for line in section.split_inclusive("\r\n").filter(|l| !l.starts_with("a=candidate:")) {
                        body.push_str(&in_one_stream(line));
                        if mids.is_empty() && line.starts_with("c=") {
                            body.push_str(&candidates);
                        }
                    }
                    mids.push(' ');
                    mids.push_str(&s.mid);
                }
                _ => {
                    let words: Vec<&str> = s.line.split_whitespace().collect();
                    let (kind, protocol, format) = (words[0], words[2], words.get(3).unwrap_or(&"0"));
                    write_line(&mut body, format_args!("m={kind} 0 {protocol} {format}"));
                    write_line(&mut body, format_args!("c=IN IP4 0.0.0.0"));
                    write_line(&mut body, format_args!("a=inactive"));
                    write_line(&mut body, format_args!("a=mid:{}", s.mid));
                    // Not needed in a section that is over, but str0m reads no dynamic number without it.
                    let named = s.formats.iter().find(|f| f.pt.to_string() == *format && !f.name.is_empty());
                    if let Some(f) = named {
                        write_line(&mut body, format_args!("a=rtpmap:{} {}", f.pt, f.name));
                    }
                }
            }
        }
        let mut sdp = String::new();
        for line in parts[0].split_inclusive("\r\n") {
            if line.starts_with("a=group:BUNDLE") {
                write_line(&mut sdp, format_args!("a=group:BUNDLE{mids}"));
            } else if line.starts_with("a=msid-semantic:") {
                write_line(&mut sdp, format_args!("a=msid-semantic: WMS {STREAM_NAME}"));
            } else {
                sdp.push_str(line);
            }
        }
        sdp + &body
    }
}

/// `a=msid:<stream> <track>`, alone or as an attribute of an SSRC: str0m names a stream for each track.
fn in_one_stream(line: &str) -> Cow<'_, str> {
    let at = line.find("msid:").filter(|_| line.starts_with("a=msid:") || line.starts_with("a=ssrc:"));
    match at.map(|at| line.split_at(at + "msid:".len())) {
        Some((head, rest)) => {
            let track = rest.split_once(' ').map_or(rest, |(_, track)| track);
            Cow::Owned(format!("{head}{STREAM_NAME} {track}"))
        }
        None => Cow::Borrowed(line),
    }
}

fn write_line(sdp: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = write!(sdp, "{line}\r\n"); // writing to a String can't fail
}

fn write_section(sdp: &mut String, s: &Section, choice: &Choice, sends: bool) {
    let kind = if choice.codec.is_video() { "video" } else { "audio" };
    let rtx = choice.rtx.map(|pt| format!(" {pt}")).unwrap_or_default();
    write_line(sdp, format_args!("m={kind} 9 UDP/TLS/RTP/SAVPF {}{rtx}", choice.pt));
    write_line(sdp, format_args!("c=IN IP4 0.0.0.0"));
    write_line(sdp, format_args!("a=mid:{}", s.mid));
    write_line(sdp, format_args!("{}", if sends { "a=recvonly" } else { "a=inactive" }));
    write_line(sdp, format_args!("a=rtcp-mux"));
    let mut taken: Vec<(u8, &str)> = vec![];
    for (id, uri) in &s.extensions {
        let free = !taken.iter().any(|(i, u)| i == id || u == uri);
        if free && EXTENSIONS.contains(&uri.as_str()) {
            taken.push((*id, uri));
            write_line(sdp, format_args!("a=extmap:{id} {uri}"));
        }
    }
    let pt = choice.pt;
    match choice.codec {
        Codec::H264 => {
            write_line(sdp, format_args!("a=rtpmap:{pt} H264/90000"));
            write_line(
                sdp,
                format_args!(
                    "a=fmtp:{pt} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={:06x}",
                    choice.profile
                ),
            );
        }
        Codec::Vp8 => write_line(sdp, format_args!("a=rtpmap:{pt} VP8/90000")),
        Codec::Opus => {
            write_line(sdp, format_args!("a=rtpmap:{pt} opus/48000/2"));
            write_line(sdp, format_args!("a=fmtp:{pt} minptime=10;useinbandfec=1"));
        }
    }
    let feedback = s.formats.iter().find(|f| f.pt == pt).map_or(&[][..], |f| &f.feedback);
    for what in ["transport-cc", "goog-remb", "ccm fir", "nack", "nack pli"] {
        if feedback.iter().any(|f| f == what) {
            write_line(sdp, format_args!("a=rtcp-fb:{pt} {what}"));
        }
    }
    if let Some(rtx) = choice.rtx {
        write_line(sdp, format_args!("a=rtpmap:{rtx} rtx/90000"));
        write_line(sdp, format_args!("a=fmtp:{rtx} apt={pt}"));
    }
}

fn words(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => "H264 42e01f mode 1",
        Codec::Vp8 => "VP8",
        Codec::Opus => "opus",
    }
}

/// Whether a format can carry what our encoders make.
fn matches(f: &Format, codec: Codec) -> bool {
    match codec {
        Codec::H264 => {
            f.is("H264/90000") && f.param("packetization-mode") == Some("1") && profile(f).is_some()
        }
        Codec::Vp8 => f.is("VP8/90000"),
        Codec::Opus => f.is("opus/48000/2"),
    }
}

/// The profile to answer an H.264 format with. RFC 6184 8.1: without one it is baseline.
fn profile(f: &Format) -> Option<u32> {
    let Some(id) = f.param("profile-level-id") else { return Some(BASELINE) };
    let id = u32::from_str_radix(id, 16).ok().filter(|_| id.len() == 6)?;
    let constraint_set1 = id & 0x4000 != 0;
    match id >> 16 {
        0x42 if constraint_set1 => Some(CONSTRAINED_BASELINE),
        0x42 => Some(BASELINE),
        _ => None,
    }
}

/// The best payload type of a section for a codec.
fn choose(s: &Section, codec: Codec) -> Option<Choice> {
    // 64 to 95 can't be told from RTCP on a shared port (RFC 5761 4).
    let usable = |pt: u8| !(64..96).contains(&pt);
    let candidates = s.formats.iter().filter(|f| usable(f.pt) && matches(f, codec));
    let best = candidates.min_by_key(|f| codec == Codec::H264 && profile(f) != Some(CONSTRAINED_BASELINE))?;
    let rtx = s.formats.iter().find(|f| {
        codec.is_video()
            && usable(f.pt)
            && f.pt != best.pt
            && f.is("rtx/90000")
            && f.param("apt").and_then(|apt| apt.parse().ok()) == Some(best.pt)
    });
    let profile = profile(best).filter(|_| codec == Codec::H264).unwrap_or(CONSTRAINED_BASELINE);
    Some(Choice { codec, pt: best.pt, rtx: rtx.map(|f| f.pt), profile })
}
