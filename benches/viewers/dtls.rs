//! The DTLS handshake by OpenSSL, for the keys of SRTP. One certificate for all sessions of a process.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{ErrorCode, Ssl, SslContext, SslMethod, SslOptions, SslStream, SslVerifyMode};
use openssl::x509::{X509, X509NameBuilder};

use crate::srtp::{KEYING, Keys};

/// The only profile of both sides: it costs less than counter mode with SHA-1.
const PROFILE: &str = "SRTP_AEAD_AES_128_GCM";
const EXPORTER: &str = "EXTRACTOR-dtls_srtp";
/// Flights are cut to fit any path (RFC 8831, 5).
const MTU: u32 = 1200;

pub(crate) struct Identity {
    context: SslContext,
    pub(crate) fingerprint: String,
}

impl Identity {
    pub(crate) fn new() -> Identity {
        Self::try_new().expect("libssl makes a certificate")
    }

    fn try_new() -> Result<Identity, ErrorStack> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
        let mut name = X509NameBuilder::new()?;
        name.append_entry_by_nid(Nid::COMMONNAME, "viewers")?;
        let name = name.build();
        let mut certificate = X509::builder()?;
        certificate.set_version(2)?;
        certificate.set_serial_number(BigNum::from_u32(1)?.to_asn1_integer()?.as_ref())?;
        certificate.set_subject_name(&name)?;
        certificate.set_issuer_name(&name)?;
        certificate.set_pubkey(&key)?;
        certificate.set_not_before(Asn1Time::days_from_now(0)?.as_ref())?;
        certificate.set_not_after(Asn1Time::days_from_now(7)?.as_ref())?;
        certificate.sign(&key, MessageDigest::sha256())?;
        let certificate = certificate.build();
        let mut context = SslContext::builder(SslMethod::dtls())?;
        context.set_certificate(&certificate)?;
        context.set_private_key(&key)?;
        context.set_tlsext_use_srtp(PROFILE)?;
        context.set_options(SslOptions::NO_QUERY_MTU);
        // Certificates are self-signed; the fingerprint of the description says whose they are.
        context.set_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, |_, _| true);
        Ok(Identity { fingerprint: fingerprint(&certificate)?, context: context.build() })
    }
}

fn fingerprint(certificate: &X509) -> Result<String, ErrorStack> {
    let digest = certificate.digest(MessageDigest::sha256())?;
    Ok(digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":"))
}

/// Datagrams between OpenSSL and a socket.
#[derive(Default)]
struct Wire {
    input: VecDeque<Vec<u8>>,
    output: Vec<Vec<u8>>,
}

impl Read for Wire {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let datagram = self.input.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let len = datagram.len().min(out.len());
        out[..len].copy_from_slice(&datagram[..len]);
        Ok(len)
    }
}

impl Write for Wire {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.output.push(datagram.to_vec());
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) struct Handshake {
    stream: SslStream<Wire>,
    client: bool,
}

/// What a direction is for.
pub(crate) struct Pair {
    pub(crate) receive: Keys,
    pub(crate) send: Keys,
}

impl Handshake {
    pub(crate) fn new(identity: &Identity, client: bool) -> Handshake {
        let mut ssl = Ssl::new(&identity.context).expect("memory");
        ssl.set_mtu(MTU).expect("a sensible size");
        let stream = SslStream::new(ssl, Wire::default()).expect("memory");
        Handshake { stream, client }
    }

    pub(crate) fn input(&mut self, datagram: &[u8]) {
        self.stream.get_mut().input.push_back(datagram.to_vec());
    }

    /// Goes on as far as it can, and repeats a flight whose time is up. The keys, once.
    pub(crate) fn turn(&mut self, theirs: &str, mut send: impl FnMut(Vec<u8>)) -> Option<Pair> {
        let result = if self.client { self.stream.connect() } else { self.stream.accept() };
        self.stream.get_mut().output.drain(..).for_each(&mut send);
        match result {
            Ok(()) => {}
            Err(e) if [ErrorCode::WANT_READ, ErrorCode::WANT_WRITE].contains(&e.code()) => return None,
            Err(e) => panic!("the handshake failed: {e}"),
        }
        let ssl = self.stream.ssl();
        let certificate = ssl.peer_certificate().expect("it was required");
        let found = fingerprint(&certificate).expect("libcrypto has SHA-256");
        assert!(found.eq_ignore_ascii_case(theirs), "another certificate than that of the description");
        assert!(ssl.selected_srtp_profile().is_some(), "no SRTP with {PROFILE}");
        let mut exported = [0; KEYING];
        ssl.export_keying_material(&mut exported, EXPORTER, None).expect("the handshake is over");
        let (client, server) = Keys::of(&exported);
        Some(match self.client {
            true => Pair { receive: server, send: client },
            false => Pair { receive: client, send: server },
        })
    }
}
