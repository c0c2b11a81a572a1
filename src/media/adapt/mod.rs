//! Adapts streams to networks and boards: bitrate, frame rate and size, heat, key frames. Pure, on the caller's clock.

pub(crate) mod backoff;
pub mod keyframes;
pub mod ladder;
pub mod rate;
pub mod temperature;
