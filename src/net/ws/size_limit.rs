//! Limits the size of frames from peers that are not admitted. It reads the heads of frames before the WebSocket
//! library does, since the library's own limit cannot be raised while it buffers a part of the next frame.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Inspects every byte until the peer is admitted.
pub(crate) struct Gate {
    max: u64,
    /// Set once by the server; then only the library's own limit applies.
    admitted: Arc<AtomicBool>,
    /// What has arrived of a frame's head (RFC 6455, section 5.2).
    head: [u8; 14],
    len: usize,
    /// Bytes of the frame's payload that are still to come.
    payload: u64,
    /// Bytes so far of a message that arrives in fragments.
    message: u64,
    /// A frame exceeded the limit.
    over: bool,
}

/// A frame from a peer that is not admitted exceeds the limit.
#[derive(Debug)]
pub(crate) struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a frame is too large before \"welcome\"")
    }
}

impl std::error::Error for TooLarge {}

impl Gate {
    /// For frames of at most `max` bytes, until `admitted` is set.
    pub(crate) fn new(max: usize, admitted: Arc<AtomicBool>) -> Gate {
        Gate { max: max as u64, admitted, head: [0; 14], len: 0, payload: 0, message: 0, over: false }
    }

    /// Whether a frame exceeded the limit: nothing passes any more.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    pub(crate) fn is_open(&self) -> bool {
        self.admitted.load(Ordering::Acquire)
    }

    /// Follows the frames through `bytes`; returns how many bytes may pass.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> usize {
        if self.over {
            return 0;
        }
        let mut at = 0;
        while at < bytes.len() {
            if self.payload > 0 {
                let step = self.payload.min((bytes.len() - at) as u64);
                self.payload -= step;
                at += step as usize;
                continue;
            }
            self.head[self.len] = bytes[at];
            self.len += 1;
            if self.len < self.head_len() {
                at += 1;
                continue;
            }
            let payload = self.payload_len();
            let opcode = self.head[0] & 0x0f;
            let before = if opcode == 0 { self.message } else { 0 };
            if before.saturating_add(payload) > self.max {
                self.over = true;
                return at;
            }
            // Control frames may come between the fragments of a message.
            if opcode < 8 {
                self.message = before + payload;
            }
            (self.payload, self.len) = (payload, 0);
            at += 1;
        }
        bytes.len()
    }

    /// The length of this head, as far as its bytes so far determine it.
    fn head_len(&self) -> usize {
        if self.len < 2 {
            return 2;
        }
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        2 + mask
            + match self.head[1] & 0x7f {
                126 => 2,
                127 => 8,
                _ => 0,
            }
    }

    fn payload_len(&self) -> u64 {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        match self.head[1] & 0x7f {
            126 => number(&self.head[2..4]),
            127 => number(&self.head[2..10]),
            short => short.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1000;

    /// The head of a masked frame.
    fn head(first: u8, len: usize) -> Vec<u8> {
        let mut head = vec![first];
        match len {
            0..=125 => head.push(0x80 | len as u8),
            126..=65_535 => {
                head.push(0x80 | 126);
                head.extend((len as u16).to_be_bytes());
            }
            _ => {
                head.push(0x80 | 127);
                head.extend((len as u64).to_be_bytes());
            }
        }
        head.extend([1, 2, 3, 4]);
        head
    }

    /// How many bytes pass, in pieces of `step`.
    fn passed(bytes: &[u8], step: usize) -> usize {
        let mut gate = Gate::new(MAX, Arc::default());
        let mut passed = 0;
        for part in bytes.chunks(step) {
            passed += gate.pass(part);
            if gate.is_over() {
                break;
            }
        }
        passed
    }

    #[test]
    fn frames_within_the_limit_pass_and_a_larger_one_stops_at_its_head() {
        const TEXT: u8 = 0x81;
        let frame = |first, len| [head(first, len), vec![0xff; len]].concat();
        let fragments =
            |last: usize| [frame(0x01, 600), frame(0x89, 125), frame(0x00, 300), frame(0x80, last)].concat();
        for (name, bytes, ok) in [
            ("small", frame(TEXT, 5), true),
            ("several", [frame(TEXT, 5), frame(TEXT, 126), frame(0x8a, 0), frame(TEXT, MAX)].concat(), true),
            ("the limit", frame(TEXT, MAX), true),
            ("over it", frame(TEXT, MAX + 1), false),
            ("far over it", frame(TEXT, 70_000), false),
            ("without a mask", vec![TEXT, 127, 0, 0, 0, 0, 1, 0, 0, 0, 7], false),
            (
                "the largest possible length",
                vec![TEXT, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0],
                false,
            ),
            ("fragments", fragments(100), true),
            ("fragments that exceed the limit together", fragments(101), false),
            ("a new message starts from zero", [fragments(100), fragments(100)].concat(), true),
        ] {
            for step in [1, 2, 7, 4096, usize::MAX] {
                let n = passed(&bytes, step);
                assert_eq!(n == bytes.len(), ok, "{name}, in pieces of {step}: {n} of {}", bytes.len());
            }
        }
        let bytes = [frame(TEXT, 10), frame(TEXT, MAX + 1)].concat();
        let first = frame(TEXT, 10).len();
        assert!(passed(&bytes, usize::MAX) >= first && passed(&bytes, usize::MAX) < first + 14);
    }

    #[test]
    fn the_gate_opens_when_the_peer_is_admitted() {
        let admitted = Arc::<AtomicBool>::default();
        let gate = Gate::new(MAX, admitted.clone());
        assert!(!gate.is_open());
        admitted.store(true, Ordering::Release);
        assert!(gate.is_open());
    }
}
