//! The latency of playing: how long after its capture a frame goes to its decoder.
//!
//! One latency for the video and the audio of a sender is what keeps them in sync. It rises at once when a frame arrives
//! later than planned, since that frame is otherwise lost, and falls slowly, since most late frames come in groups. Clock
//! drift between the sender and this machine looks the same, only slower, so it needs nothing of its own.

use std::collections::VecDeque;

use super::{Limits, Micros};

/// Added when the latency rises, so that the next frame that is a little later does not raise it again.
const MARGIN: Micros = 10_000;
/// How many seconds an arrival counts. Longer than the interval of most key frames that arrive late because of their
/// size, which would otherwise raise the latency again each time.
const WINDOW: usize = 10;
/// The least time between two falls. With steps of 20 ms (an Opus packet) the latency falls by 2 %, which is not noticed.
const FALL_INTERVAL: Micros = 1_000_000;
/// It only falls if more than this remains, or it would rise again with the next late frame.
const HYSTERESIS: Micros = 10_000;
/// Frames that all come too late for this long are a new normal, such as a longer path or a changed clock.
const NEW_NORMAL: Micros = 1_000_000;
/// A frame that took so much less time than all before it was stamped by a changed clock.
const CLOCK_STEP: Micros = 1_000_000;

#[derive(Debug)]
pub(super) struct Timeline {
    limits: Limits,
    latency: Option<Micros>,
    /// The least and greatest transit times per second, the newest last.
    seconds: VecDeque<Second>,
    changed: Micros,
    late_since: Option<Micros>,
}

#[derive(Debug)]
struct Second {
    number: Micros,
    least: Micros,
    most: Micros,
}

/// How a frame arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// In time, or the latency rose far enough.
    InTime,
    /// Later than the greatest delay allows.
    TooLate,
    /// The latency starts anew with it: all that is queued belongs to the past.
    Restarted,
}

impl Timeline {
    pub(super) fn new(limits: Limits) -> Timeline {
        Timeline { limits, latency: None, seconds: VecDeque::new(), changed: 0, late_since: None }
    }

    /// From capture to decoder; `None` before the first frame.
    pub(super) fn latency(&self) -> Option<Micros> {
        self.latency
    }

    /// How much longer than the fastest frame each frame waits: the size of the jitter buffer.
    pub(super) fn delay(&self) -> Micros {
        self.latency.zip(self.base()).map_or(0, |(latency, base)| latency - base)
    }

    /// The shortest time from capture to arrival within the window.
    fn base(&self) -> Option<Micros> {
        self.seconds.iter().map(|second| second.least).min()
    }

    pub(super) fn arrive(&mut self, captured: Micros, now: Micros) -> Arrival {
        let transit = now - captured;
        let (Some(latency), Some(base)) = (self.latency, self.base()) else {
            self.restart(transit, self.limits.start, now);
            return Arrival::InTime;
        };
        if transit < base - CLOCK_STEP {
            self.restart(transit, latency - base, now);
            return Arrival::Restarted;
        }
        if transit > base + self.limits.most {
            if now - *self.late_since.get_or_insert(now) < NEW_NORMAL {
                return Arrival::TooLate;
            }
            self.restart(transit, latency - base, now);
            return Arrival::Restarted;
        }
        self.late_since = None;
        self.record(transit, now);
        if transit > latency {
            self.latency = Some(transit + MARGIN);
            self.changed = now;
        }
        self.clamp();
        Arrival::InTime
    }

    fn restart(&mut self, transit: Micros, delay: Micros, now: Micros) {
        self.seconds.clear();
        self.late_since = None;
        self.record(transit, now);
        self.latency = Some(transit + delay.clamp(self.limits.least, self.limits.most));
        self.changed = now;
    }

    fn record(&mut self, transit: Micros, now: Micros) {
        let number = now.div_euclid(1_000_000);
        match self.seconds.back_mut() {
            Some(second) if second.number == number => {
                second.least = second.least.min(transit);
                second.most = second.most.max(transit);
            }
            _ => self.seconds.push_back(Second { number, least: transit, most: transit }),
        }
        // Seconds without frames say nothing, so they do not count.
        if self.seconds.len() > WINDOW {
            self.seconds.pop_front();
        }
    }

    fn clamp(&mut self) {
        if let (Some(latency), Some(base)) = (self.latency, self.base()) {
            self.latency = Some(latency.clamp(base + self.limits.least, base + self.limits.most));
        }
    }

    /// Raises the latency by as much, if the limits allow all of it.
    pub(super) fn rise(&mut self, by: Micros, now: Micros) -> bool {
        let Some(latency) = self.latency.filter(|_| self.delay() + by <= self.limits.most) else {
            return false;
        };
        self.latency = Some(latency + by);
        self.changed = now;
        true
    }

    /// For how long the latency could have fallen by `step`; `None` if it should not.
    pub(super) fn could_fall(&self, step: Micros, now: Micros) -> Option<Micros> {
        let most = self.seconds.iter().map(|second| second.most).max()?;
        let needed = (most + MARGIN).max(self.base()? + self.limits.least);
        let waited = now - self.changed - FALL_INTERVAL;
        (waited >= 0 && self.latency? - step >= needed + HYSTERESIS).then_some(waited)
    }

    pub(super) fn fall(&mut self, step: Micros, now: Micros) {
        self.latency = self.latency.map(|latency| latency - step);
        self.changed = now;
    }
}
