//! Converts RTP timestamps to our time.
//!
//! A stream's timestamps count its own clock from a random start. Sender reports map them to the sender's wall clock
//! (RFC 3550, 6.4.1), so that the streams of a session share one zero: lip sync. Before the first report, and if
//! reports are implausible, a stream starts with the arrival of its first frame.
//!
//! The timestamps of a browser's audio stop while its track is removed (`replaceTrack(null)`), and continue from the
//! same value. According to the last report, everything after that was captured when the pause began, until the next
//! report arrives. So if a stream continues after a pause that its timestamps don't show, its times are shifted by the
//! pause. A pause has no packets: frames that wait for one that is missing, while those behind it arrive, did not pause.
//! If no stream had frames during the pause, the network may have delayed them instead: then only the stream of
//! a session without others is shifted at once, since it cannot be out of sync with any, and frames that would be from
//! the future undo the shift.

use std::time::Duration;

/// Our time in nanoseconds, from an instant that the session chose.
pub(in crate::rtc) type Nanos = i64;

const SECOND: i128 = 1_000_000_000;
/// Packets wait for at most a second, and networks delay them by less than the rest. Times that are off by more are
/// false, or the sender restarted. The clocks of two crystals also drift apart by this much in a day.
const MAX_OFF: Nanos = 5 * SECOND as Nanos;
/// The minimum time between two frames.
const STEP: Nanos = 1_000;
/// The minimum pause that timestamps don't show: longer than usual network delays, shorter than what a player waits
/// for.
const PAUSE: Nanos = SECOND as Nanos / 2;

/// Shared by the streams of a session.
#[derive(Debug, Default)]
pub(in crate::rtc) struct Shared {
    /// The offset of our time from the sender's wall clock.
    offset: Option<Nanos>,
    /// Whether only one of them has frames.
    is_single: bool,
    /// When the last frame of any stream arrived, and when the last one after a pause of all streams did.
    came: Option<Nanos>,
    resumed: Option<Nanos>,
}

impl Shared {
    /// Sets how many streams have frames.
    pub(in crate::rtc) fn set_streams(&mut self, count: usize) {
        self.is_single = count <= 1;
    }

    /// Handles a frame of a stream whose previous frame arrived at `last`. Returns the minimum time for which its
    /// timestamps must have stopped for the stream to be shifted by it.
    fn handle_frame(&mut self, last: Nanos, now: Nanos) -> Nanos {
        if self.came.replace(now).is_some_and(|came| now.saturating_sub(came) >= PAUSE) {
            self.resumed = Some(now);
        }
        let all_paused = self.resumed.is_some_and(|at| at > last);
        if all_paused && !self.is_single { MAX_OFF } else { PAUSE }
    }
}

/// Maps a number of ticks to a time.
#[derive(Clone, Copy, Debug)]
struct Point {
    ticks: i64,
    at: Nanos,
}

/// The clock of one stream.
#[derive(Debug)]
pub(in crate::rtc) struct Clock {
    /// Ticks per second.
    rate: u32,
    last: Option<Last>,
    /// When the last packet with media arrived, and whether one followed a pause since the last frame.
    heard: Option<Nanos>,
    rested: bool,
    /// From an arrival.
    arrival: Option<Point>,
    /// From the sender's wall clock.
    report: Option<Point>,
    /// The shift of both by pauses.
    moved: Nanos,
    /// The time of the last frame.
    shown: Option<Nanos>,
}

/// The last frame: its timestamp, its extended ticks, and its arrival.
#[derive(Clone, Copy, Debug)]
struct Last {
    time: u32,
    ticks: i64,
    came: Nanos,
}

impl Last {
    /// Returns the extended ticks of another timestamp.
    fn ticks_of(self, time: u32) -> i64 {
        self.ticks.saturating_add(time.wrapping_sub(self.time).cast_signed().into())
    }
}

impl Clock {
    pub(in crate::rtc) fn new(rate: u32) -> Clock {
        Clock {
            rate: rate.max(1),
            last: None,
            heard: None,
            rested: false,
            arrival: None,
            report: None,
            moved: 0,
            shown: None,
        }
    }

    /// Continues a stream whose last frame had this time: times don't go back.
    pub(in crate::rtc) fn after(self, shown: Option<Nanos>) -> Clock {
        Clock { shown, ..self }
    }

    /// Returns the time of the last frame.
    pub(in crate::rtc) fn shown(&self) -> Option<Nanos> {
        self.shown
    }

    /// Handles a sender report: the RTP timestamp of an NTP time (32.32 bits).
    pub(in crate::rtc) fn handle_report(&mut self, shared: &mut Shared, ntp: u64, time: u32) {
        let Some(ticks) = self.last.map(|last| last.ticks_of(time)) else { return };
        let seconds = i128::from(ntp >> 32) * SECOND;
        let at = seconds + ((i128::from(ntp & 0xffff_ffff) * SECOND) >> 32);
        let point = Point { ticks, at: Nanos::try_from(at).expect("2^32 s are 2^62 ns") };
        if let (None, Some(arrival)) = (shared.offset, self.arrival) {
            shared.offset = Some(self.time(arrival, ticks) - point.at);
        }
        // The report includes all pauses before it.
        (self.report, self.moved) = (Some(point), 0);
    }

    /// Handles the arrival of a packet with media, whichever frame it belongs to.
    pub(in crate::rtc) fn handle_packet(&mut self, now: Nanos) {
        self.rested |= self.heard.replace(now).is_some_and(|heard| now.saturating_sub(heard) >= PAUSE);
    }

    /// Returns the time of a frame with this timestamp that is complete now. Times never go back.
    pub(in crate::rtc) fn time_of(&mut self, shared: &mut Shared, time: u32, now: Nanos) -> Nanos {
        let ticks = self.last.map_or(0, |last| last.ticks_of(time));
        let last = self.last.replace(Last { time, ticks, came: now });
        let rested = std::mem::take(&mut self.rested);
        let least = shared.handle_frame(last.map_or(now, |last| last.came), now);
        if let Some(last) = last {
            let step = self.span(ticks.saturating_sub(last.ticks));
            let stood = (now - last.came).saturating_sub(step);
            if rested && (0..PAUSE).contains(&step) && stood >= least {
                self.move_by(stood);
            }
        }
        let near = |at: &Nanos| at.abs_diff(now) < MAX_OFF.unsigned_abs();
        let by_arrival = |clock: &Clock| clock.arrival.map(|arrival| clock.time(arrival, ticks));
        let reported = |clock: &Clock, offset: Option<Nanos>| {
            Some(clock.time(clock.report?, ticks).saturating_add(offset?))
        };
        // Nothing is captured after it has arrived: it was no pause, or a shorter one.
        let at = reported(self, shared.offset).or_else(|| by_arrival(self));
        let early = at.map_or(0, |at| at.saturating_sub(now)).clamp(0, self.moved);
        self.move_by(-early);
        let mut by_report = reported(self, shared.offset).filter(near);
        if let (Some(at), Some(offset)) = (&mut by_report, &mut shared.offset)
            && *at > now
        {
            // The zero is from a stream with more delay, such as audio with several frames per packet. Nothing is
            // captured after its arrival, so all streams move together.
            *offset = offset.saturating_sub(*at - now);
            *at = now;
        }
        let by_arrival = by_arrival(self).filter(near);
        let at = by_report.or(by_arrival).unwrap_or_else(|| {
            self.arrival = Some(Point { ticks, at: now });
            // All streams restart where this one does.
            if let Some(report) = self.report {
                shared.offset = Some(now.saturating_sub(self.time(report, ticks)));
            }
            now
        });
        let at = self.shown.map_or(at, |shown| at.max(shown + STEP));
        self.shown = Some(at);
        at
    }

    /// Shifts the times of all frames from now on.
    fn move_by(&mut self, by: Nanos) {
        self.moved = self.moved.saturating_add(by);
        for point in [&mut self.arrival, &mut self.report].into_iter().flatten() {
            point.at = point.at.saturating_add(by);
        }
    }

    /// Returns the time of `ticks`, relative to a point.
    fn time(&self, point: Point, ticks: i64) -> Nanos {
        point.at.saturating_add(self.span(ticks.saturating_sub(point.ticks)))
    }

    /// Returns the duration of `ticks`.
    fn span(&self, ticks: i64) -> Nanos {
        let span = i128::from(ticks) * SECOND / i128::from(self.rate);
        Nanos::try_from(span).unwrap_or(if span < 0 { Nanos::MIN / 2 } else { Nanos::MAX / 2 })
    }
}

/// Converts to a duration since the zero; no frame is before that.
pub(in crate::rtc) fn since_zero(at: Nanos) -> Duration {
    Duration::from_nanos(u64::try_from(at).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Nanos = 1_000_000;

    /// Converts milliseconds since 1900.
    fn ntp(ms: u64) -> u64 {
        ((ms / 1000) << 32) | (((ms % 1000) << 32) / 1000)
    }

    fn close(a: Nanos, b: Nanos) -> bool {
        a.abs_diff(b) < 1000
    }

    impl Clock {
        /// The time of a frame of one packet, which waits for nothing.
        fn arrive(&mut self, shared: &mut Shared, time: u32, now: Nanos) -> Nanos {
            self.handle_packet(now);
            self.time_of(shared, time, now)
        }
    }

    #[test]
    fn frames_are_as_far_apart_as_their_timestamps_say_whenever_they_arrive() {
        let (mut clock, mut shared) = (Clock::new(90_000), Shared::default());
        // The timestamps wrap around.
        let begin = u32::MAX - 4000;
        let arrivals = [100, 180, 150, 230, 220];
        for (n, ms) in (0_u32..).zip(arrivals) {
            let at = clock.arrive(&mut shared, begin.wrapping_add(n * 3000), ms * MS);
            assert!(close(at, 100 * MS + Nanos::from(n) * 33_333_333), "{at}");
        }
    }

    #[test]
    fn reports_put_streams_in_step() {
        let mut shared = Shared::default();
        let (mut video, mut audio) = (Clock::new(90_000), Clock::new(48_000));
        // Both were captured at the same time; the video arrives 80 ms after the audio.
        assert!(close(audio.arrive(&mut shared, 5000, 20 * MS), 20 * MS));
        assert!(close(video.arrive(&mut shared, 777, 100 * MS), 100 * MS));
        audio.handle_report(&mut shared, ntp(3_000_000_010), 5000 + 480);
        video.handle_report(&mut shared, ntp(3_000_000_020), 777 + 1800);
        let sound = audio.arrive(&mut shared, 5000 + 9600, 220 * MS);
        let picture = video.arrive(&mut shared, 777 + 18_000, 300 * MS);
        assert!(close(sound, 220 * MS), "{sound}");
        assert!(close(picture, 220 * MS), "{picture}");
    }

    #[test]
    fn streams_stay_in_step_when_the_one_reported_first_takes_longer() {
        let mut shared = Shared::default();
        let (mut video, mut audio) = (Clock::new(90_000), Clock::new(48_000));
        // Both were captured at the same time; three audio frames share a packet.
        assert!(close(video.arrive(&mut shared, 777, 5 * MS), 5 * MS));
        assert!(close(audio.arrive(&mut shared, 5000, 60 * MS), 60 * MS));
        audio.handle_report(&mut shared, ntp(3_000_000_010), 5000 + 480);
        video.handle_report(&mut shared, ntp(3_000_000_020), 777 + 1800);
        let picture = video.arrive(&mut shared, 777 + 18_000, 205 * MS);
        let sound = audio.arrive(&mut shared, 5000 + 9600, 260 * MS);
        assert!(close(picture, 205 * MS), "{picture}");
        assert!(close(sound, picture), "{sound}");
    }

    /// Returns audio and video with reports after 5 s, with delays of 60 ms for video and 20 ms for audio.
    fn reported() -> (Shared, Clock, Clock) {
        let mut shared = Shared::default();
        let (mut video, mut audio) = (Clock::new(90_000), Clock::new(48_000));
        for second in 0..=5 {
            audio.arrive(&mut shared, second * 48_000, Nanos::from(second) * 1000 * MS + 20 * MS);
            video.arrive(&mut shared, second * 90_000, Nanos::from(second) * 1000 * MS + 60 * MS);
            for (clock, rate) in [(&mut audio, 48_000), (&mut video, 90_000)] {
                clock.handle_report(&mut shared, ntp(100_000 + u64::from(second) * 1000), second * rate);
            }
        }
        (shared, video, audio)
    }

    #[test]
    fn a_clock_that_stood_while_nothing_was_sent_goes_on_from_the_arrival() {
        for reported_again in [false, true] {
            let (mut shared, mut video, mut audio) = reported();
            let mut show = |shared: &mut Shared, n: u32| {
                let sent = 5000 * MS + Nanos::from(n) * 20 * MS;
                let picture = video.arrive(shared, 5 * 90_000 + n * 1800, sent + 60 * MS);
                assert!(close(picture, sent + 20 * MS), "{n}: {picture}");
            };
            (1..150).for_each(|n| show(&mut shared, n));
            // The audio's track was taken away for 3 s. Its timestamps go on where they were.
            for n in 1..100_u32 {
                let (ticks, sent) = (5 * 48_000 + n * 960, 8000 * MS + Nanos::from(n) * 20 * MS);
                let jitter = Nanos::from(n / 2 % 3) * 10 * MS;
                let sound = audio.arrive(&mut shared, ticks, sent + 20 * MS + jitter);
                assert!(close(sound, sent + 20 * MS), "{n}: {sound}");
                show(&mut shared, 150 + n);
                if reported_again && n == 50 {
                    audio.handle_report(&mut shared, ntp(108_000 + 50 * 20), ticks);
                }
            }
        }
    }

    #[test]
    fn the_clock_of_a_stream_without_others_may_stand_too() {
        let mut shared = Shared::default();
        shared.set_streams(1);
        let mut audio = Clock::new(48_000);
        for n in 0..100 {
            // Every second, for a second longer than the one before.
            let pauses = Nanos::from(n / 50) * 1000 * MS;
            let arrival = Nanos::from(n) * 20 * MS + pauses;
            let sound = audio.arrive(&mut shared, n * 960, arrival);
            assert!(close(sound, arrival), "{n}: {sound}");
        }
        // Held up for 2 s: the last of them shows it.
        let arrival = 100 * 20 * MS + 3000 * MS;
        (100..200).for_each(|n| _ = audio.arrive(&mut shared, n * 960, arrival));
        for n in 200..250_u32 {
            let arrival = Nanos::from(n) * 20 * MS + 1000 * MS;
            let sound = audio.arrive(&mut shared, n * 960, arrival);
            assert!(sound.abs_diff(arrival) < 20_000_000, "{n}: {sound}");
        }
    }

    #[test]
    fn frames_that_a_network_held_up_have_their_own_times() {
        let (mut shared, mut video, mut audio) = reported();
        // For 3 s nothing comes, and then all of it at once.
        for n in 1..200_u32 {
            let sent = 5000 * MS + Nanos::from(n) * 20 * MS;
            let [sound_at, picture_at] = [20, 60].map(|ms| (sent + ms * MS).max(8000 * MS));
            let sound = audio.arrive(&mut shared, 5 * 48_000 + n * 960, sound_at);
            let picture = video.arrive(&mut shared, 5 * 90_000 + n * 1800, picture_at);
            assert!(close(sound, sent + 20 * MS), "{n}: {sound}");
            assert!(close(picture, sent + 20 * MS), "{n}: {picture}");
        }
    }

    #[test]
    fn frames_that_wait_for_a_missing_packet_have_their_own_times() {
        for missing_ms in [600, 990] {
            let (mut shared, mut video, mut audio) = reported();
            let mut waiting = vec![];
            for n in 1..150_u32 {
                let sent = 5000 * MS + Nanos::from(n) * 20 * MS;
                let sound = audio.arrive(&mut shared, 5 * 48_000 + n * 960, sent + 20 * MS);
                assert!(close(sound, sent + 20 * MS), "{n}: {sound}");
                // The video's packets arrive, but for one, which is asked for in vain for a while.
                video.handle_packet(sent + 60 * MS);
                waiting.push((5 * 90_000 + n * 1800, sent));
                if (10..10 + missing_ms / 20).contains(&n) {
                    continue;
                }
                for (ticks, captured) in waiting.drain(..) {
                    let picture = video.time_of(&mut shared, ticks, sent + 60 * MS);
                    assert!(close(picture, captured + 20 * MS), "{missing_ms} ms, {n}: {picture}");
                }
            }
        }
    }

    #[test]
    fn a_sound_card_with_a_clock_of_its_own_stays_in_step_by_its_reports() {
        for fast in [-100, 100] {
            let mut shared = Shared::default();
            let (mut video, mut audio) = (Clock::new(90_000), Clock::new(48_000));
            let ticks = |ms: i64| (ms * 48 + ms * 48 * fast / 1_000_000) as u32;
            for n in 0..600 * 50_i64 {
                let ms = n * 20;
                let sound = audio.arrive(&mut shared, ticks(ms), (ms + 20) * MS);
                let picture = video.arrive(&mut shared, (ms * 90) as u32, (ms + 60) * MS);
                if n % 250 == 0 {
                    audio.handle_report(&mut shared, ntp(1_000_000 + ms as u64), ticks(ms));
                    video.handle_report(&mut shared, ntp(1_000_000 + ms as u64), (ms * 90) as u32);
                }
                if n > 250 {
                    assert!(sound.abs_diff(picture) < 1_000_000, "{fast} ppm, {ms}: {sound} {picture}");
                }
            }
        }
    }

    #[test]
    fn a_stream_with_a_frame_every_ten_seconds_does_not_stand() {
        let (mut shared, mut video, _) = reported();
        for n in 1..6_u32 {
            let sent = 5000 * MS + Nanos::from(n) * 10_000 * MS;
            // One of them is delayed by another 1.5 s.
            let late = if n == 3 { 1500 * MS } else { 0 };
            let picture = video.arrive(&mut shared, (5 + n * 10) * 90_000, sent + 60 * MS + late);
            assert!(close(picture, sent + 20 * MS), "{n}: {picture}");
        }
    }

    #[test]
    fn a_sender_that_begins_anew_is_followed_by_all_its_streams() {
        let mut shared = Shared::default();
        let (mut video, mut audio) = (Clock::new(90_000), Clock::new(48_000));
        audio.arrive(&mut shared, 0, 0);
        video.arrive(&mut shared, 0, 0);
        for clock in [&mut audio, &mut video] {
            clock.handle_report(&mut shared, ntp(1_000_000), 0);
        }
        // Nothing for a minute; then a restart ten seconds before the first timestamp.
        let minute = 60_000 * MS;
        assert!(close(video.arrive(&mut shared, 0_u32.wrapping_sub(900_000), minute), minute));
        let sound = audio.arrive(&mut shared, 0_u32.wrapping_sub(480_000), minute + 5 * MS);
        assert!(close(sound, minute), "{sound}");
    }

    proptest! {
        /// With any timestamps and reports, times increase and stay close to the arrivals.
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
                let at = clock.arrive(&mut shared, time, now);
                prop_assert!(at > last[n % 2]);
                prop_assert!(at.abs_diff(now) <= (MAX_OFF + 200 * STEP).unsigned_abs(), "{} at {}", at, now);
                last[n % 2] = at;
            }
        }
    }
}
