//! The media sections as str0m knows them, independent of the other side's descriptions.
//!
//! A description may decline a section, and reuse its position under a new mid (RFC 8829, 5.2.2). str0m expects each
//! section to keep its position, so the descriptions that it gets only grow: a stopped section stays until another reuses
//! its position. str0m never sees declined sections.

use std::fmt::Write;

use super::direction::Direction;
use super::payload::Choice;
use super::sdp::{Kind, Section, Transport};
use crate::media::Codec;
use crate::rtc::send::header::Extensions;

/// Sections that str0m knows at a time: a page has one or two of each kind.
const MAX_SLOTS: usize = 32;
/// What str0m's names for sections hold, and an RTP header extension of one byte (RFC 8285, 4.2).
const MAX_NAME: usize = 16;

/// The RTP header extensions we use: arrival times for bandwidth estimation, the section's name, when a frame was
/// captured, and how long a viewer may keep it back.
pub(in crate::rtc) const EXTENSIONS: [&str; 5] = [
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    NAME_EXTENSION,
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
    "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
];
const NAME_EXTENSION: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const TRANSPORT_FEEDBACK: &str = "transport-cc";

/// Feedback that str0m understands, as in `a=rtcp-fb`.
pub(in crate::rtc) const FEEDBACK: [&str; 5] = ["transport-cc", "goog-remb", "ccm fir", "nack", "nack pli"];

#[derive(Clone, Debug)]
pub(in crate::rtc) struct Slot {
    /// As the other side names the section.
    mid: String,
    /// As str0m does. The same, unless that is too long or odd for it, or was used before.
    pub(in crate::rtc) name: String,
    over: bool,
}

#[derive(Clone, Debug, Default)]
pub(in crate::rtc) struct Slots(Vec<Slot>);

impl Slots {
    /// Of an offer of ours.
    pub(in crate::rtc) fn of(mids: &[String]) -> Slots {
        Slots(mids.iter().map(|mid| Slot { mid: mid.clone(), name: mid.clone(), over: false }).collect())
    }

    pub(in crate::rtc) fn name(&self, slot: usize) -> &str {
        &self.0[slot].name
    }

    /// As the other side names the section.
    pub(in crate::rtc) fn mid(&self, slot: usize) -> &str {
        &self.0[slot].mid
    }

    pub(in crate::rtc) fn find(&self, mid: &str) -> Option<usize> {
        self.0.iter().position(|slot| !slot.over && slot.mid == mid)
    }

    /// A slot for a section that is new; in a place that was `free` before this description, or behind all.
    pub(in crate::rtc) fn make(&mut self, mid: &str, free: &mut Vec<usize>) -> Option<usize> {
        let slot = Slot { mid: mid.to_owned(), name: self.new_name(mid), over: false };
        if let Some(i) = free.pop() {
            self.0[i] = slot;
            return Some(i);
        }
        (self.0.len() < MAX_SLOTS).then(|| {
            self.0.push(slot);
            self.0.len() - 1
        })
    }

    /// Where sections have been that are over.
    pub(in crate::rtc) fn free(&self) -> Vec<usize> {
        (0..self.0.len()).filter(|i| self.0[*i].over).collect()
    }

    /// What a description doesn't use is over.
    pub(in crate::rtc) fn keep(&mut self, used: impl Fn(usize) -> bool) {
        for (i, slot) in self.0.iter_mut().enumerate() {
            slot.over |= !used(i);
        }
    }

    fn new_name(&self, mid: &str) -> String {
        let fits = (1..=MAX_NAME).contains(&mid.len()) && mid.bytes().all(|b| b.is_ascii_alphanumeric());
        let is_new = |name: &str| !self.0.iter().any(|slot| slot.name == name || slot.mid == name);
        if fits && is_new(mid) {
            return mid.to_owned();
        }
        let names = (0..).map(|n| format!("section{n}"));
        names.into_iter().find(|name| is_new(name) && name != mid).expect("there are more names than slots")
    }

    /// The header extensions of a section that we use. Its name goes with packets only if str0m has the same.
    pub(in crate::rtc) fn extensions(&self, slot: usize, section: &Section) -> Vec<(u8, &'static str)> {
        let named = self.0[slot].name == self.0[slot].mid;
        let mut taken: Vec<(u8, &'static str)> = vec![];
        for (id, uri) in &section.extensions {
            let Some(uri) = EXTENSIONS.into_iter().find(|known| known == uri) else { continue };
            let free = !taken.iter().any(|(i, u)| i == id || *u == uri);
            if free && (named || uri != NAME_EXTENSION) {
                taken.push((*id, uri));
            }
        }
        taken
    }

    /// The same, as they are written into packets with this payload type. Without feedback a transport-wide number serves
    /// nobody, and a name must fit into the one-byte form.
    pub(in crate::rtc) fn packet_extensions(&self, slot: usize, section: &Section, pt: u8) -> Extensions {
        let ids = self.extensions(slot, section);
        let id =
            |uri| ids.iter().find(|(id, known)| *known == uri && (1..=14).contains(id)).map(|(id, _)| *id);
        let [send_time, transport, mid, capture_time, playout_delay] = EXTENSIONS.map(id);
        let reports = feedback(section, pt).any(|what| what == TRANSPORT_FEEDBACK);
        Extensions {
            transport: transport.filter(|_| reports),
            send_time,
            mid: mid.filter(|_| (1..=MAX_NAME).contains(&section.mid.len())),
            capture_time,
            playout_delay,
        }
    }

    /// Whether a section that is not over has this name.
    pub(in crate::rtc) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|slot| !slot.over && slot.name == name)
    }

    /// The description that str0m is given: `shown` says which of its slots are used, by which section, and what we do
    /// there.
    pub(in crate::rtc) fn describe(
        &self,
        transport: &Transport,
        candidates: &[String],
        shown: &[(usize, &Section, Choice, Direction)],
    ) -> String {
        let mut sdp = String::from("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n");
        // In the sections' order.
        let used = (0..self.0.len()).filter(|i| shown.iter().any(|(slot, ..)| slot == i));
        let names: String = used.map(|i| format!(" {}", self.name(i))).collect();
        write_line(&mut sdp, format_args!("a=group:BUNDLE{names}"));
        write_line(&mut sdp, format_args!("a=ice-ufrag:{}", transport.ufrag));
        write_line(&mut sdp, format_args!("a=ice-pwd:{}", transport.pwd));
        write_line(&mut sdp, format_args!("a=fingerprint:{}", transport.fingerprint));
        if let Some(setup) = &transport.setup {
            write_line(&mut sdp, format_args!("a=setup:{setup}"));
        }
        if transport.ice_lite {
            write_line(&mut sdp, format_args!("a=ice-lite"));
        }
        for candidate in candidates {
            write_line(&mut sdp, format_args!("a={candidate}"));
        }
        for (i, slot) in self.0.iter().enumerate() {
            match shown.iter().find(|(shown, ..)| *shown == i) {
                Some((_, section, choice, ours)) => self.write(&mut sdp, i, section, choice, *ours),
                None => {
                    write_line(&mut sdp, format_args!("m=audio 0 UDP/TLS/RTP/SAVPF 0"));
                    write_line(&mut sdp, format_args!("c=IN IP4 0.0.0.0"));
                    write_line(&mut sdp, format_args!("a=mid:{}", slot.name));
                    write_line(&mut sdp, format_args!("a=inactive"));
                }
            }
        }
        sdp
    }

    fn write(&self, sdp: &mut String, slot: usize, s: &Section, choice: &Choice, ours: Direction) {
        let kind = if choice.codec.is_video() { "video" } else { "audio" };
        let rtx = choice.rtx.map(|pt| format!(" {pt}")).unwrap_or_default();
        let pt = choice.pt;
        write_line(sdp, format_args!("m={kind} 9 UDP/TLS/RTP/SAVPF {pt}{rtx}"));
        write_line(sdp, format_args!("c=IN IP4 0.0.0.0"));
        write_line(sdp, format_args!("a=mid:{}", self.name(slot)));
        write_line(sdp, format_args!("a={}", ours.reversed().attribute()));
        write_line(sdp, format_args!("a=rtcp-mux"));
        // What it never sees in packets it need not know.
        let known = self.extensions(slot, s).into_iter().filter(|(_, uri)| EXTENSIONS[..3].contains(uri));
        for (id, uri) in known {
            write_line(sdp, format_args!("a=extmap:{id} {uri}"));
        }
        // The profile is between us and the other side; str0m compares it with what it was told before.
        write_format(sdp, choice, STR0M_PROFILE, true);
        for what in feedback(s, pt) {
            write_line(sdp, format_args!("a=rtcp-fb:{pt} {what}"));
        }
    }
}

/// What str0m is told of H.264 in every session: constrained baseline, level 3.1.
pub(in crate::rtc) const STR0M_PROFILE: u32 = 0x42_e01f;

/// The feedback for a payload type that both sides know.
pub(in crate::rtc) fn feedback(s: &Section, pt: u8) -> impl Iterator<Item = &'static str> {
    let theirs = s.formats.iter().find(|f| f.pt == pt).map_or(&[][..], |f| &f.feedback);
    FEEDBACK.into_iter().filter(move |what| theirs.iter().any(|f| f == what))
}

/// `a=rtpmap` and `a=fmtp` of a payload type, and of its retransmissions.
pub(in crate::rtc) fn write_format(sdp: &mut String, choice: &Choice, profile: u32, asymmetric: bool) {
    let pt = choice.pt;
    match choice.codec {
        Codec::H264 => {
            let asymmetry = if asymmetric { "level-asymmetry-allowed=1;" } else { "" };
            write_line(sdp, format_args!("a=rtpmap:{pt} H264/90000"));
            write_line(
                sdp,
                format_args!("a=fmtp:{pt} {asymmetry}packetization-mode=1;profile-level-id={profile:06x}"),
            );
        }
        Codec::Vp8 => write_line(sdp, format_args!("a=rtpmap:{pt} VP8/90000")),
        Codec::Jpeg => write_line(sdp, format_args!("a=rtpmap:{pt} JPEG/90000")),
        Codec::Opus => {
            write_line(sdp, format_args!("a=rtpmap:{pt} opus/48000/2"));
            write_line(sdp, format_args!("a=fmtp:{pt} minptime=10;useinbandfec=1"));
        }
    }
    if let Some(rtx) = choice.rtx {
        write_line(sdp, format_args!("a=rtpmap:{rtx} rtx/90000"));
        write_line(sdp, format_args!("a=fmtp:{rtx} apt={pt}"));
    }
}

pub(in crate::rtc) fn write_line(sdp: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = write!(sdp, "{line}\r\n"); // writing to a String can't fail
}

pub(in crate::rtc) fn kind(kind: Kind) -> &'static str {
    if kind == Kind::Audio { "audio" } else { "video" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_other_side_where_str0m_can_keep_them() {
        let mut slots = Slots::default();
        let mut make = |mid: &str| {
            let i = slots.make(mid, &mut vec![]).expect("room");
            slots.name(i).to_owned()
        };
        assert_eq!(make("0"), "0");
        assert_eq!(make("video1"), "video1");
        assert_eq!(make("a-b"), "section0", "str0m would change the dash");
        assert_eq!(make("a0123456789abcdef"), "section1", "one too long");
        assert_eq!(make(""), "section2");
        assert_eq!(make("section3"), "section3");
    }

    #[test]
    fn a_place_is_taken_again_after_the_description_that_left_it() {
        let mut slots = Slots::default();
        assert_eq!(slots.make("a", &mut slots.free()), Some(0));
        assert_eq!(slots.make("b", &mut slots.free()), Some(1));
        slots.keep(|i| i == 0);
        assert_eq!((slots.find("a"), slots.find("b")), (Some(0), None));
        let mut free = slots.free();
        // The same name again is another section, and str0m must not take it for the old one.
        assert_eq!(slots.make("b", &mut free), Some(1));
        assert_eq!(slots.name(1), "section0");
        assert_eq!(slots.make("c", &mut free), Some(2));
        for n in 3..MAX_SLOTS {
            assert_eq!(slots.make(&format!("x{n}"), &mut free), Some(n));
        }
        assert_eq!(slots.make("one too many", &mut free), None);
    }
}
