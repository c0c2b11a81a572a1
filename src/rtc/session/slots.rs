//! The media sections in use of a session, independent of their position in descriptions, and their header extensions,
//! feedback and formats.
//!
//! A description may decline a section, then reuse its position under a new mid, or its mid for another section (RFC
//! 8829, 5.2.2). So each section has a number of its own, to which its SSRCs belong.

use std::fmt::Write;

use super::payload::Choice;
use super::sdp::{Kind, Section};
use crate::media::Codec;
use crate::rtc::send::header::Extensions;

/// Limit of sections in use: a page has one or two of each kind.
const MAX_SLOTS: usize = 32;
/// The capacity of a one-byte RTP header extension (RFC 8285, 4.2).
const MAX_NAME: usize = 16;

/// The RTP header extensions we use: transport-wide numbers for bandwidth estimation, the section's name, a frame's
/// capture time, and limits of the playout delay.
pub(in crate::rtc) const EXTENSIONS: [&str; 5] = [
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    NAME_EXTENSION,
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
    "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
];
const NAME_EXTENSION: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const TRANSPORT_FEEDBACK: &str = "transport-cc";

/// The feedback that we support, as in `a=rtcp-fb`.
pub(in crate::rtc) const FEEDBACK: [&str; 5] = ["transport-cc", "goog-remb", "ccm fir", "nack", "nack pli"];

#[derive(Clone, Debug)]
struct Slot {
    /// The section's name in the other side's descriptions.
    mid: String,
    /// Unique among all sections of the session, even if a name is reused.
    serial: u32,
    over: bool,
    /// The format that both sides agreed on last.
    choice: Option<Choice>,
    /// Whether we send in it.
    sends: bool,
}

#[derive(Clone, Debug, Default)]
pub(in crate::rtc) struct Slots {
    all: Vec<Slot>,
    made: u32,
}

impl Slots {
    /// Creates the slots of our offer.
    pub(in crate::rtc) fn of(mids: &[String]) -> Slots {
        let mut slots = Slots::default();
        for mid in mids {
            slots.make(mid, &mut vec![]);
        }
        slots
    }

    pub(in crate::rtc) fn serial(&self, slot: usize) -> u32 {
        self.all[slot].serial
    }

    /// Returns the section's name in the other side's descriptions.
    pub(in crate::rtc) fn mid(&self, slot: usize) -> &str {
        &self.all[slot].mid
    }

    /// Returns the format that both sides agreed on last; `None` before that, and for data channels.
    pub(in crate::rtc) fn choice(&self, slot: usize) -> Option<Choice> {
        self.all[slot].choice
    }

    /// Whether we send in a section.
    pub(in crate::rtc) fn sends(&self, slot: usize) -> bool {
        self.all[slot].sends
    }

    pub(in crate::rtc) fn agree(&mut self, slot: usize, choice: Choice) {
        self.all[slot].choice = Some(choice);
    }

    pub(in crate::rtc) fn send(&mut self, slot: usize, sends: bool) {
        self.all[slot].sends = sends;
    }

    pub(in crate::rtc) fn find(&self, mid: &str) -> Option<usize> {
        self.all.iter().position(|slot| !slot.over && slot.mid == mid)
    }

    /// Allocates a slot for a new section: one that was `free` before this description, or a new one at the end.
    pub(in crate::rtc) fn make(&mut self, mid: &str, free: &mut Vec<usize>) -> Option<usize> {
        let slot = Slot { mid: mid.to_owned(), serial: self.made, over: false, choice: None, sends: false };
        let i = match free.pop() {
            Some(i) => i,
            None if self.all.len() == MAX_SLOTS => return None,
            None => {
                self.all.push(slot.clone());
                self.all.len() - 1
            }
        };
        self.all[i] = slot;
        self.made += 1;
        Some(i)
    }

    /// Returns the slots of stopped sections.
    pub(in crate::rtc) fn free(&self) -> Vec<usize> {
        (0..self.all.len()).filter(|i| self.all[*i].over).collect()
    }

    /// Stops the sections that a description does not use.
    pub(in crate::rtc) fn keep(&mut self, used: impl Fn(usize) -> bool) {
        for (i, slot) in self.all.iter_mut().enumerate() {
            slot.over |= !used(i);
        }
    }

    /// Whether the section with this number is still in use.
    pub(in crate::rtc) fn has(&self, serial: u32) -> bool {
        self.all.iter().any(|slot| !slot.over && slot.serial == serial)
    }
}

/// Returns the header extensions of a section that we use. A name must fit into the one-byte form.
pub(in crate::rtc) fn extensions(section: &Section) -> Vec<(u8, &'static str)> {
    let fits = (1..=MAX_NAME).contains(&section.mid.len());
    let mut taken: Vec<(u8, &'static str)> = vec![];
    for (id, uri) in &section.extensions {
        let Some(uri) = EXTENSIONS.into_iter().find(|known| known == uri) else { continue };
        let free = !taken.iter().any(|(i, u)| i == id || *u == uri);
        if free && (fits || uri != NAME_EXTENSION) {
            taken.push((*id, uri));
        }
    }
    taken
}

/// Returns the extensions to write into packets with this payload type. A transport-wide number is useless without
/// feedback.
pub(in crate::rtc) fn packet_extensions(section: &Section, pt: u8) -> Extensions {
    let ids = extensions(section);
    let id = |uri| ids.iter().find(|(id, known)| *known == uri && (1..=14).contains(id)).map(|(id, _)| *id);
    let [send_time, transport, mid, capture_time, playout_delay] = EXTENSIONS.map(id);
    let reports = feedback(section, pt).any(|what| what == TRANSPORT_FEEDBACK);
    Extensions { transport: transport.filter(|_| reports), send_time, mid, capture_time, playout_delay }
}

/// Returns the feedback for a payload type that both sides support.
pub(in crate::rtc) fn feedback(s: &Section, pt: u8) -> impl Iterator<Item = &'static str> {
    let theirs = s.formats.iter().find(|f| f.pt == pt).map_or(&[][..], |f| &f.feedback);
    FEEDBACK.into_iter().filter(move |what| theirs.iter().any(|f| f == what))
}

/// Writes `a=rtpmap` and `a=fmtp` of a payload type and of its retransmissions.
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
    fn a_place_is_taken_again_after_the_description_that_left_it() {
        let mut slots = Slots::default();
        assert_eq!(slots.make("a", &mut slots.free()), Some(0));
        assert_eq!(slots.make("b", &mut slots.free()), Some(1));
        slots.keep(|i| i == 0);
        assert_eq!((slots.find("a"), slots.find("b")), (Some(0), None));
        let mut free = slots.free();
        // A reused name is a new section.
        assert_eq!(slots.make("b", &mut free), Some(1));
        assert_eq!(slots.serial(1), 2);
        assert_eq!(slots.make("c", &mut free), Some(2));
        for n in 3..MAX_SLOTS {
            assert_eq!(slots.make(&format!("x{n}"), &mut free), Some(n));
        }
        assert_eq!(slots.make("one too many", &mut free), None);
    }
}
