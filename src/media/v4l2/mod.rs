//! Video4Linux devices and their controls.

#[cfg(feature = "gst")]
pub(crate) mod encoder;
#[cfg(feature = "gst")]
mod unsafe_control;
