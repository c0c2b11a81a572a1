//! The ciphers of SRTP (RFC 3711, RFC 7714).

use openssl::cipher::{Cipher, CipherRef};
use openssl::cipher_ctx::CipherCtx;
use openssl::error::ErrorStack;
use str0m::crypto::{
    AeadAes128Gcm, AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80Cipher, CryptoError,
    SrtpProvider, SupportedAeadAes128Gcm, SupportedAeadAes256Gcm, SupportedAes128CmSha1_80,
};

/// Of an authentication tag, which is the same for both key lengths (RFC 7714, 12).
const TAG: usize = AeadAes128Gcm::TAG_LEN;

#[derive(Debug)]
pub(super) struct Srtp;

impl SrtpProvider for Srtp {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        &Srtp
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &Srtp
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &Srtp
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        ecb(Cipher::aes_128_ecb(), key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        ecb(Cipher::aes_256_ecb(), key, input, output);
    }
}

impl SupportedAes128CmSha1_80 for Srtp {
    fn create_cipher(&self, key: [u8; 16], encrypt: bool) -> Box<dyn Aes128CmSha1_80Cipher> {
        Box::new(Keyed::new(Cipher::aes_128_ctr(), &key, encrypt))
    }
}

impl SupportedAeadAes128Gcm for Srtp {
    fn create_cipher(&self, key: [u8; 16], encrypt: bool) -> Box<dyn AeadAes128GcmCipher> {
        Box::new(Keyed::new(Cipher::aes_128_gcm(), &key, encrypt))
    }
}

impl SupportedAeadAes256Gcm for Srtp {
    fn create_cipher(&self, key: [u8; 32], encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        Box::new(Keyed::new(Cipher::aes_256_gcm(), &key, encrypt))
    }
}

/// A cipher with its key set; each packet brings its IV.
struct Keyed(CipherCtx);

impl std::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyed")
    }
}

impl Keyed {
    fn new(cipher: &CipherRef, key: &[u8], encrypt: bool) -> Keyed {
        let mut context = CipherCtx::new().expect("a context fails only without memory");
        let (cipher, key) = (Some(cipher), Some(key));
        let set = if encrypt {
            context.encrypt_init(cipher, key, None)
        } else {
            context.decrypt_init(cipher, key, None)
        };
        set.expect("the key has this cipher's length");
        Keyed(context)
    }

    /// Encrypts or decrypts with a cipher that doesn't authenticate.
    fn stream(&mut self, input: &[u8], output: &mut [u8]) -> Result<(), ErrorStack> {
        let done = self.0.cipher_update(input, Some(output))?;
        self.0.cipher_final(&mut output[done..])?;
        Ok(())
    }

    fn seal(&mut self, iv: &[u8], aad: &[u8], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        let sealed = output.get_mut(..input.len() + TAG).ok_or_else(|| other("no room for the tag"))?;
        let (text, tag) = sealed.split_at_mut(input.len());
        let mut seal = || {
            self.0.encrypt_init(None, None, Some(iv))?;
            self.0.cipher_update(aad, None)?;
            self.stream(input, text)?;
            self.0.tag(tag)
        };
        seal().map_err(other)
    }

    fn open(
        &mut self,
        iv: &[u8],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let length = input.len().checked_sub(TAG).ok_or_else(|| other("shorter than its tag"))?;
        let (text, tag) = input.split_at(length);
        let output = output.get_mut(..length).ok_or_else(|| other("no room for the payload"))?;
        let mut open = || {
            self.0.decrypt_init(None, None, Some(iv))?;
            for aad in aads {
                self.0.cipher_update(aad, None)?;
            }
            self.0.set_tag(tag)?;
            self.stream(text, output)
        };
        open().map_err(other)?;
        Ok(length)
    }
}

impl Aes128CmSha1_80Cipher for Keyed {
    fn encrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        self.0.encrypt_init(None, None, Some(iv)).map_err(other)?;
        self.stream(input, output).map_err(other)
    }

    fn decrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        self.0.decrypt_init(None, None, Some(iv)).map_err(other)?;
        self.stream(input, output).map_err(other)
    }
}

impl AeadAes128GcmCipher for Keyed {
    fn encrypt(
        &mut self,
        iv: &[u8; 12],
        aad: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.seal(iv, aad, input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        self.open(iv, aads, input, output)
    }
}

impl AeadAes256GcmCipher for Keyed {
    fn encrypt(
        &mut self,
        iv: &[u8; 12],
        aad: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.seal(iv, aad, input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        self.open(iv, aads, input, output)
    }
}

fn other(why: impl std::fmt::Display) -> CryptoError {
    CryptoError::Other(why.to_string())
}

/// One AES block, from which str0m derives the session's keys; `output` has room for a second.
fn ecb(cipher: &CipherRef, key: &[u8], input: &[u8], output: &mut [u8]) {
    let mut round = || {
        let mut context = CipherCtx::new()?;
        context.encrypt_init(Some(cipher), Some(key), None)?;
        context.set_padding(false);
        context.cipher_update(input, Some(output))
    };
    round().expect("the key has this cipher's length, and the input is a block");
}
