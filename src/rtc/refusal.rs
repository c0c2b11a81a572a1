//! Why a call can't be, in words for whoever made it.

use std::fmt;

use crate::call::body::{End, EndReason};

/// Why a call, a description or a candidate was refused. [`Display`](fmt::Display) says it in words that
/// can go to the other side as they are: they name no address and repeat nothing of its description but
/// codec names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The description can't be read, or asks for what this library doesn't do.
    BadSdp {
        /// What is wrong with it.
        why: String,
    },
    /// The candidate can't be read. The session goes on without it.
    BadCandidate {
        /// What is wrong with it.
        why: String,
    },
    /// The other side can decode nothing of what is sent here.
    NoCommonCodec {
        /// The codecs the other side named.
        theirs: String,
        /// The codecs sent here, in order of preference.
        ours: String,
    },
    /// The other side wants to receive neither pictures nor sound that exist here.
    NothingWanted,
    /// [`set_streams`](super::Fanout::set_streams) has named no streams yet.
    NothingToSend,
    /// As many sessions as are allowed exist already.
    Full {
        /// How many are allowed.
        limit: usize,
    },
    /// There is no such session: it was never made, or it is over.
    UnknownSession,
    /// A session of this id exists already.
    SessionExists,
    /// An answer came for which there is no open offer.
    NoOpenOffer,
    /// The WebRTC stack gave up.
    Failed {
        /// What it says.
        why: String,
    },
}

impl Refusal {
    pub(super) fn bad_sdp(why: impl Into<String>) -> Refusal {
        Refusal::BadSdp { why: why.into() }
    }

    pub(super) fn failed(why: impl Into<String>) -> Refusal {
        Refusal::Failed { why: why.into() }
    }

    /// After a panic of ours or a library's.
    pub(super) fn panicked() -> Refusal {
        Refusal::failed("an internal error; the log of the camera has it")
    }

    /// How a call ends that a refused description ends.
    pub fn end(&self) -> End {
        let reason = match self {
            Refusal::NoCommonCodec { .. } => EndReason::NoCodec,
            Refusal::Full { .. } => EndReason::Busy,
            // The source is not there yet: it is worth another try.
            Refusal::NothingToSend => EndReason::SourceFailed,
            Refusal::UnknownSession | Refusal::NoOpenOffer => EndReason::NoSuchCall,
            Refusal::BadSdp { .. }
            | Refusal::BadCandidate { .. }
            | Refusal::NothingWanted
            | Refusal::SessionExists
            | Refusal::Failed { .. } => EndReason::BadDescription,
        };
        End::new(reason, self.to_string())
    }

    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::BadSdp { .. } => "bad-sdp",
            Refusal::BadCandidate { .. } => "bad-candidate",
            Refusal::NoCommonCodec { .. } => "no-common-codec",
            Refusal::NothingWanted => "nothing-wanted",
            Refusal::NothingToSend => "nothing-to-send",
            Refusal::Full { .. } => "full",
            Refusal::UnknownSession => "unknown-session",
            Refusal::SessionExists => "session-exists",
            Refusal::NoOpenOffer => "no-open-offer",
            Refusal::Failed { .. } => "failed",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::BadSdp { why } => write!(f, "the session description can't be used: {why}"),
            Refusal::BadCandidate { why } => write!(f, "the ICE candidate can't be used: {why}"),
            Refusal::NoCommonCodec { theirs, ours } => {
                write!(f, "no video codec in common: the viewer can decode {theirs}, the camera sends {ours}")
            }
            Refusal::NothingWanted => f.write_str(
                "the description asks for no pictures and no sound; offer receive-only audio or video",
            ),
            Refusal::NothingToSend => {
                f.write_str("there is nothing to send yet; try again when the source runs")
            }
            Refusal::Full { limit } => write!(f, "{limit} viewers are watching, which is the limit"),
            Refusal::UnknownSession => f.write_str("there is no such session; it may have ended"),
            Refusal::SessionExists => {
                f.write_str("this session exists already; close it before calling again")
            }
            Refusal::NoOpenOffer => f.write_str("an answer came, but no offer is open; send the offer first"),
            Refusal::Failed { why } => write!(f, "WebRTC failed: {why}"),
        }
    }
}

impl std::error::Error for Refusal {}
