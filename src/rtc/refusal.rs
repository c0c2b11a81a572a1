//! Why a call was refused, with a message for the caller.

use std::fmt;

use crate::call::body::{End, EndReason};

/// Why a call, a description or a candidate was refused. The [`Display`](fmt::Display) message can be sent to the other
/// side as it is: it contains no address, and from the description only codec names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The description is invalid, or asks for something unsupported.
    BadSdp {
        /// What is wrong with it.
        why: String,
    },
    /// The candidate is invalid. The session continues without it.
    BadCandidate {
        /// What is wrong with it.
        why: String,
    },
    /// The other side supports none of the codecs sent here.
    NoCommonCodec {
        /// The codecs that the other side offers.
        theirs: String,
        /// The codecs sent here, in order of preference.
        ours: String,
    },
    /// The other side wants to receive none of the available audio or video.
    NothingWanted,
    /// The other side only sends, and nothing of that is taken.
    NothingTaken,
    /// No streams have been set with [`set_streams`](super::Fanout::set_streams) yet.
    NothingToSend,
    /// The session limit is reached.
    Full {
        /// The limit.
        limit: usize,
    },
    /// The session does not exist or has ended.
    UnknownSession,
    /// A session with this ID exists already, and its first offer is not answered yet.
    SessionExists,
    /// An answer arrived without an open offer.
    NoOpenOffer,
    /// The WebRTC stack failed.
    Failed {
        /// Its error.
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

    /// After a panic here or in a library.
    pub(super) fn panicked() -> Refusal {
        Refusal::failed("internal error (see the camera's log)")
    }

    /// How a call ends because of this refusal.
    pub fn end(&self) -> End {
        let reason = match self {
            Refusal::NoCommonCodec { .. } => EndReason::NoCodec,
            Refusal::Full { .. } => EndReason::Busy,
            Refusal::NothingTaken => EndReason::NotAllowed,
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

    /// A stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::BadSdp { .. } => "bad-sdp",
            Refusal::BadCandidate { .. } => "bad-candidate",
            Refusal::NoCommonCodec { .. } => "no-common-codec",
            Refusal::NothingWanted => "nothing-wanted",
            Refusal::NothingTaken => "nothing-taken",
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
            Refusal::BadSdp { why } => write!(f, "invalid session description: {why}"),
            Refusal::BadCandidate { why } => write!(f, "invalid ICE candidate: {why}"),
            Refusal::NoCommonCodec { theirs, ours } => {
                write!(f, "no common video codec: the viewer supports {theirs}, the camera sends {ours}")
            }
            Refusal::NothingWanted => f.write_str(
                "the description requests neither audio nor video; offer at least one as receive-only",
            ),
            Refusal::NothingTaken => f.write_str(
                "the call only sends, and this peer takes neither audio nor video of it; its owner decides who may send",
            ),
            Refusal::NothingToSend => {
                f.write_str("nothing to send yet; try again when the source is running")
            }
            Refusal::Full { limit } => write!(f, "the limit of {limit} viewers is reached"),
            Refusal::UnknownSession => f.write_str("no such session; it may have ended"),
            Refusal::SessionExists => f.write_str("the first offer of this session is not answered yet"),
            Refusal::NoOpenOffer => {
                f.write_str("received an answer without an open offer; send an offer first")
            }
            Refusal::Failed { why } => write!(f, "WebRTC failed: {why}"),
        }
    }
}

impl std::error::Error for Refusal {}
