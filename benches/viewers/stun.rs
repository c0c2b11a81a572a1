//! Binding messages of STUN, as ICE uses them (RFC 8489, RFC 8445).

use std::net::SocketAddr;

use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;

pub(crate) const REQUEST: u16 = 0x0001;
pub(crate) const SUCCESS: u16 = 0x0101;

pub(crate) const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
pub(crate) const PRIORITY: u16 = 0x0024;
pub(crate) const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
pub(crate) const CONTROLLED: u16 = 0x8029;
pub(crate) const CONTROLLING: u16 = 0x802a;

const COOKIE: u32 = 0x2112_a442;
const HEADER: usize = 20;

pub(crate) type Transaction = [u8; 12];

pub(crate) struct Builder(Vec<u8>);

impl Builder {
    pub(crate) fn new(kind: u16, transaction: &Transaction) -> Builder {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes.extend(COOKIE.to_be_bytes());
        bytes.extend(transaction);
        Builder(bytes)
    }

    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Builder {
        self.0.extend(kind.to_be_bytes());
        self.0.extend((value.len() as u16).to_be_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(crate) fn mapped(self, address: SocketAddr) -> Builder {
        let SocketAddr::V4(address) = address else { return self };
        let port = address.port() ^ (COOKIE >> 16) as u16;
        let ip = u32::from(*address.ip()) ^ COOKIE;
        let value = [&[0, 1][..], &port.to_be_bytes(), &ip.to_be_bytes()].concat();
        self.attribute(XOR_MAPPED_ADDRESS, &value)
    }

    pub(crate) fn finish(mut self, password: &str) -> Vec<u8> {
        // Each of the two covers a length that includes itself.
        self.set_length(24);
        let mac = hmac(password, &self.0);
        self = self.attribute(MESSAGE_INTEGRITY, &mac);
        self.set_length(8);
        let sum = crc32(&self.0) ^ 0x5354_554e;
        self.attribute(FINGERPRINT, &sum.to_be_bytes()).0
    }

    fn set_length(&mut self, more: usize) {
        let length = (self.0.len() + more - HEADER) as u16;
        self.0[2..4].copy_from_slice(&length.to_be_bytes());
    }
}

pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) transaction: Transaction,
    pub(crate) username: Option<&'a [u8]>,
    pub(crate) use_candidate: bool,
    integrity: Option<usize>,
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Message<'a>> {
        let (head, mut rest) = bytes.split_first_chunk::<HEADER>()?;
        let mut message = Message {
            kind: u16::from_be_bytes([head[0], head[1]]),
            transaction: *head.last_chunk()?,
            username: None,
            use_candidate: false,
            integrity: None,
            bytes,
        };
        if head[4..8] != COOKIE.to_be_bytes() {
            return None;
        }
        while let Some((&[kind, of, high, low], behind)) = rest.split_first_chunk() {
            let length = usize::from(u16::from_be_bytes([high, low]));
            let value = behind.get(..length)?;
            match u16::from_be_bytes([kind, of]) {
                USERNAME => message.username = Some(value),
                USE_CANDIDATE => message.use_candidate = true,
                MESSAGE_INTEGRITY => message.integrity = Some(bytes.len() - rest.len()),
                _ => {}
            }
            rest = behind.get(length.next_multiple_of(4)..)?;
        }
        Some(message)
    }

    pub(crate) fn is_of(&self, password: &str) -> bool {
        let Some(at) = self.integrity else { return false };
        let mut covered = self.bytes[..at].to_vec();
        covered[2..4].copy_from_slice(&((at + 24 - HEADER) as u16).to_be_bytes());
        self.bytes.get(at + 4..at + 24) == Some(&hmac(password, &covered)[..])
    }
}

fn hmac(password: &str, bytes: &[u8]) -> [u8; 20] {
    let mut out = [0; 20];
    let key = PKey::hmac(password.as_bytes()).expect("any bytes are a key");
    let mut signer = Signer::new(MessageDigest::sha1(), &key).expect("libcrypto has SHA-1");
    signer.sign_oneshot(&mut out, bytes).expect("20 bytes are enough");
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| match sum & 1 {
            1 => sum >> 1 ^ 0xedb8_8320,
            _ => sum >> 1,
        })
    })
}
