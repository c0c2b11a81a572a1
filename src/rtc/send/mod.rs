//! A frame on its way to viewers: cut into packets once, then numbered, timed and joined for each of them.

pub(in crate::rtc) mod batch;
pub(in crate::rtc) mod clock;
pub(crate) mod cut;
#[allow(dead_code)]
pub(in crate::rtc) mod estimate;
pub(in crate::rtc) mod numbers;
pub(in crate::rtc) mod track;
