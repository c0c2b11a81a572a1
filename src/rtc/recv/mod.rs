//! The receive path: decrypts packets, restores their order and assembles frames. Requests missing packets and reports
//! arrivals, so that the other side adapts to the path.
//!
//! str0m is not involved: its reports would use our SRTCP keys, and no index may be used twice with a key.
//!
//! Memory is bounded: packets behind a gap ([`lane`]), one partial frame ([`unpack`]) and packet numbers. Complete
//! frames leave at once.

pub(in crate::rtc) mod arrivals;
pub(in crate::rtc) mod clock;
pub(in crate::rtc) mod header;
pub(crate) mod lane;
mod missing;
mod order;
mod quality;
pub(crate) mod receiver;
mod reordering;
mod report;
#[cfg(test)]
pub(in crate::rtc) mod tests;
mod unpack;
