//! The frames of a stream since its last key frame, for viewers that join: they need no key frame of their own.

use std::time::{Duration, Instant};

use super::track::Cut;

/// A second or two of video: more would take a viewer's decoder too long.
const MAX_FRAMES: usize = 60;
/// The maximum size for joining: 300 ms at 16 Mbit/s.
const MAX_BYTES: usize = 600_000;
const MAX_AGE: Duration = Duration::from_secs(2);
/// On the RTP clock of video: frames that are only decoded, not shown, are 1 ms apart.
const APART: u32 = 90;

/// The last key frame and all frames since; empty if they are too many.
#[derive(Clone, Debug, Default)]
pub(in crate::rtc) struct Recent {
    frames: Vec<Cut>,
    bytes: usize,
    since: Option<Instant>,
}

impl Recent {
    pub(in crate::rtc) fn clear(&mut self) {
        *self = Recent::default();
    }

    /// Records a frame that was sent.
    pub(in crate::rtc) fn push(&mut self, cut: &Cut, now: Instant) {
        if cut.key {
            self.clear();
            self.since = Some(now);
        }
        if self.since.is_none() {
            return;
        }
        self.bytes += cut.payloads.iter().map(|payload| payload.len()).sum::<usize>();
        self.frames.push(cut.clone());
        if self.frames.len() > MAX_FRAMES || self.bytes > MAX_BYTES || self.age(now) > MAX_AGE {
            self.clear();
        }
    }

    fn age(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// The frames for a viewer that joins now, if they are not larger than `max_bytes`. All but the newest are decoded
    /// and replaced by the next at once, so that only the newest is shown.
    pub(in crate::rtc) fn frames(&self, max_bytes: usize, now: Instant) -> Option<Vec<Cut>> {
        let newest = self.frames.last()?;
        if self.bytes > max_bytes || self.age(now) > MAX_AGE {
            return None;
        }
        let count = self.frames.len() as u32;
        let at = |(i, cut): (usize, &Cut)| {
            let mut cut = cut.clone();
            let before = (count - 1 - i as u32) * APART;
            cut.timestamp = newest.timestamp;
            cut.timestamp.ticks = newest.timestamp.ticks.wrapping_sub(before);
            cut
        };
        Some(self.frames.iter().enumerate().map(at).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::clock::Timestamp;
    use super::*;
    use crate::media::Codec;

    fn cut(key: bool, bytes: usize, ticks: u32, now: Instant) -> Cut {
        let payloads = Arc::new(vec![vec![0; bytes].into()]);
        Cut {
            codec: Codec::H264,
            key,
            payloads,
            timestamp: Timestamp { ticks, wallclock: now },
            encoding: None,
        }
    }

    #[test]
    fn a_viewer_gets_all_since_the_key_frame_and_sees_the_newest() {
        let now = Instant::now();
        let mut recent = Recent::default();
        recent.push(&cut(false, 10, 0, now), now);
        assert!(recent.frames(usize::MAX, now).is_none(), "no key frame yet");
        for n in 0..3 {
            recent.push(&cut(n == 0, 100, 3000 * n, now), now);
        }
        let frames = recent.frames(300, now).expect("they fit");
        let shape: Vec<(bool, u32)> = frames.iter().map(|cut| (cut.key, cut.timestamp.ticks)).collect();
        assert_eq!(shape, [(true, 5820), (false, 5910), (false, 6000)]);
        assert!(recent.frames(299, now).is_none(), "too much");
        recent.push(&cut(true, 50, 9000, now), now);
        assert_eq!(recent.frames(50, now).expect("the next key frame").len(), 1);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let now = Instant::now();
        let later = now + MAX_AGE + Duration::from_millis(1);
        let mut recent = Recent::default();
        recent.push(&cut(true, 10, 0, now), now);
        assert!(recent.frames(usize::MAX, later).is_none(), "too old");
        for n in 0..MAX_FRAMES as u32 {
            recent.push(&cut(false, 10, n, now), now);
        }
        assert!(recent.frames.is_empty(), "too many");
        recent.push(&cut(true, MAX_BYTES + 1, 0, now), now);
        assert!(recent.frames.is_empty(), "too large");
        recent.push(&cut(true, 10, 0, now), now);
        recent.push(&cut(false, 10, 0, now), later);
        assert!(recent.frames.is_empty() && recent.bytes == 0, "too old");
    }
}
