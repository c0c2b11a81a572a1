//! DTLS 1.2 by OpenSSL, between str0m's datagrams.
//!
//! A datagram that comes is given to OpenSSL whole and worked off at once; what OpenSSL writes is kept until
//! it is polled. So nothing piles up, however many records a peer puts into a datagram.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{
    ErrorCode, Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslSessionCacheMode, SslStream,
    SslVerifyMode,
};
use openssl::x509::X509;
use str0m::DATAGRAM_MTU_TARGET;
use str0m::config::{DtlsCert, DtlsVersion, KeyingMaterial};
use str0m::crypto::CryptoError;
use str0m::crypto::dtls::{
    DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, ProtocolVersion, SrtpProfile,
};

use super::keys::{self, Keys, Profile};
use super::link::Link;
use super::sctp::{self, Filter};

/// Every WebRTC endpoint has AES-GCM (RFC 8827, 6.5). With CBC and a MAC over the ciphertext OpenSSL sends a
/// fatal alert for a record that is shorter than the MAC, which `demux` could not tell from a good one.
const CIPHERS: &str = "ECDHE+AESGCM:DHE+AESGCM";
/// RFC 5764, 4.2.
const EXPORTER: &str = "EXTRACTOR-dtls_srtp";
/// How often OpenSSL is asked whether a flight has to be repeated: its own timer begins at a second.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Nothing to wait for.
const IDLE: Duration = Duration::from_secs(3600);
/// The largest plaintext of a record (RFC 5246, 6.2.1).
const RECORD: usize = 1 << 14;

#[derive(Debug)]
pub(super) struct Dtls;

impl DtlsProvider for Dtls {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        super::certificate().ok()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        if version != DtlsVersion::Dtls12 {
            return Err(CryptoError::Other(format!("OpenSSL has no {version}, only DTLS 1.2")));
        }
        let mtu = mtu.unwrap_or(DATAGRAM_MTU_TARGET);
        let stream = open(cert, mtu).map_err(|e| CryptoError::Other(e.to_string()))?;
        Ok(Box::new(Instance {
            stream,
            now,
            role: None,
            phase: Phase::Handshake,
            output: VecDeque::new(),
            filter: Filter::default(),
            start: None,
            link: Link::new(),
            closed: false,
        }))
    }
}

/// The context of the certificate used last, and its DER: all sessions of a fan-out share one, and OpenSSL takes half a
/// millisecond to make a context, mostly to read the key.
static LAST: Mutex<Option<(Vec<u8>, SslContext)>> = Mutex::new(None);

fn shared_context(cert: &DtlsCert) -> Result<SslContext, ErrorStack> {
    // Nothing in there panics half done.
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    match &*last {
        Some((known, context)) if *known == cert.certificate => Ok(context.clone()),
        _ => {
            let context = context(cert)?;
            *last = Some((cert.certificate.clone(), context.clone()));
            Ok(context)
        }
    }
}

fn open(cert: &DtlsCert, mtu: usize) -> Result<SslStream<Wire>, ErrorStack> {
    let context = shared_context(cert)?;
    let mut ssl = Ssl::new(&context)?;
    ssl.set_mtu(u32::try_from(mtu).unwrap_or(u32::MAX))?;
    SslStream::new(ssl, Wire::default())
}

fn context(cert: &DtlsCert) -> Result<SslContext, ErrorStack> {
    let mut context = SslContextBuilder::new(SslMethod::dtls())?;
    context.set_cipher_list(CIPHERS)?;
    context.set_tlsext_use_srtp(keys::profiles())?;
    // Every certificate passes here: str0m compares its fingerprint with the one of the description.
    context.set_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, |_, _| true);
    let key = PKey::private_key_from_der(&cert.private_key)?;
    context.set_private_key(&key)?;
    let certificate = X509::from_der(&cert.certificate)?;
    context.set_certificate(&certificate)?;
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    context.set_options(
        SslOptions::SINGLE_ECDH_USE
            | SslOptions::NO_DTLSV1
            | SslOptions::NO_QUERY_MTU
            | SslOptions::NO_TICKET
            | SslOptions::NO_RENEGOTIATION,
    );
    Ok(context.build())
}

/// Datagrams between str0m and OpenSSL.
#[derive(Default)]
struct Wire {
    incoming: Option<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let datagram = self.incoming.take().ok_or(io::ErrorKind::WouldBlock)?;
        // As with a socket, what doesn't fit is lost. OpenSSL's buffer holds the largest record.
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        Ok(length)
    }
}

impl Write for Wire {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.outgoing.push_back(datagram.to_vec());
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Handshake,
    Established,
    /// The peer said goodbye.
    Ended,
    /// OpenSSL must not be used again after an error of its own.
    Failed,
}

/// What is to be said beside the datagrams.
enum Outcome {
    PeerCert(Vec<u8>),
    Keys(KeyingMaterial, SrtpProfile),
    Connected,
    Data(Vec<u8>),
    Goodbye,
}

struct Instance {
    stream: SslStream<Wire>,
    now: Instant,
    /// Whether we are the client, once that is known.
    role: Option<bool>,
    phase: Phase,
    output: VecDeque<Outcome>,
    /// Of what it carries, which is SCTP.
    filter: Filter,
    /// What its packets start with, until the association is aborted.
    start: Option<sctp::Start>,
    link: Arc<Link>,
    closed: bool,
}

// Nothing is used again after a panic: the session that holds it is dropped.
impl UnwindSafe for Instance {}
impl RefUnwindSafe for Instance {}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("role", &self.role).field("phase", &self.phase).finish()
    }
}

impl Instance {
    /// Lets OpenSSL do what it can with what came.
    fn drive(&mut self) -> Result<(), DtlsImplError> {
        if self.phase == Phase::Handshake {
            let Some(active) = self.role else { return Ok(()) };
            match if active { self.stream.connect() } else { self.stream.accept() } {
                Ok(()) => self.establish().map_err(|e| self.fail(&e))?,
                Err(e) if is_waiting(e.code()) => return Ok(()),
                Err(e) => return Err(self.fail(&e)),
            }
        }
        let mut buffer = vec![0; RECORD];
        while self.phase == Phase::Established {
            match self.stream.ssl_read(&mut buffer) {
                Ok(_) if self.link.is_abandoned() => {}
                Ok(length) => match self.filter.check(&buffer[..length]) {
                    Ok(ends) => {
                        if ends {
                            self.link.end();
                        }
                        self.output.push_back(Outcome::Data(buffer[..length].to_vec()));
                    }
                    Err(why) => {
                        log::trace!("dropped a packet of SCTP: {why:?}");
                        self.link.drop_packet();
                    }
                },
                Err(e) if is_waiting(e.code()) => break,
                Err(e) if e.code() == ErrorCode::ZERO_RETURN => {
                    self.phase = Phase::Ended;
                    self.link.go();
                    self.output.push_back(Outcome::Goodbye);
                    self.say_goodbye();
                }
                Err(e) => return Err(self.fail(&e)),
            }
        }
        Ok(())
    }

    /// Takes the peer's certificate and the keys of SRTP.
    fn establish(&mut self) -> Result<(), io::Error> {
        let ssl = self.stream.ssl();
        let certificate = ssl.peer_certificate().ok_or_else(|| io::Error::other("no certificate"))?;
        let id = ssl.selected_srtp_profile().map(|p| p.id());
        let profile = id.and_then(Profile::of).ok_or_else(|| io::Error::other("no common SRTP profile"))?;
        let mut material = vec![0; profile.material_len()];
        ssl.export_keying_material(&mut material, EXPORTER, None)?;
        // The certificate first: str0m gives up there if it isn't the one of the description.
        self.output.push_back(Outcome::PeerCert(certificate.to_der()?));
        self.output.push_back(Outcome::Keys(KeyingMaterial::new(&material), named(profile)));
        self.output.push_back(Outcome::Connected);
        keys::established(Keys::new(profile, material, self.is_active()));
        self.phase = Phase::Established;
        Ok(())
    }

    fn fail(&mut self, why: &dyn std::fmt::Display) -> DtlsImplError {
        log::debug!("DTLS failed: {why}");
        self.phase = Phase::Failed;
        DtlsImplError::ConnectionClosed
    }

    /// Sends SCTP.
    fn send(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.start = sctp::start_of(packet).or(self.start);
        #[cfg(any(test, fuzzing))]
        if self.is_active() && sctp::garbles() {
            let garbled = sctp::garble(packet);
            return self.stream.ssl_write(&garbled).map(drop).map_err(|e| self.fail(&e));
        }
        self.stream.ssl_write(packet).map(drop).map_err(|e| self.fail(&e))
    }

    /// Ends what the session wants ended.
    fn follow(&mut self) {
        if self.phase != Phase::Established || self.closed {
            return;
        }
        if self.link.is_abandoned()
            && let Some(start) = self.start.take()
            && !self.link.has_ended()
        {
            // It fails where the other side is gone already.
            let _ = self.stream.ssl_write(&sctp::abort(start));
        }
        if self.link.leaves() {
            self.say_goodbye();
        }
    }

    fn say_goodbye(&mut self) {
        if !self.closed && matches!(self.phase, Phase::Established | Phase::Ended) {
            // It fails where the other side is gone already.
            let _ = self.stream.shutdown();
        }
        self.closed = true;
    }
}

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        self.role.get_or_insert(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        match self.phase {
            Phase::Failed => return Err(DtlsImplError::ConnectionClosed),
            Phase::Ended => return Ok(()),
            Phase::Handshake | Phase::Established => {}
        }
        // str0m starts a client with an empty packet.
        self.stream.get_mut().incoming = Some(packet.to_vec()).filter(|p| !p.is_empty());
        let driven = self.drive();
        self.stream.get_mut().incoming = None;
        driven
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        self.follow();
        let wire = self.stream.get_mut();
        if let Some(datagram) = wire.outgoing.front().filter(|d| d.len() > buffer.len()) {
            return DtlsOutput::BufferTooSmall { needed: datagram.len() };
        }
        if let Some(datagram) = wire.outgoing.pop_front() {
            return DtlsOutput::Packet(fill(buffer, &datagram));
        }
        if let Some(Outcome::PeerCert(data) | Outcome::Data(data)) = self.output.front()
            && data.len() > buffer.len()
        {
            return DtlsOutput::BufferTooSmall { needed: data.len() };
        }
        match self.output.pop_front() {
            Some(Outcome::PeerCert(der)) => DtlsOutput::PeerCert(fill(buffer, &der)),
            Some(Outcome::Keys(keys, profile)) => DtlsOutput::KeyingMaterial(keys, profile),
            Some(Outcome::Connected) => DtlsOutput::Connected,
            Some(Outcome::Data(data)) => DtlsOutput::ApplicationData(fill(buffer, &data)),
            Some(Outcome::Goodbye) => DtlsOutput::CloseNotify,
            None if self.phase == Phase::Handshake => DtlsOutput::Timeout(self.now + LOOK_AGAIN),
            None => DtlsOutput::Timeout(self.now + IDLE),
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.now = now;
        if self.phase == Phase::Handshake {
            // Repeats a flight that was lost.
            self.drive()?;
        }
        Ok(())
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        match self.phase {
            Phase::Handshake => Ok(0),
            Phase::Established if !self.closed && self.link.is_abandoned() => Ok(data.len()),
            Phase::Established if !self.closed => self.send(data).map(|()| data.len()),
            _ => Err(DtlsImplError::ConnectionClosed),
        }
    }

    fn is_active(&self) -> bool {
        self.role.unwrap_or(false)
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        Some(ProtocolVersion::DTLS1_2)
    }

    fn is_closing(&self) -> bool {
        self.closed || self.phase == Phase::Ended
    }

    fn is_closed(&self) -> bool {
        self.closed && self.stream.get_ref().outgoing.is_empty()
    }

    /// str0m also ends DTLS where only SCTP has failed. As long as this is not closed, str0m goes on with ICE and DTLS.
    fn close(&mut self) -> Result<(), DtlsImplError> {
        if self.phase != Phase::Established || !self.link.is_kept() {
            self.say_goodbye();
        }
        Ok(())
    }
}

/// In str0m's words.
fn named(profile: Profile) -> SrtpProfile {
    match profile {
        Profile::Aes128CmSha1 => SrtpProfile::AES128_CM_SHA1_80,
        Profile::Aes128Gcm => SrtpProfile::AEAD_AES_128_GCM,
        Profile::Aes256Gcm => SrtpProfile::AEAD_AES_256_GCM,
    }
}

fn is_waiting(code: ErrorCode) -> bool {
    code == ErrorCode::WANT_READ || code == ErrorCode::WANT_WRITE
}

fn fill<'a>(buffer: &'a mut [u8], data: &[u8]) -> &'a [u8] {
    let part = &mut buffer[..data.len()];
    part.copy_from_slice(data);
    part
}
