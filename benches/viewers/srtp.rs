//! SRTP with AES-128-GCM (RFC 7714), as much as sending whole packets and looking into received ones takes.

use openssl::cipher::Cipher;
use openssl::cipher_ctx::CipherCtx;

const WORKS: &str = "libcrypto has AES";
const SALT: usize = 12;
/// Bytes of the master keys and salts of both directions.
pub(crate) const KEYING: usize = 2 * (16 + SALT);
pub(crate) const TAG: usize = 16;
/// Says that a packet of SRTCP is encrypted; its index follows (RFC 7714, 9.2).
const ENCRYPTED: u32 = 1 << 31;

/// One direction of one session.
pub(crate) struct Keys {
    rtp: Key,
    rtcp: Key,
    /// Of single blocks, for [`Keys::peek`].
    block: CipherCtx,
    rtcp_index: u32,
}

/// A session key, set once: only the nonce changes with each packet.
struct Key {
    seal: CipherCtx,
    open: CipherCtx,
    salt: [u8; SALT],
}

impl Key {
    fn new(key: &[u8; 16], salt: [u8; SALT]) -> Key {
        let mut seal = CipherCtx::new().expect(WORKS);
        seal.encrypt_init(Some(Cipher::aes_128_gcm()), Some(key), None).expect(WORKS);
        let mut open = CipherCtx::new().expect(WORKS);
        open.decrypt_init(Some(Cipher::aes_128_gcm()), Some(key), None).expect(WORKS);
        Key { seal, open, salt }
    }

    fn nonce(&self, ssrc: u32, index: u64) -> [u8; SALT] {
        let mut nonce = [0; SALT];
        nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
        nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
        nonce.iter_mut().zip(self.salt).for_each(|(byte, salt)| *byte ^= salt);
        nonce
    }

    /// `out` has room for the tag behind the text.
    fn seal(&mut self, nonce: &[u8], head: &[&[u8]], text: &[u8], out: &mut [u8]) {
        let (body, tag) = out.split_at_mut(text.len());
        self.seal.encrypt_init(None, None, Some(nonce)).expect(WORKS);
        head.iter().for_each(|head| _ = self.seal.cipher_update(head, None).expect(WORKS));
        self.seal.cipher_update(text, Some(body)).expect(WORKS);
        self.seal.cipher_final(&mut []).expect(WORKS);
        self.seal.tag(tag).expect(WORKS);
    }

    fn open(&mut self, nonce: &[u8], head: &[&[u8]], sealed: &[u8], out: &mut [u8]) -> Option<()> {
        let (body, tag) = sealed.split_at_checked(out.len())?;
        self.open.decrypt_init(None, None, Some(nonce)).ok()?;
        head.iter().try_for_each(|head| self.open.cipher_update(head, None).map(|_| ())).ok()?;
        self.open.cipher_update(body, Some(out)).ok()?;
        self.open.set_tag(tag).ok()?;
        self.open.cipher_final(&mut []).ok().map(|_| ())
    }
}

impl Keys {
    /// RFC 3711, 4.3, with the shorter salt of RFC 7714, 11.
    fn new(master: &[u8], salt: &[u8]) -> Keys {
        let cipher = |key: &[u8]| {
            let mut context = CipherCtx::new().expect(WORKS);
            context.encrypt_init(Some(Cipher::aes_128_ecb()), Some(key), None).expect(WORKS);
            context.set_padding(false);
            context
        };
        let mut derive = {
            let mut context = cipher(master);
            move |label: u8| {
                let mut input = [0; 16];
                input[..SALT].copy_from_slice(salt);
                input[7] ^= label;
                block(&mut context, &input)
            }
        };
        let half = |derived: [u8; 16]| *derived.first_chunk::<SALT>().expect("it is shorter");
        let key = derive(0);
        Keys {
            block: cipher(&key),
            rtp: Key::new(&key, half(derive(2))),
            rtcp: Key::new(&derive(3), half(derive(5))),
            rtcp_index: 0,
        }
    }

    /// What the client and the server send with, from what DTLS exports (RFC 5764, 4.2).
    pub(crate) fn of(exported: &[u8; KEYING]) -> (Keys, Keys) {
        let (keys, salts) = exported.split_at(32);
        (Keys::new(&keys[..16], &salts[..SALT]), Keys::new(&keys[16..], &salts[SALT..]))
    }

    /// Seals a packet in `out`: a header of `head` bytes, and room for payload and tag.
    pub(crate) fn seal(&mut self, ssrc: u32, index: u64, head: usize, payload: &[u8], out: &mut [u8]) {
        let nonce = self.rtp.nonce(ssrc, index);
        let (head, body) = out.split_at_mut(head);
        self.rtp.seal(&nonce, &[head], payload, body);
    }

    /// Bytes of a payload from `at` on, unauthenticated. In GCM a block is decrypted without those before it.
    pub(crate) fn peek<const N: usize>(
        &mut self,
        ssrc: u32,
        index: u64,
        payload: &[u8],
        at: usize,
    ) -> Option<[u8; N]> {
        let mut out = *payload.get(at..)?.first_chunk::<N>()?;
        let mut counter = [0; 16];
        counter[..SALT].copy_from_slice(&self.rtp.nonce(ssrc, index));
        let mut stream = ([0; 16], usize::MAX);
        for (byte, at) in out.iter_mut().zip(at..) {
            if stream.1 != at / 16 {
                // The first block is counted 2; 1 is the tag's.
                counter[SALT..].copy_from_slice(&(at as u32 / 16 + 2).to_be_bytes());
                stream = (block(&mut self.block, &counter), at / 16);
            }
            *byte ^= stream.0[at % 16];
        }
        Some(out)
    }

    pub(crate) fn seal_rtcp(&mut self, plain: &[u8]) -> Vec<u8> {
        let (head, text) = plain.split_at(8);
        let tail = (ENCRYPTED | self.rtcp_index).to_be_bytes();
        let nonce = self.rtcp.nonce(ssrc(head), self.rtcp_index.into());
        self.rtcp_index += 1;
        let mut out = head.to_vec();
        out.resize(plain.len() + TAG, 0);
        self.rtcp.seal(&nonce, &[head, &tail], text, &mut out[8..]);
        out.extend(tail);
        out
    }

    /// Plain RTCP into `out`; `None` if it is not authentic.
    pub(crate) fn open_rtcp(&mut self, packet: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let (sealed, tail) = packet.split_last_chunk::<4>()?;
        let (head, sealed) = sealed.split_at_checked(8)?;
        let index = u32::from_be_bytes(*tail) & !ENCRYPTED;
        let nonce = self.rtcp.nonce(ssrc(head), index.into());
        out.clear();
        out.extend(head);
        out.resize(8 + sealed.len().checked_sub(TAG)?, 0);
        self.rtcp.open(&nonce, &[head, tail], sealed, &mut out[8..])
    }
}

fn ssrc(head: &[u8]) -> u32 {
    u32::from_be_bytes(*head[4..].first_chunk().expect("eight bytes"))
}

fn block(context: &mut CipherCtx, input: &[u8; 16]) -> [u8; 16] {
    let mut out = [0; 32];
    context.cipher_update(input, Some(&mut out)).expect(WORKS);
    *out.first_chunk().expect("half of it")
}
