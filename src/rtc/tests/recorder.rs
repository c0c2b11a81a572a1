//! SRTP's cipher, watched: which nonces it sealed with, under which key.
//!
//! The nonce of a packet is its SSRC and index, mixed with a salt that goes with the key (RFC 7714, 8.1; RFC 3711, 4.1.1). So two
//! packets have one nonce exactly if they have one SSRC and one index.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::Arc;

use str0m::config::CryptoProvider;
use str0m::crypto::{
    AeadAes128GcmCipher, Aes128CmSha1_80Cipher, CryptoError, SrtpProvider, SupportedAeadAes128Gcm,
    SupportedAeadAes256Gcm, SupportedAes128CmSha1_80,
};

use crate::rtc::crypto;

thread_local! {
    static SEALED: RefCell<HashSet<(Vec<u8>, Vec<u8>)>> = RefCell::default();
    static TWICE: Cell<usize> = const { Cell::new(0) };
    static PANICS: Cell<bool> = const { Cell::new(false) };
}

/// Our cryptography, with this thread's packets recorded.
pub(super) fn provider() -> Arc<CryptoProvider> {
    SEALED.take();
    TWICE.set(0);
    PANICS.set(false);
    Arc::new(CryptoProvider { srtp_provider: &Recorder, ..crypto::provider() })
}

/// How many packets were sealed.
pub(super) fn sealed() -> usize {
    SEALED.with_borrow(HashSet::len)
}

/// How many of them had the number of an earlier one.
pub(super) fn sealed_twice() -> usize {
    TWICE.get()
}

/// Makes the next packet's cipher panic, in the midst of str0m.
pub(super) fn panic_at_the_next() {
    PANICS.set(true);
}

#[derive(Debug)]
struct Recorder;

/// A cipher of whatever profile two ends of ours choose, which follows from the CPU.
#[derive(Debug)]
struct Watched<C> {
    key: Vec<u8>,
    cipher: C,
}

impl<C> Watched<C> {
    fn note(&self, iv: &[u8]) {
        assert!(!PANICS.take(), "a test wants this");
        if !SEALED.with_borrow_mut(|sealed| sealed.insert((self.key.clone(), iv.to_vec()))) {
            TWICE.set(TWICE.get() + 1);
        }
    }
}

fn real() -> &'static dyn SrtpProvider {
    crypto::provider().srtp_provider
}

impl SrtpProvider for Recorder {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        &Recorder
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &Recorder
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        panic!("two ends of ours choose the first profile, which is never AES-256-GCM")
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        real().srtp_aes_128_ecb_round(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        real().srtp_aes_256_ecb_round(key, input, output);
    }
}

impl SupportedAes128CmSha1_80 for Recorder {
    fn create_cipher(&self, key: [u8; 16], encrypt: bool) -> Box<dyn Aes128CmSha1_80Cipher> {
        let cipher = real().aes_128_cm_sha1_80().create_cipher(key, encrypt);
        Box::new(Watched { key: key.to_vec(), cipher })
    }
}

impl Aes128CmSha1_80Cipher for Watched<Box<dyn Aes128CmSha1_80Cipher>> {
    fn encrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        self.note(iv);
        self.cipher.encrypt(iv, input, output)
    }

    fn decrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        self.cipher.decrypt(iv, input, output)
    }
}

impl SupportedAeadAes128Gcm for Recorder {
    fn create_cipher(&self, key: [u8; 16], encrypt: bool) -> Box<dyn AeadAes128GcmCipher> {
        let cipher = real().aead_aes_128_gcm().create_cipher(key, encrypt);
        Box::new(Watched { key: key.to_vec(), cipher })
    }
}

impl AeadAes128GcmCipher for Watched<Box<dyn AeadAes128GcmCipher>> {
    fn encrypt(
        &mut self,
        iv: &[u8; 12],
        aad: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.note(iv);
        self.cipher.encrypt(iv, aad, input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        self.cipher.decrypt(iv, aads, input, output)
    }
}
