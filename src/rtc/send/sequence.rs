//! Sequence numbers and timestamps of each SSRC, for as long as the session's keys live.
//!
//! SRTP's keystream follows from the key, the SSRC and the index, which is the packet's number with the rollovers
//! before it (RFC 3711, 4.1.1). Sealing one index twice reveals both plaintexts, and under GCM also the
//! authentication key (RFC 7714, 9). So numbers belong to the SSRC, not to what is currently sent on it: a stream that
//! pauses, stops or is replaced continues after the SSRC's last packet.

use std::time::Instant;

use super::clock::Timestamp;

/// All SSRCs that a session has used for sending: two for each section, so a linear search costs less than hashing.
#[derive(Debug, Default)]
pub(in crate::rtc) struct Numbers(Vec<(u32, Numbering)>);

/// The state of one SSRC.
#[derive(Debug)]
pub(in crate::rtc) struct Numbering {
    /// The index of the next packet; its upper bits are SRTP's rollover counter.
    next: u64,
    /// The offset that is added to the media's time.
    offset: u32,
    /// Packets and payload bytes sent, as sender reports count them: both wrap (RFC 3550, 6.4.1).
    pub(in crate::rtc) packets: u32,
    pub(in crate::rtc) octets: u32,
    /// The RTP time of the last frame, and when what it shows happened.
    pub(in crate::rtc) last: Option<(u32, Instant)>,
}

impl Numbers {
    pub(in crate::rtc) fn of(&mut self, ssrc: u32) -> &mut Numbering {
        let at = self.0.iter().position(|(known, _)| *known == ssrc).unwrap_or_else(|| {
            self.0.push((ssrc, Numbering::begin()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    /// Forgets SSRCs that will not be used again.
    pub(in crate::rtc) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        self.0.retain(|(ssrc, _)| keep(*ssrc));
    }

    pub(in crate::rtc) fn get(&self, ssrc: u32) -> Option<&Numbering> {
        self.0.iter().find(|(known, _)| *known == ssrc).map(|(_, numbering)| numbering)
    }
}

impl Numbering {
    /// Both begin at random values (RFC 3550, 5.1).
    fn begin() -> Numbering {
        let mut random = [0; 6];
        getrandom::fill(&mut random).expect("the system has random numbers");
        let [a, b, offset @ ..] = random;
        Numbering {
            // Below 2^15, so that the first packets do not wrap: a receiver that missed them could not know that.
            next: u64::from(u16::from_be_bytes([a, b]) & 0x7fff),
            offset: u32::from_be_bytes(offset),
            packets: 0,
            octets: 0,
            last: None,
        }
    }

    /// The number of a packet with this many bytes of payload. Each number is returned only once.
    pub(in crate::rtc) fn take(&mut self, octets: usize) -> u64 {
        let number = self.next;
        self.next += 1;
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(octets as u32);
        number
    }

    /// The RTP time of a frame that is sent now.
    pub(in crate::rtc) fn time(&mut self, timestamp: Timestamp) -> u32 {
        let time = timestamp.ticks.wrapping_add(self.offset);
        self.last = Some((time, timestamp.wallclock));
        time
    }
}
