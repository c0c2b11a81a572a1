//! From RTP timestamps to times of ours.
//!
//! A stream's timestamps count its own clock, from anywhere. Sender reports say which wall-clock time of the sender's
//! they stand for (RFC 3550, 6.4.1); with them the streams of a session share one zero, which is lip sync. Before them,
//! and where they say what cannot be, a stream begins with the arrival of its first frame.

use std::time::Duration;

/// Times of ours are in nanoseconds, from an instant that the session chose.
pub(in crate::rtc) type Nanos = i64;

const SECOND: i128 = 1_000_000_000;
/// Packets wait for a second at most, and networks delay them by less than the rest. Times that are off by more are
/// lies, or the sender began anew; and in a day the clocks of two crystals part by as much.
const MAX_OFF: Nanos = 5 * SECOND as Nanos;
/// The least that a frame is later than the one before.
const STEP: Nanos = 1_000;

/// What the streams of a session share: times of ours less those of the sender's wall clock.
#[derive(Debug, Default)]
pub(in crate::rtc) struct Shared(Option<Nanos>);

/// At this many ticks, it was that time.
#[derive(Clone, Copy, Debug)]
struct Point {
    ticks: i64,
    at: Nanos,
}

/// The clock of one stream.
#[derive(Debug)]
pub(in crate::rtc) struct Clock {
    /// Ticks a second.
    rate: u32,
    /// The last timestamp, and how many ticks it stands for.
    last: Option<(u32, i64)>,
    /// By an arrival.
    arrival: Option<Point>,
    /// By the sender's wall clock.
    report: Option<Point>,
    /// The time of the last frame.
    shown: Option<Nanos>,
}

impl Clock {
    pub(in crate::rtc) fn new(rate: u32) -> Clock {
        Clock { rate: rate.max(1), last: None, arrival: None, report: None, shown: None }
    }

    /// This new clock of a stream that goes on from another sender: its times don't go back either.
    pub(in crate::rtc) fn after(self, before: &Clock) -> Clock {
        Clock { shown: before.shown, ..self }
    }

    /// A sender report: the timestamp that belongs to an NTP time in 32.32 bits.
    pub(in crate::rtc) fn handle_report(&mut self, shared: &mut Shared, ntp: u64, time: u32) {
        let Some((last, ticks)) = self.last else { return };
        let ticks = ticks.saturating_add(i64::from(time.wrapping_sub(last).cast_signed()));
        let seconds = i128::from(ntp >> 32) * SECOND;
        let at = seconds + ((i128::from(ntp & 0xffff_ffff) * SECOND) >> 32);
        let point = Point { ticks, at: Nanos::try_from(at).expect("2^32 s are 2^62 ns") };
        if let (None, Some(arrival)) = (shared.0, self.arrival) {
            shared.0 = Some(self.time(arrival, ticks) - point.at);
        }
        self.report = Some(point);
    }

    /// The time of a frame with this timestamp, which is complete now. Times never go back.
    pub(in crate::rtc) fn time_of(&mut self, shared: &mut Shared, time: u32, now: Nanos) -> Nanos {
        let ticks = match self.last {
            Some((last, ticks)) => ticks.saturating_add(time.wrapping_sub(last).cast_signed().into()),
            None => 0,
        };
        self.last = Some((time, ticks));
        let near = |at: &Nanos| at.abs_diff(now) < MAX_OFF.unsigned_abs();
        let reported = |offset| self.report.map(|report| self.time(report, ticks).saturating_add(offset));
        let mut by_report = shared.0.and_then(reported).filter(near);
        if let (Some(at), Some(offset)) = (&mut by_report, &mut shared.0)
            && *at > now
        {
            // The zero is of a stream that takes longer, such as audio of several frames a packet. Nothing is captured
            // after it has arrived, so all streams move together.
            *offset = offset.saturating_sub(*at - now);
            *at = now;
        }
        let by_arrival = self.arrival.map(|arrival| self.time(arrival, ticks)).filter(near);
        let at = by_report.or(by_arrival).unwrap_or_else(|| {
            self.arrival = Some(Point { ticks, at: now });
            // All streams begin again where this one does.
            if let Some(report) = self.report {
                shared.0 = Some(now.saturating_sub(self.time(report, ticks)));
            }
            now
        });
        let at = self.shown.map_or(at, |shown| at.max(shown + STEP));
        self.shown = Some(at);
        at
    }

    /// When it is so many ticks, by a point.
    fn time(&self, point: Point, ticks: i64) -> Nanos {
        let since = i128::from(ticks.saturating_sub(point.ticks)) * SECOND / i128::from(self.rate);
        let at = i128::from(point.at) + since;
        Nanos::try_from(at).unwrap_or(if at < 0 { Nanos::MIN / 2 } else { Nanos::MAX / 2 })
    }
}

/// A time of ours since the zero, which no frame is before.
pub(in crate::rtc) fn since_zero(at: Nanos) -> Duration {
    Duration::from_nanos(u64::try_from(at).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Nanos = 1_000_000;

    /// Of whole milliseconds since 1900.
    fn ntp(ms: u64) -> u64 {
        ((ms / 1000) << 32) | (((ms % 1000) << 32) / 1000)
    }

    fn close(a: Nanos, b: Nanos) -> bool {
        a.abs_diff(b) < 1000
    }

    #[test]
    fn frames_are_as_far_apart_as_their_timestamps_say_whenever_they_arrive() {
        let (mut clock, mut shared) = (Clock::new(90_000), Shared::default());
        // The timestamps roll over.
        let begin = u32::MAX - 4000;
        let arrivals = [100, 180, 150, 230, 220];
        for (n, ms) in (0_u32..).zip(arrivals) {
            let at = clock.time_of(&mut shared, begin.wrapping_add(n * 3000), ms * MS);
            assert!(close(at, 100 * MS + Nanos::from(n) * 33_333_333), "{at}");
        }
    }

    #[test]
    fn reports_put_streams_in_step() {
        let mut shared = Shared::default();
        let (mut video, mut audio) = (Clock::new(90_000), Clock::new(48_000));
        // Both were captured at once; the picture arrives 80 ms later than the sound.
        assert!(close(audio.time_of(&mut shared, 5000, 20 * MS), 20 * MS));
        assert!(close(video.time_of(&mut shared, 777, 100 * MS), 100 * MS));
        audio.handle_report(&mut shared, ntp(3_000_000_010), 5000 + 480);
        video.handle_report(&mut shared, ntp(3_000_000_020), 777 + 1800);
        let sound = audio.time_of(&mut shared, 5000 + 9600, 220 * MS);
        let picture = video.time_of(&mut shared, 777 + 18_000, 300 * MS);
        assert!(close(sound, 220 * MS), "{sound}");
        assert!(close(picture, 220 * MS), "{picture}");
    }

    #[test]
    fn streams_stay_in_step_when_the_one_reported_first_takes_longer() {
        let mut shared = Shared::default();
        let (mut video, mut audio) = (Clock::new(90_000), Clock::new(48_000));
        // Both were captured at once; three audio frames share a packet.
        assert!(close(video.time_of(&mut shared, 777, 5 * MS), 5 * MS));
        assert!(close(audio.time_of(&mut shared, 5000, 60 * MS), 60 * MS));
        audio.handle_report(&mut shared, ntp(3_000_000_010), 5000 + 480);
        video.handle_report(&mut shared, ntp(3_000_000_020), 777 + 1800);
        let picture = video.time_of(&mut shared, 777 + 18_000, 205 * MS);
        let sound = audio.time_of(&mut shared, 5000 + 9600, 260 * MS);
        assert!(close(picture, 205 * MS), "{picture}");
        assert!(close(sound, picture), "{sound}");
    }

    #[test]
    fn a_sender_that_begins_anew_is_followed_by_all_its_streams() {
        let mut shared = Shared::default();
        let (mut video, mut audio) = (Clock::new(90_000), Clock::new(48_000));
        audio.time_of(&mut shared, 0, 0);
        video.time_of(&mut shared, 0, 0);
        for clock in [&mut audio, &mut video] {
            clock.handle_report(&mut shared, ntp(1_000_000), 0);
        }
        // Nothing for a minute, in which the sender's clock stood still.
        let minute = 60_000 * MS;
        assert!(close(video.time_of(&mut shared, 3000, minute), minute));
        let sound = audio.time_of(&mut shared, 48_000 / 30, minute + 5 * MS);
        assert!(close(sound, minute), "{sound}");
    }

    proptest! {
        /// Whatever timestamps and reports claim: times go forward, and stay near those of arrival.
        #[test]
        fn lies_harm_nobody(
            steps in proptest::collection::vec((any::<u32>(), any::<u64>(), any::<bool>(), 0_i64..3000), 1..200)
        ) {
            let mut shared = Shared::default();
            let mut clocks = [Clock::new(90_000), Clock::new(48_000)];
            let (mut now, mut last) = (0, [Nanos::MIN; 2]);
            for (n, (time, ntp, is_report, ms)) in steps.into_iter().enumerate() {
                now += ms * MS;
                let clock = &mut clocks[n % 2];
                if is_report {
                    clock.handle_report(&mut shared, ntp, time);
                    continue;
                }
                let at = clock.time_of(&mut shared, time, now);
                prop_assert!(at > last[n % 2]);
                prop_assert!(at.abs_diff(now) <= (MAX_OFF + 200 * STEP).unsigned_abs(), "{} at {}", at, now);
                last[n % 2] = at;
            }
        }
    }
}
