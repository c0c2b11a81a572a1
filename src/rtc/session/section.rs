//! The media sections of our own descriptions, before they are written.

use super::direction::Direction;
use super::payload::Choice;
use super::sdp::{Format, Kind, Section};
use super::simulcast::Layers;
use super::slots::{EXTENSIONS, FEEDBACK, feedback};

/// The MediaStream of audio and video: browsers keep the tracks of one stream in sync.
pub(in crate::rtc) const STREAM_NAME: &str = "symple";

/// Properties of the whole description.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::rtc) struct Whole {
    pub(in crate::rtc) bundles: bool,
    pub(in crate::rtc) mixes_extensions: bool,
}

/// One section.
#[derive(Clone, Debug)]
pub(in crate::rtc) enum Part {
    Used(Used),
    /// A section for data channels.
    Data(DataSection),
    /// A declined section that keeps its position.
    Declined(Declined),
}

impl Part {
    pub(in crate::rtc) fn used(&self) -> Option<&Used> {
        match self {
            Part::Used(used) => Some(used),
            Part::Data(_) | Part::Declined(_) => None,
        }
    }

    pub(in crate::rtc) fn data(&self) -> Option<&DataSection> {
        match self {
            Part::Data(data) => Some(data),
            Part::Used(_) | Part::Declined(_) => None,
        }
    }

    pub(in crate::rtc) fn is_declined(&self) -> bool {
        matches!(self, Part::Declined(_))
    }

    pub(in crate::rtc) fn mid(&self) -> &str {
        match self {
            Part::Used(used) => &used.mid,
            Part::Data(data) => &data.mid,
            Part::Declined(declined) => &declined.mid,
        }
    }
}

#[derive(Clone, Debug)]
pub(in crate::rtc) struct Used {
    pub(in crate::rtc) kind: Kind,
    pub(in crate::rtc) mid: String,
    pub(in crate::rtc) slot: usize,
    /// What we send: (SSRC, SSRC of its retransmissions).
    pub(in crate::rtc) sends: Option<(u32, Option<u32>)>,
    /// Whether we receive.
    pub(in crate::rtc) receives: bool,
    /// The encodings that we receive, if there are several.
    pub(in crate::rtc) layers: Option<Layers>,
    pub(in crate::rtc) formats: Vec<(Choice, Vec<&'static str>)>,
    pub(in crate::rtc) extensions: Vec<(u8, &'static str)>,
    pub(in crate::rtc) reduced_rtcp: bool,
}

impl Used {
    pub(in crate::rtc) fn direction(&self) -> Direction {
        Direction::of(self.sends.is_some(), self.receives)
    }

    /// Creates a new section for an offer, in which nothing flows yet. An extension has one ID per bundle: `known`
    /// extensions keep theirs.
    pub(in crate::rtc) fn offered(
        kind: Kind,
        mid: &str,
        slot: usize,
        choices: &[Choice],
        known: &[(u8, &'static str)],
    ) -> Used {
        let feedback = |choice: &Choice| match choice.codec.is_video() {
            true => FEEDBACK.to_vec(),
            false => FEEDBACK[..1].to_vec(),
        };
        let mut free = (2..=14).filter(|id| !known.iter().any(|(taken, _)| taken == id));
        let number = |uri: &'static str| {
            let known = known.iter().find(|(_, other)| *other == uri).map(|(id, _)| *id);
            Some((known.or_else(|| free.next())?, uri))
        };
        Used {
            kind,
            mid: mid.to_owned(),
            slot,
            sends: None,
            receives: false,
            layers: None,
            formats: choices.iter().map(|choice| (*choice, feedback(choice))).collect(),
            extensions: EXTENSIONS.into_iter().filter_map(number).collect(),
            reduced_rtcp: true,
        }
    }
}

/// A section for data channels.
#[derive(Clone, Debug)]
pub(in crate::rtc) struct DataSection {
    pub(in crate::rtc) mid: String,
    pub(in crate::rtc) slot: usize,
}

impl DataSection {
    /// Returns the same section as declined.
    pub(in crate::rtc) fn declined(&self) -> Declined {
        Declined {
            media: "application".into(),
            is_rtp: false,
            protocol: "UDP/DTLS/SCTP".into(),
            format: "webrtc-datachannel".into(),
            mid: self.mid.clone(),
            sctp_port: Some("5000".into()),
            named: None,
        }
    }
}

/// What is repeated from a declined section.
#[derive(Clone, Debug)]
pub(in crate::rtc) struct Declined {
    /// `video`, or any other type.
    pub(in crate::rtc) media: String,
    pub(in crate::rtc) is_rtp: bool,
    pub(in crate::rtc) protocol: String,
    /// One of its formats: a section needs at least one.
    pub(in crate::rtc) format: String,
    pub(in crate::rtc) mid: String,
    pub(in crate::rtc) sctp_port: Option<String>,
    /// The attributes of that format and its feedback, if known.
    pub(in crate::rtc) named: Option<(Format, Vec<&'static str>)>,
}

impl Declined {
    pub(in crate::rtc) fn of(s: &Section, mid: &str) -> Declined {
        let (protocol, format) = match s.protocol() {
            Some((protocol, mut formats)) => (protocol, formats.next().unwrap_or("0")),
            None => ("UDP/TLS/RTP/SAVPF", "0"),
        };
        let named = s.formats.iter().find(|f| f.pt.to_string() == *format && !f.name.is_empty());
        Declined {
            media: s.line.split_whitespace().next().unwrap_or("audio").to_owned(),
            is_rtp: s.kind.media().is_some(),
            protocol: protocol.to_owned(),
            format: format.to_owned(),
            mid: mid.to_owned(),
            sctp_port: s.sctp_port.clone(),
            named: named.map(|f| (f.clone(), feedback(s, f.pt).collect())),
        }
    }
}
