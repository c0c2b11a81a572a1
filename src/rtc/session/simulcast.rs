//! Simulcast: several encodings of one video, sent at once (RFC 8853). They share a section and its payload types; a
//! header extension names the encoding of a packet (RFC 8852).

use super::payload::Choice;
use super::sdp::Section;
use super::slots::write_line;
use crate::media::VIDEO_H264_LAYERS;
use crate::rtc::rid::Rid;

/// As many as browsers send.
pub(in crate::rtc) const MAX_LAYERS: usize = VIDEO_H264_LAYERS.len();
/// Names that are read of a description.
const MAX_RIDS: usize = 16;

const NAME: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const NAME_OF_REPEATED: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";

/// What a section says of the encodings that its writer sends.
#[derive(Clone, Debug, Default)]
pub(in crate::rtc) struct Sent {
    /// `a=rid:h send pt=96,97`: the payload types are empty where any may be used.
    rids: Vec<(Rid, Vec<u8>)>,
    /// The order in which the writer prefers them.
    order: Vec<Rid>,
}

impl Sent {
    /// An `a=rid`.
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

    /// An `a=simulcast`. Of alternatives the first counts; one that is paused (`~`) may be sent later.
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

/// The encodings of a section that are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rtc) struct Layers {
    /// Each once, as the sender prefers them.
    pub(in crate::rtc) rids: Vec<Rid>,
    /// The ID of the extension with the name, and of the one in retransmissions.
    pub(in crate::rtc) name: u8,
    pub(in crate::rtc) repeated: Option<u8>,
}

impl Layers {
    /// Of what a section sends with a payload type; `None` if that is one encoding.
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

    /// The header extensions that go with them.
    pub(in crate::rtc) fn extensions(&self) -> impl Iterator<Item = (u8, &'static str)> {
        let repeated = self.repeated.map(|id| (id, NAME_OF_REPEATED));
        [Some((self.name, NAME)), repeated].into_iter().flatten()
    }

    /// That they are taken.
    pub(in crate::rtc) fn write(&self, sdp: &mut String) {
        for rid in &self.rids {
            write_line(sdp, format_args!("a=rid:{rid} recv"));
        }
        let names: Vec<String> = self.rids.iter().map(Rid::to_string).collect();
        write_line(sdp, format_args!("a=simulcast:recv {}", names.join(";")));
    }
}
