//! The media sections of our own descriptions, before they are written.

use super::direction::Direction;
use super::payload::Choice;
use super::sdp::{Kind, Section};
use super::slots::{EXTENSIONS, FEEDBACK};

/// The MediaStream of audio and video: browsers keep the tracks of one stream in sync.
pub(in crate::rtc) const STREAM_NAME: &str = "symple";

/// What applies to all sections.
#[derive(Clone, Copy, Debug)]
pub(in crate::rtc) struct Whole {
    pub(in crate::rtc) bundles: bool,
    pub(in crate::rtc) mixes_extensions: bool,
}

/// One section.
pub(in crate::rtc) enum Part<'a> {
    Used(Used<'a>),
    /// Declined in its place.
    Declined(&'a Section),
}

pub(in crate::rtc) struct Used<'a> {
    pub(in crate::rtc) kind: Kind,
    pub(in crate::rtc) mid: &'a str,
    /// What is sent there: (SSRC, that of its retransmissions).
    pub(in crate::rtc) sends: Option<(u32, Option<u32>)>,
    /// Whether something is taken there.
    pub(in crate::rtc) receives: bool,
    pub(in crate::rtc) formats: Vec<(Choice, Vec<&'static str>)>,
    pub(in crate::rtc) extensions: Vec<(u8, &'a str)>,
    pub(in crate::rtc) reduced_rtcp: bool,
}

impl<'a> Used<'a> {
    pub(in crate::rtc) fn direction(&self) -> Direction {
        Direction::of(self.sends.is_some(), self.receives)
    }

    /// A section of an offer.
    pub(in crate::rtc) fn offered(
        kind: Kind,
        mid: &'a str,
        sends: Option<(u32, Option<u32>)>,
        receives: bool,
        choices: &[Choice],
    ) -> Used<'a> {
        let feedback = |choice: &Choice| match choice.codec.is_video() {
            true => FEEDBACK.to_vec(),
            false => FEEDBACK[..1].to_vec(),
        };
        Used {
            kind,
            mid,
            sends,
            receives,
            formats: choices.iter().map(|choice| (*choice, feedback(choice))).collect(),
            extensions: (2..).zip(EXTENSIONS).collect(),
            reduced_rtcp: true,
        }
    }
}
