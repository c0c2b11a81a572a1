//! Joins Opus frames into one packet (RFC 6716, 3.2): with three frames of 20 ms, a third of the packets is left, and
//! the delay grows by 40 ms. Where video is sent too, a packet waits for its next frame, to leave in the same system call.

use std::sync::Arc;
use std::time::Duration;

use super::clock::Timestamp;
use super::cut::{MAX_PAYLOAD, Payloads};

/// The maximum duration of a packet (RFC 6716, 3.2.5, R5).
const MAX: Duration = Duration::from_millis(120);
/// How much longer than configured a packet may be to leave with a frame of video: the time between 25 frames a second.
const MAX_WAIT: Duration = Duration::from_millis(40);
/// Packets that are this short by configuration are not to be later.
const PROMPT: Duration = Duration::from_millis(20);
/// The bits of the configuration and the stereo flag, which must be equal in joined frames.
const SAME: u8 = 0xfc;

/// Collects the frames of a stream until they fill a packet.
#[derive(Debug, Default)]
pub(in crate::rtc) struct Joiner {
    waiting: Vec<(Arc<[u8]>, Timestamp)>,
}

impl Joiner {
    /// Takes a packet from the encoder; `next_video` is the time until the next frame of video, if one is expected.
    /// Returns the packets that this completes, in order: one that lasts `per_packet`, unless it waits for that frame;
    /// the waiting frames if this one cannot follow them; and packets that cannot be joined, unchanged.
    pub(in crate::rtc) fn push(
        &mut self,
        packet: &Arc<[u8]>,
        timestamp: Timestamp,
        per_packet: Duration,
        next_video: Option<Duration>,
    ) -> Vec<(Payloads, Timestamp)> {
        let Some(toc) = packet.first().copied() else { return vec![] };
        let per_packet = per_packet.min(MAX);
        let mut out = vec![];
        let ticks = frame_us(toc) * 48 / 1000;
        let follows = self.waiting.last().is_none_or(|(last, at)| {
            last.first().is_some_and(|first| first & SAME == toc & SAME)
                && timestamp.ticks == at.ticks.wrapping_add(ticks)
        });
        let bytes: usize = self.waiting.iter().map(|(packet, _)| packet.len() + 2).sum();
        if !follows || toc & 3 != 0 || bytes + packet.len() + 2 > MAX_PAYLOAD {
            out.extend(self.flush());
        }
        self.waiting.push((packet.clone(), timestamp));
        let lasts = self.lasts();
        let waits = self.waiting.len() > 1
            && per_packet > PROMPT
            && next_video.is_some_and(|after| lasts + after < (per_packet + MAX_WAIT).min(MAX));
        if toc & 3 != 0 || lasts >= per_packet && !waits {
            out.extend(self.flush());
        }
        out
    }

    /// Returns the packet that can leave with a frame of video now, if one lasts `per_packet`.
    pub(in crate::rtc) fn handle_video(&mut self, per_packet: Duration) -> Vec<(Payloads, Timestamp)> {
        if self.waiting.is_empty() || self.lasts() < per_packet.min(MAX) { vec![] } else { self.flush() }
    }

    /// How long the waiting frames last.
    fn lasts(&self) -> Duration {
        let each = |(packet, _): &(Arc<[u8]>, Timestamp)| packet.first().map_or(0, |toc| frame_us(*toc));
        us(self.waiting.iter().map(each).sum())
    }

    fn flush(&mut self) -> Vec<(Payloads, Timestamp)> {
        let waiting = std::mem::take(&mut self.waiting);
        let packets: Vec<&[u8]> = waiting.iter().map(|(packet, _)| &**packet).collect();
        match (join(&packets), waiting.first()) {
            (Some(joined), Some((_, first))) => vec![(vec![joined.into()], *first)],
            _ => waiting.into_iter().map(|(packet, at)| (vec![packet], at)).collect(),
        }
    }
}

/// Joins packets of one frame each. `None` if that is impossible: they differ in configuration, already have several
/// frames, or last longer than 120 ms in total.
fn join(packets: &[&[u8]]) -> Option<Vec<u8>> {
    let toc = *packets.first()?.first()?;
    let joinable = |p: &&[u8]| p.first().is_some_and(|first| first & SAME == toc & SAME && first & 3 == 0);
    let count = u8::try_from(packets.len()).ok().filter(|count| (2..=48).contains(count))?;
    if !packets.iter().all(joinable) || us(u32::from(count) * frame_us(toc)) > MAX {
        return None;
    }
    // Code 3: a number of frames with different sizes, without padding.
    let mut out = vec![toc & SAME | 3, 0x80 | count];
    for packet in &packets[..packets.len() - 1] {
        let len = packet.len() - 1;
        if len < 252 {
            out.push(len as u8);
        } else {
            // RFC 6716, 3.2.1: sizes from 252 on take two bytes.
            let first = 252 + (len - 252) % 4;
            out.extend_from_slice(&[first as u8, u8::try_from((len - first) / 4).ok()?]);
        }
    }
    for packet in packets {
        out.extend_from_slice(&packet[1..]);
    }
    Some(out)
}

/// The duration of a packet's frames; `None` if it has none, or more than a packet may have (RFC 6716, 3.2).
#[cfg(feature = "recv")]
pub(in crate::rtc) fn duration(packet: &[u8]) -> Option<Duration> {
    let toc = *packet.first()?;
    let count = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 63),
    };
    let lasts = us(count * frame_us(toc));
    (!lasts.is_zero() && lasts <= MAX).then_some(lasts)
}

fn us(us: u32) -> Duration {
    Duration::from_micros(us.into())
}

/// The duration of a frame with this first byte, in µs (RFC 6716, table 2).
fn frame_us(toc: u8) -> u32 {
    let config = toc >> 3;
    match config {
        0..12 => [10_000, 20_000, 40_000, 60_000][usize::from(config % 4)],
        12..16 => [10_000, 20_000][usize::from(config % 2)],
        _ => [2_500, 5_000, 10_000, 20_000][usize::from(config % 4)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CELT, fullband, 20 ms, mono.
    const TOC: u8 = 31 << 3;

    fn packet(toc: u8, len: usize) -> Vec<u8> {
        std::iter::once(toc).chain((0..len).map(|n| n as u8)).collect()
    }

    /// Splits a packet of code 3, as a decoder does.
    fn frames(packet: &[u8]) -> Vec<Vec<u8>> {
        assert_eq!((packet[0] & 3, packet[1] & 0xc0), (3, 0x80));
        let count = usize::from(packet[1] & 63);
        let mut at = 2;
        let mut sizes = vec![];
        for _ in 1..count {
            let mut size = usize::from(packet[at]);
            at += 1;
            if size >= 252 {
                size += 4 * usize::from(packet[at]);
                at += 1;
            }
            sizes.push(size);
        }
        sizes.push(packet.len() - at - sizes.iter().sum::<usize>());
        let mut out = vec![];
        for size in sizes {
            out.push(packet[at..at + size].to_vec());
            at += size;
        }
        out
    }

    #[test]
    fn joined_frames_are_those_that_were_given() {
        for sizes in [&[40, 50, 60][..], &[251, 252, 1275 - 1], &[0, 300, 0], &[255, 256, 257, 1019], &[1, 2]]
        {
            let packets: Vec<Vec<u8>> = sizes.iter().map(|size| packet(TOC, *size)).collect();
            let slices: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
            let joined = join(&slices).expect("they can be");
            assert_eq!(joined[0] & SAME, TOC);
            let expected: Vec<Vec<u8>> = packets.iter().map(|p| p[1..].to_vec()).collect();
            assert_eq!(frames(&joined), expected, "{sizes:?}");
        }
    }

    /// The output for packets of these sizes and RTP times, without video: the number of frames in each packet, and its
    /// time.
    fn joined(packets: &[(u8, usize, u32)], per_packet: u64) -> Vec<(u8, u32)> {
        let now = std::time::Instant::now();
        let mut joiner = Joiner::default();
        let push = |(toc, len, ticks): &(u8, usize, u32)| {
            let timestamp = Timestamp { ticks: *ticks, wallclock: now };
            joiner.push(&packet(*toc, *len).into(), timestamp, Duration::from_millis(per_packet), None)
        };
        let out: Vec<(Payloads, Timestamp)> = packets.iter().flat_map(push).collect();
        out.iter().map(count).collect()
    }

    /// The number of frames in a packet, and its time.
    fn count((payloads, at): &(Payloads, Timestamp)) -> (u8, u32) {
        let packet = &payloads[0];
        (if packet[0] & 3 == 3 { packet[1] & 63 } else { 1 }, at.ticks)
    }

    /// The packets beside video whose frames come at these times in ms, and each was expected when the one before had
    /// come: when each leaves, the number of its frames, and its time.
    fn beside(video: &[u64], per_packet: u64, until: u64) -> Vec<(u64, u8, u32)> {
        let (now, per_packet) = (std::time::Instant::now(), Duration::from_millis(per_packet));
        let mut joiner = Joiner::default();
        let mut out = vec![];
        for at in 0..until {
            // A frame of 20 ms is complete at its end.
            if at > 0 && at % 20 == 0 {
                let timestamp = Timestamp { ticks: (at as u32 - 20) * 48, wallclock: now };
                let next = video.iter().find(|next| **next > at).map(|next| Duration::from_millis(next - at));
                let packets = joiner.push(&packet(TOC, 50).into(), timestamp, per_packet, next);
                out.extend(packets.iter().map(count).map(|(frames, ticks)| (at, frames, ticks)));
            }
            if video.contains(&at) {
                let packets = joiner.handle_video(per_packet);
                out.extend(packets.iter().map(count).map(|(frames, ticks)| (at, frames, ticks)));
            }
        }
        out
    }

    #[test]
    fn frames_wait_until_they_fill_a_packet() {
        let even: Vec<(u8, usize, u32)> = (0..6).map(|n| (TOC, 50, 960 * n)).collect();
        assert_eq!(joined(&even, 60), [(3, 0), (3, 2880)]);
        assert_eq!(joined(&even, 20), (0..6).map(|n| (1, 960 * n)).collect::<Vec<_>>());
        // A gap, another configuration, a packet of several frames, and too many bytes for one packet.
        let gap = [(TOC, 50, 0), (TOC, 50, 4800), (TOC, 50, 5760), (TOC, 50, 6720)];
        assert_eq!(joined(&gap, 60), [(1, 0), (3, 4800)]);
        let other = [(TOC, 50, 0), (TOC, 50, 960), (TOC | 4, 50, 1920), (TOC | 1, 50, 2880), (TOC, 50, 4800)];
        assert_eq!(joined(&other, 60), [(2, 0), (1, 1920), (1, 2880)]);
        let large = [(TOC, 500, 0), (TOC, 500, 960), (TOC, 500, 1920), (TOC, 500, 2880)];
        assert_eq!(joined(&large, 60), [(2, 0)]);
        // RTP time wraps.
        let wraps: Vec<(u8, usize, u32)> =
            (0..3).map(|n| (TOC, 50, u32::MAX.wrapping_sub(959).wrapping_add(960 * n))).collect();
        assert_eq!(joined(&wraps, 60), [(3, u32::MAX - 959)]);
    }

    #[test]
    fn a_packet_waits_for_the_next_frame_of_video() {
        let thirty: Vec<u64> = (0..20).map(|n| n * 1000 / 30).collect();
        let packets = beside(&thirty, 60, 500);
        assert_eq!(packets[..3], [(66, 3, 0), (133, 3, 2880), (200, 4, 5760)]);
        assert!(packets.iter().all(|(at, ..)| thirty.contains(at)), "{packets:?}");
        // Every sample leaves, in order.
        let ends = packets.iter().map(|(_, frames, ticks)| ticks + 960 * u32::from(*frames));
        assert!(ends.zip(&packets[1..]).all(|(end, (.., next))| end == *next), "{packets:?}");
        // It comes too late, or not at all.
        assert_eq!(beside(&[101, 202], 60, 210), [(60, 3, 0), (120, 3, 2880), (202, 4, 5760)]);
        assert_eq!(beside(&[], 60, 130), [(60, 3, 0), (120, 3, 2880)]);
        // Nothing short waits, nor what lasts as long as a packet may.
        assert_eq!(beside(&thirty, 20, 50), [(20, 1, 0), (40, 1, 960)]);
        assert_eq!(beside(&thirty, 0, 50), [(20, 1, 0), (40, 1, 960)]);
        assert_eq!(beside(&thirty, 120, 250), [(120, 6, 0), (240, 6, 5760)]);
        assert_eq!(beside(&thirty, 500, 250), [(120, 6, 0), (240, 6, 5760)]);
    }

    #[test]
    fn a_packet_waits_40_ms_for_a_frame_that_does_not_come() {
        let now = std::time::Instant::now();
        for (per_packet, longest) in [(40, 4), (60, 5), (80, 6), (100, 6)] {
            let mut joiner = Joiner::default();
            let sizes = (0..30).flat_map(|n| {
                let timestamp = Timestamp { ticks: 960 * n, wallclock: now };
                // It is always just about to come.
                let next = Some(Duration::from_millis(1));
                joiner.push(&packet(TOC, 50).into(), timestamp, Duration::from_millis(per_packet), next)
            });
            let sizes: Vec<u8> = sizes.map(|packet| count(&packet).0).collect();
            assert!(sizes.iter().all(|frames| *frames == longest), "{per_packet} ms: {sizes:?}");
        }
    }

    #[test]
    fn what_cannot_be_one_packet_is_left_alone() {
        let all = [TOC, TOC | 4, 3 << 3, TOC | 1].map(|toc| packet(toc, 9));
        let [mono, stereo, sixty, several] = all.each_ref().map(Vec::as_slice);
        let table: [&[&[u8]]; 7] =
            [&[], &[mono], &[mono, stereo], &[mono, several], &[mono, &[]], &[sixty; 3], &[mono; 7]];
        for packets in table {
            assert_eq!(join(packets), None, "{packets:?}");
        }
        assert!(join(&[mono; 6]).is_some() && join(&[sixty; 2]).is_some());
    }
}
