//! HMAC-SHA1 (RFC 2104): of connectivity checks, and of packets under AES-CM.
//!
//! On SHA-1 itself, since OpenSSL 3 takes 15 µs to set up an HMAC of its own, and a check is signed or verified three times
//! in its life.

use openssl::sha::Sha1;

/// Of its result.
pub(super) const LEN: usize = 20;
/// Of SHA-1's blocks.
const BLOCK: usize = 64;

/// A key, hashed once for all messages.
pub(super) struct Mac {
    inner: Sha1,
    outer: Sha1,
}

impl Mac {
    pub(super) fn new(key: &[u8]) -> Mac {
        let hashed;
        let key = if key.len() > BLOCK {
            let mut hash = Sha1::new();
            hash.update(key);
            hashed = hash.finish();
            &hashed
        } else {
            key
        };
        let begin = |pad: u8| {
            let mut block = [pad; BLOCK];
            for (byte, with) in block.iter_mut().zip(key) {
                *byte ^= with;
            }
            let mut hash = Sha1::new();
            hash.update(&block);
            hash
        };
        Mac { inner: begin(0x36), outer: begin(0x5c) }
    }

    /// The MAC of a message in parts.
    pub(super) fn of(&self, parts: &[&[u8]]) -> [u8; LEN] {
        let mut inner = self.inner.clone();
        parts.iter().for_each(|part| inner.update(part));
        let mut outer = self.outer.clone();
        outer.update(&inner.finish());
        outer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::hex;
    use super::*;

    /// RFC 2202, 3: test cases 1, 2 and 6, whose key is longer than a block.
    #[test]
    fn macs_are_those_of_the_rfc() {
        let table: [(&[u8], &[u8], &str); 3] = [
            (&[0x0b; 20], b"Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"),
            (b"Jefe", b"what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (
                &[0xaa; 80],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "aa4ae5e15272d00e95705637ce8a3b55ed402112",
            ),
        ];
        for (key, message, expected) in table {
            let mac = Mac::new(key);
            for split in 0..message.len() {
                let (a, b) = message.split_at(split);
                assert_eq!(mac.of(&[a, b])[..], hex(expected));
            }
        }
    }
}
