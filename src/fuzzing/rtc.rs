//! Input at the UDP port and in descriptions, before any library parses it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use str0m::change::SdpAnswer;
use str0m::net::{Protocol, Receive};

use super::bytes::{Bytes, valid};
use crate::media::{AUDIO_OPUS, Codec, Kind, StreamInfo, VIDEO_H264, VIDEO_VP8};
use crate::rtc::crypto::provider;
use crate::rtc::demux::{self, Class, Stage, StunKind};
use crate::rtc::session::candidates::is_reachable;
use crate::rtc::{Config, Directions, Fanout, Input, LocalCandidate, Output, SessionId};

pub(super) const OFFER: &str = include_str!("../rtc/tests/chromium_offer.sdp");
pub(super) const CAMERA: &str = "192.0.2.1:4000";

pub(super) fn at(address: &str) -> SocketAddr {
    address.parse().expect("literal")
}

/// HMAC-SHA1 under `password` over the concatenation of parts.
pub(super) fn hmac(password: &str, parts: &[&[u8]]) -> [u8; 20] {
    provider().sha1_hmac_provider.sha1_hmac(password.as_bytes(), parts)
}

/// Appends an attribute to a STUN message and corrects its length.
pub(super) fn append(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend(kind.to_be_bytes());
    message.extend((value.len() as u16).to_be_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
    set_len(message, 0);
}

/// The length in the header: that of the body plus this many bytes.
fn set_len(message: &mut [u8], more: usize) {
    let len = (message.len() - 20 + more) as u16;
    message[2..4].copy_from_slice(&len.to_be_bytes());
}

/// Appends MESSAGE-INTEGRITY (RFC 8489, 14.5).
pub(super) fn sign(message: &mut Vec<u8>, password: &str) {
    set_len(message, 24);
    let mac = hmac(password, &[message]);
    append(message, 0x0008, &mac);
}

/// CRC-32 (ISO 3309), bit by bit.
fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// Appends FINGERPRINT (RFC 8489, 14.7).
pub(super) fn fingerprint(message: &mut Vec<u8>) {
    set_len(message, 8);
    let crc = crc32(message) ^ 0x5354_554e;
    append(message, 0x8028, &crc.to_be_bytes());
}

const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

/// STUN: accepted messages are well-formed, signatures follow the RFC, and the ICE agent can parse them.
///
/// The first byte decides which attributes are appended, so that checksums do not stop the fuzzer.
pub fn stun(data: &[u8]) {
    let mut bytes = Bytes(data);
    let (make, turn) = (bytes.u8(), bytes.u8());
    let mut message = bytes.0.to_vec();
    if message.len() >= 20 && make & 3 != 0 {
        message.resize(message.len().next_multiple_of(4), 0);
        if make & 1 != 0 {
            sign(&mut message, PASSWORD);
        }
        if make & 2 != 0 {
            fingerprint(&mut message);
        }
    }
    let Ok(stun) = demux::stun(&message) else { return };
    assert_eq!(demux::classify(&message), Some(Class::Stun));
    assert_eq!(stun.transaction, message[8..20]);
    let signed = attributes(&message);
    assert_eq!(stun.kind == StunKind::Request, message[..2] == [0, 1]);
    let user = stun.user.map(|(ours, theirs)| format!("{ours}:{theirs}"));
    assert_eq!(user.as_deref().map(str::as_bytes), signed.user);
    assert!(stun.kind != StunKind::Request || user.is_some());
    let right = signed.integrity.is_some_and(|at| {
        let mut before = message[..at].to_vec();
        set_len(&mut before, 24);
        message[at + 4..at + 24] == hmac(PASSWORD, &[&before])
    });
    assert_eq!(stun.is_signed_with(|parts| hmac(PASSWORD, parts)), right);
    assert!(!stun.is_signed_with(|parts| hmac("another password", parts)));
    let (from, to) = (at("198.51.100.7:5000"), at(CAMERA));
    assert!(
        Receive::new(Protocol::Udp, from, to, &message).is_ok(),
        "the ICE agent parses accepted messages"
    );
    if right {
        // Flips one signed bit.
        let end = signed.integrity.expect("it is right") * 8;
        let bit = (usize::from(turn) * 37) % end;
        let mut turned = message.clone();
        turned[bit / 8] ^= 0x80 >> (bit % 8);
        let passes = demux::stun(&turned).is_ok_and(|s| s.is_signed_with(|parts| hmac(PASSWORD, parts)));
        // The signature covers the length as adjusted for it; a wrong length makes the message invalid.
        assert!(!passes, "bit {bit} can be flipped");
    }
}

struct Attributes<'a> {
    user: Option<&'a [u8]>,
    integrity: Option<usize>,
}

/// An independent walk over the attributes of an accepted message.
fn attributes(message: &[u8]) -> Attributes<'_> {
    let mut found = Attributes { user: None, integrity: None };
    let mut at = 20;
    while at < message.len() {
        let kind = u16::from_be_bytes([message[at], message[at + 1]]);
        let len = usize::from(u16::from_be_bytes([message[at + 2], message[at + 3]]));
        let value = &message[at + 4..at + 4 + len];
        match kind {
            0x0006 if found.integrity.is_none() => {
                assert!(found.user.replace(value).is_none(), "one user");
                assert!(value.len() <= 513);
            }
            0x0008 if found.integrity.is_none() => found.integrity = Some(at),
            0x8028 => assert_eq!((at + 8, len), (message.len(), 4), "the fingerprint is last"),
            _ => {}
        }
        at += 4 + len.next_multiple_of(4);
    }
    assert_eq!(at, message.len(), "attributes fill the message");
    found
}

/// DTLS: accepted records are inside the datagram, in order, and only handshake records may be plaintext.
pub fn dtls(data: &[u8]) {
    let mut bytes = Bytes(data);
    let stage = bytes.pick(&[Stage::Handshake, Stage::Established, Stage::Open]);
    let datagram = bytes.0;
    let mut end = 0;
    let mut whole = true;
    for record in demux::records(datagram, stage) {
        assert!(whole, "nothing follows a record without a length");
        let Ok(record) = record else {
            // The record's own length determines where the next begins.
            let len = datagram.get(end + 11..end + 13).map(|l| usize::from(u16::from_be_bytes([l[0], l[1]])));
            match len.filter(|len| end + 13 + len <= datagram.len() && 13 + len <= 2000) {
                Some(len) => end += 13 + len,
                None => whole = false,
            }
            continue;
        };
        let begin = record.as_ptr() as usize - datagram.as_ptr() as usize;
        assert_eq!(begin, end, "records are adjacent");
        end += record.len();
        let (header, body) = record.split_at(13);
        assert_eq!(usize::from(u16::from_be_bytes([header[11], header[12]])), body.len());
        match (header[0], header[3..5] == [0, 0]) {
            (20, true) => assert_eq!((body, stage), (&[1][..], Stage::Handshake)),
            (22, true) => {
                assert_eq!(stage, Stage::Handshake);
                messages(body);
            }
            (21 | 22, false) => assert!(header[3..5] == [0, 1] && body.len() >= 24 + 2),
            (23, false) => assert!(stage == Stage::Open && header[3..5] == [0, 1] && body.len() >= 24 + 16),
            (kind, plain) => panic!("type {kind} accepted, plaintext: {plain}"),
        }
    }
    assert!(!whole || end == datagram.len());
}

/// Handshake messages fill a record.
fn messages(mut body: &[u8]) {
    assert!(!body.is_empty());
    while !body.is_empty() {
        let number = |at: usize| u32::from_be_bytes([0, body[at], body[at + 1], body[at + 2]]) as usize;
        let (len, offset, fragment) = (number(1), number(6), number(9));
        assert!(offset + fragment <= len && len <= 16_384);
        body = &body[12 + fragment..];
    }
}

/// RTP and RTCP: an accepted packet contains its header, its extension and a tag.
pub fn media(data: &[u8]) {
    let class = demux::classify(data);
    assert_eq!(class == Some(Class::Media), matches!(data.first(), Some(128..=191)));
    if !demux::media_is_whole(data) {
        return;
    }
    assert_eq!(data[0] >> 6, 2);
    if demux::is_rtcp(data) {
        assert!((192..=223).contains(&data[1]) || (64..=95).contains(&data[1]));
        return assert!(data.len() >= 22);
    }
    let mut left = data.len() - 12 - 4 * usize::from(data[0] & 15);
    if data[0] & 16 != 0 {
        let head = &data[data.len() - left..];
        left -= 4 + 4 * usize::from(u16::from_be_bytes([head[2], head[3]]));
    }
    assert!(left >= 10, "room for a tag");
}

pub(super) fn all_media() -> Vec<StreamInfo> {
    [(VIDEO_H264, Codec::H264), (VIDEO_VP8, Codec::Vp8), (AUDIO_OPUS, Codec::Opus)]
        .map(|(id, codec)| StreamInfo::new(id, codec))
        .to_vec()
}

fn fanout(now: Instant) -> Fanout {
    let host = LocalCandidate { base: at(CAMERA), advertised: None };
    let mut fanout = Fanout::new(Config { candidates: vec![host], ..Config::default() }, now);
    fanout.set_streams(&all_media());
    fanout
}

/// Advances the time; returns where datagrams were sent.
fn pass(fanout: &mut Fanout, from: Instant, time: Duration) -> BTreeSet<SocketAddr> {
    let (mut now, mut reached) = (from, BTreeSet::new());
    loop {
        while let Some(transmit) = fanout.poll_transmit(now) {
            reached.insert(transmit.path.remote);
        }
        match fanout.poll_output() {
            Output::Event(_) | Output::Wake(_) => {}
            Output::Timeout(at) if at <= from + time => {
                now = now.max(at);
                fanout.handle_input(Input::Timeout, now);
            }
            Output::Timeout(_) => return reached,
        }
    }
}

/// Descriptions: an answer has the offer's sections in their order and nothing that was not offered, a second parser
/// accepts it, and an accepted offer is accepted again, with the same answer. NUL separates several of them:
/// renegotiations. After a NUL at the beginning we receive, too, and videos in several encodings.
pub fn sdp(data: &[u8]) {
    let now = Instant::now();
    let mut fanout = fanout(now);
    let (receives, offers) = data.strip_prefix(&[0]).map_or((false, data), |offers| (true, offers));
    if receives {
        let both = [Kind::Audio, Kind::Video];
        fanout.set_directions(SessionId(1), Directions { simulcast: true, ..Directions::new(both, both) });
    }
    for offer in offers.split(|byte| *byte == 0).take(3) {
        let offer = valid(offer);
        let before = fanout.sessions().count();
        match fanout.accept(SessionId(1), offer, now) {
            Ok(answer) => {
                agrees(offer, &answer.sdp);
                encodings_agree(offer, &answer.sdp);
                assert_eq!(fanout.sessions().count(), 1);
                let again = fanout.accept(SessionId(1), offer, now).expect("taken before");
                assert!(lines(&again.sdp).eq(lines(&answer.sdp)), "{}\n{}", answer.sdp, again.sdp);
                assert_eq!(again.streams, answer.streams);
            }
            Err(refusal) => {
                assert_eq!(fanout.sessions().count(), before, "a refusal changes nothing");
                assert!(!refusal.to_string().contains(char::is_control), "{refusal}");
            }
        }
        assert_eq!(fanout.totals().panics, 0);
    }
    pass(&mut fanout, now, Duration::from_millis(10));
    assert_eq!(fanout.totals().panics, 0);
}

/// The lines of a description, but for the one with its version.
fn lines(sdp: &str) -> impl Iterator<Item = &str> {
    sdp.lines().filter(|line| !line.starts_with("o="))
}

/// Only encodings that are offered are received, and at most three of a video.
fn encodings_agree(offer: &str, answer: &str) {
    let mut count = 0;
    for line in answer.lines() {
        if line.starts_with("m=") {
            count = 0;
        }
        let Some(rid) = line.strip_prefix("a=rid:") else { continue };
        count += 1;
        let (rid, direction) = rid.split_once(' ').expect("a name and a direction");
        assert!(direction == "recv" && count <= 3, "{answer}");
        assert!(offer.contains(rid), "{answer}");
    }
}

/// The kind, port zero or not, mid and formats of each section.
fn sections(sdp: &str) -> Vec<(&str, &str, Vec<&str>)> {
    let mut all: Vec<(&str, &str, Vec<&str>)> = vec![];
    for line in sdp.lines() {
        if let Some(m) = line.strip_prefix("m=") {
            let mut words = m.split_whitespace();
            let kind = words.next().expect("m= has a kind");
            all.push((kind, "", words.skip(2).collect()));
        } else if let (Some(mid), Some(last)) = (line.strip_prefix("a=mid:"), all.last_mut()) {
            last.1 = mid.trim_end();
        }
    }
    all
}

fn agrees(offer: &str, answer: &str) {
    // A declined section repeats the formats of the offer, which may be anything.
    let declined = answer.lines().any(|l| l.starts_with("m=") && l.split(' ').nth(1) == Some("0"));
    // A section without a name has none in the answer, either (RFC 3264, 6), which that parser does not take.
    let nameless = sections(answer).iter().any(|(_, mid, _)| mid.is_empty());
    assert!(declined || nameless || SdpAnswer::from_sdp_string(answer).is_ok(), "{answer}");
    let plain = |text: &str| text.lines().all(|line| !line.contains(char::is_control));
    assert!(plain(answer) || !plain(offer), "{answer:?}");
    let (offered, answered) = (sections(offer), sections(answer));
    assert_eq!(offered.len(), answered.len(), "{answer}");
    for ((kind, mid, formats), (kind2, mid2, formats2)) in offered.iter().zip(&answered) {
        assert_eq!((kind, mid), (kind2, mid2), "{answer}");
        if ["audio", "video"].contains(kind) {
            // A section has at least one format (RFC 8866, 9). Where the offer lacks it, the declined one has `0`.
            let declined = formats.is_empty() && formats2[..] == ["0"];
            assert!(
                declined || formats2.iter().all(|pt| formats.contains(pt)),
                "{formats2:?} of {formats:?}"
            );
        }
    }
}

/// Candidates: regardless of their number and form, the session lives, and only named and allowed addresses are sent
/// to.
pub fn candidates(data: &[u8]) {
    let now = Instant::now();
    let mut fanout = fanout(now);
    let offer: String =
        OFFER.lines().filter(|l| !l.starts_with("a=candidate")).map(|l| format!("{l}\r\n")).collect();
    fanout.accept(SessionId(1), &offer, now).expect("a browser's offer");
    let mut named = BTreeSet::new();
    for line in data.split(|byte| *byte == b'\n').take(100) {
        let line = valid(line);
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [_, _, _, _, ip, port, ..] = words[..]
            && let (Ok(ip), Ok(port)) = (ip.parse::<IpAddr>(), port.parse::<u16>())
        {
            named.insert(SocketAddr::new(ip, port));
        }
        if let Err(refusal) = fanout.add_remote_candidate(SessionId(1), line) {
            assert!(!refusal.to_string().contains(char::is_control), "{refusal}");
        }
    }
    let reached = pass(&mut fanout, now, Duration::from_millis(500));
    for to in &reached {
        assert!(named.contains(to), "{to} was not named");
        assert!(is_reachable(*to, &[at(CAMERA)]) && to.is_ipv4(), "{to}");
        let IpAddr::V4(ip) = to.ip() else { panic!("we have no IPv6: {to}") };
        assert!(!ip.is_loopback() && !ip.is_multicast() && !ip.is_broadcast() && !ip.is_unspecified());
    }
    assert!(reached.len() <= 16, "{} addresses are checked", reached.len());
    let stats = fanout.stats(SessionId(1)).expect("it lives");
    assert!(stats.candidates_checked <= 16);
    assert_eq!(fanout.totals().panics, 0);
}
