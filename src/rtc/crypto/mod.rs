//! Cryptography of sessions, on the system's libssl.
//!
//! str0m takes its cryptography as trait objects, which these are. The media paths get a session's keys from here too:
//! what is sent and received is sealed and opened by [`seal`], [`open`] and, with the feature `recv`, `open_rtp`, whose
//! GCM is that of the crate `ring`, which TLS brings anyway.

mod dtls;
mod hmac;
pub(crate) mod keys;
pub(crate) mod link;
pub(crate) mod open;
#[cfg(feature = "recv")]
pub(crate) mod open_rtp;
#[cfg(test)]
pub(super) mod reuse;
#[cfg(test)]
mod rfc7714;
pub(crate) mod sctp;
pub(crate) mod seal;
mod srtp;
mod suite;
mod window;

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::{MessageDigest, hash};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use openssl::x509::{X509Builder, X509NameBuilder};
use str0m::config::DtlsCert;
use str0m::crypto::{CryptoProvider, Sha1HmacProvider, Sha1Provider, Sha256Provider};

use dtls::Dtls;
use hmac::Mac;
use srtp::Srtp;

/// What [`str0m::RtcConfig::set_crypto_provider`] takes.
pub(crate) fn provider() -> CryptoProvider {
    CryptoProvider {
        srtp_provider: &Srtp,
        sha1_hmac_provider: &Digest,
        sha1_provider: &Digest,
        sha256_provider: &Digest,
        dtls_provider: &Dtls,
    }
}

#[derive(Debug)]
struct Digest;

impl Sha1HmacProvider for Digest {
    fn sha1_hmac(&self, key: &[u8], payloads: &[&[u8]]) -> [u8; 20] {
        Mac::new(key).of(payloads)
    }
}

impl Sha1Provider for Digest {
    fn sha1(&self, data: &[u8]) -> [u8; 20] {
        digest(MessageDigest::sha1(), data)
    }
}

impl Sha256Provider for Digest {
    fn sha256(&self, data: &[u8]) -> [u8; 32] {
        digest(MessageDigest::sha256(), data)
    }
}

fn digest<const N: usize>(kind: MessageDigest, data: &[u8]) -> [u8; N] {
    let digest = hash(kind, data).expect("a digest fails only without memory");
    digest.as_ref().try_into().expect("N is the size of this digest")
}

/// A self-signed certificate with a P-256 key (RFC 8827, 6.5). The peer checks its fingerprint alone.
fn certificate() -> Result<DtlsCert, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let mut serial = BigNum::new()?;
    serial.rand(128, MsbOption::MAYBE_ZERO, false)?;
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", "WebRTC")?;
    let name = name.build();

    let mut builder = X509Builder::new()?;
    builder.set_version(2)?; // X.509 v3
    builder.set_serial_number(serial.to_asn1_integer()?.as_ref())?;
    builder.set_not_before(Asn1Time::days_from_now(0)?.as_ref())?;
    builder.set_not_after(Asn1Time::days_from_now(365)?.as_ref())?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_pubkey(&key)?;
    builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    builder.append_extension(KeyUsage::new().critical().digital_signature().key_encipherment().build()?)?;
    builder.append_extension(ExtendedKeyUsage::new().server_auth().client_auth().build()?)?;
    builder.sign(&key, MessageDigest::sha256())?;
    Ok(DtlsCert { certificate: builder.build().to_der()?, private_key: key.private_key_to_der()? })
}

/// Bytes as standards print them.
#[cfg(test)]
fn hex(text: &str) -> Vec<u8> {
    let digit = |c: u8| (c as char).to_digit(16).expect("a digit") as u8;
    text.as_bytes().chunks(2).map(|two| digit(two[0]) << 4 | digit(two[1])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standards() {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        // FIPS 180-4's example, and RFC 2202's second test case.
        assert_eq!(hex(&Digest.sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            hex(&Digest.sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hex(&Digest.sha1_hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"])),
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"
        );
    }
}
