//! Reads what strangers send, before any library does.
//!
//! Everybody can send to our UDP port, and what they send must not reach code that has not been asked
//! for it: STUN and DTLS libraries have ended processes and calls over a datagram that was not even
//! authentic. Each kind of datagram (RFC 7983) is checked here as far as it can be without its keys;
//! what can't be genuine is dropped and counted. Functions of their arguments alone; whom a datagram
//! belongs to is decided by [`Paths`](paths::Paths).

pub(in crate::rtc) mod paths;

use super::crypto::sctp;

/// What the first byte tells (RFC 7983 7). ZRTP and TURN channels are nothing that is spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Stun,
    Dtls,
    /// RTP or RTCP, which [`is_rtcp`] tells apart.
    Media,
}

pub(crate) fn classify(datagram: &[u8]) -> Option<Class> {
    match datagram.first()? {
        0..=3 => Some(Class::Stun),
        20..=63 => Some(Class::Dtls),
        128..=191 => Some(Class::Media),
        _ => None,
    }
}

/// The 96 bits that a check and its answer share.
pub(crate) type Transaction = [u8; 12];

/// The STUN messages that ICE needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StunKind {
    Request,
    Indication,
    Success,
}

/// Why a STUN message is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadStun {
    /// No header, another length than the datagram's, or no magic cookie.
    Header,
    /// An error response, or no Binding message.
    Kind,
    /// An attribute overruns the message, has a length that its type can't have, comes twice, or must be
    /// understood (RFC 8489 14) and has no place in a connectivity check.
    Attribute,
    /// USERNAME is missing in a request, or not of the form `ours:theirs` in at most 513 bytes.
    Username,
    /// MESSAGE-INTEGRITY is missing where ICE needs it, or not 20 bytes.
    Integrity,
    /// FINGERPRINT is not the CRC-32 of the message, or not the last attribute.
    Fingerprint,
}

/// A STUN message that is well-formed; who sent it is not known before [`Stun::is_signed_with`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stun<'a> {
    pub(crate) kind: StunKind,
    pub(crate) transaction: Transaction,
    /// USERNAME: the receiver's half and the sender's (RFC 8445 7.2.2). Requests have it.
    pub(crate) user: Option<(&'a str, &'a str)>,
    message: &'a [u8],
    /// Where MESSAGE-INTEGRITY begins. Requests and success responses have it.
    integrity: Option<usize>,
}

const STUN_HEADER: usize = 20;
const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// A check is some 100 bytes; RFC 8489 6.1 keeps messages within the MTU of the path.
const MAX_STUN: usize = 1500;
/// Both halves of USERNAME have at most 256 characters (RFC 8839 5.4), and a colon between them.
const MAX_USERNAME: usize = 513;

mod attribute {
    pub(super) const USERNAME: u16 = 0x0006;
    pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(super) const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
    pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(super) const PRIORITY: u16 = 0x0024;
    pub(super) const USE_CANDIDATE: u16 = 0x0025;
    pub(super) const ALTERNATE_SERVER: u16 = 0x8023;
    pub(super) const FINGERPRINT: u16 = 0x8028;
    pub(super) const ICE_CONTROLLED: u16 = 0x8029;
    pub(super) const ICE_CONTROLLING: u16 = 0x802a;
    pub(super) const NETWORK_COST: u16 = 0xc057;
}

/// Reads a STUN message as far as ICE is concerned (RFC 8489 5 and 14, RFC 8445 7).
pub(crate) fn stun(datagram: &[u8]) -> Result<Stun<'_>, BadStun> {
    if !(STUN_HEADER..=MAX_STUN).contains(&datagram.len()) {
        return Err(BadStun::Header);
    }
    let (header, body) = datagram.split_at(STUN_HEADER);
    if body.len() % 4 != 0 || usize::from(u16_at(header, 2)) != body.len() || header[4..8] != MAGIC {
        return Err(BadStun::Header);
    }
    let kind = match u16_at(header, 0) {
        0x0001 => StunKind::Request,
        0x0011 => StunKind::Indication,
        0x0101 => StunKind::Success,
        _ => return Err(BadStun::Kind),
    };
    let mut message = Stun {
        kind,
        transaction: header[8..20].try_into().expect("12 bytes of 20"),
        user: None,
        message: datagram,
        integrity: None,
    };
    let mut seen = Seen::default();
    let mut at = STUN_HEADER;
    while let Some([t0, t1, l0, l1]) = datagram.get(at..).and_then(<[u8]>::first_chunk) {
        let kind = u16::from_be_bytes([*t0, *t1]);
        let len = usize::from(u16::from_be_bytes([*l0, *l1]));
        // The length of all is a multiple of 4, so what fits does so with its padding.
        let value = datagram.get(at + 4..at + 4 + len).ok_or(BadStun::Attribute)?;
        if kind == attribute::FINGERPRINT {
            let crc: [u8; 4] = value.try_into().map_err(|_| BadStun::Attribute)?;
            let right = at + 8 == datagram.len()
                && u32::from_be_bytes(crc) == crc32(&datagram[..at]) ^ FINGERPRINT_XOR;
            if !right {
                return Err(BadStun::Fingerprint);
            }
        } else if message.integrity.is_none() {
            // What follows MESSAGE-INTEGRITY is not authentic and ignored (RFC 8489 14.5).
            message.take(kind, value, at, &mut seen)?;
        }
        at += 4 + len.next_multiple_of(4);
    }
    message.check(seen)?;
    Ok(message)
}

/// Attributes that may come once; a library may heed the first or the last of several.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    user: bool,
    mapped: bool,
    priority: bool,
    nomination: bool,
    role: bool,
}

impl<'a> Stun<'a> {
    fn take(&mut self, kind: u16, value: &'a [u8], at: usize, seen: &mut Seen) -> Result<(), BadStun> {
        let once = |seen: &mut bool, fits: bool| {
            let first = !std::mem::replace(seen, true);
            if first && fits { Ok(()) } else { Err(BadStun::Attribute) }
        };
        match kind {
            attribute::USERNAME => {
                once(&mut seen.user, true)?;
                if value.len() > MAX_USERNAME {
                    return Err(BadStun::Username);
                }
                let name = std::str::from_utf8(value).map_err(|_| BadStun::Username)?;
                let halves =
                    name.split_once(':').filter(|(ours, theirs)| !ours.is_empty() && !theirs.is_empty());
                self.user = Some(halves.ok_or(BadStun::Username)?);
                Ok(())
            }
            attribute::MESSAGE_INTEGRITY => {
                if value.len() != 20 {
                    return Err(BadStun::Integrity);
                }
                self.integrity = Some(at);
                Ok(())
            }
            attribute::XOR_MAPPED_ADDRESS => {
                // Family 1 is IPv4, family 2 IPv6 (RFC 8489 14.1).
                let fits = matches!((value.get(1), value.len()), (Some(1), 8) | (Some(2), 20));
                once(&mut seen.mapped, fits)
            }
            attribute::PRIORITY => once(&mut seen.priority, value.len() == 4),
            attribute::USE_CANDIDATE => once(&mut seen.nomination, value.is_empty()),
            // One or the other.
            attribute::ICE_CONTROLLED | attribute::ICE_CONTROLLING => once(&mut seen.role, value.len() == 8),
            attribute::NETWORK_COST if value.len() == 4 => Ok(()),
            attribute::MESSAGE_INTEGRITY_SHA256 => Ok(()),
            attribute::NETWORK_COST | attribute::ALTERNATE_SERVER => Err(BadStun::Attribute),
            // From 0x8000 on what is not understood is ignored.
            0x8000.. => Ok(()),
            _ => Err(BadStun::Attribute),
        }
    }

    fn check(&self, seen: Seen) -> Result<(), BadStun> {
        match self.kind {
            StunKind::Request if self.user.is_none() => Err(BadStun::Username),
            StunKind::Request | StunKind::Success if self.integrity.is_none() => Err(BadStun::Integrity),
            StunKind::Request if !seen.priority || seen.mapped => Err(BadStun::Attribute),
            StunKind::Success if !seen.mapped => Err(BadStun::Attribute),
            _ => Ok(()),
        }
    }

    /// Whether MESSAGE-INTEGRITY is the HMAC-SHA1 of what precedes it (RFC 8489 14.5). `hmac` computes it
    /// over the concatenation of its parts, under the password.
    pub(crate) fn is_signed_with(&self, hmac: impl FnOnce(&[&[u8]]) -> [u8; 20]) -> bool {
        let Some(at) = self.integrity else { return false };
        let Some(mac) = self.message.get(at + 4..at + 24) else { return false };
        // The length it was computed with is that of a message which ends with this attribute.
        let Ok(len) = u16::try_from(at + 24 - STUN_HEADER) else { return false };
        let ours = hmac(&[&self.message[..2], &len.to_be_bytes(), &self.message[4..at]]);
        ours.iter().zip(mac).fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }
}

/// The transaction of a connectivity check of ours on its way out; `None` for anything else.
pub(super) fn check_sent(datagram: &[u8]) -> Option<Transaction> {
    let is_request = datagram.starts_with(&[0, 1]) && datagram.get(4..8) == Some(&MAGIC);
    is_request.then(|| datagram.get(8..20)?.try_into().ok()).flatten()
}

const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// CRC-32 of ISO 3309 (RFC 8489 14.7), by half bytes: a table of 64 bytes, and fast enough for 100.
fn crc32(data: &[u8]) -> u32 {
    const TABLE: [u32; 16] = {
        let mut table = [0; 16];
        let mut i = 0;
        while i < 16 {
            let mut crc = i as u32;
            let mut bit = 0;
            while bit < 4 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
                bit += 1;
            }
            table[i] = crc;
            i += 1;
        }
        table
    };
    !data.iter().fold(!0, |crc: u32, byte| {
        let crc = (crc >> 4) ^ TABLE[((crc ^ u32::from(*byte)) & 15) as usize];
        (crc >> 4) ^ TABLE[((crc ^ u32::from(*byte >> 4)) & 15) as usize]
    })
}

fn u16_at(data: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([data[at], data[at + 1]])
}

/// How far a session's DTLS handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Plaintext (epoch 0) is to be expected.
    Handshake,
    /// Both sides have proven their keys.
    Established,
    /// The same, and data is taken.
    Open,
}

/// Why a DTLS record is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadRecord {
    /// Its header or what it announces is not all there, or it is longer than any that comes over UDP.
    /// Nothing behind it can be found.
    Truncated,
    /// No content type or version of DTLS 1.2.
    Kind,
    /// Too short to be encrypted.
    Short,
    /// An epoch that can't be: plaintext after the handshake, or more than one change of keys.
    Epoch,
    /// Plaintext that no handshake has: alerts, data, handshake messages whose lengths contradict
    /// themselves.
    Plaintext,
    /// Encrypted application data that nothing takes here.
    Data,
}

const RECORD_HEADER: usize = 13;
/// Handshakes are cut to the MTU, and nothing else comes.
const MAX_RECORD: usize = 2000;
/// A handshake message: type, length, number, offset and length of the fragment (RFC 6347 4.2.2).
const HANDSHAKE_HEADER: usize = 12;
/// OpenSSL's own bound for a message other than certificates is 16 KiB and more; over it, it sends a fatal
/// alert. A browser's certificate has less than 1 KiB.
const MAX_HANDSHAKE: usize = 16_384;
/// What encryption adds with AES-GCM (RFC 5288 3), the only cipher that is negotiated: an explicit nonce of
/// 8 bytes and a tag of 16. OpenSSL sends a fatal alert for what is shorter, instead of dropping it.
const EXPANSION: usize = 8 + 16;
/// A level and a description (RFC 5246 7.2).
const ALERT: usize = 2;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT_RECORD: u8 = 21;
const HANDSHAKE_RECORD: u8 = 22;
const DATA_RECORD: u8 = 23;

/// The DTLS records of a datagram one by one, each with its header, or why it is to be dropped
/// (RFC 6347 4.1).
pub(crate) fn records(datagram: &[u8], stage: Stage) -> impl Iterator<Item = Result<&[u8], BadRecord>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let len = rest.get(11..RECORD_HEADER).map(|len| RECORD_HEADER + usize::from(u16_at(len, 0)));
        match len.filter(|len| *len <= MAX_RECORD).and_then(|len| rest.split_at_checked(len)) {
            Some((record, behind)) => {
                rest = behind;
                Some(check_record(record, stage).map(|()| record))
            }
            None => {
                rest = &[];
                Some(Err(BadRecord::Truncated))
            }
        }
    })
}

fn check_record(record: &[u8], stage: Stage) -> Result<(), BadRecord> {
    let (header, body) = record.split_at(RECORD_HEADER);
    let (kind, version, epoch) = (header[0], u16_at(header, 1), u16_at(header, 3));
    // 24 is heartbeat (RFC 6520), 25 a connection id (RFC 9146); neither is negotiated here.
    if !(CHANGE_CIPHER_SPEC..=DATA_RECORD).contains(&kind) || !matches!(version, 0xfefd | 0xfeff) {
        return Err(BadRecord::Kind);
    }
    match (epoch, stage) {
        // A lost last flight is repeated too, but it ends with an encrypted Finished, by which the
        // other side knows that it has to repeat its own.
        (0, Stage::Established | Stage::Open) => Err(BadRecord::Epoch),
        (0, Stage::Handshake) => match kind {
            CHANGE_CIPHER_SPEC if body == [1] => Ok(()),
            HANDSHAKE_RECORD if is_handshake(body) => Ok(()),
            // An alert in plaintext is anybody's. If it was the peer's, the call ends by its timeout.
            _ => Err(BadRecord::Plaintext),
        },
        (1, _) => {
            let least = match kind {
                ALERT_RECORD => ALERT,
                HANDSHAKE_RECORD => HANDSHAKE_HEADER,
                DATA_RECORD if stage == Stage::Open => sctp::MIN_PACKET,
                DATA_RECORD => return Err(BadRecord::Data),
                // Keys change once.
                _ => return Err(BadRecord::Epoch),
            };
            if version != 0xfefd {
                Err(BadRecord::Kind)
            } else if body.len() < EXPANSION + least {
                Err(BadRecord::Short)
            } else {
                Ok(())
            }
        }
        _ => Err(BadRecord::Epoch),
    }
}

/// Whether a datagram or record begins with encrypted application data.
pub(super) fn is_data(record: &[u8]) -> bool {
    record.first() == Some(&DATA_RECORD)
}

/// The random number of a ClientHello in plaintext (RFC 6347, 4.2.1), by which a client's handshake is told from
/// another's.
pub(super) fn client_random(record: &[u8]) -> Option<[u8; 32]> {
    const CLIENT_HELLO: u8 = 1;
    let body = record.get(RECORD_HEADER..).filter(|_| record[0] == HANDSHAKE_RECORD)?;
    let first = body.first() == Some(&CLIENT_HELLO) && body.get(6..9) == Some(&[0, 0, 0]);
    // After the version.
    body.get(HANDSHAKE_HEADER + 2..HANDSHAKE_HEADER + 34).filter(|_| first)?.try_into().ok()
}

/// Whether a plaintext record is made of handshake messages, or one fragment of one, that agree with
/// themselves.
fn is_handshake(mut body: &[u8]) -> bool {
    if body.is_empty() {
        return false;
    }
    while let Some((header, rest)) = body.split_first_chunk::<HANDSHAKE_HEADER>() {
        let u24 = |at: usize| header[at..at + 3].iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
        let (len, offset, fragment) = (u24(1), u24(6), u24(9));
        if len > MAX_HANDSHAKE || offset + fragment > len {
            return false;
        }
        let Some(behind) = rest.get(fragment..) else { return false };
        body = behind;
    }
    body.is_empty()
}

/// RTCP, and not RTP (RFC 5761 4).
pub(crate) fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.get(1).is_some_and(|kind| (64..96).contains(&(kind & 0x7f)))
}

/// The shortest authentication tag: HMAC-SHA1 cut to 80 bits (RFC 3711 5.2); GCM's has 16 bytes.
const TAG: usize = 10;

/// Whether RTP or RTCP is long enough to be encrypted and whole (RFC 3550 5.1 and 6.4, RFC 3711 3.1 and 3.4).
pub(crate) fn media_is_whole(datagram: &[u8]) -> bool {
    let [first, ..] = datagram else { return false };
    if first >> 6 != 2 {
        return false;
    }
    if is_rtcp(datagram) {
        // One header with its SSRC, then the index and the tag.
        return datagram.len() >= 8 + 4 + TAG;
    }
    let sources = 12 + 4 * usize::from(first & 15);
    let extension = match (first & 16 != 0, datagram.get(sources..sources + 4)) {
        (false, _) => 0,
        (true, Some(head)) => 4 + 4 * usize::from(u16_at(head, 2)),
        (true, None) => return false,
    };
    datagram.len() >= sources + extension + TAG
}

#[cfg(test)]
mod tests;
