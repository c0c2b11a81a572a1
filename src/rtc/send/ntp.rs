//! Wall-clock times on the wire.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// From 1900, where NTP's time starts, to 1970 (RFC 5905, figure 4).
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// Wall-clock time. The system's clock is read once, at creation; then this clock advances with the time that is passed
/// in, so that steps of the system's clock do not disturb lip sync.
#[derive(Clone, Copy, Debug)]
pub(in crate::rtc) struct Wall {
    base: Instant,
    /// Since 1900.
    at_base: Duration,
}

impl Wall {
    /// `time` is the wall-clock time at `now`, if the machine has one.
    pub(in crate::rtc) fn new(time: Option<SystemTime>, now: Instant) -> Wall {
        let since_1970 = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        Wall { base: now, at_base: since_1970 + Duration::from_secs(NTP_TO_UNIX) }
    }

    /// The NTP timestamp of an event, if this is a real clock.
    pub(in crate::rtc) fn date(&self, at: Instant) -> Option<u64> {
        (self.at_base > Duration::from_secs(NTP_TO_UNIX)).then(|| self.ntp(at))
    }

    /// An NTP timestamp: seconds since 1900 in 32.32 fixed point (RFC 3550, 4).
    pub(in crate::rtc) fn ntp(&self, now: Instant) -> u64 {
        let before = self.base.saturating_duration_since(now);
        let time = self.at_base + now.saturating_duration_since(self.base);
        let time = time.saturating_sub(before);
        let fraction = (u64::from(time.subsec_nanos()) << 32) / 1_000_000_000;
        // The seconds wrap in 2036.
        time.as_secs() << 32 | fraction
    }

    /// The absolute send time: seconds in 6.18 fixed point.
    pub(in crate::rtc) fn send_time(&self, now: Instant) -> u32 {
        (self.ntp(now) >> 14) as u32 & 0xff_ffff
    }

    /// The round-trip time, from what the other side reports about our last report (RFC 3550, 6.4.1); `None` if it has
    /// not received one, or reports something impossible.
    pub(in crate::rtc) fn round_trip(
        &self,
        last_sr: u32,
        delay_since: u32,
        now: Instant,
    ) -> Option<Duration> {
        if last_sr == 0 {
            return None;
        }
        let middle = (self.ntp(now) >> 16) as u32;
        let took = middle.wrapping_sub(last_sr).wrapping_sub(delay_since);
        // In 1/65536 s; a negative value comes from rounding, or is a lie.
        let took = if took > u32::MAX / 2 { 0 } else { took };
        let took = Duration::from_nanos(u64::from(took) * 1_000_000_000 / 65_536);
        (took < Duration::from_secs(60)).then_some(took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_standards() {
        let now = Instant::now();
        let wall = Wall::new(Some(UNIX_EPOCH + Duration::from_millis(1500)), now);
        assert_eq!(wall.ntp(now), (NTP_TO_UNIX + 1) << 32 | 1 << 31);
        let later = now + Duration::from_millis(750);
        assert_eq!(wall.ntp(later), (NTP_TO_UNIX + 2) << 32 | 1 << 30);
        // 2,208,988,802.25 s, of which six bits of the seconds are left.
        assert_eq!(wall.send_time(later), (((NTP_TO_UNIX + 2) % 64) << 18 | 1 << 16) as u32);
    }

    #[test]
    fn a_round_trip_is_what_is_left_without_the_delay_over_there() {
        let now = Instant::now();
        let wall = Wall::new(None, now);
        let sent = (wall.ntp(now) >> 16) as u32;
        let later = now + Duration::from_millis(600);
        let trip = wall.round_trip(sent, 65_536 / 2, later).expect("known");
        assert!(trip.abs_diff(Duration::from_millis(100)) < Duration::from_millis(1), "{trip:?}");
        assert_eq!(wall.round_trip(0, 0, later), None, "it has had no report");
        assert_eq!(wall.round_trip(sent, 65_536, later), Some(Duration::ZERO), "a lie");
        assert_eq!(wall.round_trip(sent.wrapping_sub(0x7000_0000), 0, later), None, "another lie");
    }
}
