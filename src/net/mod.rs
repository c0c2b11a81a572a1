//! net

#[cfg(feature = "rtc")]
pub mod udp;
