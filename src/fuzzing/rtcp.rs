//! RTCP: compounds as receivers send them, and SRTCP before it is opened.

use super::bytes::Bytes;
use crate::rtc::crypto::keys::{Keys, Profile};
use crate::rtc::crypto::open::{Opener, Unopened};
use crate::rtc::crypto::seal::Sealer;
use crate::rtc::send::feedback::{self, Feedback};
use crate::rtc::send::report::{self, SenderInfo};

/// What is reported, told flat: which kind, about which stream, and its numbers.
type Told = (&'static str, u32, Vec<i64>);

/// RTCP: all that is read is in the compound, as a second parser finds it there, and what we write is read again.
pub fn rtcp(data: &[u8]) {
    let read: Vec<Told> = feedback::read(data).map(|feedback| told(&feedback)).collect();
    assert_eq!(read, expected(data));
    let mut bytes = Bytes(data);
    let senders: Vec<SenderInfo> = (0..bytes.u8() % 40)
        .map(|_| {
            let mut word = || u32::from(bytes.u16()) << 16 | u32::from(bytes.u16());
            let ntp = u64::from(word()) << 32 | u64::from(word());
            SenderInfo { ssrc: word(), ntp, rtp: word(), packets: word(), octets: word() }
        })
        .collect();
    let leaving: Vec<u32> = (0..bytes.u8() % 40).map(|_| bytes.u16().into()).collect();
    let mut compound = vec![];
    report::write(&senders, bytes.text(), &leaving, &mut compound);
    assert_eq!(compound.len() % 4, 0);
    let mut gone = vec![];
    let mut reports = vec![];
    for feedback in feedback::read(&compound) {
        match feedback {
            Feedback::SenderReport { ssrc, ntp, rtp } => reports.push((ssrc, ntp, rtp)),
            Feedback::Bye { ssrcs } => gone.extend(ssrcs),
            other => panic!("{other:?} was not written"),
        }
    }
    assert!(senders.iter().map(|sender| (sender.ssrc, sender.ntp, sender.rtp)).eq(reports));
    assert_eq!(gone, leaving);
}

fn told(feedback: &Feedback<'_>) -> Told {
    match feedback.clone() {
        Feedback::Report { ssrc, lost, highest, jitter, last_sr, delay_since } => {
            assert!((0.0..1.0).contains(&lost));
            let words = [highest, jitter, last_sr, delay_since].map(i64::from);
            ("report", ssrc, [&[(lost * 256.0) as i64][..], &words].concat())
        }
        Feedback::Nack { ssrc, numbers } => ("nack", ssrc, numbers.map(i64::from).collect()),
        Feedback::Pli { ssrc } => ("pli", ssrc, vec![]),
        Feedback::Fir { ssrc, number } => ("fir", ssrc, vec![number.into()]),
        Feedback::Remb { bps, ssrcs } => {
            ("remb", 0, [bps as i64].into_iter().chain(ssrcs.map(i64::from)).collect())
        }
        Feedback::Transport(transport) => {
            let mut numbers = vec![];
            for (n, (number, arrival)) in transport.arrivals().enumerate() {
                assert_eq!(number, transport.base.wrapping_add(n as u16));
                numbers.push(arrival.unwrap_or(i64::MIN));
            }
            assert_eq!(numbers.len(), usize::from(transport.count));
            ("transport", transport.base.into(), numbers)
        }
        Feedback::SenderReport { ssrc, ntp, rtp } => {
            ("sender", ssrc, [(ntp >> 32) as u32, ntp as u32, rtp].map(i64::from).to_vec())
        }
        Feedback::Bye { ssrcs } => ("bye", 0, ssrcs.map(i64::from).collect()),
    }
}

/// Big-endian, of so many bytes.
fn number(bytes: &[u8], at: usize, len: usize) -> i64 {
    bytes[at..at + len].iter().fold(0, |sum, byte| sum << 8 | i64::from(*byte))
}

/// A reading of its own, by offsets and with copies.
fn expected(mut rest: &[u8]) -> Vec<Told> {
    let mut all = vec![];
    while rest.len() >= 4 && rest[0] >> 6 == 2 {
        let end = 4 + 4 * number(rest, 2, 2) as usize;
        if end > rest.len() {
            break;
        }
        let (packet, behind) = rest.split_at(end);
        let padding = if packet[0] & 32 == 0 { 0 } else { usize::from(packet[end - 1]) };
        if packet[0] & 32 != 0 && (end == 4 || padding == 0 || padding > end - 4) {
            break;
        }
        match content(packet[1], usize::from(packet[0] & 31), &packet[4..end - padding]) {
            Some(told) => all.extend(told),
            None => break,
        }
        rest = behind;
    }
    all
}

/// `None`: malformed.
fn content(kind: u8, count: usize, body: &[u8]) -> Option<Vec<Told>> {
    let ssrc = |at| number(body, at, 4) as u32;
    let begin = match kind {
        200 => 24,
        201 => 4,
        203 if body.len() >= 4 * count => {
            return Some(vec![("bye", 0, (0..count).map(|n| number(body, 4 * n, 4)).collect())]);
        }
        203 => return None,
        205 | 206 => return (body.len() >= 8).then(|| about(kind, count, ssrc(4), &body[8..]))?,
        _ => return Some(vec![]),
    };
    if body.len() < begin + 24 * count {
        return None;
    }
    let mut all = vec![];
    if kind == 200 {
        all.push(("sender", ssrc(0), [4, 8, 12].map(|at| number(body, at, 4)).to_vec()));
    }
    all.extend((0..count).map(|n| {
        let at = begin + 24 * n;
        let words = [8, 12, 16, 20].map(|word| number(body, at + word, 4));
        ("report", ssrc(at), [&[body[at + 4].into()][..], &words].concat())
    }));
    Some(all)
}

fn about(kind: u8, format: usize, ssrc: u32, body: &[u8]) -> Option<Vec<Told>> {
    match (kind, format) {
        (205, 1) => {
            let mut numbers = vec![];
            // Padding may leave a part of a word.
            for word in body.chunks_exact(4) {
                let (first, bits) = (number(word, 0, 2), number(word, 2, 2));
                numbers.push(first);
                numbers.extend((0..16).filter(|n| bits >> n & 1 == 1).map(|n| (first + n + 1) & 0xffff));
            }
            Some(vec![("nack", ssrc, numbers)])
        }
        (205, 15) => transport(body).map(|told| vec![told]),
        (206, 1) => Some(vec![("pli", ssrc, vec![])]),
        (206, 4) => {
            let requests = body.len() / 8;
            let request = |n: usize| ("fir", number(body, 8 * n, 4) as u32, vec![body[8 * n + 4].into()]);
            Some((0..requests).map(request).collect())
        }
        (206, 15) if body.starts_with(b"REMB") => {
            if body.len() < 8 || body.len() < 8 + 4 * usize::from(body[4]) {
                return None;
            }
            let word = number(body, 5, 3);
            let bps = u128::from(word as u32 & 0x3_ffff) << (word >> 18);
            let bps = u64::try_from(bps).unwrap_or(u64::MAX) as i64;
            let ssrcs = (0..usize::from(body[4])).map(|n| number(body, 8 + 4 * n, 4));
            Some(vec![("remb", 0, [bps].into_iter().chain(ssrcs).collect())])
        }
        _ => Some(vec![]),
    }
}

fn transport(body: &[u8]) -> Option<Told> {
    if body.len() < 8 {
        return None;
    }
    let count = number(body, 2, 2) as usize;
    let mut statuses = vec![];
    let mut at = 8;
    while statuses.len() < count {
        if at + 2 > body.len() {
            return None;
        }
        let chunk = number(body, at, 2);
        at += 2;
        match chunk >> 14 {
            0 | 1 => statuses.extend(vec![chunk >> 13; (chunk & 0x1fff) as usize]),
            2 => statuses.extend((0..14).rev().map(|bit| chunk >> bit & 1)),
            _ => statuses.extend((0..7).rev().map(|pair| chunk >> (2 * pair) & 3)),
        }
    }
    let reference = number(body, 4, 3);
    let mut time = (reference - if reference >= 1 << 23 { 1 << 24 } else { 0 }) * 64_000;
    let mut arrivals = vec![];
    for status in &statuses[..count] {
        let len = *status as usize;
        if *status == 3 || at + len > body.len() {
            return None;
        }
        if *status == 0 {
            arrivals.push(i64::MIN);
            continue;
        }
        let delta = number(body, at, len);
        time += 250 * if *status == 2 { (delta as u16 as i16).into() } else { delta };
        arrivals.push(time);
        at += len;
    }
    (count > 0).then_some(("transport", number(body, 0, 2) as u32, arrivals))
}

/// No two inputs share keys: a fuzzer learns packets from the comparisons of one, which would be authentic in another. In
/// tests no two runs do either, since what tests seal is remembered.
pub(super) fn material(profile: Profile, data: &[u8]) -> Vec<u8> {
    #[cfg(test)]
    let run = {
        static RUNS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        RUNS.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    };
    #[cfg(not(test))]
    let run = 0_u64;
    // FNV-1a.
    let sum = data
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let text = [sum.to_be_bytes(), run.to_be_bytes()].concat();
    text.into_iter().cycle().take(profile.material_len()).collect()
}

/// SRTCP: what was sealed is opened once, in any order within the window; anything else is not, and leaves nothing.
///
/// The bytes say what comes next: a packet is sealed, one arrives, one is changed on its way, or strange bytes come.
pub fn srtcp(data: &[u8]) {
    let mut bytes = Bytes(data);
    let profile = bytes.pick(&[Profile::Aes128CmSha1, Profile::Aes128Gcm, Profile::Aes256Gcm]);
    let material = material(profile, data);
    let mut sealer = Sealer::new(&Keys::new(profile, material.clone(), true));
    let mut opener = Opener::new(&Keys::new(profile, material, false));
    let mut sent: Vec<Sent> = vec![];
    // The newest of each of eight streams, which are fewer than an opener remembers.
    let mut newest = [None; 8];
    let mut out = vec![];
    for _ in 0..200 {
        if bytes.is_empty() {
            break;
        }
        match bytes.u8() % 4 {
            0 => {
                let stream = usize::from(bytes.u8() % 8);
                let plain = [&[0x80, 200, 0, 1, 0, 0, 0, stream as u8], bytes.piece()].concat();
                let mut packet = vec![];
                sealer.seal_rtcp(&plain, &mut packet).expect("indexes are left");
                assert_eq!(packet[..8], plain[..8]);
                sent.push(Sent { stream, plain, packet, opened: false });
            }
            1 => {
                let Some(n) = usize::from(bytes.u8()).checked_rem(sent.len()) else { continue };
                let one = &mut sent[n];
                let newest = &mut newest[one.stream];
                let is_old = newest.is_some_and(|newest| n + 128 <= newest);
                let result = opener.open_rtcp(&one.packet, &mut out);
                if one.opened || is_old {
                    assert_eq!(result, Err(Unopened::Replayed));
                } else {
                    assert_eq!(result, Ok(&*one.plain));
                    one.opened = true;
                    *newest = (*newest).max(Some(n));
                }
            }
            2 => {
                let Some(n) = usize::from(bytes.u8()).checked_rem(sent.len()) else { continue };
                let mut turned = sent[n].packet.clone();
                let bit = usize::from(bytes.u16()) % (8 * turned.len());
                turned[bit / 8] ^= 0x80 >> (bit % 8);
                assert!(opener.open_rtcp(&turned, &mut out).is_err(), "bit {bit} can be turned");
                assert!(out.is_empty());
            }
            _ => {
                let strange = bytes.piece();
                let result = opener.open_rtcp(strange, &mut out).map(<[u8]>::len);
                let short = strange.len() < 8 + 4 + sealer.overhead();
                assert_eq!(result == Err(Unopened::Short), short, "{result:?}");
                assert!(result.is_err());
                assert!(out.is_empty());
            }
        }
    }
}

struct Sent {
    stream: usize,
    plain: Vec<u8>,
    packet: Vec<u8>,
    opened: bool,
}
