//! The receive path: packets are opened, put back in order and made into frames; what is missing is asked for, and how
//! they arrive is reported, so that the other side sends what the path carries.
//!
//! str0m takes no part in it: it would report by keys that are ours to seal with, and no index may be used twice.
//!
//! Memory is bounded by what waits for a missing packet ([`lane`]), one frame that is being put together ([`unpack`])
//! and numbers. Frames leave at once.

pub(in crate::rtc) mod arrivals;
pub(in crate::rtc) mod clock;
pub(in crate::rtc) mod header;
pub(crate) mod lane;
mod missing;
mod order;
mod quality;
pub(crate) mod receiver;
mod report;
#[cfg(test)]
pub(in crate::rtc) mod tests;
mod unpack;
