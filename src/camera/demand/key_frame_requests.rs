//! What one viewer's requests for key frames may cost the others: one key frame in five seconds.
//!
//! A key frame is as large as many other frames, and every viewer of the stream gets it. So a viewer that shares its
//! stream may request two at once, and then one in 5 s; further requests wait. A viewer that requests more gets the small
//! rendition for a while, if there is one. The key frame that a viewer starts with is free.

use std::time::{Duration, Instant};

use crate::media::adapt::keyframes::KeyFrameReason;

/// The time between two key frames for one viewer, on average.
pub(super) const APART: Duration = Duration::from_secs(5);
/// How much of it may be used in advance: two requests at once.
const BURST: Duration = Duration::from_secs(5);
/// How long a viewer that requested too many stays off the main rendition.
const STRAINED: Duration = Duration::from_secs(30);

/// The requests of one viewer.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Until when its share is used up (the generic cell rate algorithm, ITU-T I.371).
    used_until: Option<Instant>,
    /// A waiting request.
    waiting: Option<KeyFrameReason>,
    strained_until: Option<Instant>,
    /// It has received the key frame that it starts with.
    began: bool,
}

impl Requests {
    /// It starts another stream, or the same one again.
    pub(super) fn handle_begin(&mut self) {
        (self.began, self.waiting) = (false, None);
    }

    /// Whether a request may pass now. Otherwise it waits, and is polled for.
    pub(super) fn handle_request(&mut self, reason: KeyFrameReason, now: Instant) -> bool {
        if !std::mem::replace(&mut self.began, true) || self.take(now) {
            return true;
        }
        self.waiting = Some(reason);
        self.strained_until = Some(now + STRAINED);
        false
    }

    /// It changes to another stream because it wants to. Returns whether it may now: the key frame that the stream begins
    /// with counts.
    pub(super) fn handle_change(&mut self, now: Instant) -> bool {
        self.take(now)
    }

    /// Whether it has asked for the key frame that it begins with.
    pub(super) fn has_begun(&self) -> bool {
        self.began
    }

    /// When the next may pass.
    pub(super) fn next(&self) -> Option<Instant> {
        self.used_until.map(|until| until - BURST)
    }

    /// A key frame of its stream arrived, which answers its request.
    pub(super) fn handle_key_frame(&mut self) {
        self.waiting = None;
    }

    /// A request that has waited long enough.
    pub(super) fn poll(&mut self, now: Instant) -> Option<KeyFrameReason> {
        let reason = self.waiting.filter(|_| self.take(now))?;
        self.waiting = None;
        Some(reason)
    }

    /// Whether it recently requested too many.
    pub(super) fn is_strained(&self, now: Instant) -> bool {
        self.strained_until.is_some_and(|until| now < until)
    }

    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let next = self.waiting.and(self.next());
        next.into_iter().chain(self.strained_until).filter(|at| *at > now).min()
    }

    fn take(&mut self, now: Instant) -> bool {
        let used = self.used_until.map_or(now, |until| until.max(now));
        let may = used <= now + BURST;
        if may {
            self.used_until = Some(used + APART);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use KeyFrameReason::Loss;

    #[test]
    fn a_viewer_costs_the_others_one_key_frame_in_five_seconds() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut requests = Requests::default();
        let mut passed = Vec::new();
        for ms in (0..30_000).step_by(100) {
            if requests.poll(at(ms)).is_some() || requests.handle_request(Loss, at(ms)) {
                passed.push(ms);
            }
        }
        assert_eq!(passed, [0, 100, 200, 5_100, 10_100, 15_100, 20_100, 25_100], "the first is free");
        assert!(requests.is_strained(at(30_000 + 29_000)) && !requests.is_strained(at(60_000)));
    }

    #[test]
    fn a_request_waits_until_its_time_or_until_another_key_frame() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut requests = Requests::default();
        assert!((0..3).all(|_| requests.handle_request(Loss, at(0))));
        assert!(!requests.handle_request(Loss, at(1)));
        assert_eq!((requests.poll_timeout(at(1)), requests.poll(at(4_999))), (Some(at(5_000)), None));
        assert_eq!(requests.poll(at(5_000)), Some(Loss));
        assert_eq!(requests.poll(at(20_000)), None);
        assert!(requests.handle_request(Loss, at(20_000)) && requests.handle_request(Loss, at(20_000)));
        assert!(!requests.handle_request(Loss, at(20_000)));
        requests.handle_key_frame();
        assert_eq!(requests.poll(at(60_000)), None);
        requests.handle_begin();
        assert!(requests.handle_request(Loss, at(60_001)));
    }
}
