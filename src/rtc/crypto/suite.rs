//! One direction of SRTP or of SRTCP: session keys, derived and set into ciphers (RFC 3711, RFC 7714).

use openssl::cipher::Cipher;
use openssl::cipher_ctx::CipherCtx;
use openssl::error::ErrorStack;
use openssl::memcmp;
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};

use super::hmac::{self, Mac};
use super::keys::{Master, Profile};

/// OpenSSL's calls here fail only without memory: each key and IV has its cipher's length.
const NEVER: &str = "OpenSSL has memory, and lengths are the cipher's";
/// Of the key of the HMAC (RFC 3711, 5.2).
const MAC_KEY: usize = hmac::LEN;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Traffic {
    Rtp,
    Rtcp,
}

/// Session keys.
pub(super) struct SessionKeys {
    pub(super) key: Vec<u8>,
    pub(super) salt: Vec<u8>,
    /// Not used by GCM.
    pub(super) auth: Vec<u8>,
}

impl SessionKeys {
    /// RFC 3711, 4.3.1, with a key derivation rate of 0.
    pub(super) fn derive(master: Master<'_>, traffic: Traffic) -> SessionKeys {
        let first = if traffic == Traffic::Rtp { 0 } else { 3 };
        let take = |label, len| derive(master, label, len).expect(NEVER);
        SessionKeys {
            key: take(first, master.profile.key_len()),
            auth: take(first + 1, MAC_KEY),
            salt: take(first + 2, master.profile.salt_len()),
        }
    }
}

/// The key stream of AES in counter mode under the master key, whose IV is the salt with the label (RFC 3711, 4.3.3; RFC
/// 6188, 2 for 256 bits). A salt of 96 bits has 16 zero bits behind it (RFC 7714, 11).
fn derive(master: Master<'_>, label: u8, len: usize) -> Result<Vec<u8>, ErrorStack> {
    let mut iv = [0; 16];
    iv[..master.salt.len()].copy_from_slice(master.salt);
    iv[7] ^= label;
    let cipher = if master.key.len() == 32 { Cipher::aes_256_ctr() } else { Cipher::aes_128_ctr() };
    let mut context = CipherCtx::new()?;
    context.encrypt_init(Some(cipher), Some(master.key), Some(&iv))?;
    let mut stream = vec![0; len];
    context.cipher_update(&vec![0; len], Some(&mut stream))?;
    Ok(stream)
}

/// What goes into a packet's IV and tag beside its text.
#[derive(Clone, Copy)]
pub(super) struct Packet<'a> {
    pub(super) ssrc: u32,
    /// 48 bits of RTP, 31 bits of RTCP.
    pub(super) index: u64,
    /// What stands before the text.
    pub(super) head: &'a [u8],
    /// What else is authenticated: RTP's rollover counter, RTCP's word with the index.
    pub(super) behind: [u8; 4],
}

/// A cipher with its keys set; each packet brings its IV.
///
/// GCM is ring's: with OpenSSL 3 a packet of 1100 bytes takes about twice the time, because an IV and a tag go through its
/// parameters, which are looked up by name.
pub(super) struct Suite {
    traffic: Traffic,
    mode: Mode,
}

enum Mode {
    Gcm { salt: [u8; 12], key: Box<LessSafeKey> },
    Counter { salt: [u8; 14], context: CipherCtx, mac: Mac },
}

impl Suite {
    /// Keys for both sealing and opening.
    pub(super) fn new(profile: Profile, traffic: Traffic, session: &SessionKeys) -> Suite {
        let mode = match profile {
            Profile::Aes128CmSha1 => Mode::counter(session),
            Profile::Aes128Gcm => Mode::gcm(&AES_128_GCM, session),
            Profile::Aes256Gcm => Mode::gcm(&AES_256_GCM, session),
        };
        Suite { traffic, mode }
    }

    /// Encrypts `text` in place, and writes the tag.
    pub(super) fn seal(&mut self, packet: Packet<'_>, text: &mut [u8], tag: &mut [u8]) {
        match &mut self.mode {
            Mode::Gcm { salt, key } => {
                let nonce = gcm_nonce(salt, packet);
                let sealed = authenticated(self.traffic, packet, |data| {
                    key.seal_in_place_separate_tag(nonce, Aad::from(data), text)
                });
                tag.copy_from_slice(sealed.expect("a packet is shorter than GCM's limit").as_ref());
            }
            Mode::Counter { salt, context, mac } => {
                context.encrypt_init(None, None, Some(&counter_iv(salt, packet))).expect(NEVER);
                context.cipher_update_inplace(text, text.len()).expect(NEVER);
                let whole = mac.of(&[packet.head, text, &packet.behind]);
                tag.copy_from_slice(&whole[..tag.len()]);
            }
        }
    }

    /// Decrypts `text` into `output`, which is as long. Without success, what it holds is not authentic.
    pub(super) fn open(&mut self, packet: Packet<'_>, text: &[u8], tag: &[u8], output: &mut [u8]) -> bool {
        match &mut self.mode {
            Mode::Gcm { salt, key } => {
                let Ok(tag) = tag.try_into() else { return false };
                let nonce = gcm_nonce(salt, packet);
                output.copy_from_slice(text);
                let opened = authenticated(self.traffic, packet, |data| {
                    key.open_in_place_separate_tag(nonce, Aad::from(data), tag, output, 0..).map(|_| ())
                });
                opened.is_ok()
            }
            Mode::Counter { salt, context, mac } => {
                let whole = mac.of(&[packet.head, text, &packet.behind]);
                if !memcmp::eq(&whole[..tag.len()], tag) {
                    return false;
                }
                // The same key stream takes the encryption away.
                context.encrypt_init(None, None, Some(&counter_iv(salt, packet))).expect(NEVER);
                context.cipher_update(text, Some(output)).expect(NEVER);
                true
            }
        }
    }
}

const SALT: &str = "a salt has its profile's length";

impl Mode {
    fn gcm(algorithm: &'static Algorithm, session: &SessionKeys) -> Mode {
        let key = UnboundKey::new(algorithm, &session.key).expect("a key has its profile's length");
        Mode::Gcm { salt: session.salt[..].try_into().expect(SALT), key: Box::new(LessSafeKey::new(key)) }
    }

    fn counter(session: &SessionKeys) -> Mode {
        let mut context = CipherCtx::new().expect(NEVER);
        context.encrypt_init(Some(Cipher::aes_128_ctr()), Some(&session.key), None).expect(NEVER);
        Mode::Counter {
            salt: session.salt[..].try_into().expect(SALT),
            context,
            mac: Mac::new(&session.auth),
        }
    }
}

/// Passes on the associated data of GCM: of RTCP also the index, which RTP's IV has whole (RFC 7714, 8.2 and 9.2).
fn authenticated<T>(traffic: Traffic, packet: Packet<'_>, with: impl FnOnce(&[u8]) -> T) -> T {
    match traffic {
        Traffic::Rtp => with(packet.head),
        Traffic::Rtcp => with(&[packet.head, &packet.behind].concat()),
    }
}

/// RFC 7714, 8.1 and 9.1.
fn gcm_nonce(salt: &[u8; 12], packet: Packet<'_>) -> Nonce {
    let mut iv = *salt;
    xor(&mut iv[2..], packet);
    Nonce::assume_unique_for_key(iv)
}

/// RFC 3711, 4.1.1.
fn counter_iv(salt: &[u8; 14], packet: Packet<'_>) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    xor(&mut iv[4..], packet);
    iv
}

/// The SSRC, and the index in 48 bits.
fn xor(iv: &mut [u8], packet: Packet<'_>) {
    let number = packet.ssrc.to_be_bytes().into_iter().chain(packet.index.to_be_bytes().into_iter().skip(2));
    for (byte, with) in iv.iter_mut().zip(number) {
        *byte ^= with;
    }
}

#[cfg(test)]
mod tests {
    use super::super::hex;
    use super::*;

    /// RFC 3711, B.3.
    #[test]
    fn keys_are_derived_as_in_the_rfc() {
        let (key, salt) = (hex("E1F97A0D3E018BE0D64FA32C06DE4139"), hex("0EC675AD498AFEEBB6960B3AABE6"));
        let master = Master { profile: Profile::Aes128CmSha1, key: &key, salt: &salt };
        let session = SessionKeys::derive(master, Traffic::Rtp);
        assert_eq!(session.key, hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(session.salt, hex("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(session.auth, hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
    }

    /// RFC 6188, 7.2.
    #[test]
    fn keys_of_256_bits_are_derived_as_in_the_rfc() {
        let key = hex("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6");
        let salt = hex("3b04803de51ee7c96423ab5b78d2");
        let derived = |label, len| {
            derive(Master { profile: Profile::Aes256Gcm, key: &key, salt: &salt }, label, len)
                .expect("OpenSSL")
        };
        assert_eq!(derived(0, 32), hex("5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4"));
        assert_eq!(derived(2, 14), hex("fa31791685ca444a9e07c6c64e93"));
        assert_eq!(derived(1, 20), hex("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"));
    }

    /// RFC 3711, B.2: the key stream of SSRC 0 and index 0, and its last blocks before the counter ends.
    #[test]
    fn the_key_stream_is_that_of_the_rfc() {
        let session = SessionKeys {
            key: hex("2B7E151628AED2A6ABF7158809CF4F3C"),
            salt: hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"),
            auth: vec![0; MAC_KEY],
        };
        let mut suite = Suite::new(Profile::Aes128CmSha1, Traffic::Rtp, &session);
        let packet = Packet { ssrc: 0, index: 0, head: &[], behind: [0; 4] };
        let mut stream = vec![0; 16 * 0xff02];
        suite.seal(packet, &mut stream, &mut [0; 10]);
        let block = |n: usize| &stream[16 * n..16 * (n + 1)];
        assert_eq!(block(0), hex("E03EAD0935C95E80E166B16DD92B4EB4"));
        assert_eq!(block(1), hex("D23513162B02D0F72A43A2FE4A5F97AB"));
        assert_eq!(block(2), hex("41E95B3BB0A2E8DD477901E4FCA894C0"));
        assert_eq!(block(0xfeff), hex("EC8CDF7398607CB0F2D21675EA9EA1E4"));
        assert_eq!(block(0xff00), hex("362B7C3C6773516318A077D7FC5073AE"));
        assert_eq!(block(0xff01), hex("6A2CC3787889374FBEB4C81B17BA6C44"));
    }
}
