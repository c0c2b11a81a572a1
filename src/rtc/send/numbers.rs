//! RTP numbers: where each SSRC stands, for as long as the session's keys live.
//!
//! SRTP's keystream follows from the key, the SSRC and the index, which is the packet's number with the rollovers
//! before it (RFC 3711, 4.1.1). One index sealed twice gives both plaintexts away, and under GCM the authentication
//! key too (RFC 7714, 9). So numbers belong to the SSRC, not to what is sent on it just now: a stream that pauses,
//! stops, or gives way to another goes on where the SSRC's last packet was.

use std::collections::HashMap;

/// All SSRCs that a session has sent on.
#[derive(Debug, Default)]
pub(in crate::rtc) struct Numbers(HashMap<u32, Numbering>);

/// One SSRC's.
#[derive(Debug)]
pub(in crate::rtc) struct Numbering {
    /// Of the next packet; the upper bits are SRTP's rollover counter.
    next: u64,
    /// What is added to the media's time.
    offset: u32,
}

impl Numbers {
    pub(in crate::rtc) fn of(&mut self, ssrc: u32) -> &mut Numbering {
        self.0.entry(ssrc).or_insert_with(Numbering::begin)
    }
}

impl Numbering {
    /// Both begin where nobody can guess (RFC 3550, 5.1).
    fn begin() -> Numbering {
        let mut random = [0; 6];
        getrandom::fill(&mut random).expect("the system has random numbers");
        let [a, b, offset @ ..] = random;
        // Below 2^15, so that the first packets don't wrap: a receiver that missed them could not tell.
        Numbering { next: u64::from(u16::from_be_bytes([a, b]) & 0x7fff), offset: u32::from_be_bytes(offset) }
    }

    /// The number of a packet, which is given out this once.
    pub(in crate::rtc) fn take(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    pub(in crate::rtc) fn time(&self, ticks: u32) -> u32 {
        ticks.wrapping_add(self.offset)
    }
}
