//! The send path: a frame is cut into packets once for all viewers; then each viewer's packets are paced, numbered,
//! sealed, and repeated if lost.

pub(in crate::rtc) mod batch;
pub(in crate::rtc) mod clock;
pub(crate) mod cut;
pub(in crate::rtc) mod delays;
pub(in crate::rtc) mod estimate;
pub(crate) mod feedback;
pub(in crate::rtc) mod gop;
pub(in crate::rtc) mod header;
mod history;
pub(in crate::rtc) mod ntp;
pub(in crate::rtc) mod opus;
mod outgoing;
mod pace;
pub(crate) mod report;
pub(in crate::rtc) mod select;
pub(in crate::rtc) mod sender;
pub(in crate::rtc) mod sequence;
pub(in crate::rtc) mod track;
