//! How much a path carries: the bandwidth estimate that paces the packets of one viewer.

mod sent;

use std::time::{Duration, Instant};

use sent::{Fate, History};

/// Bounds of the estimate, in bit/s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) struct Limits {
    /// The estimate until something was measured.
    pub(in crate::rtc) initial: u32,
    pub(in crate::rtc) min: u32,
    pub(in crate::rtc) max: u32,
}

/// A packet that left.
#[derive(Clone, Copy, Debug)]
pub(in crate::rtc) struct Sent {
    /// Its transport-wide number, of which the wire has the low 16 bits. Each is above the one before.
    pub(in crate::rtc) number: u64,
    /// Bytes on the wire, with IP and UDP headers.
    pub(in crate::rtc) size: u16,
    pub(in crate::rtc) at: Instant,
    /// The probe that it belongs to.
    pub(in crate::rtc) probe: Option<ProbeId>,
}

/// What transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01) says of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) struct Arrival {
    /// The low 16 bits of its number.
    pub(in crate::rtc) number: u16,
    /// When it arrived by the receiver's clock, in µs, which wraps with the 24 bit of the reference time (2^24 x 64 ms).
    /// `None` if it is reported as not received.
    pub(in crate::rtc) at: Option<i64>,
}

/// Names a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) struct ProbeId(pub(in crate::rtc) u32);

/// A probe to send: so many bytes, beginning now, at this rate. Packets sent meanwhile anyway are part of it; repeats or
/// padding fill the rest. All of them carry the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtc) struct Probe {
    pub(in crate::rtc) id: ProbeId,
    /// In bit/s.
    pub(in crate::rtc) rate: u32,
    pub(in crate::rtc) bytes: usize,
}

/// Estimates what a path carries.
#[derive(Debug)]
pub(in crate::rtc) struct Estimator {
    limits: Limits,
    start: Instant,
    history: History,
    rate: u32,
    loss: f32,
    rtt: Option<Duration>,
    by_feedback: bool,
}

impl Estimator {
    pub(in crate::rtc) fn new(limits: Limits, now: Instant) -> Estimator {
        Estimator {
            limits,
            start: now,
            history: History::default(),
            rate: limits.initial,
            loss: 0.0,
            rtt: None,
            by_feedback: false,
        }
    }

    /// Changes the upper bound of the estimate.
    pub(in crate::rtc) fn set_max(&mut self, bps: u32) {
        self.limits.max = bps.max(self.limits.min);
    }

    /// How much the application wants to send at most just now, in bit/s.
    pub(in crate::rtc) fn set_wanted(&mut self, _bps: u32) {}

    /// Notes a packet that left.
    pub(in crate::rtc) fn handle_sent(&mut self, sent: Sent) {
        let at = self.micros(sent.at);
        self.history.push(sent, at);
    }

    /// Takes transport-wide feedback that arrived at `now`.
    pub(in crate::rtc) fn handle_feedback(&mut self, arrivals: impl Iterator<Item = Arrival>, now: Instant) {
        let now = self.micros(now);
        self.by_feedback = true;
        let (mut lost, mut all, mut newest) = (0, 0, None);
        for arrival in arrivals {
            let Some((_, record)) = self.history.reported(arrival.number) else { continue };
            all += 1;
            if arrival.at.is_some() {
                record.fate = Fate::Received;
                newest = Some(record.at);
            } else {
                record.fate = Fate::Missing;
                lost += 1;
            }
        }
        if let Some(sent) = newest {
            self.rtt = Some(Duration::from_micros(u64::try_from(now - sent).unwrap_or(0)));
        }
        if all > 0 {
            self.react(lost as f32 / all as f32);
        }
    }

    /// Takes a receiver report: the fraction lost since the one before, 0 to 1, and the round trip if it is known.
    pub(in crate::rtc) fn handle_report(&mut self, lost: f32, rtt: Option<Duration>, _now: Instant) {
        if !self.by_feedback {
            self.rtt = rtt.or(self.rtt);
            self.react(lost.clamp(0.0, 1.0));
        }
    }

    /// Takes the estimate (REMB) of a receiver without transport-wide feedback.
    pub(in crate::rtc) fn handle_remb(&mut self, bps: u32, _now: Instant) {
        if !self.by_feedback {
            self.rate = bps;
        }
    }

    pub(in crate::rtc) fn handle_timeout(&mut self, _now: Instant) {}

    /// What the path carries, in bit/s, within the limits.
    pub(in crate::rtc) fn estimate(&self) -> u32 {
        self.rate.clamp(self.limits.min, self.limits.max)
    }

    /// The round trip.
    pub(in crate::rtc) fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// The part of the packets that is lost, smoothed, 0 to 1.
    pub(in crate::rtc) fn loss(&self) -> f32 {
        self.loss
    }

    /// A probe to send now.
    pub(in crate::rtc) fn poll_probe(&mut self, _now: Instant) -> Option<Probe> {
        None
    }

    /// When `handle_timeout` and `poll_probe` next matter.
    pub(in crate::rtc) fn deadline(&self) -> Option<Instant> {
        None
    }

    fn react(&mut self, lost: f32) {
        self.loss += (lost - self.loss) * 0.2;
        if lost > 0.1 {
            self.rate = (self.rate as f32 * (1.0 - 0.5 * lost)) as u32;
        } else if lost < 0.02 {
            self.rate = (self.rate as f32 * 1.01) as u32;
        }
        self.rate = self.rate.clamp(self.limits.min, self.limits.max);
    }

    fn micros(&self, at: Instant) -> i64 {
        i64::try_from(at.saturating_duration_since(self.start).as_micros()).unwrap_or(i64::MAX)
    }
}
