//! Statistics for receiver reports: loss and jitter (RFC 3550, 6.4.1, A.3 and A.8).

use std::time::Instant;

use super::report::Block;

#[derive(Debug)]
pub(in crate::rtc) struct Quality {
    rate: u32,
    first: u64,
    highest: u64,
    received: u64,
    /// Expected and received at the last report.
    reported: (u64, u64),
    /// The last packet: its timestamp and arrival.
    last: Option<(u32, Instant)>,
    /// In 1/16 ticks.
    jitter: u32,
    /// The middle 32 bits of the NTP time in the last sender report, and its arrival.
    sender: Option<(u32, Instant)>,
}

impl Quality {
    /// Creates the statistics of a stream with `rate` ticks per second, whose first packet is `first`.
    pub(in crate::rtc) fn new(rate: u32, first: u64) -> Quality {
        Quality {
            rate,
            first,
            highest: first,
            received: 0,
            reported: (0, 0),
            last: None,
            jitter: 0,
            sender: None,
        }
    }

    /// Handles a packet that is not a retransmission.
    pub(in crate::rtc) fn handle_packet(&mut self, number: u64, time: u32, now: Instant) {
        self.received += 1;
        self.highest = self.highest.max(number);
        if let Some((last, came)) = self.last.replace((time, now)) {
            let micros = now.saturating_duration_since(came).as_micros() as u64;
            let took = (micros.saturating_mul(self.rate.into()) / 1_000_000) as u32;
            let off = took.wrapping_sub(time.wrapping_sub(last)).cast_signed().unsigned_abs();
            // A larger jump is not jitter.
            if off < self.rate.saturating_mul(60) {
                self.jitter = self.jitter.saturating_add(off).saturating_sub((self.jitter + 8) >> 4);
            }
        }
    }

    pub(in crate::rtc) fn handle_sender_report(&mut self, ntp: u64, now: Instant) {
        self.sender = Some(((ntp >> 16) as u32, now));
    }

    /// Returns the number of lost packets; retransmissions do not count as received.
    pub(in crate::rtc) fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    fn expected(&self) -> u64 {
        self.highest - self.first.min(self.highest) + 1
    }

    /// Returns the next report block.
    pub(in crate::rtc) fn report(&mut self, ssrc: u32, now: Instant) -> Block {
        let (expected, received) = (self.expected(), self.received);
        let before = std::mem::replace(&mut self.reported, (expected, received));
        let (should, did) = (expected.saturating_sub(before.0), received.saturating_sub(before.1));
        let fraction = (should.saturating_sub(did) * 256).checked_div(should).unwrap_or(0);
        let delay = |at: Instant| (now.saturating_duration_since(at).as_micros() * 65_536 / 1_000_000) as u32;
        Block {
            ssrc,
            fraction: u8::try_from(fraction).unwrap_or(u8::MAX),
            // A signed 24-bit value.
            lost: self.lost().min(0x7f_ffff) as u32,
            highest: self.highest as u32,
            jitter: self.jitter >> 4,
            last_sr: self.sender.map_or(0, |(middle, _)| middle),
            delay_since: self.sender.map_or(0, |(_, at)| delay(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn loss_is_that_since_the_report_before_and_in_all() {
        let start = Instant::now();
        let mut quality = Quality::new(90_000, 0x1_fff0);
        for number in (0x1_fff0_u64..0x2_0000).filter(|n| n % 4 != 3) {
            quality.handle_packet(number, 0, start);
        }
        let block = quality.report(7, start);
        // 15 expected: nothing shows that the last one is missing.
        assert_eq!((block.ssrc, block.fraction, block.lost, block.highest), (7, 51, 3, 0x1_fffe));
        for number in 0x1_ffff..0x2_0010 {
            quality.handle_packet(number, 0, start);
        }
        let block = quality.report(7, start);
        assert_eq!((block.fraction, block.lost, block.highest), (0, 3, 0x2_000f));
        assert_eq!((block.last_sr, block.delay_since), (0, 0));
        // A duplicate is not a loss.
        quality.handle_packet(0x2_000f, 0, start);
        quality.handle_packet(0x2_000f, 0, start);
        assert_eq!(quality.report(7, start).fraction, 0);
    }

    #[test]
    fn jitter_is_how_unevenly_packets_come() {
        let start = Instant::now();
        let mut quality = Quality::new(90_000, 0);
        for n in 0..200_u32 {
            // 33 ms apart, every second one 10 ms late.
            let came = start + Duration::from_millis(u64::from(n) * 33 + if n % 2 == 0 { 0 } else { 10 });
            quality.handle_packet(n.into(), n * 33 * 90, came);
        }
        let ms = quality.report(1, start).jitter / 90;
        assert!((9..=10).contains(&ms), "{ms}");
        // A restart of the timestamps is not jitter, nor is the largest possible jump.
        quality.handle_packet(200, 1 << 31, start + Duration::from_secs(7));
        quality.handle_packet(201, 0, start + Duration::from_secs(700_000));
        assert!(quality.report(1, start).jitter / 90 <= 10);
    }

    #[test]
    fn a_sender_learns_how_long_ago_its_report_came() {
        let start = Instant::now();
        let mut quality = Quality::new(90_000, 0);
        quality.handle_sender_report(0x1122_3344_5566_7788, start);
        let block = quality.report(1, start + Duration::from_millis(250));
        assert_eq!((block.last_sr, block.delay_since), (0x3344_5566, 0x4000));
    }
}
