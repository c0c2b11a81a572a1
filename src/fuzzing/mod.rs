//! Input from strangers: functions that take any bytes and assert properties of the result.
//!
//! Each target is one function and one folder of seeds in `fuzz/corpus`. A fuzzer (`fuzz/run`) creates new inputs,
//! guided by coverage; `cargo test` runs the seeds, so that every input that once mattered is tested forever. A target
//! asserts properties: printing reverses parsing, a second parser agrees, a bound is kept. Like tests, it may use all
//! layers and is not part of a build.

mod bytes;
mod call;
mod channels;
mod files;
mod hub;
mod messages;
mod recv;
mod redis;
mod rtc;
mod rtcp;
mod sockets;
#[cfg(test)]
mod tests;
mod walk;
mod wire;

/// Declares the targets: `fuzz/Cargo.toml`, `fuzz/fuzz_targets` and `fuzz/corpus` have the same names.
macro_rules! targets {
    ($($file:ident: $($name:ident)*;)*) => {
        $(pub use $file::{$($name),*};)*

        /// The targets by name.
        pub const TARGETS: &[(&str, fn(&[u8]))] = &[$($((stringify!($name), $name)),*),*];
    };
}

targets! {
    wire: head presence body;
    sockets: frames http network;
    redis: reply redis_url envelopes;
    rtc: stun dtls media sdp candidates;
    rtcp: rtcp srtcp;
    recv: recv;
    files: h264 cut source board;
    call: call;
    channels: channels;
    messages: messages;
    hub: hub;
}
