//! A frame on its way to viewers: cut into packets once, then numbered, timed and joined for each of them.

pub(in crate::rtc) mod batch;
pub(in crate::rtc) mod clock;
pub(crate) mod cut;
#[allow(dead_code)]
pub(in crate::rtc) mod estimate;
#[allow(dead_code, reason = "the sender that uses it comes next")]
pub(crate) mod feedback;
pub(in crate::rtc) mod numbers;
#[allow(dead_code, reason = "the sender that uses it comes next")]
pub(crate) mod report;
pub(in crate::rtc) mod track;
