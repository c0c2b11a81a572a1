//! What is known of a viewer's network.
//!
//! - **A guess at first.** The first estimate of a joiner is an assumption, the bitrate that encoders start with. It means
//!   something after a second of probes ([`GRACE`]), or at once if it is lower.
//! - **A sagging estimate is no evidence.** An estimate falls while little is sent, because nothing shows that more would
//!   get through. A lower estimate counts only if it fell in one step, if packets queue or get lost, or if about as much
//!   is sent.
//! - **Headroom where it limits.** A network estimated at the encoder's bitrate or above carries it; one estimated below
//!   gets a bitrate with headroom.
//! - **Audio needs room too.** On a slow network it takes more than the headroom.

use std::time::{Duration, Instant};

use crate::media::adapt::rate::BitrateLimits;

/// How long the first estimate is considered a guess. Two probes take less than half a second.
const GRACE: Duration = Duration::from_millis(800);
/// How long a joiner is new. Estimates climb for some seconds: its network may be faster than it seems.
const NEW: Duration = Duration::from_secs(5);
/// The guess was wrong if the estimate is below this percentage of it.
const FELL: u64 = 90;
/// This percentage of an estimate must be sent for it to say anything about the network.
const USED: u64 = 70;
/// An estimate below this percentage of the previous one fell because of a queue or of losses.
const STEP: u64 = 80;
/// Above this loss, 0 to 1, more is sent than gets through, or the network is bad anyway (libwebrtc lets the rate rise
/// below 2 %).
const LOSSY: f32 = 0.02;
/// A round trip longer than the shortest by this much shows a queue.
const QUEUED: Duration = Duration::from_millis(100);

/// What audio takes beside the video, in bit/s: Opus at 64 kbit/s, and 78 bytes around each of its 17 packets a second.
pub(super) const AUDIO: u32 = 75_000;

/// The state of a network.
#[derive(Clone, Debug, Default)]
pub(super) struct Network {
    /// When the first estimate came, and what was guessed before, in bit/s.
    first: Option<(Instant, u32)>,
    /// An estimate from before anything was sent. None may follow that differs.
    early: Option<u32>,
    /// The latest estimate.
    estimate: u32,
    /// What it carries, as far as there is evidence.
    carries: u32,
    /// What is sent, in bit/s; `None` if nobody counts it.
    sent: Option<u32>,
    loss: f32,
    round_trip: Option<Duration>,
    least_round_trip: Option<Duration>,
    /// What audio takes of it, in bit/s.
    audio: u32,
}

impl Network {
    /// Takes an estimate in bit/s; `guess` was assumed before the first.
    pub(super) fn handle_estimate(&mut self, bps: u32, guess: u32, now: Instant) {
        self.first.get_or_insert((now, guess));
        let before = std::mem::replace(&mut self.estimate, bps);
        if u64::from(bps) * 100 < u64::from(before) * STEP {
            self.carries = bps;
        }
        self.judge();
    }

    /// Takes an estimate by probes alone.
    pub(super) fn handle_early(&mut self, bps: u32) {
        self.early = self.first.is_none().then_some(bps);
    }

    /// Something is sent from now on.
    pub(super) fn handle_flow(&mut self, guess: u32, now: Instant) {
        if let Some(bps) = self.early.take() {
            self.handle_estimate(bps, guess, now);
        }
    }

    /// Whether audio is sent too.
    pub(super) fn handle_audio(&mut self, is_sent: bool) {
        self.audio = if is_sent { AUDIO } else { 0 };
    }

    /// Takes what is sent in bit/s, the loss (0 to 1), and the round trip.
    pub(super) fn handle_traffic(&mut self, sent: Option<u32>, loss: f32, round_trip: Option<Duration>) {
        (self.sent, self.loss) = (sent, loss);
        self.round_trip = round_trip;
        self.least_round_trip = self.least_round_trip.into_iter().chain(round_trip).min();
        self.judge();
    }

    /// What it carries, in bit/s; `None` while that is a guess.
    pub(super) fn carries(&self, now: Instant) -> Option<u32> {
        let (since, guess) = self.first?;
        let fell = u64::from(self.carries) * 100 < u64::from(guess) * FELL;
        (fell || now >= since + GRACE).then_some(self.carries)
    }

    /// The bitrate in bit/s that an encoder at `current` can have with this network.
    pub(super) fn usable(&self, limits: &BitrateLimits, current: u32, now: Instant) -> Option<u32> {
        let video = self.video(now)?;
        let usable = limits.usable(self.carries(now)?).min(video);
        Some(if video >= current { usable.max(current) } else { usable })
    }

    /// What it carries beside audio, in bit/s; `None` while that is a guess.
    pub(super) fn video(&self, now: Instant) -> Option<u32> {
        Some(self.carries(now)?.saturating_sub(self.audio))
    }

    /// Whether the first estimate was so recent that others should not suffer from it.
    pub(super) fn is_new(&self, now: Instant) -> bool {
        self.first.is_none_or(|(since, _)| now < since + NEW)
    }

    /// When [`carries`](Self::carries) or [`is_new`](Self::is_new) changes by itself.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let (since, _) = self.first?;
        [since + GRACE, since + NEW].into_iter().find(|at| *at > now)
    }

    fn judge(&mut self) {
        if self.estimate >= self.carries || self.is_evidence() {
            self.carries = self.estimate;
        }
    }

    fn is_evidence(&self) -> bool {
        let used = |sent| u64::from(sent) * 100 >= u64::from(self.estimate) * USED;
        let queued =
            self.round_trip.zip(self.least_round_trip).is_some_and(|(now, least)| now > least + QUEUED);
        self.loss > LOSSY || queued || self.sent.is_none_or(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_estimate_is_a_guess_unless_it_falls() {
        let now = Instant::now();
        let mut link = Network::default();
        assert_eq!((link.carries(now), link.poll_timeout(now)), (None, None));
        link.handle_estimate(1_000_000, 1_000_000, now);
        assert_eq!((link.carries(now), link.poll_timeout(now)), (None, Some(now + GRACE)));
        link.handle_estimate(950_000, 1_000_000, now);
        assert_eq!(link.carries(now), None);
        assert_eq!(link.carries(now + SECOND), Some(950_000));
        assert_eq!(link.poll_timeout(now + SECOND), Some(now + 5 * SECOND));
        assert!(link.is_new(now + 4 * SECOND) && !link.is_new(now + 5 * SECOND));
        assert_eq!(link.poll_timeout(now + 5 * SECOND), None);
        link.handle_estimate(300_000, 1_000_000, now);
        assert_eq!(link.carries(now), Some(300_000));
    }

    #[test]
    fn a_lower_estimate_is_evidence_only_if_the_network_is_used() {
        // (what is sent in kbit/s, loss, round trip in ms, what an estimate that sinks from 4000 to 1000 shows)
        let table = [
            (Some((100, 0.0, Some(20))), 4000),
            (Some((650, 0.0, Some(20))), 4000),
            (Some((750, 0.0, Some(20))), 1000),
            (Some((100, 0.05, Some(20))), 1000),
            (Some((100, 0.0, Some(200))), 1000),
            (Some((100, 0.0, None)), 4000),
            (None, 1000),
        ];
        for (traffic, expected) in table {
            let now = Instant::now();
            let mut link = Network::default();
            link.handle_estimate(4_000_000, 1_000_000, now);
            if let Some((sent, loss, round_trip)) = traffic {
                link.handle_traffic(Some(3_900_000), 0.0, Some(Duration::from_millis(20)));
                link.handle_traffic(Some(sent * 1000), loss, round_trip.map(Duration::from_millis));
            }
            for bps in (1..=30).map(|step| 4_000_000 - step * 100_000) {
                link.handle_estimate(
                    bps.max(if expected == 1000 { 1_000_000 } else { 1_300_000 }),
                    1_000_000,
                    now,
                );
            }
            link.handle_estimate(1_050_000, 1_000_000, now);
            link.handle_estimate(1_000_000, 1_000_000, now);
            assert_eq!(link.carries(now + SECOND), Some(expected * 1000), "{traffic:?}");
            // As soon as it is used, it counts.
            link.handle_traffic(Some(1_000_000), 0.0, None);
            assert_eq!(link.carries(now + SECOND), Some(1_000_000));
        }
    }

    #[test]
    fn headroom_is_for_what_limits() {
        let now = Instant::now();
        let mut link = Network::default();
        link.handle_estimate(1_000_000, 1_000_000, now);
        let usable = |current| link.usable(&BitrateLimits::default(), current, now + SECOND);
        assert_eq!(
            [usable(1_000_000), usable(1_100_000), usable(500_000)].map(Option::unwrap_or_default),
            [1_000_000, 850_000, 850_000]
        );
    }

    #[test]
    fn audio_leaves_less_for_video_on_a_slow_network() {
        let now = Instant::now();
        let usable = |bps, current| {
            let mut link = Network::default();
            link.handle_audio(true);
            link.handle_estimate(bps, 1_000_000, now);
            link.usable(&BitrateLimits::default(), current, now + SECOND)
        };
        assert_eq!(usable(250_000, 400_000), Some(175_000), "less than with headroom alone");
        assert_eq!(usable(250_000, 200_000), Some(175_000), "200 kbit/s and audio are more than it carries");
        assert_eq!(usable(250_000, 175_000), Some(175_000));
        assert_eq!(usable(1_000_000, 2_000_000), Some(850_000), "the headroom is enough for audio");
        assert_eq!(usable(50_000, 100_000), Some(0));
    }
}
