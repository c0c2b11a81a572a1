//! What strangers can send, as functions of any bytes that assert what must hold of them.
//!
//! Each target is one function and one folder of seeds in `fuzz/corpus`. A fuzzer (`fuzz/run`) makes new inputs by
//! what they reach; an ordinary `cargo test` walks the seeds, so that every input that once mattered is held. A target
//! asserts properties: what is read is written the same, a second parser agrees, a bound is kept. It stands above all
//! layers, as tests do, and is no part of a build.

mod bytes;
mod call;
mod files;
mod hub;
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

        /// The targets by their names.
        pub const TARGETS: &[(&str, fn(&[u8]))] = &[$($((stringify!($name), $name)),*),*];
    };
}

targets! {
    wire: head presence body;
    sockets: frames http network;
    redis: reply redis_url envelopes;
    rtc: stun dtls media sdp candidates;
    rtcp: rtcp srtcp;
    files: h264 cut source board;
    call: call;
    hub: hub;
}
