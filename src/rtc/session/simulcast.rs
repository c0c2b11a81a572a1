//! Simulcast: several encodings of one video, sent at the same time (RFC 8853). They share a section and its payload
//! types; a header extension identifies the encoding of a packet (RFC 8852).

use super::payload::Choice;
use super::sdp::Section;
use super::slots::write_line;
use crate::media::VIDEO_H264_LAYERS;
use crate::rtc::rid::Rid;

/// The number of encodings that browsers send at most.
pub(in crate::rtc) const MAX_LAYERS: usize = VIDEO_H264_LAYERS.len();
/// Limit of encodings parsed per section.
const MAX_RIDS: usize = 16;

const NAME: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const NAME_OF_REPEATED: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";

/// The encodings that the author of a section sends.
#[derive(Clone, Debug, Default)]
pub(in crate::rtc) struct Sent {
    /// `a=rid:h send pt=96,97`; the payload types are empty if any may be used.
    rids: Vec<(Rid, Vec<u8>)>,
    /// The author's order of preference.
    order: Vec<Rid>,
}

impl Sent {
    /// Parses an `a=rid`.
    pub(in crate::rtc) fn take_rid(&mut self, value: &str) {
        let mut words = value.split_whitespace();
        let rid = words.next().and_then(|name| Rid::new(name.as_bytes()));
        let (Some(rid), Some("send")) = (rid, words.next()) else { return };
        let restrictions = words.next().unwrap_or("");
        let only = restrictions.split(';').find_map(|one| one.strip_prefix("pt=")).unwrap_or("");
        let known = self.rids.iter().any(|(other, _)| *other == rid);
        if !known && self.rids.len() < MAX_RIDS {
            self.rids.push((rid, only.split(',').filter_map(|pt| pt.parse().ok()).collect()));
        }
    }

    /// Parses an `a=simulcast`. The first of several alternatives counts; a paused one (`~`) may be sent later.
    pub(in crate::rtc) fn take_simulcast(&mut self, value: &str) {
        let mut words = value.split_whitespace();
        let list = words.find(|word| *word == "send").and_then(|_| words.next()).unwrap_or("");
        let first = |stream: &str| {
            let name = stream.split(',').next()?;
            Rid::new(name.strip_prefix('~').unwrap_or(name).as_bytes())
        };
        self.order = list.split(';').filter_map(first).take(MAX_RIDS).collect();
    }
}

/// The encodings to receive in a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rtc) struct Layers {
    /// Without duplicates, in the sender's order of preference.
    pub(in crate::rtc) rids: Vec<Rid>,
    /// The ID of the extension that names the encoding.
    pub(in crate::rtc) name: u8,
    /// The ID of the same extension for retransmissions.
    pub(in crate::rtc) repeated: Option<u8>,
}

impl Layers {
    /// Returns the encodings of a section for a payload type; `None` if there is only one.
    pub(in crate::rtc) fn of(section: &Section, choice: &Choice) -> Option<Layers> {
        let Sent { rids: known, order } = &section.sent;
        let id = |uri| section.extensions.iter().find(|(_, other)| other == uri).map(|(id, _)| *id);
        let may = |rid: &Rid| {
            let of = |(other, only): &(Rid, Vec<u8>)| {
                other == rid && (only.is_empty() || only.contains(&choice.pt))
            };
            known.iter().any(of)
        };
        let mut rids: Vec<Rid> = vec![];
        for rid in order.iter().filter(|rid| may(rid)) {
            if rids.len() < MAX_LAYERS && !rids.contains(rid) {
                rids.push(*rid);
            }
        }
        let name = id(NAME).filter(|_| rids.len() > 1 && choice.codec.is_video())?;
        Some(Layers { rids, name, repeated: id(NAME_OF_REPEATED) })
    }

    /// Returns the header extensions that they need.
    pub(in crate::rtc) fn extensions(&self) -> impl Iterator<Item = (u8, &'static str)> {
        let repeated = self.repeated.map(|id| (id, NAME_OF_REPEATED));
        [Some((self.name, NAME)), repeated].into_iter().flatten()
    }

    /// Writes the attributes that accept them.
    pub(in crate::rtc) fn write(&self, sdp: &mut String) {
        for rid in &self.rids {
            write_line(sdp, format_args!("a=rid:{rid} recv"));
        }
        let names: Vec<String> = self.rids.iter().map(Rid::to_string).collect();
        write_line(sdp, format_args!("a=simulcast:recv {}", names.join(";")));
    }
}
