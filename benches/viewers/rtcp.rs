//! RTCP as viewers write it and as the bound reads it (RFC 3550, RFC 4585, transport-wide congestion control).

use crate::clock::{MILLISECOND, Nanos, SECOND};

/// The viewer's own SSRC.
const VIEWER: u32 = 1;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const TRANSPORT: u8 = 205;
const PAYLOAD: u8 = 206;

/// Formats of feedback.
const NACK: u8 = 1;
const CONGESTION: u8 = 15;
const PLI: u8 = 1;

/// A step of the arrival times in feedback, and a step of the time that they are relative to.
const DELTA: i64 = 250_000;
const REFERENCE: i64 = 64 * MILLISECOND as i64;

/// The most packets in one feedback message, so that it stays below any MTU.
const MOST: usize = 300;

fn packet(format: u8, kind: u8, ssrc: u32, rest: &[u8]) -> Vec<u8> {
    let words = (rest.len() / 4 + 1) as u16;
    let mut out = vec![0x80 | format, kind];
    out.extend(words.to_be_bytes());
    out.extend(ssrc.to_be_bytes());
    out.extend(rest);
    out
}

fn feedback(format: u8, kind: u8, of: u32, rest: &[u8]) -> Vec<u8> {
    packet(format, kind, VIEWER, &[&of.to_be_bytes(), rest].concat())
}

pub(crate) fn pli(of: u32) -> Vec<u8> {
    feedback(PLI, PAYLOAD, of, &[])
}

/// `lost` in order.
pub(crate) fn nack(of: u32, lost: &[u16]) -> Vec<u8> {
    let (mut rest, mut lost) = (Vec::new(), lost.iter().copied().peekable());
    while let Some(first) = lost.next() {
        let mut others = 0u16;
        while let Some(next) = lost.next_if(|next| (1..=16).contains(&next.wrapping_sub(first))) {
            others |= 1 << (next.wrapping_sub(first) - 1);
        }
        rest.extend(first.to_be_bytes());
        rest.extend(others.to_be_bytes());
    }
    feedback(NACK, TRANSPORT, of, &rest)
}

pub(crate) struct Reception {
    pub(crate) ssrc: u32,
    /// Of 256 packets.
    pub(crate) fraction_lost: u8,
    pub(crate) lost: u32,
    pub(crate) highest: u32,
    /// The middle of the last sender report's time, and when it came.
    pub(crate) report: Option<(u32, Nanos)>,
}

pub(crate) fn receiver_report(reception: &Reception, now: Nanos) -> Vec<u8> {
    let (last, delay) = reception.report.map_or((0, 0), |(last, came)| {
        (last, (u128::from(now.saturating_sub(came)) * 65536 / u128::from(SECOND)) as u32)
    });
    let losses = u32::from(reception.fraction_lost) << 24 | reception.lost & 0xff_ffff;
    let jitter = 0;
    let words = [reception.ssrc, losses, reception.highest, jitter, last, delay];
    packet(1, RECEIVER_REPORT, VIEWER, &words.map(u32::to_be_bytes).concat())
}

pub(crate) fn sender_report(ssrc: u32, timestamp: u32, packets: u32, bytes: u32, now: Nanos) -> Vec<u8> {
    /// From 1900 to 1970.
    const EPOCH: u64 = 2_208_988_800;
    let seconds = (now / SECOND + EPOCH) as u32;
    let fraction = (((now % SECOND) << 32) / SECOND) as u32;
    let words = [seconds, fraction, timestamp, packets, bytes];
    packet(0, SENDER_REPORT, ssrc, &words.map(u32::to_be_bytes).concat())
}

/// Feedback about packets and their arrival, in order of their transport-wide numbers; `count` counts messages.
pub(crate) fn congestion(of: u32, arrivals: &[(u64, Nanos)], count: &mut u8) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for part in arrivals.chunks(MOST) {
        let [(base, first), .., (last, _)] = *part else {
            // One alone is both.
            let [(base, first)] = *part else { continue };
            out.push(one_congestion(of, part, (base, base), first, count));
            continue;
        };
        // A gap that long is a new beginning, which no browser reports as loss either.
        if last - base < 2000 {
            out.push(one_congestion(of, part, (base, last), first, count));
        }
    }
    out
}

fn one_congestion(
    of: u32,
    part: &[(u64, Nanos)],
    (base, last): (u64, u64),
    first: Nanos,
    count: &mut u8,
) -> Vec<u8> {
    let reference = first as i64 / REFERENCE;
    let mut clock = reference * REFERENCE;
    let (mut symbols, mut deltas) = (Vec::new(), Vec::new());
    let mut arrivals = part.iter().peekable();
    for number in base..=last {
        let Some((_, at)) = arrivals.next_if(|(it, _)| *it == number) else {
            symbols.push(0u16);
            continue;
        };
        let delta = ((*at as i64 - clock) / DELTA).clamp(i64::from(i16::MIN), i64::from(i16::MAX));
        clock += delta * DELTA;
        if let Ok(small) = u8::try_from(delta) {
            symbols.push(1);
            deltas.push(small);
        } else {
            symbols.push(2);
            deltas.extend((delta as i16).to_be_bytes());
        }
    }
    let mut rest = (base as u16).to_be_bytes().to_vec();
    rest.extend((symbols.len() as u16).to_be_bytes());
    rest.extend(((reference as u32) << 8 | u32::from(*count)).to_be_bytes());
    *count = count.wrapping_add(1);
    for seven in symbols.chunks(7) {
        // A vector of two-bit symbols.
        let symbols = (0..).zip(seven).fold(0, |all, (i, symbol)| all | symbol << (12 - 2 * i));
        rest.extend((0xc000 | symbols).to_be_bytes());
    }
    rest.extend(deltas);
    rest.resize(rest.len().next_multiple_of(4), 0);
    feedback(CONGESTION, TRANSPORT, of, &rest)
}

pub(crate) enum Report<'a> {
    /// The middle 32 bits of the time of a sender report.
    Sender(u32),
    Nack(&'a [u8]),
    Pli,
    Congestion(&'a [u8]),
    Other,
}

/// The packets of a compound.
pub(crate) fn reports(mut bytes: &[u8]) -> impl Iterator<Item = Report<'_>> {
    std::iter::from_fn(move || {
        let &[first, kind, high, low] = bytes.first_chunk()?;
        let len = 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
        let (packet, rest) = bytes.split_at_checked(len)?;
        bytes = rest;
        let body = packet.get(12..).unwrap_or_default();
        Some(match (kind, first & 0x1f) {
            (SENDER_REPORT, _) if packet.len() >= 20 => {
                Report::Sender(u32::from_be_bytes([packet[10], packet[11], packet[12], packet[13]]))
            }
            (TRANSPORT, NACK) => Report::Nack(body),
            (TRANSPORT, CONGESTION) => Report::Congestion(body),
            (PAYLOAD, PLI) => Report::Pli,
            _ => Report::Other,
        })
    })
}

/// The sequence numbers that a NACK asks for.
pub(crate) fn nacked(body: &[u8]) -> impl Iterator<Item = u16> {
    body.chunks_exact(4).flat_map(|four| {
        let (first, others) =
            (u16::from_be_bytes([four[0], four[1]]), u16::from_be_bytes([four[2], four[3]]));
        let others = (0..16).filter(move |i| others >> i & 1 == 1).map(move |i| first.wrapping_add(i + 1));
        std::iter::once(first).chain(others)
    })
}

/// Walks all packets of congestion feedback: each one's number and arrival, if it arrived. `None` at what can't be read.
pub(crate) fn arrivals(body: &[u8], mut each: impl FnMut(u16, Option<i64>)) -> Option<()> {
    let (head, mut rest) = body.split_first_chunk::<8>()?;
    let base = u16::from_be_bytes([head[0], head[1]]);
    let count = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let mut clock = i64::from(i32::from_be_bytes([head[4], head[5], head[6], head[7]]) >> 8) * REFERENCE;
    let mut symbols = [0u8; 1 << 11];
    let (symbols, mut known) = (symbols.get_mut(..count)?, 0);
    while known < count {
        let (chunk, behind) = rest.split_first_chunk()?;
        let chunk = u16::from_be_bytes(*chunk);
        rest = behind;
        let left = &mut symbols[known..];
        known += match chunk >> 14 {
            3 => {
                left.iter_mut().zip(0..7).for_each(|(symbol, i)| *symbol = (chunk >> (12 - 2 * i)) as u8 & 3);
                7
            }
            2 => {
                left.iter_mut().zip(0..14).for_each(|(symbol, i)| *symbol = (chunk >> (13 - i)) as u8 & 1);
                14
            }
            _ => {
                let run = usize::from(chunk & 0x1fff);
                left.iter_mut().take(run).for_each(|symbol| *symbol = (chunk >> 13) as u8 & 3);
                run.max(1)
            }
        };
    }
    let mut number = base;
    for symbol in symbols {
        let delta = match symbol {
            1 => {
                let (delta, behind) = rest.split_first()?;
                rest = behind;
                Some(i64::from(*delta))
            }
            2 => {
                let (delta, behind) = rest.split_first_chunk()?;
                rest = behind;
                Some(i64::from(i16::from_be_bytes(*delta)))
            }
            _ => None,
        };
        clock += delta.unwrap_or(0) * DELTA;
        each(number, delta.map(|_| clock));
        number = number.wrapping_add(1);
    }
    Some(())
}
